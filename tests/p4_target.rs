//! The emulated P4Runtime switch over loopback: its rules with the generated client, everything it answers beside BMv2, and
//! p4runtime-shell at it.

// Helpers of tests may fail as tests do.
#![allow(clippy::unwrap_used)]

#[path = "common/skip.rs"]
mod skip;
#[path = "p4target/switch.rs"]
mod switch;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use foreshadow::fabric::p4::target::Behaviour;
use foreshadow::wire::p4runtime::{status, v1};
use switch::{Answer, Controller, DEVICE, PATIENCE, Switch, Update, entry, frame, id, table};
use tonic::Code;
use v1::entity::Entity as Kind;
use v1::set_forwarding_pipeline_config_request::Action as Push;
use v1::stream_message_request::Update as Request;
use v1::write_request::Atomicity;

const BOTH: [Behaviour; 2] = [Behaviour::Bmv2, Behaviour::Specification];

#[tokio::test]
async fn the_higher_election_id_writes_and_the_lower_reads() {
    for behaviour in BOTH {
        let switch = Switch::start(behaviour).await;
        let mut low = Controller::connect(&switch, 1).await;
        assert_eq!(low.notice().await, (Code::Ok, 1));
        low.push_program().await;
        let first = Kind::TableEntry(entry("plain", &[1], "counted_send", &[2]));
        low.insert(first.clone()).await;

        let mut high = Controller::connect(&switch, 2).await;
        assert_eq!(high.notice().await, (Code::Ok, 2));
        assert_eq!(low.notice().await, (Code::AlreadyExists, 2));
        let second = Kind::TableEntry(entry("plain", &[2], "counted_send", &[1]));
        let refused = low.write(vec![(Update::Insert, second.clone())]).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert_eq!(low.push(Push::VerifyAndCommit).await.unwrap_err().code(), Code::PermissionDenied);
        assert_eq!(low.read(vec![table("plain")]).await.unwrap(), std::slice::from_ref(&first));
        high.insert(second.clone()).await;
        assert_eq!(low.read(vec![table("plain")]).await.unwrap(), [first, second], "the lower one sees it");

        let mut same = Controller::connect(&switch, 2).await;
        assert_eq!(same.end().await.unwrap().code(), Code::InvalidArgument);
        drop(high);
        // BMv2 has the next one take over; the specification waits for somebody with the highest id there was.
        let expected = match behaviour {
            Behaviour::Bmv2 => (Code::Ok, 1),
            Behaviour::Specification => (Code::NotFound, 2),
        };
        assert_eq!(low.notice().await, expected);
        switch.stop().await;
        assert!(low.end().await.is_none_or(|status| status.code() != Code::Ok), "streams end with the switch");
    }
}

#[tokio::test]
async fn demotion_stops_writes_at_once() {
    for behaviour in BOTH {
        let switch = Switch::start(behaviour).await;
        let mut low = Controller::connect(&switch, 1).await;
        low.notice().await;
        low.push_program().await;
        let (started, mut is_started) = tokio::sync::mpsc::channel(1);
        let writing = tokio::spawn(async move {
            let mut written = 0_u16;
            loop {
                let row = entry("aging", &(written + 1).to_be_bytes(), "NoAction", &[]);
                match low.write(vec![(Update::Insert, Kind::TableEntry(row))]).await {
                    Ok(()) => written += 1,
                    Err(status) => return (written, status.code()),
                }
                if written == 10 {
                    started.send(()).await.unwrap();
                }
            }
        });
        is_started.recv().await.unwrap();
        let mut high = Controller::connect(&switch, 2).await;
        assert_eq!(high.notice().await, (Code::Ok, 2));
        // What is there now is all that the demoted one has written, and will ever have.
        let there = high.read(vec![table("aging")]).await.unwrap().len();
        let (written, code) = writing.await.unwrap();
        assert_eq!((usize::from(written), code), (there, Code::PermissionDenied), "{behaviour:?}");
        assert_eq!(high.read(vec![table("aging")]).await.unwrap().len(), there);
        switch.stop().await;
    }
}

#[tokio::test]
async fn packets_go_both_ways_and_to_the_primary_alone() {
    let switch = Switch::start(Behaviour::Bmv2).await;
    let mut backup = Controller::connect(&switch, 1).await;
    let mut primary = Controller::connect(&switch, 2).await;
    for expected in [(Code::Ok, 1), (Code::AlreadyExists, 2)] {
        assert_eq!(backup.notice().await, expected);
    }
    primary.notice().await;
    primary.push_program().await;
    primary.insert(Kind::TableEntry(entry("plain", &[1], "counted_to_controller", &[5]))).await;
    primary.insert(Kind::TableEntry(entry("plain", &[2], "counted_send", &[1]))).await;
    backup.packet_out(1, &frame(9)).await;
    primary.packet_out(1, &frame(7)).await;
    assert_eq!(switch.receive(1).await, frame(7), "what a backup sends goes nowhere");
    switch.send(2, &frame(3)).await;
    assert_eq!(switch.receive(1).await, frame(3));
    switch.send(1, &frame(4)).await;
    let Answer::Packet(packet) = primary.hear().await else { panic!("expected a packet") };
    assert_eq!(packet.payload, frame(4));
    let metadata: Vec<_> = packet.metadata.iter().map(|one| (one.metadata_id, one.value.clone())).collect();
    assert_eq!(metadata, [(1, vec![1]), (2, vec![5])]);
    // The backup hears of nothing else until it is the primary.
    primary.election = 3;
    primary.arbitrate().await;
    backup.election = 4;
    backup.arbitrate().await;
    assert_eq!(backup.notice().await, (Code::Ok, 4));

    // Counters by wildcard: one cell for each port, and the entry's own.
    let counter = v1::CounterEntry { counter_id: id("frames"), ..Default::default() };
    let cells = backup.read(vec![Kind::CounterEntry(counter)]).await.unwrap();
    let packets = |kind: &Kind| match kind {
        Kind::CounterEntry(cell) => cell.data.unwrap().packet_count,
        Kind::DirectCounterEntry(entry) => entry.data.unwrap().packet_count,
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(cells.iter().map(packets).collect::<Vec<_>>(), [0, 1, 1, 0, 0, 0, 0, 0]);
    let plain = v1::TableEntry { table_id: id("plain"), ..Default::default() };
    let direct = Kind::DirectCounterEntry(v1::DirectCounterEntry { table_entry: Some(plain), data: None });
    let hits = backup.read(vec![direct]).await.unwrap();
    assert_eq!(hits.iter().map(packets).collect::<Vec<_>>(), [1, 1]);
    switch.stop().await;
}

#[tokio::test]
async fn idle_entries_are_told_again_and_again() {
    let switch = Switch::start(Behaviour::Specification).await;
    let mut controller = Controller::connect(&switch, 1).await;
    controller.notice().await;
    controller.push_program().await;
    let mut row = entry("aging", &[2, 0, 0, 0, 0, 3], "NoAction", &[]);
    row.idle_timeout_ns = 500_000_000;
    row.controller_metadata = 42;
    row.metadata = b"mine".to_vec();
    let written = Instant::now();
    controller.insert(Kind::TableEntry(row.clone())).await;
    row.action = None;
    for round in 1..=2 {
        let Answer::IdleTimeoutNotification(notice) = controller.hear().await else { panic!("expected a notice") };
        assert_eq!(notice.table_entry, std::slice::from_ref(&row), "round {round}");
        assert!(written.elapsed().as_millis() >= 450, "after its time, not before: {:?}", written.elapsed());
    }
    switch.stop().await;
}

#[tokio::test]
async fn digests_are_told_once_until_acknowledged() {
    let switch = Switch::start(Behaviour::Bmv2).await;
    let mut controller = Controller::connect(&switch, 1).await;
    controller.notice().await;
    controller.push_program().await;
    let config = v1::digest_entry::Config { max_timeout_ns: 0, max_list_size: 1, ack_timeout_ns: 3_600_000_000_000 };
    let digest_id = id("learned_t");
    controller.insert(Kind::DigestEntry(v1::DigestEntry { digest_id, config: Some(config) })).await;
    controller.insert(Kind::TableEntry(entry("plain", &[1], "counted_send", &[2]))).await;
    let bits = |value: &[u8]| v1::P4Data { data: Some(v1::p4_data::Data::Bitstring(value.to_vec())) };
    let message = |source: u8| {
        let members = vec![bits(&[2, 0, 0, 0, 0, source]), bits(&[1])];
        v1::P4Data { data: Some(v1::p4_data::Data::Struct(v1::P4StructLike { members })) }
    };
    let mut lists = Vec::new();
    for source in [7, 7, 8] {
        switch.send(1, &frame(source)).await;
        assert_eq!(switch.receive(2).await, frame(source));
    }
    for expected in [7, 8] {
        let Answer::Digest(list) = controller.hear().await else { panic!("expected a digest") };
        assert_eq!((list.digest_id, &list.data[..]), (digest_id, &[message(expected)][..]));
        lists.push(list.list_id);
    }
    let ack = v1::DigestListAck { digest_id, list_id: lists[0] };
    controller.say(Request::DigestAck(ack)).await;
    // A packet-out behind it says that the acknowledgement was taken.
    controller.packet_out(2, &frame(1)).await;
    switch.receive(2).await;
    switch.send(1, &frame(8)).await;
    switch.send(1, &frame(7)).await;
    let Answer::Digest(list) = controller.hear().await else { panic!("expected a digest") };
    assert_eq!(list.data, [message(7)], "8 is not acknowledged");
    switch.stop().await;
}

#[tokio::test]
async fn the_specification_goes_further_than_bmv2() {
    let switch = Switch::start(Behaviour::Specification).await;
    let mut controller = Controller::connect(&switch, 1).await;
    controller.notice().await;
    assert_eq!(controller.read(vec![table("plain")]).await.unwrap_err().code(), Code::FailedPrecondition);
    controller.push_program().await;

    // All or nothing.
    let row = |key: u8| Kind::TableEntry(entry("plain", &[key], "counted_send", &[2]));
    controller.insert(row(1)).await;
    let changed = Kind::TableEntry(entry("plain", &[1], "counted_send", &[1]));
    let batch =
        vec![(Update::Insert, row(2)), (Update::Modify, changed), (Update::Delete, row(1)), (Update::Insert, row(2))];
    for atomicity in [Atomicity::RollbackOnError, Atomicity::DataplaneAtomic] {
        let refused = controller.write_as(atomicity, batch.clone()).await.unwrap_err();
        let codes: Vec<_> = status::update_errors(&refused, 4).unwrap().iter().map(status::code).collect();
        assert_eq!(codes, [Code::Aborted, Code::Aborted, Code::Aborted, Code::AlreadyExists]);
        assert_eq!(refused.message(), "4 of 4 updates failed");
        assert_eq!(controller.read(vec![table("plain")]).await.unwrap(), [row(1)]);
    }

    // Registers can be seen: cell 0 counts frames.
    switch.send(1, &frame(1)).await;
    switch.receive(2).await;
    let register = |index| v1::RegisterEntry { register_id: id("cells"), index, data: None };
    let cells = controller.read(vec![Kind::RegisterEntry(register(None))]).await.unwrap();
    let values: Vec<_> = cells.iter().map(|cell| format!("{cell:?}").contains("Bitstring([1])")).collect();
    assert_eq!(values, [true, false, false, false]);

    // The state outlives its pipeline; a wrong request is told beside those that are right.
    controller.push(Push::ReconcileAndCommit).await.unwrap();
    let nothing = Kind::TableEntry(v1::TableEntry { table_id: 0x02ff_ffff, ..Default::default() });
    let refused = controller.read(vec![table("plain"), nothing]).await.unwrap_err();
    let codes: Vec<_> = status::update_errors(&refused, 2).unwrap().iter().map(status::code).collect();
    assert_eq!(codes, [Code::Ok, Code::NotFound]);
    assert_eq!(controller.read(vec![table("plain")]).await.unwrap(), [row(1)]);
    controller.push(Push::VerifyAndCommit).await.unwrap();
    assert_eq!(controller.read(vec![table("plain")]).await.unwrap(), []);

    // What is wrong with a packet-out is told.
    controller.say(Request::Packet(v1::PacketOut { payload: frame(1), metadata: Vec::new() })).await;
    let Answer::Error(error) = controller.hear().await else { panic!("expected an error") };
    assert_eq!((error.canonical_code, error.message.as_str()), (3, "Missing metadata in PacketOut message"));
    switch.stop().await;
}

// Peers.

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn python(script: &str, arguments: &[&str]) -> Output {
    let installed = in_repository("target/peers/bin/python3");
    let mut command = Command::new(if installed.is_file() { installed } else { "python3".into() });
    command.arg(in_repository("tests/p4target").join(script)).args(arguments).output().expect("python3 starts")
}

/// Why `package` cannot be asked, if it cannot.
fn missing(package: &str) -> Option<String> {
    let installed = in_repository("target/peers/bin/python3");
    let python = if installed.is_file() { installed } else { "python3".into() };
    let probe = Command::new(python).args(["-c", &format!("import grpc, {package}")]).output();
    let works = probe.is_ok_and(|output| output.status.success());
    (!works).then(|| format!("no python3 imports grpc and {package}"))
}

/// A switch of its own process, ended with it.
struct Process {
    child: Child,
    address: String,
    /// The file it was started with.
    _file: Option<tempfile::NamedTempFile>,
}

impl Process {
    /// The released program, on a port of its own choice.
    fn emulated() -> Self {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a temporary file");
        let text = format!("device: {DEVICE}\nlisten: '127.0.0.1:0'\nports: [{{number: 1}}, {{number: 2}}]\n");
        std::fs::write(file.path(), text).expect("writes");
        let mut child = Command::new(env!("CARGO_BIN_EXE_foreshadow"))
            .args(["switch", "--protocol", "p4runtime", "--config"])
            .arg(file.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let listening = lines.by_ref().map(|line| line.expect("text")).find_map(|line| {
            let address = line.split("listen=").nth(1)?;
            Some(address.split_whitespace().next()?.to_owned())
        });
        // Somebody has to read what it logs, or it stops at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: listening.expect("it says where it listens"), _file: Some(file) }
    }

    /// BMv2, on a port that was free a moment ago.
    fn bmv2() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address: SocketAddr = free.local_addr().expect("it is bound");
        drop(free);
        let child = Command::new("simple_switch_grpc")
            .args(["--no-p4", "--device-id", &DEVICE.to_string(), "--"])
            .args(["--grpc-server-addr", &address.to_string(), "--cpu-port", "510"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("was found before");
        let process = Self { child, address: address.to_string(), _file: None };
        let since = Instant::now();
        while TcpStream::connect_timeout(&address, PATIENCE).is_err() {
            assert!(since.elapsed() < PATIENCE, "BMv2 does not listen on {address}");
            std::thread::yield_now();
        }
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Frames over veth pairs in a namespace of the test's own: a group leaves out the member whose link is down, and the switch
/// does not hear itself.
#[test]
fn links_of_interfaces_are_watched() {
    let missing = skip::not_root().or_else(|| skip::missing_program(&["unshare", "ip"]));
    if !skip::require("p4runtime", missing.or_else(|| self::missing("p4.v1.p4runtime_pb2"))) {
        return;
    }
    let python = in_repository("target/peers/bin/python3");
    let output = Command::new("unshare")
        .arg("--net")
        .arg(if python.is_file() { python } else { "python3".into() })
        .arg(in_repository("tests/p4target/wires.py"))
        .args([env!("CARGO_BIN_EXE_foreshadow"), "switch", "--protocol", "p4runtime"])
        .output()
        .expect("unshare starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    println!("{seen}");
    let frames = |phase: &str| ["2", "3"].map(|port| seen[phase][port].as_u64().expect("a count"));
    for phase in ["both", "far end of 2 up"] {
        let [two, three] = frames(phase);
        assert!(two + three == 200 && two.min(three) > 60, "{phase}: {two}:{three}");
    }
    assert_eq!(frames("far end of 2 down"), [0, 200]);
    // The carrier is looked at every 50 ms.
    for phase in ["far end of 2 down, ms", "far end of 2 up, ms"] {
        assert!(seen[phase].as_u64().is_some_and(|millis| millis < 2_000), "{phase}: {}", seen[phase]);
    }
    let counted = |port: &str| seen["counted"][port].as_u64().expect("a count");
    assert!(counted("1") >= seen["sent"].as_u64().expect("a count"), "none is lost");
    // Not zero: the kernels of the far ends look for neighbours.
    assert!(counted("2") + counted("3") < 60, "its own frames are not received");
}

fn transcript(process: &Process) -> String {
    let output = python("transcript.py", &[&process.address, &DEVICE.to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Line by line: code, words and entities of some 250 requests, right and wrong.
fn assert_like_bmv2(came: &str) {
    let golden = std::fs::read_to_string(in_repository("tests/p4target/bmv2.transcript")).expect("in the repository");
    let mut step = "";
    for (number, (came, expected)) in came.lines().zip(golden.lines()).enumerate() {
        if !expected.starts_with(' ') {
            step = expected;
        }
        assert_eq!(came, expected, "line {} of bmv2.transcript, in '{step}'", number + 1);
    }
    assert_eq!(came.lines().count(), golden.lines().count());
}

#[test]
fn everything_is_answered_as_bmv2_did() {
    if skip::require("p4runtime", missing("p4.v1.p4runtime_pb2")) {
        assert_like_bmv2(&transcript(&Process::emulated()));
    }
}

#[test]
fn bmv2_answers_as_it_did() {
    let missing = skip::missing_program(&["simple_switch_grpc"]);
    if skip::require("bmv2", missing.or_else(|| self::missing("p4.v1.p4runtime_pb2"))) {
        assert_like_bmv2(&transcript(&Process::bmv2()));
    }
}

/// Pushes a program by p4runtime-shell and writes by it; what another shell then reads is what the first one did.
fn shell(process: &Process, what: &str, info: &str, program: &str) -> String {
    let device = DEVICE.to_string();
    let (info, program) = (in_repository(info), in_repository(program));
    let arguments = [&process.address, &device, what, info.to_str().expect("text"), program.to_str().expect("text")];
    let wrote = python("shell.py", &arguments);
    assert!(wrote.status.success(), "{}", String::from_utf8_lossy(&wrote.stderr));
    let read = python("shell.py", &[&process.address, &device]);
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let (wrote, read) = (String::from_utf8_lossy(&wrote.stdout), String::from_utf8_lossy(&read.stdout));
    assert!(read.len() > 1_000 && wrote.ends_with(&*read), "one reads\n{wrote}\nthe other\n{read}");
    wrote.into_owned()
}

fn assert_shows(shown: &str, expected: &[(&str, usize)]) {
    for (what, count) in expected {
        assert!(shown.contains(&format!("== {what}: {count}\n")), "expected {count} of {what}:\n{shown}");
    }
}

#[test]
fn p4runtime_shell_writes_every_kind_and_reads_it_back() {
    if !skip::require("p4runtime", missing("p4runtime_sh.shell")) {
        return;
    }
    let process = Process::emulated();
    let shown = shell(&process, "every", "tests/p4target/every.p4info.txtpb", "tests/p4target/every.json");
    let counts = [
        ("counter frames", 8),
        ("meter rates", 4),
        ("digest", 1),
        ("ingress.plain", 2),
        ("ingress.prefixes", 1),
        ("ingress.mixed", 1),
        ("ingress.aging", 1),
        ("ingress.spread", 1),
        ("ingress.oneshot", 1),
        // One for each unit of weight, as BMv2 has it: 9, 1 and 7.
        ("members of ingress.ways", 17),
        ("groups of ingress.ways", 1),
        ("multicast groups", 1),
        ("clone sessions", 1),
    ];
    assert_shows(&shown, &counts);
    let group = r#"group_id: 1 members { member_id: 1 weight: 9 } members { member_id: 3 weight: 7 } max_size: 16"#;
    assert!(shown.contains(group), "{shown}");
}

#[test]
fn p4runtime_shell_writes_the_fabrics_program() {
    let (info, program) = ("p4/fabric.p4info.txtpb", "p4/fabric.json");
    if !skip::require("p4runtime", missing("p4runtime_sh.shell")) {
        return;
    }
    let shown = shell(&Process::emulated(), "fabric", info, program);
    let counts = [
        ("counter events", 13),
        ("Forward.ports", 1),
        ("Forward.routes", 2),
        ("Forward.choice", 1),
        ("members of Forward.routers", 256),
        ("groups of Forward.routers", 1),
    ];
    assert_shows(&shown, &counts);
}

/// A fabric of which only the third-stage switch is there.
const BESIDE: &str = r#"version: 1
nodes:
  - {id: o1, stage: outside, dpid: 1}
  - {id: r1, stage: first, dpid: 2, capacity_connections: 100}
  - {id: r2, stage: first, dpid: 4, capacity_connections: 100}
  - {id: t1, stage: third, protocol: p4runtime, device: 3, address: "ADDRESS"}
links:
  - {a: "o1:1", b: "r1:1"}
  - {a: "o1:2", b: "r2:1"}
  - {a: "r1:2", b: "t1:1"}
  - {a: "r2:2", b: "t1:2"}
services:
  - {id: web, prefixes: [198.51.100.0/24], shares: {r1: 3, r2: 1}, outside: [o1]}
hosts:
  - {id: h1, address: 10.1.1.1/24, mac: "02:00:00:00:00:07", gateway: 10.1.1.254, attach: "t1:3"}
"#;

/// The released controller writes, p4runtime-shell reads beside it.
#[test]
fn p4runtime_shell_reads_what_the_controller_wrote() {
    if !skip::require("p4runtime", missing("p4runtime_sh.shell")) {
        return;
    }
    let process = Process::emulated();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let topology = BESIDE.replace("ADDRESS", &process.address);
    std::fs::write(folder.path().join("topology.yaml"), topology).expect("writes");
    let file = folder.path().join("controller.yaml");
    let settings = "topology: topology.yaml\nhttp_listen: 127.0.0.1:0\nopenflow_listen: 127.0.0.1:0\n";
    std::fs::write(&file, settings).expect("writes");
    let mut controller = Command::new(env!("CARGO_BIN_EXE_foreshadow"));
    controller.args(["run", "--config"]).arg(&file).stderr(Stdio::null());
    let _controller = Process { child: controller.spawn().expect("it starts"), address: String::new(), _file: None };
    // It waits a while for the switches that never come.
    let since = Instant::now();
    let shown = loop {
        let read = python("shell.py", &[&process.address, &DEVICE.to_string()]);
        let shown = String::from_utf8_lossy(&read.stdout).into_owned();
        if shown.contains("== Forward.choice: 1\n") {
            break shown;
        }
        assert!(since.elapsed() < PATIENCE, "nothing was written: {shown}{}", String::from_utf8_lossy(&read.stderr));
    };
    let counts = [
        // The host, its gateway, the service.
        ("Forward.routes", 3),
        ("Forward.gateways", 1),
        ("Forward.chosen", 2),
        ("Forward.indirection", 2),
        ("members of Forward.routers", 256),
        ("groups of Forward.routers", 1),
        ("clone sessions", 1),
    ];
    assert_shows(&shown, &counts);
    // The shares of r1, index 2, and r2, index 3, in slots.
    let group = "members { member_id: 2 weight: 192 } members { member_id: 3 weight: 64 }";
    assert!(shown.contains(group), "{shown}");
}

#[test]
fn p4runtime_shell_at_bmv2_reads_the_same() {
    let missing = skip::missing_program(&["simple_switch_grpc"]).or_else(|| missing("p4runtime_sh.shell"));
    if skip::require("bmv2", missing) {
        let at = |process: Process| {
            shell(&process, "every", "tests/p4target/every.p4info.txtpb", "tests/p4target/every.json")
        };
        let (ours, theirs) = (at(Process::emulated()), at(Process::bmv2()));
        for (ours, theirs) in ours.lines().zip(theirs.lines()) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.lines().count(), theirs.lines().count());
    }
}
