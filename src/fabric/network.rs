//! Emulated switches joined by virtual links, with hosts and servers on them.
//!
//! One value owns everything, so that a packet crosses the fabric by plain calls; the sessions' drivers take turns with
//! the traffic. A packet goes on until it is delivered or dropped: links have neither latency nor loss.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use super::packet::{Packet, lane, number};
use super::session::{Session, SessionError};
use super::switch::{Effect, Switch, SwitchPort};
use crate::config::{LinkKind, Stage, Topology};
use crate::types::{DatapathId, MacAddr, NodeId, NodeIndex, PortNo, Timestamp};
use crate::wire::openflow::Frame;

/// Most hops of all packets that one packet became. A correct fabric needs five or so; a loop ends here.
const HOPS_MAX: usize = 10_000;

/// Most messages that wait for a controller that does not read. Beyond it packet-ins are dropped, as a switch whose
/// channel is congested does; answers and notices are not, they are bounded by what was asked and installed.
const OUTBOX_MAX: usize = 65_536;

/// Most packets that wait for the sockets of a lone switch; beyond it they are dropped, as a full queue does.
const WIRE_MAX: usize = 4_096;

/// Why a topology cannot be emulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("an emulated fabric needs a port number at every end of a link; {node} has a link without one")]
    NoPort { node: NodeId },
    #[error("port {port} of {node} is used twice")]
    PortTwice { node: NodeId, port: PortNo },
    #[error("an emulated host needs a MAC address; {host} has none")]
    NoMac { host: String },
    #[error("{node} is not in the topology")]
    NoNode { node: NodeId },
}

/// Place of a node in [`Network::nodes`]: its index less one.
pub type NodeAt = usize;
/// Place of a host in [`Network::hosts`].
pub type HostAt = usize;

/// One end of a link, seen from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Far {
    Switch {
        node: NodeAt,
        port: PortNo,
        kind: LinkKind,
    },
    Host(HostAt),
    /// Out of this process: the packet is kept for [`Network::take_wire`].
    Wire,
}

/// One emulated switch with its session.
#[derive(Debug)]
pub struct NetworkNode {
    pub id: NodeId,
    pub index: NodeIndex,
    pub stage: Stage,
    pub switch: Switch,
    session: Session,
    /// What waits to be sent to the controller; `None` while nobody is connected.
    outbox: Option<Vec<Frame>>,
    links: BTreeMap<PortNo, Far>,
}

/// A host or server.
#[derive(Clone, Debug)]
pub struct NetworkHost {
    pub id: String,
    pub address: Ipv4Addr,
    pub mac: MacAddr,
    pub node: NodeAt,
    pub port: PortNo,
}

/// Something that was seen on the way of a packet that belongs to an emulated connection.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "short-lived values of which most are the large one")]
pub enum Sighting {
    /// It crossed the link between a router and an outside switch.
    Outside { router: NodeIndex, tag: u32 },
    /// It came to a host.
    Delivered { host: HostAt, packet: Packet },
}

/// The fabric.
#[derive(Debug)]
pub struct Network {
    nodes: Vec<NetworkNode>,
    hosts: Vec<NetworkHost>,
    now: Timestamp,
    queue: VecDeque<(NodeAt, PortNo, Packet)>,
    effects: Vec<Effect>,
    sightings: Vec<Sighting>,
    wire: Vec<(PortNo, Vec<u8>)>,
    /// Nothing is sent to controllers while this holds.
    sealed: bool,
    /// Packets that a switch handled.
    pub traversals: u64,
    /// Packets cut off because they, or their copies, went round in circles.
    pub circling: u64,
}

impl Network {
    /// Every switch of the topology, whatever its protocol, is emulated as an OpenFlow switch.
    pub fn new(topology: &Topology) -> Result<Self, NetworkError> {
        let at = |id: &NodeId| {
            topology
                .nodes
                .iter()
                .position(|node| node.id == *id)
                .ok_or_else(|| NetworkError::NoNode { node: id.clone() })
        };
        let mut links: Vec<BTreeMap<PortNo, Far>> = vec![BTreeMap::new(); topology.nodes.len()];
        let mut join = |node: NodeAt, port: PortNo, far: Far| match links[node].insert(port, far) {
            None => Ok(()),
            Some(_) => Err(NetworkError::PortTwice { node: topology.nodes[node].id.clone(), port }),
        };
        for link in &topology.links {
            let (a, b) = (at(&link.a.node)?, at(&link.b.node)?);
            let port =
                |end: &crate::config::LinkEnd| end.port.ok_or_else(|| NetworkError::NoPort { node: end.node.clone() });
            let (a_port, b_port) = (port(&link.a)?, port(&link.b)?);
            join(a, a_port, Far::Switch { node: b, port: b_port, kind: link.kind })?;
            join(b, b_port, Far::Switch { node: a, port: a_port, kind: link.kind })?;
        }
        let mut hosts = Vec::new();
        for host in &topology.hosts {
            let node = at(&host.attached.node)?;
            let port = host.attached.port.ok_or_else(|| NetworkError::NoPort { node: host.attached.node.clone() })?;
            let mac = host.mac.ok_or_else(|| NetworkError::NoMac { host: host.id.clone() })?;
            join(node, port, Far::Host(hosts.len()))?;
            hosts.push(NetworkHost { id: host.id.clone(), address: host.address, mac, node, port });
        }
        let nodes = topology.nodes.iter().zip(links).map(|(node, links)| {
            let ports = links.keys().map(|port| {
                // An address that no other port has, for LLDP and port descriptions.
                let [.., hi, lo] = node.index.0.to_be_bytes();
                let mac = MacAddr([0x02, 0x46, 0x53, hi ^ 0x80, lo, (port.0 & 0xff) as u8]);
                SwitchPort::new(*port, mac, &format!("{}-{port}", node.id))
            });
            NetworkNode {
                id: node.id.clone(),
                index: node.index,
                stage: node.stage,
                switch: Switch::new(node.datapath, ports),
                session: Session::new(node.id.as_str()),
                outbox: None,
                links,
            }
        });
        Ok(Self {
            nodes: nodes.collect(),
            hosts,
            now: Timestamp::default(),
            queue: VecDeque::new(),
            effects: Vec::new(),
            sightings: Vec::new(),
            wire: Vec::new(),
            sealed: false,
            traversals: 0,
            circling: 0,
        })
    }

    /// One switch alone; what leaves it by any of its ports is for [`Network::take_wire`].
    pub fn single(id: &NodeId, datapath: DatapathId, ports: Vec<SwitchPort>) -> Self {
        let links = ports.iter().map(|port| (port.number, Far::Wire)).collect();
        let node = NetworkNode {
            id: id.clone(),
            index: NodeIndex(1),
            stage: Stage::Transit,
            switch: Switch::new(datapath, ports),
            session: Session::new(id.as_str()),
            outbox: None,
            links,
        };
        Self {
            nodes: vec![node],
            hosts: Vec::new(),
            now: Timestamp::default(),
            queue: VecDeque::new(),
            effects: Vec::new(),
            sightings: Vec::new(),
            wire: Vec::new(),
            sealed: false,
            traversals: 0,
            circling: 0,
        }
    }

    /// A frame from outside this process arrives on a port of the first node; too short ones are dropped.
    pub fn receive(&mut self, port: PortNo, frame: &[u8]) {
        if let Some(packet) = Packet::parse(frame) {
            self.queue.push_back((0, port, packet));
            self.run();
        }
    }

    /// Frames that leave this process, each with the port of the first node that it leaves by.
    pub fn take_wire(&mut self) -> Vec<(PortNo, Vec<u8>)> {
        std::mem::take(&mut self.wire)
    }

    pub fn wire_waits(&self) -> bool {
        !self.wire.is_empty()
    }

    pub fn nodes(&self) -> &[NetworkNode] {
        &self.nodes
    }

    pub fn hosts(&self) -> &[NetworkHost] {
        &self.hosts
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Time has come to `now` for every switch.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        for node in 0..self.nodes.len() {
            self.nodes[node].switch.advance(self.now, &mut self.effects);
            self.settle(node);
        }
    }

    /// Time has come to `now`; each switch notices when something happens to it.
    pub fn set_time(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// A host sends a packet; returns what was seen on its way, until nothing moves any more.
    pub fn send(&mut self, host: HostAt, packet: Packet) -> Vec<Sighting> {
        let NetworkHost { node, port, .. } = self.hosts[host];
        self.queue.push_back((node, port, packet));
        self.run();
        std::mem::take(&mut self.sightings)
    }

    /// Takes the link at this port up or down; both its ends see it.
    pub fn set_link(&mut self, node: NodeAt, port: PortNo, up: bool) {
        let far = self.nodes[node].links.get(&port).copied();
        self.nodes[node].switch.set_port(port, up, &mut self.effects);
        self.settle(node);
        if let Some(Far::Switch { node: other, port, .. }) = far {
            self.nodes[other].switch.set_port(port, up, &mut self.effects);
            self.settle(other);
        }
    }

    /// A connection to the controller stands: returns what to send first.
    pub fn connected(&mut self, node: NodeAt) {
        let hello = self.nodes[node].session.open();
        self.nodes[node].outbox = Some(vec![hello]);
    }

    /// The connection is gone; the switch goes on forwarding by what it holds.
    pub fn disconnected(&mut self, node: NodeAt) {
        self.nodes[node].outbox = None;
    }

    /// One message of the controller to a switch.
    pub fn control(&mut self, node: NodeAt, bytes: &[u8]) -> Result<(), SessionError> {
        let mut answers = Vec::new();
        let NetworkNode { session, switch, .. } = &mut self.nodes[node];
        let outcome = session.receive(bytes, switch, self.now, &mut answers, &mut self.effects);
        self.settle(node);
        if let Some(outbox) = &mut self.nodes[node].outbox {
            outbox.append(&mut answers);
        }
        self.run();
        // Packets that the controller sent are nobody's connection.
        self.sightings.clear();
        outcome
    }

    /// Holds back everything that switches have to say, or lets it go, in its order. A virtual clock needs it: what
    /// happened in one of its steps must not reach the controller in another.
    pub fn seal(&mut self, sealed: bool) {
        self.sealed = sealed;
    }

    /// Messages that wait for the controller.
    pub fn take_outbox(&mut self, node: NodeAt) -> Vec<Frame> {
        if self.sealed {
            return Vec::new();
        }
        self.nodes[node].outbox.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Nodes with messages that wait for their controller.
    pub fn waiting(&self) -> impl Iterator<Item = NodeAt> {
        let waits = |node: &NetworkNode| !self.sealed && node.outbox.as_ref().is_some_and(|outbox| !outbox.is_empty());
        self.nodes.iter().enumerate().filter(move |(_, node)| waits(node)).map(|(at, _)| at)
    }

    fn run(&mut self) {
        let mut hops = 0;
        while let Some((node, port, packet)) = self.queue.pop_front() {
            hops += 1;
            if hops > HOPS_MAX {
                self.circling += 1 + self.queue.len() as u64;
                self.queue.clear();
                return;
            }
            self.traversals += 1;
            self.nodes[node].switch.receive(port, packet, self.now, &mut self.effects);
            self.settle(node);
        }
    }

    /// Carries out what a switch did.
    fn settle(&mut self, node: NodeAt) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            let NetworkNode { session, outbox, .. } = &mut self.nodes[node];
            if let (Some(report), Some(outbox)) = (session.report(&effect), outbox.as_mut())
                && (outbox.len() < OUTBOX_MAX || !matches!(effect, Effect::PacketIn(_)))
            {
                outbox.push(report);
            }
            if let Effect::Transmit { port, packet } = effect {
                self.carry(node, port, packet);
            }
        }
        // Keeps the allocation: this runs for every packet.
        self.effects = effects;
    }

    fn carry(&mut self, node: NodeAt, port: PortNo, packet: Packet) {
        match self.nodes[node].links.get(&port).copied() {
            Some(Far::Switch { node: far, port, kind }) => {
                if packet.tag != 0 && kind == LinkKind::Data {
                    let (here, there) = (&self.nodes[node], &self.nodes[far]);
                    let router = match (here.stage, there.stage) {
                        (Stage::Router, Stage::Outside) => Some(here.index),
                        (Stage::Outside, Stage::Router) => Some(there.index),
                        _ => None,
                    };
                    if let Some(router) = router {
                        self.sightings.push(Sighting::Outside { router, tag: packet.tag });
                    }
                }
                self.queue.push_back((far, port, packet));
            }
            Some(Far::Host(host)) => self.deliver(host, packet),
            Some(Far::Wire) if self.wire.len() < WIRE_MAX => self.wire.push((port, packet.emit())),
            Some(Far::Wire) => self.nodes[node].switch.count_dropped(port),
            None => {}
        }
    }

    fn deliver(&mut self, host: HostAt, packet: Packet) {
        const ARP_REQUEST: u64 = 1;
        const ARP_REPLY: u64 = 2;
        let NetworkHost { address, mac, node, port, .. } = self.hosts[host];
        let own = u64::from(u32::from(address));
        let lanes = &packet.lanes;
        if lanes[lane::ETH_TYPE] == number::ARP {
            if lanes[lane::ARP_OP] == ARP_REQUEST && lanes[lane::ARP_TPA] == own {
                let mut reply = packet.clone();
                reply.lanes[lane::ARP_OP] = ARP_REPLY;
                (reply.lanes[lane::ARP_TPA], reply.lanes[lane::ARP_SPA]) = (lanes[lane::ARP_SPA], own);
                (reply.lanes[lane::ARP_THA], reply.lanes[lane::ARP_SHA]) = (lanes[lane::ARP_SHA], mac.to_u64());
                (reply.lanes[lane::ETH_DST], reply.lanes[lane::ETH_SRC]) = (lanes[lane::ETH_SRC], mac.to_u64());
                self.queue.push_back((node, port, reply));
            }
            return;
        }
        if lanes[lane::ETH_DST] == mac.to_u64() && lanes[lane::IP_DST] == own {
            self.sightings.push(Sighting::Delivered { host, packet });
        }
    }
}
