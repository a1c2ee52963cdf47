//! `bench replication`: the replication engine alone: from a change to the replica's table, by the second of one core.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::cli::write_json;
use crate::replication::{Change, Config, Replica, Source};
use crate::types::{NodeIndex, Timestamp};
use crate::wire::replication::{Connection, FRAME_OVERHEAD, Flow, Handle, Key, State, Tcp, Throughput};

const SOURCE: NodeIndex = NodeIndex(1);
const SHADOW: NodeIndex = NodeIndex(2);
const SECRET: Key = Key::new([5; 16]);
/// Changes between two looks at the wire, as a busy agent reads events in batches.
const BATCH: usize = 512;
/// Bytes of an Ethernet header.
const ETHERNET_LEN: u64 = 14;

#[derive(Debug, Args)]
pub(super) struct ReplicationArgs {
    /// Report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "target/bench/replication.json")]
    json: PathBuf,
    /// Connections of the large table
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..=2_000_000))]
    connections: u32,
    /// Updates of each measurement
    #[arg(long, value_name = "N", default_value_t = 4_000_000, value_parser = clap::value_parser!(u32).range(1000..))]
    updates: u32,
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    version: &'static str,
    runs: Vec<Run>,
}

/// One table: with source NAT or without.
#[derive(Debug, Serialize)]
struct Run {
    connections: u32,
    nat: bool,
    snapshot_connections_per_s: f64,
    updates_per_s: f64,
    opens_per_s: f64,
    /// Records alone, over full frames.
    update_bytes: f64,
    open_bytes: f64,
    close_bytes: f64,
    /// With header, tag and Ethernet.
    update_wire_bytes: f64,
    open_wire_bytes: f64,
    close_wire_bytes: f64,
    /// Resident memory that the table of the source took.
    source_bytes: u64,
    /// That the replica took, and the source's side of the pair.
    replica_and_pair_bytes: u64,
}

/// What went over the wire, and how long both sides worked.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    changes: u64,
    payload: u64,
    frames: u64,
    took: Duration,
}

impl Cost {
    fn per_s(&self) -> f64 {
        self.changes as f64 / self.took.as_secs_f64()
    }

    fn payload_each(&self) -> f64 {
        self.payload as f64 / self.changes as f64
    }

    fn wire_each(&self) -> f64 {
        (self.payload + self.frames * (FRAME_OVERHEAD as u64 + ETHERNET_LEN)) as f64 / self.changes as f64
    }
}

/// Both sides in one thread, joined by nothing: what one makes the other takes.
struct Bench {
    source: Source,
    replica: Replica,
    now: Timestamp,
    changes: Vec<Change>,
    handles: Vec<Handle>,
    nat: bool,
}

/// TCP of many clients to a few servers, as conntrack knows it.
fn connection(number: u32, nat: bool) -> Connection {
    let scattered = number.wrapping_mul(2_654_435_761);
    let server = (Ipv4Addr::from_bits(0xc633_6400 | (scattered % 50)), 443);
    let [low, high, ..] = number.to_le_bytes();
    let client = (Ipv4Addr::from_bits(0x0a00_0000 | (number >> 4)), u16::from_be_bytes([high, low]));
    let mut connection = Connection::new(Flow::v4(Flow::TCP, client, server));
    if nat {
        let [a, b, ..] = scattered.to_le_bytes();
        let public = (Ipv4Addr::new(203, 0, 113, 5), u16::from_be_bytes([a, b]));
        connection = connection.with_reply(Flow::v4(Flow::TCP, server, public)).expect("of one family");
    }
    let tcp = Tcp { state: 3, flags: [0x23, 0x23], scales: 0x77 };
    connection.state = State { status: 0x18e, timeout_s: 432_000, tcp, ..State::default() };
    connection
}

impl Bench {
    fn new(nat: bool) -> Self {
        let now = Timestamp::from_secs(1);
        let config = Config { rate_bytes_per_s: 10_000_000_000, burst_bytes: 1 << 30, ..Config::default() };
        let source = Source::new(config.clone(), SOURCE, 1, SECRET);
        let replica = Replica::new(config, SOURCE, SHADOW, 1, &SECRET);
        Self { source, replica, now, changes: Vec::new(), handles: Vec::new(), nat }
    }

    /// What is due goes over, one way and back.
    fn exchange(&mut self, cost: &mut Cost) {
        self.now = self.now + Config::default().batch;
        loop {
            let mut idle = true;
            while let Some((_, frame)) = self.source.poll(self.now) {
                idle = false;
                cost.frames += 1;
                cost.payload += (frame.len() - FRAME_OVERHEAD) as u64;
                self.changes.clear();
                let _ = self.replica.receive(&frame, self.now, &mut self.changes);
            }
            while let Some(frame) = self.replica.poll(self.now) {
                idle = false;
                let _ = self.source.receive(SHADOW, &frame, self.now);
            }
            if idle {
                return;
            }
        }
    }

    fn settle(&mut self, cost: &mut Cost) {
        while !self.replica.is_complete() || self.source.lag(SHADOW, self.now).is_some_and(|lag| lag.waiting > 0) {
            self.exchange(cost);
        }
    }

    /// All connections, told as a snapshot.
    fn snapshot(&mut self) -> Cost {
        let (begin, mut cost) = (worked(), Cost::default());
        self.source.add_peer(SHADOW, self.now);
        self.settle(&mut cost);
        Cost { changes: self.source.len() as u64, took: worked() - begin, ..cost }
    }

    /// Throughput of connections all over the table.
    fn update(&mut self, updates: u32) -> Cost {
        let count = self.handles.len();
        let (begin, mut cost) = (worked(), Cost::default());
        let mut place = 0;
        for number in 0..updates {
            // A step that is prime visits every place.
            place = (place + 611_953) % count;
            let handle = self.handles[place];
            let held = self.source.get(handle).expect("is open");
            let [code, ..] = number.to_le_bytes();
            let throughput = if held.state.throughput.0 == code { Throughput(code ^ 1) } else { Throughput(code) };
            let state = State { throughput, ..held.state };
            self.source.update(handle, &state, self.now);
            if number as usize % BATCH == BATCH - 1 {
                self.exchange(&mut cost);
            }
        }
        self.settle(&mut cost);
        Cost { changes: updates.into(), took: worked() - begin, ..cost }
    }

    fn close(&mut self, count: u32) -> Cost {
        let (begin, mut cost) = (worked(), Cost::default());
        for number in 0..count as usize {
            let handle = self.handles.pop().expect("fewer than there are");
            self.source.close(handle, self.now);
            if number % BATCH == BATCH - 1 {
                self.exchange(&mut cost);
            }
        }
        self.settle(&mut cost);
        Cost { changes: count.into(), took: worked() - begin, ..cost }
    }

    fn open(&mut self, numbers: std::ops::Range<u32>) -> anyhow::Result<Cost> {
        let (begin, mut cost) = (worked(), Cost::default());
        let changes = numbers.len() as u64;
        for number in numbers {
            self.handles.push(self.source.open(connection(number, self.nat), self.now)?);
            if number as usize % BATCH == BATCH - 1 {
                self.exchange(&mut cost);
            }
        }
        self.settle(&mut cost);
        Ok(Cost { changes, took: worked() - begin, ..cost })
    }
}

/// Time that this thread had a core, so that other work on the machine is no part of the figures.
fn worked() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = told.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// Bytes of this process that are in memory.
fn resident_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the kernel tells VmRSS")?;
    let kilobytes: u64 = line.split_whitespace().next().context("a number")?.parse()?;
    Ok(kilobytes * 1024)
}

fn measure(args: &ReplicationArgs, nat: bool) -> anyhow::Result<Run> {
    let empty = resident_bytes()?;
    let mut bench = Bench::new(nat);
    for number in 0..args.connections {
        bench.handles.push(bench.source.open(connection(number, nat), bench.now)?);
    }
    let filled = resident_bytes()?;
    let snapshot = bench.snapshot();
    let told = resident_bytes()?;
    let update = bench.update(args.updates);
    let part = args.connections / 4;
    let close = bench.close(part);
    let open = bench.open(args.connections..args.connections + part)?;
    let equal = bench.replica.divergences() == 0 && bench.replica.len() == bench.source.len();
    anyhow::ensure!(equal, "the replica holds {} connections, the source {}", bench.replica.len(), bench.source.len());
    Ok(Run {
        connections: args.connections,
        nat,
        snapshot_connections_per_s: snapshot.per_s(),
        updates_per_s: update.per_s(),
        opens_per_s: open.per_s(),
        update_bytes: update.payload_each(),
        open_bytes: open.payload_each(),
        close_bytes: close.payload_each(),
        update_wire_bytes: update.wire_each(),
        open_wire_bytes: open.wire_each(),
        close_wire_bytes: close.wire_each(),
        source_bytes: filled.saturating_sub(empty),
        replica_and_pair_bytes: told.saturating_sub(filled),
    })
}

pub(super) fn run(args: &ReplicationArgs) -> anyhow::Result<()> {
    let runs = vec![measure(args, false)?, measure(args, true)?];
    print(&runs)?;
    write_json(&args.json, &Report { bench: "replication", version: env!("CARGO_PKG_VERSION"), runs })
}

fn print(runs: &[Run]) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["figure", "plain", "source NAT"]);
    let mut row = |name: &str, figure: fn(&Run) -> String| {
        table.add_row([name.to_owned()].into_iter().chain(runs.iter().map(figure)));
    };
    row("connections", |run| run.connections.to_string());
    row("snapshot, connections/s", |run| format!("{:.0}", run.snapshot_connections_per_s));
    row("updates/s", |run| format!("{:.0}", run.updates_per_s));
    row("opens/s", |run| format!("{:.0}", run.opens_per_s));
    row("update, bytes (on the wire)", |run| format!("{:.1} ({:.1})", run.update_bytes, run.update_wire_bytes));
    row("open, bytes (on the wire)", |run| format!("{:.1} ({:.1})", run.open_bytes, run.open_wire_bytes));
    row("close, bytes (on the wire)", |run| format!("{:.1} ({:.1})", run.close_bytes, run.close_wire_bytes));
    row("source, MB", |run| format!("{:.0}", run.source_bytes as f64 / 1e6));
    row("replica and pair, MB", |run| format!("{:.0}", run.replica_and_pair_bytes as f64 / 1e6));
    writeln!(io::stderr(), "{table}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_run_has_its_figures() {
        let args = ReplicationArgs { json: "-".into(), connections: 2000, updates: 5000 };
        let run = measure(&args, true).expect("runs");
        assert!(run.updates_per_s > 0.0 && run.opens_per_s > 0.0);
        assert!(run.update_bytes <= 16.0 && run.open_bytes <= 36.0 && run.close_bytes <= 8.0, "{run:?}");
        assert!(run.update_wire_bytes > run.update_bytes);
    }
}
