//! Any frame that has a form on the wire.

use std::net::{Ipv4Addr, Ipv6Addr};

use foreshadow::types::{MacAddr, PortNo};
use foreshadow::wire::openflow::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A field whose header takes 4 bytes.
fn short_field() -> impl Strategy<Value = Field> {
    prop_oneof![
        4 => proptest::sample::select(Field::named().collect::<Vec<_>>()),
        2 => (0u8..16).prop_map(Field::Reg),
        1 => (0u8..8).prop_map(Field::XReg),
        1 => (0u8..4).prop_map(Field::XxReg),
        // Classes that no named field has.
        1 => (2u16..0x8000, 0u8..128, 0u8..=16)
            .prop_map(|(class, number, length)| Field::Other { class, number, length }),
    ]
}

fn field() -> impl Strategy<Value = Field> {
    let experimenter = (any::<u32>(), 0u8..128, 0u8..=16)
        .prop_map(|(experimenter, number, length)| Field::Experimenter { experimenter, number, length });
    prop_oneof![6 => short_field(), 1 => experimenter]
}

fn match_field() -> impl Strategy<Value = MatchField> {
    (field(), any::<u128>(), option::of(any::<u128>())).prop_map(|(field, value, mask)| {
        let all = field.all_ones();
        MatchField { field, value: value & all, mask: mask.map(|mask| mask & all) }
    })
}

fn wide_field() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 17..100).prop_map(|value| {
        let length = u8::try_from(value.len()).expect("below 100");
        [&[0x00, 0x01, 40 << 1, length], &value[..]].concat()
    })
}

pub(crate) fn matching() -> impl Strategy<Value = Match> {
    (vec(match_field(), 0..8), vec(wide_field(), 0..2)).prop_map(|(fields, wide)| Match { fields, wide: wide.concat() })
}

fn packed_subfield() -> impl Strategy<Value = Subfield> {
    (short_field(), 0u16..1024, 1u16..=64).prop_map(|(field, offset, n_bits)| Subfield { field, offset, n_bits })
}

fn subfield() -> impl Strategy<Value = Subfield> {
    (field(), any::<u16>(), any::<u16>()).prop_map(|(field, offset, n_bits)| Subfield { field, offset, n_bits })
}

fn learn_spec() -> impl Strategy<Value = LearnSpec> {
    let source = prop_oneof![
        (field(), any::<u16>()).prop_map(|(field, offset)| LearnSource::Field { field, offset }),
        any::<u128>().prop_map(LearnSource::Immediate),
    ];
    let target = prop_oneof![
        (field(), any::<u16>()).prop_map(|(field, offset)| LearnTarget::Match { field, offset }),
        (field(), any::<u16>()).prop_map(|(field, offset)| LearnTarget::Load { field, offset }),
        Just(LearnTarget::Output),
    ];
    (source, target, 1u16..=128).prop_map(|(source, target, n_bits)| {
        let source = match source {
            LearnSource::Immediate(value) if n_bits < 128 => LearnSource::Immediate(value & ((1 << n_bits) - 1)),
            other => other,
        };
        LearnSpec { source, target, n_bits }
    })
}

fn learn() -> impl Strategy<Value = LearnAction> {
    let numbers = (any::<[u16; 5]>(), any::<u64>(), 0u16..4, any::<u8>());
    let result = option::of((field(), any::<u16>()));
    (numbers, prop_oneof![Just(0), any::<u32>()], result, vec(learn_spec(), 0..6)).prop_map(
        |(
            ([idle_timeout, hard_timeout, priority, fin_idle_timeout, fin_hard_timeout], cookie, flags, table),
            limit,
            result,
            specs,
        )| {
            LearnAction {
                idle_timeout,
                hard_timeout,
                priority,
                cookie,
                flags: flags | if result.is_some() { learn_flags::WRITE_RESULT } else { 0 },
                table,
                fin_idle_timeout,
                fin_hard_timeout,
                limit,
                result: result.map(|(field, offset)| Subfield { field, offset, n_bits: 1 }),
                specs,
            }
        },
    )
}

fn opaque(kinds: std::ops::Range<u16>) -> impl Strategy<Value = Vec<u8>> {
    (kinds, 1usize..5).prop_flat_map(|(kind, words)| {
        vec(any::<u8>(), words * 8 - 4).prop_map(move |body| {
            let length = u16::try_from(words * 8).expect("small");
            [&kind.to_be_bytes()[..], &length.to_be_bytes(), &body].concat()
        })
    })
}

fn small_action() -> impl Strategy<Value = Action> {
    let words = || vec(any::<u16>(), 0..6);
    let bundle = (any::<[u16; 3]>(), any::<u32>(), words(), option::of(packed_subfield())).prop_map(
        |([algorithm, fields, basis], link_type, links, target)| {
            Action::LinkBundle(Box::new(LinkBundleAction { algorithm, fields, basis, link_type, links, target }))
        },
    );
    let sample = (any::<u16>(), any::<[u32; 3]>()).prop_map(
        |(probability, [collector_set_id, observation_domain_id, observation_point_id])| {
            Action::Sample(SampleAction { probability, collector_set_id, observation_domain_id, observation_point_id })
        },
    );
    let nat = (any::<u16>(), any::<[Option<u32>; 2]>(), any::<[Option<u128>; 2]>(), any::<[Option<u16>; 2]>())
        .prop_map(|(flags, ipv4, ipv6, [port_min, port_max])| {
            let [ipv4_min, ipv4_max] = ipv4.map(|bits| bits.map(Ipv4Addr::from_bits));
            let [ipv6_min, ipv6_max] = ipv6.map(|bits| bits.map(Ipv6Addr::from_bits));
            Action::Nat(NatAction { flags, ipv4_min, ipv4_max, ipv6_min, ipv6_max, port_min, port_max })
        });
    let unit =
        [Action::CopyTtlOut, Action::CopyTtlIn, Action::DecMplsTtl, Action::PopPbb, Action::Exit, Action::CtClear];
    prop_oneof![
        proptest::sample::select(unit.to_vec()),
        any::<u8>().prop_map(Action::SetMplsTtl),
        any::<u16>().prop_map(Action::PushMpls),
        any::<u16>().prop_map(Action::PopMpls),
        any::<u16>().prop_map(Action::PushPbb),
        any::<u32>().prop_map(Action::SetTunnel),
        any::<u64>().prop_map(Action::SetTunnel64),
        (0usize..4).prop_flat_map(|words| vec(any::<u8>(), words * 8 + 6)).prop_map(Action::Note),
        words().prop_map(Action::DecTtlFor),
        (any::<[u16; 2]>(), any::<u8>()).prop_map(|([max_len, controller_id], reason)| Action::Controller {
            max_len,
            controller_id,
            reason
        }),
        (any::<[u8; 2]>(), any::<u32>()).prop_map(|([clause, n_clauses], id)| Action::Conjunction {
            clause,
            n_clauses,
            id
        }),
        (field(), 0u16..1024, 1u16..=64, any::<u16>()).prop_map(|(field, offset, n_bits, max_len)| {
            Action::OutputReg2 { source: Subfield { field, offset, n_bits }, max_len }
        }),
        match_field().prop_map(Action::RegLoad2),
        bundle,
        sample,
        (any::<u16>(), any::<u32>()).prop_map(|(port, max_len)| Action::OutputTrunc { port, max_len }),
        nat,
    ]
}

/// Any action but `ct`.
fn simple_action() -> impl Strategy<Value = Action> {
    let multipath = (any::<[u16; 4]>(), any::<u32>(), packed_subfield()).prop_map(
        |([fields, basis, algorithm, max_link], arg, target)| {
            Action::Multipath(MultipathAction { fields, basis, algorithm, max_link, arg, target })
        },
    );
    prop_oneof![
        (any::<u32>(), any::<u16>()).prop_map(|(port, max_len)| Action::Output { port: PortNo(port), max_len }),
        any::<u32>().prop_map(Action::Group),
        any::<u32>().prop_map(Action::SetQueue),
        any::<u16>().prop_map(Action::PushVlan),
        Just(Action::PopVlan),
        any::<u8>().prop_map(Action::SetNwTtl),
        Just(Action::DecNwTtl),
        match_field().prop_map(Action::SetField),
        (packed_subfield(), any::<u64>()).prop_map(|(target, value)| Action::RegLoad { target, value }),
        (subfield(), field(), any::<u16>()).prop_map(|(source, field, offset)| Action::RegMove {
            source,
            target: Subfield { field, offset, n_bits: source.n_bits },
        }),
        (any::<u16>(), any::<u8>()).prop_map(|(in_port, table)| Action::Resubmit { in_port, table }),
        (packed_subfield(), any::<u16>()).prop_map(|(source, max_len)| Action::OutputReg { source, max_len }),
        learn().prop_map(|learn| Action::Learn(Box::new(learn))),
        multipath,
        subfield().prop_map(Action::StackPush),
        subfield().prop_map(Action::StackPop),
        (any::<u16>(), any::<u16>())
            .prop_map(|(fin_idle_timeout, fin_hard_timeout)| Action::FinTimeout { fin_idle_timeout, fin_hard_timeout }),
        small_action(),
        small_action(),
        small_action(),
        opaque(1..11).prop_map(Action::Other),
    ]
}

pub(crate) fn action() -> impl Strategy<Value = Action> {
    let ct = (any::<[u16; 3]>(), any::<u8>(), vec(simple_action(), 0..4)).prop_map(
        |([flags, zone, alg], recirc_table, exec)| {
            Action::Ct(Box::new(CtAction { flags, zone, recirc_table, alg, exec }))
        },
    );
    prop_oneof![18 => simple_action(), 1 => ct]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    vec(action(), 0..5)
}

fn instruction() -> impl Strategy<Value = Instruction> {
    prop_oneof![
        any::<u8>().prop_map(Instruction::GotoTable),
        (any::<u64>(), any::<u64>()).prop_map(|(metadata, mask)| Instruction::WriteMetadata { metadata, mask }),
        actions().prop_map(Instruction::WriteActions),
        actions().prop_map(Instruction::ApplyActions),
        Just(Instruction::ClearActions),
        any::<u32>().prop_map(Instruction::Meter),
        opaque(7..0xffff).prop_map(Instruction::Other),
    ]
}

fn bucket() -> impl Strategy<Value = Bucket> {
    (any::<u16>(), any::<u32>(), any::<u32>(), actions()).prop_map(|(weight, watch_port, watch_group, actions)| {
        Bucket { weight, watch_port: PortNo(watch_port), watch_group, actions }
    })
}

fn group_type() -> impl Strategy<Value = GroupType> {
    proptest::sample::select(&[GroupType::All, GroupType::Select, GroupType::Indirect, GroupType::FastFailover][..])
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..200)
}

fn port_description() -> impl Strategy<Value = PortDescription> {
    (any::<u32>(), any::<[u8; 6]>(), "[a-zA-Z0-9é-]{0,7}", any::<[u32; 8]>()).prop_map(
        |(port_no, hw_addr, name, [config, state, current, advertised, supported, peer, speed, max])| PortDescription {
            port_no: PortNo(port_no),
            hw_addr: MacAddr(hw_addr),
            name,
            config,
            state,
            current,
            advertised,
            supported,
            peer,
            current_speed_kbps: speed,
            max_speed_kbps: max,
        },
    )
}

fn flow_mod() -> impl Strategy<Value = FlowMod> {
    use FlowModCommand::{Add, Delete, DeleteStrict, Modify, ModifyStrict};
    let command = proptest::sample::select(&[Add, Modify, ModifyStrict, Delete, DeleteStrict][..]);
    let numbers = (any::<[u64; 2]>(), any::<[u32; 3]>(), any::<[u16; 4]>(), any::<u8>());
    (command, numbers, matching(), vec(instruction(), 0..4)).prop_map(
        |(
            command,
            ([cookie, cookie_mask], [buffer_id, out_port, out_group], times, table_id),
            matching,
            instructions,
        )| {
            let [idle_timeout, hard_timeout, priority, flags] = times;
            FlowMod {
                cookie,
                cookie_mask,
                table_id,
                command,
                idle_timeout,
                hard_timeout,
                priority,
                buffer_id,
                out_port: PortNo(out_port),
                out_group,
                flags,
                matching,
                instructions,
            }
        },
    )
}

fn flow_removed() -> impl Strategy<Value = FlowRemoved> {
    (any::<[u64; 3]>(), any::<[u32; 2]>(), any::<[u16; 3]>(), any::<[u8; 2]>(), matching()).prop_map(
        |([cookie, packet_count, byte_count], [duration_sec, duration_nsec], times, [reason, table_id], matching)| {
            let [priority, idle_timeout, hard_timeout] = times;
            FlowRemoved {
                cookie,
                priority,
                reason,
                table_id,
                duration_sec,
                duration_nsec,
                idle_timeout,
                hard_timeout,
                packet_count,
                byte_count,
                matching,
            }
        },
    )
}

fn packet_in() -> impl Strategy<Value = PacketIn> {
    (any::<u32>(), any::<u16>(), any::<[u8; 2]>(), any::<u64>(), matching(), bytes()).prop_map(
        |(buffer_id, total_len, [reason, table_id], cookie, matching, data)| PacketIn {
            buffer_id,
            total_len,
            reason,
            table_id,
            cookie,
            matching,
            data,
        },
    )
}

fn flow_stats_request() -> impl Strategy<Value = FlowStatsRequest> {
    (any::<u8>(), any::<[u32; 2]>(), any::<[u64; 2]>(), matching()).prop_map(
        |(table_id, [out_port, out_group], [cookie, cookie_mask], matching)| FlowStatsRequest {
            table_id,
            out_port: PortNo(out_port),
            out_group,
            cookie,
            cookie_mask,
            matching,
        },
    )
}

fn multipart_request() -> impl Strategy<Value = MultipartRequest> {
    use MultipartRequestBody as Body;
    let body = prop_oneof![
        Just(Body::Description),
        flow_stats_request().prop_map(Body::Flow),
        flow_stats_request().prop_map(Body::Aggregate),
        any::<u32>().prop_map(|port| Body::PortStats(PortNo(port))),
        any::<u32>().prop_map(Body::GroupStats),
        Just(Body::GroupDescription),
        Just(Body::PortDescription),
        Just(Body::Table),
        (any::<u32>(), any::<u32>())
            .prop_map(|(port, queue_id)| Body::Queue(QueueStatsRequest { port: PortNo(port), queue_id })),
        Just(Body::GroupFeatures),
        any::<u32>().prop_map(Body::Meter),
        any::<u32>().prop_map(Body::MeterConfig),
        Just(Body::MeterFeatures),
        vec(table_features(), 0..3).prop_map(Body::TableFeatures),
        experimenter_multipart().prop_map(Body::Experimenter),
        (14u16..0xffff, bytes()).prop_map(|(multipart_type, body)| Body::Other { multipart_type, body }),
    ];
    (any::<bool>(), body).prop_map(|(more, body)| MultipartRequest { more, body })
}

fn flow_stats() -> impl Strategy<Value = FlowStats> {
    (flow_removed(), vec(instruction(), 0..3), any::<u16>()).prop_map(|(flow, instructions, flags)| FlowStats {
        table_id: flow.table_id,
        duration_sec: flow.duration_sec,
        duration_nsec: flow.duration_nsec,
        priority: flow.priority,
        idle_timeout: flow.idle_timeout,
        hard_timeout: flow.hard_timeout,
        flags,
        cookie: flow.cookie,
        packet_count: flow.packet_count,
        byte_count: flow.byte_count,
        matching: flow.matching,
        instructions,
    })
}

fn port_stats() -> impl Strategy<Value = PortStats> {
    (any::<[u32; 3]>(), any::<[u64; 12]>()).prop_map(|([port_no, duration_sec, duration_nsec], c)| PortStats {
        port_no,
        rx_packets: c[0],
        tx_packets: c[1],
        rx_bytes: c[2],
        tx_bytes: c[3],
        rx_dropped: c[4],
        tx_dropped: c[5],
        rx_errors: c[6],
        tx_errors: c[7],
        rx_frame_err: c[8],
        rx_over_err: c[9],
        rx_crc_err: c[10],
        collisions: c[11],
        duration_sec,
        duration_nsec,
    })
}

fn group_stats() -> impl Strategy<Value = GroupStats> {
    (any::<[u32; 4]>(), any::<[u64; 2]>(), vec(any::<(u64, u64)>(), 0..5)).prop_map(
        |([group_id, ref_count, duration_sec, duration_nsec], [packet_count, byte_count], buckets)| GroupStats {
            group_id,
            ref_count,
            packet_count,
            byte_count,
            duration_sec,
            duration_nsec,
            buckets,
        },
    )
}

fn multipart_reply() -> impl Strategy<Value = MultipartReply> {
    use MultipartReplyBody as Body;
    let text = || "[ -~]{0,255}";
    let description = (text(), text(), text(), "[ -~]{0,31}", text()).prop_map(
        |(manufacturer, hardware, software, serial, datapath)| SwitchDescription {
            manufacturer,
            hardware,
            software,
            serial,
            datapath,
        },
    );
    let aggregate = (any::<u64>(), any::<u64>(), any::<u32>())
        .prop_map(|(packet_count, byte_count, flow_count)| AggregateStats { packet_count, byte_count, flow_count });
    let group_features = (any::<[u32; 2]>(), any::<[u32; 4]>(), any::<[u32; 4]>()).prop_map(
        |([types, capabilities], max_groups, actions)| GroupFeatures { types, capabilities, max_groups, actions },
    );
    let meter_features = (any::<[u32; 3]>(), any::<[u8; 2]>()).prop_map(
        |([max_meter, band_types, capabilities], [max_bands, max_color])| MeterFeatures {
            max_meter,
            band_types,
            capabilities,
            max_bands,
            max_color,
        },
    );
    let group = (group_type(), any::<u32>(), vec(bucket(), 0..4))
        .prop_map(|(group_type, group_id, buckets)| GroupDescription { group_type, group_id, buckets });
    let body = prop_oneof![
        description.prop_map(Body::Description),
        vec(flow_stats(), 0..4).prop_map(Body::Flow),
        aggregate.prop_map(Body::Aggregate),
        vec(port_stats(), 0..4).prop_map(Body::PortStats),
        vec(group_stats(), 0..4).prop_map(Body::GroupStats),
        vec(group, 0..4).prop_map(Body::GroupDescription),
        vec(port_description(), 0..4).prop_map(Body::PortDescription),
        vec(table_stats(), 0..4).prop_map(Body::Table),
        vec(queue_stats(), 0..4).prop_map(Body::Queue),
        group_features.prop_map(Body::GroupFeatures),
        vec(meter_stats(), 0..4).prop_map(Body::Meter),
        vec(meter_config(), 0..4).prop_map(Body::MeterConfig),
        meter_features.prop_map(Body::MeterFeatures),
        vec(table_features(), 0..3).prop_map(Body::TableFeatures),
        experimenter_multipart().prop_map(Body::Experimenter),
        (14u16..0xffff, bytes()).prop_map(|(multipart_type, body)| Body::Other { multipart_type, body }),
    ];
    (any::<bool>(), body).prop_map(|(more, body)| MultipartReply { more, body })
}

fn experimenter_multipart() -> impl Strategy<Value = ExperimenterMultipart> {
    (any::<u32>(), any::<u32>(), bytes()).prop_map(|(experimenter, exp_type, body)| ExperimenterMultipart {
        experimenter,
        exp_type,
        body,
    })
}

fn table_stats() -> impl Strategy<Value = TableStats> {
    (any::<u8>(), any::<u32>(), any::<u64>(), any::<u64>()).prop_map(
        |(table_id, active_count, lookup_count, matched_count)| TableStats {
            table_id,
            active_count,
            lookup_count,
            matched_count,
        },
    )
}

fn queue_stats() -> impl Strategy<Value = QueueStats> {
    (any::<[u32; 4]>(), any::<[u64; 3]>()).prop_map(
        |([port, queue_id, duration_sec, duration_nsec], [tx_bytes, tx_packets, tx_errors])| QueueStats {
            port,
            queue_id,
            tx_bytes,
            tx_packets,
            tx_errors,
            duration_sec,
            duration_nsec,
        },
    )
}

fn queue() -> impl Strategy<Value = Queue> {
    let property = prop_oneof![
        any::<u16>().prop_map(QueueProperty::MinRate),
        any::<u16>().prop_map(QueueProperty::MaxRate),
        (any::<u32>(), bytes()).prop_map(|(experimenter, data)| QueueProperty::Experimenter { experimenter, data }),
        (3u16..0xffff, bytes()).prop_map(|(property_type, body)| QueueProperty::Other { property_type, body }),
    ];
    (any::<u32>(), any::<u32>(), vec(property, 0..4)).prop_map(|(queue_id, port, properties)| Queue {
        queue_id,
        port: PortNo(port),
        properties,
    })
}

fn meter_band() -> impl Strategy<Value = MeterBand> {
    let kind = prop_oneof![
        Just(MeterBandKind::Drop),
        any::<u8>().prop_map(|prec_level| MeterBandKind::DscpRemark { prec_level }),
        (any::<u32>(), bytes()).prop_map(|(experimenter, data)| MeterBandKind::Experimenter { experimenter, data }),
        (3u16..0xffff, bytes()).prop_map(|(band_type, body)| MeterBandKind::Other { band_type, body }),
    ];
    (any::<u32>(), any::<u32>(), kind).prop_map(|(rate, burst, kind)| MeterBand { rate, burst, kind })
}

fn meter_config() -> impl Strategy<Value = MeterConfig> {
    (any::<u16>(), any::<u32>(), vec(meter_band(), 0..4)).prop_map(|(flags, meter_id, bands)| MeterConfig {
        flags,
        meter_id,
        bands,
    })
}

fn meter_mod() -> impl Strategy<Value = MeterMod> {
    use MeterModCommand::{Add, Delete, Modify};
    (proptest::sample::select(&[Add, Modify, Delete][..]), meter_config())
        .prop_map(|(command, MeterConfig { flags, meter_id, bands })| MeterMod { command, flags, meter_id, bands })
}

fn meter_stats() -> impl Strategy<Value = MeterStats> {
    (any::<[u32; 4]>(), any::<[u64; 2]>(), vec(any::<(u64, u64)>(), 0..5)).prop_map(
        |([meter_id, flow_count, duration_sec, duration_nsec], [packet_in_count, byte_in_count], bands)| MeterStats {
            meter_id,
            flow_count,
            packet_in_count,
            byte_in_count,
            duration_sec,
            duration_nsec,
            bands,
        },
    )
}

fn oxm_id() -> impl Strategy<Value = OxmId> {
    prop_oneof![
        (0u32..0xffff_0000).prop_map(|header| OxmId { header, experimenter: None }),
        (0xffff_0000u32.., any::<u32>())
            .prop_map(|(header, experimenter)| OxmId { header, experimenter: Some(experimenter) }),
    ]
}

fn table_features() -> impl Strategy<Value = TableFeatures> {
    let id = (any::<u16>(), prop_oneof![4 => Just(Vec::new()), 1 => bytes()])
        .prop_map(|(kind, data)| FeatureId { kind, data });
    let listed = (0u8..8, any::<bool>(), vec(id, 0..6), vec(oxm_id(), 0..6), bytes());
    let listed = listed.prop_map(|(kind, miss, ids, fields, tables)| match kind {
        0 => TableProperty::Instructions { miss, ids },
        1 => TableProperty::NextTables { miss, tables },
        2 => TableProperty::WriteActions { miss, ids },
        3 => TableProperty::ApplyActions { miss, ids },
        4 => TableProperty::Match(fields),
        5 => TableProperty::Wildcards(fields),
        6 => TableProperty::WriteSetField { miss, fields },
        _ => TableProperty::ApplySetField { miss, fields },
    });
    let property = prop_oneof![
        8 => listed,
        1 => (any::<bool>(), any::<u32>(), any::<u32>(), bytes()).prop_map(|(miss, experimenter, exp_type, data)| {
            TableProperty::Experimenter { miss, experimenter, exp_type, data }
        }),
        1 => (16u16..0xfffe, bytes()).prop_map(|(property_type, body)| TableProperty::Other { property_type, body }),
    ];
    (any::<u8>(), "[ -~]{0,31}", any::<[u64; 2]>(), any::<[u32; 2]>(), vec(property, 0..5)).prop_map(
        |(table_id, name, [metadata_match, metadata_write], [config, max_entries], properties)| TableFeatures {
            table_id,
            name,
            metadata_match,
            metadata_write,
            config,
            max_entries,
            properties,
        },
    )
}

fn port_mod() -> impl Strategy<Value = PortMod> {
    (any::<[u32; 4]>(), any::<[u8; 6]>()).prop_map(|([port_no, config, mask, advertise], hw_addr)| PortMod {
        port_no: PortNo(port_no),
        hw_addr: MacAddr(hw_addr),
        config,
        mask,
        advertise,
    })
}

fn async_config() -> impl Strategy<Value = AsyncConfig> {
    any::<[[u32; 2]; 3]>().prop_map(|[packet_in, port_status, flow_removed]| AsyncConfig {
        packet_in,
        port_status,
        flow_removed,
    })
}

fn experimenter() -> impl Strategy<Value = Experimenter> {
    let control = (any::<u32>(), any::<[u16; 2]>(), bytes())
        .prop_map(|(bundle_id, [control, flags], properties)| BundleControl { bundle_id, control, flags, properties });
    let bundled = prop_oneof![
        flow_mod().prop_map(Message::FlowMod),
        port_mod().prop_map(Message::PortMod),
        bytes().prop_map(Message::EchoRequest),
    ];
    let add = (any::<[u32; 2]>(), any::<u16>(), bundled, bytes()).prop_map(
        |([bundle_id, xid], flags, message, properties)| BundleAdd {
            bundle_id,
            flags,
            message: Frame::new(xid, message),
            properties,
        },
    );
    let status = (any::<u32>(), any::<u8>(), any::<u64>()).prop_map(|(role, reason, generation_id)| RoleStatus {
        role,
        reason,
        generation_id,
    });
    prop_oneof![
        control.prop_map(Experimenter::BundleControl),
        add.prop_map(|add| Experimenter::BundleAdd(Box::new(add))),
        status.prop_map(Experimenter::RoleStatus),
        any::<u32>().prop_map(Experimenter::NiciraRoleRequest),
        any::<u32>().prop_map(Experimenter::NiciraRoleReply),
        any::<u32>().prop_map(Experimenter::SetPacketInFormat),
        async_config().prop_map(Experimenter::NiciraSetAsync),
        any::<u16>().prop_map(Experimenter::SetControllerId),
        any::<u16>().prop_map(Experimenter::FlushConntrackZone),
        (any::<u32>(), 10_000u32.., bytes()).prop_map(|(experimenter, exp_type, body)| Experimenter::Other {
            experimenter,
            exp_type,
            body
        }),
    ]
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    use GroupModCommand::{Add, Delete, Modify};
    let config =
        || (any::<u16>(), any::<u16>()).prop_map(|(flags, miss_send_len)| SwitchConfig { flags, miss_send_len });
    let role = || (any::<u32>(), any::<u64>()).prop_map(|(role, generation_id)| Role { role, generation_id });
    let features = (any::<u64>(), any::<[u32; 3]>(), any::<[u8; 2]>()).prop_map(
        |(datapath_id, [n_buffers, capabilities, reserved], [n_tables, auxiliary_id])| Features {
            datapath_id,
            n_buffers,
            n_tables,
            auxiliary_id,
            capabilities,
            reserved,
        },
    );
    let packet_out = (any::<[u32; 2]>(), actions(), bytes()).prop_map(|([buffer_id, in_port], actions, data)| {
        PacketOut { buffer_id, in_port: PortNo(in_port), actions, data }
    });
    let group_mod =
        (proptest::sample::select(&[Add, Modify, Delete][..]), group_type(), any::<u32>(), vec(bucket(), 0..4))
            .prop_map(|(command, group_type, group_id, buckets)| GroupMod { command, group_type, group_id, buckets });
    let error = (any::<u16>(), any::<u16>(), bytes()).prop_map(|(error_type, code, data)| ErrorMessage {
        error_type,
        code,
        data,
    });
    let unit = proptest::sample::select(
        &[
            Message::FeaturesRequest,
            Message::GetConfigRequest,
            Message::BarrierRequest,
            Message::BarrierReply,
            Message::GetAsyncRequest,
        ][..],
    );
    prop_oneof![
        option::of(any::<u64>()).prop_map(|versions| Message::Hello(Hello { versions })),
        error.prop_map(Message::Error),
        bytes().prop_map(Message::EchoRequest),
        bytes().prop_map(Message::EchoReply),
        unit,
        features.prop_map(Message::FeaturesReply),
        config().prop_map(Message::GetConfigReply),
        config().prop_map(Message::SetConfig),
        packet_in().prop_map(Message::PacketIn),
        flow_removed().prop_map(Message::FlowRemoved),
        (any::<u8>(), port_description()).prop_map(|(reason, port)| Message::PortStatus(PortStatus { reason, port })),
        packet_out.prop_map(Message::PacketOut),
        flow_mod().prop_map(Message::FlowMod),
        group_mod.prop_map(Message::GroupMod),
        multipart_request().prop_map(Message::MultipartRequest),
        multipart_reply().prop_map(Message::MultipartReply),
        role().prop_map(Message::RoleRequest),
        role().prop_map(Message::RoleReply),
        experimenter().prop_map(Message::Experimenter),
        port_mod().prop_map(Message::PortMod),
        (any::<u8>(), any::<u32>()).prop_map(|(table_id, config)| Message::TableMod(TableMod { table_id, config })),
        any::<u32>().prop_map(|port| Message::QueueGetConfigRequest(PortNo(port))),
        (any::<u32>(), vec(queue(), 0..4))
            .prop_map(|(port, queues)| Message::QueueGetConfigReply(QueueConfig { port: PortNo(port), queues })),
        async_config().prop_map(Message::GetAsyncReply),
        async_config().prop_map(Message::SetAsync),
        meter_mod().prop_map(Message::MeterMod),
        (30u8.., bytes()).prop_map(|(message_type, body)| Message::Other { message_type, body }),
    ]
}

pub(crate) fn frame() -> impl Strategy<Value = Frame> {
    (any::<u32>(), message()).prop_map(|(xid, message)| Frame::new(xid, message))
}
