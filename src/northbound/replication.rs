//! `/api/v1/replication`: who keeps a copy of whose connections, and how right it is; the same as metrics and for health.

use std::fmt;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::NorthState;
use super::convert::moment;
use super::metrics::Out;
use crate::controller::view::{PairView, View};

/// A copy that differs by more than one connection in so many is told of.
const TOLD_PART: usize = 100;

/// Copies of connections, by owner and keeper.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Replication {
    #[schema(format = DateTime)]
    pub at: String,
    pub cycle: u64,
    pub pairs: Vec<ReplicationPair>,
}

/// What one keeper has of one router's connections.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct ReplicationPair {
    /// The router whose connections they are.
    pub owner: String,
    /// Who carries them now: the owner, or the shadow that stands in for it.
    pub holder: String,
    /// Who keeps the copy.
    pub keeper: String,
    /// `impossible`, `snapshot` (not whole yet), `repairing` (differences were found), `lagging` (not compared for long)
    /// or `ready`.
    pub state: String,
    /// Why it is impossible, or what went wrong last; absent where nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub problem: Option<String>,
    /// Connections at the holder, as of the last comparison.
    pub held: usize,
    /// Connections at the keeper, as of the last comparison.
    pub copied: usize,
    /// Connections found wrong by two comparisons in a row.
    pub divergence: usize,
    /// Connections added and removed by comparisons since the pair began; what the first snapshot wrote is not among them.
    pub repaired: u64,
    /// Connections whose end was passed on.
    pub ends: u64,
    /// The last comparison; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub compared_at: Option<String>,
    /// From then until now: what happened since is not confirmed by anybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub age_ms: Option<u64>,
}

/// Who keeps a copy of whose connections.
#[utoipa::path(get, path = "/api/v1/replication", tag = "foreshadow", responses((status = 200, body = Replication)))]
pub(super) async fn replication(State(state): State<NorthState>) -> Json<Replication> {
    let view = std::sync::Arc::clone(&state.view.borrow());
    let pairs = view.replication.iter().map(|pair| show(&view, pair)).collect();
    Json(Replication { at: moment(view.at), cycle: view.cycle, pairs })
}

fn age_us(view: &View, pair: &PairView) -> Option<u64> {
    Some(view.at.0.saturating_sub(pair.compared_at?.0))
}

fn show(view: &View, from: &PairView) -> ReplicationPair {
    ReplicationPair {
        owner: from.owner.to_string(),
        holder: from.holder.to_string(),
        keeper: from.keeper.to_string(),
        state: from.state.clone(),
        problem: from.problem.clone(),
        held: from.held,
        copied: from.copied,
        divergence: from.divergence,
        repaired: from.repaired,
        ends: from.ends,
        compared_at: from.compared_at.map(moment),
        age_ms: age_us(view, from).map(|age| age / 1_000),
    }
}

/// Sentences for the health of the whole.
pub(super) fn problems(view: &View) -> impl Iterator<Item = String> {
    view.replication.iter().filter_map(|pair| {
        let PairView { owner, keeper, divergence, held, .. } = pair;
        if pair.state == "lagging" {
            Some(format!("the copy of {owner}'s connections at {keeper} has not been compared for long"))
        } else if *divergence > held / TOLD_PART {
            Some(format!("{divergence} of {held} connections of {owner} are wrong at {keeper}"))
        } else {
            None
        }
    })
}

pub(super) fn metrics(out: &mut Out<'_>, view: &View) -> fmt::Result {
    fn labels(pair: &PairView) -> [(&'static str, &str); 2] {
        [("owner", pair.owner.as_str()), ("keeper", pair.keeper.as_str())]
    }
    let each = |value: fn(&PairView) -> f64| view.replication.iter().map(move |pair| (labels(pair), value(pair)));
    let ready = |pair: &PairView| f64::from(u8::from(pair.state == "ready"));
    out.gauges("replication_ready", "1 while the copy is known to be whole and right", each(ready))?;
    out.gauges("replication_held_connections", "At the holder, when last compared", each(|pair| pair.held as f64))?;
    out.gauges("replication_copied_connections", "At the keeper, when last compared", each(|pair| pair.copied as f64))?;
    out.gauges("replication_divergence", "Found wrong by two comparisons in a row", each(|p| p.divergence as f64))?;
    out.gauges(
        "replication_age_seconds",
        "Since the last comparison",
        view.replication.iter().filter_map(|pair| Some((labels(pair), age_us(view, pair)? as f64 / 1e6))),
    )?;
    let counts = |value: fn(&PairView) -> u64| view.replication.iter().map(move |pair| (labels(pair), value(pair)));
    out.counters("replication_repaired", "Connections added and removed by comparisons", counts(|pair| pair.repaired))?;
    out.counters("replication_ends", "Connections whose end was passed on", counts(|pair| pair.ends))
}
