//! Frames that ask the data plane of one first-stage router whether it lives (docs/FAILOVER.md).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             destination: MAC address of the router             :
//! :                               |   source: of the neighbour     :
//! :                                                                |
//! |       EtherType 0x88cc        | type 127, length 32           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 OUI 02:46:53                  | subtype 2     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               datapath id of the neighbour (64 bits)          :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 port of the neighbour (32 bits)               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             sent, microseconds since 1970 (64 bits)           :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     check (64 bits): SipHash-2-4 of router and what is above  :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! LLDP's EtherType, because every switch hands that up to the controller already; but it is addressed to a node of the
//! fabric and to no group, so that the one router which has this address can send it back the way it came. As LLDP it is
//! not complete, and of an organisation that nobody else knows: other speakers drop it. Decoding never panics.

use super::lldp::{ETHERTYPE, Key, siphash_2_4};
use crate::types::{DatapathId, MacAddr, NodeIndex, PortNo, Timestamp};

const OUI: [u8; 3] = [0x02, 0x46, 0x53];
const SUBTYPE: u8 = 2;
/// Type 127 in seven bits, length 32 in nine.
const HEAD: [u8; 2] = [127 << 1, 32];
const FRAME_LEN: usize = 14 + 2 + 32 + 2 + 10;

/// Why a frame is not a liveness probe of this controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LivenessError {
    /// Somebody else's business.
    #[error("no liveness probe")]
    Other,
    #[error("expected a check made with this controller's key in a liveness probe that claims {datapath} port {port}")]
    Forged { datapath: DatapathId, port: PortNo },
}

/// Asks `router`; left `port` of `datapath` at `sent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivenessProbe {
    pub router: NodeIndex,
    pub datapath: DatapathId,
    pub port: PortNo,
    pub sent: Timestamp,
}

impl LivenessProbe {
    fn check(&self, key: Key) -> u64 {
        let mut message = [0; 24];
        message[..2].copy_from_slice(&self.router.0.to_be_bytes());
        message[2] = SUBTYPE;
        message[4..12].copy_from_slice(&self.datapath.0.to_be_bytes());
        message[12..16].copy_from_slice(&self.port.0.to_be_bytes());
        message[16..].copy_from_slice(&self.sent.0.to_be_bytes());
        siphash_2_4(key, &message)
    }

    /// The whole Ethernet frame, of the smallest length.
    pub fn encode(&self, source: MacAddr, key: Key) -> Vec<u8> {
        let mut frame = Vec::with_capacity(FRAME_LEN);
        frame.extend_from_slice(&MacAddr::of_node(self.router).0);
        frame.extend_from_slice(&source.0);
        frame.extend_from_slice(&ETHERTYPE.to_be_bytes());
        frame.extend_from_slice(&HEAD);
        frame.extend_from_slice(&OUI);
        frame.push(SUBTYPE);
        frame.extend_from_slice(&self.datapath.0.to_be_bytes());
        frame.extend_from_slice(&self.port.0.to_be_bytes());
        frame.extend_from_slice(&self.sent.0.to_be_bytes());
        frame.extend_from_slice(&self.check(key).to_be_bytes());
        frame.resize(FRAME_LEN, 0);
        frame
    }

    /// Reads an Ethernet frame; anything but a probe made with this key is an error.
    pub fn decode(frame: &[u8], key: Key) -> Result<Self, LivenessError> {
        let (head, value) = frame.split_at_checked(20).ok_or(LivenessError::Other)?;
        let ours = head[12..14] == ETHERTYPE.to_be_bytes() && head[14..16] == HEAD && head[16..19] == OUI;
        if !ours || head[19] != SUBTYPE {
            return Err(LivenessError::Other);
        }
        let (address, _) = head.split_first_chunk().ok_or(LivenessError::Other)?;
        let router = MacAddr(*address).node().ok_or(LivenessError::Other)?;
        let (datapath, rest) = value.split_first_chunk().ok_or(LivenessError::Other)?;
        let (port, rest) = rest.split_first_chunk().ok_or(LivenessError::Other)?;
        let (sent, rest) = rest.split_first_chunk().ok_or(LivenessError::Other)?;
        let (check, _) = rest.split_first_chunk().ok_or(LivenessError::Other)?;
        let probe = Self {
            router,
            datapath: DatapathId(u64::from_be_bytes(*datapath)),
            port: PortNo(u32::from_be_bytes(*port)),
            sent: Timestamp(u64::from_be_bytes(*sent)),
        };
        if probe.check(key) != u64::from_be_bytes(*check) {
            return Err(LivenessError::Forged { datapath: probe.datapath, port: probe.port });
        }
        Ok(probe)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::lldp::{LldpError, Probe};

    const KEY: Key = Key([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
    const SOURCE: MacAddr = MacAddr([0x02, 0x46, 0x53, 0x01, 0, 9]);
    const PROBE: LivenessProbe = LivenessProbe {
        router: NodeIndex(3),
        datapath: DatapathId(0x31),
        port: PortNo(4),
        sent: Timestamp(1_700_000_000_000_000),
    };
    /// Computed apart from this code, by a SipHash-2-4 in another language over the 24 bytes.
    const GOLDEN_CHECK: u64 = 0x1713_391b_1dda_d880;

    #[test]
    fn golden_bytes_both_ways() {
        let golden = [
            &b"\x02\x46\x53\x01\x00\x03\x02\x46\x53\x01\x00\x09\x88\xcc\xfe\x20\x02\x46\x53\x02"[..],
            b"\x00\x00\x00\x00\x00\x00\x00\x31\x00\x00\x00\x04\x00\x06\x0a\x24\x18\x1e\x40\x00",
            &GOLDEN_CHECK.to_be_bytes(),
            &[0; 12],
        ]
        .concat();
        assert_eq!(PROBE.encode(SOURCE, KEY), golden);
        assert_eq!(LivenessProbe::decode(&golden, KEY), Ok(PROBE));
    }

    #[test]
    fn cut_flipped_and_foreign_frames_are_refused() {
        let ours = PROBE.encode(SOURCE, KEY);
        for end in 0..48 {
            assert!(LivenessProbe::decode(&ours[..end], KEY).is_err(), "cut at {end}");
        }
        for bit in (0..48).chain(96..48 * 8) {
            let mut flipped = ours.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(LivenessProbe::decode(&flipped, KEY).is_err(), "bit {bit}");
        }
        let forged = LivenessError::Forged { datapath: PROBE.datapath, port: PROBE.port };
        assert_eq!(LivenessProbe::decode(&ours, Key([1, 2])), Err(forged));
        // Neither is taken for the other.
        assert!(matches!(Probe::decode(&ours, KEY), Err(LldpError::Malformed { .. })));
        let wire = Probe { datapath: PROBE.datapath, port: PROBE.port, sent: PROBE.sent, ttl_s: 15 };
        assert_eq!(LivenessProbe::decode(&wire.encode(SOURCE, KEY), KEY), Err(LivenessError::Other));
    }

    proptest! {
        #[test]
        fn round_trip(router: u16, datapath: u64, port: u32, sent: u64, source: [u8; 6], key: [u64; 2]) {
            let probe = LivenessProbe {
                router: NodeIndex(router),
                datapath: DatapathId(datapath),
                port: PortNo(port),
                sent: Timestamp(sent),
            };
            let frame = probe.encode(MacAddr(source), Key(key));
            prop_assert_eq!(LivenessProbe::decode(&frame, Key(key)), Ok(probe));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            prop_assert!(LivenessProbe::decode(&bytes, KEY).is_err());
        }
    }
}
