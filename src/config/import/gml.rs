//! GML (Himsolt, 1997) as the Internet Topology Zoo and networkx write it: keys with numbers, texts and lists.

use super::super::reader::Problem;
use super::Source;
use super::attributes::{self, Attributes};
use super::graph::{Graph, Keys, shown};

/// Real files have three levels; reading recurses.
const DEPTH_MAX: usize = 32;

#[derive(Debug)]
struct Entry<'t> {
    key: &'t str,
    line: u32,
    value: Value<'t>,
}

#[derive(Debug)]
enum Value<'t> {
    /// A number as it is written, or a text without its quotes.
    Scalar(&'t str),
    List(Vec<Entry<'t>>),
}

pub(super) fn parse(source: &Source<'_>, text: &str) -> Result<Graph, Problem> {
    let mut scanner = Scanner { source, rest: text, line: 1 };
    let entries = scanner.entries(0)?;
    let Some(Value::List(entries)) = entries.iter().find(|entry| entry.key == "graph").map(|entry| &entry.value) else {
        return Err(source.problem(0, 0, "there is no graph", "'graph [ … ]'"));
    };
    let mut graph = Graph::default();
    let mut keys = Keys::default();
    let own = attributes_of(entries);
    let named = |name: &&str| own.iter().find(|(key, _)| key == name);
    graph.name = ["Network", "label", "name"].iter().find_map(named).map(|(_, value)| value.clone());
    let directed = scalar(entries, "directed") == Some("1");
    for entry in entries.iter().filter(|entry| entry.key == "node") {
        let (id, inside) = (required(source, entry, "id")?, list(source, entry)?);
        keys.add(source, &mut graph, attributes::node(id.to_owned(), &attributes_of(inside)), entry.line)?;
    }
    for entry in entries.iter().filter(|entry| entry.key == "edge") {
        let ends = (required(source, entry, "source")?, required(source, entry, "target")?);
        let ends = (keys.find(source, ends.0, entry.line)?, keys.find(source, ends.1, entry.line)?);
        let inside = attributes_of(list(source, entry)?);
        let parsed = attributes::edge(ends, directed, &inside, &mut graph);
        graph.edges.push(parsed);
    }
    Ok(graph)
}

fn list<'e, 't>(source: &Source<'_>, entry: &'e Entry<'t>) -> Result<&'e [Entry<'t>], Problem> {
    match &entry.value {
        Value::List(entries) => Ok(entries),
        Value::Scalar(text) => {
            let what = format!("'{}' is '{}'", entry.key, shown(text));
            Err(source.problem(entry.line, 1, what, format!("'{} [ … ]'", entry.key)))
        }
    }
}

fn scalar<'t>(entries: &[Entry<'t>], key: &str) -> Option<&'t str> {
    entries.iter().find(|entry| entry.key == key).and_then(|entry| match entry.value {
        Value::Scalar(text) => Some(text),
        Value::List(_) => None,
    })
}

fn required<'t>(source: &Source<'_>, entry: &Entry<'t>, key: &str) -> Result<&'t str, Problem> {
    scalar(list(source, entry)?, key).ok_or_else(|| {
        let what = format!("a '{}' lacks the key '{key}'", entry.key);
        source.problem(entry.line, 1, what, format!("'{key}' with an integer"))
    })
}

fn attributes_of(entries: &[Entry<'_>]) -> Attributes {
    let scalars = entries.iter().filter_map(|entry| match entry.value {
        Value::Scalar(text) => Some((entry.key.to_owned(), unescape(text))),
        Value::List(_) => None,
    });
    scalars.collect()
}

/// GML writes characters beyond ASCII as HTML entities.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let named = rest.find(';').filter(|end| *end <= 10).and_then(|end| Some((character(&rest[1..end])?, end)));
        match named {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "lt" => Some('<'),
        "gt" => Some('>'),
        _ => {
            let digits = name.strip_prefix('#')?;
            let value = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => digits.parse(),
            };
            char::from_u32(value.ok()?)
        }
    }
}

struct Scanner<'s, 't> {
    source: &'s Source<'s>,
    rest: &'t str,
    line: u32,
}

impl<'t> Scanner<'_, 't> {
    /// Entries up to the end of the list, or of the file at depth 0.
    fn entries(&mut self, depth: usize) -> Result<Vec<Entry<'t>>, Problem> {
        let begin = self.line;
        let mut entries = Vec::new();
        loop {
            self.skip_blank();
            let Some(first) = self.rest.chars().next() else {
                let closed = depth == 0;
                return if closed { Ok(entries) } else { Err(self.wrong(begin, "the file ends inside a list", "']'")) };
            };
            if first == ']' {
                self.rest = &self.rest[1..];
                return if depth > 0 { Ok(entries) } else { Err(self.wrong(self.line, "']' closes nothing", "a key")) };
            }
            let line = self.line;
            let key = self.word();
            if key.is_empty() || !first.is_ascii_alphabetic() {
                let what = format!("'{first}'");
                return Err(self.wrong(line, &what, "a key that begins with a letter"));
            }
            let value = self.value(depth)?;
            entries.push(Entry { key, line, value });
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'t>, Problem> {
        self.skip_blank();
        let line = self.line;
        match self.rest.chars().next() {
            Some('[') if depth >= DEPTH_MAX => {
                Err(self.wrong(line, "lists within lists within lists", "at most 32 levels"))
            }
            Some('[') => {
                self.rest = &self.rest[1..];
                self.entries(depth + 1).map(Value::List)
            }
            Some('"') => {
                let body = &self.rest[1..];
                let Some(end) = body.find('"') else {
                    return Err(self.wrong(line, "a text that does not end", "'\"'"));
                };
                self.advance(end + 2);
                Ok(Value::Scalar(&body[..end]))
            }
            _ => match self.word() {
                "" => Err(self.wrong(line, "a key without a value", "a number, a text in quotes, or a list")),
                word => Ok(Value::Scalar(word)),
            },
        }
    }

    fn word(&mut self) -> &'t str {
        let ends = |c: char| c.is_whitespace() || matches!(c, '[' | ']' | '"');
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// White space, and lines that begin with '#'.
    fn skip_blank(&mut self) {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.advance(blank);
            if !self.rest.starts_with('#') {
                return;
            }
            self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        let lines = passed.bytes().filter(|byte| *byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.rest = rest;
    }

    fn wrong(&self, line: u32, what: &str, expected: &str) -> Problem {
        self.source.problem(line, 1, what, expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_characters() {
        assert_eq!(unescape("Orl&#233;ans &amp; K&#xF6;ln &x; &#xD800; &"), "Orléans & Köln &x; &#xD800; &");
    }
}
