//! Asks the data plane of every first-stage router, several times a second, whether it lives (docs/FAILOVER.md).
//!
//! A neighbour sends a probe towards the router; the router's data plane sends it back, and the neighbour hands it up.
//! So no session of the router is needed. A router that cannot send it back hands it up itself, which shows as much as
//! long as it has a session.
//!
//! **Invariant**: a round counts as missed only if something that was asked later, or at the same time, through a
//! neighbour of that round has been answered: a controller that is behind, or a neighbour that hangs, fails nobody.
//! What it costs grows with the routers, not with their connections: at most [`LINKS_PER_ROUND`] probes a router a round.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::southbound::Command;
use crate::types::{DatapathId, MacAddr, NodeIndex, PortNo, Timestamp};
use crate::wire::liveness::{LivenessError, LivenessProbe};
use crate::wire::lldp::Key;

/// Links of a router that are probed in one round; with more of them the rounds take turns.
pub const LINKS_PER_ROUND: usize = 4;
/// Once a router's session is gone, rounds come so many times as fast.
const HURRY: u32 = 2;
/// Unanswered rounds that are remembered, so that no more are ever counted.
pub const ROUNDS_MAX: u32 = 128;
/// Probes that are sent in one go; the rest follows with the next call, so that a large fabric does not flood its switches.
const PROBES_PER_POLL: usize = 256;

/// An answer that took so many intervals came from a router that stood still: that is not how slow it is.
const STOOD_STILL: u32 = 3;
/// The slowest answer is forgotten by so much with each other answer: half of it within some fifteen seconds.
const SLOWEST_FADES: u64 = 512;

/// A port of a neighbour that faces a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Via {
    pub neighbour: NodeIndex,
    pub datapath: DatapathId,
    pub port: PortNo,
}

/// What a frame turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not a liveness probe.
    Other,
    /// The router lives; `again` if it had missed rounds before.
    Alive { router: NodeIndex, again: bool },
    /// Too old, or of a way that was not asked.
    Late,
    /// Not made by this controller.
    Refused(String),
}

/// One round over several links.
#[derive(Clone, Debug)]
struct Round {
    sent: Timestamp,
    /// Not judged before.
    patience: Timestamp,
    vias: Vec<Via>,
}

/// What is known of one router.
#[derive(Clone, Debug)]
struct Watched {
    datapath: DatapathId,
    vias: Vec<Via>,
    next_via: usize,
    due: Option<Timestamp>,
    session: bool,
    /// Unanswered rounds, oldest first.
    rounds: VecDeque<Round>,
    missed: u32,
    silent: u32,
    returned: bool,
    handed_up: bool,
    last_sent_answered: Timestamp,
    round_trip_us: Option<u64>,
    slowest_us: u64,
}

/// Probes that came back through one neighbour.
#[derive(Clone, Debug, Default)]
struct Evidence {
    /// Routers that are asked through it.
    routers: usize,
    /// When the latest probe was sent that came back, and which router sent it back; then the same of another router.
    latest: Option<(Timestamp, NodeIndex)>,
    second: Option<(Timestamp, NodeIndex)>,
}

impl Evidence {
    fn add(&mut self, sent: Timestamp, router: NodeIndex) {
        match self.latest {
            Some((latest, known)) if known == router => self.latest = Some((latest.max(sent), router)),
            Some((latest, _)) if latest <= sent => {
                self.second = self.latest;
                self.latest = Some((sent, router));
            }
            Some(_) => self.second = self.second.max(Some((sent, router))),
            None => self.latest = Some((sent, router)),
        }
    }

    /// The latest that is not of this router.
    fn beside(&self, router: NodeIndex) -> Option<Timestamp> {
        let other = |(_, known): &(Timestamp, NodeIndex)| *known != router;
        self.latest.filter(other).or(self.second.filter(other)).map(|(sent, _)| sent)
    }
}

impl Watched {
    fn new(datapath: DatapathId) -> Self {
        Self {
            datapath,
            vias: Vec::new(),
            next_via: 0,
            due: None,
            session: false,
            rounds: VecDeque::new(),
            missed: 0,
            silent: 0,
            returned: false,
            handed_up: false,
            last_sent_answered: Timestamp::default(),
            round_trip_us: None,
            slowest_us: 0,
        }
    }
}

/// What the answers say of a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Its data plane sent a probe back at least once.
    pub returned: bool,
    /// It handed a probe up through its own session at least once.
    pub handed_up: bool,
    /// Rounds in a row without an answer.
    pub missed: u32,
    /// Those among them that began after the router's own session last said anything.
    pub silent: u32,
    pub round_trip_us: Option<u64>,
    /// Slowest answer of late; older ones fade.
    pub slowest_us: u64,
}

/// Totals since the controller started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub sent: u64,
    pub answered: u64,
    pub missed_rounds: u64,
}

#[derive(Debug)]
pub struct Liveness {
    key: Key,
    interval: Duration,
    routers: BTreeMap<NodeIndex, Watched>,
    /// Routers by datapath id.
    of: BTreeMap<DatapathId, NodeIndex>,
    order: BTreeSet<(Timestamp, NodeIndex)>,
    /// By neighbour, what shows that it works.
    evidence: BTreeMap<NodeIndex, Evidence>,
    /// When anything came from this switch; the only evidence where a neighbour has one router.
    heard: BTreeMap<DatapathId, Timestamp>,
    counts: Counts,
    /// The rounds that some router missed are not as many as before.
    changed: bool,
}

impl Liveness {
    /// `key` must be hard to guess. An interval of zero probes nobody.
    pub fn new(routers: impl IntoIterator<Item = (NodeIndex, DatapathId)>, interval: Duration, key: Key) -> Self {
        let of: BTreeMap<DatapathId, NodeIndex> =
            routers.into_iter().map(|(router, datapath)| (datapath, router)).collect();
        let watched = of.iter().map(|(datapath, router)| (*router, Watched::new(*datapath)));
        Self {
            key,
            interval,
            routers: watched.collect(),
            of,
            order: BTreeSet::new(),
            evidence: BTreeMap::new(),
            heard: BTreeMap::new(),
            counts: Counts::default(),
            changed: false,
        }
    }

    /// Whether a router missed more rounds, or answered again, since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn signs(&self, router: NodeIndex) -> Signs {
        let watched = self.routers.get(&router);
        watched.map_or_else(Signs::default, |watched| Signs {
            returned: watched.returned,
            handed_up: watched.handed_up,
            missed: watched.missed,
            silent: watched.silent,
            round_trip_us: watched.round_trip_us,
            slowest_us: watched.slowest_us,
        })
    }

    /// Through whom each router can be asked now: neighbours with a session, over links that are not down.
    pub fn set_vias(&mut self, mut vias: BTreeMap<NodeIndex, Vec<Via>>, now: Timestamp) {
        if self.interval.is_zero() {
            return;
        }
        let count = u32::try_from(self.routers.len()).unwrap_or(u32::MAX).max(1);
        let mut changed = false;
        for (place, (router, watched)) in (0..).zip(&mut self.routers) {
            let mut new = vias.remove(router).unwrap_or_default();
            new.sort_unstable();
            if new == watched.vias {
                continue;
            }
            changed = true;
            watched.vias = new;
            watched.next_via = 0;
            // Whoever is not asked any more was perhaps not asked: what is unanswered there says nothing.
            for round in &mut watched.rounds {
                round.vias.retain(|via| watched.vias.contains(via));
            }
            watched.rounds.retain(|round| !round.vias.is_empty());
            match watched.due {
                None if !watched.vias.is_empty() => {
                    // Each has its own moment of the interval.
                    let due = now + self.interval * place / count;
                    watched.due = Some(due);
                    self.order.insert((due, *router));
                }
                Some(due) if watched.vias.is_empty() => {
                    self.order.remove(&(due, *router));
                    watched.due = None;
                    watched.rounds.clear();
                }
                _ => {}
            }
        }
        if !changed {
            return;
        }
        self.evidence.values_mut().for_each(|evidence| evidence.routers = 0);
        for watched in self.routers.values() {
            let neighbours: BTreeSet<NodeIndex> = watched.vias.iter().map(|via| via.neighbour).collect();
            neighbours.into_iter().for_each(|near| self.evidence.entry(near).or_default().routers += 1);
        }
    }

    /// The session with a switch came up or went away. A router that lost its own is asked at once, and faster.
    pub fn session(&mut self, datapath: DatapathId, up: bool, now: Timestamp) {
        let Some(router) = self.of.get(&datapath) else { return };
        let Some(watched) = self.routers.get_mut(router) else { return };
        watched.session = up;
        if let Some(due) = watched.due.filter(|due| !up && *due > now) {
            self.order.remove(&(due, *router));
            self.order.insert((now, *router));
            watched.due = Some(now);
        }
    }

    /// Something came from this switch.
    pub fn heard(&mut self, datapath: DatapathId, now: Timestamp) {
        self.heard.insert(datapath, now);
    }

    /// Judges rounds that had their time and sends those that are due.
    pub fn poll(&mut self, now: Timestamp) -> Vec<Command> {
        let mut commands = Vec::new();
        while let Some((due, router)) = self.order.first().copied().filter(|(due, _)| *due <= now) {
            if commands.len() >= PROBES_PER_POLL {
                break;
            }
            self.order.pop_first();
            self.judge(router, now);
            let Some(watched) = self.routers.get_mut(&router) else { continue };
            let pause = if watched.session { self.interval } else { self.interval / HURRY };
            // Busy, or hung? Its session can tell.
            if watched.missed > 0 && watched.session {
                commands.push(Command::Echo { datapath: watched.datapath });
            }
            let vias = take_turns(watched);
            for via in &vias {
                let probe = LivenessProbe { router, datapath: via.datapath, port: via.port, sent: now };
                let data = probe.encode(MacAddr::of_node(via.neighbour), self.key);
                commands.push(Command::PacketOut { datapath: via.datapath, port: via.port, data });
            }
            self.counts.sent += vias.len() as u64;
            if watched.rounds.len() >= ROUNDS_MAX as usize {
                watched.rounds.pop_front();
            }
            watched.rounds.push_back(Round { sent: now, patience: now + pause, vias });
            // From when it was due, so that each keeps its own moment; but no more of them because some were late.
            let next = if due + pause > now { due + pause } else { now + pause };
            watched.due = Some(next);
            self.order.insert((next, router));
        }
        commands
    }

    /// Counts the rounds that went unanswered although others were answered meanwhile.
    fn judge(&mut self, router: NodeIndex, now: Timestamp) {
        let Some(watched) = self.routers.get(&router) else { return };
        let over =
            |round: &&Round| round.patience <= now && round.vias.iter().any(|via| self.proven(router, via, round));
        let heard = self.heard.get(&watched.datapath).copied().unwrap_or_default();
        let (mut missed, mut silent) = (0_u32, 0_u32);
        for round in watched.rounds.iter().filter(over) {
            missed += 1;
            silent += u32::from(round.sent > heard);
        }
        let Some(watched) = self.routers.get_mut(&router) else { return };
        self.counts.missed_rounds += u64::from(missed.saturating_sub(watched.missed));
        self.changed |= (missed, silent) != (watched.missed, watched.silent);
        (watched.missed, watched.silent) = (missed, silent);
    }

    /// Whether the way through this neighbour works, and the controller has heard what came by it since this round.
    fn proven(&self, router: NodeIndex, via: &Via, round: &Round) -> bool {
        if let Some(evidence) = self.evidence.get(&via.neighbour).filter(|evidence| evidence.routers > 1) {
            return evidence.beside(router).is_some_and(|sent| sent >= round.sent);
        }
        self.heard.get(&via.datapath).is_some_and(|at| *at > round.patience)
    }

    /// Takes a frame that a switch handed up.
    pub fn packet_in(&mut self, datapath: DatapathId, in_port: PortNo, frame: &[u8], now: Timestamp) -> Answer {
        let probe = match LivenessProbe::decode(frame, self.key) {
            Ok(probe) => probe,
            Err(LivenessError::Other) => return Answer::Other,
            Err(error @ LivenessError::Forged { .. }) => {
                return Answer::Refused(format!("switch {datapath} port {in_port} heard a frame: {error}"));
            }
        };
        let Some(watched) = self.routers.get_mut(&probe.router) else { return Answer::Late };
        let back = datapath == probe.datapath && in_port == probe.port;
        let handed_up = datapath == watched.datapath;
        if (!back && !handed_up) || now.since(probe.sent) > self.interval * ROUNDS_MAX {
            return Answer::Late;
        }
        // A frame that was kept and sent again is no sign of life.
        let asked = |round: &Round| {
            let way = |via: &Via| via.datapath == probe.datapath && via.port == probe.port;
            round.sent == probe.sent && round.vias.iter().any(way)
        };
        if !watched.rounds.iter().any(asked) && probe.sent != watched.last_sent_answered {
            return Answer::Late;
        }
        let again = watched.missed > 0;
        self.changed |= again;
        watched.returned |= back;
        watched.handed_up |= handed_up;
        (watched.missed, watched.silent) = (0, 0);
        watched.last_sent_answered = watched.last_sent_answered.max(probe.sent);
        let round_trip = now.since(probe.sent);
        let round_trip_us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        watched.round_trip_us = Some(round_trip_us);
        watched.slowest_us -= watched.slowest_us / SLOWEST_FADES;
        if round_trip <= self.interval * STOOD_STILL {
            watched.slowest_us = watched.slowest_us.max(round_trip_us);
        }
        // Whoever answers this one lived through all that came before.
        watched.rounds.retain(|round| round.sent > probe.sent);
        self.counts.answered += 1;
        let neighbour = watched.vias.iter().find(|via| via.datapath == probe.datapath).map(|via| via.neighbour);
        if let Some(neighbour) = neighbour.filter(|_| back) {
            self.evidence.entry(neighbour).or_default().add(probe.sent, probe.router);
        }
        Answer::Alive { router: probe.router, again }
    }

    /// When [`Self::poll`] next has something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.order.first().map(|(due, _)| *due)
    }
}

/// The links of the next round.
fn take_turns(watched: &mut Watched) -> Vec<Via> {
    let count = watched.vias.len().min(LINKS_PER_ROUND);
    let vias = (0..count).filter_map(|n| watched.vias.get((watched.next_via + n) % watched.vias.len()).copied());
    let vias = vias.collect();
    watched.next_via = (watched.next_via + count) % watched.vias.len().max(1);
    vias
}

#[cfg(test)]
mod tests;
