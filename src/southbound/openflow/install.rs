//! Brings a switch to a wanted state, as a machine (docs/OPENFLOW.md, "Installation").
//!
//! Invariants: nothing that is right is sent again; nothing is deleted before everything that is to be added has
//! been confirmed by a barrier; a generation is reported as installed only when the barrier after its last message
//! was answered and no message was refused; whatever was refused is reported and tried again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::difference::{Change, difference};
use super::session::Session;
use super::state::{FlowEntry, FlowKey, GroupEntry, SwitchState};
use super::vocabulary::{Answer, Owner, RequestError, SendError};
use super::work::{Awaited, Step, What, Work};
use crate::plan::Generation;
use crate::southbound::InstallCounts;
use crate::types::Timestamp;
use crate::wire::openflow::{
    BundleControl, Experimenter, FlowStats, FlowStatsRequest, GroupDescription, Match, Message, MultipartReplyBody,
    MultipartRequest, MultipartRequestBody, TABLE_ALL, bundle_control, bundle_flags, group, port,
};

/// No further change is encoded while so much waits for the socket.
pub(super) const OUTPUT_HIGH_WATER_BYTES: usize = 1 << 20;
/// A switch has so long to open the first bundle; one that says nothing takes none.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// All or nothing, in the order given: what the ordinary path has barriers and waiting for.
const BUNDLE_FLAGS: u16 = bundle_flags::ATOMIC | bundle_flags::ORDERED;

/// Entries of a state that is let go of; making more of them again would take too long each time the plan changes.
const REST_MAX: usize = 1_024;

/// Time-outs of the installer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstallSettings {
    /// For a barrier's reply, and for the answers that tell what the switch holds.
    pub answer_timeout: Duration,
    /// Wait after the first failure; doubled by each further one.
    pub retry_min: Duration,
    /// The wait grows no longer than this, and the installer never gives up.
    pub retry_max: Duration,
    /// So many changes at once go as a bundle, where the switch takes bundles; fewer are not worth its round trips.
    pub bundle_min: usize,
}

impl Default for InstallSettings {
    fn default() -> Self {
        Self {
            answer_timeout: Duration::from_secs(10),
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_secs(30),
            bundle_min: 100,
        }
    }
}

/// The entries that this controller answers for: `cookie & mask == value`. Learned entries and those of others have
/// cookies outside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieSpace {
    pub value: u64,
    pub mask: u64,
}

impl CookieSpace {
    pub fn contains(self, cookie: u64) -> bool {
        cookie & self.mask == self.value
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallEvent {
    /// The first look at what the switch holds of ours, before anything was sent.
    Found(Box<SwitchState>),
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
pub(super) struct Wanted {
    pub(super) generation: Generation,
    pub(super) state: Arc<SwitchState>,
}

/// Whether a switch takes bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bundles {
    Untried,
    Taken,
    /// Refused, or one of them failed: the ordinary path says which change is at fault.
    Not,
}

#[derive(Debug)]
enum Phase {
    /// Nothing to do until a newer plan comes.
    Idle,
    Reading(Reading),
    Sending(Box<Work>),
    BackOff {
        until: Timestamp,
    },
}

/// What the switch holds, as far as it has answered.
#[derive(Debug)]
struct Reading {
    deadline: Timestamp,
    flows_xid: u32,
    groups_xid: u32,
    flows: Option<Vec<FlowStats>>,
    groups: Option<Vec<GroupDescription>>,
}

/// The machine. It belongs to one session: a new session starts with a new installer, which reads first.
#[derive(Debug)]
pub struct Installer {
    settings: InstallSettings,
    space: CookieSpace,
    wanted: Option<Wanted>,
    /// What was last reported as installed.
    done: Option<Wanted>,
    /// What the switch holds of ours; `None` where that is not known.
    installed: Option<Arc<SwitchState>>,
    /// Generation of the state that was let go of; see [`Installer::rest`].
    resting: Option<Generation>,
    /// What the switch held at first was reported.
    looked: bool,
    /// Nothing is begun while this is set.
    held: bool,
    /// An installation has succeeded or failed.
    tried: bool,
    phase: Phase,
    bundles: Bundles,
    next_bundle: u32,
    failures: u32,
    /// The state whose installation failed last.
    failed: Option<Arc<SwitchState>>,
    /// Since the last report.
    counts: InstallCounts,
    events: VecDeque<InstallEvent>,
}

impl Installer {
    pub fn new(settings: InstallSettings, space: CookieSpace) -> Self {
        Self {
            settings,
            space,
            wanted: None,
            done: None,
            installed: None,
            resting: None,
            looked: false,
            held: false,
            tried: false,
            phase: Phase::Idle,
            bundles: Bundles::Untried,
            next_bundle: 1,
            failures: 0,
            failed: None,
            counts: InstallCounts::default(),
            events: VecDeque::new(),
        }
    }

    /// Reads what the switch holds before anything is wished for.
    pub fn look(&mut self, session: &mut Session, now: Timestamp) {
        if self.installed.is_none() && self.resting.is_none() && matches!(self.phase, Phase::Idle) && !self.held {
            self.read(session, now);
        }
    }

    /// Begins nothing from now on; what is under way goes on.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Ends the wait: reads, if that was not done, and then installs what is wished for.
    pub fn release(&mut self, session: &mut Session, now: Timestamp) {
        self.held = false;
        self.look(session, now);
        self.pump(session, now);
    }

    /// True once the first look has been answered, or has come to nothing.
    pub fn looked(&self) -> bool {
        self.looked || self.failures > 0
    }

    /// True once there was anything to install.
    pub fn wants(&self) -> bool {
        self.wanted.is_some() || self.resting.is_some()
    }

    /// Lets go of what the switch holds, if that is what was last wished for and not too much to make again from its plan:
    /// a state takes as much memory as all else of a session, and there may be thousands of sessions.
    pub fn rest(&mut self) {
        let (Some(wanted), Some(done), Some(installed)) = (&self.wanted, &self.done, &self.installed) else { return };
        let same = wanted.generation == done.generation && Arc::ptr_eq(installed, &wanted.state);
        if same && matches!(self.phase, Phase::Idle) && installed.flows.len() + installed.groups.len() <= REST_MAX {
            self.resting = Some(wanted.generation);
            (self.wanted, self.done, self.installed) = (None, None, None);
        }
    }

    pub fn is_resting(&self) -> bool {
        self.resting.is_some()
    }

    /// Takes back what was let go of.
    pub fn wake(&mut self, state: SwitchState) {
        let Some(generation) = self.resting.take() else { return };
        let state = Arc::new(state);
        let held = Wanted { generation, state: Arc::clone(&state) };
        (self.wanted, self.done, self.installed) = (Some(held.clone()), Some(held), Some(state));
    }

    /// True once an installation has succeeded or failed.
    pub fn tried(&self) -> bool {
        self.tried
    }

    /// The newest wish counts; an older one on its way ends at its next barrier. A wish that failed is not retried
    /// sooner because it is repeated.
    pub fn want(&mut self, generation: Generation, state: SwitchState, session: &mut Session, now: Timestamp) {
        let state = match &self.wanted {
            Some(wanted) if *wanted.state == state => Arc::clone(&wanted.state),
            _ => Arc::new(state),
        };
        if matches!(self.phase, Phase::BackOff { .. }) && self.failed.as_ref() != Some(&state) {
            self.phase = Phase::Idle;
        }
        self.wanted = Some(Wanted { generation, state });
        self.pump(session, now);
    }

    pub fn poll_event(&mut self) -> Option<InstallEvent> {
        self.events.pop_front()
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Reading(reading) => Some(reading.deadline),
            Phase::Sending(work) => work.awaited.map(|awaited| awaited.deadline),
            Phase::BackOff { until } => Some(*until),
        }
    }

    pub fn tick(&mut self, session: &mut Session, now: Timestamp) {
        if self.next_deadline().is_some_and(|deadline| now >= deadline) {
            match &self.phase {
                Phase::Reading(reading) => {
                    session.forget(reading.flows_xid);
                    session.forget(reading.groups_xid);
                    let limit = self.settings.answer_timeout;
                    self.fail(format!("the switch did not tell what it holds within {limit:?}"), now);
                }
                Phase::Sending(work) => {
                    for xid in work.in_flight.keys().chain(work.awaited.iter().map(|awaited| &awaited.xid)) {
                        session.forget(*xid);
                    }
                    match work.awaited.map_or(What::Barrier, |awaited| awaited.what) {
                        What::Opened => self.without_bundles("no answer"),
                        what => {
                            self.fail(
                                format!("no answer to {} within {:?}", what.name(), self.settings.answer_timeout),
                                now,
                            );
                        }
                    }
                }
                Phase::BackOff { .. } | Phase::Idle => self.phase = Phase::Idle,
            }
        }
        self.pump(session, now);
    }

    pub fn answered(&mut self, xid: u32, answer: Answer, session: &mut Session, now: Timestamp) {
        match (&mut self.phase, answer) {
            (Phase::Reading(reading), Answer::Multipart(body)) => {
                match body {
                    MultipartReplyBody::Flow(flows) if xid == reading.flows_xid => reading.flows = Some(flows),
                    MultipartReplyBody::GroupDescription(groups) if xid == reading.groups_xid => {
                        reading.groups = Some(groups)
                    }
                    _ => {}
                }
                if let (Some(flows), Some(groups)) = (&mut reading.flows, &mut reading.groups) {
                    let state = held(self.space, std::mem::take(flows), std::mem::take(groups));
                    if !self.looked {
                        self.looked = true;
                        self.events.push_back(InstallEvent::Found(Box::new(state.clone())));
                    }
                    self.installed = Some(Arc::new(state));
                    self.phase = Phase::Idle;
                }
            }
            (Phase::Sending(work), Answer::Barrier) if work.awaits(xid) == Some(What::Barrier) => {
                work.awaited = None;
                self.settle();
            }
            (Phase::Sending(work), Answer::Bundle(control)) => match (work.awaits(xid), control.control) {
                (Some(What::Opened), bundle_control::OPEN_REPLY) => {
                    work.awaited = None;
                    self.bundles = Bundles::Taken;
                }
                (Some(What::Committed), bundle_control::COMMIT_REPLY) => {
                    (work.awaited, work.bundle) = (None, None);
                }
                _ => {}
            },
            _ => {}
        }
        self.pump(session, now);
    }

    /// A request of ours was refused.
    pub fn failed(&mut self, xid: u32, error: &RequestError, session: &mut Session, now: Timestamp) {
        match &mut self.phase {
            Phase::Reading(reading) if xid == reading.flows_xid || xid == reading.groups_xid => {
                session.forget(reading.flows_xid);
                session.forget(reading.groups_xid);
                self.fail(format!("reading what the switch holds: {error}"), now);
            }
            Phase::Sending(work) => {
                if let Some(change) = work.in_flight.remove(&xid) {
                    work.refuse(&change, error);
                } else {
                    match work.awaits(xid) {
                        Some(What::Opened) => self.without_bundles(&error.to_string()),
                        Some(What::Committed) => self.bundle_failed(&error.to_string(), now),
                        Some(What::Barrier) => self.fail(format!("barrier: {error}"), now),
                        None => {}
                    }
                }
            }
            _ => {}
        }
        self.pump(session, now);
    }

    /// The switch opens no bundle: nothing of it was sent, so the rest of the difference goes the ordinary way.
    fn without_bundles(&mut self, why: &str) {
        tracing::debug!(why, "the switch takes no bundles");
        self.bundles = Bundles::Not;
        self.phase = Phase::Idle;
    }

    /// Nothing of the bundle has taken effect. The next attempt goes the ordinary way, which takes what can be taken and
    /// names what cannot.
    fn bundle_failed(&mut self, error: &str, now: Timestamp) {
        self.bundles = Bundles::Not;
        let refused = match &self.phase {
            Phase::Sending(work) if work.refused_count > 0 => format!(" ({})", work.report()),
            _ => String::new(),
        };
        self.fail(format!("bundle: {error}{refused}; from now on without bundles"), now);
    }

    /// Everything sent before the barrier that was not refused is in the switch.
    fn settle(&mut self) {
        let Phase::Sending(work) = &mut self.phase else { return };
        for (_, change) in work.in_flight.drain() {
            change.count(&mut self.counts);
            if let Some(installed) = &mut self.installed {
                change.apply(Arc::make_mut(installed));
            }
        }
        let newer = self.wanted.as_ref().is_some_and(|wanted| wanted.state != work.target.state);
        if newer && work.refused_count == 0 && !(work.make.is_empty() && work.remove.is_empty()) {
            self.phase = Phase::Idle;
        }
    }

    /// Goes as far as it can without an answer or more room in the output.
    pub fn pump(&mut self, session: &mut Session, now: Timestamp) {
        loop {
            let go_on = match self.phase {
                Phase::Idle => self.begin(session, now),
                Phase::Sending(_) => self.send_next(session, now),
                Phase::Reading(_) | Phase::BackOff { .. } => false,
            };
            if !go_on {
                return;
            }
        }
    }

    /// Starts what the newest wish needs; false if it needs nothing.
    fn begin(&mut self, session: &mut Session, now: Timestamp) -> bool {
        if self.held {
            return false;
        }
        let Some(wanted) = self.wanted.clone() else { return false };
        if self.done.as_ref().is_some_and(|done| done.generation == wanted.generation && done.state == wanted.state) {
            return false;
        }
        let Some(installed) = &self.installed else {
            self.read(session, now);
            return false;
        };
        let difference = difference(installed, &wanted.state);
        self.counts.unchanged = difference.unchanged;
        if difference.is_empty() {
            self.finish(wanted);
            return false;
        }
        let bundled = self.bundles != Bundles::Not && difference.len() >= self.settings.bundle_min;
        self.phase = Phase::Sending(Box::new(Work::new(wanted, difference, bundled)));
        true
    }

    fn read(&mut self, session: &mut Session, now: Timestamp) {
        let flows = MultipartRequestBody::Flow(FlowStatsRequest {
            table_id: TABLE_ALL,
            out_port: port::ANY,
            out_group: group::ANY,
            cookie: self.space.value,
            cookie_mask: self.space.mask,
            matching: Match::any(),
        });
        let mut ask = |body| {
            let message = Message::MultipartRequest(MultipartRequest { more: false, body });
            session.request(Owner::Installer, message)
        };
        match (ask(flows), ask(MultipartRequestBody::GroupDescription)) {
            (Ok(flows_xid), Ok(groups_xid)) => {
                let deadline = now + self.settings.answer_timeout;
                self.phase = Phase::Reading(Reading { deadline, flows_xid, groups_xid, flows: None, groups: None });
            }
            // A session that is not up (any more) needs no report: it has its own.
            (Err(SendError::NotUp), _) | (_, Err(SendError::NotUp)) => {}
            (Err(error), _) | (_, Err(error)) => self.fail(format!("reading what the switch holds: {error}"), now),
        }
    }

    /// Sends one step; false if it has to wait or is done.
    fn send_next(&mut self, session: &mut Session, now: Timestamp) -> bool {
        let Phase::Sending(work) = &mut self.phase else { return false };
        if work.awaited.is_some() || session.output_len() > OUTPUT_HIGH_WATER_BYTES {
            return false;
        }
        // Nothing is taken away while something is missing that should replace it.
        let step = match work.make.pop_front() {
            Some(step) => Some(step),
            None if work.refused_count == 0 => work.remove.pop_front(),
            None => None,
        };
        match step {
            None if work.refused_count > 0 => {
                let error = work.report();
                self.fail(error, now);
                false
            }
            None => {
                let (target, newest) = (work.target.clone(), self.wanted.clone());
                self.phase = Phase::Idle;
                let generation = target.generation;
                self.finish(target);
                newest.is_some_and(|newest| newest.generation != generation)
            }
            Some(Step::Change(change)) => self.send_change(change, session),
            Some(Step::Order) => session.request(Owner::Ordering, Message::BarrierRequest).is_ok(),
            Some(Step::Settle) => self.send_awaited(Step::Settle, session, now),
            Some(Step::Open) => {
                work.bundle = Some(self.next_bundle);
                self.next_bundle = self.next_bundle.wrapping_add(1);
                self.send_awaited(Step::Open, session, now)
            }
            Some(Step::Commit) if work.refused_count > 0 => {
                // What was refused would be missing: none of it is to take effect.
                if let Some(bundle) = work.bundle {
                    let discard = BundleControl::new(bundle, bundle_control::DISCARD_REQUEST, BUNDLE_FLAGS);
                    let discard = Message::Experimenter(Experimenter::BundleControl(discard));
                    // Should it not go out, the switch forgets the bundle by itself.
                    let _ = session.request(Owner::Setup, discard);
                }
                self.bundle_failed("a message was refused", now);
                false
            }
            Some(Step::Commit) => self.send_awaited(Step::Commit, session, now),
        }
    }

    /// Sends a change, to the bundle if one is open; false if it has to wait.
    fn send_change(&mut self, change: Change, session: &mut Session) -> bool {
        let Phase::Sending(work) = &mut self.phase else { return false };
        let sent = match work.bundle {
            Some(bundle) => session.request_in_bundle(Owner::Installer, bundle, BUNDLE_FLAGS, change.message()),
            None => session.request(Owner::Installer, change.message()),
        };
        match sent {
            Ok(xid) => {
                work.in_flight.insert(xid, change);
                true
            }
            Err(error @ SendError::Unencodable(_)) => {
                work.refuse(&change, &error);
                true
            }
            Err(SendError::NotUp | SendError::Full { .. }) => {
                work.make.push_front(Step::Change(change));
                false
            }
        }
    }

    /// Sends what must be answered before anything else goes out.
    fn send_awaited(&mut self, step: Step, session: &mut Session, now: Timestamp) -> bool {
        let Phase::Sending(work) = &mut self.phase else { return false };
        let limit = self.settings.answer_timeout;
        let (what, within) = match step {
            Step::Open => (What::Opened, limit.min(OPEN_WITHIN)),
            Step::Commit => (What::Committed, limit),
            Step::Change(_) | Step::Order | Step::Settle => (What::Barrier, limit),
        };
        let bundle = |control| {
            let control = BundleControl::new(work.bundle.unwrap_or_default(), control, BUNDLE_FLAGS);
            Message::Experimenter(Experimenter::BundleControl(control))
        };
        let message = match what {
            What::Barrier => Message::BarrierRequest,
            What::Opened => bundle(bundle_control::OPEN_REQUEST),
            What::Committed => bundle(bundle_control::COMMIT_REQUEST),
        };
        match session.request(Owner::Installer, message) {
            Ok(xid) => work.awaited = Some(Awaited { xid, deadline: now + within, what }),
            Err(_) => work.make.push_front(step),
        }
        false
    }

    fn finish(&mut self, target: Wanted) {
        let generation = target.generation;
        // The same by now: a switch's state is large, and there may be thousands.
        self.installed = Some(Arc::clone(&target.state));
        self.done = Some(target);
        self.tried = true;
        self.failures = 0;
        self.failed = None;
        self.events.push_back(InstallEvent::Installed { generation, counts: std::mem::take(&mut self.counts) });
    }

    /// Reports, and waits before it starts again by reading what the switch holds: after a refusal or a silence
    /// nothing else is certain.
    fn fail(&mut self, error: String, now: Timestamp) {
        let wait = self.settings.retry_min.saturating_mul(1 << self.failures.min(16)).min(self.settings.retry_max);
        self.failures = self.failures.saturating_add(1);
        self.tried = true;
        self.installed = None;
        let target = match std::mem::replace(&mut self.phase, Phase::BackOff { until: now + wait }) {
            Phase::Sending(work) => Some(work.target),
            _ => self.wanted.clone(),
        };
        let Some(target) = target else { return };
        let superseded = self.wanted.as_ref().is_some_and(|wanted| wanted.state != target.state);
        if superseded {
            self.phase = Phase::Idle;
        }
        self.failed = Some(target.state);
        self.events.push_back(InstallEvent::Failed {
            generation: target.generation,
            error: format!("{error}; next attempt in {wait:?}"),
        });
    }
}

/// The switch's answers as a comparable state. The mask of the request is applied again, for switches that ignore it.
fn held(space: CookieSpace, flows: Vec<FlowStats>, groups: Vec<GroupDescription>) -> SwitchState {
    let flows = flows.into_iter().filter(|flow| space.contains(flow.cookie)).map(|flow| {
        let key = FlowKey { table: flow.table_id, priority: flow.priority, matching: flow.matching.canonical() };
        let entry = FlowEntry {
            cookie: flow.cookie,
            idle_timeout: flow.idle_timeout,
            hard_timeout: flow.hard_timeout,
            flags: flow.flags,
            instructions: flow.instructions,
        };
        (key, entry)
    });
    let groups = groups
        .into_iter()
        .map(|group| (group.group_id, GroupEntry { group_type: group.group_type, buckets: group.buckets }));
    SwitchState { flows: flows.collect(), groups: groups.collect() }
}
