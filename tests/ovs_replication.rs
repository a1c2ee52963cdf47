//! Copies of connections on real Open vSwitch: the Clos with the released program, real TCP; what shadows hold is read from
//! their tables.

mod acceptance;
mod fabric;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use acceptance::{PATIENCE, clos, count, loads, number, serve, start};
use fabric::{Controller, Fabric, Kind, Spec, Traffic, isolated_on, wait_for};
use foreshadow::southbound::openflow::pipeline::cookie;
use serde_json::json;

const KIND: Kind = Kind::OpenVSwitch;
/// Longer than any test: only packets tell shadows anything after their first snapshot.
const NEVER_MS: u64 = 3_600_000;
const CLOSING_S: u64 = 2;

/// What one switch holds in its table of connections.
#[derive(Debug, Default)]
struct Held {
    /// Its own, by addresses, ports and protocol.
    own: BTreeSet<String>,
    /// Copies, and by their key whether they are established.
    copies: BTreeMap<String, bool>,
}

fn held(fabric: &Fabric, node: &str) -> Held {
    let mut held = Held::default();
    let dump = fabric.ofctl(node, "dump-flows", &["--no-names", "table=42"]);
    for line in dump.lines().filter(|line| line.contains("actions=")) {
        let field = |name: &str| {
            let rest = line.split_once(" actions=")?.0.split_once(name)?.1;
            rest.split([',', ' ']).next().map(str::to_owned)
        };
        let cookie = field("cookie=0x").and_then(|hex| u64::from_str_radix(&hex, 16).ok()).expect("a cookie");
        let key = ["reg8=", "reg9=", "reg10=", "reg11="].map(|name| field(name).unwrap_or_default()).join(" ");
        match cookie & cookie::PURPOSE_MASK {
            cookie::CONNECTION => assert!(held.own.insert(key), "{line}"),
            cookie::COPY => {
                let established = line.contains("set_field:0x2->reg2") || line.contains("load:0x2->NXM_NX_REG2[]");
                assert_eq!(held.copies.insert(key, established), None, "{line}");
            }
            other => panic!("cookie {other:#x} among connections: {line}"),
        }
    }
    held
}

/// The Clos, with all new connections for these routers alone.
fn spec(shares: &[(&str, f64)], capacity: u32) -> Spec {
    let mut spec = clos(KIND);
    spec.set_routers("capacity_connections", capacity).set_routers("threshold_available", 1);
    spec.set_routers("closing_timeout_s", CLOSING_S).set_shares(shares);
    spec
}

fn run(spec: &Spec, interval_ms: u64) -> (Fabric, Controller, Vec<String>) {
    let (fabric, controller) = start(spec, json!({"policy": "static", "replication_interval_ms": interval_ms}));
    let shadows = wait_for("r1 to have shadows, and every switch its plan", PATIENCE, || {
        let detail = controller.rest.get("/api/v1/routers/r1")?;
        let shadows = detail["router"]["shift"]["shadows"].as_array().cloned().unwrap_or_default();
        let names: Vec<String> = shadows.iter().filter_map(|it| Some(it["router"].as_str()?.to_owned())).collect();
        if names.len() >= 2 { Ok(names) } else { Err(detail.to_string()) }
    });
    println!("shadows of r1: {shadows:?}");
    acceptance::ready(&controller);
    (fabric, controller, shadows)
}

/// The copies at each shadow are r1's connections, all established.
fn follow(fabric: &Fabric, shadows: &[String], connections: usize, patience: Duration) {
    let started = Instant::now();
    for shadow in shadows {
        wait_for(&format!("{shadow} to hold copies of {connections} connections"), patience, || {
            let (source, copy) = (held(fabric, "r1"), held(fabric, shadow));
            let keys: BTreeSet<String> = copy.copies.keys().cloned().collect();
            let right = source.own.len() == connections && keys == source.own && copy.copies.values().all(|up| *up);
            let opening = copy.copies.values().filter(|up| !**up).count();
            let figures = format!("r1 holds {}, {shadow} {}, {opening} of them opening", source.own.len(), keys.len());
            if right { Ok(()) } else { Err(figures) }
        });
    }
    println!("{connections} connections equal at r1 and {shadows:?} after {:.2} s", started.elapsed().as_secs_f64());
}

/// The port of `node` that leads to `peer` by a mirror link.
fn mirror_port(spec: &Spec, node: &str, peer: &str) -> u32 {
    let links = spec.links().into_iter().filter(|link| link.mirror);
    let mut ends = links.flat_map(|link| [(link.a.clone(), link.b.clone()), (link.b, link.a)]);
    ends.find_map(|(a, b)| (a.0 == node && b.0 == peer).then_some(a.1)).expect("a mirror link")
}

/// Frames sent out of a port since the switch started.
fn sent(fabric: &Fabric, node: &str, port: u32) -> u64 {
    let answer = fabric.ofctl(node, "dump-ports", &[&port.to_string()]);
    let packets = answer.split("tx pkts=").nth(1).and_then(|rest| rest.split(',').next());
    packets.and_then(|packets| packets.trim().parse().ok()).unwrap_or_else(|| panic!("no counter in {answer}"))
}

/// Packets alone tell shadows of openings, handshakes and ends, and few packets at that.
#[test]
fn ovs_copies_follow_their_connections() {
    isolated_on(&[KIND], || {
        let spec = spec(&[("r1", 1.0)], 200);
        let (fabric, _controller, shadows) = run(&spec, NEVER_MS);
        let port = mirror_port(&spec, "r1", &shadows[0]);
        let _servers = serve(&fabric, 1);
        let before = (sent(&fabric, "r1", port), carried(&fabric, &spec));
        let target = "198.51.100.10:7000";
        let arguments = ["hold", "--to", target, "--rate", "40", "--interval", "0.05"];
        let mut holder = Traffic::start(&fabric, "h1", &arguments);
        let opened = holder.ask("open 60 20", PATIENCE);
        assert_eq!((count(&opened, "opened"), count(&opened, "refused")), (60, 0), "{opened}");
        follow(&fabric, &shadows, 60, Duration::from_secs(5));
        std::thread::sleep(Duration::from_secs(4)); // traffic that changes nothing
        let mirrored = sent(&fabric, "r1", port) - before.0;
        let packets = carried(&fabric, &spec) - before.1;
        println!("{mirrored} frames mirrored to {} of {packets} packets of 60 connections", shadows[0]);
        // An opening, the end of the handshake, and a sample or two; LLDP beside.
        assert!((120..=60 * 6).contains(&mirrored) && packets > 5 * mirrored, "{mirrored} of {packets}");

        let checked = holder.ask("check", PATIENCE);
        assert_eq!(count(&checked, "resets") + count(&checked, "stalls"), 0, "{checked}");
        assert_eq!(count(&holder.ask("close fin 15", PATIENCE), "held"), 45);
        assert_eq!(count(&holder.ask("close rst 15", PATIENCE), "held"), 30);
        follow(&fabric, &shadows, 30, Duration::from_secs(4 * CLOSING_S));
        for shadow in &shadows {
            assert!(held(&fabric, shadow).own.is_empty(), "{shadow} carries nothing itself");
        }
    });
}

/// Packets that r1 sent towards hosts and servers.
fn carried(fabric: &Fabric, spec: &Spec) -> u64 {
    let ports = ["s1", "s2", "o1", "o2"].map(|peer| spec.port_towards("r1", peer).expect("a link"));
    ports.iter().map(|port| sent(fabric, "r1", *port)).sum()
}

/// Both routers of a pair are filled to exactly their capacity while each holds the other's copies too.
#[test]
fn ovs_copies_take_no_room() {
    isolated_on(&[KIND], || {
        let spec = spec(&[("r1", 1.0), ("r2", 1.0)], 60);
        let (fabric, controller, _) = run(&spec, 1_000);
        let _servers = serve(&fabric, 1);
        let arguments = ["hold", "--to", "198.51.100.10:7000", "--rate", "60", "--interval", "1"];
        let mut holder = Traffic::start(&fabric, "h1", &arguments);
        let opened = holder.ask("open 190 190", PATIENCE);
        assert_eq!((count(&opened, "opened"), count(&opened, "refused")), (120, 70), "{opened}");
        let figures = wait_for("each to hold 60 of its own and 60 copies", PATIENCE, || {
            let (first, second) = (held(&fabric, "r1"), held(&fabric, "r2"));
            let copies = |held: &Held| held.copies.keys().cloned().collect::<BTreeSet<String>>();
            let right = first.own.len() == 60 && second.own.len() == 60;
            let crosswise = copies(&first).is_superset(&second.own) && copies(&second).is_superset(&first.own);
            let figures = format!(
                "r1 {} and {} copies, r2 {} and {}",
                first.own.len(),
                first.copies.len(),
                second.own.len(),
                second.copies.len()
            );
            if right && crosswise { Ok(figures) } else { Err(figures) }
        });
        println!("{figures}");
        wait_for("the controller to count 60 at each", PATIENCE, || {
            let loads = loads(&controller)?;
            let occupied = |id: &str| number(&loads[id], "occupied");
            if occupied("r1") == 60.0 && occupied("r2") == 60.0 { Ok(()) } else { Err(format!("{loads:?}")) }
        });
    });
}

/// How many of r1's connections comparisons have corrected at this shadow.
fn repaired(controller: &Controller, shadow: &str) -> Result<u64, String> {
    let state = controller.rest.get("/api/v1/replication")?;
    let pair = state["pairs"].as_array().into_iter().flatten().find(|it| it["owner"] == "r1" && it["keeper"] == shadow);
    pair.map(|pair| count(pair, "repaired")).ok_or_else(|| state.to_string())
}

/// What is lost on the way, at the shadow, or left over there, is found by comparing, and repaired.
#[test]
fn ovs_lost_copies_are_repaired() {
    isolated_on(&[KIND], || {
        let spec = spec(&[("r1", 1.0)], 200);
        let (fabric, controller, shadows) = run(&spec, 1_000);
        let (shadow, _servers) = (shadows[0].as_str(), serve(&fabric, 1));
        let arguments = ["hold", "--to", "198.51.100.10:7000", "--rate", "40", "--interval", "100"];
        let mut holder = Traffic::start(&fabric, "h1", &arguments);
        holder.ask("open 40 40", PATIENCE);
        follow(&fabric, &shadows, 40, PATIENCE);

        let copies = format!("cookie={:#x}/{:#x},table=42", cookie::COPY, cookie::PURPOSE_MASK);
        fabric.ofctl(shadow, "del-flows", &[&copies]);
        wait_for("the deleted copies to be repaired", PATIENCE, || {
            let repaired = repaired(&controller, shadow)?;
            // A packet in between can have told of one or another.
            if repaired >= 30 { Ok(()) } else { Err(format!("{repaired} repaired")) }
        });
        follow(&fabric, &shadows, 40, PATIENCE);

        // Who starts anew is told everything.
        fabric.kill_switch(shadow);
        fabric.revive(shadow);
        follow(&fabric, &shadows, 40, PATIENCE);

        // Copies come to nothing here from now on.
        let port = mirror_port(&spec, shadow, "r1");
        fabric.add_flows(shadow, &format!("table=0,priority=65000,ip,in_port={port},actions=drop\n"));
        holder.ask("open 20 20", PATIENCE);
        let missing = 60 - held(&fabric, shadow).copies.len();
        follow(&fabric, &shadows, 60, PATIENCE);
        println!("{missing} copies were missing at {shadow}");
        holder.ask("close fin 30", PATIENCE);
        follow(&fabric, &shadows, 30, PATIENCE);
    });
}

/// The control: with replication off shadows learn nothing.
#[test]
fn ovs_without_replication_nothing_is_copied() {
    isolated_on(&[KIND], || {
        let spec = spec(&[("r1", 1.0)], 200);
        let (fabric, _controller, shadows) = run(&spec, 0);
        let _servers = serve(&fabric, 1);
        let arguments = ["hold", "--to", "198.51.100.10:7000", "--rate", "40", "--interval", "100"];
        let mut holder = Traffic::start(&fabric, "h1", &arguments);
        let port = mirror_port(&spec, "r1", &shadows[0]);
        let before = sent(&fabric, "r1", port);
        holder.ask("open 20 0", PATIENCE);
        holder.ask("check", PATIENCE);
        assert_eq!(held(&fabric, "r1").own.len(), 20);
        for shadow in &shadows {
            assert!(held(&fabric, shadow).copies.is_empty());
        }
        assert!(sent(&fabric, "r1", port) - before < 10, "LLDP alone");
    });
}
