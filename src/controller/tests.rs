//! The controller against a fabric that answers as switches do, without any protocol.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::{Stage, load_topology};
use crate::plan::{DatapathPlan, RolePlan};
use crate::southbound::{ConnectionCounters, Description, InstallCounts, Port, Reading, SessionStatus};
use crate::types::{MacAddr, PortNo};
use crate::wire::liveness::LivenessProbe;

const KEY: Key = Key([1, 2]);

/// Switches that take every plan, wire LLDP through and count what the test says.
struct Fabric {
    controller: Controller,
    now: Timestamp,
    plans: BTreeMap<DatapathId, DatapathPlan>,
    installs: usize,
    counters: BTreeMap<DatapathId, ConnectionCounters>,
    silent: BTreeSet<DatapathId>,
    /// Switches that another controller is in charge of: they take and give no packets.
    foreign: BTreeSet<DatapathId>,
    /// What switches hold from an earlier controller.
    held: BTreeMap<DatapathId, BTreeMap<u16, Choice>>,
    /// Switches start without entries.
    blank: bool,
    told: Vec<(&'static str, Option<NodeId>, String)>,
}

impl Fabric {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/clos.yaml");
        let topology = load_topology(&path).expect("the Clos is good");
        let now = Timestamp::from_secs(1_000_000);
        Self {
            controller: Controller::new(topology, LoopSettings::default(), KEY, now),
            now,
            plans: BTreeMap::new(),
            installs: 0,
            counters: BTreeMap::new(),
            silent: BTreeSet::new(),
            foreign: BTreeSet::new(),
            held: BTreeMap::new(),
            blank: false,
            told: Vec::new(),
        }
    }

    fn datapath(&self, name: &str) -> DatapathId {
        self.controller.topology.node(&NodeId::new(name)).expect("a node of the Clos").datapath
    }

    fn connect(&mut self, datapath: DatapathId) {
        let node = self.controller.topology.by_datapath(datapath).expect("declared").id.clone();
        let wired = self.controller.topology.links.iter().flat_map(|link| [&link.a, &link.b]);
        let hosts = self.controller.topology.hosts.iter().map(|host| &host.attached);
        let ports = wired.chain(hosts).filter(|end| end.node == node).filter_map(|end| end.port);
        let ports = ports
            .map(|number| Port {
                number,
                mac: MacAddr([2, 0, 0, 0, 0, 1]),
                name: String::new(),
                up: true,
                speed_kbps: 0,
            })
            .collect();
        let description = Description::default();
        self.input(Input::Event(Event::SwitchUp { datapath, peer: "test".into(), description, ports }));
        let choices = self.held.get(&datapath).cloned().unwrap_or_default();
        let entries = if self.blank { 0 } else { 1 };
        self.input(Input::Event(Event::Found { datapath, entries, choices, stations: Vec::new(), links: Vec::new() }));
    }

    fn connect_all(&mut self) {
        let all: Vec<DatapathId> = self.controller.switches.keys().copied().collect();
        all.into_iter().for_each(|datapath| self.connect(datapath));
    }

    /// Hands in one input and everything that follows from it.
    fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let output = self.controller.handle(input, self.now);
            self.told.extend(output.notices.into_iter().map(|notice| (notice.kind, notice.node, notice.message)));
            for command in output.commands {
                inputs.extend(self.answer(command).map(Input::Event));
            }
            if inputs.is_empty()
                && self.controller.gathered
                && let Some(deadline) = self.controller.next_deadline()
            {
                self.now = self.now.max(deadline);
                inputs.push_back(Input::Due);
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
            Command::Collect { datapath } if self.silent.contains(&datapath) => None,
            Command::Collect { datapath } => {
                let reading = Reading { connections: self.counters.get(&datapath).copied(), ..Reading::default() };
                Some(Event::Reading { datapath, reading })
            }
            Command::PacketOut { datapath, port, data } => {
                if self.foreign.contains(&datapath) {
                    return None;
                }
                // Routers send liveness probes back.
                if LivenessProbe::decode(&data, KEY).is_ok() {
                    return Some(Event::PacketIn { datapath, in_port: port, data });
                }
                let (datapath, in_port) = self.other_end(datapath, port)?;
                if self.foreign.contains(&datapath) {
                    return None;
                }
                Some(Event::PacketIn { datapath, in_port, data })
            }
            _ => None,
        }
    }

    fn other_end(&self, datapath: DatapathId, port: PortNo) -> Option<(DatapathId, PortNo)> {
        let topology = &self.controller.topology;
        let name = &topology.by_datapath(datapath)?.id;
        let other = topology.links.iter().find_map(|link| {
            let is = |end: &crate::config::LinkEnd| end.node == *name && end.port == Some(port);
            if is(&link.a) { Some(&link.b) } else { is(&link.b).then_some(&link.a) }
        })?;
        Some((topology.node(&other.node)?.datapath, other.port?))
    }

    fn cycle(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        self.input(Input::Tick);
    }

    fn router_counters(&mut self) {
        let routers: Vec<DatapathId> = self.controller.topology.routers().map(|node| node.datapath).collect();
        for router in routers {
            self.counters.entry(router).or_default();
        }
    }

    fn ready() -> Self {
        let mut fabric = Self::new();
        fabric.router_counters();
        fabric.connect_all();
        fabric.cycle();
        fabric.cycle();
        fabric
    }

    fn told(&self, kind: &str) -> usize {
        self.told.iter().filter(|(told, ..)| *told == kind).count()
    }
}

#[test]
fn nothing_is_installed_before_the_fabric_is_whole() {
    let mut fabric = Fabric::new();
    fabric.router_counters();
    let last = fabric.datapath("t3");
    let others: Vec<DatapathId> = fabric.controller.switches.keys().copied().filter(|other| *other != last).collect();
    others.into_iter().for_each(|datapath| fabric.connect(datapath));
    fabric.cycle();
    assert_eq!(fabric.installs, 0, "t3 is not there yet");
    fabric.connect(last);
    fabric.cycle();
    fabric.cycle();
    assert_eq!(fabric.plans.len(), 11);
    assert!(fabric.controller.settled());
    assert!(fabric.controller.differences.is_empty(), "{:?}", fabric.controller.differences);
}

#[test]
fn a_fabric_that_stays_incomplete_is_planned_for_after_a_while() {
    let mut fabric = Fabric::new();
    fabric.router_counters();
    let first = fabric.datapath("t1");
    fabric.connect(first);
    for _ in 0..14 {
        fabric.cycle();
    }
    assert_eq!(fabric.installs, 0);
    fabric.cycle();
    assert_eq!(fabric.plans.keys().copied().collect::<Vec<_>>(), [first]);
}

#[test]
fn a_blank_fabric_is_not_waited_for() {
    let mut fabric = Fabric::new();
    fabric.blank = true;
    fabric.router_counters();
    fabric.connect_all();
    fabric.cycle();
    assert_eq!(fabric.plans.len(), 11, "nothing is lost by planning before probes can be heard");
}

#[test]
fn what_does_not_change_is_not_sent_again() {
    let mut fabric = Fabric::ready();
    let installs = fabric.installs;
    for _ in 0..20 {
        fabric.cycle();
    }
    assert_eq!(fabric.installs, installs);
    let back = fabric.datapath("s1");
    fabric.input(Input::Event(Event::SwitchDown { datapath: back, reason: "test".into() }));
    fabric.connect(back);
    assert!(fabric.installs > installs, "a new session is told its plan, its installer finds the difference");
}

#[test]
fn a_silent_switch_does_not_hold_the_cycle() {
    let mut fabric = Fabric::ready();
    let router = fabric.datapath("r2");
    fabric.silent.insert(router);
    let cycle = fabric.controller.cycle;
    fabric.cycle();
    assert!(!fabric.controller.settled());
    fabric.cycle();
    assert_eq!(fabric.controller.cycle, cycle + 2);
    assert_eq!(fabric.told("no-reading"), 1);
    fabric.input(Input::GiveUp);
    assert!(fabric.controller.settled());
    assert_eq!(fabric.told("no-reading"), 2);
}

#[test]
fn a_rising_load_moves_slots_before_the_threshold() {
    let mut fabric = Fabric::ready();
    let router = fabric.controller.topology.node(&NodeId::new("r1")).expect("r1").clone();
    let settings = router.router.clone().expect("a first-stage router");
    let limit = u64::from(settings.capacity_connections - settings.threshold_available);
    let share = |fabric: &Fabric| {
        let access = fabric.plans.values().filter_map(|plan| match &plan.role {
            RolePlan::Access(access) => Some(access),
            _ => None,
        });
        let slots: Vec<NodeIndex> =
            access.flat_map(|access| &access.services).flat_map(|service| service.choice.slots.clone()).collect();
        slots.iter().filter(|slot| **slot == router.index).count() as f64 / slots.len() as f64
    };
    let before = share(&fabric);
    for second in 0..120_u64 {
        let counters = fabric.counters.get_mut(&router.datapath).expect("r1");
        counters.occupied = limit * second / 125;
        counters.admitted = counters.occupied + second;
        fabric.cycle();
    }
    assert_eq!(fabric.told("crossing"), 0);
    assert!(fabric.told("forecast") >= 1, "{:?}", fabric.told);
    let decision = fabric.controller.outcome.decisions.iter().find(|decision| decision.router == router.id);
    let decision = decision.expect("r1 is decided on");
    assert!(decision.shift_percent >= 10.0, "{decision:?}");
    assert!(share(&fabric) < before, "{} of the slots before, {} now", before, share(&fabric));
    assert_eq!(decision.generation, fabric.controller.generation);
}

#[test]
fn a_dead_link_changes_only_the_plans_that_used_it() {
    let mut fabric = Fabric::ready();
    let (before, installs) = (fabric.plans.clone(), fabric.installs);
    let datapath = fabric.datapath("s1");
    let towards_r1 = {
        let topology = &fabric.controller.topology;
        let (s1, r1) = (NodeId::new("s1"), NodeId::new("r1"));
        let joins = |link: &&crate::config::Link| {
            (link.a.node == s1 && link.b.node == r1) || (link.a.node == r1 && link.b.node == s1)
        };
        let link = topology.links.iter().find(joins).expect("s1 and r1 are joined");
        if link.a.node == s1 { link.a.port } else { link.b.port }.expect("ports are given")
    };
    let port = Port { number: towards_r1, mac: MacAddr([2; 6]), name: String::new(), up: false, speed_kbps: 0 };
    fabric.input(Input::Event(Event::PortChanged { datapath, port, removed: false }));
    assert!(fabric.installs > installs);
    assert!(fabric.told.iter().any(|(kind, _, message)| *kind == "link" && message.contains("is down")));
    let changed: BTreeSet<DatapathId> = fabric
        .plans
        .iter()
        .filter(|(datapath, plan)| before[*datapath] != **plan)
        .map(|(datapath, _)| *datapath)
        .collect();
    assert!(changed.contains(&datapath));
    let outside = fabric.controller.topology.nodes.iter().filter(|node| node.stage == Stage::Outside);
    assert!(outside.map(|node| node.datapath).all(|outside| !changed.contains(&outside)));
}

#[test]
fn a_stranger_is_told_of_and_left_alone() {
    let mut fabric = Fabric::ready();
    let installs = fabric.installs;
    let (datapath, peer, description) = (DatapathId(0xbad), "test".to_owned(), Description::default());
    fabric.input(Input::Event(Event::SwitchUp { datapath, peer, description, ports: Vec::new() }));
    fabric.cycle();
    assert_eq!(fabric.told("switch-unknown"), 1);
    assert_eq!(fabric.installs, installs);
}

#[test]
fn who_takes_over_from_another_controller_fails_nobody() {
    let mut fabric = Fabric::ready();
    let all: Vec<DatapathId> = fabric.controller.switches.keys().copied().collect();
    let become_all = |fabric: &mut Fabric, role| {
        for datapath in &all {
            match role {
                SessionRole::Slave => fabric.foreign.insert(*datapath),
                _ => fabric.foreign.remove(datapath),
            };
            fabric.input(Input::Event(Event::RoleChanged { datapath: *datapath, role, reason: "test".to_owned() }));
        }
    };
    let ten_seconds = |fabric: &mut Fabric| {
        for _ in 0..1_000 {
            fabric.now = fabric.now + Duration::from_millis(10);
            fabric.input(Input::Due);
        }
    };
    // Each is asked at a moment of its own.
    for router in ["r1", "r2", "r3", "r4"] {
        let datapath = fabric.datapath(router);
        fabric.now = fabric.now + Duration::from_millis(30);
        fabric.input(Input::Event(Event::SwitchDown { datapath, reason: "test".to_owned() }));
        fabric.connect(datapath);
    }
    ten_seconds(&mut fabric);
    for _ in 0..2 {
        become_all(&mut fabric, SessionRole::Slave);
        ten_seconds(&mut fabric);
        become_all(&mut fabric, SessionRole::Master);
        ten_seconds(&mut fabric);
    }
    assert_eq!(fabric.told("failover"), 0, "{:?}", fabric.told);
}

#[test]
fn a_router_that_comes_back_empty_has_failed() {
    let mut fabric = Fabric::ready();
    let r1 = fabric.datapath("r1");
    let comes_back = |fabric: &mut Fabric| {
        fabric.input(Input::Event(Event::SwitchDown { datapath: r1, reason: "test".to_owned() }));
        fabric.connect(r1);
    };
    comes_back(&mut fabric);
    assert_eq!(fabric.told("failover"), 0, "only its session broke");
    fabric.blank = true;
    comes_back(&mut fabric);
    assert_eq!((fabric.told("failover"), fabric.told("failover-none")), (1, 1), "{:?}", fabric.told);
    let mut fabric = Fabric::new();
    fabric.blank = true;
    fabric.connect_all();
    fabric.cycle();
    assert_eq!(fabric.told("failover"), 0, "nobody held anything before");
}

#[test]
fn a_restarted_controller_goes_on_with_the_shift_in_force() {
    let mut before = Fabric::ready();
    let router = before.controller.topology.node(&NodeId::new("r1")).expect("r1").datapath;
    before.counters.get_mut(&router).expect("r1").occupied = 450;
    before.cycle();
    before.cycle();
    let choices = |fabric: &Fabric| -> BTreeMap<DatapathId, BTreeMap<u16, Choice>> {
        let access = fabric.plans.iter().filter_map(|(datapath, plan)| match &plan.role {
            RolePlan::Access(access) => Some((*datapath, access)),
            _ => None,
        });
        access
            .map(|(datapath, access)| {
                let numbered = access.services.iter().map(|service| (service.number, service.choice.clone()));
                (datapath, numbered.collect())
            })
            .collect()
    };
    let shifted = choices(&before);
    assert_ne!(shifted, choices(&Fabric::ready()), "450 of 500 crosses the threshold: r1 is shifted");
    let mut after = Fabric::new();
    after.held = shifted.clone();
    after.counters = before.counters.clone();
    after.connect_all();
    for _ in 0..3 {
        after.cycle();
    }
    assert_eq!(after.told("adopted"), 3);
    assert_eq!(choices(&after), shifted);
}

#[test]
fn made_up_hosts_cost_no_more_than_ten_plans_a_second() {
    let mut fabric = Fabric::ready();
    let datapath = fabric.datapath("t1");
    let generation = fabric.controller.generation;
    fabric.now = fabric.now + Duration::from_secs(1);
    for host in 0..200_u8 {
        let sender = std::net::Ipv4Addr::new(10, 1, 1, host.clamp(20, 250));
        let mac = MacAddr([2, 9, 9, 9, 9, host]);
        let data = crate::wire::arp::Arp::request(mac, sender, std::net::Ipv4Addr::new(10, 1, 1, 254)).encode();
        let event = Event::PacketIn { datapath, in_port: PortNo(10), data };
        let output = fabric.controller.handle(Input::Event(event), fabric.now);
        for command in output.commands {
            fabric.answer(command);
        }
    }
    assert!(fabric.controller.next_deadline().is_some(), "what came after the first is gathered");
    assert!(fabric.controller.generation <= generation + 1, "{generation} -> {}", fabric.controller.generation);
}

#[test]
fn a_flood_of_forged_probes_is_told_of_once() {
    let mut fabric = Fabric::ready();
    let datapath = fabric.datapath("t1");
    let probe = crate::wire::lldp::Probe { datapath, port: PortNo(1), sent: fabric.now, ttl_s: 10 };
    let data = probe.encode(MacAddr([2; 6]), Key([8, 9]));
    for _ in 0..1_000 {
        fabric.input(Input::Event(Event::PacketIn { datapath, in_port: PortNo(1), data: data.clone() }));
    }
    assert_eq!(fabric.told("lldp-refused"), 1);
}

#[test]
fn a_change_of_role_is_told_once_with_its_reason() {
    let mut fabric = Fabric::ready();
    let datapath = fabric.datapath("r1");
    let status = |role| {
        let status = Box::new(SessionStatus { role, ..SessionStatus::default() });
        Input::Event(Event::SessionStatus { datapath, status })
    };
    let changed = |role, reason: &str| Input::Event(Event::RoleChanged { datapath, role, reason: reason.to_owned() });
    for _ in 0..2 {
        fabric.input(status(SessionRole::Master));
    }
    assert_eq!(fabric.told("role"), 0, "as it should be");
    fabric.input(changed(SessionRole::Slave, "election id 9 is primary"));
    fabric.input(status(SessionRole::Slave));
    fabric.input(changed(SessionRole::Master, "this controller's election id is the highest"));
    // A session that begins as a backup says so by its status alone.
    fabric.connect(datapath);
    for _ in 0..2 {
        fabric.input(status(SessionRole::Slave));
    }
    let told: Vec<_> = fabric.told.iter().filter(|(kind, ..)| *kind == "role").collect();
    assert!(told.iter().all(|(_, node, _)| *node == Some(NodeId::new("r1"))));
    let messages: Vec<_> = told.iter().map(|(.., message)| message.as_str()).collect();
    let expected = [
        "this controller is backup (slave) here: election id 9 is primary",
        "this controller is primary (master) here: this controller's election id is the highest",
        "this controller is backup (slave) here: as the session began",
    ];
    assert_eq!(messages, expected);
}
