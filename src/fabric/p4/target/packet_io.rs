//! Packet-ins and packet-outs: between messages with metadata and frames with a header (specification, "Packet I/O").
//!
//! The header is what the P4 program declares with `@controller_header`: the fields of the P4Info in their order, bit by bit,
//! before the frame.

use super::key::number;
use super::refusal::{Behaviour, Outcome, Refusal};
use super::schema::Header;
use crate::wire::p4runtime::{canonical, v1};

fn header_bytes(header: &Header) -> usize {
    header.iter().map(|(_, width)| *width as usize).sum::<usize>().div_ceil(8)
}

/// What the controller gets for a frame at the CPU port; `None` for a frame shorter than its header.
pub(super) fn packet_in(header: Option<&Header>, frame: &[u8]) -> Option<v1::PacketIn> {
    let Some(header) = header else { return Some(v1::PacketIn { payload: frame.to_vec(), metadata: Vec::new() }) };
    let (bytes, payload) = frame.split_at_checked(header_bytes(header))?;
    let mut at = 0;
    let mut metadata = Vec::with_capacity(header.len());
    for (id, width) in header {
        let value = (at..at + *width as usize).fold(0_u128, |value, bit| {
            let byte = bytes[bit / 8];
            value << 1 | u128::from(byte >> (7 - bit % 8) & 1)
        });
        at += *width as usize;
        metadata.push(v1::PacketMetadata { metadata_id: *id, value: canonical::encode(value) });
    }
    Some(v1::PacketIn { payload: payload.to_vec(), metadata })
}

/// The frame that a packet-out is. BMv2 takes missing fields as 0.
pub(super) fn packet_out(header: Option<&Header>, packet: &v1::PacketOut, behaviour: Behaviour) -> Outcome<Vec<u8>> {
    let Some(header) = header else {
        return match packet.metadata.is_empty() {
            true => Ok(packet.payload.clone()),
            false => Err(Refusal::invalid("Unexpected metadata in PacketOut message")),
        };
    };
    let mut values = vec![None; header.len()];
    for metadata in &packet.metadata {
        let at = header.iter().position(|(id, _)| *id == metadata.metadata_id);
        let at = at.ok_or_else(|| Refusal::invalid("Unknown metadata id in PacketOut message"))?;
        values[at] = Some(number(&metadata.value, header[at].1, behaviour)?);
    }
    if behaviour == Behaviour::Specification && values.contains(&None) {
        return Err(Refusal::invalid("Missing metadata in PacketOut message"));
    }
    let mut frame = vec![0; header_bytes(header)];
    frame.reserve(packet.payload.len());
    let mut at = 0;
    for ((_, width), value) in header.iter().zip(values) {
        let width = *width as usize;
        for bit in 0..width {
            let is_set = value.unwrap_or(0) >> (width - 1 - bit) & 1 == 1;
            frame[(at + bit) / 8] |= u8::from(is_set) << (7 - (at + bit) % 8);
        }
        at += width;
    }
    frame.extend_from_slice(&packet.payload);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        vec![(1, 9), (2, 7)]
    }

    fn metadata(id: u32, value: &[u8]) -> v1::PacketMetadata {
        v1::PacketMetadata { metadata_id: id, value: value.to_vec() }
    }

    #[test]
    fn fields_are_packed_bit_by_bit() {
        // Port 510 in nine bits, purpose 3 in seven: 1_1111_1110 0000_011.
        let packet =
            v1::PacketOut { payload: b"frame".to_vec(), metadata: vec![metadata(2, &[3]), metadata(1, &[0x01, 0xfe])] };
        let frame = packet_out(Some(&header()), &packet, Behaviour::Specification).unwrap();
        assert_eq!(frame, [b"\xff\x03", &b"frame"[..]].concat());
        let back = packet_in(Some(&header()), &frame).unwrap();
        assert_eq!(back.payload, b"frame");
        assert_eq!(back.metadata, [metadata(1, &[0x01, 0xfe]), metadata(2, &[3])]);
        assert_eq!(packet_in(Some(&header()), &[0xff]), None);
    }

    #[test]
    fn metadata_is_checked() {
        let out = |metadata: Vec<_>, behaviour| {
            packet_out(Some(&header()), &v1::PacketOut { payload: Vec::new(), metadata }, behaviour)
        };
        assert_eq!(out(Vec::new(), Behaviour::Bmv2).unwrap(), [0, 0]);
        for (metadata, behaviour) in [
            (Vec::new(), Behaviour::Specification),
            (vec![metadata(9, &[1])], Behaviour::Bmv2),
            (vec![metadata(1, &[2, 0])], Behaviour::Bmv2),
            (vec![metadata(1, &[]), metadata(2, &[1])], Behaviour::Specification),
        ] {
            assert!(out(metadata.clone(), behaviour).is_err(), "{metadata:?}");
        }
        let plain = v1::PacketOut { payload: b"x".to_vec(), metadata: vec![metadata(1, &[1])] };
        assert!(packet_out(None, &plain, Behaviour::Bmv2).is_err());
    }
}
