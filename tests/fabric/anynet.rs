//! A Mininet network of any shape, driven by `anynet.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::controller::{Controller, Rest, wait_for};
use super::{lab, run};

/// Programs that such a network needs.
pub const MININET: [&str; 6] = ["unshare", "ip", "mn", "ovs-vswitchd", "ethtool", "ping"];

/// For a command that goes over a whole network.
const PATIENCE: Duration = Duration::from_secs(120);

/// Debian's Open vSwitch keeps its state in fixed places: these are the test's own for as long as it runs.
pub fn own_openvswitch() {
    for directory in ["/run/openvswitch", "/etc/openvswitch", "/var/log/openvswitch"] {
        std::fs::create_dir_all(directory).expect("root may make it");
        run(Command::new("mount").args(["-t", "tmpfs", "foreshadow-test", directory]));
    }
}

/// A running Mininet and the controller that was told nothing about it.
#[derive(Debug)]
pub struct Anynet {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<Value>,
    pub controller: Controller,
    pub switches: usize,
    pub hosts: usize,
    pub links: usize,
}

impl Anynet {
    /// Starts a controller without a topology, then the network; `shape` is as `mn --topo` has it, and `ring,N` or
    /// `mesh,n=…,extra=…,seed=…` besides. Nothing is waited for but Mininet itself.
    pub fn start(shape: &str) -> Self {
        own_openvswitch();
        let controller = Controller::start_undeclared(None);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fabric/anynet.py");
        let log = std::fs::File::create(lab().join("mininet.log")).expect("the lab is ours");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .arg(shape)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("Debian's Python is there with its Mininet");
        let output = BufReader::new(child.stdout.take().expect("piped above"));
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap_or(Value::String(line))).is_err() {
                    return;
                }
            }
        });
        let commands = child.stdin.take();
        let mut net = Self { child, commands, answers, controller, switches: 0, hosts: 0, links: 0 };
        let started = net.ask("start", &[]);
        println!("{shape}: {started}");
        net.switches = number(&started["switches"]);
        net.hosts = number(&started["hosts"]);
        net.links = number(&started["links"]);
        net
    }

    /// Sends one command and waits for its answer.
    pub fn ask(&mut self, command: &str, words: &[Value]) -> Value {
        self.tell(command, words);
        self.answer(command)
    }

    pub fn tell(&mut self, command: &str, words: &[Value]) {
        let line = Value::Array([&[Value::from(command)], words].concat());
        let commands = self.commands.as_mut().expect("open until the end");
        writeln!(commands, "{line}").unwrap_or_else(|error| panic!("{command}: {error}"));
    }

    pub fn answer(&mut self, command: &str) -> Value {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(value) => value,
            Err(RecvTimeoutError::Timeout) => panic!("{command}: silent for {PATIENCE:?}\n{}", self.log()),
            Err(RecvTimeoutError::Disconnected) => panic!("{command}: the script ended\n{}", self.log()),
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(lab().join("mininet.log")).unwrap_or_default()
    }

    fn rest(&self) -> Rest {
        self.controller.rest
    }

    /// Waits until the controller sees every switch and link, and every switch confirmed its plan; how long that took.
    pub fn await_converged(&self) -> Duration {
        let started = Instant::now();
        wait_for("the controller sees the whole network", PATIENCE, || self.converged());
        started.elapsed()
    }

    /// Waits until the controller has seen every session end.
    pub fn await_alone(&self) {
        wait_for("every session ends", PATIENCE, || {
            let topology = self.rest().get("/api/v1/topology")?;
            let connected =
                topology["switches"].as_array().map_or(0, |all| all.iter().filter(|s| s["connected"] == true).count());
            if connected == 0 { Ok(()) } else { Err(format!("{connected} are connected")) }
        });
    }

    fn converged(&self) -> Result<(), String> {
        let topology = self.rest().get("/api/v1/topology")?;
        let list = |key: &str| topology[key].as_array().cloned().unwrap_or_default();
        let ready = |switch: &&Value| switch["connected"] == true && switch["plan"]["confirmed"] == true;
        let switches = list("switches").iter().filter(ready).count();
        let links = list("links").iter().filter(|link| link["state"] != "down").count();
        if (switches, links) == (self.switches, self.links) {
            Ok(())
        } else {
            Err(format!("{switches} of {} switches, {links} of {} links", self.switches, self.links))
        }
    }

    /// Waits until the number of entries in the switches stays the same; that number.
    pub fn await_quiet(&mut self) -> u64 {
        let mut last = None;
        for _ in 0..30 {
            let entries = self.ask("entries", &[]);
            let now = entries["flows"].as_u64().expect("a count") + entries["groups"].as_u64().expect("a count");
            if last == Some(now) && self.converged().is_ok() {
                return now;
            }
            last = Some(now);
            std::thread::sleep(Duration::from_secs(1)); // for a change that may still come
        }
        panic!("the number of entries never stays the same: {last:?}");
    }

    /// Sums of what was sent to the switches in their present sessions, by the names of REST.
    pub fn installs(&self, key: &str) -> u64 {
        let topology = self.rest().get("/api/v1/topology").expect("the controller answers");
        let switches = topology["switches"].as_array().expect("a list");
        switches.iter().map(|switch| switch["install_total"][key].as_u64().expect("a count")).sum()
    }
}

impl Drop for Anynet {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("what Mininet said:\n{}", self.log());
        }
    }
}

/// A count in an answer.
pub fn number(value: &Value) -> usize {
    value.as_u64().and_then(|value| usize::try_from(value).ok()).unwrap_or_else(|| panic!("{value} is no count"))
}
