//! Who hears whom, and how long probes take.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::End;
use super::pace::all_of;
use crate::types::{DatapathId, Timestamp};

/// Measurements of which the least counts: a probe, or an echo, that had to wait says nothing about the way.
const WINDOW: usize = 10;

/// The least of the latest few measurements.
#[derive(Clone, Debug, Default)]
pub(super) struct Least(VecDeque<u64>);

impl Least {
    pub(super) fn add(&mut self, us: u64) {
        if self.0.len() >= WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(us);
    }

    pub(super) fn us(&self) -> Option<u64> {
        self.0.iter().copied().min()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    pub(super) end: End,
    pub(super) at: Timestamp,
    /// From the moment a probe was made to the moment it was heard, by way of both switches.
    pub(super) delay: Least,
}

/// A wire that was heard in both directions, the lower end first.
pub(super) type Wire = (End, End);

/// What was heard, and the same by who was heard.
///
/// **Invariant**: `heard[a].end == b` exactly if `hearers[b]` has `a`; `(a, b)` is among the wires exactly if each hears the
/// other.
#[derive(Debug, Default)]
pub(super) struct Wires {
    heard: BTreeMap<End, Neighbour>,
    hearers: BTreeMap<End, BTreeSet<End>>,
    wires: BTreeSet<Wire>,
}

impl Wires {
    pub(super) fn hear(&mut self, here: End, there: End, delay_us: u64, now: Timestamp) {
        if let Some(neighbour) = self.heard.get_mut(&here).filter(|neighbour| neighbour.end == there) {
            neighbour.at = now;
            neighbour.delay.add(delay_us);
            return;
        }
        self.stop(here);
        let mut delay = Least::default();
        delay.add(delay_us);
        self.heard.insert(here, Neighbour { end: there, at: now, delay });
        self.hearers.entry(there).or_default().insert(here);
        if self.heard.get(&there).is_some_and(|neighbour| neighbour.end == here) {
            self.wires.insert(wire(here, there));
        }
    }

    /// `here` no longer hears anyone.
    pub(super) fn stop(&mut self, here: End) {
        let Some(neighbour) = self.heard.remove(&here) else { return };
        self.wires.remove(&wire(here, neighbour.end));
        if let Some(hearers) = self.hearers.get_mut(&neighbour.end) {
            hearers.remove(&here);
            if hearers.is_empty() {
                self.hearers.remove(&neighbour.end);
            }
        }
    }

    /// Whatever was heard over a wire that went down is no longer known, at either end.
    pub(super) fn forget(&mut self, end: End) {
        self.stop(end);
        let hearers = self.hearers.get(&end).cloned().unwrap_or_default();
        hearers.into_iter().for_each(|here| self.stop(here));
    }

    pub(super) fn at(&self, here: End) -> Option<&Neighbour> {
        self.heard.get(&here)
    }

    pub(super) fn is_heard(&self, end: End) -> bool {
        self.hearers.contains_key(&end)
    }

    /// Every end that hears someone.
    pub(super) fn iter(&self) -> impl Iterator<Item = (End, &Neighbour)> {
        self.heard.iter().map(|(here, neighbour)| (*here, neighbour))
    }

    pub(super) fn iter_at(&self, datapath: DatapathId) -> impl Iterator<Item = (End, &Neighbour)> {
        self.heard.range(all_of(datapath)).map(|(here, neighbour)| (*here, neighbour))
    }

    /// Ends that hear a port of this switch.
    pub(super) fn hearers_of(&self, datapath: DatapathId) -> impl Iterator<Item = End> {
        self.hearers.range(all_of(datapath)).flat_map(|(_, hearers)| hearers.iter().copied())
    }

    /// Heard in both directions, however long ago.
    pub(super) fn both_ways(&self) -> impl Iterator<Item = Wire> {
        self.wires.iter().copied()
    }
}

pub(super) fn wire(a: End, b: End) -> Wire {
    (a.min(b), a.max(b))
}
