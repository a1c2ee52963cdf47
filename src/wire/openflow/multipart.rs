//! Multipart messages (section 7.3.5) as values. A long answer comes in several messages with `more` set on all but
//! the last; the session puts them together.

use bytes::BufMut;

use super::buffer::Reader;
use super::{
    AggregateStats, DecodeError, EncodeError, FlowStats, GroupDescription, GroupStats, MESSAGE_BYTES_MAX, Match,
    PortDescription, PortStats, SwitchDescription,
};
use crate::types::PortNo;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultipartRequest {
    /// `OFPMPF_REQ_MORE`.
    pub more: bool,
    pub body: MultipartRequestBody,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultipartRequestBody {
    Description,
    Flow(FlowStatsRequest),
    Aggregate(FlowStatsRequest),
    PortStats(PortNo),
    GroupStats(u32),
    GroupDescription,
    PortDescription,
    Other { multipart_type: u16, body: Vec<u8> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStatsRequest {
    pub table_id: u8,
    pub out_port: PortNo,
    pub out_group: u32,
    pub cookie: u64,
    pub cookie_mask: u64,
    pub matching: Match,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultipartReply {
    /// `OFPMPF_REPLY_MORE`.
    pub more: bool,
    pub body: MultipartReplyBody,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultipartReplyBody {
    Description(SwitchDescription),
    Flow(Vec<FlowStats>),
    Aggregate(AggregateStats),
    PortStats(Vec<PortStats>),
    GroupStats(Vec<GroupStats>),
    GroupDescription(Vec<GroupDescription>),
    PortDescription(Vec<PortDescription>),
    Other { multipart_type: u16, body: Vec<u8> },
}

/// `ofp_multipart_type`.
mod kind {
    pub(super) const DESCRIPTION: u16 = 0;
    pub(super) const FLOW: u16 = 1;
    pub(super) const AGGREGATE: u16 = 2;
    pub(super) const PORT_STATS: u16 = 4;
    pub(super) const GROUP: u16 = 6;
    pub(super) const GROUP_DESCRIPTION: u16 = 7;
    pub(super) const PORT_DESCRIPTION: u16 = 13;
}
/// Bit of `flags` that says that more messages follow.
const MORE: u16 = 1;

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+-------------------------------+
//    |         multipart type        |             flags             |
//    +-------------------------------+-------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                            body ...                           |
//    +---------------------------------------------------------------+

impl MultipartRequest {
    /// The only or last part.
    pub const fn new(body: MultipartRequestBody) -> Self {
        Self { more: false, body }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        use MultipartRequestBody as Body;
        put_header(out, self.body.multipart_type(), self.more);
        match &self.body {
            Body::Description | Body::GroupDescription | Body::PortDescription => {}
            Body::Flow(request) | Body::Aggregate(request) => request.encode(out)?,
            Body::PortStats(PortNo(number)) | Body::GroupStats(number) => {
                out.put_u32(*number);
                out.put_u32(0);
            }
            Body::Other { body, .. } => out.extend_from_slice(body),
        }
        Ok(())
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        use MultipartRequestBody as Body;
        let (multipart_type, more) = read_header(&mut reader)?;
        let empty = |body: Body| reader.exactly(0, "16: headers alone").map(|()| body);
        let body = match multipart_type {
            kind::DESCRIPTION => empty(Body::Description)?,
            kind::GROUP_DESCRIPTION => empty(Body::GroupDescription)?,
            kind::PORT_DESCRIPTION => empty(Body::PortDescription)?,
            kind::FLOW => Body::Flow(FlowStatsRequest::decode(reader)?),
            kind::AGGREGATE => Body::Aggregate(FlowStatsRequest::decode(reader)?),
            kind::PORT_STATS | kind::GROUP => {
                reader.exactly(8, "24 with its headers")?;
                let number = reader.u32()?;
                if multipart_type == kind::GROUP { Body::GroupStats(number) } else { Body::PortStats(PortNo(number)) }
            }
            _ => Body::Other { multipart_type, body: reader.rest().to_vec() },
        };
        Ok(Self { more, body })
    }
}

impl MultipartRequestBody {
    pub const fn multipart_type(&self) -> u16 {
        match self {
            Self::Description => kind::DESCRIPTION,
            Self::Flow(_) => kind::FLOW,
            Self::Aggregate(_) => kind::AGGREGATE,
            Self::PortStats(_) => kind::PORT_STATS,
            Self::GroupStats(_) => kind::GROUP,
            Self::GroupDescription => kind::GROUP_DESCRIPTION,
            Self::PortDescription => kind::PORT_DESCRIPTION,
            Self::Other { multipart_type, .. } => *multipart_type,
        }
    }
}

fn put_header(out: &mut Vec<u8>, multipart_type: u16, more: bool) {
    out.put_u16(multipart_type);
    out.put_u16(if more { MORE } else { 0 });
    out.put_u32(0);
}

fn read_header(reader: &mut Reader<'_>) -> Result<(u16, bool), DecodeError> {
    reader.need(8)?;
    let (multipart_type, flags) = (reader.u16()?, reader.u16()?);
    reader.skip(4)?;
    Ok((multipart_type, flags & MORE != 0))
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------+-----------------------------------------------+
//    |     table     |                     zeros                     |
//    +---------------+-----------------------------------------------+
//    |                            out_port                           |
//    +---------------------------------------------------------------+
//    |                           out_group                           |
//    +---------------------------------------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                             cookie                            |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+
//    |                          cookie mask                          |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+
//    |                       match, padded ...                       |
//    +---------------------------------------------------------------+

impl FlowStatsRequest {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u8(self.table_id);
        out.put_bytes(0, 3);
        out.put_u32(self.out_port.0);
        out.put_u32(self.out_group);
        out.put_u32(0);
        out.put_u64(self.cookie);
        out.put_u64(self.cookie_mask);
        self.matching.encode(out)
    }

    fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(32)?;
        let table_id = reader.u8()?;
        reader.skip(3)?;
        let (out_port, out_group) = (PortNo(reader.u32()?), reader.u32()?);
        reader.skip(4)?;
        let (cookie, cookie_mask) = (reader.u64()?, reader.u64()?);
        let matching = Match::decode(&mut reader)?;
        reader.exactly(0, "nothing behind its match")?;
        Ok(Self { table_id, out_port, out_group, cookie, cookie_mask, matching })
    }
}

// Answers start like requests: multipart type, flags, zeros. Their bodies are lists of the entries in stats.rs.

impl MultipartReply {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        use MultipartReplyBody as Body;
        put_header(out, self.body.multipart_type(), self.more);
        match &self.body {
            Body::Description(description) => description.encode(out),
            Body::Flow(list) => list.iter().try_for_each(|entry| entry.encode(out))?,
            Body::Aggregate(stats) => stats.encode(out),
            Body::PortStats(list) => list.iter().for_each(|entry| entry.encode(out)),
            Body::GroupStats(list) => list.iter().try_for_each(|entry| entry.encode(out))?,
            Body::GroupDescription(list) => list.iter().try_for_each(|entry| entry.encode(out))?,
            Body::PortDescription(list) => list.iter().for_each(|entry| entry.encode(out)),
            Body::Other { body, .. } => out.extend_from_slice(body),
        }
        Ok(())
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        use MultipartReplyBody as Body;
        let (multipart_type, more) = read_header(&mut reader)?;
        let list = &mut reader;
        let body = match multipart_type {
            kind::DESCRIPTION => Body::Description(SwitchDescription::decode(list)?),
            kind::FLOW => Body::Flow(read_list(list, FlowStats::decode)?),
            kind::AGGREGATE => Body::Aggregate(AggregateStats::decode(list)?),
            kind::PORT_STATS => Body::PortStats(read_list(list, PortStats::decode)?),
            kind::GROUP => Body::GroupStats(read_list(list, GroupStats::decode)?),
            kind::GROUP_DESCRIPTION => Body::GroupDescription(read_list(list, GroupDescription::decode)?),
            kind::PORT_DESCRIPTION => Body::PortDescription(read_list(list, PortDescription::decode)?),
            _ => Body::Other { multipart_type, body: list.rest().to_vec() },
        };
        Ok(Self { more, body })
    }
}

fn read_list<T>(
    reader: &mut Reader<'_>,
    decode: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut list = Vec::new();
    while !reader.is_empty() {
        list.push(decode(reader)?);
    }
    Ok(list)
}

/// The most entries' bytes in one message: what the length field allows, less the two headers.
const LIST_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 16;

impl MultipartReplyBody {
    pub const fn multipart_type(&self) -> u16 {
        match self {
            Self::Description(_) => kind::DESCRIPTION,
            Self::Flow(_) => kind::FLOW,
            Self::Aggregate(_) => kind::AGGREGATE,
            Self::PortStats(_) => kind::PORT_STATS,
            Self::GroupStats(_) => kind::GROUP,
            Self::GroupDescription(_) => kind::GROUP_DESCRIPTION,
            Self::PortDescription(_) => kind::PORT_DESCRIPTION,
            Self::Other { multipart_type, .. } => *multipart_type,
        }
    }

    /// The messages that carry this answer, each small enough to encode, `more` set on all but the last. Never empty.
    ///
    /// # Errors
    /// An entry has no form on the wire, be it too long alone.
    pub fn split(self) -> Result<Vec<MultipartReply>, EncodeError> {
        let mut parts = match self {
            Self::Flow(list) => in_parts(list, FlowStats::encode, Self::Flow)?,
            Self::GroupStats(list) => in_parts(list, GroupStats::encode, Self::GroupStats)?,
            Self::GroupDescription(list) => in_parts(list, GroupDescription::encode, Self::GroupDescription)?,
            Self::PortStats(list) => in_parts(
                list,
                |entry, out| {
                    entry.encode(out);
                    Ok(())
                },
                Self::PortStats,
            )?,
            Self::PortDescription(list) => in_parts(
                list,
                |entry, out| {
                    entry.encode(out);
                    Ok(())
                },
                Self::PortDescription,
            )?,
            single => vec![MultipartReply { more: false, body: single }],
        };
        if let Some(last) = parts.last_mut() {
            last.more = false;
        }
        Ok(parts)
    }
}

fn in_parts<T>(
    list: Vec<T>,
    encode: impl Fn(&T, &mut Vec<u8>) -> Result<(), EncodeError>,
    body: impl Fn(Vec<T>) -> MultipartReplyBody,
) -> Result<Vec<MultipartReply>, EncodeError> {
    let mut parts = Vec::new();
    let (mut part, mut part_bytes, mut scratch) = (Vec::new(), 0, Vec::new());
    for entry in list {
        scratch.clear();
        encode(&entry, &mut scratch)?;
        if part_bytes + scratch.len() > LIST_BYTES_MAX && !part.is_empty() {
            parts.push(MultipartReply { more: true, body: body(std::mem::take(&mut part)) });
            part_bytes = 0;
        }
        part_bytes += scratch.len();
        part.push(entry);
    }
    parts.push(MultipartReply { more: true, body: body(part) });
    Ok(parts)
}
