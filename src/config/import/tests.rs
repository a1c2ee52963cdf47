use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::config::{Host, Link};

const SAMPLES: [(&str, Format); 6] = [
    ("towns.graphml", Format::GraphMl),
    ("towns.gml", Format::Gml),
    ("towns.xml", Format::SndLib),
    ("towns.graph", Format::Repetita),
    ("towns.json", Format::NodeLink),
    ("leaves.topology", Format::Netbench),
];

fn sample(name: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/topology")).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(name: &str, bytes: &[u8]) -> Result<Imported, Vec<Problem>> {
    import(Path::new(name), bytes, None, &Options::default())
}

/// What is read passes the checks of our own format, and equals itself when it was written and read.
fn is_good(imported: &Imported) {
    let text = imported.topology.to_yaml_with(&imported.comments);
    let again = parse_topology(Path::new("written.yaml"), &text);
    assert_eq!(again.as_ref(), Ok(&imported.topology), "{text}");
}

fn links(topology: &Topology) -> Vec<(String, u32, u64)> {
    let short = |link: &Link| (format!("{} {}", link.a, link.b), link.latency_us, link.capacity_bps);
    topology.links.iter().map(short).collect()
}

fn link(ends: &str, latency_us: u32, capacity_bps: u64) -> (String, u32, u64) {
    (ends.to_owned(), latency_us, capacity_bps)
}

#[test]
fn samples_are_recognised_and_good() {
    for (name, format) in SAMPLES {
        let imported = read(name, &sample(name)).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(imported.format, format, "{name}");
        is_good(&imported);
        let text = imported.topology.to_yaml();
        let again = import(Path::new("a.yaml"), text.as_bytes(), None, &Options::default()).expect("our own");
        assert_eq!((again.format, again.topology), (Format::Yaml, imported.topology));
    }
}

/// One degree of latitude is 111.195 km, which light in fibre passes in 556 us.
#[test]
fn graphml_is_read_whole() {
    let imported = read("towns.graphml", &sample("towns.graphml")).expect("good");
    assert_eq!(
        links(&imported.topology),
        [
            link("AdenBray:1 Cork:1", 556, 155_000_000),
            link("Cork:2 Cork2:1", 5, 2_500_000_000),
            link("Cork:3 Cork2:2", 5, 155_520_000),
            link("Cork2:3 Derrys:1", 100, 1_000_000_000),
        ]
    );
    assert_eq!(
        imported.notes,
        [
            "1 hyperedges were left out",
            "links of a switch to itself, left out: 1",
            "links without a delay, at 5 us a km of the great circle between their ends: 1",
            "links without a delay between nodes at one place, at 5 us: 2",
            "links without a delay and places, at 100 us: 1",
            "links without a capacity that can be read, at 1 Gbit/s: 1",
            "links parallel to others, each with ports of its own: 1",
            "nodes at the same place as another: 2",
        ]
    );
    let labels: Vec<_> = imported.comments.labels.iter().map(|(id, label)| format!("{id}={label}")).collect();
    assert_eq!(labels, ["AdenBray=Aden & Bray", "Cork2=Cork", "Derrys=Derry's"]);
    assert_eq!(imported.comments.header[0], "Converted from towns.graphml (graphml, network Towns).");
}

#[test]
fn the_other_formats_are_read_whole() {
    let read = |name| read(name, &sample(name)).expect("good");
    let gml = read("towns.gml");
    assert_eq!(
        links(&gml.topology),
        [link("AdenBray:1 Cork:1", 556, 10_000_000_000), link("Cork:2 Kln:1", 3_000, 100_000_000)]
    );
    assert!(gml.notes.contains(&"parts of the graph that do not reach each other: 2".to_owned()), "{:?}", gml.notes);
    assert_eq!(gml.comments.labels.get(&"Kln".into()).map(String::as_str), Some("Köln"));
    let sndlib = read("towns.xml");
    assert_eq!(
        links(&sndlib.topology),
        [link("Aden:1 Bray:1", 556, 9_920_000_000), link("Bray:2 Cork:1", 350, 40_000_000)]
    );
    let repetita = read("towns.graph");
    assert_eq!(
        links(&repetita.topology),
        [
            link("Aden:1 BrayHead:1", 500, 155_000_000),
            link("BrayHead:2 Cork:1", 310, 40_000_000),
            link("Aden:2 Cork:2", 900, 1_000_000),
        ]
    );
    assert_eq!(repetita.notes[0], "pairs of directed edges, now one link each: 2");
    let node_link = read("towns.json");
    assert_eq!(
        links(&node_link.topology),
        [link("s0:1 Bray:1", 100, 5_000_000_000), link("Bray:2 faraway:1", 2_500, 100_000_000)]
    );
    let netbench = read("leaves.topology");
    assert_eq!((netbench.topology.nodes.len(), netbench.topology.links.len()), (6, 8));
    let hosts: Vec<String> = netbench.topology.hosts.iter().map(|host: &Host| host.attached.to_string()).collect();
    assert_eq!(hosts, ["s0:3", "s1:3", "s2:3", "s3:3"]);
}

#[test]
fn units_and_hosts_are_asked_for() {
    let options = Options { capacity_unit: CapacityUnit::Kbps, hosts: 2 };
    let imported = import(Path::new("towns.json"), &sample("towns.json"), None, &options).expect("good");
    assert_eq!(imported.topology.links[0].capacity_bps, 5_000_000);
    assert_eq!(imported.topology.hosts.len(), 6);
    is_good(&imported);
}

#[test]
fn problems_say_where_what_and_what_instead() {
    let xml = |inside: &str| format!("<graphml>\n<graph>\n{inside}\n</graph>\n</graphml>");
    let cases: [(String, &str); 22] = [
        (String::new(), "f: the format is not recognised; expected one of graphml, gml"),
        ("<html></html>".into(), "f: the format is not recognised"),
        (xml("<node/>"), "f:3:1: a 'node' lacks the attribute 'id'; expected id=\"…\""),
        (xml("<node id='a'/>\n<node id='a'/>"), "f:4:1: the node 'a' is declared twice; expected"),
        (xml("<node id='a'/><edge source='a' target='b'/>"), "f:3:1: an edge ends at 'b', which is not declared"),
        (xml("<node id='a'>"), "f:4:1: expected 'node' tag, not 'graph'"),
        (xml(""), "f: the graph has no nodes; expected at least one node"),
        ("<graphml>\n</graphml>".into(), "f:1:1: the root element is 'graphml'; expected 'graphml' with a 'graph'"),
        ("<network>\n</network>".into(), "f:1:1: the root element is 'network'; expected 'network' with"),
        ("graph [\nnode [ id 1 ]\n".into(), "f:1:1: the file ends inside a list; expected ']'"),
        ("graph [\nnode [ label \"x\" ] ]".into(), "f:2:1: a 'node' lacks the key 'id'"),
        ("graph [\nnode [ id 1 label \"x ] ]".into(), "f:2:1: a text that does not end; expected '\"'"),
        ("graph [\nnode 7\n]".into(), "f:2:1: 'node' is '7'; expected 'node [ … ]'"),
        ("graph [ ] ]".into(), "f:1:1: ']' closes nothing; expected a key"),
        ("NODES x\n".into(), "f:1:1: 'NODES x'; expected 'NODES ' and how many there are"),
        ("NODES 2\nlabel x y\na 1 2\n".into(), "f: the file ends; expected a node: label x y"),
        (
            "NODES 1\nlabel x y\na 1 2\nEDGES 1\nlabel\ne 0 1 1 1 1\n".into(),
            "f:6:1: an edge ends at '1'; expected the number of one of the 1 nodes, from 0",
        ),
        ("NODES 0\nlabel\nEDGES 0\nlabel\nmore\n".into(), "f:5:1: 'more'; expected the file's end after 0 edges"),
        ("{\"nodes\": [}".into(), "f:1:12: expected value; expected JSON"),
        ("{\"nodes\": [],\n \"links\": 3}".into(), "f:2:11: 'links' is 3; expected 'links' with a list of maps"),
        ("|V|=2\n0 1 2\n".into(), "f:2:1: '0 1 2'; expected an edge: two node numbers"),
        ("|V|=2\n0 2\n".into(), "f:2:1: '0 2'; expected node numbers below |V|, which is 2"),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        let problems = read("f", text.as_bytes()).expect_err(&text);
        let found = problems[0].to_string();
        if !found.starts_with(expected) {
            wrong.push(format!("{text:?}\n  {found}\n  {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let problems = read("f", b"<graphml>\n\xff").expect_err("not UTF-8");
    assert_eq!(problems[0].to_string(), "f:2:1: the byte 0xff; expected UTF-8 text");
}

/// Depth costs neither the stack nor a panic.
#[test]
fn deep_and_endless_files_are_refused() {
    let deep = [
        format!("<graphml>{}", "<graph>".repeat(200_000)),
        format!("<graphml><graph>{}{}</graph></graphml>", "<node id='a'>".repeat(20_000), "</node>".repeat(20_000)),
        format!("graph {}", "[ a ".repeat(200_000)),
        format!("{{\"nodes\": {}", "[".repeat(200_000)),
        format!("{{\"nodes\": {}{}}}", "[".repeat(100), "]".repeat(100)),
        "NODES 99999999999\nlabel\n".to_owned(),
        "|V|=99999999999\n".to_owned(),
        "|V|=9\nToRs=incl_range(0,99999999999)\n".to_owned(),
        "graph [ node [ id 1 ]".to_owned() + &" node [ id 2 ]".repeat(2),
    ];
    for text in deep {
        // The second is a graph of one node, all others are problems.
        if let Ok(imported) = read("f", text.as_bytes()) {
            is_good(&imported);
        }
    }
}

#[test]
fn latin_1_is_read_where_it_is_declared() {
    let text = b"<?xml version='1.0' encoding='ISO-8859-1'?><graphml><key attr.name='label' for='node' id='l'/><graph><node id='a'><data key='l'>K\xf6ln</data></node></graph></graphml>";
    let imported = read("f", text).expect("good");
    assert_eq!(imported.comments.labels.values().collect::<Vec<_>>(), ["Köln"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Changed bytes, cut ends and doubled parts of good files: what is still read is good.
    #[test]
    fn mutated_files_are_good_or_a_problem(
        which in 0..SAMPLES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..8),
    ) {
        let (name, format) = SAMPLES[which];
        let mut bytes = sample(name);
        for (at, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at),
                _ => {
                    let end = (at + usize::from(byte)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        for format in [None, Some(format)] {
            match import(Path::new(name), &bytes, format, &Options::default()) {
                Ok(imported) => is_good(&imported),
                Err(problems) => prop_assert!(!problems.is_empty() && !problems[0].expected.is_empty()),
            }
        }
    }

    #[test]
    fn any_text_is_good_or_a_problem(text in "\\PC{0,200}", format in 0..Format::ALL.len()) {
        if let Ok(imported) = import(Path::new("f"), text.as_bytes(), Some(Format::ALL[format]), &Options::default()) {
            is_good(&imported);
        }
    }
}
