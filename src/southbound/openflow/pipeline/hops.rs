//! Groups that lead to the next switch: the ports of the lowest rank that live share, the others wait.

use std::collections::BTreeMap;

use super::build::{Builder, bucket_on_group, bucket_on_port};
use super::group;
use crate::plan::{DatapathPlan, NextHop};
use crate::types::{NodeIndex, PortNo};
use crate::wire::openflow::{Action, GroupType};

pub(super) fn compile(plan: &DatapathPlan, builder: &mut Builder) {
    for (node, hops) in &plan.next_hops {
        let mut ranks: BTreeMap<u8, Vec<PortNo>> = BTreeMap::new();
        for NextHop { rank, port } in hops {
            ranks.entry(*rank).or_default().push(*port);
        }
        for ports in ranks.values_mut() {
            ports.sort_unstable();
            ports.dedup();
        }
        let only_rank = ranks.len() == 1;
        match ranks.into_values().next() {
            Some(ports) if only_rank && ports.len() > 1 => share(group::hop(*node), &ports, builder),
            _ => ranked(*node, hops, builder),
        }
    }
}

/// Ports that share.
fn share(id: u32, ports: &[PortNo], builder: &mut Builder) {
    let buckets = ports.iter().map(|port| bucket_on_port(1, *port, vec![Action::output(*port)])).collect();
    builder.group(id, GroupType::Select, buckets);
}

/// Fast failover from rank to rank; a rank of several ports is a group of its own.
fn ranked(node: NodeIndex, hops: &[NextHop], builder: &mut Builder) {
    let mut ranks: BTreeMap<u8, Vec<PortNo>> = BTreeMap::new();
    for NextHop { rank, port } in hops {
        ranks.entry(*rank).or_default().push(*port);
    }
    let mut buckets = Vec::with_capacity(ranks.len());
    for (rank, mut ports) in ranks {
        ports.sort_unstable();
        ports.dedup();
        match ports[..] {
            [port] => buckets.push(bucket_on_port(0, port, vec![Action::output(port)])),
            _ => {
                let id = group::shared_rank(node, rank);
                share(id, &ports, builder);
                buckets.push(bucket_on_group(0, id, vec![Action::Group(id)]));
            }
        }
    }
    if !buckets.is_empty() {
        builder.group(group::hop(node), GroupType::FastFailover, buckets);
    }
}

/// Sends towards a node; `None` where the plan knows no way.
pub(super) fn towards(plan: &DatapathPlan, node: NodeIndex) -> Option<Action> {
    let known = plan.next_hops.get(&node).is_some_and(|hops| !hops.is_empty());
    known.then(|| Action::Group(group::hop(node)))
}
