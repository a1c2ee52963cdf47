use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, Poisson};

use super::*;
use crate::config::{Link, LinkEnd, Node, Protocol, RouterSettings, Service};
use crate::plan::SLOTS;
use crate::policy::decision::ShiftPhase;
use crate::types::DatapathId;

fn node(index: u16, stage: Stage, router: Option<(u32, u32)>) -> Node {
    let name = if stage == Stage::Router { "router" } else { "access" };
    Node {
        id: NodeId::new(&format!("{name}-{index}")),
        index: NodeIndex(index),
        stage,
        protocol: Protocol::OpenFlow,
        device: None,
        datapath: DatapathId(index.into()),
        router: router.map(|(capacity_connections, threshold_available)| RouterSettings {
            capacity_connections,
            threshold_available,
            idle_timeout_s: 60,
            closing_timeout_s: 2,
            half_open_timeout_s: 5,
            source_nat: None,
        }),
        risk_groups: Vec::new(),
    }
}

/// Routers 1 to n, all joined by mirror links, one third-stage switch, one service.
fn fabric(routers: &[(u32, u32, f64)]) -> Topology {
    let count = routers.len() as u16;
    let mut nodes: Vec<Node> = (1..)
        .zip(routers)
        .map(|(index, (capacity, threshold, _))| node(index, Stage::Router, Some((*capacity, *threshold))))
        .collect();
    let end = |index: u16| LinkEnd { node: nodes[usize::from(index) - 1].id.clone(), port: None };
    let pairs = (1..=count).flat_map(|a| (a + 1..=count).map(move |b| (a, b)));
    let links = pairs
        .map(|(a, b)| Link {
            a: end(a),
            b: end(b),
            latency_us: 100,
            capacity_bps: 1_000_000_000,
            kind: LinkKind::Mirror,
        })
        .collect();
    let shares = nodes.iter().zip(routers).filter(|(_, router)| router.2 > 0.0);
    let shares = shares.map(|(node, router)| (node.id.clone(), router.2)).collect();
    nodes.push(node(count + 1, Stage::Access, None));
    let service = Service { id: "web".into(), number: 1, prefixes: Vec::new(), shares, outside: Vec::new() };
    Topology { nodes, links, services: vec![service], hosts: Vec::new() }
}

/// Routers as tables of connections with end times; new ones choose a slot at random.
struct World {
    engine: Engine,
    rng: ChaCha8Rng,
    tables: Vec<BinaryHeap<Reverse<u64>>>,
    capacity: Vec<usize>,
    limit: Vec<f64>,
    counts: Vec<Load>,
    chosen: BTreeMap<NodeIndex, u64>,
    slots: Vec<NodeIndex>,
    now_s: u64,
    mean_duration_s: f64,
}

impl World {
    fn new(routers: &[(u32, u32, f64)], policy: PolicyKind, seed: u64, mean_duration_s: f64) -> Self {
        let settings = LoopSettings { policy, ..LoopSettings::default() };
        let mut world = Self {
            engine: Engine::new(&fabric(routers), &settings),
            rng: ChaCha8Rng::seed_from_u64(seed),
            tables: vec![BinaryHeap::new(); routers.len()],
            capacity: routers.iter().map(|router| router.0 as usize).collect(),
            limit: routers.iter().map(|router| f64::from(router.0 - router.1)).collect(),
            counts: vec![Load::default(); routers.len()],
            chosen: (1..).map(NodeIndex).zip(routers).map(|(index, _)| (index, 0)).collect(),
            slots: Vec::new(),
            now_s: 1_000_000,
            mean_duration_s,
        };
        let first = world.engine.cycle(Timestamp::from_secs(world.now_s), &CycleInput::default());
        world.slots.clone_from(&first.slots.values().next().expect("one switch")["web"].slots);
        world
    }

    /// One second of connections under the slots in force, then one cycle. The new slots serve the next second.
    fn step(&mut self, rate: f64) -> CycleOutcome {
        let arrivals = Poisson::new(rate.max(1e-9)).expect("positive").sample(&mut self.rng) as u64;
        let life = Exp::new(1.0 / self.mean_duration_s).expect("positive");
        let mut times: Vec<u64> = (0..arrivals).map(|_| self.rng.random_range(0..1_000_000)).collect();
        times.sort_unstable();
        self.counts.iter_mut().for_each(|load| (load.new_per_s, load.refused) = (0.0, 0));
        let base = self.now_s * 1_000_000;
        for time in times {
            let router = self.slots[self.rng.random_range(0..SLOTS)];
            let place = usize::from(router.0) - 1;
            *self.chosen.entry(router).or_default() += 1;
            self.expire(place, base + time);
            if self.tables[place].len() < self.capacity[place] {
                let end = base + time + (life.sample(&mut self.rng) * 1e6) as u64;
                self.tables[place].push(Reverse(end));
                self.counts[place].new_per_s += 1.0;
            } else {
                self.counts[place].refused += 1;
                self.counts[place].refused_total += 1;
            }
        }
        self.now_s += 1;
        let mut input = CycleInput::default();
        for place in 0..self.tables.len() {
            self.expire(place, self.now_s * 1_000_000);
            let load = &mut self.counts[place];
            (load.occupied, load.active) = (self.tables[place].len() as f64, self.tables[place].len() as f64);
            load.mean_duration_s = self.mean_duration_s;
            let router = RouterInput { load: Some(*load), connected: true, ..RouterInput::default() };
            input.routers.insert(NodeIndex(place as u16 + 1), router);
        }
        let access = NodeIndex(self.tables.len() as u16 + 1);
        input.chosen = BTreeMap::from([(access, BTreeMap::from([("web".to_owned(), self.chosen.clone())]))]);
        let outcome = self.engine.cycle(Timestamp::from_secs(self.now_s), &input);
        self.slots.clone_from(&outcome.slots[&access]["web"].slots);
        outcome
    }

    fn expire(&mut self, place: usize, at: u64) {
        while self.tables[place].peek().is_some_and(|end| end.0 <= at) {
            self.tables[place].pop();
        }
    }
}

#[derive(Debug, Default)]
struct Report {
    refused: u64,
    first_shift: Option<u64>,
    crossing: Option<u64>,
    most_percent: f64,
    /// Times the shift rose again after it had begun to be given back.
    rises: u32,
    shifted_at_end: f64,
    peak: f64,
    shadow_crossed: bool,
    cycles_shifted: u32,
}

fn run(routers: &[(u32, u32, f64)], policy: PolicyKind, seed: u64, seconds: u64, rate: impl Fn(u64) -> f64) -> Report {
    let mut world = World::new(routers, policy, seed, 20.0);
    let mut report = Report::default();
    let mut restoring = false;
    for second in 0..seconds {
        let outcome = world.step(rate(second));
        let decision = &outcome.decisions[0];
        if decision.shift_percent > 0.0 {
            report.first_shift.get_or_insert(second);
            report.cycles_shifted += 1;
        }
        if decision.load.occupied > world.limit[0] {
            report.crossing.get_or_insert(second);
        }
        match decision.phase {
            ShiftPhase::Restoring | ShiftPhase::Idle => restoring |= decision.phase == ShiftPhase::Restoring,
            _ if restoring && decision.wanted_percent > 0.0 => {
                report.rises += 1;
                restoring = false;
            }
            _ => {}
        }
        report.peak = report.peak.max(decision.load.occupied);
        report.most_percent = report.most_percent.max(decision.shift_percent);
        report.shifted_at_end = decision.shift_percent;
        report.shadow_crossed |= outcome.decisions[1..].iter().any(|other| other.crossed);
        for other in &outcome.decisions {
            assert!(!other.reasons.is_empty());
            assert!((0.0..=50.0).contains(&other.shift_percent));
        }
    }
    report.refused = world.counts.iter().map(|load| load.refused_total).sum();
    report
}

/// A flash crowd: from 40 a second to 110 within half a minute, ten minutes of it, and back within a minute.
fn flash_crowd(second: u64) -> f64 {
    let (low, high) = (40.0, 110.0);
    let part = match second {
        0..600 => 0.0,
        600..630 => (second - 600) as f64 / 30.0,
        630..1_260 => 1.0,
        1_260..1_320 => 1.0 - (second - 1_260) as f64 / 60.0,
        _ => 0.0,
    };
    low + (high - low) * part
}

const PAIR: [(u32, u32, f64); 2] = [(1_000, 25, 0.8), (2_500, 100, 0.2)];

#[test]
fn flash_crowd_by_policy() {
    println!("seed policy      refused first-shift crossing most-% rises peak end-%");
    let mut reactive = 0;
    for seed in 1..=10 {
        let mut refused = Vec::new();
        for policy in [PolicyKind::Predictive, PolicyKind::Reactive, PolicyKind::Static] {
            let report = run(&PAIR, policy, seed, 2_000, flash_crowd);
            println!(
                "{seed:4} {policy:11?} {:8} {:11?} {:8?} {:6.1} {:5} {:5.0} {:5.1}",
                report.refused,
                report.first_shift,
                report.crossing,
                report.most_percent,
                report.rises,
                report.peak,
                report.shifted_at_end
            );
            assert!(!report.shadow_crossed, "seed {seed} {policy:?}: the shadow crossed its own threshold");
            assert_eq!(report.shifted_at_end, 0.0, "seed {seed} {policy:?}: restored");
            if policy == PolicyKind::Predictive {
                let first = report.first_shift.expect("a shift");
                assert!(first >= 600, "seed {seed}: shifted before the surge, at {first}");
                assert!(report.crossing.is_none_or(|crossing| first < crossing), "seed {seed}: {report:?}");
                assert!(report.rises <= 3, "seed {seed}: flapping {report:?}");
            }
            refused.push(report.refused);
        }
        assert_eq!(refused[0], 0, "seed {seed}");
        assert!(refused[1] < refused[2], "seed {seed}: {refused:?}");
        reactive += refused[1];
    }
    assert!(reactive > 50, "reacting alone refused {reactive} in ten runs");
}

#[test]
fn a_quiet_day_shifts_nothing() {
    // Two waves of an hour each, up to 730 of 975.
    let wave = |second: u64| 30.0 - 15.0 * (second as f64 / 3_600.0 * std::f64::consts::TAU).cos();
    for seed in 1..=3 {
        let report = run(&PAIR, PolicyKind::Predictive, seed, 7_200, wave);
        println!("seed {seed}: {report:?}");
        assert_eq!(report.cycles_shifted, 0, "seed {seed}: {report:?}");
        assert_eq!(report.refused, 0);
    }
}

fn load(occupied: f64, new_per_s: f64) -> Load {
    Load { active: occupied, occupied, new_per_s, mean_duration_s: 20.0, ..Load::default() }
}

fn input(loads: &[Option<Load>]) -> CycleInput {
    let routers = (1..).map(NodeIndex).zip(loads);
    let routers =
        routers.map(|(index, load)| (index, RouterInput { load: *load, connected: true, ..RouterInput::default() }));
    CycleInput { routers: routers.collect(), ..CycleInput::default() }
}

const TRIO: [(u32, u32, f64); 3] = [(1_000, 100, 0.5), (1_000, 100, 0.3), (1_000, 100, 0.2)];

#[test]
fn a_missing_reading_keeps_the_decision_and_says_so() {
    let mut engine = Engine::new(&fabric(&TRIO), &LoopSettings::default());
    let full = input(&[Some(load(950.0, 45.0)), Some(load(100.0, 5.0)), Some(load(100.0, 5.0))]);
    for second in 1..=5 {
        engine.cycle(Timestamp::from_secs(second), &full);
    }
    let before = engine.cycle(Timestamp::from_secs(6), &full);
    assert!(before.decisions[0].crossed && before.decisions[0].shift_percent == 50.0, "{:?}", before.decisions[0]);
    let gap = input(&[None, Some(load(100.0, 5.0)), Some(load(100.0, 5.0))]);
    for second in 7..200 {
        let outcome = engine.cycle(Timestamp::from_secs(second), &gap);
        assert_eq!(outcome.decisions[0].shift_percent, 50.0, "second {second}");
        assert!(outcome.decisions[0].reasons[0].starts_with("No reading"), "{:?}", outcome.decisions[0].reasons);
    }
}

#[test]
fn a_router_out_of_service_gets_nothing_until_it_is_back() {
    let mut engine = Engine::new(&fabric(&TRIO), &LoopSettings::default());
    let mut all = input(&[Some(load(300.0, 15.0)), Some(load(200.0, 10.0)), Some(load(100.0, 5.0))]);
    let access = NodeIndex(4);
    let held = |outcome: &CycleOutcome, router: u16| {
        outcome.slots[&access]["web"].slots.iter().filter(|slot| slot.0 == router).count()
    };
    let first = engine.cycle(Timestamp::from_secs(1), &all);
    assert_eq!([1, 2, 3].map(|router| held(&first, router)), [128, 77, 51]);
    all.routers.insert(NodeIndex(1), RouterInput { in_service: false, ..RouterInput::default() });
    let outcome = engine.cycle(Timestamp::from_secs(2), &all);
    assert_eq!(held(&outcome, 1), 0);
    assert_eq!(outcome.slots[&access]["web"].moved, 128, "only its own slots move");
    assert!(outcome.decisions[0].reasons[0].starts_with("Out of service"));
    assert!(outcome.decisions[1].shadows.iter().all(|shadow| shadow.router.as_str() != "router-1"));
    let back = RouterInput { load: Some(load(0.0, 0.0)), connected: true, ..RouterInput::default() };
    all.routers.insert(NodeIndex(1), back);
    let outcome = engine.cycle(Timestamp::from_secs(3), &all);
    assert_eq!([1, 2, 3].map(|router| held(&outcome, router)), [128, 77, 51]);
    assert_eq!(outcome.decisions[0].shift_percent, 0.0);
}

#[test]
fn a_router_that_comes_back_is_given_its_share_by_steps() {
    let mut engine = Engine::new(&fabric(&TRIO), &LoopSettings::default());
    let mut all = input(&[Some(load(0.0, 0.0)), Some(load(200.0, 10.0)), Some(load(100.0, 5.0))]);
    let steps = [None, Some(90.0), Some(50.0), Some(10.0), Some(0.0), Some(0.0)];
    let mut given = Vec::new();
    for (second, step) in (1..).zip(steps) {
        let router = all.routers.get_mut(&NodeIndex(1)).expect("the first");
        (router.in_service, router.held_back_percent) = (step.is_some(), step.unwrap_or(0.0));
        let outcome = engine.cycle(Timestamp::from_secs(second), &all);
        let slots = &outcome.slots[&NodeIndex(4)]["web"].slots;
        given.push(slots.iter().filter(|slot| slot.0 == 1).count());
        let told = outcome.decisions[0].reasons.iter().any(|reason| reason.starts_with("Back in service"));
        assert_eq!(told, step.is_some_and(|step| step > 0.0), "{:?}", outcome.decisions[0].reasons);
    }
    assert_eq!(given, [0, 13, 64, 115, 128, 128]);
}

#[test]
fn a_mirror_link_down_takes_the_shadow_away() {
    let mut engine = Engine::new(&fabric(&TRIO), &LoopSettings::default());
    let mut all = input(&[Some(load(300.0, 15.0)), Some(load(200.0, 10.0)), Some(load(100.0, 5.0))]);
    assert_eq!(engine.cycle(Timestamp::from_secs(1), &all).decisions[0].shadows.len(), 2);
    all.down_links.insert(0);
    let outcome = engine.cycle(Timestamp::from_secs(2), &all);
    let shadows: Vec<&str> = outcome.decisions[0].shadows.iter().map(|shadow| shadow.router.as_str()).collect();
    assert_eq!(shadows, ["router-3"]);
    let message = "router-2 is no longer a shadow: the mirror link is down".to_owned();
    assert!(outcome.happenings.contains(&(NodeIndex(1), message)), "{:?}", outcome.happenings);
}

#[test]
fn a_shadow_with_a_bad_copy_is_given_nothing_and_stays_a_shadow() {
    let mut engine = Engine::new(&fabric(&TRIO), &LoopSettings::default());
    let mut full = input(&[Some(load(950.0, 45.0)), Some(load(100.0, 5.0)), Some(load(100.0, 5.0))]);
    full.unfit_shadows.insert((NodeIndex(1), NodeIndex(2)));
    let mut last = CycleOutcome::default();
    for second in 1..=5 {
        last = engine.cycle(Timestamp::from_secs(second), &full);
    }
    let decision = &last.decisions[0];
    assert!(decision.shift_percent > 0.0, "{decision:?}");
    let share = |name: &str| decision.shadows.iter().find(|shadow| shadow.router.as_str() == name).unwrap().share;
    assert_eq!((share("router-2"), share("router-3")), (0.0, 1.0));
    full.unfit_shadows.clear();
    let decision = &engine.cycle(Timestamp::from_secs(6), &full).decisions[0];
    assert!(decision.shadows.iter().all(|shadow| shadow.share > 0.0), "{:?}", decision.shadows);
}

#[test]
fn nothing_changes_while_nothing_changes_and_adopted_slots_stay() {
    let all = input(&[Some(load(300.0, 15.0)), Some(load(200.0, 10.0)), Some(load(100.0, 5.0))]);
    let mut engine = Engine::new(&fabric(&TRIO), &LoopSettings::default());
    let mut slots = engine.cycle(Timestamp::from_secs(1), &all).slots[&NodeIndex(4)]["web"].slots.clone();
    for second in 2..300 {
        let outcome = engine.cycle(Timestamp::from_secs(second), &all);
        assert!(!outcome.slots_changed && outcome.happenings.is_empty(), "second {second}: {:?}", outcome.happenings);
    }
    slots.reverse();
    let mut restarted = Engine::new(&fabric(&TRIO), &LoopSettings::default());
    let choice = crate::plan::Choice { slots: slots.clone(), spread: crate::plan::Spread::default() };
    restarted.adopt(NodeIndex(4), &"web".to_owned(), &choice);
    let outcome = restarted.cycle(Timestamp::from_secs(1), &all);
    assert_eq!(outcome.slots[&NodeIndex(4)]["web"].slots, slots);
    assert!(!outcome.slots_changed);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(30))]
    #[test]
    fn no_shadow_is_promised_more_than_it_holds(seed in 0u64..1_000_000, cycles in 20u64..120) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut engine = Engine::new(&fabric(&TRIO), &LoopSettings::default());
        let mut levels = [500.0, 300.0, 200.0];
        for second in 1..cycles {
            let loads = levels.each_mut().map(|level: &mut f64| {
                *level = (*level + rng.random_range(-60.0..80.0)).clamp(0.0, 1_000.0);
                rng.random_bool(0.95).then(|| load(*level, *level / 20.0))
            });
            let outcome = engine.cycle(Timestamp::from_secs(second), &input(&loads));
            for shadow in 0..3 {
                let promised: f64 = engine.states.iter().map(|state| reservation(state, shadow)).sum();
                let inbound: f64 = engine.states.iter().filter_map(|state| state.moved.get(&shadow)).sum();
                let own = (engine.states[shadow].watch.load().occupied - inbound).max(0.0);
                // What was sent before own load grew cannot be called back; nothing more may follow it.
                let sends = |state: &State| state.shift.percent > 0.0 && state.parts.iter().any(|(part, _)| *part == shadow);
                let sent = engine.states.iter().any(sends);
                proptest::prop_assert!(!sent || own + promised <= 900.0 + 1e-6, "{own} + {promised}");
            }
            for decision in &outcome.decisions {
                proptest::prop_assert!((0.0..=50.0).contains(&decision.shift_percent));
                let shares: f64 = decision.shadows.iter().map(|shadow| shadow.share).sum();
                proptest::prop_assert!((shares - 1.0).abs() < 1e-9);
            }
            let text = serde_json::to_string(&outcome).expect("serialisable");
            let back: CycleOutcome = serde_json::from_str(&text).expect("readable");
            let (access, web) = (NodeIndex(4), "web");
            proptest::prop_assert_eq!(&back.slots[&access][web].slots, &outcome.slots[&access][web].slots);
        }
    }
}

#[test]
fn a_thousand_routers_a_cycle() {
    let count = 1_000u16;
    let mut topology = fabric(&vec![(1_000, 100, 1.0 / 1_000.0); usize::from(count)]);
    // A full mesh of mirror links is no fabric: each has four neighbours.
    let near = |link: &Link| {
        let number = |end: &LinkEnd| end.node.as_str().trim_start_matches("router-").parse::<i32>().expect("numbered");
        (number(&link.a) - number(&link.b)).abs() <= 2
    };
    topology.links.retain(near);
    let mut engine = Engine::new(&topology, &LoopSettings::default());
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut slowest = 0.0f64;
    for second in 1..=80 {
        let loads: Vec<_> = (0..count).map(|_| Some(load(rng.random_range(480.0..520.0), 25.0))).collect();
        let started = std::time::Instant::now();
        let outcome = engine.cycle(Timestamp::from_secs(second), &input(&loads));
        slowest = slowest.max(started.elapsed().as_secs_f64());
        assert_eq!(outcome.decisions.len(), 1_000);
    }
    println!("slowest cycle of 1,000 routers at horizon 60: {:.0} ms", slowest * 1e3);
    // A second on an idle core; wide because tests share theirs.
    assert!(slowest < 6.0, "{slowest} s");
}
