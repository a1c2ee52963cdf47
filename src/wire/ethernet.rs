//! Ethernet II headers with at most one VLAN tag (IEEE 802.3, 802.1Q).
//!
//! Switches match the outermost tag alone, so what is behind a second one is nobody's business here: its type is told
//! as it stands.

use crate::types::MacAddr;

pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
/// Smallest Ethernet frame without its check sequence.
const FRAME_MIN: usize = 60;
/// Customer and service tags (802.1Q, 802.1ad).
const TAGS: [u16; 2] = [0x8100, 0x88a8];

/// A VLAN tag as it stands in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// 0x8100 or 0x88a8.
    pub kind: u16,
    /// Priority, drop eligibility and VLAN.
    pub control: u16,
}

impl Tag {
    /// 0 to 4095; 0 is a tag that carries a priority alone.
    pub fn vlan(self) -> u16 {
        self.control & 0x0fff
    }
}

/// What stands before the payload of a frame.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                     destination (48 bits)                     :
/// :                               |        source (48 bits)       :
/// :                                                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |    0x8100 or 0x88a8           | PCP |D|       VLAN            |  tagged frames only
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           EtherType           | payload ...
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub destination: MacAddr,
    pub source: MacAddr,
    pub tag: Option<Tag>,
    /// From 0x0600; lower values are lengths (802.3 LLC).
    pub ethertype: u16,
}

impl Header {
    /// Reads a frame's header; the second part is its payload, padding included. `None` if the frame is too short.
    /// Never panics.
    pub fn decode(frame: &[u8]) -> Option<(Self, &[u8])> {
        let (destination, rest) = frame.split_first_chunk::<6>()?;
        let (source, rest) = rest.split_first_chunk::<6>()?;
        let (kind, rest) = rest.split_first_chunk::<2>()?;
        let mut header = Self {
            destination: MacAddr(*destination),
            source: MacAddr(*source),
            tag: None,
            ethertype: u16::from_be_bytes(*kind),
        };
        if !TAGS.contains(&header.ethertype) {
            return Some((header, rest));
        }
        let (control, rest) = rest.split_first_chunk::<2>()?;
        let (ethertype, rest) = rest.split_first_chunk::<2>()?;
        header.tag = Some(Tag { kind: header.ethertype, control: u16::from_be_bytes(*control) });
        header.ethertype = u16::from_be_bytes(*ethertype);
        Some((header, rest))
    }

    /// The whole frame, padded to the smallest length.
    pub fn encode(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity((18 + payload.len()).max(FRAME_MIN));
        frame.extend_from_slice(&self.destination.0);
        frame.extend_from_slice(&self.source.0);
        if let Some(tag) = self.tag {
            frame.extend_from_slice(&tag.kind.to_be_bytes());
            frame.extend_from_slice(&tag.control.to_be_bytes());
        }
        frame.extend_from_slice(&self.ethertype.to_be_bytes());
        frame.extend_from_slice(payload);
        frame.resize(frame.len().max(FRAME_MIN), 0);
        frame
    }

    /// The VLAN that the frame is in; `None` without a tag.
    pub fn vlan(&self) -> Option<u16> {
        self.tag.map(Tag::vlan)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_both_ways() {
        let header = Header {
            destination: MacAddr::BROADCAST,
            source: MacAddr([2, 0, 0, 0, 0, 1]),
            tag: Some(Tag { kind: 0x8100, control: 0xa064 }),
            ethertype: 0x0806,
        };
        let mut golden = b"\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x81\x00\xa0\x64\x08\x06\x00\x01".to_vec();
        golden.resize(60, 0);
        assert_eq!(header.encode(&[0, 1]), golden);
        let (decoded, payload) = Header::decode(&golden).expect("a frame");
        assert_eq!((decoded, payload.len(), header.vlan()), (header, 42, Some(100)));
    }

    #[test]
    fn the_outermost_tag_alone_is_read() {
        let frame = b"\0\0\0\0\0\x02\0\0\0\0\0\x01\x88\xa8\x00\x07\x81\x00\x00\x64\x08\x00payload";
        let (header, payload) = Header::decode(frame).expect("a frame");
        assert_eq!((header.vlan(), header.ethertype, payload), (Some(7), 0x8100, &b"\x00\x64\x08\x00payload"[..]));
        assert_eq!(Header::decode(&frame[..17]), None, "cut within the tag");
    }

    proptest! {
        #[test]
        fn round_trip(
            macs: [[u8; 6]; 2],
            tag in proptest::option::of((0..2_usize, any::<u16>())),
            ethertype in 0x0600_u16..0x8100,
            payload in proptest::collection::vec(any::<u8>(), 46..200),
        ) {
            let tag = tag.map(|(kind, control)| Tag { kind: TAGS[kind], control });
            let header = Header { destination: MacAddr(macs[0]), source: MacAddr(macs[1]), tag, ethertype };
            let frame = header.encode(&payload);
            prop_assert_eq!(Header::decode(&frame), Some((header, payload.as_slice())));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Header::decode(&bytes);
        }
    }
}
