//! Holds the source to what STYLE promises: layers, lengths, the map in ARCHITECTURE.md, waiting in tests.
//!
//! A bound that does not fit is relaxed here, with the reason, rather than worked around in the source.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the lowest to the highest: each may import those before it.
const LAYERS: [&str; 20] = [
    "types",
    "config",
    "plan",
    "wire",
    "p4info",
    "southbound",
    "network",
    "telemetry",
    "history",
    "anomaly",
    "forecast",
    "policy",
    "replay",
    "replication",
    "agent",
    "probe",
    "cluster",
    "controller",
    "northbound",
    "cli",
];

/// Emulated switches stand beside the controller: they share its vocabulary up to this layer, and only `cli` uses them.
const SIDE: (&str, &str) = ("fabric", "p4info");

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Longer files and functions, and why they are one thing.
const LONG_FILES: [(&str, &str); 0] = [];
const LONG_FUNCTIONS: [(&str, &str, &str); 0] = [];

const MAP_BEGIN: &str = "<!-- files: written by tests/tidy.rs -->";
const MAP_END: &str = "<!-- end of files -->";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder whose names end in one of `endings`, sorted, as paths relative to the repository.
fn files_below(folder: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a readable entry").path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "__pycache__" {
                open.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let relative = path.strip_prefix(root()).expect("below the repository");
                found.push(relative.to_str().expect("a readable name").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    let bytes = fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    // Some test files are not UTF-8 on purpose.
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/") || path.starts_with("tests/")
}

/// Splits a source file where its own test module begins.
fn split_tests(source: &str) -> (&str, &str) {
    let begin = source
        .match_indices("#[cfg(test)]\nmod ")
        .find(|(at, _)| source[*at..].lines().nth(1).is_some_and(|line| line.ends_with('{')));
    source.split_at(begin.map_or(source.len(), |(at, _)| at))
}

/// The source with comments, texts and characters blanked, line breaks kept.
fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => find(source, at, "\n", 0),
            b'/' if bytes.get(at + 1) == Some(&b'*') => find(source, at, "*/", 2),
            b'r' if raw_text(source, at).is_some() => raw_text(source, at).expect("just seen"),
            b'"' => text_end(bytes, at),
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => find(source, at + 3, "'", 1),
            b'\'' if char_end(source, at).is_some() => char_end(source, at).expect("just seen"),
            byte => {
                out.push(if byte.is_ascii() { char::from(byte) } else { ' ' });
                at += 1;
                continue;
            }
        };
        out.extend(source[at..end].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

fn find(source: &str, from: usize, what: &str, beyond: usize) -> usize {
    source[from..].find(what).map_or(source.len(), |found| from + found + beyond)
}

fn text_end(bytes: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// End of `r"…"` or `r#"…"#` that begins here.
fn raw_text(source: &str, begin: usize) -> Option<usize> {
    let before = source[..begin].chars().next_back();
    if before.is_some_and(|c| c.is_alphanumeric() && c != 'b') || before == Some('_') {
        return None;
    }
    let hashes = source[begin + 1..].bytes().take_while(|byte| *byte == b'#').count();
    let text = begin + 1 + hashes;
    (source.as_bytes().get(text) == Some(&b'"'))
        .then(|| find(source, text + 1, &format!("\"{}", "#".repeat(hashes)), hashes + 1))
}

/// End of a character literal; a lifetime has no closing quote after one character.
fn char_end(source: &str, begin: usize) -> Option<usize> {
    let mut chars = source[begin + 1..].char_indices();
    chars.next()?;
    let (at, quote) = chars.next()?;
    (quote == '\'').then_some(begin + 1 + at + 1)
}

/// Names of the modules of this crate that a source names: `crate::x`, `crate::{x, y::z}`.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code[..at].lines().count().max(1);
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut name_begins) = (1, true);
            for (position, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => name_begins = true,
                    c if name_begins && !c.is_whitespace() => {
                        name_begins = false;
                        found.push((line, identifier(&group[position..])));
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.push((line, identifier(rest)));
        }
    }
    found
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == module)
}

fn module_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").expect("a source file");
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

fn may_import(module: &str, imported: &str) -> bool {
    let (side, side_top) = SIDE;
    match (module, imported) {
        _ if module == imported => true,
        ("cli", _) => true,
        (_, name) if name == side => false,
        (name, _) if name == side => rank(imported) <= rank(side_top),
        _ => matches!((rank(module), rank(imported)), (Some(own), Some(other)) if other < own),
    }
}

#[test]
fn layers_import_only_downwards() {
    let mut wrong = String::new();
    for path in files_below("src", &[".rs"]) {
        let module = module_of(&path);
        if is_test_file(&path) || ["lib", "main"].contains(&module) {
            continue;
        }
        if rank(module).is_none() && module != SIDE.0 {
            let _ = writeln!(wrong, "{path}: '{module}' is in no layer");
        }
        for (line, imported) in imports(&code_only(split_tests(&read(&path)).0)) {
            let is_module = rank(&imported).is_some() || imported == SIDE.0;
            if is_module && !may_import(module, &imported) {
                let _ = writeln!(wrong, "{path}:{line}: '{module}' imports '{imported}', which is not below it");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn files_are_not_too_long() {
    let mut wrong = String::new();
    for path in files_below("src", &[".rs"]).into_iter().filter(|path| !is_test_file(path)) {
        let lines = split_tests(&read(&path)).0.lines().count();
        if lines > FILE_LINES_MAX && !LONG_FILES.iter().any(|(file, _)| *file == path) {
            let _ = writeln!(wrong, "{path}: {lines} lines without its tests, at most {FILE_LINES_MAX}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Name, first line and number of lines of every function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name = identifier(&code[at + 3..]);
        let mut depth = 0_i32;
        let mut brackets = 0_i32;
        for (position, c) in code[at..].char_indices() {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                ';' if depth == 0 && brackets == 0 => break,
                '{' => depth += 1,
                '}' => {
                    depth -= 1;
                    if depth == 0 {
                        let lines = code[at..=at + position].lines().count();
                        found.push((name, code[..at].matches('\n').count() + 1, lines));
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn functions_are_not_too_long() {
    let mut wrong = String::new();
    for path in files_below("src", &[".rs"]).into_iter().filter(|path| !is_test_file(path)) {
        for (name, line, lines) in functions(&code_only(split_tests(&read(&path)).0)) {
            let excused = LONG_FUNCTIONS.iter().any(|(file, function, _)| *file == path && *function == name);
            if lines > FUNCTION_LINES_MAX && !excused {
                let _ = writeln!(wrong, "{path}:{line}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The first sentence of a file's own documentation.
fn headline(path: &str) -> Option<String> {
    let source = read(path);
    let lines = source.lines().take_while(|line| line.starts_with("//!")).map(|line| line[3..].trim());
    let paragraph: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let text = paragraph.join(" ");
    let sentence = text.split_inclusive(". ").next()?.trim();
    let end = if sentence.ends_with(['.', '?']) { "" } else { "." };
    (!sentence.is_empty()).then(|| format!("{sentence}{end}"))
}

/// The map of the source: every folder, every file, and what it says about itself.
fn map_of_files() -> Result<String, String> {
    let mut folders: BTreeMap<PathBuf, Vec<(String, String)>> = BTreeMap::new();
    let mut silent = String::new();
    let sources = files_below("src", &[".rs"]).into_iter().filter(|path| !is_test_file(path));
    // Tests within the source stand beside what they test; of tests/, the entry points are listed.
    let suites = files_below("tests", &[".rs"]).into_iter().filter(|path| path.matches('/').count() == 1);
    for path in sources.chain(suites) {
        match headline(&path) {
            Some(sentence) => {
                let (folder, name) = path.rsplit_once('/').expect("a file in a folder");
                folders.entry(folder.into()).or_default().push((name.to_owned(), sentence));
            }
            None if path == "src/main.rs" => {}
            None => {
                let _ = writeln!(silent, "{path}: expected a first line `//! …` that says what the file holds");
            }
        }
    }
    if !silent.is_empty() {
        return Err(silent);
    }
    let mut map = String::new();
    for (folder, files) in folders {
        let _ = write!(map, "\n### `{}/`\n\n", folder.display());
        for (name, sentence) in files {
            let _ = writeln!(map, "- `{name}`: {sentence}");
        }
    }
    Ok(map)
}

#[test]
fn the_map_of_files_is_whole() {
    let map = map_of_files().unwrap_or_else(|silent| panic!("\n{silent}"));
    let document = read("ARCHITECTURE.md");
    let begin = document.find(MAP_BEGIN).expect("ARCHITECTURE.md has the mark that begins the map") + MAP_BEGIN.len();
    let end = document.find(MAP_END).expect("ARCHITECTURE.md has the mark that ends the map");
    let wanted = format!("\n{map}\n");
    if document[begin..end] == wanted {
        return;
    }
    if std::env::var_os("FORESHADOW_UPDATE").is_some() {
        let text = format!("{}{wanted}{}", &document[..begin], &document[end..]);
        return fs::write(root().join("ARCHITECTURE.md"), text).expect("written");
    }
    let missing: Vec<_> = map.lines().filter(|line| !document[begin..end].contains(*line)).collect();
    panic!("ARCHITECTURE.md lacks, or has other words for (FORESHADOW_UPDATE=1 writes them):\n{}", missing.join("\n"));
}

#[test]
fn tests_await_events_instead_of_sleeping() {
    let mut wrong = String::new();
    for path in files_below("src", &[".rs"]).into_iter().chain(files_below("tests", &[".rs"])) {
        let source = read(&path);
        let tests = if is_test_file(&path) { source.as_str() } else { split_tests(&source).1 };
        let offset = source[..source.len() - tests.len()].matches('\n').count();
        let lines: Vec<_> = tests.lines().collect();
        for (number, line) in code_only(tests).lines().enumerate() {
            let explained = lines[number].contains("//") || number > 0 && lines[number - 1].trim().starts_with("//");
            if line.contains("sleep(") && !line.contains("fn ") && !explained {
                let _ =
                    writeln!(wrong, "{path}:{}: await the event, or say above why there is none", offset + number + 1);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn nothing_names_a_developers_machine() {
    let endings = [".rs", ".md", ".yaml", ".toml", ".py", ".sh", ".html", "Makefile", "run"];
    let folders = ["src", "tests", "benches", "ui", "docs", "mininet", "topologies", ".ci"];
    let mut paths: Vec<_> = folders.iter().flat_map(|folder| files_below(folder, &endings)).collect();
    paths.extend(["README.md", "ARCHITECTURE.md", "Makefile", "Cargo.toml", "deny.toml"].map(str::to_owned));
    let mut wrong = String::new();
    for path in paths.iter().filter(|path| root().join(path).exists() && *path != "tests/tidy.rs") {
        for (number, line) in read(path).lines().enumerate() {
            for banned in ["/home/", "/root/", "TODO", "FIXME", "XXX"] {
                if line.contains(banned) {
                    let _ = writeln!(wrong, "{path}:{}: '{banned}'", number + 1);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_scanner_sees_code_and_nothing_else() {
    let source = "use crate::{wire::x, plan};\n// crate::cli\nfn a<'a>(b: [u8; 2]) -> char {\n    '{'; \"}\\\"{\"; r#\"}\"#;\n    crate::types::X\n}\n";
    let code = code_only(source);
    let names: Vec<_> = imports(&code).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["wire", "plan", "types"]);
    assert_eq!(functions(&code), [("a".to_owned(), 3, 4)]);
    let tested = "#[cfg(test)]\nmod tests;\nfn a() {}\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(split_tests(tested).0.lines().count(), 3);
    assert!(may_import("policy", "plan") && !may_import("plan", "policy") && !may_import("controller", "fabric"));
    assert!(may_import("cli", "fabric") && may_import("fabric", "p4info") && !may_import("fabric", "southbound"));
}
