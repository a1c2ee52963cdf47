//! (g) A router is lost with connections in flight: all of them go on at its shadow.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{HOSTS, PATIENCE, SERVERS, clos, count, number, serve, start};
use crate::fabric::{Controller, Kind, Traffic, Watch};

/// (g) r1 dies; its shadow goes on with its connections, and takes new ones.
pub fn connections_survive_the_loss_of_their_router(kind: Kind) {
    let mut spec = clos(kind);
    spec.set_routers("capacity_connections", 500).set_routers("threshold_available", 50);
    let (fabric, controller) =
        start(&spec, json!({"replication_interval_ms": 5_000, "failover": {"probe_interval_ms": 200}}));
    let mut watch = Watch::start(&fabric);
    let _servers = serve(&fabric, 1);
    let mut holders: Vec<Traffic> = HOSTS
        .iter()
        .zip([0, 1, 0])
        .map(|(host, server)| {
            let target = format!("{}:7000", SERVERS[server].1);
            Traffic::start(&fabric, host, &["hold", "--to", &target, "--rate", "20", "--interval", "1"])
        })
        .collect();
    for holder in &mut holders {
        let opened = holder.ask("open 40 10", PATIENCE);
        assert_eq!(count(&opened, "refused"), 0, "{opened}");
    }
    let before = watch.seen(7000);
    let of_r1 = before.by_router["r1"];
    assert!(of_r1 > 10, "{before:?}");

    let told = tell(&controller, "failover", "r1");
    let lost = Instant::now();
    fabric.kill_switch("r1");
    println!("{} (after {:?})", told.join().expect("no panic").expect("a shadow stands in"), lost.elapsed());
    check(&mut holders, "after the loss");
    for holder in &mut holders {
        let opened = holder.ask("open 10 0", PATIENCE);
        assert_eq!(count(&opened, "refused"), 0, "{opened}");
    }
    check(&mut holders, "with new ones beside them");
}

fn check(holders: &mut [Traffic], when: &str) {
    let mut longest = 0.0_f64;
    for holder in holders {
        let checked = holder.ask("check", PATIENCE);
        longest = longest.max(number(&checked, "longest_ms"));
        for broken in ["resets", "stalls", "other"] {
            assert_eq!(count(&checked, broken), 0, "{when}: {checked}");
        }
    }
    println!("{when}: none broken, longest exchange {longest:.0} ms");
}

/// Waits for a message of this kind in which this stands.
fn tell(controller: &Controller, kind: &'static str, text: &'static str) -> JoinHandle<Result<String, String>> {
    let rest = controller.rest;
    std::thread::spawn(move || {
        let wanted =
            |event: &Value| event["kind"] == kind && event["message"].as_str().is_some_and(|it| it.contains(text));
        let event = rest.await_event(Duration::from_secs(60), wanted)?;
        Ok(event["message"].to_string())
    })
}
