//! Messages of ctnetlink, by which Linux tells and takes connections that it tracks (linux/netfilter/nfnetlink_conntrack.h).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                   length, header included                     |
//! |   message (8 bits) | 1 (8)    |             flags             |
//! |                           sequence                            |
//! |                             port                              |
//! | family (8)    | version 0 (8) |      resource (16), 0         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! then attributes, each padded to 4 bytes:
//! |     length, with these 4      |N|O|          type             | value, or attributes
//! ```
//!
//! Headers are in the machine's byte order, values in network order. Decoding never panics, whatever comes; what it does
//! not know it passes over. Of a connection only what [`Connection`] holds is read. The crate netlink-packet-netfilter
//! knows no zones and allocates for every attribute; events come by the ten thousand a second.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::wire::replication::{Addresses, Connection, Fields, Flow, State};

/// Multicast groups of new, changed and ended connections, as bits of a socket's address.
pub const EVENT_GROUPS: u32 = 0b111;

const HEADER_LEN: usize = 16;
/// With the header of netfilter.
const PREFIX_LEN: usize = HEADER_LEN + 4;
const SUBSYSTEM: u16 = 1 << 8;

const NEW: u16 = SUBSYSTEM;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const ERROR: u16 = 2;
const DONE: u16 = 3;

const F_REQUEST: u16 = 0x1;
const F_ACK: u16 = 0x4;
const F_DUMP: u16 = 0x300;
const F_EXCL: u16 = 0x200;
const F_CREATE: u16 = 0x400;

const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 10;

/// Attributes of a connection (`CTA_*`), and of what is nested in them.
mod attribute {
    pub(super) const TUPLE_ORIG: u16 = 1;
    pub(super) const TUPLE_REPLY: u16 = 2;
    pub(super) const STATUS: u16 = 3;
    pub(super) const PROTOINFO: u16 = 4;
    pub(super) const NAT_SRC: u16 = 6;
    pub(super) const TIMEOUT: u16 = 7;
    pub(super) const MARK: u16 = 8;
    pub(super) const COUNTERS_ORIG: u16 = 9;
    pub(super) const COUNTERS_REPLY: u16 = 10;
    pub(super) const NAT_DST: u16 = 13;
    pub(super) const ZONE: u16 = 18;

    pub(super) const TUPLE_IP: u16 = 1;
    pub(super) const TUPLE_PROTO: u16 = 2;
    pub(super) const IP_V4_SRC: u16 = 1;
    pub(super) const IP_V4_DST: u16 = 2;
    pub(super) const IP_V6_SRC: u16 = 3;
    pub(super) const IP_V6_DST: u16 = 4;
    pub(super) const PROTO_NUM: u16 = 1;
    pub(super) const PROTO_SRC_PORT: u16 = 2;
    pub(super) const PROTO_DST_PORT: u16 = 3;
    pub(super) const PROTO_ICMP_ID: u16 = 4;
    pub(super) const PROTO_ICMP_TYPE: u16 = 5;
    pub(super) const PROTO_ICMP_CODE: u16 = 6;
    pub(super) const PROTO_ICMPV6_ID: u16 = 7;
    pub(super) const PROTO_ICMPV6_TYPE: u16 = 8;
    pub(super) const PROTO_ICMPV6_CODE: u16 = 9;

    pub(super) const PROTOINFO_TCP: u16 = 1;
    pub(super) const TCP_STATE: u16 = 1;
    pub(super) const TCP_WSCALE_ORIGINAL: u16 = 2;
    pub(super) const TCP_WSCALE_REPLY: u16 = 3;
    pub(super) const TCP_FLAGS_ORIGINAL: u16 = 4;
    pub(super) const TCP_FLAGS_REPLY: u16 = 5;

    pub(super) const NAT_V4_MIN: u16 = 1;
    pub(super) const NAT_V4_MAX: u16 = 2;
    pub(super) const NAT_PROTO: u16 = 3;
    pub(super) const NAT_V6_MIN: u16 = 4;
    pub(super) const NAT_V6_MAX: u16 = 5;
    pub(super) const NAT_PORT_MIN: u16 = 1;
    pub(super) const NAT_PORT_MAX: u16 = 2;

    pub(super) const COUNTERS_BYTES: u16 = 2;
}

/// Bits of a connection's status (`IPS_*`).
pub mod status {
    pub const SEEN_REPLY: u32 = 0x2;
    pub const ASSURED: u32 = 0x4;
    pub const CONFIRMED: u32 = 0x8;
    pub const SRC_NAT: u32 = 0x10;
    pub const DST_NAT: u32 = 0x20;
    pub const NAT_DONE: u32 = 0x180;
    pub const FIXED_TIMEOUT: u32 = 0x400;
    /// What another router can take over. The rest is about this kernel: offloads, helpers, expectations.
    pub const PORTABLE: u32 = SEEN_REPLY | ASSURED | CONFIRMED | SRC_NAT | DST_NAT | NAT_DONE | FIXED_TIMEOUT;
}

/// Bits of a direction's flags (`IP_CT_TCP_FLAG_*`).
pub mod tcp_flag {
    pub const WINDOW_SCALE: u8 = 0x1;
    pub const SACK_PERMITTED: u8 = 0x2;
    pub const CLOSE_INIT: u8 = 0x4;
    /// Packets out of the window are no reason to call them invalid.
    pub const LIBERAL: u8 = 0x8;
    /// What outlives the packets: the rest changes with many of them.
    pub const PORTABLE: u8 = WINDOW_SCALE | SACK_PERMITTED | CLOSE_INIT;
}

/// What a message says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    New,
    /// Also every connection of a dump.
    Update,
    Destroy,
}

/// A connection as a message tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// Bits and flags that another router cannot take over are left out.
    pub connection: Connection,
    /// Which fields of the state were told.
    pub told: Fields,
    /// Both directions together, where the kernel counts (`nf_conntrack_acct`).
    pub bytes: Option<u64>,
}

/// One message from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Entry(Box<Entry>),
    /// The dump is over.
    Done,
    /// The request of this sequence number was refused with an `errno`, or done: 0.
    Answer {
        sequence: u32,
        errno: i32,
    },
    /// Of another subsystem, or of no protocol that is known here.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("{what}: expected {expected} bytes, {left} are left")]
    Truncated { what: &'static str, expected: usize, left: usize },
    #[error("{what}: expected a length of at least {least}, came {came}")]
    Length { what: &'static str, least: usize, came: usize },
    #[error("expected the attribute {0}")]
    Missing(&'static str),
}

/// The messages of one datagram.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    bytes: &'a [u8],
}

impl<'a> Messages<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl Iterator for Messages<'_> {
    type Item = Result<Message, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        match split(self.bytes) {
            Ok((message, rest)) => {
                self.bytes = rest;
                Some(decode(message))
            }
            Err(error) => {
                self.bytes = &[];
                Some(Err(error))
            }
        }
    }
}

fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let length = u32::from_ne_bytes(array(bytes, 0, "message")?) as usize;
    if length < HEADER_LEN {
        return Err(DecodeError::Length { what: "message", least: HEADER_LEN, came: length });
    }
    let truncated = DecodeError::Truncated { what: "message", expected: length, left: bytes.len() };
    let message = bytes.get(..length).ok_or(truncated)?;
    Ok((message, bytes.get(padded(length)..).unwrap_or_default()))
}

fn decode(message: &[u8]) -> Result<Message, DecodeError> {
    let kind = u16::from_ne_bytes(array(message, 4, "message type")?);
    let flags = u16::from_ne_bytes(array(message, 6, "message flags")?);
    let kind = match kind {
        NEW if flags & (F_CREATE | F_EXCL) != 0 => Kind::New,
        NEW => Kind::Update,
        DELETE => Kind::Destroy,
        DONE => return Ok(Message::Done),
        ERROR => {
            let errno = i32::from_ne_bytes(array(message, HEADER_LEN, "error")?);
            // The header of the request follows.
            let sequence = array(message, HEADER_LEN + 4 + 8, "request").map_or(0, u32::from_ne_bytes);
            return Ok(Message::Answer { sequence, errno: errno.saturating_neg() });
        }
        _ => return Ok(Message::Other),
    };
    let left = message.len();
    let truncated = DecodeError::Truncated { what: "netfilter header", expected: PREFIX_LEN, left };
    let attributes = message.get(PREFIX_LEN..).ok_or(truncated)?;
    Ok(entry(kind, attributes)?.map_or(Message::Other, |entry| Message::Entry(Box::new(entry))))
}

fn entry(kind: Kind, attributes: &[u8]) -> Result<Option<Entry>, DecodeError> {
    let (mut original, mut reply, mut zone) = (None, None, 0);
    let (mut state, mut told) = (State::default(), Fields::NONE);
    let mut bytes: Option<u64> = None;
    for item in Attributes(attributes) {
        let (kind, value) = item?;
        match kind {
            attribute::TUPLE_ORIG => original = Some(tuple(value)?),
            attribute::TUPLE_REPLY => reply = Some(tuple(value)?),
            attribute::STATUS => {
                state.status = u32::from_be_bytes(array(value, 0, "status")?) & status::PORTABLE;
                told.0 |= Fields::STATUS.0;
            }
            attribute::PROTOINFO => told.0 |= protocol_state(value, &mut state)?.0,
            attribute::TIMEOUT => {
                state.timeout_s = u32::from_be_bytes(array(value, 0, "timeout")?);
                told.0 |= Fields::TIMEOUT.0;
            }
            attribute::MARK => state.mark = u32::from_be_bytes(array(value, 0, "mark")?),
            attribute::COUNTERS_ORIG | attribute::COUNTERS_REPLY => {
                let counted = counters(value)?;
                bytes = Some(bytes.unwrap_or(0).saturating_add(counted));
            }
            attribute::ZONE => zone = u16::from_be_bytes(array(value, 0, "zone")?),
            _ => {}
        }
    }
    if kind != Kind::Destroy {
        // A mark of 0 is not told.
        told.0 |= Fields::MARK.0;
    }
    let original = original.ok_or(DecodeError::Missing("original tuple"))?;
    let Some(flow) = original else { return Ok(None) };
    let connection = Connection { zone, state, ..Connection::new(flow) };
    let connection = match reply.flatten() {
        Some(reply) => connection.with_reply(reply),
        None => Some(connection),
    };
    Ok(connection.map(|connection| Entry { kind, connection, told, bytes }))
}

/// `None` for families that are not IP.
fn tuple(bytes: &[u8]) -> Result<Option<Flow>, DecodeError> {
    let (mut v4, mut v6) = ([None; 2], [None; 2]);
    let (mut protocol, mut ports, mut icmp) = (0, [0_u16; 2], [0_u8; 2]);
    for item in Attributes(bytes) {
        let (kind, value) = item?;
        for item in Attributes(value).filter(|_| matches!(kind, attribute::TUPLE_IP | attribute::TUPLE_PROTO)) {
            let (inner, value) = item?;
            match (kind, inner) {
                (attribute::TUPLE_IP, attribute::IP_V4_SRC | attribute::IP_V4_DST) => {
                    v4[usize::from(inner - attribute::IP_V4_SRC)] = Some(Ipv4Addr::from(array(value, 0, "address")?));
                }
                (attribute::TUPLE_IP, attribute::IP_V6_SRC | attribute::IP_V6_DST) => {
                    let address = array::<16>(value, 0, "address")?;
                    v6[usize::from(inner - attribute::IP_V6_SRC)] = Some(Ipv6Addr::from(address));
                }
                (attribute::TUPLE_IP, _) => {}
                (_, attribute::PROTO_NUM) => [protocol] = array(value, 0, "protocol")?,
                (_, attribute::PROTO_SRC_PORT | attribute::PROTO_ICMP_ID | attribute::PROTO_ICMPV6_ID) => {
                    ports[0] = u16::from_be_bytes(array(value, 0, "port")?);
                }
                (_, attribute::PROTO_DST_PORT) => ports[1] = u16::from_be_bytes(array(value, 0, "port")?),
                (_, attribute::PROTO_ICMP_TYPE | attribute::PROTO_ICMPV6_TYPE) => {
                    [icmp[0]] = array(value, 0, "ICMP type")?;
                }
                (_, attribute::PROTO_ICMP_CODE | attribute::PROTO_ICMPV6_CODE) => {
                    [icmp[1]] = array(value, 0, "ICMP code")?;
                }
                _ => {}
            }
        }
    }
    if matches!(protocol, Flow::ICMP | Flow::ICMPV6) {
        ports[1] = u16::from_be_bytes(icmp);
    }
    Ok(match (v4, v6) {
        ([Some(source), Some(destination)], _) => Some(Flow::v4(protocol, (source, ports[0]), (destination, ports[1]))),
        (_, [Some(source), Some(destination)]) => Some(Flow::v6(protocol, (source, ports[0]), (destination, ports[1]))),
        _ => None,
    })
}

fn protocol_state(bytes: &[u8], state: &mut State) -> Result<Fields, DecodeError> {
    let mut told = Fields::NONE;
    for item in Attributes(bytes) {
        let (kind, value) = item?;
        if kind != attribute::PROTOINFO_TCP {
            continue;
        }
        for item in Attributes(value) {
            let (kind, value) = item?;
            let [byte] = array(value, 0, "TCP state")?;
            match kind {
                attribute::TCP_STATE => {
                    state.tcp.state = byte;
                    told.0 |= Fields::TCP_STATE.0;
                }
                attribute::TCP_WSCALE_ORIGINAL => state.tcp.scales = state.tcp.scales & 0x0f | byte << 4,
                attribute::TCP_WSCALE_REPLY => state.tcp.scales = state.tcp.scales & 0xf0 | byte & 0x0f,
                attribute::TCP_FLAGS_ORIGINAL | attribute::TCP_FLAGS_REPLY => {
                    state.tcp.flags[usize::from(kind - attribute::TCP_FLAGS_ORIGINAL)] = byte & tcp_flag::PORTABLE;
                    told.0 |= Fields::TCP_WINDOW.0;
                }
                _ => {}
            }
        }
    }
    Ok(told)
}

fn counters(bytes: &[u8]) -> Result<u64, DecodeError> {
    let mut counted = 0;
    for item in Attributes(bytes) {
        let (kind, value) = item?;
        if kind == attribute::COUNTERS_BYTES {
            counted = u64::from_be_bytes(array(value, 0, "counter")?);
        }
    }
    Ok(counted)
}

/// Type and value of each.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let item = attribute_of(self.0);
        self.0 = match &item {
            Ok((_, value)) => self.0.get(padded(value.len() + 4)..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(item)
    }
}

fn attribute_of(bytes: &[u8]) -> Result<(u16, &[u8]), DecodeError> {
    let length = usize::from(u16::from_ne_bytes(array(bytes, 0, "attribute")?));
    let kind = u16::from_ne_bytes(array(bytes, 2, "attribute")?) & TYPE_MASK;
    if length < 4 {
        return Err(DecodeError::Length { what: "attribute", least: 4, came: length });
    }
    let truncated = DecodeError::Truncated { what: "attribute", expected: length, left: bytes.len() };
    Ok((kind, bytes.get(4..length).ok_or(truncated)?))
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn array<const N: usize>(bytes: &[u8], at: usize, what: &'static str) -> Result<[u8; N], DecodeError> {
    let left = bytes.len().saturating_sub(at);
    let truncated = DecodeError::Truncated { what, expected: N, left };
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().ok_or(truncated)
}

/// What is asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// All connections.
    Dump,
    /// Refused with `EEXIST` where there is one of the same tuple.
    Create(&'a Connection),
    /// Of one that is there; addresses stay.
    Update(&'a Connection),
    Delete(&'a Connection),
}

impl Request<'_> {
    /// Appends the message. What is done is not answered, what is refused is.
    pub fn encode(&self, sequence: u32, out: &mut Vec<u8>) {
        let begin = out.len();
        out.resize(begin + PREFIX_LEN, 0);
        let (kind, flags, connection) = match self {
            Self::Dump => (GET, F_DUMP, None),
            Self::Create(connection) => (NEW, F_CREATE | F_EXCL, Some(*connection)),
            Self::Update(connection) => (NEW, 0, Some(*connection)),
            Self::Delete(connection) => (DELETE, 0, Some(*connection)),
        };
        if let Some(connection) = connection {
            out[begin + HEADER_LEN] = match connection.flow.addresses {
                Addresses::V4(_) => FAMILY_IPV4,
                Addresses::V6(_) => FAMILY_IPV6,
            };
            nested(out, attribute::TUPLE_ORIG, |out| put_tuple(out, &connection.flow));
            if connection.zone != 0 {
                put(out, attribute::ZONE, &connection.zone.to_be_bytes());
            }
            match self {
                Self::Create(_) => {
                    // Without translation, which the kernel works out from the ranges as it does for packets.
                    nested(out, attribute::TUPLE_REPLY, |out| put_tuple(out, &connection.flow.reversed()));
                    put_nat(out, connection);
                    put_state(out, connection);
                }
                Self::Update(_) => put_state(out, connection),
                Self::Dump | Self::Delete(_) => {}
            }
        }
        let length = u32::try_from(out.len() - begin).expect("a message is a few hundred bytes");
        let header = &mut out[begin..];
        header[..4].copy_from_slice(&length.to_ne_bytes());
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        header[6..8].copy_from_slice(&(flags | F_REQUEST).to_ne_bytes());
        header[8..12].copy_from_slice(&sequence.to_ne_bytes());
    }

    /// The same, and it is answered in any case.
    pub fn encode_with_answer(&self, sequence: u32, out: &mut Vec<u8>) {
        let begin = out.len();
        self.encode(sequence, out);
        let flags = u16::from_ne_bytes([out[begin + 6], out[begin + 7]]) | F_ACK;
        out[begin + 6..begin + 8].copy_from_slice(&flags.to_ne_bytes());
    }
}

fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).expect("values are short");
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(padded(out.len()), 0);
}

fn nested(out: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    put(out, kind | NESTED, &[]);
    fill(out);
    let length = u16::try_from(out.len() - begin).expect("attributes are short");
    out[begin..begin + 2].copy_from_slice(&length.to_ne_bytes());
}

fn put_tuple(out: &mut Vec<u8>, flow: &Flow) {
    nested(out, attribute::TUPLE_IP, |out| match flow.addresses {
        Addresses::V4([source, destination]) => {
            put(out, attribute::IP_V4_SRC, &source.octets());
            put(out, attribute::IP_V4_DST, &destination.octets());
        }
        Addresses::V6([source, destination]) => {
            put(out, attribute::IP_V6_SRC, &source.octets());
            put(out, attribute::IP_V6_DST, &destination.octets());
        }
    });
    nested(out, attribute::TUPLE_PROTO, |out| {
        put(out, attribute::PROTO_NUM, &[flow.protocol]);
        let [kind, code] = flow.destination_port.to_be_bytes();
        let source = flow.source_port.to_be_bytes();
        match flow.protocol {
            Flow::ICMP => {
                put(out, attribute::PROTO_ICMP_ID, &source);
                put(out, attribute::PROTO_ICMP_TYPE, &[kind]);
                put(out, attribute::PROTO_ICMP_CODE, &[code]);
            }
            Flow::ICMPV6 => {
                put(out, attribute::PROTO_ICMPV6_ID, &source);
                put(out, attribute::PROTO_ICMPV6_TYPE, &[kind]);
                put(out, attribute::PROTO_ICMPV6_CODE, &[code]);
            }
            _ => {
                put(out, attribute::PROTO_SRC_PORT, &source);
                put(out, attribute::PROTO_DST_PORT, &[kind, code]);
            }
        }
    });
}

/// What the answering tuple differs in, as ranges of one address and port.
fn put_nat(out: &mut Vec<u8>, connection: &Connection) {
    let (plain, reply) = (connection.flow.reversed(), connection.reply());
    // Answers go to the source as it was translated, and come from the destination as it was translated.
    if (reply.addresses.destination(), reply.destination_port)
        != (plain.addresses.destination(), plain.destination_port)
    {
        put_range(out, attribute::NAT_SRC, reply, true);
    }
    if (reply.addresses.source(), reply.source_port) != (plain.addresses.source(), plain.source_port) {
        put_range(out, attribute::NAT_DST, reply, false);
    }
}

fn put_range(out: &mut Vec<u8>, kind: u16, reply: Flow, destination: bool) {
    let side = usize::from(destination);
    nested(out, kind, |out| {
        match reply.addresses {
            Addresses::V4(addresses) => {
                put(out, attribute::NAT_V4_MIN, &addresses[side].octets());
                put(out, attribute::NAT_V4_MAX, &addresses[side].octets());
            }
            Addresses::V6(addresses) => {
                put(out, attribute::NAT_V6_MIN, &addresses[side].octets());
                put(out, attribute::NAT_V6_MAX, &addresses[side].octets());
            }
        }
        let icmp = matches!(reply.protocol, Flow::ICMP | Flow::ICMPV6);
        // The identifier of ICMP is on both sides.
        let port = if destination && !icmp { reply.destination_port } else { reply.source_port };
        nested(out, attribute::NAT_PROTO, |out| {
            put(out, attribute::NAT_PORT_MIN, &port.to_be_bytes());
            put(out, attribute::NAT_PORT_MAX, &port.to_be_bytes());
        });
    });
}

/// The state, with the window check off: windows are not replicated, and packets would be out of them.
fn put_state(out: &mut Vec<u8>, connection: &Connection) {
    let state = &connection.state;
    // NAT follows from the ranges; its bits cannot be given.
    let status = state.status & !(status::SRC_NAT | status::DST_NAT | status::NAT_DONE) | status::CONFIRMED;
    put(out, attribute::STATUS, &status.to_be_bytes());
    put(out, attribute::TIMEOUT, &state.timeout_s.max(1).to_be_bytes());
    if state.mark != 0 {
        put(out, attribute::MARK, &state.mark.to_be_bytes());
    }
    if connection.flow.protocol != Flow::TCP {
        return;
    }
    let tcp = &state.tcp;
    nested(out, attribute::PROTOINFO, |out| {
        nested(out, attribute::PROTOINFO_TCP, |out| {
            put(out, attribute::TCP_STATE, &[tcp.state]);
            put(out, attribute::TCP_WSCALE_ORIGINAL, &[tcp.scales >> 4]);
            put(out, attribute::TCP_WSCALE_REPLY, &[tcp.scales & 0x0f]);
            let mask = tcp_flag::PORTABLE | tcp_flag::LIBERAL;
            for (kind, flags) in [attribute::TCP_FLAGS_ORIGINAL, attribute::TCP_FLAGS_REPLY].into_iter().zip(tcp.flags)
            {
                put(out, kind, &[flags & tcp_flag::PORTABLE | tcp_flag::LIBERAL, mask]);
            }
        });
    });
}

#[cfg(test)]
#[path = "ctnetlink_tests.rs"]
mod tests;
