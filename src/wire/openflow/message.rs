//! Messages (section 7) as values.

use super::{Action, Instruction, Match, MultipartReply, MultipartRequest};
use crate::types::{MacAddr, PortNo};

/// A message with its transaction id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// As on the wire: 0x04, but HELLO may carry another, and ERROR the peer's.
    pub version: u8,
    pub xid: u32,
    pub message: Message,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Hello(Hello),
    Error(ErrorMessage),
    EchoRequest(Vec<u8>),
    EchoReply(Vec<u8>),
    FeaturesRequest,
    FeaturesReply(Features),
    GetConfigRequest,
    GetConfigReply(SwitchConfig),
    SetConfig(SwitchConfig),
    PacketIn(PacketIn),
    FlowRemoved(FlowRemoved),
    PortStatus(PortStatus),
    PacketOut(PacketOut),
    FlowMod(FlowMod),
    GroupMod(GroupMod),
    MultipartRequest(MultipartRequest),
    MultipartReply(MultipartReply),
    BarrierRequest,
    BarrierReply,
    RoleRequest(Role),
    RoleReply(Role),
    /// Any other type, body as it came.
    Other { message_type: u8, body: Vec<u8> },
}

/// `ofp_hello`: `versions` has bit n set for wire version n; `None` where the peer sent no bitmap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    pub versions: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorMessage {
    pub error_type: u16,
    pub code: u16,
    /// At least 64 bytes of the refused message.
    pub data: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    pub datapath_id: u64,
    pub n_buffers: u32,
    pub n_tables: u8,
    pub auxiliary_id: u8,
    pub capabilities: u32,
    pub reserved: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    pub flags: u16,
    pub miss_send_len: u16,
}

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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketOut {
    pub buffer_id: u32,
    pub in_port: PortNo,
    pub actions: Vec<Action>,
    pub data: Vec<u8>,
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

/// Bits of a port's `config` and `state`.
pub mod port_bits {
    pub const CONFIG_PORT_DOWN: u32 = 1;
    pub const STATE_LINK_DOWN: u32 = 1;
    pub const STATE_BLOCKED: u32 = 2;
    pub const STATE_LIVE: u32 = 4;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortDescription {
    pub port_no: PortNo,
    pub hw_addr: MacAddr,
    /// At most 15 bytes of text on the wire, padded with zeros.
    pub name: String,
    pub config: u32,
    pub state: u32,
    pub current: u32,
    pub advertised: u32,
    pub supported: u32,
    pub peer: u32,
    pub current_speed_kbps: u32,
    pub max_speed_kbps: u32,
}

/// Reasons of PORT_STATUS.
pub mod port_reason {
    pub const ADD: u8 = 0;
    pub const DELETE: u8 = 1;
    pub const MODIFY: u8 = 2;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStatus {
    pub reason: u8,
    pub port: PortDescription,
}

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GroupType {
    All = 0,
    Select = 1,
    Indirect = 2,
    FastFailover = 3,
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub weight: u16,
    pub watch_port: PortNo,
    pub watch_group: u32,
    pub actions: Vec<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    pub role: u32,
    pub generation_id: u64,
}
