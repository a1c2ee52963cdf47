//! Which routers stand beside which (docs/SHADOW.md).
//!
//! Candidates are first-stage routers joined to this one by a mirror link that is up: without it the shadow could not
//! know this router's connections. They are scored by latency, shared risk and spare capacity, and a set once chosen
//! is kept until something relevant changes.

use serde::{Deserialize, Serialize};

use crate::types::NodeIndex;

/// Score points of one shared-risk group in common: more than any latency inside a site, so that a shadow that would
/// die with its router is taken only when there is no other.
const RISK_POINTS: f64 = 100.0;
/// Score points of a router without any spare capacity, against one that is empty.
const LOAD_POINTS: f64 = 10.0;
/// A challenger takes the place of a shadow when it was better by this many points ...
const MARGIN_POINTS: f64 = 3.0;
/// ... for so many cycles on end.
const DWELL_CYCLES: u32 = 30;
/// Weight of the newest cycle in the smoothed spare capacity.
const SPARE_SMOOTHING: f64 = 0.05;

/// One router that might shadow another, as this cycle sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub router: NodeIndex,
    /// Of the mirror link, as configured.
    pub latency_us: u32,
    /// Shared-risk groups in common.
    pub shared_risks: Vec<String>,
    /// Part of its capacity above the threshold that is free, in [0, 1].
    pub spare: f64,
    /// In service, session up, mirror link up.
    pub eligible: bool,
    /// Why not, where it is not eligible.
    pub ineligible_because: Option<String>,
}

/// A chosen shadow and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selected {
    pub router: NodeIndex,
    /// Lower is better.
    pub score: f64,
    pub latency_us: u32,
    pub reason: String,
}

/// Lower is better: milliseconds of latency, 100 for each shared risk, up to 10 for load.
pub fn score(latency_us: u32, shared_risks: usize, spare: f64) -> f64 {
    let spare = if spare.is_finite() { spare.clamp(0.0, 1.0) } else { 0.0 };
    f64::from(latency_us) / 1e3 + RISK_POINTS * shared_risks as f64 + LOAD_POINTS * (1.0 - spare)
}

/// The shadows of one router from cycle to cycle.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ShadowSet {
    chosen: Vec<NodeIndex>,
    spare: std::collections::BTreeMap<NodeIndex, f64>,
    /// Challenger and the cycles for which it has been better than the worst of the chosen.
    challenger: Option<(NodeIndex, u32)>,
}

/// What one cycle changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Best first.
    pub shadows: Vec<Selected>,
    /// Sentences about what changed in this cycle, empty if nothing did.
    pub changes: Vec<String>,
}

impl ShadowSet {
    /// Chooses up to `wanted` shadows. Failed ones leave at once and free places are filled at once; a shadow that
    /// still serves is replaced only by one that has been clearly better for long.
    pub fn select(&mut self, candidates: &[Candidate], wanted: usize, name: &dyn Fn(NodeIndex) -> String) -> Selection {
        let mut changes = Vec::new();
        let mut ranked = self.rank(candidates);
        self.drop_failed(candidates, wanted, name, &mut changes);
        for (best, _) in &ranked {
            if self.chosen.len() < wanted && !self.chosen.contains(&best.router) {
                self.chosen.push(best.router);
                changes.push(format!("{} becomes a shadow", name(best.router)));
            }
        }
        self.challenge(&ranked, name, &mut changes);
        let places = ranked.len();
        ranked.retain(|(candidate, _)| self.chosen.contains(&candidate.router));
        let explain = |(candidate, score): &(&Candidate, f64)| Selected {
            router: candidate.router,
            score: *score,
            latency_us: candidate.latency_us,
            reason: reason(candidate, self.spare_of(candidate), places),
        };
        Selection { shadows: ranked.iter().map(explain).collect(), changes }
    }

    fn spare_of(&self, candidate: &Candidate) -> f64 {
        self.spare.get(&candidate.router).copied().unwrap_or(candidate.spare)
    }

    /// Eligible candidates, best first, by smoothed spare capacity; ties to the lower index.
    fn rank<'a>(&mut self, candidates: &'a [Candidate]) -> Vec<(&'a Candidate, f64)> {
        self.spare.retain(|router, _| candidates.iter().any(|candidate| candidate.router == *router));
        for candidate in candidates.iter().filter(|candidate| candidate.spare.is_finite()) {
            let smooth = self.spare.entry(candidate.router).or_insert(candidate.spare);
            *smooth += SPARE_SMOOTHING * (candidate.spare - *smooth);
        }
        let eligible = candidates.iter().filter(|candidate| candidate.eligible);
        let mut ranked: Vec<_> = eligible
            .map(|candidate| {
                let points = score(candidate.latency_us, candidate.shared_risks.len(), self.spare_of(candidate));
                (candidate, points)
            })
            .collect();
        ranked.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.router.cmp(&b.0.router)));
        ranked
    }

    fn drop_failed(
        &mut self,
        candidates: &[Candidate],
        wanted: usize,
        name: &dyn Fn(NodeIndex) -> String,
        changes: &mut Vec<String>,
    ) {
        self.chosen.retain(|router| {
            let candidate = candidates.iter().find(|candidate| candidate.router == *router);
            let why = match candidate {
                Some(candidate) if candidate.eligible => return true,
                Some(candidate) => candidate.ineligible_because.as_deref().unwrap_or("it is not eligible"),
                None => "no mirror link joins it any more",
            };
            changes.push(format!("{} is no longer a shadow: {why}", name(*router)));
            false
        });
        self.chosen.truncate(wanted);
    }

    /// Lets the best of those not chosen replace the worst of those chosen, once it has been better for long.
    fn challenge(
        &mut self,
        ranked: &[(&Candidate, f64)],
        name: &dyn Fn(NodeIndex) -> String,
        changes: &mut Vec<String>,
    ) {
        let is_chosen = |entry: &&(&Candidate, f64)| self.chosen.contains(&entry.0.router);
        let worst = ranked.iter().rev().find(is_chosen);
        let best = ranked.iter().find(|entry| !is_chosen(entry));
        let (Some((worst, worst_score)), Some((best, best_score))) = (worst, best) else {
            self.challenger = None;
            return;
        };
        if worst_score - best_score < MARGIN_POINTS {
            self.challenger = None;
            return;
        }
        let cycles = match self.challenger {
            Some((router, cycles)) if router == best.router => cycles + 1,
            _ => 1,
        };
        self.challenger = Some((best.router, cycles));
        if cycles >= DWELL_CYCLES {
            self.challenger = None;
            self.chosen.retain(|router| *router != worst.router);
            self.chosen.push(best.router);
            changes.push(format!(
                "{} replaces {} as a shadow: better by {:.1} points for {DWELL_CYCLES} cycles",
                name(best.router),
                name(worst.router),
                worst_score - best_score
            ));
        }
    }
}

fn reason(candidate: &Candidate, spare: f64, places: usize) -> String {
    let risk = if candidate.shared_risks.is_empty() {
        "no shared risk".to_owned()
    } else {
        format!("shares {}", candidate.shared_risks.join(", "))
    };
    let milliseconds = f64::from(candidate.latency_us) / 1e3;
    format!(
        "mirror link of {milliseconds:.3} ms, {risk}, {:.0} % of its capacity free, one of {places} eligible",
        spare * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(router: NodeIndex) -> String {
        format!("r{router}")
    }

    fn candidate(router: u16, latency_us: u32, spare: f64) -> Candidate {
        Candidate {
            router: NodeIndex(router),
            latency_us,
            shared_risks: Vec::new(),
            spare,
            eligible: true,
            ineligible_because: None,
        }
    }

    fn ids(selection: &Selection) -> Vec<u16> {
        selection.shadows.iter().map(|shadow| shadow.router.0).collect()
    }

    #[test]
    fn near_free_and_risk_apart_come_first() {
        let mut far = candidate(2, 5_000, 1.0);
        let mut risky = candidate(3, 10, 1.0);
        risky.shared_risks = vec!["rack-1".into()];
        far.spare = 0.9;
        let list = [risky, far, candidate(4, 200, 0.5), candidate(5, 200, 0.9)];
        let selection = ShadowSet::default().select(&list, 3, &name);
        assert_eq!(ids(&selection), [5, 4, 2]);
        assert!(selection.shadows[0].reason.contains("0.200 ms, no shared risk, 90 %"), "{:?}", selection.shadows[0]);
        let all = ShadowSet::default().select(&list, 4, &name);
        assert!(all.shadows[3].reason.contains("shares rack-1"));
    }

    #[test]
    fn a_failed_shadow_is_replaced_at_once() {
        let mut set = ShadowSet::default();
        let mut list = [candidate(2, 100, 1.0), candidate(3, 200, 1.0), candidate(4, 300, 1.0)];
        assert_eq!(ids(&set.select(&list, 2, &name)), [2, 3]);
        list[0].eligible = false;
        list[0].ineligible_because = Some("its session is down".into());
        let selection = set.select(&list, 2, &name);
        assert_eq!(ids(&selection), [3, 4]);
        assert_eq!(selection.changes, ["r2 is no longer a shadow: its session is down", "r4 becomes a shadow"]);
        list[0].eligible = true;
        for _ in 0..100 {
            assert!(set.select(&list, 2, &name).changes.is_empty(), "nearer by 0.2 ms is no reason to change");
        }
    }

    #[test]
    fn wavering_load_moves_nothing_lasting_advantage_does() {
        let mut set = ShadowSet::default();
        set.select(&[candidate(2, 100, 0.9), candidate(3, 100, 0.8)], 1, &name);
        for cycle in 0..500 {
            let spare = if cycle % 20 < 10 { 0.1 } else { 0.9 };
            let selection = set.select(&[candidate(2, 100, spare), candidate(3, 100, 0.6)], 1, &name);
            assert!(selection.changes.is_empty(), "cycle {cycle}: {:?}", selection.changes);
        }
        let mut changed = 0;
        for _ in 0..200 {
            changed += set.select(&[candidate(2, 100, 0.0), candidate(3, 100, 0.9)], 1, &name).changes.len();
        }
        assert_eq!(changed, 1);
    }

    #[test]
    fn nobody_eligible_is_no_panic() {
        let selection = ShadowSet::default().select(&[], 3, &name);
        assert!(selection.shadows.is_empty() && selection.changes.is_empty());
        let odd = [candidate(2, 0, f64::NAN)];
        assert_eq!(ids(&ShadowSet::default().select(&odd, 3, &name)), [2]);
    }
}
