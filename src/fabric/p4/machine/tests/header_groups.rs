//! Stacks, unions, fields of variable length, fields wider than a number.

use super::*;

fn stack() -> Value {
    json!({ "type": "header_stack", "value": "s" })
}

fn extract(kind: &str, value: &str) -> Value {
    json!({ "op": "extract", "parameters": [{ "type": kind, "value": value }] })
}

fn parsing(mut program: Value, ops: Vec<Value>) -> Value {
    program["parsers"][0]["parse_states"][0]["parser_ops"] = json!(ops);
    program
}

#[test]
fn stacks_shift_and_are_indexed() {
    let at = |index: Value| {
        let instance = expression("dereference_header_stack", stack(), index);
        json!({ "type": "expression", "value": { "op": "access_field", "left": instance, "right": 0 } })
    };
    let cases: [(&str, Vec<Value>, &[u8]); 10] = [
        ("push", vec![primitive("push", vec![stack(), hex(1)])], &[5]),
        ("push far", vec![primitive("push", vec![stack(), hex(1 << 70)])], &[]),
        ("pop", vec![primitive("pop", vec![stack(), hex(1)])], &[6]),
        ("pop far", vec![primitive("pop", vec![stack(), hex(9)])], &[]),
        (
            "read by index",
            vec![assign(field("s[0]", "v"), at(field("s[1]", "v"))), assign(field("s[1]", "v"), at(hex(0)))],
            &[0, 0],
        ),
        ("write by index", vec![assign(at(hex(1)), hex(9))], &[5, 9]),
        ("write beyond the end", vec![assign(at(hex(2)), hex(9))], &[5, 6]),
        ("the last", vec![assign(field("s[0]", "v"), json!({ "type": "stack_field", "value": ["s", "v"] }))], &[6, 6]),
        ("its index", vec![assign(field("s[0]", "v"), expression("last_stack_index", Value::Null, stack()))], &[1, 6]),
        ("its size", vec![assign(field("s[0]", "v"), expression("size_stack", Value::Null, stack()))], &[2, 6]),
    ];
    for (name, mut primitives, expected) in cases {
        primitives.push(to_port(2));
        let program = parsing(with_actions(primitives, vec![]), vec![extract("stack", "s"), extract("stack", "s")]);
        assert_eq!(frames(&mut machine(&program), &[5, 6]), [(2, expected.to_vec())], "{name}");
    }
}

#[test]
fn one_member_of_a_union_is_valid() {
    let union = json!({ "type": "header_union", "value": "u" });
    let valid = expression("b2d", Value::Null, expression("valid_union", Value::Null, union));
    let cases: [(&str, Vec<Value>, &[u8]); 3] = [
        ("extracted", vec![], &[5, 6, 7, 8]),
        ("another is made valid", vec![primitive("add_header", vec![header("u.one")])], &[0]),
        (
            "none is left",
            vec![
                primitive("remove_header", vec![header("u.two")]),
                primitive("add_header", vec![header("s[0]")]),
                assign(field("s[0]", "v"), valid),
            ],
            &[0],
        ),
    ];
    for (name, mut primitives, expected) in cases {
        primitives.push(to_port(2));
        let program = parsing(with_actions(primitives, vec![]), vec![extract("regular", "u.two")]);
        assert_eq!(frames(&mut machine(&program), &[5, 6, 7, 8]), [(2, expected.to_vec())], "{name}");
    }
}

#[test]
fn lengths_of_fields_vary() {
    let variable = |bits: Value| json!({ "op": "extract_VL", "parameters": [{ "type": "regular", "value": "v" }, { "type": "expression", "value": bits }] });
    let eight_times_a = expression("*", field("h", "a"), hex(8));
    let error = assign(field("h", "b"), field("standard_metadata", "parser_error"));
    let cases: [(&str, Value, &[u8], &[u8]); 5] = [
        ("none", eight_times_a.clone(), &[0, 9, 9, 9, 1], &[0, 0, 9, 9, 1]),
        ("two bytes", eight_times_a.clone(), &[2, 9, 9, 9, 1, 2, 3], &[2, 0, 9, 9, 1, 2, 3]),
        ("more than came", eight_times_a.clone(), &[3, 9, 9, 9, 1], &[3, 1, 9, 9, 1]),
        ("more than fits", eight_times_a, &[5, 9, 9, 9, 1, 2, 3, 4, 5], &[5, 4, 9, 9, 1, 2, 3, 4, 5]),
        ("half a byte", hex(4), &[5, 9, 9, 9, 1], &[5, 6, 9, 9, 1]),
    ];
    for (name, bits, frame, expected) in cases {
        let program = with_actions(vec![to_port(2), error.clone()], vec![]);
        let program = parsing(program, vec![extract("regular", "h"), variable(bits)]);
        assert_eq!(frames(&mut machine(&program), frame), [(2, expected.to_vec())], "{name}");
    }
}

#[test]
fn wide_fields_are_copied_and_compared() {
    let frame: Vec<u8> = (1..=41).collect();
    let huge = || field("w", "huge");
    let copy = vec![
        primitive("add_header", vec![header("w2")]),
        assign(field("w2", "wide"), field("w", "wide")),
        assign(field("w2", "huge"), huge()),
    ];
    let compare = vec![
        primitive("assign_header", vec![header("w2"), header("w")]),
        assign(field("w2", "wide"), expression("b2d", Value::Null, expression("==", huge(), field("w2", "huge")))),
        assign(field("w", "wide"), expression("b2d", Value::Null, expression("==", header("w"), header("w2")))),
        assign(field("w2", "huge"), hex(7)),
        assign(huge(), hex(0)),
    ];
    let zeros = |bytes: usize, last: u8| [vec![0; bytes - 1], vec![last]].concat();
    let compared = [zeros(16, 0), zeros(25, 0), zeros(16, 1), zeros(25, 7)].concat();
    for (name, mut primitives, expected) in
        [("copied", copy, [frame.clone(), frame.clone()].concat()), ("compared", compare, compared)]
    {
        primitives.push(to_port(2));
        let program = parsing(with_actions(primitives, vec![]), vec![extract("regular", "w")]);
        assert_eq!(frames(&mut machine(&program), &frame), [(2, expected)], "{name}");
    }
}
