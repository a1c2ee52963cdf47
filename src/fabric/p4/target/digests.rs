//! Digest lists: gathered, sent, acknowledged (specification, "DigestEntry").
//!
//! A message that is in the buffer, or in a list that was sent and not acknowledged yet, is not told again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tonic::Code;

use super::arrays::unimplemented;
use super::refusal::{Behaviour, Outcome, Refusal};
use super::schema::{Digest, Shape};
use crate::types::Timestamp;
use crate::wire::p4runtime::{canonical, v1};

/// Lists that wait for their acknowledgement; beyond it the oldest is given up.
const LISTS_MAX: usize = 1_024;
/// Messages of one list where the controller sets no bound.
const MESSAGES_MAX: usize = 1_024;

/// One message: its fields in order.
type Fields = Vec<u128>;

#[derive(Clone, Debug, Default)]
pub(super) struct DigestState {
    config: Option<v1::DigestEntry>,
    buffer: Vec<Fields>,
    /// When the first of the buffer came.
    since: Timestamp,
    last_list: u64,
    sent: BTreeMap<u64, (Timestamp, Vec<Fields>)>,
    /// Everything of `buffer` and `sent`.
    known: BTreeSet<Fields>,
}

impl DigestState {
    pub(super) fn write(&mut self, update: v1::update::Type, entry: &v1::DigestEntry) -> Outcome {
        let id = entry.digest_id;
        match update {
            v1::update::Type::Insert if self.config.is_some() => {
                Err(Refusal::new(Code::AlreadyExists, format!("Digest {id} already configured")))
            }
            v1::update::Type::Insert => {
                self.config = Some(*entry);
                Ok(())
            }
            v1::update::Type::Modify | v1::update::Type::Delete if self.config.is_none() => {
                Err(Refusal::not_found(format!("Digest {id} not configured")))
            }
            v1::update::Type::Modify => {
                self.config = Some(*entry);
                Ok(())
            }
            v1::update::Type::Delete => {
                *self = Self { last_list: self.last_list, ..Self::default() };
                Ok(())
            }
            v1::update::Type::Unspecified => Err(Refusal::invalid("Invalid update type for DigestEntry")),
        }
    }

    pub(super) fn read(&self, id: u32) -> Outcome<v1::DigestEntry> {
        self.config.ok_or_else(|| Refusal::not_found(format!("Digest {id} not configured")))
    }

    pub(super) fn is_configured(&self) -> bool {
        self.config.is_some()
    }

    fn limits(&self) -> v1::digest_entry::Config {
        self.config.and_then(|entry| entry.config).unwrap_or_default()
    }

    /// A message of the data plane; a full buffer becomes a list.
    pub(super) fn take(&mut self, digest: &Digest, fields: Fields, now: Timestamp) -> Option<v1::DigestList> {
        if self.config.is_none() || !self.known.insert(fields.clone()) {
            return None;
        }
        if self.buffer.is_empty() {
            self.since = now;
        }
        self.buffer.push(fields);
        let limits = self.limits();
        let most = usize::try_from(limits.max_list_size).ok().filter(|most| *most > 0).unwrap_or(MESSAGES_MAX);
        let is_due = limits.max_timeout_ns <= 0 || self.buffer.len() >= most;
        is_due.then(|| self.send(digest, now))
    }

    /// What time brings: a list whose first message waited long enough; cache entries that are forgotten.
    pub(super) fn advance(&mut self, digest: &Digest, now: Timestamp) -> Option<v1::DigestList> {
        let limits = self.limits();
        let forgotten = |at: Timestamp| now.since(at) >= nanos(limits.ack_timeout_ns);
        while let Some((list, (at, _))) = self.sent.first_key_value()
            && (forgotten(*at) || self.sent.len() > LISTS_MAX)
        {
            let list = *list;
            self.acknowledge(list);
        }
        let is_due = !self.buffer.is_empty() && now.since(self.since) >= nanos(limits.max_timeout_ns);
        is_due.then(|| self.send(digest, now))
    }

    pub(super) fn acknowledge(&mut self, list: u64) {
        for fields in self.sent.remove(&list).map(|(_, messages)| messages).unwrap_or_default() {
            self.known.remove(&fields);
        }
    }

    fn send(&mut self, digest: &Digest, now: Timestamp) -> v1::DigestList {
        self.last_list += 1;
        let messages = std::mem::take(&mut self.buffer);
        let list = v1::DigestList {
            digest_id: digest.id,
            list_id: self.last_list,
            data: messages.iter().map(|fields| data(digest, fields)).collect(),
            timestamp: (now.0 * 1_000).cast_signed(),
        };
        self.sent.insert(self.last_list, (now, messages));
        if self.limits().ack_timeout_ns <= 0 {
            self.acknowledge(self.last_list);
        }
        list
    }
}

/// BMv2 cannot be asked for all digests at once.
pub(super) fn check_read(id: u32, behaviour: Behaviour) -> Outcome {
    match (id, behaviour) {
        (0, Behaviour::Bmv2) => Err(unimplemented("digest_id must be set when reading DigestEntry")),
        _ => Ok(()),
    }
}

fn nanos(span: i64) -> Duration {
    Duration::from_nanos(span.max(0).unsigned_abs())
}

fn data(digest: &Digest, fields: &[u128]) -> v1::P4Data {
    use v1::p4_data::Data;
    let bits = |value: &u128| v1::P4Data { data: Some(Data::Bitstring(canonical::encode(*value))) };
    let members = || fields.iter().map(bits).collect();
    match digest.shape {
        Shape::Bits => bits(fields.first().unwrap_or(&0)),
        Shape::Struct => v1::P4Data { data: Some(Data::Struct(v1::P4StructLike { members: members() })) },
        Shape::Tuple => v1::P4Data { data: Some(Data::Tuple(v1::P4StructLike { members: members() })) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_secs(1) + Duration::from_millis(millis)
    }

    fn configured(most: i32, timeout_ms: i64, ack_ms: i64) -> (Digest, DigestState) {
        let digest = Digest { id: 7, name: "learned".to_owned(), shape: Shape::Struct };
        let config = v1::digest_entry::Config {
            max_timeout_ns: timeout_ms * 1_000_000,
            max_list_size: most,
            ack_timeout_ns: ack_ms * 1_000_000,
        };
        let mut state = DigestState::default();
        state.write(v1::update::Type::Insert, &v1::DigestEntry { digest_id: 7, config: Some(config) }).unwrap();
        (digest, state)
    }

    #[test]
    fn lists_go_out_when_full_or_old() {
        let (digest, mut state) = configured(2, 10, 100);
        assert_eq!(state.take(&digest, vec![1], at(0)), None);
        let list = state.take(&digest, vec![2], at(1)).unwrap();
        assert_eq!((list.list_id, list.data.len(), list.digest_id), (1, 2, 7));
        assert_eq!(state.take(&digest, vec![3], at(2)), None);
        assert_eq!(state.advance(&digest, at(11)), None);
        assert_eq!(state.advance(&digest, at(12)).unwrap().list_id, 2);
    }

    #[test]
    fn what_was_sent_is_not_told_again_until_acknowledged_or_forgotten() {
        let (digest, mut state) = configured(1, 10, 100);
        let list = state.take(&digest, vec![1, 2], at(0)).unwrap();
        assert_eq!(state.take(&digest, vec![1, 2], at(1)), None);
        state.acknowledge(list.list_id);
        assert!(state.take(&digest, vec![1, 2], at(2)).is_some());
        assert_eq!(state.advance(&digest, at(101)), None);
        assert_eq!(state.take(&digest, vec![1, 2], at(101)), None);
        state.advance(&digest, at(102));
        assert!(state.take(&digest, vec![1, 2], at(103)).is_some());
    }

    #[test]
    fn updates_follow_the_configuration() {
        let (_, mut state) = configured(1, 0, 0);
        let entry = v1::DigestEntry { digest_id: 7, config: None };
        let code = |outcome: Outcome| outcome.map_err(|refusal| refusal.code);
        assert_eq!(code(state.write(v1::update::Type::Insert, &entry)), Err(Code::AlreadyExists));
        assert_eq!(code(state.write(v1::update::Type::Delete, &entry)), Ok(()));
        assert_eq!(code(state.write(v1::update::Type::Modify, &entry)), Err(Code::NotFound));
        assert_eq!(state.read(7).unwrap_err().code, Code::NotFound);
    }
}
