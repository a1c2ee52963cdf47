//! Flow and group modifications, packet-out.

use std::sync::Arc;

use super::flow::Flow;
use super::group::{Group, watches_nothing};
use super::table::{FlowId, Pattern};
use super::validate::{check_action, check_match};
use super::{Effect, Refusal, Switch, TABLES};
use crate::fabric::packet::{Packet, lane};
use crate::types::{PortNo, Timestamp};
use crate::wire::openflow::{
    Action, Bucket, FlowMod, FlowModCommand, FlowStatsRequest, GroupMod, GroupModCommand, GroupType, Instruction,
    NO_BUFFER, PacketOut, TABLE_ALL, flow_flags, group, port, removed_reason,
};

const FLOW_MOD_FAILED: u16 = 5;
const GROUP_MOD_FAILED: u16 = 6;
/// Groups have numbers below `OFPG_MAX`.
const GROUP_MAX: u32 = 0xffff_ff00;

const fn refuse(error_type: u16, code: u16, reason: &'static str) -> Refusal {
    Refusal { error_type, code, reason }
}

/// Which flows a request means.
struct Selection {
    table: u8,
    pattern: Pattern,
    /// Exactly this pattern at this priority, instead of all that it covers.
    strict: Option<u16>,
    cookie: u64,
    cookie_mask: u64,
    out_port: PortNo,
    out_group: u32,
}

impl Switch {
    pub fn flow_mod(&mut self, request: &FlowMod, now: Timestamp, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        self.advance(now, out);
        let deletes = matches!(request.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict);
        if request.table_id >= TABLES && !(deletes && request.table_id == TABLE_ALL) {
            return Err(refuse(FLOW_MOD_FAILED, 2, "table does not exist"));
        }
        check_match(&request.matching)?;
        if !deletes {
            self.check_instructions(request, request.table_id)?;
        }
        let pattern = Pattern::new(&request.matching.canonical());
        let strict = matches!(request.command, FlowModCommand::ModifyStrict | FlowModCommand::DeleteStrict);
        let selection = Selection {
            table: request.table_id,
            pattern,
            strict: strict.then_some(request.priority),
            cookie: request.cookie,
            cookie_mask: request.cookie_mask,
            out_port: if deletes { request.out_port } else { port::ANY },
            out_group: if deletes { request.out_group } else { group::ANY },
        };
        match request.command {
            FlowModCommand::Add => self.add_flow(request, selection.pattern, now)?,
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => {
                let instructions: Arc<[Instruction]> = in_order(&request.instructions).into();
                for id in self.select_flows(&selection) {
                    let Some(flow) = self.flow_mut(id) else { continue };
                    flow.instructions = Arc::clone(&instructions);
                    flow.modified = now;
                    if request.flags & flow_flags::RESET_COUNTS != 0 {
                        (flow.packets, flow.bytes) = (0, 0);
                    }
                }
            }
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => {
                for id in self.select_flows(&selection) {
                    self.remove_flow(id, removed_reason::DELETE, now, out);
                }
            }
        }
        if request.buffer_id != NO_BUFFER && !deletes {
            return Err(refuse(1, 8, "packets are never buffered here"));
        }
        Ok(())
    }

    fn add_flow(&mut self, request: &FlowMod, pattern: Pattern, now: Timestamp) -> Result<(), Refusal> {
        if request.flags & flow_flags::CHECK_OVERLAP != 0 {
            let overlaps = |flow: &Flow| {
                flow.table == request.table_id && flow.priority == request.priority && flow.pattern.overlaps(&pattern)
            };
            if self.flow_ids().any(|(_, flow)| overlaps(flow)) {
                return Err(refuse(FLOW_MOD_FAILED, 3, "flow overlaps with another of its priority"));
            }
        }
        let mut flow = Flow {
            serial: 0,
            table: request.table_id,
            priority: request.priority,
            matching: request.matching.canonical(),
            pattern,
            cookie: request.cookie,
            idle_timeout: request.idle_timeout,
            hard_timeout: request.hard_timeout,
            // RESET_COUNTS is about this message, not part of the flow.
            flags: request.flags & (flow_flags::SEND_FLOW_REM | flow_flags::CHECK_OVERLAP),
            instructions: in_order(&request.instructions).into(),
            created: now,
            modified: now,
            used: now,
            packets: 0,
            bytes: 0,
        };
        let existing = self.tables[usize::from(flow.table)].find(&flow.pattern, flow.priority);
        if let Some(old) = existing {
            // The same flow again replaces it without a FLOW_REMOVED (section 6.4); counters go on unless reset.
            if request.flags & flow_flags::RESET_COUNTS == 0
                && let Some(old) = self.flow(old)
            {
                (flow.packets, flow.bytes) = (old.packets, old.bytes);
            }
            if let Some(old) = self.flow_mut(old) {
                old.flags = 0;
            }
            self.remove_flow(old, removed_reason::DELETE, now, &mut Vec::new());
        }
        self.insert_flow(flow);
        Ok(())
    }

    fn select_flows(&self, selection: &Selection) -> Vec<FlowId> {
        if let (Some(priority), 0..TABLES) = (selection.strict, selection.table) {
            let found = self.tables[usize::from(selection.table)].find(&selection.pattern, priority);
            return found.filter(|id| self.flow(*id).is_some_and(|flow| selection.takes(flow))).into_iter().collect();
        }
        self.flow_ids().filter(|(_, flow)| selection.takes(flow)).map(|(id, _)| id).collect()
    }

    /// Flows that a statistics request asks for, in no particular order.
    pub(super) fn requested_flows(&self, request: &FlowStatsRequest) -> Result<Vec<&Flow>, Refusal> {
        if request.table_id >= TABLES && request.table_id != TABLE_ALL {
            return Err(refuse(1, 9, "table does not exist"));
        }
        check_match(&request.matching)?;
        let selection = Selection {
            table: request.table_id,
            pattern: Pattern::new(&request.matching.canonical()),
            strict: None,
            cookie: request.cookie,
            cookie_mask: request.cookie_mask,
            out_port: request.out_port,
            out_group: request.out_group,
        };
        Ok(self.flow_ids().map(|(_, flow)| flow).filter(|flow| selection.takes(flow)).collect())
    }

    pub fn group_mod(&mut self, request: &GroupMod, now: Timestamp, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        self.advance(now, out);
        let exists = self.groups.contains_key(&request.group_id);
        if request.command == GroupModCommand::Delete {
            let gone: Vec<u32> = match request.group_id {
                group::ALL => self.groups.keys().copied().collect(),
                id if exists => vec![id],
                _ => Vec::new(),
            };
            self.delete_groups(&gone, now, out);
            return Ok(());
        }
        if request.group_id >= GROUP_MAX {
            return Err(refuse(GROUP_MOD_FAILED, 1, "group number is reserved"));
        }
        check_buckets(request)?;
        match (request.command, exists) {
            (GroupModCommand::Add, true) => return Err(refuse(GROUP_MOD_FAILED, 0, "group exists already")),
            (GroupModCommand::Modify, false) => return Err(refuse(GROUP_MOD_FAILED, 8, "group does not exist")),
            _ => {}
        }
        let created = self.groups.get(&request.group_id).map_or(now, |group| group.created);
        // A modification starts the counters afresh, as in Open vSwitch.
        let group = Group {
            group_type: request.group_type,
            buckets: request.buckets.clone().into(),
            created,
            packets: 0,
            bytes: 0,
            bucket_counters: vec![(0, 0); request.buckets.len()],
        };
        self.groups.insert(request.group_id, group);
        Ok(())
    }

    /// Deletes groups and the flows that send packets to them (section 6.7).
    fn delete_groups(&mut self, gone: &[u32], now: Timestamp, out: &mut Vec<Effect>) {
        for id in gone {
            self.groups.remove(id);
        }
        let orphans: Vec<FlowId> = self
            .flow_ids()
            .filter(|(_, flow)| gone.iter().any(|group| has_action(flow, |action| *action == Action::Group(*group))))
            .map(|(id, _)| id)
            .collect();
        for id in orphans {
            self.remove_flow(id, removed_reason::GROUP_DELETE, now, out);
        }
    }

    pub fn packet_out(&mut self, request: &PacketOut, now: Timestamp, out: &mut Vec<Effect>) -> Result<(), Refusal> {
        self.advance(now, out);
        if request.buffer_id != NO_BUFFER {
            return Err(refuse(1, 8, "packets are never buffered here"));
        }
        let named = matches!(request.in_port, port::CONTROLLER | port::LOCAL | port::ANY);
        if request.in_port.0 == 0 || (request.in_port > port::MAX && !named) {
            return Err(refuse(1, 11, "in_port does not exist"));
        }
        self.check_actions(&request.actions)?;
        let Some(mut packet) = Packet::parse(&request.data) else {
            return Err(refuse(1, 12, "packet is too short for an Ethernet header"));
        };
        packet.lanes[lane::IN_PORT] = u64::from(request.in_port.0);
        self.run_actions(packet, &request.actions, now, out);
        Ok(())
    }
}

impl Selection {
    fn takes(&self, flow: &Flow) -> bool {
        let covered = match self.strict {
            Some(priority) => flow.priority == priority && flow.pattern == self.pattern,
            None => self.pattern.covers(&flow.pattern),
        };
        covered
            && (self.table == TABLE_ALL || self.table == flow.table)
            && (flow.cookie ^ self.cookie) & self.cookie_mask == 0
            && (self.out_port == port::ANY
                || has_action(flow, |action| matches!(action, Action::Output { port, .. } if *port == self.out_port)))
            && (self.out_group == group::ANY || has_action(flow, |action| *action == Action::Group(self.out_group)))
    }
}

fn has_action(flow: &Flow, wanted: impl Fn(&Action) -> bool) -> bool {
    flow.instructions.iter().any(|instruction| match instruction {
        Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => actions.iter().any(&wanted),
        _ => false,
    })
}

/// Instructions in the order of their execution (section 5.9), whatever order they came in.
fn in_order(instructions: &[Instruction]) -> Vec<Instruction> {
    let rank = |instruction: &Instruction| match *instruction {
        Instruction::Meter(_) | Instruction::Other(_) => 0,
        Instruction::ApplyActions(_) => 1,
        Instruction::ClearActions => 2,
        Instruction::WriteActions(_) => 3,
        Instruction::WriteMetadata { .. } => 4,
        Instruction::GotoTable(_) => 5,
    };
    let mut sorted = instructions.to_vec();
    sorted.sort_by_key(rank);
    sorted
}

fn check_buckets(request: &GroupMod) -> Result<(), Refusal> {
    if request.group_type == GroupType::Indirect && request.buckets.len() != 1 {
        return Err(refuse(GROUP_MOD_FAILED, 1, "an indirect group has exactly one bucket"));
    }
    for bucket in &request.buckets {
        let Bucket { weight, actions, .. } = bucket;
        if request.group_type != GroupType::Select && *weight > 1 {
            return Err(refuse(GROUP_MOD_FAILED, 2, "only select groups have weights"));
        }
        if request.group_type == GroupType::FastFailover && watches_nothing(bucket) {
            return Err(refuse(GROUP_MOD_FAILED, 13, "a fast-failover bucket must watch a port or a group"));
        }
        if actions.contains(&Action::Group(request.group_id)) {
            return Err(refuse(GROUP_MOD_FAILED, 7, "group sends packets to itself"));
        }
        actions.iter().try_for_each(check_action)?;
    }
    Ok(())
}
