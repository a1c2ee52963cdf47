//! What is worth telling about a cycle: the differences to the one before, in sentences.

use std::collections::{BTreeMap, BTreeSet};

use super::Output;
use crate::config::Topology;
use crate::network::{LinkState, WiredLink};
use crate::policy::decision::{RouterDecision, ShiftPhase};
use crate::types::{NodeIndex, PortNo};

/// Tells of links that changed their state.
pub(super) fn links(topology: &Topology, before: &[WiredLink], after: &[WiredLink], output: &mut Output) {
    let name = |index| topology.by_index(index).map_or_else(|| format!("{index}"), |node| node.id.to_string());
    let end = |index, port: Option<PortNo>| match port {
        Some(port) => format!("{}:{port}", name(index)),
        None => name(index),
    };
    let both = |link: &WiredLink| format!("{} - {}", end(link.a, link.a_port), end(link.b, link.b_port));
    // Links that no file declares come after the others, and only while they are known.
    let found: BTreeSet<Wire> = after.iter().map(wire).collect();
    for gone in before.iter().skip(topology.links.len()).filter(|link| !found.contains(&wire(link))) {
        output.tell("link", None, format!("{} is gone", both(gone)));
    }
    let known: BTreeMap<Wire, LinkState> = before.iter().map(|link| (wire(link), link.state)).collect();
    for link in after {
        // The ports of a declared link may have been found only now, one end after the other.
        let earlier = [(link.a_port, link.b_port), (link.a_port, None), (None, link.b_port), (None, None)];
        let state = earlier.into_iter().find_map(|(a_port, b_port)| known.get(&(link.a, a_port, link.b, b_port)));
        let state = state.copied();
        if state == Some(link.state) || (state.is_none() && link.state == LinkState::Unseen) {
            continue;
        }
        let what = match link.state {
            LinkState::Up => "is up, seen in both directions",
            LinkState::Down => "is down",
            LinkState::Unseen => "is no longer seen in both directions",
            LinkState::Undeclared => "was found and is not in the topology file",
        };
        output.tell("link", None, format!("{} {what}", both(link)));
    }
}

/// Both ends of a link.
type Wire = (NodeIndex, Option<PortNo>, NodeIndex, Option<PortNo>);

fn wire(link: &WiredLink) -> Wire {
    (link.a, link.a_port, link.b, link.b_port)
}

/// Tells of forecasts, crossings, refusals and shifts.
pub(super) fn decisions(before: &[RouterDecision], after: &[RouterDecision], output: &mut Output) {
    for decision in after {
        let last = before.iter().find(|last| last.router == decision.router);
        foreseen(last, decision, output);
        crossed(last, decision, output);
        shifted(last, decision, output);
    }
}

fn foreseen(last: Option<&RouterDecision>, decision: &RouterDecision, output: &mut Output) {
    let was = last.is_some_and(|last| last.prediction_severity > 0.0);
    if decision.prediction_severity > 0.0 && !was {
        let forecast = decision.forecast.as_ref();
        let probability = forecast.map_or(0.0, |forecast| forecast.breach_probability);
        let when =
            forecast.and_then(|forecast| forecast.breach_in_s).map_or(String::new(), |s| format!(" in about {s:.0} s"));
        let message = format!(
            "a breach is predicted{when} with probability {probability:.2}: severity {:.1}",
            decision.prediction_severity
        );
        output.tell("forecast", Some(decision.router.clone()), message);
    }
    let surged = last.is_some_and(|last| last.anomaly_severity > 0.0);
    if decision.anomaly_severity > 0.0 && !surged {
        let message = format!("an unexpected surge: severity {:.1}", decision.anomaly_severity);
        output.tell("anomaly", Some(decision.router.clone()), message);
    }
}

fn crossed(last: Option<&RouterDecision>, decision: &RouterDecision, output: &mut Output) {
    let was = last.is_some_and(|last| last.crossed);
    if decision.crossed != was {
        let available = f64::from(decision.capacity) - decision.load.occupied;
        let side = if decision.crossed { "fell below" } else { "are above" };
        let message = format!(
            "available connections {side} the threshold: {available:.0} of {}, threshold {}",
            decision.capacity, decision.threshold_available
        );
        output.tell("crossing", Some(decision.router.clone()), message);
    }
    if decision.load.refused > 0 {
        let message = format!("{} connections were refused in this cycle", decision.load.refused);
        output.tell("refused", Some(decision.router.clone()), message);
    }
}

fn shifted(last: Option<&RouterDecision>, decision: &RouterDecision, output: &mut Output) {
    let from = last.map_or(0.0, |last| last.shift_percent);
    let to = decision.shift_percent;
    let phase = last.map_or(ShiftPhase::Idle, |last| last.phase);
    // Giving back is told when it begins and ends, not at each of its fifty small steps.
    let small_step = decision.phase == ShiftPhase::Restoring && phase == ShiftPhase::Restoring && to > 0.0;
    if (from - to).abs() < 0.05 || small_step {
        return;
    }
    let why = decision.reasons.first().map_or("", String::as_str);
    output.tell("shift", Some(decision.router.clone()), format!("{from:.0} % -> {to:.0} % of new connections: {why}"));
}
