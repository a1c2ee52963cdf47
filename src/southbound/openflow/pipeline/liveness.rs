//! Liveness probes (docs/FAILOVER.md): a first-stage switch sends them back the way they came, without its session.

use super::build::{Builder, ETH_LLDP, apply};
use super::{priority, table};
use crate::plan::DatapathPlan;
use crate::types::MacAddr;
use crate::wire::openflow::{Action, Field, Match, port};

/// Discovery frames are addressed to a group; what is addressed to this switch itself asks whether it lives. The neighbour
/// hands it up by its own entry for discovery. One entry, whatever it holds.
pub(super) fn send_back(plan: &DatapathPlan, builder: &mut Builder) {
    let probe = Match::any().with(Field::EthType, ETH_LLDP).with(Field::EthDst, MacAddr::of_node(plan.index).to_u64());
    builder.flow(table::CLASSIFY, priority::LIVENESS, probe, apply(vec![Action::output(port::IN_PORT)]));
}
