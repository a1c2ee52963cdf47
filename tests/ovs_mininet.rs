//! The Mininet script starts the repository's own fabric, of any kind of switch, and the controller makes it reachable.

mod fabric;

use std::path::Path;
use std::process::Command;

use fabric::{Controller, Kind, Spec, isolated_on, lab, output, own_openvswitch, skip};

/// Every host reaches every server in Mininet, and the script says what it was to start.
fn is_reachable(spec: &Spec, p4_target: &str, said: &str) {
    own_openvswitch();
    let controller = Controller::start(spec, serde_json::json!({}));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("mininet/fabric.py");
    let answer = output(Command::new(script).arg(lab().join("topology.yaml")).args([
        "--controller",
        "127.0.0.1:6653",
        "--p4-target",
        p4_target,
        "--test",
    ]));
    let printed = String::from_utf8_lossy(&answer.stdout);
    println!("{printed}");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    assert!(printed.contains(said), "expected {said}");
    drop(controller);
}

/// `skip` sees `mn` and `ping` missing as it does Open vSwitch.
fn has_mininet() -> bool {
    skip::require("ovs", skip::not_root().or_else(|| skip::missing_program(&fabric::MININET)))
}

#[test]
fn ovs_mininet_fabric_is_reachable() {
    if has_mininet() {
        isolated_on(&[Kind::OpenVSwitch], || is_reachable(&Spec::load("clos"), "unused", "11 switches and 8 hosts up"));
    }
}

/// A third-stage switch and a router are emulated P4Runtime targets.
#[test]
fn p4_mininet_mixed_fabric_is_reachable() {
    if has_mininet() {
        isolated_on(&[Kind::OpenVSwitch, Kind::Emulated], || {
            let program = env!("CARGO_BIN_EXE_foreshadow");
            is_reachable(&on_loopback(&["t1", "r1"]), program, "11 switches, 2 of them foreshadow and 8 hosts up");
        });
    }
}

/// The same with BMv2.
#[test]
fn bmv2_mininet_mixed_fabric_is_reachable() {
    if has_mininet() {
        isolated_on(&[Kind::OpenVSwitch, Kind::Bmv2], || {
            let said = "11 switches, 2 of them simple_switch_grpc and 8 hosts up";
            is_reachable(&on_loopback(&["t1", "r1"]), "simple_switch_grpc", said);
        });
    }
}

/// Mininet's switches are all in one namespace, the controller's: P4Runtime nodes listen where they do by default.
fn on_loopback(nodes: &[&str]) -> Spec {
    let mut spec = Spec::load("clos");
    for node in nodes {
        spec.speak_p4(node, Kind::Emulated).set_default_address(node);
    }
    spec
}
