//! Whether a declared fabric can carry traffic at all.

use std::collections::{BTreeSet, HashMap, VecDeque};

use petgraph::graph::{NodeIndex as Vertex, UnGraph};

use super::topology::{LinkKind, Stage, Topology};
use crate::types::NodeId;

/// A node from which a stage that it needs cannot be reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreachable {
    /// Position in the file's list of nodes.
    pub(super) node: usize,
    pub(super) what: String,
    pub(super) expected: String,
}

/// Third-stage switches need a router, each router of a service an outside switch of it (where there is one).
///
/// A path leads over data links, and through second-stage switches only.
pub(super) fn unreachable(topology: &Topology) -> Vec<Unreachable> {
    let mut graph = UnGraph::<usize, ()>::default();
    let vertices: Vec<Vertex> = (0..topology.nodes.len()).map(|at| graph.add_node(at)).collect();
    let positions: HashMap<&NodeId, Vertex> =
        topology.nodes.iter().map(|node| &node.id).zip(vertices.iter().copied()).collect();
    let at = |id: &NodeId| positions.get(id).copied();
    for link in topology.links.iter().filter(|link| link.kind == LinkKind::Data) {
        if let (Some(a), Some(b)) = (at(&link.a.node), at(&link.b.node)) {
            graph.add_edge(a, b, ());
        }
    }
    let reached = |from: usize| {
        let mut seen = BTreeSet::from([from]);
        let mut queue = VecDeque::from([from]);
        while let Some(vertex) = queue.pop_front() {
            if vertex != from && topology.nodes[vertex].stage != Stage::Transit {
                continue;
            }
            for next in graph.neighbors(vertices[vertex]).map(|next| graph[next]) {
                if seen.insert(next) {
                    queue.push_back(next);
                }
            }
        }
        seen
    };
    let mut problems = Vec::new();
    for (position, node) in topology.nodes.iter().enumerate() {
        let (wanted, words): (Vec<&NodeId>, _) = match node.stage {
            Stage::Access => (topology.routers().map(|router| &router.id).collect(), "a first-stage router"),
            Stage::Router => {
                let services =
                    topology.services.iter().filter(|service| service.shares.iter().any(|(id, _)| *id == node.id));
                (services.flat_map(|service| &service.outside).collect(), "an outside switch of its services")
            }
            Stage::Transit | Stage::Outside | Stage::Bridge => continue,
        };
        let seen = reached(position);
        let found = wanted.iter().filter_map(|id| at(id)).any(|vertex| seen.contains(&graph[vertex]));
        if !found && !wanted.is_empty() {
            let what = format!("no path leads from '{}' to {words}", node.id);
            problems.push(Unreachable {
                node: position,
                what,
                expected: "data links that join them, directly or through the second stage".to_owned(),
            });
        }
    }
    problems
}
