//! A program of form `routing`: a third stage that forwards by destination alone, with WCMP groups filled by one-shot
//! action sets, as SAI-style programs have them (`p4/wcmp.p4`). It keeps no pins: a change of weights moves connections
//! that are established.

use std::collections::BTreeMap;
use std::sync::Arc;

mod compile;

use super::{
    Collection, Compiled, ForwardingConfig, Incoming, Pipeline, Sweep, SweepReport, choice_of, counters, packets, reads,
};
use crate::p4info::mapping::{Form, Mapping};
use crate::plan::{Choice, DatapathPlan};
use crate::southbound::Reading;
use crate::southbound::p4runtime::P4State;
use crate::types::{MacAddr, NodeIndex, PortNo};
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::table_action::Type as Act;

/// A switch that routes.
#[derive(Debug)]
pub(super) struct Routing {
    mapping: Arc<Mapping>,
    config: ForwardingConfig,
}

impl Routing {
    pub(super) fn new(mapping: Arc<Mapping>) -> Self {
        debug_assert_eq!(mapping.form, Form::Routing);
        Self { config: ForwardingConfig::of(&mapping), mapping }
    }
}

impl Pipeline for Routing {
    fn forwarding_config(&self) -> &ForwardingConfig {
        &self.config
    }

    fn compile(&self, plan: &DatapathPlan) -> Compiled {
        compile::compile(&self.mapping, plan)
    }

    fn read_back(&self) -> Vec<v1::Entity> {
        reads::read_back(&self.mapping, true)
    }

    /// By what router ids mean now: the switch holds no others.
    fn choices(&self, held: &P4State) -> BTreeMap<u16, Choice> {
        choices(&self.mapping, held).unwrap_or_default()
    }

    fn collect(&self, plan: &DatapathPlan, _: u64) -> Collection {
        Collection { reads: counters::port_reads(&self.mapping, plan), sweeps: Vec::new() }
    }

    fn reading(&self, _: &DatapathPlan, answers: &[v1::Entity], _: &[SweepReport]) -> Reading {
        Reading { ports: counters::port_counters(&self.mapping, answers), ..Reading::default() }
    }

    fn incoming(&self, packet: &v1::PacketIn) -> Result<Incoming, String> {
        packets::incoming(&self.mapping, packet)
    }

    fn packet_out(&self, port: PortNo, data: Vec<u8>) -> v1::PacketOut {
        packets::packet_out(&self.mapping, port, data)
    }

    /// There are no slots, so nothing asks for this.
    fn sweep(&self, sweep: &Sweep) -> v1::PacketOut {
        packets::sweep(&self.mapping, sweep)
    }
}

/// Routers and weights, through next hops and neighbours to MAC addresses of nodes.
fn choices(mapping: &Mapping, held: &P4State) -> Option<BTreeMap<u16, Choice>> {
    let (groups, next_hops) = (mapping.part("groups")?, mapping.part("next_hops")?);
    let neighbours = mapping.part("neighbours")?;
    let mut macs: BTreeMap<(u128, u128), NodeIndex> = BTreeMap::new();
    for entry in held.entries(neighbours.id) {
        let key = reads::key_values(neighbours, entry);
        let mac = called(entry).and_then(|action| reads::param(neighbours, "is", "mac", action));
        if let (Some(interface), Some(neighbour), Some(node)) =
            (key.get("interface"), key.get("neighbour"), mac.and_then(node_of))
        {
            macs.insert((*interface, *neighbour), node);
        }
    }
    let mut nodes: BTreeMap<u128, NodeIndex> = BTreeMap::new();
    for entry in held.entries(next_hops.id) {
        let Some(action) = called(entry) else { continue };
        let param = |name| reads::param(next_hops, "through", name, action);
        let place = param("interface").zip(param("neighbour"));
        let node = place.and_then(|place| macs.get(&place));
        if let (Some(id), Some(node)) = (reads::key_values(next_hops, entry).get("next_hop"), node) {
            nodes.insert(*id, *node);
        }
    }
    let choice = |entry: &v1::TableEntry| {
        let group = u16::try_from(*reads::key_values(groups, entry).get("group")?).ok()?;
        let service = (group < compile::NODE_GROUPS).then_some(group)?;
        let Act::ActionProfileActionSet(set) = entry.action.as_ref()?.r#type.as_ref()? else { return None };
        let weights = set.action_profile_actions.iter().map(|one| {
            let next_hop = reads::param(groups, "to_next_hop", "next_hop", one.action.as_ref()?)?;
            Some((*nodes.get(&next_hop)?, one.weight))
        });
        Some((service, choice_of(weights.collect::<Option<Vec<_>>>()?)?))
    };
    Some(held.entries(groups.id).filter_map(choice).collect())
}

fn called(entry: &v1::TableEntry) -> Option<&v1::Action> {
    match entry.action.as_ref()?.r#type.as_ref()? {
        Act::Action(action) => Some(action),
        Act::ActionProfileMemberId(_) | Act::ActionProfileGroupId(_) | Act::ActionProfileActionSet(_) => None,
    }
}

fn node_of(mac: u128) -> Option<NodeIndex> {
    let mac = MacAddr::from_u64(u64::try_from(mac).ok()?);
    let [.., high, low] = mac.0;
    let node = NodeIndex(u16::from_be_bytes([high, low]));
    (MacAddr::of_node(node) == mac).then_some(node)
}
