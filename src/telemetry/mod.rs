//! From cumulative counters to one router's numbers a cycle.
//!
//! Readings come whenever a switch answers: twice, late, after a gap, after the switch restarted, or with a clock that
//! was set back. What each of these means is defined here once, so that everything above sees plain rates.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Stage, Topology};
use crate::southbound::{ConnectionCounters, ConnectionEnded, PortCounters, Reading};
use crate::types::{DatapathId, NodeIndex, PortNo, Timestamp};

mod counter;
mod residence;
mod window;

pub use counter::growth;
pub use residence::Residence;
pub use window::DurationWindow;

/// A reading that claims to be older than the last one by more than this shows a clock that was set back; by less,
/// that it was overtaken on its way.
const CLOCK_STEP: Duration = Duration::from_secs(10);

/// Counters further apart than this say nothing about the present: rates start afresh.
const GAP_MAX: Duration = Duration::from_secs(300);

/// Readings closer together than this are one: a rate over a millisecond is noise.
const INTERVAL_MIN: Duration = Duration::from_millis(5);

/// One router's numbers over one cycle, read from the switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Connections open now (entries that are not closing).
    pub active: f64,
    /// Slots taken, closing entries included.
    pub occupied: f64,
    /// Admitted a second since the reading before.
    pub new_per_s: f64,
    /// Mean lifetime of the connections that ended in the last minute; where none did, the time in the table that
    /// Little's law gives; 0 while neither is known.
    pub mean_duration_s: f64,
    /// Bytes a second received on all ports, so both directions count once.
    pub bytes_per_s: f64,
    /// Refused since the controller first read this router.
    pub refused_total: u64,
    /// Refused in this cycle.
    pub refused: u64,
    pub unknown_packets: u64,
}

/// What became of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Rates are over the time since the last reading.
    Rates,
    /// First reading, or the first after a long gap or a clock set back: it is the new base, rates are those of before.
    Base,
    /// The same moment as before, or an older one: nothing changed.
    Ignored,
    /// The switch did not answer the connection part.
    Incomplete,
}

#[derive(Clone, Debug)]
struct Base {
    at: Timestamp,
    connections: ConnectionCounters,
    ports: BTreeMap<PortNo, PortCounters>,
}

/// Counters of one first-stage router turned into its [`Load`].
#[derive(Clone, Debug, Default)]
pub struct RouterTelemetry {
    base: Option<Base>,
    durations: DurationWindow,
    residence: Residence,
    load: Load,
    updated_at: Option<Timestamp>,
}

impl RouterTelemetry {
    /// Takes one reading made at `at`.
    pub fn reading(&mut self, at: Timestamp, reading: &Reading) -> Outcome {
        let Some(now) = reading.connections else {
            self.ended_together(at, reading);
            return Outcome::Incomplete;
        };
        let base = Base { at, connections: now, ports: reading.ports.clone() };
        let Some(before) = self.base.take() else {
            self.restart(base);
            return Outcome::Base;
        };
        let elapsed = at.since(before.at);
        if elapsed < INTERVAL_MIN && before.at.since(at) <= CLOCK_STEP {
            self.base = Some(before);
            return Outcome::Ignored;
        }
        if elapsed.is_zero() || elapsed > GAP_MAX {
            self.restart(base);
            return Outcome::Base;
        }
        self.ended_together(at, reading);
        let seconds = elapsed.as_secs_f64();
        let was = before.connections;
        let admitted = growth(was.admitted, now.admitted);
        let bytes: u64 = reading
            .ports
            .iter()
            .filter_map(|(port, counters)| Some(growth(before.ports.get(port)?.rx_bytes, counters.rx_bytes)))
            .fold(0, u64::saturating_add);
        self.levels(&now);
        self.load.new_per_s = admitted as f64 / seconds;
        self.load.bytes_per_s = bytes as f64 / seconds;
        self.load.refused = growth(was.refused, now.refused);
        self.load.refused_total = self.load.refused_total.saturating_add(self.load.refused);
        let unknown = growth(was.unknown, now.unknown);
        self.load.unknown_packets = self.load.unknown_packets.saturating_add(unknown);
        if now.admitted < was.admitted {
            self.residence.interrupt();
        }
        self.residence.observe(self.load.occupied, self.load.new_per_s, seconds);
        self.load.mean_duration_s = self.mean_duration(at);
        self.updated_at = Some(at);
        self.base = Some(base);
        Outcome::Rates
    }

    /// A connection left the table at `at`.
    pub fn ended(&mut self, at: Timestamp, ended: &ConnectionEnded) {
        self.durations.add(at, ended.duration_ms as f64 / 1e3);
    }

    /// What switches tell that count connections as they end, and do not tell of each.
    fn ended_together(&mut self, at: Timestamp, reading: &Reading) {
        if let Some(ended) = reading.ended {
            self.durations.add_many(at, ended.count, ended.lifetime_ms_total as f64 / 1e3);
        }
    }

    /// The latest load, unless its reading is older than `age_max`.
    pub fn load(&self, now: Timestamp, age_max: Duration) -> Option<Load> {
        self.updated_at.filter(|at| now.since(*at) <= age_max).map(|_| self.load)
    }

    /// A new base: levels are read, rates wait for the next reading.
    fn restart(&mut self, base: Base) {
        let connections = base.connections;
        self.levels(&connections);
        self.load.refused = 0;
        self.residence.interrupt();
        self.durations.clear();
        self.updated_at = None;
        self.base = Some(base);
    }

    /// `occupied` is a level, not a counter; an impossible `closing` above it is held to it.
    fn levels(&mut self, now: &ConnectionCounters) {
        self.load.occupied = now.occupied as f64;
        self.load.active = now.occupied.saturating_sub(now.closing) as f64;
    }

    fn mean_duration(&mut self, at: Timestamp) -> f64 {
        let ended = self.durations.mean(at).map(|(mean, _)| mean);
        ended.or_else(|| self.residence.seconds()).unwrap_or(0.0)
    }
}

/// Telemetry of every first-stage router of a topology.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    routers: BTreeMap<DatapathId, (NodeIndex, RouterTelemetry)>,
}

impl Telemetry {
    pub fn new(topology: &Topology) -> Self {
        let routers = topology.nodes.iter().filter(|node| node.stage == Stage::Router);
        Self { routers: routers.map(|node| (node.datapath, (node.index, RouterTelemetry::default()))).collect() }
    }

    /// Takes a switch's reading; those of other stages are not ours and are [`Outcome::Ignored`].
    pub fn reading(&mut self, at: Timestamp, datapath: DatapathId, reading: &Reading) -> Outcome {
        match self.routers.get_mut(&datapath) {
            Some((_, router)) => router.reading(at, reading),
            None => Outcome::Ignored,
        }
    }

    pub fn ended(&mut self, at: Timestamp, datapath: DatapathId, ended: &ConnectionEnded) {
        if let Some((_, router)) = self.routers.get_mut(&datapath) {
            router.ended(at, ended);
        }
    }

    /// Load of every router whose last reading is not older than `age_max`; the others are absent.
    pub fn loads(&self, now: Timestamp, age_max: Duration) -> BTreeMap<NodeIndex, Load> {
        let fresh = |(index, router): &(NodeIndex, RouterTelemetry)| Some((*index, router.load(now, age_max)?));
        self.routers.values().filter_map(fresh).collect()
    }
}

#[cfg(test)]
mod tests;
