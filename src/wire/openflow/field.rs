//! Match fields: OpenFlow basic (class 0x8000) and Nicira (classes 0x0000, 0x0001).

/// A field of a packet or of the pipeline's metadata.
///
/// `ip_src` and the other fields that exist in both classes are kept in their OpenFlow basic form, which Open vSwitch
/// accepts in every place, `learn` and `move` included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    InPort,
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
    Icmpv4Type,
    Icmpv4Code,
    ArpOp,
    ArpSpa,
    ArpTpa,
    ArpSha,
    ArpTha,
    Ipv6Src,
    Ipv6Dst,
    Icmpv6Type,
    Icmpv6Code,
    Ipv6NdTarget,
    Ipv6NdSll,
    Ipv6NdTll,
    TunnelId,
    /// ONF extension of OpenFlow 1.3 as Open vSwitch speaks it: `NXM_NX_TCP_FLAGS`, 12 bits in 16.
    TcpFlags,
    /// Nicira 32-bit registers 0 to 15.
    Reg(u8),
    CtState,
    CtZone,
    CtMark,
    /// Nicira `NXM_NX_IP_TTL`.
    IpTtl,
    /// Any other; `length` is the number of value bytes (without mask), at most 16.
    Other { class: u16, number: u8, length: u8 },
}

impl Field {
    /// Width in bits.
    pub const fn bits(self) -> u16 {
        match self {
            Self::EthDst | Self::EthSrc | Self::ArpSha | Self::ArpTha | Self::Ipv6NdSll | Self::Ipv6NdTll => 48,
            Self::Metadata | Self::TunnelId => 64,
            Self::Ipv6Src | Self::Ipv6Dst | Self::Ipv6NdTarget => 128,
            Self::InPort
            | Self::Ipv4Src
            | Self::Ipv4Dst
            | Self::ArpSpa
            | Self::ArpTpa
            | Self::Reg(_)
            | Self::CtState
            | Self::CtMark => 32,
            Self::EthType
            | Self::TcpSrc
            | Self::TcpDst
            | Self::UdpSrc
            | Self::UdpDst
            | Self::ArpOp
            | Self::CtZone => 16,
            Self::VlanVid => 13,
            Self::TcpFlags => 12,
            Self::VlanPcp => 3,
            Self::IpDscp => 6,
            Self::IpEcn => 2,
            Self::IpProto
            | Self::Icmpv4Type
            | Self::Icmpv4Code
            | Self::Icmpv6Type
            | Self::Icmpv6Code
            | Self::IpTtl => 8,
            Self::Other { length, .. } => length as u16 * 8,
        }
    }

    /// The mask under which every bit counts.
    pub const fn all_ones(self) -> u128 {
        match self.bits() {
            128 => u128::MAX,
            bits => (1 << bits) - 1,
        }
    }
}
