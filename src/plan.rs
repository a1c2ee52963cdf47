//! What every datapath should hold, as data.
//!
//! Policy and network produce a [`DatapathPlan`] for each switch; a southbound turns the difference between it and
//! what is installed into messages of its protocol. A plan names no table, group or register: the same plan is
//! meant for OpenFlow and P4Runtime switches.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::types::{MacAddr, NodeIndex, PortNo, ServiceId};

/// Number of equal slots into which the new connections of one service on one switch are divided.
pub const SLOTS: usize = 256;

/// How a switch divides new connections among the slots of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// A group of equal buckets that the switch hashes into by its own means: the standard form.
    #[default]
    Select,
    /// An explicit hash over addresses and ports into slot entries, where the switch's own hash leaves fields out.
    Multipath,
}

/// Monotonic number of a plan; every message and event about it carries the number.
pub type Generation = u64;

/// Everything one datapath should hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatapathPlan {
    /// Index of this node: its own MAC address inside the fabric is `MacAddr::of_node(index)`.
    pub index: NodeIndex,
    /// Ports that face hosts or servers.
    pub edge_ports: Vec<PortNo>,
    /// Ports that carry replication alone.
    pub mirror_ports: Vec<PortNo>,
    /// Gateway addresses whose ARP is answered on the edge ports with [`MacAddr::GATEWAY`].
    pub gateways: Vec<Ipv4Addr>,
    /// Hosts or servers that hang on this switch.
    pub attached: Vec<Attachment>,
    /// How to reach a node's MAC address: the first port that is up is used, ports of equal `rank` share (ECMP).
    pub next_hops: BTreeMap<NodeIndex, Vec<NextHop>>,
    pub role: RolePlan,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub address: Ipv4Addr,
    pub mac: MacAddr,
    pub port: PortNo,
}

/// One way towards a node: ports with the lowest `rank` that are alive are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NextHop {
    pub rank: u8,
    pub port: PortNo,
}

/// What distinguishes the stages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RolePlan {
    /// Stage 3, nearest the hosts: pins connections to routers and spreads new ones by weight.
    Access(AccessPlan),
    /// Stage 2: forwards on the MAC address of a node, falling back to a router's shadows.
    Transit,
    /// Stage 1: holds connections.
    Router(RouterPlan),
    /// Stage 0: servers hang here; replies go back through the router that the connection came from.
    Outside(OutsidePlan),
    /// No stage: forwards by MAC address and VLAN.
    Bridge(BridgePlan),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPlan {
    /// Services in the order of their prefixes' length, longest first.
    pub services: Vec<ServiceSlots>,
    /// What a router id means just now: itself, or the shadow that stands in for it after a failover.
    pub indirection: BTreeMap<NodeIndex, NodeIndex>,
    /// Hosts on other third-stage switches, by the switch they hang on (east-west traffic).
    pub remote_hosts: Vec<(Ipv4Addr, NodeIndex)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSlots {
    pub service: ServiceId,
    /// Small number of the service, the same on every switch (from 1).
    pub number: u16,
    pub prefixes: Vec<Ipv4Net>,
    pub choice: Choice,
}

/// How one switch chooses routers for the new connections of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// [`SLOTS`] entries: the router that each slot of new connections goes to.
    pub slots: Vec<NodeIndex>,
    pub spread: Spread,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterPlan {
    /// Most connections this router may hold at once.
    pub capacity_connections: u32,
    /// An established connection without a packet for so long is forgotten.
    pub idle_timeout_s: u16,
    /// A connection that saw a FIN or RST keeps its slot for so long after its last packet.
    pub closing_timeout_s: u16,
    /// A TCP connection whose handshake is not complete so long after its first packet is forgotten.
    pub half_open_timeout_s: u16,
    /// Ports towards the second stage (connections are opened from there).
    pub inside_ports: Vec<PortNo>,
    /// Ports towards the outside.
    pub outside_ports: Vec<PortNo>,
    /// Routers in whose place this one may be asked to forward (it is their shadow).
    pub stands_in_for: Vec<NodeIndex>,
    /// Where host prefixes live: address, third-stage switch.
    pub hosts: Vec<(Ipv4Addr, NodeIndex)>,
    /// Where destinations outside live: prefix, outside switches (equal share).
    pub destinations: Vec<(Ipv4Net, Vec<NodeIndex>)>,
    /// Whose connections' changes are copied to whom: by owner (this router, and those it stands in for), the shadows and
    /// the mirror ports to them.
    #[serde(default)]
    pub mirrors: BTreeMap<NodeIndex, Vec<MirrorTo>>,
    /// Mirror ports from which copies of an owner's connections are taken.
    #[serde(default)]
    pub replicas: BTreeMap<NodeIndex, Vec<PortNo>>,
    /// Static NAT: by owner (this router, and those it stands in for), the address that stands for each host outside. An
    /// owner that is not named translates nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub translations: BTreeMap<NodeIndex, Vec<Translation>>,
}

/// One host's address behind the first stage, and the one that stands for it outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Translation {
    pub inside: Ipv4Addr,
    pub outside: Ipv4Addr,
}

/// Where changes are copied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MirrorTo {
    pub shadow: NodeIndex,
    pub port: PortNo,
}

/// A switch without a stage. Stations are learned on [`DatapathPlan::edge_ports`] alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgePlan {
    /// Ports to other switches.
    pub link_ports: Vec<PortNo>,
    /// Those among them that belong to the spanning tree: frames for everyone leave by these and by the edge ports, and
    /// come in by no other link port.
    pub tree_ports: Vec<PortNo>,
    /// Every station whose place is known, on this switch or another. [`DatapathPlan::next_hops`] leads to the others;
    /// what it has no way to is left out by the data path.
    /// The same value on every switch, so that a thousand plans do not hold a thousand copies.
    #[serde(with = "station_pairs")]
    pub stations: Arc<BTreeMap<Station, Place>>,
}

/// Stations as a list of pairs: a key of JSON is a text, and a station is none.
mod station_pairs {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{Arc, BTreeMap, Place, Station};

    type Stations = Arc<BTreeMap<Station, Place>>;

    pub(super) fn serialize<S: Serializer>(stations: &Stations, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(stations.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Stations, D::Error> {
        Ok(Arc::new(Vec::<(Station, Place)>::deserialize(deserializer)?.into_iter().collect()))
    }
}

/// What identifies a station on a bridged fabric: its MAC address within a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Station {
    /// `None` for frames without a tag.
    pub vlan: Option<u16>,
    pub mac: MacAddr,
}

/// An edge port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    pub node: NodeIndex,
    pub port: PortNo,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsidePlan {
    /// As for [`AccessPlan::indirection`].
    pub indirection: BTreeMap<NodeIndex, NodeIndex>,
}
