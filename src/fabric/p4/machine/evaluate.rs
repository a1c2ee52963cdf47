//! Values of expressions for one packet.

use super::packet::Packet;
use crate::fabric::p4::program::expression::{Binary, Bool, Bytes, Data, Instance, UnionPlace};
use crate::fabric::p4::program::layout::{FieldId, HeaderId, Layout, UnionId, fit, ones};

/// What expressions are made from.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) layout: &'a Layout,
    pub(super) packet: &'a Packet,
    pub(super) registers: &'a [Vec<u128>],
    /// Of the action that runs.
    pub(super) arguments: &'a [u128],
}

impl Scope<'_> {
    pub(super) fn data(&self, data: &Data) -> u128 {
        match data {
            Data::Const(value) => *value,
            Data::Field(field) => self.packet.cells[*field],
            Data::Valid(header) => u128::from(self.packet.valid[*header]),
            Data::Argument(at) => self.arguments.get(*at).copied().unwrap_or(0),
            Data::Part { of, field } => self.part(of, *field).map_or(0, |field| self.packet.cells[field]),
            Data::Register { array, index } => {
                let index = usize::try_from(self.data(index)).ok();
                index.and_then(|index| self.registers[*array].get(index)).copied().unwrap_or(0)
            }
            Data::Binary(op, sides) => binary(*op, self.data(&sides.0), self.data(&sides.1)),
            Data::Not(value) => !self.data(value),
            Data::Signed(value, width) => fit(self.data(value), *width, true),
            Data::Saturated { value, from_signed, width, to_signed } => {
                saturate(self.data(value), *from_signed, *width, *to_signed)
            }
            Data::Flag(condition) => u128::from(self.condition(condition)),
            Data::Choose(choice) => {
                if self.condition(&choice.0) {
                    self.data(&choice.1)
                } else {
                    self.data(&choice.2)
                }
            }
            Data::Count(stack) => self.packet.counts[*stack] as u128,
            Data::LastIndex(stack) => (self.packet.counts[*stack] as u128).wrapping_sub(1),
        }
    }

    pub(super) fn condition(&self, condition: &Bool) -> bool {
        match condition {
            Bool::Const(value) => *value,
            Bool::Equal(sides) => self.data(&sides.0) == self.data(&sides.1),
            Bool::Less(sides, left_signed, right_signed) => {
                is_less(self.data(&sides.0), *left_signed, self.data(&sides.1), *right_signed)
            }
            Bool::And(sides) => self.condition(&sides.0) && self.condition(&sides.1),
            Bool::Or(sides) => self.condition(&sides.0) || self.condition(&sides.1),
            Bool::Not(condition) => !self.condition(condition),
            Bool::Same(sides) => self.condition(&sides.0) == self.condition(&sides.1),
            Bool::Choose(choice) => {
                if self.condition(&choice.0) {
                    self.condition(&choice.1)
                } else {
                    self.condition(&choice.2)
                }
            }
            Bool::Truth(value) => self.data(value) != 0,
            Bool::Valid(instance) => self.header(instance).is_some_and(|header| self.packet.valid[header]),
            Bool::ValidUnion(place) => self
                .union(place)
                .is_some_and(|union| self.layout.unions[union].iter().any(|header| self.packet.valid[*header])),
            Bool::SameHeader(sides) => match (self.header(&sides.0), self.header(&sides.1)) {
                (Some(one), Some(other)) => self.is_same(one, other),
                (one, other) => one == other,
            },
            Bool::SameUnion(sides) => match (self.union(&sides.0), self.union(&sides.1)) {
                (Some(one), Some(other)) => {
                    let pairs = self.layout.unions[one].iter().zip(&self.layout.unions[other]);
                    pairs.into_iter().all(|(one, other)| self.is_same(*one, *other))
                }
                (one, other) => one == other,
            },
            Bool::SameBytes(one, other) => self.is_same_bytes(one, other),
        }
    }

    /// The header that is meant, if there is one.
    pub(super) fn header(&self, instance: &Instance) -> Option<HeaderId> {
        match instance {
            Instance::Fixed(header) => Some(*header),
            Instance::InStack(stack, index) => {
                let index = usize::try_from(self.data(index)).ok()?;
                self.layout.stacks[*stack].get(index).copied()
            }
            Instance::Last(stack) => {
                let index = self.packet.counts[*stack].checked_sub(1)?;
                self.layout.stacks[*stack].get(index).copied()
            }
            Instance::InUnion(place, member) => {
                self.union(place).and_then(|union| self.layout.unions[union].get(*member)).copied()
            }
        }
    }

    pub(super) fn union(&self, place: &UnionPlace) -> Option<UnionId> {
        match place {
            UnionPlace::Fixed(union) => Some(*union),
            UnionPlace::InStack(stack, index) => {
                let index = usize::try_from(self.data(index)).ok()?;
                self.layout.union_stacks[*stack].get(index).copied()
            }
            UnionPlace::Last(stack) => {
                let index = self.packet.union_counts[*stack].checked_sub(1)?;
                self.layout.union_stacks[*stack].get(index).copied()
            }
        }
    }

    pub(super) fn part(&self, of: &Instance, field: usize) -> Option<FieldId> {
        self.header(of).map(|header| self.layout.headers[header].first + field)
    }

    fn is_same(&self, one: HeaderId, other: HeaderId) -> bool {
        let (packet, layout) = (self.packet, self.layout);
        let is_valid = packet.valid[one];
        if is_valid != packet.valid[other] {
            return false;
        }
        let (one, other) = (&layout.headers[one], &layout.headers[other]);
        let is_same = |(one, other): (FieldId, FieldId)| match (layout.fields[one].bytes, layout.fields[other].bytes) {
            (Some(_), Some(_)) => self.is_same_bytes(&Bytes::Field(one), &Bytes::Field(other)),
            _ => packet.cells[one] == packet.cells[other],
        };
        !is_valid || one.kind == other.kind && one.fields().zip(other.fields()).all(is_same)
    }

    fn is_same_bytes(&self, one: &Bytes, other: &Bytes) -> bool {
        let value = |bytes: &'_ Bytes| -> (Vec<u8>, Option<u128>) {
            let (bytes, bits) = match bytes {
                Bytes::Const(bytes) => (bytes.as_slice(), None),
                Bytes::Field(field) => {
                    let known = &self.layout.fields[*field];
                    let bytes = known.bytes.map_or(&[][..], |at| self.packet.bytes[at].as_slice());
                    (bytes, known.is_variable.then(|| self.packet.cells[*field]))
                }
            };
            let lead = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
            (bytes[lead..].to_vec(), bits)
        };
        let ((one, one_bits), (other, other_bits)) = (value(one), value(other));
        one == other && (one_bits.is_none() || other_bits.is_none() || one_bits == other_bits)
    }
}

fn shift_amount(amount: u128) -> u32 {
    u32::try_from(amount).unwrap_or(u32::MAX)
}

pub(super) fn binary(op: Binary, left: u128, right: u128) -> u128 {
    let (one, other) = (left.cast_signed(), right.cast_signed());
    match op {
        Binary::Add => left.wrapping_add(right),
        Binary::Subtract => left.wrapping_sub(right),
        Binary::Multiply => left.wrapping_mul(right),
        // What divides by zero is nothing.
        Binary::Divide { .. } | Binary::Remainder { .. } if right == 0 => 0,
        Binary::Divide { is_signed: false } => left / right,
        Binary::Divide { is_signed: true } => one.wrapping_div(other).cast_unsigned(),
        Binary::Remainder { is_signed: false } => left % right,
        Binary::Remainder { is_signed: true } => one.wrapping_rem(other).cast_unsigned(),
        Binary::ShiftLeft => left.checked_shl(shift_amount(right)).unwrap_or(0),
        Binary::ShiftRight { is_signed: false } => left.checked_shr(shift_amount(right)).unwrap_or(0),
        Binary::ShiftRight { is_signed: true } => {
            one.checked_shr(shift_amount(right)).unwrap_or(if one < 0 { -1 } else { 0 }).cast_unsigned()
        }
        Binary::And => left & right,
        Binary::Or => left | right,
        Binary::Xor => left ^ right,
    }
}

pub(super) fn is_less(left: u128, left_signed: bool, right: u128, right_signed: bool) -> bool {
    let is_negative = |value: u128, is_signed: bool| is_signed && value >> 127 == 1;
    match (is_negative(left, left_signed), is_negative(right, right_signed)) {
        (true, false) => true,
        (false, true) => false,
        // Two's complement of the same sign keeps its order.
        _ => left < right,
    }
}

pub(super) fn saturate(value: u128, from_signed: bool, width: u32, to_signed: bool) -> u128 {
    let is_negative = from_signed && value >> 127 == 1;
    let most = if to_signed { ones(width - 1) } else { ones(width) };
    let least = if to_signed { !most } else { 0 };
    if is_negative {
        return if is_less(value, true, least, true) || !to_signed { least } else { value };
    }
    value.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUS_ONE: u128 = u128::MAX;

    #[test]
    fn arithmetic_never_overflows() {
        let signed = Binary::Divide { is_signed: true };
        let cases = [
            (Binary::Add, u128::MAX, 2, 1),
            (Binary::Subtract, 0, 1, MINUS_ONE),
            (Binary::Multiply, 1 << 127, 2, 0),
            (Binary::Divide { is_signed: false }, 7, 0, 0),
            (Binary::Divide { is_signed: false }, u128::MAX, 1 << 127, 1),
            (signed, MINUS_ONE.wrapping_sub(6), 2, (-3_i128).cast_unsigned()),
            (signed, 1 << 127, MINUS_ONE, 1 << 127),
            (Binary::Remainder { is_signed: true }, 1 << 127, MINUS_ONE, 0),
            (Binary::Remainder { is_signed: false }, 7, 4, 3),
            (Binary::ShiftLeft, 1, 127, 1 << 127),
            (Binary::ShiftLeft, 1, 128, 0),
            (Binary::ShiftLeft, 1, u128::MAX, 0),
            (Binary::ShiftRight { is_signed: false }, u128::MAX, 200, 0),
            (Binary::ShiftRight { is_signed: true }, MINUS_ONE, 200, MINUS_ONE),
            (Binary::ShiftRight { is_signed: true }, (-8_i128).cast_unsigned(), 1, (-4_i128).cast_unsigned()),
            (Binary::And, 0b1100, 0b1010, 0b1000),
            (Binary::Or, 0b1100, 0b1010, 0b1110),
            (Binary::Xor, 0b1100, 0b1010, 0b0110),
        ];
        for (op, left, right, expected) in cases {
            assert_eq!(binary(op, left, right), expected, "{op:?} {left:#x} {right:#x}");
        }
    }

    #[test]
    fn order_knows_signs() {
        let cases = [
            (1, false, 2, false, true),
            (u128::MAX, false, 1, false, false),
            (MINUS_ONE, true, 1, false, true),
            (1, false, MINUS_ONE, true, false),
            (MINUS_ONE, true, MINUS_ONE - 1, true, false),
            (MINUS_ONE - 1, true, MINUS_ONE, true, true),
        ];
        for (left, left_signed, right, right_signed, expected) in cases {
            assert_eq!(is_less(left, left_signed, right, right_signed), expected, "{left:#x} {right:#x}");
        }
    }

    #[test]
    fn saturation_stops_at_the_ends() {
        let cases = [
            (256, false, 8, false, 255),
            (255, false, 8, false, 255),
            (MINUS_ONE, true, 8, false, 0),
            (200, true, 8, true, 127),
            ((-200_i128).cast_unsigned(), true, 8, true, (-128_i128).cast_unsigned()),
            ((-5_i128).cast_unsigned(), true, 8, true, (-5_i128).cast_unsigned()),
            (u128::MAX, false, 128, false, u128::MAX),
        ];
        for (value, from_signed, width, to_signed, expected) in cases {
            assert_eq!(saturate(value, from_signed, width, to_signed), expected, "{value:#x} to {width}");
        }
    }
}
