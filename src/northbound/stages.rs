//! `/api/v1/stages`: which stages the running fabric seems to have, and who could shadow whom.

use axum::Json;
use axum::extract::{OriginalUri, Query, State, rejection::QueryRejection};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::NorthState;
use super::export::export;
use super::model::{InferredSwitch, ShadowCandidate, Stages};
use super::problem::Problem;
use crate::config::Topology;
use crate::network::stages::{Fabric, Inferred, infer};
use crate::types::{NodeId, NodeIndex};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StagesQuery {
    /// Names of the switches that face servers, with commas in between; which these are cannot be seen.
    servers: Option<String>,
}

/// The stages that follow from wires and hosts alone, with reasons, and shadow candidates (docs/NETWORK.md).
///
/// An inference for who writes a topology file: the controller itself acts on declared stages only.
#[utoipa::path(get, path = "/api/v1/stages", tag = "foreshadow", params(StagesQuery), responses(
    (status = 200, body = Stages),
    (status = 400, description = "Bad query", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such switch", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn stages(
    State(state): State<NorthState>,
    OriginalUri(uri): OriginalUri,
    query: Result<Query<StagesQuery>, QueryRejection>,
) -> Result<Json<Stages>, Problem> {
    let problem = |status, detail: String| Problem::new(status, uri.path(), detail);
    let Query(query) = query.map_err(|error| problem(StatusCode::BAD_REQUEST, error.body_text()))?;
    let view = std::sync::Arc::clone(&state.view.borrow());
    let (topology, _) = export(&view, &state.declared);
    let servers = query.servers.as_deref().unwrap_or_default().split(',').filter(|name| !name.is_empty());
    let servers: Vec<NodeId> = servers.map(NodeId::new).collect();
    if let Some(unknown) = servers.iter().find(|id| topology.node(id).is_none()) {
        return Err(problem(StatusCode::NOT_FOUND, format!("expected the name of a switch, came '{unknown}'")));
    }
    Ok(Json(answer(&topology, infer(&Fabric::of(&topology, &servers)))))
}

fn answer(topology: &Topology, inferred: Inferred) -> Stages {
    let name = |index: NodeIndex| topology.by_index(index).map_or_else(String::new, |node| node.id.to_string());
    let candidates = |index: NodeIndex| {
        let of = inferred.shadows.get(&index).map_or(&[][..], Vec::as_slice);
        of.iter().map(|candidate| ShadowCandidate {
            router: name(candidate.router),
            joined: candidate.joined,
            common_neighbours: candidate.common_neighbours,
            distance: (candidate.distance != u32::MAX).then_some(candidate.distance),
        })
    };
    let switches = inferred.stages.iter().map(|(index, found)| InferredSwitch {
        switch: name(*index),
        stage: found.stage,
        reason: found.reason.clone(),
        shadow_candidates: candidates(*index).collect(),
    });
    Stages { switches: switches.collect(), summary: inferred.summary.clone() }
}
