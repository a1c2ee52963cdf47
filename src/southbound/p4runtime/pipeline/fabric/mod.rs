//! A program of form `fabric`: every stage, with pins and connection slots (`p4/fabric.p4`).

use std::collections::BTreeMap;
use std::sync::Arc;

mod collect;
mod compile;
mod replicas;

use super::{
    Collection, Compiled, ForwardingConfig, Incoming, Pipeline, Sweep, SweepKind, SweepReport, choice_of, packets,
    reads,
};
use crate::p4info::mapping::{Form, Mapping};
use crate::plan::{Choice, DatapathPlan};
use crate::southbound::Reading;
use crate::southbound::p4runtime::P4State;
use crate::types::{NodeIndex, PortNo};
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::table_action::Type as Act;

/// A switch that plays any stage.
#[derive(Debug)]
pub(super) struct Fabric {
    mapping: Arc<Mapping>,
    config: ForwardingConfig,
}

impl Fabric {
    pub(super) fn new(mapping: Arc<Mapping>) -> Self {
        debug_assert_eq!(mapping.form, Form::Fabric);
        Self { config: ForwardingConfig::of(&mapping), mapping }
    }
}

impl Pipeline for Fabric {
    fn forwarding_config(&self) -> &ForwardingConfig {
        &self.config
    }

    fn compile(&self, plan: &DatapathPlan) -> Compiled {
        compile::compile(&self.mapping, plan)
    }

    fn read_back(&self) -> Vec<v1::Entity> {
        reads::read_back(&self.mapping, false)
    }

    fn choices(&self, held: &P4State) -> BTreeMap<u16, Choice> {
        choices(&self.mapping, held).unwrap_or_default()
    }

    fn stand_ins(&self, held: &P4State) -> BTreeMap<NodeIndex, NodeIndex> {
        stand_ins(&self.mapping, held).unwrap_or_default()
    }

    fn collect(&self, plan: &DatapathPlan, round: u64) -> Collection {
        collect::collect(&self.mapping, plan, round)
    }

    fn reading(&self, plan: &DatapathPlan, answers: &[v1::Entity], reports: &[SweepReport]) -> Reading {
        collect::reading(&self.mapping, plan, answers, reports)
    }

    fn incoming(&self, packet: &v1::PacketIn) -> Result<Incoming, String> {
        packets::incoming(&self.mapping, packet)
    }

    fn packet_out(&self, port: PortNo, data: Vec<u8>) -> v1::PacketOut {
        packets::packet_out(&self.mapping, port, data)
    }

    fn replication(
        &self,
        plan: &DatapathPlan,
        kind: SweepKind,
        owner: NodeIndex,
        shadow: Option<NodeIndex>,
    ) -> Vec<Sweep> {
        replicas::sweeps(&self.mapping, plan, kind, owner, shadow)
    }

    fn sweep(&self, sweep: &Sweep) -> v1::PacketOut {
        packets::sweep(&self.mapping, sweep)
    }
}

/// The choices that groups were once made of: a restarted controller goes on from them.
fn choices(mapping: &Mapping, held: &P4State) -> Option<BTreeMap<u16, Choice>> {
    let part = mapping.part("choice")?;
    let profile = part.selector.as_ref()?.id;
    let router = |member: u32| {
        let called = held.member(profile, member)?.action.as_ref()?;
        u16::try_from(reads::param(part, "choose", "router", called)?).ok().map(NodeIndex)
    };
    let choice = |entry: &v1::TableEntry| {
        let service = u16::try_from(*reads::key_values(part, entry).get("service")?).ok()?;
        let Act::ActionProfileGroupId(group) = entry.action.as_ref()?.r#type.as_ref()? else { return None };
        let members = &held.group(profile, *group)?.members;
        let weights = members.iter().map(|member| Some((router(member.member_id)?, member.weight)));
        Some((service, choice_of(weights.collect::<Option<Vec<_>>>()?)?))
    };
    Some(held.entries(part.id).filter_map(choice).collect())
}

/// Router ids that mean another router.
fn stand_ins(mapping: &Mapping, held: &P4State) -> Option<BTreeMap<NodeIndex, NodeIndex>> {
    let part = mapping.part("indirection")?;
    let meaning = |entry: &v1::TableEntry| {
        let router = u16::try_from(*reads::key_values(part, entry).get("router")?).ok()?;
        let Act::Action(called) = entry.action.as_ref()?.r#type.as_ref()? else { return None };
        let now = u16::try_from(reads::param(part, "means", "node", called)?).ok()?;
        (router != now).then_some((NodeIndex(router), NodeIndex(now)))
    };
    Some(held.entries(part.id).filter_map(meaning).collect())
}
