//! A source and one of its shadows: greetings, the session in force, and the link's share.

use bytes::Bytes;

use crate::types::Timestamp;
use crate::wire::replication::{Ack, Frame, Header, Kind, PairKeys};

use super::pace::Pace;
use super::session::Session;
use super::table::Table;
use super::{Config, Lag, Refusal, Refused};

#[derive(Debug)]
pub(super) struct Pair {
    keys: PairKeys,
    /// Of every frame, but for kind, session and sequence.
    header: Header,
    /// Sessions that were ever begun in this epoch.
    sessions: u32,
    pub(super) session: Option<Session>,
    /// Nonce of a greeting that waits for its answer.
    greeting: Option<u64>,
    /// Nonce of the last greeting that was answered, and of the one that began the session.
    answered: Option<u64>,
    begun_by: Option<u64>,
    announcements: u64,
    announce_at: Timestamp,
    pace: Pace,
    refused: Refused,
    /// In sessions that are over.
    repaired: u64,
    since: Timestamp,
}

impl Pair {
    pub(super) fn new(header: Header, keys: PairKeys, config: &Config, now: Timestamp) -> Self {
        Self {
            keys,
            header,
            sessions: 0,
            session: None,
            greeting: None,
            answered: None,
            begun_by: None,
            announcements: 0,
            announce_at: now,
            pace: Pace::new(config.rate_bytes_per_s, config.burst_bytes),
            refused: Refused::default(),
            repaired: 0,
            since: now,
        }
    }

    pub(super) fn refused(&self) -> &Refused {
        &self.refused
    }

    pub(super) fn lag(&self, now: Timestamp) -> Lag {
        match &self.session {
            Some(session) => {
                let lag = session.lag(now);
                Lag { repaired: lag.repaired + self.repaired, ..lag }
            }
            None => Lag { repaired: self.repaired, unheard: now.since(self.since), ..Lag::default() },
        }
    }

    pub(super) fn receive(&mut self, bytes: &[u8], config: &Config, now: Timestamp) -> Result<(), Refusal> {
        let outcome = self.take(bytes, config, now);
        self.refused.count(outcome)
    }

    fn take(&mut self, bytes: &[u8], config: &Config, now: Timestamp) -> Result<(), Refusal> {
        let frame = Frame::decode(bytes).map_err(|_| Refusal::Unreadable)?;
        let header = frame.header;
        if (header.source, header.replica) != (self.header.source, self.header.replica) || header.kind.is_down() {
            return Err(Refusal::Foreign);
        }
        if !frame.is_authentic(&self.keys.up) {
            return Err(Refusal::Forged);
        }
        let current = self.session.as_ref().map(Session::number);
        let is_current = header.epoch == self.header.epoch && current == Some(header.session);
        if header.kind == Kind::Hello {
            let nonce = frame.number().map_err(|_| Refusal::Malformed)?;
            if Some(nonce) == self.begun_by {
                return Err(Refusal::Replayed);
            }
            // One from within the session asks for nothing: it crossed the session's first frame.
            self.greeting = if is_current { self.greeting } else { Some(nonce) };
            return Ok(());
        }
        let ack = Ack::decode(frame.body).map_err(|_| Refusal::Malformed)?;
        if let Some(session) = self.session.as_mut().filter(|_| is_current) {
            return session.acknowledged(&ack, header.sequence, config, now);
        }
        if header.epoch != self.header.epoch || header.session != self.sessions + 1 || ack.applied != 0 {
            return Err(Refusal::OtherSession);
        }
        self.end();
        self.sessions += 1;
        self.begun_by = self.answered;
        let begun = Header { session: self.sessions, ..self.header };
        self.session = Some(Session::new(begun, header.sequence, &self.keys, config, now));
        Ok(())
    }

    fn end(&mut self) {
        if let Some(session) = self.session.take() {
            self.repaired += session.repaired();
            self.since = session.heard();
        }
    }

    pub(super) fn poll(&mut self, table: &Table, config: &Config, now: Timestamp) -> Option<Bytes> {
        if self.session.as_ref().is_some_and(|session| now.since(session.heard()) >= config.silence) {
            self.end();
            self.announce_at = now;
        }
        if !self.pace.is_ready(now) {
            return None;
        }
        let frame = self.next(table, config, now)?;
        self.pace.spend(frame.len(), now);
        Some(frame)
    }

    fn next(&mut self, table: &Table, config: &Config, now: Timestamp) -> Option<Bytes> {
        if let Some(nonce) = self.greeting.take() {
            self.answered = Some(nonce);
            let header = Header { kind: Kind::Welcome, session: self.sessions + 1, ..self.header };
            return Some(header.with_body(&nonce.to_be_bytes(), &self.keys.down).into());
        }
        match &mut self.session {
            Some(session) => session.poll(table, config, now),
            None if self.announce_at <= now => {
                self.announce_at = now + config.beat_idle;
                self.announcements += 1;
                let header = Header { sequence: self.announcements, ..self.header };
                Some(header.with_body(&[], &self.keys.down).into())
            }
            None => None,
        }
    }

    pub(super) fn deadline(&self, config: &Config) -> Timestamp {
        let own = match &self.session {
            _ if self.greeting.is_some() => Timestamp(0),
            Some(session) => session.deadline(config),
            None => self.announce_at,
        };
        let paced = own.max(self.pace.ready_at());
        self.session.as_ref().map_or(paced, |session| paced.min(session.heard() + config.silence))
    }
}
