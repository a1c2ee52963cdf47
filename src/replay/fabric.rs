//! The fabric as a replay sees it: first-stage routers, the mirror links between them, and who sends to which router.
//!
//! Topologies that declare a first stage are taken as they are. For the others the stages are inferred
//! (`network::stages`), and where wires alone do not say, the best-connected nodes are the first stage (docs/REPLAY.md).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use crate::config::{Link, LinkEnd, LinkKind, Node, Protocol, RouterSettings, Service, Stage, Topology};
use crate::network::stages;
use crate::types::{DatapathId, NodeId, NodeIndex};

/// Neighbours that a router gets where none are declared: as many as it has shadows by default.
const NEIGHBOURS: usize = 3;
/// Least first stage that is chosen by degree, where there are so many nodes.
const ROUTERS_MIN: usize = 4;
const CAPACITY_DEFAULT: u32 = 5_000;

/// How the first stage came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageRule {
    Declared,
    Inferred,
    BestConnected,
}

/// What is replayed: a topology for the engine, and the way from the file's nodes to it.
#[derive(Clone, Debug)]
pub struct Fabric {
    /// First-stage routers in order, one third-stage switch, mirror links, one service a router.
    pub topology: Topology,
    pub rule: StageRule,
    /// Sentences about what was assumed.
    pub notes: Vec<String>,
    /// The router that each node's own demand goes to, by the node's place in the file.
    pub home: Vec<usize>,
    pub names: Vec<NodeId>,
    /// As it was read.
    pub original: Topology,
}

impl Fabric {
    /// `routers`: how many to choose where the file declares none; `None` for a third of the nodes.
    pub fn new(original: &Topology, routers: Option<usize>) -> Result<Self, String> {
        if original.nodes.is_empty() {
            return Err("the topology has no nodes; expected at least one".to_owned());
        }
        let graph = Graph::new(original);
        let mut notes = Vec::new();
        let (chosen, rule) = first_stage(original, &graph, routers, &mut notes);
        if chosen.len() >= usize::from(u16::MAX) {
            return Err(format!("{} first-stage routers; expected at most {}", chosen.len(), u16::MAX - 1));
        }
        let mut mirrors = declared_mirrors(original, &chosen);
        if rule != StageRule::Declared {
            nearest_neighbours(&graph, &chosen, &mut mirrors);
            let what = format!("each router mirrors to the {NEIGHBOURS} nearest others by latency");
            notes.push(what);
        }
        let topology = engine_topology(original, &chosen, mirrors);
        let home = graph.homes(&chosen);
        let names = original.nodes.iter().map(|node| node.id.clone()).collect();
        Ok(Self { topology, rule, notes, home, names, original: original.clone() })
    }

    /// Number of first-stage routers.
    pub fn routers(&self) -> usize {
        self.topology.nodes.len() - 1
    }

    pub fn router_name(&self, place: usize) -> &NodeId {
        &self.topology.nodes[place].id
    }

    pub fn settings(&self, place: usize) -> (u32, u32) {
        let settings = self.topology.nodes[place].router.as_ref();
        settings.map_or((0, 0), |router| (router.capacity_connections, router.threshold_available))
    }

    pub fn set_capacity(&mut self, place: usize, capacity: u32, threshold: u32) {
        if let Some(router) = &mut self.topology.nodes[place].router {
            (router.capacity_connections, router.threshold_available) = (capacity, threshold);
        }
    }

    pub(super) fn access(&self) -> NodeIndex {
        self.topology.nodes[self.routers()].index
    }

    /// Places of the routers by their names.
    pub fn places(&self) -> BTreeMap<&NodeId, usize> {
        (0..self.routers()).map(|place| (self.router_name(place), place)).collect()
    }

    /// Routers that no third-stage switch reaches while these nodes are down; none where the file has no third stage.
    pub(super) fn unreachable(&self, down: &BTreeSet<NodeId>, cut: &BTreeSet<(NodeId, NodeId)>) -> Vec<usize> {
        let at: BTreeMap<&NodeId, usize> = self.original.nodes.iter().enumerate().map(|(at, n)| (&n.id, at)).collect();
        let stage = |at: usize| self.original.nodes[at].stage;
        let mut near = vec![Vec::new(); self.original.nodes.len()];
        for link in self.original.links.iter().filter(|link| link.kind == LinkKind::Data) {
            let ends = (link.a.node.clone(), link.b.node.clone());
            let (Some(&a), Some(&b)) = (at.get(&link.a.node), at.get(&link.b.node)) else { continue };
            if !cut.contains(&ends) && !cut.contains(&(ends.1, ends.0)) {
                near[a].push(b);
                near[b].push(a);
            }
        }
        let up = |node: &usize| !down.contains(&self.original.nodes[*node].id);
        let mut open: Vec<usize> = (0..near.len()).filter(|node| stage(*node) == Stage::Access).filter(&up).collect();
        if !self.original.nodes.iter().any(|node| node.stage == Stage::Access) {
            return Vec::new();
        }
        let mut seen: BTreeSet<usize> = open.iter().copied().collect();
        while let Some(node) = open.pop() {
            // A router forwards between the stages beside it, not from one second-stage switch to another.
            if stage(node) == Stage::Router {
                continue;
            }
            let next: Vec<usize> = near[node].iter().copied().filter(&up).filter(|next| seen.insert(*next)).collect();
            open.extend(next);
        }
        let reached = |place: &usize| at.get(self.router_name(*place)).is_some_and(|node| seen.contains(node));
        (0..self.routers()).filter(|place| !reached(place)).collect()
    }
}

/// Places in the file of the first-stage routers, in the file's order.
fn first_stage(
    original: &Topology,
    graph: &Graph,
    routers: Option<usize>,
    notes: &mut Vec<String>,
) -> (Vec<usize>, StageRule) {
    let of_stage = |is: &dyn Fn(&Node) -> bool| -> Vec<usize> {
        original.nodes.iter().enumerate().filter(|(_, node)| is(node)).map(|(at, _)| at).collect()
    };
    let declared = of_stage(&|node| node.stage == Stage::Router);
    if !declared.is_empty() {
        return (declared, StageRule::Declared);
    }
    let inferred = stages::infer(&stages::Fabric::of(original, &[]));
    let is_router =
        |node: &Node| inferred.stages.get(&node.index).is_some_and(|inferred| inferred.stage == Stage::Router);
    let found = of_stage(&is_router);
    if found.len() > 1 && routers.is_none() {
        notes.push(format!("first stage inferred: {}", inferred.summary));
        return (found, StageRule::Inferred);
    }
    let count = original.nodes.len();
    let wanted = routers.unwrap_or(count.div_ceil(3)).max(ROUTERS_MIN).min(count);
    let mut by_degree: Vec<usize> = (0..count).collect();
    by_degree.sort_by_key(|at| (Reverse(graph.near[*at].len()), *at));
    by_degree.truncate(wanted);
    by_degree.sort_unstable();
    notes.push(format!(
        "no stages declared or to be inferred: the {wanted} best-connected of {count} nodes are the first"
    ));
    (by_degree, StageRule::BestConnected)
}

/// Mirror links among the chosen: places among them, latency.
fn declared_mirrors(original: &Topology, chosen: &[usize]) -> Vec<(usize, usize, u32)> {
    let place: BTreeMap<&NodeId, usize> =
        chosen.iter().enumerate().map(|(place, at)| (&original.nodes[*at].id, place)).collect();
    let mirrors = original.links.iter().filter(|link| link.kind == LinkKind::Mirror);
    mirrors.filter_map(|link| Some((*place.get(&link.a.node)?, *place.get(&link.b.node)?, link.latency_us))).collect()
}

/// Adds a mirror link to each of the nearest routers: cost and number follow the routers, not their square.
fn nearest_neighbours(graph: &Graph, chosen: &[usize], mirrors: &mut Vec<(usize, usize, u32)>) {
    let place: BTreeMap<usize, usize> = chosen.iter().enumerate().map(|(place, at)| (*at, place)).collect();
    let mut joined: BTreeSet<(usize, usize)> = mirrors.iter().map(|(a, b, _)| (*a.min(b), *a.max(b))).collect();
    for (from, at) in chosen.iter().enumerate() {
        for (other, latency) in graph.nearest(*at, NEIGHBOURS, &|node| place.contains_key(&node)) {
            let to = place[&other];
            if joined.insert((from.min(to), from.max(to))) {
                mirrors.push((from.min(to), from.max(to), u32::try_from(latency).unwrap_or(u32::MAX)));
            }
        }
    }
}

fn engine_topology(original: &Topology, chosen: &[usize], mirrors: Vec<(usize, usize, u32)>) -> Topology {
    let mut nodes: Vec<Node> = Vec::with_capacity(chosen.len() + 1);
    let index = |place: usize| NodeIndex(u16::try_from(place + 1).unwrap_or(u16::MAX));
    for (place, at) in chosen.iter().enumerate() {
        let node = &original.nodes[*at];
        let router = node.router.clone().unwrap_or(RouterSettings {
            capacity_connections: CAPACITY_DEFAULT,
            threshold_available: CAPACITY_DEFAULT / 10,
            idle_timeout_s: RouterSettings::IDLE_TIMEOUT_S,
            closing_timeout_s: RouterSettings::CLOSING_TIMEOUT_S,
            half_open_timeout_s: RouterSettings::HALF_OPEN_TIMEOUT_S,
            source_nat: None,
        });
        nodes.push(Node {
            id: node.id.clone(),
            index: index(place),
            stage: Stage::Router,
            protocol: Protocol::OpenFlow,
            device: None,
            datapath: DatapathId(place as u64 + 1),
            router: Some(router),
            risk_groups: node.risk_groups.clone(),
        });
    }
    let end = |place: usize| LinkEnd { node: nodes[place].id.clone(), port: None };
    let links = mirrors.into_iter().map(|(a, b, latency_us)| Link {
        a: end(a),
        b: end(b),
        latency_us,
        capacity_bps: Link::CAPACITY_BPS,
        kind: LinkKind::Mirror,
    });
    let links = links.collect();
    let services = (1..).zip(&nodes).map(|(number, node)| Service {
        id: node.id.to_string(),
        number,
        prefixes: Vec::new(),
        shares: vec![(node.id.clone(), 1.0)],
        outside: Vec::new(),
    });
    let services = services.collect();
    let place = nodes.len();
    nodes.push(Node {
        id: NodeId::new("access"),
        index: index(place),
        stage: Stage::Access,
        protocol: Protocol::OpenFlow,
        device: None,
        datapath: DatapathId(place as u64 + 1),
        router: None,
        risk_groups: Vec::new(),
    });
    Topology { nodes, links, services, hosts: Vec::new() }
}

/// Nodes and latencies between neighbours.
#[derive(Debug)]
struct Graph {
    near: Vec<Vec<(usize, u64)>>,
}

impl Graph {
    fn new(topology: &Topology) -> Self {
        let at: BTreeMap<&NodeId, usize> = topology.nodes.iter().enumerate().map(|(at, node)| (&node.id, at)).collect();
        let mut near = vec![Vec::new(); topology.nodes.len()];
        for link in topology.links.iter().filter(|link| link.kind == LinkKind::Data) {
            if let (Some(&a), Some(&b)) = (at.get(&link.a.node), at.get(&link.b.node)) {
                // One more for the hop: among links without latency the fewest hops are nearest.
                near[a].push((b, u64::from(link.latency_us) + 1));
                near[b].push((a, u64::from(link.latency_us) + 1));
            }
        }
        Self { near }
    }

    /// The nearest `wanted` nodes that are `good`, without `from` itself, with their latency.
    fn nearest(&self, from: usize, wanted: usize, good: &dyn Fn(usize) -> bool) -> Vec<(usize, u64)> {
        let mut best = BTreeMap::from([(from, 0)]);
        let mut open = BinaryHeap::from([Reverse((0, from))]);
        let mut found = Vec::new();
        while let Some(Reverse((latency, node))) = open.pop() {
            if best.get(&node).is_some_and(|known| *known < latency) {
                continue;
            }
            if node != from && good(node) {
                found.push((node, latency));
                if found.len() == wanted {
                    break;
                }
            }
            for (next, more) in &self.near[node] {
                let through = latency + more;
                if best.get(next).is_none_or(|known| through < *known) {
                    best.insert(*next, through);
                    open.push(Reverse((through, *next)));
                }
            }
        }
        found
    }

    /// For every node the place of its nearest router; one that reaches none has the first.
    fn homes(&self, chosen: &[usize]) -> Vec<usize> {
        let mut best: Vec<Option<(u64, usize)>> = vec![None; self.near.len()];
        let mut open = BinaryHeap::new();
        for (place, at) in chosen.iter().enumerate() {
            best[*at] = Some((0, place));
            open.push(Reverse((0, place, *at)));
        }
        while let Some(Reverse((latency, place, node))) = open.pop() {
            if best[node] != Some((latency, place)) {
                continue;
            }
            for (next, more) in &self.near[node] {
                let through = (latency + more, place);
                if best[*next].is_none_or(|known| through < known) {
                    best[*next] = Some(through);
                    open.push(Reverse((through.0, place, *next)));
                }
            }
        }
        best.into_iter().map(|home| home.map_or(0, |(_, place)| place)).collect()
    }
}
