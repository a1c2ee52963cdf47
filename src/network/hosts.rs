//! Where hosts are: declared ones, and what their ARP tells.
//!
//! **Invariant**: a declared host is never taken over by another's ARP, and a host that is not declared is believed only
//! within a subnet that its switch serves. So no host can draw traffic for an address that is not its own subnet's.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::config::Topology;
use crate::plan::Attachment;
use crate::types::{MacAddr, NodeIndex, PortNo, Timestamp};
use crate::wire::arp::{Arp, Operation};

/// Learned hosts, all switches together: a host that makes up addresses must not fill the memory or the switches.
const LEARNED_MAX: usize = 4_096;
/// A learned host that was not heard for so long is forgotten.
const LEARNED_AGE: Duration = Duration::from_secs(3_600);
/// Between two requests for the same unknown MAC address.
const REQUEST_INTERVAL: Duration = Duration::from_secs(2);
/// Requests of one call of [`Hosts::poll`]; the rest follows with the next.
const REQUESTS_PER_POLL: usize = 64;
/// Complaints kept for [`Hosts::differences`].
const COMPLAINTS_MAX: usize = 64;

/// One host as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHost {
    /// The declared name, or the address.
    pub id: String,
    pub address: Ipv4Addr,
    pub mac: Option<MacAddr>,
    pub node: NodeIndex,
    pub port: Option<PortNo>,
    pub declared: bool,
    /// When its ARP was heard last.
    pub heard: Option<Timestamp>,
}

/// What an ARP message led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// A host's MAC address or port is new: plans change.
    pub changed: bool,
    /// Frame to send back out of the port it came from.
    pub reply: Option<Vec<u8>>,
}

/// A frame to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub node: NodeIndex,
    pub port: PortNo,
    pub frame: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Subnet {
    net: Ipv4Net,
    node: NodeIndex,
    gateway: Option<Ipv4Addr>,
}

/// The host table.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    table: BTreeMap<Ipv4Addr, KnownHost>,
    /// What the file says, which no ARP overrides.
    pinned: BTreeMap<Ipv4Addr, (Option<MacAddr>, Option<PortNo>)>,
    subnets: Vec<Subnet>,
    services: Vec<Ipv4Net>,
    asked: BTreeMap<Ipv4Addr, Timestamp>,
    complaints: BTreeSet<String>,
}

impl Hosts {
    pub fn new(topology: &Topology) -> Self {
        let mut hosts = Self::default();
        for host in &topology.hosts {
            let Some(node) = topology.node(&host.attached.node) else { continue };
            hosts.table.insert(
                host.address,
                KnownHost {
                    id: host.id.clone(),
                    address: host.address,
                    mac: host.mac,
                    node: node.index,
                    port: host.attached.port,
                    declared: true,
                    heard: None,
                },
            );
            hosts.pinned.insert(host.address, (host.mac, host.attached.port));
            if let Ok(net) = Ipv4Net::new(host.address, host.prefix_len) {
                hosts.subnets.push(Subnet { net: net.trunc(), node: node.index, gateway: host.gateway });
            }
        }
        hosts.services = topology.services.iter().flat_map(|service| service.prefixes.clone()).collect();
        hosts
    }

    /// In the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = &KnownHost> {
        self.table.values()
    }

    /// Hosts of one switch whose MAC address and port are both known.
    pub fn attached(&self, node: NodeIndex) -> Vec<Attachment> {
        let here = self.table.values().filter(|host| host.node == node);
        here.filter_map(|host| Some(Attachment { address: host.address, mac: host.mac?, port: host.port? })).collect()
    }

    /// What hosts said that cannot be right; sentences.
    pub fn differences(&self) -> impl Iterator<Item = &str> {
        self.complaints.iter().map(String::as_str)
    }

    /// Takes a frame that came in at an edge port (the caller knows which ports are links). Not ARP: nothing happens.
    pub fn packet_in(&mut self, node: NodeIndex, port: PortNo, frame: &[u8], now: Timestamp) -> Outcome {
        let Some(arp) = Arp::decode(frame) else { return Outcome::default() };
        let changed = self.learn(node, port, &arp, now);
        let asks = arp.operation == Operation::Request && !arp.is_probe() && !arp.is_gratuitous();
        let reply = (asks && self.answers(node, port, &arp)).then(|| arp.answer(MacAddr::GATEWAY).encode());
        Outcome { changed, reply }
    }

    fn learn(&mut self, node: NodeIndex, port: PortNo, arp: &Arp, now: Timestamp) -> bool {
        let (address, mac) = (arp.sender, arp.sender_mac);
        let group = mac.0[0] & 1 == 1 || mac == MacAddr([0; 6]);
        if arp.is_probe() || group || mac.0.starts_with(&MacAddr::GATEWAY.0[..3]) {
            return false;
        }
        if self.subnets.iter().any(|subnet| subnet.gateway == Some(address)) {
            self.complain(format!("{mac} claims the gateway's address {address} at port {port} of node {node}"));
            return false;
        }
        if let Some((pinned_mac, pinned_port)) = self.pinned.get(&address).copied() {
            let host = self.table.get_mut(&address).expect("declared hosts stay in the table");
            let right = host.node == node
                && pinned_port.is_none_or(|pinned| pinned == port)
                && pinned_mac.is_none_or(|pinned| pinned == mac);
            if !right {
                let declared = host.id.clone();
                self.complain(format!("{mac} claims {address} of {declared} at port {port} of node {node}, declared elsewhere or otherwise"));
                return false;
            }
            let changed = host.mac != Some(mac) || host.port != Some(port);
            (host.mac, host.port, host.heard) = (Some(mac), Some(port), Some(now));
            return changed;
        }
        if !self.subnets.iter().any(|subnet| subnet.node == node && subnet.net.contains(&address)) {
            self.complain(format!("{address} ({mac}) speaks at port {port} of node {node}, but is neither declared nor in a subnet of that switch"));
            return false;
        }
        self.learn_undeclared(node, port, arp, now)
    }

    fn learn_undeclared(&mut self, node: NodeIndex, port: PortNo, arp: &Arp, now: Timestamp) -> bool {
        let (address, mac) = (arp.sender, arp.sender_mac);
        if !self.table.contains_key(&address) && self.table.len() - self.pinned.len() >= LEARNED_MAX {
            let learned = self.table.values().filter(|host| !host.declared);
            if let Some(oldest) = learned.min_by_key(|host| host.heard).map(|host| host.address) {
                self.table.remove(&oldest);
            }
        }
        let known = KnownHost {
            id: address.to_string(),
            address,
            mac: Some(mac),
            node,
            port: Some(port),
            declared: false,
            heard: Some(now),
        };
        let before = self.table.insert(address, known);
        before.is_none_or(|before| (before.mac, before.node, before.port) != (Some(mac), node, Some(port)))
    }

    fn complain(&mut self, sentence: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.insert(sentence);
        }
    }

    /// Whether the gateway's MAC address is the right answer: for gateways, for hosts that are known to be elsewhere, and
    /// for service destinations that are in nobody's subnet.
    fn answers(&self, node: NodeIndex, port: PortNo, arp: &Arp) -> bool {
        let target = arp.target;
        if self.subnets.iter().any(|subnet| subnet.node == node && subnet.gateway == Some(target)) {
            return true;
        }
        match self.table.get(&target) {
            // A host beside the asker answers for itself.
            Some(host) => (host.node, host.port) != (node, Some(port)),
            None => {
                let in_a_subnet = self.subnets.iter().any(|subnet| subnet.net.contains(&target));
                !in_a_subnet && self.services.iter().any(|prefix| prefix.contains(&target))
            }
        }
    }

    /// Requests due for hosts whose MAC address or port is unknown, over the ports where they can be, and forgetting of
    /// learned hosts that fell silent. `ports` gives the edge ports of every connected switch.
    pub fn poll(&mut self, ports: &BTreeMap<NodeIndex, Vec<PortNo>>, now: Timestamp) -> (Vec<Request>, bool) {
        let before = self.table.len();
        self.table.retain(|_, host| host.declared || host.heard.is_some_and(|heard| now.since(heard) < LEARNED_AGE));
        let forgotten = self.table.len() != before;
        let mut requests = Vec::new();
        for host in self.table.values().filter(|host| host.mac.is_none() || host.port.is_none()) {
            if requests.len() >= REQUESTS_PER_POLL {
                break;
            }
            let Some(edge) = ports.get(&host.node) else { continue };
            if self.asked.get(&host.address).is_some_and(|asked| now.since(*asked) < REQUEST_INTERVAL) {
                continue;
            }
            let subnet =
                self.subnets.iter().find(|subnet| subnet.node == host.node && subnet.net.contains(&host.address));
            // Without a gateway the question is a probe, which a host answers as well (RFC 5227).
            let sender = subnet.and_then(|subnet| subnet.gateway).unwrap_or(Ipv4Addr::UNSPECIFIED);
            let frame = Arp::request(MacAddr::GATEWAY, sender, host.address).encode();
            let targets = edge.iter().copied().filter(|port| host.port.is_none_or(|known| known == *port));
            requests.extend(targets.map(|port| Request { node: host.node, port, frame: frame.clone() }));
            self.asked.insert(host.address, now);
        }
        (requests, forgotten)
    }
}
