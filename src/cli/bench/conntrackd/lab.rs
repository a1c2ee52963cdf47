//! Client, server and two routers between them as namespaces, and the pair of programs that replicates from one to the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::agent::driver::Answer;

pub(super) const SERVER: &str = "10.9.2.2";
const CLIENTS: &str = "10.9.1.";
/// Addresses of the client from 10.9.1.2 on, which take turns.
pub(super) const ADDRESSES: u8 = 200;
const PATIENCE: Duration = Duration::from_secs(30);

const SCRIPT: &str = "
mount -t tmpfs lab /run; mkdir /run/netns
for n in c s r1 r2; do ip netns add $n; ip -n $n link set lo up; done
ip link add mir0 netns r1 type veth peer name mir0 netns r2
ip link add e0 netns c type veth peer name cl netns r1
ip link add e0 netns s type veth peer name sv netns r1
for r in 1 2; do
  ip netns exec r$r sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.ip_forward=1
  ip -n r$r link set mir0 up; ip -n r$r addr add 172.31.0.$r/30 dev mir0
  ip netns exec r$r nft 'add table ip f; add chain ip f f { type filter hook forward priority 0; }; add rule ip f f ct state established,related accept'
  ip netns exec r$r sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_time_wait=3 \\
    net.netfilter.nf_conntrack_tcp_timeout_close=3 net.netfilter.nf_conntrack_tcp_timeout_last_ack=3
done
ip -n r1 link set cl up; ip -n r1 link set sv up; ip -n r1 addr add 10.9.1.1/24 dev cl; ip -n r1 addr add 10.9.2.1/24 dev sv
ip -n c link set e0 up; for a in $(seq 2 201); do ip -n c addr add 10.9.1.$a/24 dev e0; done; ip -n c route add default via 10.9.1.1
ip -n s link set e0 up; ip -n s addr add 10.9.2.2/24 dev e0; ip -n s route add default via 10.9.2.1
ip netns exec c sysctl -qw net.ipv4.ip_local_port_range='10000 65000' net.ipv4.tcp_tw_reuse=1
";

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) fn build() -> anyhow::Result<()> {
    output(Command::new("sh").args(["-e", "-c", SCRIPT])).map(drop)
}

pub(super) fn in_space(space: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", space]).arg(program);
    command
}

/// A process of the benchmark; ends when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Its log goes to a file in the folder.
    pub(super) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let log = std::fs::File::create(log)?;
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut child = child.with_context(|| format!("cannot start {command:?}"))?;
        let output = child.stdout.take().map(BufReader::new);
        Ok(Self { child, output })
    }

    pub(super) fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.output.as_mut().context("its output")?.read_line(&mut line)?;
        Ok(line)
    }

    /// Says that it may end, and waits until it has.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        if let Some(output) = &mut self.output {
            output.read_to_string(&mut String::new())?;
        }
        self.child.wait()?;
        Ok(())
    }

    /// Ends it by SIGTERM, after which it may write down what it has seen.
    pub(super) fn terminate(mut self) -> anyhow::Result<()> {
        output(Command::new("kill").arg(self.child.id().to_string()))?;
        self.child.wait()?;
        Ok(())
    }

    /// Time on a processor, of all threads.
    fn cpu_ns(&self) -> u64 {
        let folder = format!("/proc/{}/task", self.child.id());
        let tasks = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let of = |path: PathBuf| {
            let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0)
        };
        tasks.map(|task| of(task.path())).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes that crossed the mirror link, both ways.
pub(super) fn mirror_bytes() -> anyhow::Result<u64> {
    let text = output(Command::new("ip").args(["-n", "r1", "-s", "-j", "link", "show", "dev", "mir0"]))?;
    let links: serde_json::Value = serde_json::from_str(&text)?;
    let bytes = |way: &str| links[0]["stats64"][way]["bytes"].as_u64();
    Ok(bytes("rx").context("no counter")? + bytes("tx").context("no counter")?)
}

/// Connections of the load that router 1's kernel holds.
pub(super) fn live() -> anyhow::Result<u64> {
    let text = output(Command::new("ip").args(["netns", "exec", "r1", "conntrack", "-L", "-s", "10.9.1.0/24"]))?;
    Ok(text.lines().count() as u64)
}

/// A pair of replicating programs, at router 1 and 2.
#[derive(Debug)]
pub(super) struct Pair {
    ours: bool,
    folder: PathBuf,
    processes: Vec<Process>,
    listener: Option<Process>,
}

impl Pair {
    pub(super) fn start(ours: bool, folder: &Path) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let mut pair = Self { ours, folder: folder.to_owned(), processes: Vec::new(), listener: None };
        if !ours {
            let mut command = in_space("r2", &own);
            command.args(["bench", "part", "listen", "mir0", "--log"]).arg(pair.arrivals());
            let mut listener = Process::start(&mut command, &folder.join("listener.log"))?;
            listener.line()?;
            pair.listener = Some(listener);
        }
        for router in [1, 2] {
            let config = pair.config(router);
            let text = if ours { agent_config(router, folder) } else { conntrackd_config(router, folder) };
            std::fs::write(&config, text)?;
            let space = format!("r{router}");
            let mut command = if ours {
                let mut command = in_space(&space, &own);
                command.args(["agent", "--config"]).arg(&config);
                if router == 2 {
                    command.arg("--trace").arg(pair.arrivals());
                }
                command
            } else {
                let mut command = in_space(&space, Path::new("conntrackd"));
                command.arg("-C").arg(&config);
                command
            };
            pair.processes.push(Process::start(&mut command, &folder.join(format!("{}{router}.log", pair.name())))?);
        }
        pair.until("answers", |pair| Ok(pair.held().is_ok()))?;
        Ok(pair)
    }

    pub(super) fn name(&self) -> &'static str {
        if self.ours { "foreshadow" } else { "conntrackd" }
    }

    fn config(&self, router: u8) -> PathBuf {
        self.folder.join(format!("{}{router}.conf", self.name()))
    }

    /// Where it is written down when connections arrived at the peer.
    pub(super) fn arrivals(&self) -> PathBuf {
        self.folder.join(format!("{}.arrivals", self.name()))
    }

    pub(super) fn until(&self, what: &str, is_so: impl Fn(&Self) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let began = Instant::now();
        while !is_so(self)? {
            if began.elapsed() > PATIENCE {
                bail!("{}: expected within {PATIENCE:?} that it {what}", self.name());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// The agent's own account.
    pub(super) fn answer(&self, router: u8) -> anyhow::Result<Answer> {
        let mut command = in_space(&format!("r{router}"), &std::env::current_exe()?);
        let text = output(command.args(["agent", "--config"]).arg(self.config(router)).arg("status"))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Connections in the cache of router 2.
    pub(super) fn held(&self) -> anyhow::Result<u64> {
        if self.ours {
            return Ok(self.answer(2)?.report.peers.first().map_or(0, |peer| peer.held));
        }
        let mut command = in_space("r2", Path::new("conntrackd"));
        let text = output(command.arg("-C").arg(self.config(2)).arg("-e"))?;
        Ok(text.lines().filter(|line| line.contains(CLIENTS)).count() as u64)
    }

    /// Processor time so far, at router 1 and 2.
    pub(super) fn cpu_ns(&self) -> [u64; 2] {
        [0, 1].map(|place| self.processes.get(place).map_or(0, Process::cpu_ns))
    }

    pub(super) fn end(mut self) -> anyhow::Result<()> {
        for process in self.processes.drain(..) {
            process.terminate()?;
        }
        self.listener.take().map_or(Ok(()), Process::end)
    }
}

fn agent_config(router: u8, folder: &Path) -> String {
    format!(
        "router: {router}\nkey: 000102030405060708090a0b0c0d0e0f\ncontrol: {}\nignore: [172.31.0.0/30]\n\
         peers: [{{router: {}, interface: mir0}}]\n",
        folder.join(format!("agent{router}.sock")).display(),
        3 - router
    )
}

fn conntrackd_config(router: u8, folder: &Path) -> String {
    let at = |name: &str| folder.join(format!("conntrackd{router}.{name}")).display().to_string();
    format!(
        "Sync {{
  Mode FTFW {{ ResendQueueSize 131072\n PurgeTimeout 60\n ACKWindowSize 300\n DisableExternalCache Off }}
  UDP {{
    IPv4_address 172.31.0.{router}\n IPv4_Destination_Address 172.31.0.{}\n Port 3780\n Interface mir0
    SndSocketBuffer 8388608\n RcvSocketBuffer 8388608\n Checksum on
  }}
}}
General {{
  HashSize 32768\n HashLimit 524288\n LogFile off\n Syslog off\n LockFile {}
  UNIX {{ Path {} }}
  NetlinkBufferSize 33554432\n NetlinkBufferSizeMaxGrowth 67108864\n NetlinkOverrunResync 5
  Filter From Userspace {{
    Protocol Accept {{ TCP }}
    Address Ignore {{ IPv4_address 127.0.0.1\n IPv4_address 172.31.0.1\n IPv4_address 172.31.0.2 }}
  }}
}}
",
        3 - router,
        at("lock"),
        at("sock"),
    )
}

/// The load's client while its long connections stay.
pub(super) fn start_client(folder: &Path, rate: u32, time: Duration, long: usize) -> anyhow::Result<Process> {
    let mut command = in_space("c", &std::env::current_exe()?);
    command.args(["bench", "part", "connect", SERVER, "--rate", &rate.to_string()]);
    command.args(["--for", &format!("{}s", time.as_secs()), "--long", &long.to_string(), "--log"]);
    Process::start(command.arg(folder.join("opened")), &folder.join("client.log"))
}

pub(super) fn start_server(folder: &Path) -> anyhow::Result<Process> {
    let mut command = in_space("s", &std::env::current_exe()?);
    let mut server = Process::start(command.args(["bench", "part", "serve", SERVER]), &folder.join("server.log"))?;
    server.line()?;
    writeln!(std::io::stderr(), "server runs")?;
    Ok(server)
}
