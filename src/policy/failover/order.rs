//! The order in which shadows stand in: one for the controller and for the switches' own failover.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Failover, Observation, Phase, State};
use crate::types::{NodeIndex, Timestamp};

/// How long the first shadows of a router keep their places without a full copy.
pub(super) const FIRST_COPIES: Duration = Duration::from_secs(30);

impl Failover {
    /// Shadows of a router in the order in which they stand in for it.
    pub fn order(&self, router: NodeIndex) -> &[NodeIndex] {
        self.states.get(&router).map_or(&[], |state| &state.order)
    }

    /// Brings the orders up to the shadows that are chosen now, which come in an order that does not waver: every change is
    /// a message to every neighbour, and for a moment not all of them agree. Who holds no full copy comes after those who
    /// do, who has failed comes last.
    ///
    /// The first shadows of a router have [`FIRST_COPIES`] to become ready before they lose their places: all of them start
    /// together, and a controller that restarts would otherwise order them by who was compared first.
    ///
    /// A failed router keeps the shadows that it had: its mirror links went down with it, so it would have none.
    pub(super) fn reorder(&mut self, seen: &BTreeMap<NodeIndex, Observation>, now: Timestamp) {
        let failed: Vec<NodeIndex> =
            self.states.iter().filter(|(_, state)| !state.phase.serves()).map(|(router, _)| *router).collect();
        for (router, state) in &mut self.states {
            let Some(seen) = seen.get(router) else { continue };
            if state.phase.serves() && seen.connected && seen.missed == 0 {
                state.order.clone_from(&seen.shadows);
                // A comparison that finds one connection more or less does not make a copy worthless, and an order that
                // follows it would never come to rest; a copy that is no good any more is no shadow any more.
                state.ready.retain(|shadow| seen.shadows.contains(shadow));
                let new = seen.ready.iter().filter(|shadow| !state.ready.contains(shadow)).copied();
                let new: Vec<NodeIndex> = new.collect();
                state.ready.extend(new);
            }
            let adopted = matches!(state.phase, Phase::Failed { cause: super::Cause::Adopted, .. });
            if state.phase.serves() || adopted || state.order.is_empty() {
                let new: Vec<NodeIndex> =
                    seen.shadows.iter().filter(|shadow| !state.order.contains(shadow)).copied().collect();
                state.order.extend(new);
            }
            let State { order, ready, first, .. } = state;
            if first.is_none() && !order.is_empty() {
                *first = Some((now, order.clone()));
            }
            let young = |shadow: &NodeIndex| {
                first.as_ref().is_some_and(|(at, shadows)| now.since(*at) < FIRST_COPIES && shadows.contains(shadow))
            };
            let ready = |shadow: &NodeIndex| ready.contains(shadow) || seen.ready.contains(shadow) || young(shadow);
            order.sort_by_key(|shadow| (failed.contains(shadow), !ready(shadow)));
        }
    }
}
