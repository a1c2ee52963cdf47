//! Tests that need another program: skipped visibly where it is missing, failed where it was required.
//!
//! `FORESHADOW_REQUIRE=ovs,tshark` turns the skips of those names into failures.

use std::env;
use std::io::Write;

/// True when nothing is missing. Otherwise prints `skipped: why` and is false, unless `FORESHADOW_REQUIRE` lists
/// `name`: then the test fails.
pub(crate) fn require(name: &str, missing: Option<String>) -> bool {
    let Some(why) = missing else { return true };
    let required = env::var("FORESHADOW_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|part| part.trim() == name), "{name} is required, but {why}");
    // Past the capture of the test runner: a skip is seen also where the test counts as passed.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    false
}

/// Why one of `programs` cannot be started, if any cannot.
#[allow(dead_code, reason = "not every test that shares this module looks programs up")]
pub(crate) fn missing_program(programs: &[&str]) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = |program: &str| env::split_paths(&path).any(|folder| folder.join(program).is_file());
    programs.iter().find(|program| !found(program)).map(|program| format!("{program} is not installed"))
}

/// Why this test cannot do what only root can, if it is not root.
#[allow(dead_code, reason = "not every test that shares this module needs root")]
pub(crate) fn not_root() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next());
    (uid != Some("0")).then(|| "this is not run as root".to_owned())
}
