//! The Clos fabric of topologies/clos.yaml, wired up in memory.

use std::path::Path;

use crate::config::{Topology, parse_topology};
use crate::types::{NodeId, NodeIndex};

mod bridge_discovery;
mod bridge_paths;
mod build;
mod discovery;
mod hosts;
mod paths;
mod stages;
mod stations;

fn read(text: &str) -> Topology {
    parse_topology(Path::new("test.yaml"), text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn clos_text() -> &'static str {
    include_str!("../../../topologies/clos.yaml")
}

fn clos() -> Topology {
    read(clos_text())
}

fn index(topology: &Topology, name: &str) -> NodeIndex {
    topology.node(&NodeId::new(name)).unwrap_or_else(|| panic!("no {name}")).index
}
