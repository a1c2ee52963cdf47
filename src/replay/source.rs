//! Tells what a traffic file holds, by its first line, and reads it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::Fabric;
use super::series::{self, SeriesOptions, shown};
use super::traffic::{self, Traffic};
use crate::config::Problem;

/// What a file can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `t,router,new,mean_duration_s`.
    Routers,
    /// `t,value`, or `unique_id,t,value`.
    Series,
    /// `id,value,value,…`.
    Wide,
    /// `t,src>dst,…`.
    NamedMatrices,
    /// Rows of n times n numbers.
    Matrices,
    /// REPETITA's demands.
    Demands,
}

impl Source {
    pub fn detect(first: &str) -> Option<Self> {
        let columns: Vec<&str> = first.split(',').map(str::trim).collect();
        if first.starts_with("DEMANDS") {
            Some(Self::Demands)
        } else if columns.len() > 1 && columns[1..].iter().any(|column| column.contains('>')) {
            Some(Self::NamedMatrices)
        } else if columns.contains(&"router") {
            Some(Self::Routers)
        } else if columns.iter().any(|column| *column == "t" || *column == "timestamp") {
            Some(Self::Series)
        } else if matches!(columns[0].trim_matches('"'), "unique_id" | "V1") {
            Some(Self::Wide)
        } else {
            let mut numbers = first.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
            numbers.all(|word| word.parse::<f64>().is_ok()).then_some(Self::Matrices)
        }
    }

    /// Reads a file of any kind, compressed with gzip or not; `path` only names it in problems.
    pub fn read(path: &Path, from: impl Read, options: &SeriesOptions, fabric: &Fabric) -> Result<Traffic, Problem> {
        let mut from = BufReader::with_capacity(1 << 16, from);
        let begin = from.fill_buf().unwrap_or_default();
        if begin.starts_with(&[0x1f, 0x8b]) {
            Self::read_text(path, BufReader::new(flate2::bufread::MultiGzDecoder::new(from)), options, fabric)
        } else {
            Self::read_text(path, from, options, fabric)
        }
    }

    fn read_text(
        path: &Path,
        from: impl BufRead,
        options: &SeriesOptions,
        fabric: &Fabric,
    ) -> Result<Traffic, Problem> {
        let mut lines = series::lines(path, from);
        let Some(first) = lines.text()? else {
            return Err(lines.whole("an empty file", "a header and rows (docs/REPLAY.md)"));
        };
        let header: Vec<String> = first.split(',').map(|name| name.trim().trim_matches('"').to_owned()).collect();
        let traffic = match Self::detect(&first) {
            Some(Self::Routers) => traffic::parse_rows(lines, &header, options, fabric),
            Some(Self::Series) => series::parse_series(lines, &header, options, fabric),
            Some(Self::Wide) => series::parse_wide(lines, options, fabric),
            Some(Self::NamedMatrices) => series::parse_named_matrix(lines, &header, options, fabric),
            Some(Self::Matrices) => series::parse_rows(lines, &first, options, fabric),
            Some(Self::Demands) => series::parse_demands(lines, &first, options, fabric),
            None => {
                let what = format!("the line '{}'", shown(&first));
                Err(lines.problem(what, "t,router,new,mean_duration_s, a series, matrices or DEMANDS (docs/REPLAY.md)"))
            }
        }?;
        if traffic.connections() == 0 {
            let what = "no connection at all";
            return Err(Problem {
                file: path.to_owned(),
                line: 0,
                column: 0,
                what: what.to_owned(),
                expected: "at least one (see --scale)".to_owned(),
            });
        }
        Ok(traffic)
    }
}
