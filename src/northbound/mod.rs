//! What others see of the controller: REST, server-sent events, metrics and a page.
//!
//! Everything is read from the last published view and from the feed; a slow client costs the loop nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{OriginalUri, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Router, extract::Request};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Topology;
use crate::controller::feed::Feed;
use crate::controller::view::View;

mod api;
mod convert;
mod events;
pub mod export;
mod failover;
pub mod metrics;
pub mod model;
mod paths;
mod problem;
mod replication;
pub mod ryu;
mod stages;
#[cfg(test)]
mod tests;

pub use api::ApiDoc;
pub use metrics::Metrics;
pub use problem::{PROBLEM_JSON, Problem};

/// The page at `/`, whole: it loads nothing from elsewhere.
const PAGE: &str = include_str!("../../ui/index.html");

/// Requests still being answered when the controller stops get this long.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// What can go wrong with the listener.
#[derive(Debug, Error)]
pub enum NorthboundError {
    #[error(
        "cannot listen on http://{address}: {source}; expected a free address (`http_listen` in the configuration)"
    )]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the HTTP server stopped: {0}")]
    Serve(#[source] io::Error),
}

/// What the routes read; clones share it.
#[derive(Clone, Debug)]
pub struct NorthState {
    view: watch::Receiver<Arc<View>>,
    feed: Feed,
    metrics: Arc<Metrics>,
    /// The controller's own topology file, empty where it has none.
    declared: Arc<Topology>,
    /// Ends event streams, which otherwise would never end.
    closing: CancellationToken,
}

impl NorthState {
    pub fn new(view: watch::Receiver<Arc<View>>, feed: Feed) -> Self {
        let metrics = Arc::new(Metrics::new(view.clone(), feed.clone()));
        Self { view, feed, metrics, declared: Arc::default(), closing: CancellationToken::new() }
    }

    /// With the topology that the controller was started with, for what an export keeps of it.
    #[must_use]
    pub fn declaring(mut self, topology: Topology) -> Self {
        self.declared = Arc::new(topology);
        self
    }
}

/// Opens the listener; the error names the address.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, NorthboundError> {
    TcpListener::bind(address).await.map_err(|source| NorthboundError::Listen { address, source })
}

/// Serves until `shutdown`, then lets running requests end.
pub async fn serve(
    listener: TcpListener,
    mut state: NorthState,
    shutdown: CancellationToken,
) -> Result<(), NorthboundError> {
    state.closing = shutdown.child_token();
    let mut tasks = JoinSet::new();
    tasks.spawn(observe_cycles(state.view.clone(), Arc::clone(&state.metrics)));
    let server = axum::serve(listener, router(state)).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let outcome = tokio::select! {
        outcome = server => outcome.map_err(NorthboundError::Serve),
        () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN_MAX).await } => Ok(()),
    };
    tasks.shutdown().await;
    outcome
}

/// Feeds the histogram of cycle times. A cycle that is over before this task wakes is left out of it.
async fn observe_cycles(mut view: watch::Receiver<Arc<View>>, metrics: Arc<Metrics>) {
    let mut last = view.borrow_and_update().cycles.decided;
    while view.changed().await.is_ok() {
        let (cycle, took_us) = {
            let view = view.borrow_and_update();
            (view.cycles.decided, view.cycles.last_us)
        };
        if cycle != last {
            last = cycle;
            metrics.observe_cycle(Duration::from_micros(took_us));
        }
    }
}

/// Every route; also what tests call without a socket.
pub fn router(state: NorthState) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics_text))
        .route("/api/openapi.json", get(api::openapi))
        .route("/api/v1/topology", get(api::topology))
        .route("/api/v1/paths", get(paths::paths))
        .route("/api/v1/topology.yaml", get(export::topology_yaml))
        .route("/api/v1/stages", get(stages::stages))
        .route("/api/v1/routers", get(api::routers))
        .route("/api/v1/routers/{id}", get(api::router))
        .route("/api/v1/shadows", get(api::shadows))
        .route("/api/v1/forecasts", get(api::forecasts))
        .route("/api/v1/shifts", get(api::shifts))
        .route("/api/v1/replication", get(replication::replication))
        .route("/api/v1/health", get(api::health))
        .route("/api/v1/events", get(events::events))
        .route("/v1.0/topology/switches", get(ryu::switches))
        .route("/v1.0/topology/switches/{dpid}", get(ryu::switch))
        .route("/v1.0/topology/links", get(ryu::links))
        .route("/v1.0/topology/links/{dpid}", get(ryu::links_of))
        .route("/v1.0/topology/hosts", get(ryu::hosts))
        .route("/v1.0/topology/hosts/{dpid}", get(ryu::hosts_of))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(middleware::from_fn(always))
        .with_state(state)
}

async fn page() -> Html<&'static str> {
    Html(PAGE)
}

/// OpenMetrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "foreshadow",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
async fn metrics_text(State(state): State<NorthState>, OriginalUri(uri): OriginalUri) -> Result<Response, Problem> {
    let text = state.metrics.render().map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, uri.path(), "the metrics could not be written as text")
    })?;
    Ok(([(header::CONTENT_TYPE, metrics::OPENMETRICS)], text).into_response())
}

async fn not_found(OriginalUri(uri): OriginalUri) -> Problem {
    let detail = format!("expected a path of /api/openapi.json, came '{}'", uri.path());
    Problem::new(StatusCode::NOT_FOUND, uri.path(), detail)
}

async fn method_not_allowed(OriginalUri(uri): OriginalUri, method: Method) -> Problem {
    let detail = format!("expected GET or HEAD, came {method}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, uri.path(), detail)
}

/// Headers of every answer: views change every cycle, and the page may load from its own origin alone.
async fn always(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; connect-src 'self'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
        ),
    );
    response
}
