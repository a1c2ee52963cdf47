//! Names of a P4Info: full ones, aliases that only one entity has, and the nearest one to a name that none has.

use std::collections::BTreeMap;
use std::fmt;

/// A name that no entity has, or that several share as alias.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UnknownName {
    /// What was looked for: `table`, `match field`, …
    pub kind: &'static str,
    pub name: String,
    /// Where: a table, an action, …; empty for the P4Info itself.
    pub within: String,
    /// Names it may have been meant for: the nearest one, or all that share it as alias.
    pub candidates: Vec<String>,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, within, candidates } = self;
        let owner = if within.is_empty() { "the P4Info" } else { within };
        let quoted = || candidates.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        match candidates.len() {
            0 => write!(f, "{owner} has no {kind} '{name}'"),
            1 => write!(f, "{owner} has no {kind} '{name}'; the nearest name is {}", quoted()),
            _ => write!(f, "{owner} has several {kind}s '{name}': {}; a full name tells them apart", quoted()),
        }
    }
}

/// What has an id and a name.
pub trait Entity {
    fn id(&self) -> u32;
    fn name(&self) -> &str;
    /// Empty when there is none.
    fn alias(&self) -> &str {
        ""
    }
}

/// Entities of one kind, by id and by name.
#[derive(Clone, Debug, Default)]
pub struct Kind<T> {
    kind: &'static str,
    within: String,
    entities: BTreeMap<u32, T>,
    /// Full names, and the aliases; several ids share some aliases.
    names: BTreeMap<String, Vec<u32>>,
}

impl<T: Entity> Kind<T> {
    pub(super) fn new(kind: &'static str, within: &str, entities: Vec<T>) -> Self {
        let mut names = BTreeMap::<String, Vec<u32>>::new();
        for entity in &entities {
            names.insert(entity.name().to_owned(), vec![entity.id()]);
        }
        for entity in entities.iter().filter(|entity| !entity.alias().is_empty()) {
            let full = entities.iter().any(|other| other.name() == entity.alias());
            if !full {
                names.entry(entity.alias().to_owned()).or_default().push(entity.id());
            }
        }
        let entities = entities.into_iter().map(|entity| (entity.id(), entity)).collect();
        Self { kind, within: within.to_owned(), entities, names }
    }

    /// By full name or by an alias that no other has.
    pub fn get(&self, name: &str) -> Result<&T, UnknownName> {
        let ids = self.names.get(name).map_or(&[][..], Vec::as_slice);
        if let [id] = ids {
            return Ok(&self.entities[id]);
        }
        let mut candidates: Vec<_> = ids.iter().map(|id| self.entities[id].name().to_owned()).collect();
        if candidates.is_empty() {
            candidates.extend(nearest(name, self.names.keys().map(String::as_str)).map(str::to_owned));
        }
        Err(UnknownName { kind: self.kind, name: name.to_owned(), within: self.within.clone(), candidates })
    }

    pub fn by_id(&self, id: u32) -> Option<&T> {
        self.entities.get(&id)
    }

    /// In the order of ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        self.entities.values()
    }

    pub fn len(&self) -> usize {
        self.entities.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }
}

/// The name with the fewest changed characters, if they are few for its length.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_lowercase();
    let distance = |candidate: &&str| {
        let whole: Vec<char> = candidate.to_lowercase().chars().collect();
        // A right name in a wrong control is near as well.
        if last(name) == last(candidate) { 1 } else { changes(&wanted, &whole) }
    };
    let bound = (wanted.len() / 3).max(2);
    names.map(|name| (distance(&name), name)).filter(|(distance, _)| *distance <= bound).min().map(|(_, name)| name)
}

/// Least number of characters to add, take out, change or swap with the next.
fn changes(one: &[char], other: &[char]) -> usize {
    let mut before = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (row[j] + usize::from(a != b)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                let swapped: &Vec<usize> = &before;
                least = least.min(swapped[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted() {
        let count =
            |one: &str, other: &str| changes(&one.chars().collect::<Vec<_>>(), &other.chars().collect::<Vec<_>>());
        let golden =
            [("", "", 0), ("", "abc", 3), ("route", "routes", 1), ("sevre", "serve", 1), ("kitten", "sitting", 3)];
        for (one, other, changes) in golden {
            assert_eq!((count(one, other), count(other, one)), (changes, changes), "{one} {other}");
        }
    }

    #[test]
    fn near_names_are_found_and_others_are_not() {
        let names = ["ingress.routes", "ingress.ports", "egress.mirror"];
        let near = |name| nearest(name, names.into_iter());
        assert_eq!(near("ingress.route"), Some("ingress.routes"));
        assert_eq!(near("Ingress.Ports"), Some("ingress.ports"));
        assert_eq!(near("MyIngress.mirror"), Some("egress.mirror"));
        assert_eq!(near("counter"), None);
        assert_eq!(near(""), None);
    }
}
