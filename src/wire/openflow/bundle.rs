//! ONF bundles for OpenFlow 1.3 (extension EXT-230): changes that take effect together or not at all.

use bytes::BufMut;

use super::buffer::Reader;
use super::{DecodeError, EncodeError, Frame, HEADER_BYTES};

/// `onf_bundle_ctrl_type`: every request has its reply at the next number.
pub mod bundle_control {
    pub const OPEN_REQUEST: u16 = 0;
    pub const OPEN_REPLY: u16 = 1;
    pub const CLOSE_REQUEST: u16 = 2;
    pub const CLOSE_REPLY: u16 = 3;
    pub const COMMIT_REQUEST: u16 = 4;
    pub const COMMIT_REPLY: u16 = 5;
    pub const DISCARD_REQUEST: u16 = 6;
    pub const DISCARD_REPLY: u16 = 7;
}

/// `onf_bundle_flags`.
pub mod bundle_flags {
    /// All or nothing, and no packet sees a part of it.
    pub const ATOMIC: u16 = 1;
    /// In the order in which they were added.
    pub const ORDERED: u16 = 2;
}

/// Opens, closes, commits or discards a bundle, or says that this was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleControl {
    pub bundle_id: u32,
    /// See [`bundle_control`].
    pub control: u16,
    pub flags: u16,
    /// As they came.
    pub properties: Vec<u8>,
}

impl BundleControl {
    /// Without properties.
    pub const fn new(bundle_id: u32, control: u16, flags: u16) -> Self {
        Self { bundle_id, control, flags, properties: Vec::new() }
    }
}

/// A message that becomes part of a bundle. Its transaction id has to be that of the frame around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleAdd {
    pub bundle_id: u32,
    pub flags: u16,
    pub message: Frame,
    /// What follows the message, padding included, as it came.
    pub properties: Vec<u8>,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                           bundle id                           |
//    +-------------------------------+-------------------------------+
//    |  control (in an add: zeros)   |             flags             |
//    +-------------------------------+-------------------------------+
//    |  in an add: one message ...                                   |
//    +---------------------------------------------------------------+
//    |  properties ...                                               |
//    +---------------------------------------------------------------+

pub(super) const BUNDLE_ADD: &str = "bundle's message";

impl BundleControl {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.bundle_id);
        out.put_u16(self.control);
        out.put_u16(self.flags);
        out.extend_from_slice(&self.properties);
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(8)?;
        Ok(Self {
            bundle_id: reader.u32()?,
            control: reader.u16()?,
            flags: reader.u16()?,
            properties: reader.rest().to_vec(),
        })
    }
}

impl BundleAdd {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u32(self.bundle_id);
        out.put_u16(0);
        out.put_u16(self.flags);
        if self.message.message.is_bundle_add() {
            return Err(EncodeError::Value { what: BUNDLE_ADD, expected: "anything but another add", came: 4 });
        }
        self.message.encode_into(out)?;
        out.extend_from_slice(&self.properties);
        Ok(())
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(8 + HEADER_BYTES)?;
        let bundle_id = reader.u32()?;
        reader.skip(2)?;
        let flags = reader.u16()?;
        let bytes = reader.structure(BUNDLE_ADD, 2, HEADER_BYTES, 1)?;
        Ok(Self { bundle_id, flags, message: Frame::decode_bundled(bytes)?, properties: reader.rest().to_vec() })
    }
}
