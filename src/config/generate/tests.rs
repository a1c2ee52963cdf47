use std::path::Path;

use petgraph::unionfind::UnionFind;
use proptest::prelude::*;

use super::*;
use crate::config::parse_topology;

fn bridged(hosts: u32) -> Settings {
    Settings { hosts, latency_us: 100, capacity_bps: 1_000_000_000, staged: None }
}

fn staged(routers: u32, outside: u32, mirrors: u32) -> Settings {
    let staged = Staged {
        routers,
        outside,
        mirrors,
        servers: 1,
        capacity_connections: 500,
        threshold_available: 50,
        mirror_latency_us: 150,
    };
    Settings { staged: Some(staged), ..bridged(1) }
}

fn is_good(topology: &Topology) {
    let text = topology.to_yaml();
    let again = parse_topology(Path::new("generated.yaml"), &text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(&again, topology);
    let at = |id: &NodeId| usize::from(topology.node(id).expect("declared").index.0) - 1;
    let mut parts = UnionFind::<usize>::new(topology.nodes.len());
    for link in &topology.links {
        parts.union(at(&link.a.node), at(&link.b.node));
    }
    assert!((0..topology.nodes.len()).all(|node| parts.equiv(0, node)), "not connected");
    assert!(topology.nodes.iter().all(|node| node.id.as_str().len() <= 8), "Mininet takes 8 characters");
    for router in topology.routers() {
        let mirrors = topology.links.iter().filter(|link| link.kind == LinkKind::Mirror);
        let own = mirrors.filter(|link| link.a.node == router.id || link.b.node == router.id).count();
        assert!(own >= 2, "{} has {own} mirror links", router.id);
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        (1_u32..12, 1_u32..6).prop_map(|(leaves, spines)| Shape::LeafSpine { leaves, spines }),
        (1_u32..5, 1_u32..5, 1_u32..4, 1_u32..4).prop_map(|(pods, leaves, aggregations, cores)| Shape::Clos {
            pods,
            leaves,
            aggregations,
            cores
        }),
        (1_u32..5).prop_map(|half| Shape::FatTree { k: 2 * half }),
    ]
}

fn flat_shapes() -> impl Strategy<Value = Shape> {
    let mesh = (1_u32..60).prop_flat_map(|switches| {
        (Just(switches), switches - 1..=switches * (switches - 1) / 2, any::<u64>())
            .prop_map(|(switches, links, seed)| Shape::Mesh { switches, links, seed })
    });
    prop_oneof![
        shapes(),
        (1_u32..40).prop_map(|switches| Shape::Linear { switches }),
        (1_u32..6, 1_u32..4).prop_map(|(depth, fanout)| Shape::Tree { depth, fanout }),
        (3_u32..8, 3_u32..8).prop_map(|(rows, columns)| Shape::Torus { rows, columns }),
        mesh,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn staged_fabrics_are_good(
        shape in shapes(),
        (routers, mirrors) in (3_u32..9).prop_flat_map(|routers| (Just(routers), 2..routers)),
        outside in 1_u32..4,
        hosts in 0_u32..4,
    ) {
        let settings = Settings { hosts, ..staged(routers, outside, mirrors) };
        is_good(&generate(&shape, &settings).expect("good parameters"));
    }

    #[test]
    fn bridged_fabrics_are_good(shape in flat_shapes(), hosts in 0_u32..4) {
        let topology = generate(&shape, &bridged(hosts)).expect("good parameters");
        is_good(&topology);
        prop_assert_eq!(&topology, &generate(&shape, &bridged(hosts)).expect("the same again"));
        if let Shape::Mesh { links, .. } = shape {
            prop_assert_eq!(topology.links.len(), links as usize);
        }
    }

    #[test]
    fn any_numbers_are_a_fabric_or_an_error(numbers: [u32; 4], which in 0..7, seed: u64) {
        let [a, b, c, d] = numbers;
        let shape = match which {
            0 => Shape::LeafSpine { leaves: a, spines: b },
            1 => Shape::Clos { pods: a, leaves: b, aggregations: c, cores: d },
            2 => Shape::FatTree { k: a },
            3 => Shape::Linear { switches: a },
            4 => Shape::Tree { depth: a % 20, fanout: b },
            5 => Shape::Torus { rows: a, columns: b },
            _ => Shape::Mesh { switches: a, links: b, seed },
        };
        if let Err(error) = generate(&shape, &bridged(c % 3)) {
            prop_assert!(error.to_string().contains("expected"));
        }
    }
}

/// Numbers of the published shapes: Al-Fares et al. for the fat-tree, the sums of the tiers for the others.
#[test]
fn sizes_are_those_of_the_papers() {
    let count = |shape: Shape| {
        let topology = generate(&shape, &bridged(2)).expect("good parameters");
        (topology.nodes.len(), topology.links.len(), topology.hosts.len())
    };
    assert_eq!(count(Shape::FatTree { k: 4 }), (20, 32, 16));
    assert_eq!(count(Shape::FatTree { k: 8 }), (80, 256, 64));
    assert_eq!(count(Shape::LeafSpine { leaves: 8, spines: 4 }), (12, 32, 16));
    assert_eq!(count(Shape::Clos { pods: 3, leaves: 4, aggregations: 2, cores: 5 }), (3 * 6 + 10, 3 * 2 * 9, 24));
    assert_eq!(count(Shape::Torus { rows: 3, columns: 4 }), (12, 24, 24));
    assert_eq!(count(Shape::Tree { depth: 3, fanout: 2 }), (7, 6, 8));
    assert_eq!(count(Shape::Linear { switches: 8 }), (8, 7, 16));
    assert_eq!(count(Shape::Linear { switches: 1 }), (1, 0, 2));
}

#[test]
fn bad_parameters_are_told() {
    let cases: [(Shape, Settings, &str); 8] = [
        (Shape::FatTree { k: 5 }, bridged(1), "-k is 5; expected an even number from 2 to 64"),
        (Shape::Torus { rows: 2, columns: 3 }, bridged(1), "--rows is 2; expected 3 to 999"),
        (Shape::Mesh { switches: 4, links: 7, seed: 0 }, bridged(1), "--links is 7; expected 3 to 6"),
        (Shape::LeafSpine { leaves: 2, spines: 2 }, staged(2, 1, 2), "--routers is 2; expected 3 to 256"),
        (Shape::LeafSpine { leaves: 2, spines: 2 }, staged(4, 1, 4), "--mirrors is 4; expected 2 to 3"),
        (
            Shape::Linear { switches: 3 },
            staged(3, 1, 2),
            "this shape has no stages; expected a leaf-spine, clos or fat-tree fabric",
        ),
        (
            Shape::LeafSpine { leaves: 60_000, spines: 10_000 },
            bridged(1),
            "a fabric of 70000 switches and 600000000 links; expected at most 65535 switches and 300000 links",
        ),
        (Shape::Linear { switches: 60_000 }, bridged(2), "the number of hosts is 120000; expected 0 to 100000"),
    ];
    for (shape, settings, expected) in cases {
        assert_eq!(generate(&shape, &settings).expect_err("refused").to_string(), expected);
    }
}

/// A mesh's seed is the mesh.
#[test]
fn seeds_differ() {
    let mesh = |seed| generate(&Shape::Mesh { switches: 30, links: 60, seed }, &bridged(1)).expect("good parameters");
    assert_ne!(mesh(1), mesh(2));
}
