//! Reads the controller's file, and tells the kinds of file apart.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::reader::{Problem, Reader};
use super::schema::{self, Section};
use super::settings::{Config, FailoverSettings, LoopSettings, P4RuntimeSettings, PolicyKind};
use super::topology::Topology;
use super::topology_file::{load_topology, read_topology};
use super::yaml::{Place, Tree, Value};

/// A controller file with the topology it names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    pub config: Config,
    /// Resolved against the controller file's folder; `None` where the fabric is to be found out.
    pub topology_path: Option<PathBuf>,
    pub topology: Topology,
}

/// What `check` found a file to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Checked {
    Topology(Topology),
    Controller(Box<Loaded>),
}

/// Reads and checks a controller file and the topology it names.
pub fn load_config(path: &Path) -> Result<Loaded, Vec<Problem>> {
    let mut reader = Reader::new(path);
    let tree = reader.open();
    let loaded = tree.and_then(|tree| read_config(&mut reader, path, &tree));
    reader.finish(loaded)
}

/// Reads and checks a file of either kind.
pub fn check(path: &Path) -> Result<Checked, Vec<Problem>> {
    let mut reader = Reader::new(path);
    let tree = reader.open();
    let checked = tree.and_then(|tree| {
        let (topology, controller) = (known_keys(&tree, &schema::TOPOLOGY), known_keys(&tree, &schema::CONTROLLER));
        match topology.cmp(&controller) {
            std::cmp::Ordering::Greater => read_topology(&mut reader, &tree).map(Checked::Topology),
            std::cmp::Ordering::Less => {
                read_config(&mut reader, path, &tree).map(|loaded| Checked::Controller(Box::new(loaded)))
            }
            std::cmp::Ordering::Equal => {
                let what = "the file is neither a topology nor a controller file";
                reader.problem(Place::default(), what, "a map with the key 'nodes' or the key 'topology'");
                None
            }
        }
    });
    reader.finish(checked)
}

fn known_keys(tree: &Tree, section: &Section) -> usize {
    match &tree.value {
        Value::Map(entries) => entries.iter().filter(|(name, ..)| section.key(name).is_some()).count(),
        _ => 0,
    }
}

fn read_config(reader: &mut Reader<'_>, path: &Path, tree: &Tree) -> Option<Loaded> {
    let fields = reader.object(tree, &schema::CONTROLLER)?;
    let mut address = |key: &str| {
        let expected = "an address and a port, such as 127.0.0.1:6653";
        reader.parsed(fields.get(key), key, expected, |text| text.parse::<SocketAddr>().ok())
    };
    let openflow_listen = address("openflow_listen");
    let http_listen = address("http_listen");
    let cycle = match fields.get("loop") {
        None | Some(Tree { value: Value::Null, .. }) => Some(LoopSettings::default()),
        Some(tree) => read_loop(reader, tree),
    };
    let p4runtime = match fields.get("p4runtime") {
        None | Some(Tree { value: Value::Null, .. }) => Some(P4RuntimeSettings::default()),
        Some(tree) => read_p4runtime(reader, tree),
    };
    if let (Some(a), Some(b)) = (openflow_listen, http_listen)
        && a == b
        && a.port() != 0
    {
        reader.problem(
            fields.place_of("http_listen"),
            format!("'http_listen' is {b}, as 'openflow_listen'"),
            "two different addresses",
        );
    }
    let mut loaded = Loaded::default();
    if let Some(tree) = fields.get("topology") {
        let relative = reader.text(Some(tree), "topology").map(PathBuf::from)?;
        let topology_path = path.parent().unwrap_or(Path::new("")).join(&relative);
        if !topology_path.is_file() {
            let what = format!("the topology file '{}' does not exist", topology_path.display());
            reader.problem(tree.place, what, "a path relative to this file");
            return None;
        }
        loaded.topology = load_topology(&topology_path).map_err(|problems| reader.append(problems)).ok()?;
        loaded.topology_path = Some(topology_path);
        loaded.config.topology = Some(relative);
    }
    let config = &mut loaded.config;
    config.openflow_listen = openflow_listen.unwrap_or(config.openflow_listen);
    config.http_listen = http_listen.unwrap_or(config.http_listen);
    config.p4runtime = p4runtime?;
    config.cycle = cycle?;
    Some(loaded)
}

fn read_p4runtime(reader: &mut Reader<'_>, tree: &Tree) -> Option<P4RuntimeSettings> {
    let fields = reader.object(tree, &schema::P4RUNTIME)?;
    let mut settings = P4RuntimeSettings::default();
    if let Some(given) = reader.integer(fields.get("election_id"), "election_id", 1..=u64::MAX) {
        settings.election_id = given;
    }
    settings.role = reader.text(fields.get("role"), "role").filter(|role| !role.is_empty());
    Some(settings)
}

fn read_failover(reader: &mut Reader<'_>, tree: &Tree) -> Option<FailoverSettings> {
    let fields = reader.object(tree, &schema::FAILOVER)?;
    let mut settings = FailoverSettings::default();
    let mut integer = |key: &str, range, value: &mut u64| {
        if let Some(given) = reader.integer(fields.get(key), key, range) {
            *value = given;
        }
    };
    integer("probe_interval_ms", 0..=60_000, &mut settings.probe_interval_ms);
    integer("session_grace_ms", 0..=600_000, &mut settings.session_grace_ms);
    integer("hold_down_ms", 0..=3_600_000, &mut settings.hold_down_ms);
    let mut misses = u64::from(settings.probe_misses);
    integer("probe_misses", 1..=100, &mut misses);
    settings.probe_misses = u32::try_from(misses).expect("the range ends at 100");
    if let Some(given) = reader.number(fields.get("ramp_step_percent"), "ramp_step_percent", 0.1..=100.0) {
        settings.ramp_step_percent = given;
    }
    Some(settings)
}

fn read_loop(reader: &mut Reader<'_>, tree: &Tree) -> Option<LoopSettings> {
    let fields = reader.object(tree, &schema::LOOP)?;
    let failover = match fields.get("failover") {
        None | Some(Tree { value: Value::Null, .. }) => FailoverSettings::default(),
        Some(tree) => read_failover(reader, tree)?,
    };
    let mut settings = LoopSettings { failover, ..LoopSettings::default() };
    let policies = "predictive, reactive or static";
    if let Some(policy) = reader.parsed(fields.get("policy"), "policy", policies, PolicyKind::parse) {
        settings.policy = policy;
    }
    let mut integer = |key: &str, range, value: &mut u64| {
        if let Some(given) = reader.integer(fields.get(key), key, range) {
            *value = given;
        }
    };
    integer("cycle_ms", 10..=600_000, &mut settings.cycle_ms);
    integer("lldp_interval_ms", 100..=3_600_000, &mut settings.lldp_interval_ms);
    integer("replication_interval_ms", 0..=3_600_000, &mut settings.replication_interval_ms);
    let mut small = |key: &str, range, value: &mut u32| {
        let mut wide = u64::from(*value);
        integer(key, range, &mut wide);
        *value = u32::try_from(wide).expect("the range ends below 2^32");
    };
    small("horizon_cycles", 1..=3_600, &mut settings.horizon_cycles);
    small("hold_down_cycles", 0..=86_400, &mut settings.hold_down_cycles);
    let mut shadows = u32::try_from(settings.shadows_max).expect("the default is small");
    small("shadows_max", 1..=8, &mut shadows);
    settings.shadows_max = usize::try_from(shadows).expect("a usize holds 8");
    let mut number = |key: &str, range, value: &mut f64| {
        if let Some(given) = reader.number(fields.get(key), key, range) {
            *value = given;
        }
    };
    number("breach_probability", 0.01..=1.0, &mut settings.breach_probability);
    number("ramp_step_percent", 0.1..=50.0, &mut settings.ramp_step_percent);
    number("restore_step_percent", 0.1..=50.0, &mut settings.restore_step_percent);
    Some(settings)
}
