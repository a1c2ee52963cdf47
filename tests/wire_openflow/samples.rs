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
    (1..).zip(messages).map(|(xid, message)| Frame::new(xid, message)).collect()
}
