//! `topology`: files of fabrics, made from numbers, from other formats, or from a running controller.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::config::{Comments, Topology};

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
}

pub fn run(args: &TopologyArgs) -> anyhow::Result<()> {
    match &args.command {
        TopologyCommand::Generate(args) => generate::run(args),
    }
}

/// Writes a topology to a file, or to standard output where none is named.
fn write(topology: &Topology, comments: &Comments, to: Option<&Path>) -> anyhow::Result<()> {
    let text = topology.to_yaml_with(comments);
    match to {
        None => io::stdout().lock().write_all(text.as_bytes()).context("cannot write to standard output"),
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display())),
    }
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
