//! What a controller answered to one input: taken in the loop by copying alone, turned into a record elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::format::{Decided, PlanRecord, Sent, Stance, Told};
use crate::controller::{Controller, Output};
use crate::plan::{BridgePlan, DatapathPlan, Generation, Place, RolePlan, Station};
use crate::policy::decision::RouterDecision;
use crate::southbound::Command;
use crate::types::{DatapathId, NodeId};
use crate::wire::lldp::{Key, siphash_2_4};

/// A plan is recorded whole if its JSON without stations is not longer, and it has not more stations; else its digest
/// alone. Large fabrics would otherwise write every plan of a thousand switches at every change.
const WHOLE_BYTES_MAX: usize = 16 * 1024;
const WHOLE_STATIONS_MAX: usize = 256;

/// Digests need no secret: they tell plans apart that differ by accident.
const DIGEST_KEY: Key = Key([0, 0]);

/// The outputs of one input, copied.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Number of the input.
    pub after: u64,
    pub commands: usize,
    pub installs: Vec<(DatapathId, Generation, Box<DatapathPlan>)>,
    pub notices: Vec<Told>,
    pub decided: Option<Decided>,
}

/// Notes what is new after each input.
#[derive(Debug, Default)]
pub struct Observer {
    /// The last cycle whose decisions were looked at.
    cycle: u64,
    stances: BTreeMap<NodeId, Stance>,
}

impl Observer {
    /// `None` if the input led to nothing.
    pub fn answer(&mut self, after: u64, output: &Output, controller: &Controller) -> Option<Answer> {
        let decided = self.decided(controller);
        if output.commands.is_empty() && output.notices.is_empty() && decided.is_none() {
            return None;
        }
        let installs = output.commands.iter().filter_map(|command| match command {
            Command::Install { datapath, generation, plan } => Some((*datapath, *generation, plan.clone())),
            _ => None,
        });
        let told = output.notices.iter().map(|notice| Told {
            kind: notice.kind.to_owned(),
            node: notice.node.clone(),
            message: notice.message.clone(),
        });
        let commands = output.commands.len();
        Some(Answer { after, commands, installs: installs.collect(), notices: told.collect(), decided })
    }

    fn decided(&mut self, controller: &Controller) -> Option<Decided> {
        if controller.cycle() == self.cycle {
            return None;
        }
        let decisions = controller.decisions()?;
        self.cycle = controller.cycle();
        let stances: BTreeMap<NodeId, Stance> =
            decisions.iter().map(|decision| (decision.router.clone(), stance(decision))).collect();
        if stances == self.stances {
            return None;
        }
        self.stances.clone_from(&stances);
        Some(Decided { cycle: self.cycle, routers: stances })
    }
}

fn stance(decision: &RouterDecision) -> Stance {
    // What is no number becomes 0, what is beyond every bound the bound.
    let milli = |percent: f64| (percent * 1_000.0).round() as i64;
    Stance {
        phase: decision.phase,
        shift_milli: milli(decision.shift_percent),
        wanted_milli: milli(decision.wanted_percent),
        shadows: decision.shadows.iter().map(|shadow| shadow.router.clone()).collect(),
    }
}

/// Computes digests of plans; keeps that of the stations, which all plans of one time share.
#[derive(Debug, Default)]
pub(super) struct Digester {
    stations: Option<(Arc<BTreeMap<Station, Place>>, u64)>,
}

impl Digester {
    pub(super) fn sent(&mut self, answer: Answer) -> Sent {
        let plans =
            answer.installs.into_iter().map(|(datapath, generation, plan)| self.plan(datapath, generation, plan));
        Sent {
            after: answer.after,
            commands: answer.commands,
            plans: plans.collect(),
            notices: answer.notices,
            decided: answer.decided,
        }
    }

    fn plan(&mut self, datapath: DatapathId, generation: Generation, plan: Box<DatapathPlan>) -> PlanRecord {
        let (text, stations) = match &plan.role {
            RolePlan::Bridge(bridge) => {
                let bare = RolePlan::Bridge(BridgePlan { stations: Arc::default(), ..bridge.clone() });
                let text = json(&DatapathPlan { role: bare, ..(*plan).clone() }) + &self.of_stations(&bridge.stations);
                (text, bridge.stations.len())
            }
            _ => (json(&plan), 0),
        };
        let whole = text.len() <= WHOLE_BYTES_MAX && stations <= WHOLE_STATIONS_MAX;
        PlanRecord { generation, datapath, digest: hex(digest(text.as_bytes())), plan: whole.then_some(plan) }
    }

    fn of_stations(&mut self, stations: &Arc<BTreeMap<Station, Place>>) -> String {
        if let Some((known, digest)) = &self.stations
            && Arc::ptr_eq(known, stations)
        {
            return hex(*digest);
        }
        let pairs: Vec<_> = stations.iter().collect();
        let digest = digest(json(&pairs).as_bytes());
        self.stations = Some((Arc::clone(stations), digest));
        hex(digest)
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plans and records have JSON for every value")
}

pub(super) fn digest(bytes: &[u8]) -> u64 {
    siphash_2_4(DIGEST_KEY, bytes)
}

/// Digest of a text that goes on: of what came before, and of the next piece.
pub(super) fn chain(before: u64, bytes: &[u8]) -> u64 {
    siphash_2_4(Key([before, 0]), bytes)
}

pub(super) fn hex(digest: u64) -> String {
    format!("{digest:016x}")
}
