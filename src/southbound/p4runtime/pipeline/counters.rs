//! Cells of counters: what to ask for, and what answers say.

use std::collections::{BTreeMap, BTreeSet};

use crate::p4info::mapping::{CounterArray, Mapping};
use crate::plan::{DatapathPlan, RolePlan};
use crate::southbound::PortCounters;
use crate::types::PortNo;
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::entity::Entity as Kind;

/// Ports that a plan speaks of. The rest carry nothing, and reading every cell takes BMv2 a while.
fn ports(plan: &DatapathPlan) -> BTreeSet<PortNo> {
    let hops = plan.next_hops.values().flatten().map(|hop| hop.port);
    let mut ports: BTreeSet<PortNo> = plan.edge_ports.iter().chain(&plan.mirror_ports).copied().chain(hops).collect();
    if let RolePlan::Router(router) = &plan.role {
        ports.extend(router.inside_ports.iter().chain(&router.outside_ports));
    }
    ports
}

pub(super) fn port_reads(mapping: &Mapping, plan: &DatapathPlan) -> Vec<v1::Entity> {
    let arrays = [&mapping.counters.port_in, &mapping.counters.port_out];
    let ports = ports(plan);
    let cells = |array: &CounterArray| {
        let inside = ports.iter().filter(|port| u64::from(port.0) < array.cells);
        inside.map(|port| cell(array.id, port.0.into())).collect::<Vec<_>>()
    };
    arrays.into_iter().flatten().flat_map(cells).collect()
}

pub(super) fn cell(counter_id: u32, index: i64) -> v1::Entity {
    let entry = v1::CounterEntry { counter_id, index: Some(v1::Index { index }), data: None };
    v1::Entity { entity: Some(Kind::CounterEntry(entry)) }
}

/// What came in and left by each port.
pub(super) fn port_counters(mapping: &Mapping, answers: &[v1::Entity]) -> BTreeMap<PortNo, PortCounters> {
    let mut ports: BTreeMap<PortNo, PortCounters> = BTreeMap::new();
    let id = |array: &Option<CounterArray>| array.as_ref().map(|array| array.id);
    let (port_in, port_out) = (id(&mapping.counters.port_in), id(&mapping.counters.port_out));
    for (counter, index, data) in cells(answers) {
        let Ok(port) = u32::try_from(index).map(PortNo) else { continue };
        if Some(counter) == port_in {
            let counters = ports.entry(port).or_default();
            (counters.rx_packets, counters.rx_bytes) = (packets(data), bytes(data));
        } else if Some(counter) == port_out {
            let counters = ports.entry(port).or_default();
            (counters.tx_packets, counters.tx_bytes) = (packets(data), bytes(data));
        }
    }
    ports
}

/// Counter, cell and what it shows.
pub(super) fn cells(answers: &[v1::Entity]) -> impl Iterator<Item = (u32, i64, &v1::CounterData)> {
    answers.iter().filter_map(|answer| match &answer.entity {
        Some(Kind::CounterEntry(entry)) => Some((entry.counter_id, entry.index.as_ref()?.index, entry.data.as_ref()?)),
        _ => None,
    })
}

/// A count below zero is none.
pub(super) fn packets(data: &v1::CounterData) -> u64 {
    u64::try_from(data.packet_count).unwrap_or_default()
}

fn bytes(data: &v1::CounterData) -> u64 {
    u64::try_from(data.byte_count).unwrap_or_default()
}
