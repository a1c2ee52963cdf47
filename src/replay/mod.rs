//! Replay of topologies and traffic under a virtual clock, without a switch (docs/REPLAY.md).
//!
//! Only the fabric is emulated, at the level of flows: connections are counted in cohorts, never kept one by one.
//! Readings go through `telemetry`, decisions come from `policy::engine`, new connections follow its slots. Nothing
//! here reads a clock or a file; the same inputs and seed give the same report.

mod arrivals;
mod cohort;
mod emulation;
mod fabric;
pub mod faults;
pub mod html;
mod plot;
mod report;
mod run;
mod score;
mod series;
mod sizes;
mod source;
mod synthetic;
mod traffic;

pub use fabric::{Fabric, StageRule};
pub use report::{BreachReport, Report, RouterReport};
pub use run::{Capacity, Moment, Options, Replay, Threshold, Unshifted};
pub use score::Sample;
pub use series::{SeriesOptions, Subject};
pub use sizes::Shape;
pub use source::Source;
pub use synthetic::{Kind, SyntheticOptions, synthesise};
pub use traffic::{Demand, Traffic};

#[cfg(test)]
mod tests;
