//! P4Runtime switches, versions 1.3 to 1.5 (docs/P4RUNTIME.md).

mod arbitration;
mod capabilities;
mod collect;
mod connection;
mod counters;
mod device;
mod difference;
mod driver;
mod entities;
mod install;
pub mod pipeline;
mod program;
mod replicate;
mod schema;
mod session;
mod spelling;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use arbitration::{Arbitration, ArbitrationError, Standing};
pub use capabilities::ApiVersion;
pub use collect::P4CollectSettings;
pub use counters::P4Counters;
pub use device::{Device, P4SessionSettings};
pub use difference::{Act, Change, Difference, difference};
pub use driver::{P4Settings, P4Southbound};
pub use entities::{EntityKey, MatchKey, P4State, Scope};
pub use install::P4InstallSettings;
pub use program::ProgramSettings;
pub use schema::Schema;
pub use session::P4Session;
pub use vocabulary::{Answer, Call, CallError, CallId, P4CloseReason};
