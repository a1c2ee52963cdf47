//! `replay`: a topology and traffic under a virtual clock (docs/REPLAY.md), or a recorded run once more.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use super::{BadInput, parse_duration};
use crate::config::PolicyKind;
use crate::replay::Replay;

mod cycles;
pub(super) mod inputs;
mod recording;
mod shown;

/// What `--policy all` stands for, in the order in which they are shown.
const ALL: [PolicyKind; 5] = [
    PolicyKind::Static,
    PolicyKind::Reactive,
    PolicyKind::Predictive,
    PolicyKind::PredictiveNoAnomaly,
    PolicyKind::Oracle,
];
/// How often the progress bar is drawn.
const REDRAW: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A run recorded by `run --record` (docs/RECORDING.md)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["topology", "traffic"])]
    recording: Option<PathBuf>,
    /// Writes the report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// With --recording: writes the plan log, every plan that was sent, and every cycle that changed a shift, as one line
    /// of JSON
    #[arg(long, value_name = "FILE", requires = "recording")]
    plans: Option<PathBuf>,
    /// YAML, GraphML, GML, SNDlib XML, REPETITA, node-link JSON or netbench
    #[arg(long, value_name = "FILE", requires = "traffic")]
    topology: Option<PathBuf>,
    /// Connections of routers, a series, matrices; or synthetic:diurnal, flash-crowd, ddos, maintenance, heavy-tailed
    #[arg(long, value_name = "FILE|synthetic:NAME", requires = "topology")]
    traffic: Option<String>,
    /// predictive, predictive-no-anomaly, reactive, static, oracle, or all
    #[arg(long, value_name = "POLICY", default_value = "predictive", value_parser = parse_policies)]
    policy: Policies,
    /// Further policies beside it, over the same traffic
    #[arg(long, value_name = "POLICY,…", value_delimiter = ',', value_parser = parse_policies)]
    compare: Vec<Policies>,
    /// Of synthetic traffic, of durations and of the choice among routers
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Writes a page with tables and plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes every router's every cycle as CSV, one policy after the other
    #[arg(long, value_name = "FILE")]
    cycles: Option<PathBuf>,
    #[command(flatten)]
    inputs: inputs::InputArgs,
}

/// A type of its own, because the parser of arguments takes a list for repeated arguments.
#[derive(Clone, Debug)]
struct Policies(Vec<PolicyKind>);

fn parse_policies(name: &str) -> Result<Policies, String> {
    if name == "all" {
        return Ok(Policies(ALL.to_vec()));
    }
    let found = ALL.into_iter().find(|policy| policy.name() == name);
    let names = ALL.map(PolicyKind::name).join(", ");
    found.map(|policy| Policies(vec![policy])).ok_or_else(|| format!("expected all, {names}"))
}

pub fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    match (&args.recording, &args.topology, &args.traffic) {
        (Some(recording), ..) => recording::run(recording, args),
        (None, Some(topology), Some(traffic)) => emulated(args, topology, traffic),
        _ => {
            let expected = "--topology FILE and --traffic FILE|synthetic:NAME, or --recording FILE";
            Err(BadInput(format!("expected {expected}; came nothing to replay")).into())
        }
    }
}

fn emulated(args: &ReplayArgs, topology: &Path, traffic: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut policies: Vec<PolicyKind> = Vec::new();
    for policy in std::iter::once(&args.policy).chain(&args.compare).flat_map(|policies| &policies.0) {
        if !policies.contains(policy) {
            policies.push(*policy);
        }
    }
    let (replay, notes) = args.inputs.load(topology, traffic, args.seed)?;
    let mut bar = Bar { on_terminal: io::stderr().is_terminal(), drawn: None };
    let mut reports = Vec::with_capacity(policies.len());
    let mut cycles = args.cycles.as_deref().map(cycles::Cycles::create).transpose()?;
    for policy in policies {
        let name = policy.name();
        let progress = &mut |done, all| bar.show(name, done, all);
        reports.push(match &mut cycles {
            Some(cycles) => replay.run_watched(policy, progress, &mut |moment| cycles.write(name, moment)),
            None => replay.run(policy, progress),
        });
        bar.clear();
    }
    if let Some(cycles) = cycles {
        cycles.finish()?;
    }
    if let Some(to) = &args.html {
        let title = format!("Replay of {traffic} on {}", replay.fabric.original.nodes.len());
        let page = crate::replay::html::page(&format!("{title} nodes"), &notes, &reports);
        let write = |page: &str| -> io::Result<()> { File::create(to)?.write_all(page.as_bytes()) };
        write(&page).with_context(|| format!("cannot write {}", to.display()))?;
    }
    shown::out(&reports, &notes, &replay, began, args.json.as_deref())
}

/// A line that redraws itself on a terminal, and nothing elsewhere.
struct Bar {
    on_terminal: bool,
    drawn: Option<Instant>,
}

impl Bar {
    fn show(&mut self, name: &str, done: u64, all: u64) {
        if !self.on_terminal || self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return;
        }
        self.drawn = Some(Instant::now());
        const WIDTH: u64 = 40;
        let full = done * WIDTH / all.max(1);
        let line: String = (0..WIDTH).map(|at| if at < full { '#' } else { '.' }).collect();
        // A terminal that went away takes nothing of the replay with it.
        let _ = write!(io::stderr(), "\r{name:>22} [{line}] {done}/{all} cycles");
    }

    fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Capacities of all routers in one word, for the notes.
fn capacities(replay: &Replay) -> String {
    let all = (0..replay.fabric.routers()).map(|place| replay.fabric.settings(place).0);
    let (least, most) = all.fold((u32::MAX, 0), |(least, most), one| (least.min(one), most.max(one)));
    if least == most { format!("capacity {least}") } else { format!("capacities {least} to {most}") }
}

/// A duration of the command line in seconds.
fn seconds(text: &str) -> Result<f64, String> {
    let duration = parse_duration(text)?;
    if duration.is_zero() { Err("expected a duration above 0".to_owned()) } else { Ok(duration.as_secs_f64()) }
}
