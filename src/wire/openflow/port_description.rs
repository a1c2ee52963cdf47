//! Ports as a switch describes them, and PORT_STATUS.

use bytes::BufMut;

use super::DecodeError;
use super::buffer::{Reader, put_text};
use crate::types::{MacAddr, PortNo};

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

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                          port number                          |
//    +---------------------------------------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                        hardware address                       |
//    +-------------------------------+-------------------------------+
//    |                               |             zeros             |
//    +-------------------------------+-------------------------------+
//    |              name, 16 bytes, ended by a zero ...              |
//    +---------------------------------------------------------------+
//    |                             config                            |
//    +---------------------------------------------------------------+
//    |                             state                             |
//    +---------------------------------------------------------------+
//    |                        current features                       |
//    +---------------------------------------------------------------+
//    |                      advertised features                      |
//    +---------------------------------------------------------------+
//    |                       supported features                      |
//    +---------------------------------------------------------------+
//    |                      features of the peer                     |
//    +---------------------------------------------------------------+
//    |                     current speed, kbit/s                     |
//    +---------------------------------------------------------------+
//    |                     greatest speed, kbit/s                    |
//    +---------------------------------------------------------------+

/// Bytes of a port on the wire.
pub(super) const PORT_BYTES: usize = 64;
const NAME_BYTES: usize = 16;

impl PortDescription {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.port_no.0);
        out.put_u32(0);
        out.extend_from_slice(&self.hw_addr.0);
        out.put_u16(0);
        put_text(out, &self.name, NAME_BYTES);
        for word in [
            self.config,
            self.state,
            self.current,
            self.advertised,
            self.supported,
            self.peer,
            self.current_speed_kbps,
            self.max_speed_kbps,
        ] {
            out.put_u32(word);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(PORT_BYTES)?;
        let port_no = PortNo(reader.u32()?);
        reader.skip(4)?;
        let hw_addr = MacAddr(reader.mac()?);
        reader.skip(2)?;
        Ok(Self {
            port_no,
            hw_addr,
            name: reader.text(NAME_BYTES)?,
            config: reader.u32()?,
            state: reader.u32()?,
            current: reader.u32()?,
            advertised: reader.u32()?,
            supported: reader.u32()?,
            peer: reader.u32()?,
            current_speed_kbps: reader.u32()?,
            max_speed_kbps: reader.u32()?,
        })
    }
}

/// PORT_MOD: the bits of `mask` in a port's `config` become those of `config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMod {
    pub port_no: PortNo,
    /// Has to be the port's own.
    pub hw_addr: MacAddr,
    pub config: u32,
    pub mask: u32,
    /// Features to advertise, 0 for no change.
    pub advertise: u32,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------------------------------------------------------+
//    |                          port number                          |
//    +---------------------------------------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                        hardware address                       |
//    +-------------------------------+-------------------------------+
//    |                               |             zeros             |
//    +-------------------------------+-------------------------------+
//    |                             config                            |
//    +---------------------------------------------------------------+
//    |                              mask                             |
//    +---------------------------------------------------------------+
//    |                           advertise                           |
//    +---------------------------------------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+

impl PortMod {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.port_no.0);
        out.put_u32(0);
        out.extend_from_slice(&self.hw_addr.0);
        out.put_u16(0);
        out.put_u32(self.config);
        out.put_u32(self.mask);
        out.put_u32(self.advertise);
        out.put_u32(0);
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.exactly(32, "40 with its header")?;
        let port_no = PortNo(reader.u32()?);
        reader.skip(4)?;
        let hw_addr = MacAddr(reader.mac()?);
        reader.skip(2)?;
        Ok(Self { port_no, hw_addr, config: reader.u32()?, mask: reader.u32()?, advertise: reader.u32()? })
    }
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

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------+-----------------------------------------------+
//    |     reason    |                     zeros                     |
//    +---------------+-----------------------------------------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                            port ...                           |
//    +---------------------------------------------------------------+

impl PortStatus {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.reason);
        out.put_bytes(0, 7);
        self.port.encode(out);
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.exactly(8 + PORT_BYTES, "80 with its header")?;
        let reason = reader.u8()?;
        reader.skip(7)?;
        Ok(Self { reason, port: PortDescription::decode(&mut reader)? })
    }
}
