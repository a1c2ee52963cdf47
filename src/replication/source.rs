//! The connections of one router, and what each of its shadows was told of them.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::types::{NodeIndex, Timestamp};
use crate::wire::replication::{Connection, Flow, Handle, Header, Key, Kind, PairKeys, State};

use super::pair::Pair;
use super::session::Session;
use super::table::{Full, Table};
use super::{Config, Lag, Refusal, Refused};

/// One table, and a pair for every shadow.
#[derive(Debug)]
pub struct Source {
    config: Config,
    id: NodeIndex,
    epoch: u32,
    secret: Key,
    table: Table,
    pairs: BTreeMap<NodeIndex, Pair>,
    /// Who was polled last: the others come first.
    last: NodeIndex,
    strangers: Refused,
}

impl Source {
    /// `epoch` is one that this router never had before: random, or the seconds of a clock that never goes back.
    pub fn new(config: Config, id: NodeIndex, epoch: u32, secret: Key) -> Self {
        let table = Table::new(config.connections_max, &secret);
        let (pairs, strangers) = (BTreeMap::new(), Refused::default());
        Self { config, id, epoch, secret, table, pairs, last: id, strangers }
    }

    /// From now on this shadow is told everything; one that is told already stays as it is.
    pub fn add_peer(&mut self, peer: NodeIndex, now: Timestamp) {
        let header = Header {
            kind: Kind::Announce,
            source: self.id,
            replica: peer,
            epoch: self.epoch,
            session: 0,
            sequence: 0,
            count: 0,
        };
        let keys = PairKeys::new(&self.secret, self.id, peer);
        self.pairs.entry(peer).or_insert_with(|| Pair::new(header, keys, &self.config, now));
    }

    pub fn remove_peer(&mut self, peer: NodeIndex) {
        self.pairs.remove(&peer);
    }

    pub fn peers(&self) -> impl Iterator<Item = NodeIndex> {
        self.pairs.keys().copied()
    }

    fn sessions(&mut self) -> impl Iterator<Item = &mut Session> {
        self.pairs.values_mut().filter_map(|pair| pair.session.as_mut())
    }

    /// A connection began. If its flow is known, what is known of it is replaced, and its handle stays.
    pub fn open(&mut self, connection: Connection, now: Timestamp) -> Result<Handle, Full> {
        let (flow, zone) = (connection.flow, connection.zone);
        let known = self.table.find(&flow, zone);
        let handle = match known {
            Some(handle) if self.table.get(handle) == Some(&connection) => return Ok(Handle(handle)),
            Some(handle) => {
                self.table.replace(handle, connection);
                handle
            }
            None => self.table.insert(connection)?.unwrap_or_else(|known| known),
        };
        self.sessions().for_each(|session| session.opened(handle, now));
        Ok(Handle(handle))
    }

    /// Its state is this one now. `false` when the handle means no connection.
    pub fn update(&mut self, handle: Handle, state: &State, now: Timestamp) -> bool {
        let Some(held) = self.table.state_mut(handle.0) else { return false };
        let fields = held.difference(state);
        if !fields.is_none() {
            *held = *state;
            self.sessions().for_each(|session| session.updated(handle.0, fields, now));
        }
        true
    }

    /// A connection ended. Its handle may soon mean another one.
    pub fn close(&mut self, handle: Handle, now: Timestamp) -> Option<Connection> {
        let connection = self.table.remove(handle.0)?;
        self.sessions().for_each(|session| session.closed(handle.0, now));
        Some(connection)
    }

    pub fn find(&self, flow: &Flow, zone: u16) -> Option<Handle> {
        self.table.find(flow, zone).map(Handle)
    }

    pub fn get(&self, handle: Handle) -> Option<&Connection> {
        self.table.get(handle.0)
    }

    /// All connections, in the order of their handles.
    pub fn connections(&self) -> impl Iterator<Item = (Handle, &Connection)> {
        self.table.iter().map(|(handle, connection)| (Handle(handle), connection))
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a frame from a shadow: what follows the EtherType or the UDP header.
    pub fn receive(&mut self, peer: NodeIndex, frame: &[u8], now: Timestamp) -> Result<(), Refusal> {
        match self.pairs.get_mut(&peer) {
            Some(pair) => pair.receive(frame, &self.config, now),
            None => self.strangers.count(Err(Refusal::UnknownPeer)),
        }
    }

    /// The next frame to send, and to whom; `None` until [`Source::next_deadline`]. Shadows take turns.
    pub fn poll(&mut self, now: Timestamp) -> Option<(NodeIndex, Bytes)> {
        // Those behind the last one, then from the beginning.
        let split = Bound::Excluded(self.last);
        for range in [(split, Bound::Unbounded), (Bound::Unbounded, Bound::Included(self.last))] {
            for (peer, pair) in self.pairs.range_mut(range) {
                if let Some(frame) = pair.poll(&self.table, &self.config, now) {
                    self.last = *peer;
                    return Some((*peer, frame));
                }
            }
        }
        None
    }

    /// When [`Source::poll`] has something to do; in the past when it has now. `None` without shadows.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.pairs.values().map(|pair| pair.deadline(&self.config)).min()
    }

    /// How far behind a shadow is; `None` when it is none. Without a session only `repaired` and `unheard` say something.
    pub fn lag(&self, peer: NodeIndex, now: Timestamp) -> Option<Lag> {
        self.pairs.get(&peer).map(|pair| pair.lag(now))
    }

    /// Whether a shadow has acknowledged a whole snapshot in the session in force, and doubts no segment.
    pub fn is_complete(&self, peer: NodeIndex) -> bool {
        self.pairs.get(&peer).and_then(|pair| pair.session.as_ref()).is_some_and(Session::is_complete)
    }

    /// Frames that were refused as this shadow's.
    pub fn refused(&self, peer: NodeIndex) -> Option<&Refused> {
        self.pairs.get(&peer).map(Pair::refused)
    }

    /// Frames of nobody known.
    pub fn strangers(&self) -> &Refused {
        &self.strangers
    }
}
