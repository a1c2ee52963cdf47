//! The `topology` commands as a user calls them.

use std::path::Path;
use std::process::{Command, Output};

use foreshadow::config::load_topology;

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
