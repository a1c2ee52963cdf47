//! Every key of an agent's file, as data.

use super::schema::{Section, may, must};

pub const AGENT: Section = Section {
    name: "an agent file",
    path: "(top level)",
    about: "See AGENT.md. One agent runs on one Linux router.",
    keys: &[
        must("router", "integer", "1 to 65,535; another one on every router", "Which router this is."),
        may(
            "role",
            "role",
            "both",
            "`source`, `shadow`, `both`",
            "`source`: tells its connections; `shadow`: keeps those of its peers.",
        ),
        may("key", "32 hex digits", "(or `key_file`)", "the same on all routers", "Secret that signs every frame."),
        may(
            "key_file",
            "path",
            "(or `key`)",
            "a file of 32 hex digits, relative to this one",
            "The same, in a file of its own.",
        ),
        must("peers", "list", "1 to 64 entries", "The other routers."),
        may(
            "ignore",
            "list of prefixes",
            "none",
            "IPv4 or IPv6",
            "Connections with such an address are not told; nor are those of loopback.",
        ),
        may("control", "path", "/run/foreshadow-agent.sock", "", "Socket for `commit`, `purge` and `status`."),
        may(
            "metrics_listen",
            "address:port",
            "none",
            "port 0 takes a free one",
            "Metrics for Prometheus at `/metrics`.",
        ),
        may(
            "batch_us",
            "microseconds",
            "2000",
            "0 to 1,000,000",
            "How long a change may wait for others to share its frame.",
        ),
        may(
            "frame_bytes_max",
            "bytes",
            "1500",
            "256 to 9,000",
            "Largest frame without its Ethernet header; UDP adds 28 or 48 bytes.",
        ),
        may(
            "rate_bytes_per_s",
            "bytes a second",
            "12,500,000",
            "1,000 to 10^11",
            "Most that replication takes of the link to one peer.",
        ),
        may("silence_s", "seconds", "30", "1 to 3,600", "A peer that was not heard for so long begins anew."),
        may("audit_s", "seconds", "30", "1 to 86,400", "In which the digests of all connections are compared once."),
        may(
            "resync_s",
            "seconds",
            "300",
            "0 to 86,400; 0: never",
            "Between dumps of the kernel's table that look for what no event told.",
        ),
        may(
            "event_buffer_bytes",
            "bytes",
            "33,554,432",
            "65,536 to 2^31 - 1",
            "Events that the kernel keeps until they are read.",
        ),
        may(
            "connections_max",
            "connections",
            "2,097,152",
            "256 to 2^31",
            "Most connections that are told, and held for each peer; the same on all routers.",
        ),
        may(
            "priority",
            "steps of niceness",
            "20",
            "0 to 20",
            "How much more urgent than other processes the agent's thread is, where CAP_SYS_NICE allows it; 0: no more.",
        ),
    ],
};

pub const AGENT_PEER: Section = Section {
    name: "a peer",
    path: "peers[]",
    about: "A link is an `interface`, or the two ends of UDP.",
    keys: &[
        must("router", "integer", "1 to 65,535; unique; not this router", "Which router it is."),
        may(
            "interface",
            "name",
            "(or `udp_listen` and `udp_peer`)",
            "1 to 15 characters",
            "Mirror interface that leads to it.",
        ),
        may("mac", "MAC address", "ff:ff:ff:ff:ff:ff", "with `interface` only", "Address that frames go to."),
        may("udp_listen", "address:port", "none", "with `udp_peer`", "Where its frames come in; port 34997 is usual."),
        may("udp_peer", "address:port", "none", "with `udp_listen`, of the same family", "Where frames to it go."),
    ],
};
