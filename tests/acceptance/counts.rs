//! (d) Active connections as the controller reads them, against what the hosts themselves hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{HOSTS, PATIENCE, churn, clos, long_form, micros, number, serve, start};
use crate::fabric::Kind;

struct Pace {
    /// From each of three hosts; thrice as many at first.
    opened_per_s: u32,
    /// Seconds between two records of a connection.
    interval: &'static str,
    /// A hundredth of fewer connections than this is no whole connection to speak of.
    enough: f64,
}

impl Pace {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::OpenVSwitch | Kind::Emulated => Self { opened_per_s: 20, interval: "2", enough: 300.0 },
            Kind::Bmv2 => Self { opened_per_s: 9, interval: "4", enough: 200.0 },
        }
    }
}

/// Poisson arrivals; some end with RST, some never say another word.
pub fn active_counts_match_the_hosts_own(kind: Kind) {
    let pace = Pace::of(kind);
    let mut spec = clos(kind);
    spec.set_routers("capacity_connections", 2_000).set_routers("threshold_available", 100);
    spec.set_routers("idle_timeout_s", 8).set_routers("closing_timeout_s", 1).set_routers("half_open_timeout_s", 5);
    let (fabric, controller) = start(&spec, json!({"policy": "static"}));
    let _servers = serve(&fabric, 1);
    let steady = pace.opened_per_s;
    let seconds = if long_form() { 600 } else { 50 };
    let mut clients = churn(
        &fabric,
        &HOSTS,
        &format!("0:{},10:{steady},{seconds}:{steady}", 3 * steady),
        &[
            "--duration",
            "12",
            "--interval",
            pace.interval,
            "--abort",
            "0.3",
            "--vanish",
            "0.1",
            "--idle-timeout",
            "8",
            "--report",
            "0.1",
        ],
        0.0,
    );
    let started = Instant::now();
    let mut told = BTreeMap::new(); // microseconds of the view -> active
    let mut old = BTreeSet::new(); // views that say themselves that a reading is not of their cycle
    while started.elapsed() < Duration::from_secs(seconds) {
        let view = controller.rest.get("/api/v1/routers").expect("the controller answers");
        let routers = view["routers"].as_array().expect("a list");
        let at = micros(view["at"].as_str().expect("a time"));
        if routers.iter().any(|router| router["shift"]["reasons"].to_string().contains("No reading in this cycle")) {
            old.insert(at);
        } else {
            told.insert(at, routers.iter().map(|router| number(&router["load"], "active")).sum::<f64>());
        }
        // Samples are taken at an interval.
        std::thread::sleep(Duration::from_millis(200));
    }
    let series: Vec<Vec<(f64, f64)>> = clients
        .iter_mut()
        .map(|client| {
            client
                .lines_so_far()
                .iter()
                .filter(|line| line["event"] == "active")
                .map(|line| (number(line, "t"), number(line, "active")))
                .collect()
        })
        .collect();
    let mut errors = Vec::new();
    for (at, active) in told {
        let t = at as f64 / 1e6;
        let own: f64 = series.iter().map(|points| at_time(points, t)).sum();
        if own >= pace.enough {
            errors.push(100.0 * (active - own) / own);
            println!("  {own:.0} held by the hosts, {active:.0} read: {:+.2} %", 100.0 * (active - own) / own);
        }
    }
    let mean = errors.iter().map(|error| error.abs()).sum::<f64>() / errors.len() as f64;
    let bias = errors.iter().sum::<f64>() / errors.len() as f64;
    let worst = errors.iter().fold(0.0_f64, |worst, error| worst.max(error.abs()));
    println!("active counts: {} readings, mean error {mean:.2} %, bias {bias:+.2} %, worst {worst:.2} %", errors.len());
    for client in clients {
        println!("  client: {}", client.finish(PATIENCE));
    }
    println!("{} cycles without a reading of every router", old.len());
    assert!(errors.len() >= 20 && old.len() * 10 <= errors.len(), "too few readings");
    let within = errors.iter().filter(|error| error.abs() <= 2.0).count();
    assert!(
        mean <= 1.0 && within * 20 >= errors.len() * 19,
        "mean {mean:.2} %, {within} of {} within 2 %",
        errors.len()
    );
}

/// Linear interpolation.
fn at_time(points: &[(f64, f64)], t: f64) -> f64 {
    let after = points.partition_point(|(at, _)| *at < t);
    match (points.get(after.wrapping_sub(1)), points.get(after)) {
        (Some((t0, v0)), Some((t1, v1))) => v0 + (v1 - v0) * (t - t0) / (t1 - t0),
        (Some((_, value)), None) | (None, Some((_, value))) => *value,
        (None, None) => 0.0,
    }
}
