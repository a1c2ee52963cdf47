//! What a control plane may ask of a machine, by the names of the P4Info.

mod arrays;
mod entries;
mod profiles;

use std::sync::Arc;
use std::time::Duration;

use super::Machine;
use crate::types::{PortNo, Timestamp};
pub(super) use entries::{const_key, identity};

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

fn unknown(kind: &'static str, name: &str) -> ControlError {
    ControlError::Unknown { kind, name: name.to_owned() }
}

fn invalid(place: impl Into<String>, problem: impl Into<String>) -> ControlError {
    ControlError::Invalid { place: place.into(), problem: problem.into() }
}

/// Replication.
impl Machine {
    /// `None` removes the group.
    pub fn set_multicast(&mut self, group: u16, replicas: Option<&[Replica]>) {
        match replicas {
            Some(replicas) => drop(self.multicast.insert(group, replicas.to_vec())),
            None => drop(self.multicast.remove(&group)),
        }
    }

    /// `None` removes the session.
    pub fn set_clone(&mut self, session: u16, value: Option<&CloneSession>) {
        match value {
            Some(value) => drop(self.clones.insert(session, value.clone())),
            None => drop(self.clones.remove(&session)),
        }
    }
}
