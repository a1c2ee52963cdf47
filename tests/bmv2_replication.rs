//! Replication between two BMv2 routers: every record passes through the test, which loses, repeats and forges some.

mod fabric;
mod p4replica;

use fabric::{Kind, isolated_on};
use p4replica::switch::Switch;
use p4replica::{Lab, scenario};

fn run(story: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(story);
}

#[test]
fn bmv2_connections_follow_to_the_shadow_and_come_back() {
    isolated_on(&[Kind::Bmv2], || {
        run(async {
            let (switches, wires) = Switch::bmv2().await;
            scenario::replication(Lab::new(switches, wires).await).await;
        });
    });
}

#[test]
fn bmv2_what_mirroring_costs() {
    isolated_on(&[Kind::Bmv2], || {
        run(async {
            let (switches, wires) = Switch::bmv2().await;
            scenario::costs(Lab::new(switches, wires).await).await;
        });
    });
}

#[test]
fn bmv2_without_mirroring_the_shadow_knows_nothing() {
    isolated_on(&[Kind::Bmv2], || {
        run(async {
            let (switches, wires) = Switch::bmv2().await;
            scenario::nothing_without_mirroring(Lab::new(switches, wires).await).await;
        });
    });
}

#[test]
fn bmv2_real_tcp_survives_its_router() {
    isolated_on(&[Kind::Bmv2], || {
        run(async {
            let (switches, wires) = Switch::bmv2().await;
            scenario::a_router_dies(Lab::new(switches, wires).await, true).await;
        });
    });
}

#[test]
fn bmv2_real_tcp_breaks_without_mirroring() {
    isolated_on(&[Kind::Bmv2], || {
        run(async {
            let (switches, wires) = Switch::bmv2().await;
            scenario::a_router_dies(Lab::new(switches, wires).await, false).await;
        });
    });
}
