//! What is worth telling about a cycle: the differences to the one before, in sentences.

use super::Output;
use crate::config::Topology;
use crate::network::{LinkState, WiredLink};
use crate::policy::decision::{RouterDecision, ShiftPhase};

/// Tells of links that changed their state.
pub(super) fn links(topology: &Topology, before: &[WiredLink], after: &[WiredLink], output: &mut Output) {
    let name = |index| topology.by_index(index).map_or_else(|| format!("{index}"), |node| node.id.to_string());
    for link in after {
        let known = before.iter().find(|known| {
            (known.a, known.b, known.kind) == (link.a, link.b, link.kind)
                && (known.a_port == link.a_port || known.a_port.is_none())
                && (known.b_port == link.b_port || known.b_port.is_none())
        });
        let state = known.map(|known| known.state);
        if state == Some(link.state) || (state.is_none() && link.state != LinkState::Undeclared) {
            continue;
        }
        let what = match link.state {
            LinkState::Up => "is up, seen in both directions",
            LinkState::Down => "is down",
            LinkState::Unseen => "is no longer seen in both directions",
            LinkState::Undeclared => "was found and is not in the topology file",
        };
        let end = |index, port: Option<crate::types::PortNo>| match port {
            Some(port) => format!("{}:{port}", name(index)),
            None => name(index),
        };
        output.tell("link", None, format!("{} - {} {what}", end(link.a, link.a_port), end(link.b, link.b_port)));
    }
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
