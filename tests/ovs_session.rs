//! Sessions with real Open vSwitch: a controller that is killed and restarted finds everything as it left it.

mod ovs;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command as Program, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use foreshadow::plan::{
    AccessPlan, Attachment, Choice, DatapathPlan, NextHop, OutsidePlan, RolePlan, RouterPlan, SLOTS, ServiceSlots,
    Spread,
};
use foreshadow::southbound::openflow::{AgentSettings, Southbound, SouthboundSettings, WallClock, pipeline};
use foreshadow::southbound::{Command, Event, InstallCounts};
use foreshadow::types::{DatapathId, MacAddr, NodeIndex, PortNo};
use ovs::{Fabric, PROGRAMS, Spec, isolated};
use pipeline::cookie::INSTALLED;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);
/// Tells the process to be the controller; the value is the number of slots of the first router.
const ROLE: &str = "FORESHADOW_TEST_CONTROLLER";

const OUTSIDE: NodeIndex = NodeIndex(1);
const ROUTERS: [NodeIndex; 2] = [NodeIndex(2), NodeIndex(3)];
const TRANSIT: NodeIndex = NodeIndex(4);
const ACCESS: NodeIndex = NodeIndex(5);
const SWITCHES: [(&str, u64); 4] = [("o1", 1), ("r1", 2), ("t1", 4), ("a1", 5)];

fn spec() -> Spec {
    let stage = |id: &str| match id {
        "o1" => 0,
        "r1" => 1,
        "t1" => 2,
        _ => 3,
    };
    let nodes: Vec<_> = SWITCHES.map(|(id, dpid)| json!({"id": id, "stage": stage(id), "dpid": dpid})).into();
    let links = json!([{"a": "o1:1", "b": "r1:1"}, {"a": "r1:2", "b": "t1:1"}, {"a": "t1:3", "b": "a1:1"}]);
    Spec { file: json!({"nodes": nodes, "links": links, "hosts": []}) }
}

/// One plan for each stage, with everything in it that a plan can have.
fn plans(slots_of_first: usize) -> Vec<DatapathPlan> {
    let indirection: BTreeMap<_, _> = [(ROUTERS[0], ROUTERS[0]), (ROUTERS[1], ROUTERS[0])].into();
    let hops = |hops: &[(NodeIndex, u32)]| {
        let hop = |rank, port| NextHop { rank, port: PortNo(port) };
        hops.iter().map(|(node, port)| (*node, vec![hop(0, *port), hop(0, port + 20), hop(1, port + 40)])).collect()
    };
    let plan = |index: NodeIndex, next_hops, role: RolePlan| DatapathPlan {
        index,
        edge_ports: vec![PortNo(11), PortNo(12)],
        mirror_ports: Vec::new(),
        gateways: vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 1, 1)],
        attached: (1..40)
            .map(|n| Attachment {
                address: Ipv4Addr::new(10, 0, 0, n + 1),
                mac: MacAddr([2, 0, 0, 0, 0, n]),
                port: PortNo(11),
            })
            .collect(),
        next_hops,
        role,
    };
    let slots = || (0..SLOTS).map(|slot| ROUTERS[usize::from(slot * 101 % SLOTS >= slots_of_first)]).collect();
    let service = |number: u16, prefix: &str, spread| ServiceSlots {
        service: format!("s{number}"),
        number,
        prefixes: vec![prefix.parse().expect("a prefix")],
        choice: Choice { slots: slots(), spread },
    };
    let services = vec![service(1, "198.51.100.0/24", Spread::Multipath), service(2, "0.0.0.0/0", Spread::Select)];
    let router = RouterPlan {
        capacity_connections: 1_000,
        idle_timeout_s: 60,
        closing_timeout_s: 3,
        half_open_timeout_s: 5,
        inside_ports: vec![PortNo(2)],
        outside_ports: vec![PortNo(1)],
        stands_in_for: vec![ROUTERS[1]],
        hosts: (1..40).map(|n| (Ipv4Addr::new(10, 0, 0, n + 1), ACCESS)).collect(),
        destinations: vec![("0.0.0.0/0".parse().expect("a prefix"), vec![OUTSIDE])],
    };
    vec![
        plan(
            OUTSIDE,
            hops(&[(ROUTERS[0], 1), (ROUTERS[1], 2)]),
            RolePlan::Outside(OutsidePlan { indirection: indirection.clone() }),
        ),
        plan(ROUTERS[0], hops(&[(ACCESS, 2), (OUTSIDE, 1)]), RolePlan::Router(router)),
        plan(TRANSIT, hops(&[(ROUTERS[0], 1), (ROUTERS[1], 2), (ACCESS, 3)]), RolePlan::Transit),
        plan(
            ACCESS,
            hops(&[(ROUTERS[0], 1), (ROUTERS[1], 1)]),
            RolePlan::Access(AccessPlan { services, indirection, remote_hosts: Vec::new() }),
        ),
    ]
}

/// Not a test but the controller of the one below: a process of its own, so that it can be killed.
#[test]
#[ignore = "the process that the other test starts and kills"]
fn controller_process() {
    let Ok(slots) = std::env::var(ROLE) else { return };
    let slots: usize = slots.parse().expect("a number of slots");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        let settings = SouthboundSettings {
            agent: AgentSettings::default(),
            mapping: pipeline::MAPPING,
            clock: Arc::new(WallClock::default()),
        };
        let address: SocketAddr = "0.0.0.0:6653".parse().expect("an address");
        let (southbound, mut events) = Southbound::listen(address, settings).expect("the port is free");
        let mut plans: BTreeMap<u64, DatapathPlan> =
            plans(slots).into_iter().map(|plan| (plan.index.0.into(), plan)).collect();
        while let Some(event) = events.recv().await {
            match event {
                Event::SwitchUp { datapath, .. } => {
                    let plan = Box::new(plans.remove(&datapath.0).expect("each switch comes once"));
                    southbound.send(Command::Install { datapath, generation: 1, plan }).expect("it just came");
                }
                Event::Installed { datapath, counts, .. } => {
                    println!("installed {} {}", datapath.0, serde_json::to_string(&counts).expect("counts are JSON"));
                    std::io::stdout().flush().expect("the parent reads");
                }
                Event::InstallFailed { datapath, error, .. } => println!("failed {datapath} {error}"),
                _ => {}
            }
        }
    });
}

/// A controller in a process of its own.
struct Controller(Child);

impl Controller {
    /// Starts it and waits until every switch is as planned; what that took.
    fn start(slots: usize) -> (Self, BTreeMap<DatapathId, InstallCounts>) {
        let mut child = Program::new(std::env::current_exe().expect("a test binary has a path"))
            .args(["--exact", "controller_process", "--ignored", "--nocapture"])
            .env(ROLE, slots.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut installed = BTreeMap::new();
        while installed.len() < SWITCHES.len() {
            let line = receiver.recv_timeout(PATIENCE).expect("every switch is installed in time");
            assert!(!line.starts_with("failed"), "{line}");
            if let Some((datapath, counts)) = line.strip_prefix("installed ").and_then(|rest| rest.split_once(' ')) {
                let counts = serde_json::from_str(counts).expect("counts");
                installed.insert(DatapathId(datapath.parse().expect("a number")), counts);
            }
        }
        (Self(child), installed)
    }

    /// SIGKILL: no word to anybody.
    fn kill(mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it is ours");
    }
}

/// Age of the youngest entry that a plan put there, by the switch's own clock: an entry that is sent again is new.
fn youngest(fabric: &Fabric, node: &str) -> f64 {
    let dump = fabric.ofctl(node, "dump-flows", &[&format!("cookie={:#x}/{:#x}", INSTALLED.value, INSTALLED.mask)]);
    let age = |line: &str| line.split("duration=").nth(1)?.split('s').next()?.parse::<f64>().ok();
    dump.lines().filter_map(age).reduce(f64::min).expect("planned entries")
}

fn state(fabric: &Fabric) -> Vec<(Vec<String>, Vec<String>)> {
    SWITCHES.iter().map(|(node, _)| (fabric.flows(node), fabric.groups(node))).collect()
}

#[test]
fn ovs_killed_controller_sends_nothing_again() {
    isolated(&PROGRAMS, || {
        let fabric = Fabric::start(&spec());
        let (first, fresh) = Controller::start(128);
        println!("first: {fresh:?}");
        for counts in fresh.values() {
            assert!(counts.flows_added > 0 && counts.unchanged == 0, "{counts:?}");
        }
        let (planned, planned_at) = (state(&fabric), Instant::now());
        first.kill();
        assert_eq!(state(&fabric), planned, "a controller's death changes nothing");

        // What the switch learned, and what somebody else put there, is not ours to touch; a stray entry of ours is.
        fabric.add_flows(
            "r1",
            &format!(
                "cookie={:#x},table=42,priority=7,tcp,nw_src=192.0.2.1,actions=drop\n\
                 cookie=0x99,table=200,priority=7,ip,actions=drop\n\
                 cookie={:#x},table=42,priority=7,udp,nw_src=192.0.2.1,actions=drop\n",
                pipeline::cookie::CONNECTION,
                pipeline::cookie::PLAIN
            ),
        );
        let (second, again) = Controller::start(128);
        println!("second: {again:?}");
        for (datapath, counts) in &again {
            let was = fresh[datapath];
            let unchanged = was.flows_added + was.groups_added;
            let stray = u32::from(datapath.0 == 2);
            let wanted = InstallCounts { unchanged, flows_deleted: stray, ..InstallCounts::default() };
            assert_eq!(*counts, wanted, "{datapath}");
        }
        for (node, _) in SWITCHES {
            let (since, youngest) = (planned_at.elapsed().as_secs_f64(), youngest(&fabric, node));
            println!("{node}: youngest entry {youngest} s, planned {since:.3} s ago");
            assert!(youngest >= since - 0.01, "{node}: an entry is {youngest} s old, the plan {since} s");
        }
        let mut expected = planned.clone();
        let kept = fabric.flows("r1").into_iter().filter(|flow| !planned[1].0.contains(flow)).collect::<Vec<_>>();
        assert_eq!(kept.len(), 2, "the learned and the foreign entry stay: {kept:?}");
        expected[1].0 = fabric.flows("r1");
        assert!(planned[1].0.iter().all(|flow| expected[1].0.contains(flow)));
        assert_eq!(state(&fabric), expected);
        second.kill();

        // Another wish: only what differs is sent, and only to the switch that it is about.
        let (third, moved) = Controller::start(64);
        println!("third: {moved:?}");
        for (datapath, counts) in &moved {
            let changes = counts.flows_modified + counts.groups_modified;
            let others = counts.flows_added + counts.groups_added + counts.flows_deleted + counts.groups_deleted;
            assert_eq!(others, 0, "{datapath}: {counts:?}");
            assert_eq!(changes > 0, datapath.0 == u64::from(ACCESS.0), "{datapath}: {counts:?}");
        }
        third.kill();
    });
}
