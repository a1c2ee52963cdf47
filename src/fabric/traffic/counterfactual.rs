//! What every router would hold had nothing ever been shifted.
//!
//! Each connection that is offered is given to the router that the base shares name, is refused where that is full, and
//! holds a slot until its time-out after its end. Lead times and false shifts are measured against this.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use crate::types::{NodeIndex, Timestamp};

/// A breach is over once the router was above its threshold for so long; shorter rests belong to it.
const BREACH_REST: Duration = Duration::from_secs(15 * 60);

/// What bounds a router.
#[derive(Clone, Debug)]
pub struct RouterLimits {
    pub router: NodeIndex,
    pub capacity: u32,
    pub threshold_available: u32,
    /// A connection that fell silent holds its slot for so long.
    pub idle_timeout: Duration,
    /// One that ended by FIN or RST for so long.
    pub closing_timeout: Duration,
}

/// The first moment of a breach: available connections fell below the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    pub router: NodeIndex,
    pub at: Timestamp,
}

#[derive(Debug)]
struct Slots {
    limits: RouterLimits,
    occupied: u32,
    highest: u32,
    refused: u64,
    /// Since when the router has been above its threshold; `None` in a breach.
    calm_since: Option<Timestamp>,
    in_breach: bool,
}

/// The day as it would have been.
#[derive(Debug)]
pub struct Counterfactual {
    routers: HashMap<NodeIndex, Slots>,
    releases: BinaryHeap<Reverse<(Timestamp, NodeIndex)>>,
    crossings: Vec<Crossing>,
}

impl Counterfactual {
    pub(super) fn new(routers: Vec<RouterLimits>) -> Self {
        let slots = |limits: RouterLimits| {
            let router = limits.router;
            let slots = Slots { limits, occupied: 0, highest: 0, refused: 0, calm_since: None, in_breach: false };
            (router, slots)
        };
        let routers = routers.into_iter().map(slots).collect();
        Self { routers, releases: BinaryHeap::new(), crossings: Vec::new() }
    }

    /// Occupied slots of a router now.
    pub fn occupied(&self, router: NodeIndex) -> u32 {
        self.routers.get(&router).map_or(0, |slots| slots.occupied)
    }

    /// Most slots ever occupied at once.
    pub fn highest(&self, router: NodeIndex) -> u32 {
        self.routers.get(&router).map_or(0, |slots| slots.highest)
    }

    /// Connections that the router would have refused.
    pub fn refused(&self, router: NodeIndex) -> u64 {
        self.routers.get(&router).map_or(0, |slots| slots.refused)
    }

    /// Every breach's first moment, in the order of time.
    pub fn crossings(&self) -> &[Crossing] {
        &self.crossings
    }

    pub(super) fn begin_day(&mut self) {
        self.crossings.clear();
        for slots in self.routers.values_mut() {
            (slots.highest, slots.refused) = (slots.occupied, 0);
        }
    }

    pub(super) fn open(&mut self, at: Timestamp, router: NodeIndex, duration: Duration, is_udp: bool) {
        self.advance(at);
        let Some(slots) = self.routers.get_mut(&router) else { return };
        if slots.occupied >= slots.limits.capacity {
            slots.refused += 1;
            return;
        }
        slots.occupied += 1;
        slots.highest = slots.highest.max(slots.occupied);
        let linger = if is_udp { slots.limits.idle_timeout } else { slots.limits.closing_timeout };
        // UDP is a question and an answer at the same moment; its slot stays taken until it idles out.
        let lasts = if is_udp { linger } else { duration + linger };
        self.releases.push(Reverse((at + lasts, router)));
        let below = slots.limits.capacity - slots.occupied < slots.limits.threshold_available;
        if below {
            slots.calm_since = None;
            if !slots.in_breach {
                slots.in_breach = true;
                self.crossings.push(Crossing { router, at });
            }
        }
    }

    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some(Reverse((at, router))) = self.releases.peek().copied() {
            if at > now {
                break;
            }
            self.releases.pop();
            if let Some(slots) = self.routers.get_mut(&router) {
                slots.occupied -= 1;
                let above = slots.limits.capacity - slots.occupied >= slots.limits.threshold_available;
                if slots.in_breach && above {
                    let since = *slots.calm_since.get_or_insert(at);
                    if at.since(since) >= BREACH_REST {
                        slots.in_breach = false;
                        slots.calm_since = None;
                    }
                }
            }
        }
    }
}
