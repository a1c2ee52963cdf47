//! (c) Refusals beyond capacity, exactly; slots come back on FIN, RST and idleness.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PATIENCE, clos, count, number, router, serve, start};
use crate::fabric::{Controller, Kind, Traffic, wait_for};

/// All at one router with 50 slots.
pub fn capacity_refuses_exactly_and_slots_return(kind: Kind) {
    let mut spec = clos(kind);
    spec.set_routers("capacity_connections", 50).set_routers("threshold_available", 5);
    spec.set_routers("idle_timeout_s", 15).set_routers("closing_timeout_s", 1).set_routers("half_open_timeout_s", 5);
    spec.set_shares(&[("r1", 1.0)]);
    let (fabric, controller) = start(&spec, json!({"policy": "static"}));
    let _servers = serve(&fabric, 1);
    let mut holders: Vec<Traffic> = ["h1", "h3"]
        .iter()
        .map(|host| Traffic::start(&fabric, host, &["hold", "--to", "198.51.100.10:7000", "--rate", "25"]))
        .collect();
    let mut refused_total = 0;
    let mut open = |holders: &mut [Traffic], each: u64, admitted: u64, when: &str| {
        for holder in holders.iter_mut() {
            holder.tell(&format!("open {each} {each}"));
        }
        let answers: Vec<Value> = holders
            .iter_mut()
            .map(|holder| holder.until("open", Duration::from_secs(90)).pop().expect("until() gives at least one line"))
            .collect();
        let held: u64 = answers.iter().map(|answer| count(answer, "held")).sum();
        let refused: u64 = answers.iter().map(|answer| count(answer, "refused")).sum();
        refused_total = wait_for(when, Duration::from_secs(5), || {
            let load = &router(&controller, "r1")?["load"];
            let (occupied, told) = (number(load, "occupied") as u64, count(load, "refused_total"));
            if (occupied, told) == (held, refused) {
                Ok(refused)
            } else {
                Err(format!("hosts hold {held} and were refused {refused}, REST: {load}"))
            }
        });
        println!("{when}: hosts hold {held} and were refused {refused}, and so says REST");
        assert_eq!(held, admitted, "{when}: {answers:?}");
    };
    open(&mut holders, 40, 50, "80 attempts at 50 slots");
    for (how, when) in [("fin", "20 closed by FIN, 40 attempts"), ("rst", "20 closed by RST, 40 attempts")] {
        for holder in &mut holders {
            holder.ask(&format!("close {how} 10"), PATIENCE);
            holder.ask("check", PATIENCE); // the others are kept from idling out meanwhile
        }
        occupied_becomes(&controller, 30, how);
        open(&mut holders, 20, 50, when);
    }
    assert_eq!(refused_total, 30 + 20 + 20);
    let idle = Instant::now();
    occupied_becomes(&controller, 0, "idle");
    println!("all idle: no slot taken after {:.1} s (time-out 15 s)", idle.elapsed().as_secs_f64());
}

fn occupied_becomes(controller: &Controller, wanted: u64, how: &str) {
    let started = Instant::now();
    wait_for(&format!("{wanted} slots taken after {how}"), PATIENCE, || {
        let load = &router(controller, "r1")?["load"];
        if number(load, "occupied") as u64 == wanted { Ok(()) } else { Err(load.to_string()) }
    });
    println!("{how}: {wanted} slots taken after {:.1} s", started.elapsed().as_secs_f64());
}
