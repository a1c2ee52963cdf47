//! (b) What was asked for, against what came out of the routers.

use std::time::Duration;

use serde_json::json;

use super::{HOSTS, SERVERS, clos, count, long_form, number, ready, serve, settled, shares_installed, start};
use crate::fabric::{Controller, Fabric, Kind, Seen, Traffic, Watch};

/// Connections, and connections a second from all hosts together.
struct Pace {
    capacity: u64,
    udp_per_s: u64,
    tcp: u64,
    tcp_per_s: u64,
    tcp_each_round: bool,
}

impl Pace {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::OpenVSwitch => {
                Self { capacity: 100_000, udp_per_s: 2_000, tcp: 5_000, tcp_per_s: 240, tcp_each_round: true }
            }
            Kind::Emulated => {
                Self { capacity: 8_000, udp_per_s: 1_500, tcp: 5_000, tcp_per_s: 240, tcp_each_round: long_form() }
            }
            Kind::Bmv2 => {
                Self { capacity: 4_000, udp_per_s: 600, tcp: 2_500, tcp_per_s: 60, tcp_each_round: long_form() }
            }
        }
    }
}

/// Four splits; a controller with new shares takes over for each.
pub fn realised_split_follows_the_shares(kind: Kind) {
    let splits: [&[(&str, f64)]; 4] = [
        &[("r1", 90.0), ("r2", 10.0)],
        &[("r1", 65.0), ("r2", 35.0)],
        &[("r1", 50.0), ("r2", 50.0)],
        &[("r1", 5.0), ("r2", 100.0), ("r3", 100.0)],
    ];
    let pace = Pace::of(kind);
    let mut spec = clos(kind);
    spec.set_routers("capacity_connections", pace.capacity).set_routers("threshold_available", 100);
    spec.set_routers("idle_timeout_s", 3).set_routers("closing_timeout_s", 1).set_routers("half_open_timeout_s", 3);
    spec.set_shares(splits[0]);
    let (fabric, mut controller) = start(&spec, json!({"policy": "static"}));
    let mut watch = Watch::start(&fabric);
    let _servers = serve(&fabric, 8);
    let mut failures = Vec::new();
    for (round, split) in splits.into_iter().enumerate() {
        if round > 0 {
            spec.set_shares(split);
            drop(controller);
            controller = Controller::start(&spec, json!({"policy": "static"}));
            ready(&controller);
        }
        shares_installed(&controller, split);
        let port = 7000 + 2 * u16::try_from(round).expect("four rounds");
        let udp = blast(&fabric, true, 40_000, pace.udp_per_s, port, round);
        judge(&mut failures, "UDP flows", split, &settled(&mut watch, port, 40_000), udp, 40_000, 1.0);
        if round > 0 && !pace.tcp_each_round {
            continue;
        }
        let count = pace.tcp;
        let tcp = blast(&fabric, false, count, pace.tcp_per_s, port + 1, round);
        judge(&mut failures, "TCP connections", split, &settled(&mut watch, port + 1, count), tcp, count, 2.5);
    }
    assert_eq!(failures, Vec::<String>::new());
}

/// Opens `total` flows from three hosts at `rate` a second together; returns the seconds that took.
fn blast(fabric: &Fabric, udp: bool, total: u64, rate: u64, port: u16, round: usize) -> f64 {
    let mut clients: Vec<Traffic> = HOSTS
        .iter()
        .zip([0, 1, 0])
        .map(|(host, server)| {
            let target = format!("{}:{port}", SERVERS[server].1);
            // UDP flows take their source ports in order, from another start each round.
            let first = (1_100 + 7_000 * round).to_string();
            let mut arguments = vec!["burst", "--to", &target, "--first-port", &first];
            arguments.extend(udp.then_some("--udp"));
            Traffic::start(fabric, host, &arguments)
        })
        .collect();
    let each = |number: u64| (total + number) / 3;
    for (number, client) in (0..).zip(&mut clients) {
        client.tell(&format!("go {} {:.2} {port}", each(number), rate as f64 / 3.0));
    }
    let mut seconds = 0.0_f64;
    for client in &mut clients {
        let done = client.until("go", Duration::from_secs(240)).pop().expect("until() gives at least one line");
        seconds = seconds.max(number(&done, "seconds"));
        if count(&done, "refused") + count(&done, "resets") + count(&done, "stalls") > 0 {
            println!("  client: {done}");
        }
    }
    seconds
}

fn judge(
    failures: &mut Vec<String>,
    what: &str,
    split: &[(&str, f64)],
    seen: &Seen,
    seconds: f64,
    sent: u64,
    tolerance: f64,
) {
    let total: f64 = split.iter().map(|(_, share)| share).sum();
    let asked: Vec<f64> = split.iter().map(|(_, share)| 100.0 * share / total).collect();
    let got: Vec<f64> = split.iter().map(|(router, _)| seen.percent(router)).collect();
    let worst = asked.iter().zip(&got).map(|(asked, got)| (asked - got).abs()).fold(0.0, f64::max);
    let line = format!(
        "{} of {sent} {what} in {seconds:.0} s: asked {asked:.2?} got {got:.2?}, worst {worst:.2} points (at most {tolerance}), {} moved, capture lost {}",
        seen.total(),
        seen.moved.len(),
        seen.lost
    );
    println!("{line}");
    let strangers: u64 =
        seen.by_router.iter().filter(|(id, _)| split.iter().all(|(router, _)| router != id)).map(|(_, n)| n).sum();
    // A flow that was lost on its way says nothing about the split; more than a few in a thousand would.
    if worst > tolerance || strangers > 0 || !seen.moved.is_empty() || seen.total() * 1000 < sent * 995 {
        failures.push(line);
    }
}
