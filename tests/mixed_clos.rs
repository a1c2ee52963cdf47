//! Open vSwitch and P4Runtime switches in one fabric: one service, one shift, both kinds follow.

mod acceptance;
mod fabric;

use std::time::Duration;

use acceptance::{PATIENCE, SERVERS, clos, count, number, serve, start};
use fabric::{Kind, Traffic, Watch, isolated_on, wait_for};
use serde_json::json;

/// One third-stage switch and the router whose load brings the shift about.
const P4_NODES: [&str; 2] = ["t1", "r1"];

fn one_service_one_shift(target: Kind) {
    let mut spec = clos(Kind::OpenVSwitch);
    for node in P4_NODES {
        spec.speak_p4(node, target);
    }
    spec.set_routers("capacity_connections", 1_000).set_routers("threshold_available", 100);
    spec.set_node("r1", "capacity_connections", 400).set_node("r1", "threshold_available", 370);
    let (fabric, controller) = start(&spec, json!({"policy": "reactive"}));
    let mut watch = Watch::start(&fabric);
    let _servers = serve(&fabric, 3);
    // Behind the P4 switch, and behind Open vSwitch.
    let mut holders = ["h1", "h3"].map(|host| {
        let target = format!("{}:7000", SERVERS[0].1);
        Traffic::start(&fabric, host, &["hold", "--to", &target, "--rate", "30"])
    });
    for holder in &mut holders {
        let opened = holder.ask("open 100 25", PATIENCE);
        assert_eq!((count(&opened, "opened"), count(&opened, "refused")), (100, 0), "{opened}");
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
    println!("shift: {} %, because: {}", shift["shift_percent"], shift["reasons"][0]);

    // 12.5 % of the new connections for r1 instead of 25, whichever switch chooses.
    for (host, port, what) in [("h2", 7001, "P4"), ("h4", 7002, "Open vSwitch")] {
        let mut opener = Traffic::start(&fabric, host, &["burst", "--to", &format!("{}:{port}", SERVERS[0].1)]);
        let opened = opener.ask(&format!("go 800 60 {port}"), Duration::from_secs(60));
        assert_eq!((count(&opened, "opened"), count(&opened, "resets")), (800, 0), "{opened}");
        let new = watch.seen(port);
        println!("new connections by {what}: {:?}, r1 {:.1} % (12.5 asked for)", new.by_router, new.percent("r1"));
        assert!((9.0..=16.0).contains(&new.percent("r1")), "{what}: {new:?}");
        assert!(new.moved.is_empty(), "{what}: {new:?}");
    }
    for holder in &mut holders {
        let checked = holder.ask("check", PATIENCE);
        for broken in ["resets", "stalls", "other"] {
            assert_eq!(count(&checked, broken), 0, "{checked}");
        }
    }
    let after = watch.seen(7000);
    println!("200 connections: {} resets, {} moved, by router {:?}", after.resets, after.moved.len(), after.by_router);
    assert_eq!((after.total(), after.resets, after.lost), (200, 0, 0));
    assert_eq!(after.moved, Vec::<String>::new());
    assert_eq!(after.by_router, before.by_router);
}

#[test]
fn mixed_one_service_one_shift_both_follow() {
    isolated_on(&[Kind::OpenVSwitch, Kind::Emulated], || one_service_one_shift(Kind::Emulated));
}

#[test]
fn bmv2_mixed_one_service_one_shift_both_follow() {
    isolated_on(&[Kind::OpenVSwitch, Kind::Bmv2], || one_service_one_shift(Kind::Bmv2));
}
