//! Actions (section 7.2.4) and the Nicira actions of the data path.

use bytes::BufMut;

use super::buffer::{Reader, fill_length, pad_to_8};
use super::nicira;
use super::{
    CtAction, DecodeError, EncodeError, LearnAction, LinkBundleAction, MatchField, MultipathAction, NatAction,
    SampleAction, Subfield,
};
use crate::types::PortNo;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Output {
        port: PortNo,
        max_len: u16,
    },
    Group(u32),
    SetQueue(u32),
    PushVlan(u16),
    PopVlan,
    SetNwTtl(u8),
    DecNwTtl,
    CopyTtlOut,
    CopyTtlIn,
    SetMplsTtl(u8),
    DecMplsTtl,
    /// With its EtherType.
    PushMpls(u16),
    /// With the EtherType of what is below.
    PopMpls(u16),
    PushPbb(u16),
    PopPbb,
    SetField(MatchField),
    /// `NXAST_REG_LOAD2` would carry a whole field; this is `NXAST_REG_LOAD`: at most 64 bits into a subfield.
    RegLoad {
        target: Subfield,
        value: u64,
    },
    RegMove {
        source: Subfield,
        target: Subfield,
    },
    /// `NXAST_RESUBMIT_TABLE`: look `table` up with `in_port` (`IN_PORT` 0xfff8 keeps the packet's own).
    Resubmit {
        in_port: u16,
        table: u8,
    },
    /// `NXAST_OUTPUT_REG`.
    OutputReg {
        source: Subfield,
        max_len: u16,
    },
    Learn(Box<LearnAction>),
    Ct(Box<CtAction>),
    Multipath(MultipathAction),
    StackPush(Subfield),
    StackPop(Subfield),
    FinTimeout {
        fin_idle_timeout: u16,
        fin_hard_timeout: u16,
    },
    SetTunnel(u32),
    SetTunnel64(u64),
    /// Does nothing. On the wire it is 6, 14, 22 … bytes; zeros are added.
    Note(Vec<u8>),
    Exit,
    /// Decrements the TTL; a packet whose TTL is spent goes to these controllers.
    DecTtlFor(Vec<u16>),
    /// `NXAST_CONTROLLER`: to the connections with this controller id.
    Controller {
        max_len: u16,
        controller_id: u16,
        reason: u8,
    },
    /// The packet matched `clause` (from 0) of the `n_clauses` of a conjunctive match.
    Conjunction {
        clause: u8,
        n_clauses: u8,
        id: u32,
    },
    /// `NXAST_OUTPUT_REG2`: [`Action::OutputReg`] for fields with longer headers.
    OutputReg2 {
        source: Subfield,
        max_len: u16,
    },
    /// `NXAST_REG_LOAD2`: Nicira's form of [`Action::SetField`].
    RegLoad2(MatchField),
    LinkBundle(Box<LinkBundleAction>),
    Sample(SampleAction),
    /// Outputs the first `max_len` bytes.
    OutputTrunc {
        port: u16,
        max_len: u32,
    },
    CtClear,
    Nat(NatAction),
    /// Any other, header included, as it came.
    Other(Vec<u8>),
}

impl Action {
    pub fn output(port: PortNo) -> Self {
        Self::Output { port, max_len: 0 }
    }
    /// The whole packet to the controller.
    pub fn controller() -> Self {
        Self::Output { port: super::port::CONTROLLER, max_len: super::CONTROLLER_NO_BUFFER }
    }
    /// Resubmits with the packet's own in_port.
    pub fn resubmit(table: u8) -> Self {
        Self::Resubmit { in_port: 0xfff8, table }
    }
    pub fn set_field(field: super::Field, value: impl Into<u128>) -> Self {
        Self::SetField(MatchField { field, value: value.into(), mask: None })
    }
}

impl Action {
    /// The one form for what a switch reports in several: fields in this program's own class, a load of a whole field as
    /// `SetField`.
    #[must_use]
    pub fn canonical(&self) -> Self {
        match self {
            Self::SetField(field) | Self::RegLoad2(field) => Self::SetField(field.canonical()),
            Self::RegLoad { target, value } => {
                let target = target.canonical();
                if target == Subfield::whole(target.field) {
                    Self::set_field(target.field, *value)
                } else {
                    Self::RegLoad { target, value: *value }
                }
            }
            Self::RegMove { source, target } => {
                Self::RegMove { source: source.canonical(), target: target.canonical() }
            }
            Self::OutputReg { source, max_len } => Self::OutputReg { source: source.canonical(), max_len: *max_len },
            Self::OutputReg2 { source, max_len } if source.field.canonical().code().experimenter.is_none() => {
                Self::OutputReg { source: source.canonical(), max_len: *max_len }
            }
            Self::Learn(learn) => Self::Learn(Box::new(learn.canonical())),
            Self::Ct(ct) => {
                Self::Ct(Box::new(CtAction { exec: Self::canonical_list(&ct.exec), ..CtAction::clone(ct) }))
            }
            Self::Multipath(multipath) => {
                Self::Multipath(MultipathAction { target: multipath.target.canonical(), ..*multipath })
            }
            Self::StackPush(field) => Self::StackPush(field.canonical()),
            Self::StackPop(field) => Self::StackPop(field.canonical()),
            // Only towards the controller does the length mean anything.
            Self::Output { port, .. } if *port != super::port::CONTROLLER => Self::output(*port),
            other => other.clone(),
        }
    }

    pub fn canonical_list(actions: &[Self]) -> Vec<Self> {
        actions.iter().map(Self::canonical).collect()
    }
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+-------------------------------+
//    |              type             |             length            |
//    +-------------------------------+-------------------------------+
//    | output: port (32), max_len (16), zeros (48)                   |
//    | group, set queue: id (32)                                     |
//    | push VLAN, MPLS, PBB, pop MPLS: EtherType (16), zeros (16)    |
//    | pop VLAN, pop PBB, decrement TTL, copy TTL: zeros (32)        |
//    | set TTL: ttl (8), zeros (24)                                  |
//    | set field: one match field, zeros to a multiple of 8          |
//    | experimenter: see nicira.rs                                   |
//    +---------------------------------------------------------------+

pub(super) const ACTION: &str = "action";
const OUTPUT: u16 = 0;
const COPY_TTL_OUT: u16 = 11;
const COPY_TTL_IN: u16 = 12;
const SET_MPLS_TTL: u16 = 15;
const DEC_MPLS_TTL: u16 = 16;
const PUSH_VLAN: u16 = 17;
const POP_VLAN: u16 = 18;
const PUSH_MPLS: u16 = 19;
const POP_MPLS: u16 = 20;
const SET_QUEUE: u16 = 21;
const GROUP: u16 = 22;
const SET_NW_TTL: u16 = 23;
const DEC_NW_TTL: u16 = 24;
const SET_FIELD: u16 = 25;
const PUSH_PBB: u16 = 26;
const POP_PBB: u16 = 27;
const EXPERIMENTER: u16 = 0xffff;
/// Header without body.
const LENGTH_MIN: usize = 8;
/// Actions are multiples of this long.
const UNIT: usize = 8;

pub(super) fn put_actions(out: &mut Vec<u8>, actions: &[Action]) -> Result<(), EncodeError> {
    actions.iter().try_for_each(|action| action.encode(out))
}

/// Reads actions until the reader is empty.
pub(super) fn read_actions(reader: &mut Reader<'_>) -> Result<Vec<Action>, DecodeError> {
    read_list(reader, false)
}

/// Reads the actions inside a `ct`. A `ct` among them stays bytes, so that no input makes this recurse deeply; Open
/// vSwitch refuses it anyhow.
pub(super) fn read_nested_actions(reader: &mut Reader<'_>) -> Result<Vec<Action>, DecodeError> {
    read_list(reader, true)
}

fn read_list(reader: &mut Reader<'_>, nested: bool) -> Result<Vec<Action>, DecodeError> {
    let mut list = Vec::new();
    while !reader.is_empty() {
        list.push(Action::decode(reader.structure(ACTION, 2, LENGTH_MIN, UNIT)?, nested)?);
    }
    Ok(list)
}

impl Action {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        if matches!(self, Self::Other(_)) {
            return self.encode_opaque(out);
        }
        out.put_u16(self.kind());
        out.put_u16(0);
        match self {
            Self::Output { port, max_len } => {
                out.put_u32(port.0);
                out.put_u16(*max_len);
            }
            Self::Group(id) | Self::SetQueue(id) => out.put_u32(*id),
            Self::PushVlan(ethertype)
            | Self::PushMpls(ethertype)
            | Self::PopMpls(ethertype)
            | Self::PushPbb(ethertype) => out.put_u16(*ethertype),
            Self::PopVlan | Self::DecNwTtl | Self::CopyTtlOut | Self::CopyTtlIn | Self::DecMplsTtl | Self::PopPbb => {
                out.put_u32(0)
            }
            Self::SetNwTtl(ttl) | Self::SetMplsTtl(ttl) => out.put_u8(*ttl),
            Self::SetField(field) => field.encode(out)?,
            extension => nicira::encode_body(extension, out)?,
        }
        pad_to_8(out, start);
        fill_length(out, ACTION, start + 2, start)
    }

    /// `ofp_action_type`.
    fn kind(&self) -> u16 {
        match self {
            Self::Output { .. } => OUTPUT,
            Self::Group(_) => GROUP,
            Self::SetQueue(_) => SET_QUEUE,
            Self::PushVlan(_) => PUSH_VLAN,
            Self::PopVlan => POP_VLAN,
            Self::SetNwTtl(_) => SET_NW_TTL,
            Self::DecNwTtl => DEC_NW_TTL,
            Self::CopyTtlOut => COPY_TTL_OUT,
            Self::CopyTtlIn => COPY_TTL_IN,
            Self::SetMplsTtl(_) => SET_MPLS_TTL,
            Self::DecMplsTtl => DEC_MPLS_TTL,
            Self::PushMpls(_) => PUSH_MPLS,
            Self::PopMpls(_) => POP_MPLS,
            Self::PushPbb(_) => PUSH_PBB,
            Self::PopPbb => POP_PBB,
            Self::SetField(_) => SET_FIELD,
            _ => EXPERIMENTER,
        }
    }

    fn encode_opaque(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let Self::Other(bytes) = self else { return Ok(()) };
        let mut reader = Reader::new(ACTION, bytes);
        if reader.structure(ACTION, 2, LENGTH_MIN, UNIT).is_err() || !reader.is_empty() {
            return Err(EncodeError::Opaque { what: ACTION });
        }
        out.extend_from_slice(bytes);
        Ok(())
    }

    /// `bytes` is one action whose length was checked.
    fn decode(bytes: &[u8], nested: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(ACTION, bytes);
        let kind = reader.u16()?;
        reader.skip(2)?;
        match kind {
            OUTPUT => reader.exactly(12, "16 with its header (output)")?,
            GROUP | SET_QUEUE | PUSH_VLAN | POP_VLAN | SET_NW_TTL | DEC_NW_TTL | COPY_TTL_OUT | COPY_TTL_IN
            | SET_MPLS_TTL | DEC_MPLS_TTL | PUSH_MPLS | POP_MPLS | PUSH_PBB | POP_PBB => {
                reader.exactly(4, "8 with its header")?;
            }
            _ => {}
        }
        Ok(match kind {
            OUTPUT => Self::Output { port: PortNo(reader.u32()?), max_len: reader.u16()? },
            GROUP => Self::Group(reader.u32()?),
            SET_QUEUE => Self::SetQueue(reader.u32()?),
            PUSH_VLAN => Self::PushVlan(reader.u16()?),
            POP_VLAN => Self::PopVlan,
            SET_NW_TTL => Self::SetNwTtl(reader.u8()?),
            DEC_NW_TTL => Self::DecNwTtl,
            COPY_TTL_OUT => Self::CopyTtlOut,
            COPY_TTL_IN => Self::CopyTtlIn,
            SET_MPLS_TTL => Self::SetMplsTtl(reader.u8()?),
            DEC_MPLS_TTL => Self::DecMplsTtl,
            PUSH_MPLS => Self::PushMpls(reader.u16()?),
            POP_MPLS => Self::PopMpls(reader.u16()?),
            PUSH_PBB => Self::PushPbb(reader.u16()?),
            POP_PBB => Self::PopPbb,
            SET_FIELD => match MatchField::decode(&mut reader)? {
                // Anything but padding behind the field is a form this program does not know.
                Some(field) if reader.len() < UNIT => Self::SetField(field),
                _ => Self::Other(bytes.to_vec()),
            },
            EXPERIMENTER => nicira::decode(bytes, nested)?.unwrap_or_else(|| Self::Other(bytes.to_vec())),
            _ => Self::Other(bytes.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Field;
    use super::*;

    #[test]
    fn golden_bytes_both_ways() {
        let table: &[(Action, &[u8])] = &[
            (Action::output(PortNo(3)), &[0, 0, 0, 16, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0]),
            (Action::controller(), &[0, 0, 0, 16, 255, 255, 255, 253, 255, 255, 0, 0, 0, 0, 0, 0]),
            (Action::Group(5), &[0, 22, 0, 8, 0, 0, 0, 5]),
            (Action::SetQueue(6), &[0, 21, 0, 8, 0, 0, 0, 6]),
            (Action::PushVlan(0x8100), &[0, 17, 0, 8, 0x81, 0, 0, 0]),
            (Action::PopVlan, &[0, 18, 0, 8, 0, 0, 0, 0]),
            (Action::SetNwTtl(64), &[0, 23, 0, 8, 64, 0, 0, 0]),
            (Action::DecNwTtl, &[0, 24, 0, 8, 0, 0, 0, 0]),
            (
                Action::set_field(Field::EthDst, 0x0246_5301_0001u64),
                &[0, 25, 0, 16, 0x80, 0, 6, 6, 2, 0x46, 0x53, 1, 0, 1, 0, 0],
            ),
            (Action::set_field(Field::Ipv4Dst, 1u32), &[0, 25, 0, 16, 0x80, 0, 24, 4, 0, 0, 0, 1, 0, 0, 0, 0]),
            (Action::CopyTtlOut, &[0, 11, 0, 8, 0, 0, 0, 0]),
            (Action::CopyTtlIn, &[0, 12, 0, 8, 0, 0, 0, 0]),
            (Action::SetMplsTtl(3), &[0, 15, 0, 8, 3, 0, 0, 0]),
            (Action::DecMplsTtl, &[0, 16, 0, 8, 0, 0, 0, 0]),
            (Action::PushMpls(0x8847), &[0, 19, 0, 8, 0x88, 0x47, 0, 0]),
            (Action::PopMpls(0x0800), &[0, 20, 0, 8, 8, 0, 0, 0]),
            (Action::PushPbb(0x88e7), &[0, 26, 0, 8, 0x88, 0xe7, 0, 0]),
            (Action::PopPbb, &[0, 27, 0, 8, 0, 0, 0, 0]),
            (Action::Other(vec![0, 10, 0, 8, 0, 0, 0, 0]), &[0, 10, 0, 8, 0, 0, 0, 0]),
        ];
        for (action, bytes) in table {
            let mut out = Vec::new();
            action.encode(&mut out).expect("encodes");
            assert_eq!(out, *bytes, "{action:?}");
            assert_eq!(read_actions(&mut Reader::new("test", bytes)), Ok(vec![action.clone()]));
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let decode = |bytes: &[u8]| read_actions(&mut Reader::new("test", bytes)).is_err();
        assert!(decode(&[0, 0, 0, 8, 0, 0, 0, 3]), "output without max_len");
        assert!(decode(&[0, 22, 0, 16, 0, 0, 0, 3]), "beyond the end");
        assert!(decode(&[0, 22, 0, 4]), "shorter than any action");
        assert!(decode(&[0, 22, 0, 9, 0, 0, 0, 3, 0]), "no multiple of 8");
        assert!(decode(&[0, 25, 0, 8, 0x80, 0, 6, 6]), "a field without its value");
        assert!(Action::Other(vec![0, 11]).encode(&mut Vec::new()).is_err());
    }
}
