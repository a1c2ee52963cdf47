//! A fabric of real Open vSwitch switches for end-to-end tests.
//!
//! A test's body runs in namespaces of its own (network, mounts, processes): whatever it starts or makes is gone with
//! it, however it ends, and nothing of the machine is touched but one socket buffer default. Inside, every switch of
//! a topology file is an Open vSwitch instance in a network namespace, every host a namespace with a real TCP stack,
//! and the controller is the released binary, listening on its own loopback and on the management links.

// Every test binary takes the part of the harness that it needs.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used)]

mod anynet;
mod controller;
mod fabric;
mod isolation;
#[path = "../common/skip.rs"]
pub mod skip;
mod spec;
mod traffic;

pub use anynet::{Anynet, MININET, number};
pub use controller::{Controller, Rest, wait_for};
pub use fabric::{Fabric, PROGRAMS};
pub use isolation::{isolated, lab};
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
