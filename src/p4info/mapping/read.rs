//! Reads a mapping file: its keys, then what they name.

use std::collections::BTreeMap;
use std::path::Path;

use super::resolve::Resolver;
use super::{CounterArray, Counters, Events, Field, Form, Mapping, PacketIn, PacketOut, Sources, device};
use crate::config::{Fields, Place, Problem, Reader, Tree, schema};
use crate::p4info::Info;
use crate::wire::p4runtime::text::parse_p4info;

/// Version of the format.
const VERSION: u64 = 1;
/// Ports of v1model have 9 bits; other targets have wider ones.
const CPU_PORT_MAX: u64 = u32::MAX as u64;
const SWEEP_SLOTS: u64 = 4_096;
/// Programs look at several slots in one pass, up to so many; sweeps are whole multiples of it.
const SWEEP_STEP: u64 = 64;

/// The files beside a mapping.
struct Beside {
    p4info: String,
    device_config: Vec<u8>,
}

pub(super) fn load(path: &Path) -> Result<Mapping, Vec<Problem>> {
    let mut reader = Reader::new(path);
    let tree = reader.open();
    let mapping = tree.and_then(|tree| {
        read(&mut reader, path, &tree, |reader, fields| {
            let p4info = file(reader, fields, "p4info");
            let config = file(reader, fields, "config");
            let (p4info, device_config) = (p4info?, config?);
            let Ok(p4info) = String::from_utf8(p4info) else {
                let expected = "a P4Info in the text format of protocol buffers";
                reader.problem(fields.place_of("p4info"), "the P4Info is not text", expected);
                return None;
            };
            Some(Beside { p4info, device_config })
        })
    });
    reader.finish(mapping)
}

pub(super) fn parse(sources: &Sources<'_>) -> Result<Mapping, Vec<Problem>> {
    let mut reader = Reader::new(sources.file);
    let tree = reader.parse(sources.mapping);
    let mapping = tree.and_then(|tree| {
        read(&mut reader, sources.file, &tree, |_, _| {
            Some(Beside { p4info: sources.p4info.to_owned(), device_config: sources.device_config.to_owned() })
        })
    });
    reader.finish(mapping)
}

/// The bytes of a file that the mapping names.
fn file(reader: &mut Reader<'_>, fields: &Fields<'_>, key: &str) -> Option<Vec<u8>> {
    let tree = fields.get(key)?;
    let named = reader.text(Some(tree), key)?;
    let path = reader.beside(Path::new(&named));
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let what = format!("the file '{}' cannot be read: {error}", path.display());
            reader.problem(tree.place, what, "a path relative to this file");
            None
        }
    }
}

fn read(
    reader: &mut Reader<'_>,
    path: &Path,
    tree: &Tree,
    beside: impl FnOnce(&mut Reader<'_>, &Fields<'_>) -> Option<Beside>,
) -> Option<Mapping> {
    let fields = reader.object(tree, &schema::MAPPING)?;
    reader.integer(fields.get("version"), "version", VERSION..=VERSION);
    let form = reader.parsed(fields.get("form"), "form", Form::NAMES, Form::parse);
    let cpu_port = reader.integer(fields.get("cpu_port"), "cpu_port", 1..=CPU_PORT_MAX);
    let cpu_session = reader.integer(fields.get("cpu_session"), "cpu_session", 1..=u64::from(u16::MAX));
    let limits = fields.get("limits").and_then(|tree| reader.object(tree, &schema::MAPPING_LIMITS));
    let sweep_slots = limits.as_ref().and_then(|limits| limits.get("sweep_slots"));
    let sweep_slots = reader.integer(sweep_slots, "sweep_slots", SWEEP_STEP..=SWEEP_SLOTS).unwrap_or(SWEEP_SLOTS);
    let watched = limits.as_ref().and_then(|limits| limits.get("watched"));
    let groups_may_be_empty = reader.parsed(watched, "watched", "all or all-but-one", |text| match text {
        "all" => Some(true),
        "all-but-one" => Some(false),
        _ => None,
    });
    let beside = beside(reader, &fields)?;
    let info = info(reader, &fields, &beside.p4info)?;
    let form = form?;

    for (what, expected) in device::differences(&info, &beside.device_config) {
        reader.problem(fields.place_of("config"), what, expected);
    }
    let mut resolver = Resolver { reader, info: &info };
    let parts = resolver.parts(form, fields.get("tables"), fields.place_of("tables"));
    let packet_in = packet_in(&mut resolver, form, &fields);
    let packet_out = packet_out(&mut resolver, form, &fields);
    let counters = counters(&mut resolver, form, &fields);
    let (connection_slots, pin_slots) = registers(&mut resolver, form, &fields);
    let narrow = |value: u64| u32::try_from(value).expect("the range ends below 2^32");
    let (cpu_port, parts, (packet_in, ingress_bits), packet_out) = (cpu_port?, parts?, packet_in?, packet_out?);
    let egress_bits = packet_out.egress_port.width_bits;
    cpu_port_fits(reader, &fields, cpu_port, [("ingress_port", ingress_bits), ("egress_port", egress_bits)]);
    Some(Mapping {
        form,
        file: path.to_owned(),
        cookie: cookie(beside.p4info.as_bytes(), &beside.device_config),
        device_config: beside.device_config,
        cpu_port: narrow(cpu_port),
        cpu_session: cpu_session.map(narrow),
        packet_in,
        packet_out,
        counters,
        connection_slots: connection_slots?,
        pin_slots: pin_slots?,
        sweep_slots: narrow(sweep_slots - sweep_slots % SWEEP_STEP),
        groups_may_be_empty: groups_may_be_empty.unwrap_or(true),
        parts,
        info,
    })
}

/// The P4Info; its problems are told with its own path.
fn info(reader: &mut Reader<'_>, fields: &Fields<'_>, text: &str) -> Option<Info> {
    let named = reader.text(fields.get("p4info"), "p4info")?;
    let file = reader.beside(Path::new(&named));
    let problem = |line: usize, column: usize, what: String, expected: &str| Problem {
        file: file.clone(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
        what,
        expected: expected.to_owned(),
    };
    let parsed = match parse_p4info(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let expected = "a P4Info in the text format of protocol buffers";
            reader.append(vec![problem(error.line as usize, error.column as usize, error.message, expected)]);
            return None;
        }
    };
    match Info::new(parsed) {
        Ok(info) => Some(info),
        Err(problems) => {
            let expected = "a P4Info as the specification has it";
            reader.append(problems.into_iter().map(|what| problem(0, 0, what, expected)).collect());
            None
        }
    }
}

fn packet_in(resolver: &mut Resolver<'_, '_>, form: Form, fields: &Fields<'_>) -> Option<(PacketIn, u32)> {
    let named = resolver.reader.object(fields.get("packet_in")?, &schema::MAPPING_PACKET_IN)?;
    let header = resolver.info.packet_in();
    let ingress_port = resolver.metadata(header, named.get("ingress_port"), "ingress_port", 9);
    let reason = match named.get("reason") {
        None => resolver.wanted_by(form, &named, "reason").then_some(None),
        tree => resolver.metadata(header, tree, "reason", 1).map(Some),
    };
    let (ingress_port, reason) = (ingress_port?, reason?);
    resolver.two_fields(&named, ("ingress_port", &ingress_port), ("reason", reason.as_ref()));
    let width_bits = ingress_port.width_bits;
    Some((PacketIn { ingress_port: ingress_port.id, reason: reason.map(|field| field.id) }, width_bits))
}

fn packet_out(resolver: &mut Resolver<'_, '_>, form: Form, fields: &Fields<'_>) -> Option<PacketOut> {
    let named = resolver.reader.object(fields.get("packet_out")?, &schema::MAPPING_PACKET_OUT)?;
    let header = resolver.info.packet_out();
    let egress_port = resolver.metadata(header, named.get("egress_port"), "egress_port", 9);
    let purpose = match named.get("purpose") {
        None => resolver.wanted_by(form, &named, "purpose").then_some(None),
        tree => resolver.metadata(header, tree, "purpose", 1).map(Some),
    };
    let (egress_port, purpose) = (egress_port?, purpose?);
    resolver.two_fields(&named, ("egress_port", &egress_port), ("purpose", purpose.as_ref()));
    let ours = |id: u32| id == egress_port.id || purpose.as_ref().is_some_and(|purpose| purpose.id == id);
    let others = header?.fields.iter().map(|field| field.id).filter(|id| !ours(*id)).collect();
    Some(PacketOut { egress_port, purpose, others })
}

fn counters(resolver: &mut Resolver<'_, '_>, form: Form, fields: &Fields<'_>) -> Counters {
    let Some(tree) = fields.get("counters") else {
        resolver.wanted_by(form, fields, "counters");
        return Counters::default();
    };
    let Some(named) = resolver.reader.object(tree, &schema::MAPPING_COUNTERS) else { return Counters::default() };
    let mut taken = BTreeMap::new();
    let mut array = |key: &'static str| resolver.only_counter(&mut taken, named.get(key), key, key);
    let (port_in, port_out) = (array("port_in"), array("port_out"));
    let events = match named.get("events") {
        Some(tree) => events(resolver, tree, &mut taken),
        None => {
            resolver.wanted_by(form, &named, "events");
            None
        }
    };
    Counters { port_in, port_out, events }
}

fn events(resolver: &mut Resolver<'_, '_>, tree: &Tree, counters: &mut BTreeMap<u32, &'static str>) -> Option<Events> {
    let named = resolver.reader.object(tree, &schema::MAPPING_EVENTS)?;
    let counter = resolver.only_counter(counters, named.get("counter"), "counter", "events");
    let cells = resolver.reader.object(named.get("cells")?, &schema::MAPPING_CELLS)?;
    let size = counter.as_ref()?.cells;
    let mut taken = BTreeMap::new();
    let mut cell = |key: &'static str| {
        let tree = cells.get(key);
        let cell = resolver.reader.integer(tree, key, 0..=size.saturating_sub(1))?;
        resolver.alone(&mut taken, cell, key, tree?.place, || format!("cell {cell}"));
        i64::try_from(cell).ok()
    };
    let (admitted, refused, unknown) = (cell("admitted"), cell("refused"), cell("unknown"));
    Some(Events { id: counter?.id, admitted: admitted?, refused: refused?, unknown: unknown? })
}

/// How many slots there are: the sizes of the registers that hold them.
fn registers(resolver: &mut Resolver<'_, '_>, form: Form, fields: &Fields<'_>) -> (Option<u32>, Option<u32>) {
    let Some(tree) = fields.get("registers") else {
        let none = resolver.wanted_by(form, fields, "registers").then_some(0);
        return (none, none);
    };
    let Some(named) = resolver.reader.object(tree, &schema::MAPPING_REGISTERS) else { return (None, None) };
    let mut size = |key: &str| {
        let tree = named.get(key)?;
        let name = resolver.reader.text(Some(tree), key)?;
        match resolver.info.register(&name) {
            Ok(register) => u32::try_from(register.size).ok(),
            Err(unknown) => {
                resolver.reader.problem(tree.place, unknown.to_string(), "a register of the P4Info");
                None
            }
        }
    };
    (size("connections"), size("pins"))
}

/// FNV-1a over both, never 0, which switches without a pipeline show.
fn cookie(p4info: &[u8], device_config: &[u8]) -> u64 {
    let byte = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = p4info.iter().chain(&[0xff]).chain(device_config).fold(0xcbf2_9ce4_8422_2325, byte);
    hash.max(1)
}

/// Told with the line of `cpu_port`, which is to go into each of the fields.
fn cpu_port_fits(reader: &mut Reader<'_>, fields: &Fields<'_>, cpu_port: u64, carried_by: [(&str, u32); 2]) {
    for (field, width_bits) in carried_by {
        let most = largest(width_bits);
        if cpu_port > u64::from(most) {
            let what = format!("'cpu_port' is {cpu_port}, but '{field}' has {width_bits} bits");
            reader.problem(fields.place_of("cpu_port"), what, format!("at most {most}"));
        }
    }
}

/// The largest value of so many bits, as far as ports go.
fn largest(width_bits: u32) -> u32 {
    1_u32.checked_shl(width_bits).map_or(u32::MAX, |beyond| beyond - 1)
}

impl Resolver<'_, '_> {
    /// Two fields beside a packet, which have to be two.
    fn two_fields(&mut self, fields: &Fields<'_>, one: (&'static str, &Field), other: (&'static str, Option<&Field>)) {
        let (Some(field), Some(tree)) = (other.1, fields.get(other.0)) else { return };
        let mut taken = BTreeMap::from([(one.1.id, one.0)]);
        self.alone(&mut taken, field.id, other.0, tree.place, || format!("metadata '{}'", field.name));
    }

    /// A counter that nothing else counts with.
    fn only_counter(
        &mut self,
        taken: &mut BTreeMap<u32, &'static str>,
        tree: Option<&Tree>,
        key: &str,
        role: &'static str,
    ) -> Option<CounterArray> {
        let tree = tree?;
        let array = self.counter(tree, key)?;
        let name = self.info.counter_by_id(array.id).map(|counter| counter.name.clone());
        self.alone(taken, array.id, role, tree.place, || format!("counter '{}'", name.unwrap_or_default()));
        Some(array)
    }

    /// False, and a problem, where the form needs the key.
    fn wanted_by(&mut self, form: Form, fields: &Fields<'_>, key: &str) -> bool {
        if form == Form::Fabric {
            let place: Place = fields.place;
            self.reader.problem(
                place,
                format!("the key '{key}' is missing"),
                format!("'{key}', which form fabric needs"),
            );
        }
        form != Form::Fabric
    }
}
