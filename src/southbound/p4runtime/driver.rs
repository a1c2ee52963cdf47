//! The tasks around [`super::P4Session`] (docs/P4RUNTIME.md, "Driver"): one dials each switch, serves its session and dials
//! again, and [`P4Southbound`] is the controller's hold on all of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::{Served, serve};
use super::device::{Device, P4SessionSettings};
use super::vocabulary::P4CloseReason;
use crate::southbound::gate::{Gate, spread};
use crate::southbound::{Clock, Command, CommandError, Event};
use crate::types::DatapathId;

/// Commands on their way to one session: the LLDP and ARP packets of a large switch in one cycle, several times over. A
/// session that lets so many pile up is stuck; it is closed with that reason, and the controller's loop goes on.
pub(super) const COMMANDS_MAX: usize = 1_024;
/// The same reason for not having a session is told so often.
const REFUSALS_EVERY: Duration = Duration::from_secs(60);

/// What sessions are made with.
#[derive(Clone, Debug)]
pub struct P4Settings {
    /// Of several controllers of a switch the one with the highest is its primary.
    pub election_id: u128,
    /// `None`: the default role, which may do everything.
    pub role: Option<String>,
    pub clock: Arc<dyn Clock>,
    pub session: P4SessionSettings,
    /// Wait before a switch is dialled again; doubled each time, and again the first once a session has stood.
    pub reconnect_min: Duration,
    pub reconnect_max: Duration,
    /// Sessions that read what their switch holds, or install for the first time, at once.
    pub at_once_max: usize,
    /// A session that had to wait for its turn waits up to so long more, by its datapath id.
    pub jitter: Duration,
}

impl P4Settings {
    pub fn new(election_id: u128, role: Option<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            election_id,
            role,
            clock,
            session: P4SessionSettings::default(),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(4),
            at_once_max: 32,
            jitter: Duration::from_millis(50),
        }
    }
}

/// What the tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: P4Settings,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) gate: Arc<Gate>,
    /// Cancelled when the whole controller stops.
    pub(super) stop: CancellationToken,
}

/// How others reach the session of a switch.
#[derive(Debug)]
pub(super) struct Handle {
    commands: mpsc::Sender<Command>,
    pub(super) up: AtomicBool,
    /// Ends the session that stands.
    kill: Mutex<CancellationToken>,
}

impl Handle {
    fn kill(&self) -> std::sync::MutexGuard<'_, CancellationToken> {
        // A token cannot be halfway changed.
        self.kill.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All P4Runtime sessions of this controller. Dropping it ends them; [`P4Southbound::shutdown`] also waits.
#[derive(Debug)]
pub struct P4Southbound {
    switches: BTreeMap<DatapathId, Arc<Handle>>,
    shared: Arc<Shared>,
    tasks: JoinHandle<()>,
    _stop_on_drop: DropGuard,
}

impl P4Southbound {
    /// Dials all switches, now and whenever a session ends; needs a tokio runtime. What happens comes as events.
    pub fn start(devices: Vec<Device>, settings: P4Settings, events: mpsc::Sender<Event>) -> Self {
        let stop = CancellationToken::new();
        let gate = Arc::new(Gate::new(settings.at_once_max, settings.jitter));
        let shared = Arc::new(Shared { settings, events, gate, stop: stop.clone() });
        let mut switches = BTreeMap::new();
        let mut tasks = JoinSet::new();
        for device in devices {
            let datapath = device.datapath;
            if switches.contains_key(&datapath) {
                tracing::error!(%datapath, address = device.address, "expected one switch of a datapath id; ignored");
                continue;
            }
            let (commands, queue) = mpsc::channel(COMMANDS_MAX);
            let handle = Handle { commands, up: AtomicBool::new(false), kill: Mutex::new(stop.child_token()) };
            let handle = Arc::new(handle);
            switches.insert(datapath, Arc::clone(&handle));
            tasks.spawn(dial(device, queue, handle, Arc::clone(&shared)));
        }
        let tasks = tokio::spawn(async move {
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "the task of a P4Runtime switch ended badly");
                }
            }
        });
        Self { switches, shared, tasks, _stop_on_drop: stop.drop_guard() }
    }

    /// True for the switches it was started with.
    pub fn serves(&self, datapath: DatapathId) -> bool {
        self.switches.contains_key(&datapath)
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
        let handle = self.switches.get(&datapath).filter(|handle| handle.up.load(Ordering::Acquire));
        let Some(handle) = handle else { return Err(CommandError::NotConnected(datapath)) };
        match handle.commands.try_send(command) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(CommandError::NotConnected(datapath)),
            Err(mpsc::error::TrySendError::Full(_)) => {
                handle.kill().cancel();
                Err(CommandError::QueueFull(datapath))
            }
        }
    }

    /// Ends every session, leaving the switches as they are, and waits until all tasks are gone.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        if let Err(error) = self.tasks.await {
            tracing::error!(%error, "the P4Runtime sessions ended badly");
        }
    }
}

/// Has one session after the other with a switch.
async fn dial(device: Device, mut commands: mpsc::Receiver<Command>, handle: Arc<Handle>, shared: Arc<Shared>) {
    let (min, max) = (shared.settings.reconnect_min, shared.settings.reconnect_max);
    let mut wait = min;
    let mut told: Option<(P4CloseReason, Instant)> = None;
    // Sessions that came up before this one.
    let mut sessions = 0;
    for attempt in 0_u64.. {
        let kill = shared.stop.child_token();
        *handle.kill() = kill.clone();
        // What was meant for the session before.
        while commands.try_recv().is_ok() {}
        let began = Instant::now();
        let Served { reason, came_up } = serve(&device, &mut commands, &handle, &shared, kill, sessions).await;
        handle.up.store(false, Ordering::Release);
        if shared.stop.is_cancelled() {
            return;
        }
        if came_up {
            sessions += 1;
            told = None;
        } else if told.as_ref().is_none_or(|(last, at)| *last != reason || at.elapsed() >= REFUSALS_EVERY) {
            tracing::warn!(datapath = %device.datapath, address = device.address, %reason, "no session");
            let event = Event::ConnectionRefused { peer: device.address.clone(), reason: reason.to_string() };
            // The log has it; a controller that is behind has other worries.
            let _ = shared.events.try_send(event);
            told = Some((reason, Instant::now()));
        }
        if came_up && began.elapsed() >= max {
            wait = min;
        }
        // Switches that went together do not come back in step.
        let half = wait / 2;
        let pause = half + spread(DatapathId(device.datapath.0 ^ attempt.rotate_left(32)), half);
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = sleep(pause) => {}
        }
        wait = (wait * 2).min(max);
    }
}
