//! Sessions with real Open vSwitch: a controller that is killed and restarted finds everything as it left it.

mod fabric;
#[path = "openflow/mod.rs"]
mod memory;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command as Program, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fabric::{Fabric, PROGRAMS, Spec, isolated};
use foreshadow::plan::{
    AccessPlan, Attachment, Choice, DatapathPlan, NextHop, OutsidePlan, RolePlan, RouterPlan, SLOTS, ServiceSlots,
    Spread,
};
use foreshadow::southbound::openflow::state::SwitchState;
use foreshadow::southbound::openflow::{
    AgentSettings, Answer, CloseReason, InstallSettings, Mapping, Owner, RoleSetting, Session, SessionEvent,
    SessionSettings, Southbound, SouthboundSettings, pipeline,
};
use foreshadow::southbound::{Clock, Command, Event, InstallCounts, SessionRole, WallClock};
use foreshadow::types::{DatapathId, MacAddr, NodeIndex, PortNo};
use foreshadow::wire::openflow::{GroupMod, GroupModCommand, GroupType, Message, group};
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
    Spec::of(json!({"nodes": nodes, "links": links, "hosts": []}))
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
        mirrors: std::collections::BTreeMap::new(),
        replicas: std::collections::BTreeMap::new(),
        translations: std::collections::BTreeMap::new(),
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

/// One switch without links, and sessions with it in this process.
struct Lone {
    fabric: Fabric,
    runtime: tokio::runtime::Runtime,
    southbound: Southbound,
    events: tokio::sync::mpsc::Receiver<Event>,
}

const LONE: &str = "o1";

fn listen(
    runtime: &tokio::runtime::Runtime,
    agent: AgentSettings,
    mapping: Mapping,
) -> (Southbound, tokio::sync::mpsc::Receiver<Event>) {
    let settings = SouthboundSettings { agent, mapping, clock: Arc::new(WallClock::default()) };
    let _inside = runtime.enter();
    Southbound::listen("0.0.0.0:6653".parse().expect("an address"), settings).expect("the port is free")
}

impl Lone {
    fn start(agent: AgentSettings, mapping: Mapping) -> Self {
        let fabric =
            Fabric::start(&Spec::of(json!({"nodes": [{"id": LONE, "stage": 0, "dpid": 1}], "links": [], "hosts": []})));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
        let (southbound, events) = listen(&runtime, agent, mapping);
        Self { fabric, southbound, events, runtime }
    }

    /// The controller is replaced by one with other settings.
    fn listen_again(&mut self, agent: AgentSettings, mapping: Mapping) {
        let elsewhere: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let settings = SouthboundSettings { agent, mapping, clock: Arc::new(WallClock::default()) };
        let inside = self.runtime.enter();
        let (parked, _) = Southbound::listen(elsewhere, settings).expect("a free port");
        drop(inside);
        let old = std::mem::replace(&mut self.southbound, parked);
        self.runtime.block_on(old.shutdown());
        (self.southbound, self.events) = listen(&self.runtime, agent, mapping);
    }

    fn until<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        self.runtime.block_on(async {
            loop {
                let event = tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time");
                if let Some(found) = wanted(event.expect("the southbound lives")) {
                    return found;
                }
            }
        })
    }

    fn install(&mut self, generation: u64, plan: DatapathPlan) -> Result<InstallCounts, String> {
        let plan = Box::new(plan);
        let datapath = DatapathId(1);
        self.southbound.send(Command::Install { datapath, generation, plan }).expect("it is connected");
        self.until(|event| match event {
            Event::Installed { generation: done, counts, .. } if done == generation => Some(Ok(counts)),
            Event::InstallFailed { generation: of, error, .. } if of == generation => Some(Err(error)),
            _ => None,
        })
    }
}

fn is_up(event: Event) -> Option<()> {
    matches!(event, Event::SwitchUp { .. }).then_some(())
}

#[test]
fn ovs_that_speaks_no_common_version_is_told_so_and_so_is_the_operator() {
    isolated(&PROGRAMS, || {
        let mut lone = Lone::start(AgentSettings::default(), pipeline::MAPPING);
        lone.until(is_up);
        let refusal = |event| match event {
            Event::ConnectionRefused { reason, .. } => Some(reason),
            _ => None,
        };
        lone.fabric.vsctl(LONE, &["set", "bridge", "br", "protocols=OpenFlow10"]);
        let reason = lone.until(refusal);
        println!("{reason}");
        assert!(reason.contains("this side speaks OpenFlow 1.3 (4)"), "{reason}");
        assert!(reason.contains("offers OpenFlow 1.0 (1)"), "{reason}");
        // The switch's own log says it too; it is written when the switch gets to it.
        let log = fabric::lab().join(LONE).join("ovs-vswitchd.log");
        fabric::wait_for("the switch's own word", PATIENCE, || {
            let log = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
            let told = log.contains("version negotiation failed (we support version 0x01");
            if told { Ok(()) } else { Err(log) }
        });

        // Between them 1.3 is spoken, although the HELLO is one of 1.5.
        lone.fabric.vsctl(LONE, &["set", "bridge", "br", "protocols=OpenFlow13,OpenFlow15"]);
        lone.until(is_up);
    });
}

/// A session without a driver, on a socket that a switch has opened.
struct Wire {
    stream: std::net::TcpStream,
    session: Session,
    clock: WallClock,
}

impl Wire {
    fn accept(listener: &std::net::TcpListener, role: RoleSetting) -> Self {
        let (stream, _) = listener.accept().expect("a switch comes");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
        let clock = WallClock::default();
        let settings = SessionSettings { role, echo_interval: 10 * PATIENCE, ..SessionSettings::default() };
        Self { stream, session: Session::new(settings, clock.now()), clock }
    }

    fn until<T>(&mut self, mut wanted: impl FnMut(SessionEvent) -> Option<T>) -> T {
        let mut buffer = [0; 4_096];
        loop {
            while let Some(event) = self.session.poll_event() {
                if let Some(found) = wanted(event) {
                    // What is left to say is said before the caller goes on.
                    self.write();
                    return found;
                }
            }
            self.write();
            let count = self.stream.read(&mut buffer).expect("an answer in time");
            assert!(count > 0, "the switch ended the session");
            self.session.receive(&buffer[..count], self.clock.now());
        }
    }

    fn write(&mut self) {
        if let Some(output) = self.session.poll_output() {
            self.stream.write_all(&output).expect("the switch reads");
        }
    }

    fn up(listener: &std::net::TcpListener, role: RoleSetting) -> Self {
        let mut wire = Self::accept(listener, role);
        wire.until(|event| match event {
            SessionEvent::Up { .. } => Some(()),
            SessionEvent::Closed { reason } => panic!("{reason}"),
            _ => None,
        });
        wire
    }
}

#[test]
fn ovs_takes_roles_and_tells_only_what_is_used() {
    isolated(&PROGRAMS, || {
        let fabric =
            Fabric::start(&Spec::of(json!({"nodes": [{"id": LONE, "stage": 0, "dpid": 1}], "links": [], "hosts": []})));
        let listen = |port: u16| std::net::TcpListener::bind(("0.0.0.0", port)).expect("the port is free");
        let (first, second) = (listen(6653), listen(6654));
        let mut one = Wire::up(&first, RoleSetting::Master { generation: 5 });
        assert_eq!(one.session.role(), SessionRole::Master);

        one.session.request(Owner::Collector, Message::GetAsyncRequest).expect("it is up");
        let told = one.until(|event| match event {
            SessionEvent::Answered { answer: Answer::Async(config), .. } => Some(config),
            _ => None,
        });
        println!("told unasked: {told:?}");
        assert_eq!(told, SessionSettings::default().asynchronous);

        // Another controller becomes master: Open vSwitch says so, and takes no change from the first any more.
        fabric.vsctl(LONE, &["set-controller", "br", "tcp:10.254.1.1:6653", "tcp:10.254.1.1:6654"]);
        let two = Wire::up(&second, RoleSetting::Master { generation: 6 });
        assert_eq!(two.session.role(), SessionRole::Master);
        let told = one.until(|event| match event {
            SessionEvent::RoleChanged { role, reason } => Some((role, reason)),
            _ => None,
        });
        assert_eq!(told, (SessionRole::Slave, "another controller asked to be master"));
        let change = Message::GroupMod(GroupMod {
            command: GroupModCommand::Delete,
            group_type: GroupType::All,
            group_id: group::ALL,
            buckets: Vec::new(),
        });
        one.session.request(Owner::Installer, change).expect("it is up");
        let error = one.until(|event| match event {
            SessionEvent::Failed { error, .. } => Some(error.to_string()),
            _ => None,
        });
        println!("{error}");
        assert!(error.contains("IS_SLAVE (1/10): this controller is a slave here"), "{error}");

        // A controller that has slept through an election.
        drop(one);
        let mut late = Wire::accept(&first, RoleSetting::Master { generation: 4 });
        let reason = late.until(|event| match event {
            SessionEvent::Closed { reason } => Some(reason),
            SessionEvent::Up { .. } => panic!("generation 4 is older than 6"),
            _ => None,
        });
        println!("{reason}");
        assert_eq!(reason, CloseReason::StaleRole { generation: 4 });
    });
}

/// The group of node 99 is left out, but not the flow that leads to it.
fn without_group(plan: &DatapathPlan) -> SwitchState {
    let mut state = (memory::mapping().compile)(plan);
    state.groups.remove(&99);
    state
}

#[test]
fn ovs_takes_bundles_whole_or_not_at_all() {
    isolated(&PROGRAMS, || {
        let mut lone = Lone::start(AgentSettings::default(), Mapping { compile: without_group, ..memory::mapping() });
        lone.until(is_up);
        let experimenters = |lone: &mut Lone| {
            lone.until(|event| match event {
                Event::SessionStatus { status, .. } => Some(*status),
                _ => None,
            })
        };
        let began = Instant::now();
        let counts = lone.install(1, memory::plan(&[(1, 1), (2, 2)], &[(5, 2)], 2_000)).expect("it is taken");
        println!("2,006 entries by bundles in {:?}", began.elapsed());
        assert_eq!((counts.flows_added, counts.groups_added), (2_003, 3));
        // Everything is replaced: groups that flows still lead to leave with these flows.
        let began = Instant::now();
        let counts = lone.install(2, memory::plan(&[(3, 3), (4, 4)], &[(6, 4)], 900)).expect("it is taken");
        println!("{counts:?} in {:?}", began.elapsed());
        assert_eq!((counts.flows_deleted, counts.groups_deleted), (1_103, 3));
        assert_eq!((lone.fabric.flows(LONE).len(), lone.fabric.groups(LONE).len()), (903, 3));

        // A flow leads to a group that does not exist: nothing of the bundle is taken.
        let before = (lone.fabric.flows(LONE), lone.fabric.groups(LONE));
        let plan = memory::plan(&[(3, 3), (99, 4)], &[], 1_500);
        let error = lone.install(3, plan).expect_err("group 99 does not exist");
        println!("{error}");
        assert!(error.starts_with("bundle: "), "{error}");
        assert!(error.contains("add flow table 0") && error.contains("BAD_OUT_GROUP"), "{error}");
        assert_eq!((lone.fabric.flows(LONE), lone.fabric.groups(LONE)), before, "all or nothing");
        // The ordinary way names the same entry.
        let error = lone.until(|event| match event {
            Event::InstallFailed { error, .. } => Some(error),
            _ => None,
        });
        println!("{error}");
        assert!(error.starts_with("add flow table 0"), "{error}");
        let counts = lone.install(4, memory::plan(&[(3, 3)], &[], 1_500)).expect("it is taken");
        println!("{counts:?}");
        let status = experimenters(&mut lone);
        println!("{:?}", status.messages_out);
        assert!(status.messages_out["experimenter"] > 3_000);
    });
}

/// What a bundle costs: the same entries both ways.
#[test]
fn ovs_is_installed_by_bundles_about_as_fast_as_one_by_one() {
    isolated(&PROGRAMS, || {
        let mut lone = Lone::start(AgentSettings::default(), memory::mapping());
        let mut took = BTreeMap::new();
        for (way, bundle_min) in [("bundles", 100), ("one by one", usize::MAX)] {
            let install = InstallSettings { bundle_min, ..InstallSettings::default() };
            lone.listen_again(AgentSettings { install, ..AgentSettings::default() }, memory::mapping());
            lone.until(is_up);
            for generation in 1..=6 {
                let hosts = if generation % 2 == 1 { 5_000 } else { 0 };
                let began = Instant::now();
                lone.install(generation, memory::plan(&[(1, 1)], &[], hosts)).expect("it is taken");
                took.entry((way, hosts)).or_insert_with(Vec::new).push(began.elapsed().as_millis());
            }
        }
        println!("milliseconds to have so many flows, from and to none: {took:?}");
        let best = |way, hosts| *took[&(way, hosts)].iter().min().expect("three of each");
        for hosts in [5_000, 0] {
            let (bundles, one_by_one) = (best("bundles", hosts), best("one by one", hosts));
            assert!(bundles <= 5 * one_by_one + 50, "{bundles} ms against {one_by_one} ms");
        }
    });
}
