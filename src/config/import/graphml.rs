//! GraphML (graphdrawing.org) as the Internet Topology Zoo and networkx write it.
//!
//! `key` elements name the attributes that `data` elements carry by id. Hyperedges and ports are no part of a fabric
//! of links and are left out; the Zoo writes its hyperedges as nodes, which stay switches.

use std::collections::HashMap;

use roxmltree::{Document, Node};

use super::super::reader::Problem;
use super::Source;
use super::attributes::{self, Attributes};
use super::graph::{Graph, Keys};

pub(super) fn parse(source: &Source<'_>, text: &str) -> Result<Graph, Problem> {
    let document = document(source, text)?;
    let root = document.root_element();
    let graph = child(root, "graph").filter(|_| root.tag_name().name() == "graphml");
    let Some(graph) = graph else {
        let what = format!("the root element is '{}'", root.tag_name().name());
        return Err(source.problem(line(root), 1, what, "'graphml' with a 'graph' inside"));
    };
    let keys = keys(root);
    let directed = graph.attribute("edgedefault") == Some("directed");
    let mut built = Graph::default();
    let mut places = Keys::default();
    let own = attributes_of(graph, "graph", &keys);
    let named = |name: &&str| own.iter().find(|(key, _)| key == name);
    built.name = ["Network", "label"].iter().find_map(named).map(|(_, value)| value.clone());
    for node in elements(graph, "node") {
        let id = required(source, node, "id")?;
        let parsed = attributes::node(id.to_owned(), &attributes_of(node, "node", &keys));
        places.add(source, &mut built, parsed, line(node))?;
    }
    for edge in elements(graph, "edge") {
        let ends = (required(source, edge, "source")?, required(source, edge, "target")?);
        let ends = (places.find(source, ends.0, line(edge))?, places.find(source, ends.1, line(edge))?);
        let directed = edge.attribute("directed").map_or(directed, |value| value == "true");
        let parsed = attributes::edge(ends, directed, &attributes_of(edge, "edge", &keys), &mut built);
        built.edges.push(parsed);
    }
    let hyperedges = elements(graph, "hyperedge").count();
    if hyperedges > 0 {
        built.notes.push(format!("{hyperedges} hyperedges were left out"));
    }
    Ok(built)
}

/// Names of attributes by what they are for and their id.
fn keys<'d>(root: Node<'d, 'd>) -> HashMap<(&'d str, &'d str), &'d str> {
    let keys = elements(root, "key");
    keys.filter_map(|key| {
        let (id, kind) = (key.attribute("id")?, key.attribute("for").unwrap_or("all"));
        Some(((kind, id), key.attribute("attr.name").unwrap_or(id)))
    })
    .collect()
}

fn attributes_of(node: Node<'_, '_>, kind: &str, keys: &HashMap<(&str, &str), &str>) -> Attributes {
    let data = elements(node, "data").filter_map(|data| {
        let id = data.attribute("key")?;
        let name = keys.get(&(kind, id)).or_else(|| keys.get(&("all", id))).copied().unwrap_or(id);
        Some((name.to_owned(), data.text()?.to_owned()))
    });
    data.collect()
}

/// An XML document; a syntax error knows its place.
pub(super) fn document<'t>(source: &Source<'_>, text: &'t str) -> Result<Document<'t>, Problem> {
    Document::parse(text).map_err(|error| {
        let place = error.pos();
        source.problem(place.row, place.col, error_text(&error), "well-formed XML without a document type")
    })
}

/// The library ends its messages with the place, which problems give themselves.
fn error_text(error: &roxmltree::Error) -> String {
    let text = error.to_string();
    text.rfind(" at ").map_or(text.clone(), |end| text[..end].to_owned())
}

pub(super) fn elements<'d>(node: Node<'d, 'd>, name: &'static str) -> impl Iterator<Item = Node<'d, 'd>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

pub(super) fn child<'d>(node: Node<'d, 'd>, name: &'static str) -> Option<Node<'d, 'd>> {
    elements(node, name).next()
}

pub(super) fn line(node: Node<'_, '_>) -> u32 {
    node.document().text_pos_at(node.range().start).row
}

pub(super) fn required<'d>(source: &Source<'_>, node: Node<'d, 'd>, name: &str) -> Result<&'d str, Problem> {
    node.attribute(name).ok_or_else(|| {
        let what = format!("a '{}' lacks the attribute '{name}'", node.tag_name().name());
        source.problem(line(node), 1, what, format!("{name}=\"…\""))
    })
}
