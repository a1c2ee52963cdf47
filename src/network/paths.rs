//! Next hops from every node towards every node that it must reach.
//!
//! **Invariant**: a packet that follows next hops of rank 0 reaches its node over data links alone, passes no switch but
//! of the second stage on its way, and never comes to a switch twice: each hop is one nearer.
//!
//! Links that are [`Trust::Dead`], undeclared or of kind mirror are never used; doubtful ones only where nothing else
//! leads on. Towards a router, its neighbours know its shadows' ports by higher ranks, so that a fast-failover group
//! passes a dead router over with no controller in between.

use std::collections::BTreeMap;

use petgraph::algo::dijkstra;
use petgraph::graph::{NodeIndex as Vertex, UnGraph};
use petgraph::visit::{EdgeFiltered, EdgeRef};

use super::{LinkState, Trust, WiredLink};
use crate::config::{LinkKind, Stage, Topology};
use crate::plan::NextHop;
use crate::types::{NodeIndex, PortNo};

/// One hop over a doubtful link outweighs any path of good ones.
const DOUBTFUL_COST: u64 = 1 << 32;

/// Next hops of every node: towards which node, over which ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    hops: BTreeMap<NodeIndex, BTreeMap<NodeIndex, Vec<NextHop>>>,
}

/// Shadows of each router, best first.
pub type Shadows = BTreeMap<NodeIndex, Vec<NodeIndex>>;

#[derive(Clone, Copy, Debug)]
struct Edge {
    cost: u64,
    /// Nodes and ports of both ends.
    ends: [(NodeIndex, PortNo); 2],
}

impl Paths {
    pub fn compute(topology: &Topology, links: &[WiredLink], shadows: &Shadows) -> Self {
        let mut graph = UnGraph::<NodeIndex, Edge>::default();
        let vertices: Vec<Vertex> = topology.nodes.iter().map(|node| graph.add_node(node.index)).collect();
        let vertex = |index: NodeIndex| usize::from(index.0).checked_sub(1).and_then(|at| vertices.get(at)).copied();
        let stage = |vertex: Vertex| topology.nodes[vertex.index()].stage;
        for link in links.iter().filter(|link| usable(link)) {
            let (Some(a), Some(b)) = (vertex(link.a), vertex(link.b)) else { continue };
            let (Some(a_port), Some(b_port)) = (link.a_port, link.b_port) else { continue };
            let cost = if link.trust == Trust::Doubtful { DOUBTFUL_COST } else { 1 };
            graph.add_edge(a, b, Edge { cost, ends: [(link.a, a_port), (link.b, b_port)] });
        }
        let mut hops: BTreeMap<NodeIndex, BTreeMap<NodeIndex, Vec<NextHop>>> = BTreeMap::new();
        for (target, node) in vertices.iter().copied().zip(&topology.nodes) {
            // Distances are measured from the target outwards, and only second-stage switches pass packets on.
            let passing =
                EdgeFiltered::from_fn(&graph, |edge| edge.source() == target || stage(edge.source()) == Stage::Transit);
            let distances = dijkstra(&passing, target, None, |edge| edge.weight().cost);
            for (&from, &distance) in &distances {
                if from == target || !needs(stage(from), node.stage) {
                    continue;
                }
                let nearer = graph.edges(from).filter(|edge| {
                    let next = edge.target();
                    let passes = next == target || stage(next) == Stage::Transit;
                    passes && distances.get(&next).is_some_and(|rest| rest + edge.weight().cost == distance)
                });
                let mut ports: Vec<NextHop> = nearer
                    .filter_map(|edge| edge.weight().ends.into_iter().find(|(end, _)| *end == graph[from]))
                    .map(|(_, port)| NextHop { rank: 0, port })
                    .collect();
                ports.sort_unstable();
                hops.entry(graph[from]).or_default().insert(node.index, ports);
            }
        }
        let mut paths = Self { hops };
        paths.add_shadows(topology, links, shadows);
        paths
    }

    /// Gives the neighbours of each router the ports of its shadows behind its own.
    fn add_shadows(&mut self, topology: &Topology, links: &[WiredLink], shadows: &Shadows) {
        let mut extended = Vec::new();
        for (&router, shadows) in shadows {
            for node in topology.nodes.iter().filter(|node| needs(node.stage, Stage::Router)) {
                let own = self.next_hops(node.index, router);
                // Further away, the switch next to the router takes the turn; it alone sees the router's port.
                let neighbour = links.iter().any(|link| {
                    link.kind == LinkKind::Data && link.seen_from(node.index).is_some_and(|(_, other)| other == router)
                });
                if !neighbour && !own.is_empty() {
                    continue;
                }
                let mut ports = own.to_vec();
                for (shadow, rank) in shadows.iter().zip(1..=u8::MAX) {
                    for hop in self.next_hops(node.index, *shadow).iter().filter(|hop| hop.rank == 0) {
                        if ports.iter().all(|known| known.port != hop.port) {
                            ports.push(NextHop { rank, port: hop.port });
                        }
                    }
                }
                extended.push((node.index, router, ports));
            }
        }
        for (node, router, ports) in extended.into_iter().filter(|(.., ports)| !ports.is_empty()) {
            self.hops.entry(node).or_default().insert(router, ports);
        }
    }

    /// Ports of `from` towards `to`, sorted by rank; empty where no path leads there.
    pub fn next_hops(&self, from: NodeIndex, to: NodeIndex) -> &[NextHop] {
        self.hops.get(&from).and_then(|hops| hops.get(&to)).map_or(&[], Vec::as_slice)
    }

    /// Every node that `from` can reach, with its ports.
    pub fn from(&self, from: NodeIndex) -> BTreeMap<NodeIndex, Vec<NextHop>> {
        self.hops.get(&from).cloned().unwrap_or_default()
    }
}

fn usable(link: &WiredLink) -> bool {
    link.kind == LinkKind::Data && link.trust != Trust::Dead && link.state != LinkState::Undeclared
}

/// Whether a switch of stage `from` ever sends to a node of stage `to`.
fn needs(from: Stage, to: Stage) -> bool {
    match from {
        Stage::Access | Stage::Transit => matches!(to, Stage::Router | Stage::Access),
        Stage::Router => matches!(to, Stage::Outside | Stage::Access),
        Stage::Outside => to == Stage::Router,
        // Bridges have paths of their own.
        Stage::Bridge => false,
    }
}
