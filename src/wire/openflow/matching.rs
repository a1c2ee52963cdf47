//! `ofp_match` of type OXM: an ordered list of field, value, and mask.

use std::fmt::{self, Display};
use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::BufMut;

use super::buffer::{Reader, fill_length, pad_to_8, put_value};
use super::field::{put_header, read_header};
use super::{DecodeError, EncodeError, Field};
use crate::types::MacAddr;

/// One field with the value it must have; where `mask` is given only its 1-bits count.
///
/// Values are right-aligned: a MAC address is the low 48 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchField {
    pub field: Field,
    pub value: u128,
    pub mask: Option<u128>,
}

/// Fields in the order of the wire. Two matches with the same fields in another order are the same flow to a switch:
/// compare [`Match::canonical`] forms.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Match {
    pub fields: Vec<MatchField>,
    /// Fields that no [`MatchField`] can hold (values over 16 bytes), header included, as they came. They go out after
    /// the others.
    pub wide: Vec<u8>,
}

impl MatchField {
    /// The field in this program's own class, a mask of ones dropped, the value cut to its mask.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let field = self.field.canonical();
        let all = field.all_ones();
        match self.mask {
            Some(mask) if mask & all != all => Self { field, value: self.value & mask, mask: Some(mask) },
            Some(_) | None => Self { field, value: self.value, mask: None },
        }
    }
}

impl From<Vec<MatchField>> for Match {
    fn from(fields: Vec<MatchField>) -> Self {
        Self { fields, wide: Vec::new() }
    }
}

impl Match {
    pub fn any() -> Self {
        Self::default()
    }

    /// Adds an exact field.
    #[must_use]
    pub fn with(mut self, field: Field, value: impl Into<u128>) -> Self {
        self.fields.push(MatchField { field, value: value.into(), mask: None });
        self
    }

    /// Adds a masked field.
    #[must_use]
    pub fn with_masked(mut self, field: Field, value: impl Into<u128>, mask: impl Into<u128>) -> Self {
        self.fields.push(MatchField { field, value: value.into(), mask: Some(mask.into()) });
        self
    }

    /// Sorted by field, fields in this program's own class, all-ones masks dropped, all-zero masks removed, values cut to
    /// their masks.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut fields: Vec<_> = self.fields.iter().filter(|f| f.mask != Some(0)).map(|f| f.canonical()).collect();
        fields.sort();
        Self { fields, wide: self.wide.clone() }
    }

    pub fn get(&self, field: Field) -> Option<&MatchField> {
        self.fields.iter().find(|f| f.field == field)
    }
}

/// `ipv4_dst=10.0.0.0/255.0.0.0`, in the field's own notation.
impl Display for MatchField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.field)?;
        write_value(f, self.field, self.value)?;
        match self.mask {
            None => Ok(()),
            Some(mask) => {
                f.write_str("/")?;
                write_value(f, self.field, mask)
            }
        }
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, field: Field, value: u128) -> fmt::Result {
    let low_u64 = u64::try_from(value & u128::from(u64::MAX)).expect("masked to 64 bits");
    let low_u32 = u32::try_from(value & u128::from(u32::MAX)).expect("masked to 32 bits");
    match field {
        Field::EthDst | Field::EthSrc | Field::ArpSha | Field::ArpTha | Field::Ipv6NdSll | Field::Ipv6NdTll => {
            MacAddr::from_u64(low_u64).fmt(f)
        }
        Field::Ipv4Src
        | Field::Ipv4Dst
        | Field::ArpSpa
        | Field::ArpTpa
        | Field::TunIpv4Src
        | Field::TunIpv4Dst
        | Field::CtNwSrc
        | Field::CtNwDst => Ipv4Addr::from_bits(low_u32).fmt(f),
        Field::Ipv6Src
        | Field::Ipv6Dst
        | Field::Ipv6NdTarget
        | Field::TunIpv6Src
        | Field::TunIpv6Dst
        | Field::CtIpv6Src
        | Field::CtIpv6Dst => Ipv6Addr::from_bits(value).fmt(f),
        Field::InPort
        | Field::InPhyPort
        | Field::SctpSrc
        | Field::SctpDst
        | Field::IpProto
        | Field::TcpSrc
        | Field::TcpDst
        | Field::UdpSrc
        | Field::UdpDst
        | Field::ArpOp
        | Field::Icmpv4Type
        | Field::Icmpv4Code
        | Field::Icmpv6Type
        | Field::Icmpv6Code => value.fmt(f),
        _ => write!(f, "{value:#x}"),
    }
}

/// Fields with commas between them; `any` if there are none.
impl Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fields.is_empty() && self.wide.is_empty() {
            return f.write_str("any");
        }
        for (index, field) in self.fields.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{field}")?;
        }
        if !self.wide.is_empty() {
            write!(f, ",+{} bytes of wide fields", self.wide.len())?;
        }
        Ok(())
    }
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |              field header (see field.rs), 4 or 8 bytes        |
//    +---------------------------------------------------------------+
//    |   value, then the mask of the same size where M is set  ...   |
//    +---------------------------------------------------------------+

impl MatchField {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_header(out, self.field, self.mask.is_some())?;
        let bytes = usize::from(self.field.code().bytes);
        for value in std::iter::once(self.value).chain(self.mask) {
            if bytes < 16 && value >> (bytes * 8) != 0 {
                let expected = "a value that fits its field";
                return Err(EncodeError::Value { what: MATCH_FIELD, expected, came: value });
            }
            put_value(out, value, bytes);
        }
        Ok(())
    }

    /// Reads one field; `None` (and the reader beyond it) where it is too wide to be a number.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let header = read_header(reader)?;
        reader.need(header.payload)?;
        let Some(field) = header.field else {
            reader.skip(header.payload)?;
            return Ok(None);
        };
        let bytes = usize::from(field.code().bytes);
        let value = reader.value(bytes)?;
        let mask = if header.masked { Some(reader.value(bytes)?) } else { None };
        Ok(Some(Self { field, value, mask }))
    }
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+-------------------------------+
//    |            type = 1           |    length (without padding)   |
//    +-------------------------------+-------------------------------+
//    |   fields, then zeros to a multiple of 8                 ...   |
//    +---------------------------------------------------------------+

pub(super) const MATCH: &str = "match";
pub(super) const MATCH_FIELD: &str = "match field";
const TYPE_OXM: u16 = 1;
const HEADER_BYTES: usize = 4;

impl Match {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(TYPE_OXM);
        out.put_u16(0);
        for field in &self.fields {
            field.encode(out)?;
        }
        out.extend_from_slice(&self.wide);
        fill_length(out, MATCH, start + 2, start)?;
        pad_to_8(out, start);
        Ok(())
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        // What is wrong with a match is an error of the match, whatever message it is in.
        let mut bytes = Reader::new(MATCH, reader.left());
        let kind = bytes.u16()?;
        if kind != TYPE_OXM {
            return Err(DecodeError::Value { what: MATCH, expected: "type 1 (OXM)", came: kind.into() });
        }
        let length = usize::from(bytes.u16()?);
        let Some(fields_length) = length.checked_sub(HEADER_BYTES) else {
            return Err(DecodeError::Length { what: MATCH, expected: "at least 4", came: length });
        };
        let padding = length.next_multiple_of(8) - length;
        bytes.need(fields_length + padding)?;
        let mut fields = Reader::new(MATCH_FIELD, bytes.take(fields_length)?);
        reader.skip(length + padding)?;

        let mut decoded = Self::default();
        while !fields.is_empty() {
            let mut before = fields;
            match MatchField::decode(&mut fields)? {
                Some(field) => decoded.fields.push(field),
                None => decoded.wide.extend_from_slice(before.take(before.len() - fields.len())?),
            }
        }
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(matching: &Match) -> Vec<u8> {
        let mut out = Vec::new();
        matching.encode(&mut out).expect("encodes");
        out
    }

    #[test]
    fn golden_bytes_both_ways() {
        let table: &[(Match, &[u8])] = &[
            (Match::any(), &[0, 1, 0, 4, 0, 0, 0, 0]),
            (Match::any().with(Field::InPort, 7u32), &[0, 1, 0, 12, 0x80, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 0]),
            (
                Match::any().with(Field::EthType, 0x800u16).with_masked(Field::Ipv4Dst, 0x0a00_0000u32, 0xff00_0000u32),
                &[0, 1, 0, 22, 0x80, 0, 10, 2, 8, 0, 0x80, 0, 25, 8, 10, 0, 0, 0, 255, 0, 0, 0, 0, 0],
            ),
        ];
        for (matching, bytes) in table {
            assert_eq!(bytes_of(matching), *bytes, "{matching}");
            let mut reader = Reader::new("match", bytes);
            assert_eq!(Match::decode(&mut reader).as_ref(), Ok(matching));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_field_too_wide_for_a_number_is_kept() {
        let mut bytes = vec![0, 1, 0, 40, 0, 1, 40 << 1, 20];
        bytes.extend_from_slice(&[9; 20]);
        bytes.extend_from_slice(&[0x80, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 0]);
        bytes[3] = 36;
        let decoded = Match::decode(&mut Reader::new("match", &bytes)).expect("whole");
        assert_eq!(decoded.get(Field::InPort).map(|f| f.value), Some(7));
        assert_eq!(decoded.wide.len(), 24);
        assert_eq!(Match::decode(&mut Reader::new("match", &bytes_of(&decoded))), Ok(decoded));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let decode = |bytes: &[u8]| Match::decode(&mut Reader::new("flow mod", bytes)).map_err(|e| e.to_string());
        assert_eq!(decode(&[0, 0, 0, 4, 0, 0, 0, 0]), Err("match: expected type 1 (OXM), came 0".into()));
        assert_eq!(decode(&[0, 1, 0, 3]), Err("match: expected a length of at least 4, came 3".into()));
        assert_eq!(decode(&[0, 1, 0, 12, 0, 0, 0, 0]), Err("match: expected 12 more bytes, 4 are left".into()));
        let short = decode(&[0, 1, 0, 8, 0x80, 0, 0, 4]);
        assert_eq!(short, Err("match field: expected 4 more bytes, 0 are left".into()));
    }

    #[test]
    fn a_value_beyond_its_field_is_refused_not_cut() {
        let matching = Match::any().with(Field::EthType, 0x1_0800u32);
        assert!(matching.encode(&mut Vec::new()).is_err());
    }

    #[test]
    fn canonical_forms_ignore_what_a_switch_ignores() {
        let nxm_ip_dst = Field::Other { class: 0, number: 8, length: 4 };
        let onf_flags = Field::Experimenter { experimenter: 0x4f4e_4600, number: 42, length: 2 };
        let came = Match::any()
            .with_masked(onf_flags, 0xf002u16, 0x0012u16)
            .with_masked(Field::Metadata, 0u64, 0u64)
            .with_masked(nxm_ip_dst, 5u32, u32::MAX)
            .with_masked(Field::VlanVid, 0x1005u16, 0xffffu16);
        let sent = Match::any().with(Field::VlanVid, 0x1005u16).with(Field::Ipv4Dst, 5u32).with_masked(
            Field::TcpFlags,
            2u16,
            0x12u16,
        );
        assert_eq!(came.canonical(), sent.canonical());
    }

    #[test]
    fn shown_as_people_write_it() {
        let matching = Match::any()
            .with(Field::EthSrc, 0x0246_5301_0001u64)
            .with_masked(Field::Ipv4Dst, 0x0a00_0000u32, 0xff00_0000u32)
            .with(Field::CtMark, 3u32);
        assert_eq!(matching.to_string(), "eth_src=02:46:53:01:00:01,ipv4_dst=10.0.0.0/255.0.0.0,ct_mark=0x3");
        assert_eq!(Match::any().to_string(), "any");
    }
}
