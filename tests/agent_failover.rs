//! Two Linux routers with kernel conntrack, NAT and an agent each: one is lost with TCP in flight, and comes back.

mod fabric;
#[path = "agent/lab.rs"]
mod lab;

use fabric::isolated_for;
use lab::{Agent, Lab, PROGRAMS, Talker};

fn kinds() -> (usize, [usize; 3]) {
    let each = if std::env::var_os("FORESHADOW_LONG").is_some() { [20, 240, 240] } else { [6, 47, 47] };
    (each.iter().sum(), each)
}

/// The state matters: the same failure without agents breaks every connection that says anything.
#[test]
fn a_lost_router_breaks_connections_without_agents() {
    isolated_for("agent", PROGRAMS, || {
        let (count, kinds) = kinds();
        let mut lab = Lab::new();
        let mut client = Talker::hold(kinds);
        lab.lose(1);
        lab.lead_through(2);
        let after = client.ask("wake");
        println!("without agents: {after}");
        assert_eq!(after["broken"], count, "{after}");
    });
}

#[test]
fn a_lost_router_breaks_nothing_with_agents_nor_does_its_return() {
    isolated_for("agent", PROGRAMS, || {
        let (count, kinds) = kinds();
        let mut lab = Lab::new();
        let first = Agent::start(1);
        let second = Agent::start(2);
        let mut client = Talker::hold(kinds);
        second.until("holds all", |report| report["peers"][0]["held"] == count);
        drop(first);
        lab.lose(1);
        let committed = second.ask(&["commit", "--owner", "1"]);
        assert_eq!((&committed["connections"], &committed["failed"]), (&count.into(), &0.into()), "{committed}");
        lab.lead_through(2);
        let after = client.ask("wake");
        println!("router 1 lost: {after}");
        assert_eq!(after["broken"], 0, "{after}");
        let opened = client.ask("open 20");
        assert_eq!(opened["broken"], 0, "{opened}");

        // It comes back empty: its state first, then its traffic, then the stand-in gives it up.
        lab.build(1);
        let first = Agent::start(1);
        let all = count + 20;
        first.until("holds all", |report| {
            report["peers"][0]["held"] == all && report["peers"][0]["held_complete"] == true
        });
        assert_eq!(first.ask(&["commit", "--owner", "2"])["connections"], all);
        lab.lead_through(1);
        second.until("knows that router 1 has them", |report| report["peers"][0]["held"] == all);
        let purged = second.ask(&["purge", "--owner", "1"]);
        assert_eq!(purged["report"]["purged"], all, "{purged}");
        let after = client.ask("wake");
        println!("router 1 back: {after}");
        assert_eq!((&after["broken"], &after["of"]), (&0.into(), &all.into()), "{after}");
        second.until("holds nothing itself", |report| report["connections"] == 0);
    });
}

/// Events that the kernel dropped are found by a dump, and what has ended meanwhile ends at the peer.
#[test]
fn lost_events_are_repaired() {
    isolated_for("agent", PROGRAMS, || {
        let _lab = Lab::new();
        let first = Agent::start_with(1, "event_buffer_bytes: 65536\n");
        let second = Agent::start(2);
        // Stopped, it cannot read: 65 kB hold some hundred events.
        first.signal("STOP");
        let mut client = Talker::hold([0, 300, 0]);
        first.signal("CONT");
        second.until("holds all", |report| report["peers"][0]["held"] == 300);
        let report = first.ask(&["status"])["report"].clone();
        assert!(report["kernel"]["overruns"].as_u64() > Some(0), "{report}");
        assert!(report["kernel"]["dumps"].as_u64() > Some(1), "{report}");
        assert_eq!(client.ask("wake")["broken"], 0);
    });
}
