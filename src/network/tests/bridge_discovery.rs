//! Discovery of bridges that no file declares: links, edges, latency, and the pace of probes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::config::Topology;
use crate::network::discovery::{Discovery, EDGE_SETTLE, HOLD_INTERVALS, Heard, MEMORY_INTERVALS};
use crate::network::{LinkState, Trust};
use crate::southbound::{Command, Port};
use crate::types::{DatapathId, MacAddr, NodeIndex, PortNo, Timestamp};
use crate::wire::lldp::Key;

const INTERVAL: Duration = Duration::from_secs(5);
const START: Timestamp = Timestamp::from_secs(1_000);

type End = (DatapathId, PortNo);

/// Bridges that join one after another, and wires in memory. Time goes from deadline to deadline.
struct Bridges {
    discovery: Discovery,
    wires: BTreeMap<End, End>,
    ports: u32,
    now: Timestamp,
    /// Every probe sent, by when.
    sent: Vec<(Timestamp, End)>,
    changes: usize,
    deaf: BTreeSet<DatapathId>,
}

fn end(switch: u64, port: u32) -> End {
    (DatapathId(switch), PortNo(port))
}

fn port(number: u32, up: bool) -> Port {
    Port { number: PortNo(number), mac: MacAddr([2, 0, 0, 0, 0, 1]), name: String::new(), up, speed_kbps: 0 }
}

impl Bridges {
    fn new(switches: u64, ports: u32, wires: &[(End, End)]) -> Self {
        let mut discovery = Discovery::new(&Topology::default(), INTERVAL, Key([1, 2]), START);
        for at in 1..=switches {
            discovery.join(NodeIndex(at as u16), &format!("b{at}"), DatapathId(at), START);
        }
        let wires = wires.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
        Self { discovery, wires, ports, now: START, sent: Vec::new(), changes: 0, deaf: BTreeSet::new() }
    }

    fn connect(&mut self, switch: u64) {
        let mut ports: Vec<Port> = (1..=self.ports).map(|number| port(number, true)).collect();
        // The switch's own port is no edge.
        ports.push(port(0xffff_fffe, true));
        self.discovery.switch_up(DatapathId(switch), &ports, self.now);
        self.deaf.remove(&DatapathId(switch));
        self.discovery.listens(DatapathId(switch), true, self.now);
    }

    /// A switch that holds no entries yet.
    fn connect_deaf(&mut self, switch: u64) {
        self.connect(switch);
        self.deaf.insert(DatapathId(switch));
        self.discovery.listens(DatapathId(switch), false, self.now);
    }

    fn listen(&mut self, switch: u64) {
        self.deaf.remove(&DatapathId(switch));
        self.discovery.listens(DatapathId(switch), true, self.now);
    }

    /// Lets time pass, doing whatever is due when it is due.
    fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(due) = self.discovery.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            for command in self.discovery.poll(self.now) {
                let Command::PacketOut { datapath, port, data } = command else { panic!("{command:?}") };
                self.sent.push((self.now, (datapath, port)));
                let there = self.wires.get(&(datapath, port)).copied();
                if let Some((there, in_port)) = there.filter(|(there, _)| !self.deaf.contains(there)) {
                    let heard = self.discovery.packet_in(there, in_port, &data, self.now);
                    self.changes += usize::from(heard == Heard::Probe { changed: true });
                }
            }
        }
        self.now = until;
    }

    fn links(&self) -> Vec<(u16, u32, u16, u32, LinkState, Trust)> {
        let links = self.discovery.links(self.now).into_iter();
        let ports = |port: Option<PortNo>| port.unwrap().0;
        links.map(|link| (link.a.0, ports(link.a_port), link.b.0, ports(link.b_port), link.state, link.trust)).collect()
    }

    fn edges(&self, switch: u64) -> Vec<u32> {
        self.discovery.edge_ports(DatapathId(switch), self.now).into_iter().map(|port| port.0).collect()
    }

    fn set(&mut self, (datapath, number): End, up: bool) -> bool {
        self.discovery.port_changed(datapath, &port(number.0, up), false, self.now)
    }
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn links_and_edges_are_found_without_a_file() {
    let mut fabric = Bridges::new(2, 3, &[(end(1, 1), end(2, 2))]);
    fabric.connect(1);
    fabric.run(MS * 400);
    assert_eq!((fabric.edges(1), fabric.discovery.settled_edges().len()), (vec![], 0), "too early to say");
    fabric.run(MS * 200);
    assert_eq!(fabric.discovery.settled_edges(), [DatapathId(1)].into());
    assert_eq!(fabric.edges(1), [1, 2, 3], "nobody is heard, whoever is behind port 1");
    fabric.connect(2);
    fabric.run(MS);
    assert_eq!(fabric.links(), [(1, 1, 2, 2, LinkState::Up, Trust::Good)], "found in both directions at once");
    assert_eq!(fabric.edges(1), [2, 3]);
    fabric.run(EDGE_SETTLE);
    assert_eq!((fabric.edges(2), fabric.discovery.settled_edges()), (vec![1, 3], [DatapathId(2)].into()));
    assert_eq!(fabric.discovery.differences(fabric.now), [""; 0]);
    fabric.run(INTERVAL * 4);
    assert_eq!(fabric.links().len(), 1);
    assert_eq!(fabric.changes, 2, "one for each direction");
}

#[test]
fn what_a_deaf_switch_does_not_hear_makes_no_edge() {
    let mut fabric = Bridges::new(2, 2, &[(end(1, 1), end(2, 2))]);
    (1..=2).for_each(|switch| fabric.connect_deaf(switch));
    fabric.run(INTERVAL);
    assert_eq!((fabric.edges(1), fabric.edges(2), fabric.links()), (vec![], vec![], vec![]));
    fabric.listen(1);
    fabric.run(EDGE_SETTLE);
    // The other switch forwards nothing yet, so that no frame can go round.
    assert_eq!((fabric.edges(1), fabric.edges(2)), (vec![1, 2], vec![]));
    fabric.listen(2);
    fabric.run(MS);
    assert_eq!((fabric.edges(1), fabric.links().len()), (vec![2], 1), "seen before it can be taken for an edge");
    fabric.run(EDGE_SETTLE);
    assert_eq!(fabric.edges(2), [1]);
    // It comes back empty.
    fabric.discovery.switch_down(DatapathId(2), fabric.now);
    fabric.connect_deaf(2);
    fabric.run(INTERVAL);
    assert_eq!(fabric.edges(2).len(), 0);
}

#[test]
fn a_port_that_goes_down_takes_its_link_along() {
    let mut fabric = Bridges::new(2, 2, &[(end(1, 1), end(2, 2))]);
    (1..=2).for_each(|switch| fabric.connect(switch));
    fabric.run(MS * 600);
    assert!(fabric.set(end(2, 2), false));
    assert_eq!(fabric.links(), []);
    assert_eq!(fabric.edges(2), [1]);
    assert!(fabric.set(end(2, 2), true));
    assert_eq!(fabric.edges(2), [1], "not before it has settled");
    fabric.run(MS);
    assert_eq!(fabric.links().len(), 1, "1:1 probes back at once, due or not");
    fabric.run(EDGE_SETTLE);
    assert_eq!((fabric.edges(1), fabric.edges(2)), (vec![2], vec![1]));
}

#[test]
fn a_lost_session_leaves_its_links_for_a_while() {
    let mut fabric = Bridges::new(2, 2, &[(end(1, 1), end(2, 2))]);
    (1..=2).for_each(|switch| fabric.connect(switch));
    fabric.run(MS * 600);
    fabric.discovery.switch_down(DatapathId(2), fabric.now);
    fabric.run(INTERVAL * HOLD_INTERVALS);
    assert_eq!(fabric.links(), [(1, 1, 2, 2, LinkState::Up, Trust::Good)]);
    fabric.run(INTERVAL * MEMORY_INTERVALS * 2);
    assert_eq!(fabric.links(), [(1, 1, 2, 2, LinkState::Up, Trust::Doubtful)]);
    assert_eq!(fabric.edges(1), [2]);
    fabric.connect(2);
    assert_eq!(fabric.edges(2), [1], "a port that was up all the time has settled");
    fabric.run(MS);
    assert_eq!(fabric.links(), [(1, 1, 2, 2, LinkState::Up, Trust::Good)]);
}

#[test]
fn a_wire_that_falls_silent_is_doubted_and_then_forgotten() {
    let mut fabric = Bridges::new(2, 2, &[(end(1, 1), end(2, 2))]);
    (1..=2).for_each(|switch| fabric.connect(switch));
    fabric.run(MS * 600);
    fabric.wires.clear();
    fabric.run(INTERVAL * (HOLD_INTERVALS + 1));
    assert_eq!(fabric.links(), [(1, 1, 2, 2, LinkState::Unseen, Trust::Doubtful)]);
    assert_eq!(fabric.edges(1), [2], "not an edge yet");
    fabric.run(INTERVAL * (MEMORY_INTERVALS - HOLD_INTERVALS + 2));
    assert_eq!((fabric.links(), fabric.edges(1)), (vec![], vec![1, 2]));
}

#[test]
fn a_wire_that_passes_one_way_only_is_told() {
    let mut fabric = Bridges::new(2, 2, &[(end(1, 1), end(2, 2))]);
    fabric.wires.remove(&end(2, 2));
    (1..=2).for_each(|switch| fabric.connect(switch));
    fabric.run(INTERVAL * (HOLD_INTERVALS + 1));
    assert_eq!((fabric.links(), fabric.edges(1), fabric.edges(2)), (vec![], vec![2], vec![1]));
    assert_eq!(fabric.discovery.differences(fabric.now), ["LLDP passes from b1:1 to b2:2, but not back"]);
}

#[test]
fn a_port_that_flaps_floods_nobody() {
    let mut fabric = Bridges::new(1, 2, &[]);
    fabric.connect(1);
    for _ in 0..1_000 {
        fabric.set(end(1, 1), false);
        fabric.run(MS);
        fabric.set(end(1, 1), true);
        fabric.run(MS);
    }
    let probes = fabric.sent.iter().filter(|(_, at)| *at == end(1, 1)).count();
    assert!((2..=12).contains(&probes), "{probes} in two seconds");
    assert_eq!(fabric.edges(1), [2]);
}

#[test]
fn latency_is_what_neither_switch_took() {
    let mut fabric = Bridges::new(2, 1, &[(end(1, 1), end(2, 1))]);
    (1..=2).for_each(|switch| fabric.connect(switch));
    // Half a round trip of 4 ms, 1.5 ms on the wire, half a round trip of 10 ms, and waiting now and then.
    let latency = |fabric: &Bridges| fabric.discovery.links(fabric.now).pop().and_then(|link| link.measured_latency_us);
    for round in 0..12_u64 {
        fabric.now = fabric.now + INTERVAL;
        for command in fabric.discovery.poll(fabric.now) {
            let Command::PacketOut { datapath, port, data } = command else { panic!("{command:?}") };
            let (there, in_port) = fabric.wires[&(datapath, port)];
            let waited = [900, 0, 12_000, 300][round as usize % 4];
            let heard_at = fabric.now + Duration::from_micros(2_000 + 1_500 + 5_000 + waited);
            fabric.discovery.packet_in(there, in_port, &data, heard_at);
        }
        if round == 0 {
            assert_eq!(latency(&fabric), None, "no round trip is known");
        }
        fabric.discovery.round_trip(DatapathId(1), if round % 3 == 0 { 9_000 } else { 4_000 });
        fabric.discovery.round_trip(DatapathId(2), if round % 5 == 0 { 10_000 } else { 11_000 });
    }
    assert_eq!(latency(&fabric), Some(1_500));
}

#[test]
fn a_thousand_switches_are_probed_evenly() {
    // A grid of 32 x 32 around the edges, four links each, on 24 ports each.
    let at = |x: u64, y: u64| 1 + x % 32 + 32 * (y % 32);
    let directions = [(1, 0, 1, 2), (0, 1, 3, 4), (1, 1, 5, 6), (2, 0, 7, 8)];
    let wires: Vec<(End, End)> = (0..32)
        .flat_map(|x| (0..32).map(move |y| (x, y)))
        .flat_map(|(x, y)| directions.map(|(dx, dy, out, into)| (end(at(x, y), out), end(at(x + dx, y + dy), into))))
        .collect();
    let mut fabric = Bridges::new(1024, 24, &wires);
    let begun = Instant::now();
    (1..=1024).for_each(|switch| fabric.connect(switch));
    fabric.run(MS * 600);
    let first = begun.elapsed();
    let early = fabric.sent.iter().filter(|(when, _)| *when <= START + MS * 250).count();
    assert_eq!(early, 2 * 24 * 1024, "each port twice, whoever came last");
    let up = fabric.links().into_iter().filter(|link| (link.4, link.5) == (LinkState::Up, Trust::Good)).count();
    assert_eq!(up, 4 * 1024);
    assert_eq!(fabric.discovery.settled_edges().len(), 1024);
    assert!((1..=1024).all(|switch| fabric.edges(switch) == (9..=24).collect::<Vec<u32>>()));
    let begun = Instant::now();
    let links = fabric.discovery.links(fabric.now).len();
    println!("start: {first:?}; {links} links listed in {:?}", begun.elapsed());

    fabric.run(INTERVAL);
    fabric.sent.clear();
    let begun = Instant::now();
    fabric.run(INTERVAL * 2);
    println!("two intervals: {:?}", begun.elapsed());
    let mut windows: BTreeMap<u64, usize> = BTreeMap::new();
    let mut by_port: BTreeMap<End, BTreeSet<Timestamp>> = BTreeMap::new();
    for (when, end) in &fabric.sent {
        *windows.entry(when.0 / 100_000).or_default() += 1;
        by_port.entry(*end).or_default().insert(*when);
    }
    assert!(by_port.len() == 24 * 1024 && by_port.values().all(|times| times.len() == 2), "once an interval each");
    // 24,576 ports over 50 tenths of a second are 491.5 each.
    let most = windows.values().copied().max().unwrap();
    assert!(most < 650, "{most} within a tenth of a second");
}
