//! A program's P4Info, checked and by name: ids, widths and references for what writes and reads entities.

mod check;
mod entities;
pub mod mapping;
mod names;
#[cfg(test)]
mod tests;
mod types;

pub use entities::{
    Action, Call, Counter, CounterUnit, Digest, MatchField, MatchKind, Meter, MeterType, MeterUnit, PacketHeader,
    Parameter, Profile, Register, Scope, SizeSemantics, Table, ValueSet,
};
pub use names::{Entity, Kind, UnknownName, nearest};

use crate::wire::p4runtime::config::P4Info;

/// A P4Info in which every id is one entity's and every reference leads to one.
///
/// By name is by full name (`ingress.routes`) or by an alias that no other entity of the kind has (`routes`).
#[derive(Clone, Debug)]
pub struct Info {
    source: P4Info,
    tables: Kind<Table>,
    actions: Kind<Action>,
    profiles: Kind<Profile>,
    counters: Kind<Counter>,
    direct_counters: Kind<Counter>,
    meters: Kind<Meter>,
    direct_meters: Kind<Meter>,
    registers: Kind<Register>,
    digests: Kind<Digest>,
    value_sets: Kind<ValueSet>,
    packet_headers: Kind<PacketHeader>,
}

macro_rules! lookups {
    ($($one:ident $by_id:ident $all:ident: $kind:ident),* $(,)?) => {$(
        #[doc = concat!("By full name or unique alias; see also [`Self::", stringify!($all), "`].")]
        pub fn $one(&self, name: &str) -> Result<&$kind, UnknownName> {
            self.$all.get(name)
        }

        pub fn $by_id(&self, id: u32) -> Option<&$kind> {
            self.$all.by_id(id)
        }

        pub fn $all(&self) -> &Kind<$kind> {
            &self.$all
        }
    )*};
}

impl Info {
    /// Checks a P4Info; every problem names the entity it is in.
    pub fn new(source: P4Info) -> Result<Self, Vec<String>> {
        check::info(source)
    }

    /// What it was made from.
    pub fn source(&self) -> &P4Info {
        &self.source
    }

    lookups! {
        table table_by_id tables: Table,
        action action_by_id actions: Action,
        profile profile_by_id profiles: Profile,
        counter counter_by_id counters: Counter,
        direct_counter direct_counter_by_id direct_counters: Counter,
        meter meter_by_id meters: Meter,
        direct_meter direct_meter_by_id direct_meters: Meter,
        register register_by_id registers: Register,
        digest digest_by_id digests: Digest,
        value_set value_set_by_id value_sets: ValueSet,
    }

    /// The fields beside packets from the switch, if it sends any.
    pub fn packet_in(&self) -> Option<&PacketHeader> {
        self.packet_headers.get("packet_in").ok()
    }

    /// The fields beside packets to the switch, if it takes any.
    pub fn packet_out(&self) -> Option<&PacketHeader> {
        self.packet_headers.get("packet_out").ok()
    }
}
