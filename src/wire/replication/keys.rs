//! The secret that agents share, and what is derived from it for every pair.

use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher24To128};

use crate::types::NodeIndex;

/// 128 secret bits, as 32 hex digits in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Text that is no key. It does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a key of 32 hex digits, came {0} characters that are not")]
pub struct ParseKeyError(usize);

impl FromStr for Key {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| plain).ok_or(ParseKeyError(text.len()))?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl Key {
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The tag of a message: SipHash-2-4 of 64 bits.
    pub fn tag(&self, message: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(message);
        hasher.finish()
    }

    /// Another key, of which nobody learns this one.
    #[must_use]
    pub fn derive(&self, purpose: &[u8]) -> Self {
        let mut hasher = SipHasher24To128::new_with_key(&self.0);
        hasher.write(purpose);
        Self(hasher.finish128().as_bytes())
    }

    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Keys of one pair: another for each direction, so that no frame is ever good for the other or for another pair.
#[derive(Clone, Copy, Debug)]
pub struct PairKeys {
    /// From the source to the replica.
    pub down: Key,
    /// From the replica to the source.
    pub up: Key,
    /// Of digests, so that nobody finds two connections that add up to the same.
    pub digest: Key,
}

impl PairKeys {
    pub fn new(secret: &Key, source: NodeIndex, replica: NodeIndex) -> Self {
        let key = |direction: u8| {
            let ([a, b], [c, d]) = (source.0.to_be_bytes(), replica.0.to_be_bytes());
            secret.derive(&[b'f', b's', b'r', 1, direction, a, b, c, d])
        };
        Self { down: key(1), up: key(2), digest: key(3) }
    }
}
