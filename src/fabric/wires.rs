//! Ports of emulated switches outside this process: UDP datagrams, or network interfaces of this machine (AF_PACKET).
//!
//! A frame on UDP is one datagram, as it is. A frame on an interface is what the kernel hands over on a raw packet socket
//! and takes from it; what the switch itself sent is not received again. An interface that is to be a port takes frames for
//! every address: veth ends do, a network card has to be made promiscuous. Frames with a VLAN tag that the kernel keeps
//! beside the frame arrive without it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt, socket,
    sockopt,
};
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::types::PortNo;

/// Longest frame that is taken: a whole IPv4 packet, which an interface hands over when offloads are on.
const FRAME_BYTES_MAX: usize = 65_550;
/// Most frames of one port that are handed over together, so that no port waits long for another.
const BATCH_FRAMES_MAX: usize = 64;
/// Bytes of frames that wait in the kernel, each way. The usual 208 kB hold a few hundred small frames only.
const BUFFER_BYTES: usize = 8 << 20;
/// How often the links are looked at. `watch_port` reacts no faster.
const CARRIER_INTERVAL: Duration = Duration::from_millis(50);
/// `sll_pkttype` of a frame that this machine sent.
const PACKET_OUTGOING: u8 = 4;

/// What a port is joined to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// Frames arrive at `listen`, from `peer` alone, and leave for `peer`.
    Udp { listen: SocketAddr, peer: SocketAddr },
    /// A network interface of this machine, by its name.
    Interface(String),
}

/// What comes in by a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    Frame {
        port: PortNo,
        bytes: Vec<u8>,
    },
    /// The carrier of an interface came or went. Links over UDP are always up.
    Link {
        port: PortNo,
        up: bool,
    },
}

/// Why a port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum WiresError {
    #[error("port {port}: cannot listen on udp://{listen}: {error}")]
    Udp { port: PortNo, listen: SocketAddr, error: io::Error },
    #[error("port {port}: expected a network interface, '{interface}' is not there")]
    NoInterface { port: PortNo, interface: String },
    #[error("port {port}: cannot open the interface '{interface}' (this needs CAP_NET_RAW): {error}")]
    Interface { port: PortNo, interface: String, error: io::Error },
}

#[derive(Clone, Debug)]
enum Wire {
    Udp { socket: Arc<UdpSocket>, peer: SocketAddr },
    Interface { socket: Arc<AsyncFd<OwnedFd>>, name: String, index: usize },
}

/// The open ports of one switch.
#[derive(Clone, Debug)]
pub struct Wires(Arc<BTreeMap<PortNo, Wire>>);

impl Wires {
    /// Opens every port, or none.
    pub async fn open(ports: impl IntoIterator<Item = (PortNo, Attachment)>) -> Result<Self, WiresError> {
        let mut wires = BTreeMap::new();
        for (port, attachment) in ports {
            let wire = match attachment {
                Attachment::Udp { listen, peer } => Wire::Udp {
                    socket: bind_udp(listen).await.map_err(|error| WiresError::Udp { port, listen, error })?,
                    peer,
                },
                Attachment::Interface(name) => open_interface(port, name)?,
            };
            wires.insert(port, wire);
        }
        Ok(Self(Arc::new(wires)))
    }

    /// Hands to `arrived` what comes in, in batches, until `shutdown`. The first batch says which links are down.
    pub fn receive(
        &self,
        arrived: impl Fn(Vec<Arrival>) + Clone + Send + Sync + 'static,
        tasks: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) {
        let mut watched = BTreeMap::new();
        for (port, wire) in self.0.iter() {
            let (port, arrived, shutdown) = (*port, arrived.clone(), shutdown.clone());
            match wire.clone() {
                Wire::Udp { socket, peer } => {
                    let receiving = receive_udp(port, socket, peer, arrived);
                    tasks.spawn(until(shutdown, receiving));
                }
                Wire::Interface { socket, name, index } => {
                    watched.insert(port, name);
                    let receiving = receive_interface(port, socket, index, arrived);
                    tasks.spawn(until(shutdown, receiving));
                }
            }
        }
        if !watched.is_empty() {
            let (watching, shutdown) = (watch_carriers(watched, arrived), shutdown.clone());
            tasks.spawn(until(shutdown, watching));
        }
    }

    /// Sends a frame out of a port. One that cannot be sent now is lost, as on a cable that leads nowhere or behind a
    /// full queue.
    pub async fn send(&self, port: PortNo, frame: &[u8]) {
        match self.0.get(&port) {
            Some(Wire::Udp { socket, peer }) => {
                let _ = socket.send_to(frame, peer).await;
            }
            Some(Wire::Interface { socket, .. }) => {
                let _ = send(socket.get_ref().as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT);
            }
            None => {}
        }
    }
}

async fn until(shutdown: CancellationToken, work: impl Future<Output = ()>) {
    shutdown.run_until_cancelled(work).await;
}

async fn bind_udp(listen: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let socket = UdpSocket::bind(listen).await?;
    // As much as this system allows; a smaller buffer only loses bursts.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(BUFFER_BYTES);
    Ok(Arc::new(socket))
}

fn open_interface(port: PortNo, name: String) -> Result<Wire, WiresError> {
    let address = link_address(&name).ok_or_else(|| WiresError::NoInterface { port, interface: name.clone() })?;
    let open = || -> io::Result<AsyncFd<OwnedFd>> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
        bind(socket.as_raw_fd(), &address)?;
        // Root may go beyond the system's limit; whoever else has the capability gets what the limit allows.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
            let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER_BYTES);
        }
        let _ = setsockopt(&socket, sockopt::SndBuf, &BUFFER_BYTES);
        #[expect(deprecated, reason = "its successor is unsafe code, and the descriptor is ours alone")]
        AsyncFd::new(socket)
    };
    match open() {
        Ok(socket) => Ok(Wire::Interface { socket: Arc::new(socket), name, index: address.ifindex() }),
        Err(error) => Err(WiresError::Interface { port, interface: name, error }),
    }
}

fn link_address(name: &str) -> Option<LinkAddr> {
    let mut interfaces = getifaddrs().ok()?;
    interfaces.find_map(|interface| {
        if interface.interface_name != name {
            return None;
        }
        interface.address?.as_link_addr().copied()
    })
}

/// Frames from the far end of one port. What comes from anywhere else is dropped.
async fn receive_udp(
    port: PortNo,
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    arrived: impl Fn(Vec<Arrival>) + Send + Sync + 'static,
) {
    let mut frame = vec![0; FRAME_BYTES_MAX];
    loop {
        let mut batch = Vec::new();
        // An error here is the echo of a datagram that found nobody: the far end is not up yet.
        let mut received = socket.recv_from(&mut frame).await;
        loop {
            match received {
                Ok((length, from)) if from == peer => {
                    batch.push(Arrival::Frame { port, bytes: frame[..length].to_vec() });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                _ => {}
            }
            if batch.len() >= BATCH_FRAMES_MAX {
                break;
            }
            received = socket.try_recv_from(&mut frame);
        }
        if !batch.is_empty() {
            arrived(batch);
        }
        // Others' turn, however fast frames come.
        tokio::task::yield_now().await;
    }
}

async fn receive_interface(
    port: PortNo,
    socket: Arc<AsyncFd<OwnedFd>>,
    index: usize,
    arrived: impl Fn(Vec<Arrival>) + Send + Sync + 'static,
) {
    let mut frame = vec![0; FRAME_BYTES_MAX];
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        let mut batch = Vec::new();
        while batch.len() < BATCH_FRAMES_MAX {
            match recvfrom::<LinkAddr>(socket.get_ref().as_raw_fd(), &mut frame) {
                // Between its birth and being bound the socket heard every interface.
                Ok((length, Some(from))) if from.pkttype() != PACKET_OUTGOING && from.ifindex() == index => {
                    batch.push(Arrival::Frame { port, bytes: frame[..length].to_vec() });
                }
                Ok(_) => {}
                Err(Errno::EAGAIN) => {
                    ready.clear_ready();
                    break;
                }
                // The interface went down, or is gone: the carrier's watch tells.
                Err(_) => break,
            }
        }
        if !batch.is_empty() {
            arrived(batch);
        }
        tokio::task::yield_now().await;
    }
}

/// Tells of carriers that come and go. An interface that is not there any more has none.
async fn watch_carriers(ports: BTreeMap<PortNo, String>, arrived: impl Fn(Vec<Arrival>) + Send + Sync + 'static) {
    let mut up: BTreeMap<PortNo, bool> = ports.keys().map(|port| (*port, true)).collect();
    let mut interval = tokio::time::interval(CARRIER_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Ok(interfaces) = getifaddrs() else { continue };
        let live: Vec<String> = interfaces
            .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_LOWER_UP))
            .map(|interface| interface.interface_name)
            .collect();
        let mut batch = Vec::new();
        for (port, name) in &ports {
            let now = live.contains(name);
            if up.insert(*port, now) != Some(now) {
                tracing::info!(%port, interface = %name, up = now, "link");
                batch.push(Arrival::Link { port: *port, up: now });
            }
        }
        if !batch.is_empty() {
            arrived(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[tokio::test]
    async fn datagrams_are_frames_of_their_peer_alone() {
        let far = UdpSocket::bind(loopback()).await.unwrap();
        let stranger = UdpSocket::bind(loopback()).await.unwrap();
        let listen = {
            let free = UdpSocket::bind(loopback()).await.unwrap();
            free.local_addr().unwrap()
        };
        let port = PortNo(3);
        let wires = Wires::open([(port, Attachment::Udp { listen, peer: far.local_addr().unwrap() })]).await.unwrap();
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
        wires.receive(move |batch| batch.into_iter().for_each(|one| sender.send(one).unwrap()), &mut tasks, &shutdown);
        stranger.send_to(b"not for us", listen).await.unwrap();
        far.send_to(b"frame", listen).await.unwrap();
        assert_eq!(receiver.recv().await, Some(Arrival::Frame { port, bytes: b"frame".to_vec() }));
        wires.send(port, b"answer").await;
        let mut answer = [0; 16];
        let (length, from) = far.recv_from(&mut answer).await.unwrap();
        assert_eq!((&answer[..length], from), (&b"answer"[..], listen));
        shutdown.cancel();
        tasks.join_all().await;
        assert!(receiver.recv().await.is_none(), "what the stranger sent is not a frame");
    }

    #[tokio::test]
    async fn interfaces_that_are_not_there_are_told() {
        let error = Wires::open([(PortNo(7), Attachment::Interface("no-such-link".to_owned()))]).await.unwrap_err();
        assert_eq!(error.to_string(), "port 7: expected a network interface, 'no-such-link' is not there");
    }
}
