//! `bench conntrackd` runs, and afterwards both peers hold exactly the connections that live.

use std::process::Command;

use serde_json::Value;

#[path = "common/skip.rs"]
mod skip;

const PROGRAMS: &[&str] = &["unshare", "ip", "nft", "sysctl", "conntrack", "conntrackd"];

/// A short form, far below what the machine makes; figures are the benchmark's to tell, not a test's.
#[test]
fn beside_conntrackd_both_caches_equal_the_kernel() {
    if !skip::require("conntrackd", skip::not_root().or_else(|| skip::missing_program(PROGRAMS))) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_foreshadow"))
        .args(["bench", "conntrackd", "--for", "3s", "--rate", "250", "--long", "40", "--json"])
        .arg(&file)
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(&file).expect("written")).expect("JSON");
    for name in ["foreshadow", "conntrackd"] {
        let figures = &report["results"][name];
        assert_eq!((&figures["live"], &figures["held"]), (&40.into(), &40.into()), "{name}: {report:#}");
        assert_eq!(figures["failed"], 0, "{name}: {report:#}");
        // Nearly every short connection was seen to arrive.
        let (samples, opened) = (figures["delay_samples"].as_u64(), figures["connections"].as_u64());
        assert!(samples >= opened.map(|opened| (opened - 40) * 9 / 10), "{name}: {report:#}");
    }
}
