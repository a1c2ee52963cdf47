//! Shortest paths, loop-free alternates and a spanning tree of bridged fabrics.
//!
//! **Invariants**
//!
//! 1. Along ports of rank 0 every hop is nearer to the destination: no frame comes to a switch twice.
//! 2. A port of higher rank leads to a neighbour whose own shortest paths do not come back (RFC 5286, inequality 1), so that
//!    a switch may take it the moment its own ports of rank 0 are dead, while all others go on as before.
//! 3. The tree joins every two switches that links join, and has no loop: a frame for everyone comes to each once. It is
//!    the tree of least links in one fixed order, whatever was up before; a link that comes or goes changes one more link
//!    at most.
//!
//! Links that are [`Trust::Dead`], undeclared or of kind mirror are never used; doubtful ones only where nothing else leads
//! on.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;

use super::super::{LinkState, Trust, WiredLink};
use crate::config::LinkKind;
use crate::plan::NextHop;
use crate::types::{NodeIndex, PortNo};

/// One hop over a doubtful link outweighs any path of good ones: a path has fewer hops than there are node indices.
const DOUBTFUL_COST: u32 = 1 << 16;
const UNREACHABLE: u32 = u32::MAX;

/// A usable link, its ends by their positions among the nodes; ordered as the tree prefers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    cost: u32,
    /// The lower end first.
    ends: [(usize, PortNo); 2],
}

/// What a node sees of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Leg {
    to: usize,
    port: PortNo,
    cost: u32,
}

/// Paths of all nodes towards some.
#[derive(Clone, Debug, Default)]
pub struct BridgePaths {
    nodes: Vec<NodeIndex>,
    edges: Vec<Edge>,
    arcs: Vec<Vec<Leg>>,
    /// Distances of every node from one, by position; kept for as long as no link changes.
    distances: BTreeMap<NodeIndex, Arc<[u32]>>,
    tree: BTreeMap<NodeIndex, Vec<PortNo>>,
}

impl BridgePaths {
    pub fn compute(nodes: &[NodeIndex], links: &[WiredLink], towards: &BTreeSet<NodeIndex>) -> Self {
        let mut paths = Self::default();
        paths.update(nodes, links, towards);
        paths
    }

    /// As [`Self::compute`], but works out only what is not known from before. Returns whether anything is different.
    pub fn update(&mut self, nodes: &[NodeIndex], links: &[WiredLink], towards: &BTreeSet<NodeIndex>) -> bool {
        let mut sorted = nodes.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let edges = usable_edges(&sorted, links);
        let rewired = sorted != self.nodes || edges != self.edges;
        if rewired {
            self.arcs = vec![Vec::new(); sorted.len()];
            for Edge { cost, ends: [a, b] } in &edges {
                self.arcs[a.0].push(Leg { to: b.0, port: a.1, cost: *cost });
                self.arcs[b.0].push(Leg { to: a.0, port: b.1, cost: *cost });
            }
            self.tree = spanning_tree(&sorted, &edges);
            self.distances.clear();
            (self.nodes, self.edges) = (sorted, edges);
        }
        let before = self.distances.len();
        self.distances.retain(|target, _| towards.contains(target));
        let mut changed = rewired || self.distances.len() != before;
        let doubtful = self.edges.iter().any(|edge| edge.cost != 1);
        for target in towards {
            if self.distances.contains_key(target) {
                continue;
            }
            let Some(at) = self.position(*target) else { continue };
            let distances = if doubtful { weighted(&self.arcs, at) } else { counted(&self.arcs, at) };
            self.distances.insert(*target, distances.into());
            changed = true;
        }
        changed
    }

    fn position(&self, node: NodeIndex) -> Option<usize> {
        self.nodes.binary_search(&node).ok()
    }

    /// Ports of `from` towards every node that it can reach, sorted by rank; itself is left out.
    pub fn next_hops(&self, from: NodeIndex) -> BTreeMap<NodeIndex, Vec<NextHop>> {
        let Some(at) = self.position(from) else { return BTreeMap::new() };
        let towards = self.distances.iter().filter(|(target, _)| **target != from);
        towards
            .filter_map(|(target, distances)| {
                let hops = self.hops(at, distances);
                (!hops.is_empty()).then_some((*target, hops))
            })
            .collect()
    }

    fn hops(&self, at: usize, distances: &[u32]) -> Vec<NextHop> {
        let distance = distances[at];
        if distance == UNREACHABLE {
            return Vec::new();
        }
        let arcs = &self.arcs[at];
        let nearer = arcs.iter().filter(|arc| distances[arc.to].checked_add(arc.cost) == Some(distance));
        let mut hops: Vec<NextHop> = nearer.clone().map(|arc| NextHop { rank: 0, port: arc.port }).collect();
        hops.sort_unstable();
        let first = nearer.clone().next().map(|arc| arc.to);
        // With two neighbours that are nearer either stands in for the other.
        if let Some(first) = first
            && nearer.clone().all(|arc| arc.to == first)
        {
            // Neighbours are one hop apart at least, so that this is inequality 1 of RFC 5286, or stricter.
            let loop_free = arcs.iter().filter(|arc| arc.to != first && distances[arc.to] <= distance);
            // A neighbour of the nearer node may go through it: better one that does not (inequality 3).
            let best = loop_free.min_by_key(|arc| (self.are_neighbours(arc.to, first), arc.cost, arc.to, arc.port));
            hops.extend(best.map(|arc| NextHop { rank: 1, port: arc.port }));
        }
        hops
    }

    fn are_neighbours(&self, a: usize, b: usize) -> bool {
        self.arcs[a].iter().any(|arc| arc.to == b)
    }

    /// Link ports of the node that belong to the spanning tree, sorted.
    pub fn tree_ports(&self, node: NodeIndex) -> Vec<PortNo> {
        self.tree.get(&node).cloned().unwrap_or_default()
    }
}

/// Links that may carry frames, in the tree's order.
fn usable_edges(nodes: &[NodeIndex], links: &[WiredLink]) -> Vec<Edge> {
    let usable = links.iter().filter(|link| {
        link.kind == LinkKind::Data
            && link.trust != Trust::Dead
            && link.state != LinkState::Undeclared
            && link.a != link.b
    });
    let mut edges: Vec<Edge> = usable
        .filter_map(|link| {
            let a = (nodes.binary_search(&link.a).ok()?, link.a_port?);
            let b = (nodes.binary_search(&link.b).ok()?, link.b_port?);
            let cost = if link.trust == Trust::Doubtful { DOUBTFUL_COST } else { 1 };
            Some(Edge { cost, ends: [a.min(b), a.max(b)] })
        })
        .collect();
    edges.sort_unstable();
    edges
}

/// Hops to `target`.
fn counted(arcs: &[Vec<Leg>], target: usize) -> Vec<u32> {
    let mut distances = vec![UNREACHABLE; arcs.len()];
    let mut open = VecDeque::from([target]);
    distances[target] = 0;
    while let Some(at) = open.pop_front() {
        for arc in &arcs[at] {
            if distances[arc.to] == UNREACHABLE {
                distances[arc.to] = distances[at] + 1;
                open.push_back(arc.to);
            }
        }
    }
    distances
}

/// Costs to `target` where some links cost more than others.
fn weighted(arcs: &[Vec<Leg>], target: usize) -> Vec<u32> {
    let mut distances = vec![UNREACHABLE; arcs.len()];
    let mut open = BinaryHeap::from([Reverse((0, target))]);
    distances[target] = 0;
    while let Some(Reverse((distance, at))) = open.pop() {
        if distance > distances[at] {
            continue;
        }
        for arc in &arcs[at] {
            let further = distance.saturating_add(arc.cost);
            if further < distances[arc.to] {
                distances[arc.to] = further;
                open.push(Reverse((further, arc.to)));
            }
        }
    }
    distances
}

/// Takes each link, best first, that joins what was apart (Kruskal).
fn spanning_tree(nodes: &[NodeIndex], edges: &[Edge]) -> BTreeMap<NodeIndex, Vec<PortNo>> {
    let mut above: Vec<usize> = (0..nodes.len()).collect();
    let mut tree: BTreeMap<NodeIndex, Vec<PortNo>> = BTreeMap::new();
    for Edge { ends: [a, b], .. } in edges {
        let roots = [a.0, b.0].map(|at| root(&mut above, at));
        if roots[0] != roots[1] {
            above[roots[1]] = roots[0];
            for (at, port) in [a, b] {
                tree.entry(nodes[*at]).or_default().push(*port);
            }
        }
    }
    tree.values_mut().for_each(|ports| ports.sort_unstable());
    tree
}

fn root(above: &mut [usize], mut at: usize) -> usize {
    while above[at] != at {
        above[at] = above[above[at]];
        at = above[at];
    }
    at
}

/// One link on a path: out of a port of `from`, in at a port of `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    pub from: NodeIndex,
    pub out_port: PortNo,
    pub to: NodeIndex,
    pub in_port: PortNo,
}

/// Up to `max` paths from `a` to `b` of which no two share a link, with the fewest links in all that so many paths can have
/// (Bhandari). Shortest first; empty where `a` is `b` or no path is.
pub fn edge_disjoint(links: &[WiredLink], a: NodeIndex, b: NodeIndex, max: usize) -> Vec<Vec<Crossing>> {
    let ends = links.iter().flat_map(|link| [link.a, link.b]);
    let nodes: Vec<NodeIndex> = ends.collect::<BTreeSet<_>>().into_iter().collect();
    let edges = usable_edges(&nodes, links);
    let (Ok(source), Ok(sink)) = (nodes.binary_search(&a), nodes.binary_search(&b)) else { return Vec::new() };
    if source == sink {
        return Vec::new();
    }
    let mut flow = Flow::new(nodes.len(), &edges);
    while flow.paths < max && flow.augment(source, sink) {}
    let mut paths = flow.split(source, sink);
    paths.sort_by_key(Vec::len);
    let crossing = |(edge, forward): &(usize, bool)| {
        let [low, high] = edges[*edge].ends;
        let (from, to) = if *forward { (low, high) } else { (high, low) };
        Crossing { from: nodes[from.0], out_port: from.1, to: nodes[to.0], in_port: to.1 }
    };
    paths.iter().map(|path| path.iter().map(crossing).collect()).collect()
}

/// A flow of least cost over undirected links, each used in one direction at most.
struct Flow<'e> {
    edges: &'e [Edge],
    incident: Vec<Vec<usize>>,
    /// In which direction an edge is used: from the lower end (`true`) or the higher.
    used: Vec<Option<bool>>,
    paths: usize,
}

impl<'e> Flow<'e> {
    fn new(nodes: usize, edges: &'e [Edge]) -> Self {
        let mut incident = vec![Vec::new(); nodes];
        for (number, edge) in edges.iter().enumerate() {
            edge.ends.iter().for_each(|(at, _)| incident[*at].push(number));
        }
        Self { edges, incident, used: vec![None; edges.len()], paths: 0 }
    }

    /// The way over an edge from `at`: the other end, whether that is forward, and what it costs now. An edge in use can only
    /// be given back, from its far end.
    fn step(&self, number: usize, at: usize) -> Option<(usize, bool, i64)> {
        let edge = &self.edges[number];
        let forward = edge.ends[0].0 == at;
        let to = edge.ends[usize::from(forward)].0;
        match self.used[number] {
            None => Some((to, forward, i64::from(edge.cost))),
            Some(used) if used != forward => Some((to, forward, -i64::from(edge.cost))),
            Some(_) => None,
        }
    }

    /// Adds one path, the cheapest way through what is left (Bellman-Ford with a queue: giving back has negative cost).
    fn augment(&mut self, source: usize, sink: usize) -> bool {
        let mut costs = vec![i64::MAX; self.incident.len()];
        let mut came: Vec<Option<(usize, usize, bool)>> = vec![None; self.incident.len()];
        let mut queued = vec![false; self.incident.len()];
        let mut open = VecDeque::from([source]);
        costs[source] = 0;
        while let Some(at) = open.pop_front() {
            queued[at] = false;
            for &number in &self.incident[at] {
                let Some((to, forward, cost)) = self.step(number, at) else { continue };
                // A cheapest flow leaves no cycle of negative cost, so that this ends.
                if costs[at] + cost < costs[to] {
                    costs[to] = costs[at] + cost;
                    came[to] = Some((number, at, forward));
                    if !queued[to] {
                        queued[to] = true;
                        open.push_back(to);
                    }
                }
            }
        }
        let mut at = sink;
        while let Some((number, from, forward)) = came[at].filter(|_| at != source) {
            self.used[number] = if self.used[number].is_some() { None } else { Some(forward) };
            at = from;
        }
        let found = at == source;
        self.paths += usize::from(found);
        found
    }

    /// Takes the flow apart into its paths, as (edge, forward).
    fn split(mut self, source: usize, sink: usize) -> Vec<Vec<(usize, bool)>> {
        let mut paths = Vec::with_capacity(self.paths);
        for _ in 0..self.paths {
            let (mut at, mut path) = (source, Vec::new());
            while at != sink {
                let mut onwards = self.incident[at].iter().filter_map(|&number| {
                    let forward = self.used[number]?;
                    (self.edges[number].ends[usize::from(!forward)].0 == at).then_some((number, forward))
                });
                let Some((number, forward)) = onwards.next() else { break };
                self.used[number] = None;
                path.push((number, forward));
                at = self.edges[number].ends[usize::from(forward)].0;
            }
            paths.push(path);
        }
        paths
    }
}
