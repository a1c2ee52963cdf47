//! Ryu's views of a small fabric, held against what its `rest_topology` gives for the same.

use std::sync::Arc;

use super::*;

/// `s1` - `s2` by two links, one of them down; `s3` has no session; `h1` has two addresses.
fn bridges() -> View {
    let mut view = sample();
    view.switches = vec![
        switch("s2", 2, Stage::Bridge, true),
        switch("s1", 0x1a, Stage::Bridge, true),
        switch("s3", 3, Stage::Bridge, false),
    ];
    for view in &mut view.switches[..2] {
        let ports = Arc::make_mut(&mut view.ports);
        let mut second = ports[&PortNo(1)].clone();
        (second.number, second.up) = (PortNo(0x10), false);
        second.name = format!("{}-eth16", view.node);
        let local = Port { number: PortNo(0xffff_fffe), ..second.clone() };
        ports.extend([second, local].map(|port| (port.number, port)));
    }
    let link = |a: &str, a_port, b: &str, b_port: Option<u32>, state| LinkView {
        a: NodeId::new(a),
        a_port: Some(PortNo(a_port)),
        b: NodeId::new(b),
        b_port: b_port.map(PortNo),
        kind: LinkKind::Data,
        latency_us: 100,
        capacity_bps: 1_000_000_000,
        state,
        measured_latency_us: None,
    };
    view.links = vec![
        link("s2", 1, "s1", Some(0x10), LinkState::Undeclared),
        link("s1", 1, "s2", Some(0x10), LinkState::Down),
        link("s1", 1, "s3", Some(1), LinkState::Up),
        link("s1", 1, "s2", None, LinkState::Up),
    ];
    let host = |id: &str, address: [u8; 4], mac: Option<u8>, node: &str| HostView {
        id: id.into(),
        vlan: (id == "h1b").then_some(7),
        ipv4: vec![address.into()],
        ipv6: if id == "h4" { vec!["fe80::4".parse().expect("an address")] } else { Vec::new() },
        mac: mac.map(|last| MacAddr([0, 0, 0, 0, 0, last])),
        node: NodeId::new(node),
        port: Some(PortNo(1)),
    };
    view.hosts = vec![
        host("h1", [10, 0, 0, 1], Some(1), "s1"),
        host("h1b", [10, 0, 0, 9], Some(1), "s1"),
        host("unheard", [10, 0, 0, 2], None, "s1"),
        host("h3", [10, 0, 0, 3], Some(3), "s3"),
        host("h4", [10, 0, 0, 4], Some(4), "s2"),
    ];
    view
}

async fn answer(path: &str) -> Value {
    let answer = ask(&fixture(bridges()), Method::GET, path).await;
    assert_eq!((answer.status, answer.kind.as_str()), (StatusCode::OK, "application/json"), "{path}");
    answer.json()
}

fn s1(port: &str) -> Value {
    let name = if port == "00000001" { "s1-eth1" } else { "s1-eth16" };
    json!({"dpid": "000000000000001a", "port_no": port, "hw_addr": "02:46:53:01:00:1a", "name": name})
}

fn s2(port: &str) -> Value {
    let name = if port == "00000001" { "s2-eth1" } else { "s2-eth16" };
    json!({"dpid": "0000000000000002", "port_no": port, "hw_addr": "02:46:53:01:00:02", "name": name})
}

#[tokio::test]
async fn ryu_switches_are_the_connected_ones() {
    let first = json!({"dpid": "0000000000000002", "ports": [s2("00000001"), s2("00000010")]});
    let second = json!({"dpid": "000000000000001a", "ports": [s1("00000001"), s1("00000010")]});
    assert_eq!(answer("/v1.0/topology/switches").await, json!([first, second]));
    assert_eq!(answer("/v1.0/topology/switches/000000000000001a").await, json!([second]));
}

#[tokio::test]
async fn ryu_links_are_listed_for_each_direction() {
    let there = json!({"src": s2("00000001"), "dst": s1("00000010")});
    let back = json!({"src": s1("00000010"), "dst": s2("00000001")});
    assert_eq!(answer("/v1.0/topology/links").await, json!([there, back]));
    assert_eq!(answer("/v1.0/topology/links/000000000000001a").await, json!([back]));
}

#[tokio::test]
async fn ryu_hosts_have_all_their_addresses() {
    let first =
        json!({"mac": "00:00:00:00:00:01", "ipv4": ["10.0.0.1", "10.0.0.9"], "ipv6": [], "port": s1("00000001")});
    let second = json!({"mac": "00:00:00:00:00:04", "ipv4": ["10.0.0.4"], "ipv6": ["fe80::4"], "port": s2("00000001")});
    assert_eq!(answer("/v1.0/topology/hosts").await, json!([first, second]));
    assert_eq!(answer("/v1.0/topology/hosts/0000000000000002").await, json!([second]));
}

#[tokio::test]
async fn ryu_knows_no_such_switch_or_path() {
    let fixture = fixture(bridges());
    for what in ["switches", "links", "hosts"] {
        for unknown in ["00000000000000ff", "0000000000000003"] {
            assert_eq!(answer(&format!("/v1.0/topology/{what}/{unknown}")).await, json!([]), "{what}");
        }
        for bad in ["1", "000000000000001A", "00000000000000001a", "+00000000000001a", "s1"] {
            let answer = ask(&fixture, Method::GET, &format!("/v1.0/topology/{what}/{bad}")).await;
            assert_eq!((answer.status, answer.kind.as_str()), (StatusCode::NOT_FOUND, PROBLEM_JSON), "{what}/{bad}");
            let detail = answer.json()["detail"].to_string();
            assert!(detail.contains("16 lower-case hex digits") && detail.contains(bad), "{detail}");
        }
    }
    let post = ask(&fixture, Method::POST, "/v1.0/topology/switches").await;
    assert_eq!(post.status, StatusCode::METHOD_NOT_ALLOWED);
}
