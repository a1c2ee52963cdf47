//! Reads and writes the connections of owners, one errand at a time, as a machine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::mapping::Mapping;
use super::session::Session;
use super::vocabulary::Owner;
use crate::plan::DatapathPlan;
use crate::southbound::{Command, Connection, Event};
use crate::types::{DatapathId, NodeIndex, Timestamp};
use crate::wire::openflow::{Message, MultipartReplyBody, MultipartRequest};

/// Flow-mods between two barriers: what an errand may have under way.
const CHUNK: usize = 256;
/// Errands that wait. Whoever asks faster than the switch answers is told so.
const WAITING_MAX: usize = 64;
/// A switch that does not answer for so long will not.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum Errand {
    Read { owner: NodeIndex },
    Write { owner: NodeIndex, changes: VecDeque<(bool, Connection)>, added: u64, removed: u64 },
}

impl Errand {
    fn owner(&self) -> NodeIndex {
        match self {
            Self::Read { owner } | Self::Write { owner, .. } => *owner,
        }
    }
}

/// An errand that was begun or waits to be, and the first message it sent.
#[derive(Debug)]
struct Begun {
    errand: Errand,
    first: Option<u32>,
}

#[derive(Debug)]
struct Running {
    errand: Errand,
    first: u32,
    awaited: u32,
    deadline: Timestamp,
}

impl Running {
    /// Whether a message was sent for this errand, and not for one before. Numbers wrap.
    fn has_sent(&self, xid: u32) -> bool {
        xid.wrapping_sub(self.first) <= self.awaited.wrapping_sub(self.first)
    }
}

/// The errands of one session.
#[derive(Debug)]
pub(super) struct Errands {
    mapping: Mapping,
    waiting: VecDeque<Begun>,
    running: Option<Running>,
    events: VecDeque<Event>,
}

impl Errands {
    pub(super) fn new(mapping: Mapping) -> Self {
        Self { mapping, waiting: VecDeque::new(), running: None, events: VecDeque::new() }
    }

    /// Takes a command about connections.
    pub(super) fn command(
        &mut self,
        command: Command,
        plan: Option<&Arc<DatapathPlan>>,
        session: &mut Session,
        now: Timestamp,
    ) {
        let datapath = command.datapath();
        let Some(owner) = command.owner() else { return };
        let errand = match command {
            Command::ReadConnections { .. } => Errand::Read { owner },
            Command::WriteConnections { add, remove, .. } => {
                let removals = remove.into_iter().map(|connection| (false, connection));
                let changes = removals.chain(add.into_iter().map(|connection| (true, connection))).collect();
                Errand::Write { owner, changes, added: 0, removed: 0 }
            }
            _ => return self.tell(datapath, owner, "an OpenFlow switch does not sweep"),
        };
        let holds = plan.is_some_and(|plan| (self.mapping.connections_request)(plan).is_some());
        if !holds {
            return self.tell(datapath, owner, "the switch holds no connections");
        }
        if self.waiting.len() >= WAITING_MAX {
            return self.tell(datapath, owner, "too many errands wait for this switch");
        }
        self.waiting.push_back(Begun { errand, first: None });
        self.go_on(plan, session, now);
    }

    fn tell(&mut self, datapath: DatapathId, owner: NodeIndex, error: &str) {
        self.events.push_back(Event::ConnectionsFailed { datapath, owner, error: error.to_owned() });
    }

    pub(super) fn answered(
        &mut self,
        xid: u32,
        body: Option<&MultipartReplyBody>,
        plan: Option<&Arc<DatapathPlan>>,
        session: &mut Session,
        now: Timestamp,
    ) {
        let Some(running) = self.running.take_if(|running| running.awaited == xid) else { return };
        let (Some(plan), Some(datapath)) = (plan, session.datapath()) else { return };
        let first = Some(running.first);
        match (running.errand, body) {
            (Errand::Read { owner }, Some(MultipartReplyBody::Flow(flows))) => {
                let connections = (self.mapping.connections)(plan, owner, flows);
                self.events.push_back(Event::Connections { datapath, owner, connections });
            }
            (Errand::Read { owner }, _) => self.tell(datapath, owner, "the switch answered something else"),
            (errand @ Errand::Write { .. }, _) => self.waiting.push_front(Begun { errand, first }),
        }
        self.go_on(Some(plan), session, now);
    }

    /// A message was refused. If it was the running errand's, that is over; what an earlier one sent says nothing of it.
    pub(super) fn failed(
        &mut self,
        xid: u32,
        error: &str,
        plan: Option<&Arc<DatapathPlan>>,
        session: &mut Session,
        now: Timestamp,
    ) {
        if self.running.as_ref().is_some_and(|running| running.has_sent(xid)) {
            self.give_up(error, session);
            self.go_on(plan, session, now);
        }
    }

    fn give_up(&mut self, error: &str, session: &Session) {
        let Some(running) = self.running.take() else { return };
        if let Some(datapath) = session.datapath() {
            self.tell(datapath, running.errand.owner(), error);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.running.as_ref().map(|running| running.deadline)
    }

    pub(super) fn tick(&mut self, plan: Option<&Arc<DatapathPlan>>, session: &mut Session, now: Timestamp) {
        if self.running.as_ref().is_some_and(|running| now >= running.deadline) {
            if let Some(late) = self.running.as_ref() {
                session.forget(late.awaited);
            }
            self.give_up("the switch did not answer in time", session);
        }
        self.go_on(plan, session, now);
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn go_on(&mut self, plan: Option<&Arc<DatapathPlan>>, session: &mut Session, now: Timestamp) {
        let (Some(plan), Some(datapath)) = (plan, session.datapath()) else { return };
        while self.running.is_none() {
            let Some(Begun { mut errand, mut first }) = self.waiting.pop_front() else { return };
            let awaited = match &mut errand {
                Errand::Read { .. } => (self.mapping.connections_request)(plan).and_then(|body| {
                    let request = MultipartRequest { more: false, body };
                    session.request(Owner::Connections, Message::MultipartRequest(request)).ok()
                }),
                Errand::Write { owner, changes, added, removed } if changes.is_empty() => {
                    let (owner, added, removed) = (*owner, *added, *removed);
                    self.events.push_back(Event::ConnectionsWritten { datapath, owner, added, removed });
                    continue;
                }
                Errand::Write { owner, changes, added, removed } => {
                    let chunk = changes.len().min(CHUNK);
                    for (add, connection) in changes.drain(..chunk) {
                        let flow_mod = (self.mapping.write_connection)(plan, *owner, &connection, add);
                        let sent = flow_mod.map(|it| session.request(Owner::Connections, Message::FlowMod(it)));
                        if let Some(Ok(xid)) = sent {
                            first = first.or(Some(xid));
                            *(if add { &mut *added } else { &mut *removed }) += 1;
                        }
                    }
                    session.request(Owner::Connections, Message::BarrierRequest).ok()
                }
            };
            match awaited {
                Some(awaited) => {
                    let (first, deadline) = (first.unwrap_or(awaited), now + PATIENCE);
                    self.running = Some(Running { errand, first, awaited, deadline });
                }
                None => self.tell(datapath, errand.owner(), "the session takes no more requests now"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
