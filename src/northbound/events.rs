//! `/api/v1/events`: a list, or a stream of server-sent events for clients that accept `text/event-stream`.
//!
//! Invariant: a stream never skips an id in silence. What is no longer kept is told by a `lost` event; a client too
//! slow for the stream gets a `lagging` event as its last, and continues with `Last-Event-ID`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{OriginalUri, Query, State, rejection::QueryRejection};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};
use utoipa::IntoParams;

use super::NorthState;
use super::convert::event;
use super::model::Events;
use super::problem::Problem;
use crate::controller::feed::Subscription;
use crate::controller::view::Happening;

/// Happenings in one answer unless the client asks for another number.
const LIMIT_DEFAULT: usize = 200;

/// Without an event for so long, a comment keeps proxies from closing the stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Only happenings with a greater id. A stream begins after it too, where no `Last-Event-ID` is sent.
    after: Option<u64>,
    /// Most happenings in a list, the newest ones; 200 unless given.
    limit: Option<usize>,
    /// Only happenings of this kind.
    kind: Option<String>,
    /// Only happenings about this node.
    node: Option<String>,
}

impl EventsQuery {
    fn takes(&self, happening: &Happening) -> bool {
        let node = happening.node.as_ref().map(|node| node.as_str());
        self.kind.as_ref().is_none_or(|kind| *kind == happening.kind)
            && self.node.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == node)
    }
}

/// What happened, oldest first; as server-sent events where `text/event-stream` is accepted.
///
/// Each message of the stream carries the happening's `id` and the JSON of `Event` as data. Two named events speak of
/// the stream itself: `lost` (ids that were asked for and are no longer kept) and `lagging` (the last event of a
/// stream that was read too slowly).
#[utoipa::path(get, path = "/api/v1/events", tag = "foreshadow",
    params(EventsQuery, ("Last-Event-ID" = Option<u64>, Header, description = "Resume a stream after this id")),
    responses(
        (status = 200, description = "Happenings", content((Events = "application/json"), (String = "text/event-stream"))),
        (status = 400, description = "Bad query or Last-Event-ID", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn events(
    State(state): State<NorthState>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, uri.path(), detail);
    let Query(query) = query.map_err(|error| bad(error.body_text()))?;
    let mut response = if accepts_stream(&headers) {
        let last =
            match headers.get("last-event-id") {
                None => query.after,
                Some(value) => {
                    Some(value.to_str().ok().and_then(|id| id.trim().parse().ok()).ok_or_else(|| {
                        bad(format!("expected Last-Event-ID to be the id of an event, came {value:?}"))
                    })?)
                }
            };
        let stream = follow(state.feed.subscribe(last), query).take_until(state.closing.cancelled_owned());
        Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
    } else {
        let mut kept = state.feed.after(query.after.unwrap_or(0));
        kept.retain(|happening| query.takes(happening));
        let surplus = kept.len().saturating_sub(query.limit.unwrap_or(LIMIT_DEFAULT));
        let events = kept.iter().skip(surplus).map(|happening| event(happening)).collect();
        Json(Events { newest_id: state.feed.last_id(), events }).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|range| range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream")))
}

struct Follower {
    query: EventsQuery,
    lost: Option<(u64, u64)>,
    backlog: VecDeque<Arc<Happening>>,
    live: broadcast::Receiver<Arc<Happening>>,
    ended: bool,
}

pub(super) fn follow(from: Subscription, query: EventsQuery) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let Subscription { backlog, lost, live } = from;
    let start = Follower { query, lost, backlog: backlog.into(), live, ended: false };
    stream::unfold(start, async |mut follower| {
        let next = follower.next().await?;
        Some((Ok(next), follower))
    })
}

impl Follower {
    async fn next(&mut self) -> Option<sse::Event> {
        if let Some((first, last)) = self.lost.take() {
            let told = format!("happenings {first} to {last} are no longer kept");
            return Some(sse::Event::default().event("lost").data(told));
        }
        while !self.ended {
            let happening = match self.backlog.pop_front() {
                Some(happening) => happening,
                None => match self.live.recv().await {
                    Ok(happening) => happening,
                    Err(RecvError::Closed) => break,
                    Err(RecvError::Lagged(missed)) => {
                        self.ended = true;
                        let told =
                            format!("{missed} happenings came faster than they were read; resume by Last-Event-ID");
                        return Some(sse::Event::default().event("lagging").data(told));
                    }
                },
            };
            if self.query.takes(&happening) {
                return Some(encode(&happening));
            }
        }
        None
    }
}

fn encode(happening: &Happening) -> sse::Event {
    let data = serde_json::to_string(&event(happening)).expect("an event has string keys and finite numbers only");
    sse::Event::default().id(happening.id.to_string()).data(data)
}
