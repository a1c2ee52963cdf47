use super::*;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("p4").join(name)
}

fn told(problems: &[Problem]) -> Vec<String> {
    let name = |file: &Path| file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    problems.iter().map(|p| format!("{}:{}: {}; expected {}", name(&p.file), p.line, p.what, p.expected)).collect()
}

#[test]
fn shipped_mappings_are_good() {
    for (name, form) in [("fabric.mapping.yaml", Form::Fabric), ("wcmp.mapping.yaml", Form::Routing)] {
        let mapping = Mapping::load(&file(name)).unwrap_or_else(|problems| panic!("{:#?}", told(&problems)));
        assert_eq!(mapping.form, form);
        assert!(Mapping::looks_like_one(&file(name)));
    }
    let (builtin, loaded) = (Mapping::builtin(), Mapping::load(&file("fabric.mapping.yaml")).expect("a good file"));
    assert_eq!((builtin.cookie, &builtin.device_config), (loaded.cookie, &loaded.device_config));
}

#[test]
fn names_become_ids_and_widths() {
    let mapping = Mapping::builtin();
    let routes = mapping.part("routes").expect("a part");
    assert_eq!(routes.table, "Forward.routes");
    assert_eq!(routes.keys["destination"].kind, MatchKind::Lpm);
    let deliver = &routes.actions["deliver"];
    let widths: Vec<_> = deliver.params.iter().map(|(name, param)| (*name, param.id, param.width_bits)).collect();
    assert_eq!(widths, [("mac", 1, 48), ("port", 2, 9)]);
    let choice = mapping.part("choice").and_then(|part| part.selector.as_ref()).expect("a selector");
    assert_eq!((choice.name.as_str(), choice.group_size_max), ("Forward.routers", 256));
    assert!(mapping.part("chosen").and_then(|part| part.counter).is_some());
    let cells = |array: &Option<CounterArray>| array.as_ref().map(|array| array.cells);
    assert_eq!(cells(&mapping.counters.port_in), Some(512));
    assert_eq!(mapping.connection_slots, 131_072);
}

/// What is wrong with the shipped mapping after one line was changed.
fn problems_after(name: &str, from: &str, to: &str) -> Vec<String> {
    let read = |name: &str| std::fs::read_to_string(file(name)).expect("part of the repository");
    let mapping = read(&format!("{name}.mapping.yaml"));
    assert!(mapping.contains(from), "{from}");
    let sources = Sources {
        file: Path::new("m.yaml"),
        mapping: &mapping.replacen(from, to, 1),
        p4info: &read(&format!("{name}.p4info.txtpb")),
        device_config: b"{}",
    };
    Mapping::parse(&sources).map_or_else(|problems| told(&problems), |_| Vec::new())
}

/// A change of the shipped mapping of `fabric.p4`, and what is said of it.
#[test]
fn what_is_wrong_is_told_with_its_line() {
    let table = [
        ("form: fabric", "form: weave", "'form' is 'weave'; expected fabric or routing"),
        ("version: 1", "version: 2", "'version' is 2; expected an integer from 1 to 1"),
        ("cpu_port: 510", "cpu: 510", "unknown key 'cpu' in a pipeline mapping; expected one of"),
        ("cpu_port: 510", "", "a pipeline mapping lacks the key 'cpu_port'"),
        ("table: routes", "table: route", "the P4Info has no table 'route'; the nearest name is 'routes'"),
        ("table: routes", "table: ports", "table 'Forward.ports' has no match field 'destination'"),
        ("key: {destination: destination}", "key: {destination: dst}", "has no match field 'dst'"),
        ("key: {destination: destination}", "", "the key field 'destination' of part 'routes' is not mapped"),
        ("key: {target: target}", "key: {target: target, port: target}", "'port' is not a key field here"),
        ("serve: {action: serve,", "serves: {action: serve,", "'serves' is not an action here; the nearest is 'serve'"),
        ("serve: {action: serve,", "serve: {action: choose,", "cannot be used by table 'Forward.routes' as 'serve'"),
        (
            "params: {mac: mac, port: port}",
            "params: {mac: mac}",
            "the parameter 'port' of action 'deliver' is not mapped",
        ),
        ("params: {mac: mac, port: port}", "params: {mac: port, port: mac}", "has 9 bits; expected 48 bits or more"),
        ("params: {set: set}", "params: {set: sat}", "has no parameter 'sat'"),
        ("selector: routers", "selector: links", "uses 'Forward.routers', not 'Forward.links'"),
        ("    counter: choices\n", "", "part 'chosen' has no counter"),
        ("counter: choices", "counter: choice", "has no direct counter 'choice'; the nearest name is 'choices'"),
        ("  chosen:\n", "  chosan:\n", "'chosan' is not a part here; the nearest is 'chosen'"),
        (
            "  chosen:\n",
            "  chosan:\n",
            "no table plays the part 'chosen'; expected 'chosen': a table with key service, router",
        ),
        ("port_in: port_in", "port_in: port_inn", "has no counter 'port_inn'; the nearest name is 'port_in'"),
        ("unknown: 2", "unknown: 13", "'unknown' is 13; expected an integer from 0 to 12"),
        ("  events:\n", "  event:\n", "unknown key 'event' in the counters of a mapping"),
        ("  events:\n", "  event:\n", "the key 'events' is missing; expected 'events', which form fabric needs"),
        ("pins: keys", "pins: pins", "has no register 'pins'"),
        ("reason: reason", "reason: raeson", "'packet_in' has no field 'raeson'; the nearest name is 'reason'"),
        (", purpose: purpose", "", "the key 'purpose' is missing"),
        ("table: last_resorts", "table: fallbacks", "table 'Forward.fallbacks' plays 'fallbacks' already"),
    ];
    for (from, to, expected) in table {
        let problems = problems_after("fabric", from, to);
        let found = problems.iter().find(|problem| problem.contains(expected));
        let found = found.unwrap_or_else(|| panic!("{to}: {expected}: {problems:#?}"));
        let line: usize = found.split(':').nth(1).and_then(|line| line.parse().ok()).expect("a line");
        let file = std::fs::read_to_string(file("fabric.mapping.yaml")).expect("part of the repository");
        let changed = file[..file.find(from).expect("looked for before")].lines().count();
        assert!(line >= 1 && (to.is_empty() || line.abs_diff(changed) < 120), "{found}");
    }
}

/// One thing of the program in two roles, each at the line of the second.
#[test]
fn nothing_plays_two_roles() {
    let table = [
        (
            "fabric",
            "{admitted: 0, refused: 1, unknown: 2}",
            "{admitted: 0, refused: 0, unknown: 2}",
            "cell 0 is 'admitted' already; expected another one for 'refused'",
        ),
        (
            "fabric",
            "{admitted: 0, refused: 1, unknown: 2}",
            "{admitted: 1, refused: 2, unknown: 1}",
            "cell 1 is 'admitted' already; expected another one for 'unknown'",
        ),
        (
            "fabric",
            "port_out: port_out",
            "port_out: port_in",
            "counter 'Forward.port_in' is 'port_in' already; expected another one for 'port_out'",
        ),
        ("fabric", "counter: events", "counter: port_out", "is 'port_out' already; expected another one for 'events'"),
        (
            "fabric",
            "{ingress_port: ingress_port, reason: reason}",
            "{ingress_port: ingress_port, reason: ingress_port}",
            "metadata 'ingress_port' is 'ingress_port' already; expected another one for 'reason'",
        ),
        (
            "fabric",
            "{egress_port: egress_port, purpose: purpose}",
            "{egress_port: egress_port, purpose: egress_port}",
            "metadata 'egress_port' is 'egress_port' already; expected another one for 'purpose'",
        ),
        (
            "fabric",
            "params: {node: node, role: role}",
            "params: {node: node, role: node}",
            "parameter 'node' of 'Forward.become' is 'node' already; expected another one for 'role'",
        ),
        (
            "fabric",
            "to_set: {action: to_set, params: {set: set}}",
            "to_set: {action: serve, params: {set: service}}",
            "action 'Forward.serve' of part 'routes' is 'to_set' already; expected another one for 'serve'",
        ),
        (
            "wcmp",
            "key: {interface: router_interface_id, neighbour: neighbor_id}",
            "key: {interface: neighbor_id, neighbour: neighbor_id}",
            "is 'interface' already; expected another one for 'neighbour'",
        ),
    ];
    for (name, from, to, expected) in table {
        let problems = problems_after(name, from, to);
        let found = problems.iter().find(|problem| problem.contains(expected));
        let found = found.unwrap_or_else(|| panic!("{to}: {expected}: {problems:#?}"));
        let file = std::fs::read_to_string(file(&format!("{name}.mapping.yaml"))).expect("part of the repository");
        let line = file[..file.find(from).expect("looked for before")].lines().count();
        let near = |line: usize| found.starts_with(&format!("m.yaml:{line}:"));
        assert!((line..line + 5).any(near), "{line}: {found}");
    }
}

#[test]
fn ports_fit_the_fields_that_carry_them() {
    let problems = problems_after("fabric", "cpu_port: 510", "cpu_port: 512");
    let expected = |field: &str| {
        let what = format!("'cpu_port' is 512, but '{field}' has 9 bits; expected at most 511");
        problems.iter().any(|problem| problem.starts_with("m.yaml:7: ") && problem.ends_with(&what))
    };
    assert!(expected("ingress_port") && expected("egress_port") && problems.len() == 2, "{problems:#?}");
}

/// BMv2's configuration with one change in every place of it, and what is said of it at the line of `config`.
#[test]
fn a_configuration_of_another_program_is_refused() {
    let read = |name: &str| std::fs::read_to_string(file(name)).expect("part of the repository");
    let (mapping, p4info, config) = (read("fabric.mapping.yaml"), read("fabric.p4info.txtpb"), read("fabric.json"));
    let told_of = |config: &str| {
        let (file, device_config) = (Path::new("m.yaml"), config.as_bytes());
        let sources = Sources { file, mapping: &mapping, p4info: &p4info, device_config };
        Mapping::parse(&sources).map_or_else(|problems| told(&problems), |_| Vec::new())
    };
    let table = [
        (
            "Forward.routes",
            "Forward.roads",
            "the configuration has no table 'Forward.routes', which the P4Info has; expected both of the same program",
        ),
        ("Forward.to_set", "Forward.to_sets", "the configuration has no action 'Forward.to_set'"),
        (
            "Forward.to_set",
            "Forward.to_sets",
            "table 'Forward.routes' has the actions Forward.deliver, Forward.refuse, Forward.serve, Forward.to_node, \
             Forward.to_sets in the configuration; expected Forward.deliver, Forward.refuse, Forward.serve, \
             Forward.to_node, Forward.to_set, as the P4Info has it",
        ),
        ("Forward.port_in", "Forward.port_inn", "the configuration has no counter 'Forward.port_in'"),
        ("Forward.keys", "Forward.locks", "the configuration has no register 'Forward.keys'"),
        ("\"half_open_ms\"", "\"half_closed_ms\"", "action 'Forward.hold' has the parameters (capacity: 32 bits,"),
        ("\"destination\"", "\"target\"", "table 'Forward.routes' has the key (target) in the configuration"),
        ("\"pipelines\"", "\"pipelines\": 3, \"others\"", "the configuration has pipelines, but not as BMv2 reads"),
    ];
    assert!(told_of(&config).is_empty());
    for (from, to, expected) in table {
        assert!(config.contains(from), "{from}");
        let problems = told_of(&config.replace(from, to));
        let is_it = |problem: &String| problem.starts_with("m.yaml:5: ") && problem.contains(expected);
        assert!(problems.iter().any(is_it), "{to}: {expected}: {problems:#?}");
    }
    // The other program's, as a whole; and what is no configuration of BMv2 is not looked into.
    let problems = told_of(&read("wcmp.json"));
    assert!(problems.iter().any(|problem| problem.contains("no table 'Forward.choice'")), "{problems:#?}");
    for other in ["", "{}", "\u{1}binary", "[1, 2]"] {
        assert!(told_of(other).is_empty(), "{other}");
    }
}

#[test]
fn lines_are_those_of_the_values() {
    let problems = problems_after("fabric", "table: routes", "table: route");
    let file = std::fs::read_to_string(file("fabric.mapping.yaml")).expect("part of the repository");
    let line = file.lines().position(|line| line.trim() == "table: routes").expect("a line") + 1;
    let expected = format!(
        "m.yaml:{line}: the P4Info has no table 'route'; the nearest name is 'routes'; expected a table of the P4Info"
    );
    assert_eq!(problems, [expected]);
}

#[test]
fn what_a_program_lacks_is_told() {
    let read = |name: &str| std::fs::read_to_string(file(name)).expect("part of the repository");
    let (mapping, p4info) = (read("fabric.mapping.yaml"), read("fabric.p4info.txtpb"));
    let table = [
        (
            "max_group_size: 256",
            "max_group_size: 255",
            "groups of 'Forward.routers' hold at most 255; expected a maximum group size of 256",
        ),
        ("match_type: LPM", "match_type: EXACT", "is matched by exact; expected 32 bits or more, lpm"),
        ("match_type: LPM", "match_type: TERNARY", "is matched by ternary; expected 32 bits or more, lpm"),
        ("unit: PACKETS", "unit: BYTES", "counter 'Forward.events' counts bytes alone"),
        (
            "name: \"destination\"\n    bitwidth: 32",
            "name: \"destination\"\n    bitwidth: 16",
            "has 16 bits; expected 32 bits",
        ),
        ("arch: \"v1model\"", "architecture: \"v1model\"", "architecture"),
    ];
    for (from, to, expected) in table {
        assert!(p4info.contains(from), "{from}");
        let changed = p4info.replacen(from, to, 1);
        let sources = Sources { file: Path::new("m.yaml"), mapping: &mapping, p4info: &changed, device_config: b"{}" };
        let problems = Mapping::parse(&sources).map_or_else(|problems| told(&problems), |_| Vec::new());
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:#?}");
    }
}

#[test]
fn files_that_are_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.yaml");
    let mapping = std::fs::read_to_string(file("fabric.mapping.yaml")).expect("part of the repository");
    std::fs::write(&path, &mapping).expect("written");
    let problems = told(&Mapping::load(&path).expect_err("nothing beside it"));
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].starts_with("m.yaml:4: the file '"), "{problems:#?}");
    assert!(problems[1].starts_with("m.yaml:5: the file '"), "{problems:#?}");
    std::fs::write(folder.path().join("fabric.p4info.txtpb"), [0xff, 0xfe]).expect("written");
    std::fs::write(folder.path().join("fabric.json"), "{}").expect("written");
    let problems = told(&Mapping::load(&path).expect_err("no text"));
    assert_eq!(
        problems,
        ["m.yaml:4: the P4Info is not text; expected a P4Info in the text format of protocol buffers"]
    );
}

#[test]
fn every_part_is_documented() {
    let formats = file("../docs/FORMATS.md");
    let text = std::fs::read_to_string(formats).expect("part of the repository");
    for form in [Form::Fabric, Form::Routing] {
        for part in form.parts() {
            let row = format!("| `{}` |", part.name);
            let keys = part.keys.iter().map(|key| key.name);
            let params = part.actions.iter().flat_map(|action| action.params.iter().map(|(name, _)| *name));
            let names: Vec<&str> = keys.chain(params).chain(part.actions.iter().map(|action| action.name)).collect();
            let whole = |line: &str| line.starts_with(&row) && names.iter().all(|name| line.contains(name));
            assert!(text.lines().any(whole), "{row} {names:?}");
        }
    }
}
