//! Reads other programs' topology files, as a fabric of bridges.
//!
//! Every format is parsed into one plain graph ([`graph`]); [`build`] makes a topology of it and says in notes what
//! was assumed, merged or left out. Parsers hold for any bytes: a file is a graph or a [`Problem`] with its line.

mod attributes;
mod build;
mod gml;
mod graph;
mod graphml;
mod netbench;
mod node_link;
mod repetita;
mod sndlib;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::path::Path;

use super::reader::Problem;
use super::topology::Topology;
use super::topology_file::parse_topology;
use super::topology_write::Comments;
pub use attributes::CapacityUnit;

/// A file larger than this is refused before it is parsed; the largest public graphs are below 10 MB.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// GraphML as the Internet Topology Zoo and networkx write it.
    GraphMl,
    /// GML, likewise.
    Gml,
    /// SNDlib's XML.
    SndLib,
    /// REPETITA's graph files.
    Repetita,
    /// networkx' node-link JSON.
    NodeLink,
    /// netbench's topology files.
    Netbench,
    /// Foreshadow's own.
    Yaml,
}

impl Format {
    pub const ALL: [Self; 7] =
        [Self::GraphMl, Self::Gml, Self::SndLib, Self::Repetita, Self::NodeLink, Self::Netbench, Self::Yaml];

    /// The name that the command line uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::GraphMl => "graphml",
            Self::Gml => "gml",
            Self::SndLib => "sndlib",
            Self::Repetita => "repetita",
            Self::NodeLink => "node-link",
            Self::Netbench => "netbench",
            Self::Yaml => "yaml",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// What a text looks like.
    pub fn detect(text: &str) -> Option<Self> {
        let begin = text.trim_start();
        if begin.starts_with('<') {
            return if begin.contains("<graphml") {
                Some(Self::GraphMl)
            } else {
                begin.contains("<network").then_some(Self::SndLib)
            };
        }
        if begin.starts_with('{') {
            return Some(Self::NodeLink);
        }
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let first = lines.next()?;
        let mut rest = std::iter::once(first).chain(lines);
        if first.starts_with("NODES ") {
            Some(Self::Repetita)
        } else if first.starts_with("|V|") {
            Some(Self::Netbench)
        } else if rest.clone().any(|line| line == "graph" || line.starts_with("graph [") || line.starts_with("graph["))
        {
            Some(Self::Gml)
        } else {
            rest.any(|line| line.starts_with("nodes:")).then_some(Self::Yaml)
        }
    }
}

/// How a file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Of capacities that a file gives without a unit.
    pub capacity_unit: CapacityUnit,
    /// Hosts added to every switch; a file whose hosts are known gives them to those switches alone.
    pub hosts: u32,
}

/// A topology, and what there is to say about how it came to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    pub format: Format,
    pub topology: Topology,
    pub comments: Comments,
    /// What was assumed, merged or left out; sentences.
    pub notes: Vec<String>,
}

/// Reads a file of any known format; `path` only names it in problems.
pub fn import(path: &Path, bytes: &[u8], format: Option<Format>, options: &Options) -> Result<Imported, Vec<Problem>> {
    let source = Source { path };
    let whole = |what: String, expected: &str| Err(vec![source.problem(0, 0, what, expected)]);
    if bytes.len() > FILE_BYTES_MAX {
        return whole(format!("{} bytes", bytes.len()), "at most 64 MiB");
    }
    let text = source.decode(bytes).map_err(|problem| vec![problem])?;
    let Some(format) = format.or_else(|| Format::detect(&text)) else {
        let names = Format::ALL.map(Format::name).join(", ");
        return whole("the format is not recognised".to_owned(), &format!("one of {names}, or --format"));
    };
    let graph = match format {
        Format::GraphMl => graphml::parse(&source, &text),
        Format::Gml => gml::parse(&source, &text),
        Format::SndLib => sndlib::parse(&source, &text),
        Format::Repetita => repetita::parse(&source, &text),
        Format::NodeLink => node_link::parse(&source, &text),
        Format::Netbench => netbench::parse(&source, &text),
        Format::Yaml => {
            let topology = parse_topology(path, &text)?;
            return Ok(Imported { format, topology, comments: Comments::default(), notes: Vec::new() });
        }
    };
    let built = graph.and_then(|graph| build::build(&source, graph, format, options));
    built.map_err(|problem| vec![problem])
}

/// A file by its name, for problems.
#[derive(Clone, Copy, Debug)]
struct Source<'f> {
    path: &'f Path,
}

impl Source<'_> {
    /// Line and column from 1; 0 for the file as a whole.
    fn problem(&self, line: u32, column: u32, what: impl Into<String>, expected: impl Into<String>) -> Problem {
        Problem { file: self.path.to_owned(), line, column, what: what.into(), expected: expected.into() }
    }

    /// UTF-8, or Latin-1 where an XML declaration says so or a GML file, which has no declaration, is not UTF-8.
    fn decode<'t>(&self, bytes: &'t [u8]) -> Result<Cow<'t, str>, Problem> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => return Ok(Cow::Borrowed(text)),
            Err(error) => error,
        };
        let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).to_ascii_lowercase();
        if head.contains("iso-8859-1") || Format::detect(&head) == Some(Format::Gml) {
            return Ok(Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()));
        }
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let what = format!("the byte 0x{:02x}", bytes[error.valid_up_to()]);
        Err(self.problem(u32::try_from(line).unwrap_or(u32::MAX), 1, what, "UTF-8 text"))
    }
}
