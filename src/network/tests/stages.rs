//! Stages are recovered from fabrics whose stages were generated, and from no other.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::config::generate::{Settings, Shape, Staged, generate};
use crate::config::{LinkKind, RouterSettings, Stage, Topology};
use crate::network::stages::{Fabric, Inferred, infer, staged};
use crate::types::{NodeId, NodeIndex};

fn make(shape: &Shape, routers: Option<(u32, u32)>) -> Topology {
    let staged = routers.map(|(routers, mirrors)| Staged {
        routers,
        outside: 2,
        mirrors,
        servers: 1,
        capacity_connections: 500,
        threshold_available: 50,
        mirror_latency_us: 100,
    });
    let settings = Settings { hosts: 1, latency_us: 100, capacity_bps: 1_000_000_000, staged };
    generate(shape, &settings).expect("good parameters")
}

/// The same fabric with its nodes and links in another order, as bridges: nothing but the wiring and the hosts is left.
fn shuffled(topology: &Topology, seed: u64) -> (Topology, Vec<(NodeId, Stage)>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut shuffled = topology.clone();
    shuffled.nodes.shuffle(&mut rng);
    shuffled.links.shuffle(&mut rng);
    let stages = shuffled.nodes.iter().map(|node| (node.id.clone(), node.stage)).collect();
    for (index, node) in (1..).zip(&mut shuffled.nodes) {
        (node.index, node.stage, node.router) = (NodeIndex(index), Stage::Bridge, None);
    }
    for link in &mut shuffled.links {
        link.kind = LinkKind::Data;
    }
    shuffled.services.clear();
    (shuffled, stages)
}

fn stage_of(inferred: &Inferred, topology: &Topology, id: &NodeId) -> Stage {
    inferred.stages[&topology.node(id).expect("declared").index].stage
}

const SETTINGS: RouterSettings = RouterSettings {
    capacity_connections: 500,
    threshold_available: 50,
    idle_timeout_s: RouterSettings::IDLE_TIMEOUT_S,
    closing_timeout_s: RouterSettings::CLOSING_TIMEOUT_S,
    half_open_timeout_s: RouterSettings::HALF_OPEN_TIMEOUT_S,
    source_nat: None,
};

fn tiered() -> Vec<Shape> {
    vec![
        Shape::LeafSpine { leaves: 2, spines: 1 },
        Shape::LeafSpine { leaves: 4, spines: 2 },
        Shape::LeafSpine { leaves: 9, spines: 5 },
        Shape::Clos { pods: 1, leaves: 2, aggregations: 2, cores: 1 },
        Shape::Clos { pods: 2, leaves: 3, aggregations: 2, cores: 2 },
        Shape::Clos { pods: 4, leaves: 2, aggregations: 3, cores: 4 },
        Shape::FatTree { k: 2 },
        Shape::FatTree { k: 4 },
        Shape::FatTree { k: 8 },
    ]
}

#[test]
fn the_stages_of_generated_fabrics_are_recovered() {
    for (seed, shape) in (0..).zip(tiered()) {
        for (routers, mirrors) in [(3, 2), (4, 2), (4, 3), (7, 3)] {
            let original = make(&shape, Some((routers, mirrors)));
            let (blank, stages) = shuffled(&original, seed);
            let outside = [NodeId::new("o1"), NodeId::new("o2")];
            for servers in [&outside[..], &[]] {
                let inferred = infer(&Fabric::of(&blank, servers));
                for (id, stage) in &stages {
                    assert_eq!(stage_of(&inferred, &blank, id), *stage, "{shape:?}, {id}: {}", inferred.summary);
                }
                for (router, candidates) in &inferred.shadows {
                    let joined = candidates.iter().filter(|other| other.joined).count();
                    assert!(joined >= 2, "{router}: {candidates:?}");
                    assert!(candidates[0].joined && candidates[0].distance == 1);
                    assert!(candidates[0].common_neighbours >= 3, "both outside switches and the top: {candidates:?}");
                }
                let again = staged(&blank, &inferred, &SETTINGS).expect("stages");
                let kinds =
                    |topology: &Topology| topology.links.iter().filter(|link| link.kind == LinkKind::Mirror).count();
                assert_eq!(kinds(&again), kinds(&original));
                let text = again.to_yaml();
                let read = crate::config::parse_topology(std::path::Path::new("staged.yaml"), &text);
                assert_eq!(read.as_ref(), Ok(&again), "{text}");
            }
        }
    }
}

#[test]
fn fabrics_without_servers_have_no_first_stage() {
    for (seed, shape) in (0..).zip(tiered()) {
        let (blank, _) = shuffled(&make(&shape, None), seed);
        let inferred = infer(&Fabric::of(&blank, &[]));
        for node in &blank.nodes {
            let expected = if node.id.as_str().starts_with('t') { Stage::Access } else { Stage::Transit };
            assert_eq!(inferred.stages[&node.index].stage, expected, "{shape:?}, {}: {}", node.id, inferred.summary);
        }
        let why = staged(&blank, &inferred, &SETTINGS).expect_err("no router");
        assert!(why.contains("no switch is known to face servers"), "{why}");
    }
}

#[test]
fn what_has_no_layers_is_bridges_and_says_why() {
    let shapes = [
        (Shape::Torus { rows: 3, columns: 3 }, "are joined and equally near to hosts"),
        (Shape::Torus { rows: 4, columns: 5 }, "are joined and equally near to hosts"),
        (Shape::Mesh { switches: 20, links: 40, seed: 3 }, "are joined and equally near to hosts"),
        (Shape::Linear { switches: 4 }, "are joined and equally near to hosts"),
        (Shape::Linear { switches: 1 }, "one switch alone has hosts"),
    ];
    for (shape, expected) in shapes {
        let topology = make(&shape, None);
        let inferred = infer(&Fabric::of(&topology, &[]));
        assert!(inferred.stages.values().all(|inferred| inferred.stage == Stage::Bridge), "{shape:?}");
        assert!(inferred.summary.contains(expected), "{shape:?}: {}", inferred.summary);
        assert_eq!(inferred.stages.len(), topology.nodes.len());
        staged(&topology, &inferred, &SETTINGS).expect_err("bridges");
    }
    let mut blank = make(&Shape::FatTree { k: 4 }, None);
    blank.hosts.clear();
    assert!(infer(&Fabric::of(&blank, &[])).summary.contains("no host is known"));
    // A torus of even rings in two colours, hosts on one of them: bipartite, but no leaf reaches all others by one spine.
    let mut torus = make(&Shape::Torus { rows: 6, columns: 6 }, None);
    torus.hosts.retain(|host| {
        let (row, column) = host.attached.node.as_str()[1..].split_once('x').expect("sRxC");
        (row.len() + row.parse::<usize>().expect("a row") + column.parse::<usize>().expect("a column")) % 2 == 0
    });
    let inferred = infer(&Fabric::of(&torus, &[]));
    assert!(inferred.summary.contains("by going up and then down"), "{}", inferred.summary);
}

#[test]
fn a_cut_link_or_a_strange_one_is_no_panic_and_no_lie() {
    let original = make(&Shape::LeafSpine { leaves: 3, spines: 2 }, Some((3, 2)));
    let (blank, stages) = shuffled(&original, 1);
    // One link less leaves the layers as they are, wherever two lead up.
    for cut in 0..blank.links.len() {
        let mut less = blank.clone();
        less.links.remove(cut);
        let inferred = infer(&Fabric::of(&less, &[NodeId::new("o1"), NodeId::new("o2")]));
        assert!(stages.iter().all(|(id, stage)| stage_of(&inferred, &less, id) == *stage), "{}", inferred.summary);
    }
    // One from a leaf to an outside switch makes bridges of all.
    let mut more = blank.clone();
    let mut strange = more.links[0].clone();
    (strange.a.node, strange.b.node) = (NodeId::new("t1"), NodeId::new("o1"));
    more.links.push(strange);
    let inferred = infer(&Fabric::of(&more, &[NodeId::new("o1"), NodeId::new("o2")]));
    assert!(inferred.summary.contains("has hosts and joins a switch that faces servers"), "{}", inferred.summary);
    // Links of nodes that are not known, and of one to itself, count for nothing.
    let odd = Fabric {
        nodes: vec![NodeIndex(1)],
        links: vec![(NodeIndex(1), NodeIndex(1)), (NodeIndex(1), NodeIndex(9))],
        hosts: [NodeIndex(1), NodeIndex(9)].into(),
        servers: [NodeIndex(9)].into(),
    };
    assert!(infer(&odd).summary.contains("one switch alone has hosts"));
    assert!(infer(&Fabric::default()).stages.is_empty());
}
