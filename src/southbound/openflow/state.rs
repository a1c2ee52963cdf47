//! What an OpenFlow switch holds, or should hold: flows and groups as comparable values.

use std::collections::BTreeMap;

use crate::wire::openflow::{Bucket, GroupType, Instruction, Match};

/// Flows and groups of one switch, without the entries it learned by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchState {
    pub flows: BTreeMap<FlowKey, FlowEntry>,
    pub groups: BTreeMap<u32, GroupEntry>,
}

/// What identifies a flow to a switch; `matching` is canonical ([`Match::canonical`]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    pub table: u8,
    pub priority: u16,
    pub matching: Match,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowEntry {
    pub cookie: u64,
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub flags: u16,
    pub instructions: Vec<Instruction>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupEntry {
    pub group_type: GroupType,
    pub buckets: Vec<Bucket>,
}
