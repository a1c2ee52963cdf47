//! The pipeline: what happens to one packet.

use std::sync::Arc;

use super::table::FlowId;
use super::{Effect, Switch, TABLES};
use crate::fabric::packet::{Packet, VLAN_PRESENT, lane, lane_of, number, tcp};
use crate::types::{PortNo, Timestamp};
use crate::wire::openflow::{Action, CtAction, Field, Instruction, Match, NO_BUFFER, PacketIn, Subfield, port};

/// Most levels of `resubmit`, group and recirculation inside one another (Open vSwitch: 64).
const DEPTH_MAX: u32 = 64;
/// Most table look-ups for one packet that entered (Open vSwitch: 4,096 resubmits).
const LOOKUPS_MAX: u32 = 4_096;
/// Most values on the stack of one packet (Open vSwitch bounds the stack too: 65,536 bytes).
const STACK_MAX: usize = 1_024;
/// `in_port` of a resubmit that keeps the packet's own.
const RESUBMIT_IN_PORT: u16 = 0xfff8;
/// Reasons of PACKET_IN.
const REASON_NO_MATCH: u8 = 0;
const REASON_ACTION: u8 = 1;

/// One packet on its way.
pub(super) struct Walk<'a> {
    pub(super) now: Timestamp,
    pub(super) out: &'a mut Vec<Effect>,
    depth: u32,
    lookups: u32,
    /// No further action is executed (time to live ran out, or a bound was hit).
    halted: bool,
    stack: Vec<u64>,
    action_set: Vec<Action>,
    rule: Rule,
}

/// The entry whose actions are being executed.
#[derive(Clone, Copy, Default)]
struct Rule {
    flow: Option<FlowId>,
    table: u8,
    cookie: u64,
    /// It matches everything at priority 0: what it sends to the controller is a miss.
    is_miss: bool,
}

impl Switch {
    /// Sends a packet through the tables from 0 on.
    pub(super) fn pipeline(&mut self, mut packet: Packet, now: Timestamp, out: &mut Vec<Effect>) {
        let mut walk = Walk::new(now, out);
        self.run_table(0, &mut packet, &mut walk);
        self.finish(&mut packet, &mut walk);
    }

    /// Executes the actions of a PACKET_OUT.
    pub(super) fn run_actions(
        &mut self,
        mut packet: Packet,
        actions: &[Action],
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let mut walk = Walk::new(now, out);
        self.apply(actions, &mut packet, &mut walk);
        self.finish(&mut packet, &mut walk);
    }

    /// Executes the action set that the walk gathered.
    fn finish(&mut self, packet: &mut Packet, walk: &mut Walk<'_>) {
        let set = std::mem::take(&mut walk.action_set);
        if !set.is_empty() && !walk.halted {
            self.apply_set(&set, packet, walk);
        }
    }

    /// Looks the packet up in `table` and in those that the entries found there go to.
    fn run_table(&mut self, table: u8, packet: &mut Packet, walk: &mut Walk<'_>) {
        let mut next = Some(table);
        while let Some(table) = next.take() {
            walk.lookups += 1;
            if walk.lookups > LOOKUPS_MAX || table >= TABLES {
                walk.halted = true;
                return;
            }
            let Some(id) = self.tables[usize::from(table)].lookup(packet) else { return };
            let Some(flow) = self.flow_mut(id) else { return };
            flow.packets += 1;
            flow.bytes += u64::from(packet.length);
            flow.used = walk.now;
            walk.rule = Rule {
                flow: Some(id),
                table,
                cookie: flow.cookie,
                is_miss: flow.priority == 0 && flow.pattern.masks.is_empty(),
            };
            let instructions = Arc::clone(&flow.instructions);
            for instruction in instructions.iter() {
                match instruction {
                    Instruction::ApplyActions(actions) => self.apply(actions, packet, walk),
                    Instruction::ClearActions => walk.action_set.clear(),
                    Instruction::WriteActions(actions) => walk.write_actions(actions),
                    Instruction::WriteMetadata { metadata, mask } => {
                        let value = &mut packet.lanes[lane::METADATA];
                        *value = (*value & !mask) | (metadata & mask);
                    }
                    Instruction::GotoTable(table) => next = Some(*table),
                    // Refused when the flow was added.
                    Instruction::Meter(_) | Instruction::Other(_) => {}
                }
                if walk.halted {
                    return;
                }
            }
        }
    }

    /// Executes a list of actions in its order.
    pub(super) fn apply(&mut self, actions: &[Action], packet: &mut Packet, walk: &mut Walk<'_>) {
        for action in actions {
            if walk.halted {
                return;
            }
            self.execute(action, packet, walk);
        }
    }

    fn execute(&mut self, action: &Action, packet: &mut Packet, walk: &mut Walk<'_>) {
        match action {
            Action::Output { port, max_len } => self.output(*port, *max_len, packet, walk),
            Action::OutputReg { source, max_len } => {
                let port = PortNo(packet.get(*source) as u32);
                self.output(port, *max_len, packet, walk);
            }
            Action::Group(group) => self.nested(walk, |switch, walk| switch.run_group(*group, packet, walk)),
            Action::Resubmit { in_port, table } => self.resubmit(*in_port, *table, packet, walk),
            Action::Learn(learn) => self.learn(learn, packet, walk.now, walk.out),
            Action::Ct(ct) => self.ct(ct, packet, walk),
            Action::FinTimeout { fin_idle_timeout, fin_hard_timeout } => {
                let over = packet.lanes[lane::TCP_FLAGS] & (tcp::FIN | tcp::RST) != 0;
                if let Some(flow) = walk.rule.flow.filter(|_| over) {
                    self.shorten(flow, *fin_idle_timeout, *fin_hard_timeout);
                }
            }
            Action::StackPush(source) if walk.stack.len() < STACK_MAX => walk.stack.push(packet.get(*source)),
            Action::StackPush(_) => walk.halted = true,
            Action::StackPop(target) => {
                // Open vSwitch goes on after a pop from an empty stack, too.
                if let Some(value) = walk.stack.pop() {
                    packet.set(*target, value);
                }
            }
            Action::DecNwTtl if packet.lanes[lane::ETH_TYPE] == number::IPV4 => {
                if packet.lanes[lane::IP_TTL] <= 1 {
                    walk.halted = true;
                } else {
                    packet.lanes[lane::IP_TTL] -= 1;
                }
            }
            _ => rewrite(action, packet),
        }
    }

    /// Executes an action set (section 5.10): sets in their order, then only the last of group, output or resubmit.
    /// Anything else in it is dropped silently, as Open vSwitch does.
    pub(super) fn apply_set(&mut self, set: &[Action], packet: &mut Packet, walk: &mut Walk<'_>) {
        let mut run = |wanted: fn(&Action) -> bool, switch: &mut Self, walk: &mut Walk<'_>| {
            for action in set.iter().filter(|action| wanted(action)) {
                if !walk.halted {
                    switch.execute(action, packet, walk);
                }
            }
        };
        run(|action| matches!(action, Action::PopVlan), self, walk);
        run(|action| matches!(action, Action::PushVlan(_)), self, walk);
        run(|action| matches!(action, Action::DecNwTtl | Action::SetNwTtl(_)), self, walk);
        run(
            |action| matches!(action, Action::SetField(_) | Action::RegLoad { .. } | Action::RegMove { .. }),
            self,
            walk,
        );
        let kinds: [fn(&Action) -> bool; 4] = [
            |action| matches!(action, Action::Group(_)),
            |action| matches!(action, Action::Output { .. }),
            |action| matches!(action, Action::Resubmit { .. }),
            |action| matches!(action, Action::Ct(_)),
        ];
        let last = kinds.iter().find_map(|kind| set.iter().rev().find(|action| kind(action)));
        if let Some(action) = last.filter(|_| !walk.halted) {
            self.execute(action, packet, walk);
        }
    }

    /// Goes one level deeper and comes back to the same rule.
    pub(super) fn nested(&mut self, walk: &mut Walk<'_>, run: impl FnOnce(&mut Self, &mut Walk<'_>)) {
        if walk.depth >= DEPTH_MAX {
            walk.halted = true;
            return;
        }
        let rule = walk.rule;
        walk.depth += 1;
        run(self, walk);
        walk.depth -= 1;
        walk.rule = rule;
    }

    fn resubmit(&mut self, in_port: u16, table: u8, packet: &mut Packet, walk: &mut Walk<'_>) {
        let own = packet.lanes[lane::IN_PORT];
        if in_port != RESUBMIT_IN_PORT {
            packet.lanes[lane::IN_PORT] = u64::from(in_port);
        }
        let table = if table == 0xff { walk.rule.table } else { table };
        self.nested(walk, |switch, walk| switch.run_table(table, packet, walk));
        packet.lanes[lane::IN_PORT] = own;
    }

    /// Tracks the packet; a copy goes on in the table named, and the packet itself forgets what was found.
    fn ct(&mut self, ct: &CtAction, packet: &mut Packet, walk: &mut Walk<'_>) {
        const COMMIT: u16 = 1;
        let mut fork = packet.clone();
        let verdict = self.conntrack.track(&mut fork, ct.zone, walk.now);
        for action in &ct.exec {
            rewrite(action, &mut fork);
        }
        if let Some(verdict) = verdict.filter(|_| ct.flags & COMMIT != 0) {
            self.conntrack.commit(verdict, &fork, walk.now);
        }
        if ct.recirc_table != 0xff {
            let (stack, set) = (walk.stack.clone(), walk.action_set.clone());
            self.nested(walk, |switch, walk| {
                switch.run_table(ct.recirc_table, &mut fork, walk);
                switch.finish(&mut fork, walk);
            });
            (walk.stack, walk.action_set) = (stack, set);
        }
        packet.lanes[lane::CT_STATE..=lane::CT_MARK].fill(0);
    }

    fn output(&mut self, target: PortNo, max_len: u16, packet: &Packet, walk: &mut Walk<'_>) {
        match target {
            port::CONTROLLER => walk.packet_in(max_len, packet),
            port::IN_PORT => self.transmit(packet.in_port(), packet, walk),
            port::FLOOD | port::ALL => {
                let others: Vec<_> = self.ports.keys().copied().filter(|port| *port != packet.in_port()).collect();
                for port in others {
                    self.transmit(port, packet, walk);
                }
            }
            // From a PACKET_OUT only, by validation.
            port::TABLE => {
                let mut again = packet.clone();
                self.nested(walk, |switch, walk| switch.run_table(0, &mut again, walk));
            }
            // A packet is never sent back where it came from unless IN_PORT says so (section 5.12).
            other if other != packet.in_port() => self.transmit(other, packet, walk),
            _ => {}
        }
    }

    fn transmit(&mut self, port: PortNo, packet: &Packet, walk: &mut Walk<'_>) {
        let Some(state) = self.ports.get_mut(&port) else { return };
        if !state.up {
            state.tx_dropped += 1;
            return;
        }
        state.tx_packets += 1;
        state.tx_bytes += u64::from(packet.length);
        let mut packet = packet.clone();
        packet.leave_switch();
        walk.out.push(Effect::Transmit { port, packet });
    }

    /// Shortens the time-outs of a flow whose connection ended; it never lengthens them.
    fn shorten(&mut self, id: FlowId, idle: u16, hard: u16) {
        fn at_most(timeout: &mut u16, bound: u16) {
            if bound > 0 && (*timeout == 0 || *timeout > bound) {
                *timeout = bound;
            }
        }
        let Some(flow) = self.flow_mut(id) else { return };
        let before = (flow.idle_timeout, flow.hard_timeout);
        at_most(&mut flow.idle_timeout, idle);
        at_most(&mut flow.hard_timeout, hard);
        if before != (flow.idle_timeout, flow.hard_timeout)
            && let Some((deadline, _)) = flow.deadline()
        {
            let serial = flow.serial;
            self.deadlines.push(std::cmp::Reverse((deadline, id, serial)));
        }
    }
}

impl<'a> Walk<'a> {
    fn new(now: Timestamp, out: &'a mut Vec<Effect>) -> Self {
        Self {
            now,
            out,
            depth: 0,
            lookups: 0,
            halted: false,
            stack: Vec::new(),
            action_set: Vec::new(),
            rule: Rule::default(),
        }
    }

    /// Merges into the action set: one action of each type, one `set_field` of each field; the last wins.
    fn write_actions(&mut self, actions: &[Action]) {
        for action in actions {
            self.action_set.retain(|old| match (old, action) {
                (Action::SetField(a), Action::SetField(b)) => a.field != b.field,
                (Action::RegLoad { target: a, .. }, Action::RegLoad { target: b, .. }) => a != b,
                (Action::RegMove { target: a, .. }, Action::RegMove { target: b, .. }) => a != b,
                (a, b) => std::mem::discriminant(a) != std::mem::discriminant(b),
            });
            self.action_set.push(action.clone());
        }
    }

    fn packet_in(&mut self, max_len: u16, packet: &Packet) {
        let mut data = packet.emit();
        let total_len = u16::try_from(data.len()).unwrap_or(u16::MAX);
        data.truncate(usize::from(max_len));
        let fields = [Field::InPort, Field::Metadata, Field::CtState, Field::CtZone, Field::CtMark];
        let mut matching = Match::any();
        for field in fields.into_iter().chain((0..16).map(Field::Reg)) {
            let value = packet.get(Subfield::whole(field));
            if field == Field::InPort || value != 0 {
                matching = matching.with(field, value);
            }
        }
        self.out.push(Effect::PacketIn(PacketIn {
            buffer_id: NO_BUFFER,
            total_len,
            reason: if self.rule.is_miss { REASON_NO_MATCH } else { REASON_ACTION },
            table_id: self.rule.table,
            cookie: if self.rule.flow.is_some() { self.rule.cookie } else { u64::MAX },
            matching,
            data,
        }));
    }
}

/// Actions that only change the packet.
fn rewrite(action: &Action, packet: &mut Packet) {
    match action {
        Action::SetField(set) => {
            let Some(lane) = lane_of(set.field) else { return };
            if applies(set.field, packet) {
                let mask = set.mask.unwrap_or(set.field.all_ones()) as u64;
                packet.lanes[lane] = (packet.lanes[lane] & !mask) | (set.value as u64 & mask);
            }
        }
        Action::RegLoad { target, value } if applies(target.field, packet) => packet.set(*target, *value),
        Action::RegMove { source, target } if applies(target.field, packet) => {
            let value = packet.get(*source);
            packet.set(*target, value);
        }
        Action::Multipath(multipath) => super::group::multipath(multipath, packet),
        Action::PushVlan(_) => {
            packet.lanes[lane::VLAN_VID] |= VLAN_PRESENT;
            packet.length += 4;
        }
        Action::PopVlan if packet.lanes[lane::VLAN_VID] & VLAN_PRESENT != 0 => {
            packet.lanes[lane::VLAN_VID] = 0;
            packet.lanes[lane::VLAN_PCP] = 0;
            packet.length = packet.length.saturating_sub(4);
        }
        Action::SetNwTtl(ttl) if packet.lanes[lane::ETH_TYPE] == number::IPV4 => {
            packet.lanes[lane::IP_TTL] = u64::from(*ttl);
        }
        _ => {}
    }
}

/// Whether the packet has the header that the field is part of; a field that is not there cannot be written.
fn applies(field: Field, packet: &Packet) -> bool {
    let (eth_type, protocol) = (packet.lanes[lane::ETH_TYPE], packet.lanes[lane::IP_PROTO]);
    match field {
        Field::TcpSrc | Field::TcpDst => eth_type == number::IPV4 && protocol == number::TCP,
        Field::UdpSrc | Field::UdpDst => eth_type == number::IPV4 && protocol == number::UDP,
        Field::Icmpv4Type | Field::Icmpv4Code => eth_type == number::IPV4 && protocol == number::ICMP,
        Field::Ipv4Src | Field::Ipv4Dst | Field::IpDscp | Field::IpEcn | Field::IpTtl => eth_type == number::IPV4,
        Field::ArpOp | Field::ArpSpa | Field::ArpTpa | Field::ArpSha | Field::ArpTha => eth_type == number::ARP,
        _ => true,
    }
}
