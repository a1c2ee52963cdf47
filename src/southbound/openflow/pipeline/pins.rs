//! Pins: which router a connection belongs to, kept by the switch's connection tracker.

use std::collections::BTreeMap;

use super::build::{Builder, apply, apply_then, load, register, set_mac, towards};
use super::{hops, priority, reg, table};
use crate::plan::DatapathPlan;
use crate::southbound::openflow::state::SwitchState;
use crate::types::{MacAddr, NodeIndex};
use crate::wire::openflow::{Action, CtAction, Field, Instruction, Match};

const COMMIT: u16 = 1;
const NO_TABLE: u8 = 0xff;

/// Zone of the pins. Bridges of one Open vSwitch process share a tracker, so each switch has a zone of its own.
pub(super) fn zone(plan: &DatapathPlan) -> u16 {
    plan.index.0
}

/// Looks the connection up and goes on in `next` with its mark.
pub(super) fn track(plan: &DatapathPlan, next: u8) -> Action {
    ct(CtAction { flags: 0, zone: zone(plan), recirc_table: next, alg: 0, exec: Vec::new() })
}

/// Pins the connection to `router`.
pub(super) fn commit(plan: &DatapathPlan, router: NodeIndex) -> Action {
    let mark = Action::set_field(Field::CtMark, router.0);
    ct(CtAction { flags: COMMIT, zone: zone(plan), recirc_table: NO_TABLE, alg: 0, exec: vec![mark] })
}

fn ct(action: CtAction) -> Action {
    Action::Ct(Box::new(action))
}

/// From the mark to the router id, and from there to whatever the id means now: one entry a router.
pub(super) fn follow(plan: &DatapathPlan, indirection: &BTreeMap<NodeIndex, NodeIndex>, builder: &mut Builder) {
    for (router, now) in indirection {
        let pinned = Match::any().with(Field::CtMark, router.0);
        let go = apply_then(vec![load(reg::ROUTER, router.0)], table::INDIRECTION);
        builder.flow(table::PINNED, priority::PINNED, pinned, go);
        let Some(send) = hops::towards(plan, *now) else { continue };
        // Whoever stands in must know for whom: what opens a connection has no entry there yet that would tell.
        let source = if router == now { plan.index } else { *router };
        let source = set_mac(Field::EthSrc, MacAddr::of_node(source));
        let actions = vec![source, towards(*now), send];
        builder.flow(table::INDIRECTION, priority::ANY, register(reg::ROUTER, router.0), apply(actions));
    }
}

/// The ids that [`follow`] once let mean other routers: a restarted controller goes on with them.
pub(super) fn stand_ins(state: &SwitchState) -> BTreeMap<NodeIndex, NodeIndex> {
    let entries = state.flows.iter().filter(|(key, _)| key.table == table::INDIRECTION);
    let meanings = entries.filter_map(|(key, entry)| {
        let router = NodeIndex(u16::try_from(key.matching.get(Field::Reg(reg::ROUTER))?.value).ok()?);
        let now = entry.instructions.iter().find_map(addressed)?;
        Some((router, now))
    });
    meanings.filter(|(router, now)| router != now).collect()
}

/// The node that these actions address the packet to.
fn addressed(instruction: &Instruction) -> Option<NodeIndex> {
    let Instruction::ApplyActions(actions) = instruction else { return None };
    actions.iter().find_map(|action| match action {
        Action::SetField(set) if set.field == Field::EthDst => {
            u64::try_from(set.value).ok().and_then(|mac| MacAddr::from_u64(mac).node())
        }
        _ => None,
    })
}
