//! The data path alone on real Open vSwitch: one access switch, one second-stage switch, two routers, one outside
//! switch; entries compiled from plans written here, sent by the real sessions; real TCP, UDP, ICMP and ARP.

mod fabric;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use fabric::{Fabric, PROGRAMS, Spec, Traffic, Watch, isolated, wait_for};
use foreshadow::plan::{
    AccessPlan, Attachment, Choice, DatapathPlan, NextHop, OutsidePlan, RolePlan, RouterPlan, SLOTS, ServiceSlots,
    Spread,
};
use foreshadow::southbound::openflow::{AgentSettings, Southbound, SouthboundSettings, pipeline};
use foreshadow::southbound::{Command, ConnectionCounters, ConnectionEnded, Event, InstallCounts, Reading, WallClock};
use foreshadow::types::{DatapathId, MacAddr, NodeIndex, PortNo};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(30);
/// For load that takes its time.
const LONG: Duration = Duration::from_secs(120);

const OUTSIDE: NodeIndex = NodeIndex(1);
const R1: NodeIndex = NodeIndex(2);
const R2: NodeIndex = NodeIndex(3);
const TRANSIT: NodeIndex = NodeIndex(4);
const ACCESS: NodeIndex = NodeIndex(5);
const ALL: [NodeIndex; 5] = [OUTSIDE, R1, R2, TRANSIT, ACCESS];

const SERVICE: &str = "internet";
const W1: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
const W2: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const H1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
const H2: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 20);

fn chain() -> Spec {
    let host = |id: &str, address: Ipv4Addr, gateway: &str, mac: u64, attach: &str| {
        json!({"id": id, "address": format!("{address}/24"), "gateway": gateway,
               "mac": MacAddr::from_u64(mac).to_string(), "attach": attach})
    };
    Spec::of(json!({
        "nodes": [
            {"id": "o1", "stage": 0, "dpid": 1}, {"id": "r1", "stage": 1, "dpid": 2},
            {"id": "r2", "stage": 1, "dpid": 3}, {"id": "t1", "stage": 2, "dpid": 4},
            {"id": "a1", "stage": 3, "dpid": 5}
        ],
        "links": [
            {"a": "o1:1", "b": "r1:1"}, {"a": "o1:2", "b": "r2:1"}, {"a": "r1:2", "b": "t1:1"},
            {"a": "r2:2", "b": "t1:2"}, {"a": "t1:3", "b": "a1:1"}
        ],
        "hosts": [
            host("h1", H1, "10.0.0.1", 0x02_00_00_00_0a_01, "a1:11"),
            host("h2", H2, "10.0.1.1", 0x02_00_00_00_0a_02, "a1:12"),
            host("w1", W1, "198.51.100.1", 0x02_00_00_00_0b_01, "o1:11"),
            host("w2", W2, "203.0.113.1", 0x02_00_00_00_0b_02, "o1:12")
        ]
    }))
}

/// What the plans of a test differ in.
#[derive(Clone, Debug)]
struct Wish {
    capacity: u32,
    idle_s: u16,
    closing_s: u16,
    half_open_s: u16,
    slots_of_r1: usize,
    spread: Spread,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            capacity: 1_000,
            idle_s: 60,
            closing_s: 3,
            half_open_s: 4,
            slots_of_r1: SLOTS,
            spread: Spread::Multipath,
        }
    }
}

fn plans(wish: &Wish) -> Vec<DatapathPlan> {
    let indirection: BTreeMap<_, _> = [R1, R2].map(|router| (router, router)).into();
    let hop = |node: NodeIndex, port: u32| (node, vec![NextHop { rank: 0, port: PortNo(port) }]);
    let attachment = |address, mac, port| Attachment { address, mac: MacAddr::from_u64(mac), port: PortNo(port) };
    let plan = |index: NodeIndex, role: RolePlan| DatapathPlan {
        index,
        edge_ports: Vec::new(),
        mirror_ports: Vec::new(),
        gateways: Vec::new(),
        attached: Vec::new(),
        next_hops: BTreeMap::new(),
        role,
    };
    let router = |index| DatapathPlan {
        next_hops: [hop(ACCESS, 2), hop(OUTSIDE, 1)].into(),
        ..plan(
            index,
            RolePlan::Router(RouterPlan {
                capacity_connections: wish.capacity,
                idle_timeout_s: wish.idle_s,
                closing_timeout_s: wish.closing_s,
                half_open_timeout_s: wish.half_open_s,
                inside_ports: vec![PortNo(2)],
                outside_ports: vec![PortNo(1)],
                stands_in_for: Vec::new(),
                hosts: vec![(H1, ACCESS), (H2, ACCESS)],
                mirrors: std::collections::BTreeMap::new(),
                replicas: std::collections::BTreeMap::new(),
                translations: std::collections::BTreeMap::new(),
                destinations: vec![("0.0.0.0/0".parse().expect("a prefix"), vec![OUTSIDE])],
            }),
        )
    };
    // Interleaved, so that neighbouring slots differ.
    let slots = (0..SLOTS).map(|slot| if slot * 101 % SLOTS < wish.slots_of_r1 { R1 } else { R2 }).collect();
    let choice = Choice { slots, spread: wish.spread };
    let prefixes = vec!["0.0.0.0/0".parse().expect("a prefix")];
    let services = vec![ServiceSlots { service: SERVICE.to_owned(), number: 1, prefixes, choice }];
    vec![
        DatapathPlan {
            edge_ports: vec![PortNo(11), PortNo(12)],
            gateways: vec![Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(203, 0, 113, 1)],
            attached: vec![attachment(W1, 0x02_00_00_00_0b_01, 11), attachment(W2, 0x02_00_00_00_0b_02, 12)],
            next_hops: [hop(R1, 1), hop(R2, 2)].into(),
            ..plan(OUTSIDE, RolePlan::Outside(OutsidePlan { indirection: indirection.clone() }))
        },
        router(R1),
        router(R2),
        DatapathPlan { next_hops: [hop(R1, 1), hop(R2, 2), hop(ACCESS, 3)].into(), ..plan(TRANSIT, RolePlan::Transit) },
        DatapathPlan {
            edge_ports: vec![PortNo(11), PortNo(12)],
            gateways: vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 1, 1)],
            attached: vec![attachment(H1, 0x02_00_00_00_0a_01, 11), attachment(H2, 0x02_00_00_00_0a_02, 12)],
            next_hops: [hop(R1, 1), hop(R2, 1)].into(),
            ..plan(ACCESS, RolePlan::Access(AccessPlan { services, indirection, remote_hosts: Vec::new() }))
        },
    ]
}

/// The fabric, and sessions to its switches that do what the test says.
struct Bench {
    fabric: Fabric,
    /// Runs the sessions.
    _runtime: Runtime,
    southbound: Southbound,
    events: Receiver<Event>,
    generation: u64,
    ended: Vec<ConnectionEnded>,
}

impl Bench {
    fn start(wish: &Wish) -> Self {
        let fabric = Fabric::start(&chain());
        let runtime = Runtime::new().expect("a runtime starts");
        let settings = SouthboundSettings {
            agent: AgentSettings::default(),
            mapping: pipeline::MAPPING,
            clock: Arc::new(WallClock::default()),
        };
        let address: SocketAddr = "0.0.0.0:6653".parse().expect("an address");
        let (southbound, mut from_sessions) = {
            let _inside = runtime.enter();
            Southbound::listen(address, settings).expect("the port is free in this namespace")
        };
        // Emptied at once: a session whose events nobody takes stops answering its switch, which then leaves.
        let (sender, events) = channel();
        runtime.spawn(async move {
            while let Some(event) = from_sessions.recv().await {
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let mut bench = Self { fabric, _runtime: runtime, southbound, events, generation: 0, ended: Vec::new() };
        let mut up = std::collections::BTreeSet::new();
        while up.len() < ALL.len() {
            if let Event::SwitchUp { datapath, .. } = bench.event() {
                up.insert(datapath);
            }
        }
        bench.install(wish);
        bench
    }

    fn event(&mut self) -> Event {
        let event = self.events.recv_timeout(PATIENCE).expect("an event in time");
        if let Event::ConnectionEnded { ended, .. } = &event {
            self.ended.push(*ended);
        }
        event
    }

    /// Brings every switch to the plans of `wish`; what that took, by switch.
    fn install(&mut self, wish: &Wish) -> BTreeMap<NodeIndex, InstallCounts> {
        self.generation += 1;
        for plan in plans(wish) {
            let datapath = DatapathId(u64::from(plan.index.0));
            let command = Command::Install { datapath, generation: self.generation, plan: Box::new(plan) };
            self.southbound.send(command).expect("every switch is connected");
        }
        let mut counts = BTreeMap::new();
        while counts.len() < ALL.len() {
            match self.event() {
                Event::Installed { datapath, generation, counts: took } if generation == self.generation => {
                    counts.insert(NodeIndex(u16::try_from(datapath.0).expect("small")), took);
                }
                Event::InstallFailed { datapath, error, .. } => panic!("{datapath}: {error}"),
                _ => {}
            }
        }
        counts
    }

    fn reading(&mut self, node: NodeIndex) -> Reading {
        let wanted = DatapathId(u64::from(node.0));
        self.southbound.send(Command::Collect { datapath: wanted }).expect("the switch is connected");
        loop {
            if let Event::Reading { datapath, reading } = self.event()
                && datapath == wanted
            {
                return reading;
            }
        }
    }

    fn connections(&mut self, node: NodeIndex) -> ConnectionCounters {
        self.reading(node).connections.expect("a router has connections")
    }

    /// Waits until the router's counters please.
    fn await_connections(
        &mut self,
        node: NodeIndex,
        what: &str,
        pleases: impl Fn(&ConnectionCounters) -> bool,
    ) -> (ConnectionCounters, Duration) {
        let started = Instant::now();
        let counters = wait_for(what, PATIENCE, || {
            let counters = self.connections(node);
            if pleases(&counters) { Ok(counters) } else { Err(format!("{counters:?}")) }
        });
        (counters, started.elapsed())
    }

    fn hold(&self, host: &str, server: Ipv4Addr) -> Traffic {
        Traffic::start(&self.fabric, host, &["hold", "--to", &format!("{server}:7000"), "--rate", "100"])
    }

    fn burst(&self, host: &str, server: Ipv4Addr, udp: bool) -> Traffic {
        let to = format!("{server}:7001");
        let mut arguments = vec!["burst", "--to", &to];
        if udp {
            arguments.push("--udp");
        }
        Traffic::start(&self.fabric, host, &arguments)
    }

    fn serve(&self) -> [Traffic; 2] {
        ["w1", "w2"].map(|server| Traffic::start(&self.fabric, server, &["serve", "--ports", "2"]))
    }
}

fn count(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} is no count in {value}"))
}

/// ARP and ICMP, with nobody but the switches to answer for the gateways.
#[test]
fn ovs_gateways_answer_arp_and_services_answer_ping() {
    isolated(&PROGRAMS, || {
        let bench = Bench::start(&Wish::default());
        for (from, to) in [("h1", W1), ("h2", W2), ("h1", H2)] {
            let answer =
                bench.fabric.exec(from, &["ping", "-c", "3", "-i", "0.2", "-W", "2", &to.to_string()]).output();
            let text = String::from_utf8_lossy(&answer.expect("ping runs").stdout).into_owned();
            println!("{from} to {to}: {}", text.lines().find(|line| line.contains("received")).unwrap_or(&text));
            assert!(text.contains(" 3 received"), "{text}");
        }
        let neighbours = fabric::run(&mut bench.fabric.exec("h1", &["ip", "neigh", "show", "10.0.0.1"]));
        assert!(neighbours.contains(&MacAddr::GATEWAY.to_string()), "{neighbours}");
    });
}

/// Capacity is exact; a refusal counts once however often the opening packet comes; FIN and RST give slots back.
#[test]
fn ovs_capacity_is_exact_and_slots_come_back() {
    isolated(&PROGRAMS, || {
        let mut bench = Bench::start(&Wish { capacity: 50, idle_s: 300, ..Wish::default() });
        let _servers = bench.serve();
        let mut holder = bench.hold("h1", W1);
        let opened = holder.ask("open 80 80", LONG);
        let counters = bench.connections(R1);
        println!("80 attempts at capacity 50: {opened}\n{counters:?}");
        assert_eq!((count(&opened, "opened"), count(&opened, "refused")), (50, 30));
        assert_eq!((counters.occupied, counters.admitted, counters.refused), (50, 50, 30), "{counters:?}");

        // Every refused connection sends its SYN three times here.
        let mut burst = bench.burst("h2", W2, false);
        let refused = burst.ask("go 40 100 7001", PATIENCE);
        let counters = bench.connections(R1);
        println!("40 more, three SYNs each: {refused}\n{counters:?}");
        assert_eq!((count(&refused, "refused"), counters.refused, counters.occupied), (40, 70, 50), "{counters:?}");
        assert_eq!(counters.admitted, 50, "{counters:?}");

        for how in ["fin", "rst"] {
            let before = bench.connections(R1).occupied;
            holder.ask(&format!("close {how} 10"), PATIENCE);
            let (closing, _) = bench.await_connections(R1, "10 closing", |now| now.closing == 10);
            println!("{how} of 10: {closing:?}");
            assert_eq!(closing.occupied, before, "a closing connection keeps its slot");
            let (freed, took) = bench.await_connections(R1, "10 slots back", |now| now.closing == 0);
            println!("slots back {took:?} later: {freed:?}");
            assert_eq!(freed.occupied, before - 10);
        }
        // A connection refused at first gets its slot when its SYN comes again and there is room.
        // The same client goes on: a new one would begin with ports whose refusal is still remembered.
        let filler = holder.ask("open 20 20", LONG);
        assert_eq!(count(&filler, "opened"), 70);
        burst.tell("go 5 100 7001");
        bench.await_connections(R1, "refused at first", |now| now.refused >= 75);
        holder.ask("close rst 50", PATIENCE);
        let answer = burst.until("go", PATIENCE).pop().expect("an answer");
        let counters = bench.connections(R1);
        println!("5 more while slots come back: {answer}\n{counters:?}");
        assert_eq!((counters.refused, counters.admitted), (75, 50 + 20 + 5));
    });
}

/// Idle connections, handshakes that never end, and resets from the server's side.
#[test]
fn ovs_forgotten_connections_free_their_slots() {
    isolated(&PROGRAMS, || {
        let mut bench = Bench::start(&Wish { idle_s: 5, ..Wish::default() });
        let _servers = bench.serve();
        let mut holder = bench.hold("h1", W1);
        assert_eq!(count(&holder.ask("open 20 20", PATIENCE), "opened"), 20);
        assert_eq!(bench.connections(R1).occupied, 20);
        let (empty, took) = bench.await_connections(R1, "idle connections forgotten", |now| now.occupied == 0);
        println!("20 idle connections forgotten after {took:?} (time-out 5 s): {empty:?}");
        let unknown = empty.unknown;
        let checked = holder.ask("check", LONG);
        let counters = bench.connections(R1);
        println!("packets of forgotten connections: {checked}\n{counters:?}");
        assert!(counters.unknown > unknown && counters.occupied == 0, "{counters:?}");
        drop(holder);

        // Nobody answers there: the handshakes stay half-open until they are swept.
        bench.install(&Wish { idle_s: 300, ..Wish::default() });
        let mut nobody = bench.hold("h2", Ipv4Addr::new(203, 0, 113, 99));
        nobody.ask("open 5 5", LONG);
        let (swept, took) = bench.await_connections(R1, "half-open swept", |now| now.occupied == 0);
        println!("5 half-open connections swept {took:?} after the last attempt: {swept:?}");

        // A closed port answers the SYN with RST; another server resets what is established.
        bench.ended.clear();
        let script = "import socket,struct,threading,time\n\
                      s=socket.create_server(('0.0.0.0',7100),backlog=64)\n\
                      print('{\"event\":\"ready\"}',flush=True)\n\
                      for n in range(10):\n c,_=s.accept(); c.recv(1)\n \
                      c.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack('ii',1,0)); c.close()\n";
        let mut resetter = bench.fabric.exec("w2", &["python3", "-c", script]);
        let mut resetter = resetter.stdout(std::process::Stdio::piped()).spawn().expect("python3 starts");
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(resetter.stdout.as_mut().expect("piped")), &mut line)
            .expect("it says that it is ready");
        let client = "import socket\n\
                      for n in range(10):\n c=socket.create_connection(('203.0.113.10',7100)); c.send(b'x')\n \
                      \n try: c.recv(1)\n except ConnectionResetError: pass\n \
                      \n try: socket.create_connection(('203.0.113.10',7101))\n except ConnectionRefusedError: pass\n";
        fabric::run(&mut bench.fabric.exec("h2", &["python3", "-c", client]));
        let _ = resetter.wait();
        let (closing, _) = bench.await_connections(R1, "20 closing", |now| now.closing == 20);
        println!("10 reset by the server, 10 refused by it: {closing:?}");
        let (_, took) = bench.await_connections(R1, "their slots back", |now| now.occupied == 0);
        let longest = bench.ended.iter().map(|ended| ended.duration_ms).max();
        println!("slots back {took:?} later; {} ended, longest {longest:?} ms", bench.ended.len());
        assert!(bench.ended.len() >= 20 && longest < Some(3_000), "{:?}", bench.ended);
    });
}

/// The same ports again while the connection before still closes: the new one must not inherit its short time-out.
#[test]
fn ovs_a_port_pair_used_again_is_a_new_connection() {
    isolated(&PROGRAMS, || {
        let mut bench = Bench::start(&Wish { closing_s: 6, idle_s: 300, ..Wish::default() });
        let _servers = bench.serve();
        let client = "import socket,struct,time\n\
                      def go():\n c=socket.socket(); c.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n \
                      c.bind(('',5555)); c.connect(('198.51.100.10',7000)); c.send(b'x'); assert c.recv(1)==b'x'; return c\n\
                      for n in range(2):\n c=go(); c.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack('ii',1,0)); c.close(); time.sleep(0.3)\n\
                      c=go(); print('open',flush=True); time.sleep(14); c.settimeout(5); c.send(b'y'); print('echo',c.recv(1)); time.sleep(1)\n";
        let mut client = bench.fabric.exec("h1", &["python3", "-c", client]);
        let mut client = client.stdout(std::process::Stdio::piped()).spawn().expect("python3 starts");
        let mut output = std::io::BufReader::new(client.stdout.take().expect("piped"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).expect("the third connection opens");
        let (now, _) = bench.await_connections(R1, "three entries", |now| now.occupied == 3);
        println!("two closing, one open on the same ports: {now:?}");
        assert_eq!((now.closing, now.admitted), (2, 3), "{now:?}");
        let (now, took) = bench.await_connections(R1, "the closing gone", |now| now.closing == 0);
        println!("{took:?} later: {now:?}");
        assert_eq!(now.occupied, 1);
        line.clear();
        std::io::BufRead::read_line(&mut output, &mut line).expect("its answer");
        println!("after 14 s of silence, closing time-out 6 s: {line}");
        assert!(line.contains("echo"), "{line}");
        let _ = client.kill();
        let _ = client.wait();
    });
}

/// Weights change back and forth: what is established stays where it is.
#[test]
fn ovs_pins_hold_through_weight_changes() {
    isolated(&PROGRAMS, || {
        let wish = |slots_of_r1, spread| Wish { slots_of_r1, spread, ..Wish::default() };
        let mut bench = Bench::start(&wish(230, Spread::Multipath));
        let mut watch = Watch::start(&bench.fabric);
        let _servers = bench.serve();
        let mut holders = [("h1", W1), ("h2", W2)].map(|(host, server)| bench.hold(host, server));
        for holder in &mut holders {
            assert_eq!(count(&holder.ask("open 50 25", PATIENCE), "opened"), 50);
        }
        let before = watch.seen(7000);
        for (slots, spread) in [
            (128, Spread::Multipath),
            (102, Spread::Select),
            (0, Spread::Select),
            (26, Spread::Multipath),
            (256, Spread::Multipath),
        ] {
            let counts = bench.install(&wish(slots, spread));
            println!("{slots} slots of 256, {spread:?}: {:?}", counts[&ACCESS]);
            for holder in &mut holders {
                let checked = holder.ask("check", PATIENCE);
                assert_eq!((count(&checked, "resets"), count(&checked, "stalls")), (0, 0), "{checked}");
            }
        }
        let after = watch.seen(7000);
        println!("by router before {:?}, after {:?}", before.by_router, after.by_router);
        assert_eq!((after.moved.len(), after.resets, after.total()), (0, 0, 100), "{:?}", after.moved);
        assert_eq!(before.by_router, after.by_router);
    });
}

/// What was asked for, against the choices that the switch counted and the connections that left the routers.
#[test]
fn ovs_new_connections_split_as_asked() {
    isolated(&PROGRAMS, || {
        let wish = |slots_of_r1, spread| Wish {
            capacity: 5_000,
            idle_s: 3,
            closing_s: 1,
            slots_of_r1,
            spread,
            ..Wish::default()
        };
        let mut bench = Bench::start(&wish(SLOTS, Spread::Multipath));
        let _servers = bench.serve();
        let (mut tcp, mut udp) = (bench.burst("h1", W1, false), bench.burst("h2", W2, true));
        let mut before = BTreeMap::new();
        for (slots, spread, kind, flows, rate, tolerance) in [
            (166, Spread::Multipath, "UDP", 40_000, 1_500, 1.0),
            (230, Spread::Multipath, "UDP", 40_000, 1_500, 1.0),
            (166, Spread::Multipath, "TCP", 5_000, 250, 2.5),
            (166, Spread::Select, "TCP", 5_000, 250, 2.5),
        ] {
            bench.install(&wish(slots, spread));
            bench.fabric.flush_pins();
            let load = if kind == "UDP" { &mut udp } else { &mut tcp };
            let sent = load.ask(&format!("go {flows} {rate} 7001"), LONG);
            let chosen = wait_for("every choice counted", PATIENCE, || {
                let chosen = bench.reading(ACCESS).chosen.remove(SERVICE).unwrap_or_default();
                let since =
                    |router| chosen.get(&router).copied().unwrap_or(0) - before.get(&router).copied().unwrap_or(0);
                let (r1, r2) = (since(R1), since(R2));
                if r1 + r2 >= flows * 99 / 100 { Ok((r1, r2, chosen)) } else { Err(format!("{chosen:?}")) }
            });
            let (r1, r2, total) = chosen;
            before = total;
            let wanted = slots as f64 / SLOTS as f64 * 100.0;
            let got = r1 as f64 / (r1 + r2) as f64 * 100.0;
            println!("{kind} {spread:?}: wanted {wanted:.2} %, got {got:.2} % of {} ({sent})", r1 + r2);
            assert!((got - wanted).abs() <= tolerance, "{kind} {spread:?}: {got} for {wanted}");
        }
    });
}

/// Connections come, exchange, end by FIN or RST or fall silent; the router's count follows the hosts' own.
#[test]
fn ovs_active_connections_are_what_the_hosts_count() {
    isolated(&PROGRAMS, || {
        let mut bench = Bench::start(&Wish { idle_s: 6, ..Wish::default() });
        let _servers = bench.serve();
        let options = "--rate 0:60,40:60 --duration 4 --interval 1 --abort 0.3 --vanish 0.1 --idle-timeout 6";
        let target = format!("{W1}:7000");
        let mut arguments = vec!["churn", "--to", &target];
        arguments.extend(options.split(' '));
        let mut churn = Traffic::start(&bench.fabric, "h1", &arguments);
        let started = Instant::now();
        let (mut ours, mut theirs, mut samples) = (0.0, 0.0, 0);
        while started.elapsed() < Duration::from_secs(35) {
            let hosts = count(&churn.ask("now", PATIENCE), "active") as f64;
            let counters = bench.connections(R1);
            let active = (counters.occupied - counters.closing) as f64;
            if started.elapsed() > Duration::from_secs(15) {
                (ours, theirs, samples) = (ours + active, theirs + hosts, samples + 1);
                if samples % 8 == 0 {
                    println!("hosts {hosts}, router {active} ({counters:?})");
                }
            }
            std::thread::sleep(Duration::from_millis(200)); // samples spread over the load
        }
        let off = (ours - theirs) / theirs * 100.0;
        println!(
            "{samples} samples: hosts {:.1}, router {:.1}, {off:+.2} %",
            theirs / f64::from(samples),
            ours / f64::from(samples)
        );
        assert!(off.abs() <= 2.0, "{off} %");
    });
}

/// Above 5,000 connections the table is divided: never more than the capacity, refusals begin a little early.
#[test]
fn ovs_large_tables_are_divided() {
    isolated(&PROGRAMS, || {
        const CAPACITY: u32 = 12_000;
        let mut bench = Bench::start(&Wish { capacity: CAPACITY, idle_s: 300, ..Wish::default() });
        let _servers = bench.serve();
        let mut udp = bench.burst("h2", W2, true);
        let mut full_at = None;
        for step in 1..=14 {
            udp.ask("go 1000 600 7001", LONG);
            let sent = step * 1_000;
            let now = bench
                .await_connections(R1, "every flow decided", |now| now.occupied + now.refused >= sent * 995 / 1_000)
                .0;
            assert!(now.occupied <= u64::from(CAPACITY), "{now:?}");
            if now.refused > 0 && full_at.is_none() {
                full_at = Some(now.occupied);
                println!("first refusals at {now:?}");
            }
        }
        let now = bench.connections(R1);
        println!("14,000 flows at capacity {CAPACITY}: {now:?}");
        let full_at = full_at.expect("more was sent than there is room for");
        assert!(full_at >= u64::from(CAPACITY) * 95 / 100, "refused from {full_at} on");
        assert_eq!(now.occupied, u64::from(CAPACITY), "all parts are full by then");
    });
}
