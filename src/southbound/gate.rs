//! Spreads over time what many switches that come at once would all ask for at once (docs/OPENFLOW.md and docs/P4RUNTIME.md, "Start").

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::types::DatapathId;

/// A part of `most` that depends on the datapath id alone: the same in every run, and unlike that of its neighbours.
pub(in crate::southbound) fn spread(datapath: DatapathId, most: Duration) -> Duration {
    // The finaliser of SplitMix64 (Steele, Lea and Flood 2014): ids that differ in one bit end up far apart.
    let mut mixed = datapath.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    most.mul_f64((mixed >> 11) as f64 / (1_u64 << 53) as f64)
}

/// At most so many sessions read or install for the first time at once; the others wait in the order they came.
#[derive(Debug)]
pub(in crate::southbound) struct Gate {
    places: Arc<Semaphore>,
    jitter: Duration,
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Gate {
    pub(in crate::southbound) fn new(places: usize, jitter: Duration) -> Self {
        // With no place at all no switch would ever be served.
        let places = Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)));
        Self { places, jitter, inside: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    /// Waits for a place. Who finds one free takes it at once; who had to wait waits a little longer, so that
    /// sessions that were let in together do not go on in step.
    pub(in crate::southbound) async fn enter(self: Arc<Self>, datapath: DatapathId) -> Pass {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let place = Arc::clone(&self.places).acquire_owned().await;
                tokio::time::sleep(spread(datapath, self.jitter)).await;
                place.expect("the gate's semaphore is never closed")
            }
        };
        let inside = self.inside.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(inside, Ordering::Relaxed);
        Pass { gate: self, _place: place }
    }

    /// Sessions inside now, and the most there ever were.
    pub(in crate::southbound) fn load(&self) -> (usize, usize) {
        (self.inside.load(Ordering::Relaxed), self.most.load(Ordering::Relaxed))
    }
}

/// A place inside; dropping it lets the next one in.
#[derive(Debug)]
pub(in crate::southbound) struct Pass {
    gate: Arc<Gate>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_even_and_the_same_every_time() {
        let most = Duration::from_millis(100);
        let mut tenths = [0_u32; 10];
        for id in 1..=1_000 {
            let delay = spread(DatapathId(id), most);
            assert_eq!(delay, spread(DatapathId(id), most));
            assert!(delay < most);
            tenths[usize::try_from(delay.as_millis() / 10).expect("small")] += 1;
        }
        assert!(tenths.iter().all(|count| (70..130).contains(count)), "{tenths:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_let_in_in_order_and_never_more_than_there_is_room_for() {
        let gate = Arc::new(Gate::new(2, Duration::from_millis(50)));
        let first = Arc::clone(&gate).enter(DatapathId(1)).await;
        let _second = Arc::clone(&gate).enter(DatapathId(2)).await;
        let third = tokio::spawn(Arc::clone(&gate).enter(DatapathId(3)));
        tokio::task::yield_now().await;
        let fourth = tokio::spawn(Arc::clone(&gate).enter(DatapathId(4)));
        tokio::task::yield_now().await;
        assert_eq!(gate.load(), (2, 2));
        drop(first);
        let third = third.await.expect("it ends well");
        assert!(!fourth.is_finished(), "the third came before");
        drop(third);
        fourth.await.expect("it ends well");
        assert_eq!(gate.load(), (1, 2));
    }
}
