//! Action profiles: members and groups.

use std::collections::BTreeMap;

use super::control::Seat;
use super::table::{Held, expand};
use crate::types::PortNo;

#[derive(Clone, Debug, Default)]
pub(super) struct GroupState {
    pub(super) seats: Vec<Seat>,
    /// Members whose port is up, each as often as it weighs.
    pub(super) live: Vec<u32>,
}

impl GroupState {
    pub(super) fn refresh(&mut self, is_up: impl Fn(PortNo) -> bool) {
        let seats = self.seats.iter();
        self.live = expand(seats.map(|seat| (seat.member, seat.weight, seat.watch.is_none_or(&is_up))));
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct ProfileState {
    pub(super) members: BTreeMap<u32, Held>,
    pub(super) groups: BTreeMap<u32, GroupState>,
}
