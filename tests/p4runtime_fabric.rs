//! P4Runtime sessions with the fabric's own program: on the emulated target, and on BMv2 where it is installed.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/skip.rs"]
mod skip;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use foreshadow::fabric::p4::server::{self, SharedTarget};
use foreshadow::fabric::p4::target::{Behaviour, Target, TargetSettings};
use foreshadow::fabric::wires::Wires;
use foreshadow::p4info::mapping::Mapping;
use foreshadow::plan::{AccessPlan, Choice, DatapathPlan, NextHop, RolePlan, RouterPlan, SLOTS, ServiceSlots, Spread};
use foreshadow::southbound::p4runtime::{Device, P4Settings, P4Southbound, pipeline};
use foreshadow::southbound::{Command, EVENTS_MAX, Event, InstallCounts, Reading, SessionRole, WallClock};
use foreshadow::types::{DatapathId, NodeIndex, PortNo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);
const DATAPATH: DatapathId = DatapathId(3);
const PORTS: [PortNo; 3] = [PortNo(1), PortNo(2), PortNo(3)];

/// One session of one controller, alone with its switch.
struct Controller {
    southbound: P4Southbound,
    events: mpsc::Receiver<Event>,
}

impl Controller {
    fn start(address: &str, election_id: u128) -> Self {
        Self::start_with(address, election_id, Mapping::builtin())
    }

    fn start_with(address: &str, election_id: u128, mapping: Arc<Mapping>) -> Self {
        let mut settings = P4Settings::new(election_id, None, Arc::new(WallClock::default()));
        settings.session.echo_interval = Duration::from_millis(100);
        // Debug builds under load take their time.
        settings.session.collect.answer_timeout = Duration::from_secs(10);
        settings.session.collect.sweep_timeout = Duration::from_secs(10);
        let pipeline = pipeline::of(mapping);
        let device = Device { datapath: DATAPATH, id: 3, address: address.to_owned(), ports: PORTS.to_vec(), pipeline };
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        Self { southbound: P4Southbound::start(vec![device], settings, events), events: receiver }
    }

    async fn next<T>(&mut self, pick: impl Fn(Event) -> Option<T>) -> T {
        loop {
            let event = timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("it lives");
            if let Event::InstallFailed { error, .. } = &event {
                panic!("{error}");
            }
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
    }

    /// How many entries the switch was found to hold, and how it chooses.
    async fn found(&mut self) -> (usize, BTreeMap<u16, Choice>) {
        self.next(|event| match event {
            Event::Found { entries, choices, .. } => Some((entries, choices)),
            _ => None,
        })
        .await
    }

    fn ask(&self, generation: u64, plan: &DatapathPlan) {
        let plan = Box::new(plan.clone());
        self.southbound.send(Command::Install { datapath: DATAPATH, generation, plan }).expect("a session");
    }

    async fn install(&mut self, generation: u64, plan: &DatapathPlan) -> InstallCounts {
        self.ask(generation, plan);
        self.next(|event| match event {
            Event::Installed { generation: installed, counts, .. } => (installed == generation).then_some(counts),
            _ => None,
        })
        .await
    }

    async fn collect(&mut self) -> Reading {
        self.southbound.send(Command::Collect { datapath: DATAPATH }).expect("a session");
        self.next(|event| match event {
            Event::Reading { reading, .. } => Some(reading),
            _ => None,
        })
        .await
    }

    async fn until(&mut self, role: SessionRole) {
        self.next(|event| match event {
            Event::SessionStatus { status, .. } => (status.role == role).then_some(()),
            _ => None,
        })
        .await;
    }
}

fn plan(role: RolePlan) -> DatapathPlan {
    let hop = |(rank, port)| NextHop { rank, port: PortNo(port) };
    let hops = |hops: [(u8, u32); 2]| hops.into_iter().map(hop).collect();
    DatapathPlan {
        index: NodeIndex(9),
        edge_ports: vec![PortNo(3)],
        mirror_ports: Vec::new(),
        gateways: vec![[10, 1, 0, 1].into()],
        attached: Vec::new(),
        next_hops: [(NodeIndex(1), hops([(0, 1), (1, 2)])), (NodeIndex(2), hops([(0, 1), (0, 2)]))].into(),
        role,
    }
}

fn access(first: usize) -> DatapathPlan {
    let mut slots = vec![NodeIndex(1); first];
    slots.resize(SLOTS, NodeIndex(2));
    let service = ServiceSlots {
        service: "all".into(),
        number: 1,
        prefixes: vec!["0.0.0.0/0".parse().unwrap()],
        choice: Choice { slots, spread: Spread::default() },
    };
    let indirection = [(NodeIndex(1), NodeIndex(1)), (NodeIndex(2), NodeIndex(2))].into();
    plan(RolePlan::Access(AccessPlan { services: vec![service], indirection, remote_hosts: Vec::new() }))
}

fn router() -> DatapathPlan {
    let role = RouterPlan {
        capacity_connections: 50,
        idle_timeout_s: 300,
        closing_timeout_s: 5,
        half_open_timeout_s: 10,
        inside_ports: vec![PortNo(1), PortNo(2)],
        outside_ports: vec![PortNo(3)],
        stands_in_for: Vec::new(),
        hosts: vec![([10, 1, 0, 10].into(), NodeIndex(1))],
        mirrors: std::collections::BTreeMap::new(),
        replicas: std::collections::BTreeMap::new(),
        translations: std::collections::BTreeMap::new(),
        destinations: vec![("0.0.0.0/0".parse().unwrap(), vec![NodeIndex(2)])],
    };
    DatapathPlan { edge_ports: Vec::new(), ..plan(RolePlan::Router(role)) }
}

fn routers(choice: &Choice) -> usize {
    choice.slots.iter().filter(|router| **router == NodeIndex(1)).count()
}

/// What every target of this program has to bear.
async fn holds_what_it_is_told(address: &str) {
    let mut first = Controller::start(address, 10);
    assert_eq!(first.found().await.0, 0);
    let added = first.install(1, &access(128)).await;
    assert!(added.flows_added > 5 && added.groups_added > 5, "{added:?}");
    let changed = first.install(2, &access(64)).await;
    assert_eq!((changed.groups_modified, changed.flows_modified + changed.flows_added), (1, 0), "{changed:?}");
    let reading = first.collect().await;
    assert_eq!(reading.ports.keys().copied().filter(|port| PORTS.contains(port)).count(), PORTS.len(), "{reading:?}");
    first.southbound.shutdown().await;

    // A controller that begins anew finds everything as it was, and sends nothing.
    let mut second = Controller::start(address, 10);
    let (entries, choices) = second.found().await;
    assert_eq!((entries > 10, choices.get(&1).map(routers)), (true, Some(64)));
    let right = second.install(2, &access(64)).await;
    let unchanged = InstallCounts { unchanged: right.unchanged, ..InstallCounts::default() };
    assert_eq!(right, unchanged, "nothing is sent");
    assert!(right.unchanged > 10);
    assert_eq!(second.install(3, &access(64)).await, unchanged);

    // Another with a higher election id writes from now on; the lower one reads, and waits.
    let mut higher = Controller::start(address, 11);
    assert_eq!(higher.found().await.0, entries);
    second.until(SessionRole::Slave).await;
    second.ask(4, &access(32));
    assert_eq!(second.collect().await.ports.len(), reading.ports.len());
    assert_eq!(higher.install(1, &access(32)).await.groups_modified, 1);
    higher.southbound.shutdown().await;
    // What was asked for as a backup is there already.
    let counts = second.next(|event| match event {
        Event::Installed { generation: 4, counts, .. } => Some(counts),
        _ => None,
    });
    assert_eq!(counts.await, unchanged);
    second.southbound.shutdown().await;
}

/// A router's connections are counted by packets that go round in the switch.
async fn sweeps(address: &str) {
    let mut controller = Controller::start(address, 20);
    controller.found().await;
    controller.install(1, &router()).await;
    let connections = controller.collect().await.connections.expect("sweeps that come back");
    assert_eq!((connections.occupied, connections.admitted), (0, 0));
    controller.southbound.shutdown().await;
}

/// One program takes the place of another, and that one its place again; neither finds anything of the other's.
async fn changes_programs(address: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("p4/wcmp.mapping.yaml");
    let wcmp = Arc::new(Mapping::load(&file).expect("the mapping of the repository"));
    for (election_id, mapping) in (30..).zip([Arc::clone(&wcmp), Mapping::builtin(), wcmp]) {
        let mut controller = Controller::start_with(address, election_id, mapping);
        // A program of this project brings a handful of constant entries with it.
        assert!(controller.found().await.0 < 16);
        let counts = controller.install(1, &access(160)).await;
        assert!(counts.flows_added > 0, "{counts:?}");
        controller.southbound.shutdown().await;
    }
}

/// An emulated target on a loopback port, without wires.
async fn emulated() -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let settings =
        TargetSettings { device: 3, behaviour: Behaviour::Bmv2, cpu_port: PortNo(510), ports: PORTS.to_vec() };
    let (target, frames) = SharedTarget::new(Target::new(settings), foreshadow::controller::driver::wall_clock);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let wires = Wires::open([]).await.unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = tokio::spawn(async move { server::run(target, frames, listener, wires, stopped).await.unwrap() });
    (address, stop, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emulated_target_holds_what_it_is_told() {
    let (address, stop, task) = emulated().await;
    holds_what_it_is_told(&address.to_string()).await;
    sweeps(&address.to_string()).await;
    changes_programs(&address.to_string()).await;
    stop.cancel();
    task.await.unwrap();
}

/// A process that ends with the test.
struct Bmv2(Child);

impl Drop for Bmv2 {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn bmv2_holds_what_it_is_told() {
    if !skip::require("bmv2", skip::missing_program(&["simple_switch_grpc"])) {
        return;
    }
    let port = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap().local_addr().unwrap();
    let arguments = ["--no-p4", "--device-id", "3", "--log-level", "error", "--", "--cpu-port", "510"];
    let mut process = Process::new("simple_switch_grpc");
    process.args(arguments).arg("--grpc-server-addr").arg(port.to_string());
    process.stdout(Stdio::null()).stderr(Stdio::null());
    let _bmv2 = Bmv2(process.spawn().expect("simple_switch_grpc"));
    let listening = async {
        while TcpStream::connect(port).await.is_err() {
            tokio::task::yield_now().await
        }
    };
    timeout(PATIENCE, listening).await.expect("BMv2 in time");
    holds_what_it_is_told(&port.to_string()).await;
    sweeps(&port.to_string()).await;
    changes_programs(&port.to_string()).await;
}
