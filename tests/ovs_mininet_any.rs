//! Any Mininet topology just works: a controller that was told of no fabric, the released program, real Open vSwitch,
//! real hosts. Every test prints its figures. `FORESHADOW_LONG=1` (`make accept`) takes more of everything.

mod fabric;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fabric::{Anynet, MININET, isolated, number, skip};
use serde_json::{Value, json};

/// What an interrupted stream may miss where a group has another way, and where the controller has to find one.
const BACKUP_MS: f64 = 100.0;
const REPAIR_MS: f64 = 1_000.0;
/// Time that a stream runs before and after something is done to it.
const QUIET: Duration = Duration::from_millis(1_500);

fn long() -> bool {
    std::env::var_os("FORESHADOW_LONG").is_some()
}

/// What a Ryu user does first: `mn --test pingall`, with no pause between.
fn everyone_reaches_everyone(shape: &str) -> Anynet {
    let mut net = Anynet::start(shape);
    let pinged = net.ask("pingall", &[]);
    println!("{shape}: pingall at once: {pinged}");
    assert_eq!(pinged["dropped_percent"], 0.0, "{pinged}");
    println!("{shape}: the controller sees all of it {:.1?} later", net.await_converged());
    let again = net.ask("pingall", &[]);
    assert_eq!(again["dropped_percent"], 0.0, "{again}");
    let six = net.ask("pingall6", &[]);
    let tcp = net.ask("tcp", &[]);
    println!("{shape}: pingall again: {again}\n{shape}: IPv6: {six}\n{shape}: TCP: {tcp}");
    assert_eq!(six["received"], six["sent"]);
    assert_eq!(number(&six["sent"]), net.hosts * (net.hosts - 1));
    assert_eq!(tcp["good"], tcp["pairs"]);
    net
}

#[test]
fn ovs_mininet_single() {
    isolated(&MININET, || drop(everyone_reaches_everyone("single,8")));
}

#[test]
fn ovs_mininet_linear() {
    isolated(&MININET, || drop(everyone_reaches_everyone("linear,8")));
}

#[test]
fn ovs_mininet_tree_and_vlans() {
    isolated(&MININET, || {
        let mut net = everyone_reaches_everyone("tree,depth=3,fanout=2");
        let tagged = net.ask("vlan", &[json!(42), json!("h1"), json!("h5"), json!("h8")]);
        println!("tagged interfaces at h1, h5 and h8: {tagged}");
        if skip::require("vlan", tagged["missing"].as_str().map(|what| format!("there are no {what}"))) {
            assert_eq!(tagged["received"], tagged["sent"]);
        }
    });
}

#[test]
fn ovs_mininet_torus_and_storms() {
    isolated(&MININET, || {
        let mut net = everyone_reaches_everyone("torus,3,3");
        flooded_once(&mut net);
    });
}

#[test]
fn ovs_mininet_mesh_and_storms() {
    isolated(&MININET, || {
        // One Mininet after the other: the next finds the places as the last left them.
        for seed in if long() { 5..10 } else { 7..8 } {
            let mut net = everyone_reaches_everyone(&format!("mesh,n=10,extra=8,seed={seed}"));
            flooded_once(&mut net);
        }
    });
}

/// Frames for everyone, for a group and for a station that nobody knows, and ARP requests for nobody, on loops: each
/// comes once to each host and once over each link of a tree, and nothing comes any more afterwards.
fn flooded_once(net: &mut Anynet) {
    let frames = if long() { 200 } else { 20 };
    let wires: Vec<(String, String)> =
        serde_json::from_value(net.ask("wire_names", &[])["wires"].clone()).expect("pairs of names");
    net.ask("watch", &[]);
    let shouted = net.ask("shout", &[json!(frames)]);
    assert_eq!(shouted["status"], 0, "{shouted}");
    std::thread::sleep(Duration::from_secs(1)); // for what should not come
    let seen = net.ask("seen", &[]);
    std::thread::sleep(Duration::from_secs(2)); // a storm would go on by itself
    assert_eq!(net.ask("seen", &[]), seen, "frames still go round");

    let counts: BTreeMap<String, BTreeMap<String, usize>> = serde_json::from_value(seen).expect("counts");
    let kinds = 4;
    let switches: BTreeSet<&String> = wires.iter().flat_map(|(a, b)| [a, b]).collect();
    let hosts: Vec<_> = counts.iter().filter(|(place, _)| !switches.contains(place)).collect();
    let copies = hosts.iter().flat_map(|(_, frames)| frames.values());
    let total: usize = copies.clone().sum();
    println!(
        "{kinds} x {frames} frames from the first host: {total} copies at {} hosts; over links: {:?}",
        hosts.len(),
        counts
            .iter()
            .filter(|(p, _)| switches.contains(p))
            .map(|(p, f)| (p, f.values().sum::<usize>()))
            .collect::<Vec<_>>()
    );
    assert_eq!(hosts.len(), net.hosts - 1, "every host but the one that shouts: {:?}", counts.keys());
    assert!(copies.clone().all(|count| *count == 1), "a host saw a frame twice: {hosts:?}");
    assert_eq!(total, kinds * frames * (net.hosts - 1), "a host missed a frame: {hosts:?}");

    let mut used = 0;
    for (a, b) in &wires {
        let crossed: Vec<usize> =
            [a, b].iter().filter_map(|end| counts.get(*end)).flat_map(BTreeMap::values).copied().collect();
        used += usize::from(!crossed.is_empty());
        assert!(crossed.iter().all(|count| *count == 1), "{a}-{b}: a frame crossed twice");
        assert!(crossed.len() == kinds * frames || crossed.is_empty(), "{a}-{b}: {} frames", crossed.len());
    }
    assert_eq!(used, net.switches - 1, "links used: a tree has so many");
}

/// A stream of a datagram a millisecond from `from` to `to` while `act` happens.
fn stream(net: &mut Anynet, from: &str, to: &str, act: impl FnOnce(&mut Anynet) -> Value) -> (Value, Value) {
    net.ask("stream_start", &[json!(from), json!(to)]);
    std::thread::sleep(QUIET); // load, not an event
    let done = act(net);
    std::thread::sleep(QUIET); // load, not an event
    (net.ask("stream_stop", &[]), done)
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The stream's link out of its first switch, and whether the group there has another way.
fn first_link(net: &mut Anynet, to: &str, switch: &str) -> (String, usize) {
    let busy = net.ask("busy", &[json!(to)]);
    let links = busy["links"].as_array().expect("a list");
    let first = links.iter().find(|link| link["from"] == switch).unwrap_or_else(|| panic!("no stream in {busy}"));
    (first["port"].as_str().expect("a name").to_owned(), number(&first["ways"]))
}

#[test]
fn ovs_mininet_cut_links_heal() {
    isolated(&MININET, || {
        // In the torus of 3 x 3 every switch has two ways to what is two hops away, or one and a loop-free alternate.
        let mut net = Anynet::start("torus,3,3");
        net.await_converged();
        assert_eq!(net.ask("pingall", &[])["dropped_percent"], 0.0);
        for (what, from, to, switch) in [("two ways", "h1x1", "h2x2", "s1x1"), ("an alternate", "h1x1", "h1x2", "s1x1")]
        {
            let mut ways = 0;
            let mut port = String::new();
            let (told, _) = stream(&mut net, from, to, |net| {
                (port, ways) = first_link(net, to, switch);
                net.ask("link", &[json!(port), json!("down")])
            });
            println!("torus, {what} ({ways}): {port} cut: {told}");
            assert!(ways > 1, "this link has another way");
            assert!(float(&told["gap_ms"]) <= BACKUP_MS && float(&told["lost"]) <= BACKUP_MS, "{told}");
            let (told, _) = stream(&mut net, from, to, |net| net.ask("link", &[json!(port), json!("up")]));
            println!("torus, {what}: {port} back: {told}");
            assert!(float(&told["gap_ms"]) <= BACKUP_MS, "{told}");
            assert_eq!(told["twice"], 0);
            net.await_converged();
        }
        assert_eq!(net.ask("pingall", &[])["dropped_percent"], 0.0);
    });
}

#[test]
fn ovs_mininet_cut_ring_heals() {
    isolated(&MININET, || {
        // On a ring of five nobody has a loop-free alternate for what is next to it.
        let mut net = Anynet::start("ring,5");
        net.await_converged();
        assert_eq!(net.ask("pingall", &[])["dropped_percent"], 0.0);
        let mut port = String::new();
        let (told, _) = stream(&mut net, "h1", "h2", |net| {
            let (first, ways) = first_link(net, "h2", "s1");
            assert_eq!(ways, 1, "a ring has no alternate here");
            port = first;
            net.ask("link", &[json!(port), json!("down")])
        });
        println!("ring: {port} cut, no other way in the group: {told}");
        assert!(float(&told["gap_ms"]) <= REPAIR_MS && float(&told["lost"]) <= REPAIR_MS, "{told}");
        assert_eq!(net.ask("pingall", &[])["dropped_percent"], 0.0);
        let (told, _) = stream(&mut net, "h1", "h2", |net| net.ask("link", &[json!(port), json!("up")]));
        println!("ring: {port} back: {told}");
        assert!(float(&told["gap_ms"]) <= REPAIR_MS, "{told}");
        net.await_converged();
        flooded_once(&mut net);
    });
}

#[test]
fn ovs_mininet_moved_host_is_found_again() {
    isolated(&MININET, || {
        let mut net = Anynet::start("linear,4");
        net.await_converged();
        assert_eq!(net.ask("pingall", &[])["dropped_percent"], 0.0);
        let (told, moved) = stream(&mut net, "h1", "h4", |net| {
            let moved = net.ask("move", &[json!("h4"), json!("s2")]);
            std::thread::sleep(Duration::from_secs(3)); // the stream goes on
            moved
        });
        let gone_ms = float(&told["gap_ms"]);
        let found_ms = 1_000.0 * (float(&told["at"]) - float(&moved["at"])) + gone_ms;
        println!(
            "h4 moved from s4 to s2: out of reach for {gone_ms} ms, found {found_ms:.0} ms after it was plugged in: {told}"
        );
        assert!(found_ms <= 3_000.0, "{told}, moved {moved}");
        assert_eq!(told["twice"], 0);
        assert_eq!(net.ask("pingall", &[])["dropped_percent"], 0.0);
    });
}

#[test]
fn ovs_mininet_killed_controller_loses_nothing() {
    isolated(&MININET, || {
        let mut net = Anynet::start("torus,3,3");
        net.await_converged();
        for _ in 0..2 {
            assert_eq!(net.ask("pingall", &[])["dropped_percent"], 0.0);
            net.await_converged();
        }
        let before = net.ask("entries", &[]);
        let planned = Instant::now();
        let (told, _) = stream(&mut net, "h1x1", "h2x3", |net| {
            net.controller.kill();
            std::thread::sleep(Duration::from_secs(2)); // without a controller
            let alone = net.ask("tcp", &[]);
            println!("TCP while no controller runs: {alone}");
            assert_eq!(alone["good"], alone["pairs"], "established neighbours need no controller");
            net.controller.restart();
            println!("restarted, converged {:.1?} later", net.await_converged());
            json!({})
        });
        println!("stream across kill and restart: {told}");
        assert_eq!((&told["lost"], &told["twice"], &told["reordered"]), (&json!(0), &json!(0), &json!(0)), "{told}");
        let (after, since) = (net.ask("entries", &[]), planned.elapsed().as_secs_f64());
        println!("entries before {before}, after {after}, {since:.1} s later");
        assert_eq!((&after["flows"], &after["groups"]), (&before["flows"], &before["groups"]));
        let keys =
            ["flows_added", "flows_modified", "flows_deleted", "groups_added", "groups_modified", "groups_deleted"];
        let sent = keys.map(|key| (key, net.installs(key)));
        println!("sent again: {sent:?}");
        assert_eq!(sent, keys.map(|key| (key, 0)), "what is right is left alone");
    });
}

/// Fifty switches lose everything at once, and later only their controller.
#[test]
fn ovs_mininet_fifty_switches_restart_at_once() {
    isolated(&MININET, || {
        let mut net = Anynet::start("mesh,n=50,extra=20,seed=3");
        println!("50 switches seen and planned {:.1?} after Mininet's start", net.await_converged());
        let pinged = net.ask("pingall6", &[]);
        println!("{pinged}");
        assert_eq!(pinged["received"], pinged["sent"]);
        for killed in [true, false] {
            let before = net.await_quiet();
            let what = if killed {
                net.ask("kill_switches", &[]);
                net.ask("start_switches", &[]);
                "all switches killed and started"
            } else {
                // Nobody listens there. Without any controller Open vSwitch would throw its entries away.
                net.ask("controllers", &[json!("tcp:127.0.0.1:1")]);
                net.await_alone();
                net.ask("controllers", &[json!("tcp:127.0.0.1:6653")]);
                "every session ended and begun"
            };
            let took = net.await_converged();
            let entries = net.await_quiet();
            let sent = net.installs("flows_added") + net.installs("groups_added");
            let touched: u64 = ["flows_modified", "flows_deleted", "groups_modified", "groups_deleted"]
                .map(|key| net.installs(key))
                .iter()
                .sum();
            println!(
                "{what}: converged after {took:.1?}; {sent} entries added, {touched} changed, {entries} held ({before} before)"
            );
            if killed {
                assert_eq!((sent, touched), (entries, 0), "everything once");
            } else {
                assert_eq!((sent, touched, entries), (0, 0, before));
            }
        }
        assert_eq!(net.ask("pingall6", &[])["received"], pinged["sent"]);
    });
}
