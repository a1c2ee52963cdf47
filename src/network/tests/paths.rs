//! Next hops on the Clos and on a two-stage fabric, with links in any state.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{clos, index, read};
use crate::config::{LinkKind, Stage, Topology};
use crate::network::paths::{Paths, Shadows};
use crate::network::{LinkState, Trust, WiredLink, declared_links};
use crate::plan::NextHop;

fn hops(topology: &Topology, paths: &Paths, from: &str, to: &str) -> Vec<(u8, u32)> {
    paths.next_hops(index(topology, from), index(topology, to)).iter().map(|hop| (hop.rank, hop.port.0)).collect()
}

fn shadows(topology: &Topology, pairs: &[(&str, &[&str])]) -> Shadows {
    pairs
        .iter()
        .map(|(router, shadows)| (index(topology, router), shadows.iter().map(|name| index(topology, name)).collect()))
        .collect()
}

fn break_link(topology: &Topology, links: &mut [WiredLink], a: &str, b: &str, trust: Trust) {
    let (a, b) = (index(topology, a), index(topology, b));
    let link = links.iter_mut().find(|link| link.kind == LinkKind::Data && (link.a, link.b) == (a, b));
    link.expect("a declared link").trust = trust;
}

#[test]
fn clos_next_hops() {
    let topology = clos();
    let paths = Paths::compute(&topology, &declared_links(&topology), &BTreeMap::new());
    let hops = |from, to| hops(&topology, &paths, from, to);
    // Third stage: both second-stage switches share.
    assert_eq!(hops("t1", "r3"), [(0, 1), (0, 2)]);
    assert_eq!(hops("t1", "t2"), [(0, 1), (0, 2)]);
    assert_eq!(hops("t1", "o1"), [], "only a router knows what is outside");
    // Second stage: straight on.
    assert_eq!(hops("s1", "r3"), [(0, 6)]);
    assert_eq!(hops("s2", "t3"), [(0, 3)]);
    // First stage: outside directly, hosts through the second stage; never over mirror links to each other.
    assert_eq!(hops("r2", "o1"), [(0, 3)]);
    assert_eq!(hops("r2", "o2"), [(0, 4)]);
    assert_eq!(hops("r2", "t1"), [(0, 1), (0, 2)]);
    assert_eq!(hops("r2", "r1"), []);
    // Outside: to the routers.
    assert_eq!(hops("o2", "r4"), [(0, 4)]);
    assert_eq!(hops("o2", "t1"), []);
}

#[test]
fn shadows_take_over_at_the_neighbours_of_a_router() {
    let topology = clos();
    let shadows = shadows(&topology, &[("r1", &["r3", "r2"]), ("r2", &["r1"])]);
    let paths = Paths::compute(&topology, &declared_links(&topology), &shadows);
    let hops = |from, to| hops(&topology, &paths, from, to);
    assert_eq!(hops("s1", "r1"), [(0, 4), (1, 6), (2, 5)]);
    assert_eq!(hops("s2", "r2"), [(0, 5), (1, 4)], "a shadow's own shadows are not its router's");
    assert_eq!(hops("s1", "r3"), [(0, 6)], "a router without shadows");
    assert_eq!(hops("o1", "r1"), [(0, 1), (1, 3), (2, 2)]);
    assert_eq!(hops("t1", "r1"), [(0, 1), (0, 2)], "two hops away nothing is known of the router's port");
}

#[test]
fn broken_links_are_passed_over() {
    let topology = clos();
    let mut links = declared_links(&topology);
    let shadows = shadows(&topology, &[("r1", &["r2"])]);
    break_link(&topology, &mut links, "s1", "r1", Trust::Dead);
    let paths = Paths::compute(&topology, &links, &shadows);
    assert_eq!(hops(&topology, &paths, "t1", "r1"), [(0, 2)], "by the other second-stage switch");
    assert_eq!(hops(&topology, &paths, "s1", "r1"), [(1, 5)], "not down and up again; the shadow stands in");
    // With both gone, the third stage sends on, and the second stage gives it to the shadow.
    break_link(&topology, &mut links, "s2", "r1", Trust::Dead);
    let paths = Paths::compute(&topology, &links, &shadows);
    assert_eq!(hops(&topology, &paths, "t1", "r1"), [(1, 1), (1, 2)]);
    assert_eq!(hops(&topology, &paths, "o1", "r1"), [(0, 1), (1, 2)]);
    let alone = Paths::compute(&topology, &links, &BTreeMap::new());
    assert_eq!(hops(&topology, &alone, "t1", "r1"), []);
}

#[test]
fn doubtful_links_are_the_last_resort() {
    let topology = clos();
    let mut links = declared_links(&topology);
    break_link(&topology, &mut links, "t1", "s1", Trust::Doubtful);
    let paths = Paths::compute(&topology, &links, &BTreeMap::new());
    assert_eq!(hops(&topology, &paths, "t1", "r1"), [(0, 2)]);
    break_link(&topology, &mut links, "t1", "s2", Trust::Doubtful);
    let paths = Paths::compute(&topology, &links, &BTreeMap::new());
    assert_eq!(hops(&topology, &paths, "t1", "r1"), [(0, 1), (0, 2)]);
}

#[test]
fn two_stage_fabrics_have_routers_next_to_the_hosts() {
    let topology = read(
        "nodes:
  - {id: o1, stage: 0, dpid: 1}
  - {id: r1, stage: 1, dpid: 2, capacity_connections: 9}
  - {id: r2, stage: 1, dpid: 3, capacity_connections: 9}
  - {id: t1, stage: 3, dpid: 4}
  - {id: t2, stage: 3, dpid: 5}
links:
  - {a: \"t1:1\", b: \"r1:1\"}
  - {a: \"t1:2\", b: \"r2:1\"}
  - {a: \"t2:1\", b: \"r1:2\"}
  - {a: \"r1:3\", b: \"o1:1\"}
  - {a: \"r2:3\", b: \"o1:2\"}
  - {a: \"r1:4\", b: \"r2:4\", kind: mirror}
",
    );
    let shadows = shadows(&topology, &[("r1", &["r2"]), ("r2", &["r1"])]);
    let paths = Paths::compute(&topology, &declared_links(&topology), &shadows);
    let hops = |from, to| hops(&topology, &paths, from, to);
    assert_eq!(hops("t1", "r1"), [(0, 1), (1, 2)]);
    assert_eq!(hops("t2", "r1"), [(0, 1)], "its shadow is out of reach");
    assert_eq!(hops("t2", "r2"), [(1, 1)]);
    assert_eq!(hops("r1", "t2"), [(0, 2)]);
    assert_eq!(hops("t1", "t2"), [], "routers do not carry traffic between hosts");
    assert_eq!(hops("o1", "r2"), [(0, 2), (1, 1)]);
}

/// Follows every choice of rank 0 from `from` and says whether all of them arrive.
fn all_arrive(topology: &Topology, links: &[WiredLink], paths: &Paths, from: &str, to: &str) -> bool {
    let target = index(topology, to);
    let mut at = vec![(index(topology, from), 0)];
    while let Some((node, steps)) = at.pop() {
        if node == target {
            continue;
        }
        let stage = topology.by_index(node).expect("a node").stage;
        if steps > topology.nodes.len() || (steps > 0 && stage != Stage::Transit) {
            return false;
        }
        let hops: Vec<NextHop> = paths.next_hops(node, target).iter().copied().filter(|hop| hop.rank == 0).collect();
        if hops.is_empty() {
            return false;
        }
        for hop in hops {
            let link = links.iter().find(|link| link.seen_from(node).is_some_and(|(port, _)| port == Some(hop.port)));
            let link = link.expect("a next hop is a link's port");
            assert!(link.kind == LinkKind::Data && link.trust != Trust::Dead && link.state != LinkState::Undeclared);
            at.push((link.seen_from(node).expect("its end").1, steps + 1));
        }
    }
    true
}

proptest! {
    /// The invariant of the module, for any state of any links.
    #[test]
    fn next_hops_always_arrive(trusts in proptest::collection::vec(0_usize..3, 28)) {
        let topology = clos();
        let mut links = declared_links(&topology);
        for (link, trust) in links.iter_mut().zip(&trusts) {
            link.trust = [Trust::Good, Trust::Doubtful, Trust::Dead][*trust];
        }
        let paths = Paths::compute(&topology, &links, &BTreeMap::new());
        for from in &topology.nodes {
            for to in &topology.nodes {
                if !paths.next_hops(from.index, to.index).is_empty() {
                    prop_assert!(all_arrive(&topology, &links, &paths, from.id.as_str(), to.id.as_str()));
                }
            }
        }
    }
}
