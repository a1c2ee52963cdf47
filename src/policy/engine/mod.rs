//! One cycle of the loop: readings in, complete and explained decisions and slots out.
//!
//! `run`, `demo` and `replay` all drive this engine; it reads no clock and sends nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::decision::{RouterDecision, ShadowChoice, ShiftPhase};
use super::shadow::{Candidate, Selection, ShadowSet};
use super::shift::{self, Placement, ShiftState};
use super::weights::Diversion;
use crate::config::{LinkKind, LoopSettings, PolicyKind, Stage, Topology};
use crate::plan::{Choice, Spread};
use crate::telemetry::Load;
use crate::types::{NodeId, NodeIndex, ServiceId, Timestamp};

mod assess;
mod explain;
mod split;

use assess::{Assessment, Watch};
use split::Splits;

/// Cycles for which a shadow that crossed its threshold, or refused, is given nothing more after it recovered.
const SHADOW_REST_CYCLES: u32 = 30;

/// What is sent to a shadow has to fit so many cycles on: time enough to see it fill and to take the shift back.
const LOOK_AHEAD_CYCLES: u32 = 10;

/// Fewer routers than this are assessed by one thread: starting others would take longer.
const PARALLEL_MIN: usize = 128;

/// Less than this is the noise of quantised and corrected slots, not a shift of a predecessor.
const ADOPTED_MIN_PERCENT: f64 = 3.0;

/// What the engine is told about one cycle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CycleInput {
    /// First-stage routers; one that is absent is taken as in service, without session and reading.
    pub routers: BTreeMap<NodeIndex, RouterInput>,
    /// Indices into [`Topology::links`] of those that are not up.
    pub down_links: BTreeSet<usize>,
    /// Routers and shadows of theirs that are given nothing, because their copies of the connections lag or are wrong.
    #[serde(default)]
    pub unfit_shadows: BTreeSet<(NodeIndex, NodeIndex)>,
    /// Cumulative choices of each third-stage switch, as read ([`crate::southbound::Reading::chosen`]). A switch that did
    /// not answer is absent.
    pub chosen: BTreeMap<NodeIndex, BTreeMap<ServiceId, BTreeMap<NodeIndex, u64>>>,
}

/// One first-stage router in one cycle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterInput {
    /// `None` where there was no (fresh) reading: the last decision then stands.
    pub load: Option<Load>,
    /// The controller's session with the switch is up. Without it the switch goes on as it is, but shadows nobody new.
    pub connected: bool,
    /// As far as is known it forwards. One that does not gets no new connections; they go to its shadows.
    pub in_service: bool,
    /// While it comes back after a failure: so much of its share goes to its shadows at least, in percent.
    #[serde(default)]
    pub held_back_percent: f64,
}

impl Default for RouterInput {
    fn default() -> Self {
        Self { load: None, connected: false, in_service: true, held_back_percent: 0.0 }
    }
}

/// What the engine decided in one cycle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CycleOutcome {
    /// Every first-stage router, in the topology's order. `generation` is left 0: whoever plans numbers them.
    pub decisions: Vec<RouterDecision>,
    /// Slots of every third-stage switch and service.
    pub slots: BTreeMap<NodeIndex, BTreeMap<ServiceId, SlotAssignment>>,
    /// Any slot or spread differs from the cycle before (true in the first).
    pub slots_changed: bool,
    /// Sentences worth an event: shadow changes, corrections.
    pub happenings: Vec<(NodeIndex, String)>,
}

/// How one third-stage switch spreads the new connections of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlotAssignment {
    /// [`crate::plan::SLOTS`] entries.
    pub slots: Vec<NodeIndex>,
    pub spread: Spread,
    /// Share of each router asked for now; adds up to 1.
    pub wanted: BTreeMap<NodeIndex, f64>,
    /// Share of each router measured here over the present window.
    pub measured: BTreeMap<NodeIndex, f64>,
    /// Connections that `measured` was measured over.
    pub measured_over: u64,
    /// Slots that differ from the cycle before.
    pub moved: usize,
}

/// A first-stage router as the topology declares it.
#[derive(Clone, Debug)]
struct Router {
    id: NodeId,
    index: NodeIndex,
    capacity: u32,
    threshold: u32,
    risks: BTreeSet<String>,
    /// Routers joined by a mirror link: place among the routers, link, latency.
    mirrors: Vec<(usize, usize, u32)>,
    /// The same routers, each once: only they can be its shadows, or it theirs.
    neighbours: BTreeSet<usize>,
}

impl Router {
    /// Occupied connections above which available ones are below the threshold.
    fn limit(&self) -> f64 {
        f64::from(self.capacity.saturating_sub(self.threshold))
    }
}

/// What is remembered of a router from cycle to cycle.
#[derive(Clone, Debug)]
struct State {
    watch: Watch,
    shadows: ShadowSet,
    shift: ShiftState,
    /// In force: place of each shadow among the routers, and its share of what is shifted.
    parts: Vec<(usize, f64)>,
    /// Connections of this router that each shadow is thought to hold because of the shift.
    moved: BTreeMap<usize, f64>,
    /// Cycles left in which it is given nothing as a shadow.
    resting: u32,
    /// How far ahead what is sent to shadows has to fit.
    ahead_s: f64,
    /// It was out of service in the cycle before, or held back.
    returns: bool,
}

impl State {
    /// Fraction of the connections held now that is still there at the end of the look-ahead.
    fn staying(&self) -> f64 {
        (-self.ahead_s / self.watch.residence_s().max(0.1)).exp()
    }

    fn moved_to(&self, shadow: usize) -> f64 {
        self.moved.get(&shadow).copied().unwrap_or(0.0)
    }
}

/// The whole decision state of a controller.
#[derive(Clone, Debug)]
pub struct Engine {
    settings: LoopSettings,
    routers: Vec<Router>,
    places: BTreeMap<NodeIndex, usize>,
    states: Vec<State>,
    splits: Splits,
    last_at: Option<Timestamp>,
}

impl Engine {
    pub fn new(topology: &Topology, settings: &LoopSettings) -> Self {
        let nodes: Vec<_> = topology.nodes.iter().filter(|node| node.stage == Stage::Router).collect();
        let by_id: BTreeMap<_, _> = nodes.iter().enumerate().map(|(place, node)| (&node.id, place)).collect();
        let mut routers: Vec<Router> = nodes
            .iter()
            .map(|node| Router {
                id: node.id.clone(),
                index: node.index,
                capacity: node.router.as_ref().map_or(0, |router| router.capacity_connections),
                threshold: node.router.as_ref().map_or(0, |router| router.threshold_available),
                risks: node.risk_groups.iter().cloned().collect(),
                mirrors: Vec::new(),
                neighbours: BTreeSet::new(),
            })
            .collect();
        for (number, link) in topology.links.iter().enumerate().filter(|(_, link)| link.kind == LinkKind::Mirror) {
            if let (Some(a), Some(b)) = (by_id.get(&link.a.node), by_id.get(&link.b.node)) {
                routers[*a].mirrors.push((*b, number, link.latency_us));
                routers[*b].mirrors.push((*a, number, link.latency_us));
                routers[*a].neighbours.insert(*b);
                routers[*b].neighbours.insert(*a);
            }
        }
        let places = routers.iter().enumerate().map(|(place, router)| (router.index, place)).collect();
        let state = State {
            watch: Watch::new(settings),
            shadows: ShadowSet::default(),
            shift: ShiftState::default(),
            parts: Vec::new(),
            moved: BTreeMap::new(),
            resting: 0,
            ahead_s: f64::from(LOOK_AHEAD_CYCLES) * settings.cycle_ms.max(1) as f64 / 1e3,
            returns: false,
        };
        let states = vec![state; routers.len()];
        let splits = Splits::new(topology);
        Self { settings: settings.clone(), routers, places, states, splits, last_at: None }
    }

    /// Takes over the choices that a switch was found to hold, so that a restarted controller moves none without need,
    /// and goes on with a shift where its predecessor stopped.
    pub fn adopt(&mut self, access: NodeIndex, service: &ServiceId, choice: &Choice) {
        self.splits.adopt(access, service, choice);
        let shares = self.splits.adopted_shares();
        for place in 0..self.routers.len() {
            self.adopt_shift(place, &shares);
        }
    }

    /// What a router will hold in the next cycles were nothing shifted, for [`PolicyKind::Oracle`]: only who replays the
    /// past knows it. It stands until it is told anew.
    pub fn foresee(&mut self, router: NodeIndex, occupied: Vec<f64>) {
        if let Some(place) = self.places.get(&router) {
            self.states[*place].watch.know_future(occupied);
        }
    }

    /// What a router was given less than its base share was shifted; who was given more took it.
    fn adopt_shift(&mut self, place: usize, shares: &BTreeMap<NodeIndex, split::Adopted>) {
        let share = |place: usize| shares.get(&self.routers[place].index).copied().unwrap_or_default();
        let own = share(place);
        let percent = if own.base > 0.0 { (1.0 - own.installed / own.base) * 100.0 } else { 0.0 };
        if percent < ADOPTED_MIN_PERCENT {
            return;
        }
        let gains = self.routers[place].mirrors.iter().map(|(other, ..)| *other).collect::<BTreeSet<usize>>();
        let gains: Vec<(usize, f64)> = gains
            .into_iter()
            .map(|other| (other, share(other).installed - share(other).base))
            .filter(|(_, gain)| *gain > 0.0)
            .collect();
        let total: f64 = gains.iter().map(|(_, gain)| gain).sum();
        if total <= 0.0 {
            return;
        }
        let state = &mut self.states[place];
        state.shift.percent = percent.min(shift::SHIFT_MAX_PERCENT);
        state.shift.phase = ShiftPhase::Holding;
        state.parts = gains.into_iter().map(|(other, gain)| (other, gain / total)).collect();
    }

    /// Decides one cycle. Deterministic: the same history of inputs gives the same outcome.
    pub fn cycle(&mut self, now: Timestamp, input: &CycleInput) -> CycleOutcome {
        let cycle_s = self.settings.cycle_ms.max(1) as f64 / 1e3;
        let passed_s = self.last_at.map_or(cycle_s, |last| now.since(last).as_secs_f64());
        self.last_at = Some(now);
        let inputs: Vec<RouterInput> =
            self.routers.iter().map(|router| input.routers.get(&router.index).copied().unwrap_or_default()).collect();
        self.follow_moved(passed_s);
        let assessments = self.assess(now, passed_s, &inputs);
        let selections = self.select_shadows(input, &inputs);
        let mut decisions = Vec::with_capacity(self.routers.len());
        for (place, selection) in selections.iter().enumerate() {
            let placement = self.shift(place, &inputs, &assessments, selection, &input.unfit_shadows);
            decisions.push(self.decide(now, place, &inputs, &assessments, selection, &placement));
        }
        let mut outcome = CycleOutcome { decisions, ..CycleOutcome::default() };
        for (router, selection) in self.routers.iter().zip(&selections) {
            outcome.happenings.extend(selection.changes.iter().map(|change| (router.index, change.clone())));
        }
        let diversions = self.diversions();
        let dead: BTreeSet<NodeIndex> = self
            .routers
            .iter()
            .zip(&inputs)
            .filter(|(_, input)| !input.in_service)
            .map(|(router, _)| router.index)
            .collect();
        self.splits.cycle(&input.chosen, &diversions, &dead, &mut outcome);
        outcome
    }

    /// Shifted connections arrive at the shadows at the shifted rate and leave with the residence time.
    fn follow_moved(&mut self, seconds: f64) {
        for state in &mut self.states {
            let stay = (-seconds / state.watch.residence_s().max(0.1)).exp();
            let standing = state.watch.demand_connections() * state.shift.percent / 100.0;
            for moved in state.moved.values_mut() {
                *moved *= stay;
            }
            for (shadow, share) in &state.parts {
                *state.moved.entry(*shadow).or_default() += standing * share * (1.0 - stay);
            }
            state.moved.retain(|_, moved| *moved > 0.01);
        }
    }

    fn assess(&mut self, now: Timestamp, passed_s: f64, inputs: &[RouterInput]) -> Vec<Assessment> {
        let count = self.routers.len();
        let (mut inbound_per_s, mut inbound) = (vec![0.0; count], vec![0.0; count]);
        for (state, input) in self.states.iter().zip(inputs) {
            // What a router sheds while a surge grows is told by what it was offered beside that in this very cycle;
            // smoothed demand lags, and the shadows would take the rest for demand of their own.
            let fraction = (state.shift.percent / 100.0).clamp(0.0, 0.95);
            let kept = input.load.map_or(0.0, |load| load.new_per_s + load.refused as f64 / passed_s.max(1e-3));
            let shed = (state.watch.demand_per_s() * fraction).max(kept * fraction / (1.0 - fraction));
            for (shadow, share) in &state.parts {
                inbound_per_s[*shadow] += shed * share;
            }
            state.moved.iter().for_each(|(shadow, moved)| inbound[*shadow] += moved);
        }
        let outside = |place: usize, state: &State| assess::Outside {
            limit: self.routers[place].limit(),
            percent: state.shift.percent,
            inbound_per_s: inbound_per_s[place],
            inbound: inbound[place],
            outbound: state.moved.values().sum(),
        };
        let observe = |place: usize, state: &mut State| {
            let Some(load) = inputs[place].load else { return state.watch.missing() };
            let outside = outside(place, state);
            let assessment = state.watch.observe(now, &load, &outside, &self.settings);
            let spent = assessment.signals.crossed || load.refused > 0;
            state.resting = if spent { SHADOW_REST_CYCLES } else { state.resting.saturating_sub(1) };
            assessment
        };
        in_parts(&mut self.states, observe)
    }

    fn select_shadows(&mut self, input: &CycleInput, inputs: &[RouterInput]) -> Vec<Selection> {
        let spare: Vec<f64> = self
            .routers
            .iter()
            .zip(&self.states)
            .map(|(router, state)| 1.0 - (state.watch.load().occupied / router.limit().max(1.0)).clamp(0.0, 1.0))
            .collect();
        let mut selections = Vec::with_capacity(self.routers.len());
        for (place, router) in self.routers.iter().enumerate() {
            let candidate = |(other, link, latency_us): &(usize, usize, u32)| {
                let because = if !inputs[*other].in_service {
                    Some("it is out of service")
                } else if !inputs[*other].connected {
                    Some("the session with it is down")
                } else if input.down_links.contains(link) {
                    Some("the mirror link is down")
                } else {
                    None
                };
                Candidate {
                    router: self.routers[*other].index,
                    latency_us: *latency_us,
                    shared_risks: router.risks.intersection(&self.routers[*other].risks).cloned().collect(),
                    spare: spare[*other],
                    eligible: because.is_none(),
                    ineligible_because: because.map(str::to_owned),
                }
            };
            let mut candidates: Vec<Candidate> = router.mirrors.iter().map(candidate).collect();
            // Parallel mirror links: the best one that is up speaks for the pair.
            candidates.sort_by_key(|candidate| (candidate.router, !candidate.eligible, candidate.latency_us));
            candidates.dedup_by_key(|candidate| candidate.router);
            let name = |index: NodeIndex| self.routers[self.places[&index]].id.to_string();
            selections.push(self.states[place].shadows.select(&candidates, self.settings.shadows_max, &name));
        }
        selections
    }

    /// Those that may have `shadow` as a shadow: cost follows the mirror links, not the size of the fabric.
    fn served_by(&self, shadow: usize) -> impl Iterator<Item = (usize, &State)> {
        self.routers[shadow].neighbours.iter().map(|place| (*place, &self.states[*place]))
    }

    /// Connections of all routers but `except` that are, or will be, at `shadow` by the shifts in force.
    fn reserved(&self, shadow: usize, except: usize) -> f64 {
        let others = self.served_by(shadow).filter(|(place, _)| *place != except);
        others.map(|(_, state)| reservation(state, shadow)).sum()
    }

    /// Connections that `shadow` can take from router `of` before its own threshold.
    fn headroom(&self, shadow: usize, of: usize, inputs: &[RouterInput]) -> f64 {
        let (router, state) = (&self.routers[shadow], &self.states[shadow]);
        if !inputs[shadow].in_service || state.resting > 0 || !state.watch.known() {
            return 0.0;
        }
        let inbound: f64 = self.served_by(shadow).filter_map(|(_, other)| other.moved.get(&shadow)).sum();
        let load = state.watch.load();
        let own = (load.occupied - inbound).max(0.0);
        let coming: f64 = self
            .served_by(shadow)
            .map(|(_, other)| (reservation(other, shadow) - other.moved_to(shadow)).max(0.0))
            .sum();
        let foreseen = (state.watch.peak().unwrap_or(load.occupied) - load.occupied - coming).max(0.0);
        // The forecast goes on with what it sees, the rise that shifts cause included, which is reserved for already.
        // What is the shadow's own to grow by is bounded by where its own demand heads (Little's law).
        let growth = foreseen.min((state.watch.demand_connections() - own).max(0.0));
        // The square root is the noise of a count at the limit: an expectation at the limit would cross half the time.
        let room = router.limit() - router.limit().sqrt() - own - growth - self.reserved(shadow, of);
        // One that sheds connections itself, or was not read, takes no more than it was promised.
        let frozen = state.shift.percent > 0.0 || inputs[shadow].load.is_none();
        let most = if frozen { reservation(&self.states[of], shadow) } else { f64::INFINITY };
        room.min(most).max(0.0)
    }

    fn shift(
        &mut self,
        place: usize,
        inputs: &[RouterInput],
        assessments: &[Assessment],
        selection: &Selection,
        unfit: &BTreeSet<(NodeIndex, NodeIndex)>,
    ) -> Placed {
        let shadows: Vec<usize> = selection.shadows.iter().map(|shadow| self.places[&shadow.router]).collect();
        let room = |shadow: &usize| match unfit.contains(&(self.routers[place].index, self.routers[*shadow].index)) {
            true => 0.0,
            false => self.headroom(*shadow, place, inputs),
        };
        let headroom: Vec<f64> = shadows.iter().map(room).collect();
        let held_back = inputs[place].held_back_percent;
        if inputs[place].in_service && self.states[place].returns {
            // Back in service: what its shadows took in its place was no shift to be restored slowly.
            self.states[place].shift = ShiftState::default();
        }
        self.states[place].returns = !inputs[place].in_service || held_back > 0.0;
        let state = &self.states[place];
        if inputs[place].in_service && !state.watch.known() && state.shift.percent > 0.0 {
            // Adopted, and not read yet: nothing is known that would speak for another shift.
            let share =
                |shadow: &usize| state.parts.iter().find(|(part, _)| part == shadow).map_or(0.0, |(_, share)| *share);
            let shares = shadows.iter().map(share).collect();
            let placement = Placement { shares, percent: state.shift.percent, ..Placement::default() };
            return Placed { law: state.shift, placement, headroom };
        }
        let law = if !inputs[place].in_service {
            ShiftState { percent: 100.0, ..state.shift }
        } else if self.settings.policy == PolicyKind::Static {
            ShiftState::default()
        } else if assessments[place].stale {
            state.shift
        } else {
            state.shift.next(&assessments[place].signals, &self.settings)
        };
        let returning = inputs[place].in_service && held_back > law.percent;
        let law = if returning { ShiftState { percent: held_back, ..law } } else { law };
        // What is at the shadows already takes its room whatever is decided; the rest is for what is sent from now on.
        let staying = state.staying();
        let demand = state.watch.demand_connections() * (1.0 - staying);
        let room: Vec<f64> = shadows
            .iter()
            .zip(&headroom)
            .map(|(shadow, headroom)| (headroom - state.moved_to(*shadow) * staying).max(0.0))
            .collect();
        let placement = if inputs[place].in_service && !returning {
            place_steadily(demand, law.percent, &room)
        } else {
            // The connections have to go somewhere; headroom decides the shares, not the amount.
            let fits = shift::place(demand, law.percent, &room);
            let count = shadows.len().max(1) as f64;
            let shares = if fits.percent > 0.0 { fits.shares } else { vec![1.0 / count; shadows.len()] };
            Placement { shares, percent: law.percent, ..fits }
        };
        let state = &mut self.states[place];
        state.shift = ShiftState { percent: placement.percent, ..law };
        let parts = shadows.iter().copied().zip(placement.shares.iter().copied());
        state.parts = parts.filter(|(_, share)| *share > 0.0).collect();
        Placed { law, placement, headroom }
    }

    fn decide(
        &self,
        now: Timestamp,
        place: usize,
        inputs: &[RouterInput],
        assessments: &[Assessment],
        selection: &Selection,
        placed: &Placed,
    ) -> RouterDecision {
        let (router, state, assessment) = (&self.routers[place], &self.states[place], &assessments[place]);
        let shares = &placed.placement.shares;
        let shadows = selection.shadows.iter().zip(shares).zip(&placed.headroom);
        let shadows: Vec<ShadowChoice> = shadows
            .map(|((shadow, share), headroom)| ShadowChoice {
                router: self.routers[self.places[&shadow.router]].id.clone(),
                // Where nothing is shifted, what each would take: even.
                share: if shares.iter().any(|share| *share > 0.0) { *share } else { 1.0 / shares.len() as f64 },
                score: shadow.score,
                latency_us: shadow.latency_us,
                headroom: *headroom,
                reason: shadow.reason.clone(),
            })
            .collect();
        let mut decision = RouterDecision {
            router: router.id.clone(),
            at: now,
            load: *state.watch.load(),
            capacity: router.capacity,
            threshold_available: router.threshold,
            forecast: assessment.forecast.clone(),
            prediction_severity: assessment.signals.prediction_severity,
            anomaly_severity: assessment.signals.anomaly_severity,
            crossed: assessment.signals.crossed,
            wanted_percent: assessment.signals.wanted_percent(),
            shift_percent: state.shift.percent,
            unplaced_percent: placed.placement.unplaced_percent,
            phase: state.shift.phase,
            shadows,
            reasons: Vec::new(),
            generation: 0,
        };
        decision.reasons = explain::reasons(&decision, assessment, &inputs[place], placed, &self.settings, selection);
        decision
    }

    fn diversions(&self) -> BTreeMap<NodeIndex, Diversion> {
        let diverting = self.routers.iter().zip(&self.states).filter(|(_, state)| state.shift.percent > 0.0);
        diverting
            .map(|(router, state)| {
                let shadows = state.parts.iter().map(|(shadow, share)| (self.routers[*shadow].index, *share)).collect();
                (router.index, Diversion { fraction: state.shift.percent / 100.0, shadows })
            })
            .collect()
    }
}

/// Connections of a router that `shadow` will hold a few cycles on, if the shift in force stays: what is there thins
/// out with the residence time, what the shift sends comes up to its standing number at the same pace.
///
/// A shift is decided anew each cycle, so it need not fit for ever, only until it can be taken back; as a shadow fills,
/// what still fits falls smoothly to what it can hold in the long run.
fn reservation(state: &State, shadow: usize) -> f64 {
    let share: f64 = state.parts.iter().filter(|(place, _)| *place == shadow).map(|(_, share)| share).sum();
    let standing = state.watch.demand_connections() * state.shift.percent / 100.0 * share;
    let staying = state.staying();
    state.moved_to(shadow) * staying + standing * (1.0 - staying)
}

/// `f` of every state in its place; many states are divided among two threads or more, which changes nothing but the time
/// it takes, as no state sees another.
fn in_parts<T: Send>(states: &mut [State], f: impl Fn(usize, &mut State) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if states.len() < PARALLEL_MIN || threads < 2 {
        return states.iter_mut().enumerate().map(|(place, state)| f(place, state)).collect();
    }
    let size = states.len().div_ceil(threads);
    let f = &f;
    std::thread::scope(|scope| {
        let mut work = Vec::with_capacity(threads);
        for (number, part) in states.chunks_mut(size).enumerate() {
            let one = move |(at, state)| f(number * size + at, state);
            work.push(scope.spawn(move || part.iter_mut().enumerate().map(one).collect::<Vec<T>>()));
        }
        let joined = work.into_iter().map(|work| work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.flatten().collect()
    })
}

/// [`shift::place`], where nothing to move keeps even shares.
fn place_steadily(demand: f64, percent: f64, headroom: &[f64]) -> Placement {
    if percent > 0.0 { shift::place(demand, percent, headroom) } else { shift::place(0.0, 0.0, headroom) }
}

/// A router's shift as the law asks and as the shadows allow.
#[derive(Clone, Debug)]
struct Placed {
    law: ShiftState,
    placement: Placement,
    headroom: Vec<f64>,
}

#[cfg(test)]
mod tests;
