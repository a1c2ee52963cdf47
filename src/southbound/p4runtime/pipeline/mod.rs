//! What a session needs of a P4 program: from a plan to entities, from counters and sweep reports to a reading.
//!
//! Everything here is a pure function of the plan and of the program's mapping. docs/P4.md tells what the parts of the
//! data path are.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::P4State;
use crate::p4info::mapping::{Form, Mapping};
use crate::plan::{Choice, DatapathPlan, SLOTS, Spread};
use crate::southbound::Reading;
use crate::types::{NodeIndex, PortNo};
use crate::wire::p4runtime::{config, v1};

mod builder;
mod counters;
mod fabric;
mod ids;
mod packets;
mod reads;
mod regions;
mod routing;
pub mod sweep;
#[cfg(test)]
mod tests;
mod text;

pub use sweep::{Sweep, SweepKind, SweepReport};
pub use text::Text;

use builder::{Builder, Value};

/// The pipeline of a mapping.
pub fn of(mapping: Arc<Mapping>) -> Arc<dyn Pipeline> {
    match mapping.form {
        Form::Fabric => Arc::new(fabric::Fabric::new(mapping)),
        Form::Routing => Arc::new(routing::Routing::new(mapping)),
    }
}

/// A P4 program as sessions see it: they know no table, action or group of it.
pub trait Pipeline: Debug + Send + Sync {
    /// What the switch has to run.
    fn forwarding_config(&self) -> &ForwardingConfig;

    /// Everything that a switch with this plan should hold. The same plan gives the same state. What the program cannot
    /// do is told as a problem, and the rest is compiled.
    fn compile(&self, plan: &DatapathPlan) -> Compiled;

    /// Reads, most with wildcards, whose answers are all that [`Self::compile`] could have put into a switch.
    fn read_back(&self) -> Vec<v1::Entity>;

    /// How a switch that holds this chooses routers, by the number of the service.
    fn choices(&self, held: &P4State) -> BTreeMap<u16, Choice>;

    /// Routers that others stand in for, by what a switch holds.
    fn stand_ins(&self, _held: &P4State) -> BTreeMap<NodeIndex, NodeIndex> {
        BTreeMap::new()
    }

    /// What makes up a reading. `round` counts the collections of a session: what need not be swept every time takes
    /// turns.
    fn collect(&self, plan: &DatapathPlan, round: u64) -> Collection;

    /// What the answers to [`Self::collect`] say, in whatever order they came; what was not answered is missing.
    fn reading(&self, plan: &DatapathPlan, answers: &[v1::Entity], reports: &[SweepReport]) -> Reading;

    /// What a packet-in is. The error says what is wrong with it.
    fn incoming(&self, packet: &v1::PacketIn) -> Result<Incoming, String>;

    /// A frame that leaves by this port.
    fn packet_out(&self, port: PortNo, data: Vec<u8>) -> v1::PacketOut;

    /// Sweeps over all that a switch with this plan holds of an owner, and to which of its shadows they emit. None where it
    /// holds nothing, has no port to the shadow, or the program knows no such thing.
    fn replication(
        &self,
        _plan: &DatapathPlan,
        _kind: SweepKind,
        _owner: NodeIndex,
        _shadow: Option<NodeIndex>,
    ) -> Vec<Sweep> {
        Vec::new()
    }

    /// Starts a sweep, which is answered by one [`Incoming::Report`] with the same token.
    fn sweep(&self, sweep: &Sweep) -> v1::PacketOut;
}

/// The forwarding pipeline config of a switch.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardingConfig {
    pub p4info: config::P4Info,
    /// What the target runs; for BMv2 the compiler's JSON.
    pub device_config: Vec<u8>,
    /// Hash of both: a switch that shows it needs no push.
    pub cookie: u64,
}

impl ForwardingConfig {
    fn of(mapping: &Mapping) -> Self {
        Self {
            p4info: mapping.info.source().clone(),
            device_config: mapping.device_config.clone(),
            cookie: mapping.cookie,
        }
    }
}

/// What a plan became.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compiled {
    pub state: P4State,
    pub problems: Vec<Problem>,
}

/// Something of a plan that the program cannot do, or can do only in part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Which entity, in the program's names.
    pub entity: String,
    /// What is wrong, what was expected, and what became of it.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.entity, self.what)
    }
}

/// What to ask of a switch for one reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collection {
    /// Counters.
    pub reads: Vec<v1::Entity>,
    /// To be sent one after the other, each after the report of the one before. The sender gives them their tokens.
    pub sweeps: Vec<Sweep>,
}

/// What a packet-in is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Frame { port: PortNo, data: Vec<u8> },
    Report(SweepReport),
}

/// An entry of the part `routes`, unless a prefix before it was the same: hosts go before gateways, and gateways before
/// services.
fn route(builder: &mut Builder<'_>, prefix: Ipv4Net, action: &str, params: &[(&str, u128)]) {
    let key = [("destination", Value::Lpm(prefix.network().to_bits().into(), prefix.prefix_len()))];
    let key = [("vrf", Value::Exact(0)), key[0]];
    if builder.is_free("routes", &key) {
        builder.entry("routes", &key, action, params);
    }
}

/// Slots from weights; routers in ascending order. `None` where the weights are not those of a choice.
fn choice_of(mut weights: Vec<(NodeIndex, i32)>) -> Option<Choice> {
    weights.sort_unstable();
    let mut slots = Vec::with_capacity(SLOTS);
    for (router, weight) in weights {
        let weight = usize::try_from(weight).ok().filter(|weight| slots.len() + weight <= SLOTS)?;
        slots.extend(std::iter::repeat_n(router, weight));
    }
    (slots.len() == SLOTS).then_some(Choice { slots, spread: Spread::default() })
}
