//! Multipart messages (section 7.3.5) as values. A long answer comes in several messages with `more` set on all but
//! the last; the session puts them together.

use super::{Bucket, GroupType, Instruction, Match, PortDescription};
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

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchDescription {
    pub manufacturer: String,
    pub hardware: String,
    pub software: String,
    pub serial: String,
    pub datapath: String,
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AggregateStats {
    pub packet_count: u64,
    pub byte_count: u64,
    pub flow_count: u32,
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    pub group_type: GroupType,
    pub group_id: u32,
    pub buckets: Vec<Bucket>,
}
