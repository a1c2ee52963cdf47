//! TCP packets of one client, addressed to the owner of their connection.

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
