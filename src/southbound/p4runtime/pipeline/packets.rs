//! Packets to and from the controller: what their metadata says.

use super::{Incoming, Sweep, SweepReport};
use crate::p4info::mapping::{Field, Mapping};
use crate::types::PortNo;
use crate::wire::p4runtime::canonical::{decode, encode};
use crate::wire::p4runtime::v1;

/// Values of the metadata `reason` of packet-ins.
const REASON_FRAME: u128 = 0;
const REASON_SWEEP: u128 = 1;
/// Values of the metadata `purpose` of packet-outs.
const PURPOSE_FRAME: u32 = 0;
const PURPOSE_SWEEP: u32 = 1;

pub(super) fn incoming(mapping: &Mapping, packet: &v1::PacketIn) -> Result<Incoming, String> {
    let value = |id: u32| {
        let metadata = packet.metadata.iter().find(|metadata| metadata.metadata_id == id)?;
        // BMv2 may pad to whole bytes; any width up to a number's is taken.
        Some(
            decode(&metadata.value, 128)
                .map_err(|error| format!("a packet-in with metadata {id} that is no number: {error}")),
        )
    };
    let reason = mapping.packet_in.reason.and_then(value).transpose()?.unwrap_or(REASON_FRAME);
    match reason {
        REASON_FRAME => {
            let port = value(mapping.packet_in.ingress_port).transpose()?;
            let port = port.ok_or_else(|| "a packet-in that does not say where it came in".to_owned())?;
            let port = u32::try_from(port).map_err(|_| format!("a packet-in from port {port}"))?;
            Ok(Incoming::Frame { port: PortNo(port), data: packet.payload.clone() })
        }
        REASON_SWEEP => SweepReport::decode(&packet.payload).map(Incoming::Report).map_err(|error| error.to_string()),
        other => Err(format!("a packet-in with reason {other}; expected {REASON_FRAME} or {REASON_SWEEP}")),
    }
}

pub(super) fn packet_out(mapping: &Mapping, port: PortNo, data: Vec<u8>) -> v1::PacketOut {
    build(mapping, port.0, PURPOSE_FRAME, data)
}

pub(super) fn sweep(mapping: &Mapping, sweep: &Sweep) -> v1::PacketOut {
    build(mapping, 0, PURPOSE_SWEEP, sweep.encode())
}

fn build(mapping: &Mapping, port: u32, purpose: u32, payload: Vec<u8>) -> v1::PacketOut {
    let set = |field: &Field, value: u32| v1::PacketMetadata { metadata_id: field.id, value: encode(value.into()) };
    let out = &mapping.packet_out;
    let mut metadata = vec![set(&out.egress_port, port)];
    metadata.extend(out.purpose.as_ref().map(|field| set(field, purpose)));
    metadata.extend(out.others.iter().map(|id| v1::PacketMetadata { metadata_id: *id, value: encode(0) }));
    metadata.sort_by_key(|metadata| metadata.metadata_id);
    v1::PacketOut { payload, metadata }
}
