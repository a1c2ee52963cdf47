//! The gRPC side of an emulated P4Runtime switch: requests of controllers in, answers and stream messages out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{self, Iter};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::target::{Effect, Refusal, StreamId, Target};
use crate::fabric::wires::{Arrival, Wires};
use crate::types::{PortNo, Timestamp};
use crate::wire::p4runtime::v1::p4_runtime_server::{P4Runtime, P4RuntimeServer};
use crate::wire::p4runtime::{status, v1};

/// Messages that wait for a controller that does not read its stream. Beyond it packet-ins, digests and notifications are
/// dropped; a notice of arbitration that does not fit ends the stream, as its controller would believe what is not so.
const STREAM_MESSAGES_MAX: usize = 4_096;
/// Frames that wait for the ports; beyond it they are dropped, as a full queue does.
const FRAMES_MAX: usize = 4_096;
/// Largest request: BMv2's bound, enough for any program.
const REQUEST_BYTES_MAX: usize = 256 << 20;
/// How often time-outs are looked at.
const TICK: Duration = Duration::from_millis(20);

type Answer = Result<v1::StreamMessageResponse, Status>;

/// What the clock says.
pub type Clock = fn() -> Timestamp;

/// A target shared by its controllers and its ports, who take turns.
#[derive(Clone, Debug)]
pub struct SharedTarget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    clock: Clock,
    frames: mpsc::Sender<(PortNo, Vec<u8>)>,
}

#[derive(Debug)]
struct State {
    target: Target,
    streams: BTreeMap<StreamId, mpsc::Sender<Answer>>,
    last_stream: u64,
}

/// Frames on their way to the ports.
#[derive(Debug)]
pub struct Frames(mpsc::Receiver<(PortNo, Vec<u8>)>);

impl SharedTarget {
    pub fn new(target: Target, clock: Clock) -> (Self, Frames) {
        let (sender, receiver) = mpsc::channel(FRAMES_MAX);
        let state = Mutex::new(State { target, streams: BTreeMap::new(), last_stream: 0 });
        (Self(Arc::new(Shared { state, clock, frames: sender })), Frames(receiver))
    }

    /// Does something with the target at the present time, then sends what came of it.
    pub fn with<T>(&self, work: impl FnOnce(&mut Target, Timestamp) -> T) -> T {
        let mut state = self.lock();
        let now = (self.0.clock)();
        let result = work(&mut state.target, now);
        self.send_out(&mut state);
        result
    }

    /// What comes in by the ports.
    pub fn take_in(&self, batch: Vec<Arrival>) {
        self.with(|target, now| {
            for arrival in batch {
                match arrival {
                    Arrival::Frame { port, bytes } => target.receive(port, &bytes, now),
                    Arrival::Link { port, up } => target.set_port(port, up),
                }
            }
        });
    }

    fn send_out(&self, state: &mut State) {
        let mut broken = Vec::new();
        for effect in state.target.take_effects() {
            match effect {
                Effect::Frame(port, bytes) => {
                    let _ = self.0.frames.try_send((port, bytes));
                }
                Effect::Say(stream, message) => {
                    let is_notice = matches!(message.update, Some(v1::stream_message_response::Update::Arbitration(_)));
                    let Some(sender) = state.streams.get(&stream) else { continue };
                    if sender.try_send(Ok(message)).is_err() && is_notice {
                        broken.push(stream);
                    }
                }
                Effect::End(stream, refusal) => {
                    if let Some(sender) = state.streams.remove(&stream) {
                        let _ = sender.try_send(Err(to_status(&refusal)));
                    }
                }
            }
        }
        for stream in broken {
            tracing::warn!(stream = stream.0, "a controller does not read its stream: it is closed");
            state.streams.remove(&stream);
        }
    }

    fn open_stream(&self) -> (StreamId, mpsc::Receiver<Answer>) {
        let (sender, receiver) = mpsc::channel(STREAM_MESSAGES_MAX);
        let mut state = self.lock();
        state.last_stream += 1;
        let stream = StreamId(state.last_stream);
        state.streams.insert(stream, sender);
        (stream, receiver)
    }

    /// A message on a stream; false once the stream is closed.
    fn hear(&self, stream: StreamId, request: &v1::StreamMessageRequest) -> bool {
        let mut state = self.lock();
        if !state.streams.contains_key(&stream) {
            return false;
        }
        let now = (self.0.clock)();
        state.target.hear(stream, request, now);
        self.send_out(&mut state);
        state.streams.contains_key(&stream)
    }

    fn close_stream(&self, stream: StreamId) {
        let mut state = self.lock();
        state.streams.remove(&stream);
        state.target.leave(stream);
        self.send_out(&mut state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in between is a bug that a test shows; the target is still memory-safe to look at.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves controllers, moves frames and lets time pass, until `shutdown`.
pub async fn run(
    target: SharedTarget,
    mut frames: Frames,
    listener: TcpListener,
    wires: Wires,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let tracker = TaskTracker::new();
    let (receiver, mut ports) = (target.clone(), tokio::task::JoinSet::new());
    wires.receive(move |batch| receiver.take_in(batch), &mut ports, &shutdown);
    let transmitting = async {
        while let Some((port, frame)) = frames.0.recv().await {
            wires.send(port, &frame).await;
        }
    };
    let ticking = async {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            target.with(|target, now| target.advance(now));
        }
    };
    let service = Service { target: target.clone(), tracker: tracker.clone(), shutdown: shutdown.clone() };
    let service = P4RuntimeServer::new(service).max_decoding_message_size(REQUEST_BYTES_MAX);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = tonic::transport::Server::builder().serve_with_incoming_shutdown(
        service,
        incoming,
        shutdown.clone().cancelled_owned(),
    );
    let outcome = tokio::select! {
        outcome = serving => outcome,
        () = transmitting => Ok(()),
        () = ticking => Ok(()),
    };
    // Also where serving failed: nothing stays behind.
    shutdown.cancel();
    tracker.close();
    tracker.wait().await;
    ports.join_all().await;
    outcome
}

#[derive(Debug)]
struct Service {
    target: SharedTarget,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

type ReadAnswers = Iter<std::vec::IntoIter<Result<v1::ReadResponse, Status>>>;

#[tonic::async_trait]
impl P4Runtime for Service {
    type ReadStream = ReadAnswers;
    type StreamChannelStream = ReceiverStream<Answer>;

    async fn write(&self, request: Request<v1::WriteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        let outcome = self.target.with(|target, now| target.write(request.get_ref(), now));
        answer(outcome.map(|()| v1::WriteResponse {}))
    }

    async fn read(&self, request: Request<v1::ReadRequest>) -> Result<Response<ReadAnswers>, Status> {
        let (messages, outcome) = self.target.with(|target, now| target.read(request.get_ref(), now));
        let mut answers: Vec<_> = messages.into_iter().map(Ok).collect();
        answers.extend(outcome.err().map(|refusal| Err(to_status(&refusal))));
        Ok(Response::new(stream::iter(answers)))
    }

    async fn set_forwarding_pipeline_config(
        &self,
        request: Request<v1::SetForwardingPipelineConfigRequest>,
    ) -> Result<Response<v1::SetForwardingPipelineConfigResponse>, Status> {
        let outcome = self.target.with(|target, now| target.set_pipeline(request.get_ref(), now));
        answer(outcome.map(|()| v1::SetForwardingPipelineConfigResponse {}))
    }

    async fn get_forwarding_pipeline_config(
        &self,
        request: Request<v1::GetForwardingPipelineConfigRequest>,
    ) -> Result<Response<v1::GetForwardingPipelineConfigResponse>, Status> {
        answer(self.target.with(|target, _| target.get_pipeline(request.get_ref())))
    }

    async fn stream_channel(
        &self,
        request: Request<Streaming<v1::StreamMessageRequest>>,
    ) -> Result<Response<ReceiverStream<Answer>>, Status> {
        let (stream, answers) = self.target.open_stream();
        let (target, shutdown) = (self.target.clone(), self.shutdown.clone());
        let mut requests = request.into_inner();
        self.tracker.spawn(async move {
            let listening = async {
                // The end of the requests, broken or not, ends the stream.
                while let Ok(Some(request)) = requests.message().await {
                    if !target.hear(stream, &request) {
                        break;
                    }
                }
            };
            shutdown.run_until_cancelled(listening).await;
            target.close_stream(stream);
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn capabilities(
        &self,
        _: Request<v1::CapabilitiesRequest>,
    ) -> Result<Response<v1::CapabilitiesResponse>, Status> {
        answer(Ok(self.target.with(|target, _| target.capabilities())))
    }
}

fn answer<T>(outcome: Result<T, Refusal>) -> Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(|refusal| to_status(&refusal))
}

fn to_status(refusal: &Refusal) -> Status {
    if refusal.details.is_empty() {
        return Status::new(refusal.code, refusal.message.clone());
    }
    status::of_updates(&refusal.message, &refusal.details)
}
