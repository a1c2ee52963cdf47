//! OpenFlow sessions against a switch made of memory: handshake, liveness, errors, installation, reading.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

mod openflow;

use std::time::Duration;

use foreshadow::southbound::openflow::{
    AgentSettings, CloseReason, Phase, RoleSetting, Session, SessionEvent, SessionSettings, SwitchAgent,
};
use foreshadow::southbound::{Command, Event, InstallCounts, SessionRole};
use foreshadow::types::{DatapathId, PortNo, Timestamp};
use foreshadow::wire::openflow::*;
use openflow::{FakeSwitch, INDIRECT, LEARNED, LEARNED_TABLE, Pair, mapping, plan};

const DATAPATH: DatapathId = DatapathId(0xd1);
const T0: Timestamp = Timestamp::from_secs(1_000);

fn bytes(xid: u32, message: Message) -> Vec<u8> {
    Frame { version: 4, xid, message }.encode().unwrap()
}

fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut all = Vec::new();
    while bytes.len() >= 8 {
        let (frame, rest) = bytes.split_at(usize::from(u16::from_be_bytes([bytes[2], bytes[3]])));
        all.push(Frame::decode(frame).unwrap());
        bytes = rest;
    }
    assert!(bytes.is_empty());
    all
}

fn hello(version: u8, versions: Option<u64>) -> Vec<u8> {
    Frame { version, xid: 9, message: Message::Hello(Hello { versions }) }.encode().unwrap()
}

fn output(session: &mut Session) -> Vec<Frame> {
    frames(&session.poll_output().unwrap_or_default())
}

fn new_session() -> Session {
    let mut session = Session::new(SessionSettings::default(), T0);
    assert_eq!(session.poll_output(), None, "who only asks whether somebody listens is told nothing");
    session.tick(T0 + Duration::from_millis(250));
    let first = output(&mut session);
    assert_eq!(first[0].message, Message::Hello(Hello { versions: Some(0b1_0000) }));
    session
}

fn live_session() -> Session {
    let mut session = new_session();
    let mut switch = FakeSwitch::new(7);
    loop {
        let said = std::mem::take(&mut switch.output);
        if said.is_empty() {
            break;
        }
        session.receive(&said, T0);
        switch.take(&session.poll_output().unwrap_or_default());
    }
    assert!(matches!(session.poll_event(), Some(SessionEvent::Up { datapath: DatapathId(7), .. })));
    assert_eq!(session.poll_event(), Some(SessionEvent::RoundTrip { took: Duration::ZERO }), "one echo right away");
    session
}

/// Every switch that speaks some of 1.0 to 1.5, with a bitmap and without.
#[test]
fn versions_are_agreed_on_or_refused_with_a_text() {
    let bitmaps = (0..64_u64).map(|speaks| Some(speaks << 1)).chain([None]);
    let odd = [(4, Some(1 << 63 | 1 << 4)), (9, Some(1 << 4)), (0, None), (255, None), (255, Some(1 << 63))];
    let all = bitmaps.flat_map(|bitmap| (1..=6_u8).map(move |version| (version, bitmap))).chain(odd);
    let (mut agreed, mut refused) = (0, 0);
    for (version, bitmap) in all {
        let mut session = new_session();
        session.receive(&hello(version, bitmap), T0);
        let answer = output(&mut session);
        // Section 6.3.1: both have a bitmap, or the smaller of the headers' versions counts.
        if bitmap.map_or(version >= 4, |bitmap| bitmap & 0b1_0000 != 0) {
            assert_eq!(session.phase(), Phase::Features, "{version} {bitmap:?}");
            assert_eq!(answer[0].message, Message::FeaturesRequest, "FEATURES is asked for at once");
            agreed += 1;
            continue;
        }
        let Message::Error(error) = &answer[0].message else { panic!("{answer:?}") };
        assert_eq!((error.error_type, error.code), (0, 0), "HELLO_FAILED/INCOMPATIBLE");
        assert!(answer[0].version <= version.max(1), "the peer can read the error");
        let text = String::from_utf8(error.data.clone()).unwrap();
        assert!(text.is_ascii() && text.contains("this side speaks OpenFlow 1.3 (4)"), "{text}");
        for bit in (1..=6_u64).filter(|bit| bitmap.is_some_and(|bitmap| bitmap & (1 << bit) != 0)) {
            assert!(text.contains(&format!("OpenFlow 1.{} ({bit})", bit - 1)), "{text}");
        }
        assert!(matches!(
            session.poll_event(),
            Some(SessionEvent::Closed { reason: CloseReason::NoCommonVersion { .. } })
        ));
        refused += 1;
    }
    assert_eq!((agreed, refused), (6 * 32 + 3 + 3, 6 * 32 + 3 + 2));
}

#[test]
fn every_phase_answers_every_message_as_the_table_says() {
    let error = || Message::Error(ErrorMessage { error_type: 1, code: 1, data: vec![] });
    let features = |auxiliary_id| {
        Message::FeaturesReply(Features {
            datapath_id: 7,
            n_buffers: 0,
            n_tables: 1,
            auxiliary_id,
            capabilities: 0,
            reserved: 0,
        })
    };
    let messages: Vec<(&str, Message)> = vec![
        ("hello", Message::Hello(Hello { versions: None })),
        ("error", error()),
        ("echo", Message::EchoRequest(vec![1])),
        ("features", features(0)),
        ("auxiliary", features(1)),
        ("barrier", Message::BarrierReply),
        ("request", Message::FeaturesRequest),
        ("other", Message::GetAsyncReply(AsyncConfig::default())),
        ("unknown", Message::Other { message_type: 99, body: vec![] }),
    ];
    use Phase::{Auxiliary, Closed, Describe, Features as F, Hello as H, Up};
    // message, then the phase after it when it comes in Hello, Features, Describe and Up
    let table = [
        ("hello", [F, F, Describe, Up]),
        ("error", [Closed, Closed, Describe, Up]),
        ("echo", [Closed, F, Describe, Up]),
        ("features", [Closed, Describe, Describe, Up]),
        ("auxiliary", [Closed, Auxiliary, Describe, Up]),
        ("barrier", [Closed, F, Describe, Up]),
        ("request", [Closed, Closed, Closed, Up]),
        ("other", [Closed, F, Describe, Up]),
        ("unknown", [Closed, Closed, Closed, Up]),
    ];
    for ((name, message), (row, after)) in messages.iter().zip(table) {
        assert_eq!(*name, row);
        for (phase, expected) in [H, F, Describe, Up].into_iter().zip(after) {
            let mut session = if phase == Up { live_session() } else { new_session() };
            if matches!(phase, F | Describe) {
                session.receive(&hello(4, None), T0);
            }
            if phase == Describe {
                session.receive(&bytes(2, features(0)), T0);
            }
            assert_eq!(session.phase(), phase);
            session.receive(&bytes(77, message.clone()), T0);
            assert_eq!(session.phase(), expected, "{name} in {phase:?}");
        }
    }
}

#[test]
fn hello_goes_out_with_the_peers_first_byte() {
    let mut session = Session::new(SessionSettings::default(), T0);
    assert_eq!(session.next_deadline(), Some(T0 + Duration::from_millis(250)));
    session.receive(&hello(4, None)[..1], T0);
    let first = output(&mut session);
    assert_eq!(
        first.iter().map(|frame| frame.message.clone()).collect::<Vec<_>>(),
        [Message::Hello(Hello { versions: Some(0b1_0000) })]
    );
    session.tick(T0 + Duration::from_millis(250));
    assert_eq!(session.poll_output(), None, "once is enough");
}

#[test]
fn slow_and_hanging_handshakes_end() {
    // Even a peer that trickles bytes all the time is given up.
    let mut session = new_session();
    let mut now = T0;
    for byte in hello(4, None).iter().take(7) {
        now = now + Duration::from_millis(700);
        session.receive(&[*byte], now);
        session.tick(now);
    }
    assert_eq!(session.next_deadline(), Some(T0 + Duration::from_secs(5)));
    session.tick(T0 + Duration::from_secs(5));
    let Some(SessionEvent::Closed { reason }) = session.poll_event() else { panic!("still open") };
    assert_eq!(reason, CloseReason::HandshakeTimeout { limit: Duration::from_secs(5), phase: Phase::Hello });
    assert_eq!(session.next_deadline(), None);
}

#[test]
fn a_silent_peer_is_asked_and_then_given_up() {
    let mut pair = Pair::up(1);
    pair.pass(Duration::from_secs(60));
    assert_eq!(pair.agent.phase(), Phase::Up);
    let echoes = pair.switch.other.iter().filter(|message| matches!(message, Message::EchoRequest(_))).count();
    assert!((13..=14).contains(&echoes), "one echo at first and then every 5 s, came {echoes} in 60 s");

    pair.switch.mute = true;
    let began = pair.now;
    pair.pass(Duration::from_secs(20));
    let Some(Event::SwitchDown { reason, .. }) = pair.events.pop_back() else { panic!("still up") };
    assert!(reason.contains("echo"), "{reason}");
    assert!(began < pair.now);
}

#[test]
fn frames_of_impossible_length_end_the_session_with_an_error() {
    // First bytes, whether the session is live, and what is told of the length.
    for (header, live, came) in [
        ([4, 2, 0, 7, 0, 0, 0, 5], true, 7),
        ([4, 2, 0, 0, 0, 0, 0, 5], true, 0),
        ([4, 0, 0xff, 0xff, 0, 0, 0, 5], false, 65_535),
    ] {
        let mut session = if live { live_session() } else { new_session() };
        session.receive(&header, T0);
        let said = output(&mut session);
        assert_eq!(said.last().map(|frame| frame.xid), Some(5));
        assert!(matches!(&said.last().unwrap().message, Message::Error(e) if (e.error_type, e.code) == (1, 6)));
        let Some(SessionEvent::Closed { reason: CloseReason::FrameLength { came: told, .. } }) = session.poll_event()
        else {
            panic!("still open")
        };
        assert_eq!(told, came);
    }
}

#[test]
fn malformed_frames_are_answered_counted_and_bounded() {
    let mut session = live_session();
    // A PACKET_IN without a body; a wrong version; a type that does not exist; a request from a switch.
    let cases: [(Vec<u8>, u16); 4] = [
        (vec![4, 10, 0, 8, 0, 0, 0, 1], 6),
        (vec![5, 20, 0, 8, 0, 0, 0, 2], 0),
        (vec![4, 99, 0, 8, 0, 0, 0, 3], 1),
        (vec![4, 5, 0, 8, 0, 0, 0, 4], 1),
    ];
    for (index, (frame, code)) in cases.iter().enumerate() {
        session.receive(frame, T0);
        let said = output(&mut session);
        let Message::Error(error) = &said[0].message else { panic!("{said:?}") };
        assert_eq!((said[0].xid, error.error_type, error.code), (index as u32 + 1, 1, *code));
        assert_eq!(&error.data, frame);
    }
    // A malformed error is not answered: errors about errors would never end.
    session.receive(&[4, 1, 0, 8, 0, 0, 0, 1], T0);
    assert!(session.poll_output().is_none());
    assert_eq!((session.counters().malformed, session.phase()), (5, Phase::Up));
    for _ in 5..100 {
        session.receive(&cases[0].0, T0);
    }
    assert_eq!(session.phase(), Phase::Up, "100 are borne");
    session.receive(&cases[0].0, T0);
    assert!(matches!(
        session.poll_event(),
        Some(SessionEvent::Closed { reason: CloseReason::TooManyMalformed { .. } })
    ));
}

#[test]
fn a_peer_that_does_not_read_is_given_up() {
    let mut session = live_session();
    let echo = bytes(1, Message::EchoRequest(vec![0; 60_000]));
    for _ in 0..200 {
        session.receive(&echo, T0);
    }
    assert!(matches!(session.poll_event(), Some(SessionEvent::Closed { reason: CloseReason::NotReading { .. } })));
    assert!(session.output_len() < 9 << 20);
}

#[test]
fn endless_answers_are_cut_off() {
    let mut pair = Pair::new(
        AgentSettings {
            session: SessionSettings { multipart_bytes_max: 20_000, ..SessionSettings::default() },
            ..AgentSettings::default()
        },
        3,
    );
    pair.exchange();
    pair.install(1, plan(&[(1, 1)], &[], 0));
    pair.install(2, plan(&[(1, 1)], &[], 1_000));
    pair.events.clear();
    assert!(!pair.restart_controller(), "what it holds is too much to read");
    pair.install(3, plan(&[(1, 1)], &[], 1_000));
    let Some(Event::InstallFailed { error, .. }) = pair.events.pop_front() else { panic!("{:?}", pair.events) };
    assert!(error.contains("expected at most 20000 bytes"), "{error}");
    assert_eq!(pair.agent.phase(), Phase::Up);
}

#[test]
fn installation_is_make_before_break_and_closed_by_barriers() {
    let mut pair = Pair::up(4);
    // Alias 5 -> group 995 refers to group 3: it must come after it although its number could come before others.
    pair.install(1, plan(&[(1, 1), (2, 2), (3, 3)], &[(5, 3)], 2));
    let Some(Event::Installed { generation: 1, counts, .. }) = pair.events.pop_front() else {
        panic!("{:?}", pair.events)
    };
    assert_eq!(counts, InstallCounts { flows_added: 6, groups_added: 4, ..InstallCounts::default() });

    pair.switch.log.clear();
    // 1 leaves, 4 comes, 2 changes its port, the alias changes to the new node.
    pair.install(2, plan(&[(2, 9), (3, 3), (4, 4)], &[(5, 4)], 1));
    let Some(Event::Installed { generation: 2, counts, .. }) = pair.events.pop_front() else {
        panic!("{:?}", pair.events)
    };
    assert_eq!(
        counts,
        InstallCounts {
            flows_added: 1,
            flows_deleted: 2,
            groups_added: 1,
            groups_modified: 2,
            groups_deleted: 1,
            unchanged: 5,
            ..InstallCounts::default()
        }
    );
    let order: Vec<String> = pair
        .switch
        .log
        .iter()
        .map(|message| match message {
            Message::GroupMod(group) => format!("{:?} group {}", group.command, group.group_id),
            Message::FlowMod(flow) => format!("{:?} table {}", flow.command, flow.table_id),
            _ => "barrier".into(),
        })
        .collect();
    assert_eq!(
        order,
        [
            "Modify group 2",
            "Add group 4",
            "barrier",
            &format!("Modify group {}", INDIRECT - 5),
            "barrier",
            "Add table 0",
            "barrier",
            "DeleteStrict table 0",
            "DeleteStrict table 2",
            "barrier",
            "Delete group 1",
            "barrier",
        ]
    );
}

#[test]
fn a_restarted_controller_sends_only_the_difference() {
    let mut pair = Pair::up(5);
    let wanted = || plan(&[(1, 1), (2, 2)], &[(7, 1)], 300);
    pair.install(1, wanted());
    // A learned entry, an entry of somebody else, and an entry of ours that should not be there.
    let sample = pair.switch.flows.values().next().unwrap().clone();
    for (table, cookie) in [(LEARNED_TABLE, LEARNED), (8, 0x99), (7, openflow::OURS.value | 3)] {
        let key = foreshadow::southbound::openflow::state::FlowKey {
            table,
            priority: sample.priority,
            matching: sample.matching.clone(),
        };
        pair.switch.flows.insert(key, FlowStats { table_id: table, cookie, ..sample.clone() });
    }
    pair.events.clear();
    assert!(pair.restart_controller());
    pair.install(8, wanted());
    let Some(Event::Installed { generation: 8, counts, .. }) = pair.events.pop_front() else {
        panic!("{:?}", pair.events)
    };
    assert_eq!(counts, InstallCounts { flows_deleted: 1, unchanged: 306, ..InstallCounts::default() });
    assert_eq!(pair.switch.changes(), 1, "{:?}", pair.switch.log);
    assert!(
        pair.switch.flows.keys().any(|key| key.table == LEARNED_TABLE)
            && pair.switch.flows.keys().any(|key| key.table == 8)
    );

    // Once more: now nothing at all is sent.
    assert!(pair.restart_controller());
    pair.install(9, wanted());
    assert!(matches!(pair.events.pop_front(), Some(Event::Installed { generation: 9, .. })));
    assert!(pair.switch.log.is_empty(), "{:?}", pair.switch.log);
}

#[test]
fn a_refused_message_is_reported_by_name_and_retried_until_it_is_taken() {
    let mut pair = Pair::up(6);
    pair.install(1, plan(&[(1, 1)], &[], 0));
    pair.events.clear();
    pair.switch.refuse = |message| match message {
        Message::FlowMod(flow) if flow.table_id == 2 => Some((5, 1)),
        _ => None,
    };
    // Node 1 is to leave: it must not, while what replaces it is not in.
    pair.install(2, plan(&[(2, 2)], &[], 6));
    let Some(Event::InstallFailed { generation: 2, error, .. }) = pair.events.pop_front() else {
        panic!("{:?}", pair.events)
    };
    assert!(error.contains("add flow table 2 priority 5 match"), "{error}");
    assert!(error.contains("FLOW_MOD_FAILED/TABLE_FULL (5/1)") && error.contains("and 2 more"), "{error}");
    assert!(pair.switch.groups.contains_key(&1), "nothing is deleted before everything is made");

    pair.pass(Duration::from_secs(20));
    let failures = pair.events.iter().filter(|event| matches!(event, Event::InstallFailed { .. })).count();
    assert_eq!(failures, 5, "after 0.5, 1, 2, 4 and 8 s");
    pair.events.clear();
    pair.switch.refuse = |_| None;
    pair.pass(Duration::from_secs(16));
    let Some(Event::Installed { generation: 2, counts, .. }) = pair.events.pop_front() else {
        panic!("{:?}", pair.events)
    };
    assert_eq!(counts.flows_added, 1 + 6, "{counts:?}");
    assert!(!pair.switch.groups.contains_key(&1));
}

#[test]
fn a_newer_plan_supersedes_one_that_fails_or_is_on_its_way() {
    let mut pair = Pair::up(7);
    pair.switch.refuse = |message| match message {
        Message::FlowMod(flow) if flow.table_id == 2 => Some((5, 1)),
        _ => None,
    };
    pair.install(1, plan(&[(1, 1)], &[], 1));
    assert!(matches!(pair.events.pop_front(), Some(Event::InstallFailed { generation: 1, .. })));
    // The same wish again does not hurry; another one is tried at once.
    let sent = pair.switch.log.len();
    pair.install(2, plan(&[(1, 1)], &[], 1));
    assert_eq!(pair.switch.log.len(), sent);
    pair.install(3, plan(&[(1, 2)], &[], 0));
    assert!(matches!(pair.events.pop_front(), Some(Event::Installed { generation: 3, .. })), "{:?}", pair.events);

    // A large plan is overtaken after its first batch.
    pair.switch.refuse = |_| None;
    pair.switch.answers_barriers = false;
    pair.install(4, plan(&[(1, 1)], &[], 5_000));
    pair.install(5, plan(&[(1, 1)], &[], 10));
    let barrier = pair.switch.log.len() as u32;
    assert!(barrier < 2_010, "one batch at a time, came {barrier}");
    pair.pass(Duration::from_secs(11));
    assert!(matches!(pair.events.pop_front(), Some(Event::InstallFailed { generation: 4, .. })), "{:?}", pair.events);
    pair.switch.answers_barriers = true;
    pair.pass(Duration::from_secs(11));
    while let Some(event) = pair.events.pop_front() {
        if let Event::Installed { generation, counts, .. } = event {
            assert_eq!((generation, counts.flows_added), (5, 0));
            assert_eq!(pair.switch.flows.len(), 11);
            return;
        }
    }
    panic!("generation 5 never came");
}

#[test]
fn a_large_plan_goes_out_in_batches() {
    let mut pair = Pair::up(8);
    pair.install(1, plan(&[(1, 1)], &[], 9_000));
    let Some(Event::Installed { counts, .. }) = pair.events.pop_front() else { panic!("{:?}", pair.events) };
    assert_eq!(counts.flows_added, 9_001);
    let longest = pair.switch.log.split(|message| matches!(message, Message::BarrierRequest)).map(<[_]>::len).max();
    assert!(longest.is_some_and(|most| most <= 2_000), "{longest:?}");
}

#[test]
fn readings_come_whole_or_partly_but_they_come() {
    let mut pair = Pair::up(9);
    pair.install(1, plan(&[(1, 1)], &[], 0));
    pair.events.clear();
    pair.agent.command(Command::Collect { datapath: DATAPATH }, pair.now);
    pair.exchange();
    let Some(Event::Reading { reading, .. }) = pair.events.pop_front() else { panic!("{:?}", pair.events) };
    assert_eq!(reading.ports[&PortNo(2)].rx_packets, 6, "both parts count");

    pair.switch.answers_flow_stats = false;
    pair.agent.command(Command::Collect { datapath: DATAPATH }, pair.now);
    pair.exchange();
    assert!(pair.events.is_empty());
    pair.pass(Duration::from_millis(2_100));
    assert!(matches!(pair.events.pop_front(), Some(Event::Reading { reading, .. }) if reading.ports.len() == 2));

    // A refused part does not keep the others waiting.
    pair.switch.answers_flow_stats = true;
    pair.switch.refuse = |message| match message {
        Message::MultipartRequest(MultipartRequest { body: MultipartRequestBody::Flow(_), .. }) => Some((1, 2)),
        _ => None,
    };
    pair.agent.command(Command::Collect { datapath: DATAPATH }, pair.now);
    pair.exchange();
    assert!(matches!(pair.events.pop_front(), Some(Event::Reading { reading, .. }) if reading.ports.len() == 2));
}

#[test]
fn stale_half_open_entries_are_deleted_and_ended_ones_reported() {
    let mut pair = Pair::up(10);
    pair.install(1, plan(&[(1, 1)], &[], 0));
    pair.events.clear();
    let sample = pair.switch.flows.values().next().unwrap().clone();
    for (priority, duration_sec) in [(1, 5), (2, 61)] {
        let flow = FlowStats { table_id: LEARNED_TABLE, cookie: LEARNED, priority, duration_sec, ..sample.clone() };
        let key = foreshadow::southbound::openflow::state::FlowKey {
            table: LEARNED_TABLE,
            priority,
            matching: sample.matching.clone(),
        };
        pair.switch.flows.insert(key, flow);
    }
    pair.pass(Duration::from_secs(6));
    let left: Vec<_> =
        pair.switch.flows.keys().filter(|key| key.table == LEARNED_TABLE).map(|key| key.priority).collect();
    assert_eq!(left, [1]);

    let removed = FlowRemoved {
        cookie: LEARNED,
        priority: 1,
        reason: removed_reason::IDLE_TIMEOUT,
        table_id: LEARNED_TABLE,
        duration_sec: 12,
        duration_nsec: 0,
        idle_timeout: 0,
        hard_timeout: 0,
        packet_count: 3,
        byte_count: 180,
        matching: Match::any(),
    };
    pair.switch.say(0, Message::FlowRemoved(removed));
    pair.exchange();
    assert!(
        matches!(pair.events.pop_front(), Some(Event::ConnectionEnded { ended, .. }) if ended.duration_ms == 12_000 && ended.packets == 3)
    );
}

#[test]
fn errors_are_tied_to_their_request_and_others_only_counted() {
    let mut session = live_session();
    session.receive(&bytes(0xdead, Message::Error(ErrorMessage { error_type: 3, code: 1, data: vec![] })), T0);
    assert_eq!((session.counters().untied_errors, session.poll_event()), (1, None));
    let agent = SwitchAgent::new(AgentSettings::default(), mapping(), "peer".into(), T0);
    assert_eq!(agent.datapath(), None);
}

#[test]
fn only_what_is_used_is_asked_for() {
    let pair = Pair::up(11);
    let used = AsyncConfig { packet_in: [0b011, 0], port_status: [0b111, 0b111], flow_removed: [0b1111, 0] };
    assert_eq!(pair.switch.asynchronous, used);
    // A switch that knows no such wish is served all the same.
    let mut pair = Pair::new(AgentSettings::default(), 11);
    pair.switch.refuse = |message| matches!(message, Message::SetAsync(_)).then_some((1, 1));
    pair.exchange();
    assert_eq!((pair.agent.phase(), pair.agent.counters().untied_errors), (Phase::Up, 0));
}

fn as_master(generation: u64) -> AgentSettings {
    let session = SessionSettings { role: RoleSetting::Master { generation }, ..SessionSettings::default() };
    AgentSettings { session, ..AgentSettings::default() }
}

#[test]
fn a_master_asks_for_its_role_and_leaves_where_a_newer_one_is_known() {
    let mut pair = Pair::new(as_master(7), 12);
    pair.exchange();
    assert!(pair.switch.other.contains(&Message::RoleRequest(Role { role: 2, generation_id: 7 })));
    let Some(Event::SessionStatus { status, .. }) = pair.told.last() else { panic!("{:?}", pair.told) };
    assert_eq!((status.role, status.errors_in), (SessionRole::Master, 0));

    // Another controller becomes master: the switch says so.
    let demoted = RoleStatus { role: 3, reason: 0, generation_id: 8 };
    pair.switch.say(0, Message::Experimenter(Experimenter::RoleStatus(demoted)));
    pair.switch.refuse = |message| matches!(message, Message::FlowMod(_) | Message::GroupMod(_)).then_some((1, 10));
    pair.exchange();
    let told = Event::RoleChanged {
        datapath: DATAPATH,
        role: SessionRole::Slave,
        reason: "another controller asked to be master".to_owned(),
    };
    assert_eq!(pair.events.back(), Some(&told));
    pair.pass(Duration::from_secs(6));
    let Some(Event::SessionStatus { status, .. }) = pair.told.last() else { panic!("{:?}", pair.told) };
    assert_eq!(status.role, SessionRole::Slave);
    pair.events.clear();
    pair.install(1, plan(&[(1, 1)], &[], 0));
    let Some(Event::InstallFailed { error, .. }) = pair.events.pop_front() else { panic!("{:?}", pair.events) };
    assert!(error.contains("BAD_REQUEST/IS_SLAVE (1/10): this controller is a slave here"), "{error}");

    let mut stale = Pair::new(as_master(6), 13);
    stale.switch.refuse = |message| matches!(message, Message::RoleRequest(_)).then_some((11, 0));
    stale.exchange();
    assert_eq!(stale.agent.closed(), Some(&CloseReason::StaleRole { generation: 6 }));
    let text = stale.agent.closed().unwrap().to_string();
    assert!(text.contains("generation 6") && text.contains("STALE (11/0)"), "{text}");

    // A switch without roles obeys everyone.
    let mut simple = Pair::new(as_master(6), 14);
    simple.switch.refuse = |message| matches!(message, Message::RoleRequest(_)).then_some((1, 1));
    simple.exchange();
    assert_eq!(simple.agent.phase(), Phase::Up);
}

#[test]
fn round_trips_are_measured_however_busy_the_switch_is() {
    let mut pair = Pair::up(15);
    assert_eq!(pair.told.len(), 2, "one echo right after the handshake, and what comes with it");
    let began = pair.now;
    // A packet every 100 ms for half a minute, and answers that take 3 ms.
    let packet = PacketIn {
        buffer_id: NO_BUFFER,
        total_len: 3,
        reason: 1,
        table_id: 0,
        cookie: 0,
        matching: Match::any().with(Field::InPort, 1_u32),
        data: vec![1, 2, 3],
    };
    for _ in 0..300 {
        pair.now = pair.now + Duration::from_millis(97);
        pair.switch.say(0, Message::PacketIn(packet.clone()));
        pair.agent.tick(pair.now);
        let asked = pair.agent.poll_output(pair.now).unwrap_or_default();
        pair.now = pair.now + Duration::from_millis(3);
        pair.switch.take(&asked);
        pair.exchange();
    }
    assert!(pair.now.since(began) >= Duration::from_secs(30));
    let trips: Vec<u64> = pair
        .told
        .iter()
        .filter_map(|event| match event {
            Event::RoundTrip { us, .. } => Some(*us),
            _ => None,
        })
        .skip(1)
        .collect();
    assert!((6..=7).contains(&trips.len()), "every 5 s: {trips:?}");
    assert!(trips.iter().all(|us| *us == 3_000), "{trips:?}");
    let Some(Event::SessionStatus { status, .. }) = pair.told.last() else { panic!("{:?}", pair.told) };
    assert!(status.messages_in["packet-in"] > 250 && status.bytes_in > 10_000, "{status:?}");
}

fn bundled() -> Pair {
    let mut pair = Pair::new(AgentSettings::default(), 16);
    pair.switch.takes_bundles = true;
    pair.exchange();
    pair.events.clear();
    pair
}

/// `open`, `add` and so on, as the switch was told.
fn spoken(log: &[Message]) -> Vec<&'static str> {
    log.iter()
        .map(|message| match message {
            Message::Experimenter(Experimenter::BundleAdd(_)) => "add",
            Message::Experimenter(Experimenter::BundleControl(control)) => {
                assert_eq!(control.flags, bundle_flags::ATOMIC | bundle_flags::ORDERED);
                ["open", "?", "close", "?", "commit", "?", "discard"][usize::from(control.control)]
            }
            Message::BarrierRequest => "barrier",
            _ => "plain",
        })
        .collect()
}

#[test]
fn many_changes_go_as_one_bundle_and_few_do_not() {
    let mut pair = bundled();
    pair.install(1, plan(&[(1, 1), (2, 2)], &[(5, 2)], 500));
    let Some(Event::Installed { counts, .. }) = pair.events.pop_front() else { panic!("{:?}", pair.events) };
    assert_eq!((counts.flows_added, counts.groups_added), (503, 3));
    let said = spoken(&pair.switch.log);
    assert_eq!((said[0], said[said.len() - 2], said[said.len() - 1]), ("open", "commit", "barrier"));
    assert_eq!(said.iter().filter(|word| **word == "add").count(), 506);
    assert_eq!(said.len(), 509);

    pair.switch.log.clear();
    pair.install(2, plan(&[(1, 1), (2, 2)], &[(5, 1)], 490));
    assert_eq!(spoken(&pair.switch.log), [&["plain", "barrier"][..], &["plain"; 10], &["barrier"]].concat());

    // What leaves goes in the same bundle as what replaces it, after it.
    pair.switch.log.clear();
    pair.events.clear();
    pair.install(3, plan(&[(3, 3)], &[], 5_000));
    let Some(Event::Installed { counts, .. }) = pair.events.pop_front() else { panic!("{:?}", pair.events) };
    assert_eq!((counts.flows_added, counts.flows_deleted, counts.groups_deleted), (4_511, 3, 3));
    let said = spoken(&pair.switch.log);
    assert_eq!(said.iter().filter(|word| **word == "commit").count(), 3, "2,000 changes in one bundle at most");
    let added = pair.switch.log.iter().filter_map(|message| match message {
        Message::Experimenter(Experimenter::BundleAdd(add)) => Some(&add.message.message),
        _ => None,
    });
    let deletes = |message: &Message| match message {
        Message::FlowMod(flow) => flow.command == FlowModCommand::DeleteStrict,
        Message::GroupMod(group) => group.command == GroupModCommand::Delete,
        _ => false,
    };
    assert_eq!(added.clone().position(deletes), Some(4_512), "nothing leaves before the last has come");
    assert_eq!(pair.switch.flows.len(), 5_001);
}

#[test]
fn a_switch_without_bundles_is_asked_once() {
    let mut pair = Pair::up(17);
    for generation in 1..=3 {
        pair.switch.log.clear();
        pair.install(generation, plan(&[(1, 1)], &[], 200 * u32::try_from(generation).unwrap()));
        assert!(matches!(pair.events.pop_front(), Some(Event::Installed { .. })), "{:?}", pair.events);
        assert!(spoken(&pair.switch.log).iter().all(|word| matches!(*word, "plain" | "barrier")));
    }
    let asked = pair.switch.other.iter().filter(|message| matches!(message, Message::Experimenter(_))).count();
    assert_eq!(asked, 1);

    // One that does not even refuse costs two seconds, once.
    let mut pair = bundled();
    pair.switch.mute = true;
    pair.install(1, plan(&[(1, 1)], &[], 200));
    pair.switch.mute = false;
    let began = pair.now;
    pair.pass(Duration::from_millis(2_100));
    assert!(matches!(pair.events.pop_front(), Some(Event::Installed { .. })), "{:?}", pair.events);
    assert!(pair.now.since(began) < Duration::from_secs(3));
    assert!(spoken(&pair.switch.log).iter().all(|word| matches!(*word, "plain" | "barrier")));
}

#[test]
fn a_failed_bundle_changes_nothing_is_reported_and_goes_the_ordinary_way() {
    let mut pair = bundled();
    pair.install(1, plan(&[(1, 1)], &[], 200));
    pair.events.clear();
    let before = (pair.switch.flows.clone(), pair.switch.groups.clone());
    let unwanted = |message: &Message| match message {
        Message::FlowMod(flow) if flow.matching.get(Field::Ipv4Dst).is_some_and(|ip| ip.value == 0x0a00_0190) => {
            Some((5, 1))
        }
        _ => None,
    };
    pair.switch.refuse = unwanted;
    pair.install(2, plan(&[(2, 2)], &[], 500));
    let Some(Event::InstallFailed { generation: 2, error, .. }) = pair.events.pop_front() else {
        panic!("{:?}", pair.events)
    };
    assert!(error.contains("bundle: the switch answered BUNDLE_FAILED/MSG_FAILED (65535/2313)"), "{error}");
    assert!(error.contains("add flow table 2") && error.contains("FLOW_MOD_FAILED/TABLE_FULL (5/1)"), "{error}");
    assert_eq!((pair.switch.flows.clone(), pair.switch.groups.clone()), before, "all or nothing");

    // The ordinary way gets as far as it can, and takes nothing away.
    pair.pass(Duration::from_secs(1));
    assert_eq!(pair.switch.flows.len(), 501, "one is missing, and nothing is deleted");
    pair.switch.refuse = |_| None;
    pair.pass(Duration::from_secs(60));
    assert!(pair.events.iter().any(|event| matches!(event, Event::Installed { generation: 2, .. })));
    assert_eq!(pair.switch.flows.len(), 501);
}
