//! One cycle: ask for readings, wait for the last one, decide.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Controller, Output, START_PATIENCE, START_PATIENCE_BLANK, notices};
use crate::config::Stage;
use crate::policy::engine::{CycleInput, RouterInput};
use crate::southbound::{Command, Reading};
use crate::types::{DatapathId, Timestamp};

/// A reading older than so many cycles says nothing about now.
const READING_AGE_CYCLES: u32 = 3;
/// So many switches without a reading are told by name in one cycle.
const MISSING_TOLD: usize = 8;

impl Controller {
    /// Asks every connected switch for its counters. A cycle that still waits for some is decided without them.
    pub(super) fn begin_cycle(&mut self, now: Timestamp, output: &mut Output) {
        if self.waiting.is_some() {
            self.close_cycle(now, output);
        }
        self.cycle += 1;
        self.cycle_began = now;
        output.commands.extend(self.discovery.poll(now));
        self.ask_for_hosts(now, output);
        self.poll_stations(now, output);
        let connected = self.switches.iter().filter(|(_, switch)| switch.connected());
        let waiting: BTreeSet<DatapathId> = connected.map(|(datapath, _)| *datapath).collect();
        output.commands.extend(waiting.iter().map(|datapath| Command::Collect { datapath: *datapath }));
        output.commands.extend(self.replication.poll(now));
        let nobody = waiting.is_empty();
        self.waiting = Some(waiting);
        if nobody {
            self.close_cycle(now, output);
        }
    }

    fn ask_for_hosts(&mut self, now: Timestamp, output: &mut Output) {
        let ports = self
            .switches
            .values()
            .filter(|switch| switch.connected() && matches!(switch.node.stage, Stage::Access | Stage::Outside))
            .map(|switch| (switch.node.index, self.free_ports(switch)))
            .collect();
        let (requests, forgotten) = self.hosts.poll(&ports, now);
        for request in requests {
            let Some(datapath) = self.datapath_of(request.node) else { continue };
            output.commands.push(Command::PacketOut { datapath, port: request.port, data: request.frame });
        }
        if forgotten {
            self.network_changed(now, output);
        }
    }

    pub(super) fn reading(&mut self, datapath: DatapathId, reading: Reading, now: Timestamp, output: &mut Output) {
        self.failures.liveness.heard(datapath, now);
        self.telemetry.reading(now, datapath, &reading);
        if let Some(switch) = self.switches.get_mut(&datapath) {
            switch.take_reading(Some(reading));
        }
        self.no_reading_from(datapath, now, output);
    }

    /// Nothing more is to be waited for from this switch; after the last one the cycle is decided.
    pub(super) fn no_reading_from(&mut self, datapath: DatapathId, now: Timestamp, output: &mut Output) {
        let Some(waiting) = &mut self.waiting else { return };
        waiting.remove(&datapath);
        if waiting.is_empty() {
            self.close_cycle(now, output);
        }
    }

    /// Decides with the readings that are there.
    pub(super) fn close_cycle(&mut self, now: Timestamp, output: &mut Output) {
        let Some(missing) = self.waiting.take() else { return };
        self.tell_missing(&missing, output);
        self.cycles.decided += 1;
        self.cycles.late += u64::from(!missing.is_empty());
        self.refresh_links(now, output);
        self.planning |= self.complete(now);
        self.follow_failures(now, output);
        self.failures.phases.ramp();
        let input = self.cycle_input(now);
        let mut outcome = self.engine.cycle(now, &input);
        for decision in &mut outcome.decisions {
            decision.generation = self.generation;
        }
        notices::decisions(&self.outcome.decisions, &outcome.decisions, output);
        for (node, sentence) in &outcome.happenings {
            let name = self.topology.by_index(*node).map(|node| node.id.clone());
            output.tell("policy", name, sentence.clone());
        }
        self.outcome = outcome;
        // Shadows were chosen: who would stand in follows them.
        self.follow_failures(now, output);
        self.replan(now, output);
        self.arrange_replication(now);
        self.gathered = false;
        self.cycles.last_us = now.0.saturating_sub(self.cycle_began.0);
        output.view_changed = true;
    }

    /// One by one where they are few; a controller that is behind must not be busy telling so.
    fn tell_missing(&self, missing: &BTreeSet<DatapathId>, output: &mut Output) {
        const WHY: &str = "did not answer within the cycle; its last decision stands";
        missing.iter().take(MISSING_TOLD).for_each(|datapath| output.tell("no-reading", self.name(*datapath), WHY));
        if let Some(more @ 1..) = missing.len().checked_sub(MISSING_TOLD) {
            output.tell("no-reading", None, format!("{more} more switches did not answer within the cycle"));
        }
    }

    /// Every declared switch is connected and every declared link was seen; or there was time enough.
    pub(super) fn complete(&self, now: Timestamp) -> bool {
        if self.topology.nodes.iter().all(|node| node.stage == Stage::Bridge) {
            return self.bridges_complete(now);
        }
        let all_here = self.switches.values().all(|switch| switch.connected() && switch.found.is_some());
        let waited = now.since(self.started_at);
        // Switches without entries hand up no probes, so links cannot be waited for; there is nothing to protect either.
        if self.switches.values().all(|switch| !switch.connected() || switch.found == Some(0)) {
            return all_here || waited >= START_PATIENCE_BLANK;
        }
        all_here && self.discovery.settled(now) || waited >= START_PATIENCE
    }

    fn cycle_input(&self, now: Timestamp) -> CycleInput {
        let age_max = Duration::from_millis(self.settings.cycle_ms) * READING_AGE_CYCLES;
        let loads = self.telemetry.loads(now, age_max);
        let mut input = CycleInput {
            down_links: self.down_links(),
            unfit_shadows: self.replication.unfit().collect(),
            ..CycleInput::default()
        };
        for switch in self.switches.values() {
            let index = switch.node.index;
            match switch.node.stage {
                Stage::Router => {
                    let load = loads.get(&index).copied();
                    let phases = &self.failures.phases;
                    let in_service = phases.phase(index).serves();
                    let held_back_percent = phases.held_back_percent(index);
                    let router = RouterInput { load, connected: switch.connected(), in_service, held_back_percent };
                    input.routers.insert(index, router);
                }
                Stage::Access => {
                    if let Some(reading) = &switch.reading {
                        input.chosen.insert(index, reading.chosen.clone());
                    }
                }
                Stage::Transit | Stage::Outside | Stage::Bridge => {}
            }
        }
        input
    }
}
