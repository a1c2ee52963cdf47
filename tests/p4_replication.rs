//! Replication between two emulated P4 routers: every record passes through the test, which loses, repeats and forges some.

mod fabric;
mod p4replica;

use fabric::{Kind, isolated_on};
use p4replica::switch::Switch;
use p4replica::{Lab, scenario};

fn run(story: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(story);
}

#[tokio::test]
async fn p4_connections_follow_to_the_shadow_and_come_back() {
    let (switches, wires) = Switch::emulated().await;
    scenario::replication(Lab::new(switches, wires).await).await;
}

#[tokio::test]
async fn p4_without_mirroring_the_shadow_knows_nothing() {
    let (switches, wires) = Switch::emulated().await;
    scenario::nothing_without_mirroring(Lab::new(switches, wires).await).await;
}

#[tokio::test]
async fn p4_retransmissions_are_refused_once() {
    let (switches, wires) = Switch::emulated().await;
    scenario::retransmissions_are_refused_once(Lab::new(switches, wires).await).await;
}

#[test]
fn p4_real_tcp_survives_its_router() {
    isolated_on(&[Kind::Emulated], || {
        run(async {
            let (switches, wires) = Switch::emulated().await;
            scenario::a_router_dies(Lab::new(switches, wires).await, true).await;
        });
    });
}

#[test]
fn p4_real_tcp_breaks_without_mirroring() {
    isolated_on(&[Kind::Emulated], || {
        run(async {
            let (switches, wires) = Switch::emulated().await;
            scenario::a_router_dies(Lab::new(switches, wires).await, false).await;
        });
    });
}
