//! Names of OpenFlow's error types and codes (section 7.4.4), for people to read.

/// Error types and codes that this side sends.
pub(super) mod code {
    pub(crate) const HELLO_FAILED: u16 = 0;
    pub(crate) const HELLO_INCOMPATIBLE: u16 = 0;
    pub(crate) const BAD_REQUEST: u16 = 1;
    pub(crate) const BAD_VERSION: u16 = 0;
    pub(crate) const BAD_TYPE: u16 = 1;
    pub(crate) const BAD_MULTIPART: u16 = 2;
    pub(crate) const BAD_LEN: u16 = 6;
    pub(crate) const ROLE_REQUEST_FAILED: u16 = 11;
    pub(crate) const STALE: u16 = 0;
}

#[rustfmt::skip]
const TYPES: &[(&str, &[&str])] = &[
    ("HELLO_FAILED", &["INCOMPATIBLE", "EPERM"]),
    ("BAD_REQUEST", &[
        "BAD_VERSION", "BAD_TYPE", "BAD_MULTIPART", "BAD_EXPERIMENTER", "BAD_EXP_TYPE", "EPERM", "BAD_LEN", "BUFFER_EMPTY",
        "BUFFER_UNKNOWN", "BAD_TABLE_ID", "IS_SLAVE", "BAD_PORT", "BAD_PACKET", "MULTIPART_BUFFER_OVERFLOW",
    ]),
    ("BAD_ACTION", &[
        "BAD_TYPE", "BAD_LEN", "BAD_EXPERIMENTER", "BAD_EXP_TYPE", "BAD_OUT_PORT", "BAD_ARGUMENT", "EPERM", "TOO_MANY",
        "BAD_QUEUE", "BAD_OUT_GROUP", "MATCH_INCONSISTENT", "UNSUPPORTED_ORDER", "BAD_TAG", "BAD_SET_TYPE", "BAD_SET_LEN",
        "BAD_SET_ARGUMENT",
    ]),
    ("BAD_INSTRUCTION", &[
        "UNKNOWN_INST", "UNSUP_INST", "BAD_TABLE_ID", "UNSUP_METADATA", "UNSUP_METADATA_MASK", "BAD_EXPERIMENTER",
        "BAD_EXP_TYPE", "BAD_LEN", "EPERM",
    ]),
    ("BAD_MATCH", &[
        "BAD_TYPE", "BAD_LEN", "BAD_TAG", "BAD_DL_ADDR_MASK", "BAD_NW_ADDR_MASK", "BAD_WILDCARDS", "BAD_FIELD", "BAD_VALUE",
        "BAD_MASK", "BAD_PREREQ", "DUP_FIELD", "EPERM",
    ]),
    ("FLOW_MOD_FAILED", &[
        "UNKNOWN", "TABLE_FULL", "BAD_TABLE_ID", "OVERLAP", "EPERM", "BAD_TIMEOUT", "BAD_COMMAND", "BAD_FLAGS",
    ]),
    ("GROUP_MOD_FAILED", &[
        "GROUP_EXISTS", "INVALID_GROUP", "WEIGHT_UNSUPPORTED", "OUT_OF_GROUPS", "OUT_OF_BUCKETS", "CHAINING_UNSUPPORTED",
        "WATCH_UNSUPPORTED", "LOOP", "UNKNOWN_GROUP", "CHAINED_GROUP", "BAD_TYPE", "BAD_COMMAND", "BAD_BUCKET", "BAD_WATCH",
        "EPERM",
    ]),
    ("PORT_MOD_FAILED", &["BAD_PORT", "BAD_HW_ADDR", "BAD_CONFIG", "BAD_ADVERTISE", "EPERM"]),
    ("TABLE_MOD_FAILED", &["BAD_TABLE", "BAD_CONFIG", "EPERM"]),
    ("QUEUE_OP_FAILED", &["BAD_PORT", "BAD_QUEUE", "EPERM"]),
    ("SWITCH_CONFIG_FAILED", &["BAD_FLAGS", "BAD_LEN", "EPERM"]),
    ("ROLE_REQUEST_FAILED", &["STALE", "UNSUP", "BAD_ROLE"]),
];

/// Errors of bundles (EXT-230) come as an experimenter's, from this code on.
const BUNDLE_FIRST: u16 = 2300;
#[rustfmt::skip]
const BUNDLE_CODES: &[&str] = &[
    "UNKNOWN", "EPERM", "BAD_ID", "BUNDLE_EXIST", "BUNDLE_CLOSED", "OUT_OF_BUNDLES", "BAD_TYPE", "BAD_FLAGS",
    "MSG_BAD_LEN", "MSG_BAD_XID", "MSG_UNSUP", "MSG_CONFLICT", "MSG_TOO_MANY", "MSG_FAILED", "TIMEOUT",
    "BUNDLE_IN_PROGRESS",
];
const EXPERIMENTER: u16 = 0xffff;

/// What an error means for whoever runs the controller, where its name does not say so.
pub(super) fn hint(error_type: u16, code: u16) -> &'static str {
    match (error_type, code) {
        (1, 10) => ": this controller is a slave here, because another one is the switch's master",
        (11, 0) => ": another controller has been master with a newer generation",
        _ => "",
    }
}

/// `BAD_ACTION/BAD_OUT_PORT (2/4)`; numbers alone where the specification has no name.
pub fn error_text(error_type: u16, code: u16) -> String {
    if error_type == EXPERIMENTER
        && let Some(name) = code.checked_sub(BUNDLE_FIRST).and_then(|at| BUNDLE_CODES.get(usize::from(at)))
    {
        return format!("BUNDLE_FAILED/{name} ({error_type}/{code})");
    }
    match TYPES.get(usize::from(error_type)) {
        Some((name, codes)) => match codes.get(usize::from(code)) {
            Some(code_name) => format!("{name}/{code_name} ({error_type}/{code})"),
            None => format!("{name} ({error_type}/{code})"),
        },
        None => format!("error {error_type}/{code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::error_text;

    #[test]
    fn names_follow_the_numbers_of_the_specification() {
        assert_eq!(error_text(2, 4), "BAD_ACTION/BAD_OUT_PORT (2/4)");
        assert_eq!(error_text(5, 1), "FLOW_MOD_FAILED/TABLE_FULL (5/1)");
        assert_eq!(error_text(6, 8), "GROUP_MOD_FAILED/UNKNOWN_GROUP (6/8)");
        assert_eq!(error_text(11, 0), "ROLE_REQUEST_FAILED/STALE (11/0)");
        assert_eq!(error_text(1, 10), "BAD_REQUEST/IS_SLAVE (1/10)");
        assert_eq!(error_text(1, 99), "BAD_REQUEST (1/99)");
        assert_eq!(error_text(0xffff, 7), "error 65535/7");
        assert_eq!(error_text(0xffff, 2313), "BUNDLE_FAILED/MSG_FAILED (65535/2313)");
    }
}
