//! From decisions and the network's state to one plan a switch; only plans that changed are sent.

use std::collections::{BTreeMap, BTreeSet};

use super::switches::Switch;
use super::{Controller, Output};
use crate::config::Stage;
use crate::network::build::{Fabric, Local, datapath_plan, free_ports};
use crate::network::paths::{Paths, Shadows};
use crate::plan::{Choice, DatapathPlan};
use crate::policy::decision::RouterDecision;
use crate::policy::engine::{CycleOutcome, SlotAssignment};
use crate::southbound::Command;
use crate::types::{DatapathId, NodeIndex, PortNo, ServiceId, Timestamp};

impl Controller {
    /// Plans for every connected switch and sends what differs from the last plan of its session.
    pub(super) fn replan(&mut self, now: Timestamp, output: &mut Output) {
        let bridges = self.bridge_plans(now);
        if self.planning {
            let mut plans = self.staged_plans();
            plans.extend(bridges);
            self.send_plans(plans, output);
        }
    }

    /// What the switches of the stages should hold; nothing before the first decision.
    fn staged_plans(&self) -> BTreeMap<DatapathId, DatapathPlan> {
        if self.outcome.slots.is_empty() {
            return BTreeMap::new();
        }
        let shadows = self.shadows();
        let paths = Paths::compute(&self.topology, &self.links, &shadows);
        let stand_ins = self.stand_ins();
        let fabric = Fabric {
            topology: &self.topology,
            links: &self.links,
            paths: &paths,
            hosts: &self.hosts,
            shadows: &shadows,
            stand_ins: &stand_ins,
            replicate: self.settings.replication_interval_ms > 0,
        };
        let staged = self.switches.iter().filter(|(_, switch)| switch.node.stage != Stage::Bridge);
        let plan = |(datapath, switch): (&DatapathId, &Switch)| {
            let session = switch.session.as_ref()?;
            let ports: BTreeSet<PortNo> = session.ports.keys().copied().collect();
            let choices = choices(&self.outcome, switch.node.index);
            let local = Local { ports: &ports, choices: &choices };
            Some((*datapath, datapath_plan(&fabric, &local, &switch.node)))
        };
        staged.filter_map(plan).collect()
    }

    fn send_plans(&mut self, plans: BTreeMap<DatapathId, DatapathPlan>, output: &mut Output) {
        let next = self.generation + 1;
        let mut sent = false;
        for (datapath, plan) in plans {
            let Some(switch) = self.switches.get_mut(&datapath).filter(|switch| switch.connected()) else { continue };
            if switch.planned && switch.plan.as_ref() == Some(&plan) {
                continue;
            }
            switch.planned = true;
            switch.wanted = next;
            switch.plan = Some(plan.clone());
            output.commands.push(Command::Install { datapath, generation: next, plan: Box::new(plan) });
            sent = true;
        }
        if sent {
            self.generation = next;
            for decision in &mut self.outcome.decisions {
                decision.generation = next;
            }
        }
    }

    /// Shadows in the order in which they stand in: switches that pass over a dead router by themselves turn to the same
    /// one as the controller.
    pub(super) fn shadows(&self) -> Shadows {
        let chosen = self.chosen_shadows();
        if self.settings.replication_interval_ms == 0 {
            return chosen;
        }
        let known = chosen.into_iter().map(|(router, shadows)| {
            let order = self.failures.phases.order(router);
            (router, if order.is_empty() { shadows } else { order.to_vec() })
        });
        known.collect()
    }

    /// Shadows as they were chosen in the last cycle. The order is by what does not waver: few risks in common, the nearest.
    /// Switches hold it, and a controller that restarts finds the same.
    pub(super) fn chosen_shadows(&self) -> Shadows {
        let ordered = |decision: &RouterDecision| {
            let router = self.topology.node(&decision.router)?;
            let known = decision.shadows.iter().filter_map(|shadow| {
                let node = self.topology.node(&shadow.router)?;
                let shared = node.risk_groups.iter().filter(|risk| router.risk_groups.contains(risk)).count();
                Some((shared, shadow.latency_us, node.index))
            });
            let mut known: Vec<_> = known.collect();
            known.sort_unstable();
            Some((router.index, known.into_iter().map(|(_, _, index)| index).collect()))
        };
        self.outcome.decisions.iter().filter_map(ordered).collect()
    }

    /// Ports of a switch that no link takes: hosts can be behind them.
    pub(super) fn free_ports(&self, switch: &Switch) -> Vec<PortNo> {
        let Some(session) = &switch.session else { return Vec::new() };
        let ports: BTreeSet<PortNo> = session.ports.keys().copied().collect();
        free_ports(&self.links, &ports, switch.node.index).into_iter().collect()
    }
}

fn choices(outcome: &CycleOutcome, access: NodeIndex) -> BTreeMap<ServiceId, Choice> {
    let assignments = outcome.slots.get(&access).into_iter().flatten();
    let choice = |assignment: &SlotAssignment| Choice { slots: assignment.slots.clone(), spread: assignment.spread };
    assignments.map(|(service, assignment)| (service.clone(), choice(assignment))).collect()
}
