//! Multicast groups and clone sessions (specification, "PacketReplicationEngineEntry").

use std::collections::{BTreeMap, BTreeSet};

use tonic::Code;

use super::arrays::unimplemented;
use super::plane::{Plane, Replica};
use super::refusal::{Behaviour, Outcome, Refusal};
use crate::types::PortNo;
use crate::wire::p4runtime::{canonical, v1};

/// From here on BMv2 keeps multicast groups for clone sessions.
const RESERVED_GROUPS: u32 = 1 << 15;
/// The session ids that BMv2 has.
const SESSIONS: std::ops::Range<u32> = 1..32_768;

#[derive(Clone, Debug, Default)]
pub(super) struct Replication {
    groups: BTreeMap<u32, v1::MulticastGroupEntry>,
    sessions: BTreeMap<u32, v1::CloneSessionEntry>,
}

impl Replication {
    pub(super) fn write(
        &mut self,
        plane: &mut Plane,
        update: v1::update::Type,
        entry: &v1::PacketReplicationEngineEntry,
        behaviour: Behaviour,
    ) -> Outcome {
        use v1::packet_replication_engine_entry::Type;
        match &entry.r#type {
            Some(Type::MulticastGroupEntry(group)) => self.write_group(plane, update, group, behaviour),
            Some(Type::CloneSessionEntry(session)) => self.write_session(plane, update, session, behaviour),
            None => Err(Refusal::invalid("Invalid PRE operation")),
        }
    }

    fn write_group(
        &mut self,
        plane: &mut Plane,
        update: v1::update::Type,
        group: &v1::MulticastGroupEntry,
        behaviour: Behaviour,
    ) -> Outcome {
        let id = group.multicast_group_id;
        let number = group_number(id)?;
        let is_there = self.groups.contains_key(&id);
        match update {
            v1::update::Type::Unspecified => return Err(Refusal::invalid("Update type is not set")),
            v1::update::Type::Insert if is_there => {
                return Err(Refusal::new(Code::AlreadyExists, "Multicast group already exists"));
            }
            v1::update::Type::Insert => {}
            _ if !is_there => return Err(Refusal::not_found("Multicast group does not exist")),
            v1::update::Type::Modify => {}
            v1::update::Type::Delete => {
                plane.set_multicast(number, None);
                self.groups.remove(&id);
                return Ok(());
            }
        }
        let replicas = read_replicas(&group.replicas, behaviour)?;
        plane.set_multicast(number, Some(&replicas));
        let mut kept = group.clone();
        if behaviour == Behaviour::Bmv2 {
            settle(&mut kept.replicas);
            kept.metadata.clear();
        }
        self.groups.insert(id, kept);
        Ok(())
    }

    fn write_session(
        &mut self,
        plane: &mut Plane,
        update: v1::update::Type,
        session: &v1::CloneSessionEntry,
        behaviour: Behaviour,
    ) -> Outcome {
        let id = session.session_id;
        if id == 0 {
            return Err(Refusal::invalid("0 is not a valid session id"));
        }
        let number = u16::try_from(id).ok().filter(|_| SESSIONS.contains(&id));
        let number = number.ok_or_else(|| Refusal::invalid("Clone session id out-of-range"))?;
        let is_there = self.sessions.contains_key(&id);
        match update {
            v1::update::Type::Unspecified => return Err(Refusal::invalid("Update type is not set")),
            v1::update::Type::Insert if is_there => {
                return Err(Refusal::new(Code::AlreadyExists, "Clone session id already exists"));
            }
            v1::update::Type::Insert => {}
            _ if !is_there => return Err(Refusal::not_found("Clone session id does not exist")),
            v1::update::Type::Modify => {}
            v1::update::Type::Delete => {
                plane.set_clone(number, None, 0);
                self.sessions.remove(&id);
                return Ok(());
            }
        }
        let replicas = read_replicas(&session.replicas, behaviour)?;
        if behaviour == Behaviour::Bmv2 {
            check_session(session)?;
        }
        let length = u32::try_from(session.packet_length_bytes);
        let length = length.map_err(|_| Refusal::invalid("expected a packet_length_bytes of 0 or more"))?;
        plane.set_clone(number, Some(replicas), length);
        let mut kept = session.clone();
        if behaviour == Behaviour::Bmv2 {
            settle(&mut kept.replicas);
        }
        self.sessions.insert(id, kept);
        Ok(())
    }

    pub(super) fn read(
        &self,
        entry: &v1::PacketReplicationEngineEntry,
        out: &mut Vec<v1::PacketReplicationEngineEntry>,
    ) -> Outcome {
        use v1::packet_replication_engine_entry::Type;
        let push = |out: &mut Vec<_>, entry| out.push(v1::PacketReplicationEngineEntry { r#type: Some(entry) });
        match &entry.r#type {
            Some(Type::MulticastGroupEntry(wanted)) => {
                let id = wanted.multicast_group_id;
                if id >= RESERVED_GROUPS {
                    return Err(Refusal::new(Code::OutOfRange, "Group id value is too high"));
                }
                if id != 0 && !self.groups.contains_key(&id) {
                    return Err(Refusal::not_found("Multicast group does not exist"));
                }
                let chosen = self.groups.values().filter(|group| id == 0 || group.multicast_group_id == id);
                chosen.for_each(|group| push(out, Type::MulticastGroupEntry(group.clone())));
            }
            Some(Type::CloneSessionEntry(wanted)) => {
                let id = wanted.session_id;
                if id != 0 && !self.sessions.contains_key(&id) {
                    return Err(Refusal::not_found("Clone session id does not exist"));
                }
                let chosen = self.sessions.values().filter(|session| id == 0 || session.session_id == id);
                chosen.for_each(|session| push(out, Type::CloneSessionEntry(session.clone())));
            }
            None => return Err(Refusal::invalid("Invalid PRE operation")),
        }
        Ok(())
    }
}

fn group_number(id: u32) -> Outcome<u16> {
    match u16::try_from(id) {
        Ok(0) => Err(Refusal::invalid("0 is not a valid group id")),
        Ok(number) if id < RESERVED_GROUPS => Ok(number),
        _ => Err(Refusal::new(Code::OutOfRange, "Group id value is too high")),
    }
}

/// What BMv2 cannot do with clones.
fn check_session(session: &v1::CloneSessionEntry) -> Outcome {
    if session.class_of_service != 0 {
        return Err(unimplemented("COS for clone sessions not supported yet"));
    }
    if session.packet_length_bytes != 0 {
        return Err(Refusal::new(Code::Unknown, "Error when creating clone session in target"));
    }
    Ok(())
}

fn read_replicas(replicas: &[v1::Replica], behaviour: Behaviour) -> Outcome<Vec<Replica>> {
    use v1::replica::PortKind;
    let mut seen = BTreeSet::new();
    let mut read = Vec::new();
    for replica in replicas {
        if !replica.backup_replicas.is_empty() && behaviour == Behaviour::Specification {
            return Err(unimplemented("Backup replicas are not supported"));
        }
        let port = match &replica.port_kind {
            Some(PortKind::EgressPort(port)) => PortNo(*port),
            Some(PortKind::Port(bytes)) => port_number(bytes)?,
            None => return Err(Refusal::invalid("Missing port in multicast group replica")),
        };
        if !seen.insert((replica.instance, port)) {
            return Err(Refusal::invalid("Duplicate replica in multicast group"));
        }
        let instance = u16::try_from(replica.instance);
        let instance = instance.map_err(|_| Refusal::invalid("expected a replica instance of 16 bits"))?;
        read.push(Replica { port, instance });
    }
    Ok(read)
}

fn port_number(bytes: &[u8]) -> Outcome<PortNo> {
    if bytes.is_empty() {
        return Err(Refusal::invalid("Port must not be the empty string"));
    }
    if bytes.len() > 4 {
        return Err(unimplemented(&format!("Got port of {} bytes, but only 4 bytes are supported", bytes.len())));
    }
    let port = canonical::decode(bytes, 32).ok().and_then(|value| u32::try_from(value).ok());
    match port.filter(|port| (1..=i32::MAX.unsigned_abs()).contains(port)) {
        Some(port) => Ok(PortNo(port)),
        None => Err(Refusal::invalid("Port must be non-negative.")),
    }
}

/// BMv2 answers with the instances newest first, and the ports of each in order.
fn settle(replicas: &mut [v1::Replica]) {
    use v1::replica::PortKind;
    let port = |replica: &v1::Replica| match &replica.port_kind {
        None => (0, 0),
        Some(PortKind::EgressPort(port)) => (1, u128::from(*port)),
        Some(PortKind::Port(bytes)) => (2, canonical::decode(bytes, 32).unwrap_or(0)),
    };
    for replica in replicas.iter_mut() {
        replica.backup_replicas.clear();
    }
    let mut instances = Vec::new();
    for replica in replicas.iter() {
        if !instances.contains(&replica.instance) {
            instances.push(replica.instance);
        }
    }
    let age = |replica: &v1::Replica| instances.iter().rposition(|instance| *instance == replica.instance);
    replicas.sort_by_key(|replica| (std::cmp::Reverse(age(replica)), port(replica)));
}
