//! OpenFlow 1.3.5 (ONF TS-023) with the Nicira extensions that the data path uses.
//!
//! Values first: every message is an owned Rust value; [`Frame::encode`] and [`Frame::decode`] translate. What this
//! program has no value for (message types, multipart types, actions, instructions, fields) is kept as bytes and goes out
//! as it came. Padding is not kept: it goes out as zeros.

mod action;
mod buffer;
mod bundle;
mod error;
mod experimenter;
mod field;
mod flow;
mod group_mod;
mod instruction;
mod learn;
mod matching;
mod message;
mod meter;
mod multipart;
mod nicira;
mod nicira_actions;
mod packet;
mod port_description;
mod queue;
mod session;
mod stats;
mod table_features;

pub use action::Action;
pub use bundle::{BundleAdd, BundleControl, bundle_control, bundle_flags};
pub use error::{DecodeError, EncodeError, error_type};
pub use experimenter::{Experimenter, RoleStatus};
pub use field::Field;
pub use flow::{FlowMod, FlowModCommand, FlowRemoved, flow_flags, removed_reason};
pub use group_mod::{Bucket, GroupFeatures, GroupMod, GroupModCommand, GroupType};
pub use instruction::Instruction;
pub use learn::{LearnAction, LearnSource, LearnSpec, LearnTarget, learn_flags};
pub use matching::{Match, MatchField};
pub use message::{Frame, Framing, HEADER_BYTES, MESSAGE_BYTES_MAX, Message};
pub use meter::{
    MeterBand, MeterBandKind, MeterConfig, MeterFeatures, MeterMod, MeterModCommand, MeterStats, meter_flags, meter_id,
};
pub use multipart::{
    ExperimenterMultipart, FlowStatsRequest, MultipartReply, MultipartReplyBody, MultipartRequest, MultipartRequestBody,
};
pub use nicira::{CtAction, MultipathAction, Subfield, hash_fields};
pub use nicira_actions::{LinkBundleAction, NatAction, SampleAction};
pub use packet::{PacketIn, PacketOut};
pub use port_description::{PortDescription, PortMod, PortStatus, port_bits, port_reason};
pub use queue::{QUEUE_ALL, Queue, QueueConfig, QueueProperty, QueueStats, QueueStatsRequest};
pub use session::{AsyncConfig, ErrorMessage, Features, Hello, Role, SwitchConfig};
pub use stats::{AggregateStats, FlowStats, GroupDescription, GroupStats, PortStats, SwitchDescription};
pub use table_features::{FeatureId, OxmId, TableFeatures, TableMod, TableProperty, TableStats};

/// The version on the wire that stands for OpenFlow 1.3.
pub const VERSION: u8 = 0x04;

/// Reserved port numbers (section 7.2.1).
pub mod port {
    use crate::types::PortNo;
    pub const MAX: PortNo = PortNo(0xffff_ff00);
    pub const IN_PORT: PortNo = PortNo(0xffff_fff8);
    pub const TABLE: PortNo = PortNo(0xffff_fff9);
    pub const NORMAL: PortNo = PortNo(0xffff_fffa);
    pub const FLOOD: PortNo = PortNo(0xffff_fffb);
    pub const ALL: PortNo = PortNo(0xffff_fffc);
    pub const CONTROLLER: PortNo = PortNo(0xffff_fffd);
    pub const LOCAL: PortNo = PortNo(0xffff_fffe);
    pub const ANY: PortNo = PortNo(0xffff_ffff);
}

/// `OFPG_ANY` and `OFPG_ALL`.
pub mod group {
    pub const ALL: u32 = 0xffff_fffc;
    pub const ANY: u32 = 0xffff_ffff;
}

/// `OFPTT_ALL`.
pub const TABLE_ALL: u8 = 0xff;
/// `OFP_NO_BUFFER`.
pub const NO_BUFFER: u32 = 0xffff_ffff;
/// `OFPCML_NO_BUFFER`: the whole packet goes to the controller.
pub const CONTROLLER_NO_BUFFER: u16 = 0xffff;
