//! Pure decisions: state and `now` in, a value out. Nothing here reads a clock, a socket or a random source.

pub mod correction;
pub mod decision;
pub mod engine;
pub mod failover;
pub mod shadow;
pub mod shift;
pub mod weights;
