//! Reads numbers off a slice: fixed widths, and varints that have one form only.

use thiserror::Error;

/// Bytes that are not what the protocol says they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("{what}: expected {expected} more bytes, {left} are left")]
    Truncated { what: &'static str, expected: usize, left: usize },
    #[error("{what}: expected {expected}, came {came}")]
    Value { what: &'static str, expected: &'static str, came: u64 },
}

/// Seven bits a byte, lowest first; a 64-bit number takes ten at most.
const VARINT_LEN_MAX: usize = 10;
const MORE: u8 = 0x80;

pub(super) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let left = self.left.len();
        let (head, rest) = self.left.split_first_chunk().ok_or(DecodeError::Truncated { what, expected: N, left })?;
        self.left = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// A varint in its shortest form.
    pub(super) fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for position in 0..VARINT_LEN_MAX {
            let byte = self.u8(what)?;
            let bits = u64::from(byte & !MORE);
            let shift = 7 * position as u32;
            if bits << shift >> shift != bits || (byte == 0 && position > 0) {
                return Err(DecodeError::Value { what, expected: "a shortest varint of 64 bits", came: byte.into() });
            }
            value |= bits << shift;
            if byte & MORE == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Value { what, expected: "a varint of 10 bytes at most", came: MORE.into() })
    }

    /// A varint that fits 32 bits.
    pub(super) fn varint_u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        let value = self.varint(what)?;
        u32::try_from(value).map_err(|_| DecodeError::Value { what, expected: "at most 32 bits", came: value })
    }

    /// `base` and the zig-zag varint that follows.
    pub(super) fn delta(&mut self, what: &'static str, base: u32) -> Result<u32, DecodeError> {
        let zigzag = self.varint(what)?;
        let difference = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        let value = i64::from(base).checked_add(difference).and_then(|value| u32::try_from(value).ok());
        value.ok_or(DecodeError::Value { what, expected: "a difference that stays within 32 bits", came: zigzag })
    }

    /// Nothing may follow.
    pub(super) fn end(&self, what: &'static str) -> Result<(), DecodeError> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(DecodeError::Value { what, expected: "nothing behind it", came: left as u64 }),
        }
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= u64::from(MORE) {
        out.push(value.to_le_bytes()[0] | MORE);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Small differences of either sign are short: 0, -1, 1, -2 … become 0, 1, 2, 3 …
pub(super) fn put_delta(out: &mut Vec<u8>, base: u32, value: u32) {
    let difference = i64::from(value) - i64::from(base);
    put_varint(out, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
}
