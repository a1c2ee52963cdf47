//! P4Runtime switches: BMv2 or the emulated target in the namespace of each such node, and a reader of what they hold.

use std::fmt::Write;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use foreshadow::wire::p4runtime::v1::{self, entity::Entity as Value, p4_runtime_client::P4RuntimeClient};
use serde_json::json;

use super::controller::wait_for;
use super::kind::Kind;
use super::network::{Fabric, port_name};
use super::run;
use super::spec::NodeSpec;

/// Port of the gRPC server, on the switch's end of its management link.
pub const GRPC_PORT: u16 = 9559;
/// Packets to and from the controller have this port of the program.
const CPU_PORT: u16 = 510;
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything a user-space switch cannot see done for it: checksums, and segments joined or cut.
const OFFLOADS: &str = "tx off rx off sg off tso off gso off gro off";

/// Prepares one node's ports and starts its switch; `await_server` waits for it.
pub fn start(fabric: &Fabric, number: usize, node: &NodeSpec, ports: &[u32]) -> Child {
    let directory = Fabric::directory(&node.id);
    fs::create_dir_all(&directory).expect("the lab is ours");
    let mut script = format!("ip link set lo up\nip addr add 10.254.{number}.2/30 dev mgmt\nip link set mgmt up\n");
    for name in ports.iter().map(|port| port_name(*port)) {
        writeln!(script, "ethtool -K {name} {OFFLOADS} >/dev/null\nip link set {name} mtu 1500 up")
            .expect("writing to a string");
    }
    run(&mut fabric.exec(&node.id, &["sh", "-e", "-c", &script]));
    spawn(fabric, node, ports)
}

/// Starts the program alone: its ports are there.
pub fn spawn(fabric: &Fabric, node: &NodeSpec, ports: &[u32]) -> Child {
    let directory = Fabric::directory(&node.id);
    let address = node.address.as_deref().expect("a P4Runtime node has an address");
    let mut command = match node.kind {
        Kind::OpenVSwitch => panic!("{} speaks OpenFlow", node.id),
        Kind::Bmv2 => {
            let mut command = fabric.exec(&node.id, &["simple_switch_grpc", "--no-p4"]);
            command.args(["--device-id", &node.dpid.to_string()]);
            command.args(ports.iter().flat_map(|port| ["-i".to_owned(), format!("{port}@{}", port_name(*port))]));
            command.args(["--", "--cpu-port", &CPU_PORT.to_string(), "--grpc-server-addr", address]);
            command
        }
        Kind::Emulated => {
            let file = directory.join("switch.yaml");
            let port = |port: &u32| json!({"number": port, "interface": port_name(*port)});
            let text = json!({
                "device": node.dpid,
                "listen": address,
                "cpu_port": CPU_PORT,
                "ports": ports.iter().map(port).collect::<Vec<_>>(),
            });
            fs::write(&file, text.to_string()).expect("the lab is ours");
            let program = env!("CARGO_BIN_EXE_foreshadow");
            let mut command = fabric.exec(&node.id, &[program, "switch", "--protocol", "p4runtime", "--config"]);
            command.arg(file);
            command
        }
    };
    let log = File::options().create(true).append(true).open(directory.join("switch.log")).expect("the lab is ours");
    command
        .current_dir(&directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file can be cloned"))
        .stderr(log)
        .spawn()
        .expect("ip was found before")
}

/// Waits until the switch takes connections.
pub fn await_server(node: &NodeSpec, child: &mut Child) {
    let address: SocketAddr = node.address.as_deref().and_then(|text| text.parse().ok()).expect("address:port");
    wait_for(&format!("the gRPC server of {}", node.id), PATIENCE, || {
        let ended = child.try_wait().expect("the child is ours");
        if let Some(status) = ended {
            let log = fs::read_to_string(Fabric::directory(&node.id).join("switch.log")).unwrap_or_default();
            panic!("switch {} ended ({status}): {log}", node.id);
        }
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).map_err(|error| error.to_string())
    });
}

/// Entries and groups of a switch as text, sorted, without counters: what a controller wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    pub entries: Vec<String>,
    pub groups: Vec<String>,
}

/// Reads a P4Runtime switch beside its controller: reading needs no arbitration.
pub fn holdings(node: &NodeSpec) -> Result<Holdings, String> {
    let address = node.address.clone().expect("a P4Runtime node has an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let read = async {
        let mut client =
            P4RuntimeClient::connect(format!("http://{address}")).await.map_err(|error| error.to_string())?;
        let wanted = [
            Value::TableEntry(v1::TableEntry::default()),
            Value::ActionProfileMember(v1::ActionProfileMember::default()),
            Value::ActionProfileGroup(v1::ActionProfileGroup::default()),
        ];
        let request = v1::ReadRequest {
            device_id: node.dpid,
            entities: wanted.into_iter().map(|entity| v1::Entity { entity: Some(entity) }).collect(),
            ..Default::default()
        };
        let mut answers = client.read(request).await.map_err(|status| status.to_string())?.into_inner();
        let mut found = Holdings::default();
        while let Some(answer) = answers.message().await.map_err(|status| status.to_string())? {
            for entity in answer.entities.into_iter().filter_map(|entity| entity.entity) {
                let list = if matches!(entity, Value::TableEntry(_)) { &mut found.entries } else { &mut found.groups };
                list.push(format!("{entity:?}"));
            }
        }
        found.entries.sort_unstable();
        found.groups.sort_unstable();
        Ok::<_, String>(found)
    };
    let read = async { tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| Err("no answer".to_owned())) };
    runtime.block_on(read).map_err(|error| format!("reading {}: {error}", node.id))
}
