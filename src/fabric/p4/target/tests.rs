//! The target's rules as tables.

use super::key::{Call, Part, Watch, check_action, read_key, write_key};
use super::schema::Schema;
use super::*;
use crate::wire::p4runtime::text::parse_p4info;

/// A table of every kind of match, one by profile, and what belongs to them.
const INFO: &str = r#"
tables {
  preamble { id: 0x02000001 name: "ingress.mixed" alias: "mixed" }
  match_fields { id: 1 name: "e" bitwidth: 9 match_type: EXACT }
  match_fields { id: 2 name: "l" bitwidth: 32 match_type: LPM }
  match_fields { id: 3 name: "t" bitwidth: 16 match_type: TERNARY }
  match_fields { id: 4 name: "r" bitwidth: 16 match_type: RANGE }
  match_fields { id: 5 name: "o" bitwidth: 8 match_type: OPTIONAL }
  action_refs { id: 0x01000001 }
  action_refs { id: 0x01000002 scope: TABLE_ONLY }
  action_refs { id: 0x01000003 scope: DEFAULT_ONLY }
  size: 4
}
tables {
  preamble { id: 0x02000002 name: "ingress.plain" alias: "plain" }
  match_fields { id: 1 name: "e" bitwidth: 9 match_type: EXACT }
  action_refs { id: 0x01000001 }
  size: 2
}
actions { preamble { id: 0x01000001 name: "ingress.send" alias: "send" } params { id: 1 name: "port" bitwidth: 9 } }
actions { preamble { id: 0x01000002 name: "ingress.drop" alias: "drop" } }
actions { preamble { id: 0x01000003 name: "NoAction" alias: "NoAction" } }
actions { preamble { id: 0x01000004 name: "ingress.other" alias: "other" } }
"#;

const MIXED: u32 = 0x0200_0001;
const PLAIN: u32 = 0x0200_0002;
const SEND: u32 = 0x0100_0001;
const DROP: u32 = 0x0100_0002;
const NO_ACTION: u32 = 0x0100_0003;
const OTHER: u32 = 0x0100_0004;

fn schema() -> Schema {
    Schema::new(&parse_p4info(INFO).unwrap()).unwrap()
}

fn exact(id: u32, value: &[u8]) -> v1::FieldMatch {
    let exact = v1::field_match::Exact { value: value.to_vec() };
    v1::FieldMatch { field_id: id, field_match_type: Some(v1::field_match::FieldMatchType::Exact(exact)) }
}

fn lpm(id: u32, value: &[u8], prefix_len: i32) -> v1::FieldMatch {
    let lpm = v1::field_match::Lpm { value: value.to_vec(), prefix_len };
    v1::FieldMatch { field_id: id, field_match_type: Some(v1::field_match::FieldMatchType::Lpm(lpm)) }
}

fn ternary(id: u32, value: &[u8], mask: &[u8]) -> v1::FieldMatch {
    let ternary = v1::field_match::Ternary { value: value.to_vec(), mask: mask.to_vec() };
    v1::FieldMatch { field_id: id, field_match_type: Some(v1::field_match::FieldMatchType::Ternary(ternary)) }
}

fn range(id: u32, low: &[u8], high: &[u8]) -> v1::FieldMatch {
    let range = v1::field_match::Range { low: low.to_vec(), high: high.to_vec() };
    v1::FieldMatch { field_id: id, field_match_type: Some(v1::field_match::FieldMatchType::Range(range)) }
}

fn optional(id: u32, value: &[u8]) -> v1::FieldMatch {
    let optional = v1::field_match::Optional { value: value.to_vec() };
    v1::FieldMatch { field_id: id, field_match_type: Some(v1::field_match::FieldMatchType::Optional(optional)) }
}

fn entry(table: u32, priority: i32, matches: &[v1::FieldMatch]) -> v1::TableEntry {
    v1::TableEntry { table_id: table, r#match: matches.to_vec(), priority, ..Default::default() }
}

#[test]
fn keys_are_read_and_written_canonically() {
    let schema = schema();
    let table = &schema.tables[&MIXED];
    let given = entry(
        MIXED,
        7,
        &[
            range(4, &[0, 0, 1], &[2, 0]),
            exact(1, &[0, 0, 3]),
            lpm(2, &[10, 1, 0, 0], 16),
            ternary(3, &[8], &[0, 0x0f]),
            optional(5, &[0, 6]),
        ],
    );
    let key = read_key(table, &given, Behaviour::Specification).unwrap();
    assert_eq!(
        key.parts,
        [
            Part::Exact(3),
            Part::Lpm { value: 0x0a01_0000, prefix: 16 },
            Part::Ternary { value: 8, mask: 15 },
            Part::Range { low: 1, high: 512 },
            Part::Optional(Some(6)),
        ]
    );
    let written = [
        exact(1, &[3]),
        lpm(2, &[10, 1, 0, 0], 16),
        ternary(3, &[8], &[15]),
        range(4, &[1], &[2, 0]),
        optional(5, &[6]),
    ];
    assert_eq!(write_key(&key, table), written);
    // What matches everything is left out.
    let key = read_key(table, &entry(MIXED, 1, &[exact(1, &[1])]), Behaviour::Specification).unwrap();
    assert_eq!(write_key(&key, table), [exact(1, &[1])]);
}

#[test]
fn bad_keys_are_refused() {
    let schema = schema();
    let key = exact(1, &[1]);
    let mixed = |priority, extra: v1::FieldMatch| entry(MIXED, priority, &[key.clone(), extra]);
    let cases = [
        (entry(MIXED, 1, &[]), "Missing non-ternary field", Code::InvalidArgument),
        (entry(MIXED, 0, std::slice::from_ref(&key)), "Zero priority", Code::InvalidArgument),
        (entry(PLAIN, 3, std::slice::from_ref(&key)), "Non-zero priority", Code::InvalidArgument),
        (entry(MIXED, -1, std::slice::from_ref(&key)), "Negative priority", Code::InvalidArgument),
        (entry(PLAIN, 0, &[key.clone(), key.clone()]), "Too many fields", Code::InvalidArgument),
        (mixed(1, exact(9, &[1])), "Unknown field", Code::InvalidArgument),
        (mixed(1, exact(2, &[1])), "Invalid match type", Code::InvalidArgument),
        (entry(PLAIN, 0, &[exact(1, &[2, 0])]), "at most 9", Code::OutOfRange),
        (entry(PLAIN, 0, &[exact(1, &[])]), "empty", Code::OutOfRange),
        (mixed(1, lpm(2, &[10, 0, 0, 0], -1)), "cannot be < 0", Code::InvalidArgument),
        (mixed(1, lpm(2, &[10, 0, 0, 0], 33)), "cannot be > bitwidth", Code::InvalidArgument),
        (mixed(1, lpm(2, &[0], 0)), "prefix length of 0", Code::InvalidArgument),
        (mixed(1, lpm(2, &[10, 0, 0, 1], 8)), "trailing zeros", Code::InvalidArgument),
        (mixed(1, ternary(3, &[0], &[0])), "0 mask", Code::InvalidArgument),
        (mixed(1, ternary(3, &[3], &[1])), "value & mask", Code::InvalidArgument),
        (mixed(1, range(4, &[5], &[4])), "low <= high", Code::InvalidArgument),
        (mixed(1, range(4, &[0], &[0xff, 0xff])), "low=0 and high", Code::InvalidArgument),
    ];
    for (entry, expected, code) in cases {
        let refusal = read_key(&schema.tables[&entry.table_id], &entry, Behaviour::Specification).unwrap_err();
        assert!(refusal.message.contains(expected), "{entry:?}: {}", refusal.message);
        assert_eq!(refusal.code, code, "{entry:?}");
        // BMv2 has one code for all of them; it takes nothing for 0, and a whole range whose 0 is canonical.
        match read_key(&schema.tables[&entry.table_id], &entry, Behaviour::Bmv2) {
            Ok(key) => assert!(key.parts[0] == Part::Exact(0) || expected == "low=0 and high", "{entry:?}"),
            Err(refusal) => assert_eq!(refusal.code, Code::InvalidArgument),
        }
    }
}

fn action(id: u32, params: &[(u32, &[u8])]) -> v1::Action {
    let param = |(id, value): &(u32, &[u8])| v1::action::Param { param_id: *id, value: value.to_vec() };
    v1::Action { action_id: id, params: params.iter().map(param).collect() }
}

#[test]
fn actions_are_checked() {
    let schema = schema();
    let call = Call::read(&schema, &action(SEND, &[(1, &[0, 1, 2])]), Behaviour::Bmv2).unwrap();
    assert_eq!(call.write(&schema), action(SEND, &[(1, &[1, 2])]));
    for (bad, code) in [
        (action(SEND, &[]), Code::InvalidArgument),
        (action(SEND, &[(2, &[1])]), Code::InvalidArgument),
        (action(SEND, &[(1, &[2, 0])]), Code::OutOfRange),
        (action(0x0100_00ff, &[]), Code::NotFound),
    ] {
        assert_eq!(Call::read(&schema, &bad, Behaviour::Specification).unwrap_err().code, code, "{bad:?}");
    }
    let table = &schema.tables[&MIXED];
    for (id, is_default, expected) in [
        (SEND, false, Ok(())),
        (SEND, true, Ok(())),
        (DROP, false, Ok(())),
        (DROP, true, Err(Code::PermissionDenied)),
        (NO_ACTION, true, Ok(())),
        (NO_ACTION, false, Err(Code::PermissionDenied)),
        (OTHER, false, Err(Code::InvalidArgument)),
        (0x0100_00ff, false, Err(Code::InvalidArgument)),
    ] {
        let outcome = check_action(&schema, table, id, is_default, Behaviour::Specification);
        assert_eq!(outcome.map_err(|refusal| refusal.code), expected, "{id:#x}, default: {is_default}");
    }
}

#[test]
fn watched_ports_are_numbers() {
    for (watch, port) in [
        (Watch::Nothing, None),
        (Watch::Number(3), Some(3)),
        (Watch::Number(0), None),
        (Watch::Number(-1), None),
        (Watch::Port(vec![1, 0]), Some(256)),
        (Watch::Port(Vec::new()), None),
        (Watch::Port(vec![0]), None),
        (Watch::Port(vec![1, 0, 0, 0, 0]), None),
    ] {
        assert_eq!(watch.port(), port.map(PortNo), "{watch:?}");
    }
}

#[test]
fn schemas_that_cannot_be_served_are_refused() {
    let flaw = |text: &str| Schema::new(&parse_p4info(text).unwrap()).unwrap_err();
    let cases = [
        ("tables { preamble { id: 1 } }", "expected a table with an id and a name"),
        (
            "tables { preamble { id: 1 name: 't' } action_refs { id: 9 } }",
            "table 't' has the action 0x00000009, which is not there",
        ),
        ("tables { preamble { id: 1 name: 't' } implementation_id: 9 }", "implementation 0x00000009"),
        ("tables { preamble { id: 1 name: 't' } match_fields { id: 1 name: 'f' bitwidth: 8 } }", "field 'f'"),
        (
            "tables { preamble { id: 1 name: 't' } match_fields { id: 1 name: 'f' match_type: EXACT bitwidth: 129 } }",
            "129 bits",
        ),
        ("actions { preamble { id: 1 name: 'a' } } actions { preamble { id: 1 name: 'b' } }", "twice"),
    ];
    for (text, expected) in cases {
        let flaw = flaw(text);
        assert!(flaw.contains(expected), "{text}: {flaw}");
    }
}

const EVERY_INFO: &str = include_str!("../../../../tests/p4target/every.p4info.txtpb");
const EVERY: &str = include_str!("../../../../tests/p4target/every.json");
const NOW: Timestamp = Timestamp::from_secs(1);
const PRIMARY: StreamId = StreamId(1);

/// A target with the program that has every kind of entity, and its primary.
fn target(behaviour: Behaviour) -> Target {
    let settings = TargetSettings { device: 1, behaviour, cpu_port: PortNo(510), ports: vec![PortNo(1), PortNo(2)] };
    let mut target = Target::new(settings);
    let election_id = Some(v1::Uint128 { high: 0, low: 1 });
    let update = v1::MasterArbitrationUpdate { device_id: 1, election_id, ..Default::default() };
    let update = v1::stream_message_request::Update::Arbitration(update);
    target.hear(PRIMARY, &v1::StreamMessageRequest { update: Some(update) }, NOW);
    let config = v1::ForwardingPipelineConfig {
        p4info: Some(parse_p4info(EVERY_INFO).unwrap()),
        p4_device_config: EVERY.as_bytes().to_vec(),
        cookie: None,
    };
    let request = v1::SetForwardingPipelineConfigRequest {
        device_id: 1,
        election_id,
        action: Push::VerifyAndCommit as i32,
        config: Some(config),
        ..Default::default()
    };
    target.set_pipeline(&request, NOW).unwrap();
    target
}

/// An object's id by its alias.
fn id(alias: &str) -> u32 {
    let info = parse_p4info(EVERY_INFO).unwrap();
    let preambles = info.tables.iter().map(|table| &table.preamble);
    let preambles = preambles.chain(info.actions.iter().map(|action| &action.preamble));
    let preambles = preambles.chain(info.action_profiles.iter().map(|profile| &profile.preamble));
    let mut preambles = preambles.chain(info.counters.iter().map(|counter| &counter.preamble)).flatten();
    preambles.find(|preamble| preamble.alias == alias).map(|preamble| preamble.id).unwrap()
}

/// The code of one update, alone in its batch.
fn write(target: &mut Target, kind: v1::update::Type, entity: v1::entity::Entity) -> Code {
    let request = v1::WriteRequest {
        device_id: 1,
        election_id: Some(v1::Uint128 { high: 0, low: 1 }),
        updates: vec![v1::Update { r#type: kind as i32, entity: Some(v1::Entity { entity: Some(entity) }) }],
        ..Default::default()
    };
    match target.write(&request, NOW) {
        Ok(()) => Code::Ok,
        Err(refusal) => Code::from_i32(refusal.details[0].canonical_code),
    }
}

fn row(table: &str, key: u8, does: v1::table_action::Type) -> v1::entity::Entity {
    v1::entity::Entity::TableEntry(v1::TableEntry {
        table_id: id(table),
        r#match: vec![exact(1, &[key])],
        action: Some(v1::TableAction { r#type: Some(does) }),
        ..Default::default()
    })
}

fn does(name: &str, params: &[(u32, &[u8])]) -> v1::table_action::Type {
    v1::table_action::Type::Action(action(id(name), params))
}

fn seat(member_id: u32, weight: i32) -> v1::action_profile_group::Member {
    v1::action_profile_group::Member { member_id, weight, watch_kind: None }
}

fn group(group_id: u32, max_size: i32, members: Vec<v1::action_profile_group::Member>) -> v1::entity::Entity {
    let action_profile_id = id("ways");
    v1::entity::Entity::ActionProfileGroup(v1::ActionProfileGroup { action_profile_id, group_id, members, max_size })
}

fn member(profile: &str, member_id: u32) -> v1::entity::Entity {
    let action = Some(action(id("send"), &[(1, &[1])]));
    v1::entity::Entity::ActionProfileMember(v1::ActionProfileMember {
        action_profile_id: id(profile),
        member_id,
        action,
    })
}

/// What the two servers answer where they differ, and some of where they do not.
#[test]
fn updates_have_the_codes_of_the_server_that_is_played() {
    use v1::table_action::Type::{ActionProfileGroupId, ActionProfileMemberId};
    use v1::update::Type::{Delete, Insert, Modify};
    let send = || does("counted_send", &[(1, &[1])]);
    let counter = |index| {
        let index = Some(v1::Index { index });
        v1::entity::Entity::CounterEntry(v1::CounterEntry { counter_id: id("frames"), index, data: None })
    };
    let constant = || {
        v1::entity::Entity::TableEntry(v1::TableEntry {
            table_id: id("fixed"),
            r#match: vec![exact(1, &[6, 0])],
            action: Some(v1::TableAction { r#type: Some(does("drop", &[])) }),
            ..Default::default()
        })
    };
    let mut script = Vec::new();
    for key in 1..=8 {
        script.push((Insert, row("plain", key, send()), Code::Ok, Code::Ok));
    }
    script.extend([
        (Insert, row("plain", 9, send()), Code::Unknown, Code::ResourceExhausted),
        (Insert, row("plain", 1, send()), Code::AlreadyExists, Code::AlreadyExists),
        (Modify, row("plain", 9, send()), Code::NotFound, Code::NotFound),
        (Delete, constant(), Code::NotFound, Code::PermissionDenied),
        (Modify, constant(), Code::NotFound, Code::PermissionDenied),
        (Insert, row("spread", 1, ActionProfileMemberId(1)), Code::InvalidArgument, Code::NotFound),
        (Insert, row("spread", 1, ActionProfileGroupId(1)), Code::InvalidArgument, Code::NotFound),
        (Insert, member("ways", 0), Code::Ok, Code::InvalidArgument),
        (Insert, member("ways", 1), Code::Ok, Code::Ok),
        (Insert, member("ways", 2), Code::Ok, Code::Ok),
        (Insert, group(1, 0, Vec::new()), Code::Ok, Code::InvalidArgument),
        (Insert, group(1, 17, Vec::new()), Code::InvalidArgument, Code::InvalidArgument),
        (Insert, group(2, 16, vec![seat(1, 17)]), Code::ResourceExhausted, Code::ResourceExhausted),
        // BMv2 keeps the refused one, empty.
        (Insert, group(2, 16, vec![seat(1, 16)]), Code::AlreadyExists, Code::Ok),
        (Modify, group(2, 0, vec![seat(1, 8), seat(2, 8)]), Code::Ok, Code::InvalidArgument),
        (Modify, group(2, 8, vec![seat(1, 8)]), Code::InvalidArgument, Code::InvalidArgument),
        (Modify, group(2, 16, vec![seat(1, 1), seat(1, 1)]), Code::InvalidArgument, Code::InvalidArgument),
        (Modify, group(2, 16, vec![seat(1, 1), seat(9, 1)]), Code::NotFound, Code::NotFound),
        (Insert, row("spread", 1, ActionProfileGroupId(2)), Code::Ok, Code::Ok),
        (Delete, group(2, 0, Vec::new()), Code::Unknown, Code::FailedPrecondition),
        (Delete, member("ways", 1), Code::Unknown, Code::FailedPrecondition),
        (Delete, row("spread", 1, ActionProfileGroupId(2)), Code::Ok, Code::Ok),
        (Delete, group(2, 0, Vec::new()), Code::Ok, Code::Ok),
        (Delete, member("ways", 1), Code::Ok, Code::Ok),
        (Modify, counter(8), Code::Unknown, Code::OutOfRange),
        (Modify, counter(-1), Code::InvalidArgument, Code::InvalidArgument),
        (Delete, counter(1), Code::Ok, Code::InvalidArgument),
    ]);
    for behaviour in [Behaviour::Bmv2, Behaviour::Specification] {
        let mut target = target(behaviour);
        for (number, (kind, entity, bmv2, specification)) in script.iter().enumerate() {
            let code = write(&mut target, *kind, entity.clone());
            let expected = behaviour.pick(*bmv2, *specification);
            assert_eq!(code, expected, "{behaviour:?}, step {number}: {kind:?} {entity:?}");
        }
    }
}

#[test]
fn roles_have_primaries_of_their_own() {
    let mut target = target(Behaviour::Specification);
    target.take_effects();
    let other = StreamId(2);
    let election_id = Some(v1::Uint128 { high: 1, low: 0 });
    let role = Some(v1::Role { name: "watcher".to_owned(), ..Default::default() });
    let update = v1::MasterArbitrationUpdate { device_id: 1, role, election_id, status: None };
    let update = v1::stream_message_request::Update::Arbitration(update);
    target.hear(other, &v1::StreamMessageRequest { update: Some(update) }, NOW);
    let told: Vec<_> = target.take_effects();
    assert!(matches!(&told[..], [Effect::Say(stream, _)] if *stream == other), "{told:?}");
    let entity = Some(v1::Entity { entity: Some(row("plain", 1, does("counted_send", &[(1, &[2])]))) });
    let mut request = v1::WriteRequest {
        device_id: 1,
        election_id,
        updates: vec![v1::Update { r#type: v1::update::Type::Insert as i32, entity }],
        ..Default::default()
    };
    assert_eq!(target.write(&request, NOW).unwrap_err().code, Code::PermissionDenied, "not of the default role");
    request.role = "watcher".to_owned();
    assert_eq!(target.write(&request, NOW), Ok(()));
    request.device_id = 2;
    assert_eq!(target.write(&request, NOW).unwrap_err().code, Code::NotFound);
}
