//! The emulated first stage: tables of all routers, who sends to whom, and what is counted of it.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::arrivals::Arrivals;
use super::cohort::{Table, draw};
use super::{Fabric, Shape};
use crate::plan::SLOTS;
use crate::southbound::{ConnectionCounters, ConnectionsEnded, Reading};
use crate::types::NodeIndex;

/// Words of each router's random stream that belong to one cycle: more than any cycle draws.
const WORDS_A_CYCLE: u128 = 1 << 16;
/// Steps a cycle at most.
const STEPS_MAX: f64 = 4.0;

/// One router as it is emulated.
#[derive(Clone, Debug)]
pub(super) struct Router {
    pub(super) table: Table,
    /// Slots of its own service by router, while others than itself have some.
    split: Vec<(usize, u32)>,
    /// Choices of its service so far, by router.
    pub(super) chosen: Vec<(usize, u64)>,
    arriving: u64,
    /// Sum of their mean durations.
    arriving_s: f64,
    mean_s: f64,
    counters: ConnectionCounters,
    admitted_before: u64,
    ended: u64,
    pub(super) refused: u64,
    /// Who stands in while it is down.
    pub(super) stand_in: Option<usize>,
    pub(super) down: bool,
}

impl Router {
    /// Connections admitted since it was asked last.
    pub(super) fn admitted_newly(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.admitted_before, self.counters.admitted);
        self.counters.admitted - before
    }
}

/// Tables of all routers.
#[derive(Clone, Debug)]
pub(super) struct Emulation {
    pub(super) routers: Vec<Router>,
    shape: Shape,
    seed: u64,
    cycle_s: f64,
    pub(super) offered: u64,
    pub(super) shifted: u64,
    pub(super) unreachable: u64,
    pub(super) broken: u64,
}

impl Emulation {
    pub(super) fn new(fabric: &Fabric, shape: &Shape, seed: u64, cycle_s: f64, limited: bool) -> Self {
        let router = |place: usize| Router {
            table: Table::new(shape, if limited { fabric.settings(place).0.into() } else { u64::MAX }),
            split: Vec::new(),
            chosen: vec![(place, 0)],
            arriving: 0,
            arriving_s: 0.0,
            mean_s: 1.0,
            counters: ConnectionCounters::default(),
            admitted_before: 0,
            ended: 0,
            refused: 0,
            stand_in: None,
            down: false,
        };
        Self {
            routers: (0..fabric.routers()).map(router).collect(),
            shape: shape.clone(),
            seed,
            cycle_s,
            offered: 0,
            shifted: 0,
            unreachable: 0,
            broken: 0,
        }
    }

    /// The tables as they stand in the long run.
    pub(super) fn settle(&mut self, router: usize, rate: f64, mean_s: f64) {
        self.routers[router].table.settle(rate, mean_s, &self.shape);
        self.routers[router].mean_s = mean_s;
    }

    /// A router's stream of random numbers for one cycle; `part` keeps uses apart. What other routers and cycles drew
    /// changes nothing in it, so that policies are told apart by what they do and not by chance.
    fn rng(&self, router: usize, cycle: u64, part: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream((router as u64 + 1) * 4 + part);
        rng.set_word_pos(u128::from(cycle) * WORDS_A_CYCLE);
        rng
    }

    /// Slots of a router's service as the engine wants them from now on.
    pub(super) fn set_slots(&mut self, router: usize, slots: &[NodeIndex]) {
        let mut counts: Vec<(usize, u32)> = Vec::new();
        for slot in slots {
            let place = usize::from(slot.0) - 1;
            match counts.iter_mut().find(|(known, _)| *known == place) {
                Some((_, count)) => *count += 1,
                None => counts.push((place, 1)),
            }
        }
        counts.sort_unstable();
        let own = counts.len() == 1 && counts[0].0 == router;
        self.routers[router].split = if own { Vec::new() } else { counts };
    }

    /// New connections whose base choice is `router` come; they go where the slots say, or to who stands in.
    pub(super) fn arrive(&mut self, router: usize, cycle: u64, arrivals: Arrivals) {
        self.offered += arrivals.count;
        if self.routers[router].split.is_empty() {
            self.give(router, router, arrivals.count, arrivals.mean_s);
            return;
        }
        let mut rng = self.rng(router, cycle, 1);
        let (mut left, mut slots) = (arrivals.count, SLOTS as u32);
        for (target, count) in self.routers[router].split.clone() {
            let given = draw(left, f64::from(count) / f64::from(slots), &mut rng);
            left -= given;
            slots -= count;
            self.give(router, target, given, arrivals.mean_s);
        }
    }

    fn give(&mut self, from: usize, target: usize, count: u64, mean_s: f64) {
        let chosen = &mut self.routers[from].chosen;
        match chosen.iter_mut().find(|(known, _)| *known == target) {
            Some((_, sum)) => *sum += count,
            None => chosen.push((target, count)),
        }
        let mut holder = target;
        if self.routers[target].down {
            match self.routers[target].stand_in {
                Some(other) => holder = other,
                None => {
                    self.unreachable += count;
                    self.routers[target].refused += count;
                    return;
                }
            }
        }
        if holder != from {
            self.shifted += count;
        }
        let router = &mut self.routers[holder];
        router.arriving += count;
        router.arriving_s += count as f64 * mean_s;
        if holder == from {
            router.mean_s = mean_s;
        }
    }

    /// What arrived comes evenly over the cycle, and connections end.
    pub(super) fn pass(&mut self, cycle: u64) {
        for place in 0..self.routers.len() {
            let mut rng = self.rng(place, cycle, 0);
            let router = &mut self.routers[place];
            let count = std::mem::take(&mut router.arriving);
            let sum_s = std::mem::take(&mut router.arriving_s);
            let mean_s = if count > 0 { sum_s / count as f64 } else { router.mean_s };
            let steps = (2.0 * self.cycle_s / mean_s.max(1e-3)).ceil().clamp(1.0, STEPS_MAX) as u64;
            for step in 0..steps {
                let arrivals = count * (step + 1) / steps - count * step / steps;
                let seconds = self.cycle_s / steps as f64;
                let came = router.table.step(arrivals, mean_s, seconds, &self.shape, &mut rng);
                router.counters.admitted += came.admitted;
                router.refused += came.refused;
                router.ended += came.ended;
            }
            router.mean_s = mean_s;
        }
    }

    /// What its switch would answer to a controller that asks now.
    pub(super) fn reading(&mut self, place: usize) -> Reading {
        let router = &mut self.routers[place];
        let count = std::mem::take(&mut router.ended);
        router.counters.occupied = router.table.occupied();
        router.counters.refused = router.refused;
        Reading {
            connections: Some(router.counters),
            ended: Some(ConnectionsEnded { count, lifetime_ms_total: (count as f64 * router.mean_s * 1e3) as u64 }),
            ..Reading::default()
        }
    }

    /// A router dies: its connections go to the first of `shadows` that lives, but for the part of copies that is lost;
    /// without one all are broken.
    pub(super) fn fail(&mut self, place: usize, cycle: u64, shadows: &[usize], lost: f64) {
        let alive = shadows.iter().copied().find(|shadow| !self.routers[*shadow].down);
        let mut rng = self.rng(place, cycle, 2);
        (self.routers[place].down, self.routers[place].stand_in) = (true, alive);
        match alive {
            Some(shadow) => {
                let mut failed = self.routers[place].table.clone();
                self.broken += self.routers[shadow].table.take_over(&mut failed, lost, &mut rng);
                self.routers[place].table.clear();
            }
            None => self.broken += self.routers[place].table.clear(),
        }
        // Whoever relied on it as a stand-in looks for another.
        for other in 0..self.routers.len() {
            if self.routers[other].down && self.routers[other].stand_in == Some(place) {
                self.routers[other].stand_in = alive;
            }
        }
    }

    /// It is back, empty; the connections that its stand-in took over end there.
    pub(super) fn restore(&mut self, place: usize) {
        (self.routers[place].down, self.routers[place].stand_in) = (false, None);
    }
}
