//! First-stage switches die on a real Open vSwitch fabric, with hundreds of TCP connections in flight.
//!
//! Every judgement is of what the hosts saw: resets, exchanges without an answer for ten seconds, the longest exchange.
//! `FORESHADOW_LONG=1` takes 500 connections instead of 150.

#![allow(clippy::unwrap_used)]

mod acceptance;
mod fabric;

use std::time::{Duration, Instant};

use acceptance::flight::{Flight, copied, failover, phase};
use acceptance::{clos, long_form, serve, start};
use fabric::{Controller, Fabric, Kind, Spec, Traffic, isolated_on};
use serde_json::{Value, json};

const KIND: Kind = Kind::OpenVSwitch;
/// Retransmissions double their pause each time: a loss shorter than this is one of four or five of them.
const SETTLE: Duration = Duration::from_secs(6);

fn connections() -> u64 {
    if long_form() { 500 } else { 150 }
}

fn spec() -> Spec {
    let mut spec = clos(KIND);
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
    fabric: Fabric,
    controller: Controller,
    _servers: Vec<Traffic>,
    flight: Flight,
}

/// Connections in flight, and copies of them where `replication_interval_ms` is not 0.
fn in_flight(replication_interval_ms: u64) -> World {
    let spec = spec();
    let (fabric, controller) = start(&spec, settings(replication_interval_ms));
    let servers = serve(&fabric, 1);
    let mut flight = Flight::start(&fabric);
    flight.open(connections());
    if replication_interval_ms > 0 {
        copied(&controller, &spec);
    }
    flight.all("mark");
    World { fabric, controller, _servers: servers, flight }
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
            connections(),
            told.as_secs_f64() * 1e3
        );
        (broken, longest)
    }
}

#[test]
fn ovs_failover_power_loss_breaks_nothing() {
    isolated_on(&[KIND], || {
        let mut world = in_flight(1_000);
        let (broken, longest) = world.lose("power loss", |fabric| fabric.power_off("r1"));
        assert_eq!(broken, 0);
        assert!(longest <= 500.0, "{longest} ms");
    });
}

/// Killed: its session closes, its links stay up. Then it comes back with empty tables.
#[test]
fn ovs_failover_kill_and_return_break_nothing() {
    isolated_on(&[KIND], || {
        let mut world = in_flight(1_000);
        let (broken, longest) = world.lose("SIGKILL", |fabric| fabric.kill_switch("r1"));
        assert_eq!(broken, 0);
        assert!(longest <= 2_000.0, "{longest} ms");

        world.flight.all("resume");
        world.flight.open(connections() / 5);
        world.flight.all("mark");
        world.fabric.revive_openvswitch("r1");
        phase(&world.controller, "r1", "in-service");
        std::thread::sleep(SETTLE); // whatever its return broke would show by then
        let (broken, longest) = world.flight.check();
        println!("return: {broken} broken, longest exchange {longest:.0} ms");
        assert_eq!(broken, 0);
    });
}

/// Stopped: session and links stay up; only its data plane's silence tells.
#[test]
fn ovs_failover_hang_breaks_nothing() {
    isolated_on(&[KIND], || {
        let mut world = in_flight(1_000);
        let (broken, longest) = world.lose("SIGSTOP", |fabric| fabric.signal_openvswitch("r1", "STOP"));
        world.flight.all("resume");
        // Before anything can fail: what keeps the logs would wait for the stopped switch.
        world.fabric.signal_openvswitch("r1", "CONT");
        assert_eq!(broken, 0);
        assert!(longest <= 2_000.0, "{longest} ms");
        phase(&world.controller, "r1", "in-service");
        let (broken, _) = world.flight.check();
        assert_eq!(broken, 0);
    });
}

#[test]
fn ovs_failover_two_in_turn_break_nothing() {
    isolated_on(&[KIND], || {
        let mut world = in_flight(1_000);
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
    });
}

/// The control: without copies the same failure breaks every connection of the router.
#[test]
fn ovs_failover_without_replication_breaks_them() {
    isolated_on(&[KIND], || {
        let mut world = in_flight(0);
        world.fabric.kill_switch("r1");
        phase(&world.controller, "r1", "failed");
        std::thread::sleep(Duration::from_secs(11)); // a connection without progress for ten seconds is broken
        let (broken, _) = world.flight.check();
        println!("without replication: {broken} of {} broken", connections());
        assert!(broken >= connections() / 8, "a quarter of them was r1's: {broken}");
    });
}
