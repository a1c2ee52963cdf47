//! What is counted in a session with a P4Runtime switch.

use std::collections::BTreeMap;

/// Counters of one session since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct P4Counters {
    messages_in: BTreeMap<&'static str, u64>,
    messages_out: BTreeMap<&'static str, u64>,
    /// Bytes of messages; gRPC's own are not counted.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Calls that failed, and stream errors.
    pub errors_in: u64,
    /// Stream errors: they answer nothing this side waits for.
    pub stream_errors: u64,
    /// Messages on the stream that mean nothing: packets without the metadata of the program, arbitration for others.
    pub malformed: u64,
    /// Answers to calls that were given up.
    pub late_answers: u64,
}

impl P4Counters {
    pub(super) fn sent(&mut self, name: &'static str, bytes: usize) {
        *self.messages_out.entry(name).or_default() += 1;
        self.bytes_out += bytes as u64;
    }

    pub(super) fn received(&mut self, name: &'static str, bytes: usize) {
        self.received_many(name, 1);
        self.bytes_in += bytes as u64;
    }

    /// What one message tells several of.
    pub(super) fn received_many(&mut self, name: &'static str, count: u64) {
        *self.messages_in.entry(name).or_default() += count;
    }

    /// Something that was not sent.
    pub(super) fn kept_back(&mut self, name: &'static str) {
        *self.messages_out.entry(name).or_default() += 1;
    }

    /// By their kinds; kinds that never came are left out.
    pub fn kinds_in(&self) -> BTreeMap<String, u64> {
        named(&self.messages_in)
    }

    pub fn kinds_out(&self) -> BTreeMap<String, u64> {
        named(&self.messages_out)
    }
}

fn named(kinds: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    kinds.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}
