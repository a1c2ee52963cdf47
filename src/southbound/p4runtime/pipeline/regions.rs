//! Which connection slots belong to whom: a router's own, and those of the routers that it stands in for.

use std::collections::BTreeMap;

use crate::plan::{DatapathPlan, RouterPlan};
use crate::types::NodeIndex;

/// A region is not smaller than this; the program counts its connections in the cell of its first slot over this.
const SLOTS_MIN: u32 = 64;
/// Two slots or more for every connection: sets of the hash then do not overflow early.
const SLOTS_PER_CONNECTION: u32 = 2;
/// Routers that one can stand in for. The part of each stays where it is, whoever else comes and goes.
const STAND_INS_MAX: u32 = 8;

/// The slots of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) first: u32,
    /// A power of two.
    pub(super) slots: u32,
    /// Connections that have room in it. What is carried in all regions together is bounded by that of the own one.
    pub(super) capacity: u32,
    /// 0 for the own one, then by part.
    pub(super) place: u8,
}

/// Regions by their owner; what there is no room for, in sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Regions {
    pub(super) of: BTreeMap<NodeIndex, Region>,
    /// First slot and size of the parts for others.
    pub(super) parts: u32,
    pub(super) part: u32,
    pub(super) problems: Vec<(NodeIndex, String)>,
}

impl Regions {
    /// Which parts are in use: one bit each.
    pub(super) fn places(&self) -> u32 {
        self.of.values().filter_map(|region| region.place.checked_sub(1)).fold(0, |bits, part| bits | 1 << part)
    }
}

/// Own connections first, then equal parts for the routers in whose place this one may be asked to forward.
pub(super) fn layout(plan: &DatapathPlan, router: &RouterPlan, slots: u32) -> Regions {
    let mut regions = Regions::default();
    let Some(total) = slots.checked_ilog2().map(|bits| 1_u32 << bits).filter(|total| *total >= SLOTS_MIN) else {
        let what = format!("the program has {slots} connection slots; expected {SLOTS_MIN} or more: none is held");
        regions.problems.push((plan.index, what));
        return regions;
    };
    let capacity = router.capacity_connections;
    let wanted = u64::from(capacity) * u64::from(SLOTS_PER_CONNECTION);
    let wanted = wanted.next_power_of_two().max(u64::from(SLOTS_MIN));
    let own = u32::try_from(wanted).unwrap_or(u32::MAX).min(total);
    let held = capacity.min(own / SLOTS_PER_CONNECTION);
    if held < capacity {
        let what = format!(
            "a capacity of {capacity} connections needs {wanted} slots and the program has {slots}: it holds {held}"
        );
        regions.problems.push((plan.index, what));
    }
    regions.of.insert(plan.index, Region { first: 0, slots: own, capacity: held, place: 0 });

    let share = (slots - own) / STAND_INS_MAX;
    let part = share.checked_ilog2().map_or(0, |bits| 1_u32 << bits);
    (regions.parts, regions.part) = (own, part);
    let mut taken: BTreeMap<u32, NodeIndex> = BTreeMap::new();
    for owner in std::collections::BTreeSet::from_iter(&router.stands_in_for) {
        if *owner == plan.index {
            continue;
        }
        if part < SLOTS_MIN {
            let what = format!("{} slots are left; expected {}: none is held", slots - own, SLOTS_MIN * STAND_INS_MAX);
            regions.problems.push((*owner, what));
            continue;
        }
        let preferred = u32::from(owner.0) % STAND_INS_MAX;
        let places = (0..STAND_INS_MAX).map(|step| (preferred + step) % STAND_INS_MAX);
        let Some(place) = places.into_iter().find(|place| !taken.contains_key(place)) else {
            regions.problems.push((*owner, format!("{STAND_INS_MAX} other routers have all parts: none is held")));
            continue;
        };
        taken.insert(place, *owner);
        // No more than its own has: every slot is looked at with every reading.
        let slots = part.min(own);
        let capacity = capacity.min(slots / SLOTS_PER_CONNECTION);
        let region = Region {
            first: own + place * part,
            slots,
            capacity,
            place: u8::try_from(place + 1).expect("there are few parts"),
        };
        regions.of.insert(*owner, region);
    }
    regions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::RolePlan;

    fn plan(capacity_connections: u32, stands_in_for: &[u16]) -> (DatapathPlan, RouterPlan) {
        let router = RouterPlan {
            capacity_connections,
            idle_timeout_s: 1,
            closing_timeout_s: 1,
            half_open_timeout_s: 1,
            inside_ports: Vec::new(),
            outside_ports: Vec::new(),
            stands_in_for: stands_in_for.iter().copied().map(NodeIndex).collect(),
            hosts: Vec::new(),
            destinations: Vec::new(),
            mirrors: std::collections::BTreeMap::new(),
            replicas: std::collections::BTreeMap::new(),
            translations: std::collections::BTreeMap::new(),
        };
        let plan = DatapathPlan {
            index: NodeIndex(1),
            edge_ports: Vec::new(),
            mirror_ports: Vec::new(),
            gateways: Vec::new(),
            attached: Vec::new(),
            next_hops: BTreeMap::new(),
            role: RolePlan::Router(router.clone()),
        };
        (plan, router)
    }

    fn regions(capacity: u32, stands_in_for: &[u16], slots: u32) -> Regions {
        let (plan, router) = plan(capacity, stands_in_for);
        layout(&plan, &router, slots)
    }

    #[test]
    fn slots_of_a_router() {
        // Capacity, slots of the program; slots and capacity of the region.
        let table = [
            (1, 131_072, 64, 1),
            (32, 131_072, 64, 32),
            (33, 131_072, 128, 33),
            (500, 131_072, 1_024, 500),
            (65_536, 131_072, 131_072, 65_536),
            (65_537, 131_072, 131_072, 65_536),
            (10_000_000, 100_000, 65_536, 32_768),
            (u32::MAX, u32::MAX, 1 << 31, 1 << 30),
        ];
        for (capacity, program, slots, held) in table {
            let found = regions(capacity, &[], program);
            assert_eq!(found.of[&NodeIndex(1)], Region { first: 0, slots, capacity: held, place: 0 }, "{capacity}");
            assert_eq!(found.problems.len(), usize::from(held < capacity), "{capacity}");
        }
        let none = regions(1, &[2], 63);
        assert!(none.of.is_empty());
        assert!(none.problems[0].1.contains("expected 64 or more"), "{none:?}");
    }

    #[test]
    fn a_part_stays_where_it_is_whoever_else_comes() {
        let alone = regions(500, &[7], 131_072).of[&NodeIndex(7)];
        for others in [&[2, 7][..], &[7, 9], &[2, 3, 4, 5, 6, 7, 8, 9]] {
            assert_eq!(regions(500, others, 131_072).of[&NodeIndex(7)], alone, "{others:?}");
        }
        let many = regions(500, &[2, 3, 4, 5, 6, 7, 8, 9, 10], 131_072);
        assert_eq!((many.of.len(), many.problems.len()), (9, 1), "{many:?}");
    }

    proptest! {
        #[test]
        fn regions_do_not_overlap(capacity: u32, stands_in_for in proptest::collection::vec(any::<u16>(), 0..12), slots: u32) {
            let found = regions(capacity, &stands_in_for, slots);
            let mut taken: Vec<Region> = found.of.values().copied().collect();
            taken.sort_by_key(|region| region.first);
            let mut end = 0;
            for region in taken {
                prop_assert!(u64::from(region.first) >= end);
                prop_assert!(region.slots.is_power_of_two() && region.first % 64 == 0);
                prop_assert!(u64::from(region.capacity) * 2 <= u64::from(region.slots));
                end = u64::from(region.first) + u64::from(region.slots);
            }
            prop_assert!(end <= u64::from(slots));
        }
    }
}
