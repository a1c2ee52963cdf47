//! One source and its replicas over channels that lose, repeat and reorder.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::types::{NodeIndex, Timestamp};
use crate::wire::replication::{Connection, Flow, Handle, Key, State, Throughput};

use super::{Change, Config, Replica, Source};

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
