//! A session and the memory switch behind it, joined without sockets, under a clock that the test turns.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use foreshadow::plan::{DatapathPlan, Generation};
use foreshadow::southbound::p4runtime::pipeline::Pipeline;
use foreshadow::southbound::p4runtime::{Call, CallId, Device, P4Session, P4SessionSettings};
use foreshadow::southbound::{Command, Event, InstallCounts, SessionRole};
use foreshadow::types::{DatapathId, PortNo, Timestamp};
use foreshadow::wire::p4runtime::v1::stream_message_request::Update as Out;
use foreshadow::wire::p4runtime::v1::stream_message_response::Update as In;
use foreshadow::wire::p4runtime::{rpc, v1};
use tonic::Code;

use super::switch::MemorySwitch;

pub(crate) const DATAPATH: DatapathId = DatapathId(0x40);
pub(crate) const DEVICE: u64 = 4;
pub(crate) const ELECTION: u128 = 10;
pub(crate) const T0: Timestamp = Timestamp::from_secs(1_000);

pub(crate) struct Wire {
    pub(crate) session: P4Session,
    pub(crate) switch: MemorySwitch,
    pub(crate) now: Timestamp,
    pub(crate) events: VecDeque<Event>,
    /// Messages of the stream that the switch took.
    pub(crate) sent: Vec<Out>,
    /// Calls of such a name are kept unanswered.
    pub(crate) silent: Option<&'static str>,
    pub(crate) kept: Vec<(CallId, Call)>,
    /// Roles that the session told, and why; they are not among `events`.
    pub(crate) roles: Vec<(SessionRole, String)>,
}

pub(crate) fn device(pipeline: Arc<dyn Pipeline>, address: &str) -> Device {
    Device { datapath: DATAPATH, id: DEVICE, address: address.to_owned(), ports: vec![PortNo(1), PortNo(2)], pipeline }
}

/// How a switch tells of an election.
pub(crate) fn arbitration(code: Code, highest: u128) -> v1::StreamMessageResponse {
    let low = u64::try_from(highest).expect("a small election id");
    message(In::Arbitration(v1::MasterArbitrationUpdate {
        device_id: DEVICE,
        role: None,
        election_id: Some(v1::Uint128 { high: 0, low }),
        status: Some(rpc::Status { code: code as i32, ..Default::default() }),
    }))
}

pub(crate) fn message(update: In) -> v1::StreamMessageResponse {
    v1::StreamMessageResponse { update: Some(update) }
}

impl Wire {
    /// A session whose stream is open; nobody was told yet who is primary.
    pub(crate) fn dial(pipeline: Arc<dyn Pipeline>, switch: MemorySwitch, settings: P4SessionSettings) -> Self {
        Self::dial_at(pipeline, switch, settings, T0)
    }

    pub(crate) fn dial_at(
        pipeline: Arc<dyn Pipeline>,
        switch: MemorySwitch,
        settings: P4SessionSettings,
        now: Timestamp,
    ) -> Self {
        let session = P4Session::new(settings, device(pipeline, "memory"), ELECTION, None, now);
        let (events, sent, kept) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { session, switch, now, events, sent, silent: None, kept, roles: Vec::new() }
    }

    /// A session that is primary and has read what the switch holds; its first events are left out.
    pub(crate) fn primary(pipeline: Arc<dyn Pipeline>, switch: MemorySwitch) -> Self {
        let mut wire = Self::dial(pipeline, switch, P4SessionSettings::default());
        wire.elect(ELECTION);
        let up = wire.take();
        assert!(matches!(&up[..], [Event::SwitchUp { .. }, Event::Found { .. }]), "{up:?}");
        wire
    }

    /// The switch takes the owner of an election id for its primary, and tells so.
    pub(crate) fn elect(&mut self, primary: u128) {
        self.switch.primary = Some(primary);
        let code = if primary == ELECTION { Code::Ok } else { Code::AlreadyExists };
        self.tell(arbitration(code, primary));
    }

    pub(crate) fn tell(&mut self, message: v1::StreamMessageResponse) {
        self.session.receive(message, self.now);
        self.run();
    }

    /// Carries everything there and back until nobody has more to say.
    pub(crate) fn run(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(message) = self.session.poll_message() {
                self.sent.push(message.update.expect("a message that says something"));
                quiet = false;
            }
            if let Some((id, call, _)) = self.session.poll_call() {
                quiet = false;
                if self.silent == Some(call.name()) {
                    self.kept.push((id, call));
                } else {
                    let answer = self.switch.call(call);
                    self.session.answered(id, answer, self.now);
                }
            }
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::RoleChanged { role, reason, .. } => self.roles.push((role, reason)),
                    event => self.events.push_back(event),
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// Answers what was kept, in its order.
    pub(crate) fn answer_kept(&mut self) {
        for (id, call) in std::mem::take(&mut self.kept) {
            let answer = self.switch.call(call);
            self.session.answered(id, answer, self.now);
        }
        self.run();
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.session.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.session.tick(self.now);
            self.run();
        }
        self.now = until;
    }

    pub(crate) fn install(&mut self, generation: Generation, plan: DatapathPlan) {
        let command = Command::Install { datapath: DATAPATH, generation, plan: Box::new(plan) };
        self.session.command(command, self.now);
        self.run();
    }

    pub(crate) fn collect(&mut self) {
        self.session.command(Command::Collect { datapath: DATAPATH }, self.now);
        self.run();
    }

    pub(crate) fn take(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    /// What one installation took; anything else that happened fails the test.
    pub(crate) fn installed(&mut self, expected: Generation) -> InstallCounts {
        match &self.take()[..] {
            [Event::Installed { generation, counts, .. }] if *generation == expected => *counts,
            other => panic!("expected generation {expected} installed, came {other:?}"),
        }
    }

    /// The error of one installation that failed.
    pub(crate) fn failed(&mut self, expected: Generation) -> String {
        match &self.take()[..] {
            [Event::InstallFailed { generation, error, .. }] if *generation == expected => error.clone(),
            other => panic!("expected generation {expected} to fail, came {other:?}"),
        }
    }
}
