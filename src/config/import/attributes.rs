//! What attributes of nodes and edges mean, by the names that the Topology Zoo, networkx and their users give them.

use super::graph::{Capacity, Graph, GraphEdge, GraphNode};

/// The unit of capacities that a file gives without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CapacityUnit {
    /// Bits a second if one of the file's capacities is a million or more, else megabits.
    #[default]
    Auto,
    Bps,
    Kbps,
    Mbps,
    Gbps,
}

/// SONET's basic rate, OC-1; STM-1 is three of it.
const OC1_BPS: f64 = 51_840_000.0;

impl CapacityUnit {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "bps" => Some(Self::Bps),
            "kbps" => Some(Self::Kbps),
            "mbps" => Some(Self::Mbps),
            "gbps" => Some(Self::Gbps),
            _ => None,
        }
    }

    /// Bits a second of one unit, decided by the largest of a file's capacities.
    pub(super) fn bps(self, largest: f64) -> f64 {
        match self {
            Self::Auto if largest >= 1e6 => 1.0,
            Self::Bps => 1.0,
            Self::Kbps => 1e3,
            Self::Auto | Self::Mbps => 1e6,
            Self::Gbps => 1e9,
        }
    }
}

/// Attributes as names and texts.
pub(super) type Attributes = Vec<(String, String)>;

fn get<'a>(attributes: &'a Attributes, names: &[&str]) -> Option<&'a str> {
    let named = |name: &&str| attributes.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    names.iter().find_map(named).map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

/// A number that is one: neither infinite nor undefined.
pub(super) fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

fn positive(text: &str) -> Option<f64> {
    number(text).filter(|value| *value > 0.0)
}

/// Degrees within the sphere.
pub(super) fn place(latitude: Option<f64>, longitude: Option<f64>) -> Option<(f64, f64)> {
    let place = (latitude?, longitude?);
    (place.0.abs() <= 90.0 && place.1.abs() <= 360.0).then_some(place)
}

pub(super) fn node(key: String, attributes: &Attributes) -> GraphNode {
    let degrees = |names: &[&str]| get(attributes, names).and_then(number);
    GraphNode {
        key,
        label: get(attributes, &["label", "name"]).map(str::to_owned),
        place: place(degrees(&["latitude", "lat"]), degrees(&["longitude", "lon", "lng"])),
        has_hosts: false,
    }
}

pub(super) fn edge((a, b): (usize, usize), directed: bool, attributes: &Attributes, graph: &mut Graph) -> GraphEdge {
    let scaled = |names: &[&str], factor: f64| get(attributes, names).and_then(number).map(|value| value * factor);
    let latency_us = scaled(&["latency_us", "delay_us"], 1.0)
        .or_else(|| scaled(&["latency_ms", "delay_ms"], 1e3))
        .or_else(|| get(attributes, &["latency", "delay"]).and_then(duration_us))
        .filter(|latency| *latency >= 0.0);
    if latency_us.is_none() && get(attributes, &["latency", "delay"]).is_some_and(|text| number(text).is_some()) {
        let note = "delays without a unit were not used; latency_us, latency_ms or '5ms' would be";
        if !graph.notes.iter().any(|own| own == note) {
            graph.notes.push(note.to_owned());
        }
    }
    GraphEdge { a, b, directed, latency_us, capacity: capacity(attributes) }
}

fn capacity(attributes: &Attributes) -> Option<Capacity> {
    let exact = |name: &str, factor: f64| get(attributes, &[name]).and_then(positive).map(|value| value * factor);
    let speed = || {
        let value = get(attributes, &["linkspeed"]).and_then(positive)?;
        Some(value * scale(get(attributes, &["linkspeedunits"])?)?)
    };
    let told = exact("linkspeedraw", 1.0)
        .or_else(speed)
        .or_else(|| exact("capacity_bps", 1.0))
        .or_else(|| exact("bandwidth_bps", 1.0))
        .or_else(|| exact("capacity_mbps", 1e6))
        .or_else(|| exact("bandwidth_mbps", 1e6))
        .or_else(|| ["linklabel", "linktype", "linknote"].iter().find_map(|name| rate_bps(get(attributes, &[name])?)));
    if let Some(bps) = told {
        return Some(Capacity::Bps(bps));
    }
    let text = get(attributes, &["capacity", "bandwidth", "bw"])?;
    positive(text).map(Capacity::Bare).or_else(|| rate_bps(text).map(Capacity::Bps))
}

/// `5ms`, `100 us`, `0.2s`.
fn duration_us(text: &str) -> Option<f64> {
    let (value, unit) = split_number(text.trim())?;
    let factor = match unit.trim() {
        "ns" => 1e-3,
        "us" | "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(value * factor)
}

/// A rate as people write it: `45 Mbps DS-3`, `OC-192c`, `2.5G`, `2x10 Gbit/s`.
pub(super) fn rate_bps(text: &str) -> Option<f64> {
    let apart = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | ';' | '/' | '<' | '>' | '=' | '~' | '+');
    let words: Vec<&str> = text.split(apart).filter(|word| !word.is_empty()).collect();
    words.iter().enumerate().find_map(|(at, word)| {
        if let Some(bps) = carrier(word) {
            return Some(bps);
        }
        let (mut value, mut unit) = split_number(word)?;
        if let Some((times, rest)) = unit.strip_prefix(['x', 'X']).and_then(split_number) {
            (value, unit) = (value * times, rest);
        }
        let unit = if unit.is_empty() { words.get(at + 1)? } else { unit };
        scale(unit).map(|factor| value * factor).filter(|bps| *bps > 0.0)
    })
}

/// Carriers that are known by their names: SONET, SDH and the older hierarchies.
fn carrier(word: &str) -> Option<f64> {
    let word = word.to_ascii_lowercase().replace('-', "");
    match word.as_str() {
        "t1" | "ds1" => return Some(1_544_000.0),
        "e1" => return Some(2_048_000.0),
        "t3" | "ds3" => return Some(44_736_000.0),
        "e3" => return Some(34_368_000.0),
        _ => {}
    }
    let (digits, unit) = match (word.strip_prefix("oc"), word.strip_prefix("stm")) {
        (Some(digits), _) => (digits, OC1_BPS),
        (_, Some(digits)) => (digits, 3.0 * OC1_BPS),
        _ => return None,
    };
    let multiple: u16 = digits.trim_end_matches('c').parse().ok()?;
    (multiple > 0).then(|| f64::from(multiple) * unit)
}

/// A number that a text begins with, and what follows it.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((number(digits)?, rest))
}

/// Bits a second of `M`, `Mbps`, `Gbit/s`, `GE`, …
fn scale(unit: &str) -> Option<f64> {
    let unit = unit.trim().to_ascii_lowercase();
    let mut chars = unit.chars();
    let factor = match chars.next()? {
        'k' => 1e3,
        'm' => 1e6,
        'g' => 1e9,
        't' => 1e12,
        _ => return None,
    };
    let rest = chars.as_str();
    (rest.is_empty() || rest == "e" || rest.starts_with('b')).then_some(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        let cases = [
            ("45 Mbps DS-3", Some(45e6)),
            ("DS-3", Some(44.736e6)),
            ("OC-192c", Some(9_953.28e6)),
            ("OC3", Some(155.52e6)),
            ("STM-16", Some(2_488.32e6)),
            ("T1", Some(1.544e6)),
            ("155M", Some(155e6)),
            ("2.5G", Some(2.5e9)),
            ("10 Gbps", Some(10e9)),
            ("10GE", Some(10e9)),
            ("2x10 Gbit/s", Some(20e9)),
            ("< 100 Mbit/s", Some(100e6)),
            ("Completion 2007-2008", None),
            ("Completed", None),
            ("Lit Fibre", None),
            ("0 Mbps", None),
            ("OC-0", None),
            ("9e999G", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = rate_bps(text);
            let same = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1.0,
                (found, expected) => found == expected,
            };
            assert!(same, "'{text}': {found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn attributes_are_known_by_many_names() {
        let attributes = |pairs: &[(&str, &str)]| -> Attributes {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let raw = attributes(&[("LinkSpeed", "155"), ("LinkSpeedUnits", "M"), ("LinkLabel", "1G")]);
        assert_eq!(capacity(&raw), Some(Capacity::Bps(155e6)));
        assert_eq!(capacity(&attributes(&[("capacity", "5000.0")])), Some(Capacity::Bare(5000.0)));
        assert_eq!(capacity(&attributes(&[("bw", "10G")])), Some(Capacity::Bps(10e9)));
        assert_eq!(capacity(&attributes(&[("capacity", "-1")])), None);
        let mut graph = Graph::default();
        let mut latency = |pairs| edge((0, 1), false, &attributes(pairs), &mut graph).latency_us;
        assert_eq!(latency(&[("delay", "5ms")]), Some(5_000.0));
        assert_eq!(latency(&[("Latency_us", "7")]), Some(7.0));
        assert_eq!(latency(&[("delay_ms", "-2")]), None);
        assert_eq!(latency(&[("delay", "3")]), None);
        assert_eq!(latency(&[("delay", "4")]), None);
        assert_eq!(graph.notes.len(), 1);
    }
}
