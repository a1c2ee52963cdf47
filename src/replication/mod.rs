//! State replication: a source tells its connections to shadows, and a shadow holds a replica of them (docs/REPLICATION.md).
//!
//! Both are machines without sockets and without a clock: frames and the time go in, frames and deadlines come out.
//!
//! Invariants, by their numbers in the document:
//!
//! 1. A replica applies the frames of a session in sequence, each once. So its state is always that which the source had
//!    told after some frame of the session.
//! 2. What was not acknowledged stays in the ring. A full ring stops new frames, and changes wait in the table, where the
//!    last value of each field is the only one.
//! 3. Nothing changes state that is not authentic, of the session in force, and next in sequence.

mod digest;
mod marks;
mod outbox;
mod pace;
mod pair;
#[cfg(test)]
mod part_tests;
mod refusal;
mod replica;
mod ring;
mod session;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod window;

use std::time::Duration;

pub use refusal::{Refusal, Refused};
pub use replica::{Change, Replica};
pub use source::Source;
pub use table::Full;

/// Handles of a segment, the unit of snapshots, digests and repair.
pub const SEGMENT: u32 = 256;

/// Bounds and intervals. Both sides may differ in all but `connections_max`, which a replica needs as large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Connections that a table holds at most.
    pub connections_max: u32,
    /// Bytes of a frame without its Ethernet header: the MTU.
    pub frame_bytes_max: usize,
    /// How long a change may wait for others to share its frame.
    pub batch: Duration,
    /// What replication may take of a mirror link, framing and repeated frames included.
    pub rate_bytes_per_s: u64,
    /// What may leave at once after a pause.
    pub burst_bytes: u64,
    /// Frames that were sent and not acknowledged, in bytes.
    pub ring_bytes_max: usize,
    /// Between beats while something is not acknowledged.
    pub beat_busy: Duration,
    /// Between beats, announcements and greetings otherwise.
    pub beat_idle: Duration,
    /// A replica that was not heard for so long has lost its session.
    pub silence: Duration,
    /// In which every segment's digest is told once, unless there are so many that `audit_pause` makes it longer.
    pub audit_pass: Duration,
    /// Least time between two digests.
    pub audit_pause: Duration,
    /// How long a missing frame is waited for before it is asked for, and asked for again.
    pub request: Duration,
    /// How long an acknowledgement may wait for more frames.
    pub ack_delay: Duration,
    /// Frames that a replica keeps behind a missing one.
    pub reorder_frames_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 1 << 21,
            frame_bytes_max: 1500,
            batch: Duration::from_millis(2),
            rate_bytes_per_s: 12_500_000,
            burst_bytes: 64 << 10,
            ring_bytes_max: 4 << 20,
            beat_busy: Duration::from_millis(50),
            beat_idle: Duration::from_millis(500),
            silence: Duration::from_secs(30),
            audit_pass: Duration::from_secs(30),
            audit_pause: Duration::from_millis(10),
            request: Duration::from_millis(5),
            ack_delay: Duration::from_millis(10),
            reorder_frames_max: 4096,
        }
    }
}

/// How far behind a replica is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Frames that were made and are not acknowledged.
    pub frames: u64,
    /// Changed connections that no frame tells yet, those of an unfinished snapshot left out.
    pub waiting: u64,
    /// Age of the oldest change that is not acknowledged; zero when there is none.
    pub oldest: Duration,
    /// Segments that the replica doubts now.
    pub diverged: u32,
    /// Segments that were ever repaired.
    pub repaired: u64,
    /// Since the replica was last heard.
    pub unheard: Duration,
}
