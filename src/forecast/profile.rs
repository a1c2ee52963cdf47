//! Mean course of the day, learned as it passes.

use crate::types::Timestamp;

const BINS: usize = 288;
const DAY_S: f64 = 86_400.0;
/// Under two days of history time-of-day features do harm: a single day's noise is taken for its shape.
const DAYS_MIN: f64 = 2.0;
/// About the last week counts.
const DAYS_WEIGHT: u32 = 7;

#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    mean: f64,
    days: u32,
    /// Sum and count of the visit in progress.
    sum: f64,
    count: u32,
}

/// Means of five-minute bins over days; 288 of them whatever the cycle.
#[derive(Clone, Debug)]
pub(super) struct DayProfile {
    bins: Vec<Bin>,
    first: Option<Timestamp>,
    last: Timestamp,
    current: usize,
}

impl Default for DayProfile {
    fn default() -> Self {
        Self { bins: vec![Bin::default(); BINS], first: None, last: Timestamp::default(), current: 0 }
    }
}

impl DayProfile {
    pub(super) fn observe(&mut self, at: Timestamp, value: f64) {
        self.first.get_or_insert(at);
        self.last = at;
        let bin = bin_of(at.as_secs_f64());
        if bin != self.current {
            let done = &mut self.bins[self.current];
            if done.count > 0 {
                done.days = (done.days + 1).min(DAYS_WEIGHT);
                done.mean += (done.sum / f64::from(done.count) - done.mean) / f64::from(done.days);
                (done.sum, done.count) = (0.0, 0);
            }
            self.current = bin;
        }
        self.bins[bin].sum += value;
        self.bins[bin].count += 1;
    }

    /// Change of the profile from `at` to `ahead_s` later; `None` before two days were seen.
    pub(super) fn change(&self, at: Timestamp, ahead_s: f64) -> Option<f64> {
        let seen = self.last.since(self.first?).as_secs_f64();
        if seen < DAYS_MIN * DAY_S {
            return None;
        }
        let now = at.as_secs_f64();
        Some(self.value(now + ahead_s)? - self.value(now)?)
    }

    /// Profile at a moment, between the middles of its bins.
    fn value(&self, at_s: f64) -> Option<f64> {
        let place = (at_s.rem_euclid(DAY_S)) / DAY_S * BINS as f64 - 0.5;
        let low = place.floor();
        let bin = |offset: f64| {
            let bin = self.bins[(low + offset).rem_euclid(BINS as f64) as usize];
            (bin.days > 0).then_some(bin.mean)
        };
        let part = place - low;
        Some(bin(0.0)? * (1.0 - part) + bin(1.0)? * part)
    }
}

fn bin_of(at_s: f64) -> usize {
    ((at_s.rem_euclid(DAY_S) / DAY_S * BINS as f64) as usize).min(BINS - 1)
}
