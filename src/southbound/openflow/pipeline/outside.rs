//! Stage 0: servers hang here; a reply goes back through the router whose packet it answers.

use super::build::{Builder, apply, apply_then, go_to, ipv4};
use super::{edge, pins, priority, table};
use crate::plan::{DatapathPlan, OutsidePlan};
use crate::types::MacAddr;
use crate::wire::openflow::Field;

pub(super) fn compile(plan: &DatapathPlan, outside: &OutsidePlan, builder: &mut Builder) {
    edge::classify(plan, builder);
    edge::edge_ports(plan, table::UPSTREAM, builder);
    edge::fabric_ports(plan, table::DOWNSTREAM, builder);

    // From servers: to each other directly, else back through the router that the connection is pinned to. What is
    // pinned to none is dropped: connections are opened from inside.
    edge::deliver(plan, table::UPSTREAM, builder);
    builder.flow(table::UPSTREAM, priority::ANY, ipv4(), apply(vec![pins::track(plan, table::PINNED)]));
    pins::follow(plan, &outside.indirection, builder);

    // From routers. The source address is the owner of the connection's state, whichever switch sent the packet.
    builder.flow(table::DOWNSTREAM, priority::ANY, ipv4(), apply(vec![pins::track(plan, table::OWNED)]));
    for owner in outside.indirection.keys() {
        let sent = || ipv4().with(Field::EthSrc, MacAddr::of_node(*owner).to_u64());
        builder.flow(table::OWNED, priority::PINNED, sent().with(Field::CtMark, owner.0), go_to(table::DELIVER));
        // A new connection, or one whose addresses and ports were used before through another router.
        let pin = pins::commit(plan, *owner);
        builder.flow(table::OWNED, priority::ANY, sent(), apply_then(vec![pin], table::DELIVER));
    }
    edge::deliver(plan, table::DELIVER, builder);
}
