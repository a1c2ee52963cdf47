//! Keeps replication below its share of the mirror link.

use std::time::Duration;

use crate::types::Timestamp;

/// A leaky bucket by the moment at which it is empty: a frame may leave when that is at most a burst ahead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    rate_bytes_per_s: u64,
    burst: Duration,
    /// Nanoseconds, because frames on fast links take less than a microsecond.
    empty_ns: u64,
}

fn nanoseconds(now: Timestamp) -> u64 {
    now.0.saturating_mul(1000)
}

impl Pace {
    pub(super) fn new(rate_bytes_per_s: u64, burst_bytes: u64) -> Self {
        let rate_bytes_per_s = rate_bytes_per_s.max(1);
        let burst = Duration::from_nanos(cost_ns(burst_bytes, rate_bytes_per_s));
        Self { rate_bytes_per_s, burst, empty_ns: 0 }
    }

    /// The first moment at which a frame may leave.
    pub(super) fn ready_at(&self) -> Timestamp {
        Timestamp(self.empty_ns.div_ceil(1000)).before(self.burst)
    }

    pub(super) fn is_ready(&self, now: Timestamp) -> bool {
        self.ready_at() <= now
    }

    pub(super) fn spend(&mut self, bytes: usize, now: Timestamp) {
        let begin = self.empty_ns.max(nanoseconds(now));
        self.empty_ns = begin.saturating_add(cost_ns(bytes as u64, self.rate_bytes_per_s));
    }
}

fn cost_ns(bytes: u64, rate_bytes_per_s: u64) -> u64 {
    let cost = u128::from(bytes) * 1_000_000_000 / u128::from(rate_bytes_per_s);
    u64::try_from(cost).unwrap_or(u64::MAX)
}
