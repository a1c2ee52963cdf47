//! What Open vSwitch answers is decoded into values, and these are the same bytes again.

use foreshadow::types::PortNo;
use foreshadow::wire::openflow::*;

use crate::ovs::{Session, start};
use crate::ovs_rules;

/// Everything that comes until a barrier behind the message is answered, checked byte for byte.
fn exchange_with(session: &mut Session, message: impl FnOnce(u32) -> Message) -> Vec<Message> {
    session.send_with(message);
    let barrier = session.send(Message::BarrierRequest);
    let mut came = Vec::new();
    loop {
        let bytes = session.receive_bytes();
        let frame = Frame::decode(&bytes).unwrap_or_else(|error| panic!("{error}: {bytes:02x?}"));
        assert_eq!(frame.encode().as_deref(), Ok(&bytes[..]), "{frame:?}");
        assert!(!matches!(frame.message, Message::Other { .. }), "{frame:?}");
        match frame.message {
            Message::BarrierReply if frame.xid == barrier => return came,
            Message::EchoRequest(_) => {}
            message => came.push(message),
        }
    }
}

fn exchange(session: &mut Session, message: Message) -> Vec<Message> {
    exchange_with(session, |_| message)
}

fn one(session: &mut Session, message: Message) -> Message {
    let mut came = exchange(session, message);
    assert_eq!(came.len(), 1, "{came:?}");
    came.remove(0)
}

/// The answer to a multipart request, put together.
fn ask(session: &mut Session, body: MultipartRequestBody) -> MultipartReplyBody {
    let mut whole: Option<MultipartReplyBody> = None;
    for message in exchange(session, Message::MultipartRequest(MultipartRequest::new(body))) {
        let Message::MultipartReply(part) = message else { panic!("unexpected {message:?}") };
        assert!(!matches!(part.body, MultipartReplyBody::Other { .. }));
        match &mut whole {
            None => whole = Some(part.body),
            Some(whole) => whole.join(part.body),
        }
    }
    whole.expect("an answer")
}

#[test]
fn ovs_describes_itself() {
    use {MultipartReplyBody as Reply, MultipartRequestBody as Request};
    let Some(ovs) = start() else { return };
    let session = &mut ovs.connect();

    let Reply::TableFeatures(tables) = ask(session, Request::TableFeatures(vec![])) else { panic!("expected tables") };
    assert_eq!(tables.len(), 254);
    let fields = tables[0].properties.iter().find_map(|property| match property {
        TableProperty::Match(fields) => Some(fields),
        _ => None,
    });
    let fields: Vec<_> = fields.expect("table 0 matches").iter().filter_map(|id| id.field()).collect();
    for field in [Field::InPort, Field::EthDst, Field::Ipv6NdTarget, Field::MplsLabel, Field::Reg(15), Field::CtMark] {
        assert!(fields.iter().any(|(known, _)| known.canonical() == field), "{field} of {fields:?}");
    }
    let unnamed: Vec<_> = fields.iter().filter(|(field, _)| matches!(field.canonical(), Field::Other { .. })).collect();
    println!("{} match fields, without a name: {unnamed:?}", fields.len());

    let Reply::GroupFeatures(groups) = ask(session, Request::GroupFeatures) else { panic!("expected groups") };
    assert_eq!(groups.types, 0b1111);
    let Reply::MeterFeatures(meters) = ask(session, Request::MeterFeatures) else { panic!("expected meters") };
    println!("{groups:?} {meters:?}");
    let Reply::Queue(queues) = ask(session, Request::Queue(QueueStatsRequest { port: port::ANY, queue_id: QUEUE_ALL }))
    else {
        panic!("expected queues")
    };
    // A queue that nothing counts for has counters of ones.
    assert!(queues.iter().all(|queue| queue.queue_id == 0 && queue.tx_errors == u64::MAX), "{queues:?}");
    assert_eq!(queues.len(), 2);
    assert!(matches!(ask(session, Request::Table), Reply::Table(tables) if tables.len() == 254));
    let answer = one(session, Message::QueueGetConfigRequest(PortNo(1)));
    assert!(matches!(&answer, Message::QueueGetConfigReply(queues) if queues.port == PortNo(1)), "{answer:?}");
    let refused = exchange(
        session,
        Message::MultipartRequest(MultipartRequest::new(Request::Experimenter(ExperimenterMultipart {
            experimenter: 0x1234,
            exp_type: 5,
            body: vec![7; 8],
        }))),
    );
    assert!(matches!(&refused[..], [Message::Error(ErrorMessage { error_type: 1, code: 3, .. })]), "{refused:?}");
}

#[test]
fn ovs_holds_meters_ports_and_tables_as_they_were_sent() {
    use {MultipartReplyBody as Reply, MultipartRequestBody as Request};
    let Some(ovs) = start() else { return };
    let session = &mut ovs.connect();
    let bands = vec![MeterBand { rate: 1000, burst: 100, kind: MeterBandKind::Drop }];
    let flags = meter_flags::KBPS | meter_flags::BURST | meter_flags::STATS;
    let meter = MeterMod { command: MeterModCommand::Add, flags, meter_id: 5, bands: bands.clone() };
    assert_eq!(exchange(session, Message::MeterMod(meter.clone())), []);
    let Reply::MeterConfig(configs) = ask(session, Request::MeterConfig(meter_id::ALL)) else {
        panic!("expected meters")
    };
    assert_eq!(configs, [MeterConfig { flags, meter_id: 5, bands }]);
    let Reply::Meter(stats) = ask(session, Request::Meter(5)) else { panic!("expected counters") };
    assert_eq!(stats.iter().map(|stats| (stats.meter_id, stats.bands.len())).collect::<Vec<_>>(), [(5, 1)]);
    let again = exchange(session, Message::MeterMod(meter));
    assert!(matches!(&again[..], [Message::Error(ErrorMessage { error_type: 12, code: 1, .. })]), "{again:?}");

    let Reply::PortDescription(ports) = ask(session, Request::PortDescription) else { panic!("expected ports") };
    let port = ports.iter().find(|port| port.name == "p1").expect("was added");
    let mask = port_bits::CONFIG_PORT_DOWN;
    let down = PortMod { port_no: port.port_no, hw_addr: port.hw_addr, config: mask, mask, advertise: 0 };
    let came = exchange(session, Message::PortMod(down));
    assert!(came.iter().all(|message| matches!(message, Message::PortStatus(_))), "{came:?}");
    let Reply::PortDescription(ports) = ask(session, Request::PortDescription) else { panic!("expected ports") };
    assert!(ports.iter().any(|port| port.name == "p1" && port.config & mask != 0), "{ports:?}");
    assert_eq!(exchange(session, Message::TableMod(TableMod { table_id: 3, config: 0 })), []);
}

#[test]
fn ovs_commits_bundles_whole_or_not_at_all() {
    let Some(ovs) = start() else { return };
    let session = &mut ovs.connect();
    let flags = bundle_flags::ATOMIC | bundle_flags::ORDERED;
    let control = |bundle, control| {
        Message::Experimenter(Experimenter::BundleControl(BundleControl::new(bundle, control, flags)))
    };
    // Its answers name no flags.
    let done =
        |bundle, control| Message::Experimenter(Experimenter::BundleControl(BundleControl::new(bundle, control, 0)));
    let add = |bundle, flow: FlowMod| {
        move |xid| {
            let message = Frame::new(xid, Message::FlowMod(flow));
            let add = BundleAdd { bundle_id: bundle, flags, message, properties: vec![] };
            Message::Experimenter(Experimenter::BundleAdd(Box::new(add)))
        }
    };
    let flows = ovs_rules::flows();
    assert_eq!(one(session, control(7, bundle_control::OPEN_REQUEST)), done(7, bundle_control::OPEN_REPLY));
    for flow in &flows[..20] {
        assert_eq!(exchange_with(session, add(7, flow.clone())), []);
    }
    assert_eq!(session.flows(), [], "nothing before the commit");
    assert_eq!(one(session, control(7, bundle_control::CLOSE_REQUEST)), done(7, bundle_control::CLOSE_REPLY));
    assert_eq!(one(session, control(7, bundle_control::COMMIT_REQUEST)), done(7, bundle_control::COMMIT_REPLY));
    assert_eq!(session.flows().len(), 20);

    // One bad message, and nothing of the bundle is done.
    assert_eq!(one(session, control(8, bundle_control::OPEN_REQUEST)), done(8, bundle_control::OPEN_REPLY));
    assert_eq!(exchange_with(session, add(8, flows[20].clone())), []);
    let bad = FlowMod { instructions: vec![Instruction::ApplyActions(vec![Action::Group(99)])], ..flows[21].clone() };
    let refused = exchange_with(session, add(8, bad));
    let committed = exchange(session, control(8, bundle_control::COMMIT_REQUEST));
    println!("add: {refused:?}; commit: {committed:?}");
    let error = refused.iter().chain(&committed).find_map(|message| match message {
        Message::Error(error) if error.experimenter().is_some_and(|(id, _)| id == 0x4f4e_4600) => Some(error.code),
        _ => None,
    });
    assert!(error.is_some(), "the bundle's own error");
    assert_eq!(session.flows().len(), 20);
}

#[test]
fn ovs_answers_about_roles_and_what_it_tells_unasked() {
    let Some(ovs) = start() else { return };
    let session = &mut ovs.connect();
    let masks = AsyncConfig { packet_in: [7, 0], port_status: [7, 7], flow_removed: [15, 0] };
    assert_eq!(exchange(session, Message::SetAsync(masks)), []);
    assert_eq!(one(session, Message::GetAsyncRequest), Message::GetAsyncReply(masks));
    let experimenter = Message::Experimenter;
    for quiet in [
        Experimenter::SetControllerId(5),
        Experimenter::NiciraSetAsync(masks),
        Experimenter::FlushConntrackZone(7),
        Experimenter::SetPacketInFormat(0),
    ] {
        let came = exchange(session, experimenter(quiet.clone()));
        println!("{quiet:?}: {came:?}");
        assert!(came.iter().all(|message| matches!(message, Message::Error(_))), "{came:?}");
    }
    let came = exchange(session, experimenter(Experimenter::NiciraRoleRequest(0)));
    println!("Nicira's role request: {came:?}");

    // Another controller becomes master: what does the first one hear?
    let master = Role { role: 2, generation_id: 5 };
    assert_eq!(one(session, Message::RoleRequest(master)), Message::RoleReply(master));
    let other = &mut ovs.connect();
    let newer = Role { role: 2, generation_id: 6 };
    assert_eq!(one(other, Message::RoleRequest(newer)), Message::RoleReply(newer));
    let heard = exchange(session, Message::EchoRequest(vec![]));
    println!("the old master heard {heard:?}");
    let told = heard.iter().find_map(|message| match message {
        Message::Experimenter(Experimenter::RoleStatus(status)) => Some(status),
        _ => None,
    });
    if let Some(status) = told {
        assert_eq!((status.role, status.reason), (3, 0));
    }
    assert!(heard.contains(&Message::EchoReply(vec![])));
}
