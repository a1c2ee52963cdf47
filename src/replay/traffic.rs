//! Traffic as a replay takes it: new connections an interval and router; and the reader of files that say just that.

use std::io::BufRead;
use std::path::Path;

use super::{Fabric, SeriesOptions};
use crate::config::Problem;

/// Rows times routers beyond which a file is refused: some 3 GB.
pub(super) const CELLS_MAX: usize = 400_000_000;
/// Interval of a file whose rows all have one time.
pub(super) const INTERVAL_DEFAULT_S: f64 = 60.0;

/// New connections of one router in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    pub new: u32,
    pub mean_duration_s: f32,
}

/// Connections that would choose each router were nothing shifted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Of the first row, as the file counts.
    pub start_s: f64,
    pub interval_s: f64,
    /// By router, then by row; every router has as many rows.
    pub demand: Vec<Vec<Demand>>,
}

impl Traffic {
    pub fn rows(&self) -> usize {
        self.demand.first().map_or(0, Vec::len)
    }

    pub fn seconds(&self) -> f64 {
        self.rows() as f64 * self.interval_s
    }

    pub fn connections(&self) -> u64 {
        self.demand.iter().flatten().map(|row| u64::from(row.new)).sum()
    }
}

/// One row of the file.
struct Row {
    t: f64,
    router: usize,
    demand: Demand,
    line: u32,
}

/// Reads `t,router,new,mean_duration_s` after the header: any order of columns and rows.
pub(super) fn parse_rows(
    mut lines: Lines<'_, impl BufRead>,
    header: &[String],
    options: &SeriesOptions,
    fabric: &Fabric,
) -> Result<Traffic, Problem> {
    let column = |name: &str| header.iter().position(|column| column == name);
    let wanted = ["t", "router", "new", "mean_duration_s"].map(column);
    let [Some(t), Some(router), Some(new), Some(mean)] = wanted else {
        return Err(lines.problem(format!("the columns {}", header.join(",")), "t,router,new,mean_duration_s"));
    };
    let places = fabric.places();
    let mut rows = Vec::new();
    while let Some(fields) = lines.next()? {
        if fields.len() != header.len() {
            return Err(lines.problem(format!("{} fields", fields.len()), format!("{}", header.len())));
        }
        let name = crate::types::NodeId::new(&fields[router]);
        let Some(place) = places.get(&name) else {
            let what =
                format!("the router '{}', which the topology does not have", super::series::shown(&fields[router]));
            return Err(lines.problem(what, "the id of a first-stage router"));
        };
        let demand = Demand {
            new: lines.number(&fields[new], "new connections", 0.0, f64::from(u32::MAX))?.round() as u32,
            mean_duration_s: lines.number(&fields[mean], "a mean duration in seconds", 0.0, 1e9)? as f32,
        };
        if demand.new > 0 && demand.mean_duration_s <= 0.0 {
            return Err(lines.problem("connections of no duration", "mean_duration_s above 0 where there are new ones"));
        }
        let t = lines.number(&fields[t], "a time in seconds", -1e12, 1e12)?;
        rows.push(Row { t, router: *place, demand, line: lines.line });
    }
    if rows.is_empty() {
        return Err(lines.problem("no row", "a row for every interval and router"));
    }
    grid(&lines, &rows, options.interval_s, fabric.routers())
}

/// Rows in their places: the interval is the least distance between two times, and all times are multiples of it.
fn grid<R>(lines: &Lines<'_, R>, rows: &[Row], interval_s: Option<f64>, routers: usize) -> Result<Traffic, Problem> {
    let mut times: Vec<f64> = rows.iter().map(|row| row.t).collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    let least = times.windows(2).map(|pair| pair[1] - pair[0]).reduce(f64::min);
    let interval_s = interval_s.or(least).unwrap_or(INTERVAL_DEFAULT_S);
    let start_s = times[0];
    let span = (times[times.len() - 1] - start_s) / interval_s;
    if !(interval_s > 0.0 && span * routers as f64 <= CELLS_MAX as f64) {
        let what = format!("{:.0} intervals of {interval_s} s for {routers} routers", span + 1.0);
        return Err(lines.whole(what, format!("at most {CELLS_MAX} of both together")));
    }
    let count = span.round() as usize + 1;
    let mut demand = vec![vec![Demand::default(); count]; routers];
    for row in rows {
        let place = (row.t - start_s) / interval_s;
        let number = place.round() as usize;
        if (place - place.round()).abs() > 1e-6 * place.max(1.0) {
            let what = format!("the time {}", row.t);
            return Err(lines.at(row.line, what, format!("a multiple of {interval_s} s after {start_s}")));
        }
        if demand[row.router][number] != Demand::default() {
            return Err(lines.at(row.line, "a second row of this time and router", "one"));
        }
        demand[row.router][number] = row.demand;
    }
    fill_durations(&mut demand);
    Ok(Traffic { start_s, interval_s, demand })
}

/// Rows without connections get the duration of those before, so that a mean never jumps to nothing.
pub(super) fn fill_durations(demand: &mut [Vec<Demand>]) {
    for rows in demand {
        let mut last = rows.iter().map(|row| row.mean_duration_s).find(|mean| *mean > 0.0).unwrap_or(1.0);
        for row in rows {
            if row.mean_duration_s <= 0.0 {
                row.mean_duration_s = last;
            }
            last = row.mean_duration_s;
        }
    }
}

/// A text of comma-separated lines that knows where it is.
#[derive(Debug)]
pub(super) struct Lines<'p, R> {
    path: &'p Path,
    from: R,
    buffer: Vec<u8>,
    pub(super) line: u32,
}

impl<R> Lines<'_, R> {
    pub(super) fn at(&self, line: u32, what: impl Into<String>, expected: impl Into<String>) -> Problem {
        let column = u32::from(line > 0);
        Problem { file: self.path.to_owned(), line, column, what: what.into(), expected: expected.into() }
    }

    pub(super) fn problem(&self, what: impl Into<String>, expected: impl Into<String>) -> Problem {
        self.at(self.line, what, expected)
    }

    pub(super) fn whole(&self, what: impl Into<String>, expected: impl Into<String>) -> Problem {
        self.at(0, what, expected)
    }

    /// A finite number within bounds.
    pub(super) fn number(&self, text: &str, name: &str, least: f64, most: f64) -> Result<f64, Problem> {
        let number = text.parse::<f64>().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| {
            let came = super::series::shown(text);
            self.problem(format!("'{came}' for {name}"), format!("a number from {least} to {most}"))
        })
    }
}

impl<'p, R: BufRead> Lines<'p, R> {
    /// Longest line that is read: a row of a matrix of 2,000 nodes has some 40 MB.
    const LINE_MAX: u64 = 64 << 20;

    pub(super) fn new(path: &'p Path, from: R) -> Self {
        Self { path, from, buffer: Vec::new(), line: 0 }
    }

    /// The next line that is not empty, without its end; `None` after the last.
    pub(super) fn text(&mut self) -> Result<Option<String>, Problem> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let read = std::io::Read::take(&mut self.from, Self::LINE_MAX).read_until(b'\n', &mut self.buffer);
            match read {
                Ok(0) => return Ok(None),
                Ok(length) if length as u64 == Self::LINE_MAX => {
                    return Err(self.problem("a line without end", "lines of at most 64 MiB"));
                }
                Ok(_) => {}
                Err(error) => return Err(self.problem(format!("the file cannot be read: {error}"), "a readable file")),
            }
            let text =
                std::str::from_utf8(&self.buffer).map_err(|_| self.problem("bytes that are no text", "UTF-8"))?;
            let text = text.trim_start_matches('\u{feff}').trim();
            if !text.is_empty() {
                return Ok(Some(text.to_owned()));
            }
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Vec<String>>, Problem> {
        let text = self.text()?;
        Ok(text.map(|text| text.split(',').map(|field| field.trim().trim_matches('"').to_owned()).collect()))
    }
}
