//! A state as text, one entity a line, in the names of its P4Info: for people, and for tests that hold compiled
//! entities against a file.

use std::fmt::{self, Display, Formatter};

use crate::p4info::{Info, MatchKind};
use crate::southbound::p4runtime::P4State;
use crate::wire::p4runtime::canonical::decode;
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::action_profile_group::member::WatchKind;
use crate::wire::p4runtime::v1::entity::Entity as Kind;
use crate::wire::p4runtime::v1::field_match::FieldMatchType;
use crate::wire::p4runtime::v1::packet_replication_engine_entry::Type as Copies;
use crate::wire::p4runtime::v1::table_action::Type as Act;

/// Values wider than this are shown in hexadecimal digits.
const DECIMAL_BITS_MAX: u32 = 16;

/// Every entity, in the order of their keys.
#[derive(Clone, Copy, Debug)]
pub struct Text<'s>(pub &'s Info, pub &'s P4State);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(info, state) = self;
        for (_, entity) in state.iter() {
            match &entity.entity {
                Some(Kind::TableEntry(entry)) => writeln!(f, "{}", table_entry(info, entry))?,
                Some(Kind::ActionProfileMember(member)) => {
                    let called = member.action.as_ref().map(|action| call(info, action)).unwrap_or_default();
                    writeln!(f, "{} member {}: {called}", profile(info, member.action_profile_id), member.member_id)?;
                }
                Some(Kind::ActionProfileGroup(group)) => {
                    let members: Vec<String> = group.members.iter().map(group_member).collect();
                    let name = profile(info, group.action_profile_id);
                    writeln!(
                        f,
                        "{name} group {} (at most {}): {}",
                        group.group_id,
                        group.max_size,
                        members.join(", ")
                    )?;
                }
                Some(Kind::PacketReplicationEngineEntry(entry)) => writeln!(f, "{}", copies(entry))?,
                other => writeln!(f, "{other:?}")?,
            }
        }
        Ok(())
    }
}

fn profile(info: &Info, id: u32) -> String {
    info.profile_by_id(id).map_or_else(|| format!("profile {id}"), |profile| profile.name.clone())
}

fn group_member(member: &v1::action_profile_group::Member) -> String {
    let watch = match &member.watch_kind {
        Some(WatchKind::WatchPort(port)) => format!(" while port {} is up", number(port, 32)),
        Some(WatchKind::Watch(port)) => format!(" while port {port} is up"),
        None => String::new(),
    };
    format!("{} x {}{watch}", member.member_id, member.weight)
}

fn copies(entry: &v1::PacketReplicationEngineEntry) -> String {
    let (what, replicas) = match &entry.r#type {
        Some(Copies::CloneSessionEntry(session)) => {
            (format!("clone session {}", session.session_id), &session.replicas)
        }
        Some(Copies::MulticastGroupEntry(group)) => {
            (format!("multicast group {}", group.multicast_group_id), &group.replicas)
        }
        None => return "nothing".to_owned(),
    };
    let port = |replica: &v1::Replica| match &replica.port_kind {
        Some(v1::replica::PortKind::Port(port)) => number(port, 32),
        Some(v1::replica::PortKind::EgressPort(port)) => port.to_string(),
        None => "none".to_owned(),
    };
    format!("{what}: to port {}", replicas.iter().map(port).collect::<Vec<_>>().join(", "))
}

fn table_entry(info: &Info, entry: &v1::TableEntry) -> String {
    let Some(table) = info.table_by_id(entry.table_id) else { return format!("table {}", entry.table_id) };
    let mut text = table.name.clone();
    if entry.is_default_action {
        text += " default";
    }
    for field in &entry.r#match {
        let Some(known) = table.fields.by_id(field.field_id) else { continue };
        let value = field.field_match_type.as_ref().map(|value| match_value(value, known.width_bits, &known.kind));
        text += &format!(" {}={}", known.name, value.unwrap_or_default());
    }
    if entry.priority != 0 {
        text += &format!(" priority {}", entry.priority);
    }
    let action = match entry.action.as_ref().and_then(|action| action.r#type.as_ref()) {
        Some(Act::Action(action)) => call(info, action),
        Some(Act::ActionProfileMemberId(member)) => format!("member {member}"),
        Some(Act::ActionProfileGroupId(group)) => format!("group {group}"),
        Some(Act::ActionProfileActionSet(set)) => {
            let one = |one: &v1::ActionProfileAction| {
                let called = one.action.as_ref().map(|action| call(info, action)).unwrap_or_default();
                let watch = match &one.watch_kind {
                    Some(v1::action_profile_action::WatchKind::WatchPort(port)) => {
                        format!(" while port {} is up", number(port, 32))
                    }
                    _ => String::new(),
                };
                format!("{called} x {}{watch}", one.weight)
            };
            set.action_profile_actions.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        None => "nothing".to_owned(),
    };
    format!("{text}: {action}")
}

fn match_value(value: &FieldMatchType, width_bits: u32, kind: &MatchKind) -> String {
    match value {
        FieldMatchType::Exact(exact) => number(&exact.value, width_bits),
        FieldMatchType::Optional(optional) => number(&optional.value, width_bits),
        FieldMatchType::Lpm(lpm) => {
            let address = decode(&lpm.value, 32).ok().and_then(|value| u32::try_from(value).ok());
            match address {
                Some(address) if width_bits == 32 => {
                    format!("{}/{}", std::net::Ipv4Addr::from_bits(address), lpm.prefix_len)
                }
                _ => format!("{}/{}", number(&lpm.value, width_bits), lpm.prefix_len),
            }
        }
        FieldMatchType::Ternary(ternary) => {
            format!("{}&{}", number(&ternary.value, width_bits), number(&ternary.mask, u32::MAX))
        }
        FieldMatchType::Range(range) => {
            format!("{}..{}", number(&range.low, width_bits), number(&range.high, width_bits))
        }
        FieldMatchType::Other(_) => format!("{kind:?}"),
    }
}

fn call(info: &Info, called: &v1::Action) -> String {
    let Some(action) = info.action_by_id(called.action_id) else { return format!("action {}", called.action_id) };
    let params = called.params.iter().map(|param| {
        let known = action.params.by_id(param.param_id);
        let (name, width) = known.map_or(("?", 128), |known| (known.name.as_str(), known.width_bits));
        format!("{name}={}", number(&param.value, width))
    });
    format!("{}({})", action.alias, params.collect::<Vec<_>>().join(", "))
}

fn number(bytes: &[u8], width_bits: u32) -> String {
    match decode(bytes, 128) {
        Ok(value) if width_bits == 48 => u64::try_from(value)
            .map_or_else(|_| value.to_string(), |mac| crate::types::MacAddr::from_u64(mac).to_string()),
        Ok(value) if width_bits > DECIMAL_BITS_MAX && width_bits != 32 => format!("{value:#x}"),
        Ok(value) => value.to_string(),
        Err(_) => format!("{bytes:?}"),
    }
}
