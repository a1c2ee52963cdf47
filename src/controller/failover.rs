//! Failures of first-stage routers: what is seen of them, who stands in, and the way back (docs/FAILOVER.md).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::view::{FailoverView, RouterFailover};
use super::{Controller, Output};
use crate::config::{LinkKind, LoopSettings, Stage, Topology};
use crate::network::liveness::{Answer, Liveness, Via};
use crate::network::{LinkState, Trust};
use crate::policy::failover::{Failover, Observation, Way};
use crate::types::{DatapathId, NodeIndex, PortNo, Timestamp};
use crate::wire::lldp::Key;

/// What the controller keeps for it.
#[derive(Debug)]
pub(super) struct Failures {
    pub(super) phases: Failover,
    pub(super) liveness: Liveness,
    /// When the session of a switch came up or went away.
    sessions: BTreeMap<DatapathId, Timestamp>,
    /// Routers of which LLDP has seen a data link: of others its silence says nothing.
    seen_by_lldp: BTreeSet<NodeIndex>,
    /// When time alone leads on.
    due: Option<Timestamp>,
}

impl Failures {
    pub(super) fn new(topology: &Topology, settings: &LoopSettings, key: Key) -> Self {
        let interval = Duration::from_millis(settings.failover.probe_interval_ms);
        let routers = || topology.nodes.iter().filter(|node| node.stage == Stage::Router);
        Self {
            phases: Failover::new(routers().map(|node| node.index), &settings.failover),
            liveness: Liveness::new(routers().map(|node| (node.index, node.datapath)), interval, key),
            sessions: BTreeMap::new(),
            seen_by_lldp: BTreeSet::new(),
            due: None,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.due.into_iter().chain(self.liveness.next_deadline()).min()
    }

    pub(super) fn session(&mut self, datapath: DatapathId, up: bool, now: Timestamp) {
        self.sessions.insert(datapath, now);
        self.liveness.session(datapath, up, now);
    }
}

impl Controller {
    /// Who stands in for whom just now: the owner of connections, and who holds them in its place.
    pub fn stand_ins(&self) -> BTreeMap<NodeIndex, NodeIndex> {
        self.failures.phases.stand_ins()
    }

    /// Takes a frame that may answer a probe. Returns whether it was one.
    pub(super) fn liveness_frame(
        &mut self,
        datapath: DatapathId,
        port: PortNo,
        frame: &[u8],
        now: Timestamp,
        output: &mut Output,
    ) -> bool {
        match self.failures.liveness.packet_in(datapath, port, frame, now) {
            Answer::Other => return false,
            Answer::Alive { again: true, .. } => self.failures_seen(now, output),
            Answer::Alive { again: false, .. } | Answer::Late => {}
            Answer::Refused(why) if self.may_complain(datapath, Some(port), now) => {
                output.tell("lldp-refused", self.name(datapath), why);
            }
            Answer::Refused(_) => {}
        }
        true
    }

    /// Probes that are due go out; rounds that went unanswered are judged, and a failure is answered at once.
    pub(super) fn failures_due(&mut self, now: Timestamp, output: &mut Output) {
        output.commands.extend(self.failures.liveness.poll(now));
        let due = self.failures.due.is_some_and(|due| due <= now);
        if self.failures.liveness.take_changed() || due {
            self.failures_seen(now, output);
        }
    }

    /// Something about a router may have changed; a change of who stands in does not wait to be gathered.
    pub(super) fn failures_seen(&mut self, now: Timestamp, output: &mut Output) {
        if self.follow_failures(now, output) {
            self.gathered = true;
            self.replan_gathered(now, output);
        }
    }

    /// Brings the phases of all routers up to what is seen. Returns whether plans follow from it.
    pub(super) fn follow_failures(&mut self, now: Timestamp, output: &mut Output) -> bool {
        if !self.planning {
            return false;
        }
        let seen = self.observe();
        let topology = &self.topology;
        let name = |index| topology.by_index(index).map_or_else(|| "?".to_owned(), |node| node.id.to_string());
        let step = self.failures.phases.step(&seen, &name, now);
        self.failures.due = self.failures.phases.next_deadline(&seen);
        for said in step.said {
            let node = self.topology.by_index(said.router).map(|node| node.id.clone());
            output.tell(said.kind, node, said.sentence);
        }
        if !step.bring_back.is_empty() {
            self.bring_back(now, output);
        }
        step.changed
    }

    /// Links changed: through whom routers can be asked.
    pub(super) fn ask_by_links(&mut self, now: Timestamp) {
        let stage = |index| self.topology.by_index(index).map(|node| (node.stage, node.datapath));
        let mut vias: BTreeMap<NodeIndex, Vec<Via>> = BTreeMap::new();
        for link in self.links.iter().filter(|link| link.kind == LinkKind::Data && link.trust != Trust::Dead) {
            let ends = [(link.a, link.b, link.b_port), (link.b, link.a, link.a_port)];
            for (router, neighbour, port) in ends {
                let (Some((Stage::Router, _)), Some((_, datapath)), Some(port)) =
                    (stage(router), stage(neighbour), port)
                else {
                    continue;
                };
                if link.state == LinkState::Up {
                    self.failures.seen_by_lldp.insert(router);
                }
                if self.switches.get(&datapath).is_some_and(super::Switch::acts_for_us) {
                    vias.entry(router).or_default().push(Via { neighbour, datapath, port });
                }
            }
        }
        self.failures.liveness.set_vias(vias, now);
    }

    fn observe(&self) -> BTreeMap<NodeIndex, Observation> {
        let shadows = self.chosen_shadows();
        let mut links: BTreeMap<NodeIndex, Vec<(LinkState, Trust)>> = BTreeMap::new();
        for link in self.links.iter().filter(|link| link.kind == LinkKind::Data) {
            for end in [link.a, link.b] {
                links.entry(end).or_default().push((link.state, link.trust));
            }
        }
        let observe = |switch: &super::Switch| {
            let index = switch.node.index;
            let links = links.get(&index).map_or(&[][..], Vec::as_slice);
            let signs = self.failures.liveness.signs(index);
            let shadows = shadows.get(&index).cloned().unwrap_or_default();
            let unseen = |(state, trust): &(LinkState, Trust)| *state != LinkState::Up && *trust != Trust::Good;
            let observation = Observation {
                connected: switch.connected(),
                session_since: self.failures.sessions.get(&switch.node.datapath).copied().unwrap_or(self.started_at),
                plan_confirmed: switch.planned && switch.settled(),
                emptied: switch.emptied,
                links_down: !links.is_empty() && links.iter().all(|(_, trust)| *trust == Trust::Dead),
                lldp_silent: self.failures.seen_by_lldp.contains(&index) && links.iter().all(unseen),
                answers: match (signs.returned, signs.handed_up) {
                    (true, _) => Some(Way::Returned),
                    (false, true) => Some(Way::HandedUp),
                    (false, false) => None,
                },
                missed: signs.missed,
                silent: signs.silent,
                slowest: Duration::from_micros(signs.slowest_us),
                ready: self.ready_shadows(index, &shadows),
                state_back: self.is_back(index),
                shadows,
            };
            (index, observation)
        };
        self.switches.values().filter(|switch| switch.node.stage == Stage::Router).map(observe).collect()
    }

    /// A predecessor of this controller made other routers stand in: they go on doing so.
    pub(super) fn found_stand_ins(
        &mut self,
        datapath: DatapathId,
        stand_ins: &BTreeMap<NodeIndex, NodeIndex>,
        now: Timestamp,
        output: &mut Output,
    ) {
        for (owner, stand_in) in stand_ins.iter().filter(|_| !self.planning) {
            if self.failures.phases.adopt(*owner, *stand_in, now) {
                let (owner, stand_in) = (self.node_name(*owner), self.node_name(*stand_in));
                let message = format!("{stand_in} was found to stand in for {owner}, and goes on doing so");
                output.tell("adopted", self.name(datapath), message);
            }
        }
    }

    /// What is shown of it.
    pub(super) fn show_failover(&self) -> FailoverView {
        let counts = self.failures.liveness.counts();
        let totals = self.failures.phases.totals();
        let router = |index: NodeIndex| {
            let signs = self.failures.liveness.signs(index);
            RouterFailover {
                router: self.node_name(index),
                phase: self.failures.phases.phase(index),
                stand_in: self.failures.phases.phase(index).stand_in().map(|index| self.node_name(index)),
                stands_in_for: self
                    .stand_ins()
                    .into_iter()
                    .filter(|(_, now)| *now == index)
                    .map(|(owner, _)| self.node_name(owner))
                    .collect(),
                order: self.failures.phases.order(index).iter().map(|shadow| self.node_name(*shadow)).collect(),
                ready: self
                    .ready_shadows(index, self.failures.phases.order(index))
                    .into_iter()
                    .map(|shadow| self.node_name(shadow))
                    .collect(),
                missed: signs.missed,
                answers_itself: signs.returned,
                round_trip_us: signs.round_trip_us,
            }
        };
        FailoverView {
            routers: self.topology.routers().map(|node| router(node.index)).collect(),
            failures: totals.failures.clone(),
            unprotected: totals.unprotected,
            returns: totals.returns,
            probes_sent: counts.sent,
            probes_answered: counts.answered,
            rounds_missed: counts.missed_rounds,
        }
    }
}
