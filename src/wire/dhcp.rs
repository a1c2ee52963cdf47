//! DHCP for IPv4 (RFC 2131, RFC 2132), as far as somebody who listens needs it.

use std::net::Ipv4Addr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::types::MacAddr;

pub const SERVER_PORT: u16 = 67;
pub const CLIENT_PORT: u16 = 68;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const FIXED_LEN: usize = 236;
const ETHERNET: [u8; 2] = [1, 6];
const PAD: u8 = 0;
const MESSAGE_TYPE: u8 = 53;
const END: u8 = 255;

/// One message; options other than its type are left out.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  op (1 or 2)  |  hardware 1   |   length 6    |     hops      |
/// |                        transaction                            |
/// |           seconds             |            flags              |
/// |                 ciaddr: the client's address so far           |
/// |                 yiaddr: the client's address from now on      |
/// |                 siaddr, giaddr                                :
/// |                 chaddr: the client's MAC (16 bytes)           :
/// |                 server name (64), file (128)                  :
/// |         cookie 99.130.83.99                                   |
/// | options: code, length, value ...; 0 pads, 255 ends            :
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dhcp {
    pub from_server: bool,
    pub transaction: u32,
    pub client_now: Ipv4Addr,
    pub client_next: Ipv4Addr,
    pub relay: Ipv4Addr,
    pub client_mac: MacAddr,
    pub kind: Kind,
}

/// RFC 2132, section 9.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Discover,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
}

const KINDS: [Kind; 8] =
    [Kind::Discover, Kind::Offer, Kind::Request, Kind::Decline, Kind::Ack, Kind::Nak, Kind::Release, Kind::Inform];

impl Dhcp {
    /// Reads the payload of an IPv4 frame; `None` for anything but DHCP over Ethernet between the right UDP ports: what
    /// says it is from a server comes from the server's port. Never panics.
    pub fn decode_packet(packet: &[u8]) -> Option<Self> {
        let sliced = SlicedPacket::from_ip(packet).ok()?;
        let (Some(NetSlice::Ipv4(_)), Some(TransportSlice::Udp(udp))) = (sliced.net, sliced.transport) else {
            return None;
        };
        let ports = (udp.source_port(), udp.destination_port());
        let dhcp = Self::decode(udp.payload())?;
        let fits = match dhcp.from_server {
            true => matches!(ports, (SERVER_PORT, CLIENT_PORT | SERVER_PORT)),
            false => matches!(ports, (CLIENT_PORT | SERVER_PORT, SERVER_PORT)),
        };
        fits.then_some(dhcp)
    }

    /// Reads a message. Never panics.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let (fixed, rest) = message.split_first_chunk::<FIXED_LEN>()?;
        let options = rest.strip_prefix(&COOKIE)?;
        let from_server = match fixed[0] {
            1 => false,
            2 => true,
            _ => return None,
        };
        if fixed[1..3] != ETHERNET {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let (client_mac, _) = fixed[28..].split_first_chunk::<6>()?;
        Some(Self {
            from_server,
            transaction: word(4),
            client_now: word(12).into(),
            client_next: word(16).into(),
            relay: word(24).into(),
            client_mac: MacAddr(*client_mac),
            kind: find_kind(options)?,
        })
    }

    /// The message, without headers of UDP and IP.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = vec![0; FIXED_LEN];
        message[0] = if self.from_server { 2 } else { 1 };
        message[1..3].copy_from_slice(&ETHERNET);
        message[4..8].copy_from_slice(&self.transaction.to_be_bytes());
        message[12..16].copy_from_slice(&self.client_now.octets());
        message[16..20].copy_from_slice(&self.client_next.octets());
        message[24..28].copy_from_slice(&self.relay.octets());
        message[28..34].copy_from_slice(&self.client_mac.0);
        message.extend_from_slice(&COOKIE);
        let kind = KINDS.iter().zip(1..).find(|(kind, _)| **kind == self.kind).map_or(0, |(_, number)| number);
        message.extend_from_slice(&[MESSAGE_TYPE, 1, kind, END]);
        message
    }
}

fn find_kind(mut options: &[u8]) -> Option<Kind> {
    loop {
        let (&code, rest) = options.split_first()?;
        match code {
            PAD => options = rest,
            END => return None,
            _ => {
                let (&length, rest) = rest.split_first()?;
                let (value, rest) = rest.split_at_checked(usize::from(length))?;
                if code == MESSAGE_TYPE {
                    let [number] = value else { return None };
                    return KINDS.get(usize::from(*number).checked_sub(1)?).copied();
                }
                options = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;

    fn ack() -> Dhcp {
        Dhcp {
            from_server: true,
            transaction: 0x3903_f326,
            client_now: Ipv4Addr::UNSPECIFIED,
            client_next: Ipv4Addr::new(10, 0, 0, 7),
            relay: Ipv4Addr::UNSPECIFIED,
            client_mac: MacAddr([2, 0, 0, 0, 0, 7]),
            kind: Kind::Ack,
        }
    }

    #[test]
    fn golden_both_ways() {
        let mut golden = b"\x02\x01\x06\x00\x39\x03\xf3\x26\0\0\0\0\0\0\0\0\x0a\0\0\x07\0\0\0\0\0\0\0\0".to_vec();
        golden.extend_from_slice(b"\x02\0\0\0\0\x07");
        golden.resize(236, 0);
        golden.extend_from_slice(b"\x63\x82\x53\x63\x35\x01\x05\xff");
        assert_eq!(ack().encode(), golden);
        assert_eq!(Dhcp::decode(&golden), Some(ack()));
    }

    #[test]
    fn a_server_speaks_from_its_port() {
        let packet = |from, to, message: &[u8]| {
            let builder = PacketBuilder::ipv4([10, 0, 0, 1], [255; 4], 64).udp(from, to);
            let mut bytes = Vec::new();
            builder.write(&mut bytes, message).expect("a packet in memory");
            bytes.extend_from_slice(&[0; 4]);
            bytes
        };
        let message = ack().encode();
        assert_eq!(Dhcp::decode_packet(&packet(67, 68, &message)), Some(ack()));
        assert_eq!(Dhcp::decode_packet(&packet(67, 67, &message)), Some(ack()), "to a relay");
        assert_eq!(Dhcp::decode_packet(&packet(68, 67, &message)), None);
        assert_eq!(Dhcp::decode_packet(&packet(67, 68, &message[..239])), None);
        let request = Dhcp { from_server: false, kind: Kind::Request, ..ack() };
        assert_eq!(Dhcp::decode_packet(&packet(68, 67, &request.encode())), Some(request));
    }

    proptest! {
        #[test]
        fn round_trip(from_server: bool, transaction: u32, addresses: [u32; 3], mac: [u8; 6], kind in 0..8_usize) {
            let [now, next, relay] = addresses.map(Ipv4Addr::from);
            let dhcp = Dhcp {
                from_server,
                transaction,
                client_now: now,
                client_next: next,
                relay,
                client_mac: MacAddr(mac),
                kind: KINDS[kind],
            };
            prop_assert_eq!(Dhcp::decode(&dhcp.encode()), Some(dhcp));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>, options: Vec<u8>) {
            let _ = Dhcp::decode(&bytes);
            let _ = Dhcp::decode_packet(&bytes);
            let mut message = ack().encode();
            message.truncate(240);
            message.extend_from_slice(&options);
            let _ = Dhcp::decode(&message);
        }
    }
}
