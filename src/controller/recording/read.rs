//! Reads a recording; whoever wrote it is not trusted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

use super::RecordingError;
use super::format::{FORMAT, Header, Record, VERSION};
use crate::config::{Topology, parse_topology};
use crate::controller::Input;
use crate::plan::SLOTS;
use crate::southbound::Event;

/// Longest line: the header of a thousand switches is a hundred times shorter. A compressed file could otherwise unfold
/// into more than the memory holds.
const LINE_BYTES_MAX: u64 = 64 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// How much of a line an error shows.
const SHOWN: usize = 60;

/// What comes next in a recording.
#[derive(Debug)]
pub enum Read {
    /// Never a header or the end.
    Record(Record),
    /// The end marker.
    End,
    /// The file ends without one, or within a line: the recorder was killed.
    Cut,
}

/// The first line, as far as every version has it.
#[derive(Deserialize)]
struct FirstLine {
    header: Preamble,
}

#[derive(Deserialize)]
struct Preamble {
    format: String,
    version: u32,
}

/// An open recording whose header was read.
pub struct Reader {
    path: PathBuf,
    source: Box<dyn BufRead>,
    header: Header,
    line: u64,
    /// Of the last input.
    number: u64,
    /// What was sent for it was read.
    answered: bool,
    /// Inputs need not follow on each other once: a gap was read.
    gap: bool,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).field("line", &self.line).finish_non_exhaustive()
    }
}

enum Line {
    Whole(Vec<u8>),
    End,
    Cut,
}

impl Reader {
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Open { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(failed)?);
        let packed = file.fill_buf().map_err(failed)?.starts_with(&GZIP_MAGIC);
        let mut source: Box<dyn BufRead> =
            if packed { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) };
        let bad = |came: String| RecordingError::Bad {
            path: path.to_owned(),
            line: 1,
            expected: format!("the header of a recording of version {VERSION}"),
            came,
        };
        let line = match next_line(&mut source).map_err(|error| bad(error.to_string()))? {
            Line::Whole(line) => line,
            Line::End | Line::Cut => return Err(bad("the end of the file".to_owned())),
        };
        let first: FirstLine = serde_json::from_slice(&line).map_err(|_| bad(shown(&line)))?;
        if first.header.format != FORMAT || first.header.version != VERSION {
            return Err(bad(format!("'{:.40}' of version {}", first.header.format, first.header.version)));
        }
        let header = match serde_json::from_slice(&line) {
            Ok(Record::Header(header)) => *header,
            Ok(_) => return Err(bad(shown(&line))),
            Err(error) => return Err(bad(error.to_string())),
        };
        check_topology(&header.topology).map_err(|came| bad(format!("a topology that cannot be: {came}")))?;
        let path = path.to_owned();
        Ok(Self { path, source, header, line: 1, number: 0, answered: true, gap: false })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Number of the line that was read last, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The next record; its order is checked.
    pub fn next_record(&mut self) -> Result<Read, RecordingError> {
        self.line += 1;
        let line = match next_line(&mut self.source) {
            Ok(Line::Whole(line)) => line,
            Ok(Line::End | Line::Cut) => return Ok(Read::Cut),
            Err(error) => return Err(self.bad("a record", error)),
        };
        let record = serde_json::from_slice(&line).map_err(|error| self.bad("a record", error))?;
        match &record {
            Record::Header(_) => return Err(self.bad("one header, in the first line", "another")),
            Record::Input { number, what, .. } => {
                if let Input::Event(Event::Found { choices, .. }) = what
                    && let Some(odd) = choices.values().find(|choice| choice.slots.len() != SLOTS)
                {
                    return Err(self.bad(format!("{SLOTS} slots"), odd.slots.len()));
                }
                let next = self.number + 1;
                if *number != next && !(self.gap && *number > next) {
                    return Err(self.bad(format!("input {next}"), format!("input {number}")));
                }
                (self.number, self.answered, self.gap) = (*number, false, false);
            }
            Record::Sent(sent) => {
                if sent.after != self.number || self.answered {
                    let expected = format!("an input, or once what was sent for input {}", self.number);
                    return Err(self.bad(expected, format!("what was sent for input {}", sent.after)));
                }
                self.answered = true;
            }
            Record::Gap { .. } => self.gap = true,
            Record::End { inputs } => {
                if *inputs != self.number && !self.gap {
                    return Err(self.bad(format!("the end after input {}", self.number), format!("after {inputs}")));
                }
                self.line += 1;
                return match next_line(&mut self.source) {
                    Ok(Line::End) => Ok(Read::End),
                    Ok(Line::Cut) => Ok(Read::Cut),
                    Ok(Line::Whole(_)) | Err(_) => Err(self.bad("nothing after the end marker", "more")),
                };
            }
        }
        Ok(Read::Record(record))
    }

    fn bad(&self, expected: impl Into<String>, came: impl ToString) -> RecordingError {
        let (path, line) = (self.path.clone(), self.line);
        RecordingError::Bad { path, line, expected: expected.into(), came: came.to_string() }
    }
}

/// The controller relies on what reading a topology file makes sure of, so this must be as it would be read from one.
fn check_topology(topology: &Topology) -> Result<(), String> {
    if *topology == Topology::default() {
        return Ok(());
    }
    let read = parse_topology(Path::new("topology"), &topology.to_yaml())
        .map_err(|problems| problems.first().map_or_else(String::new, ToString::to_string))?;
    // Shares are left out: making them add up to 1 once more may change their last digit.
    let parts = |topology: &Topology| {
        let services = topology.services.iter();
        let services: Vec<_> = services.map(|service| (service.number, service.prefixes.clone())).collect();
        (topology.nodes.clone(), topology.links.clone(), topology.hosts.clone(), services)
    };
    if parts(&read) == parts(topology) { Ok(()) } else { Err("its parts do not fit together".to_owned()) }
}

/// Without its line feed. A compressed file that ends too early is cut, one that was changed is an error.
fn next_line(source: &mut dyn BufRead) -> io::Result<Line> {
    let mut line = Vec::new();
    match source.take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
        Ok(0) => Ok(Line::End),
        Ok(_) if line.last() == Some(&b'\n') => {
            line.pop();
            Ok(Line::Whole(line))
        }
        Ok(_) if line.len() as u64 == LINE_BYTES_MAX => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line of more than {LINE_BYTES_MAX} bytes")))
        }
        Ok(_) => Ok(Line::Cut),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Line::Cut),
        Err(error) => Err(error),
    }
}

fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
    let more = if line.len() > SHOWN { "…" } else { "" };
    format!("'{}{more}'", text.escape_debug())
}
