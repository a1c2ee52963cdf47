//! One source and its replicas over channels that lose, repeat and reorder.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::types::{NodeIndex, Timestamp};
use crate::wire::replication::{
    Connection, FRAME_OVERHEAD, Fields, Flow, FrameWriter, Handle, Header, Key, Kind, PairKeys, Record, State, Tcp,
    Throughput,
};

use super::{Change, Config, Refusal, Replica, Source};

const SOURCE: NodeIndex = NodeIndex(1);
const SHADOW: NodeIndex = NodeIndex(2);
const SECRET: Key = Key::new([7; 16]);

fn connection(number: u32) -> Connection {
    let [a, b, c, d] = number.to_be_bytes();
    let client = (Ipv4Addr::new(10, a, b, c), 1024 + u16::from(d));
    let mut connection = Connection::new(Flow::v4(Flow::TCP, client, (Ipv4Addr::new(192, 0, 2, 1), 443)));
    connection.state = State { timeout_s: 300, ..State::default() };
    connection.state.tcp.state = 3;
    connection
}

fn source(epoch: u32, now: Timestamp) -> Source {
    let mut source = Source::new(Config::default(), SOURCE, epoch, SECRET);
    source.add_peer(SHADOW, now);
    source
}

fn replica(seed: u64) -> Replica {
    Replica::new(Config::default(), SOURCE, SHADOW, seed, &SECRET)
}

/// A channel that keeps everything and takes no time; what was changed.
fn run(source: &mut Source, replica: &mut Replica, now: &mut Timestamp, span: Duration) -> Vec<Change> {
    let (mut changes, end) = (Vec::new(), *now + span);
    loop {
        while let Some((peer, frame)) = source.poll(*now) {
            assert_eq!(peer, SHADOW);
            let _ = replica.receive(&frame, *now, &mut changes);
        }
        while let Some(frame) = replica.poll(*now) {
            let _ = source.receive(SHADOW, &frame, *now);
        }
        let next = [source.next_deadline(), replica.next_deadline()].into_iter().flatten().min();
        let next = next.unwrap_or(end).max(Timestamp(now.0 + 1));
        if next >= end {
            *now = end;
            return changes;
        }
        *now = next;
    }
}

fn sorted<'a>(connections: impl Iterator<Item = &'a Connection>) -> BTreeMap<(Flow, u16), Connection> {
    connections.map(|connection| ((connection.flow, connection.zone), connection.clone())).collect()
}

fn assert_same(source: &Source, replica: &Replica) {
    let told = sorted(source.connections().map(|(_, connection)| connection));
    assert_eq!(told, sorted(replica.connections().map(|(_, connection)| connection)));
    assert_eq!(source.len(), replica.len());
}

#[test]
fn a_replica_follows_its_source() {
    let mut now = Timestamp::from_secs(1);
    let (mut source, mut replica) = (source(1, now), replica(1));
    let handles: Vec<Handle> = (0..1000).map(|n| source.open(connection(n), now).expect("room")).collect();
    assert!(!replica.is_complete());
    let changes = run(&mut source, &mut replica, &mut now, Duration::from_millis(100));
    assert_eq!(changes.len(), 1000);
    assert!(replica.is_complete() && source.is_complete(SHADOW));
    assert_same(&source, &replica);
    let state = State { throughput: Throughput::from_bps(1_000_000), ..connection(0).state };
    assert!(source.update(handles[5], &state, now));
    source.close(handles[6], now);
    source.open(connection(5000), now).expect("room");
    let lag = source.lag(SHADOW, now + Duration::from_millis(1)).expect("a peer");
    assert_eq!((lag.frames, lag.waiting, lag.oldest), (0, 2, Duration::from_millis(1)), "the handle was used again");
    run(&mut source, &mut replica, &mut now, Duration::from_millis(100));
    assert_same(&source, &replica);
    assert_eq!(source.refused(SHADOW).map(super::Refused::total), Some(0));
    assert_eq!(replica.refused().total(), 0);
}

/// Everything that was on the wire until both sides were quiet: whether it went down, and the frame.
fn recorded(source: &mut Source, replica: &mut Replica, now: &mut Timestamp) -> Vec<(bool, Vec<u8>)> {
    let mut tape = Vec::new();
    for _ in 0..200 {
        while let Some((_, frame)) = source.poll(*now) {
            replica.receive(&frame, *now, &mut Vec::new()).expect("nothing is wrong with it");
            tape.push((true, frame.to_vec()));
        }
        while let Some(frame) = replica.poll(*now) {
            source.receive(SHADOW, &frame, *now).expect("nothing is wrong with it");
            tape.push((false, frame.to_vec()));
        }
        *now = *now + Duration::from_millis(1);
    }
    assert!(replica.is_complete() && source.is_complete(SHADOW));
    tape
}

/// A source and a replica in session, some connections, and what they said.
fn in_session() -> (Source, Replica, Timestamp, Vec<(bool, Vec<u8>)>) {
    let mut now = Timestamp::from_secs(1);
    let (mut source, mut replica) = (source(1, now), replica(1));
    for number in 0..200 {
        source.open(connection(number), now).expect("room");
    }
    let mut tape = recorded(&mut source, &mut replica, &mut now);
    source.open(connection(1000), now).expect("room");
    tape.extend(recorded(&mut source, &mut replica, &mut now));
    (source, replica, now, tape)
}

/// Hands a frame to the side it was for; that changes nothing there but one counter.
fn refused(source: &mut Source, replica: &mut Replica, now: Timestamp, down: bool, frame: &[u8]) -> Refusal {
    let before = (sorted(replica.connections().map(|(_, held)| held)), replica.refused().total());
    let (complete, missing) = (source.is_complete(SHADOW), replica.missing());
    let deadlines = (source.next_deadline(), replica.next_deadline());
    let total = |source: &Source| source.refused(SHADOW).expect("a peer").total();
    let (at_source, mut changes) = (total(source), Vec::new());
    let outcome = if down { replica.receive(frame, now, &mut changes) } else { source.receive(SHADOW, frame, now) };
    let refusal = outcome.expect_err("has to be refused");
    assert!(changes.is_empty());
    assert_eq!(sorted(replica.connections().map(|(_, held)| held)), before.0);
    assert_eq!((source.is_complete(SHADOW), replica.missing()), (complete, missing));
    assert_eq!((source.next_deadline(), replica.next_deadline()), deadlines, "nothing is to be done about it");
    assert_eq!(replica.refused().total(), before.1 + u64::from(down));
    assert_eq!(total(source), at_source + u64::from(!down));
    refusal
}

#[test]
fn replayed_forged_truncated_and_foreign_frames_change_nothing() {
    let (mut source, mut replica, now, tape) = in_session();
    let kinds: std::collections::BTreeSet<u8> = tape.iter().map(|(_, frame)| frame[1]).collect();
    assert_eq!(kinds, (1..=6).collect(), "every kind of frame was recorded");
    for (down, frame) in &tape {
        assert_eq!(refused(&mut source, &mut replica, now, *down, frame), Refusal::Replayed);
        assert_eq!(refused(&mut source, &mut replica, now, !*down, frame), Refusal::Foreign, "sent back");
    }
    let mut seen = std::collections::BTreeSet::new();
    for (down, frame) in tape.iter().filter(|(_, frame)| seen.insert(frame[1])) {
        for length in [0, 1, 25, 33, frame.len() - 1] {
            let refusal = refused(&mut source, &mut replica, now, *down, &frame[..length]);
            assert_eq!(refusal, Refusal::Unreadable, "{length} bytes");
        }
        for at in 0..frame.len().min(120) {
            let mut changed = frame.clone();
            changed[at] ^= 1 << (at % 8);
            let refusal = refused(&mut source, &mut replica, now, *down, &changed);
            let expected = [Refusal::Unreadable, Refusal::Foreign, Refusal::Forged];
            assert!(expected.contains(&refusal), "byte {at}: {refusal:?}");
        }
        for at in frame.len() - 8..frame.len() {
            let mut forged = frame.clone();
            forged[at] ^= 1;
            assert_eq!(refused(&mut source, &mut replica, now, *down, &forged), Refusal::Forged);
        }
    }
    assert_eq!(source.receive(NodeIndex(9), &tape[0].1, now), Err(Refusal::UnknownPeer));
    assert_eq!(source.strangers().of(Refusal::UnknownPeer), 1);
}

/// Who has forgotten everything takes nothing of what was said to the one before.
#[test]
fn an_old_tape_tells_nothing_to_a_new_start() {
    let (_, _, now, tape) = in_session();
    let (mut source, mut replica) = (source(2, now), replica(2));
    source.open(connection(7), now).expect("room");
    for (down, frame) in &tape {
        let mut changes = Vec::new();
        let _ = if *down { replica.receive(frame, now, &mut changes) } else { source.receive(SHADOW, frame, now) };
        assert!(changes.is_empty() && replica.is_empty() && source.lag(SHADOW, now).expect("a peer").frames == 0);
    }
    assert!(replica.refused().of(Refusal::OtherSession) > 0 && replica.refused().of(Refusal::Replayed) > 0);
    assert!(source.refused(SHADOW).expect("a peer").of(Refusal::OtherSession) > 0);
    let mut later = now;
    run(&mut source, &mut replica, &mut later, Duration::from_secs(2));
    assert!(replica.is_complete());
    assert_same(&source, &replica);
}

/// An authentic frame of this session and place that no source would send.
fn authentic(replica: &Replica, ahead: u64, record: &Record) -> Vec<u8> {
    let keys = PairKeys::new(&SECRET, SOURCE, SHADOW);
    let mut writer = FrameWriter::new(1500);
    writer.records().push(record);
    let sequence = replica.window.applied() + ahead;
    let header = Header { kind: Kind::Data, source: SOURCE, replica: SHADOW, epoch: 1, session: 1, sequence, count: 0 };
    writer.finish(&header, &keys.down)
}

#[test]
fn what_peers_do_not_understand_begins_a_new_session() {
    let (mut source, mut replica, mut now, _) = in_session();
    let far = authentic(&replica, 5000, &Record::Close { handle: Handle(0) });
    assert_eq!(refused(&mut source, &mut replica, now, true, &far), Refusal::TooEarly);
    for record in [
        Record::Close { handle: Handle(Config::default().connections_max) },
        Record::Segment { index: u32::MAX },
        Record::Digest { index: u32::MAX, digest: 0 },
    ] {
        let mut replica = in_session().1;
        let odd = authentic(&replica, 1, &record);
        assert_eq!(replica.receive(&odd, now, &mut Vec::new()), Err(Refusal::Malformed));
    }
    let odd = authentic(&replica, 1, &Record::Close { handle: Handle(u32::MAX) });
    assert_eq!(replica.receive(&odd, now, &mut Vec::new()), Err(Refusal::Malformed));
    assert_eq!((replica.len(), replica.is_complete()), (201, false), "what is known stays");
    run(&mut source, &mut replica, &mut now, Duration::from_secs(2));
    assert!(replica.is_complete());
    assert_same(&source, &replica);
}

#[test]
fn digests_find_what_differs_and_have_it_repaired() {
    let (mut source, mut replica, mut now, _) = in_session();
    replica.table.state_mut(3).expect("held").mark = 99;
    replica.table.remove(4);
    let changes = run(&mut source, &mut replica, &mut now, Duration::from_secs(61));
    assert_eq!(replica.divergences(), 1);
    assert_eq!(changes.len(), 2, "only what differed changes: {changes:?}");
    let lag = source.lag(SHADOW, now).expect("a peer");
    assert_eq!((lag.diverged, lag.repaired), (0, 1));
    assert!(replica.is_complete() && source.is_complete(SHADOW));
    assert_same(&source, &replica);
}

#[test]
fn the_last_value_is_the_only_one() {
    let (mut source, mut replica, mut now, _) = in_session();
    let handle = source.find(&connection(3).flow, 0).expect("open");
    for bps in 0..1000 {
        let state = State { throughput: Throughput::from_bps(bps), ..connection(3).state };
        source.update(handle, &state, now);
    }
    let brief = source.open(connection(5000), now).expect("room");
    source.close(brief, now);
    now = now + Config::default().batch;
    let (_, frame) = source.poll(now).expect("due");
    let mut changes = Vec::new();
    replica.receive(&frame, now, &mut changes).expect("the next one");
    assert!(matches!(changes[..], [Change::Updated { fields: Fields::THROUGHPUT, .. }]), "{changes:?}");
    assert_eq!(source.poll(now), None);
}

#[test]
fn lag_is_told_and_a_silent_replica_loses_its_session() {
    let (mut source, mut replica, begin, _) = in_session();
    let handle = source.find(&connection(3).flow, 0).expect("open");
    source.update(handle, &State::default(), begin);
    let mut now = begin;
    while now.since(begin) < Duration::from_secs(20) {
        while source.poll(now).is_some() {}
        now = now + Duration::from_millis(10);
    }
    source.update(handle, &connection(3).state, now);
    let lag = source.lag(SHADOW, now).expect("a peer");
    assert_eq!((lag.frames, lag.waiting, lag.oldest), (1, 1, Duration::from_secs(20)));
    assert!(lag.unheard >= Duration::from_secs(20));
    now = begin + Duration::from_secs(31);
    while source.poll(now).is_some() {}
    assert!(!source.is_complete(SHADOW));
    run(&mut source, &mut replica, &mut now, Duration::from_secs(2));
    assert!(source.is_complete(SHADOW) && replica.is_complete());
    assert_same(&source, &replica);
}

#[test]
fn the_link_keeps_its_share() {
    let mut now = Timestamp::from_secs(1);
    let config = Config { rate_bytes_per_s: 100_000, burst_bytes: 3000, ..Config::default() };
    let mut source = Source::new(config.clone(), SOURCE, 1, SECRET);
    source.add_peer(SHADOW, now);
    let mut replica = replica(1);
    let handles: Vec<Handle> = (0..2000).map(|number| source.open(connection(number), now).expect("room")).collect();
    let (begin, mut bytes) = (now, 0);
    for step in 0..10_000_u32 {
        let state = State { mark: step, ..State::default() };
        for handle in handles.iter().skip(step as usize % 7).step_by(7) {
            source.update(*handle, &state, now);
        }
        while let Some((_, frame)) = source.poll(now) {
            bytes += frame.len() as u64;
            let most = 100_000 * (now.since(begin).as_millis() as u64 + 1) / 1000 + 3000 + 1500;
            assert!(bytes <= most, "{bytes} bytes after {:?}", now.since(begin));
            let _ = replica.receive(&frame, now, &mut Vec::new());
        }
        while let Some(frame) = replica.poll(now) {
            let _ = source.receive(SHADOW, &frame, now);
        }
        now = now + Duration::from_millis(1);
    }
    assert!(bytes > 950_000, "the share is used: {bytes}");
    assert!(replica.is_complete(), "a snapshot is told though changes never end");
}

/// Payload of records a frame: without Ethernet, header and tag.
fn payload(source: &mut Source, replica: &mut Replica, now: &mut Timestamp) -> u64 {
    let tape = recorded(source, replica, now);
    let data = tape.iter().filter(|(down, frame)| *down && frame[1] == Kind::Data as u8);
    data.map(|(_, frame)| (frame.len() - FRAME_OVERHEAD) as u64).sum()
}

/// TCP of many clients to a few servers, as conntrack knows it, one in two behind source NAT.
fn measured(number: u32, nat: bool) -> Connection {
    let scattered = number.wrapping_mul(2_654_435_761);
    let server = (Ipv4Addr::from_bits(0xc633_6400 | (scattered % 50)), 443);
    let client = (Ipv4Addr::from_bits(0x0a00_0000 | (scattered >> 16)), 1024 + (number % 60_000) as u16);
    let mut connection = Connection::new(Flow::v4(Flow::TCP, client, server));
    if nat {
        let public = (Ipv4Addr::new(203, 0, 113, 5), 10_000 + (scattered >> 8) as u16 % 50_000);
        connection = connection.with_reply(Flow::v4(Flow::TCP, server, public)).expect("of one family");
    }
    let tcp = Tcp { state: 3, flags: [0x23, 0x23], scales: 0x77 };
    connection.state = State { status: 0x18e, timeout_s: 432_000, tcp, ..State::default() };
    connection
}

#[test]
fn records_are_small() {
    const COUNT: u32 = 10_000;
    let (mut source, mut replica, mut now, _) = in_session();
    let mut opened = Vec::new();
    for nat in [false, true] {
        let base = if nat { COUNT } else { 0 };
        let handles = (base..base + COUNT).map(|number| source.open(measured(number, nat), now).expect("room"));
        let handles: Vec<Handle> = handles.collect();
        opened.push(payload(&mut source, &mut replica, &mut now) as f64 / f64::from(COUNT));
        for (number, handle) in (base..).zip(&handles) {
            let throughput = Throughput::from_bps(u64::from(number) * 1000);
            let state = State { throughput, ..measured(number, nat).state };
            // Not in the order of their handles.
            let far = handles[handle.0 as usize % handles.len()];
            source.update(far, &state, now);
        }
    }
    let updates = source.lag(SHADOW, now).expect("a peer").waiting as f64;
    let update = payload(&mut source, &mut replica, &mut now) as f64 / updates;
    println!("bytes of an IPv4 open {:.1}, with NAT {:.1}; of an update {update:.1}", opened[0], opened[1]);
    assert!(opened[0] <= 36.0 && opened[1] <= 36.0 && update <= 16.0, "{opened:?} {update}");
    assert_same(&source, &replica);
}
