//! Golden bytes, round trips, and what is refused.
