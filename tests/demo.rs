//! The demo as a user starts it: the whole day, on real OpenFlow sessions over loopback.

use std::process::{Command, Stdio};

use serde_json::Value;

/// Plays a day and returns its report.
fn play(policy: &str, length: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_foreshadow"))
        .args(["demo", "--for", length, "--policy", policy, "--seed", "1", "--http", "127.0.0.1:0", "--json", "-"])
        .env("RUST_LOG", "warn")
        .stderr(Stdio::inherit())
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{policy}: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("the report is JSON and alone on standard output")
}

fn number(report: &Value, field: &str) -> f64 {
    report[field].as_f64().unwrap_or_else(|| panic!("expected a number in '{field}', came {}", report[field]))
}

/// The report without what depends on the machine.
fn outcome(mut report: Value) -> Value {
    let fields = report.as_object_mut().expect("the report is an object");
    assert!(fields.remove("wall_s").is_some() && fields.remove("peak_rss_bytes").is_some());
    report
}

#[test]
fn demo_outcome_depends_on_seed_and_policy_alone() {
    let first = play("predictive", "20s");
    assert_eq!(outcome(first), outcome(play("predictive", "27s")));
}

#[test]
fn demo_predictive_refuses_nobody_and_static_some() {
    let predictive = play("predictive", "20s");
    assert_eq!(number(&predictive, "refused_connections"), 0.0, "{predictive:#}");
    assert_eq!(number(&predictive, "broken_connections"), 0.0, "{predictive:#}");
    assert_eq!(number(&predictive, "established_moved"), 0.0, "{predictive:#}");
    assert!(number(&predictive, "lead_time_s") > 0.0, "{predictive:#}");
    let unshifted = play("static", "20s");
    assert!(number(&unshifted, "refused_connections") > 0.0, "{unshifted:#}");
    assert_eq!(number(&unshifted, "shift_churn"), 0.0);
    // What static refuses is what the counterfactual says anything unshifted would.
    let routers = unshifted["routers"].as_array().expect("a list of routers");
    let expected: f64 = routers.iter().map(|router| number(router, "refused_unshifted")).sum();
    assert_eq!(number(&unshifted, "refused_connections"), expected);
    assert_eq!(number(&predictive, "new_connections"), number(&unshifted, "new_connections"));
}

#[test]
fn demo_refuses_a_day_that_is_too_short() {
    let output = Command::new(env!("CARGO_BIN_EXE_foreshadow")).args(["demo", "--for", "5s"]).output().expect("starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--for"), "{output:?}");
}
