//! A switch without a stage: forwards by MAC address and VLAN (docs/DATAPATH.md, "Bridges").

use super::build::{Builder, ETH_ARP, ETH_IPV6, ICMPV6, UDP, apply, apply_then, bucket, drop, go_to, protocol};
use super::edge::{ARP_REPLY, ARP_REQUEST, from};
use super::{edge, group, hops, priority, table};
use crate::plan::{BridgePlan, DatapathPlan, Place, Station};
use crate::southbound::openflow::state::{FlowKey, SwitchState};
use crate::types::{MacAddr, PortNo};
use crate::wire::openflow::{Action, Field, GroupType, Match, Subfield, port};

/// Set in addresses of groups (IEEE 802, individual/group bit), never in the source address of a frame that a station
/// sent: there it says, between switches, that the frame is being flooded although it is for one station.
const GROUP_BIT: u64 = 1 << GROUP_BIT_OFFSET;
const GROUP_BIT_OFFSET: u16 = 40;
/// Addresses that no bridge forwards (IEEE 802.1Q, table 8-1): 01:80:c2:00:00:00 to 0f.
const RESERVED: (u64, u64) = (0x0180_c200_0000, 0xffff_ffff_fff0);
/// `OFPVID_PRESENT`: the frame has a tag.
const TAGGED: u16 = 0x1000;
/// ICMPv6 type of a neighbour solicitation (RFC 4861 section 4.3).
const NEIGHBOUR_SOLICITATION: u8 = 135;
/// ICMPv6 type of a neighbour advertisement (section 4.4).
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Ports of DHCP (RFC 2131 section 4.1).
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;

pub(super) fn compile(plan: &DatapathPlan, bridge: &BridgePlan, builder: &mut Builder) {
    edge::classify(plan, builder);
    flood_groups(plan, bridge, builder);
    classify(plan, bridge, builder);
    if !plan.edge_ports.is_empty() {
        neighbours(builder);
    }
    unknown(bridge, builder);
    for (station, place) in bridge.stations.iter() {
        self::station(plan, *station, *place, builder);
    }
}

/// To every port of the tree and every edge port but the one that the frame came from.
pub(super) fn flood() -> Vec<Action> {
    vec![Action::Group(group::FLOOD)]
}

/// Two groups with the same ports: frames for everyone leave as they came, frames for a station that is not known carry
/// the mark between switches. No switch sends a frame back to where it came from unasked (section 5.6).
fn flood_groups(plan: &DatapathPlan, bridge: &BridgePlan, builder: &mut Builder) {
    let ports = bridge.tree_ports.iter().map(|port| (port, 1)).chain(plan.edge_ports.iter().map(|port| (port, 0)));
    let (mut everyone, mut unknown) = (Vec::new(), Vec::new());
    for (port, marked) in ports {
        everyone.push(bucket(0, vec![Action::output(*port)]));
        unknown.push(bucket(0, vec![mark(marked), Action::output(*port)]));
    }
    builder.group(group::FLOOD, GroupType::All, everyone);
    builder.group(group::FLOOD_UNKNOWN, GroupType::All, unknown);
}

/// By port. What is flooded keeps to the tree from switch to switch, whatever the switches on its way know: a frame
/// cannot go round, not even while some of them know a station already and others do not.
fn classify(plan: &DatapathPlan, bridge: &BridgePlan, builder: &mut Builder) {
    let marked = |port: PortNo| from(port).with_masked(Field::EthSrc, GROUP_BIT, GROUP_BIT);
    let reserved = Match::any().with_masked(Field::EthDst, RESERVED.0, RESERVED.1);
    builder.flow(table::CLASSIFY, priority::RESERVED, reserved, drop());
    for edge in &plan.edge_ports {
        builder.flow(table::CLASSIFY, priority::EDGE, marked(*edge), drop());
        builder.flow(table::CLASSIFY, priority::EDGE_OTHER, from(*edge), go_to(table::SOURCE));
    }
    for link in &bridge.link_ports {
        if bridge.tree_ports.contains(link) {
            let on = apply(vec![Action::Group(group::FLOOD_UNKNOWN)]);
            builder.flow(table::CLASSIFY, priority::FLOODED, marked(*link), on);
        } else {
            builder.flow(table::CLASSIFY, priority::FLOODED, marked(*link), drop());
            builder.flow(table::CLASSIFY, priority::FLOODED, to_groups(from(*link)), drop());
        }
        builder.flow(table::CLASSIFY, priority::FABRIC, from(*link), go_to(table::STATION));
    }
}

fn mark(value: u64) -> Action {
    Action::RegLoad { target: Subfield::bits(Field::EthSrc, GROUP_BIT_OFFSET, 1), value }
}

/// Frames for everyone, and for stations that this switch does not know.
fn unknown(bridge: &BridgePlan, builder: &mut Builder) {
    builder.flow(table::STATION, priority::ANY, to_groups(Match::any()), apply(flood()));
    let everywhere = Action::Group(group::FLOOD_UNKNOWN);
    builder.flow(table::STATION, priority::MISS, Match::any(), apply(vec![everywhere.clone()]));
    for link in &bridge.tree_ports {
        // Another switch knew the station and sent the frame here. The station may hang on the far side of the tree, so
        // the flood goes there too.
        let back = vec![everywhere.clone(), mark(1), Action::output(port::IN_PORT)];
        builder.flow(table::STATION, priority::UNKNOWN, from(*link), apply(back));
    }
}

/// What stations tell of themselves, and what they ask that the controller can answer.
fn neighbours(builder: &mut Builder) {
    let copied = |next| apply_then(vec![Action::controller()], next);
    builder.flow(table::SOURCE, priority::MISS, Match::any(), copied(table::NEIGHBOUR));

    let arp = Match::any().with(Field::EthType, ETH_ARP).with(Field::ArpOp, ARP_REQUEST);
    let arp = arp.with(Field::EthDst, MacAddr::BROADCAST.to_u64());
    let solicitation = Match::any()
        .with(Field::EthType, ETH_IPV6)
        .with(Field::IpProto, ICMPV6)
        .with(Field::Icmpv6Type, NEIGHBOUR_SOLICITATION);
    // Stations that were silent for long are asked by the controller, and answer its address.
    let answer = Match::any().with(Field::EthDst, MacAddr::GATEWAY.to_u64());
    for asked in [arp, to_groups(solicitation), answer] {
        builder.flow(table::NEIGHBOUR, priority::PROTOCOL, asked, apply(vec![Action::controller()]));
    }
    // Who is always asked first and never asks tells its addresses by its answers alone.
    let reply = Match::any().with(Field::EthType, ETH_ARP).with(Field::ArpOp, ARP_REPLY);
    let advertisement = Match::any()
        .with(Field::EthType, ETH_IPV6)
        .with(Field::IpProto, ICMPV6)
        .with(Field::Icmpv6Type, NEIGHBOUR_ADVERTISEMENT);
    for told in [reply, advertisement] {
        builder.flow(table::NEIGHBOUR, priority::TOLD, told, copied(table::STATION));
    }
    for (source, target) in [(DHCP_CLIENT, DHCP_SERVER), (DHCP_SERVER, DHCP_CLIENT)] {
        let dhcp = protocol(UDP).with(Field::UdpSrc, source).with(Field::UdpDst, target);
        builder.flow(table::NEIGHBOUR, priority::PROTOCOL, dhcp, copied(table::STATION));
    }
    builder.flow(table::NEIGHBOUR, priority::MISS, Match::any(), go_to(table::STATION));
}

/// What comes from a station of this switch needs no controller; what goes to any station takes its way.
fn station(plan: &DatapathPlan, station: Station, place: Place, builder: &mut Builder) {
    let vlan = station.vlan.map_or(0, |vlan| TAGGED | vlan);
    let address = |field| Match::any().with(Field::VlanVid, vlan).with(field, station.mac.to_u64());
    let way = if place.node != plan.index {
        hops::towards(plan, place.node)
    } else if plan.edge_ports.contains(&place.port) {
        let speaks = address(Field::EthSrc).with(Field::InPort, place.port.0);
        builder.flow(table::SOURCE, priority::HOST, speaks, go_to(table::NEIGHBOUR));
        Some(Action::output(place.port))
    } else {
        None
    };
    if let Some(way) = way {
        builder.flow(table::STATION, priority::HOST, address(Field::EthDst), apply(vec![way]));
    }
}

/// The stations that [`station`] once made entries of: a restarted controller goes on from them.
pub(super) fn stations(state: &SwitchState) -> Vec<(Station, PortNo)> {
    let known = state.flows.keys().filter(|key| key.table == table::SOURCE).filter_map(|key| {
        let exact = |field| key.matching.get(field).filter(|found| found.mask.is_none()).map(|found| found.value);
        let vlan = u16::try_from(exact(Field::VlanVid)?).ok()?;
        let vlan = (vlan & TAGGED != 0).then_some(vlan & !TAGGED);
        let mac = MacAddr::from_u64(u64::try_from(exact(Field::EthSrc)?).ok()?);
        let port = PortNo(u32::try_from(exact(Field::InPort)?).ok()?);
        Some((Station { vlan, mac }, port))
    });
    known.collect()
}

/// The link ports that [`classify`] once made entries of.
pub(super) fn links(state: &SwitchState) -> Vec<PortNo> {
    let of_links = |key: &&FlowKey| key.table == table::CLASSIFY && key.priority == priority::FABRIC;
    let port = |key: &FlowKey| u32::try_from(key.matching.get(Field::InPort)?.value).ok().map(PortNo);
    state.flows.keys().filter(of_links).filter_map(port).collect()
}

/// Narrowed to frames for groups, broadcast among them.
fn to_groups(matching: Match) -> Match {
    matching.with_masked(Field::EthDst, GROUP_BIT, GROUP_BIT)
}
