//! Pipelines: tables, conditions and actions, for one packet.

use super::arrays::{Arrays, GREEN};
use super::evaluate::Scope;
use super::hash;
use super::packet::{Bits, Packet};
use super::profile::ProfileState;
use super::table::{Does, EntryState, Held, TableState};
use crate::fabric::p4::program::Program;
use crate::fabric::p4::program::action::{Op, Target};
use crate::fabric::p4::program::calculation::{Calculation, Input};
use crate::fabric::p4::program::expression::{Bytes, Data, Instance};
use crate::fabric::p4::program::layout::{HeaderId, fit, ones};
use crate::fabric::p4::program::pipeline::{Next, Node};

/// What v1model's `mark_to_drop` puts into `egress_spec`.
pub(super) const DROP_PORT: u128 = 511;
/// Most jumps of one run of an action: more is a circle.
const JUMPS_MAX: u32 = 1 << 16;

/// Everything that one packet is processed with.
pub(super) struct Engine<'m> {
    pub(super) program: &'m Program,
    pub(super) tables: &'m mut [TableState],
    pub(super) profiles: &'m [ProfileState],
    pub(super) arrays: &'m mut Arrays,
    pub(super) bits: &'m mut Bits,
}

pub(super) fn scope<'a>(
    program: &'a Program,
    arrays: &'a Arrays,
    packet: &'a Packet,
    arguments: &'a [u128],
) -> Scope<'a> {
    Scope { layout: &program.layout, packet, registers: &arrays.registers, arguments }
}

/// Runs a calculation over a packet.
pub(super) fn calculate(program: &Program, calculation: &Calculation, packet: &Packet, bits: &mut Bits) -> u64 {
    let layout = &program.layout;
    bits.clear();
    for input in &calculation.inputs {
        match input {
            Input::Field(field) => {
                if packet.valid[layout.fields[*field].header] {
                    packet.emit_field(layout, *field, bits);
                }
            }
            Input::Const(bytes, width) => bits.push_bytes(bytes, *width),
            Input::Header(header) => {
                if packet.valid[*header] {
                    packet.emit(layout, *header, bits);
                }
            }
            Input::Payload => bits.push_payload(packet.payload()),
        }
    }
    hash::value(calculation.algorithm, calculation.table.as_deref(), &bits.bytes)
}

impl Engine<'_> {
    /// Runs a pipeline from its first node to its end, an `exit`, or a broken assertion.
    pub(super) fn run(&mut self, packet: &mut Packet, start: Next) {
        let flow = &self.program.flow;
        // No node comes twice in a program: the compiler refuses that.
        let mut left = flow.tables.len() + flow.conditions.len() + flow.calls.len();
        let mut next = start;
        while let Some(node) = next {
            if packet.exits || packet.is_lost {
                return;
            }
            let Some(fewer) = left.checked_sub(1) else {
                packet.is_lost = true;
                return;
            };
            left = fewer;
            next = match node {
                Node::Table(table) => self.apply(packet, table),
                Node::Condition(at) => {
                    let condition = &self.program.flow.conditions[at];
                    let holds = scope(self.program, self.arrays, packet, &[]).condition(&condition.condition);
                    if holds { condition.then } else { condition.otherwise }
                }
                Node::Call(at) => {
                    let (action, next) = self.program.flow.calls[at];
                    act(self.program, self.arrays, self.bits, packet, action, &[]);
                    next
                }
            };
        }
    }

    fn apply(&mut self, packet: &mut Packet, at: usize) -> Next {
        let program = self.program;
        let table = &program.flow.tables[at];
        let state = &mut self.tables[at];
        let found = state.find(table, scope(program, self.arrays, packet, &[]));
        let Some(entry) = found.and_then(|id| state.entries[id].as_mut()) else {
            let default = state.default.as_ref();
            if let Some(Held { action, arguments }) = default {
                act(program, self.arrays, self.bits, packet, *action, arguments);
            }
            return table.after_miss(program, default.map(|held| held.action));
        };
        self.arrays.touch(program, table.meter, table.is_counted, packet, entry);
        let profile = table.profile.map(|profile| (&program.flow.profiles[profile], &self.profiles[profile]));
        let hash = |packet: &Packet, bits: &mut Bits| {
            let selector = profile.and_then(|(profile, _)| profile.selector.as_ref());
            selector.map_or(0, |selector| calculate(program, selector, packet, bits))
        };
        let pick = |live: &[u32], packet: &Packet, bits: &mut Bits| {
            match live {
                // One choice needs no hash.
                [] | [_] => live.first().copied(),
                _ => {
                    let at = hash(packet, bits) % live.len() as u64;
                    usize::try_from(at).ok().and_then(|at| live.get(at)).copied()
                }
            }
        };
        let held = match &entry.does {
            Does::Call(held) => Some(held),
            Does::Member(member) => profile.and_then(|(_, state)| state.members.get(member)),
            Does::Group(group) => profile.and_then(|(_, state)| {
                let live = &state.groups.get(group)?.live;
                pick(live, packet, self.bits).and_then(|member| state.members.get(&member))
            }),
            Does::Set { choices, live } => {
                pick(live, packet, self.bits).and_then(|at| choices.get(at as usize)).map(|choice| &choice.held)
            }
        };
        match held {
            Some(Held { action, arguments }) => {
                act(program, self.arrays, self.bits, packet, *action, arguments);
                table.after_hit(program, *action)
            }
            None => table.after_nothing(),
        }
    }
}

impl Arrays {
    /// What a hit does beside its action: time, counter, meter.
    fn touch(
        &mut self,
        program: &Program,
        meter: Option<(usize, usize)>,
        is_counted: bool,
        packet: &mut Packet,
        entry: &mut EntryState,
    ) {
        entry.last_hit = self.now;
        if is_counted {
            entry.counter.packets = entry.counter.packets.wrapping_add(1);
            entry.counter.bytes = entry.counter.bytes.wrapping_add(packet.ingress_length as u64);
        }
        if let Some((array, result)) = meter {
            let amount = if program.meters[array].counts_bytes { packet.ingress_length as u64 } else { 1 };
            let clock = self.clock();
            let colour = entry.meter.as_mut().map_or(GREEN, |meter| meter.colour(clock, amount));
            packet.set(&program.layout, result, colour);
        }
    }

    fn meter(&mut self, program: &Program, packet: &Packet, array: usize, index: u128) -> Option<u128> {
        let amount = if program.meters[array].counts_bytes { packet.ingress_length as u64 } else { 1 };
        let clock = self.clock();
        let cell = usize::try_from(index).ok().and_then(|index| self.meters[array].get_mut(index))?;
        Some(cell.as_mut().map_or(GREEN, |meter| meter.colour(clock, amount)))
    }
}

/// Runs one action.
pub(super) fn act(
    program: &Program,
    arrays: &mut Arrays,
    bits: &mut Bits,
    packet: &mut Packet,
    action: usize,
    arguments: &[u128],
) {
    let ops = &program.actions[action].ops;
    let mut jumps = 0;
    let mut at = 0;
    while let Some(op) = ops.get(at) {
        at += 1;
        let target = match op {
            Op::Jump(target) => Some(target),
            Op::JumpIfZero(condition, target) => {
                (scope(program, arrays, packet, arguments).data(condition) == 0).then_some(target)
            }
            _ => {
                step(program, arrays, bits, packet, op, arguments);
                if packet.exits || packet.is_lost {
                    return;
                }
                None
            }
        };
        if let Some(target) = target {
            at = usize::try_from(scope(program, arrays, packet, arguments).data(target)).unwrap_or(usize::MAX);
            jumps += 1;
            if jumps > JUMPS_MAX {
                packet.is_lost = true;
                return;
            }
        }
    }
}

/// One place of a run of an action: what it reads from and changes.
struct Step<'a> {
    program: &'a Program,
    arrays: &'a mut Arrays,
    bits: &'a mut Bits,
    packet: &'a mut Packet,
    arguments: &'a [u128],
}

/// Runs one primitive other than a jump.
pub(super) fn step(
    program: &Program,
    arrays: &mut Arrays,
    bits: &mut Bits,
    packet: &mut Packet,
    op: &Op,
    arguments: &[u128],
) {
    // By far the most of what a program does.
    if let Op::Assign(Target::Field(field), data) = op {
        let value = scope(program, arrays, packet, arguments).data(data);
        packet.set(&program.layout, *field, value);
        return;
    }
    Step { program, arrays, bits, packet, arguments }.run(op);
}

impl Step<'_> {
    fn data(&self, data: &Data) -> u128 {
        scope(self.program, self.arrays, self.packet, self.arguments).data(data)
    }

    fn header(&self, instance: &Instance) -> Option<HeaderId> {
        scope(self.program, self.arrays, self.packet, self.arguments).header(instance)
    }

    fn put(&mut self, target: &Target, value: u128) {
        let layout = &self.program.layout;
        match target {
            Target::Field(field) => self.packet.set(layout, *field, value),
            Target::Part { of, field } => {
                let field = scope(self.program, self.arrays, self.packet, self.arguments).part(of, *field);
                if let Some(field) = field {
                    self.packet.set(layout, field, value);
                }
            }
            Target::Register { array, index } => {
                let index = self.data(index);
                self.write_register(*array, index, value);
            }
        }
    }

    fn write_register(&mut self, array: usize, index: u128, value: u128) {
        let cell = usize::try_from(index).ok().and_then(|index| self.arrays.registers[array].get_mut(index));
        if let Some(cell) = cell {
            *cell = value & ones(self.program.registers[array].width);
        }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Nothing | Op::Jump(_) | Op::JumpIfZero(..) => {}
            Op::Assign(target, data) => {
                let value = self.data(data);
                self.put(target, value);
            }
            Op::Exit => self.packet.exits = true,
            Op::Assert(condition) => {
                let holds = scope(self.program, self.arrays, self.packet, self.arguments).condition(condition);
                self.packet.is_lost |= !holds;
            }
            Op::Drop => {
                let standard = self.program.standard;
                self.packet.set(&self.program.layout, standard.egress_spec, DROP_PORT);
                self.packet.set_known(&self.program.layout, standard.multicast, 0);
            }
            Op::Clone { session, list } => {
                // Fifteen bits, as in BMv2.
                self.packet.requests.clone = Some((self.data(session) & 0x7fff, self.data(list) & 0xffff));
            }
            Op::Resubmit(list) => self.packet.requests.resubmit = Some(self.data(list) & 0xffff),
            Op::Recirculate(list) => self.packet.requests.recirculate = Some(self.data(list) & 0xffff),
            Op::Digest(list) => self.packet.requests.digest = Some(self.data(list) & 0xffff),
            Op::Truncate(length) => {
                let length = usize::try_from(self.data(length)).unwrap_or(usize::MAX);
                self.packet.length_max = self.packet.length_max.min(length);
            }
            Op::AssignBytes(..)
            | Op::AssignHeader(..)
            | Op::AssignUnion(..)
            | Op::AssignStack(..)
            | Op::AssignUnionStack(..)
            | Op::AddHeader(_)
            | Op::RemoveHeader(_) => self.change_headers(op),
            Op::Push(stack, count) => self.packet.push(&self.program.layout, *stack, self.count(count)),
            Op::Pop(stack, count) => self.packet.pop(&self.program.layout, *stack, self.count(count)),
            Op::PushUnions(stack, count) => {
                self.packet.push_unions(&self.program.layout, *stack, self.count(count));
            }
            Op::PopUnions(stack, count) => self.packet.pop_unions(&self.program.layout, *stack, self.count(count)),
            Op::Count { .. }
            | Op::Meter { .. }
            | Op::ReadRegister { .. }
            | Op::WriteRegister { .. }
            | Op::Random { .. }
            | Op::Hash { .. } => self.use_extern(op),
        }
    }

    fn count(&self, count: &Data) -> usize {
        usize::try_from(self.data(count)).unwrap_or(usize::MAX)
    }

    fn change_headers(&mut self, op: &Op) {
        let layout = &self.program.layout;
        match op {
            Op::AssignHeader(to, from) => {
                // What is no header is like an invalid one.
                match (self.header(to), self.header(from)) {
                    (Some(to), Some(from)) => self.packet.assign_header(layout, to, from),
                    (Some(to), None) => self.packet.valid[to] = false,
                    (None, _) => {}
                }
            }
            Op::AssignUnion(to, from) => {
                let scope = scope(self.program, self.arrays, self.packet, self.arguments);
                if let (Some(to), Some(from)) = (scope.union(to), scope.union(from)) {
                    self.packet.assign_union(layout, to, from);
                }
            }
            Op::AssignStack(to, from) => {
                for (to, from) in layout.stacks[*to].iter().zip(&layout.stacks[*from]) {
                    self.packet.assign_header(layout, *to, *from);
                }
                self.packet.counts[*to] = self.packet.counts[*from];
            }
            Op::AssignUnionStack(to, from) => {
                for (to, from) in layout.union_stacks[*to].iter().zip(&layout.union_stacks[*from]) {
                    self.packet.assign_union(layout, *to, *from);
                }
                self.packet.union_counts[*to] = self.packet.union_counts[*from];
            }
            Op::AddHeader(instance) => {
                if let Some(header) = self.header(instance) {
                    self.packet.add_header(layout, header);
                }
            }
            Op::RemoveHeader(instance) => {
                if let Some(header) = self.header(instance) {
                    self.packet.remove_header(layout, header);
                }
            }
            Op::AssignBytes(to, Bytes::Const(bytes)) => {
                let bits = u32::try_from(bytes.len() * 8).unwrap_or(u32::MAX);
                self.packet.set_bytes(layout, *to, bytes, bits);
            }
            Op::AssignBytes(to, Bytes::Field(from)) => {
                let bits = self.packet.field_bits(layout, *from);
                if let Some(at) = layout.fields[*from].bytes {
                    let copy = self.packet.bytes[at].clone();
                    self.packet.set_bytes(layout, *to, &copy, bits);
                }
            }
            _ => {}
        }
    }

    /// Counters, meters, registers, `random` and `hash`. An index beyond the array does nothing.
    fn use_extern(&mut self, op: &Op) {
        match op {
            Op::Count { array, index } => {
                let index = usize::try_from(self.data(index)).ok();
                let length = self.packet.ingress_length as u64;
                if let Some(cell) = index.and_then(|index| self.arrays.counters[*array].get_mut(index)) {
                    cell.packets = cell.packets.wrapping_add(1);
                    cell.bytes = cell.bytes.wrapping_add(length);
                }
            }
            Op::Meter { array, index, result } => {
                let index = self.data(index);
                if let Some(colour) = self.arrays.meter(self.program, self.packet, *array, index) {
                    self.put(result, colour);
                }
            }
            Op::ReadRegister { result, array, index } => {
                let index = usize::try_from(self.data(index)).ok();
                if let Some(value) = index.and_then(|index| self.arrays.registers[*array].get(index)).copied() {
                    self.put(result, value);
                }
            }
            Op::WriteRegister { array, index, value } => {
                let (index, value) = (self.data(index), self.data(value));
                self.write_register(*array, index, value);
            }
            Op::Random { result, low, high } => {
                let (low, high) = (fit(self.data(low), 64, false), fit(self.data(high), 64, false));
                if low <= high {
                    let value = low + u128::from(self.arrays.random()) % (high - low + 1);
                    self.put(result, value);
                }
            }
            Op::Hash { result, base, calculation, size } => {
                let (base, size) = (fit(self.data(base), 64, false), fit(self.data(size), 64, false));
                let calculation = &self.program.calculations[*calculation];
                let hash = calculate(self.program, calculation, self.packet, self.bits);
                self.put(result, fit(u128::from(hash) % size.max(1) + base, 64, false));
            }
            _ => {}
        }
    }
}
