//! What an export keeps of a running fabric, and that a file of it reads back.

use super::*;
use crate::config::{Topology, parse_topology};
use crate::northbound::export::{YAML, export};

fn read(text: &str) -> Topology {
    parse_topology(std::path::Path::new("exported.yaml"), text)
        .unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

fn link(a: (&str, u32), b: (&str, u32), state: LinkState) -> LinkView {
    LinkView {
        a: NodeId::new(a.0),
        a_port: Some(PortNo(a.1)),
        b: NodeId::new(b.0),
        b_port: Some(PortNo(b.1)),
        latency_us: 100,
        measured_latency_us: Some(70),
        state,
        ..sample().links.remove(0)
    }
}

fn station(mac: u8, vlan: Option<u16>, ipv4: &[[u8; 4]], at: (&str, u32)) -> HostView {
    HostView {
        id: format!("00:00:00:00:00:{mac:02x} in no VLAN"),
        mac: Some(MacAddr([0, 0, 0, 0, 0, mac])),
        vlan,
        ipv4: ipv4.iter().map(|address| (*address).into()).collect(),
        ipv6: Vec::new(),
        node: NodeId::new(at.0),
        port: Some(PortNo(at.1)),
    }
}

/// Two joined bridges, a third that went away, hosts of every kind.
fn bridged() -> View {
    let mut view = sample();
    view.switches = vec![
        switch("s1", 1, Stage::Bridge, true),
        switch("s2", 2, Stage::Bridge, true),
        switch("s3", 3, Stage::Bridge, false),
    ];
    let data = |link: LinkView| LinkView { kind: LinkKind::Data, ..link };
    view.links = vec![
        data(link(("s1", 1), ("s2", 1), LinkState::Undeclared)),
        data(link(("s1", 2), ("s2", 2), LinkState::Undeclared)),
        data(link(("s1", 2), ("s2", 3), LinkState::Undeclared)),
        data(link(("s1", 4), ("s3", 1), LinkState::Undeclared)),
        data(link(("s1", 5), ("s1", 6), LinkState::Undeclared)),
    ];
    view.hosts = vec![
        station(1, None, &[[10, 0, 0, 1]], ("s1", 10)),
        station(2, None, &[[0, 0, 0, 0], [10, 0, 1, 2]], ("s2", 10)),
        station(3, None, &[[10, 0, 1, 3]], ("s2", 10)),
        station(4, Some(7), &[[10, 0, 0, 4]], ("s1", 11)),
        station(5, None, &[], ("s1", 12)),
        station(6, None, &[[10, 0, 0, 1]], ("s1", 13)),
        station(7, None, &[[10, 0, 0, 7]], ("s3", 10)),
    ];
    (view.services, view.routers, view.differences) = Default::default();
    view
}

#[tokio::test]
async fn a_bridged_fabric_becomes_a_file() {
    let answer = ask(&fixture(bridged()), Method::GET, "/api/v1/topology.yaml").await;
    assert_eq!((answer.status, answer.kind.as_str()), (StatusCode::OK, YAML));
    let text = answer.text();
    let topology = read(&text);
    let nodes: Vec<_> = topology.nodes.iter().map(|node| (node.id.as_str(), node.stage)).collect();
    assert_eq!(nodes, [("s1", Stage::Bridge), ("s2", Stage::Bridge)]);
    let links: Vec<_> =
        topology.links.iter().map(|link| format!("{} {} {}", link.a, link.b, link.latency_us)).collect();
    assert_eq!(links, ["s1:1 s2:1 70", "s1:2 s2:2 70"]);
    let hosts: Vec<_> = topology
        .hosts
        .iter()
        .map(|host| format!("{} {}/{} {}", host.id, host.address, host.prefix_len, host.attached))
        .collect();
    assert_eq!(hosts, ["h1 10.0.0.1/23 s1:10", "h2 10.0.1.2/23 s2:10", "h3 10.0.1.3/23 s2"]);
    for left_out in [
        "switch s3, which has no session",
        "link s1-s2, whose ports have other links",
        "link s1-s1, which joins stages that no link may join",
        "hosts in a VLAN: 1",
        "hosts without an IPv4 address: 1",
        "hosts whose address another has: 1",
    ] {
        assert!(text.contains(&format!("# - left out: {left_out}\n")), "{left_out}\n{text}");
    }
}

#[tokio::test]
async fn before_any_switch_came_there_is_no_file() {
    let mut view = bridged();
    (view.switches, view.links, view.hosts) = Default::default();
    let answer = ask(&fixture(view), Method::GET, "/api/v1/topology.yaml").await;
    assert_eq!((answer.status, answer.kind.as_str()), (StatusCode::NOT_FOUND, PROBLEM_JSON));
}

/// Timeouts, risk groups, gateways and services are in no view, and come back from the declaration.
#[test]
fn what_was_declared_is_kept() {
    let declared = read(include_str!("../../../topologies/clos.yaml"));
    let mut view = bridged();
    view.switches = declared
        .nodes
        .iter()
        .map(|node| switch(node.id.as_str(), node.index.0, node.stage, node.index.0 % 2 == 0))
        .collect();
    let end = |end: &crate::config::LinkEnd| (end.node.clone(), end.port);
    view.links = declared
        .links
        .iter()
        .map(|declared| {
            let ((a, a_port), (b, b_port)) = (end(&declared.a), end(&declared.b));
            let (kind, latency_us) = (declared.kind, declared.latency_us);
            LinkView {
                a,
                a_port,
                b,
                b_port,
                kind,
                latency_us,
                measured_latency_us: None,
                ..link(("", 1), ("", 1), LinkState::Up)
            }
        })
        .collect();
    // A wire past the first stage, which no file may declare.
    view.links.push(LinkView { kind: LinkKind::Data, ..link(("t1", 50), ("o1", 50), LinkState::Undeclared) });
    view.hosts.clear();
    let (topology, comments) = export(&view, &declared);
    assert_eq!(topology, declared);
    assert!(comments.header.iter().any(|line| line.contains("link t1-o1")), "{comments:?}");
    assert_eq!(read(&topology.to_yaml_with(&comments)), declared);
    let (from_view, comments) = export(&view, &Topology::default());
    assert!(from_view.routers().next().is_none() || comments.header.len() > 1, "{comments:?}");
}
