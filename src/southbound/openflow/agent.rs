//! One switch as one machine: session, installer, collector and housekeeper together.
//!
//! [`Command`]s and bytes go in, [`Event`]s and bytes come out; no socket, no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use super::collect::{CollectSettings, Collector, Housekeeper};
use super::install::{InstallEvent, InstallSettings, Installer};
use super::mapping::Mapping;
use super::session::{Session, to_port};
use super::vocabulary::{Answer, CloseReason, Owner, Phase, SessionCounters, SessionEvent, SessionSettings};
use crate::plan::DatapathPlan;
use crate::southbound::{Command, Event, Reading};
use crate::types::{DatapathId, PortNo, Timestamp};
use crate::wire::openflow::{Action, Field, Message, NO_BUFFER, PacketIn, PacketOut, port, port_reason};

/// Settings of everything in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentSettings {
    pub session: SessionSettings,
    pub install: InstallSettings,
    pub collect: CollectSettings,
}

/// The machine of one connection.
#[derive(Debug)]
pub struct SwitchAgent {
    session: Session,
    installer: Installer,
    collector: Collector,
    housekeeper: Housekeeper,
    mapping: Mapping,
    peer: String,
    /// The newest plan wished for.
    plan: Option<Arc<DatapathPlan>>,
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
            mapping,
            peer,
            plan: None,
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
        let others = [self.installer.next_deadline(), self.collector.next_deadline(), self.housekeeper.next_deadline()];
        Some(others.into_iter().flatten().fold(session, Timestamp::min))
    }

    pub fn tick(&mut self, now: Timestamp) {
        self.session.tick(now);
        if self.session.phase() == Phase::Up {
            self.installer.tick(&mut self.session, now);
            self.collector.tick(&mut self.session, now);
            self.housekeeper.tick(&mut self.session, now);
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

    /// True if a frame came at or after `since`.
    pub fn heard_since(&self, since: Timestamp) -> bool {
        self.session.heard_since(since)
    }

    pub fn command(&mut self, command: Command, now: Timestamp) {
        match command {
            Command::Install { generation, plan, .. } => {
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
            Command::PacketOut { port, data, .. } => {
                self.packet_out(port::CONTROLLER, vec![Action::output(port)], data);
            }
            Command::Flood { in_port, data, .. } => self.packet_out(in_port, (self.mapping.flood)(), data),
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
                self.installer.look(&mut self.session, now);
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
            SessionEvent::Failed { xid, owner, error } => {
                tracing::warn!(peer = %self.peer, xid, ?owner, %error, "a message was refused");
                match owner {
                    Owner::Collector => self.collector.failed(xid),
                    Owner::Housekeeping => self.housekeeper.failed(xid),
                    _ => {}
                }
            }
            SessionEvent::PortStatus(_) | SessionEvent::PacketIn(_) | SessionEvent::FlowRemoved(_) => {
                self.report(event)
            }
        }
    }

    fn answered(&mut self, xid: u32, owner: Owner, answer: Answer, now: Timestamp) {
        match (owner, answer) {
            (Owner::Installer, answer) => self.installer.answered(xid, answer, &mut self.session, now),
            (Owner::Collector, Answer::Multipart(body)) => self.collector.answered(xid, body),
            (Owner::Housekeeping, Answer::Multipart(body)) => {
                self.housekeeper.answered(xid, &body, &mut self.session);
            }
            _ => {}
        }
    }

    /// What the switch says of its own accord.
    fn report(&mut self, event: SessionEvent) {
        let Some(datapath) = self.session.datapath() else { return };
        match event {
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

    fn drain_parts(&mut self, now: Timestamp) {
        let Some(datapath) = self.session.datapath() else { return };
        while let Some(event) = self.installer.poll_event() {
            self.events.push_back(match event {
                InstallEvent::Found(state) => Event::Found {
                    datapath,
                    entries: state.flows.len() + state.groups.len(),
                    choices: (self.mapping.choices)(&state),
                    stations: (self.mapping.stations)(&state),
                },
                InstallEvent::Installed { generation, counts } => Event::Installed { datapath, generation, counts },
                InstallEvent::Failed { generation, error } => Event::InstallFailed { datapath, generation, error },
            });
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
