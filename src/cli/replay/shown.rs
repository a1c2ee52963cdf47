//! A replay's figures: as a table for people, as JSON for programs.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::super::write_json;
use crate::config::PolicyKind;
use crate::replay::{Replay, Report};

/// One policy: its figures at the top. Only the last two fields differ between two runs of one seed.
#[derive(Serialize)]
struct One<'r> {
    #[serde(flatten)]
    report: &'r Report,
    notes: &'r [String],
    wall_s: f64,
    peak_rss_bytes: u64,
}

#[derive(Serialize)]
struct Several<'r> {
    seed: u64,
    new_connections: u64,
    /// Part of the gap in refused connections between reactive and oracle that each policy closes; only where all three
    /// were replayed and there is one.
    gap_closed: Vec<Gap>,
    policies: &'r [Report],
    notes: &'r [String],
    wall_s: f64,
    peak_rss_bytes: u64,
}

#[derive(Serialize)]
struct Gap {
    policy: PolicyKind,
    part: f64,
}

pub(super) fn out(
    reports: &[Report],
    notes: &[String],
    replay: &Replay,
    began: Instant,
    json: Option<&Path>,
) -> anyhow::Result<()> {
    if json != Some(Path::new("-")) {
        print(reports, notes, replay).context("cannot write to standard output")?;
    }
    let Some(to) = json else { return Ok(()) };
    let (wall_s, peak_rss_bytes) = (began.elapsed().as_secs_f64(), peak_rss_bytes());
    match reports {
        [report] => write_json(to, &One { report, notes, wall_s, peak_rss_bytes }),
        _ => write_json(
            to,
            &Several {
                seed: replay.options.seed,
                new_connections: replay.traffic.connections(),
                gap_closed: gaps(reports),
                policies: reports,
                notes,
                wall_s,
                peak_rss_bytes,
            },
        ),
    }
}

fn gaps(reports: &[Report]) -> Vec<Gap> {
    let refused = |policy: PolicyKind| {
        reports.iter().find(|report| report.policy == policy).map(|report| report.refused_connections as f64)
    };
    let (Some(reactive), Some(oracle)) = (refused(PolicyKind::Reactive), refused(PolicyKind::Oracle)) else {
        return Vec::new();
    };
    if reactive <= oracle {
        return Vec::new();
    }
    let part = |report: &Report| Gap {
        policy: report.policy,
        part: (reactive - report.refused_connections as f64) / (reactive - oracle),
    };
    let judged = |report: &&Report| report.policy.looks_ahead() && report.policy != PolicyKind::Oracle;
    reports.iter().filter(judged).map(part).collect()
}

fn print(reports: &[Report], notes: &[String], replay: &Replay) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for note in notes {
        writeln!(out, "{note}")?;
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "policy",
        "refused",
        "broken",
        "below threshold, s",
        "lead, s",
        "false shifts",
        "churn",
        "shifted",
        "worst shadow headroom",
        "replication, MB",
    ]);
    for report in reports {
        table.add_row([
            report.policy.name().to_owned(),
            report.refused_connections.to_string(),
            report.broken_connections.to_string(),
            format!("{:.0}", report.overload_seconds),
            format!("{:.0}", report.lead_time_s),
            format!("{} of {}", report.false_shifts, report.shifts),
            format!("{:.0}", report.shift_churn),
            report.shifted_connections.to_string(),
            report.worst_shadow_headroom.to_string(),
            format!("{:.1}", report.replication_bytes as f64 / 1e6),
        ]);
    }
    for column in 1..10 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{table}")?;
    for gap in gaps(reports) {
        let percent = gap.part * 100.0;
        writeln!(out, "{} closes {percent:.0} % of the gap between reactive and oracle", gap.policy.name())?;
    }
    if let Some(first) = reports.first() {
        let (new, unshifted) = (replay.traffic.connections(), first.refused_unshifted);
        writeln!(
            out,
            "{new} connections; {unshifted} refused had nothing been shifted, {} breaches",
            first.breaches.len()
        )?;
    }
    Ok(())
}

/// Most memory this process ever had (`VmHWM` of proc(5)); 0 where the system does not tell.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}
