//! Writes a topology in its own file format; reading it again gives an equal value.

use std::collections::BTreeMap;

use serde::Serialize;

use super::topology::{Link, LinkKind, Node, Protocol, Topology};
use super::topology_file::TOPOLOGY_VERSION;

#[derive(Serialize)]
struct TopologyFile<'t> {
    version: u64,
    nodes: Vec<NodeFile<'t>>,
    links: Vec<LinkFile>,
    services: Vec<ServiceFile<'t>>,
    hosts: Vec<HostFile<'t>>,
}

#[derive(Serialize)]
struct NodeFile<'t> {
    id: &'t str,
    stage: &'static str,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dpid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity_connections: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold_available: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_timeout_s: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closing_timeout_s: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    half_open_timeout_s: Option<u16>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    risk_groups: &'t [String],
}

#[derive(Serialize)]
struct LinkFile {
    a: String,
    b: String,
    latency_us: u32,
    capacity_bps: u64,
    kind: LinkKind,
}

#[derive(Serialize)]
struct ServiceFile<'t> {
    id: &'t str,
    prefixes: Vec<String>,
    shares: BTreeMap<&'t str, f64>,
    outside: Vec<&'t str>,
}

#[derive(Serialize)]
struct HostFile<'t> {
    id: &'t str,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    attach: String,
}

fn node(node: &Node) -> NodeFile<'_> {
    let router = node.router.as_ref();
    NodeFile {
        id: node.id.as_str(),
        stage: node.stage.name(),
        protocol: node.protocol.name(),
        dpid: (node.protocol == Protocol::OpenFlow).then(|| format!("0x{:x}", node.datapath.0)),
        device: (node.protocol == Protocol::P4Runtime).then_some(node.datapath.0),
        capacity_connections: router.map(|router| router.capacity_connections),
        threshold_available: router.map(|router| router.threshold_available),
        idle_timeout_s: router.map(|router| router.idle_timeout_s),
        closing_timeout_s: router.map(|router| router.closing_timeout_s),
        half_open_timeout_s: router.map(|router| router.half_open_timeout_s),
        risk_groups: &node.risk_groups,
    }
}

fn link(link: &Link) -> LinkFile {
    LinkFile {
        a: link.a.to_string(),
        b: link.b.to_string(),
        latency_us: link.latency_us,
        capacity_bps: link.capacity_bps,
        kind: link.kind,
    }
}

impl Topology {
    /// The topology as a YAML file (docs/FORMATS.md).
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::SerializeError> {
        let services = self.services.iter().map(|service| ServiceFile {
            id: &service.id,
            prefixes: service.prefixes.iter().map(ToString::to_string).collect(),
            shares: service.shares.iter().map(|(id, share)| (id.as_str(), *share)).collect(),
            outside: service.outside.iter().map(|id| id.as_str()).collect(),
        });
        let hosts = self.hosts.iter().map(|host| HostFile {
            id: &host.id,
            address: format!("{}/{}", host.address, host.prefix_len),
            mac: host.mac.map(|mac| mac.to_string()),
            gateway: host.gateway.map(|gateway| gateway.to_string()),
            attach: host.attached.to_string(),
        });
        serde_saphyr::to_string(&TopologyFile {
            version: TOPOLOGY_VERSION,
            nodes: self.nodes.iter().map(node).collect(),
            links: self.links.iter().map(link).collect(),
            services: services.collect(),
            hosts: hosts.collect(),
        })
    }
}
