//! Failures of first-stage routers as REST and metrics show them (docs/FAILOVER.md).

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use super::convert::moment;
use super::metrics::{NONE, Out};
use crate::controller::view::{FailoverView, Phase, RouterFailover, View};

/// Whether a router serves, and who stands in for it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RouterFailoverState {
    /// `unknown`, `in-service`, `failed`, `returning` (its state is on its way back) or `ramping` (it is given new
    /// connections again by steps).
    pub phase: String,
    /// Absent while it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub failed_since: Option<String>,
    /// Absent while it serves: `links-down`, `probes-missed`, `session-and-probes`, `session-lost`, `lldp-silent`, `state-lost` or
    /// `adopted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub cause: Option<String>,
    /// Who holds its connections in its place; absent if nobody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub stand_in: Option<String>,
    /// Routers whose connections it holds in their place.
    pub stands_in_for: Vec<String>,
    /// Its shadows in the order in which they would stand in.
    pub order: Vec<String>,
    /// Those among them that hold a full copy of its connections.
    pub ready: Vec<String>,
    /// Rounds of liveness probes in a row without an answer.
    pub probes_missed: u32,
    /// From the last probe to its answer; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub probe_round_trip_us: Option<u64>,
}

pub(super) fn of_router(view: &View, id: &str) -> Option<RouterFailoverState> {
    let from = view.failover.routers.iter().find(|router| router.router.as_str() == id)?;
    let (failed_since, cause) = match from.phase {
        Phase::Failed { since, cause, .. } => (Some(since), Some(cause)),
        Phase::Returning { failed_since, cause, .. } => (Some(failed_since), Some(cause)),
        Phase::Unknown | Phase::InService | Phase::Ramping { .. } => (None, None),
    };
    let names = |list: &[crate::types::NodeId]| list.iter().map(ToString::to_string).collect();
    Some(RouterFailoverState {
        phase: from.phase.name().to_owned(),
        failed_since: failed_since.map(moment),
        cause: cause.map(|cause| cause.name().to_owned()),
        stand_in: from.stand_in.as_ref().map(ToString::to_string),
        stands_in_for: names(&from.stands_in_for),
        order: names(&from.order),
        ready: names(&from.ready),
        probes_missed: from.missed,
        probe_round_trip_us: from.round_trip_us,
    })
}

fn out_of_service(router: &RouterFailover) -> bool {
    matches!(router.phase, Phase::Failed { .. } | Phase::Returning { .. })
}

/// Routers that do not serve.
pub(super) fn failed(failover: &FailoverView) -> usize {
    failover.routers.iter().filter(|router| out_of_service(router)).count()
}

/// Sentences for the health of the whole.
pub(super) fn problems(failover: &FailoverView) -> impl Iterator<Item = String> {
    failover.routers.iter().filter(|router| out_of_service(router)).map(|router| match &router.stand_in {
        Some(stand_in) => format!("router {} has failed; {stand_in} stands in for it", router.router),
        None => format!("router {} has failed, and nobody stands in for it", router.router),
    })
}

pub(super) fn metrics(out: &mut Out<'_>, failover: &FailoverView) -> fmt::Result {
    let each = |value: fn(&RouterFailover) -> f64| {
        failover.routers.iter().map(move |router| ([("router", router.router.as_str())], value(router)))
    };
    out.gauges(
        "failover_router_failed",
        "1 while it does not serve",
        each(|r| f64::from(u8::from(out_of_service(r)))),
    )?;
    out.gauges("failover_stands_in_for", "Routers whose place it takes", each(|r| r.stands_in_for.len() as f64))?;
    out.gauges("failover_probes_missed", "Rounds of probes in a row unanswered", each(|r| f64::from(r.missed)))?;
    out.gauges(
        "failover_probe_round_trip_seconds",
        "From the last liveness probe to its answer",
        failover
            .routers
            .iter()
            .filter_map(|router| Some(([("router", router.router.as_str())], router.round_trip_us? as f64 / 1e6))),
    )?;
    out.counters(
        "failover_failures",
        "Routers that failed, by cause",
        failover.failures.iter().map(|(cause, count)| ([("cause", cause.name())], *count)),
    )?;
    out.counters("failover_unprotected", "Failures without anyone to stand in", [(NONE, failover.unprotected)])?;
    out.counters("failover_returns", "Routers that came back", [(NONE, failover.returns)])?;
    out.counters("failover_probes_sent", "Liveness probes sent", [(NONE, failover.probes_sent)])?;
    out.counters("failover_probes_answered", "Liveness probes answered", [(NONE, failover.probes_answered)])?;
    out.counters("failover_rounds_missed", "Rounds of probes without an answer", [(NONE, failover.rounds_missed)])
}
