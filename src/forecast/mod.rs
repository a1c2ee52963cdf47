//! Forecast of a router's occupied connections (docs/FORECAST.md).
//!
//! Five experts (last value, damped Holt fast and slow, balance of arrivals and departures, linear model) are weighted by their
//! rolling error; the residual paths of the weighted forecast give bands and the probability of a breach.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::types::Timestamp;

mod experts;
mod linear;
mod paths;
mod profile;

use experts::{Balance, DampedHolt};
use linear::{FEATURES, LAGS, LinearExpert, Row};
use paths::ResidualPaths;
use profile::DayProfile;

/// Samples before there is a forecast.
pub const SAMPLES_MIN: usize = 15;
/// So long a forecast waits for the time in the table to be known: a table that fills from empty looks like a flash
/// crowd to every expert but the one that knows where it will stop.
const SAMPLES_RESIDENCE: usize = 60;
/// Weight of the newest error in an expert's rolling error: about the last 30 count, so that a ramp changes the
/// weights within seconds.
const ERROR_WEIGHT: f64 = 0.07;
/// An expert's weight falls with this power of its rolling error.
const ERROR_POWER: i32 = 4;
/// Names, in the order of the weights.
const EXPERTS: [&str; 5] = ["last value", "damped Holt", "slow Holt", "arrivals x duration", "linear"];

/// Forecast of one router's occupied connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    pub model: String,
    /// Occupied connections expected 1, 2, … cycles ahead.
    pub mean: Vec<f64>,
    pub lo80: Vec<f64>,
    pub hi80: Vec<f64>,
    /// Probability that available connections fall below the threshold within the horizon.
    pub breach_probability: f64,
    /// Median time to that, of the paths that get there.
    pub breach_in_s: Option<f64>,
}

/// One cycle's input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub occupied: f64,
    /// Admitted a second; a series without arrivals passes 0, and the experts that need them stay out.
    pub new_per_s: f64,
    /// Offered a second, were nothing shifted.
    pub demand_per_s: f64,
    /// Part of that demand that the shift now in force leaves here, in [0, 1].
    pub kept: f64,
    /// New connections a second that it takes for others.
    pub inbound_per_s: f64,
}

impl Sample {
    /// A router that takes no part in any shift.
    pub fn new(occupied: f64, new_per_s: f64) -> Self {
        Self { occupied, new_per_s, demand_per_s: new_per_s, kept: 1.0, inbound_per_s: 0.0 }
    }

    fn is_finite(&self) -> bool {
        [self.occupied, self.new_per_s, self.demand_per_s, self.kept, self.inbound_per_s].iter().all(|v| v.is_finite())
    }
}

/// Every expert's answers at the anchors; kept until they can be judged.
type Answers = [Vec<Option<f64>>; EXPERTS.len()];

/// The forecaster of one router. State is bounded: [`linear::ROWS`] rows, [`paths::PATHS`] paths, 288 bins.
#[derive(Clone, Debug)]
pub struct Forecaster {
    horizon: usize,
    step_s: f64,
    anchors: Vec<usize>,
    at: Option<Timestamp>,
    recent: VecDeque<f64>,
    slow_mean: f64,
    samples: usize,
    holt: DampedHolt,
    slow_holt: DampedHolt,
    balance: Balance,
    has_arrivals: bool,
    linear: LinearExpert,
    profile: DayProfile,
    pending: VecDeque<Answers>,
    /// Rolling error of each expert at each anchor.
    errors: [Vec<Option<f64>>; EXPERTS.len()],
    paths: ResidualPaths,
    mean: Vec<f64>,
    weights: [f64; EXPERTS.len()],
}

impl Forecaster {
    /// Forecasts 1 to `horizon` steps of `step_s` seconds ahead.
    pub fn new(horizon: usize, step_s: f64) -> Self {
        let horizon = horizon.max(1);
        let mut anchors: Vec<usize> = [1, 2, 3, 5, 8, 12, 20, 30, 45].into_iter().filter(|a| *a < horizon).collect();
        let mut far = 60;
        while far < horizon {
            anchors.push(far);
            far = far * 3 / 2;
        }
        anchors.push(horizon);
        Self {
            horizon,
            step_s: if step_s.is_finite() && step_s > 0.0 { step_s } else { 1.0 },
            at: None,
            recent: VecDeque::with_capacity(LAGS[LAGS.len() - 1] + 1),
            slow_mean: 0.0,
            samples: 0,
            holt: DampedHolt::new(0.6, 0.15, 0.97),
            slow_holt: DampedHolt::new(0.2, 0.03, 0.97),
            balance: Balance::default(),
            has_arrivals: false,
            linear: LinearExpert::new(&anchors),
            profile: DayProfile::default(),
            pending: VecDeque::with_capacity(horizon),
            errors: std::array::from_fn(|_| vec![None; anchors.len()]),
            paths: ResidualPaths::new(horizon),
            mean: Vec::new(),
            weights: [0.0; EXPERTS.len()],
            anchors,
        }
    }

    /// Mean seconds that a connection occupies its slot, where arrivals and departures have shown it.
    pub fn residence_s(&self) -> Option<f64> {
        self.balance.residence_s()
    }

    /// Takes one cycle's sample. A sample that is not finite, or not newer than the last one, is ignored; after missing
    /// cycles short memory is dropped and learned fits are kept.
    pub fn observe(&mut self, at: Timestamp, sample: Sample) {
        if !sample.is_finite() {
            return;
        }
        let mut seconds = self.step_s;
        if let Some(last) = self.at {
            seconds = at.since(last).as_secs_f64();
            if seconds <= 0.0 {
                return;
            }
            if seconds > 3.0 * self.step_s {
                self.interrupt();
            }
        }
        self.at = Some(at);
        self.learn(at, sample, seconds);
        self.predict(sample.occupied);
    }

    /// Bands and breach probability against `limit` occupied connections (capacity less threshold); `None` before
    /// [`SAMPLES_MIN`] samples, and, where arrivals are known, before the time in the table is (60 samples at most).
    pub fn forecast(&self, limit: f64) -> Option<Forecast> {
        if self.samples < SAMPLES_MIN || self.mean.is_empty() || self.paths.len() < SAMPLES_MIN / 2 {
            return None;
        }
        if self.has_arrivals && self.residence_s().is_none() && self.samples < SAMPLES_RESIDENCE {
            return None;
        }
        let level = self.recent.back().copied()?;
        let breach = self.paths.breach(level, &self.mean, limit);
        let (below, above) = self.paths.bands(level);
        let add = |residuals: Vec<f64>| -> Vec<f64> {
            self.mean.iter().zip(residuals).map(|(mean, residual)| (mean + residual).max(0.0)).collect()
        };
        Some(Forecast {
            model: self.describe(),
            mean: self.mean.clone(),
            lo80: add(below),
            hi80: add(above),
            breach_probability: breach.probability,
            breach_in_s: breach.steps.map(|steps| steps as f64 * self.step_s),
        })
    }

    fn describe(&self) -> String {
        let mut parts: Vec<(f64, &str)> = self.weights.iter().copied().zip(EXPERTS).collect();
        parts.sort_by(|a, b| b.0.total_cmp(&a.0));
        let shown = parts.iter().filter(|(weight, _)| *weight >= 0.05);
        let words: Vec<String> = shown.map(|(weight, name)| format!("{name} {:.0} %", weight * 100.0)).collect();
        words.join(", ")
    }

    fn interrupt(&mut self) {
        self.recent.clear();
        self.pending.clear();
        self.paths.interrupt();
        self.linear.interrupt();
        self.balance.interrupt();
    }

    fn learn(&mut self, at: Timestamp, sample: Sample, seconds: f64) {
        let value = sample.occupied;
        self.judge(value);
        self.paths.measured(value);
        self.samples = self.samples.saturating_add(1);
        self.has_arrivals |= sample.new_per_s > 0.0;
        self.holt.observe(value);
        self.slow_holt.observe(value);
        self.balance.observe(&sample, seconds);
        self.profile.observe(at, value);
        let weight = (1.0 / self.samples as f64).max(1.0 / 120.0);
        self.slow_mean += weight * (value - self.slow_mean);
        if self.recent.len() > LAGS[LAGS.len() - 1] {
            self.recent.pop_front();
        }
        self.recent.push_back(value);
        let row = self.row(at, sample);
        self.linear.observe(row);
        self.linear.refit_next();
    }

    fn row(&self, at: Timestamp, sample: Sample) -> Row {
        let value = sample.occupied;
        let newest = self.recent.len() - 1;
        let mut features = [0.0; FEATURES];
        for (feature, lag) in features.iter_mut().zip(LAGS) {
            // Before a lag is reached its oldest stand-in says as much as is known.
            *feature = value - self.recent[newest.saturating_sub(lag)];
        }
        features[LAGS.len()] = value - self.slow_mean;
        if self.has_arrivals {
            features[LAGS.len() + 1] = self.balance.heading_for().map_or(0.0, |target| target - value);
            features[LAGS.len() + 2] = sample.new_per_s;
        }
        features[LAGS.len() + 3] = value - self.slow_holt.level();
        let change = |anchor: &usize| self.profile.change(at, *anchor as f64 * self.step_s).unwrap_or(0.0);
        Row { value, features, profile: self.anchors.iter().map(change).collect() }
    }

    /// Holds the experts' waiting answers against what came.
    fn judge(&mut self, value: f64) {
        for (which, anchor) in self.anchors.iter().enumerate() {
            let Some(origin) = self.pending.len().checked_sub(*anchor) else { continue };
            for (errors, answers) in self.errors.iter_mut().zip(&self.pending[origin]) {
                let Some(answer) = answers[which] else { continue };
                let error = (value - answer).abs();
                let rolling = errors[which].get_or_insert(error);
                *rolling += ERROR_WEIGHT * (error - *rolling);
            }
        }
    }

    fn predict(&mut self, value: f64) {
        let answers = self.answers(value);
        let mut points = Vec::with_capacity(self.anchors.len() + 1);
        points.push((0, value));
        for (which, anchor) in self.anchors.iter().enumerate() {
            let weights = self.weigh(which, &answers);
            let mean = weights.iter().zip(&answers).filter_map(|(weight, of)| Some(weight * of[which]?)).sum();
            points.push((*anchor, mean));
            self.weights = weights;
        }
        self.mean = interpolate(&points, self.horizon);
        self.paths.forecast(value, self.mean.clone());
        if self.pending.len() >= self.horizon {
            self.pending.pop_front();
        }
        self.pending.push_back(answers);
    }

    /// Every expert's answers at the anchors, none below zero.
    fn answers(&self, value: f64) -> Answers {
        let at_anchors = |path: &[f64]| -> Vec<Option<f64>> {
            let at = |anchor: &usize| path.get(anchor - 1).copied().filter(|v| v.is_finite()).map(|v| v.max(0.0));
            self.anchors.iter().map(at).collect()
        };
        let [holt, slow] = [&self.holt, &self.slow_holt].map(|holt| holt.path().take(self.horizon).collect::<Vec<_>>());
        let balance = self.balance.path(value, self.step_s).filter(|_| self.has_arrivals);
        let balance: Vec<f64> = balance.map_or(Vec::new(), |path| path.take(self.horizon).collect());
        let linear = (0..self.anchors.len()).map(|which| self.linear.predict(which).map(|v| v.max(0.0)));
        [
            vec![Some(value); self.anchors.len()],
            at_anchors(&holt),
            at_anchors(&slow),
            at_anchors(&balance),
            linear.collect(),
        ]
    }

    /// Weights at one anchor: by the mean, over this anchor and the nearer ones, of each expert's rolling error
    /// relative to the best there.
    ///
    /// The nearer anchors answer for the far ones because their errors are known sooner: when a ramp begins, the error
    /// at 60 cycles is known after 60 cycles, that at 5 after 5.
    fn weigh(&self, which: usize, answers: &Answers) -> [f64; EXPERTS.len()] {
        let mut weights = [0.0; EXPERTS.len()];
        for (expert, weight) in weights.iter_mut().enumerate() {
            if answers[expert][which].is_none() {
                continue;
            }
            let (mut sum, mut count) = (0.0, 0.0);
            for anchor in 0..=which {
                let best = self.errors.iter().filter_map(|errors| errors[anchor]).fold(f64::INFINITY, f64::min);
                let Some(error) = self.errors[expert][anchor].filter(|_| best.is_finite()) else { continue };
                // One connection is no error worth ranking by.
                sum += (error + 0.1) / (best + 0.1);
                count += 1.0;
            }
            *weight = if count > 0.0 { (sum / count).max(1e-3).powi(-ERROR_POWER) } else { 1e-3 };
        }
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum.max(f64::MIN_POSITIVE));
        weights
    }
}

/// Straight lines between `(step, value)` points, steps 1 to `horizon`.
fn interpolate(points: &[(usize, f64)], horizon: usize) -> Vec<f64> {
    let mut path = Vec::with_capacity(horizon);
    for pair in points.windows(2) {
        let ((from, low), (to, high)) = (pair[0], pair[1]);
        for step in from + 1..=to {
            let part = (step - from) as f64 / (to - from) as f64;
            path.push(low + part * (high - low));
        }
    }
    path
}

#[cfg(test)]
mod series_tests;
#[cfg(test)]
mod tests;
