//! Reads and answers: wildcards for everything that may be ours, and the numbers in what a switch holds.

use std::collections::BTreeMap;

use crate::p4info::mapping::{Mapping, Part, Place};
use crate::wire::p4runtime::canonical::decode;
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::entity::Entity as Kind;
use crate::wire::p4runtime::v1::field_match::FieldMatchType;
use crate::wire::p4runtime::v1::packet_replication_engine_entry::Type as Copies;

/// Everything that may be ours, table by table: BMv2 takes no wildcard over all of them. Profiles that are filled by
/// one-shot action sets have no members or groups to read.
pub(super) fn read_back(mapping: &Mapping, one_shot: bool) -> Vec<v1::Entity> {
    let mut reads = Vec::new();
    for spec in mapping.form.parts() {
        let Some(part) = mapping.part(spec.name) else { continue };
        let table = |is_default_action: bool| {
            Kind::TableEntry(v1::TableEntry { table_id: part.id, is_default_action, ..Default::default() })
        };
        if spec.place != Place::Default {
            reads.push(table(false));
        }
        if spec.place != Place::Entries {
            reads.push(table(true));
        }
        if let Some(selector) = part.selector.as_ref().filter(|_| !one_shot) {
            let action_profile_id = selector.id;
            let member = v1::ActionProfileMember { action_profile_id, ..Default::default() };
            let group = v1::ActionProfileGroup { action_profile_id, ..Default::default() };
            reads.extend([Kind::ActionProfileMember(member), Kind::ActionProfileGroup(group)]);
        }
    }
    if mapping.cpu_session.is_some() {
        let all = Copies::CloneSessionEntry(v1::CloneSessionEntry::default());
        reads.push(Kind::PacketReplicationEngineEntry(v1::PacketReplicationEngineEntry { r#type: Some(all) }));
    }
    reads.into_iter().map(|kind| v1::Entity { entity: Some(kind) }).collect()
}

/// The values of an entry's key, by the part's names; prefixes are left out.
pub(super) fn key_values(part: &Part, entry: &v1::TableEntry) -> BTreeMap<&'static str, u128> {
    let value = |id: u32| {
        let field = entry.r#match.iter().find(|field| field.field_id == id)?;
        let bytes = match field.field_match_type.as_ref()? {
            FieldMatchType::Exact(exact) => &exact.value,
            FieldMatchType::Ternary(ternary) => &ternary.value,
            FieldMatchType::Optional(optional) => &optional.value,
            FieldMatchType::Lpm(_) | FieldMatchType::Range(_) | FieldMatchType::Other(_) => return None,
        };
        decode(bytes, 128).ok()
    };
    part.keys.iter().filter_map(|(name, key)| Some((*name, value(key.field.id)?))).collect()
}

/// The value of an action's parameter, if it is that action.
pub(super) fn param(part: &Part, action: &str, name: &str, called: &v1::Action) -> Option<u128> {
    let action = part.actions.get(action).filter(|action| action.id == called.action_id)?;
    let id = action.params.get(name)?.id;
    decode(&called.params.iter().find(|param| param.param_id == id)?.value, 128).ok()
}
