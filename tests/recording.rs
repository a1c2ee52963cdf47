//! Runs recorded and replayed by the program as a user would start it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use foreshadow::controller::recording::{Outcome, Player, Read, Reader, Record, RecordWriter};
use serde_json::Value;

fn foreshadow(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foreshadow")).args(args).output().expect("cargo built the program")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a readable name")
}

/// Replays in a process of its own: exit status, report, plan log.
fn replay(recording: &Path, plans: &Path) -> (Option<i32>, Value, Vec<u8>) {
    let output = foreshadow(&["replay", "--recording", text(recording), "--json", "-", "--plans", text(plans)]);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), report, fs::read(plans).expect("a plan log"))
}

fn count(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("{key} is no count in {report}"))
}

#[test]
fn a_recorded_day_replays_the_same_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = folder.path().join("day.jsonl.gz");
    let played = foreshadow(&["demo", "--for", "20s", "--http", "127.0.0.1:0", "--record", text(&recording)]);
    assert!(played.status.success(), "{played:?}");
    let began = Instant::now();
    // In two processes, as everything here.
    let (first, second) = std::thread::scope(|scope| {
        let (recording, folder) = (&recording, folder.path());
        let [first, second] =
            ["first", "second"].map(|name| scope.spawn(move || replay(recording, &folder.join(name))));
        (first.join().expect("no panic"), second.join().expect("no panic"))
    });
    let (status, report, log) = first;
    println!(
        "{} inputs, {} plans in {} bytes replayed in {:.1} s",
        report["inputs"],
        report["plans"],
        fs::metadata(&recording).expect("is there").len(),
        began.elapsed().as_secs_f64()
    );
    assert_eq!(
        (status, &report["outcome"], &report["complete"]),
        (Some(0), &"equal".into(), &true.into()),
        "{report:#}"
    );
    assert!(
        count(&report, "cycles") > 2_880 && count(&report, "plans") > 0 && count(&report, "shifts") > 0,
        "{report:#}"
    );
    assert_eq!(second.1, report);
    assert!(log == second.2, "two replays give one plan log");
    let plans = log.split(|byte| *byte == b'\n').filter(|line| line.windows(7).any(|part| part == b"\"plan\":"));
    assert_eq!(plans.count() as u64, count(&report, "plans"));
}

#[test]
fn what_cannot_be_replayed_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let bad = folder.path().join("bad.jsonl");
    fs::write(&bad, "{\"header\":{\"format\":\"foreshadow-recording\",\"version\":99}}\n").expect("written");
    let missing = folder.path().join("missing.jsonl");
    let cases: [(&[&str], &str); 4] = [
        (
            &["replay", "--recording", text(&bad)],
            "bad.jsonl:1: expected the header of a recording of version 1, came 'foreshadow-recording' of version 99",
        ),
        (&["replay", "--recording", text(&missing)], "missing.jsonl"),
        (&["replay"], "or --recording FILE; came nothing to replay"),
        (&["replay", "--topology", "x.yaml", "--traffic", "synthetic:day"], "x.yaml"),
    ];
    for (args, wanted) in cases {
        let output = foreshadow(args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains(wanted), "{args:?}: {told}");
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A controller without switches that records; waits until some cycles are in the file.
fn running(folder: &Path) -> (Running, PathBuf) {
    let topology = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/clos.yaml");
    let config = folder.join("foreshadow.yaml");
    let settings = serde_json::json!({
        "topology": topology,
        "openflow_listen": "127.0.0.1:0",
        "http_listen": "127.0.0.1:0",
        "loop": {"cycle_ms": 100},
    });
    fs::write(&config, settings.to_string()).expect("written");
    let recording = folder.join("run.jsonl");
    let child = Command::new(env!("CARGO_BIN_EXE_foreshadow"))
        .args(["run", "--config", text(&config), "--record", text(&recording)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("cargo built the program");
    let running = Running(child);
    let began = Instant::now();
    while fs::read_to_string(&recording).unwrap_or_default().matches("\"Tick\"").count() < 5 {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is recorded");
        // The file announces nothing.
        std::thread::sleep(Duration::from_millis(50));
    }
    (running, recording)
}

#[test]
fn a_killed_controller_leaves_a_recording() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut running, recording) = running(folder.path());
    running.0.kill().expect("ours");
    running.0.wait().expect("ours");
    let (status, report, _) = replay(&recording, &folder.path().join("plans"));
    assert_eq!((status, &report["complete"]), (Some(0), &false.into()), "{report:#}");
    assert!(count(&report, "cycles") >= 5, "{report:#}");
}

#[test]
fn a_stopped_controller_ends_its_recording() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut running, recording) = running(folder.path());
    let stop = Command::new("kill").args(["-TERM", &running.0.id().to_string()]).status().expect("kill is there");
    assert!(stop.success());
    running.0.wait().expect("ours");
    let (status, report, _) = replay(&recording, &folder.path().join("plans"));
    assert_eq!((status, &report["complete"]), (Some(0), &true.into()), "{report:#}");
}

/// Recordings of real runs, each with the digest of its plan log beside it. `FORESHADOW_BLESS=1` writes both anew, for
/// when what a policy decides was changed on purpose (docs/RECORDING.md).
#[test]
fn committed_recordings_replay_to_the_plans_of_then() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut found = 0;
    for entry in fs::read_dir(&folder).expect("the folder is in the repository") {
        let recording = entry.expect("a readable entry").path();
        let Some(name) = recording.to_str().and_then(|path| path.strip_suffix(".jsonl.gz")) else { continue };
        let digest = PathBuf::from(format!("{name}.digest"));
        if std::env::var_os("FORESHADOW_BLESS").is_some() {
            record_again(&recording);
        }
        let mut reader = Reader::open(&recording).expect("a good recording");
        let replayed =
            foreshadow::controller::recording::replay(&mut reader, &mut std::io::sink()).expect("a good recording");
        println!("{}: {replayed:?}", recording.display());
        assert!(replayed.complete && replayed.plans > 0, "{replayed:?}");
        assert_eq!(replayed.outcome, Outcome::Equal, "{}", recording.display());
        if std::env::var_os("FORESHADOW_BLESS").is_some() {
            fs::write(&digest, format!("{}\n", replayed.plan_log)).expect("written");
        }
        let expected = fs::read_to_string(&digest).unwrap_or_else(|error| panic!("{}: {error}", digest.display()));
        assert_eq!(replayed.plan_log, expected.trim(), "{}", recording.display());
        assert!(fs::metadata(&recording).expect("is there").len() < 150_000, "{} is too large", recording.display());
        found += 1;
    }
    assert!(found > 0, "no recording in {}", folder.display());
}

/// The same inputs, with what this program sends for them.
fn record_again(recording: &Path) {
    let mut reader = Reader::open(recording).expect("a good recording");
    let folder = tempfile::tempdir().expect("a folder");
    let again = folder.path().join("again.jsonl.gz");
    let mut writer = RecordWriter::create(&again).expect("the folder is ours");
    let mut player = Player::new(reader.header());
    writer.write(&Record::Header(Box::new(reader.header().clone()))).expect("written");
    let mut inputs = 0;
    while let Read::Record(record) = reader.next_record().expect("a good recording") {
        let Record::Input { number, at, what } = record else { continue };
        inputs = number;
        writer.write(&Record::Input { number, at, what: what.clone() }).expect("written");
        if let Some(answer) = player.feed(what, at) {
            writer.answer(answer).expect("written");
        }
    }
    writer.write(&Record::End { inputs }).expect("written");
    writer.finish().expect("written");
    fs::copy(&again, recording).expect("written");
}
