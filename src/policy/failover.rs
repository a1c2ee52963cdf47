//! Which first-stage routers have failed, who stands in for them, and when they come back (docs/FAILOVER.md).
//!
//! **Invariants**: a router that answers probes has not failed, whatever became of its session; of a failed router's
//! shadows the first that is ready and healthy stands in, and goes on doing so until it fails itself or the router has
//! its state back; a router is given nothing before it has its state back; one that fails again and again waits longer
//! each time.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::FailoverSettings;
use crate::network::liveness::ROUNDS_MAX;
use crate::types::{NodeIndex, Timestamp};

mod order;
#[cfg(test)]
mod tests;

/// With its session gone a router is given up after so many unanswered probes: two signs that do not depend on each other.
pub const SESSION_MISSES: u32 = 2;
/// A router whose session goes on answering is busy rather than hung: it is given so many times as many probes.
pub const BUSY_FACTOR: u32 = 10;
/// A silence is no sign before it lasted so many times as long as the slowest answer of late, which may take so many rounds
/// more than `probe_misses`: a connection that was stopped by a hang tries again after 0.2, 0.6 and 1.4 s, and then after 3 s.
pub const SLOW_FACTOR: u32 = 6;
pub const SLOW_ROUNDS: u32 = 2;
/// Failures that lie closer together than this make the wait before a return longer.
pub const REPEAT_WITHIN: Duration = Duration::from_secs(600);
/// The wait doubles so often at the most.
const DOUBLINGS_MAX: u32 = 5;

/// By which way a router answers probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Its data plane sends them back to the neighbour: no session of its own is needed.
    Returned,
    /// It hands them up through its own session; without the session nothing can be said.
    HandedUp,
}

/// What is known of one router at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    pub connected: bool,
    /// When its session came up or went away.
    pub session_since: Timestamp,
    /// It holds the plan that it should hold.
    pub plan_confirmed: bool,
    /// It has come back without anything that it held, faster than anything else was seen of it.
    pub emptied: bool,
    /// Every one of its data links is known to be down.
    pub links_down: bool,
    /// None of its data links is seen by LLDP, though there was time and a session at both ends.
    pub lldp_silent: bool,
    /// `None` until it answered the first probe.
    pub answers: Option<Way>,
    /// Probes over all its links that went unanswered in a row.
    pub missed: u32,
    /// Those among them that were sent after its session last said anything.
    pub silent: u32,
    /// How long the slowest answer of late took.
    pub slowest: Duration,
    /// Its shadows, best first, as they were chosen.
    pub shadows: Vec<NodeIndex>,
    /// Those among them that hold a full copy of its connections.
    pub ready: Vec<NodeIndex>,
    /// Its state has been copied back to it.
    pub state_back: bool,
}

/// Why a router is taken for failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    LinksDown,
    ProbesMissed,
    SessionAndProbes,
    SessionLost,
    LldpSilent,
    StateLost,
    /// A predecessor of this controller had found it failed.
    Adopted,
}

impl Cause {
    /// Label of metrics and REST.
    pub fn name(self) -> &'static str {
        match self {
            Self::LinksDown => "links-down",
            Self::ProbesMissed => "probes-missed",
            Self::SessionAndProbes => "session-and-probes",
            Self::SessionLost => "session-lost",
            Self::LldpSilent => "lldp-silent",
            Self::StateLost => "state-lost",
            Self::Adopted => "adopted",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::LinksDown => "all of its data links are down",
            Self::ProbesMissed => "its data plane answers no probes over any link",
            Self::SessionAndProbes => "its session is gone and its data plane answers no probes",
            Self::SessionLost => "its session is gone, and its data plane cannot be seen without",
            Self::LldpSilent => "LLDP sees none of its data links",
            Self::StateLost => "it started anew and holds no connections any more",
            Self::Adopted => "the switches were found to send its connections elsewhere",
        }
    }
}

/// Where a router is between failing and serving again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "phase")]
pub enum Phase {
    /// Nothing was seen of it yet.
    #[default]
    Unknown,
    InService,
    Failed {
        since: Timestamp,
        cause: Cause,
        /// `None`: no shadow could take its place.
        stand_in: Option<NodeIndex>,
        /// Since when it looks healthy again.
        healthy_since: Option<Timestamp>,
    },
    /// Its state is on its way back.
    Returning {
        since: Timestamp,
        failed_since: Timestamp,
        cause: Cause,
        stand_in: NodeIndex,
    },
    /// It means itself again; so much of its share of new connections it is given.
    Ramping {
        percent: f64,
    },
}

impl Phase {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::InService => "in-service",
            Self::Failed { .. } => "failed",
            Self::Returning { .. } => "returning",
            Self::Ramping { .. } => "ramping",
        }
    }

    /// It may be given connections.
    pub fn serves(&self) -> bool {
        matches!(self, Self::Unknown | Self::InService | Self::Ramping { .. })
    }

    pub fn stand_in(&self) -> Option<NodeIndex> {
        match self {
            Self::Failed { stand_in, .. } => *stand_in,
            Self::Returning { stand_in, .. } => Some(*stand_in),
            Self::Unknown | Self::InService | Self::Ramping { .. } => None,
        }
    }
}

/// What one step led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Router ids mean others, or routers are in service or out of it, than before.
    pub changed: bool,
    /// Copies of state that have to begin: the owner, and whoever holds its connections now.
    pub bring_back: Vec<(NodeIndex, NodeIndex)>,
    pub said: Vec<Said>,
}

/// Something worth telling, about one router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub router: NodeIndex,
    /// `failover`, `failover-none`, `failover-return`.
    pub kind: &'static str,
    pub sentence: String,
}

#[derive(Clone, Debug, Default)]
struct State {
    phase: Phase,
    /// Shadows in the order in which they stand in; kept as it was while the router is failed.
    order: Vec<NodeIndex>,
    /// Its first shadows, and when they were chosen.
    first: Option<(Timestamp, Vec<NodeIndex>)>,
    /// Those that held a full copy when the router was last sound: who is gone can confirm nothing any more.
    ready: Vec<NodeIndex>,
    failures: u32,
    last_failure: Option<Timestamp>,
}

/// Totals since the controller started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub failures: BTreeMap<Cause, u64>,
    /// Failures for which there was nobody to stand in.
    pub unprotected: u64,
    pub returns: u64,
}

/// The routers' phases.
#[derive(Clone, Debug)]
pub struct Failover {
    settings: FailoverSettings,
    states: BTreeMap<NodeIndex, State>,
    totals: Totals,
}

impl Failover {
    pub fn new(routers: impl IntoIterator<Item = NodeIndex>, settings: &FailoverSettings) -> Self {
        let states = routers.into_iter().map(|router| (router, State::default())).collect();
        Self { settings: settings.clone(), states, totals: Totals::default() }
    }

    pub fn phase(&self, router: NodeIndex) -> Phase {
        self.states.get(&router).map(|state| state.phase).unwrap_or_default()
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Router ids that mean another router now.
    pub fn stand_ins(&self) -> BTreeMap<NodeIndex, NodeIndex> {
        self.states.iter().filter_map(|(router, state)| Some((*router, state.phase.stand_in()?))).collect()
    }

    /// Part of its share of new connections that goes elsewhere while it comes back, in percent.
    pub fn held_back_percent(&self, router: NodeIndex) -> f64 {
        match self.phase(router) {
            Phase::Ramping { percent } => (100.0 - percent).clamp(0.0, 100.0),
            _ => 0.0,
        }
    }

    /// A third-stage or outside switch was found to let `owner` mean `stand_in`. What was found first counts.
    pub fn adopt(&mut self, owner: NodeIndex, stand_in: NodeIndex, now: Timestamp) -> bool {
        let known = self.states.contains_key(&stand_in) && owner != stand_in;
        let Some(state) = self.states.get_mut(&owner).filter(|state| known && state.phase == Phase::Unknown) else {
            return false;
        };
        let failed = Phase::Failed { since: now, cause: Cause::Adopted, stand_in: Some(stand_in), healthy_since: None };
        (state.phase, state.order) = (failed, vec![stand_in]);
        true
    }

    /// A cycle has passed: routers that came back are given more.
    pub fn ramp(&mut self) -> bool {
        let mut changed = false;
        for state in self.states.values_mut() {
            if let Phase::Ramping { percent } = &mut state.phase {
                *percent += self.settings.ramp_step_percent;
                changed = true;
                if *percent >= 100.0 {
                    state.phase = Phase::InService;
                }
            }
        }
        changed
    }

    /// How long a router has to look healthy before its state is brought back.
    fn hold_down(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
        Duration::from_millis(self.settings.hold_down_ms) * (1 << doublings)
    }

    /// Why this router is to be taken for failed now.
    fn failure(&self, seen: &Observation, now: Timestamp) -> Option<Cause> {
        let gone_for = |limit_ms: u64| !seen.connected && now.since(seen.session_since).as_millis() >= limit_ms.into();
        if seen.links_down {
            return Some(Cause::LinksDown);
        }
        if seen.emptied {
            return Some(Cause::StateLost);
        }
        match seen.answers {
            Some(Way::Returned) if !seen.connected && seen.missed >= SESSION_MISSES.min(self.settings.probe_misses) => {
                Some(Cause::SessionAndProbes)
            }
            Some(_) if seen.connected && self.hangs(seen) => Some(Cause::ProbesMissed),
            Some(Way::HandedUp) if gone_for(self.settings.session_grace_ms) => Some(Cause::SessionLost),
            // Without a session LLDP says nothing: nobody could send it.
            _ if seen.connected && seen.lldp_silent && (seen.answers.is_none() || seen.missed > 0) => {
                Some(Cause::LldpSilent)
            }
            _ => None,
        }
    }

    /// Probes go unanswered, and so does its session; or nothing but its session has answered for long. One that was
    /// slow before is given as much more time.
    fn hangs(&self, seen: &Observation) -> bool {
        let misses = self.settings.probe_misses;
        let rounds = (seen.slowest * SLOW_FACTOR).as_millis().div_ceil(self.settings.probe_interval_ms.max(1).into());
        let limit = u32::try_from(rounds).unwrap_or(u32::MAX).clamp(misses, misses.saturating_add(SLOW_ROUNDS));
        seen.silent >= limit || seen.missed >= misses.saturating_mul(BUSY_FACTOR).min(ROUNDS_MAX)
    }

    /// It could serve again.
    fn healthy(&self, seen: &Observation, now: Timestamp) -> bool {
        seen.connected && seen.plan_confirmed && seen.missed == 0 && self.failure(seen, now).is_none()
    }

    /// When [`Self::step`] has something to do by the passing of time alone.
    pub fn next_deadline(&self, seen: &BTreeMap<NodeIndex, Observation>) -> Option<Timestamp> {
        let deadline = |(router, state): (&NodeIndex, &State)| match state.phase {
            Phase::Failed { healthy_since: Some(since), .. } => Some(since + self.hold_down(state.failures)),
            Phase::InService | Phase::Ramping { .. } => {
                let grace = Duration::from_millis(self.settings.session_grace_ms);
                let seen = seen.get(router)?;
                (!seen.connected && seen.answers == Some(Way::HandedUp)).then(|| seen.session_since + grace)
            }
            _ => None,
        };
        self.states.iter().filter_map(deadline).min()
    }

    /// Takes what is seen of every router; the same observations at the same times lead to the same phases.
    pub fn step(
        &mut self,
        seen: &BTreeMap<NodeIndex, Observation>,
        name: &dyn Fn(NodeIndex) -> String,
        now: Timestamp,
    ) -> Step {
        let mut step = Step::default();
        let routers: Vec<NodeIndex> = self.states.keys().copied().collect();
        // Whoever failed is known before anyone is chosen to stand in.
        for router in &routers {
            if let Some(observation) = seen.get(router) {
                self.notice(*router, observation, name, now, &mut step);
            }
        }
        self.reorder(seen, now);
        for router in &routers {
            if let Some(observation) = seen.get(router) {
                self.place(*router, observation, seen, name, now, &mut step);
            }
        }
        step
    }

    /// Failures of routers that served.
    fn notice(
        &mut self,
        router: NodeIndex,
        seen: &Observation,
        name: &dyn Fn(NodeIndex) -> String,
        now: Timestamp,
        step: &mut Step,
    ) {
        let cause = self.failure(seen, now);
        let Some(state) = self.states.get_mut(&router) else { return };
        match (state.phase, cause) {
            (Phase::Unknown, None) if seen.connected => state.phase = Phase::InService,
            // Not there when this controller began, and nobody stands in: there is nothing to take over.
            (Phase::Unknown, Some(cause)) => {
                state.phase = Phase::Failed { since: now, cause, stand_in: None, healthy_since: None };
                step.changed = true;
                step.tell(router, "failover-none", format!("{} is out of service: {}", name(router), cause.sentence()));
            }
            (Phase::InService | Phase::Ramping { .. }, Some(cause)) => {
                let again = state.last_failure.is_some_and(|last| now.since(last) < REPEAT_WITHIN);
                state.failures = if again { state.failures.saturating_add(1) } else { 1 };
                state.last_failure = Some(now);
                state.phase = Phase::Failed { since: now, cause, stand_in: None, healthy_since: None };
                step.changed = true;
                // What it holds of others is doubtful from now on; a comparison will tell.
                self.states.values_mut().for_each(|state| state.ready.retain(|shadow| *shadow != router));
                *self.totals.failures.entry(cause).or_default() += 1;
                step.tell(router, "failover", format!("{} has failed: {}", name(router), cause.sentence()));
            }
            (Phase::Returning { failed_since, cause, stand_in, .. }, Some(_)) => {
                state.phase =
                    Phase::Failed { since: failed_since, cause, stand_in: Some(stand_in), healthy_since: None };
                step.tell(router, "failover", format!("{} failed again while it came back", name(router)));
            }
            _ => {}
        }
    }

    /// Who stands in for a failed router, and its way back.
    fn place(
        &mut self,
        router: NodeIndex,
        observation: &Observation,
        seen: &BTreeMap<NodeIndex, Observation>,
        name: &dyn Fn(NodeIndex) -> String,
        now: Timestamp,
        step: &mut Step,
    ) {
        let Some(state) = self.states.get(&router) else { return };
        let (before, hold_down) = (state.phase, self.hold_down(state.failures));
        let served = state.last_failure.is_some();
        let next = match before {
            Phase::Failed { since, cause, stand_in, healthy_since } => {
                let chosen = self.choose(router, stand_in, observation, seen, now);
                let healthy_since = self.healthy(observation, now).then(|| healthy_since.unwrap_or(now));
                let just_now = step.said.iter().any(|said| said.router == router && said.kind == "failover");
                self.tell_choice(router, stand_in, chosen, just_now, name, step);
                let waited = healthy_since.is_some_and(|healthy| now.since(healthy) >= hold_down);
                match chosen {
                    Some(stand_in) if waited => {
                        step.bring_back.push((router, stand_in));
                        let text = format!("{} is healthy again: its state comes back first", name(router));
                        step.tell(router, "failover-return", text);
                        Phase::Returning { since: now, failed_since: since, cause, stand_in }
                    }
                    // Nobody holds its state: nothing to wait for but that it stays healthy. One that never served here
                    // need not be doubted.
                    None if waited || (healthy_since.is_some() && !served) => self.resume(router, served, name, step),
                    _ => Phase::Failed { since, cause, stand_in: chosen, healthy_since },
                }
            }
            Phase::Returning { stand_in, .. } if observation.state_back && self.fit(stand_in, seen, now) => {
                self.resume(router, true, name, step)
            }
            Phase::Returning { failed_since, cause, stand_in, .. } if !self.fit(stand_in, seen, now) => {
                // Whoever held its state is gone: another one, or what has arrived must do.
                match self.choose(router, Some(stand_in), observation, seen, now) {
                    Some(other) => {
                        self.tell_choice(router, Some(stand_in), Some(other), false, name, step);
                        let healthy_since = Some(now);
                        Phase::Failed { since: failed_since, cause, stand_in: Some(other), healthy_since }
                    }
                    None => self.resume(router, true, name, step),
                }
            }
            other => other,
        };
        step.changed |= next.stand_in() != before.stand_in() || next.serves() != before.serves();
        if let Some(state) = self.states.get_mut(&router) {
            state.phase = next;
        }
    }

    fn resume(&mut self, router: NodeIndex, ramp: bool, name: &dyn Fn(NodeIndex) -> String, step: &mut Step) -> Phase {
        step.tell(router, "failover-return", format!("{} is back and means itself again", name(router)));
        self.totals.returns += 1;
        if ramp { Phase::Ramping { percent: self.settings.ramp_step_percent } } else { Phase::InService }
    }

    /// It serves, and there is no sign against it that would make it fail.
    fn fit(&self, router: NodeIndex, seen: &BTreeMap<NodeIndex, Observation>, now: Timestamp) -> bool {
        let sound = seen.get(&router).is_some_and(|seen| self.failure(seen, now).is_none());
        sound && self.phase(router).serves()
    }

    /// The stand-in in force as long as it is fit; else the first shadow that is fit and ready.
    fn choose(
        &self,
        router: NodeIndex,
        present: Option<NodeIndex>,
        observation: &Observation,
        seen: &BTreeMap<NodeIndex, Observation>,
        now: Timestamp,
    ) -> Option<NodeIndex> {
        if let Some(present) = present.filter(|present| self.fit(*present, seen, now)) {
            return Some(present);
        }
        let was_ready = self.states.get(&router).map_or(&[][..], |state| &state.ready);
        let ready = |shadow: &NodeIndex| observation.ready.contains(shadow) || was_ready.contains(shadow);
        let fit = |shadow: &&NodeIndex| ready(shadow) && self.fit(**shadow, seen, now);
        // The order is that of the switches' own failover: whom they turn to, state and traffic follow.
        self.order(router).iter().find(fit).copied()
    }

    fn tell_choice(
        &mut self,
        router: NodeIndex,
        before: Option<NodeIndex>,
        now: Option<NodeIndex>,
        first: bool,
        name: &dyn Fn(NodeIndex) -> String,
        step: &mut Step,
    ) {
        let sentence = match (before, now) {
            (None, Some(shadow)) => format!("{} stands in for {}", name(shadow), name(router)),
            (Some(gone), Some(shadow)) if gone != shadow => {
                format!("{} stands in for {} in place of {}", name(shadow), name(router), name(gone))
            }
            (Some(gone), None) => {
                self.totals.unprotected += 1;
                format!(
                    "nobody is left to stand in for {} after {}: its connections are lost",
                    name(router),
                    name(gone)
                )
            }
            (None, None) if first => {
                self.totals.unprotected += 1;
                format!("no shadow is ready to stand in for {}: its connections are lost", name(router))
            }
            _ => return,
        };
        step.tell(router, if now.is_some() { "failover" } else { "failover-none" }, sentence);
    }
}

impl Step {
    fn tell(&mut self, router: NodeIndex, kind: &'static str, sentence: String) {
        self.said.push(Said { router, kind, sentence });
    }
}
