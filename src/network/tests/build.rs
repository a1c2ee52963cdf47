//! Plans of every stage of the Clos fabric, and of one with a port that is not known yet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::{clos, clos_text, index, read};
use crate::config::Topology;
use crate::network::build::{Fabric, Local, datapath_plan};
use crate::network::hosts::Hosts;
use crate::network::paths::{Paths, Shadows};
use crate::network::{WiredLink, declared_links};
use crate::plan::{Attachment, Choice, DatapathPlan, NextHop, RolePlan, SLOTS, Spread};
use crate::types::{MacAddr, NodeId, NodeIndex, PortNo};

struct Bench {
    topology: Topology,
    links: Vec<WiredLink>,
    paths: Paths,
    hosts: Hosts,
    shadows: Shadows,
    stand_ins: BTreeMap<NodeIndex, NodeIndex>,
}

impl Bench {
    fn new(topology: Topology) -> Self {
        let links = declared_links(&topology);
        let [r1, r2, r3] = ["r1", "r2", "r3"].map(|name| index(&topology, name));
        let shadows = BTreeMap::from([(r1, vec![r2, r3]), (r2, vec![r1])]);
        let paths = Paths::compute(&topology, &links, &shadows);
        let hosts = Hosts::new(&topology);
        Self { topology, links, paths, hosts, shadows, stand_ins: BTreeMap::new() }
    }

    fn plan(&self, name: &str) -> DatapathPlan {
        let fabric = Fabric {
            topology: &self.topology,
            links: &self.links,
            paths: &self.paths,
            hosts: &self.hosts,
            shadows: &self.shadows,
            stand_ins: &self.stand_ins,
            replicate: true,
        };
        let ports: BTreeSet<PortNo> = [1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 0xfffe].map(PortNo).into();
        let slots: Vec<NodeIndex> =
            (0..SLOTS).map(|slot| self.topology.routers().nth(slot % 4).unwrap().index).collect();
        let choices = self
            .topology
            .services
            .iter()
            .map(|service| (service.id.clone(), Choice { slots: slots.clone(), spread: Spread::Select }))
            .collect();
        let node = self.topology.node(&NodeId::new(name)).unwrap();
        datapath_plan(&fabric, &Local { ports: &ports, choices: &choices }, node)
    }

    fn index(&self, name: &str) -> NodeIndex {
        index(&self.topology, name)
    }
}

fn ports(numbers: &[u32]) -> Vec<PortNo> {
    numbers.iter().copied().map(PortNo).collect()
}

#[test]
fn third_stage() {
    let bench = Bench::new(clos());
    let plan = bench.plan("t1");
    assert_eq!(plan.index, bench.index("t1"));
    assert_eq!(plan.edge_ports, ports(&[3, 4, 5, 6, 7, 10, 11, 12]), "all but the two links and the local port");
    assert_eq!(plan.mirror_ports, []);
    assert_eq!(plan.gateways, [Ipv4Addr::new(10, 1, 1, 254)]);
    let attached = |last: u8, port| Attachment {
        address: Ipv4Addr::new(10, 1, 1, last),
        mac: MacAddr([0, 0, 10, 1, 1, last]),
        port: PortNo(port),
    };
    assert_eq!(plan.attached, [attached(1, 10), attached(2, 11)]);
    let hop = |port| NextHop { rank: 0, port: PortNo(port) };
    assert_eq!(plan.next_hops[&bench.index("r1")], [hop(1), hop(2)]);
    let towards: Vec<NodeIndex> = plan.next_hops.keys().copied().collect();
    assert_eq!(towards, ["r1", "r2", "r3", "r4", "t2", "t3"].map(|name| bench.index(name)));
    let RolePlan::Access(access) = plan.role else { panic!("{:?}", plan.role) };
    assert_eq!(access.services.len(), 1);
    assert_eq!((access.services[0].number, access.services[0].choice.slots.len()), (1, SLOTS));
    assert_eq!(access.remote_hosts.len(), 4);
    assert_eq!(access.remote_hosts[0], (Ipv4Addr::new(10, 1, 2, 1), bench.index("t2")));
    assert!(access.indirection.len() == 4 && access.indirection.iter().all(|(id, now)| id == now));
}

#[test]
fn services_come_longest_prefix_first() {
    let text = clos_text()
        .replace("  - id: internet", "  - {id: near, prefixes: [198.51.0.0/16, 198.51.100.0/24]}\n  - id: internet");
    let bench = Bench::new(read(&text));
    let RolePlan::Access(access) = bench.plan("t2").role else { panic!() };
    let order: Vec<(&str, u16, Vec<u8>)> = access
        .services
        .iter()
        .map(|service| {
            (
                service.service.as_str(),
                service.number,
                service.prefixes.iter().map(|prefix| prefix.prefix_len()).collect(),
            )
        })
        .collect();
    assert_eq!(order, [("near", 1, vec![24, 16]), ("internet", 2, vec![0])]);
}

#[test]
fn second_stage() {
    let bench = Bench::new(clos());
    let plan = bench.plan("s2");
    assert_eq!((plan.edge_ports.len(), plan.attached.len(), plan.gateways.len()), (0, 0, 0));
    assert_eq!(plan.role, RolePlan::Transit);
    let hop = |rank, port| NextHop { rank, port: PortNo(port) };
    assert_eq!(plan.next_hops[&bench.index("r1")], [hop(0, 4), hop(1, 5), hop(2, 6)]);
    assert_eq!(plan.next_hops[&bench.index("t3")], [hop(0, 3)]);
}

#[test]
fn first_stage() {
    let mut bench = Bench::new(clos());
    let plan = bench.plan("r2");
    assert_eq!(plan.edge_ports, []);
    assert_eq!(plan.mirror_ports, ports(&[5, 6, 7]));
    let RolePlan::Router(router) = plan.role else { panic!("{:?}", plan.role) };
    assert_eq!((router.capacity_connections, router.idle_timeout_s, router.closing_timeout_s), (500, 300, 5));
    assert_eq!((router.inside_ports, router.outside_ports), (ports(&[1, 2]), ports(&[3, 4])));
    assert_eq!(router.stands_in_for, [bench.index("r1")]);
    assert_eq!(router.hosts.len(), 6);
    let [o1, o2] = [bench.index("o1"), bench.index("o2")];
    let destinations = [
        ("198.51.100.10/32".parse().unwrap(), vec![o1]),
        ("203.0.113.10/32".parse().unwrap(), vec![o2]),
        ("0.0.0.0/0".parse().unwrap(), vec![o1, o2]),
    ];
    assert_eq!(router.destinations, destinations);
    // After a failover the router stands in even where it is no shadow.
    bench.stand_ins = BTreeMap::from([(bench.index("r3"), bench.index("r2"))]);
    let RolePlan::Router(router) = bench.plan("r2").role else { panic!() };
    assert_eq!(router.stands_in_for, [bench.index("r1"), bench.index("r3")]);
}

#[test]
fn whoever_stands_in_for_a_router_translates_as_it_does() {
    let capacity = "    capacity_connections: 500\n";
    let text = clos_text().replacen(capacity, &format!("{capacity}    source_nat: 100.65.0.0/16\n"), 1);
    let mut bench = Bench::new(read(&text));
    let mut translations = |name: &str| {
        let RolePlan::Router(router) = bench.plan(name).role else { panic!() };
        bench.stand_ins = BTreeMap::from([(bench.index("r1"), bench.index("r4"))]);
        router.translations
    };
    let of_r1 = translations("r1");
    assert_eq!(of_r1.keys().copied().collect::<Vec<_>>(), [index(&read(&text), "r1")], "r2 translates nothing");
    let pairs: Vec<String> = of_r1.values().flatten().map(|pair| format!("{} {}", pair.inside, pair.outside)).collect();
    assert_eq!(pairs.len(), 6, "clients alone: {pairs:?}");
    assert_eq!(pairs[..3], ["10.1.1.1 100.65.1.1", "10.1.1.2 100.65.1.2", "10.1.2.1 100.65.2.1"]);
    for shadow in ["r2", "r4"] {
        assert_eq!(translations(shadow), of_r1, "{shadow}");
    }
    assert_eq!(translations("r2").len(), 1);
}

#[test]
fn outside() {
    let mut bench = Bench::new(clos());
    bench.stand_ins = BTreeMap::from([(bench.index("r1"), bench.index("r2"))]);
    let plan = bench.plan("o1");
    assert_eq!(plan.edge_ports, ports(&[5, 6, 7, 10, 11, 12]));
    assert_eq!(plan.gateways, [Ipv4Addr::new(198, 51, 100, 254)]);
    assert_eq!(plan.attached.len(), 1);
    let hop = |rank, port| NextHop { rank, port: PortNo(port) };
    assert_eq!(plan.next_hops[&bench.index("r1")], [hop(0, 1), hop(1, 2), hop(2, 3)]);
    let RolePlan::Outside(outside) = plan.role else { panic!("{:?}", plan.role) };
    let meant: Vec<NodeIndex> = outside.indirection.values().copied().collect();
    assert_eq!(meant, ["r2", "r2", "r3", "r4"].map(|name| bench.index(name)));
}

#[test]
fn while_a_links_port_is_unknown_only_declared_ports_are_edges() {
    let text = clos_text().replace("{a: \"t1:2\", b: \"s2:1\"}", "{a: t1, b: \"s2:1\"}");
    let bench = Bench::new(read(&text));
    assert_eq!(bench.plan("t1").edge_ports, ports(&[10, 11]));
    assert_eq!(bench.plan("t1").next_hops[&bench.index("r1")].len(), 1);
}
