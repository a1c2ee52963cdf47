//! An emulated P4Runtime target without sockets or clock: requests in, answers, stream messages and frames out.
//!
//! ```text
//!   controllers ──▶ arbitration ──▶ pipeline: tables, profiles, arrays, replication, digests ──▶ plane ──▶ machine
//!        ▲                                   │ checked against the P4Info                                     │
//!        └──── packet-ins, digests, idle time-outs (to primaries) ◀──────────────────────────────────────────┘
//! ```
//!
//! [`Behaviour`] says where it answers as BMv2 was seen to do and where as the specification asks.

mod arbitration;
mod arrays;
mod digests;
mod key;
mod packet_io;
mod pipeline;
mod plane;
mod profiles;
mod refusal;
mod replication;
mod schema;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use tonic::Code;

pub use self::arbitration::StreamId;
use self::arbitration::{Arbitration, Notice};
use self::pipeline::{Happening, Loading, Pipeline};
pub use self::refusal::{Behaviour, Refusal};
use self::refusal::{Outcome, settle};
use crate::types::{PortNo, Timestamp};
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::set_forwarding_pipeline_config_request::Action as Push;

/// Entities in one message of a read's answer.
const ENTITIES_MAX: usize = 512;
/// What BMv2 says it speaks, and what this does.
const VERSION_BMV2: &str = "1.3.0";
const VERSION: &str = "1.4.0";

/// What a switch is before anybody talks to it.
#[derive(Clone, Debug)]
pub struct TargetSettings {
    pub device: u64,
    pub behaviour: Behaviour,
    pub cpu_port: PortNo,
    pub ports: Vec<PortNo>,
}

/// What the target wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Say(StreamId, v1::StreamMessageResponse),
    /// The stream is closed with this status.
    End(StreamId, Refusal),
    Frame(PortNo, Vec<u8>),
}

/// One switch.
#[derive(Debug)]
pub struct Target {
    settings: TargetSettings,
    arbitration: Arbitration,
    pipeline: Option<Pipeline>,
    /// Saved, not yet in force.
    saved: Option<Pipeline>,
    ports: BTreeMap<PortNo, bool>,
    effects: Vec<Effect>,
}

impl Target {
    pub fn new(settings: TargetSettings) -> Self {
        Self {
            arbitration: Arbitration::new(settings.device, settings.behaviour),
            pipeline: None,
            saved: None,
            ports: settings.ports.iter().map(|port| (*port, true)).collect(),
            effects: Vec::new(),
            settings,
        }
    }

    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    fn is_bmv2(&self) -> bool {
        self.settings.behaviour == Behaviour::Bmv2
    }

    // Streams.

    /// A message of a controller on its stream.
    pub fn hear(&mut self, stream: StreamId, request: &v1::StreamMessageRequest, now: Timestamp) {
        use v1::stream_message_request::Update;
        match &request.update {
            Some(Update::Arbitration(update)) => match self.arbitration.update(stream, update) {
                Ok(notices) => self.notify(notices),
                Err(refusal) => {
                    self.effects.push(Effect::End(stream, refusal));
                    self.leave(stream);
                }
            },
            Some(Update::Packet(packet)) => {
                let outcome = self.packet_out(stream, packet, now);
                let details =
                    || v1::stream_error::Details::PacketOut(v1::PacketOutError { packet_out: Some(packet.clone()) });
                self.report(stream, outcome, details);
            }
            Some(Update::DigestAck(ack)) => {
                let outcome = match &mut self.pipeline {
                    Some(pipeline) if self.arbitration.is_primary(stream) => pipeline.acknowledge(ack),
                    _ => Ok(()),
                };
                let details =
                    || v1::stream_error::Details::DigestListAck(v1::DigestListAckError { digest_list_ack: Some(*ack) });
                self.report(stream, outcome, details);
            }
            _ => {}
        }
    }

    /// The stream is gone.
    pub fn leave(&mut self, stream: StreamId) {
        let notices = self.arbitration.leave(stream);
        self.notify(notices);
    }

    fn notify(&mut self, notices: Vec<Notice>) {
        let say = |(stream, notice)| say(stream, v1::stream_message_response::Update::Arbitration(notice));
        self.effects.extend(notices.into_iter().map(say));
    }

    fn packet_out(&mut self, stream: StreamId, packet: &v1::PacketOut, now: Timestamp) -> Outcome {
        if !self.arbitration.is_primary(stream) {
            return Err(Refusal::new(Code::PermissionDenied, "Not primary"));
        }
        let Some(pipeline) = &mut self.pipeline else { return Err(no_pipeline()) };
        let happenings = pipeline.packet_out(packet, now)?;
        self.spread(happenings);
        Ok(())
    }

    /// BMv2 reports nothing unless it is configured to.
    fn report(&mut self, stream: StreamId, outcome: Outcome, details: impl Fn() -> v1::stream_error::Details) {
        let Err(refusal) = outcome else { return };
        if self.is_bmv2() {
            return;
        }
        let error = v1::StreamError {
            canonical_code: refusal.code as i32,
            message: refusal.message,
            details: Some(details()),
            ..Default::default()
        };
        self.effects.push(say(stream, v1::stream_message_response::Update::Error(error)));
    }

    // Packets and time.

    pub fn receive(&mut self, port: PortNo, frame: &[u8], now: Timestamp) {
        // A pipeline that is not there yet drops everything, and so does a port that is down.
        if let (Some(pipeline), Some(true)) = (&mut self.pipeline, self.ports.get(&port)) {
            let happenings = pipeline.receive(port, frame, now);
            self.spread(happenings);
        }
    }

    pub fn set_port(&mut self, port: PortNo, up: bool) {
        if let Some(state) = self.ports.get_mut(&port) {
            *state = up;
        }
        for pipeline in self.pipeline.iter_mut().chain(&mut self.saved) {
            pipeline.set_port(port, up);
        }
    }

    /// Lets time pass: idle time-outs, digest lists.
    pub fn advance(&mut self, now: Timestamp) {
        if let Some(pipeline) = &mut self.pipeline {
            let happenings = pipeline.advance(now);
            self.spread(happenings);
        }
    }

    fn spread(&mut self, happenings: Vec<Happening>) {
        let mut primaries = None;
        for happening in happenings {
            match happening {
                Happening::Frame { port, bytes } => {
                    if self.ports.get(&port) == Some(&true) {
                        self.effects.push(Effect::Frame(port, bytes));
                    }
                }
                Happening::Tell(update) => {
                    let primaries = primaries.get_or_insert_with(|| self.arbitration.primaries());
                    self.effects.extend(primaries.iter().map(|stream| say(*stream, update.clone())));
                }
            }
        }
    }

    // Requests.

    pub fn capabilities(&self) -> v1::CapabilitiesResponse {
        let version = self.settings.behaviour.pick(VERSION_BMV2, VERSION);
        v1::CapabilitiesResponse { p4runtime_api_version: version.to_owned(), ..Default::default() }
    }

    /// Whether a request that changes something is the primary's of this device.
    fn check_primary(&self, device: u64, role: &str, election: Option<&v1::Uint128>) -> Result<(), Refusal> {
        if device != self.settings.device {
            // To BMv2 this is a device that nobody has connected to.
            let unknown = Refusal::not_found(format!("expected device id {}, came {device}", self.settings.device));
            return Err(self.settings.behaviour.pick(Refusal::new(Code::PermissionDenied, "Not primary"), unknown));
        }
        self.arbitration.may_write(role, election)
    }

    /// What requests are about: what is saved, even if it does not take effect before it is committed. BMv2 writes into what
    /// is in force.
    fn current(&mut self) -> Option<&mut Pipeline> {
        match self.settings.behaviour {
            Behaviour::Bmv2 => self.pipeline.as_mut().or(self.saved.as_mut()),
            Behaviour::Specification => self.saved.as_mut().or(self.pipeline.as_mut()),
        }
    }

    pub fn write(&mut self, request: &v1::WriteRequest, now: Timestamp) -> Result<(), Refusal> {
        use v1::write_request::Atomicity;
        self.check_primary(request.device_id, &request.role, request.election_id.as_ref())?;
        let behaviour = self.settings.behaviour;
        let Some(pipeline) = self.current() else { return Err(no_pipeline()) };
        let is_atomic = request.atomicity != Atomicity::ContinueOnError as i32;
        if is_atomic && behaviour == Behaviour::Bmv2 {
            let message = "Support for atomic write modes has not been implemented yet";
            return Err(Refusal::new(Code::Unimplemented, message));
        }
        // No packet passes while this runs, so that all or nothing is seen by the data plane too.
        let outcomes = match is_atomic {
            true => pipeline.write_all_or_none(&request.updates, now),
            false => request.updates.iter().map(|update| pipeline.write(update, now)).collect(),
        };
        settle(&outcomes, "updates", behaviour)
    }

    /// The answer's messages, and the status that ends them.
    pub fn read(&mut self, request: &v1::ReadRequest, now: Timestamp) -> (Vec<v1::ReadResponse>, Result<(), Refusal>) {
        let behaviour = self.settings.behaviour;
        if request.device_id != self.settings.device {
            let message = format!("expected device id {}, came {}", self.settings.device, request.device_id);
            return (Vec::new(), Err(behaviour.pick(no_pipeline(), Refusal::not_found(message))));
        }
        let Some(pipeline) = self.current() else { return (Vec::new(), Err(no_pipeline())) };
        let mut found = Vec::new();
        if behaviour == Behaviour::Bmv2 {
            // One message, however large, and the first failure is the status.
            let outcome = request.entities.iter().try_for_each(|entity| pipeline.read(entity, now, &mut found));
            return (vec![v1::ReadResponse { entities: found }], outcome);
        }
        let outcomes: Vec<_> = request.entities.iter().map(|entity| pipeline.read(entity, now, &mut found)).collect();
        let messages = found.chunks(ENTITIES_MAX).map(|part| v1::ReadResponse { entities: part.to_vec() }).collect();
        (messages, settle(&outcomes, "requests", behaviour))
    }

    pub fn set_pipeline(
        &mut self,
        request: &v1::SetForwardingPipelineConfigRequest,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.check_primary(request.device_id, &request.role, request.election_id.as_ref())?;
        let action = Push::try_from(request.action).unwrap_or(Push::Unspecified);
        let loaded = match (action, &request.config) {
            (Push::Unspecified, _) => return Err(Refusal::invalid("Invalid SetForwardingPipeline action")),
            (Push::Commit, config) => return self.commit(config.is_some()),
            (_, None) if !self.is_bmv2() => return Err(Refusal::invalid("expected a configuration")),
            (_, config) => self.load(&config.clone().unwrap_or_default(), now)?,
        };
        if self.is_bmv2() && self.saved.is_some() && action != Push::Verify {
            // It waits for COMMIT, and takes nothing else.
            return Err(Refusal::new(Code::Unknown, "Error in first phase of device update"));
        }
        match action {
            Push::Verify => {}
            Push::VerifyAndSave => self.saved = Some(loaded),
            Push::ReconcileAndCommit => {
                let mut loaded = loaded;
                if let Err(refusal) = self.carry_over(&mut loaded, now) {
                    // BMv2 is left half way: only COMMIT gets it out of there.
                    self.saved = self.settings.behaviour.pick(Some(loaded), self.saved.take());
                    return Err(refusal);
                }
                (self.pipeline, self.saved) = (Some(loaded), None);
            }
            _ => (self.pipeline, self.saved) = (Some(loaded), None),
        }
        tracing::info!(device = self.settings.device, action = action.as_str_name(), "pipeline");
        Ok(())
    }

    fn load(&self, config: &v1::ForwardingPipelineConfig, now: Timestamp) -> Result<Pipeline, Refusal> {
        let loading = Loading {
            behaviour: self.settings.behaviour,
            cpu_port: self.settings.cpu_port,
            ports: &self.ports,
            now,
            seed: self.settings.device,
        };
        Pipeline::load(config, loading).map_err(|reason| {
            tracing::warn!(device = self.settings.device, %reason, "a pipeline is refused");
            self.settings.behaviour.pick(
                Refusal::new(Code::Unknown, "Error in first phase of device update"),
                Refusal::invalid(format!("The configuration cannot be realised: {reason}")),
            )
        })
    }

    fn commit(&mut self, has_config: bool) -> Result<(), Refusal> {
        if has_config && !self.is_bmv2() {
            return Err(Refusal::invalid("expected no configuration with COMMIT"));
        }
        let missing = self.settings.behaviour.pick(
            Refusal::new(Code::Unknown, "Error in second phase of device update"),
            Refusal::not_found("No configuration is saved"),
        );
        self.pipeline = Some(self.saved.take().ok_or(missing)?);
        Ok(())
    }

    /// Writes into a new pipeline what the old one holds.
    fn carry_over(&mut self, loaded: &mut Pipeline, now: Timestamp) -> Result<(), Refusal> {
        let Some(old) = &mut self.pipeline else { return Ok(()) };
        let refused = Refusal::new(Code::Unknown, "Error when reconciling config");
        if self.settings.behaviour == Behaviour::Bmv2 && old.has_arrays() {
            return Err(refused);
        }
        for update in old.everything(now) {
            loaded.write(&update, now).map_err(|refusal| {
                let described = format!("{:?}", update.entity);
                let message = format!("The state cannot be preserved: {} ({described:.200})", refusal.message);
                self.settings.behaviour.pick(refused.clone(), Refusal::invalid(message))
            })?;
        }
        Ok(())
    }

    pub fn get_pipeline(
        &self,
        request: &v1::GetForwardingPipelineConfigRequest,
    ) -> Result<v1::GetForwardingPipelineConfigResponse, Refusal> {
        use v1::get_forwarding_pipeline_config_request::ResponseType;
        if request.device_id != self.settings.device {
            let message = format!("expected device id {}, came {}", self.settings.device, request.device_id);
            return Err(self.settings.behaviour.pick(no_pipeline(), Refusal::not_found(message)));
        }
        let Some(pipeline) = self.saved.as_ref().or(self.pipeline.as_ref()) else {
            return match self.settings.behaviour {
                Behaviour::Bmv2 => Err(no_pipeline()),
                Behaviour::Specification => Ok(v1::GetForwardingPipelineConfigResponse::default()),
            };
        };
        let kind = ResponseType::try_from(request.response_type);
        let kind = kind.map_err(|_| Refusal::invalid("Invalid response_type in GetForwardingPipelineConfigRequest"))?;
        let (with_info, with_program) = match kind {
            ResponseType::All => (true, true),
            ResponseType::CookieOnly => (false, false),
            ResponseType::P4infoAndCookie => (true, false),
            ResponseType::DeviceConfigAndCookie => (false, true),
        };
        let config = &pipeline.config;
        let config = v1::ForwardingPipelineConfig {
            p4info: config.p4info.clone().filter(|_| with_info),
            p4_device_config: if with_program { config.p4_device_config.clone() } else { Vec::new() },
            cookie: config.cookie,
        };
        Ok(v1::GetForwardingPipelineConfigResponse { config: Some(config) })
    }
}

fn say(stream: StreamId, update: v1::stream_message_response::Update) -> Effect {
    Effect::Say(stream, v1::StreamMessageResponse { update: Some(update) })
}

fn no_pipeline() -> Refusal {
    Refusal::new(Code::FailedPrecondition, "No forwarding pipeline config set for this device")
}
