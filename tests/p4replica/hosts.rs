//! A client and a server with stacks of their own; the test is the third stage and the outside between them and the routers.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use foreshadow::fabric::wires::{Arrival, Attachment, Wires};
use foreshadow::types::{MacAddr, NodeIndex, PortNo};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{INSIDE, Lab, OUTSIDE, OWNER, far};

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x10];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x20];
const CLIENT: PortNo = PortNo(1);
const SERVER: PortNo = PortNo(2);

/// `tcp.py` in a namespace.
pub struct Talker {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Talker {
    pub fn start(space: &str, arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/p4replica/tcp.py");
        let mut child = Process::new("ip")
            .args(["netns", "exec", space, "python3", &script.display().to_string()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut talker = Self { child, commands, answers };
        assert_eq!(talker.answer()["event"], "ready");
        talker
    }

    pub fn ask(&mut self, command: &str) -> Value {
        writeln!(self.commands, "{command}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs what waits for another process apart from the test's own tasks.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Two namespaces, `client` and `server`, each with an interface whose far end is the test's.
fn namespaces() {
    let space = |name: &str, mac: [u8; 6], address: &str, gateway: &str| {
        let mac = MacAddr(mac);
        format!(
            "ip netns add {name}; ip link add t{name} type veth peer name e0 netns {name}\n\
             echo 1 > /proc/sys/net/ipv6/conf/t{name}/disable_ipv6; ip link set t{name} up\n\
             ip -n {name} link set e0 address {mac} up; ip -n {name} addr add {address}/24 dev e0\n\
             ip -n {name} neigh add {gateway} lladdr 02:46:53:00:00:01 dev e0; ip -n {name} route add default via {gateway}\n\
             ip netns exec {name} ethtool -K e0 tx off >/dev/null; ethtool -K t{name} gro off >/dev/null\n"
        )
    };
    let script = space("client", CLIENT_MAC, "10.1.0.10", "10.1.0.1")
        + &space("server", SERVER_MAC, "198.51.100.10", "198.51.100.1");
    assert!(Process::new("sh").args(["-e", "-c", &script]).status().unwrap().success());
}

impl Lab {
    /// Joins both hosts with the router that is told: what the indirection says on the switches around routers.
    pub async fn join_hosts(&mut self) -> Arc<AtomicU16> {
        namespaces();
        let ends = [(CLIENT, "tclient"), (SERVER, "tserver")];
        let hosts = Wires::open(ends.map(|(port, name)| (port, Attachment::Interface(name.to_owned())))).await.unwrap();
        let now = Arc::new(AtomicU16::new(OWNER.0));
        let (sender, mut sent) = mpsc::unbounded_channel();
        let arrived = move |batch: Vec<Arrival>| {
            for arrival in batch {
                if let Arrival::Frame { port, bytes } = arrival {
                    let _ = sender.send((port, bytes));
                }
            }
        };
        hosts.receive(arrived, &mut self.tasks, &self.stop);
        let (routers, to) = (self.wires.clone(), Arc::clone(&now));
        self.tasks.spawn(async move {
            while let Some((port, mut frame)) = sent.recv().await {
                let to = NodeIndex(to.load(Ordering::Relaxed));
                frame[..6].copy_from_slice(&MacAddr::of_node(to).0);
                // Whoever stands in is told for whom.
                let source = if to == OWNER { NodeIndex(5) } else { OWNER };
                frame[6..12].copy_from_slice(&MacAddr::of_node(source).0);
                let side = if port == CLIENT { INSIDE } else { OUTSIDE };
                routers.send(far(to, side), &frame).await;
            }
        });
        let mut arrivals = std::mem::replace(&mut self.arrivals, mpsc::unbounded_channel().1);
        self.tasks.spawn(async move {
            while let Some((port, mut frame)) = arrivals.recv().await {
                let inside = port.0 % 100 == INSIDE;
                let (port, mac) = if inside { (CLIENT, CLIENT_MAC) } else { (SERVER, SERVER_MAC) };
                frame[..6].copy_from_slice(&mac);
                hosts.send(port, &frame).await;
            }
        });
        now
    }
}
