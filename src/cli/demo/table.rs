//! What the demo shows: a table that redraws itself on a terminal, a line now and then elsewhere, the report at the end.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};

use super::score::Report;
use crate::controller::feed::Feed;
use crate::controller::view::View;
use crate::fabric::traffic::Counts;
use crate::policy::decision::RouterDecision;
use crate::types::Timestamp;

/// Between two pictures on a terminal, and between two lines in a log.
const REDRAW: Duration = Duration::from_millis(200);
const LOG_LINE: Duration = Duration::from_secs(5);
/// Happenings below the table.
const EVENTS_SHOWN: usize = 8;
/// Width of the bar of available connections, characters.
const BAR: usize = 20;

/// The table while the day passes.
#[derive(Debug)]
pub(super) struct LiveTable {
    on_terminal: bool,
    http: SocketAddr,
    /// Happenings of the day have higher ids.
    first_event: u64,
    shown: Option<Instant>,
    /// Lines of the last picture, to draw over.
    lines: usize,
}

impl LiveTable {
    pub(super) fn new(http: SocketAddr, first_event: u64) -> Self {
        Self { on_terminal: io::stderr().is_terminal(), http, first_event, shown: None, lines: 0 }
    }

    pub(super) fn show(&mut self, now: Timestamp, view: &View, counts: &Counts, feed: &Feed) {
        let interval = if self.on_terminal { REDRAW } else { LOG_LINE };
        if self.shown.is_some_and(|shown| shown.elapsed() < interval) {
            return;
        }
        self.shown = Some(Instant::now());
        if self.on_terminal {
            let picture = self.picture(now, view, counts, feed);
            self.draw(&picture);
        } else {
            let routers: Vec<_> = view.routers.iter().map(in_short).collect();
            tracing::info!(
                refused = counts.refused,
                broken = counts.broken,
                opened = counts.offered,
                "{} {}",
                time_of_day(now),
                routers.join(", ")
            );
        }
    }

    /// Leaves the last picture standing.
    pub(super) fn finish(&mut self) {
        self.lines = 0;
    }

    fn picture(&self, now: Timestamp, view: &View, counts: &Counts, feed: &Feed) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["router", "active", "occupied", "available against threshold", "breach", "shift", "refused"]);
        for decision in &view.routers {
            table.add_row(row(decision));
        }
        for column in [1, 2, 4, 5, 6] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let events = feed.after(self.first_event);
        let recent = events.iter().rev().take(EVENTS_SHOWN).rev();
        let told: String = recent
            .map(|event| {
                let node = event.node.as_ref().map_or("", |node| node.as_str());
                format!("  {}  {:<10} {:<4} {}\n", time_of_day(event.at), event.kind, node, event.message)
            })
            .collect();
        format!(
            "{}   {:?}   opened {}   refused {}   broken {}   moved {}   http://{}\n{table}\n{told}",
            time_of_day(now),
            view.policy,
            counts.offered,
            counts.refused,
            counts.broken,
            counts.moved,
            self.http
        )
    }

    fn draw(&mut self, picture: &str) {
        let mut out = io::stderr().lock();
        // Up to where the last picture began, then clear to the end of the screen.
        let back = if self.lines > 0 { format!("\x1b[{}A\r\x1b[J", self.lines) } else { String::new() };
        // A terminal that went away takes nothing of the day with it.
        let _ = write!(out, "{back}{picture}").and_then(|()| out.flush());
        self.lines = picture.lines().count();
    }
}

fn row(decision: &RouterDecision) -> [String; 7] {
    let breach = decision.forecast.as_ref().map_or(0.0, |forecast| forecast.breach_probability);
    [
        decision.router.to_string(),
        format!("{:.0}", decision.load.active),
        format!("{:.0}/{}", decision.load.occupied, decision.capacity),
        bar(decision),
        format!("{:.0} %", breach * 100.0),
        if decision.shift_percent > 0.0 { format!("{:.0} %", decision.shift_percent) } else { "-".to_owned() },
        decision.load.refused_total.to_string(),
    ]
}

/// Available connections as a bar; `|` stands at the threshold.
fn bar(decision: &RouterDecision) -> String {
    let capacity = f64::from(decision.capacity).max(1.0);
    let available = (capacity - decision.load.occupied).max(0.0);
    let cells = |value: f64| ((value / capacity) * BAR as f64).round() as usize;
    let (filled, threshold) = (cells(available), cells(f64::from(decision.threshold_available)));
    let cell = |at: usize| match (at == threshold, at < filled) {
        (true, _) => '|',
        (_, true) => '█',
        _ => '·',
    };
    let below = available < f64::from(decision.threshold_available);
    format!("{} {available:>4.0}{}", (0..BAR).map(cell).collect::<String>(), if below { " !" } else { "  " })
}

fn in_short(decision: &RouterDecision) -> String {
    format!(
        "{} {:.0}/{} shift {:.0} %",
        decision.router, decision.load.occupied, decision.capacity, decision.shift_percent
    )
}

/// `hh:mm` of the virtual day.
fn time_of_day(at: Timestamp) -> String {
    clock(at.0 / 1_000_000 % 86_400)
}

fn clock(secs: u64) -> String {
    format!("{:02}:{:02}:{:02}", secs / 3_600, secs / 60 % 60, secs % 60)
}

/// The report for people, on standard output.
pub(super) fn print_report(report: &Report) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let clock_of = |secs: f64| clock(secs.max(0.0) as u64);
    let surge = &report.surge;
    writeln!(
        out,
        "\n{:?}, seed {}: a crowd came to {} from {} on and grew to {:.1} connections a second more than usual within {:.0} min",
        report.policy,
        report.seed,
        surge.service,
        clock_of(surge.start_s),
        surge.extra_per_s,
        surge.ramp_s / 60.0
    )?;
    let mut routers = Table::new();
    routers.load_style(presets::UTF8_HORIZONTAL_ONLY);
    routers.set_header([
        "router",
        "most occupied",
        "unshifted",
        "capacity",
        "most shifted",
        "refused",
        "unshifted",
        "below threshold",
    ]);
    for router in &report.routers {
        routers.add_row([
            router.router.clone(),
            router.peak_occupied.to_string(),
            router.peak_occupied_unshifted.to_string(),
            router.capacity.to_string(),
            format!("{:.0} %", router.peak_shift_percent),
            router.refused.to_string(),
            router.refused_unshifted.to_string(),
            format!("{:.0} s", router.overload_seconds),
        ]);
    }
    writeln!(out, "{routers}")?;
    for breach in &report.breaches {
        let shift = if breach.first_shift_s < 0.0 {
            "nothing was shifted".to_owned()
        } else {
            format!("first shift at {}, lead {:.0} s", clock_of(breach.first_shift_s), breach.lead_s)
        };
        let crossing = clock_of(breach.crossing_s);
        writeln!(out, "{} would have crossed its threshold at {crossing}: {shift}", breach.router)?;
    }
    writeln!(
        out,
        "opened {}, refused {}, broken {}, moved {}; below a threshold for {:.0} s; {} false shifts, churn {:.0} points",
        report.new_connections,
        report.refused_connections,
        report.broken_connections,
        report.established_moved,
        report.overload_seconds,
        report.false_shifts,
        report.shift_churn
    )?;
    writeln!(
        out,
        "{:.1} s of wall time, {} packets through switches, {} MB",
        report.wall_s,
        report.packet_traversals,
        report.peak_rss_bytes / 1_000_000
    )
    .context("cannot write the report")
}
