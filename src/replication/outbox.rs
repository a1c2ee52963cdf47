//! Fills frames with records and hands the full ones to the ring.

use crate::types::Timestamp;
use crate::wire::replication::{Encoder, FrameWriter, Header, Key, RECORD_LEN_MAX};

use super::ring::Ring;

#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) ring: Ring,
    header: Header,
    key: Key,
    frame_bytes_max: usize,
    open: Option<FrameWriter>,
    /// When the oldest change in the open frame was made.
    oldest: Timestamp,
}

impl Outbox {
    /// `header` is that of every frame but for sequence and count.
    pub(super) fn new(header: Header, key: Key, frame_bytes_max: usize, ring: Ring) -> Self {
        Self { ring, header, key, frame_bytes_max, open: None, oldest: Timestamp(u64::MAX) }
    }

    /// Where the next record goes; in a frame that has room for any.
    pub(super) fn records(&mut self, oldest: Timestamp) -> &mut Encoder {
        if self.is_full() {
            self.seal();
        }
        self.oldest = self.oldest.min(oldest);
        self.open.get_or_insert_with(|| FrameWriter::new(self.frame_bytes_max)).records()
    }

    /// Whether the next record needs a new frame.
    pub(super) fn is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.length() + RECORD_LEN_MAX > self.frame_bytes_max)
    }

    /// Ends the open frame, if there is one.
    pub(super) fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            let header = Header { sequence: self.ring.next(), ..self.header };
            let oldest = std::mem::replace(&mut self.oldest, Timestamp(u64::MAX));
            self.ring.push(open.finish(&header, &self.key).into(), oldest);
        }
    }
}
