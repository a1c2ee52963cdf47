//! `switch`: one emulated OpenFlow switch, joined to others by UDP.
//!
//! Each frame that leaves a port is one datagram to the port's `peer`, as it is, from the port's `listen` address.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{BadInput, shutdown_on_signal};
use crate::controller::driver::wall_clock;
use crate::fabric::driver::{SharedNetwork, drive};
use crate::fabric::network::Network;
use crate::fabric::switch::SwitchPort;
use crate::types::{DatapathId, MacAddr, NodeId, PortNo};

/// How often time-outs are looked at; Open vSwitch does it about as often.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);
/// Longest Ethernet frame that a datagram may carry.
const FRAME_BYTES_MAX: usize = 9_216;
/// `OFPP_MAX` of OpenFlow is above it; Open vSwitch numbers ports below this.
const PORT_MAX: u32 = 0xfeff;

#[derive(Debug, Args)]
pub struct SwitchArgs {
    /// The switch (docs/DEMO.md)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// What the file says; docs/DEMO.md lists the keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchFile {
    dpid: u64,
    #[serde(default)]
    name: Option<String>,
    #[serde(default = "default_controller")]
    controller: SocketAddr,
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
    /// Where frames for this port arrive; without it the port leads nowhere.
    #[serde(default)]
    listen: Option<SocketAddr>,
    /// Where frames that leave by it are sent.
    #[serde(default)]
    peer: Option<SocketAddr>,
}

fn default_controller() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 6653))
}

/// Runs until a signal ends it.
pub async fn run(args: &SwitchArgs) -> anyhow::Result<()> {
    let file = read(args)?;
    let name = NodeId::new(file.name.as_deref().unwrap_or("switch"));
    let ports = file.ports.iter().map(|port| port.to_switch_port(file.dpid)).collect();
    let network = SharedNetwork::new(Network::single(&name, DatapathId(file.dpid), ports));
    network.with(|network| network.set_time(wall_clock()));
    let shutdown = shutdown_on_signal()?;
    let mut tasks = JoinSet::new();
    let mut sockets = BTreeMap::new();
    for port in &file.ports {
        let (Some(listen), Some(peer)) = (port.listen, port.peer) else { continue };
        let socket = UdpSocket::bind(listen).await.with_context(|| format!("cannot listen on udp://{listen}"))?;
        let socket = Arc::new(socket);
        sockets.insert(PortNo(port.number), (Arc::clone(&socket), peer));
        tasks.spawn(receive(network.clone(), PortNo(port.number), socket, peer, shutdown.clone()));
    }
    tasks.spawn(transmit(network.clone(), sockets, shutdown.clone()));
    tasks.spawn(expire(network.clone(), shutdown.clone()));
    tracing::info!(switch = %name, datapath = %DatapathId(file.dpid), controller = %file.controller, "started");
    tasks.spawn(drive(network, 0, file.controller, shutdown));
    tasks.join_all().await;
    Ok(())
}

fn read(args: &SwitchArgs) -> anyhow::Result<SwitchFile> {
    let path = args.config.display();
    let text = std::fs::read_to_string(&args.config).map_err(|error| BadInput(format!("{path}: {error}")))?;
    let file: SwitchFile = serde_saphyr::from_str(&text).map_err(|error| BadInput(format!("{path}: {error}")))?;
    let problem = file.problem();
    problem.map_or(Ok(file), |problem| Err(BadInput(format!("{path}: {problem}")).into()))
}

impl SwitchFile {
    fn problem(&self) -> Option<String> {
        if self.dpid == 0 {
            return Some("expected a dpid from 1 to 2^64 - 1, came 0".to_owned());
        }
        for (at, port) in self.ports.iter().enumerate() {
            let number = port.number;
            if !(1..=PORT_MAX).contains(&number) {
                return Some(format!("expected a port number from 1 to {PORT_MAX}, came {number}"));
            }
            if self.ports[..at].iter().any(|other| other.number == number) {
                return Some(format!("expected every port once, port {number} is there twice"));
            }
            if port.listen.is_some() != port.peer.is_some() {
                return Some(format!("expected 'listen' and 'peer' together, port {number} has one of them"));
            }
        }
        None
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

/// Frames from the far end of one port. What comes from anywhere else is dropped.
async fn receive(
    network: SharedNetwork,
    port: PortNo,
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    shutdown: CancellationToken,
) {
    let mut frame = vec![0; FRAME_BYTES_MAX];
    loop {
        let received = tokio::select! {
            () = shutdown.cancelled() => return,
            received = socket.recv_from(&mut frame) => received,
        };
        // An error here is the echo of a datagram that found nobody: the far end is not up yet.
        if let Ok((length, from)) = received
            && from == peer
        {
            network.with(|network| {
                network.set_time(wall_clock());
                network.receive(port, &frame[..length]);
            });
        }
    }
}

async fn transmit(
    network: SharedNetwork,
    sockets: BTreeMap<PortNo, (Arc<UdpSocket>, SocketAddr)>,
    shutdown: CancellationToken,
) {
    loop {
        let frames = tokio::select! {
            () = shutdown.cancelled() => return,
            frames = network.wire() => frames,
        };
        for (port, frame) in frames {
            if let Some((socket, peer)) = sockets.get(&port) {
                // Lost like a frame on a cable that leads nowhere.
                let _ = socket.send_to(&frame, peer).await;
            }
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

    fn problem_of(text: &str) -> String {
        match serde_saphyr::from_str::<SwitchFile>(text) {
            Ok(file) => file.problem().unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn bad_files_are_told() {
        let cases = [
            ("dpid: 1\nports: [{number: 1, listen: '127.0.0.1:1', peer: '127.0.0.1:2'}]", ""),
            ("dpid: 0x51\nports: []", ""),
            ("dpid: 0\nports: []", "expected a dpid"),
            ("dpid: 1\nports: [{number: 0}]", "expected a port number"),
            ("dpid: 1\nports: [{number: 1}, {number: 1}]", "twice"),
            ("dpid: 1\nports: [{number: 1, peer: '127.0.0.1:2'}]", "together"),
            ("dpid: 1\nports: []\ncolour: red", "colour"),
            ("ports: []", "dpid"),
        ];
        for (text, expected) in cases {
            let problem = problem_of(text);
            assert!(problem.contains(expected) && problem.is_empty() == expected.is_empty(), "{text}: {problem}");
        }
    }
}
