//! P4Runtime sessions over real loopback connections, with a gRPC server in front of a switch made of memory.

mod p4session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foreshadow::plan::DatapathPlan;
use foreshadow::southbound::p4runtime::{Device, P4Settings, P4Southbound};
use foreshadow::southbound::{Command, CommandError, EVENTS_MAX, Event, WallClock};
use foreshadow::types::{DatapathId, PortNo};
use foreshadow::wire::p4runtime::v1::stream_message_response::Update as In;
use p4session::program::{Small, packet_in};
use p4session::stub::Running;
use p4session::switch::MemorySwitch;
use p4session::wire::{DATAPATH, device, message};
use p4session::{ms, plan};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn settings() -> P4Settings {
    let mut settings = P4Settings::new(10, None, Arc::new(WallClock::default()));
    settings.session.echo_interval = ms(100);
    settings
}

fn start(devices: Vec<Device>, settings: P4Settings) -> (P4Southbound, mpsc::Receiver<Event>) {
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    (P4Southbound::start(devices, settings, events), receiver)
}

fn small(address: SocketAddr) -> Device {
    device(Small::new(1), &address.to_string())
}

/// The next event that is picked; others are passed over.
async fn next<T>(events: &mut mpsc::Receiver<Event>, pick: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        let event = timeout(PATIENCE, events.recv()).await.expect("an event in time").expect("the southbound lives");
        if let Some(picked) = pick(&event) {
            return picked;
        }
    }
}

async fn found(events: &mut mpsc::Receiver<Event>) -> usize {
    next(events, |event| match event {
        Event::Found { entries, .. } => Some(*entries),
        _ => None,
    })
    .await
}

fn install(southbound: &P4Southbound, generation: u64, plan: DatapathPlan) {
    southbound.send(Command::Install { datapath: DATAPATH, generation, plan: Box::new(plan) }).expect("a session");
}

async fn installed(events: &mut mpsc::Receiver<Event>) -> foreshadow::southbound::InstallCounts {
    next(events, |event| match event {
        Event::Installed { counts, .. } => Some(*counts),
        Event::InstallFailed { error, .. } => panic!("{error}"),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_session_over_a_socket_survives_the_end_of_its_switch() {
    let mut running = Running::start(MemorySwitch::default(), ANYWHERE).await;
    let address = running.address;
    let (southbound, mut events) = start(vec![small(address)], settings());
    assert_eq!(found(&mut events).await, 0);
    let hosts: Vec<(u8, u32)> = (0..200).map(|host| (host, 3)).collect();
    let wanted = plan(&hosts, &[(1, &[(1, 1), (2, 1)])]);
    install(&southbound, 1, wanted.clone());
    assert_eq!(installed(&mut events).await.flows_added, 201);

    southbound.send(Command::Collect { datapath: DATAPATH }).unwrap();
    next(&mut events, |event| matches!(event, Event::Reading { .. }).then_some(())).await;
    running.stub.tell.send(message(In::Packet(packet_in(2, false, vec![1, 2, 3])))).unwrap();
    let data = next(&mut events, |event| match event {
        Event::PacketIn { in_port: PortNo(2), data, .. } => Some(data.clone()),
        _ => None,
    });
    assert_eq!(data.await, [1, 2, 3]);
    southbound.send(Command::PacketOut { datapath: DATAPATH, port: PortNo(1), data: vec![9] }).unwrap();
    assert_eq!(timeout(PATIENCE, running.packets.recv()).await.unwrap().unwrap().payload, [9]);
    next(&mut events, |event| matches!(event, Event::SessionStatus { .. }).then_some(())).await;

    let mut switch = running.stop().await;
    next(&mut events, |event| matches!(event, Event::SwitchDown { .. }).then_some(())).await;
    let refused = southbound.send(Command::Collect { datapath: DATAPATH });
    assert_eq!(refused, Err(CommandError::NotConnected(DATAPATH)));
    let reason = next(&mut events, |event| match event {
        Event::ConnectionRefused { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.await.starts_with("cannot connect: "));

    switch.writes.clear();
    let running = Running::start(switch, address).await;
    assert_eq!(found(&mut events).await, 204);
    install(&southbound, 1, wanted);
    assert_eq!(installed(&mut events).await.unchanged, 205);
    let reconnects = next(&mut events, |event| match event {
        Event::SessionStatus { status, .. } => Some(status.reconnects),
        _ => None,
    });
    assert_eq!(reconnects.await, 1);
    southbound.shutdown().await;
    let switch = running.stop().await;
    assert_eq!((switch.writes.len(), switch.pushes.len()), (0, 1), "the second session sent nothing");
}

#[tokio::test]
async fn errors_of_single_updates_come_through_the_trailer() {
    let refuse = |update: &foreshadow::wire::p4runtime::v1::Update| {
        let last = format!("{:?}", update.entity).contains("[10, 0, 0, 2]");
        last.then(|| foreshadow::wire::p4runtime::status::error(tonic::Code::InvalidArgument, "not today"))
    };
    let switch = MemorySwitch { refuse: Box::new(refuse), ..MemorySwitch::default() };
    let running = Running::start(switch, ANYWHERE).await;
    let (southbound, mut events) = start(vec![small(running.address)], settings());
    found(&mut events).await;
    install(&southbound, 1, plan(&[(1, 3), (2, 3), (3, 3)], &[]));
    let error = next(&mut events, |event| match event {
        Event::InstallFailed { error, .. } => Some(error.clone()),
        _ => None,
    });
    let expected = "insert entry destination=0a000002/32 of table small.hosts: INVALID_ARGUMENT 'not today'";
    assert_eq!(error.await, expected);
    southbound.shutdown().await;
    assert_eq!(running.stop().await.held.made(), 2);
}

#[tokio::test]
async fn a_switch_that_says_nothing_costs_the_others_nothing() {
    // Connections are taken by the kernel, and nobody ever reads them.
    let mute = TcpListener::bind(ANYWHERE).await.unwrap();
    let silent = Device { datapath: DatapathId(1), ..small(mute.local_addr().unwrap()) };
    let running = Running::start(MemorySwitch::default(), ANYWHERE).await;
    let mut short = settings();
    short.session.handshake_timeout = ms(300);
    let (southbound, mut events) = start(vec![silent, small(running.address)], short);
    found(&mut events).await;
    let reason = next(&mut events, |event| match event {
        Event::ConnectionRefused { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.await, "no answer to the arbitration within 300ms");
    install(&southbound, 1, plan(&[(1, 3)], &[]));
    installed(&mut events).await;
    assert_eq!(southbound.starting().1, 1, "who says nothing takes no turn");
    let began = Instant::now();
    southbound.shutdown().await;
    assert!(began.elapsed() < ms(2_000), "{:?}", began.elapsed());
    running.stop().await;
}

#[tokio::test]
async fn a_flood_of_packets_gives_way_to_what_matters() {
    let running = Running::start(MemorySwitch::default(), ANYWHERE).await;
    let (southbound, mut events) = start(vec![small(running.address)], settings());
    found(&mut events).await;
    // Nobody takes events meanwhile: the queue fills, and what is beyond it is dropped. The packets are many times what
    // connections and queues hold on the way.
    for _ in 0..5 {
        for number in 0..4_000_u32 {
            let mut payload = number.to_be_bytes().to_vec();
            payload.resize(1_000, 0);
            running.stub.tell.send(message(In::Packet(packet_in(1, false, payload)))).unwrap();
        }
        let taken = async {
            while !running.stub.tell.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, taken).await.expect("a session that reads its stream");
    }
    assert!(events.len() >= EVENTS_MAX / 2 && events.len() < EVENTS_MAX, "{} events wait", events.len());
    install(&southbound, 1, plan(&[(1, 3)], &[]));
    installed(&mut events).await;
    let dropped = next(&mut events, |event| match event {
        Event::SessionStatus { status, .. } => (status.dropped_packet_ins > 0).then_some(status.dropped_packet_ins),
        _ => None,
    });
    assert!(dropped.await > 0);
    southbound.shutdown().await;
    running.stop().await;
}
