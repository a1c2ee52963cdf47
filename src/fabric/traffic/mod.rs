//! A day of connections, opened and closed through the emulated pipelines packet by packet.
//!
//! All randomness is drawn from the seed, service by service, and nothing that the fabric or the controller does feeds
//! back into it: two runs with one seed are offered the same connections at the same times, whatever becomes of them.

mod counterfactual;
mod scenario;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::network::{HostAt, Network, Sighting};
use super::packet::{FiveTuple, Packet, tcp};
use crate::types::{MacAddr, NodeIndex, Timestamp};
use counterfactual::Counterfactual;
pub use counterfactual::{Crossing, RouterLimits};
pub use scenario::{Arrival, Arrivals, Ending, Scenario, ScenarioError, ServiceLoad, Surge};

/// Bytes of the frames of an emulated connection.
const BARE_FRAME_BYTES: u32 = 66;
const DATA_FRAME_BYTES: u32 = 1_514;

/// How often an established connection sends something in both directions. Below half of the routers' idle time-out,
/// so that only dead connections idle out.
#[derive(Clone, Copy, Debug)]
struct Cadence(Duration);

/// What the hosts saw, since the day began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that a client tried to open.
    pub offered: u64,
    /// Those whose opening packet never came to its server.
    pub refused: u64,
    /// Established ones that made no progress when they should have.
    pub broken: u64,
    /// Established ones that were seen outside two different routers.
    pub moved: u64,
    pub finished: u64,
    /// Packets that hosts sent.
    pub packets: u64,
}

/// One connection.
#[derive(Clone, Debug)]
struct Connection {
    tuple: FiveTuple,
    client: HostAt,
    server: HostAt,
    service: usize,
    ends: Timestamp,
    ending: Ending,
    /// Router outside which it was seen first.
    router: Option<NodeIndex>,
    moved: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Over,
}

/// What is due for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Exchange(u32),
    Close(u32),
}

/// The day under way.
#[derive(Debug)]
pub struct Traffic {
    arrivals: Arrivals,
    next: Option<Arrival>,
    connections: Vec<Connection>,
    due: BinaryHeap<Reverse<(Timestamp, Due)>>,
    cadence: Cadence,
    /// A router forgets a silent connection after so long; until then it is open.
    idle_timeout: Duration,
    counts: Counts,
    active: Vec<u64>,
    refused_by_service: Vec<u64>,
    counterfactual: Counterfactual,
}

impl Traffic {
    /// A day that follows `scenario`; `start` is its midnight, and traffic begins `scenario.warmup` before it.
    pub fn new(scenario: &Scenario, seed: u64, start: Timestamp, routers: Vec<RouterLimits>) -> Self {
        let shortest_idle = routers.iter().map(|router| router.idle_timeout).min().unwrap_or(Duration::from_secs(60));
        let mut arrivals = Arrivals::new(scenario, seed, start);
        let next = arrivals.next();
        Self {
            arrivals,
            next,
            connections: Vec::new(),
            due: BinaryHeap::new(),
            cadence: Cadence(shortest_idle.mul_f64(0.45)),
            idle_timeout: shortest_idle,
            counts: Counts::default(),
            active: vec![0; scenario.services.len()],
            refused_by_service: vec![0; scenario.services.len()],
            counterfactual: Counterfactual::new(routers),
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Connections open now, of each service.
    pub fn active(&self) -> &[u64] {
        &self.active
    }

    pub fn refused_by_service(&self) -> &[u64] {
        &self.refused_by_service
    }

    /// What the routers would hold had nothing ever been shifted.
    pub fn counterfactual(&self) -> &Counterfactual {
        &self.counterfactual
    }

    /// Open connections that were seen outside `router`.
    pub fn active_at(&self, router: NodeIndex) -> u64 {
        let at = |connection: &&Connection| connection.state == State::Open && connection.router == Some(router);
        self.connections.iter().filter(at).count() as u64
    }

    /// The warm-up is over: counting starts afresh, connections go on.
    pub fn begin_day(&mut self) {
        self.counts = Counts::default();
        self.refused_by_service.fill(0);
        self.counterfactual.begin_day();
    }

    /// Sends everything that is due before `until` through the fabric, then lets the fabric's time come to `until`.
    pub fn run_until(&mut self, network: &mut Network, until: Timestamp) {
        loop {
            let arrival_at = self.next.as_ref().map(|arrival| arrival.at);
            let due_at = self.due.peek().map(|Reverse((at, _))| *at);
            let (Some(now), is_arrival) = (match (arrival_at, due_at) {
                (Some(arrival), Some(due)) if due < arrival => (Some(due), false),
                (Some(arrival), _) => (Some(arrival), true),
                (None, due) => (due, false),
            }) else {
                break;
            };
            if now >= until {
                break;
            }
            network.set_time(now);
            if is_arrival {
                let arrival = std::mem::replace(&mut self.next, self.arrivals.next());
                if let Some(arrival) = arrival {
                    self.open(network, arrival);
                }
            } else if let Some(Reverse((at, due))) = self.due.pop() {
                match due {
                    Due::Exchange(id) => self.exchange(network, id, at),
                    Due::Close(id) => self.close(network, id),
                }
            }
        }
        self.counterfactual.advance(until);
        network.advance(until);
    }

    fn open(&mut self, network: &mut Network, arrival: Arrival) {
        self.counts.offered += 1;
        let is_udp = arrival.ending == Ending::Silence;
        let ends = arrival.at + arrival.duration;
        self.counterfactual.open(arrival.at, arrival.base_router, arrival.duration, is_udp);
        let id = self.connections.len() as u32;
        self.connections.push(Connection {
            tuple: arrival.tuple,
            client: arrival.client,
            server: arrival.server,
            service: arrival.service,
            ends,
            ending: arrival.ending,
            router: None,
            moved: false,
            state: State::Over,
        });
        let first = if is_udp { 0 } else { tcp::SYN };
        if !self.pass(network, id, true, first, BARE_FRAME_BYTES) {
            self.counts.refused += 1;
            self.refused_by_service[arrival.service] += 1;
            return;
        }
        self.connections[id as usize].state = State::Open;
        self.active[arrival.service] += 1;
        let answered = self.pass(network, id, false, if is_udp { 0 } else { tcp::SYN | tcp::ACK }, BARE_FRAME_BYTES)
            && (is_udp || self.pass(network, id, true, tcp::ACK, BARE_FRAME_BYTES));
        if answered {
            self.schedule(id, arrival.at);
        } else {
            self.break_off(id);
        }
    }

    /// Plans the next exchange or, where the connection ends before it, its end.
    fn schedule(&mut self, id: u32, now: Timestamp) {
        let Connection { ends, ending, .. } = self.connections[id as usize];
        let next = now + self.cadence.0;
        self.due.push(Reverse(match ending {
            Ending::Silence => (now + self.idle_timeout, Due::Close(id)),
            _ if next < ends => (next, Due::Exchange(id)),
            _ => (ends, Due::Close(id)),
        }));
    }

    fn exchange(&mut self, network: &mut Network, id: u32, now: Timestamp) {
        let flowed = self.pass(network, id, true, tcp::PSH | tcp::ACK, DATA_FRAME_BYTES)
            && self.pass(network, id, false, tcp::ACK, BARE_FRAME_BYTES);
        if flowed {
            self.schedule(id, now);
        } else {
            self.break_off(id);
        }
    }

    fn close(&mut self, network: &mut Network, id: u32) {
        let mut say =
            |traffic: &mut Self, from_client, flags| traffic.pass(network, id, from_client, flags, BARE_FRAME_BYTES);
        let fin = tcp::FIN | tcp::ACK;
        let flowed = match self.connections[id as usize].ending {
            Ending::Fin { client_first } => {
                say(self, client_first, fin) && say(self, !client_first, fin) && say(self, client_first, tcp::ACK)
            }
            Ending::Reset { by_client } => say(self, by_client, tcp::RST | tcp::ACK),
            Ending::Silence => true,
        };
        if flowed {
            self.counts.finished += 1;
            self.end(id);
        } else {
            self.break_off(id);
        }
    }

    fn break_off(&mut self, id: u32) {
        self.counts.broken += 1;
        self.end(id);
    }

    fn end(&mut self, id: u32) {
        let connection = &mut self.connections[id as usize];
        if connection.state == State::Open {
            connection.state = State::Over;
            self.active[connection.service] -= 1;
        }
    }

    /// Sends one packet of a connection; whether it came to the other end.
    fn pass(&mut self, network: &mut Network, id: u32, from_client: bool, flags: u64, length: u32) -> bool {
        let connection = &mut self.connections[id as usize];
        let (sender, receiver, tuple) = if from_client {
            (connection.client, connection.server, connection.tuple)
        } else {
            (connection.server, connection.client, connection.tuple.reversed())
        };
        let mut packet = Packet::transport(&tuple, network.hosts()[sender].mac, MacAddr::GATEWAY, flags, length);
        packet.tag = id + 1;
        self.counts.packets += 1;
        let mut arrived = false;
        for sighting in network.send(sender, packet) {
            match sighting {
                Sighting::Delivered { host, packet } => {
                    arrived |= host == receiver && packet.tag == id + 1 && packet.five_tuple() == tuple;
                }
                Sighting::Outside { router, tag } if tag == id + 1 => {
                    let first = *connection.router.get_or_insert(router);
                    if first != router && !connection.moved {
                        connection.moved = true;
                        self.counts.moved += 1;
                    }
                }
                Sighting::Outside { .. } => {}
            }
        }
        arrived
    }
}
