//! What an agent knows: the connections of its own kernel as a source, those of its peers as replicas.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use bytes::Bytes;
use ipnet::IpNet;

use crate::replication::{Change, Config, Full, Lag, Refusal, Replica, Source};
use crate::types::{NodeIndex, Timestamp};
use crate::wire::ctnetlink::{Entry, Kind};
use crate::wire::replication::{Connection, Flow, Frame, Handle, Key};

use super::report::{KernelReport, PeerReport, Report};

/// What an agent is made from.
#[derive(Clone, Debug)]
pub struct Setup {
    pub router: NodeIndex,
    pub peers: Vec<NodeIndex>,
    /// Tells its connections.
    pub is_source: bool,
    /// Keeps those of its peers.
    pub is_shadow: bool,
    pub secret: Key,
    pub replication: Config,
    /// Connections with one of these addresses are not told.
    pub ignore: Vec<IpNet>,
    /// New at every start.
    pub epoch: u32,
    /// Random.
    pub seed: u64,
}

/// A dump that is being read. Events are newer than what a dump says of the same connection.
#[derive(Debug, Default)]
struct Reading {
    touched: HashSet<(Flow, u16)>,
    seen: HashSet<u32>,
}

/// See the module.
#[derive(Debug)]
pub struct Agent {
    router: NodeIndex,
    peers: Vec<NodeIndex>,
    ignore: Vec<IpNet>,
    source: Option<Source>,
    replicas: BTreeMap<NodeIndex, Replica>,
    reading: Option<Reading>,
    kernel: KernelReport,
    unreadable: u64,
    changes: Vec<Change>,
    /// Whose the frame was that was taken last.
    last: NodeIndex,
    turn: bool,
}

impl Agent {
    pub fn new(setup: Setup, now: Timestamp) -> Self {
        let Setup { router, peers, secret, replication, .. } = setup;
        let source = setup.is_source.then(|| {
            let mut source = Source::new(replication.clone(), router, setup.epoch, secret);
            peers.iter().for_each(|peer| source.add_peer(*peer, now));
            source
        });
        let shadowed = peers.iter().filter(|_| setup.is_shadow);
        let replica = |peer: &NodeIndex| {
            let seed = setup.seed ^ u64::from(peer.0);
            (*peer, Replica::new(replication.clone(), *peer, router, seed, &secret))
        };
        Self {
            router,
            replicas: shadowed.map(replica).collect(),
            peers,
            ignore: setup.ignore,
            source,
            reading: None,
            kernel: KernelReport::default(),
            unreadable: 0,
            changes: Vec::new(),
            last: router,
            turn: false,
        }
    }

    pub fn is_source(&self) -> bool {
        self.source.is_some()
    }

    fn is_ignored(&self, connection: &Connection) -> bool {
        let (flow, reply) = (connection.flow.addresses, connection.reply().addresses);
        let ends = [flow.source(), flow.destination(), reply.source(), reply.destination()];
        ends.iter().any(|end: &IpAddr| end.is_loopback() || self.ignore.iter().any(|prefix| prefix.contains(end)))
    }

    /// Takes an event of the kernel.
    pub fn event(&mut self, entry: Entry, now: Timestamp) {
        let Some(source) = &mut self.source else { return };
        let counter = match entry.kind {
            Kind::New => &mut self.kernel.new,
            Kind::Update => &mut self.kernel.updates,
            Kind::Destroy => &mut self.kernel.ended,
        };
        *counter += 1;
        let Entry { kind, connection, told, .. } = entry;
        let key = (connection.flow, connection.zone);
        if let Some(reading) = &mut self.reading {
            reading.touched.insert(key);
        }
        let known = source.find(&key.0, key.1);
        match (kind, known) {
            (Kind::Destroy, Some(handle)) => drop(source.close(handle, now)),
            (Kind::Destroy, None) => {}
            (Kind::Update, Some(handle)) => {
                let mut state = source.get(handle).expect("just found").state;
                state.take(told, &connection.state);
                source.update(handle, &state, now);
            }
            _ if self.is_ignored(&connection) => self.kernel.ignored += 1,
            _ => drop(self.open(connection, now)),
        }
    }

    fn open(&mut self, connection: Connection, now: Timestamp) -> Option<Handle> {
        let opened: Result<Handle, Full> = self.source.as_mut()?.open(connection, now);
        self.kernel.refused += u64::from(opened.is_err());
        opened.ok()
    }

    /// Events were lost: a dump has to follow.
    pub fn lost_events(&mut self) {
        self.kernel.overruns += 1;
    }

    /// A message of the kernel could not be read.
    pub fn unreadable(&mut self) {
        self.kernel.unreadable += 1;
    }

    /// A dump begins; one that is being read begins anew.
    pub fn dump_begins(&mut self) {
        self.kernel.dumps += 1;
        self.reading = Some(Reading::default());
    }

    /// One connection of the dump.
    pub fn dumped(&mut self, entry: Entry, now: Timestamp) {
        let Some(reading) = &self.reading else { return };
        let connection = entry.connection;
        if reading.touched.contains(&(connection.flow, connection.zone)) || self.is_ignored(&connection) {
            return;
        }
        let Some(source) = &mut self.source else { return };
        let handle = match source.find(&connection.flow, connection.zone) {
            Some(handle) => {
                let mut state = source.get(handle).expect("just found").state;
                let timeout_s = state.timeout_s;
                state.take(entry.told, &connection.state);
                // A dump tells what is left of it, an event what it was set to.
                state.timeout_s = timeout_s;
                source.update(handle, &state, now);
                Some(handle)
            }
            None => self.open(connection, now),
        };
        if let (Some(handle), Some(reading)) = (handle, &mut self.reading) {
            reading.seen.insert(handle.0);
        }
    }

    /// What neither the dump nor an event since its begin told is over.
    pub fn dump_ends(&mut self, now: Timestamp) {
        let (Some(reading), Some(source)) = (self.reading.take(), &mut self.source) else { return };
        let over: Vec<Handle> = source
            .connections()
            .filter(|(handle, held)| {
                !reading.seen.contains(&handle.0) && !reading.touched.contains(&(held.flow, held.zone))
            })
            .map(|(handle, _)| handle)
            .collect();
        for handle in over {
            source.close(handle, now);
            self.kernel.missed += 1;
        }
    }

    /// Takes a frame that came in by a link: what follows the EtherType or the UDP header. Whose it is, it says itself.
    pub fn frame(&mut self, bytes: &[u8], now: Timestamp) -> &[Change] {
        self.changes.clear();
        let Ok(frame) = Frame::decode(bytes) else {
            self.unreadable += 1;
            return &[];
        };
        let header = frame.header;
        self.last = header.source;
        // Who refuses counts it.
        let _: Result<(), Refusal> = match (header.kind.is_down(), &mut self.source) {
            (true, _) => match self.replicas.get_mut(&header.source) {
                Some(replica) => replica.receive(bytes, now, &mut self.changes),
                None => Err(Refusal::UnknownPeer),
            },
            (false, Some(source)) => source.receive(header.replica, bytes, now),
            (false, None) => Err(Refusal::UnknownPeer),
        };
        &self.changes
    }

    /// Connections that the frame opened that was taken last.
    pub fn opened(&self) -> impl Iterator<Item = &Connection> {
        let replica = self.replicas.get(&self.last);
        self.changes.iter().filter_map(move |change| match change {
            Change::Opened { slot } => replica?.get(*slot),
            _ => None,
        })
    }

    /// The next frame to send, and to whom; `None` until [`Agent::next_deadline`].
    pub fn poll(&mut self, now: Timestamp) -> Option<(NodeIndex, Bytes)> {
        self.turn = !self.turn;
        if self.turn
            && let Some(frame) = self.source.as_mut().and_then(|source| source.poll(now))
        {
            return Some(frame);
        }
        let answer = self.replicas.iter_mut().find_map(|(peer, replica)| Some((*peer, replica.poll(now)?)));
        answer.or_else(|| self.source.as_mut().and_then(|source| source.poll(now)))
    }

    pub fn next_deadline(&self) -> Option<Timestamp> {
        let source = self.source.as_ref().and_then(Source::next_deadline);
        self.replicas.values().filter_map(Replica::next_deadline).chain(source).min()
    }

    /// What is held of an owner, or of all: what a commit puts into the kernel.
    pub fn holdings(&self, owner: Option<NodeIndex>) -> Vec<Connection> {
        let wanted = self.replicas.iter().filter(|(peer, _)| owner.is_none_or(|owner| owner == **peer));
        wanted.flat_map(|(_, replica)| replica.connections().map(|(_, connection)| connection.clone())).collect()
    }

    /// The connections of this kernel that an owner, or any, holds itself again: what a purge takes away.
    pub fn returned(&self, owner: Option<NodeIndex>) -> Vec<Connection> {
        let Some(source) = &self.source else { return self.holdings(owner) };
        let mut returned = self.holdings(owner);
        returned.retain(|connection| source.find(&connection.flow, connection.zone).is_some());
        returned
    }

    pub fn report(&self, now: Timestamp) -> Report {
        let peers = self.peers.iter().map(|peer| {
            let source = self.source.as_ref();
            let lag: Lag = source.and_then(|source| source.lag(*peer, now)).unwrap_or_default();
            let replica = self.replicas.get(peer);
            let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
            PeerReport {
                router: peer.0,
                told: source.is_some_and(|source| source.is_complete(*peer)),
                lag_frames: lag.frames,
                lag_waiting: lag.waiting,
                lag_oldest_us: micros(lag.oldest),
                doubtful_segments: lag.diverged,
                repaired_segments: lag.repaired,
                held: replica.map_or(0, |replica| replica.len() as u64),
                held_complete: replica.is_some_and(Replica::is_complete),
                heard_us_ago: replica.and_then(Replica::heard).map(|heard| micros(now.since(heard))),
                divergences: replica.map_or(0, Replica::divergences),
                missing_frames: replica.map_or(0, Replica::missing),
                refused_frames: replica.map_or(0, |replica| replica.refused().total())
                    + source.and_then(|source| source.refused(*peer)).map_or(0, |refused| refused.total()),
            }
        });
        let connections = self.source.as_ref().map_or(0, |source| source.len() as u64);
        Report {
            router: self.router.0,
            connections,
            kernel: self.kernel,
            unreadable_frames: self.unreadable,
            peers: peers.collect(),
            ..Report::default()
        }
    }
}
