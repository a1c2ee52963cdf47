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
//! +---------------------------------------------------------------+
//! ```
//!
//! Big-endian. A sweep is sent with all counts zero; in its report `next` is `end`. Decoding never panics.

use thiserror::Error;

/// Bytes of a sweep and of its report.
pub const LENGTH: usize = 40;

/// Most slots of one sweep: it goes round some hundred times and delays forwarding by milliseconds.
pub const SLOTS_MAX: u32 = 4_096;

/// What is swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SweepKind {
    /// Connections of a first-stage router.
    Connections,
    /// Pins of a third-stage or an outside switch.
    Pins,
}

impl SweepKind {
    fn number(self) -> u16 {
        match self {
            Self::Connections => 1,
            Self::Pins => 2,
        }
    }
}

/// A request to sweep the slots from `first` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    pub kind: SweepKind,
    /// Whose region it is: the index of a node; 0 for pins.
    pub owner: u16,
    /// Comes back in the report.
    pub token: u32,
    pub first: u32,
    pub end: u32,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepReport {
    pub kind: SweepKind,
    pub owner: u16,
    pub token: u32,
    pub end: u32,
    /// Slots that are held still, those of `closing` and `half_open` among them.
    pub live: u32,
    pub closing: u32,
    pub half_open: u32,
    /// Slots that were free to be forgotten, and were.
    pub freed: u32,
    /// Sum of the lifetimes of what was freed, from the first packet to the last, modulo 2^32.
    pub freed_ms: u32,
    /// Slots held in the whole region when the sweep ended.
    pub occupied: u32,
}

/// Why bytes are no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReportError {
    #[error("a sweep report of {0} bytes; expected {LENGTH}")]
    Length(usize),
    #[error("a sweep report of kind {0}; expected 1 (connections) or 2 (pins)")]
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
        bytes.resize(LENGTH, 0);
        bytes
    }
}

impl SweepReport {
    /// Reads a report. What follows its 40 bytes is padding of the wire.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReportError> {
        let Some((bytes, _)) = bytes.split_first_chunk::<LENGTH>() else {
            return Err(ReportError::Length(bytes.len()));
        };
        let word = |at: usize| bytes[4 * at..4 * at + 4].iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        let kind = match word(0) >> 16 {
            1 => SweepKind::Connections,
            2 => SweepKind::Pins,
            other => return Err(ReportError::Kind(u16::try_from(other).expect("a word shifted by 16 bits"))),
        };
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
        })
    }

    /// The bytes that a switch sends.
    pub fn encode(&self) -> Vec<u8> {
        let sweep = Sweep { kind: self.kind, owner: self.owner, token: self.token, first: self.end, end: self.end };
        let mut bytes = sweep.encode();
        let counts = [self.live, self.closing, self.half_open, self.freed, self.freed_ms, self.occupied];
        for (at, count) in counts.into_iter().enumerate() {
            bytes[16 + 4 * at..20 + 4 * at].copy_from_slice(&count.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes() {
        let sweep = Sweep { kind: SweepKind::Connections, owner: 0x0203, token: 0x0405_0607, first: 64, end: 4_096 };
        let mut golden = vec![0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 64, 0, 0, 0x10, 0];
        golden.resize(40, 0);
        assert_eq!(sweep.encode(), golden);

        let mut golden = vec![0, 2, 0, 0, 0, 0, 0, 9, 0, 0, 0x10, 0, 0, 0, 0x10, 0];
        golden.extend([0, 0, 0, 50, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 1, 0]);
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
        };
        assert_eq!(SweepReport::decode(&golden), Ok(report));
        assert_eq!(report.encode(), golden);
        golden.extend([0; 20]);
        assert_eq!(SweepReport::decode(&golden), Ok(report), "a short frame is padded");
    }

    #[test]
    fn what_is_no_report() {
        let sweep = Sweep { kind: SweepKind::Pins, owner: 1, token: 2, first: 3, end: 4 }.encode();
        assert_eq!(SweepReport::decode(&sweep), Err(ReportError::Unfinished { next: 3, end: 4 }));
        assert_eq!(SweepReport::decode(&sweep[..39]), Err(ReportError::Length(39)));
        assert_eq!(SweepReport::decode(&[0; 40]), Err(ReportError::Kind(0)));
        assert_eq!(SweepReport::decode(&[0xff; 40]), Err(ReportError::Kind(0xffff)));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(report) = SweepReport::decode(&bytes) {
                prop_assert_eq!(&report.encode()[..], &bytes[..LENGTH]);
            }
        }

        #[test]
        fn round_trip(owner: u16, token: u32, end: u32, counts: [u32; 6]) {
            let [live, closing, half_open, freed, freed_ms, occupied] = counts;
            let kind = SweepKind::Connections;
            let report = SweepReport { kind, owner, token, end, live, closing, half_open, freed, freed_ms, occupied };
            prop_assert_eq!(SweepReport::decode(&report.encode()), Ok(report));
        }
    }
}
