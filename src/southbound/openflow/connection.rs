//! One connection's task: moves bytes, events and commands between a socket, the controller and a [`SwitchAgent`].

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::agent::SwitchAgent;
use super::places::{Kill, Place, Question, Queues, SessionHandle, Shared};
use super::vocabulary::CloseReason;
use crate::southbound::gate::Pass;
use crate::southbound::{EVENTS_MAX, Event};
use crate::types::Timestamp;

/// Commands taken before the socket's turn comes again.
const COMMANDS_AT_ONCE: usize = 64;
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// With so many events waiting for the controller the socket is left alone, so that TCP slows the switch down.
const BACKLOG_MAX: usize = 256;
/// Packet-ins, and what comes again anyway, give way to other events when less than this of the controller's queue is free.
const PACKET_IN_RESERVE: usize = EVENTS_MAX / 4;
/// A peer that takes no byte for so long does not read.
const WRITE_STALL_MAX: Duration = Duration::from_secs(10);
/// The longest sleep: deadlines are looked at again, in case the clock does not run as fast as the timer.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// After the last message, for the peer to take it and to close.
const LINGER: Duration = Duration::from_millis(500);
/// What a peer may still have had on its way is taken meanwhile; one that goes on talking is cut off.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// A session has its turn to read or to install for so long; then it goes on without keeping others waiting.
const TURN_MAX: Duration = Duration::from_secs(10);

thread_local! {
    /// What is read is taken at once, so that sessions of one thread can share the room.
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

type Admission = Pin<Box<dyn Future<Output = Result<Place, CloseReason>> + Send>>;

/// Whether this connection may speak for its datapath.
enum Standing {
    /// The handshake goes on.
    Unknown,
    /// The place is asked for.
    Asking(Admission),
    Admitted(Place),
}

/// Whether it is this session's turn to do what takes long.
enum Turn {
    No,
    Asking(Pin<Box<dyn Future<Output = Pass> + Send>>),
    Yes { since: Instant, _pass: Pass },
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    agent: SwitchAgent,
    shared: Arc<Shared>,
    kill: Kill,
    /// Cancelled when the whole controller stops.
    stop: CancellationToken,
    handle: SessionHandle,
    standing: Standing,
    turn: Turn,
    /// Newer connections that want to know whether this one is alive, and the frame count when they asked.
    questions: Vec<(Question, u64)>,
    output: Vec<u8>,
    written: usize,
    /// Since when nothing could be written.
    stalled_since: Option<Instant>,
}

/// Serves one connection until it ends.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        // A peer that has already gone, as Mininet's probe does.
        tracing::debug!(%peer, %error, "connection gone before it began");
        return;
    }
    let kill = Kill::new(stop.child_token());
    let (handle, queues) = SessionHandle::new(kill.clone());
    let settings = &shared.settings;
    let mut agent = SwitchAgent::new(settings.agent, settings.mapping, peer.to_string(), settings.clock.now());
    agent.take_turns();
    let connection = Connection {
        stream,
        peer,
        agent,
        shared,
        kill,
        stop,
        handle,
        standing: Standing::Unknown,
        turn: Turn::No,
        questions: Vec::new(),
        output: Vec::new(),
        written: 0,
        stalled_since: None,
    };
    connection.run(queues).await;
}

/// What woke the task.
enum Wake {
    Kill,
    Delivered,
    Command(crate::southbound::Command),
    Question(Question),
    Admission(Result<Place, CloseReason>),
    Turn(Pass),
    Readable,
    Writable,
    Timer,
}

impl Connection {
    async fn run(mut self, mut queues: Queues) {
        while self.agent.closed().is_none() {
            self.refill();
            self.keep_time();
            self.answer_questions();
            self.ask_admission();
            self.take_turn();
            if self.agent.closed().is_some() {
                break;
            }
            // A peer that always has something to say must not keep the others of this thread waiting.
            tokio::task::consume_budget().await;
            match self.wake(&mut queues).await {
                Wake::Kill => {
                    let reason = self.kill.reason();
                    self.agent.close(reason, self.now());
                }
                Wake::Delivered | Wake::Timer => {}
                Wake::Command(command) => {
                    self.agent.command(command, self.now());
                    // What came together goes out in one write.
                    for _ in 1..COMMANDS_AT_ONCE {
                        let Ok(command) = queues.commands.try_recv() else { break };
                        self.agent.command(command, self.now());
                    }
                }
                Wake::Question(question) => {
                    self.agent.ask_echo(self.now());
                    self.questions.push((question, self.agent.counters().frames_in));
                }
                Wake::Admission(Ok(place)) => self.admitted(place),
                Wake::Turn(pass) => {
                    self.turn = Turn::Yes { since: Instant::now(), _pass: pass };
                    self.agent.enter(self.now());
                }
                Wake::Admission(Err(reason)) => {
                    self.standing = Standing::Unknown;
                    self.agent.close(reason, self.now());
                }
                Wake::Readable => self.read(),
                Wake::Writable => self.write(),
            }
        }
        self.finish().await;
    }

    async fn wake(&mut self, queues: &mut Queues) -> Wake {
        let pause = self.pause();
        let deliverable = self.deliverable();
        let (wants_read, wants_write) = (self.wants_read(), self.written < self.output.len());
        let Self { stream, agent, shared, kill, standing, turn, handle, .. } = self;
        let admission = async {
            match standing {
                Standing::Asking(admission) => admission.await,
                Standing::Unknown | Standing::Admitted(_) => std::future::pending().await,
            }
        };
        let entered = async {
            match turn {
                Turn::Asking(entered) => entered.await,
                Turn::No | Turn::Yes { .. } => std::future::pending().await,
            }
        };
        tokio::select! {
            () = kill.token.cancelled() => Wake::Kill,
            permit = shared.events.reserve(), if deliverable => {
                let Some(event) = agent.poll_event() else { return Wake::Delivered };
                let room = shared.events.capacity() >= PACKET_IN_RESERVE;
                match (permit, complete(event, handle, standing)) {
                    (Ok(permit), event) if room || !gives_way(&event) => permit.send(event),
                    (Ok(_), Event::PacketIn { .. }) => handle.drop_packet_in(),
                    // Nobody wants events any more: the controller is on its way out. Or the event comes again.
                    (Err(_) | Ok(_), _) => {}
                }
                Wake::Delivered
            }
            Some(command) = queues.commands.recv() => Wake::Command(command),
            Some(question) = queues.questions.recv() => Wake::Question(question),
            admitted = admission => Wake::Admission(admitted),
            pass = entered => Wake::Turn(pass),
            _ = stream.readable(), if wants_read => Wake::Readable,
            _ = stream.writable(), if wants_write => Wake::Writable,
            () = sleep(pause) => Wake::Timer,
        }
    }

    fn now(&self) -> Timestamp {
        self.shared.settings.clock.now()
    }

    fn deliverable(&self) -> bool {
        matches!(self.standing, Standing::Admitted(_)) && self.agent.backlog() > 0
    }

    fn wants_read(&self) -> bool {
        self.agent.backlog() < BACKLOG_MAX
    }

    /// How long until something is due.
    fn pause(&self) -> Duration {
        let due = self.agent.next_deadline().filter(|_| self.wants_read()).map(|at| at.since(self.now()));
        let stall = self.stalled_since.map(|since| WRITE_STALL_MAX.saturating_sub(since.elapsed()));
        [due, stall].into_iter().flatten().fold(SLEEP_MAX, Duration::min)
    }

    /// Takes what the agent has to say, once the last of it is written.
    fn refill(&mut self) {
        if self.written < self.output.len() {
            return;
        }
        self.written = 0;
        self.output = self.agent.poll_output(self.now()).unwrap_or_default();
        if self.output.is_empty() {
            self.stalled_since = None;
        } else {
            self.write();
        }
    }

    /// Lets the agent act on what is due. Only after a look at the socket: a peer whose answer waits there is not
    /// silent, and neither is one that this side does not read.
    fn keep_time(&mut self) {
        if self.stalled_since.is_some_and(|since| since.elapsed() >= WRITE_STALL_MAX) {
            let bytes = self.output.len() - self.written;
            return self.agent.close(CloseReason::NotReading { bytes }, self.now());
        }
        let due = |agent: &SwitchAgent, now| agent.next_deadline().is_some_and(|deadline| now >= deadline);
        if self.wants_read() && due(&self.agent, self.now()) {
            self.read();
            self.agent.tick(self.now());
        }
    }

    fn read(&mut self) {
        let now = self.now();
        READ.with_borrow_mut(|buffer| match self.stream.try_read(buffer) {
            Ok(0) => self.agent.close(CloseReason::Transport("the peer closed the connection".into()), now),
            Ok(count) => self.agent.receive(&buffer[..count], now),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.agent.close(CloseReason::Transport(error.to_string()), now),
        });
    }

    fn write(&mut self) {
        match self.stream.try_write(&self.output[self.written..]) {
            Ok(count) => {
                self.written += count;
                self.stalled_since = (self.written < self.output.len()).then(Instant::now);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.stalled_since.get_or_insert_with(Instant::now);
            }
            Err(error) => self.agent.close(CloseReason::Transport(error.to_string()), self.now()),
        }
    }

    /// Alive is who has sent a frame since the question, and who is not read because the controller is behind.
    fn answer_questions(&mut self) {
        let (frames, unread) = (self.agent.counters().frames_in, !self.wants_read());
        for (question, _) in self.questions.extract_if(.., |(_, asked_at)| unread || frames > *asked_at) {
            // The asker may have given up.
            let _ = question.send(());
        }
    }

    /// Before anything of a session goes out, its place must be ours.
    fn ask_admission(&mut self) {
        if !matches!(self.standing, Standing::Unknown) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        // The first event of a session says which datapath it is.
        if let Some(Event::SwitchUp { datapath, .. }) = self.agent.peek_event() {
            let admission = shared.admit(*datapath, self.handle.clone(), self.peer);
            self.standing = Standing::Asking(Box::pin(admission));
        } else if let Some((datapath, auxiliary_id)) = self.agent.auxiliary() {
            let admission = shared.admit_auxiliary(datapath, auxiliary_id, self.kill.clone());
            self.standing = Standing::Asking(Box::pin(admission));
        }
    }

    fn admitted(&mut self, place: Place) {
        if let Place::Auxiliary { main, .. } = &place {
            // What is dropped here is missing there.
            self.handle.dropped_packet_ins = Arc::clone(&main.dropped_packet_ins);
        }
        self.standing = Standing::Admitted(place);
    }

    /// Asks for a turn where the agent needs one, and gives it back when it is done or has had it for too long.
    fn take_turn(&mut self) {
        match &self.turn {
            Turn::No if self.agent.wants_turn() => {
                if let (Standing::Admitted(_), Some(datapath)) = (&self.standing, self.agent.datapath()) {
                    self.turn = Turn::Asking(Box::pin(Arc::clone(&self.shared.gate).enter(datapath)));
                }
            }
            Turn::Yes { since, .. } if !self.agent.needs_turn() || since.elapsed() >= TURN_MAX => self.turn = Turn::No,
            Turn::No | Turn::Asking(_) | Turn::Yes { .. } => {}
        }
    }

    /// The controller learns the end before the place is free; then the peer may take the last message.
    async fn finish(mut self) {
        self.log_end();
        if matches!(self.standing, Standing::Admitted(_)) {
            while let Some(event) = self.agent.poll_event() {
                tokio::select! {
                    biased;
                    // Whoever stops everything may not be reading any more.
                    () = self.stop.cancelled() => { let _ = self.shared.events.try_send(event); }
                    _ = self.shared.events.send(event.clone()) => {}
                }
            }
        }
        // Frees the place, and whatever was waited for.
        (self.standing, self.turn) = (Standing::Unknown, Turn::No);
        let mut last = self.output.split_off(self.written);
        last.extend(self.agent.poll_output(self.now()).unwrap_or_default());
        // The peer may be gone; then there is nobody to tell.
        let _ = timeout(LINGER, linger(&mut self.stream, &last)).await;
    }

    fn log_end(&self) {
        let Some(reason) = self.agent.closed() else { return };
        let (peer, c, datapath) = (self.peer, self.agent.counters(), self.agent.datapath());
        match &self.standing {
            Standing::Admitted(Place::Main { reconnects, .. }) => {
                let dropped_packet_ins = self.handle.dropped_packet_ins.load(Ordering::Relaxed);
                tracing::info!(
                    ?datapath, %peer, %reason, frames_in = c.frames_in, frames_out = c.frames_out, bytes_in = c.bytes_in,
                    bytes_out = c.bytes_out, malformed = c.malformed, errors_in = c.errors_in(), late = c.late_answers,
                    dropped_packet_ins, reconnects, "session ended"
                );
            }
            Standing::Admitted(Place::Auxiliary { auxiliary_id, .. }) => {
                tracing::debug!(?datapath, auxiliary_id, %peer, %reason, "auxiliary connection ended");
            }
            Standing::Unknown | Standing::Asking(_) => self.log_refusal(reason),
        }
    }

    /// Probes that connect and go away again, as Mininet's do, are not worth a line, and neither is the end of all.
    fn log_refusal(&self, reason: &CloseReason) {
        let left = matches!(reason, CloseReason::Transport(_)) && self.agent.datapath().is_none();
        if (left && self.agent.counters().bytes_in == 0) || self.stop.is_cancelled() {
            tracing::debug!(peer = %self.peer, %reason, "connection ended before a word");
        } else {
            self.shared.refused(self.peer, reason);
        }
    }
}

/// Events that give way when the controller is behind: lost packets are sent again by those who miss them, and the next
/// echo tells the rest.
fn gives_way(event: &Event) -> bool {
    matches!(event, Event::PacketIn { .. } | Event::RoundTrip { .. } | Event::SessionStatus { .. })
}

/// Adds what only this side of the socket knows.
fn complete(mut event: Event, handle: &SessionHandle, standing: &Standing) -> Event {
    if let (Event::SessionStatus { status, .. }, Standing::Admitted(Place::Main { reconnects, .. })) =
        (&mut event, standing)
    {
        status.dropped_packet_ins = handle.dropped_packet_ins.load(Ordering::Relaxed);
        status.reconnects = *reconnects;
        status.auxiliary_connections = handle.auxiliary_count();
    }
    event
}

/// Writes the last bytes and waits for the peer's end. Closing with unread bytes would reset the connection, and the
/// error text that says why would be lost.
async fn linger(stream: &mut TcpStream, last: &[u8]) -> io::Result<()> {
    stream.write_all(last).await?;
    stream.shutdown().await?;
    let mut sink = [0; 4_096];
    let mut taken = 0;
    while taken < LINGER_BYTES_MAX {
        match stream.read(&mut sink).await? {
            0 => break,
            count => taken += count,
        }
    }
    Ok(())
}
