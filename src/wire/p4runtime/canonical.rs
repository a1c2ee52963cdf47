//! Bytestrings: how P4Runtime carries values of `bit<W>` (specification, section 8.3).
//!
//! ```text
//! value   width   bytes                        not canonical, accepted all the same
//! 0       9       00                           00 00
//! 99      9       63                           00 63
//! 256     9       01 00                        00 00 01 00
//! 512     9       (more than 9 bits: OUT_OF_RANGE)
//! ```

use tonic::Code;

/// Widest value that has a number here: an IPv6 address.
pub const WIDTH_BITS_MAX: u32 = 128;

/// Why bytes are no value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BytestringError {
    #[error("an empty bytestring; expected at least one byte, 00 for zero")]
    Empty,
    #[error("a value of {came_bits} bits; expected at most {width_bits}")]
    OutOfRange { came_bits: usize, width_bits: u32 },
    #[error("a field of {width_bits} bits; fields of 1 to {WIDTH_BITS_MAX} bits have numbers")]
    Width { width_bits: u32 },
}

impl BytestringError {
    /// What a switch answers, by the specification.
    pub fn code(self) -> Code {
        match self {
            Self::Empty => Code::InvalidArgument,
            Self::OutOfRange { .. } => Code::OutOfRange,
            Self::Width { .. } => Code::Unimplemented,
        }
    }
}

/// The shortest big-endian form, of one byte at least.
pub fn encode(value: u128) -> Vec<u8> {
    canonical(&value.to_be_bytes())
}

/// The value of bytes that may have zeros before it; it must fit into `width_bits`.
pub fn decode(bytes: &[u8], width_bits: u32) -> Result<u128, BytestringError> {
    if !(1..=WIDTH_BITS_MAX).contains(&width_bits) {
        return Err(BytestringError::Width { width_bits });
    }
    fits(bytes, width_bits)?;
    Ok(significant(bytes).iter().fold(0, |value, byte| value << 8 | u128::from(*byte)))
}

/// Whether bytes are a value of `width_bits`, however wide.
pub fn fits(bytes: &[u8], width_bits: u32) -> Result<(), BytestringError> {
    if bytes.is_empty() {
        return Err(BytestringError::Empty);
    }
    let came_bits = bits(bytes);
    if came_bits > width_bits as usize {
        return Err(BytestringError::OutOfRange { came_bits, width_bits });
    }
    Ok(())
}

/// The same value without the zeros before it. An empty bytestring, which is none, becomes zero.
pub fn canonical(bytes: &[u8]) -> Vec<u8> {
    match significant(bytes) {
        [] => vec![0],
        some => some.to_vec(),
    }
}

/// Whether bytes are the canonical form of their value.
pub fn is_canonical(bytes: &[u8]) -> bool {
    matches!(bytes, [_] | [1..=u8::MAX, ..])
}

fn significant(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

fn bits(bytes: &[u8]) -> usize {
    let significant = significant(bytes);
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_values() {
        let golden: [(u128, u32, &[u8]); 8] = [
            (0, 9, &[0]),
            (99, 9, &[0x63]),
            (255, 9, &[0xff]),
            (256, 9, &[1, 0]),
            (511, 9, &[1, 0xff]),
            (0x0246_5301_0007, 48, &[2, 0x46, 0x53, 1, 0, 7]),
            (0x0a00_0001, 32, &[10, 0, 0, 1]),
            (u128::MAX, 128, &[0xff; 16]),
        ];
        for (value, width, bytes) in golden {
            assert_eq!(encode(value), bytes);
            assert_eq!(decode(bytes, width), Ok(value));
            assert!(is_canonical(bytes), "{bytes:?}");
            let padded = [&[0, 0, 0][..], bytes].concat();
            assert_eq!(decode(&padded, width), Ok(value), "zeros do not change a value");
            assert_eq!(canonical(&padded), bytes);
            assert!(!is_canonical(&padded));
        }
    }

    #[test]
    fn what_is_no_value_says_why() {
        use BytestringError::{Empty, OutOfRange, Width};
        assert_eq!(decode(&[], 9), Err(Empty));
        assert_eq!(decode(&[2, 0], 9), Err(OutOfRange { came_bits: 10, width_bits: 9 }));
        assert_eq!(decode(&[0, 2], 1), Err(OutOfRange { came_bits: 2, width_bits: 1 }));
        assert_eq!(decode(&[1; 17], 128), Err(OutOfRange { came_bits: 129, width_bits: 128 }));
        assert_eq!(decode(&[1], 0), Err(Width { width_bits: 0 }));
        assert_eq!(decode(&[1], 129), Err(Width { width_bits: 129 }));
        assert_eq!(fits(&[1; 32], 249), Ok(()));
        assert_eq!(fits(&[1; 32], 248), Err(OutOfRange { came_bits: 249, width_bits: 248 }));
        assert_eq!(
            [Empty, Width { width_bits: 0 }].map(BytestringError::code),
            [Code::InvalidArgument, Code::Unimplemented]
        );
        let error = decode(&[2, 0], 9).expect_err("is too wide");
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            (Code::OutOfRange, "a value of 10 bits; expected at most 9")
        );
        assert_eq!(canonical(&[]), [0]);
        assert!(!is_canonical(&[]));
    }

    proptest! {
        #[test]
        fn every_value_comes_back(value: u128, zeros in 0..4usize) {
            let width = (128 - value.leading_zeros()).max(1);
            let bytes = encode(value);
            prop_assert!(is_canonical(&bytes));
            prop_assert_eq!(decode(&[vec![0; zeros], bytes.clone()].concat(), width), Ok(value));
            if width > 1 {
                prop_assert!(decode(&bytes, width - 1).is_err(), "a bit less is not enough");
            }
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes: Vec<u8>, width in 0..200u32) {
            match decode(&bytes, width) {
                Ok(value) => {
                    prop_assert_eq!(encode(value), canonical(&bytes));
                    prop_assert!(width == 128 || value >> width == 0);
                }
                Err(error) => prop_assert_ne!(error.code(), Code::Ok),
            }
            prop_assert_eq!(canonical(&canonical(&bytes)), canonical(&bytes));
        }
    }
}
