//! The `topology` commands as a user calls them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use foreshadow::config::{Topology, load_topology, parse_topology};

fn foreshadow(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foreshadow")).args(arguments).output().expect("the program starts")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of topologies/ that a command makes, by the command in their first line.
#[test]
fn generated_files_of_the_repository_are_what_their_commands_make() {
    let mut generated = 0;
    for entry in std::fs::read_dir(root().join("topologies")).expect("the folder is part of the repository") {
        let path = entry.expect("a readable entry").path();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let Some(command) = text.lines().next().and_then(|line| line.strip_prefix("# foreshadow ")) else { continue };
        generated += 1;
        let output = foreshadow(&command.split(' ').collect::<Vec<_>>());
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{}", path.display());
        load_topology(&path).unwrap_or_else(|problems| panic!("{problems:#?}"));
    }
    assert!(generated >= 3, "only {generated} generated files");
}

/// Every shape and form by its defaults, through the file and `check`.
#[test]
fn what_is_generated_is_found_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let shapes: [&[&str]; 10] = [
        &["leaf-spine"],
        &["leaf-spine", "--bridges"],
        &["clos"],
        &["clos", "--bridges", "--hosts", "2"],
        &["fat-tree"],
        &["fat-tree", "-k", "6", "--bridges"],
        &["linear"],
        &["tree"],
        &["torus"],
        &["mesh", "--seed", "7"],
    ];
    for (at, shape) in shapes.into_iter().enumerate() {
        let path = folder.path().join(format!("{at}.yaml"));
        let path = path.to_str().expect("a readable name");
        let mut arguments = vec!["topology", "generate"];
        arguments.extend(shape);
        arguments.extend(["--out", path]);
        let output = foreshadow(&arguments);
        assert!(output.status.success(), "{shape:?}: {}", String::from_utf8_lossy(&output.stderr));
        let output = foreshadow(&["check", path]);
        assert!(output.status.success(), "{shape:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn bad_parameters_end_with_status_2() {
    let cases: [(&[&str], &str); 5] = [
        (&["fat-tree", "-k", "3"], "-k is 3; expected an even number from 2 to 64"),
        (&["torus", "--rows", "1"], "--rows is 1; expected 3 to 999"),
        (&["leaf-spine", "--routers", "1"], "--routers is 1; expected 3 to 256"),
        (&["leaf-spine", "--bridges", "--routers", "4"], "cannot be used with"),
        (&["clos", "--threshold-available", "200%"], "expected connections such as 500, or percent such as 10%"),
    ];
    for (arguments, expected) in cases {
        let output = foreshadow(&[&["topology", "generate"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

fn convert(path: &Path, to: &Path) -> Result<String, String> {
    let [from, to] = [path, to].map(|path| path.to_str().expect("a readable name"));
    let output = foreshadow(&["topology", "convert", from, "--out", to]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(said);
    }
    let output = foreshadow(&["check", to]);
    if output.status.success() { Ok(said) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn samples_of_every_format_are_converted() {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(root().join("tests/topology")).expect("the folder is part of the repository") {
        let path = entry.expect("a readable entry").path();
        convert(&path, &folder.path().join("out.yaml")).unwrap_or_else(|said| panic!("{}: {said}", path.display()));
    }
}

/// Public topologies, where they are at hand: below the folder that FORESHADOW_DATA names, or beside the repository.
#[test]
fn public_topologies_are_converted() {
    let data = std::env::var_os("FORESHADOW_DATA").map(Into::into);
    let data: PathBuf = data.unwrap_or_else(|| root().join("../shared/topologies"));
    let (mut open, mut files) = (vec![data.clone()], Vec::new());
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a readable entry").path()) {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            match ending {
                _ if path.is_dir() => open.push(path),
                "graphml" | "gml" | "graph" | "xml" | "json" | "topology" => files.push(path),
                _ => {}
            }
        }
    }
    if files.is_empty() {
        println!("skipped: no topologies below {} (FORESHADOW_DATA)", data.display());
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut wrong = Vec::new();
    for path in &files {
        wrong.extend(convert(path, &folder.path().join("out.yaml")).err());
    }
    println!("{} files below {} converted", files.len() - wrong.len(), data.display());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_bad_file_ends_with_status_2_and_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.gml");
    std::fs::write(&path, "graph [\n  node [ id 1 ]\n  edge [ source 1 target 2 ]\n]\n").expect("written");
    let output = foreshadow(&["topology", "convert", path.to_str().expect("a readable name")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("bad.gml:3:1: an edge ends at '2', which is not declared; expected"), "{said}");
    let output = foreshadow(&["topology", "convert", "there-is-none.gml"]);
    assert_eq!(output.status.code(), Some(2));
}

/// A generated fabric as bridges with its servers named comes back with its stages.
#[test]
fn stages_are_inferred_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("staged.yaml");
    let path = path.to_str().expect("a readable name");
    let text = std::fs::read_to_string(root().join("topologies/fat-tree-k4.yaml")).expect("a readable file");
    let kept = |line: &&str| !line.starts_with("services:") && !line.contains("prefixes:");
    let blank: String = text.lines().filter(kept).map(|line| format!("{}\n", without_stages(line))).collect();
    let bridges = folder.path().join("bridges.yaml");
    std::fs::write(&bridges, blank).expect("written");
    let bridges = bridges.to_str().expect("a readable name");
    let output = foreshadow(&["topology", "convert", bridges, "--stages", "--out", path]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (found, wanted) = (load_topology(Path::new(path)), load_topology(&root().join("topologies/fat-tree-k4.yaml")));
    let (found, wanted) = (found.expect("good"), wanted.expect("good"));
    let stages =
        |topology: &Topology| -> Vec<_> { topology.nodes.iter().map(|node| (node.id.clone(), node.stage)).collect() };
    assert_eq!(stages(&found), stages(&wanted));
    assert_eq!((found.links, found.services), (wanted.links, wanted.services));
    let output = foreshadow(&["topology", "convert", bridges, "--stages", "--servers", "nobody"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let torus = root().join("topologies/torus-3x3.yaml");
    let output = foreshadow(&["topology", "convert", torus.to_str().expect("a readable name"), "--stages"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains("switch s1x1 and switch s1x2 are joined and equally near"),
        "{said}"
    );
}

/// A line of a generated file without what stages brought to it.
fn without_stages(line: &str) -> String {
    let line = line.replace(", kind: mirror", "");
    let Some((before, rest)) = line.split_once("stage: ") else { return line };
    let (_, rest) = rest.split_once(',').expect("a dpid follows the stage");
    let dpid = rest.split_once(", capacity").map_or(rest, |(dpid, _)| dpid).trim_end_matches('}');
    format!("{before}stage: bridge,{dpid}}}")
}

/// The demo's fabric, asked for over REST while its day goes by, is the file that the demo was made from.
#[test]
fn a_running_fabric_is_exported() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_foreshadow"))
        .args(["demo", "--http", "127.0.0.1:0"])
        .env("RUST_LOG", "info")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let lines = BufReader::new(demo.stderr.take().expect("piped")).lines();
    let mut lines = lines.map(|line| line.expect("a readable log"));
    let address = lines.find_map(|line| {
        let address = line.split("address=").nth(1).filter(|_| line.contains("serving REST"))?;
        Some(address.split_whitespace().next()?.to_owned())
    });
    let address = address.expect("the demo says where it serves");
    // Nobody reads the log from here on; the program must not wait for that.
    let drain = std::thread::spawn(move || lines.for_each(drop));
    let output = foreshadow(&["topology", "export", "--from", &format!("http://{address}")]);
    demo.kill().expect("the demo still runs");
    demo.wait().expect("the demo ends");
    drain.join().expect("the log ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = parse_topology(Path::new("exported.yaml"), &String::from_utf8_lossy(&output.stdout)).expect("good");
    let declared = load_topology(&root().join("topologies/demo.yaml")).expect("good");
    assert_eq!((&found.nodes, &found.services, &found.hosts), (&declared.nodes, &declared.services, &declared.hosts));
    assert_eq!(found.links.len(), declared.links.len());
    let output = foreshadow(&["topology", "export", "--from", &format!("http://{address}")]);
    assert_eq!(output.status.code(), Some(1), "nobody answers any more");
}
