//! A fabric that nobody declared, found out and made reachable: four switches in a ring, a host on each.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::plan::{BridgePlan, DatapathPlan, RolePlan};
use crate::southbound::{Description, InstallCounts, Port};
use crate::types::MacAddr;
use crate::wire::arp::{Arp, Operation};

const HOST_PORT: PortNo = PortNo(3);

struct Ring {
    controller: Controller,
    now: Timestamp,
    /// What is wired to what, in both directions.
    wires: BTreeMap<(DatapathId, PortNo), (DatapathId, PortNo)>,
    plans: BTreeMap<DatapathId, DatapathPlan>,
    installs: usize,
    frames: Vec<Command>,
}

fn datapath(number: u64) -> DatapathId {
    DatapathId(number)
}

fn host_mac(number: u8) -> MacAddr {
    MacAddr([0, 0, 0, 0, 1, number])
}

fn host_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number)
}

fn port(number: u32, name: &str, up: bool) -> Port {
    Port { number: PortNo(number), mac: MacAddr([2, 0, 0, 0, 9, 9]), name: name.into(), up, speed_kbps: 0 }
}

impl Ring {
    fn new() -> Self {
        let now = Timestamp::from_secs(1_000_000);
        let mut wires = BTreeMap::new();
        for this in 1..=4 {
            let next = this % 4 + 1;
            wires.insert((datapath(this), PortNo(2)), (datapath(next), PortNo(1)));
            wires.insert((datapath(next), PortNo(1)), (datapath(this), PortNo(2)));
        }
        let controller = Controller::new(Topology::default(), LoopSettings::default(), Key([1, 2]), now);
        Self { controller, now, wires, plans: BTreeMap::new(), installs: 0, frames: Vec::new() }
    }

    /// A switch with two ring ports, a host port and its own port; it holds `entries` and these stations.
    fn connect(&mut self, number: u64, entries: usize, stations: Vec<(Station, PortNo)>) {
        let name = format!("s{number}");
        let ports = vec![port(1, "a", true), port(2, "b", true), port(3, "h", true), port(0xffff_fffe, &name, true)];
        let (datapath, peer) = (datapath(number), "test".to_owned());
        self.event(Event::SwitchUp { datapath, peer, description: Description::default(), ports });
        let links = if entries > 0 { vec![PortNo(1), PortNo(2)] } else { Vec::new() };
        self.event(Event::Found { datapath, entries, choices: BTreeMap::new(), stations, links });
    }

    fn event(&mut self, event: Event) {
        self.input(Input::Event(event));
    }

    fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for command in self.controller.handle(input, self.now).commands {
                inputs.extend(self.answer(command).map(Input::Event));
            }
        }
    }

    fn answer(&mut self, command: Command) -> Option<Event> {
        match command {
            Command::Install { datapath, generation, plan } => {
                self.plans.insert(datapath, *plan);
                self.installs += 1;
                Some(Event::Installed { datapath, generation, counts: InstallCounts::default() })
            }
            Command::Collect { datapath } => Some(Event::Reading { datapath, reading: Default::default() }),
            Command::PacketOut { datapath, port, ref data } => match self.wires.get(&(datapath, port)) {
                Some((other, in_port)) if crate::wire::lldp::is_lldp(data) => {
                    // A switch without entries hands nothing up.
                    let listens = self.plans.contains_key(other);
                    let heard = Event::PacketIn { datapath: *other, in_port: *in_port, data: data.clone() };
                    listens.then_some(heard)
                }
                _ if crate::wire::lldp::is_lldp(data) => None,
                _ => {
                    self.frames.push(command);
                    None
                }
            },
            Command::Flood { .. } => {
                self.frames.push(command);
                None
            }
            about_connections => unreachable!("bridges hold none: {about_connections:?}"),
        }
    }

    /// Lets time pass: a cycle a second, and whatever the controller wants in between.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        let mut tick = self.now + Duration::from_secs(1);
        loop {
            let due = self.controller.next_deadline().unwrap_or(tick);
            let next = due.min(tick);
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if next == tick {
                tick = tick + Duration::from_secs(1);
                self.input(Input::Tick);
            } else {
                self.input(Input::Due);
            }
        }
    }

    fn ready() -> Self {
        let mut ring = Self::new();
        (1..=4).for_each(|number| ring.connect(number, 0, Vec::new()));
        ring.pass(Duration::from_secs(4));
        ring
    }

    fn bridge(&self, number: u64) -> &BridgePlan {
        match &self.plans[&datapath(number)].role {
            RolePlan::Bridge(bridge) => bridge,
            other => panic!("{other:?}"),
        }
    }

    fn arp(&mut self, host: u8, target: u8) {
        self.arp_at(u64::from(host), host, target);
    }

    fn arp_at(&mut self, switch: u64, host: u8, target: u8) {
        let data = Arp::request(host_mac(host), host_address(host), host_address(target)).encode();
        self.event(Event::PacketIn { datapath: datapath(switch), in_port: HOST_PORT, data });
    }

    fn station(&self, number: u8) -> Station {
        Station { vlan: None, mac: host_mac(number) }
    }
}

#[test]
fn a_ring_is_found_out_and_its_tree_has_no_loop() {
    let ring = Ring::ready();
    let names: Vec<String> = ring.controller.topology.nodes.iter().map(|node| node.id.to_string()).collect();
    assert_eq!(names, ["s1", "s2", "s3", "s4"]);
    assert_eq!(ring.controller.links.len(), 4);
    let tree: usize = (1..=4).map(|number| ring.bridge(number).tree_ports.len()).sum();
    assert_eq!(tree, 2 * 3, "three of four links, each seen from both ends");
    for number in 1..=4 {
        assert_eq!(ring.plans[&datapath(number)].edge_ports, [HOST_PORT]);
        assert_eq!(ring.bridge(number).link_ports, [PortNo(1), PortNo(2)]);
    }
}

#[test]
fn a_station_is_learned_everywhere_and_answered_for() {
    let mut ring = Ring::ready();
    ring.arp(1, 2);
    assert!(
        matches!(&ring.frames[..], [Command::Flood { datapath: at, in_port: HOST_PORT, .. }] if *at == datapath(1)),
        "nobody knows host 2 yet: {:?}",
        ring.frames
    );
    ring.frames.clear();
    ring.pass(Duration::from_secs(1));
    for number in 1..=4 {
        let place = ring.bridge(number).stations[&ring.station(1)];
        assert_eq!(place, Place { node: NodeIndex(1), port: HOST_PORT });
    }
    ring.arp(3, 1);
    let [Command::PacketOut { datapath: at, port, data }] = &ring.frames[..] else { panic!("{:?}", ring.frames) };
    let answer = Arp::decode(data).expect("an answer");
    assert_eq!((*at, *port, answer.operation), (datapath(3), HOST_PORT, Operation::Reply));
    assert_eq!((answer.sender_mac, answer.sender), (host_mac(1), host_address(1)));
}

#[test]
fn a_station_that_speaks_elsewhere_has_moved() {
    let mut ring = Ring::ready();
    ring.arp(1, 2);
    ring.pass(Duration::from_secs(1));
    ring.arp_at(4, 1, 2);
    ring.pass(Duration::from_secs(1));
    assert_eq!(ring.bridge(2).stations[&ring.station(1)].node, NodeIndex(4));
}

#[test]
fn a_link_that_goes_down_leaves_the_tree_at_once() {
    let mut ring = Ring::ready();
    let cut = ring.bridge(1).tree_ports[0];
    let before = ring.installs;
    ring.event(Event::PortChanged { datapath: datapath(1), port: port(cut.0, "a", false), removed: false });
    ring.pass(Duration::from_millis(200));
    assert!(ring.installs > before);
    assert!(!ring.bridge(1).tree_ports.contains(&cut));
    let tree: usize = (1..=4).map(|number| ring.bridge(number).tree_ports.len()).sum();
    assert_eq!(tree, 2 * 3, "the fourth link takes its place");
}

#[test]
fn a_port_that_goes_down_takes_its_stations_along() {
    let mut ring = Ring::ready();
    ring.arp(1, 2);
    ring.pass(Duration::from_secs(1));
    assert!(ring.bridge(3).stations.contains_key(&ring.station(1)));
    ring.event(Event::PortChanged { datapath: datapath(1), port: port(3, "h", false), removed: false });
    ring.pass(Duration::from_secs(1));
    assert!(!ring.bridge(3).stations.contains_key(&ring.station(1)));
}

#[test]
fn a_restarted_controller_goes_on_from_what_it_finds() {
    let mut before = Ring::ready();
    (1..=4).for_each(|number| before.arp(number, 9));
    before.pass(Duration::from_secs(2));
    let mut ring = Ring::new();
    // The switches go on handing LLDP up: they hold the entries of an earlier controller.
    ring.plans = before.plans.clone();
    // They come in another order than they did then.
    for number in [3, 1, 4, 2_u8] {
        let station = ring.station(number);
        ring.connect(u64::from(number), 12, vec![(station, HOST_PORT)]);
        ring.pass(Duration::from_millis(100));
    }
    assert_eq!(ring.installs, 0, "what leads to switches that are still to come must stay");
    ring.pass(Duration::from_secs(9));
    assert_eq!(ring.installs, 0, "Open vSwitch may take 8 s to come back");
    ring.pass(Duration::from_secs(3));
    assert_eq!(ring.installs, 4);
    assert_eq!(ring.plans, before.plans, "nothing is sent again: the same ports, groups and stations");
}

/// A switch that does not come back goes on forwarding along its old tree: what leads to it must not become an edge, or
/// every broadcast would go round for ever.
#[test]
fn ports_towards_a_switch_that_did_not_come_back_are_no_edges() {
    for missing in 1..=4 {
        let before = Ring::ready();
        let mut ring = Ring::new();
        ring.plans = before.plans.clone();
        for number in (1..=4).filter(|number| *number != missing) {
            ring.connect(number, 12, Vec::new());
        }
        ring.pass(Duration::from_secs(40));
        assert!(ring.installs >= 3);
        for number in (1..=4).filter(|number| *number != missing) {
            assert_eq!(ring.plans[&datapath(number)].edge_ports, [HOST_PORT], "s{missing} is missing, s{number}");
        }
        ring.connect(missing, 12, Vec::new());
        ring.pass(Duration::from_secs(10));
        assert_eq!(ring.plans, before.plans, "s{missing} came back");
    }
}

#[test]
fn a_bridge_that_is_gone_for_long_is_forgotten() {
    let mut ring = Ring::ready();
    ring.arp(1, 2);
    ring.pass(Duration::from_secs(1));
    ring.event(Event::SwitchDown { datapath: datapath(1), reason: "test".into() });
    ring.pass(Duration::from_secs(590));
    assert_eq!(ring.controller.topology.nodes.len(), 4);
    assert!(ring.bridge(3).stations.contains_key(&ring.station(1)));
    ring.pass(Duration::from_secs(20));
    assert_eq!(ring.controller.topology.nodes.len(), 3);
    assert!(!ring.bridge(3).stations.contains_key(&ring.station(1)));
    for number in 2..=4 {
        assert_eq!(ring.plans[&datapath(number)].edge_ports, [HOST_PORT], "it may still forward");
    }
    ring.connect(1, 12, Vec::new());
    ring.pass(Duration::from_secs(10));
    assert_eq!(ring.bridge(2).link_ports.len(), 2);
}

#[test]
fn a_switch_out_of_sight_keeps_its_stations_and_gets_its_plan_back() {
    let mut ring = Ring::ready();
    ring.arp(1, 2);
    ring.pass(Duration::from_secs(1));
    let (before, plan) = (ring.installs, ring.plans[&datapath(1)].clone());
    ring.event(Event::SwitchDown { datapath: datapath(1), reason: "test".into() });
    ring.pass(Duration::from_secs(2));
    assert_eq!(ring.installs, before, "nothing changed for the others");
    ring.connect(1, 0, Vec::new());
    ring.pass(Duration::from_millis(150));
    assert_eq!((ring.installs, &ring.plans[&datapath(1)]), (before + 1, &plan));
}
