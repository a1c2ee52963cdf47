//! Parser and deparser: frames to headers and back, with checksums.

use super::arrays::Arrays;
use super::execute::{calculate, scope, step};
use super::packet::{Bits, Packet, read_bits};
use crate::fabric::p4::program::Program;
use crate::fabric::p4::program::action::{Op, Target};
use crate::fabric::p4::program::calculation::Checksum;
use crate::fabric::p4::program::expression::Data;
use crate::fabric::p4::program::layout::HeaderId;
use crate::fabric::p4::program::parser::{Extract, KeyPart, ParseOp, State};

/// Most states that one packet goes through: more is a circle.
const STATES_MAX: usize = 1 << 12;

/// Why a parser stopped: the name of a core error, or a number that the program gave.
enum Stop {
    Core(&'static str),
    Own(u128),
}

struct Run<'a> {
    program: &'a Program,
    arrays: &'a mut Arrays,
    bits: &'a mut Bits,
    packet: &'a mut Packet,
    at: usize,
}

/// Parses a packet's frame from its beginning and verifies checksums. Gives the error and whether a checksum was wrong.
pub(super) fn parse(program: &Program, arrays: &mut Arrays, bits: &mut Bits, packet: &mut Packet) -> (u128, bool) {
    let mut run = Run { program, arrays, bits, packet, at: 0 };
    let stop = run.parse();
    let at = run.at;
    packet.start = at;
    let error = match stop {
        Ok(()) => program.errors.get("NoError").copied().unwrap_or(0),
        Err(Stop::Own(error)) => error,
        Err(Stop::Core(name)) => program.errors.get(name).copied().unwrap_or(0),
    };
    let mut is_wrong = false;
    for checksum in program.checksums.iter().filter(|checksum| checksum.is_verified) {
        let is_there = packet.valid[program.layout.fields[checksum.target].header];
        if is_there && applies(program, arrays, packet, checksum) {
            is_wrong |= packet.cells[checksum.target] != checksum_of(program, packet, bits, checksum);
        }
    }
    (error, is_wrong)
}

fn applies(program: &Program, arrays: &Arrays, packet: &Packet, checksum: &Checksum) -> bool {
    checksum.condition.as_ref().is_none_or(|condition| scope(program, arrays, packet, &[]).condition(condition))
}

fn checksum_of(program: &Program, packet: &Packet, bits: &mut Bits, checksum: &Checksum) -> u128 {
    u128::from(calculate(program, &program.calculations[checksum.calculation], packet, bits))
}

/// Updates checksums and puts the valid headers before the payload.
pub(super) fn deparse(program: &Program, arrays: &Arrays, packet: &mut Packet, bits: &mut Bits) -> Vec<u8> {
    for checksum in program.checksums.iter().filter(|checksum| checksum.is_updated) {
        if applies(program, arrays, packet, checksum) {
            let value = checksum_of(program, packet, bits, checksum);
            packet.set(&program.layout, checksum.target, value);
        }
    }
    bits.clear();
    for header in program.deparser.iter().filter(|header| packet.valid[**header]) {
        packet.emit(&program.layout, *header, bits);
    }
    let mut frame = Vec::with_capacity(bits.bytes.len() + packet.payload().len());
    frame.extend_from_slice(&bits.bytes);
    frame.extend_from_slice(packet.payload());
    frame
}

impl Run<'_> {
    fn parse(&mut self) -> Result<(), Stop> {
        let parser = &self.program.parser;
        let mut next = parser.start;
        for _ in 0..STATES_MAX {
            let Some(state) = next else { return Ok(()) };
            let state = &parser.states[state];
            for op in &state.ops {
                self.op(op)?;
            }
            next = self.next(state)?;
        }
        Err(Stop::Core("ParserTimeout"))
    }

    fn data(&self, data: &Data) -> u128 {
        scope(self.program, self.arrays, self.packet, &[]).data(data)
    }

    /// Bytes that are left.
    fn left(&self) -> usize {
        self.packet.frame.len().saturating_sub(self.at)
    }

    fn ahead(&self, offset: usize, width: u32) -> Result<u128, Stop> {
        if self.left() < (offset + width as usize).div_ceil(8) {
            return Err(Stop::Core("PacketTooShort"));
        }
        Ok(read_bits(&self.packet.frame, self.at * 8 + offset, width))
    }

    fn op(&mut self, op: &ParseOp) -> Result<(), Stop> {
        match op {
            ParseOp::Extract(extract, length) => return self.extract(extract, length.as_ref()),
            ParseOp::Set(target, data) => self.put(target, self.data(data)),
            ParseOp::SetAhead(target, offset, width) => {
                let value = self.ahead(*offset, *width)?;
                self.put(target, value);
            }
            ParseOp::Verify(condition, error) => {
                let scope = scope(self.program, self.arrays, self.packet, &[]);
                if !scope.condition(condition) {
                    return Err(Stop::Own(scope.data(error)));
                }
            }
            ParseOp::Advance(bits) => {
                let bits = self.data(bits);
                if !bits.is_multiple_of(8) {
                    return Err(Stop::Core("ParserInvalidArgument"));
                }
                let bytes = usize::try_from(bits / 8).unwrap_or(usize::MAX);
                if self.left() < bytes {
                    return Err(Stop::Core("PacketTooShort"));
                }
                self.at += bytes;
            }
            ParseOp::Call(op) => step(self.program, self.arrays, self.bits, self.packet, op, &[]),
        }
        Ok(())
    }

    fn put(&mut self, target: &Target, value: u128) {
        let op = Op::Assign(target.clone(), Data::Const(value));
        step(self.program, self.arrays, self.bits, self.packet, &op, &[]);
    }

    fn extract(&mut self, extract: &Extract, length: Option<&Data>) -> Result<(), Stop> {
        let layout = &self.program.layout;
        let full = || Stop::Core("StackOutOfBounds");
        let header = match extract {
            Extract::Header(header) => *header,
            Extract::Next(stack) => *layout.stacks[*stack].get(self.packet.counts[*stack]).ok_or_else(full)?,
            Extract::NextUnion(stack, member) => {
                let union = layout.union_stacks[*stack].get(self.packet.union_counts[*stack]).ok_or_else(full)?;
                *layout.unions[*union].get(*member).ok_or_else(full)?
            }
        };
        let variable = match length {
            Some(length) => self.variable_length(header, self.data(length))?,
            None => 0,
        };
        let bytes = (layout.headers[header].bits + variable) as usize / 8;
        if self.left() < bytes {
            return Err(Stop::Core("PacketTooShort"));
        }
        let most = layout.headers[header].variable.map_or(u32::MAX, |field| layout.fields[field].width);
        if variable > most {
            return Err(Stop::Core("HeaderTooShort"));
        }
        self.at = self.packet.extract(layout, header, self.at, variable);
        match extract {
            Extract::Header(_) => {}
            Extract::Next(stack) => self.packet.counts[*stack] += 1,
            Extract::NextUnion(stack, _) => self.packet.union_counts[*stack] += 1,
        }
        Ok(())
    }

    /// Bits of a field of variable length: whole bytes.
    fn variable_length(&self, header: HeaderId, bits: u128) -> Result<u32, Stop> {
        if !bits.is_multiple_of(8) {
            return Err(Stop::Core("ParserInvalidArgument"));
        }
        let fixed = self.program.layout.headers[header].bits;
        let bits = u32::try_from(bits).ok().filter(|bits| *bits < u32::MAX / 2 - fixed.min(u32::MAX / 4));
        bits.ok_or(Stop::Core("PacketTooShort"))
    }

    fn next(&self, state: &State) -> Result<Option<usize>, Stop> {
        if state.key.is_empty() {
            return Ok(state.cases.first().map_or(state.default, |case| case.next));
        }
        // Few keys have more parts.
        let mut values = [0; 8];
        let mut more = Vec::new();
        for (at, part) in state.key.iter().enumerate() {
            let value = match part {
                KeyPart::Value(data) => self.data(data),
                KeyPart::Ahead(offset, width) => self.ahead(*offset, *width)?,
            };
            match values.get_mut(at) {
                Some(place) => *place = value,
                None => more.push(value),
            }
        }
        let fits = |parts: &[(u128, u128)]| {
            parts.iter().zip(values.iter().chain(&more)).all(|((wanted, mask), value)| value & mask == *wanted)
        };
        let case = state.cases.iter().find(|case| fits(&case.parts));
        Ok(case.map_or(state.default, |case| case.next))
    }
}
