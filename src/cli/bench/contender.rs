//! The controllers that a benchmark compares, each a process of its own on this machine.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::fake_switch::SwitchSpec;
use super::generator::{EdgeHost, Load, Member};
use super::scale::{Account, Usage};
use crate::types::{DatapathId, MacAddr, PortNo};

/// Asks for port statistics once a second, on os-ken.
const OS_KEN_STATISTICS: &str = include_str!("../../../benches/peer/stats_collector.py");
/// Answers ARP requests with packet-outs, as Foreshadow does, on os-ken.
const OS_KEN_APP: &str = include_str!("../../../benches/peer/arp_responder.py");

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Foreshadow,
    /// Python framework; the apps of benches/peer do the same work.
    OsKen,
    /// Open vSwitch's own test controller as a hub: it sends every packet back without looking at it.
    #[value(name = "ovs-testcontroller")]
    OvsTestController,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Foreshadow => "foreshadow",
            Self::OsKen => "os-ken",
            Self::OvsTestController => "ovs-testcontroller",
        }
    }
}

/// A running controller; ends when dropped.
#[derive(Debug)]
pub(super) struct Contender {
    child: Child,
    pub(super) address: SocketAddr,
    log: PathBuf,
}

impl Contender {
    /// Starts a controller. `Err` where it cannot be started, which for a peer means that it is not installed.
    pub(super) fn start(kind: Kind, plan: FabricSpec, changes: u64, folder: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let command = match kind {
            Kind::Foreshadow => {
                std::fs::write(folder.join("topology.yaml"), plan.topology())?;
                let http = free_address()?;
                let listen = format!("openflow_listen: {address}\nhttp_listen: {http}\n");
                foreshadow(&format!("topology: topology.yaml\n{listen}"), folder)?
            }
            Kind::OsKen => {
                let mut command = os_ken("arp_responder.py", OS_KEN_APP, address, folder)?;
                command.arg((changes / plan.switches().max(1)).to_string());
                command
            }
            Kind::OvsTestController => ovs_testcontroller(address)?,
        };
        Self::spawn(kind, command, address, folder)
    }

    /// Starts a controller that asks every switch for its port statistics once a second, and says where it accounts for
    /// its rounds.
    pub(super) fn start_scale(kind: Kind, folder: &Path) -> anyhow::Result<(Self, Account)> {
        let (address, http) = (free_address()?, free_address()?);
        let (command, account) = match kind {
            Kind::Foreshadow => {
                let command = foreshadow(&format!("openflow_listen: {address}\nhttp_listen: {http}\n"), folder)?;
                (command, Account::Rest { address: http, last: None })
            }
            Kind::OsKen => {
                let path = folder.join("rounds");
                let mut command = os_ken("stats_collector.py", OS_KEN_STATISTICS, address, folder)?;
                command.arg(&path);
                (command, Account::File { path, taken: 0 })
            }
            Kind::OvsTestController => bail!("it asks for no statistics"),
        };
        Ok((Self::spawn(kind, command, address, folder)?, account))
    }

    fn spawn(kind: Kind, mut command: Command, address: SocketAddr, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{}.log", kind.name()));
        let file = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {}", kind.name()))?;
        Ok(Self { child, address, log })
    }

    /// What the process uses now.
    pub(super) fn usage(&self) -> Usage {
        Usage::of(self.child.id())
    }

    /// Most memory this process held at once; 0 where the system does not tell.
    pub(super) fn peak_rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok();
        let line = status.as_deref().and_then(|status| status.lines().find_map(|line| line.strip_prefix("VmHWM:")));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    }

    /// The end of what it said, for an error.
    pub(super) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}

/// This program as a controller with this configuration.
fn foreshadow(settings: &str, folder: &Path) -> anyhow::Result<Command> {
    let config = folder.join("foreshadow.yaml");
    std::fs::write(&config, settings)?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg("run").arg("--config").arg(config).env("RUST_LOG", "warn");
    Ok(command)
}

/// An application of os-ken, whose first argument is the port.
fn os_ken(name: &str, app: &str, address: SocketAddr, folder: &Path) -> anyhow::Result<Command> {
    let probe = Command::new("python3").args(["-c", "import os_ken"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        bail!("python3 with the package os-ken is not installed");
    }
    let file = folder.join(name);
    std::fs::write(&file, app)?;
    let mut command = Command::new("python3");
    command.arg(file).arg(address.port().to_string());
    Ok(command)
}

fn ovs_testcontroller(address: SocketAddr) -> anyhow::Result<Command> {
    let program = "ovs-testcontroller";
    let probe = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        bail!("ovs-testcontroller (Debian: openvswitch-testcontroller) is not installed");
    }
    let mut command = Command::new(program);
    command.arg(format!("ptcp:{}:{}", address.port(), address.ip())).args(["--hub", "--max-idle=permanent"]);
    Ok(command)
}

/// A three-stage fabric with `edges` third-stage switches of one host each.
#[derive(Clone, Copy, Debug)]
pub(super) struct FabricSpec {
    pub(super) edges: u16,
}

/// First-stage routers, second-stage and outside switches beside the edges.
const CORE: [(&str, u64); 4] = [("o1", 1), ("r1", 2), ("r2", 3), ("s1", 4)];
const EDGE_HOST_PORT: PortNo = PortNo(2);

impl FabricSpec {
    pub(super) fn switches(self) -> u64 {
        CORE.len() as u64 + u64::from(self.edges)
    }

    /// Ends of every wire, by datapath and port. `true`: a mirror link.
    fn wires(self) -> Vec<([(u64, u32); 2], bool)> {
        let core = [
            ([(4, 1), (2, 1)], false),
            ([(4, 2), (3, 1)], false),
            ([(2, 2), (1, 1)], false),
            ([(3, 2), (1, 2)], false),
            ([(2, 3), (3, 3)], true),
        ];
        let edges = (1..=self.edges).map(|edge| ([(Self::edge(edge), 1), (4, 2 + u32::from(edge))], false));
        core.into_iter().chain(edges).collect()
    }

    fn edge(number: u16) -> u64 {
        0x100 + u64::from(number)
    }

    fn host(number: u16) -> EdgeHost {
        let [hi, lo] = number.to_be_bytes();
        let gateway = Ipv4Addr::new(10, hi, lo, 254);
        EdgeHost {
            port: EDGE_HOST_PORT,
            mac: MacAddr([2, 0, 0, 0, hi, lo]),
            address: Ipv4Addr::new(10, hi, lo, 1),
            gateway,
        }
    }

    pub(super) fn load(self) -> Load {
        let wires = self.wires();
        let member = |datapath: u64, host: Option<EdgeHost>| {
            let ends = wires.iter().flat_map(|(ends, _)| ends).filter(|(of, _)| *of == datapath);
            let ports = ends.map(|(_, port)| PortNo(*port)).chain(host.map(|host| host.port)).collect();
            Member { spec: SwitchSpec { datapath: DatapathId(datapath), ports }, host }
        };
        let edges = (1..=self.edges).map(|edge| member(Self::edge(edge), Some(Self::host(edge))));
        let end = |(datapath, port)| (DatapathId(datapath), PortNo(port));
        Load {
            members: CORE.iter().map(|(_, datapath)| member(*datapath, None)).chain(edges).collect(),
            wires: wires.iter().flat_map(|([a, b], _)| [(end(*a), end(*b)), (end(*b), end(*a))]).collect(),
        }
    }

    /// The same fabric as a topology file.
    fn topology(self) -> String {
        let mut text = String::from("version: 1\nnodes:\n");
        let mut line = |indented: String| {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "  - {{{indented}}}");
        };
        let router = "stage: first, capacity_connections: 1000, threshold_available: 200";
        for (id, datapath) in CORE {
            let kind = match &id[..1] {
                "o" => "stage: outside",
                "r" => router,
                _ => "stage: second",
            };
            line(format!("id: {id}, dpid: {datapath}, {kind}"));
        }
        (1..=self.edges).for_each(|edge| line(format!("id: t{edge}, dpid: {}, stage: third", Self::edge(edge))));
        text.push_str("links:\n");
        let name = |datapath: u64| match CORE.iter().find(|(_, of)| *of == datapath) {
            Some((id, _)) => (*id).to_owned(),
            None => format!("t{}", datapath - Self::edge(0)),
        };
        for ([(a, a_port), (b, b_port)], mirror) in self.wires() {
            let kind = if mirror { ", kind: mirror" } else { "" };
            let _ = writeln!(text, "  - {{a: \"{}:{a_port}\", b: \"{}:{b_port}\"{kind}}}", name(a), name(b));
        }
        text.push_str(
            "services:\n  - {id: internet, prefixes: [0.0.0.0/0], shares: {r1: 1, r2: 1}, outside: [o1]}\nhosts:\n",
        );
        for edge in 1..=self.edges {
            let EdgeHost { port, mac, address, gateway } = Self::host(edge);
            let _ = writeln!(
                text,
                "  - {{id: h{edge}, address: {address}/24, mac: \"{mac}\", gateway: {gateway}, attach: \"t{edge}:{port}\"}}"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_topology;

    #[test]
    fn the_generated_fabric_is_a_good_topology_of_its_load() {
        for edges in [1, 16, 300] {
            let spec = FabricSpec { edges };
            let topology = parse_topology(Path::new("bench.yaml"), &spec.topology()).expect("a good topology");
            let load = spec.load();
            assert_eq!(topology.nodes.len() as u64, spec.switches());
            assert_eq!(load.members.len(), topology.nodes.len());
            assert_eq!(load.wires.len(), 2 * topology.links.len());
            for member in &load.members {
                assert!(topology.by_datapath(member.spec.datapath).is_some());
            }
        }
    }
}
