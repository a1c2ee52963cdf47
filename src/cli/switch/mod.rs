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

/// `HOST:PORT`. A name is looked up when the switch starts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Endpoint(String);

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let sound = text.parse::<SocketAddr>().is_ok()
            || text.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && !host.contains([':', ' ', '/']) && port.parse::<u16>().is_ok()
            });
        if sound { Ok(Self(text)) } else { Err(format!("expected HOST:PORT, came '{text}'")) }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl Endpoint {
    /// The first address of the name, IPv4 before IPv6. `key` says in errors whose it is.
    async fn resolve(&self, key: &str) -> Result<SocketAddr, BadInput> {
        let Self(text) = self;
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let wrong =
            |why: String| BadInput(format!("'{key}' is {text}: {why}; expected an address or a name that has one"));
        let found = tokio::net::lookup_host(text).await.map_err(|error| wrong(error.to_string()))?;
        found.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| wrong("the name has no address".to_owned()))
    }
}

/// What a port leads to: two keys for UDP, one for an interface, none for nowhere.
#[derive(Clone, Debug, Default, Deserialize)]
struct Link {
    /// Where frames for this port arrive; without it the port leads nowhere.
    #[serde(default)]
    listen: Option<Endpoint>,
    /// Where frames that leave by it are sent.
    #[serde(default)]
    peer: Option<Endpoint>,
    /// The network interface that is this port.
    #[serde(default)]
    interface: Option<String>,
}

impl Link {
    async fn attachment(&self, port: u32) -> Result<Option<Attachment>, BadInput> {
        Ok(match (&self.listen, &self.peer, &self.interface) {
            (Some(listen), Some(peer), _) => Some(Attachment::Udp {
                listen: listen.resolve(&format!("listen of port {port}")).await?,
                peer: peer.resolve(&format!("peer of port {port}")).await?,
            }),
            (_, _, Some(name)) => Some(Attachment::Interface(name.clone())),
            _ => None,
        })
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
async fn attachments(ports: &[(u32, Link)]) -> Result<Vec<(PortNo, Attachment)>, BadInput> {
    let mut open = Vec::new();
    for (number, link) in ports {
        open.extend(link.attachment(*number).await?.map(|attachment| (PortNo(*number), attachment)));
    }
    Ok(open)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_hosts_with_ports() {
        for good in ["127.0.0.1:1", "[::1]:6653", "localhost:0", "sdn.example.net:6653"] {
            assert_eq!(Endpoint::try_from(good.to_owned()), Ok(Endpoint(good.to_owned())));
        }
        for bad in ["", "localhost", "localhost:", ":6653", "localhost:70000", "::1:6653", "http://a:1", "two words:1"]
        {
            assert_eq!(Endpoint::try_from(bad.to_owned()), Err(format!("expected HOST:PORT, came '{bad}'")));
        }
    }

    #[tokio::test]
    async fn names_are_looked_up() {
        let resolve = async |text: &str| Endpoint(text.to_owned()).resolve("listen").await;
        assert_eq!(resolve("localhost:9559").await.ok(), Some(SocketAddr::from(([127, 0, 0, 1], 9559))));
        assert_eq!(resolve("[::1]:9").await.ok().map(|address| address.to_string()).as_deref(), Some("[::1]:9"));
        // Reserved to have no address (RFC 6761).
        let BadInput(told) = resolve("switch.invalid:9559").await.expect_err("no such name");
        assert!(told.starts_with("'listen' is switch.invalid:9559: "), "{told}");
        assert!(told.ends_with("; expected an address or a name that has one"), "{told}");
    }
}
