//! Rules of every form that the data path uses, for a switch to report back.

use std::net::Ipv4Addr;

use foreshadow::types::PortNo;
use foreshadow::wire::openflow::*;

pub(crate) fn ip() -> Match {
    Match::any().with(Field::EthType, 0x0800u16)
}

pub(crate) fn tcp() -> Match {
    ip().with(Field::IpProto, 6u8)
}

fn matches() -> Vec<Match> {
    let mac = 0x0246_5301_0003u64;
    let ipv6 = || Match::any().with(Field::EthType, 0x86ddu16);
    let arp = || Match::any().with(Field::EthType, 0x0806u16);
    let neighbour = || ipv6().with(Field::IpProto, 58u8).with(Field::Icmpv6Type, 135u8).with(Field::Icmpv6Code, 0u8);
    vec![
        Match::any(),
        Match::any().with(Field::InPort, 7u32),
        Match::any().with(Field::InPort, port::LOCAL.0),
        Match::any().with(Field::EthDst, mac).with(Field::EthSrc, mac + 1),
        Match::any().with_masked(Field::EthDst, 0x0100_0000_0000u64, 0x0100_0000_0000u64),
        Match::any().with_masked(Field::Metadata, 0x12u64, 0xffu64),
        Match::any().with(Field::Metadata, 0x12u64),
        Match::any().with(Field::VlanVid, 0x1005u16).with(Field::VlanPcp, 3u8),
        Match::any().with_masked(Field::VlanVid, 0x1000u16, 0x1000u16),
        Match::any().with(Field::VlanVid, 0u16),
        Match::any().with(Field::EthType, 0x88ccu16),
        ip().with(Field::IpDscp, 46u8).with(Field::IpEcn, 1u8).with(Field::IpTtl, 1u8),
        ip().with_masked(Field::Ipv4Dst, 0x0a01_0000u32, 0xffff_0000u32).with(Field::Ipv4Src, 0x0a01_0001u32),
        tcp().with(Field::TcpSrc, 80u16).with_masked(Field::TcpDst, 0x8000u16, 0x8000u16),
        tcp().with_masked(Field::TcpFlags, 0x002u16, 0x012u16),
        tcp().with(Field::TcpFlags, 0x002u16),
        ip().with(Field::IpProto, 17u8).with(Field::UdpSrc, 53u16).with(Field::UdpDst, 53u16),
        ip().with(Field::IpProto, 1u8).with(Field::Icmpv4Type, 8u8).with(Field::Icmpv4Code, 0u8),
        arp().with(Field::ArpOp, 1u16).with(Field::ArpSpa, 1u32).with(Field::ArpTpa, 2u32),
        arp().with(Field::ArpSha, mac).with(Field::ArpTha, mac),
        ipv6().with(Field::Ipv6Src, 0x2001_0db8u128 << 96).with_masked(
            Field::Ipv6Dst,
            0xff02u128 << 112,
            0xffffu128 << 112,
        ),
        neighbour().with(Field::Ipv6NdTarget, 5u128).with(Field::Ipv6NdSll, mac),
        ipv6()
            .with(Field::IpProto, 58u8)
            .with(Field::Icmpv6Type, 136u8)
            .with(Field::Icmpv6Code, 0u8)
            .with(Field::Ipv6NdTll, mac),
        ipv6().with(Field::IpProto, 6u8).with(Field::TcpSrc, 80u16),
        Match::any().with(Field::TunnelId, 9u64),
        Match::any().with(Field::Reg(0), 3u32).with(Field::Reg(1), 4u32).with_masked(Field::Reg(15), 1u32, 1u32),
        ip().with_masked(Field::CtState, 0x21u32, 0x21u32).with(Field::CtZone, 7u16).with(Field::CtMark, 3u32),
        ip().with_masked(Field::CtState, 0x22u32, 0x3fu32).with_masked(Field::CtMark, 3u32, 0xffu32),
        Match::any()
            .with(Field::EthType, 0x8847u16)
            .with(Field::MplsLabel, 16u32)
            .with(Field::MplsTc, 1u8)
            .with(Field::MplsBos, 1u8)
            .with(Field::MplsTtl, 3u8),
        ipv6().with_masked(Field::Ipv6Flabel, 5u32, 0xffu32),
        ip().with(Field::IpProto, 132u8).with(Field::SctpSrc, 80u16).with(Field::SctpDst, 81u16),
        ip().with_masked(Field::IpFrag, 1u8, 1u8),
        ip().with(Field::CtLabel, 5u128),
        ip().with_masked(Field::CtLabel, 5u128 << 64, 0xffu128 << 64),
        Match::any().with(Field::PktMark, 5u32).with(Field::ConjId, 9u32),
        Match::any().with(Field::TunIpv4Src, 1u32).with(Field::TunIpv4Dst, 2u32),
        Match::any().with(Field::TunIpv6Src, 1u128).with(Field::TunIpv6Dst, 2u128),
        Match::any().with(Field::TunGbpId, 1u16).with(Field::TunGbpFlags, 2u8),
        ip().with_masked(Field::CtState, 0x22u32, 0x22u32)
            .with(Field::CtNwProto, 6u8)
            .with(Field::CtNwSrc, 1u32)
            .with(Field::CtNwDst, 2u32)
            .with(Field::CtTpSrc, 80u16)
            .with(Field::CtTpDst, 81u16),
    ]
}

/// Entries of both directions: `reverse` swaps addresses and ports.
fn learn(reverse: bool, limited: bool) -> Action {
    let pick = |a, b| if reverse { LearnSpec::match_field(a, b) } else { LearnSpec::match_same(a) };
    Action::Learn(Box::new(LearnAction {
        idle_timeout: 30,
        hard_timeout: 300,
        priority: 100,
        cookie: 0x5f00_0000_0000_0007,
        flags: learn_flags::SEND_FLOW_REM | if limited { learn_flags::WRITE_RESULT } else { 0 },
        table: 10,
        fin_idle_timeout: 2,
        fin_hard_timeout: 5,
        limit: if limited { 50 } else { 0 },
        result: limited.then_some(Subfield::bits(Field::Reg(1), 0, 1)),
        specs: vec![
            LearnSpec::match_value(Field::EthType, 0x0800u16),
            LearnSpec::match_value(Field::IpProto, 6u8),
            pick(Field::Ipv4Src, Field::Ipv4Dst),
            pick(Field::Ipv4Dst, Field::Ipv4Src),
            pick(Field::TcpSrc, Field::TcpDst),
            pick(Field::TcpDst, Field::TcpSrc),
            LearnSpec::match_field(Field::Reg(3), Field::Reg(2)),
            LearnSpec::match_same(Field::Metadata),
            LearnSpec::match_same(Field::EthSrc),
            LearnSpec::load_value(Subfield::whole(Field::Reg(2)), 1u32),
            LearnSpec::load_value(Subfield::bits(Field::Reg(4), 0, 16), 9u16),
            LearnSpec::load_field(Subfield::whole(Field::EthDst), Subfield::whole(Field::EthSrc)),
            LearnSpec::load_field(Subfield::bits(Field::Reg(5), 16, 16), Subfield::bits(Field::InPort, 0, 16)),
            LearnSpec {
                source: LearnSource::Field { field: Field::Reg(0), offset: 0 },
                target: LearnTarget::Output,
                n_bits: 16,
            },
        ],
    }))
}

fn link_bundle(target: Option<Subfield>) -> Action {
    let links = vec![2, 3, 4, 5, 6];
    let bundle = LinkBundleAction { algorithm: 1, fields: 0, basis: 7, link_type: 2, links, target };
    Action::LinkBundle(Box::new(bundle))
}

pub(crate) fn action_lists() -> Vec<Vec<Action>> {
    let ct = |flags, recirc_table, exec| Action::Ct(Box::new(CtAction { flags, zone: 7, recirc_table, alg: 0, exec }));
    let load = |target, value| Action::RegLoad { target, value };
    let multipath = |fields| {
        Action::Multipath(MultipathAction {
            fields,
            basis: 50,
            algorithm: 0,
            max_link: 255,
            arg: 0,
            target: Subfield::bits(Field::Reg(0), 0, 16),
        })
    };
    vec![
        vec![],
        vec![Action::output(PortNo(3)), Action::output(port::IN_PORT)],
        vec![Action::Output { port: PortNo(4), max_len: 100 }],
        vec![Action::controller()],
        vec![Action::Output { port: port::CONTROLLER, max_len: 128 }],
        vec![Action::output(port::NORMAL)],
        vec![Action::output(port::FLOOD), Action::output(port::ALL), Action::output(port::LOCAL)],
        vec![Action::SetQueue(1), Action::output(PortNo(3))],
        vec![Action::PushVlan(0x8100), Action::set_field(Field::VlanVid, 0x1007u16), Action::output(PortNo(3))],
        vec![Action::SetNwTtl(64), Action::DecNwTtl, Action::output(PortNo(1))],
        vec![
            Action::set_field(Field::EthSrc, 0x0246_5301_0003u64),
            Action::set_field(Field::EthDst, 0x0246_5301_0004u64),
            Action::set_field(Field::Ipv4Src, 0x0a00_0001u32),
            Action::set_field(Field::Ipv4Dst, 0x0a00_0002u32),
            Action::set_field(Field::TcpSrc, 1000u16),
            Action::set_field(Field::TcpDst, 2000u16),
            Action::set_field(Field::IpDscp, 10u8),
            Action::set_field(Field::TunnelId, 10u8),
            Action::set_field(Field::Metadata, 11u8),
            Action::set_field(Field::Reg(0), 12u32),
            Action::set_field(Field::Reg(15), 13u32),
        ],
        vec![
            load(Subfield::whole(Field::Reg(0)), 5),
            load(Subfield::bits(Field::Reg(0), 0, 16), 6),
            load(Subfield::bits(Field::Reg(1), 31, 1), 1),
            load(Subfield::whole(Field::Metadata), 7),
            load(Subfield::whole(Field::EthDst), 0x0246_5301_0005),
            load(Subfield::bits(Field::EthDst, 0, 16), 5),
            load(Subfield::whole(Field::Ipv4Dst), 5),
            load(Subfield::whole(Field::InPort), 0),
            load(Subfield::whole(Field::IpTtl), 5),
        ],
        vec![
            Action::RegMove { source: Subfield::whole(Field::EthSrc), target: Subfield::whole(Field::EthDst) },
            Action::RegMove { source: Subfield::whole(Field::Ipv4Src), target: Subfield::whole(Field::Reg(6)) },
            Action::RegMove {
                source: Subfield::bits(Field::Reg(6), 0, 16),
                target: Subfield::bits(Field::TcpDst, 0, 16),
            },
            Action::RegMove {
                source: Subfield::bits(Field::CtMark, 0, 16),
                target: Subfield::bits(Field::Reg(0), 16, 16),
            },
        ],
        vec![Action::resubmit(20), Action::Resubmit { in_port: 3, table: 21 }],
        vec![Action::OutputReg { source: Subfield::bits(Field::Reg(0), 0, 16), max_len: 0xffff }],
        vec![Action::OutputReg { source: Subfield::whole(Field::Reg(0)), max_len: 64 }],
        vec![learn(false, false), Action::output(PortNo(2))],
        vec![learn(false, true), Action::resubmit(11)],
        vec![learn(true, false)],
        vec![ct(0, 1, vec![])],
        vec![ct(1, 0xff, vec![Action::set_field(Field::CtMark, 4u32)]), Action::output(PortNo(2))],
        vec![ct(
            3,
            4,
            vec![Action::RegMove { source: Subfield::whole(Field::Reg(0)), target: Subfield::whole(Field::CtMark) }],
        )],
        vec![ct(1, 0xff, vec![load(Subfield::bits(Field::CtMark, 0, 16), 3)])],
        vec![multipath(hash_fields::SYMMETRIC_L3L4_UDP), Action::resubmit(12)],
        vec![multipath(hash_fields::SYMMETRIC_L4), Action::resubmit(12)],
        vec![
            Action::StackPush(Subfield::whole(Field::Ipv4Src)),
            Action::StackPush(Subfield::bits(Field::Reg(0), 0, 16)),
            Action::StackPop(Subfield::bits(Field::Reg(1), 0, 16)),
            Action::StackPop(Subfield::whole(Field::Ipv4Dst)),
        ],
        vec![
            Action::StackPush(Subfield::whole(Field::TcpSrc)),
            Action::StackPop(Subfield::whole(Field::TcpDst)),
            Action::FinTimeout { fin_idle_timeout: 2, fin_hard_timeout: 5 },
        ],
        vec![Action::Group(1)],
        vec![Action::Note(vec![1, 2, 3, 4, 5, 6]), Action::DecTtlFor(vec![1, 2, 3, 4, 5]), Action::Exit],
        vec![Action::Controller { max_len: 64, controller_id: 5, reason: 1 }],
        vec![Action::OutputTrunc { port: 1, max_len: 100 }],
        vec![link_bundle(None), link_bundle(Some(Subfield::bits(Field::Reg(0), 0, 16)))],
        vec![Action::Sample(SampleAction {
            probability: 0x8000,
            collector_set_id: 1,
            observation_domain_id: 2,
            observation_point_id: 3,
        })],
        vec![Action::CtClear, Action::output(PortNo(1))],
        vec![ct(
            1,
            0xff,
            vec![Action::Nat(NatAction {
                flags: 1,
                ipv4_min: Some(Ipv4Addr::new(10, 0, 0, 1)),
                ipv4_max: Some(Ipv4Addr::new(10, 0, 0, 9)),
                port_min: Some(1024),
                port_max: Some(2048),
                ..NatAction::default()
            })],
        )],
        vec![ct(1, 0xff, vec![Action::set_field(Field::CtLabel, 5u128)])],
        vec![Action::Conjunction { clause: 1, n_clauses: 3, id: 9 }],
        vec![Action::RegLoad2(MatchField { field: Field::Reg(3), value: 5, mask: Some(0xff) })],
        vec![Action::OutputReg2 { source: Subfield::bits(Field::Reg(0), 0, 16), max_len: 64 }],
        vec![
            Action::set_field(Field::XReg(1), 5u64),
            Action::set_field(Field::XxReg(1), 6u128),
            Action::set_field(Field::PktMark, 7u32),
            Action::set_field(Field::TunIpv4Dst, 8u32),
        ],
        vec![
            Action::PushMpls(0x8847),
            Action::set_field(Field::MplsLabel, 16u32),
            Action::SetMplsTtl(3),
            Action::DecMplsTtl,
            Action::PopMpls(0x0800),
            Action::output(PortNo(1)),
        ],
    ]
}

/// Every match with a plain action, every action list under a match that allows it, then instructions.
pub(crate) fn flows() -> Vec<FlowMod> {
    let plain = || vec![Instruction::ApplyActions(vec![Action::output(PortNo(1))])];
    let mut flows = Vec::new();
    let mut add = |table_id, matching: Match, instructions| {
        let priority = 1000 + u16::try_from(flows.len()).expect("few");
        flows.push(FlowMod {
            cookie: 0x46_5300_0000_0000 | u64::from(priority),
            cookie_mask: 0,
            table_id,
            command: FlowModCommand::Add,
            idle_timeout: 0,
            hard_timeout: 0,
            priority,
            buffer_id: NO_BUFFER,
            out_port: port::ANY,
            out_group: group::ANY,
            flags: flow_flags::SEND_FLOW_REM,
            matching,
            instructions,
        });
    };
    for matching in matches() {
        add(0, matching, plain());
    }
    for actions in action_lists() {
        add(1, tcp(), vec![Instruction::ApplyActions(actions)]);
    }
    let swap = Action::RegMove { source: Subfield::whole(Field::ArpSpa), target: Subfield::whole(Field::ArpTpa) };
    add(1, Match::any().with(Field::EthType, 0x0806u16), vec![Instruction::ApplyActions(vec![swap])]);
    // A tag can only be taken from what has one.
    let tagged = Match::any().with_masked(Field::VlanVid, 0x1000u16, 0x1000u16);
    add(1, tagged, vec![Instruction::ApplyActions(vec![Action::PopVlan, Action::output(PortNo(3))])]);
    add(2, Match::any(), vec![Instruction::GotoTable(30)]);
    add(2, Match::any(), vec![]);
    add(2, Match::any(), vec![Instruction::ClearActions]);
    add(2, Match::any(), vec![Instruction::WriteActions(vec![Action::output(PortNo(1))])]);
    add(
        2,
        tcp(),
        vec![
            Instruction::GotoTable(3),
            Instruction::WriteMetadata { metadata: 0x1234, mask: 0xffff },
            Instruction::WriteActions(vec![Action::set_field(Field::EthDst, 5u64), Action::Group(2)]),
            Instruction::ApplyActions(vec![Action::resubmit(20)]),
        ],
    );
    add(
        2,
        tcp(),
        vec![
            Instruction::ClearActions,
            Instruction::ApplyActions(vec![]),
            Instruction::WriteMetadata { metadata: 1, mask: u64::MAX },
            Instruction::GotoTable(40),
        ],
    );
    flows
}

pub(crate) fn groups() -> Vec<GroupMod> {
    let bucket = |weight, watch_port, actions| Bucket { weight, watch_port, watch_group: group::ANY, actions };
    let group_mod =
        |group_type, group_id, buckets| GroupMod { command: GroupModCommand::Add, group_type, group_id, buckets };
    vec![
        group_mod(
            GroupType::Select,
            1,
            vec![
                bucket(
                    90,
                    port::ANY,
                    vec![
                        Action::RegLoad { target: Subfield::bits(Field::Reg(0), 0, 16), value: 3 },
                        Action::resubmit(20),
                    ],
                ),
                bucket(10, PortNo(2), vec![Action::set_field(Field::Reg(0), 4u32), Action::resubmit(20)]),
            ],
        ),
        group_mod(
            GroupType::FastFailover,
            2,
            vec![
                bucket(0, PortNo(1), vec![Action::output(PortNo(1))]),
                bucket(0, PortNo(2), vec![Action::set_field(Field::EthDst, 7u64), Action::output(PortNo(2))]),
            ],
        ),
        group_mod(
            GroupType::All,
            3,
            vec![bucket(0, port::ANY, vec![Action::output(PortNo(1))]), bucket(0, port::ANY, vec![Action::Group(1)])],
        ),
        group_mod(
            GroupType::Indirect,
            4,
            vec![bucket(0, port::ANY, vec![Action::DecNwTtl, Action::output(PortNo(3))])],
        ),
        group_mod(
            GroupType::Select,
            5,
            (0..256).map(|i| bucket(1, port::ANY, vec![Action::output(PortNo(i % 4 + 1))])).collect(),
        ),
        group_mod(GroupType::All, 6, vec![]),
    ]
}
