//! GROUP_MOD and the buckets of groups.

use bytes::BufMut;

use super::action::{put_actions, read_actions};
use super::buffer::{Reader, fill_length};
use super::{Action, DecodeError, EncodeError};
use crate::types::PortNo;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GroupType {
    All = 0,
    Select = 1,
    Indirect = 2,
    FastFailover = 3,
}

impl GroupType {
    pub(super) fn decode(group_type: u8) -> Result<Self, DecodeError> {
        Ok(match group_type {
            0 => Self::All,
            1 => Self::Select,
            2 => Self::Indirect,
            3 => Self::FastFailover,
            _ => {
                let expected = "a type from 0 to 3";
                return Err(DecodeError::Value { what: GROUP, expected, came: group_type.into() });
            }
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum GroupModCommand {
    Add = 0,
    Modify = 1,
    Delete = 2,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMod {
    pub command: GroupModCommand,
    pub group_type: GroupType,
    pub group_id: u32,
    pub buckets: Vec<Bucket>,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+---------------+---------------+
//    |            command            |      type     |     zeros     |
//    +-------------------------------+---------------+---------------+
//    |                            group id                           |
//    +---------------------------------------------------------------+
//    |                          buckets ...                          |
//    +---------------------------------------------------------------+

impl GroupModCommand {
    fn decode(command: u16) -> Result<Self, DecodeError> {
        Ok(match command {
            0 => Self::Add,
            1 => Self::Modify,
            2 => Self::Delete,
            _ => {
                let expected = "a command from 0 to 2";
                return Err(DecodeError::Value { what: GROUP_MOD, expected, came: command.into() });
            }
        })
    }
}

impl GroupMod {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u16(self.command as u16);
        out.put_u8(self.group_type as u8);
        out.put_u8(0);
        out.put_u32(self.group_id);
        put_buckets(out, &self.buckets)
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(8)?;
        Ok(Self {
            command: GroupModCommand::decode(reader.u16()?)?,
            group_type: GroupType::decode(reader.u8()?)?,
            group_id: {
                reader.skip(1)?;
                reader.u32()?
            },
            buckets: read_buckets(&mut reader)?,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub weight: u16,
    pub watch_port: PortNo,
    pub watch_group: u32,
    pub actions: Vec<Action>,
}

impl Bucket {
    #[must_use]
    pub fn canonical(&self) -> Self {
        Self { actions: Action::canonical_list(&self.actions), ..self.clone() }
    }
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+-------------------------------+
//    |             length            |             weight            |
//    +-------------------------------+-------------------------------+
//    |                           watch_port                          |
//    +---------------------------------------------------------------+
//    |                          watch_group                          |
//    +---------------------------------------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                          actions ...                          |
//    +---------------------------------------------------------------+

pub(super) const GROUP: &str = "group";
pub(super) const GROUP_MOD: &str = "GROUP_MOD";
pub(super) const BUCKET: &str = "bucket";
const BUCKET_BYTES_MIN: usize = 16;

pub(super) fn put_buckets(out: &mut Vec<u8>, buckets: &[Bucket]) -> Result<(), EncodeError> {
    buckets.iter().try_for_each(|bucket| bucket.encode(out))
}

pub(super) fn read_buckets(reader: &mut Reader<'_>) -> Result<Vec<Bucket>, DecodeError> {
    let mut buckets = Vec::new();
    while !reader.is_empty() {
        buckets.push(Bucket::decode(reader.structure(BUCKET, 0, BUCKET_BYTES_MIN, 8)?)?);
    }
    Ok(buckets)
}

impl Bucket {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(0);
        out.put_u16(self.weight);
        out.put_u32(self.watch_port.0);
        out.put_u32(self.watch_group);
        out.put_u32(0);
        put_actions(out, &self.actions)?;
        fill_length(out, BUCKET, start, start)
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(BUCKET, bytes);
        reader.skip(2)?;
        let (weight, watch_port, watch_group) = (reader.u16()?, PortNo(reader.u32()?), reader.u32()?);
        reader.skip(4)?;
        Ok(Self { weight, watch_port, watch_group, actions: read_actions(&mut reader)? })
    }
}

/// What a switch's groups can do; lists are by group type: all, select, indirect, fast failover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupFeatures {
    /// Bit n is set where group type n is supported.
    pub types: u32,
    pub capabilities: u32,
    pub max_groups: [u32; 4],
    /// Bit n is set where action type n is supported.
    pub actions: [u32; 4],
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                             types                             |
//    +---------------------------------------------------------------+
//    |                          capabilities                         |
//    +---------------------------------------------------------------+
//    |                   most groups of each type ...                |
//    +---------------------------------------------------------------+
//    |                    actions of each type ...                   |
//    +---------------------------------------------------------------+

impl GroupFeatures {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for word in [self.types, self.capabilities].into_iter().chain(self.max_groups).chain(self.actions) {
            out.put_u32(word);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.exactly(40, "40 bytes of group features")?;
        let (types, capabilities) = (reader.u32()?, reader.u32()?);
        let max_groups = [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
        let actions = [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
        Ok(Self { types, capabilities, max_groups, actions })
    }
}
