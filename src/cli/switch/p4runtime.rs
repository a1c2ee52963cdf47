//! The P4Runtime form of `switch`: controllers connect to it, and push its program.

use std::net::SocketAddr;

use anyhow::Context;
use serde::Deserialize;
use tokio::net::TcpListener;

use super::{Endpoint, Link, SwitchArgs, attachments, problem_of_ports};
use crate::cli::shutdown_on_signal;
use crate::controller::driver::wall_clock;
use crate::fabric::p4::server::{self, SharedTarget};
use crate::fabric::p4::target::{Behaviour, Target, TargetSettings};
use crate::fabric::wires::Wires;
use crate::types::PortNo;

/// Ports are numbers of nine bits in v1model, and 511 means "drop".
const PORT_MAX: u32 = 510;

/// What the file says; docs/DEMO.md lists the keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchFile {
    device: u64,
    #[serde(default)]
    name: Option<String>,
    #[serde(default = "default_listen")]
    listen: Endpoint,
    #[serde(default = "default_cpu_port")]
    cpu_port: u32,
    #[serde(default)]
    behaviour: BehaviourFile,
    ports: Vec<PortFile>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BehaviourFile {
    #[default]
    Bmv2,
    Specification,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortFile {
    number: u32,
    /// For people who read the file.
    #[serde(default, rename = "name")]
    _name: Option<String>,
    #[serde(default)]
    listen: Option<Endpoint>,
    #[serde(default)]
    peer: Option<Endpoint>,
    #[serde(default)]
    interface: Option<String>,
}

fn default_listen() -> Endpoint {
    SocketAddr::from(([127, 0, 0, 1], 9559)).into()
}

fn default_cpu_port() -> u32 {
    PORT_MAX
}

pub(super) async fn run(args: &SwitchArgs) -> anyhow::Result<()> {
    let file: SwitchFile = super::read(args, SwitchFile::problem)?;
    let settings = TargetSettings {
        device: file.device,
        behaviour: match file.behaviour {
            BehaviourFile::Bmv2 => Behaviour::Bmv2,
            BehaviourFile::Specification => Behaviour::Specification,
        },
        cpu_port: PortNo(file.cpu_port),
        ports: file.ports.iter().map(|port| PortNo(port.number)).collect(),
    };
    let shutdown = shutdown_on_signal()?;
    let wires = Wires::open(attachments(&file.links()).await?).await?;
    let listen = file.listen.resolve("listen").await?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let listen = listener.local_addr().context("a listener has an address")?;
    let name = file.name.as_deref().unwrap_or("switch");
    let (target, frames) = SharedTarget::new(Target::new(settings), wall_clock);
    tracing::info!(switch = name, device = file.device, %listen, "started");
    server::run(target, frames, listener, wires, shutdown).await.context("the server failed")
}

impl SwitchFile {
    fn problem(&self) -> Option<String> {
        if self.device == 0 {
            return Some("expected a device from 1 to 2^64 - 1, came 0".to_owned());
        }
        if !(1..=PORT_MAX).contains(&self.cpu_port) {
            return Some(format!("expected a cpu_port from 1 to {PORT_MAX}, came {}", self.cpu_port));
        }
        if self.ports.iter().any(|port| port.number == self.cpu_port) {
            return Some(format!("expected a cpu_port that is no other port, port {} is both", self.cpu_port));
        }
        problem_of_ports(self.links().iter().map(|(number, link)| (*number, link)), [1, PORT_MAX])
    }

    fn links(&self) -> Vec<(u32, Link)> {
        let link = |port: &PortFile| Link {
            listen: port.listen.clone(),
            peer: port.peer.clone(),
            interface: port.interface.clone(),
        };
        self.ports.iter().map(|port| (port.number, link(port))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_files_are_told() {
        let cases = [
            ("device: 1\nports: [{number: 1, interface: s1-eth1}, {number: 2, name: unused}]", ""),
            ("device: 7\nlisten: '127.0.0.1:0'\nbehaviour: specification\ncpu_port: 500\nports: []", ""),
            ("device: 1\nlisten: 'localhost:0'\nports: [{number: 1, listen: 'a.lan:1', peer: 'b.lan:2'}]", ""),
            ("device: 1\nlisten: localhost\nports: []", "expected HOST:PORT, came 'localhost'"),
            ("device: 0\nports: []", "expected a device"),
            ("device: 1\ncpu_port: 511\nports: []", "expected a cpu_port"),
            ("device: 1\ncpu_port: 3\nports: [{number: 3}]", "is both"),
            ("device: 1\nports: [{number: 511}]", "expected a port number from 1 to 510"),
            ("device: 1\nports: [{number: 1}, {number: 1}]", "twice"),
            ("device: 1\nbehaviour: strict\nports: []", "strict"),
            ("ports: []", "device"),
            ("device: 1\nports: []\ndpid: 1", "dpid"),
        ];
        for (text, expected) in cases {
            let problem = super::super::problem_in(text, SwitchFile::problem);
            assert!(problem.contains(expected) && problem.is_empty() == expected.is_empty(), "{text}: {problem}");
        }
    }
}
