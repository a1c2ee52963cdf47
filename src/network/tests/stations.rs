//! Stations of bridges: learned, answered for, moved, asked, forgotten.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use crate::network::bridge::stations::{ADDRESSES_MAX, AGE, FLAP_HOLD, FLAPS_MAX, PLACE_STATIONS_MAX};
use crate::network::bridge::{Outcome, Reaction, Stations};
use crate::plan::{Place, Station};
use crate::types::{MacAddr, NodeIndex, PortNo, Timestamp};
use crate::wire::arp::{self, Arp, Operation};
use crate::wire::dhcp::{Dhcp, Kind};
use crate::wire::ethernet::{self, Header, Tag};
use crate::wire::ndp::{self, Message, Neighbour};

const START: Timestamp = Timestamp::from_secs(1_000);
const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
const C: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xc]);
const TAG: Tag = Tag { kind: 0x8100, control: 0x6064 };

fn place(node: u16, port: u32) -> Place {
    Place { node: NodeIndex(node), port: PortNo(port) }
}

fn untagged(mac: MacAddr) -> Station {
    Station { vlan: None, mac }
}

fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn frame(source: MacAddr, destination: MacAddr, tag: Option<Tag>, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    Header { destination, source, tag, ethertype }.encode(payload)
}

fn arp_frame(arp: Arp, tag: Option<Tag>) -> Vec<u8> {
    let destination = if arp.operation == Operation::Request { MacAddr::BROADCAST } else { arp.target_mac };
    frame(arp.sender_mac, destination, tag, arp::ETHERTYPE, &arp.encode_payload())
}

fn request(mac: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp_frame(Arp::request(mac, sender, target), None)
}

fn packet(source: MacAddr, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(from.octets(), to.octets(), 64).udp(1, 2).write(&mut bytes, b"x").unwrap();
    frame(source, B, None, ethernet::IPV4, &bytes)
}

fn solicitation(mac: MacAddr, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let destination = ndp::solicited_node(target);
    let link_layer = (!source.is_unspecified()).then_some(mac);
    let asked = Neighbour { source, destination, target, message: Message::Solicitation, link_layer };
    frame(mac, ndp::group_mac(destination), None, ethernet::IPV6, &asked.encode())
}

fn advertisement(mac: MacAddr, target: Ipv6Addr, router: bool) -> Vec<u8> {
    let message = Message::Advertisement { router, solicited: true, overrides: true };
    let told = Neighbour { source: target, destination: v6("fe80::99"), target, message, link_layer: Some(mac) };
    frame(mac, B, None, ethernet::IPV6, &told.encode())
}

fn the_reaction(outcome: Outcome) -> Reaction {
    let [reaction] = outcome.reactions.try_into().expect("exactly one reaction");
    reaction
}

fn flooded(from: Place, frame: &[u8]) -> Vec<Reaction> {
    vec![Reaction::Flood { from, frame: frame.to_vec() }]
}

fn sent(reaction: Reaction) -> (Place, Vec<u8>) {
    match reaction {
        Reaction::Send { place, frame } => (place, frame),
        Reaction::Flood { .. } => panic!("flooded"),
    }
}

#[test]
fn only_single_interfaces_are_learned() {
    let mut stations = Stations::new();
    let own = MacAddr::of_node(NodeIndex(3));
    for mac in [MacAddr::BROADCAST, MacAddr([0; 6]), MacAddr([1, 0, 0, 0, 0, 1]), own, MacAddr::GATEWAY] {
        let outcome = stations.packet_in(place(1, 1), &request(mac, v4(1), v4(2)), START);
        assert_eq!(outcome, Outcome::default(), "{mac}: not even flooded");
    }
    assert!(stations.is_empty());
    assert_eq!(stations.packet_in(place(1, 1), b"short", START), Outcome::default());
    assert_eq!(stations.malformed(), 4);
    let outcome = stations.packet_in(place(1, 1), &frame(A, B, None, 0x88b5, b"anything"), START);
    assert_eq!(outcome, Outcome { changed: true, ..Outcome::default() });
    let tagged = frame(A, B, Some(TAG), 0x88b5, b"anything");
    assert!(stations.packet_in(place(1, 1), &tagged, START).changed, "another VLAN, another station");
    assert!(!stations.packet_in(place(1, 1), &tagged, START).changed);
    let known: Vec<Station> = stations.iter().map(|known| known.station).collect();
    assert_eq!(known, [untagged(A), Station { vlan: Some(100), mac: A }]);
}

#[test]
fn who_is_answered_for_by_arp() {
    let mut stations = Stations::new();
    let asked = request(A, v4(1), v4(2));
    let outcome = stations.packet_in(place(1, 1), &asked, START);
    assert!(outcome.changed && outcome.addresses);
    assert_eq!(outcome.reactions, flooded(place(1, 1), &asked), "nobody is known to have it");
    let reply = arp_frame(Arp::request(A, v4(1), v4(2)).answer(B), None);
    let outcome = stations.packet_in(place(2, 7), &reply, START);
    assert!(outcome.changed && outcome.addresses && outcome.reactions.is_empty(), "the switch passed it on");
    let (to, answer) = sent(the_reaction(stations.packet_in(place(1, 1), &asked, START)));
    assert_eq!((to, &answer), (place(1, 1), &reply), "just as the station would answer");
    // In another VLAN the same addresses are others.
    let tagged = arp_frame(Arp::request(A, v4(1), v4(2)), Some(TAG));
    assert_eq!(stations.packet_in(place(1, 1), &tagged, START).reactions, flooded(place(1, 1), &tagged));
    stations.packet_in(place(2, 7), &arp_frame(Arp::request(A, v4(1), v4(2)).answer(B), Some(TAG)), START);
    let (_, answer) = sent(the_reaction(stations.packet_in(place(1, 1), &tagged, START)));
    assert_eq!(answer, arp_frame(Arp::request(A, v4(1), v4(2)).answer(B), Some(TAG)), "tag and priority are kept");
    // Asked for directly, the station answers by itself.
    let direct = frame(A, B, None, arp::ETHERTYPE, &Arp::request(A, v4(1), v4(2)).encode_payload());
    assert_eq!(stations.packet_in(place(1, 1), &direct, START), Outcome::default());
}

#[test]
fn announcements_are_flooded_and_probes_are_defended_against() {
    let mut stations = Stations::new();
    let announced = request(A, v4(1), v4(1));
    let outcome = stations.packet_in(place(1, 1), &announced, START);
    assert_eq!(outcome.reactions, flooded(place(1, 1), &announced));
    assert_eq!(stations.packet_in(place(1, 1), &announced, START).reactions, [], "handed up by two tables");
    let outcome = stations.packet_in(place(1, 1), &announced, START + Duration::from_millis(51));
    assert_eq!(outcome.reactions, flooded(place(1, 1), &announced), "known, but it is for everyone's caches");
    let own_probe = request(A, Ipv4Addr::UNSPECIFIED, v4(1));
    assert_eq!(stations.packet_in(place(1, 1), &own_probe, START).reactions, flooded(place(1, 1), &own_probe));
    let free = request(B, Ipv4Addr::UNSPECIFIED, v4(9));
    let outcome = stations.packet_in(place(1, 2), &free, START);
    assert_eq!(outcome.reactions, flooded(place(1, 2), &free));
    assert!(stations.get(untagged(B)).unwrap().ipv4.is_empty(), "a probe claims nothing");
    let taken = request(B, Ipv4Addr::UNSPECIFIED, v4(1));
    let (to, answer) = sent(the_reaction(stations.packet_in(place(1, 2), &taken, START)));
    let answer = Arp::decode(&answer).unwrap();
    assert_eq!((to, answer.sender_mac, answer.sender, answer.target), (place(1, 2), A, v4(1), Ipv4Addr::UNSPECIFIED));
    // Whether the holder is still there is found out at once.
    let (questions, _) = stations.poll(START);
    assert_eq!(questions.len(), 1);
    for seconds in [2, 4, 6] {
        stations.poll(START + Duration::from_secs(seconds));
    }
    assert_eq!(stations.get(untagged(A)), None, "it was silent");
    assert_eq!(stations.packet_in(place(1, 2), &taken, START).reactions, flooded(place(1, 2), &taken));
}

#[test]
fn passing_packets_claim_nothing_from_anyone() {
    let mut stations = Stations::new();
    stations.packet_in(place(1, 1), &request(A, v4(1), v4(1)), START);
    // C routes a packet of A's.
    assert!(!stations.packet_in(place(1, 3), &packet(C, v4(1), v4(8)), START).addresses);
    assert!(stations.packet_in(place(1, 3), &packet(C, v4(7), v4(8)), START).addresses, "shown, as nobody else has it");
    let asked = request(B, v4(2), v4(7));
    assert_eq!(stations.packet_in(place(1, 2), &asked, START).reactions, flooded(place(1, 2), &asked), "not answered");
    stations.packet_in(place(1, 4), &request(B, v4(7), v4(7)), START);
    assert!(stations.get(untagged(C)).unwrap().ipv4.is_empty(), "who claims it has it");
    let last = ADDRESSES_MAX as u8 + 20;
    (20..=last).for_each(|at| {
        stations.packet_in(place(1, 3), &request(C, v4(at), v4(at)), START);
    });
    let ipv4: Vec<Ipv4Addr> = stations.get(untagged(C)).unwrap().ipv4.iter().copied().collect();
    assert_eq!(ipv4, (21..=last).map(v4).collect::<Vec<_>>(), "the latest few");
}

#[test]
fn a_lease_is_believed_of_a_server_and_of_a_known_station() {
    let mut stations = Stations::new();
    let lease = |client: MacAddr, kind, from_server| {
        let dhcp = Dhcp {
            from_server,
            transaction: 1,
            client_now: if from_server { Ipv4Addr::UNSPECIFIED } else { v4(50) },
            client_next: v4(50),
            relay: Ipv4Addr::UNSPECIFIED,
            client_mac: client,
            kind,
        };
        let (from, to) = if from_server { (67, 68) } else { (68, 67) };
        let mut bytes = Vec::new();
        let source = if from_server { v4(254) } else { Ipv4Addr::UNSPECIFIED };
        PacketBuilder::ipv4(source.octets(), [255; 4], 64).udp(from, to).write(&mut bytes, &dhcp.encode()).unwrap();
        let speaker = if from_server { C } else { client };
        frame(speaker, MacAddr::BROADCAST, None, ethernet::IPV4, &bytes)
    };
    stations.packet_in(place(1, 3), &lease(A, Kind::Ack, true), START);
    assert_eq!(stations.get(untagged(A)), None, "a lease does not make a station");
    stations.packet_in(place(1, 1), &lease(A, Kind::Request, false), START);
    assert!(stations.get(untagged(A)).unwrap().ipv4.is_empty(), "asking is not having");
    stations.packet_in(place(1, 1), &lease(A, Kind::Ack, false), START);
    assert!(stations.get(untagged(A)).unwrap().ipv4.is_empty(), "not a server");
    let outcome = stations.packet_in(place(1, 3), &lease(A, Kind::Ack, true), START);
    assert_eq!((outcome.addresses, outcome.reactions), (true, Vec::new()));
    let (_, answer) = sent(the_reaction(stations.packet_in(place(1, 2), &request(B, v4(2), v4(50)), START)));
    assert_eq!(Arp::decode(&answer).unwrap().sender_mac, A);
    assert!(stations.packet_in(place(1, 1), &lease(A, Kind::Release, false), START).addresses);
    assert!(stations.get(untagged(A)).unwrap().ipv4.is_empty(), "given back");
}

#[test]
fn who_is_answered_for_by_neighbour_discovery() {
    let mut stations = Stations::new();
    let (one, two) = (v6("2001:db8::1"), v6("2001:db8::2"));
    let asked = solicitation(A, one, two);
    assert_eq!(stations.packet_in(place(1, 1), &asked, START).reactions, flooded(place(1, 1), &asked));
    assert!(stations.packet_in(place(2, 7), &advertisement(B, two, false), START).addresses);
    let (to, answer) = sent(the_reaction(stations.packet_in(place(1, 1), &asked, START)));
    let (header, payload) = Header::decode(&answer).unwrap();
    assert_eq!((to, header.destination, header.source), (place(1, 1), A, B));
    let message = Message::Advertisement { router: false, solicited: true, overrides: false };
    let told = Neighbour { source: two, destination: one, target: two, message, link_layer: Some(B) };
    assert_eq!(Neighbour::decode(payload), Some(told));
    // Asked for directly, it answers by itself.
    let asked =
        Neighbour { source: one, destination: two, target: two, message: Message::Solicitation, link_layer: None };
    let direct = frame(A, B, None, ethernet::IPV6, &asked.encode());
    assert!(stations.packet_in(place(1, 1), &direct, START).reactions.is_empty());
}

#[test]
fn duplicate_addresses_are_told_to_everyone() {
    let mut stations = Stations::new();
    let address = v6("2001:db8::2");
    let free = solicitation(A, Ipv6Addr::UNSPECIFIED, address);
    assert_eq!(stations.packet_in(place(1, 1), &free, START).reactions, flooded(place(1, 1), &free));
    assert!(stations.get(untagged(A)).unwrap().ipv6.is_empty());
    stations.packet_in(place(2, 7), &advertisement(B, address, false), START);
    let (to, answer) = sent(the_reaction(stations.packet_in(place(1, 1), &free, START)));
    let (header, payload) = Header::decode(&answer).unwrap();
    let message = Message::Advertisement { router: false, solicited: false, overrides: false };
    let told =
        Neighbour { source: address, destination: ndp::ALL_NODES, target: address, message, link_layer: Some(B) };
    assert_eq!((to, header.destination), (place(1, 1), MacAddr([0x33, 0x33, 0, 0, 0, 1])));
    assert_eq!(Neighbour::decode(payload), Some(told));
    let own = solicitation(B, Ipv6Addr::UNSPECIFIED, address);
    assert_eq!(stations.packet_in(place(2, 7), &own, START).reactions, flooded(place(2, 7), &own));
}

#[test]
fn a_link_local_address_that_may_be_a_routers_is_answered_for_by_itself() {
    let mut stations = Stations::new();
    let (one, router) = (v6("fe80::1"), v6("fe80::fe"));
    // Its own question tells its address, but not whether it is a router.
    stations.packet_in(place(2, 7), &solicitation(B, router, one), START);
    let asked = solicitation(A, one, router);
    let (to, passed_on) = sent(the_reaction(stations.packet_in(place(1, 1), &asked, START)));
    assert_eq!((to, &passed_on), (place(2, 7), &asked), "to the one who knows, and to nobody else");
    stations.packet_in(place(2, 7), &advertisement(B, router, true), START);
    let (to, answer) = sent(the_reaction(stations.packet_in(place(1, 1), &asked, START)));
    let told = Neighbour::decode(Header::decode(&answer).unwrap().1).unwrap();
    assert_eq!(to, place(1, 1));
    assert_eq!(told.message, Message::Advertisement { router: true, solicited: true, overrides: false });
}

#[test]
fn a_station_moves_at_once_and_keeps_its_addresses() {
    let mut stations = Stations::new();
    stations.packet_in(place(1, 1), &request(A, v4(1), v4(1)), START);
    let outcome = stations.packet_in(place(2, 2), &frame(A, B, None, 0x88b5, b"x"), START);
    assert_eq!((outcome.changed, outcome.moved), (true, Some((untagged(A), place(1, 1), place(2, 2)))));
    let known = stations.get(untagged(A)).unwrap();
    assert_eq!((known.place, known.ipv4.contains(&v4(1))), (place(2, 2), true));
    assert_eq!(stations.nodes().into_iter().collect::<Vec<_>>(), [NodeIndex(2)]);
    assert!(!stations.port_lost(place(1, 1)), "nobody is there any more");
    assert!(stations.port_lost(place(2, 2)));
    assert!(stations.is_empty() && stations.places().is_empty() && stations.next_deadline().is_none());
}

#[test]
fn a_station_that_flaps_is_told_of_and_held() {
    let mut stations = Stations::new();
    stations.name_node(NodeIndex(1), "s1");
    let any = frame(A, B, None, 0x88b5, b"x");
    let mut moves = 0;
    for at in 0..40_u64 {
        let now = START + Duration::from_millis(at * 10);
        moves += usize::from(stations.packet_in(place(1, 1 + (at % 2) as u32), &any, now).moved.is_some());
    }
    assert_eq!(moves, usize::from(FLAPS_MAX) + 1);
    let told: Vec<&str> = stations.differences().collect();
    assert_eq!(told, ["station 02:00:00:00:00:0a flaps between s1:2 and s1:1: two with one address?"]);
    let later = START + FLAP_HOLD + Duration::from_secs(1);
    assert!(stations.packet_in(place(1, 2), &any, later).moved.is_some());
    stations.poll(later + Duration::from_secs(301));
    assert_eq!(stations.differences().count(), 0, "complaints age");
}

#[test]
fn an_address_that_is_claimed_back_is_claimed_by_two() {
    let mut stations = Stations::new();
    for (at, mac) in [A, B, A].into_iter().enumerate() {
        assert_eq!(stations.differences().count(), 0);
        stations.packet_in(place(1, at as u32), &request(mac, v4(1), v4(1)), START + Duration::from_secs(at as u64));
    }
    let told: Vec<&str> = stations.differences().collect();
    assert_eq!(told, ["10.0.0.1 is claimed by both 02:00:00:00:00:0a and 02:00:00:00:00:0b"]);
    let holders: Vec<_> = stations.iter().filter(|known| known.ipv4.contains(&v4(1))).collect();
    assert_eq!(holders.len(), 1);
}

#[test]
fn the_silent_are_asked_and_forgotten() {
    let mut stations = Stations::new();
    stations.packet_in(place(1, 1), &request(A, v4(1), v4(1)), START);
    stations.packet_in(place(1, 2), &solicitation(B, v6("fe80::2"), v6("fe80::9")), START);
    stations.packet_in(place(1, 3), &frame(C, B, Some(TAG), 0x88b5, b"x"), START);
    assert_eq!(stations.next_deadline(), Some(START + AGE));
    assert_eq!(stations.poll(START + (AGE - Duration::from_secs(1))), (Vec::new(), false));
    let (questions, forgotten) = stations.poll(START + AGE);
    assert!(forgotten, "C has no address by which it could be asked");
    let questions: Vec<(Place, Vec<u8>)> = questions.into_iter().map(sent).collect();
    let (header, payload) = Header::decode(&questions[0].1).unwrap();
    assert_eq!((questions[0].0, header.destination, header.source), (place(1, 1), A, MacAddr::GATEWAY));
    let arp = Arp::decode_payload(payload).unwrap();
    assert!(arp.is_probe() && arp.target == v4(1), "no address of the controller's gets into caches");
    let asked = Neighbour::decode(Header::decode(&questions[1].1).unwrap().1).unwrap();
    assert_eq!((questions[1].0, asked.target, asked.link_layer), (place(1, 2), v6("fe80::2"), Some(MacAddr::GATEWAY)));
    // A answers, B does not.
    let mut now = START + AGE + Duration::from_secs(1);
    assert_eq!(stations.packet_in(place(1, 1), &arp_frame(arp.answer(A), None), now), Outcome::default());
    for _ in 0..2 {
        now = now + Duration::from_secs(2);
        assert_eq!(stations.poll(now).0.len(), 1);
    }
    now = now + Duration::from_secs(2);
    assert_eq!(stations.poll(now), (Vec::new(), true));
    assert_eq!(stations.iter().map(|known| known.station).collect::<Vec<_>>(), [untagged(A)]);
    assert_eq!(stations.next_deadline(), Some(START + AGE + Duration::from_secs(1) + AGE));
    // Where there is no session nobody is forgotten.
    stations.node_silent(NodeIndex(1), true);
    assert_eq!(stations.poll(now + AGE * 5), (Vec::new(), false));
    stations.node_silent(NodeIndex(1), false);
    assert_eq!(stations.poll(now + AGE * 6).0.len(), 1);
}

#[test]
fn what_a_switch_was_found_to_hold_is_believed_of_strangers() {
    let mut stations = Stations::new();
    stations.packet_in(place(1, 1), &request(A, v4(1), v4(1)), START);
    let found = [(untagged(A), PortNo(9)), (untagged(B), PortNo(2)), (untagged(MacAddr::BROADCAST), PortNo(2))];
    assert!(stations.adopt(NodeIndex(2), &found, START));
    assert!(!stations.adopt(NodeIndex(2), &found, START));
    let places: BTreeMap<Station, Place> = [(untagged(A), place(1, 1)), (untagged(B), place(2, 2))].into();
    assert_eq!(*stations.places(), places);
}

#[test]
fn one_port_does_not_crowd_out_the_others() {
    let mut stations = Stations::new();
    for at in 0..PLACE_STATIONS_MAX + 10 {
        let mac = MacAddr::from_u64(0x0a00_0000_0000 + at as u64);
        stations.packet_in(place(1, 1), &frame(mac, B, None, 0x88b5, b"x"), START);
    }
    assert_eq!(stations.len(), PLACE_STATIONS_MAX);
    let asked = request(A, v4(1), v4(2));
    let outcome = stations.packet_in(place(1, 1), &asked, START);
    assert_eq!(
        (outcome.changed, outcome.reactions),
        (false, flooded(place(1, 1), &asked)),
        "unknown, and still served"
    );
    assert!(stations.packet_in(place(1, 2), &asked, START).changed);
    assert_eq!(stations.differences().count(), 1);
}

/// Frames of a small world, so that stations, addresses and places meet often.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let mac = || (0_u8..4).prop_map(|last| MacAddr([2, 0, 0, 0, 0, last]));
    let address = || (0_u8..4).prop_map(v4);
    let six =
        || (0_u16..4).prop_map(|last| Ipv6Addr::new(if last < 2 { 0xfe80 } else { 0x2001 }, 0, 0, 0, 0, 0, 0, last));
    prop_oneof![
        (mac(), address(), address()).prop_map(|(mac, sender, target)| request(mac, sender, target)),
        (mac(), mac(), address(), address())
            .prop_map(|(a, b, sender, target)| arp_frame(Arp::request(a, sender, target).answer(b), None)),
        (mac(), six(), six()).prop_map(|(mac, source, target)| solicitation(mac, source, target)),
        (mac(), six(), any::<bool>()).prop_map(|(mac, target, router)| advertisement(mac, target, router)),
        (mac(), address(), address()).prop_map(|(mac, from, to)| packet(mac, from, to)),
        (mac(), any::<Vec<u8>>(), 0_usize..4).prop_map(|(mac, bytes, kind)| {
            frame(mac, MacAddr::BROADCAST, None, [0x0800, 0x0806, 0x86dd, 0x8100][kind], &bytes)
        }),
        any::<Vec<u8>>(),
    ]
}

proptest! {
    #[test]
    fn the_tables_agree_whatever_comes(
        steps in proptest::collection::vec((any_frame(), 1_u16..4, 1_u32..3, 0_u64..200, 0_u8..12), 1..60),
    ) {
        let mut stations = Stations::new();
        let mut now = START;
        for (frame, node, port, seconds, also) in steps {
            now = now + Duration::from_secs(seconds);
            let place = place(node, port);
            let before = stations.places();
            let outcome = stations.packet_in(place, &frame, now);
            prop_assert_eq!(outcome.changed, before != stations.places());
            prop_assert!(outcome.reactions.len() <= 1);
            match also {
                0 => { let there = stations.places(); prop_assert_eq!(stations.port_lost(place), there != stations.places()); }
                1 => { stations.poll(now); }
                _ => {}
            }
            let places: BTreeMap<Station, Place> =
                stations.iter().map(|known| (known.station, known.place)).collect();
            prop_assert_eq!(&*stations.places(), &places);
            let nodes = places.values().map(|place| place.node).collect();
            prop_assert_eq!(stations.nodes(), nodes);
            let mut held = BTreeMap::new();
            for known in stations.iter() {
                let addresses = known.ipv4.iter().map(|a| IpAddr::V4(*a)).chain(known.ipv6.iter().map(|a| IpAddr::V6(*a)));
                for address in addresses {
                    prop_assert_eq!(held.insert((known.station.vlan, address), known.station), None, "two hold {}", address);
                }
            }
        }
    }

    #[test]
    fn broadcast_questions_always_lead_on(frame in any_frame(), again in any_frame()) {
        let mut stations = Stations::new();
        stations.packet_in(place(2, 2), &again, START);
        let outcome = stations.packet_in(place(1, 1), &frame, START);
        if let Some((header, payload)) = Header::decode(&frame).filter(|(header, _)| header.source.0[0] & 1 == 0) {
            let asks = header.ethertype == arp::ETHERTYPE
                && header.destination == MacAddr::BROADCAST
                && Arp::decode_payload(payload).is_some_and(|arp| arp.operation == Operation::Request);
            let solicits = header.ethertype == ethernet::IPV6
                && header.destination.0[0] & 1 == 1
                && Neighbour::decode(payload).is_some_and(|neighbour| neighbour.message == Message::Solicitation);
            if header.source != MacAddr([0; 6]) && header.source.0[..3] != [2, 0x46, 0x53] {
                prop_assert_eq!(outcome.reactions.len(), usize::from(asks || solicits));
            }
        }
    }
}
