//! Topology views as Ryu's `rest_topology` gives them, so that its clients need no change.
//!
//! Facts taken over from it: every value is a string or a list of strings; a datapath id is 16 hex digits and a port
//! number 8, lower case; reserved ports (LOCAL) are left out; a link has one direction, so every wire is listed twice; only switches with a session are
//! shown; a switch that is not known gives an empty list, and a path that holds no datapath id is not found.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::NorthState;
use super::problem::Problem;
use crate::controller::view::{HostView, LinkState, LinkView, SwitchView, View};
use crate::southbound::Port;
use crate::types::{DatapathId, MacAddr, NodeId, PortNo};

const DPID_DIGITS: usize = 16;
/// `OFPP_MAX` (OpenFlow 1.3, section 7.2.1): ports above it are not shown.
const PORT_MAX: u32 = 0xffff_ff00;

/// A port of a switch.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RyuPort {
    /// Datapath id, 16 hex digits.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    pub dpid: String,
    /// Port number, 8 hex digits.
    #[schema(pattern = "^[0-9a-f]{8}$")]
    pub port_no: String,
    /// MAC address of the port.
    pub hw_addr: String,
    pub name: String,
}

/// A switch with a session.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RyuSwitch {
    /// Datapath id, 16 hex digits.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    pub dpid: String,
    /// By number, those that are down among them.
    pub ports: Vec<RyuPort>,
}

/// One direction of a link that is up.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RyuLink {
    pub src: RyuPort,
    pub dst: RyuPort,
}

/// A host whose MAC address and place are known.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RyuHost {
    pub mac: String,
    pub ipv4: Vec<String>,
    pub ipv6: Vec<String>,
    pub port: RyuPort,
}

/// Connected switches with their ports, as Ryu's `/v1.0/topology/switches`.
#[utoipa::path(get, path = "/v1.0/topology/switches", tag = "ryu", responses((status = 200, body = [RyuSwitch])))]
pub(super) async fn switches(State(state): State<NorthState>) -> Json<Vec<RyuSwitch>> {
    Json(Fabric::of(&current(&state)).switches(None))
}

/// One switch, or an empty list where there is no such switch.
#[utoipa::path(get, path = "/v1.0/topology/switches/{dpid}", tag = "ryu",
    params(("dpid" = String, Path, description = "Datapath id, 16 hex digits")),
    responses(
        (status = 200, body = [RyuSwitch]),
        (status = 404, description = "Not a datapath id", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn switch(
    State(state): State<NorthState>,
    OriginalUri(uri): OriginalUri,
    Path(dpid): Path<String>,
) -> Result<Json<Vec<RyuSwitch>>, Problem> {
    let only = datapath(&dpid, uri.path())?;
    Ok(Json(Fabric::of(&current(&state)).switches(Some(only))))
}

/// Every link that is up, once for each direction, as Ryu's `/v1.0/topology/links`.
#[utoipa::path(get, path = "/v1.0/topology/links", tag = "ryu", responses((status = 200, body = [RyuLink])))]
pub(super) async fn links(State(state): State<NorthState>) -> Json<Vec<RyuLink>> {
    Json(Fabric::of(&current(&state)).links(None))
}

/// Links that lead away from one switch.
#[utoipa::path(get, path = "/v1.0/topology/links/{dpid}", tag = "ryu",
    params(("dpid" = String, Path, description = "Datapath id, 16 hex digits")),
    responses(
        (status = 200, body = [RyuLink]),
        (status = 404, description = "Not a datapath id", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn links_of(
    State(state): State<NorthState>,
    OriginalUri(uri): OriginalUri,
    Path(dpid): Path<String>,
) -> Result<Json<Vec<RyuLink>>, Problem> {
    let only = datapath(&dpid, uri.path())?;
    Ok(Json(Fabric::of(&current(&state)).links(Some(only))))
}

/// Every host whose MAC address and port are known, as Ryu's `/v1.0/topology/hosts`.
#[utoipa::path(get, path = "/v1.0/topology/hosts", tag = "ryu", responses((status = 200, body = [RyuHost])))]
pub(super) async fn hosts(State(state): State<NorthState>) -> Json<Vec<RyuHost>> {
    Json(Fabric::of(&current(&state)).hosts(None))
}

/// Hosts on one switch.
#[utoipa::path(get, path = "/v1.0/topology/hosts/{dpid}", tag = "ryu",
    params(("dpid" = String, Path, description = "Datapath id, 16 hex digits")),
    responses(
        (status = 200, body = [RyuHost]),
        (status = 404, description = "Not a datapath id", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn hosts_of(
    State(state): State<NorthState>,
    OriginalUri(uri): OriginalUri,
    Path(dpid): Path<String>,
) -> Result<Json<Vec<RyuHost>>, Problem> {
    let only = datapath(&dpid, uri.path())?;
    Ok(Json(Fabric::of(&current(&state)).hosts(Some(only))))
}

fn current(state: &NorthState) -> Arc<View> {
    Arc::clone(&state.view.borrow())
}

/// Ryu's route takes 16 lower-case hex digits and nothing else.
fn datapath(text: &str, path: &str) -> Result<DatapathId, Problem> {
    let digits = text.len() == DPID_DIGITS && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let value = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    value.map(DatapathId).ok_or_else(|| {
        let detail = format!("expected a datapath id of {DPID_DIGITS} lower-case hex digits, came '{text}'");
        Problem::new(StatusCode::NOT_FOUND, path, detail)
    })
}

/// Connected switches by name and by datapath id, and the view they are of.
struct Fabric<'v> {
    view: &'v View,
    switches: BTreeMap<&'v NodeId, &'v SwitchView>,
}

impl<'v> Fabric<'v> {
    fn of(view: &'v View) -> Self {
        let connected = view.switches.iter().filter(|switch| switch.connected);
        Self { view, switches: connected.map(|switch| (&switch.node, switch)).collect() }
    }

    fn switches(&self, only: Option<DatapathId>) -> Vec<RyuSwitch> {
        let wanted = self.switches.values().filter(|switch| only.is_none_or(|only| only == switch.datapath));
        let mut found: Vec<_> = wanted
            .map(|switch| RyuSwitch {
                dpid: switch.datapath.to_string(),
                ports: physical(switch).map(|each| port(switch, each)).collect(),
            })
            .collect();
        found.sort_by(|a, b| a.dpid.cmp(&b.dpid));
        found
    }

    fn links(&self, only: Option<DatapathId>) -> Vec<RyuLink> {
        let up = self.view.links.iter().filter(|link| matches!(link.state, LinkState::Up | LinkState::Undeclared));
        let ends = up.filter_map(|link| self.ends(link));
        let directed = ends.flat_map(|(a, b)| [(a.clone(), b.clone()), (b, a)]);
        let only = only.map(|only| only.to_string());
        let mut found: Vec<_> = directed
            .filter(|(src, _)| only.as_ref().is_none_or(|only| *only == src.dpid))
            .map(|(src, dst)| RyuLink { src, dst })
            .collect();
        found.sort_by(|a, b| (&a.src.dpid, &a.src.port_no).cmp(&(&b.src.dpid, &b.src.port_no)));
        found
    }

    fn ends(&self, link: &LinkView) -> Option<(RyuPort, RyuPort)> {
        Some((self.port(&link.a, link.a_port?)?, self.port(&link.b, link.b_port?)?))
    }

    /// `None` while the switch has no session, or no such port.
    fn port(&self, node: &NodeId, number: PortNo) -> Option<RyuPort> {
        let switch = self.switches.get(node)?;
        physical(switch).find(|port| port.number == number).map(|each| port(switch, each))
    }

    /// Addresses of one MAC address at one port are one host.
    fn hosts(&self, only: Option<DatapathId>) -> Vec<RyuHost> {
        let mut found: BTreeMap<(MacAddr, &NodeId, PortNo), RyuHost> = BTreeMap::new();
        for host in &self.view.hosts {
            let (Some(mac), Some(number)) = (host.mac, host.port) else { continue };
            let Some(switch) = self.switches.get(&host.node) else { continue };
            if only.is_some_and(|only| only != switch.datapath) {
                continue;
            }
            let Some(port) = self.port(&host.node, number) else { continue };
            let entry = found.entry((mac, &host.node, number)).or_insert_with(|| RyuHost {
                mac: mac.to_string(),
                ipv4: Vec::new(),
                ipv6: Vec::new(),
                port,
            });
            addresses(host, entry);
        }
        found.into_values().collect()
    }
}

/// Those of all its VLANs: Ryu knows none.
fn addresses(host: &HostView, entry: &mut RyuHost) {
    let mut add = |list: fn(&mut RyuHost) -> &mut Vec<String>, address: String| {
        let list = list(entry);
        if !list.contains(&address) {
            list.push(address);
        }
    };
    host.ipv4.iter().for_each(|address| add(|entry| &mut entry.ipv4, address.to_string()));
    host.ipv6.iter().for_each(|address| add(|entry| &mut entry.ipv6, address.to_string()));
}

/// Without the switch's own: LOCAL and whatever else is reserved.
fn physical(switch: &SwitchView) -> impl Iterator<Item = &Port> {
    switch.ports.values().filter(|port| port.number.0 <= PORT_MAX)
}

fn port(switch: &SwitchView, from: &Port) -> RyuPort {
    RyuPort {
        dpid: switch.datapath.to_string(),
        port_no: format!("{:08x}", from.number.0),
        hw_addr: from.mac.to_string(),
        name: from.name.clone(),
    }
}
