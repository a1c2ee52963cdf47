//! A test's private corner of the machine, and the visible skip where there cannot be one.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::kind::Kind;
use super::{run, skip};

/// Names the test whose body the process should run, in the process that is already isolated.
const INSIDE: &str = "FORESHADOW_TEST_INSIDE";
/// Where logs, sockets and databases of a run live: a file system in memory, only the test's own processes see it.
const LAB: &str = "/run/foreshadow-test";
/// User-space switches read from packet sockets; with the usual default a burst over some 256 small frames is lost.
const SOCKET_BUFFER_BYTES: u64 = 8_388_608;
const BUFFER_SYSCTL: &str = "/proc/sys/net/core/rmem_default";

/// Directory for whatever a test writes.
pub fn lab() -> &'static Path {
    Path::new(LAB)
}

/// Runs `body` as process 1 of new network, mount and process namespaces, or says why it is skipped.
///
/// The test binary starts itself again under `unshare`. When that process ends, or whoever waits for it, the kernel
/// ends everything inside and drops its namespaces, so no run leaves anything for the next.
pub fn isolated<F: FnOnce()>(needs: &[&str], body: F) {
    isolate(&[("ovs", needs.to_vec())], body);
}

/// The same for a test that needs other programs than Open vSwitch's: `name` is how `FORESHADOW_REQUIRE` asks for them.
pub fn isolated_for<F: FnOnce()>(name: &str, needs: &[&str], body: F) {
    isolate(&[(name, needs.to_vec())], body);
}

/// The same for a fabric of switches of these kinds.
pub fn isolated_on<F: FnOnce()>(kinds: &[Kind], body: F) {
    let needs: Vec<_> = kinds.iter().map(|kind| (kind.name(), kind.programs())).collect();
    isolate(&needs, body);
}

/// `needs` are programs, by the name under which `FORESHADOW_REQUIRE` asks for them.
fn isolate<F: FnOnce()>(needs: &[(&str, Vec<&str>)], body: F) {
    let name = test_name::<F>();
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        move_in();
        let guard = KeepLogs { name };
        body();
        drop(guard);
        return;
    }
    let there = |(name, programs): &(&str, Vec<&str>)| {
        skip::require(name, skip::not_root().or_else(|| skip::missing_program(programs)))
    };
    if !needs.iter().all(there) {
        return;
    }
    // Switches, hosts and load share the machine's processors: one fabric at a time gives figures that mean something.
    let lock = File::create(std::env::temp_dir().join("foreshadow-fabric.lock")).expect("a lock file can be made");
    lock.lock().expect("the lock file can be locked");
    let buffers = Buffers::raise();
    let mut child = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().expect("a test binary has a path"))
        .args(["--exact", &name, "--nocapture", "--include-ignored"])
        .env(INSIDE, &name)
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare was found before");
    // Kept open until the end: the process inside leaves when it closes, which it does even if this one is killed.
    let lifeline = child.stdin.take();
    let status = child.wait().expect("the child is ours");
    drop(lifeline);
    drop(buffers);
    assert!(status.success(), "{name} failed inside its namespaces ({status}); its output is above");
}

/// `survives_a_shift` for a closure in test `survives_a_shift`.
fn test_name<F>() -> String {
    let path = std::any::type_name::<F>();
    let path = path.strip_suffix("::{{closure}}").expect("isolated() takes a closure written in the test");
    path.split_once("::").expect("a test lives in a crate").1.to_owned()
}

fn move_in() {
    std::thread::spawn(|| {
        let mut nothing = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut nothing);
        std::process::exit(1);
    });
    for directory in ["/run/netns", LAB] {
        fs::create_dir_all(directory).expect("root may make a directory in /run");
        run(Command::new("mount").args(["-t", "tmpfs", "foreshadow-test", directory]));
    }
    // BMv2 reads the state of its ports from here; the mount inherited shows the interfaces outside.
    run(Command::new("mount").args(["-t", "sysfs", "foreshadow-test", "/sys"]));
    run(Command::new("ip").args(["link", "set", "lo", "up"]));
}

/// Copies the logs of a failed run to where they outlive its namespaces.
struct KeepLogs {
    name: String,
}

impl Drop for KeepLogs {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&self.name);
        let _ = fs::remove_dir_all(&kept);
        let _ = fs::create_dir_all(&kept);
        let dumps = "for socket in \"$0\"/*/br.mgmt; do [ -S $socket ] || continue; for what in flows groups ports; do \
                     ovs-ofctl -O OpenFlow13 dump-$what unix:$socket > ${socket%.mgmt}-$what.log 2>&1; done; done";
        let _ = Command::new("sh").args(["-c", dumps]).arg(LAB).status();
        let copied = Command::new("sh")
            .args(["-c", "cp -r \"$0\"/. \"$1\"; find \"$1\" -type s -delete"])
            .args([Path::new(LAB), &kept])
            .status();
        eprintln!("logs of {} are in {} ({copied:?})", self.name, kept.display());
    }
}

/// The machine's default socket buffer, raised while a fabric runs.
struct Buffers {
    before: Option<u64>,
}

impl Buffers {
    fn raise() -> Self {
        let now: Option<u64> = fs::read_to_string(BUFFER_SYSCTL).ok().and_then(|text| text.trim().parse().ok());
        let before = now.filter(|bytes| *bytes < SOCKET_BUFFER_BYTES);
        if before.is_some() {
            fs::write(BUFFER_SYSCTL, SOCKET_BUFFER_BYTES.to_string())
                .unwrap_or_else(|error| println!("{BUFFER_SYSCTL} stays as it is ({error}): bursts may be lost"));
        }
        Self { before }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            let _ = fs::write(BUFFER_SYSCTL, before.to_string());
        }
    }
}
