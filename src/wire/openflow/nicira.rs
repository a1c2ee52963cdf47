//! Nicira extension actions (vendor 0x00002320), as Open vSwitch documents them in ovs-actions(7).

use super::{Action, Field};

/// `n_bits` of a field from bit `offset` up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subfield {
    pub field: Field,
    pub offset: u16,
    pub n_bits: u16,
}

impl Subfield {
    /// A whole field.
    pub const fn whole(field: Field) -> Self {
        Self { field, offset: 0, n_bits: field.bits() }
    }
    pub const fn bits(field: Field, offset: u16, n_bits: u16) -> Self {
        Self { field, offset, n_bits }
    }
}

/// Flags of `learn`.
pub mod learn_flags {
    pub const SEND_FLOW_REM: u16 = 1;
    pub const DELETE_LEARNED: u16 = 2;
    pub const WRITE_RESULT: u16 = 4;
}

/// `NXAST_LEARN` and, where a limit or a result is wanted, `NXAST_LEARN2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LearnAction {
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub priority: u16,
    pub cookie: u64,
    pub flags: u16,
    pub table: u8,
    pub fin_idle_timeout: u16,
    pub fin_hard_timeout: u16,
    /// Most entries with this cookie in this table; 0 is unlimited. Not 0 makes it `NXAST_LEARN2`.
    pub limit: u32,
    /// Receives 1 if the entry was learned, 0 if the limit forbade it (with `WRITE_RESULT`; `NXAST_LEARN2`).
    pub result: Option<Subfield>,
    pub specs: Vec<LearnSpec>,
}

/// One part of the entry to learn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LearnSpec {
    pub source: LearnSource,
    pub target: LearnTarget,
    pub n_bits: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LearnSource {
    /// Bits of the packet: field and offset.
    Field { field: Field, offset: u16 },
    Immediate(u128),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LearnTarget {
    Match { field: Field, offset: u16 },
    Load { field: Field, offset: u16 },
    /// The source is a port number; no target field.
    Output,
}

impl LearnSpec {
    /// Match the packet's own value of a field.
    pub fn match_same(field: Field) -> Self {
        Self::match_field(field, field)
    }
    /// Match, in `target`, the packet's value of `source`.
    pub fn match_field(target: Field, source: Field) -> Self {
        Self {
            source: LearnSource::Field { field: source, offset: 0 },
            target: LearnTarget::Match { field: target, offset: 0 },
            n_bits: target.bits(),
        }
    }
    pub fn match_value(field: Field, value: impl Into<u128>) -> Self {
        Self {
            source: LearnSource::Immediate(value.into()),
            target: LearnTarget::Match { field, offset: 0 },
            n_bits: field.bits(),
        }
    }
    pub fn load_value(target: Subfield, value: impl Into<u128>) -> Self {
        Self {
            source: LearnSource::Immediate(value.into()),
            target: LearnTarget::Load { field: target.field, offset: target.offset },
            n_bits: target.n_bits,
        }
    }
    pub fn load_field(target: Subfield, source: Subfield) -> Self {
        Self {
            source: LearnSource::Field { field: source.field, offset: source.offset },
            target: LearnTarget::Load { field: target.field, offset: target.offset },
            n_bits: target.n_bits,
        }
    }
}

/// `NXAST_CT`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CtAction {
    /// Bit 0 commit, bit 1 force.
    pub flags: u16,
    pub zone: u16,
    /// Table to continue in, 0xff for none.
    pub recirc_table: u8,
    /// Well-known port of the application-level gateway, 0 for none.
    pub alg: u16,
    /// Executed on the connection's mark or label (`SetField` of `CtMark`).
    pub exec: Vec<Action>,
}

/// Hash fields of `multipath`.
pub mod hash_fields {
    pub const ETH_SRC: u16 = 0;
    pub const SYMMETRIC_L4: u16 = 1;
    pub const SYMMETRIC_L3L4: u16 = 2;
    pub const SYMMETRIC_L3L4_UDP: u16 = 3;
}

/// `NXAST_MULTIPATH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MultipathAction {
    pub fields: u16,
    pub basis: u16,
    /// 0 is modulo_n.
    pub algorithm: u16,
    /// Number of links less one, as on the wire.
    pub max_link: u16,
    pub arg: u32,
    pub target: Subfield,
}
