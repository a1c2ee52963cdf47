//! The single owner of all state: inputs in, decisions, commands out.
//!
//! [`Controller::handle`] is the whole controller: a pure machine whose only inputs are [`Input`]s and the time. One
//! sample's way through it: `Tick` asks every switch for a reading ([`cycle`]); the last reading to arrive closes the
//! cycle, telemetry turns counters into loads, the policy engine decides, and [`replan`] turns decisions and the
//! network's state into one plan a switch and sends those that changed. [`driver`] does the waiting and sending.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{LoopSettings, Stage, Topology};
use crate::network::discovery::{Discovery, Heard};
use crate::network::hosts::Hosts;
use crate::network::{LinkState, WiredLink};
use crate::plan::{Choice, Generation, Place, Station};
use crate::policy::decision::RouterDecision;
use crate::policy::engine::{CycleOutcome, Engine};
use crate::southbound::{Command, Event, SessionRole};
use crate::telemetry::Telemetry;
use crate::types::{DatapathId, NodeId, NodeIndex, PortNo, Timestamp};
use crate::wire::lldp::Key;

mod bridges;
mod copies;
mod cycle;
pub mod driver;
mod failover;
pub mod feed;
mod notices;
pub mod recording;
mod replan;
mod replication;
mod show;
mod switches;
pub mod view;

#[cfg(test)]
mod bridges_tests;
#[cfg(test)]
mod tests;

use bridges::Bridges;
use failover::Failures;
use replication::Replication;
use switches::Switch;

/// A fabric whose switches are not all there, or not all seen by LLDP, is planned for all the same after this time.
/// Until then nothing is installed: a restarted controller must not take entries away only because it has not yet
/// heard of the switches they lead to, and Open vSwitch tries again after 8 s at most.
const START_PATIENCE: Duration = Duration::from_secs(15);
/// The same where no switch holds anything yet: nothing can be taken away.
const START_PATIENCE_BLANK: Duration = Duration::from_secs(5);

/// Changes of the network are gathered for so long before plans are made again.
const REPLAN_INTERVAL: Duration = Duration::from_millis(100);

/// The same end is complained of once in this time, and so many ends at the most.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
const COMPLAINTS_MAX: usize = 256;

/// Everything that can happen to a controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    Event(Event),
    /// A cycle begins.
    Tick,
    /// [`Controller::next_deadline`] has come: changes that were gathered are planned for, probes that are due go out.
    Due,
    /// Whoever drives the cycles waits no longer for readings that are missing.
    GiveUp,
}

/// What an input led to.
#[derive(Debug, Default)]
pub struct Output {
    pub commands: Vec<Command>,
    pub notices: Vec<Notice>,
    /// [`Controller::view`] shows something new.
    pub view_changed: bool,
}

/// Something worth telling; becomes a [`view::Happening`].
#[derive(Debug, PartialEq, Eq)]
pub struct Notice {
    pub kind: &'static str,
    pub node: Option<NodeId>,
    pub message: String,
}

/// All state of one controller.
#[derive(Debug)]
pub struct Controller {
    topology: Topology,
    settings: LoopSettings,
    switches: BTreeMap<DatapathId, Switch>,
    discovery: Discovery,
    hosts: Hosts,
    bridges: Bridges,
    telemetry: Telemetry,
    engine: Engine,
    replication: Replication,
    /// Decisions and slots of the last cycle.
    outcome: CycleOutcome,
    links: Vec<WiredLink>,
    differences: Vec<String>,
    generation: Generation,
    cycle: u64,
    /// Switches whose reading this cycle still waits for; `None` once the cycle is decided.
    waiting: Option<BTreeSet<DatapathId>>,
    started_at: Timestamp,
    /// The fabric was complete once, or patience ended: plans are made from then on.
    planning: bool,
    cycle_began: Timestamp,
    cycles: view::Cycles,
    /// The network changed since the last plans.
    gathered: bool,
    replanned_at: Timestamp,
    complained: BTreeMap<(DatapathId, Option<PortNo>), Timestamp>,
    failures: Failures,
}

impl Controller {
    /// `key` authenticates the LLDP probes of this run; it must be hard to guess.
    pub fn new(topology: Topology, settings: LoopSettings, key: Key, now: Timestamp) -> Self {
        // A probe must live longer than a cycle: in virtual time a cycle can be half a minute.
        let lldp_interval = Duration::from_millis(settings.lldp_interval_ms.max(settings.cycle_ms));
        let discovery = Discovery::new(&topology, lldp_interval, key, now);
        Self {
            switches: switches::declared(&topology),
            links: discovery.links(now),
            discovery,
            hosts: Hosts::new(&topology),
            bridges: Bridges::new(&topology, now),
            telemetry: Telemetry::new(&topology),
            engine: Engine::new(&topology, &settings),
            replication: copies::replication(&topology, &settings),
            outcome: CycleOutcome::default(),
            differences: Vec::new(),
            generation: 0,
            cycle: 0,
            waiting: None,
            started_at: now,
            planning: false,
            cycle_began: now,
            cycles: view::Cycles::default(),
            gathered: false,
            replanned_at: Timestamp::default(),
            complained: BTreeMap::new(),
            failures: Failures::new(&topology, &settings, key),
            topology,
            settings,
        }
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Number of the last cycle that began.
    pub fn cycle(&self) -> u64 {
        self.cycle
    }

    /// What the last cycle decided for every first-stage router; `None` while it waits for readings.
    pub fn decisions(&self) -> Option<&[RouterDecision]> {
        self.waiting.is_none().then_some(self.outcome.decisions.as_slice())
    }

    /// The last cycle is decided and every connected switch has confirmed its plan.
    pub fn settled(&self) -> bool {
        self.waiting.is_none() && self.switches.values().all(Switch::settled)
    }

    /// Takes one input; the same inputs at the same times give the same outputs.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Output {
        let mut output = Output::default();
        match input {
            Input::Tick => self.begin_cycle(now, &mut output),
            Input::Due => self.due(now, &mut output),
            Input::GiveUp => self.close_cycle(now, &mut output),
            Input::Event(event) => self.event(event, now, &mut output),
        }
        output
    }

    fn event(&mut self, event: Event, now: Timestamp, output: &mut Output) {
        match event {
            Event::SwitchUp { .. } | Event::SwitchDown { .. } | Event::PortChanged { .. } => {
                self.session_event(event, now, output);
            }
            Event::Found { datapath, entries, choices, stations, links } => {
                self.discovery.hold_links(datapath, &links);
                self.discovery.listens(datapath, entries > 0, now);
                self.found(datapath, entries, &choices, output);
                self.failures_seen(now, output);
                self.found_stations(datapath, &stations, now, output);
            }
            Event::PacketIn { datapath, in_port, data } => {
                self.failures.liveness.heard(datapath, now);
                if self.liveness_frame(datapath, in_port, &data, now, output) {
                    return;
                }
                let heard = self.discovery.packet_in(datapath, in_port, &data, now);
                match heard {
                    Heard::Probe { changed: true } => {
                        self.links_grew(now);
                        self.network_changed(now, output);
                    }
                    Heard::Probe { changed: false } | Heard::Foreign => {}
                    Heard::Refused(why) if self.may_complain(datapath, Some(in_port), now) => {
                        output.tell("lldp-refused", self.name(datapath), why);
                    }
                    Heard::Refused(_) => {}
                    Heard::Other => self.host_frame(datapath, in_port, &data, now, output),
                }
            }
            Event::RoundTrip { datapath, us } => {
                self.failures.liveness.heard(datapath, now);
                self.discovery.round_trip(datapath, us);
            }
            Event::FoundStandIns { datapath, stand_ins } => self.found_stand_ins(datapath, &stand_ins, now, output),
            Event::SessionStatus { datapath, status } => {
                self.role(datapath, status.role, "as the session began", now, output);
                if let Some(session) = self.switches.get_mut(&datapath).and_then(|switch| switch.session.as_mut()) {
                    session.status = Some(Arc::from(status));
                }
            }
            Event::RoleChanged { datapath, role, reason } => self.role(datapath, role, &reason, now, output),
            Event::ConnectionRefused { peer, reason } => {
                output.tell("connection-refused", None, format!("{peer}: {reason}"));
            }
            Event::Reading { datapath, reading } => self.reading(datapath, reading, now, output),
            Event::ConnectionEnded { datapath, ended } => {
                self.telemetry.ended(now, datapath, &ended);
                self.about_connections(datapath, Event::ConnectionEnded { datapath, ended }, now, output);
            }
            Event::Connections { datapath, .. }
            | Event::ConnectionsWritten { datapath, .. }
            | Event::ConnectionsReplayed { datapath, .. }
            | Event::ConnectionsDigest { datapath, .. }
            | Event::CopiesSwept { datapath, .. }
            | Event::ConnectionsFailed { datapath, .. } => self.about_connections(datapath, event, now, output),
            Event::Installed { datapath, generation, counts } => {
                self.discovery.listens(datapath, true, now);
                if let Some(switch) = self.switches.get_mut(&datapath) {
                    switch.confirm(generation, counts);
                    output.view_changed = true;
                }
            }
            Event::InstallFailed { datapath, generation, error } => {
                self.install_failed(datapath, format!("plan {generation} was not taken: {error}"), output);
            }
        }
    }

    fn install_failed(&mut self, datapath: DatapathId, message: String, output: &mut Output) {
        if let Some(switch) = self.switches.get_mut(&datapath) {
            switch.last_error = Some(message.clone());
        }
        output.tell("plan-failed", self.name(datapath), message);
    }

    /// What this controller is to a switch, told when it changes; at first when it is less than it should be.
    fn role(&mut self, datapath: DatapathId, role: SessionRole, reason: &str, now: Timestamp, output: &mut Output) {
        if role == SessionRole::Slave {
            self.discovery.stands_by(datapath, now);
        }
        let Some(session) = self.switches.get_mut(&datapath).and_then(|switch| switch.session.as_mut()) else { return };
        let before = session.role.unwrap_or(if role == SessionRole::Slave { SessionRole::Equal } else { role });
        let changed = session.role.replace(role) != Some(role);
        if before != role {
            output.tell("role", self.name(datapath), format!("this controller is {role} here: {reason}"));
        }
        if changed {
            self.ask_by_links(now);
        }
    }

    fn session_event(&mut self, event: Event, now: Timestamp, output: &mut Output) {
        match event {
            Event::SwitchUp { datapath, peer, description, ports } => {
                let ports = self.ports_of(ports);
                self.join(datapath, &ports, now, output);
                let Some(switch) = self.switches.get_mut(&datapath) else {
                    if self.may_complain(datapath, None, now) {
                        let message = format!("datapath {datapath} at {peer} is not in the topology; it is left alone");
                        output.tell("switch-unknown", None, message);
                    }
                    return;
                };
                self.discovery.switch_up(datapath, &ports, now);
                self.failures.session(datapath, true, now);
                let message = format!("connected from {peer}: {}, {} ports", description.software, ports.len());
                let ports = Arc::new(ports.into_iter().map(|port| (port.number, port)).collect());
                let description = Arc::new(description);
                switch.begin_session(switches::Session { peer, description, ports, status: None, role: None });
                self.bridge_silent(datapath, false);
                output.tell("switch-up", self.name(datapath), message);
            }
            Event::SwitchDown { datapath, reason } => {
                let Some(switch) = self.switches.get_mut(&datapath) else { return };
                switch.end_session();
                self.bridge_silent(datapath, true);
                self.discovery.switch_down(datapath, now);
                self.failures.session(datapath, false, now);
                output.tell("switch-down", self.name(datapath), reason);
                self.no_reading_from(datapath, now, output);
            }
            Event::PortChanged { datapath, port, removed } => {
                let Some(switch) = self.switches.get_mut(&datapath) else { return };
                let changed = self.discovery.port_changed(datapath, &port, removed, now);
                switch.port_changed(port, removed);
                if !changed {
                    output.view_changed = true;
                    return;
                }
            }
            _ => return,
        }
        self.network_changed(now, output);
    }

    /// Goes on from what the switches hold, if this controller has not planned yet: its predecessor did.
    fn found(&mut self, datapath: DatapathId, entries: usize, choices: &BTreeMap<u16, Choice>, output: &mut Output) {
        let Some(switch) = self.switches.get_mut(&datapath) else { return };
        switch.found(entries);
        if entries == 0 {
            self.replication.forget(switch.node.index);
        }
        if self.planning || switch.node.stage != Stage::Access {
            return;
        }
        let node = switch.node.clone();
        for service in &self.topology.services {
            let Some(choice) = choices.get(&service.number) else { continue };
            self.engine.adopt(node.index, &service.id, choice);
            let message = format!("goes on with the slots of service {} that it was found to hold", service.id);
            output.tell("adopted", Some(node.id.clone()), message);
        }
    }

    fn found_stations(
        &mut self,
        datapath: DatapathId,
        stations: &[(Station, PortNo)],
        now: Timestamp,
        output: &mut Output,
    ) {
        let Some(switch) = self.switches.get(&datapath).filter(|switch| switch.node.stage == Stage::Bridge) else {
            return;
        };
        self.adopt_stations(switch.node.index, stations, now, output);
        self.planning |= self.complete(now);
        self.network_changed(now, output);
    }

    /// ARP and whatever else a switch hands up that is not LLDP.
    fn host_frame(&mut self, datapath: DatapathId, port: PortNo, frame: &[u8], now: Timestamp, output: &mut Output) {
        let Some((node, stage)) = self.switches.get(&datapath).map(|switch| (switch.node.index, switch.node.stage))
        else {
            return;
        };
        if self.discovery.is_wire(datapath, port, now) {
            return;
        }
        if stage == Stage::Bridge {
            return self.station_frame(Place { node, port }, frame, now, output);
        }
        let heard = self.hosts.packet_in(node, port, frame, now);
        output.commands.extend(heard.reply.map(|data| Command::PacketOut { datapath, port, data }));
        if heard.changed {
            self.network_changed(now, output);
        }
    }

    /// Links, hosts or sessions changed: plans anew, at once if it is the first change for a while, together with what
    /// follows it otherwise. So a link that fails is answered at once, and a host that makes up addresses as fast as it
    /// can costs ten plans a second.
    fn network_changed(&mut self, now: Timestamp, output: &mut Output) {
        self.gathered = true;
        if now.since(self.replanned_at) >= self.gathering() {
            self.replan_gathered(now, output);
        }
    }

    /// When [`Input::Due`] is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let plans = self.gathered.then(|| self.replanned_at + self.gathering());
        plans.into_iter().chain(self.discovery.next_deadline()).chain(self.failures.next_deadline()).min()
    }

    fn due(&mut self, now: Timestamp, output: &mut Output) {
        output.commands.extend(self.discovery.poll(now));
        self.failures_due(now, output);
        if !self.discovery.settled_edges().is_empty() {
            self.network_changed(now, output);
        }
        if now >= self.replanned_at + self.gathering() {
            self.replan_gathered(now, output);
        }
    }

    pub(super) fn replan_gathered(&mut self, now: Timestamp, output: &mut Output) {
        if self.gathered {
            self.refresh_links(now, output);
            self.follow_failures(now, output);
            self.replan(now, output);
            self.gathered = false;
            self.replanned_at = now;
            output.view_changed = true;
        }
    }

    /// Whether a complaint about this end may be told: once a minute, so that whoever causes complaints cannot fill the
    /// log with them.
    fn may_complain(&mut self, datapath: DatapathId, port: Option<PortNo>, now: Timestamp) -> bool {
        self.complained.retain(|_, at| now.since(*at) < COMPLAINT_INTERVAL);
        if self.complained.contains_key(&(datapath, port)) || self.complained.len() >= COMPLAINTS_MAX {
            return false;
        }
        self.complained.insert((datapath, port), now);
        true
    }

    fn refresh_links(&mut self, now: Timestamp, output: &mut Output) {
        let links = self.discovery.links(now);
        notices::links(&self.topology, &self.links, &links, output);
        self.links = links;
        self.ask_by_links(now);
        if !self.discovery.settled(now) {
            // Probes are still on their way: what was not seen yet is no difference.
            return;
        }
        let said = self.hosts.differences().chain(self.bridges.stations().differences()).map(str::to_owned);
        let differences: Vec<String> = self.discovery.differences(now).into_iter().chain(said).collect();
        for new in differences.iter().filter(|sentence| !self.differences.contains(sentence)) {
            output.tell("difference", None, new.clone());
        }
        self.differences = differences;
    }

    fn name(&self, datapath: DatapathId) -> Option<NodeId> {
        self.switches.get(&datapath).map(|switch| switch.node.id.clone())
    }

    fn datapath_of(&self, index: NodeIndex) -> Option<DatapathId> {
        self.topology.by_index(index).map(|node| node.datapath)
    }

    /// Indices of the declared links that are not up.
    fn down_links(&self) -> BTreeSet<usize> {
        let declared = self.links.iter().take(self.topology.links.len()).enumerate();
        declared.filter(|(_, link)| link.state == LinkState::Down).map(|(number, _)| number).collect()
    }
}

impl Output {
    fn tell(&mut self, kind: &'static str, node: Option<NodeId>, message: impl Into<String>) {
        self.notices.push(Notice { kind, node, message: message.into() });
        self.view_changed = true;
    }
}
