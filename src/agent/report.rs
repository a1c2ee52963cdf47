//! What an agent says of itself: as JSON to whoever asks on its socket, as text for Prometheus.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What came from the kernel since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelReport {
    pub new: u64,
    pub updates: u64,
    pub ended: u64,
    /// Times that the kernel dropped events, because the socket's buffer was full.
    pub overruns: u64,
    pub dumps: u64,
    /// Connections whose end was found by a dump alone.
    pub missed: u64,
    /// New connections that are not told by the configuration.
    pub ignored: u64,
    /// New connections for which there was no room.
    pub refused: u64,
    pub unreadable: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerReport {
    pub router: u16,
    /// The peer has confirmed all connections of this router at least once, and doubts none.
    pub told: bool,
    /// Frames that were made and are not acknowledged.
    pub lag_frames: u64,
    /// Changed connections that no frame tells yet.
    pub lag_waiting: u64,
    pub lag_oldest_us: u64,
    pub doubtful_segments: u32,
    pub repaired_segments: u64,
    /// Connections of the peer that are held here.
    pub held: u64,
    /// All of them, and none doubtful.
    pub held_complete: bool,
    pub heard_us_ago: Option<u64>,
    pub divergences: u64,
    pub missing_frames: u64,
    pub refused_frames: u64,
}

/// The whole agent at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub router: u16,
    /// Of this router's kernel.
    pub connections: u64,
    pub kernel: KernelReport,
    pub unreadable_frames: u64,
    /// Frames that left and came, and their bytes with the Ethernet or UDP payload header.
    pub sent_frames: u64,
    pub sent_bytes: u64,
    pub received_frames: u64,
    pub received_bytes: u64,
    /// Frames that the link did not take; they are sent again.
    pub unsent_frames: u64,
    pub committed: u64,
    pub commit_failures: u64,
    pub purged: u64,
    pub peers: Vec<PeerReport>,
}

impl Report {
    /// In the text format of Prometheus.
    pub fn metrics(&self) -> String {
        let mut out = String::new();
        let mut one = |name: &str, kind: &str, about: &str, values: &[(String, u64)]| {
            let _ = writeln!(out, "# HELP foreshadow_agent_{name} {about}\n# TYPE foreshadow_agent_{name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(out, "foreshadow_agent_{name}{labels} {value}");
            }
        };
        let plain = |value: u64| vec![(String::new(), value)];
        let kernel = &self.kernel;
        one("connections", "gauge", "Connections of this router's kernel that are told.", &plain(self.connections));
        let events = [("new", kernel.new), ("update", kernel.updates), ("destroy", kernel.ended)];
        let events = events.map(|(kind, value)| (format!("{{event=\"{kind}\"}}"), value));
        one("kernel_events_total", "counter", "Events of the kernel.", &events);
        one("kernel_overruns_total", "counter", "Times that the kernel dropped events.", &plain(kernel.overruns));
        one("kernel_dumps_total", "counter", "Dumps of the kernel's table.", &plain(kernel.dumps));
        one("kernel_missed_total", "counter", "Ends that a dump alone told.", &plain(kernel.missed));
        one(
            "kernel_unreadable_total",
            "counter",
            "Messages of the kernel that were malformed.",
            &plain(kernel.unreadable),
        );
        one("refused_connections_total", "counter", "New connections without room.", &plain(kernel.refused));
        one("unreadable_frames_total", "counter", "Frames that are none.", &plain(self.unreadable_frames));
        let ways =
            |sent, received| [("sent", sent), ("received", received)].map(|(way, n)| (format!("{{way=\"{way}\"}}"), n));
        one("frames_total", "counter", "Frames of mirror links.", &ways(self.sent_frames, self.received_frames));
        one("bytes_total", "counter", "Their bytes.", &ways(self.sent_bytes, self.received_bytes));
        one("unsent_frames_total", "counter", "Frames that a link did not take.", &plain(self.unsent_frames));
        one("committed_total", "counter", "Connections put into the kernel.", &plain(self.committed));
        one("commit_failures_total", "counter", "Connections that the kernel refused.", &plain(self.commit_failures));
        one("purged_total", "counter", "Connections taken from the kernel.", &plain(self.purged));
        let mut peers = |name: &str, kind: &str, about: &str, value: fn(&PeerReport) -> u64| {
            let values: Vec<_> =
                self.peers.iter().map(|peer| (format!("{{peer=\"{}\"}}", peer.router), value(peer))).collect();
            one(name, kind, about, &values);
        };
        peers("peer_told", "gauge", "1: the peer confirmed all connections of this router.", |peer| peer.told.into());
        peers("peer_lag_frames", "gauge", "Frames that are not acknowledged.", |peer| peer.lag_frames);
        peers("peer_lag_waiting", "gauge", "Changed connections that no frame tells yet.", |peer| peer.lag_waiting);
        peers("peer_lag_oldest_us", "gauge", "Age of the oldest change not acknowledged.", |peer| peer.lag_oldest_us);
        peers("peer_doubtful_segments", "gauge", "Segments that the peer doubts.", |peer| {
            peer.doubtful_segments.into()
        });
        peers("peer_held", "gauge", "Connections of the peer that are held here.", |peer| peer.held);
        peers("peer_held_complete", "gauge", "1: all of them are, and none doubtful.", |peer| {
            peer.held_complete.into()
        });
        peers("peer_divergences_total", "counter", "Digests that differed.", |peer| peer.divergences);
        peers("peer_refused_frames_total", "counter", "Frames that were refused.", |peer| peer.refused_frames);
        out
    }
}
