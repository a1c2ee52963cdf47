//! The agent's thread: waits for kernel, links and questions in one place, and feeds what comes to [`Agent`].

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{oneshot, watch};

use super::kernel::{KernelError, Netlink, REQUESTS_MAX, Read};
use super::link::{Address, Link, LinkError};
use super::{Agent, Report, Setup};
use crate::types::{NodeIndex, Timestamp};
use crate::wire::ctnetlink::Message;
use crate::wire::replication::Connection;

/// Questions that wait; who asks more is told so.
const QUESTIONS_MAX: usize = 16;
/// Datagrams that are taken from one socket before the others have their turn.
const TURN_MAX: usize = 512;
/// Events gather in the kernel for so long, so that one waking takes many. Frames gather changes for longer.
const GATHER: Duration = Duration::from_micros(1_500);
/// Between attempts to open a link anew that takes nothing.
const REOPEN: Duration = Duration::from_millis(500);

/// What an agent runs on.
#[derive(Clone)]
pub struct Options {
    pub setup: Setup,
    /// Where each peer is. Peers may share an interface.
    pub links: BTreeMap<NodeIndex, Address>,
    /// Bytes of events that the kernel keeps for this process.
    pub event_buffer_bytes: usize,
    /// Between dumps that look for what events did not tell; none: only after events were lost.
    pub resync: Option<Duration>,
    /// Is told every connection that a peer opened, once it is held.
    pub trace: Option<Trace>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("setup", &self.setup).field("links", &self.links).finish_non_exhaustive()
    }
}

/// See [`Options::trace`].
pub type Trace = Arc<dyn Fn(&Connection) + Send + Sync>;

/// What can be asked of a running agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Status,
    /// Puts the connections of an owner, or of all peers, into this kernel.
    Commit(Option<NodeIndex>),
    /// Takes from this kernel what an owner, or any peer, holds itself.
    Purge(Option<NodeIndex>),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    /// Connections that a commit or purge was about, and those that the kernel refused.
    pub connections: u64,
    pub failed: u64,
    /// The last reason that the kernel gave.
    pub reason: Option<String>,
    pub report: Report,
}

#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("the link to router {peer}: {error}")]
    Link { peer: NodeIndex, error: LinkError },
    #[error("cannot start the agent's thread: {0}")]
    Thread(io::Error),
}

/// Why a question was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("expected at most {QUESTIONS_MAX} questions at once")]
    Busy,
    #[error("the agent has ended")]
    Ended,
}

type Question = (Ask, oneshot::Sender<Answer>);

/// Asks a running agent. When the last one is dropped, the agent ends.
#[derive(Clone, Debug)]
pub struct Handle {
    questions: SyncSender<Question>,
    wake: Arc<UnixStream>,
    ended: watch::Receiver<()>,
}

impl Handle {
    pub async fn ask(&self, ask: Ask) -> Result<Answer, AskError> {
        let (sender, answer) = oneshot::channel();
        self.questions.try_send((ask, sender)).map_err(|error| match error {
            TrySendError::Full(_) => AskError::Busy,
            TrySendError::Disconnected(_) => AskError::Ended,
        })?;
        // A full pipe wakes too.
        let _ = rustix::io::write(self.wake.as_fd(), &[0]);
        answer.await.map_err(|_| AskError::Ended)
    }

    /// Until the agent's thread has ended, as it was told to or by a defect.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // Nothing is ever sent: the thread's end drops the sender.
        while ended.changed().await.is_ok() {}
    }

    /// Ends the agent. Kernels and peers keep what they have.
    pub fn stop(&self) {
        let _ = self.wake.shutdown(Shutdown::Both);
    }
}

/// A commit or purge under way.
#[derive(Debug)]
struct Job {
    commit: bool,
    left: VecDeque<Connection>,
    connections: u64,
    failed: u64,
    reason: Option<String>,
    answer: oneshot::Sender<Answer>,
}

struct Driver {
    agent: Agent,
    links: Vec<Link>,
    addresses: Vec<Address>,
    /// When a link that takes nothing is opened anew: its interface may have gone and come.
    reopen_at: Timestamp,
    /// The link of each peer.
    routes: BTreeMap<NodeIndex, usize>,
    events: Option<Netlink>,
    dumps: Netlink,
    requests: Netlink,
    /// A dump is being read, and since when; another one has to follow.
    reading: bool,
    dump_wanted: bool,
    resync: Option<Duration>,
    resync_at: Timestamp,
    trace: Option<Trace>,
    questions: Receiver<Question>,
    wake: UnixStream,
    jobs: VecDeque<Job>,
    counted: Report,
    gather_until: Timestamp,
    begun: Instant,
}

/// Opens everything and starts the thread. What is missing is said here.
pub fn start(options: Options) -> Result<(Handle, JoinHandle<()>), DriverError> {
    let mut requests = Netlink::requests()?;
    requests.probe()?;
    let events = options.setup.is_source.then(|| Netlink::events(options.event_buffer_bytes)).transpose()?;
    let (mut links, mut routes, mut opened) = (Vec::new(), BTreeMap::new(), Vec::<(Address, usize)>::new());
    for (peer, address) in &options.links {
        let known = opened.iter().find(|(known, _)| known == address).map(|(_, place)| *place);
        let place = match known {
            Some(place) => place,
            None => {
                links.push(Link::open(address).map_err(|error| DriverError::Link { peer: *peer, error })?);
                opened.push((address.clone(), links.len() - 1));
                links.len() - 1
            }
        };
        routes.insert(*peer, place);
    }
    let (sender, questions) = sync_channel(QUESTIONS_MAX);
    let (waker, wake) = UnixStream::pair().map_err(DriverError::Thread)?;
    for end in [&waker, &wake] {
        end.set_nonblocking(true).map_err(DriverError::Thread)?;
    }
    let begun = Instant::now();
    let driver = Driver {
        dump_wanted: options.setup.is_source,
        agent: Agent::new(options.setup, Timestamp(1)),
        links,
        addresses: opened.into_iter().map(|(address, _)| address).collect(),
        reopen_at: Timestamp(0),
        routes,
        events,
        dumps: Netlink::requests()?,
        requests,
        reading: false,
        resync: options.resync,
        resync_at: Timestamp(1) + options.resync.unwrap_or_default(),
        trace: options.trace,
        questions,
        wake,
        jobs: VecDeque::new(),
        counted: Report::default(),
        gather_until: Timestamp(0),
        begun,
    };
    let (running, ended) = watch::channel(());
    let thread = std::thread::Builder::new().name("agent".to_owned()).spawn(move || {
        // Dropped at the end, in a panic too.
        let _running = running;
        driver.run();
    });
    let thread = thread.map_err(DriverError::Thread)?;
    Ok((Handle { questions: sender, wake: Arc::new(waker), ended }, thread))
}

impl Driver {
    fn now(&self) -> Timestamp {
        Timestamp(1) + self.begun.elapsed()
    }

    fn run(mut self) {
        loop {
            let ready = self.wait();
            if ready.wake && !self.answer_questions() {
                return;
            }
            if ready.events {
                self.read_events();
            }
            if ready.dumps {
                self.read_dump();
            }
            for (place, _) in ready.links.iter().enumerate().filter(|(_, ready)| **ready) {
                self.receive(place);
            }
            self.begin_dump();
            self.work();
            self.send();
        }
    }

    /// Until something is there, or due.
    fn wait(&self) -> Ready {
        let now = self.now();
        let gathering = self.gather_until > now;
        let mut due = self.agent.next_deadline();
        if self.resync.is_some() {
            due = Some(due.map_or(self.resync_at, |due| due.min(self.resync_at)));
        }
        if gathering {
            due = Some(due.map_or(self.gather_until, |due| due.min(self.gather_until)));
        }
        let idle = self.jobs.is_empty();
        let span = due.map(|due| if idle { due.since(now) } else { Duration::ZERO });
        let timeout = span.or((!idle).then_some(Duration::ZERO)).map(|span| Timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: span.subsec_nanos().into(),
        });
        let events = self.events.as_ref().filter(|_| !gathering);
        let mut waiting = vec![PollFd::new(&self.wake, PollFlags::IN), PollFd::new(&self.dumps, PollFlags::IN)];
        waiting.extend(self.links.iter().map(|link| PollFd::new(link, PollFlags::IN)));
        waiting.extend(events.map(|events| PollFd::new(events, PollFlags::IN)));
        // Interrupted by a signal: nothing is ready, and the loop comes back.
        let _ = poll(&mut waiting, timeout.as_ref());
        let ready = |place: usize| waiting.get(place).is_some_and(|fd| !fd.revents().is_empty());
        let last = 2 + self.links.len();
        Ready { wake: ready(0), dumps: ready(1), links: (2..last).map(ready).collect(), events: ready(last) }
    }

    /// `false` when the agent is to end.
    fn answer_questions(&mut self) -> bool {
        let mut nothing = [0; 64];
        if let Ok(0) = rustix::io::read(&self.wake, &mut nothing) {
            return false;
        }
        while let Ok((ask, answer)) = self.questions.try_recv() {
            let (commit, connections) = match ask {
                Ask::Status => (false, Vec::new()),
                Ask::Commit(owner) => (true, self.agent.holdings(owner)),
                Ask::Purge(owner) => (false, self.agent.returned(owner)),
            };
            let left = VecDeque::from(connections);
            let connections = left.len() as u64;
            self.jobs.push_back(Job { commit, left, connections, failed: 0, reason: None, answer });
        }
        true
    }

    fn read_events(&mut self) {
        let now = self.now();
        let Some(events) = &mut self.events else { return };
        for _ in 0..TURN_MAX {
            let agent = &mut self.agent;
            let read = events.read(|message| match message {
                Ok(Message::Entry(entry)) => agent.event(*entry, now),
                Ok(_) => {}
                Err(_) => agent.unreadable(),
            });
            match read {
                Read::Messages => {}
                Read::Empty => {
                    self.gather_until = now + GATHER;
                    break;
                }
                Read::Overrun => {
                    tracing::warn!("the kernel dropped events: all connections are read again");
                    self.agent.lost_events();
                    self.dump_wanted = true;
                }
            }
        }
    }

    fn begin_dump(&mut self) {
        let now = self.now();
        if let Some(resync) = self.resync
            && self.resync_at <= now
        {
            self.resync_at = now + resync;
            self.dump_wanted = self.agent.is_source();
        }
        if !self.dump_wanted || self.reading {
            return;
        }
        self.dump_wanted = false;
        match self.dumps.dump() {
            Ok(()) => {
                self.agent.dump_begins();
                self.reading = true;
            }
            Err(error) => tracing::error!(%error, "the kernel's connections cannot be read"),
        }
    }

    fn read_dump(&mut self) {
        let now = self.now();
        let (mut done, mut broken) = (false, false);
        for _ in 0..TURN_MAX / 32 {
            let agent = &mut self.agent;
            let read = self.dumps.read(|message| match message {
                Ok(Message::Entry(entry)) => agent.dumped(*entry, now),
                Ok(Message::Done) => done = true,
                // The table changed its size, or the dump was refused.
                Ok(Message::Answer { errno, .. }) => broken |= errno != 0,
                Ok(Message::Other) => {}
                Err(_) => agent.unreadable(),
            });
            broken |= read == Read::Overrun;
            if read != Read::Messages || done {
                break;
            }
        }
        if done && !broken {
            self.agent.dump_ends(now);
        }
        if done || broken {
            self.reading = false;
            self.dump_wanted |= broken;
        }
    }

    fn receive(&mut self, place: usize) {
        let now = self.now();
        let link = &mut self.links[place];
        let overhead = link.overhead();
        for _ in 0..TURN_MAX {
            let Some(frame) = link.receive() else { break };
            self.counted.received_frames += 1;
            self.counted.received_bytes += (frame.len() + overhead) as u64;
            self.agent.frame(frame, now);
            if let Some(trace) = &self.trace {
                self.agent.opened().for_each(|connection| trace(connection));
            }
        }
    }

    /// A part of the commit or purge under way, so that events and frames are not kept waiting.
    fn work(&mut self) {
        let Some(job) = self.jobs.front_mut() else { return };
        let part: Vec<Connection> = job.left.drain(..job.left.len().min(REQUESTS_MAX)).collect();
        if !part.is_empty() {
            let outcome = if job.commit {
                self.requests.create(&part).map(|(failed, errno)| {
                    self.counted.committed += (part.len() - failed) as u64;
                    self.counted.commit_failures += failed as u64;
                    (failed, errno.map(|errno| io::Error::from_raw_os_error(errno).to_string()))
                })
            } else {
                self.requests.delete(&part).map(|deleted| {
                    self.counted.purged += deleted as u64;
                    (0, None)
                })
            };
            let (failed, reason) = outcome.unwrap_or_else(|error| (part.len(), Some(error.to_string())));
            job.failed += failed as u64;
            job.reason = reason.or(job.reason.take());
        }
        if job.left.is_empty()
            && let Some(job) = self.jobs.pop_front()
        {
            let Job { connections, failed, reason, answer, .. } = job;
            // Who asked may have gone.
            let _ = answer.send(Answer { connections, failed, reason, report: self.report() });
        }
    }

    fn report(&self) -> Report {
        let own = self.agent.report(self.now());
        Report {
            router: own.router,
            connections: own.connections,
            kernel: own.kernel,
            unreadable_frames: own.unreadable_frames,
            peers: own.peers,
            ..self.counted.clone()
        }
    }

    fn send(&mut self) {
        let now = self.now();
        for _ in 0..TURN_MAX {
            let Some((peer, frame)) = self.agent.poll(now) else { break };
            let Some(place) = self.routes.get(&peer).copied() else { continue };
            let link = &mut self.links[place];
            if link.send(&frame) {
                self.counted.sent_frames += 1;
                self.counted.sent_bytes += (frame.len() + link.overhead()) as u64;
                continue;
            }
            self.counted.unsent_frames += 1;
            if self.reopen_at <= now {
                self.reopen_at = now + REOPEN;
                if let Ok(anew) = Link::open(&self.addresses[place]) {
                    self.links[place] = anew;
                }
            }
        }
    }
}

#[derive(Debug)]
struct Ready {
    wake: bool,
    events: bool,
    dumps: bool,
    links: Vec<bool>,
}
