//! An OpenFlow 1.3 switch that only keeps up appearances: it answers what a controller asks, forwards nothing, and
//! says what it was sent. A machine without I/O, so that the load generator costs as little as possible.

use std::collections::BTreeSet;

use crate::types::{DatapathId, MacAddr, NodeIndex, PortNo};
use crate::wire::openflow::{
    Action, AggregateStats, ErrorMessage, Features, Field, Frame, Hello, Match, Message, MultipartReply,
    MultipartReplyBody, MultipartRequestBody, NO_BUFFER, PacketIn, PortDescription, PortStats, SwitchConfig,
    SwitchDescription, VERSION, port_bits,
};

/// What a switch is, before it speaks.
#[derive(Clone, Debug)]
pub(super) struct SwitchSpec {
    pub(super) datapath: DatapathId,
    pub(super) ports: Vec<PortNo>,
}

/// What a message of the controller was, as far as a benchmark cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// A flow or group was changed.
    Change,
    /// A packet is to leave through these ports.
    Packet {
        ports: Vec<PortNo>,
        data: Vec<u8>,
    },
    Other,
}

#[derive(Debug)]
pub(super) struct FakeSwitch {
    spec: SwitchSpec,
    config: SwitchConfig,
    next_xid: u32,
    groups: BTreeSet<u32>,
}

impl FakeSwitch {
    pub(super) fn new(spec: SwitchSpec) -> Self {
        let config = SwitchConfig { flags: 0, miss_send_len: 128 };
        Self { spec, config, next_xid: 1, groups: BTreeSet::new() }
    }

    pub(super) fn hello(&mut self) -> Frame {
        let versions = Some(1 << VERSION);
        Frame::new(self.xid(), Message::Hello(Hello { versions }))
    }

    /// A whole packet that no flow took.
    pub(super) fn packet_in(&mut self, port: PortNo, data: Vec<u8>) -> Frame {
        let total_len = u16::try_from(data.len()).unwrap_or(u16::MAX);
        let matching = Match::any().with(Field::InPort, port.0);
        let reason = 0;
        let (buffer_id, table_id, cookie) = (NO_BUFFER, 0, 0);
        let packet = PacketIn { buffer_id, total_len, reason, table_id, cookie, matching, data };
        Frame::new(self.xid(), Message::PacketIn(packet))
    }

    /// An answer with the statistics of every port.
    pub(super) fn port_statistics(&self) -> Frame {
        let ports = self.spec.ports.iter().map(|port| port_stats(*port)).collect();
        let body = MultipartReplyBody::PortStats(ports);
        Frame::new(0, Message::MultipartReply(MultipartReply { more: false, body }))
    }

    /// What a message asks for, and the answer it gets.
    pub(super) fn handle(&mut self, frame: Frame) -> (Noted, Option<Frame>) {
        let xid = frame.xid;
        let answer = |message| (Noted::Other, Some(Frame::new(xid, message)));
        match frame.message {
            Message::EchoRequest(data) => answer(Message::EchoReply(data)),
            Message::FeaturesRequest => answer(Message::FeaturesReply(self.features())),
            Message::GetConfigRequest => answer(Message::GetConfigReply(self.config)),
            Message::SetConfig(config) => {
                self.config = config;
                (Noted::Other, None)
            }
            Message::BarrierRequest => answer(Message::BarrierReply),
            Message::RoleRequest(role) => answer(Message::RoleReply(role)),
            Message::MultipartRequest(request) => {
                let body = self.statistics(request.body);
                answer(Message::MultipartReply(MultipartReply { more: false, body }))
            }
            Message::FlowMod(_) => (Noted::Change, None),
            Message::GroupMod(change) => {
                self.groups.insert(change.group_id);
                (Noted::Change, None)
            }
            Message::PacketOut(packet) => {
                let outputs = packet.actions.iter().filter_map(|action| match action {
                    Action::Output { port, .. } => Some(*port),
                    _ => None,
                });
                (Noted::Packet { ports: outputs.collect(), data: packet.data }, None)
            }
            // As a switch without bundles: who asks must not wait.
            Message::Experimenter(_) => {
                answer(Message::Error(ErrorMessage { error_type: 1, code: 3, data: vec![0; 8] }))
            }
            _ => (Noted::Other, None),
        }
    }

    fn xid(&mut self) -> u32 {
        self.next_xid = self.next_xid.wrapping_add(1);
        self.next_xid
    }

    fn features(&self) -> Features {
        Features {
            datapath_id: self.spec.datapath.0,
            n_buffers: 0,
            n_tables: 254,
            auxiliary_id: 0,
            capabilities: 0x4f,
            reserved: 0,
        }
    }

    fn statistics(&self, request: MultipartRequestBody) -> MultipartReplyBody {
        use MultipartReplyBody as Reply;
        use MultipartRequestBody as Request;
        match request {
            Request::Description => Reply::Description(SwitchDescription {
                manufacturer: "Foreshadow".into(),
                hardware: "load generator".into(),
                software: env!("CARGO_PKG_VERSION").into(),
                serial: self.spec.datapath.to_string(),
                datapath: "forwards nothing".into(),
            }),
            Request::Flow(_) => Reply::Flow(Vec::new()),
            Request::Aggregate(_) => Reply::Aggregate(AggregateStats { packet_count: 0, byte_count: 0, flow_count: 0 }),
            Request::PortStats(_) => Reply::PortStats(self.spec.ports.iter().map(|port| port_stats(*port)).collect()),
            Request::GroupStats(_) => Reply::GroupStats(Vec::new()),
            Request::GroupDescription => Reply::GroupDescription(Vec::new()),
            Request::PortDescription => {
                Reply::PortDescription(self.spec.ports.iter().map(|port| self.port_description(*port)).collect())
            }
            other => Reply::Other { multipart_type: other.multipart_type(), body: Vec::new() },
        }
    }

    fn port_description(&self, port_no: PortNo) -> PortDescription {
        PortDescription {
            port_no,
            hw_addr: port_mac(self.spec.datapath, port_no),
            name: format!("p{port_no}"),
            config: 0,
            state: port_bits::STATE_LIVE,
            current: 0,
            advertised: 0,
            supported: 0,
            peer: 0,
            current_speed_kbps: 10_000_000,
            max_speed_kbps: 10_000_000,
        }
    }
}

fn port_mac(datapath: DatapathId, port: PortNo) -> MacAddr {
    let MacAddr([.., hi, lo]) = MacAddr::of_node(NodeIndex(datapath.0 as u16));
    MacAddr([0x0a, 0, hi, lo, 0, port.0 as u8])
}

fn port_stats(port: PortNo) -> PortStats {
    PortStats {
        port_no: port.0,
        rx_packets: 0,
        tx_packets: 0,
        rx_bytes: 0,
        tx_bytes: 0,
        rx_dropped: 0,
        tx_dropped: 0,
        rx_errors: 0,
        tx_errors: 0,
        rx_frame_err: 0,
        rx_over_err: 0,
        rx_crc_err: 0,
        collisions: 0,
        duration_sec: 0,
        duration_nsec: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::openflow::{MultipartRequest, PacketOut, port};

    fn switch() -> FakeSwitch {
        FakeSwitch::new(SwitchSpec { datapath: DatapathId(0x41), ports: vec![PortNo(1), PortNo(10)] })
    }

    fn ask(message: Message) -> (Noted, Option<Message>) {
        let (noted, answer) = switch().handle(Frame::new(9, message));
        assert!(answer.as_ref().is_none_or(|answer| answer.xid == 9 && answer.encode().is_ok()));
        (noted, answer.map(|answer| answer.message))
    }

    #[test]
    fn a_controller_gets_its_answers() {
        let Some(Message::FeaturesReply(features)) = ask(Message::FeaturesRequest).1 else { panic!("no features") };
        assert_eq!(features.datapath_id, 0x41);
        assert_eq!(ask(Message::BarrierRequest).1, Some(Message::BarrierReply));
        assert_eq!(ask(Message::EchoRequest(vec![7])).1, Some(Message::EchoReply(vec![7])));
        let request = MultipartRequest::new(MultipartRequestBody::PortDescription);
        let Some(Message::MultipartReply(reply)) = ask(Message::MultipartRequest(request)).1 else {
            panic!("no ports")
        };
        let MultipartReplyBody::PortDescription(ports) = reply.body else { panic!("no ports") };
        assert_eq!(ports.iter().map(|port| port.port_no.0).collect::<Vec<_>>(), [1, 10]);
    }

    #[test]
    fn packets_are_noted_with_their_ports() {
        let actions = vec![Action::output(PortNo(10))];
        let packet = PacketOut { buffer_id: NO_BUFFER, in_port: port::CONTROLLER, actions, data: vec![1, 2] };
        let (noted, answer) = ask(Message::PacketOut(packet));
        assert_eq!(noted, Noted::Packet { ports: vec![PortNo(10)], data: vec![1, 2] });
        assert_eq!(answer, None);
    }
}
