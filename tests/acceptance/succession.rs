//! Two controllers of one fabric: the higher election id writes, the lower reads and takes over.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{GATEWAY_MAC, PATIENCE, SERVERS, clos, count, loads, ready, serve, sum};
use crate::fabric::{Controller, Fabric, Kind, Traffic, Watch, wait_for};

/// Whose tables are emptied while both controllers are there.
const RENEWED: &str = "t2";

/// Nothing that is right is ever sent again, whoever comes and goes.
pub fn the_higher_writes_and_the_lower_takes_over(kind: Kind) {
    let mut spec = clos(kind);
    spec.set_routers("capacity_connections", 1_000).set_routers("threshold_available", 100);
    let fabric = Fabric::start(&spec);
    let low = Controller::start_elected(&spec, json!({"policy": "static"}), 1);
    ready(&low);
    fabric.resolve_gateways(GATEWAY_MAC);
    let mut watch = Watch::start(&fabric);
    let _servers = serve(&fabric, 1);
    let target = format!("{}:7000", SERVERS[0].1);
    let mut holder = Traffic::start(&fabric, "h1", &["hold", "--to", &target, "--rate", "20"]);
    assert_eq!(count(&holder.ask("open 30 10", PATIENCE), "opened"), 30);
    let first = sent(&low);
    assert!(first.values().all(|sent| *sent > 0), "the only controller writes: {first:?}");
    let held = fabric.holdings();

    let mut high = Controller::start_elected(&spec, json!({"policy": "static"}), 2);
    ready(&high);
    role_becomes(&high, "master");
    role_becomes(&low, "slave");
    assert_eq!(sent(&high).values().sum::<u64>(), 0, "everything was right: {:?}", sent(&high));
    assert_eq!(fabric.holdings(), held);

    // A switch comes back empty: one of the two fills it.
    fabric.renew(RENEWED);
    wait_for("the higher fills the empty switch", PATIENCE, || {
        let now = fabric.holdings_of(RENEWED)?;
        if now == held[RENEWED] { Ok(()) } else { Err(format!("{} entries", now.entries.len())) }
    });
    ready(&high);
    let (by_high, by_low) = (sent(&high), sent(&low));
    println!("sent after {RENEWED} came back empty, by the higher {by_high:?}, by the lower {by_low:?}");
    assert_eq!(by_high.iter().filter(|(_, sent)| **sent > 0).map(|(id, _)| id.as_str()).collect::<Vec<_>>(), [RENEWED]);
    let quiet: BTreeMap<String, u64> =
        first.iter().map(|(id, sent)| (id.clone(), if id == RENEWED { 0 } else { *sent })).collect();
    assert_eq!(by_low, quiet, "the lower must not write");
    // Counters are for everybody; only a write is an act.
    let (reads, writes) = (calls(&low, "read"), calls(&low, "write"));
    wait_for("the lower reads every switch", PATIENCE, || {
        let now = calls(&low, "read");
        if now.iter().all(|(id, count)| *count > reads[id]) { Ok(()) } else { Err(format!("{now:?} after {reads:?}")) }
    });
    assert_eq!(calls(&low, "write"), writes, "the lower must not write");
    assert_eq!(count(&holder.ask("open 10 0", PATIENCE), "opened"), 40);

    high.kill();
    role_becomes(&low, "master");
    ready(&low);
    assert_eq!(count(&holder.ask("open 20 0", PATIENCE), "opened"), 60);
    wait_for("the lower knows of every connection", PATIENCE, || {
        let occupied = sum(&loads(&low)?, "occupied");
        if occupied == 60.0 { Ok(()) } else { Err(format!("{occupied} slots taken")) }
    });
    let checked = holder.ask("check", PATIENCE);
    assert_eq!((count(&checked, "resets"), count(&checked, "stalls")), (0, 0), "{checked}");
    let seen = watch.seen(7000);
    println!(
        "after the higher was killed: the lower sent {:?}; {} connections, {} moved, {} resets",
        sent(&low),
        seen.total(),
        seen.moved.len(),
        seen.resets
    );
    assert_eq!(sent(&low), quiet, "what the dead one left was right");
    assert_eq!(fabric.holdings(), held);
    assert_eq!((seen.total(), seen.moved.len(), seen.resets), (60, 0, 0));
}

fn switches(controller: &Controller) -> Result<Vec<Value>, String> {
    let topology = controller.rest.get("/api/v1/topology")?;
    topology["switches"].as_array().cloned().ok_or_else(|| topology.to_string())
}

/// Entries and groups sent in the present sessions, by switch.
fn sent(controller: &Controller) -> BTreeMap<String, u64> {
    let kinds = ["flows_added", "flows_modified", "flows_deleted", "groups_added", "groups_modified", "groups_deleted"];
    let sent = |switch: Value| {
        let sum = kinds.iter().map(|kind| count(&switch["install_total"], kind)).sum();
        (switch["id"].as_str().expect("an id").to_owned(), sum)
    };
    switches(controller).expect("the controller answers").into_iter().map(sent).collect()
}

/// Calls of this kind in the present sessions, by switch.
fn calls(controller: &Controller, kind: &str) -> BTreeMap<String, u64> {
    let calls = |switch: Value| {
        let count = switch["session"]["messages_out"][kind].as_u64().unwrap_or(0);
        (switch["id"].as_str().expect("an id").to_owned(), count)
    };
    switches(controller).expect("the controller answers").into_iter().map(calls).collect()
}

fn role_becomes(controller: &Controller, role: &str) {
    wait_for(&format!("the role of {role} at every switch"), PATIENCE, || {
        let others: Vec<Value> = switches(controller)?
            .into_iter()
            .filter(|switch| switch["session"]["role"] != role)
            .map(|switch| json!([switch["id"], switch["session"]["role"]]))
            .collect();
        if others.is_empty() { Ok(()) } else { Err(format!("{others:?}")) }
    });
}
