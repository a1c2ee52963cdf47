//! Direct linear expert: one elastic net for each anchor step, on differences, balance and time of day.
//!
//! Targets and features are changes relative to the present value, so that nothing has to be learned about the level
//! and columns are far from collinear (coordinate descent crawls on raw lags).

use std::collections::VecDeque;

use linfa::prelude::{Dataset, Fit, ParamGuard};
use linfa_elasticnet::ElasticNet;
use ndarray::{Array1, Array2};

/// Features of a row that do not depend on the step ahead.
pub(super) const FEATURES: usize = 10;
/// Changes against so many samples ago.
pub(super) const LAGS: [usize; 6] = [1, 2, 3, 5, 10, 30];
/// Rows kept, and the most that a fit sees: four minutes of one-second cycles, four hours of minutes.
pub(super) const ROWS: usize = 240;
/// Fewer rows than this fit nothing; an anchor further ahead needs two more a step, because rows whose futures overlap
/// say the same.
const ROWS_MIN: usize = 40;
const PENALTY: f64 = 0.01;
const L1_RATIO: f64 = 0.2;
/// Bounds the cost of a fit: 240 rows x 11 columns x 40 sweeps are about 0.2 ms.
const SWEEPS_MAX: u32 = 40;
const TOLERANCE: f64 = 1e-3;
/// A prediction may change the value by at most so many times the largest change seen in the fit.
const EXTRAPOLATION_MAX: f64 = 1.5;

/// What was known at one moment.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) value: f64,
    pub(super) features: [f64; FEATURES],
    /// Change of the daily profile from then to each anchor, 0 where no profile is known.
    pub(super) profile: Vec<f64>,
}

#[derive(Clone, Debug)]
struct Fitted {
    weights: [f64; FEATURES + 1],
    intercept: f64,
    change_max: f64,
}

#[derive(Clone, Debug)]
pub(super) struct LinearExpert {
    anchors: Vec<usize>,
    rows: VecDeque<Row>,
    fitted: Vec<Option<Fitted>>,
    next_fit: usize,
}

impl LinearExpert {
    /// `anchors`: steps ahead for which a model of its own is fitted, rising.
    pub(super) fn new(anchors: &[usize]) -> Self {
        let rows_max = ROWS + anchors.last().copied().unwrap_or(0);
        Self {
            anchors: anchors.to_vec(),
            rows: VecDeque::with_capacity(rows_max),
            fitted: vec![None; anchors.len()],
            next_fit: 0,
        }
    }

    pub(super) fn observe(&mut self, row: Row) {
        let rows_max = ROWS + self.anchors.last().copied().unwrap_or(0);
        if self.rows.len() >= rows_max {
            self.rows.pop_front();
        }
        self.rows.push_back(row);
    }

    /// Forgets the rows (a gap), keeps the fits.
    pub(super) fn interrupt(&mut self) {
        self.rows.clear();
    }

    /// Refits the next anchor in turn: the cost of a cycle is that of one fit, whatever the horizon.
    pub(super) fn refit_next(&mut self) {
        if self.anchors.is_empty() {
            return;
        }
        let which = self.next_fit % self.anchors.len();
        self.next_fit = (which + 1) % self.anchors.len();
        if let Some(fitted) = self.fit(which) {
            self.fitted[which] = Some(fitted);
        }
    }

    /// Value at anchor `which` as seen from the newest row.
    pub(super) fn predict(&self, which: usize) -> Option<f64> {
        let row = self.rows.back()?;
        let fitted = self.fitted[which].as_ref()?;
        let inputs = row.features.iter().chain(row.profile.get(which));
        let change: f64 = fitted.intercept + fitted.weights.iter().zip(inputs).map(|(w, x)| w * x).sum::<f64>();
        let bound = EXTRAPOLATION_MAX * fitted.change_max;
        change.is_finite().then(|| row.value + change.clamp(-bound, bound))
    }

    fn fit(&self, which: usize) -> Option<Fitted> {
        let ahead = self.anchors[which];
        let usable = self.rows.len().checked_sub(ahead)?.min(ROWS);
        if usable < (ROWS_MIN + 2 * ahead).min(ROWS) {
            return None;
        }
        let first = self.rows.len() - ahead - usable;
        let pairs = || (first..first + usable).map(|at| (&self.rows[at], &self.rows[at + ahead]));
        let mut x = Array2::zeros((usable, FEATURES + 1));
        for (mut line, (row, _)) in x.rows_mut().into_iter().zip(pairs()) {
            let inputs = row.features.iter().chain(row.profile.get(which));
            line.iter_mut().zip(inputs).for_each(|(cell, input)| *cell = *input);
        }
        let y: Array1<f64> = pairs().map(|(row, later)| later.value - row.value).collect();
        let y_scale = rms(y.iter());
        let change_max = y.iter().fold(0.0, |max: f64, change| max.max(change.abs()));
        if !(y_scale.is_finite() && y_scale > 0.0) {
            return Some(Fitted { weights: [0.0; FEATURES + 1], intercept: 0.0, change_max: 0.0 });
        }
        // One scale a column: the penalty then means the same for each, whatever its unit.
        let scales: Vec<f64> = x.columns().into_iter().map(|column| rms(column.iter())).collect();
        let means: Vec<f64> = x.columns().into_iter().map(|column| column.sum() / usable as f64).collect();
        for ((mut column, scale), mean) in x.columns_mut().into_iter().zip(&scales).zip(&means) {
            column.mapv_inplace(|cell| if *scale > 0.0 { (cell - mean) / scale } else { 0.0 });
        }
        let params = ElasticNet::params()
            .penalty(PENALTY)
            .l1_ratio(L1_RATIO)
            .max_iterations(SWEEPS_MAX)
            .tolerance(TOLERANCE)
            .check()
            .ok()?;
        let model = params.fit(&Dataset::new(x, y / y_scale)).ok()?;
        let mut weights = [0.0; FEATURES + 1];
        for ((weight, fitted), scale) in weights.iter_mut().zip(model.hyperplane()).zip(&scales) {
            *weight = if *scale > 0.0 { fitted * y_scale / scale } else { 0.0 };
        }
        let shifted: f64 = weights.iter().zip(&means).map(|(weight, mean)| weight * mean).sum();
        let intercept = model.intercept() * y_scale - shifted;
        (intercept.is_finite() && weights.iter().all(|weight| weight.is_finite())).then_some(Fitted {
            weights,
            intercept,
            change_max,
        })
    }
}

fn rms<'a>(values: impl ExactSizeIterator<Item = &'a f64>) -> f64 {
    let count = values.len().max(1) as f64;
    (values.map(|value| value * value).sum::<f64>() / count).sqrt()
}
