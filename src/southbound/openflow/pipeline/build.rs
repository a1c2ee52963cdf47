//! Small parts from which every stage's entries are built.

use crate::southbound::openflow::state::{FlowEntry, FlowKey, GroupEntry, SwitchState};
use crate::types::{MacAddr, NodeIndex, PortNo};
use crate::wire::openflow::{Action, Bucket, Field, GroupType, Instruction, Match, Subfield, group, port};

use super::cookie;

pub(super) const ETH_IPV4: u16 = 0x0800;
pub(super) const ETH_ARP: u16 = 0x0806;
pub(super) const ETH_IPV6: u16 = 0x86dd;
pub(super) const ETH_LLDP: u16 = 0x88cc;
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

/// State under construction.
#[derive(Debug, Default)]
pub(super) struct Builder {
    pub(super) state: SwitchState,
}

impl Builder {
    pub(super) fn flow(&mut self, table: u8, priority: u16, matching: Match, instructions: Vec<Instruction>) {
        self.counted(cookie::PLAIN, table, priority, matching, instructions);
    }

    /// An entry whose counters are read by its cookie.
    pub(super) fn counted(
        &mut self,
        cookie: u64,
        table: u8,
        priority: u16,
        matching: Match,
        instructions: Vec<Instruction>,
    ) {
        let key = FlowKey { table, priority, matching: matching.canonical() };
        let instructions = Instruction::canonical(&instructions);
        let entry = FlowEntry { cookie, idle_timeout: 0, hard_timeout: 0, flags: 0, instructions };
        self.state.flows.insert(key, entry);
    }

    pub(super) fn group(&mut self, id: u32, group_type: GroupType, buckets: Vec<Bucket>) {
        let buckets =
            buckets.into_iter().map(|b| Bucket { actions: Action::canonical_list(&b.actions), ..b }).collect();
        self.state.groups.insert(id, GroupEntry { group_type, buckets });
    }
}

pub(super) fn ipv4() -> Match {
    Match::any().with(Field::EthType, ETH_IPV4)
}

pub(super) fn protocol(number: u8) -> Match {
    ipv4().with(Field::IpProto, number)
}

pub(super) fn register(number: u8, value: u16) -> Match {
    Match::any().with(Field::Reg(number), value)
}

pub(super) fn load(number: u8, value: u16) -> Action {
    Action::set_field(Field::Reg(number), value)
}

pub(super) fn set_mac(field: Field, mac: MacAddr) -> Action {
    Action::set_field(field, mac.to_u64())
}

/// The destination is a node of the fabric.
pub(super) fn towards(node: NodeIndex) -> Action {
    set_mac(Field::EthDst, MacAddr::of_node(node))
}

pub(super) fn copy(source: Field, target: Field) -> Action {
    Action::RegMove { source: Subfield::whole(source), target: Subfield::whole(target) }
}

pub(super) fn apply(actions: Vec<Action>) -> Vec<Instruction> {
    vec![Instruction::ApplyActions(actions)]
}

pub(super) fn apply_then(actions: Vec<Action>, table: u8) -> Vec<Instruction> {
    vec![Instruction::ApplyActions(actions), Instruction::GotoTable(table)]
}

pub(super) fn go_to(table: u8) -> Vec<Instruction> {
    vec![Instruction::GotoTable(table)]
}

pub(super) fn drop() -> Vec<Instruction> {
    Vec::new()
}

/// IPv4 packets to a prefix.
pub(super) fn destination(prefix: ipnet::Ipv4Net) -> Match {
    ipv4().with_masked(Field::Ipv4Dst, prefix.network().to_bits(), prefix.netmask().to_bits())
}

/// Bucket that lives as long as `watch_port` is up.
pub(super) fn bucket_on_port(weight: u16, watch_port: PortNo, actions: Vec<Action>) -> Bucket {
    Bucket { weight, watch_port, watch_group: group::ANY, actions }
}

/// Bucket that lives as long as another group has a live bucket.
pub(super) fn bucket_on_group(weight: u16, watch_group: u32, actions: Vec<Action>) -> Bucket {
    Bucket { weight, watch_port: port::ANY, watch_group, actions }
}

/// Bucket that always lives.
pub(super) fn bucket(weight: u16, actions: Vec<Action>) -> Bucket {
    Bucket { weight, watch_port: port::ANY, watch_group: group::ANY, actions }
}
