//! Counters, meters and registers.

use super::control::{Counter, MeterConfig};
use crate::fabric::p4::program::Program;
use crate::types::Timestamp;

/// Colours as v1model numbers them.
pub(super) const GREEN: u128 = 0;
pub(super) const YELLOW: u128 = 1;
pub(super) const RED: u128 = 2;

/// One rate: what has been filled in since the start, and what is left.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_second: u64,
    burst: u64,
    tokens: u64,
    filled: u128,
}

impl Bucket {
    fn new(per_second: u64, burst: u64) -> Self {
        Self { per_second, burst, tokens: burst, filled: 0 }
    }

    fn take(&mut self, since_start_us: u64, amount: u64) -> bool {
        let filled = u128::from(since_start_us) * u128::from(self.per_second) / 1_000_000;
        let more = u64::try_from(filled.saturating_sub(self.filled)).unwrap_or(u64::MAX);
        self.filled = filled;
        self.tokens = self.tokens.saturating_add(more).min(self.burst);
        match self.tokens.checked_sub(amount) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

/// A meter with two rates and three colours (RFC 2698, colour-blind).
#[derive(Clone, Debug)]
pub(super) struct Meter {
    pub(super) config: MeterConfig,
    committed: Bucket,
    peak: Bucket,
}

impl Meter {
    pub(super) fn new(config: MeterConfig) -> Self {
        Self {
            config,
            committed: Bucket::new(config.committed_per_second, config.committed_burst),
            peak: Bucket::new(config.peak_per_second, config.peak_burst),
        }
    }

    pub(super) fn colour(&mut self, since_start_us: u64, amount: u64) -> u128 {
        if !self.peak.take(since_start_us, amount) {
            RED
        } else if !self.committed.take(since_start_us, amount) {
            YELLOW
        } else {
            GREEN
        }
    }
}

/// Everything that actions change beside the packet.
#[derive(Debug)]
pub(super) struct Arrays {
    pub(super) counters: Vec<Vec<Counter>>,
    pub(super) meters: Vec<Vec<Option<Meter>>>,
    pub(super) registers: Vec<Vec<u128>>,
    random: u64,
    /// When the switch started, and now.
    pub(super) started: Timestamp,
    pub(super) now: Timestamp,
}

impl Arrays {
    pub(super) fn new(program: &Program, seed: u64, started: Timestamp) -> Self {
        Self {
            counters: program.counters.iter().map(|array| vec![Counter::default(); array.size]).collect(),
            meters: program.meters.iter().map(|array| vec![None; array.size]).collect(),
            registers: program.registers.iter().map(|array| vec![0; array.size]).collect(),
            random: seed,
            started,
            now: started,
        }
    }

    /// The program's clock, in microseconds.
    pub(super) fn clock(&self) -> u64 {
        self.now.0.saturating_sub(self.started.0)
    }

    /// The next number of a fixed sequence (splitmix64; Steele, Lea, Flood, OOPSLA 2014).
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_colours_by_both_rates() {
        let config = MeterConfig { committed_per_second: 1, committed_burst: 1, peak_per_second: 2, peak_burst: 2 };
        let mut meter = Meter::new(config);
        let seconds = |seconds: u64| seconds * 1_000_000;
        let cases = [
            (seconds(10), GREEN),
            (seconds(10), YELLOW),
            (seconds(10), RED),
            (seconds(10) + 500_000, YELLOW),
            (seconds(11), GREEN),
            (seconds(100), GREEN),
            (seconds(100), YELLOW),
            // Time that goes back fills nothing.
            (seconds(1), RED),
        ];
        for (at, (now, colour)) in cases.into_iter().enumerate() {
            assert_eq!(meter.colour(now, 1), colour, "packet {at}");
        }
    }
}
