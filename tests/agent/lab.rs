//! Client, server and two routers between them, each a namespace; the routers translate sources and drop what they do not know.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fabric::{lab, output, run, wait_for};

pub const PROGRAMS: &[&str] = &["unshare", "ip", "nft", "sysctl", "python3"];
const SERVER: &str = "10.9.2.1";
/// Agents tell by then.
const PATIENCE: Duration = Duration::from_secs(20);

const RULES: &str = "table ip f {
  chain f {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    tcp flags & (syn|ack) == syn ct state new accept
  }
}
table ip n {
  chain p {
    type nat hook postrouting priority 100;
    oifname sv ip saddr 10.9.1.0/24 snat to 10.9.3.1
  }
}
";

fn shell(script: &str) {
    run(Command::new("sh").args(["-e", "-c", script]));
}

pub struct Lab;

impl Lab {
    /// Traffic goes by router 1.
    pub fn new() -> Self {
        for (name, address) in [("c", "10.9.1.1"), ("s", SERVER)] {
            shell(&format!(
                "ip netns add {name}; ip -n {name} link set lo up; ip -n {name} addr add {address}/32 dev lo
                 ip netns exec {name} sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0"
            ));
        }
        let mut lab = Self;
        lab.build(1);
        lab.build(2);
        lab.lead_through(1);
        lab
    }

    /// A router with an empty kernel, and its links.
    pub fn build(&mut self, router: u8) {
        let r = router;
        std::fs::write(lab().join("rules"), RULES).unwrap();
        shell(&format!(
            "ip netns add r{r}; ip -n r{r} link set lo up
             ip link add c{r} netns c type veth peer name cl netns r{r}
             ip link add s{r} netns s type veth peer name sv netns r{r}
             if [ -e /run/netns/r1 ] && [ -e /run/netns/r2 ]; then
               ip link add mir0 netns r1 type veth peer name mir0 netns r2
               ip -n r1 link set mir0 up; ip -n r2 link set mir0 up
             fi
             ip -n r{r} addr add 10.{r}.1.1/24 dev cl; ip -n r{r} addr add 10.{r}.2.1/24 dev sv
             ip -n c addr add 10.{r}.1.2/24 dev c{r}; ip -n s addr add 10.{r}.2.2/24 dev s{r}
             ip -n c link set c{r} up; ip -n s link set s{r} up; ip -n r{r} link set cl up; ip -n r{r} link set sv up
             ip -n r{r} addr add 10.9.3.1/32 dev lo
             ip -n r{r} route add 10.9.1.0/24 via 10.{r}.1.2; ip -n r{r} route add 10.9.2.0/24 via 10.{r}.2.2
             ip netns exec r{r} sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 \
               net.ipv4.conf.default.rp_filter=0
             ip netns exec r{r} nft -f {rules}
             ip netns exec r{r} sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0",
            rules = lab().join("rules").display()
        ));
    }

    /// Power loss: its links are gone, then its namespace with its kernel's table. The other way round the dying namespace
    /// forwards for a moment without translation, and answers for the address that it translated to.
    pub fn lose(&mut self, router: u8) {
        let r = router;
        shell(&format!("ip -n c link del c{r}; ip -n s link del s{r}; ip netns del r{r}"));
        // Links go a moment after their namespace.
        let there = || {
            let links = run(Command::new("ip").args(["-n", "c", "-br", "link"]));
            links.contains(&format!("c{router}@"))
        };
        wait_for("the links to go", PATIENCE, || if there() { Err(format!("c{router} is there")) } else { Ok(()) });
    }

    pub fn lead_through(&mut self, router: u8) {
        let r = router;
        shell(&format!(
            "ip -n c route replace {SERVER}/32 via 10.{r}.1.1 src 10.9.1.1
             ip -n s route replace 10.9.3.1/32 via 10.{r}.2.1"
        ));
    }
}

/// `tcp.py` in a namespace.
pub struct Talker {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    _server: Option<Box<Talker>>,
}

impl Talker {
    /// A server, and connections to it: bulk, idle, asking.
    pub fn hold(kinds: [usize; 3]) -> Self {
        let server = Self::start("s", &["serve".to_owned(), SERVER.to_owned()]);
        let mut arguments = vec!["hold".to_owned(), SERVER.to_owned()];
        arguments.extend(kinds.map(|count| count.to_string()));
        let mut client = Self::start("c", &arguments);
        client._server = Some(Box::new(server));
        client
    }

    fn start(space: &str, arguments: &[String]) -> Self {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/agent/tcp.py");
        let mut child = Command::new("ip")
            .args(["netns", "exec", space, "python3", &script.display().to_string()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut talker = Self { child, commands, answers, _server: None };
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

/// The released binary as the agent of a router.
pub struct Agent {
    child: Child,
    router: u8,
}

impl Agent {
    pub fn start(router: u8) -> Self {
        Self::start_with(router, "")
    }

    pub fn start_with(router: u8, more: &str) -> Self {
        let peer = 3 - router;
        let config = format!(
            "router: {router}\nkey: 000102030405060708090a0b0c0d0e0f\ncontrol: agent{router}.sock\n{more}\
             peers: [{{router: {peer}, interface: mir0}}]\n"
        );
        let file = lab().join(format!("agent{router}.yaml"));
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(lab().join(format!("agent{router}.log"))).unwrap();
        let child = Self::command(router).stderr(log).spawn().unwrap();
        let agent = Self { child, router };
        let socket = lab().join(format!("agent{router}.sock"));
        wait_for("the agent to answer", PATIENCE, || {
            UnixStream::connect(&socket).map(drop).map_err(|error| error.to_string())
        });
        agent
    }

    fn command(router: u8) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("r{router}"), env!("CARGO_BIN_EXE_foreshadow"), "agent", "--config"]);
        command.arg(lab().join(format!("agent{router}.yaml")));
        command
    }

    pub fn ask(&self, words: &[&str]) -> Value {
        let answer = output(Self::command(self.router).args(words));
        let text = String::from_utf8_lossy(&answer.stdout);
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{words:?}: {error}: {text}{}", String::from_utf8_lossy(&answer.stderr)))
    }

    pub fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        loop {
            let report = self.ask(&["status"])["report"].clone();
            if is_so(&report) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "router {}: expected that it {what}, came {report}", self.router);
        }
    }

    pub fn signal(&self, name: &str) {
        run(Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
