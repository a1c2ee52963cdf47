//! Action profiles: members and groups, and which of the two ways of programming a profile is in
//! (specification, "ActionProfileMember & ActionProfileGroup").

use std::collections::{BTreeMap, BTreeSet};

use tonic::Code;

use super::key::{Call, Watch, Weighted};
use super::plane::{Plane, Rejected, Seat};
use super::refusal::{Behaviour, Outcome, Refusal};
use super::schema::{Profile, Schema};
use crate::wire::p4runtime::v1;

/// Most seats of one group, whatever the P4Info allows.
const SEATS_MAX: i64 = 65_536;

/// All tables of a profile are programmed by members and groups, or all of them by one-shot sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Undecided,
    Manual,
    OneShot,
}

#[derive(Clone, Debug)]
struct Member {
    call: Call,
    /// BMv2 keeps a member once for each unit of its greatest weight, under a handle of its own.
    handles: Vec<u32>,
    /// Entries that name it.
    uses: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Membership {
    weight: u32,
    watch: Watch,
}

#[derive(Clone, Debug, Default)]
struct Group {
    max_size: i32,
    members: BTreeMap<u32, Membership>,
    uses: usize,
}

/// What one profile holds.
#[derive(Clone, Debug, Default)]
pub(super) struct ProfileState {
    mode: Mode,
    members: BTreeMap<u32, Member>,
    groups: BTreeMap<u32, Group>,
    /// Handles below `next_handle` that are free.
    free_handles: BTreeSet<u32>,
    next_handle: u32,
    /// Entries with a one-shot set.
    sets: usize,
}

/// A profile together with what its changes need.
pub(super) struct Programming<'p> {
    pub(super) schema: &'p Schema,
    pub(super) profile: &'p Profile,
    pub(super) state: &'p mut ProfileState,
    pub(super) plane: &'p mut Plane,
    pub(super) behaviour: Behaviour,
}

impl ProfileState {
    /// Goes over to the wanted way, which a profile that holds nothing may.
    pub(super) fn enter(&mut self, wanted: Mode) -> Outcome {
        let is_empty = self.members.is_empty() && self.groups.is_empty() && self.sets == 0;
        if self.mode != wanted && !is_empty {
            return Err(Refusal::invalid("Invalid attempt to mix action selector programming modes"));
        }
        self.mode = wanted;
        Ok(())
    }

    /// An entry begins, or ends, to name a member.
    pub(super) fn use_member(&mut self, id: u32, more: bool) {
        if let Some(member) = self.members.get_mut(&id) {
            member.uses = if more { member.uses + 1 } else { member.uses.saturating_sub(1) };
        }
    }

    pub(super) fn use_group(&mut self, id: u32, more: bool) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.uses = if more { group.uses + 1 } else { group.uses.saturating_sub(1) };
        }
    }

    pub(super) fn use_set(&mut self, more: bool) {
        self.sets = if more { self.sets + 1 } else { self.sets.saturating_sub(1) };
    }

    pub(super) fn has_member(&self, id: u32) -> bool {
        self.members.contains_key(&id)
    }

    pub(super) fn has_group(&self, id: u32) -> bool {
        self.groups.contains_key(&id)
    }

    /// BMv2 answers a wildcard with every copy of a member.
    pub(super) fn read_members(
        &self,
        schema: &Schema,
        profile: u32,
        wanted: u32,
        behaviour: Behaviour,
        out: &mut Vec<v1::ActionProfileMember>,
    ) {
        for (id, member) in self.members.iter().filter(|(id, _)| wanted == 0 || **id == wanted) {
            let entity = v1::ActionProfileMember {
                action_profile_id: profile,
                member_id: *id,
                action: Some(member.call.write(schema)),
            };
            let copies = if wanted == 0 { behaviour.pick(member.handles.len(), 1) } else { 1 };
            out.extend(std::iter::repeat_n(entity, copies));
        }
    }

    pub(super) fn read_groups(
        &self,
        profile: u32,
        wanted: u32,
        behaviour: Behaviour,
        out: &mut Vec<v1::ActionProfileGroup>,
    ) {
        let groups = self.groups.iter().filter(|(id, _)| wanted == 0 || **id == wanted);
        out.extend(groups.map(|(id, group)| {
            let last = self.last_watch(group);
            let members = group.members.iter().map(|(id, membership)| v1::action_profile_group::Member {
                member_id: *id,
                weight: membership.weight.cast_signed(),
                watch_kind: match behaviour {
                    Behaviour::Bmv2 => member_watch(&last),
                    Behaviour::Specification => member_watch(&membership.watch),
                },
            });
            v1::ActionProfileGroup {
                action_profile_id: profile,
                group_id: *id,
                members: members.collect(),
                max_size: group.max_size,
            }
        }));
    }

    /// BMv2 answers, for every member of a group, with the watch of the member that has the highest handle.
    fn last_watch(&self, group: &Group) -> Watch {
        let handle = |(id, membership): &(&u32, &Membership)| {
            let copies = membership.weight as usize;
            self.members.get(id).and_then(|member| member.handles.iter().take(copies).max().copied())
        };
        group.members.iter().max_by_key(handle).map_or(Watch::Nothing, |(_, membership)| membership.watch.clone())
    }

    fn new_handle(&mut self) -> u32 {
        self.free_handles.pop_first().unwrap_or_else(|| {
            self.next_handle += 1;
            self.next_handle - 1
        })
    }

    /// Brings the copies of every member to its greatest weight, at least one.
    fn settle_copies(&mut self, ids: &BTreeSet<u32>) {
        let weight_of = |state: &Self, id: &u32| {
            let weights = state.groups.values().filter_map(|group| group.members.get(id));
            weights.map(|membership| membership.weight as usize).max().unwrap_or(1).max(1)
        };
        for id in ids {
            let copies = weight_of(self, id);
            while self.members.get(id).is_some_and(|member| member.handles.len() < copies) {
                let handle = self.new_handle();
                self.members.get_mut(id).expect("just seen").handles.push(handle);
            }
        }
        for id in ids {
            let copies = weight_of(self, id);
            let Some(member) = self.members.get_mut(id) else { continue };
            self.free_handles.extend(member.handles.drain(copies.min(member.handles.len())..));
        }
    }
}

fn member_watch(watch: &Watch) -> Option<v1::action_profile_group::member::WatchKind> {
    use v1::action_profile_group::member::WatchKind;
    match watch {
        Watch::Nothing => None,
        Watch::Number(number) => Some(WatchKind::Watch(*number)),
        Watch::Port(bytes) => Some(WatchKind::WatchPort(bytes.clone())),
    }
}

/// Reads and checks a one-shot set.
pub(super) fn read_set(
    schema: &Schema,
    profile: &Profile,
    set: &v1::ActionProfileActionSet,
    behaviour: Behaviour,
) -> Outcome<Vec<Weighted>> {
    use v1::action_profile_action::WatchKind;
    let actions = &set.action_profile_actions;
    if actions.is_empty() && behaviour == Behaviour::Bmv2 {
        return Err(Refusal::new(Code::Unimplemented, "No support for empty action profile groups"));
    }
    for action in actions {
        check_action(schema, profile, action.action.as_ref(), behaviour)?;
    }
    check_weights(
        actions.iter().map(|action| action.weight),
        profile.group_size_max,
        || "Sum of weights exceeds static max_group_size (from P4Info)",
    )?;
    let read = |action: &v1::ActionProfileAction| {
        let call = Call::read(schema, action.action.as_ref().unwrap_or(&v1::Action::default()), behaviour)?;
        let watch = match &action.watch_kind {
            None => Watch::Nothing,
            Some(WatchKind::Watch(number)) => Watch::Number(*number),
            Some(WatchKind::WatchPort(bytes)) => Watch::Port(bytes.clone()),
        };
        check_watch(&watch, behaviour)?;
        Ok(Weighted { call, weight: action.weight.unsigned_abs(), watch })
    };
    actions.iter().map(read).collect()
}

pub(super) fn write_set(schema: &Schema, set: &[Weighted]) -> v1::ActionProfileActionSet {
    use v1::action_profile_action::WatchKind;
    let actions = set.iter().map(|weighted| v1::ActionProfileAction {
        action: Some(weighted.call.write(schema)),
        weight: weighted.weight.cast_signed(),
        watch_kind: match &weighted.watch {
            Watch::Nothing => None,
            Watch::Number(number) => Some(WatchKind::Watch(*number)),
            Watch::Port(bytes) => Some(WatchKind::WatchPort(bytes.clone())),
        },
    });
    v1::ActionProfileActionSet { action_profile_actions: actions.collect(), ..Default::default() }
}

fn check_action(schema: &Schema, profile: &Profile, action: Option<&v1::Action>, behaviour: Behaviour) -> Outcome {
    let id = action.map_or(0, |action| action.action_id);
    if !schema.actions.contains_key(&id) {
        return Err(Refusal::invalid(behaviour.pick("Invalid P4 id", "Invalid action id")));
    }
    let belongs = |table: &u32| schema.tables.get(table).is_some_and(|table| table.actions.contains_key(&id));
    if profile.tables.iter().any(belongs) {
        return Ok(());
    }
    Err(Refusal::invalid("Invalid action for action profile"))
}

fn check_weights(weights: impl Iterator<Item = i32>, most: i64, message: impl Fn() -> &'static str) -> Outcome {
    let mut sum = 0;
    for weight in weights {
        if weight <= 0 {
            return Err(Refusal::invalid("Member weight must be a positive integer value"));
        }
        sum += i64::from(weight);
    }
    let most = if most > 0 { most.min(SEATS_MAX) } else { SEATS_MAX };
    if sum > most { Err(Refusal::new(Code::ResourceExhausted, message())) } else { Ok(()) }
}

/// BMv2 lets everything pass and watches nothing where it does not understand.
fn check_watch(watch: &Watch, behaviour: Behaviour) -> Outcome {
    match (behaviour, watch) {
        (Behaviour::Specification, Watch::Port(bytes)) if !bytes.is_empty() && watch.port().is_none() => {
            Err(Refusal::invalid("expected a port number as watch_port"))
        }
        _ => Ok(()),
    }
}

impl Programming<'_> {
    pub(super) fn write_member(&mut self, update: v1::update::Type, member: &v1::ActionProfileMember) -> Outcome {
        self.state.enter(Mode::Manual)?;
        let id = member.member_id;
        if self.behaviour == Behaviour::Specification && id == 0 {
            return Err(Refusal::invalid("expected a member id other than 0"));
        }
        match update {
            v1::update::Type::Unspecified => Err(Refusal::invalid("Update type is not set")),
            v1::update::Type::Insert => {
                let call = self.read_call(member)?;
                if self.state.members.contains_key(&id) {
                    return Err(Refusal::new(Code::AlreadyExists, format!("Duplicate member id: {id}")));
                }
                if self.profile.size > 0
                    && self.copies() >= self.profile.size
                    && self.behaviour == Behaviour::Specification
                {
                    return Err(Refusal::new(Code::ResourceExhausted, "The action profile is full"));
                }
                let name = &self.profile.name;
                self.plane.set_member(self.schema, name, id, &call).map_err(|_| target("creating member on"))?;
                let handle = self.state.new_handle();
                self.state.members.insert(id, Member { call, handles: vec![handle], uses: 0 });
                Ok(())
            }
            v1::update::Type::Modify => {
                let call = self.read_call(member)?;
                let known = self.state.members.get_mut(&id);
                let known = known.ok_or_else(|| no_member(id))?;
                let name = &self.profile.name;
                self.plane.set_member(self.schema, name, id, &call).map_err(|_| target("modifying member on"))?;
                known.call = call;
                Ok(())
            }
            v1::update::Type::Delete => {
                let known = self.state.members.get(&id).ok_or_else(|| no_member(id))?;
                let in_group = self.state.groups.values().any(|group| group.members.contains_key(&id));
                if known.uses > 0 || in_group {
                    return Err(self.in_use("member"));
                }
                self.plane.remove_member(&self.profile.name, id).map_err(|_| target("deleting member on"))?;
                let handles = self.state.members.remove(&id).map(|member| member.handles).unwrap_or_default();
                self.state.free_handles.extend(handles);
                Ok(())
            }
        }
    }

    fn read_call(&self, member: &v1::ActionProfileMember) -> Outcome<Call> {
        check_action(self.schema, self.profile, member.action.as_ref(), self.behaviour)?;
        Call::read(self.schema, member.action.as_ref().unwrap_or(&v1::Action::default()), self.behaviour)
    }

    fn copies(&self) -> usize {
        self.state.next_handle as usize - self.state.free_handles.len()
    }

    fn in_use(&self, what: &str) -> Refusal {
        match self.behaviour {
            Behaviour::Bmv2 => target(&format!("deleting {what} on")),
            Behaviour::Specification => Refusal::new(Code::FailedPrecondition, format!("The {what} is in use")),
        }
    }

    pub(super) fn write_group(&mut self, update: v1::update::Type, group: &v1::ActionProfileGroup) -> Outcome {
        self.state.enter(Mode::Manual)?;
        let id = group.group_id;
        if self.behaviour == Behaviour::Specification && id == 0 {
            return Err(Refusal::invalid("expected a group id other than 0"));
        }
        match update {
            v1::update::Type::Unspecified => Err(Refusal::invalid("Update type is not set")),
            v1::update::Type::Insert => self.insert_group(group),
            v1::update::Type::Modify => {
                let known = self.state.groups.get(&id).ok_or_else(|| no_group(id))?;
                let kept = self.behaviour == Behaviour::Bmv2 && group.max_size == 0;
                if !kept && group.max_size != known.max_size {
                    return Err(Refusal::invalid("Cannot change group max_size after group creation"));
                }
                self.set_members(group)
            }
            v1::update::Type::Delete => {
                let known = self.state.groups.get(&id).ok_or_else(|| no_group(id))?;
                if known.uses > 0 {
                    return Err(self.in_use("group"));
                }
                let members = known.members.keys().copied().collect();
                if self.profile.with_selector {
                    self.plane.remove_group(&self.profile.name, id).map_err(|_| target("deleting group on"))?;
                }
                self.state.groups.remove(&id);
                self.state.settle_copies(&members);
                Ok(())
            }
        }
    }

    fn insert_group(&mut self, group: &v1::ActionProfileGroup) -> Outcome {
        let most = self.profile.group_size_max;
        if group.max_size < 0 {
            return Err(Refusal::invalid("Group max_size cannot be less than 0"));
        }
        if most > 0 && i64::from(group.max_size) > most {
            return Err(Refusal::invalid("Group max_size cannot exceed static max_group_size (from P4Info)"));
        }
        if most > 0 && group.max_size == 0 && self.behaviour == Behaviour::Specification {
            return Err(Refusal::invalid("Group max_size must be greater than 0, as max_group_size (from P4Info) is"));
        }
        if self.state.groups.contains_key(&group.group_id) {
            return Err(Refusal::new(Code::AlreadyExists, format!("Duplicate group id: {}", group.group_id)));
        }
        if !self.profile.with_selector && self.behaviour == Behaviour::Specification {
            return Err(Refusal::invalid("The action profile has no selector"));
        }
        let fresh = Group { max_size: group.max_size, ..Group::default() };
        self.state.groups.insert(group.group_id, fresh);
        let outcome = self.set_members(group);
        // BMv2 keeps the group, empty, when its members are refused: the next INSERT finds it there.
        match (self.behaviour, &outcome) {
            (Behaviour::Specification, Err(_)) => drop(self.state.groups.remove(&group.group_id)),
            (Behaviour::Bmv2, Err(_)) => drop(self.place(group.group_id, &[])),
            (_, Ok(())) => {}
        }
        outcome
    }

    /// A profile without selector has groups on BMv2, which no entry can name.
    fn place(&mut self, id: u32, seats: &[Seat]) -> Result<(), Rejected> {
        match self.profile.with_selector {
            true => self.plane.set_group(&self.profile.name, id, seats),
            false => Ok(()),
        }
    }

    fn set_members(&mut self, group: &v1::ActionProfileGroup) -> Outcome {
        use v1::action_profile_group::member::WatchKind;
        let id = group.group_id;
        let max_size = self.state.groups.get(&id).map_or(0, |known| known.max_size);
        let most = if max_size == 0 { self.profile.group_size_max } else { i64::from(max_size) };
        check_weights(
            group.members.iter().map(|member| member.weight),
            most,
            || "Sum of member weights exceeds maximum group size",
        )?;
        let mut members = BTreeMap::new();
        for member in &group.members {
            if !self.state.members.contains_key(&member.member_id) {
                return Err(no_member(member.member_id));
            }
            let watch = match &member.watch_kind {
                None => Watch::Nothing,
                Some(WatchKind::Watch(number)) => Watch::Number(*number),
                Some(WatchKind::WatchPort(bytes)) => Watch::Port(bytes.clone()),
            };
            check_watch(&watch, self.behaviour)?;
            let membership = Membership { weight: member.weight.unsigned_abs(), watch };
            if members.insert(member.member_id, membership).is_some() {
                let message = format!("Duplicate member id {} for group {id}, use weights instead", member.member_id);
                return Err(Refusal::invalid(message));
            }
        }
        let seats: Vec<_> = members
            .iter()
            .map(|(id, membership)| Seat { member: *id, weight: membership.weight, watch: membership.watch.port() })
            .collect();
        self.place(id, &seats).map_err(|_| target("adding member to group on"))?;
        let known = self.state.groups.get_mut(&id).expect("the group is there while its members are set");
        let mut touched: BTreeSet<u32> = known.members.keys().copied().collect();
        touched.extend(members.keys());
        for (id, membership) in &mut members {
            // BMv2 compares numbers, and keeps the bytes of a port that stays.
            let before = known.members.get(id).map(|before| &before.watch);
            if let Some(before) = before.filter(|before| before.port() == membership.watch.port()) {
                membership.watch = self.behaviour.pick(before, &membership.watch).clone();
            }
        }
        known.members = members;
        self.state.settle_copies(&touched);
        Ok(())
    }
}

fn no_member(id: u32) -> Refusal {
    Refusal::not_found(format!("Member id does not exist: {id}"))
}

fn no_group(id: u32) -> Refusal {
    Refusal::not_found(format!("Group id does not exist: {id}"))
}

/// What BMv2 says when its data plane refuses.
pub(super) fn target(doing: &str) -> Refusal {
    Refusal::new(Code::Unknown, format!("Error when {doing} target"))
}
