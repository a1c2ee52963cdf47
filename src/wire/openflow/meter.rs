//! Meters: METER_MOD (section 7.3.4.4) and the multipart answers about meters (sections 7.3.5.12 to 7.3.5.14).

use bytes::BufMut;

use super::buffer::{Reader, fill_length, read_all};
use super::{DecodeError, EncodeError};

/// `OFPM_*`: virtual meters.
pub mod meter_id {
    pub const MAX: u32 = 0xffff_0000;
    pub const SLOWPATH: u32 = 0xffff_fffd;
    pub const CONTROLLER: u32 = 0xffff_fffe;
    pub const ALL: u32 = 0xffff_ffff;
}

/// `OFPMF_*`.
pub mod meter_flags {
    /// Rates are in kbit/s.
    pub const KBPS: u16 = 1;
    /// Rates are in packets a second.
    pub const PKTPS: u16 = 2;
    pub const BURST: u16 = 4;
    pub const STATS: u16 = 8;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum MeterModCommand {
    Add = 0,
    Modify = 1,
    Delete = 2,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterMod {
    pub command: MeterModCommand,
    pub flags: u16,
    pub meter_id: u32,
    pub bands: Vec<MeterBand>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterBand {
    pub rate: u32,
    pub burst: u32,
    pub kind: MeterBandKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeterBandKind {
    Drop,
    DscpRemark {
        prec_level: u8,
    },
    Experimenter {
        experimenter: u32,
        data: Vec<u8>,
    },
    /// Any other: what follows the burst, as it came.
    Other {
        band_type: u16,
        body: Vec<u8>,
    },
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+-------------------------------+
//    |            command            |             flags             |
//    +-------------------------------+-------------------------------+
//    |                            meter id                           |
//    +-------------------------------+-------------------------------+
//    |           band type           |             length            |
//    +-------------------------------+-------------------------------+
//    |                              rate                             |
//    +---------------------------------------------------------------+
//    |                             burst                             |
//    +---------------------------------------------------------------+
//    | drop: zeros (32)                                              |
//    | DSCP remark: precedence level (8), zeros (24)                 |
//    | experimenter: experimenter (32), data                         |
//    +---------------------------------------------------------------+
//
// A meter's configuration is the same with its length in the place of the command.

pub(super) const METER_MOD: &str = "METER_MOD";
pub(super) const BAND: &str = "meter band";
const BAND_BYTES_MIN: usize = 12;
const DROP: u16 = 1;
const DSCP_REMARK: u16 = 2;
const EXPERIMENTER: u16 = 0xffff;

impl MeterModCommand {
    fn decode(command: u16) -> Result<Self, DecodeError> {
        Ok(match command {
            0 => Self::Add,
            1 => Self::Modify,
            2 => Self::Delete,
            _ => {
                let expected = "a command from 0 to 2";
                return Err(DecodeError::Value { what: METER_MOD, expected, came: command.into() });
            }
        })
    }
}

impl MeterMod {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u16(self.command as u16);
        out.put_u16(self.flags);
        out.put_u32(self.meter_id);
        self.bands.iter().try_for_each(|band| band.encode(out))
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(8)?;
        Ok(Self {
            command: MeterModCommand::decode(reader.u16()?)?,
            flags: reader.u16()?,
            meter_id: reader.u32()?,
            bands: read_all(&mut reader, MeterBand::decode)?,
        })
    }
}

impl MeterBand {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(match &self.kind {
            MeterBandKind::Drop => DROP,
            MeterBandKind::DscpRemark { .. } => DSCP_REMARK,
            MeterBandKind::Experimenter { .. } => EXPERIMENTER,
            MeterBandKind::Other { band_type, .. } => *band_type,
        });
        out.put_u16(0);
        out.put_u32(self.rate);
        out.put_u32(self.burst);
        match &self.kind {
            MeterBandKind::Drop => out.put_u32(0),
            MeterBandKind::DscpRemark { prec_level } => {
                out.put_u8(*prec_level);
                out.put_bytes(0, 3);
            }
            MeterBandKind::Experimenter { experimenter, data } => {
                out.put_u32(*experimenter);
                out.extend_from_slice(data);
            }
            MeterBandKind::Other { body, .. } => out.extend_from_slice(body),
        }
        fill_length(out, BAND, start + 2, start)
    }

    fn decode(list: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(BAND, list.structure(BAND, 2, BAND_BYTES_MIN, 1)?);
        let band_type = reader.u16()?;
        reader.skip(2)?;
        let (rate, burst) = (reader.u32()?, reader.u32()?);
        let kind = match band_type {
            DROP | DSCP_REMARK => {
                reader.exactly(4, "16 with its header")?;
                let prec_level = reader.u8()?;
                if band_type == DROP { MeterBandKind::Drop } else { MeterBandKind::DscpRemark { prec_level } }
            }
            EXPERIMENTER => MeterBandKind::Experimenter { experimenter: reader.u32()?, data: reader.rest().to_vec() },
            _ => MeterBandKind::Other { band_type, body: reader.rest().to_vec() },
        };
        Ok(Self { rate, burst, kind })
    }
}

/// A meter as a switch holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterConfig {
    pub flags: u16,
    pub meter_id: u32,
    pub bands: Vec<MeterBand>,
}

const METER_CONFIG: &str = "meter configuration";
const METER_CONFIG_BYTES_MIN: usize = 8;

impl MeterConfig {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(0);
        out.put_u16(self.flags);
        out.put_u32(self.meter_id);
        self.bands.iter().try_for_each(|band| band.encode(out))?;
        fill_length(out, METER_CONFIG, start, start)
    }

    pub(super) fn decode(list: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(METER_CONFIG, list.structure(METER_CONFIG, 0, METER_CONFIG_BYTES_MIN, 1)?);
        reader.skip(2)?;
        Ok(Self { flags: reader.u16()?, meter_id: reader.u32()?, bands: read_all(&mut reader, MeterBand::decode)? })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeterStats {
    pub meter_id: u32,
    pub flow_count: u32,
    pub packet_in_count: u64,
    pub byte_in_count: u64,
    pub duration_sec: u32,
    pub duration_nsec: u32,
    /// Packets and bytes that went over each band.
    pub bands: Vec<(u64, u64)>,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                            meter id                           |
//    +-------------------------------+-------------------------------+
//    |             length            |             zeros             |
//    +-------------------------------+-------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                           flow count                          |
//    +---------------------------------------------------------------+
//    |              packets in, bytes in, 64 bits each ...           |
//    +---------------------------------------------------------------+
//    |                       duration, seconds                       |
//    +---------------------------------------------------------------+
//    |                     duration, nanoseconds                     |
//    +---------------------------------------------------------------+
//    |            of each band: packet and byte count ...            |
//    +---------------------------------------------------------------+

const METER_STATS: &str = "meter statistics";
const METER_STATS_BYTES_MIN: usize = 40;
const METER_STATS_LENGTH_AT: usize = 4;

impl MeterStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u32(self.meter_id);
        out.put_u64(0);
        out.put_u32(self.flow_count);
        out.put_u64(self.packet_in_count);
        out.put_u64(self.byte_in_count);
        out.put_u32(self.duration_sec);
        out.put_u32(self.duration_nsec);
        for (packets, bytes) in &self.bands {
            out.put_u64(*packets);
            out.put_u64(*bytes);
        }
        fill_length(out, METER_STATS, start + METER_STATS_LENGTH_AT, start)
    }

    pub(super) fn decode(list: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = list.structure(METER_STATS, METER_STATS_LENGTH_AT, METER_STATS_BYTES_MIN, 8)?;
        let mut reader = Reader::new(METER_STATS, bytes);
        let meter_id = reader.u32()?;
        reader.skip(8)?;
        Ok(Self {
            meter_id,
            flow_count: reader.u32()?,
            packet_in_count: reader.u64()?,
            byte_in_count: reader.u64()?,
            duration_sec: reader.u32()?,
            duration_nsec: reader.u32()?,
            bands: read_all(&mut reader, |counts| Ok((counts.u64()?, counts.u64()?)))?,
        })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterFeatures {
    pub max_meter: u32,
    /// Bit n is set where band type n is supported.
    pub band_types: u32,
    /// Bits of [`meter_flags`].
    pub capabilities: u32,
    pub max_bands: u8,
    pub max_color: u8,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                           max meter                           |
//    +---------------------------------------------------------------+
//    |                           band types                          |
//    +---------------------------------------------------------------+
//    |                          capabilities                         |
//    +---------------+---------------+-------------------------------+
//    |   max bands   |   max color   |             zeros             |
//    +---------------+---------------+-------------------------------+

impl MeterFeatures {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.max_meter);
        out.put_u32(self.band_types);
        out.put_u32(self.capabilities);
        out.put_u8(self.max_bands);
        out.put_u8(self.max_color);
        out.put_u16(0);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.exactly(16, "16 bytes of meter features")?;
        Ok(Self {
            max_meter: reader.u32()?,
            band_types: reader.u32()?,
            capabilities: reader.u32()?,
            max_bands: reader.u8()?,
            max_color: reader.u8()?,
        })
    }
}
