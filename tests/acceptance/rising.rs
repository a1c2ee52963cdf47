//! (f) The load of r1 rises towards its capacity, under each policy.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{GATEWAY_MAC, HOSTS, PATIENCE, churn, clos, count, loads, long_form, micros, number, ready, serve, sum};
use crate::fabric::{Controller, Fabric, Kind, Spec, wait_for};

/// When the load begins to rise, seconds; until then it is steady.
const RISE_S: f64 = 35.0;

/// What one policy made of a rising load. Times are seconds since the load began.
#[derive(Debug)]
struct Run {
    forecast_s: Option<f64>,
    surge_s: Option<f64>,
    shift_s: Option<f64>,
    crossing_s: Option<f64>,
    refused_hosts: u64,
    refused_rest: u64,
    opened: u64,
    peak_occupied: f64,
    peak_shift: f64,
    /// In force when the rise began, percent.
    early_shift: f64,
}

/// Sizes and rates against those that Open vSwitch bears.
fn scale(kind: Kind) -> f64 {
    match kind {
        Kind::OpenVSwitch | Kind::Emulated => 1.0,
        Kind::Bmv2 => 0.5,
    }
}

/// The predictive policy must shift before the crossing that no shift at all would have.
pub fn shift_comes_before_the_crossing(kind: Kind) {
    let scale = scale(kind);
    let scaled = |connections: f64| (connections * scale) as u64;
    let mut spec = clos(kind);
    spec.set_routers("capacity_connections", 1_000).set_routers("threshold_available", 50);
    // At the peak r1 would hold some 300 connections, closing ones included, and 150 with half of them shifted.
    spec.set_node("r1", "capacity_connections", scaled(200.0)).set_node("r1", "threshold_available", scaled(4.0));
    spec.set_routers("closing_timeout_s", 1).set_routers("half_open_timeout_s", 5);
    spec.set_shares(&[("r1", 40.0), ("r2", 20.0), ("r3", 20.0), ("r4", 20.0)]);
    let fabric = Fabric::start(&spec);
    let _servers = serve(&fabric, 1);
    let still = rising(&fabric, &spec, "static", scale);
    let reactive = (kind != Kind::Emulated || long_form()).then(|| rising(&fabric, &spec, "reactive", scale));
    let predictive = rising(&fabric, &spec, "predictive", scale);
    let crossing = still.crossing_s.expect("without a shift r1 must cross its threshold");
    let shift = predictive.shift_s.expect("the predictive policy must shift");
    let forecast = predictive.forecast_s.expect("the breach must be forecast");
    println!(
        "rising load: forecast at {forecast:.1} s, surge noticed at {:.1} s, first shift at {shift:.1} s, crossing without a shift at {crossing:.1} s: lead time {:.1} s",
        predictive.surge_s.unwrap_or(f64::NAN),
        crossing - shift
    );
    let late = reactive.map(|run| run.refused_rest);
    println!("refused: static {}, reactive {late:?}, predictive {}", still.refused_rest, predictive.refused_rest);
    assert!(crossing - shift > 0.0, "the shift came after the crossing");
    assert_eq!(predictive.early_shift, 0.0, "the shift was there before the load rose");
    assert!(crossing - forecast > 0.0, "the forecast came after the crossing");
    assert_eq!((predictive.refused_rest, predictive.refused_hosts), (0, 0));
    assert!(still.refused_rest > 0 && late != Some(0), "the load must be one that a late answer pays for");
}

fn rising(fabric: &Fabric, spec: &Spec, policy: &str, scale: f64) -> Run {
    // A controller goes on with the shift it finds; each of these begins with none.
    fabric.forget();
    let controller = Controller::start(spec, json!({"policy": policy, "horizon_cycles": 30}));
    ready(&controller);
    fabric.resolve_gateways(GATEWAY_MAC);
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64() + 1.0;
    let (low, high) = (3.5 * scale, 22.5 * scale);
    let profile = format!("0:{low},35:{low},43:{high},57:{high}");
    let clients = churn(fabric, &HOSTS, &profile, &["--duration", "10", "--interval", "3"], begin);
    let mut run = Run {
        forecast_s: None,
        surge_s: None,
        shift_s: None,
        crossing_s: None,
        refused_hosts: 0,
        refused_rest: 0,
        opened: 0,
        peak_occupied: 0.0,
        peak_shift: 0.0,
        early_shift: 0.0,
    };
    let (mut last, mut now) = (0, f64::NEG_INFINITY);
    while now < 58.0 {
        let view = controller.rest.get("/api/v1/routers").expect("the controller answers");
        let at = micros(view["at"].as_str().expect("a time"));
        now = at as f64 / 1e6 - begin;
        if at == last {
            // A view is polled over REST.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        last = at;
        let r1 = view["routers"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|router| router["id"] == "r1")
            .expect("r1 is declared");
        let shift = &r1["shift"];
        if now < RISE_S {
            // What the fabric's first connections of all were taken for is no answer to the rise.
            run.early_shift = number(shift, "shift_percent");
        } else {
            if number(shift, "prediction_severity") > 0.0 {
                run.forecast_s.get_or_insert(now);
            }
            if number(shift, "anomaly_severity") > 0.0 {
                run.surge_s.get_or_insert(now);
            }
            if number(shift, "shift_percent") > run.early_shift {
                run.shift_s.get_or_insert(now);
            }
            if r1["crossed"] == true {
                run.crossing_s.get_or_insert(now);
            }
        }
        run.peak_shift = run.peak_shift.max(number(shift, "shift_percent"));
        run.peak_occupied = run.peak_occupied.max(number(&r1["load"], "occupied"));
        let breach = r1["breach_probability"].as_f64();
        println!(
            "  {policy} {now:5.1} s: r1 active {} occupied {} new/s {} breach {:.2} severity {}+{} shift {} % refused {}",
            r1["load"]["active"],
            r1["load"]["occupied"],
            r1["load"]["new_per_s"],
            breach.unwrap_or(f64::NAN),
            shift["prediction_severity"],
            shift["anomaly_severity"],
            shift["shift_percent"],
            r1["load"]["refused_total"]
        );
    }
    run.refused_rest = sum(&loads(&controller).expect("the controller answers"), "refused_total") as u64;
    for client in clients {
        let done = client.finish(PATIENCE);
        run.refused_hosts += count(&done, "refused");
        run.opened += count(&done, "opened");
    }
    println!("{policy}: {run:?}");
    // The next policy meets the same empty tables.
    wait_for("every slot free", PATIENCE, || {
        let taken = sum(&loads(&controller)?, "occupied");
        if taken == 0.0 { Ok(()) } else { Err(format!("{taken} slots taken")) }
    });
    run
}
