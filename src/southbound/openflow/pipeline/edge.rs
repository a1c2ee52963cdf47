//! Table 0 of every switch, and ARP for the virtual gateway.

use super::build::{Builder, ETH_ARP, ETH_IPV4, ETH_LLDP, apply, copy, drop, go_to, ipv4, set_mac};
use super::{priority, table};
use crate::plan::{Attachment, DatapathPlan};
use crate::types::{MacAddr, PortNo};
use crate::wire::openflow::{Action, Field, Match, port};

pub(super) const ARP_REQUEST: u16 = 1;
pub(super) const ARP_REPLY: u16 = 2;

/// What every switch does first: discovery to the controller, mirror ports closed to everything else, nothing that is
/// not expected goes further.
pub(super) fn classify(plan: &DatapathPlan, builder: &mut Builder) {
    let lldp = Match::any().with(Field::EthType, ETH_LLDP);
    builder.flow(table::CLASSIFY, priority::DISCOVERY, lldp, apply(vec![Action::controller()]));
    for mirror in &plan.mirror_ports {
        builder.flow(table::CLASSIFY, priority::MIRROR, from(*mirror), drop());
    }
    builder.flow(table::CLASSIFY, priority::MISS, Match::any(), drop());
}

/// Ports that face hosts or servers: ARP is answered, IPv4 goes to `next`, all else is dropped.
pub(super) fn edge_ports(plan: &DatapathPlan, next: u8, builder: &mut Builder) {
    for edge in &plan.edge_ports {
        let arp = from(*edge).with(Field::EthType, ETH_ARP);
        builder.flow(table::CLASSIFY, priority::EDGE, arp, go_to(table::ARP));
        builder.flow(table::CLASSIFY, priority::EDGE, from(*edge).with(Field::EthType, ETH_IPV4), go_to(next));
        builder.flow(table::CLASSIFY, priority::EDGE_OTHER, from(*edge), drop());
    }
    if plan.edge_ports.is_empty() {
        return;
    }
    for gateway in &plan.gateways {
        let request = Match::any()
            .with(Field::EthType, ETH_ARP)
            .with(Field::ArpOp, ARP_REQUEST)
            .with(Field::ArpTpa, gateway.to_bits());
        // The copy tells the controller where the host is; the answer does not wait for it.
        let answer = vec![
            Action::controller(),
            copy(Field::EthSrc, Field::EthDst),
            set_mac(Field::EthSrc, MacAddr::GATEWAY),
            Action::set_field(Field::ArpOp, ARP_REPLY),
            copy(Field::ArpSha, Field::ArpTha),
            copy(Field::ArpSpa, Field::ArpTpa),
            set_mac(Field::ArpSha, MacAddr::GATEWAY),
            Action::set_field(Field::ArpSpa, gateway.to_bits()),
            Action::output(port::IN_PORT),
        ];
        builder.flow(table::ARP, priority::GATEWAY, request, apply(answer));
        // A gateway is nobody to talk to: what is sent to it must not take a router's slot.
        builder.flow(next, priority::OWN_ADDRESS, ipv4().with(Field::Ipv4Dst, gateway.to_bits()), drop());
    }
    builder.flow(table::ARP, priority::MISS, Match::any(), apply(vec![Action::controller()]));
}

/// IPv4 packets that the fabric addressed to this switch go to `next`.
pub(super) fn fabric_ports(plan: &DatapathPlan, next: u8, builder: &mut Builder) {
    let own = ipv4().with(Field::EthDst, MacAddr::of_node(plan.index).to_u64());
    builder.flow(table::CLASSIFY, priority::FABRIC, own, go_to(next));
}

/// The last hop: to a host or server that hangs on this switch.
pub(super) fn deliver(plan: &DatapathPlan, in_table: u8, builder: &mut Builder) {
    for attachment in &plan.attached {
        let to = ipv4().with(Field::Ipv4Dst, attachment.address.to_bits());
        builder.flow(in_table, priority::HOST, to, apply(hand_over(attachment)));
    }
}

fn hand_over(attachment: &Attachment) -> Vec<Action> {
    vec![
        set_mac(Field::EthDst, attachment.mac),
        set_mac(Field::EthSrc, MacAddr::GATEWAY),
        Action::output(attachment.port),
    ]
}

pub(super) fn from(in_port: PortNo) -> Match {
    Match::any().with(Field::InPort, in_port.0)
}
