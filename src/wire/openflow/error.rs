//! What can be wrong with bytes, or with a value that shall become bytes.

use thiserror::Error;

use super::{action, bundle, field, flow, group_mod, instruction, matching, meter, nicira, table_features};

/// Bytes that are not what OpenFlow says they should be. Decoding never panics: any input gives a value or this.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("{what}: expected {expected} more bytes, {left} are left")]
    Truncated { what: &'static str, expected: usize, left: usize },
    #[error("{what}: expected a length of {expected}, came {came}")]
    Length { what: &'static str, expected: &'static str, came: usize },
    #[error("{what}: expected {expected}, came {came}")]
    Value { what: &'static str, expected: &'static str, came: u64 },
    #[error("{what}: expected version {expected:#04x}, came {came}")]
    Version { what: &'static str, expected: u8, came: u8 },
}

/// `ofp_error_type` of the errors that a codec can find, and the type of experimenters' errors.
pub mod error_type {
    pub const HELLO_FAILED: u16 = 0;
    pub const BAD_REQUEST: u16 = 1;
    pub const BAD_ACTION: u16 = 2;
    pub const BAD_INSTRUCTION: u16 = 3;
    pub const BAD_MATCH: u16 = 4;
    pub const FLOW_MOD_FAILED: u16 = 5;
    pub const GROUP_MOD_FAILED: u16 = 6;
    pub const METER_MOD_FAILED: u16 = 12;
    pub const TABLE_FEATURES_FAILED: u16 = 13;
    pub const EXPERIMENTER: u16 = 0xffff;
}

impl DecodeError {
    /// The type and code of the ERROR that answers a message with this mistake (section 7.4.4).
    ///
    /// A mistake inside a match, an action, an instruction, a bucket, a band or a table's property has the error of that
    /// structure; any other mistake is `BAD_REQUEST` with `BAD_VERSION` or `BAD_LEN`.
    pub fn error_code(&self) -> (u16, u16) {
        use error_type::{
            BAD_ACTION, BAD_INSTRUCTION, BAD_MATCH, BAD_REQUEST, FLOW_MOD_FAILED, GROUP_MOD_FAILED, METER_MOD_FAILED,
            TABLE_FEATURES_FAILED,
        };
        let bad_len = (BAD_REQUEST, 6);
        match *self {
            Self::Version { .. } => (BAD_REQUEST, 0),
            Self::Truncated { what, .. } | Self::Length { what, .. } => match what {
                action::ACTION | nicira::ACTION => (BAD_ACTION, 1),
                instruction::INSTRUCTION => (BAD_INSTRUCTION, 7),
                matching::MATCH | matching::MATCH_FIELD | field::FIELD => (BAD_MATCH, 1),
                group_mod::BUCKET => (GROUP_MOD_FAILED, 12),
                meter::BAND => (METER_MOD_FAILED, 8),
                table_features::PROPERTY => (TABLE_FEATURES_FAILED, 3),
                _ => bad_len,
            },
            Self::Value { what, .. } => match what {
                matching::MATCH => (BAD_MATCH, 0),
                flow::FLOW_MOD => (FLOW_MOD_FAILED, 6),
                group_mod::GROUP => (GROUP_MOD_FAILED, 10),
                group_mod::GROUP_MOD => (GROUP_MOD_FAILED, 11),
                meter::METER_MOD => (METER_MOD_FAILED, 4),
                bundle::BUNDLE_ADD => (BAD_REQUEST, 1),
                _ => bad_len,
            },
        }
    }
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
