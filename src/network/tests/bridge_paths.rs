//! Paths of bridges on random fabrics: nothing loops, everything arrives, with and without a broken link.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use petgraph::algo::ford_fulkerson;
use petgraph::graph::DiGraph;
use proptest::prelude::*;

use crate::config::LinkKind;
use crate::network::bridge::{BridgePaths, Stations, bridge_plan, edge_disjoint};
use crate::network::{LinkState, Trust, WiredLink};
use crate::plan::{Place, RolePlan, Station};
use crate::types::{MacAddr, NodeIndex, PortNo, Timestamp};

fn link(a: u16, a_port: u32, b: u16, b_port: u32) -> WiredLink {
    WiredLink {
        a: NodeIndex(a),
        a_port: Some(PortNo(a_port)),
        b: NodeIndex(b),
        b_port: Some(PortNo(b_port)),
        kind: LinkKind::Data,
        latency_us: 0,
        capacity_bps: 0,
        state: LinkState::Up,
        trust: Trust::Good,
        measured_latency_us: None,
    }
}

/// Links between these nodes; ports are counted from 1 at each node.
fn wired(pairs: &[(u16, u16)]) -> Vec<WiredLink> {
    let mut next: BTreeMap<u16, u32> = BTreeMap::new();
    let mut port = |node: u16| {
        let port = next.entry(node).or_default();
        *port += 1;
        *port
    };
    pairs.iter().map(|&(a, b)| (a, port(a), b, port(b))).map(|(a, ap, b, bp)| link(a, ap, b, bp)).collect()
}

fn nodes(count: u16) -> Vec<NodeIndex> {
    (1..=count).map(NodeIndex).collect()
}

fn all(count: u16, links: &[WiredLink]) -> BridgePaths {
    BridgePaths::compute(&nodes(count), links, &nodes(count).into_iter().collect())
}

fn hops(paths: &BridgePaths, from: u16, to: u16) -> Vec<(u8, u32)> {
    let hops = paths.next_hops(NodeIndex(from)).remove(&NodeIndex(to)).unwrap_or_default();
    hops.into_iter().map(|hop| (hop.rank, hop.port.0)).collect()
}

fn far_ends(links: &[WiredLink]) -> BTreeMap<(NodeIndex, PortNo), (NodeIndex, PortNo)> {
    let ends = links.iter().map(|link| ((link.a, link.a_port.unwrap()), (link.b, link.b_port.unwrap())));
    ends.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
}

#[test]
fn equal_paths_share_and_alternates_wait() {
    // A square 1-2-3-4 with a second link between 1 and 2 and a chord from 2 to 4.
    let links = wired(&[(1, 2), (2, 3), (3, 4), (4, 1), (1, 2), (2, 4)]);
    let paths = all(4, &links);
    assert_eq!(hops(&paths, 1, 3), [(0, 1), (0, 2), (0, 3)], "by either neighbour, and both parallel links");
    assert_eq!(hops(&paths, 1, 2), [(0, 1), (0, 3), (1, 2)], "4 is as near to 2 as 1 is");
    assert_eq!(hops(&paths, 3, 2), [(0, 1), (1, 2)]);
    assert_eq!(hops(&paths, 2, 2), [], "not to itself");
    let tree: Vec<Vec<PortNo>> = nodes(4).into_iter().map(|node| paths.tree_ports(node)).collect();
    assert_eq!(tree, [vec![PortNo(1), PortNo(2)], vec![PortNo(1), PortNo(2)], vec![PortNo(1)], vec![PortNo(2)]]);
}

#[test]
fn an_alternate_that_avoids_the_neighbour_is_better() {
    // From 1 to 5 by 2; 3 goes through 2 as well, 4 by 6.
    let links = wired(&[(1, 2), (2, 5), (1, 3), (3, 2), (1, 4), (4, 6), (6, 5)]);
    let paths = all(6, &links);
    assert_eq!(hops(&paths, 1, 5), [(0, 1), (1, 3)], "not by 3");
}

#[test]
fn doubtful_links_are_the_last_resort() {
    let mut links = wired(&[(1, 2), (2, 3), (3, 1), (3, 4)]);
    links[2].trust = Trust::Doubtful;
    links[3].trust = Trust::Doubtful;
    let paths = all(4, &links);
    assert_eq!(hops(&paths, 1, 3), [(0, 1), (1, 2)], "two good hops rather than a doubtful one");
    assert_eq!(hops(&paths, 1, 4), [(0, 1), (1, 2)]);
    assert_eq!(hops(&paths, 3, 4), [(0, 3)], "nothing else leads there");
    links[3].trust = Trust::Dead;
    assert_eq!(hops(&all(4, &links), 1, 4), []);
}

#[test]
fn a_plan_leads_to_stations_only() {
    let links = wired(&[(1, 2), (2, 3), (3, 1)]);
    let mut stations = Stations::new();
    let station = Station { vlan: Some(7), mac: MacAddr([2, 0, 0, 0, 0, 1]) };
    stations.adopt(NodeIndex(2), &[(station, PortNo(9))], Timestamp::from_secs(1));
    let paths = BridgePaths::compute(&nodes(3), &links, &stations.nodes());
    let edge = BTreeSet::from([PortNo(1), PortNo(8)]);
    let plan = bridge_plan(NodeIndex(1), &paths, &stations, &edge, &links);
    assert_eq!(plan.edge_ports, [PortNo(8)], "port 1 turned out to be wired");
    assert_eq!(plan.next_hops.keys().collect::<Vec<_>>(), [&NodeIndex(2)]);
    let RolePlan::Bridge(bridge) = plan.role else { panic!("not a bridge") };
    assert_eq!((bridge.link_ports, bridge.tree_ports), (vec![PortNo(1), PortNo(2)], vec![PortNo(1), PortNo(2)]));
    assert_eq!(*bridge.stations, BTreeMap::from([(station, Place { node: NodeIndex(2), port: PortNo(9) })]));
}

#[test]
fn disjoint_paths_give_up_the_shortest_where_that_makes_room() {
    // The shortest path 1-2-3-4 uses the middle of both others.
    let links = wired(&[(1, 2), (2, 3), (3, 4), (1, 5), (5, 7), (7, 3), (2, 6), (6, 8), (8, 4)]);
    let paths = edge_disjoint(&links, NodeIndex(1), NodeIndex(4), 5);
    let walked: Vec<Vec<u16>> = paths.iter().map(|path| path.iter().map(|crossing| crossing.to.0).collect()).collect();
    assert_eq!(walked, [[2, 6, 8, 4], [5, 7, 3, 4]]);
    assert_eq!(edge_disjoint(&links, NodeIndex(1), NodeIndex(4), 1)[0].len(), 3);
    assert_eq!(edge_disjoint(&links, NodeIndex(1), NodeIndex(1), 2).len(), 0);
    assert_eq!(edge_disjoint(&links, NodeIndex(1), NodeIndex(9), 2).len(), 0);
}

/// A grid of switches, each wired to the next ones in four directions, around the edges.
fn large(side: u16) -> (u16, Vec<WiredLink>) {
    let at = |x: u16, y: u16| 1 + (x % side) + side * (y % side);
    let pairs: Vec<(u16, u16)> = (0..side)
        .flat_map(|y| (0..side).map(move |x| (x, y)))
        .flat_map(|(x, y)| {
            [(x + 1, y), (x, y + 1), (x + 1, y + 1), (x + 2, y)].map(|(to_x, to_y)| (at(x, y), at(to_x, to_y)))
        })
        .collect();
    (side * side, wired(&pairs))
}

#[test]
fn a_thousand_switches_take_no_second() {
    let (count, links) = large(32);
    let towards: BTreeSet<NodeIndex> = nodes(count).into_iter().collect();
    let begun = Instant::now();
    let mut paths = BridgePaths::compute(&nodes(count), &links, &towards);
    let computed = begun.elapsed();
    let begun = Instant::now();
    assert!(!paths.update(&nodes(count), &links, &towards), "nothing changed");
    let again = begun.elapsed();
    let begun = Instant::now();
    let hops: usize = nodes(count).into_iter().map(|node| paths.next_hops(node).len()).sum();
    println!("{count} switches, {} links: {computed:?}; again {again:?}; all hops {:?}", links.len(), begun.elapsed());
    assert_eq!(hops, usize::from(count) * (usize::from(count) - 1));
    assert!(computed < Duration::from_secs(5), "a bound for a busy machine: {computed:?}");
}

/// Up to nine nodes and twenty links, parallel ones among them.
fn fabrics() -> impl Strategy<Value = Vec<WiredLink>> {
    let ends = (1_u16..10, 1_u16..10).prop_filter("not to itself", |(a, b)| a != b);
    let trust = prop_oneof![8 => Just(Trust::Good), 1 => Just(Trust::Doubtful), 1 => Just(Trust::Dead)];
    proptest::collection::vec((ends, trust), 1..20).prop_map(|drawn| {
        let pairs: Vec<(u16, u16)> = drawn.iter().map(|(ends, _)| *ends).collect();
        let mut links = wired(&pairs);
        links.iter_mut().zip(drawn).for_each(|(link, (_, trust))| link.trust = trust);
        links
    })
}

/// Where a frame may go next: by the ports of the lowest rank that has a live one.
fn onward(paths: &BridgePaths, at: NodeIndex, to: NodeIndex, dead: &BTreeSet<(NodeIndex, PortNo)>) -> Vec<PortNo> {
    let hops = paths.next_hops(at).remove(&to).unwrap_or_default();
    let live: Vec<_> = hops.into_iter().filter(|hop| !dead.contains(&(at, hop.port))).collect();
    let rank = live.iter().map(|hop| hop.rank).min();
    live.into_iter().filter(|hop| Some(hop.rank) == rank).map(|hop| hop.port).collect()
}

/// Follows every way a frame may go; `false` if it can come to a switch twice. Counts ways that end before `to`.
fn walk(
    paths: &BridgePaths,
    far: &BTreeMap<(NodeIndex, PortNo), (NodeIndex, PortNo)>,
    (at, to): (NodeIndex, NodeIndex),
    dead: &BTreeSet<(NodeIndex, PortNo)>,
    visited: &mut Vec<NodeIndex>,
    lost: &mut usize,
) -> bool {
    if at == to {
        return true;
    }
    if visited.contains(&at) {
        return false;
    }
    visited.push(at);
    let ports = onward(paths, at, to, dead);
    *lost += usize::from(ports.is_empty());
    let sound = ports.iter().all(|port| walk(paths, far, (far[&(at, *port)].0, to), dead, visited, lost));
    visited.pop();
    sound
}

fn components(links: &[WiredLink]) -> BTreeMap<NodeIndex, NodeIndex> {
    let mut of: BTreeMap<NodeIndex, NodeIndex> = nodes(9).into_iter().map(|node| (node, node)).collect();
    for _ in 0..9 {
        for link in links.iter().filter(|link| link.trust != Trust::Dead) {
            let least = of[&link.a].min(of[&link.b]);
            of.insert(link.a, least);
            of.insert(link.b, least);
        }
    }
    of
}

fn tree_links(links: &[WiredLink], paths: &BridgePaths) -> BTreeSet<usize> {
    let on = |node, port: Option<PortNo>| paths.tree_ports(node).contains(&port.unwrap());
    (0..links.len()).filter(|at| on(links[*at].a, links[*at].a_port) && on(links[*at].b, links[*at].b_port)).collect()
}

proptest! {
    #[test]
    fn frames_arrive_and_never_loop(links in fabrics()) {
        let (paths, far, of) = (all(9, &links), far_ends(&links), components(&links));
        for (from, to) in nodes(9).into_iter().flat_map(|from| nodes(9).into_iter().map(move |to| (from, to))) {
            let mut lost = 0;
            prop_assert!(walk(&paths, &far, (from, to), &BTreeSet::new(), &mut Vec::new(), &mut lost));
            prop_assert_eq!(lost == 0, of[&from] == of[&to] || from == to, "{} to {}", from, to);
        }
    }

    #[test]
    fn a_broken_link_makes_no_loop_before_anyone_else_knows(links in fabrics(), broken in 0_usize..20) {
        let broken = &links[broken % links.len()];
        let dead = BTreeSet::from([(broken.a, broken.a_port.unwrap()), (broken.b, broken.b_port.unwrap())]);
        let (paths, far) = (all(9, &links), far_ends(&links));
        for (from, to) in nodes(9).into_iter().flat_map(|from| nodes(9).into_iter().map(move |to| (from, to))) {
            prop_assert!(walk(&paths, &far, (from, to), &dead, &mut Vec::new(), &mut 0), "{} to {}", from, to);
        }
    }

    #[test]
    fn a_frame_for_everyone_comes_to_each_once(links in fabrics(), from in 1_u16..10) {
        let (paths, far, of) = (all(9, &links), far_ends(&links), components(&links));
        let mut came: BTreeMap<NodeIndex, usize> = BTreeMap::new();
        let mut open = vec![(NodeIndex(from), None)];
        while let Some((at, in_port)) = open.pop() {
            *came.entry(at).or_default() += 1;
            prop_assert!(came[&at] == 1, "a storm at {}", at);
            let out = paths.tree_ports(at).into_iter().filter(|port| Some(*port) != in_port);
            open.extend(out.map(|port| far[&(at, port)]).map(|(node, port)| (node, Some(port))));
        }
        let whole: BTreeSet<NodeIndex> = nodes(9).into_iter().filter(|node| of[node] == of[&NodeIndex(from)]).collect();
        prop_assert_eq!(came.into_keys().collect::<BTreeSet<_>>(), whole);
    }

    #[test]
    fn the_tree_changes_by_one_link_at_most(mut links in fabrics(), at in 0_usize..20) {
        let at = at % links.len();
        let before = tree_links(&links, &all(9, &links));
        links[at].trust = Trust::Dead;
        let after = tree_links(&links, &all(9, &links));
        prop_assert!(after.difference(&before).count() <= 1);
        prop_assert!(before.difference(&after).all(|gone| *gone == at));
    }

    #[test]
    fn what_is_kept_is_what_would_be_computed(
        fabrics in proptest::collection::vec((fabrics(), proptest::collection::btree_set(1_u16..10, 0..9), any::<bool>()), 1..6),
    ) {
        let mut kept = BridgePaths::default();
        let mut links = Vec::new();
        for (fabric, towards, rewire) in fabrics {
            if rewire {
                links = fabric;
            }
            let towards = towards.into_iter().map(NodeIndex).collect();
            kept.update(&nodes(9), &links, &towards);
            let fresh = BridgePaths::compute(&nodes(9), &links, &towards);
            for node in nodes(9) {
                prop_assert_eq!(kept.next_hops(node), fresh.next_hops(node));
                prop_assert_eq!(kept.tree_ports(node), fresh.tree_ports(node));
            }
            prop_assert!(!kept.update(&nodes(9), &links, &towards));
        }
    }

    #[test]
    fn as_many_disjoint_paths_as_a_cut_leaves(links in fabrics(), max in 1_usize..6) {
        let (a, b) = (NodeIndex(1), NodeIndex(2));
        let paths = edge_disjoint(&links, a, b, max);
        let far = far_ends(&links);
        let mut used = BTreeSet::new();
        for path in &paths {
            let mut at = a;
            for crossing in path {
                prop_assert_eq!(crossing.from, at);
                prop_assert_eq!(far[&(at, crossing.out_port)], (crossing.to, crossing.in_port));
                let ends = [(at, crossing.out_port), (crossing.to, crossing.in_port)];
                prop_assert!(used.insert(ends.into_iter().min()), "two paths share a link");
                at = crossing.to;
            }
            prop_assert_eq!(at, b);
        }
        let mut graph = DiGraph::<(), usize>::new();
        let vertices: Vec<_> = (0..10).map(|_| graph.add_node(())).collect();
        for link in links.iter().filter(|link| link.trust != Trust::Dead) {
            let ends = [link.a, link.b].map(|node| vertices[usize::from(node.0)]);
            graph.add_edge(ends[0], ends[1], 1);
            graph.add_edge(ends[1], ends[0], 1);
        }
        let (most, _) = ford_fulkerson(&graph, vertices[1], vertices[2]);
        prop_assert_eq!(paths.len(), most.min(max));
    }
}
