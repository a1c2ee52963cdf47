//! Who is where on bridged fabrics, and what is answered in their place.
//!
//! **Invariants**
//!
//! 1. A station is at one place. It is learned from the source of frames that come in by edge ports and from nothing else:
//!    never from groups, from `00:00:00:00:00:00`, or from addresses that are the controller's own.
//! 2. An address has one holder within its VLAN, the one that claimed it last. Only claims made by ARP, neighbour discovery
//!    or a DHCP server are answered for; the source of a passing packet may be a router's neighbour.
//! 3. Broadcast ARP requests and neighbour solicitations to groups come to the controller alone, so that each leads to one
//!    [`Reaction`]: an answer, or a flood. Nothing else does: the switch has passed it on already.
//! 4. Every table is bounded. What does not fit is not learned, and its frames are flooded: slower, never lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::neighbours;
use crate::plan::{Place, Station};
use crate::types::{MacAddr, NodeIndex, PortNo, Timestamp};
use crate::wire::ethernet::Header;

/// Stations of the whole fabric: each is an entry of every switch, and ordinary hardware holds so many.
pub const STATIONS_MAX: usize = 32_768;
/// Stations behind one port, so that one host that makes up addresses does not crowd out all others.
pub const PLACE_STATIONS_MAX: usize = 8_192;
/// Addresses of one station, the latest: a host with privacy extensions has a handful, a router passes for many.
pub const ADDRESSES_MAX: usize = 8;
/// A station that was not heard for so long is asked (the default of 802.1Q, table 8-6).
pub const AGE: Duration = Duration::from_secs(300);
/// So long is an answer waited for before the next question.
const ASK_WAIT: Duration = Duration::from_secs(2);
/// Questions until a silent station is forgotten.
const ASKS_MAX: u8 = 3;
/// Stations asked or forgotten in one call of [`Stations::poll`]; the rest follows with the next.
const ASKED_PER_POLL: usize = 64;
/// More moves than this within [`FLAP_WINDOW`] are no moves but two stations with one address, or a loop outside.
pub const FLAPS_MAX: u8 = 5;
pub const FLAP_WINDOW: Duration = Duration::from_secs(10);
/// A station that flaps stays where it is for so long: every move is a change in every switch.
pub const FLAP_HOLD: Duration = Duration::from_secs(10);
/// An address that its former holder claims back within this is claimed by two.
const CONTEST: Duration = Duration::from_secs(30);
/// The same question from the same port within this is the same frame, handed up by two tables of its switch.
const TWICE: Duration = Duration::from_millis(50);
/// Questions remembered to that end.
const RECENT_MAX: usize = 64;
/// Complaints remembered, and for how long after they were last true.
const COMPLAINTS_MAX: usize = 64;
const COMPLAINT_AGE: Duration = Duration::from_secs(300);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownStation {
    pub station: Station,
    pub place: Place,
    pub ipv4: BTreeSet<Ipv4Addr>,
    pub ipv6: BTreeSet<Ipv6Addr>,
    /// When a frame of it last came to the controller. Switches forward a known station's frames by themselves.
    pub heard: Timestamp,
}

/// What is to be sent because of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Out of one edge port.
    Send { place: Place, frame: Vec<u8> },
    /// To everyone, as if it came in at `from`.
    Flood { from: Place, frame: Vec<u8> },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// A station appeared or moved: plans follow.
    pub changed: bool,
    /// A station's addresses changed: no plan follows, only what is shown.
    pub addresses: bool,
    pub reactions: Vec<Reaction>,
    /// Who moved, from where, to where.
    pub moved: Option<(Station, Place, Place)>,
}

#[derive(Clone, Debug)]
struct Entry {
    known: KnownStation,
    /// Addresses by the time they were claimed, oldest first.
    claims: VecDeque<IpAddr>,
    /// When it is asked next; also in [`Stations::due`].
    due: Timestamp,
    asks: u8,
    moves: u8,
    moving_since: Timestamp,
    held_until: Timestamp,
    /// What its last advertisement said of it.
    router: Option<bool>,
}

/// Who claimed an address last.
#[derive(Clone, Copy, Debug)]
struct Holder {
    mac: MacAddr,
    /// Claimed by the station itself or a DHCP server, not only seen as a source.
    sure: bool,
    since: Timestamp,
    before: Option<MacAddr>,
}

/// The stations of all bridges.
#[derive(Debug, Default)]
pub struct Stations {
    entries: BTreeMap<Station, Entry>,
    /// The same places as in `entries`, shared with plans.
    places: Arc<BTreeMap<Station, Place>>,
    at: BTreeMap<Place, BTreeSet<Station>>,
    /// How many stations a node has.
    nodes: BTreeMap<NodeIndex, usize>,
    holders: BTreeMap<(Option<u16>, IpAddr), Holder>,
    due: BTreeSet<(Timestamp, Station)>,
    /// Nodes without a session: nobody can be asked there.
    silent: BTreeSet<NodeIndex>,
    names: BTreeMap<NodeIndex, String>,
    complaints: VecDeque<(Timestamp, String)>,
    recent: VecDeque<(Timestamp, Reaction)>,
    malformed: u64,
}

/// How a frame's source fits what is known.
enum Source {
    Unchanged,
    New,
    Moved(Place),
}

impl Stations {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a frame that came in by an edge port of a bridge; frames of link ports must not come here.
    pub fn packet_in(&mut self, place: Place, frame: &[u8], now: Timestamp) -> Outcome {
        let mut outcome = Outcome::default();
        let Some((header, payload)) = Header::decode(frame) else {
            self.malformed += 1;
            return outcome;
        };
        // What the controller sent itself came back around a loop outside: it must not go round again.
        if is_own(header.source) {
            return outcome;
        }
        if !is_station(header.source) {
            self.malformed += 1;
            return outcome;
        }
        let station = Station { vlan: header.vlan(), mac: header.source };
        match self.hear(station, place, now) {
            Source::Unchanged => {}
            Source::New => outcome.changed = true,
            Source::Moved(from) => {
                outcome.changed = true;
                outcome.moved = Some((station, from, place));
            }
        }
        let arrived = neighbours::Arrived { place, frame, header, payload, station, now };
        neighbours::take(self, &arrived, &mut outcome);
        outcome.reactions.retain(|reaction| self.is_first(reaction, now));
        outcome
    }

    /// Whether the reaction is not one to a frame that was just reacted to.
    fn is_first(&mut self, reaction: &Reaction, now: Timestamp) -> bool {
        while self.recent.len() >= RECENT_MAX || self.recent.front().is_some_and(|(at, _)| now.since(*at) > TWICE) {
            self.recent.pop_front();
        }
        let first = self.recent.iter().all(|(_, recent)| recent != reaction);
        if first {
            self.recent.push_back((now, reaction.clone()));
        }
        first
    }

    fn hear(&mut self, station: Station, place: Place, now: Timestamp) -> Source {
        let Some(entry) = self.entries.get_mut(&station) else {
            return if self.insert(station, place, now) { Source::New } else { Source::Unchanged };
        };
        entry.known.heard = now;
        entry.asks = 0;
        let from = entry.known.place;
        let held = now < entry.held_until;
        let moved = from != place && !held;
        if moved {
            entry.known.place = place;
            if now.since(entry.moving_since) > FLAP_WINDOW {
                (entry.moving_since, entry.moves) = (now, 0);
            }
            entry.moves += 1;
            if entry.moves > FLAPS_MAX {
                entry.held_until = now + FLAP_HOLD;
                entry.moves = 0;
                let (from, to) = (self.place_name(from), self.place_name(place));
                let name = station_name(station);
                self.complain(format!("station {name} flaps between {from} and {to}: two with one address?"), now);
            }
        }
        self.postpone(station, now + AGE);
        if !moved {
            return Source::Unchanged;
        }
        self.leave(station, from);
        self.arrive(station, place);
        Source::Moved(from)
    }

    /// Enters a station that is not known yet; not beyond the bounds.
    fn insert(&mut self, station: Station, place: Place, now: Timestamp) -> bool {
        if self.entries.len() >= STATIONS_MAX {
            // Whoever is behind a switch that is there goes before whoever may be behind one that is not.
            self.silent.clone().into_iter().any(|node| self.node_left_silent(node));
        }
        if self.entries.len() >= STATIONS_MAX {
            self.complain(format!("more than {STATIONS_MAX} stations: the others are flooded to"), now);
            return false;
        }
        if self.at.get(&place).is_some_and(|here| here.len() >= PLACE_STATIONS_MAX) {
            let place = self.place_name(place);
            self.complain(
                format!("more than {PLACE_STATIONS_MAX} stations at {place}: the others are flooded to"),
                now,
            );
            return false;
        }
        let known = KnownStation { station, place, ipv4: BTreeSet::new(), ipv6: BTreeSet::new(), heard: now };
        let entry = Entry {
            known,
            claims: VecDeque::new(),
            due: now + AGE,
            asks: 0,
            moves: 0,
            moving_since: now,
            held_until: Timestamp::default(),
            router: None,
        };
        self.due.insert((entry.due, station));
        self.entries.insert(station, entry);
        self.arrive(station, place);
        true
    }

    /// Forgets the stations of a node that has no session; it stays silent.
    fn node_left_silent(&mut self, node: NodeIndex) -> bool {
        let name = self.names.get(&node).cloned();
        let any = self.node_left(node);
        self.silent.insert(node);
        self.names.extend(name.map(|name| (node, name)));
        any
    }

    fn arrive(&mut self, station: Station, place: Place) {
        self.at.entry(place).or_default().insert(station);
        *self.nodes.entry(place.node).or_default() += 1;
        Arc::make_mut(&mut self.places).insert(station, place);
    }

    /// The station keeps its entry; [`Self::arrive`] or [`Self::forget`] follows.
    fn leave(&mut self, station: Station, place: Place) {
        if let Some(here) = self.at.get_mut(&place) {
            here.remove(&station);
            if here.is_empty() {
                self.at.remove(&place);
            }
        }
        if let Some(count) = self.nodes.get_mut(&place.node) {
            *count -= 1;
            if *count == 0 {
                self.nodes.remove(&place.node);
            }
        }
    }

    fn forget(&mut self, station: Station) {
        let Some(entry) = self.entries.remove(&station) else { return };
        self.due.remove(&(entry.due, station));
        for address in entry.claims {
            self.holders.remove(&(station.vlan, address));
        }
        self.leave(station, entry.known.place);
        Arc::make_mut(&mut self.places).remove(&station);
    }

    fn postpone(&mut self, station: Station, due: Timestamp) {
        if let Some(entry) = self.entries.get_mut(&station) {
            self.due.remove(&(entry.due, station));
            entry.due = due;
            self.due.insert((due, station));
        }
    }

    /// A known station says, or is said, to hold an address; returns whether that is new. A claim that is not sure takes
    /// nothing away from anyone.
    pub(super) fn claim(&mut self, station: Station, address: IpAddr, sure: bool, now: Timestamp) -> bool {
        if !is_address(address) || !self.entries.contains_key(&station) {
            return false;
        }
        let key = (station.vlan, address);
        let mut before = None;
        if let Some(holder) = self.holders.get_mut(&key) {
            if holder.mac == station.mac {
                holder.sure |= sure;
                return false;
            }
            if !sure {
                return false;
            }
            let was = *holder;
            before = Some(was.mac);
            if was.sure && was.before == Some(station.mac) && now.since(was.since) < CONTEST {
                let (one, other) = (station.mac.min(was.mac), station.mac.max(was.mac));
                let vlan = vlan_name(station.vlan);
                self.complain(format!("{address}{vlan} is claimed by both {one} and {other}"), now);
            }
            self.release(Station { mac: was.mac, ..station }, address);
        }
        let entry = self.entries.get_mut(&station).expect("looked up above");
        entry.claims.push_back(address);
        match address {
            IpAddr::V4(address) => entry.known.ipv4.insert(address),
            IpAddr::V6(address) => entry.known.ipv6.insert(address),
        };
        let oldest = (entry.claims.len() > ADDRESSES_MAX).then(|| entry.claims[0]);
        self.holders.insert(key, Holder { mac: station.mac, sure, since: now, before });
        if let Some(oldest) = oldest {
            self.release(station, oldest);
        }
        true
    }

    /// The station no longer holds the address; returns whether it did.
    pub(super) fn release(&mut self, station: Station, address: IpAddr) -> bool {
        let Some(entry) = self.entries.get_mut(&station) else { return false };
        let Some(at) = entry.claims.iter().position(|claim| *claim == address) else { return false };
        entry.claims.remove(at);
        match address {
            IpAddr::V4(address) => entry.known.ipv4.remove(&address),
            IpAddr::V6(address) => entry.known.ipv6.remove(&address),
        };
        self.holders.remove(&(station.vlan, address));
        true
    }

    /// The station that may be answered for.
    pub(super) fn holder(&self, vlan: Option<u16>, address: IpAddr) -> Option<&KnownStation> {
        let holder = self.holders.get(&(vlan, address)).filter(|holder| holder.sure)?;
        self.entries.get(&Station { vlan, mac: holder.mac }).map(|entry| &entry.known)
    }

    pub(super) fn is_known(&self, station: Station) -> bool {
        self.entries.contains_key(&station)
    }

    /// What its last advertisement said, if one came.
    pub(super) fn is_router(&self, station: Station) -> Option<bool> {
        self.entries.get(&station).and_then(|entry| entry.router)
    }

    pub(super) fn told_router(&mut self, station: Station, router: bool) {
        if let Some(entry) = self.entries.get_mut(&station) {
            entry.router = Some(router);
        }
    }

    /// Asks it with the next [`Self::poll`]: somebody else wants its address.
    pub(super) fn doubt(&mut self, station: Station, now: Timestamp) {
        if self.entries.get(&station).is_some_and(|entry| entry.asks == 0) {
            self.postpone(station, now);
        }
    }

    pub(super) fn count_malformed(&mut self) {
        self.malformed += 1;
    }

    /// What a switch was found to hold; believed only of stations that are not known yet. Returns whether any was new.
    pub fn adopt(&mut self, node: NodeIndex, stations: &[(Station, PortNo)], now: Timestamp) -> bool {
        let mut changed = false;
        for (station, port) in stations {
            if is_station(station.mac) && !is_own(station.mac) && !self.is_known(*station) {
                changed |= self.insert(*station, Place { node, port: *port }, now);
            }
        }
        changed
    }

    /// The port went down, or turned out to be a link: whoever was behind it is forgotten. Returns whether anyone was.
    pub fn port_lost(&mut self, place: Place) -> bool {
        let gone = self.at.get(&place).cloned().unwrap_or_default();
        gone.iter().for_each(|station| self.forget(*station));
        !gone.is_empty()
    }

    /// The node is no part of the fabric any more, nor is whoever was behind it. Returns whether anyone was.
    pub fn node_left(&mut self, node: NodeIndex) -> bool {
        let first = Place { node, port: PortNo(0) };
        let last = Place { node, port: PortNo(u32::MAX) };
        let gone: Vec<Station> = self.at.range(first..=last).flat_map(|(_, here)| here.iter().copied()).collect();
        gone.iter().for_each(|station| self.forget(*station));
        self.silent.remove(&node);
        self.names.remove(&node);
        !gone.is_empty()
    }

    /// While a node has no session nobody can be asked there, and nobody there is forgotten for being silent.
    pub fn node_silent(&mut self, node: NodeIndex, silent: bool) {
        if silent {
            self.silent.insert(node);
        } else {
            self.silent.remove(&node);
        }
    }

    /// How complaints call a node; its index otherwise.
    pub fn name_node(&mut self, node: NodeIndex, name: &str) {
        self.names.insert(node, name.to_owned());
    }

    /// Asks whoever was not heard for [`AGE`] and forgets who does not answer. Returns what is to be sent, and whether
    /// anyone was forgotten. One call does a bounded part; [`Self::next_deadline`] says when the next is due.
    pub fn poll(&mut self, now: Timestamp) -> (Vec<Reaction>, bool) {
        while self.complaints.front().is_some_and(|(at, _)| now.since(*at) > COMPLAINT_AGE) {
            self.complaints.pop_front();
        }
        let (mut reactions, mut forgotten) = (Vec::new(), false);
        for _ in 0..ASKED_PER_POLL {
            let Some((_, station)) = self.due.first().copied().filter(|(due, _)| *due <= now) else { break };
            let entry = self.entries.get_mut(&station).expect("whoever is due is known");
            if self.silent.contains(&entry.known.place.node) {
                self.postpone(station, now + AGE / 10);
                continue;
            }
            let questions = neighbours::questions(&entry.known);
            if questions.is_empty() || entry.asks >= ASKS_MAX {
                self.forget(station);
                forgotten = true;
                continue;
            }
            entry.asks += 1;
            reactions.extend(questions);
            self.postpone(station, now + ASK_WAIT);
        }
        (reactions, forgotten)
    }

    /// When [`Self::poll`] next has something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    pub fn iter(&self) -> impl Iterator<Item = &KnownStation> {
        self.entries.values().map(|entry| &entry.known)
    }

    pub fn get(&self, station: Station) -> Option<&KnownStation> {
        self.entries.get(&station).map(|entry| &entry.known)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where everyone is; one value for all plans.
    pub fn places(&self) -> Arc<BTreeMap<Station, Place>> {
        Arc::clone(&self.places)
    }

    /// Nodes that have stations, which are the nodes that paths must lead to.
    pub fn nodes(&self) -> BTreeSet<NodeIndex> {
        self.nodes.keys().copied().collect()
    }

    /// Whether any station is at this node.
    pub fn holds(&self, node: NodeIndex) -> bool {
        self.nodes.contains_key(&node)
    }

    /// Frames that were no frames.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// What is wrong with the stations; sentences.
    pub fn differences(&self) -> impl Iterator<Item = &str> {
        self.complaints.iter().map(|(_, sentence)| sentence.as_str())
    }

    fn complain(&mut self, sentence: String, now: Timestamp) {
        self.complaints.retain(|(_, known)| *known != sentence);
        if self.complaints.len() >= COMPLAINTS_MAX {
            self.complaints.pop_front();
        }
        self.complaints.push_back((now, sentence));
    }

    fn place_name(&self, place: Place) -> String {
        match self.names.get(&place.node) {
            Some(name) => format!("{name}:{}", place.port),
            None => format!("switch {} port {}", place.node, place.port),
        }
    }
}

/// An address that a single interface may have.
fn is_station(mac: MacAddr) -> bool {
    mac.0[0] & 1 == 0 && mac != MacAddr([0; 6])
}

/// Addresses by which the controller itself speaks.
fn is_own(mac: MacAddr) -> bool {
    mac.0[..3] == MacAddr::GATEWAY.0[..3]
}

/// An address that one station alone may have, and that means something on a wire.
fn is_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.octets()[0] == 0 || address.is_loopback() || address.is_multicast() || address.octets()[0] >= 240)
        }
        IpAddr::V6(address) => !(address.is_unspecified() || address.is_loopback() || address.is_multicast()),
    }
}

fn vlan_name(vlan: Option<u16>) -> String {
    vlan.map(|vlan| format!(" (VLAN {vlan})")).unwrap_or_default()
}

fn station_name(station: Station) -> String {
    format!("{}{}", station.mac, vlan_name(station.vlan))
}
