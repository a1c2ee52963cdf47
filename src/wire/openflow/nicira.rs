//! Nicira extension actions (vendor 0x00002320), as Open vSwitch documents them in ovs-actions(7).

use bytes::BufMut;

use super::action::{put_actions, read_nested_actions};
use super::buffer::Reader;
use super::field::{CLASS_EXPERIMENTER, put_header, put_short_header, read_header};
use super::{Action, DecodeError, EncodeError, Field, LearnAction, nicira_actions};

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
//   19 fin timeout   fin idle (16), fin hard (16), zeros (16)
//   27 push, 28 pop  offset (16), field H*, n_bits (16)
//   35 ct            flags (16), zone source (32), zone (16), table (8), zeros (24), alg (16), actions
//   16, 45 learn     see learn.rs
//   and the smaller ones in nicira_actions.rs

pub(super) const VENDOR: u32 = 0x0000_2320;
pub(super) const ACTION: &str = "Nicira action";
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

pub(super) fn value_error<T>(expected: &'static str, came: impl Into<u128>) -> Result<T, EncodeError> {
    Err(EncodeError::Value { what: ACTION, expected, came: came.into() })
}

/// Appends vendor, subtype and body of a Nicira action, without padding.
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
        small => {
            out.put_u32(VENDOR);
            nicira_actions::encode_body(small, out)
        }
    }
}

/// Offset and bits in 16 bits, then a 4-byte header.
pub(super) fn put_packed_subfield(out: &mut Vec<u8>, subfield: Subfield) -> Result<(), EncodeError> {
    out.put_u16(pack(subfield)?);
    put_short_header(out, subfield.field)
}

pub(super) fn pack(subfield: Subfield) -> Result<u16, EncodeError> {
    if subfield.offset > 0x3ff {
        return value_error("an offset below 1,024", subfield.offset);
    }
    if !(1..=64).contains(&subfield.n_bits) {
        return value_error("1 to 64 bits", subfield.n_bits);
    }
    Ok(subfield.offset << 6 | (subfield.n_bits - 1))
}

pub(super) fn unpack(packed: u16, field: Field) -> Subfield {
    Subfield { field, offset: packed >> 6, n_bits: (packed & 0x3f) + 1 }
}

/// A header without mask of a field narrow enough; `None` for any other.
pub(super) fn read_field(reader: &mut Reader<'_>) -> Result<Option<Field>, DecodeError> {
    let header = read_header(reader)?;
    Ok(header.field.filter(|_| !header.masked))
}

/// The same where only 4 bytes are room.
pub(super) fn read_short_field(reader: &mut Reader<'_>) -> Result<Option<Field>, DecodeError> {
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
        CT => Ok(None),
        _ => nicira_actions::decode(subtype, body),
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

#[cfg(test)]
mod tests {
    use super::super::action::{put_actions, read_actions};
    use super::*;

    /// Each as `ovs-ofctl` 3.1 writes the action in the comment beside it.
    #[test]
    fn golden_bytes_both_ways() {
        let low_16 = Subfield::bits(Field::Reg(0), 0, 16);
        let nxm = |number, length| Field::Other { class: 0, number, length };
        let table = [
            // load:5->reg0[0..15]
            (Action::RegLoad { target: low_16, value: 5 }, "ffff0018 00002320 0007 000f 00010004 0000000000000005"),
            // move:eth_src->eth_dst
            (
                Action::RegMove { source: Subfield::whole(nxm(2, 6)), target: Subfield::whole(nxm(1, 6)) },
                "ffff0018 00002320 0006 0030 0000 0000 00000406 00000206",
            ),
            // resubmit(,20)
            (Action::resubmit(20), "ffff0010 00002320 000e fff8 14 000000"),
            // output:reg0[0..15]
            (
                Action::OutputReg { source: low_16, max_len: 0xffff },
                "ffff0018 00002320 000f 000f 00010004 ffff 000000000000",
            ),
            // ct(commit,zone=7,exec(set_field:4->ct_mark))
            (
                Action::Ct(Box::new(CtAction {
                    flags: 1,
                    zone: 7,
                    recirc_table: 0xff,
                    alg: 0,
                    exec: vec![Action::set_field(Field::CtMark, 4u8)],
                })),
                "ffff0028 00002320 0023 0001 00000000 0007 ff 000000 0000 0019 0010 0001d604 00000004 00000000",
            ),
            // multipath(symmetric_l3l4+udp,50,modulo_n,256,0,reg0[0..15])
            (
                Action::Multipath(MultipathAction {
                    fields: hash_fields::SYMMETRIC_L3L4_UDP,
                    basis: 50,
                    algorithm: 0,
                    max_link: 255,
                    arg: 0,
                    target: low_16,
                }),
                "ffff0020 00002320 000a 0003 0032 0000 0000 00ff 00000000 0000 000f 00010004",
            ),
            // push:ip_src
            (Action::StackPush(Subfield::whole(nxm(7, 4))), "ffff0018 00002320 001b 0000 00000e04 0020 000000000000"),
            // pop:reg1[4..19]
            (
                Action::StackPop(Subfield::bits(Field::Reg(1), 4, 16)),
                "ffff0018 00002320 001c 0004 00010204 0010 000000000000",
            ),
            // fin_timeout(idle_timeout=2,hard_timeout=5)
            (Action::FinTimeout { fin_idle_timeout: 2, fin_hard_timeout: 5 }, "ffff0010 00002320 0013 0002 0005 0000"),
            // exit
            (Action::Exit, "ffff0010 00002320 0011 000000000000"),
            // note:01.02.03.04.05.06
            (Action::Note(vec![1, 2, 3, 4, 5, 6]), "ffff0010 00002320 0008 010203040506"),
            // conjunction(9,2/3)
            (Action::Conjunction { clause: 1, n_clauses: 3, id: 9 }, "ffff0010 00002320 0022 01 03 00000009"),
            // dec_ttl(1,2)
            (Action::DecTtlFor(vec![1, 2]), "ffff0018 00002320 0015 0002 00000000 0001 0002 00000000"),
            // controller(max_len=64,id=5,reason=action)
            (Action::Controller { max_len: 64, controller_id: 5, reason: 1 }, "ffff0010 00002320 0014 0040 0005 01 00"),
            // output(port=1,max_len=100)
            (Action::OutputTrunc { port: 1, max_len: 100 }, "ffff0010 00002320 0027 0001 00000064"),
            // ct_clear
            (Action::CtClear, "ffff0010 00002320 002b 000000000000"),
        ];
        for (action, hex) in table {
            let mut out = Vec::new();
            put_actions(&mut out, std::slice::from_ref(&action)).expect("encodes");
            let text: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(text, hex.replace(' ', ""), "{action:?}");
            assert_eq!(read_actions(&mut Reader::new("test", &out)), Ok(vec![action]));
        }
    }

    #[test]
    fn what_has_no_form_is_refused() {
        let refused = |action: Action| put_actions(&mut Vec::new(), &[action]).is_err();
        let load = |offset, n_bits| Action::RegLoad { target: Subfield::bits(Field::Reg(0), offset, n_bits), value: 0 };
        assert!(!refused(load(1023, 64)));
        assert!(refused(load(1024, 1)), "an offset beyond 10 bits");
        assert!(refused(load(0, 0)), "no bits");
        assert!(refused(load(0, 65)), "more bits than a value has");
        let experimenter = Field::Experimenter { experimenter: 1, number: 2, length: 4 };
        assert!(refused(Action::RegLoad { target: Subfield::whole(experimenter), value: 0 }), "an 8-byte header");
        let source = Subfield::whole(Field::EthSrc);
        assert!(refused(Action::RegMove { source, target: Subfield::whole(Field::Reg(0)) }), "48 bits into 32");
    }

    #[test]
    fn other_forms_are_kept_as_bytes() {
        let table = [
            // ct whose zone comes from a register.
            "ffff0018 00002320 0023 0000 00010004 001f 01 000000 0000",
            // Another vendor's action.
            "ffff0010 00001234 0007 000f 00000000",
            // A subtype without a value here: pop_queue.
            "ffff0010 00002320 0005 000000000000",
            // A load into a field of the experimenter class.
            "ffff0018 00002320 0007 000f ffff0004 0000000000000005",
        ];
        for hex in table {
            let hex = hex.replace(' ', "");
            let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex");
            let bytes: Vec<_> = (0..hex.len()).step_by(2).map(byte).collect();
            assert_eq!(read_actions(&mut Reader::new("test", &bytes)), Ok(vec![Action::Other(bytes)]));
        }
    }
}
