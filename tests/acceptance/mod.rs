//! The main job on real switches: eleven of them, real TCP and UDP, the released program. The same points (a) to (f)
//! for every kind of switch, at the rates that it bears; every point prints its figures.
//!
//! `FORESHADOW_LONG=1` (`make accept`) runs (d) for ten minutes and takes the short cuts of none.

// Every suite takes the points that it needs.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod capacity;
pub mod counts;
pub mod failover;
pub mod flight;
pub mod restart;
pub mod rising;
pub mod split;
pub mod succession;
pub mod survival;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fabric::{Controller, Fabric, Kind, Seen, Spec, Traffic, Watch, wait_for};

/// What the controller says every gateway's MAC address is.
pub const GATEWAY_MAC: &str = "02:46:53:00:00:01";
/// For whatever should take a moment.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Of the two servers, one behind each outside switch.
pub const SERVERS: [(&str, &str); 2] = [("w1", "198.51.100.10"), ("w2", "203.0.113.10")];
/// One host on every third-stage switch.
pub const HOSTS: [&str; 3] = ["h1", "h3", "h5"];

/// The Clos of the repository with switches of this kind.
pub fn clos(kind: Kind) -> Spec {
    Spec::load("clos").on(kind)
}

/// Starts fabric and controller, and waits until every switch confirmed its plan.
pub fn start(spec: &Spec, cycle: Value) -> (Fabric, Controller) {
    let fabric = Fabric::start(spec);
    let controller = Controller::start(spec, cycle);
    ready(&controller);
    fabric.resolve_gateways(GATEWAY_MAC);
    (fabric, controller)
}

pub fn ready(controller: &Controller) {
    let started = Instant::now();
    let cycles = wait_for("every switch connected and its plan confirmed", PATIENCE, || {
        let topology = controller.rest.get("/api/v1/topology")?;
        let switches = topology["switches"].as_array().ok_or("no list of switches")?;
        let holds_plan = |switch: &&Value| switch["plan"]["confirmed"] == true && switch["plan"]["installed"] != 0;
        let waiting: Vec<&Value> =
            switches.iter().filter(|switch| !holds_plan(switch)).map(|switch| &switch["id"]).collect();
        if waiting.is_empty() { Ok(topology["cycle"].clone()) } else { Err(format!("{waiting:?}")) }
    });
    println!("controller: all switches ready after {:.1} s, cycle {cycles}", started.elapsed().as_secs_f64());
}

pub fn serve(fabric: &Fabric, ports: u16) -> Vec<Traffic> {
    SERVERS.iter().map(|(id, _)| Traffic::start(fabric, id, &["serve", "--ports", &ports.to_string()])).collect()
}

pub fn count(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} is no count in {value}"))
}

pub fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {value}"))
}

pub fn router(controller: &Controller, id: &str) -> Result<Value, String> {
    Ok(controller.rest.get(&format!("/api/v1/routers/{id}"))?["router"].clone())
}

/// Load of every router, by id.
pub fn loads(controller: &Controller) -> Result<BTreeMap<String, Value>, String> {
    let answer = controller.rest.get("/api/v1/routers")?;
    let routers = answer["routers"].as_array().ok_or_else(|| answer.to_string())?;
    Ok(routers.iter().map(|router| (router["id"].as_str().unwrap_or("?").to_owned(), router["load"].clone())).collect())
}

pub fn sum(loads: &BTreeMap<String, Value>, key: &str) -> f64 {
    loads.values().map(|load| number(load, key)).sum()
}

pub fn long_form() -> bool {
    std::env::var_os("FORESHADOW_LONG").is_some()
}

/// Waits until the switches hold the slots of `split`: a restarted controller starts from those it found.
pub fn shares_installed(controller: &Controller, split: &[(&str, f64)]) {
    let total: f64 = split.iter().map(|(_, share)| share).sum();
    for (id, share) in split {
        wait_for(&format!("the slots of {id} on every switch"), PATIENCE, || {
            let detail = controller.rest.get(&format!("/api/v1/routers/{id}"))?;
            let confirmed =
                detail["plans"].as_array().is_some_and(|plans| plans.iter().all(|plan| plan["confirmed"] == true));
            let installed = number(&detail["shares"][0], "installed");
            // Within one slot of 256, and confirmed by a barrier.
            let right = confirmed && (installed - share / total).abs() <= 1.0 / 256.0;
            if right { Ok(()) } else { Err(format!("installed {installed}, confirmed {confirmed}")) }
        });
    }
}

/// The captures, once nothing more comes.
pub fn settled(watch: &mut Watch, port: u16, expected: u64) -> Seen {
    let mut last = watch.seen(port);
    for _ in 0..20 {
        if last.total() >= expected {
            break;
        }
        // Quiet is the absence of events.
        std::thread::sleep(Duration::from_millis(250));
        let next = watch.seen(port);
        if next.total() == last.total() {
            break;
        }
        last = next;
    }
    last
}

/// Microseconds since 1970 of an RFC 3339 time.
pub fn micros(text: &str) -> u64 {
    let at: jiff::Timestamp = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    u64::try_from(at.as_microsecond()).expect("after 1970")
}

/// Poisson load from each host by the same profile, with seeds of their own.
pub fn churn(fabric: &Fabric, hosts: &[&str], profile: &str, more: &[&str], start: f64) -> Vec<Traffic> {
    let client = |(number, host): (usize, &&str)| {
        let target = format!("{}:7000", SERVERS[number % 2].1);
        let (seed, start) = ((number + 1).to_string(), format!("{start:.3}"));
        let mut arguments = vec!["churn", "--to", &target, "--rate", profile, "--seed", &seed, "--start", &start];
        arguments.extend(more);
        Traffic::start(fabric, host, &arguments)
    };
    hosts.iter().enumerate().map(client).collect()
}
