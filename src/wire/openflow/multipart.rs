//! Multipart messages (section 7.3.5) as values. A long answer comes in several messages with `more` set on all but
//! the last; the session puts them together.

use bytes::BufMut;

use super::buffer::{Reader, read_all};
use super::{
    AggregateStats, DecodeError, EncodeError, FlowStats, GroupDescription, GroupFeatures, GroupStats,
    MESSAGE_BYTES_MAX, Match, MeterConfig, MeterFeatures, MeterStats, PortDescription, PortStats, QueueStats,
    QueueStatsRequest, SwitchDescription, TableFeatures, TableStats,
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
    Table,
    PortStats(PortNo),
    Queue(QueueStatsRequest),
    GroupStats(u32),
    GroupDescription,
    GroupFeatures,
    /// The meter whose counters are wanted, `meter_id::ALL` for all.
    Meter(u32),
    /// The meter whose configuration is wanted, `meter_id::ALL` for all.
    MeterConfig(u32),
    MeterFeatures,
    /// Without entries a question; with entries the tables are to become like this.
    TableFeatures(Vec<TableFeatures>),
    PortDescription,
    Experimenter(ExperimenterMultipart),
    Other {
        multipart_type: u16,
        body: Vec<u8>,
    },
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
    Table(Vec<TableStats>),
    PortStats(Vec<PortStats>),
    Queue(Vec<QueueStats>),
    GroupStats(Vec<GroupStats>),
    GroupDescription(Vec<GroupDescription>),
    GroupFeatures(GroupFeatures),
    Meter(Vec<MeterStats>),
    MeterConfig(Vec<MeterConfig>),
    MeterFeatures(MeterFeatures),
    TableFeatures(Vec<TableFeatures>),
    PortDescription(Vec<PortDescription>),
    Experimenter(ExperimenterMultipart),
    Other { multipart_type: u16, body: Vec<u8> },
}

/// A request or an answer of an experimenter's own, its body as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExperimenterMultipart {
    pub experimenter: u32,
    pub exp_type: u32,
    pub body: Vec<u8>,
}

/// `ofp_multipart_type`.
mod kind {
    pub(super) const DESCRIPTION: u16 = 0;
    pub(super) const FLOW: u16 = 1;
    pub(super) const AGGREGATE: u16 = 2;
    pub(super) const TABLE: u16 = 3;
    pub(super) const PORT_STATS: u16 = 4;
    pub(super) const QUEUE: u16 = 5;
    pub(super) const GROUP: u16 = 6;
    pub(super) const GROUP_DESCRIPTION: u16 = 7;
    pub(super) const GROUP_FEATURES: u16 = 8;
    pub(super) const METER: u16 = 9;
    pub(super) const METER_CONFIG: u16 = 10;
    pub(super) const METER_FEATURES: u16 = 11;
    pub(super) const TABLE_FEATURES: u16 = 12;
    pub(super) const PORT_DESCRIPTION: u16 = 13;
    pub(super) const EXPERIMENTER: u16 = 0xffff;
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
            Body::Description
            | Body::Table
            | Body::GroupDescription
            | Body::GroupFeatures
            | Body::MeterFeatures
            | Body::PortDescription => {}
            Body::Flow(request) | Body::Aggregate(request) => request.encode(out)?,
            Body::Queue(request) => request.encode(out),
            Body::TableFeatures(list) => list.iter().try_for_each(|entry| entry.encode(out))?,
            Body::Experimenter(request) => request.encode(out),
            Body::PortStats(PortNo(number))
            | Body::GroupStats(number)
            | Body::Meter(number)
            | Body::MeterConfig(number) => {
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
            kind::TABLE => empty(Body::Table)?,
            kind::GROUP_DESCRIPTION => empty(Body::GroupDescription)?,
            kind::GROUP_FEATURES => empty(Body::GroupFeatures)?,
            kind::METER_FEATURES => empty(Body::MeterFeatures)?,
            kind::PORT_DESCRIPTION => empty(Body::PortDescription)?,
            kind::FLOW => Body::Flow(FlowStatsRequest::decode(reader)?),
            kind::AGGREGATE => Body::Aggregate(FlowStatsRequest::decode(reader)?),
            kind::QUEUE => Body::Queue(QueueStatsRequest::decode(&mut reader)?),
            kind::TABLE_FEATURES => Body::TableFeatures(read_all(&mut reader, TableFeatures::decode)?),
            kind::EXPERIMENTER => Body::Experimenter(ExperimenterMultipart::decode(&mut reader)?),
            kind::PORT_STATS | kind::GROUP | kind::METER | kind::METER_CONFIG => {
                reader.exactly(8, "24 with its headers")?;
                let number = reader.u32()?;
                match multipart_type {
                    kind::PORT_STATS => Body::PortStats(PortNo(number)),
                    kind::GROUP => Body::GroupStats(number),
                    kind::METER => Body::Meter(number),
                    _ => Body::MeterConfig(number),
                }
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
            Self::Table => kind::TABLE,
            Self::PortStats(_) => kind::PORT_STATS,
            Self::Queue(_) => kind::QUEUE,
            Self::GroupStats(_) => kind::GROUP,
            Self::GroupDescription => kind::GROUP_DESCRIPTION,
            Self::GroupFeatures => kind::GROUP_FEATURES,
            Self::Meter(_) => kind::METER,
            Self::MeterConfig(_) => kind::METER_CONFIG,
            Self::MeterFeatures => kind::METER_FEATURES,
            Self::TableFeatures(_) => kind::TABLE_FEATURES,
            Self::PortDescription => kind::PORT_DESCRIPTION,
            Self::Experimenter(_) => kind::EXPERIMENTER,
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
            Body::Table(list) => list.iter().for_each(|entry| entry.encode(out)),
            Body::Queue(list) => list.iter().for_each(|entry| entry.encode(out)),
            Body::GroupFeatures(features) => features.encode(out),
            Body::Meter(list) => list.iter().try_for_each(|entry| entry.encode(out))?,
            Body::MeterConfig(list) => list.iter().try_for_each(|entry| entry.encode(out))?,
            Body::MeterFeatures(features) => features.encode(out),
            Body::TableFeatures(list) => list.iter().try_for_each(|entry| entry.encode(out))?,
            Body::Experimenter(answer) => answer.encode(out),
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
            kind::FLOW => Body::Flow(read_all(list, FlowStats::decode)?),
            kind::AGGREGATE => Body::Aggregate(AggregateStats::decode(list)?),
            kind::TABLE => Body::Table(read_all(list, TableStats::decode)?),
            kind::QUEUE => Body::Queue(read_all(list, QueueStats::decode)?),
            kind::GROUP_FEATURES => Body::GroupFeatures(GroupFeatures::decode(list)?),
            kind::METER => Body::Meter(read_all(list, MeterStats::decode)?),
            kind::METER_CONFIG => Body::MeterConfig(read_all(list, MeterConfig::decode)?),
            kind::METER_FEATURES => Body::MeterFeatures(MeterFeatures::decode(list)?),
            kind::TABLE_FEATURES => Body::TableFeatures(read_all(list, TableFeatures::decode)?),
            kind::EXPERIMENTER => Body::Experimenter(ExperimenterMultipart::decode(list)?),
            kind::PORT_STATS => Body::PortStats(read_all(list, PortStats::decode)?),
            kind::GROUP => Body::GroupStats(read_all(list, GroupStats::decode)?),
            kind::GROUP_DESCRIPTION => Body::GroupDescription(read_all(list, GroupDescription::decode)?),
            kind::PORT_DESCRIPTION => Body::PortDescription(read_all(list, PortDescription::decode)?),
            _ => Body::Other { multipart_type, body: list.rest().to_vec() },
        };
        Ok(Self { more, body })
    }
}

impl ExperimenterMultipart {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.experimenter);
        out.put_u32(self.exp_type);
        out.extend_from_slice(&self.body);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(8)?;
        Ok(Self { experimenter: reader.u32()?, exp_type: reader.u32()?, body: reader.rest().to_vec() })
    }
}

/// The most entries' bytes in one message: what the length field allows, less the two headers.
const LIST_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 16;

impl MultipartReplyBody {
    pub const fn multipart_type(&self) -> u16 {
        match self {
            Self::Description(_) => kind::DESCRIPTION,
            Self::Flow(_) => kind::FLOW,
            Self::Aggregate(_) => kind::AGGREGATE,
            Self::Table(_) => kind::TABLE,
            Self::PortStats(_) => kind::PORT_STATS,
            Self::Queue(_) => kind::QUEUE,
            Self::GroupStats(_) => kind::GROUP,
            Self::GroupDescription(_) => kind::GROUP_DESCRIPTION,
            Self::GroupFeatures(_) => kind::GROUP_FEATURES,
            Self::Meter(_) => kind::METER,
            Self::MeterConfig(_) => kind::METER_CONFIG,
            Self::MeterFeatures(_) => kind::METER_FEATURES,
            Self::TableFeatures(_) => kind::TABLE_FEATURES,
            Self::PortDescription(_) => kind::PORT_DESCRIPTION,
            Self::Experimenter(_) => kind::EXPERIMENTER,
            Self::Other { multipart_type, .. } => *multipart_type,
        }
    }

    /// Takes the next part of an answer: lists grow; of an answer that is one structure the last part counts.
    pub fn join(&mut self, part: Self) {
        match (self, part) {
            (Self::Flow(all), Self::Flow(more)) => all.extend(more),
            (Self::Table(all), Self::Table(more)) => all.extend(more),
            (Self::PortStats(all), Self::PortStats(more)) => all.extend(more),
            (Self::Queue(all), Self::Queue(more)) => all.extend(more),
            (Self::GroupStats(all), Self::GroupStats(more)) => all.extend(more),
            (Self::GroupDescription(all), Self::GroupDescription(more)) => all.extend(more),
            (Self::Meter(all), Self::Meter(more)) => all.extend(more),
            (Self::MeterConfig(all), Self::MeterConfig(more)) => all.extend(more),
            (Self::TableFeatures(all), Self::TableFeatures(more)) => all.extend(more),
            (Self::PortDescription(all), Self::PortDescription(more)) => all.extend(more),
            (Self::Experimenter(all), Self::Experimenter(more)) => all.body.extend(more.body),
            (Self::Other { body: all, .. }, Self::Other { body: more, .. }) => all.extend(more),
            (all, part) => *all = part,
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
            Self::Meter(list) => in_parts(list, MeterStats::encode, Self::Meter)?,
            Self::MeterConfig(list) => in_parts(list, MeterConfig::encode, Self::MeterConfig)?,
            Self::TableFeatures(list) => in_parts(list, TableFeatures::encode, Self::TableFeatures)?,
            Self::Table(list) => in_parts(list, infallible(TableStats::encode), Self::Table)?,
            Self::PortStats(list) => in_parts(list, infallible(PortStats::encode), Self::PortStats)?,
            Self::Queue(list) => in_parts(list, infallible(QueueStats::encode), Self::Queue)?,
            Self::PortDescription(list) => in_parts(list, infallible(PortDescription::encode), Self::PortDescription)?,
            single => vec![MultipartReply { more: false, body: single }],
        };
        if let Some(last) = parts.last_mut() {
            last.more = false;
        }
        Ok(parts)
    }
}

fn infallible<T>(encode: impl Fn(&T, &mut Vec<u8>)) -> impl Fn(&T, &mut Vec<u8>) -> Result<(), EncodeError> {
    move |entry, out| {
        encode(entry, out);
        Ok(())
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
