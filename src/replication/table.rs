//! Connections by a small number and by their flow: a slab, and an index of positions without copies of keys.

use std::hash::Hasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use siphasher::sip::SipHasher13;

use crate::wire::replication::{Addresses, Connection, Flow, Key, State};

/// A table that holds as many connections as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected at most {0} connections")]
pub struct Full(pub u32);

/// Places are used again, the last one that was freed first: numbers stay small, and segments full.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Option<Connection>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    most: u32,
    hash: Hash,
}

/// Keyed, because whoever opens connections chooses their ports.
#[derive(Clone, Copy, Debug)]
struct Hash(Key);

impl Hash {
    fn of(self, flow: &Flow, zone: u16) -> u64 {
        let mut hasher = SipHasher13::new_with_key(self.0.bytes());
        let mut small = [0; 16];
        match flow.addresses {
            Addresses::V4([source, destination]) => {
                small[..4].copy_from_slice(&source.octets());
                small[4..8].copy_from_slice(&destination.octets());
            }
            Addresses::V6([source, destination]) => {
                hasher.write(&source.octets());
                hasher.write(&destination.octets());
            }
        }
        small[8..10].copy_from_slice(&flow.source_port.to_be_bytes());
        small[10..12].copy_from_slice(&flow.destination_port.to_be_bytes());
        small[12..14].copy_from_slice(&zone.to_be_bytes());
        small[14] = flow.protocol;
        hasher.write(&small);
        hasher.finish()
    }
}

/// Whether the place holds this flow.
fn holds(slots: &[Option<Connection>], slot: u32, flow: &Flow, zone: u16) -> bool {
    slots[slot as usize].as_ref().is_some_and(|held| held.flow == *flow && held.zone == zone)
}

impl Table {
    pub(super) fn new(most: u32, key: &Key) -> Self {
        let hash = Hash(key.derive(b"table"));
        Self { slots: Vec::new(), free: Vec::new(), index: HashTable::new(), most, hash }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Places that are or were in use: numbers are below.
    pub(super) fn places(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("bounded by `most`")
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Connection> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn state_mut(&mut self, slot: u32) -> Option<&mut State> {
        self.slots.get_mut(slot as usize)?.as_mut().map(|connection| &mut connection.state)
    }

    pub(super) fn find(&self, flow: &Flow, zone: u16) -> Option<u32> {
        self.index.find(self.hash.of(flow, zone), |slot| holds(&self.slots, *slot, flow, zone)).copied()
    }

    /// Puts a connection in a free place; `Ok(Err(place))` when its flow has one already, which stays as it is.
    pub(super) fn insert(&mut self, connection: Connection) -> Result<Result<u32, u32>, Full> {
        let Self { slots, free, index, most, hash } = self;
        let (flow, zone) = (connection.flow, connection.zone);
        let rehash = |slot: &u32| {
            let held = slots[*slot as usize].as_ref().expect("the index names places in use");
            hash.of(&held.flow, held.zone)
        };
        match index.entry(hash.of(&flow, zone), |slot| holds(slots, *slot, &flow, zone), rehash) {
            Entry::Occupied(entry) => Ok(Err(*entry.get())),
            Entry::Vacant(entry) => {
                let next = u32::try_from(slots.len()).ok().filter(|next| next < most);
                let slot = free.pop().or(next).ok_or(Full(*most))?;
                entry.insert(slot);
                if Some(slot) == next && slots.len() == slot as usize {
                    slots.push(Some(connection));
                } else {
                    slots[slot as usize] = Some(connection);
                }
                Ok(Ok(slot))
            }
        }
    }

    /// Puts another connection of the same flow in its place.
    pub(super) fn replace(&mut self, slot: u32, connection: Connection) {
        let held = &mut self.slots[slot as usize];
        debug_assert!(held.as_ref().is_some_and(|held| held.flow == connection.flow && held.zone == connection.zone));
        *held = Some(connection);
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Connection> {
        let connection = self.slots.get_mut(slot as usize)?.take()?;
        let found = self.index.find_entry(self.hash.of(&connection.flow, connection.zone), |held| *held == slot);
        found.expect("the index names every place in use").remove();
        self.free.push(slot);
        Some(connection)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Connection)> {
        (0..).zip(&self.slots).filter_map(|(slot, held)| Some((slot, held.as_ref()?)))
    }
}
