//! One packet on its way: cells, valid headers, bytes; and the bits of frames.

use crate::fabric::p4::program::layout::{CELL_BITS, FieldId, HeaderId, Layout, StackId, fit, ones};

/// Reads so many bits (at most 128) from a bit offset. Bits beyond the end are 0.
pub(super) fn read_bits(bytes: &[u8], offset: usize, width: u32) -> u128 {
    let width = width.min(CELL_BITS) as usize;
    let end = offset.saturating_add(width);
    let (first, last) = (offset / 8, end.div_ceil(8));
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    if last - first > 16 {
        // Seventeen bytes: the last one by itself.
        let low = end - (last - 1) * 8;
        let high = read_bits(bytes, offset, u32::try_from(width - low).unwrap_or(0));
        return high << low | u128::from(byte(last - 1) >> (8 - low));
    }
    let value = (first..last).fold(0_u128, |value, at| value << 8 | u128::from(byte(at)));
    let value = value >> (last * 8 - end);
    if width == 0 { 0 } else { value & ones(u32::try_from(width).unwrap_or(CELL_BITS)) }
}

/// Bits one after the other, from the most significant of the first byte.
#[derive(Debug, Default)]
pub(super) struct Bits {
    pub(super) bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.used = 0;
    }

    pub(super) fn push(&mut self, value: u128, width: u32) {
        let mut left = width.min(CELL_BITS);
        while left > 0 {
            let taken = self.used % 8;
            if taken == 0 {
                self.bytes.push(0);
            }
            let room = 8 - u32::try_from(taken).unwrap_or(0);
            let take = room.min(left);
            let chunk = (value >> (left - take)) & ones(take);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (chunk << (room - take)).to_le_bytes()[0];
            }
            self.used += take as usize;
            left -= take;
        }
    }

    /// Right-aligned bytes that hold so many bits.
    pub(super) fn push_bytes(&mut self, bytes: &[u8], bits: u32) {
        let long = bits.div_ceil(8) as usize;
        for missing in 0..long.saturating_sub(bytes.len()) {
            self.push(0, if missing == 0 { head_bits(bits) } else { 8 });
        }
        let own = &bytes[bytes.len().saturating_sub(long)..];
        for (at, byte) in own.iter().enumerate() {
            let is_first = at == 0 && own.len() == long;
            self.push(u128::from(*byte), if is_first { head_bits(bits) } else { 8 });
        }
    }

    pub(super) fn push_payload(&mut self, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.used = self.bytes.len() * 8;
    }
}

/// Bits in the first byte of right-aligned bytes.
fn head_bits(bits: u32) -> u32 {
    if bits == 0 { 0 } else { (bits - 1) % 8 + 1 }
}

/// What became of a packet beside its headers: BMv2's "packet registers".
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Requests {
    /// Session and list of fields.
    pub(super) clone: Option<(u128, u128)>,
    pub(super) digest: Option<u128>,
    pub(super) resubmit: Option<u128>,
    pub(super) recirculate: Option<u128>,
}

#[derive(Debug, Default)]
pub(super) struct Packet {
    pub(super) cells: Vec<u128>,
    pub(super) valid: Vec<bool>,
    /// Of fields without a cell: right-aligned.
    pub(super) bytes: Vec<Vec<u8>>,
    pub(super) counts: Vec<usize>,
    pub(super) union_counts: Vec<usize>,
    /// As it came to the parser.
    pub(super) frame: Vec<u8>,
    /// Where the payload begins.
    pub(super) start: usize,
    /// Length as headers come and go.
    pub(super) length: u128,
    /// Length when it came in: what counters and meters count.
    pub(super) ingress_length: usize,
    pub(super) length_max: usize,
    pub(super) requests: Requests,
    pub(super) exits: bool,
    /// An assertion broke, or it ran in circles.
    pub(super) is_lost: bool,
}

impl Packet {
    pub(super) fn new(layout: &Layout) -> Self {
        let mut packet = Self {
            cells: vec![0; layout.fields.len()],
            valid: vec![false; layout.headers.len()],
            bytes: vec![Vec::new(); layout.bytes],
            counts: vec![0; layout.stacks.len()],
            union_counts: vec![0; layout.union_stacks.len()],
            ..Self::default()
        };
        packet.reset(layout);
        packet
    }

    /// As if no packet had ever been in it.
    pub(super) fn reset(&mut self, layout: &Layout) {
        self.cells.fill(0);
        for (valid, header) in self.valid.iter_mut().zip(&layout.headers) {
            *valid = header.is_metadata;
        }
        self.bytes.iter_mut().for_each(Vec::clear);
        self.counts.fill(0);
        self.union_counts.fill(0);
        self.frame.clear();
        self.start = 0;
        self.length = 0;
        self.ingress_length = 0;
        self.length_max = usize::MAX;
        self.requests = Requests::default();
        self.exits = false;
        self.is_lost = false;
    }

    pub(super) fn reset_metadata(&mut self, layout: &Layout) {
        for header in layout.headers.iter().filter(|header| header.is_metadata) {
            self.cells[header.fields()].fill(0);
        }
    }

    /// Takes everything that another packet has, but nothing of what was asked for it.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.cells.clone_from(&other.cells);
        self.valid.clone_from(&other.valid);
        self.bytes.clone_from(&other.bytes);
        self.counts.clone_from(&other.counts);
        self.union_counts.clone_from(&other.union_counts);
        self.frame.clone_from(&other.frame);
        self.start = other.start;
        self.length = other.length;
        self.ingress_length = other.ingress_length;
    }

    pub(super) fn set(&mut self, layout: &Layout, field: FieldId, value: u128) {
        let known = &layout.fields[field];
        self.cells[field] = fit(value, known.width, known.is_signed);
    }

    pub(super) fn set_known(&mut self, layout: &Layout, field: Option<FieldId>, value: u128) {
        if let Some(field) = field {
            self.set(layout, field, value);
        }
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.frame.get(self.start..).unwrap_or_default()
    }

    pub(super) fn set_valid(&mut self, layout: &Layout, header: HeaderId) {
        if let Some(union) = layout.headers[header].union {
            for other in &layout.unions[union] {
                self.valid[*other] = false;
            }
        }
        self.valid[header] = true;
    }

    /// Bits that a field takes in a frame now.
    pub(super) fn field_bits(&self, layout: &Layout, field: FieldId) -> u32 {
        let known = &layout.fields[field];
        if known.is_variable { u32::try_from(self.cells[field]).unwrap_or(0) } else { known.width }
    }

    /// Bytes that a header takes in a frame now.
    pub(super) fn header_bytes(&self, layout: &Layout, header: HeaderId) -> usize {
        let known = &layout.headers[header];
        let variable = known.variable.map_or(0, |field| self.field_bits(layout, field));
        (known.bits + variable) as usize / 8
    }

    /// `setValid`: a header that was not there begins with zeros.
    pub(super) fn add_header(&mut self, layout: &Layout, header: HeaderId) {
        if self.valid[header] {
            return;
        }
        self.cells[layout.headers[header].fields()].fill(0);
        for field in layout.headers[header].fields() {
            if let Some(bytes) = layout.fields[field].bytes {
                self.bytes[bytes].clear();
            }
        }
        self.set_valid(layout, header);
        self.length = self.length.wrapping_add(self.header_bytes(layout, header) as u128);
    }

    pub(super) fn remove_header(&mut self, layout: &Layout, header: HeaderId) {
        if self.valid[header] {
            self.length = self.length.wrapping_sub(self.header_bytes(layout, header) as u128);
            self.valid[header] = false;
        }
    }

    /// Copies a header, valid or not, onto another of its type.
    pub(super) fn assign_header(&mut self, layout: &Layout, to: HeaderId, from: HeaderId) {
        if to == from {
            return;
        }
        if !self.valid[from] {
            self.valid[to] = false;
            return;
        }
        self.set_valid(layout, to);
        let (from, to) = (&layout.headers[from], &layout.headers[to]);
        for (from, to) in from.fields().zip(to.fields()) {
            self.cells[to] = self.cells[from];
            if let (Some(from), Some(to)) = (layout.fields[from].bytes, layout.fields[to].bytes) {
                let copy = self.bytes[from].clone();
                self.bytes[to] = copy;
            }
        }
    }

    pub(super) fn assign_union(&mut self, layout: &Layout, to: usize, from: usize) {
        if to == from {
            return;
        }
        for member in &layout.unions[to] {
            self.valid[*member] = false;
        }
        for (to, from) in layout.unions[to].iter().zip(&layout.unions[from]) {
            if self.valid[*from] {
                self.assign_header(layout, *to, *from);
            }
        }
    }

    /// Moves a stack's headers up; the first so many become invalid (P4-16, `push_front`).
    pub(super) fn push(&mut self, layout: &Layout, stack: StackId, count: usize) {
        let headers = &layout.stacks[stack];
        let count = count.min(headers.len());
        for at in (count..headers.len()).rev() {
            self.assign_header(layout, headers[at], headers[at - count]);
        }
        for header in &headers[..count] {
            self.valid[*header] = false;
        }
        self.counts[stack] = (self.counts[stack] + count).min(headers.len());
    }

    /// Moves a stack's headers down; the last so many become invalid (P4-16, `pop_front`).
    pub(super) fn pop(&mut self, layout: &Layout, stack: StackId, count: usize) {
        let headers = &layout.stacks[stack];
        let count = count.min(headers.len());
        for at in count..headers.len() {
            self.assign_header(layout, headers[at - count], headers[at]);
        }
        for header in &headers[headers.len() - count..] {
            self.valid[*header] = false;
        }
        self.counts[stack] = self.counts[stack].saturating_sub(count);
    }

    pub(super) fn push_unions(&mut self, layout: &Layout, stack: usize, count: usize) {
        let unions = &layout.union_stacks[stack];
        let count = count.min(unions.len());
        for at in (count..unions.len()).rev() {
            self.assign_union(layout, unions[at], unions[at - count]);
        }
        for header in unions[..count].iter().flat_map(|union| &layout.unions[*union]) {
            self.valid[*header] = false;
        }
        self.union_counts[stack] = (self.union_counts[stack] + count).min(unions.len());
    }

    pub(super) fn pop_unions(&mut self, layout: &Layout, stack: usize, count: usize) {
        let unions = &layout.union_stacks[stack];
        let count = count.min(unions.len());
        for at in count..unions.len() {
            self.assign_union(layout, unions[at - count], unions[at]);
        }
        for header in unions[unions.len() - count..].iter().flat_map(|union| &layout.unions[*union]) {
            self.valid[*header] = false;
        }
        self.union_counts[stack] = self.union_counts[stack].saturating_sub(count);
    }

    /// Puts right-aligned bytes into a field without a cell.
    pub(super) fn set_bytes(&mut self, layout: &Layout, field: FieldId, value: &[u8], bits: u32) {
        let known = &layout.fields[field];
        let Some(at) = known.bytes else { return };
        let bits = if known.is_variable { bits.min(known.width) } else { known.width };
        self.cells[field] = if known.is_variable { u128::from(bits) } else { 0 };
        let long = bits.div_ceil(8) as usize;
        let store = &mut self.bytes[at];
        store.clear();
        store.resize(long.saturating_sub(value.len()), 0);
        store.extend_from_slice(&value[value.len().saturating_sub(long)..]);
        if let Some(first) = store.first_mut() {
            *first &= u8::MAX >> (8 - head_bits(bits));
        }
    }

    /// Takes a header's fields out of the frame. The caller has seen that they are there.
    pub(super) fn extract(&mut self, layout: &Layout, header: HeaderId, at: usize, variable_bits: u32) -> usize {
        let mut offset = at * 8;
        for field in layout.headers[header].fields() {
            let known = &layout.fields[field];
            let bits = if known.is_variable { variable_bits } else { known.width };
            if known.bytes.is_none() {
                let value = read_bits(&self.frame, offset, bits);
                self.cells[field] = if known.is_signed { fit(value, bits, true) } else { value };
            } else {
                let long = bits.div_ceil(8);
                let mut value = Vec::with_capacity(long as usize);
                let mut taken = offset;
                for byte in 0..long {
                    let take = if byte == 0 { head_bits(bits) } else { 8 };
                    value.push(read_bits(&self.frame, taken, take).to_le_bytes()[0]);
                    taken += take as usize;
                }
                self.set_bytes(layout, field, &value, bits);
            }
            offset += bits as usize;
        }
        self.set_valid(layout, header);
        offset / 8
    }

    /// A header's fields as they are in a frame.
    pub(super) fn emit(&self, layout: &Layout, header: HeaderId, out: &mut Bits) {
        for field in layout.headers[header].fields() {
            self.emit_field(layout, field, out);
        }
    }

    pub(super) fn emit_field(&self, layout: &Layout, field: FieldId, out: &mut Bits) {
        match layout.fields[field].bytes {
            None => out.push(self.cells[field], layout.fields[field].width),
            Some(at) => out.push_bytes(&self.bytes[at], self.field_bits(layout, field)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is written bit by bit is read again, at any offset.
        #[test]
        fn bits_come_back(lead in 0_u32..17, fields in prop::collection::vec((any::<u128>(), 1_u32..=128), 1..6)) {
            let mut bits = Bits::default();
            bits.push(0, lead);
            for (value, width) in &fields {
                bits.push(*value, *width);
            }
            let mut offset = lead as usize;
            for (value, width) in &fields {
                prop_assert_eq!(read_bits(&bits.bytes, offset, *width), value & ones(*width));
                offset += *width as usize;
            }
            prop_assert_eq!(bits.bytes.len(), offset.div_ceil(8));
        }

        /// The end of a frame and any offset are safe.
        #[test]
        fn reading_beyond_the_end_gives_zeros(bytes in prop::collection::vec(any::<u8>(), 0..20), offset in 0_usize..400) {
            let beyond = offset.max(bytes.len() * 8);
            prop_assert_eq!(read_bits(&bytes, beyond, 128), 0);
            let _ = read_bits(&bytes, offset, 77);
        }
    }

    #[test]
    fn right_aligned_bytes_become_bits() {
        let cases: [(&[u8], u32, u32, &[u8]); 5] = [
            (&[0x0f, 0xff], 12, 0, &[0xff, 0xf0]),
            (&[0xff], 16, 0, &[0x00, 0xff]),
            (&[1, 2, 3], 16, 0, &[2, 3]),
            (&[], 16, 4, &[0, 0, 0]),
            (&[0xab], 8, 4, &[0x0a, 0xb0]),
        ];
        for (bytes, bits, lead, expected) in cases {
            let mut out = Bits::default();
            out.push(0, lead);
            out.push_bytes(bytes, bits);
            assert_eq!(out.bytes, expected, "{bytes:?} as {bits} bits after {lead}");
        }
    }
}
