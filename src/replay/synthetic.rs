//! Traffic made up by rule and seed: days that no file gives.

use std::f64::consts::TAU;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};

use super::faults::{Fault, FaultKind};
use super::traffic::{CELLS_MAX, Demand, Traffic};
use super::{Fabric, Shape};

/// A kind of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A daily wave; each router's has its own hour and noise.
    Diurnal,
    /// The same, and on every eighth router a crowd that comes within ten minutes.
    FlashCrowd,
    /// The same, and on every eighth router ten minutes of many short connections from one interval to the next.
    Ddos,
    /// The same, while one router after the other is taken out of service for ten minutes.
    Maintenance,
    /// The same, with durations as the sizes of web search are spread.
    HeavyTailed,
}

impl Kind {
    pub const NAMES: [&str; 5] = ["diurnal", "flash-crowd", "ddos", "maintenance", "heavy-tailed"];

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "diurnal" => Some(Self::Diurnal),
            "flash-crowd" => Some(Self::FlashCrowd),
            "ddos" => Some(Self::Ddos),
            "maintenance" => Some(Self::Maintenance),
            "heavy-tailed" => Some(Self::HeavyTailed),
            _ => None,
        }
    }

    pub fn shape(self) -> Shape {
        if self == Self::HeavyTailed { Shape::web_search() } else { Shape::exponential() }
    }
}

/// How much traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticOptions {
    pub kind: Kind,
    pub seed: u64,
    pub duration_s: f64,
    pub interval_s: f64,
    pub mean_duration_s: f64,
    /// Of all routers over the whole time, about; by capacities where it is not given.
    pub connections: Option<u64>,
}

/// Height of the daily wave over its mean.
const WAVE: f64 = 0.35;
/// Part of what a router holds before its threshold that the wave's top reaches, where nothing else is asked for.
const TOP: f64 = 0.75;
/// A crowd brings so many times the mean besides.
const CROWD: f64 = 1.0;
/// An attack brings so many times the mean besides, in connections of a tenth of the duration.
const ATTACK: f64 = 9.0;
const ATTACK_DURATION: f64 = 0.1;
const ATTACK_S: f64 = 600.0;
/// Every so many-th router has a surge.
const SURGE_EVERY: usize = 8;
/// A router is out for maintenance for so long.
const OUT_S: f64 = 600.0;

/// Something unusual that happens to a router.
#[derive(Clone, Copy, Debug)]
struct Surge {
    begins_s: f64,
    ramp_s: f64,
    lasts_s: f64,
}

impl Surge {
    /// In [0, 1].
    fn height(&self, t: f64) -> f64 {
        let since = t - self.begins_s;
        if since < 0.0 {
            0.0
        } else if since < self.ramp_s {
            since / self.ramp_s
        } else if since < self.ramp_s + self.lasts_s {
            1.0
        } else {
            (-(since - self.ramp_s - self.lasts_s) / self.lasts_s.max(1.0)).exp()
        }
    }
}

/// The traffic, and the faults that belong to the kind of day.
pub fn synthesise(options: &SyntheticOptions, fabric: &Fabric) -> Result<(Traffic, Vec<Fault>), String> {
    let rows = (options.duration_s / options.interval_s).ceil().max(1.0);
    let routers = fabric.routers();
    if rows * routers as f64 > CELLS_MAX as f64 {
        return Err(format!("{rows:.0} intervals of {routers} routers; expected at most {CELLS_MAX} of both together"));
    }
    let mean_of = |router: usize| match options.connections {
        Some(all) => all as f64 / routers as f64 / options.duration_s,
        None => {
            let (capacity, threshold) = fabric.settings(router);
            TOP * f64::from(capacity - threshold) / (1.0 + WAVE) / options.mean_duration_s
        }
    };
    let demand = (0..routers).map(|router| one(options, router, mean_of(router), rows as usize)).collect();
    let faults = if options.kind == Kind::Maintenance { rolling(options, fabric) } else { Vec::new() };
    Ok((Traffic { start_s: 0.0, interval_s: options.interval_s, demand }, faults))
}

/// One router's day: a stream of its own, so that more routers change nothing for the others.
fn one(options: &SyntheticOptions, router: usize, mean_per_s: f64, rows: usize) -> Vec<Demand> {
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    rng.set_stream(router as u64 + 1);
    let day_s = options.duration_s.min(86_400.0);
    let phase = rng.random_range(-0.08..0.08);
    let begins_s = day_s * rng.random_range(0.35..0.65);
    let surge = match options.kind {
        Kind::FlashCrowd => Some(Surge { begins_s, ramp_s: 600.0, lasts_s: 600.0 }),
        Kind::Ddos => Some(Surge { begins_s, ramp_s: 0.0, lasts_s: ATTACK_S }),
        Kind::Diurnal | Kind::Maintenance | Kind::HeavyTailed => None,
    };
    let surge = surge.filter(|_| router.is_multiple_of(SURGE_EVERY));
    let mut draw = |expected: f64| Poisson::new(expected.max(1e-9)).map_or(0.0, |poisson| poisson.sample(&mut rng));
    let row = |number: usize| {
        let t = number as f64 * options.interval_s;
        // The wave begins at its least, as a day does at night.
        let wave = 1.0 - WAVE * ((t / day_s + phase) * TAU).cos();
        let expected = mean_per_s * options.interval_s;
        let usual = draw(expected * wave);
        let height = surge.map_or(0.0, |surge| surge.height(t));
        let attack = options.kind == Kind::Ddos;
        let extra = if height > 0.0 { draw(expected * height * if attack { ATTACK } else { CROWD }) } else { 0.0 };
        let short = if attack { ATTACK_DURATION } else { 1.0 };
        let mean = options.mean_duration_s * (usual + extra * short) / (usual + extra).max(1.0);
        let mean_duration_s = if usual + extra > 0.0 { mean } else { options.mean_duration_s };
        Demand { new: (usual + extra).min(f64::from(u32::MAX)) as u32, mean_duration_s: mean_duration_s as f32 }
    };
    (0..rows).map(row).collect()
}

/// One router after the other, from a tenth of the time on, each back well before the next goes.
fn rolling(options: &SyntheticOptions, fabric: &Fabric) -> Vec<Fault> {
    let (begin, end) = (0.1 * options.duration_s, 0.9 * options.duration_s);
    let apart = (end - begin) / fabric.routers() as f64;
    let fault = |router: usize| Fault {
        kind: FaultKind::Router,
        name: Some(fabric.router_name(router).to_string()),
        at_s: begin + apart * router as f64,
        for_s: OUT_S.min(apart * 0.5),
        loss: 0.0,
    };
    (0..fabric.routers()).map(fault).collect()
}
