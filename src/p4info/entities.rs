//! The entities of a P4Info, as those who write and read them need them.

use super::names::{Entity, Kind, UnknownName};
use crate::wire::p4runtime::config::{P4DataTypeSpec, counter_spec, meter_spec};

pub use crate::wire::p4runtime::config::action_ref::Scope;

/// Bytes, packets or both.
pub type CounterUnit = counter_spec::Unit;
/// Bytes or packets.
pub type MeterUnit = meter_spec::Unit;
/// RFC 2698, RFC 2697 or a single bucket.
pub type MeterType = meter_spec::Type;

/// How a field of a key is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchKind {
    Exact,
    Lpm,
    Ternary,
    Range,
    Optional,
    /// A kind of the architecture's own.
    Other(String),
}

/// A field of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchField {
    pub id: u32,
    pub name: String,
    /// 0: its values are strings (specification, section 8.4.6).
    pub width_bits: u32,
    pub kind: MatchKind,
}

/// A parameter of an action, or a field beside a packet, or a member of a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub id: u32,
    pub name: String,
    /// 0: its values are strings (specification, section 8.4.6).
    pub width_bits: u32,
}

#[derive(Clone, Debug)]
pub struct Action {
    pub id: u32,
    pub name: String,
    pub alias: String,
    pub params: Kind<Parameter>,
}

impl Action {
    pub fn param(&self, name: &str) -> Result<&Parameter, UnknownName> {
        self.params.get(name)
    }
}

/// An action with its arguments, by the ids of its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub action: u32,
    pub arguments: Vec<(u32, Vec<u8>)>,
}

#[derive(Clone, Debug)]
pub struct Table {
    pub id: u32,
    pub name: String,
    pub alias: String,
    pub fields: Kind<MatchField>,
    /// Ids of actions, and where the table may use them.
    pub actions: Vec<(u32, Scope)>,
    /// The action that the default entry has for good.
    pub const_default: Option<u32>,
    /// The program's default entry, where the P4Info tells it.
    pub initial_default: Option<Call>,
    /// The action profile its entries refer to.
    pub profile: Option<u32>,
    pub direct_counter: Option<u32>,
    pub direct_meter: Option<u32>,
    /// Entries; 0 leaves it to the switch.
    pub size: u64,
    /// Entries can have an idle time-out.
    pub idle_timeout: bool,
    /// All entries are the program's.
    pub is_const: bool,
    /// Some entries are the program's.
    pub has_initial_entries: bool,
}

impl Table {
    pub fn field(&self, name: &str) -> Result<&MatchField, UnknownName> {
        self.fields.get(name)
    }

    /// Where the table may use an action; `None`: nowhere.
    pub fn scope(&self, action: u32) -> Option<Scope> {
        self.actions.iter().find(|(id, _)| *id == action).map(|(_, scope)| *scope)
    }

    /// Entries need a priority above 0; otherwise it has to be 0 (specification, section 9.1).
    pub fn has_priorities(&self) -> bool {
        self.fields.iter().any(|field| !matches!(field.kind, MatchKind::Exact | MatchKind::Lpm))
    }
}

/// What the size of a selector and of its groups counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeSemantics {
    SumOfWeights,
    SumOfMembers {
        /// 0: no bound.
        weight_max: u32,
    },
}

#[derive(Clone, Debug)]
pub struct Profile {
    pub id: u32,
    pub name: String,
    pub alias: String,
    pub tables: Vec<u32>,
    /// It has groups.
    pub selector: bool,
    pub size: u64,
    /// 0: no bound but `size`.
    pub group_size_max: u32,
    pub size_semantics: SizeSemantics,
    pub weights_allowed: bool,
}

/// An array of counters; or, with `table`, a counter in each of its entries.
#[derive(Clone, Debug)]
pub struct Counter {
    pub id: u32,
    pub name: String,
    pub alias: String,
    pub unit: CounterUnit,
    /// Cells; 0 for direct counters.
    pub size: u64,
    pub table: Option<u32>,
}

/// An array of meters; or, with `table`, a meter in each of its entries.
#[derive(Clone, Debug)]
pub struct Meter {
    pub id: u32,
    pub name: String,
    pub alias: String,
    pub unit: MeterUnit,
    pub meter_type: MeterType,
    /// Cells; 0 for direct meters.
    pub size: u64,
    pub table: Option<u32>,
}

#[derive(Clone, Debug)]
pub struct Register {
    pub id: u32,
    pub name: String,
    pub alias: String,
    /// Cells.
    pub size: u64,
    /// Of a cell that is `bit<W>` or `int<W>`; 0 otherwise.
    pub width_bits: u32,
    pub type_spec: P4DataTypeSpec,
}

#[derive(Clone, Debug)]
pub struct Digest {
    pub id: u32,
    pub name: String,
    pub alias: String,
    /// Of a struct, with ids from 1 in order; one without name for a bare bit string; empty for what has other members.
    pub members: Vec<Parameter>,
    pub type_spec: P4DataTypeSpec,
}

#[derive(Clone, Debug)]
pub struct ValueSet {
    pub id: u32,
    pub name: String,
    pub alias: String,
    pub fields: Kind<MatchField>,
    /// Members.
    pub size: u64,
}

/// The fields beside packets of one direction.
#[derive(Clone, Debug)]
pub struct PacketHeader {
    pub id: u32,
    pub name: String,
    pub fields: Kind<Parameter>,
}

impl PacketHeader {
    pub fn field(&self, name: &str) -> Result<&Parameter, UnknownName> {
        self.fields.get(name)
    }
}

macro_rules! entity {
    ($($name:ident $($alias:ident)?),*) => {$(
        impl Entity for $name {
            fn id(&self) -> u32 {
                self.id
            }
            fn name(&self) -> &str {
                &self.name
            }
            $(fn alias(&self) -> &str {
                &self.$alias
            })?
        }
    )*};
}

entity!(
    Action alias,
    Counter alias,
    Digest alias,
    MatchField,
    Meter alias,
    PacketHeader,
    Parameter,
    Profile alias,
    Register alias,
    Table alias,
    ValueSet alias
);
