//! Copies of connections: what leaves by the mirror ports, what is taken from them, and how the controller reads and
//! writes the entries (docs/DATAPATH.md, "Replication").
//!
//! The mirrored packet itself is the record. Its source is the owner's MAC address, its destination the *marker*
//! `02:46:53:02:direction:event`; addresses, ports and flags are its own.

use std::net::Ipv4Addr;

use super::build::{Builder, TCP, apply, apply_then, go_to, load, protocol, register};
use super::collect::is_opening;
use super::router::{self, DOWN, STATE_ESTABLISHED, STATE_OPENING, UP};
use super::{cookie, edge, nat, priority, reg, table};
use crate::plan::{DatapathPlan, MirrorTo, RolePlan, RouterPlan};
use crate::southbound::Connection;
use crate::types::{MacAddr, NodeIndex};
use crate::wire::openflow::{
    Action, Field, FlowMod, FlowModCommand, FlowStats, FlowStatsRequest, Instruction, LearnAction, LearnSpec, Match,
    MultipartRequestBody, NO_BUFFER, Subfield, flow_flags, group, port,
};

/// `02:46:53:02:00:00`.
const MARKER: u64 = 0x0246_5302_0000;
const DIRECTION_MASK: u64 = 0xffff_ffff_ff00;

/// Copies stay for so many times the idle time-out of the connections: they see few of their packets.
const COPY_PATIENCE: u16 = 2;
/// A connection without a change is mirrored again after the idle time-out divided by this.
const SAMPLES_PER_TIMEOUT: u16 = 3;

/// What a packet changes about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened = 1,
    Established = 2,
    Closing = 3,
}

/// Remembers the change until the packet comes to [`table::MIRROR`]; nothing where nobody is told.
pub(super) fn changed(router: &RouterPlan, change: Change) -> Vec<Action> {
    if router.mirrors.is_empty() { Vec::new() } else { vec![load(reg::EVENT, change as u16)] }
}

pub(super) fn compile(plan: &DatapathPlan, router: &RouterPlan, builder: &mut Builder) {
    if !router.replicas.is_empty() {
        take(plan, router, builder);
    }
    for (owner, to) in &router.mirrors {
        give(*owner, to, router, builder);
    }
    if !router.mirrors.is_empty() {
        builder.flow(table::MIRROR, priority::MISS, Match::any(), go_to(nat::next(router)));
    }
}

/// Copies come in by the ports of those who keep this owner's connections, and end here.
fn take(plan: &DatapathPlan, router: &RouterPlan, builder: &mut Builder) {
    for (owner, ports) in &router.replicas {
        for (in_port, direction) in ports.iter().flat_map(|port| [UP, DOWN].map(|direction| (*port, direction))) {
            let marked = edge::from(in_port)
                .with(Field::EthType, super::build::ETH_IPV4)
                .with(Field::EthSrc, MacAddr::of_node(*owner).to_u64())
                .with_masked(Field::EthDst, MARKER | u64::from(direction) << 8, DIRECTION_MASK);
            let loads = vec![load(reg::ROUTER, owner.0), load(reg::DIRECTION, direction), load(reg::COPYING, 1)];
            builder.flow(table::CLASSIFY, priority::COPY, marked, apply_then(loads, table::KEY));
        }
        // The look-up has loaded the owner that the entry knows, which need not be the one that the copy is about.
        for (change, state) in [(Change::Opened, STATE_OPENING), (Change::Established, STATE_ESTABLISHED)] {
            let about = Match::any().with(Field::EthSrc, MacAddr::of_node(*owner).to_u64()).with_masked(
                Field::EthDst,
                change as u64,
                0xff_u64,
            );
            let learn = if *owner == plan.index {
                // Its own, told by who stood in for it.
                router::connection(router, 0, 0, state)
            } else {
                copied(router, *owner, state)
            };
            let actions = vec![load(reg::ROUTER, owner.0), Action::Learn(Box::new(learn))];
            builder.flow(table::COPY, priority::ANY, about, apply(actions));
        }
    }
    builder.flow(table::DECIDE, priority::COPYING, register(reg::COPYING, 1), go_to(table::COPY));
    // Who opens anew what is known by a copy alone has a connection of this router.
    let again = protocol(TCP).with(Field::Reg(reg::DIRECTION), UP).with(Field::Reg(reg::COPIED), 1_u8);
    let own = vec![load(reg::ROUTER, plan.index.0), load(reg::STATE, 0)];
    builder.flow(table::DECIDE, priority::PINNED, router::opens(again), apply_then(own, table::SHARD));
}

fn copied(router: &RouterPlan, owner: NodeIndex, state: u16) -> LearnAction {
    let mut specs = router::entry();
    specs.push(LearnSpec::load_value(Subfield::whole(Field::Reg(reg::STATE)), state));
    specs.push(LearnSpec::load_value(Subfield::whole(Field::Reg(reg::ROUTER)), owner.0));
    specs.push(LearnSpec::load_value(Subfield::whole(Field::Reg(reg::COPIED)), 1_u8));
    LearnAction {
        idle_timeout: copy_timeout(router),
        hard_timeout: 0,
        priority: priority::COPIED,
        cookie: cookie::COPY | u64::from(owner.0),
        flags: 0,
        table: table::CONNECTIONS,
        fin_idle_timeout: router.closing_timeout_s,
        fin_hard_timeout: 0,
        limit: 0,
        result: None,
        specs,
    }
}

fn copy_timeout(router: &RouterPlan) -> u16 {
    router.idle_timeout_s.saturating_mul(COPY_PATIENCE)
}

/// What changes a connection of this owner goes to everyone else who keeps it, and so does a packet of a connection of
/// which none went lately.
fn give(owner: NodeIndex, to: &[MirrorTo], router: &RouterPlan, builder: &mut Builder) {
    let of_owner = || register(reg::ROUTER, owner.0);
    // Without a handshake it is the second packet, in either direction, that tells: most such connections have only one,
    // and whoever takes over admits what it does not know.
    for change in [Change::Opened, Change::Established, Change::Closing] {
        let event = protocol(TCP).with(Field::Reg(reg::ROUTER), owner.0).with(Field::Reg(reg::EVENT), change as u16);
        builder.flow(table::MIRROR, priority::PROTOCOL, event, mirror(change, to, router));
    }
    for (state, change) in [(STATE_OPENING, Change::Opened), (STATE_ESTABLISHED, Change::Established)] {
        let sample = of_owner().with(Field::Reg(reg::SAMPLED), 0_u8).with(Field::Reg(reg::STATE), state);
        builder.flow(table::MIRROR, priority::ANY, sample, mirror(change, to, router));
    }
}

fn mirror(change: Change, to: &[MirrorTo], router: &RouterPlan) -> Vec<Instruction> {
    let mut specs = router::key();
    specs.push(LearnSpec::load_value(Subfield::whole(Field::Reg(reg::SAMPLED)), 1_u8));
    let lately = LearnAction {
        idle_timeout: 0,
        hard_timeout: (router.idle_timeout_s / SAMPLES_PER_TIMEOUT).max(1),
        priority: priority::ANY,
        cookie: cookie::SAMPLED,
        flags: 0,
        table: table::SAMPLED,
        fin_idle_timeout: 0,
        fin_hard_timeout: router.closing_timeout_s,
        limit: 0,
        result: None,
        specs,
    };
    let mut actions = vec![
        Action::Learn(Box::new(lately)),
        Action::set_field(Field::EthDst, MARKER | change as u64),
        Action::RegMove {
            source: Subfield::bits(Field::Reg(reg::DIRECTION), 0, 8),
            target: Subfield::bits(Field::EthDst, 8, 8),
        },
    ];
    actions.extend(to.iter().map(|to| Action::output(to.port)));
    apply_then(actions, nat::next(router))
}

/// Asks for everything in the table of connections, copies too.
pub(super) fn connections_request(plan: &DatapathPlan) -> Option<MultipartRequestBody> {
    let request = || {
        MultipartRequestBody::Flow(FlowStatsRequest {
            table_id: table::CONNECTIONS,
            out_port: port::ANY,
            out_group: group::ANY,
            cookie: cookie::MAGIC | cookie::LEARNED,
            cookie_mask: cookie::LEARNED_MASK,
            matching: Match::any(),
        })
    };
    matches!(plan.role, RolePlan::Router(_)).then(request)
}

/// The connections of this owner among these flows. Of two entries for one connection the router's own says what is.
pub(super) fn connections(plan: &DatapathPlan, owner: NodeIndex, flows: &[FlowStats]) -> Vec<Connection> {
    let RolePlan::Router(router) = &plan.role else { return Vec::new() };
    let mut found: Vec<Connection> = flows.iter().filter_map(|flow| connection(router, owner, flow)).collect();
    found.sort_by_key(|connection| (connection.key(), connection.copy));
    found.dedup_by_key(|connection| connection.key());
    found
}

fn connection(router: &RouterPlan, owner: NodeIndex, flow: &FlowStats) -> Option<Connection> {
    let copy = match flow.cookie & cookie::PURPOSE_MASK {
        cookie::CONNECTION => false,
        cookie::COPY => true,
        _ => return None,
    };
    if loaded(&flow.instructions, reg::ROUTER) != Some(u128::from(owner.0)) {
        return None;
    }
    let connection = key_of(&flow.matching)?;
    let full = if copy { copy_timeout(router) } else { router.idle_timeout_s };
    // A FIN or RST has shortened the time-out.
    let closing = flow.idle_timeout != 0 && flow.idle_timeout < full;
    let established = connection.protocol != TCP || !is_opening(&flow.instructions);
    // The packet that opens a connection is not counted by its entry.
    let fleeting = !copy && connection.protocol != TCP && flow.packet_count == 0;
    Some(Connection { established, closing, copy, fleeting, ..connection })
}

/// The connection that an entry of the table is about, as far as its key tells.
pub(super) fn key_of(matching: &Match) -> Option<Connection> {
    let field = |number| matching.get(Field::Reg(number)).and_then(|field| u32::try_from(field.value).ok());
    let ports = field(reg::PORTS).unwrap_or(0);
    Some(Connection {
        client: Ipv4Addr::from_bits(field(reg::CLIENT)?),
        server: Ipv4Addr::from_bits(field(reg::SERVER)?),
        client_port: u16::try_from(ports >> 16).ok()?,
        server_port: u16::try_from(ports & 0xffff).ok()?,
        protocol: u8::try_from(field(reg::PROTOCOL)?).ok()?,
        established: true,
        closing: false,
        copy: false,
        fleeting: false,
    })
}

fn loaded(instructions: &[Instruction], number: u8) -> Option<u128> {
    Instruction::canonical(instructions).iter().find_map(|instruction| match instruction {
        Instruction::ApplyActions(actions) => actions.iter().find_map(|action| match action {
            Action::SetField(field) if field.field == Field::Reg(number) => Some(field.value),
            _ => None,
        }),
        _ => None,
    })
}

/// The entry that the switch would have learned, or its deletion. What another router holds for itself is not touched.
pub(super) fn write_connection(
    plan: &DatapathPlan,
    owner: NodeIndex,
    connection: &Connection,
    add: bool,
) -> Option<FlowMod> {
    let RolePlan::Router(router) = &plan.role else { return None };
    let own = owner == plan.index;
    let ports = u32::from(connection.client_port) << 16 | u32::from(connection.server_port);
    let matching = protocol(connection.protocol)
        .with(Field::Reg(reg::CLIENT), connection.client.to_bits())
        .with(Field::Reg(reg::SERVER), connection.server.to_bits())
        .with(Field::Reg(reg::PORTS), ports)
        .with(Field::Reg(reg::PROTOCOL), connection.protocol);
    let state = if connection.protocol == TCP && connection.established { STATE_ESTABLISHED } else { STATE_OPENING };
    let mut actions = vec![load(reg::STATE, state), load(reg::ROUTER, owner.0)];
    if own {
        actions.extend([reg::REMEMBERED, reg::SHARD, reg::INCARNATION].map(|number| load(number, 0)));
    } else {
        actions.push(load(reg::COPIED, 1));
    }
    if connection.protocol == TCP {
        // Open vSwitch takes the action in an entry for TCP alone, though it learns it in any (BAD_ACTION, 2/10).
        actions.push(Action::FinTimeout { fin_idle_timeout: router.closing_timeout_s, fin_hard_timeout: 0 });
    }
    let full = if own { router.idle_timeout_s } else { copy_timeout(router) };
    let (cookie, priority) = match own {
        true => (cookie::CONNECTION, priority::ANY),
        false => (cookie::COPY | u64::from(owner.0), priority::COPIED),
    };
    Some(FlowMod {
        cookie: if own && !add { cookie::CONNECTION } else { cookie },
        cookie_mask: if add { 0 } else { cookie::PURPOSE_MASK },
        table_id: table::CONNECTIONS,
        command: if add { FlowModCommand::Add } else { FlowModCommand::Delete },
        idle_timeout: if connection.closing { router.closing_timeout_s } else { full },
        hard_timeout: 0,
        priority,
        buffer_id: NO_BUFFER,
        out_port: port::ANY,
        out_group: group::ANY,
        flags: if add && own { flow_flags::SEND_FLOW_REM } else { 0 },
        matching,
        instructions: if add { apply(actions) } else { Vec::new() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PortNo;
    use crate::wire::openflow::LearnTarget;

    const OWN: NodeIndex = NodeIndex(2);
    const OTHER: NodeIndex = NodeIndex(3);

    fn plan() -> DatapathPlan {
        let ports = vec![PortNo(9)];
        let router = RouterPlan {
            capacity_connections: 50,
            idle_timeout_s: 300,
            closing_timeout_s: 2,
            half_open_timeout_s: 20,
            inside_ports: vec![PortNo(1)],
            outside_ports: vec![PortNo(2)],
            stands_in_for: vec![OTHER],
            hosts: Vec::new(),
            destinations: Vec::new(),
            mirrors: Default::default(),
            replicas: [(OWN, ports.clone()), (OTHER, ports)].into(),
            translations: std::collections::BTreeMap::new(),
        };
        DatapathPlan {
            index: OWN,
            edge_ports: Vec::new(),
            mirror_ports: vec![PortNo(9)],
            gateways: Vec::new(),
            attached: Vec::new(),
            next_hops: Default::default(),
            role: RolePlan::Router(router),
        }
    }

    fn all() -> impl Iterator<Item = Connection> {
        [TCP, super::super::build::UDP, super::super::build::ICMP].into_iter().flat_map(|protocol| {
            [(true, false), (true, true), (false, false)].into_iter().filter_map(move |(established, closing)| {
                let ports = if protocol == super::super::build::ICMP { (0, 0) } else { (40_000, 443) };
                (protocol == TCP || (established && !closing)).then_some(Connection {
                    client: Ipv4Addr::new(10, 1, 0, 10),
                    server: Ipv4Addr::new(198, 51, 100, 10),
                    client_port: ports.0,
                    server_port: ports.1,
                    protocol,
                    established,
                    closing,
                    copy: false,
                    fleeting: false,
                })
            })
        })
    }

    /// What the switch says of an entry that was written.
    fn stats(entry: FlowMod) -> FlowStats {
        FlowStats {
            table_id: entry.table_id,
            priority: entry.priority,
            idle_timeout: entry.idle_timeout,
            hard_timeout: entry.hard_timeout,
            flags: entry.flags,
            cookie: entry.cookie,
            matching: entry.matching,
            instructions: entry.instructions,
            duration_sec: 1,
            duration_nsec: 0,
            packet_count: 1,
            byte_count: 0,
        }
    }

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        let plan = plan();
        for (owner, connection) in [OWN, OTHER].into_iter().flat_map(|owner| all().map(move |it| (owner, it))) {
            let entry = write_connection(&plan, owner, &connection, true).expect("it is a router");
            let expected = Connection { copy: owner != OWN, ..connection };
            assert_eq!(connections(&plan, owner, &[stats(entry.clone())]), [expected]);
            let other = if owner == OWN { OTHER } else { OWN };
            assert_eq!(connections(&plan, other, &[stats(entry)]), [], "another's");
        }
    }

    #[test]
    fn what_is_written_takes_the_place_of_what_was_learned() {
        let plan = plan();
        let RolePlan::Router(router) = &plan.role else { unreachable!() };
        let learned = [
            (OWN, router::connection(router, 0, 0, STATE_ESTABLISHED)),
            (OTHER, copied(router, OTHER, STATE_ESTABLISHED)),
        ];
        for ((owner, learn), connection) in learned.iter().flat_map(|learned| all().map(move |it| (learned, it))) {
            let target = |spec: &LearnSpec| match spec.target {
                LearnTarget::Match { field, .. } => Some(field),
                LearnTarget::Load { .. } | LearnTarget::Output => None,
            };
            let mut matched: Vec<Field> = learn.specs.iter().filter_map(target).collect();
            matched.sort();
            let written = write_connection(&plan, *owner, &connection, true).expect("it is a router");
            let mut fields: Vec<Field> = written.matching.fields.iter().map(|field| field.field).collect();
            fields.sort();
            assert_eq!((fields, written.table_id, written.priority), (matched, learn.table, learn.priority));
            let removed = write_connection(&plan, *owner, &connection, false).expect("it is a router");
            assert_eq!(removed.matching, written.matching);
        }
    }
}
