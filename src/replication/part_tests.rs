//! The parts alone: table, ring, window, pace, marks.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use crate::types::Timestamp;
use crate::wire::replication::{Connection, Flow, Key};

use super::marks::Marks;
use super::pace::Pace;
use super::ring::Ring;
use super::table::{Full, Table};
use super::window::{Turn, Window};
use super::{Refusal, Refused};

fn connection(port: u16) -> Connection {
    Connection::new(Flow::v4(Flow::UDP, (Ipv4Addr::LOCALHOST, port), (Ipv4Addr::LOCALHOST, 53)))
}

#[test]
fn a_full_table_takes_what_it_holds_and_nothing_else() {
    let mut table = Table::new(2, &Key::new([1; 16]));
    assert_eq!(table.insert(connection(1)), Ok(Ok(0)));
    assert_eq!(table.insert(connection(2)), Ok(Ok(1)));
    assert_eq!(table.insert(connection(2)), Ok(Err(1)));
    assert_eq!(table.insert(connection(3)), Err(Full(2)));
    assert_eq!((table.len(), table.find(&connection(3).flow, 0)), (2, None));
    let other_zone = Connection { zone: 1, ..connection(1) };
    assert_eq!(table.insert(other_zone), Err(Full(2)), "a zone of its own");
    assert_eq!(table.remove(0), Some(connection(1)));
    assert_eq!((table.remove(0), table.remove(9)), (None, None));
    assert_eq!(table.insert(connection(3)), Ok(Ok(0)), "its place is used again");
    assert_eq!((table.len(), table.places()), (2, 2));
}

proptest! {
    /// Against a map from ports to nothing.
    #[test]
    fn a_table_is_a_set_of_flows(operations in prop::collection::vec((any::<bool>(), 0..40_u16), 0..300)) {
        let mut table = Table::new(1000, &Key::new([1; 16]));
        let mut model = std::collections::BTreeSet::new();
        for (insert, port) in operations {
            let found = table.find(&connection(port).flow, 0);
            prop_assert_eq!(found.is_some(), model.contains(&port));
            if insert {
                let outcome = table.insert(connection(port)).expect("room");
                prop_assert_eq!(outcome.is_ok(), model.insert(port));
            } else if let Some(slot) = found {
                model.remove(&port);
                prop_assert_eq!(table.remove(slot), Some(connection(port)));
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert!(table.iter().all(|(slot, held)| table.find(&held.flow, 0) == Some(slot)));
        }
    }
}

#[test]
fn a_ring_keeps_frames_until_they_are_acknowledged() {
    let (pause, mut now) = (Duration::from_millis(1), Timestamp::from_secs(1));
    let mut ring = Ring::new(5);
    for frame in ["one", "two", "three"] {
        assert!(ring.has_room() || frame == "three");
        ring.push(Bytes::from_static(frame.as_bytes()), now);
    }
    assert!(!ring.acknowledge(1), "it was never sent");
    assert_eq!(ring.take(now).as_deref(), Some(&b"one"[..]));
    assert_eq!(ring.take(now).as_deref(), Some(&b"two"[..]));
    ring.ask(1, u64::MAX, pause, now);
    assert_eq!(ring.take(now).as_deref(), Some(&b"three"[..]), "what was sent a moment ago may be on its way");
    assert!(ring.take(now).is_none() && !ring.is_waiting());
    now = now + pause;
    ring.ask(2, 1, pause, now);
    ring.ask(2, 100, pause, now);
    assert!(ring.acknowledge(2));
    assert_eq!(ring.take(now).as_deref(), Some(&b"three"[..]), "what arrived meanwhile is not sent again");
    assert!(ring.take(now).is_none());
    assert_eq!((ring.len(), ring.next()), (1, 4));
    assert!(ring.acknowledge(1) && ring.acknowledge(3) && !ring.acknowledge(4));
    assert_eq!((ring.len(), ring.oldest()), (0, None));
}

#[test]
fn a_window_asks_for_what_is_missing() {
    let mut window = Window::default();
    assert_eq!(window.came(3, 0, b"3", 10), Ok(Turn::Kept));
    assert_eq!(window.came(3, 0, b"3", 10), Err(Refusal::Replayed));
    assert_eq!(window.came(11, 0, b"", 10), Err(Refusal::TooEarly));
    assert_eq!(window.came(u64::MAX, 0, b"", 10), Err(Refusal::TooEarly));
    let mut window = Window::default();
    for sequence in [3, 4, 7] {
        assert_eq!(window.came(sequence, 0, b"early", 10), Ok(Turn::Kept));
    }
    window.heard_of(9);
    assert_eq!(window.missing(10), [(1, 2), (5, 2), (8, 2)]);
    assert_eq!(window.missing(1), [(1, 2)]);
    assert_eq!(window.came(1, 0, b"", 10), Ok(Turn::Now));
    window.advance();
    assert_eq!(window.next(), None);
    assert_eq!(window.came(1, 0, b"", 10), Err(Refusal::Replayed));
    assert_eq!(window.came(2, 0, b"", 10), Ok(Turn::Now));
    window.advance();
    for applied in [3, 4] {
        assert!(window.next().is_some());
        window.advance();
        assert_eq!(window.applied(), applied);
    }
    assert_eq!(window.next(), None);
    assert_eq!((window.missing(10), window.behind()), (vec![(5, 2), (8, 2)], 5));
}

#[test]
fn a_pace_lets_a_burst_through_and_then_its_rate() {
    let mut pace = Pace::new(1_000_000, 3000);
    let begin = Timestamp::from_secs(5);
    let mut now = begin;
    let mut sent = 0;
    while now.since(begin) < Duration::from_secs(1) {
        while pace.is_ready(now) {
            pace.spend(1000, now);
            sent += 1000;
        }
        assert!(pace.ready_at() > now);
        now = pace.ready_at();
    }
    assert!((1_000_000..=1_004_000).contains(&sent), "{sent}");
}

#[test]
fn marks_tell_the_age_of_a_queue_within_a_sixteenth() {
    let mut marks = Marks::default();
    let mut times = std::collections::VecDeque::new();
    let mut now = Timestamp::from_secs(1);
    for step in 0..20_000_u64 {
        marks.push(now);
        times.push_back(now);
        if step % 3 == 0 {
            marks.pop();
            times.pop_front();
        }
        now = now + Duration::from_micros(700);
        let (Some(told), Some(first)) = (marks.oldest(), times.front()) else { continue };
        assert!(told <= *first);
        let slack = Duration::from_millis(2) + now.since(told) / 12;
        assert!(first.since(told) <= slack, "step {step}: {:?} early", first.since(told));
    }
    while times.pop_front().is_some() {
        marks.pop();
    }
    assert_eq!(marks.oldest(), None);
}

#[test]
fn every_refusal_has_its_own_counter_and_name() {
    let mut refused = Refused::default();
    for refusal in Refusal::ALL {
        assert_eq!(refused.count::<()>(Err(refusal)), Err(refusal));
        assert_eq!(refused.of(refusal), 1);
        assert!(!refusal.to_string().is_empty());
    }
    let names: std::collections::BTreeSet<&str> = Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
    assert_eq!((names.len() as u64, refused.total()), (8, 8));
    assert_eq!(refused.count(Ok(5)), Ok(5));
    assert_eq!(refused.iter().map(|(_, count)| count).sum::<u64>(), 8);
}
