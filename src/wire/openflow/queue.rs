//! Queues of ports: how they are configured (section 7.3.6) and what they have sent (section 7.3.5.8).

use bytes::BufMut;

use super::buffer::{Reader, fill_length, read_all};
use super::{DecodeError, EncodeError};
use crate::types::PortNo;

/// `OFPQ_ALL`: every queue of a port.
pub const QUEUE_ALL: u32 = 0xffff_ffff;

/// QUEUE_GET_CONFIG_REPLY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    pub port: PortNo,
    pub queues: Vec<Queue>,
}

/// `ofp_packet_queue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    pub queue_id: u32,
    pub port: PortNo,
    pub properties: Vec<QueueProperty>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueProperty {
    /// Guaranteed rate in 1/10 of a per cent; above 1,000 it is off.
    MinRate(u16),
    /// Greatest rate in 1/10 of a per cent; above 1,000 it is off.
    MaxRate(u16),
    Experimenter {
        experimenter: u32,
        data: Vec<u8>,
    },
    /// Any other: what follows its type and length, as it came.
    Other {
        property_type: u16,
        body: Vec<u8>,
    },
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                              port                             |
//    +---------------------------------------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                           queues ...                          |
//    +---------------------------------------------------------------+
//
// A request is the first two words alone. Each queue:
//
//    +---------------------------------------------------------------+
//    |                            queue id                           |
//    +---------------------------------------------------------------+
//    |                              port                             |
//    +-------------------------------+-------------------------------+
//    |             length            |             zeros             |
//    +-------------------------------+-------------------------------+
//    |                             zeros                             |
//    +-------------------------------+-------------------------------+
//    |         property type         |             length            |
//    +-------------------------------+-------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    | rates: rate (16), zeros (48)                                  |
//    | experimenter: experimenter (32), zeros (32), data             |
//    +---------------------------------------------------------------+

const QUEUE: &str = "queue";
const QUEUE_BYTES_MIN: usize = 16;
/// Where a queue's length stands in it.
const QUEUE_LENGTH_AT: usize = 8;
const PROPERTY: &str = "queue property";
const PROPERTY_BYTES_MIN: usize = 8;
const MIN_RATE: u16 = 1;
const MAX_RATE: u16 = 2;
const EXPERIMENTER: u16 = 0xffff;

pub(super) fn put_port(out: &mut Vec<u8>, port: PortNo) {
    out.put_u32(port.0);
    out.put_u32(0);
}

pub(super) fn read_port(reader: &mut Reader<'_>) -> Result<PortNo, DecodeError> {
    reader.need(8)?;
    let port = PortNo(reader.u32()?);
    reader.skip(4)?;
    Ok(port)
}

impl QueueConfig {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_port(out, self.port);
        self.queues.iter().try_for_each(|queue| queue.encode(out))
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { port: read_port(&mut reader)?, queues: read_all(&mut reader, Queue::decode)? })
    }
}

impl Queue {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u32(self.queue_id);
        out.put_u32(self.port.0);
        out.put_u64(0);
        self.properties.iter().try_for_each(|property| property.encode(out))?;
        fill_length(out, QUEUE, start + QUEUE_LENGTH_AT, start)
    }

    fn decode(list: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(QUEUE, list.structure(QUEUE, QUEUE_LENGTH_AT, QUEUE_BYTES_MIN, 1)?);
        let (queue_id, port) = (reader.u32()?, PortNo(reader.u32()?));
        reader.skip(8)?;
        Ok(Self { queue_id, port, properties: read_all(&mut reader, QueueProperty::decode)? })
    }
}

impl QueueProperty {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let property_type = match self {
            Self::MinRate(_) => MIN_RATE,
            Self::MaxRate(_) => MAX_RATE,
            Self::Experimenter { .. } => EXPERIMENTER,
            Self::Other { property_type, .. } => *property_type,
        };
        out.put_u16(property_type);
        out.put_u16(0);
        out.put_u32(0);
        match self {
            Self::MinRate(rate) | Self::MaxRate(rate) => {
                out.put_u16(*rate);
                out.put_bytes(0, 6);
            }
            Self::Experimenter { experimenter, data } => {
                out.put_u32(*experimenter);
                out.put_u32(0);
                out.extend_from_slice(data);
            }
            Self::Other { body, .. } => out.extend_from_slice(body),
        }
        fill_length(out, PROPERTY, start + 2, start)
    }

    fn decode(list: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PROPERTY, list.structure(PROPERTY, 2, PROPERTY_BYTES_MIN, 1)?);
        let property_type = reader.u16()?;
        reader.skip(6)?;
        Ok(match property_type {
            MIN_RATE | MAX_RATE => {
                reader.exactly(8, "16 with its header (rate)")?;
                let rate = reader.u16()?;
                if property_type == MIN_RATE { Self::MinRate(rate) } else { Self::MaxRate(rate) }
            }
            EXPERIMENTER => {
                reader.need(8)?;
                let experimenter = reader.u32()?;
                reader.skip(4)?;
                Self::Experimenter { experimenter, data: reader.rest().to_vec() }
            }
            _ => Self::Other { property_type, body: reader.rest().to_vec() },
        })
    }
}

/// Which queues' counters are wanted: `port::ANY` and [`QUEUE_ALL`] are all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueStatsRequest {
    pub port: PortNo,
    pub queue_id: u32,
}

impl QueueStatsRequest {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.put_u32(self.port.0);
        out.put_u32(self.queue_id);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.exactly(8, "24 with its headers")?;
        Ok(Self { port: PortNo(reader.u32()?), queue_id: reader.u32()? })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    pub port: u32,
    pub queue_id: u32,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    /// Packets dropped because the queue was full.
    pub tx_errors: u64,
    pub duration_sec: u32,
    pub duration_nsec: u32,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                              port                             |
//    +---------------------------------------------------------------+
//    |                            queue id                           |
//    +---------------------------------------------------------------+
//    |    bytes sent, packets sent, packets lost, 64 bits each ...   |
//    +---------------------------------------------------------------+
//    |                       duration, seconds                       |
//    +---------------------------------------------------------------+
//    |                     duration, nanoseconds                     |
//    +---------------------------------------------------------------+

const QUEUE_STATS_BYTES: usize = 40;

impl QueueStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.port);
        out.put_u32(self.queue_id);
        out.put_u64(self.tx_bytes);
        out.put_u64(self.tx_packets);
        out.put_u64(self.tx_errors);
        out.put_u32(self.duration_sec);
        out.put_u32(self.duration_nsec);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(QUEUE_STATS_BYTES)?;
        Ok(Self {
            port: reader.u32()?,
            queue_id: reader.u32()?,
            tx_bytes: reader.u64()?,
            tx_packets: reader.u64()?,
            tx_errors: reader.u64()?,
            duration_sec: reader.u32()?,
            duration_nsec: reader.u32()?,
        })
    }
}
