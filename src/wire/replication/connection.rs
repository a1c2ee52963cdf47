//! A connection as routers hold it: its flow, what NAT made of it, and the state that changes while it lives.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a source calls a connection until it closes it: the position in its table, so small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub u32);

/// Source and destination, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Addresses {
    V4([Ipv4Addr; 2]),
    V6([Ipv6Addr; 2]),
}

impl Addresses {
    /// `None` when the families differ.
    pub fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4([source, destination])),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6([source, destination])),
            _ => None,
        }
    }

    pub fn source(self) -> IpAddr {
        match self {
            Self::V4([source, _]) => source.into(),
            Self::V6([source, _]) => source.into(),
        }
    }

    pub fn destination(self) -> IpAddr {
        match self {
            Self::V4([_, destination]) => destination.into(),
            Self::V6([_, destination]) => destination.into(),
        }
    }

    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::V4([source, destination]) => Self::V4([destination, source]),
            Self::V6([source, destination]) => Self::V6([destination, source]),
        }
    }
}

/// The tuple of one direction.
///
/// For ICMP and ICMPv6 the source port is the identifier, and the destination port type and code as two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    pub addresses: Addresses,
    pub source_port: u16,
    pub destination_port: u16,
    /// IANA number.
    pub protocol: u8,
}

impl Flow {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ICMPV6: u8 = 58;

    pub fn v4(protocol: u8, source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Self {
        let addresses = Addresses::V4([source.0, destination.0]);
        Self { addresses, source_port: source.1, destination_port: destination.1, protocol }
    }

    pub fn v6(protocol: u8, source: (Ipv6Addr, u16), destination: (Ipv6Addr, u16)) -> Self {
        let addresses = Addresses::V6([source.0, destination.0]);
        Self { addresses, source_port: source.1, destination_port: destination.1, protocol }
    }

    /// The tuple of an answer where no address is translated. Of ICMP only queries have one (RFC 792, RFC 4443).
    #[must_use]
    pub fn reversed(self) -> Self {
        let (source_port, destination_port) = match self.protocol {
            Self::ICMP | Self::ICMPV6 => (self.source_port, answer_of(self.protocol, self.destination_port)),
            _ => (self.destination_port, self.source_port),
        };
        Self { addresses: self.addresses.reversed(), source_port, destination_port, ..self }
    }
}

/// Type and code of the answer to a query, and of the query to an answer; others are their own.
fn answer_of(protocol: u8, type_and_code: u16) -> u16 {
    let [kind, code] = type_and_code.to_be_bytes();
    let answer = match (protocol, kind) {
        (Flow::ICMP, 8) => 0,
        (Flow::ICMP, 0) => 8,
        (Flow::ICMP, 13 | 15 | 17) | (Flow::ICMPV6, 128) => kind + 1,
        (Flow::ICMP, 14 | 16 | 18) | (Flow::ICMPV6, 129) => kind - 1,
        _ => kind,
    };
    u16::from_be_bytes([answer, code])
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, destination) = (self.addresses.source(), self.addresses.destination());
        write!(f, "{} {source}#{} > {destination}#{}", self.protocol, self.source_port, self.destination_port)
    }
}

/// Bits a second on a scale of four steps an octave, so that small changes are none: at most 12.5 % off.
///
/// Code 0 is no traffic; codes 1 to 3 are so many bits; from 4 on, two bits of mantissa stand below the exponent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Throughput(pub u8);

impl Throughput {
    /// The code of 2^62 and more.
    pub const MAX: Self = Self(4 * 61);

    pub fn from_bps(bps: u64) -> Self {
        let exponent = bps.checked_ilog2().unwrap_or(0);
        if exponent < 2 {
            return Self(bps.to_le_bytes()[0]);
        }
        let mantissa = bps >> (exponent - 2) & 3;
        let code = u64::from(exponent - 1) * 4 + mantissa;
        u8::try_from(code).map_or(Self::MAX, |code| Self(code).min(Self::MAX))
    }

    /// The middle of what the code stands for.
    pub fn bps(self) -> u64 {
        let code = u64::from(self.0.min(Self::MAX.0));
        if code < 4 {
            return code;
        }
        let exponent = code / 4 + 1;
        let step = 1_u64 << (exponent - 2);
        (4 + code % 4) * step + step / 2
    }
}

/// What a tracker keeps of a TCP connection, as conntrack numbers it; all zero for other protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tcp {
    /// State of the connection (`TCP_CONNTRACK_*`), or of another protocol that has any (SCTP, DCCP).
    pub state: u8,
    /// Tracker flags of the original and of the answering direction.
    pub flags: [u8; 2],
    /// Window scale of the original direction in the high four bits, of the answering one in the low four.
    pub scales: u8,
}

/// What changes while a connection lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// Status bits as the tracker has them (`IPS_*`).
    pub status: u32,
    /// Seconds that it may be idle, as last told: a shadow that takes over counts them anew.
    pub timeout_s: u32,
    pub mark: u32,
    pub tcp: Tcp,
    pub throughput: Throughput,
}

/// Fields of a [`State`], one bit each, in their order on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fields(pub u8);

impl Fields {
    pub const NONE: Self = Self(0);
    pub const STATUS: Self = Self(1);
    pub const TCP_STATE: Self = Self(2);
    pub const TIMEOUT: Self = Self(4);
    pub const THROUGHPUT: Self = Self(8);
    pub const MARK: Self = Self(16);
    pub const TCP_WINDOW: Self = Self(32);
    pub const ALL: Self = Self(63);

    pub fn has(self, field: Self) -> bool {
        self.0 & field.0 != 0
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl State {
    /// The fields in which the two differ.
    pub fn difference(&self, other: &Self) -> Fields {
        let bit = |differs: bool, field: Fields| if differs { field.0 } else { 0 };
        Fields(
            bit(self.status != other.status, Fields::STATUS)
                | bit(self.tcp.state != other.tcp.state, Fields::TCP_STATE)
                | bit(self.timeout_s != other.timeout_s, Fields::TIMEOUT)
                | bit(self.throughput != other.throughput, Fields::THROUGHPUT)
                | bit(self.mark != other.mark, Fields::MARK)
                | bit((self.tcp.flags, self.tcp.scales) != (other.tcp.flags, other.tcp.scales), Fields::TCP_WINDOW),
        )
    }

    /// Takes these fields from another.
    pub fn take(&mut self, fields: Fields, from: &Self) {
        if fields.has(Fields::STATUS) {
            self.status = from.status;
        }
        if fields.has(Fields::TCP_STATE) {
            self.tcp.state = from.tcp.state;
        }
        if fields.has(Fields::TIMEOUT) {
            self.timeout_s = from.timeout_s;
        }
        if fields.has(Fields::THROUGHPUT) {
            self.throughput = from.throughput;
        }
        if fields.has(Fields::MARK) {
            self.mark = from.mark;
        }
        if fields.has(Fields::TCP_WINDOW) {
            (self.tcp.flags, self.tcp.scales) = (from.tcp.flags, from.tcp.scales);
        }
    }
}

/// One connection. Its flow and zone say which it is: no table holds two of the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    /// As the first packet came, before any translation.
    pub flow: Flow,
    /// The tuple of answers where NAT makes it another than `flow.reversed()`; of the same family.
    pub reply: Option<Box<Flow>>,
    /// Of the tracker; 0 where there are no zones.
    pub zone: u16,
    pub state: State,
}

impl Connection {
    /// A connection that nothing is known of but its flow.
    pub fn new(flow: Flow) -> Self {
        Self { flow, reply: None, zone: 0, state: State::default() }
    }

    /// The tuple by which answers come.
    pub fn reply(&self) -> Flow {
        self.reply.as_deref().copied().unwrap_or_else(|| self.flow.reversed())
    }

    /// With the tuple of answers, which is kept only where it tells something. `None` when it is of another family
    /// or protocol.
    #[must_use]
    pub fn with_reply(mut self, reply: Flow) -> Option<Self> {
        let same = matches!(
            (self.flow.addresses, reply.addresses),
            (Addresses::V4(_), Addresses::V4(_)) | (Addresses::V6(_), Addresses::V6(_))
        );
        self.reply = (reply != self.flow.reversed()).then(|| Box::new(reply));
        (same && reply.protocol == self.flow.protocol).then_some(self)
    }
}
