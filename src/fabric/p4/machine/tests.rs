//! Tests of the machine: programs written as the compiler would, and the committed ones.

mod arrays;
mod committed;
mod header_groups;
mod loading;
mod lookups;
mod parsing;
mod paths;
mod primitives;
mod selectors;
mod stf;

use std::sync::Arc;

use serde_json::{Value, json};

use super::control::{Bound, Call, Key, Part};
use super::{Emission, Machine, MachineSettings};
use crate::fabric::p4::program::Program;
use crate::types::{PortNo, Timestamp};

const CPU: PortNo = PortNo(510);

fn field(header: &str, field: &str) -> Value {
    json!({ "type": "field", "value": [header, field] })
}

fn hex(value: u128) -> Value {
    json!({ "type": "hexstr", "value": format!("{value:#x}") })
}

fn header(name: &str) -> Value {
    json!({ "type": "header", "value": name })
}

fn expression(op: &str, left: Value, right: Value) -> Value {
    json!({ "type": "expression", "value": { "op": op, "left": left, "right": right } })
}

fn parameter(at: usize) -> Value {
    json!({ "type": "runtime_data", "value": at })
}

fn primitive(op: &str, parameters: Vec<Value>) -> Value {
    json!({ "op": op, "parameters": parameters })
}

fn assign(to: Value, from: Value) -> Value {
    primitive("assign", vec![to, from])
}

fn to_port(port: u128) -> Value {
    assign(field("standard_metadata", "egress_spec"), hex(port))
}

fn action(id: usize, name: &str, widths: &[u32], primitives: Vec<Value>) -> Value {
    let data: Vec<Value> =
        (0..).zip(widths).map(|(at, width)| json!({ "name": format!("p{at}"), "bitwidth": width })).collect();
    json!({ "name": name, "id": id, "runtime_data": data, "primitives": primitives })
}

/// A table without a key: it runs an action always.
fn call(name: &str, action: usize, next: Value) -> Value {
    json!({
        "name": name, "id": 0, "match_type": "exact", "type": "simple", "max_size": 1, "key": [],
        "with_counters": false, "support_timeout": false, "direct_meters": null,
        "action_ids": [action], "next_tables": {}, "base_default_next": next,
        "default_entry": { "action_id": action, "action_const": true, "action_data": [], "action_entry_const": true },
    })
}

/// v1model's header types, an Ethernet-like header `h` and `g` of the type `h_t { a: 8, b: 8, c: 16 }`, a wide one `w`,
/// a stack `s` of two headers of eight bits, and metadata `m { x: 8, y: 32, z: 16, n: signed 8, kept: 16, colour: 2 }`.
fn base() -> Value {
    json!({
        "__meta__": { "version": [2, 23] },
        "header_types": [
            { "name": "h_t", "id": 0, "fields": [["a", 8, false], ["b", 8, false], ["c", 16, false]] },
            { "name": "w_t", "id": 1, "fields": [["wide", 128, false], ["huge", 200, false]] },
            { "name": "s_t", "id": 2, "fields": [["v", 8, false]] },
            { "name": "m_t", "id": 3, "fields": [["x", 8, false], ["y", 32, false], ["z", 16, false], ["n", 8, true],
                ["kept", 16, false], ["colour", 2, false], ["_padding", 6, false]] },
            { "name": "standard_metadata", "id": 4, "fields": [["ingress_port", 9, false], ["egress_spec", 9, false],
                ["egress_port", 9, false], ["instance_type", 32, false], ["packet_length", 32, false],
                ["ingress_global_timestamp", 48, false], ["egress_global_timestamp", 48, false],
                ["mcast_grp", 16, false], ["egress_rid", 16, false], ["checksum_error", 1, false],
                ["parser_error", 32, false], ["_padding", 4, false]] },
            { "name": "v_t", "id": 5, "fields": [["bits", "*"]], "max_length": 4 },
        ],
        "headers": [
            { "name": "h", "id": 0, "header_type": "h_t", "metadata": false },
            { "name": "g", "id": 1, "header_type": "h_t", "metadata": false },
            { "name": "w", "id": 2, "header_type": "w_t", "metadata": false },
            { "name": "s[0]", "id": 3, "header_type": "s_t", "metadata": false },
            { "name": "s[1]", "id": 4, "header_type": "s_t", "metadata": false },
            { "name": "m", "id": 5, "header_type": "m_t", "metadata": true },
            { "name": "standard_metadata", "id": 6, "header_type": "standard_metadata", "metadata": true },
            { "name": "u.one", "id": 7, "header_type": "s_t", "metadata": false },
            { "name": "u.two", "id": 8, "header_type": "h_t", "metadata": false },
            { "name": "v", "id": 9, "header_type": "v_t", "metadata": false },
            { "name": "w2", "id": 10, "header_type": "w_t", "metadata": false },
        ],
        "header_stacks": [{ "name": "s", "id": 0, "header_type": "s_t", "header_ids": [3, 4] }],
        "header_union_types": [{ "name": "u_t", "id": 0, "headers": [["one", "s_t"], ["two", "h_t"]] }],
        "header_unions": [{ "name": "u", "id": 0, "union_type": "u_t", "header_ids": [7, 8] }],
        "header_union_stacks": [],
        "field_lists": [
            { "id": 1, "name": "fl", "elements": [{ "type": "field", "value": ["m", "kept"] }] },
            { "id": 2, "name": "none", "elements": [] },
        ],
        "errors": [["NoError", 0], ["PacketTooShort", 1], ["NoMatch", 2], ["StackOutOfBounds", 3], ["HeaderTooShort", 4],
            ["ParserTimeout", 5], ["ParserInvalidArgument", 6], ["Own", 7]],
        "parsers": [{ "name": "parser", "id": 0, "init_state": "start", "parse_states": [{ "name": "start", "id": 0,
            "parser_ops": [{ "op": "extract", "parameters": [{ "type": "regular", "value": "h" }] }],
            "transition_key": [], "transitions": [{ "type": "default", "value": null, "mask": null, "next_state": null }],
        }] }],
        "parse_vsets": [],
        "deparsers": [{ "name": "deparser", "id": 0, "order": ["h", "g", "w", "s[0]", "s[1]", "u.one", "u.two", "v", "w2"] }],
        "meter_arrays": [{ "name": "meters", "id": 0, "is_direct": false, "rate_count": 2, "type": "packets", "size": 2 }],
        "counter_arrays": [{ "name": "counts", "id": 0, "is_direct": false, "size": 2 }],
        "register_arrays": [{ "name": "cells", "id": 0, "size": 4, "bitwidth": 104 }],
        "calculations": [{ "name": "calc", "id": 0, "algo": "crc16", "input": [field("h", "a"), field("h", "b")] }],
        "learn_lists": [{ "id": 1, "name": "news", "elements": [field("h", "a"), field("standard_metadata", "ingress_port")] }],
        "actions": [],
        "pipelines": [
            { "name": "ingress", "id": 0, "init_table": null, "tables": [], "action_profiles": [], "conditionals": [] },
            { "name": "egress", "id": 1, "init_table": null, "tables": [], "action_profiles": [], "conditionals": [] },
        ],
        "checksums": [],
        "extern_instances": [],
        "field_aliases": [
            ["intrinsic_metadata.ingress_global_timestamp", ["standard_metadata", "ingress_global_timestamp"]],
            ["intrinsic_metadata.egress_global_timestamp", ["standard_metadata", "egress_global_timestamp"]],
            ["intrinsic_metadata.mcast_grp", ["standard_metadata", "mcast_grp"]],
            ["intrinsic_metadata.egress_rid", ["standard_metadata", "egress_rid"]],
        ],
    })
}

/// [`base`] with one action in each pipeline.
fn with_actions(ingress: Vec<Value>, egress: Vec<Value>) -> Value {
    let mut program = base();
    program["actions"] = json!([action(0, "in", &[], ingress), action(1, "out", &[], egress)]);
    for (at, name) in ["first", "second"].into_iter().enumerate() {
        program["pipelines"][at]["tables"] = json!([call(name, at, Value::Null)]);
        program["pipelines"][at]["init_table"] = json!(name);
    }
    program
}

fn load(program: &Value) -> Arc<Program> {
    Arc::new(Program::load(&program.to_string()).unwrap_or_else(|error| panic!("{error}")))
}

/// A machine with the ports 1 to 9 and the controller's.
fn machine(program: &Value) -> Machine {
    let ports = (1..10).map(PortNo).collect();
    Machine::new(load(program), MachineSettings { ports, cpu_port: Some(CPU), ..MachineSettings::default() })
}

/// The frames that a frame at port 1 gives.
fn frames(machine: &mut Machine, frame: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let emissions = machine.receive(PortNo(1), frame, Timestamp(7));
    let frames = emissions.into_iter().map(|emission| match emission {
        Emission::Frame { port, bytes } => (port.0, bytes),
        other => panic!("expected a frame, came {other:?}"),
    });
    frames.collect()
}

fn exact(values: &[u128]) -> Key {
    Key { parts: values.iter().map(|value| Part::Exact(*value)).collect(), priority: 0 }
}

fn bound(action: &str, arguments: &[u128]) -> Bound {
    Bound::Call(called(action, arguments))
}

fn called(action: &str, arguments: &[u128]) -> Call {
    Call { action: action.into(), arguments: arguments.to_vec() }
}
