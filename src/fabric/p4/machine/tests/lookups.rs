//! How tables find their entries.

use super::*;
use crate::fabric::p4::machine::control::ControlError;

/// A table over fields of `h` whose action says what was hit, in `c`; a miss says 0.
fn table(match_type: &str, fields: &[(&str, &str)]) -> Value {
    let mut program = base();
    let say = action(0, "say", &[16], vec![to_port(2), assign(field("h", "c"), parameter(0))]);
    program["actions"] = json!([say]);
    let key: Vec<Value> = fields
        .iter()
        .map(|(name, kind)| json!({ "match_type": kind, "name": name, "target": ["h", name], "mask": null }))
        .collect();
    program["pipelines"][0]["tables"] = json!([{
        "name": "t", "id": 0, "match_type": match_type, "type": "simple", "max_size": 4, "key": key,
        "with_counters": true, "support_timeout": true, "direct_meters": null,
        "action_ids": [0], "actions": ["say"], "next_tables": { "say": null }, "base_default_next": null,
        "default_entry": { "action_id": 0, "action_const": false, "action_data": ["0x0"], "action_entry_const": false },
    }]);
    program["pipelines"][0]["init_table"] = json!("t");
    program
}

fn said(machine: &mut Machine, a: u8, b: u8) -> u16 {
    match frames(machine, &[a, b, 0xff, 0xff]).as_slice() {
        [(2, frame)] => u16::from_be_bytes([frame[2], frame[3]]),
        other => panic!("expected one frame, came {other:?}"),
    }
}

fn add(machine: &mut Machine, parts: Vec<Part>, priority: i32, value: u128) -> Result<(), ControlError> {
    machine.insert("t", &Key { parts, priority }, &bound("say", &[value]), None, Timestamp(0))
}

#[test]
fn the_best_entry_is_found() {
    let lpm = |value, prefix| Part::Lpm { value, prefix };
    let ternary = |value, mask| Part::Ternary { value, mask };
    let range = |low, high| Part::Range { low, high };
    #[expect(clippy::type_complexity, reason = "a table of cases")]
    let cases: [(&str, &str, &[(&str, &str)], Vec<(Vec<Part>, i32)>, &[(u8, u8, u16)]); 5] = [
        (
            "exact",
            "exact",
            &[("a", "exact"), ("b", "exact")],
            vec![(vec![Part::Exact(1), Part::Exact(2)], 0), (vec![Part::Exact(2), Part::Exact(1)], 0)],
            &[(1, 2, 1), (2, 1, 2), (1, 1, 0)],
        ),
        (
            "longest prefix",
            "lpm",
            &[("b", "exact"), ("a", "lpm")],
            vec![
                (vec![Part::Exact(7), lpm(0xf0, 4)], 0),
                (vec![Part::Exact(7), lpm(0xff, 8)], 0),
                (vec![Part::Exact(7), lpm(0, 0)], 0),
                (vec![Part::Exact(8), lpm(0x80, 1)], 0),
            ],
            &[(0xf1, 7, 1), (0xff, 7, 2), (0x01, 7, 3), (0xff, 8, 4), (0x01, 8, 0), (0xff, 9, 0)],
        ),
        (
            "ternary, the greatest priority",
            "ternary",
            &[("a", "ternary"), ("b", "ternary")],
            vec![
                (vec![ternary(0x10, 0xf0), ternary(0, 0)], 5),
                (vec![ternary(0x11, 0xff), ternary(0, 0)], 9),
                (vec![ternary(0, 0), Part::Optional(Some(3))], 1),
                (vec![ternary(0x20, 0xff), Part::Optional(None)], 1),
            ],
            &[(0x12, 3, 1), (0x11, 3, 2), (0x99, 3, 3), (0x20, 4, 4), (0x21, 4, 0)],
        ),
        (
            "range",
            "range",
            &[("a", "range"), ("b", "lpm")],
            vec![
                (vec![range(10, 20), lpm(0, 0)], 1),
                (vec![range(15, 15), lpm(0, 0)], 2),
                (vec![range(0, 255), lpm(0x80, 1)], 3),
            ],
            &[(10, 1, 1), (20, 1, 1), (21, 1, 0), (15, 1, 2), (15, 0x80, 3)],
        ),
        (
            "the first of one priority",
            "ternary",
            &[("a", "ternary")],
            vec![(vec![ternary(1, 1)], 4), (vec![ternary(2, 2)], 4)],
            &[(3, 0, 1), (2, 0, 2)],
        ),
    ];
    for (name, match_type, fields, entries, lookups) in cases {
        let mut machine = machine(&table(match_type, fields));
        for (value, (parts, priority)) in (1..).zip(&entries) {
            add(&mut machine, parts.clone(), *priority, value).unwrap();
        }
        for (a, b, expected) in lookups {
            assert_eq!(said(&mut machine, *a, *b), *expected, "{name}: {a:#x} {b:#x}");
        }
        // What is removed is not found, and what is left still is.
        let (gone, priority) = &entries[0];
        machine.delete("t", &Key { parts: gone.clone(), priority: *priority }).unwrap();
        for (a, b, expected) in lookups.iter().filter(|(_, _, expected)| *expected != 1) {
            assert_eq!(said(&mut machine, *a, *b), *expected, "{name} without the first: {a:#x} {b:#x}");
        }
        assert!(
            lookups.iter().filter(|(_, _, expected)| *expected == 1).all(|(a, b, _)| said(&mut machine, *a, *b) != 1)
        );
    }
}

#[test]
fn entries_of_the_program_are_there_and_stay() {
    let mut program = table("ternary", &[("a", "ternary")]);
    let entry = |value: &str, mask: &str, says: &str, priority: i32| {
        json!({
            "match_key": [{ "match_type": "ternary", "key": value, "mask": mask }],
            "action_entry": { "action_id": 0, "action_data": [says] }, "priority": priority,
        })
    };
    program["pipelines"][0]["tables"][0]["entries"] =
        json!([entry("0x00", "0x00", "0x2", 2), entry("0x10", "0xf0", "0x1", 1)]);
    let mut machine = machine(&program);
    assert_eq!((said(&mut machine, 0x12, 0), said(&mut machine, 0x22, 0)), (1, 2));
    let entries = machine.entries("t").unwrap();
    assert_eq!(entries.iter().map(|entry| entry.is_const).collect::<Vec<_>>(), [true, true]);
    let constant = |outcome: Result<(), ControlError>| matches!(outcome, Err(ControlError::Constant { .. }));
    assert!(constant(machine.delete("t", &entries[0].key)));
    assert!(constant(machine.modify("t", &entries[0].key, &bound("say", &[9]), None, Timestamp(0))));
    assert!(constant(add(&mut machine, vec![Part::Ternary { value: 0x30, mask: 0xf0 }], 1, 3)));
    // The greatest priority is the program's lowest order.
    assert_eq!(entries[1].key.priority, entries[0].key.priority + 1);
}

#[test]
fn wrong_entries_are_refused() {
    let mut machine = machine(&table("lpm", &[("a", "lpm"), ("b", "exact")]));
    let lpm = |value, prefix| Part::Lpm { value, prefix };
    let good = Key { parts: vec![lpm(0x80, 1), Part::Exact(1)], priority: 0 };
    let key = |parts| Key { parts, priority: 0 };
    let refusals = [
        ("a field too few", key(vec![lpm(0, 0)]), bound("say", &[1])),
        ("another kind", key(vec![Part::Exact(1), Part::Exact(1)]), bound("say", &[1])),
        ("a long prefix", key(vec![lpm(0, 9), Part::Exact(1)]), bound("say", &[1])),
        ("a wide value", key(vec![lpm(0x100, 8), Part::Exact(1)]), bound("say", &[1])),
        ("another wide value", key(vec![lpm(0, 0), Part::Exact(u128::MAX)]), bound("say", &[1])),
        ("an unknown action", good.clone(), bound("shout", &[1])),
        ("an argument too few", good.clone(), bound("say", &[])),
        ("a wide argument", good.clone(), bound("say", &[0x10000])),
        ("a member", good.clone(), Bound::Member(1)),
        ("a group", good.clone(), Bound::Group(1)),
        ("a set", good.clone(), Bound::Set(vec![])),
    ];
    for (name, key, bound) in refusals {
        let outcome = machine.insert("t", &key, &bound, None, Timestamp(0));
        assert!(matches!(outcome, Err(ControlError::Invalid { .. })), "{name}: {outcome:?}");
    }
    machine.insert("t", &good, &bound("say", &[1]), None, Timestamp(0)).unwrap();
    // Bits behind the prefix make no other entry.
    let same = key(vec![lpm(0xff, 1), Part::Exact(1)]);
    let outcome = machine.insert("t", &same, &bound("say", &[1]), None, Timestamp(0));
    assert!(matches!(outcome, Err(ControlError::Exists { .. })), "{outcome:?}");
    let missing = key(vec![lpm(0, 0), Part::Exact(1)]);
    for outcome in
        [machine.delete("t", &missing), machine.modify("t", &missing, &bound("say", &[1]), None, Timestamp(0))]
    {
        assert!(matches!(outcome, Err(ControlError::Missing { .. })), "{outcome:?}");
    }
    for at in 2..5 {
        add(&mut machine, vec![lpm(0, 0), Part::Exact(at)], 0, 1).unwrap();
    }
    let outcome = add(&mut machine, vec![lpm(0, 0), Part::Exact(9)], 0, 1);
    assert!(matches!(outcome, Err(ControlError::Full { most: 4, .. })), "{outcome:?}");
    assert!(matches!(machine.delete("u", &good), Err(ControlError::Unknown { .. })));
}

#[test]
fn defaults_change_and_come_back() {
    let mut machine = machine(&table("exact", &[("a", "exact")]));
    assert_eq!(machine.default_call("t").unwrap(), Some(called("say", &[0])));
    machine.set_default("t", Some(&called("say", &[5]))).unwrap();
    assert_eq!(said(&mut machine, 1, 1), 5);
    machine.set_default("t", None).unwrap();
    assert_eq!(said(&mut machine, 1, 1), 0);
    let mut program = table("exact", &[("a", "exact")]);
    program["pipelines"][0]["tables"][0]["default_entry"]["action_const"] = json!(true);
    let outcome = super::machine(&program).set_default("t", None);
    assert!(matches!(outcome, Err(ControlError::Constant { .. })), "{outcome:?}");
}

#[test]
fn hits_count_and_idle_entries_are_told() {
    let mut machine = machine(&table("exact", &[("a", "exact")]));
    let timeout = Some(std::time::Duration::from_millis(1_500));
    let key = exact(&[1]);
    machine.insert("t", &key, &bound("say", &[1]), timeout, Timestamp(0)).unwrap();
    machine.insert("t", &exact(&[2]), &bound("say", &[2]), None, Timestamp(0)).unwrap();
    machine.receive(PortNo(1), &[1, 0, 0, 0, 0], Timestamp(500_000));
    let entry = machine.entry("t", &key).unwrap();
    assert_eq!((entry.counter.packets, entry.counter.bytes, entry.last_hit), (1, 5, Timestamp(500_000)));
    // Told in the sweep after the time-out, then in every second one until it is hit.
    let told = |machine: &mut Machine, second: u64| machine.advance(Timestamp::from_secs(second)).len();
    let counts: Vec<usize> = (1..=7).map(|second| told(&mut machine, second)).collect();
    assert_eq!(counts, [0, 1, 0, 1, 0, 1, 0]);
    machine.receive(PortNo(1), &[1, 0, 0, 0], Timestamp::from_secs(8));
    assert_eq!((told(&mut machine, 8), told(&mut machine, 9), told(&mut machine, 10)), (0, 0, 1));
    assert_eq!(told(&mut machine, 11), 0);
    let told = machine.advance(Timestamp::from_secs(12));
    assert_eq!(told, [Emission::IdleTimeout { table: "t".into(), key: key.clone() }]);
    machine.set_direct_counter("t", &key, super::super::control::Counter { packets: 9, bytes: 9 }).unwrap();
    assert_eq!(machine.entry("t", &key).unwrap().counter.packets, 9);
}
