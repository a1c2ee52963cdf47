//! A pipeline in force: everything a controller wrote since it was pushed, by kind of entity.

use std::collections::BTreeMap;

use super::arrays::{self, of_unit, unimplemented};
use super::digests::{self, DigestState};
use super::key::{Key, read_key, write_key};
use super::packet_io;
use super::plane::{Event, Plane};
use super::profiles::{self, Mode, ProfileState, target};
use super::refusal::{Behaviour, Outcome, Refusal};
use super::replication::Replication;
use super::schema::{Schema, Table};
use super::tables::{self, TableState, check_default_key};
use crate::fabric::p4::machine::MachineSettings;
use crate::types::{PortNo, Timestamp};
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::entity::Entity as Kind;
use crate::wire::p4runtime::v1::update::Type as Update;

/// What a pipeline is loaded with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loading<'l> {
    pub(super) behaviour: Behaviour,
    pub(super) cpu_port: PortNo,
    pub(super) ports: &'l BTreeMap<PortNo, bool>,
    pub(super) now: Timestamp,
    /// What the program's random numbers begin from.
    pub(super) seed: u64,
}

#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) config: v1::ForwardingPipelineConfig,
    behaviour: Behaviour,
    cpu_port: PortNo,
    schema: Schema,
    plane: Plane,
    tables: BTreeMap<u32, TableState>,
    profiles: BTreeMap<u32, ProfileState>,
    replication: Replication,
    digests: BTreeMap<u32, DigestState>,
}

/// What a packet or the passing of time brought.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Happening {
    Frame { port: PortNo, bytes: Vec<u8> },
    Tell(v1::stream_message_response::Update),
}

impl Pipeline {
    /// Checks a configuration and loads it; the message says what is wrong with it.
    pub(super) fn load(config: &v1::ForwardingPipelineConfig, loading: Loading<'_>) -> Result<Self, String> {
        let info = config.p4info.as_ref().ok_or("expected a P4Info in the configuration")?;
        let schema = Schema::new(info)?;
        let settings = MachineSettings {
            ports: loading.ports.keys().copied().collect(),
            cpu_port: Some(loading.cpu_port),
            seed: loading.seed,
            started: loading.now,
        };
        let plane = Plane::load(&config.p4_device_config, settings, loading.ports)?;
        let mut tables = BTreeMap::new();
        for table in schema.tables.values() {
            tables.insert(table.id, TableState::new(plane.initial(&schema, table)?, table.is_const));
        }
        Ok(Self {
            config: config.clone(),
            behaviour: loading.behaviour,
            cpu_port: loading.cpu_port,
            profiles: schema.profiles.keys().map(|id| (*id, ProfileState::default())).collect(),
            digests: schema.digests.keys().map(|id| (*id, DigestState::default())).collect(),
            replication: Replication::default(),
            schema,
            plane,
            tables,
        })
    }

    pub(super) fn write(&mut self, update: &v1::Update, now: Timestamp) -> Outcome {
        let kind = Update::try_from(update.r#type).map_err(|_| Refusal::invalid("Invalid update type"))?;
        let Some(entity) = update.entity.as_ref().and_then(|entity| entity.entity.as_ref()) else {
            return Err(self.no_entity());
        };
        let behaviour = self.behaviour;
        match entity {
            Kind::TableEntry(entry) => self.table(entry.table_id, now)?.write(kind, entry),
            Kind::ActionProfileMember(member) => self.profile(member.action_profile_id)?.write_member(kind, member),
            Kind::ActionProfileGroup(group) => self.profile(group.action_profile_id)?.write_group(kind, group),
            Kind::CounterEntry(entry) => {
                let array = Schema::find(&self.schema.counters, entry.counter_id, "counter", behaviour)?;
                arrays::write_counter(array, &mut self.plane, kind, entry, behaviour)
            }
            Kind::MeterEntry(entry) => {
                let array = Schema::find(&self.schema.meters, entry.meter_id, "meter", behaviour)?;
                arrays::write_meter(array, &mut self.plane, kind, entry, behaviour)
            }
            Kind::DirectCounterEntry(entry) => self.write_direct_counter(kind, entry, now),
            Kind::DirectMeterEntry(entry) => self.write_direct_meter(kind, entry, now),
            Kind::RegisterEntry(_) if behaviour == Behaviour::Bmv2 => {
                Err(unimplemented("Register writes are not supported yet"))
            }
            Kind::RegisterEntry(entry) => {
                let array = Schema::find(&self.schema.registers, entry.register_id, "register", behaviour)?;
                arrays::write_register(array, &mut self.plane, kind, entry)
            }
            Kind::PacketReplicationEngineEntry(entry) => {
                self.replication.write(&mut self.plane, kind, entry, behaviour)
            }
            Kind::DigestEntry(entry) => match self.digests.get_mut(&entry.digest_id) {
                Some(digest) => digest.write(kind, entry),
                None => Err(Refusal::not_found(format!("{} is not a valid digest id", entry.digest_id))),
            },
            Kind::ValueSetEntry(_) => Err(unimplemented("ValueSet writes are not supported yet")),
            Kind::ExternEntry(_) => Err(unimplemented(behaviour.pick("", "Externs are not supported"))),
        }
    }

    /// Writes a batch; the first refusal takes back what came before it.
    pub(super) fn write_all_or_none(&mut self, updates: &[v1::Update], now: Timestamp) -> Vec<Outcome> {
        let mut done = Vec::new();
        for (at, update) in updates.iter().enumerate() {
            let before = self.stands(update, now);
            if let Err(refusal) = self.write(update, now) {
                for (update, before) in done.into_iter().rev() {
                    self.take_back(update, before, now);
                }
                let aborted = || Err(Refusal::new(tonic::Code::Aborted, "Another update of the batch failed"));
                let mut outcomes: Vec<Outcome> = updates.iter().map(|_| aborted()).collect();
                outcomes[at] = Err(refusal);
                return outcomes;
            }
            done.push((update, before));
        }
        updates.iter().map(|_| Ok(())).collect()
    }

    /// What an update is going to change, as it stands.
    fn stands(&mut self, update: &v1::Update, now: Timestamp) -> Vec<v1::Entity> {
        let mut query = update.entity.clone().unwrap_or_default();
        let mut key = None;
        if let Some(Kind::TableEntry(entry)) = &mut query.entity {
            key = Some(entry.r#match.clone());
            *entry = v1::TableEntry {
                table_id: entry.table_id,
                r#match: std::mem::take(&mut entry.r#match),
                priority: entry.priority,
                is_default_action: entry.is_default_action,
                counter_data: Some(v1::CounterData::default()),
                meter_config: Some(v1::MeterConfig::default()),
                ..Default::default()
            };
        }
        let mut found = Vec::new();
        // What cannot be read cannot be written either.
        let _ = self.read(&query, now, &mut found);
        // An entry that matches everything is read by asking for all.
        if key.is_some_and(|key| key.is_empty()) {
            found.retain(|entity| matches!(&entity.entity, Some(Kind::TableEntry(entry)) if entry.r#match.is_empty()));
        }
        found
    }

    fn take_back(&mut self, update: &v1::Update, before: Vec<v1::Entity>, now: Timestamp) {
        let (kind, entities) = match Update::try_from(update.r#type) {
            Ok(Update::Insert) => (Update::Delete, update.entity.clone().into_iter().collect()),
            Ok(Update::Delete) => (Update::Insert, before),
            _ => (Update::Modify, before),
        };
        for entity in entities {
            let update = v1::Update { r#type: kind as i32, entity: Some(entity) };
            if let Err(refusal) = self.write(&update, now) {
                tracing::error!(%refusal, ?update, "an update cannot be taken back");
            }
        }
    }

    pub(super) fn read(&mut self, entity: &v1::Entity, now: Timestamp, out: &mut Vec<v1::Entity>) -> Outcome {
        let Some(entity) = &entity.entity else { return Err(self.no_entity()) };
        let behaviour = self.behaviour;
        match entity {
            Kind::TableEntry(wanted) => {
                let mut found = Vec::new();
                for id in self.ids(&self.schema.tables, wanted.table_id, "table")? {
                    self.table(id, now)?.read(wanted, &mut found)?;
                }
                out.extend(found.into_iter().map(|entry| wrap(Kind::TableEntry(entry))));
            }
            Kind::ActionProfileMember(wanted) => {
                let mut found = Vec::new();
                let ids = self.ids(&self.schema.profiles, wanted.action_profile_id, "action profile")?;
                let outcome = ids.iter().try_for_each(|id| {
                    self.enter_manual(*id)?;
                    self.profiles[id].read_members(&self.schema, *id, wanted.member_id, behaviour, &mut found);
                    Ok(())
                });
                out.extend(found.into_iter().map(|member| wrap(Kind::ActionProfileMember(member))));
                outcome?;
            }
            Kind::ActionProfileGroup(wanted) => {
                let mut found = Vec::new();
                let ids = self.ids(&self.schema.profiles, wanted.action_profile_id, "action profile")?;
                let outcome = ids.iter().try_for_each(|id| {
                    self.enter_manual(*id)?;
                    self.profiles[id].read_groups(*id, wanted.group_id, behaviour, &mut found);
                    Ok(())
                });
                out.extend(found.into_iter().map(|group| wrap(Kind::ActionProfileGroup(group))));
                outcome?;
            }
            Kind::DirectCounterEntry(wanted) => self.read_direct_counters(wanted, now, out)?,
            Kind::DirectMeterEntry(wanted) => self.read_direct_meters(wanted, now, out)?,
            Kind::PacketReplicationEngineEntry(wanted) => {
                let mut found = Vec::new();
                self.replication.read(wanted, &mut found)?;
                out.extend(found.into_iter().map(|entry| wrap(Kind::PacketReplicationEngineEntry(entry))));
            }
            Kind::DigestEntry(wanted) => {
                digests::check_read(wanted.digest_id, behaviour)?;
                self.read_digests(wanted.digest_id, out)?;
            }
            _ => self.read_array(entity, out)?,
        }
        Ok(())
    }

    fn read_array(&mut self, entity: &Kind, out: &mut Vec<v1::Entity>) -> Outcome {
        let behaviour = self.behaviour;
        match entity {
            Kind::CounterEntry(wanted) => {
                let mut found = Vec::new();
                let read = |id: &u32| {
                    let array = &self.schema.counters[id];
                    arrays::read_counter(array, &self.plane, wanted.index.as_ref(), behaviour, &mut found)
                };
                let outcome = self.ids(&self.schema.counters, wanted.counter_id, "counter")?.iter().try_for_each(read);
                out.extend(found.into_iter().map(|entry| wrap(Kind::CounterEntry(entry))));
                outcome?;
            }
            Kind::MeterEntry(wanted) => {
                let mut found = Vec::new();
                for id in self.ids(&self.schema.meters, wanted.meter_id, "meter")? {
                    let array = &self.schema.meters[&id];
                    arrays::read_meter(array, &self.plane, wanted.index.as_ref(), behaviour, &mut found)?;
                }
                out.extend(found.into_iter().map(|entry| wrap(Kind::MeterEntry(entry))));
            }
            Kind::RegisterEntry(_) if behaviour == Behaviour::Bmv2 => {
                return Err(unimplemented("Register reads are not supported yet"));
            }
            Kind::RegisterEntry(wanted) => {
                let mut found = Vec::new();
                for id in self.ids(&self.schema.registers, wanted.register_id, "register")? {
                    let array = &self.schema.registers[&id];
                    arrays::read_register(array, &self.plane, wanted.index.as_ref(), &mut found)?;
                }
                out.extend(found.into_iter().map(|entry| wrap(Kind::RegisterEntry(entry))));
            }
            Kind::ValueSetEntry(_) => return Err(unimplemented("ValueSet reads are not supported yet")),
            _ => return Err(self.no_entity()),
        }
        Ok(())
    }

    /// Ids that a read means: one, or all for 0.
    fn ids<T>(&self, objects: &BTreeMap<u32, T>, wanted: u32, what: &str) -> Outcome<Vec<u32>> {
        if wanted == 0 {
            return Ok(objects.keys().copied().collect());
        }
        Schema::find(objects, wanted, what, self.behaviour)?;
        Ok(vec![wanted])
    }

    fn no_entity(&self) -> Refusal {
        self.behaviour.pick(
            Refusal::new(tonic::Code::Unknown, "Incorrect entity type"),
            Refusal::invalid("expected an entity, came none that is known"),
        )
    }

    fn table(&mut self, id: u32, now: Timestamp) -> Outcome<tables::Programming<'_>> {
        let table = Schema::find(&self.schema.tables, id, "table", self.behaviour)?;
        Ok(tables::Programming {
            schema: &self.schema,
            table,
            state: self.tables.entry(id).or_default(),
            profiles: &mut self.profiles,
            plane: &mut self.plane,
            behaviour: self.behaviour,
            now,
        })
    }

    fn profile(&mut self, id: u32) -> Outcome<profiles::Programming<'_>> {
        let profile = Schema::find(&self.schema.profiles, id, "action profile", self.behaviour)?;
        Ok(profiles::Programming {
            schema: &self.schema,
            profile,
            state: self.profiles.entry(id).or_default(),
            plane: &mut self.plane,
            behaviour: self.behaviour,
        })
    }

    /// A read of members or groups: BMv2 refuses it where one-shot sets are in force.
    fn enter_manual(&mut self, id: u32) -> Outcome {
        let state = self.profiles.entry(id).or_default();
        if self.behaviour == Behaviour::Bmv2 { state.enter(Mode::Manual) } else { Ok(()) }
    }

    /// The table of a direct counter or meter and the key of its entry; `None` stands for the default entry.
    fn direct(&self, entry: Option<&v1::TableEntry>, message: &str) -> Outcome<(&Table, Option<Key>)> {
        let entry = entry.ok_or_else(|| Refusal::invalid(format!("Missing table_entry field in {message}")))?;
        let table = Schema::find(&self.schema.tables, entry.table_id, "table", self.behaviour)?;
        if entry.is_default_action {
            check_default_key(entry)?;
            return Ok((table, None));
        }
        let key = read_key(table, entry, self.behaviour)?;
        if self.tables.get(&table.id).is_some_and(|state| state.entries.contains_key(&key)) {
            return Ok((table, Some(key)));
        }
        Err(match self.behaviour {
            Behaviour::Bmv2 => Refusal::invalid("Cannot map table entry to handle"),
            Behaviour::Specification => Refusal::not_found("Cannot find match entry"),
        })
    }

    fn write_direct_counter(&mut self, update: Update, entry: &v1::DirectCounterEntry, _now: Timestamp) -> Outcome {
        let (table, key) = self.direct(entry.table_entry.as_ref(), "DirectCounterEntry")?;
        if table.direct_counter.is_none() {
            return Err(Refusal::invalid("Table has no direct counters"));
        }
        let table = table.clone();
        let zero = v1::CounterData::default();
        let data = match (update, self.behaviour) {
            (Update::Modify, Behaviour::Bmv2) => entry.data.unwrap_or(zero),
            (Update::Modify, Behaviour::Specification) => match entry.data {
                Some(data) => data,
                None => return Ok(()),
            },
            (Update::Delete, Behaviour::Bmv2) => zero,
            (Update::Unspecified, _) => return Err(Refusal::invalid("Update type is not set")),
            (Update::Insert, _) => return Err(Refusal::invalid("INSERT update type not supported for counters")),
            (Update::Delete, _) => return Err(Refusal::invalid("DELETE update type not supported for counters")),
        };
        let refused = || Refusal::new(tonic::Code::Unknown, "Error when writing to direct counter");
        let key = key.ok_or_else(refused)?;
        self.plane.set_direct_counter(&table, &key, &data).map_err(|_| refused())
    }

    fn write_direct_meter(&mut self, update: Update, entry: &v1::DirectMeterEntry, now: Timestamp) -> Outcome {
        let (table, key) = self.direct(entry.table_entry.as_ref(), "DirectMeterEntry")?;
        if table.direct_meter.is_none() {
            return Err(Refusal::invalid("Table has no direct meters"));
        }
        match update {
            Update::Modify => {}
            Update::Unspecified => return Err(Refusal::invalid("Update type is not set")),
            Update::Insert => return Err(Refusal::invalid("INSERT update type not supported for meters")),
            Update::Delete => return Err(Refusal::invalid("DELETE update type not supported for meters")),
        }
        if let Some(config) = &entry.config {
            arrays::check_meter(config)?;
        }
        let table = table.clone();
        let refused = || Refusal::new(tonic::Code::Unknown, "Error when writing direct meter spec");
        let key = key.ok_or_else(refused)?;
        self.plane.set_direct_meter(&table, &key, entry.config.as_ref()).map_err(|_| refused())?;
        self.table(table.id, now)?.keep_meter(&key, entry.config);
        Ok(())
    }

    fn read_direct_counters(
        &mut self,
        wanted: &v1::DirectCounterEntry,
        now: Timestamp,
        out: &mut Vec<v1::Entity>,
    ) -> Outcome {
        let has = |table: &Table| table.direct_counter.is_some();
        for entry in self.direct_entries(wanted.table_entry.as_ref(), "counter", has, now)? {
            let unit =
                self.schema.tables[&entry.table_id].direct_counter.map_or(0, |id| self.schema.direct_counters[&id]);
            let data = of_unit(entry.counter_data.unwrap_or_default(), unit.cast_signed(), self.behaviour);
            let entry = self.named(wanted.table_entry.as_ref(), entry);
            out.push(wrap(Kind::DirectCounterEntry(v1::DirectCounterEntry {
                table_entry: Some(entry),
                data: Some(data),
            })));
        }
        Ok(())
    }

    fn read_direct_meters(
        &mut self,
        wanted: &v1::DirectMeterEntry,
        now: Timestamp,
        out: &mut Vec<v1::Entity>,
    ) -> Outcome {
        let has = |table: &Table| table.direct_meter.is_some();
        for entry in self.direct_entries(wanted.table_entry.as_ref(), "meter", has, now)? {
            let config = entry.meter_config;
            let entry = self.named(wanted.table_entry.as_ref(), entry);
            let entry = v1::DirectMeterEntry { table_entry: Some(entry), config, ..Default::default() };
            out.push(wrap(Kind::DirectMeterEntry(entry)));
        }
        Ok(())
    }

    /// Entries whose direct counter or meter a read means: one, those of a table, or (not on BMv2) all.
    fn direct_entries(
        &mut self,
        wanted: Option<&v1::TableEntry>,
        what: &str,
        has: impl Fn(&Table) -> bool,
        now: Timestamp,
    ) -> Outcome<Vec<v1::TableEntry>> {
        let message = if what == "counter" { "DirectCounterEntry" } else { "DirectMeterEntry" };
        let entry = wanted.ok_or_else(|| Refusal::invalid(format!("Missing table_entry field in {message}")))?;
        if entry.table_id == 0 && self.behaviour == Behaviour::Bmv2 {
            return Err(unimplemented(&format!("Reading all direct {what}s for ALL tables is not supported yet")));
        }
        let mut ids = self.ids(&self.schema.tables, entry.table_id, "table")?;
        if entry.table_id == 0 {
            ids.retain(|id| has(&self.schema.tables[id]));
        } else if !has(&self.schema.tables[&entry.table_id]) {
            return Err(Refusal::invalid(format!("Table has no direct {what}s")));
        }
        if !entry.r#match.is_empty() || entry.is_default_action {
            let (_, key) = self.direct(Some(entry), message)?;
            key.ok_or_else(|| target(&format!("reading {what} from")))?;
        }
        // All of the entry, with what belongs to it.
        let query = v1::TableEntry {
            table_id: entry.table_id,
            r#match: entry.r#match.clone(),
            priority: entry.priority,
            counter_data: Some(v1::CounterData::default()),
            meter_config: Some(v1::MeterConfig::default()),
            ..Default::default()
        };
        let mut found = Vec::new();
        for id in ids {
            self.table(id, now)?.read(&query, &mut found)?;
        }
        Ok(found)
    }

    /// The entry as the answer names it: as the request did if it named one, else by its key.
    fn named(&self, wanted: Option<&v1::TableEntry>, found: v1::TableEntry) -> v1::TableEntry {
        match wanted {
            Some(wanted) if !wanted.r#match.is_empty() && self.behaviour == Behaviour::Bmv2 => wanted.clone(),
            _ => v1::TableEntry {
                table_id: found.table_id,
                r#match: found.r#match,
                priority: found.priority,
                ..Default::default()
            },
        }
    }

    fn read_digests(&self, wanted: u32, out: &mut Vec<v1::Entity>) -> Outcome {
        if wanted == 0 {
            let configured = self.digests.iter().filter(|(_, state)| state.is_configured());
            for (id, state) in configured {
                out.push(wrap(Kind::DigestEntry(state.read(*id)?)));
            }
            return Ok(());
        }
        let state = self.digests.get(&wanted);
        let state = state.ok_or_else(|| Refusal::not_found(format!("{wanted} is not a valid digest id")))?;
        out.push(wrap(Kind::DigestEntry(state.read(wanted)?)));
        Ok(())
    }

    /// Whether BMv2 could take this pipeline's state over into another: it cannot insert counters and meters again.
    pub(super) fn has_arrays(&self) -> bool {
        !self.schema.counters.is_empty() || !self.schema.meters.is_empty()
    }

    /// Everything that was written, as updates that write it again.
    pub(super) fn everything(&mut self, now: Timestamp) -> Vec<v1::Update> {
        let mut all = Vec::new();
        let group = v1::packet_replication_engine_entry::Type::MulticastGroupEntry(v1::MulticastGroupEntry::default());
        let clone = v1::packet_replication_engine_entry::Type::CloneSessionEntry(v1::CloneSessionEntry::default());
        let table = v1::TableEntry { meter_config: Some(v1::MeterConfig::default()), ..Default::default() };
        let wanted = [
            Kind::PacketReplicationEngineEntry(v1::PacketReplicationEngineEntry { r#type: Some(group) }),
            Kind::PacketReplicationEngineEntry(v1::PacketReplicationEngineEntry { r#type: Some(clone) }),
            Kind::DigestEntry(v1::DigestEntry::default()),
            Kind::ActionProfileMember(v1::ActionProfileMember::default()),
            Kind::ActionProfileGroup(v1::ActionProfileGroup::default()),
            Kind::TableEntry(table),
        ];
        for wanted in wanted {
            // Each kind that was written can be read.
            let _ = self.read(&wrap(wanted), now, &mut all);
        }
        // BMv2's copies of members follow each other; what the program brings comes with it.
        all.dedup();
        let is_const = |entity: &v1::Entity| matches!(&entity.entity, Some(Kind::TableEntry(entry)) if entry.is_const);
        all.retain(|entity| !is_const(entity));
        let insert = |entity| v1::Update { r#type: Update::Insert as i32, entity: Some(entity) };
        let mut updates: Vec<_> = all.into_iter().map(insert).collect();
        let own: Vec<u32> =
            self.tables.iter().filter(|(_, state)| state.has_own_default).map(|(table, _)| *table).collect();
        for table_id in own {
            let wanted = v1::TableEntry { table_id, is_default_action: true, ..Default::default() };
            let mut found = Vec::new();
            let _ = self.read(&wrap(Kind::TableEntry(wanted)), now, &mut found);
            let modify = |entity| v1::Update { r#type: Update::Modify as i32, entity: Some(entity) };
            updates.extend(found.into_iter().map(modify));
        }
        updates
    }

    pub(super) fn set_port(&mut self, port: PortNo, up: bool) {
        self.plane.set_port(port, up);
    }

    pub(super) fn receive(&mut self, port: PortNo, frame: &[u8], now: Timestamp) -> Vec<Happening> {
        let events = self.plane.receive(port, frame, now);
        self.happenings(events, now)
    }

    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<Happening> {
        let events = self.plane.advance(now);
        let mut happenings = self.happenings(events, now);
        for (id, digest) in &self.schema.digests {
            let list = self.digests.get_mut(id).and_then(|state| state.advance(digest, now));
            happenings.extend(list.map(|list| Happening::Tell(v1::stream_message_response::Update::Digest(list))));
        }
        happenings
    }

    /// A packet-out; the frame goes into the pipeline at the CPU port.
    pub(super) fn packet_out(&mut self, packet: &v1::PacketOut, now: Timestamp) -> Outcome<Vec<Happening>> {
        let frame = packet_io::packet_out(self.schema.packet_out.as_ref(), packet, self.behaviour)?;
        Ok(self.receive(self.cpu_port, &frame, now))
    }

    pub(super) fn acknowledge(&mut self, ack: &v1::DigestListAck) -> Outcome {
        let state = self.digests.get_mut(&ack.digest_id);
        let state = state.ok_or_else(|| Refusal::invalid(format!("{} is not a valid digest id", ack.digest_id)))?;
        state.acknowledge(ack.list_id);
        Ok(())
    }

    fn happenings(&mut self, events: Vec<Event>, now: Timestamp) -> Vec<Happening> {
        use v1::stream_message_response::Update;
        let mut happenings = Vec::with_capacity(events.len());
        let mut idle = Vec::new();
        for event in events {
            match event {
                Event::Frame { port, bytes } if port == self.cpu_port => {
                    let packet = packet_io::packet_in(self.schema.packet_in.as_ref(), &bytes);
                    happenings.extend(packet.map(|packet| Happening::Tell(Update::Packet(packet))));
                }
                Event::Frame { port, bytes } => happenings.push(Happening::Frame { port, bytes }),
                Event::Digest { name, fields } => {
                    let Some(digest) = self.schema.digests.values().find(|digest| *digest.name == *name) else {
                        continue;
                    };
                    let state = self.digests.entry(digest.id).or_default();
                    let list = state.take(digest, fields, now);
                    happenings.extend(list.map(|list| Happening::Tell(Update::Digest(list))));
                }
                Event::Idle { table, key } => idle.extend(self.idle_entry(&table, &key)),
            }
        }
        if !idle.is_empty() {
            let timestamp = (now.0 * 1_000).cast_signed();
            let notification = v1::IdleTimeoutNotification { table_entry: idle, timestamp };
            happenings.push(Happening::Tell(Update::IdleTimeoutNotification(notification)));
        }
        happenings
    }

    fn idle_entry(&self, table: &str, key: &Key) -> Option<v1::TableEntry> {
        let schema = self.schema.tables.values().find(|known| known.name == table)?;
        let held = self.tables.get(&schema.id)?.entries.get(key)?;
        Some(v1::TableEntry {
            table_id: schema.id,
            r#match: write_key(key, schema),
            priority: key.priority,
            controller_metadata: held.cookie,
            metadata: self.behaviour.pick(Vec::new(), held.metadata.clone()),
            idle_timeout_ns: held.idle_timeout_ns,
            ..Default::default()
        })
    }
}

fn wrap(kind: Kind) -> v1::Entity {
    v1::Entity { entity: Some(kind) }
}
