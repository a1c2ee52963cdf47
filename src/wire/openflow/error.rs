//! What can be wrong with bytes, or with a value that shall become bytes.

use thiserror::Error;

/// Bytes that are not what OpenFlow says they should be. Decoding never panics: any input gives a value or this.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("{what}: expected {expected} more bytes, {left} are left")]
    Truncated { what: &'static str, expected: usize, left: usize },
    #[error("{what}: expected a length of {expected}, came {came}")]
    Length { what: &'static str, expected: &'static str, came: usize },
    #[error("{what}: expected {expected}, came {came}")]
    Value { what: &'static str, expected: &'static str, came: u64 },
}

/// A value that has no form on the wire. Nothing is cut short or left out silently.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    #[error("{what}: {length} bytes do not fit the {max} that its length field can say")]
    TooLong { what: &'static str, length: usize, max: usize },
    #[error("{what}: expected {expected}, came {came:#x}")]
    Value { what: &'static str, expected: &'static str, came: u128 },
    #[error("{what}: the raw bytes are not one whole {what} of matching length")]
    Opaque { what: &'static str },
}
