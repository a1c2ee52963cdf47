use std::path::Path;

use super::faults::{Fault, FaultKind, parse_flag};
use super::*;
use crate::config::{LoopSettings, PolicyKind, Topology, import, parse_topology};

const DEMO: &str = include_str!("../../topologies/demo.yaml");

fn demo() -> Fabric {
    Fabric::new(&parse_topology(Path::new("demo.yaml"), DEMO).expect("good"), None).expect("a fabric")
}

fn options(cycle_s: u64) -> Options {
    let settings = LoopSettings { cycle_ms: cycle_s * 1_000, horizon_cycles: 10, ..LoopSettings::default() };
    Options {
        seed: 7,
        settings,
        shape: Shape::exponential(),
        capacity: Capacity::Declared,
        threshold: Threshold::Declared,
        faults: Vec::new(),
    }
}

fn synthetic(kind: Kind, fabric: &Fabric, hours: f64) -> (Traffic, Vec<Fault>) {
    let options = SyntheticOptions {
        kind,
        seed: 7,
        duration_s: hours * 3_600.0,
        interval_s: 60.0,
        mean_duration_s: 120.0,
        connections: None,
    };
    synthesise(&options, fabric).expect("a day")
}

fn run(replay: &Replay, policy: PolicyKind) -> Report {
    replay.run(policy, &mut |_, _| {})
}

fn series_options() -> SeriesOptions {
    SeriesOptions { scale: 1.0, flow_bytes: 1e6, ..SeriesOptions::default() }
}

fn read(text: &str, options: &SeriesOptions, fabric: &Fabric) -> Result<Traffic, String> {
    Source::read(Path::new("t.csv"), text.as_bytes(), options, fabric).map_err(|problem| problem.to_string())
}

#[test]
fn static_refuses_what_nothing_shifted_refuses_and_shifts_nothing() {
    let fabric = demo();
    let (traffic, _) = synthetic(Kind::FlashCrowd, &fabric, 8.0);
    let replay = Replay::new(fabric, traffic, options(60)).expect("a replay");
    let report = run(&replay, PolicyKind::Static);
    assert!(report.refused_connections > 0, "the crowd is too small to try anything");
    assert_eq!(report.refused_connections, report.refused_unshifted);
    assert_eq!((report.shifts, report.shifted_connections, report.shift_churn), (0, 0, 0.0));
    assert_eq!(report.new_connections, replay.traffic.connections());
    assert_eq!(report.lead_time_s, -1.0);
    assert!(!report.breaches.is_empty());
}

#[test]
fn a_crowd_is_refused_less_the_more_is_known() {
    let fabric = demo();
    let (traffic, _) = synthetic(Kind::FlashCrowd, &fabric, 8.0);
    let replay = Replay::new(fabric, traffic, options(30)).expect("a replay");
    let refused = [PolicyKind::Static, PolicyKind::Reactive, PolicyKind::Predictive]
        .map(|policy| run(&replay, policy).refused_connections);
    assert!(refused[0] > 100 && refused[1] < refused[0] / 2 && refused[2] <= refused[1], "{refused:?}");
}

#[test]
fn same_seed_same_bytes_other_seed_others() {
    let text = |seed: u64, policy: PolicyKind| {
        let fabric = demo();
        let (traffic, _) = synthetic(Kind::Ddos, &fabric, 6.0);
        let replay = Replay::new(fabric, traffic, Options { seed, ..options(60) }).expect("a replay");
        let report = run(&replay, policy);
        let page = html::page("day", &[], std::slice::from_ref(&report));
        (serde_json::to_string(&report).expect("serialisable"), page)
    };
    for policy in [PolicyKind::Predictive, PolicyKind::PredictiveNoAnomaly, PolicyKind::Oracle] {
        let first = text(3, policy);
        assert_eq!(first, text(3, policy), "{policy:?}");
        assert_ne!(first.0, text(4, policy).0, "{policy:?}");
        assert!(!first.0.contains("null"));
        assert!(!first.1.contains("http://") && !first.1.contains("https://") && first.1.contains("<svg"));
    }
}

#[test]
fn many_routers_come_out_the_same_on_any_number_of_threads() {
    // More routers than one thread assesses: the parts must not matter. The first of them is alone in its own demand.
    let mut topology = parse_topology(Path::new("demo.yaml"), DEMO).expect("good");
    topology.links.clear();
    topology.services.clear();
    topology.hosts.clear();
    let router = topology.routers().next().expect("a router").clone();
    topology.nodes = (1..=200)
        .map(|number| {
            let mut node = router.clone();
            node.id = format!("r{number}").as_str().into();
            node.index = crate::types::NodeIndex(number);
            node
        })
        .collect();
    let alone = Topology { nodes: topology.nodes[..3].to_vec(), ..topology.clone() };
    let reports = [topology, alone].map(|topology| {
        let fabric = Fabric::new(&topology, None).expect("a fabric");
        let (traffic, _) = synthetic(Kind::FlashCrowd, &fabric, 2.0);
        run(&Replay::new(fabric, traffic, options(60)).expect("a replay"), PolicyKind::Predictive)
    });
    for place in 0..3 {
        let text = |report: &Report| serde_json::to_string(&report.routers[place]).expect("serialisable");
        assert_eq!(text(&reports[0]), text(&reports[1]));
    }
}

#[test]
fn a_dead_router_costs_what_has_no_copy() {
    let day = |faults: &[&str]| {
        let fabric = demo();
        let (traffic, _) = synthetic(Kind::Diurnal, &fabric, 3.0);
        let faults = faults.iter().map(|text| parse_flag(text).expect("a fault")).collect();
        let replay = Replay::new(fabric, traffic, Options { faults, ..options(60) }).expect("a replay");
        run(&replay, PolicyKind::Predictive)
    };
    let well = day(&[]);
    assert_eq!((well.broken_connections, well.refused_connections), (0, 0));
    let dead = day(&["router:r1@3600+1200"]);
    assert_eq!(dead.broken_connections, 0, "its shadow has every copy");
    assert_eq!(dead.unreachable_connections, 0);
    assert!(dead.shifted_connections > 500, "its connections went to others: {}", dead.shifted_connections);
    let lossy = day(&["mirror:r1@3000+2000", "router:r1@3600+1200"]);
    assert!(lossy.broken_connections > 20, "half of the copies were lost: {}", lossy.broken_connections);
    let all = day(&["router:r1@3600+600", "router:r2@3600+600", "router:r3@3600+600", "router:r4@3600+600"]);
    assert!(all.broken_connections > 300 && all.unreachable_connections > 500, "{all:?}");
    let cut = day(&["switch:s1@3600+600"]);
    assert_eq!(cut.broken_connections, 0, "the other second-stage switch carries everything");
    let both = day(&["switch:s1@3600+600", "switch:s2@3600+600"]);
    assert!(both.unreachable_connections > 500, "no router is reached: {}", both.unreachable_connections);
}

#[test]
fn without_a_controller_or_readings_nothing_is_shifted_in_time() {
    let day = |faults: Vec<Fault>| {
        let fabric = demo();
        let (traffic, _) = synthetic(Kind::FlashCrowd, &fabric, 8.0);
        let replay = Replay::new(fabric, traffic, Options { faults, ..options(30) }).expect("a replay");
        run(&replay, PolicyKind::Predictive)
    };
    let whole = |kind| vec![Fault { kind, name: None, at_s: 600.0, for_s: 1e6, loss: 0.0 }];
    let well = day(Vec::new());
    let blind = day(whole(FaultKind::Telemetry));
    let gone = day(whole(FaultKind::Controller));
    assert!(well.shifts > 0 && blind.shifts == 0 && gone.shifts == 0);
    assert_eq!(blind.refused_connections, blind.refused_unshifted);
    assert_eq!(gone.refused_connections, gone.refused_unshifted);
    assert!(well.refused_connections < gone.refused_connections / 2);
}

#[test]
fn rolling_maintenance_takes_every_router_out_once() {
    let fabric = demo();
    let (traffic, faults) = synthetic(Kind::Maintenance, &fabric, 12.0);
    assert_eq!(faults.len(), 4);
    let replay = Replay::new(fabric, traffic, Options { faults, ..options(60) }).expect("a replay");
    let report = run(&replay, PolicyKind::Predictive);
    assert_eq!(report.broken_connections, 0);
    assert!(report.shifted_connections > 1_000);
}

#[test]
fn traffic_of_routers_is_taken_as_it_stands() {
    let fabric = demo();
    let text = "mean_duration_s,t,router,new\n30,0,r1,5\n40,60,r1,7\n10,60,r3,2\n20,120,r1,0\n";
    let traffic = read(text, &series_options(), &fabric).expect("good");
    assert_eq!((traffic.interval_s, traffic.rows(), traffic.connections()), (60.0, 3, 14));
    assert_eq!(traffic.demand[0][1], Demand { new: 7, mean_duration_s: 40.0 });
    assert_eq!(traffic.demand[2][1].new, 2);
}

#[test]
fn durations_beside_new_connections_and_series_a_row() {
    let fabric = demo();
    let text = "t,new,active,mean_duration_s\n0,4,1,0\n60,6,2,30\n120,8,3,0\n";
    let traffic = read(text, &series_options(), &fabric).expect("good");
    assert_eq!(
        traffic.demand[0],
        [(4, 30.0), (6, 30.0), (8, 30.0)].map(|(new, mean_duration_s)| Demand { new, mean_duration_s })
    );
    let new = SeriesOptions { interval_s: Some(60.0), subject: Some(Subject::New), ..series_options() };
    let wide = read("\"V1\",\"V2\",\"V3\"\n\"H1\",\"5\",\"7\"\n\"H2\",\"9\",\n", &new, &fabric).expect("good");
    assert_eq!((wide.rows(), wide.connections()), (2, 21));
    assert_eq!((wide.demand[0][1].new, wide.demand[1][0].new, wide.demand[1][1].new), (7, 9, 0));
    let problem = read("V1,V2,V3\nH1,,7\n", &new, &fabric).expect_err("a hole");
    assert!(problem.starts_with("t.csv:2:1: '' for a value"), "{problem}");
    let problem = read("V1,V2\nH1,7\n", &series_options(), &fabric).expect_err("no interval");
    assert!(problem.contains("--interval"), "{problem}");
}

#[test]
fn an_active_count_becomes_the_connections_that_make_it() {
    let fabric = demo();
    let rows: Vec<String> =
        (0..400).map(|row| format!("{},{}", row * 60, 400 + (100.0 * (row as f64 / 40.0).sin()) as i32)).collect();
    let options = SeriesOptions { mean_duration_s: Some(60.0), ..series_options() };
    let traffic = read(&format!("t,active\n{}\n", rows.join("\n")), &options, &fabric).expect("good");
    let all =
        Options { capacity: Capacity::Percentile(95.0), threshold: Threshold::Percent(10.0), ..self::options(60) };
    let replay = Replay::new(fabric, traffic, all).expect("a replay");
    let counts = &replay.unshifted.active[0];
    for (row, count) in counts.iter().enumerate().skip(5) {
        let wanted = 400.0 + 100.0 * (row as f32 / 40.0).sin();
        assert!((count - wanted).abs() < 90.0, "row {row}: {count} instead of {wanted}");
    }
    assert!(replay.unshifted.lag1(0) > 0.7, "{}", replay.unshifted.lag1(0));
    let (capacity, threshold) = replay.fabric.settings(0);
    assert!((480..540).contains(&capacity) && threshold == capacity.div_ceil(10), "{capacity} {threshold}");
}

#[test]
fn matrices_by_name_by_place_and_by_demand() {
    let node_link = r#"{"directed": true, "nodes": [{"id": "a"}, {"id": "b"}, {"id": "c"}],
        "links": [{"source": "a", "target": "b"}, {"source": "b", "target": "c"}]}"#;
    let options = import::Options::default();
    let imported = import::import(Path::new("g.json"), node_link.as_bytes(), None, &options).expect("good");
    let fabric = Fabric::new(&imported.topology, None).expect("a fabric");
    assert_eq!((fabric.rule, fabric.routers()), (StageRule::BestConnected, 3));
    let by_name = read("t,a>b,b>c\n0,8e6,0\n10,0,16e6\n", &series_options(), &fabric).expect("good");
    assert_eq!((by_name.demand[0][0].new, by_name.demand[1][1].new, by_name.interval_s), (10, 20, 10.0));
    let timed = SeriesOptions { interval_s: Some(10.0), ..series_options() };
    let by_place = read("0 8e6 0 0 0 0 0 0 0\n0 0 0 0 0 16e6 0 0 0\n", &timed, &fabric).expect("good");
    assert_eq!(by_place.demand, by_name.demand);
    let demands = read("DEMANDS 1\nlabel src dest bw\nd 2 0 8000\n", &timed, &fabric).expect("good");
    assert_eq!((demands.demand[2][0].new, demands.rows()), (10, 360));
}

#[test]
fn bad_traffic_is_told_by_line() {
    let fabric = demo();
    let timed = SeriesOptions { interval_s: Some(10.0), ..series_options() };
    let cases: [(&str, &str); 14] = [
        ("", "t.csv: an empty file"),
        ("hello\n", "t.csv:1:1: the line 'hello'"),
        ("t,router\n0,r1\n", "t.csv:1:1: the columns t,router"),
        ("t,router,new,mean_duration_s\n0,r9,1,1\n", "t.csv:2:1: the router 'r9'"),
        ("t,router,new,mean_duration_s\n0,r1,1,1\n0,r1,2,1\n", "t.csv:3:1: a second row"),
        ("t,router,new,mean_duration_s\n0,r1,-1,1\n", "t.csv:2:1: '-1' for new connections"),
        ("t,router,new,mean_duration_s\n0,r1,1,0\n", "t.csv:2:1: connections of no duration"),
        ("t,router,new,mean_duration_s\n0,r1,1\n", "t.csv:2:1: 3 fields"),
        ("t,router,new,mean_duration_s\n0,r1,1,1\n10,r1,1,1\n25,r1,1,1\n", "t.csv:4:1: the time 25"),
        ("t,value\n0,1\n10,many\n", "t.csv:3:1: 'many' for a value"),
        ("t,value\n10,1\n0,2\n", "t.csv:3:1: the time 0"),
        ("t,r1>nowhere\n0,5\n", "t.csv:1:1: the column 'r1>nowhere'"),
        ("1 2 3\n", "t.csv:1:1: 3 numbers"),
        ("DEMANDS 2\nlabel src dest bw\nd 0 1 5\n", "t.csv: 1 demands"),
    ];
    for (text, expected) in cases {
        let problem = read(text, &timed, &fabric).expect_err(text);
        assert!(problem.starts_with(expected) && problem.contains("; expected "), "{problem}");
    }
    let wrong_faults = faults::parse(Path::new("f.yaml"), "faults:\n  - {kind: volcano, at: 0, for: 1}\n");
    let problem = wrong_faults.expect_err("no such fault").to_string();
    assert!(problem.starts_with("f.yaml:2:"), "{problem}");
}
