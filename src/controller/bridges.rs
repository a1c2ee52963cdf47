//! Switches without a stage: those that no file declares join here, and stations are learned on their edge ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::switches::Switch;
use super::{Controller, Output, START_PATIENCE};
use crate::config::{Node, Protocol, Stage, Topology};
use crate::network::bridge::{BridgePaths, Reaction, Stations, bridge_plan};
use crate::network::{LinkState, Trust, WiredLink};
use crate::plan::{DatapathPlan, Place, Station};
use crate::southbound::{Command, Port};
use crate::types::{DatapathId, NodeId, NodeIndex, PortNo, Timestamp};

/// Switches that may join. Whoever reaches the OpenFlow port can make up datapaths, and each costs memory.
const BRIDGES_MAX: usize = 32_768;
/// Ports of one of them; each is probed and remembered.
const PORTS_MAX: usize = 4_096;
/// A bridge that nobody declared is forgotten this long after its session ended.
const BRIDGE_MEMORY: Duration = Duration::from_secs(600);
/// A restarted controller that found entries waits until no switch and no link has appeared for so long: plans made
/// earlier would take away what leads to those that are still to come.
const QUIET: Duration = Duration::from_secs(2);
/// It also waits for so long from its start on: Open vSwitch tries again after 8 s at most, and a link to a switch that has
/// not come back looks like an edge.
const RETURN_PATIENCE: Duration = Duration::from_secs(10);
/// Notices about stations in one cycle; a host that makes up addresses must not fill the log.
const STATION_NOTICES_MAX: u32 = 32;
/// Entries (stations times switches) whose plans may be made anew in each millisecond that plans are held back.
const ENTRIES_PER_MS: u64 = 2_000;
const NAME_MAX: usize = 64;

/// What the controller keeps for bridges.
#[derive(Debug)]
pub(super) struct Bridges {
    /// No file declares the fabric: whoever comes joins.
    open: bool,
    stations: Stations,
    paths: BridgePaths,
    /// What `paths` and the plans of the bridges were made from.
    basis: Basis,
    /// When a switch joined or a link appeared last.
    grew_at: Timestamp,
    notices: u32,
}

/// Everything that the plans of bridges follow from.
#[derive(Debug, Default, PartialEq)]
struct Basis {
    wires: Vec<Wire>,
    edges: BTreeMap<NodeIndex, BTreeSet<PortNo>>,
    stations: Arc<BTreeMap<Station, Place>>,
}

/// A link without what paths do not depend on.
type Wire = (NodeIndex, Option<PortNo>, NodeIndex, Option<PortNo>, LinkState, Trust);

impl Bridges {
    pub(super) fn new(topology: &Topology, now: Timestamp) -> Self {
        let mut stations = Stations::new();
        for host in &topology.hosts {
            let node = topology.node(&host.attached.node).filter(|node| node.stage == Stage::Bridge);
            if let (Some(node), Some(mac), Some(port)) = (node, host.mac, host.attached.port) {
                stations.adopt(node.index, &[(Station { vlan: None, mac }, port)], now);
            }
        }
        Self {
            open: topology.nodes.is_empty(),
            stations,
            paths: BridgePaths::default(),
            basis: Basis::default(),
            grew_at: now,
            notices: 0,
        }
    }

    pub(super) fn stations(&self) -> &Stations {
        &self.stations
    }
}

impl Controller {
    /// The ports of a switch that are taken note of: all of a declared one's.
    pub(super) fn ports_of(&self, mut ports: Vec<Port>) -> Vec<Port> {
        if self.bridges.open {
            ports.truncate(PORTS_MAX);
        }
        ports
    }

    /// A switch that nobody declared becomes part of a fabric that is to be found out; otherwise nothing happens.
    pub(super) fn join(&mut self, datapath: DatapathId, ports: &[Port], now: Timestamp, output: &mut Output) {
        if !self.bridges.open || self.switches.contains_key(&datapath) || self.topology.nodes.len() >= BRIDGES_MAX {
            return;
        }
        let (at, index) = self.free_index(datapath);
        let node = Node {
            id: self.free_name(datapath, ports),
            index,
            stage: Stage::Bridge,
            protocol: Protocol::OpenFlow,
            datapath,
            device: None,
            router: None,
            risk_groups: Vec::new(),
        };
        self.discovery.join(node.index, node.id.as_str(), datapath, now);
        self.bridges.stations.name_node(node.index, node.id.as_str());
        self.switches.insert(datapath, Switch::new(node.clone()));
        output.tell("switch-joined", Some(node.id.clone()), format!("datapath {datapath} joins the fabric"));
        self.topology.nodes.insert(at, node);
        self.bridges.grew_at = now;
    }

    /// An index, and where it belongs among the others. It follows from the datapath id alone, unless another switch has it:
    /// group ids are made of indices, and a restarted controller must find its groups, whoever comes first.
    fn free_index(&self, datapath: DatapathId) -> (usize, NodeIndex) {
        let id = datapath.0;
        let folded = (id ^ id >> 16 ^ id >> 32 ^ id >> 48) & 0xffff;
        let mut index = NodeIndex(u16::try_from(folded).expect("16 bits are left").max(1));
        loop {
            match self.topology.nodes.binary_search_by_key(&index, |node| node.index) {
                Err(at) => return (at, index),
                // Fewer switches join than there are indices.
                Ok(_) => index = NodeIndex(index.0.checked_add(1).unwrap_or(1)),
            }
        }
    }

    /// What the switch calls its own port, as Mininet and Open vSwitch name a bridge; the datapath id where that is no
    /// name or is taken.
    fn free_name(&self, datapath: DatapathId, ports: &[Port]) -> NodeId {
        let own = ports.iter().find(|port| !port.number.is_physical()).map(|port| port.name.as_str());
        let is_name = |name: &&str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(known)
        };
        let free = |name: &&str| self.topology.nodes.iter().all(|node| node.id.as_str() != *name);
        own.filter(is_name).filter(free).map_or_else(|| NodeId::new(&datapath.to_string()), NodeId::new)
    }

    /// Whether the fabric may be planned for: it holds nothing, or nothing new has come for a while.
    pub(super) fn bridges_complete(&self, now: Timestamp) -> bool {
        let connected = || self.switches.values().filter(|switch| switch.connected());
        let blank = connected().all(|switch| switch.found == Some(0));
        let waited = now.since(self.started_at);
        let quiet = connected().all(|switch| switch.found.is_some()) && now.since(self.bridges.grew_at) >= QUIET;
        connected().next().is_some() && (blank || quiet && waited >= RETURN_PATIENCE || waited >= START_PATIENCE)
    }

    /// Stations behind a switch that cannot hear are not asked whether they are there.
    pub(super) fn bridge_silent(&mut self, datapath: DatapathId, silent: bool) {
        if let Some(switch) = self.switches.get(&datapath) {
            self.bridges.stations.node_silent(switch.node.index, silent);
        }
    }

    /// A link appeared: what looked like an edge may have been none.
    pub(super) fn links_grew(&mut self, now: Timestamp) {
        self.bridges.grew_at = now;
    }

    /// Takes a frame that an edge port of a bridge handed up.
    pub(super) fn station_frame(&mut self, place: Place, frame: &[u8], now: Timestamp, output: &mut Output) {
        let Some(datapath) = self.datapath_of(place.node) else { return };
        if !self.discovery.is_edge_port(datapath, place.port, now) {
            return;
        }
        let heard = self.bridges.stations.packet_in(place, frame, now);
        if let Some((station, from, to)) = heard.moved {
            let message =
                format!("{} moved from {} to {}", describe(station), self.place_name(from), self.place_name(to));
            self.tell_of_stations(message, output);
        }
        self.react(heard.reactions, output);
        if heard.changed {
            self.network_changed(now, output);
        }
    }

    pub(super) fn adopt_stations(
        &mut self,
        node: NodeIndex,
        stations: &[(Station, PortNo)],
        now: Timestamp,
        output: &mut Output,
    ) {
        if self.bridges.stations.adopt(node, stations, now) {
            let name = self.topology.by_index(node).map(|node| node.id.clone());
            output.tell("adopted", name, format!("goes on with {} stations that it was found to hold", stations.len()));
        }
    }

    /// Forgets bridges that nobody declared and that have had no session for long.
    fn forget_departed(&mut self, now: Timestamp, output: &mut Output) {
        if !self.bridges.open {
            return;
        }
        for datapath in self.discovery.departed(now, BRIDGE_MEMORY) {
            let Some(switch) = self.switches.remove(&datapath) else { continue };
            self.topology.nodes.retain(|node| node.datapath != datapath);
            self.discovery.leave(datapath);
            self.bridges.stations.node_left(switch.node.index);
            output.tell("switch-forgotten", Some(switch.node.id), "had no session for ten minutes");
            self.gathered = true;
        }
    }

    /// Once a cycle: stations that were silent for long are asked, or forgotten.
    pub(super) fn poll_stations(&mut self, now: Timestamp, output: &mut Output) {
        self.forget_departed(now, output);
        self.bridges.notices = 0;
        let (reactions, forgotten) = self.bridges.stations.poll(now);
        self.react(reactions, output);
        if forgotten {
            self.network_changed(now, output);
        }
    }

    fn react(&self, reactions: Vec<Reaction>, output: &mut Output) {
        for reaction in reactions {
            let command =
                match reaction {
                    Reaction::Send { place, frame } => self
                        .datapath_of(place.node)
                        .map(|datapath| Command::PacketOut { datapath, port: place.port, data: frame }),
                    Reaction::Flood { from, frame } => self.datapath_of(from.node).map(|datapath| Command::Flood {
                        datapath,
                        in_port: from.port,
                        data: frame,
                    }),
                };
            output.commands.extend(command);
        }
    }

    fn tell_of_stations(&mut self, message: String, output: &mut Output) {
        self.bridges.notices += 1;
        if self.bridges.notices <= STATION_NOTICES_MAX {
            output.tell("host", None, message);
        }
    }

    fn place_name(&self, place: Place) -> String {
        let node = self.topology.by_index(place.node).map_or("?", |node| node.id.as_str());
        format!("{node}:{}", place.port)
    }

    /// Brings paths, edges and stations up to what discovery sees. Returns the plans that may differ from what was sent.
    pub(super) fn bridge_plans(&mut self, now: Timestamp) -> BTreeMap<DatapathId, DatapathPlan> {
        let edges = self.bridge_edges(now);
        if edges.is_empty() {
            return BTreeMap::new();
        }
        let wires = self.links.iter().map(|l| (l.a, l.a_port, l.b, l.b_port, l.state, l.trust)).collect();
        let basis = Basis { wires, edges, stations: self.bridges.stations.places() };
        let changed = basis != self.bridges.basis;
        if changed {
            let nodes: Vec<NodeIndex> = basis.edges.keys().copied().collect();
            self.bridges.paths.update(&nodes, &self.links, &self.bridges.stations.nodes());
            self.bridges.basis = basis;
        }
        // What a switch holds has to be known first: a plan made earlier could take it away.
        let ready = self.switches.values().filter(|switch| switch.connected() && switch.found.is_some());
        let due = ready.filter(|switch| switch.node.stage == Stage::Bridge && (changed || !switch.planned));
        let due: Vec<_> = due.map(|switch| (switch.node.index, switch.node.datapath)).collect();
        if due.is_empty() {
            return BTreeMap::new();
        }
        // Each plan looks at the links of its own node only: with thousands of bridges nothing else ends in time.
        let mut links: BTreeMap<NodeIndex, Vec<WiredLink>> = BTreeMap::new();
        for link in &self.links {
            [link.a, link.b].into_iter().for_each(|end| links.entry(end).or_default().push(link.clone()));
        }
        let Bridges { paths, stations, basis, .. } = &self.bridges;
        let plan = |node: NodeIndex| {
            let links = links.get(&node).map_or(&[][..], Vec::as_slice);
            Some(bridge_plan(node, paths, stations, basis.edges.get(&node)?, links))
        };
        due.into_iter().filter_map(|(node, datapath)| Some((datapath, plan(node)?))).collect()
    }

    /// The edge ports of every bridge. Stations behind ports that are none any more are forgotten.
    fn bridge_edges(&mut self, now: Timestamp) -> BTreeMap<NodeIndex, BTreeSet<PortNo>> {
        let bridges = self.topology.nodes.iter().filter(|node| node.stage == Stage::Bridge);
        let mut edges: BTreeMap<NodeIndex, BTreeSet<PortNo>> =
            bridges.map(|node| (node.index, self.discovery.edge_ports(node.datapath, now))).collect();
        let places: BTreeSet<Place> = self.bridges.stations.places().values().copied().collect();
        for place in places {
            if self.is_lost(place, now) {
                self.bridges.stations.port_lost(place);
            } else {
                // A port with a station is an edge, even if it came up too lately to be taken for one otherwise.
                edges.entry(place.node).or_default().insert(place.port);
            }
        }
        edges
    }

    /// Whether nobody can be behind this port any more. A switch without a session may only be out of sight.
    fn is_lost(&self, place: Place, now: Timestamp) -> bool {
        let Some(datapath) = self.datapath_of(place.node) else { return true };
        let session = self.switches.get(&datapath).and_then(|switch| switch.session.as_ref());
        let down = session.is_some_and(|session| session.ports.get(&place.port).is_none_or(|port| !port.up));
        down || self.discovery.is_wire(datapath, place.port, now)
    }

    /// How long changes are gathered on this fabric: longer where making plans is more work.
    pub(super) fn gathering(&self) -> Duration {
        let entries = self.bridges.stations.places().len() as u64 * self.switches.len() as u64;
        super::REPLAN_INTERVAL + Duration::from_millis(entries / ENTRIES_PER_MS)
    }
}

/// A station as people write it.
pub(super) fn describe(station: Station) -> String {
    match station.vlan {
        Some(vlan) => format!("{}/{vlan}", station.mac),
        None => station.mac.to_string(),
    }
}
