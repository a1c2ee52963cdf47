//! Frames of state replication: header, records, and what goes back; bytes only (docs/REPLICATION.md).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |version|profile|     kind      |     length, header to tag     |
//! |            source             |            replica            |
//! |                             epoch                             |
//! |                            session                            |
//! |                      sequence (64 bits)                       :
//! |        record count           |  records or body …            :
//! |           tag (64 bits): SipHash-2-4 of all before            :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! The length is told because Ethernet pads short frames. Decoding never panics, whatever comes.

mod connection;
mod control;
pub mod fixed;
mod frame;
mod keys;
mod reader;
mod record;
#[cfg(test)]
mod tests;

pub use connection::{Addresses, Connection, Fields, Flow, Handle, State, Tcp, Throughput};
pub use control::{Ack, RANGES_MAX, SEGMENTS_MAX};
pub use frame::{FRAME_OVERHEAD, Frame, FrameWriter, HEADER_LEN, Header, Kind, TAG_LEN};
pub use keys::{Key, PairKeys, ParseKeyError};
pub use reader::DecodeError;
pub use record::{Encoder, RECORD_LEN_MAX, Record, Records};

/// Local experimental EtherType (IEEE 802): records of every profile, on mirror ports only.
pub const ETHERTYPE: u16 = 0x88b5;
/// The same number as a UDP port, where a mirror link is routed: the frame is the payload.
pub const UDP_PORT: u16 = 0x88b5;
/// First byte of what agents send: version 1, profile 1.
pub const AGENT_PROFILE: u8 = 0x11;
