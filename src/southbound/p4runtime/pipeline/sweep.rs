//! Sweeps: packets that walk over the slots of a switch, age them and come back as a report (docs/P4.md, "Sweeps").
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |             kind              |             owner             |
//! +-------------------------------+-------------------------------+
//! |                             token                             |
//! +---------------------------------------------------------------+
//! |                 next slot, relative to the region             |
//! +---------------------------------------------------------------+
//! |                  end, the slot after the last                 |
//! +---------------------------------------------------------------+
//! |            live: held, the next two kinds among them          |
//! +---------------------------------------------------------------+
//! |                            closing                            |
//! +---------------------------------------------------------------+
//! |                           half-open                           |
//! +---------------------------------------------------------------+
//! |                             freed                             |
//! +---------------------------------------------------------------+
//! |          freed_ms: sum of the lifetimes of the freed          |
//! +---------------------------------------------------------------+
//! |            occupied: of the whole region, at the end          |
//! +-------------------------------+-------------------------------+
//! |            session            |           settle_ms           |
//! +-------------------------------+-------------------------------+
//! |                            copies                             |
//! +---------------------------------------------------------------+
//! |                            doubted                            |
//! +---------------------------------------------------------------+
//! |                   count: what the digest is of                |
//! +---------------------------------------------------------------+
//! |                     sent: records emitted                     |
//! +---------------------------------------------------------------+
//! |                                                               |
//! |                            digest                             |
//! +---------------------------------------------------------------+
//! ```
//!
//! Big-endian. A sweep is sent with all counts zero; in its report `next` is `end`. Decoding never panics.

use thiserror::Error;

/// Bytes of a sweep and of its report.
pub const LENGTH: usize = 68;

/// Most slots of one sweep: it goes round some hundred times and delays forwarding by milliseconds.
pub const SLOTS_MAX: u32 = 4_096;

/// What is swept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SweepKind {
    /// Connections of a first-stage router: what is past its time is forgotten, the rest counted.
    #[default]
    Connections,
    /// Pins of a third-stage or an outside switch, as before.
    Pins,
    /// A record of every connection leaves by a clone session.
    Emit,
    /// Connections that stand since a while are added up, in any order.
    Digest,
    /// Copies are in doubt until a record confirms them.
    Doubt,
    /// Copies in doubt are forgotten.
    Purge,
}

impl SweepKind {
    const ALL: [Self; 6] = [Self::Connections, Self::Pins, Self::Emit, Self::Digest, Self::Doubt, Self::Purge];

    fn number(self) -> u16 {
        match self {
            Self::Connections => 1,
            Self::Pins => 2,
            Self::Emit => 3,
            Self::Digest => 4,
            Self::Doubt => 5,
            Self::Purge => 6,
        }
    }
}

/// A request to sweep the slots from `first` to before `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    pub kind: SweepKind,
    /// Whose region it is: the index of a node; 0 for pins.
    pub owner: u16,
    /// Comes back in the report.
    pub token: u32,
    pub first: u32,
    pub end: u32,
    /// Where records leave.
    pub session: u16,
    /// A digest is of what had been there so long.
    pub settle_ms: u16,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    pub kind: SweepKind,
    pub owner: u16,
    pub token: u32,
    pub end: u32,
    /// Slots that are held still, those of `closing` and `half_open` among them. Copies are none of them.
    pub live: u32,
    pub closing: u32,
    pub half_open: u32,
    /// Slots that were free to be forgotten, and were.
    pub freed: u32,
    /// Sum of the lifetimes of what was freed, from the first packet to the last, modulo 2^32.
    pub freed_ms: u32,
    /// Slots held in the whole region when the sweep ended, without copies.
    pub occupied: u32,
    /// Copies of what another router carries.
    pub copies: u32,
    /// Copies in doubt: found, made so, or forgotten, as the sweep's kind is.
    pub doubted: u32,
    /// Connections that the digest is of.
    pub count: u32,
    /// Records that left.
    pub sent: u32,
    pub digest: u64,
}

/// Why bytes are no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReportError {
    #[error("a sweep report of {0} bytes; expected {LENGTH}")]
    Length(usize),
    #[error("a sweep report of kind {0}; expected 1 to 6")]
    Kind(u16),
    #[error("a sweep report that got to slot {next} of {end}; expected one that is done")]
    Unfinished { next: u32, end: u32 },
}

impl Sweep {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend(self.kind.number().to_be_bytes());
        bytes.extend(self.owner.to_be_bytes());
        for word in [self.token, self.first, self.end] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.resize(40, 0);
        bytes.extend(self.session.to_be_bytes());
        bytes.extend(self.settle_ms.to_be_bytes());
        bytes.resize(LENGTH, 0);
        bytes
    }
}

impl SweepReport {
    /// Reads a report. What follows its 68 bytes is padding of the wire.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReportError> {
        let Some((bytes, _)) = bytes.split_first_chunk::<LENGTH>() else {
            return Err(ReportError::Length(bytes.len()));
        };
        let word = |at: usize| bytes[4 * at..4 * at + 4].iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let number = u16::try_from(word(0) >> 16).expect("a word shifted by 16 bits");
        let kind = SweepKind::ALL.into_iter().find(|kind| kind.number() == number);
        let kind = kind.ok_or(ReportError::Kind(number))?;
        let (next, end) = (word(2), word(3));
        if next != end {
            return Err(ReportError::Unfinished { next, end });
        }
        Ok(Self {
            kind,
            owner: u16::try_from(word(0) & 0xffff).expect("16 bits"),
            token: word(1),
            end,
            live: word(4),
            closing: word(5),
            half_open: word(6),
            freed: word(7),
            freed_ms: word(8),
            occupied: word(9),
            copies: word(11),
            doubted: word(12),
            count: word(13),
            sent: word(14),
            digest: u64::from(word(15)) << 32 | u64::from(word(16)),
        })
    }

    /// The bytes that a switch sends.
    pub fn encode(&self) -> Vec<u8> {
        let (owner, token, end) = (self.owner, self.token, self.end);
        let sweep = Sweep { kind: self.kind, owner, token, first: end, end, ..Sweep::default() };
        let mut bytes = sweep.encode();
        let counts = [self.live, self.closing, self.half_open, self.freed, self.freed_ms, self.occupied];
        for (at, count) in counts.into_iter().enumerate() {
            bytes[16 + 4 * at..20 + 4 * at].copy_from_slice(&count.to_be_bytes());
        }
        bytes.truncate(44);
        for count in [self.copies, self.doubted, self.count, self.sent] {
            bytes.extend(count.to_be_bytes());
        }
        bytes.extend(self.digest.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes() {
        let sweep = Sweep {
            kind: SweepKind::Emit,
            owner: 0x0203,
            token: 0x0405_0607,
            first: 64,
            end: 4_096,
            session: 0x1112,
            settle_ms: 0x1314,
        };
        let mut golden = vec![0, 3, 2, 3, 4, 5, 6, 7, 0, 0, 0, 64, 0, 0, 0x10, 0];
        golden.resize(40, 0);
        golden.extend([0x11, 0x12, 0x13, 0x14]);
        golden.resize(68, 0);
        assert_eq!(sweep.encode(), golden);

        let mut golden = vec![0, 2, 0, 0, 0, 0, 0, 9, 0, 0, 0x10, 0, 0, 0, 0x10, 0];
        golden.extend([0, 0, 0, 50, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 1, 0]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        let report = SweepReport {
            kind: SweepKind::Pins,
            owner: 0,
            token: 9,
            end: 4_096,
            live: 50,
            closing: 4,
            half_open: 3,
            freed: 2,
            freed_ms: 65_536,
            occupied: 256,
            copies: 5,
            doubted: 6,
            count: 7,
            sent: 8,
            digest: 0x0102_0304_0506_0708,
        };
        assert_eq!(SweepReport::decode(&golden), Ok(report));
        assert_eq!(report.encode(), golden);
        golden.extend([0; 20]);
        assert_eq!(SweepReport::decode(&golden), Ok(report), "a short frame is padded");
    }

    #[test]
    fn what_is_no_report() {
        let sweep = Sweep { kind: SweepKind::Pins, owner: 1, token: 2, first: 3, end: 4, ..Sweep::default() }.encode();
        assert_eq!(SweepReport::decode(&sweep), Err(ReportError::Unfinished { next: 3, end: 4 }));
        assert_eq!(SweepReport::decode(&sweep[..67]), Err(ReportError::Length(67)));
        assert_eq!(SweepReport::decode(&[0; 68]), Err(ReportError::Kind(0)));
        assert_eq!(SweepReport::decode(&[0xff; 68]), Err(ReportError::Kind(0xffff)));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
            if let Ok(report) = SweepReport::decode(&bytes) {
                prop_assert_eq!(SweepReport::decode(&report.encode()), Ok(report));
            }
        }

        #[test]
        fn round_trip(owner: u16, token: u32, end: u32, counts: [u32; 10], digest: u64) {
            let [live, closing, half_open, freed, freed_ms, occupied, copies, doubted, count, sent] = counts;
            let kind = SweepKind::Connections;
            let report = SweepReport {
                kind, owner, token, end, live, closing, half_open, freed, freed_ms, occupied, copies, doubted, count, sent,
                digest,
            };
            prop_assert_eq!(SweepReport::decode(&report.encode()), Ok(report));
        }
    }
}
