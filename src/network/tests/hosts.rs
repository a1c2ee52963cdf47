//! Whom ARP is answered for, who is believed, and how much is kept.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{clos, clos_text, index, read};
use crate::network::hosts::{Hosts, Outcome};
use crate::types::{MacAddr, NodeIndex, PortNo, Timestamp};
use crate::wire::arp::{Arp, Operation};

const NOW: Timestamp = Timestamp::from_secs(1_000);
const H1: MacAddr = MacAddr([0, 0, 0x0a, 1, 1, 1]);

fn ask(hosts: &mut Hosts, node: NodeIndex, port: u32, mac: MacAddr, sender: &str, target: &str) -> Outcome {
    let frame = Arp::request(mac, sender.parse().unwrap(), target.parse().unwrap()).encode();
    hosts.packet_in(node, PortNo(port), &frame, NOW)
}

#[test]
fn who_is_answered_for() {
    let topology = clos();
    let mut hosts = Hosts::new(&topology);
    let t1 = index(&topology, "t1");
    for (target, answered, why) in [
        ("10.1.1.254", true, "the gateway"),
        ("10.1.2.254", false, "a gateway of another switch, on whose wire it is not"),
        ("10.1.1.2", true, "a known host behind another port"),
        ("10.1.3.1", true, "a known host behind another switch"),
        ("10.1.1.77", false, "an unknown host of the asker's own subnet may answer itself"),
        ("10.1.2.77", false, "an unknown host of another subnet"),
        ("198.51.100.10", true, "a known server"),
        ("198.51.100.77", false, "an unknown server's neighbour"),
        ("8.8.8.8", true, "a destination of a service"),
        ("10.1.1.1", false, "gratuitous: it speaks of itself"),
    ] {
        let outcome = ask(&mut hosts, t1, 10, H1, "10.1.1.1", target);
        assert_eq!(outcome.reply.is_some(), answered, "{target}: {why}");
        if let Some(reply) = outcome.reply {
            let reply = Arp::decode(&reply).unwrap();
            assert_eq!(
                (reply.operation, reply.sender_mac, reply.sender),
                (Operation::Reply, MacAddr::GATEWAY, target.parse().unwrap())
            );
            assert_eq!((reply.target_mac, reply.target), (H1, Ipv4Addr::new(10, 1, 1, 1)));
        }
    }
    let probe = ask(&mut hosts, t1, 10, H1, "0.0.0.0", "10.1.1.254");
    assert_eq!(probe, Outcome::default(), "a probe asks whether an address is free, and must not be answered");
    assert_eq!(hosts.packet_in(t1, PortNo(10), b"not ARP", NOW), Outcome::default());
}

#[test]
fn a_declared_host_without_mac_and_port_is_asked_for_and_learned() {
    let text = clos_text().replace(
        "mac: \"00:00:0a:01:01:01\", gateway: 10.1.1.254, attach: \"t1:10\"",
        "gateway: 10.1.1.254, attach: t1",
    );
    let topology = read(&text);
    let t1 = index(&topology, "t1");
    let mut hosts = Hosts::new(&topology);
    assert_eq!(hosts.attached(t1).len(), 1);
    assert_eq!(hosts.poll(&BTreeMap::new(), NOW).0, [], "its switch is not there");
    let ports = BTreeMap::from([(t1, vec![PortNo(10), PortNo(12)])]);
    let (requests, _) = hosts.poll(&ports, NOW);
    assert_eq!(requests.iter().map(|request| request.port.0).collect::<Vec<_>>(), [10, 12]);
    let asked = Arp::decode(&requests[0].frame).unwrap();
    assert_eq!((asked.sender, asked.target), (Ipv4Addr::new(10, 1, 1, 254), Ipv4Addr::new(10, 1, 1, 1)));
    assert_eq!(hosts.poll(&ports, NOW + Duration::from_millis(500)).0.len(), 0, "not again at once");
    assert_eq!(hosts.poll(&ports, NOW + Duration::from_secs(2)).0.len(), 2);
    let outcome = hosts.packet_in(t1, PortNo(12), &asked.answer(H1).encode(), NOW);
    assert_eq!(outcome, Outcome { changed: true, reply: None });
    assert!(hosts.attached(t1).iter().any(|host| host.mac == H1 && host.port == PortNo(12)));
    assert!(!hosts.packet_in(t1, PortNo(12), &asked.answer(H1).encode(), NOW).changed, "nothing new");
    assert_eq!(hosts.poll(&ports, NOW + Duration::from_secs(9)).0.len(), 0, "it is known");
}

#[test]
fn nobody_takes_over_a_declared_address() {
    let topology = clos();
    let [t1, t2] = ["t1", "t2"].map(|name| index(&topology, name));
    let mut hosts = Hosts::new(&topology);
    let before: Vec<_> = hosts.iter().cloned().collect();
    let thief = MacAddr([0, 0, 0, 0, 0, 0x66]);
    for (node, port, sender, what) in [
        (t1, 11, "10.1.1.1", "another port and MAC address"),
        (t2, 10, "10.1.1.1", "another switch"),
        (t1, 10, "10.1.1.1", "the right port, another MAC address"),
        (t1, 12, "10.1.1.254", "the gateway"),
        (t1, 12, "10.9.9.9", "no subnet of the switch"),
        (t1, 12, "198.51.100.10", "a server, inside"),
    ] {
        assert!(!ask(&mut hosts, node, port, thief, sender, "10.1.1.254").changed, "{what}");
    }
    assert_eq!(hosts.iter().cloned().collect::<Vec<_>>(), before);
    assert_eq!(hosts.differences().count(), 6);
}

#[test]
fn hosts_of_a_subnet_are_learned_within_bounds() {
    let text = clos_text().replace("address: 10.1.1.1/24", "address: 10.1.1.1/16");
    let topology = read(&text);
    let t1 = index(&topology, "t1");
    let mut hosts = Hosts::new(&topology);
    let declared = hosts.iter().count();
    for number in 0..10_000_u32 {
        let address = Ipv4Addr::from(0x0a01_8000 + number);
        let mac = MacAddr::from_u64(0x0a_0000_0000 + u64::from(number));
        let frame = Arp::request(mac, address, Ipv4Addr::new(10, 1, 1, 254)).encode();
        let now = NOW + Duration::from_millis(u64::from(number));
        assert!(hosts.packet_in(t1, PortNo(12), &frame, now).changed);
    }
    assert_eq!(hosts.iter().count(), declared + 4_096);
    assert!(hosts.iter().any(|host| host.address == Ipv4Addr::from(0x0a01_8000 + 9_999)), "the newest is there");
    assert!(!hosts.iter().any(|host| host.address == Ipv4Addr::from(0x0a01_8000)), "the oldest is not");
    let (_, forgotten) = hosts.poll(&BTreeMap::new(), NOW + Duration::from_secs(3_700));
    assert!(forgotten);
    assert_eq!(hosts.iter().count(), declared);
}

#[test]
fn a_learned_host_may_move() {
    let topology = clos();
    let t1 = index(&topology, "t1");
    let mut hosts = Hosts::new(&topology);
    let mac = MacAddr([0, 0, 0, 0, 0, 7]);
    for (port, changed) in [(12, true), (12, false), (13, true)] {
        assert_eq!(ask(&mut hosts, t1, port, mac, "10.1.1.7", "10.1.1.254").changed, changed);
    }
    assert_eq!(hosts.attached(t1).iter().find(|host| host.mac == mac).unwrap().port, PortNo(13));
}
