//! (a) Connections that are there stay where they are while new ones are shifted away.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{HOSTS, PATIENCE, SERVERS, clos, count, number, router, serve, start};
use crate::fabric::{Kind, Traffic, Watch, wait_for};

/// Connections, connections a second, and seconds between two records of one.
struct Pace {
    /// A P4 program has twice as many slots for them, all of which are looked at in turn.
    capacity: u32,
    /// Of each of three hosts.
    open: &'static str,
    interval: &'static str,
    burst: u32,
}

impl Pace {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::OpenVSwitch => Self { capacity: 5_000, open: "40", interval: "1", burst: 150 },
            Kind::Emulated => Self { capacity: 1_000, open: "40", interval: "1", burst: 100 },
            Kind::Bmv2 => Self { capacity: 1_000, open: "10", interval: "2", burst: 40 },
        }
    }
}

/// (a) 200 connections, 50 of them idle for 90 seconds, through a shift of 50 %.
pub fn established_connections_survive_a_shift(kind: Kind) {
    let pace = Pace::of(kind);
    let mut spec = clos(kind);
    spec.set_routers("capacity_connections", pace.capacity).set_routers("threshold_available", 100);
    // More than 30 connections are a breach here, so the load itself brings the shift about.
    spec.set_node("r1", "capacity_connections", 400).set_node("r1", "threshold_available", 370);
    let (fabric, controller) = start(&spec, json!({"policy": "reactive"}));
    let mut watch = Watch::start(&fabric);
    let _servers = serve(&fabric, 2);
    let mut holders: Vec<Traffic> = HOSTS
        .iter()
        .zip([0, 1, 0])
        .map(|(host, server)| {
            let target = format!("{}:7000", SERVERS[server].1);
            Traffic::start(&fabric, host, &["hold", "--to", &target, "--rate", pace.open, "--interval", pace.interval])
        })
        .collect();
    let idle_since = Instant::now();
    for (holder, (connections, idle)) in holders.iter_mut().zip([(67, 17), (67, 17), (66, 16)]) {
        let opened = holder.ask(&format!("open {connections} {idle}"), PATIENCE);
        assert_eq!((count(&opened, "opened"), count(&opened, "refused")), (connections, 0), "{opened}");
    }
    let before = watch.seen(7000);
    let shift = wait_for("half of r1's new connections shifted, every switch told", PATIENCE, || {
        let detail = controller.rest.get("/api/v1/routers/r1")?;
        let confirmed =
            detail["plans"].as_array().is_some_and(|plans| plans.iter().all(|plan| plan["confirmed"] == true));
        let (shift, installed) = (detail["router"]["shift"].clone(), number(&detail["shares"][0], "installed"));
        let done = number(&shift, "shift_percent") >= 50.0 && confirmed && installed < 0.135;
        if done { Ok(shift) } else { Err(format!("installed {installed}, confirmed {confirmed}, {shift}")) }
    });
    println!(
        "shift: {} % to {} shadows, because: {}",
        shift["shift_percent"],
        shift["shadows"].as_array().map_or(0, Vec::len),
        shift["reasons"][0]
    );

    // New connections follow the new weights: 12.5 % of them for r1 instead of 25.
    let mut opener = Traffic::start(&fabric, "h2", &["burst", "--to", "198.51.100.10:7001"]);
    let opened = opener.ask(&format!("go 800 {} 7001", pace.burst), Duration::from_secs(60));
    assert_eq!((count(&opened, "opened"), count(&opened, "resets")), (800, 0), "{opened}");
    let new = watch.seen(7001);
    println!("new connections after the shift: {:?}, r1 {:.1} % (12.5 asked for)", new.by_router, new.percent("r1"));
    assert!((9.0..=16.0).contains(&new.percent("r1")), "{new:?}");

    let left = Duration::from_secs(91).saturating_sub(idle_since.elapsed());
    std::thread::sleep(left); // the idleness itself is what is tested
    let mut longest = 0.0_f64;
    for holder in &mut holders {
        let checked = holder.ask("check", PATIENCE);
        longest = longest.max(number(&checked, "longest_ms"));
        for broken in ["resets", "stalls", "other"] {
            assert_eq!(count(&checked, broken), 0, "{checked}");
        }
    }
    let after = watch.seen(7000);
    println!(
        "200 connections (50 idle for {:.0} s): {} resets, {} moved, longest exchange {longest:.0} ms, by router {:?}",
        idle_since.elapsed().as_secs_f64(),
        after.resets,
        after.moved.len(),
        after.by_router
    );
    assert_eq!((after.total(), after.resets, after.lost), (200, 0, 0));
    assert_eq!(after.moved, Vec::<String>::new());
    assert_eq!(after.by_router, before.by_router);
    let still = router(&controller, "r1").expect("the controller answers");
    assert!(
        number(&still["shift"], "shift_percent") >= 50.0,
        "the shift must have been in force all the time: {still}"
    );
}
