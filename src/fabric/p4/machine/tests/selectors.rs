//! Action profiles: members, groups with weights and watched ports, one-shot sets.

use super::*;
use crate::fabric::p4::machine::control::{ControlError, Seat, Weighted};

/// A table on `a` whose members send to a port; a flow is told by `b` itself. What sends nowhere goes to port 9.
fn program() -> Value {
    let mut program = base();
    program["actions"] = json!([
        action(0, "send", &[9], vec![assign(field("standard_metadata", "egress_spec"), parameter(0))]),
        action(1, "begin", &[], vec![to_port(9)]),
    ]);
    let mut first = call("first", 1, json!("t"));
    first["next_tables"] = json!({ "begin": "t" });
    program["pipelines"][0]["action_profiles"] = json!([{
        "name": "p", "id": 0, "max_size": 4,
        "selector": { "algo": "identity", "input": [field("h", "b")] },
    }]);
    program["pipelines"][0]["tables"] = json!([first, {
        "name": "t", "id": 1, "match_type": "exact", "type": "indirect_ws", "action_profile": "p", "max_size": 8,
        "key": [{ "match_type": "exact", "name": "a", "target": ["h", "a"], "mask": null }],
        "with_counters": false, "support_timeout": false, "direct_meters": null,
        "action_ids": [0], "actions": ["send"], "next_tables": { "send": null }, "base_default_next": null,
    }]);
    program["pipelines"][0]["init_table"] = json!("first");
    program
}

/// The ports that the flows 0, 1, 2, … take.
fn ports(machine: &mut Machine, flows: u8) -> Vec<u32> {
    (0..flows).flat_map(|flow| frames(machine, &[1, flow, 0, 0])).map(|(port, _)| port).collect()
}

fn seat(member: u32, weight: u32, watch: Option<u32>) -> Seat {
    Seat { member, weight, watch: watch.map(PortNo) }
}

fn with_group(seats: &[Seat]) -> Machine {
    let mut machine = machine(&program());
    for member in 2..5 {
        machine.set_member("p", member, &called("send", &[u128::from(member)])).unwrap();
    }
    machine.set_group("p", 7, seats).unwrap();
    machine.insert("t", &exact(&[1]), &Bound::Group(7), None, Timestamp(0)).unwrap();
    machine
}

#[test]
fn weights_are_repeated_in_their_order() {
    let mut machine = with_group(&[seat(2, 2, None), seat(3, 1, None)]);
    assert_eq!(ports(&mut machine, 6), [2, 2, 3, 2, 2, 3]);
    machine.set_group("p", 7, &[seat(4, 1, None)]).unwrap();
    assert_eq!(ports(&mut machine, 3), [4, 4, 4]);
    // A changed member is changed everywhere.
    machine.set_member("p", 4, &called("send", &[5])).unwrap();
    assert_eq!(ports(&mut machine, 2), [5, 5]);
    assert_eq!(machine.groups("p").unwrap(), [(7, vec![seat(4, 1, None)])]);
}

#[test]
fn ports_that_are_down_are_left_out() {
    let mut machine = with_group(&[seat(2, 1, Some(2)), seat(3, 1, Some(3)), seat(4, 1, None)]);
    let steps: [(u32, bool, &[u32]); 5] = [
        (2, false, &[3, 4, 3, 4]),
        (3, false, &[4, 4, 4, 4]),
        (2, true, &[2, 4, 2, 4]),
        (3, true, &[2, 3, 4, 2]),
        (8, false, &[2, 3, 4, 2]),
    ];
    for (port, up, expected) in steps {
        machine.set_port(PortNo(port), up);
        assert_eq!(ports(&mut machine, 4), expected, "port {port} up: {up}");
    }
    // The controller's port is always up; a port that nobody knows never is.
    machine.set_group("p", 7, &[seat(2, 1, Some(510)), seat(3, 1, Some(77))]).unwrap();
    assert_eq!(ports(&mut machine, 2), [2, 2]);
}

#[test]
fn an_empty_group_runs_nothing() {
    let mut machine = with_group(&[]);
    assert_eq!(ports(&mut machine, 2), [9, 9]);
    machine.set_group("p", 7, &[seat(2, 1, Some(2))]).unwrap();
    machine.set_port(PortNo(2), false);
    assert_eq!(ports(&mut machine, 2), [9, 9]);
}

#[test]
fn one_shot_sets_choose_like_groups() {
    let mut machine = machine(&program());
    let weighted =
        |port: u32, weight| Weighted { call: called("send", &[u128::from(port)]), weight, watch: Some(PortNo(port)) };
    let set = Bound::Set(vec![weighted(2, 1), weighted(3, 2)]);
    machine.insert("t", &exact(&[1]), &set, None, Timestamp(0)).unwrap();
    assert_eq!(ports(&mut machine, 3), [2, 3, 3]);
    machine.set_port(PortNo(3), false);
    assert_eq!(ports(&mut machine, 3), [2, 2, 2]);
    assert_eq!(machine.entry("t", &exact(&[1])).unwrap().bound, set);
    machine.set_port(PortNo(3), true);
    machine.modify("t", &exact(&[1]), &Bound::Set(vec![weighted(3, 1)]), None, Timestamp(0)).unwrap();
    assert_eq!(ports(&mut machine, 2), [3, 3]);
}

#[test]
fn members_and_groups_in_use_stay() {
    let mut machine = with_group(&[seat(2, 1, None)]);
    machine.insert("t", &exact(&[2]), &Bound::Member(3), None, Timestamp(0)).unwrap();
    let in_use = |outcome: Result<(), ControlError>| matches!(outcome, Err(ControlError::InUse { .. }));
    assert!(in_use(machine.remove_member("p", 2)) && in_use(machine.remove_member("p", 3)));
    assert!(in_use(machine.remove_group("p", 7)));
    machine.remove_member("p", 4).unwrap();
    machine.delete("t", &exact(&[1])).unwrap();
    machine.remove_group("p", 7).unwrap();
    machine.remove_member("p", 2).unwrap();
    assert_eq!(machine.members("p").unwrap(), [(3, called("send", &[3]))]);
    let missing = [machine.remove_member("p", 2), machine.remove_group("p", 7)];
    assert!(missing.iter().all(|outcome| matches!(outcome, Err(ControlError::Missing { .. }))));
}

#[test]
fn wrong_profiles_are_refused() {
    let mut machine = with_group(&[]);
    let outcomes = [
        machine.set_member("p", 9, &called("shout", &[])),
        machine.set_member("p", 9, &called("send", &[512])),
        machine.set_group("p", 7, &[seat(2, 0, None)]),
        machine.set_group("p", 7, &[seat(9, 1, None)]),
        machine.set_group("p", 7, &[seat(2, u32::MAX, None)]),
        machine.insert("t", &exact(&[3]), &Bound::Member(9), None, Timestamp(0)),
        machine.insert("t", &exact(&[3]), &Bound::Group(9), None, Timestamp(0)),
        machine.insert("t", &exact(&[3]), &bound("send", &[1]), None, Timestamp(0)),
    ];
    for (at, outcome) in outcomes.iter().enumerate() {
        assert!(matches!(outcome, Err(ControlError::Invalid { .. })), "{at}: {outcome:?}");
    }
    machine.set_member("p", 5, &called("send", &[1])).unwrap();
    let outcome = machine.set_member("p", 6, &called("send", &[1]));
    assert!(matches!(outcome, Err(ControlError::Full { most: 4, .. })), "{outcome:?}");
}
