//! Frames that were made and are not acknowledged: sent once, and again where they are missing.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::types::Timestamp;

#[derive(Debug)]
struct Kept {
    frame: Bytes,
    /// When the oldest change in it was made.
    oldest: Timestamp,
    /// When it was last sent.
    sent: Timestamp,
    /// Whether it waits to be sent again.
    asked: bool,
}

/// Bounded in bytes by whoever pushes: see [`Ring::has_room`].
#[derive(Debug)]
pub(super) struct Ring {
    kept: VecDeque<Kept>,
    /// Sequence of the first kept frame.
    first: u64,
    /// Sequence of the first frame that was never sent.
    unsent: u64,
    asked: VecDeque<u64>,
    bytes: usize,
    bytes_max: usize,
}

impl Ring {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { kept: VecDeque::new(), first: 1, unsent: 1, asked: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.bytes_max
    }

    /// Sequence that the next frame gets.
    pub(super) fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    pub(super) fn len(&self) -> u64 {
        self.kept.len() as u64
    }

    pub(super) fn push(&mut self, frame: Bytes, oldest: Timestamp) {
        self.bytes += frame.len();
        self.kept.push_back(Kept { frame, oldest, sent: Timestamp(0), asked: false });
    }

    /// When the oldest change was made that is not acknowledged.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.kept.iter().map(|kept| kept.oldest).min()
    }

    /// Whether a frame is to be sent, again or for the first time.
    pub(super) fn is_waiting(&self) -> bool {
        !self.asked.is_empty() || self.unsent < self.next()
    }

    /// The next frame to send: what is missing before what is new, because nothing new is applied until then.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<Bytes> {
        while let Some(sequence) = self.asked.pop_front() {
            if let Some(kept) = self.at(sequence) {
                (kept.asked, kept.sent) = (false, now);
                return Some(kept.frame.clone());
            }
        }
        let sequence = self.unsent;
        let kept = self.at(sequence)?;
        kept.sent = now;
        let frame = kept.frame.clone();
        self.unsent += 1;
        Some(frame)
    }

    fn at(&mut self, sequence: u64) -> Option<&mut Kept> {
        let position = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.kept.get_mut(position)
    }

    /// Everything up to this frame has arrived. `false` when it was never made.
    pub(super) fn acknowledge(&mut self, applied: u64) -> bool {
        if applied >= self.unsent {
            return false;
        }
        while self.first <= applied {
            let kept = self.kept.pop_front().expect("frames up to `unsent` are kept until acknowledged");
            self.bytes -= kept.frame.len();
            self.first += 1;
        }
        true
    }

    /// Sends this run again, but nothing that was sent a moment ago: it may be on its way. Only what was made counts.
    pub(super) fn ask(&mut self, first: u64, length: u64, pause: Duration, now: Timestamp) {
        let end = first.saturating_add(length).min(self.unsent);
        for sequence in first.max(self.first)..end {
            let kept = self.at(sequence).expect("between `first` and `unsent`");
            if !kept.asked && now.since(kept.sent) >= pause {
                kept.asked = true;
                self.asked.push_back(sequence);
            }
        }
    }
}
