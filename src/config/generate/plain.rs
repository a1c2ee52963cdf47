//! Shapes without tiers: chain, tree, torus and random mesh.

use std::collections::BTreeSet;

use rand::seq::{SliceRandom, index};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::topology::Stage;
use super::{At, BadParameter, Builder, fits, within};

/// Switches that take hosts; the second list, the highest tier of a staged fabric, is empty.
type Flat = (Vec<At>, Vec<At>);

pub(super) fn linear(builder: &mut Builder<'_>, switches: u32) -> Result<Flat, BadParameter> {
    within("--switches", switches.into(), 1, 65_535)?;
    let switches = builder.switches('s', switches, Stage::Bridge);
    for pair in switches.windows(2) {
        builder.link(pair[0], pair[1]);
    }
    Ok((switches, Vec::new()))
}

pub(super) fn tree(builder: &mut Builder<'_>, depth: u32, fanout: u32) -> Result<Flat, BadParameter> {
    within("--depth", depth.into(), 1, 16)?;
    within("--fanout", fanout.into(), 1, 65_534)?;
    let levels = (0..depth).map(|level| u64::from(fanout).saturating_pow(level));
    let nodes = levels.fold(0_u64, u64::saturating_add);
    fits(nodes, nodes - 1)?;
    let mut number = 1;
    let mut level = vec![builder.switch("s1", Stage::Bridge)];
    for _ in 1..depth {
        let mut next = Vec::new();
        for &parent in &level {
            for _ in 0..fanout {
                number += 1;
                let child = builder.switch(&format!("s{number}"), Stage::Bridge);
                builder.link(parent, child);
                next.push(child);
            }
        }
        level = next;
    }
    Ok((level, Vec::new()))
}

/// Rings of two would be parallel links, so each has at least three.
pub(super) fn torus(builder: &mut Builder<'_>, rows: u32, columns: u32) -> Result<Flat, BadParameter> {
    within("--rows", rows.into(), 3, 999)?;
    within("--columns", columns.into(), 3, 999)?;
    let nodes = u64::from(rows) * u64::from(columns);
    fits(nodes, 2 * nodes)?;
    let mut switches = Vec::new();
    for row in 1..=rows {
        for column in 1..=columns {
            switches.push(builder.switch(&format!("s{row}x{column}"), Stage::Bridge));
        }
    }
    let at = |row: u32, column: u32| {
        switches[usize::try_from((row % rows) * columns + column % columns).expect("a usize holds 32 bits")]
    };
    for row in 0..rows {
        for column in 0..columns {
            builder.link(at(row, column), at(row, column + 1));
            builder.link(at(row, column), at(row + 1, column));
        }
    }
    Ok((switches.clone(), Vec::new()))
}

pub(super) fn mesh(builder: &mut Builder<'_>, switches: u32, links: u32, seed: u64) -> Result<Flat, BadParameter> {
    within("--switches", switches.into(), 1, 65_535)?;
    let pairs = u64::from(switches) * u64::from(switches - 1) / 2;
    within("--links", links.into(), u64::from(switches - 1), pairs)?;
    fits(switches.into(), links.into())?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let nodes = builder.switches('s', switches, Stage::Bridge);
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.shuffle(&mut rng);
    let mut joined = BTreeSet::new();
    for at in 1..order.len() {
        let (a, b) = (order[at], order[rng.random_range(0..at)]);
        joined.insert((a.max(b), a.min(b)));
    }
    let wanted = usize::try_from(links).expect("a usize holds 32 bits");
    let pairs = usize::try_from(pairs).expect("a usize holds 32 bits");
    // At most the tree's own pairs are drawn a second time, so so many draws are always enough.
    let draws = index::sample(&mut rng, pairs, wanted.min(pairs));
    for pair in draws {
        if joined.len() == wanted {
            break;
        }
        joined.insert(pair_number(pair));
    }
    for (a, b) in joined {
        builder.link(nodes[b], nodes[a]);
    }
    Ok((nodes, Vec::new()))
}

/// The pair at a place of the list (1,0), (2,0), (2,1), (3,0), …
fn pair_number(at: usize) -> (usize, usize) {
    let mut larger = (((8.0 * at as f64 + 1.0).sqrt() + 1.0) / 2.0) as usize;
    // The root is exact to a few units in the last place; these steps make up for it.
    while larger * (larger - 1) / 2 > at {
        larger -= 1;
    }
    while (larger + 1) * larger / 2 <= at {
        larger += 1;
    }
    (larger, at - larger * (larger - 1) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_numbered_without_gaps() {
        let mut expected = 0;
        for larger in 1..200 {
            for smaller in 0..larger {
                assert_eq!(pair_number(expected), (larger, smaller));
                expected += 1;
            }
        }
        let last = 65_535 * 65_534 / 2 - 1;
        assert_eq!(pair_number(last), (65_534, 65_533));
    }
}
