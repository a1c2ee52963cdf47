//! The Mininet script starts the repository's own fabric, and the controller makes it reachable.

mod fabric;

use std::path::Path;
use std::process::Command;

use fabric::{Controller, Spec, isolated, output};

#[test]
fn ovs_mininet_fabric_is_reachable() {
    isolated(&["unshare", "ip", "mn", "ovs-vswitchd", "ethtool", "ping"], || {
        // Debian's Open vSwitch keeps its state in fixed places: these are the test's own for as long as it runs.
        for directory in ["/run/openvswitch", "/etc/openvswitch", "/var/log/openvswitch"] {
            std::fs::create_dir_all(directory).expect("root may make it");
            fabric::run(Command::new("mount").args(["-t", "tmpfs", "foreshadow-test", directory]));
        }
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let controller = Controller::start(&Spec::load("clos"), serde_json::json!({}));
        let answer = output(
            Command::new(repository.join("mininet/fabric.py")).arg(repository.join("topologies/clos.yaml")).args([
                "--controller",
                "127.0.0.1:6653",
                "--test",
            ]),
        );
        println!("{}", String::from_utf8_lossy(&answer.stdout));
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        drop(controller);
    });
}
