//! `bench`: this controller and its peers under one load, in one run.
//!
//! `bench loop` measures the way from a packet-in to the packet-out that answers it, over loopback sockets, and how
//! fast flows and groups are installed when switches come up. Every controller is a process of its own; the load is
//! the same for all and shares this machine's cores with them, so ratios mean more than absolute figures. `bench scale`
//! asks how many switches a controller holds ([`scale`]), `bench conntrackd` what replication costs ([`conntrackd`]).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde::Serialize;

use super::{parse_duration, write_json};
use contender::{Contender, FabricSpec, Kind};
use generator::{Answered, Generator, Installed};

pub(super) mod conntrackd;
mod contender;
mod fake_switch;
mod generator;
mod replay;
mod replication;
mod scale;

/// Where the report goes without `--json`.
const REPORT: &str = "target/bench/report.json";
const REPORT_SCALE: &str = "target/bench/scale.json";

#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Packet-ins answered with packet-outs, and the installation of flows, beside os-ken and ovs-testcontroller
    Loop(LoopArgs),
    /// Switches held with port statistics every second, beside os-ken
    Scale(scale::ScaleArgs),
    /// State replication alone: updates a second on one core, bytes on the wire, memory
    Replication(replication::ReplicationArgs),
    /// Policies over every public series and matrix at hand (docs/REPLAY.md)
    Replay(replay::ReplayArgs),
    /// Connections replicated between two Linux routers, beside conntrackd (as root)
    Conntrackd(conntrackd::ConntrackdArgs),
    /// A part of `bench conntrackd`, in its namespace
    #[command(hide = true)]
    Part(conntrackd::PartArgs),
}

#[derive(Debug, Args)]
struct LoopArgs {
    /// Report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = REPORT)]
    json: PathBuf,
    /// How long each measurement takes
    #[arg(long = "for", value_name = "DURATION", default_value = "3s", value_parser = parse_duration)]
    time: Duration,
    /// Third-stage switches that send requests; may be given more than once (ovs-testcontroller takes 12 at most)
    #[arg(long, value_name = "N", default_values_t = [1, 12], value_parser = clap::value_parser!(u16).range(1..=1000))]
    switches: Vec<u16>,
    /// Controllers that take part
    #[arg(long, value_name = "NAME", value_enum, value_delimiter = ',',
        default_values_t = [Kind::Foreshadow, Kind::OsKen, Kind::OvsTestController])]
    controllers: Vec<Kind>,
}

/// Requests that each switch keeps unanswered: one for latency, many for throughput.
const WINDOWS: [usize; 2] = [1, 32];

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    version: &'static str,
    cores: usize,
    seconds_each: f64,
    packet_in: Vec<Row<Responses>>,
    install: Vec<Row<Rate>>,
    peak_rss_bytes: BTreeMap<&'static str, u64>,
    /// Peers that could not take part, and why.
    skipped: BTreeMap<&'static str, String>,
}

/// One load, what every controller made of it, and ours over each peer's.
#[derive(Debug, Serialize)]
struct Row<T> {
    switches: u16,
    window: usize,
    results: BTreeMap<&'static str, T>,
    /// Our rate over the peer's: above 1, ours is faster.
    rate_ratio: BTreeMap<&'static str, f64>,
}

#[derive(Clone, Debug, Serialize)]
struct Responses {
    responses: usize,
    lost: u64,
    responses_per_s: f64,
    latency_p50_us: u32,
    latency_p99_us: u32,
    latency_max_us: u32,
}

#[derive(Clone, Debug, Serialize)]
struct Rate {
    /// Flow and group changes sent to all switches.
    changes: u64,
    /// Time in which they came, pauses between bursts left out.
    seconds: f64,
    changes_per_s: f64,
}

trait Figures {
    fn rate(&self) -> f64;
}

impl Figures for Responses {
    fn rate(&self) -> f64 {
        self.responses_per_s
    }
}

impl Figures for Rate {
    fn rate(&self) -> f64 {
        self.changes_per_s
    }
}

impl From<&Answered> for Responses {
    fn from(answered: &Answered) -> Self {
        let mut sorted = answered.latencies_us.clone();
        sorted.sort_unstable();
        let quantile = |q: f64| sorted.get(((sorted.len() as f64 - 1.0) * q).round() as usize).copied().unwrap_or(0);
        Self {
            responses: sorted.len(),
            lost: answered.lost,
            responses_per_s: sorted.len() as f64 / answered.took.as_secs_f64(),
            latency_p50_us: quantile(0.5),
            latency_p99_us: quantile(0.99),
            latency_max_us: quantile(1.0),
        }
    }
}

impl From<Installed> for Rate {
    fn from(installed: Installed) -> Self {
        let seconds = installed.took.as_secs_f64();
        let changes_per_s = if seconds > 0.0 { installed.changes as f64 / seconds } else { 0.0 };
        Self { changes: installed.changes, seconds, changes_per_s }
    }
}

impl<T: Figures> Row<T> {
    fn new(switches: u16, window: usize, results: BTreeMap<&'static str, T>) -> Self {
        let ours = results.get(Kind::Foreshadow.name()).map(Figures::rate);
        let peers = results.iter().filter(|(name, peer)| **name != Kind::Foreshadow.name() && peer.rate() > 0.0);
        let rate_ratio = peers.filter_map(|(name, peer)| Some((*name, ours? / peer.rate()))).collect();
        Self { switches, window, results, rate_ratio }
    }
}

/// What one controller made of one fabric.
struct Outcome {
    installed: Installed,
    answered: Vec<Answered>,
    peak_rss_bytes: u64,
}

/// Runs the benchmark that the arguments name.
pub async fn run(args: BenchArgs) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("foreshadow-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = match args.bench {
        Bench::Loop(args) => run_loop(&args, &folder).await,
        Bench::Scale(args) => scale::run(&args, &folder).await,
        Bench::Replay(args) => tokio::task::block_in_place(|| replay::run(&args, &folder)),
        Bench::Replication(args) => replication::run(&args),
        Bench::Conntrackd(args) => tokio::task::block_in_place(|| conntrackd::run(&args, &folder)),
        Bench::Part(args) => tokio::task::block_in_place(|| conntrackd::run_part(&args)),
    };
    // The configurations and logs in it are of no use after the run.
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

async fn run_loop(args: &LoopArgs, folder: &Path) -> anyhow::Result<()> {
    let report = measure_all(args, folder).await?;
    print(&report)?;
    write_json(&args.json, &report)
}

async fn measure_all(args: &LoopArgs, folder: &Path) -> anyhow::Result<Report> {
    let mut report = Report {
        bench: "loop",
        version: env!("CARGO_PKG_VERSION"),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        seconds_each: args.time.as_secs_f64(),
        packet_in: Vec::new(),
        install: Vec::new(),
        peak_rss_bytes: BTreeMap::new(),
        skipped: BTreeMap::new(),
    };
    for &edges in &args.switches {
        let fabric = FabricSpec { edges };
        let mut outcomes = BTreeMap::new();
        let mut changes = 0;
        for &kind in &args.controllers {
            if report.skipped.contains_key(kind.name()) {
                continue;
            }
            match measure(kind, fabric, changes, args.time, folder).await {
                Ok(outcome) => {
                    if kind == Kind::Foreshadow {
                        changes = outcome.installed.changes;
                    }
                    let peak = report.peak_rss_bytes.entry(kind.name()).or_default();
                    *peak = outcome.peak_rss_bytes.max(*peak);
                    outcomes.insert(kind.name(), outcome);
                }
                Err(error) if kind == Kind::Foreshadow => return Err(error),
                Err(error) => {
                    writeln!(io::stderr(), "skipped: {}: {error:#}", kind.name())?;
                    report.skipped.insert(kind.name(), format!("{error:#}"));
                }
            }
        }
        add_rows(&mut report, edges, &outcomes);
    }
    Ok(report)
}

fn add_rows(report: &mut Report, edges: u16, outcomes: &BTreeMap<&'static str, Outcome>) {
    // A hub installs one flow a switch, which is no rate.
    let switches = FabricSpec { edges }.switches();
    let installing = outcomes.iter().filter(|(_, outcome)| outcome.installed.changes > switches);
    let installed = installing.map(|(name, outcome)| (*name, Rate::from(outcome.installed)));
    report.install.push(Row::new(edges, 0, installed.collect()));
    for (position, &window) in WINDOWS.iter().enumerate() {
        let results = outcomes.iter().map(|(name, outcome)| (*name, Responses::from(&outcome.answered[position])));
        report.packet_in.push(Row::new(edges, window, results.collect()));
    }
}

async fn measure(
    kind: Kind,
    fabric: FabricSpec,
    changes: u64,
    time: Duration,
    folder: &Path,
) -> anyhow::Result<Outcome> {
    let contender = Contender::start(kind, fabric, changes, folder)?;
    load(&contender, fabric, time).await.map_err(|error| {
        let words = contender.last_words();
        error.context(format!("{} under {} switches; it said: {words}", kind.name(), fabric.switches()))
    })
}

async fn load(contender: &Contender, fabric: FabricSpec, time: Duration) -> anyhow::Result<Outcome> {
    let mut generator = Generator::start(&fabric.load(), contender.address).await?;
    let installed = generator.installed().await?;
    generator.ready().await?;
    let mut answered = Vec::new();
    for window in WINDOWS {
        answered.push(generator.measure(window, time).await?);
    }
    Ok(Outcome { installed, answered, peak_rss_bytes: contender.peak_rss_bytes() })
}

fn print(report: &Report) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["load", "switches", "controller", "a second", "p50 us", "p99 us", "ours / this"]);
    for row in &report.packet_in {
        for (name, result) in &row.results {
            let load = if row.window == 1 { "latency".to_owned() } else { format!("{} unanswered", row.window) };
            table.add_row([
                load,
                row.switches.to_string(),
                (*name).to_owned(),
                format!("{:.0}", result.responses_per_s),
                result.latency_p50_us.to_string(),
                result.latency_p99_us.to_string(),
                ratio(row, name),
            ]);
        }
    }
    for row in &report.install {
        for (name, result) in &row.results {
            table.add_row([
                format!("install {}", result.changes),
                row.switches.to_string(),
                (*name).to_owned(),
                format!("{:.0}", result.changes_per_s),
                String::new(),
                String::new(),
                ratio(row, name),
            ]);
        }
    }
    writeln!(io::stderr(), "{table}")?;
    Ok(())
}

fn ratio<T>(row: &Row<T>, name: &str) -> String {
    row.rate_ratio.get(name).map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_ratios() {
        let answered = Answered { latencies_us: (1..=101).rev().collect(), lost: 2, took: Duration::from_secs(2) };
        let ours = Responses::from(&answered);
        assert_eq!((ours.latency_p50_us, ours.latency_p99_us, ours.latency_max_us), (51, 100, 101));
        assert_eq!((ours.responses_per_s, ours.lost), (50.5, 2));
        let none = Responses::from(&Answered { latencies_us: vec![], lost: 0, took: Duration::from_secs(1) });
        assert_eq!((none.latency_p50_us, none.responses_per_s), (0, 0.0));
        let mut slower = ours.clone();
        slower.responses_per_s /= 4.0;
        let row = Row::new(1, 1, BTreeMap::from([("foreshadow", ours), ("os-ken", slower), ("dead", none)]));
        assert_eq!(row.rate_ratio, BTreeMap::from([("os-ken", 4.0)]));
    }
}
