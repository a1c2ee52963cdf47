//! Many switches that only answer: every one on a socket of its own, all in this process, growing in number.
//!
//! Statistics are answered from a template, so that the load takes as little as possible of the cores that it shares with
//! the controller. Behind the answers of some switches goes an echo request: its reply says when the answer was taken.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::cli::bench::fake_switch::{FakeSwitch, Noted, SwitchSpec};
use crate::types::{DatapathId, MacAddr, PortNo};
use crate::wire::arp::Arp;
use crate::wire::openflow::{Frame, Framing, MESSAGE_BYTES_MAX, Message, MultipartRequestBody, VERSION};

/// Ports of every switch.
pub(super) const PORTS: u32 = 24;
/// The ring of a batch: out of the first, into the second of the next switch.
const RING: [PortNo; 2] = [PortNo(1), PortNo(2)];
/// The host of the first two switches, whose requests time the controller's loop.
const HOST_PORT: PortNo = PortNo(10);
/// Every so many switches send an echo request behind their statistics.
const SAMPLED: u64 = 8;
/// One request after the other. The same question sooner than 50 ms after the last is no new one to Foreshadow.
const ASK_PAUSE: Duration = Duration::from_millis(60);
/// A request that is not answered by then is lost.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// The host that is asked for makes itself known so often.
const ANNOUNCE: Duration = Duration::from_secs(2);
/// Discovery frames on their way to one switch; when it is full they are lost as on a busy wire.
const WIRE_DEPTH: usize = 16;
/// A controller that refuses connections for so long does not run.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);
const INPUT_BYTES: usize = 2 << 10;
const HEADER_BYTES: usize = 8;
const ECHO_REPLY: u8 = 3;
const MULTIPART_REQUEST: u8 = 18;
const PORT_STATS: [u8; 2] = [0, 4];
const MULTIPART_HEADER_BYTES: usize = 16;
const PORT_STATS_BYTES: usize = 112;
/// Mark of the echo requests behind statistics.
const MARK: u32 = 0x5ca1_e000;

/// Switches that may be between their connect and the description of their ports, where they do not come all at once.
const ARRIVING: usize = 32;

/// How new switches come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// All at once, as after a controller's restart.
    Storm,
    /// [`ARRIVING`] at a time: as fast as the controller takes them.
    Paced,
}

/// What all switches share.
#[derive(Debug)]
struct Shared {
    controller: SocketAddr,
    arriving: Arc<Semaphore>,
    handshaken: AtomicUsize,
    lost: AtomicUsize,
    answered: AtomicU64,
    measuring: AtomicBool,
    seen: Mutex<Seen>,
}

/// What was seen since the measurement began.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// From a statistics request to the moment its answer was taken, microseconds; a sample of the switches.
    pub(super) statistics_us: Vec<u32>,
    /// From a packet-in to the packet-out that answers it, microseconds.
    pub(super) loop_us: Vec<u32>,
    pub(super) loop_lost: u64,
    /// Why a session ended.
    pub(super) ended: Option<String>,
}

/// Running switches; they end when it is dropped.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    size: usize,
    statistics: Arc<Vec<u8>>,
    tasks: JoinSet<()>,
}

impl Load {
    pub(super) fn new(controller: SocketAddr) -> anyhow::Result<Self> {
        let shared = Shared {
            controller,
            arriving: Arc::new(Semaphore::new(ARRIVING)),
            handshaken: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            measuring: AtomicBool::new(false),
            seen: Mutex::default(),
        };
        let statistics = Arc::new(FakeSwitch::new(spec(0)).port_statistics().encode()?);
        Ok(Self { shared: Arc::new(shared), size: 0, statistics, tasks: JoinSet::new() })
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Sessions that ended.
    pub(super) fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Statistics requests answered so far.
    pub(super) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Switches that have described their ports.
    pub(super) fn handshaken(&self) -> usize {
        self.shared.handshaken.load(Ordering::Relaxed)
    }

    /// Connects so many more switches, and waits until the last has described its ports. They are wired in a ring of
    /// their own. Returns how long that took.
    ///
    /// # Errors
    /// It takes longer than `patience`, or a session ends.
    pub(super) async fn grow(
        &mut self,
        count: usize,
        arrival: Arrival,
        patience: Duration,
    ) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut inlets = Vec::with_capacity(count);
        let outlets = (0..count).map(|_| {
            let (outlet, inlet) = mpsc::channel(WIRE_DEPTH);
            inlets.push(inlet);
            outlet
        });
        let ring: Arc<Vec<_>> = Arc::new(outlets.collect());
        for (position, arrivals) in inlets.into_iter().enumerate() {
            let number = self.size + position;
            let session = Session {
                switch: FakeSwitch::new(spec(number as u64 + 1)),
                number,
                position,
                shared: Arc::clone(&self.shared),
                ring: Arc::clone(&ring),
                statistics: Arc::clone(&self.statistics),
                output: Vec::new(),
                marked: None,
                asked: None,
                described: false,
                entry: None,
                arrival,
            };
            self.tasks.spawn(session.run(arrivals));
        }
        self.size += count;
        while self.handshaken() < self.size {
            if self.lost() > 0 {
                let why = self.seen().ended.clone().unwrap_or_default();
                bail!("{} of {} sessions ended, one of them: {why}", self.lost(), self.size);
            }
            if began.elapsed() > patience {
                bail!("after {patience:?} only {} of {} switches are there", self.handshaken(), self.size);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(began.elapsed())
    }

    /// Forgets what was seen, and measures from now on.
    pub(super) fn measure(&self) {
        *self.seen() = Seen::default();
        self.shared.measuring.store(true, Ordering::Relaxed);
    }

    /// What was seen since [`Self::measure`].
    pub(super) fn measured(&self) -> Seen {
        self.shared.measuring.store(false, Ordering::Relaxed);
        self.seen().clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen()
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing that holds this lock can panic halfway through a change.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, note: impl FnOnce(&mut Seen)) {
        if self.measuring.load(Ordering::Relaxed) {
            note(&mut self.seen());
        }
    }
}

fn spec(datapath: u64) -> SwitchSpec {
    SwitchSpec { datapath: DatapathId(datapath), ports: (1..=PORTS).map(PortNo).collect() }
}

/// What arrives over a wire: port, frame.
type Wired = (PortNo, Vec<u8>);

struct Session {
    switch: FakeSwitch,
    number: usize,
    /// Place in the ring of its batch.
    position: usize,
    shared: Arc<Shared>,
    ring: Arc<Vec<mpsc::Sender<Wired>>>,
    /// An answer with statistics of every port, as bytes.
    statistics: Arc<Vec<u8>>,
    output: Vec<u8>,
    /// When the request was seen whose answer an echo request follows.
    marked: Option<(u32, Instant)>,
    /// When the host here asked for its neighbour.
    asked: Option<Instant>,
    described: bool,
    arrival: Arrival,
    /// Held until the ports are described.
    entry: Option<OwnedSemaphorePermit>,
}

impl Session {
    async fn run(mut self, arrivals: mpsc::Receiver<Wired>) {
        let ended = self.serve(arrivals).await;
        let why = ended.err().map_or_else(|| "the controller closed the connection".to_owned(), |e| format!("{e:#}"));
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
        self.shared.seen().ended.get_or_insert(why);
    }

    async fn serve(&mut self, mut arrivals: mpsc::Receiver<Wired>) -> anyhow::Result<()> {
        if self.arrival == Arrival::Paced {
            self.entry = Some(Arc::clone(&self.shared.arriving).acquire_owned().await?);
        }
        let mut socket = connect(self.shared.controller).await?;
        self.switch.hello().encode_into(&mut self.output)?;
        let mut input = Vec::with_capacity(INPUT_BYTES);
        // Only the first two switches have a host; the others never wake for it.
        let mut pace = match self.number {
            0 => Some(tokio::time::interval(ASK_PAUSE)),
            1 => Some(tokio::time::interval(ANNOUNCE)),
            _ => None,
        };
        if let Some(pace) = &mut pace {
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            if !self.output.is_empty() {
                socket.write_all(&self.output).await?;
                self.output.clear();
            }
            let tick = async {
                match &mut pace {
                    Some(pace) => pace.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = socket.read_buf(&mut input) => match read? {
                    0 => return Ok(()),
                    _ => self.take(&mut input)?,
                },
                Some((port, data)) = arrivals.recv() => self.switch.packet_in(port, data).encode_into(&mut self.output)?,
                _ = tick => self.speak()?,
            }
        }
    }

    fn take(&mut self, input: &mut Vec<u8>) -> anyhow::Result<()> {
        let mut taken = 0;
        while let Framing::Complete(length) = Framing::of(&input[taken..], MESSAGE_BYTES_MAX)? {
            let raw = &input[taken..taken + length];
            taken += length;
            match raw[1] {
                MULTIPART_REQUEST if raw.get(HEADER_BYTES..HEADER_BYTES + 2) == Some(&PORT_STATS) => {
                    self.answer_statistics(raw);
                }
                ECHO_REPLY => self.taken(raw),
                _ => self.answer(Frame::decode(raw)?)?,
            }
        }
        input.drain(..taken);
        Ok(())
    }

    /// Counters rise with every answer.
    fn answer_statistics(&mut self, request: &[u8]) {
        let count = self.shared.answered.fetch_add(1, Ordering::Relaxed);
        let at = self.output.len();
        self.output.extend_from_slice(&self.statistics);
        let answer = &mut self.output[at..];
        answer[4..HEADER_BYTES].copy_from_slice(&request[4..HEADER_BYTES]);
        for port in answer[MULTIPART_HEADER_BYTES..].chunks_exact_mut(PORT_STATS_BYTES) {
            // Packets and bytes, received and sent, follow the port's number.
            for (field, unit) in [(8, 1), (16, 1), (24, 1_000), (32, 1_000)] {
                port[field..field + 8].copy_from_slice(&(count * unit).to_be_bytes());
            }
        }
        if (self.number as u64).is_multiple_of(SAMPLED) && self.marked.is_none() {
            let xid = MARK | (count as u32 & 0xfff);
            self.marked = Some((xid, Instant::now()));
            const ECHO_REQUEST: [u8; 4] = [VERSION, 2, 0, HEADER_BYTES as u8];
            self.output.extend_from_slice(&ECHO_REQUEST);
            self.output.extend_from_slice(&xid.to_be_bytes());
        }
    }

    fn taken(&mut self, reply: &[u8]) {
        if let Some((_, since)) = self.marked.take_if(|(xid, _)| reply[4..HEADER_BYTES] == xid.to_be_bytes()) {
            self.shared.note(|seen| seen.statistics_us.push(micros(since.elapsed())));
        }
    }

    fn answer(&mut self, frame: Frame) -> anyhow::Result<()> {
        let describes = matches!(&frame.message, Message::MultipartRequest(request)
            if request.body == MultipartRequestBody::PortDescription);
        let (noted, answer) = self.switch.handle(frame);
        if let Some(answer) = answer {
            answer.encode_into(&mut self.output)?;
        }
        if describes && !std::mem::replace(&mut self.described, true) {
            self.shared.handshaken.fetch_add(1, Ordering::Relaxed);
            self.entry = None;
        }
        if let Noted::Packet { ports, data } = noted {
            self.forward(&ports, data);
        }
        Ok(())
    }

    fn forward(&mut self, ports: &[PortNo], data: Vec<u8>) {
        if self.number == 0 && is_answer(&data) {
            if let Some(since) = self.asked.take() {
                self.shared.note(|seen| seen.loop_us.push(micros(since.elapsed())));
            }
            return;
        }
        let size = self.ring.len();
        for port in ports {
            let (next, arrives) = match *port {
                port if port == RING[0] => ((self.position + 1) % size, RING[1]),
                port if port == RING[1] => ((self.position + size - 1) % size, RING[0]),
                _ => continue,
            };
            // A full wire loses frames; see WIRE_DEPTH. A ring of one is no wire.
            if next != self.position {
                let _ = self.ring[next].try_send((arrives, data.clone()));
            }
        }
    }

    /// The hosts behind the first two switches: one asks, the other makes itself known.
    fn speak(&mut self) -> anyhow::Result<()> {
        if !self.described {
            return Ok(());
        }
        if self.number == 0 {
            match self.asked {
                Some(since) if since.elapsed() < LOST_AFTER => return Ok(()),
                Some(_) => self.shared.note(|seen| seen.loop_lost += 1),
                None => {}
            }
            self.asked = Some(Instant::now());
        }
        let (me, other) = if self.number == 0 { (host(1), host(2)) } else { (host(2), host(1)) };
        let request = Arp::request(me.1, me.0, other.0).encode();
        self.switch.packet_in(HOST_PORT, request).encode_into(&mut self.output)?;
        Ok(())
    }
}

fn host(number: u8) -> (Ipv4Addr, MacAddr) {
    (Ipv4Addr::new(10, 0, 0, number), MacAddr([2, 0, 0, 0, 0, number]))
}

/// An answer to the first host's question, or the question itself sent on by a controller that floods.
fn is_answer(data: &[u8]) -> bool {
    let (asker, asked) = (host(1).0, host(2).0);
    Arp::decode(data)
        .is_some_and(|arp| (arp.sender, arp.target) == (asked, asker) || (arp.sender, arp.target) == (asker, asked))
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

async fn connect(controller: SocketAddr) -> anyhow::Result<TcpStream> {
    let began = Instant::now();
    loop {
        match TcpStream::connect(controller).await {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) if began.elapsed() > CONNECT_PATIENCE => {
                return Err(error).with_context(|| format!("nothing listens on {controller}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::openflow::{MultipartReplyBody, MultipartRequest};

    #[tokio::test]
    async fn statistics_from_the_template_are_what_the_codec_reads() {
        let mut load = Load::new(SocketAddr::from(([127, 0, 0, 1], 9))).expect("a template");
        let (outlet, _arrivals) = mpsc::channel(1);
        let mut session = Session {
            switch: FakeSwitch::new(spec(1)),
            number: 0,
            position: 0,
            shared: Arc::clone(&load.shared),
            ring: Arc::new(vec![outlet]),
            statistics: Arc::clone(&load.statistics),
            output: Vec::new(),
            marked: None,
            asked: None,
            described: true,
            arrival: Arrival::Storm,
            entry: None,
        };
        load.size = 1;
        let body = MultipartRequestBody::PortStats(crate::wire::openflow::port::ANY);
        let request = Frame::new(77, Message::MultipartRequest(MultipartRequest::new(body)));
        for round in 0..2 {
            session.take(&mut request.encode().expect("encodes")).expect("taken");
            let Framing::Complete(length) = Framing::of(&session.output, MESSAGE_BYTES_MAX).expect("framed") else {
                panic!("not a whole frame")
            };
            let answer = Frame::decode(&session.output[..length]).expect("decodes");
            assert_eq!(answer.xid, 77);
            let Message::MultipartReply(reply) = answer.message else { panic!("no statistics") };
            let MultipartReplyBody::PortStats(ports) = reply.body else { panic!("no statistics") };
            assert_eq!(ports.len(), PORTS as usize);
            assert_eq!((ports[23].port_no, ports[23].rx_packets, ports[0].tx_bytes), (24, round, round * 1_000));
            // Behind it goes the echo request, once until it is answered.
            let rest = session.output.split_off(length);
            assert_eq!(rest.len(), if round == 0 { HEADER_BYTES } else { 0 });
            session.output.clear();
        }
        load.measure();
        let (xid, _) = session.marked.expect("marked");
        session.take(&mut Frame::new(xid, Message::EchoReply(Vec::new())).encode().expect("encodes")).expect("taken");
        assert_eq!((load.measured().statistics_us.len(), load.answered()), (1, 2));
    }

    #[tokio::test]
    async fn a_ring_carries_probes_to_the_neighbours() {
        let load = Load::new(SocketAddr::from(([127, 0, 0, 1], 9))).expect("a template");
        let (outlets, mut inlets): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::channel(WIRE_DEPTH)).unzip();
        let mut session = Session {
            switch: FakeSwitch::new(spec(9)),
            number: 8,
            position: 0,
            shared: Arc::clone(&load.shared),
            ring: Arc::new(outlets),
            statistics: Arc::clone(&load.statistics),
            output: Vec::new(),
            marked: None,
            asked: None,
            described: true,
            arrival: Arrival::Storm,
            entry: None,
        };
        session.forward(&[PortNo(1), PortNo(2), PortNo(3)], vec![7]);
        assert_eq!(inlets[1].try_recv(), Ok((PortNo(2), vec![7])));
        assert_eq!(inlets[2].try_recv(), Ok((PortNo(1), vec![7])));
        assert!(inlets[0].try_recv().is_err());
    }
}
