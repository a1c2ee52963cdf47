//! SNDlib's XML (sndlib.zib.de): nodes with coordinates, links with modules of capacity.
//!
//! A link's capacity is what is installed already, else the smallest module that can be bought. The unit is the
//! file's `meta/unit`; most files have none. Demands are not read.

use roxmltree::Node;

use super::super::reader::Problem;
use super::Source;
use super::attributes::{number, place};
use super::graph::{Capacity, Graph, GraphEdge, GraphNode, Keys};
use super::graphml::{child, document, elements, line, required};

pub(super) fn parse(source: &Source<'_>, text: &str) -> Result<Graph, Problem> {
    let document = document(source, text)?;
    let root = document.root_element();
    let structure = child(root, "networkStructure").filter(|_| root.tag_name().name() == "network");
    let Some(structure) = structure else {
        let what = format!("the root element is '{}'", root.tag_name().name());
        return Err(source.problem(line(root), 1, what, "'network' with a 'networkStructure' inside"));
    };
    let mut graph = Graph::default();
    let mut keys = Keys::default();
    let unit = child(root, "meta").and_then(|meta| text_of(meta, "unit")).and_then(unit_bps);
    if let Some(nodes) = child(structure, "nodes") {
        // Others are pixels of a picture.
        let geographical = nodes.attribute("coordinatesType") != Some("pixel");
        for node in elements(nodes, "node") {
            let id = required(source, node, "id")?;
            let coordinates = child(node, "coordinates").filter(|_| geographical);
            let degrees = |axis| coordinates.and_then(|coordinates| number(text_of(coordinates, axis)?));
            let place = place(degrees("y"), degrees("x"));
            let parsed = GraphNode { key: id.to_owned(), label: Some(id.to_owned()), place, has_hosts: false };
            keys.add(source, &mut graph, parsed, line(node))?;
        }
    }
    if let Some(links) = child(structure, "links") {
        for link in elements(links, "link") {
            let end = |name| match text_of(link, name) {
                Some(key) => keys.find(source, key, line(link)),
                None => {
                    let what = format!("a link lacks the element '{name}'");
                    Err(source.problem(line(link), 1, what, format!("<{name}>a node's id</{name}>")))
                }
            };
            let (a, b) = (end("source")?, end("target")?);
            let capacity =
                capacity(link).map(|value| unit.map_or(Capacity::Bare(value), |bps| Capacity::Bps(value * bps)));
            graph.edges.push(GraphEdge { a, b, directed: false, latency_us: None, capacity });
        }
    }
    Ok(graph)
}

fn text_of<'d>(node: Node<'d, 'd>, name: &'static str) -> Option<&'d str> {
    child(node, name)?.text().map(str::trim).filter(|text| !text.is_empty())
}

fn capacity(link: Node<'_, '_>) -> Option<f64> {
    let of = |module| text_of(module, "capacity").and_then(number).filter(|capacity| *capacity > 0.0);
    child(link, "preInstalledModule").and_then(of).or_else(|| {
        let modules = elements(child(link, "additionalModules")?, "addModule");
        modules.filter_map(of).min_by(f64::total_cmp)
    })
}

/// Names that SNDlib's files use.
fn unit_bps(name: &str) -> Option<f64> {
    match name {
        "BITPERSEC" => Some(1.0),
        "KBITPERSEC" => Some(1e3),
        "MBITPERSEC" => Some(1e6),
        "GBITPERSEC" => Some(1e9),
        _ => None,
    }
}
