//! Emulated switches that speak the real protocols over sockets, and the traffic that crosses them.
//!
//! Nothing here is imported by the controller: an emulated fabric is on the far side of a TCP connection, as hardware
//! would be. Time is handed in everywhere, so a day of traffic can pass in seconds.

pub mod driver;
pub mod network;
pub mod p4;
pub mod packet;
pub mod session;
pub mod switch;
pub mod traffic;
pub mod wires;
