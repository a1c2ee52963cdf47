//! The main job on emulated P4Runtime targets, `foreshadow switch` eleven times, with real TCP and UDP.
//!
//! Every test prints its figures. `FORESHADOW_LONG=1` (`make accept`) runs (d) for ten minutes, (b) and (f) in full.

mod acceptance;
mod fabric;

use acceptance::{capacity, counts, restart, rising, split, succession, survival};
use fabric::{Kind, isolated_on};

const KIND: Kind = Kind::Emulated;

/// (a) 200 connections, 50 of them idle for 90 seconds, through a shift of 50 %.
#[test]
fn p4_a_established_connections_survive_a_shift() {
    isolated_on(&[KIND], || survival::established_connections_survive_a_shift(KIND));
}

/// (b) What was asked for, against what came out of the routers.
#[test]
fn p4_b_realised_split_follows_the_shares() {
    isolated_on(&[KIND], || split::realised_split_follows_the_shares(KIND));
}

/// (c) Refusals beyond capacity, exactly; slots come back on FIN, RST and idleness.
#[test]
fn p4_c_capacity_refuses_exactly_and_slots_return() {
    isolated_on(&[KIND], || capacity::capacity_refuses_exactly_and_slots_return(KIND));
}

/// (d) Active connections as the controller reads them, against what the hosts themselves hold.
#[test]
fn p4_d_active_counts_match_the_hosts_own() {
    isolated_on(&[KIND], || counts::active_counts_match_the_hosts_own(KIND));
}

/// (e) The controller dies and comes back; the switches notice nothing.
#[test]
fn p4_e_controller_restart_changes_nothing() {
    isolated_on(&[KIND], || restart::controller_restart_changes_nothing(KIND));
}

/// (f) The load of r1 rises towards its capacity, under each policy.
#[test]
fn p4_f_shift_comes_before_the_crossing() {
    isolated_on(&[KIND], || rising::shift_comes_before_the_crossing(KIND));
}

/// Two controllers on one fabric: one writes, both read, the other takes over.
#[test]
fn p4_the_higher_writes_and_the_lower_takes_over() {
    isolated_on(&[KIND], || succession::the_higher_writes_and_the_lower_takes_over(KIND));
}
