//! What each update of a failed Write came to: the details of its status (specification, section 12.3).
//!
//! The trailer `grpc-status-details-bin` is an encoded `google.rpc.Status` whose `details` are one `p4.v1.Error` an update of
//! the batch, in its order, with code OK for those that succeeded. BMv2 leaves the status itself at UNKNOWN without message.

use std::fmt;

use prost::{Message, Name};
use prost_types::Any;
pub use tonic::Code;
use tonic::Status;

use super::{rpc, v1};

const DOMAIN: &str = "type.googleapis.com";

/// Why a status does not tell what the updates came to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DetailsError {
    /// The batch failed as a whole: its status alone says why.
    #[error("no details")]
    None,
    #[error("details that are no google.rpc.Status: {reason}")]
    NoStatus { reason: String },
    #[error("detail {index} is '{came}'; expected p4.v1.Error")]
    NotAnError { index: usize, came: String },
    #[error("detail {index} is no p4.v1.Error: {reason}")]
    Undecodable { index: usize, reason: String },
    #[error("details for {came} updates; expected {expected}")]
    Count { came: usize, expected: usize },
}

/// What each of `updates` updates came to, in their order.
pub fn update_errors(status: &Status, updates: usize) -> Result<Vec<v1::Error>, DetailsError> {
    let errors = decode(status.details())?;
    if errors.len() != updates {
        return Err(DetailsError::Count { came: errors.len(), expected: updates });
    }
    Ok(errors)
}

/// The errors in the bytes of `grpc-status-details-bin`.
pub fn decode(details: &[u8]) -> Result<Vec<v1::Error>, DetailsError> {
    let status = rpc::Status::decode(details).map_err(|error| DetailsError::NoStatus { reason: error.to_string() })?;
    if status.details.is_empty() {
        return Err(DetailsError::None);
    }
    let error = |(index, any): (usize, &Any)| {
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        if name != v1::Error::full_name() {
            return Err(DetailsError::NotAnError { index, came: any.type_url.clone() });
        }
        v1::Error::decode(&any.value[..])
            .map_err(|error| DetailsError::Undecodable { index, reason: error.to_string() })
    };
    status.details.iter().enumerate().map(error).collect()
}

/// The bytes of `grpc-status-details-bin`.
pub fn encode(code: Code, message: &str, errors: &[v1::Error]) -> Vec<u8> {
    let any = |error: &v1::Error| Any {
        type_url: format!("{DOMAIN}/{}", v1::Error::full_name()),
        value: error.encode_to_vec(),
    };
    let details = errors.iter().map(any).collect();
    rpc::Status { code: code as i32, message: message.to_owned(), details }.encode_to_vec()
}

/// The status of a Write of which an update failed, as switches send it.
pub fn of_updates(message: &str, errors: &[v1::Error]) -> Status {
    Status::with_details(Code::Unknown, message, encode(Code::Unknown, message, errors).into())
}

/// What an update came to, without details.
pub fn error(code: Code, message: impl Into<String>) -> v1::Error {
    v1::Error { canonical_code: code as i32, message: message.into(), ..v1::Error::default() }
}

/// The gRPC code of an error; numbers that are none are UNKNOWN.
pub fn code(error: &v1::Error) -> Code {
    Code::from_i32(error.canonical_code)
}

/// `ALREADY_EXISTS 'the switch's words' (space 3)`: for people.
pub fn describe(error: &v1::Error) -> String {
    Described(code(error), &error.message, &error.space, error.code).to_string()
}

/// `UNKNOWN 'the switch's words'`: for people.
pub fn describe_status(status: &Status) -> String {
    Described(status.code(), status.message(), "", 0).to_string()
}

struct Described<'a>(Code, &'a str, &'a str, i32);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(code, message, space, own) = self;
        f.write_str(name(*code))?;
        if !message.is_empty() {
            write!(f, " '{message}'")?;
        }
        if !space.is_empty() || *own != 0 {
            write!(f, " ({space}{}{own})", if space.is_empty() { "" } else { " " })?;
        }
        Ok(())
    }
}

/// The specification's name of a code.
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn golden() -> (Vec<v1::Error>, Vec<u8>) {
        let taken = v1::Error { space: "ALL-sde".into(), code: 5, ..error(Code::AlreadyExists, "taken") };
        let mut bytes = vec![0x08, 2];
        for value in [&[][..], b"\x08\x06\x12\x05taken\x1a\x07ALL-sde\x20\x05"] {
            let mut any = b"\x0a\x1ftype.googleapis.com/p4.v1.Error".to_vec();
            if !value.is_empty() {
                any.extend([0x12, value.len() as u8]);
                any.extend(value);
            }
            bytes.extend([0x1a, any.len() as u8]);
            bytes.extend(any);
        }
        (vec![error(Code::Ok, ""), taken], bytes)
    }

    #[test]
    fn golden_details_both_ways() {
        let (errors, bytes) = golden();
        assert_eq!(encode(Code::Unknown, "", &errors), bytes);
        assert_eq!(decode(&bytes), Ok(errors.clone()));
        let status = of_updates("", &errors);
        assert_eq!((status.code(), status.message(), status.details()), (Code::Unknown, "", &bytes[..]));
        assert_eq!(update_errors(&status, 2), Ok(errors.clone()));
        assert_eq!(update_errors(&status, 3), Err(DetailsError::Count { came: 2, expected: 3 }));
        assert_eq!(describe(&errors[1]), "ALREADY_EXISTS 'taken' (ALL-sde 5)");
        assert_eq!(describe(&errors[0]), "OK");
        assert_eq!(describe(&v1::Error { canonical_code: -7, code: 3, ..v1::Error::default() }), "UNKNOWN (3)");
        assert_eq!(describe_status(&Status::unimplemented("no")), "UNIMPLEMENTED 'no'");
    }

    #[test]
    fn details_of_another_kind_say_what_they_are() {
        assert_eq!(update_errors(&Status::unavailable("gone"), 1), Err(DetailsError::None));
        assert!(matches!(decode(&[0xff; 4]), Err(DetailsError::NoStatus { .. })));
        let any = |type_url: &str, value: &[u8]| {
            let details = vec![Any { type_url: type_url.into(), value: value.into() }];
            decode(&rpc::Status { details, ..rpc::Status::default() }.encode_to_vec())
        };
        let came = "type.googleapis.com/google.rpc.DebugInfo";
        assert_eq!(any(came, &[]), Err(DetailsError::NotAnError { index: 0, came: came.into() }));
        assert!(matches!(any("x/p4.v1.Error", &[0x12, 9]), Err(DetailsError::Undecodable { index: 0, .. })));
        assert_eq!(any("p4.v1.Error", &[]), Ok(vec![v1::Error::default()]));
    }

    #[test]
    fn codes_have_the_specifications_names() {
        let named: Vec<_> = (0..17).map(Code::from_i32).map(|code| (name(code), format!("{code:?}"))).collect();
        for (name, variant) in named {
            assert_eq!(name.replace('_', "").to_lowercase(), variant.to_lowercase());
        }
    }

    proptest! {
        #[test]
        fn changed_details_are_a_value_or_an_error(at: prop::sample::Index, byte: u8, end: prop::sample::Index) {
            let (_, mut bytes) = golden();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(1 + end.index(bytes.len()));
            if let Ok(errors) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(Code::Unknown, "", &errors)), Ok(errors));
            }
        }
    }
}
