//! Pairs of both kinds, against switches that are maps.

use std::collections::VecDeque;

use super::*;

const R1: NodeIndex = NodeIndex(1);
const R2: NodeIndex = NodeIndex(2);
const R3: NodeIndex = NodeIndex(3);
const INTERVAL: Duration = Duration::from_secs(5);

/// Three switches, what they hold of each owner, and the machine between them.
struct World {
    replication: Replication,
    now: Timestamp,
    readable: bool,
    tables: BTreeMap<(NodeIndex, NodeIndex), BTreeMap<ConnectionKey, Connection>>,
    doubted: BTreeSet<(NodeIndex, NodeIndex, ConnectionKey)>,
    /// Switches that answer nothing.
    silent: BTreeSet<NodeIndex>,
    /// The next replay sends, and nothing comes.
    replay_lost: bool,
    asked: Vec<Command>,
}

fn connection(number: u16) -> Connection {
    Connection {
        client: [10, 0, 0, 1].into(),
        server: [192, 0, 2, 1].into(),
        client_port: number,
        server_port: 80,
        protocol: 6,
        established: true,
        closing: false,
        copy: false,
        fleeting: false,
    }
}

impl World {
    fn new(readable: bool) -> Self {
        let datapaths = [R1, R2, R3].map(|node| (node, DatapathId(u64::from(node.0)))).into();
        Self {
            replication: Replication::new(INTERVAL, datapaths),
            now: Timestamp::from_secs(100),
            readable,
            tables: BTreeMap::new(),
            doubted: BTreeSet::new(),
            silent: BTreeSet::new(),
            replay_lost: false,
            asked: Vec::new(),
        }
    }

    /// `holder` carries the connections of `R1`.
    fn arrange(&mut self, holder: NodeIndex, keepers: &[NodeIndex]) {
        let keepers = keepers.iter().map(|keeper| (*keeper, Ok(()))).collect();
        let group = Group { holder, readable: true, swept: !self.readable, keepers };
        self.replication.arrange(BTreeMap::from([(R1, group)]), self.now);
    }

    fn opens(&mut self, node: NodeIndex, numbers: impl IntoIterator<Item = u16>) {
        let own = numbers.into_iter().map(connection).map(|it| (it.key(), it));
        self.tables.entry((node, R1)).or_default().extend(own);
    }

    fn copied(&mut self, node: NodeIndex, numbers: impl IntoIterator<Item = u16>) {
        let copies = numbers.into_iter().map(|number| Connection { copy: true, ..connection(number) });
        self.tables.entry((node, R1)).or_default().extend(copies.map(|it| (it.key(), it)));
    }

    fn ports(&self, node: NodeIndex) -> Vec<u16> {
        self.tables.get(&(node, R1)).into_iter().flatten().map(|(key, _)| key.2).collect()
    }

    /// A second passes, and whatever is due is done and answered.
    fn second(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        let mut commands = VecDeque::from(self.replication.poll(self.now));
        while let Some(command) = commands.pop_front() {
            self.asked.push(command.clone());
            let node = NodeIndex(u16::try_from(command.datapath().0).unwrap());
            if self.silent.contains(&node) {
                continue;
            }
            if let Some(event) = self.answer(node, command) {
                commands.extend(self.replication.event(node, event, self.now));
            }
        }
    }

    fn seconds(&mut self, count: usize) {
        (0..count).for_each(|_| self.second());
    }

    fn answer(&mut self, node: NodeIndex, command: Command) -> Option<Event> {
        let datapath = command.datapath();
        let owner = command.owner()?;
        let table = self.tables.entry((node, owner)).or_default();
        let sum = |table: &BTreeMap<ConnectionKey, Connection>| {
            let digest = table.keys().fold(0_u64, |sum, key| sum.wrapping_add(u64::from(key.2) * 7_919));
            (table.len() as u64, digest)
        };
        Some(match command {
            Command::ReadConnections { .. } => {
                Event::Connections { datapath, owner, connections: table.values().copied().collect() }
            }
            Command::WriteConnections { add, remove, .. } => {
                let (added, removed) = (add.len() as u64, remove.len() as u64);
                let copy = node != owner;
                table.extend(add.into_iter().map(|it| (it.key(), Connection { copy, ..it })));
                for it in &remove {
                    table.remove(&it.key());
                }
                Event::ConnectionsWritten { datapath, owner, added, removed }
            }
            Command::DigestConnections { .. } => {
                let (count, digest) = sum(table);
                Event::ConnectionsDigest { datapath, owner, count, digest }
            }
            Command::SweepCopies { purge: false, .. } => {
                let keys: Vec<_> = table.keys().map(|key| (node, owner, *key)).collect();
                let copies = keys.len() as u64;
                self.doubted.extend(keys);
                Event::CopiesSwept { datapath, owner, purged: false, copies }
            }
            Command::SweepCopies { purge: true, .. } => {
                let before = table.len();
                table.retain(|key, _| !self.doubted.contains(&(node, owner, *key)));
                let copies = (before - table.len()) as u64;
                Event::CopiesSwept { datapath, owner, purged: true, copies }
            }
            Command::ReplayConnections { shadow, .. } => {
                let sent = table.clone();
                let (count, digest) = sum(table);
                if !std::mem::take(&mut self.replay_lost) {
                    self.doubted.retain(|(at, _, key)| *at != shadow || !sent.contains_key(key));
                    self.tables.entry((shadow, owner)).or_default().extend(sent);
                }
                Event::ConnectionsReplayed { datapath, owner, shadow, sent: count, count, digest }
            }
            _ => return None,
        })
    }

    fn pair(&self, keeper: NodeIndex) -> Pair {
        self.replication.pairs.get(&(R1, keeper)).cloned().unwrap()
    }
}

#[test]
fn a_shadow_is_ready_after_its_snapshot_was_found_equal() {
    for readable in [true, false] {
        let mut world = World::new(readable);
        world.opens(R1, 1..=50);
        world.arrange(R1, &[R2, R3]);
        assert!(!world.replication.ready(R1, R2));
        world.second();
        assert_eq!(world.ports(R2).len(), 50, "readable {readable}: the snapshot is written at once");
        // A sweep compares as soon as it has replayed; a table that is read is compared at the next reading.
        assert_eq!(world.replication.ready(R1, R2), !readable, "readable {readable}");
        world.seconds(2);
        assert!(world.replication.ready(R1, R2) && world.replication.ready(R1, R3), "readable {readable}");
        assert_eq!((world.pair(R2).held, world.pair(R2).copied), (50, 50));
        assert_eq!(world.pair(R2).repaired, 0, "a snapshot repairs nothing");
    }
}

#[test]
fn what_is_lost_or_outlived_is_repaired_and_nothing_else_is_written() {
    for readable in [true, false] {
        let mut world = World::new(readable);
        world.opens(R1, 1..=50);
        world.arrange(R1, &[R2]);
        world.seconds(4);
        world.tables.get_mut(&(R2, R1)).unwrap().remove(&connection(7).key());
        world.copied(R2, [99]);
        world.asked.clear();
        world.seconds(12);
        assert_eq!(world.ports(R2), (1..=50).collect::<Vec<u16>>(), "readable {readable}");
        assert!(world.replication.ready(R1, R2), "readable {readable}");
        assert!(world.pair(R2).repaired >= 1, "readable {readable}");
        let changes = world
            .asked
            .iter()
            .filter(|command| matches!(command, Command::WriteConnections { .. } | Command::ReplayConnections { .. }));
        assert_eq!(changes.count(), 1, "readable {readable}: {:?}", world.asked);
    }
}

#[test]
fn what_is_on_its_way_between_two_reads_is_left_alone() {
    let mut world = World::new(true);
    world.opens(R1, 1..=50);
    world.arrange(R1, &[R2]);
    world.seconds(4);
    // Every comparison sees another connection whose copy has not come yet.
    for number in 100..130 {
        world.opens(R1, [number]);
        world.copied(R2, 100..number);
        world.second();
    }
    assert_eq!(world.pair(R2).repaired, 0);
    assert!(world.replication.ready(R1, R2));
}

#[test]
fn what_had_one_packet_without_a_handshake_is_not_copied() {
    let mut world = World::new(true);
    world.opens(R1, 1..=50);
    let datagram = |number| Connection { protocol: 17, fleeting: true, ..connection(number) };
    let fleeting = (1_000..1_500).map(datagram).map(|it| (it.key(), it));
    world.tables.entry((R1, R1)).or_default().extend(fleeting);
    world.arrange(R1, &[R2]);
    world.seconds(10);
    assert_eq!(world.ports(R2).len(), 50);
    assert!(world.replication.ready(R1, R2));
    // The next packet makes it one that counts.
    let lasting = Connection { fleeting: false, ..datagram(1_007) };
    world.tables.get_mut(&(R1, R1)).unwrap().insert(lasting.key(), lasting);
    world.seconds(10);
    assert_eq!(world.ports(R2).len(), 51);
}

#[test]
fn the_end_of_a_connection_follows_without_a_comparison() {
    let mut world = World::new(true);
    world.opens(R1, 1..=5);
    world.arrange(R1, &[R2, R3]);
    world.seconds(4);
    world.tables.get_mut(&(R1, R1)).unwrap().remove(&connection(3).key());
    let ended = crate::southbound::ConnectionEnded { which: Some(connection(3)), duration_ms: 1, packets: 1, bytes: 1 };
    let datapath = DatapathId(1);
    world.replication.event(R1, Event::ConnectionEnded { datapath, ended }, world.now);
    world.asked.clear();
    world.second();
    assert_eq!((world.ports(R2), world.ports(R3)), (vec![1, 2, 4, 5], vec![1, 2, 4, 5]));
    assert!(!world.asked.iter().any(|command| matches!(command, Command::ReadConnections { .. })));
    assert_eq!(world.pair(R2).ends, 1);
}

#[test]
fn a_router_that_returns_has_its_connections_back_before_it_counts() {
    for readable in [true, false] {
        let mut world = World::new(readable);
        world.opens(R1, 1..=20);
        world.arrange(R1, &[R2, R3]);
        world.seconds(4);
        // R1 fails and R2 stands in; connections come and go.
        world.arrange(R2, &[R3]);
        world.opens(R2, 21..=30);
        world.copied(R3, 21..=30);
        world.seconds(6);
        assert!(world.replication.ready(R1, R3), "readable {readable}");
        // R1 is back with an old entry and none of the new ones.
        world.tables.insert((R1, R1), BTreeMap::new());
        world.opens(R1, [77]);
        world.arrange(R2, &[R1, R3]);
        assert!(!world.replication.is_back(R1), "readable {readable}");
        world.seconds(8);
        let want: Vec<u16> = if readable { (1..=30).collect() } else { world.ports(R2) };
        assert_eq!(world.ports(R1), want, "readable {readable}");
        assert!(world.replication.is_back(R1), "readable {readable}");
        world.arrange(R1, &[R2, R3]);
        assert!(world.replication.is_back(R1), "readable {readable}: it carries them itself");
    }
}

#[test]
fn a_keeper_that_does_not_answer_is_no_longer_ready_after_a_while() {
    for readable in [true, false] {
        let mut world = World::new(readable);
        world.opens(R1, 1..=20);
        world.arrange(R1, &[R2]);
        world.seconds(4);
        assert!(world.replication.ready(R1, R2));
        world.silent.insert(R2);
        world.seconds(60);
        assert!(!world.replication.ready(R1, R2), "readable {readable}");
        assert_eq!(world.replication.unfit().collect::<Vec<_>>(), [(R1, R2)], "readable {readable}");
        world.silent.clear();
        world.seconds(20);
        assert!(world.replication.ready(R1, R2), "readable {readable}: and is again");
        assert_eq!(world.replication.unfit().count(), 0, "readable {readable}");
    }
}

#[test]
fn a_replay_that_was_lost_is_sent_again() {
    let mut world = World::new(false);
    world.replay_lost = true;
    world.opens(R1, 1..=200);
    world.arrange(R1, &[R2]);
    world.second();
    assert!(!world.replication.ready(R1, R2), "it holds nothing");
    world.seconds(9);
    assert_eq!(world.ports(R2).len(), 200);
    assert!(world.replication.ready(R1, R2));
}

/// Hundreds of connections open and end each second meanwhile, so that no two readings are of the same moment.
#[test]
fn a_router_returns_while_connections_come_and_go() {
    let mut world = World::new(true);
    world.opens(R1, 1..=100);
    world.arrange(R1, &[R2, R3]);
    world.seconds(4);
    world.arrange(R2, &[R3]);
    world.tables.insert((R1, R1), BTreeMap::new());
    world.arrange(R2, &[R1, R3]);
    let mut back = None;
    for second in 0..10_u16 {
        let (new, old) = (1_000 + second * 20, 1 + second * 10);
        // Told to the others, but too late for the reading of one of them.
        world.opens(R2, new..new + 20);
        world.copied(R3, new..new + 20);
        world.opens(R1, 1_000..new);
        for number in old..old + 10 {
            world.tables.get_mut(&(R2, R1)).unwrap().remove(&connection(number).key());
            let which = Some(connection(number));
            let ended = crate::southbound::ConnectionEnded { which, duration_ms: 1, packets: 1, bytes: 1 };
            world.replication.event(R2, Event::ConnectionEnded { datapath: DatapathId(2), ended }, world.now);
        }
        world.second();
        if back.is_none() && world.replication.is_back(R1) {
            back = Some(second);
        }
    }
    assert!(back.is_some_and(|second| second <= 3), "{back:?}");
    assert!(!world.ports(R1).contains(&5), "what ended is not there");
}

/// The controller was away when the router restarted: it sees an empty router and whole shadows.
#[test]
fn a_holder_that_was_found_empty_is_given_what_its_keepers_hold() {
    let mut world = World::new(true);
    world.copied(R2, 1..=40);
    world.copied(R3, 1..=39);
    world.opens(R1, [50]);
    world.replication.forget(R1);
    world.arrange(R1, &[R2, R3]);
    world.seconds(12);
    assert_eq!(world.ports(R1), (1..=40).chain([50]).collect::<Vec<u16>>());
    assert_eq!((world.ports(R2), world.ports(R3)), (world.ports(R1), world.ports(R1)));
    // Once: what ends from now on has ended.
    world.tables.get_mut(&(R1, R1)).unwrap().remove(&connection(7).key());
    world.seconds(20);
    assert!(!world.ports(R1).contains(&7) && !world.ports(R2).contains(&7));
}
