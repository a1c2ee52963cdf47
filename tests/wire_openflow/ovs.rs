//! A private Open vSwitch takes what this codec writes and reports it back; what comes equals what went, in canonical
//! form. The data path is the dummy one: no ports, no root.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use foreshadow::types::PortNo;
use foreshadow::wire::openflow::*;

use crate::{ovs_rules, skip};

/// How long anything of Open vSwitch may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Its processes end with this value.
pub(crate) struct Ovs {
    children: Vec<Child>,
    folder: tempfile::TempDir,
}

impl Drop for Ovs {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).env("OVS_RUNDIR", folder).output().expect("starts");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < PATIENCE, "{} does not appear", path.display());
        // Another program makes the file.
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Ovs {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut ovs = Self { children: Vec::new(), folder };
        let folder = ovs.folder.path().to_path_buf();
        let text = |name: &str| folder.join(name).to_str().expect("plain").to_owned();
        run(&folder, "ovsdb-tool", &["create", &text("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema"]);
        let database = format!("unix:{}", text("db.sock"));
        ovs.spawn("ovsdb-server", &[&text("conf.db"), &format!("--remote=p{database}")]);
        wait_for(&folder.join("db.sock"));
        ovs.spawn("ovs-vswitchd", &[&database, "--enable-dummy", "--disable-system"]);
        let bridge = "add-br br -- set bridge br datapath_type=dummy protocols=OpenFlow13 fail_mode=secure \
                      -- add-port br p1 -- set interface p1 type=dummy ofport_request=1";
        let vsctl = ["--db", &database, "--timeout=20"];
        run(&folder, "ovs-vsctl", &vsctl.into_iter().chain(bridge.split_whitespace()).collect::<Vec<_>>());
        wait_for(&folder.join("br.mgmt"));
        ovs
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) {
        let child = Command::new(program)
            .args(arguments)
            .args(["-vconsole:off", "--pidfile"])
            .env("OVS_RUNDIR", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        self.children.push(child);
    }

    /// A packet comes in at port 1.
    fn receive_at_port_1(&self, packet: &[u8]) {
        let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        run(self.folder.path(), "ovs-appctl", &["--timeout=20", "netdev-dummy/receive", "p1", &hex]);
    }

    pub(crate) fn connect(&self) -> Session {
        let stream = UnixStream::connect(self.folder.path().join("br.mgmt")).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("sets");
        let mut session = Session { stream, buffer: Vec::new(), xid: 0 };
        session.send(Message::Hello(Hello { versions: Some(1 << VERSION) }));
        let Message::Hello(hello) = session.receive().message else { panic!("expected HELLO first") };
        assert!(hello.versions.is_none_or(|versions| versions & 1 << VERSION != 0));
        session
    }
}

pub(crate) struct Session {
    stream: UnixStream,
    buffer: Vec<u8>,
    xid: u32,
}

impl Session {
    pub(crate) fn send(&mut self, message: Message) -> u32 {
        self.send_with(|_| message)
    }

    /// The message may have to know its transaction id.
    pub(crate) fn send_with(&mut self, message: impl FnOnce(u32) -> Message) -> u32 {
        self.xid += 1;
        let message = message(self.xid);
        let bytes = Frame::new(self.xid, message).encode().expect("encodes");
        self.stream.write_all(&bytes).expect("writes");
        self.xid
    }

    pub(crate) fn receive(&mut self) -> Frame {
        loop {
            let bytes = self.receive_bytes();
            let frame = Frame::decode(&bytes).unwrap_or_else(|error| panic!("{error}: {bytes:02x?}"));
            if !matches!(frame.message, Message::EchoRequest(_)) {
                return frame;
            }
        }
    }

    pub(crate) fn receive_bytes(&mut self) -> Vec<u8> {
        loop {
            let framing = Framing::of(&self.buffer, MESSAGE_BYTES_MAX).expect("a stream of frames");
            if let Framing::Complete(length) = framing {
                return self.buffer.drain(..length).collect();
            }
            let mut more = [0; 65_536];
            let count = self.stream.read(&mut more).expect("reads");
            assert!(count > 0, "the other side closed the connection");
            self.buffer.extend_from_slice(&more[..count]);
        }
    }

    /// Sends and waits for a barrier: what the switch refused, if anything.
    fn apply(&mut self, message: Message) -> Option<ErrorMessage> {
        let sent = self.send(message);
        let barrier = self.send(Message::BarrierRequest);
        let mut refused = None;
        loop {
            let frame = self.receive();
            match frame.message {
                Message::Error(error) if frame.xid == sent => refused = Some(error),
                Message::BarrierReply if frame.xid == barrier => return refused,
                other => panic!("unexpected {}: {other:?}", other.name()),
            }
        }
    }

    fn ask(&mut self, body: MultipartRequestBody) -> Vec<MultipartReplyBody> {
        let xid = self.send(Message::MultipartRequest(MultipartRequest::new(body)));
        let mut parts = Vec::new();
        loop {
            let frame = self.receive();
            assert_eq!(frame.xid, xid);
            let Message::MultipartReply(reply) = frame.message else { panic!("unexpected {frame:?}") };
            parts.push(reply.body);
            if !reply.more {
                return parts;
            }
        }
    }

    pub(crate) fn flows(&mut self) -> Vec<FlowStats> {
        let request = FlowStatsRequest {
            table_id: TABLE_ALL,
            out_port: port::ANY,
            out_group: group::ANY,
            cookie: 0,
            cookie_mask: 0,
            matching: Match::any(),
        };
        let parts = self.ask(MultipartRequestBody::Flow(request));
        parts
            .into_iter()
            .flat_map(|part| match part {
                MultipartReplyBody::Flow(flows) => flows,
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    }
}

pub(crate) fn start() -> Option<Ovs> {
    let programs = ["ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-appctl"];
    skip::require("ovs", skip::missing_program(&programs)).then(Ovs::start)
}

#[test]
fn ovs_reports_flows_and_groups_as_they_were_sent() {
    let Some(ovs) = start() else { return };
    let mut session = ovs.connect();
    let groups = ovs_rules::groups();
    for group in &groups {
        assert_eq!(session.apply(Message::GroupMod(group.clone())), None, "{group:?}");
    }
    let flows = ovs_rules::flows();
    let mut wrong = Vec::new();
    for flow in &flows {
        if let Some(error) = session.apply(Message::FlowMod(flow.clone())) {
            wrong.push(format!(
                "refused {}/{}: {} {:?}\n",
                error.error_type, error.code, flow.matching, flow.instructions
            ));
        }
    }
    let came = session.flows();
    for sent in &flows {
        let Some(stats) = came.iter().find(|stats| stats.cookie == sent.cookie) else { continue };
        assert_eq!((stats.table_id, stats.priority, stats.flags), (sent.table_id, sent.priority, sent.flags));
        if stats.matching.canonical() != sent.matching.canonical() {
            wrong.push(format!("match   sent {}\n        came {}\n", sent.matching, stats.matching));
        }
        let (sent, came) = (Instruction::canonical(&sent.instructions), Instruction::canonical(&stats.instructions));
        if sent != came {
            wrong.push(format!("do      sent {sent:?}\n        came {came:?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
    assert_eq!(came.len(), flows.len());

    let parts = session.ask(MultipartRequestBody::GroupDescription);
    let mut came: Vec<_> = parts
        .into_iter()
        .flat_map(|part| match part {
            MultipartReplyBody::GroupDescription(groups) => groups,
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    came.sort_by_key(|group| group.group_id);
    assert_eq!(came.len(), groups.len());
    for (sent, came) in groups.iter().zip(&came) {
        assert_eq!((sent.group_id, sent.group_type), (came.group_id, came.group_type));
        let canonical = |buckets: &[Bucket]| buckets.iter().map(Bucket::canonical).collect::<Vec<_>>();
        assert_eq!(canonical(&sent.buckets), canonical(&came.buckets));
    }
}

/// Ethernet, IPv4 and TCP headers without checksums; enough for a flow table.
fn tcp_packet(source_port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
    packet.extend_from_slice(&[0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend_from_slice(&source_port.to_be_bytes());
    packet.extend_from_slice(&[0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 100, 0, 0, 0, 0]);
    packet
}

#[test]
fn ovs_learns_up_to_the_limit_and_tells_the_packet() {
    let Some(ovs) = start() else { return };
    let mut session = ovs.connect();
    // Connections from a port become packet-ins only for a controller that asked for them.
    session.send(Message::SetConfig(SwitchConfig { flags: 0, miss_send_len: 0xffff }));
    let admitted = Subfield::bits(Field::Reg(1), 0, 1);
    let learn = LearnAction {
        idle_timeout: 60,
        hard_timeout: 0,
        priority: 100,
        cookie: 0x77,
        flags: learn_flags::SEND_FLOW_REM,
        table: 10,
        fin_idle_timeout: 1,
        fin_hard_timeout: 0,
        limit: 2,
        result: Some(admitted),
        specs: vec![
            LearnSpec::match_value(Field::EthType, 0x0800u16),
            LearnSpec::match_value(Field::IpProto, 6u8),
            LearnSpec::match_same(Field::TcpSrc),
            LearnSpec::load_value(Subfield::whole(Field::Reg(2)), 1u32),
            LearnSpec::load_value(Subfield::bits(Field::Reg(3), 0, 16), 7u16),
        ],
    };
    let mut flow = ovs_rules::flows().swap_remove(0);
    flow.table_id = 0;
    flow.matching = ovs_rules::tcp();
    flow.instructions = vec![Instruction::ApplyActions(vec![Action::Learn(Box::new(learn)), Action::controller()])];
    assert_eq!(session.apply(Message::FlowMod(flow.clone())), None);

    for (source_port, result) in [(1001, Some(1)), (1002, Some(1)), (1003, None)] {
        let packet = tcp_packet(source_port);
        ovs.receive_at_port_1(&packet);
        let Message::PacketIn(packet_in) = session.receive().message else { panic!("expected PACKET_IN") };
        assert_eq!(packet_in.data, packet);
        assert_eq!(packet_in.cookie, flow.cookie);
        assert_eq!(packet_in.matching.get(Field::InPort).map(|field| field.value), Some(1));
        // A register of zero is not reported.
        assert_eq!(packet_in.matching.get(admitted.field).map(|field| field.value), result, "{source_port}");
    }

    // A packet that the controller sends goes past the limit: it is admitted, and learned.
    session.send(Message::PacketOut(PacketOut {
        buffer_id: NO_BUFFER,
        in_port: port::LOCAL,
        actions: vec![Action::output(port::TABLE)],
        data: tcp_packet(1004),
    }));
    let Message::PacketIn(packet_in) = session.receive().message else { panic!("expected PACKET_IN") };
    assert_eq!(packet_in.matching.get(admitted.field).map(|field| field.value), Some(1));

    let learned: Vec<_> = session.flows().into_iter().filter(|stats| stats.cookie == 0x77).collect();
    assert_eq!(learned.len(), 3);
    for stats in &learned {
        assert_eq!((stats.table_id, stats.idle_timeout, stats.flags), (10, 60, flow_flags::SEND_FLOW_REM));
        let source_port = stats.matching.get(Field::TcpSrc).map(|field| field.value).expect("matched");
        let matching = ovs_rules::tcp().with(Field::TcpSrc, source_port);
        assert_eq!(stats.matching.canonical(), matching.canonical());
        let load = Action::RegLoad { target: Subfield::bits(Field::Reg(3), 0, 16), value: 7 };
        let fin = Action::FinTimeout { fin_idle_timeout: 1, fin_hard_timeout: 0 };
        let actions = vec![fin, Action::set_field(Field::Reg(2), 1u32), load];
        assert_eq!(Instruction::canonical(&stats.instructions), [Instruction::ApplyActions(actions)]);
    }

    // Deleted by cookie, they are reported as removed.
    let delete = FlowMod {
        cookie: 0x77,
        cookie_mask: u64::MAX,
        table_id: TABLE_ALL,
        command: FlowModCommand::Delete,
        matching: Match::any(),
        instructions: vec![],
        ..flow
    };
    session.send(Message::FlowMod(delete));
    for _ in 0..3 {
        let Message::FlowRemoved(removed) = session.receive().message else { panic!("expected FLOW_REMOVED") };
        assert_eq!((removed.cookie, removed.reason, removed.table_id), (0x77, removed_reason::DELETE, 10));
        assert!(learned.iter().any(|stats| stats.matching == removed.matching));
    }
}

#[test]
fn ovs_answers_every_request() {
    let Some(ovs) = start() else { return };
    let mut session = ovs.connect();
    let mut ask = |message| {
        let xid = session.send(message);
        let frame = session.receive();
        assert_eq!(frame.xid, xid);
        frame.message
    };
    assert_eq!(ask(Message::EchoRequest(vec![1, 2, 3])), Message::EchoReply(vec![1, 2, 3]));
    let Message::FeaturesReply(features) = ask(Message::FeaturesRequest) else { panic!("expected features") };
    assert_eq!((features.n_tables, features.n_buffers), (254, 0));
    let Message::GetConfigReply(_) = ask(Message::GetConfigRequest) else { panic!("expected a configuration") };
    let role = Role { role: 2, generation_id: 5 };
    assert_eq!(ask(Message::RoleRequest(role)), Message::RoleReply(role));
    let stale = Role { role: 2, generation_id: 4 };
    let Message::Error(error) = ask(Message::RoleRequest(stale)) else { panic!("expected an error") };
    assert_eq!((error.error_type, error.code), (11, 0));
    assert_eq!(Frame::decode(&error.data).map(|frame| frame.message), Ok(Message::RoleRequest(stale)));
    assert_eq!(ask(Message::BarrierRequest), Message::BarrierReply);

    for group in ovs_rules::groups() {
        assert_eq!(session.apply(Message::GroupMod(group)), None);
    }
    let one = |mut parts: Vec<MultipartReplyBody>| {
        assert_eq!(parts.len(), 1);
        parts.remove(0)
    };
    let MultipartReplyBody::Description(description) = one(session.ask(MultipartRequestBody::Description)) else {
        panic!("expected a description")
    };
    assert_eq!((description.manufacturer.as_str(), description.hardware.as_str()), ("Nicira, Inc.", "Open vSwitch"));
    let MultipartReplyBody::PortDescription(ports) = one(session.ask(MultipartRequestBody::PortDescription)) else {
        panic!("expected ports")
    };
    let mut ports = ports;
    ports.sort_by_key(|port| port.name.clone());
    assert_eq!(
        ports.iter().map(|port| (port.port_no, port.name.as_str())).collect::<Vec<_>>(),
        [(port::LOCAL, "br"), (PortNo(1), "p1")]
    );
    let MultipartReplyBody::PortStats(stats) = one(session.ask(MultipartRequestBody::PortStats(port::ANY))) else {
        panic!("expected port statistics")
    };
    let mut numbers: Vec<_> = stats.iter().map(|stats| stats.port_no).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, port::LOCAL.0]);
    let MultipartReplyBody::GroupStats(stats) = one(session.ask(MultipartRequestBody::GroupStats(group::ALL))) else {
        panic!("expected group statistics")
    };
    assert_eq!(stats.iter().find(|stats| stats.group_id == 5).map(|stats| stats.buckets.len()), Some(256));
    let request = FlowStatsRequest {
        table_id: TABLE_ALL,
        out_port: port::ANY,
        out_group: group::ANY,
        cookie: 0,
        cookie_mask: 0,
        matching: Match::any(),
    };
    let MultipartReplyBody::Aggregate(stats) = one(session.ask(MultipartRequestBody::Aggregate(request))) else {
        panic!("expected aggregate statistics")
    };
    assert_eq!(stats.flow_count, 0);
    let MultipartReplyBody::Table(tables) = one(session.ask(MultipartRequestBody::Table)) else {
        panic!("expected table statistics")
    };
    assert_eq!(tables.len(), 254);
}

/// Rules as `ovs-ofctl` spells them, and what they are here. It writes Nicira's numbers for basic fields.
fn spelled() -> Vec<(&'static str, Match, Vec<Action>)> {
    let flags = Match::any().with_masked(Field::TcpFlags, 2u16, 0x12u16);
    let tcp = ovs_rules::tcp;
    let learn = |limit, result| {
        let swapped = |a, b| LearnSpec::match_field(a, b);
        Action::Learn(Box::new(LearnAction {
            idle_timeout: 30,
            hard_timeout: 0,
            priority: 100,
            cookie: 7,
            flags: learn_flags::SEND_FLOW_REM,
            table: 10,
            fin_idle_timeout: 2,
            fin_hard_timeout: 0,
            limit,
            result,
            specs: vec![
                LearnSpec::match_value(Field::EthType, 0x0800u16),
                swapped(Field::Ipv4Src, Field::Ipv4Dst),
                LearnSpec::match_same(Field::EthSrc),
                LearnSpec::load_value(Subfield::whole(Field::Reg(2)), 1u32),
                LearnSpec::load_field(Subfield::whole(Field::EthDst), Subfield::whole(Field::EthSrc)),
            ],
        }))
    };
    let tail = "idle_timeout=30,priority=100,cookie=7,send_flow_rem,fin_idle_timeout=2,eth_type=0x800,\
                ip_src=ip_dst,eth_src,load:1->reg2,load:eth_src->eth_dst)";
    let learn_text = |head: &str| &*format!("{head}{}", tail.replace(' ', "")).leak();
    let ct = |flags, recirc_table, exec| Action::Ct(Box::new(CtAction { flags, zone: 7, recirc_table, alg: 0, exec }));
    vec![
        (
            "tcp,tcp_flags=0x002/0x012 actions=output:1",
            Match { fields: [tcp().fields, flags.fields].concat(), ..tcp() },
            vec![Action::output(PortNo(1))],
        ),
        (
            "tcp actions=load:5->reg0[0..15],resubmit(,20)",
            tcp(),
            vec![Action::RegLoad { target: Subfield::bits(Field::Reg(0), 0, 16), value: 5 }, Action::resubmit(20)],
        ),
        (
            "tcp actions=move:eth_src->eth_dst",
            tcp(),
            vec![Action::RegMove { source: Subfield::whole(Field::EthSrc), target: Subfield::whole(Field::EthDst) }],
        ),
        (
            "tcp actions=output:reg0[0..15]",
            tcp(),
            vec![Action::OutputReg { source: Subfield::bits(Field::Reg(0), 0, 16), max_len: 0xffff }],
        ),
        (learn_text("tcp actions=learn(table=10,"), tcp(), vec![learn(0, None)]),
        (
            learn_text("tcp actions=learn(table=10,limit=50,result_dst=reg1[3],"),
            tcp(),
            vec![learn(50, Some(Subfield::bits(Field::Reg(1), 3, 1)))],
        ),
        (
            "ct_state=+trk+est,tcp,ct_zone=7,ct_mark=3 actions=ct(zone=7,table=1)",
            tcp().with_masked(Field::CtState, 0x22u8, 0x22u8).with(Field::CtZone, 7u8).with(Field::CtMark, 3u8),
            vec![ct(0, 1, vec![])],
        ),
        (
            "tcp actions=ct(commit,zone=7,exec(set_field:4->ct_mark)),output:2",
            tcp(),
            vec![ct(1, 0xff, vec![Action::set_field(Field::CtMark, 4u8)]), Action::output(PortNo(2))],
        ),
        (
            "tcp actions=multipath(symmetric_l3l4+udp,50,modulo_n,256,0,reg0[0..15])",
            tcp(),
            vec![Action::Multipath(MultipathAction {
                fields: hash_fields::SYMMETRIC_L3L4_UDP,
                basis: 50,
                algorithm: 0,
                max_link: 255,
                arg: 0,
                target: Subfield::bits(Field::Reg(0), 0, 16),
            })],
        ),
        (
            "tcp actions=push:ip_src,pop:ip_dst,fin_timeout(idle_timeout=2,hard_timeout=5)",
            tcp(),
            vec![
                Action::StackPush(Subfield::whole(Field::Ipv4Src)),
                Action::StackPop(Subfield::whole(Field::Ipv4Dst)),
                Action::FinTimeout { fin_idle_timeout: 2, fin_hard_timeout: 5 },
            ],
        ),
    ]
}

#[test]
fn ovs_ofctl_writes_the_bytes_that_are_read_here() {
    if !skip::require("ovs", skip::missing_program(&["ovs-ofctl"])) {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("switch");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("binds");
    for (text, matching, actions) in spelled() {
        let mut child = Command::new("ovs-ofctl")
            .args(["-O", "OpenFlow13", "--no-names", "--timeout=20", "add-flow"])
            .arg(format!("unix:{}", path.display()))
            .arg(text)
            .spawn()
            .expect("starts");
        let (stream, _) = listener.accept().expect("connects");
        let mut session = Session { stream, buffer: Vec::new(), xid: 0 };
        session.send(Message::Hello(Hello { versions: Some(1 << VERSION) }));
        let mut seen = None;
        loop {
            let mut bytes = session.receive_bytes();
            let Frame { xid, message, .. } = Frame::decode(&bytes).expect("decodes");
            match message {
                Message::FlowMod(flow) => {
                    assert_eq!(Frame::new(xid, Message::FlowMod(flow.clone())).encode().as_ref(), Ok(&bytes), "{text}");
                    seen = Some(flow);
                }
                Message::BarrierRequest => {
                    // The answer is the question with the next message type.
                    bytes[1] += 1;
                    session.stream.write_all(&bytes).expect("writes");
                    break;
                }
                _ => {}
            }
        }
        assert!(child.wait().expect("ends").success(), "{text}");
        let seen = seen.expect("a FLOW_MOD came before the barrier");
        assert_eq!(seen.matching.canonical(), matching.canonical(), "{text}");
        let sent = Instruction::canonical(&[Instruction::ApplyActions(actions)]);
        assert_eq!(Instruction::canonical(&seen.instructions), sent, "{text}");
    }
}
