//! Namespaces, links and Open vSwitch instances of one fabric.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::spec::{HostSpec, Spec};
use super::traffic::Traffic;
use super::{lab, run};

/// The port on which switches look for their controller, on their own management link.
pub const OPENFLOW_PORT: u16 = 6653;

/// Programs that a fabric and its load need.
pub const PROGRAMS: [&str; 8] =
    ["ip", "unshare", "mount", "ethtool", "ovs-vswitchd", "ovsdb-server", "ovs-ofctl", "python3"];

/// A running fabric. It needs no teardown of its own: it goes with the namespaces of `isolated`.
#[derive(Debug)]
pub struct Fabric {
    pub spec: Spec,
}

impl Fabric {
    /// Builds every switch, link and host of `spec`; the switches look for a controller from then on.
    pub fn start(spec: &Spec) -> Self {
        let started = Instant::now();
        let fabric = Self { spec: spec.clone() };
        fabric.make_network();
        fabric.start_switches();
        fabric.start_hosts();
        let (switches, hosts) = (fabric.spec.nodes().len(), fabric.spec.hosts().len());
        println!("fabric: {switches} switches and {hosts} hosts up in {:.1} s", started.elapsed().as_secs_f64());
        fabric
    }

    fn directory(node: &str) -> PathBuf {
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

    /// One database server and one switch daemon each, all started at once.
    fn start_switches(&self) {
        let nodes = self.spec.nodes();
        let mut ports: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let (links, hosts) = (self.spec.links(), self.spec.hosts());
        for (node, port) in
            links.iter().flat_map(|link| [&link.a, &link.b]).chain(hosts.iter().map(|host| &host.attached))
        {
            ports.entry(node).or_default().push(*port);
        }
        let children: Vec<(String, Child)> = nodes
            .iter()
            .enumerate()
            .map(|(number, node)| {
                let directory = Self::directory(&node.id);
                fs::create_dir_all(&directory).expect("the lab is ours");
                let script = switch_script(
                    number + 1,
                    &node.id,
                    node.dpid,
                    ports.get(node.id.as_str()).map_or(&[], Vec::as_slice),
                );
                let log = fs::File::create(directory.join("start.log")).expect("the lab is ours");
                let child = Command::new("ip")
                    .args(["netns", "exec", &node.id, "sh", "-e", "-c", &script])
                    .current_dir(&directory)
                    .stdin(Stdio::null())
                    .stdout(log.try_clone().expect("a file can be cloned"))
                    .stderr(log)
                    .spawn()
                    .expect("ip was found before");
                (node.id.clone(), child)
            })
            .collect();
        for (node, mut child) in children {
            let status = child.wait().expect("the child is ours");
            let log = fs::read_to_string(Self::directory(&node).join("start.log")).unwrap_or_default();
            assert!(status.success(), "switch {node} did not start ({status}): {log}");
        }
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

    /// `ovs-ofctl` against one switch, OpenFlow 1.3.
    pub fn ofctl(&self, node: &str, command: &str, arguments: &[&str]) -> String {
        let target = format!("unix:{}/br.mgmt", Self::directory(node).display());
        run(Command::new("ovs-ofctl").args(["-O", "OpenFlow13", command, &target]).args(arguments))
    }

    /// Adds flows given one a line.
    pub fn add_flows(&self, node: &str, flows: &str) {
        let file = Self::directory(node).join("flows.txt");
        fs::write(&file, flows).expect("the lab is ours");
        self.ofctl(node, "add-flows", &[&file.display().to_string()]);
    }

    /// Entries of one table that match, as the switch's aggregate statistics count them.
    pub fn aggregate(&self, node: &str, flow: &str) -> u64 {
        let answer = self.ofctl(node, "dump-aggregate", &[flow]);
        let count = answer.split("flow_count=").nth(1).and_then(|rest| rest.split_whitespace().next());
        count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no flow_count in {answer}"))
    }

    /// Sorted flow entries without their counters and ages: what a controller could have sent or a switch learned.
    pub fn flows(&self, node: &str) -> Vec<String> {
        let dump = self.ofctl(node, "dump-flows", &["--no-stats", "--no-names"]);
        let mut flows: Vec<String> =
            dump.lines().map(str::trim).filter(|line| line.contains("actions=")).map(str::to_owned).collect();
        flows.sort_unstable();
        flows
    }

    pub fn groups(&self, node: &str) -> Vec<String> {
        let dump = self.ofctl(node, "dump-groups", &[]);
        let mut groups: Vec<String> =
            dump.lines().map(str::trim).filter(|line| line.contains("group_id=")).map(str::to_owned).collect();
        groups.sort_unstable();
        groups
    }

    /// Forgets every pin, as if all connections so far were long gone.
    pub fn flush_pins(&self) {
        for node in self.spec.stage(3).iter().chain(&self.spec.stage(0)) {
            self.appctl(node, &["dpctl/flush-conntrack"]);
        }
    }

    /// `ovs-appctl` against one switch daemon.
    pub fn appctl(&self, node: &str, command: &[&str]) -> String {
        let directory = Self::directory(node);
        let pid = fs::read_to_string(directory.join("ovs-vswitchd.pid")).expect("the daemon writes it");
        let socket = directory.join(format!("ovs-vswitchd.{}.ctl", pid.trim()));
        run(Command::new("ovs-appctl").arg("-t").arg(socket).args(command))
    }

    /// `ovs-vsctl` against the database of one switch.
    pub fn vsctl(&self, node: &str, arguments: &[&str]) -> String {
        let socket = format!("--db=unix:{}/db.sock", Self::directory(node).display());
        run(Command::new("ovs-vsctl").arg(socket).args(arguments))
    }

    /// Ends a switch daemon as a power loss would: nothing is said to anybody.
    pub fn kill_switch(&self, node: &str) {
        let pid = fs::read_to_string(Self::directory(node).join("ovs-vswitchd.pid")).expect("the daemon writes it");
        run(Command::new("kill").args(["-9", pid.trim()]));
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

/// Starts one switch in the current namespace and directory.
fn switch_script(number: usize, node: &str, dpid: u64, ports: &[u32]) -> String {
    let mut script = format!(
        "export OVS_RUNDIR=$PWD OVS_DBDIR=$PWD OVS_LOGDIR=$PWD OVS_SYSCONFDIR=$PWD\n\
         ip link set lo up\nip addr add 10.254.{number}.2/30 dev mgmt\nip link set mgmt up\n\
         ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema\n\
         ovsdb-server conf.db --remote=punix:db.sock --detach --no-chdir --pidfile --log-file -vconsole:off -vsyslog:off\n\
         ovs-vsctl --db=unix:db.sock --no-wait init -- set Open_vSwitch . other_config:n-revalidator-threads=1\n\
         ovs-vswitchd unix:db.sock --detach --no-chdir --pidfile --log-file -vconsole:off -vsyslog:off\n"
    );
    for port in ports {
        writeln!(script, "ip link set {} up", port_name(*port)).expect("writing to a string");
    }
    // The one bridge of an instance is always called `br`; the node's own name shows as its description.
    write!(
        script,
        "ovs-vsctl --db=unix:db.sock add-br br -- set bridge br datapath_type=netdev fail_mode=secure \
         protocols=OpenFlow13 other-config:datapath-id={dpid:016x} other-config:dp-desc={node} \
         -- set-controller br tcp:10.254.{number}.1:{OPENFLOW_PORT} \
         -- set controller br max_backoff=1000 connection_mode=out-of-band"
    )
    .expect("writing to a string");
    for port in ports {
        let name = port_name(*port);
        write!(script, " -- add-port br {name} -- set interface {name} ofport_request={port}")
            .expect("writing to a string");
    }
    script.push('\n');
    script
}
