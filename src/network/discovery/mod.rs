//! Finds out by LLDP what is wired to what, and holds it against what the topology file declares.
//!
//! **Invariant**: a link is *up* while both of its ports are up and each side hears the other's probes; a port that goes
//! down takes its links down in the same call. What a switch without a session can neither hear nor be heard saying is
//! left as it was, for a controller that lost sight of a switch must not tear its paths down.
//!
//! Ports that the file leaves out are filled in by the first link that fits and stay until they are seen elsewhere. Links
//! between two bridges need not be declared: they count from the moment both sides hear each other, are doubted when they
//! fall silent, and are forgotten when a port goes down or after [`MEMORY_INTERVALS`] of silence.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{LinkState, Trust, WiredLink, declared_links};
use crate::config::{LinkKind, Stage, Topology};
use crate::southbound::{Command, Port};
use crate::types::{DatapathId, MacAddr, NodeIndex, PortNo, Timestamp};
use crate::wire::lldp::{Key, LldpError, Probe, is_lldp};

mod declared;
mod differences;
mod pace;
mod wires;

use declared::Declared;
use pace::Pace;
use wires::{Least, Wires};

/// So many intervals without a probe, and a link is no longer seen.
pub const HOLD_INTERVALS: u32 = 3;
/// A silent link between bridges is remembered for so many: ports taken for edges too soon would flood in circles.
pub const MEMORY_INTERVALS: u32 = 12;
/// A port that is up for so long at a switch that listens, without a probe from another switch, faces stations: two probes
/// were sent by then, and answered at once by whoever heard them.
pub const EDGE_SETTLE: Duration = Duration::from_millis(500);
/// Ports from here on are the switch's own (local, controller, …), not wires.
const PHYSICAL_PORT_END: u32 = 0xff00;

/// One end of a wire.
type End = (DatapathId, PortNo);

/// What a frame turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Not LLDP: someone else's.
    Other,
    /// A probe; `changed` if a link appeared, moved, or came back.
    Probe { changed: bool },
    /// LLDP of another speaker, such as a server's own daemon.
    Foreign,
    /// A probe that this controller did not make, or kept for too long; the sentence says which.
    Refused(String),
}

#[derive(Clone, Debug)]
struct PortStatus {
    mac: MacAddr,
    up: bool,
    /// When it came up or went down.
    since: Timestamp,
}

#[derive(Clone, Debug)]
struct Switch {
    index: NodeIndex,
    name: String,
    /// Its links need not be declared.
    bridge: bool,
    connected: bool,
    /// When the session came up, or went away.
    since: Timestamp,
    /// Since when it holds the entry that hands probes up.
    listening: Option<Timestamp>,
    /// As the switch told them last; kept while it has no session.
    ports: BTreeMap<PortNo, PortStatus>,
    round_trip: Least,
}

#[derive(Debug)]
pub struct Discovery {
    key: Key,
    interval: Duration,
    datapaths: BTreeMap<NodeIndex, DatapathId>,
    declared: Declared,
    switches: BTreeMap<DatapathId, Switch>,
    wires: Wires,
    pace: Pace,
    /// Ports of bridges that lead to other switches by what the switch was found to hold, until they go down or are heard
    /// elsewhere: the switch at the far end may have no session and go on forwarding by what it holds.
    held: BTreeSet<End>,
    /// Ports of bridges that came up, until they have settled.
    settling: BTreeSet<(Timestamp, End)>,
    settled: BTreeSet<DatapathId>,
    next_sweep: Timestamp,
}

impl Discovery {
    /// `key` must be hard to guess, and the same for as long as this value lives.
    pub fn new(topology: &Topology, interval: Duration, key: Key, now: Timestamp) -> Self {
        let mut discovery = Self {
            key,
            interval,
            datapaths: topology.nodes.iter().map(|node| (node.index, node.datapath)).collect(),
            declared: Declared::default(),
            switches: BTreeMap::new(),
            wires: Wires::default(),
            pace: Pace::new(interval),
            held: BTreeSet::new(),
            settling: BTreeSet::new(),
            settled: BTreeSet::new(),
            next_sweep: now,
        };
        discovery.declared = Declared::new(declared_links(topology), &discovery.datapaths);
        for node in &topology.nodes {
            discovery.add(node.index, node.id.as_str(), node.datapath, node.stage == Stage::Bridge, now);
        }
        discovery
    }

    fn add(&mut self, index: NodeIndex, name: &str, datapath: DatapathId, bridge: bool, now: Timestamp) {
        let switch = Switch {
            index,
            name: name.to_owned(),
            bridge,
            connected: false,
            since: now,
            listening: None,
            ports: BTreeMap::new(),
            round_trip: Least::default(),
        };
        self.switches.insert(datapath, switch);
    }

    /// Adds a bridge that no file declares. One that is known already keeps what is known of it.
    pub fn join(&mut self, index: NodeIndex, name: &str, datapath: DatapathId, now: Timestamp) {
        if !self.switches.contains_key(&datapath) {
            self.datapaths.insert(index, datapath);
            self.add(index, name, datapath, true, now);
        }
    }

    fn hold(&self) -> Duration {
        self.interval * HOLD_INTERVALS
    }

    /// A session came up with these ports. Ports that were up before its predecessor ended have not come up now.
    pub fn switch_up(&mut self, datapath: DatapathId, ports: &[Port], now: Timestamp) {
        let Some(switch) = self.switches.get_mut(&datapath) else { return };
        let before = std::mem::take(&mut switch.ports);
        for port in ports.iter().filter(|port| port.number.0 < PHYSICAL_PORT_END) {
            let same = before.get(&port.number).filter(|status| status.up == port.up);
            let since = same.map_or(now, |status| status.since);
            switch.ports.insert(port.number, PortStatus { mac: port.mac, up: port.up, since });
        }
        (switch.connected, switch.since) = (true, now);
        switch.round_trip = Least::default();
        let bridge = switch.bridge;
        let listening = switch.listening;
        let mut up = Vec::new();
        let mut lost: Vec<PortNo> = before.into_keys().filter(|port| !switch.ports.contains_key(port)).collect();
        lost.iter().for_each(|port| self.pace.remove((datapath, *port)));
        for (port, status) in &switch.ports {
            if status.up {
                up.push((*port, status.since));
            } else {
                lost.push(*port);
            }
        }
        for port in lost {
            self.forget((datapath, port));
        }
        for (port, since) in up {
            self.pace.begin((datapath, port), bridge, now);
            if let Some(listening) = listening.filter(|_| bridge) {
                self.settling.insert((now.max(since.max(listening) + EDGE_SETTLE), (datapath, port)));
            }
        }
        self.probe_towards(datapath, now);
    }

    /// What the switch was found to hold, or that it took a plan: whether it hands probes up from now on. A switch that
    /// holds nothing is deaf, and what it does not hear says nothing of what is wired to it. One that begins to listen
    /// is probed by whoever hears its own probes.
    pub fn listens(&mut self, datapath: DatapathId, listens: bool, now: Timestamp) {
        let Some(switch) = self.switches.get_mut(&datapath) else { return };
        if listens == switch.listening.is_some() {
            return;
        }
        switch.listening = listens.then_some(now);
        if !listens || !switch.bridge {
            return;
        }
        let up = switch.ports.iter().filter(|(_, status)| status.up).map(|(port, _)| (datapath, *port));
        for end in up {
            self.pace.begin(end, true, now);
            self.settling.insert((now + EDGE_SETTLE, end));
        }
        self.probe_towards(datapath, now);
    }

    /// Ports that lead to other switches by what a bridge was found to hold: no edges, although nobody was heard there yet.
    pub fn hold_links(&mut self, datapath: DatapathId, ports: &[PortNo]) {
        if self.is_bridge(datapath) {
            let up = ports.iter().map(|port| (datapath, *port)).filter(|end| self.is_up(*end));
            let up: Vec<End> = up.collect();
            self.held.extend(up);
        }
    }

    /// Bridges without a session for longer than this.
    pub fn departed(&self, now: Timestamp, age: Duration) -> Vec<DatapathId> {
        let gone = |switch: &Switch| switch.bridge && !switch.connected && now.since(switch.since) > age;
        self.switches.iter().filter(|(_, switch)| gone(switch)).map(|(datapath, _)| *datapath).collect()
    }

    /// Forgets a switch that no file declares. It may go on forwarding: what was wired to it becomes no edge.
    pub fn leave(&mut self, datapath: DatapathId) {
        let Some(switch) = self.switches.remove(&datapath) else { return };
        self.datapaths.remove(&switch.index);
        let heard = self.wires.iter_at(datapath).map(|(_, neighbour)| neighbour.end);
        let others: Vec<End> = heard.chain(self.wires.hearers_of(datapath)).collect();
        self.held.extend(others.into_iter().filter(|end| end.0 != datapath));
        for port in switch.ports.into_keys() {
            self.pace.remove((datapath, port));
            self.forget((datapath, port));
            self.held.remove(&(datapath, port));
        }
        self.settling.retain(|(_, end)| end.0 != datapath);
        self.settled.remove(&datapath);
    }

    /// Whoever is wired to this switch probes it at once: earlier probes found nobody listening.
    fn probe_towards(&mut self, datapath: DatapathId, now: Timestamp) {
        let heard = self.wires.hearers_of(datapath).collect::<Vec<_>>();
        for end in self.declared.others(datapath).chain(heard) {
            self.pace.hurry(end, now);
        }
    }

    pub fn switch_down(&mut self, datapath: DatapathId, now: Timestamp) {
        let Some(switch) = self.switches.get_mut(&datapath) else { return };
        (switch.connected, switch.since) = (false, now);
        self.pace.pause_all(datapath);
    }

    /// Another controller hears what this switch hears: silence says nothing of its wires.
    pub fn stands_by(&mut self, datapath: DatapathId, now: Timestamp) {
        let backup = self.switches.get_mut(&datapath).filter(|switch| switch.connected);
        backup.into_iter().for_each(|switch| switch.since = now);
    }

    /// Returns whether a link may have changed its state.
    pub fn port_changed(&mut self, datapath: DatapathId, port: &Port, removed: bool, now: Timestamp) -> bool {
        if port.number.0 >= PHYSICAL_PORT_END {
            return false;
        }
        let Some(switch) = self.switches.get_mut(&datapath) else { return false };
        let end = (datapath, port.number);
        let was = switch.ports.get(&port.number).map(|status| (status.up, status.since));
        let is = (!removed).then_some(port.up);
        if removed {
            switch.ports.remove(&port.number);
        } else {
            let since = was.filter(|(up, _)| *up == port.up).map_or(now, |(_, since)| since);
            switch.ports.insert(port.number, PortStatus { mac: port.mac, up: port.up, since });
        }
        let (bridge, listening) = (switch.bridge, switch.listening.is_some());
        let changed = was.map(|(up, _)| up) != is;
        match is {
            Some(true) if changed => {
                self.pace.begin(end, bridge, now);
                if bridge && listening {
                    self.settling.insert((now + EDGE_SETTLE, end));
                }
            }
            Some(true) => self.pace.hurry(end, now),
            Some(false) => self.pace.pause(end),
            None => self.pace.remove(end),
        }
        if is != Some(true) {
            if let Some((_, since)) = was {
                self.settling.remove(&(since + EDGE_SETTLE, end));
            }
            self.forget(end);
        }
        changed
    }

    fn forget(&mut self, end: End) {
        self.held.remove(&end);
        self.wires.forget(end);
    }

    fn status(&self, (datapath, port): End) -> Option<&PortStatus> {
        self.switches.get(&datapath)?.ports.get(&port)
    }

    fn is_up(&self, end: End) -> bool {
        self.status(end).is_some_and(|status| status.up)
    }

    fn is_bridge(&self, datapath: DatapathId) -> bool {
        self.switches.get(&datapath).is_some_and(|switch| switch.bridge)
    }

    /// Takes a frame that a switch handed up.
    pub fn packet_in(&mut self, datapath: DatapathId, in_port: PortNo, frame: &[u8], now: Timestamp) -> Heard {
        if !is_lldp(frame) {
            return Heard::Other;
        }
        let probe = match Probe::decode(frame, self.key) {
            Ok(probe) => probe,
            Err(LldpError::Foreign | LldpError::NotLldp) => return Heard::Foreign,
            Err(error) => {
                return Heard::Refused(format!("{} heard {error}", self.end_name((datapath, in_port))));
            }
        };
        let age = now.since(probe.sent);
        if age > self.hold() {
            let whom = self.end_name((probe.datapath, probe.port));
            let here = self.end_name((datapath, in_port));
            return Heard::Refused(format!("{here} heard a probe of {whom} that is {} s old", age.as_secs()));
        }
        let (here, there) = ((datapath, in_port), (probe.datapath, probe.port));
        // A port that was taken down an instant ago may still deliver what was on its way.
        if !self.is_up(here) || !self.is_up(there) {
            return Heard::Probe { changed: false };
        }
        self.held.remove(&here);
        let was_fresh = self.hears(here, there, now);
        self.wires.hear(here, there, u64::try_from(age.as_micros()).unwrap_or(u64::MAX), now);
        if was_fresh {
            return Heard::Probe { changed: false };
        }
        // What was sent back before the other side was there found nobody listening.
        let session = self.switches.get(&there.0).map(|switch| switch.since.max(switch.listening.unwrap_or_default()));
        if let Some(there_since) = session.max(self.status(there).map(|status| status.since)) {
            self.pace.hurry_unless_since(here, there_since, now);
        }
        self.resolve(here.0, there.0, now);
        Heard::Probe { changed: true }
    }

    /// Whether `here` hears `there`. Silence counts only while both switches have a session.
    fn hears(&self, here: End, there: End, now: Timestamp) -> bool {
        let Some(neighbour) = self.wires.at(here).filter(|neighbour| neighbour.end == there) else {
            return false;
        };
        self.is_fresh(here, neighbour, now)
    }

    fn is_fresh(&self, here: End, neighbour: &wires::Neighbour, now: Timestamp) -> bool {
        self.silence(here, neighbour, now) <= self.hold()
    }

    /// How long nothing was heard for although both switches had a session.
    fn silence(&self, here: End, neighbour: &wires::Neighbour, now: Timestamp) -> Duration {
        let (Some(a), Some(b)) = (self.switches.get(&here.0), self.switches.get(&neighbour.end.0)) else {
            return Duration::MAX;
        };
        if !a.connected || !b.connected {
            return Duration::ZERO;
        }
        now.since(neighbour.at.max(a.since).max(b.since))
    }

    /// Who is heard at this end just now.
    fn neighbour(&self, here: End, now: Timestamp) -> Option<End> {
        let neighbour = self.wires.at(here)?;
        self.is_fresh(here, neighbour, now).then_some(neighbour.end)
    }

    fn hear_each_other(&self, a: End, b: End, now: Timestamp) -> bool {
        self.hears(a, b, now) && self.hears(b, a, now)
    }

    /// Fills in ports that the file does not give, of links of these two switches.
    fn resolve(&mut self, one: DatapathId, other: DatapathId, now: Timestamp) {
        if !self.declared.has_open(one) && !self.declared.has_open(other) {
            return;
        }
        let near = [one, other].into_iter().flat_map(|datapath| self.wires.iter_at(datapath));
        let mut found: BTreeSet<wires::Wire> = near
            .filter(|(here, neighbour)| self.hear_each_other(*here, neighbour.end, now))
            .map(|(here, neighbour)| wires::wire(here, neighbour.end))
            .collect();
        let mut open = Vec::new();
        for number in self.declared.links_of(one, other) {
            let Some((a, b)) = self.declared.ends(number) else {
                open.push(number);
                continue;
            };
            let elsewhere = |here, there| self.neighbour(here, now).is_some_and(|heard| heard != there);
            if self.declared.is_open(number) && (elsewhere(a, b) || elsewhere(b, a)) {
                open.push(number);
            } else {
                found.remove(&wires::wire(a, b));
            }
        }
        for number in open {
            if let Some((x, y)) = self.declared.fit(number, &found) {
                found.remove(&wires::wire(x, y));
                self.declared.wire(number, x, y);
            }
        }
    }

    /// Probes due now, oldest first and no more than a burst of them; ask again while it returns some.
    pub fn poll(&mut self, now: Timestamp) -> Vec<Command> {
        self.sweep(now);
        self.settle(now);
        let ttl_s = u16::try_from(self.hold().as_secs().max(1)).unwrap_or(u16::MAX);
        let due = self.pace.take(now);
        let command = |(datapath, port): End| {
            let status = self.status((datapath, port))?;
            let data = Probe { datapath, port, sent: now, ttl_s }.encode(status.mac, self.key);
            Some(Command::PacketOut { datapath, port, data })
        };
        due.into_iter().filter_map(command).collect()
    }

    /// Forgets what was not heard for long, once an interval.
    fn sweep(&mut self, now: Timestamp) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + self.interval;
        let memory = self.interval * MEMORY_INTERVALS;
        let silent = self.wires.iter().filter(|(here, neighbour)| self.silence(*here, neighbour, now) > memory);
        let silent: Vec<End> = silent.map(|(here, _)| here).collect();
        silent.into_iter().for_each(|here| self.wires.stop(here));
    }

    /// When [`Self::poll`] next has something to do; `None` while no switch has a session.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        [self.pace.next(), self.settling.first().map(|(at, _)| *at)].into_iter().flatten().min()
    }

    fn settle(&mut self, now: Timestamp) {
        while let Some((at, end)) = self.settling.first().copied().filter(|(at, _)| *at <= now) {
            self.settling.remove(&(at, end));
            if self.is_edge(end, now) {
                self.settled.insert(end.0);
            }
        }
    }

    /// Bridges whose [`Self::edge_ports`] grew since the last call because [`Self::poll`] found a port to have settled.
    pub fn settled_edges(&mut self) -> BTreeSet<DatapathId> {
        std::mem::take(&mut self.settled)
    }

    /// Ports that are up for at least [`EDGE_SETTLE`], at a switch that [listens](Self::listens), and at which no other switch is known or heard.
    pub fn edge_ports(&self, datapath: DatapathId, now: Timestamp) -> BTreeSet<PortNo> {
        let ports = self.switches.get(&datapath).into_iter().flat_map(|switch| switch.ports.keys());
        ports.copied().filter(|port| self.is_edge((datapath, *port), now)).collect()
    }

    /// Whether the port is among [`Self::edge_ports`].
    pub fn is_edge_port(&self, datapath: DatapathId, port: PortNo, now: Timestamp) -> bool {
        self.is_edge((datapath, port), now)
    }

    fn is_edge(&self, end: End, now: Timestamp) -> bool {
        let listening = self.switches.get(&end.0).and_then(|switch| switch.listening);
        let since = self.status(end).filter(|status| status.up).zip(listening);
        let settled = since.is_some_and(|(status, listening)| now.since(status.since.max(listening)) >= EDGE_SETTLE);
        settled && !self.held.contains(&end) && !self.is_wire(end.0, end.1, now) && !self.wires.is_heard(end)
    }

    /// Time from an echo request to its reply, by which the latency of links is corrected.
    pub fn round_trip(&mut self, datapath: DatapathId, us: u64) {
        if let Some(switch) = self.switches.get_mut(&datapath) {
            switch.round_trip.add(us);
        }
    }

    /// From the making of a probe to its being heard is half a round trip to either switch more than the wire takes. What
    /// both directions are wrong by in opposite ways cancels out.
    fn latency(&self, a: End, b: End) -> Option<u32> {
        let round_trip = |datapath| self.switches.get(&datapath)?.round_trip.us();
        let half_trips = round_trip(a.0)?.saturating_add(round_trip(b.0)?) / 2;
        let one_way = |here, there| self.wires.at(here).filter(|heard| heard.end == there)?.delay.us();
        let delays: Vec<u64> = [one_way(a, b), one_way(b, a)].into_iter().flatten().collect();
        let count = u64::try_from(delays.len()).ok().filter(|count| *count > 0)?;
        let delay = delays.into_iter().fold(0, u64::saturating_add) / count;
        u32::try_from(delay.saturating_sub(half_trips)).ok()
    }

    /// Every declared link in the file's order, then what was found besides.
    pub fn links(&self, now: Timestamp) -> Vec<WiredLink> {
        let declared = self.declared.links();
        let mut links: Vec<WiredLink> =
            declared.iter().enumerate().map(|(number, link)| self.judge(number, link, now)).collect();
        let besides = self.wires.both_ways().filter(|(a, b)| !self.declared.is_declared(*a, *b));
        links.extend(besides.filter_map(|(a, b)| self.found(a, b, now)));
        links
    }

    fn found(&self, a: End, b: End, now: Timestamp) -> Option<WiredLink> {
        let (one, other) = (self.switches.get(&a.0)?, self.switches.get(&b.0)?);
        let heard = self.hear_each_other(a, b, now);
        let lost = self.lost(a.0, now) || self.lost(b.0, now);
        let (state, trust) = match one.bridge && other.bridge {
            true if heard && !lost => (LinkState::Up, Trust::Good),
            true if heard => (LinkState::Up, Trust::Doubtful),
            true => (LinkState::Unseen, Trust::Doubtful),
            false if heard => (LinkState::Undeclared, Trust::Dead),
            false => return None,
        };
        Some(WiredLink {
            a: one.index,
            a_port: Some(a.1),
            b: other.index,
            b_port: Some(b.1),
            kind: LinkKind::Data,
            latency_us: 0,
            capacity_bps: 0,
            state,
            trust,
            measured_latency_us: self.latency(a, b),
        })
    }

    fn judge(&self, number: usize, link: &WiredLink, now: Timestamp) -> WiredLink {
        let ends = self.declared.ends(number);
        let (state, trust) = match ends {
            None => (LinkState::Unseen, Trust::Doubtful),
            Some((a, b)) if self.known_down(a) || self.known_down(b) => (LinkState::Down, Trust::Dead),
            Some((a, b)) => {
                let elsewhere = |here, there| self.neighbour(here, now).is_some_and(|heard| heard != there);
                let up = self.hear_each_other(a, b, now);
                let trust = match () {
                    () if elsewhere(a, b) || elsewhere(b, a) => Trust::Dead,
                    () if self.lost(a.0, now) || self.lost(b.0, now) => Trust::Doubtful,
                    () if up || self.in_grace(a, b, now) => Trust::Good,
                    () => Trust::Doubtful,
                };
                (if up { LinkState::Up } else { LinkState::Unseen }, trust)
            }
        };
        let measured_latency_us = ends.and_then(|(a, b)| self.latency(a, b));
        WiredLink { state, trust, measured_latency_us, ..link.clone() }
    }

    /// The switch has told its ports, and this one is down or not among them.
    fn known_down(&self, end: End) -> bool {
        let told = self.switches.get(&end.0).is_some_and(|switch| switch.connected || !switch.ports.is_empty());
        told && !self.is_up(end)
    }

    /// Without a session for longer than a probe is waited for.
    fn lost(&self, datapath: DatapathId, now: Timestamp) -> bool {
        self.switches.get(&datapath).is_none_or(|switch| !switch.connected && now.since(switch.since) > self.hold())
    }

    /// Too early to have been heard.
    fn in_grace(&self, a: End, b: End, now: Timestamp) -> bool {
        [a.0, b.0]
            .into_iter()
            .filter_map(|datapath| self.switches.get(&datapath))
            .any(|switch| now.since(switch.since) <= self.hold())
    }

    /// Whether everything that can be found out at the start has been: every declared link has its ports and was seen in
    /// both directions, or there was time enough. Plans made earlier may miss paths over links without given ports.
    pub fn settled(&self, now: Timestamp) -> bool {
        self.declared.links().iter().enumerate().all(|(number, link)| {
            let link = self.judge(number, link, now);
            let start = [link.a, link.b].into_iter().filter_map(|index| self.switches.get(self.datapaths.get(&index)?));
            let waited = start.map(|switch| now.since(switch.since)).min().is_some_and(|waited| waited > self.hold());
            link.state == LinkState::Up || link.state == LinkState::Down || waited
        })
    }

    /// Ports of a switch as it told them.
    pub fn ports(&self, datapath: DatapathId) -> BTreeSet<PortNo> {
        self.switches.get(&datapath).map(|switch| switch.ports.keys().copied().collect()).unwrap_or_default()
    }

    /// Whether a port is an end of a declared or heard wire, so that no host can be behind it.
    pub fn is_wire(&self, datapath: DatapathId, port: PortNo, now: Timestamp) -> bool {
        let end = (datapath, port);
        let heard = match self.wires.at(end) {
            // Between bridges a wire is remembered when it falls silent.
            Some(neighbour) if self.is_bridge(datapath) && self.is_bridge(neighbour.end.0) => true,
            Some(neighbour) => self.is_fresh(end, neighbour, now),
            None => false,
        };
        heard || self.declared.is_end(end)
    }

    fn node_name(&self, datapath: DatapathId) -> String {
        self.switches.get(&datapath).map_or_else(|| format!("switch {datapath}"), |switch| switch.name.clone())
    }

    fn end_name(&self, (datapath, port): End) -> String {
        format!("{}:{port}", self.node_name(datapath))
    }
}
