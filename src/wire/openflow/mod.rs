//! OpenFlow 1.3.5 (ONF TS-023) with the Nicira extensions that the data path uses.
//!
//! Values first: every message is an owned Rust value; [`Message::encode`] and [`Message::decode`] translate.

mod action;
mod field;
mod instruction;
mod matching;
mod message;
mod multipart;
mod nicira;

pub use action::Action;
pub use field::Field;
pub use instruction::Instruction;
pub use matching::{Match, MatchField};
pub use message::*;
pub use multipart::*;
pub use nicira::{CtAction, LearnAction, LearnSpec, LearnSource, LearnTarget, MultipathAction, Subfield, hash_fields, learn_flags};

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
