//! One flow entry with its counters and times.

use std::sync::Arc;
use std::time::Duration;

use super::table::Pattern;
use crate::types::Timestamp;
use crate::wire::openflow::{FlowRemoved, FlowStats, Instruction, Match};

/// A flow entry of the emulated switch.
#[derive(Debug)]
pub(super) struct Flow {
    /// Tells a reused place in the store from the flow that was there before.
    pub(super) serial: u64,
    pub(super) table: u8,
    pub(super) priority: u16,
    /// Canonical.
    pub(super) matching: Match,
    pub(super) pattern: Pattern,
    pub(super) cookie: u64,
    /// Seconds, 0 for none.
    pub(super) idle_timeout: u16,
    /// Seconds, 0 for none.
    pub(super) hard_timeout: u16,
    pub(super) flags: u16,
    /// In the order of execution.
    pub(super) instructions: Arc<[Instruction]>,
    pub(super) created: Timestamp,
    /// The hard time-out counts from here.
    pub(super) modified: Timestamp,
    /// The idle time-out counts from here.
    pub(super) used: Timestamp,
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Flow {
    /// When it will end if no further packet comes, and by which of OpenFlow's reasons.
    pub(super) fn deadline(&self) -> Option<(Timestamp, u8)> {
        use crate::wire::openflow::removed_reason::{HARD_TIMEOUT, IDLE_TIMEOUT};
        let after = |start: Timestamp, secs: u16, reason: u8| {
            (secs > 0).then(|| (start + Duration::from_secs(u64::from(secs)), reason))
        };
        let hard = after(self.modified, self.hard_timeout, HARD_TIMEOUT);
        let idle = after(self.used, self.idle_timeout, IDLE_TIMEOUT);
        match (hard, idle) {
            (Some(hard), Some(idle)) => Some(hard.min(idle)),
            (hard, idle) => hard.or(idle),
        }
    }

    pub(super) fn removed(&self, reason: u8, now: Timestamp) -> FlowRemoved {
        let duration = now.since(self.created);
        FlowRemoved {
            cookie: self.cookie,
            priority: self.priority,
            reason,
            table_id: self.table,
            duration_sec: u32::try_from(duration.as_secs()).unwrap_or(u32::MAX),
            duration_nsec: duration.subsec_nanos(),
            idle_timeout: self.idle_timeout,
            hard_timeout: self.hard_timeout,
            packet_count: self.packets,
            byte_count: self.bytes,
            matching: self.matching.clone(),
        }
    }

    pub(super) fn stats(&self, now: Timestamp) -> FlowStats {
        let duration = now.since(self.created);
        FlowStats {
            table_id: self.table,
            duration_sec: u32::try_from(duration.as_secs()).unwrap_or(u32::MAX),
            duration_nsec: duration.subsec_nanos(),
            priority: self.priority,
            idle_timeout: self.idle_timeout,
            hard_timeout: self.hard_timeout,
            flags: self.flags,
            cookie: self.cookie,
            packet_count: self.packets,
            byte_count: self.bytes,
            matching: self.matching.clone(),
            instructions: self.instructions.to_vec(),
        }
    }
}
