//! `learn`: an entry written by the pipeline itself.

use std::sync::Arc;

use super::flow::Flow;
use super::table::Pattern;
use super::{Effect, Switch};
use crate::fabric::packet::{Packet, lane_of};
use crate::types::{PortNo, Timestamp};
use crate::wire::openflow::{
    Action, Instruction, LearnAction, LearnSource, LearnTarget, Match, Subfield, flow_flags, learn_flags,
};

impl Switch {
    /// Learns the entry; with a limit, only while fewer entries of that table have its cookie. An entry that is
    /// already there gets the new actions and a fresh hard time-out, and keeps its time-outs and counters.
    pub(super) fn learn(&mut self, learn: &LearnAction, packet: &mut Packet, now: Timestamp, out: &mut Vec<Effect>) {
        // Expiry comes first, so that a slot that is due is free.
        self.advance(now, out);
        let (matching, actions) = entry(learn, packet);
        let pattern = Pattern::new(&matching);
        let existing = self.tables[usize::from(learn.table)].find(&pattern, learn.priority);
        let held = self.by_cookie.get(&(learn.table, learn.cookie)).copied().unwrap_or(0);
        let admitted = existing.is_some() || learn.limit == 0 || held < learn.limit;
        if let Some(result) = learn.result.filter(|_| learn.flags & learn_flags::WRITE_RESULT != 0) {
            packet.set(result, u64::from(admitted));
        }
        if !admitted {
            return;
        }
        let instructions: Arc<[Instruction]> = Arc::new([Instruction::ApplyActions(actions)]);
        if let Some(id) = existing {
            let Some(flow) = self.flow_mut(id) else { return };
            flow.modified = now;
            flow.instructions = instructions;
            let old = std::mem::replace(&mut flow.cookie, learn.cookie);
            if old != learn.cookie {
                self.forget_cookie(learn.table, old);
                *self.by_cookie.entry((learn.table, learn.cookie)).or_default() += 1;
            }
            return;
        }
        let notify = learn.flags & learn_flags::SEND_FLOW_REM != 0;
        self.insert_flow(Flow {
            serial: 0,
            table: learn.table,
            priority: learn.priority,
            matching,
            pattern,
            cookie: learn.cookie,
            idle_timeout: learn.idle_timeout,
            hard_timeout: learn.hard_timeout,
            flags: if notify { flow_flags::SEND_FLOW_REM } else { 0 },
            instructions,
            created: now,
            modified: now,
            used: now,
            packets: 0,
            bytes: 0,
        });
    }
}

/// The match and the actions that the specs ask for, of this packet.
fn entry(learn: &LearnAction, packet: &Packet) -> (Match, Vec<Action>) {
    let mut matching = Match::any();
    let mut actions = Vec::with_capacity(learn.specs.len() + 1);
    if learn.fin_idle_timeout != 0 || learn.fin_hard_timeout != 0 {
        actions.push(Action::FinTimeout {
            fin_idle_timeout: learn.fin_idle_timeout,
            fin_hard_timeout: learn.fin_hard_timeout,
        });
    }
    for spec in &learn.specs {
        let value = match spec.source {
            LearnSource::Field { field, offset } => packet.get(Subfield::bits(field, offset, spec.n_bits)),
            LearnSource::Immediate(value) => value as u64,
        };
        match spec.target {
            LearnTarget::Match { field, offset } => add_bits(&mut matching, field, offset, spec.n_bits, value),
            LearnTarget::Load { field, offset } => {
                actions.push(Action::RegLoad { target: Subfield::bits(field, offset, spec.n_bits), value });
            }
            LearnTarget::Output => actions.push(Action::output(PortNo(value as u32))),
        }
    }
    (matching.canonical(), actions)
}

/// Adds some bits of a field to a match; several specs may give parts of one field.
fn add_bits(matching: &mut Match, field: crate::wire::openflow::Field, offset: u16, n_bits: u16, value: u64) {
    if lane_of(field).is_none() {
        return;
    }
    let ones = if n_bits >= 64 { u128::MAX } else { (1 << n_bits) - 1 };
    let (mask, value) = ((ones << offset) & field.all_ones(), (u128::from(value) & ones) << offset);
    match matching.fields.iter_mut().find(|other| other.field == field) {
        Some(other) => {
            other.value = (other.value & !mask) | value;
            other.mask = Some(other.mask.unwrap_or(field.all_ones()) | mask);
        }
        None => *matching = std::mem::take(matching).with_masked(field, value, mask),
    }
}
