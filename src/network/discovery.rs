//! Finds out by LLDP what is wired to what, and holds it against what the topology file declares.
//!
//! **Invariant**: a link is *up* while both of its ports are up and each side hears the other's probes; a port that goes
//! down takes its links down in the same call. What a switch without a session can neither hear nor be heard saying is
//! left as it was, for a controller that lost sight of a switch must not tear its paths down.
//!
//! Ports that the file leaves out are filled in by the first link that fits and stay until they are seen elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{LinkState, Trust, WiredLink, declared_links};
use crate::config::{LinkKind, Topology};
use crate::southbound::{Command, Port};
use crate::types::{DatapathId, MacAddr, NodeIndex, PortNo, Timestamp};
use crate::wire::lldp::{Key, LldpError, Probe, is_lldp};

/// So many intervals without a probe, and a link is no longer seen: two may be lost on a busy switch.
pub const HOLD_INTERVALS: u32 = 3;
/// Probes of one call of [`Discovery::poll`]; the rest follows with the next, so that a fabric that comes up at once does
/// not flood its switches.
const PROBES_PER_POLL: usize = 128;
/// A port that is up for so long without a probe from a switch faces stations: two probes were sent by then.
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
    /// When it was last heard to go up or down.
    since: Timestamp,
    next_probe: Timestamp,
}

#[derive(Clone, Debug)]
struct Switch {
    connected: bool,
    /// When the session came up, or went away.
    since: Timestamp,
    /// As the switch told them last; kept while it has no session.
    ports: BTreeMap<PortNo, PortStatus>,
}

#[derive(Clone, Copy, Debug)]
struct Neighbour {
    end: End,
    at: Timestamp,
}

#[derive(Debug)]
pub struct Discovery {
    key: Key,
    interval: Duration,
    indices: BTreeMap<DatapathId, NodeIndex>,
    datapaths: BTreeMap<NodeIndex, DatapathId>,
    names: BTreeMap<DatapathId, String>,
    /// In the file's order; ports are filled in as they are found.
    declared: Vec<WiredLink>,
    /// The ports that the file itself gives.
    given: Vec<(Option<PortNo>, Option<PortNo>)>,
    switches: BTreeMap<DatapathId, Switch>,
    /// By the end that hears.
    neighbours: BTreeMap<End, Neighbour>,
    round_trips: BTreeMap<DatapathId, u64>,
}

impl Discovery {
    /// `key` must be hard to guess, and the same for as long as this value lives.
    pub fn new(topology: &Topology, interval: Duration, key: Key, now: Timestamp) -> Self {
        let declared = declared_links(topology);
        let never = |node: &crate::config::Node| {
            (node.datapath, Switch { connected: false, since: now, ports: BTreeMap::new() })
        };
        Self {
            key,
            interval,
            indices: topology.nodes.iter().map(|node| (node.datapath, node.index)).collect(),
            datapaths: topology.nodes.iter().map(|node| (node.index, node.datapath)).collect(),
            names: topology.nodes.iter().map(|node| (node.datapath, node.id.to_string())).collect(),
            given: declared.iter().map(|link| (link.a_port, link.b_port)).collect(),
            declared,
            switches: topology.nodes.iter().map(never).collect(),
            neighbours: BTreeMap::new(),
            round_trips: BTreeMap::new(),
        }
    }

    /// Adds a switch that no file declares. One that is known already keeps what is known of it.
    pub fn join(&mut self, index: NodeIndex, name: &str, datapath: DatapathId, now: Timestamp) {
        self.indices.insert(datapath, index);
        self.datapaths.insert(index, datapath);
        self.names.insert(datapath, name.to_owned());
        self.switches.entry(datapath).or_insert(Switch { connected: false, since: now, ports: BTreeMap::new() });
    }

    /// Time from an echo request to its reply, by which the latency of links is corrected.
    pub fn round_trip(&mut self, datapath: DatapathId, us: u64) {
        self.round_trips.insert(datapath, us);
    }

    /// Ports that are up for at least [`EDGE_SETTLE`] and at which no other switch is known or heard.
    pub fn edge_ports(&self, datapath: DatapathId, now: Timestamp) -> BTreeSet<PortNo> {
        let ports = self.switches.get(&datapath).into_iter().flat_map(|switch| &switch.ports);
        ports
            .filter(|(_, status)| status.up && now.since(status.since) >= EDGE_SETTLE)
            .map(|(port, _)| *port)
            .filter(|port| !self.is_wire(datapath, *port, now))
            .collect()
    }

    fn hold(&self) -> Duration {
        self.interval * HOLD_INTERVALS
    }

    /// A session came up with these ports.
    pub fn switch_up(&mut self, datapath: DatapathId, ports: &[Port], now: Timestamp) {
        let status =
            |port: &Port| (port.number, PortStatus { mac: port.mac, up: port.up, since: now, next_probe: now });
        let physical = ports.iter().filter(|port| port.number.0 < PHYSICAL_PORT_END);
        let switch = Switch { connected: true, since: now, ports: physical.map(status).collect() };
        let gone: Vec<PortNo> = match self.switches.insert(datapath, switch) {
            Some(before) => before.ports.into_keys().filter(|port| !self.is_up((datapath, *port))).collect(),
            None => Vec::new(),
        };
        gone.into_iter().for_each(|port| self.forget((datapath, port)));
        let down: Vec<End> = ports.iter().filter(|port| !port.up).map(|port| (datapath, port.number)).collect();
        down.into_iter().for_each(|end| self.forget(end));
        self.probe_towards(datapath, now);
    }

    /// Whoever is wired to this switch probes it at once: earlier probes found nobody listening.
    fn probe_towards(&mut self, datapath: DatapathId, now: Timestamp) {
        let ends: Vec<(End, End)> = self.declared.iter().filter_map(|link| self.ends(link)).collect();
        let others = ends.into_iter().filter_map(|(a, b)| match datapath {
            this if this == a.0 => Some(b),
            this if this == b.0 => Some(a),
            _ => None,
        });
        for (datapath, port) in others {
            let switch = self.switches.get_mut(&datapath);
            if let Some(status) = switch.and_then(|switch| switch.ports.get_mut(&port)) {
                status.next_probe = now;
            }
        }
    }

    pub fn switch_down(&mut self, datapath: DatapathId, now: Timestamp) {
        if let Some(switch) = self.switches.get_mut(&datapath) {
            switch.connected = false;
            switch.since = now;
        }
    }

    /// Returns whether a link may have changed its state.
    pub fn port_changed(&mut self, datapath: DatapathId, port: &Port, removed: bool, now: Timestamp) -> bool {
        if port.number.0 >= PHYSICAL_PORT_END {
            return false;
        }
        let Some(switch) = self.switches.get_mut(&datapath) else { return false };
        let end = (datapath, port.number);
        let was = switch.ports.get(&port.number).map(|status| status.up);
        if removed {
            switch.ports.remove(&port.number);
        } else {
            switch.ports.insert(port.number, PortStatus { mac: port.mac, up: port.up, since: now, next_probe: now });
        }
        let is = (!removed).then_some(port.up);
        if is != Some(true) {
            self.forget(end);
        }
        was != is
    }

    /// Whatever was heard over a wire that went down is no longer known, at either end.
    fn forget(&mut self, end: End) {
        self.neighbours.remove(&end);
        self.neighbours.retain(|_, neighbour| neighbour.end != end);
    }

    fn is_up(&self, (datapath, port): End) -> bool {
        self.switches.get(&datapath).and_then(|switch| switch.ports.get(&port)).is_some_and(|status| status.up)
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
        let was_fresh = self.hears(here, there, now);
        self.neighbours.insert(here, Neighbour { end: there, at: now });
        if was_fresh {
            return Heard::Probe { changed: false };
        }
        self.resolve(now);
        Heard::Probe { changed: true }
    }

    /// Whether `here` hears `there`. Silence counts only while both switches have a session.
    fn hears(&self, here: End, there: End, now: Timestamp) -> bool {
        let Some(neighbour) = self.neighbours.get(&here).filter(|neighbour| neighbour.end == there) else {
            return false;
        };
        let (Some(a), Some(b)) = (self.switches.get(&here.0), self.switches.get(&there.0)) else { return false };
        if !a.connected || !b.connected {
            return true;
        }
        now.since(neighbour.at.max(a.since).max(b.since)) <= self.hold()
    }

    /// Who is heard at this end just now.
    fn neighbour(&self, here: End, now: Timestamp) -> Option<End> {
        self.neighbours.get(&here).map(|neighbour| neighbour.end).filter(|there| self.hears(here, *there, now))
    }

    /// Wires that are heard in both directions, each once.
    fn wires(&self, now: Timestamp) -> BTreeSet<(End, End)> {
        let heard = self.neighbours.iter().map(|(here, neighbour)| (*here, neighbour.end));
        heard
            .filter(|(here, there)| self.hears(*here, *there, now) && self.hears(*there, *here, now))
            .map(|(here, there)| (here.min(there), here.max(there)))
            .collect()
    }

    /// Fills in the ports that the file does not give.
    fn resolve(&mut self, now: Timestamp) {
        if self.given.iter().all(|(a, b)| a.is_some() && b.is_some()) {
            return;
        }
        let mut wires: BTreeSet<(End, End)> = self.wires(now);
        let mut open = Vec::new();
        for (at, (given, link)) in self.given.iter().zip(&self.declared).enumerate() {
            let Some(ends) = self.ends(link) else {
                open.push(at);
                continue;
            };
            let moved = (given.0.is_none() || given.1.is_none())
                && [(ends.0, ends.1), (ends.1, ends.0)]
                    .into_iter()
                    .any(|(here, there)| self.neighbour(here, now).is_some_and(|heard| heard != there));
            if moved {
                open.push(at);
            } else {
                wires.remove(&(ends.0.min(ends.1), ends.0.max(ends.1)));
            }
        }
        for at in open {
            let (a_given, b_given) = self.given[at];
            let link = &self.declared[at];
            let (Some(a), Some(b)) = (self.datapaths.get(&link.a), self.datapaths.get(&link.b)) else { continue };
            let oriented = wires.iter().flat_map(|(x, y)| [(*x, *y), (*y, *x)]);
            let fits = oriented.filter(|(x, y)| {
                x.0 == *a
                    && y.0 == *b
                    && a_given.is_none_or(|port| port == x.1)
                    && b_given.is_none_or(|port| port == y.1)
            });
            if let Some((x, y)) = fits.min() {
                wires.remove(&(x.min(y), x.max(y)));
                self.declared[at].a_port = Some(x.1);
                self.declared[at].b_port = Some(y.1);
            }
        }
    }

    fn ends(&self, link: &WiredLink) -> Option<(End, End)> {
        let a = (*self.datapaths.get(&link.a)?, link.a_port?);
        let b = (*self.datapaths.get(&link.b)?, link.b_port?);
        Some((a, b))
    }

    /// Probes due now, oldest first and no more than a burst of them; ask again while it returns some.
    pub fn poll(&mut self, now: Timestamp) -> Vec<Command> {
        let connected = self.switches.iter().filter(|(_, switch)| switch.connected);
        let mut due: Vec<(Timestamp, End)> = connected
            .flat_map(|(datapath, switch)| switch.ports.iter().map(|(port, status)| (*datapath, *port, status)))
            .filter(|(.., status)| status.up && status.next_probe <= now)
            .map(|(datapath, port, status)| (status.next_probe, (datapath, port)))
            .collect();
        due.sort_unstable();
        due.truncate(PROBES_PER_POLL);
        let ttl_s = u16::try_from(self.hold().as_secs().max(1)).unwrap_or(u16::MAX);
        let mut commands = Vec::with_capacity(due.len());
        for (_, (datapath, port)) in due {
            let status = self.switches.get_mut(&datapath).and_then(|switch| switch.ports.get_mut(&port));
            let Some(status) = status else { continue };
            status.next_probe = now + self.interval;
            let data = Probe { datapath, port, sent: now, ttl_s }.encode(status.mac, self.key);
            commands.push(Command::PacketOut { datapath, port, data });
        }
        commands
    }

    /// When [`Self::poll`] next has something to do; `None` while no switch has a session.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let connected = self.switches.values().filter(|switch| switch.connected);
        connected.flat_map(|switch| switch.ports.values()).filter(|port| port.up).map(|port| port.next_probe).min()
    }

    /// Every declared link in the file's order, then what was found besides.
    pub fn links(&self, now: Timestamp) -> Vec<WiredLink> {
        let mut links: Vec<WiredLink> = self.declared.iter().map(|link| self.judge(link, now)).collect();
        let known: BTreeSet<(End, End)> =
            self.declared.iter().filter_map(|link| self.ends(link)).map(|(a, b)| (a.min(b), a.max(b))).collect();
        let undeclared = self.wires(now).into_iter().filter(|wire| !known.contains(wire)).filter_map(|(a, b)| {
            Some(WiredLink {
                a: *self.indices.get(&a.0)?,
                a_port: Some(a.1),
                b: *self.indices.get(&b.0)?,
                b_port: Some(b.1),
                kind: LinkKind::Data,
                latency_us: 0,
                capacity_bps: 0,
                state: LinkState::Undeclared,
                trust: Trust::Dead,
                measured_latency_us: None,
            })
        });
        links.extend(undeclared);
        links
    }

    fn judge(&self, link: &WiredLink, now: Timestamp) -> WiredLink {
        let (state, trust) = match self.ends(link) {
            None => (LinkState::Unseen, Trust::Doubtful),
            Some((a, b)) if self.known_down(a) || self.known_down(b) => (LinkState::Down, Trust::Dead),
            Some((a, b)) => {
                let elsewhere = |here, there| self.neighbour(here, now).is_some_and(|heard| heard != there);
                let up = self.hears(a, b, now) && self.hears(b, a, now);
                let trust = match () {
                    () if elsewhere(a, b) || elsewhere(b, a) => Trust::Dead,
                    () if self.lost(a.0, now) || self.lost(b.0, now) => Trust::Doubtful,
                    () if up || self.in_grace(a, b, now) => Trust::Good,
                    () => Trust::Doubtful,
                };
                (if up { LinkState::Up } else { LinkState::Unseen }, trust)
            }
        };
        WiredLink { state, trust, ..link.clone() }
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
        self.declared.iter().all(|link| {
            let link = self.judge(link, now);
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
        self.neighbour(end, now).is_some()
            || self.declared.iter().filter_map(|link| self.ends(link)).any(|(a, b)| a == end || b == end)
    }

    /// How the wires differ from the file; sentences.
    pub fn differences(&self, now: Timestamp) -> Vec<String> {
        let mut sentences = Vec::new();
        let mut told: BTreeSet<End> = BTreeSet::new();
        for link in &self.declared {
            self.declared_difference(link, now, &mut told, &mut sentences);
        }
        let known: BTreeSet<(End, End)> =
            self.declared.iter().filter_map(|link| self.ends(link)).flat_map(|(a, b)| [(a, b), (b, a)]).collect();
        for here in self.neighbours.keys() {
            let Some(there) = self.neighbour(*here, now) else { continue };
            if known.contains(&(*here, there)) || told.contains(here) {
                continue;
            }
            told.extend([*here, there]);
            sentences.push(format!(
                "{} is wired to {}, which is not declared",
                self.end_name(*here),
                self.end_name(there)
            ));
        }
        sentences
    }

    fn declared_difference(
        &self,
        link: &WiredLink,
        now: Timestamp,
        told: &mut BTreeSet<End>,
        sentences: &mut Vec<String>,
    ) {
        let connected = |index| {
            let switch = self.datapaths.get(&index).and_then(|datapath| self.switches.get(datapath));
            switch.is_some_and(|switch| switch.connected && now.since(switch.since) > self.hold())
        };
        let Some((a, b)) = self.ends(link) else {
            if connected(link.a) && connected(link.b) {
                let name = |index, port: Option<PortNo>| {
                    let node = self.datapaths.get(&index).map(|datapath| self.node_name(*datapath)).unwrap_or_default();
                    port.map_or(node.clone(), |port| format!("{node}:{port}"))
                };
                let (a, b) = (name(link.a, link.a_port), name(link.b, link.b_port));
                sentences.push(format!("{a} and {b} are declared to be wired, but LLDP sees no such link"));
            }
            return;
        };
        for (here, there) in [(a, b), (b, a)] {
            let switch = self.switches.get(&here.0).filter(|switch| switch.connected);
            if let Some(switch) = switch
                && !switch.ports.contains_key(&here.1)
            {
                let (here, there) = (self.end_name(here), self.end_name(there));
                sentences.push(format!("{here} is declared to be wired to {there}, but the switch has no such port"));
                return;
            }
        }
        let mut elsewhere = false;
        for (here, there) in [(a, b), (b, a)] {
            if let Some(heard) = self.neighbour(here, now).filter(|heard| *heard != there) {
                elsewhere = true;
                told.extend([here, heard]);
                let (here, heard, there) = (self.end_name(here), self.end_name(heard), self.end_name(there));
                sentences.push(format!("{here} is wired to {heard}, declared {there}"));
            }
        }
        let judged = self.judge(link, now);
        if elsewhere || judged.state != LinkState::Unseen || !connected(link.a) || !connected(link.b) {
            return;
        }
        let (a_name, b_name) = (self.end_name(a), self.end_name(b));
        sentences.push(match (self.hears(b, a, now), self.hears(a, b, now)) {
            (true, _) => format!("LLDP passes from {a_name} to {b_name}, but not back"),
            (_, true) => format!("LLDP passes from {b_name} to {a_name}, but not back"),
            _ => format!("{a_name} is declared to be wired to {b_name}, but LLDP does not see it"),
        });
    }

    fn node_name(&self, datapath: DatapathId) -> String {
        self.names.get(&datapath).cloned().unwrap_or_else(|| format!("switch {datapath}"))
    }

    fn end_name(&self, (datapath, port): End) -> String {
        format!("{}:{port}", self.node_name(datapath))
    }
}
