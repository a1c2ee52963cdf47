//! REPETITA's graph files (Gay, Schaus, Vissicchio, 2017).
//!
//! ```text
//! NODES n
//! label x y
//! NAME LONGITUDE LATITUDE          n lines
//!
//! EDGES m
//! label src dest weight bw delay
//! NAME a b weight bw delay         m lines; bw in kbit/s, delay in microseconds, a and b count nodes from 0
//! ```
//!
//! Every edge is one direction.

use std::str::FromStr;

use super::super::reader::Problem;
use super::Source;
use super::attributes::{number, place};
use super::graph::{Capacity, Graph, GraphEdge, GraphNode, line_number, shown};

pub(super) fn parse(source: &Source<'_>, text: &str) -> Result<Graph, Problem> {
    let lines = text.lines().enumerate().map(|(at, line)| (line_number(at), line.trim()));
    let mut lines = lines.filter(|(_, line)| !line.is_empty());
    let mut graph = Graph::default();
    let nodes = heading(source, lines.next(), "NODES")?;
    column_names(source, lines.next())?;
    for number in 0..nodes {
        let [label, x, y] = fields(source, lines.next(), "a node: label x y")?.1;
        // The label begins with the node's number; what is left is its name.
        let name = label.strip_prefix(&format!("{number}_")).unwrap_or(label);
        graph.nodes.push(GraphNode {
            key: label.to_owned(),
            label: Some(name.to_owned()),
            place: place(self::number(y), self::number(x)),
            has_hosts: false,
        });
    }
    let edges = heading(source, lines.next(), "EDGES")?;
    column_names(source, lines.next())?;
    for _ in 0..edges {
        let (line, [_, from, to, _, bandwidth, delay]) =
            fields(source, lines.next(), "an edge: label src dest weight bw delay")?;
        let end = |text: &str| {
            let end = usize::from_str(text).ok().filter(|end| *end < nodes);
            end.ok_or_else(|| {
                let what = format!("an edge ends at '{}'", shown(text));
                source.problem(line, 1, what, format!("the number of one of the {nodes} nodes, from 0"))
            })
        };
        let positive = |text: &str, unit: &str| {
            let value = self::number(text).filter(|value| *value >= 0.0);
            value.ok_or_else(|| source.problem(line, 1, format!("'{}'", shown(text)), unit))
        };
        let kbps = positive(bandwidth, "a bandwidth in kbit/s")?;
        graph.edges.push(GraphEdge {
            a: end(from)?,
            b: end(to)?,
            directed: true,
            latency_us: Some(positive(delay, "a delay in microseconds")?),
            capacity: (kbps > 0.0).then_some(Capacity::Bps(kbps * 1e3)),
        });
    }
    match lines.next() {
        None => Ok(graph),
        Some((line, text)) => {
            Err(source.problem(line, 1, format!("'{}'", shown(text)), format!("the file's end after {edges} edges")))
        }
    }
}

type Line<'t> = Option<(u32, &'t str)>;

fn heading(source: &Source<'_>, line: Line<'_>, word: &str) -> Result<usize, Problem> {
    let (at, text) = line.unwrap_or_default();
    let count = text.strip_prefix(word).and_then(|count| usize::from_str(count.trim()).ok());
    count.ok_or_else(|| source.problem(at, 1, came(text), format!("'{word} ' and how many there are")))
}

fn column_names(source: &Source<'_>, line: Line<'_>) -> Result<(), Problem> {
    match line {
        Some((_, text)) if text.starts_with("label") => Ok(()),
        line => {
            let (at, text) = line.unwrap_or_default();
            Err(source.problem(at, 1, came(text), "a line of column names: 'label …'"))
        }
    }
}

fn fields<'t, const N: usize>(
    source: &Source<'_>,
    line: Line<'t>,
    expected: &str,
) -> Result<(u32, [&'t str; N]), Problem> {
    let (at, text) = line.unwrap_or_default();
    let fields: Vec<&str> = text.split_whitespace().take(N + 1).collect();
    match fields.try_into() {
        Ok(fields) => Ok((at, fields)),
        Err(_) => Err(source.problem(at, u32::from(at > 0), came(text), expected)),
    }
}

fn came(text: &str) -> String {
    if text.is_empty() { "the file ends".to_owned() } else { format!("'{}'", shown(text)) }
}
