//! A v1model switch (BMv2's `simple_switch`) as a pure machine: frames, control calls and the time in, [`Emission`]s out.

pub mod control;

use std::sync::Arc;

use crate::fabric::p4::program::Program;
use crate::types::{PortNo, Timestamp};
use control::Key;

/// What a machine is beside its program.
#[derive(Clone, Debug, Default)]
pub struct MachineSettings {
    /// Ports with a wire. Frames for any other port are dropped.
    pub ports: Vec<PortNo>,
    /// The controller's port: always up.
    pub cpu_port: Option<PortNo>,
    /// What `random` starts from.
    pub seed: u64,
    /// When the switch started: the program's clock counts microseconds from here.
    pub started: Timestamp,
}

/// What comes out of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emission {
    /// A frame for a port that is up, or for the controller's port.
    Frame { port: PortNo, bytes: Vec<u8> },
    /// A digest, by the name of its P4Info entry, with its fields in order.
    Digest { name: Arc<str>, values: Vec<u128> },
    /// An entry was not hit for its time-out. It stays; it is told again every two seconds as long as it is not hit.
    IdleTimeout { table: Arc<str>, key: Key },
}

/// One switch that runs a program.
#[derive(Debug)]
pub struct Machine {
    program: Arc<Program>,
    settings: MachineSettings,
}

impl Machine {
    pub fn new(program: Arc<Program>, settings: MachineSettings) -> Self {
        Self { program, settings }
    }

    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Processes one frame and everything that follows from it (clones, recirculation).
    pub fn receive(&mut self, _port: PortNo, _frame: &[u8], _now: Timestamp) -> Vec<Emission> {
        Vec::new()
    }

    /// Lets time pass: tells idle entries. Call it once a second or so.
    pub fn advance(&mut self, _now: Timestamp) -> Vec<Emission> {
        Vec::new()
    }

    /// Whether a port's link is up. The ports of the settings start up.
    pub fn set_port(&mut self, _port: PortNo, _up: bool) {}

    pub fn is_up(&self, port: PortNo) -> bool {
        self.settings.ports.contains(&port)
    }
}
