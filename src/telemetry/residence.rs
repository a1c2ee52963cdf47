//! How long a connection occupies its slot, from occupancy and arrivals alone (Little's law).

/// Weight of the newest cycle in the smoothed sums; about the last 40 cycles count.
const SMOOTHING: f64 = 0.05;

/// Connections that must have left before their time in the table is believed.
const DEPARTURES_MIN: f64 = 30.0;

/// Smoothed occupancy over smoothed departures.
///
/// Departures are what was admitted less what the table grew by, so a ramp does not bias the result, as the mean
/// lifetime of *ended* connections would be (the long ones of a ramp have not ended yet). Time-outs that keep a slot
/// after the last packet are included: it is the slot that is scarce.
#[derive(Clone, Debug, Default)]
pub struct Residence {
    last_occupied: Option<f64>,
    occupied: f64,
    departures_per_s: f64,
    departures: f64,
    seen_s: f64,
}

impl Residence {
    /// One cycle: slots taken at its end, connections admitted a second during it.
    pub fn observe(&mut self, occupied: f64, new_per_s: f64, seconds: f64) {
        if !(occupied.is_finite() && new_per_s.is_finite() && seconds > 0.0) {
            return;
        }
        if let Some(last) = self.last_occupied {
            let departures = new_per_s - (occupied - last) / seconds;
            let keep = 1.0 - SMOOTHING;
            self.occupied = keep * self.occupied + SMOOTHING * 0.5 * (occupied + last);
            self.departures_per_s = keep * self.departures_per_s + SMOOTHING * departures;
            self.departures += departures;
            self.seen_s += seconds;
        }
        self.last_occupied = Some(occupied);
    }

    /// Forgets the last sample, so that the step over a gap is not taken for departures.
    pub fn interrupt(&mut self) {
        self.last_occupied = None;
    }

    /// Mean seconds in the table; `None` before enough were seen to leave, over at least one and a half such times.
    pub fn seconds(&self) -> Option<f64> {
        let rate = self.departures_per_s;
        let mean = (rate > 1e-9 && self.occupied > 0.0).then(|| self.occupied / rate)?;
        (self.departures >= DEPARTURES_MIN && self.seen_s >= 1.5 * mean).then_some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unbiased_on_a_ramp() {
        let mut residence = Residence::default();
        let mut occupied = 100.0;
        for cycle in 0..400 {
            let rate = 10.0 + 0.1 * f64::from(cycle);
            occupied += rate - occupied / 20.0;
            residence.observe(occupied, rate, 1.0);
        }
        let seconds = residence.seconds().expect("connections left");
        assert!((seconds - 20.0).abs() < 1.0, "{seconds}");
    }

    #[test]
    fn nonsense_is_ignored() {
        let mut residence = Residence::default();
        for value in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            residence.observe(value, value, 1.0);
            residence.observe(1.0, 1.0, value);
        }
        assert!(residence.seconds().is_none_or(|seconds| seconds.is_finite() && seconds > 0.0));
    }
}
