//! Plans: those of a small fabric, and any.

use proptest::collection::{btree_map, vec};
use proptest::option::weighted;
use proptest::sample::select;

use super::*;

pub(super) const OUTSIDE: NodeIndex = NodeIndex(1);
pub(super) const R1: NodeIndex = NodeIndex(2);
pub(super) const R2: NodeIndex = NodeIndex(3);
pub(super) const R3: NodeIndex = NodeIndex(8);
const TRANSIT: NodeIndex = NodeIndex(4);
pub(super) const ACCESS: NodeIndex = NodeIndex(5);
const ACCESS_2: NodeIndex = NodeIndex(6);
const OUTSIDE_2: NodeIndex = NodeIndex(7);

fn base(index: NodeIndex, hops: &[(NodeIndex, &[(u8, u32)])], role: RolePlan) -> DatapathPlan {
    let hop = |(rank, port): &(u8, u32)| NextHop { rank: *rank, port: PortNo(*port) };
    DatapathPlan {
        index,
        edge_ports: Vec::new(),
        mirror_ports: Vec::new(),
        gateways: Vec::new(),
        attached: Vec::new(),
        next_hops: hops.iter().map(|(node, hops)| (*node, hops.iter().map(hop).collect())).collect(),
        role,
    }
}

fn indirection() -> BTreeMap<NodeIndex, NodeIndex> {
    [R1, R2].map(|router| (router, router)).into()
}

pub(super) fn access(slots_of_r1: usize) -> DatapathPlan {
    let slots = (0..SLOTS).map(|slot| if slot < slots_of_r1 { R1 } else { R2 }).collect();
    let services = vec![ServiceSlots {
        service: "internet".to_owned(),
        number: 1,
        prefixes: vec!["198.51.100.0/24".parse().expect("a prefix"), "0.0.0.0/0".parse().expect("a prefix")],
        choice: Choice { slots, spread: Spread::Select },
    }];
    let remote_hosts = vec![(Ipv4Addr::new(10, 2, 0, 10), ACCESS_2)];
    let role = RolePlan::Access(AccessPlan { services, indirection: indirection(), remote_hosts });
    let hops: [(NodeIndex, &[(u8, u32)]); 3] =
        [(R1, &[(0, 1), (0, 2), (0, 4)]), (R2, &[(0, 1), (0, 2), (1, 3), (2, 5), (3, 5)]), (ACCESS_2, &[(0, 1)])];
    DatapathPlan {
        edge_ports: vec![PortNo(11)],
        gateways: vec![Ipv4Addr::new(10, 1, 0, 1)],
        attached: vec![Attachment {
            address: Ipv4Addr::new(10, 1, 0, 10),
            mac: MacAddr([2, 0, 0, 0, 0, 0x10]),
            port: PortNo(11),
        }],
        ..base(ACCESS, &hops, role)
    }
}

pub(super) fn transit() -> DatapathPlan {
    base(TRANSIT, &[(R1, &[(0, 1), (1, 2)]), (R2, &[(0, 2), (1, 1)]), (ACCESS, &[(0, 3)])], RolePlan::Transit)
}

fn mirror_to(shadow: NodeIndex, port: u32) -> MirrorTo {
    MirrorTo { shadow, port: PortNo(port) }
}

pub(super) fn router(capacity_connections: u32) -> DatapathPlan {
    let role = RolePlan::Router(RouterPlan {
        capacity_connections,
        idle_timeout_s: 300,
        closing_timeout_s: 5,
        half_open_timeout_s: 10,
        inside_ports: vec![PortNo(1)],
        outside_ports: vec![PortNo(2)],
        stands_in_for: vec![R2],
        hosts: vec![(Ipv4Addr::new(10, 1, 0, 10), ACCESS)],
        destinations: vec![
            ("198.51.100.10/32".parse().expect("a prefix"), vec![OUTSIDE]),
            ("0.0.0.0/0".parse().expect("a prefix"), vec![OUTSIDE, OUTSIDE_2]),
        ],
        mirrors: [(R1, vec![mirror_to(R2, 9), mirror_to(R3, 10)]), (R2, vec![mirror_to(R2, 9)])].into(),
        replicas: [(R1, vec![PortNo(9), PortNo(10)]), (R2, vec![PortNo(9)])].into(),
        translations: std::collections::BTreeMap::new(),
    });
    DatapathPlan {
        mirror_ports: vec![PortNo(9), PortNo(10)],
        ..base(R1, &[(ACCESS, &[(0, 1)]), (OUTSIDE, &[(0, 2)]), (OUTSIDE_2, &[(0, 3)])], role)
    }
}

pub(super) fn outside() -> DatapathPlan {
    let role = RolePlan::Outside(OutsidePlan { indirection: indirection() });
    DatapathPlan {
        edge_ports: vec![PortNo(11)],
        gateways: vec![Ipv4Addr::new(198, 51, 100, 1)],
        attached: vec![Attachment {
            address: Ipv4Addr::new(198, 51, 100, 10),
            mac: MacAddr([2, 0, 0, 0, 0, 0x20]),
            port: PortNo(11),
        }],
        ..base(OUTSIDE, &[(R1, &[(0, 1)]), (R2, &[(0, 2)])], role)
    }
}

fn node() -> impl Strategy<Value = NodeIndex> {
    prop_oneof![4 => 1_u16..12, 1 => any::<u16>()].prop_map(NodeIndex)
}

fn port() -> impl Strategy<Value = PortNo> {
    prop_oneof![9 => 1_u32..20, 1 => select(vec![0, 510, 511, 512, 0xffff, u32::MAX])].prop_map(PortNo)
}

fn address() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![(0x0a00_0000_u32..0x0a00_0010), any::<u32>()].prop_map(Ipv4Addr::from_bits)
}

fn prefix() -> impl Strategy<Value = Ipv4Net> {
    (address(), 0_u8..=32).prop_map(|(address, bits)| Ipv4Net::new(address, bits).expect("at most 32 bits"))
}

fn service() -> impl Strategy<Value = ServiceSlots> {
    let slots = (vec(node(), SLOTS), weighted(0.1, 0..SLOTS));
    (any::<u16>(), vec(prefix(), 0..4), slots).prop_map(|(number, prefixes, (mut slots, cut))| {
        slots.truncate(cut.unwrap_or(SLOTS));
        ServiceSlots {
            service: format!("s{number}"),
            number,
            prefixes,
            choice: Choice { slots, spread: Spread::Select },
        }
    })
}

fn role() -> impl Strategy<Value = RolePlan> {
    let indirection = || btree_map(node(), node(), 0..6);
    let access = (vec(service(), 0..20), indirection(), vec((address(), node()), 0..10)).prop_map(
        |(services, indirection, remote_hosts)| RolePlan::Access(AccessPlan { services, indirection, remote_hosts }),
    );
    let router = (
        any::<u32>(),
        any::<[u16; 3]>(),
        [vec(port(), 0..4), vec(port(), 0..4)],
        vec(node(), 0..12),
        vec((address(), node()), 0..10),
        vec((prefix(), vec(node(), 0..4)), 0..10),
        btree_map(node(), vec((node(), port()), 0..4), 0..4),
    )
        .prop_map(
            |(
                capacity_connections,
                [idle, closing, half],
                [inside, outside],
                stands_in_for,
                hosts,
                destinations,
                mirrors,
            )| {
                let to = |(shadow, port)| MirrorTo { shadow, port };
                let replicas =
                    mirrors.iter().map(|(owner, to)| (*owner, to.iter().map(|(_, port)| *port).collect())).collect();

                RolePlan::Router(RouterPlan {
                    capacity_connections,
                    idle_timeout_s: idle,
                    closing_timeout_s: closing,
                    half_open_timeout_s: half,
                    inside_ports: inside,
                    outside_ports: outside,
                    stands_in_for,
                    hosts,
                    destinations,
                    mirrors: mirrors
                        .into_iter()
                        .map(|(owner, all)| (owner, all.into_iter().map(to).collect()))
                        .collect(),
                    replicas,
                    translations: std::collections::BTreeMap::new(),
                })
            },
        );
    prop_oneof![
        3 => access,
        2 => router,
        1 => Just(RolePlan::Transit),
        1 => indirection().prop_map(|indirection| RolePlan::Outside(OutsidePlan { indirection })),
        1 => Just(RolePlan::Bridge(BridgePlan::default())),
    ]
}

pub(super) fn plan() -> impl Strategy<Value = DatapathPlan> {
    let attached = (address(), any::<[u8; 6]>(), port()).prop_map(|(address, mac, port)| Attachment {
        address,
        mac: MacAddr(mac),
        port,
    });
    let hop = (0_u8..5, port()).prop_map(|(rank, port)| NextHop { rank, port });
    (
        node(),
        vec(port(), 0..5),
        vec(port(), 0..3),
        vec(address(), 0..4),
        vec(attached, 0..8),
        btree_map(node(), vec(hop, 0..8), 0..8),
        role(),
    )
        .prop_map(|(index, edge_ports, mirror_ports, gateways, attached, next_hops, role)| DatapathPlan {
            index,
            edge_ports,
            mirror_ports,
            gateways,
            attached,
            next_hops,
            role,
        })
}
