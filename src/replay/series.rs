//! Series and traffic matrices as connections of routers.

use std::io::BufRead;
use std::path::Path;

use super::Fabric;
use super::traffic::{CELLS_MAX, Demand, Lines, Traffic};
use crate::config::Problem;

/// What the numbers of a series are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// New connections in the interval.
    New,
    /// Connections open at its end.
    Active,
    /// Bits carried in the interval.
    Bits,
    /// Bits a second.
    BitsPerSecond,
}

impl Subject {
    pub const NAMES: [&str; 4] = ["new", "active", "bits", "bits-per-second"];

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "new" => Some(Self::New),
            "active" => Some(Self::Active),
            "bits" => Some(Self::Bits),
            "bits-per-second" => Some(Self::BitsPerSecond),
            _ => None,
        }
    }

    /// By what columns of this name usually hold.
    fn of_column(name: &str) -> Self {
        if name.starts_with("bits") {
            Self::Bits
        } else if name.starts_with("active") || name == "value" {
            Self::Active
        } else {
            Self::New
        }
    }
}

/// How series and matrices are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesOptions {
    /// `value`, else the second one, where it is not given.
    pub column: Option<String>,
    /// By the column's name where it is not given.
    pub subject: Option<Subject>,
    /// The interval where it is not given.
    pub mean_duration_s: Option<f64>,
    pub interval_s: Option<f64>,
    /// Every value is multiplied by it.
    pub scale: f64,
    /// Mean bytes of a connection, for bits.
    pub flow_bytes: f64,
    /// Traffic of one constant matrix lasts so long.
    pub duration_s: Option<f64>,
}

/// Text from a file, short enough for a message.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// One row of a series: its time, its value and the mean duration that stands beside it.
#[derive(Clone, Copy, Debug)]
struct Point {
    t: f64,
    value: f64,
    mean_duration_s: Option<f64>,
}

/// A name, and rows in rising time.
type Series = (String, Vec<Point>);

/// One series drives every router, each delayed by its part of the series' length; many (`unique_id,t,value`) drive the
/// routers that they are named after, else the routers in their order. New connections may have a column
/// `mean_duration…` beside them.
pub(super) fn parse_series(
    mut lines: Lines<'_, impl BufRead>,
    header: &[String],
    options: &SeriesOptions,
    fabric: &Fabric,
) -> Result<Traffic, Problem> {
    let column = |name: &str| header.iter().position(|column| column == name);
    let Some(t) = column("t").or_else(|| column("timestamp")) else {
        return Err(lines.problem(format!("the columns {}", shown(&header.join(","))), "a column t or timestamp"));
    };
    let id = column("unique_id");
    let value = match &options.column {
        Some(name) => column(name),
        None => column("value").or_else(|| (0..header.len()).find(|at| *at != t && Some(*at) != id)),
    };
    let Some(value) = value else {
        let wanted = options.column.as_deref().unwrap_or("value");
        return Err(lines.problem(format!("the columns {}", shown(&header.join(","))), format!("a column {wanted}")));
    };
    let subject = options.subject.unwrap_or_else(|| Subject::of_column(&header[value]));
    let takes_durations = subject == Subject::New && options.mean_duration_s.is_none();
    let duration = header.iter().position(|name| takes_durations && name.starts_with("mean_duration"));
    let mut series: Vec<Series> = Vec::new();
    while let Some(fields) = lines.next()? {
        if fields.len() != header.len() {
            return Err(lines.problem(format!("{} fields", fields.len()), format!("{}", header.len())));
        }
        let name = id.map_or("", |id| fields[id].as_str());
        let point = Point {
            t: time(&lines, &fields[t])?,
            value: lines.number(&fields[value], "a value", 0.0, 1e15)? * options.scale,
            mean_duration_s: duration
                .map(|at| lines.number(&fields[at], "a mean duration in seconds", 0.0, 1e9))
                .transpose()?,
        };
        if series.last().is_none_or(|(last, _)| last != name) {
            if series.iter().any(|(known, _)| known == name) {
                return Err(lines.problem(format!("more rows of {}", shown(name)), "the rows of a series together"));
            }
            series.push((name.to_owned(), Vec::new()));
        }
        let rows = &mut series.last_mut().expect("just pushed").1;
        if rows.last().is_some_and(|before| before.t >= point.t) {
            return Err(lines.problem(format!("the time {}", shown(&fields[t])), "times that rise"));
        }
        rows.push(point);
    }
    of_series(&lines, &series, subject, options, fabric)
}

/// One series a row, the way the M4 competition's files are: `id,value,value,…`, as many as there are. Their interval
/// stands nowhere in them.
pub(super) fn parse_wide(
    mut lines: Lines<'_, impl BufRead>,
    options: &SeriesOptions,
    fabric: &Fabric,
) -> Result<Traffic, Problem> {
    let Some(interval_s) = options.interval_s else {
        return Err(lines.problem("series without times", "--interval, the time between two values"));
    };
    let mut series: Vec<Series> = Vec::new();
    while let Some(fields) = lines.next()? {
        let mut rows = Vec::new();
        let count = fields.iter().rposition(|text| !text.is_empty()).unwrap_or(0);
        for (number, text) in fields.iter().skip(1).take(count).enumerate() {
            let value = lines.number(text, "a value", 0.0, 1e15)? * options.scale;
            rows.push(Point { t: number as f64 * interval_s, value, mean_duration_s: None });
        }
        if rows.is_empty() {
            return Err(lines.problem(format!("no value of '{}'", shown(&fields[0])), "an id and its values"));
        }
        series.push((fields[0].clone(), rows));
    }
    of_series(&lines, &series, options.subject.unwrap_or(Subject::Active), options, fabric)
}

fn of_series<R>(
    lines: &Lines<'_, R>,
    series: &[Series],
    subject: Subject,
    options: &SeriesOptions,
    fabric: &Fabric,
) -> Result<Traffic, Problem> {
    let Some(start_s) = series.first().map(|(_, rows)| rows[0].t) else {
        return Err(lines.whole("no row", "at least one value"));
    };
    let gaps = series.iter().flat_map(|(_, rows)| rows.windows(2).map(|pair| pair[1].t - pair[0].t));
    let interval_s = options.interval_s.or_else(|| gaps.reduce(f64::min)).unwrap_or(super::traffic::INTERVAL_DEFAULT_S);
    let mut columns = Vec::new();
    for (_, rows) in series {
        let values = regular(lines, rows, interval_s, &|point| point.value)?;
        let mut column = demands(&values, subject, interval_s, options);
        if rows.iter().any(|point| point.mean_duration_s.is_some_and(|mean| mean > 0.0)) {
            let means = regular(lines, rows, interval_s, &|point| point.mean_duration_s.unwrap_or(0.0))?;
            column.iter_mut().zip(means).for_each(|(row, mean)| row.mean_duration_s = mean as f32);
        }
        columns.push(column);
    }
    super::traffic::fill_durations(&mut columns);
    Ok(Traffic { start_s, interval_s, demand: dealt(series, &columns, fabric) })
}

/// Values at every interval; a missing one is as the last before it.
fn regular<R>(
    lines: &Lines<'_, R>,
    rows: &[Point],
    interval_s: f64,
    of: &dyn Fn(&Point) -> f64,
) -> Result<Vec<f64>, Problem> {
    let (first, last) = (rows[0].t, rows[rows.len() - 1].t);
    let count = (last - first) / interval_s;
    if !(interval_s > 0.0 && count < CELLS_MAX as f64) {
        return Err(lines.whole(format!("{count:.0} intervals of {interval_s} s"), format!("at most {CELLS_MAX}")));
    }
    let mut values: Vec<f64> = Vec::with_capacity(count as usize + 1);
    for point in rows {
        let place = ((point.t - first) / interval_s).round() as usize;
        let value = of(point);
        let before = values.last().copied().unwrap_or(value);
        values.resize(values.len().max(place), before);
        values.truncate(place);
        values.push(value);
    }
    Ok(values)
}

/// Seconds, or `YYYY-MM-DD HH:MM:SS` in UTC.
fn time<R>(lines: &Lines<'_, R>, text: &str) -> Result<f64, Problem> {
    if let Ok(seconds) = text.parse::<f64>() {
        return lines.number(text, "a time", -1e12, 1e12).map(|_| seconds);
    }
    let moment: Result<jiff::civil::DateTime, _> = text.parse();
    match moment.and_then(|moment| moment.to_zoned(jiff::tz::TimeZone::UTC)) {
        Ok(moment) => Ok(moment.timestamp().as_second() as f64),
        Err(_) => Err(lines.problem(format!("'{}' for a time", shown(text)), "seconds, or YYYY-MM-DD HH:MM:SS")),
    }
}

/// Connections that make such a series. Remainders go on to the next row.
fn demands(values: &[f64], subject: Subject, interval_s: f64, options: &SeriesOptions) -> Vec<Demand> {
    let mean_s = options.mean_duration_s.unwrap_or(interval_s).max(1e-3);
    let staying = (-interval_s / mean_s).exp();
    let (mut left, mut open) = (0.0, values.first().copied().unwrap_or(0.0));
    let row = |value: &f64| {
        let new = match subject {
            Subject::New => *value,
            Subject::Bits => value / (8.0 * options.flow_bytes),
            Subject::BitsPerSecond => value * interval_s / (8.0 * options.flow_bytes),
            // What has to come for so many to be open at the end; a fall steeper than connections end is not followed.
            Subject::Active => ((value - open * staying) / (mean_s * (1.0 - staying)) * interval_s).max(0.0),
        };
        let whole = (new + left).min(f64::from(u32::MAX)).round();
        left += new - whole;
        open = open * staying + whole / interval_s * mean_s * (1.0 - staying);
        Demand { new: whole.max(0.0) as u32, mean_duration_s: mean_s as f32 }
    };
    values.iter().map(row).collect()
}

/// Series to routers.
fn dealt(series: &[Series], columns: &[Vec<Demand>], fabric: &Fabric) -> Vec<Vec<Demand>> {
    let count = fabric.routers();
    let length = columns.iter().map(Vec::len).max().unwrap_or(0);
    if let [only] = columns {
        let delayed = |router: usize| {
            let mut own = only.clone();
            own.rotate_right(router * length / count);
            own
        };
        return (0..count).map(delayed).collect();
    }
    let places = fabric.places();
    let mean = columns.iter().flatten().next().map_or(1.0, |row| row.mean_duration_s);
    let mut demand = vec![vec![Demand { new: 0, mean_duration_s: mean }; length]; count];
    for (number, ((name, _), column)) in series.iter().zip(columns).enumerate() {
        let place = places.get(&crate::types::NodeId::new(name)).copied().unwrap_or(number % count);
        for (row, more) in demand[place].iter_mut().zip(column) {
            row.new = row.new.saturating_add(more.new);
        }
    }
    demand
}

/// Matrices by names: `t,src>dst,…`, in bits a second. The source's router takes the connection.
pub(super) fn parse_named_matrix(
    mut lines: Lines<'_, impl BufRead>,
    header: &[String],
    options: &SeriesOptions,
    fabric: &Fabric,
) -> Result<Traffic, Problem> {
    let mut sources = Vec::with_capacity(header.len());
    for name in &header[1..] {
        let Some((source, target)) = name.split_once('>') else {
            return Err(lines.problem(format!("the column '{}'", shown(name)), "t, then columns src>dst"));
        };
        let place = |end: &str| fabric.names.iter().position(|id| id.as_str() == end).or_else(|| end.parse().ok());
        match (place(source), place(target)) {
            (Some(a), Some(b)) if a < fabric.names.len() && b < fabric.names.len() => sources.push(fabric.home[a]),
            _ => {
                let what = format!("the column '{}'", shown(name));
                return Err(lines.problem(what, "ids of nodes of the topology, or their numbers from 0"));
            }
        }
    }
    let (mut times, mut rows) = (Vec::new(), Vec::new());
    while let Some(fields) = lines.next()? {
        if fields.len() != header.len() {
            return Err(lines.problem(format!("{} fields", fields.len()), format!("{}", header.len())));
        }
        times.push(time(&lines, &fields[0])?);
        rows.push(summed(&lines, fields[1..].iter().map(String::as_str), &sources, fabric)?);
    }
    if rows.is_empty() {
        return Err(lines.whole("no row", "at least one matrix"));
    }
    let least = times.windows(2).map(|pair| pair[1] - pair[0]).reduce(f64::min);
    let interval_s = options.interval_s.or(least).unwrap_or(super::traffic::INTERVAL_DEFAULT_S);
    if interval_s <= 0.0 {
        return Err(lines.whole("times that do not rise", "times that rise"));
    }
    Ok(of_matrices(&rows, times[0], interval_s, options, fabric))
}

/// Matrices as rows of n times n numbers, one an interval, in bits a second; the row number is the source.
pub(super) fn parse_rows(
    mut lines: Lines<'_, impl BufRead>,
    first: &str,
    options: &SeriesOptions,
    fabric: &Fabric,
) -> Result<Traffic, Problem> {
    let nodes = fabric.names.len();
    let sources: Vec<usize> = (0..nodes * nodes).map(|cell| fabric.home[cell / nodes]).collect();
    let Some(interval_s) = options.interval_s else {
        return Err(lines.problem("matrices without times", "--interval, the time between two of them"));
    };
    let mut rows = Vec::new();
    let mut text = Some(first.to_owned());
    while let Some(line) = text {
        let numbers: Vec<&str> =
            line.split(|c: char| c == ',' || c.is_whitespace()).filter(|n| !n.is_empty()).collect();
        if numbers.len() != nodes * nodes {
            let what = format!("{} numbers", numbers.len());
            return Err(lines.problem(what, format!("{}, a matrix of the topology's {nodes} nodes", nodes * nodes)));
        }
        rows.push(summed(&lines, numbers.into_iter(), &sources, fabric)?);
        text = lines.text()?;
    }
    Ok(of_matrices(&rows, 0.0, interval_s, options, fabric))
}

/// REPETITA's demands: `DEMANDS n`, a line of column names, then `label src dest bw` with bw in kbit/s.
pub(super) fn parse_demands(
    mut lines: Lines<'_, impl BufRead>,
    first: &str,
    options: &SeriesOptions,
    fabric: &Fabric,
) -> Result<Traffic, Problem> {
    let count = first.strip_prefix("DEMANDS").and_then(|count| count.trim().parse::<usize>().ok());
    let Some(count) = count else { return Err(lines.problem(format!("'{}'", shown(first)), "DEMANDS and a number")) };
    let _column_names = lines.text()?;
    let mut sums = vec![0.0; fabric.routers()];
    let mut seen = 0;
    while let Some(text) = lines.text()? {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let &[_, source, target, bandwidth] = fields.as_slice() else {
            return Err(lines.problem(format!("{} fields", fields.len()), "a demand: label src dest bw"));
        };
        let most = fabric.names.len().saturating_sub(1) as f64;
        let source = lines.number(source, "a source", 0.0, most)? as usize;
        lines.number(target, "a destination", 0.0, most)?;
        sums[fabric.home[source]] += lines.number(bandwidth, "a bandwidth in kbit/s", 0.0, 1e15)? * 1e3;
        seen += 1;
    }
    if seen != count {
        return Err(lines.whole(format!("{seen} demands"), format!("{count}, as its first line says")));
    }
    let interval_s = options.interval_s.unwrap_or(super::traffic::INTERVAL_DEFAULT_S);
    let rows = (options.duration_s.unwrap_or(3_600.0) / interval_s).ceil().clamp(1.0, 1e6) as usize;
    Ok(of_matrices(&vec![sums; rows], 0.0, interval_s, options, fabric))
}

/// Bits a second of each router.
fn summed<'t, R>(
    lines: &Lines<'_, R>,
    numbers: impl Iterator<Item = &'t str>,
    sources: &[usize],
    fabric: &Fabric,
) -> Result<Vec<f64>, Problem> {
    let mut sums = vec![0.0; fabric.routers()];
    for (text, source) in numbers.zip(sources) {
        sums[*source] += lines.number(text, "a demand in bit/s", 0.0, 1e18)?;
    }
    Ok(sums)
}

fn of_matrices(rows: &[Vec<f64>], start_s: f64, interval_s: f64, options: &SeriesOptions, fabric: &Fabric) -> Traffic {
    let of_router = |router: usize| {
        let values: Vec<f64> = rows.iter().map(|row| row[router] * options.scale).collect();
        demands(&values, options.subject.unwrap_or(Subject::BitsPerSecond), interval_s, options)
    };
    Traffic { start_s, interval_s, demand: (0..fabric.routers()).map(of_router).collect() }
}

/// Only names a file in problems.
pub(super) fn lines<'p, R: BufRead>(path: &'p Path, from: R) -> Lines<'p, R> {
    Lines::new(path, from)
}
