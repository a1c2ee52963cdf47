//! (e) The controller dies and comes back; the switches notice nothing.

use std::time::Instant;

use serde_json::json;

use super::{PATIENCE, clos, count, ready, serve, start};
use crate::fabric::{Kind, Traffic, Watch};

/// Connections live on and new ones begin while it is away; then it sends nothing that was right.
pub fn controller_restart_changes_nothing(kind: Kind) {
    let mut spec = clos(kind);
    spec.set_routers("capacity_connections", 1_000).set_routers("threshold_available", 100);
    let (fabric, mut controller) = start(&spec, json!({}));
    let mut watch = Watch::start(&fabric);
    let _servers = serve(&fabric, 1);
    // New connections a second, and seconds between two records of one.
    let (rate, interval) = match kind {
        Kind::OpenVSwitch => ("50", "0.2"),
        Kind::Emulated => ("50", "0.5"),
        Kind::Bmv2 => ("20", "1"),
    };
    let mut holder =
        Traffic::start(&fabric, "h1", &["hold", "--to", "198.51.100.10:7000", "--rate", rate, "--interval", interval]);
    let opened = holder.ask("open 100 20", PATIENCE);
    assert_eq!(count(&opened, "opened"), 100, "{opened}");
    let before = fabric.holdings();
    controller.kill();
    let down = Instant::now();
    let opened = holder.ask("open 50 0", PATIENCE);
    assert_eq!(count(&opened, "opened"), 150, "new connections must not need the controller: {opened}");
    controller.restart();
    ready(&controller);
    println!("controller was away for {:.1} s", down.elapsed().as_secs_f64());
    let topology = controller.rest.get("/api/v1/topology").expect("the controller answers");
    let mut unchanged = 0;
    for switch in topology["switches"].as_array().expect("a list") {
        let installs = &switch["install_total"];
        for kind in
            ["flows_added", "flows_modified", "flows_deleted", "groups_added", "groups_modified", "groups_deleted"]
        {
            assert_eq!(count(installs, kind), 0, "{}: {installs}", switch["id"]);
        }
        assert!(count(installs, "unchanged") > 0, "{}: {installs}", switch["id"]);
        unchanged += count(installs, "unchanged");
    }
    let after = fabric.holdings();
    let mut kept = 0;
    for (node, held) in &before {
        let now = &after[node];
        let lost: Vec<&String> =
            held.entries.iter().filter(|entry| now.entries.binary_search(entry).is_err()).collect();
        assert!(lost.is_empty(), "{node} lost {lost:#?}");
        assert_eq!(held.groups, now.groups, "{node}");
        if fabric.spec.node(node).kind.speaks_p4() {
            // These learn nothing by themselves.
            assert_eq!(held.entries, now.entries, "{node}");
        }
        kept += held.entries.len();
    }
    assert!(kept > 0, "the switches must hold something");
    let checked = holder.ask("check", PATIENCE);
    for broken in ["resets", "stalls", "other"] {
        assert_eq!(count(&checked, broken), 0, "{checked}");
    }
    let seen = watch.seen(7000);
    println!(
        "restart: {unchanged} entries found right, 0 sent, {kept} entries as before; {} connections, {} resets, {} moved, longest exchange {} ms",
        seen.total(),
        seen.resets,
        seen.moved.len(),
        checked["longest_ms"]
    );
    assert_eq!((seen.total(), seen.resets, seen.moved.len()), (150, 0, 0));
}
