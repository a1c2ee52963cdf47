//! The data plane under the target: checked requests, by id, become calls of the machine, by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::key::{Bound, Call, Key};
use super::schema::{Schema, Table};
use crate::fabric::p4::machine::control::{self, CloneSession, ControlError, Counter, MeterConfig};
pub(super) use crate::fabric::p4::machine::control::{Replica, Seat};
use crate::fabric::p4::machine::{Emission, Machine, MachineSettings};
use crate::fabric::p4::program::Program;
use crate::types::{PortNo, Timestamp};
use crate::wire::p4runtime::v1;

/// Why the data plane does not take an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Rejected {
    #[error("the table is full")]
    Full,
    #[error("the entry is constant")]
    Constant,
    #[error("{0}")]
    Other(String),
}

impl From<ControlError> for Rejected {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Full { .. } => Self::Full,
            ControlError::Constant { .. } => Self::Constant,
            other => {
                // The checks before should have seen this: the P4Info and the program differ.
                tracing::warn!(error = %other, "the data plane refuses what fits the P4Info");
                Self::Other(other.to_string())
            }
        }
    }
}

type Placed = Result<(), Rejected>;

/// What the data plane says.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Frame { port: PortNo, bytes: Vec<u8> },
    Digest { name: Arc<str>, fields: Vec<u128> },
    Idle { table: Arc<str>, key: Key },
}

#[derive(Debug)]
pub(super) struct Plane {
    machine: Machine,
}

impl Plane {
    /// Loads a program compiled to BMv2's JSON.
    pub(super) fn load(
        program: &[u8],
        settings: MachineSettings,
        ports: &BTreeMap<PortNo, bool>,
    ) -> Result<Self, String> {
        let text =
            std::str::from_utf8(program).map_err(|_| "expected a program as JSON, came bytes that are no text")?;
        let program = Program::load(text).map_err(|error| error.to_string())?;
        let mut machine = Machine::new(Arc::new(program), settings);
        for (port, up) in ports {
            machine.set_port(*port, *up);
        }
        Ok(Self { machine })
    }

    /// The entries that the program brings; what is wrong if program and P4Info differ.
    pub(super) fn initial(&self, schema: &Schema, table: &Table) -> Result<Vec<(Key, Bound)>, String> {
        let entries = self.machine.entries(&table.name).map_err(|error| error.to_string())?;
        let read = |entry: control::Entry| match entry.bound {
            control::Bound::Call(call) => Some((entry.key, Bound::Call(by_id(schema, table, &call)?))),
            _ => None,
        };
        Ok(entries.into_iter().filter_map(read).collect())
    }

    pub(super) fn insert(
        &mut self,
        schema: &Schema,
        table: &Table,
        key: &Key,
        bound: &Bound,
        ttl_ns: u64,
        now: Timestamp,
    ) -> Placed {
        let bound = by_name(schema, bound)?;
        Ok(self.machine.insert(&table.name, key, &bound, ttl(ttl_ns), now)?)
    }

    pub(super) fn modify(
        &mut self,
        schema: &Schema,
        table: &Table,
        key: &Key,
        bound: &Bound,
        ttl_ns: u64,
        now: Timestamp,
    ) -> Placed {
        let bound = by_name(schema, bound)?;
        Ok(self.machine.modify(&table.name, key, &bound, ttl(ttl_ns), now)?)
    }

    pub(super) fn delete(&mut self, table: &Table, key: &Key) -> Placed {
        Ok(self.machine.delete(&table.name, key)?)
    }

    pub(super) fn set_default(&mut self, schema: &Schema, table: &Table, call: Option<&Call>) -> Placed {
        let call = call.map(|call| call_by_name(schema, call)).transpose()?;
        Ok(self.machine.set_default(&table.name, call.as_ref())?)
    }

    pub(super) fn default(&self, schema: &Schema, table: &Table) -> Option<Call> {
        let call = self.machine.default_call(&table.name).ok()??;
        by_id(schema, table, &call)
    }

    /// Nanoseconds since an entry was hit, inserted or modified.
    pub(super) fn since_hit(&self, table: &Table, key: &Key, now: Timestamp) -> u64 {
        let last = self.machine.entry(&table.name, key).map_or(now, |entry| entry.last_hit);
        u64::try_from(now.since(last).as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn direct_counter(&self, table: &Table, key: &Key) -> v1::CounterData {
        counter_data(self.machine.entry(&table.name, key).map(|entry| entry.counter).unwrap_or_default())
    }

    pub(super) fn set_direct_counter(&mut self, table: &Table, key: &Key, data: &v1::CounterData) -> Placed {
        Ok(self.machine.set_direct_counter(&table.name, key, to_counter(data))?)
    }

    pub(super) fn set_direct_meter(&mut self, table: &Table, key: &Key, config: Option<&v1::MeterConfig>) -> Placed {
        Ok(self.machine.set_direct_meter(&table.name, key, config.and_then(to_meter))?)
    }

    pub(super) fn set_member(&mut self, schema: &Schema, profile: &str, id: u32, call: &Call) -> Placed {
        let call = call_by_name(schema, call)?;
        Ok(self.machine.set_member(profile, id, &call)?)
    }

    pub(super) fn remove_member(&mut self, profile: &str, id: u32) -> Placed {
        Ok(self.machine.remove_member(profile, id)?)
    }

    pub(super) fn set_group(&mut self, profile: &str, id: u32, seats: &[Seat]) -> Placed {
        Ok(self.machine.set_group(profile, id, seats)?)
    }

    pub(super) fn remove_group(&mut self, profile: &str, id: u32) -> Placed {
        Ok(self.machine.remove_group(profile, id)?)
    }

    pub(super) fn counter(&self, name: &str, index: usize) -> v1::CounterData {
        counter_data(self.machine.counter(name, index).unwrap_or_default())
    }

    pub(super) fn set_counter(&mut self, name: &str, index: usize, data: &v1::CounterData) -> Placed {
        Ok(self.machine.set_counter(name, index, to_counter(data))?)
    }

    pub(super) fn meter(&self, name: &str, index: usize) -> Option<v1::MeterConfig> {
        self.machine.meter(name, index).ok().flatten().map(|config| from_meter(&config))
    }

    pub(super) fn set_meter(&mut self, name: &str, index: usize, config: Option<&v1::MeterConfig>) -> Placed {
        Ok(self.machine.set_meter(name, index, config.and_then(to_meter))?)
    }

    pub(super) fn register(&self, name: &str, index: usize) -> u128 {
        self.machine.register(name, index).unwrap_or_default()
    }

    pub(super) fn set_register(&mut self, name: &str, index: usize, value: u128) -> Placed {
        Ok(self.machine.set_register(name, index, value)?)
    }

    pub(super) fn set_multicast(&mut self, id: u16, replicas: Option<&[Replica]>) {
        self.machine.set_multicast(id, replicas);
    }

    pub(super) fn set_clone(&mut self, id: u16, replicas: Option<Vec<Replica>>, length_bytes: u32) {
        let session = replicas.map(|replicas| CloneSession { replicas, length_bytes });
        self.machine.set_clone(id, session.as_ref());
    }

    pub(super) fn set_port(&mut self, port: PortNo, up: bool) {
        self.machine.set_port(port, up);
    }

    pub(super) fn receive(&mut self, port: PortNo, frame: &[u8], now: Timestamp) -> Vec<Event> {
        self.machine.receive(port, frame, now).into_iter().map(event).collect()
    }

    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<Event> {
        self.machine.advance(now).into_iter().map(event).collect()
    }
}

fn event(emission: Emission) -> Event {
    match emission {
        Emission::Frame { port, bytes } => Event::Frame { port, bytes },
        Emission::Digest { name, values } => Event::Digest { name, fields: values },
        Emission::IdleTimeout { table, key } => Event::Idle { table, key },
    }
}

fn ttl(nanos: u64) -> Option<Duration> {
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

fn call_by_name(schema: &Schema, call: &Call) -> Result<control::Call, Rejected> {
    let action = schema.actions.get(&call.action);
    let action = action.ok_or_else(|| Rejected::Other(format!("action {:#010x} is not there", call.action)))?;
    Ok(control::Call { action: Arc::clone(&action.name), arguments: call.arguments.clone() })
}

fn by_name(schema: &Schema, bound: &Bound) -> Result<control::Bound, Rejected> {
    Ok(match bound {
        Bound::Call(call) => control::Bound::Call(call_by_name(schema, call)?),
        Bound::Member(id) => control::Bound::Member(*id),
        Bound::Group(id) => control::Bound::Group(*id),
        Bound::Set(set) => {
            let weighted = set.iter().map(|weighted| {
                let call = call_by_name(schema, &weighted.call)?;
                Ok(control::Weighted { call, weight: weighted.weight, watch: weighted.watch.port() })
            });
            control::Bound::Set(weighted.collect::<Result<_, Rejected>>()?)
        }
    })
}

fn by_id(schema: &Schema, table: &Table, call: &control::Call) -> Option<Call> {
    let is_named = |id: &&u32| schema.actions.get(id).is_some_and(|action| action.name == call.action);
    let id = table.actions.keys().find(is_named)?;
    Some(Call { action: *id, arguments: call.arguments.clone() })
}

fn counter_data(counter: Counter) -> v1::CounterData {
    v1::CounterData { byte_count: counter.bytes.cast_signed(), packet_count: counter.packets.cast_signed() }
}

fn to_counter(data: &v1::CounterData) -> Counter {
    Counter { packets: data.packet_count.max(0).unsigned_abs(), bytes: data.byte_count.max(0).unsigned_abs() }
}

/// A configuration of -1 is the same as none: always green.
fn to_meter(config: &v1::MeterConfig) -> Option<MeterConfig> {
    let value = |value: i64| u64::try_from(value).ok();
    Some(MeterConfig {
        committed_per_second: value(config.cir)?,
        committed_burst: value(config.cburst)?,
        peak_per_second: value(config.pir)?,
        peak_burst: value(config.pburst)?,
    })
}

fn from_meter(config: &MeterConfig) -> v1::MeterConfig {
    v1::MeterConfig {
        cir: config.committed_per_second.cast_signed(),
        cburst: config.committed_burst.cast_signed(),
        pir: config.peak_per_second.cast_signed(),
        pburst: config.peak_burst.cast_signed(),
        ..Default::default()
    }
}
