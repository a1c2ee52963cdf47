//! Asks a switch for its counters and its half-open connections, as machines (docs/OPENFLOW.md, "Collection").

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::mapping::Mapping;
use super::session::Session;
use super::vocabulary::Owner;
use crate::plan::DatapathPlan;
use crate::southbound::Reading;
use crate::southbound::gate::spread;
use crate::types::{DatapathId, Timestamp};
use crate::wire::openflow::{FlowStats, Message, MultipartReplyBody, MultipartRequest, MultipartRequestBody};

/// Time-outs of the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectSettings {
    /// After so long a reading is made of what has been answered.
    pub answer_timeout: Duration,
    /// How often half-open connections are looked for.
    pub housekeeping_interval: Duration,
}

impl Default for CollectSettings {
    fn default() -> Self {
        Self { answer_timeout: Duration::from_secs(2), housekeeping_interval: Duration::from_secs(5) }
    }
}

#[derive(Debug)]
struct Run {
    plan: Arc<DatapathPlan>,
    awaited: HashSet<u32>,
    bodies: Vec<MultipartReplyBody>,
    deadline: Timestamp,
}

/// One reading at a time. A request that comes meanwhile is served next; several of them become one, because what
/// they ask for is the same "now".
#[derive(Debug)]
pub struct Collector {
    settings: CollectSettings,
    mapping: Mapping,
    running: Option<Run>,
    next: Option<Arc<DatapathPlan>>,
    done: Option<Reading>,
}

impl Collector {
    pub fn new(settings: CollectSettings, mapping: Mapping) -> Self {
        Self { settings, mapping, running: None, next: None, done: None }
    }

    pub fn collect(&mut self, plan: &Arc<DatapathPlan>, session: &mut Session, now: Timestamp) {
        if self.running.is_some() || self.done.is_some() {
            self.next = Some(Arc::clone(plan));
            return;
        }
        let ask = |body| ask(Owner::Collector, body, session);
        let awaited = (self.mapping.requests)(plan).into_iter().filter_map(ask).collect();
        let deadline = now + self.settings.answer_timeout;
        self.running = Some(Run { plan: Arc::clone(plan), awaited, bodies: Vec::new(), deadline });
        self.finish_if_complete();
    }

    pub fn answered(&mut self, xid: u32, body: MultipartReplyBody) {
        if let Some(run) = &mut self.running
            && run.awaited.remove(&xid)
        {
            run.bodies.push(body);
            self.finish_if_complete();
        }
    }

    /// A request was refused: the reading goes without it.
    pub fn failed(&mut self, xid: u32) {
        if let Some(run) = &mut self.running
            && run.awaited.remove(&xid)
        {
            self.finish_if_complete();
        }
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.running.as_ref().map(|run| run.deadline)
    }

    pub fn tick(&mut self, session: &mut Session, now: Timestamp) {
        if let Some(run) = &mut self.running
            && now >= run.deadline
        {
            run.awaited.drain().for_each(|xid| session.forget(xid));
            self.finish_if_complete();
        }
    }

    /// A finished reading; then the next begins, if one was asked for.
    pub fn poll_reading(&mut self, session: &mut Session, now: Timestamp) -> Option<Reading> {
        let reading = self.done.take()?;
        if let Some(plan) = self.next.take() {
            self.collect(&plan, session, now);
        }
        Some(reading)
    }

    fn finish_if_complete(&mut self) {
        if let Some(run) = self.running.take_if(|run| run.awaited.is_empty()) {
            self.done = Some((self.mapping.reading)(&run.plan, &run.bodies));
        }
    }
}

/// Looks for half-open connections from time to time and deletes those that stayed so for too long.
#[derive(Debug)]
pub struct Housekeeper {
    settings: CollectSettings,
    mapping: Mapping,
    plan: Option<Arc<DatapathPlan>>,
    datapath: DatapathId,
    next: Timestamp,
    awaited: Option<u32>,
}

impl Housekeeper {
    pub fn new(settings: CollectSettings, mapping: Mapping) -> Self {
        Self { settings, mapping, plan: None, datapath: DatapathId(0), next: Timestamp::default(), awaited: None }
    }

    /// Whose house it is.
    pub fn set_datapath(&mut self, datapath: DatapathId) {
        self.datapath = datapath;
    }

    /// What is installed now. The first round comes at most one interval after the first plan, and sooner for some
    /// switches than for others, so that those that came together are not all read together ever after.
    pub fn set_plan(&mut self, plan: &Arc<DatapathPlan>, now: Timestamp) {
        if self.plan.is_none() {
            let half = self.settings.housekeeping_interval / 2;
            self.next = now + half + spread(self.datapath, half);
        }
        self.plan = (self.mapping.housekeeping_request)(plan).is_some().then(|| Arc::clone(plan));
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.plan.as_ref().map(|_| self.next)
    }

    pub fn tick(&mut self, session: &mut Session, now: Timestamp) {
        let Some(plan) = self.plan.as_ref().filter(|_| now >= self.next) else { return };
        self.next = now + self.settings.housekeeping_interval;
        // An answer slower than a whole interval is given up, so that rounds do not pile up.
        if let Some(late) = self.awaited.take() {
            session.forget(late);
        }
        self.awaited =
            (self.mapping.housekeeping_request)(plan).and_then(|body| ask(Owner::Housekeeping, body, session));
    }

    pub fn answered(&mut self, xid: u32, body: &MultipartReplyBody, session: &mut Session) {
        if self.awaited != Some(xid) {
            return;
        }
        self.awaited = None;
        let (Some(plan), MultipartReplyBody::Flow(flows)) = (&self.plan, body) else { return };
        let flows: &[FlowStats] = flows;
        for flow_mod in (self.mapping.housekeeping)(plan, flows) {
            // What the session does not take now is found again in the next round.
            if session.request(Owner::Housekeeping, Message::FlowMod(flow_mod)).is_err() {
                return;
            }
        }
    }

    pub fn failed(&mut self, xid: u32) {
        if self.awaited == Some(xid) {
            self.awaited = None;
        }
    }
}

fn ask(owner: Owner, body: MultipartRequestBody, session: &mut Session) -> Option<u32> {
    session.request(owner, Message::MultipartRequest(MultipartRequest { more: false, body })).ok()
}
