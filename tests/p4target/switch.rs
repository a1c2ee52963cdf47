//! An emulated P4Runtime switch in this process, on loopback sockets, and a client of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foreshadow::fabric::p4::server::{self, SharedTarget};
use foreshadow::fabric::p4::target::{Behaviour, Target, TargetSettings};
use foreshadow::fabric::wires::{Attachment, Wires};
use foreshadow::types::{PortNo, Timestamp};
use foreshadow::wire::p4runtime::v1::p4_runtime_client::P4RuntimeClient;
use foreshadow::wire::p4runtime::{config, text, v1};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use v1::entity::Entity as Kind;
use v1::stream_message_request::Update as Request;
pub(crate) use v1::stream_message_response::Update as Answer;
pub(crate) use v1::update::Type as Update;

pub(crate) const DEVICE: u64 = 3;
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const INFO: &str = include_str!("every.p4info.txtpb");
const PROGRAM: &str = include_str!("every.json");

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Timestamp(u64::try_from(since.as_micros()).expect("before the year 500000"))
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The switch; ports 1 and 2 lead to sockets of the test.
pub(crate) struct Switch {
    pub(crate) address: SocketAddr,
    pub(crate) far: BTreeMap<u32, UdpSocket>,
    near: BTreeMap<u32, SocketAddr>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Switch {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let (mut far, mut near, mut ports) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for number in [1, 2] {
            let socket = UdpSocket::bind(loopback()).await.unwrap();
            let free = UdpSocket::bind(loopback()).await.unwrap();
            let (listen, peer) = (free.local_addr().unwrap(), socket.local_addr().unwrap());
            near.insert(number, listen);
            far.insert(number, socket);
            drop(free);
            ports.push((PortNo(number), Attachment::Udp { listen, peer }));
        }
        let settings = TargetSettings {
            device: DEVICE,
            behaviour,
            cpu_port: PortNo(510),
            ports: ports.iter().map(|(port, _)| *port).collect(),
        };
        let wires = Wires::open(ports).await.unwrap();
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (target, frames) = SharedTarget::new(Target::new(settings), now);
        let shutdown = CancellationToken::new();
        let running = server::run(target, frames, listener, wires, shutdown.clone());
        let task = tokio::spawn(async move { running.await.unwrap() });
        Self { address, far, near, shutdown, task }
    }

    pub(crate) async fn send(&self, port: u32, frame: &[u8]) {
        self.far[&port].send_to(frame, self.near[&port]).await.unwrap();
    }

    pub(crate) async fn receive(&self, port: u32) -> Vec<u8> {
        let mut frame = vec![0; 2_048];
        let length = timeout(PATIENCE, self.far[&port].recv(&mut frame)).await.expect("a frame in time").unwrap();
        frame.truncate(length);
        frame
    }

    /// Everything ends with the switch, streams too.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.task).await.expect("the switch stops").unwrap();
    }
}

/// A controller: requests, and its stream.
pub(crate) struct Controller {
    pub(crate) client: P4RuntimeClient<Channel>,
    pub(crate) election: u64,
    requests: mpsc::Sender<v1::StreamMessageRequest>,
    answers: Streaming<v1::StreamMessageResponse>,
}

impl Controller {
    pub(crate) async fn connect(switch: &Switch, election: u64) -> Self {
        let mut client = P4RuntimeClient::connect(format!("http://{}", switch.address)).await.unwrap();
        let (requests, receiver) = mpsc::channel(16);
        let answers = client.stream_channel(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        let mut controller = Self { client, election, requests, answers };
        controller.arbitrate().await;
        controller
    }

    pub(crate) async fn arbitrate(&mut self) {
        let update = v1::MasterArbitrationUpdate {
            device_id: DEVICE,
            election_id: Some(self.election_id()),
            ..Default::default()
        };
        self.say(Request::Arbitration(update)).await;
    }

    pub(crate) async fn say(&self, update: Request) {
        self.requests.send(v1::StreamMessageRequest { update: Some(update) }).await.unwrap();
    }

    pub(crate) async fn packet_out(&self, port: u8, payload: &[u8]) {
        let metadata = |metadata_id, value: u8| v1::PacketMetadata { metadata_id, value: vec![value] };
        let packet = v1::PacketOut { payload: payload.to_vec(), metadata: vec![metadata(1, port), metadata(2, 0)] };
        self.say(Request::Packet(packet)).await;
    }

    pub(crate) async fn hear(&mut self) -> Answer {
        let answer = timeout(PATIENCE, self.answers.message()).await.expect("a message in time");
        answer.unwrap().expect("the stream goes on").update.expect("a message says something")
    }

    /// How the stream ends.
    pub(crate) async fn end(&mut self) -> Option<Status> {
        timeout(PATIENCE, self.answers.message()).await.expect("the end in time").err()
    }

    /// The code of the next notice, and the election id it carries.
    pub(crate) async fn notice(&mut self) -> (tonic::Code, u64) {
        match self.hear().await {
            Answer::Arbitration(update) => {
                let code = update.status.map_or(0, |status| status.code);
                (tonic::Code::from_i32(code), update.election_id.map_or(0, |id| id.low))
            }
            other => panic!("expected a notice, came {other:?}"),
        }
    }

    fn election_id(&self) -> v1::Uint128 {
        v1::Uint128 { high: 0, low: self.election }
    }

    pub(crate) async fn push(
        &mut self,
        action: v1::set_forwarding_pipeline_config_request::Action,
    ) -> Result<(), Status> {
        let config = v1::ForwardingPipelineConfig {
            p4info: Some(text::parse_p4info(INFO).unwrap()),
            p4_device_config: PROGRAM.as_bytes().to_vec(),
            cookie: Some(v1::forwarding_pipeline_config::Cookie { cookie: 7 }),
        };
        let request = v1::SetForwardingPipelineConfigRequest {
            device_id: DEVICE,
            election_id: Some(self.election_id()),
            action: action as i32,
            config: Some(config),
            ..Default::default()
        };
        self.client.set_forwarding_pipeline_config(request).await.map(|_| ())
    }

    pub(crate) async fn push_program(&mut self) {
        self.push(v1::set_forwarding_pipeline_config_request::Action::VerifyAndCommit).await.unwrap();
    }

    pub(crate) async fn write_as(
        &mut self,
        atomicity: v1::write_request::Atomicity,
        updates: Vec<(Update, Kind)>,
    ) -> Result<(), Status> {
        let update =
            |(kind, entity)| v1::Update { r#type: kind as i32, entity: Some(v1::Entity { entity: Some(entity) }) };
        let request = v1::WriteRequest {
            device_id: DEVICE,
            election_id: Some(self.election_id()),
            updates: updates.into_iter().map(update).collect(),
            atomicity: atomicity as i32,
            ..Default::default()
        };
        self.client.write(request).await.map(|_| ())
    }

    pub(crate) async fn write(&mut self, updates: Vec<(Update, Kind)>) -> Result<(), Status> {
        self.write_as(v1::write_request::Atomicity::ContinueOnError, updates).await
    }

    pub(crate) async fn insert(&mut self, entity: Kind) {
        self.write(vec![(Update::Insert, entity)]).await.unwrap();
    }

    pub(crate) async fn read(&mut self, entities: Vec<Kind>) -> Result<Vec<Kind>, Status> {
        let entities = entities.into_iter().map(|kind| v1::Entity { entity: Some(kind) }).collect();
        let request = v1::ReadRequest { device_id: DEVICE, entities, ..Default::default() };
        let mut answers = self.client.read(request).await?.into_inner();
        let mut found = Vec::new();
        while let Some(answer) = answers.message().await? {
            found.extend(answer.entities.into_iter().filter_map(|entity| entity.entity));
        }
        Ok(found)
    }
}

/// Ids by alias.
pub(crate) fn id(alias: &str) -> u32 {
    let info = text::parse_p4info(INFO).unwrap();
    let named = |preamble: &Option<config::Preamble>| {
        preamble.as_ref().filter(|preamble| preamble.alias == alias).map(|preamble| preamble.id)
    };
    let found = info.tables.iter().find_map(|table| named(&table.preamble));
    let found = found.or_else(|| info.actions.iter().find_map(|action| named(&action.preamble)));
    let found = found.or_else(|| info.counters.iter().find_map(|counter| named(&counter.preamble)));
    let found = found.or_else(|| info.registers.iter().find_map(|register| named(&register.preamble)));
    let found = found.or_else(|| info.digests.iter().find_map(|digest| named(&digest.preamble)));
    found.unwrap_or_else(|| panic!("nothing is called {alias}"))
}

/// An entry with one exact field and an action of at most one parameter.
pub(crate) fn entry(table: &str, key: &[u8], action: &str, parameter: &[u8]) -> v1::TableEntry {
    let exact = v1::field_match::Exact { value: key.to_vec() };
    let exact = v1::field_match::FieldMatchType::Exact(exact);
    let params = match parameter {
        [] => Vec::new(),
        value => vec![v1::action::Param { param_id: 1, value: value.to_vec() }],
    };
    let action = v1::table_action::Type::Action(v1::Action { action_id: id(action), params });
    v1::TableEntry {
        table_id: id(table),
        r#match: vec![v1::FieldMatch { field_id: 1, field_match_type: Some(exact) }],
        action: Some(v1::TableAction { r#type: Some(action) }),
        ..Default::default()
    }
}

pub(crate) fn table(name: &str) -> Kind {
    Kind::TableEntry(v1::TableEntry { table_id: id(name), ..Default::default() })
}

/// An Ethernet frame of 60 bytes.
pub(crate) fn frame(source: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, source, 0x08, 0x00];
    frame.resize(60, source);
    frame
}
