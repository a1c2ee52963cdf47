//! Golden bytes, round trips, and what is refused.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::types::NodeIndex;

/// The vector of SipHash's authors: bytes 00 to 0e under the key 00 to 0f.
#[test]
fn the_tag_is_siphash_2_4() {
    let key = Key::new(std::array::from_fn(|position| position as u8));
    let message: [u8; 15] = std::array::from_fn(|position| position as u8);
    assert_eq!(key.tag(&message), 0xa129_ca61_49be_45e5);
}

fn v4_open() -> Connection {
    let client = (Ipv4Addr::new(10, 0, 0, 9), 40_000);
    let mut connection = Connection::new(Flow::v4(Flow::TCP, client, (Ipv4Addr::new(192, 0, 2, 1), 443)));
    connection.state.status = 0x18e;
    connection.state.timeout_s = 432_000;
    connection.state.tcp = Tcp { state: 3, flags: [0x23, 0x23], scales: 0x77 };
    connection
}

fn v6_nat() -> Connection {
    let (client, server) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9), Ipv6Addr::LOCALHOST);
    let flow = Flow::v6(132, (client, 1), (server, 2));
    let mapped = Flow { source_port: 5, ..flow.reversed() };
    let mut connection = Connection::new(flow).with_reply(mapped).expect("of one family");
    connection.zone = 3;
    connection.state.mark = 1;
    connection
}

/// Bytes of each record behind the one before it in the same frame.
fn golden() -> Vec<(Record, &'static str)> {
    let state = State { throughput: Throughput(77), timeout_s: 431_999, ..State::default() };
    let ping = Flow::v4(Flow::ICMP, (Ipv4Addr::new(10, 0, 0, 9), 7), (Ipv4Addr::new(192, 0, 2, 1), 0x0800));
    vec![
        (
            Record::Open { handle: Handle(5), connection: v4_open() },
            "a70a010a000009c00002019c4001bb9c0603 80de34232377",
        ),
        // Of the same client to the same server; ICMP's type and code are the port.
        (Record::Open { handle: Handle(6), connection: Connection::new(ping) }, "80021b00070800"),
        (
            Record::Update { handle: Handle(5), fields: Fields(Fields::TIMEOUT.0 | Fields::THROUGHPUT.0), state },
            "0c01014d",
        ),
        (
            Record::Open { handle: Handle(300), connection: v6_nat() },
            "90ce04e0000384 20010db8000000000000000000000009 00000000000000000000000000000001 00010002 02 0005 02",
        ),
        (Record::Close { handle: Handle(299) }, "4001"),
        (Record::Segment { index: 300 }, "c0ac02"),
        (Record::Digest { index: 300, digest: 0x0102_0304_0506_0708 }, "c1ac020102030405060708"),
        (Record::Complete { segments: 0 }, "c200"),
    ]
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn decode(bytes: &[u8], count: u16) -> Result<Vec<Record>, DecodeError> {
    Records::new(bytes, count).collect()
}

#[test]
fn records_are_these_bytes_and_back() {
    let mut encoder = Encoder::new(Vec::new());
    let mut at = 0;
    for (record, expected) in golden() {
        encoder.push(&record);
        assert_eq!(encoder.bytes()[at..], hex(expected), "{record:?}");
        at = encoder.bytes().len();
    }
    let mut decoded = decode(encoder.bytes(), encoder.count()).expect("whole");
    for ((expected, _), record) in golden().into_iter().zip(&mut decoded) {
        if let (Record::Update { state, fields, .. }, Record::Update { state: told, .. }) = (&expected, &mut *record) {
            // Fields that are not told are of no meaning.
            let mut plain = State::default();
            plain.take(*fields, told);
            assert_eq!(plain, *state);
            *told = plain;
        }
        assert_eq!(*record, expected);
    }
}

fn header(kind: Kind) -> Header {
    let (source, replica) = (NodeIndex(1), NodeIndex(0x0203));
    Header { kind, source, replica, epoch: 0x0a0b_0c0d, session: 4, sequence: 5, count: 0 }
}

#[test]
fn frames_are_these_bytes_and_back() {
    let key = Key::new([1; 16]);
    let mut writer = FrameWriter::new(1500);
    writer.records().close(Handle(1));
    let length = writer.length();
    let data = writer.finish(&header(Kind::Data), &key);
    assert_eq!(data.len(), length);
    assert_eq!(data[..data.len() - TAG_LEN], hex("11030024000102030a0b0c0d000000040000000000000005 0001 4002"));
    assert_eq!(data[data.len() - TAG_LEN..], key.tag(&data[..data.len() - TAG_LEN]).to_be_bytes());
    // Ethernet pads what is shorter than 60 bytes.
    let padded = [&data[..], &[0; 24]].concat();
    let frame = Frame::decode(&padded).expect("whole");
    assert_eq!(frame.header, Header { count: 1, ..header(Kind::Data) });
    assert!(frame.is_authentic(&key) && !frame.is_authentic(&Key::new([2; 16])));
    assert_eq!(decode(frame.body, frame.header.count), Ok(vec![Record::Close { handle: Handle(1) }]));

    let hello = header(Kind::Hello).with_body(&7_u64.to_be_bytes(), &key);
    let frame = Frame::decode(&hello).expect("whole");
    assert_eq!((frame.header, frame.number()), (header(Kind::Hello), Ok(7)));
}

#[test]
fn an_acknowledgement_is_these_bytes_and_back() {
    let ack = Ack { applied: 300, missing: vec![(301, 2), (310, 1)], doubtful: vec![0, 7] };
    assert_eq!(ack.encode(), hex("ac02 02 0102 0701 02 00 07"));
    assert_eq!(Ack::decode(&ack.encode()), Ok(ack));
}

#[test]
fn malformed_records_are_refused() {
    for (bytes, count, what) in [
        ("", 1, "no record"),
        ("0002", 1, "an update of nothing"),
        ("4102", 1, "a close with fields"),
        ("c300", 1, "an unknown kind"),
        ("40", 1, "no handle"),
        ("4001", 1, "a handle below 0"),
        ("40feffffff1f 4002", 2, "a handle of 33 bits"),
        ("408000", 1, "a varint that could be shorter"),
        ("40ffffffffffffffffff7f", 1, "a varint of 70 bits"),
        ("8002000a000009", 1, "an address cut off"),
        ("8002110a0000090001", 1, "the same source as none"),
        ("800241 060a000009c00002010001000200", 1, "NAT that changes nothing"),
        ("800241 0a000009c000020100010002 10", 1, "NAT with unknown parts"),
        ("c1000102030405", 1, "a digest cut off"),
        ("4002ff", 1, "something behind the last record"),
        ("4002", 0, "a record that is not counted"),
        ("c0ffffffff1f", 1, "a segment of 33 bits"),
    ] {
        assert!(decode(&hex(bytes), count).is_err(), "{what}");
    }
    // The second is of the other family than the one whose source it has.
    let mut encoder = Encoder::new(Vec::new());
    encoder.open(Handle(1), &v4_open());
    let mixed = [encoder.bytes(), &hex("800291")].concat();
    assert!(decode(&mixed, 2).is_err());
}

#[test]
fn malformed_frames_and_acknowledgements_are_refused() {
    let key = Key::new([1; 16]);
    let good = header(Kind::Ack).with_body(&Ack::default().encode(), &key);
    for length in 0..good.len() {
        assert!(Frame::decode(&good[..length]).is_err(), "{length} bytes");
    }
    for (at, value, what) in [(0, 0x21, "version 2"), (0, 0x12, "profile 2"), (1, 0, "kind 0"), (1, 7, "kind 7")] {
        let mut bad = good.clone();
        bad[at] = value;
        assert!(Frame::decode(&bad).is_err(), "{what}");
    }
    let mut short = good.clone();
    short[2..4].copy_from_slice(&33_u16.to_be_bytes());
    assert!(Frame::decode(&short).is_err(), "shorter than a header and a tag");
    for (bytes, what) in [
        ("", "nothing"),
        ("00 01 00 01 00", "a run that touches the last"),
        ("00 01 01 00 00", "an empty run"),
        ("00 41", "too many runs"),
        ("00 00 41", "too many segments"),
        ("00 00 02 01 00", "a segment twice"),
        ("00 00 00 00", "something behind it"),
        ("00 01 ffffffffffffffffff01 01 00", "a run beyond 64 bits"),
    ] {
        assert!(Ack::decode(&hex(bytes)).is_err(), "{what}");
    }
}

#[test]
fn keys_are_32_hex_digits_and_told_to_nobody() {
    let key: Key = "000102030405060708090a0b0c0d0e0f".parse().expect("a key");
    assert_eq!(key.bytes()[15], 15);
    assert_eq!(format!("{key:?}"), "Key(…)");
    for text in ["", "00", "+00102030405060708090a0b0c0d0e0f", "g00102030405060708090a0b0c0d0e0f"] {
        let error = text.parse::<Key>().expect_err(text);
        assert!(!error.to_string().contains("0405"));
    }
    let (one, other) =
        (PairKeys::new(&key, NodeIndex(1), NodeIndex(2)), PairKeys::new(&key, NodeIndex(2), NodeIndex(1)));
    let keys = [one.down, one.up, one.digest, other.down, other.up, other.digest, key];
    for (position, first) in keys.iter().enumerate() {
        assert!(keys[position + 1..].iter().all(|second| first != second));
    }
}

#[test]
fn throughput_is_within_an_eighth() {
    let mut last = Throughput(0);
    for exponent in 0..62 {
        for bps in [1_u64 << exponent, (1 << exponent) + (1 << exponent) / 3, (1 << exponent) / 4 * 7] {
            let code = Throughput::from_bps(bps);
            assert!(code.bps().abs_diff(bps) <= bps / 8, "{bps} became {}", code.bps());
            assert_eq!(Throughput::from_bps(code.bps()), code);
        }
        let code = Throughput::from_bps(1 << exponent);
        assert!(code > last, "the scale grows");
        last = code;
    }
    assert_eq!(Throughput::from_bps(0).bps(), 0);
    assert_eq!(Throughput::from_bps(u64::MAX), Throughput::MAX);
    assert_eq!(Throughput(255).bps(), Throughput::MAX.bps());
}

#[test]
fn answers_to_icmp_queries_have_another_type() {
    let ends = ((Ipv4Addr::LOCALHOST, 7), (Ipv4Addr::BROADCAST, 0x0800));
    let ping = Flow::v4(Flow::ICMP, ends.0, ends.1);
    assert_eq!((ping.reversed().source_port, ping.reversed().destination_port), (7, 0));
    assert_eq!(ping.reversed().reversed(), ping);
    let tcp = Flow::v4(Flow::TCP, ends.0, ends.1);
    assert_eq!((tcp.reversed().source_port, tcp.reversed().destination_port), (0x0800, 7));
    assert_eq!(Connection::new(tcp).with_reply(ping.reversed()), None, "another protocol");
    assert_eq!(Connection::new(tcp).with_reply(tcp.reversed()), Some(Connection::new(tcp)), "nothing to keep");
}

fn any_state() -> impl Strategy<Value = State> {
    any::<(u32, u32, u32, u8, [u8; 2], u8, u8)>().prop_map(|(status, timeout_s, mark, state, flags, scales, code)| {
        State { status, timeout_s, mark, tcp: Tcp { state, flags, scales }, throughput: Throughput(code) }
    })
}

/// Few addresses and ports, so that consecutive opens share some.
fn any_flow() -> impl Strategy<Value = Flow> {
    let protocol = prop_oneof![Just(Flow::TCP), Just(Flow::UDP), Just(Flow::ICMP), Just(Flow::ICMPV6), any::<u8>()];
    (protocol, any::<bool>(), 0..3_u8, 0..3_u8, 0..3_u16, any::<u16>()).prop_map(|(protocol, v6, a, b, c, d)| {
        if v6 {
            let address = |number: u8| Ipv6Addr::from(u128::from(number) << 100 | 1);
            Flow::v6(protocol, (address(a), d), (address(b), c))
        } else {
            Flow::v4(protocol, (Ipv4Addr::new(10, 0, 0, a), d), (Ipv4Addr::new(10, 0, 1, b), c))
        }
    })
}

fn any_connection() -> impl Strategy<Value = Connection> {
    (any_flow(), any_flow(), any::<bool>(), 0..3_u16, any_state(), 0..64_u8).prop_map(
        |(flow, other, nat, zone, told, fields)| {
            let mut connection = Connection::new(flow);
            if nat && let Some(translated) = connection.clone().with_reply(Flow { protocol: flow.protocol, ..other }) {
                connection = translated;
            }
            connection.zone = zone;
            connection.state.take(Fields(fields), &told);
            connection
        },
    )
}

fn any_record() -> impl Strategy<Value = Record> {
    let handle = prop_oneof![0..300_u32, any::<u32>()].prop_map(Handle);
    prop_oneof![
        (handle.clone(), 1..64_u8, any_state()).prop_map(|(handle, fields, state)| Record::Update {
            handle,
            fields: Fields(fields),
            state
        }),
        (handle.clone(), any_connection()).prop_map(|(handle, connection)| Record::Open { handle, connection }),
        handle.prop_map(|handle| Record::Close { handle }),
        any::<u32>().prop_map(|index| Record::Segment { index }),
        any::<(u32, u64)>().prop_map(|(index, digest)| Record::Digest { index, digest }),
        any::<u32>().prop_map(|segments| Record::Complete { segments }),
    ]
}

/// With nothing in the fields that are not told.
fn plain(record: Record) -> Record {
    match record {
        Record::Update { handle, fields, state } => {
            let mut told = State::default();
            told.take(fields, &state);
            Record::Update { handle, fields, state: told }
        }
        other => other,
    }
}

proptest! {
    #[test]
    fn records_come_back(records in prop::collection::vec(any_record(), 0..40)) {
        let mut encoder = Encoder::new(Vec::new());
        for record in &records {
            let before = encoder.bytes().len();
            encoder.push(record);
            prop_assert!(encoder.bytes().len() - before <= RECORD_LEN_MAX);
        }
        let back = decode(encoder.bytes(), encoder.count()).map(|back| back.into_iter().map(plain).collect());
        prop_assert_eq!(back, Ok(records.into_iter().map(plain).collect::<Vec<_>>()));
    }

    #[test]
    fn acknowledgements_come_back(
        applied in 0..1_u64 << 40,
        runs in prop::collection::vec((1..1_u64 << 20, 1..1_u64 << 20), 0..RANGES_MAX),
        steps in prop::collection::vec(1..1_u32 << 20, 0..SEGMENTS_MAX),
    ) {
        let missing = runs.into_iter().scan(applied, |last, (distance, length)| {
            let first = *last + distance;
            *last = first + length;
            Some((first, length))
        });
        let doubtful = steps.into_iter().scan(0, |last, step| { *last += step; Some(*last) });
        let ack = Ack { applied, missing: missing.collect(), doubtful: doubtful.collect() };
        prop_assert_eq!(Ack::decode(&ack.encode()), Ok(ack));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0..50_u16) {
        let _ = decode(&bytes, count);
        let _ = Ack::decode(&bytes);
        let _ = Frame::decode(&bytes);
    }

    #[test]
    fn a_changed_frame_is_not_authentic(at in 0..44_usize, bit in 0..8_u8) {
        let key = Key::new([3; 16]);
        let mut frame = header(Kind::Hello).with_body(&[0; 10], &key);
        frame[at] ^= 1 << bit;
        prop_assert!(!Frame::decode(&frame).is_ok_and(|frame| frame.is_authentic(&key)));
    }
}
