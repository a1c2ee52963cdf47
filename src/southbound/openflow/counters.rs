//! What is counted in a session.

use std::collections::BTreeMap;

use crate::wire::openflow::Message;

/// One counter for each type that OpenFlow 1.3 defines (0 to 29), and one for all others.
const KINDS: usize = 31;
const TYPE_ERROR: usize = 1;

/// Counters of one connection since it was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounters {
    pub frames_in: u64,
    pub frames_out: u64,
    /// Every byte that came, whether or not it made a frame.
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub malformed: u32,
    /// Errors whose xid belongs to no outstanding request.
    pub untied_errors: u64,
    /// Answers nobody waits for (any more).
    pub late_answers: u64,
    /// Events dropped because they came too early in the handshake.
    pub dropped_early: u64,
    kinds_in: [u64; KINDS],
    kinds_out: [u64; KINDS],
}

impl SessionCounters {
    pub(super) fn frame_in(&mut self, message_type: u8) {
        self.frames_in += 1;
        self.kinds_in[kind(message_type)] += 1;
    }

    pub(super) fn frame_out(&mut self, message_type: u8, bytes: usize) {
        self.frames_out += 1;
        self.bytes_out += bytes as u64;
        self.kinds_out[kind(message_type)] += 1;
    }

    pub fn errors_in(&self) -> u64 {
        self.kinds_in[TYPE_ERROR]
    }

    pub fn errors_out(&self) -> u64 {
        self.kinds_out[TYPE_ERROR]
    }

    /// Frames that came, by the specification's name of their type; types that never came are left out.
    pub fn kinds_in(&self) -> BTreeMap<String, u64> {
        named(&self.kinds_in)
    }

    /// The same for frames that were sent.
    pub fn kinds_out(&self) -> BTreeMap<String, u64> {
        named(&self.kinds_out)
    }
}

fn kind(message_type: u8) -> usize {
    usize::from(message_type).min(KINDS - 1)
}

fn named(kinds: &[u64; KINDS]) -> BTreeMap<String, u64> {
    let seen = (0_u8..).zip(kinds).filter(|(_, count)| **count > 0);
    seen.map(|(message_type, count)| {
        let name = Message::Other { message_type, body: Vec::new() }.name();
        (name.to_lowercase().replace([' ', '_'], "-"), *count)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::SessionCounters;

    #[test]
    fn frames_are_counted_by_the_names_of_their_types() {
        let mut counters = SessionCounters::default();
        for message_type in [0, 1, 10, 10, 30, 255] {
            counters.frame_in(message_type);
            counters.frame_out(message_type, 8);
        }
        let expected = [("hello", 1), ("error", 1), ("packet-in", 2), ("unknown-message", 2)];
        let expected = expected.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        assert_eq!((counters.kinds_in(), counters.frames_in, counters.errors_in()), (expected, 6, 1));
        assert_eq!((counters.kinds_out(), counters.bytes_out, counters.errors_out()), (counters.kinds_in(), 48, 1));
    }
}
