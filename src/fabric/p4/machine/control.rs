//! What a control plane may ask of a machine, by the names of the P4Info.

use std::sync::Arc;
use std::time::Duration;

use super::Machine;
use crate::types::{PortNo, Timestamp};

/// Why a control call was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error("there is no {kind} '{name}'")]
    Unknown { kind: &'static str, name: String },
    #[error("{place}: {problem}")]
    Invalid { place: String, problem: String },
    #[error("{place} exists already")]
    Exists { place: String },
    #[error("{place} does not exist")]
    Missing { place: String },
    #[error("{place} is full: it takes {most}")]
    Full { place: String, most: usize },
    #[error("{place} is constant")]
    Constant { place: String },
    #[error("{place} is in use")]
    InUse { place: String },
    #[error("{place}: index {index} is beyond its {size} cells")]
    OutOfRange { place: String, index: usize, size: usize },
}

/// What one field of an entry matches. Values are right-aligned and fit the field's width.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    Exact(u128),
    Lpm {
        value: u128,
        prefix: u32,
    },
    Ternary {
        value: u128,
        mask: u128,
    },
    Range {
        low: u128,
        high: u128,
    },
    /// A field declared `optional`; `None` matches everything.
    Optional(Option<u128>),
}

/// What an entry is known by in its table.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// One for each field, in the order of the program.
    pub parts: Vec<Part>,
    /// The greatest wins. Only for tables with ternary, range or optional fields; 0 elsewhere.
    pub priority: i32,
}

/// An action with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub action: Arc<str>,
    pub arguments: Vec<u128>,
}

/// One action of a one-shot set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighted {
    pub call: Call,
    /// At least 1.
    pub weight: u32,
    pub watch: Option<PortNo>,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    Call(Call),
    Member(u32),
    Group(u32),
    Set(Vec<Weighted>),
}

/// One seat of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    pub member: u32,
    /// At least 1.
    pub weight: u32,
    /// The member is left out while this port is down.
    pub watch: Option<PortNo>,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    pub packets: u64,
    pub bytes: u64,
}

/// Rates of one meter (RFC 2698), in its unit: bytes or packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterConfig {
    pub committed_per_second: u64,
    pub committed_burst: u64,
    pub peak_per_second: u64,
    pub peak_burst: u64,
}

/// One copy of a multicast group or clone session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    pub port: PortNo,
    /// What the program sees as `egress_rid`.
    pub instance: u16,
}

/// Where clones go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloneSession {
    pub replicas: Vec<Replica>,
    /// Bytes that a copy keeps; 0 keeps all.
    pub length_bytes: u32,
}

/// One entry as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Key,
    pub bound: Bound,
    /// Written in the program as `const entries`.
    pub is_const: bool,
    pub idle_timeout: Option<Duration>,
    /// When it was last hit, inserted or modified.
    pub last_hit: Timestamp,
    /// Of a table with a direct counter.
    pub counter: Counter,
}

type Outcome<T = ()> = Result<T, ControlError>;

fn unknown<T>(kind: &'static str, name: &str) -> Outcome<T> {
    Err(ControlError::Unknown { kind, name: name.to_owned() })
}

/// Tables.
impl Machine {
    /// Adds an entry. `idle_timeout` is refused by tables that do not age.
    pub fn insert(
        &mut self,
        table: &str,
        _key: &Key,
        _bound: &Bound,
        _idle_timeout: Option<Duration>,
        _now: Timestamp,
    ) -> Outcome {
        unknown("table", table)
    }

    /// Changes what an entry does; its direct counter stays.
    pub fn modify(
        &mut self,
        table: &str,
        _key: &Key,
        _bound: &Bound,
        _idle_timeout: Option<Duration>,
        _now: Timestamp,
    ) -> Outcome {
        unknown("table", table)
    }

    pub fn delete(&mut self, table: &str, _key: &Key) -> Outcome {
        unknown("table", table)
    }

    pub fn entry(&self, table: &str, _key: &Key) -> Outcome<Entry> {
        unknown("table", table)
    }

    /// All entries, those of the program included, in the order of their keys.
    pub fn entries(&self, table: &str) -> Outcome<Vec<Entry>> {
        unknown("table", table)
    }

    /// Sets what a miss does. `None` gives back the program's own default.
    pub fn set_default(&mut self, table: &str, _call: Option<&Call>) -> Outcome {
        unknown("table", table)
    }

    /// What a miss does; `None` where the table has no default action.
    pub fn default_call(&self, table: &str) -> Outcome<Option<Call>> {
        unknown("table", table)
    }

    pub fn set_direct_counter(&mut self, table: &str, _key: &Key, _value: Counter) -> Outcome {
        unknown("table", table)
    }

    /// `None` lets everything pass as green.
    pub fn set_direct_meter(&mut self, table: &str, _key: &Key, _config: Option<MeterConfig>) -> Outcome {
        unknown("table", table)
    }

    pub fn direct_meter(&self, table: &str, _key: &Key) -> Outcome<Option<MeterConfig>> {
        unknown("table", table)
    }
}

/// Action profiles.
impl Machine {
    /// Adds a member or changes what it does.
    pub fn set_member(&mut self, profile: &str, _member: u32, _call: &Call) -> Outcome {
        unknown("action profile", profile)
    }

    /// Removes a member that no group and no entry uses.
    pub fn remove_member(&mut self, profile: &str, _member: u32) -> Outcome {
        unknown("action profile", profile)
    }

    pub fn members(&self, profile: &str) -> Outcome<Vec<(u32, Call)>> {
        unknown("action profile", profile)
    }

    /// Adds a group or changes its seats. An empty group runs nothing on a hit.
    pub fn set_group(&mut self, profile: &str, _group: u32, _seats: &[Seat]) -> Outcome {
        unknown("action profile", profile)
    }

    /// Removes a group that no entry uses.
    pub fn remove_group(&mut self, profile: &str, _group: u32) -> Outcome {
        unknown("action profile", profile)
    }

    pub fn groups(&self, profile: &str) -> Outcome<Vec<(u32, Vec<Seat>)>> {
        unknown("action profile", profile)
    }
}

/// Replication.
impl Machine {
    /// `None` removes the group.
    pub fn set_multicast(&mut self, _group: u16, _replicas: Option<&[Replica]>) {}

    /// `None` removes the session.
    pub fn set_clone(&mut self, _session: u16, _value: Option<&CloneSession>) {}
}

/// Counters, meters and registers by index.
impl Machine {
    pub fn counter(&self, counter: &str, _index: usize) -> Outcome<Counter> {
        unknown("counter", counter)
    }

    pub fn set_counter(&mut self, counter: &str, _index: usize, _value: Counter) -> Outcome {
        unknown("counter", counter)
    }

    pub fn meter(&self, meter: &str, _index: usize) -> Outcome<Option<MeterConfig>> {
        unknown("meter", meter)
    }

    /// `None` lets everything pass as green.
    pub fn set_meter(&mut self, meter: &str, _index: usize, _config: Option<MeterConfig>) -> Outcome {
        unknown("meter", meter)
    }

    pub fn register(&self, register: &str, _index: usize) -> Outcome<u128> {
        unknown("register", register)
    }

    pub fn set_register(&mut self, register: &str, _index: usize, _value: u128) -> Outcome {
        unknown("register", register)
    }
}
