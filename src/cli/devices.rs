//! The P4Runtime switches of a topology, each with the program it runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BadInput;
use crate::config::{Problem, Topology};
use crate::p4info::mapping::Mapping;
use crate::southbound::p4runtime::Device;
use crate::southbound::p4runtime::pipeline::{self, Pipeline};

/// Reads the mapping files that the topology names, each once.
pub(super) fn devices(topology: &Topology) -> Result<Vec<Device>, BadInput> {
    let mut pipelines: BTreeMap<Option<PathBuf>, Arc<dyn Pipeline>> = BTreeMap::new();
    let mut problems: Vec<Problem> = Vec::new();
    let mut devices = Vec::new();
    for node in &topology.nodes {
        let Some(device) = &node.device else { continue };
        let pipeline = match pipelines.get(&device.pipeline) {
            Some(pipeline) => Arc::clone(pipeline),
            None => match mapping(device.pipeline.as_deref()) {
                Ok(mapping) => Arc::clone(pipelines.entry(device.pipeline.clone()).or_insert(pipeline::of(mapping))),
                Err(found) => {
                    problems.extend(found);
                    continue;
                }
            },
        };
        devices.push(Device {
            datapath: node.datapath,
            id: device.id,
            address: device.address.clone(),
            ports: device.ports.clone(),
            pipeline,
        });
    }
    if problems.is_empty() {
        return Ok(devices);
    }
    problems.dedup();
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Err(BadInput(lines.join("\n")))
}

/// The program of the fabric's own, where no other is named.
fn mapping(path: Option<&Path>) -> Result<Arc<Mapping>, Vec<Problem>> {
    path.map_or_else(|| Ok(Mapping::builtin()), |path| Mapping::load(path).map(Arc::new))
}
