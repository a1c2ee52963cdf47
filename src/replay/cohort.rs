//! One router's connection table as counts: cohorts of connections that are alike.
//!
//! A cohort is memoryless: each of its connections ends with the same hazard. One cohort makes exponential durations,
//! several of different means make a heavy tail (hyperexponential). So a table costs the same whether it holds ten
//! connections or ten million.

use rand::{Rng, RngExt};
use rand_distr::{Binomial, Distribution};

use super::Shape;

/// Connections of one class of durations.
#[derive(Clone, Copy, Debug, Default)]
struct Cohort {
    count: u64,
    /// Sum of the mean durations with which they came, in seconds.
    mean_sum: f64,
}

/// What came of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) admitted: u64,
    pub(super) refused: u64,
    pub(super) ended: u64,
}

/// The table of one router.
#[derive(Clone, Debug)]
pub(super) struct Table {
    cohorts: Vec<Cohort>,
    pub(super) capacity: u64,
}

impl Table {
    pub(super) fn new(shape: &Shape, capacity: u64) -> Self {
        Self { cohorts: vec![Cohort::default(); shape.classes().len()], capacity }
    }

    pub(super) fn occupied(&self) -> u64 {
        self.cohorts.iter().map(|cohort| cohort.count).sum()
    }

    /// Fills the table as it stands in the long run at `rate` new connections a second (Little's law), up to its capacity.
    pub(super) fn settle(&mut self, rate: f64, mean_s: f64, shape: &Shape) {
        let standing = (rate * mean_s).clamp(0.0, self.capacity as f64);
        for (cohort, class) in self.cohorts.iter_mut().zip(shape.classes()) {
            let count = (standing * class.share * class.factor).floor();
            *cohort = Cohort { count: count as u64, mean_sum: count * mean_s * class.factor };
        }
    }

    /// `arrivals` new connections come evenly over `seconds`, each for `mean_s` on average; the table takes what it has
    /// room for.
    ///
    /// The part that is taken is the one that brings the expected count at the end to the capacity. For steps that are
    /// short beside the durations this is the table that fills up, for long ones Little's law: `capacity / duration` are
    /// served a second.
    pub(super) fn step<R: Rng>(
        &mut self,
        arrivals: u64,
        mean_s: f64,
        seconds: f64,
        shape: &Shape,
        rng: &mut R,
    ) -> Step {
        let capacity = self.capacity as f64;
        let (mut staying, mut gained) = (0.0, 0.0);
        for (cohort, class) in self.cohorts.iter().zip(shape.classes()) {
            if cohort.count > 0 {
                staying += cohort.count as f64 * (-seconds * cohort.count as f64 / cohort.mean_sum.max(1e-9)).exp();
            }
            gained += class.share * surviving(mean_s * class.factor, seconds);
        }
        gained *= arrivals as f64;
        let mut taken = arrivals;
        if staying + gained > capacity && gained > 0.0 {
            let part = ((capacity - staying) / gained).clamp(0.0, 1.0);
            let refused = (1.0 - part) * arrivals as f64 + rng.random::<f64>();
            taken = arrivals - (refused.floor() as u64).min(arrivals);
        }
        let mut step = Step { admitted: taken, refused: arrivals - taken, ended: 0 };
        let mut left_over = 1.0;
        let mut unassigned = taken;
        let before = self.occupied();
        for (cohort, class) in self.cohorts.iter_mut().zip(shape.classes()) {
            let mean = mean_s * class.factor;
            if cohort.count > 0 {
                let ends = 1.0 - (-seconds * cohort.count as f64 / cohort.mean_sum.max(1e-9)).exp();
                let gone = draw(cohort.count, ends, rng);
                cohort.mean_sum *= 1.0 - gone as f64 / cohort.count as f64;
                cohort.count -= gone;
                step.ended += gone;
            }
            let part = if class.share >= left_over { 1.0 } else { class.share / left_over };
            let own = draw(unassigned, part, rng);
            unassigned -= own;
            left_over -= class.share;
            let alive = draw(own, surviving(mean, seconds), rng);
            step.ended += own - alive;
            cohort.count += alive;
            cohort.mean_sum += alive as f64 * mean;
        }
        self.refuse_excess(before, &mut step);
        step
    }

    /// Chance may admit more than there is room for: those are refused after all. What stood above the capacity before
    /// (connections of a failed router) stays.
    fn refuse_excess(&mut self, before: u64, step: &mut Step) {
        let mut excess = self.occupied().saturating_sub(self.capacity.max(before)).min(step.admitted);
        for cohort in &mut self.cohorts {
            let out = excess.min(cohort.count);
            if out > 0 {
                cohort.mean_sum *= 1.0 - out as f64 / cohort.count as f64;
                cohort.count -= out;
                (step.admitted, step.refused) = (step.admitted - out, step.refused + out);
                excess -= out;
            }
        }
    }

    /// Takes the connections of a failed router, but for the part `lost` of them; tells how many were lost.
    pub(super) fn take_over<R: Rng>(&mut self, from: &mut Self, lost: f64, rng: &mut R) -> u64 {
        let mut broken = 0;
        for (own, other) in self.cohorts.iter_mut().zip(&mut from.cohorts) {
            let gone = draw(other.count, lost, rng);
            let kept = other.count - gone;
            if kept > 0 {
                own.mean_sum += other.mean_sum * kept as f64 / other.count as f64;
                own.count += kept;
            }
            broken += gone;
            *other = Cohort::default();
        }
        broken
    }

    /// All are gone; tells how many there were.
    pub(super) fn clear(&mut self) -> u64 {
        let count = self.occupied();
        self.cohorts.iter_mut().for_each(|cohort| *cohort = Cohort::default());
        count
    }
}

/// Part of the connections that came evenly over `seconds` and is still there at their end.
fn surviving(mean_s: f64, seconds: f64) -> f64 {
    let spans = seconds / mean_s.max(1e-9);
    if spans < 1e-6 { 1.0 } else { (1.0 - (-spans).exp()) / spans }
}

/// How many of `count` have something happen to them that happens with this probability.
pub(super) fn draw<R: Rng>(count: u64, probability: f64, rng: &mut R) -> u64 {
    if count == 0 || probability <= 0.0 {
        return 0;
    }
    if probability >= 1.0 {
        return count;
    }
    Binomial::new(count, probability).map_or(0, |binomial| binomial.sample(rng)).min(count)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(1)
    }

    #[test]
    fn a_table_stands_where_little_says_whatever_the_step() {
        for (seconds, mean_s) in [(1.0, 60.0), (60.0, 60.0), (60.0, 1.0)] {
            let shape = Shape::exponential();
            let (mut table, mut rng) = (Table::new(&shape, u64::MAX), rng());
            let rate = 6_000.0 / mean_s;
            let steps = (20.0 * mean_s / seconds) as u64 + 200;
            let mut sum = 0;
            for step in 0..steps {
                table.step((rate * seconds) as u64, mean_s, seconds, &shape, &mut rng);
                sum += if step >= steps - 100 { table.occupied() } else { 0 };
            }
            let mean = sum as f64 / 100.0;
            assert!((mean - 6_000.0).abs() < 120.0, "{seconds} s steps of {mean_s} s: {mean}");
        }
    }

    #[test]
    fn a_full_table_serves_what_ends() {
        for (seconds, mean_s) in [(1.0, 50.0), (60.0, 50.0), (60.0, 2.0)] {
            let shape = Shape::exponential();
            let (mut table, mut rng) = (Table::new(&shape, 1_000), rng());
            // Twice what fits comes: half of it has to be refused.
            let arrivals = (2_000.0 / mean_s * seconds) as u64;
            table.settle(1e9, mean_s, &shape);
            let (mut refused, mut offered) = (0, 0);
            for _ in 0..400 {
                let step = table.step(arrivals, mean_s, seconds, &shape, &mut rng);
                assert_eq!(step.admitted + step.refused, arrivals);
                assert!(table.occupied() <= 1_000);
                refused += step.refused;
                offered += arrivals;
            }
            let part = refused as f64 / offered as f64;
            assert!((part - 0.5).abs() < 0.03, "{seconds} s steps of {mean_s} s: {part}");
        }
    }

    #[test]
    fn classes_have_the_mean_that_was_asked_for_and_a_tail() {
        let shape = Shape::web_search();
        let (mut table, mut rng) = (Table::new(&shape, u64::MAX), rng());
        table.settle(100.0, 30.0, &shape);
        assert!((table.occupied() as f64 - 3_000.0).abs() < 20.0, "{}", table.occupied());
        for _ in 0..2_000 {
            table.step(100, 30.0, 1.0, &shape, &mut rng);
        }
        assert!((table.occupied() as f64 - 3_000.0).abs() < 400.0, "{}", table.occupied());
        for _ in 0..150 {
            table.step(0, 30.0, 1.0, &shape, &mut rng);
        }
        // Exponential durations would have left 20 of 3,000 after five of their means.
        assert!(table.occupied() > 400, "{}", table.occupied());
    }

    #[test]
    fn who_stands_in_takes_all_but_what_was_lost() {
        let shape = Shape::exponential();
        let mut tables = [Table::new(&shape, 500), Table::new(&shape, 500)];
        tables.iter_mut().for_each(|table| table.settle(10.0, 40.0, &shape));
        let [own, failed] = &mut tables;
        let broken = own.take_over(failed, 0.25, &mut rng());
        assert!((60..140).contains(&broken), "{broken}");
        assert_eq!(own.occupied(), 800 - broken);
        assert_eq!(failed.occupied(), 0);
        let step = own.step(50, 40.0, 1.0, &shape, &mut rng());
        assert_eq!(step.admitted, 0, "above its capacity it takes nothing new");
        assert_eq!(own.clear(), 800 - broken - step.ended);
    }
}
