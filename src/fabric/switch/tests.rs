//! The interpreter, held to tables of packets and of refusals.

use super::{Effect, Switch, SwitchPort};
use crate::fabric::packet::{FiveTuple, Packet, lane, tcp};
use crate::types::{DatapathId, MacAddr, PortNo, Timestamp};
use crate::wire::openflow::*;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_000 + secs)
}

fn switch() -> Switch {
    Switch::new(DatapathId(1), (1..=4).map(|n| SwitchPort::new(PortNo(n), MacAddr([2, 0, 0, 0, 9, n as u8]), "p")))
}

fn tuple(source_port: u16) -> FiveTuple {
    FiveTuple {
        protocol: 6,
        source: [10, 0, 0, 1].into(),
        destination: [192, 0, 2, 9].into(),
        source_port,
        destination_port: 80,
    }
}

fn packet(source_port: u16, flags: u64) -> Packet {
    Packet::transport(&tuple(source_port), A, B, flags, 100)
}

fn add(table: u8, priority: u16, matching: Match, actions: Vec<Action>) -> FlowMod {
    FlowMod {
        cookie: 0,
        cookie_mask: 0,
        table_id: table,
        command: FlowModCommand::Add,
        idle_timeout: 0,
        hard_timeout: 0,
        priority,
        buffer_id: NO_BUFFER,
        out_port: port::ANY,
        out_group: group::ANY,
        flags: 0,
        matching,
        instructions: vec![Instruction::ApplyActions(actions)],
    }
}

fn install(switch: &mut Switch, flows: Vec<FlowMod>) {
    for flow in flows {
        switch.flow_mod(&flow, at(0), &mut Vec::new()).unwrap();
    }
}

fn out(number: u32) -> Action {
    Action::output(PortNo(number))
}

fn ipv4() -> Match {
    Match::any().with(Field::EthType, 0x0800u16)
}

fn tcp_match() -> Match {
    ipv4().with(Field::IpProto, 6u8)
}

/// Ports that a packet leaves by, in order.
fn ports(effects: &[Effect]) -> Vec<u32> {
    let port = |effect: &Effect| match effect {
        Effect::Transmit { port, .. } => Some(port.0),
        _ => None,
    };
    effects.iter().filter_map(port).collect()
}

fn send(switch: &mut Switch, in_port: u32, packet: Packet, now: Timestamp) -> Vec<Effect> {
    let mut effects = Vec::new();
    switch.receive(PortNo(in_port), packet, now, &mut effects);
    effects
}

fn aggregate(switch: &Switch, table_id: u8) -> AggregateStats {
    switch
        .aggregate(&FlowStatsRequest {
            table_id,
            out_port: port::ANY,
            out_group: group::ANY,
            cookie: 0,
            cookie_mask: 0,
            matching: Match::any(),
        })
        .unwrap()
}

#[test]
fn the_highest_priority_that_matches_wins() {
    let dst = u32::from(tuple(1).destination);
    let cases: Vec<(&str, Vec<FlowMod>, Vec<u32>)> = vec![
        ("a miss is dropped", vec![], vec![]),
        ("match all", vec![add(0, 0, Match::any(), vec![out(2)])], vec![2]),
        (
            "more specific, lower priority",
            vec![add(0, 5, Match::any(), vec![out(2)]), add(0, 4, tcp_match(), vec![out(3)])],
            vec![2],
        ),
        (
            "prefix below exact",
            vec![
                add(0, 7, ipv4().with_masked(Field::Ipv4Dst, dst & 0xffff_ff00, 0xffff_ff00u32), vec![out(2)]),
                add(0, 8, ipv4().with(Field::Ipv4Dst, dst), vec![out(3)]),
                add(0, 9, ipv4().with(Field::Ipv4Dst, dst + 1), vec![out(4)]),
            ],
            vec![3],
        ),
        (
            "flags under a mask",
            vec![add(0, 1, tcp_match().with_masked(Field::TcpFlags, 2u8, 0x12u8), vec![out(4)])],
            vec![4],
        ),
        (
            "same key, two priorities",
            vec![add(0, 1, tcp_match(), vec![out(2)]), add(0, 2, tcp_match(), vec![out(3)])],
            vec![3],
        ),
        ("never back to where it came from", vec![add(0, 0, Match::any(), vec![out(1), out(2)])], vec![2]),
        ("but by IN_PORT", vec![add(0, 0, Match::any(), vec![Action::output(port::IN_PORT)])], vec![1]),
        ("flood", vec![add(0, 0, Match::any(), vec![Action::output(port::FLOOD)])], vec![2, 3, 4]),
        ("port that is not there", vec![add(0, 0, Match::any(), vec![out(9), out(2)])], vec![2]),
    ];
    for (name, flows, expected) in cases {
        let mut switch = switch();
        install(&mut switch, flows);
        assert_eq!(ports(&send(&mut switch, 1, packet(1, tcp::SYN), at(1))), expected, "{name}");
    }
}

#[test]
fn registers_metadata_stack_and_tables() {
    let reg = Subfield::whole(Field::Reg(0));
    let mut switch = switch();
    let mut first = add(0, 0, Match::any(), vec![Action::RegLoad { target: reg, value: 0xabcd }]);
    first.instructions.push(Instruction::WriteMetadata { metadata: 0x55, mask: 0xff });
    first.instructions.push(Instruction::GotoTable(3));
    let swap = vec![
        Action::StackPush(Subfield::whole(Field::Ipv4Src)),
        Action::StackPush(Subfield::whole(Field::Ipv4Dst)),
        Action::StackPop(Subfield::whole(Field::Ipv4Src)),
        Action::StackPop(Subfield::whole(Field::Ipv4Dst)),
        Action::RegMove { source: Subfield::bits(Field::Reg(0), 8, 8), target: Subfield::bits(Field::Reg(1), 0, 8) },
        Action::DecNwTtl,
        Action::resubmit(7),
        Action::set_field(Field::EthSrc, MacAddr::GATEWAY.to_u64()),
        out(3),
    ];
    install(
        &mut switch,
        vec![
            first,
            add(3, 1, ipv4().with(Field::Metadata, 0x55u8).with_masked(Field::Reg(0), 0xabcdu32, 0xffffu32), swap),
            add(7, 1, Match::any().with(Field::Reg(1), 0xabu8), vec![out(2)]),
        ],
    );
    let effects = send(&mut switch, 1, packet(1, tcp::SYN), at(1));
    assert_eq!(ports(&effects), [2, 3]);
    let Effect::Transmit { packet, .. } = &effects[1] else { panic!("{effects:?}") };
    assert_eq!(packet.five_tuple().source, tuple(1).destination);
    assert_eq!((packet.lanes[lane::IP_TTL], packet.lanes[lane::ETH_SRC]), (63, MacAddr::GATEWAY.to_u64()));
    assert_eq!((packet.lanes[lane::METADATA], packet.lanes[lane::REG0]), (0, 0), "nothing of a switch leaves it");
}

#[test]
fn a_loop_of_resubmits_ends() {
    let mut switch = switch();
    install(&mut switch, vec![add(0, 0, Match::any(), vec![Action::resubmit(0), Action::resubmit(0), out(2)])]);
    assert!(ports(&send(&mut switch, 1, packet(1, 0), at(1))).is_empty());
    assert!(aggregate(&switch, 0).packet_count <= 4_096);
}

fn bucket(weight: u16, watch: u32, actions: Vec<Action>) -> Bucket {
    let watch_port = if watch == 0 { port::ANY } else { PortNo(watch) };
    Bucket { weight, watch_port, watch_group: group::ANY, actions }
}

fn add_group(switch: &mut Switch, group_id: u32, group_type: GroupType, buckets: Vec<Bucket>) {
    let request = GroupMod { command: GroupModCommand::Add, group_type, group_id, buckets };
    switch.group_mod(&request, at(0), &mut Vec::new()).unwrap();
}

/// Name, group, and the ports a packet leaves by: with all ports up, and with port 2 down.
type GroupCase = (&'static str, GroupType, Vec<Bucket>, Vec<u32>, Vec<u32>);

#[test]
fn groups_of_every_type() {
    let cases: Vec<GroupCase> = vec![
        ("all", GroupType::All, vec![bucket(0, 0, vec![out(2)]), bucket(0, 0, vec![out(3)])], vec![2, 3], vec![3]),
        ("indirect", GroupType::Indirect, vec![bucket(0, 0, vec![out(3)])], vec![3], vec![3]),
        (
            "failover",
            GroupType::FastFailover,
            vec![bucket(0, 2, vec![out(2)]), bucket(0, 3, vec![out(3)])],
            vec![2],
            vec![3],
        ),
        (
            "weight 0 is never chosen",
            GroupType::Select,
            vec![bucket(0, 0, vec![out(2)]), bucket(1, 0, vec![out(4)])],
            vec![4],
            vec![4],
        ),
        (
            "dead bucket is not chosen",
            GroupType::Select,
            vec![bucket(9, 2, vec![out(2)]), bucket(1, 4, vec![out(4)])],
            vec![2, 4],
            vec![4],
        ),
    ];
    for (name, group_type, buckets, expected, with_port_2_down) in cases {
        let mut switch = switch();
        add_group(&mut switch, 7, group_type, buckets);
        install(&mut switch, vec![add(0, 0, Match::any(), vec![Action::Group(7)])]);
        let seen = ports(&send(&mut switch, 1, packet(1, 0), at(1)));
        assert!(seen.iter().all(|port| expected.contains(port)) && !seen.is_empty(), "{name}: {seen:?}");
        switch.set_port(PortNo(2), false, &mut Vec::new());
        assert_eq!(ports(&send(&mut switch, 1, packet(1, 0), at(1))), with_port_2_down, "{name}, port 2 down");
    }
}

#[test]
fn weights_are_kept() {
    let mut switch = switch();
    add_group(&mut switch, 1, GroupType::Select, vec![bucket(65, 0, vec![out(2)]), bucket(35, 0, vec![out(3)])]);
    install(&mut switch, vec![add(0, 0, Match::any(), vec![Action::Group(1)])]);
    let mut first = 0;
    for source_port in 0..20_000u16 {
        first += u32::from(ports(&send(&mut switch, 1, packet(source_port, 0), at(1))) == [2]);
    }
    assert!((12_700..13_300).contains(&first), "{first} of 20000, 13000 expected");
    let stats = switch.group_stats(1, at(2));
    assert_eq!(stats[0].packet_count, 20_000);
    assert_eq!(stats[0].buckets[0].0, u64::from(first));
}

#[test]
fn a_bucket_is_an_action_set_on_a_copy() {
    let mut switch = switch();
    let buckets = vec![bucket(
        1,
        0,
        vec![Action::resubmit(20), Action::RegLoad { target: Subfield::whole(Field::Reg(0)), value: 5 }],
    )];
    add_group(&mut switch, 1, GroupType::Select, buckets);
    install(
        &mut switch,
        vec![
            add(0, 0, Match::any(), vec![Action::Group(1), Action::resubmit(21)]),
            add(20, 0, Match::any().with(Field::Reg(0), 5u8), vec![out(2)]),
            add(21, 1, Match::any().with(Field::Reg(0), 5u8), vec![out(3)]),
            add(21, 0, Match::any(), vec![out(4)]),
        ],
    );
    // The load runs before the resubmit whatever their order, and is gone behind the group.
    assert_eq!(ports(&send(&mut switch, 1, packet(1, 0), at(1))), [2, 4]);
}

/// The first-stage table of the design in small: a SYN is admitted while there is room.
fn guarded(limit: u32) -> Switch {
    let mut switch = switch();
    let specs = vec![
        LearnSpec::match_value(Field::EthType, 0x0800u16),
        LearnSpec::match_value(Field::IpProto, 6u8),
        LearnSpec::match_same(Field::Ipv4Src),
        LearnSpec::match_same(Field::TcpSrc),
        LearnSpec::load_value(Subfield::bits(Field::Reg(2), 0, 1), 1u8),
    ];
    let learn = LearnAction {
        idle_timeout: 60,
        hard_timeout: 0,
        priority: 10,
        cookie: 0x99,
        flags: learn_flags::SEND_FLOW_REM | learn_flags::WRITE_RESULT,
        table: 5,
        fin_idle_timeout: 2,
        fin_hard_timeout: 0,
        limit,
        result: Some(Subfield::bits(Field::Reg(1), 0, 1)),
        specs,
    };
    let known = |value: u8| Match::any().with_masked(Field::Reg(2), value, 1u8);
    install(
        &mut switch,
        vec![
            add(0, 0, Match::any(), vec![Action::resubmit(5), Action::resubmit(1)]),
            add(1, 9, known(1), vec![out(2)]),
            {
                let opening =
                    tcp_match().with_masked(Field::TcpFlags, 2u8, 0x12u8).with_masked(Field::Reg(2), 0u8, 1u8);
                add(1, 5, opening, vec![Action::Learn(Box::new(learn)), Action::resubmit(2)])
            },
            add(2, 1, Match::any().with_masked(Field::Reg(1), 1u8, 1u8), vec![out(2)]),
            add(2, 0, Match::any(), vec![]),
        ],
    );
    switch
}

#[test]
fn learn_admits_up_to_its_limit_and_frees_on_fin_and_idle() {
    let mut switch = guarded(5);
    let admitted = |switch: &mut Switch, range: std::ops::Range<u16>, now| {
        range.filter(|port| !ports(&send(switch, 1, packet(*port, tcp::SYN), now)).is_empty()).count()
    };
    assert_eq!(admitted(&mut switch, 0..8, at(1)), 5);
    assert_eq!(admitted(&mut switch, 0..5, at(2)), 5, "a SYN sent again finds its own entry");
    assert_eq!(aggregate(&switch, 5).flow_count, 5);
    assert!(ports(&send(&mut switch, 1, packet(0, tcp::FIN | tcp::ACK), at(3))) == [2]);
    assert_eq!(admitted(&mut switch, 10..12, at(4)), 0, "a closing entry keeps its slot");
    let mut effects = Vec::new();
    switch.advance(at(6), &mut effects);
    let [Effect::FlowRemoved(removed)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((removed.cookie, removed.reason, removed.idle_timeout), (0x99, removed_reason::IDLE_TIMEOUT, 2));
    assert_eq!((removed.duration_sec, removed.packet_count), (4, 2), "1 s to 3 s, and 2 s of waiting");
    assert_eq!(admitted(&mut switch, 10..12, at(7)), 1);
    // Four were last used at 2 s, one at 7 s.
    effects.clear();
    switch.advance(at(62), &mut effects);
    assert_eq!((effects.len(), aggregate(&switch, 5).flow_count), (4, 1));
}

#[test]
fn marks_pin_both_directions_and_outlive_idleness() {
    let mut switch = switch();
    let ct = |commit: bool, table: u8| CtAction {
        flags: u16::from(commit),
        zone: 7,
        recirc_table: table,
        alg: 0,
        exec: if commit {
            let (source, target) = (Subfield::whole(Field::Reg(0)), Subfield::whole(Field::CtMark));
            vec![Action::RegMove { source, target }]
        } else {
            vec![]
        },
    };
    let load = |value| Action::RegLoad { target: Subfield::whole(Field::Reg(0)), value };
    install(
        &mut switch,
        vec![
            add(0, 0, Match::any(), vec![Action::Ct(Box::new(ct(false, 1)))]),
            add(1, 2, Match::any().with(Field::CtMark, 3u8), vec![out(3)]),
            add(1, 1, Match::any().with(Field::CtMark, 4u8), vec![out(4)]),
            add(1, 0, Match::any().with_masked(Field::CtState, 0x21u8, 0x21u8), vec![load(3), Action::resubmit(20)]),
            add(20, 0, Match::any(), vec![Action::Ct(Box::new(ct(true, 0xff))), out(2)]),
        ],
    );
    let forward = |flags| packet(1, flags);
    let backward = |flags| Packet::transport(&tuple(1).reversed(), B, A, flags, 100);
    assert_eq!(ports(&send(&mut switch, 1, forward(tcp::SYN), at(1))), [2], "new: chosen and committed");
    assert_eq!(ports(&send(&mut switch, 2, backward(tcp::SYN | tcp::ACK), at(1))), [3]);
    assert_eq!(ports(&send(&mut switch, 1, forward(tcp::ACK), at(1))), [3]);
    assert_eq!(ports(&send(&mut switch, 1, forward(tcp::ACK), at(3_600))), [3], "established pins last a day");
    assert_eq!(ports(&send(&mut switch, 1, packet(2, tcp::SYN), at(3_601))), [2]);
    assert_eq!(ports(&send(&mut switch, 1, packet(2, tcp::ACK), at(3_640))), [2], "half-open pins do not");
    assert_eq!(switch.tracked(), 2);
}

#[test]
fn multipath_fills_every_slot_evenly() {
    let mut switch = switch();
    let multipath = MultipathAction {
        fields: hash_fields::SYMMETRIC_L3L4_UDP,
        basis: 50,
        algorithm: 0,
        max_link: 255,
        arg: 0,
        target: Subfield::bits(Field::Reg(3), 0, 8),
    };
    install(&mut switch, vec![add(0, 0, Match::any(), vec![Action::Multipath(multipath), Action::resubmit(1)])]);
    install(
        &mut switch,
        (0..256u32).map(|slot| add(1, 1, Match::any().with(Field::Reg(3), slot), vec![out(2)])).collect(),
    );
    for source_port in 0..25_600u16 {
        assert_eq!(ports(&send(&mut switch, 1, packet(source_port, 0), at(1))), [2]);
    }
    let request = FlowStatsRequest {
        table_id: 1,
        out_port: port::ANY,
        out_group: group::ANY,
        cookie: 0,
        cookie_mask: 0,
        matching: Match::any(),
    };
    let counts: Vec<_> = switch.flow_stats(&request, at(1)).unwrap().iter().map(|flow| flow.packet_count).collect();
    let chi_square: f64 = counts.iter().map(|count| (*count as f64 - 100.0).powi(2) / 100.0).sum();
    assert!(chi_square < 340.0, "chi square of 255 degrees of freedom is {chi_square}");
}

#[test]
fn refusals_carry_the_right_error() {
    let bad = |edit: fn(&mut FlowMod)| {
        let mut request = add(1, 1, Match::any(), vec![out(1)]);
        edit(&mut request);
        let mut switch = switch();
        install(&mut switch, vec![add(1, 1, tcp_match(), vec![])]);
        let refusal = switch.flow_mod(&request, at(0), &mut Vec::new()).expect_err("must be refused");
        assert_eq!(switch.flow_count(), 1, "a refused flow is not installed");
        (refusal.error_type, refusal.code)
    };
    assert_eq!(bad(|r| r.table_id = 0xff), (5, 2));
    assert_eq!(bad(|r| r.matching = Match::any().with(Field::Ipv4Dst, 1u32)), (4, 9));
    assert_eq!(bad(|r| r.matching = Match::any().with(Field::Ipv6Dst, 1u32)), (4, 6));
    assert_eq!(bad(|r| r.matching = Match::any().with(Field::InPort, 1u32).with(Field::InPort, 1u32)), (4, 10));
    assert_eq!(bad(|r| r.matching = Match::any().with_masked(Field::Reg(0), 3u32, 1u32)), (4, 8));
    assert_eq!(bad(|r| r.instructions = vec![Instruction::GotoTable(1)]), (3, 2));
    assert_eq!(bad(|r| r.instructions = vec![Instruction::Meter(1)]), (3, 1));
    assert_eq!(bad(|r| r.instructions = vec![Instruction::ApplyActions(vec![Action::Group(9)])]), (2, 9));
    assert_eq!(bad(|r| r.instructions = vec![Instruction::ApplyActions(vec![out(0)])]), (2, 4));
    assert_eq!(bad(|r| r.instructions = vec![Instruction::ApplyActions(vec![Action::Other(vec![0; 8])])]), (2, 0));
    assert_eq!(
        bad(|r| r.instructions = vec![Instruction::ApplyActions(vec![Action::set_field(Field::EthType, 1u8)])]),
        (2, 13)
    );
    let reads = |r: &mut FlowMod| {
        let protocol = LearnAction {
            idle_timeout: 60,
            hard_timeout: 0,
            priority: 10,
            cookie: 0,
            flags: 0,
            table: 5,
            fin_idle_timeout: 0,
            fin_hard_timeout: 0,
            limit: 0,
            result: None,
            specs: vec![LearnSpec::match_value(Field::EthType, 0x800_u16), LearnSpec::match_same(Field::IpProto)],
        };
        r.instructions = vec![Instruction::ApplyActions(vec![Action::Learn(Box::new(protocol))])];
    };
    assert_eq!(bad(reads), (2, 10), "the entry would have its prerequisite, this flow has not");
    assert_eq!(
        bad(|r| {
            let (source, target) = (Subfield::whole(Field::TcpSrc), Subfield::bits(Field::Reg(0), 0, 16));
            r.instructions = vec![Instruction::ApplyActions(vec![Action::RegMove { source, target }])];
        }),
        (2, 10)
    );
    assert_eq!(
        bad(|r| {
            r.flags = flow_flags::CHECK_OVERLAP;
            r.matching = ipv4();
        }),
        (5, 3)
    );
}

#[test]
fn group_refusals_carry_the_right_error() {
    let refused = |command, group_type, group_id, buckets: Vec<Bucket>| {
        let mut switch = switch();
        add_group(&mut switch, 1, GroupType::All, vec![]);
        let request = GroupMod { command, group_type, group_id, buckets };
        let refusal = switch.group_mod(&request, at(0), &mut Vec::new()).expect_err("must be refused");
        (refusal.error_type, refusal.code)
    };
    use GroupModCommand::{Add, Modify};
    assert_eq!(refused(Add, GroupType::All, 1, vec![]), (6, 0));
    assert_eq!(refused(Add, GroupType::All, 0xffff_ff01, vec![]), (6, 1));
    assert_eq!(refused(Modify, GroupType::All, 2, vec![]), (6, 8));
    assert_eq!(refused(Add, GroupType::Indirect, 2, vec![]), (6, 1));
    assert_eq!(refused(Add, GroupType::FastFailover, 2, vec![bucket(0, 0, vec![out(1)])]), (6, 13));
    assert_eq!(refused(Add, GroupType::Select, 2, vec![bucket(1, 0, vec![Action::Group(2)])]), (6, 7));
    assert_eq!(refused(Add, GroupType::Select, 2, vec![bucket(1, 0, vec![out(0)])]), (2, 4));
}

#[test]
fn deletes_and_modifications_take_what_they_name() {
    let dst = |value: u32| ipv4().with(Field::Ipv4Dst, value);
    let fresh = || {
        let mut switch = switch();
        let mut flows = vec![
            add(0, 1, dst(1), vec![out(1)]),
            add(0, 2, dst(2), vec![out(2)]),
            add(1, 1, dst(1), vec![out(2)]),
            add(1, 1, Match::any(), vec![]),
        ];
        for (cookie, flow) in flows.iter_mut().enumerate() {
            flow.cookie = cookie as u64;
            flow.flags = flow_flags::SEND_FLOW_REM;
        }
        install(&mut switch, flows);
        switch
    };
    type Edit = fn(&mut FlowMod);
    let cases: Vec<(&str, Edit, usize)> = vec![
        ("everything", |r| r.table_id = TABLE_ALL, 4),
        ("one table", |_| (), 2),
        (
            "covered by a match",
            |r| (r.table_id, r.matching) = (TABLE_ALL, Match::any().with(Field::EthType, 0x0800u16)),
            3,
        ),
        ("by output", |r| (r.table_id, r.out_port) = (TABLE_ALL, PortNo(2)), 2),
        ("by cookie", |r| (r.table_id, r.cookie, r.cookie_mask) = (TABLE_ALL, 2, 3), 1),
        ("strict", |r| r.command = FlowModCommand::DeleteStrict, 0),
    ];
    for (name, edit, expected) in cases {
        let mut switch = fresh();
        let mut request = add(0, 1, Match::any(), vec![]);
        request.command = FlowModCommand::Delete;
        edit(&mut request);
        let mut effects = Vec::new();
        switch.flow_mod(&request, at(5), &mut effects).unwrap();
        assert_eq!((effects.len(), 4 - switch.flow_count()), (expected, expected), "{name}");
    }
    let mut switch = fresh();
    let mut request = add(0, 1, Match::any(), vec![out(4)]);
    request.command = FlowModCommand::Modify;
    switch.flow_mod(&request, at(5), &mut Vec::new()).unwrap();
    let mut to_2 = packet(1, 0);
    to_2.lanes[lane::IP_DST] = 2;
    assert_eq!(ports(&send(&mut switch, 1, to_2, at(6))), [4]);
}

#[test]
fn a_deleted_group_takes_its_flows_along() {
    let mut switch = switch();
    add_group(&mut switch, 1, GroupType::All, vec![]);
    install(&mut switch, vec![add(0, 0, Match::any(), vec![Action::Group(1)]), add(0, 1, ipv4(), vec![out(2)])]);
    let delete = GroupMod {
        command: GroupModCommand::Delete,
        group_type: GroupType::All,
        group_id: group::ALL,
        buckets: vec![],
    };
    switch.group_mod(&delete, at(1), &mut Vec::new()).unwrap();
    assert_eq!((switch.flow_count(), switch.group_descriptions().len()), (1, 0));
}

#[test]
fn packets_to_and_from_the_controller() {
    let mut switch = switch();
    install(&mut switch, vec![add(0, 0, Match::any(), vec![Action::controller()])]);
    let effects = send(&mut switch, 3, packet(1, tcp::SYN), at(1));
    let [Effect::PacketIn(packet_in)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((packet_in.reason, packet_in.table_id, packet_in.total_len), (0, 0, 100));
    assert_eq!(packet_in.matching.get(Field::InPort).unwrap().value, 3);
    let mut effects = Vec::new();
    let request = PacketOut {
        buffer_id: NO_BUFFER,
        in_port: port::CONTROLLER,
        actions: vec![out(2)],
        data: packet_in.data.clone(),
    };
    switch.packet_out(&request, at(1), &mut effects).unwrap();
    assert_eq!(ports(&effects), [2]);
    let refused = PacketOut { data: vec![0; 5], ..request };
    assert!(switch.packet_out(&refused, at(1), &mut Vec::new()).is_err());
}
