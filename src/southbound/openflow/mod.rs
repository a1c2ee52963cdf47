//! OpenFlow 1.3 switches with the Nicira extensions of Open vSwitch.

mod agent;
mod collect;
mod connection;
mod counters;
mod difference;
mod driver;
mod errands;
mod errors;
mod handshake;
mod install;
mod mapping;
mod multipart;
pub mod pipeline;
mod places;
mod refusals;
mod session;
pub mod state;
mod vocabulary;
mod work;

pub use agent::{AgentSettings, StartSettings, SwitchAgent};
pub use collect::{CollectSettings, Collector, Housekeeper};
pub use counters::SessionCounters;
pub use difference::{Change, Difference, difference};
pub use driver::{Southbound, SouthboundError, SouthboundSettings};
pub use errors::error_text;
pub use install::{CookieSpace, InstallEvent, InstallSettings, Installer};
pub use mapping::Mapping;
pub use multipart::AssemblyError;
pub use session::Session;
pub use vocabulary::{
    Answer, CloseReason, Owner, Phase, RequestError, RoleSetting, SendError, SessionEvent, SessionSettings,
};
