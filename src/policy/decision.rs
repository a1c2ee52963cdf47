//! What was decided for a router in one cycle, and why: the record that REST, log and replay show.

use serde::{Deserialize, Serialize};

pub use crate::forecast::Forecast;
pub use crate::telemetry::Load;

use crate::plan::Generation;
use crate::types::{NodeId, Timestamp};

/// Everything that went into one router's decision of one cycle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterDecision {
    pub router: NodeId,
    pub at: Timestamp,
    pub load: Load,
    pub capacity: u32,
    pub threshold_available: u32,
    /// `None` while there is too little history.
    pub forecast: Option<Forecast>,
    /// In [0, 5].
    pub prediction_severity: f64,
    /// In [0, 5].
    pub anomaly_severity: f64,
    /// Available connections are below the threshold now.
    pub crossed: bool,
    /// What the shift formula asks for, percent of new connections; 0 where no signal holds.
    pub wanted_percent: f64,
    /// What is in force after ramp, restore, hold-down and the shadows' headroom.
    pub shift_percent: f64,
    /// Part of `wanted_percent` that fits on no shadow.
    pub unplaced_percent: f64,
    pub phase: ShiftPhase,
    pub shadows: Vec<ShadowChoice>,
    /// Sentences, most important first.
    pub reasons: Vec<String>,
    /// Generation of the plan that carries this decision.
    pub generation: Generation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShiftPhase {
    #[default]
    Idle,
    Ramping,
    Holding,
    Restoring,
}

/// One shadow of a router, and what it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShadowChoice {
    pub router: NodeId,
    /// Share of the shifted connections, the shares of a router's shadows add up to 1.
    pub share: f64,
    /// Lower is better.
    pub score: f64,
    pub latency_us: u32,
    pub headroom: f64,
    pub reason: String,
}
