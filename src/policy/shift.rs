//! How much of a router's new connections its shadows take (docs/SHIFT.md).
//!
//! The law is `min(50, max(10, (prediction_severity + anomaly_severity) * 10))` percent while a signal holds. A
//! prediction ramps towards it, an anomaly or a measured crossing jumps; when nothing has held for the hold-down, it is
//! given back a point a cycle. What the shadows cannot carry without crossing their own threshold is not sent.

use serde::{Deserialize, Serialize};

use super::decision::ShiftPhase;
use crate::config::LoopSettings;

/// Least and most a shift may be while a signal holds, percent of new connections.
pub const SHIFT_MIN_PERCENT: f64 = 10.0;
pub const SHIFT_MAX_PERCENT: f64 = 50.0;

/// Both severities lie in [0, this].
pub const SEVERITY_MAX: f64 = 5.0;

/// The law itself: percent of new connections to shift while a signal holds.
#[expect(clippy::manual_clamp, reason = "written as the requirement states it")]
pub fn law(prediction_severity: f64, anomaly_severity: f64) -> f64 {
    let severity = bounded(prediction_severity) + bounded(anomaly_severity);
    f64::min(SHIFT_MAX_PERCENT, f64::max(SHIFT_MIN_PERCENT, severity * 10.0))
}

/// Severity of a forecast: `5 p (1 - t / 2H)`, where `p` is the probability of a breach within the horizon `H` and `t`
/// the median time to it. 0 below `breach_probability`: the forecast is then no signal.
///
/// A sure breach now is 5, a sure breach at the end of the horizon 2.5: there is time, and the ramp uses it.
pub fn prediction_severity(probability: f64, breach_in_s: Option<f64>, horizon_s: f64, needed: f64) -> f64 {
    if !(probability.is_finite() && probability > 0.0 && probability >= needed) {
        return 0.0;
    }
    let time = breach_in_s.filter(|time| time.is_finite()).unwrap_or(horizon_s);
    let share = if horizon_s > 0.0 { (time / horizon_s).clamp(0.0, 1.0) } else { 0.0 };
    bounded(SEVERITY_MAX * probability.min(1.0) * (1.0 - share / 2.0))
}

fn bounded(severity: f64) -> f64 {
    if severity.is_nan() { 0.0 } else { severity.clamp(0.0, SEVERITY_MAX) }
}

/// What a router's signals say in one cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// In [0, 5]; above 0 it holds.
    pub prediction_severity: f64,
    /// In [0, 5]; above 0 it holds.
    pub anomaly_severity: f64,
    /// Available connections are below the threshold now: a breach of severity 5.
    pub crossed: bool,
}

impl Signals {
    pub fn hold(&self) -> bool {
        self.crossed || self.prediction_severity > 0.0 || self.anomaly_severity > 0.0
    }

    /// What the law asks for; 0 where no signal holds.
    pub fn wanted_percent(&self) -> f64 {
        let prediction = if self.crossed { SEVERITY_MAX } else { self.prediction_severity };
        if self.hold() { law(prediction, self.anomaly_severity) } else { 0.0 }
    }
}

/// Shift of one router from cycle to cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShiftState {
    /// In force, percent.
    pub percent: f64,
    pub phase: ShiftPhase,
    /// Cycles since a signal last held.
    pub quiet_cycles: u32,
}

impl ShiftState {
    /// What one cycle's signals make of the shift, before the shadows are asked what they can carry.
    ///
    /// While a signal holds the shift never falls, even if the severity does: a severity that wavers must not make the
    /// weights waver.
    #[must_use]
    pub fn next(self, signals: &Signals, settings: &LoopSettings) -> Self {
        if signals.hold() {
            let wanted = signals.wanted_percent();
            let jump = signals.crossed || signals.anomaly_severity > 0.0;
            let step = if jump { f64::INFINITY } else { settings.ramp_step_percent.max(0.0) };
            let percent = wanted.min(self.percent + step).max(self.percent);
            let phase = if percent < wanted { ShiftPhase::Ramping } else { ShiftPhase::Holding };
            return Self { percent, phase, quiet_cycles: 0 };
        }
        let quiet_cycles = self.quiet_cycles.saturating_add(1);
        if self.percent <= 0.0 {
            return Self { percent: 0.0, phase: ShiftPhase::Idle, quiet_cycles };
        }
        if quiet_cycles <= settings.hold_down_cycles {
            return Self { phase: ShiftPhase::Holding, quiet_cycles, ..self };
        }
        let percent = (self.percent - settings.restore_step_percent.max(0.0)).max(0.0);
        let phase = if percent > 0.0 { ShiftPhase::Restoring } else { ShiftPhase::Idle };
        Self { percent, phase, quiet_cycles }
    }
}

/// How a shift is divided among shadows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// Share of each shadow, in the order given; they add up to 1, or are all 0 where nothing fits.
    pub shares: Vec<f64>,
    /// Percent that fits, at most what was asked.
    pub percent: f64,
    /// Percent that fits nowhere.
    pub unplaced_percent: f64,
    /// Even spread would have overloaded a shadow.
    pub uneven: bool,
}

/// Divides `percent` of a demand of `demand` standing connections among shadows with this much headroom (connections
/// they can hold before their own threshold).
///
/// Evenly where that overloads nobody, otherwise in proportion to headroom, which overloads nobody as long as the
/// whole fits; what does not fit is left unplaced.
pub fn place(demand: f64, percent: f64, headroom: &[f64]) -> Placement {
    let room: Vec<f64> = headroom.iter().map(|room| if room.is_finite() { room.max(0.0) } else { 0.0 }).collect();
    let total: f64 = room.iter().sum();
    let demand = if demand.is_finite() { demand.max(0.0) } else { 0.0 };
    let percent = if percent.is_finite() { percent.clamp(0.0, 100.0) } else { 0.0 };
    if total <= 0.0 || percent <= 0.0 {
        return Placement { shares: vec![0.0; room.len()], percent: 0.0, unplaced_percent: percent, uneven: false };
    }
    let moved = demand * percent / 100.0;
    let open = room.iter().filter(|room| **room > 0.0).count() as f64;
    if open == room.len() as f64 && room.iter().all(|room| moved / open <= *room) {
        let shares = vec![1.0 / open; room.len()];
        return Placement { shares, percent, unplaced_percent: 0.0, uneven: false };
    }
    let fits = if moved > total { total / demand * 100.0 } else { percent };
    let shares = room.iter().map(|room| room / total).collect();
    Placement { shares, percent: fits, unplaced_percent: percent - fits, uneven: true }
}

#[cfg(test)]
#[path = "shift_tests.rs"]
mod tests;
