//! Puts entities together from parts and values, and says which of them the program has no room for.

use std::collections::{BTreeMap, BTreeSet};

use super::{Compiled, Problem};
use crate::p4info::MatchKind;
use crate::p4info::mapping::{Action, Field, Key, Mapping, Part, Selector};
use crate::southbound::p4runtime::{EntityKey, MatchKey, P4State};
use crate::types::PortNo;
use crate::wire::p4runtime::canonical::encode;
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::action_profile_group::member::WatchKind;
use crate::wire::p4runtime::v1::entity::Entity as Kind;
use crate::wire::p4runtime::v1::packet_replication_engine_entry::Type as Copies;
use crate::wire::p4runtime::v1::table_action::Type as Act;

/// More problems than this of one plan help nobody; the last one says how many were left out.
const PROBLEMS_MAX: usize = 100;

/// A value of a match field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Exact(u128),
    /// Value and prefix length.
    Lpm(u128, u8),
}

impl From<u16> for Value {
    fn from(value: u16) -> Self {
        Self::Exact(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Exact(value.into())
    }
}

/// One choice of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Within the selector; follows from the value, so that it stays the same.
    pub(super) id: u32,
    pub(super) action: &'static str,
    /// Of the action's only parameter, if it has one.
    pub(super) value: Option<u128>,
    pub(super) weight: u32,
    pub(super) watch: Option<PortNo>,
}

type Values<'v> = &'v [(&'v str, Value)];
type Params<'v> = &'v [(&'v str, u128)];

/// Entities of one switch in the making.
#[derive(Debug)]
pub(super) struct Builder<'m> {
    mapping: &'m Mapping,
    state: P4State,
    problems: Vec<Problem>,
    left_out: usize,
    /// Entries of every table so far.
    entries: BTreeMap<u32, u64>,
    /// Weights of every selector so far.
    weights: BTreeMap<u32, u64>,
    /// Made so far, by selector and id.
    members: BTreeSet<(u32, u32)>,
    groups: BTreeSet<(u32, u32)>,
}

impl<'m> Builder<'m> {
    pub(super) fn new(mapping: &'m Mapping) -> Self {
        Self {
            mapping,
            state: P4State::new(),
            problems: Vec::new(),
            left_out: 0,
            entries: BTreeMap::new(),
            weights: BTreeMap::new(),
            members: BTreeSet::new(),
            groups: BTreeSet::new(),
        }
    }

    pub(super) fn finish(mut self) -> Compiled {
        if self.left_out > 0 {
            let what = format!("{} more problems are not shown", self.left_out);
            self.problems.push(Problem { entity: "the plan".to_owned(), what });
        }
        Compiled { state: self.state, problems: self.problems }
    }

    pub(super) fn problem(&mut self, entity: impl Into<String>, what: impl Into<String>) {
        if self.problems.len() >= PROBLEMS_MAX {
            self.left_out += 1;
            return;
        }
        self.problems.push(Problem { entity: entity.into(), what: what.into() });
    }

    /// Tables in the order in which their entries are made.
    pub(super) fn order(&mut self, parts: &[&str]) {
        for (rank, name) in (0..).zip(parts) {
            if let Some(part) = self.mapping.part(name) {
                self.state.set_rank(part.id, rank);
            }
        }
    }

    /// An entry with an action of its own. A part that the program does not play needs none.
    pub(super) fn entry(&mut self, name: &str, values: Values<'_>, action: &str, params: Params<'_>) {
        let Some(part) = self.mapping.part(name) else { return };
        let Some(action) = part.actions.get(action) else { return };
        let call = call(action, params);
        let made = call.map(|call| v1::TableAction { r#type: Some(Act::Action(call)) });
        self.table_entry(part, values, made);
    }

    /// The default action of a table.
    pub(super) fn default_action(&mut self, name: &str, action: &str, params: Params<'_>) {
        let Some(part) = self.mapping.part(name) else { return };
        let Some(action) = part.actions.get(action) else { return };
        match call(action, params) {
            Ok(call) => {
                let action = Some(v1::TableAction { r#type: Some(Act::Action(call)) });
                let entry = v1::TableEntry { table_id: part.id, action, is_default_action: true, ..Default::default() };
                self.put(Kind::TableEntry(entry));
            }
            Err(what) => self.problem(format!("the default action of table '{}'", part.table), what),
        }
    }

    /// An entry that refers to a group, which is made unless another entry of the selector has it; weights of members
    /// with one id add up.
    pub(super) fn choice(&mut self, name: &str, values: Values<'_>, group: u32, members: &[Member]) {
        let Some(part) = self.mapping.part(name) else { return };
        let Some(selector) = &part.selector else { return };
        if let Err(what) = matches(part, values) {
            return self.problem(describe(part, values), what);
        }
        if self.groups.contains(&(selector.id, group)) || self.group(part, selector, group, members) {
            let action = v1::TableAction { r#type: Some(Act::ActionProfileGroupId(group)) };
            self.table_entry(part, values, Ok(action));
        }
    }

    fn group(&mut self, part: &Part, selector: &Selector, group: u32, members: &[Member]) -> bool {
        let mut merged: BTreeMap<u32, Member> = BTreeMap::new();
        for member in members {
            merged.entry(member.id).and_modify(|same| same.weight += member.weight).or_insert(*member);
        }
        let entity = format!("group {group} of '{}'", selector.name);
        if group == 0 {
            self.problem(entity, "0 stands for none: it is left out");
            return false;
        }
        if !self.room(selector, &entity, merged.values().map(|member| member.weight).sum()) {
            return false;
        }
        let mut kept = Vec::with_capacity(merged.len());
        for member in merged.values() {
            if self.member(part, selector, member) {
                kept.push(v1::action_profile_group::Member {
                    member_id: member.id,
                    weight: i32::try_from(member.weight).unwrap_or(i32::MAX),
                    watch_kind: member.watch.map(|port| WatchKind::WatchPort(encode(port.0.into()))),
                });
            }
        }
        if kept.is_empty() {
            return false;
        }
        self.groups.insert((selector.id, group));
        self.put(Kind::ActionProfileGroup(v1::ActionProfileGroup {
            action_profile_id: selector.id,
            group_id: group,
            members: kept,
            max_size: i32::try_from(selector.group_size_max).unwrap_or(i32::MAX),
        }));
        true
    }

    /// Whether a part is played and has an action.
    pub(super) fn has(&self, part: &str, action: &str) -> bool {
        self.mapping.part(part).is_some_and(|part| part.actions.contains_key(action))
    }

    /// An entry with all its choices in it (P4Runtime, section 9.2.3).
    pub(super) fn one_shot(&mut self, name: &str, values: Values<'_>, members: &[Member]) {
        let Some(part) = self.mapping.part(name) else { return };
        let Some(selector) = &part.selector else { return };
        let entity = describe(part, values);
        if !self.room(selector, &entity, members.iter().map(|member| member.weight).sum()) {
            return;
        }
        let made = members.iter().map(|member| {
            Ok(v1::ActionProfileAction {
                action: Some(member_call(part, member)?),
                weight: i32::try_from(member.weight).unwrap_or(i32::MAX),
                watch_kind: member
                    .watch
                    .map(|port| v1::action_profile_action::WatchKind::WatchPort(encode(port.0.into()))),
            })
        });
        let set = made.collect::<Result<Vec<_>, String>>().map(|action_profile_actions| v1::TableAction {
            r#type: Some(Act::ActionProfileActionSet(v1::ActionProfileActionSet {
                action_profile_actions,
                ..Default::default()
            })),
        });
        self.table_entry(part, values, set);
    }

    /// The clone session that copies to the controller.
    pub(super) fn cpu_session(&mut self) {
        if let Some(session) = self.mapping.cpu_session {
            self.session(session, &BTreeSet::from([PortNo(self.mapping.cpu_port)]));
        }
    }

    /// A clone session with a copy for each of these ports.
    pub(super) fn session(&mut self, session_id: u32, ports: &BTreeSet<PortNo>) {
        let replica = |port: &PortNo| v1::Replica {
            instance: 1,
            port_kind: Some(v1::replica::PortKind::Port(encode(port.0.into()))),
            ..Default::default()
        };
        let replicas = ports.iter().map(replica).collect();
        let session = v1::CloneSessionEntry { session_id, replicas, ..Default::default() };
        self.put(Kind::PacketReplicationEngineEntry(v1::PacketReplicationEngineEntry {
            r#type: Some(Copies::CloneSessionEntry(session)),
        }));
    }

    /// Whether the values fit the key of a part, and nothing has that key yet.
    pub(super) fn is_free(&self, name: &str, values: Values<'_>) -> bool {
        let Some(part) = self.mapping.part(name) else { return false };
        let Ok(key) = entity_key(part, values) else { return false };
        !self.state.contains(&key)
    }

    fn member(&mut self, part: &Part, selector: &Selector, member: &Member) -> bool {
        if self.members.contains(&(selector.id, member.id)) {
            return true;
        }
        let call = if member.id == 0 { Err("0 stands for none".to_owned()) } else { member_call(part, member) };
        match call {
            Ok(call) => {
                self.members.insert((selector.id, member.id));
                self.put(Kind::ActionProfileMember(v1::ActionProfileMember {
                    action_profile_id: selector.id,
                    member_id: member.id,
                    action: Some(call),
                }));
                true
            }
            Err(what) => {
                self.problem(format!("member {} of '{}'", member.id, selector.name), what);
                false
            }
        }
    }

    fn room(&mut self, selector: &Selector, entity: &str, weights: u32) -> bool {
        if selector.group_size_max != 0 && weights > selector.group_size_max {
            let most = selector.group_size_max;
            self.problem(entity, format!("weights of {weights}; expected at most {most}: it is left out"));
            return false;
        }
        let held = self.weights.entry(selector.id).or_default();
        if selector.size != 0 && *held + u64::from(weights) > selector.size {
            let what = format!("'{}' holds {} and has room for {}", selector.name, held, selector.size);
            self.problem(entity, format!("weights of {weights}, while {what}: it is left out"));
            return false;
        }
        *held += u64::from(weights);
        true
    }

    fn table_entry(&mut self, part: &Part, values: Values<'_>, action: Result<v1::TableAction, String>) {
        let held = self.entries.get(&part.id).copied().unwrap_or_default();
        let made = action.and_then(|action| {
            let matches = matches(part, values)?;
            if part.size != 0 && held >= part.size {
                return Err(format!("the table has room for {} entries: it is left out", part.size));
            }
            Ok(v1::TableEntry {
                table_id: part.id,
                r#match: matches,
                action: Some(action),
                priority: i32::from(part.priorities),
                ..Default::default()
            })
        });
        match made {
            Ok(entry) => {
                let before = self.state.len();
                self.put(Kind::TableEntry(entry));
                if self.state.len() > before {
                    self.entries.insert(part.id, held + 1);
                }
            }
            Err(what) => self.problem(describe(part, values), what),
        }
    }

    fn put(&mut self, kind: Kind) {
        self.state.insert(v1::Entity { entity: Some(kind) });
    }
}

fn call(action: &Action, params: Params<'_>) -> Result<v1::Action, String> {
    let mut made = Vec::with_capacity(params.len());
    for (name, value) in params {
        let Some(field) = action.params.get(name) else { continue };
        made.push(v1::action::Param { param_id: field.id, value: bytes(field, *value, &action.name)? });
    }
    made.sort_by_key(|param| param.param_id);
    Ok(v1::Action { action_id: action.id, params: made })
}

fn member_call(part: &Part, member: &Member) -> Result<v1::Action, String> {
    let Some(action) = part.actions.get(member.action) else {
        return Err(format!("table '{}' has no action for '{}'", part.table, member.action));
    };
    let param = action.params.keys().next().copied().unwrap_or_default();
    let params: Vec<(&str, u128)> = member.value.iter().map(|value| (param, *value)).collect();
    call(action, &params)
}

fn matches(part: &Part, values: Values<'_>) -> Result<Vec<v1::FieldMatch>, String> {
    use v1::field_match::{Exact, FieldMatchType, Lpm, Optional, Ternary};
    let mut made = Vec::with_capacity(values.len());
    for (name, value) in values {
        let Some(Key { field, kind }) = part.keys.get(name) else { continue };
        let matched = match (value, kind) {
            (Value::Lpm(value, bits), _) => {
                if *bits == 0 {
                    continue;
                }
                FieldMatchType::Lpm(Lpm { value: bytes(field, *value, &part.table)?, prefix_len: (*bits).into() })
            }
            (Value::Exact(value), MatchKind::Ternary) => {
                let mask = u128::MAX >> (128 - field.width_bits.min(128));
                FieldMatchType::Ternary(Ternary { value: bytes(field, *value, &part.table)?, mask: encode(mask) })
            }
            (Value::Exact(value), MatchKind::Optional) => {
                FieldMatchType::Optional(Optional { value: bytes(field, *value, &part.table)? })
            }
            (Value::Exact(value), _) => FieldMatchType::Exact(Exact { value: bytes(field, *value, &part.table)? }),
        };
        made.push(v1::FieldMatch { field_id: field.id, field_match_type: Some(matched) });
    }
    made.sort_by_key(|field| field.field_id);
    Ok(made)
}

fn entity_key(part: &Part, values: Values<'_>) -> Result<EntityKey, String> {
    use v1::field_match::FieldMatchType;
    let key = |field: v1::FieldMatch| {
        let key = match field.field_match_type? {
            FieldMatchType::Exact(exact) => MatchKey::Exact(exact.value),
            FieldMatchType::Ternary(ternary) => MatchKey::Ternary { value: ternary.value, mask: ternary.mask },
            FieldMatchType::Lpm(lpm) => MatchKey::Lpm { value: lpm.value, bits: lpm.prefix_len },
            FieldMatchType::Optional(optional) => MatchKey::Optional(optional.value),
            FieldMatchType::Range(_) | FieldMatchType::Other(_) => return None,
        };
        Some((field.field_id, key))
    };
    let matches = matches(part, values)?.into_iter().filter_map(key).collect();
    let priority = i32::from(part.priorities);
    Ok(EntityKey::Entry { table: part.id, matches, priority })
}

fn bytes(field: &Field, value: u128, whose: &str) -> Result<Vec<u8>, String> {
    let fits = field.width_bits >= 128 || value >> field.width_bits == 0;
    let what = || format!("{value} does not fit the {} bits of '{}' of '{whose}'", field.width_bits, field.name);
    fits.then(|| encode(value)).ok_or_else(what)
}

/// An entry in the words of a problem.
fn describe(part: &Part, values: Values<'_>) -> String {
    let each: Vec<String> = values
        .iter()
        .filter_map(|(name, value)| {
            let name = &part.keys.get(name)?.field.name;
            Some(match value {
                Value::Exact(value) => format!("{name} {value:#x}"),
                Value::Lpm(value, bits) => {
                    let address = u32::try_from(*value).map(std::net::Ipv4Addr::from_bits);
                    format!("{name} {}/{bits}", address.map_or_else(|_| value.to_string(), |it| it.to_string()))
                }
            })
        })
        .collect();
    format!("the entry of table '{}' for {}", part.table, each.join(", "))
}
