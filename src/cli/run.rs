//! `run`: the controller, until a signal ends it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::program::Program;
use super::{BadInput, shutdown_on_signal};
use crate::config::{Problem, load_config};
use crate::controller::driver::{Clockwork, wall_clock};

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The controller's configuration (docs/FORMATS.md); defaults without one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Writes every input of the controller to this file, for `replay` (docs/RECORDING.md); gzip if it ends in .gz
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

pub async fn run(args: &RunArgs) -> anyhow::Result<()> {
    let bad =
        |problems: Vec<Problem>| BadInput(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let loaded = args.config.as_deref().map(load_config).transpose().map_err(bad)?.unwrap_or_default();
    let shutdown = shutdown_on_signal()?;
    let clockwork = Clockwork::Wall(Duration::from_millis(loaded.config.cycle.cycle_ms));
    let record = args.record.as_deref();
    let mut program =
        Program::start(&loaded.config, loaded.topology, clockwork, wall_clock(), record, shutdown).await?;
    program.finished().await
}
