//! `/metrics`: OpenMetrics text, read from the view at every scrape.
//!
//! Names follow the Prometheus conventions: base units, `_total` for what only grows, ratios in [0, 1].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::failover;
use crate::controller::feed::Feed;
use crate::controller::view::{SwitchView, View};
use crate::policy::decision::RouterDecision;
use crate::southbound::{InstallCounts, SessionStatus};

/// Media type of the answer.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry behind `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    cycle_seconds: Histogram,
}

impl Metrics {
    pub fn new(view: watch::Receiver<Arc<View>>, feed: Feed) -> Self {
        let mut registry = Registry::with_prefix("foreshadow");
        // 10 us to about 20 s: from an idle loop over a few switches to one far beyond its cycle.
        let cycle_seconds = Histogram::new(exponential_buckets(1e-5, 2.0, 21));
        registry.register(
            "cycle_seconds",
            "Time from the first reading of a cycle to its plans",
            cycle_seconds.clone(),
        );
        registry.register_collector(Box::new(ViewCollector { view, feed }));
        Self { registry, cycle_seconds }
    }

    /// Takes one cycle into the histogram.
    pub fn observe_cycle(&self, took: Duration) {
        self.cycle_seconds.observe(took.as_secs_f64());
    }

    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[derive(Debug)]
struct ViewCollector {
    view: watch::Receiver<Arc<View>>,
    feed: Feed,
}

impl Collector for ViewCollector {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let view = Arc::clone(&self.view.borrow());
        let mut out = Out(encoder);
        loop_metrics(&mut out, &view, &self.feed)?;
        load_metrics(&mut out, &view)?;
        decision_metrics(&mut out, &view)?;
        share_metrics(&mut out, &view)?;
        switch_metrics(&mut out, &view)?;
        super::replication::metrics(&mut out, &view)?;
        session_metrics(&mut out, &view)?;
        failover::metrics(&mut out, &view.failover)
    }
}

pub(super) type Label<'a> = (&'static str, &'a str);

pub(super) struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    pub(super) fn gauges<'l, L, V>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result
    where
        L: AsRef<[Label<'l>]>,
        V: EncodeGaugeValue,
    {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            with_labels(&mut metric, labels.as_ref(), |metric| metric.encode_gauge(&value))?;
        }
        Ok(())
    }

    /// `name` comes without its `_total`, which the encoding adds.
    pub(super) fn counters<'l, L, V>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result
    where
        L: AsRef<[Label<'l>]>,
        V: EncodeCounterValue,
    {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            with_labels(&mut metric, labels.as_ref(), |metric| {
                metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
            })?;
        }
        Ok(())
    }
}

fn with_labels(
    metric: &mut MetricEncoder<'_>,
    labels: &[Label<'_>],
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() {
        return encode(metric);
    }
    let labels: Vec<(&str, &str)> = labels.to_vec();
    encode(&mut metric.encode_family(&LabelSet(&labels))?)
}

struct LabelSet<'a>(&'a [(&'a str, &'a str)]);

impl EncodeLabelSet for LabelSet<'_> {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelSetEncoder) -> fmt::Result {
        self.0.encode(encoder)
    }
}

pub(super) const NONE: [Label<'static>; 0] = [];

fn loop_metrics(out: &mut Out<'_>, view: &View, feed: &Feed) -> fmt::Result {
    out.counters("cycles", "Cycles of the loop since the controller started", [(NONE, view.cycle)])?;
    out.counters("cycles_late", "Cycles decided without all readings", [(NONE, view.cycles.late)])?;
    out.gauges("cycle_interval_seconds", "Configured length of a cycle", [(NONE, view.cycle_ms as f64 / 1e3)])?;
    out.gauges("start_time_seconds", "When the controller started", [(NONE, view.started_at.as_secs_f64())])?;
    out.gauges("view_time_seconds", "When the last cycle ended", [(NONE, view.at.as_secs_f64())])?;
    out.gauges("plan_generation", "Number of the newest plan", [(NONE, view.generation as f64)])?;
    out.gauges(
        "topology_differences",
        "Differences between the topology file and what the switches show",
        [(NONE, view.differences.len() as f64)],
    )?;
    out.counters("events", "Happenings told since the controller started", [(NONE, feed.last_id())])
}

fn load_metrics(out: &mut Out<'_>, view: &View) -> fmt::Result {
    let each = |value: fn(&RouterDecision) -> f64| router_samples(view, value);
    let count = |value: fn(&RouterDecision) -> u64| {
        view.routers.iter().map(move |decision| ([("router", decision.router.as_str())], value(decision)))
    };
    out.gauges("router_active_connections", "Connections open now", each(|d| d.load.active))?;
    out.gauges(
        "router_occupied_connections",
        "Slots of the connection table taken, closing entries included",
        each(|d| d.load.occupied),
    )?;
    out.gauges("router_capacity_connections", "Most connections held at once", each(|d| f64::from(d.capacity)))?;
    out.gauges(
        "router_available_connections",
        "Capacity less occupied connections",
        each(|d| f64::from(d.capacity) - d.load.occupied),
    )?;
    out.gauges(
        "router_threshold_available_connections",
        "Fewer available connections than this are a breach",
        each(|d| f64::from(d.threshold_available)),
    )?;
    out.gauges("router_new_connections_per_second", "New connections a second", each(|d| d.load.new_per_s))?;
    out.gauges(
        "router_mean_duration_seconds",
        "Mean lifetime of the connections that ended lately",
        each(|d| d.load.mean_duration_s),
    )?;
    out.gauges("router_bytes_per_second", "Bytes carried a second", each(|d| d.load.bytes_per_s))?;
    out.counters(
        "router_refused_connections",
        "New connections refused because the table was full",
        count(|d| d.load.refused_total),
    )?;
    out.counters(
        "router_unknown_packets",
        "Packets dropped because they belong to no known connection",
        count(|d| d.load.unknown_packets),
    )
}

fn router_samples(view: &View, value: fn(&RouterDecision) -> f64) -> impl Iterator<Item = ([Label<'_>; 1], f64)> + '_ {
    view.routers.iter().map(move |decision| ([("router", decision.router.as_str())], value(decision)))
}

fn decision_metrics(out: &mut Out<'_>, view: &View) -> fmt::Result {
    let each = |value: fn(&RouterDecision) -> f64| router_samples(view, value);
    let forecasts = || {
        let with = view.routers.iter().filter_map(|decision| Some((decision, decision.forecast.as_ref()?)));
        with.map(|(decision, forecast)| ([("router", decision.router.as_str())], forecast))
    };
    out.gauges(
        "router_breach_probability",
        "Probability of falling below the threshold within the horizon",
        forecasts().map(|(labels, forecast)| (labels, forecast.breach_probability)),
    )?;
    out.gauges(
        "router_breach_in_seconds",
        "Median time to a breach, of the forecast paths that get there",
        forecasts().filter_map(|(labels, forecast)| Some((labels, forecast.breach_in_s?))),
    )?;
    out.gauges("router_prediction_severity", "In [0, 5]", each(|d| d.prediction_severity))?;
    out.gauges("router_anomaly_severity", "In [0, 5]", each(|d| d.anomaly_severity))?;
    out.gauges("router_threshold_crossed", "1 while below the threshold", each(|d| f64::from(u8::from(d.crossed))))?;
    out.gauges(
        "router_wanted_shift_ratio",
        "Part of the router's new connections that the formula asks to shift",
        each(|d| d.wanted_percent / 100.0),
    )?;
    out.gauges(
        "router_shift_ratio",
        "Part of the router's new connections that goes to its shadows",
        each(|d| d.shift_percent / 100.0),
    )?;
    out.gauges(
        "router_unplaced_shift_ratio",
        "Part of the wanted shift that fits on no shadow",
        each(|d| d.unplaced_percent / 100.0),
    )?;
    out.gauges("router_shadows", "Shadows chosen", each(|d| d.shadows.len() as f64))
}

fn share_metrics(out: &mut Out<'_>, view: &View) -> fmt::Result {
    let shares = || {
        view.services.iter().flat_map(|service| {
            let labels = |router| [("service", service.service.as_str()), ("router", router)];
            service.routers.iter().map(move |share| (labels(share.router.as_str()), share))
        })
    };
    out.gauges(
        "service_base_share_ratio",
        "Share of a service's new connections when nothing is shifted",
        shares().map(|(labels, share)| (labels, share.base)),
    )?;
    out.gauges(
        "service_wanted_share_ratio",
        "Share asked for now",
        shares().map(|(labels, share)| (labels, share.wanted)),
    )?;
    out.gauges(
        "service_installed_share_ratio",
        "Share installed",
        shares().map(|(labels, share)| (labels, share.installed)),
    )?;
    out.gauges(
        "service_measured_share_ratio",
        "Share measured over the last window",
        shares().filter_map(|(labels, share)| Some((labels, share.measured?))),
    )
}

/// Value of the `change` label, and the count it stands for.
type Change = (&'static str, fn(&InstallCounts) -> u32);

fn switch_metrics(out: &mut Out<'_>, view: &View) -> fmt::Result {
    let each = |value: fn(&SwitchView) -> f64| {
        view.switches.iter().map(move |switch| ([("node", switch.node.as_str())], value(switch)))
    };
    out.gauges("switch_connected", "1 while a session is up", each(|s| f64::from(u8::from(s.connected))))?;
    out.gauges("switch_installed_generation", "Newest plan confirmed by a barrier", each(|s| s.installed as f64))?;
    out.gauges("switch_wanted_generation", "Newest plan meant for this switch", each(|s| s.wanted as f64))?;
    let changes: [Change; 7] = [
        ("flow-add", |c| c.flows_added),
        ("flow-modify", |c| c.flows_modified),
        ("flow-delete", |c| c.flows_deleted),
        ("group-add", |c| c.groups_added),
        ("group-modify", |c| c.groups_modified),
        ("group-delete", |c| c.groups_deleted),
        ("unchanged", |c| c.unchanged),
    ];
    out.counters(
        "switch_install_entries",
        "Entries sent, or found right, by the installs of this session",
        view.switches.iter().flat_map(|switch| {
            changes.iter().map(move |(change, value)| {
                ([("node", switch.node.as_str()), ("change", *change)], u64::from(value(&switch.install_total)))
            })
        }),
    )?;
    let ports = || {
        view.switches.iter().flat_map(|switch| {
            switch.counters.iter().map(move |(port, counters)| (switch.node.as_str(), port.to_string(), counters))
        })
    };
    let mut metric = out.0.encode_descriptor(
        "switch_port_bytes",
        "Bytes through a port since the switch started",
        None,
        MetricType::Counter,
    )?;
    for (node, port, counters) in ports() {
        for (direction, bytes) in [("rx", counters.rx_bytes), ("tx", counters.tx_bytes)] {
            let labels = [("node", node), ("port", port.as_str()), ("direction", direction)];
            with_labels(&mut metric, &labels, |metric| metric.encode_counter::<NoLabelSet, _, f64>(&bytes, None))?;
        }
    }
    Ok(())
}

/// Value of the `event` label, and the count it stands for.
type SessionEvent = (&'static str, fn(&SessionStatus) -> u64);

fn session_metrics(out: &mut Out<'_>, view: &View) -> fmt::Result {
    let sessions = || view.switches.iter().filter_map(|switch| Some((switch.node.as_str(), switch.session.as_ref()?)));
    out.gauges(
        "session_round_trip_seconds",
        "From the last echo request to its reply",
        sessions().map(|(node, session)| ([("node", node)], session.round_trip_us as f64 / 1e6)),
    )?;
    out.counters(
        "session_messages",
        "OpenFlow messages of the session by kind",
        sessions()
            .flat_map(|(node, session)| {
                let each = |direction, kinds: &'_ BTreeMap<String, u64>| {
                    kinds.clone().into_iter().map(move |(kind, count)| (direction, kind, count))
                };
                let all: Vec<_> = each("in", &session.messages_in).chain(each("out", &session.messages_out)).collect();
                all.into_iter().map(move |sample| (node, sample))
            })
            .collect::<Vec<_>>()
            .iter()
            .map(|(node, (direction, kind, count))| {
                ([("node", *node), ("direction", *direction), ("kind", kind.as_str())], *count)
            }),
    )?;
    out.counters(
        "session_bytes",
        "Bytes of the session",
        sessions().flat_map(|(node, session)| {
            let each = |direction, bytes| ([("node", node), ("direction", direction)], bytes);
            [each("in", session.bytes_in), each("out", session.bytes_out)]
        }),
    )?;
    let events: [SessionEvent; 5] = [
        ("malformed", |s| s.malformed),
        ("untied-error", |s| s.errors_untied),
        ("late-answer", |s| s.late_answers),
        ("dropped-packet-in", |s| s.dropped_packet_ins),
        ("reconnect", |s| s.reconnects),
    ];
    out.counters(
        "session_incidents",
        "What went wrong in the session, by kind",
        sessions().flat_map(|(node, session)| {
            events.iter().map(move |(kind, value)| ([("node", node), ("kind", *kind)], value(session)))
        }),
    )
}
