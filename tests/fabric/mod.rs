//! A fabric of real switches for end-to-end tests: Open vSwitch, BMv2, emulated P4Runtime targets, or some of each.
//!
//! A test's body runs in namespaces of its own (network, mounts, processes): whatever it starts or makes is gone with
//! it, however it ends, and nothing of the machine is touched but one socket buffer default. Inside, every switch of
//! a topology file is an instance of its kind in a network namespace, every host a namespace with a real TCP stack, and
//! the controller is the released binary. A management link leads to every switch: Open vSwitch finds the controller
//! there, the controller finds P4Runtime switches.

// Every test binary takes the part of the harness that it needs.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used)]

mod anynet;
mod controller;
mod isolation;
mod kind;
mod network;
mod openvswitch;
mod p4;
#[path = "../common/skip.rs"]
pub mod skip;
mod spec;
mod traffic;

pub use anynet::{Anynet, MININET, number, own_openvswitch};
pub use controller::{Controller, Rest, wait_for};
pub use isolation::{isolated, isolated_for, isolated_on, lab};
pub use kind::Kind;
pub use network::{Fabric, PROGRAMS};
pub use p4::Holdings;
pub use spec::{HostSpec, LinkSpec, NodeSpec, Spec};
pub use traffic::{Seen, Traffic, Watch};

use std::process::{Command, Output};

/// Runs a program to its end; its output must be a success.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
