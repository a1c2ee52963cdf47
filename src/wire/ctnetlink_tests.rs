use proptest::prelude::*;

use super::*;
use crate::wire::replication::Tcp;

/// What Linux 6.18 sent (little endian): a TCP connection that is translated, from its SYN to its end, then ICMP and IPv6.
const NEW_TCP: &str = "c4000000000100060000000000000000020000003400018014000180080001007f000001080002007f0000011c000280050001000600000006000200aa860000060003001b5900003400028014000180080001007f000001080002007f0000011c0002800500010006000000060002001b58000006000300aa86000008000c007d026e9308000300000001a80800070000000078300004802c0001800500010001000000050002000a000000050003000000000006000400030000000600050000000000";
const DUMPED_TCP: &str = "0c0100000001020001000000fad2f0c9020000003400018014000180080001007f000001080002007f0000011c000280050001000600000006000200aa860000060003001b5900003400028014000180080001007f000001080002007f0000011c0002800500010006000000060002001b58000006000300aa86000008000300000001ae080008000000000008000c007d026e9308000b0000000001080007000006977f300004802c0001800500010003000000050002000a000000050003000a000000060004002300000006000500230000001c0009800c00010000000000000000030c00020000000000000000a51c000a800c00010000000000000000020c0002000000000000000070";
const DONE_DUMP: &str = "140000000300020001000000fad2f0c900000000";
const NEW_ICMP: &str = "a4000000000100060000000000000000020000003c00018014000180080001007f000001080002007f0000012400028005000100010000000600040062f90000050005000800000005000600000000003c00028014000180080001007f000001080002007f0000012400028005000100010000000600040062f900000500050000000000050006000000000008000c000fb9ddfb0800030000000188080007000000001e";
const NEW_UDP6: &str = "c40000000001000600000000000000000a0000004c0001802c000180140003000000000000000000000000000000000114000400000000000000000000000000000000011c000280050001001100000006000200b030000006000300000900004c0002802c000180140003000000000000000000000000000000000114000400000000000000000000000000000000011c0002800500010011000000060002000009000006000300b030000008000c002a4c3f320800030000000008080007000000001e";
const DESTROY_TCP: &str = "dc000000020100000000000009630000020000003c00018014000180080001007f000001080002007f0000012400028005000100010000000600040062f90000050005000800000005000600000000003c00028014000180080001007f000001080002007f0000012400028005000100010000000600040062f900000500050000000000050006000000000008000c000fb9ddfb080003000000038a080007000000001d1c0009800c00010000000000000000010c00020000000000000000541c000a800c00010000000000000000010c0002000000000000000054";

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits")).collect()
}

fn only(bytes: &[u8]) -> Message {
    let messages: Result<Vec<_>, _> = Messages::new(bytes).collect();
    let [message] = <[Message; 1]>::try_from(messages.expect("well formed")).expect("one message");
    message
}

fn entry_of(hex: &str) -> Entry {
    match only(&bytes(hex)) {
        Message::Entry(entry) => *entry,
        other => panic!("expected a connection, came {other:?}"),
    }
}

#[test]
fn a_translated_connection_is_told_from_its_first_packet_on() {
    let entry = entry_of(NEW_TCP);
    let flow = Flow::v4(Flow::TCP, (LOCAL, 0xaa86), (LOCAL, 7001));
    assert_eq!((entry.kind, entry.connection.flow), (Kind::New, flow));
    assert_eq!(entry.connection.reply(), Flow::v4(Flow::TCP, (LOCAL, 7000), (LOCAL, 0xaa86)));
    let tcp = Tcp { state: 1, flags: [3, 0], scales: 0xa0 };
    let status = status::CONFIRMED | status::NAT_DONE | status::DST_NAT;
    assert_eq!(entry.connection.state, State { status, timeout_s: 120, tcp, ..State::default() });
    assert_eq!(entry.told.0, Fields::ALL.0 & !Fields::THROUGHPUT.0);
}

#[test]
fn a_dump_tells_what_passed() {
    let entry = entry_of(DUMPED_TCP);
    assert_eq!((entry.kind, entry.bytes), (Kind::Update, Some(0xa5 + 0x70)));
    let tcp = Tcp { state: 3, flags: [3, 3], scales: 0xaa };
    assert_eq!((entry.connection.state.tcp, entry.connection.state.timeout_s), (tcp, 431_999));
    assert_eq!(only(&bytes(DONE_DUMP)), Message::Done);
}

#[test]
fn icmp_and_ipv6_are_told() {
    let icmp = entry_of(NEW_ICMP).connection;
    assert_eq!(
        icmp,
        Connection { state: icmp.state, ..Connection::new(Flow::v4(1, (LOCAL, 0x62f9), (LOCAL, 0x0800))) }
    );
    let six = entry_of(NEW_UDP6).connection;
    let local = Ipv6Addr::LOCALHOST;
    assert_eq!(six.flow, Flow::v6(Flow::UDP, (local, 0xb030), (local, 9)));
    assert_eq!(six.reply, None);
    let over = entry_of(DESTROY_TCP);
    assert_eq!((over.kind, over.connection.flow, over.bytes), (Kind::Destroy, icmp.flow, Some(0xa8)));
    assert!(!over.told.has(Fields::MARK));
}

#[test]
fn refusals_name_their_request() {
    let mut message = vec![0; 36];
    message[0] = 36;
    message[4] = 2;
    message[16..20].copy_from_slice(&(-17_i32).to_ne_bytes());
    message[28..32].copy_from_slice(&77_u32.to_ne_bytes());
    assert_eq!(only(&message), Message::Answer { sequence: 77, errno: 17 });
}

#[test]
fn what_is_malformed_is_named() {
    let whole = bytes(NEW_TCP);
    let broken = |at: usize, value: &[u8]| {
        let mut message = whole.clone();
        message[at..at + value.len()].copy_from_slice(value);
        let error = Messages::new(&message).find_map(Result::err).expect("malformed");
        error.to_string()
    };
    assert_eq!(broken(0, &[8, 0, 0, 0]), "message: expected a length of at least 16, came 8");
    assert_eq!(broken(0, &[0xff, 0, 0, 0]), "message: expected 255 bytes, 196 are left");
    assert_eq!(broken(20, &[2, 0]), "attribute: expected a length of at least 4, came 2");
    assert_eq!(broken(20, &[0xff, 0xff]), "attribute: expected 65535 bytes, 176 are left");
    assert_eq!(broken(22, &[99, 0]), "expected the attribute original tuple");
    assert_eq!(broken(28, &[6, 0]), "address: expected 4 bytes, 2 are left");
    let short = Messages::new(&whole[..10]).next().expect("one").expect_err("cut");
    assert_eq!(short.to_string(), "message: expected 196 bytes, 10 are left");
}

/// What the kernel would tell of a connection that was created: translation is in ranges in a request only.
fn connections() -> impl Strategy<Value = Connection> {
    let protocol = prop_oneof![Just(Flow::TCP), Just(Flow::UDP), Just(47_u8)];
    let side = || (any::<u32>(), any::<u16>());
    (protocol, side(), side(), any::<u16>(), any::<[u32; 3]>(), any::<[u8; 4]>(), any::<bool>()).prop_map(
        |(protocol, source, destination, zone, [status, timeout_s, mark], [state, first, second, scales], six)| {
            let flow = if six {
                let address = |bits: u32| Ipv6Addr::from(u128::from(bits) << 64 | 1);
                Flow::v6(protocol, (address(source.0), source.1), (address(destination.0), destination.1))
            } else {
                Flow::v4(protocol, (source.0.into(), source.1), (destination.0.into(), destination.1))
            };
            let flags = [first & tcp_flag::PORTABLE, second & tcp_flag::PORTABLE];
            let tcp = if protocol == Flow::TCP {
                crate::wire::replication::Tcp { state, flags, scales }
            } else {
                Tcp::default()
            };
            let status = status & (status::SEEN_REPLY | status::ASSURED) | status::CONFIRMED;
            let state = State { status, timeout_s: timeout_s.max(1), mark, tcp, ..State::default() };
            Connection { zone, state, ..Connection::new(flow) }
        },
    )
}

proptest! {
    #[test]
    fn what_is_created_is_read_again(connection in connections(), sequence: u32) {
        let mut message = Vec::new();
        Request::Create(&connection).encode(sequence, &mut message);
        let Message::Entry(entry) = only(&message) else { panic!("a connection") };
        prop_assert_eq!((entry.kind, &entry.connection), (Kind::New, &connection));
        let mut both = message.clone();
        Request::Delete(&connection).encode(sequence, &mut both);
        let flows: Vec<_> = Messages::new(&both).filter_map(Result::ok).collect();
        prop_assert_eq!(flows.len(), 2);
        let Message::Entry(over) = &flows[1] else { panic!("a connection") };
        prop_assert_eq!((over.kind, over.connection.flow, over.connection.zone), (Kind::Destroy, connection.flow, connection.zone));
    }

    #[test]
    fn nothing_panics(mut message in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..196, value: u8) {
        Messages::new(&message).for_each(drop);
        message = bytes(DUMPED_TCP);
        message[at] = value;
        Messages::new(&message).for_each(drop);
    }
}

#[test]
fn translation_is_asked_for_by_ranges() {
    let mut message = Vec::new();
    let connection = entry_of(NEW_TCP).connection;
    Request::Create(&connection).encode(1, &mut message);
    let text: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
    // Destination 127.0.0.1, port 7000; no range for the source, which stayed.
    assert!(text.contains("28000d80080001007f000001080002007f000001140003800600010".to_owned().as_str()), "{text}");
    assert!(text.contains("060001001b5800000600020"), "{text}");
    let attributes: Vec<u16> = Attributes(&message[PREFIX_LEN..]).map(|item| item.expect("own").0).collect();
    assert!(!attributes.contains(&attribute::NAT_SRC), "{attributes:?}");
}
