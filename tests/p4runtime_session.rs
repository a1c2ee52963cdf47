//! P4Runtime sessions against a switch made of memory: election, program, installation, failures, readings, packets.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

mod p4session;

use foreshadow::southbound::p4runtime::pipeline::{Pipeline, SweepKind, SweepReport};
use foreshadow::southbound::p4runtime::{P4CloseReason, P4SessionSettings, Standing};
use foreshadow::southbound::{Command, Event, InstallCounts, PortCounters, Reading, SessionRole};
use foreshadow::types::PortNo;
use foreshadow::wire::p4runtime::status::error;
use foreshadow::wire::p4runtime::v1;
use foreshadow::wire::p4runtime::v1::set_forwarding_pipeline_config_request::Action;
use foreshadow::wire::p4runtime::v1::stream_message_request::Update as Out;
use foreshadow::wire::p4runtime::v1::stream_message_response::Update as In;
use foreshadow::wire::p4runtime::v1::update::Type;
use p4session::program::{CLONE, HOSTS, OTHER, Small, WAYS, clone_session, counted, hop, host, member, packet_in};
use p4session::switch::{MemorySwitch, key};
use p4session::wire::{DATAPATH, ELECTION, T0, Wire, arbitration, message};
use p4session::{ms, plan};
use tonic::Code;

const HOST: u32 = 0x0a00_0000;

fn running() -> MemorySwitch {
    MemorySwitch::running(Small::new(1).forwarding_config())
}

fn small_batches(count: usize) -> P4SessionSettings {
    let mut settings = P4SessionSettings::default();
    settings.install.batch_max = count;
    settings
}

fn kinds(update: &v1::Update) -> (Type, String) {
    let name = match key(update.entity.as_ref().unwrap()) {
        foreshadow::southbound::p4runtime::EntityKey::Entry { table: HOSTS, .. } => "host",
        foreshadow::southbound::p4runtime::EntityKey::Entry { .. } => "hop",
        foreshadow::southbound::p4runtime::EntityKey::Default { .. } => "default",
        foreshadow::southbound::p4runtime::EntityKey::Member { .. } => "member",
        foreshadow::southbound::p4runtime::EntityKey::Group { .. } => "group",
        foreshadow::southbound::p4runtime::EntityKey::Clone { .. } => "clone",
        _ => "other",
    };
    (update.r#type(), name.to_owned())
}

/// Batches as the kinds of their updates, each once.
fn batches(switch: &MemorySwitch) -> Vec<Vec<(Type, String)>> {
    let batch = |batch: &Vec<v1::Update>| {
        let mut all: Vec<_> = batch.iter().map(kinds).collect();
        all.dedup();
        all
    };
    switch.writes.iter().map(batch).collect()
}

#[test]
fn a_blank_switch_gets_its_program_and_then_what_it_should_hold() {
    let mut wire = Wire::dial(Small::new(1), MemorySwitch::default(), P4SessionSettings::default());
    wire.run();
    assert!(matches!(&wire.sent[..], [Out::Arbitration(update)] if update.device_id == 4), "{:?}", wire.sent);
    assert_eq!((wire.take(), wire.switch.pushes.len()), (Vec::new(), 0), "nothing is done before the election");

    wire.elect(ELECTION);
    assert_eq!(wire.switch.pushes, [Action::VerifyAndCommit]);
    let events = wire.take();
    let [Event::SwitchUp { description, ports, .. }, Event::Found { entries: 0, choices, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((description.software.as_str(), description.datapath.as_str()), ("P4Runtime 1.5.0", "small.p4 1"));
    assert_eq!(ports.iter().map(|port| (port.number.0, port.up)).collect::<Vec<_>>(), [(1, true), (2, true)]);
    assert!(choices.is_empty());

    wire.install(1, plan(&[(1, 3), (2, 4)], &[(5, &[(1, 1), (2, 1)])]));
    let expected = InstallCounts { flows_added: 3, flows_modified: 1, groups_added: 3, ..InstallCounts::default() };
    assert_eq!(wire.installed(1), expected);
    let one = |act, name: &str| vec![(act, name.to_owned())];
    let (insert, modify) = (Type::Insert, Type::Modify);
    let ordered =
        [one(insert, "member"), one(insert, "group"), one(insert, "hop"), one(insert, "host"), one(modify, "default")];
    assert_eq!(batches(&wire.switch), ordered);
    assert_eq!(wire.session.counters().kinds_out().get("write"), Some(&5));
}

#[test]
fn a_restart_sends_nothing_that_is_right() {
    let held = plan(&[(1, 3)], &[(1, &[(1, 1), (2, 1)])]);
    let mut first = Wire::primary(Small::new(1), MemorySwitch::default());
    first.install(1, held.clone());
    first.installed(1);
    let mut switch = first.switch;
    switch.writes.clear();
    switch.pushes.clear();

    let mut second = Wire::dial(Small::new(1), switch, P4SessionSettings::default());
    second.elect(ELECTION);
    let events = second.take();
    let [Event::SwitchUp { .. }, Event::Found { entries: 5, choices, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(choices.len(), 1);
    second.install(1, held);
    assert_eq!(second.installed(1), InstallCounts { unchanged: 6, ..InstallCounts::default() });
    assert_eq!((second.switch.writes.len(), second.switch.pushes.len()), (0, 0));

    second.install(2, plan(&[(1, 4)], &[(1, &[(1, 1), (2, 1)])]));
    assert_eq!(second.installed(2), InstallCounts { flows_modified: 1, unchanged: 5, ..InstallCounts::default() });
}

#[test]
fn a_program_is_pushed_only_where_another_one_runs() {
    let ours = Small::new(1);
    // The same program under another cookie.
    let mut same = MemorySwitch::running(Small::new(2).forwarding_config());
    same.held.insert(host(HOST + 1, 3));
    let wire = Wire::primary(ours.clone(), same);
    assert_eq!((wire.switch.pushes.len(), wire.switch.held.len()), (0, 1));

    for reconciles in [false, true] {
        let mut other = MemorySwitch { reconciles, ..running() };
        let config = other.config.as_mut().unwrap();
        config.p4_device_config = b"another".to_vec();
        config.cookie.as_mut().unwrap().cookie = 99;
        other.held.insert(clone_session(&[1, 2]));
        other.held.insert(host(HOST + 1, 3));
        let wire = Wire::primary(ours.clone(), other);
        let expected: &[Action] = if reconciles {
            &[Action::ReconcileAndCommit]
        } else {
            &[Action::ReconcileAndCommit, Action::Commit, Action::VerifyAndCommit]
        };
        assert_eq!(wire.switch.pushes, expected);
        // BMv2 would keep the copies of the session.
        assert_eq!(batches(&wire.switch), [[(Type::Delete, "clone".to_owned())]]);
        assert_eq!(wire.switch.held.len(), usize::from(reconciles));
    }
}

#[test]
fn a_program_that_is_refused_ends_the_session_with_the_reason() {
    let mut wire = Wire::dial(Small::new(1), MemorySwitch::default(), P4SessionSettings::default());
    wire.silent = Some("set-pipeline");
    wire.elect(ELECTION);
    let (id, _) = wire.kept.pop().expect("a push");
    let refused = foreshadow::southbound::p4runtime::CallError::new(Code::InvalidArgument, "no such architecture");
    wire.session.answered(id, Err(refused), wire.now);
    let reason = wire.session.closed().expect("closed").to_string();
    assert_eq!(reason, "the switch does not run the program small.p4 1: INVALID_ARGUMENT 'no such architecture'");
    assert_eq!(wire.take(), [], "it never came up");
}

#[test]
fn what_is_refused_of_a_batch_is_named_and_the_rest_is_applied() {
    let mut wire = Wire::primary(Small::new(1), running());
    wire.install(1, plan(&[(9, 3)], &[]));
    wire.installed(1);
    let bad = key(&host(HOST + 2, 4));
    wire.switch.refuse = Box::new(move |update| {
        (key(update.entity.as_ref().unwrap()) == bad).then(|| error(Code::InvalidArgument, "not today"))
    });
    let wanted = plan(&[(1, 3), (2, 4), (3, 5)], &[]);
    wire.install(2, wanted.clone());
    assert_eq!(
        wire.failed(2),
        "insert entry destination=0a000002/32 of table small.hosts: INVALID_ARGUMENT 'not today'"
    );
    let held = |wire: &Wire, last: u32| wire.switch.held.contains(&key(&host(HOST + last, 0)));
    assert!(held(&wire, 1) && !held(&wire, 2) && held(&wire, 3));
    assert!(held(&wire, 9), "nothing is taken away while what replaces it may be missing");

    // Repeating the plan does not hasten the next attempt. What was refused again keeps the rest no longer.
    let written = wire.switch.written().len();
    wire.install(2, wanted.clone());
    assert_eq!(wire.switch.written().len(), written);
    wire.wait(ms(600));
    assert!(wire.failed(2).contains("not today"));
    assert!(!held(&wire, 9), "a refusal that stays does not keep what is stale for ever");
    assert_eq!(wire.switch.written().len(), written + 2, "the refused entry and the deletion");

    wire.switch.refuse = Box::new(|_| None);
    wire.wait(ms(1_100));
    let counts = wire.installed(2);
    assert_eq!((counts.flows_added, counts.flows_deleted), (3, 1), "all attempts together");
    assert!(held(&wire, 2));
}

#[test]
fn what_is_still_used_is_not_taken_away_after_a_refusal() {
    let mut wire = Wire::primary(Small::new(1), running());
    wire.install(1, plan(&[], &[(5, &[(1, 1)]), (6, &[(2, 1)])]));
    wire.installed(1);
    // The deletion of an entry fails for good: its group and member stay, the other's go.
    let stuck = key(&hop(5));
    wire.switch.refuse = Box::new(move |update| {
        let hit = update.r#type() == Type::Delete && key(update.entity.as_ref().unwrap()) == stuck;
        hit.then(|| error(Code::Internal, "busy"))
    });
    wire.install(2, plan(&[], &[]));
    assert_eq!(wire.failed(2), "delete entry node=05 of table small.hops: INTERNAL 'busy'");
    wire.wait(ms(600));
    assert!(wire.failed(2).contains("busy"));
    assert!(wire.switch.held.group(WAYS, 5).is_some() && wire.switch.held.member(WAYS, 1).is_some());
    assert!(wire.switch.held.group(WAYS, 6).is_none() && wire.switch.held.member(WAYS, 2).is_none());
    wire.switch.refuse = Box::new(|_| None);
    wire.wait(ms(1_100));
    wire.installed(2);
    assert_eq!(wire.switch.held.made(), 0);
}

#[test]
fn a_full_table_gets_room_before_the_next_attempt() {
    let mut wire = Wire::primary(Small::new(1), running());
    wire.install(1, plan(&[(1, 3)], &[]));
    wire.installed(1);
    let stale = key(&host(HOST + 1, 3));
    let mut left = false;
    wire.switch.refuse = Box::new(move |update| {
        left |= update.r#type() == Type::Delete && key(update.entity.as_ref().unwrap()) == stale;
        (!left && update.r#type() == Type::Insert).then(|| error(Code::ResourceExhausted, "full"))
    });
    wire.install(2, plan(&[(2, 3)], &[]));
    assert!(wire.failed(2).ends_with("RESOURCE_EXHAUSTED 'full'"));
    wire.wait(ms(600));
    assert_eq!(wire.installed(2).flows_added, 1);
}

#[test]
fn a_switch_that_does_not_say_which_update_failed_gets_smaller_batches() {
    let mut wire = Wire::primary(Small::new(1), MemorySwitch { details: false, ..running() });
    let bad = key(&host(HOST + 7, 4));
    wire.switch.refuse = Box::new(move |update| {
        (key(update.entity.as_ref().unwrap()) == bad).then(|| error(Code::InvalidArgument, "not this one"))
    });
    let hosts: Vec<(u8, u32)> = (0..40).map(|host| (host, 4)).collect();
    wire.install(1, plan(&hosts, &[]));
    assert_eq!(
        wire.failed(1),
        "a batch of 40 updates, the first to insert entry destination=0a000000/32 of table small.hosts: UNKNOWN"
    );
    wire.wait(ms(10_000));
    let failed = wire.take().into_iter().rev().find_map(|event| match event {
        Event::InstallFailed { error, .. } => Some(error),
        _ => None,
    });
    assert_eq!(failed.unwrap(), "insert entry destination=0a000007/32 of table small.hosts: UNKNOWN");
    assert_eq!(wire.switch.held.entries(HOSTS).count(), 39, "all the others are there");
}

#[test]
fn an_oversized_group_is_named_and_costs_no_other() {
    let mut wire = Wire::primary(Small::new(1), running());
    wire.install(1, plan(&[(1, 3)], &[(5, &[(1, 6), (2, 6)]), (6, &[(1, 4), (2, 4)])]));
    let failed = wire.failed(1);
    let why = "insert group 5 of small.ways: RESOURCE_EXHAUSTED 'Sum of member weights exceeds maximum group size'";
    assert!(failed.starts_with(why), "{failed}");
    assert!(failed.contains("insert entry node=05 of table small.hops: NOT_FOUND"), "{failed}");
    assert!(wire.switch.held.group(WAYS, 6).is_some());
    assert_eq!(wire.switch.held.entries(HOSTS).count(), 1);
}

#[test]
fn what_a_program_cannot_do_is_told_and_the_rest_is_installed() {
    let mut wire = Wire::primary(Small::new(1), running());
    wire.install(3, plan(&[(1, 3), (2, 600)], &[]));
    let events = wire.take();
    let [Event::Installed { generation: 3, .. }, Event::InstallFailed { generation: 3, error, .. }] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(error, "host 10.0.0.2: port 600 has more than 9 bits; left out");
}

#[test]
fn a_demotion_stops_writes_at_once_and_a_promotion_sends_the_difference_alone() {
    let mut wire = Wire::dial(Small::new(1), running(), small_batches(2));
    wire.elect(ELECTION);
    wire.take();
    wire.silent = Some("write");
    let hosts: Vec<(u8, u32)> = (0..6).map(|host| (host, 4)).collect();
    wire.install(1, plan(&hosts, &[]));
    assert_eq!(wire.kept.len(), 1, "one batch in flight");

    // Another becomes primary while the batch is on its way; the switch has carried it out.
    let (id, batch) = wire.kept.pop().unwrap();
    let answer = wire.switch.call(batch);
    wire.elect(ELECTION + 1);
    assert_eq!(wire.session.standing(), Standing::Backup { highest: Some(ELECTION + 1), others: true });
    assert_eq!(wire.roles.pop(), Some((SessionRole::Slave, "election id 11 is primary".to_owned())));
    wire.session.answered(id, answer, wire.now);
    wire.wait(ms(3_000));
    assert_eq!((wire.kept.len(), wire.switch.writes.len()), (0, 1), "the rest was dropped");
    wire.session.command(Command::PacketOut { datapath: DATAPATH, port: PortNo(1), data: vec![1] }, wire.now);
    wire.install(2, plan(&hosts[..5], &[]));
    assert!(wire.kept.is_empty() && !wire.sent.iter().any(|message| matches!(message, Out::Packet(_))));

    // The other one writes some of the same, and leaves.
    for last in 2..4 {
        wire.switch.held.insert(host(HOST + last, 4));
    }
    wire.silent = None;
    wire.take();
    wire.elect(ELECTION);
    let counts = wire.installed(2);
    let promoted = (SessionRole::Master, "this controller's election id is the highest".to_owned());
    assert_eq!(wire.roles, [promoted], "the first election of a session is no change");
    assert_eq!((counts.flows_added, counts.unchanged), (1, 4), "what is there is not written again");
    let mut inserted: Vec<_> =
        wire.switch.written().iter().map(|update| key(update.entity.as_ref().unwrap())).collect();
    let all = inserted.len();
    inserted.sort();
    inserted.dedup();
    assert_eq!(inserted.len(), all, "nothing is written twice");
    assert_eq!(wire.switch.held.entries(HOSTS).count(), 5);
}

#[test]
fn a_batch_that_outlives_a_demotion_is_waited_for_before_the_switch_is_read() {
    let mut wire = Wire::primary(Small::new(1), running());
    wire.silent = Some("write");
    wire.install(1, plan(&[(1, 3)], &[]));
    wire.silent = None;
    wire.elect(ELECTION + 1);
    let reads = wire.switch.reads.len();
    wire.elect(ELECTION);
    assert_eq!(wire.switch.reads.len(), reads, "what it did is not known yet");
    wire.answer_kept();
    assert_eq!(wire.installed(1).unchanged, 1);
    assert_eq!(wire.switch.writes.len(), 2, "the entry, and the default action");
}

#[test]
fn a_refused_write_makes_a_backup_and_silence_about_it_ends_the_session() {
    let mut wire = Wire::primary(Small::new(1), running());
    wire.switch.primary = Some(77);
    wire.install(1, plan(&[(1, 3)], &[]));
    assert!(matches!(wire.session.standing(), Standing::Backup { .. }));
    assert_eq!(wire.take(), [], "that somebody else writes is no failure of the plan");
    wire.wait(ms(4_000));
    assert_eq!(wire.session.closed(), None);
    wire.wait(ms(1_100));
    assert_eq!(wire.session.closed(), Some(&P4CloseReason::Denied));
    assert!(matches!(wire.take().pop(), Some(Event::SwitchDown { .. })));
}

#[test]
fn a_backup_reads_and_never_writes() {
    let mut switch = running();
    switch.held.insert(host(HOST + 1, 3));
    switch.counters = vec![counted(1, 41), counted(2, 42)];
    let mut wire = Wire::dial(Small::sweeping(2), switch, P4SessionSettings::default());
    wire.elect(99);
    let events = wire.take();
    assert!(matches!(&events[..], [Event::SwitchUp { .. }, Event::Found { entries: 1, .. }]), "{events:?}");
    wire.install(1, plan(&[(2, 3)], &[]));
    wire.collect();
    let events = wire.take();
    let [Event::Reading { reading, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(
        (reading.ports.len(), reading.connections),
        (2, None),
        "a sweep is a packet, which a backup may not send"
    );
    assert_eq!((wire.switch.writes.len(), wire.switch.pushes.len(), wire.sent.len()), (0, 0, 1));
}

/// An earlier controller's reconciliation was refused, and it left before it committed: the switch shows the new cookie, takes
/// entries, and forwards by the old program.
#[test]
fn a_switch_that_was_left_half_way_is_brought_to_run_the_program() {
    let half = |saved: &Small, held: &Small| MemorySwitch {
        halfway: MemorySwitch::running(saved.forwarding_config()).config,
        ..MemorySwitch::running(held.forwarding_config())
    };
    let (ours, other) = (Small::new(1), Small::other(2));
    let mut wire = Wire::primary(ours.clone(), half(&ours, &other));
    assert_eq!(wire.switch.pushes, [Action::Commit], "what it had saved is ours");
    let runs = |wire: &Wire| wire.switch.config.as_ref().and_then(|config| config.cookie).map(|cookie| cookie.cookie);
    assert_eq!((runs(&wire), wire.switch.empty_commits), (Some(1), 0));
    wire.install(1, plan(&[(1, 3)], &[]));
    assert_eq!(wire.installed(1).flows_added, 1);

    // What it had saved is another's, though ours is what it said.
    let mut wire = Wire::dial(ours.clone(), half(&ours, &ours), P4SessionSettings::default());
    wire.silent = Some("set-pipeline");
    wire.elect(ELECTION);
    wire.switch.halfway = MemorySwitch::running(other.forwarding_config()).config;
    wire.silent = None;
    wire.answer_kept();
    assert_eq!((runs(&wire), &wire.switch.pushes[..2]), (Some(1), &[Action::Commit, Action::ReconcileAndCommit][..]));

    // Nothing is half-way: one question, and no more of it in this session; a backup asks nothing.
    let mut wire = Wire::primary(ours.clone(), running());
    wire.wait(ms(20_000));
    assert_eq!((wire.switch.pushes.len(), wire.switch.empty_commits), (0, 1));
    let mut wire = Wire::dial(ours.clone(), half(&ours, &other), P4SessionSettings::default());
    wire.elect(99);
    assert_eq!((wire.switch.pushes.len(), wire.switch.empty_commits), (0, 0));
    // Until it is primary.
    wire.elect(ELECTION);
    assert_eq!((runs(&wire), &wire.switch.pushes[..]), (Some(1), &[Action::Commit][..]));
}

#[test]
fn a_program_without_a_name_is_told_of_in_words() {
    for (pipeline, expected) in [
        (Small::new(1), "the switch does not run the program small.p4 1: "),
        (Small::unnamed(1), "the switch does not run its program: "),
    ] {
        let mut wire = Wire::dial(pipeline, MemorySwitch::default(), P4SessionSettings::default());
        wire.silent = Some("set-pipeline");
        wire.elect(ELECTION);
        wire.wait(ms(61_000));
        let told = wire.session.closed().map(ToString::to_string).unwrap_or_default();
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn a_backup_waits_for_the_primary_to_push_its_program() {
    let mut wire = Wire::dial(Small::new(1), MemorySwitch::default(), P4SessionSettings::default());
    wire.elect(99);
    assert!(matches!(&wire.take()[..], [Event::SwitchUp { .. }]));
    wire.collect();
    assert!(matches!(&wire.take()[..], [Event::Reading { .. }]));
    wire.wait(ms(4_100));
    assert_eq!(wire.switch.pushes.len(), 0);
    wire.switch.config = running().config;
    wire.wait(ms(2_100));
    assert!(wire.take().iter().any(|event| matches!(event, Event::Found { .. })));
    // What comes later does not find the session asleep.
    wire.switch.config = None;
    wire.elect(ELECTION);
    assert_eq!(wire.switch.pushes, [Action::VerifyAndCommit]);
}

#[test]
fn a_session_that_breaks_off_within_a_batch_is_gone_on_with() {
    let hosts: Vec<(u8, u32)> = (0..6).map(|host| (host, 4)).collect();
    let mut first = Wire::dial(Small::new(1), running(), small_batches(2));
    first.elect(ELECTION);
    first.take();
    first.silent = Some("write");
    first.install(1, plan(&hosts, &[]));
    let (_, batch) = first.kept.pop().unwrap();
    first.switch.call(batch).unwrap();
    let broken = foreshadow::southbound::p4runtime::CallError::new(Code::Unavailable, "connection reset");
    first.session.stream_ended(&broken);
    first.run();
    let down = first.take();
    assert!(matches!(&down[..], [Event::SwitchDown { reason, .. }] if reason.contains("connection reset")), "{down:?}");

    let mut second = Wire::primary(Small::new(1), first.switch);
    second.install(1, plan(&hosts, &[]));
    let counts = second.installed(1);
    assert_eq!((counts.flows_added, counts.unchanged), (4, 2));
}

#[test]
fn a_batch_without_an_answer_is_given_up_and_read_back() {
    let mut wire = Wire::primary(Small::new(1), running());
    wire.silent = Some("write");
    wire.install(1, plan(&[(1, 3)], &[]));
    wire.wait(ms(10_000));
    let (late, batch) = wire.kept.pop().unwrap();
    wire.silent = None;
    let failed = wire.take().into_iter().find_map(|event| match event {
        Event::InstallFailed { error, .. } => Some(error),
        _ => None,
    });
    assert!(failed.unwrap().contains("DEADLINE_EXCEEDED 'no answer within 10s'"));
    let answer = wire.switch.call(batch);
    wire.session.answered(late, answer, wire.now);
    assert_eq!(wire.session.counters().late_answers, 1);
    wire.wait(ms(600));
    let counts = wire.installed(1);
    assert_eq!((counts.flows_added, counts.unchanged), (0, 1), "it had been carried out all the same");
}

#[test]
fn the_newest_plan_takes_over_between_two_batches() {
    let mut wire = Wire::dial(Small::new(1), running(), small_batches(2));
    wire.elect(ELECTION);
    wire.take();
    wire.silent = Some("write");
    wire.install(1, plan(&[(1, 3), (2, 3), (3, 3), (4, 3)], &[]));
    wire.install(2, plan(&[(1, 3), (9, 3)], &[]));
    assert_eq!(wire.kept.len(), 1);
    wire.silent = None;
    wire.answer_kept();
    wire.installed(2);
    let left: Vec<_> = wire.switch.held.entries(HOSTS).map(|entry| entry.r#match.len()).collect();
    assert_eq!(left.len(), 2);
    assert!(
        !wire.switch.written().iter().any(|update| key(update.entity.as_ref().unwrap()) == key(&host(HOST + 4, 3)))
    );
}

#[test]
fn what_is_stale_goes_and_what_is_not_ours_stays() {
    let mut switch = running();
    switch.held.insert(host(HOST + 1, 3));
    switch.held.insert(member(8));
    let foreign = |table_id| {
        let entry = v1::TableEntry { table_id, priority: 3, ..Default::default() };
        v1::Entity { entity: Some(v1::entity::Entity::TableEntry(entry)) }
    };
    // A table that the mapping does not name, one that no P4Info names, and what is no state at all.
    switch.foreign = vec![foreign(OTHER), foreign(0x02ff_ffff), counted(1, 1), v1::Entity { entity: None }];
    let mut wire = Wire::dial(Small::new(1), switch, P4SessionSettings::default());
    wire.elect(ELECTION);
    assert!(matches!(&wire.take()[..], [Event::SwitchUp { .. }, Event::Found { entries: 2, .. }]));
    wire.install(1, plan(&[], &[]));
    let counts = wire.installed(1);
    assert_eq!((counts.flows_deleted, counts.groups_deleted), (1, 1));
    let deleted = wire.switch.written().iter().filter(|update| update.r#type() == Type::Delete).count();
    assert_eq!(deleted, 2);
}

#[test]
fn a_group_is_never_empty_between_two_memberships() {
    let mut wire = Wire::primary(Small::new(1), running());
    wire.install(1, plan(&[], &[(5, &[(1, 8)])]));
    wire.install(2, plan(&[], &[(5, &[(2, 4), (3, 4)])]));
    wire.install(3, plan(&[], &[(5, &[(1, 1)])]));
    wire.install(4, plan(&[], &[(5, &[(2, 1)])]));
    assert!(matches!(wire.take().last(), Some(Event::Installed { generation: 4, .. })));
    assert_eq!(wire.switch.emptied, 0);
    let members = &wire.switch.held.group(WAYS, 5).unwrap().members;
    assert_eq!(members.iter().map(|member| (member.member_id, member.weight)).collect::<Vec<_>>(), [(2, 1)]);
    assert!(wire.switch.held.member(WAYS, 3).is_none(), "what no group has any more is gone");
}

#[test]
fn older_switches_are_told_ports_of_copies_by_number() {
    for (version, numbered) in [("1.3.0", true), ("1.5.0", false), ("2.0.0", false), ("next", true)] {
        let mut wire = Wire::primary(Small::new(1), MemorySwitch { version, ..running() });
        let mirrored = foreshadow::plan::DatapathPlan { mirror_ports: vec![PortNo(300)], ..plan(&[], &[]) };
        wire.install(1, mirrored.clone());
        wire.installed(1);
        let sent = format!("{:?}", wire.switch.written());
        assert_eq!(sent.contains("EgressPort(300)"), numbered, "{version}");
        // Either spelling is the same afterwards.
        let mut again = Wire::primary(Small::new(1), wire.switch);
        again.install(1, mirrored);
        assert_eq!(again.installed(1).unchanged, 2);
    }
    assert_eq!(CLONE, 5);
}

#[test]
fn a_reading_comes_for_every_collection() {
    let mut wire = Wire::primary(Small::new(1), running());
    wire.switch.counters = vec![counted(1, 41), counted(2, 42)];
    wire.collect();
    let nothing = Event::Reading { datapath: DATAPATH, reading: Reading::default() };
    assert_eq!(wire.take(), std::slice::from_ref(&nothing), "without a plan there is nothing to ask");
    wire.install(1, plan(&[], &[]));
    wire.take();
    wire.collect();
    let counters = |rx_packets| PortCounters { rx_packets, ..PortCounters::default() };
    let ports = [(PortNo(1), counters(41)), (PortNo(2), counters(42))].into_iter().collect();
    let whole = Event::Reading { datapath: DATAPATH, reading: Reading { ports, ..Reading::default() } };
    assert_eq!(wire.take(), std::slice::from_ref(&whole));

    // A switch that refuses the reads together is asked for them one by one, then and ever after.
    wire.switch.single_reads = true;
    let reads = wire.switch.reads.len();
    wire.collect();
    wire.collect();
    assert_eq!(wire.take(), [whole.clone(), whole]);
    assert_eq!(wire.switch.reads[reads..], [2, 1, 1, 1, 1]);

    // One that does not answer gives an empty reading in time; what was asked for meanwhile is one more.
    wire.silent = Some("read");
    wire.collect();
    wire.collect();
    wire.collect();
    wire.wait(ms(699));
    assert_eq!(wire.take(), []);
    wire.wait(ms(701));
    assert_eq!(wire.take(), [nothing.clone(), nothing]);
    for (id, _) in std::mem::take(&mut wire.kept) {
        let late = foreshadow::southbound::p4runtime::Answer::Entities(Vec::new());
        wire.session.answered(id, Ok(late), wire.now);
    }
    assert_eq!(wire.session.counters().late_answers, 2);
}

/// The sweep that was sent last, as its report.
fn report(wire: &Wire, live: u32) -> v1::StreamMessageResponse {
    let sweep = wire.sent.iter().rev().find_map(|sent| match sent {
        Out::Packet(packet) => Some(packet.payload.clone()),
        _ => None,
    });
    let sweep = sweep.expect("a sweep");
    let word = |at: usize| u32::from_be_bytes(sweep[at..at + 4].try_into().unwrap());
    let report = SweepReport {
        kind: SweepKind::Connections,
        owner: 7,
        token: word(4),
        end: word(12),
        live,
        closing: 0,
        half_open: 0,
        freed: 0,
        freed_ms: 0,
        occupied: live,
        ..SweepReport::default()
    };
    message(In::Packet(packet_in(1, true, report.encode())))
}

#[test]
fn sweeps_go_one_at_a_time_and_a_lost_one_does_not_stop_the_rest() {
    let mut wire = Wire::primary(Small::sweeping(3), running());
    wire.install(1, plan(&[], &[]));
    wire.take();
    let sweeps = |wire: &Wire| wire.sent.iter().filter(|sent| matches!(sent, Out::Packet(_))).count();
    wire.collect();
    assert_eq!(sweeps(&wire), 1);
    let first = report(&wire, 10);
    wire.tell(first.clone());
    assert_eq!(sweeps(&wire), 2, "the next follows the report");
    wire.tell(first);
    assert_eq!((sweeps(&wire), wire.take().len()), (2, 0), "a report counts once");
    // The second is lost.
    let lost = report(&wire, 1_000);
    wire.wait(ms(300));
    assert_eq!(sweeps(&wire), 3);
    wire.tell(lost);
    let last = report(&wire, 5);
    wire.tell(last);
    let events = wire.take();
    let [Event::Reading { reading, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(reading.connections.map(|connections| connections.occupied), Some(15));

    // A switch that loses them all still gives a reading in time, and a demotion ends them.
    wire.collect();
    wire.wait(ms(700));
    assert!(matches!(&wire.take()[..], [Event::Reading { reading, .. }] if reading.connections.is_none()));
    wire.collect();
    let before = sweeps(&wire);
    wire.elect(99);
    assert!(matches!(&wire.take()[..], [Event::Reading { .. }]));
    assert_eq!(sweeps(&wire), before);
}

#[test]
fn packets_go_both_ways_and_malformed_ones_are_counted() {
    let mut wire = Wire::primary(Small::new(1), running());
    wire.tell(message(In::Packet(packet_in(3, false, vec![1, 2]))));
    let frame = Event::PacketIn { datapath: DATAPATH, in_port: PortNo(3), data: vec![1, 2] };
    assert_eq!(wire.take(), [frame]);
    let bad = [
        v1::PacketIn { payload: vec![1], metadata: Vec::new() },
        packet_in(512, false, vec![1]),
        packet_in(1, true, vec![1]),
    ];
    for packet in bad {
        wire.tell(message(In::Packet(packet)));
    }
    let mut foreign = arbitration(Code::AlreadyExists, 99);
    let Some(In::Arbitration(update)) = &mut foreign.update else { panic!() };
    update.device_id = 5;
    wire.tell(foreign);
    wire.tell(v1::StreamMessageResponse { update: None });
    assert_eq!((wire.take(), wire.session.counters().malformed), (Vec::new(), 4));
    assert_eq!(wire.session.standing(), Standing::Primary);

    wire.session.command(Command::PacketOut { datapath: DATAPATH, port: PortNo(2), data: vec![7] }, wire.now);
    wire.run();
    let Some(Out::Packet(packet)) = wire.sent.last() else { panic!("{:?}", wire.sent) };
    assert_eq!((&packet.payload[..], &packet.metadata[0].value[..]), (&[7][..], &[2][..]));
}

#[test]
fn digests_are_acknowledged_and_notifications_counted() {
    let mut wire = Wire::primary(Small::new(1), running());
    let data = vec![v1::P4Data::default(); 3];
    wire.tell(message(In::Digest(v1::DigestList { digest_id: 8, list_id: 21, data, timestamp: 1 })));
    let ack = v1::DigestListAck { digest_id: 8, list_id: 21 };
    assert_eq!(wire.sent.last(), Some(&Out::DigestAck(ack)));
    let table_entry = vec![v1::TableEntry::default(); 2];
    wire.tell(message(In::IdleTimeoutNotification(v1::IdleTimeoutNotification { table_entry, timestamp: 2 })));
    wire.tell(message(In::Error(v1::StreamError::default())));
    let kinds = wire.session.counters().kinds_in();
    let count = |kind: &str| kinds.get(kind).copied();
    assert_eq!((count("digest"), count("digest-entry")), (Some(1), Some(3)));
    assert_eq!((count("idle-timeout"), count("idle-timeout-entry")), (Some(1), Some(2)));
    assert_eq!((count("stream-error"), wire.session.counters().errors_in), (Some(1), 1));
}

#[test]
fn a_session_tells_how_it_stands_and_ends_when_the_switch_is_silent() {
    let mut wire = Wire::primary(Small::new(1), running());
    wire.wait(ms(5_100));
    let events = wire.take();
    let [Event::RoundTrip { .. }, Event::SessionStatus { status, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(status.role, SessionRole::Master);
    assert_eq!(status.messages_in.get("arbitration"), Some(&1));
    assert!(status.messages_out.contains_key("capabilities") && status.bytes_out > 0);
    wire.elect(99);
    wire.silent = Some("capabilities");
    // The next question comes five seconds after the first, which came somewhen from the middle of the interval on.
    wire.wait(ms(7_300));
    assert_eq!(wire.take(), []);
    wire.wait(ms(2_700));
    let down = wire.take();
    assert!(
        matches!(&down[..], [Event::SwitchDown { reason, .. }] if reason == "no answer to a capabilities request within 5s"),
        "{down:?}"
    );
    assert_eq!(wire.session.next_deadline(), None);
}

#[test]
fn a_switch_that_says_nothing_or_refuses_the_election_is_given_up() {
    let mut wire = Wire::dial(Small::new(1), running(), P4SessionSettings::default());
    wire.run();
    wire.wait(ms(5_000));
    assert_eq!(wire.session.closed(), Some(&P4CloseReason::NoArbitration(ms(5_000))));
    assert_eq!(wire.take(), []);

    let taken = foreshadow::southbound::p4runtime::CallError::new(Code::InvalidArgument, "Election id already exists");
    let mut wire = Wire::dial(Small::new(1), running(), P4SessionSettings::default());
    wire.session.stream_ended(&taken);
    let reason = wire.session.closed().unwrap().to_string();
    assert_eq!(
        reason,
        "election id 10 was refused: INVALID_ARGUMENT 'Election id already exists'; another may have it"
    );
    assert!(wire.now == T0);
}
