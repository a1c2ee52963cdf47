//! Every key of every file, as data: the readers refuse what is not here, and docs/FORMATS.md is written from it.

use std::fmt::Write as _;

pub use super::schema_agent::{AGENT, AGENT_PEER};

/// One key of a map.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub required: bool,
    /// Type and unit.
    pub shape: &'static str,
    /// What is meant where the key is missing; empty for required keys.
    pub default: &'static str,
    pub range: &'static str,
    pub about: &'static str,
}

/// The keys of one kind of map.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What an entry is called in problem reports, such as "a node".
    pub name: &'static str,
    /// Where it stands in its file.
    pub path: &'static str,
    pub about: &'static str,
    pub keys: &'static [Key],
}

impl Section {
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

pub(super) const fn must(name: &'static str, shape: &'static str, range: &'static str, about: &'static str) -> Key {
    Key { name, required: true, shape, default: "", range, about }
}

pub(super) const fn may(
    name: &'static str,
    shape: &'static str,
    default: &'static str,
    range: &'static str,
    about: &'static str,
) -> Key {
    Key { name, required: false, shape, default, range, about }
}

pub const TOPOLOGY: Section = Section {
    name: "a topology file",
    path: "(top level)",
    about: "",
    keys: &[
        may("version", "integer", "1", "1", "Version of this format."),
        must("nodes", "list", "1 to 65,535 entries", "The switches of the fabric."),
        may("links", "list", "none", "", "What is wired to what."),
        may("services", "list", "none", "", "What is reached through the first stage."),
        may("hosts", "list", "none", "", "Hosts and servers."),
    ],
};

pub const NODE: Section = Section {
    name: "a node",
    path: "nodes[]",
    about: "A node's place in the list, from 1, is its index: the connection mark and MAC address that stand for it.",
    keys: &[
        must("id", "name", "1 to 64 letters, digits, '-', '_', '.'; unique among nodes and hosts", "Name of the node."),
        must(
            "stage",
            "stage",
            "`outside`, `first`, `second`, `third`, or 0 to 3 (also `router`, `transit`, `access`); `bridge` for a switch outside of the stages",
            "What the switch is for.",
        ),
        may("protocol", "protocol", "openflow", "`openflow`, `p4runtime`", "How the controller speaks with it."),
        may(
            "dpid",
            "datapath id",
            "(must be given for `openflow`)",
            "1 to 2^64 - 1; an integer, `0x…`, 16 hex digits, or 8 pairs of them with colons; unique",
            "OpenFlow datapath id.",
        ),
        may("device", "integer", "(must be given for `p4runtime`)", "1 to 2^64 - 1; unique", "P4Runtime device id."),
        may(
            "address",
            "`host:port`",
            "127.0.0.1 and port 9558 + `device`",
            "must be given for devices above 1,000; `p4runtime` only",
            "Where the switch's gRPC server listens; the controller connects to it.",
        ),
        may(
            "ports",
            "ports",
            "those that links and hosts name; where one names none, also 1 to the number of them",
            "1 to 500; `p4runtime` only",
            "The switch has the ports 1 to this; P4Runtime does not tell.",
        ),
        may(
            "pipeline",
            "path",
            "the fabric's own program (P4.md)",
            "a file that exists, relative to this one; `p4runtime` only",
            "Pipeline mapping of the program that the switch runs.",
        ),
        may(
            "capacity_connections",
            "connections",
            "(must be given for the first stage, and for no other)",
            "1 to 10,000,000",
            "Most connections the router may hold at once.",
        ),
        may(
            "threshold_available",
            "connections, or percent of the capacity such as `10%`",
            "10%",
            "1 to less than the capacity; percentages round up",
            "First stage: fewer available connections than this are a breach.",
        ),
        may(
            "idle_timeout_s",
            "seconds",
            "300",
            "1 to 65,535",
            "First stage: a connection without a packet for so long is forgotten.",
        ),
        may(
            "closing_timeout_s",
            "seconds",
            "5",
            "1 to 65,535",
            "First stage: a connection that saw FIN or RST keeps its slot for so long.",
        ),
        may(
            "half_open_timeout_s",
            "seconds",
            "30",
            "1 to 65,535",
            "First stage: an opening that is not answered within this is forgotten.",
        ),
        may(
            "source_nat",
            "IPv4 prefix",
            "none",
            "1 to 32 bits; `openflow` only; overlaps neither another router's nor the subnet of a host; gives every host of a third-stage switch an address of its own",
            "First stage: static NAT (DATAPATH.md). Outside, a host has the network bits of this prefix and its own host bits.",
        ),
        may(
            "risk_groups",
            "list of names",
            "none",
            "",
            "Shared-risk groups; routers with one in common are poor shadows of each other.",
        ),
    ],
};

pub const LINK: Section = Section {
    name: "a link",
    path: "links[]",
    about: "Data links join outside and first, first and second, first and third, second and second, second and third stage, and bridges with each other.",
    keys: &[
        must(
            "a",
            "end: `node` or `node:port`",
            "port 1 to 65,279, used once",
            "One end. A port that is not given is learned from LLDP.",
        ),
        must("b", "end: `node` or `node:port`", "as `a`, another node", "The other end."),
        may("latency_us", "microseconds", "100", "0 to 10,000,000", "One-way latency; ranks shadows and paths."),
        may("capacity_bps", "bits a second", "1,000,000,000", "1,000 to 10^13", "Capacity of the link."),
        may(
            "kind",
            "kind",
            "data",
            "`data`, `mirror`",
            "Mirror links carry replication alone, between two first-stage routers.",
        ),
    ],
};

pub const SERVICE: Section = Section {
    name: "a service",
    path: "services[]",
    about: "New connections towards its prefixes are spread over the first-stage routers. The longest prefix wins.",
    keys: &[
        must("id", "name", "as a node's; unique among services", "Name of the service."),
        must(
            "prefixes",
            "list of IPv4 prefixes",
            "at least one; no host bits; each in one service only",
            "Destinations, such as `0.0.0.0/0`.",
        ),
        may(
            "shares",
            "map: router to weight",
            "equal over all routers",
            "weights 0 or more, one at least above 0, at most 256 above 0",
            "Base shares when nothing is shifted; only the ratio counts. Routers that are left out, or have 0, take part only as shadows.",
        ),
        may(
            "outside",
            "list of nodes",
            "all outside switches",
            "outside switches",
            "Where destinations without a declared host live.",
        ),
    ],
};

pub const HOST: Section = Section {
    name: "a host",
    path: "hosts[]",
    about: "A host hangs on a third-stage switch or a bridge, a server on an outside switch.",
    keys: &[
        must("id", "name", "as a node's; unique among nodes and hosts", "Name of the host."),
        must(
            "address",
            "IPv4 address, with or without prefix length",
            "unicast; unique; prefix length 1 to 32, 24 if not given",
            "Address of the host.",
        ),
        must(
            "attach",
            "end: `node` or `node:port`",
            "a third-stage or outside switch, or a bridge; port used once",
            "Where it hangs. A port that is not given is learned from its ARP.",
        ),
        may(
            "mac",
            "MAC address",
            "learned by ARP",
            "unicast; unique; not 02:46:53:…, which the fabric uses itself",
            "MAC address of the host.",
        ),
        may(
            "gateway",
            "IPv4 address",
            "none",
            "within the host's subnet, not its own",
            "Virtual gateway; its ARP is answered with one virtual MAC address.",
        ),
    ],
};

pub const CONTROLLER: Section = Section {
    name: "a controller file",
    path: "(top level)",
    about: "",
    keys: &[
        may(
            "topology",
            "path",
            "none: every switch that connects joins as a bridge",
            "a file that exists",
            "Topology file, relative to this file.",
        ),
        may(
            "openflow_listen",
            "address:port",
            "127.0.0.1:6653",
            "port 0 takes a free one",
            "Where OpenFlow switches connect.",
        ),
        may("http_listen", "address:port", "127.0.0.1:8080", "port 0 takes a free one", "REST, metrics and events."),
        may("p4runtime", "map", "all defaults", "", "Sessions with P4Runtime switches."),
        may("loop", "map", "all defaults", "", "The forecast-to-shift loop."),
    ],
};

pub const P4RUNTIME: Section = Section {
    name: "the settings of P4Runtime",
    path: "p4runtime",
    about: "See P4RUNTIME.md. The controller connects to the switches that the topology declares.",
    keys: &[
        may(
            "election_id",
            "integer",
            "1",
            "1 to 2^64 - 1",
            "Of several controllers of a switch the one with the highest writes; the others read.",
        ),
        may("role", "name", "the default role, which may do everything", "", "Role of P4Runtime to ask for."),
    ],
};

pub const LOOP: Section = Section {
    name: "the loop",
    path: "loop",
    about: "See SHIFT.md and FORECAST.md for what the numbers do.",
    keys: &[
        may("cycle_ms", "milliseconds", "1000", "10 to 600,000", "Reading, forecast and decision happen once a cycle."),
        may(
            "policy",
            "policy",
            "predictive",
            "`predictive`, `reactive`, `static`",
            "`reactive`: the same law from the measured crossing only; `static`: base shares.",
        ),
        may("horizon_cycles", "cycles", "60", "1 to 3,600", "How far ahead is forecast."),
        may(
            "breach_probability",
            "probability",
            "0.5",
            "0.01 to 1",
            "A breach is predicted when its probability within the horizon reaches this.",
        ),
        may(
            "ramp_step_percent",
            "percentage points",
            "10",
            "0.1 to 50",
            "Most a shift that follows a forecast grows in one cycle.",
        ),
        may(
            "restore_step_percent",
            "percentage points",
            "1",
            "0.1 to 50",
            "Given back in one cycle once no signal holds.",
        ),
        may(
            "hold_down_cycles",
            "cycles",
            "30",
            "0 to 86,400",
            "Cycles without a signal before anything is given back.",
        ),
        may("shadows_max", "routers", "3", "1 to 8", "Shadows wanted for each router."),
        may(
            "lldp_interval_ms",
            "milliseconds",
            "5000",
            "100 to 3,600,000",
            "Interval of LLDP probes on every fabric port.",
        ),
        may(
            "replication_interval_ms",
            "milliseconds",
            "5000",
            "0 to 3,600,000",
            "How often what shadows hold is compared with what their router holds; 0: connections are not replicated.",
        ),
        may("failover", "map", "all defaults", "", "How failed routers are found, and how they come back."),
    ],
};

pub const FAILOVER: Section = Section {
    name: "failover",
    path: "loop.failover",
    about: "See FAILOVER.md for what the numbers do.",
    keys: &[
        may(
            "probe_interval_ms",
            "milliseconds",
            "200",
            "0 to 60,000",
            "How often each first-stage router is probed over its links; 0: not at all.",
        ),
        may(
            "probe_misses",
            "probes",
            "3",
            "1 to 100",
            "So many in a row without an answer over any link make a failure; two are enough once the session is gone.",
        ),
        may(
            "session_grace_ms",
            "milliseconds",
            "1000",
            "0 to 600,000",
            "How long the session may be gone of a router that can answer probes through it alone.",
        ),
        may(
            "hold_down_ms",
            "milliseconds",
            "3000",
            "0 to 3,600,000",
            "How long a router must look healthy before its state is brought back; each failure within ten minutes of another doubles it, up to 32 times.",
        ),
        may(
            "ramp_step_percent",
            "percentage points",
            "10",
            "0.1 to 100",
            "After its return a router is given so much more of its share of new connections in each cycle.",
        ),
    ],
};

pub const MAPPING: Section = Section {
    name: "a pipeline mapping",
    path: "(top level)",
    about: "",
    keys: &[
        may("version", "integer", "1", "1", "Version of this format."),
        must("form", "form", "`fabric`, `routing`", "What the program does as a whole; the form has the parts."),
        must(
            "p4info",
            "path",
            "relative to this file",
            "P4Info of the program, in the text format of protocol buffers.",
        ),
        must("config", "path", "relative to this file", "What the target runs; for BMv2 the compiler's JSON."),
        must("cpu_port", "port", "1 to 2^32 - 1", "Frames that leave by it go to the controller."),
        may(
            "cpu_session",
            "clone session",
            "none",
            "1 to 65,535",
            "Made by the controller: its copies leave by `cpu_port`.",
        ),
        must("packet_in", "map", "", "Metadata of packets to the controller."),
        must("packet_out", "map", "", "Metadata of packets from the controller."),
        must("tables", "map: part to table", "every part of the form, see above", "Which table plays which part."),
        may("counters", "map", "(must be given for `fabric`)", "", "Arrays of counters."),
        may("registers", "map", "(must be given for `fabric`)", "", "Registers whose size is a number of slots."),
        may("limits", "map", "all defaults", "", "What the target bears."),
    ],
};

pub const MAPPING_PACKET_IN: Section = Section {
    name: "the metadata of packet-ins",
    path: "packet_in",
    about: "",
    keys: &[
        must("ingress_port", "metadata", "9 bits or more", "Where the frame came in."),
        may("reason", "metadata", "(must be given for `fabric`)", "", "0: a frame; 1: the report of a sweep."),
    ],
};

pub const MAPPING_PACKET_OUT: Section = Section {
    name: "the metadata of packet-outs",
    path: "packet_out",
    about: "Other metadata is sent as 0.",
    keys: &[
        must("egress_port", "metadata", "9 bits or more", "Where the frame leaves."),
        may("purpose", "metadata", "(must be given for `fabric`)", "", "0: out of `egress_port`; 1: a sweep."),
    ],
};

pub const MAPPING_TABLE: Section = Section {
    name: "a table of a mapping",
    path: "tables.PART",
    about: "Names are full ones, or aliases that only one entity of the P4Info has.",
    keys: &[
        must("table", "table", "one that plays no other part", "The table of the P4Info."),
        may("key", "map: field of the part to match field", "none", "every field of the part", "Key of the table."),
        may("actions", "map: action of the part to map", "none", "every action of the part", "What entries do."),
        may("selector", "action profile", "the table's own", "of the table", "For parts that choose."),
        may(
            "counter",
            "direct counter",
            "(must be given for `chosen`)",
            "of the table; counts packets",
            "Counts the packets of every entry.",
        ),
    ],
};

pub const MAPPING_ACTION: Section = Section {
    name: "an action of a mapping",
    path: "tables.PART.actions.ACTION",
    about: "",
    keys: &[
        must("action", "action", "one that the table allows", "The action of the P4Info."),
        may("params", "map: parameter of the part to parameter", "none", "every parameter of both", "Its parameters."),
    ],
};

pub const MAPPING_COUNTERS: Section = Section {
    name: "the counters of a mapping",
    path: "counters",
    about: "",
    keys: &[
        may("port_in", "counter", "none", "a cell for each port", "Frames that came in."),
        may("port_out", "counter", "none", "a cell for each port", "Frames that left."),
        may("events", "map", "(must be given for `fabric`)", "", "What happened to connections."),
    ],
};

pub const MAPPING_EVENTS: Section = Section {
    name: "the counter of events",
    path: "counters.events",
    about: "",
    keys: &[
        must("counter", "counter", "counts packets", "The counter of the P4Info."),
        must("cells", "map", "", "Which cell counts what."),
    ],
};

pub const MAPPING_CELLS: Section = Section {
    name: "the cells of the counter of events",
    path: "counters.events.cells",
    about: "",
    keys: &[
        must("admitted", "cell", "0 to the counter's size - 1", "Connections admitted."),
        must("refused", "cell", "as above", "Connections refused; a retransmitted opening packet counts once."),
        must("unknown", "cell", "as above", "Packets of no known connection."),
    ],
};

pub const MAPPING_REGISTERS: Section = Section {
    name: "the registers of a mapping",
    path: "registers",
    about: "",
    keys: &[
        must("connections", "register", "", "As many cells as there are slots for connections."),
        must(
            "pins",
            "register",
            "may be the same, as a switch has one role",
            "As many cells as there are slots for pins.",
        ),
    ],
};

pub const MAPPING_LIMITS: Section = Section {
    name: "the limits of a mapping",
    path: "limits",
    about: "",
    keys: &[
        may(
            "sweep_slots",
            "slots",
            "4096",
            "64 to 4,096",
            "Most slots of one sweep; rounded down to a multiple of 64.",
        ),
        may(
            "watched",
            "which",
            "all",
            "`all`, `all-but-one`",
            "Members of a one-shot group that are left out while their port is down; `all-but-one` where a group must not become empty, as on BMv2.",
        ),
    ],
};

/// The reference part of docs/FORMATS.md.
pub fn reference() -> String {
    let mut text = String::new();
    for (title, sections) in [
        ("Topology file", &[TOPOLOGY, NODE, LINK, SERVICE, HOST][..]),
        ("Controller file", &[CONTROLLER, P4RUNTIME, LOOP, FAILOVER][..]),
        (
            "Pipeline mapping",
            &[
                MAPPING,
                MAPPING_PACKET_IN,
                MAPPING_PACKET_OUT,
                MAPPING_TABLE,
                MAPPING_ACTION,
                MAPPING_COUNTERS,
                MAPPING_EVENTS,
                MAPPING_CELLS,
                MAPPING_REGISTERS,
                MAPPING_LIMITS,
            ][..],
        ),
        ("Agent file", &[AGENT, AGENT_PEER][..]),
    ] {
        let _ = write!(text, "\n## {title}: every key\n");
        for section in sections {
            let _ = write!(text, "\n### `{}`\n\n", section.path);
            if !section.about.is_empty() {
                let _ = write!(text, "{}\n\n", section.about);
            }
            text.push_str("| key | type, unit | default | range | meaning |\n|---|---|---|---|---|\n");
            for key in section.keys {
                let default = if key.required { "**required**" } else { key.default };
                let _ =
                    writeln!(text, "| `{}` | {} | {default} | {} | {} |", key.name, key.shape, key.range, key.about);
            }
        }
    }
    text
}
