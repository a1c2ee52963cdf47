//! Records of P4 switches: one connection a frame, every field at its place (docs/P4.md, "Records").
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+-------------------------------+
//! |version|profile|     event     |             owner             |
//! +-------+-------+---------------+-------------------------------+
//! |                           sequence                            |
//! +---------------------------------------------------------------+
//! |               slot, from the start of the region              |
//! +---------------------------------------------------------------+
//! |                      age_ms: since opened                     |
//! +---------------------------------------------------------------+
//! |                silent_ms: since the last packet               |
//! +---------------------------------------------------------------+
//! |                         client address                        |
//! +---------------------------------------------------------------+
//! |                         server address                        |
//! +-------------------------------+-------------------------------+
//! |          client port          |          server port          |
//! +---------------+---------------+-------------------------------+
//! |   protocol    |     flags     |  1 established, 2 closing, 4 copy
//! +---------------+---------------+
//! ```
//!
//! Big-endian, behind an Ethernet header of type 0x88B5. What follows is padding of the wire. Decoding never panics.

use std::net::Ipv4Addr;

use thiserror::Error;

use crate::types::{MacAddr, NodeIndex};

/// EtherType of records.
pub const ETHER_TYPE: u16 = 0x88b5;
/// Bytes of a record, and of its frame.
pub const LENGTH: usize = 34;
pub const FRAME_LENGTH: usize = HEADER + LENGTH;
/// Version 1, profile 2.
pub const FIRST: u8 = 0x12;

const HEADER: usize = 14;
const ESTABLISHED: u8 = 1;
const CLOSING: u8 = 2;
const COPY: u8 = 4;

/// Why a record was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordEvent {
    Opened,
    Established,
    Closing,
    /// A packet came by, after a while without news.
    Touched,
    /// The connection is forgotten: nothing came by for too long.
    Ended,
    /// Nothing happened: a sweep tells of every connection.
    Emitted,
}

impl RecordEvent {
    const ALL: [Self; 6] = [Self::Opened, Self::Established, Self::Closing, Self::Touched, Self::Ended, Self::Emitted];

    fn number(self) -> u8 {
        match self {
            Self::Opened => 1,
            Self::Established => 2,
            Self::Closing => 3,
            Self::Touched => 4,
            Self::Ended => 5,
            Self::Emitted => 6,
        }
    }
}

/// One connection, as the switch that sent it holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub event: RecordEvent,
    /// The router whose connection it is, whoever carries it now.
    pub owner: NodeIndex,
    /// From 1, modulo 2^32: of the changes of this owner; of what a sweep emits, from its beginning.
    pub sequence: u32,
    pub slot: u32,
    pub age_ms: u32,
    pub silent_ms: u32,
    pub client: Ipv4Addr,
    pub server: Ipv4Addr,
    /// Of ICMP echo, the identifier as both ports.
    pub client_port: u16,
    pub server_port: u16,
    pub protocol: u8,
    pub established: bool,
    pub closing: bool,
    /// The sender has it from another and did not see a packet itself.
    pub copy: bool,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error("a record of {0} bytes; expected {LENGTH}")]
    Length(usize),
    #[error("a frame of {0} bytes; expected {FRAME_LENGTH}")]
    FrameLength(usize),
    #[error("a frame of type {0:#06x}; expected {ETHER_TYPE:#06x}")]
    EtherType(u16),
    #[error("a record that begins with {0:#04x}; expected {FIRST:#04x}")]
    First(u8),
    #[error("a record of event {0}; expected 1 to 6")]
    Event(u8),
    #[error("a record of no connection: addresses, ports and protocol are 0")]
    Nothing,
}

impl Record {
    /// Reads what follows the Ethernet header. Flags without a meaning are left out.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let Some((bytes, _)) = bytes.split_first_chunk::<LENGTH>() else {
            return Err(RecordError::Length(bytes.len()));
        };
        if bytes[0] != FIRST {
            return Err(RecordError::First(bytes[0]));
        }
        let event = RecordEvent::ALL.into_iter().find(|event| event.number() == bytes[1]);
        let event = event.ok_or(RecordError::Event(bytes[1]))?;
        if bytes[20..33].iter().all(|byte| *byte == 0) {
            return Err(RecordError::Nothing);
        }
        let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| u32::from(half(at)) << 16 | u32::from(half(at + 2));
        Ok(Self {
            event,
            owner: NodeIndex(half(2)),
            sequence: word(4),
            slot: word(8),
            age_ms: word(12),
            silent_ms: word(16),
            client: Ipv4Addr::from_bits(word(20)),
            server: Ipv4Addr::from_bits(word(24)),
            client_port: half(28),
            server_port: half(30),
            protocol: bytes[32],
            established: bytes[33] & ESTABLISHED != 0,
            closing: bytes[33] & CLOSING != 0,
            copy: bytes[33] & COPY != 0,
        })
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend([FIRST, self.event.number()]);
        bytes.extend(self.owner.0.to_be_bytes());
        for word in [self.sequence, self.slot, self.age_ms, self.silent_ms] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(self.client.octets());
        bytes.extend(self.server.octets());
        bytes.extend(self.client_port.to_be_bytes());
        bytes.extend(self.server_port.to_be_bytes());
        let flags = [(self.established, ESTABLISHED), (self.closing, CLOSING), (self.copy, COPY)];
        let flags = flags.into_iter().filter(|(set, _)| *set).fold(0, |flags, (_, bit)| flags | bit);
        bytes.extend([self.protocol, flags]);
        bytes
    }

    /// Reads a whole frame.
    pub fn from_frame(frame: &[u8]) -> Result<Self, RecordError> {
        let Some((header, rest)) = frame.split_first_chunk::<HEADER>() else {
            return Err(RecordError::FrameLength(frame.len()));
        };
        let kind = u16::from_be_bytes([header[12], header[13]]);
        if kind != ETHER_TYPE {
            return Err(RecordError::EtherType(kind));
        }
        Self::decode(rest)
    }

    /// The frame that a switch sends: to everyone on the link, from the owner.
    pub fn to_frame(&self) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend(MacAddr::of_node(self.owner).0);
        frame.extend(ETHER_TYPE.to_be_bytes());
        frame.extend(self.encode());
        frame
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record {
        Record {
            event: RecordEvent::Closing,
            owner: NodeIndex(0x0102),
            sequence: 0x0304_0506,
            slot: 0x0708_090a,
            age_ms: 0x0b0c_0d0e,
            silent_ms: 0x0f10_1112,
            client: Ipv4Addr::new(10, 1, 0, 10),
            server: Ipv4Addr::new(198, 51, 100, 10),
            client_port: 40_000,
            server_port: 443,
            protocol: 6,
            established: true,
            closing: true,
            copy: false,
        }
    }

    const GOLDEN: [u8; LENGTH] = [
        0x12, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 10, 1, 0, 10, 198, 51, 100, 10, 0x9c,
        0x40, 0x01, 0xbb, 6, 3,
    ];

    #[test]
    fn golden_bytes() {
        assert_eq!(record().encode(), GOLDEN);
        assert_eq!(Record::decode(&GOLDEN), Ok(record()));
        let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0x46, 0x53, 1, 1, 2, 0x88, 0xb5];
        frame.extend(GOLDEN);
        assert_eq!(record().to_frame(), frame);
        assert_eq!(frame.len(), FRAME_LENGTH);
        frame.resize(60, 0);
        assert_eq!(Record::from_frame(&frame), Ok(record()), "a short frame is padded");
    }

    #[test]
    fn what_is_no_record() {
        let with = |at: usize, value: u8| {
            let mut bytes = GOLDEN;
            bytes[at] = value;
            bytes
        };
        let mut nothing = GOLDEN;
        nothing[20..33].fill(0);
        let table = [
            (&GOLDEN[..33], RecordError::Length(33)),
            (&[][..], RecordError::Length(0)),
            (&with(0, 0x11)[..], RecordError::First(0x11)),
            (&with(0, 0x22)[..], RecordError::First(0x22)),
            (&with(1, 0)[..], RecordError::Event(0)),
            (&with(1, 7)[..], RecordError::Event(7)),
            (&nothing[..], RecordError::Nothing),
        ];
        for (bytes, error) in table {
            assert_eq!(Record::decode(bytes), Err(error), "{bytes:?}");
        }
        let frame = record().to_frame();
        assert_eq!(Record::from_frame(&frame[..13]), Err(RecordError::FrameLength(13)));
        assert_eq!(Record::from_frame(&frame[..47]), Err(RecordError::Length(33)));
        let mut other = frame.clone();
        other[13] = 0xcc;
        assert_eq!(Record::from_frame(&other), Err(RecordError::EtherType(0x88cc)));
        assert_eq!(Record::decode(&with(33, 0xfd)).map(|it| (it.established, it.closing)), Ok((true, false)));
        assert_eq!(Record::decode(&with(33, 4)).map(|it| it.copy), Ok(true));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Record::from_frame(&bytes);
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(&record.encode()[..33], &bytes[..33]);
            }
        }

        #[test]
        fn round_trip(event in 0_usize..6, owner: u16, numbers: [u32; 4], client: u32, server: u32, ports: (u16, u16), protocol in 1_u8.., flags: (bool, bool, bool)) {
            let [sequence, slot, age_ms, silent_ms] = numbers;
            let record = Record {
                event: RecordEvent::ALL[event],
                owner: NodeIndex(owner),
                sequence,
                slot,
                age_ms,
                silent_ms,
                client: client.into(),
                server: server.into(),
                client_port: ports.0,
                server_port: ports.1,
                protocol,
                established: flags.0,
                closing: flags.1,
                copy: flags.2,
            };
            prop_assert_eq!(Record::from_frame(&record.to_frame()), Ok(record));
        }
    }
}
