//! Foreshadow forecasts that a connection-holding router will run out of connections, and moves new ones in time.
//!
//! Layers import only downwards, in the order of the list below (`tests/tidy.rs` holds them to it).

pub mod config;
pub mod types;

pub mod plan;
pub mod wire;

pub mod p4info;

pub mod southbound;

pub mod network;

pub mod telemetry;

pub mod anomaly;
pub mod forecast;

pub mod agent;
pub mod replication;

pub mod controller;
pub mod northbound;
pub mod policy;
pub mod replay;

pub mod fabric;

pub mod cli;
