//! What a segment holds, as one number: equal at both sides, or the segment is sent again.

use crate::wire::replication::{Connection, Encoder, Handle, Key};

/// Sums connections in any order.
#[derive(Debug)]
pub(super) struct Digest {
    key: Key,
    scratch: Encoder,
    sum: u64,
}

impl Digest {
    pub(super) fn new(key: Key) -> Self {
        Self { key, scratch: Encoder::new(Vec::new()), sum: 0 }
    }

    /// Adds the tag of the open record that would begin a frame: bytes that are the same on every machine.
    pub(super) fn add(&mut self, handle: u32, connection: &Connection) {
        self.scratch.restart(0);
        self.scratch.open(Handle(handle), connection);
        self.sum = self.sum.wrapping_add(self.key.tag(self.scratch.bytes()));
    }

    pub(super) fn value(&self) -> u64 {
        self.sum
    }
}
