//! Messages that set a session up and keep it: HELLO, ERROR, FEATURES, CONFIG, ROLE, ASYNC.

use bytes::BufMut;

use super::buffer::{Reader, fill_length, pad_to_8};
use super::{DecodeError, EncodeError, error_type};

/// `ofp_hello`: `versions` has bit n set for wire version n; `None` where the peer sent no bitmap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    pub versions: Option<u64>,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+-------------------------------+
//    |            type = 1           |             length            |
//    +-------------------------------+-------------------------------+
//    |                        versions 31 to 0                       |
//    +---------------------------------------------------------------+
//    |                   versions 63 to 32, if any                   |
//    +---------------------------------------------------------------+

const HELLO: &str = "HELLO";
const VERSION_BITMAP: u16 = 1;
const ELEMENT_HEADER_BYTES: usize = 4;

impl Hello {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let Some(versions) = self.versions else { return Ok(()) };
        let start = out.len();
        let (high, low) = ((versions >> 32) as u32, versions as u32);
        out.put_u16(VERSION_BITMAP);
        out.put_u16(0);
        out.put_u32(low);
        if high != 0 {
            out.put_u32(high);
        }
        fill_length(out, HELLO, start + 2, start)?;
        pad_to_8(out, start);
        Ok(())
    }

    /// Elements of other types are skipped, as the specification asks; `versions` beyond 63 are not looked at.
    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let mut hello = Self::default();
        while !reader.is_empty() {
            let kind = reader.u16()?;
            let length = usize::from(reader.u16()?);
            let Some(body_length) = length.checked_sub(ELEMENT_HEADER_BYTES) else {
                return Err(DecodeError::Length { what: HELLO, expected: "at least 4 for an element", came: length });
            };
            let mut body = Reader::new(HELLO, reader.take(body_length)?);
            // The padding of the last element may be missing.
            reader.skip((length.next_multiple_of(8) - length).min(reader.len()))?;
            if kind == VERSION_BITMAP && hello.versions.is_none() {
                let mut word = |shift: u32| match body.len() {
                    0..4 => Ok(0),
                    _ => body.u32().map(|word| u64::from(word) << shift),
                };
                hello.versions = Some(word(0)? | word(32)?);
            }
        }
        Ok(hello)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorMessage {
    pub error_type: u16,
    pub code: u16,
    /// At least 64 bytes of the refused message; in an experimenter's error its id comes first.
    pub data: Vec<u8>,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+-------------------------------+
//    |              type             |              code             |
//    +-------------------------------+-------------------------------+
//    |                            data ...                           |
//    +---------------------------------------------------------------+
//
// With type 0xffff the code is the experimenter's own, and data is its id (32) and then the data.

impl ErrorMessage {
    /// Whose error it is where the type is `OFPET_EXPERIMENTER`, and the data behind that id.
    pub fn experimenter(&self) -> Option<(u32, &[u8])> {
        let (id, data) = self.data.split_first_chunk()?;
        (self.error_type == error_type::EXPERIMENTER).then(|| (u32::from_be_bytes(*id), data))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.error_type);
        out.put_u16(self.code);
        out.extend_from_slice(&self.data);
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(4)?;
        Ok(Self { error_type: reader.u16()?, code: reader.u16()?, data: reader.rest().to_vec() })
    }
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

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                          datapath id                          |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+
//    |                           n_buffers                           |
//    +---------------+---------------+-------------------------------+
//    |    n_tables   |  auxiliary id |             zeros             |
//    +---------------+---------------+-------------------------------+
//    |                          capabilities                         |
//    +---------------------------------------------------------------+
//    |                            reserved                           |
//    +---------------------------------------------------------------+

impl Features {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.datapath_id);
        out.put_u32(self.n_buffers);
        out.put_u8(self.n_tables);
        out.put_u8(self.auxiliary_id);
        out.put_u16(0);
        out.put_u32(self.capabilities);
        out.put_u32(self.reserved);
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.exactly(24, "32 with its header")?;
        Ok(Self {
            datapath_id: reader.u64()?,
            n_buffers: reader.u32()?,
            n_tables: reader.u8()?,
            auxiliary_id: reader.u8()?,
            capabilities: {
                reader.skip(2)?;
                reader.u32()?
            },
            reserved: reader.u32()?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    pub flags: u16,
    pub miss_send_len: u16,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+-------------------------------+
//    |             flags             |         miss_send_len         |
//    +-------------------------------+-------------------------------+

impl SwitchConfig {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.flags);
        out.put_u16(self.miss_send_len);
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.exactly(4, "12 with its header")?;
        Ok(Self { flags: reader.u16()?, miss_send_len: reader.u16()? })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    pub role: u32,
    pub generation_id: u64,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                              role                             |
//    +---------------------------------------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                         generation id                         |
//    +---------------------------------------------------------------+
//    |                                                               |
//    +---------------------------------------------------------------+

impl Role {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.role);
        out.put_u32(0);
        out.put_u64(self.generation_id);
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.exactly(16, "24 with its header")?;
        let role = reader.u32()?;
        reader.skip(4)?;
        Ok(Self { role, generation_id: reader.u64()? })
    }
}

/// What a controller wants to be told unasked (section 7.3.10): bit n of a mask is reason n. The first of each pair is for
/// the roles master and equal, the second for slave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsyncConfig {
    pub packet_in: [u32; 2],
    pub port_status: [u32; 2],
    pub flow_removed: [u32; 2],
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |        packet-in mask of a master or equal, of a slave        |
//    +---------------------------------------------------------------+
//    |                    port-status masks (2 x 32)                 |
//    +---------------------------------------------------------------+
//    |                   flow-removed masks (2 x 32)                 |
//    +---------------------------------------------------------------+

impl AsyncConfig {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        for mask in [self.packet_in, self.port_status, self.flow_removed].concat() {
            out.put_u32(mask);
        }
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.exactly(24, "24 bytes of masks")?;
        let mut pair = || Ok([reader.u32()?, reader.u32()?]);
        Ok(Self { packet_in: pair()?, port_status: pair()?, flow_removed: pair()? })
    }
}
