//! Programs that cannot be executed are refused when they are loaded, with the place and the reason.

use proptest::prelude::*;

use super::*;

fn refused(program: &Value) -> String {
    Program::load(&program.to_string()).expect_err("a wrong program").to_string()
}

#[test]
fn errors_name_place_and_cause() {
    let wrong = |change: fn(&mut Value)| {
        let mut program = with_actions(vec![to_port(2)], vec![]);
        change(&mut program);
        refused(&program)
    };
    let cases: Vec<(String, &str)> = vec![
        (Program::load("{").expect_err("no JSON").to_string(), "JSON: EOF"),
        (refused(&json!([])), "JSON: expected an object, came []"),
        (wrong(|p| p["__meta__"]["version"][0] = json!(3)), "__meta__: expected format version 2, came 3"),
        (
            wrong(|p| p["actions"][0]["primitives"][0]["op"] = json!("teleport")),
            "action 'in', primitive 0: unknown primitive 'teleport'",
        ),
        (
            wrong(|p| p["actions"][0]["primitives"][0]["parameters"][0] = field("h", "none")),
            "action 'in', primitive 0: 'assign', parameter 0: header 'h' has no field 'none'",
        ),
        (
            wrong(|p| p["actions"][0]["primitives"][0]["parameters"] = json!([])),
            "action 'in', primitive 0: 'assign' takes more than 0 parameters",
        ),
        (
            wrong(|p| p["actions"][0]["primitives"][0]["parameters"][1] = parameter(0)),
            "action 'in', primitive 0: 'assign', parameter 1: expected one of 0 parameters, came 0",
        ),
        (
            wrong(|p| p["actions"][0]["primitives"][0]["parameters"][1] = expression("**", hex(1), hex(2))),
            "action 'in', primitive 0: 'assign', parameter 1: unknown operation '**'",
        ),
        (
            wrong(|p| p["header_types"][0]["fields"][0][1] = json!(7)),
            "header 'h': expected a header of whole bytes, came one of 31 bits",
        ),
        (wrong(|p| p["headers"][6]["name"] = json!("other")), "headers: there is no 'standard_metadata.ingress_port'"),
        (
            wrong(|p| p["register_arrays"][0]["bitwidth"] = json!(129)),
            "register array 'cells': expected cells of 1 to 128 bits, came 129",
        ),
        (
            wrong(|p| p["register_arrays"][0]["size"] = json!(1_u64 << 40)),
            "register array 'cells': expected at most 67108864 cells in all arrays, came 1099511627776",
        ),
        (wrong(|p| p["calculations"][0]["algo"] = json!("md5")), "calculation 'calc': unknown algorithm 'md5'"),
        (
            wrong(|p| p["parsers"][0]["parse_states"][0]["transitions"][0]["next_state"] = json!("nowhere")),
            "parser state 'start': 'next_state': there is no state 'nowhere'",
        ),
        (
            wrong(|p| p["pipelines"][0]["tables"][0]["base_default_next"] = json!("nowhere")),
            "table 'first': 'base_default_next': there is no table or condition 'nowhere'",
        ),
        (
            wrong(|p| p["pipelines"][0]["name"] = json!("main")),
            "pipelines: expected 'ingress' or 'egress', came 'main': not a v1model program",
        ),
        (
            wrong(|p| p["extern_instances"] = json!([{ "name": "x", "type": "Checksum" }])),
            "extern_instances: extern {\"name\":\"x\",\"type\":\"Checksum\"} is not supported",
        ),
    ];
    for (came, expected) in cases {
        assert!(came.starts_with(expected), "expected '{expected}', came '{came}'");
    }
}

/// One value of a JSON document, by walking down as the numbers say.
fn pick<'v>(value: &'v mut Value, path: &[usize]) -> &'v mut Value {
    let Some((first, rest)) = path.split_first() else { return value };
    let children = match value {
        Value::Array(items) => items.len(),
        Value::Object(items) => items.len(),
        _ => 0,
    };
    if children == 0 {
        return value;
    }
    let child = match value {
        Value::Array(items) => items.get_mut(first % children),
        Value::Object(items) => items.values_mut().nth(first % children),
        _ => None,
    };
    pick(child.expect("one of its children"), rest)
}

/// A program that uses most of what there is.
fn rich() -> Value {
    let stack = json!({ "type": "header_stack", "value": "s" });
    let mut program = with_actions(
        vec![
            assign(field("h", "a"), expression("+", field("h", "b"), hex(3))),
            primitive("push", vec![stack, field("h", "a")]),
            primitive("_jump_if_zero", vec![field("h", "b"), hex(4)]),
            primitive(
                "register_write",
                vec![json!({ "type": "register_array", "value": "cells" }), field("h", "a"), hex(1)],
            ),
            primitive("clone_ingress_pkt_to_egress", vec![hex(5), hex(1)]),
            to_port(2),
        ],
        vec![primitive("truncate", vec![field("h", "c")]), primitive("recirculate", vec![field("h", "b")])],
    );
    program["checksums"] = json!([{ "name": "c", "id": 0, "target": ["h", "c"], "type": "generic", "calculation": "calc",
        "verify": true, "update": true, "if_cond": null }]);
    program
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever a damaged program says, it is refused or executed: nothing panics and everything ends.
    #[test]
    fn damaged_programs_do_no_harm(
        path in prop::collection::vec(0_usize..30, 1..9),
        with in prop_oneof![
            Just(Value::Null), Just(json!(0)), Just(json!(-1)), Just(json!(u64::MAX)), Just(json!(300)), Just(json!("0x0")),
            Just(json!("h")), Just(json!("-0xffffffffffffffffffffffffffffffffffff")), Just(json!([])), Just(json!({})),
            Just(json!(true)), Just(json!("*")),
        ],
        frame in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let mut program = rich();
        *pick(&mut program, &path) = with;
        if let Ok(program) = Program::load(&program.to_string()) {
            let settings = MachineSettings { ports: vec![PortNo(1), PortNo(2)], ..MachineSettings::default() };
            let mut machine = Machine::new(Arc::new(program), settings);
            machine.receive(PortNo(1), &frame, Timestamp(u64::MAX));
            machine.advance(Timestamp(u64::MAX));
        }
    }
}
