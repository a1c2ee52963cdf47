//! `topology`: files of fabrics, made from numbers, from other formats, or from a running controller.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::BadInput;
use crate::config::{Comments, RouterSettings, Topology};
use crate::network::stages::{Fabric, infer, staged};
use crate::types::NodeId;

mod convert;
mod export;
mod generate;

#[derive(Debug, Args)]
pub struct TopologyArgs {
    #[command(subcommand)]
    command: TopologyCommand,
}

#[derive(Debug, Subcommand)]
enum TopologyCommand {
    /// Writes a fabric of a usual shape
    Generate(generate::GenerateArgs),
    /// Makes a file of bridges of another program's topology file
    Convert(convert::ConvertArgs),
    /// Writes the fabric that a running controller sees
    Export(export::ExportArgs),
}

pub async fn run(args: &TopologyArgs) -> anyhow::Result<()> {
    match &args.command {
        TopologyCommand::Generate(args) => generate::run(args),
        TopologyCommand::Convert(args) => convert::run(args),
        TopologyCommand::Export(args) => export::run(args).await,
    }
}

/// Writes a topology to a file, or to standard output where none is named.
fn write(topology: &Topology, comments: &Comments, to: Option<&Path>) -> anyhow::Result<()> {
    write_text(&topology.to_yaml_with(comments), to)
}

fn write_text(text: &str, to: Option<&Path>) -> anyhow::Result<()> {
    match to {
        None => io::stdout().lock().write_all(text.as_bytes()).context("cannot write to standard output"),
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display())),
    }
}

/// Remarks go to standard error, so that standard output is the file.
fn say(note: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{note}")
}

/// A whole file, or its beginning where it is larger.
fn read_at_most(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The command that makes the file again, without the path it was written to.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let mut words = vec!["foreshadow".to_owned()];
    let mut arguments = arguments.skip(1);
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--out" => drop(arguments.next()),
            word if word.starts_with("--out=") => {}
            word => words.push(word.to_owned()),
        }
    }
    words.join(" ")
}

/// Where the result goes.
#[derive(Debug, Args)]
struct OutArgs {
    /// Writes to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Whether stages are inferred, and from what.
#[derive(Debug, Args)]
struct StageArgs {
    /// Infers stages and writes a staged file; where there is no layering, says why and writes bridges
    #[arg(long)]
    stages: bool,
    /// Switches that face servers, by their ids in the written file
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',', requires = "stages")]
    servers: Vec<String>,
    /// Most connections of every inferred router; a tenth of it is the threshold
    #[arg(long, value_name = "N", default_value_t = 5_000, requires = "stages",
        value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    capacity_connections: u32,
}

impl StageArgs {
    /// The topology with stages if they are asked for and there are any; what was found is added to comments and notes.
    fn apply(&self, topology: Topology, comments: &mut Comments, notes: &mut Vec<String>) -> anyhow::Result<Topology> {
        if !self.stages {
            return Ok(topology);
        }
        let servers: Vec<NodeId> = self.servers.iter().map(|id| NodeId::new(id)).collect();
        if let Some(unknown) = servers.iter().find(|id| topology.node(id).is_none()) {
            let what =
                format!("--servers names '{unknown}', which no switch is called; expected an id of the written file");
            return Err(BadInput(what).into());
        }
        let inferred = infer(&Fabric::of(&topology, &servers));
        let settings = RouterSettings {
            capacity_connections: self.capacity_connections,
            threshold_available: self.capacity_connections.div_ceil(10),
            idle_timeout_s: RouterSettings::IDLE_TIMEOUT_S,
            closing_timeout_s: RouterSettings::CLOSING_TIMEOUT_S,
            half_open_timeout_s: RouterSettings::HALF_OPEN_TIMEOUT_S,
            source_nat: None,
        };
        let mut found = Vec::new();
        let topology = match staged(&topology, &inferred, &settings) {
            Ok(staged) => {
                found.push(format!("stages inferred: {}", inferred.summary));
                let alone = inferred.shadows.values().filter(|others| others.iter().all(|other| !other.joined)).count();
                if alone > 0 {
                    found.push(format!("{alone} routers have no link to another, and so no shadow"));
                }
                for node in &staged.nodes {
                    let reason = inferred.stages.get(&node.index).map(|inferred| inferred.reason.as_str());
                    let label = comments.labels.remove(&node.id).map(|label| format!("{label}: ")).unwrap_or_default();
                    comments.labels.insert(node.id.clone(), format!("{label}{}", reason.unwrap_or_default()));
                }
                staged
            }
            Err(why) => {
                found.push(format!("written as bridges: {}", named(&topology, &why)));
                topology
            }
        };
        comments.header.extend(found.iter().map(|note| format!("- {note}")));
        notes.extend(found);
        Ok(topology)
    }
}

/// The sentence with the names of switches in place of their numbers.
fn named(topology: &Topology, sentence: &str) -> String {
    let mut words: Vec<String> = sentence.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        let number: Option<usize> = words[at].parse().ok().filter(|_| words[at - 1] == "switch");
        if let Some(node) = number.and_then(|number| topology.nodes.get(number.checked_sub(1)?)) {
            words[at] = node.id.to_string();
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_leaves_the_path_out() {
        let words = ["/bin/x", "topology", "generate", "--out", "a.yaml", "torus", "--out=b", "--rows", "3"];
        let text = command_line(words.into_iter().map(str::to_owned));
        assert_eq!(text, "foreshadow topology generate torus --rows 3");
    }
}
