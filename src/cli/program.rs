//! A running controller put together: southbound listener, control loop, REST. `run` and `demo` start the same one.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::BadInput;
use super::devices::devices;
use crate::config::{Config, Topology};
use crate::controller::Controller;
use crate::controller::driver::{self, Clockwork, Publisher, Switchboard};
use crate::controller::feed::Feed;
use crate::controller::recording::{self, Header};
use crate::controller::view::View;
use crate::northbound::{self, NorthState};
use crate::southbound::openflow::{AgentSettings, Southbound, SouthboundSettings, pipeline};
use crate::southbound::p4runtime::{P4Settings, P4Southbound};
use crate::southbound::{Clock, Command, CommandError, EVENTS_MAX, Event, WallClock};
use crate::types::Timestamp;
use crate::wire::lldp::Key;

/// Handles on what was started.
#[derive(Debug)]
pub struct Program {
    pub openflow: SocketAddr,
    pub http: SocketAddr,
    pub view: watch::Receiver<Arc<View>>,
    pub feed: Feed,
    tasks: JoinSet<anyhow::Result<()>>,
    shutdown: CancellationToken,
}

impl Program {
    /// Opens both listeners and starts the loop, which sees its first moment as `now`. `record` is the file that keeps every
    /// input (docs/RECORDING.md).
    pub async fn start(
        config: &Config,
        topology: Topology,
        clockwork: Clockwork,
        now: Timestamp,
        record: Option<&Path>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        // Whatever ends the program, or only this, ends its parts.
        let shutdown = shutdown.child_token();
        let http = northbound::listen(config.http_listen).await?;
        let (sessions, events) = Sessions::start(config, &topology)?;
        let key = probe_key();
        let recording = match record {
            Some(path) => {
                let header = Header::new(topology.clone(), config.cycle.clone(), key, now);
                Some(recording::record(path, header).map_err(|error| BadInput(error.to_string()))?)
            }
            None => None,
        };
        let declared = topology.clone();
        let controller = Controller::new(topology, config.cycle.clone(), key, now);
        let (publish, view) = watch::channel(Arc::new(controller.view(now)));
        let feed = Feed::new();
        let mut program = Self {
            openflow: sessions.openflow.address(),
            http: http.local_addr().context("the HTTP listener has no address")?,
            view: view.clone(),
            feed: feed.clone(),
            tasks: JoinSet::new(),
            shutdown: shutdown.clone(),
        };
        tracing::info!(address = %program.http, "serving REST and the page");
        let recorder = recording.map(|(recorder, task)| {
            // Ends once the loop has dropped the recorder.
            program.tasks.spawn_blocking(move || {
                task.run();
                Ok(())
            });
            recorder
        });
        let state = NorthState::new(view, feed.clone()).declaring(declared);
        let stop = shutdown.clone();
        program.tasks.spawn(async move { Ok(northbound::serve(http, state, stop).await?) });
        program.tasks.spawn(async move {
            let publisher = Publisher { view: publish, feed, recorder };
            driver::run(controller, events, &sessions, clockwork, publisher, shutdown).await;
            sessions.shutdown().await;
            Ok(())
        });
        Ok(program)
    }

    /// Until the shutdown token is cancelled, or a part fails.
    pub async fn finished(&mut self) -> anyhow::Result<()> {
        let first = self.tasks.join_next().await;
        self.shutdown.cancel();
        let mut outcome = first.map_or(Ok(()), |ended| ended.context("a task panicked")?);
        while let Some(ended) = self.tasks.join_next().await {
            outcome = outcome.and(ended.context("a task panicked")?);
        }
        outcome
    }

    /// Ends every part; switches go on forwarding by what they hold.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.finished().await
    }
}

/// Sessions of both protocols.
#[derive(Debug)]
struct Sessions {
    openflow: Southbound,
    p4runtime: P4Southbound,
}

impl Sessions {
    /// Listens for OpenFlow switches and dials the P4Runtime switches of the topology; all events come by one queue.
    fn start(config: &Config, topology: &Topology) -> anyhow::Result<(Self, mpsc::Receiver<Event>)> {
        let clock: Arc<dyn Clock> = Arc::new(WallClock::default());
        let devices = devices(topology)?;
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let settings = SouthboundSettings {
            agent: AgentSettings::default(),
            mapping: pipeline::MAPPING,
            clock: Arc::clone(&clock),
        };
        let openflow = Southbound::listen_for(config.openflow_listen, settings, events.clone())?;
        let settings = P4Settings::new(config.p4runtime.election_id.into(), config.p4runtime.role.clone(), clock);
        let p4runtime = P4Southbound::start(devices, settings, events);
        Ok((Self { openflow, p4runtime }, receiver))
    }

    async fn shutdown(self) {
        self.openflow.shutdown().await;
        self.p4runtime.shutdown().await;
    }
}

impl Switchboard for &Sessions {
    fn send(&mut self, command: Command) {
        let sent = match self.p4runtime.serves(command.datapath()) {
            true => self.p4runtime.send(command),
            false => self.openflow.send(command),
        };
        match sent {
            // The session may have ended since the controller heard of it last; its end is on the way as an event.
            Ok(()) | Err(CommandError::NotConnected(_)) => {}
            Err(error @ CommandError::QueueFull(_)) => tracing::warn!(%error, "command dropped"),
        }
    }
}

/// LLDP probes of this run are told from forged ones, and from those of another run.
fn probe_key() -> Key {
    Key([rand::random(), rand::random()])
}
