//! A P4Info by its ids: what the target checks requests against.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::refusal::{Behaviour, Outcome, Refusal};
use crate::wire::p4runtime::config::{self, P4Info};

/// Values are numbers of at most this many bits here.
const WIDTH_MAX: i32 = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatchKind {
    Exact,
    Lpm,
    Ternary,
    Range,
    Optional,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) id: u32,
    pub(super) width: u32,
    pub(super) kind: MatchKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Everywhere,
    EntriesOnly,
    DefaultOnly,
}

#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    pub(super) actions: BTreeMap<u32, Scope>,
    pub(super) profile: Option<u32>,
    pub(super) size: usize,
    pub(super) is_const: bool,
    pub(super) const_default: bool,
    pub(super) ages: bool,
    pub(super) direct_counter: Option<u32>,
    pub(super) direct_meter: Option<u32>,
}

impl Table {
    /// Entries have priorities if what they match can overlap.
    pub(super) fn has_priorities(&self) -> bool {
        self.fields.iter().any(|field| !matches!(field.kind, MatchKind::Exact | MatchKind::Lpm))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Action {
    pub(super) name: Arc<str>,
    /// Ids and widths.
    pub(super) params: Vec<(u32, u32)>,
}

#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) tables: Vec<u32>,
    pub(super) with_selector: bool,
    pub(super) size: usize,
    pub(super) group_size_max: i64,
}

/// A counter, meter or register: an array with a name.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) size: usize,
    /// Counters: what they count. Meters: what they measure.
    pub(super) unit: i32,
    /// Registers: how wide a cell is.
    pub(super) width: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Digest {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) shape: Shape,
}

/// How the parts of a digest are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Bits,
    Struct,
    Tuple,
}

/// Fields of a controller header: ids and widths, in the order in which they are on the wire.
pub(super) type Header = Vec<(u32, u32)>;

#[derive(Clone, Debug, Default)]
pub(super) struct Schema {
    pub(super) tables: BTreeMap<u32, Table>,
    pub(super) actions: BTreeMap<u32, Action>,
    pub(super) profiles: BTreeMap<u32, Profile>,
    pub(super) counters: BTreeMap<u32, Array>,
    pub(super) direct_counters: BTreeMap<u32, u32>,
    pub(super) direct_meters: BTreeMap<u32, u32>,
    pub(super) meters: BTreeMap<u32, Array>,
    pub(super) registers: BTreeMap<u32, Array>,
    pub(super) digests: BTreeMap<u32, Digest>,
    pub(super) packet_in: Option<Header>,
    pub(super) packet_out: Option<Header>,
}

/// What is wrong with a P4Info, with the name of the object.
type Flaw = String;

impl Schema {
    /// The first thing that cannot be served is the error.
    pub(super) fn new(info: &P4Info) -> Result<Self, Flaw> {
        let mut schema = Self::default();
        for action in &info.actions {
            let (id, name) = identity(action.preamble.as_ref(), "action")?;
            let param = |param: &config::action::Param| Ok((param.id, width(param.bitwidth, &name)?));
            let params = action.params.iter().map(param).collect::<Result<_, Flaw>>()?;
            insert(&mut schema.actions, id, Action { name: name.into(), params })?;
        }
        for profile in &info.action_profiles {
            let (id, name) = identity(profile.preamble.as_ref(), "action profile")?;
            let profile = Profile {
                id,
                name,
                tables: profile.table_ids.clone(),
                with_selector: profile.with_selector,
                size: size(profile.size),
                group_size_max: i64::from(profile.max_group_size),
            };
            insert(&mut schema.profiles, id, profile)?;
        }
        schema.arrays(info)?;
        for table in &info.tables {
            let table = schema.table(table)?;
            insert(&mut schema.tables, table.id, table)?;
        }
        for digest in &info.digests {
            let (id, name) = identity(digest.preamble.as_ref(), "digest")?;
            let shape = shape(digest.type_spec.as_ref());
            insert(&mut schema.digests, id, Digest { id, name, shape })?;
        }
        for header in &info.controller_packet_metadata {
            let (_, name) = identity(header.preamble.as_ref(), "controller header")?;
            let fields: Header = header
                .metadata
                .iter()
                .map(|field| Ok((field.id, width(field.bitwidth, &name)?)))
                .collect::<Result<_, Flaw>>()?;
            match name.as_str() {
                "packet_in" => schema.packet_in = Some(fields),
                "packet_out" => schema.packet_out = Some(fields),
                _ => {}
            }
        }
        Ok(schema)
    }

    fn arrays(&mut self, info: &P4Info) -> Result<(), Flaw> {
        for counter in &info.counters {
            let (id, name) = identity(counter.preamble.as_ref(), "counter")?;
            let unit = counter.spec.as_ref().map_or(0, |spec| spec.unit);
            insert(&mut self.counters, id, Array { id, name, size: size(counter.size), unit, width: 64 })?;
        }
        for counter in &info.direct_counters {
            let (id, _) = identity(counter.preamble.as_ref(), "direct counter")?;
            insert(&mut self.direct_counters, id, counter.spec.as_ref().map_or(0, |spec| spec.unit as u32))?;
        }
        for meter in &info.meters {
            let (id, name) = identity(meter.preamble.as_ref(), "meter")?;
            let unit = meter.spec.as_ref().map_or(0, |spec| spec.unit);
            insert(&mut self.meters, id, Array { id, name, size: size(meter.size), unit, width: 0 })?;
        }
        for meter in &info.direct_meters {
            let (id, _) = identity(meter.preamble.as_ref(), "direct meter")?;
            insert(&mut self.direct_meters, id, meter.direct_table_id)?;
        }
        for register in &info.registers {
            let (id, name) = identity(register.preamble.as_ref(), "register")?;
            let width = register.type_spec.as_ref().and_then(bits).unwrap_or(0);
            let size = size(i64::from(register.size));
            insert(&mut self.registers, id, Array { id, name, size, unit: 0, width })?;
        }
        Ok(())
    }

    fn table(&self, table: &config::Table) -> Result<Table, Flaw> {
        let (id, name) = identity(table.preamble.as_ref(), "table")?;
        let fields = table.match_fields.iter().map(|field| match_field(field, &name)).collect::<Result<_, _>>()?;
        let mut actions = BTreeMap::new();
        for reference in &table.action_refs {
            if !self.actions.contains_key(&reference.id) {
                return Err(format!("table '{name}' has the action {:#010x}, which is not there", reference.id));
            }
            let scope = match config::action_ref::Scope::try_from(reference.scope) {
                Ok(config::action_ref::Scope::TableOnly) => Scope::EntriesOnly,
                Ok(config::action_ref::Scope::DefaultOnly) => Scope::DefaultOnly,
                _ => Scope::Everywhere,
            };
            actions.insert(reference.id, scope);
        }
        let profile = Some(table.implementation_id).filter(|id| *id != 0);
        if let Some(profile) = profile.filter(|profile| !self.profiles.contains_key(profile)) {
            return Err(format!("table '{name}' has the implementation {profile:#010x}, which is not there"));
        }
        let direct =
            |known: &BTreeMap<u32, u32>| table.direct_resource_ids.iter().copied().find(|id| known.contains_key(id));
        Ok(Table {
            id,
            fields,
            actions,
            profile,
            size: size(table.size),
            is_const: table.is_const_table,
            const_default: table.const_default_action_id != 0,
            ages: table.idle_timeout_behavior == config::table::IdleTimeoutBehavior::NotifyControl as i32,
            direct_counter: direct(&self.direct_counters),
            direct_meter: direct(&self.direct_meters),
            name,
        })
    }

    /// Looks an object up by an id that a request gave. BMv2 calls every id that is not there invalid.
    pub(super) fn find<'s, T>(
        objects: &'s BTreeMap<u32, T>,
        id: u32,
        what: &str,
        behaviour: Behaviour,
    ) -> Outcome<&'s T> {
        objects.get(&id).ok_or_else(|| match behaviour {
            Behaviour::Bmv2 => Refusal::invalid("Invalid P4 id"),
            Behaviour::Specification => Refusal::not_found(format!("expected the id of a {what}, came {id:#010x}")),
        })
    }
}

fn identity(preamble: Option<&config::Preamble>, what: &str) -> Result<(u32, String), Flaw> {
    match preamble {
        Some(preamble) if preamble.id != 0 && !preamble.name.is_empty() => Ok((preamble.id, preamble.name.clone())),
        _ => Err(format!("expected a {what} with an id and a name in its preamble")),
    }
}

fn insert<T>(objects: &mut BTreeMap<u32, T>, id: u32, object: T) -> Result<(), Flaw> {
    match objects.insert(id, object) {
        None => Ok(()),
        Some(_) => Err(format!("the id {id:#010x} is there twice")),
    }
}

fn width(bits: i32, of: &str) -> Result<u32, Flaw> {
    match u32::try_from(bits) {
        Ok(width) if width > 0 && bits <= WIDTH_MAX => Ok(width),
        _ => Err(format!("'{of}' has a value of {bits} bits, expected 1 to {WIDTH_MAX}")),
    }
}

fn size(size: i64) -> usize {
    usize::try_from(size).unwrap_or(0)
}

fn match_field(field: &config::MatchField, table: &str) -> Result<Field, Flaw> {
    use config::match_field::{Match, MatchType};
    let kind = match &field.r#match {
        Some(Match::MatchType(kind)) => match MatchType::try_from(*kind) {
            Ok(MatchType::Exact) => Some(MatchKind::Exact),
            Ok(MatchType::Lpm) => Some(MatchKind::Lpm),
            Ok(MatchType::Ternary) => Some(MatchKind::Ternary),
            Ok(MatchType::Range) => Some(MatchKind::Range),
            Ok(MatchType::Optional) => Some(MatchKind::Optional),
            _ => None,
        },
        _ => None,
    };
    let kind = kind.ok_or_else(|| format!("field '{}' of table '{table}' is matched in an unknown way", field.name))?;
    Ok(Field { id: field.id, width: width(field.bitwidth, table)?, kind })
}

fn shape(spec: Option<&config::P4DataTypeSpec>) -> Shape {
    use config::p4_data_type_spec::TypeSpec;
    match spec.and_then(|spec| spec.type_spec.as_ref()) {
        Some(TypeSpec::Tuple(_)) => Shape::Tuple,
        Some(TypeSpec::Bitstring(_)) => Shape::Bits,
        _ => Shape::Struct,
    }
}

fn bits(spec: &config::P4DataTypeSpec) -> Option<u32> {
    use config::p4_bitstring_like_type_spec::TypeSpec as Bits;
    use config::p4_data_type_spec::TypeSpec;
    let Some(TypeSpec::Bitstring(bitstring)) = &spec.type_spec else { return None };
    match &bitstring.type_spec {
        Some(Bits::Bit(bit)) => u32::try_from(bit.bitwidth).ok(),
        Some(Bits::Int(int)) => u32::try_from(int.bitwidth).ok(),
        _ => None,
    }
}
