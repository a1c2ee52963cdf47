//! Pure decisions: state and `now` in, a value out. Nothing here reads a clock, a socket or a random source.

pub mod decision;
