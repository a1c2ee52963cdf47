//! Keeps the score of a day: what was refused, broken, moved, and how early the shifts came.
//!
//! Lead times and false shifts are measured against the counterfactual occupancy (`fabric::traffic`), which knows what
//! every router would have held had nothing been shifted.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::config::PolicyKind;
use crate::fabric::traffic::{Counts, Crossing};
use crate::policy::decision::RouterDecision;
use crate::types::{NodeId, NodeIndex, Timestamp};

/// What one router's cycle was like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample<'d> {
    pub(super) index: NodeIndex,
    pub(super) decision: &'d RouterDecision,
    /// Connections that the hosts have open through this router.
    pub(super) hosts_active: u64,
}

/// Report of a day; the fields of the first half are those that every report of this program has.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) policy: PolicyKind,
    pub(super) seed: u64,
    pub(super) refused_connections: u64,
    pub(super) broken_connections: u64,
    pub(super) established_moved: u64,
    pub(super) overload_seconds: f64,
    pub(super) lead_time_s: f64,
    pub(super) false_shifts: u64,
    pub(super) shift_churn: f64,
    pub(super) new_connections: u64,
    pub(super) wall_s: f64,
    pub(super) peak_rss_bytes: u64,
    pub(super) cycle_s: f64,
    pub(super) cycles: u64,
    /// Packets that emulated switches handled.
    pub(super) packet_traversals: u64,
    pub(super) surge: SurgeReport,
    pub(super) routers: Vec<RouterReport>,
    pub(super) breaches: Vec<BreachReport>,
}

/// The surge of the day; times in seconds after midnight.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SurgeReport {
    pub(super) service: String,
    pub(super) start_s: f64,
    pub(super) ramp_s: f64,
    pub(super) plateau_s: f64,
    /// What came besides the usual at the height, connections a second.
    pub(super) extra_per_s: f64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct RouterReport {
    pub(super) router: String,
    pub(super) capacity: u32,
    pub(super) threshold_available: u32,
    pub(super) peak_occupied: u64,
    /// Had nothing been shifted.
    pub(super) peak_occupied_unshifted: u32,
    /// As the router counted them.
    pub(super) refused: u64,
    pub(super) refused_unshifted: u64,
    pub(super) overload_seconds: f64,
    pub(super) peak_shift_percent: f64,
    /// Largest difference between the controller's count of open connections and the hosts', in connections.
    pub(super) active_error_max: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct BreachReport {
    pub(super) router: String,
    /// Seconds after midnight at which the router would have crossed its threshold had nothing been shifted.
    pub(super) crossing_s: f64,
    /// When the shift that answers it began; -1 if there was none.
    pub(super) first_shift_s: f64,
    /// Crossing less first shift; 0 if there was no shift.
    pub(super) lead_s: f64,
}

/// One shift, from its first percent to its last.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Episode {
    router: NodeIndex,
    began: Timestamp,
    /// `None` while it lasts.
    ended: Option<Timestamp>,
}

/// The score so far.
#[derive(Debug)]
pub(super) struct Score {
    midnight: Timestamp,
    cycle: Duration,
    /// A shift with no crossing within this long of its begin was false.
    horizon: Duration,
    cycles: u64,
    overload: Duration,
    churn: f64,
    last_percent: BTreeMap<NodeIndex, f64>,
    episodes: Vec<Episode>,
    routers: BTreeMap<NodeIndex, RouterReport>,
    refused_before: BTreeMap<NodeIndex, u64>,
}

impl Score {
    pub(super) fn new(midnight: Timestamp, cycle: Duration, horizon: Duration) -> Self {
        Self {
            midnight,
            cycle,
            horizon,
            cycles: 0,
            overload: Duration::ZERO,
            churn: 0.0,
            last_percent: BTreeMap::new(),
            episodes: Vec::new(),
            routers: BTreeMap::new(),
            refused_before: BTreeMap::new(),
        }
    }

    /// Where shifts and counters stand at midnight; nothing of it counts.
    pub(super) fn begin_day(&mut self, samples: &[Sample<'_>]) {
        for sample in samples {
            self.last_percent.insert(sample.index, sample.decision.shift_percent);
            self.refused_before.insert(sample.index, sample.decision.load.refused_total);
            if sample.decision.shift_percent > 0.0 {
                self.episodes.push(Episode { router: sample.index, began: self.midnight, ended: None });
            }
        }
    }

    /// One cycle is over.
    pub(super) fn cycle(&mut self, at: Timestamp, samples: &[Sample<'_>]) {
        self.cycles += 1;
        let mut overloaded = false;
        for sample in samples {
            let Sample { index, decision, hosts_active } = *sample;
            let occupied = decision.load.occupied;
            let available = f64::from(decision.capacity) - occupied;
            let below = available < f64::from(decision.threshold_available);
            overloaded |= below;
            let router = self.routers.entry(index).or_default();
            router.router = decision.router.to_string();
            router.capacity = decision.capacity;
            router.threshold_available = decision.threshold_available;
            router.peak_occupied = router.peak_occupied.max(occupied as u64);
            router.peak_shift_percent = router.peak_shift_percent.max(decision.shift_percent);
            let before = self.refused_before.get(&index).copied().unwrap_or(0);
            router.refused = decision.load.refused_total.saturating_sub(before);
            router.active_error_max = router.active_error_max.max(hosts_active.abs_diff(decision.load.active as u64));
            if below {
                router.overload_seconds += self.cycle.as_secs_f64();
            }
            self.shift(at, index, decision.shift_percent);
        }
        if overloaded {
            self.overload += self.cycle;
        }
    }

    fn shift(&mut self, at: Timestamp, router: NodeIndex, percent: f64) {
        let before = self.last_percent.insert(router, percent).unwrap_or(0.0);
        self.churn += (percent - before).abs();
        if before == 0.0 && percent > 0.0 {
            self.episodes.push(Episode { router, began: at, ended: None });
        } else if before > 0.0 && percent == 0.0 {
            let last = self.episodes.iter_mut().rev().find(|episode| episode.router == router);
            if let Some(episode) = last {
                episode.ended = Some(at);
            }
        }
    }

    fn seconds(&self, at: Timestamp) -> f64 {
        at.as_secs_f64() - self.midnight.as_secs_f64()
    }

    /// The shift that answers a crossing: the one in force at it, otherwise the next to begin within the horizon.
    fn answer(&self, crossing: &Crossing) -> Option<Episode> {
        let of_router = || self.episodes.iter().filter(|episode| episode.router == crossing.router);
        let in_force =
            |episode: &&Episode| episode.began <= crossing.at && episode.ended.is_none_or(|ended| ended > crossing.at);
        let soon = |episode: &&Episode| episode.began > crossing.at && episode.began.since(crossing.at) <= self.horizon;
        of_router().find(in_force).or_else(|| of_router().find(soon)).copied()
    }

    /// A shift is false if its router would not have crossed within the horizon after its begin, and had not within
    /// the horizon before.
    fn is_false(&self, episode: &Episode, crossings: &[Crossing]) -> bool {
        !crossings.iter().any(|crossing| {
            crossing.router == episode.router
                && crossing.at.since(episode.began) <= self.horizon
                && episode.began.since(crossing.at) <= self.horizon
        })
    }

    /// Everything about shifts and loads; the caller adds what it alone knows.
    pub(super) fn report(
        mut self,
        counts: Counts,
        crossings: &[Crossing],
        unshifted: impl Fn(NodeIndex) -> (u32, u64),
        surge: SurgeReport,
    ) -> Report {
        let name = |score: &Self, router: NodeIndex| {
            score.routers.get(&router).map_or_else(|| NodeId::new("?").to_string(), |report| report.router.clone())
        };
        let breach = |crossing: &Crossing| {
            let answer = self.answer(crossing);
            BreachReport {
                router: name(&self, crossing.router),
                crossing_s: self.seconds(crossing.at),
                first_shift_s: answer.map_or(-1.0, |episode| self.seconds(episode.began)),
                lead_s: answer.map_or(0.0, |episode| crossing.at.as_secs_f64() - episode.began.as_secs_f64()),
            }
        };
        let breaches: Vec<BreachReport> = crossings.iter().map(breach).collect();
        let leads = breaches.iter().filter(|breach| breach.first_shift_s >= 0.0).map(|breach| breach.lead_s).collect();
        let false_shifts = self.episodes.iter().filter(|episode| self.is_false(episode, crossings)).count() as u64;
        for (index, router) in &mut self.routers {
            (router.peak_occupied_unshifted, router.refused_unshifted) = unshifted(*index);
        }
        Report {
            policy: PolicyKind::Predictive,
            seed: 0,
            refused_connections: counts.refused,
            broken_connections: counts.broken,
            established_moved: counts.moved,
            overload_seconds: self.overload.as_secs_f64(),
            lead_time_s: median(leads).unwrap_or(-1.0),
            false_shifts,
            shift_churn: self.churn,
            new_connections: counts.offered,
            wall_s: 0.0,
            peak_rss_bytes: 0,
            cycle_s: self.cycle.as_secs_f64(),
            cycles: self.cycles,
            packet_traversals: 0,
            surge,
            routers: self.routers.into_values().collect(),
            breaches,
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 0 => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::decision::{Load, ShiftPhase};

    const MIDNIGHT: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(secs: u64) -> Timestamp {
        MIDNIGHT + Duration::from_secs(secs)
    }

    fn decision(occupied: f64, shift_percent: f64) -> RouterDecision {
        RouterDecision {
            router: "r1".into(),
            at: MIDNIGHT,
            load: Load { occupied, active: occupied, ..Load::default() },
            capacity: 100,
            threshold_available: 20,
            forecast: None,
            prediction_severity: 0.0,
            anomaly_severity: 0.0,
            crossed: false,
            wanted_percent: 0.0,
            shift_percent,
            unplaced_percent: 0.0,
            phase: ShiftPhase::Idle,
            shadows: vec![],
            reasons: vec![],
            generation: 0,
        }
    }

    /// A day of one router: occupied and shift percent every 30 s; crossings in seconds.
    fn play(cycles: &[(f64, f64)], crossings: &[u64]) -> Report {
        let mut score = Score::new(MIDNIGHT, Duration::from_secs(30), Duration::from_secs(300));
        for (number, (occupied, percent)) in cycles.iter().enumerate() {
            let decision = decision(*occupied, *percent);
            let sample = Sample { index: NodeIndex(1), decision: &decision, hosts_active: *occupied as u64 };
            score.cycle(at(30 * (number as u64 + 1)), &[sample]);
        }
        let crossings: Vec<_> = crossings.iter().map(|s| Crossing { router: NodeIndex(1), at: at(*s) }).collect();
        let surge = SurgeReport { service: "web".into(), start_s: 0.0, ramp_s: 0.0, plateau_s: 0.0, extra_per_s: 1.0 };
        score.report(Counts::default(), &crossings, |_| (0, 0), surge)
    }

    #[test]
    fn lead_is_from_the_shift_in_force_to_the_crossing() {
        let report = play(&[(50.0, 0.0), (60.0, 10.0), (70.0, 20.0), (75.0, 20.0), (70.0, 0.0)], &[110]);
        assert_eq!((report.lead_time_s, report.false_shifts), (50.0, 0));
        assert_eq!(report.shift_churn, 40.0);
        assert_eq!(report.overload_seconds, 0.0);
    }

    #[test]
    fn a_late_shift_has_a_negative_lead_and_no_shift_has_none() {
        let late = play(&[(70.0, 0.0), (85.0, 50.0)], &[40]);
        assert_eq!((late.lead_time_s, late.overload_seconds), (-20.0, 30.0));
        let none = play(&[(70.0, 0.0), (85.0, 0.0)], &[40]);
        assert_eq!((none.lead_time_s, none.breaches[0].first_shift_s), (-1.0, -1.0));
    }

    #[test]
    fn shifts_without_a_crossing_are_false() {
        let calm = play(&[(50.0, 10.0), (50.0, 0.0)], &[]);
        assert_eq!((calm.false_shifts, calm.lead_time_s), (1, -1.0));
        let too_early = play(&[(50.0, 10.0), (50.0, 0.0)], &[400]);
        assert_eq!(too_early.false_shifts, 1);
    }

    #[test]
    fn the_median_of_leads_is_reported() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0]), Some(2.0));
        assert_eq!(median(vec![9.0, -1.0, 4.0]), Some(4.0));
    }
}
