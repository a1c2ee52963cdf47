//! One policy over one fabric and its traffic: cycle by cycle, readings through telemetry into the policy engine, its slots
//! back into the emulated first stage.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::arrivals::{Arrivals, between};
use super::emulation::Emulation;
use super::faults::{Fault, Present, Schedule};
use super::report::Report;
use super::score::{Sample, Score};
use super::{Fabric, Shape, Traffic};
use crate::config::{LoopSettings, PolicyKind};
use crate::policy::decision::RouterDecision;
use crate::policy::engine::{CycleInput, CycleOutcome, Engine, RouterInput};
use crate::telemetry::Telemetry;
use crate::types::{NodeId, NodeIndex, ServiceId, Timestamp};

/// Monday, 2 March 2026, 00:00 UTC: where traffic that counts from 0 begins.
const MIDNIGHT_S: f64 = 1_772_409_600.0;
/// Traffic whose times are larger tells the date itself.
const DATED_S: f64 = 1e8;
/// A reading older than so many cycles says nothing about now; as the controller holds it.
const READING_AGE_CYCLES: u32 = 3;
/// Rows whose mean rate the tables are filled by at the start.
const SETTLE_ROWS: usize = 5;
/// Bytes of the records that a connection's opening and closing are (docs/BENCH.md, `bench replication`).
const RECORD_BYTES: f64 = 15.9 + 2.1;

/// How many connections a router may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Capacity {
    Declared,
    Fixed(u32),
    /// This percentile of the active count had nothing been shifted and no router a limit.
    Percentile(f64),
}

/// How many have to be available.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    Declared,
    Fixed(u32),
    /// Of the capacity.
    Percent(f64),
}

/// What is the same for every policy of a replay.
#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    /// Cycle, horizon and the rest of the loop; its policy is set by [`Replay::run`].
    pub settings: LoopSettings,
    pub shape: Shape,
    pub capacity: Capacity,
    pub threshold: Threshold,
    pub faults: Vec<Fault>,
}

/// Active counts had nothing been shifted and no router a limit.
#[derive(Clone, Debug, Default)]
pub struct Unshifted {
    /// By router, at the end of each cycle.
    pub active: Vec<Vec<f32>>,
}

/// A fabric, its traffic and everything else that a replay needs.
#[derive(Clone, Debug)]
pub struct Replay {
    pub fabric: Fabric,
    pub traffic: Traffic,
    pub options: Options,
    pub unshifted: Unshifted,
    schedule: Schedule,
}

impl Unshifted {
    /// Correlation of a router's count with that of the cycle before; 0 where it does not change.
    pub fn lag1(&self, router: usize) -> f64 {
        let values: Vec<f64> = self.active[router].iter().map(|value| f64::from(*value)).collect();
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let variance: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let together: f64 = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
        if variance > 0.0 { together / variance } else { 0.0 }
    }

    fn percentile(&self, router: usize, percent: f64) -> u32 {
        let mut values = self.active[router].clone();
        let rank = ((percent / 100.0 * values.len() as f64).ceil() as usize).clamp(1, values.len().max(1)) - 1;
        values.sort_by(f32::total_cmp);
        values.get(rank).copied().unwrap_or(0.0) as u32
    }
}

impl Replay {
    pub fn new(fabric: Fabric, traffic: Traffic, options: Options) -> Result<Self, String> {
        let schedule = Schedule::new(&options.faults, &fabric)?;
        let mut replay = Self { fabric, traffic, options, unshifted: Unshifted::default(), schedule };
        replay.unshifted = replay.without_limits();
        replay.set_capacities();
        Ok(replay)
    }

    fn cycle_s(&self) -> f64 {
        self.options.settings.cycle_ms.max(1) as f64 / 1e3
    }

    pub fn cycles(&self) -> u64 {
        (self.traffic.seconds() / self.cycle_s() - 1e-9).ceil().max(1.0) as u64
    }

    fn arrivals(&self, router: usize, cycle: u64) -> Arrivals {
        between(&self.traffic, router, cycle as f64 * self.cycle_s(), (cycle + 1) as f64 * self.cycle_s())
    }

    fn emulation(&self, limited: bool) -> Emulation {
        let (seed, shape) = (self.options.seed, &self.options.shape);
        let mut emulation = Emulation::new(&self.fabric, shape, seed, self.cycle_s(), limited);
        for router in 0..self.fabric.routers() {
            let rows = &self.traffic.demand[router][..self.traffic.rows().min(SETTLE_ROWS)];
            let count: f64 = rows.iter().map(|row| f64::from(row.new)).sum();
            let seconds: f64 = rows.iter().map(|row| f64::from(row.new) * f64::from(row.mean_duration_s)).sum();
            let rate = count / (rows.len().max(1) as f64 * self.traffic.interval_s);
            emulation.settle(router, rate, if count > 0.0 { seconds / count } else { 1.0 });
        }
        emulation
    }

    fn without_limits(&self) -> Unshifted {
        let mut emulation = self.emulation(false);
        let cycles = self.cycles();
        let mut active = vec![Vec::with_capacity(cycles as usize); self.fabric.routers()];
        for cycle in 0..cycles {
            for router in 0..self.fabric.routers() {
                emulation.arrive(router, cycle, self.arrivals(router, cycle));
            }
            emulation.pass(cycle);
            for (router, counts) in emulation.routers.iter().zip(&mut active) {
                counts.push(router.table.occupied() as f32);
            }
        }
        Unshifted { active }
    }

    fn set_capacities(&mut self) {
        for router in 0..self.fabric.routers() {
            let (declared, threshold) = self.fabric.settings(router);
            let capacity = match self.options.capacity {
                Capacity::Declared => declared,
                Capacity::Fixed(capacity) => capacity,
                Capacity::Percentile(percent) => self.unshifted.percentile(router, percent),
            };
            let capacity = capacity.max(2);
            let threshold = match self.options.threshold {
                Threshold::Declared => threshold,
                Threshold::Fixed(threshold) => threshold,
                Threshold::Percent(percent) => (f64::from(capacity) * percent / 100.0).ceil() as u32,
            };
            self.fabric.set_capacity(router, capacity, threshold.clamp(1, capacity - 1));
        }
    }

    /// Replays under one policy; `progress` is told cycles done and cycles in all.
    pub fn run(&self, policy: PolicyKind, progress: &mut dyn FnMut(u64, u64)) -> Report {
        self.run_watched(policy, progress, &mut |_| {})
    }

    /// The same; `watch` sees every router's every cycle.
    pub fn run_watched(
        &self,
        policy: PolicyKind,
        progress: &mut dyn FnMut(u64, u64),
        watch: &mut dyn FnMut(&Moment<'_>),
    ) -> Report {
        let mut run = Run::new(self, policy);
        let cycles = self.cycles();
        for cycle in 0..cycles {
            run.cycle(cycle);
            for (place, sample) in run.samples.iter().enumerate() {
                let seconds = (cycle + 1) as f64 * self.cycle_s();
                let decision = run.outcome.decisions.get(place);
                watch(&Moment { seconds, router: self.fabric.router_name(place), sample, decision });
            }
            progress(cycle + 1, cycles);
        }
        run.report()
    }
}

/// One router at the end of one cycle.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'m> {
    /// From the beginning of the traffic.
    pub seconds: f64,
    pub router: &'m NodeId,
    pub sample: &'m Sample,
    /// What was decided then, for the cycle that follows; `None` while there is no controller yet.
    pub decision: Option<&'m RouterDecision>,
}

struct Run<'r> {
    replay: &'r Replay,
    policy: PolicyKind,
    engine: Engine,
    telemetry: Telemetry,
    emulation: Emulation,
    /// The same traffic had nothing been shifted.
    unshifted: Emulation,
    input: CycleInput,
    outcome: CycleOutcome,
    /// Shadows of each router, best first.
    shadows: Vec<Vec<usize>>,
    services: Vec<ServiceId>,
    score: Score,
    present: Present,
    /// Cycles since each router that failed came back.
    returned: BTreeMap<usize, u32>,
    records: f64,
    refused: Vec<(u64, u64)>,
    samples: Vec<Sample>,
}

impl<'r> Run<'r> {
    fn new(replay: &'r Replay, policy: PolicyKind) -> Self {
        let fabric = &replay.fabric;
        let settings = LoopSettings { policy, ..replay.options.settings.clone() };
        let routers: Vec<_> = (0..fabric.routers())
            .map(|place| {
                let (capacity, threshold) = fabric.settings(place);
                (fabric.router_name(place).clone(), capacity, threshold)
            })
            .collect();
        let horizon = settings.horizon_cycles.into();
        Self {
            replay,
            policy,
            engine: Engine::new(&fabric.topology, &settings),
            telemetry: Telemetry::new(&fabric.topology),
            emulation: replay.emulation(true),
            unshifted: replay.emulation(true),
            input: CycleInput::default(),
            outcome: CycleOutcome::default(),
            shadows: vec![Vec::new(); routers.len()],
            services: fabric.topology.services.iter().map(|service| service.id.clone()).collect(),
            score: Score::new(&routers, replay.cycle_s(), horizon, replay.cycles()),
            present: Present::default(),
            returned: BTreeMap::new(),
            records: 0.0,
            refused: vec![(0, 0); routers.len()],
            samples: vec![Sample::default(); routers.len()],
        }
    }

    fn at(&self, cycle: u64) -> Timestamp {
        let start = self.replay.traffic.start_s;
        let start = if start.abs() < DATED_S { MIDNIGHT_S + start } else { start };
        Timestamp(((start + (cycle + 1) as f64 * self.replay.cycle_s()).max(0.0) * 1e6).round() as u64)
    }

    fn cycle(&mut self, cycle: u64) {
        self.follow_faults(cycle);
        for router in 0..self.samples.len() {
            let arrivals = self.replay.arrivals(router, cycle);
            self.unshifted.arrive(router, cycle, arrivals);
            self.emulation.arrive(router, cycle, arrivals);
        }
        self.unshifted.pass(cycle);
        self.emulation.pass(cycle);
        if !self.present.controller {
            self.decide(cycle);
        }
        self.note();
    }

    fn follow_faults(&mut self, cycle: u64) {
        if self.replay.schedule.is_empty() {
            return;
        }
        let seconds = cycle as f64 * self.replay.cycle_s();
        let present = self.replay.schedule.at(seconds, &self.replay.fabric);
        let before = std::mem::replace(&mut self.present, present);
        if before == self.present {
            return;
        }
        for place in before.down.difference(&self.present.down) {
            self.emulation.restore(*place);
            self.returned.insert(*place, 0);
        }
        let failed: Vec<usize> = self.present.down.difference(&before.down).copied().collect();
        // All that die together are dead before any is stood in for.
        failed.iter().for_each(|place| self.emulation.routers[*place].down = true);
        for place in failed {
            self.returned.remove(&place);
            let lost = self.present.loss.get(&place).copied().unwrap_or(0.0);
            self.emulation.fail(place, cycle, &self.shadows[place], lost);
        }
        self.input.down_links.clone_from(&self.present.down_links);
        self.input.unfit_shadows = self.present.unfit(&self.replay.fabric);
    }

    /// What the controller does in a cycle: read, decide, install.
    fn decide(&mut self, cycle: u64) {
        let now = self.at(cycle);
        let nodes = &self.replay.fabric.topology.nodes;
        for (place, node) in nodes[..self.samples.len()].iter().enumerate() {
            if !self.present.unread.contains(&place) && !self.present.down.contains(&place) {
                let reading = self.emulation.reading(place);
                self.telemetry.reading(now, node.datapath, &reading);
            }
        }
        let age_max = Duration::from_millis(self.replay.options.settings.cycle_ms) * READING_AGE_CYCLES;
        let loads = self.telemetry.loads(now, age_max);
        for (place, node) in nodes[..self.samples.len()].iter().enumerate() {
            let in_service = !self.present.down.contains(&place);
            let load = loads.get(&node.index).copied().filter(|_| in_service);
            let held_back_percent = self.held_back(place);
            let router = RouterInput { load, connected: in_service, in_service, held_back_percent };
            self.input.routers.insert(node.index, router);
        }
        self.count_choices();
        if self.policy == PolicyKind::Oracle {
            self.foresee(cycle);
        }
        self.outcome = self.engine.cycle(now, &self.input);
        self.install();
    }

    /// A router that comes back is given its share by steps, as after a failover.
    fn held_back(&mut self, place: usize) -> f64 {
        let Some(cycles) = self.returned.get_mut(&place) else { return 0.0 };
        let step = self.replay.options.settings.failover.ramp_step_percent;
        let held_back = 100.0 - step * f64::from(*cycles + 1);
        *cycles += 1;
        if held_back <= 0.0 {
            self.returned.remove(&place);
        }
        held_back.max(0.0)
    }

    /// Choices so far, as the third stage counts them.
    fn count_choices(&mut self) {
        let nodes = &self.replay.fabric.topology.nodes;
        let counted = self.input.chosen.entry(self.replay.fabric.access()).or_default();
        for (router, service) in self.emulation.routers.iter().zip(&self.services) {
            if !counted.contains_key(service) {
                counted.insert(service.clone(), BTreeMap::new());
            }
            let Some(counts) = counted.get_mut(service) else { continue };
            for (target, count) in &router.chosen {
                counts.insert(nodes[*target].index, *count);
            }
        }
    }

    fn foresee(&mut self, cycle: u64) {
        let horizon = self.replay.options.settings.horizon_cycles as usize;
        for (place, node) in self.replay.fabric.topology.nodes[..self.samples.len()].iter().enumerate() {
            let active = &self.replay.unshifted.active[place];
            let begin = (cycle as usize + 1).min(active.len());
            let end = (begin + horizon).min(active.len());
            let mut future: Vec<f64> = active[begin..end].iter().map(|count| f64::from(*count)).collect();
            let last = future.last().copied().or_else(|| active.last().map(|count| f64::from(*count)));
            future.resize(horizon, last.unwrap_or(0.0));
            self.engine.foresee(node.index, future);
        }
    }

    /// New slots serve the next cycle.
    fn install(&mut self) {
        let Some(services) = self.outcome.slots.get(&self.replay.fabric.access()) else { return };
        for (place, service) in self.services.iter().enumerate() {
            if let Some(assignment) = services.get(service).filter(|assignment| assignment.moved > 0) {
                self.emulation.set_slots(place, &assignment.slots);
            }
        }
        let places: BTreeMap<&str, usize> = if self.replay.schedule.is_empty() {
            BTreeMap::new()
        } else {
            self.services.iter().enumerate().map(|(place, service)| (service.as_str(), place)).collect()
        };
        for (shadows, decision) in self.shadows.iter_mut().zip(&self.outcome.decisions) {
            if !places.is_empty() {
                shadows.clear();
                shadows.extend(decision.shadows.iter().filter_map(|shadow| places.get(shadow.router.as_str())));
            }
        }
    }

    /// Takes the cycle into the score.
    fn note(&mut self) {
        for (place, sample) in self.samples.iter_mut().enumerate() {
            let (router, unshifted) = (&self.emulation.routers[place], &self.unshifted.routers[place]);
            let before = std::mem::replace(&mut self.refused[place], (router.refused, unshifted.refused));
            let decision = self.outcome.decisions.get(place);
            *sample = Sample {
                occupied: router.table.occupied(),
                unshifted: unshifted.table.occupied(),
                shift_percent: decision.map_or(0.0, |decision| decision.shift_percent.min(100.0)),
                refused: router.refused - before.0,
                refused_unshifted: unshifted.refused - before.1,
            };
        }
        let mut taking: BTreeSet<NodeIndex> = BTreeSet::new();
        let fabric = &self.replay.fabric;
        for (place, decision) in self.outcome.decisions.iter().enumerate() {
            let arrived = self.emulation.routers[place].admitted_newly();
            self.records += arrived as f64 * decision.shadows.len() as f64;
            if decision.shift_percent > 0.0 {
                let giving = self.outcome.slots.get(&fabric.access()).and_then(|all| all.get(&self.services[place]));
                let own = fabric.topology.nodes[place].index;
                taking.extend(giving.into_iter().flat_map(|given| given.wanted.keys()).filter(|other| **other != own));
            }
        }
        for index in taking {
            let place = usize::from(index.0) - 1;
            self.score.shadow(place, self.samples[place].occupied);
        }
        self.score.cycle(&self.samples);
    }

    fn report(self) -> Report {
        let settings = &self.replay.options.settings;
        let least =
            (0..self.samples.len()).map(|place| self.score.limit(place) as i64 - self.samples[place].occupied as i64);
        let worst_shadow_headroom = self.score.worst_headroom.or_else(|| least.min()).unwrap_or(0);
        let (overload, overload_routers) = (self.score.overload_cycles, self.score.overload_router_cycles);
        let (churn, peak_active) = (self.score.churn, self.score.peak_active);
        let points = self.score.points.clone();
        let outcome = self.score.finish();
        let cycle_s = self.replay.cycle_s();
        let refused = |emulation: &Emulation| emulation.routers.iter().map(|router| router.refused).sum();
        Report {
            policy: self.policy,
            seed: self.replay.options.seed,
            refused_connections: refused(&self.emulation),
            broken_connections: self.emulation.broken,
            established_moved: 0,
            overload_seconds: overload as f64 * cycle_s,
            overload_router_seconds: overload_routers as f64 * cycle_s,
            lead_time_s: outcome.lead_time_s,
            false_shifts: outcome.false_shifts,
            shift_churn: churn,
            new_connections: self.emulation.offered,
            refused_unshifted: refused(&self.unshifted),
            shifted_connections: self.emulation.shifted,
            unreachable_connections: self.emulation.unreachable,
            shifts: outcome.shifts,
            days: outcome.days,
            quiet_days: outcome.quiet_days,
            quiet_day_shifts: outcome.quiet_day_shifts,
            replication_bytes: (self.records * RECORD_BYTES) as u64,
            worst_shadow_headroom,
            peak_active,
            cycle_s,
            horizon_s: f64::from(settings.horizon_cycles) * cycle_s,
            cycles: self.replay.cycles(),
            routers: outcome.routers,
            breaches: outcome.breaches,
            points,
        }
    }
}
