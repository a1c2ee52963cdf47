//! A small P4 program for tests: hosts, ways to nodes through groups, one counter, one kind of sweep.

use std::collections::BTreeMap;
use std::sync::Arc;

use foreshadow::plan::{Choice, DatapathPlan, SLOTS, Spread};
use foreshadow::southbound::p4runtime::P4State;
use foreshadow::southbound::p4runtime::pipeline::{
    Collection, Compiled, ForwardingConfig, Incoming, Pipeline, Problem, Sweep, SweepKind, SweepReport,
};
use foreshadow::southbound::{ConnectionCounters, PortCounters, Reading};
use foreshadow::types::{NodeIndex, PortNo};
use foreshadow::wire::p4runtime::v1::entity::Entity as Kind;
use foreshadow::wire::p4runtime::v1::field_match::{Exact, FieldMatchType, Lpm};
use foreshadow::wire::p4runtime::v1::packet_replication_engine_entry::Type as Copies;
use foreshadow::wire::p4runtime::v1::table_action::Type as Act;
use foreshadow::wire::p4runtime::{canonical, config, v1};

/// Its default action is the node's own number.
pub(crate) const NODE: u32 = 0x0200_0001;
/// Host addresses, with actions of their own.
pub(crate) const HOSTS: u32 = 0x0200_0002;
/// Nodes, through groups of `WAYS`.
pub(crate) const HOPS: u32 = 0x0200_0003;
/// A table that the mapping does not name.
pub(crate) const OTHER: u32 = 0x0200_0004;
pub(crate) const WAYS: u32 = 0x1100_0001;
pub(crate) const GROUP_SIZE: i32 = 8;
pub(crate) const BECOME: u32 = 0x0100_0001;
pub(crate) const DELIVER: u32 = 0x0100_0002;
pub(crate) const SEND: u32 = 0x0100_0003;
pub(crate) const PACKETS: u32 = 0x1200_0001;
pub(crate) const CLONE: u32 = 5;
/// Hosts behind ports from here on are a problem.
pub(crate) const PORT_MAX: u32 = 511;

#[derive(Debug)]
pub(crate) struct Small {
    config: ForwardingConfig,
    /// Router nodes sweep so many times for a reading.
    pub(crate) sweeps: u32,
}

impl Small {
    pub(crate) fn new(cookie: u64) -> Arc<Self> {
        Arc::new(Self { config: forwarding_config(cookie), sweeps: 0 })
    }

    /// Another program: the switch runs other code.
    pub(crate) fn other(cookie: u64) -> Arc<Self> {
        let config = forwarding_config(cookie);
        Arc::new(Self { config: ForwardingConfig { device_config: b"another".to_vec(), ..config }, sweeps: 0 })
    }

    /// Its P4Info names no program.
    pub(crate) fn unnamed(cookie: u64) -> Arc<Self> {
        let mut config = forwarding_config(cookie);
        config.p4info.pkg_info = None;
        Arc::new(Self { config, sweeps: 0 })
    }

    pub(crate) fn sweeping(sweeps: u32) -> Arc<Self> {
        Arc::new(Self { config: forwarding_config(1), sweeps })
    }
}

fn preamble(id: u32, name: &str) -> Option<config::Preamble> {
    Some(config::Preamble { id, name: format!("small.{name}"), alias: name.into(), ..Default::default() })
}

fn table(id: u32, name: &str, fields: &[&str], implementation_id: u32) -> config::Table {
    let field = |(at, name): (usize, &&str)| config::MatchField {
        id: u32::try_from(at).unwrap() + 1,
        name: (*name).into(),
        bitwidth: 32,
        ..Default::default()
    };
    config::Table {
        preamble: preamble(id, name),
        match_fields: fields.iter().enumerate().map(field).collect(),
        implementation_id,
        size: 1_024,
        ..Default::default()
    }
}

fn forwarding_config(cookie: u64) -> ForwardingConfig {
    let p4info = config::P4Info {
        pkg_info: Some(config::PkgInfo { name: "small.p4".into(), version: "1".into(), ..Default::default() }),
        tables: vec![
            table(NODE, "node", &[], 0),
            table(HOSTS, "hosts", &["destination"], 0),
            table(HOPS, "hops", &["node"], WAYS),
            table(OTHER, "other", &["anything"], 0),
        ],
        action_profiles: vec![config::ActionProfile {
            preamble: preamble(WAYS, "ways"),
            table_ids: vec![HOPS],
            with_selector: true,
            size: 1_024,
            max_group_size: GROUP_SIZE,
            ..Default::default()
        }],
        ..Default::default()
    };
    ForwardingConfig { p4info, device_config: b"{\"program\": 1}".to_vec(), cookie }
}

pub(crate) fn entity(kind: Kind) -> v1::Entity {
    v1::Entity { entity: Some(kind) }
}

pub(crate) fn action(action_id: u32, value: u32) -> v1::Action {
    let param = v1::action::Param { param_id: 1, value: canonical::encode(value.into()) };
    v1::Action { action_id, params: vec![param] }
}

fn entry(table_id: u32, field: Option<FieldMatchType>, act: Act) -> v1::Entity {
    let matches = field.map(|field| v1::FieldMatch { field_id: 1, field_match_type: Some(field) });
    entity(Kind::TableEntry(v1::TableEntry {
        table_id,
        r#match: matches.into_iter().collect(),
        action: Some(v1::TableAction { r#type: Some(act) }),
        is_default_action: table_id == NODE,
        ..Default::default()
    }))
}

pub(crate) fn host(address: u32, port: u32) -> v1::Entity {
    let value = canonical::encode(address.into());
    let field = FieldMatchType::Lpm(Lpm { value, prefix_len: 32 });
    entry(HOSTS, Some(field), Act::Action(action(DELIVER, port)))
}

pub(crate) fn hop(node: u16) -> v1::Entity {
    let field = FieldMatchType::Exact(Exact { value: canonical::encode(node.into()) });
    entry(HOPS, Some(field), Act::ActionProfileGroupId(node.into()))
}

pub(crate) fn member(port: u32) -> v1::Entity {
    let member = v1::ActionProfileMember { action_profile_id: WAYS, member_id: port, action: Some(action(SEND, port)) };
    entity(Kind::ActionProfileMember(member))
}

pub(crate) fn group(node: u16, members: &[(u32, i32)]) -> v1::Entity {
    let member = |(port, weight): &(u32, i32)| v1::action_profile_group::Member {
        member_id: *port,
        weight: *weight,
        ..Default::default()
    };
    entity(Kind::ActionProfileGroup(v1::ActionProfileGroup {
        action_profile_id: WAYS,
        group_id: node.into(),
        members: members.iter().map(member).collect(),
        max_size: GROUP_SIZE,
    }))
}

pub(crate) fn clone_session(ports: &[u32]) -> v1::Entity {
    let replica = |port: &u32| v1::Replica {
        port_kind: Some(v1::replica::PortKind::Port(canonical::encode((*port).into()))),
        instance: 1,
        ..Default::default()
    };
    let session = v1::CloneSessionEntry {
        session_id: CLONE,
        replicas: ports.iter().map(replica).collect(),
        ..Default::default()
    };
    let copies = v1::PacketReplicationEngineEntry { r#type: Some(Copies::CloneSessionEntry(session)) };
    entity(Kind::PacketReplicationEngineEntry(copies))
}

pub(crate) fn counted(port: i64, packet_count: i64) -> v1::Entity {
    let data = Some(v1::CounterData { byte_count: 0, packet_count });
    entity(Kind::CounterEntry(v1::CounterEntry { counter_id: PACKETS, index: Some(v1::Index { index: port }), data }))
}

/// A packet as the program sends it to the controller: its port, and whether it is a report.
pub(crate) fn packet_in(port: u32, report: bool, payload: Vec<u8>) -> v1::PacketIn {
    let metadata = |metadata_id, value: u32| v1::PacketMetadata { metadata_id, value: canonical::encode(value.into()) };
    v1::PacketIn { payload, metadata: vec![metadata(1, port), metadata(2, report.into())] }
}

impl Pipeline for Small {
    fn forwarding_config(&self) -> &ForwardingConfig {
        &self.config
    }

    fn compile(&self, plan: &DatapathPlan) -> Compiled {
        let mut state = P4State::new();
        let mut problems = Vec::new();
        state.set_rank(HOSTS, 1);
        state.insert(entry(NODE, None, Act::Action(action(BECOME, plan.index.0.into()))));
        for attached in &plan.attached {
            if attached.port.0 >= PORT_MAX {
                let what = format!("port {} has more than 9 bits; left out", attached.port);
                problems.push(Problem { entity: format!("host {}", attached.address), what });
                continue;
            }
            state.insert(host(attached.address.into(), attached.port.0));
        }
        for (node, ways) in &plan.next_hops {
            let members: Vec<_> = ways.iter().map(|way| (way.port.0, i32::from(way.rank))).collect();
            members.iter().for_each(|(port, _)| _ = state.insert(member(*port)));
            state.insert(group(node.0, &members));
            state.insert(hop(node.0));
        }
        if !plan.mirror_ports.is_empty() {
            state.insert(clone_session(&plan.mirror_ports.iter().map(|port| port.0).collect::<Vec<_>>()));
        }
        Compiled { state, problems }
    }

    fn read_back(&self) -> Vec<v1::Entity> {
        let table = |table_id, is_default_action| {
            entity(Kind::TableEntry(v1::TableEntry { table_id, is_default_action, ..Default::default() }))
        };
        let member = v1::ActionProfileMember { action_profile_id: WAYS, ..Default::default() };
        let group = v1::ActionProfileGroup { action_profile_id: WAYS, ..Default::default() };
        let copies = Copies::CloneSessionEntry(v1::CloneSessionEntry::default());
        let copies = v1::PacketReplicationEngineEntry { r#type: Some(copies) };
        vec![
            table(NODE, true),
            table(HOSTS, false),
            table(HOPS, false),
            entity(Kind::ActionProfileMember(member)),
            entity(Kind::ActionProfileGroup(group)),
            entity(Kind::PacketReplicationEngineEntry(copies)),
        ]
    }

    fn choices(&self, held: &P4State) -> BTreeMap<u16, Choice> {
        let choice = Choice { slots: vec![NodeIndex(1); SLOTS], spread: Spread::Select };
        held.group(WAYS, 1).map(|_| (1, choice)).into_iter().collect()
    }

    fn collect(&self, plan: &DatapathPlan, _round: u64) -> Collection {
        let counter = |index| {
            let index = Some(v1::Index { index });
            entity(Kind::CounterEntry(v1::CounterEntry { counter_id: PACKETS, index, data: None }))
        };
        let sweep = |at| Sweep {
            kind: SweepKind::Connections,
            owner: plan.index.0,
            token: 0,
            first: at * 64,
            end: (at + 1) * 64,
            ..Sweep::default()
        };
        Collection { reads: vec![counter(1), counter(2)], sweeps: (0..self.sweeps).map(sweep).collect() }
    }

    fn reading(&self, _plan: &DatapathPlan, answers: &[v1::Entity], reports: &[SweepReport]) -> Reading {
        let mut reading = Reading::default();
        for answer in answers {
            if let Some(Kind::CounterEntry(counter)) = &answer.entity {
                let port = u32::try_from(counter.index.unwrap().index).unwrap();
                let rx_packets = u64::try_from(counter.data.unwrap().packet_count).unwrap();
                reading.ports.insert(PortNo(port), PortCounters { rx_packets, ..Default::default() });
            }
        }
        if !reports.is_empty() {
            let occupied = reports.iter().map(|report| u64::from(report.live)).sum();
            reading.connections = Some(ConnectionCounters { occupied, ..Default::default() });
        }
        reading
    }

    fn incoming(&self, packet: &v1::PacketIn) -> Result<Incoming, String> {
        let metadata = |id| packet.metadata.iter().find(|metadata| metadata.metadata_id == id);
        let port = metadata(1).ok_or("a packet-in without its port")?;
        let port = canonical::decode(&port.value, 9).map_err(|error| error.to_string())?;
        if metadata(2).is_some_and(|reason| reason.value == [1]) {
            let report = SweepReport::decode(&packet.payload).map_err(|error| error.to_string())?;
            return Ok(Incoming::Report(report));
        }
        Ok(Incoming::Frame { port: PortNo(u32::try_from(port).unwrap()), data: packet.payload.clone() })
    }

    fn packet_out(&self, port: PortNo, data: Vec<u8>) -> v1::PacketOut {
        let value = canonical::encode(port.0.into());
        v1::PacketOut { payload: data, metadata: vec![v1::PacketMetadata { metadata_id: 1, value }] }
    }

    fn sweep(&self, sweep: &Sweep) -> v1::PacketOut {
        let metadata = v1::PacketMetadata { metadata_id: 2, value: vec![1] };
        v1::PacketOut { payload: sweep.encode(), metadata: vec![metadata] }
    }
}
