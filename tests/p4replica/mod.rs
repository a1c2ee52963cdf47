//! Two routers and the mirror link between them, whose every frame passes through the test.

// Each binary uses one kind of switch. Helpers of tests may fail as tests do.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

pub mod frames;
pub mod hosts;
pub mod scenario;
pub mod switch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use foreshadow::fabric::wires::{Arrival, Wires};
use foreshadow::p4info::mapping::Mapping;
use foreshadow::plan::{DatapathPlan, MirrorTo, NextHop, RolePlan, RouterPlan};
use foreshadow::southbound::p4runtime::{Device, P4Settings, P4Southbound, pipeline};
use foreshadow::southbound::{Command, EVENTS_MAX, Event, Reading, WallClock};
use foreshadow::types::{DatapathId, NodeIndex, PortNo};
use foreshadow::wire::p4runtime::v1;
use foreshadow::wire::p4runtime::v1::p4_runtime_client::P4RuntimeClient;
use foreshadow::wire::replication::fixed::Record;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use switch::Switch;

pub const PATIENCE: Duration = Duration::from_secs(30);
/// The owner of the connections, and its shadow; the switches have these numbers too.
pub const OWNER: NodeIndex = NodeIndex(2);
pub const SHADOW: NodeIndex = NodeIndex(3);
pub const INSIDE: u32 = 1;
pub const OUTSIDE: u32 = 2;
pub const MIRROR: u32 = 9;
pub const PORTS: [u32; 3] = [INSIDE, OUTSIDE, MIRROR];
const ACCESS: NodeIndex = NodeIndex(5);
const SERVERS: NodeIndex = NodeIndex(1);

/// The test's end of a port, among those of both switches.
pub fn far(switch: NodeIndex, port: u32) -> PortNo {
    PortNo(u32::from(switch.0) * 100 + port)
}

/// What the mirror link carried, and whether it carries at all.
#[derive(Debug, Default)]
pub struct Link {
    pub cut: bool,
    pub carried: Vec<(Instant, NodeIndex, Record)>,
    pub lost: usize,
}

pub struct Lab {
    pub switches: BTreeMap<NodeIndex, Switch>,
    pub wires: Wires,
    pub link: Arc<Mutex<Link>>,
    southbound: P4Southbound,
    events: mpsc::Receiver<Event>,
    arrivals: mpsc::UnboundedReceiver<(PortNo, Vec<u8>)>,
    generation: u64,
    /// A switch was ended on purpose.
    killed: bool,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Lab {
    /// Connects the ports of the switches with the test, and a controller with the switches.
    pub async fn new(switches: Vec<Switch>, wires: Wires) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (sender, arrivals) = mpsc::unbounded_channel();
        let link = Arc::new(Mutex::new(Link::default()));
        let (mirrored, mut mirrors) = mpsc::unbounded_channel::<(PortNo, Vec<u8>)>();
        let arrived = move |batch: Vec<Arrival>| {
            for arrival in batch {
                let Arrival::Frame { port, bytes } = arrival else { continue };
                if port == far(OWNER, MIRROR) || port == far(SHADOW, MIRROR) {
                    let _ = mirrored.send((port, bytes));
                } else {
                    let _ = sender.send((port, bytes));
                }
            }
        };
        wires.receive(arrived, &mut tasks, &stop);
        let (relay, between) = (wires.clone(), Arc::clone(&link));
        tasks.spawn(async move {
            while let Some((port, frame)) = mirrors.recv().await {
                let (from, to) = if port == far(OWNER, MIRROR) { (OWNER, SHADOW) } else { (SHADOW, OWNER) };
                let Ok(record) = Record::from_frame(&frame) else { continue };
                let cut = {
                    let mut link = between.lock().unwrap();
                    match link.cut {
                        true => link.lost += 1,
                        false => link.carried.push((Instant::now(), from, record)),
                    }
                    link.cut
                };
                if !cut {
                    relay.send(far(to, MIRROR), &frame).await;
                }
            }
        });
        let device = |(node, switch): (&NodeIndex, &Switch)| Device {
            datapath: datapath(*node),
            id: u64::from(node.0),
            address: switch.address.to_string(),
            ports: PORTS.map(PortNo).into(),
            pipeline: pipeline::of(Mapping::builtin()),
        };
        let switches: BTreeMap<NodeIndex, Switch> = switches.into_iter().map(|switch| (switch.node, switch)).collect();
        let devices = switches.iter().map(device).collect();
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let settings = P4Settings::new(1, None, Arc::new(WallClock::default()));
        let southbound = P4Southbound::start(devices, settings, sender);
        let mut lab =
            Self { switches, wires, link, southbound, events, arrivals, generation: 0, killed: false, tasks, stop };
        for _ in 0..2 {
            lab.wait(|event| matches!(event, Event::Found { .. }).then_some(())).await;
        }
        lab
    }

    pub async fn stop(mut self) {
        self.southbound.shutdown().await;
        self.stop.cancel();
        for switch in std::mem::take(&mut self.switches).into_values() {
            switch.stop().await;
        }
        self.tasks.shutdown().await;
    }

    /// Ends a switch without a word to anybody.
    pub async fn kill(&mut self, node: NodeIndex) {
        self.killed = true;
        let switch = self.switches.remove(&node).unwrap();
        switch.stop().await;
    }

    /// The first event that `wanted` takes; what is refused fails the test.
    pub async fn wait<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            let event = timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a session");
            if let Some(found) = wanted(&event) {
                return found;
            }
            match &event {
                Event::InstallFailed { error, .. } => panic!("{error}"),
                Event::SwitchDown { reason, .. } if !self.killed => panic!("{reason}"),
                _ => {}
            }
        }
    }

    pub async fn install(&mut self, node: NodeIndex, plan: DatapathPlan) {
        self.generation += 1;
        let wanted = self.generation;
        let install = Command::Install { datapath: datapath(node), generation: wanted, plan: Box::new(plan) };
        self.southbound.send(install).unwrap();
        self.wait(|event| matches!(event, Event::Installed { generation, .. } if *generation == wanted).then_some(()))
            .await;
    }

    pub async fn collect(&mut self, node: NodeIndex) -> Reading {
        self.southbound.send(Command::Collect { datapath: datapath(node) }).unwrap();
        self.wait(|event| match event {
            Event::Reading { reading, .. } => Some(reading.clone()),
            _ => None,
        })
        .await
    }

    /// Number and digest of what a switch holds of the owner.
    pub async fn digest(&mut self, node: NodeIndex) -> (u64, u64) {
        self.southbound.send(Command::DigestConnections { datapath: datapath(node), owner: OWNER }).unwrap();
        self.wait(|event| match event {
            Event::ConnectionsDigest { count, digest, .. } => Some((*count, *digest)),
            Event::ConnectionsFailed { error, .. } => panic!("{error}"),
            _ => None,
        })
        .await
    }

    /// Digests of both, once they are about so many connections: what is young counts a little later.
    pub async fn digests(&mut self, owner: u64, shadow: u64) -> [u64; 2] {
        let since = Instant::now();
        loop {
            let (at_owner, at_shadow) = (self.digest(OWNER).await, self.digest(SHADOW).await);
            if (at_owner.0, at_shadow.0) == (owner, shadow) {
                return [at_owner.1, at_shadow.1];
            }
            assert!(since.elapsed() < PATIENCE, "{at_owner:?} {at_shadow:?}; expected {owner} and {shadow}");
        }
    }

    /// Sends all of the owner's connections from one switch to the other; records, and how long it took.
    pub async fn replay(&mut self, from: NodeIndex, to: NodeIndex) -> (u64, Duration) {
        let since = Instant::now();
        let command = Command::ReplayConnections { datapath: datapath(from), owner: OWNER, shadow: to };
        self.southbound.send(command).unwrap();
        let sent = self
            .wait(|event| match event {
                Event::ConnectionsReplayed { sent, .. } => Some(*sent),
                Event::ConnectionsFailed { error, .. } => panic!("{error}"),
                _ => None,
            })
            .await;
        (sent, since.elapsed())
    }

    pub async fn sweep_copies(&mut self, node: NodeIndex, purge: bool) -> u64 {
        self.southbound.send(Command::SweepCopies { datapath: datapath(node), owner: OWNER, purge }).unwrap();
        self.wait(|event| match event {
            Event::CopiesSwept { copies, .. } => Some(*copies),
            Event::ConnectionsFailed { error, .. } => panic!("{error}"),
            _ => None,
        })
        .await
    }

    pub async fn send(&self, node: NodeIndex, port: u32, frame: &[u8]) {
        self.wires.send(far(node, port), frame).await;
    }

    /// The next IPv4 frame that leaves by a port that is no mirror port.
    pub async fn next_packet(&mut self) -> (PortNo, Vec<u8>) {
        self.next_frame([8, 0]).await
    }

    pub async fn next_lldp(&mut self) -> (PortNo, Vec<u8>) {
        self.next_frame([0x88, 0xcc]).await
    }

    async fn next_frame(&mut self, ether_type: [u8; 2]) -> (PortNo, Vec<u8>) {
        loop {
            let (port, frame) = timeout(PATIENCE, self.arrivals.recv()).await.expect("a frame in time").unwrap();
            if frame.get(12..14) == Some(&ether_type) {
                return (port, frame);
            }
        }
    }

    /// IPv4 frames that have left so far.
    pub fn packets_so_far(&mut self) -> Vec<(PortNo, Vec<u8>)> {
        std::iter::from_fn(|| self.arrivals.try_recv().ok())
            .filter(|(_, frame)| frame.get(12..14) == Some(&[8, 0]))
            .collect()
    }

    /// A cell of the switch's counter of events, by its number in docs/P4.md.
    pub async fn events(&self, node: NodeIndex, cell: i64) -> i64 {
        let mapping = Mapping::builtin();
        let entry = v1::CounterEntry {
            counter_id: mapping.counters.events.as_ref().unwrap().id,
            index: Some(v1::Index { index: cell }),
            data: None,
        };
        let entity = v1::Entity { entity: Some(v1::entity::Entity::CounterEntry(entry)) };
        let address = format!("http://{}", self.switches[&node].address);
        let mut client = P4RuntimeClient::connect(address).await.unwrap();
        let request = v1::ReadRequest { device_id: node.0.into(), entities: vec![entity], ..Default::default() };
        let mut answers = client.read(request).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap();
        match &answer.entities[0].entity {
            Some(v1::entity::Entity::CounterEntry(counter)) => counter.data.as_ref().unwrap().packet_count,
            other => panic!("{other:?}"),
        }
    }
}

pub fn datapath(node: NodeIndex) -> DatapathId {
    DatapathId(node.0.into())
}

/// The plan of a router that is the other one's shadow; without `mirrored` it is alone.
pub fn plan(node: NodeIndex, capacity: u32, mirrored: bool) -> DatapathPlan {
    let other = if node == OWNER { SHADOW } else { OWNER };
    let mirror = MirrorTo { shadow: other, port: PortNo(MIRROR) };
    let role = RouterPlan {
        capacity_connections: capacity,
        idle_timeout_s: 300,
        closing_timeout_s: 1,
        half_open_timeout_s: 20,
        inside_ports: vec![PortNo(INSIDE)],
        outside_ports: vec![PortNo(OUTSIDE)],
        stands_in_for: vec![other],
        hosts: vec![(frames::CLIENT, ACCESS)],
        destinations: vec![("0.0.0.0/0".parse().unwrap(), vec![SERVERS])],
        mirrors: [OWNER, SHADOW].into_iter().filter(|_| mirrored).map(|owner| (owner, vec![mirror])).collect(),
        replicas: [OWNER, SHADOW].into_iter().filter(|_| mirrored).map(|owner| (owner, vec![PortNo(MIRROR)])).collect(),
        translations: std::collections::BTreeMap::new(),
    };
    let hop = |port| vec![NextHop { rank: 0, port: PortNo(port) }];
    DatapathPlan {
        index: node,
        edge_ports: Vec::new(),
        mirror_ports: vec![PortNo(MIRROR)],
        gateways: Vec::new(),
        attached: Vec::new(),
        next_hops: BTreeMap::from([(ACCESS, hop(INSIDE)), (SERVERS, hop(OUTSIDE))]),
        role: RolePlan::Router(role),
    }
}
