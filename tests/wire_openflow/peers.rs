//! The same bytes as os-ken, both ways; nothing malformed to tshark.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use foreshadow::wire::openflow::*;

use crate::{samples, skip};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(name)
}

fn from_hex(line: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hex digit") as u8;
    line.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Actions of os-ken that this codec keeps as bytes: made for tests, only for OpenFlow 1.0, or of no use here.
const KEPT_ACTIONS: &[&str] = &[
    "OFPActionExperimenterUnknown",
    "NXActionUnknown",
    "NXActionPopQueue",
    "NXActionSetQueue",
    "NXActionDecTtl",
    "NXActionResubmit",
    "NXActionPushMpls",
    "NXActionPopMpls",
    "NXActionSetMplsTtl",
    "NXActionDecMplsTtl",
    "NXActionSetMplsLabel",
    "NXActionSetMplsTc",
    "NXActionSample2",
    "NXActionController2",
    "NXActionEncapEther",
    "NXActionDecNshTtl",
];

/// No message and no field of a FLOW_MOD is only bytes or a number to this codec.
fn has_a_name(message: &Message) -> bool {
    use {MultipartReplyBody as Reply, MultipartRequestBody as Request};
    match message {
        Message::Other { .. } => false,
        Message::MultipartRequest(request) => !matches!(request.body, Request::Other { .. }),
        Message::MultipartReply(reply) => !matches!(reply.body, Reply::Other { .. }),
        Message::FlowMod(flow) => {
            flow.matching.canonical().fields.iter().all(|one| !matches!(one.field, Field::Other { .. }))
        }
        _ => true,
    }
}

#[test]
fn frames_of_os_ken_decode_and_encode_to_the_same_bytes() {
    let text = std::fs::read_to_string(data("os_ken_golden.txt")).expect("is in the repository");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() > 200, "a description and a frame in turns");
    let mut types = std::collections::BTreeSet::new();
    for pair in lines.chunks(2) {
        let [what, hex] = pair else { panic!("a description without its frame") };
        let bytes = from_hex(hex);
        let frame = Frame::decode(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(frame.encode().as_deref(), Ok(&bytes[..]), "{what}: {frame:?}");
        types.insert(frame.message.message_type());
        let shown = format!("{frame:?}");
        if what.contains("packet out") {
            // What is known becomes a value: bytes are kept for the rest only.
            let unknown = KEPT_ACTIONS.iter().any(|name| what.contains(&format!("'{name}'")));
            assert_eq!(shown.contains("Other(["), unknown, "{what}: {frame:?}");
        }
        assert!(has_a_name(&frame.message), "{what}: {frame:?}");
    }
    let all: std::collections::BTreeSet<_> = samples::frames().iter().map(|f| f.message.message_type()).collect();
    assert!(all.is_subset(&types), "os-ken's frames lack types {:?}", all.difference(&types));
}

/// A Python that imports os-ken.
fn python() -> Result<&'static str, String> {
    let works = |python: &&str| {
        let probe = Command::new(python).args(["-c", "import os_ken.ofproto"]).output();
        probe.is_ok_and(|output| output.status.success())
    };
    ["python3", "/usr/bin/python3"].into_iter().find(works).ok_or_else(|| "no python3 imports os_ken".to_owned())
}

#[test]
fn os_ken_reads_and_writes_our_frames_to_the_same_bytes() {
    let python = python();
    if !skip::require("os-ken", python.clone().err()) {
        return;
    }
    let mut text = String::new();
    for frame in samples::frames() {
        for byte in frame.encode().expect("encodes") {
            write!(text, "{byte:02x}").expect("writes to a string");
        }
        text.push('\n');
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("writes");
    let output = Command::new(python.expect("found above"))
        .arg(data("os_ken_golden.py"))
        .arg("check")
        .arg(file.path())
        .output()
        .expect("starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", said.trim());
}

#[test]
fn whatever_os_ken_knows_is_covered_or_named() {
    let python = python();
    if !skip::require("os-ken", python.clone().err()) {
        return;
    }
    let output = Command::new(python.expect("found above"))
        .arg(data("os_ken_golden.py"))
        .arg("classes")
        .output()
        .expect("starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", said.trim());
}

/// A capture file in which each frame is one TCP segment of a connection to the OpenFlow port.
fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    // Little-endian, version 2.4, link type 101: packets start with their IP header.
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 0x0004_0000, 101] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    let mut sequence = 1u32;
    for (index, frame) in (0u32..).zip(frames) {
        let length = 40 + u16::try_from(frame.len()).expect("one frame");
        let [high, low] = length.to_be_bytes();
        let mut packet = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
        packet.extend_from_slice(&[0x9c, 0x40, 0x19, 0xfd]);
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend_from_slice(frame);
        sequence += u32::try_from(frame.len()).expect("one frame");
        for word in [index, 0, length.into(), length.into()] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&packet);
    }
    out
}

#[test]
fn tshark_finds_nothing_malformed() {
    if !skip::require("tshark", skip::missing_program(&["tshark"])) {
        return;
    }
    // IP's own length field bounds what one segment can carry.
    let frames: Vec<_> = samples::frames()
        .iter()
        .map(|frame| frame.encode().expect("encodes"))
        .filter(|bytes| bytes.len() <= 65_000)
        .collect();
    let file = tempfile::NamedTempFile::with_suffix(".pcap").expect("a temporary file");
    std::fs::write(file.path(), capture(&frames)).expect("writes");
    let tshark = |filter: &str| {
        let output = Command::new("tshark")
            .arg("-r")
            .arg(file.path())
            .args(["-d", "tcp.port==6653,openflow", "-Y", filter])
            .args(["-T", "fields", "-e", "frame.number", "-e", "openflow_v4.type", "-e", "_ws.expert.message"])
            .output()
            .expect("starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(tshark("openflow_v4").lines().count(), frames.len(), "all are dissected");
    // It has no reader for these two parts, and looks for them beyond the message's end, in os-ken's frames as well.
    let unread = ["Experimenter meter band body.", "Experimenter multipart reply body."];
    let malformed = tshark("_ws.malformed || openflow_v4 && _ws.expert.severity >= error");
    let malformed: Vec<_> = malformed.lines().filter(|line| !unread.iter().any(|part| line.contains(part))).collect();
    assert!(malformed.is_empty(), "{} of {} frames: {malformed:?}", malformed.len(), frames.len());
}
