//! A small data path and a switch made of memory, for tests of OpenFlow sessions.

#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used)]

mod fake;

pub use fake::{FakeSwitch, Pair, port_description};

use std::collections::BTreeMap;

use foreshadow::plan::{Attachment, DatapathPlan, NextHop, OutsidePlan, RolePlan};
use foreshadow::southbound::openflow::state::{FlowEntry, FlowKey, GroupEntry, SwitchState};
use foreshadow::southbound::openflow::{CookieSpace, Mapping};
use foreshadow::southbound::{ConnectionEnded, PortCounters, Reading};
use foreshadow::types::{MacAddr, NodeIndex, PortNo};
use foreshadow::wire::openflow::{
    Action, Bucket, Field, FlowMod, FlowModCommand, FlowRemoved, FlowStats, FlowStatsRequest, GroupType, Instruction,
    Match, MultipartReplyBody, MultipartRequestBody, NO_BUFFER, group, port,
};

/// Cookies of installed entries have this in their upper half, learned ones `LEARNED`.
pub const OURS: CookieSpace = CookieSpace { value: 0x4653_0001_0000_0000, mask: 0xffff_ffff_0000_0000 };
pub const LEARNED: u64 = 0x4653_0002_0000_0000;
/// Where learned entries live.
pub const LEARNED_TABLE: u8 = 9;
/// Groups of the indirection refer to the groups of next hops.
pub const INDIRECT: u32 = 1_000;

pub fn mapping() -> Mapping {
    Mapping {
        cookies: OURS,
        compile,
        requests: |_| vec![MultipartRequestBody::PortStats(port::ANY), all_flows(LEARNED)],
        reading,
        choices: |_| std::collections::BTreeMap::new(),
        stand_ins: |_| std::collections::BTreeMap::new(),
        stations: |_| Vec::new(),
        links: |_| Vec::new(),
        flood: Vec::new,
        connection_ended,
        housekeeping_request: |_| Some(all_flows(LEARNED)),
        housekeeping,
        connections_request: |_| None,
        connections: |_, _, _| Vec::new(),
        write_connection: |_, _, _, _| None,
    }
}

pub fn all_flows(cookie: u64) -> MultipartRequestBody {
    MultipartRequestBody::Flow(FlowStatsRequest {
        table_id: 0xff,
        out_port: port::ANY,
        out_group: group::ANY,
        cookie,
        cookie_mask: OURS.mask,
        matching: Match::any(),
    })
}

/// A plan that sends `nodes` out of ports, `alias` through the group of another node, and `hosts` flows more.
pub fn plan(nodes: &[(u16, u32)], alias: &[(u16, u16)], hosts: u32) -> DatapathPlan {
    DatapathPlan {
        index: NodeIndex(1),
        edge_ports: Vec::new(),
        mirror_ports: Vec::new(),
        gateways: Vec::new(),
        attached: (0..hosts)
            .map(|n| Attachment { address: (0x0a00_0000 + n).into(), mac: MacAddr::GATEWAY, port: PortNo(1) })
            .collect(),
        next_hops: nodes
            .iter()
            .map(|(node, out)| (NodeIndex(*node), vec![NextHop { rank: 0, port: PortNo(*out) }]))
            .collect(),
        role: RolePlan::Outside(OutsidePlan {
            indirection: alias.iter().map(|(a, b)| (NodeIndex(*a), NodeIndex(*b))).collect(),
        }),
    }
}

fn compile(plan: &DatapathPlan) -> SwitchState {
    let mut state = SwitchState::default();
    let bucket = |actions| Bucket { weight: 0, watch_port: port::ANY, watch_group: group::ANY, actions };
    for (node, hops) in &plan.next_hops {
        let buckets = hops.iter().map(|hop| bucket(vec![Action::output(hop.port)])).collect();
        state.groups.insert(node.0.into(), GroupEntry { group_type: GroupType::Indirect, buckets });
        put(&mut state, 0, Match::any().with(Field::EthDst, MacAddr::of_node(*node).to_u64()), node.0.into());
    }
    if let RolePlan::Outside(outside) = &plan.role {
        for (alias, node) in &outside.indirection {
            let id = INDIRECT - u32::from(alias.0);
            let buckets = vec![bucket(vec![Action::Group(node.0.into())])];
            state.groups.insert(id, GroupEntry { group_type: GroupType::Indirect, buckets });
            put(&mut state, 1, Match::any().with(Field::EthSrc, MacAddr::of_node(*alias).to_u64()), id);
        }
    }
    for host in &plan.attached {
        let matching = Match::any().with(Field::EthType, 0x0800_u16).with(Field::Ipv4Dst, u32::from(host.address));
        let key = FlowKey { table: 2, priority: 5, matching };
        let actions = vec![Action::set_field(Field::EthDst, host.mac.to_u64()), Action::output(host.port)];
        state.flows.insert(key, entry(vec![Instruction::ApplyActions(actions)]));
    }
    state
}

fn put(state: &mut SwitchState, table: u8, matching: Match, group: u32) {
    let instructions = vec![Instruction::WriteActions(vec![Action::Group(group)])];
    state.flows.insert(FlowKey { table, priority: 10, matching: matching.canonical() }, entry(instructions));
}

fn entry(instructions: Vec<Instruction>) -> FlowEntry {
    FlowEntry { cookie: OURS.value | 7, idle_timeout: 0, hard_timeout: 0, flags: 0, instructions }
}

fn reading(_: &DatapathPlan, bodies: &[MultipartReplyBody]) -> Reading {
    let mut ports = BTreeMap::new();
    for body in bodies {
        if let MultipartReplyBody::PortStats(stats) = body {
            ports.extend(
                stats
                    .iter()
                    .map(|s| (PortNo(s.port_no), PortCounters { rx_packets: s.rx_packets, ..PortCounters::default() })),
            );
        }
    }
    Reading { ports, ..Reading::default() }
}

fn connection_ended(flow: &FlowRemoved) -> Option<ConnectionEnded> {
    (flow.cookie == LEARNED).then_some(ConnectionEnded {
        which: None,
        duration_ms: u64::from(flow.duration_sec) * 1_000,
        packets: flow.packet_count,
        bytes: flow.byte_count,
    })
}

/// Entries older than a minute go.
fn housekeeping(_: &DatapathPlan, flows: &[FlowStats]) -> Vec<FlowMod> {
    flows.iter().filter(|flow| flow.duration_sec > 60).map(delete).collect()
}

fn delete(flow: &FlowStats) -> FlowMod {
    FlowMod {
        cookie: flow.cookie,
        cookie_mask: u64::MAX,
        table_id: flow.table_id,
        command: FlowModCommand::DeleteStrict,
        idle_timeout: 0,
        hard_timeout: 0,
        priority: flow.priority,
        buffer_id: NO_BUFFER,
        out_port: port::ANY,
        out_group: group::ANY,
        flags: 0,
        matching: flow.matching.clone(),
        instructions: Vec::new(),
    }
}
