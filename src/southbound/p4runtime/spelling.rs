//! One spelling for every entity: what means the same is the same value afterwards.

use super::entities::{EntityKey, MatchKey};
use crate::wire::p4runtime::canonical::canonical;
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::action_profile_action::WatchKind as OneShotWatch;
use crate::wire::p4runtime::v1::action_profile_group::member::WatchKind;
use crate::wire::p4runtime::v1::entity::Entity as Kind;
use crate::wire::p4runtime::v1::field_match::FieldMatchType;
use crate::wire::p4runtime::v1::packet_replication_engine_entry::Type as Copies;
use crate::wire::p4runtime::v1::replica::PortKind;
use crate::wire::p4runtime::v1::table_action::Type as Act;

/// The key of an entity and the entity itself; `None` for what is no state, or cannot be compared.
pub(super) fn normal(entity: v1::Entity) -> Option<(EntityKey, v1::Entity)> {
    let (key, kind) = match entity.entity? {
        Kind::TableEntry(entry) => table_entry(entry)?,
        Kind::ActionProfileMember(mut member) => {
            member.action = member.action.map(action);
            let key = EntityKey::Member { profile: member.action_profile_id, member: member.member_id };
            (key, Kind::ActionProfileMember(member))
        }
        Kind::ActionProfileGroup(mut group) => {
            group.members.iter_mut().for_each(member_watch);
            group.members.sort_by_key(|member| member.member_id);
            let key = EntityKey::Group { profile: group.action_profile_id, group: group.group_id };
            (key, Kind::ActionProfileGroup(group))
        }
        Kind::PacketReplicationEngineEntry(entry) => copies(entry)?,
        Kind::MeterEntry(mut meter) => {
            meter.counter_data = None;
            let key = EntityKey::Meter { meter: meter.meter_id, cell: meter.index?.index };
            (key, Kind::MeterEntry(meter))
        }
        Kind::RegisterEntry(register) => {
            let key = EntityKey::Register { register: register.register_id, cell: register.index?.index };
            (key, Kind::RegisterEntry(register))
        }
        Kind::ValueSetEntry(set) => (EntityKey::ValueSet { value_set: set.value_set_id }, Kind::ValueSetEntry(set)),
        Kind::DigestEntry(digest) => (EntityKey::Digest { digest: digest.digest_id }, Kind::DigestEntry(digest)),
        // A counter that is written is reset: that is an act and no state. What an extern is nobody here knows.
        Kind::CounterEntry(_) | Kind::DirectCounterEntry(_) | Kind::DirectMeterEntry(_) | Kind::ExternEntry(_) => {
            return None;
        }
    };
    Some((key, v1::Entity { entity: Some(kind) }))
}

fn table_entry(mut entry: v1::TableEntry) -> Option<(EntityKey, Kind)> {
    if entry.is_const {
        return None;
    }
    entry.counter_data = None;
    entry.meter_counter_data = None;
    entry.time_since_last_hit = None;
    entry.controller_metadata = 0;
    entry.action = entry.action.map(table_action);
    let table = entry.table_id;
    if entry.is_default_action {
        entry.r#match.clear();
        entry.priority = 0;
        return Some((EntityKey::Default { table }, Kind::TableEntry(entry)));
    }
    let mut fields: Vec<(u32, MatchKey)> = Vec::with_capacity(entry.r#match.len());
    for field in &entry.r#match {
        let key = match_key(field.field_match_type.as_ref()?)?;
        // A field that matches anything is left out (section 9.1.1).
        if !matches_all(&key) {
            fields.push((field.field_id, key));
        }
    }
    fields.sort();
    entry.r#match = fields.iter().map(|(field_id, key)| field_match(*field_id, key)).collect();
    let key = EntityKey::Entry { table, matches: fields, priority: entry.priority };
    Some((key, Kind::TableEntry(entry)))
}

fn match_key(field: &FieldMatchType) -> Option<MatchKey> {
    Some(match field {
        FieldMatchType::Exact(m) => MatchKey::Exact(canonical(&m.value)),
        FieldMatchType::Ternary(m) => MatchKey::Ternary { value: canonical(&m.value), mask: canonical(&m.mask) },
        FieldMatchType::Lpm(m) => MatchKey::Lpm { value: canonical(&m.value), bits: m.prefix_len },
        FieldMatchType::Range(m) => MatchKey::Range { low: canonical(&m.low), high: canonical(&m.high) },
        FieldMatchType::Optional(m) => MatchKey::Optional(canonical(&m.value)),
        FieldMatchType::Other(_) => return None,
    })
}

fn matches_all(key: &MatchKey) -> bool {
    match key {
        MatchKey::Lpm { bits, .. } => *bits == 0,
        MatchKey::Ternary { mask, .. } => mask.iter().all(|byte| *byte == 0),
        MatchKey::Exact(_) | MatchKey::Range { .. } | MatchKey::Optional(_) => false,
    }
}

fn field_match(field_id: u32, key: &MatchKey) -> v1::FieldMatch {
    use v1::field_match::{Exact, Lpm, Optional, Range, Ternary};
    let kind = match key.clone() {
        MatchKey::Exact(value) => FieldMatchType::Exact(Exact { value }),
        MatchKey::Ternary { value, mask } => FieldMatchType::Ternary(Ternary { value, mask }),
        MatchKey::Lpm { value, bits } => FieldMatchType::Lpm(Lpm { value, prefix_len: bits }),
        MatchKey::Range { low, high } => FieldMatchType::Range(Range { low, high }),
        MatchKey::Optional(value) => FieldMatchType::Optional(Optional { value }),
    };
    v1::FieldMatch { field_id, field_match_type: Some(kind) }
}

fn action(mut action: v1::Action) -> v1::Action {
    for param in &mut action.params {
        param.value = canonical(&param.value);
    }
    action.params.sort_by_key(|param| param.param_id);
    action
}

fn table_action(table_action: v1::TableAction) -> v1::TableAction {
    let kind = table_action.r#type.map(|kind| match kind {
        Act::Action(its) => Act::Action(action(its)),
        Act::ActionProfileActionSet(set) => Act::ActionProfileActionSet(one_shot(set)),
        reference @ (Act::ActionProfileMemberId(_) | Act::ActionProfileGroupId(_)) => reference,
    });
    v1::TableAction { r#type: kind }
}

/// The same action behind the same watched port is one member with the sum of the weights.
fn one_shot(mut set: v1::ActionProfileActionSet) -> v1::ActionProfileActionSet {
    for member in &mut set.action_profile_actions {
        member.action = member.action.take().map(action);
        member.watch_kind = match member.watch_kind.take() {
            Some(OneShotWatch::WatchPort(port)) => watched(port).map(OneShotWatch::WatchPort),
            Some(OneShotWatch::Watch(port)) => port_bytes(port).map(OneShotWatch::WatchPort),
            None => None,
        };
    }
    let order = |member: &v1::ActionProfileAction| {
        let action = member.action.clone().unwrap_or_default();
        let params: Vec<_> = action.params.into_iter().map(|param| (param.param_id, param.value)).collect();
        let watch = match &member.watch_kind {
            Some(OneShotWatch::WatchPort(port)) => port.clone(),
            Some(OneShotWatch::Watch(_)) | None => Vec::new(),
        };
        (action.action_id, params, watch)
    };
    set.action_profile_actions.sort_by_cached_key(order);
    set.action_profile_actions.dedup_by(|next, kept| {
        let same = next.action == kept.action && next.watch_kind == kept.watch_kind;
        if same {
            kept.weight = kept.weight.saturating_add(next.weight);
        }
        same
    });
    set
}

fn member_watch(member: &mut v1::action_profile_group::Member) {
    member.watch_kind = match member.watch_kind.take() {
        Some(WatchKind::WatchPort(port)) => watched(port).map(WatchKind::WatchPort),
        Some(WatchKind::Watch(port)) => port_bytes(port).map(WatchKind::WatchPort),
        None => None,
    };
}

fn watched(port: Vec<u8>) -> Option<Vec<u8>> {
    (!port.is_empty()).then(|| canonical(&port))
}

/// The older way of naming a port; 0 is none.
fn port_bytes(port: i32) -> Option<Vec<u8>> {
    (port != 0).then(|| canonical(&port.to_be_bytes()))
}

fn copies(entry: v1::PacketReplicationEngineEntry) -> Option<(EntityKey, Kind)> {
    let (key, kind) = match entry.r#type? {
        Copies::MulticastGroupEntry(mut group) => {
            replicas(&mut group.replicas);
            (EntityKey::Multicast { group: group.multicast_group_id }, Copies::MulticastGroupEntry(group))
        }
        Copies::CloneSessionEntry(mut session) => {
            replicas(&mut session.replicas);
            (EntityKey::Clone { session: session.session_id }, Copies::CloneSessionEntry(session))
        }
    };
    Some((key, Kind::PacketReplicationEngineEntry(v1::PacketReplicationEngineEntry { r#type: Some(kind) })))
}

fn replicas(replicas: &mut [v1::Replica]) {
    for replica in replicas.iter_mut() {
        replica.port_kind = replica.port_kind.take().map(|port| match port {
            PortKind::EgressPort(port) => PortKind::Port(canonical(&port.to_be_bytes())),
            PortKind::Port(port) => PortKind::Port(canonical(&port)),
        });
        for backup in &mut replica.backup_replicas {
            backup.port = canonical(&backup.port);
        }
    }
    let port = |replica: &v1::Replica| match &replica.port_kind {
        Some(PortKind::Port(port)) => port.clone(),
        Some(PortKind::EgressPort(_)) | None => Vec::new(),
    };
    replicas.sort_by_cached_key(|replica| (port(replica), replica.instance));
}

/// Switches before version 1.4 know ports of replicas as numbers alone.
pub(super) fn with_numbered_ports(mut entity: v1::Entity) -> v1::Entity {
    let Some(Kind::PacketReplicationEngineEntry(entry)) = &mut entity.entity else { return entity };
    let replicas = match &mut entry.r#type {
        Some(Copies::MulticastGroupEntry(group)) => &mut group.replicas,
        Some(Copies::CloneSessionEntry(session)) => &mut session.replicas,
        None => return entity,
    };
    for replica in replicas {
        if let Some(PortKind::Port(port)) = &replica.port_kind
            && port.len() <= 4
        {
            let number = port.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
            replica.port_kind = Some(PortKind::EgressPort(number));
        }
    }
    entity
}

/// Whether members of a group watch different ports, or some a port and some none.
pub(super) fn has_different_watches(entity: &v1::Entity) -> bool {
    let Some(Kind::ActionProfileGroup(group)) = &entity.entity else { return false };
    group.members.windows(2).any(|pair| pair[0].watch_kind != pair[1].watch_kind)
}

/// Whether a switch that holds the one has what the other asks for. The size of a group is fixed when it is made, and a
/// direct meter that nobody asked for may say what it likes. `uniform_watches`: the switch may be one that tells the port of
/// one member for all.
pub(super) fn same(held: &v1::Entity, wanted: &v1::Entity, uniform_watches: bool) -> bool {
    if held == wanted {
        return true;
    }
    match (&held.entity, &wanted.entity) {
        (Some(Kind::ActionProfileGroup(held)), Some(Kind::ActionProfileGroup(wanted))) => {
            held.members == wanted.members || uniform_watches && told_one_watch(&held.members, &wanted.members)
        }
        (Some(Kind::TableEntry(held)), Some(Kind::TableEntry(wanted))) if wanted.meter_config.is_none() => {
            held.meter_config.is_some() && v1::TableEntry { meter_config: None, ..held.clone() } == *wanted
        }
        _ => false,
    }
}

/// BMv2 tells the watched port of the last member for every member of a group. What was told can be what is wanted if the
/// port is one member's.
fn told_one_watch(held: &[v1::action_profile_group::Member], wanted: &[v1::action_profile_group::Member]) -> bool {
    let Some(told) = held.first().map(|member| &member.watch_kind) else { return false };
    let weights = |member: &v1::action_profile_group::Member| (member.member_id, member.weight);
    held.len() > 1
        && held.iter().map(weights).eq(wanted.iter().map(weights))
        && held.iter().all(|member| member.watch_kind == *told)
        && wanted.iter().any(|member| member.watch_kind == *told)
}
