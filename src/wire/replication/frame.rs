//! One frame: the header, what it carries, and the tag that says who made it.

use super::AGENT_PROFILE;
use super::keys::Key;
use super::reader::{DecodeError, Reader};
use super::record::Encoder;
use crate::types::NodeIndex;

pub const HEADER_LEN: usize = 26;
pub const TAG_LEN: usize = 8;
/// What a frame takes beside its records.
pub const FRAME_OVERHEAD: usize = HEADER_LEN + TAG_LEN;

/// What a frame is for. The first four go from the source to the replica, the others back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The source is there, and in no session with this replica. No body.
    Announce = 1,
    /// Answers a greeting: the session that an acknowledgement begins. Body: its nonce (64 bits).
    Welcome = 2,
    /// Records, in sequence.
    Data = 3,
    /// The sequence of the last frame that was sent. Body: a number that grows with every beat (64 bits).
    Beat = 4,
    /// The replica asks for a session and names the one it is in, or 0. Body: a nonce (64 bits).
    Hello = 5,
    /// What was applied, what is missing, what is doubtful: [`super::Ack`].
    Ack = 6,
}

impl Kind {
    fn decode(byte: u8) -> Result<Self, DecodeError> {
        [Self::Announce, Self::Welcome, Self::Data, Self::Beat, Self::Hello, Self::Ack]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
            .ok_or(DecodeError::Value { what: "kind", expected: "1 to 6", came: byte.into() })
    }

    /// Whether a source sends it.
    pub fn is_down(self) -> bool {
        matches!(self, Self::Announce | Self::Welcome | Self::Data | Self::Beat)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    /// The router whose connections these are.
    pub source: NodeIndex,
    /// The shadow.
    pub replica: NodeIndex,
    /// Of the source: new whenever it starts.
    pub epoch: u32,
    /// Of the pair within the epoch, from 1; 0: none.
    pub session: u32,
    /// Of data, from 1 in each session; announcements in an epoch and acknowledgements in a session have their own.
    pub sequence: u64,
    /// Records; 0 but in data.
    pub count: u16,
}

/// A frame whose parts were told apart. Who made it is known only after [`Frame::is_authentic`].
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub header: Header,
    pub body: &'a [u8],
    signed: &'a [u8],
    tag: u64,
}

impl<'a> Frame<'a> {
    /// Reads what follows the EtherType or the UDP header, padding included.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let profile = reader.u8("version and profile")?;
        if profile != AGENT_PROFILE {
            return Err(DecodeError::Value { what: "version and profile", expected: "0x11", came: profile.into() });
        }
        let kind = Kind::decode(reader.u8("kind")?)?;
        let length = usize::from(reader.u16("length")?);
        if length < FRAME_OVERHEAD {
            return Err(DecodeError::Value { what: "length", expected: "at least 34", came: length as u64 });
        }
        let left = bytes.len();
        let whole = bytes.get(..length).ok_or(DecodeError::Truncated { what: "frame", expected: length, left })?;
        let (signed, tag) = whole.split_at(length - TAG_LEN);
        let header = Header {
            kind,
            source: NodeIndex(reader.u16("source")?),
            replica: NodeIndex(reader.u16("replica")?),
            epoch: u32::from_be_bytes(reader.array("epoch")?),
            session: u32::from_be_bytes(reader.array("session")?),
            sequence: reader.u64("sequence")?,
            count: reader.u16("record count")?,
        };
        let tag = Reader::new(tag).u64("tag")?;
        Ok(Self { header, body: &signed[HEADER_LEN..], signed, tag })
    }

    /// Whether whoever made it knows the key.
    pub fn is_authentic(&self, key: &Key) -> bool {
        key.tag(self.signed) == self.tag
    }

    /// The number in the body of a greeting, its answer, or a beat.
    pub fn number(&self) -> Result<u64, DecodeError> {
        let mut reader = Reader::new(self.body);
        let number = reader.u64("number")?;
        reader.end("number")?;
        Ok(number)
    }
}

/// Makes frames.
#[derive(Debug)]
pub struct FrameWriter {
    encoder: Encoder,
}

impl FrameWriter {
    /// With room for a frame of this many bytes.
    pub fn new(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.resize(HEADER_LEN, 0);
        Self { encoder: Encoder::new(bytes) }
    }

    /// Where records go.
    pub fn records(&mut self) -> &mut Encoder {
        &mut self.encoder
    }

    /// Bytes that the frame would have if it were finished now.
    pub fn length(&self) -> usize {
        self.encoder.bytes().len() + TAG_LEN
    }

    /// The frame, with the count of its records. Its length has to fit 16 bits, which bounds of frames see to.
    pub fn finish(self, header: &Header, key: &Key) -> Vec<u8> {
        let count = self.encoder.count();
        seal(self.encoder.into_bytes(), &Header { count, ..*header }, key)
    }
}

impl Header {
    /// A frame with this body and no records.
    pub fn with_body(&self, body: &[u8], key: &Key) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FRAME_OVERHEAD + body.len());
        bytes.resize(HEADER_LEN, 0);
        bytes.extend_from_slice(body);
        seal(bytes, self, key)
    }
}

fn seal(mut bytes: Vec<u8>, header: &Header, key: &Key) -> Vec<u8> {
    let length = u16::try_from(bytes.len() + TAG_LEN).expect("frames are bounded by the MTU");
    bytes[0] = AGENT_PROFILE;
    bytes[1] = header.kind as u8;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes[4..6].copy_from_slice(&header.source.0.to_be_bytes());
    bytes[6..8].copy_from_slice(&header.replica.0.to_be_bytes());
    bytes[8..12].copy_from_slice(&header.epoch.to_be_bytes());
    bytes[12..16].copy_from_slice(&header.session.to_be_bytes());
    bytes[16..24].copy_from_slice(&header.sequence.to_be_bytes());
    bytes[24..26].copy_from_slice(&header.count.to_be_bytes());
    let tag = key.tag(&bytes);
    bytes.extend_from_slice(&tag.to_be_bytes());
    bytes
}
