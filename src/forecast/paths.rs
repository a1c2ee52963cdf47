//! Past forecasts held against what came: residual paths, bands and breach probability.

use std::collections::VecDeque;

/// Residual paths used: the newest ones, complete or not.
pub(super) const PATHS: usize = 120;

/// One past forecast and how far off it was.
#[derive(Clone, Debug)]
struct Origin {
    value: f64,
    mean: Vec<f64>,
    /// Measured less forecast at steps 1, 2, …, as far as they have come.
    residuals: Vec<f64>,
}

/// The newest [`PATHS`] forecasts of one router.
#[derive(Clone, Debug)]
pub(super) struct ResidualPaths {
    horizon: usize,
    origins: VecDeque<Origin>,
}

/// Chance and time of a breach.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Breach {
    pub(super) probability: f64,
    /// Median over the paths that get there, in steps.
    pub(super) steps: Option<usize>,
}

impl ResidualPaths {
    pub(super) fn new(horizon: usize) -> Self {
        Self { horizon, origins: VecDeque::with_capacity(PATHS) }
    }

    /// Takes the next measured value into every forecast that still waits for it.
    pub(super) fn measured(&mut self, value: f64) {
        let horizon = self.horizon;
        for origin in self.origins.iter_mut().rev().take(horizon) {
            let step = origin.residuals.len();
            if let Some(mean) = origin.mean.get(step) {
                origin.residuals.push(value - mean);
            }
        }
    }

    pub(super) fn forecast(&mut self, value: f64, mean: Vec<f64>) {
        if self.origins.len() >= PATHS {
            self.origins.pop_front();
        }
        self.origins.push_back(Origin { value, mean, residuals: Vec::with_capacity(self.horizon) });
    }

    /// Forecasts waiting for values that will never come (a gap) are cut short.
    pub(super) fn interrupt(&mut self) {
        for origin in &mut self.origins {
            origin.mean.truncate(origin.residuals.len());
        }
        self.origins.retain(|origin| !origin.residuals.is_empty());
    }

    /// Paths with at least one residual.
    pub(super) fn len(&self) -> usize {
        self.origins.iter().filter(|origin| !origin.residuals.is_empty()).count()
    }

    /// Residual paths over the whole horizon, scaled to the present level.
    ///
    /// Counts vary with the square root of their mean, so a residual seen at 100 counts double at 400. A path that is
    /// not complete yet is continued from its last residual as a random walk would grow, with the root of the time:
    /// waiting for complete ones would blind the forecast to the last minute, which is the one that matters.
    pub(super) fn paths(&self, level: f64) -> impl Iterator<Item = impl Iterator<Item = f64> + '_> + '_ {
        self.origins.iter().filter(|origin| !origin.residuals.is_empty()).map(move |origin| {
            let scale = ((level.max(0.0) + 1.0) / (origin.value.max(0.0) + 1.0)).sqrt().clamp(0.25, 4.0);
            let known = origin.residuals.len();
            let last = origin.residuals[known - 1];
            (0..self.horizon).map(move |step| match origin.residuals.get(step) {
                Some(residual) => residual * scale,
                None => last * scale * ((step + 1) as f64 / known as f64).sqrt(),
            })
        })
    }

    /// Share of the paths that exceed `limit` at any step, and the median first step (from 1) of those that do.
    pub(super) fn breach(&self, level: f64, mean: &[f64], limit: f64) -> Breach {
        let (mut count, mut first_steps) = (0usize, Vec::new());
        for path in self.paths(level) {
            count += 1;
            let crosses = path.zip(mean).position(|(residual, mean)| mean + residual > limit);
            first_steps.extend(crosses.map(|step| step + 1));
        }
        if count == 0 || first_steps.is_empty() {
            return Breach::default();
        }
        let probability = first_steps.len() as f64 / count as f64;
        let middle = first_steps.len() / 2;
        let (_, median, _) = first_steps.select_nth_unstable(middle);
        Breach { probability, steps: Some(*median) }
    }

    /// The residuals that a tenth of the paths lie below, and a tenth above, at each step.
    pub(super) fn bands(&self, level: f64) -> (Vec<f64>, Vec<f64>) {
        let mut by_step = vec![Vec::with_capacity(self.origins.len()); self.horizon];
        for path in self.paths(level) {
            by_step.iter_mut().zip(path).for_each(|(step, residual)| step.push(residual));
        }
        by_step.iter_mut().map(|residuals| (quantile(residuals, 0.1), quantile(residuals, 0.9))).unzip()
    }
}

/// Empirical quantile with the usual correction for small samples: of few residuals, the extreme one.
fn quantile(values: &mut [f64], part: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let count = values.len() as f64;
    let rank = if part < 0.5 { (part * (count + 1.0)).floor() - 1.0 } else { (part * (count + 1.0)).ceil() - 1.0 };
    let rank = rank.clamp(0.0, count - 1.0) as usize;
    *values.select_nth_unstable_by(rank, f64::total_cmp).1
}
