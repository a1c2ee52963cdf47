//! `check`: is a configuration, topology or mapping file right, and what is wrong with it?

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::BadInput;
use super::devices::devices;
use crate::config::{Checked, Problem, Stage, Topology, check};
use crate::p4info::mapping::Mapping;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Configuration and topology files and pipeline mappings; what a file names is checked with it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Prints one line for each good file, and every problem of the others.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let mut problems: Vec<String> = Vec::new();
    for file in &args.files {
        match look(file) {
            Ok(good) => writeln!(out, "{}: {good}", file.display()).context("cannot write")?,
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(BadInput(problems.join("\n")).into()) }
}

/// What is good about a file, or all that is not.
fn look(file: &Path) -> Result<String, Vec<String>> {
    let lines = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    if Mapping::looks_like_one(file) {
        return Mapping::load(file).map(|mapping| describe_mapping(&mapping)).map_err(lines);
    }
    let checked = check(file).map_err(lines)?;
    let topology = match &checked {
        Checked::Topology(topology) => topology,
        Checked::Controller(loaded) => &loaded.topology,
    };
    devices(topology).map_err(|BadInput(problems)| vec![problems])?;
    Ok(describe(&checked))
}

fn describe(checked: &Checked) -> String {
    match checked {
        Checked::Topology(topology) => format!("good topology: {}", summary(topology)),
        Checked::Controller(loaded) => match &loaded.topology_path {
            Some(path) => format!("good configuration; its topology {}: {}", path.display(), summary(&loaded.topology)),
            None => "good configuration; it names no topology, so the fabric will be found out".to_owned(),
        },
    }
}

fn describe_mapping(mapping: &Mapping) -> String {
    let parts = mapping.parts().count();
    format!("good pipeline mapping of form {}: {parts} parts, {} tables", mapping.form, mapping.info.tables().len())
}

fn summary(topology: &Topology) -> String {
    let of = |stage| topology.nodes.iter().filter(|node| node.stage == stage).count();
    let bridges = match of(Stage::Bridge) {
        0 => String::new(),
        bridges => format!("{bridges} bridges, "),
    };
    format!(
        "{} outside, {} first-stage, {} second-stage, {} third-stage switches, {bridges}{} links, {} services, {} hosts",
        of(Stage::Outside),
        of(Stage::Router),
        of(Stage::Transit),
        of(Stage::Access),
        topology.links.len(),
        topology.services.len(),
        topology.hosts.len()
    )
}
