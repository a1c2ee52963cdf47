//! One session with a P4Runtime switch as a machine without sockets or clock (docs/P4RUNTIME.md, "Session").
//!
//! Messages of the stream, answers to calls, commands and the time go in; messages, calls and events come out. Whatever a
//! switch says or fails to say, the machine keeps a bounded amount of it and waits a bounded time for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tonic::Code;

use super::arbitration::{Arbitration, ArbitrationError, Standing};
use super::capabilities::{ApiVersion, describe};
use super::collect::P4Collector;
use super::counters::P4Counters;
use super::device::{Device, P4SessionSettings};
use super::install::{P4InstallEvent, P4Installer};
use super::pipeline::Incoming;
use super::program::{Program, ProgramState};
use super::replicate::P4Replicator;
use super::schema::Schema;
use super::vocabulary::{Answer, Call, CallError, CallId, Calls, Owner, P4CloseReason};
use crate::plan::{DatapathPlan, Generation};
use crate::southbound::gate::spread;
use crate::southbound::{Event, Port, SessionStatus};
use crate::types::{DatapathId, MacAddr, PortNo, Timestamp};
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::stream_message_request::Update as Out;
use crate::wire::p4runtime::v1::stream_message_response::Update as In;

/// Messages waiting for the stream. Packets beyond it are dropped and counted.
pub(super) const OUTPUT_MAX: usize = 1_024;

mod commands;

/// How far the beginning of a session has come, where it takes turns with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Waits for its turn to look at the program and to read.
    Waiting,
    Reading,
    /// Has read, and waits for a plan, or for its turn to install it.
    Read,
    Installing,
    /// Needs no turns (any more).
    Over,
}

/// The machine of one session.
#[derive(Debug)]
pub struct P4Session {
    settings: P4SessionSettings,
    device: Device,
    schema: Arc<Schema>,
    calls: Calls,
    counters: P4Counters,
    arbitration: Arbitration,
    program: Program,
    installer: P4Installer,
    collector: P4Collector,
    replicator: P4Replicator,
    output: VecDeque<v1::StreamMessageRequest>,
    events: VecDeque<Event>,
    started: Timestamp,
    /// What the switch says of its version; the outer one is `None` until it was asked.
    version: Option<Option<String>>,
    /// The newest plan wished for, and what of it the program cannot do.
    plan: Option<Arc<DatapathPlan>>,
    problems: Option<(Generation, String)>,
    start: Start,
    up: bool,
    /// An installation failed since the program was looked at.
    in_doubt: bool,
    /// Since when writes are refused without a word of another primary.
    denied_since: Option<Timestamp>,
    echo: Option<(CallId, Timestamp)>,
    echo_due: Timestamp,
    closed: Option<P4CloseReason>,
}

impl P4Session {
    /// A stream that is being opened; the arbitration waits in the output.
    pub fn new(
        settings: P4SessionSettings,
        device: Device,
        election_id: u128,
        role: Option<String>,
        now: Timestamp,
    ) -> Self {
        let pipeline = &device.pipeline;
        let schema = Arc::new(Schema::new(&pipeline.forwarding_config().p4info));
        let mut session = Self {
            settings,
            calls: Calls::default(),
            counters: P4Counters::default(),
            arbitration: Arbitration::new(device.id, election_id, role),
            program: Program::new(settings.program, Arc::clone(pipeline)),
            installer: P4Installer::new(settings.install, Arc::clone(&schema), pipeline.read_back()),
            collector: P4Collector::new(settings.collect, Arc::clone(pipeline), now),
            replicator: P4Replicator::new(Arc::clone(pipeline), now),
            device,
            schema,
            output: VecDeque::new(),
            events: VecDeque::new(),
            started: now,
            version: None,
            plan: None,
            problems: None,
            start: Start::Over,
            up: false,
            in_doubt: false,
            denied_since: None,
            echo: None,
            echo_due: now,
            closed: None,
        };
        session.send("arbitration", Out::Arbitration(session.arbitration.request()));
        let request = v1::CapabilitiesRequest { device_id: session.device.id };
        let within = settings.handshake_timeout;
        session.calls.make(Owner::Capabilities, Call::Capabilities(request), within, now);
        session
    }

    pub fn datapath(&self) -> DatapathId {
        self.device.datapath
    }

    pub fn standing(&self) -> Standing {
        self.arbitration.standing()
    }

    pub fn counters(&self) -> &P4Counters {
        &self.counters
    }

    /// True between `SwitchUp` and `SwitchDown`.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// How often the program was pushed in this session.
    pub fn pushes(&self) -> u32 {
        self.program.pushed
    }

    /// Why the session ended, once it has.
    pub fn closed(&self) -> Option<&P4CloseReason> {
        self.closed.as_ref()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Events that nobody has taken yet.
    pub fn backlog(&self) -> usize {
        self.events.len()
    }

    /// The next message for the stream.
    pub fn poll_message(&mut self) -> Option<v1::StreamMessageRequest> {
        self.output.pop_front()
    }

    /// Messages that wait for the stream.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// The next call to make, and how long it may take.
    pub fn poll_call(&mut self) -> Option<(CallId, Call, Duration)> {
        self.calls.next(&mut self.counters)
    }

    /// From now on looking at the switch and the first installation wait until they are let in by [`P4Session::enter`].
    pub fn take_turns(&mut self) {
        self.start = Start::Waiting;
    }

    /// True if the session waits for its turn.
    pub fn wants_turn(&self) -> bool {
        match self.start {
            Start::Waiting => self.is_agreed(),
            Start::Read => self.installer.wants() && self.arbitration.is_primary(),
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
        self.installer.release();
        self.settle(now);
    }

    /// True while the session needs the turn it was given.
    pub fn needs_turn(&mut self) -> bool {
        let foreign = matches!(self.program.state(), ProgramState::Foreign(_));
        if self.start == Start::Reading && foreign {
            // The primary may take its time.
            self.start = Start::Over;
        }
        if self.start == Start::Reading && self.installer.looked() {
            self.start = if self.installer.wants() { Start::Installing } else { Start::Read };
        }
        if self.start == Start::Installing && (self.installer.tried() || !self.arbitration.is_primary()) {
            self.start = Start::Over;
        }
        if self.start == Start::Read {
            self.installer.hold();
        }
        matches!(self.start, Start::Reading | Start::Installing)
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        if self.closed.is_some() {
            return None;
        }
        let handshake = (self.standing() == Standing::Asked).then(|| self.started + self.settings.handshake_timeout);
        let echo = (self.is_agreed() && self.echo.is_none()).then_some(self.echo_due);
        let denied = self.denied_since.map(|since| since + self.settings.denied_timeout);
        let parts = [self.installer.next_deadline(), self.collector.next_deadline(), self.program.next_deadline()];
        let parts = parts.into_iter().chain([self.replicator.next_deadline()]);
        parts.chain([handshake, echo, denied, self.calls.next_deadline()]).flatten().min()
    }

    /// Acts on what is due at `now`.
    pub fn tick(&mut self, now: Timestamp) {
        if self.closed.is_some() {
            return;
        }
        if self.standing() == Standing::Asked && now >= self.started + self.settings.handshake_timeout {
            return self.close(P4CloseReason::NoArbitration(self.settings.handshake_timeout));
        }
        if self.denied_since.is_some_and(|since| now >= since + self.settings.denied_timeout) {
            return self.close(P4CloseReason::Denied);
        }
        while let Some((id, owner, error)) = self.calls.expired(now) {
            self.dispatch(id, owner, Err(error), now);
        }
        self.installer.tick(now);
        self.program.tick(now);
        self.collector.tick(&self.arbitration, &mut self.calls, now);
        self.replicator.tick(now);
        self.ask_echo(now);
        self.settle(now);
    }

    /// A message came on the stream.
    pub fn receive(&mut self, message: v1::StreamMessageResponse, now: Timestamp) {
        if self.closed.is_some() {
            return;
        }
        let bytes = message.encoded_len();
        let name = match &message.update {
            Some(In::Arbitration(_)) => "arbitration",
            Some(In::Packet(_)) => "packet-in",
            Some(In::Digest(_)) => "digest",
            Some(In::IdleTimeoutNotification(_)) => "idle-timeout",
            Some(In::Error(_)) => "stream-error",
            Some(In::Other(_)) | None => "other",
        };
        self.counters.received(name, bytes);
        match message.update {
            Some(In::Arbitration(update)) => self.arbitrated(&update, now),
            Some(In::Packet(packet)) => self.packet(&packet, now),
            Some(In::Digest(list)) => {
                self.counters.received_many("digest-entry", list.data.len() as u64);
                // A list that is not acknowledged keeps the same from being told again.
                let ack = v1::DigestListAck { digest_id: list.digest_id, list_id: list.list_id };
                self.send("digest-ack", Out::DigestAck(ack));
            }
            Some(In::IdleTimeoutNotification(idle)) => {
                self.counters.received_many("idle-timeout-entry", idle.table_entry.len() as u64);
            }
            Some(In::Error(error)) => {
                self.counters.errors_in += 1;
                self.counters.stream_errors += 1;
                let (code, message) = (Code::from_i32(error.canonical_code), error.message);
                tracing::debug!(datapath = %self.device.datapath, ?code, message, "a message on the stream was refused");
            }
            Some(In::Other(_)) | None => {}
        }
        self.settle(now);
    }

    /// A call came back.
    pub fn answered(&mut self, id: CallId, answer: Result<Answer, CallError>, now: Timestamp) {
        let refusal_expected = self.program.expects_refusal(id);
        if let Some(owner) = self.calls.close(id, &answer, refusal_expected, &mut self.counters)
            && self.closed.is_none()
        {
            self.dispatch(id, owner, answer, now);
            self.settle(now);
        }
    }

    /// The stream is over, or never began.
    pub fn stream_ended(&mut self, error: &CallError) {
        let asked = self.standing() == Standing::Asked;
        let reason = match error.code {
            Code::InvalidArgument | Code::AlreadyExists if asked => {
                P4CloseReason::Election(self.arbitration.election_id(), format!("{error}; another may have it"))
            }
            Code::NotFound if asked => P4CloseReason::Arbitration { device: self.device.id, why: error.to_string() },
            _ => P4CloseReason::Stream(error.to_string()),
        };
        self.close(reason);
    }

    /// Ends the session; the first reason stays.
    pub fn close(&mut self, reason: P4CloseReason) {
        if self.closed.is_some() {
            return;
        }
        if std::mem::take(&mut self.up) {
            let datapath = self.device.datapath;
            self.events.push_back(Event::SwitchDown { datapath, reason: reason.to_string() });
        }
        self.calls.clear();
        self.output.clear();
        self.closed = Some(reason);
    }

    fn send(&mut self, name: &'static str, update: Out) {
        let message = v1::StreamMessageRequest { update: Some(update) };
        self.counters.sent(name, message.encoded_len());
        self.output.push_back(message);
    }

    fn arbitrated(&mut self, update: &v1::MasterArbitrationUpdate, now: Timestamp) {
        let datapath = self.device.datapath;
        let changed = match self.arbitration.take(update) {
            Ok(changed) => changed,
            Err(ArbitrationError::Refused { code, message }) => {
                let why = CallError::new(code, message).to_string();
                return self.close(P4CloseReason::Arbitration { device: self.device.id, why });
            }
            Err(error) => {
                self.counters.malformed += 1;
                return tracing::debug!(%datapath, %error, "arbitration ignored");
            }
        };
        self.denied_since = None;
        let Some(standing) = changed else { return };
        tracing::info!(%datapath, ?standing, "role");
        if self.up {
            let (role, reason) = (standing.role(), standing.reason());
            self.events.push_back(Event::RoleChanged { datapath, role, reason });
        }
        match standing {
            Standing::Primary => {
                // Whoever was primary may have left another program, and other entries.
                self.program.doubt(&mut self.calls);
                self.installer.unlearn();
            }
            Standing::Backup { .. } | Standing::Asked => self.demoted(now),
        }
    }

    /// From here on nothing is written, and what was about to be is dropped.
    fn demoted(&mut self, now: Timestamp) {
        self.installer.stop();
        self.collector.stop_sweeps(&self.arbitration, &mut self.calls, now);
        self.replicator.stop("this controller is not primary any more");
        self.output.retain(|message| !matches!(message.update, Some(Out::Packet(_))));
    }

    fn packet(&mut self, packet: &v1::PacketIn, now: Timestamp) {
        let datapath = self.device.datapath;
        match self.device.pipeline.incoming(packet) {
            Ok(Incoming::Frame { port, data }) if self.up => {
                self.events.push_back(Event::PacketIn { datapath, in_port: port, data });
            }
            Ok(Incoming::Frame { .. }) => {}
            Ok(Incoming::Report(report)) => {
                self.counters.received_many("sweep-report", 1);
                if !self.replicator.reported(report, now) {
                    self.collector.reported(report, &self.arbitration, &mut self.calls, now);
                }
            }
            Err(why) => {
                self.counters.malformed += 1;
                tracing::debug!(%datapath, why, "malformed packet-in");
            }
        }
    }

    fn dispatch(&mut self, id: CallId, owner: Owner, answer: Result<Answer, CallError>, now: Timestamp) {
        match owner {
            Owner::Capabilities => self.capabilities(answer, now),
            Owner::Echo => self.echoed(id, answer, now),
            Owner::Program => self.program.answered(id, answer, &self.arbitration, &mut self.calls, now),
            Owner::Installer => self.installer.answered(id, answer, now),
            Owner::Collector => self.collector.answered(id, answer, &self.arbitration, &mut self.calls, now),
        }
    }

    fn capabilities(&mut self, answer: Result<Answer, CallError>, now: Timestamp) {
        let datapath = self.device.datapath;
        let text = match answer {
            Ok(Answer::Capabilities(capabilities)) => Some(capabilities.p4runtime_api_version),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%datapath, %error, "the switch does not tell its version");
                None
            }
        };
        let version = text.as_deref().and_then(ApiVersion::parse);
        if !version.is_some_and(ApiVersion::is_known) {
            tracing::warn!(%datapath, version = ?text, "expected P4Runtime 1.3 to 1.5; it is tried all the same");
        }
        self.installer.numbered_ports = !version.is_some_and(ApiVersion::has_port_bytes);
        self.version = Some(text);
        let half = self.settings.echo_interval / 2;
        self.echo_due = now + half + spread(datapath, half);
    }

    fn ask_echo(&mut self, now: Timestamp) {
        if self.is_agreed() && self.echo.is_none() && now >= self.echo_due {
            let request = v1::CapabilitiesRequest { device_id: self.device.id };
            let within = self.settings.echo_timeout;
            let id = self.calls.make(Owner::Echo, Call::Capabilities(request), within, now);
            self.echo = Some((id, now));
            self.echo_due = now + self.settings.echo_interval;
        }
    }

    /// Any answer but that there is none is a sign of life.
    fn echoed(&mut self, id: CallId, answer: Result<Answer, CallError>, now: Timestamp) {
        let Some((_, sent)) = self.echo.take_if(|(awaited, _)| *awaited == id) else { return };
        match answer {
            Err(error) if error.code == Code::DeadlineExceeded => {
                let limit = self.settings.echo_timeout;
                self.close(P4CloseReason::Dead { call: "a capabilities request", limit });
            }
            Err(error) if error.in_doubt() => self.close(P4CloseReason::Stream(error.to_string())),
            Ok(_) | Err(_) if self.up => {
                let datapath = self.device.datapath;
                let us = u64::try_from(now.since(sent).as_micros()).unwrap_or(u64::MAX);
                self.events.push_back(Event::RoundTrip { datapath, us });
                let status = Box::new(self.status(us));
                self.events.push_back(Event::SessionStatus { datapath, status });
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// As far as this machine knows it: what the driver counts, it adds.
    fn status(&self, round_trip_us: u64) -> SessionStatus {
        let counters = &self.counters;
        SessionStatus {
            role: self.standing().role(),
            round_trip_us,
            messages_in: counters.kinds_in(),
            messages_out: counters.kinds_out(),
            bytes_in: counters.bytes_in,
            bytes_out: counters.bytes_out,
            errors_in: counters.errors_in,
            errors_untied: counters.stream_errors,
            malformed: counters.malformed,
            late_answers: counters.late_answers + self.collector.late_reports,
            ..SessionStatus::default()
        }
    }

    /// It is known who writes, and which version is spoken.
    fn is_agreed(&self) -> bool {
        self.standing() != Standing::Asked && self.version.is_some()
    }

    /// Goes as far as it can without an answer.
    fn settle(&mut self, now: Timestamp) {
        if self.closed.is_none() && self.is_agreed() && self.start != Start::Waiting {
            self.look_at_program(now);
        }
        if self.closed.is_none() && *self.program.state() == ProgramState::Running {
            if self.installer.must_read() && std::mem::take(&mut self.in_doubt) {
                // Something went wrong before: the switch may not run what it did.
                self.program.doubt(&mut self.calls);
                self.program.look(&self.arbitration, &mut self.calls, now);
            } else if self.installer.must_read() {
                self.installer.read(&self.arbitration, &mut self.calls, now);
            }
            self.installer.pump(&self.arbitration, &mut self.calls, now);
            if self.installer.take_denied() {
                self.arbitration.denied();
                self.denied_since = Some(now);
                self.demoted(now);
            }
        }
        self.replicator.go_on(self.plan.as_ref(), now);
        self.drain();
    }

    fn look_at_program(&mut self, now: Timestamp) {
        self.program.look(&self.arbitration, &mut self.calls, now);
        match self.program.state() {
            ProgramState::Unknown | ProgramState::Busy => {}
            ProgramState::Running | ProgramState::Foreign(_) => self.go_up(),
            ProgramState::Failed(why) => {
                let program = match self.schema.program() {
                    "" => "its program".to_owned(),
                    named => format!("the program {named}"),
                };
                let why = why.clone();
                self.close(P4CloseReason::Program { program, why });
            }
        }
    }

    fn go_up(&mut self) {
        if std::mem::replace(&mut self.up, true) {
            return;
        }
        let port = |number: &PortNo| Port {
            number: *number,
            mac: MacAddr([0; 6]),
            name: format!("port {number}"),
            up: true,
            speed_kbps: 0,
        };
        let version = self.version.as_ref().and_then(Option::as_deref);
        self.events.push_back(Event::SwitchUp {
            datapath: self.device.datapath,
            peer: self.device.address.clone(),
            description: describe(version, self.schema.program()),
            ports: self.device.ports.iter().map(port).collect(),
        });
    }

    /// What the parts have to say.
    fn drain(&mut self) {
        if self.closed.is_some() {
            return;
        }
        let datapath = self.device.datapath;
        while let Some(event) = self.installer.poll_event() {
            match event {
                P4InstallEvent::Found(state) => {
                    let choices = self.device.pipeline.choices(&state);
                    let stand_ins = self.device.pipeline.stand_ins(&state);
                    if !stand_ins.is_empty() {
                        self.events.push_back(Event::FoundStandIns { datapath, stand_ins });
                    }
                    let (stations, links) = (Vec::new(), Vec::new());
                    self.events.push_back(Event::Found { datapath, entries: state.made(), choices, stations, links });
                }
                P4InstallEvent::Installed { generation, counts } => {
                    self.events.push_back(Event::Installed { datapath, generation, counts });
                    if let Some((_, error)) = self.problems.take_if(|(of, _)| *of == generation) {
                        self.events.push_back(Event::InstallFailed { datapath, generation, error });
                    }
                }
                P4InstallEvent::Failed { generation, error } => {
                    self.in_doubt = true;
                    self.events.push_back(Event::InstallFailed { datapath, generation, error });
                }
            }
        }
        while let Some(sweep) = self.collector.poll_sweep() {
            let packet = self.device.pipeline.sweep(&sweep);
            self.send("sweep", Out::Packet(packet));
        }
        while let Some(sweep) = self.replicator.poll_sweep() {
            let packet = self.device.pipeline.sweep(&sweep);
            self.send("sweep", Out::Packet(packet));
        }
        while let Some((errand, found)) = self.replicator.poll_done() {
            self.events.push_back(errand.event(datapath, found));
        }
        while let Some(reading) = self.collector.poll_reading() {
            self.events.push_back(Event::Reading { datapath, reading });
        }
    }
}
