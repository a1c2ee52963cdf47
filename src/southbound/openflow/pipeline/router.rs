//! Stage 1: holds connections (docs/DATAPATH.md, "First stage").
//!
//! Every packet becomes a *key* in registers: client address, server address, both ports, protocol; the same key in
//! both directions. So one learned entry is one connection, both directions refresh it, and a FIN or RST from either
//! side shortens it.

use std::collections::{BTreeMap, BTreeSet};

use super::build::{
    Builder, ETH_IPV4, ICMP, TCP, UDP, apply, apply_then, bucket_on_group, copy, destination, drop, go_to, ipv4, load,
    protocol, register, set_mac, towards,
};
use super::replication::{self, Change};
use super::{cookie, edge, group, hops, liveness, nat, priority, reg, table};
use crate::plan::{DatapathPlan, RouterPlan};
use crate::types::{MacAddr, NodeIndex};
use crate::wire::openflow::{
    Action, Field, GroupType, Instruction, LearnAction, LearnSpec, Match, MultipathAction, Subfield, hash_fields,
    learn_flags,
};

/// Up to so many connections the limit is one number and exact. What learning costs grows with the entries that count
/// against the same limit (docs/TARGETS.md), so larger tables are divided.
pub const EXACT_CAPACITY_MAX: u32 = 5_000;
/// Capacity of one part of a divided table, at most.
const SHARD_CAPACITY_MAX: u32 = 4_000;
/// A port pair may be used again while the connection before it still closes; so many of them in a row are told apart.
const INCARNATIONS: u16 = 4;
/// Refused connections that are remembered so that their retransmissions are not counted: shards, and entries in each.
const REMEMBER_SHARDS: u16 = 16;
const REMEMBER_LIMIT: u32 = 1_024;
/// Longer than the longest pause between two retransmissions of a SYN that are followed by another (32 s).
const REMEMBER_S: u16 = 40;

pub(super) const UP: u16 = 1;
pub(super) const DOWN: u16 = 2;
/// States of a learned connection. Only TCP becomes established, by the first packet from inside that is no SYN.
pub(super) const STATE_OPENING: u16 = 1;
pub(super) const STATE_ESTABLISHED: u16 = 2;

/// Flags of TCP.
const FIN: u16 = 0x01;
const SYN: u16 = 0x02;
const RST: u16 = 0x04;
const ACK: u16 = 0x10;

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;

pub(super) fn compile(plan: &DatapathPlan, router: &RouterPlan, builder: &mut Builder) {
    edge::classify(plan, builder);
    liveness::send_back(plan, builder);
    directions(plan, router, builder);
    keys(builder);
    decide(builder);
    progress(router, builder);
    close(router, builder);
    admit(router, builder);
    refuse(builder);
    route(plan, router, builder);
    nat::compile(router, builder);
    replication::compile(plan, router, builder);
}

/// How many parts the table has, and how many connections each may hold; the parts add up to the capacity.
pub fn shards(capacity: u32) -> Vec<u32> {
    if capacity <= EXACT_CAPACITY_MAX {
        return vec![capacity];
    }
    let count = capacity.div_ceil(SHARD_CAPACITY_MAX);
    (0..count).map(|shard| capacity / count + u32::from(shard < capacity % count)).collect()
}

/// Which way a packet goes, and for whom: this router or one that it stands in for.
fn directions(plan: &DatapathPlan, router: &RouterPlan, builder: &mut Builder) {
    let sides = [(UP, &router.inside_ports), (DOWN, &router.outside_ports)];
    for (direction, ports) in sides {
        for port in ports {
            let from = edge::from(*port).with(Field::EthType, ETH_IPV4);
            let go = apply_then(vec![load(reg::DIRECTION, direction)], table::OWNER);
            builder.flow(table::CLASSIFY, priority::FABRIC, from, go);
        }
    }
    for owner in owners(plan, router) {
        let mac = MacAddr::of_node(owner).to_u64();
        let addressed = |to: u64| ipv4().with(Field::EthDst, to);
        let mut ways = vec![(priority::ANY, addressed(mac))];
        if owner != plan.index {
            // Addressed to this switch by those who know that it stands in: the source says for whom.
            let sent = addressed(MacAddr::of_node(plan.index).to_u64()).with(Field::EthSrc, mac);
            ways.push((priority::PINNED, sent));
        }
        for (rank, packets) in ways {
            if router.translations.contains_key(&owner) {
                let replies = nat::from_outside(packets.clone());
                builder.flow(table::OWNER, rank + 1, replies, nat::track_back(owner));
            }
            let go = apply_then(vec![load(reg::ROUTER, owner.0)], table::KEY);
            builder.flow(table::OWNER, rank, packets, go);
        }
    }
}

pub(super) fn owners(plan: &DatapathPlan, router: &RouterPlan) -> BTreeSet<NodeIndex> {
    router.stands_in_for.iter().copied().chain([plan.index]).collect()
}

/// From packet to key, then the look-up.
fn keys(builder: &mut Builder) {
    let ports =
        [(TCP, Some((Field::TcpSrc, Field::TcpDst))), (UDP, Some((Field::UdpSrc, Field::UdpDst))), (ICMP, None)];
    for direction in [UP, DOWN] {
        let (client, server) = match direction {
            UP => (Field::Ipv4Src, Field::Ipv4Dst),
            _ => (Field::Ipv4Dst, Field::Ipv4Src),
        };
        for (number, ports) in ports {
            let mut actions = vec![
                copy(client, Field::Reg(reg::CLIENT)),
                copy(server, Field::Reg(reg::SERVER)),
                load(reg::PROTOCOL, u16::from(number)),
            ];
            if let Some((source, destination)) = ports {
                let (client, server) = if direction == UP { (source, destination) } else { (destination, source) };
                actions.push(port_of_key(client, 16));
                actions.push(port_of_key(server, 0));
            }
            actions.push(Action::resubmit(table::CONNECTIONS));
            let matching = || protocol(number).with(Field::Reg(reg::DIRECTION), direction);
            let kinds = match number {
                // An echo and its reply are known by their addresses alone: Open vSwitch cannot match the identifier.
                ICMP => vec![
                    matching().with(Field::Icmpv4Type, ECHO_REQUEST),
                    matching().with(Field::Icmpv4Type, ECHO_REPLY),
                ],
                _ => vec![matching()],
            };
            for matching in kinds {
                builder.flow(table::KEY, priority::ANY, matching, apply_then(actions.clone(), table::DECIDE));
            }
        }
    }
    builder.counted(cookie::UNKNOWN, table::KEY, priority::MISS, Match::any(), drop());
}

fn port_of_key(source: Field, offset: u16) -> Action {
    let target = Subfield::bits(Field::Reg(reg::PORTS), offset, 16);
    Action::RegMove { source: Subfield::whole(source), target }
}

/// A known connection goes on; an unknown one may be opened from inside; all else is dropped and counted.
fn decide(builder: &mut Builder) {
    for state in [STATE_OPENING, STATE_ESTABLISHED] {
        let known = register(reg::STATE, state);
        builder.flow(table::DECIDE, priority::ANY, known.clone(), go_to(table::ROUTE_SOURCE));
        let tcp = known.with(Field::EthType, ETH_IPV4).with(Field::IpProto, TCP);
        let look_up = vec![Action::resubmit(table::CLOSING)];
        builder.flow(table::DECIDE, priority::PROTOCOL, tcp, apply_then(look_up, table::PROGRESS));
    }
    let new = |number| protocol(number).with(Field::Reg(reg::DIRECTION), UP).with(Field::Reg(reg::STATE), 0_u8);
    for opening in [opens(new(TCP)), new(UDP), new(ICMP).with(Field::Icmpv4Type, ECHO_REQUEST)] {
        builder.flow(table::DECIDE, priority::ANY, opening, go_to(table::SHARD));
    }
    builder.counted(cookie::UNKNOWN, table::DECIDE, priority::MISS, Match::any(), drop());
}

/// SYN without ACK.
pub(super) fn opens(tcp: Match) -> Match {
    tcp.with_masked(Field::TcpFlags, SYN, SYN | ACK)
}

/// The handshake ends with the first packet from inside that is no SYN. A SYN on a connection that closes is a new
/// connection with the same ports: it gets an entry of its own, above the old one, which then idles out.
fn progress(router: &RouterPlan, builder: &mut Builder) {
    let up = || protocol(TCP).with(Field::Reg(reg::DIRECTION), UP);
    for (shard, _) in numbered(shards(router.capacity_connections)) {
        for incarnation in 0..INCARNATIONS {
            let settled = up()
                .with(Field::Reg(reg::STATE), STATE_OPENING)
                .with(Field::Reg(reg::SHARD), shard)
                .with(Field::Reg(reg::INCARNATION), incarnation)
                .with_masked(Field::TcpFlags, 0_u8, SYN);
            let learn = connection(router, shard, incarnation, STATE_ESTABLISHED);
            let established = replication::changed(router, Change::Established);
            let learned = Action::Learn(Box::new(learn));
            let go = || apply_then([vec![learned.clone()], established.clone()].concat(), table::CLOSE);
            builder.flow(table::PROGRESS, priority::ANY, settled.clone(), go());
            let late = settled.with(Field::Reg(reg::REMEMBERED), 1_u8);
            builder.counted(cookie::ADMITTED, table::PROGRESS, priority::LATE, late, go());
        }
    }
    for incarnation in 0..INCARNATIONS - 1 {
        let again = opens(up().with(Field::Reg(reg::CLOSING), 1_u8).with(Field::Reg(reg::INCARNATION), incarnation));
        let next = vec![load(reg::INCARNATION, incarnation + 1)];
        builder.flow(table::PROGRESS, priority::PROTOCOL, again, apply_then(next, table::SHARD));
    }
    builder.flow(table::PROGRESS, priority::MISS, Match::any(), go_to(table::CLOSE));
}

/// The first FIN or RST marks the connection as closing; the mark idles out together with the entry, because the same
/// packets refresh both.
fn close(router: &RouterPlan, builder: &mut Builder) {
    let mut specs = key();
    specs.push(LearnSpec::match_same(Field::Reg(reg::INCARNATION)));
    specs.push(LearnSpec::load_value(Subfield::whole(Field::Reg(reg::CLOSING)), 1_u8));
    let mark = LearnAction {
        idle_timeout: router.closing_timeout_s,
        hard_timeout: 0,
        priority: priority::ANY,
        cookie: cookie::CLOSING,
        flags: 0,
        table: table::CLOSING,
        fin_idle_timeout: 0,
        fin_hard_timeout: 0,
        limit: 0,
        result: None,
        specs,
    };
    for flag in [FIN, RST] {
        let first = protocol(TCP).with(Field::Reg(reg::CLOSING), 0_u8).with_masked(Field::TcpFlags, flag, flag);
        let mut actions = vec![Action::Learn(Box::new(mark.clone()))];
        actions.extend(replication::changed(router, Change::Closing));
        let go = apply_then(actions, table::ROUTE_SOURCE);
        // A packet may carry both flags: one entry goes before the other, so that the switch need not guess.
        let rank = if flag == RST { priority::PROTOCOL } else { priority::ANY };
        builder.flow(table::CLOSE, rank, first, go);
    }
    builder.flow(table::CLOSE, priority::MISS, Match::any(), go_to(table::ROUTE_SOURCE));
}

/// Room or no room is decided by `learn` itself, in one step with taking the slot.
fn admit(router: &RouterPlan, builder: &mut Builder) {
    let limits = shards(router.capacity_connections);
    let mut actions = vec![Action::resubmit(table::REMEMBERED)];
    if limits.len() > 1 {
        actions.push(divide(u16::try_from(limits.len()).unwrap_or(u16::MAX)));
    }
    builder.flow(table::SHARD, priority::MISS, Match::any(), apply_then(actions, table::ADMIT));
    let result = Subfield::bits(Field::Reg(reg::ADMITTED), 0, 1);
    for (shard, limit) in numbered(limits) {
        for incarnation in 0..INCARNATIONS {
            let learn =
                LearnAction { limit, result: Some(result), ..connection(router, shard, incarnation, STATE_OPENING) };
            let learn = LearnAction { flags: learn.flags | learn_flags::WRITE_RESULT, ..learn };
            let at = register(reg::SHARD, shard).with(Field::Reg(reg::INCARNATION), incarnation);
            // A limit of 0 would mean none.
            let actions = if limit == 0 { Vec::new() } else { vec![Action::Learn(Box::new(learn))] };
            builder.flow(table::ADMIT, priority::ANY, at, apply_then(actions, table::VERDICT));
        }
    }
    // Without a packet at hand Open vSwitch takes the result for a 1 when it looks at a cached decision again, and counts
    // here what it refused before. So who was refused once is counted when its handshake ends instead.
    let admitted = register(reg::ADMITTED, 1);
    let go = || match replication::changed(router, Change::Opened) {
        nothing if nothing.is_empty() => go_to(table::ROUTE_SOURCE),
        opened => apply_then(opened, table::ROUTE_SOURCE),
    };
    builder.flow(table::VERDICT, priority::ANY, admitted.clone(), go());
    let at_once = admitted.with(Field::Reg(reg::REMEMBERED), 0_u8);
    builder.counted(cookie::ADMITTED, table::VERDICT, priority::LATE, at_once, go());
    builder.flow(table::VERDICT, priority::MISS, Match::any(), go_to(table::REFUSE));
}

/// Shard number by a hash of the connection.
fn divide(count: u16) -> Action {
    Action::Multipath(MultipathAction {
        fields: hash_fields::SYMMETRIC_L3L4_UDP,
        basis: 0,
        algorithm: 0,
        max_link: count.saturating_sub(1),
        arg: 0,
        target: Subfield::whole(Field::Reg(reg::SHARD)),
    })
}

fn numbered(limits: Vec<u32>) -> impl Iterator<Item = (u16, u32)> {
    (0..).zip(limits)
}

/// The entry of a connection.
pub(super) fn connection(router: &RouterPlan, shard: u16, incarnation: u16, state: u16) -> LearnAction {
    let mut specs = entry();
    specs.push(LearnSpec::load_value(Subfield::whole(Field::Reg(reg::STATE)), state));
    for kept in [reg::ROUTER, reg::REMEMBERED].map(|number| Subfield::whole(Field::Reg(number))) {
        specs.push(LearnSpec::load_field(kept, kept));
    }
    specs.push(LearnSpec::load_value(Subfield::whole(Field::Reg(reg::SHARD)), shard));
    specs.push(LearnSpec::load_value(Subfield::whole(Field::Reg(reg::INCARNATION)), incarnation));
    LearnAction {
        idle_timeout: router.idle_timeout_s,
        hard_timeout: 0,
        priority: priority::ANY + incarnation,
        cookie: cookie::CONNECTION | u64::from(shard),
        flags: learn_flags::SEND_FLOW_REM,
        table: table::CONNECTIONS,
        fin_idle_timeout: router.closing_timeout_s,
        fin_hard_timeout: 0,
        limit: 0,
        result: None,
        specs,
    }
}

/// What an entry of the table of connections matches. The protocol stands in it twice: an entry that the controller writes
/// has to name it in the packet too, and both have to be one entry.
pub(super) fn entry() -> Vec<LearnSpec> {
    let packet = [
        LearnSpec::match_value(Field::EthType, ETH_IPV4),
        LearnSpec::match_field(Field::IpProto, Field::Reg(reg::PROTOCOL)),
    ];
    packet.into_iter().chain(key()).collect()
}

pub(super) fn key() -> Vec<LearnSpec> {
    [reg::CLIENT, reg::SERVER, reg::PORTS, reg::PROTOCOL].map(|number| LearnSpec::match_same(Field::Reg(number))).into()
}

/// A refused connection counts once: it is remembered while its opening packet may come again. That packet is
/// admitted all the same once there is room.
fn refuse(builder: &mut Builder) {
    builder.flow(table::REFUSE, priority::ANY, register(reg::REMEMBERED, 1), drop());
    let again = apply_then(vec![divide(REMEMBER_SHARDS)], table::REMEMBER);
    builder.counted(cookie::REFUSED, table::REFUSE, priority::MISS, Match::any(), again);
    for shard in 0..REMEMBER_SHARDS {
        let mut specs = key();
        specs.push(LearnSpec::load_value(Subfield::whole(Field::Reg(reg::REMEMBERED)), 1_u8));
        let learn = LearnAction {
            idle_timeout: REMEMBER_S,
            hard_timeout: 0,
            priority: priority::ANY,
            cookie: cookie::REMEMBERED | u64::from(shard),
            flags: 0,
            table: table::REMEMBERED,
            fin_idle_timeout: 0,
            fin_hard_timeout: 0,
            limit: REMEMBER_LIMIT,
            result: None,
            specs,
        };
        let actions = apply(vec![Action::Learn(Box::new(learn))]);
        builder.flow(table::REMEMBER, priority::ANY, register(reg::SHARD, shard), actions);
    }
}

/// The packet leaves under the MAC address of the connection's owner, so that the reply finds the state.
fn route(plan: &DatapathPlan, router: &RouterPlan, builder: &mut Builder) {
    for owner in owners(plan, router) {
        let source = set_mac(Field::EthSrc, MacAddr::of_node(owner));
        let go = match router.mirrors.contains_key(&owner) {
            true => apply_then(vec![source, Action::resubmit(table::SAMPLED)], table::MIRROR),
            false => apply_then(vec![source], nat::next(router)),
        };
        builder.flow(table::ROUTE_SOURCE, priority::ANY, register(reg::ROUTER, owner.0), go);
    }
    for (address, switch) in &router.hosts {
        let to = ipv4().with(Field::Ipv4Dst, address.to_bits());
        builder.flow(table::ROUTE, priority::HOST, to, send(plan, *switch));
    }
    // Prefixes that lead to the same switches share a group.
    let mut shared: BTreeMap<&[NodeIndex], u32> = BTreeMap::new();
    for (prefix, switches) in &router.destinations {
        let instructions = match &switches[..] {
            [] => continue,
            [only] => send(plan, *only),
            several => {
                let next = u32::try_from(shared.len()).expect("fewer destinations than 2^32");
                let id = *shared.entry(several).or_insert_with(|| group::destination(next));
                apply(vec![Action::DecNwTtl, Action::Group(id)])
            }
        };
        builder.flow(table::ROUTE, priority::prefix(*prefix), destination(*prefix), instructions);
    }
    for (switches, id) in shared {
        let reachable = switches.iter().filter(|switch| hops::towards(plan, **switch).is_some());
        let buckets = reachable.map(|switch| {
            let hop = group::hop(*switch);
            bucket_on_group(1, hop, vec![towards(*switch), Action::Group(hop)])
        });
        builder.group(id, GroupType::Select, buckets.collect());
    }
}

fn send(plan: &DatapathPlan, switch: NodeIndex) -> Vec<Instruction> {
    match hops::towards(plan, switch) {
        Some(go) => apply(vec![Action::DecNwTtl, towards(switch), go]),
        None => drop(),
    }
}
