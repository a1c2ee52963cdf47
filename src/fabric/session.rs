//! The switch's side of an OpenFlow session: messages of the controller in, answers out. No sockets, no clock.
//!
//! ```text
//!            open()            HELLO with 1.3
//!  Greeting ────────▶ HELLO ──────────────────▶ Ready ──▶ requests, each answered or refused with its own error
//!                                │ HELLO without 1.3
//!                                ▼
//!                        ERROR 0/0, then closed
//! ```

use super::switch::{Effect, Refusal, Switch, TABLES};
use crate::types::Timestamp;
use crate::wire::openflow::{
    DecodeError, ErrorMessage, Features, Frame, Hello, Message, MultipartReplyBody, MultipartRequest,
    MultipartRequestBody, Role, SwitchConfig, SwitchDescription,
};

/// Wire version of OpenFlow 1.3.
const VERSION: u8 = 4;
/// Bytes of a refused message that its error carries (section 7.5.4 asks for 64 at least).
const ERROR_DATA_BYTES: usize = 64;
/// `OFPC_FLOW_STATS | OFPC_TABLE_STATS | OFPC_PORT_STATS | OFPC_GROUP_STATS`.
const CAPABILITIES: u32 = 0b1111;

const BAD_REQUEST: u16 = 1;
/// Roles (section 7.3.9).
mod role {
    pub(super) const NO_CHANGE: u32 = 0;
    pub(super) const EQUAL: u32 = 1;
    pub(super) const MASTER: u32 = 2;
    pub(super) const SLAVE: u32 = 3;
}

/// Why the session must end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("expected a controller that speaks OpenFlow 1.3, came versions {came:#x}")]
    Version { came: u64 },
    #[error("expected HELLO from the controller first, came {came}")]
    NoHello { came: &'static str },
}

/// One session of an emulated switch with a controller.
#[derive(Debug)]
pub struct Session {
    ready: bool,
    role: u32,
    /// Newest generation id that a role request gave.
    generation: Option<u64>,
    config: SwitchConfig,
    next_xid: u32,
    description: SwitchDescription,
}

impl Session {
    /// `name` is what the switch calls itself in its description.
    pub fn new(name: &str) -> Self {
        Self {
            ready: false,
            role: role::EQUAL,
            generation: None,
            config: SwitchConfig { flags: 0, miss_send_len: 128 },
            next_xid: 1,
            description: SwitchDescription {
                manufacturer: "Foreshadow".to_owned(),
                hardware: "Emulated switch".to_owned(),
                software: env!("CARGO_PKG_VERSION").to_owned(),
                serial: "None".to_owned(),
                datapath: name.to_owned(),
            },
        }
    }

    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// What to send once connected; forgets everything about an earlier connection.
    pub fn open(&mut self) -> Frame {
        self.ready = false;
        self.role = role::EQUAL;
        self.push(Message::Hello(Hello { versions: Some(1 << VERSION) }))
    }

    /// Takes one whole message. Its answers are appended to `answers`; what it makes the switch do, to `effects`.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        switch: &mut Switch,
        now: Timestamp,
        answers: &mut Vec<Frame>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), SessionError> {
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::debug!(datapath = %switch.datapath(), %error, "refused a message");
                answers.push(refusal(xid_of(bytes), &undecodable(&error), bytes));
                return Ok(());
            }
        };
        if let Message::Hello(hello) = &frame.message {
            return self.hello(hello, &frame, bytes, answers);
        }
        if !self.ready && !matches!(frame.message, Message::Error(_) | Message::EchoRequest(_)) {
            return Err(SessionError::NoHello { came: frame.message.name() });
        }
        let xid = frame.xid;
        match self.request(frame.message, switch, now, effects) {
            Ok(messages) => answers.extend(messages.into_iter().map(|message| Frame::new(xid, message))),
            Err(refused) => {
                tracing::debug!(datapath = %switch.datapath(), error = %refused, "refused a request");
                answers.push(refusal(xid, &refused, bytes));
            }
        }
        Ok(())
    }

    /// The message that tells the controller of something the switch did by itself; `None` for what it need not know.
    pub fn report(&mut self, effect: &Effect) -> Option<Frame> {
        if !self.ready {
            return None;
        }
        // A slave hears of ports only (section 6.3.6).
        let is_slave = self.role == role::SLAVE;
        let message = match effect {
            Effect::PortStatus(status) => Message::PortStatus(status.clone()),
            Effect::PacketIn(packet) if !is_slave => Message::PacketIn(packet.clone()),
            Effect::FlowRemoved(removed) if !is_slave => Message::FlowRemoved(removed.clone()),
            _ => return None,
        };
        Some(self.push(message))
    }

    /// A message of the switch's own.
    fn push(&mut self, message: Message) -> Frame {
        let xid = self.next_xid;
        self.next_xid = self.next_xid.wrapping_add(1);
        Frame::new(xid, message)
    }

    /// With bitmaps on both sides a common bit decides, otherwise the lower version does (section 6.3.1).
    fn hello(
        &mut self,
        hello: &Hello,
        frame: &Frame,
        bytes: &[u8],
        answers: &mut Vec<Frame>,
    ) -> Result<(), SessionError> {
        let fits = match hello.versions {
            Some(versions) => versions & (1 << VERSION) != 0,
            None => frame.version >= VERSION,
        };
        if !fits {
            answers.push(refusal(frame.xid, &Refusal { error_type: 0, code: 0, reason: "no common version" }, bytes));
            return Err(SessionError::Version { came: hello.versions.unwrap_or(1 << frame.version.min(63)) });
        }
        self.ready = true;
        Ok(())
    }

    fn request(
        &mut self,
        message: Message,
        switch: &mut Switch,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Message>, Refusal> {
        let writes = matches!(message, Message::FlowMod(_) | Message::GroupMod(_) | Message::PacketOut(_));
        if writes && self.role == role::SLAVE {
            return Err(Refusal { error_type: BAD_REQUEST, code: 10, reason: "a slave may not write" });
        }
        let answer = match message {
            Message::EchoRequest(data) => Message::EchoReply(data),
            Message::FeaturesRequest => Message::FeaturesReply(Features {
                datapath_id: switch.datapath().0,
                n_buffers: 0,
                n_tables: TABLES,
                auxiliary_id: 0,
                capabilities: CAPABILITIES,
                reserved: 0,
            }),
            Message::GetConfigRequest => Message::GetConfigReply(self.config),
            Message::BarrierRequest => Message::BarrierReply,
            Message::RoleRequest(request) => Message::RoleReply(self.change_role(request)?),
            Message::MultipartRequest(request) => return self.multipart(&request, switch, now),
            Message::SetConfig(config) => {
                self.config = config;
                return Ok(Vec::new());
            }
            Message::FlowMod(request) => return switch.flow_mod(&request, now, effects).map(|()| Vec::new()),
            Message::GroupMod(request) => return switch.group_mod(&request, now, effects).map(|()| Vec::new()),
            Message::PacketOut(request) => return switch.packet_out(&request, now, effects).map(|()| Vec::new()),
            // Answers to nothing that was asked, and errors about what was never sent, are let go.
            Message::EchoReply(_) | Message::Error(_) => return Ok(Vec::new()),
            Message::Experimenter(_) => {
                return Err(Refusal { error_type: BAD_REQUEST, code: 3, reason: "experimenter is not known" });
            }
            _ => return Err(Refusal { error_type: BAD_REQUEST, code: 1, reason: "type of message is not known" }),
        };
        Ok(vec![answer])
    }

    fn change_role(&mut self, request: Role) -> Result<Role, Refusal> {
        if matches!(request.role, role::MASTER | role::SLAVE) {
            // Distance modulo 2^64, as section 6.3.7 has it: an older election lost.
            let stale = self.generation.is_some_and(|known| (request.generation_id.wrapping_sub(known) as i64) < 0);
            if stale {
                return Err(Refusal { error_type: 11, code: 0, reason: "generation id is stale" });
            }
            self.generation = Some(request.generation_id);
        }
        match request.role {
            role::NO_CHANGE => {}
            role::EQUAL | role::MASTER | role::SLAVE => self.role = request.role,
            _ => return Err(Refusal { error_type: 11, code: 2, reason: "role is not known" }),
        }
        Ok(Role { role: self.role, generation_id: self.generation.unwrap_or(u64::MAX) })
    }

    fn multipart(
        &self,
        request: &MultipartRequest,
        switch: &mut Switch,
        now: Timestamp,
    ) -> Result<Vec<Message>, Refusal> {
        if request.more {
            return Err(Refusal { error_type: BAD_REQUEST, code: 13, reason: "requests in parts are not taken" });
        }
        let body = match &request.body {
            MultipartRequestBody::Description => MultipartReplyBody::Description(self.description.clone()),
            MultipartRequestBody::Flow(wanted) => MultipartReplyBody::Flow(switch.flow_stats(wanted, now)?),
            MultipartRequestBody::Aggregate(wanted) => MultipartReplyBody::Aggregate(switch.aggregate(wanted)?),
            MultipartRequestBody::PortStats(port) => MultipartReplyBody::PortStats(switch.port_stats(*port, now)?),
            MultipartRequestBody::GroupStats(group) => MultipartReplyBody::GroupStats(switch.group_stats(*group, now)),
            MultipartRequestBody::GroupDescription => MultipartReplyBody::GroupDescription(switch.group_descriptions()),
            MultipartRequestBody::PortDescription => MultipartReplyBody::PortDescription(switch.port_descriptions()),
            _ => {
                return Err(Refusal { error_type: BAD_REQUEST, code: 2, reason: "multipart type is not known" });
            }
        };
        // What the switch holds came over the wire, so it fits it.
        let parts =
            body.split().map_err(|_| Refusal { error_type: BAD_REQUEST, code: 6, reason: "answer is too long" })?;
        Ok(parts.into_iter().map(Message::MultipartReply).collect())
    }
}

fn undecodable(error: &DecodeError) -> Refusal {
    let (error_type, code) = error.error_code();
    Refusal { error_type, code, reason: "message cannot be read" }
}

fn xid_of(bytes: &[u8]) -> u32 {
    bytes.get(4..8).and_then(|xid| xid.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn refusal(xid: u32, refused: &Refusal, request: &[u8]) -> Frame {
    let data = request[..request.len().min(ERROR_DATA_BYTES)].to_vec();
    Frame::new(xid, Message::Error(ErrorMessage { error_type: refused.error_type, code: refused.code, data }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::switch::SwitchPort;
    use crate::types::{DatapathId, MacAddr, PortNo};
    use crate::wire::openflow::*;

    struct Bench {
        switch: Switch,
        session: Session,
        effects: Vec<Effect>,
    }

    impl Bench {
        fn new() -> Self {
            let ports = (1..=3).map(|n| SwitchPort::new(PortNo(n), MacAddr([2, 0, 0, 0, 0, n as u8]), "port"));
            let mut session = Session::new("s1");
            session.open();
            Self { switch: Switch::new(DatapathId(0x51), ports), session, effects: Vec::new() }
        }
        fn ready() -> Self {
            let mut bench = Self::new();
            assert_eq!(bench.ask(Message::Hello(Hello { versions: Some(0x10) })), Ok(vec![]));
            bench
        }
        fn ask(&mut self, message: Message) -> Result<Vec<Message>, SessionError> {
            self.bytes(&Frame::new(77, message).encode().unwrap())
        }
        fn bytes(&mut self, bytes: &[u8]) -> Result<Vec<Message>, SessionError> {
            let mut answers = Vec::new();
            let now = Timestamp::from_secs(1);
            self.session.receive(bytes, &mut self.switch, now, &mut answers, &mut self.effects)?;
            assert!(answers.iter().all(|frame| frame.xid == 77), "{answers:?}");
            let decode = |frame: Frame| Frame::decode(&frame.encode().unwrap()).unwrap().message;
            Ok(answers.into_iter().map(decode).collect())
        }
        fn error(&mut self, message: Message) -> (u16, u16) {
            match &self.ask(message).unwrap()[..] {
                [Message::Error(error)] => (error.error_type, error.code),
                other => panic!("expected an error, came {other:?}"),
            }
        }
    }

    fn flow(priority: u16) -> FlowMod {
        FlowMod {
            cookie: 1,
            cookie_mask: 0,
            table_id: 0,
            command: FlowModCommand::Add,
            idle_timeout: 0,
            hard_timeout: 0,
            priority,
            buffer_id: NO_BUFFER,
            out_port: port::ANY,
            out_group: group::ANY,
            flags: 0,
            matching: Match::any(),
            instructions: vec![Instruction::ApplyActions(vec![Action::output(PortNo(2))])],
        }
    }

    fn flow_stats() -> MultipartRequestBody {
        MultipartRequestBody::Flow(FlowStatsRequest {
            table_id: TABLE_ALL,
            out_port: port::ANY,
            out_group: group::ANY,
            cookie: 0,
            cookie_mask: 0,
            matching: Match::any(),
        })
    }

    #[test]
    fn versions_are_agreed_on_or_the_session_ends() {
        assert!(Bench::new().ask(Message::Hello(Hello { versions: None })).is_ok());
        assert!(Bench::new().ask(Message::Hello(Hello { versions: Some(0x72) })).is_ok());
        let refused = Bench::new().ask(Message::Hello(Hello { versions: Some(0x02) }));
        assert_eq!(refused, Err(SessionError::Version { came: 2 }));
        assert_eq!(Bench::new().ask(Message::FeaturesRequest), Err(SessionError::NoHello { came: "FEATURES_REQUEST" }));
    }

    #[test]
    fn every_request_has_its_answer() {
        let mut bench = Bench::ready();
        assert_eq!(bench.ask(Message::EchoRequest(vec![1, 2])).unwrap(), [Message::EchoReply(vec![1, 2])]);
        assert_eq!(bench.ask(Message::BarrierRequest).unwrap(), [Message::BarrierReply]);
        let features = bench.ask(Message::FeaturesRequest).unwrap();
        assert!(matches!(&features[..], [Message::FeaturesReply(f)] if f.datapath_id == 0x51 && f.n_tables == 254));
        let ask = |body| Message::MultipartRequest(MultipartRequest { more: false, body });
        let ports = bench.ask(ask(MultipartRequestBody::PortDescription)).unwrap();
        let [Message::MultipartReply(MultipartReply { more: false, body: MultipartReplyBody::PortDescription(list) })] =
            &ports[..]
        else {
            panic!("{ports:?}")
        };
        assert_eq!(list.len(), 3);
        for body in [
            MultipartRequestBody::Description,
            MultipartRequestBody::PortStats(port::ANY),
            MultipartRequestBody::GroupStats(group::ALL),
            MultipartRequestBody::GroupDescription,
            flow_stats(),
        ] {
            assert!(matches!(bench.ask(ask(body)).unwrap()[..], [Message::MultipartReply(_)]));
        }
    }

    #[test]
    fn long_answers_come_in_parts() {
        let mut bench = Bench::ready();
        for priority in 0..2_000 {
            assert_eq!(bench.ask(Message::FlowMod(flow(priority))), Ok(vec![]));
        }
        let request = MultipartRequest { more: false, body: flow_stats() };
        let answers = bench.ask(Message::MultipartRequest(request)).unwrap();
        let parts: Vec<_> = answers
            .iter()
            .map(|answer| match answer {
                Message::MultipartReply(MultipartReply { more, body: MultipartReplyBody::Flow(flows) }) => {
                    (*more, flows.len())
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(parts.len() > 1 && parts.iter().map(|(_, flows)| flows).sum::<usize>() == 2_000);
        assert_eq!(parts.iter().filter(|(more, _)| !more).count(), 1);
        assert!(!parts.last().unwrap().0);
    }

    #[test]
    fn refusals_name_their_request() {
        let mut bench = Bench::ready();
        let bad = FlowMod { table_id: 0xff, ..flow(1) };
        assert_eq!(bench.error(Message::FlowMod(bad)), (5, 2));
        assert_eq!(bench.error(Message::GetAsyncRequest), (1, 1));
        assert_eq!(bench.error(Message::Other { message_type: 29, body: vec![] }), (1, 6));
        assert_eq!(bench.error(Message::Other { message_type: 15, body: vec![0, 0, 9, 0, 0, 0, 0, 1] }), (6, 10));
        assert_eq!(bench.error(Message::Other { message_type: 4, body: vec![0; 8] }), (1, 3));
        let other = MultipartRequestBody::TableFeatures(vec![]);
        assert_eq!(bench.error(Message::MultipartRequest(MultipartRequest { more: false, body: other })), (1, 2));
        let mut torn = Frame::new(77, Message::FlowMod(flow(1))).encode().unwrap();
        torn.truncate(30);
        torn[3] = 30;
        let answers = bench.bytes(&torn).unwrap();
        assert!(
            matches!(&answers[..], [Message::Error(ErrorMessage { error_type: 1, code: 6, data })] if data[..] == torn[..])
        );
    }

    #[test]
    fn roles_are_kept_apart() {
        let mut bench = Bench::ready();
        let role = |role, generation_id| Message::RoleRequest(Role { role, generation_id });
        assert!(matches!(bench.ask(role(2, 5)).unwrap()[..], [Message::RoleReply(Role { role: 2, generation_id: 5 })]));
        assert_eq!(bench.error(role(3, 4)), (11, 0));
        assert!(bench.ask(role(3, 6)).is_ok());
        assert_eq!(bench.error(Message::FlowMod(flow(1))), (1, 10));
    }

    #[test]
    fn what_the_switch_does_by_itself_is_reported() {
        let mut bench = Bench::ready();
        let mut effects = Vec::new();
        bench.switch.set_port(PortNo(2), false, &mut effects);
        let reports: Vec<_> = effects.iter().filter_map(|effect| bench.session.report(effect)).collect();
        assert!(matches!(&reports[0].message, Message::PortStatus(status) if status.port.state & 1 == 1));
        let mut silent = Bench::new();
        assert!(effects.iter().all(|effect| silent.session.report(effect).is_none()), "nothing before HELLO");
    }
}
