//! OpenFlow sessions over real loopback sockets.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

mod openflow;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use foreshadow::southbound::openflow::{AgentSettings, SessionSettings, Southbound, SouthboundSettings};
use foreshadow::southbound::{Command, CommandError, Event, WallClock};
use foreshadow::types::DatapathId;
use foreshadow::wire::openflow::*;
use openflow::{FakeSwitch, mapping, plan, port_description};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

fn listen(session: SessionSettings) -> (Southbound, mpsc::Receiver<Event>) {
    let settings = SouthboundSettings {
        agent: AgentSettings { session, ..AgentSettings::default() },
        mapping: mapping(),
        clock: Arc::new(WallClock::default()),
    };
    Southbound::listen(SocketAddr::from(([127, 0, 0, 1], 0)), settings).expect("a free loopback port")
}

async fn next(events: &mut mpsc::Receiver<Event>) -> Event {
    loop {
        let event = timeout(PATIENCE, events.recv()).await.expect("an event in time").expect("the southbound lives");
        // What a switch was found to hold, and its echoes, come whenever it has answered; tests/openflow_session.rs is
        // about that.
        if !matches!(event, Event::Found { .. } | Event::RoundTrip { .. } | Event::SessionStatus { .. }) {
            return event;
        }
    }
}

async fn until_up(events: &mut mpsc::Receiver<Event>, datapath: u64) {
    loop {
        if matches!(next(events).await, Event::SwitchUp { datapath: up, .. } if up.0 == datapath) {
            return;
        }
    }
}

/// A switch made of memory on a real socket.
struct TcpSwitch {
    stream: TcpStream,
    switch: FakeSwitch,
}

impl TcpSwitch {
    async fn connect(address: SocketAddr, datapath: u64) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, switch: FakeSwitch::new(datapath) }
    }

    /// Says what there is to say and takes one read; false at the end of the connection.
    async fn turn(&mut self) -> io::Result<bool> {
        let said = std::mem::take(&mut self.switch.output);
        self.stream.write_all(&said).await?;
        let mut buffer = [0; 16_384];
        let count = self.stream.read(&mut buffer).await?;
        self.switch.take(&buffer[..count]);
        Ok(count > 0)
    }

    async fn serve(mut self) {
        while self.turn().await.unwrap_or(false) {}
    }

    /// Until the switch has been asked for the description of its ports, and has answered.
    async fn handshake(&mut self) {
        let asked = |switch: &FakeSwitch| {
            switch.other.iter().filter(|message| matches!(message, Message::MultipartRequest(_))).count() >= 2
        };
        while !asked(&self.switch) {
            assert!(timeout(PATIENCE, self.turn()).await.expect("a handshake in time").expect("a connection"));
        }
        let said = std::mem::take(&mut self.switch.output);
        self.stream.write_all(&said).await.unwrap();
    }
}

/// Sound frames such as a switch sends; their mutations reach every decoder that a session uses.
fn seeds() -> Vec<Vec<u8>> {
    let matching = Match::any().with(Field::InPort, 3_u32).with(Field::EthType, 0x0800_u16).with_masked(
        Field::Ipv4Dst,
        0x0a00_0000_u32,
        0xff00_0000_u32,
    );
    let buckets = vec![Bucket {
        weight: 1,
        watch_port: port::ANY,
        watch_group: group::ANY,
        actions: vec![Action::output(foreshadow::types::PortNo(2)), Action::resubmit(4)],
    }];
    let flow = FlowStats {
        table_id: 1,
        duration_sec: 1,
        duration_nsec: 2,
        priority: 3,
        idle_timeout: 4,
        hard_timeout: 5,
        flags: 1,
        cookie: openflow::OURS.value,
        packet_count: 6,
        byte_count: 7,
        matching: matching.clone(),
        instructions: vec![
            Instruction::ApplyActions(vec![Action::set_field(Field::EthDst, 5_u64), Action::Group(9)]),
            Instruction::GotoTable(7),
        ],
    };
    let reply = |body| Message::MultipartReply(MultipartReply { more: false, body });
    let messages = [
        Message::Hello(Hello { versions: Some(16) }),
        Message::Error(ErrorMessage { error_type: 5, code: 1, data: vec![1; 64] }),
        Message::EchoRequest(vec![1, 2, 3]),
        Message::EchoReply(vec![]),
        Message::BarrierReply,
        Message::PacketIn(PacketIn {
            buffer_id: NO_BUFFER,
            total_len: 60,
            reason: 1,
            table_id: 0,
            cookie: 0,
            matching: matching.clone(),
            data: vec![7; 60],
        }),
        Message::FlowRemoved(FlowRemoved {
            cookie: openflow::LEARNED,
            priority: 1,
            reason: 0,
            table_id: 2,
            duration_sec: 3,
            duration_nsec: 4,
            idle_timeout: 5,
            hard_timeout: 6,
            packet_count: 7,
            byte_count: 8,
            matching,
        }),
        Message::PortStatus(PortStatus { reason: port_reason::MODIFY, port: port_description(4) }),
        reply(MultipartReplyBody::Flow(vec![flow.clone(), flow])),
        reply(MultipartReplyBody::PortStats(vec![PortStats::default(); 3])),
        reply(MultipartReplyBody::GroupDescription(vec![GroupDescription {
            group_type: GroupType::Select,
            group_id: 1,
            buckets,
        }])),
        reply(MultipartReplyBody::Aggregate(AggregateStats { packet_count: 1, byte_count: 2, flow_count: 3 })),
        Message::RoleReply(Role { role: 2, generation_id: 1 }),
    ];
    // Low transaction ids: those of the session's own requests.
    let frame = |(index, message)| Frame { version: 4, xid: index as u32 % 8, message }.encode().unwrap();
    messages.into_iter().enumerate().map(frame).collect()
}

/// Changes some bytes, cuts or lengthens. With `framed` the length field is right again afterwards, so that the session
/// finds the next frame; without, it may lose its place in the stream.
fn mutate(mut frame: Vec<u8>, framed: bool, random: &mut ChaCha8Rng) -> Vec<u8> {
    for _ in 0..random.random_range(1..=6) {
        let at = random.random_range(0..frame.len());
        match random.random_range(0..5) {
            0 => frame[at] ^= 1 << random.random_range(0..8),
            1 => frame[at] = *[0, 1, 0x7f, 0x80, 0xff].get(random.random_range(0..5)).unwrap(),
            2 => frame[at] = random.random_range(0..=255),
            3 => frame.truncate(at.max(8)),
            _ => frame.extend(std::iter::repeat_n(random.random_range(0..=255), random.random_range(1..80))),
        }
    }
    if framed {
        let length = frame.len() as u16;
        frame[2..4].copy_from_slice(&length.to_be_bytes());
    }
    frame
}

/// Mutated frames before a sound echo request asks whether the session has come through them.
const ROUND: usize = 100;
/// No mutated frame's answer carries it: mutations keep to small transaction ids, or hit this one by a chance of 2^-32.
const ECHO_XID: u32 = 0x4653_4653;

/// Sends a sound echo request and reads until it is answered: how many errors came before that; `None` if the session
/// has closed.
async fn come_through(stream: &mut TcpStream) -> Option<usize> {
    let echo = Frame { version: 4, xid: ECHO_XID, message: Message::EchoRequest(Vec::new()) }.encode().unwrap();
    stream.write_all(&echo).await.ok()?;
    let (mut input, mut buffer, mut errors) = (Vec::new(), vec![0; 65_536], 0);
    loop {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer or an end in time");
        let count = read.ok().filter(|count| *count > 0)?;
        input.extend_from_slice(&buffer[..count]);
        while input.len() >= 8 {
            let length = usize::from(u16::from_be_bytes([input[2], input[3]]));
            if input.len() < length {
                break;
            }
            let raw: Vec<u8> = input.drain(..length).collect();
            match Frame::decode(&raw).expect("this side sends sound frames") {
                Frame { xid: ECHO_XID, message: Message::EchoReply(_), .. } => return Some(errors),
                Frame { message: Message::Error(_), .. } => errors += 1,
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_frames() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    std::panic::set_hook(Box::new(|info| {
        eprintln!("{info}");
        PANICS.fetch_add(1, Ordering::SeqCst);
    }));
    // Malformed frames alone do not end the session here: what is tested is what comes after them.
    let (southbound, mut events) = listen(SessionSettings { malformed_max: u32::MAX, ..SessionSettings::default() });
    let mut tasks = JoinSet::new();
    tasks.spawn(TcpSwitch::connect(southbound.address(), 2).await.serve());
    until_up(&mut events, 2).await;

    let (address, seeds) = (southbound.address(), seeds());
    let attacker = tokio::spawn(async move {
        let mut random = ChaCha8Rng::seed_from_u64(0x4653);
        let mut any = |framed| mutate(seeds[random.random_range(0..seeds.len())].clone(), framed, &mut random);
        let (mut taken, mut errors) = (0, 0);
        let mut bad = TcpSwitch::connect(address, 1).await;
        bad.handshake().await;
        while taken < 10_000 {
            for _ in 0..ROUND {
                bad.stream.write_all(&any(true)).await.expect("a malformed frame alone ends no session here");
            }
            errors += come_through(&mut bad.stream).await.expect("the session lives");
            taken += ROUND;
        }
        drop(bad);
        // Then sessions that lose their place in the stream: they end, or wait for the rest of a long frame.
        for _ in 0..50 {
            let mut lost = TcpSwitch::connect(address, 1).await;
            lost.handshake().await;
            for _ in 0..ROUND {
                // Should the session be closed by now, that is as it should be.
                let _ = lost.stream.write_all(&any(false)).await;
            }
        }
        (taken, errors)
    });

    let (mut readings, mut slowest) = (0, Duration::ZERO);
    while !attacker.is_finished() || readings < 10 {
        let asked = Instant::now();
        southbound.send(Command::Collect { datapath: DatapathId(2) }).expect("the sound switch stays connected");
        // No plan yet: the reading is empty, but it passes through the session and the queue of events.
        loop {
            match next(&mut events).await {
                Event::Reading { datapath: DatapathId(2), .. } => break,
                Event::SwitchDown { datapath, reason } => assert_ne!(datapath.0, 2, "{reason}"),
                _ => {}
            }
        }
        slowest = slowest.max(asked.elapsed());
        readings += 1;
        // Readings are asked for at an interval while the attack runs.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (taken, errors) = attacker.await.expect("the attacker ends well");
    println!(
        "{taken} mutated frames in one live session, {errors} answered with an error; \
         {readings} readings of the other switch, slowest {slowest:?}"
    );
    assert!(errors > 1_000, "mutations are found: {errors} errors came back");

    // The sound session still works, and so does a new one.
    tasks.spawn(TcpSwitch::connect(address, 3).await.serve());
    until_up(&mut events, 3).await;
    for datapath in [DatapathId(2), DatapathId(3)] {
        let plan = Box::new(plan(&[(1, 1)], &[], 3));
        southbound.send(Command::Install { datapath, generation: 1, plan }).expect("it is connected");
        while !matches!(next(&mut events).await, Event::Installed { datapath: done, .. } if done == datapath) {}
    }
    timeout(PATIENCE, southbound.shutdown()).await.expect("the shutdown ends");
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_probe_that_resets_is_tolerated_and_a_shutdown_leaves_nothing() {
    let (southbound, mut events) = listen(SessionSettings::default());
    for _ in 0..20 {
        let probe = TcpStream::connect(southbound.address()).await.unwrap();
        // Closing with zero linger sends RST, as Mininet's probe does.
        probe.set_zero_linger().unwrap();
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(TcpSwitch::connect(southbound.address(), 5).await.serve());
    until_up(&mut events, 5).await;
    assert_eq!(
        southbound.send(Command::Collect { datapath: DatapathId(6) }),
        Err(CommandError::NotConnected(DatapathId(6)))
    );
    let address = southbound.address();
    timeout(PATIENCE, southbound.shutdown()).await.expect("the shutdown ends");
    assert!(matches!(next(&mut events).await, Event::SwitchDown { reason, .. } if reason.contains("stops")));
    assert!(events.recv().await.is_none(), "every sender is gone");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
    timeout(PATIENCE, tasks.join_all()).await.expect("the switch saw the end");
}

#[tokio::test]
async fn of_two_connections_with_one_datapath_id_the_living_older_one_stays() {
    let (southbound, mut events) = listen(SessionSettings::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(TcpSwitch::connect(southbound.address(), 5).await.serve());
    until_up(&mut events, 5).await;

    let second = TcpSwitch::connect(southbound.address(), 5).await;
    timeout(PATIENCE, second.serve()).await.expect("the second connection is ended");
    southbound.send(Command::Collect { datapath: DatapathId(5) }).expect("the first is still there");
    let refused = next(&mut events).await;
    assert!(matches!(&refused, Event::ConnectionRefused { reason, .. } if reason.contains("is alive")), "{refused:?}");
    assert!(matches!(next(&mut events).await, Event::Reading { .. }), "and nothing else was said of the second");
    timeout(PATIENCE, southbound.shutdown()).await.expect("the shutdown ends");
}

#[tokio::test]
async fn a_dead_older_connection_is_replaced() {
    let (southbound, mut events) = listen(SessionSettings::default());
    let mut first = TcpSwitch::connect(southbound.address(), 5).await;
    first.handshake().await;
    until_up(&mut events, 5).await;

    // The first connection stays open, but nobody is behind it any more.
    let mut tasks = JoinSet::new();
    tasks.spawn(TcpSwitch::connect(southbound.address(), 5).await.serve());
    let down = next(&mut events).await;
    assert!(matches!(&down, Event::SwitchDown { reason, .. } if reason.contains("replaced by a newer")), "{down:?}");
    assert!(matches!(next(&mut events).await, Event::SwitchUp { .. }), "the old one ends before the new one begins");
    southbound.send(Command::Collect { datapath: DatapathId(5) }).expect("the new one is there");
    assert!(matches!(next(&mut events).await, Event::Reading { .. }));
    drop(first);
    timeout(PATIENCE, southbound.shutdown()).await.expect("the shutdown ends");
}

/// On one thread the session cannot run while the commands are sent, as if it hung.
#[tokio::test(flavor = "current_thread")]
async fn a_session_that_does_not_keep_up_is_closed_and_the_sender_never_waits() {
    let (southbound, mut events) = listen(SessionSettings::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(TcpSwitch::connect(southbound.address(), 5).await.serve());
    until_up(&mut events, 5).await;
    let datapath = DatapathId(5);
    let sent = (0..2_000).take_while(|_| southbound.send(Command::Collect { datapath }).is_ok()).count();
    assert_eq!(sent, 1_024);
    loop {
        if let Event::SwitchDown { reason, .. } = next(&mut events).await {
            assert!(reason.contains("does not keep up"), "{reason}");
            break;
        }
    }
    timeout(PATIENCE, southbound.shutdown()).await.expect("the shutdown ends");
}
