//! One session's task: moves messages, calls, events and commands between a gRPC channel, the controller and a [`P4Session`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use super::device::Device;
use super::driver::{COMMANDS_MAX, Handle, Shared};
use super::session::{OUTPUT_MAX, P4Session};
use super::vocabulary::{Answer, Call, CallError, CallId, P4CloseReason};
use crate::southbound::gate::Pass;
use crate::southbound::{Command, EVENTS_MAX, Event};
use crate::types::Timestamp;
use crate::wire::p4runtime::status::{DetailsError, update_errors};
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::p4_runtime_client::P4RuntimeClient;

/// For a TCP connection and HTTP/2 on it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pings on a connection that is silent otherwise. Servers made with gRPC's C++ library bear one in five minutes, but for
/// connections on which they have something to answer: echoes come more often than these.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// A switch may send so much of an answer to a read before it is taken.
const WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Longest message, and longest answer to a read in all its parts.
const MESSAGE_BYTES_MAX: usize = 32 << 20;
const READ_BYTES_MAX: usize = 64 << 20;
/// Messages between the session and HTTP/2; the rest waits in the session, which knows what may be dropped.
const STREAM_QUEUE: usize = 16;
/// A switch that takes no message of the stream for so long does not read.
const WRITE_STALL_MAX: Duration = Duration::from_secs(10);
/// With so many events waiting for the controller the stream is left alone, so that HTTP/2 slows the switch down.
const BACKLOG_MAX: usize = 256;
/// With so many, commands wait too.
const BACKLOG_COMMANDS_MAX: usize = 4 * BACKLOG_MAX;
/// Packet-ins, and what comes again anyway, give way to other events when less than this of the controller's queue is free.
const PACKET_IN_RESERVE: usize = EVENTS_MAX / 4;
/// Commands taken before the stream's turn comes again.
const COMMANDS_AT_ONCE: usize = 64;
/// The longest sleep: deadlines are looked at again, in case the clock does not run as fast as the timer.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// A session has its turn to read or to install for so long; then it goes on without keeping others waiting.
const TURN_MAX: Duration = Duration::from_secs(10);
/// Characters of a switch's error message that are kept.
const MESSAGE_CHARS_MAX: usize = 300;

type Client = P4RuntimeClient<Channel>;
type Called = Pin<Box<dyn Future<Output = (CallId, Result<Answer, CallError>)> + Send>>;
type Opening = Pin<Box<dyn Future<Output = Result<Streaming<v1::StreamMessageResponse>, Status>> + Send>>;

/// What became of a session.
pub(super) struct Served {
    pub(super) reason: P4CloseReason,
    pub(super) came_up: bool,
}

/// What the switch sends.
enum Inbound {
    /// Some switches open their side only after the first message.
    Opening(Opening),
    Open(Box<Streaming<v1::StreamMessageResponse>>),
}

/// Whether it is this session's turn to do what takes long.
enum Turn {
    No,
    Asking(Pin<Box<dyn Future<Output = Pass> + Send>>),
    Yes { since: Instant, _pass: Pass },
}

struct Connection<'a> {
    session: P4Session,
    client: Client,
    inbound: Inbound,
    outbound: mpsc::Sender<v1::StreamMessageRequest>,
    calls: FuturesUnordered<Called>,
    commands: &'a mut mpsc::Receiver<Command>,
    handle: &'a Handle,
    shared: &'a Arc<Shared>,
    kill: CancellationToken,
    turn: Turn,
    came_up: bool,
    reconnects: u64,
    dropped_packet_ins: u64,
    /// Since when no message could be sent.
    stalled_since: Option<Instant>,
}

/// What woke the task.
enum Wake {
    Kill,
    Delivered,
    Command(Command),
    Opened(Result<Streaming<v1::StreamMessageResponse>, Status>),
    Message(Result<Option<v1::StreamMessageResponse>, Status>),
    Sent,
    Called(CallId, Result<Answer, CallError>),
    Turn(Pass),
    Timer,
}

/// Dials a switch once and serves the session until it ends.
pub(super) async fn serve(
    device: &Device,
    commands: &mut mpsc::Receiver<Command>,
    handle: &Handle,
    shared: &Arc<Shared>,
    kill: CancellationToken,
    reconnects: u64,
) -> Served {
    let channel = tokio::select! {
        () = kill.cancelled() => Err("this controller stops".to_owned()),
        channel = connect(&device.address) => channel,
    };
    let channel = match channel {
        Ok(channel) => channel,
        Err(why) => return Served { reason: P4CloseReason::Unreachable(why), came_up: false },
    };
    let client = Client::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let settings = &shared.settings;
    let (outbound, queue) = mpsc::channel(STREAM_QUEUE);
    let mut opener = client.clone();
    let opening = async move {
        let stream = opener.stream_channel(ReceiverStream::new(queue)).await?;
        Ok(stream.into_inner())
    };
    let now = settings.clock.now();
    let mut session =
        P4Session::new(settings.session, device.clone(), settings.election_id, settings.role.clone(), now);
    session.take_turns();
    let connection = Connection {
        session,
        client,
        inbound: Inbound::Opening(Box::pin(opening)),
        outbound,
        calls: FuturesUnordered::new(),
        commands,
        handle,
        shared,
        kill,
        turn: Turn::No,
        came_up: false,
        reconnects,
        dropped_packet_ins: 0,
        stalled_since: None,
    };
    connection.run().await
}

async fn connect(address: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| cause(&error))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    match timeout(2 * CONNECT_TIMEOUT, endpoint.connect()).await {
        Ok(connected) => connected.map_err(|error| cause(&error)),
        Err(_) => Err(format!("no connection within {:?}", 2 * CONNECT_TIMEOUT)),
    }
}

/// The innermost of an error's causes, which is the one that says something.
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}

impl Connection<'_> {
    async fn run(mut self) -> Served {
        while self.session.closed().is_none() {
            self.make_calls();
            self.keep_time();
            self.take_turn();
            if self.session.closed().is_some() {
                break;
            }
            // A switch that always has something to say must not keep the others of this thread waiting.
            tokio::task::consume_budget().await;
            match self.wake().await {
                Wake::Kill => {
                    let why = if self.shared.stop.is_cancelled() {
                        "this controller stops".to_owned()
                    } else {
                        format!("expected at most {COMMANDS_MAX} commands waiting: the session does not keep up")
                    };
                    self.session.close(P4CloseReason::Other(why));
                }
                Wake::Delivered | Wake::Timer => {}
                Wake::Sent => self.stalled_since = None,
                Wake::Command(command) => {
                    self.session.command(command, self.now());
                    for _ in 1..COMMANDS_AT_ONCE {
                        let Ok(command) = self.commands.try_recv() else { break };
                        self.session.command(command, self.now());
                    }
                }
                Wake::Opened(Ok(stream)) => self.inbound = Inbound::Open(Box::new(stream)),
                Wake::Message(Ok(Some(message))) => self.session.receive(message, self.now()),
                Wake::Message(Ok(None)) => {
                    self.session.stream_ended(&CallError::new(Code::Ok, "the switch closed it"));
                }
                Wake::Opened(Err(status)) | Wake::Message(Err(status)) => {
                    self.session.stream_ended(&call_error(&status));
                }
                Wake::Called(id, answer) => self.session.answered(id, answer, self.now()),
                Wake::Turn(pass) => {
                    self.turn = Turn::Yes { since: Instant::now(), _pass: pass };
                    self.session.enter(self.now());
                }
            }
        }
        self.finish().await
    }

    async fn wake(&mut self) -> Wake {
        let pause = self.pause();
        let backlog = self.session.backlog();
        let wants_read = backlog < BACKLOG_MAX && self.session.output_len() < OUTPUT_MAX;
        let (deliverable, sendable) = (backlog > 0, self.session.output_len() > 0);
        let Self { session, inbound, outbound, calls, commands, handle, shared, kill, turn, .. } = self;
        let inbound = async {
            match inbound {
                Inbound::Opening(opening) => Wake::Opened(opening.await),
                Inbound::Open(stream) if wants_read => Wake::Message(stream.message().await),
                Inbound::Open(_) => std::future::pending().await,
            }
        };
        let entered = async {
            match turn {
                Turn::Asking(entered) => entered.await,
                Turn::No | Turn::Yes { .. } => std::future::pending().await,
            }
        };
        tokio::select! {
            () = kill.cancelled() => Wake::Kill,
            permit = shared.events.reserve(), if deliverable => {
                let Some(mut event) = session.poll_event() else { return Wake::Delivered };
                if let Event::SessionStatus { status, .. } = &mut event {
                    (status.dropped_packet_ins, status.reconnects) = (self.dropped_packet_ins, self.reconnects);
                }
                if matches!(event, Event::SwitchUp { .. }) {
                    self.came_up = true;
                    handle.up.store(true, Ordering::Release);
                }
                let room = shared.events.capacity() >= PACKET_IN_RESERVE;
                match permit {
                    Ok(permit) if room || !gives_way(&event) => permit.send(event),
                    Ok(_) => self.dropped_packet_ins += u64::from(matches!(event, Event::PacketIn { .. })),
                    // Nobody wants events any more: the controller is on its way out.
                    Err(_) => {}
                }
                Wake::Delivered
            }
            Some(command) = commands.recv(), if backlog < BACKLOG_COMMANDS_MAX => Wake::Command(command),
            permit = outbound.reserve(), if sendable => {
                if let (Ok(permit), Some(message)) = (permit, session.poll_message()) {
                    permit.send(message);
                }
                Wake::Sent
            }
            woken = inbound => woken,
            Some((id, answer)) = calls.next(), if !calls.is_empty() => Wake::Called(id, answer),
            pass = entered => Wake::Turn(pass),
            () = sleep(pause) => Wake::Timer,
        }
    }

    fn now(&self) -> Timestamp {
        self.shared.settings.clock.now()
    }

    /// How long until something is due.
    fn pause(&self) -> Duration {
        let due = self.session.next_deadline().map(|at| at.since(self.now()));
        let stall = self.stalled_since.map(|since| WRITE_STALL_MAX.saturating_sub(since.elapsed()));
        [due, stall].into_iter().flatten().fold(SLEEP_MAX, Duration::min)
    }

    fn make_calls(&mut self) {
        while let Some((id, call, within)) = self.session.poll_call() {
            let client = self.client.clone();
            self.calls.push(Box::pin(async move {
                let answer = timeout(within, perform(client, call)).await;
                let late = |_| CallError::new(Code::DeadlineExceeded, format!("no answer within {within:?}"));
                (id, answer.map_err(late).and_then(|answer| answer))
            }));
        }
    }

    fn keep_time(&mut self) {
        if self.session.output_len() == 0 {
            self.stalled_since = None;
        } else if self.stalled_since.get_or_insert_with(Instant::now).elapsed() >= WRITE_STALL_MAX {
            let why = format!("the switch takes no messages: {} wait to be sent", self.session.output_len());
            return self.session.close(P4CloseReason::Other(why));
        }
        let now = self.now();
        if self.session.next_deadline().is_some_and(|deadline| now >= deadline) {
            self.session.tick(now);
        }
    }

    /// Asks for a turn where the session needs one, and gives it back when it is done or has had it for too long.
    fn take_turn(&mut self) {
        match &self.turn {
            Turn::No if self.session.wants_turn() => {
                let entered = Arc::clone(&self.shared.gate).enter(self.session.datapath());
                self.turn = Turn::Asking(Box::pin(entered));
            }
            Turn::Yes { since, .. } if !self.session.needs_turn() || since.elapsed() >= TURN_MAX => {
                self.turn = Turn::No
            }
            Turn::No | Turn::Asking(_) | Turn::Yes { .. } => {}
        }
    }

    /// The controller learns the end before the switch is dialled again.
    async fn finish(mut self) -> Served {
        self.handle.up.store(false, Ordering::Release);
        let reason = self.session.closed().cloned().unwrap_or(P4CloseReason::Other("it ended".into()));
        if self.came_up {
            let (datapath, counters) = (self.session.datapath(), self.session.counters());
            tracing::info!(
                %datapath, %reason, bytes_in = counters.bytes_in, bytes_out = counters.bytes_out,
                malformed = counters.malformed, errors_in = counters.errors_in, late = counters.late_answers,
                dropped_packet_ins = self.dropped_packet_ins, reconnects = self.reconnects, "session ended"
            );
        }
        while let Some(event) = self.session.poll_event() {
            // Nobody was told of a session that ended before its first event was taken.
            self.came_up |= matches!(event, Event::SwitchUp { .. });
            tokio::select! {
                biased;
                // Whoever stops everything may not be reading any more.
                () = self.shared.stop.cancelled() => { let _ = self.shared.events.try_send(event); }
                _ = self.shared.events.send(event.clone()) => {}
            }
        }
        Served { reason, came_up: self.came_up }
    }
}

/// Events that give way when the controller is behind: lost packets are sent again by those who miss them, and the next
/// echo tells the rest.
fn gives_way(event: &Event) -> bool {
    matches!(event, Event::PacketIn { .. } | Event::RoundTrip { .. } | Event::SessionStatus { .. })
}

async fn perform(mut client: Client, call: Call) -> Result<Answer, CallError> {
    let answer = match call {
        Call::Capabilities(request) => {
            client.capabilities(request).await.map(|answer| Answer::Capabilities(answer.into_inner()))
        }
        Call::GetPipeline(request) => {
            let answer = client.get_forwarding_pipeline_config(request).await;
            answer.map(|answer| Answer::Pipeline(Box::new(answer.into_inner())))
        }
        Call::SetPipeline(request) => {
            client.set_forwarding_pipeline_config(*request).await.map(|_| Answer::PipelineSet)
        }
        Call::Read(request) => match client.read(request).await {
            Ok(parts) => return gather(parts.into_inner()).await,
            Err(status) => Err(status),
        },
        Call::Write(request) => {
            let updates = request.updates.len();
            return match client.write(request).await {
                Ok(_) => Ok(Answer::Written),
                Err(status) => Err(write_error(&status, updates)),
            };
        }
    };
    answer.map_err(|status| call_error(&status))
}

/// All parts of an answer to a read.
async fn gather(mut parts: Streaming<v1::ReadResponse>) -> Result<Answer, CallError> {
    let mut entities = Vec::new();
    let mut bytes = 0;
    while let Some(part) = parts.message().await.map_err(|status| call_error(&status))? {
        bytes += part.encoded_len();
        if bytes > READ_BYTES_MAX {
            let why = format!("expected an answer of at most {READ_BYTES_MAX} bytes");
            return Err(CallError::new(Code::ResourceExhausted, why));
        }
        entities.extend(part.entities);
        // A long answer must not keep the other sessions of this thread waiting.
        tokio::task::consume_budget().await;
    }
    Ok(Answer::Entities(entities))
}

fn write_error(status: &Status, updates: usize) -> CallError {
    let mut error = call_error(status);
    match update_errors(status, updates) {
        Ok(errors) => error.updates = errors,
        Err(DetailsError::None) => {}
        Err(unusable) => error.message = format!("{} ({unusable})", error.message).trim_start().to_owned(),
    }
    error
}

fn call_error(status: &Status) -> CallError {
    // What this side of the connection says has a cause; it is no answer.
    let local = std::error::Error::source(status);
    let (code, message) = match local {
        Some(inner) => (Code::Unavailable, cause(inner)),
        None => (status.code(), status.message().to_owned()),
    };
    let message: String = message.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect();
    CallError::new(code, message)
}
