//! Frames that came before those that precede them, until their turn.

use std::collections::BTreeMap;

use super::Refusal;

/// Nobody is further ahead than this, whatever a frame says.
const AHEAD_MAX: u64 = 1 << 32;

/// Records of one frame, as they came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Early {
    pub(super) count: u16,
    pub(super) body: Box<[u8]>,
}

/// The place in the stream, and what is known behind it.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// All frames up to this one were applied.
    applied: u64,
    /// The last one that is known to have been sent.
    known: u64,
    early: BTreeMap<u64, Early>,
}

/// What to do with a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Apply it, then those of [`Window::next`].
    Now,
    Kept,
}

impl Window {
    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    /// Frames that are known to have been sent and were not applied.
    pub(super) fn behind(&self) -> u64 {
        self.known - self.applied
    }

    pub(super) fn is_missing(&self) -> bool {
        self.behind() > 0
    }

    /// Takes note of a frame that came.
    pub(super) fn came(&mut self, sequence: u64, count: u16, body: &[u8], most: usize) -> Result<Turn, Refusal> {
        if sequence <= self.applied || self.early.contains_key(&sequence) {
            return Err(Refusal::Replayed);
        }
        if sequence == self.applied + 1 {
            self.heard_of(sequence);
            return Ok(Turn::Now);
        }
        if self.early.len() >= most || sequence - self.applied > most as u64 {
            return Err(Refusal::TooEarly);
        }
        self.heard_of(sequence);
        self.early.insert(sequence, Early { count, body: body.into() });
        Ok(Turn::Kept)
    }

    /// A beat says that frames up to this one were sent.
    pub(super) fn heard_of(&mut self, sequence: u64) {
        self.known = self.known.max(sequence.min(self.applied + AHEAD_MAX));
    }

    /// The next frame was applied.
    pub(super) fn advance(&mut self) {
        self.applied += 1;
        self.known = self.known.max(self.applied);
    }

    /// The next frame, if it came before.
    pub(super) fn next(&mut self) -> Option<Early> {
        self.early.remove(&(self.applied + 1))
    }

    /// Runs of missing frames, as many as this.
    pub(super) fn missing(&self, most: usize) -> Vec<(u64, u64)> {
        let mut runs = Vec::new();
        let mut next = self.applied + 1;
        for &sequence in self.early.keys().chain([&(self.known + 1)]) {
            if sequence > next && runs.len() < most {
                runs.push((next, sequence - next));
            }
            next = next.max(sequence + 1);
        }
        runs
    }
}
