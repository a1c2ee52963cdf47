//! Which stage each switch would have, in a fabric whose file does not say or that has none (docs/NETWORK.md,
//! "Stages inferred").
//!
//! **Invariant**: an answer with stages is a staged fabric: every link joins stages that may be joined, all switches
//! with hosts reach each other by going up and then down, and every switch of the third stage goes up to a router. What
//! is not so is a fabric of bridges, and the answer says what kept it from being more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::config::{LinkKind, RouterSettings, Service, Stage, Topology};
use crate::types::{NodeId, NodeIndex};

/// Shadow candidates named for each router: as many as can be asked for (`shadows_max`).
const CANDIDATES_MAX: usize = 8;
/// Each router of a service needs one of 256 slots.
const SHARES_MAX: usize = 256;

/// What is known of a fabric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fabric {
    pub nodes: Vec<NodeIndex>,
    /// Mirror links too: what a link is for cannot be seen.
    pub links: Vec<(NodeIndex, NodeIndex)>,
    /// Switches with hosts or servers.
    pub hosts: BTreeSet<NodeIndex>,
    /// Those of them that face servers, as far as that is known.
    pub servers: BTreeSet<NodeIndex>,
}

/// What follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inferred {
    /// Of every node.
    pub stages: BTreeMap<NodeIndex, InferredStage>,
    /// Of every router, best first.
    pub shadows: BTreeMap<NodeIndex, Vec<ShadowCandidate>>,
    /// One sentence about the whole.
    pub summary: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferredStage {
    pub stage: Stage,
    pub reason: String,
}

/// Another router that could take this one's new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowCandidate {
    pub router: NodeIndex,
    /// A link joins the two, which could carry replication.
    pub joined: bool,
    pub common_neighbours: u32,
    /// Links between the two; `u32::MAX` where there is no way.
    pub distance: u32,
}

impl Fabric {
    /// A topology's switches and links, whatever their stages; `servers` are added to the outside ones it declares.
    pub fn of(topology: &Topology, servers: &[NodeId]) -> Self {
        let index: BTreeMap<&NodeId, NodeIndex> = topology.nodes.iter().map(|node| (&node.id, node.index)).collect();
        let links =
            topology.links.iter().filter_map(|link| Some((*index.get(&link.a.node)?, *index.get(&link.b.node)?)));
        let outside = topology.nodes.iter().filter(|node| node.stage == Stage::Outside).map(|node| node.index);
        let servers: BTreeSet<NodeIndex> =
            servers.iter().filter_map(|id| index.get(id).copied()).chain(outside).collect();
        let hosts = topology.hosts.iter().filter_map(|host| index.get(&host.attached.node).copied());
        Self {
            nodes: topology.nodes.iter().map(|node| node.index).collect(),
            links: links.collect(),
            hosts: hosts.chain(servers.iter().copied()).collect(),
            servers,
        }
    }
}

/// A stage for every node, with reasons.
pub fn infer(fabric: &Fabric) -> Inferred {
    let graph = Graph::new(fabric);
    match graph.find() {
        Ok(layers) => graph.explain(&layers),
        Err(why) => {
            let bridge = InferredStage { stage: Stage::Bridge, reason: why.clone() };
            let stages = fabric.nodes.iter().map(|node| (*node, bridge.clone())).collect();
            Inferred { stages, shadows: BTreeMap::new(), summary: format!("no stages: {why}") }
        }
    }
}

/// Positions in the list of nodes.
type Set = BTreeSet<usize>;

#[derive(Debug)]
struct Graph<'f> {
    fabric: &'f Fabric,
    neighbours: Vec<Set>,
    hosts: Set,
    servers: Set,
}

/// A layering that holds.
#[derive(Debug)]
struct Layers {
    outside: Set,
    routers: Set,
    /// Links to the nearest switch with hosts; `None` for outside switches and routers.
    tiers: Vec<Option<u32>>,
}

impl<'f> Graph<'f> {
    fn new(fabric: &'f Fabric) -> Self {
        let at: BTreeMap<NodeIndex, usize> = fabric.nodes.iter().enumerate().map(|(at, node)| (*node, at)).collect();
        let mut neighbours = vec![Set::new(); fabric.nodes.len()];
        for (a, b) in &fabric.links {
            if let (Some(&a), Some(&b)) = (at.get(a), at.get(b))
                && a != b
            {
                neighbours[a].insert(b);
                neighbours[b].insert(a);
            }
        }
        let positions = |nodes: &BTreeSet<NodeIndex>| nodes.iter().filter_map(|node| at.get(node).copied()).collect();
        let servers: Set = positions(&fabric.servers);
        let hosts: Set = positions(&fabric.hosts).union(&servers).copied().collect();
        Self { fabric, neighbours, hosts, servers }
    }

    fn name(&self, at: usize) -> String {
        format!("switch {}", self.fabric.nodes[at])
    }

    fn find(&self) -> Result<Layers, String> {
        if self.hosts.is_empty() {
            return Err("no host is known, so nothing says which switches are nearest to them".to_owned());
        }
        if !self.servers.is_empty() {
            return self.layers(&self.servers);
        }
        let likely = self.host_groups().into_iter().filter(|group| self.borders(group));
        let mut found: Vec<Layers> = likely.filter_map(|group| self.layers(&group).ok()).collect();
        match found.len() {
            0 => self.layers(&Set::new()),
            1 => Ok(found.remove(0)),
            several => Err(format!("{several} groups of switches could face the servers; say which ones do")),
        }
    }

    /// Switches with hosts, grouped by common neighbours.
    fn host_groups(&self) -> Vec<Set> {
        let mut left = self.hosts.clone();
        let mut groups = Vec::new();
        while let Some(first) = left.pop_first() {
            let mut group = Set::from([first]);
            let mut queue = vec![first];
            let mut passed = Set::new();
            while let Some(at) = queue.pop() {
                for &neighbour in self.neighbours[at].iter().filter(|neighbour| !self.hosts.contains(neighbour)) {
                    if passed.insert(neighbour) {
                        let more: Vec<usize> = self.neighbours[neighbour].intersection(&left).copied().collect();
                        for at in &more {
                            left.remove(at);
                        }
                        group.extend(&more);
                        queue.extend(more);
                    }
                }
            }
            groups.push(group);
        }
        groups
    }

    /// Whether the switches next to these are joined among each other, all of them: routers with mirror links are,
    /// and no tier of a fabric is.
    fn borders(&self, outside: &Set) -> bool {
        let next: Set = outside.iter().flat_map(|at| &self.neighbours[*at]).copied().collect();
        let Some(&first) = next.first().filter(|_| next.len() >= 2 && next.is_disjoint(&self.hosts)) else {
            return false;
        };
        let mut seen = Set::from([first]);
        let mut queue = vec![first];
        while let Some(at) = queue.pop() {
            queue.extend(self.neighbours[at].intersection(&next).copied().filter(|at| seen.insert(*at)));
        }
        seen.len() == next.len()
    }

    /// The layering with these as outside switches, if there is one.
    fn layers(&self, outside: &Set) -> Result<Layers, String> {
        let access: Set = self.hosts.difference(outside).copied().collect();
        let routers: Set = outside.iter().flat_map(|at| &self.neighbours[*at]).copied().collect();
        if let Some(at) = routers.intersection(&self.hosts).next() {
            return Err(format!("{} has hosts and joins a switch that faces servers", self.name(*at)));
        }
        match (access.len(), outside.is_empty()) {
            (0, _) => return Err("every switch with hosts faces servers".to_owned()),
            (1, true) => return Err("one switch alone has hosts".to_owned()),
            _ => {}
        }
        if let Some(at) = outside.iter().find(|at| self.neighbours[**at].is_empty()) {
            return Err(format!("{} faces servers and joins no other switch", self.name(*at)));
        }
        let tiers = self.tiers(&access, &routers, outside);
        let layers = Layers { outside: outside.clone(), routers, tiers };
        self.check_links(&layers)?;
        self.check_reach(&access, &layers)?;
        Ok(layers)
    }

    fn tiers(&self, access: &Set, routers: &Set, outside: &Set) -> Vec<Option<u32>> {
        let mut tiers = vec![None; self.neighbours.len()];
        let mut queue: VecDeque<(usize, u32)> = access.iter().map(|at| (*at, 0)).collect();
        access.iter().for_each(|at| tiers[*at] = Some(0));
        while let Some((at, tier)) = queue.pop_front() {
            for &next in &self.neighbours[at] {
                if tiers[next].is_none() && !routers.contains(&next) && !outside.contains(&next) {
                    tiers[next] = Some(tier + 1);
                    queue.push_back((next, tier + 1));
                }
            }
        }
        tiers
    }

    fn check_links(&self, layers: &Layers) -> Result<(), String> {
        for (at, neighbours) in self.neighbours.iter().enumerate() {
            let borders = layers.routers.contains(&at) || layers.outside.contains(&at);
            let Some(tier) = layers.tiers[at] else {
                if borders {
                    continue;
                }
                return Err(format!("{} is reached from no switch with hosts", self.name(at)));
            };
            // A tier is one more than the least around it, so two that are joined differ by one or not at all.
            let level = neighbours.iter().find(|next| layers.tiers[**next] == Some(tier));
            if let Some(&next) = level {
                let (a, b) = (self.name(at), self.name(next));
                return Err(format!("{a} and {b} are joined and equally near to hosts"));
            }
        }
        Ok(())
    }

    /// Up and then down reaches every switch with hosts; up reaches a router where there are routers.
    fn check_reach(&self, access: &Set, layers: &Layers) -> Result<(), String> {
        // Switches with the same neighbours above reach the same.
        let alike: BTreeMap<&Set, usize> = access.iter().map(|at| (&self.neighbours[*at], *at)).collect();
        for &from in alike.values() {
            let above = self.closure(Set::from([from]), |at, next| match (layers.tiers[at], layers.tiers[next]) {
                (Some(own), Some(other)) => other == own + 1,
                (Some(_), None) => layers.routers.contains(&next),
                (None, _) => false,
            });
            if !layers.routers.is_empty() && above.is_disjoint(&layers.routers) {
                return Err(format!("no way leads up from {} to a router", self.name(from)));
            }
            let reached = self.closure(above, |at, next| match (layers.tiers[at], layers.tiers[next]) {
                (Some(own), Some(other)) => other + 1 == own,
                (None, Some(_)) => layers.routers.contains(&at),
                _ => false,
            });
            if let Some(at) = access.difference(&reached).next() {
                let (a, b) = (self.name(from), self.name(*at));
                return Err(format!("{a} does not reach {b} by going up and then down"));
            }
        }
        Ok(())
    }

    fn closure(&self, from: Set, follows: impl Fn(usize, usize) -> bool) -> Set {
        let mut queue: Vec<usize> = from.iter().copied().collect();
        let mut seen = from;
        while let Some(at) = queue.pop() {
            let next = self.neighbours[at].iter().copied().filter(|next| follows(at, *next));
            queue.extend(next.filter(|next| seen.insert(*next)).collect::<Vec<_>>());
        }
        seen
    }

    fn explain(&self, layers: &Layers) -> Inferred {
        let told = !self.servers.is_empty();
        let stage = |at: usize| {
            let (stage, reason) = match layers.tiers[at] {
                Some(0) => (Stage::Access, "hosts hang on it".to_owned()),
                Some(tier) if self.neighbours[at].iter().any(|next| layers.routers.contains(next)) => {
                    (Stage::Transit, format!("{tier} above the switches with hosts, below the routers"))
                }
                Some(tier) => (Stage::Transit, format!("{tier} above the switches with hosts")),
                None if layers.outside.contains(&at) && told => (Stage::Outside, "servers hang on it".to_owned()),
                None if layers.outside.contains(&at) => {
                    let reason = "hosts hang on it, beyond switches that are joined among each other";
                    (Stage::Outside, reason.to_owned())
                }
                None => {
                    let outside = self.neighbours[at].intersection(&layers.outside).count();
                    (Stage::Router, format!("between {outside} outside switches and the rest"))
                }
            };
            InferredStage { stage, reason }
        };
        let nodes = self.fabric.nodes.iter().enumerate();
        let stages: BTreeMap<NodeIndex, InferredStage> = nodes.map(|(at, node)| (*node, stage(at))).collect();
        let count = |wanted: Stage| stages.values().filter(|inferred| inferred.stage == wanted).count();
        let summary = format!(
            "{} outside, {} first-stage, {} second-stage, {} third-stage switches",
            count(Stage::Outside),
            count(Stage::Router),
            count(Stage::Transit),
            count(Stage::Access)
        );
        let name = |at: usize| self.fabric.nodes[at];
        let shadows = layers.routers.iter().map(|at| (name(*at), self.candidates(*at, &layers.routers))).collect();
        Inferred { stages, shadows, summary }
    }

    /// Routers that are joined with this one come first, then those with most neighbours in common.
    fn candidates(&self, router: usize, routers: &Set) -> Vec<ShadowCandidate> {
        let mut distances = vec![u32::MAX; self.neighbours.len()];
        distances[router] = 0;
        let mut queue = VecDeque::from([router]);
        while let Some(at) = queue.pop_front() {
            for &next in &self.neighbours[at] {
                if distances[next] == u32::MAX {
                    distances[next] = distances[at] + 1;
                    queue.push_back(next);
                }
            }
        }
        let own = &self.neighbours[router];
        let others = routers.iter().filter(|other| **other != router);
        let mut candidates: Vec<ShadowCandidate> = others
            .map(|&other| ShadowCandidate {
                router: self.fabric.nodes[other],
                joined: own.contains(&other),
                common_neighbours: u32::try_from(own.intersection(&self.neighbours[other]).count()).unwrap_or(u32::MAX),
                distance: distances[other],
            })
            .collect();
        candidates
            .sort_by_key(|other| (!other.joined, u32::MAX - other.common_neighbours, other.distance, other.router));
        candidates.truncate(CANDIDATES_MAX);
        candidates
    }
}

/// A bridged topology as the staged one that was inferred: links between routers become mirror links, routers get
/// `settings`, and one service leads everywhere by equal shares. The error says what is missing for that.
pub fn staged(topology: &Topology, inferred: &Inferred, settings: &RouterSettings) -> Result<Topology, String> {
    let mut staged = topology.clone();
    for node in &mut staged.nodes {
        let stage = inferred.stages.get(&node.index).map_or(Stage::Bridge, |inferred| inferred.stage);
        node.stage = stage;
        node.router = match (stage, node.router.take()) {
            (Stage::Router, own) => Some(own.unwrap_or_else(|| settings.clone())),
            _ => None,
        };
    }
    let ids = |wanted: Stage| {
        let nodes = staged.nodes.iter().filter(move |node| node.stage == wanted);
        nodes.map(|node| node.id.clone()).collect::<Vec<NodeId>>()
    };
    let (mut routers, outside) = (ids(Stage::Router), ids(Stage::Outside));
    if staged.nodes.iter().any(|node| node.stage == Stage::Bridge) {
        return Err(inferred.summary.clone());
    }
    if routers.is_empty() {
        return Err(format!("{}: no switch is known to face servers, so none holds connections", inferred.summary));
    }
    if routers.len() > SHARES_MAX {
        return Err(format!("{} routers; one service takes at most {SHARES_MAX}", routers.len()));
    }
    let between: BTreeSet<&NodeId> = routers.iter().collect();
    for link in &mut staged.links {
        let mirror = between.contains(&link.a.node) && between.contains(&link.b.node);
        link.kind = if mirror { LinkKind::Mirror } else { LinkKind::Data };
    }
    if staged.services.is_empty() {
        routers.sort();
        let share = 1.0 / routers.len() as f64;
        staged.services = vec![Service {
            id: "internet".to_owned(),
            number: 1,
            prefixes: vec!["0.0.0.0/0".parse().expect("a prefix")],
            shares: routers.into_iter().map(|router| (router, share)).collect(),
            outside,
        }];
    }
    Ok(staged)
}
