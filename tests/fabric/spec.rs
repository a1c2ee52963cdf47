//! What the harness builds, read from a topology file by rules of its own: the controller's reader is under test too.

use std::path::Path;

use serde_json::Value;

use super::kind::Kind;
use super::p4::GRPC_PORT;

/// A topology file as plain data, to be changed and written again (JSON is YAML).
#[derive(Clone, Debug)]
pub struct Spec {
    pub file: Value,
    /// What nodes that speak P4Runtime are.
    target: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    pub id: String,
    pub stage: u8,
    pub kind: Kind,
    /// OpenFlow datapath id or P4Runtime device id.
    pub dpid: u64,
    /// Of the gRPC server.
    pub address: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    pub a: (String, u32),
    pub b: (String, u32),
    pub mirror: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSpec {
    pub id: String,
    /// With the length of its prefix.
    pub address: String,
    pub gateway: String,
    pub mac: Option<String>,
    pub attached: (String, u32),
}

impl HostSpec {
    /// The address alone.
    pub fn ip(&self) -> &str {
        self.address.split('/').next().expect("split gives a first part")
    }
}

impl Spec {
    /// Reads `topologies/NAME.yaml` of the repository.
    pub fn load(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("topologies/{name}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::of(file)
    }

    pub fn of(file: Value) -> Self {
        Self { file, target: Kind::Emulated }
    }

    /// Makes every node a switch of this kind.
    pub fn on(mut self, kind: Kind) -> Self {
        if kind.speaks_p4() {
            for node in self.nodes() {
                self.speak_p4(&node.id, kind);
            }
        }
        self
    }

    /// Makes one node a P4Runtime switch; all of a fabric are of one kind. Its device id is what its dpid was.
    pub fn speak_p4(&mut self, id: &str, kind: Kind) -> &mut Self {
        assert!(kind.speaks_p4(), "{kind:?}");
        self.target = kind;
        let nodes = self.file["nodes"].as_array_mut().expect("nodes is a list");
        let (number, node) =
            (1..).zip(nodes).find(|(_, node)| node["id"] == id).unwrap_or_else(|| panic!("no node {id}"));
        let keys = node.as_object_mut().expect("a node is a map");
        let device = keys.remove("dpid").expect("it spoke OpenFlow");
        keys.insert("device".to_owned(), device);
        keys.insert("protocol".to_owned(), "p4runtime".into());
        keys.insert("address".to_owned(), format!("10.254.{number}.2:{GRPC_PORT}").into());
        self
    }

    pub fn write(&self, path: &Path) {
        let text = serde_json::to_string_pretty(&self.file).expect("a value is always JSON");
        std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Sets one key of every first-stage router, e.g. `capacity_connections`.
    pub fn set_routers(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        let value = value.into();
        for id in self.routers() {
            self.set_node(&id, key, value.clone());
        }
        self
    }

    pub fn set_node(&mut self, id: &str, key: &str, value: impl Into<Value>) -> &mut Self {
        let nodes = self.file["nodes"].as_array_mut().expect("nodes is a list");
        let node = nodes.iter_mut().find(|node| node["id"] == id).unwrap_or_else(|| panic!("no node {id}"));
        node[key] = value.into();
        self
    }

    /// Replaces the shares of the first service, `("r1", 90.0)`, ….
    pub fn set_shares(&mut self, shares: &[(&str, f64)]) -> &mut Self {
        let total: f64 = shares.iter().map(|(_, share)| share).sum();
        self.file["services"][0]["shares"] =
            shares.iter().map(|(id, share)| ((*id).to_owned(), Value::from(share / total))).collect();
        self
    }

    fn list(&self, key: &str) -> &[Value] {
        self.file[key].as_array().map_or(&[], Vec::as_slice)
    }

    pub fn nodes(&self) -> Vec<NodeSpec> {
        let node = |node: &Value| NodeSpec {
            id: text(node, "id"),
            stage: match &node["stage"] {
                Value::Number(number) => {
                    u8::try_from(number.as_u64().expect("a stage is 0 to 3")).expect("a stage is 0 to 3")
                }
                Value::String(name) => ["outside", "first", "second", "third"]
                    .iter()
                    .position(|known| known == name)
                    .unwrap_or_else(|| panic!("unknown stage {name}")) as u8,
                other => panic!("stage: {other}"),
            },
            kind: if node["protocol"] == "p4runtime" { self.target } else { Kind::OpenVSwitch },
            address: node["address"].as_str().map(str::to_owned),
            dpid: match node.get("dpid").unwrap_or(&node["device"]) {
                Value::Number(number) => number.as_u64().expect("a dpid is a positive number"),
                Value::String(hex) => {
                    let digits = hex.trim_start_matches("0x").replace(':', "");
                    u64::from_str_radix(&digits, 16).unwrap_or_else(|error| panic!("dpid {hex}: {error}"))
                }
                other => panic!("dpid: {other}"),
            },
        };
        self.list("nodes").iter().map(node).collect()
    }

    /// Lets the node's gRPC server be where it is for want of a word.
    pub fn set_default_address(&mut self, id: &str) -> &mut Self {
        let nodes = self.file["nodes"].as_array_mut().expect("nodes is a list");
        let node = nodes.iter_mut().find(|node| node["id"] == id).unwrap_or_else(|| panic!("no node {id}"));
        node.as_object_mut().expect("a node is a map").remove("address");
        self
    }

    pub fn node(&self, id: &str) -> NodeSpec {
        self.nodes().into_iter().find(|node| node.id == id).unwrap_or_else(|| panic!("no node {id}"))
    }

    pub fn routers(&self) -> Vec<String> {
        self.stage(1)
    }

    pub fn stage(&self, stage: u8) -> Vec<String> {
        self.nodes().into_iter().filter(|node| node.stage == stage).map(|node| node.id).collect()
    }

    pub fn links(&self) -> Vec<LinkSpec> {
        let link = |link: &Value| LinkSpec { a: end(link, "a"), b: end(link, "b"), mirror: link["kind"] == "mirror" };
        self.list("links").iter().map(link).collect()
    }

    pub fn hosts(&self) -> Vec<HostSpec> {
        let host = |host: &Value| HostSpec {
            id: text(host, "id"),
            address: text(host, "address"),
            gateway: text(host, "gateway"),
            mac: host["mac"].as_str().map(str::to_owned),
            attached: end(host, "attach"),
        };
        self.list("hosts").iter().map(host).collect()
    }

    pub fn host(&self, id: &str) -> HostSpec {
        self.hosts().into_iter().find(|host| host.id == id).unwrap_or_else(|| panic!("no host {id}"))
    }

    /// Hosts that hang on switches of this stage: 3 for clients, 0 for servers.
    pub fn hosts_of_stage(&self, stage: u8) -> Vec<HostSpec> {
        let switches = self.stage(stage);
        self.hosts().into_iter().filter(|host| switches.contains(&host.attached.0)).collect()
    }

    /// The port of `node` that leads to `peer` by a data link.
    pub fn port_towards(&self, node: &str, peer: &str) -> Option<u32> {
        self.links().iter().filter(|link| !link.mirror).find_map(|link| {
            let forward = link.a.0 == node && link.b.0 == peer;
            let backward = link.b.0 == node && link.a.0 == peer;
            forward.then_some(link.a.1).or(backward.then_some(link.b.1))
        })
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("{key} missing in {value}")).to_owned()
}

/// `node:port`.
fn end(value: &Value, key: &str) -> (String, u32) {
    let end = text(value, key);
    let (node, port) = end.rsplit_once(':').unwrap_or_else(|| panic!("the harness needs ports, came {end}"));
    (node.to_owned(), port.parse().unwrap_or_else(|error| panic!("{end}: {error}")))
}
