//! Readings as tables: what is asked, what is answered, what it means.

use super::*;
use crate::southbound::p4runtime::pipeline::sweep::SLOTS_MAX;

fn counter(info: &Info, name: &str, index: i64, packet_count: i64, byte_count: i64) -> v1::Entity {
    let entry = v1::CounterEntry {
        counter_id: info.counter(name).expect("a counter").id,
        index: Some(v1::Index { index }),
        data: Some(v1::CounterData { packet_count, byte_count }),
    };
    v1::Entity { entity: Some(Kind::CounterEntry(entry)) }
}

/// Reports for the sweeps of a plan: the same for each.
fn reports(pipeline: &Arc<dyn Pipeline>, plan: &DatapathPlan) -> Vec<SweepReport> {
    let sweeps = pipeline.collect(plan, 0).sweeps;
    let report = |(token, sweep): (u32, Sweep)| SweepReport {
        kind: sweep.kind,
        owner: sweep.owner,
        token,
        end: sweep.end,
        live: 20,
        closing: 3,
        half_open: 1,
        freed: 2,
        freed_ms: 9_000,
        occupied: 40,
        ..SweepReport::default()
    };
    (1..).zip(sweeps).map(report).collect()
}

fn events(info: &Info) -> Vec<v1::Entity> {
    [(0, 1_000), (1, 7), (2, 30)].map(|(cell, count)| counter(info, "events", cell, count, 0)).to_vec()
}

#[test]
fn a_router() {
    let pipeline = fabric();
    let plan = router(500);
    let collection = pipeline.collect(&plan, 0);
    let swept: Vec<_> = collection.sweeps.iter().map(|sweep| (sweep.owner, sweep.first, sweep.end)).collect();
    let expected = [(R1.0, 0, 1_024), (R2.0, 0, 1_024)];
    assert_eq!(swept, expected, "twice the capacity, as a power of two; as much for whom it stands in for");
    assert!(collection.sweeps.iter().all(|sweep| sweep.end - sweep.first <= SLOTS_MAX));

    let reports = reports(&pipeline, &plan);
    let events = events(&info(&pipeline));
    let reading = pipeline.reading(&plan, &events, &reports);
    let sweeps = u64::try_from(swept.len()).expect("few");
    // Dead connections held their slots until the sweep: they were in the way of new ones.
    let expected = ConnectionCounters { occupied: 84, closing: 5 * sweeps, admitted: 1_000, refused: 7, unknown: 30 };
    assert_eq!(reading.connections, Some(expected));
    let ended = ConnectionsEnded { count: 2 * sweeps, lifetime_ms_total: 9_000 * sweeps };
    assert_eq!(reading.ended, Some(ended));

    let incomplete = pipeline.reading(&plan, &events, &reports[1..]);
    assert_eq!(incomplete.connections, None, "a part would look like connections that ended");
    assert_eq!(incomplete.ended.map(|ended| ended.count), Some(2 * (sweeps - 1)));
    assert_eq!(pipeline.reading(&plan, &events[1..], &reports).connections, None);
    let twice: Vec<SweepReport> = reports.iter().chain(&reports).copied().collect();
    assert_eq!(pipeline.reading(&plan, &events, &twice), reading);
    assert_eq!(pipeline.reading(&plan, &[], &[]), Reading::default());
}

#[test]
fn regions_are_swept_in_parts() {
    let pipeline = fabric();
    let mut plan = router(10_000);
    let RolePlan::Router(its) = &mut plan.role else { panic!("a router plan") };
    its.stands_in_for.clear();
    let sweeps = pipeline.collect(&plan, 5).sweeps;
    let ranges: Vec<_> = sweeps.iter().map(|sweep| (sweep.first, sweep.end)).collect();
    let expected: Vec<_> = (0..8).map(|part| (part * 4_096, (part + 1) * 4_096)).collect();
    assert_eq!(ranges, expected);
}

#[test]
fn pins_take_turns() {
    let pipeline = fabric();
    for plan in [access(200), outside()] {
        let mut swept: Vec<(u32, u32)> = Vec::new();
        for round in 0..128 {
            let sweeps = pipeline.collect(&plan, round).sweeps;
            let [Sweep { kind: SweepKind::Pins, owner: 0, first, end, .. }] = sweeps[..] else { panic!("{sweeps:?}") };
            swept.push((first, end));
        }
        assert!(swept.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert_eq!((swept[0].0, swept[127].1), (0, 131_072));
        assert_eq!(pipeline.collect(&plan, 128).sweeps, pipeline.collect(&plan, 0).sweeps);
    }
    assert_eq!(pipeline.collect(&transit(), 0).sweeps, []);
}

#[test]
fn an_access_switch() {
    let pipeline = fabric();
    let info = &info(&pipeline);
    let plan = access(200);
    let chosen = info.table("chosen").expect("a table").id;
    let count = |service: u32, router: u16, packet_count: i64| {
        let exact = |field_id, value: u32| v1::FieldMatch {
            field_id,
            field_match_type: Some(v1::field_match::FieldMatchType::Exact(v1::field_match::Exact {
                value: encode(value.into()),
            })),
        };
        let entry = v1::TableEntry {
            table_id: chosen,
            r#match: vec![exact(1, service), exact(2, router.into())],
            ..Default::default()
        };
        let data = Some(v1::CounterData { packet_count, byte_count: 0 });
        v1::Entity { entity: Some(Kind::DirectCounterEntry(v1::DirectCounterEntry { table_entry: Some(entry), data })) }
    };
    let answers = [
        count(1, R1.0, 500),
        count(1, R2.0, 0),
        count(9, R1.0, 3),
        count(70_000, R1.0, 3),
        counter(info, "port_in", 11, 10, 1_000),
        counter(info, "port_out", 11, 20, 2_000),
        counter(info, "port_out", 1, -5, -1),
    ];
    let reading = pipeline.reading(&plan, &answers, &[]);
    assert_eq!(reading.chosen, BTreeMap::from([("internet".to_owned(), [(R1, 500), (R2, 0)].into())]));
    let port = PortCounters { rx_packets: 10, rx_bytes: 1_000, tx_packets: 20, tx_bytes: 2_000, ..Default::default() };
    assert_eq!(reading.ports, [(PortNo(11), port), (PortNo(1), PortCounters::default())].into());
    assert_eq!((reading.connections, reading.ended), (None, None));
}

#[test]
fn what_is_asked_for() {
    let pipeline = fabric();
    let cells = |plan: &DatapathPlan| {
        let reads = pipeline.collect(plan, 0).reads;
        let cell = |read: &v1::Entity| match &read.entity {
            Some(Kind::CounterEntry(entry)) => {
                let name = info(&pipeline).counter_by_id(entry.counter_id).expect("a counter").alias.clone();
                format!("{name} {}", entry.index.as_ref().expect("one cell").index)
            }
            Some(Kind::DirectCounterEntry(_)) => "chosen".to_owned(),
            other => panic!("{other:?}"),
        };
        reads.iter().map(cell).collect::<Vec<_>>().join(", ")
    };
    let expected = [
        (transit(), "port_in 1, port_in 2, port_in 3, port_out 1, port_out 2, port_out 3"),
        (
            router(5),
            "port_in 1, port_in 2, port_in 3, port_in 9, port_in 10, port_out 1, port_out 2, \
             port_out 3, port_out 9, port_out 10, \
             events 0, events 1, events 2",
        ),
        (outside(), "port_in 1, port_in 2, port_in 11, port_out 1, port_out 2, port_out 11"),
    ];
    for (plan, expected) in expected {
        assert_eq!(cells(&plan), expected);
    }
    assert!(cells(&access(9)).ends_with("chosen"));
    assert_eq!(OUTSIDE, outside().index);
}

#[test]
fn packets_of_the_controller() {
    let pipeline = fabric();
    let metadata = |port: &[u8], reason: &[u8]| {
        let one = |metadata_id, value: &[u8]| v1::PacketMetadata { metadata_id, value: value.to_vec() };
        vec![one(1, port), one(2, reason)]
    };
    let frame = v1::PacketIn { payload: vec![1, 2, 3], metadata: metadata(&[0, 7], &[0]) };
    assert_eq!(pipeline.incoming(&frame), Ok(Incoming::Frame { port: PortNo(7), data: vec![1, 2, 3] }));

    let sweep = Sweep { kind: SweepKind::Connections, owner: 2, token: 9, first: 0, end: 64, ..Sweep::default() };
    let out = pipeline.sweep(&sweep);
    assert_eq!((out.payload, out.metadata), (sweep.encode(), metadata(&[0], &[1])));
    let out = pipeline.packet_out(PortNo(300), vec![4]);
    assert_eq!((out.payload, out.metadata), (vec![4], metadata(&[1, 44], &[0])));

    let report = reports(&pipeline, &router(5))[0];
    let packet = v1::PacketIn { payload: report.encode(), metadata: metadata(&[0], &[1]) };
    assert_eq!(pipeline.incoming(&packet), Ok(Incoming::Report(report)));

    let bad = [
        (
            v1::PacketIn { payload: vec![0; 12], metadata: metadata(&[0], &[1]) },
            "a sweep report of 12 bytes; expected 68",
        ),
        (
            v1::PacketIn { payload: vec![], metadata: metadata(&[1], &[5]) },
            "a packet-in with reason 5; expected 0 or 1",
        ),
        (v1::PacketIn { payload: vec![], metadata: vec![] }, "a packet-in that does not say where it came in"),
        (
            v1::PacketIn { payload: vec![], metadata: metadata(&[], &[0]) },
            "a packet-in with metadata 1 that is no number",
        ),
    ];
    for (packet, expected) in bad {
        let error = pipeline.incoming(&packet).expect_err(expected);
        assert!(error.starts_with(expected), "{error}");
    }
    let out = routing().packet_out(PortNo(1), vec![]);
    assert_eq!(out.metadata.len(), 3, "metadata that mean nothing to us are sent too");
}

#[test]
fn sweeps_of_copies() {
    let (pipeline, plan) = (fabric(), router(500));
    let emitted = pipeline.replication(&plan, SweepKind::Emit, R1, Some(plans::R3));
    let stretches: Vec<_> = emitted.iter().map(|sweep| (sweep.first, sweep.end)).collect();
    assert_eq!(stretches, [(0, 256), (256, 512), (512, 768), (768, 1_024)], "packets wait in between");
    assert!(emitted.iter().all(|sweep| (sweep.owner, sweep.session) == (R1.0, 2_010)), "{emitted:?}");
    let digest = pipeline.replication(&plan, SweepKind::Digest, R2, None);
    let expected = Sweep { kind: SweepKind::Digest, owner: R2.0, first: 0, end: 1_024, ..Sweep::default() };
    assert_eq!(digest, [expected]);
    let doubted = |owner| pipeline.replication(&plan, SweepKind::Doubt, owner, None)[0].session;
    assert_eq!((doubted(R1), doubted(R2)), (1, 0), "of its own a router doubts everything");
    for (owner, shadow) in [(R1, Some(OUTSIDE)), (OUTSIDE, None), (OUTSIDE, Some(R2))] {
        assert_eq!(pipeline.replication(&plan, SweepKind::Emit, owner, shadow), [], "{owner} {shadow:?}");
    }
    assert_eq!(pipeline.replication(&transit(), SweepKind::Digest, R1, None), []);
    assert_eq!(routing().replication(&plan, SweepKind::Digest, R1, None), []);
}
