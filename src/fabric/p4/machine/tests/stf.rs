//! Runs folders of packet tests: programs (`NAME.json`) beside what goes in and has to come out (`NAME.stf`).
//!
//! The format is that of the P4 compiler's own samples ("simple test framework"). None of them is kept here: the folder is
//! named by `FORESHADOW_STF`, and the test does nothing without it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::fabric::p4::machine::control::{Bound, Call, CloneSession, Key, Part, Replica};
use crate::fabric::p4::machine::{Emission, Machine, MachineSettings};
use crate::fabric::p4::program::{MatchKind, Program, TableShape};
use crate::types::{PortNo, Timestamp};

type Outcome<T = ()> = Result<T, String>;

/// One expected packet: nibbles, with `None` for any, and whether it ends there.
type Expected = Option<(Vec<Option<u8>>, bool)>;

#[derive(Default)]
struct Replication {
    nodes: Vec<Vec<Replica>>,
    groups: BTreeMap<u16, Vec<Replica>>,
}

struct Run {
    machine: Machine,
    replication: Replication,
    seen: HashMap<u32, Vec<Vec<u8>>>,
    wanted: HashMap<u32, Vec<Expected>>,
}

fn number(text: &str) -> Outcome<u128> {
    let clean = text.replace('_', "");
    let parsed = match clean.get(..2) {
        Some("0x") => u128::from_str_radix(&clean[2..], 16),
        Some("0b") => u128::from_str_radix(&clean[2..], 2),
        Some("0o") => u128::from_str_radix(&clean[2..], 8),
        _ => clean.parse(),
    };
    parsed.map_err(|error| format!("'{text}': {error}"))
}

/// Value and mask of digits with stars.
fn masked(text: &str) -> Outcome<(u128, u128)> {
    let digit_bits = match text.get(..2) {
        Some("0x") => 4,
        Some("0b") => 1,
        _ => return number(text).map(|value| (value, u128::MAX)),
    };
    let mask = text[2..]
        .chars()
        .fold(0, |mask, digit| mask << digit_bits | if digit == '*' { 0 } else { (1 << digit_bits) - 1 });
    Ok((number(&text.replace('*', "0"))?, mask))
}

fn part(kind: MatchKind, width: u32, text: Option<&str>) -> Outcome<Part> {
    let ones = if width == 128 { u128::MAX } else { (1 << width) - 1 };
    Ok(match (kind, text) {
        (MatchKind::Exact, text) => Part::Exact(number(text.unwrap_or("0"))?),
        (MatchKind::Lpm, None) => Part::Lpm { value: 0, prefix: 0 },
        (MatchKind::Lpm, Some(text)) => {
            let (value, prefix) = text.split_once('/').unwrap_or((text, ""));
            let prefix = if prefix.is_empty() { width } else { prefix.parse().map_err(|_| "prefix")? };
            Part::Lpm { value: number(value)?, prefix }
        }
        (MatchKind::Ternary, None) => Part::Ternary { value: 0, mask: 0 },
        (MatchKind::Ternary, Some(text)) => {
            let (value, mask) = masked(text)?;
            Part::Ternary { value, mask: mask & ones }
        }
        (MatchKind::Range, _) => return Err("ranges are not in the format".to_owned()),
    })
}

fn call_of(text: &str) -> (&str, Vec<(&str, &str)>) {
    let (name, arguments) = text.split_once('(').unwrap_or((text, ""));
    let arguments = arguments.trim_end_matches(')').split(',').filter_map(|argument| argument.trim().split_once(':'));
    (name.trim(), arguments.collect())
}

impl Run {
    fn table(&self, name: &str) -> Outcome<TableShape<'_>> {
        let tables = self.machine.program().tables().collect::<Vec<_>>();
        let exact = tables.iter().find(|table| table.name == name);
        let table = exact.or_else(|| tables.iter().find(|table| table.name.ends_with(name)));
        table.cloned().ok_or_else(|| format!("no table {name}"))
    }

    fn call(&self, table: &TableShape<'_>, text: &str) -> Outcome<Call> {
        let (name, given) = call_of(text);
        let exact = table.actions.iter().find(|action| **action == name);
        let action = exact.or_else(|| table.actions.iter().find(|action| action.ends_with(name)));
        let action = *action.ok_or_else(|| format!("no action {name}"))?;
        let parameters = self.machine.program().parameters(action).unwrap_or_default();
        let arguments = parameters.iter().map(|(name, _)| {
            let value = given.iter().find(|(given, _)| given == name).ok_or_else(|| format!("no {name}"))?;
            number(value.1)
        });
        Ok(Call { action: action.into(), arguments: arguments.collect::<Outcome<_>>()? })
    }

    fn add(&mut self, rest: &str) -> Outcome {
        let (head, action) = rest.find('(').map_or((rest, ""), |paren| {
            let from = rest[..paren].trim_end().rfind(' ').map_or(0, |space| space + 1);
            (&rest[..from], &rest[from..])
        });
        let mut words = head.split_whitespace();
        let table = self.table(words.next().unwrap_or_default())?;
        let mut words: Vec<&str> = words.collect();
        let mut priority = 1;
        if let Some(value) = words.first().and_then(|word| word.parse::<i32>().ok()) {
            priority = value + 1;
            words.remove(0);
        }
        let given: Vec<(&str, &str)> = words.iter().filter_map(|word| word.split_once(':')).collect();
        let parts = table.key.iter().map(|(name, kind, width)| {
            let short = |given: &&(&str, &str)| {
                let given = given.0.replace('$', "[");
                let given = given.strip_suffix(".valid").map_or(given.clone(), |header| format!("{header}.$valid$"));
                *name == given || name.ends_with(&format!(".{given}")) || name.replace(']', "").ends_with(&given)
            };
            part(*kind, *width, given.iter().find(short).map(|given| given.1))
        });
        let key = Key { parts: parts.collect::<Outcome<_>>()?, priority };
        let (name, call) = (table.name.to_owned(), self.call(&table, action)?);
        let inserted = self.machine.insert(&name, &key, &Bound::Call(call), None, Timestamp::default());
        inserted.map_err(|error| error.to_string())
    }

    fn replicate(&mut self, command: &str, words: &[&str]) -> Outcome {
        let values: Vec<u16> =
            words.iter().map(|word| word.parse().map_err(|_| word.to_string())).collect::<Outcome<_>>()?;
        match (command, values.as_slice()) {
            ("mc_mgrp_create", [group]) => drop(self.replication.groups.insert(*group, Vec::new())),
            ("mc_node_create", [instance, ports @ ..]) => {
                let replica = |port: &u16| Replica { port: PortNo(u32::from(*port)), instance: *instance };
                self.replication.nodes.push(ports.iter().map(replica).collect());
            }
            ("mc_node_associate", [group, node]) => {
                let node = self.replication.nodes.get(usize::from(*node)).cloned().unwrap_or_default();
                let replicas = self.replication.groups.entry(*group).or_default();
                replicas.extend(node);
                self.machine.set_multicast(*group, Some(replicas));
            }
            ("mirroring_add", [session, port]) => {
                let replicas = vec![Replica { port: PortNo(u32::from(*port)), instance: 0 }];
                self.machine.set_clone(*session, Some(&CloneSession { replicas, length_bytes: 0 }));
            }
            ("mirroring_add_mc", [session, group]) => {
                let replicas = self.replication.groups.get(group).cloned().unwrap_or_default();
                self.machine.set_clone(*session, Some(&CloneSession { replicas, length_bytes: 0 }));
            }
            _ => return Err(format!("{command} {words:?}")),
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Outcome {
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let words: Vec<&str> = rest.split_whitespace().collect();
        match command {
            "packet" | "expect" => {
                let port = words.first().and_then(|port| port.parse::<u32>().ok()).ok_or("port")?;
                let text = words[1..].concat();
                let digits: Vec<Option<u8>> = text
                    .chars()
                    .filter(|digit| *digit != '$')
                    .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
                    .collect();
                if command == "expect" {
                    let expected = (!text.is_empty()).then(|| (digits, text.ends_with('$')));
                    self.wanted.entry(port).or_default().push(expected);
                    return Ok(());
                }
                let frame: Vec<u8> =
                    digits.chunks(2).map(|pair| pair[0].unwrap_or(0) << 4 | pair[1].unwrap_or(0)).collect();
                for emission in self.machine.receive(PortNo(port), &frame, Timestamp(1_000_000)) {
                    if let Emission::Frame { port, bytes } = emission {
                        self.seen.entry(port.0).or_default().push(bytes);
                    }
                }
                Ok(())
            }
            "add" => self.add(rest),
            "setdefault" => {
                let (table, action) = rest.split_once(' ').ok_or("setdefault")?;
                let table = self.table(table)?;
                let (name, call) = (table.name.to_owned(), self.call(&table, action)?);
                self.machine.set_default(&name, Some(&call)).map_err(|error| error.to_string())
            }
            "register_write" => {
                let index = words[1].parse().map_err(|_| "index")?;
                self.machine.set_register(words[0], index, number(words[2])?).map_err(|error| error.to_string())
            }
            _ if command.starts_with("mc_") || command.starts_with("mirroring_add") => self.replicate(command, &words),
            // What only shows something, or is not about packets.
            _ => Ok(()),
        }
    }

    fn compare(&self) -> Outcome {
        let nibbles = |frame: &[u8]| frame.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect::<Vec<u8>>();
        for (port, wanted) in &self.wanted {
            if wanted.iter().any(Option::is_none) {
                continue;
            }
            let seen = self.seen.get(port).map(Vec::as_slice).unwrap_or_default();
            if seen.len() != wanted.len() {
                return Err(format!("port {port}: expected {} packets, came {}: {seen:x?}", wanted.len(), seen.len()));
            }
            for (at, (wanted, seen)) in wanted.iter().zip(seen).enumerate() {
                let (digits, ends) = wanted.as_ref().expect("looked at above");
                let seen_digits = nibbles(seen);
                let same =
                    digits.iter().zip(&seen_digits).all(|(wanted, seen)| wanted.is_none_or(|wanted| wanted == *seen));
                let length_fits = digits.len() == seen_digits.len() || !ends && digits.len() < seen_digits.len();
                if !same || !length_fits {
                    return Err(format!("port {port}, packet {at}: expected {digits:x?}, came {seen:x?}"));
                }
            }
        }
        match self.seen.keys().find(|port| !self.wanted.contains_key(port)) {
            Some(port) => Err(format!("port {port}: expected nothing, came {:x?}", self.seen[port])),
            None => Ok(()),
        }
    }
}

fn run(json: &Path, stf: &Path) -> Outcome {
    let program = std::fs::read_to_string(json).map_err(|error| error.to_string())?;
    let program = Program::load(&program).map_err(|error| format!("LOAD {error}"))?;
    let ports = (0..64).map(PortNo).collect();
    let settings = MachineSettings { ports, cpu_port: Some(PortNo(510)), ..MachineSettings::default() };
    let machine = Machine::new(Arc::new(program), settings);
    let mut run = Run { machine, replication: Replication::default(), seen: HashMap::new(), wanted: HashMap::new() };
    let text = std::fs::read_to_string(stf).map_err(|error| error.to_string())?;
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if !line.is_empty() {
            run.line(line).map_err(|problem| format!("{line}: {problem}"))?;
        }
    }
    run.compare()
}

#[test]
#[ignore = "needs a folder of programs and packet tests, which FORESHADOW_STF names"]
fn packet_tests_of_a_folder_pass() {
    let Some(folder) = std::env::var_os("FORESHADOW_STF") else { return };
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut failed = Vec::new();
    let mut passed = 0;
    for stf in files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "stf")) {
        let json = stf.with_extension("json");
        if !json.exists() {
            continue;
        }
        match run(&json, stf) {
            Ok(()) => passed += 1,
            Err(problem) => failed.push(format!("{}: {problem}", stf.file_stem().unwrap().display())),
        }
    }
    println!("{passed} passed, {} failed", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
