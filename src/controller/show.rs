//! What the controller shows of itself.

use std::sync::Arc;

use super::Controller;
use super::bridges::describe;
use super::replication::Pair;
use super::switches::Switch;
use super::view::{HostView, LinkView, PairView, ServiceShare, ServiceView, SwitchView, View};
use crate::config::Service;
use crate::plan::SLOTS;
use crate::types::{NodeId, NodeIndex, Timestamp};

impl Controller {
    /// Everything visible just now.
    pub fn view(&self, now: Timestamp) -> View {
        View {
            at: now,
            started_at: self.started_at,
            cycle: self.cycle,
            cycle_ms: self.settings.cycle_ms,
            policy: self.settings.policy,
            generation: self.generation,
            switches: self
                .topology
                .nodes
                .iter()
                .filter_map(|node| self.switches.get(&node.datapath))
                .map(show_switch)
                .collect(),
            links: self.show_links(),
            hosts: self.show_hosts(),
            services: self.topology.services.iter().map(|service| self.show_service(service)).collect(),
            routers: self.outcome.decisions.clone(),
            differences: self.differences.clone(),
            cycles: self.cycles,
            failover: self.show_failover(),
            replication: self.show_replication(),
        }
    }

    pub(super) fn node_name(&self, index: NodeIndex) -> NodeId {
        self.topology.by_index(index).map_or_else(|| NodeId::new("?"), |node| node.id.clone())
    }

    fn show_replication(&self) -> Vec<PairView> {
        let pair = |(owner, holder, keeper, pair): (NodeIndex, NodeIndex, NodeIndex, &Pair)| PairView {
            owner: self.node_name(owner),
            holder: self.node_name(holder),
            keeper: self.node_name(keeper),
            state: pair.state().to_owned(),
            problem: pair.obstacle.map(str::to_owned).or_else(|| pair.error.clone()),
            held: pair.held,
            copied: pair.copied,
            divergence: pair.divergence,
            repaired: pair.repaired,
            ends: pair.ends,
            compared_at: pair.compared_at,
        };
        self.replication.pairs().map(pair).collect()
    }

    fn show_links(&self) -> Vec<LinkView> {
        self.links
            .iter()
            .map(|link| LinkView {
                a: self.node_name(link.a),
                a_port: link.a_port,
                b: self.node_name(link.b),
                b_port: link.b_port,
                kind: link.kind,
                latency_us: link.latency_us,
                capacity_bps: link.capacity_bps,
                state: link.state,
                measured_latency_us: link.measured_latency_us,
            })
            .collect()
    }

    fn show_hosts(&self) -> Vec<HostView> {
        let hosts = self.hosts.iter().map(|host| HostView {
            id: host.id.clone(),
            mac: host.mac,
            vlan: None,
            ipv4: vec![host.address],
            ipv6: Vec::new(),
            node: self.node_name(host.node),
            port: host.port,
        });
        let stations = self.bridges.stations().iter().map(|known| HostView {
            id: describe(known.station),
            mac: Some(known.station.mac),
            vlan: known.station.vlan,
            ipv4: known.ipv4.iter().copied().collect(),
            ipv6: known.ipv6.iter().copied().collect(),
            node: self.node_name(known.place.node),
            port: Some(known.place.port),
        });
        hosts.chain(stations).collect()
    }

    /// Shares over all third-stage switches together.
    fn show_service(&self, service: &Service) -> ServiceView {
        let assignments: Vec<_> = self.outcome.slots.values().filter_map(|slots| slots.get(&service.id)).collect();
        let measured_over: u64 = assignments.iter().map(|assignment| assignment.measured_over).sum();
        let share = |router: &NodeId, index: NodeIndex, base: f64| {
            let slots =
                assignments.iter().flat_map(|assignment| &assignment.slots).filter(|slot| **slot == index).count();
            let wanted: f64 = assignments.iter().filter_map(|assignment| assignment.wanted.get(&index)).sum();
            let measured: f64 = assignments
                .iter()
                .map(|assignment| {
                    assignment.measured.get(&index).copied().unwrap_or(0.0) * assignment.measured_over as f64
                })
                .sum();
            let count = assignments.len().max(1) as f64;
            ServiceShare {
                router: router.clone(),
                base,
                wanted: wanted / count,
                installed: slots as f64 / (count * SLOTS as f64),
                measured: (measured_over > 0).then(|| measured / measured_over as f64),
                measured_over,
            }
        };
        let base =
            |router: &NodeId| service.shares.iter().find(|(id, _)| id == router).map_or(0.0, |(_, share)| *share);
        let routers = self.topology.routers().map(|node| share(&node.id, node.index, base(&node.id)));
        ServiceView {
            service: service.id.clone(),
            prefixes: service.prefixes.clone(),
            routers: routers.filter(|share| share.base > 0.0 || share.wanted > 0.0 || share.installed > 0.0).collect(),
        }
    }
}

fn show_switch(switch: &Switch) -> SwitchView {
    let session = switch.session.as_ref();
    SwitchView {
        node: switch.node.id.clone(),
        index: switch.node.index,
        stage: switch.node.stage,
        protocol: switch.node.protocol,
        datapath: switch.node.datapath,
        connected: session.is_some(),
        peer: session.map(|session| session.peer.clone()),
        description: session.map(|session| Arc::clone(&session.description)),
        session: session.and_then(|session| session.status.clone()),
        ports: session.map(|session| Arc::clone(&session.ports)).unwrap_or_default(),
        counters: Arc::clone(&switch.counters),
        installed: switch.installed,
        wanted: switch.wanted,
        last_install: switch.last_install,
        install_total: switch.install_total,
        last_error: switch.last_error.clone(),
    }
}
