//! Nicira's `learn`: a packet that matches writes an entry. Values, canonical form, codec.

use bytes::BufMut;

use super::buffer::{Reader, put_value};
use super::field::put_header;
use super::nicira::{read_field, value_error};
use super::{Action, DecodeError, EncodeError, Field, Subfield};

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
//    |   behind the Nicira header:   |          idle timeout         |
//    +-------------------------------+-------------------------------+
//    |          hard timeout         |            priority           |
//    +-------------------------------+-------------------------------+
//    |                             cookie                            |
//    |                                                               |
//    +-------------------------------+---------------+---------------+
//    |             flags             |     table     |     zeros     |
//    +-------------------------------+---------------+---------------+
//    |        fin idle timeout       |        fin hard timeout       |
//    +-------------------------------+-------------------------------+
//    |             limit (this and what follows: second form)        |
//    +-------------------------------+-------------------------------+
//    |         result offset         |             zeros             |
//    +-------------------------------+-------------------------------+
//    |       header of the result's field, where the flag asks       |
//    +---------------------------------------------------------------+
//    |       parts of the entry, zeros to a multiple of 8 ...        |
//    +---------------------------------------------------------------+

impl LearnAction {
    /// Whether this must be `NXAST_LEARN2`.
    pub(super) fn is_second_form(&self) -> bool {
        self.limit != 0 || self.wire_flags() & learn_flags::WRITE_RESULT != 0
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
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

    pub(super) fn decode(body: &mut Reader<'_>, second_form: bool) -> Result<Option<Action>, DecodeError> {
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

#[cfg(test)]
mod tests {
    use super::super::action::{put_actions, read_actions};
    use super::*;

    fn learn() -> LearnAction {
        LearnAction {
            idle_timeout: 0,
            hard_timeout: 0,
            priority: 0x8000,
            cookie: 0,
            flags: 0,
            table: 10,
            fin_idle_timeout: 0,
            fin_hard_timeout: 0,
            limit: 0,
            result: None,
            specs: vec![LearnSpec::match_value(Field::EthType, 0x0800u16)],
        }
    }

    fn check(learn: LearnAction, hex: &str) {
        let actions = vec![Action::Learn(Box::new(learn))];
        let mut out = Vec::new();
        put_actions(&mut out, &actions).expect("encodes");
        let text: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, hex.replace(' ', ""));
        assert_eq!(read_actions(&mut Reader::new("test", &out)), Ok(actions));
    }

    /// As `ovs-ofctl` 3.1 writes
    /// `learn(table=10,idle_timeout=30,priority=100,cookie=7,send_flow_rem,fin_idle_timeout=2,eth_type=0x800,
    /// ip_src=ip_dst,load:1->reg2,output:reg0[0..15])`, which uses Nicira's numbers for the basic fields.
    #[test]
    fn first_form() {
        let nxm = |number, length| Field::Other { class: 0, number, length };
        let mut specs = vec![
            LearnSpec::match_value(nxm(3, 2), 0x0800u16),
            LearnSpec::match_field(nxm(7, 4), nxm(8, 4)),
            LearnSpec::load_value(Subfield::whole(Field::Reg(2)), 1u8),
        ];
        let source = LearnSource::Field { field: Field::Reg(0), offset: 0 };
        specs.push(LearnSpec { source, target: LearnTarget::Output, n_bits: 16 });
        let learn = LearnAction {
            idle_timeout: 30,
            priority: 100,
            cookie: 7,
            flags: learn_flags::SEND_FLOW_REM,
            fin_idle_timeout: 2,
            specs,
            ..learn()
        };
        check(
            learn.clone(),
            "ffff0050 00002320 0010 001e 0000 0064 0000000000000007 0001 0a 00 0002 0000 \
             2010 0800 00000602 0000  0020 00001004 0000 00000e04 0000  2820 00000001 00010404 0000 \
             1010 00010004 0000  00000000",
        );
        let canonical = learn.canonical();
        assert_eq!(canonical.specs[1], LearnSpec::match_field(Field::Ipv4Src, Field::Ipv4Dst));
    }

    /// As `ovs-ofctl` 3.1 writes `learn(table=10,limit=50,result_dst=reg1[3],eth_type=0x800,load:eth_src->eth_dst)`.
    #[test]
    fn second_form() {
        let nxm = |number, length| Field::Other { class: 0, number, length };
        let learn = LearnAction {
            flags: learn_flags::WRITE_RESULT,
            limit: 50,
            result: Some(Subfield::bits(Field::Reg(1), 3, 1)),
            specs: vec![
                LearnSpec::match_value(nxm(3, 2), 0x0800u16),
                LearnSpec::load_field(Subfield::whole(nxm(1, 6)), Subfield::whole(nxm(2, 6))),
            ],
            ..learn()
        };
        check(
            learn,
            "ffff0048 00002320 002d 0000 0000 8000 0000000000000000 0004 0a 00 0000 0000 00000032 0003 0000 00010204 \
             2010 0800 00000602 0000  0830 00000406 0000 00000206 0000  00000000",
        );
    }

    #[test]
    fn a_wanted_result_sets_its_flag() {
        let learn = LearnAction { result: Some(Subfield::bits(Field::Reg(1), 0, 1)), ..learn() };
        let mut out = Vec::new();
        put_actions(&mut out, &[Action::Learn(Box::new(learn.clone()))]).expect("encodes");
        let decoded = read_actions(&mut Reader::new("test", &out)).expect("decodes");
        assert_eq!(decoded, [Action::Learn(Box::new(learn.canonical()))]);
    }

    #[test]
    fn what_has_no_form_is_refused() {
        let refused = |learn: LearnAction| put_actions(&mut Vec::new(), &[Action::Learn(Box::new(learn))]).is_err();
        let with = |spec: LearnSpec| LearnAction { specs: vec![spec], ..learn() };
        let value = |n_bits, value| LearnSpec {
            source: LearnSource::Immediate(value),
            target: LearnTarget::Load { field: Field::Reg(0), offset: 0 },
            n_bits,
        };
        assert!(!refused(with(value(4, 15))));
        assert!(refused(with(value(4, 16))), "beyond its bits");
        assert!(refused(with(value(0, 0))), "no bits");
        assert!(refused(with(value(129, 0))), "more bits than a value has");
        assert!(refused(LearnAction { flags: learn_flags::WRITE_RESULT, ..learn() }), "no result to write");
        let wide = Some(Subfield::bits(Field::Reg(1), 0, 2));
        assert!(refused(LearnAction { result: wide, ..learn() }), "a result is one bit");
    }

    #[test]
    fn forms_without_a_value_are_kept_and_broken_ones_refused() {
        let decode = |hex: &str| {
            let hex = hex.replace(' ', "");
            let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex");
            let bytes: Vec<_> = (0..hex.len()).step_by(2).map(byte).collect();
            read_actions(&mut Reader::new("test", &bytes)).map(|actions| actions == [Action::Other(bytes)])
        };
        let head = "ffff0028 00002320 0010 0000 0000 8000 0000000000000000 0000 0a 00 0000 0000";
        assert_eq!(decode(&format!("{head} 1810 00000602 0000")), Ok(true), "an unknown kind of target");
        assert_eq!(decode(&format!("{head} 8001 00000602 0000")), Ok(true), "a bit without meaning");
        assert!(decode(&format!("{head} 0010 00000602 0000")).is_err(), "a part that ends early");
        assert_eq!(decode(&format!("{head} 0000 0000 0000 0000")), Ok(true), "more zeros than padding takes");
        let second = "ffff0028 00002320 002d 0000 0000 8000 0000000000000000 0000 0a 00 0000 0000 00000000 0000 0000";
        assert_eq!(decode(second), Ok(true), "a second form that needs none");
    }
}
