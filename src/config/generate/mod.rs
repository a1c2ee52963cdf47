//! Fabrics of the usual shapes, made from a few numbers.
//!
//! What is made is a pure function of its parameters, passes the checks of a file, and equals itself when it was
//! written and read. Staged fabrics have routers that hold connections, each beside at least two it can shadow, and
//! outside switches with servers; bridged ones are switches alone (docs/FORMATS.md).

mod plain;
mod staged;

use std::net::Ipv4Addr;

use thiserror::Error;

use super::topology::{Host, Link, LinkEnd, LinkKind, Node, Protocol, RouterSettings, Stage, Topology};
use super::topology_file::NODES_MAX;
use crate::types::{DatapathId, MacAddr, NodeId, NodeIndex, PortNo};

/// A file of so many links is about 30 MB; what a reader's memory bears is some three times as much.
pub(super) const LINKS_MAX: usize = 300_000;
/// Hosts of a fabric, for the same reason.
pub(super) const HOSTS_MAX: usize = 100_000;
/// A staged fabric's host subnets are /24 with their gateway at .254.
const SUBNET_HOSTS_MAX: u32 = 253;

/// A parameter that makes no fabric.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}; expected {expected}")]
pub struct BadParameter {
    pub what: String,
    pub expected: String,
}

/// The shape of a fabric, with its numbers of switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Every leaf joined with every spine.
    LeafSpine { leaves: u32, spines: u32 },
    /// Folded Clos of three tiers. In every pod each leaf is joined with each aggregation switch; aggregation switch
    /// number i of every pod is joined with all cores of plane i.
    Clos { pods: u32, leaves: u32, aggregations: u32, cores: u32 },
    /// Al-Fares et al., SIGCOMM 2008: a Clos of k pods with k/2 leaves, k/2 aggregation switches, k/2 cores a plane.
    FatTree { k: u32 },
    /// A chain.
    Linear { switches: u32 },
    /// A tree of switches with `depth` levels; hosts hang on the lowest.
    Tree { depth: u32, fanout: u32 },
    /// A grid whose rows and columns are rings.
    Torus { rows: u32, columns: u32 },
    /// Random and connected: a random tree and further links between random pairs, at most one a pair.
    Mesh { switches: u32, links: u32, seed: u64 },
}

/// What every shape shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// On every switch that takes hosts.
    pub hosts: u32,
    pub latency_us: u32,
    pub capacity_bps: u64,
    /// `None`: bridges alone.
    pub staged: Option<Staged>,
}

/// What a staged fabric has beside its access and transit switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    pub routers: u32,
    pub outside: u32,
    /// Mirror links of each router, at least; one more where an odd number cannot be shared out.
    pub mirrors: u32,
    /// On every outside switch.
    pub servers: u32,
    pub capacity_connections: u32,
    pub threshold_available: u32,
    pub mirror_latency_us: u32,
}

/// Makes a fabric.
pub fn generate(shape: &Shape, settings: &Settings) -> Result<Topology, BadParameter> {
    within("--latency-us", settings.latency_us.into(), 0, 10_000_000)?;
    within("--capacity-bps", settings.capacity_bps, 1_000, 10_000_000_000_000)?;
    if let Some(staged) = &settings.staged {
        staged::check(staged)?;
        within("--hosts of a staged fabric", settings.hosts.into(), 0, SUBNET_HOSTS_MAX.into())?;
    }
    let mut builder = Builder::new(settings);
    let (access, top) = match *shape {
        Shape::LeafSpine { leaves, spines } => staged::leaf_spine(&mut builder, leaves, spines)?,
        Shape::Clos { pods, leaves, aggregations, cores } => {
            staged::clos(&mut builder, [pods, leaves, aggregations, cores])?
        }
        Shape::FatTree { k } => staged::fat_tree(&mut builder, k)?,
        Shape::Linear { switches } => plain::linear(&mut builder, switches)?,
        Shape::Tree { depth, fanout } => plain::tree(&mut builder, depth, fanout)?,
        Shape::Torus { rows, columns } => plain::torus(&mut builder, rows, columns)?,
        Shape::Mesh { switches, links, seed } => plain::mesh(&mut builder, switches, links, seed)?,
    };
    let outside = match &settings.staged {
        Some(staged) => staged::above(&mut builder, staged, &top)?,
        None => Vec::new(),
    };
    builder.hosts(&access)?;
    if let Some(staged) = &settings.staged {
        builder.servers(&outside, staged.servers)?;
        builder.service(&outside);
    }
    Ok(builder.topology)
}

/// Refuses a number outside of `least..=most`; `name` is the option that gave it.
fn within(name: &str, value: u64, least: u64, most: u64) -> Result<(), BadParameter> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(BadParameter { what: format!("{name} is {value}"), expected: format!("{least} to {most}") })
}

/// Refuses a fabric that is too large, before any of it is made.
fn fits(nodes: u64, links: u64) -> Result<(), BadParameter> {
    let (nodes_max, links_max) = (NODES_MAX as u64, LINKS_MAX as u64);
    if nodes <= nodes_max && links <= links_max {
        return Ok(());
    }
    Err(BadParameter {
        what: format!("a fabric of {nodes} switches and {links} links"),
        expected: format!("at most {nodes_max} switches and {links_max} links"),
    })
}

/// Place of a node in the list under construction.
type At = usize;

/// A topology under construction: ports are given out in the order in which things are wired.
#[derive(Debug)]
struct Builder<'s> {
    settings: &'s Settings,
    topology: Topology,
    ports_used: Vec<u32>,
}

impl<'s> Builder<'s> {
    fn new(settings: &'s Settings) -> Self {
        Self { settings, topology: Topology::default(), ports_used: Vec::new() }
    }

    /// The stage, or that of a bridge where no stages are asked for.
    fn switch(&mut self, name: &str, stage: Stage) -> At {
        let at = self.topology.nodes.len();
        let index = u16::try_from(at + 1).expect("the number of nodes was checked");
        self.topology.nodes.push(Node {
            id: NodeId::new(name),
            index: NodeIndex(index),
            stage: if self.settings.staged.is_some() { stage } else { Stage::Bridge },
            protocol: Protocol::OpenFlow,
            device: None,
            datapath: DatapathId(index.into()),
            router: None,
            risk_groups: Vec::new(),
        });
        self.ports_used.push(0);
        at
    }

    /// Switches `s1`, `s2`, … for a prefix of `s`.
    fn switches(&mut self, prefix: char, count: u32, stage: Stage) -> Vec<At> {
        (1..=count).map(|number| self.switch(&format!("{prefix}{number}"), stage)).collect()
    }

    fn end(&mut self, at: At) -> LinkEnd {
        self.ports_used[at] += 1;
        LinkEnd { node: self.topology.nodes[at].id.clone(), port: Some(PortNo(self.ports_used[at])) }
    }

    fn link(&mut self, a: At, b: At) {
        let (latency_us, capacity_bps) = (self.settings.latency_us, self.settings.capacity_bps);
        let (a, b) = (self.end(a), self.end(b));
        self.topology.links.push(Link { a, b, latency_us, capacity_bps, kind: LinkKind::Data });
    }

    fn mirror(&mut self, a: At, b: At, latency_us: u32) {
        self.link(a, b);
        let link = self.topology.links.last_mut().expect("just added");
        (link.latency_us, link.kind) = (latency_us, LinkKind::Mirror);
    }

    fn join_all(&mut self, from: &[At], to: &[At]) {
        for &a in from {
            to.iter().for_each(|&b| self.link(a, b));
        }
    }

    fn router(&mut self, name: &str, settings: RouterSettings, risk_group: String) -> At {
        let at = self.switch(name, Stage::Router);
        self.topology.nodes[at].router = Some(settings);
        self.topology.nodes[at].risk_groups = vec![risk_group];
        at
    }

    /// Staged: a subnet 10.x.y.0/24 for every switch, its gateway at .254. Bridged: 10.0.0.0/8 is one subnet.
    fn hosts(&mut self, access: &[At]) -> Result<(), BadParameter> {
        let (each, staged) = (self.settings.hosts, self.settings.staged.is_some());
        within("the number of hosts", access.len() as u64 * u64::from(each), 0, HOSTS_MAX as u64)?;
        let mut number = 0;
        for (subnet, &at) in (1_u32..).zip(access) {
            for own in 1..=each {
                number += 1;
                let low = if staged { subnet << 8 | own } else { number };
                let base = u32::from(Ipv4Addr::new(10, 0, 0, 0));
                let gateway = staged.then(|| Ipv4Addr::from(base | subnet << 8 | 254));
                self.host(format!("h{number}"), Ipv4Addr::from(base | low), if staged { 24 } else { 8 }, gateway, at);
            }
        }
        Ok(())
    }

    /// A subnet of 198.18.0.0/16, which is set aside for tests (RFC 2544), for every outside switch.
    fn servers(&mut self, outside: &[At], each: u32) -> Result<(), BadParameter> {
        let mut number = 0;
        for (subnet, &at) in (1_u8..).zip(outside) {
            for own in 1..=u8::try_from(each).unwrap_or(u8::MAX) {
                number += 1;
                let gateway = Some(Ipv4Addr::new(198, 18, subnet, 254));
                self.host(format!("w{number}"), Ipv4Addr::new(198, 18, subnet, own), 24, gateway, at);
            }
        }
        Ok(())
    }

    fn host(&mut self, id: String, address: Ipv4Addr, prefix_len: u8, gateway: Option<Ipv4Addr>, at: At) {
        let [a, b, c, d] = address.octets();
        let attached = self.end(at);
        let mac = Some(MacAddr([0, 0, a, b, c, d]));
        self.topology.hosts.push(Host { id, address, prefix_len, gateway, mac, attached });
    }
}

#[cfg(test)]
mod tests;
