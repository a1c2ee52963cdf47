//! What a replay is made from: files and options of the command line.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::BadInput;
use super::{capacities, seconds};
use crate::config::import::{self, FILE_BYTES_MAX};
use crate::config::{LoopSettings, Problem};
use crate::replay::faults::{self, Fault, parse_flag};
use crate::replay::{
    Capacity, Fabric, Kind, Options, Replay, SeriesOptions, Shape, Source, StageRule, Subject, SyntheticOptions,
    Threshold, Traffic, synthesise,
};

/// Telemetry takes readings further apart for a gap.
const CYCLE_MAX_S: f64 = 300.0;
const CYCLE_MIN_S: f64 = 0.1;
/// How far ahead is looked where nothing else is asked for, within these bounds in cycles.
const HORIZON_S: f64 = 600.0;
const HORIZON_CYCLES: (f64, f64) = (5.0, 60.0);
const HORIZON_MAX: u32 = 1_000;
const DAY_S: f64 = 86_400.0;
const SYNTHETIC: &str = "synthetic:";

#[derive(Debug, Args)]
pub(in crate::cli) struct InputArgs {
    /// Control cycle, 100ms to 5m; the traffic's interval, and at most 5m, where it is not given
    #[arg(long, value_name = "D", value_parser = seconds)]
    cycle: Option<f64>,
    /// How far ahead the policy looks; ten minutes, and 5 to 60 cycles, where it is not given
    #[arg(long, value_name = "CYCLES", value_parser = clap::value_parser!(u32).range(1..=i64::from(HORIZON_MAX)))]
    horizon: Option<u32>,
    /// Connections a router may hold: N, or pN for that percentile of its active count had nothing been shifted; as
    /// declared, or p95 where nothing is
    #[arg(long, value_name = "N|pN", value_parser = parse_capacity)]
    capacity: Option<Capacity>,
    /// Connections that shall stay available: N, or N% of the capacity; as declared, or 10% where the capacity is not
    #[arg(long, value_name = "N|N%", value_parser = parse_threshold)]
    threshold: Option<Threshold>,
    /// Where the file declares no first stage: how many of the best-connected nodes are it
    #[arg(long, value_name = "N")]
    routers: Option<usize>,
    /// Of a series: the column to take
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Of a series: what its numbers are, new or active connections, bits or bits-per-second
    #[arg(long, value_name = "WHAT", value_parser = parse_subject)]
    subject: Option<Subject>,
    /// Of a series or matrices: time between two rows
    #[arg(long, value_name = "D", value_parser = seconds)]
    interval: Option<f64>,
    /// Mean duration of connections, where the file does not say; the interval, or two minutes of synthetic ones
    #[arg(long, value_name = "D", value_parser = seconds)]
    mean_duration: Option<f64>,
    /// Every value of a series or matrix is multiplied by it
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    scale: f64,
    /// Mean bytes of a connection, where traffic is given in bits; that of web search
    #[arg(long, value_name = "BYTES", default_value_t = 1_711_000.0)]
    flow_bytes: f64,
    /// How durations are spread: exponential, or as flow sizes are: web-search, data-mining, storage
    #[arg(long, value_name = "SHAPE", value_parser = parse_shape)]
    durations: Option<Shape>,
    /// Of synthetic traffic: how long it lasts; a day where it is not given
    #[arg(long, value_name = "D", value_parser = seconds)]
    duration: Option<f64>,
    /// Of synthetic traffic: connections of all routers together, about; by capacities where it is not given
    #[arg(long, value_name = "N")]
    connections: Option<u64>,
    /// Faults as YAML: faults: [{kind, name, at, for, loss}]
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// One fault, in seconds from the beginning: router, switch, link, controller, mirror or telemetry
    #[arg(long, value_name = "KIND[:NAME]@AT+FOR", value_parser = parse_flag)]
    fault: Vec<Fault>,
}

fn parse_capacity(text: &str) -> Result<Capacity, String> {
    let wrong = || format!("expected a number from 2 or p and a percentile from 1 to 100; came '{text}'");
    match text.strip_prefix('p') {
        Some(percent) => {
            let percent = percent.parse::<f64>().ok().filter(|percent| (1.0..=100.0).contains(percent));
            percent.map(Capacity::Percentile).ok_or_else(wrong)
        }
        None => text.parse::<u32>().ok().filter(|n| *n >= 2).map(Capacity::Fixed).ok_or_else(wrong),
    }
}

fn parse_threshold(text: &str) -> Result<Threshold, String> {
    let wrong = || format!("expected a number from 1 or a percentage below 100; came '{text}'");
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent = percent.parse::<f64>().ok().filter(|percent| *percent > 0.0 && *percent < 100.0);
            percent.map(Threshold::Percent).ok_or_else(wrong)
        }
        None => text.parse::<u32>().ok().filter(|n| *n >= 1).map(Threshold::Fixed).ok_or_else(wrong),
    }
}

fn parse_subject(text: &str) -> Result<Subject, String> {
    Subject::parse(text).ok_or_else(|| format!("expected {}", Subject::NAMES.join(", ")))
}

fn parse_shape(text: &str) -> Result<Shape, String> {
    Shape::parse(text).ok_or_else(|| format!("expected {}", Shape::NAMES.join(", ")))
}

fn bad(what: impl ToString) -> BadInput {
    BadInput(what.to_string())
}

fn bad_all(problems: &[Problem]) -> BadInput {
    BadInput(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// A file whose opening is a matter of the user.
fn open(path: &Path) -> Result<File, BadInput> {
    File::open(path).map_err(|error| BadInput(format!("{}: the file cannot be read: {error}", path.display())))
}

impl InputArgs {
    /// Reads everything; the notes are sentences about what was assumed.
    pub(in crate::cli) fn load(
        &self,
        topology: &Path,
        traffic: &str,
        seed: u64,
    ) -> anyhow::Result<(Replay, Vec<String>)> {
        let mut fabric = self.fabric(topology)?;
        let declared = fabric.rule == StageRule::Declared;
        let capacity = self.capacity.unwrap_or(if declared { Capacity::Declared } else { Capacity::Percentile(95.0) });
        let threshold = self.threshold.unwrap_or(match capacity {
            Capacity::Declared => Threshold::Declared,
            Capacity::Fixed(_) | Capacity::Percentile(_) => Threshold::Percent(10.0),
        });
        let mut faults = self.fault.clone();
        if let Some(path) = &self.faults {
            let mut text = String::new();
            let read = open(path)?.take(FILE_BYTES_MAX as u64).read_to_string(&mut text);
            read.map_err(|error| bad(format!("{}: the file cannot be read: {error}", path.display())))?;
            faults.extend(faults::parse(path, &text).map_err(bad)?);
        }
        if let Capacity::Fixed(fixed) = capacity {
            // Synthetic traffic follows the capacities.
            (0..fabric.routers())
                .for_each(|place| fabric.set_capacity(place, fixed, fixed.div_ceil(10).min(fixed - 1)));
        }
        let (traffic, shape, more) = self.traffic(traffic, seed, &fabric)?;
        faults.extend(more);
        let settings = self.settings(&traffic)?;
        let shape = self.durations.clone().unwrap_or(shape);
        let mut notes = std::mem::take(&mut fabric.notes);
        let options = Options { seed, settings, shape, capacity, threshold, faults };
        let replay = Replay::new(fabric, traffic, options).map_err(bad)?;
        notes.push(format!(
            "{} first-stage routers, {}; {} cycles of {} s, looking {} cycles ahead; durations {}",
            replay.fabric.routers(),
            capacities(&replay),
            replay.cycles(),
            replay.options.settings.cycle_ms as f64 / 1e3,
            replay.options.settings.horizon_cycles,
            replay.options.shape.name(),
        ));
        Ok((replay, notes))
    }

    fn fabric(&self, path: &Path) -> Result<Fabric, BadInput> {
        let mut bytes = Vec::new();
        let read = open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| bad(format!("{}: the file cannot be read: {error}", path.display())))?;
        let imported = import::import(path, &bytes, None, &import::Options::default());
        let imported = imported.map_err(|problems| bad_all(&problems))?;
        Fabric::new(&imported.topology, self.routers).map_err(|why| bad(format!("{}: {why}", path.display())))
    }

    fn traffic(&self, from: &str, seed: u64, fabric: &Fabric) -> Result<(Traffic, Shape, Vec<Fault>), BadInput> {
        if let Some(name) = from.strip_prefix(SYNTHETIC) {
            let Some(kind) = Kind::parse(name) else {
                let names = Kind::NAMES.map(|name| format!("{SYNTHETIC}{name}")).join(", ");
                return Err(bad(format!("--traffic {from}; expected a file, or {names}")));
            };
            let options = SyntheticOptions {
                kind,
                seed,
                duration_s: self.duration.unwrap_or(DAY_S),
                interval_s: self.interval.or(self.cycle).unwrap_or(60.0),
                mean_duration_s: self.mean_duration.unwrap_or(120.0),
                connections: self.connections,
            };
            let (traffic, faults) = synthesise(&options, fabric).map_err(bad)?;
            return Ok((traffic, kind.shape(), faults));
        }
        for (name, value) in [("--scale", self.scale), ("--flow-bytes", self.flow_bytes)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(bad(format!("{name} is {value}; expected a number above 0")));
            }
        }
        let options = SeriesOptions {
            column: self.column.clone(),
            subject: self.subject,
            mean_duration_s: self.mean_duration,
            interval_s: self.interval,
            scale: self.scale,
            flow_bytes: self.flow_bytes,
            duration_s: self.duration,
        };
        let path = Path::new(from);
        let traffic = Source::read(path, open(path)?, &options, fabric).map_err(bad)?;
        Ok((traffic, Shape::exponential(), Vec::new()))
    }

    fn settings(&self, traffic: &Traffic) -> Result<LoopSettings, BadInput> {
        let cycle_s = self.cycle.unwrap_or_else(|| {
            let parts = (traffic.interval_s / CYCLE_MAX_S).ceil().max(1.0);
            (traffic.interval_s / parts).max(CYCLE_MIN_S)
        });
        if !(CYCLE_MIN_S..=CYCLE_MAX_S).contains(&cycle_s) {
            return Err(bad(format!("--cycle is {cycle_s} s; expected {CYCLE_MIN_S} to {CYCLE_MAX_S} s")));
        }
        let horizon = (HORIZON_S / cycle_s).round().clamp(HORIZON_CYCLES.0, HORIZON_CYCLES.1) as u32;
        Ok(LoopSettings {
            cycle_ms: (cycle_s * 1e3).round() as u64,
            horizon_cycles: self.horizon.unwrap_or(horizon),
            ..LoopSettings::default()
        })
    }
}
