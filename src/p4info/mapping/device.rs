//! Is the configuration beside a P4Info the same program? Answered for BMv2, whose configuration is the compiler's JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::p4info::{Action, Info, Table};

#[derive(Debug, Deserialize)]
struct Program {
    pipelines: Vec<Stages>,
    #[serde(default)]
    actions: Vec<Body>,
    #[serde(default)]
    counter_arrays: Vec<Array>,
    #[serde(default)]
    register_arrays: Vec<Array>,
}

#[derive(Debug, Deserialize)]
struct Stages {
    #[serde(default)]
    tables: Vec<Look>,
}

#[derive(Debug, Deserialize)]
struct Look {
    name: String,
    #[serde(default)]
    key: Vec<Named>,
    #[serde(default)]
    actions: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Body {
    name: String,
    #[serde(default)]
    runtime_data: Vec<Argument>,
}

#[derive(Debug, Deserialize)]
struct Argument {
    name: String,
    bitwidth: u32,
}

/// Direct counters have no size.
#[derive(Debug, Deserialize)]
struct Array {
    name: String,
    size: Option<u64>,
}

/// What the P4Info has and the configuration has not, or has otherwise: what is wrong, and what was expected. Other targets'
/// configurations, and what is no JSON with `pipelines`, are not looked into. Names that the configuration has alone are
/// the compiler's own.
pub(super) fn differences(info: &Info, config: &[u8]) -> Vec<(String, String)> {
    #[derive(Deserialize)]
    struct Form {
        pipelines: Option<serde::de::IgnoredAny>,
    }
    if !serde_json::from_slice::<Form>(config).is_ok_and(|form| form.pipelines.is_some()) {
        return Vec::new();
    }
    let program: Program = match serde_json::from_slice(config) {
        Ok(program) => program,
        Err(error) => {
            let what = format!("the configuration has pipelines, but not as BMv2 reads them: {error}");
            return vec![(what, "the JSON that the compiler wrote".to_owned())];
        }
    };
    let mut problems = Vec::new();
    let tables = program.pipelines.iter().flat_map(|stages| &stages.tables);
    let tables: BTreeMap<&str, &Look> = tables.map(|table| (table.name.as_str(), table)).collect();
    for table in info.tables().iter() {
        match tables.get(table.name.as_str()) {
            Some(found) => problems.extend(table_differs(info, table, found)),
            None => problems.push(lacks("table", &table.name)),
        }
    }
    for action in info.actions().iter() {
        // Tables of one selector each have a body of their own of the same name.
        let bodies: Vec<&Body> = program.actions.iter().filter(|body| body.name == action.name).collect();
        if bodies.is_empty() {
            problems.push(lacks("action", &action.name));
        }
        problems.extend(bodies.into_iter().find_map(|body| action_differs(action, body)));
    }
    let counters = info.counters().iter().map(|counter| (&counter.name, counter.size));
    problems.extend(arrays_differ("counter", counters, &program.counter_arrays));
    let registers = info.registers().iter().map(|register| (&register.name, register.size));
    problems.extend(arrays_differ("register", registers, &program.register_arrays));
    problems
}

fn lacks(kind: &str, name: &str) -> (String, String) {
    (format!("the configuration has no {kind} '{name}', which the P4Info has"), "both of the same program".to_owned())
}

fn differs(what: &str, name: &str, found: &str, expected: &str) -> (String, String) {
    (format!("{what} '{name}' has {found} in the configuration"), format!("{expected}, as the P4Info has it"))
}

fn table_differs(info: &Info, table: &Table, found: &Look) -> Option<(String, String)> {
    let list = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
    let fields: BTreeSet<&str> = table.fields.iter().map(|field| field.name.as_str()).collect();
    // Old compilers named no key fields; then their number is all there is.
    let named: BTreeSet<&str> = found.key.iter().filter_map(|key| key.name.as_deref()).collect();
    if fields.len() != found.key.len() || (named.len() == fields.len() && named != fields) {
        let has = if named.len() == found.key.len() { list(&named) } else { format!("{} fields", found.key.len()) };
        return Some(differs("table", &table.name, &format!("the key ({has})"), &format!("({})", list(&fields))));
    }
    let wanted: BTreeSet<&str> =
        table.actions.iter().filter_map(|(id, _)| info.action_by_id(*id)).map(|action| action.name.as_str()).collect();
    let has: BTreeSet<&str> = found.actions.iter().map(String::as_str).collect();
    (wanted != has).then(|| differs("table", &table.name, &format!("the actions {}", list(&has)), &list(&wanted)))
}

fn action_differs(action: &Action, body: &Body) -> Option<(String, String)> {
    let list = |params: &[(&str, u32)]| {
        let params: Vec<String> = params.iter().map(|(name, bits)| format!("{name}: {bits} bits")).collect();
        format!("({})", params.join(", "))
    };
    let mut wanted: Vec<(&str, u32)> =
        action.params.iter().map(|param| (param.name.as_str(), param.width_bits)).collect();
    let mut has: Vec<(&str, u32)> = body.runtime_data.iter().map(|data| (data.name.as_str(), data.bitwidth)).collect();
    wanted.sort_unstable();
    has.sort_unstable();
    // A width of 0 is a value that P4Runtime translates: the program's own width is not told.
    let same = |(ours, theirs): (&(&str, u32), &(&str, u32))| ours.0 == theirs.0 && (ours.1 == theirs.1 || ours.1 == 0);
    let alike = wanted.len() == has.len() && wanted.iter().zip(&has).all(same);
    (!alike).then(|| differs("action", &action.name, &format!("the parameters {}", list(&has)), &list(&wanted)))
}

fn arrays_differ<'i>(
    kind: &str,
    wanted: impl Iterator<Item = (&'i String, u64)>,
    found: &[Array],
) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for (name, size) in wanted {
        match found.iter().find(|array| array.name == *name) {
            None => problems.push(lacks(kind, name)),
            Some(array) if array.size.is_some_and(|cells| cells != size) => {
                let cells = array.size.unwrap_or_default();
                problems.push(differs(kind, name, &format!("{cells} cells"), &format!("{size}")));
            }
            Some(_) => {}
        }
    }
    problems
}
