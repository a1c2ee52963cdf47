//! `agent`: replicates the connections that this machine's kernel tracks, and takes over those of others.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use clap::{Args, Subcommand};
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::bench::conntrackd::{TraceEntry, write_log};
use super::{BadInput, shutdown_on_signal};
use crate::agent::Setup;
use crate::agent::driver::{Answer, Ask, Handle, Options, Trace, start};
use crate::agent::link::Address;
use crate::config::{AgentConfig, AgentLink, AgentRole, load_agent};
use crate::replication;
use crate::types::NodeIndex;
use crate::wire::replication::Key;

/// A question on the control socket is shorter.
const QUESTION_BYTES_MAX: u64 = 64;

#[derive(Debug, Args)]
pub struct AgentArgs {
    /// The agent's file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Writes down when connections of peers arrived
    #[arg(long, hide = true, value_name = "FILE")]
    trace: Option<PathBuf>,
    #[command(subcommand)]
    ask: Option<Request>,
}

/// Asks the agent that runs with this file.
#[derive(Clone, Copy, Debug, Subcommand)]
enum Request {
    /// Puts the connections of a router that is lost into this machine's kernel
    Commit {
        /// Which router is lost; all peers if not given
        #[arg(long, value_name = "ROUTER")]
        owner: Option<u16>,
    },
    /// Takes from this machine's kernel what a router that came back holds itself
    Purge {
        /// Which router came back; all peers if not given
        #[arg(long, value_name = "ROUTER")]
        owner: Option<u16>,
    },
    /// Prints connections, lag and counters as JSON
    Status,
}

/// Runs the agent until a signal, or asks the one that runs.
pub async fn run(args: &AgentArgs) -> anyhow::Result<()> {
    let config = load_agent(&args.config).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        BadInput(lines.join("\n"))
    })?;
    match args.ask {
        None => serve(&config, args.trace.as_deref()).await,
        Some(request) => ask(&config, request).await,
    }
}

async fn serve(config: &AgentConfig, trace: Option<&Path>) -> anyhow::Result<()> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let control = open_control(&config.control)?;
    let metrics = match config.metrics_listen {
        Some(address) => {
            Some(TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} for metrics"))?)
        }
        None => None,
    };
    let before = hurry(config.priority);
    drop_capabilities(config)?;
    let started = start(Options { trace: trace.map(|_| tracer(&seen)), ..options(config) });
    // The agent's thread has it from this one, which does with less.
    before.map(|before| setpriority_process(None, before)).transpose().context("cannot reset the priority")?;
    let (handle, thread) = started?;
    let shutdown = shutdown_on_signal()?;
    let metrics_at = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
    tracing::info!(router = config.router.0, control = %config.control.display(), ?metrics_at, "agent runs");
    let controlling = answer_questions(control, handle.clone());
    let served = async {
        match metrics {
            Some(listener) => serve_metrics(listener, handle.clone(), shutdown.clone()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = controlling => {}
        outcome = served => outcome?,
        () = handle.ended() => bail!("the agent's thread has ended"),
    }
    handle.stop();
    let _ = std::fs::remove_file(&config.control);
    thread.join().map_err(|_| anyhow::anyhow!("the agent's thread failed"))?;
    if let Some(path) = trace {
        write_log(path, &seen.lock().unwrap_or_else(PoisonError::into_inner)).context("the trace")?;
    }
    Ok(())
}

fn tracer(seen: &Arc<Mutex<Vec<TraceEntry>>>) -> Trace {
    let seen = Arc::clone(seen);
    Arc::new(move |connection| {
        let entry = TraceEntry::now(connection.flow.source_port, connection.flow.destination_port);
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    })
}

/// Makes this thread more urgent, and those it starts from now on; the niceness it had, if that was possible. On a machine
/// whose processors are all busy, events and frames would wait for their turn longer than they take.
fn hurry(steps: u8) -> Option<i32> {
    let before = getpriority_process(None).ok().filter(|_| steps > 0)?;
    match setpriority_process(None, before - i32::from(steps)) {
        Ok(()) => Some(before),
        Err(error) => {
            tracing::info!(%error, "the agent runs as urgently as other processes; CAP_SYS_NICE would make it more urgent");
            None
        }
    }
}

/// Nothing but what sockets of conntrack and raw interfaces need, in this thread and those it starts.
fn drop_capabilities(config: &AgentConfig) -> anyhow::Result<()> {
    let raw = config.peers.iter().any(|peer| matches!(peer.link, AgentLink::Interface { .. }));
    let mut needed = CapabilitySet::NET_ADMIN;
    needed.set(CapabilitySet::NET_RAW, raw);
    let held = capabilities(None).context("cannot read this process's capabilities")?.permitted;
    for (one, name, what) in [
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN", "reads and writes the kernel's connections"),
        (CapabilitySet::NET_RAW, "CAP_NET_RAW", "opens mirror interfaces"),
    ] {
        if needed.contains(one) && !held.contains(one) {
            bail!("{name} is missing: the agent {what}");
        }
    }
    let sets = CapabilitySets { effective: needed, permitted: needed, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).context("cannot drop capabilities")
}

fn options(config: &AgentConfig) -> Options {
    let links = config.peers.iter().map(|peer| {
        let address = match peer.link.clone() {
            AgentLink::Interface { name, mac } => Address::Interface { name, mac },
            AgentLink::Udp { listen, peer } => Address::Udp { listen, peer },
        };
        (peer.router, address)
    });
    let links: BTreeMap<NodeIndex, Address> = links.collect();
    let replication = replication::Config {
        connections_max: config.connections_max,
        frame_bytes_max: config.frame_bytes_max,
        batch: config.batch,
        rate_bytes_per_s: config.rate_bytes_per_s,
        silence: config.silence,
        audit_pass: config.audit,
        ..replication::Config::default()
    };
    let setup = Setup {
        router: config.router,
        peers: config.peers.iter().map(|peer| peer.router).collect(),
        is_source: config.role != AgentRole::Shadow,
        is_shadow: config.role != AgentRole::Source,
        secret: Key::new(config.key),
        replication,
        ignore: config.ignore.clone(),
        epoch: rand::random(),
        seed: rand::random(),
    };
    Options { setup, links, event_buffer_bytes: config.event_buffer_bytes, resync: config.resync, trace: None }
}

fn open_control(path: &Path) -> anyhow::Result<UnixListener> {
    // What an agent that was killed left behind.
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("an agent runs already: {} is answered", path.display());
    }
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    let only_owner = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, only_owner).with_context(|| format!("cannot protect {}", path.display()))?;
    Ok(listener)
}

/// One question at a time: each is answered within a second or so.
async fn answer_questions(control: UnixListener, handle: Handle) {
    loop {
        let Ok((stream, _)) = control.accept().await else { continue };
        if let Err(error) = answer_one(stream, &handle).await {
            tracing::warn!(%error, "a question on the control socket was not answered");
        }
    }
}

async fn answer_one(stream: UnixStream, handle: &Handle) -> anyhow::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let patience = std::time::Duration::from_secs(2);
    let mut reader = BufReader::new(read.take(QUESTION_BYTES_MAX));
    tokio::time::timeout(patience, reader.read_line(&mut line)).await.context("nothing was asked")??;
    let text = match parse_question(line.trim()) {
        Some(question) => {
            if question != Ask::Status {
                tracing::info!(?question, "asked");
            }
            let answer = handle.ask(question).await?;
            serde_json::to_string(&answer)?
        }
        None => r#"{"error":"expected status, commit, purge, commit ROUTER or purge ROUTER"}"#.to_owned(),
    };
    write.write_all(text.as_bytes()).await?;
    Ok(write.shutdown().await?)
}

fn parse_question(line: &str) -> Option<Ask> {
    let mut words = line.split_whitespace();
    let (what, owner) = (words.next()?, words.next());
    let owner = owner.map(|owner| owner.parse().map(NodeIndex)).transpose().ok()?;
    match (what, owner, words.next()) {
        ("status", None, None) => Some(Ask::Status),
        ("commit", owner, None) => Some(Ask::Commit(owner)),
        ("purge", owner, None) => Some(Ask::Purge(owner)),
        _ => None,
    }
}

async fn ask(config: &AgentConfig, request: Request) -> anyhow::Result<()> {
    let line = match request {
        Request::Status => "status\n".to_owned(),
        Request::Commit { owner } => format!("commit {}\n", owner.map(|owner| owner.to_string()).unwrap_or_default()),
        Request::Purge { owner } => format!("purge {}\n", owner.map(|owner| owner.to_string()).unwrap_or_default()),
    };
    let at = config.control.display();
    let stream = UnixStream::connect(&config.control).await.with_context(|| format!("no agent answers at {at}"))?;
    let (mut read, mut write) = stream.into_split();
    write.write_all(line.as_bytes()).await?;
    let mut text = String::new();
    read.read_to_string(&mut text).await.with_context(|| format!("the agent at {at} does not answer"))?;
    let answer: Answer = serde_json::from_str(&text).with_context(|| format!("the agent at {at} said: {text}"))?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&answer)?).context("cannot write")?;
    if answer.failed > 0 {
        let why = answer.reason.unwrap_or_default();
        bail!("the kernel refused {} of {} connections: {why}", answer.failed, answer.connections);
    }
    Ok(())
}

async fn serve_metrics(listener: TcpListener, handle: Handle, shutdown: CancellationToken) -> anyhow::Result<()> {
    let routes = Router::new().route("/metrics", get(metrics)).with_state(handle);
    let until = shutdown.cancelled_owned();
    axum::serve(listener, routes).with_graceful_shutdown(until).await.context("the metrics cannot be served")
}

async fn metrics(State(handle): State<Handle>) -> impl IntoResponse {
    match handle.ask(Ask::Status).await {
        Ok(answer) => {
            let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
            (StatusCode::OK, kind, answer.report.metrics()).into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_few() {
        assert_eq!(parse_question("status"), Some(Ask::Status));
        assert_eq!(parse_question("commit"), Some(Ask::Commit(None)));
        assert_eq!(parse_question("purge 7"), Some(Ask::Purge(Some(NodeIndex(7)))));
        for wrong in ["", "status 1", "commit x", "commit 1 2", "commit 70000", "drop"] {
            assert_eq!(parse_question(wrong), None, "{wrong}");
        }
    }
}
