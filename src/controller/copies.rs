//! What the fabric has of keepers just now, for [`super::replication`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::replication::{Group, Replication};
use super::{Controller, Output};
use crate::config::{LinkKind, LoopSettings, Protocol, Topology};
use crate::network::Trust;
use crate::southbound::Event;
use crate::types::{DatapathId, NodeIndex, Timestamp};

/// No pairs yet.
pub(super) fn replication(topology: &Topology, settings: &LoopSettings) -> Replication {
    let datapaths = topology.routers().map(|router| (router.index, router.datapath)).collect();
    Replication::new(Duration::from_millis(settings.replication_interval_ms), datapaths)
}

impl Controller {
    pub(super) fn about_connections(
        &mut self,
        datapath: DatapathId,
        event: Event,
        now: Timestamp,
        output: &mut Output,
    ) {
        let Some(node) = self.switches.get(&datapath).map(|switch| switch.node.index) else { return };
        output.commands.extend(self.replication.event(node, event, now));
    }

    /// Owners, holders and keepers follow from the shadows that were decided and from who stands in for whom.
    pub(super) fn arrange_replication(&mut self, now: Timestamp) {
        let shadows = self.shadows();
        let mut groups = BTreeMap::new();
        for (owner, shadows) in &shadows {
            let holder = self.stand_ins().get(owner).copied().unwrap_or(*owner);
            let others = shadows.iter().chain([owner]).filter(|node| **node != holder);
            let keepers = others.map(|keeper| (*keeper, self.can_keep(holder, *keeper))).collect();
            groups.insert(*owner, Group { holder, keepers });
        }
        self.replication.arrange(groups, now);
    }

    /// Whether copies can come to `keeper`, and its table be compared.
    fn can_keep(&self, holder: NodeIndex, keeper: NodeIndex) -> Result<(), &'static str> {
        let node = |index| self.topology.by_index(index);
        let (Some(from), Some(to)) = (node(holder), node(keeper)) else { return Err("not a node") };
        let joined = |from, to| {
            self.links.iter().any(|link| {
                link.kind == LinkKind::Mirror
                    && link.trust != Trust::Dead
                    && link.seen_from(from).is_some_and(|(_, other)| other == to)
            })
        };
        let connected = |datapath| self.switches.get(datapath).is_some_and(super::Switch::connected);
        match () {
            () if from.protocol != to.protocol => Err("unlike data paths"),
            () if !connected(&to.datapath) => Err("not connected"),
            () if !connected(&from.datapath) => Err("its holder is not connected"),
            () if !joined(holder, keeper) => Err("no mirror link"),
            () if from.protocol == Protocol::P4Runtime => Err("not compared on P4"),
            () => Ok(()),
        }
    }

    /// Who stands in for whom.
    fn stand_ins(&self) -> BTreeMap<NodeIndex, NodeIndex> {
        BTreeMap::new()
    }
}
