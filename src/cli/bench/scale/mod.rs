//! `bench scale`: how many switches a controller holds with port statistics every second.
//!
//! Every contender is a process of its own and they run one after another. Switches are added step by step until the
//! contender is behind: [`LATE_IN_A_ROW`] rounds in a row whose answers were not all taken within their second, fewer
//! than [`RATE_MIN`] of the requests that the seconds called for, or a session that ended.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;

use super::contender::{Contender, Kind};
use crate::cli::write_json;
use load::{Arrival, Load};
use watch::{Round, Rounds};

mod load;
mod watch;

pub(super) use watch::{Account, Usage};

/// So many late rounds one after another, and the contender is behind.
const LATE_IN_A_ROW: usize = 5;
/// Statistics requests seen, over those that one a second and switch makes. A round that begins late moves others out of
/// the time measured, so a little may be missing.
const RATE_MIN: f64 = 0.9;
/// All handshakes of one step.
const GROW_PATIENCE: Duration = Duration::from_secs(20);
/// All handshakes of the storm; a kernel whose listener's queue is full makes switches try again after 1, 3, 7 and 15 s.
const STORM_PATIENCE: Duration = Duration::from_secs(30);
/// A step that took in new switches has so long to keep its first round.
const SETTLE_PATIENCE: Duration = Duration::from_secs(12);
/// How often rounds are looked for.
const POLL: Duration = Duration::from_millis(100);
/// Sizes of the climb above the first step.
const STEP: usize = 1_000;
/// From here on steps are twice as large, so that the climb ends in time.
const LARGE: usize = 6_000;

#[derive(Debug, Args)]
pub(super) struct ScaleArgs {
    /// Report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = super::REPORT_SCALE)]
    json: PathBuf,
    /// Switches of the first step, which all connect at once
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = at_least_two)]
    switches: usize,
    /// Switches at which the climb ends, whether a contender is behind or not
    #[arg(long, value_name = "N", default_value_t = 16_000, value_parser = at_least_two)]
    switches_max: usize,
    /// Rounds measured in each step
    #[arg(long, value_name = "S", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// After so long a contender climbs no further
    #[arg(long = "for", value_name = "DURATION", default_value = "110s", value_parser = crate::cli::parse_duration)]
    time: Duration,
    /// Controllers that take part
    #[arg(long, value_name = "NAME", value_enum, value_delimiter = ',', default_values_t = [Kind::Foreshadow, Kind::OsKen])]
    controllers: Vec<Kind>,
}

/// More descriptors than this no process gets by default, even where it asks.
const SWITCHES_MAX: usize = 60_000;

fn at_least_two(text: &str) -> Result<usize, String> {
    let number = text.parse().map_err(|error| format!("{error}"))?;
    match number {
        2..=SWITCHES_MAX => Ok(number),
        _ => Err(format!("expected 2 to {SWITCHES_MAX}, came {number}")),
    }
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    version: &'static str,
    cores: usize,
    ports_per_switch: u32,
    wall_s: f64,
    results: BTreeMap<&'static str, Climb>,
    /// What ours holds over what the peer holds, and the peer's memory at its most over ours at as many switches.
    held_ratio: BTreeMap<&'static str, f64>,
    rss_ratio: BTreeMap<&'static str, f64>,
    skipped: BTreeMap<&'static str, String>,
}

/// All switches of the first step connect to a fresh contender at once.
#[derive(Debug, Serialize)]
struct Storm {
    switches: usize,
    /// Those that have described their ports by the end.
    handshakes: usize,
    /// From the first connect to the last description, or to the end of patience.
    seconds: f64,
    sessions_lost: usize,
}

/// What became of one contender.
#[derive(Debug, Serialize)]
struct Climb {
    storm: Storm,
    /// The most switches that were held.
    held_switches: usize,
    /// The most of which every round measured was kept.
    steady_switches: usize,
    /// Why the climb ended.
    ended: String,
    steps: Vec<Step>,
}

/// One number of switches.
#[derive(Debug, Serialize)]
struct Step {
    switches: usize,
    held: bool,
    /// New in this step, and how long all their handshakes took from the first connect on.
    connected: usize,
    handshakes_s: f64,
    rounds: usize,
    rounds_kept: usize,
    /// From the beginning of a round to its last answer, by the contender's own account; kept rounds only.
    round_p50_us: u64,
    round_p99_us: u64,
    /// Statistics answered a second, counted by the switches.
    statistics_per_s: f64,
    /// From request to the moment its answer was taken, by the switches.
    statistics_p50_us: u64,
    statistics_p99_us: u64,
    /// From a packet-in to the packet-out that answers it, meanwhile.
    loop_p50_us: u64,
    loop_p99_us: u64,
    loop_answers: usize,
    loop_lost: u64,
    cpu_s_per_s: f64,
    /// Of the switches themselves, which share the cores.
    load_cpu_s_per_s: f64,
    rss_bytes: u64,
    threads: u64,
    sessions_lost: usize,
}

/// Value at a quantile of what was measured; 0 of nothing.
fn quantile(sorted: &[u64], q: f64) -> u64 {
    sorted.get(((sorted.len() as f64 - 1.0) * q).round() as usize).copied().unwrap_or(0)
}

fn sorted(values: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable();
    values
}

/// Runs the benchmark.
pub(super) async fn run(args: &ScaleArgs, folder: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut report = Report {
        bench: "scale",
        version: env!("CARGO_PKG_VERSION"),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        ports_per_switch: load::PORTS,
        wall_s: 0.0,
        results: BTreeMap::new(),
        held_ratio: BTreeMap::new(),
        rss_ratio: BTreeMap::new(),
        skipped: BTreeMap::new(),
    };
    for &kind in &args.controllers {
        match climb(kind, args, folder).await {
            Ok(climb) => drop(report.results.insert(kind.name(), climb)),
            Err(error) if kind == Kind::Foreshadow => return Err(error),
            Err(error) => {
                writeln!(io::stderr(), "skipped: {}: {error:#}", kind.name())?;
                report.skipped.insert(kind.name(), format!("{error:#}"));
            }
        }
    }
    compare(&mut report);
    report.wall_s = began.elapsed().as_secs_f64();
    print(&report)?;
    write_json(&args.json, &report)
}

async fn storm(kind: Kind, switches: usize, folder: &Path) -> anyhow::Result<Storm> {
    let (contender, _) = Contender::start_scale(kind, folder)?;
    let mut load = Load::new(contender.address)?;
    // The time of its start does not count.
    let first = load.grow(1, Arrival::Storm, GROW_PATIENCE).await;
    first.map_err(|error| error.context(format!("{}; it said: {}", kind.name(), contender.last_words())))?;
    let began = Instant::now();
    let seconds = match load.grow(switches - 1, Arrival::Storm, STORM_PATIENCE).await {
        Ok(took) => took.as_secs_f64(),
        Err(_) => began.elapsed().as_secs_f64(),
    };
    let storm = Storm { switches, handshakes: load.handshaken(), seconds, sessions_lost: load.lost() };
    let Storm { handshakes, .. } = storm;
    writeln!(io::stderr(), "{}: {handshakes} of {switches} handshakes at once in {seconds:.2} s", kind.name())?;
    Ok(storm)
}

async fn climb(kind: Kind, args: &ScaleArgs, folder: &Path) -> anyhow::Result<Climb> {
    let mut switches = args.switches.min(args.switches_max);
    let storm = storm(kind, switches, folder).await?;
    let (contender, account) = Contender::start_scale(kind, folder)?;
    let mut climb = Climb { storm, held_switches: 0, steady_switches: 0, ended: String::new(), steps: Vec::new() };
    let mut load = Load::new(contender.address)?;
    let mut rounds = Rounds::new(account);
    let began = Instant::now();
    loop {
        let time = Duration::from_secs(args.seconds);
        let step = match step(&contender, &mut load, &mut rounds, switches, time).await {
            Ok(step) => step,
            Err(error) if climb.steps.is_empty() => {
                let words = contender.last_words();
                return Err(error.context(format!("{} with {switches} switches; it said: {words}", kind.name())));
            }
            Err(error) => {
                climb.ended = format!("at {switches} switches: {error:#}");
                break;
            }
        };
        writeln!(io::stderr(), "{}: {}", kind.name(), told(&step))?;
        let held = step.held;
        if held && step.rounds_kept == step.rounds {
            climb.steady_switches = switches;
        }
        climb.steps.push(step);
        if !held {
            climb.ended = format!("behind at {switches} switches");
            break;
        }
        climb.held_switches = switches;
        if switches >= args.switches_max {
            climb.ended = format!("held the {switches} switches that were asked for");
            break;
        }
        if began.elapsed() > args.time {
            climb.ended = format!("out of time at {switches} switches, which it held");
            break;
        }
        let more = if switches >= LARGE { 2 * STEP } else { STEP };
        switches = (switches + more).min(args.switches_max);
    }
    Ok(climb)
}

/// Brings the load to so many switches, waits for the first round that is kept, and measures.
async fn step(
    contender: &Contender,
    load: &mut Load,
    rounds: &mut Rounds,
    switches: usize,
    time: Duration,
) -> anyhow::Result<Step> {
    let connected = switches - load.size();
    let handshakes = load.grow(connected, Arrival::Paced, GROW_PATIENCE).await?;
    settle(rounds).await?;
    load.measure();
    let (began, before, before_own) = (Instant::now(), contender.usage(), Usage::of(std::process::id()));
    let answered = load.answered();
    let mut seen = Vec::new();
    let mut late = 0;
    while began.elapsed() < time && late < LATE_IN_A_ROW {
        tokio::time::sleep(POLL).await;
        for round in rounds.poll().await? {
            late = if round == Round::Late { late + 1 } else { 0 };
            seen.push(round);
        }
    }
    let (after, after_own) = (contender.usage(), Usage::of(std::process::id()));
    let took = began.elapsed().as_secs_f64();
    let measured = load.measured();
    let statistics_per_s = (load.answered() - answered) as f64 / took;
    let kept = sorted(seen.iter().filter_map(|round| match round {
        Round::Kept(took_us) => Some(*took_us),
        Round::Late => None,
    }));
    let statistics = sorted(measured.statistics_us.iter().map(|us| u64::from(*us)));
    let answers = sorted(measured.loop_us.iter().map(|us| u64::from(*us)));
    let on_time = late < LATE_IN_A_ROW && !kept.is_empty() && statistics_per_s >= RATE_MIN * switches as f64;
    Ok(Step {
        switches,
        held: on_time && load.lost() == 0,
        connected,
        handshakes_s: handshakes.as_secs_f64(),
        rounds: seen.len(),
        rounds_kept: kept.len(),
        round_p50_us: quantile(&kept, 0.5),
        round_p99_us: quantile(&kept, 0.99),
        statistics_per_s,
        statistics_p50_us: quantile(&statistics, 0.5),
        statistics_p99_us: quantile(&statistics, 0.99),
        loop_p50_us: quantile(&answers, 0.5),
        loop_p99_us: quantile(&answers, 0.99),
        loop_answers: answers.len(),
        loop_lost: measured.loop_lost,
        cpu_s_per_s: (after.cpu_s - before.cpu_s) / took,
        load_cpu_s_per_s: (after_own.cpu_s - before_own.cpu_s) / took,
        rss_bytes: after.rss_bytes,
        threads: after.threads,
        sessions_lost: load.lost(),
    })
}

/// Until a round is kept; one that never comes shows in the measurement.
async fn settle(rounds: &mut Rounds) -> anyhow::Result<()> {
    let began = Instant::now();
    // Rounds that ended before all switches were there say nothing of them.
    rounds.poll().await?;
    let mut kept = 0;
    // The first may have begun before the last switch came.
    while kept < 2 && began.elapsed() < SETTLE_PATIENCE {
        tokio::time::sleep(POLL).await;
        kept += rounds.poll().await?.iter().filter(|round| matches!(round, Round::Kept(_))).count();
    }
    Ok(())
}

fn compare(report: &mut Report) {
    let Some(ours) = report.results.get(Kind::Foreshadow.name()) else { return };
    for (name, peer) in report.results.iter().filter(|(name, _)| **name != Kind::Foreshadow.name()) {
        if peer.held_switches > 0 {
            report.held_ratio.insert(name, ours.held_switches as f64 / peer.held_switches as f64);
        }
        let at =
            |climb: &Climb| climb.steps.iter().find(|step| step.switches == peer.held_switches).map(|s| s.rss_bytes);
        if let (Some(ours), Some(theirs)) = (at(ours), at(peer)) {
            report.rss_ratio.insert(name, theirs as f64 / ours.max(1) as f64);
        }
    }
}

fn told(step: &Step) -> String {
    format!(
        "{} switches {}: handshakes {:.2} s, {} of {} rounds kept, p99 {} ms, {:.2} CPU s/s, {} MiB, {} threads",
        step.switches,
        if step.held { "held" } else { "not held" },
        step.handshakes_s,
        step.rounds_kept,
        step.rounds,
        step.round_p99_us / 1_000,
        step.cpu_s_per_s,
        step.rss_bytes >> 20,
        step.threads,
    )
}

fn print(report: &Report) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "controller",
        "switches",
        "held",
        "handshakes s",
        "round p99 ms",
        "answer taken p99 ms",
        "loop p99 us",
        "CPU s/s",
        "MiB",
        "threads",
    ]);
    for (name, climb) in &report.results {
        for step in &climb.steps {
            table.add_row([
                (*name).to_owned(),
                step.switches.to_string(),
                if step.held { "yes" } else { "no" }.to_owned(),
                format!("{:.2}", step.handshakes_s),
                format!("{:.1}", step.round_p99_us as f64 / 1e3),
                format!("{:.1}", step.statistics_p99_us as f64 / 1e3),
                step.loop_p99_us.to_string(),
                format!("{:.2}", step.cpu_s_per_s),
                (step.rss_bytes >> 20).to_string(),
                step.threads.to_string(),
            ]);
        }
    }
    writeln!(io::stderr(), "{table}")?;
    for (name, climb) in &report.results {
        let Climb { held_switches, steady_switches, ended, .. } = climb;
        writeln!(io::stderr(), "{name}: held {held_switches}, every round kept up to {steady_switches}; {ended}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(switches: usize, held: bool, rss_bytes: u64) -> Step {
        Step {
            switches,
            held,
            connected: switches,
            handshakes_s: 0.5,
            rounds: 6,
            rounds_kept: 6,
            round_p50_us: 1,
            round_p99_us: 2,
            statistics_per_s: switches as f64,
            statistics_p50_us: 1,
            statistics_p99_us: 2,
            loop_p50_us: 1,
            loop_p99_us: 2,
            loop_answers: 9,
            loop_lost: 0,
            cpu_s_per_s: 0.5,
            load_cpu_s_per_s: 0.5,
            rss_bytes,
            threads: 3,
            sessions_lost: 0,
        }
    }

    #[test]
    fn memory_is_compared_at_what_the_peer_held() {
        let storm = || Storm { switches: 1_000, handshakes: 1_000, seconds: 0.5, sessions_lost: 0 };
        let climb = |held, steps| Climb {
            storm: storm(),
            held_switches: held,
            steady_switches: held,
            ended: String::new(),
            steps,
        };
        let results = BTreeMap::from([
            ("foreshadow", climb(4_000, vec![step(1_000, true, 10), step(2_000, true, 20), step(4_000, true, 40)])),
            ("os-ken", climb(2_000, vec![step(1_000, true, 90), step(2_000, true, 100), step(3_000, false, 150)])),
        ]);
        let mut report = Report {
            bench: "scale",
            version: "0",
            cores: 2,
            ports_per_switch: 24,
            wall_s: 1.0,
            results,
            held_ratio: BTreeMap::new(),
            rss_ratio: BTreeMap::new(),
            skipped: BTreeMap::new(),
        };
        compare(&mut report);
        assert_eq!((report.held_ratio["os-ken"], report.rss_ratio["os-ken"]), (2.0, 5.0));
    }

    #[test]
    fn quantiles_of_little_and_of_nothing() {
        assert_eq!(quantile(&sorted([3, 1, 2]), 0.5), 2);
        assert_eq!(quantile(&sorted([3, 1, 2]), 0.99), 3);
        assert_eq!(quantile(&[], 0.5), 0);
    }
}
