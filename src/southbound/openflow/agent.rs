//! One switch as one machine: session, installer, collector and housekeeper together.
//!
//! [`Command`]s and bytes go in, [`Event`]s and bytes come out; no socket, no clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::collect::{CollectSettings, Collector, Housekeeper};
use super::counters::SessionCounters;
use super::errands::Errands;
use super::install::{InstallEvent, InstallSettings, Installer};
use super::mapping::Mapping;
use super::session::{Session, to_port};
use super::vocabulary::{Answer, CloseReason, Owner, Phase, SessionEvent, SessionSettings};
use crate::plan::DatapathPlan;
use crate::southbound::{Command, Event, Reading, SessionStatus};
use crate::types::{DatapathId, PortNo, Timestamp};
use crate::wire::openflow::{Action, Field, Message, NO_BUFFER, PacketIn, PacketOut, port, port_reason};

/// Settings of everything in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentSettings {
    pub session: SessionSettings,
    pub install: InstallSettings,
    pub collect: CollectSettings,
    pub start: StartSettings,
}

/// How switches that come together are served: handshakes and echoes at once, the long work in turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartSettings {
    /// Sessions that read what their switch holds, or install for the first time, at once. Each may hold the answer of
    /// a whole switch in memory, and takes a core while it compares.
    pub at_once_max: usize,
    /// A session that had to wait for its turn waits up to so long more, by its datapath id.
    pub jitter: Duration,
}

impl Default for StartSettings {
    fn default() -> Self {
        Self { at_once_max: 32, jitter: Duration::from_millis(50) }
    }
}

/// How far the beginning of a session has come, where it takes turns with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Waits for its turn to read.
    Waiting,
    Reading,
    /// Has read, and waits for a plan, or for its turn to install it.
    Read,
    Installing,
    /// Needs no turns (any more).
    Over,
}

/// The machine of one connection.
#[derive(Debug)]
pub struct SwitchAgent {
    session: Session,
    installer: Installer,
    collector: Collector,
    housekeeper: Housekeeper,
    errands: Errands,
    mapping: Mapping,
    peer: String,
    /// The newest plan wished for.
    plan: Option<Arc<DatapathPlan>>,
    start: Start,
    /// Which auxiliary connection this is, if it is one.
    auxiliary: Option<(DatapathId, u8)>,
    up: bool,
    closed: Option<CloseReason>,
    events: VecDeque<Event>,
}

impl SwitchAgent {
    /// A connection that was just accepted; HELLO waits in the output. `peer` names it in events.
    pub fn new(settings: AgentSettings, mapping: Mapping, peer: String, now: Timestamp) -> Self {
        Self {
            session: Session::new(settings.session, now),
            installer: Installer::new(settings.install, mapping.cookies),
            collector: Collector::new(settings.collect, mapping),
            housekeeper: Housekeeper::new(settings.collect, mapping),
            errands: Errands::new(mapping),
            mapping,
            peer,
            plan: None,
            start: Start::Over,
            auxiliary: None,
            up: false,
            closed: None,
            events: VecDeque::new(),
        }
    }

    pub fn peer(&self) -> &str {
        &self.peer
    }

    pub fn datapath(&self) -> Option<DatapathId> {
        self.session.datapath()
    }

    pub fn phase(&self) -> Phase {
        self.session.phase()
    }

    pub fn counters(&self) -> SessionCounters {
        self.session.counters()
    }

    /// The datapath and the number of an auxiliary connection, once it is complete.
    pub fn auxiliary(&self) -> Option<(DatapathId, u8)> {
        self.auxiliary
    }

    /// From now on reading and the first installation wait until they are let in by [`SwitchAgent::enter`].
    pub fn take_turns(&mut self) {
        self.start = Start::Waiting;
        self.installer.hold();
    }

    /// True if the session waits for its turn.
    pub fn wants_turn(&self) -> bool {
        match self.start {
            Start::Waiting => self.session.phase() == Phase::Up,
            Start::Read => self.installer.wants(),
            Start::Reading | Start::Installing | Start::Over => false,
        }
    }

    /// It is this session's turn.
    pub fn enter(&mut self, now: Timestamp) {
        self.start = match self.start {
            Start::Waiting => Start::Reading,
            Start::Read => Start::Installing,
            other => other,
        };
        self.installer.release(&mut self.session, now);
        self.settle(now);
    }

    /// True while the session needs the turn it was given.
    pub fn needs_turn(&mut self) -> bool {
        if self.start == Start::Reading && self.installer.looked() {
            // Whoever has a plan already goes on with it.
            self.start = if self.installer.wants() { Start::Installing } else { Start::Read };
        }
        if self.start == Start::Installing && self.installer.tried() {
            self.start = Start::Over;
        }
        if self.start == Start::Read {
            self.installer.hold();
        }
        matches!(self.start, Start::Reading | Start::Installing)
    }

    /// Why the session ended, once it has.
    pub fn closed(&self) -> Option<&CloseReason> {
        self.closed.as_ref()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn peek_event(&self) -> Option<&Event> {
        self.events.front()
    }

    /// Events that nobody has taken yet.
    pub fn backlog(&self) -> usize {
        self.events.len()
    }

    /// Bytes to write; taking them makes room for more of a large plan.
    pub fn poll_output(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        let output = self.session.poll_output();
        if output.is_some() {
            self.installer.pump(&mut self.session, now);
            self.settle(now);
        }
        output
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        let session = self.session.next_deadline()?;
        let others = [
            self.installer.next_deadline(),
            self.collector.next_deadline(),
            self.housekeeper.next_deadline(),
            self.errands.next_deadline(),
        ];
        Some(others.into_iter().flatten().fold(session, Timestamp::min))
    }

    pub fn tick(&mut self, now: Timestamp) {
        self.session.tick(now);
        if self.session.phase() == Phase::Up {
            self.installer.tick(&mut self.session, now);
            self.collector.tick(&mut self.session, now);
            self.housekeeper.tick(&mut self.session, now);
            self.errands.tick(self.plan.as_ref(), &mut self.session, now);
        }
        self.settle(now);
    }

    pub fn receive(&mut self, bytes: &[u8], now: Timestamp) {
        self.session.receive(bytes, now);
        self.settle(now);
    }

    /// Ends the session for a reason from outside the protocol.
    pub fn close(&mut self, reason: CloseReason, now: Timestamp) {
        self.session.close(reason);
        self.settle(now);
    }

    /// Asks for an echo at once.
    pub fn ask_echo(&mut self, now: Timestamp) {
        self.session.ask_echo(now);
    }

    pub fn command(&mut self, command: Command, now: Timestamp) {
        match command {
            Command::Install { generation, plan, .. } => {
                if let Some(held) = self.plan.as_ref().filter(|_| self.installer.is_resting()) {
                    self.installer.wake((self.mapping.compile)(held));
                }
                let state = (self.mapping.compile)(&plan);
                let plan = Arc::new(*plan);
                self.housekeeper.set_plan(&plan, now);
                self.plan = Some(plan);
                self.installer.want(generation, state, &mut self.session, now);
            }
            Command::Collect { datapath } => match &self.plan {
                Some(plan) => self.collector.collect(plan, &mut self.session, now),
                // Nothing is known of the switch's purpose yet, so there is nothing to ask it.
                None => self.events.push_back(Event::Reading { datapath, reading: Reading::default() }),
            },
            Command::Echo { .. } => self.session.ask_echo(now),
            Command::PacketOut { port, data, .. } => {
                self.packet_out(port::CONTROLLER, vec![Action::output(port)], data);
            }
            Command::Flood { in_port, data, .. } => self.packet_out(in_port, (self.mapping.flood)(), data),
            about_connections => {
                self.errands.command(about_connections, self.plan.as_ref(), &mut self.session, now);
            }
        }
        self.settle(now);
    }

    fn packet_out(&mut self, in_port: PortNo, actions: Vec<Action>, data: Vec<u8>) {
        let packet = PacketOut { buffer_id: NO_BUFFER, in_port, actions, data };
        if let Err(error) = self.session.request(Owner::Packet, Message::PacketOut(packet)) {
            tracing::debug!(peer = %self.peer, %error, "packet-out dropped");
        }
    }

    /// Carries what the session says to the parts, and what the parts say to the outside, until nobody has more.
    fn settle(&mut self, now: Timestamp) {
        loop {
            while let Some(event) = self.session.poll_event() {
                self.dispatch(event, now);
            }
            self.drain_parts(now);
            if !self.session.has_event() {
                return;
            }
        }
    }

    fn dispatch(&mut self, event: SessionEvent, now: Timestamp) {
        match event {
            SessionEvent::Up { datapath, description, ports } => {
                self.up = true;
                let peer = self.peer.clone();
                self.events.push_back(Event::SwitchUp { datapath, peer, description, ports });
                self.housekeeper.set_datapath(datapath);
                self.installer.look(&mut self.session, now);
            }
            SessionEvent::Auxiliary { datapath, auxiliary_id } => {
                tracing::debug!(peer = %self.peer, %datapath, auxiliary_id, "auxiliary connection");
                self.auxiliary = Some((datapath, auxiliary_id));
            }
            SessionEvent::RoleChanged { role, reason } => {
                tracing::warn!(peer = %self.peer, datapath = ?self.session.datapath(), ?role, reason, "role changed by the switch");
                if let Some(datapath) = self.session.datapath() {
                    self.events.push_back(Event::RoleChanged { datapath, role, reason: reason.to_owned() });
                }
            }
            SessionEvent::Closed { reason } => {
                if let (true, Some(datapath)) = (self.up, self.session.datapath()) {
                    self.events.push_back(Event::SwitchDown { datapath, reason: reason.to_string() });
                }
                self.closed = Some(reason);
            }
            SessionEvent::Answered { xid, owner, answer } => self.answered(xid, owner, answer, now),
            SessionEvent::Failed { xid, owner: Owner::Installer, error } => {
                self.installer.failed(xid, &error, &mut self.session, now);
            }
            SessionEvent::Failed { xid, owner: Owner::Setup, error } => {
                tracing::debug!(peer = %self.peer, xid, %error, "a wish was refused; the session goes on without it");
            }
            SessionEvent::Failed { xid, owner, error } => {
                tracing::warn!(peer = %self.peer, xid, ?owner, %error, "a message was refused");
                match owner {
                    Owner::Collector => self.collector.failed(xid),
                    Owner::Housekeeping => self.housekeeper.failed(xid),
                    Owner::Connections => {
                        self.errands.failed(xid, &error.to_string(), self.plan.as_ref(), &mut self.session, now);
                    }
                    _ => {}
                }
            }
            SessionEvent::RoundTrip { .. }
            | SessionEvent::PortStatus(_)
            | SessionEvent::PacketIn(_)
            | SessionEvent::FlowRemoved(_) => self.report(event),
        }
    }

    fn answered(&mut self, xid: u32, owner: Owner, answer: Answer, now: Timestamp) {
        match (owner, answer) {
            (Owner::Installer, answer) => self.installer.answered(xid, answer, &mut self.session, now),
            (Owner::Collector, Answer::Multipart(body)) => self.collector.answered(xid, body),
            (Owner::Housekeeping, Answer::Multipart(body)) => {
                self.housekeeper.answered(xid, &body, &mut self.session);
            }
            (Owner::Connections, answer) => {
                let body = if let Answer::Multipart(body) = &answer { Some(body) } else { None };
                self.errands.answered(xid, body, self.plan.as_ref(), &mut self.session, now);
            }
            _ => {}
        }
    }

    /// What the switch says of its own accord.
    fn report(&mut self, event: SessionEvent) {
        let Some(datapath) = self.session.datapath() else { return };
        match event {
            // The packets of an auxiliary connection are its main connection's; its round trip is nobody's.
            SessionEvent::RoundTrip { .. } if self.auxiliary.is_some() => {}
            SessionEvent::RoundTrip { took } => {
                let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.events.push_back(Event::RoundTrip { datapath, us });
                let status = Box::new(self.status(us));
                self.events.push_back(Event::SessionStatus { datapath, status });
            }
            SessionEvent::PortStatus(status) => {
                let removed = status.reason == port_reason::DELETE;
                let port = to_port(&status.port);
                self.events.push_back(Event::PortChanged { datapath, port, removed });
            }
            SessionEvent::PacketIn(packet) => {
                if let Some(in_port) = in_port(&packet) {
                    self.events.push_back(Event::PacketIn { datapath, in_port, data: packet.data });
                }
            }
            SessionEvent::FlowRemoved(flow) => {
                if let Some(ended) = (self.mapping.connection_ended)(&flow) {
                    self.events.push_back(Event::ConnectionEnded { datapath, ended });
                }
            }
            _ => {}
        }
    }

    /// As far as this machine knows it: what the sockets and the other connections add, they add.
    fn status(&self, round_trip_us: u64) -> SessionStatus {
        let counters = self.session.counters();
        SessionStatus {
            role: self.session.role(),
            round_trip_us,
            messages_in: counters.kinds_in(),
            messages_out: counters.kinds_out(),
            bytes_in: counters.bytes_in,
            bytes_out: counters.bytes_out,
            errors_in: counters.errors_in(),
            errors_untied: counters.untied_errors,
            errors_out: counters.errors_out(),
            malformed: counters.malformed.into(),
            late_answers: counters.late_answers,
            ..SessionStatus::default()
        }
    }

    fn drain_parts(&mut self, now: Timestamp) {
        let Some(datapath) = self.session.datapath() else { return };
        while let Some(event) = self.installer.poll_event() {
            if let InstallEvent::Found(state) = &event {
                let stand_ins = (self.mapping.stand_ins)(state);
                let some = (!stand_ins.is_empty()).then_some(Event::FoundStandIns { datapath, stand_ins });
                self.events.extend(some);
            }
            self.events.push_back(match event {
                InstallEvent::Found(state) => Event::Found {
                    datapath,
                    entries: state.flows.len() + state.groups.len(),
                    choices: (self.mapping.choices)(&state),
                    stations: (self.mapping.stations)(&state),
                    links: (self.mapping.links)(&state),
                },
                InstallEvent::Installed { generation, counts } => Event::Installed { datapath, generation, counts },
                InstallEvent::Failed { generation, error } => Event::InstallFailed { datapath, generation, error },
            });
        }
        self.installer.rest();
        while let Some(event) = self.errands.poll_event() {
            self.events.push_back(event);
        }
        while let Some(reading) = self.collector.poll_reading(&mut self.session, now) {
            self.events.push_back(Event::Reading { datapath, reading });
        }
    }
}

/// The port a packet came in by, which PACKET_IN carries as a match field.
fn in_port(packet: &PacketIn) -> Option<PortNo> {
    let field = packet.matching.get(Field::InPort)?;
    u32::try_from(field.value).ok().map(PortNo)
}
