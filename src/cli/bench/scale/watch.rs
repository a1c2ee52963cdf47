//! What is seen of a contender from outside: the process's time, memory and threads, and its own account of its rounds.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Clock ticks a second in /proc; 100 on every Linux of today (see proc(5), sysconf(_SC_CLK_TCK)).
const TICKS_PER_S: f64 = 100.0;
/// A contender that says nothing of a round for so long is behind by one more.
const SILENCE: Duration = Duration::from_millis(1_500);
/// A health report is asked for so long at the most.
const HEALTH_PATIENCE: Duration = Duration::from_secs(5);

/// A process's resources at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::cli::bench) struct Usage {
    /// Of all cores together, since it began.
    pub(super) cpu_s: f64,
    pub(super) rss_bytes: u64,
    pub(super) threads: u64,
}

impl Usage {
    /// Of a process by its id; zeros where the system does not tell.
    pub(in crate::cli::bench) fn of(process: u32) -> Self {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        Self::parse(&read("stat"), &read("status"))
    }

    fn parse(stat: &str, status: &str) -> Self {
        // The name in parentheses may hold anything; user and system time are the 14th and 15th field of proc(5).
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        Self { cpu_s: ticks as f64 / TICKS_PER_S, rss_bytes: value("VmRSS") * 1_024, threads: value("Threads") }
    }
}

/// One round of statistics, as the controller itself saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// All answers were taken in time, the last so many microseconds after the round began.
    Kept(u64),
    Late,
}

/// Where a contender tells of its rounds.
#[derive(Debug)]
pub(in crate::cli::bench) enum Account {
    /// Our own REST: cycles decided, and cycles decided without all readings.
    Rest { address: SocketAddr, last: Option<Cycles> },
    /// A file that the peer's application appends to.
    File { path: PathBuf, taken: usize },
}

/// What `/api/v1/health` says of the loop.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(in crate::cli::bench) struct Cycles {
    cycles_decided: u64,
    cycles_late: u64,
    last_cycle_us: u64,
}

#[derive(Debug, Deserialize)]
struct Line {
    switches: usize,
    took_us: i64,
}

/// Reads an [`Account`], and takes silence for rounds that are late.
#[derive(Debug)]
pub(super) struct Rounds {
    account: Account,
    heard: Instant,
}

impl Rounds {
    pub(super) fn new(account: Account) -> Self {
        Self { account, heard: Instant::now() }
    }

    /// Rounds that ended since the last call.
    pub(super) async fn poll(&mut self) -> anyhow::Result<Vec<Round>> {
        let mut rounds = match &mut self.account {
            Account::Rest { address, last } => rest(*address, last).await?,
            Account::File { path, taken } => file(path, taken)?,
        };
        if !rounds.is_empty() {
            self.heard = Instant::now();
        } else if self.heard.elapsed() > SILENCE {
            self.heard += Duration::from_secs(1);
            rounds.push(Round::Late);
        }
        Ok(rounds)
    }
}

async fn rest(address: SocketAddr, last: &mut Option<Cycles>) -> anyhow::Result<Vec<Round>> {
    // An overloaded controller may answer late: that is no failure of the measurement.
    let Ok(now) = tokio::time::timeout(HEALTH_PATIENCE, health(address)).await else { return Ok(Vec::new()) };
    let now = now?;
    let before = last.replace(now).unwrap_or(now);
    Ok(between(before, now))
}

fn between(before: Cycles, now: Cycles) -> Vec<Round> {
    let late = now.cycles_late.saturating_sub(before.cycles_late);
    let kept = now.cycles_decided.saturating_sub(before.cycles_decided).saturating_sub(late);
    let late = (0..late).map(|_| Round::Late);
    late.chain((0..kept).map(|_| Round::Kept(now.last_cycle_us))).collect()
}

async fn health(address: SocketAddr) -> anyhow::Result<Cycles> {
    let mut socket = TcpStream::connect(address).await.with_context(|| format!("no REST on {address}"))?;
    let request = format!("GET /api/v1/health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    let Some(body) = answer.windows(4).position(|end| end == b"\r\n\r\n").map(|end| &answer[end + 4..]) else {
        bail!("expected an HTTP answer, came {} bytes", answer.len());
    };
    serde_json::from_slice(body).context("unexpected health report")
}

/// Whole lines only; a round without switches is none.
fn file(path: &Path, taken: &mut usize) -> anyhow::Result<Vec<Round>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let new = text.get(*taken..).unwrap_or_default();
    let whole = new.rfind('\n').map_or(0, |end| end + 1);
    *taken += whole;
    lines(&new[..whole])
}

fn lines(text: &str) -> anyhow::Result<Vec<Round>> {
    let mut rounds = Vec::new();
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).with_context(|| format!("unexpected line of a round: {line}"))?;
        if line.switches > 0 {
            rounds.push(u64::try_from(line.took_us).map_or(Round::Late, Round::Kept));
        }
    }
    Ok(rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "12 (a) b (c) S 1 1 1 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 3 0 100 1 1";
        let usage = Usage::parse(stat, "Name:\tx\nVmRSS:\t  2048 kB\nThreads:\t3\n");
        assert_eq!(usage, Usage { cpu_s: 3.0, rss_bytes: 2 << 20, threads: 3 });
        assert_eq!(Usage::parse("", ""), Usage::default());
        assert!(Usage::of(std::process::id()).rss_bytes > 0);
    }

    #[test]
    fn rounds_are_counted_once() {
        let at = |cycles_decided, cycles_late| Cycles { cycles_decided, cycles_late, last_cycle_us: 9 };
        assert_eq!(between(at(4, 1), at(4, 1)), []);
        assert_eq!(between(at(4, 1), at(6, 2)), [Round::Late, Round::Kept(9)]);
        let text = "{\"switches\":0,\"answered\":0,\"took_us\":0}\n{\"switches\":2,\"answered\":2,\"took_us\":5}\n";
        let late = "{\"switches\":2,\"answered\":1,\"took_us\":-1}\n";
        assert_eq!(lines(&format!("{text}{late}")).expect("lines"), [Round::Kept(5), Round::Late]);
        assert!(lines("nonsense\n").is_err());
    }

    #[test]
    fn half_a_line_waits_for_its_rest() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rounds");
        let mut taken = 0;
        assert_eq!(file(&path, &mut taken).expect("no file is no round"), []);
        std::fs::write(&path, "{\"switches\":1,\"took_us\":1}\n{\"switches\"").expect("written");
        assert_eq!(file(&path, &mut taken).expect("a round"), [Round::Kept(1)]);
        std::fs::write(&path, "{\"switches\":1,\"took_us\":1}\n{\"switches\":1,\"took_us\":2}\n").expect("written");
        assert_eq!(file(&path, &mut taken).expect("a round"), [Round::Kept(2)]);
    }
}
