//! What installation and its errors need of a P4Info: names of what has an id, and what belongs to what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::entities::{EntityKey, MatchKey};
use crate::wire::p4runtime::config::{P4Info, Preamble};

/// Names by ids. What a P4Info does not name is shown by its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    names: BTreeMap<u32, String>,
    /// Names of match fields by table and field id.
    fields: BTreeMap<(u32, u32), String>,
    /// Action profiles by the table they implement.
    profiles: BTreeMap<u32, u32>,
    /// Tables whose entries the program brings.
    fixed: BTreeSet<u32>,
    program: String,
}

impl Schema {
    pub fn new(info: &P4Info) -> Self {
        let mut schema = Self::default();
        for table in &info.tables {
            let Some(id) = schema.add(table.preamble.as_ref()) else { continue };
            for field in &table.match_fields {
                schema.fields.insert((id, field.id), field.name.clone());
            }
            if table.implementation_id != 0 {
                schema.profiles.insert(id, table.implementation_id);
            }
            if table.is_const_table {
                schema.fixed.insert(id);
            }
        }
        let profiles = info.action_profiles.iter().map(|profile| &profile.preamble);
        let meters = info.meters.iter().map(|meter| &meter.preamble);
        let registers = info.registers.iter().map(|register| &register.preamble);
        let sets = info.value_sets.iter().map(|set| &set.preamble);
        let digests = info.digests.iter().map(|digest| &digest.preamble);
        for preamble in profiles.chain(meters).chain(registers).chain(sets).chain(digests) {
            schema.add(preamble.as_ref());
        }
        if let Some(package) = &info.pkg_info {
            schema.program = [package.name.as_str(), package.version.as_str()].join(" ").trim().to_owned();
        }
        schema
    }

    fn add(&mut self, preamble: Option<&Preamble>) -> Option<u32> {
        let preamble = preamble?;
        self.names.insert(preamble.id, preamble.name.clone());
        Some(preamble.id)
    }

    /// Name and version of the program, as its P4Info says them.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The action profile whose members and groups the entries of a table refer to.
    pub fn profile_of(&self, table: u32) -> Option<u32> {
        self.profiles.get(&table).copied()
    }

    /// Entries of such a table are the program's own.
    pub fn is_fixed(&self, table: u32) -> bool {
        self.fixed.contains(&table)
    }

    fn name(&self, id: u32) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| format!("{id:#010x}"))
    }

    /// An entity in words: `entry destination=0a000001/32 of table fabric.routes`.
    pub fn describe(&self, key: &EntityKey) -> String {
        match key {
            EntityKey::Member { profile, member } => format!("member {member} of {}", self.name(*profile)),
            EntityKey::Group { profile, group } => format!("group {group} of {}", self.name(*profile)),
            EntityKey::Entry { table, matches, priority } => {
                let mut text = String::from("entry");
                for (field, matched) in matches {
                    let name = self.fields.get(&(*table, *field)).cloned().unwrap_or_else(|| field.to_string());
                    let _ = write!(text, " {name}={}", value(matched));
                }
                if *priority != 0 {
                    let _ = write!(text, " priority {priority}");
                }
                format!("{text} of table {}", self.name(*table))
            }
            EntityKey::Default { table } => format!("default action of table {}", self.name(*table)),
            EntityKey::Multicast { group } => format!("multicast group {group}"),
            EntityKey::Clone { session } => format!("clone session {session}"),
            EntityKey::Meter { meter, cell } => format!("cell {cell} of meter {}", self.name(*meter)),
            EntityKey::Register { register, cell } => format!("cell {cell} of register {}", self.name(*register)),
            EntityKey::ValueSet { value_set } => format!("value set {}", self.name(*value_set)),
            EntityKey::Digest { digest } => format!("digest {}", self.name(*digest)),
        }
    }
}

fn value(matched: &MatchKey) -> String {
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    match matched {
        MatchKey::Exact(value) | MatchKey::Optional(value) => hex(value),
        MatchKey::Ternary { value, mask } => format!("{}&{}", hex(value), hex(mask)),
        MatchKey::Lpm { value, bits } => format!("{}/{bits}", hex(value)),
        MatchKey::Range { low, high } => format!("{}..{}", hex(low), hex(high)),
    }
}
