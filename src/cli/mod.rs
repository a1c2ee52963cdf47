//! The command line: arguments, logs, exit codes. What a command does is in its own file.
//!
//! Exit status 0: done; 1: failed; 2: bad usage or bad input. Results go to standard output or to `--json FILE`, logs
//! and progress to standard error.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use serde::Serialize;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

pub mod agent;
pub mod bench;
pub mod check;
pub mod demo;
mod devices;
mod duration;
pub mod program;
pub mod replay;
pub mod run;
pub mod switch;
pub mod topology;

pub use duration::parse_duration;

const FAILED: u8 = 1;
const BAD_INPUT: u8 = 2;

#[derive(Debug, Parser)]
#[command(name = "foreshadow", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replicates this machine's tracked connections to and from other routers
    Agent(agent::AgentArgs),
    /// Checks configuration and topology files
    Check(check::CheckArgs),
    /// Measures this controller beside its peers
    Bench(bench::BenchArgs),
    /// Runs the controller
    Run(run::RunArgs),
    /// Repeats a recorded run, and tells whether it came out the same
    Replay(Box<replay::ReplayArgs>),
    /// An emulated fabric, its controller and a virtual day of traffic, in this process
    Demo(demo::DemoArgs),
    /// One emulated switch
    Switch(switch::SwitchArgs),
    /// Generates, converts and exports topology files
    Topology(topology::TopologyArgs),
}

/// What the user gave is wrong: the command ends with status 2 and this text.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    // Bad usage ends here, with status 2 and the usage on standard error; so do --help and --version, with 0.
    let arguments = Arguments::parse();
    // The demo draws a table on a terminal; a log would tear it.
    let draws = matches!(arguments.command, Command::Demo(_)) && io::stderr().is_terminal();
    start_logs(if draws { "warn" } else { "info" });
    raise_descriptors();
    // Capabilities are those of a thread: an agent drops its own before it starts another.
    let runtime = match arguments.command {
        Command::Agent(_) => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        _ => tokio::runtime::Runtime::new(),
    };
    let outcome =
        runtime.context("cannot start the runtime").and_then(|runtime| runtime.block_on(dispatch(arguments.command)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let bad_input = error.is::<BadInput>();
            // Nobody is left to tell if standard error is closed.
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::from(if bad_input { BAD_INPUT } else { FAILED })
        }
    }
}

async fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Agent(args) => agent::run(&args).await,
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => bench::run(args).await,
        Command::Run(args) => run::run(&args).await,
        Command::Replay(args) => replay::run(&args),
        Command::Demo(args) => demo::run(&args).await,
        Command::Switch(args) => switch::run(&args).await,
        Command::Topology(args) => topology::run(&args).await,
    }
}

/// Every switch takes a descriptor, and the usual soft limit of 1,024 is there for programs that use `select`. Whoever set
/// the hard limit meant it.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn start_logs(usual: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// Writes a report as JSON; `-` is standard output.
pub fn write_json(to: &Path, report: &impl Serialize) -> anyhow::Result<()> {
    let write = |out: &mut dyn Write| -> anyhow::Result<()> {
        serde_json::to_writer_pretty(&mut *out, report)?;
        writeln!(out)?;
        Ok(out.flush()?)
    };
    if to == Path::new("-") {
        return write(&mut io::stdout().lock()).context("cannot write to standard output");
    }
    if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let file = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    write(&mut BufWriter::new(file)).with_context(|| format!("cannot write {}", to.display()))
}

/// A token that is cancelled by ctrl-C or a termination signal. A second signal ends the process at once.
pub fn shutdown_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    // Lives as long as the process: it has nothing to clean up.
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            }
        };
        next().await;
        tracing::info!("stopping; the switches go on forwarding");
        cancelled.cancel();
        std::process::exit(next().await);
    });
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn bad_input_is_known_through_its_context() {
        let error = anyhow::Error::new(BadInput("x".into())).context("while reading");
        assert!(error.is::<BadInput>());
        assert_eq!(format!("{error:#}"), "while reading: x");
    }

    #[test]
    fn a_report_makes_its_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b/report.json");
        write_json(&path, &[1, 2]).expect("written");
        assert_eq!(std::fs::read_to_string(path).expect("read"), "[\n  1,\n  2\n]\n");
    }
}
