//! Discovery over wires in memory: right, wrong, cut, one-way, and without given ports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{clos, clos_text, index, read};
use crate::config::{LinkKind, Topology};
use crate::network::discovery::{Discovery, HOLD_INTERVALS, Heard};
use crate::network::{LinkState, Trust, WiredLink};
use crate::southbound::{Command, Port};
use crate::types::{DatapathId, MacAddr, NodeId, PortNo, Timestamp};
use crate::wire::lldp::{Key, Probe};

const KEY: Key = Key([11, 22]);
const INTERVAL: Duration = Duration::from_secs(5);
const START: Timestamp = Timestamp::from_secs(1_000);

type End = (DatapathId, PortNo);

/// Switches and wires in memory: what is sent out of one end comes in at the other.
struct Wiring {
    topology: Topology,
    discovery: Discovery,
    wires: BTreeMap<End, End>,
    now: Timestamp,
}

impl Wiring {
    /// Wired as the topology of `wired` says, while the controller believes `declared`.
    fn new(declared: Topology, wired: &Topology) -> Self {
        let discovery = Discovery::new(&declared, INTERVAL, KEY, START);
        let mut wires = BTreeMap::new();
        for link in &wired.links {
            let [a, b] = [&link.a, &link.b].map(|end| (wired.node(&end.node).unwrap().datapath, end.port.unwrap()));
            wires.insert(a, b);
            wires.insert(b, a);
        }
        Self { topology: declared, discovery, wires, now: START }
    }

    fn end(&self, name: &str, port: u32) -> End {
        (self.datapath(name), PortNo(port))
    }

    fn datapath(&self, name: &str) -> DatapathId {
        self.topology.node(&NodeId::new(name)).unwrap().datapath
    }

    fn ports_of(&self, datapath: DatapathId) -> Vec<Port> {
        let numbers: BTreeSet<u32> =
            (1..=10).chain(self.wires.keys().filter(|end| end.0 == datapath).map(|end| end.1.0)).collect();
        numbers.into_iter().map(|number| port(number, true)).collect()
    }

    fn connect(&mut self, name: &str) {
        let datapath = self.datapath(name);
        let ports = self.ports_of(datapath);
        self.discovery.switch_up(datapath, &ports, self.now);
    }

    fn connect_all(&mut self) {
        let names: Vec<String> = self.topology.nodes.iter().map(|node| node.id.to_string()).collect();
        names.iter().for_each(|name| self.connect(name));
    }

    /// Sends what is due now over the wires; returns how many probes that were.
    fn exchange(&mut self) -> usize {
        let mut sent = 0;
        loop {
            let commands = self.discovery.poll(self.now);
            if commands.is_empty() {
                return sent;
            }
            for command in commands {
                sent += 1;
                let Command::PacketOut { datapath, port, data } = command else { panic!("{command:?}") };
                if let Some((there, in_port)) = self.wires.get(&(datapath, port)).copied() {
                    self.discovery.packet_in(there, in_port, &data, self.now);
                }
            }
        }
    }

    /// Lets time pass, a second at a time.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            self.exchange();
        }
    }

    fn cut(&mut self, end: End) {
        if let Some(other) = self.wires.remove(&end) {
            self.wires.remove(&other);
        }
    }

    fn link(&self, a: &str, b: &str) -> WiredLink {
        let (a, b) = (index(&self.topology, a), index(&self.topology, b));
        let links = self.discovery.links(self.now);
        links
            .into_iter()
            .find(|link| link.kind == LinkKind::Data && (link.a, link.b) == (a, b))
            .expect("a declared link")
    }

    fn differences(&self) -> Vec<String> {
        self.discovery.differences(self.now)
    }
}

fn port(number: u32, up: bool) -> Port {
    let mac = MacAddr([2, 0, 0, 0, 0, number.to_be_bytes()[3]]);
    Port { number: PortNo(number), mac, name: format!("eth{number}"), up, speed_kbps: 0 }
}

#[test]
fn a_fabric_that_is_wired_as_declared_comes_up_whole() {
    let mut fabric = Wiring::new(clos(), &clos());
    assert!(!fabric.discovery.settled(fabric.now));
    assert_eq!(fabric.discovery.next_deadline(), None, "nobody is there");
    fabric.connect_all();
    assert_eq!(fabric.discovery.next_deadline(), Some(START), "the first probes are due at once");
    let sent = fabric.exchange();
    assert_eq!(sent, 11 * 10);
    let links = fabric.discovery.links(fabric.now);
    assert_eq!(links.len(), 28, "nothing besides the declared ones");
    assert!(links.iter().all(|link| (link.state, link.trust) == (LinkState::Up, Trust::Good)), "{links:?}");
    assert_eq!(fabric.differences(), [""; 0]);
    assert!(fabric.discovery.settled(fabric.now));
    assert_eq!(fabric.discovery.next_deadline(), Some(START + INTERVAL));
    assert_eq!(fabric.discovery.poll(START + INTERVAL).len(), 110, "once an interval");
}

#[test]
fn probes_are_paced() {
    let mut text = String::from("nodes:\n  - {id: r, stage: 1, dpid: 1, capacity_connections: 9}\n");
    for at in 2..40 {
        text.push_str(&format!("  - {{id: o{at}, stage: 0, dpid: {at}}}\n"));
    }
    let topology = read(&text);
    let mut fabric = Wiring::new(topology.clone(), &topology);
    fabric.connect_all();
    let bursts: Vec<usize> = (0..5).map(|_| fabric.discovery.poll(START).len()).collect();
    assert_eq!(bursts, [128, 128, 128, 6, 0]);
}

#[test]
fn a_port_that_goes_down_takes_its_link_down_at_once() {
    let mut fabric = Wiring::new(clos(), &clos());
    fabric.connect_all();
    fabric.exchange();
    let s1 = fabric.datapath("s1");
    assert!(fabric.discovery.port_changed(s1, &port(4, false), false, fabric.now));
    assert!(!fabric.discovery.port_changed(s1, &port(4, false), false, fabric.now), "told twice, as Open vSwitch does");
    let link = fabric.link("s1", "r1");
    assert_eq!((link.state, link.trust), (LinkState::Down, Trust::Dead));
    assert!(fabric.discovery.port_changed(s1, &port(4, true), false, fabric.now));
    assert_eq!(fabric.link("s1", "r1").state, LinkState::Unseen, "up means seen");
    fabric.run(u64::from(HOLD_INTERVALS) * 5);
    assert_eq!(fabric.link("s1", "r1").state, LinkState::Up);
    assert!(fabric.discovery.port_changed(s1, &port(4, true), true, fabric.now), "removed");
    assert_eq!(fabric.link("s1", "r1").state, LinkState::Down);
    assert_eq!(fabric.differences(), ["s1:4 is declared to be wired to r1:1, but the switch has no such port"]);
}

#[test]
fn a_wire_that_falls_silent_is_doubted_after_three_intervals() {
    let mut fabric = Wiring::new(clos(), &clos());
    fabric.connect_all();
    fabric.exchange();
    fabric.cut(fabric.end("t1", 1));
    fabric.run(15);
    assert_eq!(fabric.link("t1", "s1").state, LinkState::Up);
    fabric.run(1);
    let link = fabric.link("t1", "s1");
    assert_eq!((link.state, link.trust), (LinkState::Unseen, Trust::Doubtful));
    assert_eq!(fabric.differences(), ["t1:1 is declared to be wired to s1:1, but LLDP does not see it"]);
    assert_eq!(fabric.link("t1", "s2").state, LinkState::Up);
}

#[test]
fn a_wire_that_passes_one_way_only_is_told() {
    let mut fabric = Wiring::new(clos(), &clos());
    fabric.connect_all();
    fabric.wires.remove(&fabric.end("t1", 1));
    fabric.run(20);
    assert_eq!(fabric.link("t1", "s1").trust, Trust::Doubtful);
    assert_eq!(fabric.differences(), ["LLDP passes from s1:1 to t1:1, but not back"]);
}

#[test]
fn a_session_that_is_lost_leaves_the_wires_as_they_were_for_a_while() {
    let mut fabric = Wiring::new(clos(), &clos());
    fabric.connect_all();
    fabric.exchange();
    fabric.discovery.switch_down(fabric.datapath("s1"), fabric.now);
    fabric.run(15);
    assert_eq!((fabric.link("t1", "s1").state, fabric.link("t1", "s1").trust), (LinkState::Up, Trust::Good));
    fabric.run(1);
    assert_eq!(fabric.link("t1", "s1").trust, Trust::Doubtful, "other paths are better now");
    assert_eq!(fabric.differences(), [""; 0], "the session is what is missing, not the wire");
    fabric.connect("s1");
    assert_eq!(fabric.link("t1", "s1").trust, Trust::Good);
    fabric.run(6);
    assert_eq!(fabric.link("t1", "s1").state, LinkState::Up);
}

#[test]
fn a_backup_hears_nothing_and_doubts_nothing() {
    let mut fabric = Wiring::new(clos(), &clos());
    fabric.connect_all();
    fabric.exchange();
    fabric.wires.clear();
    for _ in 0..60 {
        fabric.run(1);
        for node in fabric.topology.nodes.clone() {
            fabric.discovery.stands_by(node.datapath, fabric.now);
        }
    }
    let link = fabric.link("t1", "s1");
    assert_eq!((link.state, link.trust), (LinkState::Up, Trust::Good), "another controller hears its probes");
    fabric.run(16);
    assert_eq!(fabric.link("t1", "s1").trust, Trust::Doubtful, "it has been primary for three intervals");
}

#[test]
fn wrong_wires_are_told_by_both_ends() {
    // t1's two uplinks are crossed, and a spare port of t3 leads to a spare one of s2.
    let wired = read(
        &clos_text()
            .replace("{a: \"t1:1\", b: \"s1:1\"}", "{a: \"t1:2\", b: \"s1:1\"}")
            .replace("{a: \"t1:2\", b: \"s2:1\"}", "{a: \"t1:1\", b: \"s2:1\"}\n  - {a: \"t3:9\", b: \"s2:9\"}"),
    );
    let mut fabric = Wiring::new(clos(), &wired);
    fabric.connect_all();
    fabric.run(20);
    assert_eq!(
        fabric.differences(),
        [
            "t1:1 is wired to s2:1, declared s1:1",
            "s1:1 is wired to t1:2, declared t1:1",
            "t1:2 is wired to s1:1, declared s2:1",
            "s2:1 is wired to t1:1, declared t1:2",
            "s2:9 is wired to t3:9, which is not declared",
        ]
    );
    assert_eq!(fabric.link("t1", "s1").trust, Trust::Dead, "never used");
    let links = fabric.discovery.links(fabric.now);
    assert_eq!(links.iter().filter(|link| link.state == LinkState::Undeclared).count(), 3);
    let t3 = fabric.datapath("t3");
    assert!(
        fabric.discovery.is_wire(t3, PortNo(9), fabric.now) && !fabric.discovery.is_wire(t3, PortNo(10), fabric.now)
    );
}

#[test]
fn ports_that_are_not_given_are_found() {
    // Every port of every link is left out.
    let mut text = String::new();
    for line in clos_text().lines() {
        let line = if line.contains("{a: \"") {
            let parts: Vec<&str> = line.split('"').collect();
            let node = |end: &str| end.split(':').next().unwrap().to_owned();
            format!("{}{}{}{}{}", parts[0], node(parts[1]), parts[2], node(parts[3]), parts[4])
        } else {
            line.to_owned()
        };
        text.push_str(&line);
        text.push('\n');
    }
    let topology = read(&text);
    assert!(topology.links.iter().all(|link| link.a.port.is_none() && link.b.port.is_none()));
    let mut fabric = Wiring::new(topology, &clos());
    assert!(!fabric.discovery.settled(fabric.now));
    fabric.connect_all();
    fabric.exchange();
    assert!(fabric.discovery.settled(fabric.now));
    assert_eq!(fabric.differences(), [""; 0]);
    let ports = |links: Vec<WiredLink>| links.iter().map(|link| (link.a_port, link.b_port)).collect::<Vec<_>>();
    let declared: Vec<_> = clos().links.iter().map(|link| (link.a.port, link.b.port)).collect();
    assert_eq!(ports(fabric.discovery.links(fabric.now)), declared);
    // The plug moves to another port: the link follows it.
    fabric.cut(fabric.end("t1", 1));
    let (a, b) = (fabric.end("t1", 8), fabric.end("s1", 1));
    fabric.wires.insert(a, b);
    fabric.wires.insert(b, a);
    fabric.run(6);
    let link = fabric.link("t1", "s1");
    assert_eq!((link.a_port, link.b_port, link.state), (Some(PortNo(8)), Some(PortNo(1)), LinkState::Up));
}

#[test]
fn what_is_forged_foreign_or_stale_is_refused() {
    let mut fabric = Wiring::new(clos(), &clos());
    fabric.connect_all();
    let (here, there) = (fabric.end("t1", 10), fabric.end("r1", 9));
    let mut probe = Probe { datapath: there.0, port: there.1, sent: fabric.now, ttl_s: 15 };
    let source = MacAddr([2, 0, 0, 0, 0, 1]);
    let mut hear = |frame: &[u8], now| fabric.discovery.packet_in(here.0, here.1, frame, now);
    assert_eq!(hear(b"short", START), Heard::Other);
    let Heard::Refused(why) = hear(&probe.encode(source, Key([0, 0])), START) else { panic!("taken as ours") };
    assert!(why.starts_with("t1:10 heard expected a check made with this controller's key"), "{why}");
    let kept = probe.encode(source, KEY);
    let later = START + INTERVAL * HOLD_INTERVALS + Duration::from_secs(1);
    assert_eq!(hear(&kept, later), Heard::Refused("t1:10 heard a probe of r1:9 that is 16 s old".to_owned()));
    probe.sent = later;
    assert_eq!(hear(&probe.encode(source, KEY), later), Heard::Probe { changed: true });
    assert_eq!(hear(&probe.encode(source, KEY), later), Heard::Probe { changed: false });
    assert_eq!(fabric.discovery.links(later).len(), 28, "heard one way only, it is not a wire");
}
