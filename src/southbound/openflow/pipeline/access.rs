//! Stage 3: pins connections to routers and spreads new ones by weight (docs/DATAPATH.md, "Third stage").

use std::collections::{BTreeMap, BTreeSet};

use super::build::{
    Builder, TCP, apply, apply_then, bucket, destination, ipv4, load, protocol, register, set_mac, towards,
};
use super::{cookie, edge, group, hops, pins, priority, reg, table};
use crate::plan::{AccessPlan, Choice, DatapathPlan, SLOTS, ServiceSlots, Spread};
use crate::southbound::openflow::state::SwitchState;
use crate::types::{MacAddr, NodeIndex};
use crate::wire::openflow::{Action, Field, GroupType, Instruction, MultipathAction, Subfield, hash_fields};

/// Basis of the hash of [`Spread::Multipath`].
const HASH_BASIS: u16 = 50;

pub(super) fn compile(plan: &DatapathPlan, access: &AccessPlan, builder: &mut Builder) {
    edge::classify(plan, builder);
    edge::edge_ports(plan, table::UPSTREAM, builder);
    edge::fabric_ports(plan, table::DOWNSTREAM, builder);

    edge::deliver(plan, table::UPSTREAM, builder);
    for (address, switch) in &access.remote_hosts {
        let Some(send) = hops::towards(plan, *switch) else { continue };
        let own = set_mac(Field::EthSrc, MacAddr::of_node(plan.index));
        let to = ipv4().with(Field::Ipv4Dst, address.to_bits());
        builder.flow(table::UPSTREAM, priority::HOST, to, apply(vec![own, towards(*switch), send]));
    }
    for service in &access.services {
        for prefix in &service.prefixes {
            let track = pins::track(plan, table::PINNED);
            let actions = vec![load(reg::SERVICE, service.number), track];
            builder.flow(table::UPSTREAM, priority::prefix(*prefix), destination(*prefix), apply(actions));
        }
        choose(service, builder);
        count(plan, access, service, builder);
    }
    pins::follow(plan, &access.indirection, builder);

    // The way back goes through the same zone, so that either direction alone keeps the pin.
    builder.flow(table::DOWNSTREAM, priority::ANY, ipv4(), apply(vec![pins::track(plan, table::DELIVER)]));
    edge::deliver(plan, table::DELIVER, builder);
}

/// A connection without a pin chooses a slot, and with it a router.
fn choose(service: &ServiceSlots, builder: &mut Builder) {
    let unpinned = || register(reg::SERVICE, service.number).with(Field::CtMark, 0_u8);
    let hash = Action::Multipath(MultipathAction {
        fields: hash_fields::SYMMETRIC_L3L4_UDP,
        basis: HASH_BASIS,
        algorithm: 0,
        max_link: u16::try_from(SLOTS - 1).expect("the number of slots fits 16 bits"),
        arg: 0,
        target: Subfield::whole(Field::Reg(reg::SLOT)),
    });
    builder.flow(table::PINNED, priority::ANY, unpinned(), apply_then(vec![hash], table::SLOT));
    for (slot, router) in (0_u16..).zip(&service.choice.slots) {
        let at = register(reg::SERVICE, service.number).with(Field::Reg(reg::SLOT), slot);
        builder.flow(table::SLOT, priority::ANY, at, apply_then(vec![load(reg::ROUTER, router.0)], table::COMMIT));
    }
    if service.choice.spread == Spread::Select {
        // Only TCP: the switch's own hash leaves out the ports of UDP on user-space Open vSwitch.
        let id = group::slots(service.number);
        let tcp = protocol(TCP).with(Field::Reg(reg::SERVICE), service.number).with(Field::CtMark, 0_u8);
        builder.flow(table::PINNED, priority::PROTOCOL, tcp, apply(vec![Action::Group(id)]));
        let to = |router: u16| bucket(1, vec![load(reg::ROUTER, router), Action::resubmit(table::COMMIT)]);
        builder.group(id, GroupType::Select, service.choice.slots.iter().map(|router| to(router.0)).collect());
    }
}

/// The choices that [`choose`] once made entries of: a restarted controller goes on from them.
pub(super) fn choices(state: &SwitchState) -> BTreeMap<u16, Choice> {
    let mut slots: BTreeMap<u16, BTreeMap<u16, NodeIndex>> = BTreeMap::new();
    for (key, entry) in state.flows.iter().filter(|(key, _)| key.table == table::SLOT) {
        let number = |register| u16::try_from(key.matching.get(Field::Reg(register))?.value).ok();
        let router = entry.instructions.iter().find_map(loaded_router);
        if let (Some(service), Some(slot), Some(router)) = (number(reg::SERVICE), number(reg::SLOT), router) {
            slots.entry(service).or_default().insert(slot, router);
        }
    }
    let whole = slots.into_iter().filter(|(_, slots)| slots.keys().copied().eq(0..SLOTS as u16));
    whole
        .map(|(service, slots)| {
            let select = state.groups.contains_key(&group::slots(service));
            let spread = if select { Spread::Select } else { Spread::Multipath };
            (service, Choice { slots: slots.into_values().collect(), spread })
        })
        .collect()
}

fn loaded_router(instruction: &Instruction) -> Option<NodeIndex> {
    let Instruction::ApplyActions(actions) = instruction else { return None };
    actions.iter().find_map(|action| match action {
        Action::RegLoad { target, value } if target.field == Field::Reg(reg::ROUTER) => {
            u16::try_from(*value).ok().map(NodeIndex)
        }
        Action::SetField(set) if set.field == Field::Reg(reg::ROUTER) => u16::try_from(set.value).ok().map(NodeIndex),
        _ => None,
    })
}

/// Pins the connection to the router that was chosen; the packets of these entries are the choices.
fn count(plan: &DatapathPlan, access: &AccessPlan, service: &ServiceSlots, builder: &mut Builder) {
    let routers: BTreeSet<_> = access.indirection.keys().chain(&service.choice.slots).copied().collect();
    for router in routers {
        let chosen = register(reg::SERVICE, service.number).with(Field::Reg(reg::ROUTER), router.0);
        let pin = pins::commit(plan, router);
        builder.counted(
            cookie::chosen(service.number, router),
            table::COMMIT,
            priority::ANY,
            chosen.with(Field::EthType, super::build::ETH_IPV4),
            apply_then(vec![pin], table::INDIRECTION),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_found_again_in_the_entries_they_became() {
        for spread in [Spread::Select, Spread::Multipath] {
            let slots: Vec<NodeIndex> = (0..SLOTS).map(|slot| NodeIndex(if slot % 3 == 0 { 4 } else { 7 })).collect();
            let choice = Choice { slots, spread };
            let service =
                ServiceSlots { service: "web".into(), number: 9, prefixes: Vec::new(), choice: choice.clone() };
            let mut builder = Builder::default();
            choose(&service, &mut builder);
            assert_eq!(choices(&builder.state), BTreeMap::from([(9, choice)]));
            let cut = builder.state.flows.keys().find(|key| key.table == table::SLOT).expect("slots").clone();
            builder.state.flows.remove(&cut);
            assert_eq!(choices(&builder.state), BTreeMap::new(), "a choice with a slot missing is none");
        }
    }
}
