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
        Self { expected: request_type(request), bytes: 0, body: None }
    }

    /// Adds a part that took `wire_bytes`.
    pub(super) fn add(&mut self, part: MultipartReplyBody, wire_bytes: usize, max: usize) -> Result<(), AssemblyError> {
        let came = reply_type(&part);
        if came != self.expected {
            return Err(AssemblyError::Kind { expected: self.expected, came });
        }
        self.bytes = self.bytes.saturating_add(wire_bytes);
        if self.bytes > max {
            return Err(AssemblyError::TooLong { max, came: self.bytes });
        }
        match &mut self.body {
            None => self.body = Some(part),
            Some(body) => join(body, part),
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Option<MultipartReplyBody> {
        self.body
    }
}

/// Lists grow; of an answer that is one structure the last part counts.
fn join(body: &mut MultipartReplyBody, part: MultipartReplyBody) {
    use MultipartReplyBody as Body;
    match (body, part) {
        (Body::Flow(all), Body::Flow(more)) => all.extend(more),
        (Body::PortStats(all), Body::PortStats(more)) => all.extend(more),
        (Body::GroupStats(all), Body::GroupStats(more)) => all.extend(more),
        (Body::GroupDescription(all), Body::GroupDescription(more)) => all.extend(more),
        (Body::PortDescription(all), Body::PortDescription(more)) => all.extend(more),
        (Body::Other { body: all, .. }, Body::Other { body: more, .. }) => all.extend(more),
        (body, part) => *body = part,
    }
}

fn request_type(request: &MultipartRequestBody) -> u16 {
    match request {
        MultipartRequestBody::Description => 0,
        MultipartRequestBody::Flow(_) => 1,
        MultipartRequestBody::Aggregate(_) => 2,
        MultipartRequestBody::PortStats(_) => 4,
        MultipartRequestBody::GroupStats(_) => 6,
        MultipartRequestBody::GroupDescription => 7,
        MultipartRequestBody::PortDescription => 13,
        MultipartRequestBody::Other { multipart_type, .. } => *multipart_type,
    }
}

fn reply_type(reply: &MultipartReplyBody) -> u16 {
    match reply {
        MultipartReplyBody::Description(_) => 0,
        MultipartReplyBody::Flow(_) => 1,
        MultipartReplyBody::Aggregate(_) => 2,
        MultipartReplyBody::PortStats(_) => 4,
        MultipartReplyBody::GroupStats(_) => 6,
        MultipartReplyBody::GroupDescription(_) => 7,
        MultipartReplyBody::PortDescription(_) => 13,
        MultipartReplyBody::Other { multipart_type, .. } => *multipart_type,
    }
}
