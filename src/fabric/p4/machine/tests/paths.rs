//! The ways of a packet beside the straight one: clones, resubmission, recirculation, multicast, digests.

use super::*;
use crate::fabric::p4::machine::control::{CloneSession, Replica};

fn standard(name: &str) -> Value {
    field("standard_metadata", name)
}

fn kept() -> Value {
    field("m", "kept")
}

/// Skips what follows unless the values are equal.
fn unless_equal_skip(left: Value, right: Value, at: usize) -> Value {
    primitive("_jump_if_zero", vec![expression("b2d", Value::Null, expression("==", left, right)), hex(at as u128)])
}

fn replica(port: u32, instance: u16) -> Replica {
    Replica { port: PortNo(port), instance }
}

/// In egress: what it is, what was kept, which copy.
fn tell() -> Vec<Value> {
    vec![
        assign(field("h", "a"), standard("instance_type")),
        assign(field("h", "b"), kept()),
        assign(field("h", "c"), standard("egress_rid")),
    ]
}

#[test]
fn a_clone_from_ingress_begins_as_the_frame_came() {
    let clone = primitive("clone_ingress_pkt_to_egress", vec![hex(5), hex(1)]);
    let ingress = vec![
        assign(kept(), hex(0x77)),
        clone,
        assign(field("h", "a"), hex(0xee)),
        assign(kept(), hex(0x78)),
        to_port(2),
    ];
    let mut machine = machine(&with_actions(
        ingress,
        vec![assign(field("h", "b"), kept()), assign(field("h", "c"), standard("instance_type"))],
    ));
    // Without a session there is no clone.
    assert_eq!(frames(&mut machine, &[1, 2, 3, 4, 5]), [(2, vec![0xee, 0x78, 0, 0, 5])]);
    let replicas = vec![replica(3, 0), replica(510, 0)];
    machine.set_clone(5, Some(&CloneSession { replicas: replicas.clone(), length_bytes: 0 }));
    let clone = vec![1, 0x78, 0, 1, 5];
    assert_eq!(
        frames(&mut machine, &[1, 2, 3, 4, 5]),
        [(3, clone.clone()), (510, clone), (2, vec![0xee, 0x78, 0, 0, 5])]
    );
    machine.set_clone(5, Some(&CloneSession { replicas: replicas[..1].to_vec(), length_bytes: 2 }));
    assert_eq!(frames(&mut machine, &[1, 2, 3, 4, 5])[0], (3, vec![1, 0x78]));
    machine.set_clone(5, None);
    assert_eq!(frames(&mut machine, &[1, 2, 3, 4, 5]).len(), 1);
}

#[test]
fn a_clone_from_egress_is_the_packet_as_it_stands() {
    let is_normal = unless_equal_skip(standard("instance_type"), hex(0), 4);
    let clone = primitive("clone_egress_pkt_to_egress", vec![hex(5), hex(1)]);
    let egress = vec![
        is_normal,
        assign(field("h", "a"), hex(0xee)),
        assign(kept(), hex(9)),
        clone,
        assign(field("h", "b"), kept()),
        assign(field("h", "c"), standard("instance_type")),
    ];
    let mut machine = machine(&with_actions(vec![assign(field("m", "x"), hex(1)), to_port(2)], egress));
    machine.set_clone(5, Some(&CloneSession { replicas: vec![replica(3, 0)], length_bytes: 0 }));
    assert_eq!(frames(&mut machine, &[1, 2, 3, 4]), [(2, vec![0xee, 9, 0, 0]), (3, vec![0xee, 9, 0, 2])]);
}

#[test]
fn resubmission_begins_again_with_what_is_kept() {
    let again = primitive("resubmit", vec![hex(1)]);
    let is_first = unless_equal_skip(standard("instance_type"), hex(0), 4);
    let ingress = vec![is_first, assign(field("h", "a"), hex(0xee)), assign(kept(), hex(7)), again, to_port(2)];
    let mut machine = machine(&with_actions(
        ingress,
        vec![assign(field("h", "b"), kept()), assign(field("h", "c"), standard("instance_type"))],
    ));
    // In egress it is a plain packet; the change before is gone.
    assert_eq!(frames(&mut machine, &[1, 2, 3, 4]), [(2, vec![1, 7, 0, 0])]);
}

#[test]
fn recirculation_brings_the_changed_frame() {
    let is_first = unless_equal_skip(standard("instance_type"), hex(0), 4);
    let egress = vec![
        is_first,
        assign(kept(), hex(7)),
        primitive("add_header", vec![header("g")]),
        primitive("recirculate", vec![hex(1)]),
    ];
    let ingress = vec![
        to_port(2),
        unless_equal_skip(standard("instance_type"), hex(4), 5),
        assign(field("h", "a"), kept()),
        assign(field("h", "b"), standard("packet_length")),
        assign(field("h", "c"), standard("ingress_port")),
    ];
    let mut machine = machine(&with_actions(ingress, egress));
    // The second pass is normal in egress: it would go round for ever, and is cut off.
    assert_eq!(frames(&mut machine, &[1, 2, 3, 4]), []);
    let mut once = with_actions(vec![to_port(2)], vec![]);
    once["actions"][0]["primitives"] = json!([
        to_port(2),
        unless_equal_skip(standard("instance_type"), hex(4), 6),
        assign(field("h", "a"), kept()),
        assign(field("h", "b"), standard("packet_length")),
        assign(field("h", "c"), standard("ingress_port")),
        assign(field("m", "x"), hex(1)),
    ]);
    once["actions"][1]["primitives"] = json!([
        unless_equal_skip(field("m", "x"), hex(0), 4),
        assign(kept(), hex(7)),
        primitive("add_header", vec![header("g")]),
        primitive("recirculate", vec![hex(1)]),
    ]);
    // Eight bytes came back: four of `h` and four of `g`, which is payload now. The ingress port was not kept.
    assert_eq!(frames(&mut super::machine(&once), &[1, 2, 3, 4]), [(2, vec![7, 8, 0, 0, 0, 0, 0, 0])]);
}

#[test]
fn multicast_copies_know_their_instance() {
    let ingress = vec![to_port(2), assign(kept(), hex(7)), assign(standard("mcast_grp"), hex(0x1234))];
    let mut machine = machine(&with_actions(ingress, tell()));
    assert_eq!(frames(&mut machine, &[1, 2, 3, 4]), [], "a group that nobody made has no copies");
    machine.set_multicast(0x1234, Some(&[replica(3, 1), replica(4, 0x102), replica(44, 1)]));
    assert_eq!(frames(&mut machine, &[1, 2, 3, 4]), [(3, vec![5, 7, 0, 1]), (4, vec![5, 7, 1, 2])]);
    machine.set_multicast(0x1234, None);
    assert_eq!(frames(&mut machine, &[1, 2, 3, 4]), []);
}

#[test]
fn digests_tell_fields_as_they_are_at_the_end() {
    let ingress = vec![
        primitive("generate_digest", vec![hex(0), hex(1)]),
        assign(field("h", "a"), hex(9)),
        primitive("mark_to_drop", vec![header("standard_metadata")]),
    ];
    let mut machine = machine(&with_actions(ingress, vec![]));
    let emissions = machine.receive(PortNo(3), &[1, 2, 3, 4], Timestamp(7));
    assert_eq!(emissions, [Emission::Digest { name: "news".into(), values: vec![9, 3] }]);
}

#[test]
fn a_program_that_copies_without_end_is_cut_off() {
    // Every copy in egress asks for two more.
    let clone = primitive("clone_egress_pkt_to_egress", vec![hex(5), hex(2)]);
    let mut machine = machine(&with_actions(vec![to_port(2)], vec![clone]));
    machine.set_clone(5, Some(&CloneSession { replicas: vec![replica(3, 0), replica(4, 0)], length_bytes: 0 }));
    let count = frames(&mut machine, &[1, 2, 3, 4]).len();
    assert!((1_000..100_000).contains(&count), "{count} frames");
}

#[test]
fn clocks_and_lengths_are_told() {
    let ingress = vec![
        assign(field("h", "a"), standard("packet_length")),
        assign(field("h", "c"), standard("ingress_global_timestamp")),
        primitive("add_header", vec![header("g")]),
        to_port(2),
    ];
    let egress = vec![
        assign(field("h", "b"), standard("packet_length")),
        assign(field("g", "c"), standard("egress_global_timestamp")),
        assign(field("g", "b"), standard("egress_port")),
    ];
    let program = load(&with_actions(ingress, egress));
    let settings =
        MachineSettings { ports: vec![PortNo(1), PortNo(2)], started: Timestamp(100), ..MachineSettings::default() };
    let mut machine = Machine::new(program, settings);
    let emissions = machine.receive(PortNo(1), &[0, 0, 0, 0, 9], Timestamp(358));
    assert_eq!(emissions, [Emission::Frame { port: PortNo(2), bytes: vec![5, 9, 1, 2, 0, 2, 1, 2, 9] }]);
}

#[test]
fn ports_that_are_down_neither_send_nor_receive() {
    let mut machine = machine(&with_actions(vec![to_port(2)], vec![]));
    let frame = [1, 2, 3, 4];
    machine.set_port(PortNo(2), false);
    assert_eq!(frames(&mut machine, &frame), []);
    machine.set_port(PortNo(2), true);
    assert_eq!(frames(&mut machine, &frame).len(), 1);
    machine.set_port(PortNo(1), false);
    assert_eq!(frames(&mut machine, &frame), []);
    assert_eq!(machine.receive(PortNo(99), &frame, Timestamp(0)), []);
    assert_eq!(machine.receive(CPU, &frame, Timestamp(0)).len(), 1);
}
