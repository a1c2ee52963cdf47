//! Hashes and checksums over bytes.

use crate::fabric::p4::program::calculation::Algorithm;

/// What one byte adds to a cyclic redundancy check; `None` for everything else.
pub(crate) fn crc_table(algorithm: Algorithm) -> Option<Box<[u64; 256]>> {
    let Algorithm::Crc { width, polynomial, is_reflected, .. } = algorithm else { return None };
    let top = 1_u64 << (width - 1);
    let mut table = Box::new([0; 256]);
    for (byte, entry) in (0_u64..).zip(table.iter_mut()) {
        let start = if is_reflected { byte.reverse_bits() >> 56 } else { byte };
        let mut remainder = start << (width - 8);
        for _ in 0..8 {
            let is_over = remainder & top != 0;
            remainder = remainder << 1 ^ if is_over { polynomial } else { 0 };
        }
        remainder &= u64::MAX >> (64 - width);
        *entry = if is_reflected { remainder.reverse_bits() >> (64 - width) } else { remainder };
    }
    Some(table)
}

/// The value of an algorithm over bytes.
pub(super) fn value(algorithm: Algorithm, table: Option<&[u64; 256]>, bytes: &[u8]) -> u64 {
    match (algorithm, table) {
        (Algorithm::Crc { width, start, end, is_reflected: true, .. }, Some(table)) => {
            let start = start.reverse_bits() >> (64 - width);
            let step = |crc: u64, byte: &u8| table[usize::from(low(crc) ^ byte)] ^ crc >> 8;
            bytes.iter().fold(start, step) ^ end
        }
        (Algorithm::Crc { width, start, end, .. }, Some(table)) => {
            let mask = u64::MAX >> (64 - width);
            let step = |crc: u64, byte: &u8| (table[usize::from(low(crc >> (width - 8)) ^ byte)] ^ crc << 8) & mask;
            bytes.iter().fold(start, step) ^ end
        }
        (Algorithm::Crc { .. }, None) => 0,
        (Algorithm::Checksum, _) => u64::from(internet_checksum(bytes)),
        (Algorithm::Identity, _) => bytes.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte)),
        (Algorithm::Xor16, _) => xor(bytes, 2),
        (Algorithm::Xor32, _) => xor(bytes, 4),
    }
}

fn low(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// RFC 1071; a last odd byte is the high half of a word.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| match word {
        [high, low] => u64::from(u16::from_be_bytes([*high, *low])),
        [high] => u64::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u64 = words.sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

/// All words of so many bytes; the last is filled with zeros at its end.
fn xor(bytes: &[u8], size: usize) -> u64 {
    let word = |chunk: &[u8]| {
        let padded = chunk.iter().copied().chain(std::iter::repeat(0)).take(size);
        padded.fold(0_u64, |value, byte| value << 8 | u64::from(byte))
    };
    bytes.chunks(size).map(word).fold(0, |sum, word| sum ^ word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the usual catalogue of redundancy checks, and what RFC 1071 gives.
    #[test]
    fn known_values() {
        let crc = |width, polynomial, start, end, is_reflected| Algorithm::Crc {
            width,
            polynomial,
            start,
            end,
            is_reflected,
        };
        let digits = b"123456789".as_slice();
        let cases = [
            ("CRC-8/SMBUS", crc(8, 0x07, 0, 0, false), digits, 0xf4),
            ("CRC-16/ARC", crc(16, 0x8005, 0, 0, true), digits, 0xbb3d),
            ("CRC-16/IBM-3740", crc(16, 0x1021, 0xffff, 0, false), digits, 0x29b1),
            ("CRC-32/ISO-HDLC", crc(32, 0x04c1_1db7, 0xffff_ffff, 0xffff_ffff, true), digits, 0xcbf4_3926),
            ("CRC-64/GO-ISO without complement", crc(64, 0x1b, 0, 0, true), b"", 0),
            ("checksum", Algorithm::Checksum, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 0x220d),
            ("checksum of an odd length", Algorithm::Checksum, &[0x00, 0x01, 0xf2], 0x0dfe),
            ("checksum of nothing", Algorithm::Checksum, &[], 0xffff),
            ("identity", Algorithm::Identity, &[1, 2, 3], 0x0001_0203),
            ("identity of more", Algorithm::Identity, digits, 0x3132_3334_3536_3738),
            ("xor16", Algorithm::Xor16, &[0x12, 0x34, 0x56], 0x4434),
            ("xor32", Algorithm::Xor32, &[1, 2, 3, 4, 5], 0x0402_0304),
        ];
        for (name, algorithm, bytes, expected) in cases {
            let table = crc_table(algorithm);
            assert_eq!(value(algorithm, table.as_deref(), bytes), expected, "{name}");
        }
    }
}
