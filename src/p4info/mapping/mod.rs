//! Pipeline mappings: which table, action, profile and counter of a P4Info plays which part (docs/FORMATS.md).
//!
//! A mapping file is checked against its P4Info when it is read. What is left are ids and widths, by the names of
//! parts, so that whoever fills tables cannot meet a name that does not exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

mod device;
mod parts;
mod read;
mod resolve;
#[cfg(test)]
mod tests;

pub use parts::{ActionSpec, CHOICE_WEIGHTS, Form, KeyKind, KeySpec, PartSpec, Place};

use super::{Info, MatchKind};
use crate::config::Problem;

/// A P4 program and the parts that its tables play.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub form: Form,
    /// Where it was read from.
    pub file: PathBuf,
    pub info: Info,
    /// What the target runs; for BMv2 the compiler's JSON.
    pub device_config: Vec<u8>,
    /// Hash of the P4Info's text and the device configuration.
    pub cookie: u64,
    /// Frames that leave by it go to the controller.
    pub cpu_port: u32,
    /// The clone session whose copies go to the controller.
    pub cpu_session: Option<u32>,
    pub packet_in: PacketIn,
    pub packet_out: PacketOut,
    pub counters: Counters,
    /// Slots for connections, and for pins; 0 without any.
    pub connection_slots: u32,
    pub pin_slots: u32,
    /// Most slots of one sweep.
    pub sweep_slots: u32,
    /// Whether the ports of all members of a one-shot group may be watched.
    pub groups_may_be_empty: bool,
    parts: BTreeMap<&'static str, Part>,
}

/// Metadata of packet-ins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketIn {
    pub ingress_port: u32,
    pub reason: Option<u32>,
}

/// Metadata of packet-outs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketOut {
    pub egress_port: Field,
    pub purpose: Option<Field>,
    /// Those that mean nothing to us, and are sent as 0.
    pub others: Vec<u32>,
}

/// Ids of counters, where the program has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub port_in: Option<CounterArray>,
    pub port_out: Option<CounterArray>,
    pub events: Option<Events>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterArray {
    pub id: u32,
    pub cells: u64,
}

/// Cells of the counter of what happened to connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    pub id: u32,
    pub admitted: i64,
    pub refused: i64,
    pub unknown: i64,
}

/// A table in its part.
#[derive(Clone, Debug)]
pub struct Part {
    /// Full name of the table.
    pub table: String,
    pub id: u32,
    /// Entries; 0 leaves it to the switch.
    pub size: u64,
    /// Entries need a priority.
    pub priorities: bool,
    pub keys: BTreeMap<&'static str, Key>,
    pub actions: BTreeMap<&'static str, Action>,
    pub selector: Option<Selector>,
    pub counter: Option<u32>,
}

/// A match field in its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub field: Field,
    pub kind: MatchKind,
}

/// Something that takes values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub id: u32,
    /// As the P4Info spells it.
    pub name: String,
    /// 0: values are strings.
    pub width_bits: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub id: u32,
    /// Full name.
    pub name: String,
    pub params: BTreeMap<&'static str, Field>,
}

/// An action profile with groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    pub id: u32,
    /// Full name.
    pub name: String,
    /// Members of all groups; 0 leaves it to the switch.
    pub size: u64,
    /// Sum of the weights of one group; 0: no bound but `size`.
    pub group_size_max: u32,
}

/// The texts of a mapping and of what it names.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'s> {
    /// In problem reports; the other files are beside it.
    pub file: &'s Path,
    pub mapping: &'s str,
    /// In the text format of protocol buffers.
    pub p4info: &'s str,
    pub device_config: &'s [u8],
}

impl Mapping {
    /// `p4/fabric.p4` as it was compiled into this program.
    pub fn builtin() -> Arc<Self> {
        static BUILTIN: LazyLock<Arc<Mapping>> = LazyLock::new(|| {
            let sources = Sources {
                file: Path::new("p4/fabric.mapping.yaml"),
                mapping: include_str!("../../../p4/fabric.mapping.yaml"),
                p4info: include_str!("../../../p4/fabric.p4info.txtpb"),
                device_config: include_bytes!("../../../p4/fabric.json"),
            };
            Arc::new(Mapping::parse(&sources).expect("a test reads it"))
        });
        Arc::clone(&BUILTIN)
    }

    /// Reads a mapping file and what it names; every problem with its file and line.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        read::load(path)
    }

    /// As [`Self::load`], of texts.
    pub fn parse(sources: &Sources<'_>) -> Result<Self, Vec<Problem>> {
        read::parse(sources)
    }

    /// Whether a file looks like a mapping more than like anything else: it says which form it describes.
    pub fn looks_like_one(path: &Path) -> bool {
        std::fs::read_to_string(path).is_ok_and(|text| {
            let mut keys = text.lines().filter_map(|line| line.split_once(':')).map(|(key, _)| key);
            keys.any(|key| key == "form")
        })
    }

    /// The table that plays a part.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.get(name)
    }

    /// All parts that are played, by name.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &Part)> {
        self.parts.iter().map(|(name, part)| (*name, part))
    }
}
