//! A P4 program as `p4c-bm2-ss` compiles it to JSON (BMv2's format, version 2), checked and turned into indices.
//!
//! Everything that a packet could stumble over is found here: a name that means nothing, an operation that is unknown, a
//! header of half a byte. A loaded program is executed by a [`Machine`](super::machine::Machine).

pub(crate) mod action;
pub(crate) mod calculation;
pub(crate) mod expression;
mod json;
pub(crate) mod layout;
pub(crate) mod parser;
pub(crate) mod pipeline;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use action::{Op, Standard};
use calculation::{Calculation, Checksum, FieldList};
use expression::Names;
use json::{Place, Problem, flag, get, list, number, optional_list, pair, show, text};
use layout::{CELL_BITS, FieldId, HeaderId, Layout};
use parser::Parser;
pub use pipeline::MatchKind;
use pipeline::{Flow, Lookup};

/// Most cells of all arrays together: what a program asks for is not always what a machine should give.
const CELLS_MAX: usize = 1 << 26;

/// A program that cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ProgramError {
    /// Where in the JSON: `action 'ingress.forward', primitive 2`.
    pub place: String,
    /// What was expected and what came.
    pub problem: String,
}

/// An array of counters or registers.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) name: Arc<str>,
    pub(crate) size: usize,
    /// Of a register.
    pub(crate) width: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct MeterArray {
    pub(crate) name: Arc<str>,
    pub(crate) size: usize,
    pub(crate) counts_bytes: bool,
    pub(crate) is_direct: bool,
    /// Where a direct meter's colour goes.
    pub(crate) result: Option<FieldId>,
}

#[derive(Clone, Debug)]
pub(crate) struct Action {
    pub(crate) name: Arc<str>,
    /// Names and widths.
    pub(crate) parameters: Vec<(String, u32)>,
    pub(crate) ops: Vec<Op>,
}

/// A loaded program. It holds no state: machines share it.
#[derive(Debug, Default)]
pub struct Program {
    pub(crate) layout: Layout,
    pub(crate) standard: Standard,
    pub(crate) errors: HashMap<String, u128>,
    pub(crate) registers: Vec<Array>,
    pub(crate) counters: Vec<Array>,
    pub(crate) meters: Vec<MeterArray>,
    calculation_names: Vec<String>,
    pub(crate) calculations: Vec<Calculation>,
    pub(crate) field_lists: Vec<FieldList>,
    pub(crate) digests: Vec<FieldList>,
    pub(crate) actions: Vec<Action>,
    action_ids: HashMap<u64, usize>,
    pub(crate) parser: Parser,
    pub(crate) checksums: Vec<Checksum>,
    pub(crate) deparser: Vec<HeaderId>,
    pub(crate) flow: Flow,
}

/// A table as its program declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableShape<'p> {
    pub name: &'p str,
    /// Name, kind and width in bits of each field of its key.
    pub key: Vec<(&'p str, MatchKind, u32)>,
    pub size: usize,
    pub actions: Vec<&'p str>,
    pub profile: Option<&'p str>,
    pub needs_priority: bool,
    pub is_counted: bool,
    pub ages: bool,
    /// Entries of the program are all that it ever has.
    pub is_const: bool,
}

pub(crate) fn check_size(what: &str, size: usize, most: usize) -> Result<usize, Problem> {
    if size > most { Err(format!("expected at most {most} {what}, came {size}")) } else { Ok(size) }
}

/// The place of an array by its name.
pub(crate) fn position(arrays: &[Array], kind: &str, name: &str) -> Result<usize, Problem> {
    let found = arrays.iter().position(|array| &*array.name == name);
    found.ok_or_else(|| format!("there is no {kind} '{name}'"))
}

impl Program {
    /// Reads BMv2's JSON, format version 2.
    pub fn load(json: &str) -> Result<Self, ProgramError> {
        let root: Value = serde_json::from_str(json).map_err(|error| error.to_string()).at(|| "JSON".to_owned())?;
        if !root.is_object() {
            return Err(format!("expected an object, came {}", show(&root))).at(|| "JSON".to_owned());
        }
        let major = root.pointer("/__meta__/version/0");
        if let Some(major) = major.filter(|major| major.as_u64() != Some(2)) {
            return Err(format!("expected format version 2, came {}", show(major))).at(|| "__meta__".to_owned());
        }
        let mut program = Self { layout: Layout::load(&root)?, ..Self::default() };
        program.standard = Standard::load(&program.layout).at(|| "headers".to_owned())?;
        program.load_errors(&root)?;
        program.load_arrays(&root)?;
        for item in optional_list(&root, "calculations").at(|| "calculations".to_owned())? {
            let name = text(item, "name").at(|| "calculations".to_owned())?;
            let calculation = Calculation::load(&program.layout, item).at(|| format!("calculation '{name}'"))?;
            program.calculation_names.push(name.to_owned());
            program.calculations.push(calculation);
        }
        program.field_lists = program.load_lists(&root, "field_lists")?;
        program.digests = program.load_lists(&root, "learn_lists")?;
        program.load_actions(&root)?;
        program.parser = Parser::load(&program, &root)?;
        for item in optional_list(&root, "checksums").at(|| "checksums".to_owned())? {
            let checksum = Checksum::load(program.names(), &program.calculation_names, item);
            let name = get(item, "name").as_str().unwrap_or_default();
            program.checksums.push(checksum.at(|| format!("checksum '{name}'"))?);
        }
        let deparsers = list(&root, "deparsers").at(|| "deparsers".to_owned())?;
        if let Some(item) = deparsers.first() {
            program.deparser = action::deparser_order(&program.layout, item).at(|| "deparser".to_owned())?;
        }
        if let Some(item) = optional_list(&root, "extern_instances").at(|| "extern_instances".to_owned())?.first() {
            return Err(format!("extern {} is not supported", show(item))).at(|| "extern_instances".to_owned());
        }
        program.flow = Flow::load(&program, &root)?;
        Ok(program)
    }

    fn names(&self) -> Names<'_> {
        Names { layout: &self.layout, registers: &self.registers, parameters: 0 }
    }

    fn load_errors(&mut self, root: &Value) -> Result<(), ProgramError> {
        for item in optional_list(root, "errors").at(|| "errors".to_owned())? {
            let parts = (item.get(0).and_then(Value::as_str), item.get(1).and_then(Value::as_u64));
            let (Some(name), Some(value)) = parts else {
                return Err(format!("expected a name and a number, came {}", show(item))).at(|| "errors".to_owned());
            };
            self.errors.insert(name.to_owned(), u128::from(value));
        }
        Ok(())
    }

    fn load_arrays(&mut self, root: &Value) -> Result<(), ProgramError> {
        let mut cells = 0;
        let mut size_of = |item: &Value| -> Result<usize, Problem> {
            let size = number(item, "size")?;
            cells = check_size("cells in all arrays", size.saturating_add(cells), CELLS_MAX)?;
            Ok(size)
        };
        for item in optional_list(root, "register_arrays").at(|| "register_arrays".to_owned())? {
            let name = text(item, "name").at(|| "register_arrays".to_owned())?;
            let array = (|| {
                let width = u32::try_from(number(item, "bitwidth")?).unwrap_or(u32::MAX);
                match width {
                    1..=CELL_BITS => Ok(Array { name: name.into(), size: size_of(item)?, width }),
                    _ => Err(format!("expected cells of 1 to {CELL_BITS} bits, came {width}")),
                }
            })();
            self.registers.push(array.at(|| format!("register array '{name}'"))?);
        }
        for item in optional_list(root, "counter_arrays").at(|| "counter_arrays".to_owned())? {
            let name = text(item, "name").at(|| "counter_arrays".to_owned())?;
            let is_direct = flag(item, "is_direct").at(|| format!("counter array '{name}'"))?;
            let size = if is_direct { Ok(0) } else { size_of(item) };
            let size = size.at(|| format!("counter array '{name}'"))?;
            self.counters.push(Array { name: name.into(), size, width: 64 });
        }
        for item in optional_list(root, "meter_arrays").at(|| "meter_arrays".to_owned())? {
            let name = text(item, "name").at(|| "meter_arrays".to_owned())?;
            let meter = (|| {
                if number(item, "rate_count")? != 2 {
                    return Err("expected two rates".to_owned());
                }
                let is_direct = flag(item, "is_direct")?;
                let result = match get(item, "result_target") {
                    Value::Null => None,
                    target => {
                        let (header, field) = pair(target)?;
                        Some(self.layout.cell_field(header, field)?)
                    }
                };
                let size = if is_direct { 0 } else { size_of(item)? };
                let counts_bytes = text(item, "type")? == "bytes";
                Ok(MeterArray { name: name.into(), size, counts_bytes, is_direct, result })
            })();
            self.meters.push(meter.at(|| format!("meter array '{name}'"))?);
        }
        Ok(())
    }

    fn load_lists(&self, root: &Value, key: &str) -> Result<Vec<FieldList>, ProgramError> {
        let items = optional_list(root, key).at(|| key.to_owned())?;
        items.iter().map(|item| FieldList::load(self.names(), item).at(|| key.to_owned())).collect()
    }

    fn load_actions(&mut self, root: &Value) -> Result<(), ProgramError> {
        for item in list(root, "actions").at(|| "actions".to_owned())? {
            let name = text(item, "name").at(|| "actions".to_owned())?;
            let place = || format!("action '{name}'");
            let mut parameters = Vec::new();
            for parameter in optional_list(item, "runtime_data").at(place)? {
                let width = u32::try_from(number(parameter, "bitwidth").at(place)?).unwrap_or(u32::MAX);
                if !(1..=CELL_BITS).contains(&width) {
                    return Err(format!("expected parameters of 1 to {CELL_BITS} bits, came {width}")).at(place);
                }
                parameters.push((text(parameter, "name").at(place)?.to_owned(), width));
            }
            let mut ops = Vec::new();
            for (at, primitive) in list(item, "primitives").at(place)?.iter().enumerate() {
                let op = action::primitive(self, parameters.len(), primitive);
                ops.push(op.at(|| format!("action '{name}', primitive {at}"))?);
            }
            let id = get(item, "id").as_u64().ok_or_else(|| "expected an id".to_owned()).at(place)?;
            self.action_ids.insert(id, self.actions.len());
            self.actions.push(Action { name: name.into(), parameters, ops });
        }
        Ok(())
    }

    fn action(&self, id: &Value) -> Result<usize, Problem> {
        let found = id.as_u64().and_then(|id| self.action_ids.get(&id)).copied();
        found.ok_or_else(|| format!("there is no action with id {}", show(id)))
    }

    fn calculation(&self, name: &str) -> Result<usize, Problem> {
        let found = self.calculation_names.iter().position(|known| known == name);
        found.ok_or_else(|| format!("there is no calculation '{name}'"))
    }

    /// Its tables, those included that the compiler made.
    pub fn tables(&self) -> impl Iterator<Item = TableShape<'_>> {
        self.flow.tables.iter().map(|table| TableShape {
            name: &table.name,
            key: table.key.iter().map(|field| (field.name.as_str(), field.kind, field.width)).collect(),
            size: table.size,
            actions: table.actions.iter().map(|action| &*self.actions[*action].name).collect(),
            profile: table.profile.map(|profile| &*self.flow.profiles[profile].name),
            needs_priority: table.lookup == Lookup::Ordered,
            is_counted: table.is_counted,
            ages: table.ages,
            is_const: table.is_const,
        })
    }

    /// Names and widths in bits of an action's parameters.
    pub fn parameters(&self, action: &str) -> Option<&[(String, u32)]> {
        let found = self.actions.iter().find(|known| &*known.name == action);
        found.map(|action| action.parameters.as_slice())
    }
}
