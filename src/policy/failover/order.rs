//! The order in which shadows stand in: one for the controller and for the switches' own failover.

use std::collections::BTreeMap;

use super::{Failover, Observation, Phase, State};
use crate::types::NodeIndex;

impl Failover {
    /// Shadows of a router in the order in which they stand in for it.
    pub fn order(&self, router: NodeIndex) -> &[NodeIndex] {
        self.states.get(&router).map_or(&[], |state| &state.order)
    }

    /// Brings the orders up to the shadows that are chosen now. Those that stay keep their places, however their scores
    /// change: every change is a message to every neighbour, and for a moment not all of them agree. Who holds no full
    /// copy comes after those who do, who has failed comes last.
    ///
    /// A failed router keeps the shadows that it had: its mirror links went down with it, so it would have none.
    pub(super) fn reorder(&mut self, seen: &BTreeMap<NodeIndex, Observation>) {
        let failed: Vec<NodeIndex> =
            self.states.iter().filter(|(_, state)| !state.phase.serves()).map(|(router, _)| *router).collect();
        for (router, state) in &mut self.states {
            let Some(seen) = seen.get(router) else { continue };
            if state.phase.serves() && seen.connected && seen.missed == 0 {
                state.order.retain(|shadow| seen.shadows.contains(shadow));
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
            let State { order, ready, .. } = state;
            let ready = |shadow: &NodeIndex| ready.contains(shadow) || seen.ready.contains(shadow);
            order.sort_by_key(|shadow| (failed.contains(shadow), !ready(shadow)));
        }
    }
}
