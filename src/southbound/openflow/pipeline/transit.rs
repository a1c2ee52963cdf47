//! Stage 2: forwards on the MAC address of a node and keeps it, so that whoever receives knows whom it was for.

use super::build::{Builder, apply};
use super::{edge, hops, priority, table};
use crate::plan::DatapathPlan;
use crate::types::MacAddr;
use crate::wire::openflow::{Field, Match};

pub(super) fn compile(plan: &DatapathPlan, builder: &mut Builder) {
    edge::classify(plan, builder);
    for node in plan.next_hops.keys().filter(|node| **node != plan.index) {
        let to = Match::any().with(Field::EthDst, MacAddr::of_node(*node).to_u64());
        if let Some(send) = hops::towards(plan, *node) {
            builder.flow(table::CLASSIFY, priority::FABRIC, to, apply(vec![send]));
        }
    }
}
