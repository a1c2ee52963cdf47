//! Bridges alone on real Open vSwitch: a ring of four, entries compiled from plans written here and sent by the real
//! sessions, frames of no protocol that any table knows, counted at every host.

mod fabric;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use fabric::{Fabric, PROGRAMS, Spec, isolated, wait_for};
use foreshadow::plan::{BridgePlan, DatapathPlan, NextHop, Place, RolePlan, Station};
use foreshadow::southbound::openflow::{AgentSettings, Southbound, SouthboundSettings, pipeline};
use foreshadow::southbound::{Command, Event, InstallCounts, WallClock};
use foreshadow::types::{DatapathId, MacAddr, NodeIndex, PortNo};
use serde_json::json;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(30);
const NODES: u16 = 4;
/// Towards the next switch of the ring, and the one before.
const NEXT: PortNo = PortNo(1);
const BEFORE: PortNo = PortNo(2);
const EDGE: PortNo = PortNo(11);
const FRAMES: u64 = 20;
/// Nobody has it.
const NOBODY: &str = "02:00:00:00:ff:ff";

fn mac(node: u16) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0x0a, node as u8])
}

fn ring() -> Spec {
    let nodes = (1..=NODES).map(|n| json!({"id": format!("s{n}"), "stage": 3, "dpid": n})).collect::<Vec<_>>();
    let links = (1..=NODES).map(|n| json!({"a": format!("s{n}:1"), "b": format!("s{}:2", n % NODES + 1)}));
    let hosts = (1..=NODES).map(|n| {
        json!({"id": format!("h{n}"), "address": format!("10.0.0.{n}/24"), "gateway": "10.0.0.254",
               "mac": mac(n).to_string(), "attach": format!("s{n}:11")})
    });
    Spec::of(json!({"nodes": nodes, "links": links.collect::<Vec<_>>(), "hosts": hosts.collect::<Vec<_>>()}))
}

/// The tree is the ring without the link from the last switch to the first. `knows` says who knows which host.
fn plan(node: u16, knows: impl Fn(u16, u16) -> bool) -> DatapathPlan {
    let away = |to: u16| (to + NODES - node) % NODES;
    let hop = |rank, port| NextHop { rank, port };
    let ways = |to: u16| match away(to) {
        2 => vec![hop(0, NEXT), hop(0, BEFORE)],
        1 => vec![hop(0, NEXT)],
        _ => vec![hop(0, BEFORE)],
    };
    let off_tree = if node == NODES { Some(NEXT) } else { (node == 1).then_some(BEFORE) };
    let stations = (1..=NODES).filter(|host| knows(node, *host));
    let stations = stations.flat_map(|host| {
        let place = Place { node: NodeIndex(host), port: EDGE };
        [None, Some(7)].map(|vlan| (Station { vlan, mac: mac(host) }, place))
    });
    DatapathPlan {
        index: NodeIndex(node),
        edge_ports: vec![EDGE],
        mirror_ports: Vec::new(),
        gateways: Vec::new(),
        attached: Vec::new(),
        next_hops: (1..=NODES).filter(|to| *to != node).map(|to| (NodeIndex(to), ways(to))).collect(),
        role: RolePlan::Bridge(BridgePlan {
            link_ports: vec![NEXT, BEFORE],
            tree_ports: [NEXT, BEFORE].into_iter().filter(|port| Some(*port) != off_tree).collect(),
            stations: Arc::new(stations.collect()),
        }),
    }
}

/// Sessions that do what the test says.
struct Bench {
    fabric: Fabric,
    runtime: Runtime,
    southbound: Option<Southbound>,
    events: Receiver<Event>,
    generation: u64,
    /// What each switch was found to hold.
    found: BTreeMap<DatapathId, BTreeSet<(Station, PortNo)>>,
    told: Vec<(DatapathId, PortNo, Vec<u8>)>,
}

impl Bench {
    fn start() -> Self {
        let fabric = Fabric::start(&ring());
        let (_, events) = channel();
        let mut bench = Self {
            fabric,
            runtime: Runtime::new().expect("a runtime starts"),
            southbound: None,
            events,
            generation: 0,
            found: BTreeMap::new(),
            told: Vec::new(),
        };
        bench.connect();
        bench
    }

    /// Listens, after ending what listened before, and waits for every switch.
    fn connect(&mut self) {
        if let Some(before) = self.southbound.take() {
            self.runtime.block_on(before.shutdown());
        }
        self.found.clear();
        let settings = SouthboundSettings {
            agent: AgentSettings::default(),
            mapping: pipeline::MAPPING,
            clock: Arc::new(WallClock::default()),
        };
        let address: SocketAddr = "0.0.0.0:6653".parse().expect("an address");
        let (southbound, mut from_sessions) = {
            let _inside = self.runtime.enter();
            Southbound::listen(address, settings).expect("the port is free in this namespace")
        };
        self.southbound = Some(southbound);
        let (sender, events) = channel();
        self.events = events;
        self.runtime.spawn(async move {
            while let Some(event) = from_sessions.recv().await {
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        while self.found.len() < usize::from(NODES) {
            self.event();
        }
    }

    fn event(&mut self) -> Event {
        let event = self.events.recv_timeout(PATIENCE).expect("an event in time");
        match &event {
            Event::Found { datapath, stations, .. } => {
                self.found.insert(*datapath, stations.iter().copied().collect());
            }
            Event::PacketIn { datapath, in_port, data } => self.told.push((*datapath, *in_port, data.clone())),
            Event::InstallFailed { datapath, error, .. } => panic!("{datapath}: {error}"),
            _ => {}
        }
        event
    }

    /// Brings every switch to its plan; what that took in all.
    fn install(&mut self, knows: impl Fn(u16, u16) -> bool) -> InstallCounts {
        self.generation += 1;
        for node in 1..=NODES {
            let (generation, plan) = (self.generation, Box::new(plan(node, &knows)));
            self.send(Command::Install { datapath: DatapathId(node.into()), generation, plan });
        }
        let mut total = InstallCounts::default();
        let mut waiting = NODES;
        while waiting > 0 {
            if let Event::Installed { generation, counts, .. } = self.event()
                && generation == self.generation
            {
                total += counts;
                waiting -= 1;
            }
        }
        total
    }

    fn send(&self, command: Command) {
        self.southbound.as_ref().expect("it listens").send(command).expect("every switch is connected");
    }

    fn frames(&self, host: u16, arguments: &[&str]) -> std::process::Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fabric/frames.py");
        let mut command = self.fabric.exec(&format!("h{host}"), &["python3", &script.display().to_string()]);
        command.args(arguments);
        command
    }

    /// Sends frames from a host; what each host saw, and how often.
    fn heard(&self, from: u16, kind: &str) -> Vec<BTreeMap<String, u64>> {
        let mut witnesses: Vec<Witness> = (1..=NODES).map(|host| Witness::start(self, host)).collect();
        fabric::run(&mut self.frames(from, &["shout", "eth0", &FRAMES.to_string(), kind]));
        std::thread::sleep(Duration::from_millis(500)); // for what should not come
        let counts: Vec<BTreeMap<String, u64>> = witnesses.iter_mut().map(Witness::counts).collect();
        let source = mac(from).to_string();
        let sources = counts.iter().flat_map(BTreeMap::keys);
        assert!(sources.clone().all(|key| key.ends_with(&source)), "the mark came out: {counts:?}");
        counts
    }

    /// How many frames each host saw, and the most often that one saw one.
    fn shout(&self, from: u16, kind: &str) -> (BTreeMap<u16, u64>, u64) {
        let counts = self.heard(from, kind);
        let most = counts.iter().flat_map(BTreeMap::values).copied().max().unwrap_or(0);
        let seen = (1..).zip(&counts).filter(|(_, counts)| !counts.is_empty());
        (seen.map(|(host, counts)| (host, counts.len() as u64)).collect(), most)
    }
}

/// `frames.py witness` at one host.
struct Witness {
    child: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
}

impl Witness {
    fn start(bench: &Bench, host: u16) -> Self {
        let mut command = bench.frames(host, &["witness"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("ip was found before");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut witness = Self { child, input, output: BufReader::new(output) };
        assert_eq!(witness.line().trim(), "ready");
        witness
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the witness speaks");
        line
    }

    fn counts(&mut self) -> BTreeMap<String, u64> {
        self.input.write_all(b"x").expect("the witness listens");
        serde_json::from_str(&self.line()).expect("counts")
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What Open vSwitch reports of its entries is what was sent, down to the last bit: nothing is sent twice, and the
/// stations are read back.
#[test]
fn ovs_bridge_entries_are_found_again() {
    isolated(&PROGRAMS, || {
        let mut bench = Bench::start();
        assert!(bench.found.values().all(BTreeSet::is_empty));
        let first = bench.install(|_, _| true);
        println!("first: {first:?}");
        assert!(first.flows_added > 0 && first.unchanged == 0);
        bench.connect();
        for (datapath, stations) in &bench.found {
            let host = mac(u16::try_from(datapath.0).expect("small"));
            let expected = [None, Some(7)].map(|vlan| (Station { vlan, mac: host }, EDGE));
            assert_eq!(*stations, BTreeSet::from(expected), "{datapath}");
        }
        let again = bench.install(|_, _| true);
        println!("again: {again:?}");
        let unchanged = first.flows_added + first.groups_added;
        assert_eq!(again, InstallCounts { unchanged, ..InstallCounts::default() });
    });
}

/// Whichever switches know where a host is: a frame for it arrives, nobody sees a frame twice, and the source address
/// is what it was.
#[test]
fn ovs_bridge_frames_arrive_whoever_knows() {
    isolated(&PROGRAMS, || {
        let mut bench = Bench::start();
        for known in 0..1_u16 << NODES {
            // Everyone knows the sender, and the switches whose bit is set know the third host.
            bench.install(|node, host| host != 3 || known >> (node - 1) & 1 == 1);
            let (seen, most) = bench.shout(1, &format!("third={}", mac(3)));
            println!("known at {known:04b}: seen by {seen:?}");
            assert_eq!((seen.get(&3), most), (Some(&FRAMES), 1), "{seen:?}");
        }
        // The last one was known to all: by now nobody else sees a frame.
        assert_eq!(bench.shout(1, &format!("third={}", mac(3))).0, [(3, FRAMES)].into());
        let others = [2, 3, 4].map(|host| (host, FRAMES));
        for (what, to) in [("everyone", "ff:ff:ff:ff:ff:ff"), ("a group", "33:33:00:00:00:05"), ("nobody", NOBODY)] {
            let (seen, most) = bench.shout(1, &format!("shout={to}"));
            println!("to {what}: {seen:?}");
            assert_eq!((seen, most), (others.into(), 1), "{what}");
        }
        assert_eq!(bench.shout(1, &format!("myown={}", mac(1))).0, BTreeMap::new(), "sent back");
        assert_eq!(bench.shout(1, "bpdus=01:80:c2:00:00:00").0, BTreeMap::new(), "reserved");
    });
}

/// A tag comes out as it went in, and a station of one VLAN is not one of another.
#[test]
fn ovs_bridge_tags_pass_through() {
    isolated(&PROGRAMS, || {
        let mut bench = Bench::start();
        bench.install(|_, _| true);
        let heard = |vlan: u16, to: &str| -> BTreeMap<u16, (usize, bool)> {
            let counts = bench.heard(1, &format!("third@{vlan}={to}"));
            println!("VLAN {vlan} to {to}: {:?}", counts.iter().map(BTreeMap::len).collect::<Vec<_>>());
            let tag = format!(" v{vlan}/third");
            let whole = |seen: &BTreeMap<String, u64>| seen.iter().all(|(key, n)| key.contains(&tag) && *n == 1);
            let seen = (1..).zip(&counts).filter(|(_, seen)| !seen.is_empty());
            seen.map(|(host, seen)| (host, (seen.len(), whole(seen)))).collect()
        };
        let all = (usize::try_from(FRAMES).expect("small"), true);
        assert_eq!(heard(7, &mac(3).to_string()), [(3, all)].into(), "known in VLAN 7");
        assert_eq!(heard(8, &mac(3).to_string()), [2, 3, 4].map(|host| (host, all)).into(), "not in VLAN 8: flooded");
        assert_eq!(heard(7, "ff:ff:ff:ff:ff:ff"), [2, 3, 4].map(|host| (host, all)).into());
    });
}

/// Ports that go down are passed by without a controller, for frames of no protocol too.
#[test]
fn ovs_bridge_groups_pass_by_dead_ports() {
    isolated(&PROGRAMS, || {
        let mut bench = Bench::start();
        bench.install(|_, _| true);
        bench.runtime.block_on(bench.southbound.take().expect("it listens").shutdown());
        let reach = |bench: &Bench, to: u16| bench.shout(1, &format!("frame={}", mac(to))).0;
        for to in [2, 3, 4] {
            assert_eq!(reach(&bench, to), [(to, FRAMES)].into());
        }
        fabric::run(&mut bench.fabric.exec("s1", &["ip", "link", "set", "p1", "down"]));
        let seen = wait_for("the way round", PATIENCE, || {
            let seen = reach(&bench, 3);
            if seen == [(3, FRAMES)].into() { Ok(seen) } else { Err(format!("{seen:?}")) }
        });
        println!("s1's way to s2 is down: to h3 {seen:?}");
        assert_eq!(reach(&bench, 2), BTreeMap::new(), "nothing else leads to it, and nothing is flooded");
        assert_eq!(reach(&bench, 4), [(4, FRAMES)].into());
        fabric::run(&mut bench.fabric.exec("s1", &["ip", "link", "set", "p2", "down"]));
        wait_for("nothing passes", PATIENCE, || {
            let seen = reach(&bench, 3);
            if seen.is_empty() { Ok(()) } else { Err(format!("{seen:?}")) }
        });
    });
}
