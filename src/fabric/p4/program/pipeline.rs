//! Control flow: tables, conditions and calls, each with what comes next.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::calculation::Calculation;
use super::expression::{Bool, Data, Names};
use super::json::{Place, Problem, flag, get, hex_of_width, list, number, optional_list, optional_text, show, text};
use super::layout::{FieldId, ones};
use super::{Program, ProgramError, check_size};

/// A place in the control flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Table(usize),
    Condition(usize),
    Call(usize),
}

/// What comes next; `None` ends the pipeline.
pub(crate) type Next = Option<Node>;

/// How a table finds its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Exact,
    /// The field with the prefix; all others are exact.
    Longest(usize),
    /// By priority.
    Ordered,
}

/// How one field of a key is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchKind {
    Exact,
    Lpm,
    Ternary,
    Range,
}

#[derive(Clone, Debug)]
pub(crate) struct KeyField {
    pub(crate) name: String,
    pub(crate) kind: MatchKind,
    pub(crate) value: Data,
    pub(crate) width: u32,
    /// What of the field is looked at.
    pub(crate) mask: u128,
}

/// An entry that the program brings.
#[derive(Clone, Debug)]
pub(crate) struct ConstEntry {
    /// Value and mask, prefix length or upper end, by kind.
    pub(crate) parts: Vec<(u128, u128)>,
    /// The lowest wins.
    pub(crate) order: i32,
    pub(crate) action: usize,
    pub(crate) arguments: Vec<u128>,
}

#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: Arc<str>,
    pub(crate) lookup: Lookup,
    pub(crate) key: Vec<KeyField>,
    pub(crate) size: usize,
    pub(crate) is_counted: bool,
    pub(crate) ages: bool,
    pub(crate) profile: Option<usize>,
    /// Direct meter and where its colour goes.
    pub(crate) meter: Option<(usize, FieldId)>,
    pub(crate) actions: Vec<usize>,
    /// By name of the action.
    next: Vec<(Arc<str>, Next)>,
    hit: Option<Next>,
    miss: Option<Next>,
    /// After a miss without a default action.
    pub(crate) base: Next,
    pub(crate) default: Option<(usize, Vec<u128>)>,
    pub(crate) is_default_const: bool,
    pub(crate) entries: Vec<ConstEntry>,
    /// Entries of the program are all that it ever has.
    pub(crate) is_const: bool,
}

impl Table {
    fn after(&self, program: &Program, action: usize) -> Next {
        let name = &program.actions[action].name;
        self.next.iter().find(|(known, _)| known == name).map_or(self.base, |(_, next)| *next)
    }

    pub(crate) fn after_hit(&self, program: &Program, action: usize) -> Next {
        self.hit.unwrap_or_else(|| self.after(program, action))
    }

    pub(crate) fn after_miss(&self, program: &Program, action: Option<usize>) -> Next {
        match (self.miss, action) {
            (Some(next), _) => next,
            (None, Some(action)) => self.after(program, action),
            (None, None) => self.base,
        }
    }

    /// A hit on an empty group.
    pub(crate) fn after_nothing(&self) -> Next {
        self.hit.unwrap_or(self.base)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) condition: Bool,
    pub(crate) then: Next,
    pub(crate) otherwise: Next,
}

#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) name: Arc<str>,
    pub(crate) size: usize,
    /// How a group's member is chosen.
    pub(crate) selector: Option<Calculation>,
}

/// All pipelines together; each starts somewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) tables: Vec<Table>,
    pub(crate) conditions: Vec<Condition>,
    /// Action and what comes after it.
    pub(crate) calls: Vec<(usize, Next)>,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) ingress: Next,
    pub(crate) egress: Next,
}

/// Names of one pipeline's nodes.
struct Nodes(HashMap<String, Node>);

impl Nodes {
    fn next(&self, item: &Value, key: &str) -> Result<Next, Problem> {
        let Some(name) = optional_text(item, key)? else { return Ok(None) };
        self.0.get(name).copied().map(Some).ok_or_else(|| format!("'{key}': there is no table or condition '{name}'"))
    }
}

impl Flow {
    pub(crate) fn load(program: &Program, root: &Value) -> Result<Self, ProgramError> {
        let mut flow = Self::default();
        let items = list(root, "pipelines").at(|| "pipelines".to_owned())?;
        for item in items {
            for profile in optional_list(item, "action_profiles").at(|| "action_profiles".to_owned())? {
                let name = text(profile, "name").at(|| "action_profiles".to_owned())?;
                let profile = load_profile(program, name, profile).at(|| format!("action profile '{name}'"))?;
                flow.profiles.push(profile);
            }
        }
        for item in items {
            let name = text(item, "name").at(|| "pipelines".to_owned())?;
            let start = flow.load_pipeline(program, item, name)?;
            match name {
                "ingress" => flow.ingress = start,
                "egress" => flow.egress = start,
                _ => {
                    let problem = format!("expected 'ingress' or 'egress', came '{name}': not a v1model program");
                    return Err(problem).at(|| "pipelines".to_owned());
                }
            }
        }
        Ok(flow)
    }

    fn load_pipeline(&mut self, program: &Program, item: &Value, name: &str) -> Result<Next, ProgramError> {
        let place = || format!("pipeline '{name}'");
        let tables = list(item, "tables").at(place)?;
        let conditions = optional_list(item, "conditionals").at(place)?;
        let calls = optional_list(item, "action_calls").at(place)?;
        let mut nodes = Nodes(HashMap::new());
        let kinds = [(tables, self.tables.len()), (conditions, self.conditions.len()), (calls, self.calls.len())];
        for (kind, (items, first)) in kinds.into_iter().enumerate() {
            for (at, item) in items.iter().enumerate() {
                let make = [Node::Table, Node::Condition, Node::Call][kind];
                nodes.0.insert(text(item, "name").at(place)?.to_owned(), make(first + at));
            }
        }
        for item in tables {
            let name = text(item, "name").at(place)?;
            let table = self.load_table(program, &nodes, item).at(|| format!("table '{name}'"))?;
            self.tables.push(table);
        }
        let names = Names { layout: &program.layout, registers: &program.registers, parameters: 0 };
        for item in conditions {
            let name = text(item, "name").at(place)?;
            let condition = (|| {
                Ok(Condition {
                    condition: names.expression(get(item, "expression"))?.condition()?,
                    then: nodes.next(item, "true_next")?,
                    otherwise: nodes.next(item, "false_next")?,
                })
            })();
            self.conditions.push(condition.at(|| format!("condition '{name}'"))?);
        }
        for item in calls {
            let name = text(item, "name").at(place)?;
            let call = (|| {
                let action = program.action(get(item, "action_id"))?;
                match program.actions[action].parameters.len() {
                    0 => Ok((action, nodes.next(item, "next_node")?)),
                    more => Err(format!("expected an action without parameters, came one with {more}")),
                }
            })();
            self.calls.push(call.at(|| format!("action call '{name}'"))?);
        }
        nodes.next(item, "init_table").at(place)
    }

    fn load_table(&self, program: &Program, nodes: &Nodes, item: &Value) -> Result<Table, Problem> {
        let name: Arc<str> = text(item, "name")?.into();
        let key = list(item, "key")?.iter().map(|field| key_field(program, field)).collect::<Result<Vec<_>, _>>()?;
        let profile = match text(item, "type")? {
            "simple" => None,
            "indirect" | "indirect_ws" => {
                let wanted = text(item, "action_profile")?;
                let found = self.profiles.iter().position(|profile| &*profile.name == wanted);
                Some(found.ok_or_else(|| format!("there is no action profile '{wanted}'"))?)
            }
            unknown => return Err(format!("unknown type of table '{unknown:.40}'")),
        };
        let actions = actions(program, item)?;
        let mut next = Vec::new();
        let (mut hit, mut miss) = (None, None);
        let next_tables = get(item, "next_tables");
        for branch in next_tables.as_object().into_iter().flatten().map(|(branch, _)| branch.as_str()) {
            let node = nodes.next(next_tables, branch)?;
            match branch {
                "__HIT__" => hit = Some(node),
                "__MISS__" => miss = Some(node),
                _ => next.push((branch.into(), node)),
            }
        }
        let mut table = Table {
            lookup: lookup(text(item, "match_type")?, &key)?,
            size: number(item, "max_size")?,
            is_counted: flag(item, "with_counters")?,
            ages: flag(item, "support_timeout")?,
            profile,
            meter: direct_meter(program, item, &name)?,
            actions,
            next,
            hit,
            miss,
            base: nodes.next(item, "base_default_next")?,
            default: None,
            is_default_const: false,
            entries: Vec::new(),
            is_const: false,
            name,
            key,
        };
        load_default(program, item, &mut table)?;
        let entries = optional_list(item, "entries")?;
        table.is_const = !get(item, "entries").is_null();
        for (at, entry) in entries.iter().enumerate() {
            let entry = const_entry(program, &table, entry).map_err(|problem| format!("entry {at}: {problem}"))?;
            table.entries.push(entry);
        }
        Ok(table)
    }
}

fn actions(program: &Program, item: &Value) -> Result<Vec<usize>, Problem> {
    match get(item, "action_ids") {
        // Older compilers name actions only.
        Value::Null => {
            let find = |name: &Value| {
                let found = program.actions.iter().position(|action| Some(&*action.name) == name.as_str());
                found.ok_or_else(|| format!("there is no action {}", show(name)))
            };
            list(item, "actions")?.iter().map(find).collect()
        }
        _ => list(item, "action_ids")?.iter().map(|id| program.action(id)).collect(),
    }
}

fn lookup(match_type: &str, key: &[KeyField]) -> Result<Lookup, Problem> {
    let with_prefix: Vec<usize> = (0..key.len()).filter(|at| key[*at].kind == MatchKind::Lpm).collect();
    let needs_order = key.iter().any(|field| matches!(field.kind, MatchKind::Ternary | MatchKind::Range));
    match (match_type, with_prefix.as_slice()) {
        ("ternary" | "range", _) => Ok(Lookup::Ordered),
        _ if needs_order => Err(format!("a field is ternary or a range in a table of type '{match_type}'")),
        ("lpm", [field]) => Ok(Lookup::Longest(*field)),
        ("exact", []) => Ok(Lookup::Exact),
        _ => Err(format!("unknown type of match '{match_type:.40}', or not one field with a prefix")),
    }
}

fn key_field(program: &Program, item: &Value) -> Result<KeyField, Problem> {
    let names = Names { layout: &program.layout, registers: &program.registers, parameters: 0 };
    let target = get(item, "target");
    let (kind, value, width) = match text(item, "match_type")? {
        "valid" => {
            let header = target.as_str().ok_or_else(|| format!("expected a header's name, came {}", show(target)))?;
            (MatchKind::Exact, Data::Valid(program.layout.header(header)?), 1)
        }
        kind => {
            let value = names.expression(&serde_json::json!({ "type": "field", "value": target }))?.data()?;
            let width = match &value {
                Data::Field(field) => program.layout.fields[*field].width,
                _ => 1,
            };
            let kind = match kind {
                "exact" => MatchKind::Exact,
                "lpm" => MatchKind::Lpm,
                "ternary" | "optional" => MatchKind::Ternary,
                "range" => MatchKind::Range,
                unknown => return Err(format!("unknown type of match '{unknown:.40}'")),
            };
            (kind, value, width)
        }
    };
    let mask = match get(item, "mask") {
        Value::Null => ones(width),
        mask => hex_of_width(mask, width)?,
    };
    let name = optional_text(item, "name")?.unwrap_or_default().to_owned();
    Ok(KeyField { name, kind, value, width, mask })
}

fn direct_meter(program: &Program, item: &Value, table: &str) -> Result<Option<(usize, FieldId)>, Problem> {
    let Some(name) = optional_text(item, "direct_meters")? else { return Ok(None) };
    let at = program.meters.iter().position(|meter| &*meter.name == name);
    let at = at.ok_or_else(|| format!("there is no meter array '{name}'"))?;
    let result = program.meters[at].result;
    Ok(Some((at, result.ok_or_else(|| format!("meter '{name}' of table '{table}' has no 'result_target'"))?)))
}

fn load_default(program: &Program, item: &Value, table: &mut Table) -> Result<(), Problem> {
    let default = get(item, "default_entry");
    if !default.is_null() {
        let action = program.action(get(default, "action_id"))?;
        let arguments = arguments(program, action, optional_list(default, "action_data")?)?;
        table.default = Some((action, arguments));
        table.is_default_const = flag(default, "action_const")?;
    }
    Ok(())
}

pub(crate) fn arguments(program: &Program, action: usize, items: &[Value]) -> Result<Vec<u128>, Problem> {
    let action = &program.actions[action];
    if items.len() != action.parameters.len() {
        let (name, wanted) = (&action.name, action.parameters.len());
        return Err(format!("action '{name}' takes {wanted} arguments, came {}", items.len()));
    }
    let widths = action.parameters.iter().map(|(_, width)| *width);
    items.iter().zip(widths).map(|(item, width)| hex_of_width(item, width)).collect()
}

fn const_entry(program: &Program, table: &Table, item: &Value) -> Result<ConstEntry, Problem> {
    let parts = list(item, "match_key")?;
    if parts.len() != table.key.len() {
        return Err(format!("expected {} fields, came {}", table.key.len(), parts.len()));
    }
    let part = |(field, part): (&KeyField, &Value)| -> Result<(u128, u128), Problem> {
        let hex = |key| hex_of_width(get(part, key), field.width);
        if let Some(valid) = get(part, "key").as_bool() {
            return Ok((u128::from(valid), 1));
        }
        Ok(match field.kind {
            MatchKind::Exact => (hex("key")?, ones(field.width)),
            MatchKind::Lpm => (hex("key")?, number(part, "prefix_length")? as u128),
            MatchKind::Ternary => (hex("key")?, hex("mask")?),
            MatchKind::Range => (hex("start")?, hex("end")?),
        })
    };
    let parts = table.key.iter().zip(parts).map(part).collect::<Result<Vec<_>, _>>()?;
    for (field, (_, prefix)) in table.key.iter().zip(&parts) {
        if field.kind == MatchKind::Lpm && *prefix > u128::from(field.width) {
            return Err(format!("a prefix of {prefix} bits of a field of {}", field.width));
        }
    }
    let call = get(item, "action_entry");
    let action = program.action(get(call, "action_id"))?;
    let order = match get(item, "priority") {
        Value::Null => 0,
        _ => i32::try_from(number(item, "priority")?).map_err(|error| format!("'priority': {error}"))?,
    };
    Ok(ConstEntry { parts, order, action, arguments: arguments(program, action, optional_list(call, "action_data")?)? })
}

fn load_profile(program: &Program, name: &str, item: &Value) -> Result<Profile, Problem> {
    let selector = match get(item, "selector") {
        Value::Null => None,
        selector => Some(Calculation::load(&program.layout, selector)?),
    };
    let size = number(item, "max_size")?;
    check_size("members", size, usize::MAX)?;
    Ok(Profile { name: name.into(), size, selector })
}
