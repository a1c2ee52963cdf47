//! Slots of every third-stage switch and service, kept close to the wanted shares by what is measured.

use std::collections::{BTreeMap, BTreeSet};

use super::{CycleOutcome, SlotAssignment};
use crate::config::{Stage, Topology};
use crate::plan::{Choice, SLOTS};
use crate::policy::correction::{Correction, Finding};
use crate::policy::weights::{Diversion, assign, flat_weights, quantise};
use crate::types::{NodeId, NodeIndex, ServiceId};

#[derive(Clone, Debug)]
struct Service {
    id: ServiceId,
    base: Vec<(NodeIndex, f64)>,
}

#[derive(Clone, Debug, Default)]
struct Split {
    slots: Vec<NodeIndex>,
    /// Slots of each router when they were last divided; empty where slots were adopted since.
    counts: BTreeMap<NodeIndex, usize>,
    wanted: BTreeMap<NodeIndex, f64>,
    correction: Correction,
}

/// Sums of shares, equal weight to every switch and service.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Adopted {
    pub(super) base: f64,
    pub(super) installed: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Splits {
    names: BTreeMap<NodeIndex, NodeId>,
    access: Vec<NodeIndex>,
    services: Vec<Service>,
    splits: BTreeMap<(NodeIndex, ServiceId), Split>,
}

impl Splits {
    pub(super) fn new(topology: &Topology) -> Self {
        let indices: BTreeMap<_, _> = topology.nodes.iter().map(|node| (&node.id, node.index)).collect();
        let base = |shares: &[(NodeId, f64)]| {
            shares.iter().filter_map(|(router, share)| Some((*indices.get(router)?, *share))).collect()
        };
        let services =
            topology.services.iter().map(|service| Service { id: service.id.clone(), base: base(&service.shares) });
        let access = topology.nodes.iter().filter(|node| node.stage == Stage::Access).map(|node| node.index);
        Self {
            names: topology.nodes.iter().map(|node| (node.index, node.id.clone())).collect(),
            access: access.collect(),
            services: services.collect(),
            splits: BTreeMap::new(),
        }
    }

    /// A choice found installed is the starting point, if it is whole and of routers that there are.
    pub(super) fn adopt(&mut self, access: NodeIndex, service: &ServiceId, choice: &Choice) {
        let known = |router: &NodeIndex| self.names.contains_key(router);
        if choice.slots.len() == SLOTS && choice.slots.iter().all(known) {
            let split = self.splits.entry((access, service.clone())).or_default();
            split.slots.clone_from(&choice.slots);
            split.counts.clear();
            split.correction.start_with(choice.spread);
        }
    }

    /// Base and installed share of each router, over all switches and services that hold a choice.
    pub(super) fn adopted_shares(&self) -> BTreeMap<NodeIndex, Adopted> {
        let mut shares: BTreeMap<NodeIndex, Adopted> = BTreeMap::new();
        for ((_, service), split) in self.splits.iter().filter(|(_, split)| split.slots.len() == SLOTS) {
            let Some(service) = self.services.iter().find(|known| known.id == *service) else { continue };
            for (router, share) in &service.base {
                shares.entry(*router).or_default().base += share;
            }
            for router in &split.slots {
                shares.entry(*router).or_default().installed += 1.0 / SLOTS as f64;
            }
        }
        shares
    }

    /// Judges what was chosen under the slots so far, then computes the next ones into `outcome`.
    pub(super) fn cycle(
        &mut self,
        chosen: &BTreeMap<NodeIndex, BTreeMap<ServiceId, BTreeMap<NodeIndex, u64>>>,
        diversions: &BTreeMap<NodeIndex, Diversion>,
        dead: &BTreeSet<NodeIndex>,
        outcome: &mut CycleOutcome,
    ) {
        for service in &self.services {
            let wanted = flat_weights(&service.base, diversions, &|router| dead.contains(&router));
            for access in &self.access {
                let split = self.splits.entry((*access, service.id.clone())).or_default();
                let spread_before = split.correction.spread();
                if let Some(counters) = chosen.get(access).and_then(|services| services.get(&service.id)) {
                    let finding = split.correction.observe(counters, &split.wanted);
                    let switched = split.correction.spread() != spread_before;
                    let told = finding.map(|finding| tell(&finding, &service.id, switched, &self.names));
                    outcome.happenings.extend(told.map(|message| (*access, message)));
                }
                let counts = quantise(&split.correction.corrected(&wanted));
                let mut moved = 0;
                let mut slots = std::mem::take(&mut split.slots);
                // The same counts leave every slot where it is.
                if counts != split.counts || slots.is_empty() {
                    let next = assign(&slots, &counts);
                    moved = next.iter().enumerate().filter(|(slot, router)| slots.get(*slot) != Some(router)).count();
                    outcome.slots_changed |= next.len() != slots.len();
                    slots = next;
                    split.counts = counts;
                }
                if moved > 0 {
                    split.correction.slots_changed();
                    outcome.slots_changed = true;
                }
                outcome.slots_changed |= split.correction.spread() != spread_before;
                split.slots = slots;
                split.wanted.clone_from(&wanted);
                let (measured, measured_over) = split.correction.measured();
                let assignment = SlotAssignment {
                    slots: split.slots.clone(),
                    spread: split.correction.spread(),
                    wanted: wanted.clone(),
                    measured,
                    measured_over,
                    moved,
                };
                outcome.slots.entry(*access).or_default().insert(service.id.clone(), assignment);
            }
        }
    }
}

fn tell(finding: &Finding, service: &str, switched: bool, names: &BTreeMap<NodeIndex, NodeId>) -> String {
    let router = names.get(&finding.router).map_or("?", NodeId::as_str);
    let what = if switched { "the spread changes from select to multipath" } else { "slot targets are corrected" };
    format!(
        "service {service}: {router} was chosen by {:.2} % of {} connections instead of {:.2} % ({:+.1} sigma); {what}",
        finding.measured * 100.0,
        finding.connections,
        finding.wanted * 100.0,
        finding.sigma
    )
}
