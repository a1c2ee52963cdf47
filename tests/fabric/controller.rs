//! The released program as a user would start it, and its REST interface.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lab;
use super::network::OPENFLOW_PORT;
use super::spec::Spec;

/// `foreshadow run`; killed when dropped.
#[derive(Debug)]
pub struct Controller {
    child: Child,
    config: PathBuf,
    log: PathBuf,
    record: Option<PathBuf>,
    pub rest: Rest,
}

impl Controller {
    /// Writes topology and configuration into the lab and starts the controller on them. `cycle` is the `loop`
    /// section of the configuration.
    pub fn start(spec: &Spec, cycle: Value) -> Self {
        Self::start_recorded(spec, cycle, None)
    }

    /// The same; every input goes to the file `record`.
    pub fn start_recorded(spec: &Spec, cycle: Value, record: Option<PathBuf>) -> Self {
        spec.write(&lab().join("topology.yaml"));
        Self::start_with(json!({"topology": "topology.yaml", "loop": cycle}), record)
    }

    /// One of several controllers of P4Runtime switches; the switches tell them apart by `election_id`.
    pub fn start_elected(spec: &Spec, cycle: Value, election_id: u16) -> Self {
        let topology = format!("topology-{election_id}.yaml");
        spec.write(&lab().join(&topology));
        let settings = json!({
            "topology": topology,
            "loop": cycle,
            "p4runtime": {"election_id": election_id},
            "openflow_listen": "127.0.0.1:0",
        });
        Self::launch(&format!("controller-{election_id}"), settings, 8080 + election_id, None)
    }

    /// Starts it without a topology file: whatever connects is bridged.
    pub fn start_undeclared(record: Option<PathBuf>) -> Self {
        Self::start_with(json!({}), record)
    }

    fn start_with(mut settings: Value, record: Option<PathBuf>) -> Self {
        // Every address of these namespaces is the test's own.
        settings["openflow_listen"] = json!(format!("0.0.0.0:{OPENFLOW_PORT}"));
        Self::launch("foreshadow", settings, 8080, record)
    }

    fn launch(name: &str, mut settings: Value, http_port: u16, record: Option<PathBuf>) -> Self {
        let rest = Rest { address: SocketAddr::from(([127, 0, 0, 1], http_port)) };
        settings["http_listen"] = json!(rest.address);
        let config = lab().join(format!("{name}.yaml"));
        fs::write(&config, settings.to_string()).expect("the lab is ours");
        let log = lab().join(format!("{name}.log"));
        let child = Self::spawn(&config, &log, record.as_ref());
        Self { child, config, log, record, rest }
    }

    fn spawn(config: &PathBuf, log: &PathBuf, record: Option<&PathBuf>) -> Child {
        let log = File::options().create(true).append(true).open(log).expect("the lab is ours");
        Command::new(env!("CARGO_BIN_EXE_foreshadow"))
            .args(["run", "--config"])
            .arg(config)
            .args(record.iter().flat_map(|file| [OsStr::new("--record"), file.as_os_str()]))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be cloned"))
            .stderr(log)
            .spawn()
            .expect("cargo built the program")
    }

    /// Ends it without a word to anybody, as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
    }

    pub fn restart(&mut self) {
        self.child = Self::spawn(&self.config, &self.log, self.record.as_ref());
    }

    /// Ends it in order, as a service manager does.
    pub fn stop(&mut self) {
        super::run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        let status = self.child.wait().expect("the child is ours");
        assert!(status.success(), "the controller ended with {status}");
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("last lines of the controller's log:");
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// A plain client of the controller's REST interface.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    address: SocketAddr,
}

impl Rest {
    fn open(&self, path: &str, accept: &str) -> std::io::Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        // 1.0 asks for a body that simply ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\nAccept: {accept}\r\n\r\n", self.address)?;
        Ok(BufReader::new(stream))
    }

    /// Body of a successful answer.
    pub fn text(&self, path: &str) -> Result<String, String> {
        let mut answer = String::new();
        self.open(path, "*/*")
            .and_then(|mut stream| stream.read_to_string(&mut answer))
            .map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no header in {answer:?}"))?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status == "200" { Ok(body.to_owned()) } else { Err(format!("{path}: {head}\n{body}")) }
    }

    pub fn get(&self, path: &str) -> Result<Value, String> {
        let body = self.text(path)?;
        serde_json::from_str(&body).map_err(|error| format!("{path}: {error} in {body:?}"))
    }

    /// Reads `/api/v1/events` until `wanted` likes an event's data, or `patience` is over.
    pub fn await_event(&self, patience: Duration, mut wanted: impl FnMut(&Value) -> bool) -> Result<Value, String> {
        let deadline = Instant::now() + patience;
        let mut stream = self.open("/api/v1/events", "text/event-stream").map_err(|error| error.to_string())?;
        let mut line = String::new();
        while Instant::now() < deadline {
            line.clear();
            match stream.read_line(&mut line) {
                Ok(0) => return Err("the event stream ended".to_owned()),
                Ok(_) => {
                    let data =
                        line.strip_prefix("data:").and_then(|data| serde_json::from_str::<Value>(data.trim()).ok());
                    if let Some(event) = data.filter(|event| wanted(event)) {
                        return Ok(event);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(format!("no such event in {patience:?}"))
    }
}

/// Polls until `condition` gives a value. The last complaint is part of the failure.
pub fn wait_for<T>(what: &str, patience: Duration, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match condition() {
            Ok(value) => return value,
            Err(complaint) if started.elapsed() > patience => panic!("{what}: not within {patience:?}: {complaint}"),
            // What is polled here announces nothing.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
