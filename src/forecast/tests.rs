use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};

use super::*;

/// Forecasts after feeding `values`, one a step.
fn feed(horizon: usize, step_s: f64, values: &[f64]) -> Forecaster {
    let mut forecaster = Forecaster::new(horizon, step_s);
    for (step, value) in values.iter().enumerate() {
        forecaster.observe(Timestamp((step as f64 * step_s * 1e6) as u64), Sample::new(*value, 0.0));
    }
    forecaster
}

#[test]
fn says_nothing_on_too_little() {
    assert_eq!(feed(60, 1.0, &[5.0; SAMPLES_MIN - 1]).forecast(10.0), None);
    let forecast = feed(60, 1.0, &[5.0; SAMPLES_MIN]).forecast(10.0).expect("enough samples");
    assert_eq!((forecast.mean.len(), forecast.breach_probability), (60, 0.0));
    assert!(forecast.mean.iter().all(|value| (value - 5.0).abs() < 1e-6));
    assert_eq!(forecast.breach_in_s, None);
}

#[test]
fn a_line_is_continued_and_its_crossing_foreseen() {
    let values: Vec<f64> = (0..300).map(|t| 100.0 + 2.0 * f64::from(t)).collect();
    let forecast = feed(60, 1.0, &values).forecast(758.0).expect("enough samples");
    let last = values[299];
    for (step, mean) in (1..).zip(&forecast.mean).step_by(10) {
        let truth = last + 2.0 * f64::from(step);
        assert!((mean - truth).abs() < 0.15 * (truth - last) + 2.0, "step {step}: {mean} for {truth}");
    }
    assert!(forecast.breach_probability > 0.9, "{}", forecast.breach_probability);
    let time = forecast.breach_in_s.expect("a breach");
    assert!((25.0..40.0).contains(&time), "crosses in 30 s, said {time}");
}

#[test]
fn a_flash_crowd_is_foreseen_before_it_crosses() {
    for seed in 0..10 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut forecaster = Forecaster::new(60, 1.0);
        let (mut occupied, mut foreseen, mut crossed) = (600.0, None, None);
        for second in 0..900u64 {
            // From 30 a second to 75 over three minutes, from second 600 on; a mean of 20 s in the table.
            let rate = 30.0 + 45.0 * (second.saturating_sub(600) as f64 / 180.0).min(1.0);
            let arrivals: f64 = Poisson::new(rate).expect("positive").sample(&mut rng);
            let leaving: f64 = Poisson::new(occupied / 20.0).expect("positive").sample(&mut rng);
            occupied = (occupied + arrivals - leaving).max(1.0);
            forecaster.observe(Timestamp::from_secs(second), Sample::new(occupied, arrivals));
            let forecast = forecaster.forecast(900.0);
            if forecast.is_some_and(|forecast| forecast.breach_probability >= 0.5) {
                foreseen.get_or_insert(second);
            }
            if occupied > 900.0 {
                crossed.get_or_insert(second);
            }
        }
        let (foreseen, crossed) = (foreseen.expect("foreseen"), crossed.expect("crossed"));
        println!("seed {seed}: foreseen at {foreseen}, crossed at {crossed}: {} s ahead", crossed - foreseen);
        assert!(foreseen > 600 && foreseen + 10 < crossed, "seed {seed}: {foreseen} {crossed}");
    }
}

#[test]
fn a_gap_drops_short_memory_only() {
    let mut forecaster = feed(12, 60.0, &[100.0; 300]);
    forecaster.observe(Timestamp::from_secs(300 * 60 + 6_000), Sample::new(500.0, 0.0));
    let forecast = forecaster.forecast(900.0).expect("still known");
    assert!(forecast.mean.iter().all(|value| value.is_finite() && *value < 900.0), "{:?}", forecast.mean);
}

#[test]
fn a_thousand_routers_a_second() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let noise = Poisson::new(500.0).expect("positive");
    let mut forecasters = vec![Forecaster::new(60, 1.0); 50];
    let mut cycle = |from: u64, to: u64| {
        let started = std::time::Instant::now();
        for second in from..to {
            for forecaster in &mut forecasters {
                let occupied = noise.sample(&mut rng);
                forecaster.observe(Timestamp::from_secs(second), Sample::new(occupied, occupied / 20.0));
                assert!(forecaster.forecast(600.0).is_none_or(|forecast| forecast.mean.len() == 60));
            }
        }
        started.elapsed().as_secs_f64() / ((to - from) * 50) as f64
    };
    cycle(0, 360);
    let each_s = cycle(360, 480);
    println!("{:.0} us a router and cycle at horizon 60", each_s * 1e6);
    // The budget is 1 ms on an idle core; the bound is wide because tests share theirs.
    assert!(each_s < 4e-3, "{each_s} s");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_series_gives_ordered_finite_forecasts(
        values in prop::collection::vec(prop_oneof![5 => 0.0f64..1e4, 1 => Just(0.0), 1 => 0.0f64..1e12, 1 => Just(f64::NAN)], 1..400),
        horizon in 1usize..40,
        limit in 0.0f64..1e5,
    ) {
        let forecaster = feed(horizon, 1.0, &values);
        if let Some(forecast) = forecaster.forecast(limit) {
            prop_assert_eq!(forecast.mean.len(), horizon);
            prop_assert!((0.0..=1.0).contains(&forecast.breach_probability));
            prop_assert_eq!(forecast.breach_in_s.is_some(), forecast.breach_probability > 0.0);
            for ((lo, mean), hi) in forecast.lo80.iter().zip(&forecast.mean).zip(&forecast.hi80) {
                prop_assert!(lo.is_finite() && mean.is_finite() && hi.is_finite());
                prop_assert!(lo <= hi && *lo >= 0.0);
            }
        }
    }
}
