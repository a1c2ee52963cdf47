//! Many OpenFlow sessions on one listener, over loopback sockets: turns at the start, back-pressure, auxiliary connections.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

mod openflow;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use foreshadow::southbound::openflow::{AgentSettings, SessionSettings, Southbound, SouthboundSettings, StartSettings};
use foreshadow::southbound::{Command, CommandError, Event, WallClock};
use foreshadow::types::DatapathId;
use foreshadow::wire::openflow::*;
use openflow::{FakeSwitch, mapping, plan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

fn listen(agent: AgentSettings) -> (Southbound, mpsc::Receiver<Event>) {
    let settings = SouthboundSettings { agent, mapping: mapping(), clock: Arc::new(WallClock::default()) };
    Southbound::listen(SocketAddr::from(([127, 0, 0, 1], 0)), settings).expect("a free loopback port")
}

async fn next(events: &mut mpsc::Receiver<Event>) -> Event {
    timeout(PATIENCE, events.recv()).await.expect("an event in time").expect("the southbound lives")
}

async fn until<T>(events: &mut mpsc::Receiver<Event>, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        if let Some(found) = wanted(next(events).await) {
            return found;
        }
    }
}

/// One switch on one socket: says what it has to say, takes what comes, until the connection ends.
async fn serve(mut stream: TcpStream, mut switch: FakeSwitch) {
    let mut buffer = vec![0; 2_048];
    loop {
        let said = std::mem::take(&mut switch.output);
        if !said.is_empty() && stream.write_all(&said).await.is_err() {
            return;
        }
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => switch.take(&buffer[..count]),
            _ => return,
        }
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A switch that keeps its answer about its flows back until it is told, and counts itself while it does.
async fn serve_slowly(address: SocketAddr, datapath: u64, go: watch::Receiver<bool>, asked: Arc<AtomicUsize>) {
    let mut stream = connect(address).await;
    let mut switch = FakeSwitch::new(datapath);
    switch.answers_flow_stats = false;
    let mut buffer = vec![0; 2_048];
    let flows = |message: &Message| match message {
        Message::MultipartRequest(request) => matches!(request.body, MultipartRequestBody::Flow(_)),
        _ => false,
    };
    // Until the question comes that it does not answer.
    while !switch.other.iter().any(flows) {
        let said = std::mem::take(&mut switch.output);
        stream.write_all(&said).await.unwrap();
        let count = stream.read(&mut buffer).await.unwrap();
        switch.take(&buffer[..count]);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let mut held = go.clone();
    // Meanwhile it answers echoes and everything else.
    let serve_on = async {
        loop {
            let said = std::mem::take(&mut switch.output);
            stream.write_all(&said).await.unwrap();
            let count = stream.read(&mut buffer).await.unwrap();
            switch.take(&buffer[..count]);
        }
    };
    tokio::select! {
        () = serve_on => {}
        gone = held.wait_for(|go| *go) => { gone.unwrap(); }
    }
    // It gives up: the next session of this datapath is somebody else's.
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mass_reconnect_shakes_hands_at_once_and_reads_in_turns() {
    const SWITCHES: u64 = 250;
    const AT_ONCE: usize = 8;
    let start = StartSettings { at_once_max: AT_ONCE, ..StartSettings::default() };
    let (southbound, mut events) = listen(AgentSettings { start, ..AgentSettings::default() });
    let (release, go) = watch::channel(false);
    let asked = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for datapath in 1..=SWITCHES {
        tasks.spawn(serve_slowly(southbound.address(), datapath, go.clone(), Arc::clone(&asked)));
    }
    let (mut up, mut echoed, mut found) = (0, BTreeSet::new(), 0);
    until(&mut events, |event| {
        match event {
            Event::SwitchUp { .. } => up += 1,
            Event::RoundTrip { datapath, .. } => _ = echoed.insert(datapath),
            Event::Found { .. } => found += 1,
            _ => {}
        }
        (up == SWITCHES && echoed.len() as u64 == SWITCHES).then_some(())
    })
    .await;
    let took = began.elapsed();
    println!("{SWITCHES} handshakes and first echoes in {took:?}; {AT_ONCE} at once may read");
    // Nobody answers a reading, so nobody's turn has ended: those who may read have been asked, and no others.
    assert_eq!(found, 0);
    assert!(took < Duration::from_secs(8), "handshakes do not wait for turns, which end after 10 s: {took:?}");
    assert_eq!((asked.load(Ordering::SeqCst), southbound.starting()), (AT_ONCE, (AT_ONCE, AT_ONCE)));

    // Those who hold the turns leave; the next come in, never more than there is room for.
    release.send(true).unwrap();
    let mut down = 0;
    until(&mut events, |event| {
        down += u64::from(matches!(event, Event::SwitchDown { .. }));
        (down == SWITCHES).then_some(())
    })
    .await;
    assert_eq!(asked.load(Ordering::SeqCst) as u64, SWITCHES, "everybody had a turn");
    let (inside, most) = southbound.starting();
    assert!(inside <= 1 && most == AT_ONCE, "the last may still be on its way out: {inside}, {most}");
    timeout(PATIENCE, southbound.shutdown()).await.expect("the shutdown ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_switch_of_a_mass_reconnect_is_installed() {
    const SWITCHES: u64 = 300;
    let start = StartSettings { at_once_max: 16, jitter: Duration::from_millis(5) };
    let (southbound, mut events) = listen(AgentSettings { start, ..AgentSettings::default() });
    let mut tasks = JoinSet::new();
    for datapath in 1..=SWITCHES {
        let stream = connect(southbound.address()).await;
        tasks.spawn(serve(stream, FakeSwitch::new(datapath)));
    }
    let mut installed = BTreeSet::new();
    let began = Instant::now();
    until(&mut events, |event| {
        match event {
            // Plans come at once, or when it is known what the switch holds: both ways end well.
            Event::SwitchUp { datapath, .. } if datapath.0 % 2 == 0 => send_plan(&southbound, datapath),
            Event::Found { datapath, .. } if datapath.0 % 2 == 1 => send_plan(&southbound, datapath),
            Event::Installed { datapath, counts, .. } => {
                assert_eq!(counts.flows_added, 52);
                assert!(installed.insert(datapath));
            }
            _ => {}
        }
        (installed.len() as u64 == SWITCHES).then_some(())
    })
    .await;
    let (inside, most) = southbound.starting();
    println!("{SWITCHES} switches read and installed in {:?}, at most {most} at once", began.elapsed());
    assert!(most <= 16 && inside <= 1, "{inside} of {most}");
    timeout(PATIENCE, southbound.shutdown()).await.expect("the shutdown ends");
}

fn send_plan(southbound: &Southbound, datapath: DatapathId) {
    let plan = Box::new(plan(&[(1, 1), (2, 2)], &[], 50));
    southbound.send(Command::Install { datapath, generation: 1, plan }).expect("it just came");
}

fn packet_in(bytes: usize) -> Vec<u8> {
    let packet = PacketIn {
        buffer_id: NO_BUFFER,
        total_len: u16::try_from(bytes).unwrap(),
        reason: 1,
        table_id: 0,
        cookie: 0,
        matching: Match::any().with(Field::InPort, 1_u32),
        data: vec![7; bytes],
    };
    Frame::new(0, Message::PacketIn(packet)).encode().unwrap()
}

/// Takes part in the handshake, and in the reading after it.
async fn shake_hands(stream: &mut TcpStream, switch: &mut FakeSwitch) {
    let mut buffer = vec![0; 2_048];
    let asked = |switch: &FakeSwitch| switch.other.iter().any(|message| matches!(message, Message::EchoRequest(_)));
    while !asked(switch) {
        let said = std::mem::take(&mut switch.output);
        stream.write_all(&said).await.unwrap();
        let count = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer").unwrap();
        assert!(count > 0, "the session ended");
        switch.take(&buffer[..count]);
    }
    let said = std::mem::take(&mut switch.output);
    stream.write_all(&said).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_is_behind_slows_its_switches_down_and_loses_only_packets() {
    let (southbound, mut events) = listen(AgentSettings::default());
    let mut flood = connect(southbound.address()).await;
    let mut switch = FakeSwitch::new(1);
    shake_hands(&mut flood, &mut switch).await;
    until(&mut events, |event| matches!(event, Event::SwitchUp { .. }).then_some(())).await;

    // The controller stands still. Half of the packets are ended entries, which must not be lost.
    let removed = FlowRemoved {
        cookie: openflow::LEARNED,
        priority: 1,
        reason: removed_reason::IDLE_TIMEOUT,
        table_id: 9,
        duration_sec: 1,
        duration_nsec: 0,
        idle_timeout: 0,
        hard_timeout: 0,
        packet_count: 1,
        byte_count: 60,
        matching: Match::any(),
    };
    let burst = [packet_in(1_000), Frame::new(0, Message::FlowRemoved(removed)).encode().unwrap()].concat();
    let (mut sent, mut at) = (0_u64, 0);
    // Stalled is a socket that takes nothing for two seconds.
    while let Ok(writable) = timeout(Duration::from_secs(2), flood.writable()).await {
        writable.unwrap();
        if let Ok(count) = flood.try_write(&burst[at..]) {
            sent += count as u64;
            at = (at + count) % burst.len();
        }
        assert!(sent < 1 << 30, "a gigabyte was taken by a controller that stands still");
    }
    println!("{sent} bytes were taken before the socket stalled");

    // Another switch comes meanwhile: its handshake is answered at once.
    let began = Instant::now();
    let mut other = connect(southbound.address()).await;
    let mut second = FakeSwitch::new(2);
    shake_hands(&mut other, &mut second).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(other, second));

    // The controller goes on: everything but packets is there, in the end also the other switch.
    let rest = burst[at..].to_vec();
    tasks.spawn(async move {
        flood.write_all(&rest).await.unwrap();
        serve(flood, switch).await;
    });
    let ended_sent = sent.div_ceil(burst.len() as u64);
    let (mut packets, mut ended, mut up, mut dropped) = (0_u64, 0_u64, false, 0);
    until(&mut events, |event| {
        match event {
            Event::PacketIn { .. } => packets += 1,
            Event::ConnectionEnded { .. } => ended += 1,
            Event::SwitchUp { datapath: DatapathId(2), .. } => up = true,
            Event::SessionStatus { datapath: DatapathId(1), status } => dropped = status.dropped_packet_ins,
            Event::SwitchDown { reason, .. } => panic!("{reason}"),
            _ => {}
        }
        // The last word of the flood is told with the echo after it.
        (ended == ended_sent && up && packets + dropped == ended_sent).then_some(())
    })
    .await;
    println!("{ended} ended connections all told; {packets} packets told, {dropped} dropped and counted");
    assert!(dropped > 0, "the test filled the queue");
    timeout(PATIENCE, southbound.shutdown()).await.expect("the shutdown ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auxiliary_connections_carry_packets_and_end_with_their_main_one() {
    let (southbound, mut events) = listen(AgentSettings::default());
    let main = tokio::spawn(serve(connect(southbound.address()).await, FakeSwitch::new(5)));
    until(&mut events, |event| matches!(event, Event::SwitchUp { .. }).then_some(())).await;

    let mut stream = connect(southbound.address()).await;
    let mut auxiliary = FakeSwitch::new(5);
    auxiliary.auxiliary_id = 1;
    shake_hands(&mut stream, &mut auxiliary).await;
    let kinds: Vec<_> = auxiliary.other.iter().map(Message::name).collect();
    assert_eq!(kinds, ["HELLO", "FEATURES_REQUEST", "ECHO_REQUEST"], "nothing is installed or asked by this way");
    stream.write_all(&packet_in(60)).await.unwrap();
    until(&mut events, |event| match event {
        Event::PacketIn { datapath, data, .. } => {
            assert_eq!((datapath, data.len()), (DatapathId(5), 60));
            Some(())
        }
        Event::SwitchUp { .. } | Event::SwitchDown { .. } | Event::ConnectionRefused { .. } => panic!("{event:?}"),
        _ => None,
    })
    .await;
    // It answers echoes.
    let echo = Frame::new(0x7777, Message::EchoRequest(vec![1, 2])).encode().unwrap();
    stream.write_all(&echo).await.unwrap();
    let mut answer = [0; 10];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
    assert_eq!(Frame::decode(&answer).unwrap(), Frame::new(0x7777, Message::EchoReply(vec![1, 2])));

    // With the main connection it goes too.
    main.abort();
    until(&mut events, |event| matches!(event, Event::SwitchDown { .. }).then_some(())).await;
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("its end").unwrap();
    assert_eq!(
        southbound.send(Command::Collect { datapath: DatapathId(5) }),
        Err(CommandError::NotConnected(DatapathId(5)))
    );

    // Without a main connection there is none.
    let mut stream = connect(southbound.address()).await;
    auxiliary.reconnect();
    shake_hands(&mut stream, &mut auxiliary).await;
    let reason = until(&mut events, |event| match event {
        Event::ConnectionRefused { reason, .. } => Some(reason),
        _ => None,
    })
    .await;
    assert!(reason.contains("auxiliary connection 1") && reason.contains("no main connection"), "{reason}");
    timeout(PATIENCE, southbound.shutdown()).await.expect("the shutdown ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_silence_and_dawdling_are_ended_and_told() {
    let session = SessionSettings { handshake_timeout: Duration::from_millis(500), ..SessionSettings::default() };
    let (southbound, mut events) = listen(AgentSettings { session, ..AgentSettings::default() });
    let refused = |event| match event {
        Event::ConnectionRefused { reason, .. } => Some(reason),
        _ => None,
    };
    // 50 MB of a text that is no OpenFlow: the connection ends long before.
    let mut stream = connect(southbound.address()).await;
    let text = b"GET / HTTP/1.1\r\nHost: example.net\r\n\r\n".repeat(1_000);
    let mut taken = 0;
    while taken < 50_000_000 {
        match timeout(PATIENCE, stream.write(&text)).await.expect("it is read or ended") {
            Ok(count) => taken += count,
            Err(_) => break,
        }
    }
    println!("{taken} bytes of garbage went out before the connection ended");
    assert!(taken < 50_000_000);
    let reason = until(&mut events, refused).await;
    assert!(reason.contains("expected a frame of 8 to 1024 bytes"), "{reason}");

    // Half a handshake, and one byte at a time: neither lasts longer than the limit.
    let hello = Frame::new(1, Message::Hello(Hello { versions: Some(0b1_0000) })).encode().unwrap();
    let began = Instant::now();
    let mut half = connect(southbound.address()).await;
    half.write_all(&hello).await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, half.read_to_end(&mut rest)).await.expect("its end").unwrap();
    assert!((450..3_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let reason = until(&mut events, refused).await;
    assert!(reason.contains("handshake not finished within 500ms (stood at Features)"), "{reason}");

    // A connection that never says a word is ended as well, without a line.
    let mut silent = connect(southbound.address()).await;
    let mut rest = Vec::new();
    timeout(PATIENCE, silent.read_to_end(&mut rest)).await.expect("its end").unwrap();

    // The listener is as well as ever.
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(connect(southbound.address()).await, FakeSwitch::new(9)));
    until(&mut events, |event| matches!(event, Event::SwitchUp { .. }).then_some(())).await;
    timeout(PATIENCE, southbound.shutdown()).await.expect("the shutdown ends");
}

/// Where the process of switches is to connect.
const ADDRESS: &str = "FORESHADOW_TEST_ADDRESS";
const THOUSAND: u64 = 1_000;

/// Not a test but the switches of the one below: a process of its own, so that memory is told apart.
#[test]
#[ignore = "the process that the other test starts"]
fn switches_process() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let address: SocketAddr = address.parse().unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut tasks = JoinSet::new();
        for datapath in 1..=THOUSAND {
            tasks.spawn(async move { serve(connect(address).await, FakeSwitch::new(datapath)).await });
        }
        // It ends when the controller does, or is killed with its parent's handle.
        tasks.join_all().await;
    });
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1_024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_switches_on_one_listener() {
    let (southbound, mut events) = listen(AgentSettings::default());
    let before = resident_bytes();
    let began = Instant::now();
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "switches_process", "--ignored", "--nocapture"])
        .env(ADDRESS, southbound.address().to_string())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut first, mut up, mut found, mut handshakes) = (None, 0, 0, Duration::ZERO);
    let mut trips = Vec::new();
    until(&mut events, |event| {
        match event {
            Event::SwitchUp { .. } => {
                first.get_or_insert_with(Instant::now);
                up += 1;
                handshakes = began.elapsed();
            }
            Event::Found { .. } => found += 1,
            Event::RoundTrip { us, .. } => trips.push(us),
            Event::SwitchDown { reason, .. } | Event::ConnectionRefused { reason, .. } => panic!("{reason}"),
            _ => {}
        }
        (up == THOUSAND && found == THOUSAND && trips.len() as u64 >= THOUSAND).then_some(())
    })
    .await;
    let all = began.elapsed();
    let bytes = resident_bytes().saturating_sub(before);
    trips.sort_unstable();
    println!(
        "{THOUSAND} handshakes in {handshakes:?} ({:?} after the first), all read in {all:?} by {} at once; \
         {} KiB a session; echo median {} us, longest {} us",
        first.unwrap().duration_since(began),
        southbound.starting().1,
        bytes / 1_024 / THOUSAND,
        trips[trips.len() / 2],
        trips[trips.len() - 1],
    );
    assert!(bytes / THOUSAND < 64 << 10, "an idle session takes {} bytes", bytes / THOUSAND);
    // All stay, beyond several echoes each.
    let mut echoes = 0;
    until(&mut events, |event| {
        echoes += u64::from(matches!(event, Event::RoundTrip { .. }));
        assert!(!matches!(event, Event::SwitchDown { .. }), "{event:?}");
        (echoes == 2 * THOUSAND).then_some(())
    })
    .await;
    timeout(PATIENCE, southbound.shutdown()).await.expect("the shutdown ends");
    timeout(PATIENCE, child.wait()).await.expect("the switches see the end").unwrap();
}
