//! From rows of traffic to whole connections a cycle: none is lost or made by rounding.

use super::traffic::{Demand, Traffic};

/// One router's demand in one cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Arrivals {
    pub(super) count: u64,
    /// Mean duration of these; that of the row in force where none come.
    pub(super) mean_s: f64,
}

/// New connections of `router` in `[begin, end)` seconds from the beginning of the traffic. A row's come evenly over its
/// interval.
pub(super) fn between(traffic: &Traffic, router: usize, begin_s: f64, end_s: f64) -> Arrivals {
    let rows = &traffic.demand[router];
    let first = (begin_s / traffic.interval_s + 1e-9).floor().max(0.0) as usize;
    let mut sum = Arrivals::default();
    let mut weighted = 0.0;
    for (number, row) in rows.iter().enumerate().skip(first) {
        let from = number as f64 * traffic.interval_s;
        if from >= end_s - 1e-9 * traffic.interval_s {
            break;
        }
        let count = upto(row, (end_s - from) / traffic.interval_s) - upto(row, (begin_s - from) / traffic.interval_s);
        sum.count += count;
        weighted += count as f64 * f64::from(row.mean_duration_s);
        if sum.mean_s == 0.0 {
            sum.mean_s = row.mean_duration_s.into();
        }
    }
    if sum.count > 0 {
        sum.mean_s = weighted / sum.count as f64;
    }
    sum
}

/// Connections of a row up to this part of its interval.
fn upto(row: &Demand, part: f64) -> u64 {
    if part >= 1.0 - 1e-9 { row.new.into() } else { (f64::from(row.new) * part.max(0.0) + 1e-9).floor() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_comes_once_whatever_the_cycle() {
        let row = |new, mean_duration_s| Demand { new, mean_duration_s };
        let rows = vec![row(7, 10.0), row(0, 10.0), row(100, 20.0), row(13, 5.0)];
        let traffic = Traffic { start_s: 0.0, interval_s: 60.0, demand: vec![rows] };
        for cycle in [0.7, 1.0, 13.0, 60.0, 90.0, 240.0] {
            let cycles = (240.0_f64 / cycle).ceil() as usize;
            let count: u64 =
                (0..cycles).map(|at| between(&traffic, 0, at as f64 * cycle, (at + 1) as f64 * cycle).count).sum();
            assert_eq!(count, 120, "cycle {cycle}");
        }
        let both = between(&traffic, 0, 120.0, 240.0);
        assert_eq!(both, Arrivals { count: 113, mean_s: (2_000.0 + 65.0) / 113.0 });
        assert_eq!(between(&traffic, 0, 60.0, 120.0), Arrivals { count: 0, mean_s: 10.0 });
    }
}
