//! Two agents without sockets: what one kernel tells arrives at the other agent, also after losses.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::types::{NodeIndex, Timestamp};
use crate::wire::ctnetlink::{Entry, Kind};
use crate::wire::replication::{Connection, Fields, Flow, Key, State};

fn agent(router: u16, peer: u16) -> Agent {
    let setup = Setup {
        router: NodeIndex(router),
        peers: vec![NodeIndex(peer)],
        is_source: true,
        is_shadow: true,
        secret: Key::new([3; 16]),
        replication: crate::replication::Config::default(),
        ignore: vec!["10.99.0.0/16".parse().expect("a prefix")],
        epoch: u32::from(router),
        seed: u64::from(router),
    };
    Agent::new(setup, Timestamp(1))
}

fn entry(kind: Kind, port: u16, state: u8) -> Entry {
    let client = (Ipv4Addr::new(10, 0, 0, 1), port);
    let mut connection = Connection::new(Flow::v4(Flow::TCP, client, (Ipv4Addr::new(192, 0, 2, 1), 80)));
    connection.state = State { timeout_s: 120, ..State::default() };
    connection.state.tcp.state = state;
    Entry { kind, connection, told: Fields(Fields::ALL.0 & !Fields::THROUGHPUT.0), bytes: None }
}

fn settle(one: &mut Agent, other: &mut Agent, now: &mut Timestamp) {
    for _ in 0..200 {
        *now = *now + Duration::from_millis(1);
        while let Some((_, frame)) = one.poll(*now) {
            other.frame(&frame, *now);
        }
        while let Some((_, frame)) = other.poll(*now) {
            one.frame(&frame, *now);
        }
    }
}

fn ports(agent: &Agent) -> Vec<(u16, u8)> {
    let mut held: Vec<_> =
        agent.holdings(None).iter().map(|held| (held.flow.source_port, held.state.tcp.state)).collect();
    held.sort_unstable();
    held
}

#[test]
fn events_arrive_at_the_peer() {
    let (mut one, mut two, mut now) = (agent(1, 2), agent(2, 1), Timestamp(1));
    one.event(entry(Kind::New, 1, 1), now);
    // Seen first when it changed: its beginning was before the agent's.
    one.event(entry(Kind::Update, 2, 3), now);
    one.event(entry(Kind::New, 3, 1), now);
    settle(&mut one, &mut two, &mut now);
    one.event(entry(Kind::Update, 1, 3), now);
    one.event(entry(Kind::Destroy, 3, 0), now);
    settle(&mut one, &mut two, &mut now);
    assert_eq!(ports(&two), [(1, 3), (2, 3)]);
    assert!(one.report(now).peers[0].told && two.report(now).peers[0].held_complete);
    assert_eq!(ports(&one), []);
}

#[test]
fn an_update_that_tells_no_state_leaves_it() {
    let (mut one, mut two, mut now) = (agent(1, 2), agent(2, 1), Timestamp(1));
    one.event(entry(Kind::New, 1, 3), now);
    one.event(Entry { told: Fields::TIMEOUT, ..entry(Kind::Update, 1, 0) }, now);
    settle(&mut one, &mut two, &mut now);
    assert_eq!(ports(&two), [(1, 3)]);
}

#[test]
fn a_dump_repairs_what_no_event_told() {
    let (mut one, mut two, mut now) = (agent(1, 2), agent(2, 1), Timestamp(1));
    for port in 1..=4 {
        one.event(entry(Kind::New, port, 3), now);
    }
    one.lost_events();
    one.dump_begins();
    one.dumped(entry(Kind::Update, 1, 3), now);
    // The dump is older than what events say.
    one.event(entry(Kind::Destroy, 2, 0), now);
    one.dumped(entry(Kind::Update, 2, 3), now);
    one.event(entry(Kind::Update, 3, 4), now);
    one.dumped(entry(Kind::Update, 3, 3), now);
    one.dumped(entry(Kind::Update, 5, 3), now);
    one.event(entry(Kind::New, 6, 1), now);
    one.dump_ends(now);
    settle(&mut one, &mut two, &mut now);
    assert_eq!(ports(&two), [(1, 3), (3, 4), (5, 3), (6, 1)]);
    let kernel = one.report(now).kernel;
    assert_eq!((kernel.overruns, kernel.dumps, kernel.missed), (1, 1, 1));
}

#[test]
fn ignored_addresses_are_not_told() {
    let (mut one, now) = (agent(1, 2), Timestamp(1));
    let mut ignored = entry(Kind::New, 1, 1);
    ignored.connection.flow = Flow::v4(Flow::UDP, ([10, 99, 1, 1].into(), 1), ([192, 0, 2, 1].into(), 2));
    one.event(ignored.clone(), now);
    ignored.connection.flow = Flow::v4(Flow::UDP, (Ipv4Addr::LOCALHOST, 1), (Ipv4Addr::LOCALHOST, 2));
    one.event(ignored, now);
    assert_eq!((one.report(now).connections, one.report(now).kernel.ignored), (0, 2));
}

#[test]
fn a_purge_takes_what_the_peer_holds_itself() {
    let (mut one, mut two, mut now) = (agent(1, 2), agent(2, 1), Timestamp(1));
    for port in [1, 2] {
        one.event(entry(Kind::New, port, 3), now);
    }
    for port in [2, 3] {
        two.event(entry(Kind::New, port, 3), now);
    }
    settle(&mut one, &mut two, &mut now);
    let returned: Vec<u16> = two.returned(Some(NodeIndex(1))).iter().map(|held| held.flow.source_port).collect();
    assert_eq!(returned, [2]);
}

#[test]
fn frames_of_nobody_change_nothing() {
    let (mut one, now) = (agent(1, 2), Timestamp(1));
    assert_eq!(one.frame(&[], now), []);
    assert_eq!(one.frame(&[0x11; 60], now), []);
    assert_eq!(one.report(now).unreadable_frames, 2);
}

#[test]
fn metrics_name_every_peer() {
    let text = agent(1, 2).report(Timestamp(1)).metrics();
    assert!(text.contains("foreshadow_agent_peer_held{peer=\"2\"} 0\n"), "{text}");
    assert!(text.contains("# TYPE foreshadow_agent_kernel_events_total counter\n"), "{text}");
}
