//! Closed loop on the realised split of one access switch and service.
//!
//! A switch's hash does not divide connections exactly as its slots do. What it really chose is counted; where the
//! deviation from the wanted shares is too great for chance, slot targets are nudged the other way by small bounded
//! steps, and where it is far off beyond doubt another spread mechanism is recommended (docs/SHIFT.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::{SLOTS, Spread};
use crate::types::NodeIndex;

/// Nothing is corrected on fewer connections.
const CONNECTIONS_MIN: f64 = 1_000.0;
/// Above this both sums are halved, so that the window forgets and stays bounded.
const CONNECTIONS_MAX: f64 = 50_000.0;
/// A deviation counts from so many standard deviations on.
const SIGNIFICANT_SIGMA: f64 = 3.0;
/// Part of the deviation that one step takes back.
const GAIN: f64 = 0.5;
/// Most slots by which one step changes a router's target, and most that all steps together may.
const STEP_SLOTS: f64 = 4.0;
const TOTAL_SLOTS: f64 = 32.0;
/// Deviations under this many slots are quantisation, not hashing.
const DEAD_BAND_SLOTS: f64 = 1.0;
/// Another mechanism is recommended when a share is off by this many slots (10 points), at this many sigmas.
const FAR_OFF_SLOTS: f64 = 25.6;
const FAR_OFF_SIGMA: f64 = 8.0;
/// Choices of the first cycles after slots changed may still follow the old ones; they are not counted.
const SETTLE_CYCLES: u32 = 2;

/// What was found in a cycle in which something was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub router: NodeIndex,
    pub wanted: f64,
    pub measured: f64,
    pub connections: u64,
    pub sigma: f64,
}

/// Correction of one (access switch, service) from cycle to cycle.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Correction {
    last: BTreeMap<NodeIndex, u64>,
    expected: BTreeMap<NodeIndex, f64>,
    chosen: BTreeMap<NodeIndex, f64>,
    offset_slots: BTreeMap<NodeIndex, f64>,
    settle: u32,
    spread: Spread,
}

impl Correction {
    /// Mechanism in use: changed once, when the measured split was far off; never changed back by itself.
    pub fn spread(&self) -> Spread {
        self.spread
    }

    /// Goes on with a mechanism found in use.
    pub fn start_with(&mut self, spread: Spread) {
        self.spread = spread;
    }

    /// Share of each router over the present window, and the connections that it was measured over.
    pub fn measured(&self) -> (BTreeMap<NodeIndex, f64>, u64) {
        let total: f64 = self.chosen.values().sum();
        let shares = self.chosen.iter().map(|(router, count)| (*router, count / total.max(1.0)));
        (shares.collect(), total as u64)
    }

    /// The slots of this switch changed: choices made meanwhile belong to neither.
    pub fn slots_changed(&mut self) {
        self.settle = SETTLE_CYCLES;
    }

    /// Takes the cumulative choices of this switch while `wanted` (shares adding up to 1) was in force, and acts on
    /// them if the deviation is significant.
    pub fn observe(
        &mut self,
        counters: &BTreeMap<NodeIndex, u64>,
        wanted: &BTreeMap<NodeIndex, f64>,
    ) -> Option<Finding> {
        let before = std::mem::replace(&mut self.last, counters.clone());
        let went_back = |(router, count): (&NodeIndex, &u64)| counters.get(router).is_none_or(|now| now < count);
        if self.settle > 0 {
            self.settle -= 1;
            return None;
        }
        if before.is_empty() || before.iter().any(went_back) {
            return None;
        }
        let grown = |router: &NodeIndex, now: u64| (now - before.get(router).copied().unwrap_or(0)) as f64;
        let total: f64 = counters.iter().map(|(router, now)| grown(router, *now)).sum();
        if total <= 0.0 {
            return None;
        }
        for (router, now) in counters {
            *self.chosen.entry(*router).or_default() += grown(router, *now);
        }
        for (router, share) in wanted {
            *self.expected.entry(*router).or_default() += share * total;
        }
        let finding = self.judge(wanted);
        self.forget();
        finding
    }

    /// `wanted` with this switch's correction, still adding up to 1; a router that is wanted to get nothing gets nothing.
    pub fn corrected(&self, wanted: &BTreeMap<NodeIndex, f64>) -> BTreeMap<NodeIndex, f64> {
        let shift = |router: &NodeIndex| self.offset_slots.get(router).copied().unwrap_or(0.0) / SLOTS as f64;
        // At least half of what is wanted: a correction never silences a router.
        let raw = wanted.iter().map(|(router, share)| (*router, (share + shift(router)).max(share / 2.0)));
        let mut shares: BTreeMap<_, _> = raw.collect();
        let sum: f64 = shares.values().sum();
        if sum > 0.0 {
            shares.values_mut().for_each(|share| *share /= sum);
        }
        shares
    }

    fn judge(&mut self, wanted: &BTreeMap<NodeIndex, f64>) -> Option<Finding> {
        let total: f64 = self.expected.values().sum();
        if total < CONNECTIONS_MIN {
            return None;
        }
        let worst = self
            .deviations(total)
            .into_iter()
            .filter(|(_, slots, sigma)| slots.abs() > DEAD_BAND_SLOTS && sigma.abs() > SIGNIFICANT_SIGMA)
            .max_by(|a, b| a.2.abs().total_cmp(&b.2.abs()))?;
        let (router, slots, sigma) = worst;
        if slots.abs() > FAR_OFF_SLOTS && sigma.abs() > FAR_OFF_SIGMA && self.spread == Spread::Select {
            self.spread = Spread::Multipath;
            self.offset_slots.clear();
            self.settle = SETTLE_CYCLES;
        } else {
            self.step(total, wanted);
        }
        let share = |of: &BTreeMap<NodeIndex, f64>| of.get(&router).copied().unwrap_or(0.0) / total;
        let (expected, measured) = (share(&self.expected), share(&self.chosen));
        self.expected.clear();
        self.chosen.clear();
        Some(Finding { router, wanted: expected, measured, connections: total as u64, sigma })
    }

    /// Per router: measured less expected, in slots and in standard deviations of a binomial.
    fn deviations(&self, total: f64) -> Vec<(NodeIndex, f64, f64)> {
        let one = |(router, expected): (&NodeIndex, &f64)| {
            let excess = self.chosen.get(router).copied().unwrap_or(0.0) - expected;
            let share = expected / total;
            let deviation = (total * share * (1.0 - share)).max(1.0).sqrt();
            (*router, excess / total * SLOTS as f64, excess / deviation)
        };
        self.expected.iter().map(one).collect()
    }

    fn step(&mut self, total: f64, wanted: &BTreeMap<NodeIndex, f64>) {
        for (router, slots, _) in self.deviations(total) {
            let offset = self.offset_slots.entry(router).or_default();
            *offset -= (slots * GAIN).clamp(-STEP_SLOTS, STEP_SLOTS);
            *offset = offset.clamp(-TOTAL_SLOTS, TOTAL_SLOTS);
        }
        self.offset_slots.retain(|router, _| wanted.contains_key(router));
    }

    fn forget(&mut self) {
        if self.expected.values().sum::<f64>() > CONNECTIONS_MAX {
            self.expected.values_mut().chain(self.chosen.values_mut()).for_each(|sum| *sum /= 2.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::policy::weights::{assign, quantise};

    /// A switch whose hash falls into the slots with these weights.
    fn run(hash: &dyn Fn(usize) -> f64, wanted: &[f64], seed: u64) -> (Correction, Vec<f64>, u32) {
        let wanted: BTreeMap<NodeIndex, f64> = (1..).map(NodeIndex).zip(wanted.iter().copied()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut cumulative = Vec::new();
        let mut sum = 0.0;
        for slot in 0..SLOTS {
            sum += hash(slot);
            cumulative.push(sum);
        }
        let mut correction = Correction::default();
        let mut slots = assign(&[], &quantise(&wanted));
        let mut counters: BTreeMap<NodeIndex, u64> = wanted.keys().map(|router| (*router, 0)).collect();
        let (mut changes, mut tail, mut tail_total) = (0, vec![0.0; wanted.len()], 0.0);
        for cycle in 0..600 {
            for _ in 0..300 {
                let drawn = rng.random_range(0.0..sum);
                let slot = cumulative.partition_point(|edge| *edge < drawn).min(SLOTS - 1);
                let router = slots[slot];
                *counters.entry(router).or_default() += 1;
                if cycle >= 400 {
                    tail[usize::from(router.0) - 1] += 1.0;
                    tail_total += 1.0;
                }
            }
            correction.observe(&counters, &wanted);
            let next = assign(&slots, &quantise(&correction.corrected(&wanted)));
            if next != slots {
                changes += 1;
                slots = next;
                correction.slots_changed();
            }
        }
        tail.iter_mut().for_each(|count| *count /= tail_total);
        (correction, tail, changes)
    }

    #[test]
    fn a_fair_hash_is_left_alone() {
        for seed in 0..5 {
            let (correction, _, changes) = run(&|_| 1.0, &[0.648, 0.352], seed);
            assert!(changes <= 1, "seed {seed}: {changes} changes");
            assert_eq!(correction.spread(), Spread::Select);
        }
    }

    #[test]
    fn a_biased_hash_is_corrected() {
        // The low half of the slots is hit a tenth more often, and the router of slot 3 far more.
        let hash = |slot: usize| {
            if slot == 3 {
                8.0
            } else if slot < 128 {
                1.1
            } else {
                1.0
            }
        };
        for seed in 0..5 {
            let (_, tail, changes) = run(&hash, &[0.65, 0.35], seed);
            assert!((tail[0] - 0.65).abs() < 0.008, "seed {seed}: {tail:?}");
            assert!((1..40).contains(&changes), "seed {seed}: {changes} changes");
        }
    }

    #[test]
    fn a_broken_hash_asks_for_another_mechanism() {
        let (correction, ..) = run(&|slot| if slot == 7 { 1_000.0 } else { 0.0 }, &[0.5, 0.5], 1);
        assert_eq!(correction.spread(), Spread::Multipath);
    }

    #[test]
    fn resets_and_few_connections_change_nothing() {
        let wanted = BTreeMap::from([(NodeIndex(1), 0.5), (NodeIndex(2), 0.5)]);
        let counters = |a, b| BTreeMap::from([(NodeIndex(1), a), (NodeIndex(2), b)]);
        let mut correction = Correction::default();
        for (a, b) in [(1_000_000, 0), (1_000_400, 0), (5, 0), (6, 0), (0, 0), (500, 0)] {
            assert_eq!(correction.observe(&counters(a, b), &wanted), None);
        }
        assert_eq!(correction.corrected(&wanted), wanted);
        assert_eq!(correction.measured().1, 901);
    }
}
