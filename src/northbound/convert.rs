//! From the controller's view to the values that REST answers with.

use crate::config::Stage;
use crate::controller::view::{Happening, HostView, LinkView, ServiceView, SwitchView, View};
use crate::policy::decision::{self, RouterDecision, ShadowChoice};
use crate::southbound;
use crate::types::{NodeId, PortNo, Timestamp};

use super::failover;
use super::model::*;

/// RFC 3339 in UTC, microseconds where there are any.
pub(super) fn moment(at: Timestamp) -> String {
    let micros = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// JSON knows no NaN and no infinity, and a number is never null: what is no number is shown as 0, what is beyond
/// every bound as the largest number.
fn number(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(f64::MIN, f64::MAX) }
}

fn numbers(values: &[f64]) -> Vec<f64> {
    values.iter().copied().map(number).collect()
}

pub(super) fn topology(view: &View) -> Topology {
    Topology {
        at: moment(view.at),
        cycle: view.cycle,
        switches: view.switches.iter().map(switch).collect(),
        links: view.links.iter().map(link).collect(),
        hosts: view.hosts.iter().map(host).collect(),
        services: view.services.iter().map(service).collect(),
        differences: view.differences.clone(),
    }
}

fn switch(from: &SwitchView) -> Switch {
    Switch {
        id: from.node.to_string(),
        index: from.index.0,
        stage: from.stage,
        protocol: from.protocol,
        datapath: from.datapath.to_string(),
        connected: from.connected,
        peer: from.peer.clone(),
        description: from.description.as_deref().map(description),
        session: from.session.as_deref().map(session),
        ports: from.ports.values().map(|each| port(from, each)).collect(),
        plan: plan(from),
        install_total: install_counts(&from.install_total),
        last_install: from.last_install.as_ref().map(install_counts),
        last_error: from.last_error.clone(),
    }
}

fn session(from: &southbound::SessionStatus) -> Session {
    let role = match from.role {
        southbound::SessionRole::Equal => "equal",
        southbound::SessionRole::Master => "master",
        southbound::SessionRole::Slave => "slave",
    };
    Session {
        role: role.into(),
        round_trip_us: from.round_trip_us,
        messages_in: from.messages_in.clone(),
        messages_out: from.messages_out.clone(),
        bytes_in: from.bytes_in,
        bytes_out: from.bytes_out,
        errors_in: from.errors_in,
        errors_untied: from.errors_untied,
        errors_out: from.errors_out,
        malformed: from.malformed,
        late_answers: from.late_answers,
        dropped_packet_ins: from.dropped_packet_ins,
        reconnects: from.reconnects,
        auxiliary_connections: from.auxiliary_connections,
    }
}

/// The switch holds what it should; one that was not told anything yet does not.
fn confirmed(switch: &SwitchView) -> bool {
    switch.installed != 0 && switch.installed == switch.wanted
}

fn plan(from: &SwitchView) -> Plan {
    Plan {
        switch: from.node.to_string(),
        wanted: from.wanted,
        installed: from.installed,
        confirmed: from.connected && confirmed(from),
    }
}

fn description(from: &southbound::Description) -> Description {
    Description {
        manufacturer: from.manufacturer.clone(),
        hardware: from.hardware.clone(),
        software: from.software.clone(),
        serial: from.serial.clone(),
        datapath: from.datapath.clone(),
    }
}

fn port(switch: &SwitchView, from: &southbound::Port) -> Port {
    Port {
        number: from.number.0,
        name: from.name.clone(),
        mac: from.mac.to_string(),
        up: from.up,
        speed_kbps: from.speed_kbps,
        counters: switch.counters.get(&from.number).map(|counters| PortCounters {
            rx_packets: counters.rx_packets,
            tx_packets: counters.tx_packets,
            rx_bytes: counters.rx_bytes,
            tx_bytes: counters.tx_bytes,
            rx_dropped: counters.rx_dropped,
            tx_dropped: counters.tx_dropped,
        }),
    }
}

fn install_counts(from: &southbound::InstallCounts) -> InstallCounts {
    InstallCounts {
        flows_added: from.flows_added,
        flows_modified: from.flows_modified,
        flows_deleted: from.flows_deleted,
        groups_added: from.groups_added,
        groups_modified: from.groups_modified,
        groups_deleted: from.groups_deleted,
        unchanged: from.unchanged,
    }
}

pub(super) fn end(node: &NodeId, port: Option<PortNo>) -> LinkEnd {
    LinkEnd { switch: node.to_string(), port: port.map(|port| port.0) }
}

fn link(from: &LinkView) -> Link {
    Link {
        a: end(&from.a, from.a_port),
        b: end(&from.b, from.b_port),
        kind: from.kind,
        state: from.state,
        latency_us: from.latency_us,
        capacity_bps: from.capacity_bps,
        measured_latency_us: from.measured_latency_us,
    }
}

fn host(from: &HostView) -> Host {
    Host {
        id: from.id.clone(),
        address: from.ipv4.first().map(ToString::to_string),
        ipv4: from.ipv4.iter().map(ToString::to_string).collect(),
        ipv6: from.ipv6.iter().map(ToString::to_string).collect(),
        mac: from.mac.map(|mac| mac.to_string()),
        vlan: from.vlan,
        attached: end(&from.node, from.port),
    }
}

fn service(from: &ServiceView) -> Service {
    Service {
        id: from.service.clone(),
        prefixes: from.prefixes.iter().map(ToString::to_string).collect(),
        shares: shares(from).collect(),
    }
}

fn shares(from: &ServiceView) -> impl Iterator<Item = Share> + '_ {
    from.routers.iter().map(|share| Share {
        service: from.service.clone(),
        router: share.router.to_string(),
        base: number(share.base),
        wanted: number(share.wanted),
        installed: number(share.installed),
        measured: share.measured.map(number),
        measured_over: share.measured_over,
    })
}

pub(super) fn routers(view: &View) -> Routers {
    Routers {
        at: moment(view.at),
        cycle: view.cycle,
        policy: view.policy,
        routers: view.routers.iter().map(|decision| router(view, decision)).collect(),
    }
}

fn router(view: &View, from: &RouterDecision) -> Router {
    Router {
        id: from.router.to_string(),
        connected: view.switches.iter().any(|switch| switch.node == from.router && switch.connected),
        load: load(&from.load),
        capacity: from.capacity,
        available: number(f64::from(from.capacity) - from.load.occupied),
        threshold_available: from.threshold_available,
        crossed: from.crossed,
        breach_probability: from.forecast.as_ref().map(|forecast| number(forecast.breach_probability)),
        breach_in_s: from.forecast.as_ref().and_then(|forecast| forecast.breach_in_s).map(number),
        shift: shift(from),
    }
}

fn load(from: &decision::Load) -> Load {
    Load {
        active: number(from.active),
        occupied: number(from.occupied),
        new_per_s: number(from.new_per_s),
        mean_duration_s: number(from.mean_duration_s),
        bytes_per_s: number(from.bytes_per_s),
        refused: from.refused,
        refused_total: from.refused_total,
        unknown_packets: from.unknown_packets,
    }
}

fn shift(from: &RouterDecision) -> Shift {
    Shift {
        router: from.router.to_string(),
        phase: from.phase,
        prediction_severity: number(from.prediction_severity),
        anomaly_severity: number(from.anomaly_severity),
        wanted_percent: number(from.wanted_percent),
        shift_percent: number(from.shift_percent),
        unplaced_percent: number(from.unplaced_percent),
        shadows: from.shadows.iter().map(|choice| shadow(from, choice)).collect(),
        reasons: from.reasons.clone(),
        generation: from.generation,
        at: moment(from.at),
    }
}

fn shadow(of: &RouterDecision, from: &ShadowChoice) -> Shadow {
    Shadow {
        router: from.router.to_string(),
        share: number(from.share),
        percent: number(of.shift_percent * from.share),
        score: number(from.score),
        latency_us: from.latency_us,
        headroom: number(from.headroom),
        reason: from.reason.clone(),
    }
}

/// Everything about one router; `None` where the topology has no such first-stage router.
pub(super) fn router_detail(view: &View, id: &str, events: Vec<Event>) -> Option<RouterDetail> {
    let decision = view.routers.iter().find(|decision| decision.router.as_str() == id)?;
    let shadow_of = view.routers.iter().flat_map(|other| {
        let choices = other.shadows.iter().filter(|choice| choice.router == decision.router);
        choices.map(|choice| ShadowOf {
            router: other.router.to_string(),
            percent: number(other.shift_percent * choice.share),
        })
    });
    Some(RouterDetail {
        at: moment(view.at),
        cycle: view.cycle,
        policy: view.policy,
        router: router(view, decision),
        forecast: forecast(view, decision),
        shadow_of: shadow_of.collect(),
        shares: view.services.iter().flat_map(shares).filter(|share| share.router == id).collect(),
        plans: view.switches.iter().filter(|switch| switch.stage == Stage::Access).map(plan).collect(),
        failover: failover::of_router(view, id),
        events,
    })
}

fn forecast(view: &View, from: &RouterDecision) -> Option<Forecast> {
    let forecast = from.forecast.as_ref()?;
    Some(Forecast {
        router: from.router.to_string(),
        model: forecast.model.clone(),
        step_ms: view.cycle_ms,
        mean: numbers(&forecast.mean),
        lo80: numbers(&forecast.lo80),
        hi80: numbers(&forecast.hi80),
        breach_probability: number(forecast.breach_probability),
        breach_in_s: forecast.breach_in_s.map(number),
    })
}

pub(super) fn forecasts(view: &View) -> Forecasts {
    let waiting = view.routers.iter().filter(|decision| decision.forecast.is_none());
    Forecasts {
        at: moment(view.at),
        cycle: view.cycle,
        forecasts: view.routers.iter().filter_map(|decision| forecast(view, decision)).collect(),
        waiting: waiting.map(|decision| decision.router.to_string()).collect(),
    }
}

pub(super) fn shadows(view: &View) -> Shadows {
    let sets = view.routers.iter().map(|decision| ShadowSet {
        router: decision.router.to_string(),
        shadows: decision.shadows.iter().map(|choice| shadow(decision, choice)).collect(),
    });
    Shadows { at: moment(view.at), cycle: view.cycle, shadows: sets.collect() }
}

pub(super) fn shifts(view: &View) -> Shifts {
    Shifts {
        at: moment(view.at),
        cycle: view.cycle,
        policy: view.policy,
        shifts: view.routers.iter().map(shift).collect(),
        services: view.services.iter().map(service).collect(),
    }
}

pub(super) fn health(view: &View) -> Health {
    let connected = || view.switches.iter().filter(|switch| switch.connected);
    let mut problems = Vec::new();
    for switch in &view.switches {
        if !switch.connected {
            problems.push(format!("switch {} is not connected", switch.node));
        }
        if let Some(error) = &switch.last_error {
            problems.push(format!("switch {} refused a message: {error}", switch.node));
        }
    }
    for decision in view.routers.iter().filter(|decision| decision.crossed) {
        problems.push(format!(
            "router {} has fewer than {} connections available",
            decision.router, decision.threshold_available
        ));
    }
    problems.extend(failover::problems(&view.failover));
    problems.extend(super::replication::problems(view));
    problems.extend(view.differences.iter().cloned());
    let status = match (view.cycle, problems.is_empty()) {
        (0, _) => HealthStatus::Starting,
        (_, true) => HealthStatus::Ok,
        (_, false) => HealthStatus::Degraded,
    };
    Health {
        status,
        problems,
        at: moment(view.at),
        started_at: moment(view.started_at),
        cycle: view.cycle,
        cycle_ms: view.cycle_ms,
        cycles_decided: view.cycles.decided,
        cycles_late: view.cycles.late,
        last_cycle_us: view.cycles.last_us,
        policy: view.policy,
        generation: view.generation,
        switches_declared: view.switches.len(),
        switches_connected: connected().count(),
        plans_pending: connected().filter(|switch| !confirmed(switch)).count(),
        routers_crossed: view.routers.iter().filter(|decision| decision.crossed).count(),
        routers_failed: failover::failed(&view.failover),
    }
}

pub(super) fn event(from: &Happening) -> Event {
    Event {
        id: from.id,
        at: moment(from.at),
        kind: from.kind.clone(),
        node: from.node.as_ref().map(ToString::to_string),
        message: from.message.clone(),
    }
}
