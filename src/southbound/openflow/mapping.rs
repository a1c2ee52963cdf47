//! How plans become OpenFlow and counters become readings: the functions a session needs of a data path.

use std::collections::BTreeMap;

use super::install::CookieSpace;
use super::state::SwitchState;
use crate::plan::{Choice, DatapathPlan, Station};
use crate::southbound::{Connection, ConnectionEnded, Reading};
use crate::types::{NodeIndex, PortNo};
use crate::wire::openflow::{Action, FlowMod, FlowRemoved, FlowStats, MultipartReplyBody, MultipartRequestBody};

/// One data path as pure functions, so that sessions know no tables and tests can bring a small one.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// Cookies of the entries that plans install; learned entries have others.
    pub cookies: CookieSpace,
    pub compile: fn(&DatapathPlan) -> SwitchState,
    /// What to ask for a reading.
    pub requests: fn(&DatapathPlan) -> Vec<MultipartRequestBody>,
    /// A reading of the answers, in whatever order and however many came.
    pub reading: fn(&DatapathPlan, &[MultipartReplyBody]) -> Reading,
    /// How a third-stage switch in this state chooses routers, by the number of the service; whole choices only.
    pub choices: fn(&SwitchState) -> BTreeMap<u16, Choice>,
    /// Routers that mean others in this state: after a failover (third stage and outside).
    pub stand_ins: fn(&SwitchState) -> BTreeMap<NodeIndex, NodeIndex>,
    /// Stations that a bridge in this state has on its edge ports.
    pub stations: fn(&SwitchState) -> Vec<(Station, PortNo)>,
    /// Ports of a bridge in this state that lead to other switches.
    pub links: fn(&SwitchState) -> Vec<PortNo>,
    /// Actions that send a packet-out to everyone; bridges only.
    pub flood: fn() -> Vec<Action>,
    pub connection_ended: fn(&FlowRemoved) -> Option<ConnectionEnded>,
    /// Which flows tell of half-open connections; `None` where a switch holds no connections.
    pub housekeeping_request: fn(&DatapathPlan) -> Option<MultipartRequestBody>,
    /// Which flows are the connections of a first-stage switch; `None` for others.
    pub connections_request: fn(&DatapathPlan) -> Option<MultipartRequestBody>,
    /// What these flows hold of an owner's connections.
    pub connections: fn(&DatapathPlan, NodeIndex, &[FlowStats]) -> Vec<Connection>,
    /// Adds a connection of this owner (true), or removes it.
    pub write_connection: fn(&DatapathPlan, NodeIndex, &Connection, bool) -> Option<FlowMod>,
    /// Deletions of what stayed half-open for too long.
    pub housekeeping: fn(&DatapathPlan, &[FlowStats]) -> Vec<FlowMod>,
}
