//! Records of data frames: what happened to connections, and where the parts of a snapshot begin and end.
//!
//! ```text
//! update    | 0 0 |  fields   | handle | the fields
//! close     | 0 1 | 0 0 0 0 0 0 | handle
//! open      | 1 0 |  fields   | handle | form | [zone] [protocol] addresses and ports [NAT] | the fields
//! segment   | 1 1 | 0 0 0 0 0 0 | index
//! digest    | 1 1 | 0 0 0 0 0 1 | index | digest (64 bits)
//! complete  | 1 1 | 0 0 0 0 1 0 | segments
//!
//! fields    bit 0 status, 1 TCP state, 2 timeout, 3 throughput, 4 mark, 5 TCP window
//! form      | v6 | NAT | zone | same source | same destination | same port | class (2) |
//! NAT       | 0 0 0 0 | source | destination | source port | destination port |
//! ```
//!
//! Handles, status, timeouts and marks are zig-zag varint differences to the last such value in the frame, so a frame
//! needs no other frame to be read. `same` refers to the last open in the frame. A field that an open leaves out is 0.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::connection::{Addresses, Connection, Fields, Flow, Handle, State, Throughput};
use super::reader::{DecodeError, Reader, put_delta, put_varint};

/// What one record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// These fields of `state` are new; the others are meaningless.
    Update {
        handle: Handle,
        fields: Fields,
        state: State,
    },
    /// The handle means this connection now, whatever it meant before.
    Open {
        handle: Handle,
        connection: Connection,
    },
    Close {
        handle: Handle,
    },
    /// From here to the digest of the same segment follow all connections in it.
    Segment {
        index: u32,
    },
    /// What the segment holds at this place of the stream.
    Digest {
        index: u32,
        digest: u64,
    },
    /// A full snapshot ends: there is nothing in further segments.
    Complete {
        segments: u32,
    },
}

/// No record is longer.
pub const RECORD_LEN_MAX: usize = 1 + 5 + 1 + 2 + 1 + 36 + 1 + 36 + FIELDS_LEN_MAX;
/// Three varints of 33 bits, and five bytes.
const FIELDS_LEN_MAX: usize = 3 * 5 + 5;

const UPDATE: u8 = 0b00;
const CLOSE: u8 = 0b01;
const OPEN: u8 = 0b10;
const SEGMENT: u8 = 0b1100_0000;
const DIGEST: u8 = 0b1100_0001;
const COMPLETE: u8 = 0b1100_0010;

const FORM_V6: u8 = 0x80;
const FORM_NAT: u8 = 0x40;
const FORM_ZONE: u8 = 0x20;
const FORM_SAME_SOURCE: u8 = 0x10;
const FORM_SAME_DESTINATION: u8 = 0x08;
const FORM_SAME_PORT: u8 = 0x04;
const FORM_CLASS: u8 = 0x03;

const NAT_SOURCE: u8 = 8;
const NAT_DESTINATION: u8 = 4;
const NAT_SOURCE_PORT: u8 = 2;
const NAT_DESTINATION_PORT: u8 = 1;

/// Values that the next record of the frame may refer to; all zero where a frame begins.
#[derive(Clone, Copy, Debug, Default)]
struct Context {
    handle: u32,
    state: State,
    flow: Option<Flow>,
}

/// Appends records to a frame.
#[derive(Debug)]
pub struct Encoder {
    bytes: Vec<u8>,
    context: Context,
    count: u16,
}

impl Encoder {
    /// Continues these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, context: Context::default(), count: 0 }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Records so far.
    pub fn count(&self) -> u16 {
        self.count
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Forgets all bytes beyond this length, and what they said.
    pub fn restart(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.context = Context::default();
        self.count = 0;
    }

    pub fn push(&mut self, record: &Record) {
        match record {
            Record::Update { handle, fields, state } => self.update(*handle, *fields, state),
            Record::Open { handle, connection } => self.open(*handle, connection),
            Record::Close { handle } => self.close(*handle),
            Record::Segment { index } => self.segment(*index),
            Record::Digest { index, digest } => self.digest(*index, *digest),
            Record::Complete { segments } => self.complete(*segments),
        }
    }

    /// At least one field is told.
    pub fn update(&mut self, handle: Handle, fields: Fields, state: &State) {
        self.begin(UPDATE << 6 | fields.0, handle);
        self.fields(fields, state);
    }

    pub fn close(&mut self, handle: Handle) {
        self.begin(CLOSE << 6, handle);
    }

    pub fn open(&mut self, handle: Handle, connection: &Connection) {
        let fields = connection.state.difference(&State::default());
        self.begin(OPEN << 6 | fields.0, handle);
        let flow = connection.flow;
        let form = self.form(connection);
        self.bytes.push(form);
        if form & FORM_ZONE != 0 {
            self.bytes.extend_from_slice(&connection.zone.to_be_bytes());
        }
        if form & FORM_CLASS == 0 {
            self.bytes.push(flow.protocol);
        }
        put_addresses(&mut self.bytes, flow.addresses, form & FORM_SAME_SOURCE == 0, form & FORM_SAME_DESTINATION == 0);
        self.bytes.extend_from_slice(&flow.source_port.to_be_bytes());
        if form & FORM_SAME_PORT == 0 {
            self.bytes.extend_from_slice(&flow.destination_port.to_be_bytes());
        }
        if let Some(reply) = &connection.reply {
            self.nat(flow.reversed(), **reply);
        }
        self.fields(fields, &connection.state);
        self.context.flow = Some(flow);
    }

    pub fn segment(&mut self, index: u32) {
        self.control(SEGMENT, index);
    }

    pub fn digest(&mut self, index: u32, digest: u64) {
        self.control(DIGEST, index);
        self.bytes.extend_from_slice(&digest.to_be_bytes());
    }

    pub fn complete(&mut self, segments: u32) {
        self.control(COMPLETE, segments);
    }

    fn control(&mut self, tag: u8, number: u32) {
        self.bytes.push(tag);
        put_varint(&mut self.bytes, number.into());
        self.count += 1;
    }

    fn begin(&mut self, tag: u8, Handle(handle): Handle) {
        self.bytes.push(tag);
        put_delta(&mut self.bytes, self.context.handle, handle);
        self.context.handle = handle;
        self.count += 1;
    }

    fn form(&self, connection: &Connection) -> u8 {
        let flow = connection.flow;
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let same = |part: fn(Flow) -> (std::net::IpAddr, u16)| {
            self.context.flow.is_some_and(|last| part(last).0 == part(flow).0)
        };
        let class = match flow.protocol {
            Flow::TCP => 1,
            Flow::UDP => 2,
            Flow::ICMP => 3,
            _ => 0,
        };
        bit(matches!(flow.addresses, Addresses::V6(_)), FORM_V6)
            | bit(connection.reply.is_some(), FORM_NAT)
            | bit(connection.zone != 0, FORM_ZONE)
            | bit(same(|flow| (flow.addresses.source(), 0)), FORM_SAME_SOURCE)
            | bit(same(|flow| (flow.addresses.destination(), 0)), FORM_SAME_DESTINATION)
            | bit(self.context.flow.is_some_and(|last| last.destination_port == flow.destination_port), FORM_SAME_PORT)
            | class
    }

    /// What answers differ in from those of an untranslated connection.
    fn nat(&mut self, plain: Flow, reply: Flow) {
        let bit = |differs: bool, bit: u8| if differs { bit } else { 0 };
        let source = plain.addresses.source() != reply.addresses.source();
        let destination = plain.addresses.destination() != reply.addresses.destination();
        let ports = [plain.source_port != reply.source_port, plain.destination_port != reply.destination_port];
        self.bytes.push(
            bit(source, NAT_SOURCE)
                | bit(destination, NAT_DESTINATION)
                | bit(ports[0], NAT_SOURCE_PORT)
                | bit(ports[1], NAT_DESTINATION_PORT),
        );
        put_addresses(&mut self.bytes, reply.addresses, source, destination);
        for (port, _) in [reply.source_port, reply.destination_port].into_iter().zip(ports).filter(|(_, told)| *told) {
            self.bytes.extend_from_slice(&port.to_be_bytes());
        }
    }

    fn fields(&mut self, fields: Fields, state: &State) {
        let (out, last) = (&mut self.bytes, &mut self.context.state);
        if fields.has(Fields::STATUS) {
            put_delta(out, last.status, state.status);
        }
        if fields.has(Fields::TCP_STATE) {
            out.push(state.tcp.state);
        }
        if fields.has(Fields::TIMEOUT) {
            put_delta(out, last.timeout_s, state.timeout_s);
        }
        if fields.has(Fields::THROUGHPUT) {
            out.push(state.throughput.0);
        }
        if fields.has(Fields::MARK) {
            put_delta(out, last.mark, state.mark);
        }
        if fields.has(Fields::TCP_WINDOW) {
            out.extend_from_slice(&[state.tcp.flags[0], state.tcp.flags[1], state.tcp.scales]);
        }
        last.take(fields, state);
    }
}

fn put_addresses(out: &mut Vec<u8>, addresses: Addresses, source: bool, destination: bool) {
    match addresses {
        Addresses::V4(both) => {
            for (address, _) in both.iter().zip([source, destination]).filter(|(_, told)| *told) {
                out.extend_from_slice(&address.octets());
            }
        }
        Addresses::V6(both) => {
            for (address, _) in both.iter().zip([source, destination]).filter(|(_, told)| *told) {
                out.extend_from_slice(&address.octets());
            }
        }
    }
}

/// Reads the records of a frame one after the other; ends after the first error.
pub struct Records<'a> {
    reader: Reader<'a>,
    context: Context,
    left: u16,
}

impl std::fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<'a> Records<'a> {
    /// So many records in these bytes, and nothing else.
    pub fn new(bytes: &'a [u8], count: u16) -> Self {
        Self { reader: Reader::new(bytes), context: Context::default(), left: count }
    }

    fn record(&mut self) -> Result<Record, DecodeError> {
        let tag = self.reader.u8("record")?;
        match (tag >> 6, tag) {
            (UPDATE, _) => self.update(Fields(tag & Fields::ALL.0)),
            (CLOSE, _) if tag & Fields::ALL.0 == 0 => Ok(Record::Close { handle: self.handle()? }),
            (OPEN, _) => self.open(Fields(tag & Fields::ALL.0)),
            (_, SEGMENT) => Ok(Record::Segment { index: self.reader.varint_u32("segment")? }),
            (_, DIGEST) => {
                let index = self.reader.varint_u32("digest")?;
                Ok(Record::Digest { index, digest: self.reader.u64("digest")? })
            }
            (_, COMPLETE) => Ok(Record::Complete { segments: self.reader.varint_u32("complete")? }),
            _ => Err(DecodeError::Value { what: "record", expected: "a known kind", came: tag.into() }),
        }
    }

    fn handle(&mut self) -> Result<Handle, DecodeError> {
        self.context.handle = self.reader.delta("handle", self.context.handle)?;
        Ok(Handle(self.context.handle))
    }

    fn update(&mut self, fields: Fields) -> Result<Record, DecodeError> {
        if fields.is_none() {
            return Err(DecodeError::Value { what: "update", expected: "at least one field", came: 0 });
        }
        let handle = self.handle()?;
        let state = self.fields(fields)?;
        Ok(Record::Update { handle, fields, state })
    }

    fn open(&mut self, fields: Fields) -> Result<Record, DecodeError> {
        let handle = self.handle()?;
        let form = self.reader.u8("form")?;
        let zone = if form & FORM_ZONE != 0 { self.reader.u16("zone")? } else { 0 };
        let protocol = match form & FORM_CLASS {
            0 => self.reader.u8("protocol")?,
            1 => Flow::TCP,
            2 => Flow::UDP,
            _ => Flow::ICMP,
        };
        let same = FORM_SAME_SOURCE | FORM_SAME_DESTINATION | FORM_SAME_PORT;
        let last = match self.context.flow {
            Some(last) => last,
            None if form & same == 0 => Flow::v4(0, (Ipv4Addr::UNSPECIFIED, 0), (Ipv4Addr::UNSPECIFIED, 0)),
            None => return Err(DecodeError::Value { what: "form", expected: "an open before", came: form.into() }),
        };
        let told = [form & FORM_SAME_SOURCE == 0, form & FORM_SAME_DESTINATION == 0];
        let addresses = self.addresses(form & FORM_V6 != 0, last.addresses, told)?;
        let source_port = self.reader.u16("source port")?;
        let destination_port = match form & FORM_SAME_PORT {
            0 => self.reader.u16("destination port")?,
            _ => last.destination_port,
        };
        let flow = Flow { addresses, source_port, destination_port, protocol };
        let reply = if form & FORM_NAT != 0 { Some(Box::new(self.nat(flow.reversed())?)) } else { None };
        let told = self.fields(fields)?;
        let mut state = State::default();
        state.take(fields, &told);
        self.context.flow = Some(flow);
        Ok(Record::Open { handle, connection: Connection { flow, reply, zone, state } })
    }

    /// Two addresses, of which those that are not told are the last ones.
    fn addresses(&mut self, v6: bool, last: Addresses, told: [bool; 2]) -> Result<Addresses, DecodeError> {
        let other = DecodeError::Value { what: "form", expected: "addresses of the last family", came: v6.into() };
        if v6 {
            let mut both = match last {
                Addresses::V6(last) => last,
                Addresses::V4(_) if told == [true; 2] => [Ipv6Addr::UNSPECIFIED; 2],
                Addresses::V4(_) => return Err(other),
            };
            for (address, _) in both.iter_mut().zip(told).filter(|(_, told)| *told) {
                *address = self.reader.array::<16>("IPv6 address")?.into();
            }
            return Ok(Addresses::V6(both));
        }
        let mut both = match last {
            Addresses::V4(last) => last,
            Addresses::V6(_) if told == [true; 2] => [Ipv4Addr::UNSPECIFIED; 2],
            Addresses::V6(_) => return Err(other),
        };
        for (address, _) in both.iter_mut().zip(told).filter(|(_, told)| *told) {
            *address = self.reader.array::<4>("IPv4 address")?.into();
        }
        Ok(Addresses::V4(both))
    }

    fn nat(&mut self, plain: Flow) -> Result<Flow, DecodeError> {
        let bits = self.reader.u8("NAT")?;
        if bits == 0 || bits > 15 {
            return Err(DecodeError::Value { what: "NAT", expected: "1 to 15", came: bits.into() });
        }
        let told = [bits & NAT_SOURCE != 0, bits & NAT_DESTINATION != 0];
        let addresses = self.addresses(matches!(plain.addresses, Addresses::V6(_)), plain.addresses, told)?;
        let mut reply = Flow { addresses, ..plain };
        if bits & NAT_SOURCE_PORT != 0 {
            reply.source_port = self.reader.u16("NAT source port")?;
        }
        if bits & NAT_DESTINATION_PORT != 0 {
            reply.destination_port = self.reader.u16("NAT destination port")?;
        }
        if reply == plain {
            return Err(DecodeError::Value { what: "NAT", expected: "a tuple other than the plain one", came: 0 });
        }
        Ok(reply)
    }

    fn fields(&mut self, fields: Fields) -> Result<State, DecodeError> {
        let (reader, last) = (&mut self.reader, &mut self.context.state);
        if fields.has(Fields::STATUS) {
            last.status = reader.delta("status", last.status)?;
        }
        if fields.has(Fields::TCP_STATE) {
            last.tcp.state = reader.u8("TCP state")?;
        }
        if fields.has(Fields::TIMEOUT) {
            last.timeout_s = reader.delta("timeout", last.timeout_s)?;
        }
        if fields.has(Fields::THROUGHPUT) {
            last.throughput = Throughput(reader.u8("throughput")?);
        }
        if fields.has(Fields::MARK) {
            last.mark = reader.delta("mark", last.mark)?;
        }
        if fields.has(Fields::TCP_WINDOW) {
            let [original, answering, scales] = reader.array("TCP window")?;
            (last.tcp.flags, last.tcp.scales) = ([original, answering], scales);
        }
        Ok(*last)
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            // What follows the last record is an error, told once.
            let rest = self.reader.end("records").err();
            self.reader = Reader::new(&[]);
            return rest.map(Err);
        }
        self.left -= 1;
        let record = self.record();
        if record.is_err() {
            (self.left, self.reader) = (0, Reader::new(&[]));
        }
        Some(record)
    }
}
