//! What holds for every frame, and for every string of bytes.

use foreshadow::types::PortNo;
use foreshadow::wire::openflow::*;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::strategy;

/// One change to bytes.
#[derive(Clone, Debug)]
enum Mutation {
    Set { at: usize, to: u8 },
    Cut { at: usize },
    Repeat { at: usize, count: usize },
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let one = prop_oneof![
        6 => (any::<usize>(), any::<u8>()).prop_map(|(at, to)| Mutation::Set { at, to }),
        1 => any::<usize>().prop_map(|at| Mutation::Cut { at }),
        1 => (any::<usize>(), 1usize..100).prop_map(|(at, count)| Mutation::Repeat { at, count }),
    ];
    vec(one, 1..6)
}

/// `keep_header` repairs version, type and length, so that the body is looked at.
fn mutate(bytes: &[u8], mutations: &[Mutation], keep_header: bool) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for mutation in mutations {
        let length = out.len();
        match *mutation {
            Mutation::Set { at, to } => out[at % length] = to,
            Mutation::Cut { at } => out.truncate((at % length).max(HEADER_BYTES)),
            Mutation::Repeat { at, count } => {
                let more = out[at % length..].iter().copied().take(count).collect::<Vec<_>>();
                out.extend_from_slice(&more);
            }
        }
    }
    if keep_header {
        out[..HEADER_BYTES].copy_from_slice(&bytes[..HEADER_BYTES]);
        let length = u16::try_from(out.len()).expect("generated frames are small");
        out[2..4].copy_from_slice(&length.to_be_bytes());
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_encoded_decodes_to_the_same(frame in strategy::frame()) {
        let bytes = frame.encode().expect("has a form on the wire");
        prop_assert_eq!(bytes.len() % 8 == 0 || carries_bytes(&frame.message), true);
        prop_assert_eq!(Framing::of(&bytes, MESSAGE_BYTES_MAX), Ok(Framing::Complete(bytes.len())));
        prop_assert_eq!(Frame::decode(&bytes), Ok(frame));
    }

    #[test]
    fn what_decodes_encodes_and_decodes_to_the_same(
        frame in strategy::frame(), changes in mutations(), keep_header in any::<bool>()
    ) {
        let bytes = mutate(&frame.encode().expect("has a form on the wire"), &changes, keep_header);
        if let Ok(decoded) = Frame::decode(&bytes) {
            let again = decoded.encode().expect("what was decoded has a form on the wire");
            prop_assert_eq!(Frame::decode(&again), Ok(decoded));
        }
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(body in vec(any::<u8>(), 0..300), message_type in 0u8..30) {
        let length = u16::try_from(body.len() + HEADER_BYTES).expect("small");
        let [high, low] = length.to_be_bytes();
        let bytes = [&[VERSION, message_type, high, low, 0, 0, 0, 1], &body[..]].concat();
        let _ = Frame::decode(&bytes);
        let _ = Frame::decode(&body);
        let _ = Framing::of(&body, MESSAGE_BYTES_MAX);
    }

    #[test]
    fn canonical_forms_stay_as_they_are(matching in strategy::matching(), action in strategy::action()) {
        prop_assert_eq!(matching.canonical().canonical(), matching.canonical());
        prop_assert_eq!(action.canonical().canonical(), action.canonical());
        let reversed = Match { fields: matching.fields.iter().rev().copied().collect(), wide: matching.wide.clone() };
        prop_assert_eq!(reversed.canonical(), matching.canonical());
    }
}

/// Messages that end with bytes of any number.
fn carries_bytes(message: &Message) -> bool {
    use {MultipartReplyBody as Reply, MultipartRequestBody as Request};
    matches!(
        message,
        Message::Error(_)
            | Message::EchoRequest(_)
            | Message::EchoReply(_)
            | Message::GetConfigReply(_)
            | Message::SetConfig(_)
            | Message::PacketIn(_)
            | Message::PacketOut(_)
            | Message::Other { .. }
            | Message::Experimenter(_)
            | Message::MeterMod(_)
            | Message::QueueGetConfigReply(_)
            | Message::MultipartRequest(MultipartRequest { body: Request::Other { .. }, .. })
            | Message::MultipartRequest(MultipartRequest { body: Request::Experimenter(_), .. })
            | Message::MultipartReply(MultipartReply { body: Reply::Other { .. } | Reply::Experimenter(_), .. })
            | Message::MultipartReply(MultipartReply { body: Reply::MeterConfig(_), .. })
    )
}

#[test]
fn framing_waits_for_a_whole_message_and_refuses_what_none_can_be() {
    let two = [Frame::new(1, Message::BarrierRequest), Frame::new(2, Message::EchoRequest(vec![9; 5]))];
    let stream: Vec<u8> = two.iter().flat_map(|frame| frame.encode().expect("encodes")).collect();
    for end in 0..8 {
        assert_eq!(Framing::of(&stream[..end], 100), Ok(Framing::Incomplete { needed: 8 }));
    }
    assert_eq!(Framing::of(&stream, 100), Ok(Framing::Complete(8)));
    for end in 16..21 {
        assert_eq!(Framing::of(&stream[8..end], 100), Ok(Framing::Incomplete { needed: 13 }));
    }
    assert_eq!(Framing::of(&stream[8..], 100), Ok(Framing::Complete(13)));
    assert!(Framing::of(&stream[8..], 12).is_err(), "above the bound");
    assert!(Framing::of(&[4, 0, 0, 7, 0, 0, 0, 1], 100).is_err(), "below the header's own length");
}

#[test]
fn errors_name_message_expectation_and_what_came() {
    let table: &[(&[u8], &str)] = &[
        (&[4, 20, 0, 8, 0, 0], "message header: expected 8 more bytes, 6 are left"),
        (&[4, 20, 0, 9, 0, 0, 0, 1], "BARRIER_REQUEST: expected a length of the number of bytes at hand, came 9"),
        (&[1, 20, 0, 8, 0, 0, 0, 1], "BARRIER_REQUEST: expected version 0x04, came 1"),
        (&[4, 20, 0, 9, 0, 0, 0, 1, 0], "BARRIER_REQUEST: expected a length of 8: a header alone, came 1"),
        (&[4, 14, 0, 8, 0, 0, 0, 1], "FLOW_MOD: expected 40 more bytes, 0 are left"),
        (&[4, 15, 0, 16, 0, 0, 0, 1, 0, 9, 0, 0, 0, 0, 0, 1], "GROUP_MOD: expected a command from 0 to 2, came 9"),
        (&[4, 15, 0, 16, 0, 0, 0, 1, 0, 0, 9, 0, 0, 0, 0, 1], "group: expected a type from 0 to 3, came 9"),
    ];
    for (bytes, text) in table {
        assert_eq!(Frame::decode(bytes).map_err(|error| error.to_string()), Err((*text).to_owned()));
    }
}

#[test]
fn nothing_longer_than_the_length_field_is_written() {
    let bucket = |n| Bucket {
        weight: 1,
        watch_port: port::ANY,
        watch_group: group::ANY,
        actions: vec![Action::output(PortNo(n))],
    };
    let group = |buckets| GroupMod {
        command: GroupModCommand::Add,
        group_type: GroupType::Select,
        group_id: 1,
        buckets: (0..buckets).map(bucket).collect(),
    };
    let encode = |message| Frame::new(1, message).encode().map(|bytes| bytes.len());
    assert_eq!(encode(Message::GroupMod(group(2047))), Ok(16 + 2047 * 32));
    let too_long = EncodeError::TooLong { what: "GROUP_MOD", length: 16 + 2048 * 32, max: 65_535 };
    assert_eq!(encode(Message::GroupMod(group(2048))), Err(too_long));
    assert_eq!(encode(Message::EchoRequest(vec![0; 65_527])), Ok(65_535));
    assert!(encode(Message::EchoRequest(vec![0; 65_528])).is_err());
    let mut out = vec![7];
    assert!(Frame::new(1, Message::EchoRequest(vec![0; 65_528])).encode_into(&mut out).is_err());
    assert_eq!(out, [7], "nothing is left behind");
}

#[test]
fn long_answers_are_split_and_none_is_lost() {
    let ports: Vec<_> = (0..3_000).map(|port_no| PortStats { port_no, ..PortStats::default() }).collect();
    let parts = MultipartReplyBody::PortStats(ports.clone()).split().expect("each fits");
    assert_eq!(parts.iter().map(|part| part.more).collect::<Vec<_>>(), [true, true, true, true, true, false]);
    let mut together = Vec::new();
    for part in parts {
        let bytes = Frame::new(1, Message::MultipartReply(part)).encode().expect("fits");
        let Ok(Frame { message: Message::MultipartReply(MultipartReply { body, .. }), .. }) = Frame::decode(&bytes)
        else {
            panic!("expected a multipart reply")
        };
        let MultipartReplyBody::PortStats(list) = body else { panic!("expected port statistics") };
        together.extend(list);
    }
    assert_eq!(together, ports);
    let none = MultipartReplyBody::Flow(vec![]).split();
    assert_eq!(none, Ok(vec![MultipartReply { more: false, body: MultipartReplyBody::Flow(vec![]) }]));
}

#[test]
fn no_depth_of_nesting_is_too_deep() {
    // A ct in a ct in a ct …, as deep as a message holds.
    let mut inner: Vec<u8> = Vec::new();
    while inner.len() + 24 < 65_000 {
        let length = u16::try_from(inner.len() + 24).expect("bounded by the loop").to_be_bytes();
        let header =
            [0xff, 0xff, length[0], length[1], 0, 0, 0x23, 0x20, 0, 35, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0];
        inner.splice(0..0, header);
    }
    let out = [&[0xff; 4][..], &[0; 4], &u16::try_from(inner.len()).expect("bounded").to_be_bytes(), &[0; 6], &inner]
        .concat();
    let [high, low] = u16::try_from(out.len() + 8).expect("bounded").to_be_bytes();
    let bytes = [&[VERSION, 13, high, low, 0, 0, 0, 1][..], &out].concat();
    let frame = Frame::decode(&bytes).expect("decodes");
    assert_eq!(frame.encode(), Ok(bytes));
}

#[test]
fn a_mistake_has_the_error_of_the_structure_that_it_is_in() {
    let frame = |message_type: u8, body: &[u8]| {
        let [high, low] = u16::try_from(body.len() + HEADER_BYTES).expect("small").to_be_bytes();
        [&[VERSION, message_type, high, low, 0, 0, 0, 1], body].concat()
    };
    let flow = |rest: &[u8]| frame(14, &[&[0; 40][..], rest].concat());
    let empty_match = [0, 1, 0, 4, 0, 0, 0, 0];
    let group = |command, kind, rest: &[u8]| frame(15, &[&[0, command, kind, 0, 0, 0, 0, 1], rest].concat());
    let table: &[(Vec<u8>, (u16, u16))] = &[
        (vec![1, 20, 0, 8, 0, 0, 0, 1], (1, 0)),
        (frame(20, &[0]), (1, 6)),
        (flow(&[0, 0, 0, 4, 0, 0, 0, 0]), (4, 0)),
        (flow(&[0, 1, 0, 16, 0, 0, 0, 0]), (4, 1)),
        (flow(&[0, 1, 0, 8, 0x80, 0, 0, 4]), (4, 1)),
        (flow(&[&empty_match[..], &[0, 1, 0, 4, 0, 0, 0, 0]].concat()), (3, 7)),
        (flow(&[&empty_match[..], &[0, 4, 0, 16, 0, 0, 0, 0, 0, 22, 0, 4, 0, 0, 0, 9]].concat()), (2, 1)),
        (frame(14, &[&[0; 17][..], &[9], &[0; 22], &empty_match].concat()), (5, 6)),
        (group(9, 0, &[]), (6, 11)),
        (group(0, 9, &[]), (6, 10)),
        (group(0, 0, &[0, 8, 0, 0, 0, 0, 0, 0]), (6, 12)),
        (frame(29, &[0, 9, 0, 0, 0, 0, 0, 1]), (12, 4)),
        (frame(29, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 4]), (12, 8)),
    ];
    for (bytes, code) in table {
        assert_eq!(Frame::decode(bytes).map_err(|error| error.error_code()), Err(*code), "{bytes:02x?}");
    }
}
