//! What the tests of P4Runtime sessions share: a small program, a switch made of memory, and a wire between it and a session.

// Every test file uses its own part of this.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod program;
pub(crate) mod stub;
pub(crate) mod switch;
pub(crate) mod wire;

use std::time::Duration;

use foreshadow::plan::{Attachment, DatapathPlan, NextHop, RolePlan};
use foreshadow::types::{MacAddr, NodeIndex, PortNo};

/// A plan with hosts (last byte of the address, port) and ways to nodes (node, ports with their weights).
pub(crate) fn plan(hosts: &[(u8, u32)], ways: &[(u16, &[(u32, u8)])]) -> DatapathPlan {
    let attached = hosts.iter().map(|(host, port)| Attachment {
        address: [10, 0, 0, *host].into(),
        mac: MacAddr([2, 0, 0, 0, 0, *host]),
        port: PortNo(*port),
    });
    let way = |(port, weight): &(u32, u8)| NextHop { rank: *weight, port: PortNo(*port) };
    let next_hops = ways.iter().map(|(node, ports)| (NodeIndex(*node), ports.iter().map(way).collect()));
    DatapathPlan {
        index: NodeIndex(7),
        edge_ports: Vec::new(),
        mirror_ports: Vec::new(),
        gateways: Vec::new(),
        attached: attached.collect(),
        next_hops: next_hops.collect(),
        role: RolePlan::Transit,
    }
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
