//! The two kinds of switch: emulated in this process over loopback, or BMv2 over pairs of interfaces.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use foreshadow::fabric::p4::server::{self, SharedTarget};
use foreshadow::fabric::p4::target::{Behaviour, Target, TargetSettings};
use foreshadow::fabric::wires::{Attachment, Wires};
use foreshadow::types::{NodeIndex, PortNo, Timestamp};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{OWNER, PATIENCE, PORTS, SHADOW, far};

const CPU_PORT: u32 = 510;

pub struct Switch {
    pub node: NodeIndex,
    pub address: SocketAddr,
    emulated: Option<(CancellationToken, JoinHandle<()>)>,
    process: Option<Child>,
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_micros()).unwrap())
}

impl Switch {
    /// Both switches, and the test's ends of their ports.
    pub async fn emulated() -> (Vec<Self>, Wires) {
        let (mut switches, mut ends) = (Vec::new(), Vec::new());
        for node in [OWNER, SHADOW] {
            let mut ports = Vec::new();
            for port in PORTS {
                let (near, end) = (free().await, free().await);
                ports.push((PortNo(port), Attachment::Udp { listen: near, peer: end }));
                ends.push((far(node, port), Attachment::Udp { listen: end, peer: near }));
            }
            let settings = TargetSettings {
                device: node.0.into(),
                behaviour: Behaviour::Bmv2,
                cpu_port: PortNo(CPU_PORT),
                ports: PORTS.map(PortNo).into(),
            };
            let wires = Wires::open(ports).await.unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (target, frames) = SharedTarget::new(Target::new(settings), now);
            let stop = CancellationToken::new();
            let running = server::run(target, frames, listener, wires, stop.clone());
            let task = tokio::spawn(async move { running.await.unwrap() });
            switches.push(Self { node, address, emulated: Some((stop, task)), process: None });
        }
        (switches, Wires::open(ends).await.unwrap())
    }

    /// The same on BMv2, in namespaces of the test's own.
    pub async fn bmv2() -> (Vec<Self>, Wires) {
        let (mut switches, mut ends) = (Vec::new(), Vec::new());
        for node in [OWNER, SHADOW] {
            let mut interfaces = Vec::new();
            for port in PORTS {
                let (near, end) = (format!("s{node}p{port}"), format!("t{node}p{port}"));
                let script = format!(
                    "ip link add {near} type veth peer name {end}\n\
                     for i in {near} {end}; do echo 1 > /proc/sys/net/ipv6/conf/$i/disable_ipv6\n\
                     ethtool -K $i tx off rx off >/dev/null; ip link set $i up; done"
                );
                assert!(Process::new("sh").args(["-e", "-c", &script]).status().unwrap().success());
                interfaces.extend(["-i".to_owned(), format!("{port}@{near}")]);
                ends.push((far(node, port), Attachment::Interface(end)));
            }
            let address = SocketAddr::from(([127, 0, 0, 1], 9_500 + node.0));
            let child = Process::new("simple_switch_grpc")
                .args(["--no-p4", "--device-id", &node.to_string()])
                .args(interfaces)
                .args(["--", "--grpc-server-addr", &address.to_string(), "--cpu-port", &CPU_PORT.to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            switches.push(Self { node, address, emulated: None, process: Some(child) });
            let since = Instant::now();
            while TcpStream::connect_timeout(&address, PATIENCE).is_err() {
                assert!(since.elapsed() < PATIENCE, "BMv2 does not listen on {address}");
                std::thread::yield_now();
            }
        }
        (switches, Wires::open(ends).await.unwrap())
    }

    /// Processor time of the switch's process so far, in ms; `None` for an emulated one.
    pub fn processor_ms(&self) -> Option<u64> {
        let pid = self.process.as_ref()?.id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // User and system time, in hundredths of a second.
        Some((fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?) * 10)
    }

    pub async fn stop(mut self) {
        if let Some((stop, task)) = self.emulated.take() {
            stop.cancel();
            timeout(PATIENCE, task).await.unwrap().unwrap();
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

async fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
