//! The load: short TCP connections at a rate, and long ones that stay; and what arrives for it at a peer's interface.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Args, Subcommand};
use nix::sys::socket::{LinkAddr, bind};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::lab::ADDRESSES;
use crate::cli::parse_duration;

/// Each is one thread of the client, with two ports of the server to itself.
const THREADS: u16 = 8;
const PORT_FIRST: u16 = 8000;
pub(super) const PORTS: u16 = THREADS * 2;
const PORT_LONG: u16 = 7999;
const MESSAGE: [u8; 16] = *b"sixteen bytes...";

/// One part of the benchmark, in its namespace.
#[derive(Debug, Args)]
pub(in crate::cli::bench) struct PartArgs {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Answers connections
    Serve { address: Ipv4Addr },
    /// Opens connections, and says so as JSON when they are open
    Connect {
        address: Ipv4Addr,
        #[arg(long)]
        rate: u32,
        #[arg(long = "for", value_parser = parse_duration)]
        time: Duration,
        #[arg(long)]
        long: usize,
        #[arg(long)]
        log: PathBuf,
    },
    /// Writes down which connections conntrackd tells, as its datagrams arrive
    Listen {
        interface: String,
        #[arg(long)]
        log: PathBuf,
    },
}

/// What the client did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Opened {
    pub(super) short: u64,
    pub(super) long: u64,
    pub(super) failed: u64,
    pub(super) seconds: f64,
}

/// A connection by the ports of its ends, and a moment in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) client_port: u16,
    pub(crate) server_port: u16,
    pub(crate) at_us: u64,
}

impl Seen {
    pub(crate) fn now(client_port: u16, server_port: u16) -> Self {
        Self { client_port, server_port, at_us: now_us() }
    }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

/// Twelve bytes each.
pub(crate) fn write_log(path: &Path, seen: &[Seen]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(seen.len() * 12);
    for one in seen {
        bytes.extend_from_slice(&one.client_port.to_be_bytes());
        bytes.extend_from_slice(&one.server_port.to_be_bytes());
        bytes.extend_from_slice(&one.at_us.to_be_bytes());
    }
    std::fs::write(path, bytes)
}

pub(super) fn read_log(path: &Path) -> anyhow::Result<Vec<Seen>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let port = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
    let one = |bytes: &[u8]| Seen {
        client_port: port(bytes),
        server_port: port(&bytes[2..]),
        at_us: bytes[4..12].iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
    };
    Ok(bytes.chunks_exact(12).map(one).collect())
}

pub(in crate::cli::bench) fn run(args: &PartArgs) -> anyhow::Result<()> {
    match &args.part {
        Part::Serve { address } => serve(*address),
        Part::Connect { address, rate, time, long, log } => connect(*address, *rate, *time, *long, log),
        Part::Listen { interface, log } => listen(interface, log),
    }
}

fn serve(address: Ipv4Addr) -> anyhow::Result<()> {
    let long = TcpListener::bind((address, PORT_LONG))?;
    let mut threads = Vec::new();
    for port in PORT_FIRST..PORT_FIRST + PORTS {
        let listener = TcpListener::bind((address, port))?;
        threads.push(std::thread::spawn(move || answer(&listener)));
    }
    writeln!(io::stdout(), "ready")?;
    let mut held = Vec::new();
    while let Ok((stream, _)) = long.accept() {
        held.push(stream);
    }
    Ok(())
}

fn answer(listener: &TcpListener) {
    let mut message = [0; MESSAGE.len()];
    while let Ok((mut stream, _)) = listener.accept() {
        // A client that breaks off is the client's to count.
        if stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {
            let _ = stream.read(&mut message);
        }
    }
}

fn connect(address: Ipv4Addr, rate: u32, time: Duration, long: usize, log: &Path) -> anyhow::Result<()> {
    let mut held = Vec::new();
    for _ in 0..long {
        let stream = TcpStream::connect((address, PORT_LONG)).context("a long connection")?;
        // The server keeps its end: a reset is what ends it for the router.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        held.push(stream);
    }
    let began = Instant::now();
    let threads: Vec<_> =
        (0..THREADS).map(|thread| std::thread::spawn(move || open_many(address, thread, rate, began, time))).collect();
    let (mut seen, mut opened) = (Vec::new(), Opened { long: held.len() as u64, ..Opened::default() });
    for thread in threads {
        let (mine, failed) = thread.join().map_err(|_| anyhow::anyhow!("a thread of the load failed"))?;
        opened.short += mine.len() as u64;
        opened.failed += failed;
        seen.extend(mine);
    }
    opened.seconds = began.elapsed().as_secs_f64();
    write_log(log, &seen)?;
    writeln!(io::stdout(), "{}", serde_json::to_string(&opened)?)?;
    // Long ones stay until whoever started this has seen enough.
    let _ = io::stdin().read(&mut [0; 1]);
    drop(held);
    Ok(())
}

/// Connections of one thread: those that were opened, each with the moment before it was, and how many failed.
fn open_many(address: Ipv4Addr, thread: u16, rate: u32, began: Instant, time: Duration) -> (Vec<Seen>, u64) {
    let interval = Duration::from_secs_f64(f64::from(THREADS) / f64::from(rate.max(1)));
    let (mut seen, mut failed, mut turn) = (Vec::new(), 0, 0_u32);
    while began.elapsed() < time {
        if rate > 0 {
            let due = interval * turn + interval / u32::from(THREADS) * u32::from(thread);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        let port = PORT_FIRST + thread * 2 + (turn % 2) as u16;
        turn += 1;
        let at_us = now_us();
        // Each thread goes through all of them, from a place of its own.
        let client = 2 + ((turn + u32::from(thread) * 25) % u32::from(ADDRESSES)) as u8;
        match open_one(Ipv4Addr::new(10, 9, 1, client), SocketAddrV4::new(address, port)) {
            Ok(client_port) => seen.push(Seen { client_port, server_port: port, at_us }),
            Err(_) => failed += 1,
        }
    }
    (seen, failed)
}

fn open_one(from: Ipv4Addr, to: SocketAddrV4) -> io::Result<u16> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddrV4::new(from, 0).into())?;
    socket.connect(&to.into())?;
    let mut stream = TcpStream::from(socket);
    let port = stream.local_addr()?.port();
    stream.write_all(&MESSAGE)?;
    stream.read_exact(&mut MESSAGE.clone())?;
    Ok(port)
}

/// Until standard input ends.
fn listen(interface: &str, log: &Path) -> anyhow::Result<()> {
    const IPV4: u16 = 0x0800;
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(IPV4.to_be()))))?;
    let mut interfaces = nix::ifaddrs::getifaddrs()?;
    let address: LinkAddr = interfaces
        .find_map(|one| one.address.filter(|_| one.interface_name == interface)?.as_link_addr().copied())
        .with_context(|| format!("the interface {interface} is not there"))?;
    bind(socket.as_raw_fd(), &address)?;
    socket.set_recv_buffer_size(64 << 20)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let ended = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&ended);
    std::thread::spawn(move || {
        let _ = io::stdin().read(&mut [0; 1]);
        ends.store(true, Ordering::Relaxed);
    });
    writeln!(io::stdout(), "ready")?;
    let (mut seen, mut frame) = (Vec::new(), vec![0; 65_536]);
    while !ended.load(Ordering::Relaxed) {
        if let Ok(length) = (&socket).read(&mut frame) {
            let at_us = now_us();
            seen.extend(ports_in(&frame[..length]).map(|(client_port, server_port)| Seen {
                client_port,
                server_port,
                at_us,
            }));
        }
    }
    Ok(write_log(log, &seen)?)
}

/// Ports in a datagram of conntrackd: its attribute of a tuple's ports is 8 bytes long, and 4-byte aligned.
fn ports_in(frame: &[u8]) -> impl Iterator<Item = (u16, u16)> + '_ {
    let ports = PORT_FIRST..PORT_FIRST + PORTS;
    frame.windows(8).filter_map(move |window| {
        let number = |at: usize| u16::from_be_bytes([window[at], window[at + 1]]);
        (number(0) == 8 && number(2) < 64 && ports.contains(&number(6))).then(|| (number(4), number(6)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_read_as_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let seen = [Seen { client_port: 1, server_port: 2, at_us: 3 << 40 }, Seen::now(4, 5)];
        let path = folder.path().join("log");
        write_log(&path, &seen).expect("written");
        assert_eq!(read_log(&path).expect("read"), seen);
    }

    #[test]
    fn ports_are_found() {
        let frame = [9, 9, 0, 8, 0, 7, 0x9c, 0x40, 0x1f, 0x41, 0, 0];
        assert_eq!(ports_in(&frame).collect::<Vec<_>>(), [(40_000, 8001)]);
    }
}
