//! The sockets and tasks around [`super::SwitchAgent`] (docs/OPENFLOW.md, "Driver"): one task listens, one serves each
//! connection, and [`Southbound`] is the controller's hold on all of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::agent::AgentSettings;
use super::connection::serve;
use super::mapping::Mapping;
use super::places::Shared;
use super::vocabulary::CloseReason;
use crate::southbound::{Clock, Command, CommandError, EVENTS_MAX, Event};

/// Commands on their way to one session: the LLDP and ARP packets of a large switch in one cycle, several times over. A
/// session that lets so many pile up is stuck; it is closed with that reason, and the controller's loop goes on.
pub(super) const COMMANDS_MAX: usize = 1_024;
/// Connections served at once; one more is closed as soon as it is accepted. The limit of open files may be lower.
const CONNECTIONS_MAX: usize = 40_960;
/// Connections the kernel holds until they are accepted: all switches of a fabric come at once after a restart.
const BACKLOG: u32 = 4_096;
/// After a failed accept (no more file descriptors), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener needs to serve switches.
#[derive(Clone, Debug)]
pub struct SouthboundSettings {
    pub agent: AgentSettings,
    pub mapping: Mapping,
    pub clock: Arc<dyn Clock>,
}

#[derive(Debug, Error)]
pub enum SouthboundError {
    #[error("cannot listen for OpenFlow switches on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// All OpenFlow sessions of this controller. Dropping it ends them; [`Southbound::shutdown`] also waits.
#[derive(Debug)]
pub struct Southbound {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: JoinHandle<()>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Southbound {
    /// Listens; events come out of the receiver, which should be emptied promptly.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn listen(
        address: SocketAddr,
        settings: SouthboundSettings,
    ) -> Result<(Self, mpsc::Receiver<Event>), SouthboundError> {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        Ok((Self::listen_for(address, settings, events)?, receiver))
    }

    /// The same, with events going where those of other protocols go too.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn listen_for(
        address: SocketAddr,
        settings: SouthboundSettings,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, SouthboundError> {
        let failed = |source| SouthboundError::Listen { address, source };
        let listener = listen_on(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared::new(settings, events));
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        tracing::info!(%address, "listening for OpenFlow switches");
        Ok(Self { shared, address, listener: task, stop: stop.clone(), _stop_on_drop: stop.drop_guard() })
    }

    /// Where it listens, with the port that was chosen if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sessions that read or install for the first time: now, and the most there ever were at once.
    pub fn starting(&self) -> (usize, usize) {
        self.shared.gate.load()
    }

    /// Hands a command to its session. Never waits.
    ///
    /// # Errors
    /// There is no such session, or it is closed because it does not keep up.
    pub fn send(&self, command: Command) -> Result<(), CommandError> {
        let datapath = command.datapath();
        let Some(session) = self.shared.session(datapath) else { return Err(CommandError::NotConnected(datapath)) };
        match session.commands.try_send(command) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(CommandError::NotConnected(datapath)),
            Err(mpsc::error::TrySendError::Full(_)) => {
                let why = format!("expected at most {COMMANDS_MAX} commands waiting: the session does not keep up");
                session.kill.kill(CloseReason::Transport(why));
                Err(CommandError::QueueFull(datapath))
            }
        }
    }

    /// Ends every session, leaving the switches as they are, and waits until all tasks are gone.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.listener.await {
            tracing::error!(%error, "the OpenFlow listener ended badly");
        }
    }
}

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restarted controller must not wait for the sockets of its predecessor to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((_, peer)) if connections.len() >= CONNECTIONS_MAX => {
                    tracing::warn!(%peer, max = CONNECTIONS_MAX, "connection refused: too many");
                }
                Ok((stream, peer)) => {
                    connections.spawn(serve(stream, peer, Arc::clone(&shared), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => report(ended),
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a session's task ended badly");
    }
}
