//! ARP for IPv4 over Ethernet (RFC 826), with the questions that must never be answered told apart (RFC 5227).

use std::net::Ipv4Addr;

use etherparse::{ArpEthIpv4Packet, ArpOperation, ArpPacket};

use crate::types::MacAddr;

pub const ETHERTYPE: u16 = 0x0806;
const FRAME_MIN: usize = 60;
const PAYLOAD_LEN: usize = 28;

/// One ARP message, with the Ethernet source it came from.
///
/// ```text
/// | destination (6) | source (6) | 0x0806 | hardware 1 | protocol 0x0800 | 6 | 4 | operation |
/// | sender MAC (6) | sender address (4) | target MAC (6) | target address (4) | padding to 60 |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    pub operation: Operation,
    pub sender_mac: MacAddr,
    pub sender: Ipv4Addr,
    pub target_mac: MacAddr,
    pub target: Ipv4Addr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Request,
    Reply,
}

impl Arp {
    /// An unanswered announcement: the sender speaks of its own address.
    pub fn is_gratuitous(&self) -> bool {
        self.sender == self.target
    }
    /// A question whether an address is free, from a host that has none yet.
    pub fn is_probe(&self) -> bool {
        self.sender.is_unspecified()
    }

    /// Reads an Ethernet frame; `None` for anything but ARP of IPv4 over Ethernet. Never panics.
    pub fn decode(frame: &[u8]) -> Option<Self> {
        let (header, payload) = frame.split_at_checked(14)?;
        if header[12..] != ETHERTYPE.to_be_bytes() {
            return None;
        }
        Self::decode_payload(payload)
    }

    /// As [`Self::decode`], of what follows the Ethernet header.
    pub fn decode_payload(payload: &[u8]) -> Option<Self> {
        let packet = ArpPacket::from_slice(payload).ok()?.try_eth_ipv4().ok()?;
        let operation = match packet.operation {
            ArpOperation::REQUEST => Operation::Request,
            ArpOperation::REPLY => Operation::Reply,
            _ => return None,
        };
        Some(Self {
            operation,
            sender_mac: MacAddr(packet.sender_mac),
            sender: packet.sender_ipv4_addr(),
            target_mac: MacAddr(packet.target_mac),
            target: packet.target_ipv4_addr(),
        })
    }

    /// The whole Ethernet frame: requests are broadcast, replies go to the target.
    pub fn encode(&self) -> Vec<u8> {
        let destination = match self.operation {
            Operation::Request => MacAddr::BROADCAST,
            Operation::Reply => self.target_mac,
        };
        let mut frame = Vec::with_capacity(FRAME_MIN);
        frame.extend_from_slice(&destination.0);
        frame.extend_from_slice(&self.sender_mac.0);
        frame.extend_from_slice(&ETHERTYPE.to_be_bytes());
        frame.extend_from_slice(&self.encode_payload());
        frame.resize(FRAME_MIN, 0);
        frame
    }

    /// What follows the Ethernet header, without padding.
    pub fn encode_payload(&self) -> [u8; PAYLOAD_LEN] {
        let operation = match self.operation {
            Operation::Request => ArpOperation::REQUEST,
            Operation::Reply => ArpOperation::REPLY,
        };
        let packet = ArpEthIpv4Packet {
            operation,
            sender_mac: self.sender_mac.0,
            sender_ipv4: self.sender.octets(),
            target_mac: self.target_mac.0,
            target_ipv4: self.target.octets(),
        };
        packet.to_bytes()
    }

    /// Asks who has `target`.
    pub fn request(sender_mac: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self { operation: Operation::Request, sender_mac, sender, target_mac: MacAddr([0; 6]), target }
    }

    /// Answers this request: `mac` has its target.
    pub fn answer(&self, mac: MacAddr) -> Self {
        Self {
            operation: Operation::Reply,
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_request_both_ways() {
        let request = Arp::request(MacAddr::GATEWAY, Ipv4Addr::new(10, 1, 1, 254), Ipv4Addr::new(10, 1, 1, 1));
        let mut golden = b"\xff\xff\xff\xff\xff\xff\x02\x46\x53\x00\x00\x01\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01\
            \x02\x46\x53\x00\x00\x01\x0a\x01\x01\xfe\x00\x00\x00\x00\x00\x00\x0a\x01\x01\x01"
            .to_vec();
        golden.resize(60, 0);
        assert_eq!(request.encode(), golden);
        assert_eq!(Arp::decode(&golden), Some(request));
    }

    proptest! {
        #[test]
        fn round_trip(reply: bool, macs: [[u8; 6]; 2], addresses: [u32; 2]) {
            let arp = Arp {
                operation: if reply { Operation::Reply } else { Operation::Request },
                sender_mac: MacAddr(macs[0]),
                sender: addresses[0].into(),
                target_mac: MacAddr(macs[1]),
                target: addresses[1].into(),
            };
            prop_assert_eq!(Arp::decode(&arp.encode()), Some(arp));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Arp::decode(&bytes);
        }
    }
}
