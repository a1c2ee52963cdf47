//! Replication of a P4Runtime switch, as a machine: sweeps that emit, add up, doubt and forget connections (docs/P4RUNTIME.md,
//! "Replication").

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::pipeline::{Pipeline, Sweep, SweepKind, SweepReport};
use crate::plan::DatapathPlan;
use crate::types::{NodeIndex, Timestamp};

/// Errands that wait. What is more is refused at once: whoever asks comes again.
const WAITING_MAX: usize = 64;
/// A sweep without a report for so long is lost, and its errand with it. An emitting one takes a tenth of a second.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that opened, or began to close, within so long before a digest is left as it was: records take time.
const SETTLE_MS: u16 = 500;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    Replay { owner: NodeIndex, shadow: NodeIndex },
    Digest { owner: NodeIndex },
    Doubt { owner: NodeIndex },
    Purge { owner: NodeIndex },
}

impl Errand {
    pub(super) fn owner(self) -> NodeIndex {
        match self {
            Self::Replay { owner, .. } | Self::Digest { owner } | Self::Doubt { owner } | Self::Purge { owner } => {
                owner
            }
        }
    }
}

/// What an errand came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) sent: u64,
    pub(super) count: u64,
    pub(super) digest: u64,
    pub(super) doubted: u64,
}

#[derive(Debug)]
struct Run {
    errand: Errand,
    sweeps: VecDeque<Sweep>,
    /// The sweep on its way, and since when.
    swept: Option<(Sweep, Timestamp)>,
    /// The next sweep waits until then.
    pause: Timestamp,
    found: Found,
}

/// One errand at a time.
#[derive(Debug)]
pub(super) struct P4Replicator {
    pipeline: Arc<dyn Pipeline>,
    token: u32,
    waiting: VecDeque<Errand>,
    running: Option<Run>,
    output: VecDeque<Sweep>,
    done: VecDeque<(Errand, Result<Found, String>)>,
}

impl P4Replicator {
    pub(super) fn new(pipeline: Arc<dyn Pipeline>, now: Timestamp) -> Self {
        let token = u32::try_from(now.0 & u64::from(u32::MAX)).unwrap_or_default();
        Self {
            pipeline,
            token,
            waiting: VecDeque::new(),
            running: None,
            output: VecDeque::new(),
            done: VecDeque::new(),
        }
    }

    pub(super) fn ask(&mut self, errand: Errand) {
        if self.waiting.len() >= WAITING_MAX {
            self.done.push_back((errand, Err(format!("{WAITING_MAX} other errands wait already"))));
        } else {
            self.waiting.push_back(errand);
        }
    }

    /// Nothing is sent any more, and why.
    pub(super) fn stop(&mut self, why: &str) {
        self.output.clear();
        let running = self.running.take().map(|run| run.errand);
        let all = running.into_iter().chain(std::mem::take(&mut self.waiting));
        self.done.extend(all.map(|errand| (errand, Err(why.to_owned()))));
    }

    /// Goes as far as it can without a report.
    pub(super) fn go_on(&mut self, plan: Option<&Arc<DatapathPlan>>, now: Timestamp) {
        loop {
            if self.running.is_none() {
                let Some(errand) = self.waiting.pop_front() else { return };
                let sweeps = plan.map(|plan| self.sweeps(errand, plan)).unwrap_or_default();
                if sweeps.is_empty() {
                    let why = format!("the switch holds nothing of node {}, or has no such shadow", errand.owner());
                    self.done.push_back((errand, Err(why)));
                    continue;
                }
                self.running = Some(Run { errand, sweeps, swept: None, pause: now, found: Found::default() });
            }
            let Some(run) = &mut self.running else { return };
            if run.swept.is_some() || (!run.sweeps.is_empty() && now < run.pause) {
                return;
            }
            if let Some(mut sweep) = run.sweeps.pop_front() {
                self.token = self.token.wrapping_add(1);
                sweep.token = self.token;
                run.swept = Some((sweep, now));
                self.output.push_back(sweep);
                return;
            }
            self.done.push_back((run.errand, Ok(run.found)));
            self.running = None;
        }
    }

    fn sweeps(&self, errand: Errand, plan: &DatapathPlan) -> VecDeque<Sweep> {
        let sweeps = |kind, owner, shadow| self.pipeline.replication(plan, kind, owner, shadow);
        let digest = |owner| {
            let sweeps = sweeps(SweepKind::Digest, owner, None).into_iter();
            sweeps.map(|sweep| Sweep { settle_ms: SETTLE_MS, ..sweep })
        };
        match errand {
            Errand::Replay { owner, shadow } => {
                let emit = sweeps(SweepKind::Emit, owner, Some(shadow));
                if emit.is_empty() { VecDeque::new() } else { emit.into_iter().chain(digest(owner)).collect() }
            }
            Errand::Digest { owner } => digest(owner).collect(),
            Errand::Doubt { owner } => sweeps(SweepKind::Doubt, owner, None).into(),
            Errand::Purge { owner } => sweeps(SweepKind::Purge, owner, None).into(),
        }
    }

    /// False for what nobody waits for.
    pub(super) fn reported(&mut self, report: SweepReport, now: Timestamp) -> bool {
        let Some(run) = &mut self.running else { return false };
        let awaited = |(sweep, _): &mut (Sweep, Timestamp)| {
            (sweep.token, sweep.kind, sweep.owner) == (report.token, report.kind, report.owner)
        };
        let Some((sweep, since)) = run.swept.take_if(awaited) else { return false };
        let found = &mut run.found;
        found.sent += u64::from(report.sent);
        found.count += u64::from(report.count);
        found.digest = found.digest.wrapping_add(report.digest);
        found.doubted += u64::from(report.doubted);
        if sweep.kind == SweepKind::Emit {
            // Half of the switch's time is left to its packets.
            run.pause = now + now.since(since);
        }
        true
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let run = self.running.as_ref()?;
        Some(run.swept.map_or(run.pause, |(_, since)| since + SWEEP_TIMEOUT))
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        let Some(run) = &mut self.running else { return };
        if run.swept.is_some_and(|(_, since)| now >= since + SWEEP_TIMEOUT) {
            let why = format!("a sweep did not come back within {SWEEP_TIMEOUT:?}");
            self.done.push_back((run.errand, Err(why)));
            self.running = None;
        }
    }

    pub(super) fn poll_sweep(&mut self) -> Option<Sweep> {
        self.output.pop_front()
    }

    pub(super) fn poll_done(&mut self) -> Option<(Errand, Result<Found, String>)> {
        self.done.pop_front()
    }
}
