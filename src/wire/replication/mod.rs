//! Records of connections on mirror links.

pub mod fixed;
