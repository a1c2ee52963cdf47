//! Real Open vSwitch: one database server and one switch daemon in the namespace of each such node.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use super::network::{Fabric, OPENFLOW_PORT, port_name};
use super::run;
use super::spec::NodeSpec;

impl Fabric {
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

    /// Empties the tables of a third-stage switch, and forgets every pin of an outside one too.
    pub fn forget_choices(&self, node: &NodeSpec) {
        if node.stage == 3 {
            self.ofctl(&node.id, "del-flows", &[]);
            self.ofctl(&node.id, "del-groups", &[]);
        }
        self.appctl(&node.id, &["dpctl/flush-conntrack"]);
    }

    /// Forgets every pin of a fabric of Open vSwitch.
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

    pub(super) fn signal_openvswitch(&self, node: &str, signal: &str) {
        run(Command::new("kill").args([format!("-{signal}"), self.daemon(node, "ovs-vswitchd")]));
    }

    fn daemon(&self, node: &str, name: &str) -> String {
        let file = Self::directory(node).join(format!("{name}.pid"));
        fs::read_to_string(file).expect("the daemon writes it").trim().to_owned()
    }

    /// Starts the killed daemon of a switch anew: its ports are there, its tables are empty.
    pub(super) fn revive_openvswitch(&self, node: &str) {
        let script = "export OVS_RUNDIR=$PWD OVS_DBDIR=$PWD OVS_LOGDIR=$PWD OVS_SYSCONFDIR=$PWD\n\
             ovs-vswitchd unix:db.sock --detach --no-chdir --pidfile --log-file -vconsole:off -vsyslog:off";
        run(self.exec(node, &["sh", "-e", "-c", script]).current_dir(Self::directory(node)));
    }

    pub(super) fn power_off_openvswitch(&self, node: &str) {
        let daemons = [self.daemon(node, "ovs-vswitchd"), self.daemon(node, "ovsdb-server")];
        run(Command::new("sh").args(["-c", "kill -9 $1 $2; ip netns delete $0", node]).args(daemons));
    }
}

/// Starts one switch in the current namespace and directory.
pub fn switch_script(number: usize, node: &str, dpid: u64, ports: &[u32]) -> String {
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
