//! What a controller may ask for, and the OpenFlow errors (section 7.5.4) for what it may not.

use super::{Refusal, Switch, TABLES};
use crate::fabric::packet::{lane_of, number};
use crate::wire::openflow::{
    Action, Field, FlowMod, Instruction, LearnSource, LearnTarget, Match, Subfield, learn_flags, port,
};

const BAD_ACTION: u16 = 2;
const BAD_INSTRUCTION: u16 = 3;
const BAD_MATCH: u16 = 4;

const fn refuse(error_type: u16, code: u16, reason: &'static str) -> Refusal {
    Refusal { error_type, code, reason }
}

/// Every field must exist here, once, with its prerequisites, and with no value bit outside its mask.
pub(super) fn check_match(matching: &Match) -> Result<(), Refusal> {
    for (at, field) in matching.fields.iter().enumerate() {
        if lane_of(field.field).is_none() {
            return Err(refuse(BAD_MATCH, 6, "field is not implemented"));
        }
        if matching.fields[..at].iter().any(|other| other.field == field.field) {
            return Err(refuse(BAD_MATCH, 10, "field is there twice"));
        }
        let mask = field.mask.unwrap_or(field.field.all_ones());
        if mask & !field.field.all_ones() != 0 || field.value & !field.field.all_ones() != 0 {
            return Err(refuse(BAD_MATCH, 7, "value is wider than the field"));
        }
        if field.value & !mask != 0 {
            return Err(refuse(BAD_MATCH, 8, "value has bits that its mask leaves out"));
        }
        if !has_prerequisites(field.field, matching) {
            return Err(refuse(BAD_MATCH, 9, "a prerequisite of the field is missing"));
        }
    }
    Ok(())
}

fn has_prerequisites(field: Field, matching: &Match) -> bool {
    let is = |field: Field, value: u64| {
        matching.get(field).is_some_and(|found| found.mask.is_none() && found.value == u128::from(value))
    };
    let ipv4 = || is(Field::EthType, number::IPV4);
    let ipv6 = || is(Field::EthType, number::IPV6);
    let ip = || ipv4() || ipv6();
    match field {
        Field::IpDscp | Field::IpEcn | Field::IpTtl | Field::IpProto => ip(),
        Field::Ipv4Src | Field::Ipv4Dst => ipv4(),
        Field::TcpSrc | Field::TcpDst | Field::TcpFlags => ip() && is(Field::IpProto, number::TCP),
        Field::UdpSrc | Field::UdpDst => ip() && is(Field::IpProto, number::UDP),
        Field::Icmpv4Type | Field::Icmpv4Code => ipv4() && is(Field::IpProto, number::ICMP),
        Field::Icmpv6Type | Field::Icmpv6Code => ipv6() && is(Field::IpProto, number::ICMPV6),
        Field::ArpOp | Field::ArpSpa | Field::ArpTpa | Field::ArpSha | Field::ArpTha => is(Field::EthType, number::ARP),
        _ => true,
    }
}

impl Switch {
    /// Checks the instructions of a flow of `table`.
    pub(super) fn check_instructions(&self, request: &FlowMod, table: u8) -> Result<(), Refusal> {
        let FlowMod { instructions, matching, .. } = request;
        for instruction in instructions {
            match instruction {
                Instruction::GotoTable(next) if *next <= table || *next >= TABLES => {
                    return Err(refuse(BAD_INSTRUCTION, 2, "goto must go to a later table"));
                }
                Instruction::ApplyActions(actions) | Instruction::WriteActions(actions) => {
                    self.check_actions(actions)?;
                    actions.iter().try_for_each(|action| check_read(action, matching))?;
                }
                Instruction::Meter(_) | Instruction::Other(_) => {
                    return Err(refuse(BAD_INSTRUCTION, 1, "instruction is not implemented"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn check_actions(&self, actions: &[Action]) -> Result<(), Refusal> {
        actions.iter().try_for_each(|action| {
            if let Action::Group(id) = action
                && !self.groups.contains_key(id)
            {
                return Err(refuse(BAD_ACTION, 9, "group does not exist"));
            }
            check_action(action)
        })
    }
}

/// What an emulated switch can do; the rest of what the codec knows it refuses.
fn is_implemented(action: &Action) -> bool {
    !matches!(
        action,
        Action::Other(_)
            | Action::CopyTtlOut
            | Action::CopyTtlIn
            | Action::SetMplsTtl(_)
            | Action::DecMplsTtl
            | Action::PushMpls(_)
            | Action::PopMpls(_)
            | Action::PushPbb(_)
            | Action::PopPbb
            | Action::SetTunnel(_)
            | Action::SetTunnel64(_)
            | Action::Note(_)
            | Action::Exit
            | Action::DecTtlFor(_)
            | Action::Controller { .. }
            | Action::Conjunction { .. }
            | Action::OutputReg2 { .. }
            | Action::RegLoad2(_)
            | Action::LinkBundle(_)
            | Action::Sample(_)
            | Action::OutputTrunc { .. }
            | Action::CtClear
            | Action::Nat(_)
    )
}

/// Checks everything about an action that does not depend on what the switch holds.
pub(super) fn check_action(action: &Action) -> Result<(), Refusal> {
    const BAD_TYPE: Refusal = refuse(BAD_ACTION, 0, "action is not implemented");
    const BAD_ARGUMENT: Refusal = refuse(BAD_ACTION, 5, "argument of the action is not valid");
    match action {
        Action::Output { port, .. } => {
            let reserved = matches!(*port, port::IN_PORT | port::TABLE | port::FLOOD | port::ALL | port::CONTROLLER);
            if port.0 == 0 || (*port > port::MAX && !reserved) {
                return Err(refuse(BAD_ACTION, 4, "output port does not exist"));
            }
        }
        Action::SetField(set) => {
            if lane_of(set.field).is_none() || !is_writable(set.field) {
                return Err(refuse(BAD_ACTION, 13, "field cannot be set"));
            }
            let mask = set.mask.unwrap_or(set.field.all_ones());
            if set.value & !mask != 0 || mask & !set.field.all_ones() != 0 {
                return Err(refuse(BAD_ACTION, 14, "value does not fit the field"));
            }
        }
        Action::RegLoad { target, value } => {
            check_target(*target)?;
            if target.n_bits < 64 && value >> target.n_bits != 0 {
                return Err(BAD_ARGUMENT);
            }
        }
        Action::RegMove { source, target } => {
            check_source(*source)?;
            check_target(*target)?;
            if source.n_bits != target.n_bits {
                return Err(BAD_ARGUMENT);
            }
        }
        Action::OutputReg { source, .. } | Action::StackPush(source) => check_source(*source)?,
        Action::StackPop(target) => check_target(*target)?,
        Action::Resubmit { table, .. } if *table != 0xff && *table >= TABLES => return Err(BAD_ARGUMENT),
        Action::Multipath(multipath) => {
            check_target(multipath.target)?;
            let links = u64::from(multipath.max_link) + 1;
            let room = 1u64.checked_shl(u32::from(multipath.target.n_bits)).unwrap_or(u64::MAX);
            if multipath.algorithm != 0 || multipath.fields > 3 || links > room {
                return Err(BAD_ARGUMENT);
            }
        }
        Action::Learn(learn) => check_learn(learn)?,
        Action::Ct(ct) => {
            if ct.alg != 0 || (ct.recirc_table != 0xff && ct.recirc_table >= TABLES) {
                return Err(BAD_ARGUMENT);
            }
            ct.exec.iter().try_for_each(check_action)?;
        }
        other if !is_implemented(other) => return Err(BAD_TYPE),
        _ => {}
    }
    Ok(())
}

/// What an action reads of the packet must be there in every packet of the flow: Open vSwitch wants the prerequisites in
/// its match.
fn check_read(action: &Action, matching: &Match) -> Result<(), Refusal> {
    let there = |field: Field| match has_prerequisites(field, matching) {
        true => Ok(()),
        false => {
            Err(refuse(BAD_ACTION, 10, "the flow does not match the prerequisites of a field that its action reads"))
        }
    };
    match action {
        Action::RegMove { source, .. } | Action::OutputReg { source, .. } | Action::StackPush(source) => {
            there(source.field)
        }
        Action::Learn(learn) => learn.specs.iter().try_for_each(|spec| match spec.source {
            LearnSource::Field { field, .. } => there(field),
            LearnSource::Immediate(_) => Ok(()),
        }),
        _ => Ok(()),
    }
}

fn check_learn(learn: &crate::wire::openflow::LearnAction) -> Result<(), Refusal> {
    const BAD_ARGUMENT: Refusal = refuse(BAD_ACTION, 5, "learn with an argument that is not valid");
    if learn.table >= TABLES || learn.flags & learn_flags::DELETE_LEARNED != 0 {
        return Err(BAD_ARGUMENT);
    }
    if let Some(result) = learn.result {
        check_target(result)?;
    }
    let mut matching = Match::any();
    for spec in &learn.specs {
        if let LearnSource::Field { field, offset } = spec.source {
            check_source(Subfield::bits(field, offset, spec.n_bits))?;
        }
        match spec.target {
            LearnTarget::Match { field, offset } => {
                check_source(Subfield::bits(field, offset, spec.n_bits))?;
                let value = if let LearnSource::Immediate(value) = spec.source { value } else { 0 };
                matching = matching.with(field, value);
            }
            LearnTarget::Load { field, offset } => check_target(Subfield::bits(field, offset, spec.n_bits))?,
            LearnTarget::Output => {}
        }
    }
    // Prerequisites must be part of the entry, as Open vSwitch wants them.
    let all = |wanted: &Field| has_prerequisites(*wanted, &matching);
    if matching.fields.iter().map(|field| field.field).all(|field| all(&field)) { Ok(()) } else { Err(BAD_ARGUMENT) }
}

/// Set-field may not write these (section 7.2.3.7 and ovs-fields(7)).
const fn is_writable(field: Field) -> bool {
    !matches!(
        field,
        Field::InPort
            | Field::EthType
            | Field::IpProto
            | Field::TcpFlags
            | Field::CtState
            | Field::CtZone
            | Field::Icmpv4Type
            | Field::Icmpv4Code
            | Field::Icmpv6Type
            | Field::Icmpv6Code
    )
}

fn check_source(sub: Subfield) -> Result<(), Refusal> {
    if lane_of(sub.field).is_none() || sub.n_bits == 0 || sub.offset + sub.n_bits > sub.field.bits() {
        return Err(refuse(BAD_ACTION, 5, "bits are outside the field"));
    }
    Ok(())
}

fn check_target(sub: Subfield) -> Result<(), Refusal> {
    check_source(sub)?;
    // Loading in_port is how Open vSwitch sends a packet back where it came from.
    if !is_writable(sub.field) && sub.field != Field::InPort {
        return Err(refuse(BAD_ACTION, 5, "field cannot be written"));
    }
    Ok(())
}
