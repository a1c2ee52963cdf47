//! A gRPC server in front of a memory switch, on a loopback port.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use foreshadow::southbound::p4runtime::{Answer, Call, CallError};
use foreshadow::wire::p4runtime::status::of_updates;
use foreshadow::wire::p4runtime::v1::p4_runtime_server::{P4Runtime, P4RuntimeServer};
use foreshadow::wire::p4runtime::v1::stream_message_request::Update as Out;
use foreshadow::wire::p4runtime::v1::stream_message_response::Update as In;
use foreshadow::wire::p4runtime::{rpc, v1};
use futures::Stream;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};

use super::switch::MemorySwitch;
use super::wire::message;

type Parts<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service: one stream at a time is primary, and is so at once.
#[derive(Clone)]
pub(crate) struct Stub {
    pub(crate) switch: Arc<Mutex<MemorySwitch>>,
    /// What all streams are sent.
    pub(crate) tell: broadcast::Sender<v1::StreamMessageResponse>,
    /// Packets that came.
    packets: mpsc::UnboundedSender<v1::PacketOut>,
    stop: CancellationToken,
}

pub(crate) struct Running {
    pub(crate) stub: Stub,
    pub(crate) address: SocketAddr,
    pub(crate) packets: mpsc::UnboundedReceiver<v1::PacketOut>,
    server: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(switch: MemorySwitch, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free loopback port");
        let address = listener.local_addr().unwrap();
        let (packets_in, packets) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let tell = broadcast::channel(8_192).0;
        let stub = Stub { switch: Arc::new(Mutex::new(switch)), tell, packets: packets_in, stop: stop.clone() };
        let service = P4RuntimeServer::new(stub.clone());
        let server = async move {
            let incoming = TcpIncoming::from(listener);
            Server::builder().serve_with_incoming_shutdown(service, incoming, stop.cancelled()).await.unwrap();
        };
        Self { stub, address, packets, server: tokio::spawn(server) }
    }

    /// Ends all streams and connections; the switch remembers what it holds.
    pub(crate) async fn stop(self) -> MemorySwitch {
        self.stub.stop.cancel();
        self.server.await.unwrap();
        std::mem::take(&mut *self.stub.switch.lock().unwrap())
    }
}

impl Stub {
    fn call(&self, call: Call) -> Result<Answer, Status> {
        self.switch.lock().unwrap().call(call).map_err(|error: CallError| match error.updates.is_empty() {
            true => Status::new(error.code, error.message),
            false => of_updates("", &error.updates),
        })
    }

    fn elect(&self, update: v1::MasterArbitrationUpdate) -> v1::StreamMessageResponse {
        let id = update.election_id.unwrap_or_default();
        self.switch.lock().unwrap().primary = Some(u128::from(id.high) << 64 | u128::from(id.low));
        let status = Some(rpc::Status { code: Code::Ok as i32, ..Default::default() });
        message(In::Arbitration(v1::MasterArbitrationUpdate { status, ..update }))
    }
}

#[tonic::async_trait]
impl P4Runtime for Stub {
    type ReadStream = Parts<v1::ReadResponse>;
    type StreamChannelStream = ReceiverStream<Result<v1::StreamMessageResponse, Status>>;

    async fn write(&self, request: Request<v1::WriteRequest>) -> Result<Response<v1::WriteResponse>, Status> {
        self.call(Call::Write(request.into_inner()))?;
        Ok(Response::new(v1::WriteResponse {}))
    }

    async fn read(&self, request: Request<v1::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let Answer::Entities(entities) = self.call(Call::Read(request.into_inner()))? else { unreachable!() };
        // One entity a part.
        let parts = entities.into_iter().map(|entity| Ok(v1::ReadResponse { entities: vec![entity] }));
        Ok(Response::new(Box::pin(futures::stream::iter(parts.collect::<Vec<_>>()))))
    }

    async fn set_forwarding_pipeline_config(
        &self,
        request: Request<v1::SetForwardingPipelineConfigRequest>,
    ) -> Result<Response<v1::SetForwardingPipelineConfigResponse>, Status> {
        self.call(Call::SetPipeline(Box::new(request.into_inner())))?;
        Ok(Response::new(v1::SetForwardingPipelineConfigResponse {}))
    }

    async fn get_forwarding_pipeline_config(
        &self,
        request: Request<v1::GetForwardingPipelineConfigRequest>,
    ) -> Result<Response<v1::GetForwardingPipelineConfigResponse>, Status> {
        let Answer::Pipeline(answer) = self.call(Call::GetPipeline(request.into_inner()))? else { unreachable!() };
        Ok(Response::new(*answer))
    }

    async fn capabilities(
        &self,
        request: Request<v1::CapabilitiesRequest>,
    ) -> Result<Response<v1::CapabilitiesResponse>, Status> {
        let Answer::Capabilities(answer) = self.call(Call::Capabilities(request.into_inner()))? else { unreachable!() };
        Ok(Response::new(answer))
    }

    async fn stream_channel(
        &self,
        request: Request<Streaming<v1::StreamMessageRequest>>,
    ) -> Result<Response<Self::StreamChannelStream>, Status> {
        let mut inbound = request.into_inner();
        let (outbound, stream) = mpsc::channel(16);
        let stub = self.clone();
        let mut told = self.tell.subscribe();
        tokio::spawn(async move {
            loop {
                let answer = tokio::select! {
                    () = stub.stop.cancelled() => return,
                    Ok(told) = told.recv() => Some(told),
                    came = inbound.message() => match came {
                        Ok(Some(v1::StreamMessageRequest { update: Some(Out::Arbitration(update)) })) => {
                            Some(stub.elect(update))
                        }
                        Ok(Some(v1::StreamMessageRequest { update: Some(Out::Packet(packet)) })) => {
                            let _ = stub.packets.send(packet);
                            None
                        }
                        Ok(Some(_)) => None,
                        Ok(None) | Err(_) => return,
                    },
                };
                if let Some(answer) = answer
                    && outbound.send(Ok(answer)).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
