//! The P4 programs and what was compiled from them belong together: hashes, no machine's paths, and where the compiler
//! is installed the same artefacts again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

const PROGRAMS: [&str; 2] = ["fabric", "wcmp"];
const COMPILER: &str = "p4c-bm2-ss";
const HOW: &str = "compile again: P4C=/path/to/p4c-bm2-ss p4/build.py";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("p4")
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Sources and artefacts, by their path below `p4`.
fn files() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![directory()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("p4 is a directory") {
            let path = entry.expect("an entry of p4").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "p4" || kind == "json" || kind == "txtpb") {
                let below = path.strip_prefix(directory()).expect("below p4");
                found.insert(below.to_str().expect("a name in UTF-8").to_owned());
            }
        }
    }
    found
}

#[test]
fn sources_and_artefacts_are_those_that_were_compiled_together() {
    let text = String::from_utf8(read(&directory().join("artefacts.sha256"))).expect("UTF-8");
    let version = text.lines().next().unwrap_or_default();
    assert!(version.starts_with("# p4c-bm2-ss "), "the first line names the compiler's version: {version}");
    let noted: BTreeMap<&str, &str> =
        text.lines().skip(1).map(|line| line.split_once("  ").expect("hash and file")).map(|(h, f)| (f, h)).collect();
    let noted_files: BTreeSet<String> = noted.keys().map(|file| (*file).to_owned()).collect();
    assert_eq!(files(), noted_files, "files and artefacts.sha256 differ; {HOW}");
    for (file, hash) in noted {
        let found: String =
            Sha256::digest(read(&directory().join(file))).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, hash, "{file} is not what was compiled; {HOW}");
    }
}

#[test]
fn artefacts_hold_no_paths() {
    for program in PROGRAMS {
        let json: Value = serde_json::from_slice(&read(&directory().join(format!("{program}.json")))).expect("JSON");
        assert_eq!(json["program"], format!("{program}.p4"));
        let mut stack = vec![&json];
        while let Some(value) = stack.pop() {
            match value {
                Value::String(text) => {
                    assert!(!text.starts_with('/') && !text.contains("/p4include"), "{program}: {text}")
                }
                Value::Array(values) => stack.extend(values),
                Value::Object(map) => {
                    assert!(!map.contains_key("source_info"), "{program}: positions were left in; {HOW}");
                    stack.extend(map.values());
                }
                _ => {}
            }
        }
    }
}

fn without_positions(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(without_positions),
        Value::Object(map) => {
            map.remove("source_info");
            map.values_mut().for_each(without_positions);
        }
        _ => {}
    }
}

/// As `build.py` does: the compiler writes an action once for each table that uses it.
fn with_actions_once(json: &mut Value) {
    let mut first: HashMap<String, Value> = HashMap::new();
    let mut number: HashMap<String, Value> = HashMap::new();
    let actions = json["actions"].as_array_mut().expect("actions");
    actions.retain(|action| {
        let mut body = action.clone();
        let id = body.as_object_mut().expect("an action").remove("id").expect("an id");
        let known = first.get(&body.to_string()).cloned();
        number.insert(id.to_string(), known.clone().unwrap_or_else(|| id.clone()));
        if known.is_none() {
            first.insert(body.to_string(), id);
        }
        known.is_none()
    });
    let once = |id: &mut Value| *id = number[&id.to_string()].clone();
    for pipeline in json["pipelines"].as_array_mut().expect("pipelines") {
        for table in pipeline["tables"].as_array_mut().expect("tables") {
            table["action_ids"].as_array_mut().expect("action ids").iter_mut().for_each(once);
            if let Some(entry) = table.get_mut("default_entry") {
                once(&mut entry["action_id"]);
            }
        }
    }
}

#[test]
fn the_compiler_makes_the_same_again() {
    let Ok(version) = Command::new(COMPILER).arg("--version").output() else {
        eprintln!("{COMPILER} is not installed: hashes alone were compared");
        return;
    };
    let noted = String::from_utf8(read(&directory().join("artefacts.sha256"))).expect("UTF-8");
    let noted = noted.lines().next().and_then(|line| line.rsplit(' ').next()).expect("a version").to_owned();
    let installed = [version.stdout, version.stderr].concat();
    if !String::from_utf8_lossy(&installed).contains(&format!("Version {noted} ")) {
        eprintln!("{COMPILER} is not version {noted}: hashes alone were compared");
        return;
    }
    for program in PROGRAMS {
        let folder = tempfile::tempdir().expect("a directory");
        let (json, info) = (folder.path().join("out.json"), folder.path().join("out.p4info.txtpb"));
        let compiled = Command::new(COMPILER)
            .args(["--std", "p4-16", "--p4runtime-files"])
            .args([&info, Path::new("-o"), &json, Path::new(&format!("{program}.p4"))])
            .current_dir(directory())
            .output()
            .expect("the compiler runs");
        assert!(compiled.status.success(), "{program}: {}", String::from_utf8_lossy(&compiled.stderr));
        assert_eq!(
            String::from_utf8(read(&info)).expect("UTF-8"),
            String::from_utf8(read(&directory().join(format!("{program}.p4info.txtpb")))).expect("UTF-8"),
        );
        let mut again: Value = serde_json::from_slice(&read(&json)).expect("JSON");
        without_positions(&mut again);
        with_actions_once(&mut again);
        let kept: Value = serde_json::from_slice(&read(&directory().join(format!("{program}.json")))).expect("JSON");
        assert!(again == kept, "{program}.json is not what {program}.p4 compiles to; {HOW}");
    }
}
