//! P4Runtime switches, versions 1.3 to 1.5 (docs/P4RUNTIME.md).

mod entities;
pub mod pipeline;
mod spelling;

pub use entities::{EntityKey, MatchKey, P4State, Scope};
