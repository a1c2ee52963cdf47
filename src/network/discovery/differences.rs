//! How the wires differ from what is declared, in sentences.

use std::collections::BTreeSet;

use super::{Discovery, End};
use crate::network::{LinkState, WiredLink};
use crate::types::{DatapathId, PortNo, Timestamp};

impl Discovery {
    /// How the wires differ from the file; sentences.
    pub fn differences(&self, now: Timestamp) -> Vec<String> {
        let mut sentences = Vec::new();
        let mut told: BTreeSet<End> = BTreeSet::new();
        for (number, link) in self.declared.links().iter().enumerate() {
            self.declared_difference(number, link, now, &mut told, &mut sentences);
        }
        for (here, neighbour) in self.wires.iter() {
            let there = neighbour.end;
            if !self.is_fresh(here, neighbour, now) || self.declared.is_declared(here, there) || told.contains(&here) {
                continue;
            }
            let (here_name, there_name) = (self.end_name(here), self.end_name(there));
            if !(self.is_bridge(here.0) && self.is_bridge(there.0)) {
                told.extend([here, there]);
                sentences.push(format!("{here_name} is wired to {there_name}, which is not declared"));
            } else if !self.hears(there, here, now) && self.had_time(here.0, there.0, now) {
                sentences.push(format!("LLDP passes from {there_name} to {here_name}, but not back"));
            }
        }
        sentences
    }

    /// Both switches had a session for long enough to hear each other.
    fn had_time(&self, one: DatapathId, other: DatapathId, now: Timestamp) -> bool {
        let long = |switch: &super::Switch| switch.connected && now.since(switch.since) > self.hold();
        [one, other].iter().all(|datapath| self.switches.get(datapath).is_some_and(long))
    }

    fn declared_difference(
        &self,
        number: usize,
        link: &WiredLink,
        now: Timestamp,
        told: &mut BTreeSet<End>,
        sentences: &mut Vec<String>,
    ) {
        let connected = |index| {
            let datapath = self.datapaths.get(&index);
            datapath.is_some_and(|datapath| self.had_time(*datapath, *datapath, now))
        };
        let Some((a, b)) = self.declared.ends(number) else {
            if connected(link.a) && connected(link.b) {
                let name = |index, port: Option<PortNo>| {
                    let node = self.datapaths.get(&index).map(|datapath| self.node_name(*datapath)).unwrap_or_default();
                    port.map_or(node.clone(), |port| format!("{node}:{port}"))
                };
                let (a, b) = (name(link.a, link.a_port), name(link.b, link.b_port));
                sentences.push(format!("{a} and {b} are declared to be wired, but LLDP sees no such link"));
            }
            return;
        };
        for (here, there) in [(a, b), (b, a)] {
            let switch = self.switches.get(&here.0).filter(|switch| switch.connected);
            if let Some(switch) = switch
                && !switch.ports.contains_key(&here.1)
            {
                let (here, there) = (self.end_name(here), self.end_name(there));
                sentences.push(format!("{here} is declared to be wired to {there}, but the switch has no such port"));
                return;
            }
        }
        let mut elsewhere = false;
        for (here, there) in [(a, b), (b, a)] {
            if let Some(heard) = self.neighbour(here, now).filter(|heard| *heard != there) {
                elsewhere = true;
                told.extend([here, heard]);
                let (here, heard, there) = (self.end_name(here), self.end_name(heard), self.end_name(there));
                sentences.push(format!("{here} is wired to {heard}, declared {there}"));
            }
        }
        let judged = self.judge(number, link, now);
        if elsewhere || judged.state != LinkState::Unseen || !connected(link.a) || !connected(link.b) {
            return;
        }
        let (a_name, b_name) = (self.end_name(a), self.end_name(b));
        sentences.push(match (self.hears(b, a, now), self.hears(a, b, now)) {
            (true, _) => format!("LLDP passes from {a_name} to {b_name}, but not back"),
            (_, true) => format!("LLDP passes from {b_name} to {a_name}, but not back"),
            _ => format!("{a_name} is declared to be wired to {b_name}, but LLDP does not see it"),
        });
    }
}
