//! The sockets and tasks around [`super::SwitchAgent`] (docs/OPENFLOW.md, "Driver"): one task listens, one serves each
//! connection, and [`Southbound`] is the controller's hold on all of them.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::agent::AgentSettings;
use super::connection::serve;
use super::mapping::Mapping;
use super::vocabulary::CloseReason;
use crate::southbound::{Command, Event};
use crate::types::{DatapathId, Timestamp};

/// Events of all sessions on their way to the controller: some seconds' worth for hundreds of switches. When it is
/// full, sessions stop reading their sockets, so that TCP slows the switches down; packet-ins are dropped before that.
pub(super) const EVENTS_MAX: usize = 4_096;
/// Commands on their way to one session: the LLDP and ARP packets of a large switch in one cycle, several times over. A
/// session that lets so many pile up is stuck; it is closed with that reason, and the controller's loop goes on.
pub(super) const COMMANDS_MAX: usize = 1_024;
/// Newer connections that ask at once whether the older one of the same datapath is alive. One more counts as "yes".
const QUESTIONS_MAX: usize = 4;
/// Connections served at once; one more is closed as soon as it is accepted.
const CONNECTIONS_MAX: usize = 4_096;
/// Connections the kernel holds until they are accepted: all switches of a fabric come at once after a restart.
const BACKLOG: u32 = 1_024;
/// The older of two connections of one datapath has so long to show that it is alive.
const ALIVE_WITHIN: Duration = Duration::from_secs(2);
/// A dead connection has so long to end before the newer one is refused instead.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);
/// After a failed accept (no more file descriptors), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where sessions have the time from.
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> Timestamp;
}

/// The time of day at its start, and from there on a steady clock: it never jumps.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    started: Instant,
    started_at: Timestamp,
}

impl Default for WallClock {
    fn default() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_at: Timestamp::default() + since_epoch }
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        self.started_at + self.started.elapsed()
    }
}

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

/// Why a command went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    #[error("datapath {0} is not connected")]
    NotConnected(DatapathId),
    #[error("datapath {0} takes no commands any more; its session is closed")]
    QueueFull(DatapathId),
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
        let failed = |source| SouthboundError::Listen { address, source };
        let listener = listen_on(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let shared =
            Arc::new(Shared { settings, events, sessions: Mutex::new(HashMap::new()), changed: Notify::new() });
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        tracing::info!(%address, "listening for OpenFlow switches");
        Ok((Self { shared, address, listener: task, stop: stop.clone(), _stop_on_drop: stop.drop_guard() }, receiver))
    }

    /// Where it listens, with the port that was chosen if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands a command to its session. Never waits.
    ///
    /// # Errors
    /// There is no such session, or it is closed because it does not keep up.
    pub fn send(&self, command: Command) -> Result<(), CommandError> {
        let datapath = command.datapath();
        let sessions = self.shared.sessions();
        let Some(session) = sessions.get(&datapath) else { return Err(CommandError::NotConnected(datapath)) };
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
                    connections.spawn(serve(stream, peer.to_string(), Arc::clone(&shared), stop.clone()));
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

/// What the tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: SouthboundSettings,
    pub(super) events: mpsc::Sender<Event>,
    sessions: Mutex<HashMap<DatapathId, SessionHandle>>,
    /// A session left `sessions`.
    changed: Notify,
}

/// How others reach a session.
#[derive(Clone, Debug)]
pub(super) struct SessionHandle {
    commands: mpsc::Sender<Command>,
    questions: mpsc::Sender<Question>,
    kill: Kill,
}

/// "Are you alive?", asked by a newer connection of the same datapath.
pub(super) type Question = oneshot::Sender<()>;

/// Ends one session with a reason; cancelled without a reason, the whole controller stops.
#[derive(Clone, Debug)]
pub(super) struct Kill {
    pub(super) token: CancellationToken,
    reason: Arc<OnceLock<CloseReason>>,
}

impl Kill {
    pub(super) fn new(token: CancellationToken) -> Self {
        Self { token, reason: Arc::new(OnceLock::new()) }
    }

    fn kill(&self, reason: CloseReason) {
        // The first reason stays.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    pub(super) fn reason(&self) -> CloseReason {
        self.reason.get().cloned().unwrap_or_else(|| CloseReason::Transport("this controller stops".into()))
    }
}

pub(super) struct Queues {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) questions: mpsc::Receiver<Question>,
}

impl SessionHandle {
    pub(super) fn new(kill: Kill) -> (Self, Queues) {
        let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
        let (questions, questions_out) = mpsc::channel(QUESTIONS_MAX);
        (Self { commands, questions, kill }, Queues { commands: commands_out, questions: questions_out })
    }
}

/// A place among the sessions; leaving it frees the datapath for another connection.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    datapath: DatapathId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.sessions().remove(&self.datapath);
        self.shared.changed.notify_waiters();
    }
}

impl Shared {
    fn sessions(&self) -> MutexGuard<'_, HashMap<DatapathId, SessionHandle>> {
        // Nothing that holds this lock can panic halfway through a change.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the datapath's place. An older connection that is alive keeps it (a switch with one id twice is a
    /// mistake that must not make two sessions fight); one that does not answer is ended and replaced.
    pub(super) async fn admit(
        self: Arc<Self>,
        datapath: DatapathId,
        me: SessionHandle,
        peer: String,
    ) -> Result<Place, CloseReason> {
        let refused = |why: &str| CloseReason::Transport(format!("datapath {datapath} is connected already, {why}"));
        let mut replaced = false;
        loop {
            let changed = self.changed.notified();
            let older = {
                let mut sessions = self.sessions();
                match sessions.get(&datapath) {
                    None => {
                        sessions.insert(datapath, me);
                        return Ok(Place { shared: Arc::clone(&self), datapath });
                    }
                    Some(older) => older.clone(),
                }
            };
            if replaced {
                if tokio::time::timeout(REPLACED_WITHIN, changed).await.is_err() {
                    return Err(refused("and that connection does not end"));
                }
                continue;
            }
            let (answer, answered) = oneshot::channel();
            if let Err(mpsc::error::TrySendError::Full(_)) = older.questions.try_send(answer) {
                return Err(refused("and others ask for its place as well"));
            }
            if let Ok(Ok(())) = tokio::time::timeout(ALIVE_WITHIN, answered).await {
                return Err(refused("and that connection is alive"));
            }
            older.kill.kill(CloseReason::Transport(format!("replaced by a newer connection from {peer}")));
            replaced = true;
        }
    }
}
