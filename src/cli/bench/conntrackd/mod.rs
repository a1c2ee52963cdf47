//! `bench conntrackd`: the agent beside conntrackd (FTFW), one after the other under the same load in the same namespaces.
//!
//! Short TCP connections pass router 1, and some long ones stay. Measured are the bytes on the mirror link, the processor time
//! of both programs of a pair, and the delay from a client's `connect` until router 2 knows of it: for the agent until the
//! connection is in its cache, for conntrackd until the datagram is at router 2's interface, which is in conntrackd's favour.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::super::{parse_duration, write_json};
use lab::{Pair, Process};
use load::{Opened, Seen, read_log};
pub(super) use load::{PartArgs, run as run_part};
pub(crate) use load::{Seen as TraceEntry, write_log};

mod lab;
mod load;

/// Set in the process that is in namespaces of its own already.
const INSIDE: &str = "FORESHADOW_BENCH_INSIDE";
const REPORT: &str = "target/bench/conntrackd.json";

#[derive(Debug, Args)]
pub(super) struct ConntrackdArgs {
    /// Report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = REPORT)]
    json: PathBuf,
    /// How long each load takes
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    time: Duration,
    /// New connections a second; 0: as many as the machine makes
    #[arg(long, value_name = "N", default_value_t = 5_500)]
    rate: u32,
    /// Connections that stay open
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    long: usize,
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    version: &'static str,
    cores: usize,
    rate_asked: u32,
    results: BTreeMap<&'static str, Figures>,
    /// Ours over conntrackd's: below 1, ours is less.
    ratio: BTreeMap<&'static str, f64>,
    skipped: BTreeMap<&'static str, String>,
}

/// What one pair made of the load.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Figures {
    connections: u64,
    failed: u64,
    connections_per_s: f64,
    /// Events of the kernel a connection, as the agent counted them.
    events_per_connection: f64,
    mirror_bytes: u64,
    bytes_per_connection: f64,
    cpu_source_s: f64,
    cpu_shadow_s: f64,
    /// Both together, for a million events of the kernel.
    cpu_s_per_million_updates: f64,
    delay_samples: usize,
    delay_p50_us: u64,
    delay_p99_us: u64,
    delay_max_us: u64,
    /// Afterwards: connections of the kernel, and of the peer's cache.
    live: u64,
    held: u64,
}

pub(super) fn run(args: &ConntrackdArgs, folder: &Path) -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_none() {
        return isolate();
    }
    lab::build()?;
    let mut report = Report {
        bench: "conntrackd",
        version: env!("CARGO_PKG_VERSION"),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        rate_asked: args.rate,
        results: BTreeMap::new(),
        ratio: BTreeMap::new(),
        skipped: BTreeMap::new(),
    };
    let server = lab::start_server(folder)?;
    let mut events = 0.0;
    for ours in [true, false] {
        match measure(args, ours, folder, &mut events) {
            Ok(figures) => drop(report.results.insert(name(ours), figures)),
            Err(error) if ours => return Err(error),
            Err(error) => {
                writeln!(io::stderr(), "skipped: conntrackd: {error:#}")?;
                report.skipped.insert(name(ours), format!("{error:#}"));
            }
        }
    }
    drop(server);
    if let (Some(ours), Some(peer)) = (report.results.get(name(true)), report.results.get(name(false))) {
        report.ratio = BTreeMap::from([
            ("bytes_per_connection", ours.bytes_per_connection / peer.bytes_per_connection),
            ("cpu_s_per_million_updates", ours.cpu_s_per_million_updates / peer.cpu_s_per_million_updates),
        ]);
    }
    write_json(&args.json, &report)
}

fn name(ours: bool) -> &'static str {
    if ours { "foreshadow" } else { "conntrackd" }
}

/// The same command in namespaces of its own: whatever it makes or starts ends with it.
fn isolate() -> anyhow::Result<()> {
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .context("cannot run unshare")?;
    if !status.success() {
        bail!("the benchmark failed in its namespaces ({status}); it needs root, nft, conntrack and iproute2");
    }
    Ok(())
}

fn measure(args: &ConntrackdArgs, ours: bool, folder: &Path, events: &mut f64) -> anyhow::Result<Figures> {
    let pair = Pair::start(ours, folder)?;
    pair.until("begins with an empty kernel", |_| Ok(lab::live()? == 0))?;
    let (bytes, cpu) = (lab::mirror_bytes()?, pair.cpu_ns());
    let mut client: Process = lab::start_client(folder, args.rate, args.time, args.long)?;
    let opened: Opened = serde_json::from_str(&client.line()?).context("the client failed")?;
    // Until the short ones are forgotten, and the peer knows it.
    let long = opened.long;
    pair.until("holds what is live", |pair| Ok(lab::live()? == long && pair.held()? == long))?;
    let spent = [0, 1].map(|place| (pair.cpu_ns()[place] - cpu[place]) as f64 / 1e9);
    let crossed = lab::mirror_bytes()? - bytes;
    let connections = opened.short + opened.long;
    if ours {
        let kernel = pair.answer(1)?.report.kernel;
        *events = (kernel.new + kernel.updates + kernel.ended) as f64 / connections as f64;
    }
    let (live, held, arrivals) = (lab::live()?, pair.held()?, pair.arrivals());
    client.end()?;
    pair.end()?;
    let delays = delays(&read_log(&folder.join("opened"))?, &read_log(&arrivals)?);
    let quantile = |q: f64| delays.get(((delays.len() as f64 - 1.0) * q).round() as usize).copied().unwrap_or(0);
    Ok(Figures {
        connections,
        failed: opened.failed,
        connections_per_s: opened.short as f64 / opened.seconds,
        events_per_connection: *events,
        mirror_bytes: crossed,
        bytes_per_connection: crossed as f64 / connections as f64,
        cpu_source_s: spent[0],
        cpu_shadow_s: spent[1],
        cpu_s_per_million_updates: (spent[0] + spent[1]) / (*events * connections as f64) * 1e6,
        delay_samples: delays.len(),
        delay_p50_us: quantile(0.5),
        delay_p99_us: quantile(0.99),
        delay_max_us: quantile(1.0),
        live,
        held,
    })
}

/// From opening to the first arrival that follows, ascending. Ports are used again.
fn delays(opened: &[Seen], arrived: &[Seen]) -> Vec<u64> {
    let mut moments: HashMap<(u16, u16), Vec<(u64, bool)>> = HashMap::new();
    for one in opened {
        moments.entry((one.client_port, one.server_port)).or_default().push((one.at_us, false));
    }
    moments.values_mut().for_each(|moments| moments.sort_unstable());
    let mut delays = Vec::new();
    for one in arrived {
        let Some(moments) = moments.get_mut(&(one.client_port, one.server_port)) else { continue };
        let place = moments.partition_point(|(at, _)| *at <= one.at_us);
        if let Some((at, told)) = place.checked_sub(1).and_then(|place| moments.get_mut(place))
            && !*told
        {
            *told = true;
            delays.push(one.at_us - *at);
        }
    }
    delays.sort_unstable();
    delays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_from_opening_to_the_first_arrival() {
        let seen = |client_port, at_us| Seen { client_port, server_port: 80, at_us };
        let opened = [seen(1, 100), seen(1, 900), seen(2, 50), seen(3, 10)];
        let arrived = [seen(1, 110), seen(1, 120), seen(2, 80), seen(1, 905), seen(9, 1)];
        assert_eq!(delays(&opened, &arrived), [5, 10, 30]);
    }
}
