//! From what a switch holds to what it should hold: which changes, in which order (docs/P4RUNTIME.md, "Ordering").

use std::collections::BTreeMap;

use super::entities::{EntityKey, P4State};
use super::schema::Schema;
use super::spelling::same;
use crate::southbound::InstallCounts;
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::action_profile_group::Member;
use crate::wire::p4runtime::v1::entity::Entity as Kind;
use crate::wire::p4runtime::v1::update::Type;

/// What is done to an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Insert,
    Modify,
    Delete,
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Modify => "modify",
            Self::Delete => "delete",
        }
    }
}

/// One update of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub act: Act,
    pub key: EntityKey,
    /// The entity as it is to be, or as it was.
    pub entity: v1::Entity,
}

impl Change {
    fn new(act: Act, key: &EntityKey, entity: &v1::Entity) -> Self {
        Self { act, key: key.clone(), entity: entity.clone() }
    }

    pub(super) fn update(&self) -> v1::Update {
        let act = match self.act {
            Act::Insert => Type::Insert,
            Act::Modify => Type::Modify,
            Act::Delete => Type::Delete,
        };
        v1::Update { r#type: act.into(), entity: Some(self.entity.clone()) }
    }

    /// In words: `modify group 7 of fabric.choice`.
    pub fn describe(&self, schema: &Schema) -> String {
        format!("{} {}", self.act.name(), schema.describe(&self.key))
    }

    pub(super) fn count(&self, counts: &mut InstallCounts) {
        let entry = matches!(
            self.key,
            EntityKey::Entry { .. }
                | EntityKey::Default { .. }
                | EntityKey::Meter { .. }
                | EntityKey::Register { .. }
                | EntityKey::ValueSet { .. }
                | EntityKey::Digest { .. }
        );
        *match (self.act, entry) {
            (Act::Insert, true) => &mut counts.flows_added,
            (Act::Modify, true) => &mut counts.flows_modified,
            (Act::Delete, true) => &mut counts.flows_deleted,
            (Act::Insert, false) => &mut counts.groups_added,
            (Act::Modify, false) => &mut counts.groups_modified,
            (Act::Delete, false) => &mut counts.groups_deleted,
        } += 1;
    }

    /// What the switch holds once it has obeyed.
    pub(super) fn apply(self, state: &mut P4State) {
        match self.act {
            Act::Insert | Act::Modify => _ = state.insert(self.entity),
            Act::Delete => _ = state.remove(&self.key),
        }
    }
}

/// Changes in the order in which they are sent. A switch may carry out the updates of one batch in any order
/// (section 12), so a level is sent once the one before it is answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// Insertions, what is used before what uses it; then modifications.
    pub make: Vec<Vec<Change>>,
    /// Deletions, what uses before what is used.
    pub remove: Vec<Vec<Change>>,
    /// Entities that are right as they are.
    pub unchanged: u32,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.make.is_empty() && self.remove.is_empty()
    }

    pub fn len(&self) -> usize {
        self.make.iter().chain(&self.remove).map(Vec::len).sum()
    }
}

/// Where a change stands among the others: levels are sent in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Members, copies and whatever else refers to nothing.
    Insert,
    InsertGroups,
    /// By the rank of the table.
    InsertEntries(u16),
    Modify,
    /// Groups none of whose members stays: they get what is new beside something old.
    Bridge,
    ModifyGroups,
    ModifyEntries(u16),
}

/// What turns `held` into `wanted`.
pub fn difference(held: &P4State, wanted: &P4State, schema: &Schema) -> Difference {
    let mut make: BTreeMap<Level, Vec<Change>> = BTreeMap::new();
    let mut unchanged = 0;
    for (key, entity) in wanted.iter() {
        let rank = key.table().map(|table| wanted.rank(table)).unwrap_or_default();
        match held.get(key) {
            Some(now) if same(now, entity, held.uniform_watches) => unchanged += 1,
            None if !key.always_there() => {
                let level = match key {
                    EntityKey::Entry { .. } => Level::InsertEntries(rank),
                    EntityKey::Group { .. } => Level::InsertGroups,
                    _ => Level::Insert,
                };
                make.entry(level).or_default().push(Change::new(Act::Insert, key, entity));
            }
            now => {
                let level = match key {
                    EntityKey::Entry { .. } | EntityKey::Default { .. } => Level::ModifyEntries(rank),
                    EntityKey::Group { .. } => Level::ModifyGroups,
                    _ => Level::Modify,
                };
                let entity = now.map_or_else(|| entity.clone(), |now| sized_as(now, entity));
                if let Some(bridge) = now.and_then(|now| bridge(now, &entity)) {
                    make.entry(Level::Bridge).or_default().push(Change::new(Act::Modify, key, &bridge));
                }
                make.entry(level).or_default().push(Change::new(Act::Modify, key, &entity));
            }
        }
    }
    Difference { make: make.into_values().collect(), remove: removals(held, wanted, schema), unchanged }
}

/// What is held and not wanted. What is always there stays as it is, and so does what the program itself brings.
fn removals(held: &P4State, wanted: &P4State, schema: &Schema) -> Vec<Vec<Change>> {
    let mut entries: BTreeMap<u16, Vec<Change>> = BTreeMap::new();
    let (mut groups, mut rest) = (Vec::new(), Vec::new());
    for (key, entity) in held.iter().filter(|(key, _)| !key.always_there() && !wanted.contains(key)) {
        let change = Change::new(Act::Delete, key, entity);
        match key {
            EntityKey::Entry { table, .. } if schema.is_fixed(*table) => {}
            EntityKey::Entry { table, .. } => entries.entry(wanted.rank(*table)).or_default().push(change),
            EntityKey::Group { .. } => groups.push(change),
            _ => rest.push(change),
        }
    }
    let levels = entries.into_values().rev().chain([groups, rest]);
    levels.filter(|level| !level.is_empty()).collect()
}

fn group(entity: &v1::Entity) -> Option<&v1::ActionProfileGroup> {
    match &entity.entity {
        Some(Kind::ActionProfileGroup(group)) => Some(group),
        _ => None,
    }
}

fn weight(members: &[Member]) -> i64 {
    members.iter().map(|member| i64::from(member.weight)).sum()
}

/// The size of a group is fixed when it is made (section 9.2.2.1): a modification repeats it, unless the group does not
/// fit any more; then the switch says so.
fn sized_as(held: &v1::Entity, wanted: &v1::Entity) -> v1::Entity {
    let (Some(held), Some(its)) = (group(held), group(wanted)) else { return wanted.clone() };
    let max_size = if i64::from(held.max_size) >= weight(&its.members) || held.max_size == 0 {
        held.max_size
    } else {
        its.max_size
    };
    let group = v1::ActionProfileGroup { max_size, ..its.clone() };
    v1::Entity { entity: Some(Kind::ActionProfileGroup(group)) }
}

/// Some switches take members away before they add others, and a group that is empty in between loses packets. Where no
/// member stays, one of the old ones does for a moment, with a part of the weight of a new one so that the group
/// does not grow. `None` where that is not needed or there is no room for it.
fn bridge(held: &v1::Entity, wanted: &v1::Entity) -> Option<v1::Entity> {
    let (held, wanted) = (group(held)?, group(wanted)?);
    let stays = |member: &Member| wanted.members.iter().any(|other| other.member_id == member.member_id);
    if wanted.members.is_empty() || held.members.iter().any(stays) {
        return None;
    }
    let mut bridge = wanted.clone();
    let heaviest = bridge.members.iter_mut().max_by_key(|member| member.weight)?;
    if heaviest.weight > 1 {
        heaviest.weight -= 1;
    } else if bridge.max_size != 0 && weight(&wanted.members) >= i64::from(bridge.max_size) {
        return None;
    }
    let old = held.members.first()?;
    bridge.members.push(Member { weight: 1, ..old.clone() });
    bridge.members.sort_by_key(|member| member.member_id);
    Some(v1::Entity { entity: Some(Kind::ActionProfileGroup(bridge)) })
}
