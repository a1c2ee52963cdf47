//! From a plan to what the tables of a `fabric` program hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::super::builder::{Builder, Member, Value};
use super::super::ids::Ids;
use super::super::regions;
use super::super::{Compiled, route};
use super::replicas;
use crate::p4info::mapping::Mapping;
use crate::plan::{AccessPlan, DatapathPlan, RolePlan, RouterPlan, SLOTS, ServiceSlots};
use crate::types::{NodeIndex, PortNo};

/// Tables in the order in which their entries are made: what others lead packets to comes first, and ports are let in
/// last.
const ORDER: &[&str] = &[
    "next_hops_again",
    "next_hops",
    "fallbacks_again",
    "fallbacks",
    "last_resorts",
    "indirection",
    "chosen",
    "owners",
    "replicas",
    "stands_in",
    "sets",
    "choice",
    "routes",
    "gateways",
    "node",
    "ports",
];
/// Tables of next hops, by rank.
const RANKS: [&[&str]; 3] = [&["next_hops", "next_hops_again"], &["fallbacks", "fallbacks_again"], &["last_resorts"]];
/// The id of the member that stays, above those of ports.
const STAY: u32 = 0x1_0000;
/// Where three ports and more share with a member that stays, each has this weight: what that member is given goes to
/// its neighbours in the group.
const PORT_WEIGHT: u32 = 4;

/// Values of the parameter `role`.
mod role {
    pub(super) const OUTSIDE: u128 = 0;
    pub(super) const ROUTER: u128 = 1;
    pub(super) const TRANSIT: u128 = 2;
    pub(super) const ACCESS: u128 = 3;
}

/// Values of the parameter `kind`.
mod kind {
    pub(super) const CLOSED: u128 = 0;
    pub(super) const EDGE: u128 = 1;
    pub(super) const LINK: u128 = 2;
    pub(super) const INSIDE: u128 = 3;
    pub(super) const OUTSIDE: u128 = 4;
    pub(super) const MIRROR: u128 = 5;
}

pub(super) fn compile(mapping: &Mapping, plan: &DatapathPlan) -> Compiled {
    let mut builder = Builder::new(mapping);
    builder.order(ORDER);
    builder.cpu_session();
    let role = match &plan.role {
        RolePlan::Access(_) => role::ACCESS,
        RolePlan::Transit => role::TRANSIT,
        RolePlan::Router(_) => role::ROUTER,
        RolePlan::Outside(_) => role::OUTSIDE,
        RolePlan::Bridge(_) => {
            let what =
                "the program has no part for switches without a stage; expected one of the stages: it forwards nothing";
            builder.problem("the plan", what);
            return builder.finish();
        }
    };
    builder.default_action("node", "become", &[("node", plan.index.0.into()), ("role", role)]);
    ports(plan, &mut builder);
    hops(plan, &mut builder);
    match &plan.role {
        RolePlan::Access(access) => self::access(plan, access, &mut builder),
        RolePlan::Router(router) => self::router(mapping, plan, router, &mut builder),
        RolePlan::Outside(outside) => {
            attached(plan, &mut builder);
            gateways(plan, &mut builder);
            indirection(&outside.indirection, &mut builder);
        }
        RolePlan::Transit | RolePlan::Bridge(_) => {}
    }
    builder.finish()
}

/// What faces what. A port of which nothing is known is a link, which takes only what is addressed to nodes; at routers
/// it is closed, as inside and outside have to be told apart.
fn ports(plan: &DatapathPlan, builder: &mut Builder<'_>) {
    let router = match &plan.role {
        RolePlan::Router(router) => Some(router),
        _ => None,
    };
    let rest = if router.is_some() { kind::CLOSED } else { kind::LINK };
    builder.default_action("ports", "kind", &[("kind", rest)]);
    let mut kinds: BTreeMap<PortNo, u128> = BTreeMap::new();
    if let Some(router) = router {
        kinds.extend(router.inside_ports.iter().map(|port| (*port, kind::INSIDE)));
        kinds.extend(router.outside_ports.iter().map(|port| (*port, kind::OUTSIDE)));
    }
    kinds.extend(plan.edge_ports.iter().map(|port| (*port, kind::EDGE)));
    kinds.extend(plan.mirror_ports.iter().map(|port| (*port, kind::MIRROR)));
    for (port, kind) in kinds {
        builder.entry("ports", &[("port", port.0.into())], "kind", &[("kind", kind)]);
    }
}

/// Ports towards every node: the lowest rank, the one after it, and all others.
fn hops(plan: &DatapathPlan, builder: &mut Builder<'_>) {
    for (node, hops) in &plan.next_hops {
        let ranks: BTreeSet<u8> = hops.iter().map(|hop| hop.rank).collect();
        let mut tables: [BTreeSet<PortNo>; RANKS.len()] = Default::default();
        for hop in hops {
            let place = ranks.iter().position(|rank| *rank == hop.rank).unwrap_or_default();
            tables[place.min(RANKS.len() - 1)].insert(hop.port);
        }
        for (rank, (tables, ports)) in (0_u32..).zip(RANKS.into_iter().zip(&tables)) {
            if !ports.is_empty() {
                let group = rank << 16 | u32::from(node.0);
                let members = group_of_ports(tables, ports, builder);
                tables.iter().for_each(|table| builder.choice(table, &[("node", node.0.into())], group, &members));
            }
        }
    }
}

/// Ports that share as long as they are up. The last resort is not watched where a group must not lose all: it is sent
/// there or lost.
fn group_of_ports(tables: &[&str], ports: &BTreeSet<PortNo>, builder: &Builder<'_>) -> Vec<Member> {
    let stays = tables.iter().any(|table| builder.has(table, "stay"));
    let (looks_again, shared) = (stays && tables.len() > 1, ports.len() > 2);
    let weight = if looks_again && shared { PORT_WEIGHT } else { 1 };
    let member = |port: &PortNo| Member {
        id: port.0,
        action: "send",
        value: Some(port.0.into()),
        weight,
        watch: (looks_again || !stays).then_some(*port),
    };
    let mut members: Vec<Member> = ports.iter().map(member).collect();
    if looks_again {
        members.push(Member { id: STAY, action: "stay", value: None, weight: 1, watch: None });
    }
    members
}

fn reachable(plan: &DatapathPlan, node: NodeIndex) -> bool {
    plan.next_hops.get(&node).is_some_and(|hops| !hops.is_empty())
}

fn access(plan: &DatapathPlan, access: &AccessPlan, builder: &mut Builder<'_>) {
    attached(plan, builder);
    for (address, switch) in &access.remote_hosts {
        if reachable(plan, *switch) {
            route(builder, (*address).into(), "to_node", &[("node", switch.0.into())]);
        }
    }
    gateways(plan, builder);
    for service in &access.services {
        for prefix in &service.prefixes {
            route(builder, *prefix, "serve", &[("service", service.number.into())]);
        }
        choose(service, builder);
        let routers: BTreeSet<_> = access.indirection.keys().chain(&service.choice.slots).collect();
        for router in routers {
            let key = [("service", service.number.into()), ("router", router.0.into())];
            builder.entry("chosen", &key, "count", &[]);
        }
    }
    indirection(&access.indirection, builder);
}

/// A group whose weights are numbers of slots: they add up to the same, whatever is shifted.
fn choose(service: &ServiceSlots, builder: &mut Builder<'_>) {
    if service.choice.slots.len() != SLOTS {
        let what = format!("{} slots; expected {SLOTS}: nothing is chosen", service.choice.slots.len());
        builder.problem(format!("the choice of service '{}'", service.service), what);
        return;
    }
    let mut weights: BTreeMap<NodeIndex, u32> = BTreeMap::new();
    for router in &service.choice.slots {
        *weights.entry(*router).or_default() += 1;
    }
    let member = |(router, weight): (NodeIndex, u32)| Member {
        id: router.0.into(),
        action: "choose",
        value: Some(router.0.into()),
        weight,
        watch: None,
    };
    let members: Vec<Member> = weights.into_iter().map(member).collect();
    builder.choice("choice", &[("service", service.number.into())], service.number.into(), &members);
}

fn router(mapping: &Mapping, plan: &DatapathPlan, router: &RouterPlan, builder: &mut Builder<'_>) {
    let regions = regions::layout(plan, router, mapping.connection_slots);
    for (owner, what) in &regions.problems {
        builder.problem(format!("the connections of node {owner}"), what);
    }
    let ms = |seconds: u16| u128::from(seconds) * 1_000;
    // Whomever it carries connections for, all count against what is its own.
    let capacity = regions.of.get(&plan.index).map_or(0, |own| own.capacity);
    for (owner, region) in &regions.of {
        let session = replicas::mirror(router, *owner, *region, builder);
        replicas::admit(router, *owner, *region, builder);
        let params = [
            ("region", region.first.into()),
            ("mask", (region.slots - 1).into()),
            ("capacity", capacity.into()),
            ("idle_ms", ms(router.idle_timeout_s)),
            ("closing_ms", ms(router.closing_timeout_s)),
            ("half_open_ms", ms(router.half_open_timeout_s)),
            ("session", session.into()),
            ("parts", regions.parts.into()),
            ("part", regions.part.into()),
            ("places", regions.places().into()),
        ];
        builder.entry("owners", &[("node", owner.0.into())], "hold", &params);
        if *owner != plan.index {
            builder.entry("stands_in", &[("node", owner.0.into())], "instead", &[]);
        }
    }
    for (address, switch) in &router.hosts {
        if reachable(plan, *switch) {
            route(builder, (*address).into(), "to_node", &[("node", switch.0.into())]);
        }
    }
    destinations(plan, router, builder);
}

/// Outside switches by prefix; several share.
fn destinations(plan: &DatapathPlan, router: &RouterPlan, builder: &mut Builder<'_>) {
    let mut wanted: BTreeMap<Vec<NodeIndex>, Vec<Ipv4Net>> = BTreeMap::new();
    for (prefix, outside) in &router.destinations {
        let outside: BTreeSet<NodeIndex> = outside.iter().copied().filter(|node| reachable(plan, *node)).collect();
        wanted.entry(outside.into_iter().collect()).or_default().push(*prefix);
    }
    let mut ids = Ids::from(1);
    for (outside, prefixes) in wanted {
        let (action, param) = match &outside[..] {
            [] => continue,
            [only] => ("to_node", ("node", only.0.into())),
            several => {
                let key: Vec<u32> = several.iter().map(|node| node.0.into()).collect();
                let Some(set) = ids.of(&key) else {
                    builder.problem("sets of outside switches", "there are more than 65,535: this one is left out");
                    continue;
                };
                let member = |node: &NodeIndex| Member {
                    id: node.0.into(),
                    action: "to_node",
                    value: Some(node.0.into()),
                    weight: 1,
                    watch: None,
                };
                let members: Vec<Member> = several.iter().map(member).collect();
                builder.choice("sets", &[("set", set.into())], set.into(), &members);
                ("to_set", ("set", set.into()))
            }
        };
        for prefix in prefixes {
            route(builder, prefix, action, &[param]);
        }
    }
}

fn attached(plan: &DatapathPlan, builder: &mut Builder<'_>) {
    let mut seen: BTreeSet<Ipv4Addr> = BTreeSet::new();
    for attachment in &plan.attached {
        if !seen.insert(attachment.address) {
            let what = "attached twice; expected each address once: the first place is kept";
            builder.problem(format!("the host {}", attachment.address), what);
        }
        let to = [("mac", attachment.mac.to_u64().into()), ("port", attachment.port.0.into())];
        route(builder, attachment.address.into(), "deliver", &to);
    }
}

/// A gateway is answered for, and is nobody to talk to: what is sent to it must not take a router's slot.
fn gateways(plan: &DatapathPlan, builder: &mut Builder<'_>) {
    if plan.edge_ports.is_empty() {
        return;
    }
    for gateway in &plan.gateways {
        builder.entry("gateways", &[("target", gateway.to_bits().into())], "answer", &[]);
        route(builder, (*gateway).into(), "refuse", &[]);
    }
}

fn indirection(indirection: &BTreeMap<NodeIndex, NodeIndex>, builder: &mut Builder<'_>) {
    for (router, now) in indirection {
        let key: [(&str, Value); 1] = [("router", router.0.into())];
        builder.entry("indirection", &key, "means", &[("node", now.0.into())]);
    }
}
