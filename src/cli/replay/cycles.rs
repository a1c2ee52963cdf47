//! `replay --cycles`: what every router held, and what was decided about it, cycle by cycle.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::replay::Moment;

const HEADER: &str = "policy,t,router,occupied,unshifted,refused,refused_unshifted,crossed,prediction_severity,\
breach_probability,anomaly_severity,wanted_percent,shift_percent,unplaced_percent";

/// A CSV file that grows by a row a router and cycle.
pub(super) struct Cycles {
    path: PathBuf,
    to: BufWriter<File>,
    /// The first failure; nothing is written after it.
    failed: io::Result<()>,
}

impl Cycles {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut to = BufWriter::new(file);
        let failed = writeln!(to, "{HEADER}");
        Ok(Self { path: path.to_owned(), to, failed })
    }

    pub(super) fn write(&mut self, policy: &str, moment: &Moment<'_>) {
        if self.failed.is_err() {
            return;
        }
        let Moment { seconds, router, sample, decision } = moment;
        let start = format!(
            "{policy},{seconds},{router},{},{},{},{}",
            sample.occupied, sample.unshifted, sample.refused, sample.refused_unshifted
        );
        self.failed = match decision {
            Some(decision) => writeln!(
                self.to,
                "{start},{},{:.3},{:.3},{:.3},{:.2},{:.2},{:.2}",
                u8::from(decision.crossed),
                decision.prediction_severity,
                decision.forecast.as_ref().map_or(0.0, |forecast| forecast.breach_probability),
                decision.anomaly_severity,
                decision.wanted_percent,
                decision.shift_percent,
                decision.unplaced_percent
            ),
            None => writeln!(self.to, "{start},0,0,0,0,0,0,0"),
        };
    }

    pub(super) fn finish(self) -> anyhow::Result<()> {
        let Self { path, mut to, failed } = self;
        failed.and_then(|()| to.flush()).with_context(|| format!("cannot write {}", path.display()))
    }
}
