//! The sentences that say why a router's shift is what it is.

use super::assess::{Assessment, RELEASE};
use super::{Placed, RouterInput};
use crate::config::{LoopSettings, PolicyKind};
use crate::policy::decision::{RouterDecision, ShiftPhase};
use crate::policy::shadow::Selection;
use crate::policy::shift::{SEVERITY_MAX, SHIFT_MAX_PERCENT, SHIFT_MIN_PERCENT};

/// Sentences, most important first.
pub(super) fn reasons(
    decision: &RouterDecision,
    assessment: &Assessment,
    input: &RouterInput,
    placed: &Placed,
    settings: &LoopSettings,
    selection: &Selection,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if !input.in_service {
        reasons.push("Out of service: its shadows take all new connections.".to_owned());
    }
    if input.in_service && input.held_back_percent > 0.0 {
        let given = 100.0 - input.held_back_percent;
        reasons.push(format!("Back in service: it is given {given:.0} % of its share, and more with every cycle."));
    }
    if assessment.stale {
        reasons.push("No reading in this cycle: the last decision stands.".to_owned());
    }
    signals(decision, assessment, settings, &mut reasons);
    if input.in_service {
        reasons.push(course(decision, placed, settings));
    }
    if decision.unplaced_percent > 0.0 {
        reasons.push(format!(
            "{:.1} % fits on no shadow without crossing its own threshold and stays.",
            decision.unplaced_percent
        ));
    } else if placed.placement.uneven {
        reasons.push("Shadows take in proportion to headroom: an even spread would overload one.".to_owned());
    }
    if selection.shadows.len() < 2 {
        reasons.push(format!("Only {} eligible shadow(s); two or three are wanted.", selection.shadows.len()));
    }
    reasons
}

fn signals(decision: &RouterDecision, assessment: &Assessment, settings: &LoopSettings, reasons: &mut Vec<String>) {
    let available = f64::from(decision.capacity) - decision.load.occupied;
    if decision.crossed {
        reasons.push(format!(
            "Measured crossing: {available:.0} connections available, threshold {}; severity {SEVERITY_MAX:.0}.",
            decision.threshold_available
        ));
    }
    if !settings.policy.looks_ahead() {
        return;
    }
    for (what, surge) in [("new connections a cycle", &assessment.arrivals), ("connections held", &assessment.held)] {
        if surge.severity > 0.0 {
            reasons.push(format!(
                "Surge: {:.0} {what} where {:.0} were expected; anomaly severity {:.1}.",
                surge.recent, surge.expected, surge.severity
            ));
        }
    }
    let Some(forecast) = &decision.forecast else {
        reasons.push("No forecast yet: too little history.".to_owned());
        return;
    };
    let probability = forecast.breach_probability * 100.0;
    if decision.prediction_severity > 0.0 {
        let time = forecast.breach_in_s.unwrap_or(0.0);
        reasons.push(format!(
            "Forecast: {probability:.0} % chance that fewer than {} connections are available, in {time:.0} s \
             (median); prediction severity {:.2}. Model: {}.",
            decision.threshold_available, decision.prediction_severity, forecast.model
        ));
    } else {
        reasons.push(format!(
            "Forecast: breach probability {probability:.0} %; {:.0} % make a signal, {:.0} % keep one.",
            settings.breach_probability * 100.0,
            settings.breach_probability * RELEASE * 100.0
        ));
    }
}

fn course(decision: &RouterDecision, placed: &Placed, settings: &LoopSettings) -> String {
    if settings.policy == PolicyKind::Static {
        return "Policy static: base shares are never shifted.".to_owned();
    }
    let (percent, wanted) = (placed.law.percent, decision.wanted_percent);
    let law = format!(
        "min({SHIFT_MAX_PERCENT:.0}, max({SHIFT_MIN_PERCENT:.0}, ({:.2} + {:.2}) x 10)) = {wanted:.1} %",
        if decision.crossed { SEVERITY_MAX } else { decision.prediction_severity },
        decision.anomaly_severity
    );
    match decision.phase {
        ShiftPhase::Idle => "No signal, nothing shifted.".to_owned(),
        ShiftPhase::Ramping => {
            format!("Law: {law}; ramping by {:.0} points a cycle, now {percent:.1} %.", settings.ramp_step_percent)
        }
        ShiftPhase::Holding if wanted > 0.0 => format!("Law: {law}; holding {percent:.1} %."),
        ShiftPhase::Holding => format!(
            "No signal for {} of {} hold-down cycles: holding {percent:.1} %.",
            placed.law.quiet_cycles, settings.hold_down_cycles
        ),
        ShiftPhase::Restoring => format!(
            "No signal for {} cycles: giving back {:.0} point(s) a cycle, now {percent:.1} %.",
            placed.law.quiet_cycles, settings.restore_step_percent
        ),
    }
}
