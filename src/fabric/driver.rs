//! Sockets of emulated switches: one task a switch connects it to its controller and carries bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::network::{Network, NodeAt};
use crate::types::PortNo;
use crate::wire::openflow::{Framing, MESSAGE_BYTES_MAX};

/// Wait before the first attempt to connect again, and the most it doubles to.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(4);
/// Bytes asked of the socket at once.
const READ_BYTES: usize = 64 * 1024;

/// A network shared by its traffic and by the drivers of its switches, who take turns.
#[derive(Clone, Debug)]
pub struct SharedNetwork {
    network: Arc<Mutex<Network>>,
    /// One for each node: woken when messages wait in its outbox.
    wake: Arc<[Notify]>,
    /// Woken when frames wait to leave this process.
    wire: Arc<Notify>,
}

impl SharedNetwork {
    pub fn new(network: Network) -> Self {
        let wake = network.nodes().iter().map(|_| Notify::new()).collect();
        Self { network: Arc::new(Mutex::new(network)), wake, wire: Arc::default() }
    }

    /// Does something with the network, then wakes the drivers of the switches that have something to say.
    pub fn with<T>(&self, work: impl FnOnce(&mut Network) -> T) -> T {
        let mut network = self.lock();
        let result = work(&mut network);
        for node in network.waiting() {
            self.wake[node].notify_one();
        }
        if network.wire_waits() {
            self.wire.notify_one();
        }
        result
    }

    /// Frames that leave this process, as soon as there are some.
    pub async fn wire(&self) -> Vec<(PortNo, Vec<u8>)> {
        loop {
            let frames = self.lock().take_wire();
            if !frames.is_empty() {
                return frames;
            }
            self.wire.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Network> {
        // A panic in between is a bug that a test shows; the network is still memory-safe to look at.
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one switch connected to its controller until `shutdown`.
pub async fn drive(network: SharedNetwork, node: NodeAt, controller: SocketAddr, shutdown: CancellationToken) {
    let mut backoff = BACKOFF_MIN;
    loop {
        let attempt = async {
            let stream = TcpStream::connect(controller).await?;
            network.with(|network| network.connected(node));
            let outcome = converse(&network, node, stream, &mut backoff).await;
            network.with(|network| network.disconnected(node));
            outcome
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            outcome = attempt => {
                let name = network.with(|network| network.nodes()[node].id.clone());
                match outcome {
                    Ok(()) => tracing::info!(switch = %name, %controller, "the controller closed the session"),
                    Err(error) => tracing::info!(switch = %name, %controller, %error, "no session with the controller"),
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(BACKOFF_MAX),
        }
    }
}

/// Carries bytes between the socket and the switch until one of them has enough.
async fn converse(network: &SharedNetwork, node: NodeAt, stream: TcpStream, backoff: &mut Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let mut received = Vec::new();
    let mut sending = Vec::new();
    loop {
        encode_outbox(network, node, &mut sending)?;
        if !sending.is_empty() {
            writer.write_all(&sending).await?;
            sending.clear();
            continue;
        }
        received.reserve(READ_BYTES);
        tokio::select! {
            read = reader.read_buf(&mut received) => {
                if read? == 0 {
                    return Ok(());
                }
                let taken = take_messages(network, node, &received)?;
                if taken > 0 {
                    // The controller listens and speaks: the next loss starts from the short wait again.
                    *backoff = BACKOFF_MIN;
                }
                received.drain(..taken);
            }
            () = network.wake[node].notified() => {}
        }
    }
}

fn encode_outbox(network: &SharedNetwork, node: NodeAt, bytes: &mut Vec<u8>) -> io::Result<()> {
    let frames = network.lock().take_outbox(node);
    frames.iter().try_for_each(|frame| frame.encode_into(bytes)).map_err(io::Error::other)
}

/// Hands every whole message to the switch; returns the bytes that were used up.
fn take_messages(network: &SharedNetwork, node: NodeAt, received: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    network.with(|network| {
        while let Framing::Complete(length) =
            Framing::of(&received[taken..], MESSAGE_BYTES_MAX).map_err(io::Error::other)?
        {
            network.control(node, &received[taken..taken + length]).map_err(io::Error::other)?;
            taken += length;
        }
        Ok(taken)
    })
}
