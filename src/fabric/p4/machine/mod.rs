//! A v1model switch (BMv2's `simple_switch`) as a pure machine: frames, control calls and the time in, [`Emission`]s out.
//!
//! Where v1model leaves room, it does what `simple_switch` does: what a copy keeps, the order of clone, digest, resubmit,
//! multicast and drop, what a length counts. It has no queues: what is cloned, resubmitted or recirculated is processed
//! within the same call, and time stands still meanwhile.

mod arrays;
pub mod control;
mod evaluate;
mod execute;
mod hash;
mod packet;
mod parse;
mod profile;
mod table;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::fabric::p4::program::Program;
use crate::types::{PortNo, Timestamp};
use arrays::Arrays;
use control::{CloneSession, Key, Replica};
pub(crate) use hash::crc_table;
use packet::{Bits, Packet};
use profile::ProfileState;
use table::{Does, EntryState, Held, Identity, TableState, expand};

/// How often idle entries are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

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
    cpu_port: Option<PortNo>,
    ports: BTreeMap<PortNo, bool>,
    tables: Vec<TableState>,
    profiles: Vec<ProfileState>,
    arrays: Arrays,
    multicast: HashMap<u16, Vec<Replica>>,
    clones: HashMap<u16, CloneSession>,
    next_sweep: Timestamp,
    /// Packets to use again.
    pool: Vec<Packet>,
    bits: Bits,
}

impl Machine {
    /// A switch with the entries that its program brings, and nothing else.
    pub fn new(program: Arc<Program>, settings: MachineSettings) -> Self {
        let mut machine = Self {
            cpu_port: settings.cpu_port,
            ports: settings.ports.iter().map(|port| (*port, true)).collect(),
            tables: program.flow.tables.iter().map(TableState::new).collect(),
            profiles: program.flow.profiles.iter().map(|_| ProfileState::default()).collect(),
            arrays: Arrays::new(&program, settings.seed, settings.started),
            multicast: HashMap::new(),
            clones: HashMap::new(),
            next_sweep: settings.started + SWEEP_EVERY,
            pool: Vec::new(),
            bits: Bits::default(),
            program,
        };
        machine.load_entries();
        machine
    }

    fn load_entries(&mut self) {
        for (table, state) in self.program.flow.tables.iter().zip(&mut self.tables) {
            state.default = table.default.clone().map(|(action, arguments)| Held { action, arguments });
            for entry in &table.entries {
                let key = control::const_key(table, entry);
                let Ok(identity) = control::identity(table, &key) else { continue };
                let does = Does::Call(Held { action: entry.action, arguments: entry.arguments.clone() });
                // The first of two with one key is the one that is ever hit.
                if state.by_identity.contains_key(&identity) {
                    continue;
                }
                state.insert(table, EntryState::new(key, identity, does, true, self.arrays.started));
            }
        }
    }

    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Lets time pass: tells idle entries, once a second.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Emission> {
        let mut told = Vec::new();
        if now < self.next_sweep {
            return told;
        }
        self.next_sweep = now + SWEEP_EVERY;
        for (table, state) in self.program.flow.tables.iter().zip(&mut self.tables).filter(|(table, _)| table.ages) {
            for entry in state.entries.iter_mut().flatten() {
                let is_idle =
                    entry.timeout_us > 0 && now.since(entry.last_hit) >= Duration::from_micros(entry.timeout_us);
                // Who was told by the last sweep is passed over once.
                entry.was_told = is_idle && !entry.was_told;
                if entry.was_told {
                    told.push(Emission::IdleTimeout { table: Arc::clone(&table.name), key: entry.key.clone() });
                }
            }
        }
        told
    }

    /// Whether a port's link is up. The ports of the settings start up; a port that is not among them is added.
    pub fn set_port(&mut self, port: PortNo, up: bool) {
        if self.ports.insert(port, up) == Some(up) {
            return;
        }
        let (ports, cpu_port) = (&self.ports, self.cpu_port);
        let is_up = |port: PortNo| is_up(ports, cpu_port, port);
        for group in self.profiles.iter_mut().flat_map(|profile| profile.groups.values_mut()) {
            group.refresh(is_up);
        }
        for entry in self.tables.iter_mut().flat_map(|table| table.entries.iter_mut().flatten()) {
            entry.does.refresh(is_up);
        }
    }

    pub fn is_up(&self, port: PortNo) -> bool {
        is_up(&self.ports, self.cpu_port, port)
    }
}

fn is_up(ports: &BTreeMap<PortNo, bool>, cpu_port: Option<PortNo>, port: PortNo) -> bool {
    cpu_port == Some(port) || ports.get(&port).copied().unwrap_or(false)
}

impl Does {
    fn refresh(&mut self, is_up: impl Fn(PortNo) -> bool) {
        if let Self::Set { choices, live } = self {
            let numbered = (0_u32..).zip(choices.iter());
            *live = expand(numbered.map(|(at, choice)| (at, choice.weight, choice.watch.is_none_or(&is_up))));
        }
    }
}

impl EntryState {
    fn new(key: Key, identity: Identity, does: Does, is_const: bool, now: Timestamp) -> Self {
        Self {
            key,
            identity,
            does,
            is_const,
            timeout_us: 0,
            last_hit: now,
            was_told: false,
            counter: control::Counter::default(),
            meter: None,
        }
    }
}
