//! LLDP frames (IEEE 802.1AB-2016) by which the controller finds out what is wired to what.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |            destination 01:80:c2:00:00:0e (nearest bridge)      :
//! :                               |            source ...          :
//! :                                                                |
//! |       EtherType 0x88cc        | then TLVs:
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | type (7 bits) | length (9)    | value (length bytes) ...
//!
//!  1  chassis id      subtype 7, "dpid:" and 16 hex digits
//!  2  port id         subtype 7, the port number in decimal digits
//!  3  time to live    16 bits, seconds
//! 127 organisation    the value below
//!  0  end             length 0
//!
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 OUI 02:46:53                  | subtype 1     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    datapath id (64 bits)                      :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         port (32 bits)                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             sent, microseconds since 1970 (64 bits)           :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     check (64 bits): SipHash-2-4 of datapath, port, sent, TTL  :
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! The check is keyed, so a host cannot make up a link; `sent` lets the receiver refuse what was kept and sent later.
//! Frames of other LLDP speakers are told apart from forged ones. Decoding never panics, whatever comes.

use crate::types::{DatapathId, MacAddr, PortNo, Timestamp};

pub const ETHERTYPE: u16 = 0x88cc;
/// Bridges never forward this address, so a frame crosses one link only.
pub const NEAREST_BRIDGE: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e]);

const OUI: [u8; 3] = [0x02, 0x46, 0x53];
const SUBTYPE_PROBE: u8 = 1;
const LOCALLY_ASSIGNED: u8 = 7;
/// Smallest Ethernet frame without its check sequence.
const FRAME_MIN: usize = 60;
const PROBE_VALUE_LEN: usize = 4 + 8 + 4 + 8 + 8;

mod tlv {
    pub(super) const END: u8 = 0;
    pub(super) const CHASSIS_ID: u8 = 1;
    pub(super) const PORT_ID: u8 = 2;
    pub(super) const TTL: u8 = 3;
    pub(super) const ORGANISATION: u8 = 127;
}

/// Secret of one controller process: what it did not sign, it does not believe.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u64; 2]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Why a frame is not one of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LldpError {
    #[error("expected EtherType 0x88cc, came another frame")]
    NotLldp,
    #[error("expected {expected} in an LLDP frame, came {came}")]
    Malformed { expected: &'static str, came: String },
    #[error("an LLDP frame of another speaker")]
    Foreign,
    #[error("expected a check made with this controller's key in an LLDP frame that claims {datapath} port {port}")]
    Forged { datapath: DatapathId, port: PortNo },
}

/// Says to whoever receives it: this left `port` of `datapath` at `sent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub datapath: DatapathId,
    pub port: PortNo,
    pub sent: Timestamp,
    pub ttl_s: u16,
}

impl Probe {
    fn check(&self, key: Key) -> u64 {
        let mut message = [0; 22];
        message[..8].copy_from_slice(&self.datapath.0.to_be_bytes());
        message[8..12].copy_from_slice(&self.port.0.to_be_bytes());
        message[12..20].copy_from_slice(&self.sent.0.to_be_bytes());
        message[20..].copy_from_slice(&self.ttl_s.to_be_bytes());
        siphash_2_4(key, &message)
    }

    /// The whole Ethernet frame, padded to the smallest length.
    pub fn encode(&self, source: MacAddr, key: Key) -> Vec<u8> {
        let mut frame = Vec::with_capacity(128);
        frame.extend_from_slice(&NEAREST_BRIDGE.0);
        frame.extend_from_slice(&source.0);
        frame.extend_from_slice(&ETHERTYPE.to_be_bytes());
        let mut push = |kind: u8, parts: &[&[u8]]| {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            let length = u16::try_from(length).expect("every TLV here is shorter than 512 bytes");
            frame.extend_from_slice(&(u16::from(kind) << 9 | length).to_be_bytes());
            parts.iter().for_each(|part| frame.extend_from_slice(part));
        };
        push(tlv::CHASSIS_ID, &[&[LOCALLY_ASSIGNED], format!("dpid:{}", self.datapath).as_bytes()]);
        push(tlv::PORT_ID, &[&[LOCALLY_ASSIGNED], self.port.to_string().as_bytes()]);
        push(tlv::TTL, &[&self.ttl_s.to_be_bytes()]);
        push(
            tlv::ORGANISATION,
            &[
                &OUI,
                &[SUBTYPE_PROBE],
                &self.datapath.0.to_be_bytes(),
                &self.port.0.to_be_bytes(),
                &self.sent.0.to_be_bytes(),
                &self.check(key).to_be_bytes(),
            ],
        );
        push(tlv::END, &[]);
        frame.resize(frame.len().max(FRAME_MIN), 0);
        frame
    }

    /// Reads an Ethernet frame; anything but a probe made with this key is an error.
    pub fn decode(frame: &[u8], key: Key) -> Result<Self, LldpError> {
        let (header, mut rest) = frame.split_at_checked(14).ok_or(LldpError::NotLldp)?;
        if header[12..] != ETHERTYPE.to_be_bytes() {
            return Err(LldpError::NotLldp);
        }
        let mut ttl_s = None;
        let mut value = None;
        // 802.1AB wants chassis, port and time to live first, in this order; what follows may come in any.
        for position in 0.. {
            let (kind, content, after) = split_tlv(rest)?;
            let ordered = [tlv::CHASSIS_ID, tlv::PORT_ID, tlv::TTL];
            if ordered.get(position).is_some_and(|wanted| *wanted != kind) {
                return Err(malformed("chassis id, port id and time to live first", format!("TLV type {kind}")));
            }
            match kind {
                tlv::END => break,
                tlv::TTL => {
                    let seconds =
                        content.first_chunk().ok_or_else(|| malformed("a time to live of 2 bytes", content.len()))?;
                    ttl_s = Some(u16::from_be_bytes(*seconds));
                }
                tlv::ORGANISATION if content.starts_with(&OUI) && content.get(3) == Some(&SUBTYPE_PROBE) => {
                    let whole: &[u8; PROBE_VALUE_LEN] =
                        content.try_into().map_err(|_| malformed("a probe value of 32 bytes", content.len()))?;
                    value = Some(*whole);
                }
                _ => {}
            }
            rest = after;
        }
        let ttl_s = ttl_s.ok_or_else(|| malformed("a time to live", "none"))?;
        let value = value.ok_or(LldpError::Foreign)?;
        let (datapath, rest) = take_u64(&value[4..]);
        let (port, rest) = take_u32(rest);
        let (sent, rest) = take_u64(rest);
        let (check, _) = take_u64(rest);
        let probe = Self { datapath: DatapathId(datapath), port: PortNo(port), sent: Timestamp(sent), ttl_s };
        if probe.check(key) != check {
            return Err(LldpError::Forged { datapath: probe.datapath, port: probe.port });
        }
        Ok(probe)
    }
}

/// Whether a frame carries LLDP's EtherType.
pub fn is_lldp(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&ETHERTYPE.to_be_bytes())
}

fn malformed(expected: &'static str, came: impl ToString) -> LldpError {
    LldpError::Malformed { expected, came: came.to_string() }
}

fn split_tlv(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), LldpError> {
    let (head, rest) = bytes.split_first_chunk().ok_or_else(|| malformed("an end TLV", "the end of the frame"))?;
    let head = u16::from_be_bytes(*head);
    let length = usize::from(head & 0x1ff);
    let (content, after) = rest
        .split_at_checked(length)
        .ok_or_else(|| malformed("a whole TLV", format!("{length} bytes of {}", rest.len())))?;
    let kind = u8::try_from(head >> 9).expect("seven bits fit");
    Ok((kind, content, after))
}

fn take_u64(bytes: &[u8]) -> (u64, &[u8]) {
    let (head, rest) = bytes.split_first_chunk().expect("the value's length was checked");
    (u64::from_be_bytes(*head), rest)
}

fn take_u32(bytes: &[u8]) -> (u32, &[u8]) {
    let (head, rest) = bytes.split_first_chunk().expect("the value's length was checked");
    (u32::from_be_bytes(*head), rest)
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash made for short messages.
pub fn siphash_2_4(Key([k0, k1]): Key, message: &[u8]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let absorb = |word: u64, v: &mut [u64; 4]| {
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    };
    let (words, rest) = message.as_chunks();
    for word in words {
        absorb(u64::from_le_bytes(*word), &mut v);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = message.len().to_le_bytes()[0];
    absorb(u64::from_le_bytes(last), &mut v);
    v[2] ^= 0xff;
    (0..4).for_each(|_| sip_round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn sip_round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = Key([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
    const SOURCE: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x31]);
    const PROBE: Probe =
        Probe { datapath: DatapathId(0x31), port: PortNo(4), sent: Timestamp(1_700_000_000_000_000), ttl_s: 15 };

    #[test]
    fn siphash_gives_the_papers_value() {
        let message: Vec<u8> = (0..15).collect();
        assert_eq!(siphash_2_4(KEY, &message), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn golden_bytes_both_ways() {
        let golden = [
            &b"\x01\x80\xc2\x00\x00\x0e\x02\x00\x00\x00\x00\x31\x88\xcc"[..],
            b"\x02\x16\x07dpid:0000000000000031",
            b"\x04\x02\x074",
            b"\x06\x02\x00\x0f",
            b"\xfe\x20\x02\x46\x53\x01\x00\x00\x00\x00\x00\x00\x00\x31\x00\x00\x00\x04\x00\x06\x0a\x24\x18\x1e\x40\x00",
            &GOLDEN_CHECK.to_be_bytes(),
            b"\x00\x00",
        ]
        .concat();
        assert_eq!(PROBE.encode(SOURCE, KEY), golden);
        assert_eq!(Probe::decode(&golden, KEY), Ok(PROBE));
    }

    /// Computed apart from this code, by a SipHash-2-4 in another language over the 22 bytes of the diagram.
    const GOLDEN_CHECK: u64 = 0x4ac9_1cd7_5283_b559;

    #[test]
    fn other_speakers_and_forgeries_are_told_apart() {
        let ours = PROBE.encode(SOURCE, KEY);
        let forged = LldpError::Forged { datapath: PROBE.datapath, port: PROBE.port };
        assert_eq!(Probe::decode(&ours, Key([1, 2])), Err(forged));
        let mut foreign = ours.clone();
        let at = foreign.windows(3).rposition(|bytes| bytes == OUI).expect("our organisation");
        foreign[at] ^= 1;
        assert_eq!(Probe::decode(&foreign, KEY), Err(LldpError::Foreign));
        assert_eq!(Probe::decode(&[0; 60], KEY), Err(LldpError::NotLldp));
        assert_eq!(Probe::decode(&[], KEY), Err(LldpError::NotLldp));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused() {
        let ours = PROBE.encode(SOURCE, KEY);
        let content = ours.len();
        for end in 0..content {
            assert!(Probe::decode(&ours[..end], KEY).is_err(), "cut at {end}");
        }
        let at = ours.windows(3).rposition(|bytes| bytes == OUI).expect("our organisation");
        for bit in at * 8..(at + PROBE_VALUE_LEN) * 8 {
            let mut flipped = ours.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Probe::decode(&flipped, KEY).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(datapath: u64, port: u32, sent: u64, ttl_s: u16, source: [u8; 6], key: [u64; 2]) {
            let probe = Probe { datapath: DatapathId(datapath), port: PortNo(port), sent: Timestamp(sent), ttl_s };
            let frame = probe.encode(MacAddr(source), Key(key));
            prop_assert!(is_lldp(&frame) && frame.len() >= FRAME_MIN);
            prop_assert_eq!(Probe::decode(&frame, Key(key)), Ok(probe));
        }

        #[test]
        fn any_bytes_are_answered(mut bytes: Vec<u8>) {
            let _ = Probe::decode(&bytes, KEY);
            if bytes.len() >= 14 {
                bytes[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
                prop_assert!(Probe::decode(&bytes, KEY).is_err());
            }
        }
    }
}
