//! Puts an answer together that came in several multipart messages (section 7.3.5).

use thiserror::Error;

use crate::wire::openflow::{MultipartReplyBody, MultipartRequestBody};

/// Why an answer in parts cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AssemblyError {
    #[error("expected parts of multipart type {expected}, came type {came}")]
    Kind { expected: u16, came: u16 },
    #[error("expected at most {max} bytes, came {came} and more")]
    TooLong { max: usize, came: usize },
}

/// The parts so far. What they may take together is bounded by the bytes they had on the wire.
#[derive(Debug)]
pub(super) struct Assembly {
    expected: u16,
    bytes: usize,
    body: Option<MultipartReplyBody>,
}

impl Assembly {
    pub(super) fn expecting(request: &MultipartRequestBody) -> Self {
        Self { expected: request.multipart_type(), bytes: 0, body: None }
    }

    /// Adds a part that took `wire_bytes`.
    pub(super) fn add(&mut self, part: MultipartReplyBody, wire_bytes: usize, max: usize) -> Result<(), AssemblyError> {
        let came = part.multipart_type();
        if came != self.expected {
            return Err(AssemblyError::Kind { expected: self.expected, came });
        }
        self.bytes = self.bytes.saturating_add(wire_bytes);
        if self.bytes > max {
            return Err(AssemblyError::TooLong { max, came: self.bytes });
        }
        match &mut self.body {
            None => self.body = Some(part),
            Some(body) => body.join(part),
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Option<MultipartReplyBody> {
        self.body
    }
}
