//! From the fabric's state and the policy's wishes to the plan of each datapath; a pure function of both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::hosts::Hosts;
use super::paths::{Paths, Shadows};
use super::{LinkState, WiredLink};
use crate::config::{LinkKind, Node, Stage, Topology, translated};
use crate::plan::{
    AccessPlan, BridgePlan, Choice, DatapathPlan, MirrorTo, OutsidePlan, RolePlan, RouterPlan, ServiceSlots,
    Translation,
};
use crate::types::{NodeIndex, PortNo, ServiceId};

/// Everything that plans are made from.
#[derive(Clone, Copy, Debug)]
pub struct Fabric<'f> {
    pub topology: &'f Topology,
    /// With their ports as far as these are known ([`super::discovery::Discovery::links`]).
    pub links: &'f [WiredLink],
    pub paths: &'f Paths,
    pub hosts: &'f Hosts,
    pub shadows: &'f Shadows,
    /// Router ids that mean another router just now, after a failover; all others mean themselves.
    pub stand_ins: &'f BTreeMap<NodeIndex, NodeIndex>,
    /// Shadows are told of connections.
    pub replicate: bool,
}

/// What one switch has by itself.
#[derive(Clone, Copy, Debug)]
pub struct Local<'f> {
    /// Its ports, as it told them; empty while it is not connected.
    pub ports: &'f BTreeSet<PortNo>,
    /// Slots of each service on this switch; a service without slots is left out. Third-stage switches only.
    pub choices: &'f BTreeMap<ServiceId, Choice>,
}

/// What `node` should hold.
pub fn datapath_plan(fabric: &Fabric<'_>, local: &Local<'_>, node: &Node) -> DatapathPlan {
    let role = match node.stage {
        Stage::Access => RolePlan::Access(access(fabric, local, node)),
        Stage::Transit => RolePlan::Transit,
        Stage::Router => RolePlan::Router(router(fabric, node)),
        Stage::Outside => RolePlan::Outside(OutsidePlan { indirection: indirection(fabric) }),
        Stage::Bridge => RolePlan::Bridge(BridgePlan::default()),
    };
    DatapathPlan {
        index: node.index,
        edge_ports: edge_ports(fabric, local, node),
        mirror_ports: link_ports(fabric, node, |link, _| link.kind == LinkKind::Mirror),
        gateways: gateways(fabric, node),
        attached: fabric.hosts.attached(node.index),
        next_hops: fabric.paths.from(node.index),
        role,
    }
}

fn access(fabric: &Fabric<'_>, local: &Local<'_>, node: &Node) -> AccessPlan {
    let mut services: Vec<ServiceSlots> = fabric
        .topology
        .services
        .iter()
        .filter_map(|service| {
            let choice = local.choices.get(&service.id)?.clone();
            let mut prefixes = service.prefixes.clone();
            prefixes.sort_by_key(longest_first);
            Some(ServiceSlots { service: service.id.clone(), number: service.number, prefixes, choice })
        })
        .collect();
    services.sort_by_key(|service| (service.prefixes.first().map(longest_first), service.number));
    let mut remote_hosts = hosts_at(fabric, Stage::Access);
    remote_hosts.retain(|(_, at)| *at != node.index);
    AccessPlan { services, indirection: indirection(fabric), remote_hosts }
}

fn router(fabric: &Fabric<'_>, node: &Node) -> RouterPlan {
    let settings = node.router.as_ref().expect("a first-stage node has router settings, the reader saw to it");
    let data_to = |outside: bool| {
        link_ports(fabric, node, |link, other| link.kind == LinkKind::Data && (other == Stage::Outside) == outside)
    };
    let stands_in_for = fabric.shadows.iter().filter(|(_, shadows)| shadows.contains(&node.index));
    let mut stands_in_for: BTreeSet<NodeIndex> = stands_in_for.map(|(router, _)| *router).collect();
    // A router that stands in already goes on doing so, even where it is no longer a favourite shadow.
    stands_in_for.extend(fabric.stand_ins.iter().filter(|(_, now)| **now == node.index).map(|(router, _)| *router));
    stands_in_for.remove(&node.index);
    let (mirrors, replicas) = if fabric.replicate { replication(fabric, node) } else { Default::default() };
    let owners = stands_in_for.iter().chain([&node.index]);
    let translations = owners.filter_map(|owner| Some((*owner, translations(fabric, *owner)?))).collect();
    RouterPlan {
        capacity_connections: settings.capacity_connections,
        idle_timeout_s: settings.idle_timeout_s,
        closing_timeout_s: settings.closing_timeout_s,
        half_open_timeout_s: settings.half_open_timeout_s,
        inside_ports: data_to(false),
        outside_ports: data_to(true),
        stands_in_for: stands_in_for.into_iter().collect(),
        hosts: hosts_at(fabric, Stage::Access),
        destinations: destinations(fabric),
        mirrors,
        replicas,
        translations,
    }
}

/// The addresses that stand for hosts behind this owner; `None` where it translates nothing. A declared host has its own in
/// any case (the reader saw to it); one that was learned has none where its address is taken.
fn translations(fabric: &Fabric<'_>, owner: NodeIndex) -> Option<Vec<Translation>> {
    let prefix = fabric.topology.by_index(owner)?.router.as_ref()?.source_nat?;
    let clients: BTreeSet<Ipv4Addr> = hosts_at(fabric, Stage::Access).into_iter().map(|(address, _)| address).collect();
    let hosts = || fabric.hosts.iter().filter(|host| clients.contains(&host.address));
    let declared = hosts().filter(|host| host.declared);
    let mut taken: BTreeMap<Ipv4Addr, Ipv4Addr> = BTreeMap::new();
    for host in declared.chain(hosts().filter(|host| !host.declared)) {
        taken.entry(translated(prefix, host.address)).or_insert(host.address);
    }
    let mut translations: Vec<Translation> =
        taken.into_iter().map(|(outside, inside)| Translation { inside, outside }).collect();
    translations.sort_unstable();
    Some(translations)
}

type Mirrors = BTreeMap<NodeIndex, Vec<MirrorTo>>;
type Replicas = BTreeMap<NodeIndex, Vec<PortNo>>;

/// Everyone who keeps the connections of an owner copies their changes to everyone else who does, where a mirror link
/// joins the two: so whoever stands in next knows them too, and the owner learns them back when it returns.
fn replication(fabric: &Fabric<'_>, node: &Node) -> (Mirrors, Replicas) {
    let mut neighbours: BTreeMap<NodeIndex, PortNo> = BTreeMap::new();
    let mirror_links = fabric.links.iter().filter(|link| link.kind == LinkKind::Mirror);
    for link in mirror_links.filter(|link| link.state != LinkState::Undeclared) {
        if let Some((Some(port), other)) = link.seen_from(node.index) {
            neighbours.entry(other).or_insert(port);
        }
    }
    let (mut mirrors, mut replicas) = (Mirrors::new(), Replicas::new());
    for (owner, shadows) in fabric.shadows {
        let keepers: BTreeSet<NodeIndex> =
            shadows.iter().chain([owner]).chain(fabric.stand_ins.get(owner)).copied().collect();
        if !keepers.contains(&node.index) {
            continue;
        }
        let others = keepers.iter().filter_map(|keeper| Some((*keeper, *neighbours.get(keeper)?)));
        let others: Vec<MirrorTo> = others.map(|(shadow, port)| MirrorTo { shadow, port }).collect();
        if !others.is_empty() {
            replicas.insert(*owner, others.iter().map(|other| other.port).collect());
            mirrors.insert(*owner, others);
        }
    }
    (mirrors, replicas)
}

/// Servers by their own address, everything else by the prefixes of the services; longest prefix first.
fn destinations(fabric: &Fabric<'_>) -> Vec<(Ipv4Net, Vec<NodeIndex>)> {
    let mut destinations: BTreeMap<Ipv4Net, BTreeSet<NodeIndex>> = BTreeMap::new();
    for service in &fabric.topology.services {
        let outside = service.outside.iter().filter_map(|id| fabric.topology.node(id)).map(|node| node.index);
        let outside: BTreeSet<NodeIndex> = outside.collect();
        for prefix in service.prefixes.iter().filter(|_| !outside.is_empty()) {
            destinations.entry(*prefix).or_default().extend(&outside);
        }
    }
    for (address, outside) in hosts_at(fabric, Stage::Outside) {
        destinations.insert(Ipv4Net::from(address), BTreeSet::from([outside]));
    }
    let mut destinations: Vec<_> =
        destinations.into_iter().map(|(prefix, outside)| (prefix, outside.into_iter().collect())).collect();
    destinations.sort_by_key(|(prefix, _)| longest_first(prefix));
    destinations
}

fn longest_first(prefix: &Ipv4Net) -> (std::cmp::Reverse<u8>, Ipv4Addr) {
    (std::cmp::Reverse(prefix.prefix_len()), prefix.addr())
}

fn indirection(fabric: &Fabric<'_>) -> BTreeMap<NodeIndex, NodeIndex> {
    let routers = fabric.topology.routers().map(|router| router.index);
    routers.map(|router| (router, fabric.stand_ins.get(&router).copied().unwrap_or(router))).collect()
}

fn hosts_at(fabric: &Fabric<'_>, stage: Stage) -> Vec<(Ipv4Addr, NodeIndex)> {
    let at_stage = |index: NodeIndex| fabric.topology.by_index(index).is_some_and(|node| node.stage == stage);
    fabric.hosts.iter().filter(|host| at_stage(host.node)).map(|host| (host.address, host.node)).collect()
}

/// Ports of declared links at `node` that `wanted` takes, given the stage of the other end.
fn link_ports(fabric: &Fabric<'_>, node: &Node, wanted: impl Fn(&WiredLink, Stage) -> bool) -> Vec<PortNo> {
    let ports = fabric.links.iter().filter(|link| link.state != LinkState::Undeclared).filter_map(|link| {
        let (port, other) = link.seen_from(node.index)?;
        let other = fabric.topology.by_index(other)?;
        port.filter(|_| wanted(link, other.stage))
    });
    let ports: BTreeSet<PortNo> = ports.collect();
    ports.into_iter().collect()
}

/// Ports to which hosts are declared, were learned, or may come.
fn edge_ports(fabric: &Fabric<'_>, local: &Local<'_>, node: &Node) -> Vec<PortNo> {
    if !matches!(node.stage, Stage::Access | Stage::Outside) {
        return Vec::new();
    }
    let mut ports: BTreeSet<PortNo> =
        fabric.hosts.iter().filter(|host| host.node == node.index).filter_map(|host| host.port).collect();
    let declared = fabric.topology.hosts.iter().filter(|host| host.attached.node == node.id);
    ports.extend(declared.filter_map(|host| host.attached.port));
    ports.extend(free_ports(fabric.links, local.ports, node.index));
    ports.into_iter().collect()
}

/// Ports that no link takes. None while a link of this switch has a port that is not known yet: any could be it.
pub fn free_ports(links: &[WiredLink], ports: &BTreeSet<PortNo>, node: NodeIndex) -> BTreeSet<PortNo> {
    let taken: Option<BTreeSet<PortNo>> =
        links.iter().filter_map(|link| link.seen_from(node)).map(|(port, _)| port).collect();
    taken
        .map(|taken| ports.difference(&taken).copied().filter(|port| port.0 < PHYSICAL_PORT_END).collect())
        .unwrap_or_default()
}

/// Open vSwitch numbers physical ports below this; what is above are its own.
const PHYSICAL_PORT_END: u32 = 0xff00;

fn gateways(fabric: &Fabric<'_>, node: &Node) -> Vec<Ipv4Addr> {
    let hosts = fabric.topology.hosts.iter().filter(|host| host.attached.node == node.id);
    let gateways: BTreeSet<Ipv4Addr> = hosts.filter_map(|host| host.gateway).collect();
    gateways.into_iter().collect()
}
