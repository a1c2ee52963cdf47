//! `bench replay`: every public series and matrix at hand under all policies, a row an input and none left out.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::{Args, Parser};
use serde::Serialize;

use crate::cli::replay::inputs::InputArgs;
use crate::cli::write_json;
use crate::config::PolicyKind;
use crate::replay::{Replay, Report};

/// Of the active count: above it an input is one that can be forecast at all.
const LAG1_MIN: f64 = 0.5;
/// Part of the gap between reactive and oracle that has to be closed there.
const PART_MIN: f64 = 0.8;
/// Four routers, each of them a shadow of the others; series drive them a quarter of their length apart.
const FABRIC: &str = "topologies/demo.yaml";
const POLICIES: [PolicyKind; 5] = [
    PolicyKind::Static,
    PolicyKind::Reactive,
    PolicyKind::Predictive,
    PolicyKind::PredictiveNoAnomaly,
    PolicyKind::Oracle,
];

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "target/bench/replay.json")]
    json: PathBuf,
    /// Folder with series (`data`) and topologies with their matrices (`topologies`); $FORESHADOW_DATA, else ../shared
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Inputs whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// What `replay` would be called with.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Call {
    #[arg(long)]
    topology: PathBuf,
    #[arg(long)]
    traffic: String,
    #[command(flatten)]
    inputs: InputArgs,
}

#[derive(Clone, Debug)]
struct Case {
    name: String,
    arguments: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Table {
    bench: &'static str,
    version: &'static str,
    seed: u64,
    rows: Vec<Row>,
}

/// One input.
#[derive(Debug, Serialize)]
struct Row {
    input: String,
    /// Arguments of `replay` that repeat it.
    arguments: String,
    routers: usize,
    connections: u64,
    /// Mean over the routers of the correlation of the active count with itself a cycle before.
    lag1: f64,
    refused_static: u64,
    refused_reactive: u64,
    refused_predictive: u64,
    refused_predictive_no_anomaly: u64,
    refused_oracle: u64,
    /// Days of one router each, and how many of them had no breach.
    days: u64,
    quiet_days: u64,
    quiet_day_shifts: u64,
    false_shifts: u64,
    shifts: u64,
    established_moved: u64,
    verdict: &'static str,
    wall_s: f64,
}

pub(super) fn run(args: &ReplayArgs, folder: &Path) -> anyhow::Result<()> {
    let data = args.data.clone().or_else(|| std::env::var_os("FORESHADOW_DATA").map(PathBuf::from));
    let data = data.unwrap_or_else(|| PathBuf::from("../shared"));
    let cases = cases(&data, folder)?;
    if cases.is_empty() {
        writeln!(io::stderr(), "skipped: no series and no matrices below {} (FORESHADOW_DATA)", data.display())?;
    }
    let chosen: Vec<Case> = cases.into_iter().filter(|case| case.name.contains(&args.only)).collect();
    let mut rows = Vec::with_capacity(chosen.len());
    for (number, case) in chosen.iter().enumerate() {
        let row = judge(case, args.seed).with_context(|| case.name.clone())?;
        writeln!(io::stderr(), "{}/{} {} ({:.0} s)", number + 1, chosen.len(), row.markdown(), row.wall_s)?;
        rows.push(row);
    }
    let mut text = HEADER.to_owned();
    rows.iter().for_each(|row| {
        let _ = writeln!(text, "{}", row.markdown());
    });
    write!(io::stderr(), "{text}")?;
    write_json(&args.json, &Table { bench: "replay", version: env!("CARGO_PKG_VERSION"), seed: args.seed, rows })
}

const HEADER: &str = "| input | connections | lag 1 | static | reactive | predictive | without anomaly | oracle | gap closed | \
quiet days: shifts | false shifts | moved | verdict |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

impl Row {
    /// Part of the gap between reactive and oracle that this many refused close; `None` where there is none.
    fn part(&self, refused: u64) -> Option<f64> {
        let gap = self.refused_reactive as f64 - self.refused_oracle as f64;
        (gap > 0.0).then(|| (self.refused_reactive as f64 - refused as f64) / gap)
    }

    fn judged(&self) -> &'static str {
        let closes = self.part(self.refused_predictive).is_none_or(|part| part >= PART_MIN);
        let no_worse = self.refused_predictive <= self.refused_reactive;
        match (self.lag1 > LAG1_MIN, closes, no_worse) {
            (true, true, _) => "closes",
            (true, false, _) => "SHORT",
            (false, _, true) => "no worse",
            (false, _, false) => "WORSE",
        }
    }

    fn markdown(&self) -> String {
        let part = self.part(self.refused_predictive);
        format!(
            "| {} | {} | {:.2} | {} | {} | {} | {} | {} | {} | {}: {} | {} of {} | {} | {} |",
            self.input,
            self.connections,
            self.lag1,
            self.refused_static,
            self.refused_reactive,
            self.refused_predictive,
            self.refused_predictive_no_anomaly,
            self.refused_oracle,
            part.map_or_else(|| "-".to_owned(), |part| format!("{:.0} %", part * 100.0)),
            self.quiet_days,
            self.quiet_day_shifts,
            self.false_shifts,
            self.shifts,
            self.established_moved,
            self.verdict
        )
    }
}

fn judge(case: &Case, seed: u64) -> anyhow::Result<Row> {
    let began = Instant::now();
    let call = Call::try_parse_from(&case.arguments)?;
    let (replay, _notes) = call.inputs.load(&call.topology, &call.traffic, seed)?;
    let reports = POLICIES.map(|policy| replay.run(policy, &mut |_, _| {}));
    let mut row = row(case, &replay, &reports);
    row.verdict = row.judged();
    row.wall_s = began.elapsed().as_secs_f64();
    Ok(row)
}

fn row(case: &Case, replay: &Replay, reports: &[Report; 5]) -> Row {
    let routers = replay.fabric.routers();
    let lag1 = (0..routers).map(|router| replay.unshifted.lag1(router)).sum::<f64>() / routers as f64;
    let [fixed, reactive, predictive, no_anomaly, oracle] = reports;
    Row {
        input: case.name.clone(),
        arguments: case.arguments.join(" "),
        routers,
        connections: replay.traffic.connections(),
        lag1,
        refused_static: fixed.refused_connections,
        refused_reactive: reactive.refused_connections,
        refused_predictive: predictive.refused_connections,
        refused_predictive_no_anomaly: no_anomaly.refused_connections,
        refused_oracle: oracle.refused_connections,
        days: predictive.days,
        quiet_days: predictive.quiet_days,
        quiet_day_shifts: predictive.quiet_day_shifts,
        false_shifts: predictive.false_shifts,
        shifts: predictive.shifts,
        established_moved: predictive.established_moved,
        verdict: "",
        wall_s: 0.0,
    }
}

/// Files of a folder whose names end so, by name.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    found
}

/// The name of a file up to its first dot.
fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split('.').next().unwrap_or_default().to_owned()
}

fn case(name: String, topology: &Path, traffic: &Path, more: &str) -> Case {
    let words = ["--topology".to_owned(), topology.display().to_string(), "--traffic".to_owned()];
    let more = more.split_whitespace().map(str::to_owned);
    let arguments = words.into_iter().chain([traffic.display().to_string()]).chain(more);
    // What is the same for all of them.
    let capacity = ["--capacity", "p95", "--threshold", "10%"].map(str::to_owned);
    Case { name, arguments: arguments.chain(capacity).collect() }
}

fn cases(data: &Path, folder: &Path) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for path in files(&data.join("data"), ".csv.gz") {
        for column in columns(&path)? {
            cases.push(case(
                format!("{} {column}", stem(&path)),
                Path::new(FABRIC),
                &path,
                &format!("--column {column}"),
            ));
        }
    }
    let hourly = data.join("data/m4-hourly/train.csv.gz");
    if hourly.is_file() {
        let count = text_lines(&hourly)?.count() - 1;
        let topology = folder.join("ring.json");
        std::fs::write(&topology, ring(count))?;
        let more = format!("--interval 1h --routers {count}");
        cases.push(case("m4-hourly, a router a series".to_owned(), &topology, &hourly, &more));
    }
    let topologies = data.join("topologies");
    let geant = topologies.join("figret-mit/GEANT");
    for path in files(&geant, ".hist") {
        cases.push(case("GEANT".to_owned(), &geant.join("GEANT.json"), &path, "--interval 15m --scale 0.3"));
    }
    let pods = topologies.join("figret-mit/Facebook_pod_a");
    for path in files(&pods, ".hist") {
        let more = "--interval 1s --scale 0.1 --subject new";
        cases.push(case(format!("Facebook_pod_a {}", stem(&path)), &pods.join("Facebook_pod_a.json"), &path, more));
    }
    let repetita = topologies.join("repetita");
    for path in files(&repetita, ".demands") {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let topology = repetita.join(format!("{}.graph", stem(&path)));
        cases.push(case(format!("REPETITA {name}"), &topology, &path, "--duration 6h"));
    }
    Ok(cases)
}

fn text_lines(path: &Path) -> anyhow::Result<impl Iterator<Item = io::Result<String>>> {
    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    Ok(BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines())
}

/// Columns that count something: neither times, nor marks, nor durations.
fn columns(path: &Path) -> anyhow::Result<Vec<String>> {
    let header = text_lines(path)?.next().transpose()?.unwrap_or_default();
    let counts = |name: &&str| !["t", "timestamp", "anomaly"].contains(name) && !name.contains("duration");
    Ok(header.split(',').map(str::trim).filter(counts).map(str::to_owned).collect())
}

/// Node-link JSON of so many nodes, each joined with the next.
fn ring(count: usize) -> String {
    let nodes: Vec<String> = (0..count).map(|id| format!("{{\"id\":{id}}}")).collect();
    let link = |id: usize| format!("{{\"source\":{id},\"target\":{}}}", (id + 1) % count);
    let links: Vec<String> = (0..count).map(link).collect();
    format!("{{\"directed\":false,\"nodes\":[{}],\"links\":[{}]}}", nodes.join(","), links.join(","))
}
