//! Error and breach figures on public series, where they are at hand.

use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use super::*;

/// Second column of a gzipped series in `$FORESHADOW_DATA` or `../shared/data`; says so where there is none.
fn series(name: &str) -> Option<Vec<f64>> {
    let root = std::env::var("FORESHADOW_DATA").map_or_else(|_| PathBuf::from("../shared"), PathBuf::from);
    let places = [root.join("data"), root.clone()].map(|folder| folder.join(format!("{name}.csv.gz")));
    let Some(path) = places.iter().find(|path| path.is_file()) else {
        println!("skipped: no {name}.csv.gz in {} (set FORESHADOW_DATA)", root.display());
        return None;
    };
    let output = Command::new("gzip").arg("-dc").arg(path).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        println!("skipped: gzip is missing or cannot read {}", path.display());
        return None;
    };
    let mut text = String::new();
    output.stdout.as_slice().read_to_string(&mut text).expect("series are text");
    Some(text.lines().skip(1).filter_map(|line| line.split(',').nth(1)?.parse().ok()).collect())
}

#[derive(Debug, Default)]
struct Figures {
    relative_mae: [f64; 3],
    covered: [f64; 3],
    auc: f64,
    brier: f64,
    f1: f64,
}

const STEPS: [usize; 3] = [1, 5, 12];

/// Rolling origin over the whole series, judged on its last quarter; breach as in docs/FORECAST.md.
fn figures(values: &[f64]) -> Figures {
    let horizon = 12;
    let mut sorted = values[..values.len() * 3 / 5].to_vec();
    sorted.sort_by(f64::total_cmp);
    let limit = sorted[sorted.len() * 9 / 10];
    let judged_from = values.len() * 3 / 4;
    let mut forecaster = Forecaster::new(horizon, 60.0);
    let (mut error, mut naive, mut inside, mut count) = ([0.0; 3], [0.0; 3], [0.0; 3], 0.0);
    let mut breaches = Vec::new();
    for (at, value) in values.iter().enumerate().take(values.len() - horizon) {
        forecaster.observe(Timestamp::from_secs(at as u64 * 60), Sample::new(*value, 0.0));
        if at < judged_from {
            continue;
        }
        let forecast = forecaster.forecast(limit).expect("long history");
        for (which, step) in STEPS.into_iter().enumerate() {
            let truth = values[at + step];
            error[which] += (forecast.mean[step - 1] - truth).abs();
            naive[which] += (value - truth).abs();
            let covers = (forecast.lo80[step - 1]..=forecast.hi80[step - 1]).contains(&truth);
            inside[which] += f64::from(u8::from(covers));
        }
        count += 1.0;
        if *value <= limit {
            let crosses = values[at + 1..=at + horizon].iter().any(|later| *later > limit);
            breaches.push((forecast.breach_probability, crosses));
        }
    }
    let relative_mae = std::array::from_fn(|which| error[which] / naive[which]);
    let (auc, brier, f1) = classify(breaches);
    Figures { relative_mae, covered: inside.map(|inside| inside / count), auc, brier, f1 }
}

fn classify(mut breaches: Vec<(f64, bool)>) -> (f64, f64, f64) {
    let brier = breaches.iter().map(|(p, crosses)| (p - f64::from(u8::from(*crosses))).powi(2)).sum::<f64>()
        / breaches.len().max(1) as f64;
    let counted = |alarm: bool, crosses: bool| {
        breaches.iter().filter(|(p, truth)| (*p >= 0.4) == alarm && *truth == crosses).count() as f64
    };
    let (hit, false_alarm, missed) = (counted(true, true), counted(true, false), counted(false, true));
    let f1 = 2.0 * hit / (2.0 * hit + false_alarm + missed).max(1.0);
    breaches.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut positives, mut at) = (0.0, 0.0, 0);
    while at < breaches.len() {
        let equal = breaches[at..].iter().take_while(|breach| breach.0 == breaches[at].0).count();
        let rank = at as f64 + (equal as f64 + 1.0) / 2.0;
        let crossing = breaches[at..at + equal].iter().filter(|breach| breach.1).count() as f64;
        rank_sum += rank * crossing;
        positives += crossing;
        at += equal;
    }
    let negatives = breaches.len() as f64 - positives;
    let auc = (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives).max(1.0);
    (auc, brier, f1)
}

#[test]
fn better_than_the_last_value_on_public_series() {
    // The greatest MAE relative to the last value that is accepted at 1, 5 and 12 steps.
    let accepted = [("nasa_http_1min", [0.88, 0.87, 0.88]), ("msft_ingress_01_1min", [0.93, 0.78, 0.78])];
    println!("series                relative MAE h 1/5/12   80 % bands cover    AUC   Brier  F1");
    for (name, accepted) in accepted {
        let Some(mut values) = series(name) else { continue };
        values.truncate(14 * 1_440);
        let figures = figures(&values);
        let show = |of: [f64; 3]| of.map(|value| format!("{value:.3}")).join("/");
        println!(
            "{name:22} {}   {}   {:.3} {:.3} {:.3}",
            show(figures.relative_mae),
            show(figures.covered),
            figures.auc,
            figures.brier,
            figures.f1
        );
        for (which, step) in STEPS.into_iter().enumerate() {
            let (error, covered) = (figures.relative_mae[which], figures.covered[which]);
            assert!(error < accepted[which], "{name} at {step} steps: {error}");
            assert!((0.72..0.88).contains(&covered), "{name} at {step} steps: bands cover {covered}");
        }
    }
}
