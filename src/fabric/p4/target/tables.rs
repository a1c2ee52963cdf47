//! Table entries: inserted, modified, deleted and read (specification, "TableEntry").

use std::collections::BTreeMap;

use tonic::Code;

use super::key::{Bound, Call, Key, check_action, read_key, write_key};
use super::plane::{Plane, Rejected};
use super::profiles::{Mode, ProfileState, read_set, target, write_set};
use super::refusal::{Behaviour, Outcome, Refusal};
use super::schema::{Schema, Table};
use crate::types::Timestamp;
use crate::wire::p4runtime::v1;

/// One entry as the controller wrote it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    bound: Bound,
    pub(super) cookie: u64,
    pub(super) metadata: Vec<u8>,
    pub(super) idle_timeout_ns: i64,
    meter: Option<v1::MeterConfig>,
    /// Part of the program: it cannot be changed.
    is_const: bool,
}

/// What one table holds, beside what the data plane does.
#[derive(Clone, Debug, Default)]
pub(super) struct TableState {
    pub(super) entries: BTreeMap<Key, Held>,
    default_cookie: u64,
    default_metadata: Vec<u8>,
    /// The default entry is the controller's, not the program's.
    pub(super) has_own_default: bool,
}

impl TableState {
    /// With the entries that the program brings.
    pub(super) fn new(initial: Vec<(Key, Bound)>, is_const: bool) -> Self {
        let held = |bound| Held { bound, cookie: 0, metadata: Vec::new(), idle_timeout_ns: 0, meter: None, is_const };
        let entries = initial.into_iter().map(|(key, bound)| (key, held(bound))).collect();
        Self { entries, ..Self::default() }
    }
}

/// A table together with what its changes need.
pub(super) struct Programming<'p> {
    pub(super) schema: &'p Schema,
    pub(super) table: &'p Table,
    pub(super) state: &'p mut TableState,
    pub(super) profiles: &'p mut BTreeMap<u32, ProfileState>,
    pub(super) plane: &'p mut Plane,
    pub(super) behaviour: Behaviour,
    pub(super) now: Timestamp,
}

impl Programming<'_> {
    pub(super) fn write(&mut self, update: v1::update::Type, entry: &v1::TableEntry) -> Outcome {
        if entry.time_since_last_hit.is_some() {
            return Err(Refusal::invalid("has_time_since_last_hit must not be set in WriteRequest"));
        }
        if entry.is_const && self.behaviour == Behaviour::Specification {
            return Err(Refusal::invalid("is_const must not be set in WriteRequest"));
        }
        match update {
            v1::update::Type::Unspecified => Err(Refusal::invalid("Update type is not set")),
            v1::update::Type::Insert if entry.is_default_action => {
                Err(Refusal::invalid("Cannot use INSERT for default entry"))
            }
            v1::update::Type::Delete if entry.is_default_action => {
                Err(Refusal::invalid("Cannot use DELETE for default entry"))
            }
            v1::update::Type::Insert => self.insert(entry),
            v1::update::Type::Modify if entry.is_default_action => self.set_default(entry),
            v1::update::Type::Modify => self.modify(entry),
            v1::update::Type::Delete => self.delete(entry),
        }
    }

    fn is_strict(&self) -> bool {
        self.behaviour == Behaviour::Specification
    }

    fn insert(&mut self, entry: &v1::TableEntry) -> Outcome {
        if entry.action.is_none() {
            return Err(Refusal::invalid("'action' field must be set"));
        }
        if self.is_strict() && self.table.is_const {
            return Err(constant(self.table));
        }
        if self.is_strict() && self.table.fields.is_empty() {
            return Err(Refusal::invalid("A table without a key has a default entry only"));
        }
        let key = read_key(self.table, entry, self.behaviour)?;
        let held = self.read_entry(entry)?;
        if self.state.entries.contains_key(&key) {
            let message = "Match entry exists, use MODIFY if you wish to change action";
            return Err(Refusal::new(Code::AlreadyExists, message));
        }
        let is_full = self.table.size > 0 && self.state.entries.len() >= self.table.size;
        if is_full || self.table.is_const || self.table.fields.is_empty() {
            return Err(self.behaviour.pick(target("adding match entry to"), full(self.table)));
        }
        let ttl = held.idle_timeout_ns.unsigned_abs();
        let placed = self.plane.insert(self.schema, self.table, &key, &held.bound, ttl, self.now);
        placed.map_err(|rejected| match (self.behaviour, rejected) {
            (Behaviour::Specification, Rejected::Full) => full(self.table),
            (Behaviour::Specification, Rejected::Constant) => constant(self.table),
            _ => target("adding match entry to"),
        })?;
        self.direct_resources(&key, entry);
        self.count_use(&held.bound, true);
        self.state.entries.insert(key, held);
        Ok(())
    }

    fn modify(&mut self, entry: &v1::TableEntry) -> Outcome {
        let key = read_key(self.table, entry, self.behaviour)?;
        if entry.action.is_none() && !self.is_strict() {
            check_indirection(self.table, entry)?;
            return Err(Refusal::invalid("'action' field must be set for non-default entries"));
        }
        let known = self.state.entries.get(&key).cloned();
        if self.is_strict() && entry.action.is_some() && known.as_ref().is_some_and(|known| known.is_const) {
            return Err(constant(self.table));
        }
        let mut held = match (&entry.action, &known) {
            // Only what is beside the action changes.
            (None, Some(known)) => self.read_beside(entry, known.bound.clone())?,
            (None, None) => return Err(Refusal::not_found("Cannot find match entry")),
            (Some(_), _) => self.read_entry(entry)?,
        };
        let Some(known) = known.filter(|known| self.is_strict() || !known.is_const) else {
            return Err(Refusal::not_found("Cannot find match entry"));
        };
        held.is_const = known.is_const;
        if entry.action.is_some() {
            let ttl = held.idle_timeout_ns.unsigned_abs();
            let placed = self.plane.modify(self.schema, self.table, &key, &held.bound, ttl, self.now);
            placed.map_err(|_| target("modifying match entry in"))?;
            self.count_use(&held.bound, true);
            self.count_use(&known.bound, false);
        }
        self.direct_resources(&key, entry);
        self.state.entries.insert(key, held);
        Ok(())
    }

    fn delete(&mut self, entry: &v1::TableEntry) -> Outcome {
        let key = read_key(self.table, entry, self.behaviour)?;
        let known = self.state.entries.get(&key);
        match known {
            Some(known) if known.is_const && self.is_strict() => return Err(constant(self.table)),
            Some(known) if !known.is_const => {}
            _ => return Err(Refusal::not_found("Cannot find match entry")),
        }
        self.plane.delete(self.table, &key).map_err(|_| target("deleting match entry in"))?;
        if let Some(known) = self.state.entries.remove(&key) {
            self.count_use(&known.bound, false);
        }
        Ok(())
    }

    fn set_default(&mut self, entry: &v1::TableEntry) -> Outcome {
        check_default_key(entry)?;
        check_default(self.table)?;
        if self.is_strict() && entry.idle_timeout_ns != 0 {
            return Err(Refusal::invalid("idle_timeout_ns must be 0 for the default entry"));
        }
        check_ttl(self.table, entry)?;
        let call = match &entry.action {
            None => None,
            Some(_) => {
                check_indirection(self.table, entry)?;
                match self.read_bound(entry, true)? {
                    Bound::Call(call) => Some(call),
                    _ => return Err(Refusal::invalid("expected an action for the default entry")),
                }
            }
        };
        check_direct(self.table, entry)?;
        let placed = self.plane.set_default(self.schema, self.table, call.as_ref());
        placed.map_err(|_| target("modifying match entry in"))?;
        self.state.has_own_default = call.is_some();
        let (cookie, metadata) = match call {
            Some(_) => (entry.controller_metadata, entry.metadata.clone()),
            None => (0, Vec::new()),
        };
        (self.state.default_cookie, self.state.default_metadata) = (cookie, metadata);
        Ok(())
    }

    /// Everything of an entry but its key.
    fn read_entry(&mut self, entry: &v1::TableEntry) -> Outcome<Held> {
        check_indirection(self.table, entry)?;
        let bound = self.read_bound(entry, false)?;
        self.read_beside(entry, bound)
    }

    fn read_beside(&self, entry: &v1::TableEntry, bound: Bound) -> Outcome<Held> {
        check_direct(self.table, entry)?;
        check_ttl(self.table, entry)?;
        Ok(Held {
            bound,
            cookie: entry.controller_metadata,
            metadata: entry.metadata.clone(),
            idle_timeout_ns: entry.idle_timeout_ns,
            meter: entry.meter_config,
            is_const: false,
        })
    }

    fn read_bound(&mut self, entry: &v1::TableEntry, is_default: bool) -> Outcome<Bound> {
        use v1::table_action::Type;
        let Some(action) = entry.action.as_ref().and_then(|action| action.r#type.as_ref()) else {
            return Err(Refusal::invalid("Invalid table action type"));
        };
        if let Type::Action(action) = action {
            check_action(self.schema, self.table, action.action_id, is_default, self.behaviour)?;
            return Ok(Bound::Call(Call::read(self.schema, action, self.behaviour)?));
        }
        let profile = self.table.profile.and_then(|id| self.schema.profiles.get(&id));
        let profile = profile.ok_or_else(|| Refusal::invalid("Invalid table action type"))?;
        let state = self.profiles.entry(profile.id).or_default();
        let missing = || match self.behaviour {
            Behaviour::Bmv2 => Refusal::invalid("Invalid member / group id"),
            Behaviour::Specification => Refusal::not_found("The member or group is not there"),
        };
        match action {
            Type::ActionProfileActionSet(set) => {
                state.enter(Mode::OneShot)?;
                Ok(Bound::Set(read_set(self.schema, profile, set, self.behaviour)?))
            }
            Type::ActionProfileMemberId(id) => {
                state.enter(Mode::Manual)?;
                if state.has_member(*id) { Ok(Bound::Member(*id)) } else { Err(missing()) }
            }
            Type::ActionProfileGroupId(id) => {
                state.enter(Mode::Manual)?;
                if state.has_group(*id) { Ok(Bound::Group(*id)) } else { Err(missing()) }
            }
            Type::Action(_) => unreachable!("looked at above"),
        }
    }

    fn direct_resources(&mut self, key: &Key, entry: &v1::TableEntry) {
        if let Some(data) = &entry.counter_data {
            let _ = self.plane.set_direct_counter(self.table, key, data);
        }
        if self.table.direct_meter.is_some() {
            let _ = self.plane.set_direct_meter(self.table, key, entry.meter_config.as_ref());
        }
    }

    fn count_use(&mut self, bound: &Bound, more: bool) {
        let Some(state) = self.table.profile.and_then(|id| self.profiles.get_mut(&id)) else { return };
        match bound {
            Bound::Call(_) => {}
            Bound::Member(id) => state.use_member(*id, more),
            Bound::Group(id) => state.use_group(*id, more),
            Bound::Set(_) => state.use_set(more),
        }
    }

    /// Changes the meter of an entry, for reads to come.
    pub(super) fn keep_meter(&mut self, key: &Key, meter: Option<v1::MeterConfig>) {
        if let Some(held) = self.state.entries.get_mut(key) {
            held.meter = meter;
        }
    }

    pub(super) fn read(&mut self, wanted: &v1::TableEntry, out: &mut Vec<v1::TableEntry>) -> Outcome {
        if wanted.is_default_action {
            out.push(self.read_default(wanted)?);
            return Ok(());
        }
        if wanted.time_since_last_hit.is_some() && !self.table.ages {
            return Err(Refusal::invalid(
                "Do not set time_since_last_hit for a ReadRequest if the table does not support idle timeout; \
                 yes, that includes wildcard reads",
            ));
        }
        if !wanted.r#match.is_empty() {
            let key = read_key(self.table, wanted, self.behaviour)?;
            if let Some(held) = self.state.entries.get(&key) {
                out.push(self.write_entry(&key, held, wanted));
            }
            return Ok(());
        }
        let chosen = self.state.entries.iter().filter(|(key, held)| self.is_wanted(key, held, wanted));
        out.extend(chosen.map(|(key, held)| self.write_entry(key, held, wanted)));
        Ok(())
    }

    /// The filters of a wildcard read, which BMv2 does not look at.
    fn is_wanted(&self, key: &Key, held: &Held, wanted: &v1::TableEntry) -> bool {
        if !self.is_strict() {
            return true;
        }
        let action = match wanted.action.as_ref().and_then(|action| action.r#type.as_ref()) {
            Some(v1::table_action::Type::Action(action)) => Some(action.action_id),
            _ => None,
        };
        let of_action = |id| matches!(&held.bound, Bound::Call(call) if call.action == id);
        (wanted.priority == 0 || wanted.priority == key.priority)
            && (wanted.controller_metadata == 0 || wanted.controller_metadata == held.cookie)
            && (wanted.metadata.is_empty() || wanted.metadata == held.metadata)
            && action.is_none_or(of_action)
    }

    fn read_default(&self, wanted: &v1::TableEntry) -> Outcome<v1::TableEntry> {
        if wanted.time_since_last_hit.is_some() {
            return Err(Refusal::invalid(
                "Default table entries do not support entry ageing, do not set 'time_since_last_hit' in your ReadRequest",
            ));
        }
        let call = self.plane.default(self.schema, self.table);
        Ok(v1::TableEntry {
            table_id: self.table.id,
            is_default_action: true,
            action: call.map(|call| write_bound(self.schema, &Bound::Call(call))),
            controller_metadata: self.state.default_cookie,
            metadata: self.state.default_metadata.clone(),
            ..Default::default()
        })
    }

    fn write_entry(&self, key: &Key, held: &Held, wanted: &v1::TableEntry) -> v1::TableEntry {
        let since = || {
            // BMv2 knows no time since the last hit where nothing ages.
            let is_known = held.idle_timeout_ns > 0 || self.is_strict();
            let elapsed = if is_known { self.plane.since_hit(self.table, key, self.now) } else { 0 };
            v1::table_entry::IdleTimeout { elapsed_ns: elapsed.cast_signed() }
        };
        let counter = wanted.counter_data.filter(|_| self.table.direct_counter.is_some());
        v1::TableEntry {
            table_id: self.table.id,
            r#match: write_key(key, self.table),
            action: Some(write_bound(self.schema, &held.bound)),
            priority: key.priority,
            controller_metadata: held.cookie,
            metadata: held.metadata.clone(),
            meter_config: held.meter.filter(|_| wanted.meter_config.is_some()),
            counter_data: counter.map(|_| self.plane.direct_counter(self.table, key)),
            idle_timeout_ns: held.idle_timeout_ns,
            time_since_last_hit: wanted.time_since_last_hit.map(|_| since()),
            is_const: held.is_const && self.is_strict(),
            ..Default::default()
        }
    }
}

pub(super) fn write_bound(schema: &Schema, bound: &Bound) -> v1::TableAction {
    use v1::table_action::Type;
    let action = match bound {
        Bound::Call(call) => Type::Action(call.write(schema)),
        Bound::Member(id) => Type::ActionProfileMemberId(*id),
        Bound::Group(id) => Type::ActionProfileGroupId(*id),
        Bound::Set(set) => Type::ActionProfileActionSet(write_set(schema, set)),
    };
    v1::TableAction { r#type: Some(action) }
}

pub(super) fn check_default_key(entry: &v1::TableEntry) -> Outcome {
    if !entry.r#match.is_empty() {
        return Err(Refusal::invalid("Non-empty key for default entry"));
    }
    if entry.priority != 0 {
        return Err(Refusal::invalid("Non-zero priority for default entry"));
    }
    Ok(())
}

fn check_default(table: &Table) -> Outcome {
    if table.profile.is_some() {
        let message = format!("Cannot set / reset default action for indirect table {}", table.id);
        return Err(Refusal::invalid(message));
    }
    if table.const_default {
        let message =
            format!("Cannot set / reset default action for table {} which has a const default action", table.id);
        return Err(Refusal::new(Code::PermissionDenied, message));
    }
    Ok(())
}

/// Direct tables take actions, the others what their profile has.
fn check_indirection(table: &Table, entry: &v1::TableEntry) -> Outcome {
    let Some(action) = &entry.action else { return Ok(()) };
    let is_direct = matches!(action.r#type, Some(v1::table_action::Type::Action(_)));
    match table.profile {
        Some(_) if is_direct => {
            Err(Refusal::invalid(format!("Cannot provide direct action for indirect table {}", table.id)))
        }
        None if !is_direct => {
            Err(Refusal::invalid(format!("Cannot provide indirect action for direct table {}", table.id)))
        }
        _ => Ok(()),
    }
}

fn check_direct(table: &Table, entry: &v1::TableEntry) -> Outcome {
    if let Some(config) = &entry.meter_config {
        if table.direct_meter.is_none() {
            return Err(Refusal::invalid("Table has no direct meters"));
        }
        super::arrays::check_meter(config)?;
    }
    if entry.counter_data.is_some() && table.direct_counter.is_none() {
        return Err(Refusal::invalid("Table has no direct counters"));
    }
    Ok(())
}

fn check_ttl(table: &Table, entry: &v1::TableEntry) -> Outcome {
    if entry.idle_timeout_ns < 0 {
        return Err(Refusal::invalid("idle_timeout_ns must be a positive value"));
    }
    if entry.idle_timeout_ns > 0 && !table.ages {
        let message = "idle_timeout_ns must be set to 0 for tables which do not support idle timeout";
        return Err(Refusal::invalid(message));
    }
    Ok(())
}

fn full(table: &Table) -> Refusal {
    Refusal::new(Code::ResourceExhausted, format!("Table '{}' is full: it takes {} entries", table.name, table.size))
}

fn constant(table: &Table) -> Refusal {
    Refusal::new(Code::PermissionDenied, format!("Entries of table '{}' are constant", table.name))
}
