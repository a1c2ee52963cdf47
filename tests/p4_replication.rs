//! Replication between two emulated P4 routers: every record passes through the test, which loses, repeats and forges some.

mod p4replica;

use p4replica::switch::Switch;
use p4replica::{Lab, scenario};

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
