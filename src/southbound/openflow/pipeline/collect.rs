//! Readings: what to ask of a switch, and what the answers mean.

use std::collections::BTreeMap;
use std::time::Duration;

use super::build::TCP;
use super::router::STATE_OPENING;
use super::{cookie, reg, replication, table};
use crate::plan::{DatapathPlan, RolePlan};
use crate::southbound::{ConnectionCounters, ConnectionEnded, PortCounters, Reading};
use crate::types::{NodeIndex, PortNo, ServiceId};
use crate::wire::openflow::{
    Action, Field, FlowMod, FlowModCommand, FlowRemoved, FlowStats, FlowStatsRequest, Instruction, Match, MatchField,
    MultipartReplyBody, MultipartRequestBody, NO_BUFFER, PortStats, TABLE_ALL, group, port, removed_reason,
};

/// What makes up a reading of this switch.
pub fn requests(plan: &DatapathPlan) -> Vec<MultipartRequestBody> {
    let mut requests = vec![MultipartRequestBody::PortStats(port::ANY)];
    match &plan.role {
        RolePlan::Access(_) => {
            requests.push(MultipartRequestBody::Flow(flows(table::COMMIT, cookie::CHOSEN)));
        }
        RolePlan::Router(_) => {
            requests.push(MultipartRequestBody::Aggregate(flows(table::CONNECTIONS, cookie::CONNECTION)));
            requests.push(MultipartRequestBody::Aggregate(flows(table::CLOSING, cookie::CLOSING)));
            for counted in [cookie::ADMITTED, cookie::REFUSED, cookie::UNKNOWN] {
                requests.push(MultipartRequestBody::Flow(flows(TABLE_ALL, counted)));
            }
        }
        RolePlan::Transit | RolePlan::Outside(_) | RolePlan::Bridge(_) => {}
    }
    requests
}

fn flows(table_id: u8, cookie: u64) -> FlowStatsRequest {
    FlowStatsRequest {
        table_id,
        out_port: port::ANY,
        out_group: group::ANY,
        cookie,
        cookie_mask: cookie::PURPOSE_MASK,
        matching: Match::any(),
    }
}

/// What the answers say, in whatever order they came; what was not answered is missing.
///
/// The two aggregates carry nothing that tells them apart, but every closing connection has its entry among the
/// connections, so the smaller one is the closing.
pub fn reading(plan: &DatapathPlan, answers: &[MultipartReplyBody]) -> Reading {
    let mut reading = Reading::default();
    let mut aggregates = Vec::new();
    let mut counters = ConnectionCounters::default();
    for answer in answers {
        match answer {
            MultipartReplyBody::PortStats(ports) => reading.ports.extend(ports.iter().filter_map(port_counters)),
            MultipartReplyBody::Aggregate(aggregate) => aggregates.push(u64::from(aggregate.flow_count)),
            MultipartReplyBody::Flow(flows) => {
                for flow in flows {
                    count(plan, flow, &mut counters, &mut reading.chosen);
                }
            }
            _ => {}
        }
    }
    if let (RolePlan::Router(_), [one, other]) = (&plan.role, &aggregates[..]) {
        (counters.occupied, counters.closing) = (*one.max(other), *one.min(other));
        reading.connections = Some(counters);
    }
    reading
}

fn count(
    plan: &DatapathPlan,
    flow: &FlowStats,
    counters: &mut ConnectionCounters,
    chosen: &mut BTreeMap<ServiceId, BTreeMap<NodeIndex, u64>>,
) {
    match flow.cookie & cookie::PURPOSE_MASK {
        cookie::ADMITTED => add(&mut counters.admitted, flow),
        cookie::REFUSED => add(&mut counters.refused, flow),
        cookie::UNKNOWN => add(&mut counters.unknown, flow),
        cookie::CHOSEN => {
            let RolePlan::Access(access) = &plan.role else { return };
            let Some((number, router)) = cookie::chosen_parts(flow.cookie) else { return };
            let Some(service) = access.services.iter().find(|service| service.number == number) else { return };
            add(chosen.entry(service.service.clone()).or_default().entry(router).or_default(), flow);
        }
        _ => {}
    }
}

/// A counter that a switch does not keep is all ones (OpenFlow 1.3, section 7.3.5); no sum may overflow by what a switch
/// says.
fn add(sum: &mut u64, flow: &FlowStats) {
    if flow.packet_count != u64::MAX {
        *sum = sum.saturating_add(flow.packet_count);
    }
}

fn port_counters(stats: &PortStats) -> Option<(PortNo, PortCounters)> {
    let number = PortNo(stats.port_no);
    let counters = PortCounters {
        rx_packets: stats.rx_packets,
        tx_packets: stats.tx_packets,
        rx_bytes: stats.rx_bytes,
        tx_bytes: stats.tx_bytes,
        rx_dropped: stats.rx_dropped,
        tx_dropped: stats.tx_dropped,
    };
    (number < port::MAX).then_some((number, counters))
}

/// The connection whose entry this was; `None` for other entries. Packets and bytes are those of both directions.
pub fn connection_ended(removed: &FlowRemoved) -> Option<ConnectionEnded> {
    if removed.cookie & cookie::PURPOSE_MASK != cookie::CONNECTION {
        return None;
    }
    let lived =
        Duration::new(u64::from(removed.duration_sec), 0) + Duration::from_nanos(u64::from(removed.duration_nsec));
    // A FIN or RST has shortened the idle time-out that the switch reports here.
    let waited = match removed.reason {
        removed_reason::IDLE_TIMEOUT => Duration::from_secs(u64::from(removed.idle_timeout)),
        _ => Duration::ZERO,
    };
    Some(ConnectionEnded {
        which: replication::key_of(&removed.matching),
        duration_ms: u64::try_from(lived.saturating_sub(waited).as_millis()).unwrap_or(u64::MAX),
        packets: removed.packet_count,
        bytes: removed.byte_count,
    })
}

/// Asks for the connections of a first-stage switch.
pub fn housekeeping_request(plan: &DatapathPlan) -> Option<MultipartRequestBody> {
    let asked = || MultipartRequestBody::Flow(flows(table::CONNECTIONS, cookie::CONNECTION));
    matches!(plan.role, RolePlan::Router(_)).then(asked)
}

/// Deletions of TCP connections whose handshake did not end in time.
pub fn housekeeping(plan: &DatapathPlan, flows: &[FlowStats]) -> Vec<FlowMod> {
    let RolePlan::Router(router) = &plan.role else { return Vec::new() };
    let stale = |flow: &&FlowStats| {
        flow.cookie & cookie::PURPOSE_MASK == cookie::CONNECTION
            && flow.duration_sec >= u32::from(router.half_open_timeout_s)
            && is_tcp(&flow.matching)
            && is_opening(&flow.instructions)
    };
    flows.iter().filter(stale).map(deletion).collect()
}

fn is_tcp(matching: &Match) -> bool {
    matching.get(Field::Reg(reg::PROTOCOL)).is_some_and(|protocol| protocol.value == u128::from(TCP))
}

pub(super) fn is_opening(instructions: &[Instruction]) -> bool {
    let opening = MatchField { field: Field::Reg(reg::STATE), value: u128::from(STATE_OPENING), mask: None };
    Instruction::canonical(instructions).iter().any(|instruction| match instruction {
        Instruction::ApplyActions(actions) => actions.contains(&Action::SetField(opening)),
        _ => false,
    })
}

fn deletion(flow: &FlowStats) -> FlowMod {
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
