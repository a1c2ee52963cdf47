//! Every primitive of an action, by what it does to a frame.

use super::*;

/// Actions that leave with `h` as their result.
fn cases() -> Vec<(&'static str, Vec<Value>, Vec<u8>)> {
    let (a, b, c) = (|| field("h", "a"), || field("h", "b"), || field("h", "c"));
    let n = || field("m", "n");
    vec![
        ("assign", vec![assign(a(), b())], vec![2, 2, 3, 4]),
        ("assign cuts", vec![assign(a(), hex(0x1ff))], vec![0xff, 2, 3, 4]),
        ("assign a header's validity", vec![assign(a(), field("h", "$valid$"))], vec![1, 2, 3, 4]),
        ("signed", vec![assign(n(), hex(0xff)), assign(a(), expression("<", n(), hex(0)))], vec![1, 2, 3, 4]),
        ("modify_field", vec![primitive("modify_field", vec![a(), hex(9)])], vec![9, 2, 3, 4]),
        ("add_to_field", vec![primitive("add_to_field", vec![a(), hex(0xff)])], vec![0, 2, 3, 4]),
        ("subtract_from_field", vec![primitive("subtract_from_field", vec![a(), hex(2)])], vec![0xff, 2, 3, 4]),
        ("add", vec![primitive("add", vec![a(), b(), hex(5)])], vec![7, 2, 3, 4]),
        ("subtract", vec![primitive("subtract", vec![a(), b(), hex(5)])], vec![0xfd, 2, 3, 4]),
        ("bit_xor", vec![primitive("bit_xor", vec![a(), b(), hex(3)])], vec![1, 2, 3, 4]),
        ("bit_or", vec![primitive("bit_or", vec![a(), b(), hex(5)])], vec![7, 2, 3, 4]),
        ("bit_and", vec![primitive("bit_and", vec![a(), b(), hex(3)])], vec![2, 2, 3, 4]),
        ("shift_left", vec![primitive("shift_left", vec![c(), c(), hex(4)])], vec![1, 2, 0x30, 0x40]),
        ("shift_right", vec![primitive("shift_right", vec![c(), c(), hex(4)])], vec![1, 2, 0, 0x30]),
        ("no_op", vec![primitive("no_op", vec![])], vec![1, 2, 3, 4]),
        ("log_msg", vec![primitive("log_msg", vec![json!({ "type": "string", "value": "{}" })])], vec![1, 2, 3, 4]),
        ("assert holds", vec![primitive("assert", vec![expression("==", a(), hex(1))])], vec![1, 2, 3, 4]),
        ("_jump", vec![primitive("_jump", vec![hex(2)]), assign(a(), hex(9)), assign(b(), hex(8))], vec![1, 8, 3, 4]),
        (
            "_jump_if_zero, zero",
            vec![primitive("_jump_if_zero", vec![hex(0), hex(9)]), assign(a(), hex(9))],
            vec![1, 2, 3, 4],
        ),
        (
            "_jump_if_zero, not zero",
            vec![primitive("_jump_if_zero", vec![b(), hex(9)]), assign(a(), hex(9))],
            vec![9, 2, 3, 4],
        ),
        ("exit", vec![primitive("exit", vec![]), assign(a(), hex(9))], vec![1, 2, 3, 4]),
        (
            "add_header",
            vec![primitive("add_header", vec![header("g")]), assign(field("g", "c"), c())],
            vec![1, 2, 3, 4, 0, 0, 3, 4],
        ),
        ("remove_header", vec![primitive("remove_header", vec![header("h")])], vec![]),
        (
            "assign_header",
            vec![primitive("assign_header", vec![header("g"), header("h")])],
            vec![1, 2, 3, 4, 1, 2, 3, 4],
        ),
        ("assign_header, invalid", vec![primitive("assign_header", vec![header("h"), header("g")])], vec![]),
        (
            "register",
            vec![
                primitive("register_write", vec![json!({ "type": "register_array", "value": "cells" }), hex(1), c()]),
                primitive(
                    "register_read",
                    vec![field("m", "y"), json!({ "type": "register_array", "value": "cells" }), hex(1)],
                ),
                assign(c(), expression("+", field("m", "y"), hex(1))),
            ],
            vec![1, 2, 3, 5],
        ),
        (
            "register beyond its end",
            vec![
                primitive("register_write", vec![json!({ "type": "register_array", "value": "cells" }), hex(4), c()]),
                primitive(
                    "register_read",
                    vec![a(), json!({ "type": "register_array", "value": "cells" }), hex(u128::MAX)],
                ),
            ],
            vec![1, 2, 3, 4],
        ),
        (
            // CRC-16/ARC of 01 02.
            "hash",
            vec![primitive(
                "modify_field_with_hash_based_offset",
                vec![c(), hex(0), json!({ "type": "calculation", "value": "calc" }), hex(0x10000)],
            )],
            vec![1, 2, 0x51, 0x80],
        ),
        (
            "hash within a range",
            vec![primitive(
                "modify_field_with_hash_based_offset",
                vec![c(), hex(5), json!({ "type": "calculation", "value": "calc" }), hex(1)],
            )],
            vec![1, 2, 0, 5],
        ),
        (
            "hash within no range",
            vec![primitive(
                "modify_field_with_hash_based_offset",
                vec![c(), hex(5), json!({ "type": "calculation", "value": "calc" }), hex(0)],
            )],
            vec![1, 2, 0, 5],
        ),
        ("random of one", vec![primitive("modify_field_rng_uniform", vec![c(), hex(7), hex(7)])], vec![1, 2, 0, 7]),
        ("random of none", vec![primitive("modify_field_rng_uniform", vec![c(), hex(8), hex(7)])], vec![1, 2, 3, 4]),
        ("truncate", vec![primitive("truncate", vec![hex(3)])], vec![1, 2, 3]),
        (
            "execute_meter without rates",
            vec![primitive("execute_meter", vec![json!({ "type": "meter_array", "value": "meters" }), hex(1), a()])],
            vec![0, 2, 3, 4],
        ),
        (
            "execute_meter beyond its end",
            vec![primitive("execute_meter", vec![json!({ "type": "meter_array", "value": "meters" }), hex(2), a()])],
            vec![1, 2, 3, 4],
        ),
    ]
}

#[test]
fn primitives_do_what_they_say() {
    for (name, mut primitives, expected) in cases() {
        primitives.insert(0, to_port(2));
        // Jumps count from the first primitive of the action.
        for primitive in &mut primitives {
            let at = match primitive["op"].as_str() {
                Some("_jump") => 0,
                Some("_jump_if_zero") => 1,
                _ => continue,
            };
            let target = primitive["parameters"][at]["value"].as_str().unwrap().trim_start_matches("0x").to_owned();
            let target = u128::from_str_radix(&target, 16).unwrap() + 1;
            primitive["parameters"][at] = hex(target);
        }
        let is_late = name == "truncate";
        let program = if is_late {
            with_actions(vec![to_port(2)], primitives.split_off(1))
        } else {
            with_actions(primitives, vec![])
        };
        let mut machine = machine(&program);
        for round in 0..2 {
            assert_eq!(frames(&mut machine, &[1, 2, 3, 4]), [(2, expected.clone())], "{name}, round {round}");
        }
    }
}

#[test]
fn what_is_dropped_does_not_leave() {
    let drop = |op: &str| {
        let parameters = if op == "drop" { vec![] } else { vec![header("standard_metadata")] };
        primitive(op, parameters)
    };
    let broken = primitive("assert", vec![expression("==", field("h", "a"), hex(99))]);
    let circle = vec![primitive("_jump", vec![hex(0)])];
    let cases = [
        ("drop", with_actions(vec![to_port(2), drop("drop")], vec![])),
        ("mark_to_drop", with_actions(vec![to_port(2), drop("mark_to_drop")], vec![])),
        ("mark_to_drop in egress", with_actions(vec![to_port(2)], vec![drop("mark_to_drop")])),
        ("a broken assertion", with_actions(vec![to_port(2), broken.clone()], vec![])),
        ("a broken assertion in egress", with_actions(vec![to_port(2)], vec![broken])),
        ("an action that runs in a circle", with_actions(circle, vec![])),
        ("a port without a wire", with_actions(vec![to_port(33)], vec![])),
    ];
    for (name, program) in cases {
        assert_eq!(frames(&mut machine(&program), &[1, 2, 3, 4]), [], "{name}");
    }
    // What is dropped can be taken back.
    let mut machine = machine(&with_actions(vec![drop("drop"), to_port(2)], vec![]));
    assert_eq!(frames(&mut machine, &[1, 2, 3, 4]), [(2, vec![1, 2, 3, 4])]);
}

#[test]
fn expressions_are_calculated() {
    let a = || field("h", "a");
    let n = |value: u128| expression("two_comp_mod", hex(value), hex(8));
    let truth = |condition: Value| expression("b2d", Value::Null, condition);
    let cases = [
        ("masked subtraction", expression("&", expression("-", hex(1), hex(2)), hex(0xff)), 0xff),
        (
            "unary minus",
            expression(
                "&",
                json!({ "type": "expression", "value": { "op": "-", "left": null, "right": hex(1) } }),
                hex(0xffff),
            ),
            0xffff,
        ),
        ("complement", expression("&", expression("~", Value::Null, hex(0x0f)), hex(0xff)), 0xf0),
        ("multiplication", expression("*", hex(7), hex(6)), 42),
        ("division", expression("/", hex(7), hex(2)), 3),
        ("remainder", expression("%", hex(7), hex(4)), 3),
        ("division by zero", expression("/", hex(7), hex(0)), 0),
        ("shift of a negative number", expression("&", expression(">>", n(0x80), hex(1)), hex(0xff)), 0xc0),
        ("order of signed numbers", truth(expression("<", n(0xff), n(1))), 1),
        ("order of unsigned numbers", truth(expression("<", hex(0xff), hex(1))), 0),
        ("at most", truth(expression("<=", hex(1), hex(1))), 1),
        ("at least", truth(expression(">=", hex(0), hex(1))), 0),
        ("more", truth(expression(">", hex(2), hex(1))), 1),
        ("not equal", truth(expression("!=", a(), hex(1))), 0),
        ("valid", truth(expression("valid", Value::Null, header("h"))), 1),
        ("not valid", truth(expression("not", Value::Null, expression("valid", Value::Null, header("g")))), 1),
        ("and", truth(expression("and", truth_of(true), truth_of(false))), 0),
        ("or", truth(expression("or", truth_of(true), truth_of(false))), 1),
        ("equal conditions", truth(expression("==", truth_of(true), truth_of(true))), 1),
        ("number as condition", truth(expression("d2b", Value::Null, hex(2))), 1),
        ("headers differ", truth(expression("==", header("h"), header("g"))), 0),
        ("saturated up", expression("usat_cast", expression("+", hex(200), hex(100)), hex(8)), 255),
        ("saturated down", expression("usat_cast", expression("-", hex(1), hex(2)), hex(8)), 0),
        ("saturated with a sign", expression("sat_cast", expression("+", hex(100), hex(100)), hex(8)), 127),
        (
            "chosen",
            json!({ "type": "expression", "value": { "op": "?", "cond": truth_of(false), "left": hex(1), "right": hex(2) } }),
            2,
        ),
        ("register", json!({ "type": "register", "value": ["cells", hex(3)] }), 0),
    ];
    for (name, value, expected) in cases {
        let program = with_actions(vec![to_port(2), assign(field("h", "c"), value)], vec![]);
        let expected: u16 = expected;
        let [high, low] = expected.to_be_bytes();
        assert_eq!(frames(&mut machine(&program), &[1, 2, 3, 4]), [(2, vec![1, 2, high, low])], "{name}");
    }
}

fn truth_of(value: bool) -> Value {
    json!({ "type": "bool", "value": value })
}
