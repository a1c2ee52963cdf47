//! What a topology file says of static NAT: under which addresses the hosts behind a first-stage router are seen outside.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::reader::{Fields, Reader};
use super::topology::{Host, Node, Protocol, Stage, Topology};
use super::yaml::{Place, Tree, Value};

pub(super) const KEY: &str = "source_nat";

/// Reads the key of one router.
pub(super) fn read(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    protocol: Option<Protocol>,
) -> Option<Option<Ipv4Net>> {
    let Some(tree) = fields.get(KEY) else { return Some(None) };
    if protocol == Some(Protocol::P4Runtime) {
        let what = format!("'{KEY}' on a node whose protocol is p4runtime");
        reader.problem(fields.place_of(KEY), what, "this key on nodes with 'protocol: openflow' only");
        return None;
    }
    let expected = "an IPv4 prefix of unicast addresses such as 100.64.0.0/16, without host bits";
    reader.parsed(Some(tree), KEY, expected, parse).map(Some)
}

fn parse(text: &str) -> Option<Ipv4Net> {
    let net: Ipv4Net = text.parse().ok()?;
    let (first, last) = (net.network(), net.broadcast());
    let kept = [Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8), Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8).trunc()];
    let unicast = last < Ipv4Addr::new(224, 0, 0, 0) && !kept.iter().any(|kept| overlap(*kept, net));
    (net.addr() == first && net.prefix_len() > 0 && unicast).then_some(net)
}

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// Holds every router's prefix against the others and the hosts. `nodes` are the entries of the file, in
/// the order of the topology's.
pub(super) fn check(reader: &mut Reader<'_>, topology: &Topology, nodes: &[Tree]) {
    let translating: Vec<(&Node, Ipv4Net, Place)> = topology
        .nodes
        .iter()
        .zip(nodes)
        .filter_map(|(node, tree)| Some((node, node.router.as_ref()?.source_nat?, place_of_key(tree))))
        .collect();
    for (at, (node, prefix, place)) in translating.iter().enumerate() {
        if let Some((other, taken, first)) = translating[..at].iter().find(|(_, taken, _)| overlap(*taken, *prefix)) {
            let what = format!(
                "'{KEY}' of '{}', {prefix}, overlaps {taken} of '{}' at line {}",
                node.id, other.id, first.line
            );
            reader.problem(*place, what, "addresses that no other router translates to");
        }
        for host in &topology.hosts {
            if let Some((what, expected)) = unfit(topology, *prefix, host) {
                reader.problem(*place, what, expected);
            }
        }
        if let Some((one, other, address)) = same_address(topology, *prefix) {
            let what = format!("'{KEY}' {prefix} gives '{}' and '{}' the same address, {address}", one.id, other.id);
            reader.problem(*place, what, "a prefix so short that every host keeps its own address");
        }
    }
}

fn place_of_key(tree: &Tree) -> Place {
    let Value::Map(entries) = &tree.value else { return tree.place };
    entries.iter().find(|(name, ..)| name == KEY).map_or(tree.place, |(_, place, _)| *place)
}

/// Why replies to these addresses would not come from this host.
fn unfit(topology: &Topology, prefix: Ipv4Net, host: &Host) -> Option<(String, &'static str)> {
    let subnet = Ipv4Net::new(host.address, host.prefix_len).ok()?.trunc();
    if overlap(subnet, prefix) {
        let what = format!("'{KEY}' {prefix} overlaps {subnet}, the subnet of '{}'", host.id);
        return Some((what, "addresses of no host's subnet: nobody there would answer ARP for them"));
    }
    let server = topology.node(&host.attached.node).is_some_and(|node| node.stage == Stage::Outside);
    let what = || format!("'{}' has no gateway, and so no way back to addresses of '{KEY}' {prefix}", host.id);
    (server && host.gateway.is_none()).then(|| (what(), "'gateway' at every host of an outside switch"))
}

/// Two hosts behind the first stage that would share an address.
fn same_address(topology: &Topology, prefix: Ipv4Net) -> Option<(&Host, &Host, Ipv4Addr)> {
    let mut seen: BTreeMap<Ipv4Addr, &Host> = BTreeMap::new();
    topology.hosts.iter().filter(|host| is_client(topology, host)).find_map(|host| {
        let address = translated(prefix, host.address);
        seen.insert(address, host).map(|first| (first, host, address))
    })
}

fn is_client(topology: &Topology, host: &Host) -> bool {
    topology.node(&host.attached.node).is_some_and(|node| node.stage == Stage::Access)
}

/// The prefix's network bits, the host's host bits.
pub fn translated(prefix: Ipv4Net, host: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(prefix.network().to_bits() | host.to_bits() & prefix.hostmask().to_bits())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::topology_file::parse_topology;
    use super::*;

    fn read(r1: &str, r2: &str, w1: &str) -> Result<Topology, String> {
        let text = format!(
            "nodes:\n\
             - {{id: o, stage: 0, dpid: 1}}\n\
             - {{id: t, stage: 3, dpid: 2}}\n\
             - {{id: r1, stage: 1, capacity_connections: 9, {r1}}}\n\
             - {{id: r2, stage: 1, capacity_connections: 9, {r2}}}\n\
             links:\n- {{a: o, b: r1}}\n- {{a: o, b: r2}}\n- {{a: r1, b: t}}\n- {{a: r2, b: t}}\n\
             - {{a: r1, b: r2, kind: mirror}}\n\
             services:\n- {{id: web, prefixes: [0.0.0.0/0], shares: {{r1: 1}}, outside: [o]}}\n\
             hosts:\n- {{id: h1, address: 10.1.1.1, attach: t}}\n- {{id: h2, address: 10.1.2.1, attach: t}}\n\
             - {{id: w1, address: 198.51.100.10, {w1}attach: o}}\n"
        );
        let problems = |problems: Vec<super::super::Problem>| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        parse_topology(Path::new("t.yaml"), &text).map_err(problems)
    }

    const GATEWAY: &str = "gateway: 198.51.100.254, ";

    #[test]
    fn a_router_has_a_prefix_of_its_own() {
        let (r1, r2) = ("dpid: 3, source_nat: 100.65.0.0/16", "dpid: 4, source_nat: 100.66.0.0/16");
        let topology = read(r1, r2, GATEWAY).expect("a good file");
        let prefix = topology.nodes[2].router.as_ref().and_then(|router| router.source_nat).expect("r1 translates");
        assert_eq!(translated(prefix, Ipv4Addr::new(10, 1, 2, 1)), Ipv4Addr::new(100, 65, 2, 1));
        let written = parse_topology(Path::new("t.yaml"), &topology.to_yaml()).expect("what is written can be read");
        assert_eq!(written, topology);
        assert!(read("dpid: 3", "dpid: 4", "").is_ok(), "nobody translates, nobody needs a way back");
    }

    #[test]
    fn what_cannot_work_is_told_with_its_line() {
        let good = "dpid: 3, source_nat: 100.65.0.0/16";
        let cases = [
            ("dpid: 3, source_nat: 100.65.0.1/16", "dpid: 4", GATEWAY, "4:68: 'source_nat' is '100.65.0.1/16'"),
            ("dpid: 3, source_nat: 100.65.0.1", "dpid: 4", GATEWAY, "'source_nat' is '100.65.0.1'"),
            ("dpid: 3, source_nat: 0.0.0.0/0", "dpid: 4", GATEWAY, "'source_nat' is '0.0.0.0/0'"),
            ("dpid: 3, source_nat: 224.0.0.0/8", "dpid: 4", GATEWAY, "'source_nat' is '224.0.0.0/8'"),
            ("dpid: 3, source_nat: 126.0.0.0/7", "dpid: 4", GATEWAY, "'source_nat' is '126.0.0.0/7'"),
            (
                "dpid: 3, source_nat: 100.65.0.0/24",
                "dpid: 4",
                GATEWAY,
                "gives 'h1' and 'h2' the same address, 100.65.0.1",
            ),
            (good, "dpid: 4, source_nat: 100.64.0.0/10", GATEWAY, "overlaps 100.65.0.0/16 of 'r1' at line 4"),
            ("dpid: 3, source_nat: 198.51.0.0/16", "dpid: 4", GATEWAY, "overlaps 198.51.100.0/24, the subnet of 'w1'"),
            ("dpid: 3, source_nat: 10.1.0.0/16", "dpid: 4", GATEWAY, "overlaps 10.1.1.0/24, the subnet of 'h1'"),
            (good, "dpid: 4", "", "'w1' has no gateway, and so no way back"),
            (
                "dpid: 3",
                "protocol: p4runtime, device: 4, ports: 9, source_nat: 100.65.0.0/16",
                GATEWAY,
                "'source_nat' on a node whose protocol is p4runtime",
            ),
        ];
        for (r1, r2, w1, expected) in cases {
            let problem = read(r1, r2, w1).expect_err(r1);
            assert!(problem.contains(expected), "{r1}, {r2}, {w1}: {problem}");
        }
        let text = "nodes:\n- {id: o, stage: 0, dpid: 1, source_nat: 100.65.0.0/16}\n";
        let problems = parse_topology(Path::new("t.yaml"), text).expect_err("an outside switch translates nothing");
        assert!(problems.iter().any(|problem| problem.what.contains("'source_nat' on a node of stage outside")));
    }
}
