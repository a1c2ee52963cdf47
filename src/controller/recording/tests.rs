//! Recordings of a controller in memory: written, read, damaged and replayed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::write::record_with_queue;
use super::*;
use crate::config::{LoopSettings, load_topology};
use crate::controller::{Controller, Input};
use crate::plan::{BridgePlan, Choice, DatapathPlan, Place, RolePlan, Spread, Station};
use crate::southbound::{ConnectionCounters, Description, Event, Port, Reading};
use crate::types::{DatapathId, MacAddr, NodeIndex, PortNo, Timestamp};
use crate::wire::lldp::Key;

const STARTED: Timestamp = Timestamp::from_secs(1_000_000);

fn header() -> Header {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/clos.yaml");
    let mut topology = load_topology(&path).expect("the Clos is good");
    // A number that comes back only if its last digit does.
    topology.services[0].shares[0].1 = 0.1 + 0.2;
    Header::new(topology, LoopSettings::default(), Key([u64::MAX, 7]), STARTED)
}

/// Every switch connects, then thirty cycles with readings; the first router fills up.
fn run() -> Vec<(Timestamp, Input)> {
    let header = header();
    let mut inputs = Vec::new();
    for (position, node) in header.topology.nodes.iter().enumerate() {
        let datapath = node.datapath;
        let ports = (1..=6).map(|number| Port {
            number: PortNo(number),
            mac: MacAddr([2, 0, 0, 0, u8::try_from(position).expect("few nodes"), 1]),
            name: format!("{}-\"{number}\"\n", node.id),
            up: true,
            speed_kbps: 10_000_000,
        });
        let (peer, description) = ("127.0.0.1:1".to_owned(), Description::default());
        inputs.push(Event::SwitchUp { datapath, peer, description, ports: ports.collect() });
        let choice = Choice { slots: vec![NodeIndex(3); 256], spread: Spread::Multipath };
        let station = Station { vlan: Some(7), mac: MacAddr::GATEWAY };
        inputs.push(Event::Found {
            datapath,
            entries: 0,
            choices: [(1, choice)].into(),
            links: Vec::new(),
            stations: vec![(station, PortNo(2))],
        });
        inputs.push(Event::PacketIn { datapath, in_port: PortNo(1), data: (0..=255).collect() });
    }
    let mut inputs: Vec<_> = inputs.into_iter().map(|event| (STARTED, Input::Event(event))).collect();
    for cycle in 1..=30 {
        let at = Timestamp::from_secs(1_000_000 + cycle);
        inputs.push((at, Input::Tick));
        for node in &header.topology.nodes {
            let full = u64::from(node.index.0 == header.topology.routers().next().expect("routers").index.0);
            let connections = node.router.as_ref().map(|router| ConnectionCounters {
                occupied: full * u64::from(router.capacity_connections) * cycle / 30,
                admitted: full * 1_000 * cycle,
                ..ConnectionCounters::default()
            });
            let reading = Reading { connections, ..Reading::default() };
            inputs.push((at, Input::Event(Event::Reading { datapath: node.datapath, reading })));
        }
    }
    inputs
}

/// Records the run as the driver does.
fn recorded(path: &Path) {
    let header = header();
    let mut controller =
        Controller::new(header.topology.clone(), header.settings.clone(), header.key, header.started_at);
    let (mut recorder, task) = record(path, header).expect("the folder is ours");
    let writer = std::thread::spawn(move || task.run());
    for (at, input) in run() {
        recorder.input(&input, at);
        let output = controller.handle(input, at);
        recorder.output(&output, &controller);
    }
    drop(recorder);
    writer.join().expect("the writer does not panic");
}

fn replayed(path: &Path) -> Result<(Replayed, String), RecordingError> {
    let mut log = Vec::new();
    let replayed = replay(&mut Reader::open(path)?, &mut log)?;
    Ok((replayed, String::from_utf8(log).expect("JSON is UTF-8")))
}

fn folder() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let (plain, packed) = (folder.path().join("run.jsonl"), folder.path().join("run.jsonl.gz"));
    (folder, plain, packed)
}

#[test]
fn a_recording_replays_to_the_same_plans_plain_and_packed() {
    let (_folder, plain, packed) = folder();
    recorded(&plain);
    recorded(&packed);
    let (first, log) = replayed(&plain).expect("a good file");
    assert_eq!(first.outcome, Outcome::Equal);
    assert!(first.complete && first.cycles == 30 && first.inputs == run().len() as u64, "{first:?}");
    assert!(first.plans > 0 && first.shifts > 0, "{first:?}");
    assert_eq!(log.lines().filter(|line| line.contains("\"plan\":")).count() as u64, first.plans);
    assert_eq!(replayed(&packed).expect("a good file"), (first, log));
    let size = |path: &Path| std::fs::metadata(path).expect("is there").len();
    assert!(size(&packed) < size(&plain) / 4);
}

#[test]
fn every_input_is_read_as_it_was_written() {
    let (_folder, plain, _) = folder();
    recorded(&plain);
    let mut reader = Reader::open(&plain).expect("a good file");
    assert_eq!(*reader.header(), header());
    let mut inputs = Vec::new();
    while let Read::Record(record) = reader.next_record().expect("a good file") {
        if let Record::Input { at, what, .. } = record {
            inputs.push((at, what));
        }
    }
    assert_eq!(inputs, run());
}

#[test]
fn only_the_owner_may_read_it_and_an_earlier_one_is_kept() {
    let (_folder, plain, _) = folder();
    std::fs::write(&plain, "earlier").expect("written");
    recorded(&plain);
    let mode = std::fs::metadata(&plain).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = std::fs::read_to_string(format!("{}.previous", plain.display())).expect("kept");
    assert_eq!(kept, "earlier");
}

#[test]
fn a_cut_recording_replays_up_to_the_cut() {
    let (_folder, plain, packed) = folder();
    for path in [plain, packed] {
        recorded(&path);
        let whole = std::fs::read(&path).expect("read");
        let all = replayed(&path).expect("a good file").0;
        let mut most = 0;
        // Some twenty places, the last bytes among them.
        for cut in (0..whole.len()).step_by(whole.len() / 20).chain(whole.len() - 12..whole.len()) {
            std::fs::write(&path, &whole[..cut]).expect("written");
            match replayed(&path) {
                Ok((part, _)) => {
                    assert_eq!((part.outcome, part.complete), (Outcome::Equal, false), "cut at {cut}");
                    assert!(part.inputs >= most && part.inputs <= all.inputs);
                    most = part.inputs;
                }
                Err(RecordingError::Bad { line: 1, .. }) => assert_eq!(most, 0, "cut at {cut}"),
                Err(error) => panic!("cut at {cut}: {error}"),
            }
        }
        assert_eq!(most, all.inputs, "a cut end marker costs nothing");
    }
}

/// Rewrites one line of the plain recording.
fn tampered(change: impl Fn(&str) -> Option<String>) -> Result<Replayed, RecordingError> {
    let (_folder, plain, _) = folder();
    recorded(&plain);
    let text = std::fs::read_to_string(&plain).expect("read");
    let mut changed = false;
    let lines = text.lines().map(|line| {
        let new = if changed { None } else { change(line) };
        changed |= new.is_some();
        new.unwrap_or_else(|| line.to_owned()) + "\n"
    });
    let text: String = lines.collect();
    assert!(changed, "the line to change is there");
    std::fs::write(&plain, text).expect("written");
    replayed(&plain).map(|(replayed, _)| replayed)
}

#[test]
fn the_first_difference_is_named() {
    let outcome = tampered(|line| {
        let plan = line.contains("\"plans\":").then(|| line.replacen("\"idle_timeout_s\":", "\"idle_timeout_s\":1", 1));
        plan.filter(|new| new != line)
    });
    let Outcome::Different(difference) = outcome.expect("a readable file").outcome else { panic!("equal") };
    assert!(difference.what.starts_with("plans[") && difference.what.ends_with("idle_timeout_s"), "{difference:?}");
    assert_eq!(difference.expected, format!("1{}", difference.came));

    let lost = tampered(|line| (line.starts_with("{\"sent\"") && line.contains("\"plans\"")).then(String::new));
    assert!(matches!(lost, Err(RecordingError::Bad { .. })), "an empty line is no record: {lost:?}");

    let count =
        tampered(|line| line.contains("\"commands\":11").then(|| line.replace("\"commands\":11", "\"commands\":12")));
    let Outcome::Different(difference) = count.expect("a readable file").outcome else { panic!("equal") };
    assert_eq!((difference.what.as_str(), difference.expected.as_str()), ("commands", "12"));
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_line() {
    type Change = fn(&str) -> Option<String>;
    let cases: [(Change, &str); 10] = [
        (
            |line| Some(line.replace("\"version\":1", "\"version\":2")),
            ":1: expected the header of a recording of version 1, came 'foreshadow-recording' of version 2",
        ),
        (|_| Some("{}".to_owned()), ":1: expected the header of a recording of version 1, came '{}'"),
        (|_| Some(String::new()), ":1: expected the header"),
        (
            |line| {
                line.contains("\"input\":{\"number\":2,").then(|| line.replacen("\"number\":2,", "\"number\":3,", 1))
            },
            ": expected input 2, came input 3",
        ),
        (|line| line.contains("\"Tick\"").then(|| line.replace("Tick", "Tock")), "unknown variant `Tock`"),
        (
            |line| line.contains("00010203").then(|| line.replace("00010203", "0x010203")),
            "expected pairs of hex digits",
        ),
        (
            |line| line.starts_with("{\"end\"").then(|| format!("{line}\n{line}")),
            "expected nothing after the end marker",
        ),
        (
            |line| Some(line.replacen("\"index\":2", "\"index\":9", 1)),
            ":1: expected the header of a recording of version 1, came a topology that cannot be",
        ),
        (
            |line| Some(line.replacen("{\"a\":{\"node\":\"", "{\"a\":{\"node\":\"x", 1)),
            "came a topology that cannot be: topology:",
        ),
        (
            |line| line.contains("\"slots\":[3,").then(|| line.replacen("\"slots\":[3,", "\"slots\":[", 1)),
            ":4: expected 256 slots, came 255",
        ),
    ];
    for (change, wanted) in cases {
        match tampered(change) {
            Err(error @ RecordingError::Bad { .. }) => assert!(error.to_string().contains(wanted), "{error}"),
            other => panic!("{wanted}: {other:?}"),
        }
    }
}

#[test]
fn fields_of_a_newer_program_are_passed_over() {
    let outcome = tampered(|line| {
        line.starts_with("{\"header\"").then(|| line.replace("\"version\":1", "\"weather\":\"fine\",\"version\":1"))
    });
    assert_eq!(outcome.expect("a readable file").outcome, Outcome::Equal);
}

#[test]
fn a_queue_that_is_full_leaves_a_gap_that_is_not_claimed_equal() {
    let (_folder, plain, _) = folder();
    let header = header();
    let mut controller =
        Controller::new(header.topology.clone(), header.settings.clone(), header.key, header.started_at);
    // Nobody writes while the run goes on: the queue takes the first records alone.
    let (mut recorder, task) = record_with_queue(&plain, header, 40).expect("the folder is ours");
    for (at, input) in run() {
        recorder.input(&input, at);
        let output = controller.handle(input, at);
        recorder.output(&output, &controller);
    }
    drop(recorder);
    task.run();
    let (replayed, _) = replayed(&plain).expect("a readable file");
    let Outcome::Gap { after, inputs } = replayed.outcome else { panic!("{replayed:?}") };
    assert!(after > 0 && after == replayed.inputs, "{replayed:?}");
    assert_eq!(after + inputs, run().len() as u64);
}

#[test]
fn a_recording_goes_on_after_a_gap() {
    let (_folder, plain, _) = folder();
    let header = header();
    let mut controller =
        Controller::new(header.topology.clone(), header.settings.clone(), header.key, header.started_at);
    let (mut recorder, task) = record_with_queue(&plain, header, 2).expect("the folder is ours");
    let mut inputs = run().into_iter();
    for (at, input) in inputs.by_ref().take(10) {
        recorder.input(&input, at);
        recorder.output(&controller.handle(input, at), &controller);
    }
    let writer = std::thread::spawn(move || task.run());
    for (at, input) in inputs {
        recorder.input(&input, at);
        recorder.output(&controller.handle(input, at), &controller);
        std::thread::yield_now();
    }
    drop(recorder);
    writer.join().expect("the writer does not panic");
    let text = std::fs::read_to_string(&plain).expect("read");
    let (_, rest) = text.split_once("{\"gap\":").expect("a gap");
    assert!(rest.contains("{\"input\":"), "it goes on");
    assert!(text.ends_with(&format!("{{\"end\":{{\"inputs\":{}}}}}\n", run().len())));
    // Every line is one that the reader takes, in an order that it takes.
    let mut reader = Reader::open(&plain).expect("a good file");
    while let Read::Record(_) = reader.next_record().expect("a good file") {}
}

#[test]
fn a_bridge_with_stations_has_json_both_ways() {
    let station = |vlan, last| Station { vlan, mac: MacAddr([2, 0, 0, 0, 0, last]) };
    let place = |port| Place { node: NodeIndex(1), port: PortNo(port) };
    let stations = [(station(None, 1), place(1)), (station(Some(5), 1), place(2))];
    let plan = DatapathPlan {
        index: NodeIndex(1),
        edge_ports: vec![PortNo(1)],
        mirror_ports: Vec::new(),
        gateways: Vec::new(),
        attached: Vec::new(),
        next_hops: [(NodeIndex(2), Vec::new())].into(),
        role: RolePlan::Bridge(BridgePlan { stations: std::sync::Arc::new(stations.into()), ..BridgePlan::default() }),
    };
    let text = serde_json::to_string(&plan).expect("has JSON");
    assert_eq!(serde_json::from_str::<DatapathPlan>(&text).expect("reads back"), plan);

    // The digest tells stations apart, by their places too, and not by who shares them.
    let record = |plan: &DatapathPlan, digester: &mut answer::Digester| {
        let installs = vec![(DatapathId(1), 1, Box::new(plan.clone()))];
        let answer = Answer { after: 1, commands: 1, installs, notices: Vec::new(), decided: None };
        digester.sent(answer).plans.remove(0).digest
    };
    let mut digester = answer::Digester::default();
    let digest = record(&plan, &mut digester);
    assert_eq!(digest, record(&plan, &mut digester));
    assert_eq!(digest, record(&serde_json::from_str(&text).expect("read before"), &mut answer::Digester::default()));
    let mut moved = plan.clone();
    if let RolePlan::Bridge(bridge) = &mut moved.role {
        bridge.stations = std::sync::Arc::new([(station(None, 1), place(1)), (station(Some(5), 1), place(3))].into());
    }
    assert_ne!(digest, record(&moved, &mut digester));
}
