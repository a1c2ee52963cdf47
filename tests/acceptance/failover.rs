//! Routers die with hundreds of TCP connections in flight, and come back: stories for every kind of switch.
//!
//! Every judgement is of what the hosts saw: resets, exchanges without an answer for ten seconds, the longest exchange.
//! `FORESHADOW_LONG=1` takes 500 connections.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::flight::{Flight, copied, failover, phase};
use super::{HOSTS, PATIENCE, churn, clos, count, long_form, serve, start};
use crate::fabric::{Controller, Fabric, Kind, Spec, Traffic};

/// Retransmissions double their pause each time: a loss shorter than this is one of four or five of them.
const SETTLE: Duration = Duration::from_secs(6);

/// What a kind of switch bears.
fn connections(kind: Kind) -> u64 {
    match kind {
        _ if long_form() => 500,
        Kind::OpenVSwitch | Kind::Emulated => 150,
        Kind::Bmv2 => 60,
    }
}

fn pace(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::OpenVSwitch | Kind::Emulated => &[],
        Kind::Bmv2 => &["--rate", "10", "--interval", "4", "--bulk", "8192"],
    }
}

/// Short connections a second beside them.
fn passing(kind: Kind) -> u32 {
    if kind == Kind::Bmv2 { 10 } else { 50 }
}

fn spec(kind: Kind) -> Spec {
    let mut spec = clos(kind);
    spec.set_routers("capacity_connections", 2_000).set_routers("threshold_available", 100);
    spec
}

fn settings(replication_interval_ms: u64) -> Value {
    json!({
        "policy": "static",
        "replication_interval_ms": replication_interval_ms,
        "failover": {"probe_interval_ms": 200, "hold_down_ms": 2_000, "ramp_step_percent": 25},
    })
}

struct World {
    connections: u64,
    fabric: Fabric,
    controller: Controller,
    _servers: Vec<Traffic>,
    flight: Flight,
}

/// Connections in flight, and copies of them where `replication_interval_ms` is not 0.
fn in_flight(kind: Kind, replication_interval_ms: u64) -> World {
    let (spec, connections) = (spec(kind), connections(kind));
    let (fabric, controller) = start(&spec, settings(replication_interval_ms));
    let servers = serve(&fabric, 1);
    let mut flight = Flight::start(&fabric, pace(kind));
    flight.open(connections);
    if replication_interval_ms > 0 {
        copied(&controller, &spec);
    }
    flight.all("mark");
    World { connections, fabric, controller, _servers: servers, flight }
}

impl World {
    /// What the hosts saw of a failure that `fail` causes.
    fn lose(&mut self, what: &str, fail: impl FnOnce(&Fabric)) -> (u64, f64) {
        let began = Instant::now();
        fail(&self.fabric);
        phase(&self.controller, "r1", "failed");
        let told = began.elapsed();
        // The exchanges that were under way are what is tested.
        std::thread::sleep(SETTLE);
        let (broken, longest) = self.flight.check();
        println!(
            "{what}: {broken} of {} broken, longest exchange {longest:.0} ms, the controller told after {:.0} ms",
            self.connections,
            told.as_secs_f64() * 1e3
        );
        (broken, longest)
    }
}

/// Its namespace is deleted: all its links are down.
pub fn power_loss_breaks_nothing(kind: Kind) {
    let mut world = in_flight(kind, 1_000);
    let (broken, longest) = world.lose("power loss", |fabric| fabric.power_off("r1"));
    assert_eq!(broken, 0);
    assert!(longest <= 500.0, "{longest} ms");
}

/// Killed: its session closes, its links stay up. Then it comes back with empty tables.
pub fn kill_and_return_break_nothing(kind: Kind) {
    let mut world = in_flight(kind, 1_000);
    let (broken, longest) = world.lose("SIGKILL", |fabric| fabric.kill_switch("r1"));
    assert_eq!(broken, 0);
    assert!(longest <= 2_000.0, "{longest} ms");

    world.flight.all("resume");
    world.flight.open(world.connections / 5);
    world.flight.all("mark");
    // Others come and go all the time: no two readings of tables are of the same moment.
    let profile = format!("0:{rate},120:{rate}", rate = passing(kind));
    let mut passing = churn(&world.fabric, &HOSTS[..1], &profile, &["--duration", "2", "--interval", "0.7"], 0.0);
    world.fabric.revive("r1");
    phase(&world.controller, "r1", "in-service");
    std::thread::sleep(SETTLE); // whatever its return broke would show by then
    let (broken, longest) = world.flight.check();
    let others = passing.remove(0).ask("check", PATIENCE);
    let [opened, refused] = ["opened", "refused"].map(|what| count(&others, what));
    let broken_others = count(&others, "resets") + count(&others, "stalls") + count(&others, "other");
    println!(
        "return: {broken} broken, longest exchange {longest:.0} ms; {broken_others} of {opened} that came and went, \
         {refused} not opened"
    );
    assert_eq!((broken, broken_others, refused), (0, 0, 0));
    assert!(opened > 100, "{others}");
}

/// Killed and started anew at once, faster than a failure could be found: it comes back without what it held, and what
/// the shadows hold must not be taken for what has ended.
pub fn restart_breaks_nothing(kind: Kind) {
    let mut world = in_flight(kind, 1_000);
    let (broken, longest) = world.lose("restart", |fabric| {
        fabric.kill_switch("r1");
        fabric.revive("r1");
    });
    assert_eq!(broken, 0);
    assert!(longest <= 2_000.0, "{longest} ms");
    world.flight.all("resume");
    phase(&world.controller, "r1", "in-service");
    let (broken, longest) = world.flight.check();
    println!("return: {broken} broken, longest exchange {longest:.0} ms");
    assert_eq!(broken, 0);
}

/// Stopped: session and links stay up; only its data plane's silence tells.
pub fn hang_breaks_nothing(kind: Kind) {
    let mut world = in_flight(kind, 1_000);
    let (broken, longest) = world.lose("SIGSTOP", |fabric| fabric.signal_switch("r1", "STOP"));
    world.flight.all("resume");
    // Before anything can fail: what keeps the logs would wait for the stopped switch.
    world.fabric.signal_switch("r1", "CONT");
    assert_eq!(broken, 0);
    assert!(longest <= 2_000.0, "{longest} ms");
    phase(&world.controller, "r1", "in-service");
    let (broken, _) = world.flight.check();
    assert_eq!(broken, 0);
}

pub fn two_in_turn_break_nothing(kind: Kind) {
    let mut world = in_flight(kind, 1_000);
    let (broken, _) = world.lose("the first of two", |fabric| fabric.kill_switch("r1"));
    assert_eq!(broken, 0);
    world.flight.all("resume");
    let next = failover(&world.controller, "r1").unwrap()["stand_in"].as_str().expect("one stands in").to_owned();
    world.fabric.kill_switch(&next);
    phase(&world.controller, &next, "failed");
    std::thread::sleep(SETTLE); // the exchanges that were under way are what is tested
    let (broken, longest) = world.flight.check();
    println!("{next}, which stood in for r1, failed too: {broken} broken, longest exchange {longest:.0} ms");
    assert_eq!(broken, 0);
}

/// The control: without copies the same failure breaks every connection of the router.
pub fn without_replication_they_break(kind: Kind) {
    let mut world = in_flight(kind, 0);
    world.fabric.kill_switch("r1");
    phase(&world.controller, "r1", "failed");
    std::thread::sleep(Duration::from_secs(11)); // a connection without progress for ten seconds is broken
    let (broken, _) = world.flight.check();
    println!("without replication: {broken} of {} broken", world.connections);
    assert!(broken >= world.connections / 8, "a quarter of them was r1's: {broken}");
}
