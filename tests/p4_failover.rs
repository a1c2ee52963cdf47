//! First-stage switches die on a fabric of emulated P4Runtime targets, with hundreds of TCP connections in flight.

mod acceptance;
mod fabric;

use acceptance::failover;
use fabric::{Kind, isolated_on};

const KIND: Kind = Kind::Emulated;

#[test]
fn p4_failover_power_loss_breaks_nothing() {
    isolated_on(&[KIND], || failover::power_loss_breaks_nothing(KIND));
}

#[test]
fn p4_failover_kill_and_return_break_nothing() {
    isolated_on(&[KIND], || failover::kill_and_return_break_nothing(KIND));
}

#[test]
fn p4_failover_restart_breaks_nothing() {
    isolated_on(&[KIND], || failover::restart_breaks_nothing(KIND));
}

#[test]
fn p4_failover_hang_breaks_nothing() {
    isolated_on(&[KIND], || failover::hang_breaks_nothing(KIND));
}

#[test]
fn p4_failover_two_in_turn_break_nothing() {
    isolated_on(&[KIND], || failover::two_in_turn_break_nothing(KIND));
}

#[test]
fn p4_failover_without_replication_breaks_them() {
    isolated_on(&[KIND], || failover::without_replication_they_break(KIND));
}
