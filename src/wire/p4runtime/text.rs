//! P4Info in protobuf's text format, as P4 compilers write it.

use std::fmt;
use std::sync::LazyLock;

use miette::Diagnostic;
use prost_reflect::text_format::FormatOptions;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use super::{DESCRIPTORS, config};

/// Messages within messages; P4Info's own nest to about ten, types of types further. The parser calls itself.
const DEPTH_MAX: usize = 50;

static P4INFO: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("the build made them");
    pool.get_message_by_name("p4.config.v1.P4Info").expect("is among them")
});

/// What is wrong with a text, and where; lines and columns (in characters) count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TextError {
    pub line: u32,
    pub column: u32,
    pub message: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl TextError {
    /// `offset`: in bytes; beyond the end, the end is meant.
    fn at(text: &str, offset: usize, message: String) -> Self {
        let before = String::from_utf8_lossy(&text.as_bytes()[..offset.min(text.len())]);
        let last = before.rsplit('\n').next().unwrap_or_default();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: count(1 + before.matches('\n').count()), column: count(1 + last.chars().count()), message }
    }
}

/// Reads a P4Info; unknown fields and values are errors.
pub fn parse_p4info(text: &str) -> Result<config::P4Info, TextError> {
    check_depth(text)?;
    let message = DynamicMessage::parse_text_format(P4INFO.clone(), text).map_err(|error| {
        // An unexpected end has no place of its own.
        let place = error.labels().and_then(|mut labels| labels.next()).map_or(text.len(), |label| label.offset());
        TextError::at(text, place, error.to_string())
    })?;
    message.transcode_to().map_err(|error| TextError::at(text, 0, error.to_string()))
}

/// Writes a P4Info, a field a line, in the order of the fields' numbers, what repeats as a list.
pub fn print_p4info(info: &config::P4Info) -> String {
    let mut message = DynamicMessage::new(P4INFO.clone());
    message.transcode_from(info).expect("both are made from one file");
    let mut text = message.to_text_format_with_options(&FormatOptions::new().pretty(true));
    text.push('\n');
    text
}

/// Brackets outside of strings and comments.
fn check_depth(text: &str) -> Result<(), TextError> {
    let mut bytes = text.bytes().enumerate();
    let mut depth = 0usize;
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'#' => _ = bytes.find(|(_, byte)| *byte == b'\n'),
            b'"' | b'\'' => {
                // To its end, which is not an escaped quote; a line's end is one as well.
                let mut escaped = false;
                _ = bytes.find(|(_, next)| {
                    let ends = !escaped && *next == byte || *next == b'\n';
                    escaped = !escaped && *next == b'\\';
                    ends
                });
            }
            b'{' | b'<' => depth += 1,
            b'}' | b'>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            let what = format!("messages within messages deeper than {DEPTH_MAX}; a P4Info has no such");
            return Err(TextError::at(text, at, what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = r#"# as a compiler writes it
pkg_info { arch: "v1model" }
tables {
  preamble { id: 33554433 name: "ingress.routes" alias: "routes" annotations: "@brief(\"x {\")" }
  match_fields { id: 1 name: "hdr.ipv4.dst_addr" bitwidth: 32 match_type: LPM }
  action_refs { id: 16777217 scope: TABLE_ONLY }
  size: 1024
}
actions: < preamble: { id: 16777217; name: 'ingress.drop' } >
type_info { structs { key: "digest_t" value { members { name: "port" type_spec { bitstring { bit { bitwidth: 9 } } } } } } }
"#;

    #[test]
    fn a_compilers_text_is_read_and_written() {
        let info = parse_p4info(TEXT).expect("is a P4Info");
        assert_eq!(info.tables[0].size, 1024);
        let field = &info.tables[0].match_fields[0];
        let lpm = config::match_field::MatchType::Lpm;
        assert_eq!((field.bitwidth, &field.r#match), (32, &Some(config::match_field::Match::MatchType(lpm.into()))));
        assert_eq!(info.tables[0].preamble.as_ref().map(|p| p.annotations[0].as_str()), Some("@brief(\"x {\")"));
        assert!(info.type_info.as_ref().is_some_and(|types| types.structs.contains_key("digest_t")));
        let written = print_p4info(&info);
        assert!(written.contains("\n  match_fields: [{\n    id: 1\n    name: \"hdr.ipv4.dst_addr\"\n"), "{written}");
        assert_eq!(parse_p4info(&written), Ok(info));
        assert_eq!(parse_p4info(""), Ok(config::P4Info::default()));
    }

    #[test]
    fn mistakes_have_a_place() {
        let mistakes = [
            ("tables {\n  preamble { it: 1 }\n}", 2, 14, "field 'it' not found for message 'p4.config.v1.Preamble'"),
            ("tables {\n  size: \"ä\" x\n}", 2, 9, "expected"),
            ("tables {\n  size: 99999999999999999999\n}", 2, 9, "out of range"),
            ("# ä\ntables {", 2, 9, "reached end of input"),
            ("tables { match_fields { match_type: LONGEST } }", 1, 37, "'LONGEST' was not found for enum"),
            ("actions { preamble { name: \"\\xff\" } }", 1, 28, "utf-8"),
            ("tables { } }", 1, 12, "expected"),
        ];
        for (text, line, column, message) in mistakes {
            let error = parse_p4info(text).expect_err(text);
            assert_eq!((error.line, error.column), (line, column), "{text:?}: {error}");
            assert!(error.message.contains(message), "{text:?}: {error}");
            assert!(error.to_string().starts_with(&format!("{line}:{column}: ")));
        }
    }

    #[test]
    fn depth_is_bounded() {
        let open = "[type.googleapis.com/google.protobuf.Any] { ";
        let deep = |levels: usize| {
            let (open, close) = (open.repeat(levels), "}".repeat(levels));
            format!("tables {{ other_properties {{ {open}{close} }} }}")
        };
        assert!(parse_p4info(&deep(40)).is_ok());
        let error = parse_p4info(&deep(100_000)).expect_err("is too deep");
        assert!(error.message.contains("deeper than 50"), "{error}");
        let strings = format!("pkg_info {{ name: \"{}\\\"{{\" }} # {}", "{".repeat(100), "<".repeat(100));
        assert_eq!(parse_p4info(&strings).map(|info| info.pkg_info.is_some()), Ok(true));
    }

    proptest! {
        #[test]
        fn changed_texts_are_a_value_or_an_error(at in 0..TEXT.len(), with in "[\\PC\n]{0,4}", cut in 0..12usize) {
            let mut bytes = TEXT.as_bytes().to_vec();
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, with.bytes());
            let text = String::from_utf8_lossy(&bytes);
            match parse_p4info(&text) {
                Ok(info) => prop_assert_eq!(parse_p4info(&print_p4info(&info)), Ok(info)),
                Err(error) => prop_assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty()),
            }
        }
    }
}
