//! `bench scale` in its short form: many switches at once on real sockets, and a report that is complete.

use std::process::{Command, Stdio};

use serde_json::Value;

const SWITCHES: u64 = 200;

fn number(of: &Value, field: &str) -> f64 {
    of[field].as_f64().unwrap_or_else(|| panic!("expected a number in '{field}', came {}", of[field]))
}

/// Times depend on the machine and on what else runs on it; that nobody is lost does not.
#[test]
fn two_hundred_switches_come_at_once_and_stay() {
    let output = Command::new(env!("CARGO_BIN_EXE_foreshadow"))
        .args(["bench", "scale", "--controllers", "foreshadow", "--seconds", "5", "--json", "-"])
        .args(["--switches", &SWITCHES.to_string(), "--switches-max", &SWITCHES.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout).expect("the report is JSON");
    assert_eq!((report["bench"].as_str(), report["skipped"].as_object().map(|s| s.len())), (Some("scale"), Some(0)));
    let ours = &report["results"]["foreshadow"];
    let storm = &ours["storm"];
    assert_eq!((storm["handshakes"].as_u64(), storm["sessions_lost"].as_u64()), (Some(SWITCHES), Some(0)), "{storm:#}");
    let [step] = &ours["steps"].as_array().expect("steps")[..] else { panic!("expected one step, came {ours:#}") };
    assert_eq!((step["switches"].as_u64(), step["sessions_lost"].as_u64()), (Some(SWITCHES), Some(0)), "{step:#}");
    let measured = [
        "handshakes_s",
        "rounds",
        "statistics_per_s",
        "statistics_p50_us",
        "statistics_p99_us",
        "loop_answers",
        "loop_p99_us",
        "rss_bytes",
        "threads",
    ];
    for field in measured {
        assert!(number(step, field) > 0.0, "{field} in {step:#}");
    }
    for field in ["rounds_kept", "round_p50_us", "round_p99_us", "cpu_s_per_s", "load_cpu_s_per_s", "loop_lost"] {
        assert!(number(step, field) >= 0.0, "{field} in {step:#}");
    }
}
