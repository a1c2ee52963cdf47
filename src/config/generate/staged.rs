//! Shapes with tiers: leaf-spine, Clos and fat-tree, and what a staged fabric has above them.

use super::super::topology::{RouterSettings, Service, Stage};
use super::{At, BadParameter, Builder, SUBNET_HOSTS_MAX, Staged, fits, within};
use crate::types::NodeId;

/// Routers of a service need one of 256 slots each.
const ROUTERS_MAX: u64 = 256;
/// Server subnets are 198.18.1.0/24 to 198.18.250.0/24.
const OUTSIDE_MAX: u64 = 250;
/// Every router shall have two to choose its shadow from.
const MIRRORS_MIN: u64 = 2;

/// Switches that take hosts, and those of the highest tier.
type Tiers = (Vec<At>, Vec<At>);

pub(super) fn check(staged: &Staged) -> Result<(), BadParameter> {
    within("--routers", staged.routers.into(), MIRRORS_MIN + 1, ROUTERS_MAX)?;
    within("--outside", staged.outside.into(), 1, OUTSIDE_MAX)?;
    within("--mirrors", staged.mirrors.into(), MIRRORS_MIN, u64::from(staged.routers) - 1)?;
    within("--servers", staged.servers.into(), 0, SUBNET_HOSTS_MAX.into())?;
    within("--capacity-connections", staged.capacity_connections.into(), 2, 10_000_000)?;
    let most = u64::from(staged.capacity_connections) - 1;
    within("--threshold-available", staged.threshold_available.into(), 1, most)?;
    within("--mirror-latency-us", staged.mirror_latency_us.into(), 0, 10_000_000)
}

pub(super) fn leaf_spine(builder: &mut Builder<'_>, leaves: u32, spines: u32) -> Result<Tiers, BadParameter> {
    within("--leaves", leaves.into(), 1, 60_000)?;
    within("--spines", spines.into(), 1, 10_000)?;
    checked_size(builder, leaves.into(), spines.into(), u64::from(leaves) * u64::from(spines), spines.into())?;
    let spines = builder.switches('s', spines, Stage::Transit);
    let leaves = builder.switches('t', leaves, Stage::Access);
    builder.join_all(&leaves, &spines);
    Ok((leaves, spines))
}

pub(super) fn clos(builder: &mut Builder<'_>, numbers: [u32; 4]) -> Result<Tiers, BadParameter> {
    for (name, number) in ["--pods", "--leaves", "--aggregations", "--cores"].into_iter().zip(numbers) {
        within(name, number.into(), 1, 10_000)?;
    }
    let [pods, leaves, aggregations, cores] = numbers;
    let wide = numbers.map(u64::from);
    let transit = wide[0] * wide[2] + wide[2] * wide[3];
    let links = (wide[0] * wide[2]).saturating_mul(wide[1] + wide[3]);
    checked_size(builder, wide[0] * wide[1], transit, links, wide[2] * wide[3])?;
    let core = builder.switches('s', aggregations * cores, Stage::Transit);
    let aggregation = builder.switches('a', pods * aggregations, Stage::Transit);
    let access = builder.switches('t', pods * leaves, Stage::Access);
    let size = |number: u32| usize::try_from(number).expect("a usize holds 32 bits");
    for (aggregation, access) in aggregation.chunks(size(aggregations)).zip(access.chunks(size(leaves))) {
        builder.join_all(access, aggregation);
        for (&switch, plane) in aggregation.iter().zip(core.chunks(size(cores))) {
            builder.join_all(&[switch], plane);
        }
    }
    Ok((access, core))
}

pub(super) fn fat_tree(builder: &mut Builder<'_>, k: u32) -> Result<Tiers, BadParameter> {
    if !k.is_multiple_of(2) || !(2..=64).contains(&k) {
        return Err(BadParameter { what: format!("-k is {k}"), expected: "an even number from 2 to 64".to_owned() });
    }
    clos(builder, [k, k / 2, k / 2, k / 2])
}

/// Refuses what is too large together with the routers and outside switches above it.
fn checked_size(builder: &Builder<'_>, access: u64, transit: u64, links: u64, top: u64) -> Result<(), BadParameter> {
    let (nodes, above) = match &builder.settings.staged {
        Some(staged) => {
            let (routers, outside) = (u64::from(staged.routers), u64::from(staged.outside));
            (routers + outside, routers * (top + outside + u64::from(staged.mirrors)))
        }
        None => (0, 0),
    };
    fits(access + transit + nodes, links.saturating_add(above))
}

/// Routers on every switch of the highest tier, and outside switches on every router.
pub(super) fn above(builder: &mut Builder<'_>, staged: &Staged, top: &[At]) -> Result<Vec<At>, BadParameter> {
    if top.is_empty() {
        let expected = "a leaf-spine, clos or fat-tree fabric";
        return Err(BadParameter { what: "this shape has no stages".to_owned(), expected: expected.to_owned() });
    }
    let settings = RouterSettings {
        capacity_connections: staged.capacity_connections,
        threshold_available: staged.threshold_available,
        idle_timeout_s: RouterSettings::IDLE_TIMEOUT_S,
        closing_timeout_s: RouterSettings::CLOSING_TIMEOUT_S,
        half_open_timeout_s: RouterSettings::HALF_OPEN_TIMEOUT_S,
        source_nat: None,
    };
    let routers: Vec<At> = (1..=staged.routers)
        .map(|number| builder.router(&format!("r{number}"), settings.clone(), format!("rack-{}", (number - 1) % 2 + 1)))
        .collect();
    let outside = builder.switches('o', staged.outside, Stage::Outside);
    builder.join_all(top, &routers);
    builder.join_all(&routers, &outside);
    for (a, b) in mirrors(routers.len(), staged.mirrors) {
        builder.mirror(routers[a], routers[b], staged.mirror_latency_us);
    }
    Ok(outside)
}

/// Pairs that give each of `routers` at least `wanted` neighbours: a circle, joined to the next, the one after, …
///
/// An odd number is made whole by the router opposite where there is one, else by one more on either side.
fn mirrors(routers: usize, wanted: u32) -> Vec<(usize, usize)> {
    let wanted = usize::try_from(wanted).expect("a usize holds 32 bits").min(routers - 1);
    let opposite = !wanted.is_multiple_of(2) && routers.is_multiple_of(2);
    let reach = if opposite { wanted / 2 } else { wanted.div_ceil(2) };
    let mut pairs: Vec<(usize, usize)> =
        (1..=reach).flat_map(|step| (0..routers).map(move |from| (from, (from + step) % routers))).collect();
    if opposite {
        pairs.extend((0..routers / 2).map(|from| (from, from + routers / 2)));
    }
    pairs.iter_mut().for_each(|(a, b)| (*a, *b) = ((*a).min(*b), (*a).max(*b)));
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

impl Builder<'_> {
    /// One service, everything outside, shared equally by all routers.
    pub(super) fn service(&mut self, outside: &[At]) {
        let nodes = &self.topology.nodes;
        let mut routers: Vec<NodeId> = self.topology.routers().map(|router| router.id.clone()).collect();
        routers.sort();
        let share = 1.0 / routers.len() as f64;
        self.topology.services.push(Service {
            id: "internet".to_owned(),
            number: 1,
            prefixes: vec!["0.0.0.0/0".parse().expect("a prefix")],
            shares: routers.into_iter().map(|router| (router, share)).collect(),
            outside: outside.iter().map(|&at| nodes[at].id.clone()).collect(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_router_has_the_mirror_links_it_should() {
        for routers in 3..30 {
            for wanted in 2..routers {
                let pairs = mirrors(routers, u32::try_from(wanted).expect("small"));
                for router in 0..routers {
                    let own = pairs.iter().filter(|(a, b)| *a == router || *b == router).count();
                    assert!((wanted..=wanted + 1).contains(&own), "{routers} routers, {wanted} wanted: {own}");
                }
                assert!(pairs.iter().all(|(a, b)| a < b));
            }
        }
    }
}
