//! Replication: clone sessions towards shadows, whose records may come in where, and the sweeps of a region.

use std::collections::BTreeSet;

use super::super::builder::Builder;
use super::super::regions::{self, Region};
use super::super::{Sweep, SweepKind};
use super::collect;
use crate::p4info::mapping::Mapping;
use crate::plan::{DatapathPlan, RolePlan, RouterPlan};
use crate::types::{NodeIndex, PortNo};

/// Clone sessions by the region whose changes leave by them, to all shadows.
const CHANGES: u16 = 1_000;
/// Clone sessions by the port that a sweep emits to: the ports of one switch are fewer than 512.
const EMISSIONS: u16 = 2_000;
const PORTS: std::ops::Range<u32> = 1..510;
/// Slots of one emitting sweep: each connection in them takes a pass, and packets wait.
const EMIT_SLOTS: u32 = 256;
/// Streams of one port.
const STREAMS: u32 = 16;

/// The session that mirrors the changes of a region; 0 for none.
pub(super) fn mirror(router: &RouterPlan, owner: NodeIndex, region: Region, builder: &mut Builder<'_>) -> u16 {
    let Some(to) = router.mirrors.get(&owner) else { return 0 };
    let ports: BTreeSet<PortNo> = to.iter().map(|mirror| mirror.port).filter(|port| PORTS.contains(&port.0)).collect();
    let sessions = ports.iter().filter_map(|port| Some((emission(*port)?, *port)));
    sessions.for_each(|(session, port)| builder.session(session.into(), &BTreeSet::from([port])));
    if ports.is_empty() || !builder.has("replicas", "take") {
        return 0;
    }
    let session = CHANGES + u16::from(region.place);
    builder.session(session.into(), &ports);
    session
}

/// Lets records of an owner in by the ports where its copies come from.
pub(super) fn admit(router: &RouterPlan, owner: NodeIndex, region: Region, builder: &mut Builder<'_>) {
    for port in router.replicas.get(&owner).into_iter().flatten().filter(|port| PORTS.contains(&port.0)) {
        let stream = port.0 * STREAMS + u32::from(region.place);
        let key = [("port", port.0.into()), ("node", owner.0.into())];
        builder.entry("replicas", &key, "take", &[("stream", stream.into())]);
    }
}

fn emission(port: PortNo) -> Option<u16> {
    u16::try_from(port.0).ok().filter(|port| PORTS.contains(&u32::from(*port))).map(|port| EMISSIONS + port)
}

/// Sweeps of one kind over the region of an owner; none where there is no region, or no port to the shadow.
pub(super) fn sweeps(
    mapping: &Mapping,
    plan: &DatapathPlan,
    kind: SweepKind,
    owner: NodeIndex,
    shadow: Option<NodeIndex>,
) -> Vec<Sweep> {
    let RolePlan::Router(router) = &plan.role else { return Vec::new() };
    let session = match shadow {
        // What a router doubts of its own, somebody else carries now: all of it is a copy from then on.
        None if kind == SweepKind::Doubt && owner == plan.index => Some(1),
        None => Some(0),
        Some(shadow) => {
            let mut to = router.mirrors.get(&owner).into_iter().flatten();
            to.find(|mirror| mirror.shadow == shadow).and_then(|mirror| emission(mirror.port))
        }
    };
    let region = regions::layout(plan, router, mapping.connection_slots).of.get(&owner).copied();
    let (Some(session), Some(region)) = (session, region) else { return Vec::new() };
    let sweep = |(first, end)| Sweep { kind, owner: owner.0, first, end, session, ..Sweep::default() };
    let step = if kind == SweepKind::Emit { EMIT_SLOTS } else { mapping.sweep_slots };
    collect::parts(region, step).map(sweep).collect()
}
