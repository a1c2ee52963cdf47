//! Typed, validated configuration: the controller's own and the topology's.
//!
//! Reading a file and checking it are apart: a `*File` struct mirrors the YAML, [`Topology`] and [`Config`] are what
//! is left once everything in it was found right.

mod settings;
mod topology;

pub use settings::*;
pub use topology::*;
