//! What every format says, in its own words no more: nodes, edges, and what is known of them.

use std::collections::HashMap;

use super::super::reader::Problem;
use super::Source;

/// A graph as its file gives it.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    /// What the file calls the network.
    pub(super) name: Option<String>,
    pub(super) nodes: Vec<GraphNode>,
    pub(super) edges: Vec<GraphEdge>,
    pub(super) notes: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct GraphNode {
    /// What edges call it.
    pub(super) key: String,
    /// What people call it.
    pub(super) label: Option<String>,
    /// Latitude and longitude in degrees.
    pub(super) place: Option<(f64, f64)>,
    /// The file says that hosts hang here.
    pub(super) has_hosts: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct GraphEdge {
    /// Positions in the list of nodes.
    pub(super) a: usize,
    pub(super) b: usize,
    /// One of two directions; its counterpart is an edge of its own.
    pub(super) directed: bool,
    pub(super) latency_us: Option<f64>,
    pub(super) capacity: Option<Capacity>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Capacity {
    Bps(f64),
    /// In a unit that the file does not name.
    Bare(f64),
}

/// Positions of nodes by what edges call them.
#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<String, usize>);

impl Keys {
    /// Adds a node; a second one of the same key is a problem.
    pub(super) fn add(
        &mut self,
        source: &Source<'_>,
        graph: &mut Graph,
        node: GraphNode,
        line: u32,
    ) -> Result<(), Problem> {
        let at = graph.nodes.len();
        if self.0.insert(node.key.clone(), at).is_some() {
            let what = format!("the node '{}' is declared twice", shown(&node.key));
            return Err(source.problem(line, 1, what, "a node that no other has the id of"));
        }
        graph.nodes.push(node);
        Ok(())
    }

    pub(super) fn find(&self, source: &Source<'_>, key: &str, line: u32) -> Result<usize, Problem> {
        self.0.get(key).copied().ok_or_else(|| {
            let what = format!("an edge ends at '{}', which is not declared", shown(key));
            source.problem(line, 1, what, "the id of a node of this file")
        })
    }
}

/// What came, short enough for a message.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The number of a line counted from 0, as problems give it.
pub(super) fn line_number(at: usize) -> u32 {
    u32::try_from(at + 1).unwrap_or(u32::MAX)
}
