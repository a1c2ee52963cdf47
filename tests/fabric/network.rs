//! Namespaces, links, switches and hosts of one fabric.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use super::openvswitch::switch_script;
use super::p4;
use super::spec::{HostSpec, NodeSpec, Spec};
use super::traffic::Traffic;
use super::{lab, run};

/// The port on which switches look for their controller, on their own management link.
pub const OPENFLOW_PORT: u16 = 6653;

/// Programs that a fabric of Open vSwitch and its load need.
pub const PROGRAMS: [&str; 8] =
    ["ip", "unshare", "mount", "ethtool", "ovs-vswitchd", "ovsdb-server", "ovs-ofctl", "python3"];

/// A running fabric. It needs no teardown of its own: it goes with the namespaces of `isolated`.
#[derive(Debug)]
pub struct Fabric {
    pub spec: Spec,
    /// Of P4Runtime switches; daemons of Open vSwitch are nobody's children.
    running: Mutex<BTreeMap<String, Child>>,
}

impl Fabric {
    /// Builds every switch, link and host of `spec`; the switches look for a controller from then on.
    pub fn start(spec: &Spec) -> Self {
        let started = Instant::now();
        let fabric = Self { spec: spec.clone(), running: Mutex::default() };
        fabric.make_network();
        fabric.start_switches();
        fabric.start_hosts();
        let (switches, hosts) = (fabric.spec.nodes().len(), fabric.spec.hosts().len());
        println!("fabric: {switches} switches and {hosts} hosts up in {:.1} s", started.elapsed().as_secs_f64());
        fabric
    }

    pub fn directory(node: &str) -> PathBuf {
        lab().join(node)
    }

    /// Namespaces, then every veth pair made directly between its two.
    fn make_network(&self) {
        let mut spaces = String::new();
        for name in self.spec.nodes().iter().map(|node| &node.id).chain(self.spec.hosts().iter().map(|host| &host.id)) {
            writeln!(spaces, "netns add {name}").expect("writing to a string");
        }
        ip_batch(&spaces);
        for entry in fs::read_dir("/run/netns").expect("just made").flatten() {
            let space = entry.file_name();
            // Neighbour discovery of a second protocol on every port would only be noise in the captures.
            run(Command::new("ip").args(["netns", "exec"]).arg(space).args(["sh", "-c",
                "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"]));
        }
        let mut links = String::new();
        let mut pair = |a: &str, a_port: &str, b: &str, b_port: &str| {
            writeln!(links, "link add {a_port} netns {a} type veth peer name {b_port} netns {b}")
                .expect("writing to a string");
        };
        for link in self.spec.links() {
            pair(&link.a.0, &port_name(link.a.1), &link.b.0, &port_name(link.b.1));
        }
        for host in self.spec.hosts() {
            pair(&host.attached.0, &port_name(host.attached.1), &host.id, "eth0");
        }
        ip_batch(&links);
        let mut management = String::new();
        for (number, node) in self.spec.nodes().iter().enumerate() {
            let n = number + 1;
            writeln!(management, "link add m{n} type veth peer name mgmt netns {}", node.id)
                .expect("writing to a string");
            writeln!(management, "addr add 10.254.{n}.1/30 dev m{n}\nlink set m{n} up").expect("writing to a string");
        }
        ip_batch(&management);
    }

    /// Ports of every node, as links and hosts name them.
    fn ports(&self) -> BTreeMap<String, Vec<u32>> {
        let mut ports: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for link in self.spec.links() {
            for (node, port) in [link.a, link.b] {
                ports.entry(node).or_default().push(port);
            }
        }
        for host in self.spec.hosts() {
            ports.entry(host.attached.0).or_default().push(host.attached.1);
        }
        ports
    }

    /// All at once, each in its namespace; returns when every switch is up.
    fn start_switches(&self) {
        let (nodes, ports) = (self.spec.nodes(), self.ports());
        let mut starting = Vec::new();
        for (number, node) in (1..).zip(&nodes) {
            let ports = ports.get(&node.id).map_or(&[][..], Vec::as_slice);
            if node.kind.speaks_p4() {
                let child = p4::start(self, number, node, ports);
                self.running.lock().unwrap().insert(node.id.clone(), child);
            } else {
                starting.push((node.id.clone(), self.start_openvswitch(number, node, ports)));
            }
        }
        for (node, mut child) in starting {
            let status = child.wait().expect("the child is ours");
            let log = fs::read_to_string(Self::directory(&node).join("start.log")).unwrap_or_default();
            assert!(status.success(), "switch {node} did not start ({status}): {log}");
        }
        self.await_servers(&nodes);
    }

    fn await_servers(&self, nodes: &[NodeSpec]) {
        let mut running = self.running.lock().unwrap();
        for node in nodes {
            if let Some(child) = running.get_mut(&node.id) {
                p4::await_server(node, child);
            }
        }
    }

    fn start_openvswitch(&self, number: usize, node: &NodeSpec, ports: &[u32]) -> Child {
        let directory = Self::directory(&node.id);
        fs::create_dir_all(&directory).expect("the lab is ours");
        let script = switch_script(number, &node.id, node.dpid, ports);
        let log = fs::File::create(directory.join("start.log")).expect("the lab is ours");
        self.exec(&node.id, &["sh", "-e", "-c", &script])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be cloned"))
            .stderr(log)
            .spawn()
            .expect("ip was found before")
    }

    /// Makes every switch forget how it chooses routers and what it has chosen, as if all connections so far were long
    /// gone. P4Runtime switches begin anew, without a program. No controller may run meanwhile.
    pub fn forget(&self) {
        let nodes = self.spec.nodes();
        for node in &nodes {
            if node.kind.speaks_p4() {
                self.begin_anew(node);
            } else if [0, 3].contains(&node.stage) {
                self.forget_choices(node);
            }
        }
        self.await_servers(&nodes);
    }

    /// A P4Runtime switch loses its power and has it again: it holds nothing.
    pub fn renew(&self, node: &str) {
        let node = self.spec.node(node);
        self.begin_anew(&node);
        self.await_servers(&[node]);
    }

    fn begin_anew(&self, node: &NodeSpec) {
        self.kill_p4(&node.id);
        let child = p4::spawn(self, node, &self.ports()[&node.id]);
        self.running.lock().unwrap().insert(node.id.clone(), child);
    }

    fn kill_p4(&self, node: &str) -> bool {
        let Some(mut child) = self.running.lock().unwrap().remove(node) else { return false };
        child.kill().expect("the child is ours");
        child.wait().expect("the child is ours");
        true
    }

    /// Ends a switch without a word to anybody; its links stay up.
    pub fn kill_switch(&self, node: &str) {
        if !self.kill_p4(node) {
            self.signal_openvswitch(node, "KILL");
        }
    }

    /// Starts a killed switch anew: its ports are there, it holds nothing.
    pub fn revive(&self, node: &str) {
        if self.spec.node(node).kind.speaks_p4() {
            self.renew(node);
        } else {
            self.revive_openvswitch(node);
        }
    }

    /// `STOP` makes a switch hang with all its links up, `CONT` ends that.
    pub fn signal_switch(&self, node: &str, signal: &str) {
        let p4 = self.running.lock().unwrap().get(node).map(Child::id);
        match p4 {
            Some(process) => drop(run(Command::new("kill").args([format!("-{signal}"), process.to_string()]))),
            None => self.signal_openvswitch(node, signal),
        }
    }

    /// Takes a switch's power: its processes are gone and its namespace with them, so all its links are down.
    pub fn power_off(&self, node: &str) {
        if self.kill_p4(node) {
            run(Command::new("ip").args(["netns", "delete", node]));
        } else {
            self.power_off_openvswitch(node);
        }
    }

    /// What each switch holds, whatever wrote it.
    pub fn holdings(&self) -> BTreeMap<String, p4::Holdings> {
        let held =
            |node: NodeSpec| (node.id.clone(), self.holdings_of(&node.id).unwrap_or_else(|error| panic!("{error}")));
        self.spec.nodes().into_iter().map(held).collect()
    }

    /// The same of one switch; a P4Runtime switch may have no program yet.
    pub fn holdings_of(&self, node: &str) -> Result<p4::Holdings, String> {
        let node = self.spec.node(node);
        if node.kind.speaks_p4() {
            return p4::holdings(&node);
        }
        Ok(p4::Holdings { entries: self.flows(&node.id), groups: self.groups(&node.id) })
    }

    fn start_hosts(&self) {
        let script = |host: &HostSpec| {
            let mac = host.mac.as_ref().map(|mac| format!("ip link set eth0 address {mac}\n")).unwrap_or_default();
            let HostSpec { address, gateway, .. } = host;
            // Without `tx off` the kernel leaves checksums to hardware that a user-space switch does not have.
            format!(
                "{mac}ip link set lo up\nip addr add {address} dev eth0\nip link set eth0 up\n\
                 ip route add default via {gateway} dev eth0 onlink\nethtool -K eth0 tx off >/dev/null\n\
                 echo '1024 65535' > /proc/sys/net/ipv4/ip_local_port_range\n\
                 echo 0 > /proc/sys/net/ipv4/tcp_syncookies\necho 8192 > /proc/sys/net/core/somaxconn\n"
            )
        };
        let children: Vec<Child> = self
            .spec
            .hosts()
            .iter()
            .map(|host| {
                Command::new("ip")
                    .args(["netns", "exec", &host.id, "sh", "-e", "-c", &script(host)])
                    .spawn()
                    .expect("ip was found before")
            })
            .collect();
        for mut child in children {
            assert!(child.wait().expect("the child is ours").success(), "a host could not be set up");
        }
    }

    /// Makes every host ask for its gateway's MAC address, and checks what it was told. Otherwise the first packets of
    /// a measurement would wait for ARP.
    pub fn resolve_gateways(&self, expected: &str) {
        for host in self.spec.hosts() {
            let answer = Traffic::ready(self, &host.id, &["resolve", "--to", &host.gateway]);
            assert_eq!(answer["mac"], expected, "{}: ARP for {}", host.id, host.gateway);
        }
    }

    /// Runs a program in the namespace of a host or switch.
    pub fn exec(&self, space: &str, command: &[&str]) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", space]).args(command);
        inside
    }

    /// For each outside switch, its ports and the router behind each.
    pub fn outside_ports(&self) -> Vec<(String, Vec<(u32, String)>)> {
        let routers = self.spec.routers();
        let ports = |outside: &String| {
            let behind = |router: &String| Some((self.spec.port_towards(outside, router)?, router.clone()));
            (outside.clone(), routers.iter().filter_map(behind).collect())
        };
        self.spec.stage(0).iter().map(ports).collect()
    }
}

impl Drop for Fabric {
    /// Leaves with the logs what P4Runtime switches held when a test failed; nothing else could read it later.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for node in self.spec.nodes().iter().filter(|node| node.kind.speaks_p4()) {
            let held = p4::holdings(node);
            let text = held.map_or_else(|error| error, |held| [held.entries, held.groups].concat().join("\n"));
            let _ = fs::write(Self::directory(&node.id).join("held.log"), text);
        }
    }
}

/// Name of the interface that is this port, inside the switch's namespace.
pub fn port_name(port: u32) -> String {
    format!("p{port}")
}

fn ip_batch(lines: &str) {
    let mut child =
        Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("ip was found before");
    child.stdin.take().expect("piped above").write_all(lines.as_bytes()).expect("ip reads its batch");
    assert!(child.wait().expect("the child is ours").success(), "ip refused a line of\n{lines}");
}
