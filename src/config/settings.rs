//! The controller's own settings.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What `run --config FILE` reads; every key has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Path of the topology file, relative to this file; without one the fabric is found out.
    #[serde(default)]
    pub topology: Option<PathBuf>,
    #[serde(default = "default_openflow")]
    pub openflow_listen: SocketAddr,
    #[serde(default = "default_http")]
    pub http_listen: SocketAddr,
    #[serde(default)]
    pub p4runtime: P4RuntimeSettings,
    #[serde(default, rename = "loop")]
    pub cycle: LoopSettings,
}

/// Sessions with P4Runtime switches (docs/P4RUNTIME.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct P4RuntimeSettings {
    /// Of several controllers of a switch the one with the highest is its primary.
    pub election_id: u64,
    /// `None`: the default role, which may do everything.
    pub role: Option<String>,
}

impl Default for P4RuntimeSettings {
    fn default() -> Self {
        Self { election_id: 1, role: None }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            topology: None,
            openflow_listen: default_openflow(),
            http_listen: default_http(),
            p4runtime: P4RuntimeSettings::default(),
            cycle: LoopSettings::default(),
        }
    }
}

fn default_openflow() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 6653))
}

fn default_http() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

/// The forecast-to-shift loop (docs/SHIFT.md, docs/FORECAST.md).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoopSettings {
    pub cycle_ms: u64,
    pub policy: PolicyKind,
    /// Forecast horizon in cycles.
    pub horizon_cycles: u32,
    /// A breach is predicted when its probability within the horizon reaches this.
    pub breach_probability: f64,
    /// Most percentage points a shift that follows a forecast grows in one cycle.
    pub ramp_step_percent: f64,
    /// Percentage points given back in one cycle once neither signal holds.
    pub restore_step_percent: f64,
    /// Cycles without a signal before anything is given back.
    pub hold_down_cycles: u32,
    /// Shadows wanted for each router.
    pub shadows_max: usize,
    /// Interval of LLDP probes on every fabric port.
    pub lldp_interval_ms: u64,
    /// How often what shadows hold is compared with what their router holds; 0: connections are not replicated.
    pub replication_interval_ms: u64,
    /// The controller file has a section of its own for it.
    pub failover: FailoverSettings,
}

/// How failures are found, and how a router comes back (docs/FAILOVER.md).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FailoverSettings {
    /// How often each first-stage router is probed; 0: not at all.
    pub probe_interval_ms: u64,
    /// Probes in a row without an answer over any link that make a failure.
    pub probe_misses: u32,
    /// For routers that answer through their session alone: how long it may be gone.
    pub session_grace_ms: u64,
    /// How long a router must look healthy before its state is brought back; doubled by each failure soon after another.
    pub hold_down_ms: u64,
    /// Part of its share of new connections that a router is given more of in each cycle after its return.
    pub ramp_step_percent: f64,
}

impl Default for FailoverSettings {
    fn default() -> Self {
        Self {
            probe_interval_ms: 200,
            probe_misses: 3,
            session_grace_ms: 1_000,
            hold_down_ms: 3_000,
            ramp_step_percent: 10.0,
        }
    }
}

impl Default for LoopSettings {
    fn default() -> Self {
        Self {
            cycle_ms: 1_000,
            policy: PolicyKind::Predictive,
            horizon_cycles: 60,
            breach_probability: 0.5,
            ramp_step_percent: 10.0,
            restore_step_percent: 1.0,
            hold_down_cycles: 30,
            shadows_max: 3,
            lldp_interval_ms: 5_000,
            replication_interval_ms: 5_000,
            failover: FailoverSettings::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// Forecast, anomaly and measured crossing.
    Predictive,
    /// The same law and cycle, from the measured crossing only.
    Reactive,
    /// Base shares, never shifted.
    Static,
    /// Forecast and measured crossing, without the surge detector; for replays.
    PredictiveNoAnomaly,
    /// The same law fed the true future instead of a forecast; for replays, which know it.
    Oracle,
}

impl PolicyKind {
    /// Whether the future has a say: forecast, or known.
    pub fn looks_ahead(self) -> bool {
        matches!(self, Self::Predictive | Self::PredictiveNoAnomaly | Self::Oracle)
    }

    /// The name that files and people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Predictive => "predictive",
            Self::Reactive => "reactive",
            Self::Static => "static",
            Self::PredictiveNoAnomaly => "predictive-no-anomaly",
            Self::Oracle => "oracle",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "predictive" => Some(Self::Predictive),
            "reactive" => Some(Self::Reactive),
            "static" => Some(Self::Static),
            _ => None,
        }
    }
}
