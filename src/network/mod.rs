//! The fabric as it is just now: what is wired to what, which paths there are, where hosts are, and what each datapath
//! should hold for it.
//!
//! Every part is a machine without input or output of its own: it is handed ports, frames and the time, and hands back
//! values.

use serde::{Deserialize, Serialize};

use crate::config::LinkKind;
use crate::types::{NodeIndex, PortNo};

pub mod bridge;
pub mod build;
pub mod discovery;
pub mod hosts;
pub mod liveness;
pub mod paths;
pub mod stages;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// Declared, and seen by LLDP in both directions.
    Up,
    /// Declared, one of its ports is down.
    Down,
    /// Declared, not seen by LLDP yet or any more.
    Unseen,
    /// Seen by LLDP, not declared.
    Undeclared,
}

/// How far paths may rely on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Seen, or declared so lately that it could not be seen yet.
    Good,
    /// Neither seen nor known to be down: taken only where no other path leads on.
    Doubtful,
    /// A port is down, or is wired to something else.
    Dead,
}

/// A link with its ports as far as they are known, and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WiredLink {
    pub a: NodeIndex,
    pub a_port: Option<PortNo>,
    pub b: NodeIndex,
    pub b_port: Option<PortNo>,
    pub kind: LinkKind,
    pub latency_us: u32,
    pub capacity_bps: u64,
    pub state: LinkState,
    pub trust: Trust,
    /// From one end to the other, as probes took it; `None` before any did.
    #[serde(default)]
    pub measured_latency_us: Option<u32>,
}

impl WiredLink {
    /// The port at `node`, and the node at the other end; `None` if the link does not end at `node`.
    pub fn seen_from(&self, node: NodeIndex) -> Option<(Option<PortNo>, NodeIndex)> {
        if node == self.a {
            Some((self.a_port, self.b))
        } else if node == self.b {
            Some((self.b_port, self.a))
        } else {
            None
        }
    }
}

/// The declared links as their file gives them, before anything was seen: all good.
pub fn declared_links(topology: &crate::config::Topology) -> Vec<WiredLink> {
    let index = |end: &crate::config::LinkEnd| topology.node(&end.node).map(|node| node.index);
    let wired = topology.links.iter().filter_map(|link| {
        Some(WiredLink {
            a: index(&link.a)?,
            a_port: link.a.port,
            b: index(&link.b)?,
            b_port: link.b.port,
            kind: link.kind,
            latency_us: link.latency_us,
            capacity_bps: link.capacity_bps,
            state: LinkState::Unseen,
            trust: Trust::Good,
            measured_latency_us: None,
        })
    });
    wired.collect()
}

#[cfg(test)]
mod tests;
