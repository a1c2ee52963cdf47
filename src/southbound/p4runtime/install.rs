//! Brings a switch to a wanted state, as a machine (docs/P4RUNTIME.md, "Installation").
//!
//! Invariants: nothing is written unless this controller is primary; nothing that is right is sent again; one batch is in
//! flight; what a switch refuses of a batch is reported by name and tried again, and the rest of it counts; a generation
//! is reported as installed only when every batch was answered and nothing was refused.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tonic::Code;

use super::arbitration::{Arbitration, to_message};
use super::difference::{Act, Change, Difference, difference};
use super::entities::{EntityKey, P4State, Scope};
use super::schema::Schema;
use super::spelling::with_numbered_ports;
use super::vocabulary::{Answer, Call, CallError, CallId, Calls, Owner};
use crate::plan::Generation;
use crate::southbound::InstallCounts;
use crate::types::Timestamp;
use crate::wire::p4runtime::{status, v1};

/// Refusals quoted in one report; the rest is counted.
const QUOTED_MAX: usize = 4;
/// After a batch that failed as a whole, without a word on its updates, the next ones are so much smaller, until the
/// update at fault is alone.
const SMALLER: usize = 8;

/// Bounds and time-outs of the installer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct P4InstallSettings {
    /// For the answer to a batch, and to a reading of what the switch holds.
    pub answer_timeout: Duration,
    /// Wait after the first failure; doubled by each further one.
    pub retry_min: Duration,
    /// The wait grows no longer than this, and the installer never gives up.
    pub retry_max: Duration,
    /// Updates of one batch.
    pub batch_max: usize,
    /// Bytes of one batch: receivers take 4 MiB unless they are told otherwise.
    pub batch_bytes_max: usize,
}

impl Default for P4InstallSettings {
    fn default() -> Self {
        Self {
            answer_timeout: Duration::from_secs(10),
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_secs(30),
            batch_max: 500,
            batch_bytes_max: 1 << 20,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum P4InstallEvent {
    /// The first look at what the switch holds of ours.
    Found(Box<P4State>),
    Installed {
        generation: Generation,
        counts: InstallCounts,
    },
    Failed {
        generation: Generation,
        error: String,
    },
}

#[derive(Clone, Debug)]
struct Wanted {
    generation: Generation,
    state: Arc<P4State>,
}

#[derive(Debug)]
enum Phase {
    /// Nothing to do until a newer plan comes.
    Idle,
    Reading(CallId),
    Sending(Box<Work>),
    BackOff {
        until: Timestamp,
    },
}

/// A difference on its way.
#[derive(Debug)]
struct Work {
    target: Wanted,
    make: VecDeque<Vec<Change>>,
    remove: VecDeque<Vec<Change>>,
    in_flight: Option<(CallId, Vec<Change>)>,
    refused: Vec<String>,
    refused_count: usize,
    refused_keys: BTreeSet<EntityKey>,
    /// Everything refused was refused for want of room.
    full: bool,
}

/// The machine. It belongs to one session: a new session starts with a new installer, which reads first.
#[derive(Debug)]
pub(super) struct P4Installer {
    settings: P4InstallSettings,
    schema: Arc<Schema>,
    /// Wildcard reads that give everything of ours.
    reads: Vec<v1::Entity>,
    scope: Scope,
    /// Ports of replicas go out as numbers.
    pub(super) numbered_ports: bool,
    wanted: Option<Wanted>,
    /// What was last reported as installed.
    done: Option<Wanted>,
    /// What the switch holds of ours; `None` where that is not known.
    held: Option<P4State>,
    looked: bool,
    /// Nothing is begun while this is set.
    waits: bool,
    tried: bool,
    phase: Phase,
    /// A batch that was on its way when this controller ceased to be primary: what it did is not known before its answer.
    left: Option<CallId>,
    batch_max: usize,
    failures: u32,
    /// The state whose installation failed last, and what was refused of it.
    failed: Option<Arc<P4State>>,
    refused_before: BTreeSet<EntityKey>,
    denied: bool,
    /// Since the last report.
    counts: InstallCounts,
    events: VecDeque<P4InstallEvent>,
}

impl P4Installer {
    pub(super) fn new(settings: P4InstallSettings, schema: Arc<Schema>, reads: Vec<v1::Entity>) -> Self {
        Self {
            settings,
            schema,
            scope: Scope::of(&reads),
            reads,
            numbered_ports: false,
            wanted: None,
            done: None,
            held: None,
            looked: false,
            waits: false,
            tried: false,
            phase: Phase::Idle,
            left: None,
            batch_max: settings.batch_max.max(1),
            failures: 0,
            failed: None,
            refused_before: BTreeSet::new(),
            denied: false,
            counts: InstallCounts::default(),
            events: VecDeque::new(),
        }
    }

    /// Begins nothing from now on; what is under way goes on.
    pub(super) fn hold(&mut self) {
        self.waits = true;
    }

    pub(super) fn release(&mut self) {
        self.waits = false;
    }

    /// True once the first look has been answered, or has come to nothing.
    pub(super) fn looked(&self) -> bool {
        self.looked || self.failures > 0
    }

    pub(super) fn wants(&self) -> bool {
        self.wanted.is_some()
    }

    pub(super) fn tried(&self) -> bool {
        self.tried
    }

    /// True if it is not known what the switch holds, and it is time to find out.
    pub(super) fn must_read(&self) -> bool {
        self.held.is_none() && self.left.is_none() && !self.waits && matches!(self.phase, Phase::Idle)
    }

    /// A batch was refused because somebody else is primary. Asked once.
    pub(super) fn take_denied(&mut self) -> bool {
        std::mem::take(&mut self.denied)
    }

    /// The newest wish counts; an older one on its way ends with the batch that is in flight. A wish that failed is not
    /// retried sooner because it is repeated.
    pub(super) fn want(&mut self, generation: Generation, state: P4State) {
        let state = match &self.wanted {
            Some(wanted) if *wanted.state == state => Arc::clone(&wanted.state),
            _ => Arc::new(state),
        };
        if matches!(self.phase, Phase::BackOff { .. }) && self.failed.as_ref() != Some(&state) {
            self.phase = Phase::Idle;
        }
        self.wanted = Some(Wanted { generation, state });
    }

    /// This controller is not primary any more: what was not sent is never sent. What the switch holds is another's
    /// business from now on, and is read again before anything else is written.
    pub(super) fn stop(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Sending(work) => self.left = work.in_flight.map(|(id, _)| id),
            reading @ Phase::Reading(_) => self.phase = reading,
            Phase::Idle | Phase::BackOff { .. } => {}
        }
        self.unlearn();
    }

    /// What the switch holds has changed without this installer: it reads again.
    pub(super) fn unlearn(&mut self) {
        self.held = None;
        self.done = None;
        self.counts = InstallCounts::default();
    }

    pub(super) fn poll_event(&mut self) -> Option<P4InstallEvent> {
        self.events.pop_front()
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::BackOff { until } => Some(*until),
            Phase::Idle | Phase::Reading(_) | Phase::Sending(_) => None,
        }
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        if self.next_deadline().is_some_and(|until| now >= until) {
            self.phase = Phase::Idle;
        }
    }

    /// Asks what the switch holds.
    pub(super) fn read(&mut self, arbitration: &Arbitration, calls: &mut Calls, now: Timestamp) {
        if !self.must_read() {
            return;
        }
        let request =
            v1::ReadRequest { device_id: arbitration.device(), entities: self.reads.clone(), role: arbitration.role() };
        let id = calls.make(Owner::Installer, Call::Read(request), self.settings.answer_timeout, now);
        self.phase = Phase::Reading(id);
    }

    /// Goes as far as it can without an answer. Writes need a primary.
    pub(super) fn pump(&mut self, arbitration: &Arbitration, calls: &mut Calls, now: Timestamp) {
        if !arbitration.is_primary() {
            return;
        }
        if matches!(self.phase, Phase::Idle) && !self.waits && self.left.is_none() {
            self.begin();
        }
        while let Phase::Sending(work) = &mut self.phase {
            if work.in_flight.is_some() {
                return;
            }
            let Some(batch) = work.next(self.held.as_ref(), &self.schema, &self.refused_before) else {
                return self.finish(now);
            };
            let (now_sent, rest) = split(batch, self.batch_max, self.settings.batch_bytes_max);
            work.put_back(rest);
            if now_sent.is_empty() {
                continue;
            }
            let updates = now_sent.iter().map(Change::update);
            let numbered = self.numbered_ports;
            let updates = updates.map(|mut update| {
                update.entity = update.entity.map(|entity| if numbered { with_numbered_ports(entity) } else { entity });
                update
            });
            let request = v1::WriteRequest {
                device_id: arbitration.device(),
                election_id: Some(to_message(arbitration.election_id())),
                updates: updates.collect(),
                atomicity: v1::write_request::Atomicity::ContinueOnError.into(),
                role: arbitration.role(),
                ..v1::WriteRequest::default()
            };
            let id = calls.make(Owner::Installer, Call::Write(request), self.settings.answer_timeout, now);
            work.in_flight = Some((id, now_sent));
        }
    }

    /// Compares what is wanted with what is held, if both are known and that was not done.
    fn begin(&mut self) {
        let (Some(wanted), Some(held)) = (&self.wanted, &self.held) else { return };
        if self.done.as_ref().is_some_and(|done| done.generation == wanted.generation) {
            return;
        }
        let difference = difference(held, &wanted.state, &self.schema);
        self.counts.unchanged = difference.unchanged;
        self.phase = Phase::Sending(Box::new(Work::new(wanted.clone(), difference)));
    }

    /// Nothing is left to be sent.
    fn finish(&mut self, now: Timestamp) {
        let Phase::Sending(work) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        self.tried = true;
        if work.refused_count > 0 {
            self.refused_before.clone_from(&work.refused_keys);
            return self.fail(work.report(), now);
        }
        let generation = work.target.generation;
        self.done = Some(work.target);
        (self.failures, self.failed) = (0, None);
        self.refused_before.clear();
        self.batch_max = self.settings.batch_max.max(1);
        self.events.push_back(P4InstallEvent::Installed { generation, counts: std::mem::take(&mut self.counts) });
    }

    pub(super) fn answered(&mut self, id: CallId, answer: Result<Answer, CallError>, now: Timestamp) {
        if self.left == Some(id) {
            self.left = None;
            return;
        }
        match &mut self.phase {
            Phase::Reading(awaited) if *awaited == id => self.read_back(answer, now),
            Phase::Sending(work) if work.in_flight.as_ref().is_some_and(|(awaited, _)| *awaited == id) => {
                let Some((_, changes)) = work.in_flight.take() else { return };
                match answer {
                    Ok(_) => changes.into_iter().for_each(|change| self.confirm(change)),
                    Err(error) => self.refused(changes, error, now),
                }
                self.supersede();
            }
            _ => {}
        }
    }

    fn read_back(&mut self, answer: Result<Answer, CallError>, now: Timestamp) {
        self.phase = Phase::Idle;
        match answer {
            Ok(Answer::Entities(entities)) => {
                let (state, foreign) = self.scope.held(entities);
                if foreign > 0 {
                    tracing::debug!(foreign, "the switch holds what is not ours; it is left alone");
                }
                if !self.looked {
                    self.looked = true;
                    self.events.push_back(P4InstallEvent::Found(Box::new(state.clone())));
                }
                self.held = Some(state);
            }
            Ok(_) => self.fail("reading what the switch holds: an answer of another kind".into(), now),
            Err(error) => self.fail(format!("reading what the switch holds: {error}"), now),
        }
    }

    fn confirm(&mut self, change: Change) {
        change.count(&mut self.counts);
        if let Some(held) = &mut self.held {
            change.apply(held);
        }
    }

    /// Some or all updates of a batch were refused.
    fn refused(&mut self, changes: Vec<Change>, error: CallError, now: Timestamp) {
        let mut errors = error.updates.clone();
        if errors.len() != changes.len() {
            if error.code == Code::PermissionDenied {
                self.denied = true;
                return self.stop();
            }
            if error.in_doubt() || changes.len() != 1 {
                if !error.in_doubt() {
                    self.batch_max = (self.batch_max.min(changes.len()) / SMALLER).max(1);
                }
                let (count, first) = (changes.len(), changes.first().map(|change| change.describe(&self.schema)));
                let first = first.unwrap_or_default();
                self.tried = true;
                return self.fail(format!("a batch of {count} updates, the first to {first}: {error}"), now);
            }
            errors = vec![status::error(error.code, error.message)];
        }
        if errors.iter().all(|error| status::code(error) == Code::PermissionDenied) {
            self.denied = true;
            return self.stop();
        }
        for (change, error) in changes.into_iter().zip(&errors) {
            match (status::code(error), change.act) {
                // What is to be deleted and is not there needs no second attempt.
                (Code::Ok, _) | (Code::NotFound, Act::Delete) => self.confirm(change),
                _ => {
                    if let Phase::Sending(work) = &mut self.phase {
                        work.refuse(&change, error, &self.schema);
                    }
                }
            }
        }
    }

    /// A newer plan takes over between two batches, unless something was refused: then it is read first what is held.
    fn supersede(&mut self) {
        let Phase::Sending(work) = &self.phase else { return };
        let newer = self.wanted.as_ref().is_some_and(|wanted| wanted.state != work.target.state);
        if newer && work.in_flight.is_none() && !(work.make.is_empty() && work.remove.is_empty()) {
            if work.refused_count > 0 {
                self.held = None;
            }
            self.phase = Phase::Idle;
        }
    }

    /// Reports, and tries again after a while, beginning with what the switch holds then.
    fn fail(&mut self, error: String, now: Timestamp) {
        let generation = match (&self.phase, &self.wanted) {
            (Phase::Sending(work), _) => work.target.generation,
            (_, Some(wanted)) => wanted.generation,
            (_, None) => 0,
        };
        let wait = self.settings.retry_min * 2_u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        self.failed = self.wanted.as_ref().map(|wanted| Arc::clone(&wanted.state));
        self.held = None;
        self.phase = Phase::BackOff { until: now + wait.min(self.settings.retry_max) };
        self.events.push_back(P4InstallEvent::Failed { generation, error });
    }
}

impl Work {
    fn new(target: Wanted, difference: Difference) -> Self {
        Self {
            target,
            make: difference.make.into(),
            remove: difference.remove.into(),
            in_flight: None,
            refused: Vec::new(),
            refused_count: 0,
            refused_keys: BTreeSet::new(),
            full: true,
        }
    }

    /// The next level. Nothing is taken away after a refusal, so that what replaces it is there; but for what was refused
    /// the last time already, and where there is no room before something goes.
    fn next(
        &mut self,
        held: Option<&P4State>,
        schema: &Schema,
        refused_before: &BTreeSet<EntityKey>,
    ) -> Option<Vec<Change>> {
        if let Some(level) = self.make.pop_front() {
            return Some(level);
        }
        if self.refused_count > 0 && !self.full && !self.refused_keys.is_subset(refused_before) {
            self.remove.clear();
        }
        let mut level = self.remove.pop_front()?;
        if self.refused_count > 0
            && let Some(held) = held
        {
            // What was refused may still lead to what would be taken away.
            let in_use = held.references(|table| schema.profile_of(table));
            level.retain(|change| !in_use.contains(&change.key));
        }
        Some(level)
    }

    fn put_back(&mut self, rest: Vec<Change>) {
        if rest.is_empty() {
            return;
        }
        match rest[0].act {
            Act::Insert | Act::Modify => self.make.push_front(rest),
            Act::Delete => self.remove.push_front(rest),
        }
    }

    fn refuse(&mut self, change: &Change, error: &v1::Error, schema: &Schema) {
        self.refused_count += 1;
        self.full &= status::code(error) == Code::ResourceExhausted && change.act == Act::Insert;
        self.refused_keys.insert(change.key.clone());
        if self.refused.len() < QUOTED_MAX {
            self.refused.push(format!("{}: {}", change.describe(schema), status::describe(error)));
        }
    }

    fn report(&self) -> String {
        let more = self.refused_count - self.refused.len();
        let quoted = self.refused.join("; ");
        if more == 0 { quoted } else { format!("{quoted}; and {more} more") }
    }
}

/// As much of a level as goes into one batch, and the rest.
fn split(mut level: Vec<Change>, count_max: usize, bytes_max: usize) -> (Vec<Change>, Vec<Change>) {
    let mut bytes = 0;
    let room = level.iter().take(count_max).take_while(|change| {
        bytes += change.entity.encoded_len();
        bytes <= bytes_max
    });
    // One that is larger than a batch goes alone.
    let count = room.count().max(1).min(level.len());
    let rest = level.split_off(count);
    (level, rest)
}
