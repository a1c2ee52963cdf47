//! Where sessions have the time from.

use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::types::Timestamp;

/// The present moment.
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> Timestamp;
}

/// The time of day at its start, and from there on a steady clock: it never jumps.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    started: Instant,
    started_at: Timestamp,
}

impl Default for WallClock {
    fn default() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_at: Timestamp::default() + since_epoch }
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        self.started_at + self.started.elapsed()
    }
}
