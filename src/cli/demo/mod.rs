//! `demo`: a whole fabric and its controller in one process, and a virtual day in a minute.
//!
//! The emulated switches speak OpenFlow over loopback TCP to the same controller that `run` starts. Time is virtual and
//! moves in lockstep: the traffic of one cycle crosses the fabric, then the controller's cycle runs at that time and is
//! awaited until its plans are confirmed. So the outcome depends on seed and policy, not on how long the day takes.

mod score;
mod table;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, ValueEnum};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::program::Program;
use super::{BadInput, parse_duration, shutdown_on_signal, write_json};
use crate::config::{Config, LoopSettings, PolicyKind, Topology, parse_topology};
use crate::controller::driver::{Clockwork, Step};
use crate::controller::view::View;
use crate::fabric::driver::{SharedNetwork, drive};
use crate::fabric::network::Network;
use crate::fabric::traffic::{RouterLimits, Scenario, Traffic};
use crate::types::Timestamp;
use score::{Report, Sample, Score, SurgeReport};
use table::LiveTable;

const TOPOLOGY: &str = include_str!("../../../topologies/demo.yaml");
/// Shortest demo: below it the machine, not the clock, sets the pace.
const SHORTEST: Duration = Duration::from_secs(20);
/// Monday, 2 March 2026, 00:00 UTC.
const MIDNIGHT: Timestamp = Timestamp::from_secs(1_772_409_600);
/// One controller cycle.
const CYCLE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(86_400);
/// How far ahead the forecast looks: ten minutes, about twice what a connection lasts.
const HORIZON_CYCLES: u32 = 20;
/// Cycles before the traffic begins: LLDP finds the links, the first plans are installed.
const SETTLING_CYCLES: u32 = 8;
/// The last part of the warm-up has controller cycles, so that the day starts with some history.
const WATCHED_WARMUP: Duration = Duration::from_secs(1_800);
/// Wall time that the sessions have to come up, and the switches to confirm the first plans.
const START_PATIENCE: Duration = Duration::from_secs(15);
/// Where REST is looked for; another port is taken, and told, if somebody else is there.
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How long the day takes, at least 20s
    #[arg(long = "for", value_name = "D", default_value = "60s", value_parser = parse_duration)]
    length: Duration,
    #[arg(long, value_enum, default_value = "predictive")]
    policy: PolicyArg,
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Writes the report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where REST and the page listen; without it 127.0.0.1:8080, or another port if that is taken
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Writes every input of the controller to this file, for `replay` (docs/RECORDING.md); gzip if it ends in .gz
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PolicyArg {
    /// Forecast, anomaly and measured crossing
    Predictive,
    /// The same law, from the measured crossing only
    Reactive,
    /// Base shares, never shifted
    Static,
}

impl From<PolicyArg> for PolicyKind {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Predictive => Self::Predictive,
            PolicyArg::Reactive => Self::Reactive,
            PolicyArg::Static => Self::Static,
        }
    }
}

/// Plays the day and reports.
pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    if args.length < SHORTEST {
        let came = args.length;
        return Err(BadInput(format!("expected --for of at least {SHORTEST:?}, came {came:?}")).into());
    }
    let http = free_http(args.http)?;
    let shutdown = shutdown_on_signal()?;
    let day =
        Day { policy: args.policy.into(), seed: args.seed, length: args.length, http, record: args.record.clone() };
    let Some(report) = day.play(&shutdown).await? else {
        tracing::info!("interrupted: no report of a day that is not over");
        return Ok(());
    };
    match &args.json {
        Some(to) if to == Path::new("-") => write_json(to, &report)?,
        Some(to) => {
            table::print_report(&report)?;
            write_json(to, &report)?;
        }
        None => table::print_report(&report)?,
    }
    Ok(())
}

/// The address asked for; without one the usual port, or any if somebody else has that.
fn free_http(wanted: Option<SocketAddr>) -> anyhow::Result<SocketAddr> {
    if let Some(wanted) = wanted {
        return Ok(wanted);
    }
    match TcpListener::bind(HTTP) {
        Ok(_) => Ok(HTTP),
        Err(error) => {
            tracing::warn!(%error, "cannot use {HTTP} for REST and the page; another port is taken");
            Ok(SocketAddr::new(HTTP.ip(), 0))
        }
    }
}

/// One day to play.
struct Day {
    policy: PolicyKind,
    seed: u64,
    length: Duration,
    http: SocketAddr,
    record: Option<PathBuf>,
}

/// The day under way.
struct Stage {
    network: SharedNetwork,
    traffic: Traffic,
    steps: mpsc::Sender<Step>,
    view: watch::Receiver<Arc<View>>,
}

impl Day {
    /// `None` if it was interrupted.
    async fn play(&self, shutdown: &CancellationToken) -> anyhow::Result<Option<Report>> {
        let topology = parse_topology(Path::new("topologies/demo.yaml"), TOPOLOGY)
            .map_err(|problems| anyhow::anyhow!("the demo's topology: {problems:?}"))?;
        let scenario = Scenario::demo(&topology, self.seed)?;
        let traffic_begins = MIDNIGHT.before(scenario.warmup);
        let settling_begins = traffic_begins.before(CYCLE * SETTLING_CYCLES);
        // Depth 1: the sender sees when the controller took a step (see `Stage::step`).
        let (steps, stepper) = mpsc::channel(1);
        let config = Config {
            openflow_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            http_listen: self.http,
            cycle: LoopSettings {
                cycle_ms: u64::try_from(CYCLE.as_millis()).unwrap_or(u64::MAX),
                horizon_cycles: HORIZON_CYCLES,
                policy: self.policy,
                // A day of half-minute cycles in a minute leaves no time for it.
                replication_interval_ms: 0,
                ..LoopSettings::default()
            },
            ..Config::default()
        };
        let clockwork = Clockwork::Lockstep(stepper);
        let record = self.record.as_deref();
        let mut program =
            Program::start(&config, topology.clone(), clockwork, settling_begins, record, shutdown.clone()).await?;
        tracing::info!("watch it at http://{}", program.http);
        let network = SharedNetwork::new(Network::new(&topology)?);
        let mut drivers = JoinSet::new();
        let drivers_stop = shutdown.child_token();
        for node in 0..topology.nodes.len() {
            drivers.spawn(drive(network.clone(), node, program.openflow, drivers_stop.clone()));
        }
        let traffic = Traffic::new(&scenario, self.seed, MIDNIGHT, limits(&topology));
        let mut stage = Stage { network, traffic, steps, view: program.view.clone() };
        let outcome = tokio::select! {
            () = shutdown.cancelled() => Ok(None),
            outcome = self.perform(&mut stage, &topology, &scenario, &program) => outcome.map(Some),
        };
        drivers_stop.cancel();
        drivers.join_all().await;
        program.stop().await?;
        outcome
    }

    async fn perform(
        &self,
        stage: &mut Stage,
        topology: &Topology,
        scenario: &Scenario,
        program: &Program,
    ) -> anyhow::Result<Report> {
        let began = Instant::now();
        let traffic_begins = MIDNIGHT.before(scenario.warmup);
        stage.settle(traffic_begins).await?;
        stage.warm_up(MIDNIGHT).await?;
        stage.traffic.begin_day();
        let mut score = Score::new(MIDNIGHT, CYCLE, CYCLE * HORIZON_CYCLES);
        let view = Arc::clone(&stage.view.borrow());
        score.begin_day(&stage.samples_of(&view));
        let mut live = LiveTable::new(program.http, program.feed.last_id());
        let day_began = Instant::now();
        let cycles = (DAY.as_secs() / CYCLE.as_secs()) as u32;
        for cycle in 1..=cycles {
            let now = MIDNIGHT + CYCLE * cycle;
            stage.cycle(now).await?;
            let view = Arc::clone(&stage.view.borrow());
            score.cycle(now, &stage.samples_of(&view));
            live.show(now, &view, &stage.traffic.counts(), &program.feed);
            // Pace: this cycle's share of the wall time.
            tokio::time::sleep_until((day_began + self.length.mul_f64(f64::from(cycle) / f64::from(cycles))).into())
                .await;
        }
        live.finish();
        let counterfactual = stage.traffic.counterfactual();
        let surge = &scenario.surge;
        let mut report = score.report(
            stage.traffic.counts(),
            counterfactual.crossings(),
            |router| (counterfactual.highest(router), counterfactual.refused(router)),
            SurgeReport {
                service: topology.services[surge.service].id.clone(),
                start_s: surge.start_s,
                ramp_s: surge.ramp_s,
                plateau_s: surge.plateau_s,
                extra_per_s: surge.extra_per_s,
            },
        );
        report.policy = self.policy;
        report.seed = self.seed;
        report.wall_s = began.elapsed().as_secs_f64();
        report.peak_rss_bytes = peak_rss_bytes();
        report.packet_traversals = stage.network.with(|network| network.traversals);
        Ok(report)
    }
}

impl Stage {
    /// Waits for every session, lets LLDP find the links, and waits until the first plans are in every switch.
    async fn settle(&mut self, traffic_begins: Timestamp) -> anyhow::Result<()> {
        self.until("every switch has a session", |view| view.switches.iter().all(|switch| switch.connected)).await?;
        for remaining in (0..SETTLING_CYCLES).rev() {
            self.step(traffic_begins.before(CYCLE * remaining)).await?;
            // Probes are answered when they are; the number of cycles must not depend on it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let installed =
            |view: &View| view.switches.iter().all(|switch| switch.installed > 0 && switch.installed == switch.wanted);
        self.until("every switch has its plan", installed).await
    }

    async fn until(&mut self, what: &str, reached: impl Fn(&View) -> bool) -> anyhow::Result<()> {
        let wait = self.view.wait_for(|view| reached(view));
        match tokio::time::timeout(START_PATIENCE, wait).await {
            Ok(waited) => waited.map(drop).context("the controller stopped"),
            Err(_) => anyhow::bail!("expected that {what} within {START_PATIENCE:?}"),
        }
    }

    /// Lets connections build up before midnight.
    async fn warm_up(&mut self, midnight: Timestamp) -> anyhow::Result<()> {
        let watched = midnight.before(WATCHED_WARMUP);
        let Self { network, traffic, .. } = self;
        network.with(|network| traffic.run_until(network, watched));
        let cycles = (WATCHED_WARMUP.as_secs() / CYCLE.as_secs()) as u32;
        for cycle in 1..=cycles {
            self.cycle(watched + CYCLE * cycle).await?;
        }
        Ok(())
    }

    /// The traffic until `now`, then the controller's cycle.
    async fn cycle(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let Self { network, traffic, .. } = self;
        network.with(|network| {
            network.seal(true);
            traffic.run_until(network, now);
        });
        self.step(now).await
    }

    /// One cycle of the controller, until it is decided and confirmed.
    async fn step(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let gone = "the controller stopped";
        self.network.with(|network| {
            network.seal(true);
            network.set_time(now);
        });
        let (done, decided) = oneshot::channel();
        self.steps.send(Step { now, done }).await.ok().context(gone)?;
        // There is room again once the controller took the step, so its clock says `now`. What the switches noticed up
        // to now is told then: entries that ended are counted in this cycle, however long the way took.
        drop(self.steps.reserve().await.ok().context(gone)?);
        self.network.with(|network| network.seal(false));
        decided.await.context(gone)
    }

    fn samples_of<'v>(&self, view: &'v View) -> Vec<Sample<'v>> {
        let index = |decision: &crate::policy::decision::RouterDecision| {
            view.switches.iter().find(|switch| switch.node == decision.router).map(|switch| switch.index)
        };
        view.routers
            .iter()
            .filter_map(|decision| {
                let index = index(decision)?;
                Some(Sample { index, decision, hosts_active: self.traffic.active_at(index) })
            })
            .collect()
    }
}

fn limits(topology: &Topology) -> Vec<RouterLimits> {
    let limits = |node: &crate::config::Node| {
        let router = node.router.as_ref()?;
        Some(RouterLimits {
            router: node.index,
            capacity: router.capacity_connections,
            threshold_available: router.threshold_available,
            idle_timeout: Duration::from_secs(u64::from(router.idle_timeout_s)),
            closing_timeout: Duration::from_secs(u64::from(router.closing_timeout_s)),
        })
    };
    topology.routers().filter_map(limits).collect()
}

/// Most memory this process ever had (`VmHWM` of proc(5)); 0 where the system does not tell.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}
