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
        let (shadows, stand_ins) = (self.shadows(), self.stand_ins());
        let mut groups = BTreeMap::new();
        for (owner, shadows) in &shadows {
            let holder = stand_ins.get(owner).copied().unwrap_or(*owner);
            let others = shadows.iter().chain([owner]).filter(|node| **node != holder);
            let keepers = others.map(|keeper| (*keeper, self.can_keep(holder, *keeper))).collect();
            let datapath = self.topology.by_index(holder).map(|node| node.datapath);
            let readable = datapath.is_some_and(|datapath| self.has_session(datapath));
            let swept = self.topology.by_index(holder).is_some_and(|node| node.protocol == Protocol::P4Runtime);
            groups.insert(*owner, Group { holder, readable, swept, keepers });
        }
        self.replication.arrange(groups, now);
    }

    fn has_session(&self, datapath: DatapathId) -> bool {
        self.switches.get(&datapath).is_some_and(super::Switch::connected)
    }

    /// Shadows that know the connections of this owner.
    pub(super) fn ready_shadows(&self, owner: NodeIndex, shadows: &[NodeIndex]) -> Vec<NodeIndex> {
        shadows.iter().copied().filter(|shadow| self.replication.ready(owner, *shadow)).collect()
    }

    /// The owner knows what became of its connections while somebody stood in for it.
    pub(super) fn is_back(&self, owner: NodeIndex) -> bool {
        self.replication.is_back(owner)
    }

    /// Begins at once to tell it.
    pub(super) fn bring_back(&mut self, now: Timestamp, output: &mut Output) {
        self.arrange_replication(now);
        output.commands.extend(self.replication.poll(now));
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
        match () {
            () if from.protocol != to.protocol => Err("unlike data paths"),
            () if !self.has_session(to.datapath) => Err("not connected"),
            () if !joined(holder, keeper) => Err("no mirror link"),
            () => Ok(()),
        }
    }
}
