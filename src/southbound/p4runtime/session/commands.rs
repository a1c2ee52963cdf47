//! What upper layers ask of a P4Runtime session.

use std::sync::Arc;

use super::super::program::ProgramState;
use super::super::replicate::{Errand, Found};
use super::{OUTPUT_MAX, Out, P4Session};
use crate::plan::{DatapathPlan, Generation};
use crate::southbound::{Command, Event, Reading};
use crate::types::{DatapathId, PortNo, Timestamp};

/// Problems of a plan quoted in one report; the rest is counted.
const PROBLEMS_QUOTED_MAX: usize = 4;

impl P4Session {
    pub fn command(&mut self, command: Command, now: Timestamp) {
        if self.closed.is_some() {
            return;
        }
        match command {
            Command::Install { generation, plan, .. } => self.install(generation, *plan),
            Command::Collect { datapath } => match &self.plan {
                Some(plan) if *self.program.state() == ProgramState::Running => {
                    self.collector.collect(plan, &self.arbitration, &mut self.calls, now);
                }
                // Nothing is known of the switch's purpose yet, or it runs what nobody here can read.
                _ => self.events.push_back(Event::Reading { datapath, reading: Reading::default() }),
            },
            Command::Echo { .. } => {
                self.echo_due = now;
                self.ask_echo(now);
            }
            Command::ReplayConnections { owner, shadow, .. } => self.errand(Errand::Replay { owner, shadow }),
            Command::DigestConnections { owner, .. } => self.errand(Errand::Digest { owner }),
            Command::SweepCopies { owner, purge: false, .. } => self.errand(Errand::Doubt { owner }),
            Command::SweepCopies { owner, purge: true, .. } => self.errand(Errand::Purge { owner }),
            Command::PacketOut { port, data, .. } => self.packet_out(port, data),
            Command::ReadConnections { datapath, owner } | Command::WriteConnections { datapath, owner, .. } => {
                let error = "a P4 switch sends its connections to a shadow, and shows them to nobody else".to_owned();
                self.events.push_back(Event::ConnectionsFailed { datapath, owner, error });
            }
            Command::Flood { datapath, .. } => {
                tracing::debug!(%datapath, "no program floods; the frame is dropped");
                self.counters.kept_back("packet-out-dropped");
            }
        }
        self.settle(now);
    }

    fn install(&mut self, generation: Generation, plan: DatapathPlan) {
        let compiled = self.device.pipeline.compile(&plan);
        self.plan = Some(Arc::new(plan));
        let quoted = compiled.problems.iter().take(PROBLEMS_QUOTED_MAX).map(ToString::to_string);
        let quoted: Vec<String> = quoted.collect();
        self.problems = match compiled.problems.len() - quoted.len() {
            0 if quoted.is_empty() => None,
            0 => Some((generation, quoted.join("; "))),
            more => Some((generation, format!("{}; and {more} more", quoted.join("; ")))),
        };
        self.installer.want(generation, compiled.state);
    }

    fn packet_out(&mut self, port: PortNo, data: Vec<u8>) {
        let sendable = self.arbitration.is_primary() && *self.program.state() == ProgramState::Running;
        if !sendable || self.output.len() >= OUTPUT_MAX {
            return self.counters.kept_back("packet-out-dropped");
        }
        let packet = self.device.pipeline.packet_out(port, data);
        self.send("packet-out", Out::Packet(packet));
    }

    /// Sweeps are packets, which only a primary may send.
    fn errand(&mut self, errand: Errand) {
        self.replicator.ask(errand);
        if !self.arbitration.is_primary() || *self.program.state() != ProgramState::Running {
            self.replicator.stop("this controller is not primary, or the switch runs another program");
        }
    }
}

impl Errand {
    /// What is told of it.
    pub(super) fn event(self, datapath: DatapathId, found: Result<Found, String>) -> Event {
        let found = match found {
            Ok(found) => found,
            Err(error) => return Event::ConnectionsFailed { datapath, owner: self.owner(), error },
        };
        let Found { sent, count, digest, doubted } = found;
        match self {
            Self::Replay { owner, shadow } => {
                Event::ConnectionsReplayed { datapath, owner, shadow, sent, count, digest }
            }
            Self::Digest { owner } => Event::ConnectionsDigest { datapath, owner, count, digest },
            Self::Doubt { owner } => Event::CopiesSwept { datapath, owner, purged: false, copies: doubted },
            Self::Purge { owner } => Event::CopiesSwept { datapath, owner, purged: true, copies: doubted },
        }
    }
}
