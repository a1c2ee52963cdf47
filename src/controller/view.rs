//! What the controller lets others see: one immutable value a cycle, published whole, and a stream of happenings.
//!
//! REST, metrics, the terminal table and tests read these; nothing else of the controller is reachable from outside.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

pub use crate::network::LinkState;

use crate::config::{LinkKind, PolicyKind, Protocol, Stage};
use crate::plan::Generation;
use crate::policy::decision::RouterDecision;
pub use crate::policy::failover::{Cause, Phase};
use crate::southbound::{Description, InstallCounts, Port, PortCounters, SessionStatus};
use crate::types::{DatapathId, MacAddr, NodeId, NodeIndex, PortNo, ServiceId, Timestamp};

/// Everything visible after one cycle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    pub at: Timestamp,
    pub started_at: Timestamp,
    pub cycle: u64,
    pub cycle_ms: u64,
    pub policy: PolicyKind,
    pub generation: Generation,
    pub switches: Vec<SwitchView>,
    pub links: Vec<LinkView>,
    pub hosts: Vec<HostView>,
    pub services: Vec<ServiceView>,
    /// Latest decision of every first-stage router, in the topology's order.
    pub routers: Vec<RouterDecision>,
    /// What LLDP found that the topology file does not say, and the other way round; sentences.
    pub differences: Vec<String>,
    pub cycles: Cycles,
    /// Who keeps a copy of whose connections.
    #[serde(default)]
    pub replication: Vec<PairView>,
    #[serde(default)]
    pub failover: FailoverView,
}

/// Failures of first-stage routers and how they are met.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FailoverView {
    pub routers: Vec<RouterFailover>,
    /// Since the controller started.
    pub failures: BTreeMap<Cause, u64>,
    pub unprotected: u64,
    pub returns: u64,
    pub probes_sent: u64,
    pub probes_answered: u64,
    pub rounds_missed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterFailover {
    pub router: NodeId,
    pub phase: Phase,
    pub stand_in: Option<NodeId>,
    pub stands_in_for: Vec<NodeId>,
    /// Shadows in the order in which they would stand in.
    pub order: Vec<NodeId>,
    /// Those among them that hold a full copy.
    pub ready: Vec<NodeId>,
    /// Rounds of probes in a row without an answer.
    pub missed: u32,
    /// Its data plane sends probes back by itself.
    pub answers_itself: bool,
    pub round_trip_us: Option<u64>,
}

/// What one keeper has of one router's connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairView {
    pub owner: NodeId,
    /// Who carries the connections: the owner, or the shadow that stands in for it.
    pub holder: NodeId,
    pub keeper: NodeId,
    /// `impossible`, `snapshot`, `repairing` or `ready`.
    pub state: String,
    pub problem: Option<String>,
    /// Connections at the holder and at the keeper when they were compared last.
    pub held: usize,
    pub copied: usize,
    /// Found wrong by two comparisons in a row.
    pub divergence: usize,
    pub repaired: u64,
    pub ends: u64,
    pub compared_at: Option<Timestamp>,
}

/// How the loop keeps its cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycles {
    /// Cycles decided since the controller started.
    pub decided: u64,
    /// Those decided at the next cycle's beginning, without the readings that were still missing.
    pub late: u64,
    /// Time from the beginning of the last decided cycle to its plans, microseconds.
    pub last_us: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SwitchView {
    pub node: NodeId,
    pub index: NodeIndex,
    pub stage: Stage,
    pub protocol: Protocol,
    pub datapath: DatapathId,
    pub connected: bool,
    pub peer: Option<String>,
    pub description: Option<Arc<Description>>,
    /// Counters of the session, as of its last echo.
    pub session: Option<Arc<SessionStatus>>,
    pub ports: Arc<BTreeMap<PortNo, Port>>,
    pub counters: Arc<BTreeMap<PortNo, PortCounters>>,
    /// Generation confirmed by the switch, and the one it should have.
    pub installed: Generation,
    pub wanted: Generation,
    pub last_install: Option<InstallCounts>,
    /// Sum over all installs of this session.
    pub install_total: InstallCounts,
    pub last_error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkView {
    pub a: NodeId,
    pub a_port: Option<PortNo>,
    pub b: NodeId,
    pub b_port: Option<PortNo>,
    pub kind: LinkKind,
    pub latency_us: u32,
    pub capacity_bps: u64,
    pub state: LinkState,
    /// As probes found it; `None` before any did.
    #[serde(default)]
    pub measured_latency_us: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostView {
    /// The declared name; otherwise the address, or on bridges the MAC address and VLAN.
    pub id: String,
    /// `None` on staged fabrics until it was declared or learned.
    pub mac: Option<MacAddr>,
    /// `None` for hosts that do not tag.
    pub vlan: Option<u16>,
    pub ipv4: Vec<Ipv4Addr>,
    pub ipv6: Vec<Ipv6Addr>,
    pub node: NodeId,
    pub port: Option<PortNo>,
}

/// How the new connections of a service are spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    pub service: ServiceId,
    pub prefixes: Vec<Ipv4Net>,
    pub routers: Vec<ServiceShare>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceShare {
    pub router: NodeId,
    /// Share when nothing is shifted.
    pub base: f64,
    /// Share asked for now.
    pub wanted: f64,
    /// Share installed: slots of this router over all slots.
    pub installed: f64,
    /// Share measured over the last window, and the connections it was measured over.
    pub measured: Option<f64>,
    pub measured_over: u64,
}

/// Something worth telling, in the order it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Happening {
    /// From 1, without gaps.
    pub id: u64,
    pub at: Timestamp,
    /// `switch-up`, `switch-down`, `link`, `shift`, `crossing`, `refused`, `plan-failed`, `shadows`, `difference`, …
    pub kind: String,
    pub node: Option<NodeId>,
    pub message: String,
}
