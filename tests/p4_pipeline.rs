//! Plans of every stage through real P4Runtime sessions into the emulated switch and, where it is found, into BMv2: all
//! that is compiled is taken, readings come back complete, and what was right is not sent again.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/skip.rs"]
mod skip;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use foreshadow::fabric::p4::server::{self, SharedTarget};
use foreshadow::fabric::p4::target::{Behaviour, Target, TargetSettings};
use foreshadow::fabric::wires::Wires;
use foreshadow::p4info::mapping::Mapping;
use foreshadow::plan::{
    AccessPlan, Attachment, Choice, DatapathPlan, Generation, MirrorTo, NextHop, OutsidePlan, RolePlan, RouterPlan,
    SLOTS, ServiceSlots, Spread,
};
use foreshadow::southbound::p4runtime::{Device, P4Settings, P4Southbound, pipeline};
use foreshadow::southbound::{Command, Event, InstallCounts, WallClock};
use foreshadow::types::{DatapathId, MacAddr, NodeIndex, PortNo, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const DEVICE: u64 = 7;
const DATAPATH: DatapathId = DatapathId(0x71);
const PATIENCE: Duration = Duration::from_secs(60);
const ROUTERS: [NodeIndex; 2] = [NodeIndex(2), NodeIndex(3)];
const ACCESS: NodeIndex = NodeIndex(5);
const OUTSIDE: [NodeIndex; 2] = [NodeIndex(1), NodeIndex(7)];

/// A switch to install in.
struct Switch {
    address: SocketAddr,
    emulated: Option<(CancellationToken, JoinHandle<()>)>,
    process: Option<Child>,
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_micros()).unwrap())
}

impl Switch {
    async fn emulated() -> Self {
        let settings = TargetSettings {
            device: DEVICE,
            behaviour: Behaviour::Bmv2,
            cpu_port: PortNo(510),
            ports: (1..=12).map(PortNo).collect(),
        };
        let wires = Wires::open(Vec::new()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (target, frames) = SharedTarget::new(Target::new(settings), now);
        let stop = CancellationToken::new();
        let running = server::run(target, frames, listener, wires, stop.clone());
        let task = tokio::spawn(async move { running.await.unwrap() });
        Self { address, emulated: Some((stop, task)), process: None }
    }

    fn bmv2() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = Process::new("simple_switch_grpc")
            .args(["--no-p4", "--device-id", &DEVICE.to_string(), "--"])
            .args(["--grpc-server-addr", &address.to_string(), "--cpu-port", "510"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let switch = Self { address, emulated: None, process: Some(child) };
        let since = Instant::now();
        while TcpStream::connect_timeout(&address, PATIENCE).is_err() {
            assert!(since.elapsed() < PATIENCE, "BMv2 does not listen on {address}");
            std::thread::yield_now();
        }
        switch
    }

    async fn stop(mut self) {
        if let Some((stop, task)) = self.emulated.take() {
            stop.cancel();
            timeout(PATIENCE, task).await.unwrap().unwrap();
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A controller's hold on the switch.
struct Session {
    southbound: P4Southbound,
    events: mpsc::Receiver<Event>,
}

impl Session {
    fn start(switch: &Switch, mapping: &Arc<Mapping>) -> Self {
        let device = Device {
            datapath: DATAPATH,
            id: DEVICE,
            address: switch.address.to_string(),
            ports: (1..=12).map(PortNo).collect(),
            pipeline: pipeline::of(Arc::clone(mapping)),
        };
        let (sender, events) = mpsc::channel(64);
        let settings = P4Settings::new(1, None, Arc::new(WallClock::default()));
        Self { southbound: P4Southbound::start(vec![device], settings, sender), events }
    }

    /// The first event that `wanted` takes; a refused entity fails the test.
    async fn wait<T>(&mut self, wanted: impl Fn(Event) -> Option<T>) -> T {
        loop {
            let event = timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a session");
            if let Event::InstallFailed { error, .. } | Event::SwitchDown { reason: error, .. } = &event {
                panic!("{error}");
            }
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    async fn found(&mut self) -> (usize, BTreeMap<u16, Choice>) {
        self.wait(|event| match event {
            Event::Found { entries, choices, .. } => Some((entries, choices)),
            _ => None,
        })
        .await
    }

    async fn install(&mut self, generation: Generation, plan: &DatapathPlan) -> InstallCounts {
        let install = Command::Install { datapath: DATAPATH, generation, plan: Box::new(plan.clone()) };
        self.southbound.send(install).unwrap();
        self.wait(|event| match event {
            Event::Installed { generation: its, counts, .. } if its == generation => Some(counts),
            _ => None,
        })
        .await
    }

    async fn collect(&mut self) -> foreshadow::southbound::Reading {
        self.southbound.send(Command::Collect { datapath: DATAPATH }).unwrap();
        self.wait(|event| match event {
            Event::Reading { reading, .. } => Some(reading),
            _ => None,
        })
        .await
    }
}

fn plan(index: NodeIndex, hops: &[(NodeIndex, &[(u8, u32)])], role: RolePlan) -> DatapathPlan {
    let hop = |(rank, port): &(u8, u32)| NextHop { rank: *rank, port: PortNo(*port) };
    DatapathPlan {
        index,
        edge_ports: vec![PortNo(11)],
        mirror_ports: vec![PortNo(9), PortNo(10)],
        gateways: vec![Ipv4Addr::new(10, 1, 0, 1)],
        attached: vec![Attachment {
            address: Ipv4Addr::new(10, 1, 0, 10),
            mac: MacAddr([2, 0, 0, 0, 0, 0x10]),
            port: PortNo(11),
        }],
        next_hops: hops.iter().map(|(node, hops)| (*node, hops.iter().map(hop).collect())).collect(),
        role,
    }
}

fn access(slots_of_first: usize) -> DatapathPlan {
    let [first, second] = ROUTERS;
    let role = RolePlan::Access(AccessPlan {
        services: vec![ServiceSlots {
            service: "internet".to_owned(),
            number: 1,
            prefixes: vec!["0.0.0.0/0".parse().unwrap()],
            choice: choice(slots_of_first),
        }],
        indirection: ROUTERS.map(|router| (router, router)).into(),
        remote_hosts: vec![(Ipv4Addr::new(10, 2, 0, 10), NodeIndex(6))],
    });
    let hops: [(NodeIndex, &[(u8, u32)]); 3] =
        [(first, &[(0, 1), (0, 2), (0, 3)]), (second, &[(0, 1), (1, 2), (2, 3)]), (NodeIndex(6), &[(0, 1)])];
    plan(ACCESS, &hops, role)
}

fn choice(slots_of_first: usize) -> Choice {
    let [first, second] = ROUTERS;
    let slots = (0..SLOTS).map(|slot| if slot < slots_of_first { first } else { second }).collect();
    Choice { slots, spread: Spread::Select }
}

fn mirror_to(shadow: NodeIndex, port: u32) -> MirrorTo {
    MirrorTo { shadow, port: PortNo(port) }
}

fn router() -> DatapathPlan {
    let role = RolePlan::Router(RouterPlan {
        capacity_connections: 50,
        idle_timeout_s: 300,
        closing_timeout_s: 5,
        half_open_timeout_s: 10,
        inside_ports: vec![PortNo(1)],
        outside_ports: vec![PortNo(2), PortNo(3)],
        stands_in_for: vec![ROUTERS[1]],
        hosts: vec![(Ipv4Addr::new(10, 1, 0, 10), ACCESS)],
        destinations: vec![
            ("198.51.100.10/32".parse().unwrap(), vec![OUTSIDE[0]]),
            ("0.0.0.0/0".parse().unwrap(), OUTSIDE.to_vec()),
        ],
        mirrors: [(ROUTERS[0], vec![mirror_to(ROUTERS[1], 9), mirror_to(NodeIndex(4), 10)])].into(),
        replicas: [(ROUTERS[0], vec![PortNo(9), PortNo(10)])].into(),
        translations: std::collections::BTreeMap::new(),
    });
    let mut router = plan(ROUTERS[0], &[(ACCESS, &[(0, 1)]), (OUTSIDE[0], &[(0, 2)]), (OUTSIDE[1], &[(0, 3)])], role);
    (router.edge_ports, router.attached) = (Vec::new(), Vec::new());
    router
}

fn transit() -> DatapathPlan {
    let hops: [(NodeIndex, &[(u8, u32)]); 2] = [(ROUTERS[0], &[(0, 1), (1, 2)]), (ROUTERS[1], &[(0, 2), (1, 1)])];
    plan(NodeIndex(4), &hops, RolePlan::Transit)
}

fn outside() -> DatapathPlan {
    let role = RolePlan::Outside(OutsidePlan { indirection: ROUTERS.map(|router| (router, router)).into() });
    plan(OUTSIDE[0], &[(ROUTERS[0], &[(0, 1)]), (ROUTERS[1], &[(0, 2)])], role)
}

/// One switch plays every stage in turn; a second controller then finds all as it would make it.
async fn every_stage(switch: Switch) {
    let mapping = Mapping::builtin();
    let mut session = Session::start(&switch, &mapping);
    assert_eq!(session.found().await.1, BTreeMap::new());
    let mut generation = 0;
    for stage in [outside(), transit(), router(), access(200)] {
        generation += 1;
        let counts = session.install(generation, &stage).await;
        assert!(counts.flows_added > 0, "{counts:?}");
        generation += 1;
        let again = session.install(generation, &stage).await;
        let unchanged = InstallCounts { unchanged: again.unchanged, ..InstallCounts::default() };
        assert_eq!(again, unchanged, "what is right is not sent again");

        let reading = session.collect().await;
        assert!(reading.ports.contains_key(&PortNo(1)), "{reading:?}");
        match &stage.role {
            RolePlan::Router(_) => {
                let connections = reading.connections.expect("every slot was swept");
                assert_eq!((connections.occupied, connections.admitted), (0, 0));
                generation += 1;
                let mut fewer = stage.clone();
                let RolePlan::Router(its) = &mut fewer.role else { unreachable!() };
                its.mirrors = [(ROUTERS[0], vec![mirror_to(ROUTERS[1], 9)])].into();
                let counts = session.install(generation, &fewer).await;
                assert!(counts.unchanged > 10, "a shadow less: {counts:?}");
            }
            RolePlan::Access(_) => {
                let chosen = BTreeMap::from(ROUTERS.map(|router| (router, 0)));
                assert_eq!(reading.chosen, BTreeMap::from([("internet".to_owned(), chosen)]));
            }
            _ => assert_eq!(reading.connections, None),
        }
    }
    let counts = session.install(generation + 1, &access(128)).await;
    let shifted = InstallCounts { groups_modified: 1, unchanged: counts.unchanged, ..InstallCounts::default() };
    assert_eq!(counts, shifted, "a shift is one group");
    session.southbound.shutdown().await;

    let mut session = Session::start(&switch, &mapping);
    let (entries, choices) = session.found().await;
    assert!(entries > 20, "{entries}");
    assert_eq!(choices, BTreeMap::from([(1, choice(128))]));
    let counts = session.install(1, &access(128)).await;
    assert_eq!(counts, InstallCounts { unchanged: counts.unchanged, ..InstallCounts::default() });
    session.southbound.shutdown().await;
    switch.stop().await;
}

/// A switch whose program is another one, described by a mapping file.
async fn routing(switch: Switch) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("p4/wcmp.mapping.yaml");
    let mapping = Arc::new(Mapping::load(&path).unwrap());
    let mut session = Session::start(&switch, &mapping);
    session.found().await;
    let counts = session.install(1, &access(200)).await;
    assert!(counts.flows_added > 10, "{counts:?}");
    let counts = session.install(2, &access(128)).await;
    let shifted = InstallCounts { flows_modified: 1, unchanged: counts.unchanged, ..InstallCounts::default() };
    assert_eq!(counts, shifted, "a shift is one entry");
    session.collect().await;
    session.southbound.shutdown().await;

    let mut session = Session::start(&switch, &mapping);
    assert_eq!(session.found().await.1, BTreeMap::from([(1, choice(128))]));
    let counts = session.install(1, &access(128)).await;
    assert_eq!(counts, InstallCounts { unchanged: counts.unchanged, ..InstallCounts::default() });
    session.southbound.shutdown().await;
    switch.stop().await;
}

#[tokio::test]
async fn every_stage_on_the_emulated_switch() {
    every_stage(Switch::emulated().await).await;
}

#[tokio::test]
async fn every_stage_on_bmv2() {
    if skip::require("bmv2", skip::missing_program(&["simple_switch_grpc"])) {
        every_stage(Switch::bmv2()).await;
    }
}

#[tokio::test]
async fn a_routing_program_on_the_emulated_switch() {
    routing(Switch::emulated().await).await;
}

#[tokio::test]
async fn a_routing_program_on_bmv2() {
    if skip::require("bmv2", skip::missing_program(&["simple_switch_grpc"])) {
        routing(Switch::bmv2()).await;
    }
}
