//! `replay` of topologies and traffic, as a user calls it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn foreshadow(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foreshadow"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["replay"])
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn report(arguments: &[&str]) -> Value {
    let output = foreshadow(&[arguments, &["--json", "-"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON and nothing else")
}

/// Without what depends on the machine.
fn comparable(mut report: Value) -> String {
    let fields = report.as_object_mut().expect("an object");
    assert!(fields.remove("wall_s").is_some() && fields.remove("peak_rss_bytes").is_some());
    report.to_string()
}

const DEMO: [&str; 6] =
    ["--topology", "topologies/demo.yaml", "--traffic", "synthetic:flash-crowd", "--duration", "6h"];

#[test]
fn a_report_has_every_field_and_the_same_seed_the_same_bytes() {
    let first = report(&DEMO);
    for field in [
        "policy",
        "seed",
        "refused_connections",
        "broken_connections",
        "established_moved",
        "overload_seconds",
        "lead_time_s",
        "false_shifts",
        "shift_churn",
        "new_connections",
        "wall_s",
        "peak_rss_bytes",
    ] {
        assert!(!first[field].is_null(), "{field}");
    }
    let first = comparable(first);
    assert_eq!(first, comparable(report(&DEMO)));
    assert_ne!(first, comparable(report(&[&DEMO[..], &["--seed", "2"]].concat())));
}

#[test]
fn policies_side_by_side_and_a_page_that_stands_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.html");
    let page_name = page.to_str().expect("a readable path");
    let all = report(&[&DEMO[..], &["--policy", "all", "--html", page_name]].concat());
    let policies = all["policies"].as_array().expect("a list");
    let names: Vec<&str> = policies.iter().filter_map(|policy| policy["policy"].as_str()).collect();
    assert_eq!(names, ["static", "reactive", "predictive", "predictive-no-anomaly", "oracle"]);
    let page = std::fs::read_to_string(&page).expect("written");
    assert!(page.contains("<svg") && page.contains("oracle"));
    assert!(!page.contains("://") && !page.contains("<script"), "nothing is fetched");
    let two = report(&[&DEMO[..], &["--policy", "static", "--compare", "reactive,static"]].concat());
    assert_eq!(two["policies"].as_array().map(Vec::len), Some(2));
    let table = foreshadow(&[&DEMO[..], &["--policy", "reactive"]].concat());
    assert!(String::from_utf8_lossy(&table.stdout).contains("reactive"));
}

/// Small files of every format that a topology or traffic may have; each replays.
#[test]
fn every_format_replays() {
    let folder = Path::new("tests/replay");
    let cases = [
        ("ring.graphml", "series.csv"),
        ("ring.gml", "series.csv"),
        ("ring.graph", "ring.demands"),
        ("ring.xml", "active.csv"),
        ("ring.json", "matrix.csv"),
        ("ring.json", "matrix.hist"),
        ("../../topologies/demo.yaml", "routers.csv"),
        ("../../topologies/torus-3x3.yaml", "many.csv"),
    ];
    for (topology, traffic) in cases {
        let [topology, traffic] =
            [topology, traffic].map(|name| folder.join(name).to_str().expect("readable").to_owned());
        let arguments = ["--topology", &topology, "--traffic", &traffic, "--interval", "60s"];
        let report = report(&arguments);
        assert!(report["new_connections"].as_u64().is_some_and(|new| new > 0), "{arguments:?}");
    }
}

#[test]
fn bad_input_ends_with_two_and_says_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("readable").to_owned()
    };
    let bad_graph = write("bad.graphml", "<graphml><graph><node/></graph></graphml>");
    let bad_csv = write("bad.csv", "t,router,new,mean_duration_s\n0,r1,1,1\n60,r1,x,1\n");
    let bad_yaml = write("bad.yaml", "version: 1\nnodes:\n  - {id: r1, stage: ninth}\n");
    let bad_faults = write("faults.yaml", "faults:\n  - {kind: router, name: r1, at: soon, for: 1}\n");
    let demo = "topologies/demo.yaml";
    let cases: [(&[&str], &str); 9] = [
        (&[], "expected --topology"),
        (&["--topology", demo], "--traffic"),
        (&["--topology", &bad_graph, "--traffic", "synthetic:diurnal"], "bad.graphml:1:"),
        (&["--topology", &bad_yaml, "--traffic", "synthetic:diurnal"], "bad.yaml:3:"),
        (&["--topology", demo, "--traffic", &bad_csv], "bad.csv:3:"),
        (&["--topology", demo, "--traffic", "synthetic:volcano"], "synthetic:ddos"),
        (&["--topology", demo, "--traffic", "synthetic:ddos", "--faults", &bad_faults], "faults.yaml:2:"),
        (&["--topology", demo, "--traffic", "synthetic:ddos", "--fault", "router:r9@0+5"], "names r9"),
        (&["--topology", demo, "--traffic", "nowhere.csv"], "nowhere.csv: the file cannot be read"),
    ];
    for (arguments, expected) in cases {
        let output = foreshadow(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}

/// Files of these endings below a folder, in order of their names.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a readable entry").path()) {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if path.is_dir() {
                open.push(path);
            } else if endings.contains(&ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Public topologies, where they are at hand: below the folder that FORESHADOW_DATA names, or beside the repository.
#[test]
fn public_topologies_and_demands_replay() {
    let data = std::env::var_os("FORESHADOW_DATA").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let data = if data.is_absolute() { data } else { Path::new(env!("CARGO_MANIFEST_DIR")).join(data) };
    let topologies = files(&data, &["graphml", "gml", "graph", "xml", "json", "topology"]);
    if topologies.is_empty() {
        println!("skipped: no topologies below {} (FORESHADOW_DATA)", data.display());
        return;
    }
    let demands = files(&data, &["demands"]);
    let mut replays = 0;
    for topology in &topologies {
        let stem = topology.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_own = |demands: &&PathBuf| {
            let name = demands.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            topology.extension().is_some_and(|ending| ending == "graph") && name.starts_with(&format!("{stem}."))
        };
        let own = demands.iter().filter(is_own).map(|path| path.to_str().expect("a readable name").to_owned());
        for traffic in own.chain(["synthetic:flash-crowd".to_owned()]) {
            let topology = topology.to_str().expect("a readable name");
            let arguments = ["--topology", topology, "--traffic", &traffic, "--duration", "30m", "--scale", "0.01"];
            let report = report(&arguments);
            assert!(report["new_connections"].as_u64().is_some_and(|new| new > 0), "{arguments:?}");
            assert!(report["routers"].as_array().is_some_and(|routers| routers.len() > 1), "{arguments:?}");
            replays += 1;
        }
    }
    let used = replays - topologies.len();
    println!("{} topologies and {used} demands below {} replayed", topologies.len(), data.display());
    assert_eq!(used, demands.len(), "every file of demands belongs to a network");
}
