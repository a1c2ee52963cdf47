//! From a plain graph to a fabric of bridges.
//!
//! Every edge becomes one link between ports that are numbered in the order of the file; the two directions of a
//! directed pair are one link. What a file does not say is taken from a constant below, and said in a note.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;

use petgraph::unionfind::UnionFind;

use super::super::generate::{HOSTS_MAX, LINKS_MAX};
use super::super::reader::Problem;
use super::super::topology::{Host, Link, LinkEnd, LinkKind, Node, Protocol, Stage, Topology};
use super::super::topology_file::NODES_MAX;
use super::super::topology_write::Comments;
use super::graph::{Capacity, Graph, GraphEdge};
use super::{Format, Imported, Options, Source};
use crate::types::{DatapathId, MacAddr, NodeId, NodeIndex, PortNo};

/// Light in fibre: a little more than two thirds of its speed in a vacuum.
const US_PER_KM: f64 = 5.0;
/// Mean radius of the earth (IUGG).
const EARTH_KM: f64 = 6_371.008_8;
/// Between nodes at the same place: a kilometre of fibre.
const LATENCY_MIN_US: f64 = 5.0;
const LATENCY_MAX_US: f64 = 10_000_000.0;
const CAPACITY_MIN_BPS: f64 = 1e3;
const CAPACITY_MAX_BPS: f64 = 1e13;
/// Mininet makes names of network interfaces of a switch's name, and Linux takes 15 characters.
const ID_CHARS_MAX: usize = 8;

pub(super) fn build(source: &Source<'_>, graph: Graph, format: Format, options: &Options) -> Result<Imported, Problem> {
    let too_many = |what: String, most: usize| Err(source.problem(0, 0, what, format!("at most {most}")));
    match (graph.nodes.len(), graph.edges.len()) {
        (0, _) => return Err(source.problem(0, 0, "the graph has no nodes", "at least one node")),
        (nodes, _) if nodes > NODES_MAX => return too_many(format!("{nodes} nodes"), NODES_MAX),
        (_, edges) if edges > 2 * LINKS_MAX => return too_many(format!("{edges} edges"), 2 * LINKS_MAX),
        _ => {}
    }
    let mut notes = graph.notes.clone();
    let mut names = Names::default();
    let mut topology = Topology::default();
    let mut labels = BTreeMap::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        let label = node.label.as_deref().unwrap_or(&node.key);
        let id = names.claim(label);
        if id.as_str() != label {
            labels.insert(id.clone(), label.to_owned());
        }
        let index = u16::try_from(at + 1).expect("the number of nodes was checked");
        topology.nodes.push(Node {
            id,
            index: NodeIndex(index),
            stage: Stage::Bridge,
            protocol: Protocol::OpenFlow,
            device: None,
            datapath: DatapathId(index.into()),
            router: None,
            risk_groups: Vec::new(),
        });
    }
    let edges = merged(graph.edges.clone(), &mut notes);
    if edges.len() > LINKS_MAX {
        return too_many(format!("{} links", edges.len()), LINKS_MAX);
    }
    let mut ports = vec![0_u32; topology.nodes.len()];
    let measures = measures(&graph, &edges, options, &mut notes);
    for (edge, (latency_us, capacity_bps)) in edges.iter().zip(measures) {
        let (a, b) = (end(&topology, &mut ports, edge.a), end(&topology, &mut ports, edge.b));
        topology.links.push(Link { a, b, latency_us, capacity_bps, kind: LinkKind::Data });
    }
    if let Some(crowded) = ports.iter().position(|used| *used > PORTS_MAX) {
        return too_many(format!("{} links at '{}'", ports[crowded], topology.nodes[crowded].id), PORTS_MAX as usize);
    }
    shape_notes(&graph, &edges, &mut notes);
    hosts(source, &graph, options, &mut names, &mut ports, &mut topology)?;
    let file = source.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let network = graph.name.as_deref().map(|name| format!(", network {name}")).unwrap_or_default();
    let mut header = vec![format!("Converted from {file} ({}{network}).", format.name())];
    header.extend(notes.iter().map(|note| format!("- {note}")));
    Ok(Imported { format, topology, comments: Comments { header, labels }, notes })
}

/// Open vSwitch's highest port number, less what hosts may take.
const PORTS_MAX: u32 = 60_000;

fn end(topology: &Topology, ports: &mut [u32], at: usize) -> LinkEnd {
    ports[at] += 1;
    LinkEnd { node: topology.nodes[at].id.clone(), port: Some(PortNo(ports[at])) }
}

/// Without self-loops; the first a→b and the first b→a are one link, the second ones another, and so on.
fn merged(edges: Vec<GraphEdge>, notes: &mut Vec<String>) -> Vec<GraphEdge> {
    let mut links: Vec<GraphEdge> = Vec::new();
    // Directed edges that wait for their counterpart, by (from, to).
    let mut waiting: HashMap<(usize, usize), VecDeque<usize>> = HashMap::new();
    let (mut loops, mut pairs, mut directed, mut unlike) = (0, 0, 0, 0);
    for edge in edges {
        if edge.a == edge.b {
            loops += 1;
            continue;
        }
        directed += usize::from(edge.directed);
        let counterpart = match edge.directed {
            true => waiting.get_mut(&(edge.b, edge.a)).and_then(VecDeque::pop_front),
            false => None,
        };
        match counterpart {
            Some(at) => {
                pairs += 1;
                let link = &mut links[at];
                unlike += usize::from(link.latency_us != edge.latency_us || link.capacity != edge.capacity);
                link.latency_us = larger(link.latency_us, edge.latency_us);
                link.capacity = smaller(link.capacity, edge.capacity);
            }
            None => {
                if edge.directed {
                    waiting.entry((edge.a, edge.b)).or_default().push_back(links.len());
                }
                links.push(edge);
            }
        }
    }
    let mut note = |count: usize, what: &str| {
        if count > 0 {
            notes.push(format!("{what}: {count}"));
        }
    };
    note(loops, "links of a switch to itself, left out");
    note(pairs, "pairs of directed edges, now one link each");
    note(unlike, "pairs that differ in their directions, with the lower capacity and the longer delay");
    note(directed - 2 * pairs, "directed edges without a counterpart, now links of both directions");
    links
}

fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).max_by(f64::total_cmp)
}

fn smaller(a: Option<Capacity>, b: Option<Capacity>) -> Option<Capacity> {
    let value = |capacity: &Capacity| match *capacity {
        Capacity::Bps(value) | Capacity::Bare(value) => value,
    };
    a.into_iter().chain(b).min_by(|a, b| value(a).total_cmp(&value(b)))
}

/// Latency in microseconds and capacity in bits a second of every link, within what the file format takes.
fn measures(graph: &Graph, edges: &[GraphEdge], options: &Options, notes: &mut Vec<String>) -> Vec<(u32, u64)> {
    let bare = edges.iter().filter_map(|edge| match edge.capacity {
        Some(Capacity::Bare(value)) => Some(value),
        _ => None,
    });
    let unit = bare.clone().max_by(f64::total_cmp).map(|largest| options.capacity_unit.bps(largest));
    if let Some(unit) = unit {
        notes.push(format!("capacities without a unit were taken as multiples of {unit} bit/s"));
    }
    let (mut far, mut near, mut unknown, mut without, mut bent) = (0, 0, 0, 0, 0);
    let mut within = |value: f64, least: f64, most: f64| {
        bent += usize::from(!(least..=most).contains(&value));
        value.clamp(least, most).round()
    };
    let mut measured = Vec::with_capacity(edges.len());
    for edge in edges {
        let distance = || Some(great_circle_km(graph.nodes[edge.a].place?, graph.nodes[edge.b].place?));
        let latency_us = match (edge.latency_us, distance()) {
            (Some(latency), _) => within(latency, 0.0, LATENCY_MAX_US),
            (None, Some(km)) if km * US_PER_KM >= LATENCY_MIN_US => {
                far += 1;
                (km * US_PER_KM).round()
            }
            (None, Some(_)) => {
                near += 1;
                LATENCY_MIN_US
            }
            (None, None) => {
                unknown += 1;
                f64::from(Link::LATENCY_US)
            }
        };
        let capacity_bps = match edge.capacity {
            Some(Capacity::Bps(bps)) => within(bps, CAPACITY_MIN_BPS, CAPACITY_MAX_BPS),
            Some(Capacity::Bare(value)) => within(value * unit.unwrap_or(1.0), CAPACITY_MIN_BPS, CAPACITY_MAX_BPS),
            None => {
                without += 1;
                Link::CAPACITY_BPS as f64
            }
        };
        // Both are whole and within ranges that the integers hold.
        measured.push((latency_us as u32, capacity_bps as u64));
    }
    let mut note = |count: usize, what: &str| {
        if count > 0 {
            notes.push(format!("{what}: {count}"));
        }
    };
    note(far, "links without a delay, at 5 us a km of the great circle between their ends");
    note(near, "links without a delay between nodes at one place, at 5 us");
    note(unknown, "links without a delay and places, at 100 us");
    note(without, "links without a capacity that can be read, at 1 Gbit/s");
    note(bent, "delays and capacities beyond what a file takes, at its bounds");
    measured
}

/// Distance of two places in degrees of latitude and longitude, by the haversine formula.
fn great_circle_km(a: (f64, f64), b: (f64, f64)) -> f64 {
    let (from, to) = (a.0.to_radians(), b.0.to_radians());
    let half = |angle: f64| (angle / 2.0).sin().powi(2);
    let haversine = half(to - from) + from.cos() * to.cos() * half((b.1 - a.1).to_radians());
    2.0 * EARTH_KM * haversine.clamp(0.0, 1.0).sqrt().asin()
}

/// What a reader of the file should know of its shape.
fn shape_notes(graph: &Graph, edges: &[GraphEdge], notes: &mut Vec<String>) {
    let mut pairs = HashSet::new();
    let parallel = edges.iter().filter(|edge| !pairs.insert((edge.a.min(edge.b), edge.a.max(edge.b)))).count();
    if parallel > 0 {
        notes.push(format!("links parallel to others, each with ports of its own: {parallel}"));
    }
    let mut parts = UnionFind::<usize>::new(graph.nodes.len());
    for edge in edges {
        parts.union(edge.a, edge.b);
    }
    let parts: BTreeSet<usize> = parts.into_labeling().into_iter().collect();
    if parts.len() > 1 {
        notes.push(format!("parts of the graph that do not reach each other: {}", parts.len()));
    }
    let mut places: HashMap<(u64, u64), usize> = HashMap::new();
    for (latitude, longitude) in graph.nodes.iter().filter_map(|node| node.place) {
        *places.entry((latitude.to_bits(), longitude.to_bits())).or_default() += 1;
    }
    let shared: usize = places.values().filter(|count| **count > 1).sum();
    if shared > 0 {
        notes.push(format!("nodes at the same place as another: {shared}"));
    }
}

/// Hosts of one subnet, on the switches that the file names, else on all.
fn hosts(
    source: &Source<'_>,
    graph: &Graph,
    options: &Options,
    names: &mut Names,
    ports: &mut [u32],
    topology: &mut Topology,
) -> Result<(), Problem> {
    let known = graph.nodes.iter().any(|node| node.has_hosts);
    // A file that knows where hosts hang shows it, even if nobody asks for more.
    let each = if known { options.hosts.max(1) } else { options.hosts };
    let at: Vec<usize> = (0..graph.nodes.len()).filter(|at| !known || graph.nodes[*at].has_hosts).collect();
    let count = at.len() as u64 * u64::from(each);
    if count > HOSTS_MAX as u64 {
        return Err(source.problem(0, 0, format!("{count} hosts"), format!("at most {HOSTS_MAX}")));
    }
    let mut number = 0_u32;
    for at in at {
        for _ in 0..each {
            number += 1;
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) | number);
            let [a, b, c, d] = address.octets();
            topology.hosts.push(Host {
                id: names.numbered('h').as_str().to_owned(),
                address,
                prefix_len: 8,
                gateway: None,
                mac: Some(MacAddr([0, 0, a, b, c, d])),
                attached: end(topology, ports, at),
            });
        }
    }
    Ok(())
}

/// Gives out names that are valid, short and unique.
#[derive(Debug, Default)]
struct Names {
    taken: HashSet<String>,
    /// The last number tried behind a beginning.
    numbers: HashMap<String, u32>,
}

impl Names {
    /// The label without what a name cannot hold, cut to length, with a number where another has it already.
    fn claim(&mut self, label: &str) -> NodeId {
        let name = short(label);
        if self.taken.insert(name.clone()) {
            return NodeId::new(&name);
        }
        loop {
            let number = self.numbers.entry(name.clone()).or_insert(1);
            *number += 1;
            let digits = number.to_string();
            let cut = name.len().min(ID_CHARS_MAX - digits.len());
            let numbered = format!("{}{digits}", &name[..cut]);
            if self.taken.insert(numbered.clone()) {
                return NodeId::new(&numbered);
            }
        }
    }

    /// The next free of `h1`, `h2`, …
    fn numbered(&mut self, prefix: char) -> NodeId {
        loop {
            let number = self.numbers.entry(format!("{prefix}#")).or_insert(0);
            *number += 1;
            let name = format!("{prefix}{number}");
            if self.taken.insert(name.clone()) {
                return NodeId::new(&name);
            }
        }
    }
}

/// At most 8 letters and digits, the first a letter: `New York` is `NewYork`, `17` is `s17`.
fn short(label: &str) -> String {
    let mut name: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        name.insert(0, 's');
    }
    name.truncate(ID_CHARS_MAX);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_valid_and_unique() {
        let mut names = Names::default();
        let labels = ["New York", "NewYork", "17", "17", "Washington DC", "Washingtonia", "?", "", "Zürich", "s2"];
        let found: Vec<String> = labels.iter().map(|label| names.claim(label).to_string()).collect();
        assert_eq!(found, ["NewYork", "NewYork2", "s17", "s172", "Washingt", "Washing2", "s", "s2", "Zrich", "s22"]);
        let mut names = Names::default();
        for _ in 0..20_000 {
            let name = names.claim("Stockholm");
            assert!(name.as_str().len() <= ID_CHARS_MAX);
        }
    }

    /// Distances between airports that tables give as 5,837 km (JFK-CDG) and, half around, 20,015 km.
    #[test]
    fn distances_are_those_of_the_sphere() {
        let (jfk, cdg) = ((40.639_8, -73.778_9), (49.012_8, 2.55));
        assert!((great_circle_km(jfk, cdg) - 5_837.0).abs() < 20.0, "{}", great_circle_km(jfk, cdg));
        assert!((great_circle_km((90.0, 0.0), (-90.0, 0.0)) - 20_015.0).abs() < 1.0);
        assert!(great_circle_km(jfk, jfk).abs() < 1e-9);
    }
}
