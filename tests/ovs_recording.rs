//! A run on real Open vSwitch, recorded and replayed.
//!
//! `FORESHADOW_KEEP=FOLDER` keeps the recordings.

mod fabric;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fabric::{Controller, Fabric, PROGRAMS, Spec, Traffic, isolated, lab, output, wait_for};
use serde_json::{Value, json};

const GATEWAY_MAC: &str = "02:46:53:00:00:01";
const PATIENCE: Duration = Duration::from_secs(30);
/// One host on every third-stage switch, and its server.
const HOLDERS: [(&str, &str); 3] =
    [("h1", "198.51.100.10:7000"), ("h3", "203.0.113.10:7000"), ("h5", "198.51.100.10:7000")];

/// Replays in a process of its own: report and plan log.
fn replay(recording: &Path, plans: &Path) -> (Value, Vec<u8>) {
    let began = Instant::now();
    let program = env!("CARGO_BIN_EXE_foreshadow");
    let answer = output(
        Command::new(program).args(["replay", "--json", "-", "--recording"]).arg(recording).arg("--plans").arg(plans),
    );
    println!("replayed in {:.2} s: {}", began.elapsed().as_secs_f64(), String::from_utf8_lossy(&answer.stdout));
    assert_eq!(answer.status.code(), Some(0), "{}", String::from_utf8_lossy(&answer.stderr));
    (serde_json::from_slice(&answer.stdout).expect("a report"), std::fs::read(plans).expect("a plan log"))
}

/// A shift of real connections: the replay installs the same plans at the same inputs, twice.
#[test]
fn ovs_recorded_shift_replays() {
    isolated(&PROGRAMS, || {
        let mut spec = Spec::load("clos");
        spec.set_routers("capacity_connections", 5_000).set_routers("threshold_available", 100);
        // More than 30 connections are a breach here, so the load itself brings the shift about.
        spec.set_node("r1", "capacity_connections", 400).set_node("r1", "threshold_available", 370);
        let fabric = Fabric::start(&spec);
        let recording = lab().join("shift.jsonl.gz");
        let mut controller = Controller::start_recorded(&spec, json!({"policy": "reactive"}), Some(recording.clone()));
        wait_for("every switch's plan confirmed", PATIENCE, || {
            let health = controller.rest.get("/api/v1/health")?;
            let ready = health["switches_connected"] == health["switches_declared"] && health["plans_pending"] == 0;
            if ready && health["generation"] != 0 { Ok(()) } else { Err(health.to_string()) }
        });
        fabric.resolve_gateways(GATEWAY_MAC);
        let _servers: Vec<Traffic> =
            ["w1", "w2"].map(|server| Traffic::start(&fabric, server, &["serve", "--ports", "1"])).into();
        let mut holders: Vec<Traffic> = HOLDERS
            .iter()
            .map(|(host, target)| Traffic::start(&fabric, host, &["hold", "--to", target, "--rate", "40"]))
            .collect();
        for holder in &mut holders {
            holder.ask("open 67 0", PATIENCE);
        }
        let shift = wait_for("a shift of half of r1's new connections", PATIENCE, || {
            let shift = controller.rest.get("/api/v1/routers/r1")?["router"]["shift"].clone();
            let percent = shift["shift_percent"].as_f64().unwrap_or_default();
            if percent >= 50.0 { Ok(percent) } else { Err(shift.to_string()) }
        });
        controller.stop();
        let bytes = std::fs::metadata(&recording).expect("is there").len();
        println!("recorded a shift of {shift} % in {bytes} bytes");

        let (report, log) = replay(&recording, &lab().join("first"));
        assert_eq!((&report["outcome"], &report["complete"]), (&json!("equal"), &json!(true)), "{report}");
        let count = |key: &str| report[key].as_u64().unwrap_or_default();
        assert!(count("shifts") >= 1 && count("plans") > 11 && count("cycles") > 3, "{report}");
        assert_eq!(replay(&recording, &lab().join("second")), (report, log));
        keep(&recording, "clos-shift");
    });
}

/// Four switches in a ring that nobody declared, with a host on each: joined, wired and learned from the inputs alone.
#[test]
fn ovs_recorded_bridges_replay() {
    isolated(&PROGRAMS, || {
        let number = |n: u32| format!("b{n}");
        let nodes: Vec<Value> =
            (1..=4).map(|n| json!({"id": number(n), "stage": "outside", "dpid": format!("0x{n:x}")})).collect();
        let links: Vec<Value> = (1..=4)
            .map(|n| json!({"a": format!("{}:1", number(n)), "b": format!("{}:2", number(n % 4 + 1))}))
            .collect();
        let host = |n: u32| {
            json!({"id": format!("h{n}"), "address": format!("10.0.0.{n}/24"), "gateway": "10.0.0.254",
                "attach": format!("{}:3", number(n))})
        };
        let hosts: Vec<Value> = (1..=4).map(host).collect();
        let spec = Spec::of(json!({"version": 1, "nodes": nodes, "links": links, "hosts": hosts}));
        let fabric = Fabric::start(&spec);
        let recording = lab().join("bridges.jsonl.gz");
        let mut controller = Controller::start_undeclared(Some(recording.clone()));
        let count = |what: &str, wanted: usize| {
            wait_for(what, PATIENCE, || {
                let came = controller.rest.get(&format!("/v1.0/topology/{what}"))?.as_array().map_or(0, Vec::len);
                if came == wanted { Ok(()) } else { Err(format!("{came} of {wanted}")) }
            });
        };
        count("links", 8);
        for n in 2..=4 {
            wait_for("a ping across the ring", PATIENCE, || {
                let answer = output(&mut fabric.exec("h1", &["ping", "-c1", "-W1", &format!("10.0.0.{n}")]));
                if answer.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&answer.stdout).into_owned()) }
            });
        }
        count("hosts", 4);
        controller.stop();
        println!("recorded in {} bytes", std::fs::metadata(&recording).expect("is there").len());
        let (report, log) = replay(&recording, &lab().join("first"));
        assert_eq!((&report["outcome"], &report["complete"]), (&json!("equal"), &json!(true)), "{report}");
        assert!(report["plans"].as_u64().is_some_and(|plans| plans > 4), "{report}");
        // The stations that were heard are in the last plans.
        let log_text = String::from_utf8_lossy(&log);
        let last = log_text.lines().rfind(|line| line.contains("\"stations\"")).expect("a bridge's plan");
        assert_eq!(last.matches("\"mac\"").count(), 4, "{last}");
        assert_eq!(replay(&recording, &lab().join("second")), (report, log));
        keep(&recording, "bridges");
    });
}

/// `FORESHADOW_KEEP=FOLDER` keeps the recordings there.
fn keep(recording: &Path, name: &str) {
    if let Some(folder) = std::env::var_os("FORESHADOW_KEEP") {
        let kept = Path::new(&folder).join(format!("{name}.jsonl.gz"));
        std::fs::copy(recording, kept).expect("a place to keep it");
    }
}
