//! Who may write: primaries and backups of every role, by election id (specification, "Client Arbitration").
//!
//! ```text
//!                    update, id >= highest ever seen
//!   connected ───────────────────────────────────────▶ primary ──┐
//!       │                                                 ▲      │ another's id is as high, or its own became lower
//!       │ update, id lower or unset                       │      ▼
//!       └───────────────────────────────────────────────▶ backup ◀┘
//! ```
//!
//! Invariant: a role has at most one primary, and among live controllers of a role no election id is there twice. BMv2
//! differs: it knows one role only, its primary is the highest of those who are connected (so a backup takes over by itself),
//! and who gives no id has the id 0.

use std::collections::BTreeMap;

use tonic::Code;

use super::refusal::{Behaviour, Outcome, Refusal};
use crate::wire::p4runtime::{rpc, v1};

/// Most controllers of one role: BMv2's limit.
const CONTROLLERS_MAX: usize = 16;

/// One stream channel, numbered by whoever accepts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// A notice to one controller.
pub(super) type Notice = (StreamId, v1::MasterArbitrationUpdate);

#[derive(Debug)]
struct Controller {
    role: String,
    election: Option<u128>,
}

#[derive(Debug)]
pub(super) struct Arbitration {
    device: u64,
    behaviour: Behaviour,
    controllers: BTreeMap<StreamId, Controller>,
    /// Highest election id ever seen, by role.
    highest: BTreeMap<String, u128>,
}

impl Arbitration {
    pub(super) fn new(device: u64, behaviour: Behaviour) -> Self {
        Self { device, behaviour, controllers: BTreeMap::new(), highest: BTreeMap::new() }
    }

    /// A controller's update. What comes back goes to controllers; a refusal ends the stream, which has to be
    /// [`Self::leave`] of its own.
    pub(super) fn update(&mut self, stream: StreamId, update: &v1::MasterArbitrationUpdate) -> Outcome<Vec<Notice>> {
        let is_new = !self.controllers.contains_key(&stream);
        if update.device_id != self.device {
            let message = format!("expected device id {}, came {}", self.device, update.device_id);
            return Err(match is_new {
                true => Refusal::not_found(message),
                false => Refusal::new(Code::FailedPrecondition, message),
            });
        }
        let role = self.role_of(update)?;
        let election = update.election_id.as_ref().map(to_u128);
        let election = self.behaviour.pick(Some(election.unwrap_or(0)), election);
        self.check(stream, &role, election, is_new)?;
        let before = self.primary(&role);
        let unchanged = self.controllers.get(&stream).is_some_and(|controller| controller.election == election);
        self.controllers.insert(stream, Controller { role: role.clone(), election });
        if let Some(election) = election {
            let highest = self.highest.entry(role.clone()).or_insert(election);
            *highest = election.max(*highest);
        }
        let after = self.primary(&role);
        let to_all = match self.behaviour {
            // It tells nobody of an id that stays.
            Behaviour::Bmv2 if unchanged => return Ok(Vec::new()),
            Behaviour::Bmv2 => (after == Some(stream)) != (before == Some(stream)),
            Behaviour::Specification => after == Some(stream) || before == Some(stream),
        };
        Ok(self.notices(&role, (!to_all).then_some(stream)))
    }

    /// The stream is closed; the others hear of it if it was the primary's.
    pub(super) fn leave(&mut self, stream: StreamId) -> Vec<Notice> {
        let Some(controller) = self.controllers.get(&stream) else { return Vec::new() };
        let role = controller.role.clone();
        let was_primary = self.primary(&role) == Some(stream);
        self.controllers.remove(&stream);
        if was_primary { self.notices(&role, None) } else { Vec::new() }
    }

    /// Whether a request with this role and election id is the primary's.
    pub(super) fn may_write(&self, role: &str, election: Option<&v1::Uint128>) -> Outcome {
        let election = election.map(to_u128);
        let allowed = match self.behaviour {
            // It takes everything from whoever gives no id while nobody is connected.
            Behaviour::Bmv2 if self.controllers.is_empty() => election.is_none(),
            Behaviour::Bmv2 => self.election_of_primary("") == Some(election.unwrap_or(0)),
            Behaviour::Specification => election.is_some() && self.election_of_primary(role) == election,
        };
        if allowed { Ok(()) } else { Err(Refusal::new(Code::PermissionDenied, "Not primary")) }
    }

    pub(super) fn is_primary(&self, stream: StreamId) -> bool {
        self.controllers.get(&stream).is_some_and(|controller| self.primary(&controller.role) == Some(stream))
    }

    /// Whom packets, digests and notifications go to: the primary of each role.
    pub(super) fn primaries(&self) -> Vec<StreamId> {
        let mut roles: Vec<&str> = self.controllers.values().map(|controller| controller.role.as_str()).collect();
        roles.sort_unstable();
        roles.dedup();
        roles.into_iter().filter_map(|role| self.primary(role)).collect()
    }

    fn role_of(&self, update: &v1::MasterArbitrationUpdate) -> Outcome<String> {
        match (&update.role, self.behaviour) {
            (None, _) | (_, Behaviour::Bmv2) => Ok(String::new()),
            (Some(role), Behaviour::Specification) if role.config.is_some() => Err(Refusal::invalid(format!(
                "expected no configuration for role '{}', none was agreed upon",
                role.name
            ))),
            (Some(role), Behaviour::Specification) => Ok(role.name.clone()),
        }
    }

    fn check(&self, stream: StreamId, role: &str, election: Option<u128>, is_new: bool) -> Outcome {
        if let Some(controller) = self.controllers.get(&stream)
            && controller.role != role
        {
            let message = format!("expected role '{}' as before, came '{role}'", controller.role);
            return Err(Refusal::new(Code::FailedPrecondition, message));
        }
        let others = || self.controllers.iter().filter(|(id, other)| **id != stream && other.role == role);
        if is_new && others().count() >= CONTROLLERS_MAX {
            return Err(Refusal::new(Code::ResourceExhausted, "Too many connections"));
        }
        if election.is_some() && others().any(|(_, other)| other.election == election) {
            let message = if is_new { "Election id already exists" } else { "New election id already exists" };
            return Err(Refusal::invalid(message));
        }
        Ok(())
    }

    fn primary(&self, role: &str) -> Option<StreamId> {
        let of_role = self.controllers.iter().filter(|(_, controller)| controller.role == role);
        let (stream, controller) =
            of_role.filter(|(_, controller)| controller.election.is_some()).max_by_key(|(_, c)| c.election)?;
        let enough = match self.behaviour {
            Behaviour::Bmv2 => true,
            Behaviour::Specification => controller.election >= self.highest.get(role).copied(),
        };
        enough.then_some(*stream)
    }

    fn election_of_primary(&self, role: &str) -> Option<u128> {
        self.primary(role).and_then(|stream| self.controllers[&stream].election)
    }

    /// To one controller of a role, or to all: the primary last, as the specification orders them.
    fn notices(&self, role: &str, only: Option<StreamId>) -> Vec<Notice> {
        let primary = self.primary(role);
        let election = match self.behaviour {
            Behaviour::Bmv2 => self.election_of_primary(role),
            Behaviour::Specification => self.highest.get(role).copied(),
        };
        let notice = |stream: StreamId| {
            let (code, message) = match primary {
                Some(primary) if primary == stream => (Code::Ok, "Is primary"),
                Some(_) => (Code::AlreadyExists, "Is backup"),
                None => (Code::NotFound, "There is no primary"),
            };
            let update = v1::MasterArbitrationUpdate {
                device_id: self.device,
                role: (!role.is_empty()).then(|| v1::Role { name: role.to_owned(), ..Default::default() }),
                election_id: election.map(from_u128),
                status: Some(rpc::Status { code: code as i32, message: message.to_owned(), details: Vec::new() }),
            };
            (stream, update)
        };
        let members = self.controllers.iter().filter(|(_, controller)| controller.role == role).map(|(id, _)| *id);
        let mut notices: Vec<Notice> =
            members.filter(|stream| only.is_none_or(|only| only == *stream)).map(notice).collect();
        notices.sort_by_key(|(stream, _)| primary == Some(*stream));
        notices
    }
}

fn to_u128(id: &v1::Uint128) -> u128 {
    u128::from(id.high) << 64 | u128::from(id.low)
}

fn from_u128(id: u128) -> v1::Uint128 {
    v1::Uint128 { high: (id >> 64) as u64, low: id as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: u64 = 1;
    const A: StreamId = StreamId(1);
    const B: StreamId = StreamId(2);
    const C: StreamId = StreamId(3);

    fn update(role: &str, election: Option<u128>) -> v1::MasterArbitrationUpdate {
        v1::MasterArbitrationUpdate {
            device_id: DEVICE,
            role: (!role.is_empty()).then(|| v1::Role { name: role.to_owned(), ..Default::default() }),
            election_id: election.map(from_u128),
            status: None,
        }
    }

    /// One step of a scenario and the notices, or the refusal, that have to follow: `A:0@7` says that A hears code 0 with
    /// election id 7.
    enum Step {
        Update(StreamId, &'static str, Option<u128>, &'static str),
        Leave(StreamId, &'static str),
        Writes(&'static str, Option<u128>, bool),
    }
    use Step::{Leave, Update, Writes};

    fn told(notices: &[Notice]) -> String {
        let one = |(stream, notice): &Notice| {
            let name = ["?", "A", "B", "C"][stream.0 as usize];
            let code = notice.status.as_ref().unwrap().code;
            let election = notice.election_id.as_ref().map_or("-".to_owned(), |id| to_u128(id).to_string());
            format!("{name}:{code}@{election}")
        };
        notices.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn play(behaviour: Behaviour, steps: &[Step]) {
        let mut arbitration = Arbitration::new(DEVICE, behaviour);
        for (number, step) in steps.iter().enumerate() {
            match step {
                Update(stream, role, election, expected) => {
                    let outcome = match arbitration.update(*stream, &update(role, *election)) {
                        Ok(notices) => told(&notices),
                        Err(refusal) => {
                            arbitration.leave(*stream);
                            format!("{:?}", refusal.code)
                        }
                    };
                    assert_eq!(outcome, *expected, "{behaviour:?}, step {number}");
                }
                Leave(stream, expected) => {
                    assert_eq!(told(&arbitration.leave(*stream)), *expected, "{behaviour:?}, step {number}");
                }
                Writes(role, election, allowed) => {
                    let id = election.map(from_u128);
                    let outcome = arbitration.may_write(role, id.as_ref());
                    assert_eq!(outcome.is_ok(), *allowed, "{behaviour:?}, step {number}: {outcome:?}");
                }
            }
        }
    }

    #[test]
    fn the_specification_is_followed() {
        play(
            Behaviour::Specification,
            &[
                Writes("", None, false),
                Update(A, "", None, "A:5@-"),
                Writes("", None, false),
                Update(A, "", Some(5), "A:0@5"),
                Writes("", Some(5), true),
                Writes("", Some(4), false),
                Writes("other", Some(5), false),
                Update(B, "", Some(5), "InvalidArgument"),
                Update(B, "", Some(3), "B:6@5"),
                // Roles are apart, and so are their ids.
                Update(C, "reader", Some(5), "C:0@5"),
                Writes("reader", Some(5), true),
                // A higher id demotes at once; the new primary hears last.
                Update(B, "", Some(9), "A:6@9 B:0@9"),
                Writes("", Some(5), false),
                Writes("", Some(9), true),
                // Nobody takes over by itself, and not with a lower id than was ever seen.
                Leave(B, "A:5@9"),
                Writes("", Some(5), false),
                Update(A, "", Some(8), "A:5@9"),
                Update(A, "", Some(9), "A:0@9"),
                // The primary confirms itself: everybody hears.
                Update(A, "", Some(9), "A:0@9"),
                // It downgrades itself.
                Update(A, "", Some(2), "A:5@9"),
                Writes("", Some(2), false),
                Update(A, "reader", Some(2), "FailedPrecondition"),
            ],
        );
    }

    #[test]
    fn bmv2_is_followed() {
        play(
            Behaviour::Bmv2,
            &[
                Writes("", None, true),
                Writes("", Some(1), false),
                Update(A, "", None, "A:0@0"),
                Writes("", None, true),
                Update(A, "", Some(5), "A:0@5"),
                Writes("", Some(5), true),
                Update(B, "", Some(5), "InvalidArgument"),
                Update(B, "", Some(3), "B:6@5"),
                // Names of roles are ignored: this one demotes A, and writes under any name are its own.
                Update(C, "reader", Some(7), "A:6@7 B:6@7 C:0@7"),
                Writes("", Some(5), false),
                Writes("", Some(7), true),
                Update(C, "reader", Some(7), ""),
                // The next one takes over by itself.
                Leave(C, "B:6@5 A:0@5"),
                Writes("", Some(5), true),
                Update(A, "", Some(1), "A:6@3 B:0@3"),
                Leave(A, ""),
            ],
        );
    }

    #[test]
    fn devices_and_numbers_of_controllers_are_checked() {
        let mut arbitration = Arbitration::new(DEVICE, Behaviour::Specification);
        let mut elsewhere = update("", Some(1));
        elsewhere.device_id = 2;
        assert_eq!(arbitration.update(A, &elsewhere).unwrap_err().code, Code::NotFound);
        arbitration.update(A, &update("", Some(1))).unwrap();
        assert_eq!(arbitration.update(A, &elsewhere).unwrap_err().code, Code::FailedPrecondition);
        for id in 2..=CONTROLLERS_MAX as u64 {
            arbitration.update(StreamId(id), &update("", Some(id.into()))).unwrap();
        }
        let refusal = arbitration.update(StreamId(99), &update("", Some(99))).unwrap_err();
        assert_eq!(refusal.code, Code::ResourceExhausted);
        assert_eq!(arbitration.primaries(), [StreamId(CONTROLLERS_MAX as u64)]);
    }
}
