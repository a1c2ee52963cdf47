//! The running fabric as a topology file: what was declared, and what was found beside it.
//!
//! Declared switches, links, services and hosts are written as they were declared. Switches that joined by themselves,
//! links that LLDP saw and hosts that were learned are added with their ports and measured latencies. What the format
//! has no place for is left out, and the file says so at its top.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use axum::extract::{OriginalUri, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::NorthState;
use super::problem::Problem;
use crate::config::{
    Comments, Host, Link, LinkEnd, NODES_MAX, Node, RouterSettings, Service, Stage, Topology, parse_topology,
};
use crate::controller::view::{HostView, LinkState, SwitchView, View};
use crate::types::{MacAddr, NodeId, NodeIndex, PortNo};

/// By its registration (RFC 9512).
pub const YAML: &str = "application/yaml";
/// Learned addresses say nothing of their subnet: it is the longest prefix that holds all, within these.
const PREFIX_LENS: std::ops::RangeInclusive<u8> = 8..=24;
/// Longest latency that the format takes.
const LATENCY_US_MAX: u32 = 10_000_000;

/// The running fabric as a topology file, which `check` reads and `run` takes.
#[utoipa::path(get, path = "/api/v1/topology.yaml", tag = "foreshadow", responses(
    (status = 200, body = String, content_type = "application/yaml"),
    (status = 404, description = "No switch is known yet", body = super::Problem, content_type = "application/problem+json")))]
pub(super) async fn topology_yaml(
    State(state): State<NorthState>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, Problem> {
    let view = std::sync::Arc::clone(&state.view.borrow());
    let (topology, comments) = export(&view, &state.declared);
    if topology.nodes.is_empty() {
        return Err(Problem::new(StatusCode::NOT_FOUND, uri.path(), "expected a switch, but none has come yet"));
    }
    Ok(([(header::CONTENT_TYPE, YAML)], topology.to_yaml_with(&comments)).into_response())
}

/// What the view shows, as a topology; `declared` is the controller's own file, empty where it has none.
pub fn export(view: &View, declared: &Topology) -> (Topology, Comments) {
    let mut exporter =
        Exporter { declared, topology: Topology::default(), ports: BTreeSet::new(), left_out: Vec::new() };
    exporter.nodes(view);
    exporter.links(view);
    exporter.topology.services = declared.services.clone();
    if declared.services.is_empty() {
        exporter.services(view);
    }
    exporter.hosts(view);
    let Exporter { topology, left_out, .. } = exporter;
    let mut comments = Comments {
        header: vec!["The fabric that a controller saw; latencies are measured where probes could.".to_owned()],
        labels: view.switches.iter().filter_map(label).collect(),
    };
    comments.header.extend(left_out.into_iter().map(|what| format!("- left out: {what}")));
    comments.header.extend(view.differences.iter().map(|difference| format!("- differs from the file: {difference}")));
    if let Err(problems) = parse_topology(Path::new("topology.yaml"), &topology.to_yaml()) {
        comments.header.extend(
            problems
                .iter()
                .map(|problem| format!("- to be put right: {}; expected {}", problem.what, problem.expected)),
        );
    }
    (topology, comments)
}

fn label(switch: &SwitchView) -> Option<(NodeId, String)> {
    let description = switch.description.as_ref()?;
    let label = format!("{} {}", description.hardware.trim(), description.software.trim());
    (!label.trim().is_empty()).then(|| (switch.node.clone(), label))
}

#[derive(Debug)]
struct Exporter<'d> {
    declared: &'d Topology,
    topology: Topology,
    /// Ports that something is wired to.
    ports: BTreeSet<(NodeId, PortNo)>,
    left_out: Vec<String>,
}

impl Exporter<'_> {
    /// Declared switches, and those with a session.
    fn nodes(&mut self, view: &View) {
        let shares: BTreeMap<&NodeId, _> = view.routers.iter().map(|decision| (&decision.router, decision)).collect();
        for switch in &view.switches {
            let declared = self.declared.node(&switch.node);
            if declared.is_none() && !switch.connected {
                self.left_out.push(format!("switch {}, which has no session", switch.node));
                continue;
            }
            let at = self.topology.nodes.len();
            let Some(index) = u16::try_from(at + 1).ok().filter(|_| at < NODES_MAX) else { return };
            let router =
                shares.get(&switch.node).filter(|_| switch.stage == Stage::Router).map(|decision| RouterSettings {
                    capacity_connections: decision.capacity,
                    threshold_available: decision.threshold_available,
                    idle_timeout_s: RouterSettings::IDLE_TIMEOUT_S,
                    closing_timeout_s: RouterSettings::CLOSING_TIMEOUT_S,
                    half_open_timeout_s: RouterSettings::HALF_OPEN_TIMEOUT_S,
                    source_nat: None,
                });
            let node = declared.cloned().unwrap_or_else(|| Node {
                id: switch.node.clone(),
                index: NodeIndex(index),
                stage: switch.stage,
                protocol: switch.protocol,
                datapath: switch.datapath,
                device: None,
                router,
                risk_groups: Vec::new(),
            });
            self.topology.nodes.push(Node { index: NodeIndex(index), ..node });
        }
    }

    /// Declared links, and those that were seen.
    fn links(&mut self, view: &View) {
        let stages: BTreeMap<NodeId, Stage> =
            self.topology.nodes.iter().map(|node| (node.id.clone(), node.stage)).collect();
        for link in &view.links {
            let name = || format!("{}-{}", link.a, link.b);
            let (Some(&a), Some(&b)) = (stages.get(&link.a), stages.get(&link.b)) else { continue };
            let undeclared = link.state == LinkState::Undeclared;
            if undeclared && (link.a == link.b || !Stage::may_join(a, b)) {
                self.left_out.push(format!("link {}, which joins stages that no link may join", name()));
                continue;
            }
            let ends = [(&link.a, link.a_port), (&link.b, link.b_port)];
            let taken =
                ends.iter().any(|(node, port)| port.is_some_and(|port| self.ports.contains(&((*node).clone(), port))));
            if taken && undeclared {
                self.left_out.push(format!("link {}, whose ports have other links", name()));
                continue;
            }
            let [a, b] = ends.map(|(node, port)| {
                let port = port.filter(|port| self.ports.insert((node.clone(), *port)));
                LinkEnd { node: node.clone(), port }
            });
            let latency_us = link.measured_latency_us.unwrap_or(link.latency_us).min(LATENCY_US_MAX);
            self.topology.links.push(Link { a, b, latency_us, capacity_bps: link.capacity_bps, kind: link.kind });
        }
    }

    /// Services of a view whose file is not at hand.
    fn services(&mut self, view: &View) {
        let outside: Vec<NodeId> = view
            .switches
            .iter()
            .filter(|switch| switch.stage == Stage::Outside)
            .map(|switch| switch.node.clone())
            .collect();
        for (number, service) in (1..).zip(&view.services) {
            let mut shares: Vec<(NodeId, f64)> = service
                .routers
                .iter()
                .filter(|share| share.base > 0.0)
                .map(|share| (share.router.clone(), share.base))
                .collect();
            shares.sort_by(|a, b| a.0.cmp(&b.0));
            self.topology.services.push(Service {
                id: service.service.clone(),
                number,
                prefixes: service.prefixes.clone(),
                shares,
                outside: outside.clone(),
            });
        }
    }

    /// Declared hosts, and learned ones with an IPv4 address and no VLAN.
    fn hosts(&mut self, view: &View) {
        let stages: BTreeMap<&NodeId, Stage> = self.topology.nodes.iter().map(|node| (&node.id, node.stage)).collect();
        let may_hang = |host: &HostView| {
            stages.get(&host.node).is_some_and(|stage| matches!(stage, Stage::Access | Stage::Outside | Stage::Bridge))
        };
        let mut hosts: Vec<Host> =
            self.declared.hosts.iter().filter(|host| stages.contains_key(&host.attached.node)).cloned().collect();
        let names = hosts.iter().map(|host| host.id.clone());
        let mut names: BTreeSet<String> = names.chain(stages.keys().map(|id| id.as_str().to_owned())).collect();
        let mut addresses: BTreeSet<Ipv4Addr> =
            hosts.iter().flat_map(|host| [Some(host.address), host.gateway]).flatten().collect();
        let mut macs: BTreeSet<MacAddr> = hosts.iter().filter_map(|host| host.mac).collect();
        let (mut tagged, mut nameless, mut twice) = (0, 0, 0);
        let learned: Vec<(&HostView, Ipv4Addr)> = view
            .hosts
            .iter()
            .filter(|host| may_hang(host) && !self.declared.hosts.iter().any(|own| own.id == host.id))
            .filter_map(|host| match (host.vlan, host.ipv4.iter().copied().find(|address| is_unicast(*address))) {
                (Some(_), _) => {
                    tagged += 1;
                    None
                }
                (None, None) => {
                    nameless += 1;
                    None
                }
                (None, Some(address)) => Some((host, address)),
            })
            .collect();
        let prefix_len = common_prefix(learned.iter().map(|(_, address)| *address));
        let mut number = 0_u32;
        for (host, address) in learned {
            let mac = host.mac.filter(|mac| is_a_hosts(*mac));
            if mac.is_some_and(|mac| macs.contains(&mac)) || !addresses.insert(address) {
                twice += 1;
                continue;
            }
            macs.extend(mac);
            let id = loop {
                number += 1;
                let id = format!("h{number}");
                if names.insert(id.clone()) {
                    break id;
                }
            };
            // Several hosts behind one port are declared without it: their ARP tells.
            let port = host.port.filter(|port| self.ports.insert((host.node.clone(), *port)));
            let attached = LinkEnd { node: host.node.clone(), port };
            hosts.push(Host { id, address, prefix_len, gateway: None, mac, attached });
        }
        for (count, what) in [
            (tagged, "hosts in a VLAN"),
            (nameless, "hosts without an IPv4 address"),
            (twice, "hosts whose address another has"),
        ] {
            if count > 0 {
                self.left_out.push(format!("{what}: {count}"));
            }
        }
        self.topology.hosts = hosts;
    }
}

/// What a file takes as a host's address.
fn is_unicast(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback())
}

/// What a file takes as a host's MAC address: not a group's, nor one of the fabric's own.
fn is_a_hosts(mac: MacAddr) -> bool {
    mac.0[0] & 1 == 0 && mac != MacAddr([0; 6]) && !mac.0.starts_with(&MacAddr::GATEWAY.0[..3])
}

fn common_prefix(addresses: impl Iterator<Item = Ipv4Addr>) -> u8 {
    let (all, any) = addresses.map(u32::from).fold((u32::MAX, 0), |(all, any), address| (all & address, any | address));
    let common = (all ^ any).leading_zeros();
    u8::try_from(common).unwrap_or(0).clamp(*PREFIX_LENS.start(), *PREFIX_LENS.end())
}
