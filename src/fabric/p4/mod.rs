//! Emulated P4 switches: programs compiled to BMv2's JSON, and what executes them.

pub mod machine;
pub mod program;
