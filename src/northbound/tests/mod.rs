//! Routes without a socket, and streams over loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

mod export;
mod paths;
mod ryu;
mod schema;

use super::{NorthState, NorthboundError, PROBLEM_JSON, listen, router, serve};
use crate::config::{LinkKind, PolicyKind, Protocol, Stage};
use crate::controller::feed::Feed;
use crate::controller::view::{HostView, LinkState, LinkView, ServiceShare, ServiceView, SwitchView, View};
use crate::policy::decision::{Forecast, Load, RouterDecision, ShadowChoice, ShiftPhase};
use crate::southbound::{Description, InstallCounts, Port, PortCounters, SessionStatus};
use crate::types::{DatapathId, MacAddr, NodeId, NodeIndex, PortNo, Timestamp};

const NOON: Timestamp = Timestamp::from_secs(1_767_268_800);

fn switch(id: &str, index: u16, stage: Stage, connected: bool) -> SwitchView {
    let port = Port {
        number: PortNo(1),
        mac: MacAddr::of_node(NodeIndex(index)),
        name: format!("{id}-eth1"),
        up: true,
        speed_kbps: 10_000_000,
    };
    let counters =
        PortCounters { rx_packets: 10, rx_bytes: 1_000, tx_packets: 20, tx_bytes: 2_000, ..Default::default() };
    SwitchView {
        node: NodeId::new(id),
        index: NodeIndex(index),
        stage,
        protocol: Protocol::OpenFlow,
        datapath: DatapathId(u64::from(index)),
        connected,
        peer: connected.then(|| "127.0.0.1:40000".to_owned()),
        description: connected
            .then(|| Arc::new(Description { manufacturer: "Nicira, Inc.".into(), ..Default::default() })),
        session: connected.then(|| {
            Arc::new(SessionStatus {
                round_trip_us: 250,
                messages_in: BTreeMap::from([("hello".to_owned(), 1), ("packet-in".to_owned(), 40)]),
                messages_out: BTreeMap::from([("hello".to_owned(), 1)]),
                bytes_in: 4_000,
                malformed: 2,
                reconnects: 1,
                ..SessionStatus::default()
            })
        }),
        ports: Arc::new(connected.then_some((PortNo(1), port)).into_iter().collect()),
        counters: Arc::new(connected.then_some((PortNo(1), counters)).into_iter().collect()),
        installed: 7,
        wanted: if connected { 7 } else { 8 },
        last_install: connected.then(InstallCounts::default),
        install_total: InstallCounts { flows_added: 12, ..Default::default() },
        last_error: None,
    }
}

fn decision(id: &str, shift_percent: f64, shadow: &str, forecast: Option<Forecast>) -> RouterDecision {
    RouterDecision {
        router: NodeId::new(id),
        at: NOON,
        load: Load { active: 790.0, occupied: 800.0, new_per_s: 50.0, refused_total: 3, ..Default::default() },
        capacity: 1_000,
        threshold_available: 150,
        forecast,
        prediction_severity: 3.5,
        anomaly_severity: 0.0,
        crossed: false,
        wanted_percent: 35.0,
        shift_percent,
        unplaced_percent: 0.0,
        phase: if shift_percent > 0.0 { ShiftPhase::Ramping } else { ShiftPhase::Idle },
        shadows: vec![ShadowChoice {
            router: NodeId::new(shadow),
            share: 1.0,
            score: 0.25,
            latency_us: 100,
            headroom: 600.0,
            reason: "nearest with headroom".into(),
        }],
        reasons: vec!["a breach is forecast in 12 s with probability 0.9".into()],
        generation: 7,
    }
}

/// A view with everything in it that an answer can show.
fn sample() -> View {
    let forecast = Forecast {
        model: "holt".into(),
        mean: vec![810.0, 820.0],
        lo80: vec![800.0, 805.0],
        hi80: vec![820.0, 840.0],
        breach_probability: 0.9,
        breach_in_s: Some(12.0),
    };
    let share = |router: &str, base, wanted, measured: Option<f64>| ServiceShare {
        router: NodeId::new(router),
        base,
        wanted,
        installed: wanted,
        measured,
        measured_over: if measured.is_some() { 4_000 } else { 0 },
    };
    View {
        at: NOON,
        started_at: Timestamp(NOON.0 - 60_500_000),
        cycle: 60,
        cycle_ms: 1_000,
        policy: PolicyKind::Predictive,
        generation: 8,
        switches: vec![
            switch("o1", 1, Stage::Outside, true),
            switch("r1", 2, Stage::Router, true),
            switch("r2", 3, Stage::Router, false),
            switch("a1", 4, Stage::Access, true),
        ],
        links: vec![LinkView {
            a: NodeId::new("r1"),
            a_port: Some(PortNo(1)),
            b: NodeId::new("r2"),
            b_port: None,
            kind: LinkKind::Mirror,
            latency_us: 100,
            capacity_bps: 1_000_000_000,
            state: LinkState::Unseen,
            measured_latency_us: None,
        }],
        hosts: vec![HostView {
            id: "h1".into(),
            mac: None,
            vlan: None,
            ipv4: vec![[10, 0, 1, 1].into()],
            ipv6: Vec::new(),
            node: NodeId::new("a1"),
            port: Some(PortNo(1)),
        }],
        services: vec![ServiceView {
            service: "internet".into(),
            prefixes: vec!["0.0.0.0/0".parse().expect("a prefix")],
            routers: vec![share("r1", 0.5, 0.4, Some(0.41)), share("r2", 0.5, 0.6, None)],
        }],
        routers: vec![decision("r1", 20.0, "r2", Some(forecast)), decision("r2", 0.0, "r1", None)],
        differences: vec!["link r1-r2 is declared and was not seen".into()],
        failover: crate::controller::view::FailoverView::default(),
        replication: vec![crate::controller::view::PairView {
            owner: NodeId::new("r1"),
            holder: NodeId::new("r1"),
            keeper: NodeId::new("r2"),
            state: "ready".into(),
            problem: None,
            held: 400,
            copied: 400,
            divergence: 0,
            repaired: 3,
            ends: 1_200,
            compared_at: None,
        }],
        cycles: crate::controller::view::Cycles { decided: 7, late: 0, last_us: 850 },
    }
}

struct Fixture {
    state: NorthState,
    feed: Feed,
    view: watch::Sender<Arc<View>>,
}

fn fixture(view: View) -> Fixture {
    let (sender, receiver) = watch::channel(Arc::new(view));
    let feed = Feed::with_capacity(8, 4);
    feed.push(NOON, "switch-up", Some(NodeId::new("r1")), "r1 connected");
    feed.push(NOON, "shift", Some(NodeId::new("r1")), "20 % of r1 goes to r2");
    feed.push(NOON, "difference", None, "link r1-r2 is declared and was not seen");
    Fixture { state: NorthState::new(receiver, feed.clone()), feed, view: sender }
}

struct Answer {
    status: StatusCode,
    kind: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is text")
    }
}

async fn ask(fixture: &Fixture, method: Method, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
    let response = router(fixture.state.clone()).oneshot(request).await.expect("a router never fails");
    let kind = response.headers().get(header::CONTENT_TYPE).map_or("", |kind| kind.to_str().expect("text"));
    let (status, kind) = (response.status(), kind.to_owned());
    let body = to_bytes(response.into_body(), 1 << 22).await.expect("a body").to_vec();
    Answer { status, kind, body }
}

async fn get(path: &str) -> Answer {
    ask(&fixture(sample()), Method::GET, path).await
}

/// The paths of the document, with the parameters filled in.
fn documented_paths() -> Vec<(String, String)> {
    let document = serde_json::to_value(<super::ApiDoc as utoipa::OpenApi>::openapi()).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").clone();
    let concrete = |path: &str| match path {
        "/api/v1/paths" => format!("{path}?from=r1&to=r2"),
        _ => path.replace("{id}", "r1").replace("{dpid}", "0000000000000002"),
    };
    paths.into_iter().map(|(path, _)| (path.clone(), concrete(&path))).collect()
}

fn assert_no_null(path: &str, value: &Value) {
    match value {
        Value::Null => panic!("null at {path}"),
        Value::Array(items) => items.iter().for_each(|item| assert_no_null(path, item)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| assert_no_null(&format!("{path}.{key}"), value)),
        _ => {}
    }
}

#[tokio::test]
async fn every_answer_is_held_by_a_snapshot() {
    for name in
        ["topology", "routers", "routers/r1", "shadows", "forecasts", "shifts", "replication", "health", "events"]
    {
        let answer = get(&format!("/api/v1/{name}")).await;
        assert_eq!((answer.status, answer.kind.as_str()), (StatusCode::OK, "application/json"), "{name}");
        insta::assert_snapshot!(name.replace('/', "-"), serde_json::to_string_pretty(&answer.json()).expect("JSON"));
    }
}

#[tokio::test]
async fn a_number_is_never_null() {
    let mut view = sample();
    let decision = &mut view.routers[0];
    decision.load.mean_duration_s = f64::NAN;
    decision.shadows[0].headroom = f64::INFINITY;
    decision.forecast.as_mut().expect("a forecast").mean[0] = f64::NAN;
    view.services[0].routers[0].measured = Some(f64::NAN);
    let fixture = fixture(view);
    for (_, path) in
        documented_paths().into_iter().filter(|(path, _)| path.starts_with("/api/v1") && !path.ends_with(".yaml"))
    {
        assert_no_null(&path, &ask(&fixture, Method::GET, &path).await.json());
    }
}

#[tokio::test]
async fn every_route_is_documented_and_every_documented_route_answers() {
    let source = include_str!("../mod.rs");
    let routed: BTreeSet<_> =
        source.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")?.split('"').next()).collect();
    let documented = documented_paths();
    let mut expected: BTreeSet<_> = documented.iter().map(|(path, _)| path.as_str()).collect();
    expected.insert("/");
    assert_eq!(routed, expected);
    for (_, path) in &documented {
        let answer = get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let head = ask(&fixture(sample()), Method::HEAD, path).await;
        assert_eq!((head.status, head.kind, head.body), (StatusCode::OK, answer.kind, vec![]), "HEAD {path}");
    }
}

#[tokio::test]
async fn errors_are_problem_details() {
    let fixture = fixture(sample());
    let cases = [
        (Method::GET, "/nowhere", 404, "Not Found", "expected a path of /api/openapi.json, came '/nowhere'"),
        (
            Method::GET,
            "/api/v1/routers/x9",
            404,
            "Not Found",
            "expected one of the first-stage routers r1, r2, came 'x9'",
        ),
        (
            Method::GET,
            "/api/v1/routers/a1",
            404,
            "Not Found",
            "expected one of the first-stage routers r1, r2, came 'a1'",
        ),
        (Method::POST, "/api/v1/health", 405, "Method Not Allowed", "expected GET or HEAD, came POST"),
        (Method::DELETE, "/api/v1/routers/r1", 405, "Method Not Allowed", "expected GET or HEAD, came DELETE"),
    ];
    for (method, path, status, title, detail) in cases {
        let answer = ask(&fixture, method.clone(), path).await;
        assert_eq!((answer.status.as_u16(), answer.kind.as_str()), (status, PROBLEM_JSON), "{method} {path}");
        let expected = json!({
            "type": "about:blank", "title": title, "status": status, "detail": detail, "instance": path,
        });
        assert_eq!(answer.json(), expected, "{method} {path}");
    }
    for path in ["/api/v1/events?after=x", "/api/v1/events?colour=red"] {
        let answer = ask(&fixture, Method::GET, path).await;
        assert_eq!((answer.status.as_u16(), answer.kind.as_str()), (400, PROBLEM_JSON), "{path}");
    }
}

#[tokio::test]
async fn the_list_of_events_filters() {
    let cases: [(&str, &[u64]); 6] = [
        ("", &[1, 2, 3]),
        ("?after=1", &[2, 3]),
        ("?limit=1", &[3]),
        ("?kind=shift", &[2]),
        ("?node=r1", &[1, 2]),
        ("?node=r1&limit=1&after=1", &[2]),
    ];
    for (query, expected) in cases {
        let answer = get(&format!("/api/v1/events{query}")).await.json();
        let ids: Vec<_> = answer["events"].as_array().expect("events").iter().map(|e| e["id"].as_u64()).collect();
        assert_eq!(ids, expected.iter().copied().map(Some).collect::<Vec<_>>(), "{query}");
        assert_eq!(answer["newest_id"], 3, "{query}");
    }
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let answer = get("/metrics").await;
    assert!(answer.kind.starts_with("application/openmetrics-text"), "{}", answer.kind);
    insta::assert_snapshot!("metrics", answer.text());
}

#[tokio::test]
async fn cycles_go_into_the_histogram_while_served() {
    let fixture = fixture(sample());
    let shutdown = CancellationToken::new();
    let listener = listen(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let server = tokio::spawn(serve(listener, fixture.state.clone(), shutdown.clone()));
    let metrics = Arc::clone(&fixture.state.metrics);
    let mut next = sample();
    let observed = async {
        loop {
            // Published again until the observer, which may not have started yet, has seen one.
            next.cycles.decided += 1;
            fixture.view.send_replace(Arc::new(next.clone()));
            tokio::task::yield_now().await;
            let text = metrics.render().expect("text");
            if text.lines().any(|line| line.starts_with("foreshadow_cycle_seconds_count") && !line.ends_with(" 0")) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), observed).await.expect("a cycle is observed");
    shutdown.cancel();
    server.await.expect("no panic").expect("a clean stop");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = listen(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let address = first.local_addr().expect("an address");
    let error = listen(address).await.expect_err("the port is taken");
    assert!(matches!(error, NorthboundError::Listen { .. }));
    assert!(error.to_string().contains(&format!("cannot listen on http://{address}")), "{error}");
}

/// An event stream over a real socket, read line by line.
struct EventStream {
    lines: tokio::io::Lines<BufReader<TcpStream>>,
}

impl EventStream {
    async fn open(address: std::net::SocketAddr, last_id: Option<u64>) -> Self {
        let mut socket = TcpStream::connect(address).await.expect("connected");
        let resume = last_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let request =
            format!("GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n{resume}\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut lines = BufReader::new(socket).lines();
        let mut head = String::new();
        while let Some(line) = lines.next_line().await.expect("a line") {
            if line.is_empty() {
                break;
            }
            head.push_str(&line.to_lowercase());
            head.push('\n');
        }
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        Self { lines }
    }

    /// Id of the next event, and its name or the kind of the happening it carries.
    async fn next(&mut self) -> Option<(Option<u64>, String)> {
        let (mut id, mut name) = (None, None);
        let read = async {
            while let Some(line) = self.lines.next_line().await.ok()? {
                if let Some(value) = line.strip_prefix("id: ") {
                    id = value.parse().ok();
                } else if let Some(value) = line.strip_prefix("event: ") {
                    name = Some(value.to_owned());
                } else if let Some(data) = line.strip_prefix("data: {") {
                    let data: Value = serde_json::from_str(&format!("{{{data}")).expect("JSON");
                    name = data["kind"].as_str().map(ToOwned::to_owned);
                } else if line.is_empty() && name.is_some() {
                    break;
                }
            }
            name.map(|name| (id, name))
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("an event in time")
    }
}

#[tokio::test]
async fn a_stream_resumes_goes_on_live_and_ends_with_the_server() {
    let fixture = fixture(sample());
    let shutdown = CancellationToken::new();
    let listener = listen(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(serve(listener, fixture.state.clone(), shutdown.clone()));

    let mut stream = EventStream::open(address, Some(1)).await;
    assert_eq!(stream.next().await, Some((Some(2), "shift".into())));
    assert_eq!(stream.next().await, Some((Some(3), "difference".into())));
    fixture.feed.push(NOON, "crossing", Some(NodeId::new("r1")), "r1 crossed its threshold");
    assert_eq!(stream.next().await, Some((Some(4), "crossing".into())));

    for _ in 0..8 {
        fixture.feed.push(NOON, "refused", None, "refused");
    }
    let mut late = EventStream::open(address, Some(2)).await;
    assert_eq!(late.next().await, Some((None, "lost".into())), "ids 3 and 4 are gone and that is told");
    assert_eq!(late.next().await, Some((Some(5), "refused".into())));

    shutdown.cancel();
    while late.next().await.is_some() {}
    server.await.expect("no panic").expect("a clean stop");
}

#[tokio::test]
async fn a_reader_too_slow_is_told_as_its_last_event() {
    let fixture = fixture(sample());
    let query = serde_json::from_value(json!({})).expect("an empty query");
    let mut stream = Box::pin(super::events::follow(fixture.feed.subscribe(Some(3)), query));
    for _ in 0..7 {
        fixture.feed.push(NOON, "refused", None, "refused");
    }
    let last = format!("{:?}", stream.next().await.expect("an event"));
    assert!(last.contains("lagging") && last.contains("3 happenings came faster"), "{last}");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn the_page_names_no_other_host() {
    let page = get("/").await.text();
    assert!(page.contains("Foreshadow"));
    for outside in ["http://", "https://", "src=\"//", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
}
