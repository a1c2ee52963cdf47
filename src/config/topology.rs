//! The fabric as its file declares it, checked.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::types::{DatapathId, MacAddr, NodeId, NodeIndex, PortNo, ServiceId};

/// A checked topology: every name resolves, ids are unique, `nodes` are in the order of their indices, which are
/// `nodes[i].index == i + 1` for those that a file declares.
///
/// One without nodes is to be found out: every switch that comes joins it, as a [`Stage::Bridge`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    pub nodes: Vec<Node>,
    pub links: Vec<Link>,
    pub services: Vec<Service>,
    pub hosts: Vec<Host>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    pub index: NodeIndex,
    pub stage: Stage,
    pub protocol: Protocol,
    /// The datapath id of an OpenFlow switch. That of a P4Runtime switch is its device id, or another number where an
    /// OpenFlow switch has that one already.
    pub datapath: DatapathId,
    /// P4Runtime only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// First stage only.
    pub router: Option<RouterSettings>,
    /// Shared-risk link groups; routers with one in common are poor shadows of each other.
    pub risk_groups: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Stage 0.
    Outside,
    /// Stage 1: holds connections.
    Router,
    /// Stage 2.
    Transit,
    /// Stage 3: nearest the hosts.
    Access,
    /// Outside of the stages: a switch that forwards by MAC address and VLAN, as an Ethernet bridge does.
    Bridge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    OpenFlow,
    P4Runtime,
}

/// A P4Runtime switch: where it listens, and what P4Runtime does not tell of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub id: u64,
    /// Host and port of its gRPC server.
    pub address: String,
    /// In ascending order: those that links and hosts name, and as many as the file says it has.
    pub ports: Vec<PortNo>,
    /// Mapping file of the program it runs; the fabric's own where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterSettings {
    pub capacity_connections: u32,
    /// A breach is: fewer available connections (capacity less occupied) than this.
    pub threshold_available: u32,
    pub idle_timeout_s: u16,
    pub closing_timeout_s: u16,
    /// An opening that is not answered within this is forgotten.
    pub half_open_timeout_s: u16,
    /// Static NAT: outside, a host behind this router has the network bits of this prefix before its own host bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_nat: Option<Ipv4Net>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    pub a: LinkEnd,
    pub b: LinkEnd,
    pub latency_us: u32,
    pub capacity_bps: u64,
    pub kind: LinkKind,
}

/// `node` or `node:port`; a port that is not given is learned from LLDP.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LinkEnd {
    pub node: NodeId,
    pub port: Option<PortNo>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    Data,
    /// Carries replication alone, between two first-stage routers.
    Mirror,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub id: ServiceId,
    /// From 1, in the file's order.
    pub number: u16,
    pub prefixes: Vec<Ipv4Net>,
    /// Base share of each router when nothing is shifted; the shares add up to 1. Routers without a share take part
    /// only as shadows.
    pub shares: Vec<(NodeId, f64)>,
    /// Outside switches behind which destinations without a declared host live.
    pub outside: Vec<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    pub id: String,
    pub address: Ipv4Addr,
    /// Of its subnet.
    pub prefix_len: u8,
    /// Of the host's own subnet; its ARP is answered with the virtual gateway's MAC address.
    pub gateway: Option<Ipv4Addr>,
    /// Learned by ARP where it is not given.
    pub mac: Option<MacAddr>,
    /// Third-stage or outside switch.
    pub attached: LinkEnd,
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.node),
            None => self.node.fmt(f),
        }
    }
}

impl Stage {
    /// The name that files and people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Router => "first",
            Self::Transit => "second",
            Self::Access => "third",
            Self::Bridge => "bridge",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "0" | "outside" => Some(Self::Outside),
            "1" | "first" | "router" => Some(Self::Router),
            "2" | "second" | "transit" => Some(Self::Transit),
            "3" | "third" | "access" => Some(Self::Access),
            "bridge" => Some(Self::Bridge),
            _ => None,
        }
    }

    /// Whether a data link may join the two: packets pass the stages in order, and a link past the first stage
    /// would carry connections that no router holds.
    pub(crate) fn may_join(a: Self, b: Self) -> bool {
        matches!(
            (a.min(b), a.max(b)),
            (Self::Outside, Self::Router)
                | (Self::Router, Self::Transit | Self::Access)
                | (Self::Transit, Self::Transit | Self::Access)
                | (Self::Bridge, Self::Bridge)
        )
    }
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenFlow => "openflow",
            Self::P4Runtime => "p4runtime",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "openflow" => Some(Self::OpenFlow),
            "p4runtime" => Some(Self::P4Runtime),
            _ => None,
        }
    }
}

impl LinkKind {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "data" => Some(Self::Data),
            "mirror" => Some(Self::Mirror),
            _ => None,
        }
    }
}

impl Device {
    /// Port of the gRPC server of device 1, by default, on this machine; the next devices have the next ports.
    pub const PORT: u16 = 9559;
    /// Devices up to here have a default address.
    pub const DEFAULT_ADDRESS_MAX: u64 = 1_000;

    /// Where a device is expected whose file does not say.
    pub fn default_address(id: u64) -> Option<String> {
        let nth = u16::try_from(id.checked_sub(1)?).ok().filter(|_| id <= Self::DEFAULT_ADDRESS_MAX)?;
        Some(format!("127.0.0.1:{}", Self::PORT + nth))
    }
}

impl RouterSettings {
    /// Defaults of the file format.
    pub const IDLE_TIMEOUT_S: u16 = 300;
    pub const CLOSING_TIMEOUT_S: u16 = 5;
    pub const HALF_OPEN_TIMEOUT_S: u16 = 30;
}

impl Link {
    /// Defaults of the file format.
    pub const LATENCY_US: u32 = 100;
    pub const CAPACITY_BPS: u64 = 1_000_000_000;
}

impl Host {
    /// Default of the file format.
    pub const PREFIX_LEN: u8 = 24;
}

impl Topology {
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == *id)
    }
    pub fn by_datapath(&self, datapath: DatapathId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.datapath == datapath)
    }
    pub fn by_index(&self, index: NodeIndex) -> Option<&Node> {
        let at = self.nodes.binary_search_by_key(&index, |node| node.index).ok()?;
        self.nodes.get(at)
    }
    pub fn routers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.stage == Stage::Router)
    }
}
