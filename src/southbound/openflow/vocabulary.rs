//! What a session is set to, what it says, and why it fails or ends.

use std::time::Duration;

use thiserror::Error;

use super::errors::{error_text, hint};
use super::multipart::AssemblyError;
use crate::southbound::{Description, Port, SessionRole};
use crate::types::DatapathId;
use crate::wire::openflow::{
    AsyncConfig, BundleControl, DecodeError, EncodeError, FlowRemoved, MultipartReplyBody, PacketIn, PortStatus,
};

/// Time-outs and bounds of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// From accepting the connection to the answer that describes the ports.
    pub handshake_timeout: Duration,
    /// How often the peer is asked for an echo, silent or busy: it shows life, and measures the round trip.
    pub echo_interval: Duration,
    /// Silence after that question which makes the peer dead.
    pub echo_timeout: Duration,
    /// What this controller wants to be to the switch.
    pub role: RoleSetting,
    /// What the switch is to tell unasked, by role and reason.
    pub asynchronous: AsyncConfig,
    /// Longest frame taken (a header can say at most 65,535).
    pub frame_bytes_max: usize,
    /// One malformed frame more than this closes the session.
    pub malformed_max: u32,
    /// Requests whose answer, error or barrier is awaited.
    pub outstanding_max: usize,
    /// Packet-outs and the like, for which no barrier is sent: an error is tied to one of the latest of them.
    pub forgettable_max: usize,
    /// Longest answer put together from multipart messages, in bytes on the wire. 100,000 flows are some 20 MB.
    pub multipart_bytes_max: usize,
    /// Bytes waiting for the socket at which a peer that does not read is given up.
    pub output_bytes_max: usize,
    /// Bytes of a packet sent to the controller on a table miss; 0xffff is all of it, unbuffered.
    pub miss_send_len: u16,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            echo_interval: Duration::from_secs(5),
            echo_timeout: Duration::from_secs(5),
            role: RoleSetting::Equal,
            asynchronous: USED,
            frame_bytes_max: usize::from(u16::MAX),
            malformed_max: 100,
            outstanding_max: 4_096,
            forgettable_max: 64,
            multipart_bytes_max: 64 << 20,
            output_bytes_max: 8 << 20,
            miss_send_len: crate::wire::openflow::CONTROLLER_NO_BUFFER,
        }
    }
}

/// What the data path and discovery make use of: packets that a table missed or an action sent (not those whose TTL ran
/// out), every change of a port, every end of an entry. A slave follows the ports alone.
const USED: AsyncConfig = AsyncConfig { packet_in: [0b011, 0], port_status: [0b111, 0b111], flow_removed: [0b1111, 0] };

/// What a controller asks to be (section 6.3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoleSetting {
    /// One among equals, which every controller is without asking.
    #[default]
    Equal,
    /// The only one that may change the switch. A switch that has seen a newer generation refuses, and the session ends.
    Master { generation: u64 },
}

/// Which part of the agent a request belongs to; its answer goes back there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The handshake itself.
    Session,
    /// A wish of the handshake's that a switch may refuse.
    Setup,
    Installer,
    /// A barrier that only keeps messages in order; nobody waits for its reply.
    Ordering,
    Collector,
    Housekeeping,
    /// Connections read and written for replication.
    Connections,
    /// A packet-out, or another message that no barrier follows.
    Packet,
}

/// What a session has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionEvent {
    Up {
        datapath: DatapathId,
        description: Description,
        ports: Vec<Port>,
    },
    /// An auxiliary connection of this datapath is complete: it carries packets, and answers echoes.
    Auxiliary {
        datapath: DatapathId,
        auxiliary_id: u8,
    },
    /// The switch answered an echo request.
    RoundTrip {
        took: Duration,
    },
    /// The switch says that this controller is something else now, and why.
    RoleChanged {
        role: SessionRole,
        reason: &'static str,
    },
    PortStatus(PortStatus),
    PacketIn(PacketIn),
    FlowRemoved(FlowRemoved),
    /// A whole answer, put together if it came in parts.
    Answered {
        xid: u32,
        owner: Owner,
        answer: Answer,
    },
    /// The switch refused the request, or its answer was unusable.
    Failed {
        xid: u32,
        owner: Owner,
        error: RequestError,
    },
    Closed {
        reason: CloseReason,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Multipart(MultipartReplyBody),
    Barrier,
    /// A bundle was opened, committed, closed or discarded.
    Bundle(BundleControl),
    /// What the switch tells unasked.
    Async(AsyncConfig),
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    #[error("the switch answered {}{}", error_text(*.error_type, *.code), hint(*.error_type, *.code))]
    Refused { error_type: u16, code: u16 },
    #[error("the answer is malformed: {0}")]
    Malformed(DecodeError),
    #[error("the answer is unusable: {0}")]
    Unusable(AssemblyError),
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    #[error("the session is not up")]
    NotUp,
    #[error("expected at most {max} requests outstanding")]
    Full { max: usize },
    #[error("the message has no form on the wire: {0}")]
    Unencodable(#[from] EncodeError),
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CloseReason {
    #[error("expected HELLO first, came message type {message_type}")]
    NotHello { message_type: u8 },
    #[error("no common version: this side speaks OpenFlow 1.3 (4), the peer's HELLO offers {offered}; allow 1.3 there")]
    NoCommonVersion { offered: String },
    #[error("the peer refused the session: {text}")]
    RefusedByPeer { text: String },
    #[error("handshake not finished within {limit:?} (stood at {phase:?})")]
    HandshakeTimeout { limit: Duration, phase: Phase },
    #[error("handshake failed: {why}")]
    Handshake { why: String },
    #[error("auxiliary connection {auxiliary_id}: {why}")]
    Auxiliary { auxiliary_id: u8, why: String },
    #[error("the switch refused generation {generation} as master: it knows a newer one ({})", error_text(11, 0))]
    StaleRole { generation: u64 },
    #[error("no answer to an echo request within {limit:?}")]
    Dead { limit: Duration },
    #[error("expected a frame of {min} to {max} bytes, came a length of {came}")]
    FrameLength { min: usize, max: usize, came: usize },
    #[error("more than {max} malformed frames, the last: {last}")]
    TooManyMalformed { max: u32, last: String },
    #[error("the peer does not read: {bytes} bytes wait to be sent")]
    NotReading { bytes: usize },
    #[error("{0}")]
    Transport(String),
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Our HELLO is sent, the peer's is awaited.
    Hello,
    /// FEATURES_REQUEST is sent.
    Features,
    /// The switch's and its ports' descriptions are asked for.
    Describe,
    Up,
    /// An auxiliary connection, which carries packets and echoes alone.
    Auxiliary,
    Closed,
}
