//! When which port is probed next.
//!
//! **Invariant**: a port that is up is probed once an interval, and never more than [`BURST`] times within [`BURST_SPAN`],
//! however often it goes up and down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::End;
use crate::types::{DatapathId, PortNo, Timestamp};

/// The second probe of a port that came up: the switch at the other end may have come a little later.
const REPEAT: Duration = Duration::from_millis(250);
const BURST: u8 = 4;
const BURST_SPAN: Duration = Duration::from_secs(1);
/// Probes of one call of [`Pace::take`]; the rest follows with the next, so that a fabric that comes up at once does
/// not flood its switches.
const PROBES_PER_POLL: usize = 128;

#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// `None` while it must not be probed; also in [`Pace::order`].
    due: Option<Timestamp>,
    /// Probes since `counted_from`.
    count: u8,
    counted_from: Timestamp,
    /// When it was probed last.
    last: Timestamp,
    /// The next probe is the first since the port came up and is followed by another soon.
    again: bool,
    spread: bool,
}

#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    turns: BTreeMap<End, Turn>,
    order: BTreeSet<(Timestamp, End)>,
}

impl Pace {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, turns: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// The port came up. Ports that are `spread` are probed a second time soon, then all of a switch at its own moment
    /// of the interval.
    pub(super) fn begin(&mut self, end: End, spread: bool, now: Timestamp) {
        let turn = self.turns.entry(end).or_default();
        (turn.spread, turn.again) = (spread, spread);
        self.set(end, Some(now));
    }

    /// Probes a port at once, if it is being probed at all.
    pub(super) fn hurry(&mut self, end: End, now: Timestamp) {
        if self.turns.get(&end).is_some_and(|turn| turn.due.is_some_and(|due| due > now)) {
            self.set(end, Some(now));
        }
    }

    /// As [`Self::hurry`], unless the port was probed since that moment.
    pub(super) fn hurry_unless_since(&mut self, end: End, moment: Timestamp, now: Timestamp) {
        if self.turns.get(&end).is_some_and(|turn| turn.last < moment) {
            self.hurry(end, now);
        }
    }

    /// The port went down. How often it was probed lately is not forgotten.
    pub(super) fn pause(&mut self, end: End) {
        self.set(end, None);
    }

    pub(super) fn pause_all(&mut self, datapath: DatapathId) {
        let ends: Vec<End> = self.turns.range(all_of(datapath)).map(|(end, _)| *end).collect();
        ends.into_iter().for_each(|end| self.pause(end));
    }

    /// The port is gone.
    pub(super) fn remove(&mut self, end: End) {
        self.pause(end);
        self.turns.remove(&end);
    }

    fn set(&mut self, end: End, due: Option<Timestamp>) {
        let Some(turn) = self.turns.get_mut(&end) else { return };
        if let Some(before) = turn.due.take() {
            self.order.remove(&(before, end));
        }
        let spent = turn.count >= BURST;
        turn.due = due.map(|due| if spent { due.max(turn.counted_from + BURST_SPAN) } else { due });
        self.order.extend(turn.due.map(|due| (due, end)));
    }

    /// Ports to probe now, those due longest first, no more than a burst of them.
    pub(super) fn take(&mut self, now: Timestamp) -> Vec<End> {
        let due: Vec<End> =
            self.order.iter().take_while(|(due, _)| *due <= now).take(PROBES_PER_POLL).map(|(_, end)| *end).collect();
        for &end in &due {
            let turn = self.turns.get_mut(&end).expect("whoever is due has a turn");
            if now.since(turn.counted_from) >= BURST_SPAN {
                (turn.counted_from, turn.count) = (now, 0);
            }
            turn.count = turn.count.saturating_add(1);
            turn.last = now;
            let next = match (turn.spread, std::mem::take(&mut turn.again)) {
                (_, true) => now + REPEAT,
                (true, false) => self.moment_after(end, now),
                (false, false) => now + self.interval,
            };
            self.set(end, Some(next));
        }
        due
    }

    /// The switch's own moment of the interval, the next one: always the same, and even over all switches. The ports of one
    /// switch are probed together, which costs one waking and one write in place of many.
    fn moment_after(&self, (datapath, _): End, now: Timestamp) -> Timestamp {
        let interval = u64::try_from(self.interval.as_micros()).unwrap_or(u64::MAX).max(1);
        let moment = evenly(datapath.0, interval);
        let begun = now.0 - now.0 % interval;
        let next = begun.saturating_add(moment);
        Timestamp(if next > now.0 { next } else { next.saturating_add(interval) })
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(due, _)| *due)
    }
}

/// Every end of a switch.
pub(super) fn all_of(datapath: DatapathId) -> std::ops::RangeInclusive<End> {
    (datapath, PortNo(0))..=(datapath, PortNo(u32::MAX))
}

/// A fraction of `span` that is even over numbers that follow each other, as datapath ids often do (multiples of the
/// golden ratio, Weyl).
fn evenly(number: u64, span: u64) -> u64 {
    let fraction = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u64::try_from((u128::from(fraction) * u128::from(span)) >> 64).expect("a part of a u64")
}
