//! What a P4Runtime switch holds, or should hold: entities by their keys, as comparable values.
//!
//! An entity is brought into one spelling when it is put in, so that what a switch reports differently from what it was
//! sent is still the same: values in their shortest form, lists that mean sets in order, counters and times left out.

use std::collections::{BTreeMap, BTreeSet};

use super::spelling;
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::entity::Entity as Kind;
use crate::wire::p4runtime::v1::packet_replication_engine_entry::Type as Copies;
use crate::wire::p4runtime::v1::table_action::Type as Act;

/// What identifies an entity to a switch (P4Runtime, section 9).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityKey {
    Member {
        profile: u32,
        member: u32,
    },
    Group {
        profile: u32,
        group: u32,
    },
    Entry {
        table: u32,
        /// By field id.
        matches: Vec<(u32, MatchKey)>,
        priority: i32,
    },
    Default {
        table: u32,
    },
    Multicast {
        group: u32,
    },
    Clone {
        session: u32,
    },
    Meter {
        meter: u32,
        cell: i64,
    },
    Register {
        register: u32,
        cell: i64,
    },
    ValueSet {
        value_set: u32,
    },
    Digest {
        digest: u32,
    },
}

/// One field of an entry's key; values in their shortest form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchKey {
    Exact(Vec<u8>),
    Ternary { value: Vec<u8>, mask: Vec<u8> },
    Lpm { value: Vec<u8>, bits: i32 },
    Range { low: Vec<u8>, high: Vec<u8> },
    Optional(Vec<u8>),
}

impl EntityKey {
    /// What is there as long as its table, meter, register or value set: it can only be modified, and is never taken away.
    pub fn always_there(&self) -> bool {
        match self {
            Self::Default { .. } | Self::Meter { .. } | Self::Register { .. } | Self::ValueSet { .. } => true,
            Self::Member { .. }
            | Self::Group { .. }
            | Self::Entry { .. }
            | Self::Multicast { .. }
            | Self::Clone { .. }
            | Self::Digest { .. } => false,
        }
    }

    /// The table of an entry, or of a default action.
    pub fn table(&self) -> Option<u32> {
        match self {
            Self::Entry { table, .. } | Self::Default { table } => Some(*table),
            _ => None,
        }
    }
}

/// Entities of one switch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct P4State {
    entities: BTreeMap<EntityKey, v1::Entity>,
    /// Order of tables; see [`P4State::set_rank`].
    ranks: BTreeMap<u32, u16>,
    /// The switch told this, and members of one group that watch different ports were not among it.
    pub(super) uniform_watches: bool,
}

impl P4State {
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an entity in, in place of one of the same key. False for what is no state (counters, externs, entries that
    /// the program itself brings) or cannot be compared; it is left out.
    pub fn insert(&mut self, entity: v1::Entity) -> bool {
        let Some((key, entity)) = spelling::normal(entity) else { return false };
        self.entities.insert(key, entity);
        true
    }

    /// The order in which entries of tables are made: lower ranks first, and taken away the other way round. A table
    /// that others lead packets to should come before them. All ranks are 0 unless they are set.
    pub fn set_rank(&mut self, table: u32, rank: u16) {
        self.ranks.insert(table, rank);
    }

    pub fn rank(&self, table: u32) -> u16 {
        self.ranks.get(&table).copied().unwrap_or_default()
    }

    pub fn get(&self, key: &EntityKey) -> Option<&v1::Entity> {
        self.entities.get(key)
    }

    pub fn contains(&self, key: &EntityKey) -> bool {
        self.entities.contains_key(key)
    }

    /// In the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&EntityKey, &v1::Entity)> {
        self.entities.iter()
    }

    pub fn len(&self) -> usize {
        self.entities.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// How many entities there are beside those that always are.
    pub fn made(&self) -> usize {
        self.entities.keys().filter(|key| !key.always_there()).count()
    }

    pub fn remove(&mut self, key: &EntityKey) -> Option<v1::Entity> {
        self.entities.remove(key)
    }

    /// Entries of one table.
    pub fn entries(&self, table: u32) -> impl Iterator<Item = &v1::TableEntry> {
        let first = EntityKey::Entry { table, matches: Vec::new(), priority: i32::MIN };
        self.entities
            .range(first..)
            .take_while(move |(key, _)| matches!(key, EntityKey::Entry { table: its, .. } if *its == table))
            .filter_map(|(_, entity)| match &entity.entity {
                Some(Kind::TableEntry(entry)) => Some(entry),
                _ => None,
            })
    }

    pub fn member(&self, profile: u32, member: u32) -> Option<&v1::ActionProfileMember> {
        match &self.get(&EntityKey::Member { profile, member })?.entity {
            Some(Kind::ActionProfileMember(member)) => Some(member),
            _ => None,
        }
    }

    pub fn group(&self, profile: u32, group: u32) -> Option<&v1::ActionProfileGroup> {
        match &self.get(&EntityKey::Group { profile, group })?.entity {
            Some(Kind::ActionProfileGroup(group)) => Some(group),
            _ => None,
        }
    }

    /// Members and groups that groups and entries refer to. Of which profile an entry's are is known to `profile_of`
    /// alone, by its table.
    pub fn references(&self, profile_of: impl Fn(u32) -> Option<u32>) -> BTreeSet<EntityKey> {
        let mut all = BTreeSet::new();
        for entity in self.entities.values() {
            match &entity.entity {
                Some(Kind::ActionProfileGroup(group)) => {
                    let profile = group.action_profile_id;
                    all.extend(group.members.iter().map(|m| EntityKey::Member { profile, member: m.member_id }));
                }
                Some(Kind::TableEntry(entry)) => {
                    let Some(profile) = profile_of(entry.table_id) else { continue };
                    match entry.action.as_ref().and_then(|action| action.r#type.as_ref()) {
                        Some(Act::ActionProfileMemberId(member)) => {
                            all.insert(EntityKey::Member { profile, member: *member });
                        }
                        Some(Act::ActionProfileGroupId(group)) => {
                            all.insert(EntityKey::Group { profile, group: *group });
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        all
    }
}

impl FromIterator<v1::Entity> for P4State {
    fn from_iter<I: IntoIterator<Item = v1::Entity>>(entities: I) -> Self {
        let mut state = Self::default();
        for entity in entities {
            state.insert(entity);
        }
        state
    }
}

/// Which entities belong to this controller: those that wildcard reads ask for. A switch that answers with more is not
/// believed to have been asked for more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    tables: BTreeSet<u32>,
    profiles: BTreeSet<u32>,
    meters: BTreeSet<u32>,
    registers: BTreeSet<u32>,
    value_sets: BTreeSet<u32>,
    digests: BTreeSet<u32>,
    multicast: bool,
    clones: bool,
}

impl Scope {
    pub fn of(reads: &[v1::Entity]) -> Self {
        let mut scope = Self::default();
        for read in reads {
            match &read.entity {
                Some(Kind::TableEntry(entry)) => _ = scope.tables.insert(entry.table_id),
                Some(Kind::ActionProfileMember(member)) => _ = scope.profiles.insert(member.action_profile_id),
                Some(Kind::ActionProfileGroup(group)) => _ = scope.profiles.insert(group.action_profile_id),
                Some(Kind::MeterEntry(meter)) => _ = scope.meters.insert(meter.meter_id),
                Some(Kind::RegisterEntry(register)) => _ = scope.registers.insert(register.register_id),
                Some(Kind::ValueSetEntry(set)) => _ = scope.value_sets.insert(set.value_set_id),
                Some(Kind::DigestEntry(digest)) => _ = scope.digests.insert(digest.digest_id),
                Some(Kind::PacketReplicationEngineEntry(entry)) => match &entry.r#type {
                    Some(Copies::MulticastGroupEntry(_)) => scope.multicast = true,
                    Some(Copies::CloneSessionEntry(_)) => scope.clones = true,
                    None => {}
                },
                _ => {}
            }
        }
        scope
    }

    /// Id 0 in a read stands for all of a kind.
    pub fn contains(&self, key: &EntityKey) -> bool {
        let within = |ids: &BTreeSet<u32>, id: u32| ids.contains(&id) || ids.contains(&0);
        match key {
            EntityKey::Entry { table, .. } | EntityKey::Default { table } => within(&self.tables, *table),
            EntityKey::Member { profile, .. } | EntityKey::Group { profile, .. } => within(&self.profiles, *profile),
            EntityKey::Meter { meter, .. } => within(&self.meters, *meter),
            EntityKey::Register { register, .. } => within(&self.registers, *register),
            EntityKey::ValueSet { value_set } => within(&self.value_sets, *value_set),
            EntityKey::Digest { digest } => within(&self.digests, *digest),
            EntityKey::Multicast { .. } => self.multicast,
            EntityKey::Clone { .. } => self.clones,
        }
    }

    /// What a switch answered, without what is not ours; how many of its entities were left out.
    pub fn held(&self, answers: Vec<v1::Entity>) -> (P4State, usize) {
        let mut state = P4State::default();
        let mut foreign = 0;
        for entity in answers {
            match spelling::normal(entity) {
                Some((key, entity)) if self.contains(&key) => _ = state.entities.insert(key, entity),
                Some(_) | None => foreign += 1,
            }
        }
        state.uniform_watches = !state.entities.values().any(spelling::has_different_watches);
        (state, foreign)
    }
}
