//! Real TCP and UDP from the hosts' own stacks, and what passes at the outside ports.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use super::network::{Fabric, port_name};

/// `traffic.py` in one namespace: commands go in as lines, JSON objects come out as lines.
#[derive(Debug)]
pub struct Traffic {
    what: String,
    child: Child,
    commands: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Traffic {
    /// Starts it and waits until it says it is ready.
    pub fn start(fabric: &Fabric, space: &str, arguments: &[&str]) -> Self {
        Self::spawn(fabric, space, arguments).0
    }

    /// Runs a mode that only says one thing.
    pub fn ready(fabric: &Fabric, space: &str, arguments: &[&str]) -> Value {
        Self::spawn(fabric, space, arguments).1
    }

    fn spawn(fabric: &Fabric, space: &str, arguments: &[&str]) -> (Self, Value) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fabric/traffic.py");
        let mut child = fabric
            .exec(space, &["python3", &script.display().to_string()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip was found before");
        let output = BufReader::new(child.stdout.take().expect("piped above"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let mut traffic =
            Self { what: format!("{space}: {}", arguments.join(" ")), commands: child.stdin.take(), child, lines };
        let ready = traffic.line(Duration::from_secs(20));
        assert_eq!(ready["event"], "ready", "{}: {ready}", traffic.what);
        (traffic, ready)
    }

    /// The next line, or a failure after `patience`.
    pub fn line(&mut self, patience: Duration) -> Value {
        match self.lines.recv_timeout(patience) {
            Ok(value) => value,
            Err(RecvTimeoutError::Timeout) => panic!("{}: silent for {patience:?}", self.what),
            Err(RecvTimeoutError::Disconnected) => panic!("{}: ended ({:?})", self.what, self.child.wait()),
        }
    }

    /// Lines up to the first whose `event` is `kind`, which is the last of them.
    pub fn until(&mut self, kind: &str, patience: Duration) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            let value = self.line(patience);
            let last = value["event"] == kind;
            seen.push(value);
            if last {
                return seen;
            }
        }
    }

    /// Sends one command and waits for its answer, an object whose `event` is the command's first word.
    pub fn ask(&mut self, command: &str, patience: Duration) -> Value {
        self.tell(command);
        let kind = command.split(' ').next().expect("split gives a first part");
        self.until(kind, patience).pop().expect("until() gives at least one line")
    }

    pub fn tell(&mut self, command: &str) {
        let commands = self.commands.as_mut().expect("open until finish()");
        writeln!(commands, "{command}").unwrap_or_else(|error| panic!("{}: {error}", self.what));
    }

    /// Lines that came by now.
    pub fn lines_so_far(&mut self) -> Vec<Value> {
        self.lines.try_iter().collect()
    }

    /// Asks it to end and waits for its last word.
    pub fn finish(mut self, patience: Duration) -> Value {
        drop(self.commands.take());
        let last = self.until("done", patience).pop().expect("until() gives at least one line");
        let _ = self.child.wait();
        last
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Captures at every port where the outside meets a first-stage router.
#[derive(Debug)]
pub struct Watch {
    /// With the router behind each interface name.
    switches: Vec<(BTreeMap<String, String>, Traffic)>,
}

/// What the captures of one service port show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Distinct connections (5-tuples) that came out of each router.
    pub by_router: BTreeMap<String, u64>,
    /// Connections seen at more than one router: `5-tuple: router, router`.
    pub moved: Vec<String>,
    /// TCP segments with RST set, either direction.
    pub resets: u64,
    /// Frames the capture itself lost; figures with losses prove nothing.
    pub lost: u64,
}

impl Seen {
    pub fn total(&self) -> u64 {
        self.by_router.values().sum()
    }

    /// Percent of all connections.
    pub fn percent(&self, router: &str) -> f64 {
        100.0 * self.by_router.get(router).copied().unwrap_or(0) as f64 / self.total().max(1) as f64
    }
}

impl Watch {
    pub fn start(fabric: &Fabric) -> Self {
        let watch = |(outside, ports): (String, Vec<(u32, String)>)| {
            let routers: BTreeMap<String, String> =
                ports.into_iter().map(|(port, router)| (port_name(port), router)).collect();
            let names: Vec<&str> = routers.keys().map(String::as_str).collect();
            let traffic = Traffic::start(fabric, &outside, &["watch", "--interfaces", &names.join(",")]);
            (routers, traffic)
        };
        Self { switches: fabric.outside_ports().into_iter().map(watch).collect() }
    }

    /// Everything seen so far of connections to this server port.
    pub fn seen(&mut self, server_port: u16) -> Seen {
        let mut seen = Seen::default();
        let mut routers_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (routers, traffic) in &mut self.switches {
            let answer = traffic.ask(&format!("flows {server_port}"), Duration::from_secs(30));
            seen.resets += answer["resets"].as_u64().expect("a count");
            seen.lost += answer["lost"].as_u64().expect("a count");
            for (interface, flows) in answer["interfaces"].as_object().expect("by interface") {
                for flow in flows.as_array().expect("a list of 5-tuples") {
                    let flow = flow.as_str().expect("a 5-tuple as text").to_owned();
                    let at = routers_of.entry(flow).or_default();
                    if !at.contains(&routers[interface]) {
                        at.push(routers[interface].clone());
                    }
                }
            }
        }
        for (flow, routers) in routers_of {
            if routers.len() > 1 {
                seen.moved.push(format!("{flow}: {}", routers.join(", ")));
            }
            *seen.by_router.entry(routers[0].clone()).or_default() += 1;
        }
        seen
    }
}
