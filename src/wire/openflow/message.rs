//! Messages (section 7) as values.

use bytes::BufMut;

use super::buffer::{Reader, fill_length};
use super::queue::{put_port, read_port};
use super::{
    AsyncConfig, DecodeError, EncodeError, ErrorMessage, Experimenter, Features, FlowMod, FlowRemoved, GroupMod, Hello,
    MeterMod, MultipartReply, MultipartRequest, PacketIn, PacketOut, PortMod, PortStatus, QueueConfig, Role,
    SwitchConfig, TableMod, VERSION,
};
use crate::types::PortNo;

/// A message with its transaction id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// As on the wire: 0x04, but HELLO may carry another, and ERROR the peer's.
    pub version: u8,
    pub xid: u32,
    pub message: Message,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Hello(Hello),
    Error(ErrorMessage),
    EchoRequest(Vec<u8>),
    EchoReply(Vec<u8>),
    Experimenter(Experimenter),
    FeaturesRequest,
    FeaturesReply(Features),
    GetConfigRequest,
    GetConfigReply(SwitchConfig),
    SetConfig(SwitchConfig),
    PacketIn(PacketIn),
    FlowRemoved(FlowRemoved),
    PortStatus(PortStatus),
    PacketOut(PacketOut),
    FlowMod(FlowMod),
    GroupMod(GroupMod),
    PortMod(PortMod),
    TableMod(TableMod),
    MultipartRequest(MultipartRequest),
    MultipartReply(MultipartReply),
    BarrierRequest,
    BarrierReply,
    /// The port whose queues are wanted, `port::ANY` for all.
    QueueGetConfigRequest(PortNo),
    QueueGetConfigReply(QueueConfig),
    RoleRequest(Role),
    RoleReply(Role),
    GetAsyncRequest,
    GetAsyncReply(AsyncConfig),
    SetAsync(AsyncConfig),
    MeterMod(MeterMod),
    /// Any other type, body as it came.
    Other {
        message_type: u8,
        body: Vec<u8>,
    },
}

/// `ofp_type`.
mod kind {
    pub(super) const HELLO: u8 = 0;
    pub(super) const ERROR: u8 = 1;
    pub(super) const ECHO_REQUEST: u8 = 2;
    pub(super) const ECHO_REPLY: u8 = 3;
    pub(super) const EXPERIMENTER: u8 = 4;
    pub(super) const FEATURES_REQUEST: u8 = 5;
    pub(super) const FEATURES_REPLY: u8 = 6;
    pub(super) const GET_CONFIG_REQUEST: u8 = 7;
    pub(super) const GET_CONFIG_REPLY: u8 = 8;
    pub(super) const SET_CONFIG: u8 = 9;
    pub(super) const PACKET_IN: u8 = 10;
    pub(super) const FLOW_REMOVED: u8 = 11;
    pub(super) const PORT_STATUS: u8 = 12;
    pub(super) const PACKET_OUT: u8 = 13;
    pub(super) const FLOW_MOD: u8 = 14;
    pub(super) const GROUP_MOD: u8 = 15;
    pub(super) const PORT_MOD: u8 = 16;
    pub(super) const TABLE_MOD: u8 = 17;
    pub(super) const MULTIPART_REQUEST: u8 = 18;
    pub(super) const MULTIPART_REPLY: u8 = 19;
    pub(super) const BARRIER_REQUEST: u8 = 20;
    pub(super) const BARRIER_REPLY: u8 = 21;
    pub(super) const QUEUE_GET_CONFIG_REQUEST: u8 = 22;
    pub(super) const QUEUE_GET_CONFIG_REPLY: u8 = 23;
    pub(super) const ROLE_REQUEST: u8 = 24;
    pub(super) const ROLE_REPLY: u8 = 25;
    pub(super) const GET_ASYNC_REQUEST: u8 = 26;
    pub(super) const GET_ASYNC_REPLY: u8 = 27;
    pub(super) const SET_ASYNC: u8 = 28;
    pub(super) const METER_MOD: u8 = 29;
}

impl Message {
    /// `ofp_type` on the wire.
    pub const fn message_type(&self) -> u8 {
        match self {
            Self::Hello(_) => kind::HELLO,
            Self::Error(_) => kind::ERROR,
            Self::EchoRequest(_) => kind::ECHO_REQUEST,
            Self::EchoReply(_) => kind::ECHO_REPLY,
            Self::Experimenter(_) => kind::EXPERIMENTER,
            Self::FeaturesRequest => kind::FEATURES_REQUEST,
            Self::FeaturesReply(_) => kind::FEATURES_REPLY,
            Self::GetConfigRequest => kind::GET_CONFIG_REQUEST,
            Self::GetConfigReply(_) => kind::GET_CONFIG_REPLY,
            Self::SetConfig(_) => kind::SET_CONFIG,
            Self::PacketIn(_) => kind::PACKET_IN,
            Self::FlowRemoved(_) => kind::FLOW_REMOVED,
            Self::PortStatus(_) => kind::PORT_STATUS,
            Self::PacketOut(_) => kind::PACKET_OUT,
            Self::FlowMod(_) => kind::FLOW_MOD,
            Self::GroupMod(_) => kind::GROUP_MOD,
            Self::PortMod(_) => kind::PORT_MOD,
            Self::TableMod(_) => kind::TABLE_MOD,
            Self::MultipartRequest(_) => kind::MULTIPART_REQUEST,
            Self::MultipartReply(_) => kind::MULTIPART_REPLY,
            Self::BarrierRequest => kind::BARRIER_REQUEST,
            Self::BarrierReply => kind::BARRIER_REPLY,
            Self::QueueGetConfigRequest(_) => kind::QUEUE_GET_CONFIG_REQUEST,
            Self::QueueGetConfigReply(_) => kind::QUEUE_GET_CONFIG_REPLY,
            Self::RoleRequest(_) => kind::ROLE_REQUEST,
            Self::RoleReply(_) => kind::ROLE_REPLY,
            Self::GetAsyncRequest => kind::GET_ASYNC_REQUEST,
            Self::GetAsyncReply(_) => kind::GET_ASYNC_REPLY,
            Self::SetAsync(_) => kind::SET_ASYNC,
            Self::MeterMod(_) => kind::METER_MOD,
            Self::Other { message_type, .. } => *message_type,
        }
    }

    pub(super) const fn is_bundle_add(&self) -> bool {
        matches!(self, Self::Experimenter(Experimenter::BundleAdd(_)))
    }

    /// The message's name in the specification, for logs and errors.
    pub const fn name(&self) -> &'static str {
        name_of(self.message_type())
    }
}

const fn name_of(message_type: u8) -> &'static str {
    match message_type {
        kind::HELLO => "HELLO",
        kind::ERROR => "ERROR",
        kind::ECHO_REQUEST => "ECHO_REQUEST",
        kind::ECHO_REPLY => "ECHO_REPLY",
        kind::EXPERIMENTER => "EXPERIMENTER",
        kind::FEATURES_REQUEST => "FEATURES_REQUEST",
        kind::FEATURES_REPLY => "FEATURES_REPLY",
        kind::GET_CONFIG_REQUEST => "GET_CONFIG_REQUEST",
        kind::GET_CONFIG_REPLY => "GET_CONFIG_REPLY",
        kind::SET_CONFIG => "SET_CONFIG",
        kind::PACKET_IN => "PACKET_IN",
        kind::FLOW_REMOVED => "FLOW_REMOVED",
        kind::PORT_STATUS => "PORT_STATUS",
        kind::PACKET_OUT => "PACKET_OUT",
        kind::FLOW_MOD => "FLOW_MOD",
        kind::GROUP_MOD => "GROUP_MOD",
        kind::PORT_MOD => "PORT_MOD",
        kind::TABLE_MOD => "TABLE_MOD",
        kind::MULTIPART_REQUEST => "MULTIPART_REQUEST",
        kind::MULTIPART_REPLY => "MULTIPART_REPLY",
        kind::BARRIER_REQUEST => "BARRIER_REQUEST",
        kind::BARRIER_REPLY => "BARRIER_REPLY",
        kind::QUEUE_GET_CONFIG_REQUEST => "QUEUE_GET_CONFIG_REQUEST",
        kind::QUEUE_GET_CONFIG_REPLY => "QUEUE_GET_CONFIG_REPLY",
        kind::ROLE_REQUEST => "ROLE_REQUEST",
        kind::ROLE_REPLY => "ROLE_REPLY",
        kind::GET_ASYNC_REQUEST => "GET_ASYNC_REQUEST",
        kind::GET_ASYNC_REPLY => "GET_ASYNC_REPLY",
        kind::SET_ASYNC => "SET_ASYNC",
        kind::METER_MOD => "METER_MOD",
        _ => "unknown message",
    }
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------+---------------+-------------------------------+
//    |    version    |      type     |             length            |
//    +---------------+---------------+-------------------------------+
//    |                              xid                              |
//    +---------------------------------------------------------------+
//    |                            body ...                           |
//    +---------------------------------------------------------------+

/// Bytes of the header of every message.
pub const HEADER_BYTES: usize = 8;
/// The most that the length field can say.
pub const MESSAGE_BYTES_MAX: usize = u16::MAX as usize;

/// What the first bytes of a stream hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// More must be read; `needed` bytes in all, as far as is known.
    Incomplete { needed: usize },
    /// One message of this many bytes.
    Complete(usize),
}

impl Framing {
    /// Looks at what a stream gave so far. A length below 8 or above `max` cannot be recovered from: where the next
    /// message starts is unknown, so the session ends.
    pub fn of(stream: &[u8], max: usize) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("message header", stream);
        if reader.len() < HEADER_BYTES {
            return Ok(Self::Incomplete { needed: HEADER_BYTES });
        }
        reader.skip(2)?;
        let length = usize::from(reader.u16()?);
        if length < HEADER_BYTES || length > max {
            let expected = "at least 8 and at most the bound of this session";
            return Err(DecodeError::Length { what: "message header", expected, came: length });
        }
        Ok(if stream.len() < length { Self::Incomplete { needed: length } } else { Self::Complete(length) })
    }
}

impl Frame {
    /// A message of version 1.3.
    pub const fn new(xid: u32, message: Message) -> Self {
        Self { version: VERSION, xid, message }
    }

    /// The bytes of this message.
    ///
    /// # Errors
    /// What the value says has no form on the wire: longer than 65,535 bytes (split it, see
    /// [`super::MultipartReplyBody::split`]), a value wider than its field, raw bytes that are no whole structure.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(128);
        self.encode_into(&mut out)?;
        Ok(out)
    }

    /// Appends the bytes of this message; on error `out` is as before.
    ///
    /// # Errors
    /// As [`Frame::encode`].
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u8(self.version);
        out.put_u8(self.message.message_type());
        out.put_u16(0);
        out.put_u32(self.xid);
        let encoded =
            self.message.encode_body(out).and_then(|()| fill_length(out, self.message.name(), start + 2, start));
        if encoded.is_err() {
            out.truncate(start);
        }
        encoded
    }

    /// Reads exactly one message. Never panics; allocates in proportion to `bytes`.
    ///
    /// # Errors
    /// What is not as the specification says, or a version other than 1.3 in any message but HELLO and ERROR.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_in(bytes, false)
    }

    /// The same for a message that a bundle's add carries.
    pub(super) fn decode_bundled(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_in(bytes, true)
    }

    fn decode_in(bytes: &[u8], bundled: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("message header", bytes);
        reader.need(HEADER_BYTES)?;
        let (version, message_type) = (reader.u8()?, reader.u8()?);
        let length = usize::from(reader.u16()?);
        let xid = reader.u32()?;
        if length != bytes.len() {
            let expected = "the number of bytes at hand";
            return Err(DecodeError::Length { what: name_of(message_type), expected, came: length });
        }
        if version != VERSION && !matches!(message_type, kind::HELLO | kind::ERROR) {
            return Err(DecodeError::Version { what: name_of(message_type), expected: VERSION, came: version });
        }
        let body = Reader::new(name_of(message_type), reader.rest());
        Ok(Self { version, xid, message: Message::decode_body(message_type, version, body, bundled)? })
    }
}

impl Message {
    fn encode_body(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Hello(hello) => hello.encode(out)?,
            Self::Error(error) => error.encode(out),
            Self::EchoRequest(data) | Self::EchoReply(data) => out.extend_from_slice(data),
            Self::FeaturesRequest
            | Self::GetConfigRequest
            | Self::BarrierRequest
            | Self::BarrierReply
            | Self::GetAsyncRequest => {}
            Self::Experimenter(message) => message.encode(out)?,
            Self::FeaturesReply(features) => features.encode(out),
            Self::GetConfigReply(config) | Self::SetConfig(config) => config.encode(out),
            Self::PacketIn(packet) => packet.encode(out)?,
            Self::FlowRemoved(removed) => removed.encode(out)?,
            Self::PortStatus(status) => status.encode(out),
            Self::PacketOut(packet) => packet.encode(out)?,
            Self::FlowMod(flow) => flow.encode(out)?,
            Self::GroupMod(group) => group.encode(out)?,
            Self::PortMod(port) => port.encode(out),
            Self::TableMod(table) => table.encode(out),
            Self::MeterMod(meter) => meter.encode(out)?,
            Self::MultipartRequest(request) => request.encode(out)?,
            Self::MultipartReply(reply) => reply.encode(out)?,
            Self::QueueGetConfigRequest(port) => put_port(out, *port),
            Self::QueueGetConfigReply(queues) => queues.encode(out)?,
            Self::RoleRequest(role) | Self::RoleReply(role) => role.encode(out),
            Self::GetAsyncReply(config) | Self::SetAsync(config) => config.encode(out),
            Self::Other { body, .. } => out.extend_from_slice(body),
        }
        Ok(())
    }

    fn decode_body(message_type: u8, version: u8, mut body: Reader<'_>, bundled: bool) -> Result<Self, DecodeError> {
        let empty = |message: Self| body.exactly(0, "8: a header alone").map(|()| message);
        match message_type {
            // Elements came with 1.3.1: what older versions put behind the header means nothing.
            kind::HELLO if version < VERSION => Ok(Self::Hello(Hello::decode(body).unwrap_or_default())),
            kind::HELLO => Hello::decode(body).map(Self::Hello),
            kind::ERROR => ErrorMessage::decode(body).map(Self::Error),
            kind::ECHO_REQUEST => Ok(Self::EchoRequest(body.rest().to_vec())),
            kind::ECHO_REPLY => Ok(Self::EchoReply(body.rest().to_vec())),
            kind::EXPERIMENTER => Experimenter::decode(body, bundled).map(Self::Experimenter),
            kind::FEATURES_REQUEST => empty(Self::FeaturesRequest),
            kind::FEATURES_REPLY => Features::decode(body).map(Self::FeaturesReply),
            kind::GET_CONFIG_REQUEST => empty(Self::GetConfigRequest),
            kind::GET_CONFIG_REPLY => SwitchConfig::decode(body).map(Self::GetConfigReply),
            kind::SET_CONFIG => SwitchConfig::decode(body).map(Self::SetConfig),
            kind::PACKET_IN => PacketIn::decode(body).map(Self::PacketIn),
            kind::FLOW_REMOVED => FlowRemoved::decode(body).map(Self::FlowRemoved),
            kind::PORT_STATUS => PortStatus::decode(body).map(Self::PortStatus),
            kind::PACKET_OUT => PacketOut::decode(body).map(Self::PacketOut),
            kind::FLOW_MOD => FlowMod::decode(body).map(Self::FlowMod),
            kind::GROUP_MOD => GroupMod::decode(body).map(Self::GroupMod),
            kind::PORT_MOD => PortMod::decode(body).map(Self::PortMod),
            kind::TABLE_MOD => TableMod::decode(body).map(Self::TableMod),
            kind::METER_MOD => MeterMod::decode(body).map(Self::MeterMod),
            kind::MULTIPART_REQUEST => MultipartRequest::decode(body).map(Self::MultipartRequest),
            kind::MULTIPART_REPLY => MultipartReply::decode(body).map(Self::MultipartReply),
            kind::BARRIER_REQUEST => empty(Self::BarrierRequest),
            kind::BARRIER_REPLY => empty(Self::BarrierReply),
            kind::QUEUE_GET_CONFIG_REQUEST => {
                body.exactly(8, "16 with its header")?;
                read_port(&mut body).map(Self::QueueGetConfigRequest)
            }
            kind::QUEUE_GET_CONFIG_REPLY => QueueConfig::decode(body).map(Self::QueueGetConfigReply),
            kind::GET_ASYNC_REQUEST => empty(Self::GetAsyncRequest),
            kind::GET_ASYNC_REPLY => AsyncConfig::decode(body).map(Self::GetAsyncReply),
            kind::SET_ASYNC => AsyncConfig::decode(body).map(Self::SetAsync),
            kind::ROLE_REQUEST => Role::decode(body).map(Self::RoleRequest),
            kind::ROLE_REPLY => Role::decode(body).map(Self::RoleReply),
            _ => Ok(Self::Other { message_type, body: body.rest().to_vec() }),
        }
    }
}
