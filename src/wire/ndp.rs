//! Neighbour solicitations and advertisements (RFC 4861, sections 4.3 and 4.4) in IPv6 packets.

use std::net::Ipv6Addr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::types::MacAddr;

/// Who asks or tells, and what.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | version 6     | flow                                          |
/// |        payload length         | next header 58| hop limit 255 |
/// |                     source (128 bits)                         :
/// |                   destination (128 bits)                      :
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | type 135, 136 |    code 0     |           checksum            |
/// |R|S|O|             reserved; the flags: advertisements only    |
/// |                     target (128 bits)                         :
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | option 1 or 2 |  length 1 (8 bytes)  | link-layer address     :
/// :                                                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// `::` while the asker has no address yet.
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    /// The address that is asked for or told of; never a group.
    pub target: Ipv6Addr,
    pub message: Message,
    /// Of the source in solicitations, of the target in advertisements; the first option of its kind.
    pub link_layer: Option<MacAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Solicitation,
    Advertisement { router: bool, solicited: bool, overrides: bool },
}

/// Every node of a link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Whoever would pass the packet on would lower it, so this is proof of a sender on the same link.
const HOP_LIMIT: u8 = 255;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const IPV6_LEN: usize = 40;
const FIXED_LEN: usize = 24;
const OPTION_LEN: usize = 8;

impl Neighbour {
    /// Reads the payload of an IPv6 frame, padding included; `None` for anything but a solicitation or advertisement
    /// that RFC 4861 (section 7.1) calls valid. Never panics.
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let sliced = SlicedPacket::from_ip(packet).ok()?;
        let (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) = (sliced.net, sliced.transport) else {
            return None;
        };
        let header = ip.header();
        let (source, destination) = (header.source_addr(), header.destination_addr());
        let valid = header.hop_limit() == HOP_LIMIT
            && icmp.code_u8() == 0
            && icmp.is_checksum_valid(source.octets(), destination.octets());
        let (fixed, options) = icmp.slice().split_first_chunk::<FIXED_LEN>().filter(|_| valid)?;
        let target: [u8; 16] = *fixed.last_chunk()?;
        let (message, option) = match icmp.type_u8() {
            SOLICITATION => (Message::Solicitation, SOURCE_LINK_LAYER),
            ADVERTISEMENT => {
                let flag = |bit: u8| fixed[4] & bit != 0;
                let message =
                    Message::Advertisement { router: flag(0x80), solicited: flag(0x40), overrides: flag(0x20) };
                (message, TARGET_LINK_LAYER)
            }
            _ => return None,
        };
        let link_layer = find_link_layer(options, option)?;
        let neighbour = Self { source, destination, target: target.into(), message, link_layer };
        neighbour.is_consistent().then_some(neighbour)
    }

    /// Whether the addresses fit each other (RFC 4861, sections 7.1.1 and 7.1.2).
    fn is_consistent(&self) -> bool {
        if self.target.is_multicast() || self.source.is_multicast() {
            return false;
        }
        match self.message {
            Message::Solicitation if self.source.is_unspecified() => {
                self.link_layer.is_none() && self.destination == solicited_node(self.target)
            }
            Message::Solicitation => true,
            Message::Advertisement { solicited, .. } => {
                !(self.source.is_unspecified() || solicited && self.destination.is_multicast())
            }
        }
    }

    /// The whole IPv6 packet.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, flags, option) = match self.message {
            Message::Solicitation => (SOLICITATION, 0, SOURCE_LINK_LAYER),
            Message::Advertisement { router, solicited, overrides } => {
                let flags = u8::from(router) << 7 | u8::from(solicited) << 6 | u8::from(overrides) << 5;
                (ADVERTISEMENT, flags, TARGET_LINK_LAYER)
            }
        };
        let length: u8 = if self.link_layer.is_some() { 32 } else { 24 };
        let mut packet = Vec::with_capacity(IPV6_LEN + usize::from(length));
        packet.extend_from_slice(&[0x60, 0, 0, 0, 0, length, ICMPV6, HOP_LIMIT]);
        packet.extend_from_slice(&self.source.octets());
        packet.extend_from_slice(&self.destination.octets());
        packet.extend_from_slice(&[kind, 0, 0, 0, flags, 0, 0, 0]);
        packet.extend_from_slice(&self.target.octets());
        if let Some(mac) = self.link_layer {
            packet.extend_from_slice(&[option, 1]);
            packet.extend_from_slice(&mac.0);
        }
        let sum = checksum(self.source, self.destination, &packet[IPV6_LEN..]);
        packet[IPV6_LEN + 2..IPV6_LEN + 4].copy_from_slice(&sum.to_be_bytes());
        packet
    }
}

/// The first link-layer address of this kind; the outer `None` is a malformed list of options.
fn find_link_layer(mut options: &[u8], wanted: u8) -> Option<Option<MacAddr>> {
    let mut found = None;
    while !options.is_empty() {
        let (&kind, &units) = (options.first()?, options.get(1)?);
        let length = usize::from(units) * OPTION_LEN;
        if length == 0 {
            return None;
        }
        let (option, rest) = options.split_at_checked(length)?;
        if kind == wanted && units == 1 && found.is_none() {
            found = Some(MacAddr(*option.last_chunk()?));
        }
        options = rest;
    }
    Some(found)
}

/// The group that listens for questions after an address (RFC 4291, section 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let [low, high] = [u16::from_be_bytes([0xff, a]), u16::from_be_bytes([b, c])];
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, low, high)
}

/// The Ethernet address of a group (RFC 2464, section 7).
pub fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// The internet checksum over pseudo-header and message, whose own checksum field is still zero (RFC 8200, 8.1).
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let words = source.segments().into_iter().chain(destination.segments()).map(u32::from);
    let bytes = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let length = u32::try_from(message.len()).expect("a message here is 32 bytes at most");
    let mut sum: u32 = words.chain(bytes).sum::<u32>() + length + u32::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked() -> Neighbour {
        let target: Ipv6Addr = "fe80::ff:fe00:2".parse().unwrap();
        Neighbour {
            source: "fe80::ff:fe00:1".parse().unwrap(),
            destination: solicited_node(target),
            target,
            message: Message::Solicitation,
            link_layer: Some(MacAddr([2, 0, 0, 0, 0, 1])),
        }
    }

    #[test]
    fn golden_solicitation_both_ways() {
        let golden = b"\x60\x00\x00\x00\x00\x20\x3a\xff\
            \xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xfe\x00\x00\x01\
            \xff\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff\x00\x00\x02\
            \x87\x00\x7c\x97\x00\x00\x00\x00\
            \xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xfe\x00\x00\x02\
            \x01\x01\x02\x00\x00\x00\x00\x01";
        assert_eq!(asked().encode(), golden);
        assert_eq!(Neighbour::decode(golden), Some(asked()));
    }

    #[test]
    fn addresses_of_groups() {
        let target: Ipv6Addr = "2001:db8::1:2233:4455".parse().unwrap();
        assert_eq!(solicited_node(target), "ff02::1:ff33:4455".parse::<Ipv6Addr>().unwrap());
        assert_eq!(group_mac(solicited_node(target)), MacAddr([0x33, 0x33, 0xff, 0x33, 0x44, 0x55]));
        assert_eq!(group_mac(ALL_NODES), MacAddr([0x33, 0x33, 0, 0, 0, 1]));
    }

    #[test]
    fn what_is_not_valid_is_refused() {
        let good = asked().encode();
        assert!(Neighbour::decode(&good).is_some());
        let spoilt = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        for (why, bytes) in [
            ("passed on by a router", spoilt(7, 254)),
            ("wrong checksum", spoilt(43, 0)),
            ("an option of length zero", spoilt(65, 0)),
            ("cut short", good[..70].to_vec()),
            ("not for its target's group, without a source", {
                let mut none = asked();
                (none.source, none.link_layer, none.destination) = (Ipv6Addr::UNSPECIFIED, None, ALL_NODES);
                none.encode()
            }),
            ("a group as target", {
                let mut group = asked();
                group.target = ALL_NODES;
                group.encode()
            }),
        ] {
            assert_eq!(Neighbour::decode(&bytes), None, "{why}");
        }
        let mut padded = good.clone();
        padded.extend_from_slice(&[0; 9]);
        assert_eq!(Neighbour::decode(&padded), Some(asked()), "Ethernet padding is no option");
    }

    proptest! {
        #[test]
        fn round_trip(
            source: u128,
            target: u128,
            mac in proptest::option::of(any::<[u8; 6]>()),
            advertisement: bool,
            router: bool,
            solicited: bool,
            overrides: bool,
        ) {
            // Outside of ff00::/8 and not `::`.
            let plain = |bits: u128| Ipv6Addr::from_bits((bits >> 2) | 1);
            let message = match advertisement {
                true => Message::Advertisement { router, solicited, overrides },
                false => Message::Solicitation,
            };
            let (source, target) = (plain(source), plain(target));
            let destination = if solicited { target } else { ALL_NODES };
            let neighbour = Neighbour { source, destination, target, message, link_layer: mac.map(MacAddr) };
            prop_assert_eq!(Neighbour::decode(&neighbour.encode()), Some(neighbour));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Neighbour::decode(&bytes);
        }

        #[test]
        fn one_wrong_bit_is_never_believed(at in 8_usize..72, bit in 0_u32..8) {
            let mut bytes = asked().encode();
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(Neighbour::decode(&bytes), None);
        }
    }
}
