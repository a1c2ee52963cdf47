//! From what a switch holds to what it should hold: which changes, in which order (docs/OPENFLOW.md, "Ordering").
//!
//! Pure: the installer sends what comes out of here, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::state::{FlowEntry, FlowKey, GroupEntry, SwitchState};
use crate::southbound::InstallCounts;
use crate::wire::openflow::{
    Action, FlowMod, FlowModCommand, GroupMod, GroupModCommand, GroupType, Instruction, Message, NO_BUFFER, flow_flags,
    group, port,
};

/// One message to the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    AddGroup(u32, GroupEntry),
    ModifyGroup(u32, GroupEntry),
    DeleteGroup(u32, GroupType),
    AddFlow(FlowKey, FlowEntry),
    /// ADD again: it replaces the entry in one step and keeps its counters (no RESET_COUNTS).
    ReplaceFlow(FlowKey, FlowEntry),
    DeleteFlow(FlowKey, u64),
}

impl Change {
    pub fn message(&self) -> Message {
        match self {
            Self::AddGroup(id, entry) => group_mod(GroupModCommand::Add, *id, entry),
            Self::ModifyGroup(id, entry) => group_mod(GroupModCommand::Modify, *id, entry),
            Self::DeleteGroup(id, group_type) => Message::GroupMod(GroupMod {
                command: GroupModCommand::Delete,
                group_type: *group_type,
                group_id: *id,
                buckets: Vec::new(),
            }),
            Self::AddFlow(key, entry) | Self::ReplaceFlow(key, entry) => Message::FlowMod(FlowMod {
                cookie: entry.cookie,
                idle_timeout: entry.idle_timeout,
                hard_timeout: entry.hard_timeout,
                flags: entry.flags,
                instructions: entry.instructions.clone(),
                ..flow_mod(FlowModCommand::Add, key)
            }),
            // The cookie keeps a strict delete away from an entry that somebody else put in the same place.
            Self::DeleteFlow(key, cookie) => Message::FlowMod(FlowMod {
                cookie: *cookie,
                cookie_mask: u64::MAX,
                ..flow_mod(FlowModCommand::DeleteStrict, key)
            }),
        }
    }

    pub(super) fn count(&self, counts: &mut InstallCounts) {
        match self {
            Self::AddGroup(..) => counts.groups_added += 1,
            Self::ModifyGroup(..) => counts.groups_modified += 1,
            Self::DeleteGroup(..) => counts.groups_deleted += 1,
            Self::AddFlow(..) => counts.flows_added += 1,
            Self::ReplaceFlow(..) => counts.flows_modified += 1,
            Self::DeleteFlow(..) => counts.flows_deleted += 1,
        }
    }

    /// What the switch holds once it has obeyed.
    pub(super) fn apply(self, state: &mut SwitchState) {
        match self {
            Self::AddGroup(id, entry) | Self::ModifyGroup(id, entry) => {
                state.groups.insert(id, entry);
            }
            Self::DeleteGroup(id, _) => {
                state.groups.remove(&id);
            }
            Self::AddFlow(key, entry) | Self::ReplaceFlow(key, entry) => {
                state.flows.insert(key, entry);
            }
            Self::DeleteFlow(key, _) => {
                state.flows.remove(&key);
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddGroup(id, _) => write!(f, "add group {id}"),
            Self::ModifyGroup(id, _) => write!(f, "modify group {id}"),
            Self::DeleteGroup(id, _) => write!(f, "delete group {id}"),
            Self::AddFlow(key, _) => write!(f, "add flow {key}"),
            Self::ReplaceFlow(key, _) => write!(f, "replace flow {key}"),
            Self::DeleteFlow(key, _) => write!(f, "delete flow {key}"),
        }
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} priority {} match {}", self.table, self.priority, self.matching)
    }
}

/// Changes in the order in which they are sent. Within a level the order does not matter; a barrier keeps levels
/// apart, because a switch may reorder messages between barriers (section 6.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Additions and replacements: groups before what refers to them, flows last.
    pub make: Vec<Vec<Change>>,
    /// Deletions: flows first, then groups, each after what refers to it.
    pub remove: Vec<Vec<Change>>,
    /// Entries that are right as they are.
    pub unchanged: u32,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.make.is_empty() && self.remove.is_empty()
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.make.iter().chain(&self.remove).map(Vec::len).sum()
    }
}

/// What turns `installed` into `wanted`.
pub fn difference(installed: &SwitchState, wanted: &SwitchState) -> Difference {
    let mut unchanged = 0;
    let mut groups = BTreeMap::new();
    for (id, entry) in &wanted.groups {
        match installed.groups.get(id) {
            None => _ = groups.insert(*id, Change::AddGroup(*id, entry.clone())),
            Some(held) if same_group(held, entry) => unchanged += 1,
            Some(_) => _ = groups.insert(*id, Change::ModifyGroup(*id, entry.clone())),
        }
    }
    let mut flows = Vec::new();
    for (key, entry) in &wanted.flows {
        match installed.flows.get(key) {
            None => flows.push(Change::AddFlow(key.clone(), entry.clone())),
            Some(held) if same_flow(held, entry) => unchanged += 1,
            Some(_) => flows.push(Change::ReplaceFlow(key.clone(), entry.clone())),
        }
    }
    let stale_flows = installed.flows.iter().filter(|(key, _)| !wanted.flows.contains_key(key));
    let stale_flows: Vec<_> = stale_flows.map(|(key, entry)| Change::DeleteFlow(key.clone(), entry.cookie)).collect();
    let stale_groups = installed.groups.iter().filter(|(id, _)| !wanted.groups.contains_key(id));
    let stale_groups: BTreeMap<_, _> =
        stale_groups.map(|(id, entry)| (*id, Change::DeleteGroup(*id, entry.group_type))).collect();

    let mut make = by_level(groups, |id| wanted.groups.get(&id).map(references).unwrap_or_default());
    make.push(flows);
    let mut remove = by_level(stale_groups, |id| installed.groups.get(&id).map(references).unwrap_or_default());
    // A group goes before those it refers to: the order of making, backwards.
    remove.push(stale_flows);
    remove.reverse();
    make.retain(|level| !level.is_empty());
    remove.retain(|level| !level.is_empty());
    Difference { make, remove, unchanged }
}

/// Levels in which no group refers to another of its own or a later level. A cycle, which no switch takes, ends up
/// in one level and is refused there.
fn by_level(mut changes: BTreeMap<u32, Change>, refers_to: impl Fn(u32) -> BTreeSet<u32>) -> Vec<Vec<Change>> {
    let mut levels = Vec::new();
    while !changes.is_empty() {
        let mut ready: Vec<u32> = changes
            .keys()
            .copied()
            .filter(|id| refers_to(*id).iter().all(|other| !changes.contains_key(other)))
            .collect();
        if ready.is_empty() {
            ready = changes.keys().copied().collect();
        }
        levels.push(ready.iter().filter_map(|id| changes.remove(id)).collect());
    }
    levels
}

/// Groups that a group's buckets send to or watch.
fn references(entry: &GroupEntry) -> BTreeSet<u32> {
    let mut all = BTreeSet::new();
    for bucket in &entry.buckets {
        if bucket.watch_group != group::ANY {
            all.insert(bucket.watch_group);
        }
        all.extend(bucket.actions.iter().filter_map(|action| match action {
            Action::Group(id) => Some(*id),
            _ => None,
        }));
    }
    all
}

/// Flags that tell how to add an entry and are not part of it.
const TRANSIENT_FLAGS: u16 = flow_flags::CHECK_OVERLAP | flow_flags::RESET_COUNTS;

fn same_flow(held: &FlowEntry, wanted: &FlowEntry) -> bool {
    held.cookie == wanted.cookie
        && held.idle_timeout == wanted.idle_timeout
        && held.hard_timeout == wanted.hard_timeout
        && held.flags & !TRANSIENT_FLAGS == wanted.flags & !TRANSIENT_FLAGS
        && (held.instructions == wanted.instructions
            || Instruction::canonical(&held.instructions) == Instruction::canonical(&wanted.instructions))
}

/// Weights count in SELECT groups, watched ports and groups in SELECT and fast failover: elsewhere a switch may
/// report what it likes.
fn same_group(held: &GroupEntry, wanted: &GroupEntry) -> bool {
    let weighted = wanted.group_type == GroupType::Select;
    let watched = weighted || wanted.group_type == GroupType::FastFailover;
    held.group_type == wanted.group_type
        && held.buckets.len() == wanted.buckets.len()
        && held.buckets.iter().zip(&wanted.buckets).all(|(held, wanted)| {
            (!weighted || held.weight == wanted.weight)
                && (!watched || (held.watch_port == wanted.watch_port && held.watch_group == wanted.watch_group))
                && (held.actions == wanted.actions
                    || Action::canonical_list(&held.actions) == Action::canonical_list(&wanted.actions))
        })
}

fn group_mod(command: GroupModCommand, group_id: u32, entry: &GroupEntry) -> Message {
    Message::GroupMod(GroupMod { command, group_type: entry.group_type, group_id, buckets: entry.buckets.clone() })
}

fn flow_mod(command: FlowModCommand, key: &FlowKey) -> FlowMod {
    FlowMod {
        cookie: 0,
        cookie_mask: 0,
        table_id: key.table,
        command,
        idle_timeout: 0,
        hard_timeout: 0,
        priority: key.priority,
        buffer_id: NO_BUFFER,
        out_port: port::ANY,
        out_group: group::ANY,
        flags: 0,
        matching: key.matching.clone(),
        instructions: Vec::new(),
    }
}
