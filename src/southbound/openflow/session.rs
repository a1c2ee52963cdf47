//! One OpenFlow connection as a machine without sockets or clock (docs/OPENFLOW.md, "Session").
//!
//! Bytes and the time go in; bytes and [`SessionEvent`]s come out. Everything it keeps is bounded by
//! [`SessionSettings`]: no peer, however broken, makes it grow or hang.

use std::collections::{HashMap, VecDeque};

use std::time::Duration;

use super::counters::SessionCounters;
use super::errors::{code, error_text};
use super::handshake::Gathered;
use super::multipart::{Assembly, AssemblyError};
use super::vocabulary::{Answer, CloseReason, Owner, Phase, RequestError, SendError, SessionEvent, SessionSettings};
use crate::southbound::gate::spread;
use crate::southbound::{Port, SessionRole};
use crate::types::{DatapathId, Timestamp};
use crate::wire::openflow::{
    BundleAdd, DecodeError, ErrorMessage, Experimenter, Frame, Hello, Message, MultipartReply, PortDescription,
    port_bits,
};

/// Wire version of OpenFlow 1.3, the only one spoken.
pub(super) const VERSION: u8 = 4;
const HEADER_BYTES: usize = 8;
/// A HELLO is 16 bytes; more than this before it is no OpenFlow switch.
const HELLO_BYTES_MAX: usize = 1_024;
/// An ERROR quotes so much of the message it is about (section 7.4.4 asks for at least 64).
const ERROR_DATA_BYTES: usize = 64;
/// Port changes kept while the handshake is under way. A switch with more is broken: later ones are dropped, and
/// counted, because the ports are described afterwards anyway.
const HELD_MAX: usize = 1_024;
/// Types up to here are defined by OpenFlow 1.3 (METER_MOD is 29).
const MESSAGE_TYPE_MAX: u8 = 29;
/// Outstanding requests that a session keeps room for after a barrier.
const OUTSTANDING_KEPT: usize = 16;
/// Room for input that an idle session may keep.
const INPUT_KEPT_BYTES: usize = 4_096;
const TYPE_HELLO: u8 = 0;
const TYPE_ERROR: u8 = 1;

#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) owner: Owner,
    pub(super) awaits: Awaits,
}

#[derive(Debug)]
pub(super) enum Awaits {
    /// Silence is success: settled by the next barrier.
    Barrier,
    BarrierReply,
    RoleReply,
    BundleReply,
    AsyncReply,
    Multipart(Box<Assembly>),
}

/// For a peer that waits for HELLO before it sends its own. Until then the peer goes first: Mininet asks by telnet whether
/// a controller is there, and what telnet is told in that moment now and then makes it wait for ever.
const GREETING_DELAY: Duration = Duration::from_millis(250);

/// The machine. `receive`, `tick` and `request` change it; `poll_output` and `poll_event` empty it.
#[derive(Debug)]
pub struct Session {
    pub(super) settings: SessionSettings,
    pub(super) phase: Phase,
    /// HELLO was sent.
    greeted: bool,
    input: Vec<u8>,
    output: Vec<u8>,
    pub(super) events: VecDeque<SessionEvent>,
    pub(super) outstanding: HashMap<u32, Outstanding>,
    /// Order of the requests that may be forgotten.
    forgettable: VecDeque<u32>,
    next_xid: u32,
    pub(super) gathered: Gathered,
    pub(super) role: SessionRole,
    started: Timestamp,
    last_received: Timestamp,
    /// The unanswered echo request, and when it was sent.
    echo: Option<(u32, Timestamp)>,
    /// When the next one is sent.
    echo_due: Timestamp,
    pub(super) counters: SessionCounters,
}

impl Session {
    /// A new connection. HELLO goes out with the peer's first byte, or a little later by itself.
    pub fn new(settings: SessionSettings, now: Timestamp) -> Self {
        Self {
            settings,
            phase: Phase::Hello,
            greeted: false,
            input: Vec::new(),
            output: Vec::new(),
            events: VecDeque::new(),
            outstanding: HashMap::new(),
            forgettable: VecDeque::new(),
            next_xid: 1,
            gathered: Gathered::default(),
            role: SessionRole::Equal,
            started: now,
            last_received: now,
            echo: None,
            echo_due: now,
            counters: SessionCounters::default(),
        }
    }

    fn greet(&mut self) {
        if !self.greeted {
            self.greeted = true;
            self.send(Message::Hello(Hello { versions: Some(1 << VERSION) }));
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    pub fn counters(&self) -> SessionCounters {
        self.counters
    }

    /// What this controller is to the switch, as far as that is known.
    pub fn role(&self) -> SessionRole {
        self.role
    }

    /// Known from FEATURES on.
    pub fn datapath(&self) -> Option<DatapathId> {
        self.gathered.datapath
    }

    /// Bytes that wait for the socket.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Everything that is to be written now. Whoever takes it writes it before asking again, so that the bound on
    /// what waits here bounds the memory of a slow peer.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output))
    }

    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// When [`Session::tick`] has something to do at the latest.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Closed => None,
            Phase::Up | Phase::Auxiliary => Some(match self.echo {
                // Whatever comes is a sign of life.
                Some((_, sent)) => sent.max(self.last_received) + self.settings.echo_timeout,
                None => self.echo_due,
            }),
            Phase::Hello if !self.greeted => Some(self.started + GREETING_DELAY),
            Phase::Hello | Phase::Features | Phase::Describe => Some(self.started + self.settings.handshake_timeout),
        }
    }

    /// Acts on what is due at `now`.
    pub fn tick(&mut self, now: Timestamp) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match (self.phase, self.echo) {
            (Phase::Hello, _) if !self.greeted => self.greet(),
            (Phase::Up | Phase::Auxiliary, None) => self.ask_echo(now),
            (Phase::Up | Phase::Auxiliary, Some(_)) => {
                self.close(CloseReason::Dead { limit: self.settings.echo_timeout });
            }
            (phase, _) => {
                self.close(CloseReason::HandshakeTimeout { limit: self.settings.handshake_timeout, phase });
            }
        }
    }

    /// Asks for an echo at once, where none is awaited: is the peer alive?
    pub fn ask_echo(&mut self, now: Timestamp) {
        if matches!(self.phase, Phase::Up | Phase::Auxiliary) && self.echo.is_none() {
            let xid = self.take_xid();
            self.echo = Some((xid, now));
            self.echo_due = now + self.settings.echo_interval;
            self.send_as(xid, Message::EchoRequest(Vec::new()));
        }
    }

    /// The first echo of a session; the one after it comes earlier than usual, so that the echoes of switches that
    /// came together fall apart.
    pub(super) fn begin_echoes(&mut self, datapath: DatapathId) {
        let now = self.last_received;
        self.ask_echo(now);
        let half = self.settings.echo_interval / 2;
        self.echo_due = now + half + spread(datapath, half);
    }

    fn take_echo(&mut self, xid: u32) {
        match self.echo.take() {
            Some((asked, sent)) if asked == xid => {
                let took: Duration = self.last_received.since(sent);
                self.events.push_back(SessionEvent::RoundTrip { took });
            }
            // An answer to something else is a sign of life all the same.
            Some(_) | None => self.counters.late_answers += 1,
        }
    }

    /// Ends the session. The first reason stays; the output that is left may still be written.
    pub fn close(&mut self, reason: CloseReason) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.input = Vec::new();
            self.outstanding.clear();
            self.forgettable.clear();
            self.events.push_back(SessionEvent::Closed { reason });
        }
    }

    /// Sends a message and remembers it under the returned xid until its answer, its error or a barrier comes.
    pub fn request(&mut self, owner: Owner, message: Message) -> Result<u32, SendError> {
        self.submit(owner, |_| message)
    }

    /// Adds a message to a bundle that is open.
    pub fn request_in_bundle(
        &mut self,
        owner: Owner,
        bundle_id: u32,
        flags: u16,
        message: Message,
    ) -> Result<u32, SendError> {
        self.submit(owner, |xid| {
            let message = Frame { version: VERSION, xid, message };
            let add = BundleAdd { bundle_id, flags, message, properties: Vec::new() };
            Message::Experimenter(Experimenter::BundleAdd(Box::new(add)))
        })
    }

    fn submit(&mut self, owner: Owner, message: impl FnOnce(u32) -> Message) -> Result<u32, SendError> {
        if self.phase != Phase::Up {
            return Err(SendError::NotUp);
        }
        let xid = self.take_xid();
        let message = message(xid);
        let forgettable = matches!(owner, Owner::Packet | Owner::Housekeeping | Owner::Ordering | Owner::Setup)
            && !matches!(message, Message::MultipartRequest(_));
        if !forgettable && self.outstanding.len() >= self.settings.outstanding_max + self.forgettable.len() {
            return Err(SendError::Full { max: self.settings.outstanding_max });
        }
        let awaits = match &message {
            Message::MultipartRequest(request) => Awaits::Multipart(Box::new(Assembly::expecting(&request.body))),
            Message::BarrierRequest => Awaits::BarrierReply,
            Message::GetAsyncRequest => Awaits::AsyncReply,
            Message::Experimenter(Experimenter::BundleControl(_)) => Awaits::BundleReply,
            _ => Awaits::Barrier,
        };
        let bytes = Frame { version: VERSION, xid, message }.encode()?;
        self.outstanding.insert(xid, Outstanding { owner, awaits });
        if forgettable {
            self.forgettable.push_back(xid);
            if self.forgettable.len() > self.settings.forgettable_max
                && let Some(oldest) = self.forgettable.pop_front()
            {
                self.outstanding.remove(&oldest);
            }
        }
        self.push_output(&bytes);
        Ok(xid)
    }

    /// Gives a request up: its answer, should it still come, is late.
    pub fn forget(&mut self, xid: u32) {
        self.outstanding.remove(&xid);
    }

    /// Takes bytes as they came, in whatever pieces.
    pub fn receive(&mut self, bytes: &[u8], now: Timestamp) {
        if self.phase == Phase::Closed {
            return;
        }
        self.greet();
        self.counters.bytes_in += bytes.len() as u64;
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut used = 0;
        while self.phase != Phase::Closed
            && let Some(length) = self.frame_length(&input[used..])
        {
            let Some(raw) = input.get(used..used + length) else { break };
            used += length;
            self.counters.frame_in(raw[1]);
            self.last_received = now;
            self.take_frame(raw);
        }
        if self.phase != Phase::Closed {
            input.drain(..used);
            // What a long answer needed once is not kept for every session.
            if input.is_empty() && input.capacity() > INPUT_KEPT_BYTES {
                input = Vec::new();
            }
            self.input = input;
        }
    }

    /// Length of the frame that `rest` starts with, once its header is there and sound. Without a sound length the
    /// stream cannot be followed any more: that closes the session.
    fn frame_length(&mut self, rest: &[u8]) -> Option<usize> {
        let header: &[u8; HEADER_BYTES] = rest.first_chunk()?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let max = match self.phase {
            Phase::Hello => HELLO_BYTES_MAX.min(self.settings.frame_bytes_max),
            _ => self.settings.frame_bytes_max,
        };
        if (HEADER_BYTES..=max).contains(&length) {
            return Some(length);
        }
        self.send_error(header, code::BAD_REQUEST, code::BAD_LEN, rest);
        self.close(CloseReason::FrameLength { min: HEADER_BYTES, max, came: length });
        None
    }

    fn take_frame(&mut self, raw: &[u8]) {
        let header: &[u8; HEADER_BYTES] = raw.first_chunk().expect("a frame is never shorter than its header");
        let [version, message_type, ..] = *header;
        if self.phase == Phase::Hello && !matches!(message_type, TYPE_HELLO | TYPE_ERROR) {
            self.send_error(header, code::BAD_REQUEST, code::BAD_TYPE, raw);
            return self.close(CloseReason::NotHello { message_type });
        }
        if version != VERSION && !matches!(message_type, TYPE_HELLO | TYPE_ERROR) {
            let why = format!("expected version {VERSION}, came {version}");
            return self.malformed(raw, (code::BAD_REQUEST, code::BAD_VERSION), why);
        }
        match Frame::decode(raw) {
            Ok(frame) => self.take_message(frame, raw),
            Err(error) => self.undecodable(raw, error),
        }
    }

    fn undecodable(&mut self, raw: &[u8], error: DecodeError) {
        let header: &[u8; HEADER_BYTES] = raw.first_chunk().expect("a frame is never shorter than its header");
        let xid = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        const MULTIPART_REPLY: u8 = 19;
        let proper = error.error_code();
        let text = error.to_string();
        // An answer that cannot be read will not come again: whoever waits for it must know.
        if header[1] == MULTIPART_REPLY
            && let Some(request) = self.outstanding.remove(&xid)
        {
            self.fail(xid, request.owner, RequestError::Malformed(error));
        }
        self.malformed(raw, proper, text);
    }

    /// Answers a malformed frame with the error that fits, counts it, and gives up on a peer that sends too many.
    fn malformed(&mut self, raw: &[u8], (error_type, code): (u16, u16), why: String) {
        let header: &[u8; HEADER_BYTES] = raw.first_chunk().expect("a frame is never shorter than its header");
        self.counters.malformed += 1;
        // An error about an error could go back and forth for ever.
        if header[1] != TYPE_ERROR {
            self.send_error(header, error_type, code, raw);
        }
        if !matches!(self.phase, Phase::Up | Phase::Auxiliary) {
            self.close(CloseReason::Handshake { why });
        } else if self.counters.malformed > self.settings.malformed_max {
            self.close(CloseReason::TooManyMalformed { max: self.settings.malformed_max, last: why });
        }
    }

    fn take_message(&mut self, frame: Frame, raw: &[u8]) {
        let xid = frame.xid;
        match frame.message {
            Message::Hello(hello) => self.take_hello(&hello, frame.version, xid),
            Message::Error(error) => self.take_error(xid, &error),
            Message::EchoRequest(data) => self.send_as(xid, Message::EchoReply(data)),
            Message::EchoReply(_) => self.take_echo(xid),
            Message::FeaturesReply(features) => self.take_features(&features),
            Message::MultipartReply(reply) => self.take_part(xid, reply, raw),
            Message::BarrierReply => self.take_barrier(xid),
            Message::RoleReply(role) => self.take_role(xid, role),
            Message::PortStatus(_) | Message::PacketIn(_) | Message::FlowRemoved(_) => self.told(frame.message),
            Message::Experimenter(Experimenter::RoleStatus(status)) if self.phase == Phase::Up => {
                self.take_role_status(status);
            }
            Message::Experimenter(Experimenter::BundleControl(control)) => {
                self.take_answer(xid, |awaits| matches!(awaits, Awaits::BundleReply), Answer::Bundle(control));
            }
            Message::GetAsyncReply(config) => {
                self.take_answer(xid, |awaits| matches!(awaits, Awaits::AsyncReply), Answer::Async(config));
            }
            Message::GetConfigReply(_) | Message::Experimenter(_) | Message::QueueGetConfigReply(_) => {}
            Message::Other { message_type, .. } if message_type <= MESSAGE_TYPE_MAX => {}
            Message::Other { message_type, .. } => {
                let why = format!("expected a type OpenFlow 1.3 knows, came {message_type}");
                self.malformed(raw, (code::BAD_REQUEST, code::BAD_TYPE), why);
            }
            _ => {
                let why = format!("expected what a switch sends, came message type {}", raw[1]);
                self.malformed(raw, (code::BAD_REQUEST, code::BAD_TYPE), why);
            }
        }
    }

    /// What a switch says of its own accord.
    fn told(&mut self, message: Message) {
        match (message, self.phase) {
            (Message::PortStatus(status), Phase::Up) => self.events.push_back(SessionEvent::PortStatus(status)),
            (Message::PortStatus(status), Phase::Features | Phase::Describe) if self.gathered.held.len() < HELD_MAX => {
                self.gathered.held.push(status);
            }
            (Message::PacketIn(packet), Phase::Up | Phase::Auxiliary) => {
                self.events.push_back(SessionEvent::PacketIn(packet));
            }
            (Message::FlowRemoved(flow), Phase::Up | Phase::Auxiliary) => {
                self.events.push_back(SessionEvent::FlowRemoved(flow));
            }
            _ => self.counters.dropped_early += 1,
        }
    }

    fn take_error(&mut self, xid: u32, error: &ErrorMessage) {
        let refused = RequestError::Refused { error_type: error.error_type, code: error.code };
        if matches!(self.phase, Phase::Hello | Phase::Features) {
            let text: String =
                String::from_utf8_lossy(&error.data).chars().filter(|c| !c.is_control()).take(200).collect();
            let text = match error.error_type {
                code::HELLO_FAILED => format!("{}: {text}", error_text(error.error_type, error.code)),
                _ => error_text(error.error_type, error.code),
            };
            return self.close(CloseReason::RefusedByPeer { text });
        }
        match self.outstanding.remove(&xid) {
            Some(Outstanding { awaits: Awaits::RoleReply, .. }) => self.role_refused(error),
            Some(request) => self.fail(xid, request.owner, refused),
            None => self.counters.untied_errors += 1,
        }
    }

    pub(super) fn fail(&mut self, xid: u32, owner: Owner, error: RequestError) {
        match owner {
            Owner::Session => self.handshake_refused(&error),
            _ => self.events.push_back(SessionEvent::Failed { xid, owner, error }),
        }
    }

    fn take_part(&mut self, xid: u32, reply: MultipartReply, raw: &[u8]) {
        let Some(request) = self.outstanding.get_mut(&xid) else {
            self.counters.late_answers += 1;
            return;
        };
        let Awaits::Multipart(assembly) = &mut request.awaits else {
            self.counters.late_answers += 1;
            return;
        };
        let more = reply.more;
        let added = assembly.add(reply.body, raw.len(), self.settings.multipart_bytes_max);
        if more && added.is_ok() {
            return;
        }
        let Some(Outstanding { owner, awaits: Awaits::Multipart(assembly) }) = self.outstanding.remove(&xid) else {
            return;
        };
        match (added, assembly.finish()) {
            (Ok(()), Some(body)) => self.answered(xid, owner, body),
            (Ok(()), None) => self.counters.late_answers += 1,
            (Err(error), _) => {
                let mismatch = matches!(error, AssemblyError::Kind { .. });
                let why = error.to_string();
                self.fail(xid, owner, RequestError::Unusable(error));
                if mismatch {
                    self.malformed(raw, (code::BAD_REQUEST, code::BAD_MULTIPART), why);
                }
            }
        }
    }

    /// An answer of one message, which belongs to a request of its kind.
    fn take_answer(&mut self, xid: u32, is_meant: fn(&Awaits) -> bool, answer: Answer) {
        match self.outstanding.get(&xid) {
            Some(request) if is_meant(&request.awaits) => {
                let owner = request.owner;
                self.outstanding.remove(&xid);
                self.events.push_back(SessionEvent::Answered { xid, owner, answer });
            }
            Some(_) | None => self.counters.late_answers += 1,
        }
    }

    /// A barrier's reply settles everything that was sent before it: what has not failed by now has succeeded.
    fn take_barrier(&mut self, xid: u32) {
        let Some(Outstanding { owner, awaits: Awaits::BarrierReply }) = self.outstanding.get(&xid) else {
            self.counters.late_answers += 1;
            return;
        };
        let owner = *owner;
        self.outstanding.remove(&xid);
        self.outstanding.retain(|sent, request| {
            let before = xid.wrapping_sub(*sent) < u32::MAX / 2;
            !(before && matches!(request.awaits, Awaits::Barrier))
        });
        self.forgettable.retain(|sent| self.outstanding.contains_key(sent));
        // What a large installation needed is not needed afterwards.
        self.outstanding.shrink_to(OUTSTANDING_KEPT);
        self.events.push_back(SessionEvent::Answered { xid, owner, answer: Answer::Barrier });
    }

    /// Never 0, which some switches use for what nobody asked for.
    pub(super) fn take_xid(&mut self) -> u32 {
        let xid = self.next_xid;
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        xid
    }

    pub(super) fn send(&mut self, message: Message) {
        let xid = self.take_xid();
        self.send_as(xid, message);
    }

    pub(super) fn send_as(&mut self, xid: u32, message: Message) {
        self.push_frame(&Frame { version: VERSION, xid, message });
    }

    fn send_error(&mut self, header: &[u8; HEADER_BYTES], error_type: u16, code: u16, about: &[u8]) {
        let xid = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let data = about[..about.len().min(ERROR_DATA_BYTES)].to_vec();
        self.send_as(xid, Message::Error(ErrorMessage { error_type, code, data }));
    }

    pub(super) fn push_frame(&mut self, frame: &Frame) {
        // Only messages that this machine makes itself come here. The longest carries the data of a received frame.
        match frame.encode() {
            Ok(bytes) => self.push_output(&bytes),
            Err(error) => self.close(CloseReason::Transport(format!("cannot answer: {error}"))),
        }
    }

    fn push_output(&mut self, bytes: &[u8]) {
        self.counters.frame_out(bytes.get(1).copied().unwrap_or_default(), bytes.len());
        self.output.extend_from_slice(bytes);
        if self.output.len() > self.settings.output_bytes_max {
            self.close(CloseReason::NotReading { bytes: self.output.len() });
        }
    }
}

/// A port as the upper layers see it.
pub(super) fn to_port(port: &PortDescription) -> Port {
    Port {
        number: port.port_no,
        mac: port.hw_addr,
        name: port.name.clone(),
        up: port.config & port_bits::CONFIG_PORT_DOWN == 0 && port.state & port_bits::STATE_LINK_DOWN == 0,
        speed_kbps: port.current_speed_kbps,
    }
}
