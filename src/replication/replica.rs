//! What a shadow knows of one source.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::types::{NodeIndex, Timestamp};
use crate::wire::replication::{
    Ack, Connection, Fields, Flow, Frame, Handle, Header, Key, Kind, PairKeys, RANGES_MAX, Record, Records,
    SEGMENTS_MAX, State,
};

use super::digest::Digest;
use super::table::Table;
use super::window::{Turn, Window};
use super::{Config, Refusal, Refused, SEGMENT};

/// What a frame changed. A `slot` is where [`Replica::get`] finds the connection until it is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Is new, or another one than before under the same flow.
    Opened {
        slot: u32,
    },
    Updated {
        slot: u32,
        fields: Fields,
    },
    Closed(Box<Connection>),
}

const NOWHERE: u32 = u32::MAX;
/// Frames that are acknowledged at once.
const ACK_FRAMES: u32 = 32;

/// A table of what was told. It outlives the source: only a later session's complete snapshot takes away what an
/// earlier one told.
#[derive(Debug)]
pub struct Replica {
    config: Config,
    keys: PairKeys,
    header: Header,
    pub(super) table: Table,
    /// For each handle of the session its slot, or [`NOWHERE`].
    slots: Vec<u32>,
    /// For each slot its handle in the session, or [`NOWHERE`]: told by an earlier session, and not yet by this one.
    handles: Vec<u32>,
    pub(super) window: Window,
    /// Greetings name it, so that an answer to an earlier one is told apart.
    nonce: u64,
    /// The session of `header` was confirmed by a frame in it.
    confirmed: bool,
    complete: bool,
    /// The segment that is being told, and which of its handles were.
    telling: Option<(u32, [bool; SEGMENT as usize])>,
    doubtful: BTreeSet<u32>,
    contradictions: u64,
    divergences: u64,
    /// Epoch and number of the last announcement.
    announced: (u32, u64),
    hello_at: Option<Timestamp>,
    ack_at: Option<Timestamp>,
    unacknowledged: u32,
    acks: u64,
    beats: u64,
    heard: Option<Timestamp>,
    refused: Refused,
    records: Vec<Record>,
}

impl Replica {
    /// `seed` is random, so that no greeting of an earlier start is repeated. Says hello at once.
    pub fn new(config: Config, source: NodeIndex, own: NodeIndex, seed: u64, secret: &Key) -> Self {
        let keys = PairKeys::new(secret, source, own);
        let kind = Kind::Ack;
        Self {
            table: Table::new(config.connections_max, secret),
            config,
            keys,
            header: Header { kind, source, replica: own, epoch: 0, session: 0, sequence: 0, count: 0 },
            slots: Vec::new(),
            handles: Vec::new(),
            window: Window::default(),
            nonce: seed,
            confirmed: false,
            complete: false,
            telling: None,
            doubtful: BTreeSet::new(),
            contradictions: 0,
            divergences: 0,
            announced: (0, 0),
            hello_at: Some(Timestamp(0)),
            ack_at: None,
            unacknowledged: 0,
            acks: 0,
            beats: 0,
            heard: None,
            refused: Refused::default(),
            records: Vec::new(),
        }
    }

    pub fn source(&self) -> NodeIndex {
        self.header.source
    }

    /// All connections that the source is known to hold or to have held when last heard.
    pub fn connections(&self) -> impl Iterator<Item = (u32, &Connection)> {
        self.table.iter()
    }

    pub fn get(&self, slot: u32) -> Option<&Connection> {
        self.table.get(slot)
    }

    pub fn find(&self, flow: &Flow, zone: u16) -> Option<u32> {
        self.table.find(flow, zone)
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A full snapshot of the session in force was applied, and every digest since was equal.
    pub fn is_complete(&self) -> bool {
        self.complete && self.doubtful.is_empty()
    }

    /// When the source was last heard in the session in force.
    pub fn heard(&self) -> Option<Timestamp> {
        self.heard
    }

    /// Digests that were not equal; each has its segment sent again.
    pub fn divergences(&self) -> u64 {
        self.divergences
    }

    /// Updates of connections that are not there: they too have their segment sent again.
    pub fn contradictions(&self) -> u64 {
        self.contradictions
    }

    /// Frames that are known to be on their way, or lost.
    pub fn missing(&self) -> u64 {
        self.window.behind()
    }

    pub fn refused(&self) -> &Refused {
        &self.refused
    }

    /// Takes a frame of the source: what follows the EtherType or the UDP header. Tells what it changed.
    pub fn receive(&mut self, frame: &[u8], now: Timestamp, changes: &mut Vec<Change>) -> Result<(), Refusal> {
        let outcome = self.take(frame, now, changes);
        self.refused.count(outcome)
    }

    fn take(&mut self, bytes: &[u8], now: Timestamp, changes: &mut Vec<Change>) -> Result<(), Refusal> {
        let frame = Frame::decode(bytes).map_err(|_| Refusal::Unreadable)?;
        let header = frame.header;
        if (header.source, header.replica) != (self.header.source, self.header.replica) || !header.kind.is_down() {
            return Err(Refusal::Foreign);
        }
        if !frame.is_authentic(&self.keys.down) {
            return Err(Refusal::Forged);
        }
        match header.kind {
            Kind::Announce => return self.announced(&header, now),
            Kind::Welcome => return self.welcomed(&frame, now),
            _ => {}
        }
        if (header.epoch, header.session) != (self.header.epoch, self.header.session) || header.session == 0 {
            return Err(Refusal::OtherSession);
        }
        if header.kind == Kind::Beat { self.beat(&frame, now) } else { self.data(&frame, now, changes) }
    }

    /// The source has no session with this replica.
    fn announced(&mut self, header: &Header, now: Timestamp) -> Result<(), Refusal> {
        let (epoch, number) = self.announced;
        if epoch == header.epoch && header.sequence <= number {
            return Err(Refusal::Replayed);
        }
        self.announced = (header.epoch, header.sequence);
        self.hello_at.get_or_insert(now);
        Ok(())
    }

    fn welcomed(&mut self, frame: &Frame<'_>, now: Timestamp) -> Result<(), Refusal> {
        let nonce = frame.number().map_err(|_| Refusal::Malformed)?;
        if nonce != self.nonce || frame.header.session == 0 {
            return Err(Refusal::Replayed);
        }
        self.nonce = u64::from_be_bytes(*self.keys.up.derive(&nonce.to_be_bytes()).bytes().first_chunk().expect("16"));
        (self.header.epoch, self.header.session) = (frame.header.epoch, frame.header.session);
        self.slots.clear();
        self.handles.fill(NOWHERE);
        self.window = Window::default();
        (self.confirmed, self.complete, self.telling) = (false, false, None);
        self.doubtful.clear();
        (self.acks, self.beats, self.unacknowledged) = (0, 0, 0);
        (self.hello_at, self.ack_at, self.heard) = (None, Some(now), None);
        Ok(())
    }

    /// A frame of the session came: whoever announced otherwise was late.
    fn confirm(&mut self, now: Timestamp) {
        (self.confirmed, self.hello_at, self.heard) = (true, None, Some(now));
    }

    fn acknowledge_by(&mut self, at: Timestamp) {
        self.ack_at = Some(self.ack_at.map_or(at, |before| before.min(at)));
    }

    fn beat(&mut self, frame: &Frame<'_>, now: Timestamp) -> Result<(), Refusal> {
        let number = frame.number().map_err(|_| Refusal::Malformed)?;
        if number <= self.beats {
            return Err(Refusal::Replayed);
        }
        self.confirm(now);
        self.beats = number;
        self.window.heard_of(frame.header.sequence);
        self.acknowledge_by(now);
        Ok(())
    }

    fn data(&mut self, frame: &Frame<'_>, now: Timestamp, changes: &mut Vec<Change>) -> Result<(), Refusal> {
        let header = frame.header;
        let turn = self.window.came(header.sequence, header.count, frame.body, self.config.reorder_frames_max)?;
        self.confirm(now);
        if turn == Turn::Now {
            self.apply(frame.body, header.count, now, changes)?;
            while let Some(early) = self.window.next() {
                self.apply(&early.body, early.count, now, changes)?;
            }
        }
        self.unacknowledged += 1;
        let wait = if self.unacknowledged >= ACK_FRAMES {
            std::time::Duration::ZERO
        } else if self.window.is_missing() {
            self.config.request
        } else {
            self.config.ack_delay
        };
        self.acknowledge_by(now + wait);
        Ok(())
    }

    /// Applies a frame whole, or not at all: then the peers do not understand each other, and begin anew after a pause.
    fn apply(&mut self, body: &[u8], count: u16, now: Timestamp, changes: &mut Vec<Change>) -> Result<(), Refusal> {
        let mut records = std::mem::take(&mut self.records);
        let decoded = Records::new(body, count).try_for_each(|record| record.map(|record| records.push(record)));
        let most = self.config.connections_max;
        let allowed = decoded.is_ok() && records.iter().all(|record| is_allowed(record, most));
        if allowed {
            records.drain(..).for_each(|record| self.record(record, changes));
            self.window.advance();
        } else {
            records.clear();
            (self.header.epoch, self.header.session, self.ack_at) = (0, 0, None);
            self.complete = false;
            self.hello_at = Some(now + self.config.beat_idle);
        }
        self.records = records;
        if allowed { Ok(()) } else { Err(Refusal::Malformed) }
    }

    fn record(&mut self, record: Record, changes: &mut Vec<Change>) {
        match record {
            Record::Update { handle, fields, state } => self.update(handle, fields, &state, changes),
            Record::Open { handle, connection } => self.open(handle, connection, changes),
            Record::Close { handle } => self.close(handle.0, changes),
            Record::Segment { index } => self.telling = Some((index, [false; SEGMENT as usize])),
            Record::Digest { index, digest } => self.digest(index, digest, changes),
            Record::Complete { .. } => self.completed(changes),
        }
    }

    /// Where the session's handle is.
    fn slot(&self, handle: u32) -> Option<u32> {
        self.slots.get(handle as usize).copied().filter(|slot| *slot != NOWHERE)
    }

    fn update(&mut self, Handle(handle): Handle, fields: Fields, state: &State, changes: &mut Vec<Change>) {
        let held = self.slot(handle).and_then(|slot| Some((slot, self.table.state_mut(slot)?)));
        let Some((slot, held)) = held else {
            self.contradictions += 1;
            self.doubtful.insert(handle / SEGMENT);
            return;
        };
        held.take(fields, state);
        changes.push(Change::Updated { slot, fields });
    }

    fn open(&mut self, Handle(handle): Handle, connection: Connection, changes: &mut Vec<Change>) {
        if let Some((index, seen)) = &mut self.telling
            && handle / SEGMENT == *index
        {
            seen[(handle % SEGMENT) as usize] = true;
        }
        let found = self.table.find(&connection.flow, connection.zone);
        if self.slot(handle).is_some_and(|slot| Some(slot) != found) {
            self.close(handle, changes);
        }
        let slot = match found {
            Some(slot) => {
                self.unbind(slot);
                self.renew(slot, connection, changes);
                slot
            }
            None => match self.table.insert(connection) {
                Ok(Ok(slot) | Err(slot)) => {
                    changes.push(Change::Opened { slot });
                    slot
                }
                // What earlier sessions told fills the table; the digest will tell, and by then there may be room.
                Err(_) => return,
            },
        };
        self.bind(handle, slot);
    }

    /// Puts what is told in the place of what was known of the same flow.
    fn renew(&mut self, slot: u32, connection: Connection, changes: &mut Vec<Change>) {
        let held = self.table.get(slot).expect("just found");
        let fields = held.state.difference(&connection.state);
        if held.reply != connection.reply {
            changes.push(Change::Opened { slot });
        } else if !fields.is_none() {
            changes.push(Change::Updated { slot, fields });
        } else {
            return;
        }
        self.table.replace(slot, connection);
    }

    fn bind(&mut self, handle: u32, slot: u32) {
        let set = |list: &mut Vec<u32>, at: u32, value: u32| {
            if list.len() <= at as usize {
                list.resize(at as usize + 1, NOWHERE);
            }
            list[at as usize] = value;
        };
        set(&mut self.slots, handle, slot);
        set(&mut self.handles, slot, handle);
    }

    /// The handle of this slot means nothing any more.
    fn unbind(&mut self, slot: u32) {
        if let Some(handle) = self.handles.get_mut(slot as usize)
            && *handle != NOWHERE
        {
            self.slots[*handle as usize] = NOWHERE;
            *handle = NOWHERE;
        }
    }

    /// A handle that means nothing may be closed: another one has taken over its flow.
    fn close(&mut self, handle: u32, changes: &mut Vec<Change>) {
        if let Some(slot) = self.slot(handle) {
            self.unbind(slot);
            self.drop_slot(slot, changes);
        }
    }

    fn drop_slot(&mut self, slot: u32, changes: &mut Vec<Change>) {
        if let Some(connection) = self.table.remove(slot) {
            changes.push(Change::Closed(Box::new(connection)));
        }
    }

    fn digest(&mut self, index: u32, told: u64, changes: &mut Vec<Change>) {
        let begin = index * SEGMENT;
        if let Some((_, seen)) = self.telling.take_if(|(telling, _)| *telling == index) {
            for (handle, _) in (begin..).zip(seen).filter(|(_, seen)| !seen) {
                self.close(handle, changes);
            }
        }
        let mut digest = Digest::new(self.keys.digest);
        for handle in begin..begin.saturating_add(SEGMENT) {
            if let Some(connection) = self.slot(handle).and_then(|slot| self.table.get(slot)) {
                digest.add(handle, connection);
            }
        }
        if digest.value() == told {
            self.doubtful.remove(&index);
        } else {
            self.divergences += 1;
            self.doubtful.insert(index);
        }
    }

    /// What an earlier session told and this one did not is over.
    fn completed(&mut self, changes: &mut Vec<Change>) {
        let over: Vec<u32> = self.table.iter().map(|(slot, _)| slot).filter(|slot| self.is_old(*slot)).collect();
        over.into_iter().for_each(|slot| self.drop_slot(slot, changes));
        self.complete = true;
    }

    fn is_old(&self, slot: u32) -> bool {
        self.handles.get(slot as usize).is_none_or(|handle| *handle == NOWHERE)
    }

    /// The next frame to send to the source; `None` until [`Replica::next_deadline`].
    pub fn poll(&mut self, now: Timestamp) -> Option<Bytes> {
        if self.hello_at.is_some_and(|at| at <= now) {
            self.hello_at = Some(now + self.config.beat_idle);
            let header = Header { kind: Kind::Hello, ..self.header };
            return Some(header.with_body(&self.nonce.to_be_bytes(), &self.keys.up).into());
        }
        if self.ack_at.is_none_or(|at| at > now) {
            return None;
        }
        let ack = Ack {
            applied: self.window.applied(),
            missing: self.window.missing(RANGES_MAX),
            doubtful: self.doubtful.iter().copied().take(SEGMENTS_MAX).collect(),
        };
        (self.acks, self.unacknowledged) = (self.acks + 1, 0);
        self.ack_at = if !self.confirmed {
            Some(now + self.config.beat_busy)
        } else if ack.missing.is_empty() {
            None
        } else {
            Some(now + self.config.request * 4)
        };
        let header = Header { sequence: self.acks, ..self.header };
        Some(header.with_body(&ack.encode(), &self.keys.up).into())
    }

    /// When [`Replica::poll`] has something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        [self.hello_at, self.ack_at].into_iter().flatten().min()
    }
}

/// What an authentic frame may say: handles and segments within the table's bounds.
fn is_allowed(record: &Record, connections_max: u32) -> bool {
    match record {
        Record::Update { handle, .. } | Record::Open { handle, .. } | Record::Close { handle } => {
            handle.0 < connections_max
        }
        Record::Segment { index } | Record::Digest { index, .. } => *index < connections_max.div_ceil(SEGMENT),
        Record::Complete { .. } => true,
    }
}
