//! Links to peers: an interface that carries nothing but records (AF_PACKET), or UDP where the mirror link is routed.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, MsgFlags, bind, send};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::types::MacAddr;
use crate::wire::replication::ETHERTYPE;

const ETHERNET_LEN: usize = 14;
/// Longest frame that is taken: of jumbo frames too.
const FRAME_BYTES_MAX: usize = 16 << 10;
/// Bytes of frames that wait in the kernel, each way.
const BUFFER_BYTES: usize = 8 << 20;

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Behind an interface; frames go to this address, which may be everyone's.
    Interface {
        name: String,
        mac: MacAddr,
    },
    Udp {
        listen: SocketAddr,
        peer: SocketAddr,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("expected a network interface, '{0}' is not there")]
    NoInterface(String),
    #[error("cannot open the interface '{interface}': CAP_NET_RAW is missing ({error})")]
    NotAllowed { interface: String, error: io::Error },
    #[error("cannot open the interface '{interface}': {error}")]
    Interface { interface: String, error: io::Error },
    #[error("cannot listen on udp://{listen}: {error}")]
    Udp { listen: SocketAddr, error: io::Error },
}

/// One open link.
#[derive(Debug)]
pub struct Link {
    socket: Open,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Open {
    Packet { socket: Socket, header: [u8; ETHERNET_LEN], index: usize },
    Udp { socket: UdpSocket, peer: SocketAddr },
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Open::Packet { socket, .. } => socket.as_fd(),
            Open::Udp { socket, .. } => socket.as_fd(),
        }
    }
}

impl Link {
    pub fn open(address: &Address) -> Result<Self, LinkError> {
        let socket = match address {
            Address::Interface { name, mac } => open_packet(name, *mac)?,
            Address::Udp { listen, peer } => {
                let open = || {
                    let socket = UdpSocket::bind(listen)?;
                    socket.set_nonblocking(true)?;
                    grow(SockRef::from(&socket));
                    Ok(socket)
                };
                let socket = open().map_err(|error| LinkError::Udp { listen: *listen, error })?;
                Open::Udp { socket, peer: *peer }
            }
        };
        Ok(Self { socket, buffer: vec![0; FRAME_BYTES_MAX] })
    }

    /// Sends what follows the EtherType or the UDP header. `false` when the link does not take it now.
    pub fn send(&mut self, frame: &[u8]) -> bool {
        match &self.socket {
            Open::Packet { socket, header, .. } => {
                self.buffer.clear();
                self.buffer.extend_from_slice(header);
                self.buffer.extend_from_slice(frame);
                let sent = send(socket.as_raw_fd(), &self.buffer, MsgFlags::MSG_DONTWAIT).is_ok();
                self.buffer.resize(FRAME_BYTES_MAX, 0);
                sent
            }
            Open::Udp { socket, peer } => socket.send_to(frame, peer).is_ok(),
        }
    }

    /// The next frame that is there, without its Ethernet header.
    pub fn receive(&mut self) -> Option<&[u8]> {
        match &self.socket {
            Open::Packet { socket, index, .. } => loop {
                let received = nix::sys::socket::recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut self.buffer).ok()?;
                // Between its birth and being bound the socket heard every interface.
                if received.1.is_some_and(|from| from.ifindex() == *index) && received.0 > ETHERNET_LEN {
                    return self.buffer.get(ETHERNET_LEN..received.0);
                }
            },
            Open::Udp { socket, peer } => loop {
                match socket.recv_from(&mut self.buffer) {
                    Ok((length, from)) if from == *peer => return self.buffer.get(..length),
                    Ok(_) => {}
                    // The echo of a datagram that found nobody: the peer is not up yet.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(_) => return None,
                }
            },
        }
    }

    /// Bytes of a frame beside what is handed to [`Link::send`], up to the Ethernet header.
    pub fn overhead(&self) -> usize {
        match &self.socket {
            Open::Packet { .. } => ETHERNET_LEN,
            // Ethernet, IPv4, UDP.
            Open::Udp { peer, .. } => ETHERNET_LEN + if peer.is_ipv4() { 20 } else { 40 } + 8,
        }
    }
}

fn grow(socket: SockRef<'_>) {
    // As much as this system allows; a smaller buffer only loses bursts, which are sent again.
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
}

fn open_packet(name: &str, mac: MacAddr) -> Result<Open, LinkError> {
    let no_interface = || LinkError::NoInterface(name.to_owned());
    let mut interfaces = getifaddrs().map_err(|_| no_interface())?;
    let found = interfaces.find_map(|interface| {
        let address = interface.address.filter(|_| interface.interface_name == name)?;
        address.as_link_addr().copied()
    });
    let address = found.ok_or_else(no_interface)?;
    let open = || -> io::Result<Socket> {
        let protocol = Protocol::from(i32::from(ETHERTYPE.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        // An address without a protocol leaves the socket its own.
        bind(socket.as_raw_fd(), &address)?;
        grow(SockRef::from(&socket));
        Ok(socket)
    };
    let socket = open().map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => LinkError::NotAllowed { interface: name.to_owned(), error },
        _ => LinkError::Interface { interface: name.to_owned(), error },
    })?;
    let mut header = [0; ETHERNET_LEN];
    header[..6].copy_from_slice(&mac.0);
    header[6..12].copy_from_slice(&address.addr().unwrap_or_default());
    header[12..].copy_from_slice(&ETHERTYPE.to_be_bytes());
    Ok(Open::Packet { socket, header, index: address.ifindex() })
}
