//! What plans compile to on both forms: golden files of a small fabric, and what must hold for any plan.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::p4info::Info;
use crate::p4info::mapping::Sources;
use crate::plan::{
    AccessPlan, Attachment, BridgePlan, MirrorTo, NextHop, OutsidePlan, RolePlan, RouterPlan, ServiceSlots,
};
use crate::southbound::{ConnectionCounters, ConnectionsEnded, PortCounters};
use crate::types::MacAddr;
use crate::wire::p4runtime::canonical::encode;
use crate::wire::p4runtime::v1::entity::Entity as Kind;

mod checker;
mod plans;
mod readings;

use plans::{OUTSIDE, R1, R2, access, outside, plan as any_plan, router, transit};

fn fabric() -> Arc<dyn Pipeline> {
    of(Mapping::builtin())
}

fn routing() -> Arc<dyn Pipeline> {
    let sources = Sources {
        file: std::path::Path::new("p4/wcmp.mapping.yaml"),
        mapping: include_str!("../../../../p4/wcmp.mapping.yaml"),
        p4info: include_str!("../../../../p4/wcmp.p4info.txtpb"),
        device_config: include_bytes!("../../../../p4/wcmp.json"),
    };
    of(Arc::new(Mapping::parse(&sources).expect("a good mapping")))
}

fn info(pipeline: &Arc<dyn Pipeline>) -> Info {
    Info::new(pipeline.forwarding_config().p4info.clone()).expect("checked when the mapping was read")
}

fn text(pipeline: &Arc<dyn Pipeline>, plan: &DatapathPlan) -> String {
    let Compiled { state, problems } = pipeline.compile(plan);
    assert_eq!(problems, [], "{plan:?}");
    Text(&info(pipeline), &state).to_string()
}

fn told(pipeline: &Arc<dyn Pipeline>, plan: &DatapathPlan) -> Vec<String> {
    pipeline.compile(plan).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_small_fabric() {
    let pipeline = fabric();
    let stages = [("outside", outside()), ("router", router(500)), ("transit", transit()), ("access", access(200))];
    let all: String = stages.iter().map(|(name, plan)| format!("# {name}\n{}\n", text(&pipeline, plan))).collect();
    insta::assert_snapshot!("fabric", all);
}

#[test]
fn a_routing_switch() {
    insta::assert_snapshot!("routing", text(&routing(), &access(200)));
}

#[test]
fn a_shift_changes_one_group_and_a_failover_one_entry() {
    let pipeline = fabric();
    let before = pipeline.compile(&access(200)).state;
    let changed = |plan: &DatapathPlan| -> Vec<v1::Entity> {
        let after = pipeline.compile(plan).state;
        let new = after.iter().filter(|(key, entity)| before.get(key) != Some(entity));
        let gone = before.iter().filter(|(key, _)| !after.contains(key));
        new.chain(gone).map(|(_, entity)| entity.clone()).collect()
    };
    let shifted = changed(&access(128));
    let [v1::Entity { entity: Some(Kind::ActionProfileGroup(group)) }] = &shifted[..] else { panic!("{shifted:?}") };
    assert_eq!(group.members.iter().map(|member| member.weight).sum::<i32>(), 256);

    let mut failed = access(200);
    let RolePlan::Access(its) = &mut failed.role else { panic!("an access plan") };
    its.indirection.insert(R1, R2);
    assert_eq!(changed(&failed).len(), 1);
}

#[test]
fn choices_are_found_again() {
    for (pipeline, slots_of_r1) in [(fabric(), 200), (fabric(), 0), (fabric(), 1), (routing(), 77), (routing(), 256)] {
        let plan = access(slots_of_r1);
        let found = pipeline.choices(&pipeline.compile(&plan).state);
        let RolePlan::Access(its) = &plan.role else { panic!("an access plan") };
        let mut slots = its.services[0].choice.slots.clone();
        slots.sort_unstable();
        assert_eq!(found, BTreeMap::from([(1, Choice { slots, spread: Spread::Select })]));
    }
    let pipeline = fabric();
    let mut state = pipeline.compile(&access(200)).state;
    let profile = info(&pipeline).profile("routers").expect("a selector").id;
    state.remove(&crate::southbound::p4runtime::EntityKey::Member { profile, member: R1.0.into() });
    assert_eq!(pipeline.choices(&state), BTreeMap::new(), "a choice with a member missing is none");
    assert_eq!(pipeline.choices(&P4State::new()), BTreeMap::new());
}

#[test]
fn what_is_read_back_is_all_that_is_written() {
    for (pipeline, plans) in
        [(fabric(), vec![access(200), router(500), transit(), outside()]), (routing(), vec![access(9)])]
    {
        let scope = crate::southbound::p4runtime::Scope::of(&pipeline.read_back());
        for plan in plans {
            let state = pipeline.compile(&plan).state;
            assert!(state.iter().all(|(key, _)| scope.contains(key)));
        }
    }
}

#[test]
fn bad_plans_are_told_and_the_rest_is_compiled() {
    let pipeline = fabric();
    let with = |plan: DatapathPlan, change: &dyn Fn(&mut DatapathPlan)| {
        let mut plan = plan;
        change(&mut plan);
        plan
    };
    let slots = |plan: &mut DatapathPlan, slots: Vec<NodeIndex>| {
        let RolePlan::Access(access) = &mut plan.role else { panic!("an access plan") };
        access.services[0].choice.slots = slots;
    };
    let table = [
        (
            with(access(200), &|plan| plan.edge_ports.push(PortNo(600))),
            "the entry of table 'Forward.ports' for port 0x258: 600 does not fit the 9 bits of 'port'",
        ),
        (
            with(access(200), &|plan| plan.attached[0].port = PortNo(4_000)),
            "the entry of table 'Forward.routes' for destination 10.1.0.10/32: 4000 does not fit the 9 bits of 'port'",
        ),
        (with(access(200), &|plan| plan.attached.push(plan.attached[0].clone())), "the host 10.1.0.10: attached twice"),
        (
            with(access(200), &|plan| slots(plan, vec![R1; 200])),
            "the choice of service 'internet': 200 slots; expected 256",
        ),
        (
            with(transit(), &|plan| {
                let hops = (1..=70).map(|port| NextHop { rank: 0, port: PortNo(port) }).collect();
                plan.next_hops.insert(NodeIndex(77), hops);
            }),
            "group 77 of 'Forward.links': weights of 281; expected at most 64",
        ),
        (
            with(transit(), &|plan| {
                plan.next_hops.insert(NodeIndex(77), vec![NextHop { rank: 0, port: PortNo(512) }]);
            }),
            "member 512 of 'Forward.links': 512 does not fit the 9 bits of 'port'",
        ),
        (
            router(100_000),
            "a capacity of 100000 connections needs 262144 slots and the program has 131072: it holds 65536",
        ),
        (
            with(transit(), &|plan| plan.role = RolePlan::Bridge(BridgePlan::default())),
            "the plan: the program has no part for switches without a stage",
        ),
    ];
    for (plan, expected) in table {
        let problems = told(&pipeline, &plan);
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:#?}");
        let state = pipeline.compile(&plan).state;
        let bridge = matches!(plan.role, RolePlan::Bridge(_));
        assert!(bridge || state.len() > 10, "the rest is compiled: {}", state.len());
    }
    let routed = told(&routing(), &router(10));
    assert_eq!(routed.len(), 1);
    assert!(routed[0].contains("expected the third stage"), "{routed:?}");
}

#[test]
fn tables_that_are_full_are_told() {
    let mut plan = router(500);
    let RolePlan::Router(its) = &mut plan.role else { panic!("a router plan") };
    its.hosts = (0..17_000).map(|host| (Ipv4Addr::from_bits(0x0a00_0000 + host), plans::ACCESS)).collect();
    let problems = told(&fabric(), &plan);
    assert_eq!(problems.len(), 101);
    assert!(problems[0].contains("the table has room for 16384 entries: it is left out"), "{}", problems[0]);
    assert!(problems[100].contains("more problems are not shown"));
}

#[test]
fn an_outside_hosts_address_goes_before_a_gateway_and_both_before_a_service() {
    let mut plan = access(200);
    plan.gateways.push(plan.attached[0].address);
    let RolePlan::Access(its) = &mut plan.role else { panic!("an access plan") };
    its.services[0].prefixes.push("10.1.0.1/32".parse().expect("a prefix"));
    let text = text(&fabric(), &plan);
    assert!(text.contains("Forward.routes destination=10.1.0.10/32: deliver("), "{text}");
    assert!(text.contains("Forward.routes destination=10.1.0.1/32: refuse()"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the plan, what is compiled fits the program, by a checker that knows the P4Info alone.
    #[test]
    fn all_entities_fit_the_program(plan in any_plan()) {
        for pipeline in [fabric(), routing()] {
            let compiled = pipeline.compile(&plan);
            prop_assert_eq!(checker::problems(&info(&pipeline), &compiled.state), Vec::<String>::new());
            prop_assert_eq!(&compiled, &pipeline.compile(&plan), "the same plan gives the same state");
            let scope = crate::southbound::p4runtime::Scope::of(&pipeline.read_back());
            prop_assert!(compiled.state.iter().all(|(key, _)| scope.contains(key)));
        }
    }

    /// Restarts and packets of anybody: no answer makes a reading panic.
    #[test]
    fn packets_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..80), metadata in proptest::collection::vec((0_u32..5, proptest::collection::vec(any::<u8>(), 0..20)), 0..4)) {
        let metadata = metadata.into_iter().map(|(metadata_id, value)| v1::PacketMetadata { metadata_id, value }).collect();
        let _ = fabric().incoming(&v1::PacketIn { payload, metadata });
    }
}
