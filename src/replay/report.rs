//! What a replay comes to.

use serde::Serialize;

use super::score::{Point, Sample};
use crate::config::PolicyKind;

/// One policy's figures. Times are traffic seconds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub policy: PolicyKind,
    pub seed: u64,
    pub refused_connections: u64,
    pub broken_connections: u64,
    pub established_moved: u64,
    /// Time in which some router had fewer connections available than its threshold, in whole cycles.
    pub overload_seconds: f64,
    /// The same, summed over routers.
    pub overload_router_seconds: f64,
    pub lead_time_s: f64,
    pub false_shifts: u64,
    pub shift_churn: f64,
    pub new_connections: u64,
    /// What the same traffic refuses without a shift.
    pub refused_unshifted: u64,
    /// New connections that went to another router than the one they would have chosen.
    pub shifted_connections: u64,
    /// Of the refused: those that came while their router was down and nobody stood in.
    pub unreachable_connections: u64,
    pub shifts: u64,
    /// Days of traffic, each router's counted by itself; the last may be shorter.
    pub days: u64,
    /// Those on which the router would not have crossed its threshold.
    pub quiet_days: u64,
    /// False shifts that began on them.
    pub quiet_day_shifts: u64,
    /// Records of opened and closed connections to every shadow, as bytes; an estimate (docs/REPLAY.md).
    pub replication_bytes: u64,
    /// Least that a router which took shifted connections was from its threshold; negative where it crossed it.
    pub worst_shadow_headroom: i64,
    pub peak_active: u64,
    pub cycle_s: f64,
    pub horizon_s: f64,
    pub cycles: u64,
    pub routers: Vec<RouterReport>,
    pub breaches: Vec<BreachReport>,
    #[serde(skip)]
    pub(super) points: Vec<Point>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct RouterReport {
    pub router: String,
    pub capacity: u32,
    pub threshold_available: u32,
    pub peak_occupied: u64,
    pub peak_occupied_unshifted: u64,
    pub refused: u64,
    pub refused_unshifted: u64,
    pub overload_seconds: f64,
    pub peak_shift_percent: f64,
    pub shifts: u64,
}

impl RouterReport {
    pub(super) fn take(&mut self, sample: &Sample, below: bool, cycle_s: f64) {
        self.peak_occupied = self.peak_occupied.max(sample.occupied);
        self.peak_occupied_unshifted = self.peak_occupied_unshifted.max(sample.unshifted);
        self.refused += sample.refused;
        self.refused_unshifted += sample.refused_unshifted;
        self.peak_shift_percent = self.peak_shift_percent.max(sample.shift_percent);
        if below {
            self.overload_seconds += cycle_s;
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BreachReport {
    pub router: String,
    /// When the router would have crossed its threshold had nothing been shifted.
    pub crossing_s: f64,
    /// When the shift that answers it began; -1 if there was none.
    pub first_shift_s: f64,
    /// Crossing less first shift; 0 if there was no shift.
    pub lead_s: f64,
}
