//! What REST answers with: values of our own, so that the controller may change without changing its clients.
//!
//! Numbers are finite and never null; a number that does not exist is absent, and its description says when. Times
//! are RFC 3339 in UTC. The descriptions end up in the OpenAPI document.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use crate::config::{LinkKind, PolicyKind, Protocol, Stage};
use crate::controller::view::LinkState;
use crate::policy::decision::ShiftPhase;

/// The fabric: declared, connected and seen.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Topology {
    /// When the view was published.
    #[schema(format = DateTime)]
    pub at: String,
    pub cycle: u64,
    pub switches: Vec<Switch>,
    pub links: Vec<Link>,
    pub hosts: Vec<Host>,
    pub services: Vec<Service>,
    /// Where the switches disagree with the topology file; sentences.
    pub differences: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Switch {
    pub id: String,
    /// Number of the node in the data path, from 1.
    pub index: u16,
    #[schema(schema_with = stages)]
    pub stage: Stage,
    #[schema(schema_with = protocols)]
    pub protocol: Protocol,
    /// Datapath id, 16 hex digits.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    pub datapath: String,
    pub connected: bool,
    /// Address that the session comes from; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub peer: Option<String>,
    /// What the switch says it is; absent until it has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub description: Option<Description>,
    /// What the session has carried, as of its last echo; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub session: Option<Session>,
    pub ports: Vec<Port>,
    pub plan: Plan,
    /// Entries sent or left alone over all installs of this session.
    pub install_total: InstallCounts,
    /// The same for the last install; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub last_install: Option<InstallCounts>,
    /// What the switch refused last; absent if it refused nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub last_error: Option<String>,
}

/// Counters of the session with a switch since it began.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Session {
    /// What this controller is to the switch: `equal`, `master` or `slave`.
    pub role: String,
    /// From the last echo request to its reply.
    pub round_trip_us: u64,
    /// Messages from the switch by kind; kinds that never came are left out.
    pub messages_in: BTreeMap<String, u64>,
    /// Messages to the switch by kind; kinds that were never sent are left out.
    pub messages_out: BTreeMap<String, u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Errors that the switch sent.
    pub errors_in: u64,
    /// Those among them that answer nothing this side waited for.
    pub errors_untied: u64,
    /// Errors sent to the switch: answers to malformed messages.
    pub errors_out: u64,
    pub malformed: u64,
    /// Answers that came after their request was given up.
    pub late_answers: u64,
    /// Packet-ins that found no room on their way to the controller.
    pub dropped_packet_ins: u64,
    /// Earlier sessions of this switch with this controller.
    pub reconnects: u64,
    pub auxiliary_connections: u64,
}

/// Which plan a switch holds.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Plan {
    pub switch: String,
    /// Generation that the switch should hold.
    pub wanted: u64,
    /// Generation that the switch confirmed by a barrier.
    pub installed: u64,
    pub confirmed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Description {
    pub manufacturer: String,
    pub hardware: String,
    pub software: String,
    pub serial: String,
    pub datapath: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Port {
    pub number: u32,
    pub name: String,
    pub mac: String,
    pub up: bool,
    /// 0 where the switch does not tell.
    pub speed_kbps: u32,
    /// Absent until the port was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub counters: Option<PortCounters>,
}

/// Since the switch started.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PortCounters {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct InstallCounts {
    pub flows_added: u32,
    pub flows_modified: u32,
    pub flows_deleted: u32,
    pub groups_added: u32,
    pub groups_modified: u32,
    pub groups_deleted: u32,
    /// Entries that were right already and were left alone.
    pub unchanged: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Link {
    pub a: LinkEnd,
    pub b: LinkEnd,
    #[schema(schema_with = link_kinds)]
    pub kind: LinkKind,
    /// `up`: seen by LLDP both ways; `down`: a port is down; `unseen`: declared only; `undeclared`: seen only.
    #[schema(schema_with = link_states)]
    pub state: LinkState,
    pub latency_us: u32,
    pub capacity_bps: u64,
    /// From one end to the other as probes took it, without what the ways to the switches took. Absent before it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub measured_latency_us: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LinkEnd {
    pub switch: String,
    /// Absent until it is declared or seen by LLDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub port: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Host {
    pub id: String,
    /// The first of `ipv4`; absent where none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Ipv4, nullable = false)]
    pub address: Option<String>,
    pub ipv4: Vec<String>,
    pub ipv6: Vec<String>,
    /// Absent until it was declared or learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub mac: Option<String>,
    /// Absent for hosts that do not tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub vlan: Option<u16>,
    pub attached: LinkEnd,
}

/// The stages that a fabric seems to have.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Stages {
    /// One sentence about the whole.
    pub summary: String,
    pub switches: Vec<InferredSwitch>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct InferredSwitch {
    pub switch: String,
    #[schema(schema_with = stages)]
    pub stage: Stage,
    pub reason: String,
    /// Of routers only; best first.
    pub shadow_candidates: Vec<ShadowCandidate>,
}

/// Another router that could take new connections.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ShadowCandidate {
    pub router: String,
    /// A link joins the two, which could carry replication.
    pub joined: bool,
    pub common_neighbours: u32,
    /// Links between the two; absent where there is no way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub distance: Option<u32>,
}

/// Ways between two switches of which no two share a link.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Paths {
    pub from: String,
    pub to: String,
    /// Shortest first; empty where nothing leads on, and where both ends are one switch.
    pub paths: Vec<Path>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Path {
    /// In the order in which a packet crosses them.
    pub links: Vec<Crossing>,
}

/// One link of a path: out of a port, in at another.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Crossing {
    pub from: LinkEnd,
    pub to: LinkEnd,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Service {
    pub id: String,
    pub prefixes: Vec<String>,
    pub shares: Vec<Share>,
}

/// Part of a service's new connections that goes to one router. All shares are in [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Share {
    pub service: String,
    pub router: String,
    /// When nothing is shifted.
    pub base: f64,
    /// Asked for now.
    pub wanted: f64,
    /// Installed: slots of this router over all slots.
    pub installed: f64,
    /// Absent while too few connections were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub measured: Option<f64>,
    /// New connections that `measured` was measured over.
    pub measured_over: u64,
}

/// Every first-stage router, in the topology's order.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Routers {
    #[schema(format = DateTime)]
    pub at: String,
    pub cycle: u64,
    #[schema(schema_with = policies)]
    pub policy: PolicyKind,
    pub routers: Vec<Router>,
}

/// A first-stage router: its load and what was decided for it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Router {
    pub id: String,
    pub connected: bool,
    pub load: Load,
    /// Most connections it may hold.
    pub capacity: u32,
    /// Capacity less occupied slots.
    pub available: f64,
    /// A breach is: fewer available connections than this.
    pub threshold_available: u32,
    /// Available connections are below the threshold now.
    pub crossed: bool,
    /// Within the horizon, in [0, 1]; absent while there is too little history.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub breach_probability: Option<f64>,
    /// Median time to the breach; absent where no forecast path gets there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub breach_in_s: Option<f64>,
    pub shift: Shift,
}

/// One cycle's numbers, read from the switch.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Load {
    /// Connections open now.
    pub active: f64,
    /// Slots taken, closing entries included.
    pub occupied: f64,
    pub new_per_s: f64,
    /// Of the connections that ended lately, 0 where none did.
    pub mean_duration_s: f64,
    pub bytes_per_s: f64,
    /// In this cycle.
    pub refused: u64,
    /// Since the controller first read this router.
    pub refused_total: u64,
    /// Dropped because they belong to no known connection.
    pub unknown_packets: u64,
}

/// What is done with a router's new connections.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Shift {
    pub router: String,
    #[schema(schema_with = phases)]
    pub phase: ShiftPhase,
    /// In [0, 5].
    pub prediction_severity: f64,
    /// In [0, 5].
    pub anomaly_severity: f64,
    /// What the formula asks for, percent of the router's new connections.
    pub wanted_percent: f64,
    /// What is in force.
    pub shift_percent: f64,
    /// Part of `wanted_percent` that fits on no shadow.
    pub unplaced_percent: f64,
    pub shadows: Vec<Shadow>,
    /// Sentences, most important first.
    pub reasons: Vec<String>,
    /// Plan that carries this decision.
    pub generation: u64,
    /// When it was decided.
    #[schema(format = DateTime)]
    pub at: String,
}

/// A router that takes over new connections of another.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Shadow {
    pub router: String,
    /// Share of the shifted connections; the shares of a router's shadows add up to 1.
    pub share: f64,
    /// Percent of the shifted router's new connections that it gets now.
    pub percent: f64,
    /// Rank among the candidates, lower is better.
    pub score: f64,
    pub latency_us: u32,
    /// Connections it can take before its own threshold.
    pub headroom: f64,
    pub reason: String,
}

/// The full decision: why, from which numbers, which plan.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RouterDetail {
    #[schema(format = DateTime)]
    pub at: String,
    pub cycle: u64,
    #[schema(schema_with = policies)]
    pub policy: PolicyKind,
    pub router: Router,
    /// Absent while there is too little history.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub forecast: Option<Forecast>,
    /// Routers whose new connections this one takes now.
    pub shadow_of: Vec<ShadowOf>,
    /// Its part of every service.
    pub shares: Vec<Share>,
    /// Switches that spread new connections, and whether they hold the plan of this decision.
    pub plans: Vec<Plan>,
    /// Absent before the first cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub failover: Option<super::failover::RouterFailoverState>,
    /// Latest happenings about this router, oldest first.
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ShadowOf {
    pub router: String,
    /// Percent of that router's new connections.
    pub percent: f64,
}

/// Expected occupied connections, one value a cycle ahead, from 1.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Forecast {
    pub router: String,
    pub model: String,
    pub step_ms: u64,
    pub mean: Vec<f64>,
    /// Lower end of the interval that holds 80 % of the forecast paths.
    pub lo80: Vec<f64>,
    /// Upper end of the same.
    pub hi80: Vec<f64>,
    pub breach_probability: f64,
    /// Absent where no path gets there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub breach_in_s: Option<f64>,
}

/// Forecasts of the routers that have enough history.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Forecasts {
    #[schema(format = DateTime)]
    pub at: String,
    pub cycle: u64,
    pub forecasts: Vec<Forecast>,
    /// Routers without a forecast yet.
    pub waiting: Vec<String>,
}

/// Shadow sets of every router.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Shadows {
    #[schema(format = DateTime)]
    pub at: String,
    pub cycle: u64,
    pub shadows: Vec<ShadowSet>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ShadowSet {
    pub router: String,
    /// Best first.
    pub shadows: Vec<Shadow>,
}

/// Every router's shift, and the shares that follow from them.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Shifts {
    #[schema(format = DateTime)]
    pub at: String,
    pub cycle: u64,
    #[schema(schema_with = policies)]
    pub policy: PolicyKind,
    pub shifts: Vec<Shift>,
    pub services: Vec<Service>,
}

/// State of the controller as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Health {
    /// `starting` before the first cycle, `degraded` where `problems` has an entry, else `ok`.
    pub status: HealthStatus,
    /// Sentences.
    pub problems: Vec<String>,
    #[schema(format = DateTime)]
    pub at: String,
    #[schema(format = DateTime)]
    pub started_at: String,
    pub cycle: u64,
    pub cycle_ms: u64,
    /// Cycles decided since the start, and those among them that were decided without all readings.
    pub cycles_decided: u64,
    pub cycles_late: u64,
    /// From the beginning of the last decided cycle to its plans.
    pub last_cycle_us: u64,
    #[schema(schema_with = policies)]
    pub policy: PolicyKind,
    pub generation: u64,
    pub switches_declared: usize,
    pub switches_connected: usize,
    /// Connected switches that have not confirmed their plan yet.
    pub plans_pending: usize,
    pub routers_crossed: usize,
    /// Routers that failed and do not serve again yet.
    pub routers_failed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthStatus {
    Starting,
    Ok,
    Degraded,
}

/// Happenings, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Events {
    /// Id of the newest happening, 0 before the first.
    pub newest_id: u64,
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Event {
    /// From 1, without gaps.
    pub id: u64,
    #[schema(format = DateTime)]
    pub at: String,
    /// For example `switch-up`, `switch-down`, `link`, `role`, `shift`, `crossing`, `refused`, `plan-failed`, `shadows`.
    pub kind: String,
    /// Absent where it is about no single node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub node: Option<String>,
    pub message: String,
}

fn one_of<T: Serialize>(values: &[T]) -> Object {
    let names = values.iter().filter_map(|value| serde_json::to_value(value).ok());
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names.collect::<Vec<_>>())).build()
}

fn stages() -> Object {
    one_of(&[Stage::Outside, Stage::Router, Stage::Transit, Stage::Access, Stage::Bridge])
}

fn protocols() -> Object {
    one_of(&[Protocol::OpenFlow, Protocol::P4Runtime])
}

fn link_kinds() -> Object {
    one_of(&[LinkKind::Data, LinkKind::Mirror])
}

fn link_states() -> Object {
    one_of(&[LinkState::Up, LinkState::Down, LinkState::Unseen, LinkState::Undeclared])
}

fn policies() -> Object {
    one_of(&[PolicyKind::Predictive, PolicyKind::Reactive, PolicyKind::Static])
}

fn phases() -> Object {
    one_of(&[ShiftPhase::Idle, ShiftPhase::Ramping, ShiftPhase::Holding, ShiftPhase::Restoring])
}
