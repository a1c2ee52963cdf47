//! Entries of tables, checked and kept.

use std::sync::Arc;
use std::time::Duration;

use super::profiles::check_weights;
use super::{Bound, Call, ControlError, Counter, Entry, Key, MeterConfig, Outcome, Part, Weighted, invalid, unknown};
use crate::fabric::p4::machine::arrays::Meter;
use crate::fabric::p4::machine::table::{Choice, Does, EntryState, Held, Identity};
use crate::fabric::p4::machine::{Machine, is_up};
use crate::fabric::p4::program::layout::ones;
use crate::fabric::p4::program::pipeline::{ConstEntry, KeyField, Lookup, MatchKind, Table};
use crate::types::Timestamp;

/// The priority that P4Runtime shows for an entry of the program: BMv2's order upside down.
const PRIORITY_TOP: i32 = (1 << 24) - 1;

/// The key of an entry that the program brings.
pub(in super::super) fn const_key(table: &Table, entry: &ConstEntry) -> Key {
    let part = |(field, part): (&KeyField, &(u128, u128))| match field.kind {
        MatchKind::Exact => Part::Exact(part.0),
        MatchKind::Lpm => Part::Lpm { value: part.0, prefix: u32::try_from(part.1).unwrap_or(field.width) },
        MatchKind::Ternary => Part::Ternary { value: part.0 & part.1, mask: part.1 },
        MatchKind::Range => Part::Range { low: part.0, high: part.1 },
    };
    let priority = if table.lookup == Lookup::Ordered { PRIORITY_TOP.saturating_sub(entry.order) } else { 0 };
    Key { parts: table.key.iter().zip(&entry.parts).map(part).collect(), priority }
}

/// What of a key matters, or what is wrong with it.
pub(in super::super) fn identity(table: &Table, key: &Key) -> Result<Identity, String> {
    if key.parts.len() != table.key.len() {
        return Err(format!("expected {} fields in the key, came {}", table.key.len(), key.parts.len()));
    }
    let part = |(field, part): (&KeyField, &Part)| {
        let whole = ones(field.width);
        let (one, other) = match (field.kind, part) {
            (MatchKind::Exact, Part::Exact(value)) => (*value, whole),
            (MatchKind::Lpm, Part::Lpm { value, prefix }) if *prefix <= field.width => {
                let rest = ones(field.width - prefix);
                return fits(field, *value, 0).map(|()| (value & !rest & field.mask, u128::from(*prefix)));
            }
            (MatchKind::Ternary, Part::Ternary { value, mask }) => (value & mask, *mask),
            (MatchKind::Ternary, Part::Optional(value)) => {
                (value.unwrap_or(0), if value.is_some() { whole } else { 0 })
            }
            (MatchKind::Range, Part::Range { low, high }) if low <= high => (*low, *high),
            (kind, part) => {
                return Err(format!("field '{}': expected a match of kind {kind:?}, came {part:?}", field.name));
            }
        };
        fits(field, one, other)?;
        // What a static mask hides, no entry can ask for.
        Ok(if field.kind == MatchKind::Range { (one, other) } else { (one & field.mask, other) })
    };
    let parts = table.key.iter().zip(&key.parts).map(part).collect::<Result<_, _>>()?;
    Ok(Identity { parts, priority: if table.lookup == Lookup::Ordered { key.priority } else { 0 } })
}

fn fits(field: &KeyField, one: u128, other: u128) -> Result<(), String> {
    let over = !ones(field.width);
    if (one | other) & over != 0 {
        return Err(format!("field '{}' has {} bits, came {:#x}", field.name, field.width, one.max(other)));
    }
    Ok(())
}

impl Machine {
    fn table_at(&self, name: &str) -> Outcome<usize> {
        let found = self.program.flow.tables.iter().position(|table| &*table.name == name);
        found.ok_or_else(|| unknown("table", name))
    }

    fn identify(&self, table: &str, key: &Key) -> Outcome<(usize, Identity)> {
        let at = self.table_at(table)?;
        let identity = identity(&self.program.flow.tables[at], key);
        Ok((at, identity.map_err(|problem| invalid(format!("table '{table}'"), problem))?))
    }

    /// An action of the table, with checked arguments.
    fn call(&self, table: usize, call: &Call) -> Outcome<Held> {
        let shape = &self.program.flow.tables[table];
        let place = || format!("table '{}'", shape.name);
        let action = shape.actions.iter().find(|action| self.program.actions[**action].name == call.action);
        let action = *action.ok_or_else(|| invalid(place(), format!("it has no action '{}'", call.action)))?;
        self.check_arguments(action, &call.arguments).map_err(|problem| invalid(place(), problem))?;
        Ok(Held { action, arguments: call.arguments.clone() })
    }

    fn does(&self, table: usize, bound: &Bound) -> Outcome<Does> {
        let shape = &self.program.flow.tables[table];
        let place = format!("table '{}'", shape.name);
        match (bound, shape.profile) {
            (Bound::Call(call), None) => self.call(table, call).map(Does::Call),
            (Bound::Call(_), Some(_)) => Err(invalid(place, "expected a member, a group or a set of actions")),
            (_, None) => Err(invalid(place, "expected an action: the table has no action profile")),
            (Bound::Member(member), Some(profile)) => match self.profiles[profile].members.contains_key(member) {
                true => Ok(Does::Member(*member)),
                false => Err(invalid(place, format!("there is no member {member}"))),
            },
            (Bound::Group(group), Some(profile)) => match self.profiles[profile].groups.contains_key(group) {
                true => Ok(Does::Group(*group)),
                false => Err(invalid(place, format!("there is no group {group}"))),
            },
            (Bound::Set(set), Some(profile)) => {
                if self.program.flow.profiles[profile].selector.is_none() {
                    return Err(invalid(place, "the action profile has no selector"));
                }
                check_weights(&place, set.iter().map(|weighted| weighted.weight))?;
                let choice = |weighted: &Weighted| {
                    let held = self.call(table, &weighted.call)?;
                    Ok(Choice { held, weight: weighted.weight, watch: weighted.watch })
                };
                let choices = set.iter().map(choice).collect::<Outcome<Vec<Choice>>>()?;
                let mut does = Does::Set { choices, live: Vec::new() };
                does.refresh(|port| is_up(&self.ports, self.cpu_port, port));
                Ok(does)
            }
        }
    }

    fn timeout_us(&self, table: usize, timeout: Option<Duration>) -> Outcome<u64> {
        let shape = &self.program.flow.tables[table];
        match timeout {
            None => Ok(0),
            Some(_) if !shape.ages => Err(invalid(format!("table '{}'", shape.name), "its entries do not age")),
            Some(timeout) => Ok(u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX)),
        }
    }

    /// Adds an entry. `idle_timeout` is refused by tables that do not age.
    pub fn insert(
        &mut self,
        table: &str,
        key: &Key,
        bound: &Bound,
        idle_timeout: Option<Duration>,
        now: Timestamp,
    ) -> Outcome {
        let (at, identity) = self.identify(table, key)?;
        let shape = &self.program.flow.tables[at];
        if shape.is_const || shape.key.is_empty() {
            return Err(ControlError::Constant { place: format!("table '{table}'") });
        }
        let does = self.does(at, bound)?;
        let timeout_us = self.timeout_us(at, idle_timeout)?;
        let state = &mut self.tables[at];
        if state.by_identity.contains_key(&identity) {
            return Err(ControlError::Exists { place: format!("entry {key:?} of table '{table}'") });
        }
        if shape.size > 0 && state.by_identity.len() >= shape.size {
            return Err(ControlError::Full { place: format!("table '{table}'"), most: shape.size });
        }
        let mut entry = EntryState::new(key.clone(), identity, does, false, now);
        entry.timeout_us = timeout_us;
        state.insert(shape, entry);
        Ok(())
    }

    fn find(&self, table: &str, key: &Key) -> Outcome<&EntryState> {
        let (at, identity) = self.identify(table, key)?;
        let missing = || ControlError::Missing { place: format!("entry {key:?} of table '{table}'") };
        self.tables[at].entry(&identity).ok_or_else(missing)
    }

    fn find_mut(&mut self, table: &str, key: &Key) -> Outcome<&mut EntryState> {
        let (at, identity) = self.identify(table, key)?;
        let missing = || ControlError::Missing { place: format!("entry {key:?} of table '{table}'") };
        self.tables[at].entry_mut(&identity).ok_or_else(missing)
    }

    /// An entry that the control plane may change.
    fn find_own(&mut self, table: &str, key: &Key) -> Outcome<&mut EntryState> {
        match self.find_mut(table, key)? {
            entry if entry.is_const => {
                Err(ControlError::Constant { place: format!("entry {key:?} of table '{table}'") })
            }
            entry => Ok(entry),
        }
    }

    /// Changes what an entry does; its direct counter stays, its idle time begins anew.
    pub fn modify(
        &mut self,
        table: &str,
        key: &Key,
        bound: &Bound,
        idle_timeout: Option<Duration>,
        now: Timestamp,
    ) -> Outcome {
        let at = self.table_at(table)?;
        self.find_own(table, key)?;
        let does = self.does(at, bound)?;
        let timeout_us = self.timeout_us(at, idle_timeout)?;
        let entry = self.find_own(table, key)?;
        (entry.does, entry.timeout_us) = (does, timeout_us);
        (entry.last_hit, entry.was_told) = (now, false);
        Ok(())
    }

    pub fn delete(&mut self, table: &str, key: &Key) -> Outcome {
        self.find_own(table, key)?;
        let (at, identity) = self.identify(table, key)?;
        self.tables[at].remove(&self.program.flow.tables[at], &identity);
        Ok(())
    }

    fn show(&self, entry: &EntryState) -> Entry {
        let bound = match &entry.does {
            Does::Call(held) => Bound::Call(self.call_of(held)),
            Does::Member(member) => Bound::Member(*member),
            Does::Group(group) => Bound::Group(*group),
            Does::Set { choices, .. } => Bound::Set(
                choices
                    .iter()
                    .map(|choice| Weighted {
                        call: self.call_of(&choice.held),
                        weight: choice.weight,
                        watch: choice.watch,
                    })
                    .collect(),
            ),
        };
        Entry {
            key: entry.key.clone(),
            bound,
            is_const: entry.is_const,
            idle_timeout: (entry.timeout_us > 0).then(|| Duration::from_micros(entry.timeout_us)),
            last_hit: entry.last_hit,
            counter: entry.counter,
        }
    }

    pub fn entry(&self, table: &str, key: &Key) -> Outcome<Entry> {
        self.find(table, key).map(|entry| self.show(entry))
    }

    /// All entries, those of the program included, in the order of their keys.
    pub fn entries(&self, table: &str) -> Outcome<Vec<Entry>> {
        let state = &self.tables[self.table_at(table)?];
        let entries = state.by_identity.values().filter_map(|id| state.entries[*id].as_ref());
        Ok(entries.map(|entry| self.show(entry)).collect())
    }

    /// Sets what a miss does. `None` gives back the program's own default.
    pub fn set_default(&mut self, table: &str, call: Option<&Call>) -> Outcome {
        let at = self.table_at(table)?;
        let shape = &self.program.flow.tables[at];
        if shape.is_default_const {
            return Err(ControlError::Constant { place: format!("the default of table '{table}'") });
        }
        self.tables[at].default = match call {
            Some(call) => Some(self.call(at, call)?),
            None => shape.default.clone().map(|(action, arguments)| Held { action, arguments }),
        };
        Ok(())
    }

    /// What a miss does; `None` where the table has no default action.
    pub fn default_call(&self, table: &str) -> Outcome<Option<Call>> {
        let at = self.table_at(table)?;
        let held = self.tables[at].default.as_ref();
        Ok(held.map(|held| Call {
            action: Arc::clone(&self.program.actions[held.action].name),
            arguments: held.arguments.clone(),
        }))
    }

    pub fn set_direct_counter(&mut self, table: &str, key: &Key, value: Counter) -> Outcome {
        if !self.program.flow.tables[self.table_at(table)?].is_counted {
            return Err(invalid(format!("table '{table}'"), "it has no direct counter"));
        }
        self.find_mut(table, key)?.counter = value;
        Ok(())
    }

    /// `None` lets everything pass as green.
    pub fn set_direct_meter(&mut self, table: &str, key: &Key, config: Option<MeterConfig>) -> Outcome {
        if self.program.flow.tables[self.table_at(table)?].meter.is_none() {
            return Err(invalid(format!("table '{table}'"), "it has no direct meter"));
        }
        self.find_mut(table, key)?.meter = config.map(Meter::new);
        Ok(())
    }

    pub fn direct_meter(&self, table: &str, key: &Key) -> Outcome<Option<MeterConfig>> {
        Ok(self.find(table, key)?.meter.as_ref().map(|meter| meter.config))
    }
}
