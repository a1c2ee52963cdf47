//! Writes a recording: the loop hands records to a bounded queue, a thread of its own writes them.
//!
//! **Invariant**: the loop never waits for the disk. A record that finds the queue full is left out, and the file says
//! where and how many: a replay claims nothing past such a gap.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::RecordingError;
use super::answer::{Answer, Digester, Observer, json};
use super::format::{Header, Record};
use crate::controller::{Controller, Input, Output};
use crate::types::Timestamp;

/// Records between the loop and the writer: one reading and a few probes of each of a thousand switches, several times
/// over. When it is full, inputs are left out of the file and counted.
const QUEUE: usize = 16_384;
/// What a controller that is killed may leave unwritten.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// Only its owner may read a recording: it holds the key of its run and the frames of its hosts.
const MODE: u32 = 0o600;
/// Ending of the name under which an earlier recording is kept.
const PREVIOUS: &str = ".previous";

/// Opens a recording. The task has to run (it blocks) until the recorder is dropped.
///
/// A file of that name is kept as `FILE.previous`: a controller that is started again after a crash must not write over
/// the recording of the crash.
pub fn record(path: &Path, header: Header) -> Result<(Recorder, RecorderTask), RecordingError> {
    record_with_queue(path, header, QUEUE)
}

pub(super) fn record_with_queue(
    path: &Path,
    header: Header,
    depth: usize,
) -> Result<(Recorder, RecorderTask), RecordingError> {
    let mut writer = RecordWriter::create(path)?;
    writer.write(&Record::Header(Box::new(header)))?;
    writer.flush()?;
    let (queue, entries) = sync_channel(depth);
    let ended = Arc::new(OnceLock::new());
    let recorder =
        Recorder { queue, number: 0, missing: None, observer: Observer::default(), ended: Arc::clone(&ended) };
    Ok((recorder, RecorderTask { writer, entries, ended }))
}

#[derive(Debug)]
enum Entry {
    Input(u64, Timestamp, Input),
    Answer(Answer),
    Gap(u64),
}

/// How a run ended: how many inputs it had, and how many of the last ones are missing.
#[derive(Clone, Copy, Debug)]
struct Ended {
    inputs: u64,
    missing: Option<u64>,
}

/// The loop's end of the queue.
#[derive(Debug)]
pub struct Recorder {
    queue: SyncSender<Entry>,
    /// Of the last input.
    number: u64,
    /// Inputs left out since the queue was full; `None` while nothing is left out.
    missing: Option<u64>,
    observer: Observer,
    ended: Arc<OnceLock<Ended>>,
}

impl Recorder {
    /// Before the input is handled: so one that ends the program is in the file.
    pub fn input(&mut self, input: &Input, now: Timestamp) {
        self.number += 1;
        if let Some(missing) = self.missing {
            if self.queue.try_send(Entry::Gap(missing)).is_err() {
                self.missing = Some(missing + 1);
                return;
            }
            tracing::warn!(inputs = missing, "the recording goes on after a gap");
            self.missing = None;
        }
        if self.queue.try_send(Entry::Input(self.number, now, input.clone())).is_err() {
            self.leave_out(1);
        }
    }

    /// After it.
    pub fn output(&mut self, output: &Output, controller: &Controller) {
        let answer = self.observer.answer(self.number, output, controller);
        if self.missing.is_none()
            && let Some(answer) = answer
            && self.queue.try_send(Entry::Answer(answer)).is_err()
        {
            self.leave_out(0);
        }
    }

    fn leave_out(&mut self, inputs: u64) {
        tracing::warn!(
            input = self.number,
            "the recording cannot keep up: inputs are left out of it until it can, and the file says so"
        );
        self.missing = Some(inputs);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // A run that ends by a panic has no end marker.
        if !std::thread::panicking() {
            let _ = self.ended.set(Ended { inputs: self.number, missing: self.missing });
        }
    }
}

/// The writer's end of the queue.
#[derive(Debug)]
pub struct RecorderTask {
    writer: RecordWriter,
    entries: Receiver<Entry>,
    ended: Arc<OnceLock<Ended>>,
}

impl RecorderTask {
    /// Blocks until the recorder is dropped. A recording that fails is told of and ends there; the controller goes on.
    pub fn run(mut self) {
        if let Err(error) = self.write() {
            tracing::error!(%error, "the recording ends here; the controller goes on");
            // So that the loop's records have somewhere to go: a closed queue would count as a gap for ever.
            while self.entries.recv().is_ok() {}
        }
    }

    fn write(&mut self) -> Result<(), RecordingError> {
        let mut flush_at: Option<Instant> = None;
        loop {
            let next = match flush_at {
                Some(at) => self.entries.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => self.entries.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(entry) => self.writer.entry(entry)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            match flush_at {
                Some(at) if Instant::now() >= at => {
                    self.writer.flush()?;
                    flush_at = None;
                }
                Some(_) => {}
                None => flush_at = Some(Instant::now() + FLUSH_INTERVAL),
            }
        }
    }

    fn finish(&mut self) -> Result<(), RecordingError> {
        if let Some(ended) = self.ended.get().copied() {
            if let Some(inputs) = ended.missing {
                self.writer.write(&Record::Gap { inputs })?;
            }
            self.writer.write(&Record::End { inputs: ended.inputs })?;
        }
        self.writer.finish()
    }
}

/// Writes records to a file, compressed if its name ends in `.gz`.
#[derive(Debug)]
pub struct RecordWriter {
    path: PathBuf,
    sink: Sink,
    digester: Digester,
}

impl RecordWriter {
    /// A file of that name is kept as `FILE.previous`.
    pub fn create(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Write { path: path.to_owned(), source };
        if path.is_file() {
            let mut kept = path.as_os_str().to_owned();
            kept.push(PREVIOUS);
            std::fs::rename(path, &kept).map_err(failed)?;
        }
        let file = File::options().write(true).create_new(true).mode(MODE).open(path).map_err(failed)?;
        let file = BufWriter::new(file);
        let packed = path.extension().is_some_and(|ending| ending == "gz");
        let sink = if packed { Sink::Packed(GzEncoder::new(file, Compression::fast())) } else { Sink::Plain(file) };
        Ok(Self { path: path.to_owned(), sink, digester: Digester::default() })
    }

    pub fn write(&mut self, record: &Record) -> Result<(), RecordingError> {
        let mut line = json(record);
        line.push('\n');
        self.sink.write_all(line.as_bytes()).map_err(|source| self.failed(source))
    }

    pub fn answer(&mut self, answer: Answer) -> Result<(), RecordingError> {
        let sent = self.digester.sent(answer);
        self.write(&Record::Sent(Box::new(sent)))
    }

    fn entry(&mut self, entry: Entry) -> Result<(), RecordingError> {
        match entry {
            Entry::Input(number, at, what) => self.write(&Record::Input { number, at, what }),
            Entry::Answer(answer) => self.answer(answer),
            Entry::Gap(inputs) => self.write(&Record::Gap { inputs }),
        }
    }

    fn flush(&mut self) -> Result<(), RecordingError> {
        self.sink.flush().map_err(|source| self.failed(source))
    }

    /// Everything is in the file after this, and nothing more may follow.
    pub fn finish(&mut self) -> Result<(), RecordingError> {
        let done = match &mut self.sink {
            Sink::Plain(file) => file.flush(),
            Sink::Packed(packed) => packed.try_finish().and_then(|()| packed.get_mut().flush()),
        };
        done.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> RecordingError {
        RecordingError::Write { path: self.path.clone(), source }
    }
}

#[derive(Debug)]
enum Sink {
    Plain(BufWriter<File>),
    Packed(GzEncoder<BufWriter<File>>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Packed(packed) => packed.write(bytes),
        }
    }

    /// A compressed file can be read up to here.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Packed(packed) => packed.flush(),
        }
    }
}
