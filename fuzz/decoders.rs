//! What has to hold of every decoder for any bytes: a value or an error, never a panic; and what is a value goes out and
//! comes back as the same value. The fuzz targets and the test of the corpus (tests/fuzz_corpus.rs) share these.

use std::path::Path;
use std::time::Duration;

use foreshadow::config::import::{Format, Options, import};
use foreshadow::config::{check, parse_topology};
use foreshadow::controller::recording::{Read, Reader};
use foreshadow::network::bridge::Stations;
use foreshadow::p4info::Info;
use foreshadow::plan::Place;
use foreshadow::replication::{Config, Replica, Source};
use foreshadow::types::{MacAddr, NodeIndex, PortNo, Timestamp};
use foreshadow::wire::arp::Arp;
use foreshadow::wire::ctnetlink;
use foreshadow::wire::dhcp::Dhcp;
use foreshadow::wire::ethernet::Header as EthernetHeader;
use foreshadow::wire::liveness::LivenessProbe;
use foreshadow::wire::lldp::{Key, Probe, is_lldp};
use foreshadow::wire::ndp::Neighbour;
use foreshadow::wire::openflow::{Frame, Framing, MESSAGE_BYTES_MAX, Match, Message};
use foreshadow::wire::p4runtime::{canonical, status, text};
use foreshadow::wire::replication::{
    Ack, Encoder, Frame as Replicated, Header, Key as Secret, Kind, PairKeys, Record, Records,
};

/// A decoder by the name of its target and of its folder in the corpus.
pub(crate) type Decoder = (&'static str, fn(&[u8]));

#[allow(dead_code, reason = "a fuzz target uses one of them")]
pub(crate) const ALL: &[Decoder] = &[
    ("arp", arp),
    ("config_file", config_file),
    ("ctnetlink", ctnetlink),
    ("dhcp", dhcp),
    ("ethernet", ethernet),
    ("lldp", lldp),
    ("ndp", ndp),
    ("openflow_frame", openflow_frame),
    ("p4_status", p4_status),
    ("p4info_text", p4info_text),
    ("recording", recording),
    ("replication", replication),
    ("stations", stations),
    ("topology_file", topology_file),
];

/// The key of the corpus' probes.
const KEY: Key = Key([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);

/// A datagram of conntrack: every connection that it tells can be asked for, and is read again as the same.
pub(crate) fn ctnetlink(datagram: &[u8]) {
    let read = |bytes: &[u8]| match ctnetlink::Messages::new(bytes).next() {
        Some(Ok(ctnetlink::Message::Entry(entry))) => Some(entry.connection),
        _ => None,
    };
    for message in ctnetlink::Messages::new(datagram) {
        let Ok(ctnetlink::Message::Entry(entry)) = message else { continue };
        let told = entry.connection;
        for request in [ctnetlink::Request::Create(&told), ctnetlink::Request::Update(&told)] {
            let mut bytes = Vec::new();
            request.encode(1, &mut bytes);
            let again = read(&bytes).expect("what was told can be asked for");
            assert_eq!((again.flow, again.zone), (told.flow, told.zone));
        }
    }
}

/// A stream of messages, as a session reads it.
pub(crate) fn openflow_frame(mut stream: &[u8]) {
    while let Ok(Framing::Complete(length)) = Framing::of(stream, MESSAGE_BYTES_MAX) {
        let (bytes, rest) = stream.split_at(length);
        match Frame::decode(bytes) {
            Ok(frame) => same_frame(&frame, bytes),
            Err(error) => assert_ne!(error.error_code().0, 0, "a mistake has an error other than HELLO_FAILED"),
        }
        stream = rest;
    }
    let _ = Frame::decode(stream);
}

fn same_frame(frame: &Frame, bytes: &[u8]) {
    let again = frame.encode().expect("what was decoded has a form on the wire");
    assert!(again.len() <= bytes.len() + 8, "nothing grows but by padding");
    assert_eq!(Frame::decode(&again).as_ref(), Ok(frame));
    let stable = |matching: &Match| {
        let canonical = matching.canonical();
        assert_eq!(canonical.canonical(), canonical);
        assert!(!matching.to_string().is_empty());
    };
    match &frame.message {
        Message::FlowMod(flow) => stable(&flow.matching),
        Message::PacketIn(packet) => stable(&packet.matching),
        Message::FlowRemoved(flow) => stable(&flow.matching),
        _ => {}
    }
}

const SECRET: Secret = Secret::new([9; 16]);

/// Frames of either direction, with a true tag and in the session in force too, so that what they say is reached.
pub(crate) fn replication(data: &[u8]) {
    if let Ok(frame) = Replicated::decode(data) {
        let _ = (frame.is_authentic(&SECRET), frame.number());
        let records: Result<Vec<Record>, _> = Records::new(frame.body, frame.header.count).collect();
        if let Ok(records) = records {
            let mut encoder = Encoder::new(Vec::new());
            records.iter().for_each(|record| encoder.push(record));
            let again: Result<Vec<Record>, _> = Records::new(encoder.bytes(), encoder.count()).collect();
            let plain = |records: Vec<Record>| records.into_iter().map(without_untold).collect::<Vec<_>>();
            assert_eq!(again.map(plain), Ok(plain(records)));
        }
        if let Ok(ack) = Ack::decode(frame.body) {
            assert_eq!(Ack::decode(&ack.encode()), Ok(ack));
        }
    }
    apply(data);
}

/// Fields that an update does not tell mean nothing.
fn without_untold(record: Record) -> Record {
    let Record::Update { handle, fields, state } = record else { return record };
    let mut told = foreshadow::wire::replication::State::default();
    told.take(fields, &state);
    Record::Update { handle, fields, state: told }
}

/// A session that has just begun takes each piece of the input as records and as an acknowledgement.
fn apply(data: &[u8]) {
    let (own, peer, mut now) = (NodeIndex(1), NodeIndex(2), Timestamp::from_secs(1));
    let config = Config { connections_max: 1 << 12, ..Config::default() };
    let mut source = Source::new(config.clone(), own, 1, SECRET);
    source.add_peer(peer, now);
    let mut replica = Replica::new(config.clone(), own, peer, 1, &SECRET);
    let keys = PairKeys::new(&SECRET, own, peer);
    let mut changes = Vec::new();
    let mut down = None;
    for _ in 0..4 {
        while let Some((_, frame)) = source.poll(now) {
            down = Replicated::decode(&frame).ok().map(|frame| frame.header).or(down);
            let _ = replica.receive(&frame, now, &mut changes);
        }
        while let Some(frame) = replica.poll(now) {
            let _ = source.receive(peer, &frame, now);
        }
        now = now + config.beat_busy;
    }
    let down = down.expect("a source speaks");
    for (piece, number) in data.split(|byte| *byte == 0xfe).zip(1..) {
        let count = piece.first().copied().unwrap_or(0).into();
        let body = piece.get(1..).unwrap_or_default();
        let header = Header { kind: Kind::Data, sequence: down.sequence + number, count, ..down };
        let _ = replica.receive(&header.with_body(body, &keys.down), now, &mut changes);
        let header = Header { kind: Kind::Ack, sequence: 1000 + number, count: 0, ..down };
        let _ = source.receive(peer, &header.with_body(piece, &keys.up), now);
        while source.poll(now).is_some() {}
        let _ = (replica.poll(now), replica.is_complete(), source.lag(peer, now));
    }
    for (slot, held) in replica.connections() {
        assert_eq!(replica.find(&held.flow, held.zone), Some(slot));
    }
}

pub(crate) fn lldp(data: &[u8]) {
    if let Ok(probe) = Probe::decode(data, KEY) {
        assert!(is_lldp(data));
        assert_eq!(Probe::decode(&probe.encode(MacAddr::GATEWAY, KEY), KEY), Ok(probe));
    }
    if let Ok(probe) = LivenessProbe::decode(data, KEY) {
        assert!(is_lldp(data));
        assert_eq!(LivenessProbe::decode(&probe.encode(MacAddr::GATEWAY, KEY), KEY), Ok(probe));
    }
}

pub(crate) fn arp(data: &[u8]) {
    if let Some(arp) = Arp::decode(data) {
        assert_eq!(Arp::decode(&arp.encode()), Some(arp));
    }
    if let Some(arp) = Arp::decode_payload(data) {
        assert_eq!(Arp::decode_payload(&arp.encode_payload()), Some(arp));
    }
}

pub(crate) fn ethernet(data: &[u8]) {
    if let Some((header, payload)) = EthernetHeader::decode(data) {
        let again = header.encode(payload);
        let (came, came_payload) = EthernetHeader::decode(&again).expect("a whole frame");
        assert_eq!(came, header);
        assert!(came_payload.starts_with(payload), "only padding is added");
    }
}

pub(crate) fn ndp(data: &[u8]) {
    if let Some(neighbour) = Neighbour::decode(data) {
        assert_eq!(Neighbour::decode(&neighbour.encode()), Some(neighbour));
    }
}

pub(crate) fn dhcp(data: &[u8]) {
    let _ = Dhcp::decode_packet(data);
    if let Some(message) = Dhcp::decode(data) {
        assert_eq!(Dhcp::decode(&message.encode()), Some(message));
    }
}

/// Topology files, and controller files that name no other file.
pub(crate) fn config_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse_topology(Path::new("fuzzed.yaml"), text) {
        Ok(topology) => {
            let again = parse_topology(Path::new("again.yaml"), &topology.to_yaml());
            assert_eq!(again.as_ref(), Ok(&topology));
        }
        Err(problems) => assert!(!problems.is_empty(), "what is refused has a reason"),
    }
    // A path could lead to a device that never ends.
    if !text.contains(['/', '\\']) {
        in_file(data, |path| {
            let _ = check(path);
        });
    }
}

pub(crate) fn recording(data: &[u8]) {
    in_file(data, |path| {
        let Ok(mut reader) = Reader::open(path) else { return };
        while let Ok(Read::Record(_)) = reader.next_record() {}
    });
}

/// Topology files of every format: what is read passes our own checks, and equals itself when it was written and read again.
pub(crate) fn topology_file(data: &[u8]) {
    for format in Format::ALL.into_iter().map(Some).chain([None]) {
        match import(Path::new("fuzz"), data, format, &Options::default()) {
            Ok(imported) => {
                let text = imported.topology.to_yaml_with(&imported.comments);
                assert_eq!(parse_topology(Path::new("written.yaml"), &text), Ok(imported.topology));
            }
            Err(problems) => assert!(!problems.is_empty(), "what is refused has a reason"),
        }
    }
}

/// Frames that come in by edge ports, each after its port, the seconds since the last one, and its length: at most one
/// reaction follows a frame, and the tables agree.
pub(crate) fn stations(mut data: &[u8]) {
    let mut stations = Stations::new();
    let mut now = Timestamp::from_secs(1);
    while let Some(([port, seconds, length], rest)) = data.split_first_chunk() {
        let (frame, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        data = rest;
        now = now + Duration::from_secs((*seconds).into());
        let place = Place { node: NodeIndex(1 + u16::from(port % 2)), port: PortNo((*port).into()) };
        assert!(stations.packet_in(place, frame, now).reactions.len() <= 1, "one reaction at most");
        stations.poll(now);
        assert!(stations.iter().map(|known| (&known.station, &known.place)).eq(stations.places().iter()));
    }
}

/// P4Infos: what is read is written and read again as the same, and is refused with reasons if it cannot be so.
pub(crate) fn p4info_text(data: &[u8]) {
    let Ok(written) = std::str::from_utf8(data) else { return };
    match text::parse_p4info(written) {
        Ok(info) => {
            assert_eq!(text::parse_p4info(&text::print_p4info(&info)).as_ref(), Ok(&info));
            match Info::new(info.clone()) {
                Ok(index) => assert_eq!(index.source(), &info),
                Err(problems) => assert!(!problems.is_empty(), "what is refused has a reason"),
            }
        }
        Err(error) => assert!(error.line > 0 && error.column > 0 && !error.message.is_empty()),
    }
}

/// What the updates of a failed Write came to; the bytes as a value of every width as well.
pub(crate) fn p4_status(data: &[u8]) {
    if let Ok(errors) = status::decode(data) {
        assert!(!errors.is_empty(), "no details are an error");
        errors.iter().for_each(|error| assert!(!status::describe(error).is_empty()));
        assert_eq!(status::decode(&status::encode(status::Code::Unknown, "", &errors)), Ok(errors));
    }
    for width_bits in 0..=canonical::WIDTH_BITS_MAX + 1 {
        if let Ok(value) = canonical::decode(data, width_bits) {
            assert_eq!(canonical::encode(value), canonical::canonical(data));
            assert!(canonical::fits(data, width_bits).is_ok() && canonical::is_canonical(&canonical::encode(value)));
        }
    }
}

/// Runs `read` on a file of these bytes. One file a thread: fuzzers run many times a second.
fn in_file(data: &[u8], read: impl FnOnce(&Path)) {
    let thread = format!("{:?}", std::thread::current().id());
    let number: String = thread.chars().filter(char::is_ascii_digit).collect();
    let path = std::env::temp_dir().join(format!("foreshadow-fuzz-{}-{number}", std::process::id()));
    std::fs::write(&path, data).expect("the temporary folder can be written");
    read(&path);
    let _ = std::fs::remove_file(&path);
}
