//! First-stage switches with static NAT by the tracker of Open vSwitch: what servers see, and what becomes of connections
//! when such a router dies. Real TCP, the released program.

#![allow(clippy::unwrap_used)]

mod acceptance;
mod fabric;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use acceptance::flight::{Flight, copied, phase};
use acceptance::{PATIENCE, SERVERS, clos, count, loads, long_form, number, serve, start};
use fabric::{Controller, Fabric, Kind, Spec, Traffic, isolated_on, run, wait_for};
use serde_json::{Value, json};

const KIND: Kind = Kind::OpenVSwitch;
/// Of servers that speak without being asked.
const PUSHED: usize = 12;
const PUSH_PORT: u16 = 7200;
const SETTLE: Duration = Duration::from_secs(6);
const SHADOWS: [&str; 3] = ["r2", "r3", "r4"];
/// What translates r1's packets without the tracker, from outside and from inside.
const BY_THE_PLAN: [&str; 2] = ["table=38,ip,nw_dst=100.65.0.0/16", "table=59,ip,reg0=3,nw_src=10.0.0.0/8"];

fn connections() -> u64 {
    if long_form() { 480 } else { 60 }
}

/// Router `r<n>` translates to 100.64 + n.
fn spec(capacity: u32) -> Spec {
    let mut spec = clos(KIND);
    spec.set_routers("capacity_connections", capacity).set_routers("threshold_available", 1);
    for (number, router) in (65..).zip(spec.routers()) {
        spec.set_node(&router, "source_nat", format!("100.{number}.0.0/16"));
    }
    spec
}

fn settings(replication_interval_ms: u64) -> Value {
    json!({
        "policy": "static",
        "replication_interval_ms": replication_interval_ms,
        "failover": {"probe_interval_ms": 200, "hold_down_ms": 2_000, "ramp_step_percent": 25},
    })
}

/// A script in a host's namespace, whose first line says that it is ready.
struct Script {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Script {
    fn start(fabric: &Fabric, host: &str, text: &str) -> Self {
        let mut child = fabric.exec(host, &["python3", "-u", "-c", text]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut script = Self { child, lines };
        assert_eq!(script.line(), "ready", "{host}");
        script
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells everyone who asks under which address it was seen.
const MIRROR_SERVER: &str = "
import socket, threading
tcp = socket.create_server(('', 7100)); udp = socket.socket(type=socket.SOCK_DGRAM); udp.bind(('', 7100))
def answer():
    while True:
        _, peer = udp.recvfrom(9); udp.sendto(f'{peer[0]} {peer[1]}'.encode(), peer)
threading.Thread(target=answer, daemon=True).start()
print('ready')
while True:
    c, peer = tcp.accept(); c.sendall(f'{peer[0]} {peer[1]}'.encode()); c.close()
";

/// `protocol, own port, address seen, port seen` of each connection; then what a closed port answers.
const MIRROR_CLIENT: &str = "
import socket, sys
for n in range(16):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        s = socket.socket(type=kind); s.settimeout(5); s.connect((sys.argv[1], 7100))
        if kind == socket.SOCK_DGRAM: s.send(b'x')
        print(kind == socket.SOCK_STREAM and 'tcp' or 'udp', s.getsockname()[1], s.recv(99).decode())
s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(5); s.connect((sys.argv[1], 7101)); s.send(b'x')
try: s.recv(1)
except OSError as error: print('closed', type(error).__name__)
";

#[test]
fn ovs_ct_servers_see_each_host_under_its_own_address() {
    isolated_on(&[KIND], || {
        let spec = spec(2_000);
        let (fabric, _controller) = start(&spec, settings(0));
        let _servers: Vec<Script> =
            SERVERS.iter().map(|(server, _)| Script::start(&fabric, server, MIRROR_SERVER)).collect();
        let mut prefixes = BTreeSet::new();
        for (host, (_, server)) in ["h1", "h4"].into_iter().zip(SERVERS) {
            let inside: Ipv4Addr = spec.host(host).address.split('/').next().unwrap().parse().unwrap();
            let seen = run(&mut fabric.exec(host, &["python3", "-c", MIRROR_CLIENT, server]));
            for line in seen.lines().filter(|line| !line.starts_with("closed")) {
                let [_, port, address, seen] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
                let address: Ipv4Addr = address.parse().unwrap();
                assert_eq!((address.octets()[0], port), (100, seen), "the port stays: {line}");
                assert_eq!(address.octets()[2..], inside.octets()[2..], "the host bits stay: {line}");
                prefixes.insert(address.octets()[1]);
            }
            assert_eq!(seen.lines().count(), 33, "{seen}");
            // The error names the translated address inside too; only the tracker can find whose it is.
            assert!(seen.ends_with("closed ConnectionRefusedError\n"), "{seen}");
            let ping = run(&mut fabric.exec(host, &["ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", server]));
            assert!(ping.contains(" 3 received"), "{ping}");
        }
        println!("seen outside: 100.x for x in {prefixes:?}");
        assert!(prefixes.len() > 1 && prefixes.iter().all(|second| (65..69).contains(second)), "{prefixes:?}");
        same_port(&fabric);
    });
}

/// Two hosts with the same port of their own, to the same server: nothing has to be refused or renumbered.
fn same_port(fabric: &Fabric) {
    let client = "import socket,sys\n\
                  s = socket.socket(); s.bind(('', 5555)); s.connect((sys.argv[1], 7100)); print(s.recv(99).decode())";
    let seen = ["h1", "h2"].map(|host| run(&mut fabric.exec(host, &["python3", "-c", client, SERVERS[0].1])));
    println!("both from port 5555: {seen:?}");
    assert!(seen[0] != seen[1] && seen.iter().all(|line| line.trim().ends_with(" 5555")), "{seen:?}");
}

/// The tracker refuses nothing; the table of connections before it does, and exactly.
#[test]
fn ovs_ct_capacity_is_exact() {
    isolated_on(&[KIND], || {
        let mut spec = spec(20);
        spec.set_shares(&[("r1", 1.0)]);
        let (fabric, controller) = start(&spec, settings(0));
        let _servers = serve(&fabric, 1);
        let target = format!("{}:7000", SERVERS[0].1);
        let mut holder = Traffic::start(&fabric, "h1", &["hold", "--to", &target, "--rate", "40"]);
        let opened = holder.ask("open 30 30", Duration::from_secs(60));
        assert_eq!((count(&opened, "opened"), count(&opened, "refused")), (20, 10), "{opened}");
        let load = wait_for("what r1 says of it", PATIENCE, || {
            let load = loads(&controller)?.remove("r1").ok_or("no r1")?;
            if number(&load, "occupied") == 20.0 { Ok(load) } else { Err(load.to_string()) }
        });
        println!("30 attempts at capacity 20: {opened}, {load}");
        assert_eq!(count(&holder.ask("close fin 20", PATIENCE), "held"), 0);
        wait_for("the slots back", PATIENCE, || {
            let load = loads(&controller)?.remove("r1").ok_or("no r1")?;
            if number(&load, "occupied") == 0.0 { Ok(()) } else { Err(load.to_string()) }
        });
    });
}

/// The server speaks, the client is silent: after a failover the first packet comes from outside.
const PUSH_SERVER: &str = "
import socket, threading, time
listener = socket.create_server(('', 7200), backlog=64)
def push(c):
    try:
        while True: c.sendall(b'x' * 2000); time.sleep(0.1)
    except OSError: pass
print('ready')
while True:
    c, _ = listener.accept(); threading.Thread(target=push, args=(c,), daemon=True).start()
";
/// Says how many connections were ended or stood still for ten seconds, once it is killed or told the end by time.
const PUSH_CLIENT: &str = "
import select, socket, sys, time
open_ = {}
for n in range(int(sys.argv[2])):
    c = socket.create_connection((sys.argv[1], int(sys.argv[3])), 10); c.recv(9); open_[c] = time.monotonic()
print('ready')
broken, longest, until = 0, 0.0, time.monotonic() + float(sys.argv[4])
while open_ and time.monotonic() < until:
    for c in select.select(list(open_), [], [], 0.1)[0]:
        try: data = c.recv(65536)
        except OSError: data = b''
        if data: longest = max(longest, time.monotonic() - open_[c]); open_[c] = time.monotonic()
        else: broken += 1; del open_[c]
    for c in [c for c, at in open_.items() if time.monotonic() - at > 10]: broken += 1; del open_[c]
print(broken, round(longest * 1e3))
";

struct World {
    fabric: Fabric,
    controller: Controller,
    _servers: Vec<Traffic>,
    _pushing: Vec<Script>,
    flight: Flight,
    pushed: Script,
}

/// Connections in flight, and copies of them where `replication_interval_ms` is not 0. The silent clients watch for
/// `watch_s`.
fn in_flight(replication_interval_ms: u64, watch_s: u64) -> World {
    in_flight_after(replication_interval_ms, watch_s, |_| ())
}

/// The same, with switches that were changed before the first connection.
fn in_flight_after(replication_interval_ms: u64, watch_s: u64, change: impl FnOnce(&Fabric)) -> World {
    let mut spec = spec(2_000);
    spec.set_shares(&[("r1", 1.0)]);
    let (fabric, controller) = start(&spec, settings(replication_interval_ms));
    change(&fabric);
    let servers = serve(&fabric, 1);
    let pushing = vec![Script::start(&fabric, SERVERS[0].0, PUSH_SERVER)];
    let mut flight = Flight::start(&fabric, &[]);
    flight.open(connections());
    let arguments = format!(
        "import sys\nsys.argv = ['', '{}', '{PUSHED}', '{PUSH_PORT}', '{watch_s}']\n{PUSH_CLIENT}",
        SERVERS[0].1
    );
    let pushed = Script::start(&fabric, "h2", &arguments);
    if replication_interval_ms > 0 {
        copied(&controller, &spec);
    }
    flight.all("mark");
    World { fabric, controller, _servers: servers, _pushing: pushing, flight, pushed }
}

impl World {
    /// Takes r1's power, and tells how many connections broke: of those that ask, and of those that are told.
    fn lose(&mut self, what: &str, patience: Duration) -> (u64, u64) {
        let began = Instant::now();
        self.fabric.power_off("r1");
        phase(&self.controller, "r1", "failed");
        let told = began.elapsed();
        std::thread::sleep(patience); // the exchanges that were under way are what is tested
        let (broken, longest) = self.flight.check();
        let (silent, longest_silent) = self.silent();
        for router in SHADOWS {
            let [back, forth] = BY_THE_PLAN.map(|entries| self.packets(router, entries));
            println!("{router}: {back} packets from outside and {forth} from inside translated without the tracker");
        }
        println!(
            "{what}: {broken} of {} broken, longest exchange {longest:.0} ms; of {PUSHED} that only listen {silent}, \
             longest wait {longest_silent} ms; the controller told after {:.0} ms",
            connections(),
            told.as_secs_f64() * 1e3
        );
        (broken, silent)
    }

    fn packets(&self, router: &str, entries: &str) -> u64 {
        let answer = self.fabric.ofctl(router, "dump-aggregate", &[entries]);
        let packets = answer.split("packet_count=").nth(1).and_then(|rest| rest.split_whitespace().next());
        packets.and_then(|packets| packets.parse().ok()).unwrap_or(0)
    }

    fn silent(&mut self) -> (u64, u64) {
        let line = self.pushed.line();
        let (broken, longest) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        (broken.parse().unwrap(), longest.parse().unwrap())
    }
}

#[test]
fn ovs_ct_failover_power_loss_breaks_nothing() {
    isolated_on(&[KIND], || {
        let mut world = in_flight(1_000, 25);
        assert_eq!(world.lose("power loss", SETTLE), (0, 0));
    });
}

/// Killed, and back with empty tables and an empty tracker.
#[test]
fn ovs_ct_failover_return_breaks_nothing() {
    isolated_on(&[KIND], || {
        let mut world = in_flight(1_000, 60);
        world.fabric.kill_switch("r1");
        phase(&world.controller, "r1", "failed");
        std::thread::sleep(SETTLE); // whatever the failure broke would show by then
        world.flight.open(connections() / 5);
        world.fabric.revive("r1");
        phase(&world.controller, "r1", "in-service");
        std::thread::sleep(SETTLE); // whatever its return broke would show by then
        let (broken, longest) = world.flight.check();
        let silent = world.silent();
        println!("killed and back: {broken} broken, longest exchange {longest:.0} ms; silent clients: {silent:?}");
        assert_eq!((broken, silent.0), (0, 0));
    });
}

/// Stopped for a while: it returns with a tracker whose windows are those of long ago.
#[test]
fn ovs_ct_failover_hang_and_return_break_nothing() {
    isolated_on(&[KIND], || {
        let mut world = in_flight(1_000, 50);
        world.fabric.signal_switch("r1", "STOP");
        phase(&world.controller, "r1", "failed");
        std::thread::sleep(SETTLE); // windows move on
        world.fabric.signal_switch("r1", "CONT");
        phase(&world.controller, "r1", "in-service");
        std::thread::sleep(SETTLE); // whatever its return broke would show by then
        let (broken, longest) = world.flight.check();
        let silent = world.silent();
        println!("stopped and back: {broken} broken, longest exchange {longest:.0} ms; silent clients: {silent:?}");
        let [back, forth] = BY_THE_PLAN.map(|entries| world.packets("r1", entries));
        println!("r1: {back} packets from outside and {forth} from inside translated without the tracker");
        assert_eq!((broken, silent.0), (0, 0));
    });
}

/// The control: without copies the same failure breaks every connection of the router.
#[test]
fn ovs_ct_failover_without_replication_breaks_them() {
    isolated_on(&[KIND], || {
        let mut world = in_flight(0, 35);
        let (broken, silent) = world.lose("without replication", Duration::from_secs(11));
        assert_eq!((broken, silent), (connections(), PUSHED as u64), "all of them were r1's");
    });
}

/// Why shadows do not leave the translation to their trackers: these know nothing of a connection that a server speaks on.
#[test]
fn ovs_ct_failover_by_the_tracker_alone_breaks_some() {
    isolated_on(&[KIND], || {
        let mut world = in_flight_after(1_000, 25, tracker_alone);
        let (broken, silent) = world.lose("by the tracker alone", SETTLE);
        assert!(broken + silent >= 1, "{broken}, {silent}");
    });
}

/// Takes away what translates r1's packets without the tracker.
fn tracker_alone(fabric: &Fabric) {
    for router in SHADOWS {
        for entries in BY_THE_PLAN {
            assert!(fabric.aggregate(router, entries) > 0, "{router}: {entries}");
            fabric.ofctl(router, "del-flows", &[entries]);
        }
    }
}

/// The other ways for a shadow to go on, by rules added by hand: its tracker is told by the frames that reach it for its
/// copies, and decides. In the long form alone.
struct Way {
    /// r1 mirrors every packet, not changes and samples alone.
    every_packet: bool,
    /// What the tracker finds out of its window is dropped.
    judged: bool,
    /// The tracker looks at windows.
    checked: bool,
}

impl Way {
    fn lose(&self, what: &str) -> (u64, u64) {
        let mut world = in_flight_after(1_000, 25, |fabric| {
            tracker_alone(fabric);
            SHADOWS.iter().for_each(|shadow| tell_tracker(fabric, shadow, self));
            if self.every_packet {
                mirror_all(fabric);
            }
        });
        let (mirrored, all) = (world.packets("r1", "table=55,reg0=3"), world.packets("r1", "table=53,reg0=3"));
        let lost = world.lose(what, SETTLE);
        println!("{what}: {mirrored} of {all} packets mirrored before");
        lost
    }
}

#[test]
fn ovs_ct_failover_told_of_changes_and_not_judging() {
    if skipped() {
        return;
    }
    isolated_on(&[KIND], || {
        let way = Way { every_packet: false, judged: false, checked: true };
        assert_eq!(way.lose("told of changes, passes what is out of its window"), (0, 0));
    });
}

#[test]
fn ovs_ct_failover_told_of_changes() {
    if skipped() {
        return;
    }
    isolated_on(&[KIND], || {
        let way = Way { every_packet: false, judged: true, checked: true };
        let (broken, silent) = way.lose("told of changes, drops what is out of its window");
        assert!(broken >= connections() / 8 && silent > 0, "{broken}, {silent}");
    });
}

#[test]
fn ovs_ct_failover_told_of_changes_and_not_checking() {
    if skipped() {
        return;
    }
    isolated_on(&[KIND], || {
        let way = Way { every_packet: false, judged: true, checked: false };
        assert_eq!(way.lose("told of changes, drops what is invalid, does not look at windows"), (0, 0));
    });
}

#[test]
fn ovs_ct_failover_told_of_every_packet() {
    if skipped() {
        return;
    }
    isolated_on(&[KIND], || {
        let way = Way { every_packet: true, judged: true, checked: true };
        assert_eq!(way.lose("told of every packet, drops what is out of its window"), (0, 0));
    });
}

fn skipped() -> bool {
    if !long_form() {
        println!("skipped: FORESHADOW_LONG=1 compares the ways to go on");
    }
    !long_form()
}

/// Frames for the copies of r1's connections go to the tracker too.
fn tell_tracker(fabric: &Fabric, shadow: &str, way: &Way) {
    let copies: Vec<String> = fabric.flows(shadow).into_iter().filter(|flow| flow.contains("table=57,")).collect();
    assert!(!copies.is_empty(), "{shadow}");
    let mut rules = String::new();
    for flow in copies {
        let flow = flow.split_once("table=57").expect("filtered").1;
        rules +=
            &format!("table=57{},resubmit(,70)\n", flow.replacen(" actions=", ",actions=", 1).replacen(", ", ",", 1));
    }
    for host in ["1.1", "1.2", "2.1", "3.1"] {
        rules +=
            &format!("table=70,reg0=3,ip,reg1=1,nw_src=10.1.{host},actions=ct(commit,zone=3,nat(src=100.65.{host}))\n");
        rules += &format!(
            "table=70,reg0=3,ip,reg1=2,nw_dst=10.1.{host},actions=set_field:100.65.{host}->nw_dst,ct(zone=3,nat,table=71)\n"
        );
    }
    if way.judged {
        rules += "table=38,priority=900,ip,reg0=3,ct_state=+trk+inv,actions=drop\n";
        rules += "table=59,priority=900,ip,reg0=3,ct_state=+trk+inv,actions=drop\n";
    }
    fabric.add_flows(shadow, &rules);
    if !way.checked {
        fabric.appctl(shadow, &["dpctl/ct-disable-tcp-seq-chk"]);
    }
}

/// r1 mirrors every packet.
fn mirror_all(fabric: &Fabric) {
    let samples = fabric.flows("r1");
    let samples: Vec<&String> =
        samples.iter().filter(|flow| flow.contains("table=55,") && flow.contains("reg15=0")).collect();
    assert!(!samples.is_empty());
    let all = |flow: &&String| {
        let flow =
            flow.split_once("table=55").expect("filtered").1.replacen("reg15=0,", "", 1).replacen(",reg15=0", "", 1);
        format!(
            "table=55{}\n",
            flow.replacen("priority=100", "priority=150", 1)
                .replacen(" actions=", ",actions=", 1)
                .replacen(", ", ",", 1)
        )
    };
    let rules: String = samples.iter().map(all).collect();
    fabric.add_flows("r1", &rules);
}
