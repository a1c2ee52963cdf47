use proptest::prelude::*;

use super::*;

fn signals(prediction_severity: f64, anomaly_severity: f64, crossed: bool) -> Signals {
    Signals { prediction_severity, anomaly_severity, crossed }
}

#[test]
fn the_law_literally() {
    let table = [
        (0.0, 0.0, 10.0),
        (0.5, 0.0, 10.0),
        (1.0, 0.0, 10.0),
        (1.5, 0.0, 15.0),
        (2.0, 1.0, 30.0),
        (0.0, 4.2, 42.0),
        (5.0, 0.0, 50.0),
        (2.5, 2.5, 50.0),
        (5.0, 5.0, 50.0),
        (9.0, 0.0, 50.0),
        (f64::NAN, 2.0, 20.0),
        (-3.0, 2.0, 20.0),
    ];
    for (prediction, anomaly, percent) in table {
        assert_eq!(law(prediction, anomaly), percent, "{prediction} + {anomaly}");
    }
}

#[test]
fn severity_of_forecasts() {
    let table = [
        (1.0, Some(0.0), 5.0),
        (1.0, Some(60.0), 2.5),
        (1.0, Some(30.0), 3.75),
        (0.5, Some(30.0), 1.875),
        (0.8, None, 2.0),
        (0.49, Some(1.0), 0.0),
        (0.0, None, 0.0),
        (f64::NAN, None, 0.0),
        (1.0, Some(600.0), 2.5),
    ];
    for (probability, time, severity) in table {
        assert_eq!(prediction_severity(probability, time, 60.0, 0.5), severity, "{probability} {time:?}");
    }
}

#[test]
fn one_shift_from_ramp_to_restore() {
    use ShiftPhase::{Holding, Idle, Ramping, Restoring};
    let settings = LoopSettings { hold_down_cycles: 3, ..LoopSettings::default() };
    let (ramp, none) = (signals(2.5, 0.0, false), Signals::default());
    let steps = [
        (none, 0.0, Idle),
        (ramp, 10.0, Ramping),
        (ramp, 20.0, Ramping),
        (ramp, 25.0, Holding),
        (signals(1.0, 0.0, false), 25.0, Holding),
        (none, 25.0, Holding),
        (none, 25.0, Holding),
        (signals(1.0, 0.0, false), 25.0, Holding),
        (none, 25.0, Holding),
        (none, 25.0, Holding),
        (none, 25.0, Holding),
        (none, 24.0, Restoring),
        (none, 23.0, Restoring),
        (signals(0.0, 3.1, false), 31.0, Holding),
        (signals(0.0, 0.0, true), 50.0, Holding),
    ];
    let mut state = ShiftState::default();
    for (cycle, (signals, percent, phase)) in steps.into_iter().enumerate() {
        state = state.next(&signals, &settings);
        assert_eq!((state.percent, state.phase), (percent, phase), "cycle {cycle}");
    }
    for _ in 0..3 + 49 {
        state = state.next(&none, &settings);
    }
    assert_eq!((state.percent, state.phase), (1.0, Restoring));
    state = state.next(&none, &settings);
    assert_eq!((state.percent, state.phase), (0.0, Idle));
}

#[test]
fn placements() {
    let even = place(100.0, 40.0, &[50.0, 30.0]);
    assert_eq!((even.shares, even.percent, even.unplaced_percent, even.uneven), (vec![0.5, 0.5], 40.0, 0.0, false));
    let uneven = place(100.0, 40.0, &[50.0, 10.0, 0.0]);
    assert_eq!((uneven.percent, uneven.unplaced_percent, uneven.uneven), (40.0, 0.0, true));
    assert!((uneven.shares[0] - 50.0 / 60.0).abs() < 1e-12 && uneven.shares[2] == 0.0);
    let partly = place(100.0, 40.0, &[10.0, 5.0]);
    assert_eq!((partly.percent, partly.unplaced_percent), (15.0, 25.0));
    let nothing = place(100.0, 40.0, &[]);
    assert_eq!((nothing.percent, nothing.unplaced_percent), (0.0, 40.0));
    assert_eq!(place(0.0, 40.0, &[3.0]).percent, 40.0, "no demand fits anywhere");
}

fn any_signals() -> impl Strategy<Value = Signals> {
    let severity = || prop_oneof![3 => Just(0.0), 2 => 0.0f64..5.0];
    (severity(), severity(), prop::bool::weighted(0.1)).prop_map(|(p, a, c)| signals(p, a, c))
}

proptest! {
    #[test]
    fn law_is_bounded(p in any::<f64>(), a in any::<f64>()) {
        let percent = law(p, a);
        prop_assert!((SHIFT_MIN_PERCENT..=SHIFT_MAX_PERCENT).contains(&percent));
    }

    #[test]
    fn every_step_is_lawful(history in prop::collection::vec(any_signals(), 1..200), hold_down in 0u32..10) {
        let settings = LoopSettings { hold_down_cycles: hold_down, ..LoopSettings::default() };
        let mut state = ShiftState::default();
        let mut quiet = 0;
        for signals in history {
            let next = state.next(&signals, &settings);
            prop_assert!((0.0..=SHIFT_MAX_PERCENT).contains(&next.percent));
            quiet = if signals.hold() { 0 } else { quiet + 1 };
            if signals.hold() {
                let jump = signals.crossed || signals.anomaly_severity > 0.0;
                prop_assert!(next.percent >= state.percent, "a held signal never lowers");
                prop_assert!(jump || next.percent <= state.percent + settings.ramp_step_percent + 1e-9);
                prop_assert!(!jump || next.percent >= signals.wanted_percent() - 1e-9);
            } else if quiet <= hold_down {
                prop_assert_eq!(next.percent, state.percent);
            } else {
                let expected = (state.percent - 1.0).max(0.0);
                prop_assert!((next.percent - expected).abs() < 1e-9);
            }
            state = next;
        }
    }

    #[test]
    fn no_shadow_is_overbooked(
        demand in 0.0f64..1e6,
        percent in 0.0f64..60.0,
        headroom in prop::collection::vec(prop_oneof![Just(0.0), -5.0f64..1e5], 0..5),
    ) {
        let placement = place(demand, percent, &headroom);
        prop_assert!((placement.percent + placement.unplaced_percent - percent).abs() < 1e-9);
        let sum: f64 = placement.shares.iter().sum();
        prop_assert!(sum == 0.0 && placement.percent == 0.0 || (sum - 1.0).abs() < 1e-9);
        for (share, room) in placement.shares.iter().zip(&headroom) {
            let load = demand * placement.percent / 100.0 * share;
            prop_assert!(load <= room.max(0.0) * (1.0 + 1e-9) + 1e-9, "{load} into {room}");
        }
    }
}
