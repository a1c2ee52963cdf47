//! Which program a switch runs, and how ours comes onto it (P4Runtime, sections 14 and 15), as a machine.
//!
//! The cookie tells whether a switch runs the program already; only if it does not, all of what it runs is asked for and
//! compared. A program that is there is never pushed again.

use std::sync::Arc;
use std::time::Duration;

use tonic::Code;

use super::arbitration::{Arbitration, to_message};
use super::pipeline::{ForwardingConfig, Pipeline};
use super::vocabulary::{Answer, Call, CallError, CallId, Calls, Owner};
use crate::types::Timestamp;
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::entity::Entity as Kind;
use crate::wire::p4runtime::v1::get_forwarding_pipeline_config_request::ResponseType;
use crate::wire::p4runtime::v1::packet_replication_engine_entry::Type as Copies;
use crate::wire::p4runtime::v1::set_forwarding_pipeline_config_request::Action;
use crate::wire::p4runtime::v1::update::Type;

/// Time-outs of loading a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramSettings {
    /// For what the switch runs.
    pub answer_timeout: Duration,
    /// For a program to be taken: hardware may take its time.
    pub push_timeout: Duration,
    /// A backup looks again so often whether the primary has pushed its program.
    pub look_interval: Duration,
}

impl Default for ProgramSettings {
    fn default() -> Self {
        Self {
            answer_timeout: Duration::from_secs(10),
            push_timeout: Duration::from_secs(60),
            look_interval: Duration::from_secs(2),
        }
    }
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProgramState {
    /// Nothing is known, and nothing was asked.
    Unknown,
    /// Something is asked or pushed.
    Busy,
    Running,
    /// The switch runs something else, and this controller may not change it; it looks again then.
    Foreign(Timestamp),
    /// The switch does not take the program.
    Failed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Cookie,
    All,
    ReadClones,
    DeleteClones,
    Reconcile,
    /// Ends a reconciliation that was refused half-way: BMv2 has saved the program then, and takes no other before that one
    /// is committed.
    Settle,
    Commit,
    /// The program seems to run: what an earlier controller may have left half-way is ended.
    Finish,
}

#[derive(Debug)]
pub(super) struct Program {
    settings: ProgramSettings,
    pipeline: Arc<dyn Pipeline>,
    state: ProgramState,
    awaited: Option<(CallId, Step)>,
    /// Nothing is half-way: the switch was told to commit what was saved, or was given the program, since it was last in doubt.
    settled: bool,
    /// A push took place in this session.
    pub(super) pushed: u32,
}

impl Program {
    pub(super) fn new(settings: ProgramSettings, pipeline: Arc<dyn Pipeline>) -> Self {
        Self { settings, pipeline, state: ProgramState::Unknown, awaited: None, settled: false, pushed: 0 }
    }

    pub(super) fn state(&self) -> &ProgramState {
        &self.state
    }

    /// Whether the call asks for something that a switch in order refuses.
    pub(super) fn expects_refusal(&self, id: CallId) -> bool {
        self.awaited == Some((id, Step::Finish))
    }

    fn config(&self) -> &ForwardingConfig {
        self.pipeline.forwarding_config()
    }

    /// What the switch runs is to be looked at again.
    pub(super) fn doubt(&mut self, calls: &mut Calls) {
        if let Some((id, _)) = self.awaited.take() {
            calls.forget(id);
        }
        self.state = ProgramState::Unknown;
        self.settled = false;
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        match self.state {
            ProgramState::Foreign(until) => Some(until),
            _ => None,
        }
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        if self.next_deadline().is_some_and(|until| now >= until) {
            self.state = ProgramState::Unknown;
        }
    }

    /// Asks for the cookie, if nothing is known.
    pub(super) fn look(&mut self, arbitration: &Arbitration, calls: &mut Calls, now: Timestamp) {
        if self.state == ProgramState::Unknown {
            self.get(Step::Cookie, ResponseType::CookieOnly, arbitration, calls, now);
        }
    }

    fn get(&mut self, step: Step, what: ResponseType, arbitration: &Arbitration, calls: &mut Calls, now: Timestamp) {
        let request =
            v1::GetForwardingPipelineConfigRequest { device_id: arbitration.device(), response_type: what.into() };
        self.ask(step, Call::GetPipeline(request), self.settings.answer_timeout, calls, now);
    }

    fn ask(&mut self, step: Step, call: Call, within: Duration, calls: &mut Calls, now: Timestamp) {
        self.state = ProgramState::Busy;
        self.awaited = Some((calls.make(Owner::Program, call, within, now), step));
    }

    pub(super) fn answered(
        &mut self,
        id: CallId,
        answer: Result<Answer, CallError>,
        arbitration: &Arbitration,
        calls: &mut Calls,
        now: Timestamp,
    ) {
        let Some((_, step)) = self.awaited.take_if(|(awaited, _)| *awaited == id) else { return };
        match (step, answer) {
            (Step::Cookie | Step::All, Err(error)) if error.in_doubt() => {
                self.state = ProgramState::Failed(format!("what it runs is not known: {error}"));
            }
            (Step::Cookie, Ok(Answer::Pipeline(response))) => self.cookie(response.config, arbitration, calls, now),
            (Step::All, Ok(Answer::Pipeline(response))) => self.whole(response.config, arbitration, calls, now),
            // Switches without a program answer with an error, or with nothing.
            (Step::Cookie | Step::All, _) => self.replace(false, arbitration, calls, now),
            (Step::ReadClones, Ok(Answer::Entities(sessions))) => {
                self.delete_clones(sessions, arbitration, calls, now);
            }
            (Step::ReadClones | Step::DeleteClones, _) => {
                self.push(Step::Reconcile, Action::ReconcileAndCommit, arbitration, calls, now);
            }
            (Step::Settle, Err(error)) if error.code == Code::PermissionDenied || error.in_doubt() => {
                self.refused(step, &error, arbitration, calls, now);
            }
            // A switch that had saved nothing refuses, and takes the whole program all the same.
            (Step::Settle, _) => self.push(Step::Commit, Action::VerifyAndCommit, arbitration, calls, now),
            (Step::Reconcile | Step::Commit, Ok(_)) => {
                self.pushed += 1;
                self.settled = true;
                self.state = ProgramState::Running;
            }
            (Step::Reconcile | Step::Commit, Err(error)) => self.refused(step, &error, arbitration, calls, now),
            (Step::Finish, Err(error)) if error.code == Code::PermissionDenied || error.in_doubt() => {
                self.refused(step, &error, arbitration, calls, now);
            }
            // Something was half-way. What it was is seen from what runs now.
            (Step::Finish, Ok(_)) => {
                tracing::info!("the switch had a program saved and not committed; it is committed now");
                self.settled = true;
                self.get(Step::Cookie, ResponseType::CookieOnly, arbitration, calls, now);
            }
            // Nothing was, as it should be.
            (Step::Finish, Err(_)) => {
                self.settled = true;
                self.state = ProgramState::Running;
            }
        }
    }

    fn refused(&mut self, step: Step, error: &CallError, arbitration: &Arbitration, calls: &mut Calls, now: Timestamp) {
        if error.code == Code::PermissionDenied || !arbitration.is_primary() {
            self.state = ProgramState::Foreign(now + self.settings.look_interval);
        } else if step == Step::Reconcile && !error.in_doubt() {
            tracing::debug!(%error, "the switch does not reconcile programs; its state is lost");
            self.push(Step::Settle, Action::Commit, arbitration, calls, now);
        } else {
            self.state = ProgramState::Failed(error.to_string());
        }
    }

    fn cookie(
        &mut self,
        config: Option<v1::ForwardingPipelineConfig>,
        arbitration: &Arbitration,
        calls: &mut Calls,
        now: Timestamp,
    ) {
        match config.and_then(|config| config.cookie) {
            Some(cookie) if cookie.cookie == self.config().cookie => self.found(arbitration, calls, now),
            _ => self.get(Step::All, ResponseType::All, arbitration, calls, now),
        }
    }

    /// The switch says that it runs the program. BMv2 says so too when a reconciliation was refused and nobody committed what it
    /// had saved: it takes entries then, and forwards by the old program. COMMIT ends that, and is refused by a switch that
    /// has nothing to commit.
    fn found(&mut self, arbitration: &Arbitration, calls: &mut Calls, now: Timestamp) {
        if self.settled || !arbitration.is_primary() {
            self.state = ProgramState::Running;
        } else {
            self.push(Step::Finish, Action::Commit, arbitration, calls, now);
        }
    }

    /// Another cookie does not make another program.
    fn whole(
        &mut self,
        config: Option<v1::ForwardingPipelineConfig>,
        arbitration: &Arbitration,
        calls: &mut Calls,
        now: Timestamp,
    ) {
        let config = config.unwrap_or_default();
        let ours = self.config();
        if config.p4info.as_ref() == Some(&ours.p4info) && config.p4_device_config == ours.device_config {
            self.found(arbitration, calls, now);
        } else {
            self.replace(config.p4info.is_some(), arbitration, calls, now);
        }
    }

    /// Puts our program in the place of another, or of none.
    fn replace(&mut self, of_another: bool, arbitration: &Arbitration, calls: &mut Calls, now: Timestamp) {
        if !arbitration.is_primary() {
            self.state = ProgramState::Foreign(now + self.settings.look_interval);
        } else if of_another {
            // BMv2 keeps the copies of the clone sessions it forgets: each push would add to them.
            let session = v1::CloneSessionEntry::default();
            let all = v1::PacketReplicationEngineEntry { r#type: Some(Copies::CloneSessionEntry(session)) };
            let request = v1::ReadRequest {
                device_id: arbitration.device(),
                entities: vec![v1::Entity { entity: Some(Kind::PacketReplicationEngineEntry(all)) }],
                role: arbitration.role(),
            };
            self.ask(Step::ReadClones, Call::Read(request), self.settings.answer_timeout, calls, now);
        } else {
            self.push(Step::Commit, Action::VerifyAndCommit, arbitration, calls, now);
        }
    }

    fn delete_clones(
        &mut self,
        mut sessions: Vec<v1::Entity>,
        arbitration: &Arbitration,
        calls: &mut Calls,
        now: Timestamp,
    ) {
        sessions.retain(|entity| {
            matches!(&entity.entity, Some(Kind::PacketReplicationEngineEntry(entry))
                if matches!(entry.r#type, Some(Copies::CloneSessionEntry(_))))
        });
        if sessions.is_empty() || !arbitration.is_primary() {
            return self.push(Step::Reconcile, Action::ReconcileAndCommit, arbitration, calls, now);
        }
        let delete = |entity| v1::Update { r#type: Type::Delete.into(), entity: Some(entity) };
        let request = v1::WriteRequest {
            device_id: arbitration.device(),
            election_id: Some(to_message(arbitration.election_id())),
            updates: sessions.into_iter().map(delete).collect(),
            role: arbitration.role(),
            ..v1::WriteRequest::default()
        };
        self.ask(Step::DeleteClones, Call::Write(request), self.settings.answer_timeout, calls, now);
    }

    fn push(&mut self, step: Step, action: Action, arbitration: &Arbitration, calls: &mut Calls, now: Timestamp) {
        if !arbitration.is_primary() {
            self.state = ProgramState::Foreign(now + self.settings.look_interval);
            return;
        }
        let ours = self.config();
        let config = || v1::ForwardingPipelineConfig {
            p4info: Some(ours.p4info.clone()),
            p4_device_config: ours.device_config.clone(),
            cookie: Some(v1::forwarding_pipeline_config::Cookie { cookie: ours.cookie }),
        };
        let request = v1::SetForwardingPipelineConfigRequest {
            device_id: arbitration.device(),
            election_id: Some(to_message(arbitration.election_id())),
            action: action.into(),
            // COMMIT is about what was saved, and carries nothing.
            config: (action != Action::Commit).then(config),
            role: arbitration.role(),
            ..v1::SetForwardingPipelineConfigRequest::default()
        };
        self.ask(step, Call::SetPipeline(Box::new(request)), self.settings.push_timeout, calls, now);
    }
}
