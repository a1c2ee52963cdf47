//! Small readers of JSON values that say what was expected and what came.

use serde_json::Value;

use super::ProgramError;

/// What is wrong with a value; who knows where it stands makes a [`ProgramError`] of it.
pub(crate) type Problem = String;

/// Puts a place to a problem.
pub(crate) trait Place<T> {
    fn at(self, place: impl FnOnce() -> String) -> Result<T, ProgramError>;
}

impl<T> Place<T> for Result<T, Problem> {
    fn at(self, place: impl FnOnce() -> String) -> Result<T, ProgramError> {
        self.map_err(|problem| ProgramError { place: place(), problem })
    }
}

/// A value as it is shown in an error: short.
pub(crate) fn show(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn wrong(key: &str, expected: &str, value: &Value) -> Problem {
    format!("'{key}': expected {expected}, came {}", show(value))
}

/// The value of a key; null where it is missing.
pub(crate) fn get<'j>(value: &'j Value, key: &str) -> &'j Value {
    value.get(key).unwrap_or(&Value::Null)
}

pub(crate) fn text<'j>(value: &'j Value, key: &str) -> Result<&'j str, Problem> {
    let found = get(value, key);
    found.as_str().ok_or_else(|| wrong(key, "a text", found))
}

/// A text, or nothing where it is null or missing.
pub(crate) fn optional_text<'j>(value: &'j Value, key: &str) -> Result<Option<&'j str>, Problem> {
    match get(value, key) {
        Value::Null => Ok(None),
        found => found.as_str().map(Some).ok_or_else(|| wrong(key, "a text or null", found)),
    }
}

pub(crate) fn number(value: &Value, key: &str) -> Result<usize, Problem> {
    let found = get(value, key);
    let number = found.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| wrong(key, "a number from 0", found))
}

/// A flag; false where it is missing.
pub(crate) fn flag(value: &Value, key: &str) -> Result<bool, Problem> {
    match get(value, key) {
        Value::Null => Ok(false),
        found => found.as_bool().ok_or_else(|| wrong(key, "true or false", found)),
    }
}

pub(crate) fn list<'j>(value: &'j Value, key: &str) -> Result<&'j [Value], Problem> {
    let found = get(value, key);
    found.as_array().map(Vec::as_slice).ok_or_else(|| wrong(key, "a list", found))
}

/// A list; empty where it is missing.
pub(crate) fn optional_list<'j>(value: &'j Value, key: &str) -> Result<&'j [Value], Problem> {
    match get(value, key) {
        Value::Null => Ok(&[]),
        _ => list(value, key),
    }
}

/// Two texts: a header and one of its fields.
pub(crate) fn pair(value: &Value) -> Result<(&str, &str), Problem> {
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(first), Value::String(second)]) => Ok((first, second)),
        _ => Err(format!("expected a header and a field, came {}", show(value))),
    }
}

/// A number in hexadecimal digits, as big-endian bytes, and whether it is negative.
pub(crate) fn hex_bytes(text: &str) -> Result<(bool, Vec<u8>), Problem> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let nibbles: Option<Vec<u8>> =
        digits.chars().map(|digit| digit.to_digit(16).and_then(|nibble| u8::try_from(nibble).ok())).collect();
    let nibbles = nibbles.filter(|nibbles| !nibbles.is_empty());
    let nibbles = nibbles.ok_or_else(|| format!("expected hexadecimal digits, came '{text:.40}'"))?;
    let mut bytes = Vec::with_capacity(nibbles.len() / 2 + 1);
    let (head, pairs) = nibbles.split_at(nibbles.len() % 2);
    bytes.extend(head);
    bytes.extend(pairs.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]));
    Ok((is_negative, bytes))
}

/// A number in hexadecimal digits: its low 128 bits as two's complement, and whether it is negative.
pub(crate) fn hex(text: &str) -> Result<(bool, u128), Problem> {
    let (is_negative, bytes) = hex_bytes(text)?;
    let significant = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    if bytes.len() - significant > 16 {
        return Err(format!("expected a number of at most 128 bits, came '{text:.80}'"));
    }
    let value = bytes.iter().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
    Ok((is_negative, if is_negative { value.wrapping_neg() } else { value }))
}

/// A number of at least 0 that has at most so many bits.
pub(crate) fn hex_of_width(value: &Value, width: u32) -> Result<u128, Problem> {
    let text = value.as_str().ok_or_else(|| format!("expected hexadecimal digits, came {}", show(value)))?;
    let (is_negative, number) = hex(text)?;
    if is_negative || width < 128 && number >> width != 0 {
        return Err(format!("expected a number of {width} bits, came '{text}'"));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_numbers_are_read_or_refused() {
        let cases = [
            ("0x0", Ok((false, 0))),
            ("0xabc", Ok((false, 0xabc))),
            ("ff", Ok((false, 0xff))),
            ("-0x1", Ok((true, u128::MAX))),
            ("0x0000ffffffffffffffffffffffffffffffff", Ok((false, u128::MAX))),
        ];
        for (text, expected) in cases {
            assert_eq!(hex(text), expected, "{text}");
        }
        for text in ["", "0x", "-", "0xg", "0x1ffffffffffffffffffffffffffffffff"] {
            assert!(hex(text).is_err(), "{text}");
        }
    }
}
