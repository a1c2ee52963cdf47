//! Which refused connections are worth a line: a switch that may not come in tries again every few seconds, for ever.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::net::IpAddr;
use std::time::Duration;

use super::vocabulary::CloseReason;
use crate::types::Timestamp;

/// The same peer's same mistake is told once in this time.
const INTERVAL: Duration = Duration::from_secs(60);
/// Different mistakes told in one interval: more come from somebody who makes them on purpose.
const TOLD_MAX: usize = 64;

/// Remembers what was told lately.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told: HashMap<(IpAddr, Discriminant<CloseReason>), Told>,
    /// Refusals beyond [`TOLD_MAX`], since the last one that was told.
    untold: u64,
}

#[derive(Debug)]
struct Told {
    at: Timestamp,
    repeated: u64,
}

impl Refusals {
    /// `Some` if this one is to be told: how many others were kept back since the last like it.
    pub(super) fn tell(&mut self, peer: IpAddr, reason: &CloseReason, now: Timestamp) -> Option<u64> {
        let key = (peer, discriminant(reason));
        if let Some(told) = self.told.get_mut(&key) {
            if now.since(told.at) < INTERVAL {
                told.repeated += 1;
                return None;
            }
            let repeated = told.repeated;
            *told = Told { at: now, repeated: 0 };
            return Some(repeated);
        }
        if self.told.len() >= TOLD_MAX {
            self.told.retain(|_, told| now.since(told.at) < INTERVAL);
        }
        if self.told.len() >= TOLD_MAX {
            self.untold += 1;
            return None;
        }
        self.told.insert(key, Told { at: now, repeated: 0 });
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_is_told_once_a_minute_and_different_ones_up_to_a_bound() {
        let mut refusals = Refusals::default();
        let start = Timestamp::from_secs(1_000);
        let peer = |n: u32| IpAddr::from(n.to_be_bytes());
        let (garbage, version) =
            (CloseReason::NotHello { message_type: 9 }, CloseReason::NoCommonVersion { offered: "1.0".into() });
        assert_eq!(refusals.tell(peer(1), &garbage, start), Some(0));
        assert_eq!(refusals.tell(peer(1), &version, start), Some(0), "another mistake");
        assert_eq!(refusals.tell(peer(2), &garbage, start), Some(0), "another peer");
        for second in 1..60 {
            assert_eq!(refusals.tell(peer(1), &garbage, start + Duration::from_secs(second)), None);
        }
        assert_eq!(refusals.tell(peer(1), &garbage, start + INTERVAL), Some(59));
        assert_eq!(refusals.tell(peer(1), &garbage, start + INTERVAL), None);

        let later = start + Duration::from_secs(600);
        let told = (1..1_000).filter(|n| refusals.tell(peer(*n), &garbage, later).is_some()).count();
        assert!((60..=70).contains(&told), "{told}");
        assert!(refusals.told.len() <= TOLD_MAX);
        let much_later = later + INTERVAL;
        assert!(refusals.tell(peer(5_000), &garbage, much_later).is_some_and(|untold| untold > 900));
    }
}
