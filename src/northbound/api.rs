//! The routes under `/api/v1`, and their OpenAPI document.

use std::sync::Arc;

use axum::Json;
use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use utoipa::OpenApi;

use super::NorthState;
use super::convert;
use super::model::*;
use super::problem::Problem;
use super::ryu;
use crate::controller::view::View;

/// Happenings shown with a router.
const DETAIL_EVENTS_MAX: usize = 50;

/// The OpenAPI 3.1 document of everything under `/api`, and of the views of other controllers.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Foreshadow",
        description = "What the controller sees, forecasts and does. Errors are problem details (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "foreshadow", description = "Views of the running controller"),
        (name = "ryu", description = "The topology as Ryu's clients expect it")
    ),
    paths(
        topology, super::export::topology_yaml, routers, router, shadows, forecasts, shifts, super::replication::replication, health, super::events::events, super::paths::paths, super::stages::stages, super::metrics_text, openapi,
        ryu::switches, ryu::switch, ryu::links, ryu::links_of, ryu::hosts, ryu::hosts_of
    ),
    components(schemas(Event))
)]
pub struct ApiDoc;

fn current(state: &NorthState) -> Arc<View> {
    Arc::clone(&state.view.borrow())
}

/// The fabric: declared, connected and seen.
#[utoipa::path(get, path = "/api/v1/topology", tag = "foreshadow", responses((status = 200, body = Topology)))]
pub(super) async fn topology(State(state): State<NorthState>) -> Json<Topology> {
    Json(convert::topology(&current(&state)))
}

/// Load and decision of every first-stage router.
#[utoipa::path(get, path = "/api/v1/routers", tag = "foreshadow", responses((status = 200, body = Routers)))]
pub(super) async fn routers(State(state): State<NorthState>) -> Json<Routers> {
    Json(convert::routers(&current(&state)))
}

/// One router's full decision: why, from which numbers, which plan.
#[utoipa::path(get, path = "/api/v1/routers/{id}", tag = "foreshadow",
    params(("id" = String, Path, description = "Name of a first-stage router")),
    responses(
        (status = 200, body = RouterDetail),
        (status = 404, description = "No such router", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn router(
    State(state): State<NorthState>,
    OriginalUri(uri): OriginalUri,
    Path(id): Path<String>,
) -> Result<Json<RouterDetail>, Problem> {
    let mut events = state.feed.after(0);
    events.retain(|happening| happening.node.as_ref().is_some_and(|node| node.as_str() == id));
    let surplus = events.len().saturating_sub(DETAIL_EVENTS_MAX);
    let events = events.iter().skip(surplus).map(|happening| convert::event(happening)).collect();
    let view = current(&state);
    convert::router_detail(&view, &id, events).map(Json).ok_or_else(|| {
        let known: Vec<_> = view.routers.iter().map(|decision| decision.router.as_str()).collect();
        let detail = format!("expected one of the first-stage routers {}, came '{id}'", known.join(", "));
        Problem::new(StatusCode::NOT_FOUND, uri.path(), detail)
    })
}

/// The shadow set of every router.
#[utoipa::path(get, path = "/api/v1/shadows", tag = "foreshadow", responses((status = 200, body = Shadows)))]
pub(super) async fn shadows(State(state): State<NorthState>) -> Json<Shadows> {
    Json(convert::shadows(&current(&state)))
}

/// The forecast of every router that has enough history.
#[utoipa::path(get, path = "/api/v1/forecasts", tag = "foreshadow", responses((status = 200, body = Forecasts)))]
pub(super) async fn forecasts(State(state): State<NorthState>) -> Json<Forecasts> {
    Json(convert::forecasts(&current(&state)))
}

/// What is shifted, why, and the shares that follow.
#[utoipa::path(get, path = "/api/v1/shifts", tag = "foreshadow", responses((status = 200, body = Shifts)))]
pub(super) async fn shifts(State(state): State<NorthState>) -> Json<Shifts> {
    Json(convert::shifts(&current(&state)))
}

/// State of the controller as a whole.
#[utoipa::path(get, path = "/api/v1/health", tag = "foreshadow", responses((status = 200, body = Health)))]
pub(super) async fn health(State(state): State<NorthState>) -> Json<Health> {
    Json(convert::health(&current(&state)))
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "foreshadow", responses((status = 200, body = Object)))]
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(ApiDoc::openapi())
}
