//! Readings of a P4Runtime switch, as a machine: counters by calls, and sweeps by packets (docs/P4RUNTIME.md, "Collection").

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::arbitration::Arbitration;
use super::pipeline::{Collection, Pipeline, Sweep, SweepReport};
use super::vocabulary::{Answer, Call, CallError, CallId, Calls, Owner};
use crate::plan::DatapathPlan;
use crate::southbound::Reading;
use crate::types::Timestamp;
use crate::wire::p4runtime::v1;

/// Time-outs of the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct P4CollectSettings {
    /// After so long a reading is made of what has been answered: well under a cycle, which waits for the last switch.
    pub answer_timeout: Duration,
    /// A sweep without a report for so long is lost, and the next one is sent.
    pub sweep_timeout: Duration,
}

impl Default for P4CollectSettings {
    fn default() -> Self {
        Self { answer_timeout: Duration::from_millis(700), sweep_timeout: Duration::from_millis(300) }
    }
}

#[derive(Debug)]
struct Run {
    plan: Arc<DatapathPlan>,
    deadline: Timestamp,
    /// Reads that are still to be asked, in as many calls.
    reads: VecDeque<Vec<v1::Entity>>,
    awaited: Option<(CallId, Vec<v1::Entity>)>,
    answers: Vec<v1::Entity>,
    sweeps: VecDeque<Sweep>,
    /// The sweep on its way, and when it is given up.
    swept: Option<(Sweep, Timestamp)>,
    reports: Vec<SweepReport>,
}

impl Run {
    fn is_complete(&self) -> bool {
        self.reads.is_empty() && self.awaited.is_none() && self.sweeps.is_empty() && self.swept.is_none()
    }
}

/// One reading at a time. What is asked for meanwhile is served next; several become one.
#[derive(Debug)]
pub(super) struct P4Collector {
    settings: P4CollectSettings,
    pipeline: Arc<dyn Pipeline>,
    round: u64,
    token: u32,
    /// Everything is read in one call; after a switch refused one, each read has its own, so that it costs no other.
    together: bool,
    running: Option<Run>,
    next: Option<Arc<DatapathPlan>>,
    done: VecDeque<Reading>,
    /// Sweeps to be sent.
    output: VecDeque<Sweep>,
    /// Reports of sweeps that were given up.
    pub(super) late_reports: u64,
    pub(super) lost_sweeps: u64,
}

impl P4Collector {
    pub(super) fn new(settings: P4CollectSettings, pipeline: Arc<dyn Pipeline>, now: Timestamp) -> Self {
        // Reports of a controller before this one must not be taken for answers.
        let token = u32::try_from(now.0 & u64::from(u32::MAX)).unwrap_or_default();
        Self {
            settings,
            pipeline,
            round: 0,
            token,
            together: true,
            running: None,
            next: None,
            done: VecDeque::new(),
            output: VecDeque::new(),
            late_reports: 0,
            lost_sweeps: 0,
        }
    }

    /// Begins a reading. Sweeps are packets, which only a primary may send.
    pub(super) fn collect(
        &mut self,
        plan: &Arc<DatapathPlan>,
        arbitration: &Arbitration,
        calls: &mut Calls,
        now: Timestamp,
    ) {
        if self.running.is_some() {
            self.next = Some(Arc::clone(plan));
            return;
        }
        let Collection { reads, mut sweeps } = self.pipeline.collect(plan, self.round);
        self.round += 1;
        if !arbitration.is_primary() {
            sweeps.clear();
        }
        let reads = match (reads.is_empty(), self.together) {
            (true, _) => VecDeque::new(),
            (false, true) => VecDeque::from([reads]),
            (false, false) => reads.into_iter().map(|read| vec![read]).collect(),
        };
        self.running = Some(Run {
            plan: Arc::clone(plan),
            deadline: now + self.settings.answer_timeout,
            reads,
            awaited: None,
            answers: Vec::new(),
            sweeps: sweeps.into(),
            swept: None,
            reports: Vec::new(),
        });
        self.go_on(arbitration, calls, now);
    }

    /// Asks for what is next, and ends the reading once nothing is left.
    fn go_on(&mut self, arbitration: &Arbitration, calls: &mut Calls, now: Timestamp) {
        let Some(run) = &mut self.running else { return };
        if run.awaited.is_none()
            && let Some(entities) = run.reads.pop_front()
        {
            let request = v1::ReadRequest {
                device_id: arbitration.device(),
                entities: entities.clone(),
                role: arbitration.role(),
            };
            let id = calls.make(Owner::Collector, Call::Read(request), run.deadline.since(now), now);
            run.awaited = Some((id, entities));
        }
        if run.swept.is_none()
            && let Some(mut sweep) = run.sweeps.pop_front()
        {
            self.token = self.token.wrapping_add(1);
            sweep.token = self.token;
            run.swept = Some((sweep, (now + self.settings.sweep_timeout).min(run.deadline)));
            self.output.push_back(sweep);
        }
        if run.is_complete() {
            self.finish(arbitration, calls, now);
        }
    }

    fn finish(&mut self, arbitration: &Arbitration, calls: &mut Calls, now: Timestamp) {
        let Some(run) = self.running.take() else { return };
        if let Some((id, _)) = run.awaited {
            calls.forget(id);
        }
        self.lost_sweeps += u64::from(run.swept.is_some());
        self.output.clear();
        self.done.push_back(self.pipeline.reading(&run.plan, &run.answers, &run.reports));
        if let Some(plan) = self.next.take() {
            self.collect(&plan, arbitration, calls, now);
        }
    }

    pub(super) fn answered(
        &mut self,
        id: CallId,
        answer: Result<Answer, CallError>,
        arbitration: &Arbitration,
        calls: &mut Calls,
        now: Timestamp,
    ) {
        let Some(run) = &mut self.running else { return };
        let Some((_, asked)) = run.awaited.take_if(|(awaited, _)| *awaited == id) else { return };
        match answer {
            Ok(Answer::Entities(entities)) => run.answers.extend(entities),
            Err(error) if asked.len() > 1 && !error.in_doubt() => {
                tracing::debug!(%error, "a reading was refused; from now on its parts are read one by one");
                self.together = false;
                run.reads.extend(asked.into_iter().map(|read| vec![read]));
            }
            Ok(_) | Err(_) => {}
        }
        self.go_on(arbitration, calls, now);
    }

    pub(super) fn reported(
        &mut self,
        report: SweepReport,
        arbitration: &Arbitration,
        calls: &mut Calls,
        now: Timestamp,
    ) {
        let awaited = |(sweep, _): &mut (Sweep, Timestamp)| {
            (sweep.token, sweep.kind, sweep.owner) == (report.token, report.kind, report.owner)
        };
        let Some(run) = self.running.as_mut().filter(|run| run.swept.is_some()) else {
            self.late_reports += 1;
            return;
        };
        if run.swept.take_if(awaited).is_none() {
            self.late_reports += 1;
            return;
        }
        run.reports.push(report);
        self.go_on(arbitration, calls, now);
    }

    /// This controller may not send packets any more.
    pub(super) fn stop_sweeps(&mut self, arbitration: &Arbitration, calls: &mut Calls, now: Timestamp) {
        self.output.clear();
        if let Some(run) = &mut self.running {
            run.sweeps.clear();
            run.swept = None;
            self.go_on(arbitration, calls, now);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let run = self.running.as_ref()?;
        Some(run.swept.map_or(run.deadline, |(_, until)| until.min(run.deadline)))
    }

    pub(super) fn tick(&mut self, arbitration: &Arbitration, calls: &mut Calls, now: Timestamp) {
        let Some(run) = &mut self.running else { return };
        if now >= run.deadline {
            self.finish(arbitration, calls, now);
        } else if run.swept.take_if(|(_, until)| now >= *until).is_some() {
            self.lost_sweeps += 1;
            self.go_on(arbitration, calls, now);
        }
    }

    pub(super) fn poll_sweep(&mut self) -> Option<Sweep> {
        self.output.pop_front()
    }

    pub(super) fn poll_reading(&mut self) -> Option<Reading> {
        self.done.pop_front()
    }
}
