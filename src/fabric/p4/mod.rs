//! Emulated P4 switches: programs compiled to BMv2's JSON, what executes them, and the target that controllers talk to.

pub mod machine;
pub mod program;
pub mod server;
pub mod target;
