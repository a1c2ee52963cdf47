//! The main job on real Open vSwitch: eleven switches, real TCP and UDP, the released program, nothing emulated.
//!
//! Every test prints its figures. `FORESHADOW_LONG=1` (`make accept`) runs (d) for ten minutes.

mod ovs;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ovs::{Controller, Fabric, PROGRAMS, Seen, Spec, Traffic, Watch, isolated, wait_for};
use serde_json::{Value, json};

/// What the controller says every gateway's MAC address is.
const GATEWAY_MAC: &str = "02:46:53:00:00:01";
/// For whatever should take a moment.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of the two servers, one behind each outside switch.
const SERVERS: [(&str, &str); 2] = [("w1", "198.51.100.10"), ("w2", "203.0.113.10")];
/// One host on every third-stage switch.
const HOSTS: [&str; 3] = ["h1", "h3", "h5"];

fn clos() -> Spec {
    Spec::load("clos")
}

/// Starts fabric and controller, and waits until every switch confirmed its plan.
fn start(spec: &Spec, cycle: Value) -> (Fabric, Controller) {
    let fabric = Fabric::start(spec);
    let controller = Controller::start(spec, cycle);
    ready(&controller);
    fabric.resolve_gateways(GATEWAY_MAC);
    (fabric, controller)
}

fn ready(controller: &Controller) {
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

fn serve(fabric: &Fabric, ports: u16) -> Vec<Traffic> {
    SERVERS.iter().map(|(id, _)| Traffic::start(fabric, id, &["serve", "--ports", &ports.to_string()])).collect()
}

fn count(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} is no count in {value}"))
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {value}"))
}

fn router(controller: &Controller, id: &str) -> Result<Value, String> {
    Ok(controller.rest.get(&format!("/api/v1/routers/{id}"))?["router"].clone())
}

/// Load of every router, by id.
fn loads(controller: &Controller) -> Result<BTreeMap<String, Value>, String> {
    let answer = controller.rest.get("/api/v1/routers")?;
    let routers = answer["routers"].as_array().ok_or_else(|| answer.to_string())?;
    Ok(routers.iter().map(|router| (router["id"].as_str().unwrap_or("?").to_owned(), router["load"].clone())).collect())
}

fn sum(loads: &BTreeMap<String, Value>, key: &str) -> f64 {
    loads.values().map(|load| number(load, key)).sum()
}

fn long_form() -> bool {
    std::env::var_os("FORESHADOW_LONG").is_some()
}

/// (a) 200 connections, 50 of them idle for 90 seconds, through a shift of 50 %.
#[test]
fn ovs_a_established_connections_survive_a_shift() {
    isolated(&PROGRAMS, || {
        let mut spec = clos();
        spec.set_routers("capacity_connections", 5_000).set_routers("threshold_available", 100);
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
                Traffic::start(&fabric, host, &["hold", "--to", &target, "--rate", "40"])
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
        let opened = opener.ask("go 800 150 7001", PATIENCE);
        assert_eq!((count(&opened, "opened"), count(&opened, "resets")), (800, 0), "{opened}");
        let new = watch.seen(7001);
        println!(
            "new connections after the shift: {:?}, r1 {:.1} % (12.5 asked for)",
            new.by_router,
            new.percent("r1")
        );
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
    });
}

/// (b) What was asked for, against what came out of the routers.
#[test]
fn ovs_b_realised_split_follows_the_shares() {
    isolated(&PROGRAMS, || {
        let splits: [&[(&str, f64)]; 4] = [
            &[("r1", 90.0), ("r2", 10.0)],
            &[("r1", 65.0), ("r2", 35.0)],
            &[("r1", 50.0), ("r2", 50.0)],
            &[("r1", 5.0), ("r2", 100.0), ("r3", 100.0)],
        ];
        let mut spec = clos();
        spec.set_routers("capacity_connections", 100_000).set_routers("threshold_available", 100);
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
            let udp = blast(&fabric, true, 40_000, 2_000, port, round);
            judge(&mut failures, "UDP flows", split, &settled(&mut watch, port, 40_000), udp, 40_000, 1.0);
            let tcp = blast(&fabric, false, 5_000, 240, port + 1, round);
            judge(&mut failures, "TCP connections", split, &settled(&mut watch, port + 1, 5_000), tcp, 5_000, 2.5);
        }
        assert_eq!(failures, Vec::<String>::new());
    });
}

/// Waits until the switches hold the slots of `split`: a restarted controller starts from those it found.
fn shares_installed(controller: &Controller, split: &[(&str, f64)]) {
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
        let done = client.until("go", Duration::from_secs(120)).pop().expect("until() gives at least one line");
        seconds = seconds.max(number(&done, "seconds"));
        if count(&done, "refused") + count(&done, "resets") + count(&done, "stalls") > 0 {
            println!("  client: {done}");
        }
    }
    seconds
}

/// The captures, once nothing more comes.
fn settled(watch: &mut Watch, port: u16, expected: u64) -> Seen {
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

/// (c) Refusals beyond capacity, exactly; slots come back on FIN, RST and idleness.
#[test]
fn ovs_c_capacity_refuses_exactly_and_slots_return() {
    isolated(&PROGRAMS, || {
        let mut spec = clos();
        spec.set_routers("capacity_connections", 50).set_routers("threshold_available", 5);
        spec.set_routers("idle_timeout_s", 15)
            .set_routers("closing_timeout_s", 1)
            .set_routers("half_open_timeout_s", 5);
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
                .map(|holder| {
                    holder.until("open", Duration::from_secs(90)).pop().expect("until() gives at least one line")
                })
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
    });
}

fn occupied_becomes(controller: &Controller, wanted: u64, how: &str) {
    let started = Instant::now();
    wait_for(&format!("{wanted} slots taken after {how}"), PATIENCE, || {
        let load = &router(controller, "r1")?["load"];
        if number(load, "occupied") as u64 == wanted { Ok(()) } else { Err(load.to_string()) }
    });
    println!("{how}: {wanted} slots taken after {:.1} s", started.elapsed().as_secs_f64());
}

/// (d) Active connections as the controller reads them, against what the hosts themselves hold.
#[test]
fn ovs_d_active_counts_match_the_hosts_own() {
    isolated(&PROGRAMS, || {
        let mut spec = clos();
        spec.set_routers("capacity_connections", 2_000).set_routers("threshold_available", 100);
        spec.set_routers("idle_timeout_s", 8).set_routers("closing_timeout_s", 1).set_routers("half_open_timeout_s", 5);
        let (fabric, controller) = start(&spec, json!({"policy": "static"}));
        let _servers = serve(&fabric, 1);
        let seconds = if long_form() { 600 } else { 50 };
        let mut clients = churn(
            &fabric,
            &HOSTS,
            &format!("0:60,10:20,{seconds}:20"),
            &["--duration", "12", "--abort", "0.3", "--vanish", "0.1", "--idle-timeout", "8", "--report", "0.1"],
            0.0,
        );
        let started = Instant::now();
        let mut told = BTreeMap::new(); // microseconds of the view -> active
        while started.elapsed() < Duration::from_secs(seconds) {
            let view = controller.rest.get("/api/v1/routers").expect("the controller answers");
            let active: f64 = view["routers"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|router| number(&router["load"], "active"))
                .sum();
            told.insert(micros(view["at"].as_str().expect("a time")), active);
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
            if own >= 300.0 {
                errors.push(100.0 * (active - own) / own);
                println!("  {own:.0} held by the hosts, {active:.0} read: {:+.2} %", 100.0 * (active - own) / own);
            }
        }
        let mean = errors.iter().map(|error| error.abs()).sum::<f64>() / errors.len() as f64;
        let bias = errors.iter().sum::<f64>() / errors.len() as f64;
        let worst = errors.iter().fold(0.0_f64, |worst, error| worst.max(error.abs()));
        println!(
            "active counts: {} readings, mean error {mean:.2} %, bias {bias:+.2} %, worst {worst:.2} %",
            errors.len()
        );
        for client in clients {
            println!("  client: {}", client.finish(PATIENCE));
        }
        assert!(errors.len() >= 20, "too few readings");
        let within = errors.iter().filter(|error| error.abs() <= 2.0).count();
        assert!(
            mean <= 1.0 && within * 20 >= errors.len() * 19,
            "mean {mean:.2} %, {within} of {} within 2 %",
            errors.len()
        );
    });
}

/// Microseconds since 1970 of an RFC 3339 time.
fn micros(text: &str) -> u64 {
    let at: jiff::Timestamp = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    u64::try_from(at.as_microsecond()).expect("after 1970")
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

/// Poisson load from each host by the same profile, with seeds of their own.
fn churn(fabric: &Fabric, hosts: &[&str], profile: &str, more: &[&str], start: f64) -> Vec<Traffic> {
    let client = |(number, host): (usize, &&str)| {
        let target = format!("{}:7000", SERVERS[number % 2].1);
        let (seed, start) = ((number + 1).to_string(), format!("{start:.3}"));
        let mut arguments = vec!["churn", "--to", &target, "--rate", profile, "--seed", &seed, "--start", &start];
        arguments.extend(more);
        Traffic::start(fabric, host, &arguments)
    };
    hosts.iter().enumerate().map(client).collect()
}

/// (e) The controller dies and comes back; the switches notice nothing.
#[test]
fn ovs_e_controller_restart_changes_nothing() {
    isolated(&PROGRAMS, || {
        let mut spec = clos();
        spec.set_routers("capacity_connections", 1_000).set_routers("threshold_available", 100);
        let (fabric, mut controller) = start(&spec, json!({}));
        let mut watch = Watch::start(&fabric);
        let _servers = serve(&fabric, 1);
        let mut holder =
            Traffic::start(&fabric, "h1", &["hold", "--to", "198.51.100.10:7000", "--rate", "50", "--interval", "0.2"]);
        let opened = holder.ask("open 100 20", PATIENCE);
        assert_eq!(count(&opened, "opened"), 100, "{opened}");
        let dump = |fabric: &Fabric| -> BTreeMap<String, (Vec<String>, Vec<String>)> {
            fabric
                .spec
                .nodes()
                .into_iter()
                .map(|node| (node.id.clone(), (fabric.flows(&node.id), fabric.groups(&node.id))))
                .collect()
        };
        let before = dump(&fabric);
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
        let after = dump(&fabric);
        let mut kept = 0;
        for (node, (flows, groups)) in &before {
            let (flows_after, groups_after) = &after[node];
            let lost: Vec<&String> = flows.iter().filter(|flow| flows_after.binary_search(flow).is_err()).collect();
            assert!(lost.is_empty(), "{node} lost {lost:#?}");
            assert_eq!(groups, groups_after, "{node}");
            kept += flows.len();
        }
        let checked = holder.ask("check", PATIENCE);
        for broken in ["resets", "stalls", "other"] {
            assert_eq!(count(&checked, broken), 0, "{checked}");
        }
        let seen = watch.seen(7000);
        println!(
            "restart: {unchanged} entries found right, 0 sent, {kept} flows as before; {} connections, {} resets, {} moved, longest exchange {} ms",
            seen.total(),
            seen.resets,
            seen.moved.len(),
            checked["longest_ms"]
        );
        assert_eq!((seen.total(), seen.resets, seen.moved.len()), (150, 0, 0));
    });
}

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

/// (f) The load of r1 rises towards its capacity, under each policy.
#[test]
fn ovs_f_shift_comes_before_the_crossing() {
    isolated(&PROGRAMS, || {
        let mut spec = clos();
        spec.set_routers("capacity_connections", 1_000).set_routers("threshold_available", 50);
        // At the peak r1 would hold some 300 connections, closing ones included, and 150 with half of them shifted.
        spec.set_node("r1", "capacity_connections", 200).set_node("r1", "threshold_available", 4);
        spec.set_routers("closing_timeout_s", 1).set_routers("half_open_timeout_s", 5);
        spec.set_shares(&[("r1", 40.0), ("r2", 20.0), ("r3", 20.0), ("r4", 20.0)]);
        let fabric = Fabric::start(&spec);
        let _servers = serve(&fabric, 1);
        let still = rising(&fabric, &spec, "static");
        let reactive = rising(&fabric, &spec, "reactive");
        let predictive = rising(&fabric, &spec, "predictive");
        let crossing = still.crossing_s.expect("without a shift r1 must cross its threshold");
        let shift = predictive.shift_s.expect("the predictive policy must shift");
        let forecast = predictive.forecast_s.expect("the breach must be forecast");
        println!(
            "rising load: forecast at {forecast:.1} s, surge noticed at {:.1} s, first shift at {shift:.1} s, crossing without a shift at {crossing:.1} s: lead time {:.1} s",
            predictive.surge_s.unwrap_or(f64::NAN),
            crossing - shift
        );
        println!(
            "refused: static {}, reactive {}, predictive {}",
            still.refused_rest, reactive.refused_rest, predictive.refused_rest
        );
        assert!(crossing - shift > 0.0, "the shift came after the crossing");
        assert_eq!(predictive.early_shift, 0.0, "the shift was there before the load rose");
        assert!(crossing - forecast > 0.0, "the forecast came after the crossing");
        assert_eq!((predictive.refused_rest, predictive.refused_hosts), (0, 0));
        assert!(
            still.refused_rest > 0 && reactive.refused_rest > 0,
            "the load must be one that a late answer pays for"
        );
    });
}

fn rising(fabric: &Fabric, spec: &Spec, policy: &str) -> Run {
    // A controller goes on with the shift it finds; each of these begins with none.
    for access in ["t1", "t2", "t3"] {
        fabric.ofctl(access, "del-flows", &[]);
        fabric.ofctl(access, "del-groups", &[]);
    }
    let controller = Controller::start(spec, json!({"policy": policy, "horizon_cycles": 30}));
    ready(&controller);
    fabric.resolve_gateways(GATEWAY_MAC);
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64() + 1.0;
    let profile = "0:3.5,35:3.5,43:22.5,57:22.5";
    let clients = churn(fabric, &HOSTS, profile, &["--duration", "10", "--interval", "3"], begin);
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
    drop(controller);
    fabric.flush_pins();
    run
}
