//! networkx' node-link JSON: `nodes` with an `id`, `links` (or `edges`, as newer versions say) with `source`, `target`.
//!
//! The text has to be JSON; what it means is then read by the reader of our own files, which knows the line of every
//! value.

use serde::de::IgnoredAny;

use super::super::reader::Problem;
use super::super::yaml::{self, Tree, Value};
use super::Source;
use super::attributes::{self, Attributes};
use super::graph::{Graph, Keys, shown};

pub(super) fn parse(source: &Source<'_>, text: &str) -> Result<Graph, Problem> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let message = message.rfind(" at line ").map_or(message.as_str(), |end| &message[..end]).to_owned();
        let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        return Err(source.problem(narrow(line), narrow(column), message, "JSON"));
    }
    let tree = yaml::parse(text)
        .map_err(|error| source.problem(error.place.line, error.place.column, error.message, "plain JSON"))?;
    let nodes = list(source, &tree, &["nodes"])?;
    let links = list(source, &tree, &["links", "edges"])?;
    let directed = get(&tree, "directed").is_some_and(|tree| tree.value == Value::Bool(true));
    let mut graph = Graph::default();
    let mut keys = Keys::default();
    graph.name = get(&tree, "graph").and_then(|graph| get(graph, "name")).and_then(text_of);
    for node in nodes {
        let key = required(source, node, "id")?;
        keys.add(source, &mut graph, attributes::node(key, &attributes_of(node)), node.place.line)?;
    }
    for link in links {
        let ends = (required(source, link, "source")?, required(source, link, "target")?);
        let line = link.place.line;
        let ends = (keys.find(source, &ends.0, line)?, keys.find(source, &ends.1, line)?);
        let parsed = attributes::edge(ends, directed, &attributes_of(link), &mut graph);
        graph.edges.push(parsed);
    }
    Ok(graph)
}

fn get<'t>(tree: &'t Tree, key: &str) -> Option<&'t Tree> {
    match &tree.value {
        Value::Map(entries) => entries.iter().find(|(name, ..)| name == key).map(|(_, _, tree)| tree),
        _ => None,
    }
}

fn text_of(tree: &Tree) -> Option<String> {
    match &tree.value {
        Value::Text(text) => Some(text.clone()),
        Value::Int { text, .. } | Value::Float { text, .. } => Some(text.clone()),
        _ => None,
    }
}

fn list<'t>(source: &Source<'_>, tree: &'t Tree, names: &[&str]) -> Result<&'t [Tree], Problem> {
    let found = names.iter().find_map(|name| get(tree, name));
    let place = found.unwrap_or(tree).place;
    let what = match found {
        Some(Tree { value: Value::List(items), .. }) => return Ok(items),
        Some(found) => format!("'{}' is {}", names[0], found.describe()),
        None => format!("there is no '{}'", names.join("' or '")),
    };
    Err(source.problem(place.line, place.column, what, format!("'{}' with a list of maps", names[0])))
}

fn required(source: &Source<'_>, tree: &Tree, key: &str) -> Result<String, Problem> {
    get(tree, key).and_then(text_of).ok_or_else(|| {
        let what = format!("{} lacks the key '{key}'", shown(&tree.describe()));
        source.problem(tree.place.line, tree.place.column, what, format!("'{key}' with a number or a text"))
    })
}

fn attributes_of(tree: &Tree) -> Attributes {
    match &tree.value {
        Value::Map(entries) => {
            entries.iter().filter_map(|(key, _, tree)| Some((key.clone(), text_of(tree)?))).collect()
        }
        _ => Attributes::new(),
    }
}
