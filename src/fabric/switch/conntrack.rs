//! Connection tracking of one switch: what `ct` sees and remembers.
//!
//! States and time-outs are those of Open vSwitch's user-space tracker (lib/conntrack-tp.c), without its check of TCP
//! windows: emulated packets have no sequence numbers, and mid-stream packets are picked up as there.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::table::WordMap;
use crate::fabric::packet::{Packet, lane, number, tcp};
use crate::types::Timestamp;

/// Bits of `ct_state`.
pub mod state {
    pub const NEW: u64 = 0x01;
    pub const ESTABLISHED: u64 = 0x02;
    pub const REPLY: u64 = 0x08;
    pub const INVALID: u64 = 0x10;
    pub const TRACKED: u64 = 0x20;
}

/// One end of a connection: address and port.
type End = (u32, u16);

/// A connection in a zone, whichever direction the packet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    zone: u16,
    protocol: u8,
    low: End,
    high: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    SynSent,
    SynReceived,
    Established,
    FinWait,
    TimeWait,
    Closed,
    /// Not TCP: seen in one direction.
    Single,
    /// Not TCP: seen in both.
    Both,
}

impl Phase {
    const fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::SynSent | Self::SynReceived | Self::Closed | Self::Both => 30,
            Self::Established => 86_400,
            Self::FinWait => 900,
            Self::TimeWait => 45,
            Self::Single => 60,
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    /// The lower end opened it.
    opened_by_low: bool,
    phase: Phase,
    replied: bool,
    /// FIN seen from the opener and from the other end.
    fins: [bool; 2],
    mark: u32,
    expires: Timestamp,
    /// When the tracker looks at it again; never after `expires`.
    visit: Timestamp,
}

/// The tracker.
#[derive(Debug, Default)]
pub(super) struct Conntrack {
    connections: WordMap<Key, Connection>,
    deadlines: BinaryHeap<Reverse<(Timestamp, Key)>>,
}

/// What a pass through the tracker found; [`Conntrack::commit`] takes it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    key: Key,
    known: bool,
    from_low: bool,
}

impl Conntrack {
    /// Looks the packet up in `zone` and writes its state, zone and mark into it. `None` (and `+inv`) for a packet
    /// that cannot be tracked.
    pub(super) fn track(&mut self, packet: &mut Packet, zone: u16, now: Timestamp) -> Option<Verdict> {
        self.expire(now);
        packet.lanes[lane::CT_ZONE] = u64::from(zone);
        packet.lanes[lane::CT_MARK] = 0;
        if packet.lanes[lane::ETH_TYPE] != number::IPV4 {
            packet.lanes[lane::CT_STATE] = state::TRACKED | state::INVALID;
            return None;
        }
        let (key, from_low) = key_of(packet, zone);
        let flags = packet.lanes[lane::TCP_FLAGS];
        if let Some(connection) = self.connections.get_mut(&key) {
            let from_opener = connection.opened_by_low == from_low;
            let over = matches!(connection.phase, Phase::Closed | Phase::TimeWait);
            if !(over && from_opener && is_opening(packet)) {
                connection.advance(packet, from_opener);
                connection.expires = now + connection.phase.timeout();
                if connection.expires < connection.visit {
                    connection.visit = connection.expires;
                    self.deadlines.push(Reverse((connection.expires, key)));
                }
                let direction = if from_opener { 0 } else { state::REPLY };
                let age = if connection.replied { state::ESTABLISHED } else { state::NEW };
                packet.lanes[lane::CT_STATE] = state::TRACKED | age | direction;
                packet.lanes[lane::CT_MARK] = u64::from(connection.mark);
                return Some(Verdict { key, known: true, from_low });
            }
            // An opener that reuses its port starts afresh.
            self.connections.remove(&key);
        }
        if packet.lanes[lane::IP_PROTO] == number::TCP && flags & tcp::RST != 0 {
            packet.lanes[lane::CT_STATE] = state::TRACKED | state::INVALID;
            return None;
        }
        packet.lanes[lane::CT_STATE] = state::TRACKED | state::NEW;
        Some(Verdict { key, known: false, from_low })
    }

    /// Remembers the connection with the mark that the packet carries now.
    pub(super) fn commit(&mut self, verdict: Verdict, packet: &Packet, now: Timestamp) {
        let mark = packet.lanes[lane::CT_MARK] as u32;
        if verdict.known {
            if let Some(connection) = self.connections.get_mut(&verdict.key) {
                connection.mark = mark;
            }
            return;
        }
        let phase = match packet.lanes[lane::IP_PROTO] {
            number::TCP if is_opening(packet) => Phase::SynSent,
            number::TCP => Phase::Established,
            _ => Phase::Single,
        };
        let expires = now + phase.timeout();
        let replied = phase == Phase::Established;
        let connection = Connection {
            opened_by_low: verdict.from_low,
            phase,
            replied,
            fins: [false; 2],
            mark,
            expires,
            visit: expires,
        };
        self.connections.insert(verdict.key, connection);
        self.deadlines.push(Reverse((expires, verdict.key)));
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some(Reverse((at, key))) = self.deadlines.peek().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop();
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            if connection.visit != at {
                continue;
            }
            if connection.expires <= now {
                self.connections.remove(&key);
            } else {
                connection.visit = connection.expires;
                self.deadlines.push(Reverse((connection.expires, key)));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }
}

impl Connection {
    fn advance(&mut self, packet: &Packet, from_opener: bool) {
        if !from_opener {
            self.replied = true;
        }
        if packet.lanes[lane::IP_PROTO] != number::TCP {
            if self.replied {
                self.phase = Phase::Both;
            }
            return;
        }
        let flags = packet.lanes[lane::TCP_FLAGS];
        if flags & tcp::RST != 0 {
            self.phase = Phase::Closed;
            return;
        }
        if flags & tcp::FIN != 0 {
            self.fins[usize::from(!from_opener)] = true;
        }
        self.phase = match self.phase {
            Phase::Closed | Phase::TimeWait => self.phase,
            _ if self.fins == [true; 2] => Phase::TimeWait,
            _ if self.fins != [false; 2] => Phase::FinWait,
            Phase::SynSent if !from_opener && flags & tcp::SYN != 0 => Phase::SynReceived,
            Phase::SynSent | Phase::SynReceived if from_opener && flags & tcp::SYN == 0 && self.replied => {
                Phase::Established
            }
            other => other,
        };
    }
}

fn is_opening(packet: &Packet) -> bool {
    let flags = packet.lanes[lane::TCP_FLAGS];
    packet.lanes[lane::IP_PROTO] == number::TCP && flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

fn key_of(packet: &Packet, zone: u16) -> (Key, bool) {
    let source = (packet.lanes[lane::IP_SRC] as u32, packet.lanes[lane::L4_SRC] as u16);
    let destination = (packet.lanes[lane::IP_DST] as u32, packet.lanes[lane::L4_DST] as u16);
    let from_low = source <= destination;
    let (low, high) = if from_low { (source, destination) } else { (destination, source) };
    (Key { zone, protocol: packet.lanes[lane::IP_PROTO] as u8, low, high }, from_low)
}
