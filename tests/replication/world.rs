//! A source and two shadows in virtual time, over channels that lose, repeat, reorder and black out; one seed, one run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use foreshadow::replication::{Change, Config, Replica, Source};
use foreshadow::types::{NodeIndex, Timestamp};
use foreshadow::wire::replication::{Connection, Flow, Handle, Key, State, Tcp, Throughput};

pub(crate) const SOURCE: NodeIndex = NodeIndex(1);
pub(crate) const SECRET: Key = Key::new([9; 16]);

/// What a channel does to frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Harm {
    pub(crate) lost: f64,
    pub(crate) repeated: f64,
    pub(crate) late: f64,
}

/// To one shadow and back.
struct Shadow {
    id: NodeIndex,
    replica: Replica,
    /// What the replica's changes add up to.
    cache: BTreeMap<(Flow, u16), Connection>,
    divergences: u64,
}

/// Who a frame is for: a shadow's position, and whether it goes down to it.
type Address = (usize, bool);

/// When it arrives, which it is of all, where, and what.
type Flight = (Timestamp, u64, Address, Vec<u8>);

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) random: ChaCha8Rng,
    config: Config,
    harm: Harm,
    blackout_until: Timestamp,
    source: Source,
    epoch: u32,
    shadows: Vec<Shadow>,
    air: BinaryHeap<Reverse<Flight>>,
    sent: u64,
    handles: Vec<Handle>,
    closed: Vec<Connection>,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

impl World {
    pub(crate) fn new(seed: u64, config: Config, harm: Harm) -> Self {
        let now = Timestamp::from_secs(1_700_000_000);
        let source = Source::new(config.clone(), SOURCE, 1, SECRET);
        let mut world = Self {
            now,
            random: ChaCha8Rng::seed_from_u64(seed),
            config,
            harm,
            blackout_until: Timestamp(0),
            source,
            epoch: 1,
            shadows: Vec::new(),
            air: BinaryHeap::new(),
            sent: 0,
            handles: Vec::new(),
            closed: Vec::new(),
            frames: 0,
            bytes: 0,
        };
        for id in [NodeIndex(2), NodeIndex(3)] {
            let replica = world.replica(id);
            world.shadows.push(Shadow { id, replica, cache: BTreeMap::new(), divergences: 0 });
            world.source.add_peer(id, now);
        }
        world
    }

    fn replica(&mut self, id: NodeIndex) -> Replica {
        Replica::new(self.config.clone(), SOURCE, id, self.random.random(), &SECRET)
    }

    pub(crate) fn connections(&self) -> usize {
        self.source.len()
    }

    /// One operation on the source's table, of which there are about `target` connections in the long run.
    pub(crate) fn operate(&mut self, target: usize) {
        let crowded = self.handles.len() as f64 / target as f64;
        let dice: f64 = self.random.random();
        if self.handles.is_empty() || dice < 0.25 {
            self.open();
        } else if dice < 0.25 * (1.0 + crowded) {
            self.close();
        } else {
            let handle = self.handles[self.random.random_range(0..self.handles.len())];
            let state = self.state();
            assert!(self.source.update(handle, &state, self.now));
        }
    }

    fn open(&mut self) {
        // One in five was there before: its tuple comes again, often at once.
        let again = !self.closed.is_empty() && self.random.random_bool(0.2);
        let connection = if again {
            let back = self.random.random_range(0..self.closed.len().min(8));
            self.closed.swap_remove(self.closed.len() - 1 - back)
        } else {
            self.connection()
        };
        let known = self.source.find(&connection.flow, connection.zone).is_some();
        let handle = self.source.open(connection, self.now).expect("room");
        if !known {
            self.handles.push(handle);
        }
    }

    fn close(&mut self) {
        let position = self.random.random_range(0..self.handles.len());
        let handle = self.handles.swap_remove(position);
        let connection = self.source.close(handle, self.now).expect("is open");
        if self.closed.len() > 1000 {
            self.closed.drain(..500);
        }
        self.closed.push(connection);
    }

    fn state(&mut self) -> State {
        let random = &mut self.random;
        let status = [0x8, 0xe, 0x18e, u32::MAX][random.random_range(0..4)];
        let tcp = Tcp { state: random.random_range(0..9), flags: [random.random_range(0..4); 2], scales: 0x77 };
        let timeout_s = [30, 120, 432_000, 431_900][random.random_range(0..4)];
        State { status, timeout_s, mark: random.random_range(0..3), tcp, throughput: Throughput(random.random()) }
    }

    fn connection(&mut self) -> Connection {
        let random = &mut self.random;
        let protocol = [Flow::TCP, Flow::TCP, Flow::UDP, Flow::ICMP, Flow::ICMPV6, 132][random.random_range(0..6)];
        let ports: [u16; 2] = [random.random(), [80, 443, 0x0800][random.random_range(0..3)]];
        let (near, far): (u32, u16) = (random.random(), random.random_range(1..50));
        let v6 = random.random_bool(0.3);
        let flow = if v6 {
            let client = Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(near));
            Flow::v6(protocol, (client, ports[0]), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, far), ports[1]))
        } else {
            let client = Ipv4Addr::from_bits(near);
            Flow::v4(protocol, (client, ports[0]), (Ipv4Addr::new(192, 0, 2, far.to_le_bytes()[0]), ports[1]))
        };
        let mut connection = Connection::new(flow);
        connection.zone = [0, 0, 0, 7][random.random_range(0..4)];
        if random.random_bool(0.3) {
            let plain = flow.reversed();
            let reply = Flow { source_port: random.random(), addresses: plain.addresses, ..plain };
            connection = connection.with_reply(reply).expect("of one family");
        }
        connection.state = self.state();
        connection
    }

    /// Time goes on, and everything that is due happens.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.send_all();
            let arrival = self.air.peek().map(|Reverse((at, ..))| *at);
            let replicas = self.shadows.iter().filter_map(|shadow| shadow.replica.next_deadline());
            let deadline = self.source.next_deadline().into_iter().chain(replicas).min();
            let deadline = deadline.map(|at| at.max(Timestamp(self.now.0 + 1)));
            let next = arrival.into_iter().chain(deadline).min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            self.deliver();
        }
    }

    fn send_all(&mut self) {
        while let Some((peer, frame)) = self.source.poll(self.now) {
            let position = self.shadows.iter().position(|shadow| shadow.id == peer).expect("a shadow");
            self.send((position, true), frame.to_vec());
        }
        for position in 0..self.shadows.len() {
            while let Some(frame) = self.shadows[position].replica.poll(self.now) {
                self.send((position, false), frame.to_vec());
            }
        }
    }

    fn send(&mut self, address: Address, frame: Vec<u8>) {
        self.frames += 1;
        self.bytes += frame.len() as u64;
        assert!(frame.len() <= self.config.frame_bytes_max, "no frame is longer than the MTU");
        if self.now < self.blackout_until || self.random.random_bool(self.harm.lost) {
            return;
        }
        for _ in 0..1 + u32::from(self.random.random_bool(self.harm.repeated)) {
            let slow = if self.random.random_bool(self.harm.late) { 20_000 } else { 200 };
            let at = Timestamp(self.now.0 + 50 + self.random.random_range(0..slow));
            self.sent += 1;
            self.air.push(Reverse((at, self.sent, address, frame.clone())));
        }
    }

    fn deliver(&mut self) {
        while self.air.peek().is_some_and(|Reverse((at, ..))| *at <= self.now) {
            let Some(Reverse((_, _, (position, down), frame))) = self.air.pop() else { return };
            let shadow = &mut self.shadows[position];
            if !down {
                let _ = self.source.receive(shadow.id, &frame, self.now);
                continue;
            }
            let mut changes = Vec::new();
            let _ = shadow.replica.receive(&frame, self.now, &mut changes);
            for change in changes {
                match change {
                    Change::Opened { slot } | Change::Updated { slot, .. } => {
                        if let Some(held) = shadow.replica.get(slot) {
                            shadow.cache.insert((held.flow, held.zone), held.clone());
                        }
                    }
                    Change::Closed(held) => drop(shadow.cache.remove(&(held.flow, held.zone))),
                }
            }
        }
    }

    pub(crate) fn black_out(&mut self, span: Duration) {
        self.blackout_until = self.now + span;
    }

    /// The router starts again, knowing only some of its connections, under other handles.
    pub(crate) fn restart_source(&mut self) {
        self.epoch += 1;
        let mut source = Source::new(self.config.clone(), SOURCE, self.epoch, SECRET);
        self.shadows.iter().for_each(|shadow| source.add_peer(shadow.id, self.now));
        self.handles.clear();
        for (_, connection) in self.source.connections().collect::<Vec<_>>().into_iter().rev() {
            if self.random.random_bool(0.7) {
                self.handles.push(source.open(connection.clone(), self.now).expect("room"));
            }
        }
        self.source = source;
    }

    pub(crate) fn restart_replica(&mut self) {
        let position = self.random.random_range(0..self.shadows.len());
        let replica = self.replica(self.shadows[position].id);
        let shadow = &mut self.shadows[position];
        shadow.divergences += shadow.replica.divergences() + shadow.replica.contradictions();
        shadow.replica = replica;
        shadow.cache.clear();
    }

    /// Waits, still over the same channels, until both sides say that nothing is left to tell; at most this long.
    pub(crate) fn settle(&mut self, most: Duration) {
        let end = self.now + most;
        while !self.is_settled() {
            let ids = self.shadows.iter();
            let lags: Vec<_> = ids.map(|shadow| self.source.lag(shadow.id, self.now)).collect();
            assert!(self.now < end, "still not settled: {lags:?}");
            self.pass(Duration::from_millis(10));
        }
    }

    fn is_settled(&self) -> bool {
        self.shadows.iter().all(|shadow| {
            let lag = self.source.lag(shadow.id, self.now).expect("a peer");
            lag.frames == 0
                && lag.waiting == 0
                && self.source.is_complete(shadow.id)
                && shadow.replica.is_complete()
                && shadow.replica.missing() == 0
        })
    }

    /// Every shadow holds what the source holds, its changes told so, and no digest was needed to find out.
    pub(crate) fn assert_equal(&self, what: &str) {
        let by_flow = |connection: &Connection| ((connection.flow, connection.zone), connection.clone());
        let told: BTreeMap<_, _> = self.source.connections().map(|(_, connection)| by_flow(connection)).collect();
        for shadow in &self.shadows {
            let held: BTreeMap<_, _> = shadow.replica.connections().map(|(_, held)| by_flow(held)).collect();
            assert!(told == held, "{what}: {} told, {} held by {}", told.len(), held.len(), shadow.id);
            assert!(told == shadow.cache, "{what}: the changes of {} add up to something else", shadow.id);
            let divergences = shadow.divergences + shadow.replica.divergences() + shadow.replica.contradictions();
            assert_eq!(divergences, 0, "{what}: repaired, though nothing was broken");
        }
    }
}
