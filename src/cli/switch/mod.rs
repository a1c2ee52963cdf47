//! `switch`: one emulated switch, OpenFlow or P4Runtime, joined to others by UDP or by network interfaces.
//!
//! Over UDP each frame that leaves a port is one datagram to the port's `peer`, as it is, from the port's `listen` address.

mod openflow;
mod p4runtime;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::BadInput;
use crate::fabric::wires::Attachment;
use crate::types::PortNo;

#[derive(Debug, Args)]
pub struct SwitchArgs {
    /// The switch (docs/DEMO.md)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What it speaks; the file's keys follow from it
    #[arg(long, value_enum, default_value_t = Protocol::Openflow)]
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// OpenFlow 1.3: it connects to its controller
    Openflow,
    /// P4Runtime: controllers connect to it
    P4runtime,
}

/// Runs until a signal ends it.
pub async fn run(args: &SwitchArgs) -> anyhow::Result<()> {
    match args.protocol {
        Protocol::Openflow => openflow::run(args).await,
        Protocol::P4runtime => p4runtime::run(args).await,
    }
}

/// What a port leads to: two keys for UDP, one for an interface, none for nowhere.
#[derive(Clone, Debug, Default, Deserialize)]
struct Link {
    /// Where frames for this port arrive; without it the port leads nowhere.
    #[serde(default)]
    listen: Option<SocketAddr>,
    /// Where frames that leave by it are sent.
    #[serde(default)]
    peer: Option<SocketAddr>,
    /// The network interface that is this port.
    #[serde(default)]
    interface: Option<String>,
}

impl Link {
    fn attachment(&self) -> Option<Attachment> {
        match (self.listen, self.peer, &self.interface) {
            (Some(listen), Some(peer), _) => Some(Attachment::Udp { listen, peer }),
            (_, _, Some(name)) => Some(Attachment::Interface(name.clone())),
            _ => None,
        }
    }
}

/// What is wrong with the ports of a file.
fn problem_of_ports<'p>(ports: impl Iterator<Item = (u32, &'p Link)>, numbers: [u32; 2]) -> Option<String> {
    let mut seen = Vec::new();
    let [least, most] = numbers;
    for (number, link) in ports {
        if !(least..=most).contains(&number) {
            return Some(format!("expected a port number from {least} to {most}, came {number}"));
        }
        if seen.contains(&number) {
            return Some(format!("expected every port once, port {number} is there twice"));
        }
        if link.listen.is_some() != link.peer.is_some() {
            return Some(format!("expected 'listen' and 'peer' together, port {number} has one of them"));
        }
        if link.listen.is_some() && link.interface.is_some() {
            return Some(format!("expected 'interface' or 'listen' and 'peer', port {number} has all of them"));
        }
        seen.push(number);
    }
    None
}

/// The open ends of a file's ports.
fn attachments<'p>(ports: impl Iterator<Item = (u32, &'p Link)>) -> Vec<(PortNo, Attachment)> {
    ports.filter_map(|(number, link)| Some((PortNo(number), link.attachment()?))).collect()
}

/// Reads a file of one of the two forms; `problem` looks at what its types cannot say.
fn read<F: DeserializeOwned>(args: &SwitchArgs, problem: impl Fn(&F) -> Option<String>) -> anyhow::Result<F> {
    let path = args.config.display();
    let text = std::fs::read_to_string(&args.config).map_err(|error| BadInput(format!("{path}: {error}")))?;
    let file: F = serde_saphyr::from_str(&text).map_err(|error| BadInput(format!("{path}: {error}")))?;
    problem(&file).map_or(Ok(file), |problem| Err(BadInput(format!("{path}: {problem}")).into()))
}

#[cfg(test)]
fn problem_in<F: DeserializeOwned>(text: &str, problem: impl Fn(&F) -> Option<String>) -> String {
    match serde_saphyr::from_str::<F>(text) {
        Ok(file) => problem(&file).unwrap_or_default(),
        Err(error) => error.to_string(),
    }
}
