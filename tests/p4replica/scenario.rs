//! What is seen of replication between two routers, step by step.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use std::sync::atomic::Ordering;

use foreshadow::southbound::Event;
use foreshadow::types::{MacAddr, NodeIndex};
use foreshadow::wire::replication::fixed::{Record, RecordEvent};

use super::frames::{self, ACK, FIN, SYN, client_port, down, up};
use super::hosts::{Talker, apart};
use super::{INSIDE, Lab, MIRROR, OUTSIDE, OWNER, SHADOW, far, plan};

const CAPACITY: u32 = 60;
const FIRST: u16 = 10_000;
/// Cells of the counter of events.
const ADMITTED: i64 = 0;
const REFUSED: i64 = 1;
const UNKNOWN: i64 = 2;
const TAKEN: i64 = 7;
const FORGED: i64 = 8;
const REPEATED: i64 = 9;
const GAPS: i64 = 10;

/// Opens connections through a router, each with its handshake; when each began.
async fn open(lab: &mut Lab, router: NodeIndex, ports: std::ops::Range<u16>) -> BTreeMap<u16, Instant> {
    let mut began = BTreeMap::new();
    for port in ports {
        began.insert(port, Instant::now());
        pass(lab, router, &[(INSIDE, up(port, SYN)), (OUTSIDE, down(port, SYN | ACK)), (INSIDE, up(port, ACK))]).await;
    }
    began
}

/// Sends packets through a router one after the other; each has to come out on the other side.
async fn pass(lab: &mut Lab, router: NodeIndex, packets: &[(u32, Vec<u8>)]) {
    for (port, frame) in packets {
        lab.send(router, *port, frame).await;
        let (left_by, packet) = lab.next_packet().await;
        let other = if *port == INSIDE { OUTSIDE } else { INSIDE };
        assert_eq!((left_by, client_port(&packet)), (far(router, other), client_port(frame)));
        assert_eq!(packet[6..12], MacAddr::of_node(OWNER).0, "the source tells the owner");
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Both hold the same, by their digests.
async fn agree(lab: &mut Lab, count: u64) {
    let [owner, shadow] = lab.digests(count, count).await;
    assert_eq!(owner, shadow, "the same {count} connections");
}

/// Connections of the owner are at its shadow, with their states, and their ends follow.
async fn changes_follow(lab: &mut Lab) {
    let began = open(lab, OWNER, FIRST..FIRST + 50).await;
    agree(lab, 50).await;
    let mut delays: Vec<Duration> = Vec::new();
    {
        let link = lab.link.lock().unwrap();
        let numbers: Vec<u32> = link.carried.iter().map(|(_, _, record)| record.sequence).collect();
        assert_eq!(numbers, (1..=100).collect::<Vec<u32>>(), "opened and established, each once");
        for (at, from, record) in &link.carried {
            assert_eq!((*from, record.owner, record.protocol), (OWNER, OWNER, 6));
            assert_eq!(record.established, record.event == RecordEvent::Established);
            if record.event == RecordEvent::Opened {
                delays.push(at.duration_since(began[&record.client_port]));
            }
        }
    }
    delays.sort_unstable();
    println!("record after its packet: p50 {:?}, p99 {:?}", percentile(&delays, 50), percentile(&delays, 99));
    assert_eq!(lab.events(SHADOW, TAKEN).await, 100);
    let reading = lab.collect(SHADOW).await.connections.expect("every slot was swept");
    assert_eq!((reading.occupied, reading.admitted), (0, 0), "copies are not carried");

    for port in FIRST..FIRST + 5 {
        pass(lab, OWNER, &[(INSIDE, up(port, FIN))]).await;
    }
    agree(lab, 45).await;
}

/// What the link loses is seen, and repaired by a sweep: connections that opened, and those that ended.
async fn losses_are_repaired(lab: &mut Lab) {
    lab.link.lock().unwrap().cut = true;
    open(lab, OWNER, FIRST + 50..FIRST + 60).await;
    for port in FIRST + 5..FIRST + 10 {
        pass(lab, OWNER, &[(INSIDE, up(port, FIN))]).await;
    }
    // Closing connections are forgotten by the owner before anybody hears of them.
    while lab.collect(OWNER).await.connections.is_none_or(|counted| counted.occupied > 50) {}
    let [owner, shadow] = lab.digests(50, 45).await;
    assert_ne!(owner, shadow);
    assert_eq!(lab.link.lock().unwrap().lost, 25);
    lab.link.lock().unwrap().cut = false;
    assert_eq!(lab.events(SHADOW, GAPS).await, 0);
    open(lab, OWNER, FIRST + 60..FIRST + 61).await;
    lab.digests(51, 46).await;
    assert_eq!(lab.events(SHADOW, GAPS).await, 1, "the next record shows the gap");

    let since = Instant::now();
    assert_eq!(lab.sweep_copies(SHADOW, false).await, 46);
    let (sent, replayed) = lab.replay(OWNER, SHADOW).await;
    assert_eq!(sent, 51);
    assert_eq!(lab.sweep_copies(SHADOW, true).await, 5, "what ended at the owner was not confirmed");
    println!("{sent} connections emitted in {replayed:?}; repaired in {:?}", since.elapsed());
    agree(lab, 51).await;
}

/// Nothing that does not come from where it may changes anything.
async fn forgeries_are_refused(lab: &mut Lab) {
    let before = lab.digest(SHADOW).await;
    let (taken, last) = {
        let link = lab.link.lock().unwrap();
        let change = |record: &&(Instant, NodeIndex, Record)| record.2.event != RecordEvent::Emitted;
        let last = link.carried.iter().rev().find(change).unwrap().2;
        (lab.events(SHADOW, TAKEN), last)
    };
    let taken = taken.await;
    let new = |owner, sequence| Record { client_port: 9, owner, sequence, event: RecordEvent::Opened, ..last };
    let good = new(OWNER, last.sequence + 1).to_frame();
    let (mut version, mut event) = (good.clone(), good.clone());
    (version[14], event[15]) = (0x22, 99);
    let forged = [
        (INSIDE, good.clone()),
        (OUTSIDE, good.clone()),
        (MIRROR, new(NodeIndex(4), 1).to_frame()),
        (MIRROR, new(NodeIndex(77), 1).to_frame()),
        (MIRROR, version),
        (MIRROR, event),
        (MIRROR, good[..40].to_vec()),
    ];
    for (port, frame) in &forged {
        lab.send(SHADOW, *port, frame).await;
    }
    lab.send(SHADOW, MIRROR, &last.to_frame()).await;
    lab.send(SHADOW, MIRROR, &new(OWNER, last.sequence - 7).to_frame()).await;
    let expected = i64::try_from(forged.len()).unwrap();
    await_events(lab, SHADOW, FORGED, expected).await;
    await_events(lab, SHADOW, REPEATED, 2).await;
    assert_eq!(lab.events(SHADOW, TAKEN).await, taken);
    assert_eq!(lab.digest(SHADOW).await, before);
}

async fn await_events(lab: &Lab, node: NodeIndex, cell: i64, expected: i64) {
    let since = Instant::now();
    while lab.events(node, cell).await < expected {
        assert!(since.elapsed() < super::PATIENCE, "cell {cell}: {}", lab.events(node, cell).await);
    }
    assert_eq!(lab.events(node, cell).await, expected, "cell {cell}");
}

/// The owner is gone: the shadow carries its connections, and lets new ones in as far as its own capacity goes.
async fn the_shadow_takes_over(lab: &mut Lab) {
    for port in FIRST + 10..FIRST + 50 {
        pass(lab, SHADOW, &[(INSIDE, up(port, ACK)), (OUTSIDE, down(port, ACK))]).await;
    }
    let reading = lab.collect(SHADOW).await.connections.expect("every slot was swept");
    assert_eq!((reading.occupied, reading.admitted, reading.unknown), (40, 0, 0), "what came by is carried here");
    open(lab, SHADOW, FIRST + 100..FIRST + 120).await;
    assert_eq!(lab.events(SHADOW, ADMITTED).await, 20);
    lab.send(SHADOW, INSIDE, &up(FIRST + 120, SYN)).await;
    await_events(lab, SHADOW, REFUSED, 1).await;
}

/// Everything goes back to the router, whatever it has missed.
async fn the_owner_gets_it_back(lab: &mut Lab) {
    lab.link.lock().unwrap().cut = true;
    for port in FIRST + 10..FIRST + 15 {
        pass(lab, SHADOW, &[(INSIDE, up(port, FIN))]).await;
    }
    while lab.collect(SHADOW).await.connections.is_none_or(|counted| counted.occupied > 55) {}
    lab.link.lock().unwrap().cut = false;
    assert_eq!(lab.sweep_copies(OWNER, false).await, 71, "another carries all that it has");
    let (sent, took) = lab.replay(SHADOW, OWNER).await;
    assert_eq!(sent, 66);
    println!("{sent} connections brought back in {took:?}");
    assert_eq!(lab.sweep_copies(OWNER, true).await, 5, "what ended meanwhile");
    agree(lab, 66).await;
    let reading = lab.collect(OWNER).await.connections.expect("every slot was swept");
    assert_eq!(reading.occupied, 0, "nothing is its own until packets come");
    for port in FIRST + 100..FIRST + 120 {
        pass(lab, OWNER, &[(INSIDE, up(port, ACK))]).await;
    }
}

/// Processor time of packets that change nothing, and of packets that each change a connection.
pub async fn costs(mut lab: Lab) {
    for mirrored in [false, true] {
        for node in [OWNER, SHADOW] {
            lab.install(node, plan(node, CAPACITY, mirrored)).await;
        }
        for (what, flags) in [("known", &[ACK][..]), ("changing", &[FIN, SYN, ACK])] {
            open(&mut lab, OWNER, FIRST..FIRST + 40).await;
            let before = [OWNER, SHADOW].map(|node| lab.switches[&node].processor_ms().expect("a process"));
            let packets = 3_600;
            for packet in 0..packets / flags.len() {
                let port = FIRST + u16::try_from(packet % 40).unwrap();
                for flags in flags {
                    pass(&mut lab, OWNER, &[(INSIDE, up(port, *flags))]).await;
                }
            }
            let after = [OWNER, SHADOW].map(|node| lab.switches[&node].processor_ms().expect("a process"));
            let each = |at: usize| (after[at] - before[at]) * 1_000 / u64::try_from(packets).unwrap();
            println!("mirrored {mirrored}, {what}: {} us a packet at the owner, {} at the shadow", each(0), each(1));
        }
    }
    lab.stop().await;
}

/// A router that is asked whether it lives sends the question back; another's question goes to the controller.
async fn the_data_plane_answers(lab: &mut Lab) {
    let probe = |node: NodeIndex| {
        let mut frame = MacAddr::of_node(node).0.to_vec();
        frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xcc, 1, 2, 3]);
        frame.resize(60, 0);
        frame
    };
    lab.send(OWNER, INSIDE, &probe(OWNER)).await;
    let (port, frame) = lab.next_lldp().await;
    assert_eq!((port, frame), (far(OWNER, INSIDE), probe(OWNER)));
    lab.send(OWNER, INSIDE, &probe(SHADOW)).await;
    let handed_up = lab
        .wait(|event| match event {
            Event::PacketIn { data, .. } => Some(data.clone()),
            _ => None,
        })
        .await;
    assert_eq!(handed_up, probe(SHADOW));
}

/// The whole story.
pub async fn replication(mut lab: Lab) {
    for node in [OWNER, SHADOW] {
        lab.install(node, plan(node, CAPACITY, true)).await;
    }
    the_data_plane_answers(&mut lab).await;
    changes_follow(&mut lab).await;
    losses_are_repaired(&mut lab).await;
    forgeries_are_refused(&mut lab).await;
    the_shadow_takes_over(&mut lab).await;
    the_owner_gets_it_back(&mut lab).await;
    lab.stop().await;
}

/// Beyond capacity a retransmission is no further connection, though another one that is refused shares its cell.
pub async fn retransmissions_are_refused_once(mut lab: Lab) {
    lab.install(OWNER, plan(OWNER, 1, false)).await;
    open(&mut lab, OWNER, FIRST..FIRST + 1).await;
    let (first, second) = frames::alike(0xc2b2_ae3d, 0xffff_0000);
    for _ in 0..5 {
        for port in [first, second] {
            lab.send(OWNER, INSIDE, &up(port, SYN)).await;
        }
    }
    // Whatever the router takes after them, it has seen them.
    pass(&mut lab, OWNER, &[(INSIDE, up(FIRST, ACK))]).await;
    assert_eq!(lab.events(OWNER, REFUSED).await, 2, "ports {first} and {second}");
    lab.stop().await;
}

/// The control: without mirroring the shadow knows nothing.
pub async fn nothing_without_mirroring(mut lab: Lab) {
    for node in [OWNER, SHADOW] {
        lab.install(node, plan(node, CAPACITY, false)).await;
    }
    open(&mut lab, OWNER, FIRST..FIRST + 20).await;
    for port in FIRST..FIRST + 20 {
        lab.send(SHADOW, INSIDE, &up(port, ACK)).await;
    }
    await_events(&lab, SHADOW, UNKNOWN, 20).await;
    assert_eq!(lab.packets_so_far(), Vec::new());
    assert!(lab.link.lock().unwrap().carried.is_empty());
    lab.stop().await;
}

/// Real TCP: the router dies in the middle of it, and its packets go to the shadow from then on.
pub async fn a_router_dies(mut lab: Lab, mirrored: bool) {
    for node in [OWNER, SHADOW] {
        lab.install(node, plan(node, CAPACITY, mirrored)).await;
    }
    let means = lab.join_hosts().await;
    let server = apart(|| Talker::start("server", &["serve"])).await;
    let mut client = apart(|| Talker::start("client", &["hold", "40"])).await;
    let ask = async |mut client: Talker, command: &'static str| {
        apart(move || {
            let answer = client.ask(command);
            (client, answer)
        })
        .await
    };
    let answer;
    (client, answer) = ask(client, "check 10").await;
    assert_eq!(answer["answered"], 40);
    if mirrored {
        agree(&mut lab, 40).await;
    }
    lab.kill(OWNER).await;
    means.store(SHADOW.0, Ordering::Relaxed);
    let answer;
    (client, answer) = ask(client, if mirrored { "check 10" } else { "check 3" }).await;
    println!("mirrored {mirrored}: {answer}");
    assert_eq!(answer["answered"], if mirrored { 40 } else { 0 });
    if mirrored {
        let answer;
        (client, _) = ask(client, "open 20").await;
        (client, answer) = ask(client, "check 10").await;
        assert_eq!(answer["answered"], 60, "new ones beside them");
        (client, _) = ask(client, "close").await;
        while lab.collect(SHADOW).await.connections.is_none_or(|counted| counted.occupied > 0) {}
    }
    drop((client, server));
    lab.stop().await;
}
