//! Why a frame was not taken, with a counter for every reason.

use std::fmt;

/// Why a frame was not taken. What is refused changes nothing but its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Shorter than it says, of another version or profile, or of an unknown kind.
    Unreadable,
    /// Of another pair of routers, or not for this side.
    Foreign,
    /// Its tag is not that of the key.
    Forged,
    /// Of a session or an epoch that is not in force.
    OtherSession,
    /// Was taken before, or is older than what was.
    Replayed,
    /// Too far behind a missing frame to be kept; it comes again.
    TooEarly,
    /// Authentic, but not what the protocol allows.
    Malformed,
    /// From somebody who is no peer.
    UnknownPeer,
}

impl Refusal {
    pub const ALL: [Self; 8] = [
        Self::Unreadable,
        Self::Foreign,
        Self::Forged,
        Self::OtherSession,
        Self::Replayed,
        Self::TooEarly,
        Self::Malformed,
        Self::UnknownPeer,
    ];

    /// For metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Foreign => "foreign",
            Self::Forged => "forged",
            Self::OtherSession => "other_session",
            Self::Replayed => "replayed",
            Self::TooEarly => "too_early",
            Self::Malformed => "malformed",
            Self::UnknownPeer => "unknown_peer",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "expected a frame of version 1, profile 1, with all its bytes",
            Self::Foreign => "expected a frame of this pair and direction",
            Self::Forged => "the tag is not that of the key",
            Self::OtherSession => "expected a frame of the session in force",
            Self::Replayed => "the frame was taken before, or a later one was",
            Self::TooEarly => "too many frames before it are missing",
            Self::Malformed => "authentic, but not what the protocol allows: is the peer of another version?",
            Self::UnknownPeer => "expected a frame of a peer",
        })
    }
}

impl std::error::Error for Refusal {}

/// Refused frames by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused([u64; Refusal::ALL.len()]);

impl Refused {
    pub fn of(&self, refusal: Refusal) -> u64 {
        self.0[refusal as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().map(|refusal| (refusal, self.of(refusal)))
    }

    /// Counts what is an error, and hands it on.
    pub(super) fn count<T>(&mut self, outcome: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(refusal) = outcome {
            self.0[refusal as usize] += 1;
        }
        outcome
    }
}
