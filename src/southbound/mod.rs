//! Sessions with switches. Upper layers see one vocabulary for every protocol: [`Event`] in, [`Command`] out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::plan::{Choice, DatapathPlan, Generation, Station};
use crate::types::{DatapathId, MacAddr, NodeIndex, PortNo, ServiceId};

mod clock;
mod gate;
pub mod openflow;
pub mod p4runtime;

pub use clock::{Clock, WallClock};

/// Events of all sessions on their way to the controller: some seconds' worth for hundreds of switches. When it is
/// full, sessions stop reading their sockets, so that TCP slows the switches down; packet-ins are dropped before that.
pub const EVENTS_MAX: usize = 4_096;

/// What a switch, or the session with it, reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The handshake is complete; nothing has been installed by this session yet.
    SwitchUp {
        datapath: DatapathId,
        peer: String,
        description: Description,
        ports: Vec<Port>,
    },
    /// What the switch was found to hold of ours when its session began: how many flows and groups, how it chooses
    /// routers (by the number of the service), and for a bridge the stations on its edge ports and the ports to other
    /// switches. Comes once a session, before anything is installed.
    Found {
        datapath: DatapathId,
        entries: usize,
        choices: BTreeMap<u16, Choice>,
        stations: Vec<(Station, PortNo)>,
        #[serde(default)]
        links: Vec<PortNo>,
    },
    /// Routers in whose place a third-stage or outside switch was found to use others, if any; comes before
    /// [`Event::Found`].
    FoundStandIns {
        datapath: DatapathId,
        stand_ins: BTreeMap<NodeIndex, NodeIndex>,
    },
    /// Time from an echo request to its reply.
    RoundTrip {
        datapath: DatapathId,
        us: u64,
    },
    /// What the session has carried so far, and how it stands; comes with every round trip.
    SessionStatus {
        datapath: DatapathId,
        status: Box<SessionStatus>,
    },
    /// What this controller is to the switch has changed while the session stood, and why.
    RoleChanged {
        datapath: DatapathId,
        role: SessionRole,
        reason: String,
    },
    /// A connection never became a session: what its peer did wrong. The same is told once a minute.
    ConnectionRefused {
        peer: String,
        reason: String,
    },
    /// The session ended; the switch goes on forwarding by what it holds.
    SwitchDown {
        datapath: DatapathId,
        reason: String,
    },
    PortChanged {
        datapath: DatapathId,
        port: Port,
        removed: bool,
    },
    PacketIn {
        datapath: DatapathId,
        in_port: PortNo,
        #[serde(with = "crate::types::hex_bytes")]
        data: Vec<u8>,
    },
    /// Answer to [`Command::Collect`]. A part the switch did not answer is `None`/empty.
    Reading {
        datapath: DatapathId,
        reading: Reading,
    },
    /// A connection's entry left a first-stage table.
    ConnectionEnded {
        datapath: DatapathId,
        ended: ConnectionEnded,
    },
    /// Answer to [`Command::ReadConnections`]: everything that the switch holds of this owner.
    Connections {
        datapath: DatapathId,
        owner: NodeIndex,
        connections: Vec<Connection>,
    },
    /// Answer to [`Command::WriteConnections`].
    ConnectionsWritten {
        datapath: DatapathId,
        owner: NodeIndex,
        added: u64,
        removed: u64,
    },
    /// Answer to [`Command::ReplayConnections`]: records that left, and then number and digest of what the switch holds.
    ConnectionsReplayed {
        datapath: DatapathId,
        owner: NodeIndex,
        shadow: NodeIndex,
        sent: u64,
        count: u64,
        digest: u64,
    },
    /// Answer to [`Command::DigestConnections`]: number and order-independent digest of what the switch holds of the owner.
    ConnectionsDigest {
        datapath: DatapathId,
        owner: NodeIndex,
        count: u64,
        digest: u64,
    },
    /// Answer to [`Command::SweepCopies`]: copies that are in doubt from now on, or were forgotten.
    CopiesSwept {
        datapath: DatapathId,
        owner: NodeIndex,
        purged: bool,
        copies: u64,
    },
    /// A command about the connections of this owner came to nothing.
    ConnectionsFailed {
        datapath: DatapathId,
        owner: NodeIndex,
        error: String,
    },
    /// Everything up to this generation is in the switch, confirmed by a barrier.
    Installed {
        datapath: DatapathId,
        generation: Generation,
        counts: InstallCounts,
    },
    /// The switch refused a message of this generation. The installer retries; this says so.
    InstallFailed {
        datapath: DatapathId,
        generation: Generation,
        error: String,
    },
}

/// What the upper layers ask of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Bring the switch to this state, sending only the difference.
    Install { datapath: DatapathId, generation: Generation, plan: Box<DatapathPlan> },
    /// Read the counters once; answered by one [`Event::Reading`].
    Collect { datapath: DatapathId },
    /// Ask at once for a sign of life of the session, unless one is awaited already; answered by [`Event::RoundTrip`].
    Echo { datapath: DatapathId },
    /// Reads what the switch holds of an owner's connections; answered by [`Event::Connections`].
    ReadConnections { datapath: DatapathId, owner: NodeIndex },
    /// Adds and removes connections of an owner; answered by [`Event::ConnectionsWritten`].
    WriteConnections { datapath: DatapathId, owner: NodeIndex, add: Vec<Connection>, remove: Vec<Connection> },
    /// Sends everything of the owner out of the mirror port to the shadow; answered by [`Event::ConnectionsReplayed`].
    ReplayConnections { datapath: DatapathId, owner: NodeIndex, shadow: NodeIndex },
    /// Answered by [`Event::ConnectionsDigest`].
    DigestConnections { datapath: DatapathId, owner: NodeIndex },
    /// Before a replay: copies of the owner's connections are in doubt until it confirms them. After it: what it did not
    /// confirm is forgotten (`purge`). Answered by [`Event::CopiesSwept`].
    SweepCopies { datapath: DatapathId, owner: NodeIndex, purge: bool },
    PacketOut {
        datapath: DatapathId,
        port: PortNo,
        #[serde(with = "crate::types::hex_bytes")]
        data: Vec<u8>,
    },
    /// Sends a frame to everyone, as if it had come in by this port: along the spanning tree and out of the edge ports.
    /// Bridges only.
    Flood {
        datapath: DatapathId,
        in_port: PortNo,
        #[serde(with = "crate::types::hex_bytes")]
        data: Vec<u8>,
    },
}

impl Command {
    pub fn datapath(&self) -> DatapathId {
        match self {
            Self::Install { datapath, .. }
            | Self::Collect { datapath }
            | Self::Echo { datapath }
            | Self::ReadConnections { datapath, .. }
            | Self::WriteConnections { datapath, .. }
            | Self::ReplayConnections { datapath, .. }
            | Self::DigestConnections { datapath, .. }
            | Self::SweepCopies { datapath, .. }
            | Self::PacketOut { datapath, .. }
            | Self::Flood { datapath, .. } => *datapath,
        }
    }
}

impl Command {
    /// The owner, where this is about the connections of one.
    pub fn owner(&self) -> Option<NodeIndex> {
        match self {
            Self::ReadConnections { owner, .. }
            | Self::WriteConnections { owner, .. }
            | Self::ReplayConnections { owner, .. }
            | Self::DigestConnections { owner, .. }
            | Self::SweepCopies { owner, .. } => Some(*owner),
            Self::Install { .. }
            | Self::Collect { .. }
            | Self::Echo { .. }
            | Self::PacketOut { .. }
            | Self::Flood { .. } => None,
        }
    }
}

/// One connection as a first-stage switch holds it, its own or a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Connection {
    pub client: Ipv4Addr,
    pub server: Ipv4Addr,
    pub client_port: u16,
    pub server_port: u16,
    /// As in the IPv4 header.
    pub protocol: u8,
    /// Its handshake is complete; true for anything but TCP.
    pub established: bool,
    /// A FIN or RST was seen.
    pub closing: bool,
    /// The switch was told of it by a copy, and holds it outside its own capacity.
    #[serde(default)]
    pub copy: bool,
    /// Of a protocol without handshake, and the packet that opened it was its last so far: nobody is told of such.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fleeting: bool,
}

impl Connection {
    /// What makes it one and the same: addresses, ports, protocol.
    pub fn key(&self) -> ConnectionKey {
        (self.client, self.server, self.client_port, self.server_port, self.protocol)
    }
}

/// Client and server address, client and server port, protocol.
pub type ConnectionKey = (Ipv4Addr, Ipv4Addr, u16, u16, u8);

/// Why a command went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    #[error("datapath {0} is not connected")]
    NotConnected(DatapathId),
    #[error("datapath {0} takes no commands any more; its session is closed")]
    QueueFull(DatapathId),
}

/// What a controller is to a switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionRole {
    #[default]
    Equal,
    Master,
    Slave,
}

impl std::fmt::Display for SessionRole {
    /// In words that both protocols' people know.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Equal => "equal",
            Self::Master => "primary (master)",
            Self::Slave => "backup (slave)",
        })
    }
}

/// Counters of a session since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    pub role: SessionRole,
    /// The last echo.
    pub round_trip_us: u64,
    /// Messages by their kind; kinds that never came are left out.
    pub messages_in: BTreeMap<String, u64>,
    pub messages_out: BTreeMap<String, u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Errors that the switch sent, and those among them that answer nothing this side waited for.
    pub errors_in: u64,
    pub errors_untied: u64,
    /// Errors sent to the switch: answers to malformed messages.
    pub errors_out: u64,
    pub malformed: u64,
    /// Answers that came after their request was given up.
    pub late_answers: u64,
    /// Packet-ins that found no room on their way to the controller.
    pub dropped_packet_ins: u64,
    /// Earlier sessions of this switch with this controller.
    pub reconnects: u64,
    pub auxiliary_connections: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    pub manufacturer: String,
    pub hardware: String,
    pub software: String,
    pub serial: String,
    pub datapath: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub number: PortNo,
    pub mac: MacAddr,
    pub name: String,
    pub up: bool,
    /// Current speed, 0 where the switch does not tell.
    pub speed_kbps: u32,
}

/// Cumulative counters of one switch at one moment (the time of the event).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// First-stage switches only.
    pub connections: Option<ConnectionCounters>,
    pub ports: BTreeMap<PortNo, PortCounters>,
    /// Third-stage switches only: new connections given to each router since the entries were installed.
    pub chosen: BTreeMap<ServiceId, BTreeMap<NodeIndex, u64>>,
    /// Connections that ended since the reading before, where a switch tells of them together and not one by one
    /// ([`Event::ConnectionEnded`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<ConnectionsEnded>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCounters {
    /// Entries of the connection table now: every one holds a slot of the capacity.
    pub occupied: u64,
    /// Entries among them that saw a FIN or RST and wait for their time-out.
    pub closing: u64,
    /// Connections ever admitted.
    pub admitted: u64,
    /// Connections ever refused because the table was full (a retransmitted opening packet counts once).
    pub refused: u64,
    /// Packets dropped because they belong to no known connection.
    pub unknown: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortCounters {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionEnded {
    /// Which it was, where the switch tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub which: Option<Connection>,
    /// Lifetime without the time-out that ended the entry.
    pub duration_ms: u64,
    pub packets: u64,
    pub bytes: u64,
}

/// Connections that ended, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsEnded {
    pub count: u64,
    /// Sum of their lifetimes, from the first packet to the last.
    pub lifetime_ms_total: u64,
}

/// What it took to bring a switch to a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallCounts {
    pub flows_added: u32,
    pub flows_modified: u32,
    pub flows_deleted: u32,
    pub groups_added: u32,
    pub groups_modified: u32,
    pub groups_deleted: u32,
    /// Entries that were already right and were left alone.
    pub unchanged: u32,
}

impl std::ops::AddAssign for InstallCounts {
    fn add_assign(&mut self, other: Self) {
        self.flows_added += other.flows_added;
        self.flows_modified += other.flows_modified;
        self.flows_deleted += other.flows_deleted;
        self.groups_added += other.groups_added;
        self.groups_modified += other.groups_modified;
        self.groups_deleted += other.groups_deleted;
        self.unchanged += other.unchanged;
    }
}
