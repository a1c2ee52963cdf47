//! `/api/v1/paths`: ways between two switches of which no two share a link.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{OriginalUri, Query, State, rejection::QueryRejection};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::NorthState;
use super::convert::end;
use super::model::{Crossing, Path, Paths};
use super::problem::Problem;
use crate::config::LinkKind;
use crate::controller::view::{LinkState, View};
use crate::network::bridge::edge_disjoint;
use crate::network::{Trust, WiredLink};
use crate::types::{NodeId, NodeIndex, PortNo};

const PATHS_DEFAULT: usize = 2;
/// The work grows with every path, and no switch has more ways worth knowing.
const PATHS_MAX: usize = 64;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PathsQuery {
    /// Name of the switch where the paths begin.
    from: String,
    /// Name of the switch where they end.
    to: String,
    /// Most paths in the answer, 1 to 64; 2 unless given.
    max: Option<usize>,
}

/// Edge-disjoint paths between two switches over data links that are up, with the fewest links in all; shortest first.
#[utoipa::path(get, path = "/api/v1/paths", tag = "foreshadow", params(PathsQuery), responses(
    (status = 200, body = Paths),
    (status = 400, description = "Bad query", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such switch", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn paths(
    State(state): State<NorthState>,
    OriginalUri(uri): OriginalUri,
    query: Result<Query<PathsQuery>, QueryRejection>,
) -> Result<Json<Paths>, Problem> {
    let problem = |status, detail: String| Problem::new(status, uri.path(), detail);
    let Query(query) = query.map_err(|error| problem(StatusCode::BAD_REQUEST, error.body_text()))?;
    let max = query.max.unwrap_or(PATHS_DEFAULT);
    if !(1..=PATHS_MAX).contains(&max) {
        let detail = format!("expected 'max' from 1 to {PATHS_MAX}, came {max}");
        return Err(problem(StatusCode::BAD_REQUEST, detail));
    }
    let view = std::sync::Arc::clone(&state.view.borrow());
    let find = |name: &str| {
        let switch = view.switches.iter().find(|switch| switch.node.as_str() == name);
        let missing = || problem(StatusCode::NOT_FOUND, format!("expected the name of a switch, came '{name}'"));
        switch.map(|switch| switch.index).ok_or_else(missing)
    };
    let (from, to) = (find(&query.from)?, find(&query.to)?);
    Ok(Json(answer(&view, from, to, max)))
}

fn answer(view: &View, from: NodeIndex, to: NodeIndex, max: usize) -> Paths {
    let indices: BTreeMap<&NodeId, NodeIndex> =
        view.switches.iter().map(|switch| (&switch.node, switch.index)).collect();
    let names: BTreeMap<NodeIndex, &NodeId> = indices.iter().map(|(name, index)| (*index, *name)).collect();
    let up = view.links.iter().filter(|link| link.state == LinkState::Up && link.kind == LinkKind::Data);
    let links: Vec<WiredLink> = up
        .filter_map(|link| {
            Some(WiredLink {
                a: *indices.get(&link.a)?,
                a_port: link.a_port,
                b: *indices.get(&link.b)?,
                b_port: link.b_port,
                kind: link.kind,
                latency_us: link.latency_us,
                measured_latency_us: None,
                capacity_bps: link.capacity_bps,
                state: link.state,
                trust: Trust::Good,
            })
        })
        .collect();
    let named = |node: NodeIndex, port: PortNo| end(names[&node], Some(port));
    let paths = edge_disjoint(&links, from, to, max).into_iter().map(|path| Path {
        links: path
            .iter()
            .map(|crossing| Crossing {
                from: named(crossing.from, crossing.out_port),
                to: named(crossing.to, crossing.in_port),
            })
            .collect(),
    });
    Paths { from: names[&from].to_string(), to: names[&to].to_string(), paths: paths.collect() }
}
