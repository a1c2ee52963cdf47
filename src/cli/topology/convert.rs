//! `topology convert`: another program's topology file as one of ours.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::super::BadInput;
use super::{OutArgs, StageArgs};
use crate::config::import::{CapacityUnit, FILE_BYTES_MAX, Format, Imported, Options, import};

#[derive(Debug, Args)]
pub(super) struct ConvertArgs {
    /// GraphML, GML, SNDlib XML, REPETITA, networkx' node-link JSON, netbench or our own
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// auto, graphml, gml, sndlib, repetita, node-link, netbench or yaml
    #[arg(long, default_value = "auto", value_name = "FORMAT", value_parser = parse_format)]
    format: Wanted,
    /// Of capacities without a unit: auto, bps, kbps, mbps or gbps
    #[arg(long, default_value = "auto", value_name = "UNIT", value_parser = parse_unit)]
    capacity_unit: CapacityUnit,
    /// Hosts on every switch, or on those that the file says have some
    #[arg(long, value_name = "N", default_value_t = 0)]
    hosts: u32,
    #[command(flatten)]
    stages: StageArgs,
    #[command(flatten)]
    out: OutArgs,
}

/// `None` stands for `auto`; a type of its own, because the parser of arguments takes an option for something else.
#[derive(Clone, Copy, Debug)]
struct Wanted(Option<Format>);

fn parse_format(name: &str) -> Result<Wanted, String> {
    match Format::parse(name) {
        None if name != "auto" => Err(format!("expected auto or {}", Format::ALL.map(Format::name).join(", "))),
        format => Ok(Wanted(format)),
    }
}

fn parse_unit(name: &str) -> Result<CapacityUnit, String> {
    CapacityUnit::parse(name).ok_or_else(|| "expected auto, bps, kbps, mbps or gbps".to_owned())
}

pub(super) fn run(args: &ConvertArgs) -> anyhow::Result<()> {
    let bad = |error: std::io::Error| BadInput(format!("{}: the file cannot be read: {error}", args.file.display()));
    let bytes = super::read_at_most(&args.file, FILE_BYTES_MAX + 1).map_err(bad)?;
    let options = Options { capacity_unit: args.capacity_unit, hosts: args.hosts };
    let imported = import(&args.file, &bytes, args.format.0, &options)
        .map_err(|problems| BadInput(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let Imported { topology, mut comments, mut notes, .. } = imported;
    let topology = args.stages.apply(topology, &mut comments, &mut notes)?;
    for note in &notes {
        super::say(note).context("cannot write to standard error")?;
    }
    super::write(&topology, &comments, args.out.out.as_deref())
}
