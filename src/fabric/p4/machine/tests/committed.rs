//! The programs of `p4/`: they load, no frame harms them, and how fast they are.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::fabric::p4::machine::control::Seat;

fn committed(name: &str) -> Arc<Program> {
    let path = format!("{}/p4/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    Arc::new(Program::load(&text).unwrap_or_else(|error| panic!("{path}: {error}")))
}

fn start(program: Arc<Program>) -> Machine {
    let settings =
        MachineSettings { ports: (1..5).map(PortNo).collect(), cpu_port: Some(CPU), ..MachineSettings::default() };
    Machine::new(program, settings)
}

/// A third-stage switch, node 5, with one host on port 1 and a service behind the router 100 on port 3.
fn access() -> Machine {
    let mut machine = start(committed("fabric.json"));
    let mut add = |table: &str, key: Vec<Part>, what: Bound| {
        machine
            .insert(&format!("Forward.{table}"), &Key { parts: key, priority: 0 }, &what, None, Timestamp(0))
            .unwrap();
    };
    for (port, kind) in [(1, 1), (3, 2)] {
        add("ports", vec![Part::Exact(port)], bound("Forward.face", &[kind]));
    }
    let host = vec![Part::Lpm { value: 0x0a00_0501, prefix: 32 }];
    add("routes", host, bound("Forward.deliver", &[0x0a00_0000_0001, 1]));
    let service = vec![Part::Lpm { value: 0xc000_0200, prefix: 24 }];
    add("routes", service, bound("Forward.serve", &[1]));
    add("indirection", vec![Part::Exact(100)], bound("Forward.means", &[100]));
    machine.set_default("Forward.self", Some(&called("Forward.become", &[5, 3]))).unwrap();
    for (profile, member, what) in [("routers", 1, "choose"), ("links", 3, "send")] {
        let argument = if profile == "routers" { 100 } else { 3 };
        let (profile, what) = (format!("Forward.{profile}"), format!("Forward.{what}"));
        machine.set_member(&profile, member, &called(&what, &[argument])).unwrap();
        machine.set_group(&profile, 1, &[Seat { member, weight: 1, watch: None }]).unwrap();
    }
    for (table, key) in [("choice", 1), ("next_hops", 100)] {
        let table = format!("Forward.{table}");
        machine.insert(&table, &exact(&[key]), &Bound::Group(1), None, Timestamp(0)).unwrap();
    }
    machine
}

/// An opening TCP segment of the host to the service.
fn opening(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    let mut frame = vec![2, 0x46, 0x53, 0, 0, 1, 10, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0, 0, 40, 0, 7, 0, 0, 64, 6, 0, 0, 10, 0, 5, 1, 192, 0, 2, 9]);
    frame.extend([high, low, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0]);
    frame
}

#[test]
fn both_programs_load() {
    for (name, table) in [("fabric.json", "Forward.routes"), ("wcmp.json", "")] {
        let program = committed(name);
        assert!(program.tables().any(|shape| shape.name.contains(table)), "{name}");
    }
}

#[test]
fn the_fabric_program_sends_a_connection_to_its_router() {
    let mut machine = access();
    let emissions = machine.receive(PortNo(1), &opening(1_000), Timestamp(1));
    let [Emission::Frame { port: PortNo(3), bytes }] = emissions.as_slice() else {
        panic!("expected one frame at port 3, came {emissions:?}");
    };
    // From node 5 to node 100.
    assert_eq!(bytes[..12], [2, 0x46, 0x53, 1, 0, 100, 2, 0x46, 0x53, 1, 0, 5]);
    assert_eq!(bytes[14..], opening(1_000)[14..]);
}

/// Not an assertion of time: `cargo test … packets_a_second -- --nocapture` shows the figure.
#[test]
fn packets_a_second() {
    let mut machine = access();
    let frames: Vec<Vec<u8>> = (0..500).map(opening).collect();
    let count = 2_000_u32;
    let begin = Instant::now();
    for (at, frame) in (0..count).zip(frames.iter().cycle()) {
        assert_eq!(machine.receive(PortNo(1), frame, Timestamp(u64::from(at))).len(), 1);
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("fabric.json: {:.0} packets/s", f64::from(count) / seconds);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Frames of any bytes, cut anywhere, at any port, with any clock.
    #[test]
    fn no_frame_harms_the_fabric_program(
        frames in prop::collection::vec((prop_oneof![Just(1_u32), Just(3), Just(510)], 0_u16..9, 0_usize..60, any::<u64>(),
            prop::collection::vec((0_usize..54, any::<u8>()), 0..6)), 1..20),
    ) {
        let mut machine = access();
        for (port, flow, length, now, changes) in frames {
            let mut frame = opening(flow);
            for (at, byte) in changes {
                frame[at] = byte;
            }
            frame.truncate(length);
            machine.receive(PortNo(port), &frame, Timestamp(now));
        }
    }
}
