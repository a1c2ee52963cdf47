//! Bridged fabrics: switches without a stage, which forward by MAC address and VLAN (docs/NETWORK.md).

use std::collections::BTreeSet;

use super::WiredLink;
use crate::config::LinkKind;
use crate::plan::{BridgePlan, DatapathPlan, RolePlan};
use crate::types::{NodeIndex, PortNo};

mod neighbours;
pub mod paths;
pub mod stations;

pub use paths::{BridgePaths, Crossing, edge_disjoint};
pub use stations::{KnownStation, Outcome, Reaction, Stations};

/// What the bridge `node` should hold. `links` are all links, or those that end at `node`: the others are passed over.
pub fn bridge_plan(
    node: NodeIndex,
    paths: &BridgePaths,
    stations: &Stations,
    edge_ports: &BTreeSet<PortNo>,
    links: &[WiredLink],
) -> DatapathPlan {
    let at_node = links.iter().filter(|link| link.kind == LinkKind::Data);
    let wired: BTreeSet<PortNo> = at_node.flat_map(|link| ends_at(link, node)).collect();
    let mut next_hops = paths.next_hops(node);
    next_hops.retain(|target, _| stations.holds(*target));
    DatapathPlan {
        index: node,
        // A port may be found to be wired before it is no longer counted among the edge ports.
        edge_ports: edge_ports.difference(&wired).copied().collect(),
        mirror_ports: Vec::new(),
        gateways: Vec::new(),
        attached: Vec::new(),
        next_hops,
        role: RolePlan::Bridge(BridgePlan {
            tree_ports: paths.tree_ports(node),
            link_ports: wired.into_iter().collect(),
            stations: stations.places(),
        }),
    }
}

/// Ports of the link at `node`: both where a switch is wired to itself.
fn ends_at(link: &WiredLink, node: NodeIndex) -> impl Iterator<Item = PortNo> {
    let ends = [(link.a, link.a_port), (link.b, link.b_port)];
    ends.into_iter().filter(move |(at, _)| *at == node).filter_map(|(_, port)| port)
}
