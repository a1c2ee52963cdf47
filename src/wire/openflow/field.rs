//! Match fields: OpenFlow basic (class 0x8000), packet registers (0x8001) and Nicira (classes 0x0000, 0x0001).

use std::fmt;

use bytes::BufMut;

use super::buffer::Reader;
use super::{DecodeError, EncodeError};

pub(super) const FIELD: &str = "field";
/// Widest value held as a number.
pub(super) const VALUE_BYTES_MAX: usize = 16;

/// A field of a packet or of the pipeline's metadata.
///
/// `ip_src` and the other fields that exist in both classes are kept in their OpenFlow basic form, which Open vSwitch
/// accepts in every place, `learn` and `move` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    InPort,
    InPhyPort,
    Metadata,
    EthDst,
    EthSrc,
    EthType,
    VlanVid,
    VlanPcp,
    IpDscp,
    IpEcn,
    IpProto,
    Ipv4Src,
    Ipv4Dst,
    TcpSrc,
    TcpDst,
    UdpSrc,
    UdpDst,
    SctpSrc,
    SctpDst,
    Icmpv4Type,
    Icmpv4Code,
    ArpOp,
    ArpSpa,
    ArpTpa,
    ArpSha,
    ArpTha,
    Ipv6Src,
    Ipv6Dst,
    Ipv6Flabel,
    Icmpv6Type,
    Icmpv6Code,
    Ipv6NdTarget,
    Ipv6NdSll,
    Ipv6NdTll,
    MplsLabel,
    MplsTc,
    MplsBos,
    PbbIsid,
    TunnelId,
    Ipv6Exthdr,
    /// OpenFlow 1.5 `OFPXMT_OFB_PACKET_TYPE`, which Open vSwitch has in all versions.
    PacketType,
    /// ONF extension of OpenFlow 1.3 as Open vSwitch speaks it: `NXM_NX_TCP_FLAGS`, 12 bits in 16.
    TcpFlags,
    /// Nicira 32-bit registers 0 to 15.
    Reg(u8),
    /// Pairs of registers, 64 bits, 0 to 7: `xreg0` is `reg0` and `reg1`.
    XReg(u8),
    /// Fours of registers, 128 bits, 0 to 3.
    XxReg(u8),
    CtState,
    CtZone,
    CtMark,
    /// Nicira `NXM_NX_IP_TTL`.
    IpTtl,
    /// Nicira's 16-bit form of the port.
    NxmInPort,
    /// Nicira's VLAN field: the whole tag control, bit 12 set where there is a tag.
    NxmVlanTci,
    /// Nicira's DSCP, in the upper six bits of eight.
    NxmIpTos,
    /// Bit 0: any fragment; bit 1: not the first.
    IpFrag,
    MplsTtl,
    TunIpv4Src,
    TunIpv4Dst,
    PktMark,
    RecircId,
    ConjId,
    TunGbpId,
    TunGbpFlags,
    TunFlags,
    CtLabel,
    TunIpv6Src,
    TunIpv6Dst,
    /// Of the connection's first packet, as the connection tracker has it.
    CtNwProto,
    CtNwSrc,
    CtNwDst,
    CtIpv6Src,
    CtIpv6Dst,
    CtTpSrc,
    CtTpDst,
    /// Any other; `length` is the number of value bytes (without mask), at most 16.
    Other {
        class: u16,
        number: u8,
        length: u8,
    },
    /// A field of class 0xffff; `length` counts the value alone, at most 16.
    Experimenter {
        experimenter: u32,
        number: u8,
        length: u8,
    },
}

impl Field {
    /// Width in bits.
    pub const fn bits(self) -> u16 {
        match self {
            Self::MplsBos => 1,
            Self::IpEcn => 2,
            Self::VlanPcp | Self::MplsTc => 3,
            Self::IpDscp => 6,
            Self::Ipv6Exthdr => 9,
            Self::TcpFlags => 12,
            Self::VlanVid => 13,
            Self::IpProto
            | Self::Icmpv4Type
            | Self::Icmpv4Code
            | Self::Icmpv6Type
            | Self::Icmpv6Code
            | Self::IpTtl
            | Self::NxmIpTos
            | Self::IpFrag
            | Self::MplsTtl
            | Self::TunGbpFlags
            | Self::CtNwProto => 8,
            Self::EthType
            | Self::TcpSrc
            | Self::TcpDst
            | Self::UdpSrc
            | Self::UdpDst
            | Self::SctpSrc
            | Self::SctpDst
            | Self::ArpOp
            | Self::CtZone
            | Self::NxmInPort
            | Self::NxmVlanTci
            | Self::TunGbpId
            | Self::TunFlags
            | Self::CtTpSrc
            | Self::CtTpDst => 16,
            Self::Ipv6Flabel | Self::MplsLabel => 20,
            Self::PbbIsid => 24,
            Self::InPort
            | Self::InPhyPort
            | Self::Ipv4Src
            | Self::Ipv4Dst
            | Self::ArpSpa
            | Self::ArpTpa
            | Self::PacketType
            | Self::Reg(_)
            | Self::CtState
            | Self::CtMark
            | Self::TunIpv4Src
            | Self::TunIpv4Dst
            | Self::PktMark
            | Self::RecircId
            | Self::ConjId
            | Self::CtNwSrc
            | Self::CtNwDst => 32,
            Self::EthDst | Self::EthSrc | Self::ArpSha | Self::ArpTha | Self::Ipv6NdSll | Self::Ipv6NdTll => 48,
            Self::Metadata | Self::TunnelId | Self::XReg(_) => 64,
            Self::Ipv6Src
            | Self::Ipv6Dst
            | Self::Ipv6NdTarget
            | Self::XxReg(_)
            | Self::CtLabel
            | Self::TunIpv6Src
            | Self::TunIpv6Dst
            | Self::CtIpv6Src
            | Self::CtIpv6Dst => 128,
            Self::Other { length, .. } | Self::Experimenter { length, .. } => length as u16 * 8,
        }
    }

    /// Every field that is known by name and has no number.
    pub fn named() -> impl Iterator<Item = Self> {
        CODES.iter().map(|entry| entry.0)
    }

    /// The mask under which every bit counts.
    pub const fn all_ones(self) -> u128 {
        match self.bits() {
            128.. => u128::MAX,
            bits => (1 << bits) - 1,
        }
    }
}

/// Class of the OpenFlow basic fields.
pub(super) const CLASS_BASIC: u16 = 0x8000;
/// Class of fields that an experimenter id follows.
pub(super) const CLASS_EXPERIMENTER: u16 = 0xffff;
const CLASS_NXM_0: u16 = 0x0000;
const CLASS_NXM_1: u16 = 0x0001;
/// OpenFlow 1.5's packet registers.
const CLASS_PACKET_REGISTERS: u16 = 0x8001;
/// Experimenter id of the Open Networking Foundation.
pub(super) const ONF: u32 = 0x4f4e_4600;
const ONF_TCP_FLAGS: Field = Field::Experimenter { experimenter: ONF, number: 42, length: 2 };

/// Class, number and value bytes of the fields known by name.
#[rustfmt::skip]
const CODES: &[(Field, u16, u8, u8, &str)] = &[
    (Field::InPort,       CLASS_BASIC, 0, 4, "in_port"),
    (Field::InPhyPort,    CLASS_BASIC, 1, 4, "in_phy_port"),
    (Field::Metadata,     CLASS_BASIC, 2, 8, "metadata"),
    (Field::EthDst,       CLASS_BASIC, 3, 6, "eth_dst"),
    (Field::EthSrc,       CLASS_BASIC, 4, 6, "eth_src"),
    (Field::EthType,      CLASS_BASIC, 5, 2, "eth_type"),
    (Field::VlanVid,      CLASS_BASIC, 6, 2, "vlan_vid"),
    (Field::VlanPcp,      CLASS_BASIC, 7, 1, "vlan_pcp"),
    (Field::IpDscp,       CLASS_BASIC, 8, 1, "ip_dscp"),
    (Field::IpEcn,        CLASS_BASIC, 9, 1, "ip_ecn"),
    (Field::IpProto,      CLASS_BASIC, 10, 1, "ip_proto"),
    (Field::Ipv4Src,      CLASS_BASIC, 11, 4, "ipv4_src"),
    (Field::Ipv4Dst,      CLASS_BASIC, 12, 4, "ipv4_dst"),
    (Field::TcpSrc,       CLASS_BASIC, 13, 2, "tcp_src"),
    (Field::TcpDst,       CLASS_BASIC, 14, 2, "tcp_dst"),
    (Field::UdpSrc,       CLASS_BASIC, 15, 2, "udp_src"),
    (Field::UdpDst,       CLASS_BASIC, 16, 2, "udp_dst"),
    (Field::SctpSrc,      CLASS_BASIC, 17, 2, "sctp_src"),
    (Field::SctpDst,      CLASS_BASIC, 18, 2, "sctp_dst"),
    (Field::Icmpv4Type,   CLASS_BASIC, 19, 1, "icmpv4_type"),
    (Field::Icmpv4Code,   CLASS_BASIC, 20, 1, "icmpv4_code"),
    (Field::ArpOp,        CLASS_BASIC, 21, 2, "arp_op"),
    (Field::ArpSpa,       CLASS_BASIC, 22, 4, "arp_spa"),
    (Field::ArpTpa,       CLASS_BASIC, 23, 4, "arp_tpa"),
    (Field::ArpSha,       CLASS_BASIC, 24, 6, "arp_sha"),
    (Field::ArpTha,       CLASS_BASIC, 25, 6, "arp_tha"),
    (Field::Ipv6Src,      CLASS_BASIC, 26, 16, "ipv6_src"),
    (Field::Ipv6Dst,      CLASS_BASIC, 27, 16, "ipv6_dst"),
    (Field::Ipv6Flabel,   CLASS_BASIC, 28, 4, "ipv6_flabel"),
    (Field::Icmpv6Type,   CLASS_BASIC, 29, 1, "icmpv6_type"),
    (Field::Icmpv6Code,   CLASS_BASIC, 30, 1, "icmpv6_code"),
    (Field::Ipv6NdTarget, CLASS_BASIC, 31, 16, "ipv6_nd_target"),
    (Field::Ipv6NdSll,    CLASS_BASIC, 32, 6, "ipv6_nd_sll"),
    (Field::Ipv6NdTll,    CLASS_BASIC, 33, 6, "ipv6_nd_tll"),
    (Field::MplsLabel,    CLASS_BASIC, 34, 4, "mpls_label"),
    (Field::MplsTc,       CLASS_BASIC, 35, 1, "mpls_tc"),
    (Field::MplsBos,      CLASS_BASIC, 36, 1, "mpls_bos"),
    (Field::PbbIsid,      CLASS_BASIC, 37, 3, "pbb_isid"),
    (Field::TunnelId,     CLASS_BASIC, 38, 8, "tunnel_id"),
    (Field::Ipv6Exthdr,   CLASS_BASIC, 39, 2, "ipv6_exthdr"),
    (Field::PacketType,   CLASS_BASIC, 44, 4, "packet_type"),
    (Field::TcpFlags,     CLASS_NXM_1, 34, 2, "tcp_flags"),
    (Field::CtState,      CLASS_NXM_1, 105, 4, "ct_state"),
    (Field::CtZone,       CLASS_NXM_1, 106, 2, "ct_zone"),
    (Field::CtMark,       CLASS_NXM_1, 107, 4, "ct_mark"),
    (Field::IpTtl,        CLASS_NXM_1, 29, 1, "ip_ttl"),
    (Field::NxmInPort,    CLASS_NXM_0, 0, 2, "in_port_nxm"),
    (Field::NxmVlanTci,   CLASS_NXM_0, 4, 2, "vlan_tci"),
    (Field::NxmIpTos,     CLASS_NXM_0, 5, 1, "ip_tos"),
    (Field::IpFrag,       CLASS_NXM_1, 26, 1, "ip_frag"),
    (Field::MplsTtl,      CLASS_NXM_1, 30, 1, "mpls_ttl"),
    (Field::TunIpv4Src,   CLASS_NXM_1, 31, 4, "tun_ipv4_src"),
    (Field::TunIpv4Dst,   CLASS_NXM_1, 32, 4, "tun_ipv4_dst"),
    (Field::PktMark,      CLASS_NXM_1, 33, 4, "pkt_mark"),
    (Field::RecircId,     CLASS_NXM_1, 36, 4, "recirc_id"),
    (Field::ConjId,       CLASS_NXM_1, 37, 4, "conj_id"),
    (Field::TunGbpId,     CLASS_NXM_1, 38, 2, "tun_gbp_id"),
    (Field::TunGbpFlags,  CLASS_NXM_1, 39, 1, "tun_gbp_flags"),
    (Field::TunFlags,     CLASS_NXM_1, 104, 2, "tun_flags"),
    (Field::CtLabel,      CLASS_NXM_1, 108, 16, "ct_label"),
    (Field::TunIpv6Src,   CLASS_NXM_1, 109, 16, "tun_ipv6_src"),
    (Field::TunIpv6Dst,   CLASS_NXM_1, 110, 16, "tun_ipv6_dst"),
    (Field::CtNwProto,    CLASS_NXM_1, 119, 1, "ct_nw_proto"),
    (Field::CtNwSrc,      CLASS_NXM_1, 120, 4, "ct_nw_src"),
    (Field::CtNwDst,      CLASS_NXM_1, 121, 4, "ct_nw_dst"),
    (Field::CtIpv6Src,    CLASS_NXM_1, 122, 16, "ct_ipv6_src"),
    (Field::CtIpv6Dst,    CLASS_NXM_1, 123, 16, "ct_ipv6_dst"),
    (Field::CtTpSrc,      CLASS_NXM_1, 124, 2, "ct_tp_src"),
    (Field::CtTpDst,      CLASS_NXM_1, 125, 2, "ct_tp_dst"),
];

/// Registers: class, number of the first, how many, value bytes.
type Registers = (u16, u8, u8, u8);
const REGS: Registers = (CLASS_NXM_1, 0, 16, 4);
const XREGS: Registers = (CLASS_PACKET_REGISTERS, 0, 8, 8);
const XXREGS: Registers = (CLASS_NXM_1, 111, 4, 16);

/// How many registers there are like this one, if it is one.
fn registers(field: Field) -> Option<(Registers, u8)> {
    match field {
        Field::Reg(n) => Some((REGS, n)),
        Field::XReg(n) => Some((XREGS, n)),
        Field::XxReg(n) => Some((XXREGS, n)),
        _ => None,
    }
}

/// Fields of the Nicira classes that mean the same, bit for bit, as an OpenFlow basic field.
#[rustfmt::skip]
const SAME_AS_BASIC: &[(u16, u8, Field)] = &[
    (CLASS_NXM_0, 1, Field::EthDst), (CLASS_NXM_0, 2, Field::EthSrc), (CLASS_NXM_0, 3, Field::EthType),
    (CLASS_NXM_0, 6, Field::IpProto), (CLASS_NXM_0, 7, Field::Ipv4Src), (CLASS_NXM_0, 8, Field::Ipv4Dst),
    (CLASS_NXM_0, 9, Field::TcpSrc), (CLASS_NXM_0, 10, Field::TcpDst),
    (CLASS_NXM_0, 11, Field::UdpSrc), (CLASS_NXM_0, 12, Field::UdpDst),
    (CLASS_NXM_0, 13, Field::Icmpv4Type), (CLASS_NXM_0, 14, Field::Icmpv4Code),
    (CLASS_NXM_0, 15, Field::ArpOp), (CLASS_NXM_0, 16, Field::ArpSpa), (CLASS_NXM_0, 17, Field::ArpTpa),
    (CLASS_NXM_1, 16, Field::TunnelId), (CLASS_NXM_1, 17, Field::ArpSha), (CLASS_NXM_1, 18, Field::ArpTha),
    (CLASS_NXM_1, 19, Field::Ipv6Src), (CLASS_NXM_1, 20, Field::Ipv6Dst),
    (CLASS_NXM_1, 21, Field::Icmpv6Type), (CLASS_NXM_1, 22, Field::Icmpv6Code),
    (CLASS_NXM_1, 23, Field::Ipv6NdTarget), (CLASS_NXM_1, 24, Field::Ipv6NdSll), (CLASS_NXM_1, 25, Field::Ipv6NdTll),
    (CLASS_NXM_1, 27, Field::Ipv6Flabel), (CLASS_NXM_1, 28, Field::IpEcn),
    (CLASS_BASIC, 42, Field::TcpFlags),
];

/// Where a field is on the wire: class, number, value bytes and, in the experimenter class, whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) class: u16,
    pub(super) number: u8,
    pub(super) bytes: u8,
    pub(super) experimenter: Option<u32>,
}

impl Field {
    pub(super) fn code(self) -> Code {
        if let Some(((class, first, _, bytes), n)) = registers(self) {
            return Code { class, number: first.saturating_add(n), bytes, experimenter: None };
        }
        match self {
            Self::Other { class, number, length } => Code { class, number, bytes: length, experimenter: None },
            Self::Experimenter { experimenter, number, length } => {
                Code { class: CLASS_EXPERIMENTER, number, bytes: length, experimenter: Some(experimenter) }
            }
            named => {
                let (_, class, number, bytes, _) =
                    CODES.iter().find(|entry| entry.0 == named).expect("every field without parameters is in CODES");
                Code { class: *class, number: *number, bytes: *bytes, experimenter: None }
            }
        }
    }

    /// The field of a header; one of another size than its name promises stays `Other`.
    pub(super) fn from_code(code: Code) -> Self {
        let Code { class, number, bytes, experimenter } = code;
        if let Some(experimenter) = experimenter {
            return Self::Experimenter { experimenter, number, length: bytes };
        }
        type Family = (Registers, fn(u8) -> Field);
        let families: [Family; 3] = [(REGS, Self::Reg), (XREGS, Self::XReg), (XXREGS, Self::XxReg)];
        for ((of_class, first, count, of_bytes), register) in families {
            if class == of_class && bytes == of_bytes && (first..first + count).contains(&number) {
                return register(number - first);
            }
        }
        CODES
            .iter()
            .find(|entry| (entry.1, entry.2, entry.3) == (class, number, bytes))
            .map_or(Self::Other { class, number, length: bytes }, |entry| entry.0)
    }

    /// The same field in the class that this program uses: Nicira's own numbers of basic fields become basic, and the
    /// ONF's number of `tcp_flags` becomes Nicira's.
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            ONF_TCP_FLAGS => Self::TcpFlags,
            Self::Other { class, number, length } => SAME_AS_BASIC
                .iter()
                .find(|(c, n, field)| (*c, *n) == (class, number) && field.code().bytes == length)
                .map_or(self, |entry| entry.2),
            named => named,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Reg(n) => write!(f, "reg{n}"),
            Self::XReg(n) => write!(f, "xreg{n}"),
            Self::XxReg(n) => write!(f, "xxreg{n}"),
            Self::Other { class, number, .. } => write!(f, "oxm_{class:#06x}_{number}"),
            Self::Experimenter { experimenter, number, .. } => write!(f, "experimenter_{experimenter:#010x}_{number}"),
            named => {
                let name = CODES.iter().find(|entry| entry.0 == named).map(|entry| entry.4);
                f.write_str(name.expect("every field without parameters is in CODES"))
            }
        }
    }
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+-------------+-+---------------+
//    |             class             |    field    |M|    length     |
//    +-------------------------------+-------------+-+---------------+
//    |   experimenter (only where class is 0xffff)                   |
//    +---------------------------------------------------------------+
//
// M says that a mask follows the value. The length is that of experimenter, value and mask.

/// Appends a field's header.
pub(super) fn put_header(out: &mut Vec<u8>, field: Field, masked: bool) -> Result<(), EncodeError> {
    let code = field.code();
    if registers(field).is_some_and(|((_, _, count, _), n)| n >= count) {
        let expected = "a register that there is";
        return Err(EncodeError::Value { what: FIELD, expected, came: u128::from(code.number) });
    }
    if usize::from(code.bytes) > VALUE_BYTES_MAX || code.number > 0x7f {
        let expected = "at most 16 value bytes and a number below 128";
        return Err(EncodeError::Value { what: FIELD, expected, came: u128::from(code.bytes) });
    }
    if (code.class == CLASS_EXPERIMENTER) != code.experimenter.is_some() {
        let expected = "Field::Experimenter for class 0xffff";
        return Err(EncodeError::Value { what: FIELD, expected, came: u128::from(code.class) });
    }
    let length = code.bytes << u8::from(masked);
    out.put_u16(code.class);
    out.put_u8(code.number << 1 | u8::from(masked));
    out.put_u8(length + if code.experimenter.is_some() { 4 } else { 0 });
    if let Some(experimenter) = code.experimenter {
        out.put_u32(experimenter);
    }
    Ok(())
}

/// Appends a header that must take 4 bytes, as the older Nicira actions have it.
pub(super) fn put_short_header(out: &mut Vec<u8>, field: Field) -> Result<(), EncodeError> {
    if field.code().experimenter.is_some() {
        let expected = "a field with a 4-byte header";
        return Err(EncodeError::Value { what: FIELD, expected, came: u128::from(CLASS_EXPERIMENTER) });
    }
    put_header(out, field, false)
}

/// A header read: the field, whether a mask follows its value; no field where its value is too wide for this program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) field: Option<Field>,
    pub(super) masked: bool,
    /// Bytes of value and mask.
    pub(super) payload: usize,
}

pub(super) fn read_header(reader: &mut Reader<'_>) -> Result<Header, DecodeError> {
    let class = reader.u16()?;
    let number = reader.u8()?;
    let mut payload = usize::from(reader.u8()?);
    let masked = number & 1 == 1;
    let mut experimenter = None;
    if class == CLASS_EXPERIMENTER {
        if payload < 4 {
            let expected = "at least the 4 bytes of the experimenter id";
            return Err(DecodeError::Length { what: FIELD, expected, came: payload });
        }
        experimenter = Some(reader.u32()?);
        payload -= 4;
    }
    let is_even = payload.is_multiple_of(2);
    let bytes = if masked { payload / 2 } else { payload };
    let field = (bytes <= VALUE_BYTES_MAX && (is_even || !masked)).then(|| {
        let bytes = u8::try_from(bytes).expect("at most 16");
        Field::from_code(Code { class, number: number >> 1, bytes, experimenter })
    });
    Ok(Header { field, masked, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_field_is_found_by_its_code_and_fits_its_bytes() {
        for (field, _, _, bytes, name) in CODES {
            assert_eq!(Field::from_code(field.code()), *field);
            assert!(field.bits() <= u16::from(*bytes) * 8, "{name}");
            // Labels are the only ones with a whole byte to spare.
            let spare = u16::from(matches!(field, Field::Ipv6Flabel | Field::MplsLabel));
            assert!(field.bits() > (u16::from(*bytes) - 1 - spare) * 8, "{name}");
            assert_eq!(field.to_string(), *name);
            assert_eq!(field.canonical(), *field);
        }
        assert_eq!(Field::from_code(Field::Reg(15).code()), Field::Reg(15));
        assert_eq!(Field::Reg(7).to_string(), "reg7");
        for field in (0..8).map(Field::XReg).chain((0..4).map(Field::XxReg)) {
            assert_eq!(Field::from_code(field.code()), field);
        }
    }

    #[test]
    fn a_header_of_an_unusual_size_is_another_field() {
        let mut reader = Reader::new("field", &[0x80, 0, 3 << 1, 4]);
        let header = read_header(&mut reader).expect("whole");
        assert_eq!(header.field, Some(Field::Other { class: 0x8000, number: 3, length: 4 }));
    }

    #[test]
    fn headers_on_the_wire() {
        let table: &[(Field, bool, &[u8])] = &[
            (Field::EthDst, true, &[0x80, 0x00, 0x07, 12]),
            (Field::TcpFlags, true, &[0x00, 0x01, 0x45, 4]),
            (Field::CtMark, false, &[0x00, 0x01, 0xd6, 4]),
            (Field::XReg(7), false, &[0x80, 0x01, 0x0e, 8]),
            (Field::XxReg(3), true, &[0x00, 0x01, 0xe5, 32]),
            (Field::PbbIsid, false, &[0x80, 0x00, 0x4a, 3]),
            (Field::Ipv6Exthdr, true, &[0x80, 0x00, 0x4f, 4]),
            (ONF_TCP_FLAGS, true, &[0xff, 0xff, 0x55, 8, 0x4f, 0x4e, 0x46, 0x00]),
        ];
        for (field, masked, bytes) in table {
            let mut out = Vec::new();
            put_header(&mut out, *field, *masked).expect("known");
            assert_eq!(out, *bytes);
            let header = read_header(&mut Reader::new("field", bytes)).expect("whole");
            assert_eq!((header.field, header.masked), (Some(*field), *masked));
        }
        assert!(put_short_header(&mut Vec::new(), ONF_TCP_FLAGS).is_err());
        for field in [Field::Reg(16), Field::XReg(8), Field::XxReg(4)] {
            assert!(put_header(&mut Vec::new(), field, false).is_err());
        }
    }
}
