//! Files as a user would hand them in: good ones are read whole, bad ones are told what is wrong with them.

use std::path::{Path, PathBuf};

use foreshadow::config::{Checked, LinkKind, Stage, check, load_agent, load_topology, parse_topology, schema};

/// With this variable set, the expected files are written instead of compared.
const BLESS: &str = "FORESHADOW_BLESS";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join(folder))
        .expect("the folder is part of the repository")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn compare(expected: &Path, found: &str) -> Result<(), String> {
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(expected, found).expect("a writable repository");
        return Ok(());
    }
    let wanted = std::fs::read_to_string(expected).unwrap_or_default();
    if wanted == found {
        return Ok(());
    }
    Err(format!("{}\n--- expected\n{wanted}--- found\n{found}", expected.display()))
}

#[test]
fn clos_is_read_whole() {
    let topology =
        load_topology(&root().join("topologies/clos.yaml")).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(topology.nodes.len(), 11);
    assert_eq!(topology.routers().count(), 4);
    assert_eq!(topology.links.iter().filter(|link| link.kind == LinkKind::Mirror).count(), 6);
    assert_eq!(topology.hosts.len(), 8);
    let shares = &topology.services[0].shares;
    assert!(shares.len() == 4 && shares.iter().all(|(_, share)| *share == 0.25), "{shares:?}");
    for (at, node) in topology.nodes.iter().enumerate() {
        assert_eq!(usize::from(node.index.0), at + 1);
        assert_eq!(node.router.is_some(), node.stage == Stage::Router);
    }
}

#[test]
fn topologies_in_the_repository_are_good_and_survive_being_written() {
    for path in yaml_files("topologies") {
        match check(&path) {
            Ok(Checked::Topology(topology)) => {
                let written = topology.to_yaml();
                let again =
                    parse_topology(&path, &written).unwrap_or_else(|problems| panic!("{problems:#?}\n{written}"));
                assert_eq!(topology, again, "{written}");
            }
            Ok(Checked::Controller(_)) => {}
            Err(problems) => panic!("{problems:#?}"),
        }
    }
}

/// Every `bad/*.yaml` has its report beside it, paths relative to the folder.
#[test]
fn bad_files_are_told_what_is_wrong() {
    let files = yaml_files("tests/config/bad");
    assert!(files.len() >= 24, "only {} bad files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let problems = match check(&path) {
            Ok(_) => panic!("{} was found good", path.display()),
            Err(problems) => problems,
        };
        assert!(!problems.is_empty(), "{}", path.display());
        let folder = format!("{}/", root().join("tests/config/bad").display());
        let report: String = problems.iter().map(|problem| format!("{problem}\n").replace(&folder, "")).collect();
        assert!(problems.iter().all(|problem| !problem.what.is_empty() && !problem.expected.is_empty()), "{report}");
        wrong.extend(compare(&path.with_extension("txt"), &report).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_missing_file_is_a_problem() {
    let problems = check(Path::new("tests/config/there-is-no-such-file.yaml")).expect_err("no file");
    assert_eq!(problems.len(), 1);
    let report = problems[0].to_string();
    assert!(report.starts_with("tests/config/there-is-no-such-file.yaml: the file cannot be read: "), "{report}");
    assert!(report.ends_with("; expected a readable YAML file"), "{report}");
}

#[test]
fn too_many_nodes_are_a_problem() {
    let mut text = String::from("version: 1\nnodes:\n");
    for at in 0..=foreshadow::config::NODES_MAX {
        text.push_str(&format!("- {{id: n{at}, stage: third, dpid: {}}}\n", at + 1));
    }
    let problems = parse_topology(Path::new("many.yaml"), &text).expect_err("too many");
    let report: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(report, ["many.yaml:2:1: 65536 nodes; expected at most 65535 nodes"]);
}

#[test]
fn a_flood_of_problems_is_cut() {
    let mut text = String::from("nodes:\n");
    for at in 0..1_000 {
        text.push_str(&format!("- {{id: n{at}, stage: fourth, dpid: {}}}\n", at + 1));
    }
    let problems = parse_topology(Path::new("many.yaml"), &text).expect_err("bad stages");
    assert_eq!(problems.len(), 201);
    assert_eq!(problems[200].what, "801 more problems are not shown");
}

/// docs/FORMATS.md ends with the reference that the schema gives.
#[test]
fn the_document_has_every_key() {
    let path = root().join("docs/FORMATS.md");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let marker = "<!-- reference: written from src/config/schema.rs -->\n";
    let (head, _) = text.split_once(marker).unwrap_or((&text, ""));
    compare(&path, &format!("{head}{marker}{}", schema::reference())).unwrap_or_else(|error| panic!("{error}"));
}

/// Every key of the schema is taken by the readers, and a file that uses all of them is good.
#[test]
fn every_key_is_accepted() {
    let path = root().join("tests/config/every-key.yaml");
    let text = std::fs::read_to_string(&path).expect("the file is part of the repository");
    for section in [schema::TOPOLOGY, schema::NODE, schema::LINK, schema::SERVICE, schema::HOST] {
        for key in section.keys {
            assert!(
                text.contains(&format!("{}:", key.name)),
                "{} misses '{}' of {}",
                path.display(),
                key.name,
                section.name
            );
        }
    }
    load_topology(&path).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let path = root().join("tests/config/every-controller-key.yaml");
    let text = std::fs::read_to_string(&path).expect("the file is part of the repository");
    for section in [schema::CONTROLLER, schema::P4RUNTIME, schema::LOOP, schema::FAILOVER] {
        for key in section.keys {
            assert!(
                text.contains(&format!("{}:", key.name)),
                "{} misses '{}' of {}",
                path.display(),
                key.name,
                section.name
            );
        }
    }
    let loaded = match check(&path) {
        Ok(Checked::Controller(loaded)) => loaded,
        other => panic!("{other:#?}"),
    };
    // What the settings hold is what the schema lists, no more and no less.
    let value = serde_json::to_value(&loaded.config).expect("settings are plain data");
    for (value, section) in [
        (&value, schema::CONTROLLER),
        (&value["p4runtime"], schema::P4RUNTIME),
        (&value["loop"], schema::LOOP),
        (&value["loop"]["failover"], schema::FAILOVER),
    ] {
        let mut found: Vec<&str> = value.as_object().expect("a map").keys().map(String::as_str).collect();
        let mut listed: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
        found.sort_unstable();
        listed.sort_unstable();
        assert_eq!(found, listed, "{}", section.path);
    }
}

/// Bounds of a numeric key as its range is written: "10 to 600,000".
fn bounds(range: &str) -> Option<(f64, f64)> {
    let (low, high) = range.split_once(" to ")?;
    let number = |text: &str| text.replace(',', "").replace("10^13", "1e13").parse::<f64>().ok();
    Some((number(low)?, number(high)?))
}

/// Ranges and defaults are words in the schema and numbers in the readers: the two must not drift apart.
#[test]
fn ranges_and_defaults_are_as_documented() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::copy(root().join("tests/config/every-key.yaml"), folder.path().join("every-key.yaml")).expect("copied");
    let path = folder.path().join("controller.yaml");
    let good = |text: &str| {
        std::fs::write(&path, text).expect("written");
        check(&path).is_ok()
    };
    let defaults = serde_json::to_value(foreshadow::config::LoopSettings::default()).expect("plain data");
    let mut checked = 0;
    let of_loop = schema::LOOP.keys.iter().map(|key| (key, &defaults[key.name], ("", "")));
    let of_failover = schema::FAILOVER.keys.iter();
    let of_failover = of_failover.map(|key| (key, &defaults["failover"][key.name], ("failover: {", "}")));
    for (key, default, (open, close)) in of_loop.chain(of_failover) {
        match default {
            serde_json::Value::String(text) => assert_eq!(text, key.default, "{}", key.name),
            value => assert_eq!(value.as_f64(), key.default.parse().ok(), "{}", key.name),
        }
        let Some((low, high)) = bounds(key.range) else { continue };
        checked += 1;
        let step = if low.fract() == 0.0 { 1.0 } else { 0.001 };
        for (value, fits) in [(low, true), (high, true), (low - step, false), (high + step, false)] {
            let text = format!("topology: every-key.yaml\nloop: {{{open}{}: {value}{close}}}\n", key.name);
            assert_eq!(good(&text), fits, "{text} with range {}", key.range);
        }
    }
    for (key, entry) in [
        (schema::NODE.key("capacity_connections"), "capacity_connections: 1000"),
        (schema::NODE.key("idle_timeout_s"), "idle_timeout_s: 60"),
        (schema::NODE.key("closing_timeout_s"), "closing_timeout_s: 2"),
        (schema::NODE.key("half_open_timeout_s"), "half_open_timeout_s: 10"),
        (schema::LINK.key("latency_us"), "latency_us: 10"),
        (schema::LINK.key("capacity_bps"), "capacity_bps: 100000000"),
    ] {
        let key = key.expect("a key of the schema");
        let (low, high) = bounds(key.range).unwrap_or_else(|| panic!("{}: {}", key.name, key.range));
        let file = std::fs::read_to_string(root().join("tests/config/every-key.yaml")).expect("part of the repository");
        for (value, fits) in [(low, true), (high, true), (low - 1.0, false), (high + 1.0, false)] {
            let text = file.replacen(entry, &format!("{}: {value}", key.name), 1);
            assert_ne!(text, file);
            assert_eq!(parse_topology(&path, &text).is_ok(), fits, "{} {value}", key.name);
        }
        checked += 1;
    }
    assert!(checked >= 13, "{checked}");
}

/// Every key of an agent's file but `key_file`, which is given instead of `key`.
#[test]
fn every_agent_key_is_accepted() {
    let path = root().join("tests/config/every-agent-key.yaml");
    let text = std::fs::read_to_string(&path).expect("the file is part of the repository");
    for key in [schema::AGENT, schema::AGENT_PEER].iter().flat_map(|section| section.keys) {
        assert!(key.name == "key_file" || text.contains(&format!("{}:", key.name)), "the file misses '{}'", key.name);
    }
    let config = load_agent(&path).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!((config.router.0, config.peers.len(), config.ignore.len()), (1, 2, 2));
    assert_eq!(config.control, root().join("tests/config/agent.sock"));
}

#[test]
fn bad_agent_files_are_told_line_by_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("agent.yaml");
    let text = "router: 0\nrole: all\nkey: 12zz\nignore: [10.0.0.0/33]\nsilence_s: 0\npeers:\n- {router: 2}\n\
                - {router: 3, interface: a, udp_peer: 1.2.3.4:5}\n- {router: 4, interface: way-too-long-a-name}\n\
                - {router: 5, interface: b}\n- {router: 5, interface: b, color: red}\n";
    std::fs::write(&path, text).expect("written");
    let problems = load_agent(&path).expect_err("bad");
    let told: Vec<String> = problems.iter().map(|problem| format!("{}: {}", problem.line, problem.what)).collect();
    let expected = [
        "1: 'router' is 0",
        "2: 'role' is 'all'",
        "3: the key is 4 characters that are no key",
        "4: 'ignore' is '10.0.0.0/33'",
        "5: 'silence_s' is 0",
        "7: the peer's link is not clear",
        "8: the peer's link is not clear",
        "9: 'interface' is 'way-too-long-a-name'",
        "11: the peer is router 5, as another one",
        "11: unknown key 'color' in a peer",
    ];
    assert_eq!(told, expected);
}

/// The program's own report of its files, after one change to a copy of them.
fn check_says(file: &str, from: &str, to: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["p4/fabric.mapping.yaml", "p4/fabric.p4info.txtpb", "p4/fabric.json", "p4/wcmp.json", file] {
        let name = root().join(name);
        let to = folder.path().join(name.file_name().expect("a file"));
        std::fs::copy(&name, to).expect("part of the repository");
    }
    let path = folder.path().join(Path::new(file).file_name().expect("a file"));
    let text = std::fs::read_to_string(&path).expect("copied just now");
    assert!(text.contains(from), "{from}");
    std::fs::write(&path, text.replace(from, to)).expect("a writable folder");
    let mapping = std::fs::read_to_string(root().join("p4/fabric.mapping.yaml")).expect("part of the repository");
    let one = mapping.replace("cpu_port: 510", "cpu_port: 1");
    std::fs::write(folder.path().join("one.yaml"), one).expect("a writable folder");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_foreshadow")).arg("check").arg(&path).output();
    let output = output.expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{to}: {said}");
    said.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn check_tells_of_mappings_that_make_no_sense() {
    let (mapping, topology) = ("p4/fabric.mapping.yaml", "topologies/mixed.yaml");
    let table = [
        (
            mapping,
            "refused: 1",
            "refused: 0",
            "fabric.mapping.yaml:128:35: cell 0 is 'admitted' already; expected another",
        ),
        (
            mapping,
            "cpu_port: 510",
            "cpu_port: 900",
            "fabric.mapping.yaml:7:1: 'cpu_port' is 900, but 'ingress_port' has 9",
        ),
        (
            mapping,
            "fabric.json",
            "wcmp.json",
            "fabric.mapping.yaml:5:1: the configuration has no table 'Forward.choice'",
        ),
        (
            topology,
            "device: 1}",
            "device: 1, pipeline: one.yaml}",
            "port 1 of node 't1' is the 'cpu_port' of its program; expected another number",
        ),
    ];
    for (file, from, to, expected) in table {
        let said = check_says(file, from, to);
        assert!(said.contains(expected), "{to}: {expected}: {said}");
    }
}
