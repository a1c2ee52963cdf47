//! Typed, validated configuration: the controller's own and the topology's.
//!
//! A file is read into a tree whose values know their line; the readers walk it and gather every [`Problem`].
//! [`Topology`] and [`Config`] are what is left once everything was found right. [`schema`] lists every key.

mod agent_file;
mod controller_file;
pub mod generate;
pub mod import;
mod reader;
pub mod schema;
mod schema_agent;
mod settings;
mod topology;
mod topology_device;
mod topology_file;
mod topology_graph;
mod topology_nat;
mod topology_write;
mod yaml;

pub use agent_file::{AgentConfig, AgentLink, AgentPeer, AgentRole, load_agent};
pub use controller_file::{Checked, Loaded, check, load_config};
pub use reader::Problem;
pub(crate) use reader::{Fields, Reader};
pub use settings::*;
pub use topology::*;
pub use topology_file::{NODES_MAX, TOPOLOGY_VERSION, load_topology, parse_topology};
pub use topology_nat::translated;
pub use topology_write::Comments;
pub(crate) use yaml::{Place, Tree, Value};
