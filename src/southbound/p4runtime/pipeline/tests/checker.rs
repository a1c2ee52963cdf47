//! Whether entities fit a P4Info: ids, keys, widths, parameters, references and sizes, by the specification alone.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::p4info::{MatchKind, Parameter, Table};
use crate::wire::p4runtime::canonical::{fits, is_canonical};
use crate::wire::p4runtime::v1::action_profile_group::member::WatchKind;
use crate::wire::p4runtime::v1::field_match::FieldMatchType as Match;
use crate::wire::p4runtime::v1::packet_replication_engine_entry::Type as Copies;
use crate::wire::p4runtime::v1::table_action::Type as Act;

pub(super) fn problems(info: &Info, state: &P4State) -> Vec<String> {
    let mut problems = Vec::new();
    let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
    let mut weights: BTreeMap<u32, u64> = BTreeMap::new();
    let mut members: BTreeSet<(u32, u32)> = BTreeSet::new();
    let mut groups: BTreeSet<(u32, u32)> = BTreeSet::new();
    for (_, entity) in state.iter() {
        match entity.entity.as_ref().expect("an entity") {
            Kind::ActionProfileMember(member) => _ = members.insert((member.action_profile_id, member.member_id)),
            Kind::ActionProfileGroup(group) => _ = groups.insert((group.action_profile_id, group.group_id)),
            _ => {}
        }
    }
    for (key, entity) in state.iter() {
        let checked = match entity.entity.as_ref().expect("an entity") {
            Kind::TableEntry(entry) => {
                *sizes.entry(entry.table_id).or_default() += u64::from(!entry.is_default_action);
                table_entry(info, entry, &groups, &mut weights)
            }
            Kind::ActionProfileMember(member) => {
                let tables = info.profile_by_id(member.action_profile_id).map(|profile| profile.tables.clone());
                let tables = tables.unwrap_or_default();
                let allowed = tables.iter().filter_map(|id| info.table_by_id(*id)).collect::<Vec<_>>();
                member
                    .action
                    .as_ref()
                    .ok_or("no action".to_owned())
                    .and_then(|action| call(info, &allowed, action, false))
            }
            Kind::ActionProfileGroup(its) => group(info, its, &members, &mut weights),
            Kind::PacketReplicationEngineEntry(entry) => match &entry.r#type {
                Some(Copies::CloneSessionEntry(session)) if session.session_id > 0 && !session.replicas.is_empty() => {
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            },
            other => Err(format!("no state: {other:?}")),
        };
        problems.extend(checked.err().map(|problem| format!("{key:?}: {problem}")));
    }
    for (table, held) in sizes {
        let room = info.table_by_id(table).map(|table| table.size).unwrap_or_default();
        if room > 0 && held > room {
            problems.push(format!("table {table}: {held} entries of {room}"));
        }
    }
    for (profile, held) in weights {
        let room = info.profile_by_id(profile).map(|profile| profile.size).unwrap_or_default();
        if room > 0 && held > room {
            problems.push(format!("profile {profile}: weights of {held} of {room}"));
        }
    }
    problems
}

fn value(bytes: &[u8], width_bits: u32) -> Result<(), String> {
    fits(bytes, width_bits).map_err(|error| error.to_string())?;
    if is_canonical(bytes) { Ok(()) } else { Err(format!("{bytes:?} is not canonical")) }
}

fn table_entry(
    info: &Info,
    entry: &v1::TableEntry,
    groups: &BTreeSet<(u32, u32)>,
    weights: &mut BTreeMap<u32, u64>,
) -> Result<(), String> {
    let table = info.table_by_id(entry.table_id).ok_or("no such table")?;
    if entry.is_default_action {
        if !entry.r#match.is_empty() || entry.priority != 0 || table.profile.is_some() || table.const_default.is_some()
        {
            return Err("not a default action that can be set".to_owned());
        }
    } else {
        if (entry.priority > 0) != table.has_priorities() {
            return Err(format!("priority {}", entry.priority));
        }
        let given: BTreeSet<u32> = entry.r#match.iter().map(|field| field.field_id).collect();
        if given.len() < entry.r#match.len() {
            return Err("a field is given twice".to_owned());
        }
        for field in table.fields.iter().filter(|field| field.kind == MatchKind::Exact) {
            given.get(&field.id).ok_or_else(|| format!("lacks '{}'", field.name))?;
        }
        entry.r#match.iter().try_for_each(|field| match_field(table, field))?;
    }
    let action = entry.action.as_ref().and_then(|action| action.r#type.as_ref()).ok_or("no action")?;
    match (action, table.profile) {
        (Act::Action(action), None) => call(info, &[table], action, entry.is_default_action),
        (Act::ActionProfileGroupId(group), Some(profile)) => {
            groups.get(&(profile, *group)).map(|_| ()).ok_or_else(|| format!("no group {group}"))
        }
        (Act::ActionProfileActionSet(set), Some(profile)) => {
            for one in &set.action_profile_actions {
                if one.weight < 1 {
                    return Err(format!("weight {}", one.weight));
                }
                *weights.entry(profile).or_default() += u64::try_from(one.weight).expect("above 0");
                call(info, &[table], one.action.as_ref().ok_or("no action")?, false)?;
            }
            let most = info.profile_by_id(profile).expect("checked with the P4Info").group_size_max;
            let sum: i64 = set.action_profile_actions.iter().map(|one| i64::from(one.weight)).sum();
            if most > 0 && sum > most.into() { Err(format!("weights of {sum} of {most}")) } else { Ok(()) }
        }
        (action, profile) => Err(format!("{action:?} with profile {profile:?}")),
    }
}

fn match_field(table: &Table, field: &v1::FieldMatch) -> Result<(), String> {
    let known = table.fields.by_id(field.field_id).ok_or("no such field")?;
    let width = known.width_bits;
    match (&known.kind, field.field_match_type.as_ref().ok_or("no match")?) {
        (MatchKind::Exact, Match::Exact(exact)) => value(&exact.value, width),
        (MatchKind::Optional, Match::Optional(optional)) => value(&optional.value, width),
        (MatchKind::Lpm, Match::Lpm(lpm)) => {
            value(&lpm.value, width)?;
            let bits =
                u32::try_from(lpm.prefix_len).ok().filter(|bits| (1..=width).contains(bits)).ok_or("prefix length")?;
            let number = lpm.value.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
            if number & ((1 << (width - bits)) - 1) == 0 { Ok(()) } else { Err("bits beyond the prefix".to_owned()) }
        }
        (MatchKind::Ternary, Match::Ternary(ternary)) => {
            value(&ternary.value, width)?;
            value(&ternary.mask, width)
        }
        (kind, matched) => Err(format!("{matched:?} for {kind:?}")),
    }
}

fn call(info: &Info, tables: &[&Table], called: &v1::Action, default: bool) -> Result<(), String> {
    let action = info.action_by_id(called.action_id).ok_or("no such action")?;
    for table in tables {
        match table.scope(action.id) {
            None => return Err(format!("'{}' is no action of '{}'", action.name, table.name)),
            Some(crate::p4info::Scope::DefaultOnly) if !default => return Err("for default actions only".to_owned()),
            Some(crate::p4info::Scope::TableOnly) if default => return Err("for entries only".to_owned()),
            Some(_) => {}
        }
    }
    let given: BTreeSet<u32> = called.params.iter().map(|param| param.param_id).collect();
    if given.len() != called.params.len() || given != action.params.iter().map(|param| param.id).collect() {
        return Err(format!("parameters {given:?} of '{}'", action.name));
    }
    called.params.iter().try_for_each(|param| {
        let Parameter { width_bits, .. } = action.params.by_id(param.param_id).expect("just compared");
        value(&param.value, *width_bits)
    })
}

fn group(
    info: &Info,
    group: &v1::ActionProfileGroup,
    members: &BTreeSet<(u32, u32)>,
    weights: &mut BTreeMap<u32, u64>,
) -> Result<(), String> {
    let profile = info.profile_by_id(group.action_profile_id).ok_or("no such profile")?;
    let mut sum = 0_u64;
    let mut seen = BTreeSet::new();
    for member in &group.members {
        let known = members.contains(&(profile.id, member.member_id));
        if !known || member.member_id == 0 || !seen.insert(member.member_id) || member.weight < 1 {
            return Err(format!("member {member:?}"));
        }
        if let Some(WatchKind::WatchPort(port)) = &member.watch_kind {
            value(port, 32)?;
        }
        sum += u64::try_from(member.weight).expect("above 0");
    }
    *weights.entry(profile.id).or_default() += sum;
    let most = u64::from(profile.group_size_max);
    let size = u64::try_from(group.max_size).map_err(|_| "a size below 0")?;
    if group.group_id > 0 && sum > 0 && (most == 0 || sum <= most && size <= most) {
        Ok(())
    } else {
        Err(format!("weights of {sum}, size {size}, of {most}"))
    }
}
