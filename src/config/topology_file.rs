//! Reads a topology file: every entry by itself, then against the others.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;

use super::reader::{Fields, Problem, Reader};
use super::schema;
use super::topology::{Host, Link, LinkEnd, LinkKind, Node, Protocol, RouterSettings, Service, Stage, Topology};
use super::yaml::{Place, Tree, Value};
use super::{topology_device, topology_graph, topology_nat};
use crate::types::{DatapathId, MacAddr, NodeId, NodeIndex, PortNo};

/// Version of the format that this reader understands.
pub const TOPOLOGY_VERSION: u64 = 1;
/// A node's index is 16 bits of a connection mark and of a MAC address, and 0 means "none".
pub const NODES_MAX: usize = u16::MAX as usize;
/// Of the routers that a service spreads over: each needs one of the 256 slots.
const SHARES_MAX: usize = 256;
/// OpenFlow's OFPP_MAX is 0xffffff00; Open vSwitch numbers physical ports below 0xff00, and so does this format.
const PORT_MAX: u32 = 0xfeff;
const NAME_MAX: usize = 64;
const NAME: &str = "a name of 1 to 64 letters, digits, '-', '_' or '.'";

/// Reads and checks a topology file.
pub fn load_topology(path: &Path) -> Result<Topology, Vec<Problem>> {
    let mut reader = Reader::new(path);
    let tree = reader.open();
    let topology = tree.and_then(|tree| read_topology(&mut reader, &tree));
    reader.finish(topology)
}

/// The same for a text; `path` only names it in problems.
pub fn parse_topology(path: &Path, text: &str) -> Result<Topology, Vec<Problem>> {
    let mut reader = Reader::new(path);
    let tree = reader.parse(text);
    let topology = tree.and_then(|tree| read_topology(&mut reader, &tree));
    reader.finish(topology)
}

pub(crate) fn read_topology(reader: &mut Reader<'_>, tree: &Tree) -> Option<Topology> {
    let fields = reader.object(tree, &schema::TOPOLOGY)?;
    reader.integer(fields.get("version"), "version", TOPOLOGY_VERSION..=TOPOLOGY_VERSION);
    let entries = reader.list(fields.get("nodes"), "nodes");
    if entries.len() > NODES_MAX {
        let what = format!("{} nodes", entries.len());
        reader.problem(fields.place_of("nodes"), what, format!("at most {NODES_MAX} nodes"));
        return None;
    }
    if entries.is_empty() && fields.get("nodes").is_some() {
        reader.problem(fields.place_of("nodes"), "no node is declared", "at least one node");
    }
    let mut checker = Checker { reader, names: BTreeMap::new(), datapaths: BTreeMap::new(), ports: BTreeMap::new() };
    let nodes: Vec<Option<Node>> = entries.iter().enumerate().map(|(at, tree)| checker.node(at, tree)).collect();
    let routers: Vec<NodeId> = checker
        .names
        .iter()
        .filter(|(_, named)| named.stage == Some(Stage::Router))
        .map(|(id, _)| id.clone())
        .collect();
    let staged = checker.names.values().any(|named| !named.host && named.stage != Some(Stage::Bridge));
    if routers.is_empty() && staged {
        let place = fields.place_of("nodes");
        checker.reader.problem(place, "no node is of the first stage", "at least one node with 'stage: first'");
    }
    let links = checker.reader.list(fields.get("links"), "links");
    let links: Vec<Option<(Place, Link)>> = links.iter().map(|tree| checker.link(tree)).collect();
    let services = checker.services(&fields, &nodes);
    let hosts = checker.hosts(&fields);
    let nodes = nodes.into_iter().collect::<Option<Vec<_>>>()?;
    let links = links.into_iter().collect::<Option<Vec<_>>>()?;
    let places: Vec<Place> = entries.iter().map(|tree| tree.place).collect();
    let ends: Vec<(LinkEnd, Place)> =
        links.iter().flat_map(|(place, link)| [(link.a.clone(), *place), (link.b.clone(), *place)]).collect();
    let links = links.into_iter().map(|(_, link)| link).collect();
    let mut topology = Topology { nodes, links, services: services?, hosts: hosts? };
    topology_device::complete(reader, &mut topology, &ends);
    topology_nat::check(reader, &topology, entries);
    for unreachable in topology_graph::unreachable(&topology) {
        let place = places.get(unreachable.node).copied().unwrap_or_default();
        reader.problem(place, unreachable.what, unreachable.expected);
    }
    Some(topology)
}

#[derive(Clone, Debug)]
struct Named {
    place: Place,
    /// `None` for hosts, and where the stage could not be read.
    stage: Option<Stage>,
    host: bool,
}

struct Checker<'r, 'f> {
    reader: &'r mut Reader<'f>,
    names: BTreeMap<NodeId, Named>,
    datapaths: BTreeMap<(u64, bool), Place>,
    ports: BTreeMap<(NodeId, PortNo), Place>,
}

impl Checker<'_, '_> {
    fn name(&mut self, fields: &Fields<'_>) -> Option<NodeId> {
        let id = self.reader.parsed(fields.get("id"), "id", NAME, |text| is_name(text).then(|| NodeId::new(text)))?;
        Some(id)
    }

    /// Nodes and hosts share one space of names, so that an emulator can use them as they are.
    fn claim(&mut self, id: &NodeId, place: Place, stage: Option<Stage>, host: bool) -> Option<()> {
        if let Some(first) = self.names.get(id) {
            let what = format!("'{id}' is declared twice, first at line {}", first.place.line);
            self.reader.problem(place, what, "an id that no other node or host has");
            return None;
        }
        self.names.insert(id.clone(), Named { place, stage, host });
        Some(())
    }

    fn node(&mut self, at: usize, tree: &Tree) -> Option<Node> {
        let fields = self.reader.object(tree, &schema::NODE)?;
        let id = self.name(&fields);
        let stages = "one of outside, first, second, third, bridge, or 0 to 3";
        let stage = self.reader.parsed(fields.get("stage"), "stage", stages, Stage::parse);
        if let Some(id) = &id {
            self.claim(id, fields.place_of("id"), stage, false);
        }
        let protocol = match fields.get("protocol") {
            None => Some(Protocol::OpenFlow),
            protocol => self.reader.parsed(protocol, "protocol", "openflow or p4runtime", Protocol::parse),
        };
        let datapath = protocol.and_then(|protocol| self.datapath(&fields, protocol));
        let device = match (protocol, datapath) {
            (Some(protocol), Some(id)) => topology_device::read(self.reader, &fields, protocol, stage, id),
            _ => None,
        };
        let router = match stage {
            Some(Stage::Router) => self.router(&fields, protocol).map(Some),
            Some(stage) => self.not_a_router(&fields, stage).map(|()| None),
            None => None,
        };
        let risk_groups = self.reader.list(fields.get("risk_groups"), "risk_groups");
        let risk_groups = risk_groups.iter().map(|group| {
            self.reader.parsed(Some(group), "risk_groups", NAME, |text| is_name(text).then(|| text.to_owned()))
        });
        let risk_groups = risk_groups.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>();
        let index = NodeIndex(u16::try_from(at + 1).expect("the number of nodes was checked"));
        Some(Node {
            id: id?,
            index,
            stage: stage?,
            protocol: protocol?,
            datapath: datapath?,
            device: device?,
            router: router?,
            risk_groups: risk_groups?,
        })
    }

    fn datapath(&mut self, fields: &Fields<'_>, protocol: Protocol) -> Option<DatapathId> {
        let (key, other, shape) = match protocol {
            Protocol::OpenFlow => ("dpid", "device", "'dpid': the OpenFlow datapath id, such as 0x11"),
            Protocol::P4Runtime => ("device", "dpid", "'device': the P4Runtime device id, such as 1"),
        };
        if fields.get(other).is_some() {
            let what = format!("'{other}' on a node whose protocol is {}", protocol.name());
            self.reader.problem(fields.place_of(other), what, format!("'{key}'"));
        }
        let Some(tree) = fields.get(key) else {
            self.reader.problem(fields.place, format!("a node lacks the key '{key}'"), shape);
            return None;
        };
        let value = match protocol {
            Protocol::P4Runtime => self.reader.integer(Some(tree), key, 1..=u64::MAX)?,
            Protocol::OpenFlow => {
                let expected =
                    "a datapath id from 1 to 2^64 - 1: an integer, 0x…, 16 hex digits or 8 pairs with colons";
                let read = |text: &str| parse_dpid(text).filter(|value| *value != 0);
                self.reader.parsed(Some(tree), key, expected, read)?
            }
        };
        if let Some(first) = self.datapaths.insert((value, protocol == Protocol::P4Runtime), tree.place) {
            let what = format!("'{key}' is {}, as on line {}", tree.describe(), first.line);
            self.reader.problem(tree.place, what, format!("a {key} that no other node has"));
        }
        Some(DatapathId(value))
    }

    fn router(&mut self, fields: &Fields<'_>, protocol: Option<Protocol>) -> Option<RouterSettings> {
        if fields.get("capacity_connections").is_none() {
            let what = "a first-stage node lacks the key 'capacity_connections'";
            self.reader.problem(fields.place, what, "the most connections it may hold, from 1 to 10000000");
        }
        let key = "capacity_connections";
        let capacity =
            self.reader.integer(fields.get(key), key, 1..=10_000_000).and_then(|value| u32::try_from(value).ok());
        let threshold = self.threshold(fields, capacity);
        let mut seconds = |key: &str, default: u16| match fields.get(key) {
            None => Some(default),
            tree => self.reader.integer(tree, key, 1..=u64::from(u16::MAX)).and_then(|value| u16::try_from(value).ok()),
        };
        let idle_timeout_s = seconds("idle_timeout_s", RouterSettings::IDLE_TIMEOUT_S);
        let closing_timeout_s = seconds("closing_timeout_s", RouterSettings::CLOSING_TIMEOUT_S);
        let half_open_timeout_s = seconds("half_open_timeout_s", RouterSettings::HALF_OPEN_TIMEOUT_S);
        Some(RouterSettings {
            capacity_connections: capacity?,
            threshold_available: threshold?,
            idle_timeout_s: idle_timeout_s?,
            closing_timeout_s: closing_timeout_s?,
            half_open_timeout_s: half_open_timeout_s?,
            source_nat: topology_nat::read(self.reader, fields, protocol)?,
        })
    }

    fn threshold(&mut self, fields: &Fields<'_>, capacity: Option<u32>) -> Option<u32> {
        let capacity = u64::from(capacity?);
        let Some(tree) = fields.get("threshold_available") else {
            return u32::try_from(capacity.div_ceil(10)).ok();
        };
        let value = match &tree.value {
            Value::Int { value, .. } => u64::try_from(*value).ok(),
            Value::Text(text) => text
                .strip_suffix('%')
                .and_then(|number| number.trim().parse::<f64>().ok())
                .filter(|percent| (0.0..=100.0).contains(percent))
                .map(|percent| (capacity as f64 * percent / 100.0).ceil() as u64),
            _ => None,
        };
        let value = value.filter(|value| (1..capacity.max(2)).contains(value));
        if value.is_none() {
            let what = format!("'threshold_available' is {} at a capacity of {capacity}", tree.describe());
            let expected =
                format!("connections from 1 to {}, or a percentage such as 10%", capacity.saturating_sub(1).max(1));
            self.reader.problem(tree.place, what, expected);
        }
        value.and_then(|value| u32::try_from(value).ok())
    }

    fn not_a_router(&mut self, fields: &Fields<'_>, stage: Stage) -> Option<()> {
        let keys = [
            "capacity_connections",
            "threshold_available",
            "idle_timeout_s",
            "closing_timeout_s",
            "half_open_timeout_s",
            topology_nat::KEY,
        ];
        let mut result = Some(());
        for key in keys.into_iter().filter(|key| fields.get(key).is_some()) {
            let what = format!("'{key}' on a node of stage {}", stage.name());
            self.reader.problem(fields.place_of(key), what, "this key on first-stage nodes only");
            result = None;
        }
        result
    }

    /// Reads `node` or `node:port`, and claims the port.
    fn end(&mut self, tree: Option<&Tree>, key: &str) -> Option<(LinkEnd, Stage)> {
        let tree = tree?;
        let expected = "'node' or 'node:port' with a port from 1 to 65279";
        let end = self.reader.parsed(Some(tree), key, expected, parse_end)?;
        let stage = match self.names.get(&end.node) {
            Some(named) if !named.host => named.stage?,
            _ => {
                let what = format!("'{key}' names the node '{}', which is not declared", end.node);
                self.reader.problem(tree.place, what, "the id of a node of this file");
                return None;
            }
        };
        if let Some(port) = end.port
            && let Some(first) = self.ports.insert((end.node.clone(), port), tree.place)
        {
            let what = format!("port {end} is used twice, first at line {}", first.line);
            self.reader.problem(tree.place, what, "a port with one thing wired to it");
        }
        Some((end, stage))
    }

    fn link(&mut self, tree: &Tree) -> Option<(Place, Link)> {
        let fields = self.reader.object(tree, &schema::LINK)?;
        let a = self.end(fields.get("a"), "a");
        let b = self.end(fields.get("b"), "b");
        let latency = match fields.get("latency_us") {
            None => Some(u64::from(Link::LATENCY_US)),
            tree => self.reader.integer(tree, "latency_us", 0..=10_000_000),
        };
        let capacity_bps = match fields.get("capacity_bps") {
            None => Some(Link::CAPACITY_BPS),
            tree => self.reader.integer(tree, "capacity_bps", 1_000..=10_000_000_000_000),
        };
        let kind = match fields.get("kind") {
            None => Some(LinkKind::Data),
            tree => self.reader.parsed(tree, "kind", "data or mirror", LinkKind::parse),
        };
        let ((a, a_stage), (b, b_stage)) = (a?, b?);
        if a.node == b.node {
            self.reader.problem(fields.place, format!("a link joins '{}' to itself", a.node), "two different nodes");
            return None;
        }
        match kind {
            Some(LinkKind::Mirror) if (a_stage, b_stage) != (Stage::Router, Stage::Router) => {
                let what = format!(
                    "a mirror link joins '{}' ({}) and '{}' ({})",
                    a.node,
                    a_stage.name(),
                    b.node,
                    b_stage.name()
                );
                self.reader.problem(fields.place, what, "two first-stage nodes");
            }
            Some(LinkKind::Data) if !Stage::may_join(a_stage, b_stage) => {
                let what = format!(
                    "a data link joins '{}' ({}) and '{}' ({})",
                    a.node,
                    a_stage.name(),
                    b.node,
                    b_stage.name()
                );
                let expected = "outside-first, first-second, first-third, second-second, second-third or bridge-bridge";
                self.reader.problem(fields.place, what, expected);
            }
            _ => {}
        }
        let latency_us = u32::try_from(latency?).ok()?;
        Some((fields.place, Link { a, b, latency_us, capacity_bps: capacity_bps?, kind: kind? }))
    }

    fn services(&mut self, fields: &Fields<'_>, nodes: &[Option<Node>]) -> Option<Vec<Service>> {
        let entries = self.reader.list(fields.get("services"), "services");
        let mut seen: BTreeMap<String, Place> = BTreeMap::new();
        let mut prefixes: BTreeMap<Ipv4Net, Place> = BTreeMap::new();
        let mut services = Vec::new();
        for (at, tree) in entries.iter().enumerate() {
            let Some(fields) = self.reader.object(tree, &schema::SERVICE) else {
                services.push(None);
                continue;
            };
            let id = self.name(&fields).map(|id| id.as_str().to_owned());
            if let Some(id) = &id
                && let Some(first) = seen.insert(id.clone(), fields.place_of("id"))
            {
                let what = format!("service '{id}' is declared twice, first at line {}", first.line);
                self.reader.problem(fields.place_of("id"), what, "an id that no other service has");
            }
            let prefixes = self.prefixes(&fields, &mut prefixes);
            let shares = self.shares(&fields, nodes);
            let outside = self.outside(&fields, nodes);
            let number = u16::try_from(at + 1).ok();
            services.push((|| {
                Some(Service { id: id?, number: number?, prefixes: prefixes?, shares: shares?, outside: outside? })
            })());
        }
        services.into_iter().collect()
    }

    fn prefixes(&mut self, fields: &Fields<'_>, seen: &mut BTreeMap<Ipv4Net, Place>) -> Option<Vec<Ipv4Net>> {
        let tree = fields.get("prefixes")?;
        let items = self.reader.list(Some(tree), "prefixes");
        if items.is_empty() && matches!(tree.value, Value::List(_) | Value::Null) {
            self.reader.problem(tree.place, "a service without a prefix", "at least one prefix, such as 0.0.0.0/0");
        }
        let mut prefixes = Vec::new();
        for item in items {
            let expected = "an IPv4 prefix such as 203.0.113.0/24";
            let prefix = self.reader.parsed(Some(item), "prefixes", expected, |text| text.parse::<Ipv4Net>().ok());
            if let Some(prefix) = prefix {
                if prefix.trunc() != prefix {
                    self.reader.problem(
                        item.place,
                        format!("prefix '{prefix}' has host bits"),
                        format!("{}", prefix.trunc()),
                    );
                } else if let Some(first) = seen.insert(prefix, item.place) {
                    let what = format!("prefix {prefix} is given twice, first at line {}", first.line);
                    self.reader.problem(item.place, what, "each prefix in one service only");
                }
            }
            prefixes.push(prefix);
        }
        prefixes.into_iter().collect()
    }

    fn shares(&mut self, fields: &Fields<'_>, nodes: &[Option<Node>]) -> Option<Vec<(NodeId, f64)>> {
        let Some(tree) = fields.get("shares") else {
            let routers: Vec<NodeId> =
                nodes.iter().flatten().filter(|node| node.stage == Stage::Router).map(|node| node.id.clone()).collect();
            let share = 1.0 / routers.len().max(1) as f64;
            return Some(routers.into_iter().map(|id| (id, share)).collect());
        };
        let Value::Map(entries) = &tree.value else {
            self.reader.problem(
                tree.place,
                format!("'shares' is {}", tree.describe()),
                "a map of routers and weights, such as {r1: 1, r2: 2}",
            );
            return None;
        };
        let mut shares = Vec::new();
        for (name, place, value) in entries {
            let stage = self.names.get(&NodeId::new(name)).map(|named| named.stage);
            let known = match stage {
                Some(Some(Stage::Router)) => Some(()),
                other => {
                    let is = if other.is_some() { "not of the first stage" } else { "not declared" };
                    self.reader.problem(
                        *place,
                        format!("a share for '{name}', which is {is}"),
                        "the id of a first-stage node",
                    );
                    None
                }
            };
            let weight = self.reader.number(Some(value), name, 0.0..=f64::INFINITY).filter(|weight| weight.is_finite());
            shares.push(known.and(weight).map(|weight| (NodeId::new(name), weight)));
        }
        let mut shares: Vec<(NodeId, f64)> = shares.into_iter().collect::<Option<_>>()?;
        shares.retain(|(_, weight)| *weight > 0.0);
        let sum: f64 = shares.iter().map(|(_, weight)| weight).sum();
        if shares.is_empty() || !sum.is_finite() {
            self.reader.problem(tree.place, "no share is above 0", "at least one router with a weight above 0");
            return None;
        }
        if shares.len() > SHARES_MAX {
            let what = format!("{} routers with a share", shares.len());
            self.reader.problem(tree.place, what, format!("at most {SHARES_MAX} (one slot each)"));
            return None;
        }
        // A file we wrote ourselves holds shares that add up to 1 already; dividing again would change their last bits.
        if (sum - 1.0).abs() > 1e-9 {
            shares.iter_mut().for_each(|(_, weight)| *weight /= sum);
        }
        Some(shares)
    }

    fn outside(&mut self, fields: &Fields<'_>, nodes: &[Option<Node>]) -> Option<Vec<NodeId>> {
        let Some(tree) = fields.get("outside") else {
            let outside = nodes.iter().flatten().filter(|node| node.stage == Stage::Outside);
            return Some(outside.map(|node| node.id.clone()).collect());
        };
        let mut outside = Vec::new();
        for item in self.reader.list(Some(tree), "outside") {
            let id = self.reader.text(Some(item), "outside").map(|text| NodeId::new(&text));
            let stage = id.as_ref().and_then(|id| self.names.get(id)).map(|named| named.stage);
            if let (Some(id), false) = (&id, stage == Some(Some(Stage::Outside))) {
                let is = if stage.is_some() { "not an outside switch" } else { "not declared" };
                self.reader.problem(
                    item.place,
                    format!("'outside' names '{id}', which is {is}"),
                    "the id of a node with 'stage: outside'",
                );
            }
            outside.push(id);
        }
        outside.into_iter().collect()
    }

    fn hosts(&mut self, fields: &Fields<'_>) -> Option<Vec<Host>> {
        let entries = self.reader.list(fields.get("hosts"), "hosts");
        let mut addresses = BTreeMap::new();
        let mut macs = BTreeMap::new();
        let hosts: Vec<Option<Host>> = entries.iter().map(|tree| self.host(tree, &mut addresses, &mut macs)).collect();
        for (tree, host) in entries.iter().zip(&hosts) {
            let Some(gateway) = host.as_ref().and_then(|host| host.gateway) else { continue };
            if let Some(taken) = addresses.get(&gateway) {
                let what = format!("gateway {gateway} is the address of the host at line {}", taken.line);
                self.reader.problem(tree.place, what, "an address that no host has");
            }
        }
        hosts.into_iter().collect()
    }

    fn host(
        &mut self,
        tree: &Tree,
        addresses: &mut BTreeMap<Ipv4Addr, Place>,
        macs: &mut BTreeMap<MacAddr, Place>,
    ) -> Option<Host> {
        let fields = self.reader.object(tree, &schema::HOST)?;
        let id = self.name(&fields);
        if let Some(id) = &id {
            self.claim(id, fields.place_of("id"), None, true);
        }
        let expected = "a unicast IPv4 address, such as 10.1.1.1 or 10.1.1.1/24";
        let address = self.reader.parsed(fields.get("address"), "address", expected, parse_address);
        if let (Some(net), Some(tree)) = (address, fields.get("address"))
            && let Some(first) = addresses.insert(net.addr(), tree.place)
        {
            let what = format!("address {} is given twice, first at line {}", net.addr(), first.line);
            self.reader.problem(tree.place, what, "an address that no other host has");
        }
        let expected =
            "a unicast MAC address such as 00:11:22:33:44:55, outside 02:46:53:00:00:00 to 02:46:53:ff:ff:ff";
        let mac = match fields.get("mac") {
            None => Some(None),
            tree => self.reader.parsed(tree, "mac", expected, parse_host_mac).map(Some),
        };
        if let (Some(Some(mac)), Some(tree)) = (mac, fields.get("mac"))
            && let Some(first) = macs.insert(mac, tree.place)
        {
            let what = format!("MAC address {mac} is given twice, first at line {}", first.line);
            self.reader.problem(tree.place, what, "a MAC address that no other host has");
        }
        let gateway = match (fields.get("gateway"), address) {
            (None, _) => Some(None),
            (Some(_), None) => None,
            (tree, Some(net)) => {
                let expected = format!("an address of {}, not the host's own", net.trunc());
                let read =
                    |text: &str| text.parse().ok().filter(|gateway| net.contains(gateway) && *gateway != net.addr());
                self.reader.parsed(tree, "gateway", &expected, read).map(Some)
            }
        };
        let attached = self.end(fields.get("attach"), "attach").and_then(|(end, stage)| {
            if matches!(stage, Stage::Access | Stage::Outside | Stage::Bridge) {
                return Some(end);
            }
            let what = format!("a host hangs on '{}', which is of stage {}", end.node, stage.name());
            self.reader.problem(fields.place_of("attach"), what, "a third-stage switch, an outside switch or a bridge");
            None
        });
        let address = address?;
        Some(Host {
            id: id?.as_str().to_owned(),
            address: address.addr(),
            prefix_len: address.prefix_len(),
            gateway: gateway?,
            mac: mac?,
            attached: attached?,
        })
    }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// An integer, `0x…`, exactly 16 hex digits, or 8 pairs of hex digits with colons.
fn parse_dpid(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+'));
    }
    if text.contains(':') {
        let pairs: Vec<&str> = text.split(':').collect();
        let well_formed = pairs.len() == 8 && pairs.iter().all(|pair| pair.len() == 2);
        return well_formed.then(|| pairs.concat()).and_then(|hex| parse_hex(&hex));
    }
    if text.len() == 16 {
        return parse_hex(text);
    }
    text.parse().ok()
}

fn parse_hex(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

fn parse_end(text: &str) -> Option<LinkEnd> {
    let (node, port) = match text.split_once(':') {
        None => (text, None),
        Some((node, port)) => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port: u32 = digits.then(|| port.parse().ok()).flatten()?;
            (node, Some(PortNo(port)).filter(|_| (1..=PORT_MAX).contains(&port)).map(Some)?)
        }
    };
    is_name(node).then(|| LinkEnd { node: NodeId::new(node), port })
}

fn parse_address(text: &str) -> Option<Ipv4Net> {
    let net = match text.contains('/') {
        true => text.parse::<Ipv4Net>().ok()?,
        false => Ipv4Net::new(text.parse().ok()?, Host::PREFIX_LEN).ok()?,
    };
    let address = net.addr();
    let unicast =
        !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast() && !address.is_loopback();
    (unicast && net.prefix_len() > 0).then_some(net)
}

fn parse_host_mac(text: &str) -> Option<MacAddr> {
    let mac: MacAddr = text.parse().ok()?;
    let unicast = mac.0[0] & 1 == 0 && mac != MacAddr([0; 6]);
    (unicast && !mac.0.starts_with(&[0x02, 0x46, 0x53])).then_some(mac)
}
