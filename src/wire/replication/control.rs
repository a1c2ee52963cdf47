//! What a replica sends back: how far it is, what it misses, what it doubts.

use super::reader::{DecodeError, Reader, put_varint};

/// Runs of missing frames that one acknowledgement asks for; the next one asks for more.
pub const RANGES_MAX: usize = 64;
/// Doubtful segments that one acknowledgement names.
pub const SEGMENTS_MAX: usize = 64;

/// ```text
/// | applied | runs | (distance from the last, length) … | segments | (distance from the last) … |   all varints
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// All frames up to this one were applied.
    pub applied: u64,
    /// First frame and number of frames of each run that is missing; ascending, apart from each other.
    pub missing: Vec<(u64, u64)>,
    /// Segments that differ from their digest; ascending.
    pub doubtful: Vec<u32>,
}

impl Ack {
    /// The first [`RANGES_MAX`] runs and [`SEGMENTS_MAX`] segments.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.applied);
        let runs = &self.missing[..self.missing.len().min(RANGES_MAX)];
        put_varint(&mut out, runs.len() as u64);
        let mut last = self.applied;
        for (first, length) in runs {
            put_varint(&mut out, first.saturating_sub(last));
            put_varint(&mut out, *length);
            last = first.saturating_add(*length);
        }
        let segments = &self.doubtful[..self.doubtful.len().min(SEGMENTS_MAX)];
        put_varint(&mut out, segments.len() as u64);
        let mut last = 0;
        for segment in segments {
            put_varint(&mut out, u64::from(segment.saturating_sub(last)));
            last = *segment;
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let applied = reader.varint("applied")?;
        let mut missing = Vec::new();
        let mut last = applied;
        for position in 0..bounded(reader.varint("runs")?, RANGES_MAX)? {
            let (distance, length) = (reader.varint("run")?, reader.varint("run")?);
            if distance == 0 || length == 0 {
                let what = "run";
                return Err(DecodeError::Value { what, expected: "ascending, not empty", came: position as u64 });
            }
            let first = last.checked_add(distance);
            let end = first.and_then(|first| first.checked_add(length));
            let (Some(first), Some(end)) = (first, end) else {
                return Err(DecodeError::Value { what: "run", expected: "64 bits", came: distance });
            };
            missing.push((first, length));
            last = end;
        }
        let mut doubtful: Vec<u32> = Vec::new();
        for position in 0..bounded(reader.varint("segments")?, SEGMENTS_MAX)? {
            let distance = reader.varint_u32("segment")?;
            let segment = doubtful.last().map_or(Some(distance), |last| last.checked_add(distance));
            let Some(segment) = segment.filter(|_| position == 0 || distance > 0) else {
                return Err(DecodeError::Value { what: "segment", expected: "ascending", came: distance.into() });
            };
            doubtful.push(segment);
        }
        reader.end("acknowledgement")?;
        Ok(Self { applied, missing, doubtful })
    }
}

fn bounded(count: u64, most: usize) -> Result<usize, DecodeError> {
    let refused = DecodeError::Value { what: "acknowledgement", expected: "at most 64 of a kind", came: count };
    usize::try_from(count).ok().filter(|count| *count <= most).ok_or(refused)
}
