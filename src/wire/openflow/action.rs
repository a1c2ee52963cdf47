//! Actions (section 7.2.4) and the Nicira actions of the data path.

use super::{CtAction, LearnAction, MatchField, MultipathAction, Subfield};
use crate::types::PortNo;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Output { port: PortNo, max_len: u16 },
    Group(u32),
    SetQueue(u32),
    PushVlan(u16),
    PopVlan,
    SetNwTtl(u8),
    DecNwTtl,
    SetField(MatchField),
    /// `NXAST_REG_LOAD2` would carry a whole field; this is `NXAST_REG_LOAD`: at most 64 bits into a subfield.
    RegLoad { target: Subfield, value: u64 },
    RegMove { source: Subfield, target: Subfield },
    /// `NXAST_RESUBMIT_TABLE`: look `table` up with `in_port` (`IN_PORT` 0xfff8 keeps the packet's own).
    Resubmit { in_port: u16, table: u8 },
    /// `NXAST_OUTPUT_REG`.
    OutputReg { source: Subfield, max_len: u16 },
    Learn(Box<LearnAction>),
    Ct(Box<CtAction>),
    Multipath(MultipathAction),
    StackPush(Subfield),
    StackPop(Subfield),
    FinTimeout { fin_idle_timeout: u16, fin_hard_timeout: u16 },
    /// Any other, header included, as it came.
    Other(Vec<u8>),
}

impl Action {
    pub fn output(port: PortNo) -> Self {
        Self::Output { port, max_len: 0 }
    }
    /// The whole packet to the controller.
    pub fn controller() -> Self {
        Self::Output { port: super::port::CONTROLLER, max_len: super::CONTROLLER_NO_BUFFER }
    }
    /// Resubmits with the packet's own in_port.
    pub fn resubmit(table: u8) -> Self {
        Self::Resubmit { in_port: 0xfff8, table }
    }
    pub fn set_field(field: super::Field, value: impl Into<u128>) -> Self {
        Self::SetField(MatchField { field, value: value.into(), mask: None })
    }
}
