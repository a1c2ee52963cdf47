//! The entries of multipart answers: descriptions, flows, ports, groups.

use bytes::BufMut;

use super::buffer::{Reader, fill_length, put_text};
use super::group_mod::{put_buckets, read_buckets};
use super::instruction::{put_instructions, read_instructions};
use super::{Bucket, DecodeError, EncodeError, GroupType, Instruction, Match};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchDescription {
    pub manufacturer: String,
    pub hardware: String,
    pub software: String,
    pub serial: String,
    pub datapath: String,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                  manufacturer, 256 bytes ...                  |
//    +---------------------------------------------------------------+
//    |                    hardware, 256 bytes ...                    |
//    +---------------------------------------------------------------+
//    |                    software, 256 bytes ...                    |
//    +---------------------------------------------------------------+
//    |                  serial number, 32 bytes ...                  |
//    +---------------------------------------------------------------+
//    |                    datapath, 256 bytes ...                    |
//    +---------------------------------------------------------------+

const TEXT_BYTES: usize = 256;
const SERIAL_BYTES: usize = 32;

impl SwitchDescription {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.manufacturer, TEXT_BYTES);
        put_text(out, &self.hardware, TEXT_BYTES);
        put_text(out, &self.software, TEXT_BYTES);
        put_text(out, &self.serial, SERIAL_BYTES);
        put_text(out, &self.datapath, TEXT_BYTES);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.exactly(4 * TEXT_BYTES + SERIAL_BYTES, "1,056 bytes of description")?;
        Ok(Self {
            manufacturer: reader.text(TEXT_BYTES)?,
            hardware: reader.text(TEXT_BYTES)?,
            software: reader.text(TEXT_BYTES)?,
            serial: reader.text(SERIAL_BYTES)?,
            datapath: reader.text(TEXT_BYTES)?,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStats {
    pub table_id: u8,
    pub duration_sec: u32,
    pub duration_nsec: u32,
    pub priority: u16,
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub flags: u16,
    pub cookie: u64,
    pub packet_count: u64,
    pub byte_count: u64,
    pub matching: Match,
    pub instructions: Vec<Instruction>,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+---------------+---------------+
//    |             length            |     table     |     zeros     |
//    +-------------------------------+---------------+---------------+
//    |                       duration, seconds                       |
//    +---------------------------------------------------------------+
//    |                     duration, nanoseconds                     |
//    +-------------------------------+-------------------------------+
//    |            priority           |          idle timeout         |
//    +-------------------------------+-------------------------------+
//    |          hard timeout         |             flags             |
//    +-------------------------------+-------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                             cookie                            |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+
//    |                          packet count                         |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+
//    |                           byte count                          |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+
//    |                       match, padded ...                       |
//    +---------------------------------------------------------------+
//    |                        instructions ...                       |
//    +---------------------------------------------------------------+

const FLOW_STATS: &str = "flow statistics";
/// With an empty match.
const FLOW_STATS_BYTES_MIN: usize = 56;

impl FlowStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(0);
        out.put_u8(self.table_id);
        out.put_u8(0);
        out.put_u32(self.duration_sec);
        out.put_u32(self.duration_nsec);
        out.put_u16(self.priority);
        out.put_u16(self.idle_timeout);
        out.put_u16(self.hard_timeout);
        out.put_u16(self.flags);
        out.put_u32(0);
        out.put_u64(self.cookie);
        out.put_u64(self.packet_count);
        out.put_u64(self.byte_count);
        self.matching.encode(out)?;
        put_instructions(out, &self.instructions)?;
        fill_length(out, FLOW_STATS, start, start)
    }

    pub(super) fn decode(list: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(FLOW_STATS, list.structure(FLOW_STATS, 0, FLOW_STATS_BYTES_MIN, 8)?);
        reader.skip(2)?;
        Ok(Self {
            table_id: reader.u8()?,
            duration_sec: {
                reader.skip(1)?;
                reader.u32()?
            },
            duration_nsec: reader.u32()?,
            priority: reader.u16()?,
            idle_timeout: reader.u16()?,
            hard_timeout: reader.u16()?,
            flags: reader.u16()?,
            cookie: {
                reader.skip(4)?;
                reader.u64()?
            },
            packet_count: reader.u64()?,
            byte_count: reader.u64()?,
            matching: Match::decode(&mut reader)?,
            instructions: read_instructions(&mut reader)?,
        })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AggregateStats {
    pub packet_count: u64,
    pub byte_count: u64,
    pub flow_count: u32,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                          packet count                         |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+
//    |                           byte count                          |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+
//    |                           flow count                          |
//    +---------------------------------------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+

impl AggregateStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.packet_count);
        out.put_u64(self.byte_count);
        out.put_u32(self.flow_count);
        out.put_u32(0);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.exactly(24, "24 bytes of aggregate statistics")?;
        Ok(Self { packet_count: reader.u64()?, byte_count: reader.u64()?, flow_count: reader.u32()? })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    pub port_no: u32,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_frame_err: u64,
    pub rx_over_err: u64,
    pub rx_crc_err: u64,
    pub collisions: u64,
    pub duration_sec: u32,
    pub duration_nsec: u32,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                          port number                          |
//    +---------------------------------------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |the twelve counters in the order of the fields, 64 bits each ...|
//    +---------------------------------------------------------------+
//    |                       duration, seconds                       |
//    +---------------------------------------------------------------+
//    |                     duration, nanoseconds                     |
//    +---------------------------------------------------------------+

const PORT_STATS_BYTES: usize = 112;

impl PortStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.port_no);
        out.put_u32(0);
        for counter in [
            self.rx_packets,
            self.tx_packets,
            self.rx_bytes,
            self.tx_bytes,
            self.rx_dropped,
            self.tx_dropped,
            self.rx_errors,
            self.tx_errors,
            self.rx_frame_err,
            self.rx_over_err,
            self.rx_crc_err,
            self.collisions,
        ] {
            out.put_u64(counter);
        }
        out.put_u32(self.duration_sec);
        out.put_u32(self.duration_nsec);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(PORT_STATS_BYTES)?;
        let port_no = reader.u32()?;
        reader.skip(4)?;
        Ok(Self {
            port_no,
            rx_packets: reader.u64()?,
            tx_packets: reader.u64()?,
            rx_bytes: reader.u64()?,
            tx_bytes: reader.u64()?,
            rx_dropped: reader.u64()?,
            tx_dropped: reader.u64()?,
            rx_errors: reader.u64()?,
            tx_errors: reader.u64()?,
            rx_frame_err: reader.u64()?,
            rx_over_err: reader.u64()?,
            rx_crc_err: reader.u64()?,
            collisions: reader.u64()?,
            duration_sec: reader.u32()?,
            duration_nsec: reader.u32()?,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStats {
    pub group_id: u32,
    pub ref_count: u32,
    pub packet_count: u64,
    pub byte_count: u64,
    pub duration_sec: u32,
    pub duration_nsec: u32,
    /// Packets and bytes of each bucket.
    pub buckets: Vec<(u64, u64)>,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+-------------------------------+
//    |             length            |             zeros             |
//    +-------------------------------+-------------------------------+
//    |                            group id                           |
//    +---------------------------------------------------------------+
//    |                        reference count                        |
//    +---------------------------------------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                          packet count                         |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+
//    |                           byte count                          |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+
//    |                       duration, seconds                       |
//    +---------------------------------------------------------------+
//    |                     duration, nanoseconds                     |
//    +---------------------------------------------------------------+
//    |           of each bucket: packet and byte count ...           |
//    +---------------------------------------------------------------+

const GROUP_STATS: &str = "group statistics";
const GROUP_STATS_BYTES_MIN: usize = 40;

impl GroupStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u32(0);
        out.put_u32(self.group_id);
        out.put_u32(self.ref_count);
        out.put_u32(0);
        out.put_u64(self.packet_count);
        out.put_u64(self.byte_count);
        out.put_u32(self.duration_sec);
        out.put_u32(self.duration_nsec);
        for (packets, bytes) in &self.buckets {
            out.put_u64(*packets);
            out.put_u64(*bytes);
        }
        fill_length(out, GROUP_STATS, start, start)
    }

    pub(super) fn decode(list: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(GROUP_STATS, list.structure(GROUP_STATS, 0, GROUP_STATS_BYTES_MIN, 8)?);
        reader.skip(4)?;
        let (group_id, ref_count) = (reader.u32()?, reader.u32()?);
        reader.skip(4)?;
        let mut stats = Self {
            group_id,
            ref_count,
            packet_count: reader.u64()?,
            byte_count: reader.u64()?,
            duration_sec: reader.u32()?,
            duration_nsec: reader.u32()?,
            buckets: Vec::new(),
        };
        while !reader.is_empty() {
            stats.buckets.push((reader.u64()?, reader.u64()?));
        }
        Ok(stats)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    pub group_type: GroupType,
    pub group_id: u32,
    pub buckets: Vec<Bucket>,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+---------------+---------------+
//    |             length            |      type     |     zeros     |
//    +-------------------------------+---------------+---------------+
//    |                            group id                           |
//    +---------------------------------------------------------------+
//    |                          buckets ...                          |
//    +---------------------------------------------------------------+

const GROUP_DESCRIPTION: &str = "group description";
const GROUP_DESCRIPTION_BYTES_MIN: usize = 8;

impl GroupDescription {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(0);
        out.put_u8(self.group_type as u8);
        out.put_u8(0);
        out.put_u32(self.group_id);
        put_buckets(out, &self.buckets)?;
        fill_length(out, GROUP_DESCRIPTION, start, start)
    }

    pub(super) fn decode(list: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = list.structure(GROUP_DESCRIPTION, 0, GROUP_DESCRIPTION_BYTES_MIN, 8)?;
        let mut reader = Reader::new(GROUP_DESCRIPTION, bytes);
        reader.skip(2)?;
        let group_type = GroupType::decode(reader.u8()?)?;
        reader.skip(1)?;
        Ok(Self { group_type, group_id: reader.u32()?, buckets: read_buckets(&mut reader)? })
    }
}
