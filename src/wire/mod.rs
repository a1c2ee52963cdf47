//! Codecs: bytes in, values out, and back. No sockets, no clocks, no panics on any input.

pub mod arp;
pub mod ctnetlink;
pub mod dhcp;
pub mod ethernet;
pub mod liveness;
pub mod lldp;
pub mod ndp;
pub mod openflow;
pub mod p4runtime;
pub mod replication;
