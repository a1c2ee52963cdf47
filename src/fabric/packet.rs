//! A packet as its header fields.
//!
//! Every field that a flow can match, the pipeline's metadata and registers included, is one 64-bit *lane*; a packet
//! is an array of lanes, so that matching, loading and moving are plain array work. Bytes are parsed where a packet
//! enters from a real session or socket and written where it leaves; packets of emulated traffic never have any.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::types::{MacAddr, PortNo};
use crate::wire::openflow::{Field, Subfield};

/// Number of lanes of a packet.
pub const LANES: usize = 44;

/// Where each field lives. TCP, UDP and SCTP ports share lanes, and so do the types of ICMP and ICMPv6: the protocol is
/// a prerequisite of matching on them.
pub mod lane {
    pub const IN_PORT: usize = 0;
    pub const METADATA: usize = 1;
    pub const ETH_DST: usize = 2;
    pub const ETH_SRC: usize = 3;
    pub const ETH_TYPE: usize = 4;
    pub const VLAN_VID: usize = 5;
    pub const VLAN_PCP: usize = 6;
    pub const IP_DSCP: usize = 7;
    pub const IP_ECN: usize = 8;
    pub const IP_PROTO: usize = 9;
    pub const IP_SRC: usize = 10;
    pub const IP_DST: usize = 11;
    pub const L4_SRC: usize = 12;
    pub const L4_DST: usize = 13;
    pub const TCP_FLAGS: usize = 14;
    pub const ICMP_TYPE: usize = 15;
    pub const ICMP_CODE: usize = 16;
    pub const ARP_OP: usize = 17;
    pub const ARP_SPA: usize = 18;
    pub const ARP_TPA: usize = 19;
    pub const ARP_SHA: usize = 20;
    pub const ARP_THA: usize = 21;
    pub const IP_TTL: usize = 22;
    pub const TUNNEL_ID: usize = 23;
    pub const CT_STATE: usize = 24;
    pub const CT_ZONE: usize = 25;
    pub const CT_MARK: usize = 26;
    /// First of 16 registers.
    pub const REG0: usize = 28;
}

/// EtherTypes and IP protocols that the parser knows.
pub mod number {
    pub const IPV4: u64 = 0x0800;
    pub const ARP: u64 = 0x0806;
    pub const IPV6: u64 = 0x86dd;
    pub const VLAN: u64 = 0x8100;
    pub const LLDP: u64 = 0x88cc;
    pub const ICMP: u64 = 1;
    pub const TCP: u64 = 6;
    pub const UDP: u64 = 17;
    pub const ICMPV6: u64 = 58;
}

/// TCP flags (RFC 9293 section 3.1).
pub mod tcp {
    pub const FIN: u64 = 0x01;
    pub const SYN: u64 = 0x02;
    pub const RST: u64 = 0x04;
    pub const PSH: u64 = 0x08;
    pub const ACK: u64 = 0x10;
}

/// `OFPVID_PRESENT`: set in the VLAN lane of a tagged packet.
pub const VLAN_PRESENT: u64 = 0x1000;

/// Lane of a field, `None` for the fields that the emulated switch does not implement (IPv6 addresses and unknown
/// ones).
pub const fn lane_of(field: Field) -> Option<usize> {
    Some(match field {
        Field::InPort => lane::IN_PORT,
        Field::Metadata => lane::METADATA,
        Field::EthDst => lane::ETH_DST,
        Field::EthSrc => lane::ETH_SRC,
        Field::EthType => lane::ETH_TYPE,
        Field::VlanVid => lane::VLAN_VID,
        Field::VlanPcp => lane::VLAN_PCP,
        Field::IpDscp => lane::IP_DSCP,
        Field::IpEcn => lane::IP_ECN,
        Field::IpProto => lane::IP_PROTO,
        Field::Ipv4Src => lane::IP_SRC,
        Field::Ipv4Dst => lane::IP_DST,
        Field::TcpSrc | Field::UdpSrc => lane::L4_SRC,
        Field::TcpDst | Field::UdpDst => lane::L4_DST,
        Field::TcpFlags => lane::TCP_FLAGS,
        Field::Icmpv4Type | Field::Icmpv6Type => lane::ICMP_TYPE,
        Field::Icmpv4Code | Field::Icmpv6Code => lane::ICMP_CODE,
        Field::ArpOp => lane::ARP_OP,
        Field::ArpSpa => lane::ARP_SPA,
        Field::ArpTpa => lane::ARP_TPA,
        Field::ArpSha => lane::ARP_SHA,
        Field::ArpTha => lane::ARP_THA,
        Field::IpTtl => lane::IP_TTL,
        Field::TunnelId => lane::TUNNEL_ID,
        Field::CtState => lane::CT_STATE,
        Field::CtZone => lane::CT_ZONE,
        Field::CtMark => lane::CT_MARK,
        Field::Reg(number) if number < 16 => lane::REG0 + number as usize,
        _ => return None,
    })
}

/// One packet inside the fabric.
#[derive(Clone)]
pub struct Packet {
    pub lanes: [u64; LANES],
    /// Bytes behind the Ethernet (and VLAN) header, where the packet came from a session or a socket.
    pub body: Option<Arc<[u8]>>,
    /// Length of the frame in bytes.
    pub length: u32,
    /// Which emulated connection it belongs to; the pipeline cannot see it. 0 is none.
    pub tag: u32,
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set: Vec<_> = self.lanes.iter().enumerate().filter(|(_, value)| **value != 0).collect();
        f.debug_struct("Packet").field("lanes", &set).field("length", &self.length).field("tag", &self.tag).finish()
    }
}

/// Addresses and ports of a connection, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FiveTuple {
    pub protocol: u8,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub source_port: u16,
    pub destination_port: u16,
}

impl FiveTuple {
    /// The same connection seen from the other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..self
        }
    }
}

impl Packet {
    /// A TCP or UDP packet of an emulated connection.
    pub fn transport(tuple: &FiveTuple, eth_src: MacAddr, eth_dst: MacAddr, tcp_flags: u64, length: u32) -> Self {
        let mut lanes = [0; LANES];
        lanes[lane::ETH_SRC] = eth_src.to_u64();
        lanes[lane::ETH_DST] = eth_dst.to_u64();
        lanes[lane::ETH_TYPE] = number::IPV4;
        lanes[lane::IP_PROTO] = u64::from(tuple.protocol);
        lanes[lane::IP_SRC] = u64::from(u32::from(tuple.source));
        lanes[lane::IP_DST] = u64::from(u32::from(tuple.destination));
        lanes[lane::L4_SRC] = u64::from(tuple.source_port);
        lanes[lane::L4_DST] = u64::from(tuple.destination_port);
        lanes[lane::TCP_FLAGS] = tcp_flags;
        lanes[lane::IP_TTL] = 64;
        Self { lanes, body: None, length, tag: 0 }
    }

    pub fn in_port(&self) -> PortNo {
        PortNo(self.lanes[lane::IN_PORT] as u32)
    }

    pub fn five_tuple(&self) -> FiveTuple {
        FiveTuple {
            protocol: self.lanes[lane::IP_PROTO] as u8,
            source: Ipv4Addr::from(self.lanes[lane::IP_SRC] as u32),
            destination: Ipv4Addr::from(self.lanes[lane::IP_DST] as u32),
            source_port: self.lanes[lane::L4_SRC] as u16,
            destination_port: self.lanes[lane::L4_DST] as u16,
        }
    }

    /// Forgets everything that belongs to the switch it just left: metadata, registers, connection tracking.
    pub fn leave_switch(&mut self) {
        self.lanes[lane::METADATA] = 0;
        self.lanes[lane::TUNNEL_ID..].fill(0);
    }

    /// Bits of a subfield; 0 for a field that does not exist here.
    pub fn get(&self, sub: Subfield) -> u64 {
        match lane_of(sub.field) {
            Some(lane) => (self.lanes[lane] >> sub.offset) & ones(sub.n_bits),
            None => 0,
        }
    }

    pub fn set(&mut self, sub: Subfield, value: u64) {
        if let Some(lane) = lane_of(sub.field) {
            let mask = ones(sub.n_bits) << sub.offset;
            self.lanes[lane] = (self.lanes[lane] & !mask) | ((value << sub.offset) & mask);
        }
    }

    /// Reads a frame; `None` where it is too short to have an Ethernet header. A damaged network header leaves its
    /// fields 0, as Open vSwitch does.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let mut lanes = [0; LANES];
        lanes[lane::ETH_DST] = be(data.get(0..6)?);
        lanes[lane::ETH_SRC] = be(data.get(6..12)?);
        let mut eth_type = be(data.get(12..14)?);
        let mut rest = &data[14..];
        if eth_type == number::VLAN && rest.len() >= 4 {
            let tci = be(&rest[0..2]);
            lanes[lane::VLAN_VID] = VLAN_PRESENT | (tci & 0xfff);
            lanes[lane::VLAN_PCP] = tci >> 13;
            eth_type = be(&rest[2..4]);
            rest = &rest[4..];
        }
        lanes[lane::ETH_TYPE] = eth_type;
        match eth_type {
            number::IPV4 => parse_ipv4(rest, &mut lanes),
            number::ARP => parse_arp(rest, &mut lanes),
            number::IPV6 => parse_ipv6(rest, &mut lanes),
            _ => {}
        }
        Some(Self { lanes, body: Some(Arc::from(rest)), length: data.len() as u32, tag: 0 })
    }

    /// The frame as bytes, with its checksums right.
    pub fn emit(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.length as usize);
        frame.extend_from_slice(&self.lanes[lane::ETH_DST].to_be_bytes()[2..]);
        frame.extend_from_slice(&self.lanes[lane::ETH_SRC].to_be_bytes()[2..]);
        if self.lanes[lane::VLAN_VID] & VLAN_PRESENT != 0 {
            frame.extend_from_slice(&[0x81, 0x00]);
            let tci = self.lanes[lane::VLAN_PCP] << 13 | self.lanes[lane::VLAN_VID] & 0xfff;
            frame.extend_from_slice(&(tci as u16).to_be_bytes());
        }
        frame.extend_from_slice(&(self.lanes[lane::ETH_TYPE] as u16).to_be_bytes());
        let start = frame.len();
        match &self.body {
            Some(body) => frame.extend_from_slice(body),
            None => self.blank_body(&mut frame),
        }
        match self.lanes[lane::ETH_TYPE] {
            number::IPV4 => write_ipv4(&mut frame[start..], &self.lanes),
            number::ARP => write_arp(&mut frame[start..], &self.lanes),
            _ => {}
        }
        frame
    }

    /// Room for the headers of an emulated packet; [`write_ipv4`] and [`write_arp`] fill them in.
    fn blank_body(&self, frame: &mut Vec<u8>) {
        let start = frame.len();
        match self.lanes[lane::ETH_TYPE] {
            number::IPV4 => {
                let headers = match self.lanes[lane::IP_PROTO] {
                    number::TCP => 40,
                    number::UDP | number::ICMP => 28,
                    _ => 20,
                };
                let total = (self.length as usize).max(start + headers);
                frame.resize(total, 0);
                frame[start] = 0x45;
                let length = (total - start) as u16;
                frame[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
                match self.lanes[lane::IP_PROTO] {
                    number::TCP => frame[start + 32] = 0x50,
                    number::UDP => frame[start + 24..start + 26].copy_from_slice(&(length - 20).to_be_bytes()),
                    _ => {}
                }
            }
            number::ARP => {
                frame.resize(start + 28, 0);
                frame[start..start + 6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
            }
            _ => frame.resize((self.length as usize).max(start), 0),
        }
    }
}

const fn ones(bits: u16) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// Up to eight bytes as a big-endian number.
fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn parse_ipv4(data: &[u8], lanes: &mut [u64; LANES]) {
    let header = usize::from(data.first().copied().unwrap_or(0) & 0xf) * 4;
    if data.len() < 20 || data[0] >> 4 != 4 || header < 20 || data.len() < header {
        return;
    }
    lanes[lane::IP_DSCP] = u64::from(data[1] >> 2);
    lanes[lane::IP_ECN] = u64::from(data[1] & 3);
    lanes[lane::IP_TTL] = u64::from(data[8]);
    lanes[lane::IP_PROTO] = u64::from(data[9]);
    lanes[lane::IP_SRC] = be(&data[12..16]);
    lanes[lane::IP_DST] = be(&data[16..20]);
    let fragment_offset = be(&data[6..8]) & 0x1fff;
    let transport = &data[header..];
    if fragment_offset != 0 {
        return;
    }
    match lanes[lane::IP_PROTO] {
        number::TCP if transport.len() >= 20 => {
            lanes[lane::L4_SRC] = be(&transport[0..2]);
            lanes[lane::L4_DST] = be(&transport[2..4]);
            lanes[lane::TCP_FLAGS] = be(&transport[12..14]) & 0xfff;
        }
        number::UDP if transport.len() >= 8 => {
            lanes[lane::L4_SRC] = be(&transport[0..2]);
            lanes[lane::L4_DST] = be(&transport[2..4]);
        }
        number::ICMP if transport.len() >= 8 => {
            lanes[lane::ICMP_TYPE] = u64::from(transport[0]);
            lanes[lane::ICMP_CODE] = u64::from(transport[1]);
        }
        _ => {}
    }
}

/// The fields that flows match; nothing of IPv6 is written back, because nothing of it can be set.
fn parse_ipv6(data: &[u8], lanes: &mut [u64; LANES]) {
    const HEADER: usize = 40;
    if data.len() < HEADER || data[0] >> 4 != 6 {
        return;
    }
    let class = be(&data[0..2]) >> 4 & 0xff;
    lanes[lane::IP_DSCP] = class >> 2;
    lanes[lane::IP_ECN] = class & 3;
    lanes[lane::IP_PROTO] = u64::from(data[6]);
    lanes[lane::IP_TTL] = u64::from(data[7]);
    let transport = &data[HEADER..];
    match lanes[lane::IP_PROTO] {
        number::TCP | number::UDP if transport.len() >= 8 => {
            lanes[lane::L4_SRC] = be(&transport[0..2]);
            lanes[lane::L4_DST] = be(&transport[2..4]);
            if lanes[lane::IP_PROTO] == number::TCP && transport.len() >= 20 {
                lanes[lane::TCP_FLAGS] = be(&transport[12..14]) & 0xfff;
            }
        }
        number::ICMPV6 if transport.len() >= 4 => {
            lanes[lane::ICMP_TYPE] = u64::from(transport[0]);
            lanes[lane::ICMP_CODE] = u64::from(transport[1]);
        }
        _ => {}
    }
}

fn parse_arp(data: &[u8], lanes: &mut [u64; LANES]) {
    if data.len() < 28 || data[0..6] != [0, 1, 8, 0, 6, 4] {
        return;
    }
    lanes[lane::ARP_OP] = be(&data[6..8]);
    lanes[lane::ARP_SHA] = be(&data[8..14]);
    lanes[lane::ARP_SPA] = be(&data[14..18]);
    lanes[lane::ARP_THA] = be(&data[18..24]);
    lanes[lane::ARP_TPA] = be(&data[24..28]);
}

fn write_arp(data: &mut [u8], lanes: &[u64; LANES]) {
    if data.len() < 28 || data[0..6] != [0, 1, 8, 0, 6, 4] {
        return;
    }
    data[6..8].copy_from_slice(&(lanes[lane::ARP_OP] as u16).to_be_bytes());
    data[8..14].copy_from_slice(&lanes[lane::ARP_SHA].to_be_bytes()[2..]);
    data[14..18].copy_from_slice(&(lanes[lane::ARP_SPA] as u32).to_be_bytes());
    data[18..24].copy_from_slice(&lanes[lane::ARP_THA].to_be_bytes()[2..]);
    data[24..28].copy_from_slice(&(lanes[lane::ARP_TPA] as u32).to_be_bytes());
}

fn write_ipv4(data: &mut [u8], lanes: &[u64; LANES]) {
    let header = usize::from(data.first().copied().unwrap_or(0) & 0xf) * 4;
    if data.len() < 20 || data[0] >> 4 != 4 || header < 20 || data.len() < header {
        return;
    }
    data[1] = (lanes[lane::IP_DSCP] << 2 | lanes[lane::IP_ECN]) as u8;
    data[8] = lanes[lane::IP_TTL] as u8;
    data[9] = lanes[lane::IP_PROTO] as u8;
    data[12..16].copy_from_slice(&(lanes[lane::IP_SRC] as u32).to_be_bytes());
    data[16..20].copy_from_slice(&(lanes[lane::IP_DST] as u32).to_be_bytes());
    data[10..12].fill(0);
    let sum = checksum(&data[..header], 0);
    data[10..12].copy_from_slice(&sum.to_be_bytes());
    let fragment = be(&data[6..8]) & 0x3fff != 0;
    let total = usize::from(u16::from_be_bytes([data[2], data[3]])).clamp(header, data.len());
    let length = (total - header) as u32;
    let pseudo = be(&data[12..14]) as u32
        + be(&data[14..16]) as u32
        + be(&data[16..18]) as u32
        + be(&data[18..20]) as u32
        + lanes[lane::IP_PROTO] as u32
        + length;
    let transport = &mut data[header..total];
    if fragment {
        return;
    }
    let ports = [(lanes[lane::L4_SRC] as u16).to_be_bytes(), (lanes[lane::L4_DST] as u16).to_be_bytes()].concat();
    match lanes[lane::IP_PROTO] {
        number::TCP if transport.len() >= 20 => {
            transport[0..4].copy_from_slice(&ports);
            let flags = (be(&transport[12..14]) & 0xf000 | lanes[lane::TCP_FLAGS]) as u16;
            transport[12..14].copy_from_slice(&flags.to_be_bytes());
            seal(transport, 16, pseudo);
        }
        number::UDP if transport.len() >= 8 => {
            transport[0..4].copy_from_slice(&ports);
            seal(transport, 6, pseudo);
            if transport[6..8] == [0, 0] {
                // A computed 0 is sent as all ones: 0 would mean that there is no checksum (RFC 768).
                transport[6..8].fill(0xff);
            }
        }
        number::ICMP if transport.len() >= 8 => {
            transport[0] = lanes[lane::ICMP_TYPE] as u8;
            transport[1] = lanes[lane::ICMP_CODE] as u8;
            seal(transport, 2, 0);
        }
        _ => {}
    }
}

/// Writes the checksum of `data` at `at`.
fn seal(data: &mut [u8], at: usize, initial: u32) {
    data[at..at + 2].fill(0);
    let sum = checksum(data, initial);
    data[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Internet checksum (RFC 1071).
fn checksum(data: &[u8], initial: u32) -> u16 {
    let mut sum = u64::from(initial);
    for pair in data.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(protocol: u8) -> FiveTuple {
        FiveTuple {
            protocol,
            source: Ipv4Addr::new(10, 0, 0, 1),
            destination: Ipv4Addr::new(192, 0, 2, 7),
            source_port: 40_000,
            destination_port: 443,
        }
    }

    #[test]
    fn emulated_packets_read_back_as_themselves() {
        for (protocol, flags) in [(6, tcp::SYN), (6, tcp::FIN | tcp::ACK), (17, 0), (1, 0), (50, 0)] {
            let mut packet =
                Packet::transport(&tuple(protocol), MacAddr([2, 0, 0, 0, 0, 1]), MacAddr::GATEWAY, flags, 60);
            if !matches!(protocol, 6 | 17) {
                packet.lanes[lane::L4_SRC] = 0;
                packet.lanes[lane::L4_DST] = 0;
            }
            packet.lanes[lane::VLAN_VID] = VLAN_PRESENT | 7;
            packet.lanes[lane::VLAN_PCP] = 5;
            let bytes = packet.emit();
            assert_eq!(Packet::parse(&bytes).unwrap().lanes, packet.lanes, "protocol {protocol}");
        }
    }

    #[test]
    fn etherparse_finds_the_checksums_right() {
        for protocol in [6, 17] {
            let bytes = Packet::transport(&tuple(protocol), MacAddr([2; 6]), MacAddr::GATEWAY, tcp::SYN, 74).emit();
            let sliced = etherparse::SlicedPacket::from_ethernet(&bytes).unwrap();
            let Some(etherparse::NetSlice::Ipv4(ip)) = sliced.net else { panic!("not IPv4") };
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            match sliced.transport {
                Some(etherparse::TransportSlice::Tcp(t)) => {
                    let header = t.to_header();
                    assert_eq!(
                        header.checksum,
                        header.calc_checksum_ipv4(&ip.header().to_header(), t.payload()).unwrap()
                    );
                }
                Some(etherparse::TransportSlice::Udp(u)) => {
                    let header = u.to_header();
                    assert_eq!(
                        header.checksum,
                        header.calc_checksum_ipv4(&ip.header().to_header(), u.payload()).unwrap()
                    );
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_any_bytes_and_emitting_them_again_never_panics(data in proptest::collection::vec(0u8.., 0..200)) {
            if let Some(packet) = Packet::parse(&data) {
                let again = Packet::parse(&packet.emit()).expect("what was emitted has an Ethernet header");
                proptest::prop_assert_eq!(again.lanes, packet.lanes);
            }
        }
    }

    #[test]
    fn bytes_behind_the_known_headers_survive_a_rewrite() {
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(1, 2, 77_777, 512)
            .ack(123);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, b"payload that is odd").unwrap();
        let mut packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.emit(), bytes);
        packet.set(Subfield::whole(Field::Ipv4Dst), 0x0a00_0009);
        let rewritten = packet.emit();
        assert_eq!(&rewritten[54..], b"payload that is odd");
        assert_eq!(&rewritten[38..42], &77_777u32.to_be_bytes());
    }
}
