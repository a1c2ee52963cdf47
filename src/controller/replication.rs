//! Who keeps a copy of whose connections, and whether it is right (docs/DATAPATH.md, "Replication").
//!
//! An *owner*'s connections are carried by their *holder*: the owner itself, or the shadow that stands in for it. Every
//! other *keeper* should hold the same. Switches copy changes to one another by themselves; here the tables are compared
//! from time to time, and what was lost is repaired. A new shadow's snapshot, and what a router that came back has
//! missed, are the same comparison with everything missing.
//!
//! Two tables are never read at the same instant, so what is missing or too much counts only once two comparisons in a
//! row found it. A keeper that carries no packets of the owner (its first snapshot, or the owner before it carries
//! again) is brought up at once. A holder that was found empty has lost its connections, not ended them: it is given what
//! its keepers hold.

mod p4;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::southbound::{Command, Connection, ConnectionKey, Event};
use crate::types::{DatapathId, NodeIndex, Timestamp};

/// Between comparisons while something is to be repaired.
const HURRY: Duration = Duration::from_millis(900);
/// Without a comparison for so many intervals nobody knows whether a keeper is right.
const STALE_INTERVALS: u32 = 6;
/// A copy that differs by more than one connection in so many is no good for a shadow that is to be given more.
const UNFIT_PART: usize = 100;
/// A comparison that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// A dump keeps a switch from forwarding: for each connection read it is left alone for so long.
const PAUSE_PER_ENTRY: Duration = Duration::from_micros(200);

/// Who should hold an owner's connections, as the topology and the decisions have it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Carries them now.
    pub(super) holder: NodeIndex,
    /// Its table can be read.
    pub(super) readable: bool,
    /// It and its keepers compare by sweeps instead.
    pub(super) swept: bool,
    /// Everyone else; those who cannot hold them just now with the reason.
    pub(super) keepers: BTreeMap<NodeIndex, Result<(), &'static str>>,
}

/// How a pair stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pair {
    /// Why nothing can be copied at all.
    pub(super) obstacle: Option<&'static str>,
    /// Everything was written once.
    complete: bool,
    /// The last comparison found nothing that the one before had found already.
    equal: bool,
    /// It was compared once, and not for a long time now.
    lagging: bool,
    /// Differences of the last comparison.
    suspects: BTreeSet<ConnectionKey>,
    /// Connections at the holder and at the keeper, as of the last comparison.
    pub(super) held: usize,
    pub(super) copied: usize,
    /// Found by two comparisons in a row: the copies of these were lost, or outlived their connection.
    pub(super) divergence: usize,
    /// Entries added and removed by comparisons since the pair began.
    pub(super) repaired: u64,
    /// Connections whose end was passed on.
    pub(super) ends: u64,
    pub(super) compared_at: Option<Timestamp>,
    pub(super) error: Option<String>,
}

impl Pair {
    pub(super) fn ready(&self) -> bool {
        self.obstacle.is_none() && self.complete && self.equal && !self.lagging
    }

    /// In a word.
    pub(super) fn state(&self) -> &'static str {
        match self {
            Self { obstacle: Some(_), .. } => "impossible",
            Self { complete: false, .. } => "snapshot",
            Self { lagging: true, .. } => "lagging",
            Self { equal: false, .. } => "repairing",
            _ => "ready",
        }
    }
}

type Table = BTreeMap<ConnectionKey, Connection>;

/// One comparison of everyone who keeps an owner's connections.
#[derive(Clone, Debug)]
struct Round {
    began: Timestamp,
    reading: BTreeSet<NodeIndex>,
    tables: BTreeMap<NodeIndex, Table>,
}

/// All pairs of a fabric.
#[derive(Clone, Debug, Default)]
pub(super) struct Replication {
    interval: Duration,
    groups: BTreeMap<NodeIndex, Group>,
    pairs: BTreeMap<(NodeIndex, NodeIndex), Pair>,
    rounds: BTreeMap<NodeIndex, Round>,
    due: BTreeMap<NodeIndex, Timestamp>,
    /// Connections that ended and are still to be taken from a keeper, by keeper and owner.
    ended: BTreeMap<(NodeIndex, NodeIndex), Vec<Connection>>,
    datapaths: BTreeMap<NodeIndex, DatapathId>,
    /// Switches that were found empty, and owners whose connections were given back to such a holder.
    emptied: BTreeSet<NodeIndex>,
    given_back: BTreeSet<(NodeIndex, NodeIndex)>,
    swept: p4::Swept,
}

impl Replication {
    /// Compares every `interval`; never if that is 0.
    pub(super) fn new(interval: Duration, datapaths: BTreeMap<NodeIndex, DatapathId>) -> Self {
        Self { interval, datapaths, ..Self::default() }
    }

    /// The copy of `owner`'s connections that `keeper` holds is whole and right, as far as the last comparison knows.
    pub(super) fn ready(&self, owner: NodeIndex, keeper: NodeIndex) -> bool {
        self.pairs.get(&(owner, keeper)).is_some_and(Pair::ready)
    }

    /// The owner holds what whoever stood in for it holds: its packets may come back.
    pub(super) fn is_back(&self, owner: NodeIndex) -> bool {
        match self.groups.get(&owner) {
            Some(group) if group.holder != owner => self.ready(owner, owner),
            _ => true,
        }
    }

    /// Shadows whose copies of these owners lag, or are wrong by too much. One that was never whole is not yet among them,
    /// and who cannot ask the holder knows nothing against the keeper.
    pub(super) fn unfit(&self) -> impl Iterator<Item = (NodeIndex, NodeIndex)> {
        let unfit = self.pairs.iter().filter(|((owner, _), pair)| {
            let behind = pair.lagging || !pair.equal && pair.divergence > pair.held / UNFIT_PART;
            let asked = self.groups.get(owner).is_some_and(|group| group.readable);
            asked && pair.obstacle.is_none() && pair.complete && behind
        });
        unfit.map(|(pair, _)| *pair)
    }

    /// By owner and keeper.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (NodeIndex, NodeIndex, NodeIndex, &Pair)> {
        self.pairs.iter().map(|((owner, keeper), pair)| {
            (*owner, self.groups.get(owner).map_or(*owner, |group| group.holder), *keeper, pair)
        })
    }

    /// Takes over who keeps what from now on. Pairs that stay keep what is known of them.
    pub(super) fn arrange(&mut self, groups: BTreeMap<NodeIndex, Group>, now: Timestamp) {
        if self.interval.is_zero() || groups == self.groups {
            return;
        }
        for (owner, group) in &groups {
            let before = self.groups.get(owner);
            if before != Some(group) {
                self.rounds.remove(owner);
                self.due.insert(*owner, now);
            }
            let moved = before.is_some_and(|before| before.holder != group.holder);
            for (keeper, possible) in &group.keepers {
                let pair = self.pairs.entry((*owner, *keeper)).or_default();
                if pair.obstacle != possible.err() || moved && keeper == owner {
                    *pair = Pair::default();
                }
                pair.obstacle = possible.err();
                if moved {
                    pair.suspects.clear();
                }
            }
        }
        let kept = |owner: &NodeIndex, keeper: &NodeIndex| {
            groups.get(owner).is_some_and(|group| group.keepers.contains_key(keeper))
        };
        self.pairs.retain(|(owner, keeper), _| kept(owner, keeper));
        self.rounds.retain(|owner, _| groups.contains_key(owner));
        self.due.retain(|owner, _| groups.contains_key(owner));
        self.ended.retain(|(keeper, owner), _| kept(owner, keeper));
        self.groups = groups;
        self.arrange_swept(now);
    }

    /// What a switch has lost or forgotten: whatever is known of its tables.
    pub(super) fn forget(&mut self, node: NodeIndex) {
        self.pairs.iter_mut().filter(|((_, keeper), _)| *keeper == node).for_each(|(_, pair)| {
            (pair.complete, pair.equal) = (false, false);
        });
        self.emptied.insert(node);
        self.given_back.retain(|(_, holder)| *holder != node);
        self.swept.forget(node);
    }

    /// What is due: ends to pass on, comparisons to begin.
    pub(super) fn poll(&mut self, now: Timestamp) -> Vec<Command> {
        let mut commands = Vec::new();
        for ((keeper, owner), remove) in std::mem::take(&mut self.ended) {
            let Some(datapath) = self.datapaths.get(&keeper).copied() else { continue };
            if let Some(pair) = self.pairs.get_mut(&(owner, keeper)) {
                pair.ends += remove.len() as u64;
                commands.push(Command::WriteConnections { datapath, owner, add: Vec::new(), remove });
            }
        }
        self.rounds.retain(|_, round| now.since(round.began) < PATIENCE);
        let stale = self.interval * STALE_INTERVALS + PATIENCE;
        for pair in self.pairs.values_mut() {
            pair.lagging = pair.compared_at.is_some_and(|at| now.since(at) >= stale);
        }
        let due: Vec<NodeIndex> = self
            .due
            .iter()
            .filter(|(owner, at)| **at <= now && !self.rounds.contains_key(owner))
            .map(|(o, _)| *o)
            .collect();
        for owner in due {
            self.begin(owner, now, &mut commands);
        }
        commands.extend(self.swept.poll(now));
        self.follow_swept();
        commands
    }

    fn begin(&mut self, owner: NodeIndex, now: Timestamp, commands: &mut Vec<Command>) {
        let Some(group) = self.groups.get(&owner) else { return };
        let able = group.keepers.iter().filter(|(_, possible)| possible.is_ok()).map(|(keeper, _)| *keeper);
        let keepers: BTreeSet<NodeIndex> = able.collect();
        self.due.insert(owner, now + self.interval);
        if keepers.is_empty() || !group.readable || group.swept {
            return;
        }
        let reading: BTreeSet<NodeIndex> = keepers.iter().copied().chain([group.holder]).collect();
        let asked = reading.iter().filter_map(|node| self.datapaths.get(node));
        commands.extend(asked.map(|datapath| Command::ReadConnections { datapath: *datapath, owner }));
        self.rounds.insert(owner, Round { began: now, reading, tables: BTreeMap::new() });
    }

    /// Takes what a switch says about connections.
    pub(super) fn event(&mut self, node: NodeIndex, event: Event, now: Timestamp) -> Vec<Command> {
        let commands = self.swept.event(&event, now);
        self.follow_swept();
        if !commands.is_empty() {
            return commands;
        }
        match event {
            Event::Connections { owner, connections, .. } => {
                let Some(round) = self.rounds.get_mut(&owner) else { return Vec::new() };
                if round.reading.remove(&node) {
                    let table = connections.into_iter().map(|connection| (connection.key(), connection)).collect();
                    round.tables.insert(node, table);
                }
                self.finish(owner, now)
            }
            Event::ConnectionEnded { ended, .. } => {
                if let Some(connection) = ended.which {
                    self.ended(node, connection);
                }
                Vec::new()
            }
            Event::ConnectionsFailed { owner, error, .. } => {
                self.failed(owner, node, error);
                self.finish(owner, now)
            }
            _ => Vec::new(),
        }
    }

    /// The end of a connection follows to whoever keeps a copy. Which owner's it was the switch does not tell.
    fn ended(&mut self, node: NodeIndex, connection: Connection) {
        for (owner, group) in self.groups.iter().filter(|(_, group)| group.holder == node) {
            for (keeper, _) in group.keepers.iter().filter(|(_, possible)| possible.is_ok()) {
                self.ended.entry((*keeper, *owner)).or_default().push(connection);
            }
        }
    }

    fn failed(&mut self, owner: NodeIndex, node: NodeIndex, error: String) {
        let holder = self.groups.get(&owner).map(|group| group.holder);
        for ((_, keeper), pair) in self.pairs.iter_mut().filter(|((of, _), _)| *of == owner) {
            if holder == Some(node) || *keeper == node {
                pair.error = Some(error.clone());
            }
        }
        // The others are compared without it; without the holder there is nothing to compare with.
        if holder == Some(node) {
            self.rounds.remove(&owner);
        } else if let Some(round) = self.rounds.get_mut(&owner) {
            round.reading.remove(&node);
        }
    }

    /// Compares once everyone has answered.
    fn finish(&mut self, owner: NodeIndex, now: Timestamp) -> Vec<Command> {
        if self.rounds.get(&owner).is_none_or(|round| !round.reading.is_empty()) {
            return Vec::new();
        }
        self.rounds.remove(&owner).map_or_else(Vec::new, |round| self.compare(owner, &round, now))
    }

    fn compare(&mut self, owner: NodeIndex, round: &Round, now: Timestamp) -> Vec<Command> {
        let Some(group) = self.groups.get(&owner) else { return Vec::new() };
        let (holder, mut commands, mut repairing) = (group.holder, Vec::new(), false);
        let Some(source) = round.tables.get(&holder) else { return Vec::new() };
        if self.emptied.contains(&holder) && self.given_back.insert((owner, holder)) {
            let lost =
                lost(source, round.tables.iter().filter(|(keeper, _)| **keeper != holder).map(|(_, table)| table));
            if let Some(datapath) = self.datapaths.get(&holder).copied().filter(|_| !lost.is_empty()) {
                self.due.insert(owner, now + HURRY);
                return vec![Command::WriteConnections { datapath, owner, add: lost, remove: Vec::new() }];
            }
        }
        for (keeper, table) in round.tables.iter().filter(|(keeper, _)| **keeper != holder) {
            let (Some(pair), Some(datapath)) =
                (self.pairs.get_mut(&(owner, *keeper)), self.datapaths.get(keeper).copied())
            else {
                continue;
            };
            let (add, remove) = pair.compare(source, table, *keeper == owner, now);
            repairing |= !pair.ready();
            if !add.is_empty() || !remove.is_empty() {
                commands.push(Command::WriteConnections { datapath, owner, add, remove });
            }
        }
        let wait = if repairing { HURRY } else { self.interval };
        let read: usize = round.tables.values().map(Table::len).sum();
        let rest = PAUSE_PER_ENTRY.saturating_mul(u32::try_from(read).unwrap_or(u32::MAX));
        self.due.insert(owner, now + wait.max(rest));
        commands
    }
}

/// What keepers hold of a holder that started anew, and that it does not hold itself.
fn lost<'a>(source: &Table, keepers: impl Iterator<Item = &'a Table>) -> Vec<Connection> {
    let held = keepers.flatten().filter(|(_, copy)| copy.copy && copy.established && !copy.closing);
    let lost: Table = held.filter(|(key, _)| !source.contains_key(*key)).map(|(key, copy)| (*key, *copy)).collect();
    lost.into_values().collect()
}

impl Pair {
    /// Compares the holder's table with the keeper's: what to add, what to remove.
    ///
    /// The owner itself carries nothing while somebody stands in for it. It is back when it lacks nothing that was missing
    /// before: connections go on opening and ending meanwhile, and what it holds too much breaks none of them.
    fn compare(
        &mut self,
        source: &Table,
        table: &Table,
        is_owner: bool,
        now: Timestamp,
    ) -> (Vec<Connection>, Vec<Connection>) {
        let lacks = |(key, held): &(&ConnectionKey, &Connection)| {
            let known = table.get(key);
            !held.closing && !held.fleeting && known.is_none_or(|copy| held.established && !copy.established)
        };
        let missing: Vec<Connection> = source.iter().filter(lacks).map(|(_, held)| *held).collect();
        let stray = |(key, copy): &(&ConnectionKey, &Connection)| {
            (copy.copy || is_owner) && !copy.closing && !source.contains_key(*key)
        };
        let extra: Vec<Connection> = table.iter().filter(stray).map(|(_, copy)| *copy).collect();
        let again = |connection: &Connection| self.suspects.contains(&connection.key());
        let lacking = missing.iter().filter(|connection| again(connection)).count();
        self.divergence = missing.iter().chain(&extra).filter(|connection| again(connection)).count();
        let at_once = !self.complete || is_owner;
        let add: Vec<Connection> = missing.iter().filter(|it| at_once || again(it)).copied().collect();
        let remove: Vec<Connection> = extra.iter().filter(|it| again(it)).copied().collect();
        self.repaired += if self.complete { (add.len() + remove.len()) as u64 } else { 0 };
        self.suspects = missing.iter().chain(&extra).map(Connection::key).collect();
        // What was written now is confirmed by the next comparison.
        self.equal = self.complete && if is_owner { lacking == 0 } else { self.divergence == 0 };
        (self.held, self.copied, self.compared_at, self.error) = (source.len(), table.len(), Some(now), None);
        self.complete = true;
        (add, remove)
    }
}

#[cfg(test)]
mod tests;
