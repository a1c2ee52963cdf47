//! Static NAT of a first-stage router (docs/DATAPATH.md, "Static NAT").
//!
//! The tracker translates what it knows. Whatever it does not know or does not like is translated by the plan alone, which
//! says as much: one address outside for each host, the ports as they are. So whoever stands in needs no tracker's state.

use super::build::{Builder, ICMP, apply, drop, go_to, ipv4, load, protocol, register};
use super::router::{DOWN, UP};
use super::{cookie, priority, reg, table};
use crate::plan::{RouterPlan, Translation};
use crate::types::NodeIndex;
use crate::wire::openflow::{Action, CtAction, Field, Instruction, Match, NatAction};

const COMMIT: u16 = 1;
const SOURCE: u16 = 1;

/// `ct_state`.
const RELATED: u32 = 0x04;
const INVALID: u32 = 0x10;
const TRACKED: u32 = 0x20;
/// The destination was translated: back, for who opened the connection is inside.
const TRANSLATED_BACK: u32 = 0x80;

/// Where packets go once everything about them is decided.
pub(super) fn next(router: &RouterPlan) -> u8 {
    if router.translations.is_empty() { table::ROUTE } else { table::OUTWARD }
}

pub(super) fn compile(router: &RouterPlan, builder: &mut Builder) {
    if router.translations.is_empty() {
        return;
    }
    for (owner, translations) in &router.translations {
        for translation in translations {
            inward(*owner, *translation, builder);
            outward(*owner, *translation, builder);
        }
        // A host for which no address stands.
        let nobody = register(reg::ROUTER, owner.0).with(Field::Reg(reg::DIRECTION), UP);
        builder.counted(cookie::UNKNOWN, table::OUTWARD, priority::ANY, nobody, drop());
    }
    // What the tracker translated back, packets and the errors about them; an error is no packet of its connection.
    let back = ipv4().with_masked(Field::CtState, TRACKED | TRANSLATED_BACK, TRACKED | TRANSLATED_BACK);
    builder.flow(table::INWARD, priority::ANY, back, go_to(table::KEY));
    let flags = TRACKED | RELATED | TRANSLATED_BACK;
    let error = protocol(ICMP).with_masked(Field::CtState, flags, flags | INVALID);
    builder.flow(table::INWARD, priority::PROTOCOL, error, go_to(table::ROUTE_SOURCE));
    builder.counted(cookie::UNKNOWN, table::INWARD, priority::MISS, Match::any(), drop());
    for table in [table::OUTWARD, table::OUTWARD_REST] {
        builder.flow(table, priority::MISS, Match::any(), apply(vec![Action::resubmit(table::ROUTE)]));
    }
}

/// Packets from outside for one of this owner's hosts: by the tracker first.
pub(super) fn track_back(owner: NodeIndex) -> Vec<Instruction> {
    let ct = track(owner, 0, NatAction::default(), table::INWARD);
    apply(vec![load(reg::ROUTER, owner.0), ct])
}

/// The zone is the owner's, wherever its connections are carried: no other switch of stage 1 has that number.
fn track(owner: NodeIndex, flags: u16, nat: NatAction, next: u8) -> Action {
    let exec = vec![Action::Nat(nat)];
    Action::Ct(Box::new(CtAction { flags, zone: owner.0, recirc_table: next, alg: 0, exec }))
}

/// The tracker does not know the connection (it was opened elsewhere) or finds it out of its window.
fn inward(owner: NodeIndex, Translation { inside, outside }: Translation, builder: &mut Builder) {
    let still = ipv4().with(Field::Reg(reg::ROUTER), owner.0).with(Field::Ipv4Dst, outside.to_bits());
    let mut back = apply(vec![Action::set_field(Field::Ipv4Dst, inside.to_bits())]);
    back.push(Instruction::GotoTable(table::KEY));
    builder.flow(table::INWARD, priority::HOST, still, back);
}

fn outward(owner: NodeIndex, Translation { inside, outside }: Translation, builder: &mut Builder) {
    let from = || ipv4().with(Field::Reg(reg::ROUTER), owner.0).with(Field::Ipv4Src, inside.to_bits());
    // Every packet commits: a connection that was opened elsewhere is picked up where it is.
    let nat = NatAction { flags: SOURCE, ipv4_min: Some(outside), ..NatAction::default() };
    let ct = track(owner, COMMIT, nat, table::OUTWARD_REST);
    let up = from().with(Field::Reg(reg::DIRECTION), UP);
    builder.flow(table::OUTWARD, priority::HOST, up, apply(vec![ct]));
    let plain = vec![Action::set_field(Field::Ipv4Src, outside.to_bits()), Action::resubmit(table::ROUTE)];
    builder.flow(table::OUTWARD_REST, priority::HOST, from(), apply(plain));
}

/// Which of an owner's packets go by [`track_back`].
pub(super) fn from_outside(matching: Match) -> Match {
    matching.with(Field::Reg(reg::DIRECTION), DOWN)
}
