//! Codecs: bytes in, values out, and back. No sockets, no clocks, no panics on any input.

pub mod arp;
pub mod lldp;
pub mod openflow;
