//! What a topology file says of a P4Runtime switch: where it is, which ports it has, which program it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::reader::{Fields, Reader};
use super::topology::{Device, LinkEnd, Node, Protocol, Stage, Topology};
use super::yaml::{Place, Tree};
use crate::types::{DatapathId, NodeId, PortNo};

/// P4 programs number ports in nine bits; the highest numbers are the CPU's and "drop".
const PORTS_MAX: u32 = 500;

const KEYS: [&str; 3] = ["address", "ports", "pipeline"];

/// Reads the keys of a device; a node of another protocol must not have them.
pub(super) fn read(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    protocol: Protocol,
    stage: Option<Stage>,
    id: DatapathId,
) -> Option<Option<Device>> {
    if protocol != Protocol::P4Runtime {
        let mut result = Some(None);
        for key in KEYS.into_iter().filter(|key| fields.get(key).is_some()) {
            let what = format!("'{key}' on a node whose protocol is {}", protocol.name());
            reader.problem(fields.place_of(key), what, "this key on nodes with 'protocol: p4runtime' only");
            result = None;
        }
        return result;
    }
    if stage == Some(Stage::Bridge) {
        let what = "a P4Runtime switch without a stage";
        reader.problem(fields.place_of("stage"), what, "outside, first, second or third");
    }
    let address = match fields.get("address") {
        Some(tree) => reader.parsed(Some(tree), "address", "host:port, such as 127.0.0.1:9559", parse_address),
        None => {
            let default = Device::default_address(id.0);
            if default.is_none() {
                let what = format!("device {} lacks the key 'address'", id.0);
                reader.problem(fields.place, what, "'address': host:port of its gRPC server");
            }
            default
        }
    };
    let ports = match fields.get("ports") {
        None => Some(0),
        tree => reader.integer(tree, "ports", 1..=u64::from(PORTS_MAX)).and_then(|count| u32::try_from(count).ok()),
    };
    let pipeline = match fields.get("pipeline") {
        None => Some(None),
        Some(tree) => pipeline(reader, tree).map(Some),
    };
    Some(Some(Device { id: id.0, address: address?, ports: (1..=ports?).map(PortNo).collect(), pipeline: pipeline? }))
}

fn pipeline(reader: &mut Reader<'_>, tree: &Tree) -> Option<PathBuf> {
    let relative = reader.text(Some(tree), "pipeline")?;
    let path = reader.beside(relative.as_ref());
    if path.is_file() {
        return Some(path);
    }
    let what = format!("the mapping file '{}' does not exist", path.display());
    reader.problem(tree.place, what, "a path relative to this file");
    None
}

fn parse_address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        }
    };
    (named && port.parse::<u16>().is_ok_and(|port| port != 0)).then(|| text.to_owned())
}

/// Gives devices the ports that links and hosts name, and numbers of their own where an OpenFlow switch has theirs.
/// `ends` are the ends of links with their places.
pub(super) fn complete(reader: &mut Reader<'_>, topology: &mut Topology, ends: &[(LinkEnd, Place)]) {
    let mut named: BTreeMap<&NodeId, Vec<Option<PortNo>>> = BTreeMap::new();
    let attached = topology.hosts.iter().map(|host| &host.attached);
    for end in ends.iter().map(|(end, _)| end).chain(attached) {
        named.entry(&end.node).or_default().push(end.port);
    }
    let taken: BTreeSet<DatapathId> =
        topology.nodes.iter().filter(|node| node.device.is_none()).map(|node| node.datapath).collect();
    for node in &mut topology.nodes {
        let Node { id, index, datapath, device: Some(device), .. } = node else { continue };
        let mut ports: BTreeSet<PortNo> = BTreeSet::new();
        let wired = named.remove(id).unwrap_or_default();
        ports.extend(wired.iter().flatten().chain(&device.ports));
        if device.ports.is_empty() && wired.contains(&None) {
            // Nobody says which: most likely they are counted from 1.
            ports.extend((1..).map(PortNo).take(wired.len()));
        }
        for port in ports.iter().filter(|port| port.0 > PORTS_MAX) {
            let place = ends.iter().find(|(end, _)| end.node == *id && end.port == Some(*port));
            let what = format!("port {port} of '{id}', a P4Runtime switch");
            reader.problem(place.map_or(Place::default(), |(_, place)| *place), what, format!("1 to {PORTS_MAX}"));
        }
        device.ports = ports.into_iter().collect();
        if taken.contains(datapath) {
            *datapath = DatapathId(1 << 63 | u64::from(index.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::topology_file::parse_topology;
    use super::*;

    fn topology(nodes: &str) -> Result<Topology, String> {
        let text = format!(
            "nodes:\n{nodes}\nlinks:\n  - {{a: o:1, b: r:7}}\n  - {{a: r, b: t:2}}\n\
             services:\n  - {{id: web, prefixes: [198.51.100.0/24], shares: {{r: 1}}, outside: [o]}}\n"
        );
        let problems = |problems: Vec<super::super::Problem>| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        parse_topology(Path::new("t.yaml"), &text).map_err(problems)
    }

    fn with_router(keys: &str) -> Result<Topology, String> {
        topology(&format!(
            "  - {{id: o, stage: 0, dpid: 3}}\n  - {{id: t, stage: 3, dpid: 4}}\n  - {{id: r, stage: 1, capacity_connections: 9, {keys}}}"
        ))
    }

    #[test]
    fn a_device_has_an_address_and_the_ports_that_are_named_or_counted() {
        let read = with_router("protocol: p4runtime, device: 3, ports: 2").expect("a good file");
        let node = &read.nodes[2];
        let device = node.device.clone().expect("a device");
        assert_eq!((device.id, device.address.as_str()), (3, "127.0.0.1:9561"));
        assert_eq!(device.ports, [PortNo(1), PortNo(2), PortNo(7)]);
        assert_eq!(node.datapath, DatapathId(1 << 63 | 3), "an OpenFlow switch is 3 already");
        let written = parse_topology(Path::new("t.yaml"), &read.to_yaml()).expect("what is written can be read");
        assert_eq!(written, read);
        let read = with_router("protocol: p4runtime, device: 5").expect("a good file");
        let ports = read.nodes[2].device.as_ref().map(|device| device.ports.clone());
        assert_eq!(ports, Some(vec![PortNo(1), PortNo(2), PortNo(7)]), "two are wired, one of them has no number");
        let read = with_router("protocol: p4runtime, device: 5, ports: 1, address: 'sw1.lab:50051'").expect("good");
        assert_eq!(read.nodes[2].datapath, DatapathId(5));
        assert_eq!(read.nodes[2].device.as_ref().map(|device| device.address.as_str()), Some("sw1.lab:50051"));
    }

    #[test]
    fn bad_devices_are_told_with_their_line() {
        let cases = [
            ("protocol: p4runtime", "t.yaml:4:5: a node lacks the key 'device'"),
            ("protocol: p4runtime, device: 5, ports: 501", "'ports' is 501"),
            ("protocol: p4runtime, device: 5000, ports: 2", "device 5000 lacks the key 'address'"),
            ("protocol: p4runtime, device: 5, ports: 0", "'ports' is 0"),
            ("protocol: p4runtime, device: 5, ports: 2, address: 'x'", "'address' is 'x'"),
            ("protocol: p4runtime, device: 5, ports: 2, address: 'a b:1'", "'address' is 'a b:1'"),
            ("protocol: p4runtime, device: 5, ports: 2, address: '[::1]:0'", "'address' is '[::1]:0'"),
            ("protocol: p4runtime, device: 5, ports: 2, pipeline: nowhere.yaml", "'nowhere.yaml' does not exist"),
            ("dpid: 5, ports: 2", "'ports' on a node whose protocol is openflow"),
        ];
        for (keys, expected) in cases {
            let problem = with_router(keys).expect_err(keys);
            assert!(problem.contains(expected), "{keys}: {problem}");
        }
    }
}
