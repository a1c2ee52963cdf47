//! One frame of every kind, and rules of every form.

use foreshadow::types::{MacAddr, PortNo};
use foreshadow::wire::openflow::*;

use crate::ovs_rules;

fn session_messages() -> Vec<Message> {
    let refused = Frame::new(9, Message::RoleRequest(Role { role: 2, generation_id: 4 }));
    let data = refused.encode().expect("encodes");
    vec![
        Message::Hello(Hello { versions: Some(1 << VERSION | 1 << 1) }),
        Message::Hello(Hello { versions: None }),
        Message::Error(ErrorMessage { error_type: 11, code: 0, data }),
        Message::EchoRequest(b"alive?".to_vec()),
        Message::EchoReply(vec![]),
        Message::FeaturesRequest,
        Message::FeaturesReply(Features {
            datapath_id: 0x1122_3344_5566_7788,
            n_buffers: 0,
            n_tables: 254,
            auxiliary_id: 0,
            capabilities: 0x4f,
            reserved: 0,
        }),
        Message::GetConfigRequest,
        Message::GetConfigReply(SwitchConfig { flags: 0, miss_send_len: 128 }),
        Message::SetConfig(SwitchConfig { flags: 0, miss_send_len: 0xffff }),
        Message::PortStatus(PortStatus { reason: port_reason::MODIFY, port: port_description(3) }),
        Message::BarrierRequest,
        Message::BarrierReply,
        Message::RoleRequest(Role { role: 2, generation_id: 5 }),
        Message::RoleReply(Role { role: 3, generation_id: 6 }),
    ]
}

fn bands() -> Vec<MeterBand> {
    vec![
        MeterBand { rate: 1000, burst: 10, kind: MeterBandKind::Drop },
        MeterBand { rate: 500, burst: 5, kind: MeterBandKind::DscpRemark { prec_level: 2 } },
        MeterBand { rate: 9, burst: 8, kind: MeterBandKind::Experimenter { experimenter: 0x1234, data: vec![] } },
    ]
}

fn bundle_messages() -> Vec<Experimenter> {
    let control = |control| Experimenter::BundleControl(BundleControl::new(7, control, bundle_flags::ORDERED));
    let flow = ovs_rules::flows().swap_remove(0);
    // Both frames have the same transaction id; `frames` sets the outer one's.
    let add = BundleAdd {
        bundle_id: 7,
        flags: bundle_flags::ORDERED,
        message: Frame::new(0, Message::FlowMod(flow)),
        properties: vec![],
    };
    let mut messages: Vec<_> = (bundle_control::OPEN_REQUEST..=bundle_control::DISCARD_REPLY).map(control).collect();
    messages.push(Experimenter::BundleAdd(Box::new(add)));
    messages
}

/// Messages that change the switch otherwise than by flows and groups, and those that ask about it.
fn other_messages() -> Vec<Message> {
    let masks = AsyncConfig { packet_in: [7, 1], port_status: [6, 2], flow_removed: [5, 3] };
    let flags = meter_flags::KBPS | meter_flags::BURST;
    let mut messages = vec![
        Message::Error(ErrorMessage {
            error_type: error_type::EXPERIMENTER,
            code: 2305,
            data: [&[0x4f, 0x4e, 0x46, 0][..], &[9; 64]].concat(),
        }),
        Message::PortMod(PortMod {
            port_no: PortNo(3),
            hw_addr: MacAddr([2, 0, 0, 0, 0, 3]),
            config: port_bits::CONFIG_PORT_DOWN,
            mask: port_bits::CONFIG_PORT_DOWN,
            advertise: 0,
        }),
        Message::TableMod(TableMod { table_id: 3, config: 3 }),
        Message::QueueGetConfigRequest(port::ANY),
        Message::QueueGetConfigReply(QueueConfig {
            port: PortNo(3),
            queues: vec![
                Queue {
                    queue_id: 1,
                    port: PortNo(3),
                    properties: vec![
                        QueueProperty::MinRate(10),
                        QueueProperty::MaxRate(900),
                        QueueProperty::Experimenter { experimenter: 0x1234, data: vec![5; 8] },
                    ],
                },
                Queue { queue_id: 2, port: PortNo(3), properties: vec![] },
            ],
        }),
        Message::GetAsyncRequest,
        Message::GetAsyncReply(masks),
        Message::SetAsync(masks),
    ];
    use MeterModCommand::{Add, Delete, Modify};
    for command in [Add, Modify, Delete] {
        messages.push(Message::MeterMod(MeterMod { command, flags, meter_id: 1, bands: bands() }));
    }
    messages.extend(bundle_messages().into_iter().map(Message::Experimenter));
    let role = RoleStatus { role: 3, reason: 0, generation_id: 5 };
    messages.extend(
        [
            Experimenter::RoleStatus(role),
            Experimenter::NiciraRoleRequest(1),
            Experimenter::NiciraRoleReply(1),
            Experimenter::SetPacketInFormat(2),
            Experimenter::NiciraSetAsync(masks),
            Experimenter::SetControllerId(5),
            Experimenter::FlushConntrackZone(7),
            Experimenter::Other { experimenter: 0x1234, exp_type: 5, body: vec![6; 12] },
        ]
        .map(Message::Experimenter),
    );
    messages
}

/// Of a table that can do everything.
fn table_features() -> TableFeatures {
    let ids = |kinds: &[u16]| kinds.iter().copied().map(FeatureId::of).collect::<Vec<_>>();
    let fields =
        || vec![OxmId { header: 0x8000_0004, experimenter: None }, OxmId { header: 0x8000_070c, experimenter: None }];
    let both = |property: &dyn Fn(bool) -> TableProperty| [property(false), property(true)];
    let properties = [
        both(&|miss| TableProperty::Instructions { miss, ids: ids(&[1, 2, 3, 4, 5, 6]) }),
        both(&|miss| TableProperty::NextTables { miss, tables: (1..12).collect() }),
        both(&|miss| TableProperty::WriteActions { miss, ids: ids(&[0, 22]) }),
        both(&|miss| TableProperty::ApplyActions { miss, ids: ids(&[0, 22, 25]) }),
        [TableProperty::Match(fields()), TableProperty::Wildcards(fields())],
        both(&|miss| TableProperty::WriteSetField { miss, fields: fields() }),
        both(&|miss| TableProperty::ApplySetField { miss, fields: fields() }),
        both(&|miss| TableProperty::Experimenter { miss, experimenter: 0x1234, exp_type: 5, data: vec![6; 4] }),
    ];
    TableFeatures {
        table_id: 3,
        name: "classify".into(),
        metadata_match: u64::MAX,
        metadata_write: 0xff,
        config: 3,
        max_entries: 1_000_000,
        properties: properties.concat(),
    }
}

fn port_description(n: u8) -> PortDescription {
    PortDescription {
        port_no: PortNo(n.into()),
        hw_addr: MacAddr([2, 0, 0, 0, 0, n]),
        name: format!("eth{n}"),
        config: port_bits::CONFIG_PORT_DOWN,
        state: port_bits::STATE_LINK_DOWN,
        current: 0x2820,
        advertised: 1,
        supported: 2,
        peer: 4,
        current_speed_kbps: 10_000_000,
        max_speed_kbps: 40_000_000,
    }
}

fn requests() -> Vec<MultipartRequestBody> {
    use MultipartRequestBody as Body;
    let flows = || FlowStatsRequest {
        table_id: 10,
        out_port: port::ANY,
        out_group: group::ANY,
        cookie: 7,
        cookie_mask: 0xff,
        matching: ovs_rules::tcp(),
    };
    vec![
        Body::Description,
        Body::Flow(flows()),
        Body::Aggregate(flows()),
        Body::PortStats(port::ANY),
        Body::GroupStats(group::ALL),
        Body::GroupDescription,
        Body::PortDescription,
        Body::Table,
        Body::Queue(QueueStatsRequest { port: port::ANY, queue_id: QUEUE_ALL }),
        Body::GroupFeatures,
        Body::Meter(meter_id::ALL),
        Body::MeterConfig(meter_id::ALL),
        Body::MeterFeatures,
        Body::TableFeatures(vec![]),
        Body::TableFeatures(vec![table_features()]),
        Body::Experimenter(ExperimenterMultipart { experimenter: 0x1234, exp_type: 5, body: vec![7; 8] }),
    ]
}

fn flow_stats(flow: &FlowMod) -> FlowStats {
    FlowStats {
        table_id: flow.table_id,
        duration_sec: 5,
        duration_nsec: 6,
        priority: flow.priority,
        idle_timeout: 30,
        hard_timeout: 300,
        flags: flow.flags,
        cookie: flow.cookie,
        packet_count: 8,
        byte_count: 900,
        matching: flow.matching.clone(),
        instructions: flow.instructions.clone(),
    }
}

fn replies() -> Vec<MultipartReplyBody> {
    use MultipartReplyBody as Body;
    let groups = ovs_rules::groups();
    vec![
        Body::Description(SwitchDescription {
            manufacturer: "Foreshadow".into(),
            hardware: "emulated".into(),
            software: "0.1".into(),
            serial: "1".into(),
            datapath: "leaf1".into(),
        }),
        Body::Flow(ovs_rules::flows().iter().map(flow_stats).collect()),
        Body::Flow(vec![]),
        Body::Aggregate(AggregateStats { packet_count: 1, byte_count: 2, flow_count: 3 }),
        Body::PortStats(vec![
            PortStats { port_no: 1, rx_packets: 2, collisions: 3, duration_nsec: 4, ..PortStats::default() },
            PortStats { port_no: port::LOCAL.0, ..PortStats::default() },
        ]),
        Body::GroupStats(vec![GroupStats {
            group_id: 9,
            ref_count: 1,
            packet_count: 3,
            byte_count: 180,
            duration_sec: 4,
            duration_nsec: 5,
            buckets: vec![(1, 60), (2, 120)],
        }]),
        Body::GroupDescription(
            groups
                .into_iter()
                .map(|group| GroupDescription {
                    group_type: group.group_type,
                    group_id: group.group_id,
                    buckets: group.buckets,
                })
                .collect(),
        ),
        Body::PortDescription(vec![port_description(1), port_description(2)]),
        Body::Table(vec![TableStats { table_id: 3, active_count: 4, lookup_count: 5, matched_count: 6 }]),
        Body::Queue(vec![QueueStats { port: 3, queue_id: 1, tx_bytes: 2, ..QueueStats::default() }]),
        Body::GroupFeatures(GroupFeatures {
            types: 15,
            capabilities: 7,
            max_groups: [1, 2, 3, 4],
            actions: [5, 6, 7, 8],
        }),
        Body::Meter(vec![MeterStats {
            meter_id: 1,
            flow_count: 2,
            bands: vec![(3, 4), (5, 6)],
            ..MeterStats::default()
        }]),
        Body::MeterConfig(vec![MeterConfig { flags: meter_flags::PKTPS, meter_id: 1, bands: bands() }]),
        Body::MeterFeatures(MeterFeatures {
            max_meter: 200_000,
            band_types: 6,
            capabilities: 15,
            max_bands: 8,
            max_color: 0,
        }),
        Body::TableFeatures(vec![table_features()]),
        Body::Experimenter(ExperimenterMultipart { experimenter: 0x1234, exp_type: 5, body: vec![7; 8] }),
    ]
}

/// Frames that any implementation of OpenFlow 1.3 with Nicira's extensions reads.
pub(crate) fn frames() -> Vec<Frame> {
    let mut messages = session_messages();
    for flow in ovs_rules::flows() {
        messages.push(Message::PacketIn(PacketIn {
            buffer_id: NO_BUFFER,
            total_len: 60,
            reason: 1,
            table_id: 3,
            cookie: flow.cookie,
            matching: flow.matching.clone(),
            data: vec![0x22; 60],
        }));
        messages.push(Message::FlowRemoved(FlowRemoved {
            cookie: flow.cookie,
            priority: flow.priority,
            reason: removed_reason::IDLE_TIMEOUT,
            table_id: flow.table_id,
            duration_sec: 5,
            duration_nsec: 6,
            idle_timeout: 30,
            hard_timeout: 300,
            packet_count: 8,
            byte_count: 900,
            matching: flow.matching.clone(),
        }));
        messages.push(Message::FlowMod(flow));
    }
    messages.extend(ovs_rules::groups().into_iter().map(Message::GroupMod));
    for actions in ovs_rules::action_lists() {
        let in_port = port::CONTROLLER;
        let data = vec![0x33; 60];
        if !actions.is_empty() {
            messages.push(Message::PacketOut(PacketOut { buffer_id: NO_BUFFER, in_port, actions, data }));
        }
    }
    messages.extend(requests().into_iter().map(|body| Message::MultipartRequest(MultipartRequest::new(body))));
    for body in replies() {
        messages.push(Message::MultipartReply(MultipartReply { more: false, body }));
    }
    messages.extend(other_messages());
    let framed = |(xid, mut message)| {
        if let Message::Experimenter(Experimenter::BundleAdd(add)) = &mut message {
            add.message.xid = xid;
        }
        Frame::new(xid, message)
    };
    (1..).zip(messages).map(framed).collect()
}
