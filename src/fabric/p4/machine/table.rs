//! Tables: entries and how a packet finds its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use super::arrays::Meter;
use super::control::{Counter, Key};
use super::evaluate::Scope;
use crate::fabric::p4::program::layout::ones;
use crate::fabric::p4::program::pipeline::{KeyField, Lookup, MatchKind, Table};
use crate::types::{PortNo, Timestamp};

/// Multiplies and rotates words: keys are set by the controller alone, which may be trusted.
#[derive(Clone, Debug, Default)]
pub(super) struct WordHasher(u64);

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

type WordMap<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;

/// An entry's key with everything that does not matter taken out: for each field a value and its mask, prefix length or
/// upper end, by kind; and its priority where that matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Identity {
    pub(super) parts: Vec<(u128, u128)>,
    pub(super) priority: i32,
}

/// An action with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) action: usize,
    pub(super) arguments: Vec<u128>,
}

#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) held: Held,
    pub(super) weight: u32,
    pub(super) watch: Option<PortNo>,
}

#[derive(Clone, Debug)]
pub(super) enum Does {
    Call(Held),
    Member(u32),
    Group(u32),
    /// A one-shot set and, as often as each weighs, those whose port is up.
    Set {
        choices: Vec<Choice>,
        live: Vec<u32>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct EntryState {
    pub(super) key: Key,
    pub(super) identity: Identity,
    pub(super) does: Does,
    pub(super) is_const: bool,
    /// Microseconds; 0 is never.
    pub(super) timeout_us: u64,
    pub(super) last_hit: Timestamp,
    /// Told as idle by the last sweep.
    pub(super) was_told: bool,
    pub(super) counter: Counter,
    pub(super) meter: Option<Meter>,
}

#[derive(Debug)]
enum Index {
    Exact(WordMap<Vec<u128>, usize>),
    /// By length of the prefix, the longest first.
    Longest(Vec<(u32, WordMap<Vec<u128>, usize>)>),
    /// By priority, the greatest first; then as they came.
    Ordered(BTreeMap<(Reverse<i32>, u64), usize>),
}

/// What one table holds.
#[derive(Debug)]
pub(super) struct TableState {
    pub(super) entries: Vec<Option<EntryState>>,
    free: Vec<usize>,
    pub(super) by_identity: BTreeMap<Identity, usize>,
    index: Index,
    next_serial: u64,
    serials: Vec<u64>,
    pub(super) default: Option<Held>,
    scratch: Vec<u128>,
}

fn prefix_mask(width: u32, prefix: u128) -> u128 {
    let rest = width.saturating_sub(u32::try_from(prefix).unwrap_or(u32::MAX));
    ones(width) & !ones(rest)
}

fn fits(field: &KeyField, part: (u128, u128), value: u128) -> bool {
    match field.kind {
        MatchKind::Exact => value == part.0,
        MatchKind::Lpm => value & prefix_mask(field.width, part.1) == part.0,
        MatchKind::Ternary => value & part.1 == part.0,
        MatchKind::Range => (part.0..=part.1).contains(&value),
    }
}

impl TableState {
    pub(super) fn new(table: &Table) -> Self {
        let index = match table.lookup {
            Lookup::Exact => Index::Exact(WordMap::default()),
            Lookup::Longest(_) => Index::Longest(Vec::new()),
            Lookup::Ordered => Index::Ordered(BTreeMap::new()),
        };
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            by_identity: BTreeMap::new(),
            index,
            next_serial: 0,
            serials: Vec::new(),
            default: None,
            scratch: Vec::new(),
        }
    }

    /// The entry that fits the packet best.
    pub(super) fn find(&mut self, table: &Table, scope: Scope<'_>) -> Option<usize> {
        if self.by_identity.is_empty() {
            return None;
        }
        let scratch = &mut self.scratch;
        scratch.clear();
        for field in &table.key {
            scratch.push(scope.data(&field.value) & field.mask);
        }
        match (&self.index, table.lookup) {
            (Index::Exact(map), _) => map.get(scratch.as_slice()).copied(),
            (Index::Longest(lengths), Lookup::Longest(at)) => {
                let (whole, width) = (scratch[at], table.key[at].width);
                lengths.iter().find_map(|(prefix, map)| {
                    scratch[at] = whole & prefix_mask(width, u128::from(*prefix));
                    map.get(scratch.as_slice()).copied()
                })
            }
            (Index::Ordered(order), _) => order.values().copied().find(|id| {
                let Some(entry) = &self.entries[*id] else { return false };
                let fields = table.key.iter().zip(&entry.identity.parts).zip(scratch.iter());
                fields.into_iter().all(|((field, part), value)| fits(field, *part, *value))
            }),
            (Index::Longest(_), _) => None,
        }
    }

    pub(super) fn insert(&mut self, table: &Table, entry: EntryState) {
        let identity = entry.identity.clone();
        let id = self.free.pop().unwrap_or(self.entries.len());
        if id == self.entries.len() {
            self.entries.push(None);
            self.serials.push(0);
        }
        self.next_serial += 1;
        self.serials[id] = self.next_serial;
        self.entries[id] = Some(entry);
        let values = || identity.parts.iter().map(|(value, _)| *value).collect::<Vec<u128>>();
        match (&mut self.index, table.lookup) {
            (Index::Exact(map), _) => drop(map.insert(values(), id)),
            (Index::Longest(lengths), Lookup::Longest(at)) => {
                let prefix = u32::try_from(identity.parts[at].1).unwrap_or(u32::MAX);
                let place = lengths.binary_search_by_key(&Reverse(prefix), |(length, _)| Reverse(*length));
                let place = place.unwrap_or_else(|place| {
                    lengths.insert(place, (prefix, WordMap::default()));
                    place
                });
                lengths[place].1.insert(values(), id);
            }
            (Index::Ordered(order), _) => {
                order.insert((Reverse(identity.priority), self.next_serial), id);
            }
            (Index::Longest(_), _) => {}
        }
        self.by_identity.insert(identity, id);
    }

    pub(super) fn remove(&mut self, table: &Table, identity: &Identity) -> Option<EntryState> {
        let id = self.by_identity.remove(identity)?;
        let values: Vec<u128> = identity.parts.iter().map(|(value, _)| *value).collect();
        match (&mut self.index, table.lookup) {
            (Index::Exact(map), _) => drop(map.remove(&values)),
            (Index::Longest(lengths), Lookup::Longest(at)) => {
                let prefix = u32::try_from(identity.parts[at].1).unwrap_or(u32::MAX);
                for (_, map) in lengths.iter_mut().filter(|(length, _)| *length == prefix) {
                    map.remove(&values);
                }
                lengths.retain(|(_, map)| !map.is_empty());
            }
            (Index::Ordered(order), _) => drop(order.remove(&(Reverse(identity.priority), self.serials[id]))),
            (Index::Longest(_), _) => {}
        }
        self.free.push(id);
        self.entries[id].take()
    }

    pub(super) fn entry(&self, identity: &Identity) -> Option<&EntryState> {
        self.by_identity.get(identity).and_then(|id| self.entries[*id].as_ref())
    }

    pub(super) fn entry_mut(&mut self, identity: &Identity) -> Option<&mut EntryState> {
        self.by_identity.get(identity).and_then(|id| self.entries[*id].as_mut())
    }
}

/// The live ones of weighted choices, each as often as it weighs.
pub(super) fn expand(choices: impl Iterator<Item = (u32, u32, bool)>) -> Vec<u32> {
    let live = choices.filter(|(_, _, is_live)| *is_live);
    live.flat_map(|(what, weight, _)| std::iter::repeat_n(what, weight as usize)).collect()
}
