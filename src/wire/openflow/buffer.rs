//! Reading with a checked length, writing with a length filled in afterwards.

use super::{DecodeError, EncodeError};

/// What is left of a structure; `what` names it in errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    what: &'static str,
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(what: &'static str, left: &'a [u8]) -> Self {
        Self { what, left }
    }

    pub(super) fn len(&self) -> usize {
        self.left.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Fails unless `count` bytes are left: asked once before the fields of a fixed structure are read.
    pub(super) fn need(&self, count: usize) -> Result<(), DecodeError> {
        if self.left.len() < count {
            return Err(DecodeError::Truncated { what: self.what, expected: count, left: self.left.len() });
        }
        Ok(())
    }

    /// Fails unless exactly `count` bytes are left.
    pub(super) fn exactly(&self, count: usize, expected: &'static str) -> Result<(), DecodeError> {
        if self.left.len() != count {
            return Err(DecodeError::Length { what: self.what, expected, came: self.left.len() });
        }
        Ok(())
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        self.need(count)?;
        let (taken, left) = self.left.split_at(count);
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), DecodeError> {
        self.take(count).map(|_| ())
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn mac(&mut self) -> Result<[u8; 6], DecodeError> {
        self.array()
    }

    /// The low bits of `count` bytes (at most 16).
    pub(super) fn value(&mut self, count: usize) -> Result<u128, DecodeError> {
        Ok(self.take(count)?.iter().fold(0, |value, byte| value << 8 | u128::from(*byte)))
    }

    /// Text in `count` bytes, ended by the first zero. Bytes that are not UTF-8 become replacement characters; of text that
    /// leaves no room for the zero then, the end is cut off, as in writing.
    pub(super) fn text(&mut self, count: usize) -> Result<String, DecodeError> {
        let bytes = self.take(count)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(count);
        let mut text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        text.truncate(text_end(&text, count));
        Ok(text)
    }

    /// What is left, unread.
    pub(super) fn left(&self) -> &'a [u8] {
        self.left
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.left)
    }

    /// The 16-bit number `at` bytes ahead, unread.
    pub(super) fn peek_u16(&self, at: usize) -> Result<u16, DecodeError> {
        let mut ahead = *self;
        ahead.skip(at)?;
        ahead.u16()
    }

    /// The next structure of a list, whose length (16 bits, `at` bytes in) covers all of it: at least `min`, a multiple
    /// of `unit`, and no more than is left.
    pub(super) fn structure(
        &mut self,
        what: &'static str,
        at: usize,
        min: usize,
        unit: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let inner = Reader::new(what, self.left);
        let length = usize::from(inner.peek_u16(at)?);
        if length < min || length % unit != 0 {
            let expected = "at least the structure's own header, and a multiple of its unit";
            return Err(DecodeError::Length { what, expected, came: length });
        }
        inner.need(length)?;
        self.take(length)
    }
}

/// Entries until nothing is left. An entry that takes nothing would never end, so it is refused.
pub(super) fn read_all<T>(
    reader: &mut Reader<'_>,
    decode: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut list = Vec::new();
    while !reader.is_empty() {
        let before = reader.len();
        list.push(decode(reader)?);
        if reader.len() == before {
            return Err(DecodeError::Length { what: reader.what, expected: "at least 1 for an entry", came: 0 });
        }
    }
    Ok(list)
}

/// Zero bytes until `out` is a multiple of 8 long, counted from `start`.
pub(super) fn pad_to_8(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    out.resize(start + length.next_multiple_of(8), 0);
}

/// Writes the length of what was appended since `from` into the 16 bits at `at`.
pub(super) fn fill_length(out: &mut [u8], what: &'static str, at: usize, from: usize) -> Result<(), EncodeError> {
    let (length, max) = (out.len() - from, usize::from(u16::MAX));
    let bytes = u16::try_from(length).map_err(|_| EncodeError::TooLong { what, length, max })?.to_be_bytes();
    out[at..at + 2].copy_from_slice(&bytes);
    Ok(())
}

/// Where text ends that `width` bytes hold with a zero behind it.
fn text_end(text: &str, width: usize) -> usize {
    let mut end = text.len().min(width - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// Text in `width` bytes: cut at a character's end so that a zero follows it.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str, width: usize) {
    let end = text_end(text, width);
    out.extend_from_slice(&text.as_bytes()[..end]);
    out.resize(out.len() + width - end, 0);
}

/// The low `count` bytes of a value.
pub(super) fn put_value(out: &mut Vec<u8>, value: u128, count: usize) {
    out.extend_from_slice(&value.to_be_bytes()[16 - count..]);
}
