//! The single owner of all state: events in, decisions, commands out.

pub mod feed;
pub mod view;
