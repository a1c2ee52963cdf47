//! The smaller of Nicira's actions: each a fixed body, or a fixed body and a list of numbers.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::BufMut;

use super::buffer::Reader;
use super::field::put_header;
use super::nicira::{pack, put_packed_subfield, read_field, read_short_field, unpack};
use super::{Action, DecodeError, EncodeError, MatchField, Subfield};

/// `NXAST_BUNDLE` and, with a target, `NXAST_BUNDLE_LOAD`: a hash of the packet chooses one of several links, which the
/// packet goes out by, or whose number is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinkBundleAction {
    /// 0 is active-backup, 1 highest random weight.
    pub algorithm: u16,
    /// See [`super::hash_fields`].
    pub fields: u16,
    pub basis: u16,
    /// What links are numbers of: Nicira's header of `in_port`, 0x0000_0002.
    pub link_type: u32,
    pub links: Vec<u16>,
    pub target: Option<Subfield>,
}

/// `NXAST_SAMPLE`: one of 65,536 / `probability` packets is told to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleAction {
    pub probability: u16,
    pub collector_set_id: u32,
    pub observation_domain_id: u32,
    pub observation_point_id: u32,
}

/// `NXAST_NAT`, inside a `ct`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NatAction {
    /// Bit 0 source, bit 1 destination, bit 2 persistent, bit 3 by hash, bit 4 random.
    pub flags: u16,
    pub ipv4_min: Option<Ipv4Addr>,
    pub ipv4_max: Option<Ipv4Addr>,
    pub ipv6_min: Option<Ipv6Addr>,
    pub ipv6_max: Option<Ipv6Addr>,
    pub port_min: Option<u16>,
    pub port_max: Option<u16>,
}

// Bodies behind the header of nicira.rs, field headers written as there:
//    2 set tunnel     zeros (16), tunnel (32)
//    8 note           bytes to the end, zeros included
//    9 set tunnel     zeros (48), tunnel (64)
//   12 bundle         algorithm (16), fields (16), basis (16), link type (32), number of links (16), zeros (48), zeros (32),
//                     links (16 each)
//   13 bundle load    as 12 with offset (10), n_bits less one (6), target H for the first zeros
//   17 exit           zeros (48)
//   20 controller     max_len (16), controller (16), reason (8), zeros (8)
//   21 dec ttl        number of controllers (16), zeros (32), controllers (16 each)
//   29 sample         probability (16), collector set (32), observation domain (32), observation point (32)
//   32 output         offset (10), n_bits less one (6), max_len (16), source H*
//   33 load           one match field
//   34 conjunction    clause (8), clauses (8), id (32)
//   36 nat            zeros (16), flags (16), bits of what follows (16), IPv4 min and max, IPv6 min and max, port min and max
//   39 output         port (16), max_len (32)
//   43 ct clear       zeros (48)

const SET_TUNNEL: u16 = 2;
const NOTE: u16 = 8;
const SET_TUNNEL64: u16 = 9;
const BUNDLE: u16 = 12;
const BUNDLE_LOAD: u16 = 13;
const EXIT: u16 = 17;
const CONTROLLER: u16 = 20;
const DEC_TTL_CNT_IDS: u16 = 21;
const SAMPLE: u16 = 29;
const OUTPUT_REG2: u16 = 32;
const REG_LOAD2: u16 = 33;
const CONJUNCTION: u16 = 34;
const NAT: u16 = 36;
const OUTPUT_TRUNC: u16 = 39;
const CT_CLEAR: u16 = 43;

/// Appends subtype and body of one of these actions, without padding; other actions add nothing.
pub(super) fn encode_body(action: &Action, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match action {
        Action::SetTunnel(tunnel) => {
            out.put_u16(SET_TUNNEL);
            out.put_u16(0);
            out.put_u32(*tunnel);
        }
        Action::SetTunnel64(tunnel) => {
            out.put_u16(SET_TUNNEL64);
            out.put_bytes(0, 6);
            out.put_u64(*tunnel);
        }
        Action::Note(note) => {
            out.put_u16(NOTE);
            out.extend_from_slice(note);
        }
        Action::LinkBundle(bundle) => {
            out.put_u16(if bundle.target.is_some() { BUNDLE_LOAD } else { BUNDLE });
            return bundle.encode(out);
        }
        Action::Exit => out.put_u16(EXIT),
        Action::CtClear => out.put_u16(CT_CLEAR),
        Action::Controller { max_len, controller_id, reason } => {
            out.put_u16(CONTROLLER);
            out.put_u16(*max_len);
            out.put_u16(*controller_id);
            out.put_u8(*reason);
        }
        Action::DecTtlFor(controllers) => {
            out.put_u16(DEC_TTL_CNT_IDS);
            out.put_u16(count(controllers)?);
            out.put_u32(0);
            controllers.iter().for_each(|id| out.put_u16(*id));
        }
        Action::Sample(sample) => {
            out.put_u16(SAMPLE);
            out.put_u16(sample.probability);
            out.put_u32(sample.collector_set_id);
            out.put_u32(sample.observation_domain_id);
            out.put_u32(sample.observation_point_id);
        }
        Action::OutputReg2 { source, max_len } => {
            out.put_u16(OUTPUT_REG2);
            out.put_u16(pack(*source)?);
            out.put_u16(*max_len);
            return put_header(out, source.field, false);
        }
        Action::RegLoad2(field) => {
            out.put_u16(REG_LOAD2);
            return field.encode(out);
        }
        Action::Conjunction { clause, n_clauses, id } => {
            out.put_u16(CONJUNCTION);
            out.put_u8(*clause);
            out.put_u8(*n_clauses);
            out.put_u32(*id);
        }
        Action::Nat(nat) => {
            out.put_u16(NAT);
            nat.encode(out);
        }
        Action::OutputTrunc { port, max_len } => {
            out.put_u16(OUTPUT_TRUNC);
            out.put_u16(*port);
            out.put_u32(*max_len);
        }
        _ => {}
    }
    Ok(())
}

fn count(list: &[u16]) -> Result<u16, EncodeError> {
    let max = usize::from(u16::MAX);
    u16::try_from(list.len()).map_err(|_| EncodeError::TooLong { what: super::nicira::ACTION, length: list.len(), max })
}

/// Numbers and what pads them; `None` where more follows than padding.
fn numbers(body: &mut Reader<'_>, count: usize) -> Result<Option<Vec<u16>>, DecodeError> {
    body.need(count * 2)?;
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(body.u16()?);
    }
    Ok((body.len() < 8).then_some(list))
}

/// Reads the body of one of these actions. `None`: not one of them, or in a form that the values cannot say.
pub(super) fn decode(subtype: u16, body: &mut Reader<'_>) -> Result<Option<Action>, DecodeError> {
    match subtype {
        SET_TUNNEL | EXIT | CONTROLLER | CONJUNCTION | OUTPUT_TRUNC | CT_CLEAR => {
            body.exactly(6, "16 with its header")?;
        }
        SET_TUNNEL64 | SAMPLE => body.exactly(14, "24 with its header")?,
        BUNDLE | BUNDLE_LOAD => body.need(22)?,
        _ => body.need(6)?,
    }
    Ok(Some(match subtype {
        SET_TUNNEL => {
            body.skip(2)?;
            Action::SetTunnel(body.u32()?)
        }
        SET_TUNNEL64 => {
            body.skip(6)?;
            Action::SetTunnel64(body.u64()?)
        }
        NOTE => Action::Note(body.rest().to_vec()),
        BUNDLE | BUNDLE_LOAD => return LinkBundleAction::decode(body, subtype == BUNDLE_LOAD),
        EXIT => Action::Exit,
        CT_CLEAR => Action::CtClear,
        CONTROLLER => Action::Controller { max_len: body.u16()?, controller_id: body.u16()?, reason: body.u8()? },
        DEC_TTL_CNT_IDS => {
            let count = usize::from(body.u16()?);
            body.skip(4)?;
            return Ok(numbers(body, count)?.map(Action::DecTtlFor));
        }
        SAMPLE => Action::Sample(SampleAction {
            probability: body.u16()?,
            collector_set_id: body.u32()?,
            observation_domain_id: body.u32()?,
            observation_point_id: body.u32()?,
        }),
        OUTPUT_REG2 => {
            let (packed, max_len) = (body.u16()?, body.u16()?);
            let Some(field) = read_field(body)? else { return Ok(None) };
            if body.len() >= 8 {
                return Ok(None);
            }
            Action::OutputReg2 { source: unpack(packed, field), max_len }
        }
        REG_LOAD2 => match MatchField::decode(body)? {
            Some(field) if body.len() < 8 => Action::RegLoad2(field),
            _ => return Ok(None),
        },
        CONJUNCTION => Action::Conjunction { clause: body.u8()?, n_clauses: body.u8()?, id: body.u32()? },
        NAT => return Ok(NatAction::decode(body)?.map(Action::Nat)),
        OUTPUT_TRUNC => Action::OutputTrunc { port: body.u16()?, max_len: body.u32()? },
        _ => return Ok(None),
    }))
}

impl LinkBundleAction {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.put_u16(self.algorithm);
        out.put_u16(self.fields);
        out.put_u16(self.basis);
        out.put_u32(self.link_type);
        out.put_u16(count(&self.links)?);
        match self.target {
            Some(target) => put_packed_subfield(out, target)?,
            None => out.put_bytes(0, 6),
        }
        out.put_u32(0);
        self.links.iter().for_each(|link| out.put_u16(*link));
        Ok(())
    }

    fn decode(body: &mut Reader<'_>, loads: bool) -> Result<Option<Action>, DecodeError> {
        let (algorithm, fields, basis) = (body.u16()?, body.u16()?, body.u16()?);
        let link_type = body.u32()?;
        let count = usize::from(body.u16()?);
        let target = if loads {
            let packed = body.u16()?;
            let Some(field) = read_short_field(body)? else { return Ok(None) };
            Some(unpack(packed, field))
        } else {
            body.skip(6)?;
            None
        };
        body.skip(4)?;
        let Some(links) = numbers(body, count)? else { return Ok(None) };
        Ok(Some(Action::LinkBundle(Box::new(Self { algorithm, fields, basis, link_type, links, target }))))
    }
}

/// Bits that say which parts of a range follow.
mod range {
    pub(super) const IPV4_MIN: u16 = 1;
    pub(super) const IPV4_MAX: u16 = 2;
    pub(super) const IPV6_MIN: u16 = 4;
    pub(super) const IPV6_MAX: u16 = 8;
    pub(super) const PORT_MIN: u16 = 16;
    pub(super) const PORT_MAX: u16 = 32;
    pub(super) const ALL: u16 = 63;
}

impl NatAction {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(0);
        out.put_u16(self.flags);
        let bit = |is_there: bool, bit: u16| if is_there { bit } else { 0 };
        out.put_u16(
            bit(self.ipv4_min.is_some(), range::IPV4_MIN)
                | bit(self.ipv4_max.is_some(), range::IPV4_MAX)
                | bit(self.ipv6_min.is_some(), range::IPV6_MIN)
                | bit(self.ipv6_max.is_some(), range::IPV6_MAX)
                | bit(self.port_min.is_some(), range::PORT_MIN)
                | bit(self.port_max.is_some(), range::PORT_MAX),
        );
        for address in [self.ipv4_min, self.ipv4_max].into_iter().flatten() {
            out.extend_from_slice(&address.octets());
        }
        for address in [self.ipv6_min, self.ipv6_max].into_iter().flatten() {
            out.extend_from_slice(&address.octets());
        }
        for port in [self.port_min, self.port_max].into_iter().flatten() {
            out.put_u16(port);
        }
    }

    fn decode(body: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        body.skip(2)?;
        let (flags, present) = (body.u16()?, body.u16()?);
        if present & !range::ALL != 0 {
            return Ok(None);
        }
        fn part<T>(
            body: &mut Reader<'_>,
            is_there: bool,
            read: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
        ) -> Result<Option<T>, DecodeError> {
            if is_there { read(body).map(Some) } else { Ok(None) }
        }
        let ipv4 = |body: &mut Reader<'_>| body.u32().map(Ipv4Addr::from_bits);
        let ipv6 = |body: &mut Reader<'_>| body.value(16).map(Ipv6Addr::from_bits);
        let port = |body: &mut Reader<'_>| body.u16();
        let has = |bit| present & bit != 0;
        let nat = Self {
            flags,
            ipv4_min: part(body, has(range::IPV4_MIN), ipv4)?,
            ipv4_max: part(body, has(range::IPV4_MAX), ipv4)?,
            ipv6_min: part(body, has(range::IPV6_MIN), ipv6)?,
            ipv6_max: part(body, has(range::IPV6_MAX), ipv6)?,
            port_min: part(body, has(range::PORT_MIN), port)?,
            port_max: part(body, has(range::PORT_MAX), port)?,
        };
        Ok((body.len() < 8).then_some(nat))
    }
}
