//! A state as text, one entry a line, close to what `ovs-ofctl` prints: for people, and for tests that hold the
//! compiled entries against a file.

use std::fmt::{self, Display, Formatter};

use crate::southbound::openflow::state::SwitchState;
use crate::wire::openflow::{
    Action, GroupType, Instruction, LearnAction, LearnSource, LearnTarget, NatAction, Subfield, group, port,
};

/// Every group, then every flow from table 0 on, the highest priority of a table first.
#[derive(Clone, Copy, Debug)]
pub struct Text<'s>(pub &'s SwitchState);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (id, entry) in &self.0.groups {
            writeln!(f, "group {id:#x} {}", kind(entry.group_type))?;
            for (line, count) in runs(entry.buckets.iter().map(|bucket| {
                let mut line = format!("  bucket weight {}", bucket.weight);
                if bucket.watch_port != port::ANY {
                    line += &format!(" watch port {}", bucket.watch_port);
                }
                if bucket.watch_group != group::ANY {
                    line += &format!(" watch group {:#x}", bucket.watch_group);
                }
                format!("{line}: {}", actions(&bucket.actions))
            })) {
                match count {
                    1 => writeln!(f, "{line}")?,
                    _ => writeln!(f, "{line} (x {count})")?,
                }
            }
        }
        let mut flows: Vec<_> = self.0.flows.iter().collect();
        flows.sort_by_key(|(key, _)| (key.table, std::cmp::Reverse(key.priority)));
        for (key, entry) in flows {
            write!(f, "table {} priority {}", key.table, key.priority)?;
            if !key.matching.fields.is_empty() {
                write!(f, " {}", key.matching)?;
            }
            writeln!(f, " cookie {:#x}: {}", entry.cookie, instructions(&entry.instructions))?;
        }
        Ok(())
    }
}

fn kind(group_type: GroupType) -> &'static str {
    match group_type {
        GroupType::All => "all",
        GroupType::Select => "select",
        GroupType::Indirect => "indirect",
        GroupType::FastFailover => "fast failover",
    }
}

/// Equal neighbours once, with their number.
fn runs(lines: impl Iterator<Item = String>) -> Vec<(String, usize)> {
    let mut runs: Vec<(String, usize)> = Vec::new();
    for line in lines {
        match runs.last_mut() {
            Some((last, count)) if *last == line => *count += 1,
            _ => runs.push((line, 1)),
        }
    }
    runs
}

fn instructions(list: &[Instruction]) -> String {
    let each = list.iter().map(|instruction| match instruction {
        Instruction::ApplyActions(list) => actions(list),
        Instruction::GotoTable(table) => format!("goto {table}"),
        other => format!("{other:?}"),
    });
    let texts: Vec<String> = each.filter(|text| !text.is_empty()).collect();
    if texts.is_empty() { "drop".to_owned() } else { texts.join(", ") }
}

fn actions(list: &[Action]) -> String {
    list.iter().map(action).collect::<Vec<_>>().join(", ")
}

fn action(action: &Action) -> String {
    match action {
        Action::Output { port: port::CONTROLLER, .. } => "controller".to_owned(),
        Action::Output { port: port::IN_PORT, .. } => "in_port".to_owned(),
        Action::Output { port, .. } => format!("output {port}"),
        Action::Group(id) => format!("group {id:#x}"),
        Action::DecNwTtl => "dec_ttl".to_owned(),
        Action::SetField(field) => format!("set {field}"),
        Action::RegMove { source, target } => format!("move {} to {}", subfield(source), subfield(target)),
        Action::RegLoad { target, value } => format!("load {value:#x} to {}", subfield(target)),
        Action::Resubmit { table, .. } => format!("resubmit {table}"),
        Action::Multipath(hash) => {
            format!("hash modulo {} to {}", u32::from(hash.max_link) + 1, subfield(&hash.target))
        }
        Action::Ct(ct) => {
            let mut text = format!("{} zone {}", if ct.flags & 1 == 1 { "commit" } else { "track" }, ct.zone);
            if !ct.exec.is_empty() {
                text += &format!(" with {}", actions(&ct.exec));
            }
            if ct.recirc_table != 0xff {
                text += &format!(" then {}", ct.recirc_table);
            }
            text
        }
        Action::Nat(nat) => match nat.ipv4_min {
            Some(address) if *nat == (NatAction { flags: 1, ipv4_min: Some(address), ..NatAction::default() }) => {
                format!("source to {address}")
            }
            None if *nat == NatAction::default() => "what it translates".to_owned(),
            _ => format!("{nat:?}"),
        },
        Action::Learn(learn) => self::learn(learn),
        other => format!("{other:?}"),
    }
}

fn learn(learn: &LearnAction) -> String {
    let mut text = format!(
        "learn(table {} priority {} cookie {:#x} idle {} s",
        learn.table, learn.priority, learn.cookie, learn.idle_timeout
    );
    if learn.fin_idle_timeout != 0 {
        text += &format!(", after FIN {} s", learn.fin_idle_timeout);
    }
    if learn.limit != 0 {
        text += &format!(", limit {}", learn.limit);
    }
    if let Some(result) = &learn.result {
        text += &format!(", result to {}", subfield(result));
    }
    for spec in &learn.specs {
        let source = match &spec.source {
            LearnSource::Field { field, offset } => subfield(&Subfield::bits(*field, *offset, spec.n_bits)),
            LearnSource::Immediate(value) => format!("{value:#x}"),
        };
        text += &match &spec.target {
            LearnTarget::Match { field, offset } => {
                let target = subfield(&Subfield::bits(*field, *offset, spec.n_bits));
                if target == source { format!("; match {target}") } else { format!("; match {target}={source}") }
            }
            LearnTarget::Load { field, offset } => {
                format!("; load {source} to {}", subfield(&Subfield::bits(*field, *offset, spec.n_bits)))
            }
            LearnTarget::Output => format!("; output {source}"),
        };
    }
    text + ")"
}

fn subfield(subfield: &Subfield) -> String {
    if *subfield == Subfield::whole(subfield.field) {
        return subfield.field.to_string();
    }
    format!("{}[{}..{}]", subfield.field, subfield.offset, subfield.offset + subfield.n_bits - 1)
}
