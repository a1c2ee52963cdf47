use proptest::prelude::*;

use super::*;
use crate::southbound::ConnectionsEnded;

fn reading(occupied: u64, closing: u64, admitted: u64, refused: u64, rx_bytes: u64) -> Reading {
    let connections = ConnectionCounters { occupied, closing, admitted, refused, unknown: 0 };
    let port = PortCounters { rx_bytes, ..PortCounters::default() };
    Reading { connections: Some(connections), ports: [(PortNo(1), port)].into(), ..Reading::default() }
}

const FRESH: Duration = Duration::from_secs(5);

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

#[test]
fn rates_from_differences() {
    let mut router = RouterTelemetry::default();
    assert_eq!(router.reading(at(10), &reading(50, 5, 1_000, 7, 0)), Outcome::Base);
    assert_eq!(router.load(at(10), FRESH), None);
    router.ended(at(11), &ConnectionEnded { which: None, duration_ms: 4_000, packets: 1, bytes: 1 });
    router.ended(at(11), &ConnectionEnded { which: None, duration_ms: 8_000, packets: 1, bytes: 1 });
    assert_eq!(router.reading(at(12), &reading(60, 6, 1_100, 10, 5_000)), Outcome::Rates);
    let load = router.load(at(12), FRESH).expect("two readings");
    let expected = Load {
        active: 54.0,
        occupied: 60.0,
        new_per_s: 50.0,
        mean_duration_s: 6.0,
        bytes_per_s: 2_500.0,
        refused_total: 3,
        refused: 3,
        unknown_packets: 0,
    };
    assert_eq!(load, expected);
    assert_eq!(router.load(at(18), FRESH), None, "stale");
}

#[test]
fn connections_that_ended_together() {
    let mut router = RouterTelemetry::default();
    let ended = |count, lifetime_ms_total| Some(ConnectionsEnded { count, lifetime_ms_total });
    router.reading(at(10), &Reading { ended: ended(9, 90_000), ..reading(50, 5, 1_000, 0, 0) });
    router.reading(at(12), &Reading { ended: ended(3, 12_000), ..reading(50, 5, 1_010, 0, 0) });
    assert_eq!(
        router.load(at(12), FRESH).expect("two readings").mean_duration_s,
        4.0,
        "what was before the base is gone"
    );
    let incomplete = Reading { connections: None, ended: ended(1, 8_000), ..Reading::default() };
    assert_eq!(router.reading(at(13), &incomplete), Outcome::Incomplete);
    let same = Reading { ended: ended(100, 0), ..reading(50, 5, 1_010, 0, 0) };
    assert_eq!(router.reading(at(12), &same), Outcome::Ignored);
    router.reading(at(14), &reading(50, 5, 1_020, 0, 0));
    assert_eq!(router.load(at(14), FRESH).expect("fresh").mean_duration_s, 5.0);
}

#[test]
fn duplicate_late_and_backward_readings() {
    let mut router = RouterTelemetry::default();
    router.reading(at(100), &reading(10, 0, 100, 0, 0));
    router.reading(at(101), &reading(20, 0, 200, 0, 0));
    let before = router.load(at(101), FRESH);
    assert_eq!(router.reading(at(101), &reading(99, 0, 900, 0, 0)), Outcome::Ignored);
    assert_eq!(router.reading(at(99), &reading(99, 0, 900, 0, 0)), Outcome::Ignored);
    assert_eq!(router.load(at(101), FRESH), before);
    assert_eq!(router.reading(at(20), &reading(30, 0, 300, 0, 0)), Outcome::Base, "the clock was set back");
    assert_eq!(router.reading(at(21), &reading(30, 0, 310, 0, 0)), Outcome::Rates);
    assert_eq!(router.load(at(21), FRESH).expect("fresh").new_per_s, 10.0);
}

#[test]
fn restart_of_the_switch_counts_from_zero() {
    let mut router = RouterTelemetry::default();
    router.reading(at(1), &reading(500, 0, 100_000, 40, 1 << 40));
    router.reading(at(2), &reading(500, 0, 100_100, 42, 1 << 41));
    router.reading(at(3), &reading(7, 0, 9, 1, 300));
    let load = router.load(at(3), FRESH).expect("fresh");
    assert_eq!((load.new_per_s, load.refused, load.refused_total), (9.0, 1, 3));
    assert_eq!((load.occupied, load.bytes_per_s), (7.0, 300.0));
}

#[test]
fn long_gap_is_a_new_base_short_gap_an_average() {
    let mut router = RouterTelemetry::default();
    router.reading(at(1), &reading(5, 0, 100, 0, 0));
    router.reading(at(61), &reading(5, 0, 700, 0, 0));
    assert_eq!(router.load(at(61), FRESH).expect("fresh").new_per_s, 10.0);
    assert_eq!(router.reading(at(1_000), &reading(5, 0, 90_000, 0, 0)), Outcome::Base);
    assert_eq!(router.load(at(1_000), FRESH), None, "a base alone gives no rates");
}

#[test]
fn little_stands_in_where_nothing_ended() {
    let mut router = RouterTelemetry::default();
    for second in 0..120 {
        router.reading(at(second), &reading(300, 0, 30 * second, 0, 0));
    }
    let load = router.load(at(119), FRESH).expect("fresh");
    assert!((load.mean_duration_s - 10.0).abs() < 0.2, "{}", load.mean_duration_s);
}

#[test]
fn without_the_connection_part_nothing_changes() {
    let mut router = RouterTelemetry::default();
    router.reading(at(1), &reading(5, 0, 100, 0, 0));
    assert_eq!(router.reading(at(2), &Reading::default()), Outcome::Incomplete);
    assert_eq!(router.reading(at(3), &reading(5, 0, 120, 0, 0)), Outcome::Rates);
    assert_eq!(router.load(at(3), FRESH).expect("fresh").new_per_s, 10.0);
}

proptest! {
    #[test]
    fn any_sequence_gives_finite_loads(
        steps in prop::collection::vec((0u64..1 << 50, any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()), 1..60)
    ) {
        let mut router = RouterTelemetry::default();
        let mut total = 0;
        for (time, occupied, admitted, refused, bytes) in steps {
            let now = Timestamp(time);
            router.ended(now, &ConnectionEnded { which: None, duration_ms: admitted, packets: 0, bytes: 0 });
            router.reading(now, &reading(occupied, bytes, admitted, refused, bytes));
            let load = router.load;
            prop_assert!(load.active <= load.occupied && load.active >= 0.0);
            for value in [load.new_per_s, load.mean_duration_s, load.bytes_per_s] {
                prop_assert!(value.is_finite() && value >= 0.0);
            }
            prop_assert!(load.refused_total >= total);
            total = load.refused_total;
        }
    }
}
