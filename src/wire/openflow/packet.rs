//! PACKET_IN and PACKET_OUT.

use bytes::BufMut;

use super::action::{put_actions, read_actions};
use super::buffer::{Reader, fill_length};
use super::{Action, DecodeError, EncodeError, Match};
use crate::types::PortNo;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketIn {
    pub buffer_id: u32,
    pub total_len: u16,
    pub reason: u8,
    pub table_id: u8,
    pub cookie: u64,
    pub matching: Match,
    pub data: Vec<u8>,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                           buffer id                           |
//    +-------------------------------+---------------+---------------+
//    |          total length         |     reason    |     table     |
//    +-------------------------------+---------------+---------------+
//    |                             cookie                            |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+
//    |                       match, padded ...                       |
//    +-------------------------------+-------------------------------+
//    |             zeros             |           packet ...          |
//    +-------------------------------+-------------------------------+

impl PacketIn {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u32(self.buffer_id);
        out.put_u16(self.total_len);
        out.put_u8(self.reason);
        out.put_u8(self.table_id);
        out.put_u64(self.cookie);
        self.matching.encode(out)?;
        out.put_u16(0);
        out.extend_from_slice(&self.data);
        Ok(())
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(16)?;
        Ok(Self {
            buffer_id: reader.u32()?,
            total_len: reader.u16()?,
            reason: reader.u8()?,
            table_id: reader.u8()?,
            cookie: reader.u64()?,
            matching: Match::decode(&mut reader)?,
            data: {
                reader.skip(2)?;
                reader.rest().to_vec()
            },
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketOut {
    pub buffer_id: u32,
    pub in_port: PortNo,
    pub actions: Vec<Action>,
    pub data: Vec<u8>,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                           buffer id                           |
//    +---------------------------------------------------------------+
//    |                            in_port                            |
//    +-------------------------------+-------------------------------+
//    |       length of actions       |             zeros             |
//    +-------------------------------+-------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                          actions ...                          |
//    +---------------------------------------------------------------+
//    |                           packet ...                          |
//    +---------------------------------------------------------------+

const PACKET_OUT: &str = "PACKET_OUT";

impl PacketOut {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u32(self.buffer_id);
        out.put_u32(self.in_port.0);
        let at = out.len();
        out.put_bytes(0, 8);
        let start = out.len();
        put_actions(out, &self.actions)?;
        fill_length(out, PACKET_OUT, at, start)?;
        out.extend_from_slice(&self.data);
        Ok(())
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(16)?;
        let (buffer_id, in_port) = (reader.u32()?, PortNo(reader.u32()?));
        let length = usize::from(reader.u16()?);
        reader.skip(6)?;
        let actions = read_actions(&mut Reader::new(PACKET_OUT, reader.take(length)?))?;
        Ok(Self { buffer_id, in_port, actions, data: reader.rest().to_vec() })
    }
}
