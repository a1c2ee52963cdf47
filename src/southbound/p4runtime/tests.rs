//! Entities in many spellings, and the order of changes between any two states.

use proptest::prelude::*;

use super::entities::{EntityKey, P4State, Scope};
use super::schema::Schema;
use super::spelling::{normal, same};
use super::{Act, difference};
use crate::wire::p4runtime::config;
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::action_profile_action::WatchKind as OneShotWatch;
use crate::wire::p4runtime::v1::action_profile_group::Member;
use crate::wire::p4runtime::v1::action_profile_group::member::WatchKind;
use crate::wire::p4runtime::v1::entity::Entity as Kind;
use crate::wire::p4runtime::v1::field_match::{Exact, FieldMatchType, Lpm, Ternary};
use crate::wire::p4runtime::v1::packet_replication_engine_entry::Type as Copies;
use crate::wire::p4runtime::v1::replica::PortKind;
use crate::wire::p4runtime::v1::table_action::Type as Does;

fn entity(kind: Kind) -> v1::Entity {
    v1::Entity { entity: Some(kind) }
}

fn entry(fields: Vec<(u32, FieldMatchType)>, act: Does) -> v1::TableEntry {
    let field = |(field_id, field)| v1::FieldMatch { field_id, field_match_type: Some(field) };
    v1::TableEntry {
        table_id: 1,
        r#match: fields.into_iter().map(field).collect(),
        action: Some(v1::TableAction { r#type: Some(act) }),
        ..Default::default()
    }
}

fn exact(value: &[u8]) -> FieldMatchType {
    FieldMatchType::Exact(Exact { value: value.to_vec() })
}

fn action(params: &[(u32, &[u8])]) -> v1::Action {
    let param = |(param_id, value): &(u32, &[u8])| v1::action::Param { param_id: *param_id, value: value.to_vec() };
    v1::Action { action_id: 9, params: params.iter().map(param).collect() }
}

fn one_shot(members: &[(&[u8], i32, Option<OneShotWatch>)]) -> Does {
    let member = |(value, weight, watch): &(&[u8], i32, Option<OneShotWatch>)| v1::ActionProfileAction {
        action: Some(action(&[(1, value)])),
        weight: *weight,
        watch_kind: watch.clone(),
    };
    let action_profile_actions = members.iter().map(member).collect();
    Does::ActionProfileActionSet(v1::ActionProfileActionSet { action_profile_actions, ..Default::default() })
}

fn group(members: &[(u32, i32, Option<WatchKind>)], max_size: i32) -> v1::Entity {
    let member = |(member_id, weight, watch): &(u32, i32, Option<WatchKind>)| Member {
        member_id: *member_id,
        weight: *weight,
        watch_kind: watch.clone(),
    };
    let members = members.iter().map(member).collect();
    entity(Kind::ActionProfileGroup(v1::ActionProfileGroup { action_profile_id: 2, group_id: 3, members, max_size }))
}

fn multicast(replicas: Vec<(PortKind, u32)>) -> v1::Entity {
    let replica = |(port, instance)| v1::Replica { port_kind: Some(port), instance, backup_replicas: Vec::new() };
    let group = v1::MulticastGroupEntry {
        multicast_group_id: 4,
        replicas: replicas.into_iter().map(replica).collect(),
        metadata: Vec::new(),
    };
    let copies = v1::PacketReplicationEngineEntry { r#type: Some(Copies::MulticastGroupEntry(group)) };
    entity(Kind::PacketReplicationEngineEntry(copies))
}

fn table(entry: v1::TableEntry) -> v1::Entity {
    entity(Kind::TableEntry(entry))
}

#[test]
fn what_means_the_same_is_the_same() {
    let act = || Does::Action(action(&[(1, &[1]), (2, &[2])]));
    let mut told =
        entry(vec![(2, exact(&[0, 7])), (1, exact(&[0, 0]))], Does::Action(action(&[(2, &[0, 2]), (1, &[1])])));
    told.counter_data = Some(v1::CounterData { byte_count: 8, packet_count: 1 });
    told.time_since_last_hit = Some(v1::table_entry::IdleTimeout { elapsed_ns: 5 });
    let all = FieldMatchType::Ternary(Ternary { value: vec![0], mask: vec![0, 0] });
    let any = FieldMatchType::Lpm(Lpm { value: vec![0], prefix_len: 0 });
    let port = |port: &[u8]| Some(OneShotWatch::WatchPort(port.to_vec()));
    let watch = |port: &[u8]| Some(WatchKind::WatchPort(port.to_vec()));
    let pairs = [
        (table(told), table(entry(vec![(1, exact(&[0])), (2, exact(&[7]))], act()))),
        (table(entry(vec![(1, all), (2, any), (3, exact(&[1]))], act())), table(entry(vec![(3, exact(&[1]))], act()))),
        (
            table(entry(vec![], one_shot(&[(&[2], 1, None), (&[1], 2, port(&[0, 5])), (&[1], 3, port(&[5]))]))),
            table(entry(vec![], one_shot(&[(&[0, 1], 5, Some(OneShotWatch::Watch(5))), (&[2], 1, port(&[]))]))),
        ),
        (
            group(&[(2, 1, watch(&[0, 3])), (1, 4, Some(WatchKind::Watch(0)))], 0),
            group(&[(1, 4, None), (2, 1, Some(WatchKind::Watch(3)))], 256),
        ),
        (
            multicast(vec![(PortKind::EgressPort(300), 1), (PortKind::Port(vec![0, 2]), 1)]),
            multicast(vec![(PortKind::Port(vec![2]), 1), (PortKind::Port(vec![1, 44]), 1)]),
        ),
    ];
    for (told, wanted) in pairs {
        let (told, wanted) = (normal(told).unwrap(), normal(wanted).unwrap());
        assert_eq!(told.0, wanted.0);
        assert!(same(&told.1, &wanted.1, false), "{told:?}\n{wanted:?}");
    }
}

#[test]
fn what_means_something_else_is_another() {
    let act = || Does::Action(action(&[(1, &[1])]));
    let lpm = |bits| FieldMatchType::Lpm(Lpm { value: vec![10], prefix_len: bits });
    let keys = [
        table(entry(vec![(1, exact(&[1]))], act())),
        table(entry(vec![(2, exact(&[1]))], act())),
        table(entry(vec![(1, lpm(8))], act())),
        table(entry(vec![(1, lpm(9))], act())),
        table(v1::TableEntry { priority: 1, ..entry(vec![(1, exact(&[1]))], act()) }),
        table(v1::TableEntry { is_default_action: true, ..entry(vec![], act()) }),
        table(entry(vec![], act())),
    ];
    let state: P4State = keys.iter().cloned().collect();
    assert_eq!((state.len(), state.made()), (keys.len(), keys.len() - 1));

    let differ = |a: v1::Entity, b: v1::Entity| !same(&normal(a).unwrap().1, &normal(b).unwrap().1, false);
    assert!(differ(group(&[(1, 1, None)], 0), group(&[(1, 2, None)], 0)));
    assert!(differ(group(&[(1, 1, None)], 0), group(&[(1, 1, Some(WatchKind::Watch(2)))], 0)));
    assert!(differ(table(entry(vec![], act())), table(entry(vec![], Does::ActionProfileGroupId(1)))));
    let limited = |cir| {
        let meter_config = Some(v1::MeterConfig { cir, ..Default::default() });
        table(v1::TableEntry { meter_config, ..entry(vec![], act()) })
    };
    assert!(differ(limited(1), limited(2)));
    assert!(!differ(limited(1), table(entry(vec![], act()))), "a meter that nobody asked for");
}

/// BMv2 tells one member's port for all of a group.
#[test]
fn a_switch_that_tells_one_watched_port_for_all_is_believed_as_far_as_that_goes() {
    let watch = |port| Some(WatchKind::Watch(port));
    let asked = Scope::of(&[group(&[], 0)]);
    let wanted: P4State = [group(&[(1, 1, watch(1)), (2, 1, watch(2)), (9, 1, None)], 0)].into_iter().collect();
    let cases = [
        (vec![(1, 1, None), (2, 1, None), (9, 1, None)], true),
        (vec![(1, 1, watch(2)), (2, 1, watch(2)), (9, 1, watch(2))], true),
        (vec![(1, 1, watch(3)), (2, 1, watch(3)), (9, 1, watch(3))], false),
        (vec![(1, 2, None), (2, 1, None), (9, 1, None)], false),
        (vec![(1, 1, None), (2, 1, None)], false),
        // This one tells them apart, so that it is believed.
        (vec![(1, 1, watch(1)), (2, 1, None), (9, 1, None)], false),
    ];
    for (told, expected) in cases {
        let (held, _) = asked.held(vec![group(&told, 0)]);
        let changes = difference(&held, &wanted, &schema());
        assert_eq!(changes.is_empty(), expected, "{told:?}");
    }
}

#[test]
fn what_is_no_state_is_left_out() {
    let mut state = P4State::new();
    let index = Some(v1::Index { index: 1 });
    let other = FieldMatchType::Other(prost_types::Any::default());
    let act = || Does::Action(action(&[]));
    for entity in [
        entity(Kind::CounterEntry(v1::CounterEntry { counter_id: 1, index, data: None })),
        entity(Kind::DirectCounterEntry(v1::DirectCounterEntry::default())),
        entity(Kind::MeterEntry(v1::MeterEntry { meter_id: 1, index: None, ..Default::default() })),
        table(v1::TableEntry { is_const: true, ..entry(vec![], act()) }),
        table(entry(vec![(1, other)], act())),
        v1::Entity { entity: None },
    ] {
        assert!(!state.insert(entity));
    }
    assert!(state.is_empty());
}

#[test]
fn only_what_was_asked_for_is_ours() {
    let ask = |table_id| table(v1::TableEntry { table_id, ..Default::default() });
    let answers = || vec![ask(1), ask(2), multicast(Vec::new()), group(&[], 0)];
    assert_eq!(Scope::of(&[ask(1)]).held(answers()).1, 3);
    assert_eq!(Scope::of(&[ask(0), multicast(Vec::new())]).held(answers()).1, 1);
    assert_eq!(Scope::of(&[]).held(answers()).1, 4);
}

/// Groups of table 1 by their members, and entries of table 1 that use them.
fn state(groups: &[(u32, Vec<(u32, i32)>)]) -> P4State {
    let mut state = P4State::new();
    for (id, members) in groups {
        for (member_id, _) in members {
            let action = Some(action(&[]));
            let member = v1::ActionProfileMember { action_profile_id: 2, member_id: *member_id, action };
            state.insert(entity(Kind::ActionProfileMember(member)));
        }
        let members = members.iter().map(|(member_id, weight)| Member {
            member_id: *member_id,
            weight: *weight,
            watch_kind: None,
        });
        let group =
            v1::ActionProfileGroup { action_profile_id: 2, group_id: *id, members: members.collect(), max_size: 16 };
        state.insert(entity(Kind::ActionProfileGroup(group)));
        let used = entry(vec![(1, exact(&id.to_be_bytes()))], Does::ActionProfileGroupId(*id));
        state.insert(table(used));
    }
    state
}

fn schema() -> Schema {
    let preamble = Some(config::Preamble { id: 1, name: "t".into(), ..Default::default() });
    Schema::new(&config::P4Info {
        tables: vec![config::Table { preamble, implementation_id: 2, ..Default::default() }],
        ..Default::default()
    })
}

fn groups() -> impl Strategy<Value = P4State> {
    let members = proptest::collection::btree_map(1_u32..6, 1_i32..4, 1..4);
    proptest::collection::btree_map(1_u32..5, members, 0..4).prop_map(|groups| {
        let groups: Vec<_> = groups.into_iter().map(|(id, members)| (id, members.into_iter().collect())).collect();
        state(&groups)
    })
}

proptest! {
    #[test]
    fn one_spelling_is_enough(value in proptest::collection::vec(any::<u8>(), 0..5), weight: i32, port: i32) {
        let watch = Some(OneShotWatch::Watch(port));
        let told = table(entry(vec![(1, exact(&value))], one_shot(&[(&value, weight, watch)])));
        let once = normal(told).unwrap();
        prop_assert_eq!(normal(once.1.clone()).unwrap(), once);
    }

    /// Whatever order a switch takes within a level, nothing is used before it is there, nothing goes while it is used,
    /// and no group loses all its members at once.
    #[test]
    fn any_state_becomes_any_other(held in groups(), wanted in groups()) {
        let schema = schema();
        let changes = difference(&held, &wanted, &schema);
        let mut now = held.clone();
        for change in changes.make.iter().chain(&changes.remove).flat_map(|level| level.iter().rev()) {
            let references = |state: &P4State| state.references(|table| schema.profile_of(table));
            match change.act {
                Act::Insert => prop_assert!(!now.contains(&change.key)),
                Act::Modify | Act::Delete => prop_assert!(now.contains(&change.key)),
            }
            if let (EntityKey::Group { profile, group }, Act::Modify) = (&change.key, change.act) {
                let alone: P4State = [change.entity.clone()].into_iter().collect();
                let held = now.group(*profile, *group).unwrap();
                let next = alone.group(*profile, *group).unwrap();
                let stays = |member: &Member| next.members.iter().any(|other| other.member_id == member.member_id);
                prop_assert!(held.members.iter().any(stays), "{} loses all its members", change.describe(&schema));
            }
            change.clone().apply(&mut now);
            prop_assert!(references(&now).iter().all(|key| now.contains(key)), "{}", change.describe(&schema));
        }
        prop_assert_eq!(&now, &wanted);
        prop_assert!(difference(&now, &wanted, &schema).is_empty());
        prop_assert_eq!(difference(&wanted, &wanted, &schema).unchanged as usize, wanted.len());
    }
}
