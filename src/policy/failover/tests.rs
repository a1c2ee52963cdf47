//! Tables of what is seen and what follows, and whole stories of failing and returning.

use super::*;

const OWNER: NodeIndex = NodeIndex(1);
const FIRST: NodeIndex = NodeIndex(2);
const SECOND: NodeIndex = NodeIndex(3);
const THIRD: NodeIndex = NodeIndex(4);
const ALL: [NodeIndex; 4] = [OWNER, FIRST, SECOND, THIRD];

fn name(router: NodeIndex) -> String {
    format!("r{router}")
}

fn sound() -> Observation {
    Observation { connected: true, plan_confirmed: true, answers: Some(Way::Returned), ..Observation::default() }
}

/// Four routers, each with the other three as ready shadows, and a clock.
struct World {
    failover: Failover,
    seen: BTreeMap<NodeIndex, Observation>,
    now_ms: u64,
}

impl World {
    fn new() -> Self {
        Self::with_ready(&ALL)
    }

    /// Only these hold full copies.
    fn with_ready(ready: &[NodeIndex]) -> Self {
        let settings = FailoverSettings { hold_down_ms: 3_000, ramp_step_percent: 40.0, ..FailoverSettings::default() };
        let seen = ALL.map(|router| {
            let others: Vec<NodeIndex> = ALL.into_iter().filter(|other| *other != router).collect();
            let ready = others.iter().filter(|other| ready.contains(other)).copied().collect();
            (router, Observation { shadows: others, ready, ..sound() })
        });
        let mut world = Self { failover: Failover::new(ALL, &settings), seen: seen.into(), now_ms: 1_000_000 };
        assert!(!world.step().changed);
        world
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.now_ms * 1_000)
    }

    fn step(&mut self) -> Step {
        let now = self.now();
        self.failover.step(&self.seen, &name, now)
    }

    fn after(&mut self, ms: u64) -> Step {
        self.now_ms += ms;
        self.step()
    }

    fn see(&mut self, router: NodeIndex, change: impl FnOnce(&mut Observation)) -> Step {
        change(self.seen.get_mut(&router).expect("one of four"));
        self.step()
    }

    fn lose(&mut self, router: NodeIndex) -> Step {
        let now = self.now();
        self.see(router, |seen| (seen.connected, seen.session_since, seen.missed) = (false, now, 3))
    }

    fn heal(&mut self, router: NodeIndex) -> Step {
        let now = self.now();
        self.see(router, |seen| (seen.connected, seen.session_since, seen.missed) = (true, now, 0))
    }

    fn phase(&self, router: NodeIndex) -> &'static str {
        self.failover.phase(router).name()
    }

    fn stand_in(&self, router: NodeIndex) -> Option<NodeIndex> {
        self.failover.stand_ins().get(&router).copied()
    }
}

#[test]
fn what_is_seen_and_whether_it_is_a_failure() {
    let failover = World::new().failover;
    let now = Timestamp::from_secs(1_000);
    let lately = Timestamp(now.0 - 400_000);
    let gone = Observation { connected: false, session_since: lately, ..sound() };
    let handed = |seen: &Observation| Observation { answers: Some(Way::HandedUp), ..seen.clone() };
    let missed = |seen: &Observation, missed| Observation { missed, silent: missed, ..seen.clone() };
    let busy = |seen: &Observation, missed| Observation { missed, silent: 2, ..seen.clone() };
    let slow = |seen: &Observation, ms| Observation { slowest: Duration::from_millis(ms), ..seen.clone() };
    let silent = Observation { lldp_silent: true, ..sound() };
    let never = |seen: &Observation| Observation { answers: None, ..seen.clone() };
    let table = [
        ("all is well", sound(), None),
        ("no link is left", Observation { links_down: true, ..sound() }, Some(Cause::LinksDown)),
        ("it is there, and has lost everything", Observation { emptied: true, ..sound() }, Some(Cause::StateLost)),
        ("one probe was lost", missed(&sound(), 1), None),
        ("two probes were lost", missed(&sound(), 2), None),
        ("three probes were lost", missed(&sound(), 3), Some(Cause::ProbesMissed)),
        ("three were lost, and it was slow before", slow(&missed(&sound(), 3), 120), None),
        ("four were lost, and it was slow before", slow(&missed(&sound(), 4), 120), Some(Cause::ProbesMissed)),
        ("however slow it was", slow(&missed(&sound(), 5), 60_000), Some(Cause::ProbesMissed)),
        ("its session is gone, and it was slow before", slow(&missed(&gone, 2), 150), Some(Cause::SessionAndProbes)),
        ("probes are lost, its session answers", busy(&sound(), 29), None),
        ("for long nothing but its session answers", busy(&sound(), 30), Some(Cause::ProbesMissed)),
        ("the session alone is gone", gone.clone(), None),
        ("the session is gone for long", Observation { session_since: Timestamp(0), ..gone.clone() }, None),
        ("session and one probe", missed(&gone, 1), None),
        ("session and two probes", missed(&gone, 2), Some(Cause::SessionAndProbes)),
        ("only a session shows it, and it is gone for a moment", handed(&gone), None),
        (
            "only a session shows it, and it is gone for long",
            Observation { session_since: Timestamp(0), ..handed(&gone) },
            Some(Cause::SessionLost),
        ),
        ("a session, but nothing handed up", missed(&handed(&sound()), 3), Some(Cause::ProbesMissed)),
        ("LLDP is silent, probes are not", silent.clone(), None),
        ("LLDP is silent, and a probe was lost", missed(&silent, 1), Some(Cause::LldpSilent)),
        ("LLDP is silent, probes never came back", never(&silent), Some(Cause::LldpSilent)),
        ("nothing was ever seen of its data plane", missed(&never(&gone), 9), None),
    ];
    for (what, seen, cause) in table {
        assert_eq!(failover.failure(&seen, now), cause, "{what}");
    }
}

#[test]
fn the_first_ready_and_fit_shadow_stands_in() {
    // Which are ready, which are fit, who stands in.
    let table: [(&[NodeIndex], &[NodeIndex], Option<NodeIndex>); 6] = [
        (&[FIRST, SECOND, THIRD], &[FIRST, SECOND, THIRD], Some(FIRST)),
        (&[SECOND, THIRD], &[FIRST, SECOND, THIRD], Some(SECOND)),
        (&[FIRST, SECOND, THIRD], &[SECOND, THIRD], Some(SECOND)),
        (&[FIRST, THIRD], &[SECOND, THIRD], Some(THIRD)),
        (&[FIRST], &[SECOND, THIRD], None),
        (&[], &[FIRST, SECOND, THIRD], None),
    ];
    for (ready, fit, expected) in table {
        let mut world = World::with_ready(ready);
        for shadow in [FIRST, SECOND, THIRD].into_iter().filter(|shadow| !fit.contains(shadow)) {
            world.see(shadow, |seen| (seen.missed, seen.silent) = (3, 3));
        }
        let step = world.lose(OWNER);
        assert!(step.changed);
        assert_eq!(world.stand_in(OWNER), expected, "ready {ready:?}, fit {fit:?}");
        let of_owner = step.said.iter().filter(|said| said.router == OWNER);
        let kinds: Vec<&str> = of_owner.map(|said| said.kind).collect();
        let second = if expected.is_some() { "failover" } else { "failover-none" };
        assert_eq!(kinds, ["failover", second], "{:?}", step.said);
        assert!(!world.failover.phase(OWNER).serves());
    }
}

#[test]
fn routers_that_fail_together_do_not_stand_in_for_each_other() {
    let mut world = World::new();
    let now = world.now();
    for router in [OWNER, FIRST] {
        let seen = world.seen.get_mut(&router).expect("one of four");
        (seen.connected, seen.session_since, seen.missed) = (false, now, 3);
    }
    world.step();
    assert_eq!((world.stand_in(OWNER), world.stand_in(FIRST)), (Some(SECOND), Some(SECOND)));
}

#[test]
fn two_failures_in_turn_find_the_next_shadow_each_time() {
    let mut world = World::new();
    world.lose(OWNER);
    // Its mirror links are down with it: the choice of shadows has none for it any more, nobody vouches for a copy.
    world.see(OWNER, |seen| {
        seen.shadows.clear();
        seen.ready.clear();
    });
    assert_eq!(world.stand_in(OWNER), Some(FIRST));
    world.now_ms += 10_000;
    let step = world.lose(FIRST);
    assert_eq!((world.stand_in(OWNER), world.stand_in(FIRST)), (Some(SECOND), Some(SECOND)));
    let told = "r3 stands in for r1 in place of r2";
    assert!(step.said.iter().any(|said| said.sentence == told), "{:?}", step.said);
    world.now_ms += 10_000;
    world.lose(SECOND);
    assert_eq!(world.stand_in(OWNER), Some(THIRD));
    world.lose(THIRD);
    assert_eq!(world.failover.stand_ins(), BTreeMap::new());
    assert_eq!(world.failover.totals().unprotected, 4);
}

#[test]
fn a_copy_that_was_whole_is_not_lost_with_its_owners_session() {
    let mut world = World::new();
    let now = world.now();
    world.see(OWNER, |seen| {
        (seen.connected, seen.session_since, seen.ready) = (false, now, Vec::new());
    });
    assert_eq!(world.phase(OWNER), "in-service");
    world.see(OWNER, |seen| seen.missed = 2);
    assert_eq!(world.stand_in(OWNER), Some(FIRST));
}

#[test]
fn state_comes_back_first_then_traffic_then_new_connections_by_steps() {
    let mut world = World::new();
    world.lose(OWNER);
    world.now_ms += 5_000;
    assert!(!world.heal(OWNER).changed);
    let deadline = world.failover.next_deadline(&world.seen).expect("a return is due");
    assert_eq!(deadline, world.now() + Duration::from_secs(3));
    let step = world.after(2_999);
    assert_eq!((world.phase(OWNER), step.bring_back.len()), ("failed", 0));
    let step = world.after(1);
    assert_eq!(step.bring_back, [(OWNER, FIRST)]);
    assert_eq!((world.phase(OWNER), world.stand_in(OWNER)), ("returning", Some(FIRST)));
    for _ in 0..100 {
        assert!(!world.after(1_000).changed, "nothing moves before the state is back");
    }
    let step = world.see(OWNER, |seen| seen.state_back = true);
    assert!(step.changed);
    assert_eq!((world.phase(OWNER), world.stand_in(OWNER)), ("ramping", None));
    let mut held_back = vec![world.failover.held_back_percent(OWNER)];
    while world.failover.ramp() {
        held_back.push(world.failover.held_back_percent(OWNER));
    }
    assert_eq!(held_back, [60.0, 20.0, 0.0]);
    assert_eq!(world.phase(OWNER), "in-service");
    assert_eq!(world.failover.totals().returns, 1);
}

#[test]
fn a_router_that_wavers_is_not_believed() {
    let mut world = World::new();
    world.lose(OWNER);
    for _ in 0..50 {
        world.now_ms += 2_900;
        world.heal(OWNER);
        world.now_ms += 2_900;
        assert!(!world.lose(OWNER).changed);
        assert_eq!((world.phase(OWNER), world.stand_in(OWNER)), ("failed", Some(FIRST)));
    }
}

#[test]
fn who_fails_again_waits_longer() {
    let mut world = World::new();
    for expected_s in [3, 6, 12, 24, 48, 96, 96] {
        world.lose(OWNER);
        world.now_ms += 100;
        world.heal(OWNER);
        assert_eq!(world.failover.next_deadline(&world.seen), Some(world.now() + Duration::from_secs(expected_s)));
        world.after(expected_s * 1_000);
        assert_eq!(world.phase(OWNER), "returning");
        world.see(OWNER, |seen| seen.state_back = true);
        world.see(OWNER, |seen| seen.state_back = false);
        while world.failover.ramp() {}
    }
    world.now_ms += 601_000;
    world.lose(OWNER);
    world.heal(OWNER);
    assert_eq!(world.failover.next_deadline(&world.seen), Some(world.now() + Duration::from_secs(3)), "long ago");
}

#[test]
fn a_stand_in_that_fails_while_state_comes_back_is_replaced() {
    let mut world = World::new();
    world.lose(OWNER);
    world.heal(OWNER);
    world.after(3_000);
    assert_eq!(world.phase(OWNER), "returning");
    world.lose(FIRST);
    assert_eq!((world.phase(OWNER), world.stand_in(OWNER)), ("failed", Some(SECOND)));
    let step = world.after(3_000);
    assert_eq!(step.bring_back, [(OWNER, SECOND)]);
    world.lose(OWNER);
    assert_eq!((world.phase(OWNER), world.stand_in(OWNER)), ("failed", Some(SECOND)));
}

#[test]
fn the_order_is_steady_and_the_failed_come_last() {
    let mut world = World::new();
    assert_eq!(world.failover.order(OWNER), [FIRST, SECOND, THIRD]);
    world.see(OWNER, |seen| seen.ready = vec![THIRD]);
    assert_eq!(world.failover.order(OWNER), [FIRST, SECOND, THIRD], "comparisons waver");
    world.lose(FIRST);
    assert_eq!(world.failover.order(OWNER), [SECOND, THIRD, FIRST]);
    world.lose(OWNER);
    world.see(OWNER, |seen| seen.shadows.clear());
    assert_eq!(world.failover.order(OWNER), [SECOND, THIRD, FIRST], "who has failed keeps its shadows");
}

#[test]
fn without_a_copy_a_shadow_comes_last_but_not_at_the_very_beginning() {
    let mut world = World::with_ready(&[THIRD]);
    world.after(29_999);
    assert_eq!(world.failover.order(OWNER), [FIRST, SECOND, THIRD], "their first copies are under way");
    world.after(1);
    assert_eq!(world.failover.order(OWNER), [THIRD, FIRST, SECOND]);
    world.see(OWNER, |seen| seen.ready = vec![FIRST, SECOND, THIRD]);
    assert_eq!(world.failover.order(OWNER), [FIRST, SECOND, THIRD], "the order that a restarted controller finds");
    world.see(OWNER, |seen| (seen.shadows, seen.ready) = (vec![FIRST, THIRD], vec![FIRST, THIRD]));
    world.see(THIRD, |seen| seen.shadows = vec![FIRST]);
    world.after(60_000);
    world.failover.states.get_mut(&OWNER).expect("one of four").ready.retain(|shadow| *shadow != SECOND);
    world.see(OWNER, |seen| seen.shadows = vec![FIRST, SECOND, THIRD]);
    assert_eq!(world.failover.order(OWNER), [FIRST, THIRD, SECOND], "a new one waits for its copy");
}

#[test]
fn one_that_restarts_within_a_blink_gets_its_state_back_first() {
    let mut world = World::new();
    let step = world.see(OWNER, |seen| (seen.emptied, seen.plan_confirmed) = (true, false));
    assert!(step.changed);
    assert_eq!((world.phase(OWNER), world.stand_in(OWNER)), ("failed", Some(FIRST)));
    world.see(OWNER, |seen| (seen.emptied, seen.plan_confirmed) = (false, true));
    assert_eq!(world.phase(OWNER), "failed", "it holds rules, and no connections yet");
    assert_eq!(world.after(3_000).bring_back, [(OWNER, FIRST)]);
    world.see(OWNER, |seen| seen.state_back = true);
    assert_eq!((world.phase(OWNER), world.stand_in(OWNER)), ("ramping", None));
}

#[test]
fn a_shadow_that_failed_has_to_be_found_whole_again() {
    let mut world = World::new();
    world.lose(OWNER);
    assert_eq!(world.stand_in(OWNER), Some(FIRST));
    world.lose(FIRST);
    assert_eq!(world.stand_in(OWNER), Some(SECOND));
    // It is back, and serves again, but is still being told.
    world.see(OWNER, |seen| seen.ready.retain(|shadow| *shadow != FIRST));
    world.heal(FIRST);
    world.see(FIRST, |seen| seen.state_back = true);
    world.after(60_000);
    world.after(1_000);
    assert!(world.failover.phase(FIRST).serves(), "{}", world.phase(FIRST));
    world.lose(SECOND);
    assert_eq!(world.stand_in(OWNER), Some(THIRD));
}

#[test]
fn a_stand_in_that_has_lost_everything_is_none() {
    let mut world = World::new();
    world.lose(OWNER);
    world.see(FIRST, |seen| seen.emptied = true);
    assert_eq!(world.stand_in(OWNER), Some(SECOND));
}

#[test]
fn a_restarted_controller_goes_on_with_the_stand_in() {
    let mut world = World::new();
    let settings = FailoverSettings::default();
    world.failover = Failover::new(ALL, &settings);
    assert!(world.failover.adopt(OWNER, SECOND, world.now()));
    assert!(!world.failover.adopt(OWNER, FIRST, world.now()), "what was found first counts");
    assert!(!world.failover.adopt(OWNER, NodeIndex(99), world.now()));
    assert!(!world.failover.adopt(FIRST, FIRST, world.now()));
    world.see(OWNER, |seen| seen.ready.clear());
    assert_eq!((world.phase(OWNER), world.stand_in(OWNER)), ("failed", Some(SECOND)));
    let step = world.after(settings.hold_down_ms);
    assert_eq!(step.bring_back, [(OWNER, SECOND)]);
}

#[test]
fn one_that_was_never_there_comes_without_ceremony() {
    let mut world = World::new();
    world.failover = Failover::new(ALL, &FailoverSettings::default());
    let step = world.see(OWNER, |seen| (seen.connected, seen.links_down) = (false, true));
    assert_eq!(step.said.len(), 2, "{:?}", step.said);
    assert_eq!(world.stand_in(OWNER), Some(FIRST), "copies are there all the same");
    let mut world = World::new();
    world.failover = Failover::new(ALL, &FailoverSettings::default());
    world.see(OWNER, |seen| {
        (seen.connected, seen.links_down) = (false, true);
        seen.ready.clear();
    });
    assert_eq!((world.phase(OWNER), world.stand_in(OWNER)), ("failed", None));
    world.see(OWNER, |seen| (seen.connected, seen.links_down) = (true, false));
    assert_eq!(world.phase(OWNER), "in-service");
}
