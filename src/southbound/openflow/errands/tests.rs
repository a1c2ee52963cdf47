//! Errands against a session whose switch says what each test wants.

use super::*;
use crate::plan::{OutsidePlan, RolePlan};
use crate::southbound::openflow::pipeline;
use crate::southbound::openflow::vocabulary::{Answer, SessionEvent, SessionSettings};
use crate::wire::openflow::{
    ErrorMessage, Features, FlowMod, FlowModCommand, FlowStats, FlowStatsRequest, Frame, Hello, Match, MultipartReply,
    MultipartRequestBody, NO_BUFFER, SwitchDescription, group, port,
};

const DATAPATH: DatapathId = DatapathId(0x51);
const ALICE: NodeIndex = NodeIndex(1);
const BOB: NodeIndex = NodeIndex(2);
const T0: Timestamp = Timestamp::from_secs(1_000);

fn connection(client_port: u16) -> Connection {
    Connection {
        client: [10, 0, 0, 1].into(),
        server: [10, 0, 0, 2].into(),
        client_port,
        server_port: 80,
        protocol: 6,
        established: true,
        closing: false,
        copy: true,
        fleeting: false,
    }
}

/// One flow a connection; those of port 0 are none that a table could hold.
fn mapping() -> Mapping {
    Mapping {
        connections_request: |plan| {
            let all = FlowStatsRequest {
                table_id: 9,
                out_port: port::ANY,
                out_group: group::ANY,
                cookie: 0,
                cookie_mask: 0,
                matching: Match::any(),
            };
            (plan.index == NodeIndex(7)).then_some(MultipartRequestBody::Flow(all))
        },
        connections: |_, _, flows| flows.iter().map(|flow| connection(flow.priority)).collect(),
        write_connection: |_, _, connection, add| {
            (connection.client_port != 0).then(|| FlowMod {
                cookie: 0,
                cookie_mask: 0,
                table_id: 9,
                command: if add { FlowModCommand::Add } else { FlowModCommand::DeleteStrict },
                idle_timeout: 0,
                hard_timeout: 0,
                priority: connection.client_port,
                buffer_id: NO_BUFFER,
                out_port: port::ANY,
                out_group: group::ANY,
                flags: 0,
                matching: Match::any(),
                instructions: Vec::new(),
            })
        },
        ..pipeline::MAPPING
    }
}

struct Bench {
    session: Session,
    errands: Errands,
    plan: Option<Arc<DatapathPlan>>,
    now: Timestamp,
}

impl Bench {
    fn new(index: u16) -> Self {
        let plan = DatapathPlan {
            index: NodeIndex(index),
            edge_ports: Vec::new(),
            mirror_ports: Vec::new(),
            gateways: Vec::new(),
            attached: Vec::new(),
            next_hops: std::collections::BTreeMap::new(),
            role: RolePlan::Outside(OutsidePlan { indirection: std::collections::BTreeMap::new() }),
        };
        let mut bench = Self {
            session: Session::new(SessionSettings::default(), T0),
            errands: Errands::new(mapping()),
            plan: Some(Arc::new(plan)),
            now: T0,
        };
        bench.say(0, Message::Hello(Hello { versions: Some(0b1_0000) }));
        let features = Features {
            datapath_id: DATAPATH.0,
            n_buffers: 0,
            n_tables: 254,
            auxiliary_id: 0,
            capabilities: 0,
            reserved: 0,
        };
        bench.say(0, Message::FeaturesReply(features));
        for (xid, message) in bench.sent() {
            let Message::MultipartRequest(asked) = message else { continue };
            let body = match asked.body {
                MultipartRequestBody::Description => MultipartReplyBody::Description(SwitchDescription::default()),
                _ => MultipartReplyBody::PortDescription(Vec::new()),
            };
            bench.say(xid, Message::MultipartReply(MultipartReply { more: false, body }));
        }
        bench.sent();
        bench
    }

    /// What the switch says, through the session to the errands.
    fn say(&mut self, xid: u32, message: Message) {
        let frame = Frame { version: 4, xid, message }.encode().expect("a sound frame");
        self.session.receive(&frame, self.now);
        while let Some(event) = self.session.poll_event() {
            let (plan, session, now) = (self.plan.as_ref(), &mut self.session, self.now);
            match event {
                SessionEvent::Answered { xid, owner: Owner::Connections, answer } => {
                    let body = if let Answer::Multipart(body) = &answer { Some(body) } else { None };
                    self.errands.answered(xid, body, plan, session, now);
                }
                SessionEvent::Failed { xid, owner: Owner::Connections, error } => {
                    self.errands.failed(xid, &error.to_string(), plan, session, now);
                }
                _ => {}
            }
        }
    }

    fn refuse(&mut self, xid: u32) {
        self.say(xid, Message::Error(ErrorMessage { error_type: 5, code: 1, data: vec![0; 64] }));
    }

    /// What was sent about connections and is not read yet.
    fn sent(&mut self) -> Vec<(u32, Message)> {
        let bytes = self.session.poll_output().unwrap_or_default();
        let mut rest = &bytes[..];
        let mut sent = Vec::new();
        while !rest.is_empty() {
            let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            let frame = Frame::decode(&rest[..length]).expect("what the session sends is sound");
            sent.push((frame.xid, frame.message));
            rest = &rest[length..];
        }
        sent
    }

    fn ask(&mut self, command: Command) {
        self.errands.command(command, self.plan.as_ref(), &mut self.session, self.now);
    }

    fn read(&mut self, owner: NodeIndex) {
        self.ask(Command::ReadConnections { datapath: DATAPATH, owner });
    }

    fn write(&mut self, owner: NodeIndex, ports: impl Iterator<Item = u16>) {
        let add = ports.map(connection).collect();
        self.ask(Command::WriteConnections { datapath: DATAPATH, owner, add, remove: Vec::new() });
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.errands.tick(self.plan.as_ref(), &mut self.session, self.now);
    }

    fn told(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.errands.poll_event()).collect()
    }
}

fn failure(owner: NodeIndex, error: &str) -> Event {
    Event::ConnectionsFailed { datapath: DATAPATH, owner, error: error.to_owned() }
}

fn owners_failed(events: &[Event]) -> Vec<NodeIndex> {
    let failed = |event: &Event| match event {
        Event::ConnectionsFailed { owner, .. } => *owner,
        other => panic!("expected failures alone, came {other:?}"),
    };
    events.iter().map(failed).collect()
}

fn written(owner: NodeIndex, added: u64) -> Event {
    Event::ConnectionsWritten { datapath: DATAPATH, owner, added, removed: 0 }
}

#[test]
fn errands_go_one_after_the_other_in_chunks() {
    let mut bench = Bench::new(7);
    // One of them has no form as a flow, and is not counted.
    bench.write(ALICE, 0..300);
    bench.read(BOB);
    let first = bench.sent();
    assert_eq!((first.len(), &first[255].1), (256, &Message::BarrierRequest));
    bench.say(first[255].0, Message::BarrierReply);
    let second = bench.sent();
    assert_eq!((second.len(), bench.told()), (45, Vec::new()));
    bench.say(second[44].0, Message::BarrierReply);
    assert_eq!(bench.told(), [written(ALICE, 299)]);
    let [(xid, Message::MultipartRequest(_))] = bench.sent()[..] else { panic!("expected the reading") };
    let flow = FlowStats { priority: 33, ..flow_stats() };
    let body = MultipartReplyBody::Flow(vec![flow]);
    bench.say(xid, Message::MultipartReply(MultipartReply { more: false, body }));
    let connections = vec![connection(33)];
    assert_eq!(bench.told(), [Event::Connections { datapath: DATAPATH, owner: BOB, connections }]);
    assert_eq!(bench.errands.next_deadline(), None);
}

fn flow_stats() -> FlowStats {
    FlowStats {
        table_id: 9,
        duration_sec: 0,
        duration_nsec: 0,
        priority: 1,
        idle_timeout: 0,
        hard_timeout: 0,
        flags: 0,
        cookie: 0,
        packet_count: 0,
        byte_count: 0,
        matching: Match::any(),
        instructions: Vec::new(),
    }
}

/// Every message of a chunk may be refused, one after the other: the first error ends the errand, the others are not the
/// next one's.
#[test]
fn a_late_error_of_an_earlier_errand_ends_no_other() {
    let mut bench = Bench::new(7);
    bench.write(ALICE, 1..4);
    bench.write(BOB, 11..13);
    let alice = bench.sent();
    bench.refuse(alice[0].0);
    assert_eq!(owners_failed(&bench.told()), [ALICE]);
    // The next begins at once.
    let bob = bench.sent();
    assert_eq!(bob.len(), 3);
    bench.refuse(alice[1].0);
    bench.refuse(alice[2].0);
    bench.say(alice[3].0, Message::BarrierReply);
    assert_eq!(bench.told(), [], "all of these are of the errand that is over");
    bench.say(bob[2].0, Message::BarrierReply);
    assert_eq!(bench.told(), [written(BOB, 2)]);

    // An error in the midst of the running one is its own, and so is one of a chunk before.
    bench.write(ALICE, 1..3);
    let alice = bench.sent();
    bench.refuse(alice[1].0);
    assert_eq!(owners_failed(&bench.told()), [ALICE]);
    bench.write(BOB, 1..300);
    let bob = bench.sent();
    bench.say(bob[256].0, Message::BarrierReply);
    bench.sent();
    let (plan, session, now) = (bench.plan.as_ref(), &mut bench.session, bench.now);
    bench.errands.failed(bob[3].0, "refused late", plan, session, now);
    assert_eq!(bench.told(), [failure(BOB, "refused late")]);
}

#[test]
fn what_is_not_answered_is_given_up_and_an_answer_after_that_is_nobodys() {
    let mut bench = Bench::new(7);
    bench.read(ALICE);
    bench.read(BOB);
    let [(late, _)] = bench.sent()[..] else { panic!("expected one request") };
    bench.pass(PATIENCE - Duration::from_millis(1));
    assert_eq!(bench.told(), []);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.told(), [failure(ALICE, "the switch did not answer in time")]);
    let [(xid, _)] = bench.sent()[..] else { panic!("expected one request") };
    let nothing =
        || Message::MultipartReply(MultipartReply { more: false, body: MultipartReplyBody::Flow(Vec::new()) });
    bench.say(late, nothing());
    bench.refuse(late);
    assert_eq!(bench.told(), []);
    bench.say(xid, nothing());
    assert_eq!(bench.told(), [Event::Connections { datapath: DATAPATH, owner: BOB, connections: Vec::new() }]);
}

#[test]
fn what_cannot_be_done_is_told_at_once() {
    let mut bench = Bench::new(7);
    bench.ask(Command::SweepCopies { datapath: DATAPATH, owner: ALICE, purge: true });
    assert_eq!(bench.told(), [failure(ALICE, "an OpenFlow switch does not sweep")]);
    for _ in 0..=WAITING_MAX {
        bench.read(ALICE);
    }
    assert_eq!(bench.told(), []);
    bench.read(BOB);
    assert_eq!(bench.told(), [failure(BOB, "too many errands wait for this switch")]);
    let mut holds_none = Bench::new(8);
    holds_none.read(ALICE);
    assert_eq!(holds_none.told(), [failure(ALICE, "the switch holds no connections")]);
    assert_eq!(holds_none.sent(), []);
}

/// Numbers of messages wrap around.
#[test]
fn messages_are_told_apart_across_the_end_of_the_numbers() {
    let errand = Errand::Read { owner: ALICE };
    let running = Running { errand, first: u32::MAX - 1, awaited: 2, deadline: T0 };
    let theirs: Vec<u32> = [u32::MAX - 1, u32::MAX, 1, 2].into_iter().filter(|xid| running.has_sent(*xid)).collect();
    assert_eq!(theirs.len(), 4);
    assert!(!running.has_sent(u32::MAX - 2) && !running.has_sent(3));
}
