//! Flat weights of a service and the slots that carry them.
//!
//! Every router keeps `1 - p` of its base share, its shadows divide the rest (docs/SHIFT.md). The result is quantised
//! to [`SLOTS`] equal slots by largest remainder, each router within one slot of its due, and an existing slot array is
//! changed in as few places as the new counts allow: every slot that changes hands re-hashes its share of new
//! connections, and costs messages.

use std::collections::BTreeMap;

use crate::plan::SLOTS;
use crate::types::NodeIndex;

/// What one router gives away of its new connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diversion {
    /// In [0, 1].
    pub fraction: f64,
    /// Shadows and their shares, which add up to 1 where `fraction` is above 0.
    pub shadows: Vec<(NodeIndex, f64)>,
}

/// `w_r = b_r (1 - p_r) + sum over q with r in S_q of b_q p_q share_q(r)`, scaled to add up to 1.
///
/// What a diversion gives to nobody (no shadows) stays with its router, unless it is `dead`: a dead router's weight is
/// then spread over the living in proportion to theirs. Empty only if no router has a share and lives.
pub fn flat_weights(
    base: &[(NodeIndex, f64)],
    diversions: &BTreeMap<NodeIndex, Diversion>,
    dead: &dyn Fn(NodeIndex) -> bool,
) -> BTreeMap<NodeIndex, f64> {
    let mut weights: BTreeMap<NodeIndex, f64> = BTreeMap::new();
    for (router, share) in base.iter().filter(|(_, share)| share.is_finite() && *share > 0.0) {
        let none = Diversion::default();
        let diversion = diversions.get(router).unwrap_or(&none);
        let given: f64 = diversion.shadows.iter().map(|(_, part)| part).sum();
        let fraction = if given > 0.0 { diversion.fraction.clamp(0.0, 1.0) } else { 0.0 };
        *weights.entry(*router).or_default() += share * (1.0 - fraction);
        for (shadow, part) in diversion.shadows.iter().filter(|_| fraction > 0.0) {
            *weights.entry(*shadow).or_default() += share * fraction * part / given;
        }
    }
    if weights.keys().any(|router| !dead(*router)) {
        weights.retain(|router, _| !dead(*router));
    }
    weights.retain(|_, weight| *weight > 0.0);
    let sum: f64 = weights.values().sum();
    weights.values_mut().for_each(|weight| *weight /= sum);
    weights
}

/// Slots of each router, adding up to [`SLOTS`], each less than one slot from `weight * SLOTS`: largest remainder, ties
/// to the lower index.
///
/// A weight under one slot may get none. Giving it one regardless would break the bound, and would keep sending
/// connections to a router that is being emptied; what was asked stays visible beside what is installed.
pub fn quantise(weights: &BTreeMap<NodeIndex, f64>) -> BTreeMap<NodeIndex, usize> {
    let usable = |weight: f64| if weight.is_finite() { weight.max(0.0) } else { 0.0 };
    let sum: f64 = weights.values().map(|weight| usable(*weight)).sum();
    if sum <= 0.0 {
        return BTreeMap::new();
    }
    let mut due: Vec<(NodeIndex, usize, f64)> = weights
        .iter()
        .map(|(router, weight)| {
            let exact = usable(*weight) / sum * SLOTS as f64;
            // Rounding of the division must not cost a whole slot: 63.9999999999 is 64.
            let whole = (exact + 1e-9).floor();
            (*router, whole as usize, exact - whole)
        })
        .collect();
    let missing = SLOTS.saturating_sub(due.iter().map(|(_, whole, _)| whole).sum());
    due.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
    for (_, whole, _) in due.iter_mut().take(missing) {
        *whole += 1;
    }
    due.into_iter().map(|(router, whole, _)| (router, whole)).filter(|(_, count)| *count > 0).collect()
}

/// A slot array with exactly `counts`, differing from `previous` in as few slots as those counts allow.
///
/// Keeps every slot of `previous` whose router is not over its count, and fills the rest. A first array is filled
/// round robin, so that neighbouring slots belong to different routers and a hash that favours a range of slots does
/// not favour one router.
pub fn assign(previous: &[NodeIndex], counts: &BTreeMap<NodeIndex, usize>) -> Vec<NodeIndex> {
    let total: usize = counts.values().sum();
    let mut left = counts.clone();
    let mut slots: Vec<Option<NodeIndex>> = vec![None; total];
    for (slot, router) in slots.iter_mut().zip(previous) {
        if let Some(count) = left.get_mut(router).filter(|count| **count > 0) {
            *count -= 1;
            *slot = Some(*router);
        }
    }
    let mut fill = spread(&left).into_iter();
    slots.into_iter().filter_map(|slot| slot.or_else(|| fill.next())).collect()
}

/// The routers of `counts`, each repeated, interleaved as evenly as their counts allow.
fn spread(counts: &BTreeMap<NodeIndex, usize>) -> Vec<NodeIndex> {
    let mut places: Vec<(f64, NodeIndex)> = counts
        .iter()
        .flat_map(|(router, count)| (0..*count).map(|nth| ((nth as f64 + 0.5) / *count as f64, *router)))
        .collect();
    places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    places.into_iter().map(|(_, router)| router).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn n(index: u16) -> NodeIndex {
        NodeIndex(index)
    }

    fn alive(_: NodeIndex) -> bool {
        false
    }

    #[test]
    fn flat_weights_follow_the_formula() {
        let base = [(n(1), 0.5), (n(2), 0.3), (n(3), 0.2)];
        let diversions = BTreeMap::from([
            (n(1), Diversion { fraction: 0.4, shadows: vec![(n(2), 0.5), (n(3), 0.5)] }),
            (n(2), Diversion { fraction: 0.1, shadows: vec![(n(4), 1.0)] }),
        ]);
        let weights = flat_weights(&base, &diversions, &alive);
        let expected = [(n(1), 0.3), (n(2), 0.27 + 0.1), (n(3), 0.2 + 0.1), (n(4), 0.03)];
        for (router, weight) in expected {
            assert!((weights[&router] - weight).abs() < 1e-12, "{router}: {weights:?}");
        }
    }

    #[test]
    fn a_dead_router_gets_nothing() {
        let base = [(n(1), 0.5), (n(2), 0.5)];
        let all_to_shadow = Diversion { fraction: 1.0, shadows: vec![(n(3), 1.0)] };
        let weights = flat_weights(&base, &BTreeMap::from([(n(1), all_to_shadow)]), &|r| r == n(1));
        assert_eq!(weights, BTreeMap::from([(n(2), 0.5), (n(3), 0.5)]));
        let weights = flat_weights(&base, &BTreeMap::new(), &|r| r == n(1));
        assert_eq!(weights, BTreeMap::from([(n(2), 1.0)]));
        let weights = flat_weights(&base, &BTreeMap::new(), &|_| true);
        assert_eq!(weights.len(), 2, "with nobody alive the base shares stand");
    }

    #[test]
    fn known_quantisations() {
        let counts = |weights: &[f64]| -> Vec<usize> {
            let weights: BTreeMap<_, _> = (1..).map(n).zip(weights.iter().copied()).collect();
            let counts = quantise(&weights);
            weights.keys().map(|router| counts.get(router).copied().unwrap_or(0)).collect()
        };
        assert_eq!(counts(&[0.5, 0.5]), [128, 128]);
        assert_eq!(counts(&[0.65, 0.35]), [166, 90]);
        assert_eq!(counts(&[5.0, 100.0, 100.0]), [6, 125, 125]);
        assert_eq!(counts(&[0.0005, 0.9995]), [0, 256]);
        assert_eq!(counts(&[1.0, 1.0, 1.0]), [86, 85, 85]);
        assert!(counts(&[f64::NAN, 0.0]).iter().all(|count| *count == 0));
    }

    fn weights() -> impl Strategy<Value = BTreeMap<NodeIndex, f64>> {
        prop::collection::btree_map((1u16..40).prop_map(NodeIndex), 1e-6f64..1.0, 1..20)
    }

    proptest! {
        #[test]
        fn slots_add_up_within_one_slot(weights in weights()) {
            let sum: f64 = weights.values().sum();
            let counts = quantise(&weights);
            prop_assert_eq!(counts.values().sum::<usize>(), SLOTS);
            for (router, weight) in &weights {
                let count = counts.get(router).copied().unwrap_or(0) as f64;
                prop_assert!((count - weight / sum * SLOTS as f64).abs() < 1.0);
            }
        }

        #[test]
        fn a_change_moves_the_fewest_slots(before in weights(), after in weights()) {
            let (old, new) = (quantise(&before), quantise(&after));
            let first = assign(&[], &old);
            let second = assign(&first, &new);
            for (slots, counts) in [(&first, &old), (&second, &new)] {
                let mut seen: BTreeMap<NodeIndex, usize> = BTreeMap::new();
                slots.iter().for_each(|router| *seen.entry(*router).or_default() += 1);
                prop_assert_eq!(&seen, counts);
            }
            let moved = first.iter().zip(&second).filter(|(a, b)| a != b).count();
            let gained = |router| new[router].saturating_sub(old.get(router).copied().unwrap_or(0));
            prop_assert_eq!(moved, new.keys().map(gained).sum::<usize>());
        }
    }
}
