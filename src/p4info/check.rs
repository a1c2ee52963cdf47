//! Builds the index over a P4Info, and says what of it cannot be so.

use std::collections::BTreeMap;

use super::entities::{
    Action, Call, Counter, Digest, MatchField, MatchKind, Meter, PacketHeader, Parameter, Profile, Register,
    SizeSemantics, Table, ValueSet,
};
use super::names::{Entity, Kind};
use super::types::Types;
use super::{CounterUnit, Info, MeterUnit, Scope};
use crate::wire::p4runtime::config::{
    self, CounterSpec, MeterSpec, P4DataTypeSpec, P4Info, P4NamedType, Preamble, action_profile, match_field,
    p4_ids::Prefix, table::IdleTimeoutBehavior,
};

/// The kind is in the uppermost 8 bits of an id.
const PREFIX_SHIFT: u32 = 24;
const DIRECTIONS: [&str; 2] = ["packet_in", "packet_out"];

/// Checks and indexes a whole P4Info.
pub(super) fn info(source: P4Info) -> Result<Info, Vec<String>> {
    let mut check = Check { problems: Vec::new(), ids: BTreeMap::new(), types: Types::new(&source) };
    let info = check.index(&source);
    check.references(&info);
    if check.problems.is_empty() { Ok(Info { source, ..info }) } else { Err(check.problems) }
}

struct Check {
    problems: Vec<String>,
    /// Whose each id is.
    ids: BTreeMap<u32, String>,
    types: Types,
}

/// What every entity has.
struct Head {
    id: u32,
    name: String,
    alias: String,
    /// `table 'ingress.routes'`
    what: String,
}

impl Check {
    fn problem(&mut self, what: &str, problem: impl AsRef<str>) {
        self.problems.push(format!("{what} {}", problem.as_ref()));
    }

    fn index(&mut self, source: &P4Info) -> Info {
        let actions = source.actions.iter().map(|action| self.action(action)).collect();
        let tables = source.tables.iter().map(|table| self.table(table)).collect();
        let profiles = source.action_profiles.iter().map(|profile| self.profile(profile)).collect();
        let value_sets = source.value_sets.iter().map(|set| self.value_set(set)).collect();
        let registers = source.registers.iter().map(|register| self.register(register)).collect();
        let digests = source.digests.iter().map(|digest| self.digest(digest)).collect();
        let headers = source.controller_packet_metadata.iter().map(|header| self.packet_header(header)).collect();
        let (counters, direct_counters) = self.counters(source);
        let (meters, direct_meters) = self.meters(source);
        for external in &source.externs {
            for instance in &external.instances {
                self.head("extern", external.extern_type_id, instance.preamble.as_ref());
            }
        }
        Info {
            source: P4Info::default(),
            tables: self.kind("table", tables),
            actions: self.kind("action", actions),
            profiles: self.kind("action profile", profiles),
            counters: self.kind("counter", counters),
            direct_counters: self.kind("direct counter", direct_counters),
            meters: self.kind("meter", meters),
            direct_meters: self.kind("direct meter", direct_meters),
            registers: self.kind("register", registers),
            digests: self.kind("digest", digests),
            value_sets: self.kind("value set", value_sets),
            packet_headers: self.kind("packet header", headers),
        }
    }

    /// Full names have to be one entity's of the kind alone; ids were looked at before.
    fn kind<T: Entity>(&mut self, kind: &'static str, entities: Vec<T>) -> Kind<T> {
        let mut names = BTreeMap::new();
        for entity in &entities {
            let before = names.insert(entity.name().to_owned(), entity.id());
            if let Some(before) = before.filter(|before| *before != entity.id()) {
                let what = format!("{kind} '{}'", entity.name());
                self.problem(&what, format!("is there twice, as {before:#010x} and {:#010x}", entity.id()));
            }
        }
        Kind::new(kind, "", entities)
    }

    /// Parts of one entity: ids and names have to be one part's alone.
    fn parts<T: Entity>(&mut self, kind: &'static str, within: &str, parts: Vec<T>) -> Kind<T> {
        let mut ids = BTreeMap::new();
        let mut names = BTreeMap::new();
        for part in &parts {
            let (id, name) = (part.id(), part.name());
            if id == 0 {
                self.problem(within, format!("has a {kind} '{name}' with id 0; ids count from 1"));
            }
            // A parser value set of plain bit strings has no names to give.
            if name.is_empty() && !within.starts_with("value set") {
                self.problem(within, format!("has a {kind} {id} without name"));
            }
            if let Some(other) = ids.insert(id, name.to_owned()) {
                self.problem(within, format!("has id {id} for two {kind}s: '{other}' and '{name}'"));
            }
            if let Some(other) = names.insert(name.to_owned(), id) {
                self.problem(within, format!("has two {kind}s '{name}', with ids {other} and {id}"));
            }
        }
        Kind::new(kind, within, parts)
    }

    fn head(&mut self, kind: &str, prefix: u32, preamble: Option<&Preamble>) -> Head {
        let Some(preamble) = preamble else {
            self.problems.push(format!("a {kind} has no preamble, which tells id and name"));
            return Head { id: 0, name: String::new(), alias: String::new(), what: kind.to_owned() };
        };
        let Preamble { id, name, alias, .. } = preamble.clone();
        let what = format!("{kind} '{name}'");
        if name.is_empty() {
            self.problem(&what, format!("({id:#010x}) has no name"));
        }
        if id == 0 {
            self.problem(&what, "has id 0, which stands for all in reads");
        } else if id >> PREFIX_SHIFT != prefix {
            self.problem(&what, format!("has id {id:#010x}; expected {prefix:#04x} in its upper 8 bits"));
        }
        if let Some(other) = self.ids.insert(id, what.clone()).filter(|_| id != 0) {
            self.problem(&what, format!("has id {id:#010x}, which {other} has as well"));
        }
        Head { id, name, alias, what }
    }

    fn width(&mut self, what: &str, width: i32, type_name: Option<&P4NamedType>) -> u32 {
        match self.types.travels_as_string(type_name) {
            Err(problem) => self.problem(what, problem),
            Ok(true) => return 0,
            Ok(false) if width < 1 => self.problem(what, format!("has a width of {width} bits; expected at least 1")),
            Ok(false) => {}
        }
        u32::try_from(width).unwrap_or(0)
    }

    fn size(&mut self, what: &str, size: i64) -> u64 {
        u64::try_from(size).unwrap_or_else(|_| {
            self.problem(what, format!("has a size of {size}; expected 0 or more"));
            0
        })
    }

    fn action(&mut self, action: &config::Action) -> Action {
        let Head { id, name, alias, what } = self.head("action", Prefix::Action as u32, action.preamble.as_ref());
        let params = action.params.iter().map(|param| {
            let place = format!("{what}, parameter '{}',", param.name);
            let width_bits = self.width(&place, param.bitwidth, param.type_name.as_ref());
            Parameter { id: param.id, name: param.name.clone(), width_bits }
        });
        let params = params.collect();
        Action { id, name, alias, params: self.parts("parameter", &what, params) }
    }

    fn match_fields(&mut self, what: &str, fields: &[config::MatchField]) -> Kind<MatchField> {
        let fields = fields.iter().map(|field| {
            let place = format!("{what}, match field '{}',", field.name);
            let width_bits = self.width(&place, field.bitwidth, field.type_name.as_ref());
            let kind = match &field.r#match {
                Some(match_field::Match::OtherMatchType(name)) => MatchKind::Other(name.clone()),
                Some(match_field::Match::MatchType(number)) => self.match_kind(&place, *number),
                None => self.match_kind(&place, 0),
            };
            MatchField { id: field.id, name: field.name.clone(), width_bits, kind }
        });
        let fields = fields.collect();
        self.parts("match field", what, fields)
    }

    fn match_kind(&mut self, place: &str, number: i32) -> MatchKind {
        use match_field::MatchType;
        match MatchType::try_from(number).unwrap_or_default() {
            MatchType::Exact => MatchKind::Exact,
            MatchType::Lpm => MatchKind::Lpm,
            MatchType::Ternary => MatchKind::Ternary,
            MatchType::Range => MatchKind::Range,
            MatchType::Optional => MatchKind::Optional,
            MatchType::Unspecified => {
                self.problem(place, "has no kind of match; expected EXACT, LPM, TERNARY, RANGE or OPTIONAL");
                MatchKind::Exact
            }
        }
    }

    fn table(&mut self, table: &config::Table) -> Table {
        let Head { id, name, alias, what } = self.head("table", Prefix::Table as u32, table.preamble.as_ref());
        let optional = |id: u32| (id != 0).then_some(id);
        let call = |call: &config::TableActionCall| Call {
            action: call.action_id,
            arguments: call.arguments.iter().map(|one| (one.param_id, one.value.clone())).collect(),
        };
        let mut actions = Vec::<(u32, Scope)>::new();
        for action in &table.action_refs {
            if actions.iter().any(|(id, _)| *id == action.id) {
                self.problem(&what, format!("names action {:#010x} twice", action.id));
            }
            actions.push((action.id, action.scope()));
        }
        Table {
            fields: self.match_fields(&what, &table.match_fields),
            size: self.size(&what, table.size),
            actions,
            id,
            name,
            alias,
            const_default: optional(table.const_default_action_id),
            initial_default: table.initial_default_action.as_ref().map(call),
            profile: optional(table.implementation_id),
            direct_counter: direct(table, Prefix::DirectCounter),
            direct_meter: direct(table, Prefix::DirectMeter),
            idle_timeout: table.idle_timeout_behavior() == IdleTimeoutBehavior::NotifyControl,
            is_const: table.is_const_table,
            has_initial_entries: table.has_initial_entries,
        }
    }

    fn profile(&mut self, profile: &config::ActionProfile) -> Profile {
        use action_profile::SelectorSizeSemantics as Sizes;
        let prefix = Prefix::ActionProfile as u32;
        let Head { id, name, alias, what } = self.head("action profile", prefix, profile.preamble.as_ref());
        let size_semantics = match &profile.selector_size_semantics {
            Some(Sizes::SumOfMembers(members)) => {
                let weight_max = u32::try_from(self.size(&what, members.max_member_weight.into())).unwrap_or(0);
                SizeSemantics::SumOfMembers { weight_max }
            }
            Some(Sizes::SumOfWeights(_)) | None => SizeSemantics::SumOfWeights,
        };
        Profile {
            id,
            name,
            alias,
            tables: profile.table_ids.clone(),
            selector: profile.with_selector,
            size: self.size(&what, profile.size),
            group_size_max: u32::try_from(self.size(&what, profile.max_group_size.into())).unwrap_or(0),
            size_semantics,
            weights_allowed: !profile.weights_disallowed,
        }
    }

    fn counters(&mut self, source: &P4Info) -> (Vec<Counter>, Vec<Counter>) {
        let unit = |spec: Option<&CounterSpec>| spec.map_or(CounterUnit::Unspecified, CounterSpec::unit);
        let arrays = source.counters.iter().map(|counter| {
            let Head { id, name, alias, what } =
                self.head("counter", Prefix::Counter as u32, counter.preamble.as_ref());
            let (size, unit) = (self.size(&what, counter.size), unit(counter.spec.as_ref()));
            self.has_unit(&what, unit != CounterUnit::Unspecified);
            Counter { id, name, alias, unit, size, table: None }
        });
        let arrays = arrays.collect();
        let direct = source.direct_counters.iter().map(|counter| {
            let prefix = Prefix::DirectCounter as u32;
            let Head { id, name, alias, what } = self.head("direct counter", prefix, counter.preamble.as_ref());
            let unit = unit(counter.spec.as_ref());
            self.has_unit(&what, unit != CounterUnit::Unspecified);
            Counter { id, name, alias, unit, size: 0, table: Some(counter.direct_table_id) }
        });
        (arrays, direct.collect())
    }

    fn meters(&mut self, source: &P4Info) -> (Vec<Meter>, Vec<Meter>) {
        let spec = |spec: Option<&MeterSpec>| {
            spec.map_or((MeterUnit::Unspecified, Default::default()), |spec| (spec.unit(), spec.r#type()))
        };
        let arrays = source.meters.iter().map(|meter| {
            let Head { id, name, alias, what } = self.head("meter", Prefix::Meter as u32, meter.preamble.as_ref());
            let (size, (unit, meter_type)) = (self.size(&what, meter.size), spec(meter.spec.as_ref()));
            self.has_unit(&what, unit != MeterUnit::Unspecified);
            Meter { id, name, alias, unit, meter_type, size, table: None }
        });
        let arrays = arrays.collect();
        let direct = source.direct_meters.iter().map(|meter| {
            let prefix = Prefix::DirectMeter as u32;
            let Head { id, name, alias, what } = self.head("direct meter", prefix, meter.preamble.as_ref());
            let (unit, meter_type) = spec(meter.spec.as_ref());
            self.has_unit(&what, unit != MeterUnit::Unspecified);
            Meter { id, name, alias, unit, meter_type, size: 0, table: Some(meter.direct_table_id) }
        });
        (arrays, direct.collect())
    }

    fn has_unit(&mut self, what: &str, has: bool) {
        if !has {
            self.problem(what, "does not say what it counts; expected a spec with a unit");
        }
    }

    fn register(&mut self, register: &config::Register) -> Register {
        let Head { id, name, alias, what } = self.head("register", Prefix::Register as u32, register.preamble.as_ref());
        let (type_spec, members) = self.data_type(&what, register.type_spec.as_ref());
        let width_bits = match &members[..] {
            [cell] if cell.name.is_empty() => cell.width_bits,
            _ => 0,
        };
        Register { id, name, alias, size: self.size(&what, register.size.into()), width_bits, type_spec }
    }

    fn digest(&mut self, digest: &config::Digest) -> Digest {
        let Head { id, name, alias, what } = self.head("digest", Prefix::Digest as u32, digest.preamble.as_ref());
        let (type_spec, members) = self.data_type(&what, digest.type_spec.as_ref());
        Digest { id, name, alias, members, type_spec }
    }

    fn data_type(&mut self, what: &str, spec: Option<&P4DataTypeSpec>) -> (P4DataTypeSpec, Vec<Parameter>) {
        let spec = spec.cloned().unwrap_or_default();
        let members = self.types.members(&spec).unwrap_or_else(|problem| {
            self.problem(what, problem);
            Vec::new()
        });
        (spec, members)
    }

    fn value_set(&mut self, set: &config::ValueSet) -> ValueSet {
        let Head { id, name, alias, what } = self.head("value set", Prefix::ValueSet as u32, set.preamble.as_ref());
        let fields = self.match_fields(&what, &set.r#match);
        ValueSet { id, name, alias, fields, size: self.size(&what, set.size.into()) }
    }

    fn packet_header(&mut self, header: &config::ControllerPacketMetadata) -> PacketHeader {
        let prefix = Prefix::ControllerHeader as u32;
        let Head { id, name, what, .. } = self.head("packet header", prefix, header.preamble.as_ref());
        if !DIRECTIONS.contains(&name.as_str()) {
            self.problem(&what, "is unknown; expected 'packet_in' or 'packet_out'");
        }
        let fields = header.metadata.iter().map(|field| {
            let place = format!("{what}, field '{}',", field.name);
            let width_bits = self.width(&place, field.bitwidth, field.type_name.as_ref());
            Parameter { id: field.id, name: field.name.clone(), width_bits }
        });
        let fields = fields.collect();
        PacketHeader { id, name, fields: self.parts("field", &what, fields) }
    }

    /// Every id that an entity names is one's of the right kind.
    fn references(&mut self, info: &Info) {
        for table in info.tables.iter() {
            let what = format!("table '{}'", table.name);
            for (action, _) in table.actions.iter().filter(|(id, _)| info.actions.by_id(*id).is_none()) {
                self.problem(&what, format!("names action {action:#010x}, which is not in the P4Info"));
            }
            self.defaults(&what, table, info);
            if let Some(id) = table.profile {
                match info.profiles.by_id(id) {
                    None => {
                        let problem =
                            format!("is implemented by action profile {id:#010x}, which is not in the P4Info");
                        self.problem(&what, problem);
                    }
                    Some(profile) if !profile.tables.contains(&table.id) => {
                        let problem =
                            format!("is implemented by action profile '{}', which does not list it", profile.name);
                        self.problem(&what, problem);
                    }
                    Some(_) => {}
                }
            }
        }
        for profile in info.profiles.iter() {
            let what = format!("action profile '{}'", profile.name);
            for id in &profile.tables {
                match info.tables.by_id(*id) {
                    None => self.problem(&what, format!("lists table {id:#010x}, which is not in the P4Info")),
                    Some(table) if table.profile != Some(profile.id) => {
                        self.problem(&what, format!("lists table '{}', which it does not implement", table.name));
                    }
                    Some(_) => {}
                }
            }
        }
        self.direct_resources(info);
    }

    fn defaults(&mut self, what: &str, table: &Table, info: &Info) {
        let initial = table.initial_default.as_ref();
        let named = [("const default", table.const_default), ("initial default", initial.map(|call| call.action))];
        for (which, id) in named {
            match id.map(|id| (id, table.scope(id))) {
                Some((id, None)) => {
                    self.problem(what, format!("has a {which} action {id:#010x} that is none of its own"))
                }
                Some((id, Some(Scope::TableOnly | Scope::GroupAction))) => {
                    self.problem(what, format!("has a {which} action {id:#010x} whose scope is entries alone"));
                }
                None | Some(_) => {}
            }
        }
        let Some((call, action)) = initial.and_then(|call| Some((call, info.actions.by_id(call.action)?))) else {
            return;
        };
        for (param, _) in call.arguments.iter().filter(|(id, _)| action.params.by_id(*id).is_none()) {
            let problem =
                format!("gives its initial default action '{}' parameter {param}, which it lacks", action.name);
            self.problem(what, problem);
        }
    }

    fn direct_resources(&mut self, info: &Info) {
        let counters = info.direct_counters.iter().map(|one| ("direct counter", &one.name, one.id, one.table));
        let meters = info.direct_meters.iter().map(|one| ("direct meter", &one.name, one.id, one.table));
        for (kind, name, id, table) in counters.chain(meters) {
            let what = format!("{kind} '{name}'");
            let table = table.unwrap_or_default();
            match info.tables.by_id(table) {
                None => self.problem(&what, format!("is of table {table:#010x}, which is not in the P4Info")),
                Some(table) if ![table.direct_counter, table.direct_meter].contains(&Some(id)) => {
                    self.problem(&what, format!("is of table '{}', which does not list it", table.name));
                }
                Some(_) => {}
            }
        }
        for table in info.tables.iter() {
            let what = format!("table '{}'", table.name);
            for id in [table.direct_counter, table.direct_meter].into_iter().flatten() {
                let owner = info.direct_counters.by_id(id).map(|one| one.table);
                match owner.or_else(|| info.direct_meters.by_id(id).map(|one| one.table)).flatten() {
                    None => {
                        self.problem(&what, format!("lists direct resource {id:#010x}, which is not in the P4Info"))
                    }
                    Some(owner) if owner != table.id => {
                        self.problem(&what, format!("lists direct resource {id:#010x}, which is another table's"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

/// The table's direct resource of a kind; those of externs have prefixes of their own.
fn direct(table: &config::Table, prefix: Prefix) -> Option<u32> {
    table.direct_resource_ids.iter().copied().find(|id| id >> PREFIX_SHIFT == prefix as u32)
}
