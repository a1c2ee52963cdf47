//! Walks a tree and gathers every problem instead of stopping at the first.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::schema::Section;
use super::yaml::{Place, Tree, Value, parse};

/// More problems than this in one file help nobody; the last one says that more were left out.
const PROBLEMS_MAX: usize = 200;

/// One thing that is wrong with a file: where, what, and what was expected instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    pub file: PathBuf,
    /// From 1; 0 where the file as a whole is meant.
    pub line: u32,
    /// From 1; 0 where the file as a whole is meant.
    pub column: u32,
    pub what: String,
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}; expected {}", self.what, self.expected)
    }
}

/// Collects the problems of one file.
#[derive(Debug)]
pub(crate) struct Reader<'f> {
    file: &'f Path,
    problems: Vec<Problem>,
    left_out: usize,
}

/// A map whose keys are all known and whose required keys are all there (or were reported).
#[derive(Debug)]
pub(crate) struct Fields<'t> {
    pub(crate) place: Place,
    entries: &'t [(String, Place, Tree)],
}

impl<'t> Fields<'t> {
    pub(crate) fn get(&self, key: &str) -> Option<&'t Tree> {
        self.entries.iter().find(|(name, ..)| name == key).map(|(_, _, tree)| tree)
    }
    /// Where the key stands.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.entries.iter().find(|(name, ..)| name == key).map_or(self.place, |(_, place, _)| *place)
    }
}

impl<'f> Reader<'f> {
    pub(crate) fn new(file: &'f Path) -> Self {
        Self { file, problems: Vec::new(), left_out: 0 }
    }

    /// A path that this file names, which is relative to it.
    pub(crate) fn beside(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Reads and parses the file; what goes wrong becomes a problem.
    pub(crate) fn open(&mut self) -> Option<Tree> {
        let bytes = match std::fs::read(self.file) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.problem(Place::default(), format!("the file cannot be read: {error}"), "a readable YAML file");
                return None;
            }
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let before = &error.as_bytes()[..good];
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
                let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
                let place = Place { line: narrow(line), column: narrow(column) };
                self.problem(place, "the file is not UTF-8 text", "UTF-8");
                return None;
            }
        };
        self.parse(&text)
    }

    pub(crate) fn parse(&mut self, text: &str) -> Option<Tree> {
        match parse(text) {
            Ok(Tree { value: Value::Null, .. }) => {
                self.problem(Place::default(), "the file is empty", "a map of keys such as 'nodes:' or 'topology:'");
                None
            }
            Ok(tree) => Some(tree),
            Err(error) => {
                self.problem(error.place, error.message, "valid YAML with every key given once");
                None
            }
        }
    }

    pub(crate) fn problem(&mut self, place: Place, what: impl Into<String>, expected: impl Into<String>) {
        if self.problems.len() >= PROBLEMS_MAX {
            self.left_out += 1;
            return;
        }
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            what: what.into(),
            expected: expected.into(),
        });
    }

    pub(crate) fn append(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    /// The value if nothing was wrong, else the problems in the order of their lines.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<T, Vec<Problem>> {
        // Problems of a file that this one names come with their own path and keep together.
        let file = self.file;
        self.problems.sort_by_key(|problem| (problem.file != file, problem.line, problem.column));
        if self.left_out > 0 {
            let left_out = self.left_out;
            self.left_out = 0;
            self.problems.push(Problem {
                file: self.file.to_owned(),
                line: 0,
                column: 0,
                what: format!("{left_out} more problems are not shown"),
                expected: "a file without problems".to_owned(),
            });
        }
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems),
        }
    }

    pub(crate) fn object<'t>(&mut self, tree: &'t Tree, section: &Section) -> Option<Fields<'t>> {
        let Value::Map(entries) = &tree.value else {
            self.problem(tree.place, format!("{} is {}", section.name, tree.describe()), "a map of keys and values");
            return None;
        };
        for (name, place, _) in entries {
            if section.key(name).is_none() {
                let known: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
                self.problem(
                    *place,
                    format!("unknown key '{name}' in {}", section.name),
                    format!("one of {}", known.join(", ")),
                );
            }
        }
        let fields = Fields { place: tree.place, entries };
        for key in section.keys.iter().filter(|key| key.required) {
            if fields.get(key.name).is_none() {
                self.problem(
                    tree.place,
                    format!("{} lacks the key '{}'", section.name, key.name),
                    format!("'{}': {}", key.name, key.shape),
                );
            }
        }
        Some(fields)
    }

    /// Entries of a list; a missing or empty value is an empty list.
    pub(crate) fn list<'t>(&mut self, tree: Option<&'t Tree>, key: &str) -> &'t [Tree] {
        match tree.map(|tree| (&tree.value, tree)) {
            None | Some((Value::Null, _)) => &[],
            Some((Value::List(items), _)) => items,
            Some((_, tree)) => {
                self.problem(tree.place, format!("'{key}' is {}", tree.describe()), "a list");
                &[]
            }
        }
    }

    pub(crate) fn text(&mut self, tree: Option<&Tree>, key: &str) -> Option<String> {
        let tree = tree?;
        match &tree.value {
            Value::Text(text) => Some(text.clone()),
            Value::Int { text, .. } | Value::Float { text, .. } => Some(text.clone()),
            _ => {
                self.problem(tree.place, format!("'{key}' is {}", tree.describe()), "a text");
                None
            }
        }
    }

    pub(crate) fn integer(&mut self, tree: Option<&Tree>, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let tree = tree?;
        let value = match &tree.value {
            Value::Int { value, .. } => u64::try_from(*value).ok().filter(|value| range.contains(value)),
            _ => None,
        };
        if value.is_none() {
            let expected = format!("an integer from {} to {}", range.start(), range.end());
            self.problem(tree.place, format!("'{key}' is {}", tree.describe()), expected);
        }
        value
    }

    pub(crate) fn number(&mut self, tree: Option<&Tree>, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let tree = tree?;
        let value = match &tree.value {
            Value::Int { value, .. } => Some(*value as f64),
            Value::Float { value, .. } => Some(*value),
            _ => None,
        }
        .filter(|value| range.contains(value));
        if value.is_none() {
            let expected = if range.end().is_finite() {
                format!("a number from {} to {}", range.start(), range.end())
            } else {
                format!("a number of {} or more", range.start())
            };
            self.problem(tree.place, format!("'{key}' is {}", tree.describe()), expected);
        }
        value
    }

    /// A text that `read` understands; `expected` says what it understands.
    pub(crate) fn parsed<T>(
        &mut self,
        tree: Option<&Tree>,
        key: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let tree = tree?;
        let text = self.text(Some(tree), key)?;
        let value = read(&text);
        if value.is_none() {
            self.problem(tree.place, format!("'{key}' is '{text}'"), expected);
        }
        value
    }
}
