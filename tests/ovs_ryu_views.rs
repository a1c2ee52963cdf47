//! The topology views that Ryu's clients read, held against os-ken's own on the same Open vSwitch switches.

mod fabric;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use fabric::{Controller, Fabric, PROGRAMS, Spec, isolated, output, skip, wait_for};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// os-ken sees every link within a few seconds; now and then it misses one direction of one for good, and is asked anew.
/// What is measured against it is ours, which has to be whole the first time.
const PEER_PATIENCE: Duration = Duration::from_secs(12);
/// Mininet's switches wait up to 8 s before they connect again, and its hosts speak every 8 s.
const PEER_PATIENCE_MININET: Duration = Duration::from_secs(40);

/// A Python that has os-ken with its topology application.
fn python() -> Result<&'static str, String> {
    let works = |python: &&str| {
        let probe = Command::new(python).args(["-c", "import os_ken.topology.switches"]).output();
        probe.is_ok_and(|probe| probe.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(works);
    found.ok_or_else(|| "no python3 imports os_ken.topology.switches".to_owned())
}

/// os-ken's discovery; killed when dropped.
struct Peer {
    child: Child,
    input: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &str, port: u16) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fabric/ryu_peer.py");
        let mut child = Command::new(python)
            .arg(program)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python was found before");
        let input = child.stdin.take().expect("piped above");
        let answers = BufReader::new(child.stdout.take().expect("piped above"));
        Self { child, input, answers }
    }

    fn views(&mut self) -> Result<Value, String> {
        writeln!(self.input, "views").map_err(|error| error.to_string())?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| format!("{error} in {line:?}"))
    }
}

impl Peer {
    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A peer that sees `what`, started anew as often as it misses a link, and its answer.
fn peer_that(
    python: &str,
    what: &str,
    patience: Duration,
    mut sees: impl FnMut(&mut Peer) -> Result<Value, String>,
) -> (Peer, Value) {
    let mut peer = Peer::start(python, 6653);
    let mut begun = Instant::now();
    let answer = wait_for(what, 3 * PATIENCE, || {
        let answer = sees(&mut peer);
        if answer.is_err() && begun.elapsed() > patience {
            println!("os-ken begins anew: {answer:?}");
            peer.stop();
            (peer, begun) = (Peer::start(python, 6653), Instant::now());
        }
        answer
    });
    (peer, answer)
}

fn ours(controller: &Controller) -> Result<Value, String> {
    let view = |what: &str| controller.rest.get(&format!("/v1.0/topology/{what}"));
    Ok(json!({"switches": view("switches")?, "links": view("links")?, "hosts": view("hosts")?}))
}

/// Lists in an order of their own: neither side promises one.
fn sorted(mut views: Value) -> Value {
    ["switches", "links", "hosts"].into_iter().for_each(|list| sort(&mut views[list]));
    views
}

fn sort(list: &mut Value) {
    let items = list.as_array_mut().expect("a list");
    for item in items.iter_mut() {
        if let Some(ports) = item.get_mut("ports").and_then(Value::as_array_mut) {
            ports.sort_by_key(Value::to_string);
        }
    }
    items.sort_by_key(Value::to_string);
}

/// Waits for so many switches, directed links, and hosts with an IPv4 address.
fn complete(views: Result<Value, String>, counts: [usize; 3]) -> Result<Value, String> {
    let views = views?;
    let whole = |item: &&Value| item.get("ipv4").is_none_or(|addresses| addresses != &json!([]));
    let came = ["switches", "links", "hosts"]
        .map(|list| views[list].as_array().map_or(0, |list| list.iter().filter(whole).count()));
    if came == counts { Ok(sorted(views)) } else { Err(format!("{came:?} of {counts:?}")) }
}

fn same(ours: &Value, theirs: &Value) {
    for list in ["switches", "links", "hosts"] {
        let (ours, theirs) = (&ours[list], &theirs[list]);
        println!(
            "{list}: {} of ours, {} of os-ken's",
            ours.as_array().map_or(0, Vec::len),
            theirs.as_array().map_or(0, Vec::len)
        );
        assert_eq!(ours, theirs, "{list}");
    }
}

/// Eleven switches: every datapath id, port, name, MAC address, link and host is the same, key for key.
#[test]
fn ovs_ryu_views_of_a_fabric_are_os_kens() {
    let python = python();
    if !skip::require("os-ken", python.clone().err()) {
        return;
    }
    isolated(&PROGRAMS, || {
        let spec = Spec::load("clos");
        let fabric = Fabric::start(&spec);
        let counts = [spec.nodes().len(), 2 * spec.links().len(), spec.hosts().len()];
        let speak = || {
            for host in spec.hosts() {
                // Its ARP request is what counts; os-ken answers none.
                output(&mut fabric.exec(&host.id, &["ping", "-c1", "-W1", &host.gateway]));
            }
        };
        let controller = Controller::start(&spec, json!({}));
        speak();
        let seen =
            wait_for("every switch, link and host in our views", PATIENCE, || complete(ours(&controller), counts));
        for switch in seen["switches"].as_array().expect("a list") {
            let dpid = switch["dpid"].as_str().expect("a text");
            let mut one = controller.rest.get(&format!("/v1.0/topology/switches/{dpid}")).expect("an answer");
            sort(&mut one);
            assert_eq!(one, json!([switch]));
        }
        drop(controller);

        let (mut peer, _) =
            peer_that(python.expect("found above"), "every switch and link in os-ken's views", PEER_PATIENCE, |peer| {
                complete(peer.views(), [counts[0], counts[1], 0]).or_else(|_| complete(peer.views(), counts))
            });
        speak();
        let theirs = wait_for("every host in os-ken's views", PATIENCE, || complete(peer.views(), counts));
        same(&seen, &theirs);
    });
}

/// Mininet's own command line on `--topo linear,3`, as its users start it; killed when dropped.
struct Mininet {
    child: Child,
    spoke: Option<Instant>,
}

impl Mininet {
    fn start() -> Self {
        // Debian's Open vSwitch keeps its state in fixed places: these are the test's own for as long as it runs.
        for directory in ["/run/openvswitch", "/etc/openvswitch", "/var/log/openvswitch"] {
            std::fs::create_dir_all(directory).expect("root may make it");
            fabric::run(Command::new("mount").args(["-t", "tmpfs", "foreshadow-test", directory]));
        }
        fabric::run(Command::new("/usr/share/openvswitch/scripts/ovs-ctl").args([
            "start",
            "--system-id=random",
            "--no-mlockall",
        ]));
        let child = Command::new("mn")
            .args(["--topo", "linear,3", "--mac", "--switch", "ovs,protocols=OpenFlow13,datapath=user"])
            .args(["--controller", "remote,ip=127.0.0.1,port=6653"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mn was found before");
        Self { child, spoke: None }
    }

    /// Every host speaks to every other, every few seconds: Mininet takes its commands one after the other.
    fn speak(&mut self) {
        if self.spoke.is_none_or(|spoke| spoke.elapsed() > Duration::from_secs(8)) {
            self.spoke = Some(Instant::now());
            let input = self.child.stdin.as_mut().expect("piped above");
            writeln!(input, "pingall 1").expect("mininet reads its commands");
        }
    }
}

impl Drop for Mininet {
    fn drop(&mut self) {
        // Its hosts and switches go with the namespaces of the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Which IPv6 addresses hosts speak from depends on the moment, and the two hear different frames.
fn without_ipv6(mut views: Value) -> Value {
    for host in views["hosts"].as_array_mut().expect("a list") {
        let texts = host["ipv6"].as_array().is_some_and(|list| list.iter().all(Value::is_string));
        assert!(texts, "a list of texts: {host}");
        host["ipv6"] = Value::Null;
    }
    sorted(views)
}

/// A controller without a topology file: everything in the views was found out.
#[test]
fn ovs_ryu_views_of_mininet_are_os_kens() {
    let python = python();
    if !skip::require("os-ken", python.clone().err()) {
        return;
    }
    isolated(&["unshare", "ip", "mn", "ovs-vswitchd"], || {
        let counts = [3, 4, 3];
        let controller = Controller::start_undeclared(None);
        let mut mininet = Mininet::start();
        let seen = wait_for("every switch, link and host in our views", PATIENCE, || {
            mininet.speak();
            complete(ours(&controller), counts)
        });
        drop(controller);
        let everything = "every switch, link and host in os-ken's views";
        let (_peer, theirs) = peer_that(python.expect("found above"), everything, PEER_PATIENCE_MININET, |peer| {
            mininet.speak();
            complete(peer.views(), counts)
        });
        same(&without_ipv6(seen), &without_ipv6(theirs));
    });
}
