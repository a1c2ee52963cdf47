//! The data path of the fabric on Open vSwitch: from a plan to flows and groups, and from counters to a reading.
//!
//! Everything here is a pure function of the plan. docs/DATAPATH.md tells what the tables do and why;
//! docs/TARGETS.md what Open vSwitch was seen to do with them.

mod access;
mod bridge;
mod build;
mod collect;
pub mod cookie;
mod edge;
mod hops;
mod liveness;
mod nat;
mod outside;
mod pins;
mod replication;
mod router;
#[cfg(test)]
mod tests;
mod text;
mod transit;

use super::mapping::Mapping;
use super::state::SwitchState;
use crate::plan::{DatapathPlan, RolePlan};

pub use collect::{connection_ended, housekeeping, housekeeping_request, reading, requests};
pub use router::{EXACT_CAPACITY_MAX, shards};
pub use text::Text;

/// This data path, for sessions.
pub const MAPPING: Mapping = Mapping {
    cookies: cookie::INSTALLED,
    compile,
    requests,
    reading,
    choices: access::choices,
    stand_ins: pins::stand_ins,
    stations: bridge::stations,
    links: bridge::links,
    flood: bridge::flood,
    connection_ended,
    housekeeping_request,
    housekeeping,
    connections_request: replication::connections_request,
    connections: replication::connections,
    write_connection: replication::write_connection,
};

/// Everything that a switch with this plan should hold. The same plan gives the same state.
pub fn compile(plan: &DatapathPlan) -> SwitchState {
    let mut builder = build::Builder::default();
    hops::compile(plan, &mut builder);
    match &plan.role {
        RolePlan::Access(access) => access::compile(plan, access, &mut builder),
        RolePlan::Transit => transit::compile(plan, &mut builder),
        RolePlan::Router(router) => router::compile(plan, router, &mut builder),
        RolePlan::Outside(outside) => outside::compile(plan, outside, &mut builder),
        RolePlan::Bridge(bridge) => bridge::compile(plan, bridge, &mut builder),
    }
    builder.state
}

/// Tables, in the order in which packets cross them.
pub mod table {
    /// By port: discovery, mirror, edge, fabric.
    pub const CLASSIFY: u8 = 0;
    /// ARP from hosts and servers.
    pub const ARP: u8 = 1;

    // Access and outside.
    /// IPv4 from hosts or servers.
    pub const UPSTREAM: u8 = 10;
    /// By the mark of the pin.
    pub const PINNED: u8 = 11;
    /// From slot to router.
    pub const SLOT: u8 = 12;
    /// Makes the pin; counts choices.
    pub const COMMIT: u8 = 13;
    /// What a router id means now.
    pub const INDIRECTION: u8 = 14;
    /// IPv4 from the fabric.
    pub const DOWNSTREAM: u8 = 20;
    /// Outside only: the pin follows the owner of the state.
    pub const OWNED: u8 = 21;
    /// To the host or server.
    pub const DELIVER: u8 = 22;

    // Routers.
    /// Replies to a translated address, after the tracker.
    pub const INWARD: u8 = 38;
    /// For whom a packet is.
    pub const OWNER: u8 = 40;
    /// From packet to key.
    pub const KEY: u8 = 41;
    /// Learned: connections.
    pub const CONNECTIONS: u8 = 42;
    /// Learned: connections that close.
    pub const CLOSING: u8 = 43;
    /// Learned: connections whose refusal was counted.
    pub const REMEMBERED: u8 = 44;
    pub const DECIDE: u8 = 45;
    pub const PROGRESS: u8 = 46;
    pub const CLOSE: u8 = 47;
    pub const SHARD: u8 = 48;
    pub const ADMIT: u8 = 49;
    pub const VERDICT: u8 = 50;
    pub const REFUSE: u8 = 51;
    pub const REMEMBER: u8 = 52;
    pub const ROUTE_SOURCE: u8 = 53;
    /// Learned: connections of which a packet was mirrored lately.
    pub const SAMPLED: u8 = 54;
    /// Copies what changed, and now and then the rest, to who keeps the owner's connections.
    pub const MIRROR: u8 = 55;
    pub const ROUTE: u8 = 56;
    /// Copies from another keeper.
    pub const COPY: u8 = 57;
    /// To the tracker, which translates the source.
    pub const OUTWARD: u8 = 58;
    /// What the tracker left as it was.
    pub const OUTWARD_REST: u8 = 59;

    // Bridges.
    /// Who speaks from which edge port.
    pub const SOURCE: u8 = 60;
    /// ARP, neighbour discovery and DHCP, of which the controller hears.
    pub const NEIGHBOUR: u8 = 61;
    /// By destination.
    pub const STATION: u8 = 62;
}

/// Registers.
mod reg {
    /// Router id: chosen, pinned, or owner of the state.
    pub(super) const ROUTER: u8 = 0;

    // Access.
    pub(super) const SERVICE: u8 = 4;
    pub(super) const SLOT: u8 = 5;

    // Routers.
    pub(super) const DIRECTION: u8 = 1;
    pub(super) const STATE: u8 = 2;
    pub(super) const CLOSING: u8 = 3;
    pub(super) const INCARNATION: u8 = 4;
    pub(super) const SHARD: u8 = 5;
    pub(super) const ADMITTED: u8 = 6;
    pub(super) const REMEMBERED: u8 = 7;
    pub(super) const CLIENT: u8 = 8;
    pub(super) const SERVER: u8 = 9;
    /// Client's port in the high half, server's in the low.
    pub(super) const PORTS: u8 = 10;
    pub(super) const PROTOCOL: u8 = 11;
    /// What a packet changed about its connection ([`super::replication`]).
    pub(super) const EVENT: u8 = 12;
    /// The connection is known by copies alone.
    pub(super) const COPIED: u8 = 13;
    /// The packet is a copy.
    pub(super) const COPYING: u8 = 14;
    pub(super) const SAMPLED: u8 = 15;
}

/// Priorities; higher goes first.
mod priority {
    use ipnet::Ipv4Net;

    /// Above [`DISCOVERY`]: discovery frames that are for this switch alone.
    pub(super) const LIVENESS: u16 = 1_100;
    pub(super) const DISCOVERY: u16 = 1_000;
    /// Above [`MIRROR`]: what mirror ports are open for.
    pub(super) const COPY: u16 = 910;
    pub(super) const MIRROR: u16 = 900;
    /// Addresses that no bridge forwards; mirror ports are closed to them as to all else.
    pub(super) const RESERVED: u16 = 850;
    pub(super) const EDGE: u16 = 800;
    pub(super) const EDGE_OTHER: u16 = 700;
    /// What bridges flood, above what they forward.
    pub(super) const FLOODED: u16 = 650;
    pub(super) const FABRIC: u16 = 600;
    pub(super) const GATEWAY: u16 = 100;
    /// A destination that is one address; above every prefix.
    pub(super) const HOST: u16 = 500;
    /// A gateway's own address: below hosts, which may have it, above the prefixes of services.
    pub(super) const OWN_ADDRESS: u16 = 400;
    /// Above all that is decided about packets of hosts.
    pub(super) const COPYING: u16 = 310;
    pub(super) const PINNED: u16 = 300;
    pub(super) const PROTOCOL: u16 = 200;
    /// Below [`PROTOCOL`]: answers to the controller come to it alone.
    pub(super) const TOLD: u16 = 190;
    /// Above [`ANY`]: connections that were refused once, or that were not.
    pub(super) const LATE: u16 = 150;
    pub(super) const ANY: u16 = 100;
    /// Below [`ANY`]: of bridges, for stations that are not known.
    pub(super) const UNKNOWN: u16 = 50;
    /// Below a switch's own connections.
    pub(super) const COPIED: u16 = 50;
    pub(super) const MISS: u16 = 0;

    /// The longer prefix goes first.
    pub(super) fn prefix(prefix: Ipv4Net) -> u16 {
        200 + u16::from(prefix.prefix_len())
    }
}

/// Group ids.
mod group {
    use crate::types::NodeIndex;

    /// Towards a node.
    pub(super) fn hop(node: NodeIndex) -> u32 {
        0x1000_0000 | u32::from(node.0)
    }
    /// Ports of one rank towards a node.
    pub(super) fn shared_rank(node: NodeIndex, rank: u8) -> u32 {
        0x2000_0000 | u32::from(rank) << 16 | u32::from(node.0)
    }
    /// One of several outside switches.
    pub(super) fn destination(number: u32) -> u32 {
        0x3000_0000 + number
    }
    /// To everyone.
    pub(super) const FLOOD: u32 = 0x5000_0000;
    /// To everyone, because nobody knows where the one station is that it is for.
    pub(super) const FLOOD_UNKNOWN: u32 = 0x5000_0001;
    /// Slots of a service.
    pub(super) fn slots(service: u16) -> u32 {
        0x4000_0000 | u32::from(service)
    }
}
