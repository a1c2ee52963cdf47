//! Flow tables with tuple-space lookup (Srinivasan, Suri, Varghese, SIGCOMM 1999): one hash table for every set of
//! masks in use, visited from the highest priority down.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use crate::fabric::packet::{LANES, Packet, lane_of};
use crate::wire::openflow::Match;

/// Place of a flow in the switch's flow store.
pub(super) type FlowId = u32;

/// One lane with the bits of it that count.
pub(super) type Masked = (u8, u64);

/// A match in terms of lanes, sorted by lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    pub(super) masks: Box<[Masked]>,
    pub(super) values: Box<[u64]>,
}

impl Pattern {
    /// The match must be canonical and have fields with lanes only, which [`super::validate`] has checked.
    pub(super) fn new(matching: &Match) -> Self {
        let mut lanes: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
        for field in &matching.fields {
            if let Some(lane) = lane_of(field.field) {
                let mask = field.mask.unwrap_or(field.field.all_ones()) as u64;
                lanes.insert(lane as u8, (mask, field.value as u64 & mask));
            }
        }
        Self {
            masks: lanes.iter().map(|(lane, (mask, _))| (*lane, *mask)).collect(),
            values: lanes.values().map(|(_, value)| *value).collect(),
        }
    }

    /// Whether every packet that matches `other` matches this too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.masks.iter().zip(&self.values).all(|((lane, mask), value)| {
            other
                .masks
                .binary_search_by_key(lane, |(lane, _)| *lane)
                .is_ok_and(|at| other.masks[at].1 & mask == *mask && other.values[at] & mask == *value)
        })
    }

    /// Whether some packet matches both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.masks.iter().zip(&self.values).all(|((lane, mask), value)| {
            match other.masks.binary_search_by_key(lane, |(lane, _)| *lane) {
                Ok(at) => (other.values[at] ^ value) & mask & other.masks[at].1 == 0,
                Err(_) => true,
            }
        })
    }
}

/// Multiplicative hashing of whole words: the keys are small and nobody hostile chooses them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WordHasher(u64);

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }
    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }
    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

pub(super) type WordMap<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;

/// Flows that share one set of masks.
#[derive(Debug, Default)]
struct Subtable {
    masks: Box<[Masked]>,
    /// Flows of one key, highest priority first; nearly always one.
    flows: WordMap<Box<[u64]>, Vec<(u16, FlowId)>>,
    /// How many flows have each priority.
    priorities: BTreeMap<u16, usize>,
    highest: u16,
}

impl Subtable {
    fn refresh(&mut self) {
        self.highest = self.priorities.last_key_value().map_or(0, |(priority, _)| *priority);
    }
}

/// One flow table.
#[derive(Debug, Default)]
pub(super) struct Table {
    subtables: Vec<Subtable>,
}

impl Table {
    pub(super) fn lookup(&self, packet: &Packet) -> Option<FlowId> {
        let mut best: Option<(u16, FlowId)> = None;
        let mut key = [0; LANES];
        for subtable in &self.subtables {
            if best.is_some_and(|(priority, _)| priority >= subtable.highest) {
                break;
            }
            if subtable.flows.is_empty() {
                continue;
            }
            for (word, (lane, mask)) in key.iter_mut().zip(&subtable.masks) {
                *word = packet.lanes[usize::from(*lane)] & mask;
            }
            let found = subtable.flows.get(&key[..subtable.masks.len()]).and_then(|flows| flows.first());
            if let Some((priority, flow)) = found
                && best.is_none_or(|(other, _)| *priority > other)
            {
                best = Some((*priority, *flow));
            }
        }
        best.map(|(_, flow)| flow)
    }

    /// The flow with exactly this pattern and priority.
    pub(super) fn find(&self, pattern: &Pattern, priority: u16) -> Option<FlowId> {
        let subtable = self.subtables.iter().find(|subtable| subtable.masks == pattern.masks)?;
        let flows = subtable.flows.get(&pattern.values)?;
        flows.iter().find(|(p, _)| *p == priority).map(|(_, flow)| *flow)
    }

    pub(super) fn insert(&mut self, pattern: &Pattern, priority: u16, flow: FlowId) {
        let at = match self.subtables.iter().position(|subtable| subtable.masks == pattern.masks) {
            Some(at) => at,
            None => {
                self.subtables.push(Subtable { masks: pattern.masks.clone(), ..Subtable::default() });
                self.subtables.len() - 1
            }
        };
        let subtable = &mut self.subtables[at];
        *subtable.priorities.entry(priority).or_default() += 1;
        let flows = subtable.flows.entry(pattern.values.clone()).or_default();
        let place = flows.partition_point(|(p, _)| *p > priority);
        flows.insert(place, (priority, flow));
        subtable.refresh();
        self.sort();
    }

    pub(super) fn remove(&mut self, pattern: &Pattern, priority: u16) {
        let Some(at) = self.subtables.iter().position(|subtable| subtable.masks == pattern.masks) else { return };
        let subtable = &mut self.subtables[at];
        if let Some(flows) = subtable.flows.get_mut(&pattern.values) {
            flows.retain(|(p, _)| *p != priority);
            if flows.is_empty() {
                subtable.flows.remove(&pattern.values);
            }
        }
        if let Some(count) = subtable.priorities.get_mut(&priority) {
            *count -= 1;
            if *count == 0 {
                subtable.priorities.remove(&priority);
                subtable.refresh();
                // An empty subtable stays: learned entries come and go, and an empty one costs nothing.
                self.sort();
            }
        }
    }

    fn sort(&mut self) {
        if !self.subtables.is_sorted_by(|a, b| a.highest >= b.highest) {
            self.subtables.sort_by_key(|subtable| std::cmp::Reverse(subtable.highest));
        }
    }
}
