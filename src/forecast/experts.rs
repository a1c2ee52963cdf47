//! Two small experts of a router's occupancy: damped Holt, and the balance of arrivals and departures.

use super::Sample;
use crate::telemetry::Residence;

/// Level and damped trend (Holt 1957; Gardner and McKenzie 1985).
#[derive(Clone, Debug)]
pub(super) struct DampedHolt {
    alpha: f64,
    beta: f64,
    phi: f64,
    level: f64,
    trend: f64,
    samples: u32,
}

impl DampedHolt {
    /// `alpha` and `beta` weigh the newest sample in level and trend, `phi` damps the trend at each step ahead.
    pub(super) fn new(alpha: f64, beta: f64, phi: f64) -> Self {
        Self { alpha, beta, phi, level: 0.0, trend: 0.0, samples: 0 }
    }

    pub(super) fn observe(&mut self, value: f64) {
        match self.samples {
            0 => self.level = value,
            _ => {
                let expected = self.level + self.phi * self.trend;
                let level = expected + self.alpha * (value - expected);
                self.trend = self.phi * self.trend + self.beta * (level - self.level - self.phi * self.trend);
                self.level = level;
            }
        }
        self.samples = self.samples.saturating_add(1);
    }

    pub(super) fn level(&self) -> f64 {
        self.level
    }

    /// Values 1, 2, … steps ahead.
    pub(super) fn path(&self) -> impl Iterator<Item = f64> + '_ {
        let mut ahead = self.level;
        let mut trend = self.trend;
        std::iter::repeat_with(move || {
            trend *= self.phi;
            ahead += trend;
            ahead
        })
    }
}

/// Where the balance of arrivals and departures takes the table.
///
/// With arrivals of `a` a second and a mean time `w` in the table, occupancy obeys `dn/dt = a - n / w` and heads for
/// `a w` (Little's law) long before it gets there: a flash crowd shows in `a` first. Demand is continued by a damped
/// trend of its own and then divided as the present shift does, so that a change of the shift is no trend.
#[derive(Clone, Debug)]
pub(super) struct Balance {
    /// Demand, as if nothing were shifted.
    demand: DampedHolt,
    /// Part of the demand that the present shift leaves here, and arrivals taken for others.
    kept: f64,
    inbound_per_s: f64,
    residence: Residence,
}

impl Default for Balance {
    fn default() -> Self {
        Self {
            demand: DampedHolt::new(0.2, 0.06, 0.97),
            kept: 1.0,
            inbound_per_s: 0.0,
            residence: Residence::default(),
        }
    }
}

impl Balance {
    pub(super) fn observe(&mut self, sample: &Sample, seconds: f64) {
        self.demand.observe(sample.demand_per_s);
        self.kept = sample.kept;
        self.inbound_per_s = sample.inbound_per_s;
        self.residence.observe(sample.occupied, sample.new_per_s, seconds);
    }

    pub(super) fn interrupt(&mut self) {
        self.residence.interrupt();
    }

    /// What the table is heading for at the present rate; `None` before the residence time is known.
    pub(super) fn heading_for(&self) -> Option<f64> {
        Some((self.demand.level.max(0.0) * self.kept + self.inbound_per_s) * self.residence.seconds()?)
    }

    pub(super) fn residence_s(&self) -> Option<f64> {
        self.residence.seconds()
    }

    /// Occupancy 1, 2, … steps of `step_s` seconds ahead.
    pub(super) fn path(&self, occupied: f64, step_s: f64) -> Option<impl Iterator<Item = f64> + '_> {
        let leaving = 1.0 - (-step_s / self.residence.seconds()?).exp();
        let per_step = self.residence.seconds()? * leaving;
        let mut ahead = occupied;
        Some(self.demand.path().map(move |demand| {
            let arrivals = demand.max(0.0) * self.kept + self.inbound_per_s;
            ahead += arrivals * per_step - ahead * leaving;
            ahead
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holt_follows_a_line_and_damps() {
        let mut holt = DampedHolt::new(0.5, 0.2, 0.9);
        (0..300).for_each(|t| holt.observe(100.0 + 2.0 * f64::from(t)));
        let path: Vec<f64> = holt.path().take(200).collect();
        assert!(path[0] > 695.0 && path[0] < 702.0, "{}", path[0]);
        assert!(path[199] - path[198] < 1e-6, "the trend dies out");
    }

    #[test]
    fn balance_heads_for_little() {
        let mut balance = Balance::default();
        let mut occupied = 0.0;
        for _ in 0..600 {
            occupied += 50.0 - occupied / 8.0;
            balance.observe(&Sample::new(occupied, 50.0), 1.0);
        }
        let far = balance.path(occupied, 1.0).and_then(|mut path| path.nth(59)).expect("residence known");
        assert!((far - 400.0).abs() < 10.0, "{far}");
        let from_empty = balance.path(0.0, 1.0).and_then(|mut path| path.nth(7)).expect("residence known");
        assert!((from_empty - 400.0 * (1.0 - (-1.0f64).exp())).abs() < 20.0, "{from_empty}");
    }
}
