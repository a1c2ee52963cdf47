//! A YAML document as a tree whose every value knows where it stands.
//!
//! Deserialising into structs would stop at the first mistake; a tree lets the checks that follow report all of them,
//! each with its line. Anchors, aliases and merge keys are resolved by the YAML library.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Budget, Location, Options, Spanned};

/// Line and column of a value, from 1; `0:0` stands for the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub line: u32,
    pub column: u32,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Self { line: narrow(location.line()), column: narrow(location.column()) }
    }
}

/// One value of the document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// `text` is the number as it is written, which matters for ids such as `0000000000000010`.
    Int {
        value: i128,
        text: String,
    },
    Float {
        value: f64,
        text: String,
    },
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Place, Tree)>),
}

impl Tree {
    /// What came, in the words of a problem report.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("{value}"),
            Value::Int { text, .. } | Value::Float { text, .. } => text.clone(),
            Value::Text(text) => format!("'{text}'"),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Map(entries) => format!("a map of {} keys", entries.len()),
        }
    }
}

/// Raw tree as the library hands it over: places wrap every value.
#[derive(Debug)]
enum Raw {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Int(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Int(value.into()))
    }
    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Int(value))
    }
    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Int(i128::try_from(value).unwrap_or(i128::MAX)))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

/// A document that is not YAML: where, and what the parser says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SyntaxError {
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// Reads one YAML document.
pub(crate) fn parse(text: &str) -> Result<Tree, SyntaxError> {
    // The largest fabrics have some ten thousand nodes and a hundred thousand links.
    let mut budget = Budget::default();
    budget.max_events = 20_000_000;
    budget.max_nodes = 10_000_000;
    budget.max_total_scalar_bytes = 256 << 20;
    // Reading recurses, by some 45 kB of the stack a level, and a thread may have no more than 2 MB. No format here is
    // deeper than a handful.
    budget.max_depth = 16;
    let mut options = Options::default();
    options.budget = Some(budget);
    let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().map(Place::from).unwrap_or_default();
        let message = match error {
            serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the key '{key}' is given twice")
            }
            serde_saphyr::Error::DuplicateMappingKey { .. } => "a key is given twice".to_owned(),
            other => {
                // The place is told apart from the message, so the library's own suffix would say it twice.
                let message = other.to_string();
                message.rfind(" at line ").map_or(message.clone(), |end| message[..end].to_owned())
            }
        };
        SyntaxError { place, message }
    })?;
    Ok(convert(text, raw))
}

fn convert(text: &str, raw: Spanned<Raw>) -> Tree {
    let place = Place::from(raw.referenced);
    let defined = raw.defined;
    let written = || {
        let span = defined.span();
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let len = usize::try_from(span.byte_len()?).ok()?;
        text.get(start..start.checked_add(len)?).map(|slice| slice.trim().to_owned())
    };
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Int(value) => Value::Int { value, text: written().unwrap_or_else(|| value.to_string()) },
        Raw::Float(value) => Value::Float { value, text: written().unwrap_or_else(|| value.to_string()) },
        Raw::Text(value) => Value::Text(value),
        Raw::List(items) => Value::List(items.into_iter().map(|item| convert(text, item)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key.value, Place::from(key.referenced), convert(text, value)))
                .collect(),
        ),
    };
    Tree { place, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'t>(tree: &'t Tree, key: &str) -> &'t Tree {
        let Value::Map(entries) = &tree.value else { panic!("no map: {tree:?}") };
        &entries.iter().find(|(name, ..)| name == key).expect("key").2
    }

    #[test]
    fn values_know_their_place() {
        let tree = parse("a: 1\nb:\n  - {id: x, dpid: 0000000000000010}\n  - &k 0x1F\n  - *k\n  - ~\n").unwrap();
        let b = get(&tree, "b");
        assert_eq!(b.place, Place { line: 3, column: 3 });
        let Value::List(items) = &b.value else { panic!("no list") };
        assert_eq!(get(&items[0], "dpid").place, Place { line: 3, column: 19 });
        assert_eq!(get(&items[0], "dpid").describe(), "0000000000000010", "the number as it was written");
        assert_eq!(items[1].value, Value::Int { value: 31, text: "0x1F".to_owned() });
        assert_eq!(items[2].place, Place { line: 5, column: 5 }, "an alias stands where it is used");
        assert_eq!(items[2].value, items[1].value);
        assert_eq!(items[3].value, Value::Null);
    }

    #[test]
    fn deep_and_swollen_documents_are_refused() {
        for depth in 1..100 {
            let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(parse(&deep).is_ok(), depth <= 16, "{depth}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(&deep).is_err());
        let mut swollen = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for at in 1..12 {
            let before = format!("*a{}, ", at - 1).repeat(10);
            swollen.push_str(&format!("a{at}: &a{at} [{before}]\n"));
        }
        assert!(parse(&swollen).is_err());
    }

    #[test]
    fn syntax_errors_know_their_place() {
        let error = parse("a: [1\n").unwrap_err();
        assert_eq!((error.place, error.message.as_str()), (Place { line: 1, column: 4 }, "unclosed bracket '['"));
        let error = parse("a: 1\na: 2\n").unwrap_err();
        assert_eq!((error.place, error.message.as_str()), (Place { line: 2, column: 1 }, "the key 'a' is given twice"));
    }
}
