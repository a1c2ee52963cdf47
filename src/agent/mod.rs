//! The agent of a Linux router: its kernel's connections are told to other routers, and theirs are kept for it (docs/AGENT.md).
//!
//! [`Agent`] is a machine without sockets and without a clock. [`driver`] owns the sockets: ctnetlink ([`kernel`]) on one
//! side, links to peers ([`link`]) on the other. It is a thread of its own that waits in one place.

pub mod driver;
pub mod kernel;
pub mod link;
mod report;
mod state;
#[cfg(test)]
mod tests;

pub use report::{KernelReport, PeerReport, Report};
pub use state::{Agent, Setup};
