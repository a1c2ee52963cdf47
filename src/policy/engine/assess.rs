//! What one router's readings mean: demand, forecast, surge, signals.

use crate::anomaly::{Detector, Surge};
use crate::config::{LoopSettings, PolicyKind};
use crate::forecast::{Forecast, Forecaster, Sample};
use crate::policy::shift::{Signals, prediction_severity};
use crate::telemetry::{Load, Residence};
use crate::types::Timestamp;

/// Weight of the newest cycle in the smoothed demand.
const DEMAND_WEIGHT: f64 = 0.3;
/// Occupancy is correlated from cycle to cycle, its summed evidence is not worth as much: wider sigmas make up for it.
const OCCUPIED_SIGMAS: f64 = 2.5;
/// While a shift is in force a predicted breach holds down to this part of `breach_probability`.
pub(super) const RELEASE: f64 = 0.2;

/// What is known of a router beside its reading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outside {
    pub(super) limit: f64,
    /// Shift in force during the cycle that was read.
    pub(super) percent: f64,
    /// New connections a second that it takes for others.
    pub(super) inbound_per_s: f64,
    /// Connections it holds for others, and others hold for it.
    pub(super) inbound: f64,
    pub(super) outbound: f64,
}

/// Result of one cycle's reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Assessment {
    pub(super) signals: Signals,
    pub(super) forecast: Option<Forecast>,
    pub(super) arrivals: Surge,
    pub(super) held: Surge,
    /// There was no reading: everything is of the cycle before.
    pub(super) stale: bool,
}

/// Everything that follows one router's readings.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    load: Option<Load>,
    forecaster: Forecaster,
    arrivals: Detector,
    held: Detector,
    residence: Residence,
    demand_per_s: f64,
    /// Shift and inbound rate of the cycle before: a decision takes effect some way into the cycle that follows it.
    before: Outside,
    last_at: Option<Timestamp>,
    last: Assessment,
    peak: Option<f64>,
    /// Breach probability of the cycle before.
    probability: f64,
    /// Connections it would hold in the next cycles were nothing shifted, where that is known.
    future: Option<Vec<f64>>,
}

impl Watch {
    pub(super) fn new(settings: &LoopSettings) -> Self {
        let cycle_s = settings.cycle_ms.max(1) as f64 / 1e3;
        Self {
            load: None,
            forecaster: Forecaster::new(settings.horizon_cycles as usize, cycle_s),
            arrivals: Detector::default(),
            held: Detector::default(),
            residence: Residence::default(),
            demand_per_s: 0.0,
            before: Outside::default(),
            last_at: None,
            last: Assessment::default(),
            peak: None,
            probability: 0.0,
            future: None,
        }
    }

    pub(super) fn know_future(&mut self, occupied: Vec<f64>) {
        self.future = Some(occupied);
    }

    /// It was read at least once.
    pub(super) fn known(&self) -> bool {
        self.load.is_some()
    }

    pub(super) fn load(&self) -> &Load {
        static NONE: Load = Load {
            active: 0.0,
            occupied: 0.0,
            new_per_s: 0.0,
            mean_duration_s: 0.0,
            bytes_per_s: 0.0,
            refused_total: 0,
            refused: 0,
            unknown_packets: 0,
        };
        self.load.as_ref().unwrap_or(&NONE)
    }

    /// New connections a second that would choose this router were nothing shifted, smoothed.
    pub(super) fn demand_per_s(&self) -> f64 {
        self.demand_per_s
    }

    /// Mean seconds in the table.
    pub(super) fn residence_s(&self) -> f64 {
        self.residence.seconds().unwrap_or(self.load().mean_duration_s)
    }

    /// Connections it would hold in the long run at this demand, were nothing shifted (Little's law).
    pub(super) fn demand_connections(&self) -> f64 {
        let stay = self.residence_s();
        if stay > 0.0 { self.demand_per_s * stay } else { self.load().occupied }
    }

    /// Most occupied connections that the forecast expects within its horizon.
    pub(super) fn peak(&self) -> Option<f64> {
        self.peak
    }

    /// No reading: what was concluded before stands.
    pub(super) fn missing(&self) -> Assessment {
        Assessment { stale: true, ..self.last.clone() }
    }

    pub(super) fn observe(
        &mut self,
        now: Timestamp,
        load: &Load,
        outside: &Outside,
        settings: &LoopSettings,
    ) -> Assessment {
        let cycle_s = settings.cycle_ms.max(1) as f64 / 1e3;
        let seconds = self.last_at.map_or(cycle_s, |last| now.since(last).as_secs_f64().max(1e-3));
        self.last_at = Some(now);
        self.load = Some(*load);
        self.residence.observe(load.occupied, load.new_per_s, seconds);
        let demand = self.demand(load, outside, seconds);
        self.demand_per_s += DEMAND_WEIGHT * (demand - self.demand_per_s);
        let mut assessment = Assessment::default();
        assessment.signals.crossed = load.occupied > outside.limit;
        if settings.policy == PolicyKind::Predictive {
            assessment.arrivals = self.arrivals.observe(demand * seconds, 1.0);
            let own = (load.occupied - outside.inbound + outside.outbound).max(0.0);
            assessment.held = self.held.observe(own, OCCUPIED_SIGMAS * own.max(1.0).sqrt());
            assessment.signals.anomaly_severity = assessment.arrivals.severity.max(assessment.held.severity);
        }
        if settings.policy.looks_ahead() {
            assessment.forecast = self.look_ahead(now, load, outside, demand, settings);
            if let Some(forecast) = &assessment.forecast {
                let horizon_s = f64::from(settings.horizon_cycles) * cycle_s;
                // A shift in force is kept until the breach has become unlikely, not merely less likely than not:
                // else giving back would bring the signal back, and the signal the shift.
                let part = if outside.percent > 0.0 { RELEASE } else { 1.0 };
                let needed = part * settings.breach_probability;
                // Two cycles have to agree before a shift begins: one odd sample is not a trend. What is known is none.
                let sure = outside.percent > 0.0 || settings.policy == PolicyKind::Oracle;
                let before = if sure { 1.0 } else { self.probability };
                self.probability = forecast.breach_probability;
                let (probability, time) = (self.probability.min(before), forecast.breach_in_s);
                assessment.signals.prediction_severity = prediction_severity(probability, time, horizon_s, needed);
                self.peak = forecast.mean.iter().copied().reduce(f64::max);
            }
        }
        self.before = *outside;
        self.last = assessment.clone();
        assessment
    }

    /// What is to be expected: by the forecaster, or as it is known to come.
    fn look_ahead(
        &mut self,
        now: Timestamp,
        load: &Load,
        outside: &Outside,
        demand: f64,
        settings: &LoopSettings,
    ) -> Option<Forecast> {
        if settings.policy == PolicyKind::Oracle {
            return self.known_future(outside.limit, settings);
        }
        self.forecaster.observe(
            now,
            Sample {
                occupied: load.occupied,
                new_per_s: load.new_per_s,
                demand_per_s: demand,
                kept: 1.0 - outside.percent.clamp(0.0, 100.0) / 100.0,
                inbound_per_s: outside.inbound_per_s,
            },
        );
        self.forecaster.forecast(outside.limit)
    }

    /// The true future as a forecast that cannot err.
    fn known_future(&self, limit: f64, settings: &LoopSettings) -> Option<Forecast> {
        let mean = self.future.clone()?;
        let crossing = mean.iter().position(|occupied| *occupied > limit);
        Some(Forecast {
            model: "true future".to_owned(),
            lo80: mean.clone(),
            hi80: mean.clone(),
            mean,
            breach_probability: if crossing.is_some() { 1.0 } else { 0.0 },
            breach_in_s: crossing.map(|step| (step + 1) as f64 * settings.cycle_ms as f64 / 1e3),
        })
    }

    /// New connections a second offered to this router, without what it takes for others and with what others take
    /// for it. Of the shifts of this cycle and the one before the milder reading is believed: a change that has not
    /// reached the switch yet must not look like a surge.
    fn demand(&self, load: &Load, outside: &Outside, seconds: f64) -> f64 {
        let offered = load.new_per_s + load.refused as f64 / seconds;
        let inbound = outside.inbound_per_s.max(self.before.inbound_per_s);
        let percent = outside.percent.min(self.before.percent).clamp(0.0, 95.0);
        ((offered - inbound) / (1.0 - percent / 100.0)).max(0.0)
    }
}
