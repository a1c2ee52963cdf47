//! What the target refuses, and how a batch of updates with refusals among them is told.

use tonic::Code;

use crate::wire::p4runtime::v1;

/// Name space of the errors, as each of them carries it.
const SPACE: &str = "foreshadow";
const SPACE_BMV2: &str = "ALL-sswitch-p4org";

/// Which of two servers the target behaves like where they differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// BMv2's `simple_switch_grpc` as it was seen to answer.
    #[default]
    Bmv2,
    /// The P4Runtime specification, 1.4.
    Specification,
}

impl Behaviour {
    /// One of two values, by behaviour.
    pub(super) fn pick<T>(self, bmv2: T, specification: T) -> T {
        match self {
            Self::Bmv2 => bmv2,
            Self::Specification => specification,
        }
    }
}

/// An RPC, an update or a stream that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {message}")]
pub struct Refusal {
    pub code: Code,
    pub message: String,
    /// For a batch: one for each of its updates or requests, in their order.
    pub details: Vec<v1::Error>,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    fn to_error(&self, behaviour: Behaviour) -> v1::Error {
        v1::Error {
            canonical_code: self.code as i32,
            message: self.message.clone(),
            space: behaviour.pick(SPACE_BMV2, SPACE).to_owned(),
            ..Default::default()
        }
    }
}

/// What came of one update or request.
pub(super) type Outcome<T = ()> = Result<T, Refusal>;

/// All outcomes of a batch as one (section "Error Reporting" of the Write RPC): UNKNOWN with an error for each of them, if
/// one of them failed. BMv2 leaves the message empty.
pub(super) fn settle(outcomes: &[Outcome], what: &str, behaviour: Behaviour) -> Outcome {
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    if failed == 0 {
        return Ok(());
    }
    let details = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(()) => v1::Error::default(),
            Err(refusal) => refusal.to_error(behaviour),
        })
        .collect();
    let message = behaviour.pick(String::new(), format!("{failed} of {} {what} failed", outcomes.len()));
    Err(Refusal { code: Code::Unknown, message, details })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_tells_each_update() {
        assert_eq!(settle(&[Ok(()), Ok(())], "updates", Behaviour::Bmv2), Ok(()));
        let outcomes = [Ok(()), Err(Refusal::not_found("no such entry")), Ok(())];
        let codes = |refusal: &Refusal| refusal.details.iter().map(|error| error.canonical_code).collect::<Vec<_>>();
        let bmv2 = settle(&outcomes, "updates", Behaviour::Bmv2).unwrap_err();
        assert_eq!((bmv2.code, bmv2.message.as_str(), codes(&bmv2)), (Code::Unknown, "", vec![0, 5, 0]));
        let strict = settle(&outcomes, "updates", Behaviour::Specification).unwrap_err();
        assert_eq!((strict.message.as_str(), codes(&strict)), ("1 of 3 updates failed", vec![0, 5, 0]));
        assert_eq!(strict.details[1].message, "no such entry");
    }
}
