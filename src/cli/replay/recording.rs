//! `replay --recording`: repeats a recorded run, and tells whether the controller did the same.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;

use super::super::{BadInput, write_json};
use super::ReplayArgs;
use crate::controller::recording::{Outcome, Reader, RecordingError, Replayed, replay};

#[derive(Serialize)]
struct Report<'r> {
    recording: &'r Path,
    equal: bool,
    #[serde(flatten)]
    replayed: &'r Replayed,
}

pub(super) fn run(recording: &Path, args: &ReplayArgs) -> anyhow::Result<()> {
    let mut reader = Reader::open(recording).map_err(bad_input)?;
    let mut log: Box<dyn Write> = match &args.plans {
        Some(to) => {
            let file = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(io::sink()),
    };
    let replayed = replay(&mut reader, &mut log).map_err(bad_input)?;
    let equal = replayed.outcome == Outcome::Equal;
    let report = Report { recording, equal, replayed: &replayed };
    match &args.json {
        Some(to) if to == Path::new("-") => write_json(to, &report)?,
        Some(to) => {
            print(&replayed)?;
            write_json(to, &report)?;
        }
        None => print(&replayed)?,
    }
    match &replayed.outcome {
        Outcome::Equal => Ok(()),
        Outcome::Gap { after, .. } => bail!("equality is claimed up to input {after} alone: the recording has a gap"),
        Outcome::Different(difference) => bail!("the replay differs from the recording at input {}", difference.input),
    }
}

fn bad_input(error: RecordingError) -> anyhow::Error {
    match error {
        RecordingError::Open { .. } | RecordingError::Bad { .. } => BadInput(error.to_string()).into(),
        RecordingError::Write { .. } | RecordingError::Log(_) => error.into(),
    }
}

fn print(replayed: &Replayed) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let Replayed { recorded_by, inputs, cycles, plans, shifts, plan_log, .. } = replayed;
    writeln!(out, "recorded by foreshadow {recorded_by}, replayed by {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "inputs {inputs}, cycles {cycles}, plans {plans}, shifts {shifts}")?;
    writeln!(out, "plan log {plan_log}")?;
    match &replayed.outcome {
        Outcome::Equal => writeln!(out, "equal to the recording")?,
        Outcome::Gap { after, inputs } => {
            writeln!(
                out,
                "equal up to input {after}; then {inputs} inputs are missing, and the rest was not replayed"
            )?;
        }
        Outcome::Different(difference) => {
            writeln!(out, "differs at input {}, line {}: {}", difference.input, difference.line, difference.what)?;
            writeln!(out, "  expected {}", difference.expected)?;
            writeln!(out, "  came     {}", difference.came)?;
        }
    }
    if !replayed.complete && !matches!(replayed.outcome, Outcome::Gap { .. }) {
        writeln!(out, "the recording has no end marker: it was replayed up to where it is cut")?;
    }
    Ok(())
}
