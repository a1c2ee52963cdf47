//! Surges: demand that rises faster than this router's slow course explains.
//!
//! Each sample is compared with a slow baseline that follows level and trend, in units of a robust spread. One extreme
//! sample is no surge; evidence is summed (CUSUM), decays while samples are ordinary, and an alarm holds while the sum
//! is above its bound. State is a handful of numbers whatever the rate.

use serde::{Deserialize, Serialize};

/// Samples before anything is judged.
const WARM_UP: u32 = 20;
/// Weight of the newest sample in the baseline's level once warmed up: about the last 130 samples count.
const LEVEL_WEIGHT: f64 = 0.015;
/// Weight of the newest sample in the baseline's trend: an order slower than the level.
const TREND_WEIGHT: f64 = 0.002;
/// While an alarm holds the baseline learns so much more slowly: a surge must not become normal while it lasts, but a
/// load that stays does in the end.
const ALARM_LEARNING: f64 = 0.1;
/// Mean absolute deviation of a normal variable, as a part of its standard deviation, inverted.
const MAD_TO_SIGMA: f64 = 1.2533;
/// Deviations up to this many sigmas are ordinary and lower the sum.
const ORDINARY_SIGMA: f64 = 1.0;
/// One sample counts for at most so many sigmas, so that it cannot raise an alarm alone.
const SAMPLE_SIGMA_MAX: f64 = 6.0;
/// An alarm holds while the sum is above this ...
const ALARM_SUM: f64 = 12.0;
/// ... which it may exceed by no more than this, so that the alarm ends soon after the surge.
const SUM_MAX: f64 = 24.0;
/// Demand must stand this part above its baseline: a small rise of a large steady load is significant, not alarming.
const RISE_MIN: f64 = 0.3;
/// Severities below this are no alarm: the least shift is 10 percent, too much for a doubt.
const SEVERITY_MIN: f64 = 0.5;
/// Weight of the newest sample in the recent mean.
const RECENT_WEIGHT: f64 = 0.3;

/// What one sample showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Surge {
    /// In [0, 5]; above 0 while an alarm holds.
    pub severity: f64,
    /// This sample's deviation in robust standard deviations.
    pub sigma: f64,
    /// What the baseline expected.
    pub expected: f64,
    /// Mean of the last few samples.
    pub recent: f64,
}

/// Surge detector on one series of non-negative samples, one a cycle.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Detector {
    samples: u32,
    level: f64,
    trend: f64,
    /// Mean absolute deviation from the baseline.
    spread: f64,
    recent: f64,
    sum: f64,
}

impl Detector {
    /// `floor` is the least standard deviation to believe in; the square root of the baseline (Poisson arrivals) is
    /// one more.
    pub fn observe(&mut self, value: f64, floor: f64) -> Surge {
        if !value.is_finite() {
            return Surge::default();
        }
        if self.samples == 0 {
            (self.level, self.recent) = (value, value);
        }
        self.samples = self.samples.saturating_add(1);
        let expected = (self.level + self.trend).max(0.0);
        let scale = (self.spread * MAD_TO_SIGMA).max(expected.sqrt()).max(floor).max(1e-9);
        let sigma = (value - expected) / scale;
        self.recent += RECENT_WEIGHT * (value - self.recent);
        let alarm = self.judge(sigma);
        self.learn(value, expected, scale, alarm);
        let severity = if alarm { severity((self.recent - expected) / scale, self.recent / expected) } else { 0.0 };
        Surge { severity, sigma, expected, recent: self.recent }
    }

    fn judge(&mut self, sigma: f64) -> bool {
        if self.samples <= WARM_UP {
            return false;
        }
        self.sum = (self.sum + sigma.min(SAMPLE_SIGMA_MAX) - ORDINARY_SIGMA).clamp(0.0, SUM_MAX);
        self.sum > ALARM_SUM
    }

    fn learn(&mut self, value: f64, expected: f64, scale: f64, alarm: bool) {
        let warming = 1.0 / f64::from(self.samples.min(1_000_000));
        let weight = LEVEL_WEIGHT.max(warming) * if alarm { ALARM_LEARNING } else { 1.0 };
        // A deviation counts for at most three sigmas, in level and spread alike: outliers do not drag the baseline.
        let bounded = if self.samples <= WARM_UP {
            value - expected
        } else {
            (value - expected).clamp(-3.0 * scale, 3.0 * scale)
        };
        let before = self.level;
        self.level = (expected + weight * bounded).max(0.0);
        if self.samples > WARM_UP && !alarm {
            self.trend += TREND_WEIGHT * (self.level - before - self.trend);
        }
        self.spread += weight * (bounded.abs() - self.spread);
    }
}

/// Severity in [0, 5]: the lesser of `(sigmas - 2) / 2`, so that 12 sigmas are 5, and `5 (ratio - 1.3) / 0.7`, so that
/// demand must have doubled for a 5. Both have to agree: sure, and large. Under 0.5 it is 0.
pub fn severity(sigmas: f64, ratio: f64) -> f64 {
    let sure = (sigmas - 2.0) / 2.0;
    let large = if ratio.is_nan() { 0.0 } else { 5.0 * (ratio - 1.0 - RISE_MIN) / (1.0 - RISE_MIN) };
    let lesser = sure.min(large).min(5.0);
    if lesser >= SEVERITY_MIN { lesser } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Poisson};

    use super::*;

    fn alarms(rate: impl Fn(usize) -> f64, samples: usize, seed: u64) -> Vec<(usize, f64)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut detector = Detector::default();
        (0..samples)
            .filter_map(|t| {
                let value = Poisson::new(rate(t).max(1e-6)).expect("positive rate").sample(&mut rng);
                let surge = detector.observe(value, 1.0);
                (surge.severity > 0.0).then_some((t, surge.severity))
            })
            .collect()
    }

    #[test]
    fn a_daily_wave_is_no_alarm() {
        for (seed, mean) in (0..10).zip([2.0, 5.0, 20.0, 80.0, 300.0].into_iter().cycle()) {
            let wave = |t: usize| mean * (1.0 - 0.6 * (t as f64 / 7_200.0 * std::f64::consts::TAU).cos());
            let found = alarms(wave, 14_400, seed);
            assert!(found.is_empty(), "mean {mean}, seed {seed}: {:?}", &found[..found.len().min(5)]);
        }
    }

    #[test]
    fn a_surge_is_seen_within_seconds_and_ends() {
        for seed in 0..10 {
            let rate = |t: usize| if (1_000..1_060).contains(&t) { 60.0 } else { 20.0 };
            let found = alarms(rate, 2_000, seed);
            let first = found.first().expect("surge seen").0;
            let last = found.last().expect("surge seen").0;
            assert!((1_000..1_008).contains(&first), "seed {seed}: first at {first}");
            assert!(last < 1_080, "seed {seed}: last at {last}");
            assert!(found.iter().any(|(_, severity)| *severity > 2.5), "seed {seed}");
        }
    }

    #[test]
    fn one_wild_sample_is_no_alarm() {
        let mut detector = Detector::default();
        for t in 0..2_000 {
            let value = if t % 100 == 99 { 1e9 } else { 50.0 };
            assert_eq!(detector.observe(value, 1.0).severity, 0.0, "sample {t}");
        }
    }

    #[test]
    fn severity_needs_both_strength_and_size() {
        let table = [
            (12.0, 2.0, 5.0),
            (12.0, 1.65, 2.5),
            (6.0, 4.0, 2.0),
            (2.5, 4.0, 0.0),
            (12.0, 1.3, 0.0),
            (99.0, 99.0, 5.0),
        ];
        for (sigmas, ratio, expected) in table {
            assert!((severity(sigmas, ratio) - expected).abs() < 1e-9, "{sigmas} {ratio}");
        }
    }

    proptest! {
        #[test]
        fn any_series_gives_bounded_severity(values in prop::collection::vec(any::<f64>(), 1..200)) {
            let mut detector = Detector::default();
            for value in values {
                let surge = detector.observe(value.abs().min(1e300), 1.0);
                prop_assert!((0.0..=5.0).contains(&surge.severity));
                prop_assert!(surge.expected.is_finite() && surge.recent.is_finite());
            }
        }
    }
}
