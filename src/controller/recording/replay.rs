//! Repeats a recorded run and compares.

use std::io::Write;

use serde::Serialize;
use serde_json::Value;

use super::RecordingError;
use super::answer::{Answer, Digester, Observer, chain, hex, json};
use super::format::{Decided, Header, Record, Sent};
use super::read::{Read, Reader};
use crate::controller::{Controller, Input};
use crate::plan::{DatapathPlan, Generation};
use crate::types::Timestamp;

/// How much of a value a difference shows.
const SHOWN: usize = 120;

/// A controller that is fed recorded inputs.
#[derive(Debug)]
pub struct Player {
    controller: Controller,
    observer: Observer,
    number: u64,
}

impl Player {
    pub fn new(header: &Header) -> Self {
        let Header { topology, settings, key, started_at, .. } = header;
        Self {
            controller: Controller::new(topology.clone(), settings.clone(), *key, *started_at),
            observer: Observer::default(),
            number: 0,
        }
    }

    /// What this controller does with the next input; `None` if nothing.
    pub fn feed(&mut self, input: Input, at: Timestamp) -> Option<Answer> {
        self.number += 1;
        let output = self.controller.handle(input, at);
        self.observer.answer(self.number, &output, &self.controller)
    }

    pub fn controller(&self) -> &Controller {
        &self.controller
    }
}

/// How a replay compares with its recording.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Equal,
    /// The recording is incomplete after this input: what follows was not replayed, and nothing is claimed of it.
    Gap {
        after: u64,
        inputs: u64,
    },
    Different(Difference),
}

/// The first difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Number of the input.
    pub input: u64,
    /// Of the file, where the recorded answer stands or should stand.
    pub line: u64,
    /// Path of the value, e.g. `plans[0].plan.edge_ports`.
    pub what: String,
    /// As recorded.
    pub expected: String,
    pub came: String,
}

/// A run that was repeated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replayed {
    /// Version of the program that recorded.
    pub recorded_by: String,
    pub inputs: u64,
    pub cycles: u64,
    /// Plans sent.
    pub plans: u64,
    /// Times that a router's shift grew from nothing.
    pub shifts: u64,
    /// The recording has its end marker: the run ended in order.
    pub complete: bool,
    /// Digest of the plan log, 16 hex digits.
    pub plan_log: String,
    pub outcome: Outcome,
}

#[derive(Serialize)]
struct PlanLine<'p> {
    at: Timestamp,
    generation: Generation,
    datapath: String,
    plan: &'p DatapathPlan,
}

#[derive(Serialize)]
struct DecisionLine<'d> {
    at: Timestamp,
    #[serde(flatten)]
    decided: &'d Decided,
}

/// Feeds a whole recording to a new controller. Writes every plan, and every cycle that changed a shift, as one line of
/// JSON to `log`.
pub fn replay(reader: &mut Reader, log: &mut dyn Write) -> Result<Replayed, RecordingError> {
    let mut replay = Replay::new(reader.header());
    loop {
        match reader.next_record()? {
            Read::Record(Record::Input { at, what, .. }) => {
                replay.settle_last(reader.line());
                replay.input(what, at, log)?;
            }
            Read::Record(Record::Sent(sent)) => replay.recorded(&sent, reader.line()),
            Read::Record(Record::Gap { inputs }) => {
                replay.gap(inputs);
                break;
            }
            Read::Record(Record::Header(_) | Record::End { .. }) => unreachable!("the reader tells of them otherwise"),
            Read::End => {
                replay.settle_last(reader.line());
                replay.replayed.complete = true;
                break;
            }
            // What was sent for the last input may not have been written any more.
            Read::Cut => break,
        }
    }
    log.flush().map_err(RecordingError::Log)?;
    Ok(replay.finish())
}

struct Replay {
    player: Player,
    digester: Digester,
    /// What was sent for the last input and was not yet compared.
    pending: Option<Sent>,
    last: Option<Decided>,
    log_digest: u64,
    replayed: Replayed,
}

impl Replay {
    fn new(header: &Header) -> Self {
        Self {
            player: Player::new(header),
            digester: Digester::default(),
            pending: None,
            last: None,
            log_digest: 0,
            replayed: Replayed {
                recorded_by: header.program.clone(),
                inputs: 0,
                cycles: 0,
                plans: 0,
                shifts: 0,
                complete: false,
                plan_log: String::new(),
                outcome: Outcome::Equal,
            },
        }
    }

    fn input(&mut self, input: Input, at: Timestamp, log: &mut dyn Write) -> Result<(), RecordingError> {
        self.replayed.inputs += 1;
        let Some(answer) = self.player.feed(input, at) else { return Ok(()) };
        for (datapath, generation, plan) in &answer.installs {
            self.replayed.plans += 1;
            let line = PlanLine { at, generation: *generation, datapath: datapath.to_string(), plan };
            self.log(&line, log)?;
        }
        if let Some(decided) = &answer.decided {
            self.log(&DecisionLine { at, decided }, log)?;
            self.replayed.shifts += self.grown(decided);
            self.last = Some(decided.clone());
        }
        self.pending = Some(self.digester.sent(answer));
        Ok(())
    }

    fn log(&mut self, line: &impl Serialize, log: &mut dyn Write) -> Result<(), RecordingError> {
        let mut text = json(line);
        text.push('\n');
        self.log_digest = chain(self.log_digest, text.as_bytes());
        log.write_all(text.as_bytes()).map_err(RecordingError::Log)
    }

    /// Routers whose shift grew from nothing.
    fn grown(&self, decided: &Decided) -> u64 {
        let before = |router| {
            let stance = self.last.as_ref().and_then(|last| last.routers.get(router));
            stance.map_or(0, |stance| stance.shift_milli)
        };
        let grown = decided.routers.iter().filter(|(router, stance)| stance.shift_milli > 0 && before(router) == 0);
        grown.count() as u64
    }

    /// The recording goes on without having said that anything was sent for the last input.
    fn settle_last(&mut self, line: u64) {
        if let Some(came) = self.pending.take() {
            self.compare(None, Some(&came), line);
        }
    }

    fn recorded(&mut self, sent: &Sent, line: u64) {
        let came = self.pending.take();
        self.compare(Some(sent), came.as_ref(), line);
    }

    fn compare(&mut self, expected: Option<&Sent>, came: Option<&Sent>, line: u64) {
        if self.replayed.outcome != Outcome::Equal || expected == came {
            return;
        }
        let value = |sent: Option<&Sent>| {
            sent.map_or(Value::Null, |sent| serde_json::to_value(sent).expect("records have JSON for every value"))
        };
        let (expected, came) = (value(expected), value(came));
        let (what, expected, came) =
            first_difference(String::new(), &expected, &came).unwrap_or((String::new(), &expected, &came));
        self.replayed.outcome = Outcome::Different(Difference {
            input: self.replayed.inputs,
            line,
            what: if what.is_empty() { "what was sent".to_owned() } else { what },
            expected: shown(expected),
            came: shown(came),
        });
    }

    fn gap(&mut self, inputs: u64) {
        if self.replayed.outcome == Outcome::Equal {
            self.replayed.outcome = Outcome::Gap { after: self.replayed.inputs, inputs };
        }
    }

    fn finish(self) -> Replayed {
        let cycles = self.player.controller().cycle();
        Replayed { cycles, plan_log: hex(self.log_digest), ..self.replayed }
    }
}

/// Path and values of the first place where two values differ. A digest is the last to be looked at: what it is of says
/// more.
fn first_difference<'v>(path: String, expected: &'v Value, came: &'v Value) -> Option<(String, &'v Value, &'v Value)> {
    const NOTHING: Value = Value::Null;
    match (expected, came) {
        (Value::Object(left), Value::Object(right)) => {
            let mut keys: Vec<&String> =
                left.keys().chain(right.keys().filter(|key| !left.contains_key(*key))).collect();
            keys.sort_by_key(|key| (*key == "digest", key.as_str()));
            keys.into_iter().find_map(|key| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                first_difference(path, left.get(key).unwrap_or(&NOTHING), right.get(key).unwrap_or(&NOTHING))
            })
        }
        (Value::Array(left), Value::Array(right)) => (0..left.len().max(right.len())).find_map(|at| {
            let (left, right) = (left.get(at).unwrap_or(&NOTHING), right.get(at).unwrap_or(&NOTHING));
            first_difference(format!("{path}[{at}]"), left, right)
        }),
        _ if expected == came => None,
        _ => Some((path, expected, came)),
    }
}

fn shown(value: &Value) -> String {
    if value.is_null() {
        return "nothing".to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
