//! What a session asks of a switch and is told: calls, their answers, and why they or the session come to nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use prost::Message as _;
use thiserror::Error;
use tonic::Code;

use super::counters::P4Counters;
use crate::types::Timestamp;
use crate::wire::p4runtime::{status, v1};

/// One call in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What is asked of the switch beside its stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Capabilities(v1::CapabilitiesRequest),
    GetPipeline(v1::GetForwardingPipelineConfigRequest),
    SetPipeline(Box<v1::SetForwardingPipelineConfigRequest>),
    Read(v1::ReadRequest),
    Write(v1::WriteRequest),
}

impl Call {
    /// The name under which it is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Capabilities(_) => "capabilities",
            Self::GetPipeline(_) => "get-pipeline",
            Self::SetPipeline(_) => "set-pipeline",
            Self::Read(_) => "read",
            Self::Write(_) => "write",
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Capabilities(request) => request.encoded_len(),
            Self::GetPipeline(request) => request.encoded_len(),
            Self::SetPipeline(request) => request.encoded_len(),
            Self::Read(request) => request.encoded_len(),
            Self::Write(request) => request.encoded_len(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Capabilities(v1::CapabilitiesResponse),
    Pipeline(Box<v1::GetForwardingPipelineConfigResponse>),
    PipelineSet,
    /// All parts of an answer to a read.
    Entities(Vec<v1::Entity>),
    Written,
}

impl Answer {
    fn bytes(&self) -> usize {
        match self {
            Self::Capabilities(answer) => answer.encoded_len(),
            Self::Pipeline(answer) => answer.encoded_len(),
            Self::Entities(entities) => entities.iter().map(prost::Message::encoded_len).sum(),
            Self::PipelineSet | Self::Written => 0,
        }
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{}{}", status::name(*.code), quoted(.message))]
pub struct CallError {
    pub code: Code,
    pub message: String,
    /// One error an update of a batch, in its order, where the switch gave them.
    pub updates: Vec<v1::Error>,
}

fn quoted(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" '{message}'") }
}

impl CallError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), updates: Vec::new() }
    }

    /// True if it says nothing of what was asked: the call may have come to the switch or not.
    pub(super) fn in_doubt(&self) -> bool {
        matches!(self.code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted)
    }
}

/// Which part of a session a call belongs to; its answer goes back there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Capabilities,
    Echo,
    Program,
    Installer,
    Collector,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    owner: Owner,
    deadline: Timestamp,
    within: Duration,
}

/// Calls on their way: those that wait to be made, and those that wait for their answers.
#[derive(Debug, Default)]
pub(super) struct Calls {
    last: u64,
    queue: VecDeque<(CallId, Call, Duration)>,
    open: BTreeMap<CallId, Open>,
}

impl Calls {
    /// Makes a call, which fails by itself after `within`.
    pub(super) fn make(&mut self, owner: Owner, call: Call, within: Duration, now: Timestamp) -> CallId {
        self.last += 1;
        let id = CallId(self.last);
        self.queue.push_back((id, call, within));
        self.open.insert(id, Open { owner, deadline: now + within, within });
        id
    }

    pub(super) fn next(&mut self, counters: &mut P4Counters) -> Option<(CallId, Call, Duration)> {
        let (id, call, within) = self.queue.pop_front()?;
        counters.sent(call.name(), call.bytes());
        Some((id, call, within))
    }

    /// Whose call was answered; `None` if it was given up. A refusal that was to be expected is not counted as an error.
    pub(super) fn close(
        &mut self,
        id: CallId,
        answer: &Result<Answer, CallError>,
        refusal_expected: bool,
        counters: &mut P4Counters,
    ) -> Option<Owner> {
        match answer {
            Ok(answer) => counters.bytes_in += answer.bytes() as u64,
            Err(_) => counters.errors_in += u64::from(!refusal_expected),
        }
        let open = self.open.remove(&id);
        if open.is_none() {
            counters.late_answers += 1;
        }
        open.map(|open| open.owner)
    }

    /// A call whose time is over, as if it had failed.
    pub(super) fn expired(&mut self, now: Timestamp) -> Option<(CallId, Owner, CallError)> {
        let (id, open) = self.open.iter().find(|(_, open)| now >= open.deadline).map(|(id, open)| (*id, *open))?;
        self.forget(id);
        let error = CallError::new(Code::DeadlineExceeded, format!("no answer within {:?}", open.within));
        Some((id, open.owner, error))
    }

    /// Nobody waits for this call any more; one that was not made yet is not made.
    pub(super) fn forget(&mut self, id: CallId) {
        self.open.remove(&id);
        self.queue.retain(|(waiting, ..)| *waiting != id);
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.open.values().map(|open| open.deadline).min()
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.open.clear();
    }
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum P4CloseReason {
    #[error("cannot connect: {0}")]
    Unreachable(String),
    #[error("no answer to the arbitration within {0:?}")]
    NoArbitration(Duration),
    #[error("election id {0} was refused: {1}")]
    Election(u128, String),
    #[error("the switch has no device {device}: {why}")]
    Arbitration { device: u64, why: String },
    /// `program` is "its program" where the P4Info names none.
    #[error("the switch does not run {program}: {why}")]
    Program { program: String, why: String },
    #[error("no answer to {call} within {limit:?}")]
    Dead { call: &'static str, limit: Duration },
    #[error("writes are refused, and no other primary was announced")]
    Denied,
    #[error("the stream ended: {0}")]
    Stream(String),
    #[error("{0}")]
    Other(String),
}
