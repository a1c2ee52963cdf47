//! Parsers: what is extracted, where they go, how they fail; checksums.

use super::*;

fn state(name: &str, ops: Vec<Value>, key: Vec<Value>, transitions: Vec<Value>) -> Value {
    json!({ "name": name, "id": 0, "parser_ops": ops, "transition_key": key, "transitions": transitions })
}

fn on(value: &str, mask: Value, next: Value) -> Value {
    json!({ "type": "hexstr", "value": value, "mask": mask, "next_state": next })
}

fn otherwise(next: Value) -> Value {
    json!({ "type": "default", "value": null, "mask": null, "next_state": next })
}

fn op(name: &str, parameters: Vec<Value>) -> Value {
    json!({ "op": name, "parameters": parameters })
}

fn extract(name: &str) -> Value {
    op("extract", vec![json!({ "type": "regular", "value": name })])
}

/// A program that leaves with the parser's error in its first byte.
fn parser(states: Vec<Value>) -> Value {
    let ingress = vec![
        to_port(2),
        primitive("add_header", vec![header("h")]),
        assign(field("h", "a"), field("standard_metadata", "parser_error")),
    ];
    let mut program = with_actions(ingress, vec![]);
    program["parsers"][0]["parse_states"] = json!(states);
    program
}

#[test]
fn states_follow_their_keys() {
    let key = vec![field("h", "a"), field("h", "c")];
    let transitions = vec![
        on("0x010304", Value::Null, json!("more")),
        on("0x800000", json!("0x800000"), json!("more")),
        json!({ "type": "parse_vset", "value": "set", "mask": null, "next_state": "more" }),
        otherwise(Value::Null),
    ];
    let program = parser(vec![
        state("start", vec![extract("h")], key, transitions),
        state(
            "more",
            vec![extract("g"), op("set", vec![field("g", "b"), hex(0xee)])],
            vec![],
            vec![otherwise(Value::Null)],
        ),
    ]);
    let cases: [(&[u8], &[u8]); 4] = [
        (&[1, 2, 3, 4, 5, 6, 7, 8], &[0, 2, 3, 4, 5, 0xee, 7, 8]),
        (&[0x81, 2, 9, 9, 5, 6, 7, 8], &[0, 2, 9, 9, 5, 0xee, 7, 8]),
        (&[1, 2, 3, 5, 5, 6, 7, 8], &[0, 2, 3, 5, 5, 6, 7, 8]),
        (&[1, 2, 3, 4, 5, 6], &[1, 2, 3, 4, 5, 6]),
    ];
    for (frame, expected) in cases {
        assert_eq!(frames(&mut machine(&program), frame), [(2, expected.to_vec())], "{frame:?}");
    }
}

#[test]
fn parsers_fail_with_their_error() {
    let ahead = |offset: u32, width: u32| json!({ "type": "lookahead", "value": [offset, width] });
    let stack = || op("extract", vec![json!({ "type": "stack", "value": "s" })]);
    let verify = op("verify", vec![expression("==", field("h", "a"), hex(1)), hex(7)]);
    let cases: Vec<(&str, Vec<Value>, &[u8], u8)> = vec![
        ("all is there", vec![extract("h")], &[1, 2, 3, 4], 0),
        ("a short frame", vec![extract("h")], &[1, 2, 3], 1),
        ("no frame", vec![extract("h")], &[], 1),
        ("a full stack", vec![stack(), stack(), stack()], &[1, 2, 3, 4], 3),
        ("a look beyond the end", vec![op("set", vec![field("m", "z"), ahead(16, 16)])], &[1, 2, 3], 1),
        ("a look at the end", vec![op("set", vec![field("m", "z"), ahead(8, 16)])], &[1, 2, 3], 0),
        ("an advance too far", vec![op("advance", vec![hex(40)])], &[1, 2, 3, 4], 1),
        ("an advance by bits", vec![op("advance", vec![hex(4)])], &[1, 2, 3, 4], 6),
        ("an endless advance", vec![op("advance", vec![hex(u128::MAX - 7)])], &[1, 2, 3, 4], 1),
        ("a condition that fails", vec![extract("h"), verify.clone()], &[2, 2, 3, 4], 7),
        ("a condition that holds", vec![extract("h"), verify], &[1, 2, 3, 4], 0),
        ("a shift", vec![op("shift", vec![json!(2)]), extract("h")], &[1, 2, 3, 4, 5, 6], 0),
    ];
    for (name, ops, frame, expected) in cases {
        let program = parser(vec![state("start", ops, vec![], vec![otherwise(Value::Null)])]);
        let frames = frames(&mut machine(&program), frame);
        assert_eq!(frames.first().map(|(_, frame)| frame[0]), Some(expected), "{name}: {frames:?}");
    }
}

#[test]
fn a_parser_that_runs_in_a_circle_ends() {
    let program = parser(vec![state("start", vec![], vec![], vec![otherwise(json!("start"))])]);
    assert_eq!(frames(&mut machine(&program), &[1, 2]), [(2, vec![5, 0, 0, 0, 1, 2])]);
}

#[test]
fn lookahead_does_not_consume() {
    let ahead = json!({ "type": "lookahead", "value": [4, 8] });
    let program = parser(vec![
        state("start", vec![], vec![ahead], vec![on("0x23", Value::Null, json!("yes")), otherwise(Value::Null)]),
        state("yes", vec![extract("h")], vec![], vec![otherwise(Value::Null)]),
    ]);
    assert_eq!(frames(&mut machine(&program), &[0x12, 0x34, 5, 6]), [(2, vec![0, 0x34, 5, 6])]);
    assert_eq!(frames(&mut machine(&program), &[0x12, 0x44, 5, 6])[0].1.len(), 8, "not parsed: a header is added");
}

#[test]
fn checksums_are_verified_and_updated() {
    let mut program =
        with_actions(vec![to_port(2), assign(field("h", "a"), field("standard_metadata", "checksum_error"))], vec![]);
    program["calculations"] = json!([
        { "name": "sum", "id": 0, "algo": "csum16",
          "input": [field("h", "b"), { "type": "hexstr", "value": "0x00", "bitwidth": 8 }, { "type": "payload", "value": null }] },
    ]);
    let checksum = |verify: bool, condition: Value| {
        json!({ "name": "c", "id": 0, "target": ["h", "c"], "type": "generic", "calculation": "sum", "verify": verify,
            "update": !verify, "if_cond": condition })
    };
    let sum = !(0x0200_u16 + 0x0506);
    let [high, low] = sum.to_be_bytes();
    program["checksums"] = json!([checksum(true, Value::Null)]);
    assert_eq!(frames(&mut machine(&program), &[1, 2, high, low, 5, 6]), [(2, vec![0, 2, high, low, 5, 6])]);
    assert_eq!(frames(&mut machine(&program), &[1, 2, high, 0, 5, 6]), [(2, vec![1, 2, high, 0, 5, 6])]);
    program["checksums"] = json!([checksum(false, Value::Null)]);
    assert_eq!(frames(&mut machine(&program), &[1, 2, 0, 0, 5, 6]), [(2, vec![0, 2, high, low, 5, 6])]);
    let never = json!({ "type": "bool", "value": false });
    program["checksums"] = json!([checksum(false, never.clone()), checksum(true, never)]);
    assert_eq!(frames(&mut machine(&program), &[1, 2, 0, 0, 5, 6]), [(2, vec![0, 2, 0, 0, 5, 6])]);
}
