//! Bridged fabrics by what their tables do: emulated switches hold what plans compile to, and frames are followed
//! through random fabrics with loops. Each frame comes where it should, as often as it should, and never goes round.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use foreshadow::fabric::packet::Packet;
use foreshadow::fabric::switch::{Effect, Switch, SwitchPort};
use foreshadow::plan::{BridgePlan, DatapathPlan, NextHop, Place, RolePlan, Station};
use foreshadow::southbound::openflow::state::SwitchState;
use foreshadow::southbound::openflow::{difference, pipeline};
use foreshadow::types::{DatapathId, MacAddr, NodeIndex, PortNo, Timestamp};
use foreshadow::wire::openflow::{Message, NO_BUFFER, PacketOut};
use proptest::prelude::*;

/// Edge ports have numbers from here on, links from 1.
const EDGE: u32 = 100;
/// Edge ports of each switch.
const EDGES: u32 = 2;
/// More hops than any frame of these fabrics may take: more is a loop.
const HOPS_MAX: usize = 1_000;
const VLAN: u16 = 42;
const BROADCAST: MacAddr = MacAddr::BROADCAST;

/// Switches and the links between them, by the switches' places in the list.
#[derive(Clone, Debug)]
struct Graph {
    nodes: usize,
    links: Vec<(usize, usize)>,
}

impl Graph {
    fn ring(nodes: usize) -> Self {
        Self { nodes, links: (0..nodes).map(|node| (node, (node + 1) % nodes)).collect() }
    }

    /// Ports of a node, with the neighbour and the number of the link at each.
    fn ports(&self, node: usize) -> impl Iterator<Item = (PortNo, usize, usize)> {
        self.links.iter().enumerate().filter_map(move |(number, (a, b))| {
            let far = if *a == node {
                *b
            } else if *b == node {
                *a
            } else {
                return None;
            };
            Some((PortNo(1 + number as u32), far, number))
        })
    }

    /// Hops from every node to `target`; links in `without` are down.
    fn distances(&self, target: usize, without: &BTreeSet<usize>) -> Vec<Option<usize>> {
        let mut distances = vec![None; self.nodes];
        distances[target] = Some(0);
        let mut queue = VecDeque::from([target]);
        while let Some(node) = queue.pop_front() {
            for (_, far, link) in self.ports(node) {
                if distances[far].is_none() && !without.contains(&link) {
                    distances[far] = distances[node].map(|hops| hops + 1);
                    queue.push_back(far);
                }
            }
        }
        distances
    }

    /// Links of a spanning tree: found breadth first from the first node.
    fn tree(&self) -> BTreeSet<usize> {
        let mut seen = BTreeSet::from([0]);
        let mut queue = VecDeque::from([0]);
        let mut tree = BTreeSet::new();
        while let Some(node) = queue.pop_front() {
            for (_, far, link) in self.ports(node) {
                if seen.insert(far) {
                    tree.insert(link);
                    queue.push_back(far);
                }
            }
        }
        tree
    }

    fn edges(&self) -> impl Iterator<Item = (usize, PortNo)> {
        (0..self.nodes).flat_map(|node| (0..EDGES).map(move |port| (node, PortNo(EDGE + port))))
    }

    fn plan(&self, node: usize, stations: &BTreeMap<Station, Place>) -> DatapathPlan {
        let tree = self.tree();
        let next_hops = (0..self.nodes).filter(|target| *target != node).map(|target| {
            let distances = self.distances(target, &BTreeSet::new());
            let hop = |(port, far, _): (PortNo, usize, usize)| {
                let nearer = distances[far] < distances[node];
                // Beside the shortest: a neighbour that does not come back this way (RFC 5286).
                let safe = distances[far] <= distances[node];
                safe.then_some(NextHop { rank: u8::from(!nearer), port })
            };
            (index(target), self.ports(node).filter_map(hop).collect())
        });
        DatapathPlan {
            index: index(node),
            edge_ports: (0..EDGES).map(|port| PortNo(EDGE + port)).collect(),
            mirror_ports: Vec::new(),
            gateways: Vec::new(),
            attached: Vec::new(),
            next_hops: next_hops.collect(),
            role: RolePlan::Bridge(BridgePlan {
                link_ports: self.ports(node).map(|(port, ..)| port).collect(),
                tree_ports: self.ports(node).filter(|(.., link)| tree.contains(link)).map(|(port, ..)| port).collect(),
                stations: Arc::new(stations.clone()),
            }),
        }
    }

    /// Every host's station, untagged and in [`VLAN`].
    fn stations(&self) -> BTreeMap<Station, Place> {
        let both = |(node, port)| {
            [None, Some(VLAN)].map(|vlan| (Station { vlan, mac: mac(node, port) }, Place { node: index(node), port }))
        };
        self.edges().flat_map(both).collect()
    }
}

fn index(node: usize) -> NodeIndex {
    NodeIndex(u16::try_from(node + 1).expect("few nodes"))
}

fn mac(node: usize, port: PortNo) -> MacAddr {
    MacAddr([2, 0, 0, 0, node as u8 + 1, port.0 as u8])
}

/// What became of one frame.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Frames that left an edge port, in order.
    delivered: Vec<(usize, PortNo, Vec<u8>)>,
    /// Switches and ports by which the controller heard of it.
    told: Vec<(usize, PortNo)>,
    hops: usize,
}

impl Outcome {
    fn places(&self) -> Vec<(usize, PortNo)> {
        let mut places: Vec<_> = self.delivered.iter().map(|(node, port, _)| (*node, *port)).collect();
        places.sort_unstable();
        places
    }
}

struct Net {
    graph: Graph,
    switches: Vec<Switch>,
    states: Vec<SwitchState>,
    now: Timestamp,
}

impl Net {
    /// `known` says which stations each switch knows.
    fn new(graph: Graph, known: impl Fn(usize, &Station) -> bool) -> Self {
        let switch = |node: usize| {
            let edges = (0..EDGES).map(|port| PortNo(EDGE + port));
            let ports = graph.ports(node).map(|(port, ..)| port).chain(edges);
            let ports = ports.map(|port| SwitchPort::new(port, MacAddr([2, 9, 0, 0, node as u8, port.0 as u8]), "p"));
            Switch::new(DatapathId(u64::from(index(node).0)), ports)
        };
        let switches = (0..graph.nodes).map(switch).collect();
        let states = vec![SwitchState::default(); graph.nodes];
        let mut net = Self { graph, switches, states, now: Timestamp::from_secs(1) };
        for node in 0..net.graph.nodes {
            let stations = net.graph.stations().into_iter().filter(|(station, _)| known(node, station)).collect();
            net.install(&net.graph.plan(node, &stations));
        }
        net
    }

    /// The difference to what the switch holds, message by message, as the installer would send it.
    fn install(&mut self, plan: &DatapathPlan) {
        let node = usize::from(plan.index.0) - 1;
        let wanted = pipeline::compile(plan);
        let difference = difference(&self.states[node], &wanted);
        for change in difference.make.iter().chain(&difference.remove).flatten() {
            let switch = &mut self.switches[node];
            match change.message() {
                Message::FlowMod(flow) => switch.flow_mod(&flow, self.now, &mut Vec::new()),
                Message::GroupMod(group) => switch.group_mod(&group, self.now, &mut Vec::new()),
                other => panic!("a plan became {other:?}"),
            }
            .unwrap_or_else(|refusal| panic!("{change}: {refusal}"));
        }
        self.states[node] = wanted;
    }

    fn set_link(&mut self, link: usize, up: bool) {
        let (a, b) = self.graph.links[link];
        for node in [a, b] {
            self.switches[node].set_port(PortNo(1 + link as u32), up, &mut Vec::new());
        }
    }

    fn send(&mut self, node: usize, port: PortNo, frame: &[u8]) -> Outcome {
        let mut effects = Vec::new();
        let packet = Packet::parse(frame).expect("a frame");
        self.switches[node].receive(port, packet, self.now, &mut effects);
        self.follow(node, effects)
    }

    /// A flood by the controller, as if the frame had come in by `in_port`.
    fn flood(&mut self, node: usize, in_port: PortNo, frame: &[u8]) -> Outcome {
        let actions = (pipeline::MAPPING.flood)();
        let request = PacketOut { buffer_id: NO_BUFFER, in_port, actions, data: frame.to_vec() };
        let mut effects = Vec::new();
        self.switches[node].packet_out(&request, self.now, &mut effects).expect("a packet-out is taken");
        self.follow(node, effects)
    }

    fn follow(&mut self, node: usize, effects: Vec<Effect>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut queue: VecDeque<(usize, Effect)> = effects.into_iter().map(|effect| (node, effect)).collect();
        while let Some((node, effect)) = queue.pop_front() {
            match effect {
                Effect::PacketIn(packet) => {
                    let port = packet.matching.fields[0].value;
                    outcome.told.push((node, PortNo(u32::try_from(port).expect("a port"))));
                }
                Effect::Transmit { port, packet } if port.0 >= EDGE => {
                    outcome.delivered.push((node, port, packet.emit()));
                }
                Effect::Transmit { port, packet } => {
                    outcome.hops += 1;
                    assert!(outcome.hops < HOPS_MAX, "the frame goes round");
                    let link = port.0 as usize - 1;
                    let (a, b) = self.graph.links[link];
                    let far = if a == node { b } else { a };
                    let packet = Packet::parse(&packet.emit()).expect("a frame");
                    let mut effects = Vec::new();
                    self.switches[far].receive(port, packet, self.now, &mut effects);
                    queue.extend(effects.into_iter().map(|effect| (far, effect)));
                }
                other => panic!("a frame caused {other:?}"),
            }
        }
        outcome
    }
}

/// An Ethernet frame; the EtherType is part of the payload.
fn frame(from: MacAddr, to: MacAddr, vlan: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let tag = vlan.map(|vlan| [0x81, 0, 0x60 | (vlan >> 8) as u8, vlan as u8]);
    let mut frame = [&to.0[..], &from.0, tag.as_ref().map_or(&[], |tag| &tag[..]), payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// Of no protocol that any table knows.
fn plain(from: MacAddr, to: MacAddr, vlan: Option<u16>) -> Vec<u8> {
    frame(from, to, vlan, &[0x88, 0xb5, 1, 2, 3, 4])
}

fn arp(from: MacAddr, to: MacAddr, operation: u8) -> Vec<u8> {
    let mut payload = vec![0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, operation];
    payload.extend([&from.0[..], &[10, 0, 0, 1], &[0; 6], &[10, 0, 0, 2]].concat());
    frame(from, to, None, &payload)
}

fn icmpv6(from: MacAddr, to: MacAddr, kind: u8) -> Vec<u8> {
    let mut payload = vec![0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255];
    payload.extend([[0xfe; 32].as_slice(), &[kind], &[0; 23]].concat());
    frame(from, to, None, &payload)
}

fn udp(from: MacAddr, to: MacAddr, source: u16, target: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ethernet2(from.0, to.0)
        .ipv4([0; 4], [255; 4], 64)
        .udp(source, target)
        .write(&mut bytes, &[7; 40])
        .expect("a vector takes everything");
    bytes
}

const H0: PortNo = PortNo(EDGE);
const H1: PortNo = PortNo(EDGE + 1);

/// Connected fabrics of any shape, parallel links included.
fn graphs() -> impl Strategy<Value = Graph> {
    (2_usize..8).prop_flat_map(|nodes| {
        let backbone = (1..nodes).map(|node| (0..node).prop_map(move |parent| (parent, node))).collect::<Vec<_>>();
        let more = prop::collection::vec((0..nodes, 0..nodes), 0..8);
        (backbone, more).prop_map(move |(mut links, more)| {
            links.extend(more.into_iter().filter(|(a, b)| a != b));
            Graph { nodes, links }
        })
    })
}

fn edge_of(graph: &Graph, pick: usize) -> (usize, PortNo) {
    (pick / EDGES as usize % graph.nodes, PortNo(EDGE + pick as u32 % EDGES))
}

proptest! {
    #[test]
    fn frames_for_everyone_come_once_to_each_and_not_back(graph in graphs(), from: u8, tagged: bool) {
        let (node, port) = edge_of(&graph, usize::from(from));
        let mut net = Net::new(graph, |_, _| true);
        let sent = plain(mac(node, port), BROADCAST, tagged.then_some(VLAN));
        let everyone_else: Vec<_> = net.graph.edges().filter(|edge| *edge != (node, port)).collect();
        for outcome in [net.send(node, port, &sent), net.flood(node, port, &sent)] {
            prop_assert_eq!(outcome.places(), everyone_else.clone());
            prop_assert!(outcome.delivered.iter().all(|(.., frame)| *frame == sent), "changed on its way");
            prop_assert_eq!(outcome.hops, net.graph.nodes - 1, "one hop for each link of the tree");
            prop_assert_eq!(outcome.told, Vec::new());
        }
    }

    #[test]
    fn frames_for_a_known_station_take_a_shortest_path(graph in graphs(), from: u8, to: u8, tagged: bool) {
        let (from, to) = (edge_of(&graph, usize::from(from)), edge_of(&graph, usize::from(to)));
        prop_assume!(from != to);
        let hops = graph.distances(to.0, &BTreeSet::new())[from.0].expect("connected");
        let mut net = Net::new(graph, |_, _| true);
        let sent = plain(mac(from.0, from.1), mac(to.0, to.1), tagged.then_some(VLAN));
        let outcome = net.send(from.0, from.1, &sent);
        prop_assert_eq!(outcome, Outcome { delivered: vec![(to.0, to.1, sent)], told: Vec::new(), hops });
    }

    /// Plans reach the switches one after the other: whoever knows the station already, the frame arrives, once, and
    /// nobody sees it twice.
    #[test]
    fn frames_arrive_whoever_knows_the_station(graph in graphs(), from: u8, to: u8, knows: u8) {
        let (from, to) = (edge_of(&graph, usize::from(from)), edge_of(&graph, usize::from(to)));
        prop_assume!(from != to);
        let target = mac(to.0, to.1);
        let mut net = Net::new(graph, |node, station| station.mac != target || knows >> node & 1 == 1);
        let sent = plain(mac(from.0, from.1), target, None);
        let outcome = net.send(from.0, from.1, &sent);
        let places = outcome.places();
        prop_assert_eq!(places.iter().filter(|place| **place == to).count(), 1);
        prop_assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len(), "{:?}", places);
        prop_assert!(outcome.delivered.iter().all(|(.., frame)| *frame == sent), "the mark stays inside");
        prop_assert!(outcome.hops < 2 * net.graph.nodes);
    }

    /// One link down, nothing planned anew: where its farther end has another neighbour that is not farther still, every
    /// frame arrives, and nothing goes round.
    #[test]
    fn a_cut_link_is_passed_by_where_an_alternate_exists(graph in graphs(), from: u8, to: u8, cut: u8) {
        let (from, to) = (edge_of(&graph, usize::from(from)), edge_of(&graph, usize::from(to)));
        prop_assume!(from != to);
        let cut = usize::from(cut) % graph.links.len();
        let mut net = Net::new(graph, |_, _| true);
        net.set_link(cut, false);
        let outcome = net.send(from.0, from.1, &plain(mac(from.0, from.1), mac(to.0, to.1), None));
        prop_assert!(outcome.places().iter().all(|place| *place == to) && outcome.delivered.len() <= 1);
        let distances = net.graph.distances(to.0, &BTreeSet::new());
        let (a, b) = net.graph.links[cut];
        let farther = if distances[a] > distances[b] { a } else { b };
        let other = |(_, far, link): (PortNo, usize, usize)| link != cut && distances[far] <= distances[farther];
        if distances[a] == distances[b] || net.graph.ports(farther).any(other) {
            prop_assert_eq!(outcome.delivered.len(), 1);
        }
    }
}

/// On a ring of four with one link off the tree: in which ways the controller hears of what hosts send.
#[test]
fn the_controller_hears_of_strangers_and_of_questions() {
    let ring = || Graph::ring(4);
    let (own, other, stranger) = (mac(0, H0), mac(2, H1), MacAddr([2, 0, 0, 0, 99, 99]));
    let solicited = MacAddr([0x33, 0x33, 0xff, 0, 0, 2]);
    let told = [(0, H0)];
    // What is sent, whether the controller hears, how many edge ports see it.
    let cases: Vec<(&str, Vec<u8>, bool, usize)> = vec![
        ("known to known", plain(own, other, None), false, 1),
        ("stranger to known", plain(stranger, other, None), true, 1),
        ("stranger to all", plain(stranger, BROADCAST, None), true, 7),
        ("known, but in a VLAN where it was not seen", plain(own, other, Some(7)), true, 7),
        ("known to a stranger", plain(own, stranger, None), false, 7),
        ("ARP request", arp(own, BROADCAST, 1), true, 0),
        ("ARP request of a stranger", arp(stranger, BROADCAST, 1), true, 0),
        ("ARP request to one station", arp(own, other, 1), false, 1),
        ("ARP reply", arp(own, other, 2), true, 1),
        ("ARP announcement as a reply", arp(own, BROADCAST, 2), true, 7),
        ("neighbour solicitation", icmpv6(own, solicited, 135), true, 0),
        ("neighbour solicitation to one station", icmpv6(own, other, 135), false, 1),
        ("neighbour advertisement", icmpv6(own, solicited, 136), true, 7),
        ("an answer to the controller", arp(own, MacAddr::GATEWAY, 2), true, 0),
        ("DHCP request", udp(own, BROADCAST, 68, 67), true, 7),
        ("DHCP answer", udp(own, other, 67, 68), true, 1),
        ("other UDP", udp(own, other, 67, 69), false, 1),
        ("spanning tree of somebody else", plain(own, MacAddr([1, 0x80, 0xc2, 0, 0, 0]), None), false, 0),
        ("pause frame", plain(own, MacAddr([1, 0x80, 0xc2, 0, 0, 1]), None), false, 0),
        ("beyond the reserved addresses", plain(own, MacAddr([1, 0x80, 0xc2, 0, 0, 0x10]), None), false, 7),
        ("LLDP", frame(own, MacAddr([1, 0x80, 0xc2, 0, 0, 0x0e]), None, &[0x88, 0xcc, 0, 0]), true, 0),
        ("a group as source", plain(MacAddr([3, 0, 0, 0, 1, 0]), other, None), false, 0),
        ("to itself", plain(own, own, None), false, 0),
    ];
    for (what, sent, heard, copies) in cases {
        let mut net = Net::new(ring(), |_, _| true);
        let outcome = net.send(0, H0, &sent);
        // A stranger that asks is heard of twice: as a stranger, and for what it asks.
        let expected: BTreeSet<_> = told.iter().filter(|_| heard).collect();
        assert_eq!(outcome.told.iter().collect::<BTreeSet<_>>(), expected, "{what}");
        assert_eq!(outcome.delivered.len(), copies, "{what}");
        assert!(outcome.delivered.iter().all(|(.., frame)| *frame == sent), "{what}: changed on its way");
        assert!(!outcome.places().contains(&(0, H0)), "{what}: came back");
    }
}

/// What a loop would live on: frames for everyone from a link that is off the tree.
#[test]
fn links_off_the_tree_carry_known_stations_alone() {
    let graph = Graph::ring(4);
    let tree = graph.tree();
    let off = (0..4).find(|link| !tree.contains(link)).expect("a ring has one link too many");
    let (near, far) = graph.links[off];
    let port = PortNo(1 + off as u32);
    let mut net = Net::new(graph, |_, _| true);
    let marked = MacAddr([3, 0, 0, 0, 1, 1]);
    for (what, from, to, copies) in [
        ("everyone", mac(far, H0), BROADCAST, 0),
        ("marked", marked, mac(near, H1), 0),
        ("known", mac(far, H0), mac(near, H1), 1),
        // The other end knew the station and this one does not: it goes to everyone from here.
        ("unknown", mac(far, H0), MacAddr([2, 0, 0, 0, 99, 99]), 8),
    ] {
        let outcome = net.send(near, port, &plain(from, to, None));
        assert_eq!((outcome.delivered.len(), outcome.told.len()), (copies, 0), "{what}");
    }
}

#[test]
fn a_port_that_is_neither_edge_nor_link_is_closed() {
    let graph = Graph::ring(3);
    let stations = graph.stations();
    let mut net = Net::new(graph.clone(), |_, _| true);
    let mut plan = graph.plan(0, &stations);
    plan.edge_ports.retain(|port| *port != H1);
    net.install(&plan);
    let outcome = net.send(0, H1, &plain(mac(0, H1), mac(0, H0), None));
    assert_eq!(outcome, Outcome::default());
    let outcome = net.send(1, H0, &plain(mac(1, H0), BROADCAST, None));
    assert!(!outcome.places().contains(&(0, H1)));
}
