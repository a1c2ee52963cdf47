//! FLOW_MOD and FLOW_REMOVED.

use bytes::BufMut;

use super::buffer::Reader;
use super::instruction::{put_instructions, read_instructions};
use super::{DecodeError, EncodeError, Instruction, Match};
use crate::types::PortNo;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FlowModCommand {
    Add = 0,
    Modify = 1,
    ModifyStrict = 2,
    Delete = 3,
    DeleteStrict = 4,
}

/// Bits of `FlowMod::flags`.
pub mod flow_flags {
    pub const SEND_FLOW_REM: u16 = 1;
    pub const CHECK_OVERLAP: u16 = 2;
    pub const RESET_COUNTS: u16 = 4;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowMod {
    pub cookie: u64,
    pub cookie_mask: u64,
    pub table_id: u8,
    pub command: FlowModCommand,
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub priority: u16,
    pub buffer_id: u32,
    pub out_port: PortNo,
    pub out_group: u32,
    pub flags: u16,
    pub matching: Match,
    pub instructions: Vec<Instruction>,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                             cookie                            |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+
//    |                          cookie mask                          |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------+---------------+-------------------------------+
//    |     table     |    command    |          idle timeout         |
//    +---------------+---------------+-------------------------------+
//    |          hard timeout         |            priority           |
//    +-------------------------------+-------------------------------+
//    |                           buffer id                           |
//    +---------------------------------------------------------------+
//    |                            out_port                           |
//    +---------------------------------------------------------------+
//    |                           out_group                           |
//    +-------------------------------+-------------------------------+
//    |             flags             |             zeros             |
//    +-------------------------------+-------------------------------+
//    |                       match, padded ...                       |
//    +---------------------------------------------------------------+
//    |                        instructions ...                       |
//    +---------------------------------------------------------------+

pub(super) const FLOW_MOD: &str = "FLOW_MOD";

impl FlowModCommand {
    fn decode(command: u8) -> Result<Self, DecodeError> {
        Ok(match command {
            0 => Self::Add,
            1 => Self::Modify,
            2 => Self::ModifyStrict,
            3 => Self::Delete,
            4 => Self::DeleteStrict,
            _ => {
                let expected = "a command from 0 to 4";
                return Err(DecodeError::Value { what: FLOW_MOD, expected, came: command.into() });
            }
        })
    }
}

impl FlowMod {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u64(self.cookie);
        out.put_u64(self.cookie_mask);
        out.put_u8(self.table_id);
        out.put_u8(self.command as u8);
        out.put_u16(self.idle_timeout);
        out.put_u16(self.hard_timeout);
        out.put_u16(self.priority);
        out.put_u32(self.buffer_id);
        out.put_u32(self.out_port.0);
        out.put_u32(self.out_group);
        out.put_u16(self.flags);
        out.put_u16(0);
        self.matching.encode(out)?;
        put_instructions(out, &self.instructions)
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(40)?;
        Ok(Self {
            cookie: reader.u64()?,
            cookie_mask: reader.u64()?,
            table_id: reader.u8()?,
            command: FlowModCommand::decode(reader.u8()?)?,
            idle_timeout: reader.u16()?,
            hard_timeout: reader.u16()?,
            priority: reader.u16()?,
            buffer_id: reader.u32()?,
            out_port: PortNo(reader.u32()?),
            out_group: reader.u32()?,
            flags: reader.u16()?,
            matching: {
                reader.skip(2)?;
                Match::decode(&mut reader)?
            },
            instructions: read_instructions(&mut reader)?,
        })
    }
}

/// Reasons of FLOW_REMOVED.
pub mod removed_reason {
    pub const IDLE_TIMEOUT: u8 = 0;
    pub const HARD_TIMEOUT: u8 = 1;
    pub const DELETE: u8 = 2;
    pub const GROUP_DELETE: u8 = 3;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRemoved {
    pub cookie: u64,
    pub priority: u16,
    pub reason: u8,
    pub table_id: u8,
    pub duration_sec: u32,
    pub duration_nsec: u32,
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub packet_count: u64,
    pub byte_count: u64,
    pub matching: Match,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                             cookie                            |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +-------------------------------+---------------+---------------+
//    |            priority           |     reason    |     table     |
//    +-------------------------------+---------------+---------------+
//    |                       duration, seconds                       |
//    +---------------------------------------------------------------+
//    |                     duration, nanoseconds                     |
//    +-------------------------------+-------------------------------+
//    |          idle timeout         |          hard timeout         |
//    +-------------------------------+-------------------------------+
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

impl FlowRemoved {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u64(self.cookie);
        out.put_u16(self.priority);
        out.put_u8(self.reason);
        out.put_u8(self.table_id);
        out.put_u32(self.duration_sec);
        out.put_u32(self.duration_nsec);
        out.put_u16(self.idle_timeout);
        out.put_u16(self.hard_timeout);
        out.put_u64(self.packet_count);
        out.put_u64(self.byte_count);
        self.matching.encode(out)
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(40)?;
        let removed = Self {
            cookie: reader.u64()?,
            priority: reader.u16()?,
            reason: reader.u8()?,
            table_id: reader.u8()?,
            duration_sec: reader.u32()?,
            duration_nsec: reader.u32()?,
            idle_timeout: reader.u16()?,
            hard_timeout: reader.u16()?,
            packet_count: reader.u64()?,
            byte_count: reader.u64()?,
            matching: Match::decode(&mut reader)?,
        };
        reader.exactly(0, "nothing behind its match")?;
        Ok(removed)
    }
}
