//! Stage 3: pins connections to routers and spreads new ones by weight (docs/DATAPATH.md, "Third stage").

use std::collections::BTreeSet;

use super::build::{
    Builder, TCP, apply, apply_then, bucket, destination, ipv4, load, protocol, register, set_mac, towards,
};
use super::{cookie, edge, group, hops, pins, priority, reg, table};
use crate::plan::{AccessPlan, DatapathPlan, SLOTS, ServiceSlots, Spread};
use crate::types::MacAddr;
use crate::wire::openflow::{Action, Field, GroupType, MultipathAction, Subfield, hash_fields};

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
