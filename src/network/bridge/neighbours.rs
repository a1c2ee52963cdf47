//! What frames say of their senders' addresses, and the answers to who has an address: ARP (RFC 826, RFC 5227),
//! neighbour discovery (RFC 4861, RFC 4862), DHCP overheard (RFC 2131).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::stations::{KnownStation, Outcome, Reaction, Stations};
use crate::plan::{Place, Station};
use crate::types::{MacAddr, Timestamp};
use crate::wire::arp::{self, Arp, Operation};
use crate::wire::dhcp::{Dhcp, Kind};
use crate::wire::ethernet::{self, Header, Tag};
use crate::wire::ndp::{self, Message, Neighbour};

/// The controller's own address in questions: the link-local one of [`MacAddr::GATEWAY`].
const OWN_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0046, 0x53ff, 0xfe00, 0x0001);
const CUSTOMER_TAG: u16 = 0x8100;

/// A frame and where it came from; its source was taken as a station already.
pub(super) struct Arrived<'f> {
    pub(super) place: Place,
    pub(super) frame: &'f [u8],
    pub(super) header: Header,
    pub(super) payload: &'f [u8],
    pub(super) station: Station,
    pub(super) now: Timestamp,
}

impl Arrived<'_> {
    fn is_to_group(&self) -> bool {
        self.header.destination.0[0] & 1 == 1
    }

    fn flood(&self) -> Reaction {
        Reaction::Flood { from: self.place, frame: self.frame.to_vec() }
    }

    /// Back to where the frame came from, in its VLAN.
    fn answer(&self, destination: MacAddr, source: MacAddr, payload: &[u8]) -> Reaction {
        let header = Header { destination, source, ..self.header };
        Reaction::Send { place: self.place, frame: header.encode(payload) }
    }
}

/// Learns addresses and adds the reaction that the frame needs, if any.
pub(super) fn take(stations: &mut Stations, arrived: &Arrived<'_>, outcome: &mut Outcome) {
    match arrived.header.ethertype {
        arp::ETHERTYPE => take_arp(stations, arrived, outcome),
        ethernet::IPV4 => take_ipv4(stations, arrived, outcome),
        ethernet::IPV6 => match Neighbour::decode(arrived.payload) {
            Some(neighbour) => take_neighbour(stations, arrived, neighbour, outcome),
            None => take_ipv6(stations, arrived, outcome),
        },
        _ => {}
    }
}

fn take_arp(stations: &mut Stations, arrived: &Arrived<'_>, outcome: &mut Outcome) {
    let Some(arp) = Arp::decode_payload(arrived.payload) else {
        stations.count_malformed();
        return;
    };
    // Whoever speaks for another (proxy ARP) is not where that other is.
    if arp.sender_mac == arrived.station.mac && !arp.is_probe() {
        outcome.addresses |= stations.claim(arrived.station, arp.sender.into(), true, arrived.now);
    }
    if arp.operation != Operation::Request || arrived.header.destination != MacAddr::BROADCAST {
        return;
    }
    let holder = stations.holder(arrived.station.vlan, arp.target.into()).map(|known| known.station);
    let holder = holder.filter(|holder| holder.mac != arrived.station.mac && holder.mac != arp.sender_mac);
    outcome.reactions.push(match holder {
        Some(holder) if !arp.is_gratuitous() => {
            if arp.is_probe() {
                stations.doubt(holder, arrived.now);
            }
            arrived.answer(arrived.station.mac, holder.mac, &arp.answer(holder.mac).encode_payload())
        }
        _ => arrived.flood(),
    });
}

fn take_neighbour(stations: &mut Stations, arrived: &Arrived<'_>, neighbour: Neighbour, outcome: &mut Outcome) {
    let (station, now) = (arrived.station, arrived.now);
    let speaks_for_itself = neighbour.link_layer.is_none_or(|mac| mac == station.mac);
    match neighbour.message {
        Message::Advertisement { router, .. } => {
            if speaks_for_itself {
                stations.told_router(station, router);
                outcome.addresses |= stations.claim(station, neighbour.target.into(), true, now);
            }
        }
        Message::Solicitation => {
            if speaks_for_itself {
                outcome.addresses |= stations.claim(station, neighbour.source.into(), true, now);
            }
            if arrived.is_to_group() {
                let reaction = answer_solicitation(stations, arrived, neighbour);
                outcome.reactions.push(reaction);
            }
        }
    }
}

fn answer_solicitation(stations: &mut Stations, arrived: &Arrived<'_>, asked: Neighbour) -> Reaction {
    let holder = stations.holder(arrived.station.vlan, asked.target.into());
    let holder = holder.filter(|known| known.station.mac != arrived.station.mac);
    let Some((holder, place)) = holder.map(|known| (known.station, known.place)) else {
        return arrived.flood();
    };
    let has_no_address = asked.source.is_unspecified();
    // A router that is said not to be one is dropped from the asker's default routers (RFC 4861, section 7.2.5), and
    // these are known by their link-local addresses: where it is not known what the holder is, it answers by itself.
    let may_be_router = asked.target.is_unicast_link_local() && stations.is_router(holder).is_none();
    if may_be_router && !has_no_address {
        return Reaction::Send { place, frame: arrived.frame.to_vec() };
    }
    let destination = if has_no_address { ndp::ALL_NODES } else { asked.source };
    let told = Neighbour {
        source: asked.target,
        destination,
        target: asked.target,
        message: Message::Advertisement {
            router: stations.is_router(holder).unwrap_or(false),
            solicited: !has_no_address,
            overrides: false,
        },
        link_layer: Some(holder.mac),
    };
    let mac = if has_no_address { ndp::group_mac(ndp::ALL_NODES) } else { arrived.station.mac };
    if has_no_address {
        stations.doubt(holder, arrived.now);
    }
    arrived.answer(mac, holder.mac, &told.encode())
}

fn take_ipv4(stations: &mut Stations, arrived: &Arrived<'_>, outcome: &mut Outcome) {
    let Some(fixed) = arrived.payload.first_chunk::<20>().filter(|fixed| fixed[0] >> 4 == 4) else {
        stations.count_malformed();
        return;
    };
    let source = Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]);
    outcome.addresses |= stations.claim(arrived.station, source.into(), false, arrived.now);
    let Some(dhcp) = Dhcp::decode_packet(arrived.payload) else { return };
    let client = Station { mac: dhcp.client_mac, ..arrived.station };
    match dhcp.kind {
        Kind::Ack if dhcp.from_server => {
            // An answer to INFORM leaves `yiaddr` empty: it gives nobody an address.
            outcome.addresses |= stations.claim(client, dhcp.client_next.into(), true, arrived.now);
        }
        Kind::Release if client == arrived.station => {
            outcome.addresses |= stations.release(client, dhcp.client_now.into());
        }
        _ => {}
    }
}

fn take_ipv6(stations: &mut Stations, arrived: &Arrived<'_>, outcome: &mut Outcome) {
    let Some(fixed) = arrived.payload.first_chunk::<40>().filter(|fixed| fixed[0] >> 4 == 6) else {
        stations.count_malformed();
        return;
    };
    let octets: [u8; 16] = *fixed[8..].first_chunk().expect("40 bytes hold a source");
    let source = Ipv6Addr::from(octets);
    // Routers never pass link-local sources on, so such a packet comes from its sender.
    let sure = source.is_unicast_link_local();
    outcome.addresses |= stations.claim(arrived.station, source.into(), sure, arrived.now);
}

/// Questions to a station itself, one for each family it has an address of; the answers come to the controller, whose
/// address they are sent to.
pub(super) fn questions(known: &KnownStation) -> Vec<Reaction> {
    let Station { vlan, mac } = known.station;
    let header = |ethertype| Header {
        destination: mac,
        source: MacAddr::GATEWAY,
        tag: vlan.map(|control| Tag { kind: CUSTOMER_TAG, control }),
        ethertype,
    };
    // As a probe (RFC 5227) the question claims no address for the controller.
    let ipv4 = known.ipv4.first().map(|target| {
        let arp = Arp::request(MacAddr::GATEWAY, Ipv4Addr::UNSPECIFIED, *target);
        header(arp::ETHERTYPE).encode(&arp.encode_payload())
    });
    let ipv6 = known.ipv6.first().map(|target| {
        let asked = Neighbour {
            source: OWN_LINK_LOCAL,
            destination: *target,
            target: *target,
            message: Message::Solicitation,
            link_layer: Some(MacAddr::GATEWAY),
        };
        header(ethernet::IPV6).encode(&asked.encode())
    });
    [ipv4, ipv6].into_iter().flatten().map(|frame| Reaction::Send { place: known.place, frame }).collect()
}
