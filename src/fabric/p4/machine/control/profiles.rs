//! Members and groups of action profiles.

use std::sync::Arc;

use super::{Call, ControlError, Outcome, Seat, invalid, unknown};
use crate::fabric::p4::machine::table::{Does, Held};
use crate::fabric::p4::machine::{Machine, is_up};

/// Most seats of one group, each as often as it weighs.
const SEATS_MAX: u64 = 1 << 16;

/// Weights that a group or set may have.
pub(super) fn check_weights(place: &str, weights: impl Iterator<Item = u32>) -> Outcome {
    let mut sum = 0_u64;
    for weight in weights {
        if weight == 0 {
            return Err(invalid(place, "expected weights of at least 1"));
        }
        sum += u64::from(weight);
    }
    if sum > SEATS_MAX {
        return Err(invalid(place, format!("expected weights of at most {SEATS_MAX} together, came {sum}")));
    }
    Ok(())
}

impl Machine {
    fn profile_at(&self, name: &str) -> Outcome<usize> {
        let found = self.program.flow.profiles.iter().position(|profile| &*profile.name == name);
        found.ok_or_else(|| unknown("action profile", name))
    }

    /// An action of one of the profile's tables, with checked arguments.
    fn member_call(&self, profile: usize, call: &Call) -> Outcome<Held> {
        let name = &self.program.flow.profiles[profile].name;
        let tables = self.program.flow.tables.iter().filter(|table| table.profile == Some(profile));
        let mut actions = tables.flat_map(|table| table.actions.iter().copied());
        let action = actions.find(|action| self.program.actions[*action].name == call.action);
        let place = || format!("action profile '{name}'");
        let action =
            action.ok_or_else(|| invalid(place(), format!("no table of it has an action '{}'", call.action)))?;
        self.check_arguments(action, &call.arguments).map_err(|problem| invalid(place(), problem))?;
        Ok(Held { action, arguments: call.arguments.clone() })
    }

    pub(super) fn check_arguments(&self, action: usize, arguments: &[u128]) -> Result<(), String> {
        let action = &self.program.actions[action];
        if arguments.len() != action.parameters.len() {
            let (name, wanted) = (&action.name, action.parameters.len());
            return Err(format!("action '{name}' takes {wanted} arguments, came {}", arguments.len()));
        }
        for ((name, width), value) in action.parameters.iter().zip(arguments) {
            if *width < 128 && value >> width != 0 {
                return Err(format!("parameter '{name}' has {width} bits, came {value:#x}"));
            }
        }
        Ok(())
    }

    /// Adds a member or changes what it does.
    pub fn set_member(&mut self, profile: &str, member: u32, call: &Call) -> Outcome {
        let at = self.profile_at(profile)?;
        let held = self.member_call(at, call)?;
        let (size, members) = (self.program.flow.profiles[at].size, &mut self.profiles[at].members);
        if !members.contains_key(&member) && size > 0 && members.len() >= size {
            return Err(ControlError::Full { place: format!("action profile '{profile}'"), most: size });
        }
        members.insert(member, held);
        Ok(())
    }

    /// Removes a member that no group and no entry uses.
    pub fn remove_member(&mut self, profile: &str, member: u32) -> Outcome {
        let at = self.profile_at(profile)?;
        let place = || format!("member {member} of action profile '{profile}'");
        if !self.profiles[at].members.contains_key(&member) {
            return Err(ControlError::Missing { place: place() });
        }
        let mut seats = self.profiles[at].groups.values().flat_map(|group| &group.seats);
        let is_used = |does: &Does| matches!(does, Does::Member(used) if *used == member);
        if seats.any(|seat| seat.member == member) || self.uses(at, is_used) {
            return Err(ControlError::InUse { place: place() });
        }
        self.profiles[at].members.remove(&member);
        Ok(())
    }

    /// Whether an entry of a profile's tables does such a thing.
    fn uses(&self, profile: usize, wanted: impl Fn(&Does) -> bool) -> bool {
        let tables = self.program.flow.tables.iter().zip(&self.tables);
        let mut tables = tables.filter(|(table, _)| table.profile == Some(profile));
        tables.any(|(_, state)| state.entries.iter().flatten().any(|entry| wanted(&entry.does)))
    }

    pub fn members(&self, profile: &str) -> Outcome<Vec<(u32, Call)>> {
        let at = self.profile_at(profile)?;
        let members = self.profiles[at].members.iter();
        Ok(members.map(|(member, held)| (*member, self.call_of(held))).collect())
    }

    pub(super) fn call_of(&self, held: &Held) -> Call {
        let action = Arc::clone(&self.program.actions[held.action].name);
        Call { action, arguments: held.arguments.clone() }
    }

    /// Adds a group or changes its seats. An empty group runs nothing on a hit.
    pub fn set_group(&mut self, profile: &str, group: u32, seats: &[Seat]) -> Outcome {
        let at = self.profile_at(profile)?;
        let place = || format!("group {group} of action profile '{profile}'");
        if self.program.flow.profiles[at].selector.is_none() {
            return Err(invalid(place(), "the action profile has no selector"));
        }
        check_weights(&place(), seats.iter().map(|seat| seat.weight))?;
        if let Some(seat) = seats.iter().find(|seat| !self.profiles[at].members.contains_key(&seat.member)) {
            return Err(invalid(place(), format!("there is no member {}", seat.member)));
        }
        let (ports, cpu_port) = (&self.ports, self.cpu_port);
        let state = self.profiles[at].groups.entry(group).or_default();
        state.seats = seats.to_vec();
        state.refresh(|port| is_up(ports, cpu_port, port));
        Ok(())
    }

    /// Removes a group that no entry uses.
    pub fn remove_group(&mut self, profile: &str, group: u32) -> Outcome {
        let at = self.profile_at(profile)?;
        let place = || format!("group {group} of action profile '{profile}'");
        if !self.profiles[at].groups.contains_key(&group) {
            return Err(ControlError::Missing { place: place() });
        }
        if self.uses(at, |does| matches!(does, Does::Group(used) if *used == group)) {
            return Err(ControlError::InUse { place: place() });
        }
        self.profiles[at].groups.remove(&group);
        Ok(())
    }

    pub fn groups(&self, profile: &str) -> Outcome<Vec<(u32, Vec<Seat>)>> {
        let at = self.profile_at(profile)?;
        Ok(self.profiles[at].groups.iter().map(|(group, state)| (*group, state.seats.clone())).collect())
    }
}
