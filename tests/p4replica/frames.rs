//! TCP packets of one client, addressed to the owner of their connection.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use foreshadow::types::MacAddr;

use super::OWNER;

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub const FIN: u8 = 0x11;
pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;
const SERVICE: u16 = 80;

/// From the client: the port tells the connection.
pub fn up(client_port: u16, flags: u8) -> Vec<u8> {
    tcp(CLIENT, SERVER, client_port, SERVICE, flags)
}

/// From the server.
pub fn down(client_port: u16, flags: u8) -> Vec<u8> {
    tcp(SERVER, CLIENT, SERVICE, client_port, flags)
}

/// The client's port of a packet that came out, in either direction.
pub fn client_port(frame: &[u8]) -> u16 {
    let at = if frame[26..30] == CLIENT.octets() { 34 } else { 36 };
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// Client ports whose connections have the same CRC-32 but for `mask` of its product with an odd constant.
pub fn alike(factor: u32, mask: u32) -> (u16, u16) {
    let mut seen = BTreeMap::new();
    let product = |port: u16| crc32(&tuple(port)).wrapping_mul(factor) & mask;
    let pair = (1024..u16::MAX).find_map(|port| seen.insert(product(port), port).map(|other| (other, port)));
    pair.expect("some two of so many ports are alike")
}

/// As the data plane has it: addresses, ports, protocol.
fn tuple(client_port: u16) -> Vec<u8> {
    let mut tuple = [CLIENT.octets(), SERVER.octets()].concat();
    tuple.extend([client_port.to_be_bytes(), SERVICE.to_be_bytes()].concat());
    tuple.push(6);
    tuple
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn tcp(from: Ipv4Addr, to: Ipv4Addr, from_port: u16, to_port: u16, flags: u8) -> Vec<u8> {
    let mut frame = MacAddr::of_node(OWNER).0.to_vec();
    frame.extend([2, 0, 0, 0, 0, 1, 8, 0]);
    frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(from_port.to_be_bytes());
    frame.extend(to_port.to_be_bytes());
    frame.extend([0; 8]);
    frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame.resize(60, 0);
    frame
}
