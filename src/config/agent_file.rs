//! Reads an agent's file.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::reader::{Fields, Problem, Reader};
use super::schema;
use super::yaml::Tree;
use crate::types::{MacAddr, NodeIndex};

const PEERS_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentRole {
    Source,
    Shadow,
    Both,
}

/// What leads to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentLink {
    Interface { name: String, mac: MacAddr },
    Udp { listen: SocketAddr, peer: SocketAddr },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPeer {
    pub router: NodeIndex,
    pub link: AgentLink,
}

/// What `agent --config FILE` reads (docs/FORMATS.md).
#[derive(Clone, PartialEq, Eq)]
pub struct AgentConfig {
    pub router: NodeIndex,
    pub role: AgentRole,
    pub key: [u8; 16],
    pub peers: Vec<AgentPeer>,
    pub ignore: Vec<IpNet>,
    pub control: PathBuf,
    pub metrics_listen: Option<SocketAddr>,
    pub batch: Duration,
    pub frame_bytes_max: usize,
    pub rate_bytes_per_s: u64,
    pub silence: Duration,
    pub audit: Duration,
    pub resync: Option<Duration>,
    pub event_buffer_bytes: usize,
    pub connections_max: u32,
    /// So far below the usual niceness is that of the agent's thread.
    pub priority: u8,
}

impl std::fmt::Debug for AgentConfig {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("AgentConfig");
        out.field("router", &self.router).field("role", &self.role).field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// Reads and checks an agent's file.
pub fn load_agent(path: &Path) -> Result<AgentConfig, Vec<Problem>> {
    let mut reader = Reader::new(path);
    let tree = reader.open();
    let config = tree.and_then(|tree| read(&mut reader, &tree));
    reader.finish(config)
}

fn read(reader: &mut Reader<'_>, tree: &Tree) -> Option<AgentConfig> {
    let fields = reader.object(tree, &schema::AGENT)?;
    let router = read_router(reader, &fields);
    let roles = "source, shadow or both";
    let role = reader.parsed(fields.get("role"), "role", roles, |text| match text {
        "source" => Some(AgentRole::Source),
        "shadow" => Some(AgentRole::Shadow),
        "both" => Some(AgentRole::Both),
        _ => None,
    });
    let key = read_key(reader, &fields);
    let peers = read_peers(reader, &fields, router);
    let mut ignore = Vec::new();
    for tree in reader.list(fields.get("ignore"), "ignore") {
        let expected = "a prefix such as 192.0.2.0/24 or 2001:db8::/32, or an address";
        let prefix = |text: &str| text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        ignore.extend(reader.parsed(Some(tree), "ignore", expected, prefix));
    }
    let control = reader.text(fields.get("control"), "control");
    let metrics_listen = read_address(reader, &fields, "metrics_listen");
    let mut integer = |key: &str, usual: u64, range| reader.integer(fields.get(key), key, range).unwrap_or(usual);
    let batch = Duration::from_micros(integer("batch_us", 2_000, 0..=1_000_000));
    let frame_bytes_max = integer("frame_bytes_max", 1_500, 256..=9_000) as usize;
    let rate_bytes_per_s = integer("rate_bytes_per_s", 12_500_000, 1_000..=100_000_000_000);
    let silence = Duration::from_secs(integer("silence_s", 30, 1..=3_600));
    let audit = Duration::from_secs(integer("audit_s", 30, 1..=86_400));
    let resync = integer("resync_s", 300, 0..=86_400);
    let event_buffer_bytes = integer("event_buffer_bytes", 32 << 20, 65_536..=(1 << 31) - 1) as usize;
    let connections_max = integer("connections_max", 1 << 21, 256..=1 << 31);
    let priority = integer("priority", 20, 0..=20);
    Some(AgentConfig {
        router: router?,
        role: role.unwrap_or(AgentRole::Both),
        key: key?,
        peers,
        ignore,
        control: reader.beside(Path::new(&control.unwrap_or_else(|| "/run/foreshadow-agent.sock".to_owned()))),
        metrics_listen,
        batch,
        frame_bytes_max,
        rate_bytes_per_s,
        silence,
        audit,
        resync: (resync > 0).then(|| Duration::from_secs(resync)),
        event_buffer_bytes,
        connections_max: u32::try_from(connections_max).expect("the range ends below 2^32"),
        priority: u8::try_from(priority).expect("the range ends at 20"),
    })
}

fn read_router(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<NodeIndex> {
    let router = reader.integer(fields.get("router"), "router", 1..=u64::from(u16::MAX))?;
    Some(NodeIndex(u16::try_from(router).expect("the range ends below 2^16")))
}

fn read_address(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> Option<SocketAddr> {
    let expected = "an address and a port, such as 192.0.2.1:34997";
    reader.parsed(fields.get(key), key, expected, |text| text.parse().ok())
}

/// The secret is never repeated in a problem.
fn read_key(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<[u8; 16]> {
    let expected = "32 hex digits";
    let (tree, text) = match (fields.get("key"), fields.get("key_file")) {
        (Some(tree), None) => (tree, reader.text(Some(tree), "key")?),
        (None, Some(tree)) => {
            let path = reader.text(Some(tree), "key_file")?;
            match std::fs::read_to_string(reader.beside(Path::new(&path))) {
                Ok(text) => (tree, text),
                Err(error) => {
                    reader.problem(tree.place, format!("'key_file' cannot be read: {error}"), "a readable file");
                    return None;
                }
            }
        }
        (Some(_), Some(tree)) => {
            reader.problem(tree.place, "both 'key' and 'key_file' are given", "one of them");
            return None;
        }
        (None, None) => {
            reader.problem(fields.place, "neither 'key' nor 'key_file' is given", "one of them");
            return None;
        }
    };
    let text = text.trim();
    let plain = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let key = u128::from_str_radix(text, 16).ok().filter(|_| plain);
    if key.is_none() {
        reader.problem(tree.place, format!("the key is {} characters that are no key", text.chars().count()), expected);
    }
    key.map(u128::to_be_bytes)
}

fn read_peers(reader: &mut Reader<'_>, fields: &Fields<'_>, own: Option<NodeIndex>) -> Vec<AgentPeer> {
    let mut peers: Vec<AgentPeer> = Vec::new();
    let list = reader.list(fields.get("peers"), "peers");
    if let Some(tree) = fields.get("peers")
        && !(1..=PEERS_MAX).contains(&list.len())
    {
        reader.problem(tree.place, format!("{} peers", list.len()), format!("1 to {PEERS_MAX}"));
    }
    for tree in list.iter().take(PEERS_MAX) {
        let Some(fields) = reader.object(tree, &schema::AGENT_PEER) else { continue };
        let (router, link) = (read_router(reader, &fields), read_link(reader, &fields));
        let (Some(router), Some(link)) = (router, link) else { continue };
        if Some(router) == own || peers.iter().any(|peer| peer.router == router) {
            let what = format!("the peer is router {}, as another one", router.0);
            reader.problem(fields.place_of("router"), what, "every router once");
        }
        let taken = |peer: &AgentPeer| match (&peer.link, &link) {
            (AgentLink::Udp { listen: a, .. }, AgentLink::Udp { listen: b, .. }) => a == b,
            _ => false,
        };
        if peers.iter().any(taken) {
            reader.problem(fields.place_of("udp_listen"), "'udp_listen' is that of another peer", "another port");
        }
        peers.push(AgentPeer { router, link });
    }
    peers
}

fn read_link(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<AgentLink> {
    let name = reader.parsed(fields.get("interface"), "interface", "a name of 1 to 15 characters", |text| {
        (1..=15).contains(&text.len()).then(|| text.to_owned())
    });
    let mac = reader.parsed(fields.get("mac"), "mac", "a MAC address", |text| text.parse().ok());
    let (listen, peer) = (read_address(reader, fields, "udp_listen"), read_address(reader, fields, "udp_peer"));
    let udp = ["udp_listen", "udp_peer"].map(|key| fields.get(key).is_some());
    match (fields.get("interface").is_some(), udp) {
        (true, [false, false]) => Some(AgentLink::Interface { name: name?, mac: mac.unwrap_or(MacAddr::BROADCAST) }),
        (false, [true, true]) => {
            let (listen, peer) = (listen?, peer?);
            if listen.is_ipv4() != peer.is_ipv4() {
                reader.problem(
                    fields.place_of("udp_peer"),
                    format!("'udp_peer' is {peer}"),
                    "the family of 'udp_listen'",
                );
            }
            if fields.get("mac").is_some() {
                reader.problem(fields.place_of("mac"), "'mac' is given with UDP", "no 'mac'");
            }
            Some(AgentLink::Udp { listen, peer })
        }
        _ => {
            reader.problem(fields.place, "the peer's link is not clear", "'interface', or 'udp_listen' and 'udp_peer'");
            None
        }
    }
}
