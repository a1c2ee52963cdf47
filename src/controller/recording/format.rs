//! The records of a recording, one JSON object a line.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::{LoopSettings, Topology};
use crate::controller::Input;
use crate::plan::{DatapathPlan, Generation};
use crate::policy::decision::ShiftPhase;
use crate::types::{DatapathId, NodeId, Timestamp};
use crate::wire::lldp::Key;

/// How the first line names what it begins.
pub const FORMAT: &str = "foreshadow-recording";
/// Raised whenever an older program would misread the file. A field that may be missing does not raise it.
pub const VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// The first line.
    Header(Box<Header>),
    /// Inputs are numbered from 1.
    Input { number: u64, at: Timestamp, what: Input },
    /// Follows the input that it answers; an input that led to nothing has none.
    Sent(Box<Sent>),
    /// The writer could not keep up: so many inputs are missing here, or what was sent for the one before.
    Gap { inputs: u64 },
    /// The last line of a run that ended in order.
    End { inputs: u64 },
}

/// With what the controller began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub format: String,
    pub version: u32,
    /// Version of the program that recorded.
    pub program: String,
    pub started_at: Timestamp,
    /// Key of the run's LLDP probes: without it, recorded probes would be taken for forged ones.
    #[serde(serialize_with = "write_key", deserialize_with = "read_key")]
    pub key: Key,
    pub settings: LoopSettings,
    pub topology: Topology,
}

impl Header {
    pub fn new(topology: Topology, settings: LoopSettings, key: Key, started_at: Timestamp) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            key,
            settings,
            topology,
        }
    }
}

/// What the controller sent and told for one input, as far as a recording keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// Number of the input.
    pub after: u64,
    /// All commands, plans among them.
    #[serde(default)]
    pub commands: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<PlanRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Told>,
    /// Where a decided cycle left the shifts, if they are not what they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
}

/// One plan that was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanRecord {
    pub generation: Generation,
    pub datapath: DatapathId,
    /// SipHash-2-4 of the plan's JSON, 16 hex digits.
    pub digest: String,
    /// Left out where it is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<DatapathPlan>>,
}

/// One notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    pub message: String,
}

/// The shifts after one cycle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    pub cycle: u64,
    pub routers: BTreeMap<NodeId, Stance>,
}

/// One router's shift, in thousandths of a percent point: whole numbers are the same on every machine, the last digits
/// of what a forecast was computed with need not be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stance {
    pub phase: ShiftPhase,
    pub shift_milli: i64,
    pub wanted_milli: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<NodeId>,
}

fn write_key<S: Serializer>(key: &Key, serializer: S) -> Result<S::Ok, S::Error> {
    let Key([high, low]) = key;
    serializer.collect_str(&format_args!("{high:016x}{low:016x}"))
}

fn read_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
    let text = String::deserialize(deserializer)?;
    let whole = (text.len() == 32).then(|| u128::from_str_radix(&text, 16).ok()).flatten();
    let whole = whole.ok_or_else(|| D::Error::custom("expected a key of 32 hex digits"))?;
    let [high, low] = [whole >> 64, whole & u128::from(u64::MAX)];
    Ok(Key([high, low].map(|half| u64::try_from(half).expect("64 bits are left"))))
}
