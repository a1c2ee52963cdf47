//! The load: fake switches on sockets, ARP requests from their edge ports, answers counted and timed.
//!
//! The same generator faces every controller. It keeps `window` requests of each edge switch unanswered: with one, it
//! measures latency; with many, throughput.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::fake_switch::{FakeSwitch, Noted, SwitchSpec};
use crate::types::{DatapathId, MacAddr, PortNo};
use crate::wire::arp::Arp;
use crate::wire::openflow::{Frame, Framing, MESSAGE_BYTES_MAX};

/// A controller that does not listen by then has failed to start.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// Nothing changed for so long: the controller is done installing. Longer than link discovery takes to settle.
const INSTALL_QUIET: Duration = Duration::from_secs(3);

/// A longer pause between two changes is waiting, not installing, and counts towards no rate.
const INSTALL_GAP: Duration = Duration::from_millis(100);

/// A request not answered for so long is lost: another takes its place, and the report tells.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// Link discovery frames on their way between two fake switches; more than a discovery round of one switch sends. When
/// it is full, frames are lost as on a busy wire, and discovery sends them again.
const WIRE_DEPTH: usize = 256;

/// A host behind an edge port, which asks for its gateway.
#[derive(Clone, Copy, Debug)]
pub(super) struct EdgeHost {
    pub(super) port: PortNo,
    pub(super) mac: MacAddr,
    pub(super) address: Ipv4Addr,
    pub(super) gateway: Ipv4Addr,
}

/// One switch of the load.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) spec: SwitchSpec,
    pub(super) host: Option<EdgeHost>,
}

/// Switches, and which port is wired to which.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) members: Vec<Member>,
    pub(super) wires: BTreeMap<(DatapathId, PortNo), (DatapathId, PortNo)>,
}

/// Requests that each edge switch keeps unanswered; 0 pauses.
type Window = usize;

/// What one switch saw since it was last asked.
#[derive(Clone, Debug, Default)]
struct Seen {
    changes: Vec<Instant>,
    latencies_us: Vec<u32>,
    lost: u64,
}

/// A frame that arrives over a wire: port, bytes.
type Arrival = (PortNo, Vec<u8>);

#[derive(Debug)]
enum Order {
    /// Answer with what was seen since the last report, and forget it.
    Report(tokio::sync::oneshot::Sender<Seen>),
}

/// Flow and group changes while a controller brought all switches up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Installed {
    pub(super) changes: u64,
    /// Time in which changes came, without the pauses between bursts.
    pub(super) took: Duration,
}

/// Answered requests of one measurement.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) latencies_us: Vec<u32>,
    pub(super) lost: u64,
    pub(super) took: Duration,
}

/// Running fake switches.
#[derive(Debug)]
pub(super) struct Generator {
    window: watch::Sender<Window>,
    orders: Vec<mpsc::Sender<Order>>,
    edges: usize,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Generator {
    /// Connects every switch.
    pub(super) async fn start(load: &Load, controller: SocketAddr) -> anyhow::Result<Self> {
        let (window, _) = watch::channel(0);
        let mut ends = BTreeMap::new();
        let mut inlets = Vec::new();
        for member in &load.members {
            let (outlet, inlet) = mpsc::channel(WIRE_DEPTH);
            ends.insert(member.spec.datapath, outlet);
            inlets.push(inlet);
        }
        let wiring = Arc::new(Wiring { ends, wires: load.wires.clone() });
        let mut generator = Self { window, orders: Vec::new(), edges: 0, tasks: JoinSet::new() };
        for (member, arrivals) in load.members.iter().zip(inlets) {
            let socket = connect(controller).await?;
            let (order, orders) = mpsc::channel(1);
            generator.orders.push(order);
            generator.edges += usize::from(member.host.is_some());
            let wiring = Arc::clone(&wiring);
            let session = Session::new(member.clone(), socket, wiring);
            generator.tasks.spawn(session.run(generator.window.subscribe(), orders, arrivals));
        }
        Ok(generator)
    }

    /// Waits until the controller has stopped changing flows and groups.
    pub(super) async fn installed(&mut self) -> anyhow::Result<Installed> {
        let started = Instant::now();
        let mut changes = Vec::new();
        let mut last = started;
        while last.elapsed() < INSTALL_QUIET {
            tokio::time::sleep(Duration::from_millis(50)).await;
            changes.extend(self.collect().await?.into_iter().flat_map(|seen| seen.changes));
            last = changes.iter().copied().max().unwrap_or(started);
        }
        changes.sort_unstable();
        let gaps = changes.windows(2).map(|pair| pair[1] - pair[0]);
        let took = gaps.filter(|gap| *gap <= INSTALL_GAP).sum();
        Ok(Installed { changes: changes.len() as u64, took })
    }

    /// Waits until requests of every edge switch are answered.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        self.window.send_replace(1);
        let mut answered = vec![false; self.orders.len()];
        while answered.iter().filter(|done| **done).count() < self.edges {
            if started.elapsed() > START_PATIENCE {
                bail!("after {START_PATIENCE:?} the controller does not answer every edge switch");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            for (done, seen) in answered.iter_mut().zip(self.collect().await?) {
                *done |= !seen.latencies_us.is_empty();
            }
        }
        self.window.send_replace(0);
        Ok(())
    }

    /// Keeps `window` requests of each edge switch unanswered for some time.
    pub(super) async fn measure(&mut self, window: Window, time: Duration) -> anyhow::Result<Answered> {
        self.collect().await?;
        let started = Instant::now();
        self.window.send_replace(window);
        tokio::time::sleep(time).await;
        let seen = self.collect().await?;
        let took = started.elapsed();
        self.window.send_replace(0);
        // Answers that are still on their way belong to no measurement.
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.collect().await?;
        let lost = seen.iter().map(|seen| seen.lost).sum();
        Ok(Answered { latencies_us: seen.into_iter().flat_map(|seen| seen.latencies_us).collect(), lost, took })
    }

    async fn collect(&mut self) -> anyhow::Result<Vec<Seen>> {
        let mut all = Vec::with_capacity(self.orders.len());
        for order in &self.orders {
            let (reply, seen) = tokio::sync::oneshot::channel();
            let asked = order.send(Order::Report(reply)).await.is_ok();
            match seen.await {
                Ok(seen) if asked => all.push(seen),
                _ => return Err(self.failure().await),
            }
        }
        Ok(all)
    }

    async fn failure(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error.context("a session with the controller ended"),
            other => anyhow::anyhow!("a fake switch ended: {other:?}"),
        }
    }
}

async fn connect(controller: SocketAddr) -> anyhow::Result<TcpStream> {
    let started = Instant::now();
    loop {
        match TcpStream::connect(controller).await {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) if started.elapsed() > START_PATIENCE => {
                return Err(error).with_context(|| format!("nothing listens on {controller}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[derive(Debug)]
struct Wiring {
    ends: BTreeMap<DatapathId, mpsc::Sender<Arrival>>,
    wires: BTreeMap<(DatapathId, PortNo), (DatapathId, PortNo)>,
}

impl Wiring {
    fn carry(&self, from: DatapathId, port: PortNo, data: &[u8]) {
        if let Some((to, to_port)) = self.wires.get(&(from, port))
            && let Some(end) = self.ends.get(to)
        {
            // A full wire loses frames; see WIRE_DEPTH.
            let _ = end.try_send((*to_port, data.to_vec()));
        }
    }
}

/// One fake switch on its socket.
struct Session {
    member: Member,
    switch: FakeSwitch,
    socket: TcpStream,
    wiring: Arc<Wiring>,
    request: Vec<u8>,
    unanswered: VecDeque<Instant>,
    seen: Seen,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Session {
    fn new(member: Member, socket: TcpStream, wiring: Arc<Wiring>) -> Self {
        let switch = FakeSwitch::new(member.spec.clone());
        let request =
            member.host.map_or_else(Vec::new, |host| Arp::request(host.mac, host.address, host.gateway).encode());
        let (input, output) = (Vec::with_capacity(1 << 16), Vec::new());
        let (unanswered, seen) = (VecDeque::new(), Seen::default());
        Self { member, switch, socket, wiring, request, unanswered, seen, input, output }
    }

    async fn run(
        mut self,
        mut window: watch::Receiver<Window>,
        mut orders: mpsc::Receiver<Order>,
        mut arrivals: mpsc::Receiver<Arrival>,
    ) -> anyhow::Result<()> {
        let hello = self.switch.hello();
        hello.encode_into(&mut self.output)?;
        let mut heartbeat = tokio::time::interval(LOST_AFTER / 4);
        loop {
            self.fill(*window.borrow())?;
            self.socket.write_all(&self.output).await?;
            self.output.clear();
            tokio::select! {
                read = self.socket.read_buf(&mut self.input) => match read? {
                    0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    _ => self.take_input()?,
                },
                Some((port, data)) = arrivals.recv() => self.switch.packet_in(port, data).encode_into(&mut self.output)?,
                order = orders.recv() => match order {
                    Some(Order::Report(reply)) => drop(reply.send(std::mem::take(&mut self.seen))),
                    None => return Ok(()),
                },
                changed = window.changed() => changed?,
                _ = heartbeat.tick() => {}
            }
        }
    }

    /// Sends requests until `window` of them are unanswered.
    fn fill(&mut self, window: Window) -> anyhow::Result<()> {
        let Some(host) = self.member.host else { return Ok(()) };
        while self.unanswered.front().is_some_and(|sent| sent.elapsed() > LOST_AFTER) {
            self.unanswered.pop_front();
            self.seen.lost += 1;
        }
        while self.unanswered.len() < window {
            self.switch.packet_in(host.port, self.request.clone()).encode_into(&mut self.output)?;
            self.unanswered.push_back(Instant::now());
        }
        Ok(())
    }

    fn take_input(&mut self) -> anyhow::Result<()> {
        let mut taken = 0;
        while let Framing::Complete(length) = Framing::of(&self.input[taken..], MESSAGE_BYTES_MAX)? {
            let frame = Frame::decode(&self.input[taken..taken + length])?;
            taken += length;
            let (noted, answer) = self.switch.handle(frame);
            if let Some(answer) = answer {
                answer.encode_into(&mut self.output)?;
            }
            self.note(noted);
        }
        self.input.drain(..taken);
        Ok(())
    }

    fn note(&mut self, noted: Noted) {
        match noted {
            Noted::Change => self.seen.changes.push(Instant::now()),
            Noted::Packet { data, .. } if self.is_answer(&data) => {
                if let Some(sent) = self.unanswered.pop_front() {
                    let waited = sent.elapsed().as_micros();
                    self.seen.latencies_us.push(u32::try_from(waited).unwrap_or(u32::MAX));
                }
            }
            Noted::Packet { ports, data } => {
                for port in ports {
                    self.wiring.carry(self.member.spec.datapath, port, &data);
                }
            }
            Noted::Other => {}
        }
    }

    /// ARP about this host's own question: a reply to it, or its request sent on by a controller that floods.
    fn is_answer(&self, data: &[u8]) -> bool {
        let Some(host) = self.member.host else { return false };
        Arp::decode(data).is_some_and(|arp| {
            (arp.sender, arp.target) == (host.gateway, host.address)
                || (arp.sender, arp.target) == (host.address, host.gateway)
        })
    }
}
