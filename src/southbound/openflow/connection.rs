//! One connection's task: moves bytes, events and commands between a socket, the controller and a [`SwitchAgent`].

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::agent::SwitchAgent;
use super::driver::{EVENTS_MAX, Kill, Place, Question, Queues, SessionHandle, Shared};
use super::vocabulary::{CloseReason, Phase};
use crate::southbound::Event;
use crate::types::{DatapathId, Timestamp};

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// With so many events waiting for the controller the socket is left alone, so that TCP slows the switch down.
const BACKLOG_MAX: usize = 256;
/// Packet-ins give way to other events when less than this of the controller's queue is free.
const PACKET_IN_RESERVE: usize = EVENTS_MAX / 4;
/// A peer that takes no byte for so long does not read.
const WRITE_STALL_MAX: Duration = Duration::from_secs(10);
/// The longest sleep: deadlines are looked at again, in case the clock does not run as fast as the timer.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// After the last message, for the peer to take it and to close.
const LINGER: Duration = Duration::from_millis(500);

type Admission = Pin<Box<dyn Future<Output = Result<Place, CloseReason>> + Send>>;

/// Whether this connection may speak for its datapath.
enum Standing {
    /// The handshake goes on.
    Unknown,
    /// The place is asked for.
    Asking(Admission),
    Admitted(#[expect(dead_code, reason = "held for its drop")] Place),
}

struct Connection {
    stream: TcpStream,
    agent: SwitchAgent,
    shared: Arc<Shared>,
    kill: Kill,
    /// Cancelled when the whole controller stops.
    stop: CancellationToken,
    handle: SessionHandle,
    standing: Standing,
    /// Newer connections that want to know whether this one is alive, and the frame count when they asked.
    questions: Vec<(Question, u64)>,
    output: Vec<u8>,
    written: usize,
    /// Since when nothing could be written.
    stalled_since: Option<Instant>,
    dropped_packet_ins: u64,
}

/// Serves one connection until it ends.
pub(super) async fn serve(stream: TcpStream, peer: String, shared: Arc<Shared>, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        // A peer that has already gone, as Mininet's probe does.
        tracing::debug!(%peer, %error, "connection gone before it began");
        return;
    }
    let kill = Kill::new(stop.child_token());
    let (handle, queues) = SessionHandle::new(kill.clone());
    let settings = &shared.settings;
    let agent = SwitchAgent::new(settings.agent, settings.mapping, peer, settings.clock.now());
    let connection = Connection {
        stream,
        agent,
        shared,
        kill,
        stop,
        handle,
        standing: Standing::Unknown,
        questions: Vec::new(),
        output: Vec::new(),
        written: 0,
        stalled_since: None,
        dropped_packet_ins: 0,
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
    Readable,
    Writable,
    Timer,
}

impl Connection {
    async fn run(mut self, mut queues: Queues) {
        let mut buffer = vec![0; READ_BYTES];
        while self.agent.closed().is_none() {
            self.refill();
            self.keep_time(&mut buffer);
            self.answer_questions();
            self.ask_admission();
            if self.agent.closed().is_some() {
                break;
            }
            match self.wake(&mut queues).await {
                Wake::Kill => {
                    let reason = self.kill.reason();
                    self.agent.close(reason, self.now());
                }
                Wake::Delivered | Wake::Timer => {}
                Wake::Command(command) => self.agent.command(command, self.now()),
                Wake::Question(question) => {
                    self.agent.ask_echo(self.now());
                    self.questions.push((question, self.agent.counters().frames_in));
                }
                Wake::Admission(Ok(place)) => self.standing = Standing::Admitted(place),
                Wake::Admission(Err(reason)) => {
                    self.standing = Standing::Unknown;
                    self.agent.close(reason, self.now());
                }
                Wake::Readable => self.read(&mut buffer),
                Wake::Writable => self.write(),
            }
        }
        self.finish().await;
    }

    async fn wake(&mut self, queues: &mut Queues) -> Wake {
        let pause = self.pause();
        let deliverable = self.deliverable();
        let (wants_read, wants_write) = (self.wants_read(), self.written < self.output.len());
        let Self { stream, agent, shared, kill, standing, dropped_packet_ins, .. } = self;
        let admission = async {
            match standing {
                Standing::Asking(admission) => admission.await,
                Standing::Unknown | Standing::Admitted(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = kill.token.cancelled() => Wake::Kill,
            permit = shared.events.reserve(), if deliverable => {
                let Some(event) = agent.poll_event() else { return Wake::Delivered };
                match permit {
                    Ok(permit) if shared.events.capacity() >= PACKET_IN_RESERVE || !matches!(event, Event::PacketIn { .. }) => {
                        permit.send(event);
                    }
                    Ok(_) => *dropped_packet_ins += 1,
                    // Nobody wants events any more: the controller is on its way out.
                    Err(_) => {}
                }
                Wake::Delivered
            }
            Some(command) = queues.commands.recv() => Wake::Command(command),
            Some(question) = queues.questions.recv() => Wake::Question(question),
            admitted = admission => Wake::Admission(admitted),
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
    fn keep_time(&mut self, buffer: &mut [u8]) {
        if self.stalled_since.is_some_and(|since| since.elapsed() >= WRITE_STALL_MAX) {
            let bytes = self.output.len() - self.written;
            return self.agent.close(CloseReason::NotReading { bytes }, self.now());
        }
        let due = |agent: &SwitchAgent, now| agent.next_deadline().is_some_and(|deadline| now >= deadline);
        if self.wants_read() && due(&self.agent, self.now()) {
            self.read(buffer);
            self.agent.tick(self.now());
        }
    }

    fn read(&mut self, buffer: &mut [u8]) {
        match self.stream.try_read(buffer) {
            Ok(0) => self.agent.close(CloseReason::Transport("the peer closed the connection".into()), self.now()),
            Ok(count) => self.agent.receive(&buffer[..count], self.now()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.agent.close(CloseReason::Transport(error.to_string()), self.now()),
        }
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

    /// The first event of a session says which datapath it is: before it goes out, the place must be ours.
    fn ask_admission(&mut self) {
        if let (Standing::Unknown, Some(Event::SwitchUp { datapath, peer, .. })) =
            (&self.standing, self.agent.peek_event())
        {
            let (datapath, peer): (DatapathId, String) = (*datapath, peer.clone());
            let admission = Arc::clone(&self.shared).admit(datapath, self.handle.clone(), peer);
            self.standing = Standing::Asking(Box::pin(admission));
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
        // Frees the place.
        self.standing = Standing::Unknown;
        let mut last = self.output.split_off(self.written);
        last.extend(self.agent.poll_output(self.now()).unwrap_or_default());
        // The peer may be gone; then there is nobody to tell.
        let _ = timeout(LINGER, linger(&mut self.stream, &last)).await;
    }

    fn log_end(&self) {
        let Some(reason) = self.agent.closed() else { return };
        let (peer, counters, dropped_packet_ins) = (self.agent.peer(), self.agent.counters(), self.dropped_packet_ins);
        match self.agent.datapath() {
            Some(datapath) => tracing::info!(%datapath, peer, %reason, ?counters, dropped_packet_ins, "session ended"),
            // Probes that connect and go away again, as Mininet's do, are not worth a line.
            None if counters.frames_in == 0 => tracing::debug!(peer, %reason, "connection ended before a word"),
            None => tracing::warn!(peer, %reason, ?counters, phase = ?Phase::Hello, "handshake failed"),
        }
    }
}

/// Writes the last bytes and waits for the peer's end. Closing with unread bytes would reset the connection, and the
/// error text that says why would be lost.
async fn linger(stream: &mut TcpStream, last: &[u8]) -> io::Result<()> {
    stream.write_all(last).await?;
    stream.shutdown().await?;
    let mut sink = [0; 4_096];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}
