//! A switch without a stage: forwards by MAC address and VLAN.

use super::build::{Builder, apply, bucket};
use super::{edge, group, priority, table};
use crate::plan::{BridgePlan, DatapathPlan, Station};
use crate::southbound::openflow::state::SwitchState;
use crate::types::PortNo;
use crate::wire::openflow::{Action, GroupType, Match};

pub(super) fn compile(plan: &DatapathPlan, bridge: &BridgePlan, builder: &mut Builder) {
    edge::classify(plan, builder);
    let everyone = bridge.tree_ports.iter().chain(&plan.edge_ports);
    let buckets = everyone.map(|port| bucket(0, vec![Action::output(*port)])).collect();
    builder.group(group::FLOOD, GroupType::All, buckets);
    builder.flow(table::STATION, priority::MISS, Match::any(), apply(flood()));
}

/// To every port of the tree and every edge port but the one that the frame came from.
pub(super) fn flood() -> Vec<Action> {
    vec![Action::Group(group::FLOOD)]
}

pub(super) fn stations(_state: &SwitchState) -> Vec<(Station, PortNo)> {
    Vec::new()
}
