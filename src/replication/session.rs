//! What a source knows of a replica in one session: what was told, what changed since, what is on its way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::types::Timestamp;
use crate::wire::replication::{Ack, Fields, Handle, Header, Key, Kind, PairKeys, RECORD_LEN_MAX};

use super::digest::Digest;
use super::marks::Marks;
use super::outbox::Outbox;
use super::ring::Ring;
use super::table::Table;
use super::{Config, Lag, Refusal, SEGMENT};

/// Bits of a handle beside its changed fields.
const QUEUED: u8 = 0x40;
/// The replica has a connection under this handle, though perhaps another one than the table.
const KNOWN: u8 = 0x80;

/// The snapshot is over: all segments were told.
const TOLD: u32 = u32::MAX;
/// Frames of snapshots and repairs that are made at once, so that changes never wait behind many.
const BULK_FRAMES: u64 = 8;
/// Bytes that a queued change will take, about: enough to see when a frame is full.
const OPEN_LEN: usize = 24;
const UPDATE_LEN: usize = 4;

#[derive(Debug)]
pub(super) struct Session {
    number: u32,
    header: Header,
    key: Key,
    digest_key: Key,
    /// For each handle: [`QUEUED`], [`KNOWN`], and the fields that changed since it was told. All fields at once mean
    /// that the connection is told as a whole, because it may be another one.
    flags: Vec<u8>,
    /// Handles in the order of their first change that is not told.
    queue: VecDeque<u32>,
    marks: Marks,
    queued_bytes: usize,
    outbox: Outbox,
    /// First segment that the snapshot has not told. Changes in it and behind it need no record of their own.
    cursor: u32,
    /// Sequence of the frame that ends the snapshot.
    complete: Option<u64>,
    repairs: BTreeSet<u32>,
    /// Segments that were repaired, and the frame that ends it, until that is acknowledged.
    repairing: BTreeMap<u32, u64>,
    repaired: u64,
    diverged: u32,
    audit: u32,
    audit_at: Timestamp,
    beats: u64,
    beat_at: Timestamp,
    acks: u64,
    heard: Timestamp,
    bulk_next: bool,
}

fn segments(table: &Table) -> u32 {
    table.places().div_ceil(SEGMENT)
}

impl Session {
    /// `header` names the pair and the session; `acks` is the number of the acknowledgement that begins it.
    pub(super) fn new(header: Header, acks: u64, keys: &PairKeys, config: &Config, now: Timestamp) -> Self {
        let header = Header { kind: Kind::Data, ..header };
        Self {
            number: header.session,
            header,
            key: keys.down,
            digest_key: keys.digest,
            flags: Vec::new(),
            queue: VecDeque::new(),
            marks: Marks::default(),
            queued_bytes: 0,
            outbox: Outbox::new(header, keys.down, config.frame_bytes_max, Ring::new(config.ring_bytes_max)),
            cursor: 0,
            complete: None,
            repairs: BTreeSet::new(),
            repairing: BTreeMap::new(),
            repaired: 0,
            diverged: 0,
            audit: 0,
            audit_at: now + config.audit_pass,
            beats: 0,
            beat_at: now + config.beat_busy,
            acks,
            heard: now,
            bulk_next: true,
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn heard(&self) -> Timestamp {
        self.heard
    }

    pub(super) fn repaired(&self) -> u64 {
        self.repaired
    }

    /// The replica has everything up to the end of the snapshot, and doubts nothing.
    pub(super) fn is_complete(&self) -> bool {
        self.diverged == 0 && self.complete.is_some_and(|end| end < self.outbox.ring.next() - self.outbox.ring.len())
    }

    pub(super) fn lag(&self, now: Timestamp) -> Lag {
        let oldest = [self.outbox.ring.oldest(), self.marks.oldest()].into_iter().flatten().min();
        Lag {
            frames: self.outbox.ring.len(),
            waiting: self.queue.len() as u64,
            oldest: oldest.map(|oldest| now.since(oldest)).unwrap_or_default(),
            diverged: self.diverged,
            repaired: self.repaired,
            unheard: now.since(self.heard),
        }
    }

    /// A handle means a new connection.
    pub(super) fn opened(&mut self, handle: u32, now: Timestamp) {
        self.note(handle, Fields::ALL, OPEN_LEN, now);
    }

    pub(super) fn updated(&mut self, handle: u32, fields: Fields, now: Timestamp) {
        self.note(handle, fields, UPDATE_LEN, now);
    }

    pub(super) fn closed(&mut self, handle: u32, now: Timestamp) {
        self.note(handle, Fields::NONE, UPDATE_LEN, now);
    }

    fn note(&mut self, handle: u32, fields: Fields, length: usize, now: Timestamp) {
        if handle / SEGMENT >= self.cursor {
            return;
        }
        let flags = self.flags_mut(handle);
        *flags |= fields.0;
        if *flags & QUEUED == 0 {
            *flags |= QUEUED;
            self.queue.push_back(handle);
            self.marks.push(now);
            self.queued_bytes += length;
        }
    }

    fn flags_mut(&mut self, handle: u32) -> &mut u8 {
        let place = handle as usize;
        if self.flags.len() <= place {
            self.flags.resize(place + 1, 0);
        }
        &mut self.flags[place]
    }

    /// Takes what a replica says of this session.
    pub(super) fn acknowledged(
        &mut self,
        ack: &Ack,
        number: u64,
        config: &Config,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if number <= self.acks {
            return Err(Refusal::Replayed);
        }
        if !self.outbox.ring.acknowledge(ack.applied) {
            return Err(Refusal::Malformed);
        }
        (self.acks, self.heard) = (number, now);
        for (first, length) in &ack.missing {
            self.outbox.ring.ask(*first, *length, config.request * 2, now);
        }
        self.repairing.retain(|_, end| *end > ack.applied);
        self.diverged = u32::try_from(ack.doubtful.len()).unwrap_or(u32::MAX);
        for segment in &ack.doubtful {
            if *segment < self.cursor && !self.repairing.contains_key(segment) && self.repairs.insert(*segment) {
                self.repaired += 1;
            }
        }
        Ok(())
    }

    /// The next frame, when the link may take one.
    pub(super) fn poll(&mut self, table: &Table, config: &Config, now: Timestamp) -> Option<Bytes> {
        if !self.outbox.ring.is_waiting() {
            self.make(table, config, now);
        }
        if let Some(frame) = self.outbox.ring.take(now) {
            self.beat_at = now + config.beat_busy;
            return Some(frame);
        }
        if self.beat_at > now {
            return None;
        }
        self.beats += 1;
        let busy = self.outbox.ring.len() > 0;
        self.beat_at = now + if busy { config.beat_busy } else { config.beat_idle };
        let header = Header { kind: Kind::Beat, sequence: self.outbox.ring.next() - 1, ..self.header };
        Some(header.with_body(&self.beats.to_be_bytes(), &self.key).into())
    }

    /// When [`Session::poll`] has something to do.
    pub(super) fn deadline(&self, config: &Config) -> Timestamp {
        let mut deadline = self.beat_at;
        if self.outbox.ring.is_waiting() {
            return Timestamp(0);
        }
        if self.outbox.ring.has_room() {
            if self.cursor != TOLD || !self.repairs.is_empty() || self.has_full_frame(config) {
                return Timestamp(0);
            }
            deadline = deadline.min(self.audit_at);
            if let Some(oldest) = self.marks.oldest() {
                deadline = deadline.min(oldest + config.batch);
            }
        }
        deadline
    }

    fn has_full_frame(&self, config: &Config) -> bool {
        self.queued_bytes + RECORD_LEN_MAX > config.frame_bytes_max
    }

    /// Makes frames of changes and of snapshots in turn, so that neither keeps the other waiting.
    fn make(&mut self, table: &Table, config: &Config, now: Timestamp) {
        if !self.outbox.ring.has_room() {
            return;
        }
        let due = self.marks.oldest().is_some_and(|oldest| oldest + config.batch <= now);
        let changes = due || self.has_full_frame(config);
        let bulk = self.cursor != TOLD || !self.repairs.is_empty() || self.audit_at <= now;
        if bulk && (self.bulk_next || !changes) {
            self.bulk_next = false;
            self.make_bulk(table, config, now);
        } else if changes {
            self.bulk_next = true;
            self.make_changes(table, now);
        }
    }

    /// One frame of changes.
    fn make_changes(&mut self, table: &Table, now: Timestamp) {
        while !self.outbox.is_full() {
            let Some(handle) = self.queue.pop_front() else { break };
            let oldest = self.marks.oldest().unwrap_or(now);
            self.marks.pop();
            self.flags[handle as usize] &= !QUEUED;
            self.tell(handle, table, oldest);
        }
        self.outbox.seal();
        self.queued_bytes = self.queue.len() * UPDATE_LEN;
    }

    /// What the replica does not know of a handle, as one record at most. The last value is the only one.
    fn tell(&mut self, handle: u32, table: &Table, oldest: Timestamp) {
        let flags = &mut self.flags[handle as usize];
        let (known, fields) = (*flags & KNOWN != 0, Fields(*flags & Fields::ALL.0));
        *flags &= QUEUED;
        match table.get(handle) {
            Some(connection) => {
                *flags |= KNOWN;
                if !known || fields == Fields::ALL {
                    self.outbox.records(oldest).open(Handle(handle), connection);
                } else if !fields.is_none() {
                    self.outbox.records(oldest).update(Handle(handle), fields, &connection.state);
                }
            }
            None if known => self.outbox.records(oldest).close(Handle(handle)),
            None => {}
        }
    }

    fn make_bulk(&mut self, table: &Table, config: &Config, now: Timestamp) {
        let begin = self.outbox.ring.next();
        while self.outbox.ring.next() < begin + BULK_FRAMES {
            if let Some(segment) = self.repairs.pop_first() {
                self.tell_segment(segment, table, now);
                self.repairing.insert(segment, self.outbox.ring.next());
            } else if self.cursor < segments(table) {
                self.tell_segment(self.cursor, table, now);
                self.cursor += 1;
            } else if self.cursor != TOLD {
                self.cursor = TOLD;
                self.outbox.records(now).complete(segments(table));
                self.complete = Some(self.outbox.ring.next());
            } else {
                if self.audit_at <= now {
                    self.make_audit(table, config, now);
                }
                break;
            }
        }
        self.outbox.seal();
    }

    /// All of a segment: what the replica holds beside it goes.
    fn tell_segment(&mut self, segment: u32, table: &Table, now: Timestamp) {
        let mut digest = Digest::new(self.digest_key);
        self.outbox.records(now).segment(segment);
        for handle in range(segment, table) {
            let flags = self.flags_mut(handle);
            *flags &= QUEUED;
            if let Some(connection) = table.get(handle) {
                *flags |= KNOWN;
                self.outbox.records(now).open(Handle(handle), connection);
                digest.add(handle, connection);
            }
        }
        self.outbox.records(now).digest(segment, digest.value());
    }

    /// The next segment's digest, behind everything that changed in it: so it holds at this place of the stream.
    fn make_audit(&mut self, table: &Table, config: &Config, now: Timestamp) {
        let count = segments(table);
        self.audit_at = now + config.audit_pause.max(config.audit_pass / count.max(1));
        if count == 0 {
            return;
        }
        self.audit = if self.audit < count { self.audit } else { 0 };
        let mut digest = Digest::new(self.digest_key);
        for handle in range(self.audit, table) {
            if *self.flags_mut(handle) & QUEUED != 0 {
                self.tell(handle, table, self.marks.oldest().unwrap_or(now));
            }
            if let Some(connection) = table.get(handle) {
                digest.add(handle, connection);
            }
        }
        self.outbox.records(now).digest(self.audit, digest.value());
        self.audit += 1;
    }
}

/// Handles of a segment that the table has places for.
fn range(segment: u32, table: &Table) -> std::ops::Range<u32> {
    let begin = segment.saturating_mul(SEGMENT);
    begin.min(table.places())..begin.saturating_add(SEGMENT).min(table.places())
}
