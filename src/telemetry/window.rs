//! Lifetimes of the connections that ended lately, in a window of fixed size.

use std::collections::VecDeque;

use crate::types::Timestamp;

/// Connections that ended within this span count for the mean duration.
const WINDOW_S: u64 = 60;

/// One second of ended connections; the window never holds more than [`WINDOW_S`] + 1 of them, however many end.
#[derive(Clone, Copy, Debug)]
struct Second {
    second: u64,
    count: u64,
    sum_s: f64,
}

/// Sliding mean of lifetimes, summed by the second so that its size does not depend on the rate.
#[derive(Clone, Debug, Default)]
pub struct DurationWindow {
    seconds: VecDeque<Second>,
}

impl DurationWindow {
    /// Adds one lifetime. A moment before the newest one (late event, clock going backwards) counts as the newest.
    pub fn add(&mut self, at: Timestamp, duration_s: f64) {
        self.add_many(at, 1, duration_s);
    }

    /// Adds `count` lifetimes that last `sum_s` together.
    pub fn add_many(&mut self, at: Timestamp, count: u64, sum_s: f64) {
        if count == 0 {
            return;
        }
        let second = at.0 / 1_000_000;
        match self.seconds.back_mut() {
            Some(last) if second <= last.second => {
                last.count += count;
                last.sum_s += sum_s;
            }
            _ => self.seconds.push_back(Second { second, count, sum_s }),
        }
        self.forget(second);
    }

    /// Mean lifetime in seconds of those that ended within the window before `at`, and how many they are.
    pub fn mean(&mut self, at: Timestamp) -> Option<(f64, u64)> {
        self.forget(at.0 / 1_000_000);
        let count: u64 = self.seconds.iter().map(|second| second.count).sum();
        let sum: f64 = self.seconds.iter().map(|second| second.sum_s).sum();
        (count > 0).then(|| (sum / count as f64, count))
    }

    pub fn clear(&mut self) {
        self.seconds.clear();
    }

    fn forget(&mut self, now_second: u64) {
        while self.seconds.front().is_some_and(|oldest| oldest.second + WINDOW_S < now_second) {
            self.seconds.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_slides_and_stays_small() {
        let mut window = DurationWindow::default();
        assert_eq!(window.mean(Timestamp::from_secs(0)), None);
        for second in 0..1_000 {
            for _ in 0..50 {
                window.add(Timestamp::from_secs(second), if second < 500 { 2.0 } else { 8.0 });
            }
        }
        assert!(window.seconds.len() <= 62);
        let (mean, count) = window.mean(Timestamp::from_secs(999)).expect("connections ended");
        assert_eq!(mean, 8.0);
        assert_eq!(count, 61 * 50);
        assert_eq!(window.mean(Timestamp::from_secs(2_000)), None);
    }

    #[test]
    fn late_events_join_the_newest_second() {
        let mut window = DurationWindow::default();
        window.add(Timestamp::from_secs(100), 1.0);
        window.add(Timestamp::from_secs(10), 3.0);
        assert_eq!(window.mean(Timestamp::from_secs(100)), Some((2.0, 2)));
    }
}
