//! A switch to have sessions with, and what sessions are set to.

use std::sync::Arc;
use std::time::Duration;

use super::collect::P4CollectSettings;
use super::install::P4InstallSettings;
use super::pipeline::Pipeline;
use super::program::ProgramSettings;
use crate::types::{DatapathId, PortNo};

/// A switch to have a session with.
#[derive(Clone, Debug)]
pub struct Device {
    /// By which the controller knows it.
    pub datapath: DatapathId,
    /// By which the switch knows it.
    pub id: u64,
    /// Host and port of its gRPC server.
    pub address: String,
    /// P4Runtime does not tell what ports there are.
    pub ports: Vec<PortNo>,
    pub pipeline: Arc<dyn Pipeline>,
}

/// Time-outs and bounds of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct P4SessionSettings {
    /// For the first word of the switch on who is primary, and for its version.
    pub handshake_timeout: Duration,
    /// How often the switch is asked for a sign of life, which measures the round trip.
    pub echo_interval: Duration,
    /// Without an answer for so long it is dead.
    pub echo_timeout: Duration,
    /// A switch that refuses writes has so long to say who is primary instead.
    pub denied_timeout: Duration,
    pub program: ProgramSettings,
    pub install: P4InstallSettings,
    pub collect: P4CollectSettings,
}

impl Default for P4SessionSettings {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            echo_interval: Duration::from_secs(5),
            echo_timeout: Duration::from_secs(5),
            denied_timeout: Duration::from_secs(5),
            program: ProgramSettings::default(),
            install: P4InstallSettings::default(),
            collect: P4CollectSettings::default(),
        }
    }
}
