//! A P4Info by hand, found by name and id; and what is said of ones that cannot be so.

use super::*;
use crate::wire::p4runtime::text::parse_p4info;

const SAMPLE: &str = r#"
pkg_info { arch: "v1model" }
tables {
  preamble { id: 33554433 name: "ingress.routes" alias: "routes" }
  match_fields { id: 1 name: "hdr.ipv4.destination" bitwidth: 32 match_type: LPM }
  action_refs { id: 16777217 }
  action_refs { id: 16777218 scope: DEFAULT_ONLY }
  const_default_action_id: 16777218
  initial_default_action { action_id: 16777218 }
  direct_resource_ids: 318767105
  direct_resource_ids: 352321537
  size: 1024
  idle_timeout_behavior: NOTIFY_CONTROL
}
tables {
  preamble { id: 33554434 name: "ingress.sets" alias: "sets" }
  match_fields { id: 1 name: "set" bitwidth: 16 match_type: EXACT }
  match_fields { id: 2 name: "vrf" match_type: OPTIONAL type_name { name: "vrf_t" } }
  match_fields { id: 3 name: "odd" bitwidth: 8 other_match_type: "SPECIAL" }
  action_refs { id: 16777217 scope: TABLE_ONLY }
  implementation_id: 285212673
  is_const_table: true
  has_initial_entries: true
}
actions {
  preamble { id: 16777217 name: "ingress.send" alias: "send" }
  params { id: 1 name: "port" bitwidth: 9 }
  params { id: 2 name: "mac" bitwidth: 48 }
}
actions { preamble { id: 16777218 name: "NoAction" alias: "NoAction" } }
action_profiles {
  preamble { id: 285212673 name: "ingress.members" alias: "members" }
  table_ids: 33554434
  with_selector: true
  size: 128
  max_group_size: 16
  sum_of_members { max_member_weight: 4 }
}
counters { preamble { id: 301989889 name: "ingress.count.in" alias: "count.in" } spec { unit: BOTH } size: 512 }
counters { preamble { id: 301989890 name: "egress.events" alias: "events" } spec { unit: PACKETS } size: 7 }
counters { preamble { id: 301989891 name: "ingress.events" alias: "events" } spec { unit: PACKETS } size: 7 }
direct_counters {
  preamble { id: 318767105 name: "ingress.hits" alias: "hits" } spec { unit: BOTH } direct_table_id: 33554433
}
meters { preamble { id: 335544321 name: "ingress.rate" } spec { unit: BYTES type: SINGLE_RATE_TWO_COLOR } size: 9 }
direct_meters { preamble { id: 352321537 name: "ingress.limits" } spec { unit: PACKETS } direct_table_id: 33554433 }
controller_packet_metadata {
  preamble { id: 67108865 name: "packet_in" }
  metadata { id: 1 name: "ingress_port" bitwidth: 9 }
  metadata { id: 2 name: "reason" bitwidth: 7 }
}
value_sets {
  preamble { id: 50331649 name: "parser.ports" alias: "ports" }
  match { id: 1 name: "port" bitwidth: 16 match_type: EXACT }
  size: 4
}
registers {
  preamble { id: 369098753 name: "ingress.slots" alias: "slots" }
  type_spec { bitstring { bit { bitwidth: 104 } } }
  size: 131072
}
digests { preamble { id: 385875969 name: "learn_t" alias: "learn_t" } type_spec { struct { name: "learn_t" } } }
externs { extern_type_id: 129 instances { preamble { id: 2164260865 name: "ingress.odd" } } }
type_info {
  structs {
    key: "learn_t"
    value {
      members { name: "mac" type_spec { bitstring { bit { bitwidth: 48 } } } }
      members { name: "port" type_spec { new_type { name: "port_t" } } }
    }
  }
  new_types { key: "port_t" value { original_type { bitstring { bit { bitwidth: 9 } } } } }
  new_types { key: "vrf_t" value { translated_type { uri: "vrf" sdn_string { } } } }
}
"#;

fn info(text: &str) -> Result<Info, Vec<String>> {
    Info::new(parse_p4info(text).expect("is a P4Info"))
}

fn sample() -> Info {
    info(SAMPLE).unwrap_or_else(|problems| panic!("{}", problems.join("\n")))
}

#[test]
fn tables_and_what_they_refer_to() {
    let info = sample();
    let routes = info.table("ingress.routes").expect("by full name");
    assert_eq!(info.table("routes").map(|table| table.id), Ok(routes.id));
    assert_eq!(info.table_by_id(0x0200_0001).map(|table| &table.alias), Some(&"routes".to_owned()));
    let field = routes.field("hdr.ipv4.destination").expect("is there");
    assert_eq!((field.id, field.width_bits, &field.kind), (1, 32, &MatchKind::Lpm));
    assert_eq!(routes.scope(0x0100_0001), Some(Scope::TableAndDefault));
    assert_eq!((routes.scope(0x0100_0002), routes.scope(7)), (Some(Scope::DefaultOnly), None));
    assert_eq!(routes.const_default, Some(0x0100_0002));
    assert_eq!(routes.initial_default, Some(Call { action: 0x0100_0002, arguments: vec![] }));
    assert_eq!((routes.direct_counter, routes.direct_meter), (Some(0x1300_0001), Some(0x1500_0001)));
    assert_eq!((routes.size, routes.profile, routes.idle_timeout), (1024, None, true));
    assert!(!routes.has_priorities() && !routes.is_const && !routes.has_initial_entries);
    let sets = info.table("sets").expect("by alias");
    assert!(sets.has_priorities() && sets.is_const && sets.has_initial_entries && !sets.idle_timeout);
    let kinds: Vec<_> = sets.fields.iter().map(|field| (field.width_bits, field.kind.clone())).collect();
    assert_eq!(kinds, [(16, MatchKind::Exact), (0, MatchKind::Optional), (8, MatchKind::Other("SPECIAL".into()))]);
    let profile = sets.profile.and_then(|id| info.profile_by_id(id)).expect("is there");
    assert_eq!((&profile.tables[..], profile.size, profile.group_size_max), (&[sets.id][..], 128, 16));
    assert_eq!(profile.size_semantics, SizeSemantics::SumOfMembers { weight_max: 4 });
    assert!(profile.selector && profile.weights_allowed);
    assert_eq!((info.tables().len(), info.tables().is_empty()), (2, false));
}

#[test]
fn everything_else() {
    let info = sample();
    let send = info.action("send").expect("is there");
    assert_eq!(send.param("mac").map(|param| (param.id, param.width_bits)), Ok((2, 48)));
    assert_eq!(send.params.by_id(1).map(|param| param.name.as_str()), Some("port"));
    let counter = info.counter("count.in").expect("is there");
    assert_eq!((counter.id, counter.unit, counter.size, counter.table), (0x1200_0001, CounterUnit::Both, 512, None));
    let hits = info.direct_counter("hits").expect("is there");
    assert_eq!((hits.id, hits.table), (0x1300_0001, Some(0x0200_0001)));
    let rate = info.meter("ingress.rate").expect("is there");
    assert_eq!((rate.unit, rate.meter_type, rate.size), (MeterUnit::Bytes, MeterType::SingleRateTwoColor, 9));
    let limits = info.direct_meter("ingress.limits").expect("is there");
    assert_eq!((limits.unit, limits.meter_type), (MeterUnit::Packets, MeterType::TwoRateThreeColor));
    let slots = info.register("slots").expect("is there");
    assert_eq!((slots.size, slots.width_bits), (131_072, 104));
    let learn = info.digest("learn_t").expect("is there");
    let member = |id, name: &str, width_bits| Parameter { id, name: name.into(), width_bits };
    assert_eq!(learn.members, [member(1, "mac", 48), member(2, "port", 9)]);
    let ports = info.value_set("ports").expect("is there");
    assert_eq!((ports.size, ports.fields.get("port").map(|field| field.width_bits)), (4, Ok(16)));
    let reason = info.packet_in().map(|header| header.field("reason").map(|field| (field.id, field.width_bits)));
    assert_eq!(reason, Some(Ok((2, 7))));
    assert!(info.packet_out().is_none());
    assert_eq!(info.source(), &parse_p4info(SAMPLE).expect("is a P4Info"));
}

#[test]
fn names_that_are_not_there_say_what_is() {
    let info = sample();
    let error = |result: Result<&str, UnknownName>| result.expect_err("has a mistake").to_string();
    let golden = [
        (
            error(info.table("ingress.route").map(|table| table.name.as_str())),
            "the P4Info has no table 'ingress.route'; the nearest name is 'ingress.routes'",
        ),
        (
            error(info.counter("events").map(|counter| counter.name.as_str())),
            "the P4Info has several counters 'events': 'egress.events', 'ingress.events'; a full name tells them apart",
        ),
        (
            error(info.action("ingress.send").expect("is there").param("prot").map(|param| param.name.as_str())),
            "action 'ingress.send' has no parameter 'prot'; the nearest name is 'port'",
        ),
        (error(info.register("pins").map(|register| register.name.as_str())), "the P4Info has no register 'pins'"),
    ];
    for (came, wanted) in golden {
        assert_eq!(came, wanted);
    }
}

/// The sample with a part replaced, and what is then said of it.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "id: 33554434 name",
        "id: 33554433 name",
        "table 'ingress.sets' has id 0x02000001, which table 'ingress.routes' has as well",
    ),
    ("\"ingress.sets\"", "\"ingress.routes\"", "table 'ingress.routes' is there twice, as 0x02000001 and 0x02000002"),
    ("id: 33554434 name", "id: 7 name", "table 'ingress.sets' has id 0x00000007; expected 0x02 in its upper 8 bits"),
    ("id: 33554434 name", "id: 0 name", "table 'ingress.sets' has id 0, which stands for all in reads"),
    ("name: \"NoAction\" ", "", "action '' (0x01000002) has no name"),
    (
        "preamble { id: 369098753 name: \"ingress.slots\" alias: \"slots\" }",
        "",
        "a register has no preamble, which tells id and name",
    ),
    (
        "action_refs { id: 16777217 }",
        "action_refs { id: 16777219 }",
        "table 'ingress.routes' names action 0x01000003, which is not in the P4Info",
    ),
    (
        "action_refs { id: 16777217 }",
        "action_refs { id: 16777218 }",
        "table 'ingress.routes' names action 0x01000002 twice",
    ),
    (
        "scope: DEFAULT_ONLY",
        "scope: TABLE_ONLY",
        "table 'ingress.routes' has a const default action 0x01000002 whose scope is entries alone",
    ),
    (
        "const_default_action_id: 16777218",
        "const_default_action_id: 9",
        "table 'ingress.routes' has a const default action 0x00000009 that is none of its own",
    ),
    (
        "{ action_id: 16777218 }",
        "{ action_id: 16777217 arguments { param_id: 5 } }",
        "table 'ingress.routes' gives its initial default action 'ingress.send' parameter 5, which it lacks",
    ),
    (
        "bitwidth: 32 match_type",
        "match_type",
        "table 'ingress.routes', match field 'hdr.ipv4.destination', has a width of 0 bits; expected at least 1",
    ),
    (
        "bitwidth: 32 match_type",
        "bitwidth: -1 match_type",
        "table 'ingress.routes', match field 'hdr.ipv4.destination', has a width of -1 bits; expected at least 1",
    ),
    (
        "match_type: LPM",
        "",
        "table 'ingress.routes', match field 'hdr.ipv4.destination', has no kind of match; expected EXACT, LPM, TERNARY, RANGE or OPTIONAL",
    ),
    (
        "id: 2 name: \"vrf\"",
        "id: 1 name: \"vrf\"",
        "table 'ingress.sets' has id 1 for two match fields: 'set' and 'vrf'",
    ),
    ("id: 2 name: \"vrf\"", "id: 2 name: \"set\"", "table 'ingress.sets' has two match fields 'set', with ids 1 and 2"),
    (
        "type_name { name: \"vrf_t\" }",
        "type_name { name: \"vrf\" }",
        "table 'ingress.sets', match field 'vrf', has type 'vrf', which the P4Info does not describe",
    ),
    (
        "id: 2 name: \"mac\"",
        "id: 0 name: \"mac\"",
        "action 'ingress.send' has a parameter 'mac' with id 0; ids count from 1",
    ),
    ("name: \"mac\" bitwidth: 48 }", "bitwidth: 48 }", "action 'ingress.send' has a parameter 2 without name"),
    (
        "implementation_id: 285212673",
        "implementation_id: 285212674",
        "table 'ingress.sets' is implemented by action profile 0x11000002, which is not in the P4Info",
    ),
    (
        "table_ids: 33554434",
        "",
        "table 'ingress.sets' is implemented by action profile 'ingress.members', which does not list it",
    ),
    (
        "table_ids: 33554434",
        "table_ids: [33554434, 33554433]",
        "action profile 'ingress.members' lists table 'ingress.routes', which it does not implement",
    ),
    (
        "table_ids: 33554434",
        "table_ids: [33554434, 5]",
        "action profile 'ingress.members' lists table 0x00000005, which is not in the P4Info",
    ),
    (
        "direct_resource_ids: 318767105",
        "",
        "direct counter 'ingress.hits' is of table 'ingress.routes', which does not list it",
    ),
    (
        "direct_resource_ids: 318767105",
        "direct_resource_ids: 318767106",
        "table 'ingress.routes' lists direct resource 0x13000002, which is not in the P4Info",
    ),
    (
        "direct_table_id: 33554433",
        "direct_table_id: 33554434",
        "table 'ingress.routes' lists direct resource 0x13000001, which is another table's",
    ),
    (
        "direct_table_id: 33554433",
        "direct_table_id: 33554435",
        "direct counter 'ingress.hits' is of table 0x02000003, which is not in the P4Info",
    ),
    ("size: 1024", "size: -1", "table 'ingress.routes' has a size of -1; expected 0 or more"),
    (
        "spec { unit: BOTH } size: 512",
        "size: 512",
        "counter 'ingress.count.in' does not say what it counts; expected a spec with a unit",
    ),
    (
        "name: \"packet_in\"",
        "name: \"packet\"",
        "packet header 'packet' is unknown; expected 'packet_in' or 'packet_out'",
    ),
    (
        "name: \"reason\" bitwidth: 7",
        "name: \"reason\"",
        "packet header 'packet_in', field 'reason', has a width of 0 bits; expected at least 1",
    ),
    (
        "struct { name: \"learn_t\" }",
        "struct { name: \"learn\" }",
        "digest 'learn_t' has struct 'learn', which the P4Info does not describe",
    ),
    (
        "new_type { name: \"port_t\" }",
        "new_type { name: \"port\" }",
        "digest 'learn_t' has new type 'port', which the P4Info does not describe",
    ),
    (
        "{ original_type { bitstring { bit { bitwidth: 9 } } } }",
        "{ original_type { new_type { name: \"port_t\" } } }",
        "digest 'learn_t' has type 'port_t', which is made of itself",
    ),
    ("bit { bitwidth: 104 }", "bit { }", "register 'ingress.slots' has a type of 0 bits; expected at least 1"),
    (
        "extern_type_id: 129",
        "extern_type_id: 130",
        "extern 'ingress.odd' has id 0x81000001; expected 0x82 in its upper 8 bits",
    ),
];

#[test]
fn mistakes_are_named() {
    for (from, to, wanted) in MISTAKES {
        assert!(SAMPLE.contains(from), "{from}");
        let problems = info(&SAMPLE.replacen(from, to, 1)).expect_err(wanted);
        assert!(problems.iter().any(|problem| problem == wanted), "{wanted}\n{}", problems.join("\n"));
    }
    let nameless = SAMPLE.replacen("match { id: 1 name: \"port\" bitwidth: 16", "match { id: 1 bitwidth: 16", 1);
    assert!(info(&nameless).is_ok_and(|info| info.value_set("ports").is_ok_and(|set| set.fields.len() == 1)));
    assert!(info("").is_ok(), "a program without anything to control");
}

#[test]
fn a_profile_shared_by_two_tables_is_one() {
    let shared = SAMPLE.replacen("size: 1024", "implementation_id: 285212673", 1);
    let shared = shared.replacen("table_ids: 33554434", "table_ids: [33554433, 33554434]", 1);
    let info = info(&shared).expect("is right");
    assert_eq!(info.profile("members").map(|profile| profile.tables.len()), Ok(2));
}
