//! What a day is made of: services with their daily rhythm, and one surge.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::f64::consts::TAU;
use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, LogNormal};

use crate::config::{Stage, Topology};
use crate::fabric::network::HostAt;
use crate::fabric::packet::FiveTuple;
use crate::fabric::packet::number;
use crate::types::{NodeIndex, Timestamp};

/// First source port of an emulated client, and how many it has.
const FIRST_PORT: u16 = 10_000;
const PORTS: u64 = 50_000;
/// Streams of the generator: one for the surge, one for each service after it.
const SURGE_STREAM: u64 = 0;

/// Why a topology cannot carry the demo's traffic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    #[error("expected a server behind each service; no host on an outside switch has an address of {service}")]
    NoServer { service: String },
    #[error("expected at least one host on a third-stage switch, there is none")]
    NoClient,
    #[error("expected at least one service with a share for a known router, {service} has none")]
    NoShare { service: String },
}

/// The load of one service.
#[derive(Clone, Debug)]
pub struct ServiceLoad {
    /// Routers with their base shares.
    pub shares: Vec<(NodeIndex, f64)>,
    pub clients: Vec<HostAt>,
    pub server: HostAt,
    /// Address of each client, in the order of `clients`, and of the server.
    pub client_addresses: Vec<std::net::Ipv4Addr>,
    pub server_address: std::net::Ipv4Addr,
    /// New connections a second, mean over the day.
    pub rate_per_s: f64,
    /// How far the rate swings around its mean, as a part of it.
    pub swing: f64,
    /// When the rate is highest, hours after midnight.
    pub peak_hour: f64,
    /// Mean duration of a connection.
    pub mean_duration_s: f64,
}

/// A flash crowd: besides the usual, connections come to one service at a rate that grows, stays, and falls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surge {
    pub service: usize,
    /// Seconds after midnight.
    pub start_s: f64,
    pub ramp_s: f64,
    pub plateau_s: f64,
    /// Time constant of the fall.
    pub decay_s: f64,
    /// What comes besides the usual at the height, connections a second.
    pub extra_per_s: f64,
}

impl Surge {
    /// New connections a second besides the usual, `at_s` seconds after midnight.
    fn rate_at(&self, at_s: f64) -> f64 {
        let since = at_s - self.start_s;
        let level = if since <= 0.0 {
            0.0
        } else if since < self.ramp_s {
            // Word spreads: slow at first, then fast, then everybody is there.
            (1.0 - (TAU / 2.0 * since / self.ramp_s).cos()) / 2.0
        } else if since < self.ramp_s + self.plateau_s {
            1.0
        } else {
            (-(since - self.ramp_s - self.plateau_s) / self.decay_s).exp()
        };
        self.extra_per_s * level
    }
}

/// A day.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub services: Vec<ServiceLoad>,
    pub surge: Surge,
    /// Traffic before midnight, so that the day starts with connections open.
    pub warmup: Duration,
    /// Spread of the durations: standard deviation of their logarithm.
    pub duration_sigma: f64,
    pub udp_share: f64,
    /// Share of the TCP connections that end by RST.
    pub reset_share: f64,
}

/// Rates and durations are such that a service keeps a good third of its router's 500 slots busy at its best hour, and
/// that what the surge asks for is much more than its router has left, and less than all routers have.
const RATE_PER_S: f64 = 0.25;
const MEAN_DURATION_S: f64 = 600.0;
/// Longest connection that is drawn; it only bounds memory.
const DURATION_MAX_S: f64 = 4.0 * 3_600.0;

impl Scenario {
    /// The demo's day: every service of the topology has its own rhythm, one of them a surge that the seed places.
    pub fn demo(topology: &Topology, seed: u64) -> Result<Self, ScenarioError> {
        let stage_of = |host: &crate::config::Host| topology.node(&host.attached.node).map(|node| node.stage);
        let on = |stage| move |(_, host): &(usize, &crate::config::Host)| stage_of(host) == Some(stage);
        let clients: Vec<_> = topology.hosts.iter().enumerate().filter(on(Stage::Access)).collect();
        if clients.is_empty() {
            return Err(ScenarioError::NoClient);
        }
        let mut services = Vec::new();
        for (at, service) in topology.services.iter().enumerate() {
            let serves = |address| service.prefixes.iter().any(|prefix| prefix.contains(&address));
            let server =
                topology.hosts.iter().enumerate().filter(on(Stage::Outside)).find(|(_, host)| serves(host.address));
            let (server, host) = server.ok_or_else(|| ScenarioError::NoServer { service: service.id.clone() })?;
            let shares: Vec<_> = service
                .shares
                .iter()
                .filter_map(|(router, share)| Some((topology.node(router)?.index, *share)))
                .filter(|(_, share)| *share > 0.0)
                .collect();
            if shares.is_empty() {
                return Err(ScenarioError::NoShare { service: service.id.clone() });
            }
            services.push(ServiceLoad {
                shares,
                clients: clients.iter().map(|(at, _)| *at).collect(),
                client_addresses: clients.iter().map(|(_, host)| host.address).collect(),
                server,
                server_address: host.address,
                rate_per_s: RATE_PER_S,
                swing: 0.35,
                // Four rhythms, two hours apart: people at work, people at home.
                peak_hour: 11.0 + 2.5 * (at % 4) as f64,
                mean_duration_s: MEAN_DURATION_S,
            });
        }
        let mut rng = stream(seed, SURGE_STREAM);
        let surge = Surge {
            service: rng.random_range(0..services.len().max(1)),
            start_s: rng.random_range(11.0..19.0) * 3_600.0,
            ramp_s: rng.random_range(560.0..640.0),
            plateau_s: rng.random_range(50.0..80.0),
            decay_s: rng.random_range(220.0..260.0),
            extra_per_s: rng.random_range(1.85..2.0),
        };
        Ok(Self {
            services,
            surge,
            warmup: Duration::from_secs(3_600),
            duration_sigma: 1.0,
            udp_share: 0.03,
            reset_share: 0.03,
        })
    }
}

fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Fin {
        client_first: bool,
    },
    Reset {
        by_client: bool,
    },
    /// UDP: a question and its answer, then nothing more.
    Silence,
}

/// A connection that somebody wants to open.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    pub at: Timestamp,
    pub duration: Duration,
    pub service: usize,
    pub client: HostAt,
    pub server: HostAt,
    pub tuple: FiveTuple,
    /// Router that the base shares give it to.
    pub base_router: NodeIndex,
    pub ending: Ending,
}

/// All arrivals of a day in the order of time.
#[derive(Debug)]
pub struct Arrivals {
    sources: Vec<Source>,
    next: BinaryHeap<Reverse<(Timestamp, usize)>>,
}

/// The Poisson process of one service, thinned from its highest rate (Lewis and Shedler, 1979).
#[derive(Debug)]
struct Source {
    load: ServiceLoad,
    surge: Option<Surge>,
    rng: ChaCha8Rng,
    midnight: Timestamp,
    at_s: f64,
    gap: Exp<f64>,
    rate_max: f64,
    duration: LogNormal<f64>,
    udp_share: f64,
    reset_share: f64,
    opened: u64,
    service: usize,
}

impl Arrivals {
    pub fn new(scenario: &Scenario, seed: u64, midnight: Timestamp) -> Self {
        let mut arrivals = Self { sources: Vec::new(), next: BinaryHeap::new() };
        for (service, load) in scenario.services.iter().enumerate() {
            let surge = (scenario.surge.service == service).then_some(scenario.surge);
            let rate_max = load.rate_per_s * (1.0 + load.swing) + surge.map_or(0.0, |surge| surge.extra_per_s);
            // A log-normal with mean m and logarithmic deviation s has the median m / exp(s^2 / 2).
            let median = load.mean_duration_s / (scenario.duration_sigma.powi(2) / 2.0).exp();
            let mut source = Source {
                load: load.clone(),
                surge,
                rng: stream(seed, SURGE_STREAM + 1 + service as u64),
                midnight,
                at_s: -scenario.warmup.as_secs_f64(),
                gap: Exp::new(rate_max).expect("rates are positive"),
                rate_max,
                duration: LogNormal::new(median.ln(), scenario.duration_sigma).expect("the deviation is positive"),
                udp_share: scenario.udp_share,
                reset_share: scenario.reset_share,
                opened: 0,
                service,
            };
            let first = source.step();
            arrivals.sources.push(source);
            arrivals.next.push(Reverse((first, service)));
        }
        arrivals
    }
}

impl Iterator for Arrivals {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let Reverse((at, service)) = self.next.pop()?;
        let source = &mut self.sources[service];
        let arrival = source.arrival(at);
        self.next.push(Reverse((source.step(), service)));
        Some(arrival)
    }
}

impl Source {
    /// Time of the next arrival.
    fn step(&mut self) -> Timestamp {
        loop {
            self.at_s += self.gap.sample(&mut self.rng);
            if self.rng.random::<f64>() * self.rate_max < self.rate_at(self.at_s) {
                let micros = self.midnight.0 as i128 + (self.at_s * 1e6) as i128;
                return Timestamp(u64::try_from(micros).unwrap_or(0));
            }
        }
    }

    fn rate_at(&self, at_s: f64) -> f64 {
        let hours = at_s / 3_600.0 - self.load.peak_hour;
        let rhythm = 1.0 + self.load.swing * (TAU * hours / 24.0).cos();
        self.load.rate_per_s * rhythm + self.surge.map_or(0.0, |surge| surge.rate_at(at_s))
    }

    fn arrival(&mut self, at: Timestamp) -> Arrival {
        let is_udp = self.rng.random::<f64>() < self.udp_share;
        let duration = Duration::from_secs_f64(self.duration.sample(&mut self.rng).min(DURATION_MAX_S));
        let resets = self.rng.random::<f64>() < self.reset_share;
        let coin = self.rng.random::<bool>();
        let ending = match (is_udp, resets) {
            (true, _) => Ending::Silence,
            (_, true) => Ending::Reset { by_client: coin },
            _ => Ending::Fin { client_first: coin },
        };
        let base_router = choose(&self.load.shares, &mut self.rng);
        // Clients take turns, and each counts its ports up: no five-tuple comes again within a day.
        let clients = self.load.clients.len() as u64;
        let (turn, client) = (self.opened / clients, (self.opened % clients) as usize);
        self.opened += 1;
        let tuple = FiveTuple {
            protocol: if is_udp { number::UDP } else { number::TCP } as u8,
            source: self.load.client_addresses[client],
            destination: self.load.server_address,
            source_port: FIRST_PORT + (turn % PORTS) as u16,
            destination_port: if is_udp { 53 } else { 443 },
        };
        let (client, server) = (self.load.clients[client], self.load.server);
        Arrival { at, duration, service: self.service, client, server, tuple, base_router, ending }
    }
}

fn choose(shares: &[(NodeIndex, f64)], rng: &mut impl Rng) -> NodeIndex {
    let total: f64 = shares.iter().map(|(_, share)| share).sum();
    let mut rest = rng.random::<f64>() * total;
    for (router, share) in shares {
        rest -= share;
        if rest < 0.0 {
            return *router;
        }
    }
    shares.last().map_or(NodeIndex(0), |(router, _)| *router)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_topology;

    const MIDNIGHT: Timestamp = Timestamp::from_secs(1_772_409_600);

    fn demo(seed: u64) -> (Scenario, Arrivals) {
        let text = include_str!("../../../topologies/demo.yaml");
        let topology = parse_topology("demo.yaml".as_ref(), text).expect("the demo's topology is good");
        let scenario = Scenario::demo(&topology, seed).expect("the demo's topology has hosts and servers");
        let arrivals = Arrivals::new(&scenario, seed, MIDNIGHT);
        (scenario, arrivals)
    }

    #[test]
    fn a_seed_is_a_day() {
        let day = |seed| demo(seed).1.take(3_000).collect::<Vec<_>>();
        assert_eq!(day(7), day(7));
        assert_ne!(day(7), day(8));
        assert!(day(7).is_sorted_by_key(|arrival| arrival.at));
    }

    #[test]
    fn rates_and_durations_are_those_of_the_scenario() {
        let (scenario, arrivals) = demo(3);
        let day: Vec<_> = arrivals
            .skip_while(|arrival| arrival.at < MIDNIGHT)
            .take_while(|arrival| arrival.at < MIDNIGHT + Duration::from_secs(86_400))
            .collect();
        for (service, load) in scenario.services.iter().enumerate() {
            let own: Vec<_> = day.iter().filter(|arrival| arrival.service == service).collect();
            let surge = &scenario.surge;
            // The cosine rises over half its height on average.
            let crowd = surge.extra_per_s * (surge.ramp_s / 2.0 + surge.plateau_s + surge.decay_s);
            let expected = load.rate_per_s * 86_400.0 + if surge.service == service { crowd } else { 0.0 };
            // Five standard deviations of a Poisson count.
            assert!((own.len() as f64 - expected).abs() < 5.0 * expected.sqrt(), "{} of {expected}", own.len());
            let mean = own.iter().map(|arrival| arrival.duration.as_secs_f64()).sum::<f64>() / own.len() as f64;
            assert!((mean - load.mean_duration_s).abs() < 0.05 * load.mean_duration_s, "mean duration {mean}");
            let base = own.iter().all(|arrival| arrival.base_router == load.shares[0].0);
            assert!(base, "a service with one router gives everything to it");
        }
    }

    #[test]
    fn no_connection_comes_twice_in_a_day() {
        let tuples: Vec<_> = demo(1).1.take(80_000).map(|arrival| arrival.tuple).collect();
        let distinct: std::collections::HashSet<_> = tuples.iter().copied().collect();
        assert_eq!(distinct.len(), tuples.len());
    }
}
