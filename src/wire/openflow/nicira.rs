//! Nicira extension actions (vendor 0x00002320), as Open vSwitch documents them in ovs-actions(7).

use bytes::BufMut;

use super::action::{put_actions, read_nested_actions};
use super::buffer::{Reader, put_value};
use super::field::{CLASS_EXPERIMENTER, put_header, put_short_header, read_header};
use super::{Action, DecodeError, EncodeError, Field};

/// `n_bits` of a field from bit `offset` up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subfield {
    pub field: Field,
    pub offset: u16,
    pub n_bits: u16,
}

impl Subfield {
    /// A whole field.
    pub const fn whole(field: Field) -> Self {
        Self { field, offset: 0, n_bits: field.bits() }
    }
    pub const fn bits(field: Field, offset: u16, n_bits: u16) -> Self {
        Self { field, offset, n_bits }
    }
}

/// Flags of `learn`.
pub mod learn_flags {
    pub const SEND_FLOW_REM: u16 = 1;
    pub const DELETE_LEARNED: u16 = 2;
    pub const WRITE_RESULT: u16 = 4;
}

/// `NXAST_LEARN` and, where a limit or a result is wanted, `NXAST_LEARN2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LearnAction {
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub priority: u16,
    pub cookie: u64,
    pub flags: u16,
    pub table: u8,
    pub fin_idle_timeout: u16,
    pub fin_hard_timeout: u16,
    /// Most entries with this cookie in this table; 0 is unlimited. Not 0 makes it `NXAST_LEARN2`.
    pub limit: u32,
    /// Receives 1 if the entry was learned, 0 if the limit forbade it (with `WRITE_RESULT`; `NXAST_LEARN2`).
    pub result: Option<Subfield>,
    pub specs: Vec<LearnSpec>,
}

/// One part of the entry to learn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LearnSpec {
    pub source: LearnSource,
    pub target: LearnTarget,
    pub n_bits: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LearnSource {
    /// Bits of the packet: field and offset.
    Field {
        field: Field,
        offset: u16,
    },
    Immediate(u128),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LearnTarget {
    Match {
        field: Field,
        offset: u16,
    },
    Load {
        field: Field,
        offset: u16,
    },
    /// The source is a port number; no target field.
    Output,
}

impl LearnSpec {
    /// Match the packet's own value of a field.
    pub fn match_same(field: Field) -> Self {
        Self::match_field(field, field)
    }
    /// Match, in `target`, the packet's value of `source`.
    pub fn match_field(target: Field, source: Field) -> Self {
        Self {
            source: LearnSource::Field { field: source, offset: 0 },
            target: LearnTarget::Match { field: target, offset: 0 },
            n_bits: target.bits(),
        }
    }
    pub fn match_value(field: Field, value: impl Into<u128>) -> Self {
        Self {
            source: LearnSource::Immediate(value.into()),
            target: LearnTarget::Match { field, offset: 0 },
            n_bits: field.bits(),
        }
    }
    pub fn load_value(target: Subfield, value: impl Into<u128>) -> Self {
        Self {
            source: LearnSource::Immediate(value.into()),
            target: LearnTarget::Load { field: target.field, offset: target.offset },
            n_bits: target.n_bits,
        }
    }
    pub fn load_field(target: Subfield, source: Subfield) -> Self {
        Self {
            source: LearnSource::Field { field: source.field, offset: source.offset },
            target: LearnTarget::Load { field: target.field, offset: target.offset },
            n_bits: target.n_bits,
        }
    }
}

/// `NXAST_CT`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CtAction {
    /// Bit 0 commit, bit 1 force.
    pub flags: u16,
    pub zone: u16,
    /// Table to continue in, 0xff for none.
    pub recirc_table: u8,
    /// Well-known port of the application-level gateway, 0 for none.
    pub alg: u16,
    /// Executed on the connection's mark or label (`SetField` of `CtMark`).
    pub exec: Vec<Action>,
}

/// Hash fields of `multipath`.
pub mod hash_fields {
    pub const ETH_SRC: u16 = 0;
    pub const SYMMETRIC_L4: u16 = 1;
    pub const SYMMETRIC_L3L4: u16 = 2;
    pub const SYMMETRIC_L3L4_UDP: u16 = 3;
}

/// `NXAST_MULTIPATH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MultipathAction {
    pub fields: u16,
    pub basis: u16,
    /// 0 is modulo_n.
    pub algorithm: u16,
    /// Number of links less one, as on the wire.
    pub max_link: u16,
    pub arg: u32,
    pub target: Subfield,
}

impl Subfield {
    #[must_use]
    pub fn canonical(self) -> Self {
        Self { field: self.field.canonical(), ..self }
    }
}

impl LearnAction {
    /// Fields in this program's own class, the flag of a wanted result set.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let specs = self.specs.iter().map(LearnSpec::canonical).collect();
        Self { specs, flags: self.wire_flags(), result: self.result.map(Subfield::canonical), ..self.clone() }
    }

    fn wire_flags(&self) -> u16 {
        self.flags | if self.result.is_some() { learn_flags::WRITE_RESULT } else { 0 }
    }
}

impl LearnSpec {
    #[must_use]
    pub fn canonical(&self) -> Self {
        let source = match self.source {
            LearnSource::Field { field, offset } => LearnSource::Field { field: field.canonical(), offset },
            LearnSource::Immediate(value) => LearnSource::Immediate(value),
        };
        let target = match self.target {
            LearnTarget::Match { field, offset } => LearnTarget::Match { field: field.canonical(), offset },
            LearnTarget::Load { field, offset } => LearnTarget::Load { field: field.canonical(), offset },
            LearnTarget::Output => LearnTarget::Output,
        };
        Self { source, target, n_bits: self.n_bits }
    }
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+-------------------------------+
//    |         type = 0xffff         |             length            |
//    +-------------------------------+-------------------------------+
//    |                      vendor = 0x00002320                      |
//    +-------------------------------+-------------------------------+
//    |            subtype            |  body, zeros to a multiple of 8
//    +-------------------------------+
//
// Bodies, field headers written `H` (4 bytes; 8 for an experimenter's field where `H*` is written):
//    6 move          n_bits (16), source offset (16), target offset (16), source H*, target H*
//    7 load          offset (10), n_bits less one (6), target H, value (64)
//   10 multipath     fields (16), basis (16), zeros (16), algorithm (16), max_link (16), arg (32), zeros (16),
//                    offset (10), n_bits less one (6), target H
//   14 resubmit      in_port (16), table (8), zeros (24)
//   15 output        offset (10), n_bits less one (6), source H, max_len (16), zeros (48)
//   16 learn         idle (16), hard (16), priority (16), cookie (64), flags (16), table (8), zeros (8), fin idle (16),
//                    fin hard (16), specs
//   19 fin timeout   fin idle (16), fin hard (16), zeros (16)
//   27 push, 28 pop  offset (16), field H*, n_bits (16)
//   35 ct            flags (16), zone source (32), zone (16), table (8), zeros (24), alg (16), actions
//   45 learn2        as learn up to fin hard, then limit (32), result offset (16), zeros (16), result H* where the flag
//                    asks for it, specs

const VENDOR: u32 = 0x0000_2320;
const ACTION: &str = "Nicira action";
const REG_MOVE: u16 = 6;
const REG_LOAD: u16 = 7;
const MULTIPATH: u16 = 10;
const RESUBMIT_TABLE: u16 = 14;
const OUTPUT_REG: u16 = 15;
const LEARN: u16 = 16;
const FIN_TIMEOUT: u16 = 19;
const STACK_PUSH: u16 = 27;
const STACK_POP: u16 = 28;
const CT: u16 = 35;
const LEARN2: u16 = 45;

fn value_error<T>(expected: &'static str, came: impl Into<u128>) -> Result<T, EncodeError> {
    Err(EncodeError::Value { what: ACTION, expected, came: came.into() })
}

/// Appends vendor, subtype and body, without padding. Actions that are no Nicira ones add nothing.
pub(super) fn encode_body(action: &Action, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut start = |subtype: u16| {
        out.put_u32(VENDOR);
        out.put_u16(subtype);
    };
    match action {
        Action::RegMove { source, target } => {
            start(REG_MOVE);
            if source.n_bits != target.n_bits {
                return value_error("as many bits from the source as for the target", source.n_bits);
            }
            out.put_u16(source.n_bits);
            out.put_u16(source.offset);
            out.put_u16(target.offset);
            put_header(out, source.field, false)?;
            put_header(out, target.field, false)
        }
        Action::RegLoad { target, value } => {
            start(REG_LOAD);
            put_packed_subfield(out, *target)?;
            out.put_u64(*value);
            Ok(())
        }
        Action::Multipath(multipath) => {
            start(MULTIPATH);
            multipath.encode(out)
        }
        Action::Resubmit { in_port, table } => {
            start(RESUBMIT_TABLE);
            out.put_u16(*in_port);
            out.put_u8(*table);
            out.put_bytes(0, 3);
            Ok(())
        }
        Action::OutputReg { source, max_len } => {
            start(OUTPUT_REG);
            put_packed_subfield(out, *source)?;
            out.put_u16(*max_len);
            out.put_bytes(0, 6);
            Ok(())
        }
        Action::Learn(learn) => {
            start(if learn.is_second_form() { LEARN2 } else { LEARN });
            learn.encode(out)
        }
        Action::FinTimeout { fin_idle_timeout, fin_hard_timeout } => {
            start(FIN_TIMEOUT);
            out.put_u16(*fin_idle_timeout);
            out.put_u16(*fin_hard_timeout);
            Ok(())
        }
        Action::StackPush(field) | Action::StackPop(field) => {
            start(if matches!(action, Action::StackPush(_)) { STACK_PUSH } else { STACK_POP });
            out.put_u16(field.offset);
            put_header(out, field.field, false)?;
            out.put_u16(field.n_bits);
            // The fixed part alone is 24 bytes, whatever the field's header.
            out.put_bytes(0, 2);
            Ok(())
        }
        Action::Ct(ct) => {
            start(CT);
            ct.encode(out)
        }
        _ => Ok(()),
    }
}

/// Offset and bits in 16 bits, then a 4-byte header.
fn put_packed_subfield(out: &mut Vec<u8>, subfield: Subfield) -> Result<(), EncodeError> {
    out.put_u16(pack(subfield)?);
    put_short_header(out, subfield.field)
}

fn pack(subfield: Subfield) -> Result<u16, EncodeError> {
    if subfield.offset > 0x3ff {
        return value_error("an offset below 1,024", subfield.offset);
    }
    if !(1..=64).contains(&subfield.n_bits) {
        return value_error("1 to 64 bits", subfield.n_bits);
    }
    Ok(subfield.offset << 6 | (subfield.n_bits - 1))
}

fn unpack(packed: u16, field: Field) -> Subfield {
    Subfield { field, offset: packed >> 6, n_bits: (packed & 0x3f) + 1 }
}

/// A header without mask of a field narrow enough; `None` for any other.
fn read_field(reader: &mut Reader<'_>) -> Result<Option<Field>, DecodeError> {
    let header = read_header(reader)?;
    Ok(header.field.filter(|_| !header.masked))
}

/// The same where only 4 bytes are room.
fn read_short_field(reader: &mut Reader<'_>) -> Result<Option<Field>, DecodeError> {
    if reader.peek_u16(0)? == CLASS_EXPERIMENTER {
        return Ok(None);
    }
    read_field(reader)
}

/// Reads an experimenter action, header included. `None` means: not one of these, or in a form that the value types
/// cannot say, to be kept as bytes.
pub(super) fn decode(bytes: &[u8], nested: bool) -> Result<Option<Action>, DecodeError> {
    let mut reader = Reader::new(ACTION, bytes);
    reader.skip(4)?;
    if reader.u32()? != VENDOR {
        return Ok(None);
    }
    let subtype = reader.u16()?;
    let body = &mut reader;
    match subtype {
        REG_MOVE => decode_move(body),
        REG_LOAD => {
            body.exactly(14, "24 with its header (load)")?;
            let packed = body.u16()?;
            let Some(field) = read_short_field(body)? else { return Ok(None) };
            Ok(Some(Action::RegLoad { target: unpack(packed, field), value: body.u64()? }))
        }
        MULTIPATH => MultipathAction::decode(body),
        RESUBMIT_TABLE => {
            body.exactly(6, "16 with its header (resubmit)")?;
            Ok(Some(Action::Resubmit { in_port: body.u16()?, table: body.u8()? }))
        }
        OUTPUT_REG => {
            body.exactly(14, "24 with its header (output from a register)")?;
            let packed = body.u16()?;
            let Some(field) = read_short_field(body)? else { return Ok(None) };
            Ok(Some(Action::OutputReg { source: unpack(packed, field), max_len: body.u16()? }))
        }
        LEARN | LEARN2 => LearnAction::decode(body, subtype == LEARN2),
        FIN_TIMEOUT => {
            body.exactly(6, "16 with its header (fin timeout)")?;
            Ok(Some(Action::FinTimeout { fin_idle_timeout: body.u16()?, fin_hard_timeout: body.u16()? }))
        }
        STACK_PUSH | STACK_POP => {
            let offset = body.u16()?;
            let Some(field) = read_field(body)? else { return Ok(None) };
            let subfield = Subfield { field, offset, n_bits: body.u16()? };
            if body.len() >= 8 {
                return Ok(None);
            }
            Ok(Some(if subtype == STACK_PUSH { Action::StackPush(subfield) } else { Action::StackPop(subfield) }))
        }
        // A ct inside a ct's actions stays bytes: see read_nested_actions.
        CT if !nested => CtAction::decode(body),
        _ => Ok(None),
    }
}

fn decode_move(body: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    let n_bits = body.u16()?;
    let source_offset = body.u16()?;
    let target_offset = body.u16()?;
    let Some(source) = read_field(body)? else { return Ok(None) };
    let Some(target) = read_field(body)? else { return Ok(None) };
    if body.len() >= 8 {
        return Ok(None);
    }
    Ok(Some(Action::RegMove {
        source: Subfield { field: source, offset: source_offset, n_bits },
        target: Subfield { field: target, offset: target_offset, n_bits },
    }))
}

impl MultipathAction {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u16(self.fields);
        out.put_u16(self.basis);
        out.put_u16(0);
        out.put_u16(self.algorithm);
        out.put_u16(self.max_link);
        out.put_u32(self.arg);
        out.put_u16(0);
        put_packed_subfield(out, self.target)
    }

    fn decode(body: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
        body.exactly(22, "32 with its header (multipath)")?;
        let (fields, basis) = (body.u16()?, body.u16()?);
        body.skip(2)?;
        let (algorithm, max_link, arg) = (body.u16()?, body.u16()?, body.u32()?);
        body.skip(2)?;
        let packed = body.u16()?;
        let Some(field) = read_short_field(body)? else { return Ok(None) };
        let target = unpack(packed, field);
        Ok(Some(Action::Multipath(Self { fields, basis, algorithm, max_link, arg, target })))
    }
}

impl CtAction {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u16(self.flags);
        // No zone source: the zone is the number that follows.
        out.put_u32(0);
        out.put_u16(self.zone);
        out.put_u8(self.recirc_table);
        out.put_bytes(0, 3);
        out.put_u16(self.alg);
        put_actions(out, &self.exec)
    }

    fn decode(body: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
        body.need(14)?;
        let flags = body.u16()?;
        let zone_source = body.u32()?;
        let zone = body.u16()?;
        let recirc_table = body.u8()?;
        body.skip(3)?;
        let alg = body.u16()?;
        if zone_source != 0 {
            return Ok(None);
        }
        let exec = read_nested_actions(body)?;
        Ok(Some(Action::Ct(Box::new(Self { flags, zone, recirc_table, alg, exec }))))
    }
}

impl LearnAction {
    fn is_second_form(&self) -> bool {
        self.limit != 0 || self.wire_flags() & learn_flags::WRITE_RESULT != 0
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let flags = self.wire_flags();
        out.put_u16(self.idle_timeout);
        out.put_u16(self.hard_timeout);
        out.put_u16(self.priority);
        out.put_u64(self.cookie);
        out.put_u16(flags);
        out.put_u8(self.table);
        out.put_u8(0);
        out.put_u16(self.fin_idle_timeout);
        out.put_u16(self.fin_hard_timeout);
        if self.is_second_form() {
            out.put_u32(self.limit);
            out.put_u16(self.result.map_or(0, |result| result.offset));
            out.put_u16(0);
            match self.result {
                Some(result) if result.n_bits != 1 => return value_error("one bit for the result", result.n_bits),
                Some(result) => put_header(out, result.field, false)?,
                None if flags & learn_flags::WRITE_RESULT != 0 => {
                    return value_error("a result to write, as the flag says", flags);
                }
                None => {}
            }
        }
        self.specs.iter().try_for_each(|spec| spec.encode(out))
    }

    fn decode(body: &mut Reader<'_>, second_form: bool) -> Result<Option<Action>, DecodeError> {
        let mut learn = Self {
            idle_timeout: body.u16()?,
            hard_timeout: body.u16()?,
            priority: body.u16()?,
            cookie: body.u64()?,
            flags: body.u16()?,
            table: body.u8()?,
            fin_idle_timeout: {
                body.skip(1)?;
                body.u16()?
            },
            fin_hard_timeout: body.u16()?,
            limit: 0,
            result: None,
            specs: Vec::new(),
        };
        let writes_result = learn.flags & learn_flags::WRITE_RESULT != 0;
        if second_form {
            learn.limit = body.u32()?;
            let offset = body.u16()?;
            body.skip(2)?;
            if writes_result {
                let Some(field) = read_field(body)? else { return Ok(None) };
                learn.result = Some(Subfield { field, offset, n_bits: 1 });
            }
        }
        // A second form that needs none, and a first form that asks for a result, would go out differently.
        if second_form != learn.is_second_form() {
            return Ok(None);
        }
        while body.len() >= 2 && body.peek_u16(0)? != 0 {
            let Some(spec) = LearnSpec::decode(body)? else { return Ok(None) };
            learn.specs.push(spec);
        }
        if body.len() >= 8 {
            return Ok(None);
        }
        Ok(Some(Action::Learn(Box::new(learn))))
    }
}

//     0                   1
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
//    +---+-+---+---------------------+
//    | 0 |I| T |       n_bits        |
//    +---+-+---+---------------------+
//    |  immediate (I = 1): value in as many 16-bit words as hold n_bits
//    |  field (I = 0): source header H*, offset (16)
//    +-------------------------------+
//    |  match (T = 0), load (T = 1): target header H*, offset (16)
//    |  output (T = 2): nothing
//    +-------------------------------+
//
// A header of 0 ends the list.

const IMMEDIATE: u16 = 1 << 13;
const TARGET_SHIFT: u16 = 11;
const N_BITS: u16 = 0x7ff;
const TARGET_MATCH: u16 = 0;
const TARGET_LOAD: u16 = 1;
const TARGET_OUTPUT: u16 = 2;

impl LearnSpec {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if !(1..=N_BITS).contains(&self.n_bits) {
            return value_error("1 to 2,047 bits", self.n_bits);
        }
        let target = match self.target {
            LearnTarget::Match { .. } => TARGET_MATCH,
            LearnTarget::Load { .. } => TARGET_LOAD,
            LearnTarget::Output => TARGET_OUTPUT,
        };
        let source = if matches!(self.source, LearnSource::Immediate(_)) { IMMEDIATE } else { 0 };
        out.put_u16(source | target << TARGET_SHIFT | self.n_bits);
        match self.source {
            LearnSource::Field { field, offset } => {
                put_header(out, field, false)?;
                out.put_u16(offset);
            }
            LearnSource::Immediate(value) => {
                let Some(bytes) = immediate_bytes(self.n_bits) else {
                    return value_error("at most 128 bits of a value", self.n_bits);
                };
                if self.n_bits < 128 && value >> self.n_bits != 0 {
                    return value_error("a value that fits its bits", value);
                }
                put_value(out, value, bytes);
            }
        }
        if let LearnTarget::Match { field, offset } | LearnTarget::Load { field, offset } = self.target {
            put_header(out, field, false)?;
            out.put_u16(offset);
        }
        Ok(())
    }

    fn decode(body: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let header = body.u16()?;
        let n_bits = header & N_BITS;
        let source = if header & IMMEDIATE != 0 {
            let Some(bytes) = immediate_bytes(n_bits) else { return Ok(None) };
            let value = body.value(bytes)?;
            if n_bits == 0 || (n_bits < 128 && value >> n_bits != 0) {
                return Ok(None);
            }
            LearnSource::Immediate(value)
        } else {
            let Some(field) = read_field(body)? else { return Ok(None) };
            LearnSource::Field { field, offset: body.u16()? }
        };
        // The two highest bits mean nothing yet: what sets them is not understood here.
        let target = match (header & !(IMMEDIATE | N_BITS)) >> TARGET_SHIFT {
            kind @ (TARGET_MATCH | TARGET_LOAD) => {
                let Some(field) = read_field(body)? else { return Ok(None) };
                let offset = body.u16()?;
                if kind == TARGET_MATCH {
                    LearnTarget::Match { field, offset }
                } else {
                    LearnTarget::Load { field, offset }
                }
            }
            TARGET_OUTPUT => LearnTarget::Output,
            _ => return Ok(None),
        };
        Ok((n_bits != 0).then_some(Self { source, target, n_bits }))
    }
}

/// Bytes of an immediate value on the wire; `None` beyond 128 bits.
fn immediate_bytes(n_bits: u16) -> Option<usize> {
    (n_bits <= 128).then(|| usize::from(n_bits.div_ceil(16)) * 2)
}
