//! What goes wrong during a replay, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::Fabric;
use crate::config::Problem;
use crate::types::{NodeId, NodeIndex};

/// Loss of a mirror link from which on its copies are no longer given new connections.
const UNFIT_LOSS: f64 = 0.05;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// A first-stage router dies and comes back.
    Router,
    /// Any node of the topology; routers that no third-stage switch reaches any more are lost with it.
    Switch,
    /// A link, `a-b`; of kind mirror or data.
    Link,
    /// Nothing is read and decided.
    Controller,
    /// Copies of a router's connections are lost on their way (of all, where none is named).
    Mirror,
    /// A router is not read (none is, where none is named).
    Telemetry,
}

/// One fault; times in seconds from the beginning of the traffic.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: FaultKind,
    /// Of the router, node or link.
    #[serde(default)]
    pub name: Option<String>,
    #[serde(rename = "at")]
    pub at_s: f64,
    #[serde(rename = "for")]
    pub for_s: f64,
    /// Part of the copies that a lossy mirror loses.
    #[serde(default)]
    pub loss: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    faults: Vec<Fault>,
}

/// Reads `faults: [{kind, name, at, for, loss}]`.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Fault>, Problem> {
    let file: Result<File, _> = serde_saphyr::from_str(text);
    file.map(|file| file.faults).map_err(|error| {
        let place = error.location().map_or((0, 0), |at| (at.line() as u32, at.column() as u32));
        let what = error.to_string();
        Problem {
            file: path.to_owned(),
            line: place.0,
            column: place.1,
            what: what.lines().next().unwrap_or("bad YAML").to_owned(),
            expected: "faults: [{kind, name, at, for, loss}], times in seconds".to_owned(),
        }
    })
}

/// One fault as `KIND[:NAME]@AT+FOR`, in seconds.
pub fn parse_flag(text: &str) -> Result<Fault, String> {
    let wrong = || format!("expected KIND[:NAME]@AT+FOR in seconds, as router:r1@3600+600; came '{text}'");
    let (what, when) = text.rsplit_once('@').ok_or_else(wrong)?;
    let (at, lasts) = when.split_once('+').ok_or_else(wrong)?;
    let (kind, name) = what.split_once(':').map_or((what, None), |(kind, name)| (kind, Some(name.to_owned())));
    let kind = match kind {
        "router" => FaultKind::Router,
        "switch" => FaultKind::Switch,
        "link" => FaultKind::Link,
        "controller" => FaultKind::Controller,
        "mirror" => FaultKind::Mirror,
        "telemetry" => FaultKind::Telemetry,
        _ => return Err(wrong()),
    };
    let loss = if kind == FaultKind::Mirror { 0.5 } else { 0.0 };
    let seconds = |text: &str| text.trim_end_matches('s').parse::<f64>().map_err(|_| wrong());
    Ok(Fault { kind, name, at_s: seconds(at)?, for_s: seconds(lasts)?, loss })
}

/// What is wrong just now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Present {
    /// Routers out of service, by place.
    pub(super) down: BTreeSet<usize>,
    /// Links of the engine's topology.
    pub(super) down_links: BTreeSet<usize>,
    pub(super) controller: bool,
    pub(super) unread: BTreeSet<usize>,
    /// Part of each router's copies that is lost.
    pub(super) loss: BTreeMap<usize, f64>,
}

impl Present {
    /// Routers and shadows whose copies cannot be relied on.
    pub(super) fn unfit(&self, fabric: &Fabric) -> BTreeSet<(NodeIndex, NodeIndex)> {
        let index = |place: usize| fabric.topology.nodes[place].index;
        let bad = self.loss.iter().filter(|(_, loss)| **loss >= UNFIT_LOSS);
        let places = fabric.places();
        bad.flat_map(|(owner, _)| {
            let name = fabric.router_name(*owner).clone();
            let others = fabric.topology.links.iter().filter_map(move |link| {
                if link.a.node == name {
                    Some(&link.b.node)
                } else if link.b.node == name {
                    Some(&link.a.node)
                } else {
                    None
                }
            });
            others.filter_map(|other| places.get(other)).map(|other| (index(*owner), index(*other))).collect::<Vec<_>>()
        })
        .collect()
    }
}

/// Faults whose names are known, in order of their beginnings.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    faults: Vec<Fault>,
}

impl Schedule {
    pub(super) fn new(faults: &[Fault], fabric: &Fabric) -> Result<Self, String> {
        for fault in faults {
            check(fault, fabric)?;
        }
        Ok(Self { faults: faults.to_vec() })
    }

    /// Moments at which something changes, so that the present need not be worked out in between.
    pub(super) fn at(&self, seconds: f64, fabric: &Fabric) -> Present {
        let mut present = Present::default();
        let (mut nodes, mut cut) = (BTreeSet::new(), BTreeSet::new());
        let places = fabric.places();
        let in_force = |fault: &&Fault| fault.at_s <= seconds + 1e-9 && seconds + 1e-9 < fault.at_s + fault.for_s;
        for fault in self.faults.iter().filter(in_force) {
            let named = fault.name.as_deref().map(NodeId::new);
            let routers = || match &named {
                Some(name) => places.get(name).copied().into_iter().collect::<Vec<usize>>(),
                None => (0..fabric.routers()).collect(),
            };
            match fault.kind {
                FaultKind::Router => present.down.extend(routers()),
                FaultKind::Switch => {
                    present.down.extend(named.as_ref().and_then(|name| places.get(name)));
                    nodes.extend(named);
                }
                FaultKind::Link => {
                    if let Some(pair) = fault.name.as_deref().and_then(|name| ends(name, fabric)) {
                        present.down_links.extend(links_between(fabric, &pair));
                        cut.insert(pair);
                    }
                }
                FaultKind::Controller => present.controller = true,
                FaultKind::Mirror => present.loss.extend(routers().into_iter().map(|router| (router, fault.loss))),
                FaultKind::Telemetry => present.unread.extend(routers()),
            }
        }
        if !nodes.is_empty() || !cut.is_empty() {
            let known: BTreeSet<usize> = fabric.unreachable(&BTreeSet::new(), &BTreeSet::new()).into_iter().collect();
            let lost = fabric.unreachable(&nodes, &cut);
            present.down.extend(lost.into_iter().filter(|place| !known.contains(place)));
        }
        present
    }

    pub(super) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }
}

/// The two nodes that a link's name joins.
fn ends(name: &str, fabric: &Fabric) -> Option<(NodeId, NodeId)> {
    let known = |id: &str| fabric.names.iter().find(|name| name.as_str() == id).cloned();
    name.match_indices('-').find_map(|(at, _)| Some((known(&name[..at])?, known(&name[at + 1..])?)))
}

/// Mirror links of the engine's topology between two routers.
fn links_between(fabric: &Fabric, pair: &(NodeId, NodeId)) -> Vec<usize> {
    let joins = |a: &NodeId, b: &NodeId| (a, b) == (&pair.0, &pair.1) || (b, a) == (&pair.0, &pair.1);
    let links = fabric.topology.links.iter().enumerate();
    links.filter(|(_, link)| joins(&link.a.node, &link.b.node)).map(|(number, _)| number).collect()
}

fn check(fault: &Fault, fabric: &Fabric) -> Result<(), String> {
    let name = fault.name.as_deref();
    let told = name.unwrap_or("nothing");
    if !(fault.at_s >= 0.0 && fault.for_s > 0.0 && fault.for_s.is_finite() && fault.at_s.is_finite()) {
        return Err(format!("a fault at {} s for {} s; expected at >= 0 and for > 0", fault.at_s, fault.for_s));
    }
    if !(0.0..=1.0).contains(&fault.loss) {
        return Err(format!("a loss of {}; expected a part from 0 to 1", fault.loss));
    }
    let router = name.map(|name| fabric.places().contains_key(&NodeId::new(name)));
    match fault.kind {
        FaultKind::Router if router != Some(true) => {
            Err(format!("a router fault names {told}; expected a first-stage router"))
        }
        FaultKind::Mirror | FaultKind::Telemetry if router == Some(false) => {
            Err(format!("a fault names {told}; expected a first-stage router, or none for all"))
        }
        FaultKind::Switch if !name.is_some_and(|name| fabric.names.iter().any(|id| id.as_str() == name)) => {
            Err(format!("a switch fault names {told}; expected a node of the topology"))
        }
        FaultKind::Link if name.and_then(|name| ends(name, fabric)).is_none() => {
            Err(format!("a link fault names {told}; expected a-b, two nodes of the topology"))
        }
        FaultKind::Controller if name.is_some() => Err("a controller fault has no name".to_owned()),
        _ => Ok(()),
    }
}
