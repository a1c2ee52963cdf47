//! From a third-stage plan to routes, WCMP groups, next hops, neighbours and router interfaces.

use std::collections::{BTreeMap, BTreeSet};

use super::super::builder::{Builder, Member, Value};
use super::super::ids::Ids;
use super::super::{Compiled, route};
use crate::p4info::mapping::Mapping;
use crate::plan::{AccessPlan, Attachment, DatapathPlan, RolePlan, SLOTS, ServiceSlots};
use crate::types::{MacAddr, NodeIndex, PortNo};

const ORDER: &[&str] = &["interfaces", "neighbours", "next_hops", "groups", "routes", "punt", "admit"];
/// Groups from here on lead to nodes, those below to services, by their numbers.
pub(super) const NODE_GROUPS: u16 = 0x8000;

const ETH_ARP: u16 = 0x0806;
const ETH_LLDP: u16 = 0x88cc;

pub(super) fn compile(mapping: &Mapping, plan: &DatapathPlan) -> Compiled {
    let mut builder = Builder::new(mapping);
    builder.order(ORDER);
    builder.cpu_session();
    for punted in [ETH_ARP, ETH_LLDP] {
        builder.entry("punt", &[("ether_type", punted.into())], "trap", &[]);
    }
    let RolePlan::Access(access) = &plan.role else {
        let what = "the program routes by destination alone; expected the third stage: it forwards nothing";
        builder.problem("the plan", what);
        return builder.finish();
    };
    for mac in [MacAddr::GATEWAY, MacAddr::of_node(plan.index)] {
        builder.entry("admit", &[("mac", Value::Exact(mac.to_u64().into()))], "admit", &[]);
    }
    let mut ways = Ways {
        plan,
        next_hops: Ids::from(1),
        hosts: Ids::from(1),
        groups: Ids::from(NODE_GROUPS),
        interfaces: BTreeSet::new(),
        known: BTreeMap::new(),
        may_be_empty: mapping.groups_may_be_empty,
    };
    ways.access(access, &mut builder);
    builder.finish()
}

/// Where a next hop leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Neighbour {
    Node(NodeIndex),
    /// By its address.
    Host(u32),
}

struct Ways<'p> {
    plan: &'p DatapathPlan,
    next_hops: Ids,
    hosts: Ids,
    groups: Ids,
    interfaces: BTreeSet<PortNo>,
    known: BTreeMap<(Neighbour, PortNo), u16>,
    may_be_empty: bool,
}

fn member(next_hop: u16, weight: u32, port: PortNo) -> Member {
    let (id, value) = (next_hop.into(), Some(next_hop.into()));
    Member { id, action: "to_next_hop", value, weight, watch: Some(port) }
}

impl Ways<'_> {
    fn access(&mut self, access: &AccessPlan, builder: &mut Builder<'_>) {
        // Numbers are given in one order, whatever the plan's lists are like.
        let attached: BTreeMap<_, _> = self.plan.attached.iter().map(|host| (host.address, host)).collect();
        for (address, host) in attached {
            if let Some(next_hop) = self.host(host, builder) {
                route(builder, address.into(), "to_next_hop", &[("next_hop", next_hop.into())]);
            }
        }
        let mut remote: BTreeMap<NodeIndex, BTreeSet<_>> = BTreeMap::new();
        for (address, switch) in &access.remote_hosts {
            remote.entry(*switch).or_default().insert(*address);
        }
        for (switch, addresses) in remote {
            if let Some((action, param)) = self.node(switch, builder) {
                for address in addresses {
                    route(builder, address.into(), action, &[param]);
                }
            }
        }
        for gateway in self.plan.gateways.iter().filter(|_| !self.plan.edge_ports.is_empty()) {
            route(builder, (*gateway).into(), "refuse", &[]);
        }
        for service in &access.services {
            self.service(access, service, builder);
        }
    }

    /// A group over all ports of all routers; a router's slots are shared by its ports.
    fn service(&mut self, access: &AccessPlan, service: &ServiceSlots, builder: &mut Builder<'_>) {
        let entity = || format!("the choice of service '{}'", service.service);
        if service.choice.slots.len() != SLOTS {
            let what = format!("{} slots; expected {SLOTS}: nothing is chosen", service.choice.slots.len());
            return builder.problem(entity(), what);
        }
        if service.number >= NODE_GROUPS {
            let what = format!("its number is {}; expected one below {NODE_GROUPS}: it is left out", service.number);
            return builder.problem(entity(), what);
        }
        let mut slots: BTreeMap<NodeIndex, u32> = BTreeMap::new();
        for router in &service.choice.slots {
            let now = access.indirection.get(router).unwrap_or(router);
            *slots.entry(*now).or_default() += 1;
        }
        let mut members = Vec::new();
        for (router, slots) in slots {
            let ports = first_ports(self.plan, router);
            let Ok(count) = u32::try_from(ports.len()) else { continue };
            for (at, port) in (0..count).zip(ports) {
                let weight = slots / count + u32::from(at < slots % count);
                let next_hop = if weight > 0 { self.next_hop(Neighbour::Node(router), port, builder) } else { None };
                if let Some(next_hop) = next_hop {
                    members.push(member(next_hop, weight, port));
                }
            }
        }
        if members.is_empty() {
            return;
        }
        self.unwatched(&mut members);
        builder.one_shot("groups", &[("group", service.number.into())], &members);
        for prefix in &service.prefixes {
            route(builder, *prefix, "to_group", &[("group", service.number.into())]);
        }
    }

    /// What leads to a node: a next hop, or a group of equal ones.
    fn node(&mut self, node: NodeIndex, builder: &mut Builder<'_>) -> Option<(&'static str, (&'static str, u128))> {
        let ports = first_ports(self.plan, node);
        if let [port] = ports[..] {
            let next_hop = self.next_hop(Neighbour::Node(node), port, builder)?;
            return Some(("to_next_hop", ("next_hop", next_hop.into())));
        }
        let mut members = Vec::with_capacity(ports.len());
        for port in ports {
            let next_hop = self.next_hop(Neighbour::Node(node), port, builder)?;
            members.push(member(next_hop, 1, port));
        }
        let group = if members.is_empty() { None } else { self.groups.of(&[node.0.into()]) }?;
        self.unwatched(&mut members);
        builder.one_shot("groups", &[("group", group.into())], &members);
        Some(("to_group", ("group", group.into())))
    }

    /// Where a group must not become empty, those of one port are given packets even while it is down.
    fn unwatched(&self, members: &mut [Member]) {
        let last = members.iter().filter_map(|member| member.watch).max();
        for member in members.iter_mut().filter(|member| !self.may_be_empty && member.watch == last) {
            member.watch = None;
        }
    }

    fn host(&mut self, host: &Attachment, builder: &mut Builder<'_>) -> Option<u16> {
        let neighbour = Neighbour::Host(host.address.to_bits());
        let next_hop = self.next_hop(neighbour, host.port, builder)?;
        let id = self.neighbour_id(neighbour)?;
        let key = [("interface", host.port.0.into()), ("neighbour", id.into())];
        builder.entry("neighbours", &key, "is", &[("mac", host.mac.to_u64().into())]);
        Some(next_hop)
    }

    /// The number of the next hop to a neighbour by a port, with all that it needs.
    fn next_hop(&mut self, neighbour: Neighbour, port: PortNo, builder: &mut Builder<'_>) -> Option<u16> {
        if let Some(known) = self.known.get(&(neighbour, port)) {
            return Some(*known);
        }
        let key = match neighbour {
            Neighbour::Node(node) => [0, node.0.into(), port.0],
            Neighbour::Host(address) => [1, address, port.0],
        };
        let ids = self.next_hops.of(&key).zip(self.neighbour_id(neighbour));
        let Some((next_hop, id)) = ids else {
            builder.problem(format!("the next hop by port {port}"), "more than 65,535 of them: it is left out");
            return None;
        };
        self.known.insert((neighbour, port), next_hop);
        self.interface(port, builder);
        let place = [("interface", port.0.into()), ("neighbour", id.into())];
        if let Neighbour::Node(node) = neighbour {
            let mac = MacAddr::of_node(node).to_u64();
            let key = place.map(|(name, value): (&str, u128)| (name, Value::Exact(value)));
            builder.entry("neighbours", &key, "is", &[("mac", mac.into())]);
        }
        builder.entry("next_hops", &[("next_hop", next_hop.into())], "through", &place);
        Some(next_hop)
    }

    fn neighbour_id(&mut self, neighbour: Neighbour) -> Option<u16> {
        match neighbour {
            Neighbour::Node(node) => Some(node.0),
            Neighbour::Host(address) => self.hosts.of(&[address]),
        }
    }

    /// A port: hosts see the gateway, the fabric this node.
    fn interface(&mut self, port: PortNo, builder: &mut Builder<'_>) {
        if !self.interfaces.insert(port) {
            return;
        }
        let edge = self.plan.edge_ports.contains(&port) || self.plan.attached.iter().any(|host| host.port == port);
        let mac = if edge { MacAddr::GATEWAY } else { MacAddr::of_node(self.plan.index) };
        let params = [("port", port.0.into()), ("mac", mac.to_u64().into())];
        builder.entry("interfaces", &[("interface", port.0.into())], "leave", &params);
    }
}

/// Ports of the lowest rank towards a node.
fn first_ports(plan: &DatapathPlan, node: NodeIndex) -> Vec<PortNo> {
    let hops = plan.next_hops.get(&node).map_or(&[][..], Vec::as_slice);
    let least = hops.iter().map(|hop| hop.rank).min();
    let ports: BTreeSet<PortNo> = hops.iter().filter(|hop| Some(hop.rank) == least).map(|hop| hop.port).collect();
    ports.into_iter().collect()
}
