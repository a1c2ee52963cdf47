//! Who is taken for dead, and who is not, over lossy and silent ways.

use super::*;

const KEY: Key = Key([3, 4]);
const INTERVAL: Duration = Duration::from_millis(200);
const ROUTERS: [NodeIndex; 3] = [NodeIndex(1), NodeIndex(2), NodeIndex(3)];
const NEAR: [NodeIndex; 2] = [NodeIndex(11), NodeIndex(12)];

fn datapath(node: NodeIndex) -> DatapathId {
    DatapathId(u64::from(node.0) + 0x100)
}

/// Three routers, each on a port of its own of two neighbours.
struct World {
    liveness: Liveness,
    now: Timestamp,
    /// Routers that answer nothing, neighbours that carry nothing, routers that hand up what they should send back.
    dead: BTreeSet<NodeIndex>,
    hung: BTreeSet<NodeIndex>,
    handing_up: BTreeSet<NodeIndex>,
    /// Routers whose sessions answer nothing.
    mute: BTreeSet<NodeIndex>,
    /// Answers that are dropped, by their number.
    lost: Box<dyn Fn(u64) -> bool>,
    answers: u64,
}

impl World {
    fn new(routers: &[NodeIndex]) -> Self {
        let mut liveness = Liveness::new(routers.iter().map(|router| (*router, datapath(*router))), INTERVAL, KEY);
        let now = Timestamp::from_secs(1_000);
        let port = |router: &NodeIndex| PortNo(u32::from(router.0));
        let vias = routers.iter().map(|router| {
            let via = |near: &NodeIndex| Via { neighbour: *near, datapath: datapath(*near), port: port(router) };
            (*router, NEAR.iter().map(via).collect())
        });
        liveness.set_vias(vias.collect(), now);
        routers.iter().for_each(|router| liveness.session(datapath(*router), true, now));
        let (dead, hung, handing_up) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mute = BTreeSet::new();
        Self { liveness, now, dead, hung, handing_up, mute, lost: Box::new(|_| false), answers: 0 }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self.liveness.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let commands = self.liveness.poll(self.now);
            self.now = self.now + Duration::from_millis(1);
            commands.into_iter().for_each(|command| self.carry(command));
        }
        self.now = end;
    }

    fn carry(&mut self, command: Command) {
        if let Command::Echo { datapath: at } = command {
            let router = ROUTERS.into_iter().find(|router| datapath(*router) == at).expect("one of three");
            if !self.mute.contains(&router) {
                self.liveness.heard(at, self.now);
            }
            return;
        }
        let Command::PacketOut { datapath: from, port, data } = command else { panic!("{command:?}") };
        let probe = LivenessProbe::decode(&data, KEY).expect("it is ours");
        let neighbour = NEAR.into_iter().find(|near| datapath(*near) == from).expect("one of two");
        self.answers += 1;
        if self.dead.contains(&probe.router) || self.hung.contains(&neighbour) || (self.lost)(self.answers) {
            return;
        }
        let at = if self.handing_up.contains(&probe.router) { datapath(probe.router) } else { from };
        self.liveness.packet_in(at, port, &data, self.now);
        self.liveness.heard(at, self.now);
    }

    fn missed(&self) -> [u32; 3] {
        ROUTERS.map(|router| self.liveness.signs(router).missed)
    }
}

#[test]
fn a_dead_router_misses_a_round_an_interval_and_the_others_none() {
    let mut world = World::new(&ROUTERS);
    world.run(1_000);
    assert_eq!(world.missed(), [0, 0, 0]);
    assert!(ROUTERS.into_iter().all(|router| world.liveness.signs(router).returned));
    assert_eq!(world.liveness.counts().sent, 5 * 3 * 2 + 2, "five rounds of each, and one more of the first");
    world.dead.insert(ROUTERS[1]);
    world.run(801);
    assert_eq!(world.missed(), [0, 3, 0], "three rounds are known to be missed within four intervals");
    world.dead.clear();
    world.run(250);
    assert_eq!(world.missed(), [0, 0, 0]);
}

#[test]
fn the_session_of_a_router_that_misses_rounds_is_asked_whether_it_is_busy_or_hangs() {
    let mut world = World::new(&ROUTERS);
    world.run(1_000);
    world.dead.extend([ROUTERS[0], ROUTERS[1]]);
    world.mute.insert(ROUTERS[1]);
    world.run(2_001);
    let signs = ROUTERS.map(|router| (world.liveness.signs(router).missed, world.liveness.signs(router).silent));
    assert_eq!(signs[2], (0, 0));
    assert!(signs[0].0 >= 8 && signs[0].1 <= 1, "its session answers: {:?}", signs[0]);
    assert!(signs[1].0 >= 8 && signs[1].1 == signs[1].0, "nothing answers: {:?}", signs[1]);
}

#[test]
fn without_its_session_a_router_is_asked_at_once_and_faster() {
    let mut world = World::new(&ROUTERS);
    world.run(1_010);
    world.dead.insert(ROUTERS[1]);
    world.liveness.session(datapath(ROUTERS[1]), false, world.now);
    world.run(210);
    assert!(world.missed()[1] >= 2, "{:?}", world.missed());
    assert_eq!((world.missed()[0], world.missed()[2]), (0, 0));
}

#[test]
fn single_losses_fail_nobody() {
    for every in 2..7 {
        let mut world = World::new(&ROUTERS);
        world.lost = Box::new(move |number| number.is_multiple_of(every));
        for _ in 0..200 {
            world.run(100);
            // Both links of a round must lose theirs for it to be missed.
            assert!(world.missed().iter().all(|missed| *missed < 3), "every {every}th: {:?}", world.missed());
        }
    }
}

#[test]
fn a_neighbour_that_hangs_or_a_controller_that_is_behind_fails_nobody() {
    let mut world = World::new(&ROUTERS);
    world.run(1_000);
    world.hung.insert(NEAR[0]);
    world.run(5_000);
    assert_eq!(world.missed(), [0, 0, 0], "the other neighbour carries them");
    world.hung.extend(NEAR);
    world.run(5_000);
    assert_eq!(world.missed(), [0, 0, 0], "nobody could have answered");
    world.hung.clear();
    // Asleep for ten seconds: what was sent before is not answered any more, but nothing else is either.
    world.now = world.now + Duration::from_secs(10);
    world.liveness.poll(world.now);
    world.liveness.poll(world.now + Duration::from_millis(1));
    assert_eq!(world.missed(), [0, 0, 0]);
}

#[test]
fn one_router_alone_is_judged_by_what_else_its_neighbours_say() {
    let mut world = World::new(&ROUTERS[..1]);
    world.run(1_000);
    world.dead.insert(ROUTERS[0]);
    world.run(2_000);
    assert_eq!(world.missed()[0], 0, "the neighbours may be gone just as well");
    world.liveness.heard(datapath(NEAR[1]), world.now);
    world.run(200);
    assert!(world.missed()[0] >= 3, "{:?}", world.missed());
}

#[test]
fn who_hands_probes_up_is_known_to() {
    let mut world = World::new(&ROUTERS);
    world.handing_up.insert(ROUTERS[2]);
    world.run(1_000);
    let signs = ROUTERS.map(|router| (world.liveness.signs(router).returned, world.liveness.signs(router).handed_up));
    assert_eq!(signs, [(true, false), (true, false), (false, true)]);
    assert_eq!(world.missed(), [0, 0, 0]);
}

#[test]
fn kept_forged_and_foreign_frames_are_no_answers() {
    let mut world = World::new(&ROUTERS);
    world.run(1_000);
    let kept = world.liveness.poll(world.liveness.next_deadline().expect("more to come"));
    let Command::PacketOut { datapath: at, port, data } = kept[0].clone() else { panic!("{kept:?}") };
    world.run(1_000);
    let take = |world: &mut World, at, port, data: &[u8]| world.liveness.packet_in(at, port, data, world.now);
    assert_eq!(take(&mut world, at, port, &data), Answer::Late, "answered, and asked anew since");
    let probe = LivenessProbe::decode(&data, KEY).expect("it is ours");
    let now = LivenessProbe { sent: world.now, ..probe };
    let forged = now.encode(MacAddr::GATEWAY, Key([8, 8]));
    assert!(matches!(take(&mut world, at, port, &forged), Answer::Refused(_)));
    let never_sent = now.encode(MacAddr::GATEWAY, KEY);
    assert_eq!(take(&mut world, at, port, &never_sent), Answer::Late);
    assert_eq!(take(&mut world, at, port, &[0; 60]), Answer::Other);
}

#[test]
fn the_cost_is_that_of_the_routers_and_nothing_where_it_is_switched_off() {
    let many = (0..40).map(|port| Via { neighbour: NEAR[0], datapath: datapath(NEAR[0]), port: PortNo(port) });
    let many: Vec<Via> = many.collect();
    let mut world = World::new(&ROUTERS[..1]);
    world.liveness.set_vias([(ROUTERS[0], many.clone())].into(), world.now);
    let mut asked = BTreeSet::new();
    for _ in 0..10 {
        let due = world.liveness.next_deadline().expect("always another");
        let commands = world.liveness.poll(due);
        assert_eq!(commands.len(), LINKS_PER_ROUND);
        asked.extend(commands.into_iter().map(|command| match command {
            Command::PacketOut { port, .. } => port,
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(asked.len(), 40, "links take turns");
    let mut off = Liveness::new([(ROUTERS[0], datapath(ROUTERS[0]))], Duration::ZERO, KEY);
    off.set_vias([(ROUTERS[0], many)].into(), world.now);
    assert_eq!(off.next_deadline(), None);
}

#[test]
fn how_slow_a_router_is_fades_and_a_standstill_does_not_count() {
    let mut world = World::new(&ROUTERS);
    let [router, ..] = ROUTERS;
    let mut slowest_after = |delay_ms: u64, answers: usize| {
        for _ in 0..answers {
            let due = world.liveness.next_deadline().expect("always");
            world.now = world.now.max(due);
            for command in world.liveness.poll(world.now) {
                if let Command::PacketOut { datapath, port, data } = command {
                    world.liveness.packet_in(datapath, port, &data, world.now + Duration::from_millis(delay_ms));
                }
            }
        }
        world.liveness.signs(router).slowest_us
    };
    assert_eq!(slowest_after(150, 6), 150_000);
    assert!((100_000..150_000).contains(&slowest_after(1, 60)), "it fades slowly");
    assert!(slowest_after(1, 3_000) < 5_000, "and is forgotten");
    assert!(slowest_after(601, 1_000) < 5_000, "that was no answer of a slow one");
}
