//! Keeps the score of a replay: breaches that would have been, shifts, time below thresholds.

use std::collections::BTreeSet;

use super::report::{BreachReport, RouterReport};
use crate::types::NodeId;

/// A breach is over when its router has been above its threshold for so many cycles.
const APART_CYCLES: u64 = 30;
/// Seconds of a day.
const DAY_S: f64 = 86_400.0;
/// Points of a plot.
const POINTS: u64 = 360;

/// What one router's cycle was like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub occupied: u64,
    /// Had nothing been shifted.
    pub unshifted: u64,
    pub shift_percent: f64,
    pub refused: u64,
    pub refused_unshifted: u64,
}

/// One shift, from its first percent to its last.
#[derive(Clone, Copy, Debug)]
struct Episode {
    began: u64,
    ended: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Router {
    limit: u64,
    last_percent: f64,
    episodes: Vec<Episode>,
    /// Cycles at whose ends the threshold would have been crossed.
    crossings: Vec<u64>,
    last_below: Option<u64>,
    /// Days with a cycle below the threshold, had nothing been shifted.
    loud_days: BTreeSet<u64>,
    report: RouterReport,
}

/// One point of the plots: what happened in some cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Point {
    pub(super) hour: f64,
    pub(super) refused: u64,
    /// Highest occupied over what a router may hold before its threshold.
    pub(super) load: f64,
    pub(super) load_unshifted: f64,
    pub(super) shift_percent: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Score {
    cycle_s: f64,
    horizon_cycles: u64,
    routers: Vec<Router>,
    cycle: u64,
    per_point: u64,
    pub(super) points: Vec<Point>,
    pub(super) overload_cycles: u64,
    pub(super) overload_router_cycles: u64,
    pub(super) churn: f64,
    pub(super) worst_headroom: Option<i64>,
    pub(super) peak_active: u64,
}

/// What is known at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) lead_time_s: f64,
    pub(super) false_shifts: u64,
    pub(super) shifts: u64,
    pub(super) days: u64,
    pub(super) quiet_days: u64,
    pub(super) quiet_day_shifts: u64,
    pub(super) breaches: Vec<BreachReport>,
    pub(super) routers: Vec<RouterReport>,
}

impl Score {
    /// `routers`: name, capacity, threshold.
    pub(super) fn new(routers: &[(NodeId, u32, u32)], cycle_s: f64, horizon_cycles: u64, cycles: u64) -> Self {
        let router = |(name, capacity, threshold): &(NodeId, u32, u32)| Router {
            limit: u64::from(capacity.saturating_sub(*threshold)),
            report: RouterReport {
                router: name.to_string(),
                capacity: *capacity,
                threshold_available: *threshold,
                ..RouterReport::default()
            },
            ..Router::default()
        };
        Self {
            cycle_s,
            horizon_cycles,
            routers: routers.iter().map(router).collect(),
            cycle: 0,
            per_point: cycles.div_ceil(POINTS).max(1),
            points: Vec::new(),
            overload_cycles: 0,
            overload_router_cycles: 0,
            churn: 0.0,
            worst_headroom: None,
            peak_active: 0,
        }
    }

    fn day(&self, cycle: u64) -> u64 {
        (cycle as f64 * self.cycle_s / DAY_S) as u64
    }

    pub(super) fn limit(&self, router: usize) -> u64 {
        self.routers[router].limit
    }

    /// A router that takes shifted connections holds so many.
    pub(super) fn shadow(&mut self, router: usize, occupied: u64) {
        let headroom = self.routers[router].limit as i64 - occupied as i64;
        self.worst_headroom = Some(self.worst_headroom.map_or(headroom, |worst| worst.min(headroom)));
    }

    /// One cycle is over.
    pub(super) fn cycle(&mut self, samples: &[Sample]) {
        let now = self.cycle;
        let day = self.day(now);
        if now.is_multiple_of(self.per_point) {
            self.points.push(Point { hour: now as f64 * self.cycle_s / 3_600.0, ..Point::default() });
        }
        let mut point = self.points.pop().unwrap_or_default();
        let (mut overloaded, mut active) = (0, 0);
        for (router, sample) in self.routers.iter_mut().zip(samples) {
            let limit = router.limit.max(1) as f64;
            let below = sample.occupied > router.limit;
            overloaded += u64::from(below);
            active += sample.occupied;
            point.refused += sample.refused;
            point.load = point.load.max(sample.occupied as f64 / limit);
            point.load_unshifted = point.load_unshifted.max(sample.unshifted as f64 / limit);
            point.shift_percent = point.shift_percent.max(sample.shift_percent);
            router.report.take(sample, below, self.cycle_s);
            router.shift(now, sample.shift_percent, &mut self.churn);
            if sample.unshifted > router.limit {
                if router.last_below.is_none_or(|last| now - last > APART_CYCLES) {
                    router.crossings.push(now);
                }
                router.last_below = Some(now);
                router.loud_days.insert(day);
            }
        }
        self.points.push(point);
        self.overload_cycles += u64::from(overloaded > 0);
        self.overload_router_cycles += overloaded;
        self.peak_active = self.peak_active.max(active);
        self.cycle += 1;
    }

    pub(super) fn finish(self) -> Outcome {
        let mut outcome = Outcome::default();
        let mut leads = Vec::new();
        let seconds = |cycle: u64| (cycle + 1) as f64 * self.cycle_s;
        let day = |cycle: u64| (cycle as f64 * self.cycle_s / DAY_S) as u64;
        let days = day(self.cycle.saturating_sub(1)) + 1;
        for router in self.routers {
            for crossing in &router.crossings {
                let answer = router.answer(*crossing, self.horizon_cycles);
                let lead_s = answer.map(|began| (*crossing as f64 - began as f64) * self.cycle_s);
                leads.extend(lead_s);
                outcome.breaches.push(BreachReport {
                    router: router.report.router.clone(),
                    crossing_s: seconds(*crossing),
                    first_shift_s: answer.map_or(-1.0, seconds),
                    lead_s: lead_s.unwrap_or(0.0),
                });
            }
            let wrong = router.episodes.iter().filter(|episode| router.is_false(episode, self.horizon_cycles));
            for episode in wrong {
                outcome.false_shifts += 1;
                outcome.quiet_day_shifts += u64::from(!router.loud_days.contains(&day(episode.began)));
            }
            outcome.days += days;
            outcome.quiet_days += days - router.loud_days.len() as u64;
            outcome.shifts += router.episodes.len() as u64;
            outcome.routers.push(RouterReport { shifts: router.episodes.len() as u64, ..router.report });
        }
        outcome.lead_time_s = median(leads).unwrap_or(-1.0);
        outcome
    }
}

impl Router {
    fn shift(&mut self, now: u64, percent: f64, churn: &mut f64) {
        let before = std::mem::replace(&mut self.last_percent, percent);
        *churn += (percent - before).abs();
        if before == 0.0 && percent > 0.0 {
            self.episodes.push(Episode { began: now, ended: None });
        } else if before > 0.0
            && percent == 0.0
            && let Some(last) = self.episodes.last_mut()
        {
            last.ended = Some(now);
        }
    }

    /// Begin of the shift that answers a crossing: the one in force at it, otherwise the next within the horizon.
    fn answer(&self, crossing: u64, horizon: u64) -> Option<u64> {
        let in_force =
            |episode: &&Episode| episode.began <= crossing && episode.ended.is_none_or(|ended| ended > crossing);
        let soon = |episode: &&Episode| episode.began > crossing && episode.began - crossing <= horizon;
        let found = self.episodes.iter().find(in_force).or_else(|| self.episodes.iter().find(soon));
        found.map(|episode| episode.began)
    }

    /// False: no crossing within the horizon after its begin, and none within the horizon before, nor was the router still
    /// below its threshold.
    fn is_false(&self, episode: &Episode, horizon: u64) -> bool {
        !self.crossings.iter().any(|crossing| crossing.abs_diff(episode.began) <= horizon)
    }
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 0 => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}
