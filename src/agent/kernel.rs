//! Sockets to the kernel's connection tracking: events, dumps, requests.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
    sockopt,
};

use crate::wire::ctnetlink::{DecodeError, EVENT_GROUPS, Message, Messages, Request};
use crate::wire::replication::Connection;

/// A message of events is 200 bytes; one datagram of a dump at most 32 kB.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// Requests that go in one datagram. The kernel answers refusals at once, and its socket has room for as many.
pub const REQUESTS_MAX: usize = 64;

/// Why the kernel's connections cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("conntrack: CAP_NET_ADMIN is missing (the kernel answered: {0})")]
    NotAllowed(io::Error),
    #[error("conntrack: cannot open a netlink socket: {0}")]
    Open(io::Error),
    #[error("conntrack: expected an answer of the kernel: {0}")]
    Answer(io::Error),
}

/// What one read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Messages,
    /// Nothing is there now.
    Empty,
    /// The buffer was full, and messages were dropped.
    Overrun,
}

/// One netlink socket of netfilter.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Netlink {
    /// A socket that hears every event from now on; the kernel keeps up to `buffer_bytes` of them.
    pub fn events(buffer_bytes: usize) -> Result<Self, KernelError> {
        Self::open(EVENT_GROUPS, buffer_bytes)
    }

    /// A socket for dumps and requests.
    pub fn requests() -> Result<Self, KernelError> {
        Self::open(0, 1 << 20)
    }

    fn open(groups: u32, buffer_bytes: usize) -> Result<Self, KernelError> {
        let failed = |error: Errno| match error {
            Errno::EPERM | Errno::EACCES => KernelError::NotAllowed(error.into()),
            _ => KernelError::Open(error.into()),
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter).map_err(failed)?;
        if setsockopt(&socket, sockopt::RcvBufForce, &buffer_bytes).is_err() {
            let _ = setsockopt(&socket, sockopt::RcvBuf, &buffer_bytes);
        }
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(failed)?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM_BYTES_MAX], sequence: 0 })
    }

    /// Hands the messages of the next datagram to `each`.
    pub fn read(&mut self, mut each: impl FnMut(Result<Message, DecodeError>)) -> Read {
        match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => {
                Messages::new(&self.buffer[..length]).for_each(&mut each);
                Read::Messages
            }
            Err(Errno::ENOBUFS) => Read::Overrun,
            Err(_) => Read::Empty,
        }
    }

    /// Asks for all connections; [`Message::Done`] ends them.
    pub fn dump(&mut self) -> io::Result<()> {
        let mut message = Vec::new();
        self.sequence += 1;
        Request::Dump.encode(self.sequence, &mut message);
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty())?;
        Ok(())
    }

    /// Whether the kernel takes requests from this process.
    pub fn probe(&mut self) -> Result<(), KernelError> {
        // Of a connection that cannot be: it has no addresses.
        let nobody = crate::wire::replication::Flow::v4(17, ([0, 0, 0, 0].into(), 0), ([0, 0, 0, 0].into(), 0));
        let nobody = Connection::new(nobody);
        let refused = self.request(&[Request::Delete(&nobody)]).map_err(KernelError::Answer)?;
        match refused.first() {
            Some((_, errno)) if *errno == Errno::EPERM as i32 => {
                Err(KernelError::NotAllowed(io::Error::from_raw_os_error(*errno)))
            }
            _ => Ok(()),
        }
    }

    /// Sends at most [`REQUESTS_MAX`] requests, and tells which were refused, and with what `errno`.
    pub fn request(&mut self, requests: &[Request<'_>]) -> io::Result<Vec<(usize, i32)>> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(requests.len() * 256);
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            request.encode(self.sequence, &mut bytes);
        }
        send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        // The kernel works while it is sent to: what it refused is there already.
        let mut refused = Vec::new();
        let answered = |message| {
            if let Ok(Message::Answer { sequence, errno }) = message
                && errno != 0
            {
                refused.push((sequence.wrapping_sub(first) as usize, errno));
            }
        };
        let mut answered = answered;
        while self.read(&mut answered) == Read::Messages {}
        refused.retain(|(position, _)| *position < requests.len());
        Ok(refused)
    }

    /// Puts connections into the kernel; those that are there already are brought up to date. Tells how many were refused,
    /// and the last reason.
    pub fn create(&mut self, connections: &[Connection]) -> io::Result<(usize, Option<i32>)> {
        let creations: Vec<_> = connections.iter().map(Request::Create).collect();
        let (mut failed, mut why) = (0, None);
        let mut there = Vec::new();
        for (position, errno) in self.request(&creations)? {
            if errno == Errno::EEXIST as i32 {
                there.push(Request::Update(&connections[position]));
            } else {
                (failed, why) = (failed + 1, Some(errno));
            }
        }
        if !there.is_empty() {
            for (_, errno) in self.request(&there)? {
                // A state that is further than the one told stays.
                if errno != Errno::EBUSY as i32 {
                    (failed, why) = (failed + 1, Some(errno));
                }
            }
        }
        Ok((failed, why))
    }

    /// Takes connections from the kernel; those that are not there are no failure. Tells how many were.
    pub fn delete(&mut self, connections: &[Connection]) -> io::Result<usize> {
        let deletions: Vec<_> = connections.iter().map(Request::Delete).collect();
        Ok(connections.len() - self.request(&deletions)?.len())
    }
}
