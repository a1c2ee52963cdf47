//! netbench's topology files: `|V|=n`, then one edge a line as two node numbers from 0; every edge is one direction.
//!
//! `ToRs=` says which switches hosts hang on, as `incl_range(a,b)` or `set(a,b,…)`.

use std::str::FromStr;

use super::super::reader::Problem;
use super::super::topology_file::NODES_MAX;
use super::Source;
use super::graph::{Graph, GraphEdge, GraphNode, line_number, shown};

pub(super) fn parse(source: &Source<'_>, text: &str) -> Result<Graph, Problem> {
    let mut graph = Graph::default();
    let mut hosts = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let (number, line) = (line_number(at), line.trim());
        let wrong = |expected: &str| source.problem(number, 1, format!("'{}'", shown(line)), expected);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((key, value)) = line.split_once('=') {
            match key.trim() {
                "|V|" if graph.nodes.is_empty() => {
                    let count = usize::from_str(value.trim()).ok().filter(|count| (1..=NODES_MAX).contains(count));
                    let count = count.ok_or_else(|| wrong("|V|= and a number from 1 to 65535"))?;
                    graph.nodes =
                        (0..count).map(|at| GraphNode { key: at.to_string(), ..Default::default() }).collect();
                }
                "|V|" => return Err(wrong("|V|= once")),
                "ToRs" => hosts = numbers(value.trim()).ok_or_else(|| wrong("incl_range(a,b) or set(a,b,…)"))?,
                _ => {}
            }
            continue;
        }
        let ends: Vec<Option<usize>> = line.split_whitespace().take(3).map(|end| usize::from_str(end).ok()).collect();
        let nodes = graph.nodes.len();
        let [Some(a), Some(b)] = ends[..] else { return Err(wrong("an edge: two node numbers")) };
        if a >= nodes || b >= nodes {
            return Err(wrong(&format!("node numbers below |V|, which is {nodes}")));
        }
        graph.edges.push(GraphEdge { a, b, directed: true, ..Default::default() });
    }
    for at in hosts {
        if let Some(node) = graph.nodes.get_mut(at) {
            node.has_hosts = true;
        }
    }
    Ok(graph)
}

fn numbers(text: &str) -> Option<Vec<usize>> {
    let inside = |name: &str| text.strip_prefix(name)?.trim().strip_prefix('(')?.strip_suffix(')');
    if let Some(range) = inside("incl_range") {
        let (first, last) = range.split_once(',')?;
        let (first, last) = (usize::from_str(first.trim()).ok()?, usize::from_str(last.trim()).ok()?);
        return (first <= last && last < NODES_MAX).then(|| (first..=last).collect());
    }
    let set = inside("set")?.split(',').map(|number| usize::from_str(number.trim()).ok());
    set.collect()
}
