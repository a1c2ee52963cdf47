//! Writes a topology in its own file format; reading it again gives an equal value.
//!
//! One entry a line, so that a fabric of thousands of switches can still be read and compared. Names are checked when
//! a topology is made, so texts need quotes only where YAML would take them for something else.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::topology::{Device, Host, Link, LinkEnd, LinkKind, Node, Protocol, Service, Topology};
use super::topology_file::TOPOLOGY_VERSION;
use crate::types::NodeId;

/// Comments of a file: what stands above it, and what a node is called in its source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comments {
    pub header: Vec<String>,
    pub labels: BTreeMap<NodeId, String>,
}

impl Topology {
    /// The topology as a YAML file (docs/FORMATS.md).
    pub fn to_yaml(&self) -> String {
        self.to_yaml_with(&Comments::default())
    }

    /// The same with comments; line breaks and control characters in them become spaces.
    pub fn to_yaml_with(&self, comments: &Comments) -> String {
        let mut text = String::new();
        self.write(&mut text, comments).expect("writing to a text does not fail");
        text
    }

    fn write(&self, out: &mut String, comments: &Comments) -> fmt::Result {
        for line in &comments.header {
            writeln!(out, "{}", format!("# {}", printable(line)).trim_end())?;
        }
        writeln!(out, "version: {TOPOLOGY_VERSION}")?;
        section(out, "nodes", &self.nodes, |out, node| {
            write_node(out, node)?;
            match comments.labels.get(&node.id) {
                Some(label) => write!(out, "  # {}", printable(label).trim()),
                None => Ok(()),
            }
        })?;
        section(out, "links", &self.links, write_link)?;
        section(out, "services", &self.services, write_service)?;
        section(out, "hosts", &self.hosts, write_host)
    }
}

/// A list with one entry a line; nothing at all where it is empty, but for nodes, which every file has.
fn section<T>(
    out: &mut String,
    name: &str,
    entries: &[T],
    mut entry: impl FnMut(&mut String, &T) -> fmt::Result,
) -> fmt::Result {
    if entries.is_empty() {
        return if name == "nodes" { writeln!(out, "nodes: []") } else { Ok(()) };
    }
    writeln!(out, "{name}:")?;
    for value in entries {
        out.push_str("  - ");
        entry(out, value)?;
        out.push('\n');
    }
    Ok(())
}

fn write_device(out: &mut String, device: &Device) -> fmt::Result {
    write!(out, ", device: {}, address: {}", device.id, scalar(&device.address))?;
    // What is above the ports counted from 1 is named by links and hosts.
    let counted = device.ports.iter().zip(1..).take_while(|(port, number)| port.0 == *number).count();
    if counted > 0 {
        write!(out, ", ports: {counted}")?;
    }
    match &device.pipeline {
        Some(path) => write!(out, ", pipeline: {}", scalar(&path.to_string_lossy())),
        None => Ok(()),
    }
}

fn write_node(out: &mut String, node: &Node) -> fmt::Result {
    write!(out, "{{id: {}, stage: {}", scalar(node.id.as_str()), node.stage.name())?;
    match node.protocol {
        Protocol::OpenFlow => write!(out, ", dpid: 0x{:x}", node.datapath.0)?,
        Protocol::P4Runtime => write!(out, ", protocol: p4runtime")?,
    }
    if let Some(device) = &node.device {
        write_device(out, device)?;
    }
    if let Some(router) = &node.router {
        write!(
            out,
            ", capacity_connections: {}, threshold_available: {}, idle_timeout_s: {}, closing_timeout_s: {}, half_open_timeout_s: {}",
            router.capacity_connections,
            router.threshold_available,
            router.idle_timeout_s,
            router.closing_timeout_s,
            router.half_open_timeout_s
        )?;
        if let Some(prefix) = router.source_nat {
            write!(out, ", source_nat: {prefix}")?;
        }
    }
    if !node.risk_groups.is_empty() {
        let groups: Vec<String> = node.risk_groups.iter().map(|group| scalar(group)).collect();
        write!(out, ", risk_groups: [{}]", groups.join(", "))?;
    }
    out.push('}');
    Ok(())
}

fn write_link(out: &mut String, link: &Link) -> fmt::Result {
    let Link { latency_us, capacity_bps, .. } = link;
    write!(out, "{{a: {}, b: {}", end(&link.a), end(&link.b))?;
    write!(out, ", latency_us: {latency_us}, capacity_bps: {capacity_bps}")?;
    if link.kind == LinkKind::Mirror {
        out.push_str(", kind: mirror");
    }
    out.push('}');
    Ok(())
}

fn write_service(out: &mut String, service: &Service) -> fmt::Result {
    let prefixes: Vec<String> = service.prefixes.iter().map(ToString::to_string).collect();
    let shares: Vec<String> =
        service.shares.iter().map(|(id, share)| format!("{}: {share:?}", scalar(id.as_str()))).collect();
    let outside: Vec<String> = service.outside.iter().map(|id| scalar(id.as_str())).collect();
    write!(
        out,
        "{{id: {}, prefixes: [{}], shares: {{{}}}, outside: [{}]}}",
        scalar(&service.id),
        prefixes.join(", "),
        shares.join(", "),
        outside.join(", ")
    )
}

fn write_host(out: &mut String, host: &Host) -> fmt::Result {
    write!(out, "{{id: {}, address: {}/{}", scalar(&host.id), host.address, host.prefix_len)?;
    if let Some(mac) = host.mac {
        write!(out, ", mac: \"{mac}\"")?;
    }
    if let Some(gateway) = host.gateway {
        write!(out, ", gateway: {gateway}")?;
    }
    write!(out, ", attach: {}}}", end(&host.attached))
}

fn end(end: &LinkEnd) -> String {
    match end.port {
        // Quoted, because other tools take it for a map.
        Some(_) => format!("\"{end}\""),
        None => scalar(end.node.as_str()),
    }
}

/// A name as YAML reads it back as a text.
///
/// Names hold nothing that needs escaping. Those that begin as a number, or are a word of YAML's own, are quoted.
fn scalar(name: &str) -> String {
    const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let plain = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && !WORDS.contains(&name.to_ascii_lowercase().as_str())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if plain { name.to_owned() } else { format!("\"{name}\"") }
}

/// YAML allows few control characters in comments, and a line break would end one.
fn printable(text: &str) -> String {
    let odd = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if odd(c) { ' ' } else { c }).collect()
}
