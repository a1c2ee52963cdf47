//! `topology export`: a running controller's fabric as a file.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::BadInput;
use super::{OutArgs, StageArgs};
use crate::config::import::FILE_BYTES_MAX;
use crate::config::{Comments, parse_topology};

/// The controller answers from memory; so long means that there is none, or that it hangs.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const PATH: &str = "/api/v1/topology.yaml";

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// REST address of the controller
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    from: String,
    #[command(flatten)]
    stages: StageArgs,
    #[command(flatten)]
    out: OutArgs,
}

pub(super) async fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let host = host_of(&args.from)?;
    let answer = tokio::time::timeout(ANSWER_MAX, get(host)).await;
    let answer = answer.with_context(|| format!("{} did not answer within {ANSWER_MAX:?}", args.from))?;
    let text = body(&answer.with_context(|| format!("cannot ask {}", args.from))?)?.to_owned();
    let topology = parse_topology(Path::new("the answer"), &text)
        .map_err(|problems| anyhow::anyhow!(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")));
    if !args.stages.stages {
        // The controller's own comments are kept. A fabric that `check` would not take is still what there is.
        if let Err(problems) = topology {
            super::say(&format!("{problems:#}")).context("cannot write to standard error")?;
        }
        return super::write_text(&text, args.out.out.as_deref());
    }
    let header = text.lines().map_while(|line| line.strip_prefix("# ")).map(str::to_owned).collect();
    let (mut comments, mut notes) = (Comments { header, ..Default::default() }, Vec::new());
    let topology = args.stages.apply(topology?, &mut comments, &mut notes)?;
    for note in &notes {
        super::say(note).context("cannot write to standard error")?;
    }
    super::write(&topology, &comments, args.out.out.as_deref())
}

/// `host:port` of `http://host:port`.
fn host_of(url: &str) -> Result<&str, BadInput> {
    let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let good =
        |host: &&str| host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) && !host.contains('/');
    host.filter(good).ok_or_else(|| {
        BadInput(format!("--from is '{url}'; expected http://ADDRESS:PORT, such as http://127.0.0.1:8080"))
    })
}

/// One request by HTTP/1.0, whose answer ends with the connection.
async fn get(host: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(format!("GET {PATH} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(FILE_BYTES_MAX as u64).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// What a good answer holds.
fn body(answer: &[u8]) -> anyhow::Result<&str> {
    let answer = std::str::from_utf8(answer).context("the answer is not UTF-8")?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("the answer is not HTTP") };
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body),
        _ => bail!("the controller answered '{status}': {body}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_answers_are_checked() {
        assert_eq!(host_of("http://127.0.0.1:8080/").expect("good"), "127.0.0.1:8080");
        for bad in ["127.0.0.1:8080", "https://a:1", "http://a", "http://a:b", "http://a:1/x"] {
            assert!(host_of(bad).is_err(), "{bad}");
        }
        assert_eq!(body(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nversion: 1\n").expect("good"), "version: 1\n");
        for bad in [&b"HTTP/1.0 404 Not Found\r\n\r\nnone"[..], b"nonsense", b"\xff"] {
            body(bad).expect_err("refused");
        }
    }
}
