//! Counters, meters and registers between program and control plane.

use super::*;
use crate::fabric::p4::machine::control::{ControlError, Counter, MeterConfig};

fn array(kind: &str, name: &str) -> Value {
    json!({ "type": kind, "value": name })
}

#[test]
fn counters_count_and_can_be_set() {
    let count = |index: u128| primitive("count", vec![array("counter_array", "counts"), hex(index)]);
    let mut machine = machine(&with_actions(vec![count(1), count(9), to_port(2)], vec![count(1)]));
    frames(&mut machine, &[1, 2, 3, 4, 5]);
    assert_eq!(machine.counter("counts", 1), Ok(Counter { packets: 2, bytes: 10 }));
    assert_eq!(machine.counter("counts", 0), Ok(Counter::default()));
    machine.set_counter("counts", 1, Counter { packets: u64::MAX, bytes: u64::MAX }).unwrap();
    frames(&mut machine, &[1, 2, 3, 4, 5]);
    assert_eq!(machine.counter("counts", 1), Ok(Counter { packets: 1, bytes: 9 }), "it wraps");
    let beyond = machine.counter("counts", 2);
    assert_eq!(beyond, Err(ControlError::OutOfRange { place: "counter 'counts'".to_owned(), index: 2, size: 2 }));
    assert!(matches!(machine.set_counter("none", 0, Counter::default()), Err(ControlError::Unknown { .. })));
}

#[test]
fn registers_are_shared_with_the_control_plane() {
    let cells = || array("register_array", "cells");
    let primitives = vec![
        primitive("register_read", vec![field("h", "c"), cells(), field("h", "a")]),
        primitive("register_write", vec![cells(), field("h", "a"), expression("-", hex(0), hex(1))]),
        to_port(2),
    ];
    let mut machine = machine(&with_actions(primitives, vec![]));
    machine.set_register("cells", 3, 0xffff_1234).unwrap();
    assert_eq!(frames(&mut machine, &[3, 0, 0, 0]), [(2, vec![3, 0, 0x12, 0x34])]);
    assert_eq!(machine.register("cells", 3), Ok((1 << 104) - 1));
    machine.set_register("cells", 0, u128::MAX).unwrap();
    assert_eq!(machine.register("cells", 0), Ok((1 << 104) - 1), "within its width");
    assert!(matches!(machine.register("cells", 4), Err(ControlError::OutOfRange { .. })));
}

#[test]
fn meters_colour_by_index_and_by_entry() {
    let config = MeterConfig { committed_per_second: 1, committed_burst: 1, peak_per_second: 1, peak_burst: 2 };
    let meter = primitive("execute_meter", vec![array("meter_array", "meters"), hex(1), field("h", "a")]);
    let mut machine = machine(&with_actions(vec![meter, to_port(2)], vec![]));
    machine.set_meter("meters", 1, Some(config)).unwrap();
    assert_eq!(machine.meter("meters", 1), Ok(Some(config)));
    let colours: Vec<u8> = (0..3).map(|_| frames(&mut machine, &[9, 0, 0, 0])[0].1[0]).collect();
    assert_eq!(colours, [0, 1, 2]);
    machine.set_meter("meters", 1, None).unwrap();
    assert_eq!(frames(&mut machine, &[9, 0, 0, 0])[0].1[0], 0);

    let mut program = base();
    let result = assign(field("h", "b"), field("m", "colour"));
    program["actions"] = json!([action(0, "go", &[], vec![to_port(2), result])]);
    program["meter_arrays"] = json!([{ "name": "direct", "id": 0, "is_direct": true, "rate_count": 2, "type": "bytes",
        "size": 8, "binding": "t", "result_target": ["m", "colour"] }]);
    program["pipelines"][0]["tables"] = json!([{
        "name": "t", "id": 1, "match_type": "exact", "type": "simple", "max_size": 8,
        "key": [{ "match_type": "exact", "name": "a", "target": ["h", "a"], "mask": null }],
        "with_counters": false, "support_timeout": false, "direct_meters": "direct",
        "action_ids": [0], "next_tables": { "go": null }, "base_default_next": null,
    }]);
    program["pipelines"][0]["init_table"] = json!("t");
    let mut machine = super::machine(&program);
    machine.insert("t", &exact(&[1]), &bound("go", &[]), None, Timestamp(0)).unwrap();
    let config = MeterConfig { committed_burst: 4, peak_burst: 8, ..config };
    machine.set_direct_meter("t", &exact(&[1]), Some(config)).unwrap();
    assert_eq!(machine.direct_meter("t", &exact(&[1])), Ok(Some(config)));
    let colours: Vec<u8> = (0..3).map(|_| frames(&mut machine, &[1, 9, 0, 0])[0].1[1]).collect();
    assert_eq!(colours, [0, 1, 2]);
}
