//! Which connection speaks for which datapath, and how others reach it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::driver::{COMMANDS_MAX, SouthboundSettings};
use super::refusals::Refusals;
use super::vocabulary::CloseReason;
use crate::southbound::gate::Gate;
use crate::southbound::{Command, Event};
use crate::types::DatapathId;

/// Newer connections that ask at once whether the older one of the same datapath is alive. One more counts as "yes".
const QUESTIONS_MAX: usize = 4;
/// The older of two connections of one datapath has so long to show that it is alive.
const ALIVE_WITHIN: Duration = Duration::from_secs(2);
/// A dead connection has so long to end before the newer one is refused instead.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);
/// A switch opens auxiliary connections once its main one stands; that it is still being admitted is borne so long.
const MAIN_WITHIN: Duration = Duration::from_secs(5);
/// Datapaths whose sessions are counted: more than there may be connections. Those beyond it show no reconnects.
const COUNTED_MAX: usize = 8_192;

/// What the tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: SouthboundSettings,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) gate: Arc<Gate>,
    refusals: Mutex<Refusals>,
    sessions: Mutex<Sessions>,
    /// A session came to `sessions` or left it.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Sessions {
    here: HashMap<DatapathId, SessionHandle>,
    /// How many sessions each datapath has had.
    had: HashMap<DatapathId, u64>,
}

/// How others reach a session.
#[derive(Clone, Debug)]
pub(super) struct SessionHandle {
    pub(super) commands: mpsc::Sender<Command>,
    questions: mpsc::Sender<Question>,
    pub(super) kill: Kill,
    /// Its auxiliary connections by their number: at most 255.
    auxiliary: Arc<Mutex<BTreeMap<u8, Kill>>>,
    /// Packet-ins of all its connections that found no room.
    pub(super) dropped_packet_ins: Arc<AtomicU64>,
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

    pub(super) fn kill(&self, reason: CloseReason) {
        // The first reason stays.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    pub(super) fn reason(&self) -> CloseReason {
        self.reason.get().cloned().unwrap_or_else(|| CloseReason::Transport("this controller stops".into()))
    }
}

#[derive(Debug)]
pub(super) struct Queues {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) questions: mpsc::Receiver<Question>,
}

impl SessionHandle {
    pub(super) fn new(kill: Kill) -> (Self, Queues) {
        let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
        let (questions, questions_out) = mpsc::channel(QUESTIONS_MAX);
        let handle = Self { commands, questions, kill, auxiliary: Arc::default(), dropped_packet_ins: Arc::default() };
        (handle, Queues { commands: commands_out, questions: questions_out })
    }

    fn auxiliary(&self) -> MutexGuard<'_, BTreeMap<u8, Kill>> {
        lock(&self.auxiliary)
    }

    pub(super) fn auxiliary_count(&self) -> u64 {
        self.auxiliary().len() as u64
    }

    pub(super) fn drop_packet_in(&self) {
        self.dropped_packet_ins.fetch_add(1, Ordering::Relaxed);
    }
}

/// A place among the sessions; leaving it frees the datapath, or the number, for another connection.
#[derive(Debug)]
pub(super) enum Place {
    Main { shared: Arc<Shared>, datapath: DatapathId, reconnects: u64 },
    Auxiliary { main: SessionHandle, auxiliary_id: u8, kill: Kill },
}

impl Drop for Place {
    fn drop(&mut self) {
        match self {
            Self::Main { shared, datapath, .. } => {
                if std::thread::panicking() {
                    // A fault of this program ends the session without a word; the controller must not go on as if it stood.
                    let reason = "its session failed inside this controller".to_owned();
                    let _ = shared.events.try_send(Event::SwitchDown { datapath: *datapath, reason });
                }
                let left = shared.sessions().here.remove(datapath);
                for (auxiliary_id, kill) in left.iter().flat_map(|main| std::mem::take(&mut *main.auxiliary())) {
                    kill.kill(CloseReason::Auxiliary { auxiliary_id, why: "its main connection ended".into() });
                }
                shared.changed.notify_waiters();
            }
            Self::Auxiliary { main, auxiliary_id, kill } => {
                let mut all = main.auxiliary();
                // A newer connection of this number may have taken the place.
                if all.get(auxiliary_id).is_some_and(|held| Arc::ptr_eq(&held.reason, &kill.reason)) {
                    all.remove(auxiliary_id);
                }
            }
        }
    }
}

/// Nothing that holds one of these locks can panic halfway through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(settings: SouthboundSettings, events: mpsc::Sender<Event>) -> Self {
        let start = settings.agent.start;
        Self {
            settings,
            events,
            gate: Arc::new(Gate::new(start.at_once_max, start.jitter)),
            refusals: Mutex::default(),
            sessions: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.sessions)
    }

    pub(super) fn session(&self, datapath: DatapathId) -> Option<SessionHandle> {
        self.sessions().here.get(&datapath).cloned()
    }

    /// Tells of a connection that never became a session, unless the same was told just before.
    pub(super) fn refused(&self, peer: SocketAddr, reason: &CloseReason) {
        let told = lock(&self.refusals).tell(peer.ip(), reason, self.settings.clock.now());
        let Some(kept_back) = told else {
            return tracing::debug!(%peer, %reason, "connection refused");
        };
        tracing::warn!(%peer, %reason, kept_back, "connection refused");
        // The log has it; a controller that is behind has other worries.
        let _ = self.events.try_send(Event::ConnectionRefused { peer: peer.to_string(), reason: reason.to_string() });
    }

    /// Waits for the datapath's place. An older connection that is alive keeps it (a switch with one id twice is a
    /// mistake that must not make two sessions fight); one that does not answer is ended and replaced.
    pub(super) async fn admit(
        self: Arc<Self>,
        datapath: DatapathId,
        me: SessionHandle,
        peer: SocketAddr,
    ) -> Result<Place, CloseReason> {
        let refused = |why: &str| CloseReason::Transport(format!("datapath {datapath} is connected already, {why}"));
        let mut replaced = None;
        loop {
            let changed = self.changed.notified();
            let older = {
                let mut sessions = self.sessions();
                match sessions.here.get(&datapath) {
                    None => {
                        sessions.here.insert(datapath, me);
                        let reconnects = sessions.count(datapath);
                        drop(sessions);
                        self.changed.notify_waiters();
                        return Ok(Place::Main { shared: Arc::clone(&self), datapath, reconnects });
                    }
                    Some(older) => older.clone(),
                }
            };
            if let Some(deadline) = replaced {
                if timeout_at(deadline, changed).await.is_err() {
                    return Err(refused("and that connection does not end"));
                }
                continue;
            }
            let (answer, answered) = oneshot::channel();
            if let Err(mpsc::error::TrySendError::Full(_)) = older.questions.try_send(answer) {
                return Err(refused("and others ask for its place as well"));
            }
            if let Ok(Ok(())) = timeout(ALIVE_WITHIN, answered).await {
                return Err(refused("and that connection is alive"));
            }
            older.kill.kill(CloseReason::Transport(format!("replaced by a newer connection from {peer}")));
            replaced = Some(Instant::now() + REPLACED_WITHIN);
        }
    }

    /// A place beside the datapath's main connection. Of two with one number the newer one stays.
    pub(super) async fn admit_auxiliary(
        self: Arc<Self>,
        datapath: DatapathId,
        auxiliary_id: u8,
        kill: Kill,
    ) -> Result<Place, CloseReason> {
        let deadline = Instant::now() + MAIN_WITHIN;
        loop {
            let changed = self.changed.notified();
            let main = self.session(datapath);
            if let Some(main) = main {
                let older = main.auxiliary().insert(auxiliary_id, kill.clone());
                if let Some(older) = older {
                    let why = "replaced by a newer connection of the same number".into();
                    older.kill(CloseReason::Auxiliary { auxiliary_id, why });
                }
                // The main connection may have gone in between; its end looks at the list only once.
                if self.session(datapath).is_some_and(|now| Arc::ptr_eq(&now.auxiliary, &main.auxiliary)) {
                    return Ok(Place::Auxiliary { main, auxiliary_id, kill });
                }
                main.auxiliary().remove(&auxiliary_id);
                continue;
            }
            if timeout_at(deadline, changed).await.is_err() {
                let why = format!("datapath {datapath} has no main connection");
                return Err(CloseReason::Auxiliary { auxiliary_id, why });
            }
        }
    }
}

impl Sessions {
    /// Counts one more session of a datapath; how many there were before.
    fn count(&mut self, datapath: DatapathId) -> u64 {
        if self.had.len() >= COUNTED_MAX && !self.had.contains_key(&datapath) {
            return 0;
        }
        let had = self.had.entry(datapath).or_default();
        *had += 1;
        *had - 1
    }
}
