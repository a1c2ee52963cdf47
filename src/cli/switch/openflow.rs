//! The OpenFlow form of `switch`: it connects to its controller.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Endpoint, Link, SwitchArgs, attachments, problem_of_ports};
use crate::cli::shutdown_on_signal;
use crate::controller::driver::wall_clock;
use crate::fabric::driver::{SharedNetwork, drive};
use crate::fabric::network::Network;
use crate::fabric::switch::SwitchPort;
use crate::fabric::wires::{Arrival, Wires};
use crate::types::{DatapathId, MacAddr, NodeId, PortNo};

/// How often time-outs are looked at; Open vSwitch does it about as often.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);
/// `OFPP_MAX` of OpenFlow is above it; Open vSwitch numbers ports below this.
const PORT_MAX: u32 = 0xfeff;

/// What the file says; docs/DEMO.md lists the keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchFile {
    dpid: u64,
    #[serde(default)]
    name: Option<String>,
    #[serde(default = "default_controller")]
    controller: Endpoint,
    ports: Vec<PortFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortFile {
    number: u32,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    mac: Option<MacAddr>,
    #[serde(default)]
    listen: Option<Endpoint>,
    #[serde(default)]
    peer: Option<Endpoint>,
    #[serde(default)]
    interface: Option<String>,
}

fn default_controller() -> Endpoint {
    SocketAddr::from(([127, 0, 0, 1], 6653)).into()
}

pub(super) async fn run(args: &SwitchArgs) -> anyhow::Result<()> {
    let file: SwitchFile = super::read(args, SwitchFile::problem)?;
    let controller = file.controller.resolve("controller").await?;
    let name = NodeId::new(file.name.as_deref().unwrap_or("switch"));
    let ports = file.ports.iter().map(|port| port.to_switch_port(file.dpid)).collect();
    let network = SharedNetwork::new(Network::single(&name, DatapathId(file.dpid), ports));
    network.with(|network| network.set_time(wall_clock()));
    let shutdown = shutdown_on_signal()?;
    let wires = Wires::open(attachments(&file.links()).await?).await?;
    let mut tasks = JoinSet::new();
    let receiver = network.clone();
    wires.receive(move |batch| take_in(&receiver, batch), &mut tasks, &shutdown);
    tasks.spawn(transmit(network.clone(), wires, shutdown.clone()));
    tasks.spawn(expire(network.clone(), shutdown.clone()));
    tracing::info!(switch = %name, datapath = %DatapathId(file.dpid), %controller, "started");
    tasks.spawn(drive(network, 0, controller, shutdown));
    tasks.join_all().await;
    Ok(())
}

impl SwitchFile {
    fn problem(&self) -> Option<String> {
        if self.dpid == 0 {
            return Some("expected a dpid from 1 to 2^64 - 1, came 0".to_owned());
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

impl PortFile {
    fn to_switch_port(&self, dpid: u64) -> SwitchPort {
        let [.., hi, lo] = dpid.to_be_bytes();
        let mac = self.mac.unwrap_or(MacAddr([0x02, 0x46, 0x54, hi, lo, (self.number & 0xff) as u8]));
        let name = self.name.clone().unwrap_or_else(|| format!("port{}", self.number));
        SwitchPort::new(PortNo(self.number), mac, &name)
    }
}

fn take_in(network: &SharedNetwork, batch: Vec<Arrival>) {
    network.with(|network| {
        network.set_time(wall_clock());
        for arrival in batch {
            match arrival {
                Arrival::Frame { port, bytes } => network.receive(port, &bytes),
                Arrival::Link { port, up } => network.set_link(0, port, up),
            }
        }
    });
}

async fn transmit(network: SharedNetwork, wires: Wires, shutdown: CancellationToken) {
    loop {
        let frames = tokio::select! {
            () = shutdown.cancelled() => return,
            frames = network.wire() => frames,
        };
        for (port, frame) in frames {
            wires.send(port, &frame).await;
        }
    }
}

async fn expire(network: SharedNetwork, shutdown: CancellationToken) {
    let mut interval = tokio::time::interval(EXPIRY_INTERVAL);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = interval.tick() => network.with(|network| network.advance(wall_clock())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_files_are_told() {
        let cases = [
            ("dpid: 1\nports: [{number: 1, listen: '127.0.0.1:1', peer: '127.0.0.1:2'}]", ""),
            ("dpid: 0x51\nports: []", ""),
            ("dpid: 1\nports: [{number: 1, interface: s1-eth1}]", ""),
            ("dpid: 0\nports: []", "expected a dpid"),
            ("dpid: 1\nports: [{number: 0}]", "expected a port number"),
            ("dpid: 1\nports: [{number: 1}, {number: 1}]", "twice"),
            ("dpid: 1\nports: [{number: 1, peer: '127.0.0.1:2'}]", "together"),
            (
                "dpid: 1\nports: [{number: 1, interface: a, listen: '127.0.0.1:1', peer: '127.0.0.1:2'}]",
                "'interface' or",
            ),
            ("dpid: 1\nports: []\ncolour: red", "colour"),
            ("ports: []", "dpid"),
        ];
        for (text, expected) in cases {
            let problem = super::super::problem_in(text, SwitchFile::problem);
            assert!(problem.contains(expected) && problem.is_empty() == expected.is_empty(), "{text}: {problem}");
        }
    }
}
