//! Recordings: every input of a controller with its time, and what the controller sent for it (docs/RECORDING.md).
//!
//! A controller's outputs follow from its inputs and their times alone, so a recording repeats a run: [`Player`] feeds
//! the inputs to a new controller, [`replay()`] compares what that one sends with what was recorded.
//!
//! [`mod@format`] holds the records, [`Recorder`] is the loop's end of a bounded queue to the writer, [`Reader`]
//! trusts nothing it reads.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

mod answer;
mod format;
mod read;
mod replay;
#[cfg(test)]
mod tests;
mod write;

pub use answer::{Answer, Observer};
pub use format::{Decided, FORMAT, Header, PlanRecord, Record, Sent, Stance, Told, VERSION};
pub use read::{Read, Reader};
pub use replay::{Difference, Outcome, Player, Replayed, replay};
pub use write::{RecordWriter, Recorder, RecorderTask, record};

/// What can be wrong with a recording.
#[derive(Debug, Error)]
pub enum RecordingError {
    #[error("cannot write the recording {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read the recording {}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{}:{line}: expected {expected}, came {came}", path.display())]
    Bad { path: PathBuf, line: u64, expected: String, came: String },
    #[error("cannot write the plan log: {0}")]
    Log(#[source] io::Error),
}
