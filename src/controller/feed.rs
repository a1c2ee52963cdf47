//! The stream of [`Happening`]s: a bounded memory of the latest ones, and live subscribers.
//!
//! Invariant: ids start at 1 and have no gaps, so a reader that remembers the last id it saw knows exactly what it
//! missed. The controller never waits for a reader: one that falls behind loses its subscription, is told so, and may
//! come back with its last id.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use super::view::Happening;
use crate::types::{NodeId, Timestamp};

/// Happenings kept for readers that come late: about an hour of a busy fabric, about one megabyte.
pub const FEED_KEPT: usize = 4_096;

/// Happenings a live reader may lag behind before its subscription ends. A burst (every switch of a large fabric
/// reconnecting) fits; a reader that stands still does not hold memory for longer.
pub const FEED_LAG_MAX: usize = 1_024;

/// Handle on the stream; clones share it.
#[derive(Clone, Debug)]
pub struct Feed {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    kept: VecDeque<Arc<Happening>>,
    kept_max: usize,
    last_id: u64,
    live: broadcast::Sender<Arc<Happening>>,
}

/// Where a reader starts: what it missed, and everything from then on.
#[derive(Debug)]
pub struct Subscription {
    /// Kept happenings after the id that was asked for, oldest first.
    pub backlog: Vec<Arc<Happening>>,
    /// Ids that were asked for and are no longer kept, first and last.
    pub lost: Option<(u64, u64)>,
    /// The stream after the backlog, without a gap between the two.
    pub live: broadcast::Receiver<Arc<Happening>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self::with_capacity(FEED_KEPT, FEED_LAG_MAX)
    }
}

impl Feed {
    pub fn new() -> Self {
        Self::default()
    }

    /// A feed that keeps `kept_max` happenings and lets readers lag `lag_max` behind.
    pub fn with_capacity(kept_max: usize, lag_max: usize) -> Self {
        let (live, _) = broadcast::channel(lag_max.max(1));
        Self { shared: Arc::new(Mutex::new(Shared { kept: VecDeque::new(), kept_max, last_id: 0, live })) }
    }

    /// Appends a happening and returns its id. Never waits.
    pub fn push(&self, at: Timestamp, kind: &str, node: Option<NodeId>, message: impl Into<String>) -> u64 {
        let mut shared = self.lock();
        shared.last_id += 1;
        let id = shared.last_id;
        let happening = Arc::new(Happening { id, at, kind: kind.to_owned(), node, message: message.into() });
        if shared.kept.len() == shared.kept_max {
            shared.kept.pop_front();
        }
        shared.kept.push_back(Arc::clone(&happening));
        // An error means that nobody listens, which is fine.
        let _ = shared.live.send(happening);
        id
    }

    /// Id of the newest happening, 0 before the first.
    pub fn last_id(&self) -> u64 {
        self.lock().last_id
    }

    /// Kept happenings with an id above `id`, oldest first.
    pub fn after(&self, id: u64) -> Vec<Arc<Happening>> {
        self.lock().after(id)
    }

    /// Follows the stream from the happening after `id` on; from now on where `id` is `None`.
    ///
    /// An id above the newest is from before a restart of the controller: everything kept is new to that reader.
    pub fn subscribe(&self, id: Option<u64>) -> Subscription {
        let shared = self.lock();
        let start = match id {
            None => shared.last_id,
            Some(id) if id > shared.last_id => 0,
            Some(id) => id,
        };
        let oldest = shared.last_id + 1 - shared.kept.len() as u64;
        let lost = (start + 1 < oldest).then(|| (start + 1, oldest - 1));
        Subscription { backlog: shared.after(start), lost, live: shared.live.subscribe() }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // No code that holds the lock can panic half-way through a change; what is there is consistent.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn after(&self, id: u64) -> Vec<Arc<Happening>> {
        self.kept.iter().filter(|happening| happening.id > id).map(Arc::clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::broadcast::error::TryRecvError;

    fn filled(kept: usize, count: u64) -> Feed {
        let feed = Feed::with_capacity(kept, 4);
        for n in 0..count {
            feed.push(Timestamp::from_secs(n), "test", None, format!("number {n}"));
        }
        feed
    }

    fn ids(happenings: &[Arc<Happening>]) -> Vec<u64> {
        happenings.iter().map(|happening| happening.id).collect()
    }

    #[test]
    fn ids_have_no_gaps_and_the_memory_is_bounded() {
        let feed = filled(3, 5);
        assert_eq!(feed.last_id(), 5);
        assert_eq!(ids(&feed.after(0)), [3, 4, 5]);
        assert_eq!(ids(&feed.after(4)), [5]);
        assert_eq!(ids(&feed.after(9)), [0; 0]);
    }

    #[test]
    fn a_reader_resumes_where_it_stopped() {
        let cases = [
            (None, vec![], None),
            (Some(5), vec![], None),
            (Some(3), vec![4, 5], None),
            (Some(2), vec![3, 4, 5], None),
            (Some(0), vec![3, 4, 5], Some((1, 2))),
            (Some(77), vec![3, 4, 5], Some((1, 2))),
        ];
        for (id, backlog, lost) in cases {
            let subscription = filled(3, 5).subscribe(id);
            assert_eq!(ids(&subscription.backlog), backlog, "after {id:?}");
            assert_eq!(subscription.lost, lost, "after {id:?}");
        }
    }

    #[test]
    fn nothing_falls_between_backlog_and_stream() {
        let feed = filled(8, 2);
        let mut subscription = feed.subscribe(Some(1));
        feed.push(Timestamp::default(), "test", None, "third");
        assert_eq!(ids(&subscription.backlog), [2]);
        assert_eq!(subscription.live.try_recv().map(|happening| happening.id), Ok(3));
        assert_eq!(subscription.live.try_recv(), Err(TryRecvError::Empty));
    }

    #[test]
    fn a_reader_that_stands_still_is_told_and_the_writer_is_not_held() {
        let feed = Feed::with_capacity(2, 4);
        let mut subscription = feed.subscribe(None);
        for n in 0..10 {
            feed.push(Timestamp::default(), "test", None, format!("number {n}"));
        }
        assert_eq!(subscription.live.try_recv(), Err(TryRecvError::Lagged(6)));
    }
}
