//! The harness itself: a path laid by hand through the fabric carries TCP, refusals and captures are seen.

mod fabric;

use std::time::Duration;

use fabric::{Fabric, PROGRAMS, Spec, Traffic, Watch, isolated};

const GATEWAY: &str = "02:46:53:00:00:01";

/// Flows for both directions of `host` -> third stage -> `s1` -> `router` -> `o1` -> `server`.
fn lay_path(fabric: &Fabric, host: &str, router: &str, server: &str) {
    let (client, target) = (fabric.spec.host(host), fabric.spec.host(server));
    let access = client.attached.0.as_str();
    let outside = target.attached.0.as_str();
    let path = [access, "s1", router, outside];
    let port = |node: &str, peer: &str| fabric.spec.port_towards(node, peer).expect("the Clos has this link");
    for (at, node) in path.iter().enumerate() {
        let back = if at == 0 { client.attached.1 } else { port(node, path[at - 1]) };
        let on = if at == 3 { target.attached.1 } else { port(node, path[at + 1]) };
        let (back_mac, on_mac) = (client.mac.as_deref().unwrap_or(GATEWAY), target.mac.as_deref().unwrap_or(GATEWAY));
        fabric.add_flows(
            node,
            &format!(
                "ip,nw_src={0},nw_dst={1},actions=set_field:{on_mac}->eth_dst,output:{on}\n\
                 ip,nw_src={1},nw_dst={0},actions=set_field:{back_mac}->eth_dst,output:{back}\n",
                client.ip(),
                target.ip()
            ),
        );
    }
    for end in [&client, &target] {
        fabric::run(
            &mut fabric.exec(&end.id, &["ip", "neigh", "replace", &end.gateway, "lladdr", GATEWAY, "dev", "eth0"]),
        );
    }
}

#[test]
fn ovs_fabric_carries_tcp_and_udp_where_flows_say() {
    isolated(&PROGRAMS, || {
        let fabric = Fabric::start(&Spec::load("clos"));
        assert_eq!(fabric.flows("r1"), Vec::<String>::new(), "a switch without a controller must hold nothing");
        lay_path(&fabric, "h1", "r1", "w1");
        lay_path(&fabric, "h3", "r2", "w1");
        let mut watch = Watch::start(&fabric);
        let server = Traffic::start(&fabric, "w1", &["serve"]);
        let patience = Duration::from_secs(20);

        let mut holder = Traffic::start(&fabric, "h1", &["hold", "--to", "198.51.100.10:7000", "--rate", "200"]);
        let opened = holder.ask("open 50 25", patience);
        assert_eq!((opened["opened"].as_u64(), opened["refused"].as_u64()), (Some(50), Some(0)), "{opened}");
        let checked = holder.ask("check", patience);
        assert_eq!(
            (checked["resets"].as_u64(), checked["stalls"].as_u64(), checked["held"].as_u64()),
            (Some(0), Some(0), Some(50)),
            "{checked}"
        );

        let mut blaster = Traffic::start(&fabric, "h3", &["burst", "--to", "198.51.100.10:7000", "--udp"]);
        let sent = blaster.ask("go 500 4000 7000", patience);
        let seen = fabric::wait_for("every flow captured", patience, || {
            let seen = watch.seen(7000);
            if seen.total() == 550 { Ok(seen) } else { Err(format!("{seen:?} of {sent}")) }
        });
        assert_eq!(seen.by_router, [("r1".to_owned(), 50), ("r2".to_owned(), 500)].into());
        assert_eq!((seen.moved.len(), seen.resets, seen.lost), (0, 0, 0));

        // The path changes under live connections: the captures must show all of them as moved.
        fabric.ofctl("s1", "del-flows", &[]);
        lay_path(&fabric, "h1", "r3", "w1");
        holder.ask("open 1 0", patience);
        let after = holder.ask("check", patience);
        assert_eq!(after["stalls"], 0, "{after}");
        assert_eq!(watch.seen(7000).moved.len(), 50);

        // And a reset is seen both by the host and by the captures.
        let aborted = holder.ask("close rst 10", patience);
        assert_eq!(aborted["held"], 41, "{aborted}");
        fabric::wait_for("resets captured", patience, || {
            let resets = watch.seen(7000).resets;
            if resets == 10 { Ok(()) } else { Err(format!("{resets} resets")) }
        });
        holder.finish(patience);
        println!("server: {}", server.finish(patience));
    });
}

/// Established TCP sockets towards port 7000, as the host's kernel lists them.
fn kernel_count(fabric: &Fabric, host: &str) -> u64 {
    let list = fabric::run(&mut fabric.exec(host, &["ss", "-Htn", "state", "established", "dport = :7000"]));
    u64::try_from(list.lines().count()).expect("a small count")
}

#[test]
fn ovs_load_is_what_it_claims_to_be() {
    isolated(&PROGRAMS, || {
        let fabric = Fabric::start(&Spec::load("clos"));
        lay_path(&fabric, "h1", "r1", "w1");
        lay_path(&fabric, "h3", "r2", "w2");
        let mut watch = Watch::start(&fabric);
        let _servers =
            [Traffic::start(&fabric, "w1", &["serve", "--ports", "2"]), Traffic::start(&fabric, "w2", &["serve"])];
        let patience = Duration::from_secs(30);

        // Datagrams at the rate asked for, each flow once, none lost by fabric or capture.
        let mut blaster = Traffic::start(&fabric, "h3", &["burst", "--to", "203.0.113.10:7000", "--udp"]);
        let sent = blaster.ask("go 6000 2000 7000", patience);
        assert!((2.8..4.5).contains(&sent["seconds"].as_f64().expect("a number")), "{sent}");
        let seen = fabric::wait_for("every flow captured", patience, || {
            let seen = watch.seen(7000);
            if seen.total() == 6000 { Ok(seen) } else { Err(format!("{seen:?}")) }
        });
        assert_eq!((seen.by_router.get("r2"), seen.lost), (Some(&6000), 0));

        let mut opener = Traffic::start(&fabric, "h1", &["burst", "--to", "198.51.100.10:7001"]);
        let opened = opener.ask("go 400 200 7001", patience);
        assert_eq!((opened["opened"].as_u64(), opened["refused"].as_u64()), (Some(400), Some(0)), "{opened}");
        assert_eq!(watch.seen(7001).total(), 400);

        // The churner's own count is the kernel's, within what happens between the two readings.
        let mut client = Traffic::start(
            &fabric,
            "h1",
            &["churn", "--to", "198.51.100.10:7000", "--rate", "0:40,60:40", "--duration", "4", "--abort", "0.3"],
        );
        std::thread::sleep(Duration::from_secs(6)); // load, not an event
        let (told, kernel) = (client.ask("active-now", patience), kernel_count(&fabric, "h1"));
        let active = told["active"].as_u64().expect("a count");
        println!("churn: {active} by the client, {kernel} by its kernel; {told}");
        assert!(active.abs_diff(kernel) <= 4 && active > 60, "{told}, kernel {kernel}");

        // Without a path nobody answers: each attempt is one refusal.
        fabric.ofctl("r1", "del-flows", &[]);
        let opened = opener.ask("go 20 50 7001", patience);
        assert_eq!(opened["refused"], 20, "{opened}");
    });
}
