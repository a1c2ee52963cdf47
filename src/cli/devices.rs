//! The P4Runtime switches of a topology, each with the program it runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BadInput;
use crate::config::{Node, Problem, Stage, Topology};
use crate::p4info::mapping::{Form, Mapping};
use crate::southbound::p4runtime::Device;
use crate::southbound::p4runtime::pipeline::{self, Pipeline};
use crate::types::{NodeId, PortNo};

type Mapped = (Arc<Mapping>, Arc<dyn Pipeline>);

/// Reads the mapping files that the topology names, each once.
pub(super) fn devices(topology: &Topology) -> Result<Vec<Device>, BadInput> {
    let mut pipelines: BTreeMap<Option<PathBuf>, Mapped> = BTreeMap::new();
    let mut addresses: BTreeMap<&str, &NodeId> = BTreeMap::new();
    let mut problems: Vec<String> = Vec::new();
    let mut devices = Vec::new();
    for node in &topology.nodes {
        let Some(device) = &node.device else { continue };
        if let Some(other) = addresses.insert(&device.address, &node.id) {
            let address = &device.address;
            problems.push(format!("nodes '{other}' and '{}' have one address, {address}; expected one each", node.id));
        }
        if !pipelines.contains_key(&device.pipeline) {
            match mapping(device.pipeline.as_deref()) {
                Ok(mapping) => {
                    let pipeline = pipeline::of(Arc::clone(&mapping));
                    pipelines.insert(device.pipeline.clone(), (mapping, pipeline));
                }
                Err(found) => {
                    problems.extend(found.iter().map(ToString::to_string));
                    continue;
                }
            }
        }
        let (mapping, pipeline) = &pipelines[&device.pipeline];
        problems.extend(misfit(node, mapping));
        problems.extend(taken_port(node, &device.ports, mapping));
        devices.push(Device {
            datapath: node.datapath,
            id: device.id,
            address: device.address.clone(),
            ports: device.ports.clone(),
            pipeline: Arc::clone(pipeline),
        });
    }
    if problems.is_empty() {
        return Ok(devices);
    }
    problems.dedup();
    Err(BadInput(problems.join("\n")))
}

/// Why this program cannot be what the topology wants of the node.
fn misfit(node: &Node, mapping: &Mapping) -> Option<String> {
    let id = &node.id;
    if mapping.form == Form::Routing && node.stage != Stage::Access {
        let stage = node.stage.name();
        return Some(format!("node '{id}' is of stage {stage} and its program of form routing; expected form fabric"));
    }
    let (router, slots) = (node.router.as_ref()?, u64::from(mapping.connection_slots));
    let (capacity, most) = (u64::from(router.capacity_connections), slots / 2);
    (capacity > most).then(|| {
        format!("node '{id}' has 'capacity_connections' {capacity}; its program holds {slots} slots: expected at most {most}")
    })
}

/// Which port of the node its program sends to the controller by.
fn taken_port(node: &Node, ports: &[PortNo], mapping: &Mapping) -> Option<String> {
    let taken = ports.iter().find(|port| port.0 == mapping.cpu_port)?;
    Some(format!("port {taken} of node '{}' is the 'cpu_port' of its program; expected another number", node.id))
}

/// The program of the fabric's own, where no other is named.
fn mapping(path: Option<&Path>) -> Result<Arc<Mapping>, Vec<Problem>> {
    path.map_or_else(|| Ok(Mapping::builtin()), |path| Mapping::load(path).map(Arc::new))
}
