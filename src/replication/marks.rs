//! How long the first of a queue has waited, without a time for each.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::Timestamp;

/// Marks are no closer than this, and the further apart the longer the queue has waited.
const CLOSEST: Duration = Duration::from_millis(1);
const SHARE: u32 = 16;

/// Times of some places of a queue. The time it gives is at most a sixteenth of the wait, or a millisecond, too early.
#[derive(Debug, Default)]
pub(super) struct Marks {
    marks: VecDeque<(u64, Timestamp)>,
    pushed: u64,
    popped: u64,
}

impl Marks {
    pub(super) fn push(&mut self, now: Timestamp) {
        let apart = |first: Timestamp| CLOSEST.max(now.since(first) / SHARE);
        let near = match (self.marks.front(), self.marks.back()) {
            (Some((_, first)), Some((_, last))) => now.since(*last) < apart(*first),
            _ => false,
        };
        if !near {
            self.marks.push_back((self.pushed, now));
        }
        self.pushed += 1;
    }

    pub(super) fn pop(&mut self) {
        self.popped += 1;
        while self.marks.get(1).is_some_and(|(place, _)| *place <= self.popped) {
            self.marks.pop_front();
        }
        if self.popped == self.pushed {
            self.marks.clear();
        }
    }

    /// When the first of the queue came, or a little before.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.marks.front().map(|(_, time)| *time)
    }
}
