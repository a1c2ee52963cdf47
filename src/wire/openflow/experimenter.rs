//! EXPERIMENTER messages: the extensions of ONF and of Nicira that switches of version 1.3 speak, and the rest as bytes.

use bytes::BufMut;

use super::buffer::Reader;
use super::field::ONF;
use super::nicira::VENDOR as NICIRA;
use super::{AsyncConfig, BundleAdd, BundleControl, DecodeError, EncodeError};

/// A message of type EXPERIMENTER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Experimenter {
    /// ONF 2300.
    BundleControl(BundleControl),
    /// ONF 2301.
    BundleAdd(Box<BundleAdd>),
    /// ONF 1911 (EXT-191): the switch tells that this controller's role was changed.
    RoleStatus(RoleStatus),
    /// `NXT_ROLE_REQUEST`: 0 other, 1 master, 2 slave.
    NiciraRoleRequest(u32),
    /// `NXT_ROLE_REPLY`.
    NiciraRoleReply(u32),
    /// `NXT_SET_PACKET_IN_FORMAT`: 0 is OpenFlow's own, 1 Nicira's, 2 Nicira's second.
    SetPacketInFormat(u32),
    /// `NXT_SET_ASYNC_CONFIG`.
    NiciraSetAsync(AsyncConfig),
    /// `NXT_SET_CONTROLLER_ID`: which `controller(id=…)` actions send to this connection.
    SetControllerId(u16),
    /// `NXT_CT_FLUSH_ZONE`: forget the connections of a zone.
    FlushConntrackZone(u16),
    /// Any other, body as it came.
    Other { experimenter: u32, exp_type: u32, body: Vec<u8> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleStatus {
    pub role: u32,
    /// 0: another controller asked to be master; 1: configuration; 2: an experimenter's reason.
    pub reason: u8,
    pub generation_id: u64,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                          experimenter                         |
//    +---------------------------------------------------------------+
//    |                              type                             |
//    +---------------------------------------------------------------+
//    | bundles: see bundle.rs                                        |
//    | role status: role (32), reason (8), zeros (24), generation (64)
//    | Nicira's role, packet-in format: number (32)                  |
//    | Nicira's async config: as GET_ASYNC_REPLY                     |
//    | controller id, connection tracking zone: zeros (48), number (16)
//    +---------------------------------------------------------------+

/// Types by experimenter.
mod kind {
    pub(super) const ONF_ROLE_STATUS: u32 = 1911;
    pub(super) const ONF_BUNDLE_CONTROL: u32 = 2300;
    pub(super) const ONF_BUNDLE_ADD: u32 = 2301;
    pub(super) const NX_ROLE_REQUEST: u32 = 10;
    pub(super) const NX_ROLE_REPLY: u32 = 11;
    pub(super) const NX_SET_PACKET_IN_FORMAT: u32 = 16;
    pub(super) const NX_SET_ASYNC: u32 = 19;
    pub(super) const NX_SET_CONTROLLER_ID: u32 = 20;
    pub(super) const NX_CT_FLUSH_ZONE: u32 = 29;
}

impl Experimenter {
    /// Experimenter and type on the wire.
    pub const fn code(&self) -> (u32, u32) {
        match self {
            Self::BundleControl(_) => (ONF, kind::ONF_BUNDLE_CONTROL),
            Self::BundleAdd(_) => (ONF, kind::ONF_BUNDLE_ADD),
            Self::RoleStatus(_) => (ONF, kind::ONF_ROLE_STATUS),
            Self::NiciraRoleRequest(_) => (NICIRA, kind::NX_ROLE_REQUEST),
            Self::NiciraRoleReply(_) => (NICIRA, kind::NX_ROLE_REPLY),
            Self::SetPacketInFormat(_) => (NICIRA, kind::NX_SET_PACKET_IN_FORMAT),
            Self::NiciraSetAsync(_) => (NICIRA, kind::NX_SET_ASYNC),
            Self::SetControllerId(_) => (NICIRA, kind::NX_SET_CONTROLLER_ID),
            Self::FlushConntrackZone(_) => (NICIRA, kind::NX_CT_FLUSH_ZONE),
            Self::Other { experimenter, exp_type, .. } => (*experimenter, *exp_type),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let (experimenter, exp_type) = self.code();
        out.put_u32(experimenter);
        out.put_u32(exp_type);
        match self {
            Self::BundleControl(control) => control.encode(out),
            Self::BundleAdd(add) => add.encode(out)?,
            Self::RoleStatus(status) => {
                out.put_u32(status.role);
                out.put_u8(status.reason);
                out.put_bytes(0, 3);
                out.put_u64(status.generation_id);
            }
            Self::NiciraRoleRequest(number) | Self::NiciraRoleReply(number) | Self::SetPacketInFormat(number) => {
                out.put_u32(*number);
            }
            Self::NiciraSetAsync(config) => config.encode(out),
            Self::SetControllerId(number) | Self::FlushConntrackZone(number) => {
                out.put_bytes(0, 6);
                out.put_u16(*number);
            }
            Self::Other { body, .. } => out.extend_from_slice(body),
        }
        Ok(())
    }

    /// In a bundle's message (`bundled`) an add stays bytes, so that no input makes this recurse deeply.
    pub(super) fn decode(mut reader: Reader<'_>, bundled: bool) -> Result<Self, DecodeError> {
        reader.need(8)?;
        let (experimenter, exp_type) = (reader.u32()?, reader.u32()?);
        Ok(match (experimenter, exp_type) {
            (ONF, kind::ONF_BUNDLE_CONTROL) => Self::BundleControl(BundleControl::decode(reader)?),
            (ONF, kind::ONF_BUNDLE_ADD) if !bundled => Self::BundleAdd(Box::new(BundleAdd::decode(reader)?)),
            (ONF, kind::ONF_ROLE_STATUS) => {
                reader.exactly(16, "32 with its headers")?;
                let (role, reason) = (reader.u32()?, reader.u8()?);
                reader.skip(3)?;
                Self::RoleStatus(RoleStatus { role, reason, generation_id: reader.u64()? })
            }
            (NICIRA, kind::NX_ROLE_REQUEST) => Self::NiciraRoleRequest(only_u32(&mut reader)?),
            (NICIRA, kind::NX_ROLE_REPLY) => Self::NiciraRoleReply(only_u32(&mut reader)?),
            (NICIRA, kind::NX_SET_PACKET_IN_FORMAT) => Self::SetPacketInFormat(only_u32(&mut reader)?),
            (NICIRA, kind::NX_SET_ASYNC) => Self::NiciraSetAsync(AsyncConfig::decode(reader)?),
            (NICIRA, kind::NX_SET_CONTROLLER_ID) => Self::SetControllerId(only_u16(&mut reader)?),
            (NICIRA, kind::NX_CT_FLUSH_ZONE) => Self::FlushConntrackZone(only_u16(&mut reader)?),
            _ => Self::Other { experimenter, exp_type, body: reader.rest().to_vec() },
        })
    }
}

fn only_u32(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    reader.exactly(4, "20 with its headers")?;
    reader.u32()
}

fn only_u16(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    reader.exactly(8, "24 with its headers")?;
    reader.skip(6)?;
    reader.u16()
}
