//! Parsers: states with what they extract and where they go next.

use std::collections::HashMap;

use serde_json::Value;

use super::action::{self, Op, Target};
use super::expression::{Bool, Data, Expression, Instance, Names, UnionPlace};
use super::json::{Place, Problem, get, hex_bytes, list, optional_list, optional_text, pair, show, text};
use super::layout::{CELL_BITS, HeaderId, Layout, StackId, ones};
use super::{Program, ProgramError};

/// What is extracted into.
#[derive(Clone, Debug)]
pub(crate) enum Extract {
    Header(HeaderId),
    /// The next of a stack.
    Next(StackId),
    /// The next union of a stack, and which of its members.
    NextUnion(usize, usize),
}

#[derive(Clone, Debug)]
pub(crate) enum ParseOp {
    /// With the length in bits of the field of variable length.
    Extract(Extract, Option<Data>),
    Set(Target, Data),
    /// Bits from here on, and how many.
    SetAhead(Target, usize, u32),
    /// A condition, and the error if it does not hold.
    Verify(Bool, Data),
    /// Bits.
    Advance(Data),
    Call(Op),
}

#[derive(Clone, Debug)]
pub(crate) enum KeyPart {
    Value(Data),
    Ahead(usize, u32),
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// For each part of the key: value and mask.
    pub(crate) parts: Vec<(u128, u128)>,
    pub(crate) next: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) ops: Vec<ParseOp>,
    pub(crate) key: Vec<KeyPart>,
    pub(crate) cases: Vec<Case>,
    /// Where to go when no case fits; `None` ends the parser.
    pub(crate) default: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Parser {
    pub(crate) states: Vec<State>,
    pub(crate) start: Option<usize>,
}

impl Parser {
    pub(crate) fn load(program: &Program, root: &Value) -> Result<Self, ProgramError> {
        let parsers = list(root, "parsers").at(|| "parsers".to_owned())?;
        let item = parsers.iter().find(|item| get(item, "name").as_str() == Some("parser"));
        let item = item.or(parsers.first()).ok_or_else(|| "there is no parser".to_owned());
        let item = item.at(|| "parsers".to_owned())?;
        let items = list(item, "parse_states").at(|| "parser".to_owned())?;
        let mut names = HashMap::new();
        for (at, state) in items.iter().enumerate() {
            names.insert(text(state, "name").at(|| "parser".to_owned())?, at);
        }
        let compiler = Compiler { program, root, states: &names };
        let mut states = Vec::with_capacity(items.len());
        for state in items {
            let name = text(state, "name").at(|| "parser".to_owned())?;
            states.push(compiler.state(state).at(|| format!("parser state '{name}'"))?);
        }
        let start = compiler.next(item, "init_state").at(|| "parser".to_owned())?;
        Ok(Self { states, start })
    }
}

struct Compiler<'p> {
    program: &'p Program,
    root: &'p Value,
    states: &'p HashMap<&'p str, usize>,
}

impl Compiler<'_> {
    fn layout(&self) -> &Layout {
        &self.program.layout
    }

    fn names(&self) -> Names<'_> {
        Names { layout: &self.program.layout, registers: &self.program.registers, parameters: 0 }
    }

    fn next(&self, item: &Value, key: &str) -> Result<Option<usize>, Problem> {
        let Some(name) = optional_text(item, key)? else { return Ok(None) };
        self.states.get(name).copied().map(Some).ok_or_else(|| format!("'{key}': there is no state '{name}'"))
    }

    fn state(&self, item: &Value) -> Result<State, Problem> {
        let mut state = State::default();
        for (at, op) in list(item, "parser_ops")?.iter().enumerate() {
            state.ops.push(self.op(op).map_err(|problem| format!("operation {at}: {problem}"))?);
        }
        let mut widths = Vec::new();
        for part in optional_list(item, "transition_key")? {
            let (part, width) = self.key_part(part)?;
            state.key.push(part);
            widths.push(width);
        }
        for case in optional_list(item, "transitions")? {
            let next = self.next(case, "next_state")?;
            match get(case, "type").as_str().or(get(case, "value").as_str()) {
                // A value set that nobody can fill: it fits nothing.
                Some("parse_vset") => {}
                Some("default") => state.default = next,
                Some(_) => {
                    let value = split(text(case, "value")?, &widths)?;
                    let masks = match optional_text(case, "mask")? {
                        Some(mask) => split(mask, &widths)?,
                        None => widths.iter().map(|width| ones(*width)).collect(),
                    };
                    let parts = value.into_iter().zip(masks).map(|(value, mask)| (value & mask, mask)).collect();
                    state.cases.push(Case { parts, next });
                }
                None => return Err(format!("unknown transition {}", show(case))),
            }
        }
        Ok(state)
    }

    fn key_part(&self, item: &Value) -> Result<(KeyPart, u32), Problem> {
        let value = get(item, "value");
        match get(item, "type").as_str() {
            Some("lookahead") => {
                let (offset, width) = ahead(value)?;
                Ok((KeyPart::Ahead(offset, width), width))
            }
            Some("field" | "stack_field") => {
                let (header, field) = pair(value)?;
                let data = self.names().expression(item)?.data()?;
                let width = match &data {
                    Data::Field(field) => self.layout().fields[*field].width,
                    Data::Part { of, field } => self.width_in(of, *field)?,
                    Data::Valid(_) => 1,
                    _ => return Err(format!("expected a field, came {header}.{field}")),
                };
                Ok((KeyPart::Value(data), width))
            }
            Some("union_stack_field") => self.union_key(value),
            _ => Err(format!("unknown kind of key {}", show(item))),
        }
    }

    fn width_in(&self, of: &Instance, field: usize) -> Result<u32, Problem> {
        match of {
            Instance::Last(stack) => {
                let header = &self.layout().headers[self.layout().stacks[*stack][0]];
                Ok(self.layout().fields[header.first + field].width)
            }
            _ => Err("expected the last header of a stack".to_owned()),
        }
    }

    fn union_key(&self, value: &Value) -> Result<(KeyPart, u32), Problem> {
        let [Value::String(stack), Value::String(member), Value::String(field)] =
            value.as_array().map(Vec::as_slice).unwrap_or_default()
        else {
            return Err(format!("expected a stack of unions, a member and a field, came {}", show(value)));
        };
        let stack = self.layout().union_stack(stack)?;
        let member = self.layout().stack_union_members(stack, member, self.root)?;
        let example = self.layout().unions[self.layout().union_stacks[stack][0]][member];
        let header = &self.layout().headers[example];
        let id = self.layout().cell_field(&header.name, field)?;
        let of = Box::new(Instance::InUnion(UnionPlace::Last(stack), member));
        Ok((KeyPart::Value(Data::Part { of, field: id - header.first }), self.layout().fields[id].width))
    }

    fn op(&self, item: &Value) -> Result<ParseOp, Problem> {
        let parameters = list(item, "parameters")?;
        let parameter =
            |at: usize| parameters.get(at).ok_or_else(|| format!("expected more than {} parameters", parameters.len()));
        match text(item, "op")? {
            "extract" => Ok(ParseOp::Extract(self.extract(parameter(0)?, false)?, None)),
            "extract_VL" => {
                let length = self.names().expression(parameter(1)?)?.data()?;
                Ok(ParseOp::Extract(self.extract(parameter(0)?, true)?, Some(length)))
            }
            "set" => self.set(parameter(0)?, parameter(1)?),
            "verify" => {
                let condition = self.names().expression(parameter(0)?)?.condition()?;
                Ok(ParseOp::Verify(condition, self.names().expression(parameter(1)?)?.data()?))
            }
            "shift" => {
                let bytes = parameter(0)?.as_u64().ok_or("expected a number of bytes")?;
                Ok(ParseOp::Advance(Data::Const(u128::from(bytes) * 8)))
            }
            "advance" => Ok(ParseOp::Advance(self.names().expression(parameter(0)?)?.data()?)),
            "primitive" => Ok(ParseOp::Call(action::primitive(self.program, 0, parameter(0)?)?)),
            unknown => Err(format!("unknown parser operation '{unknown:.40}'")),
        }
    }

    fn extract(&self, item: &Value, is_variable: bool) -> Result<Extract, Problem> {
        let value = get(item, "value");
        let name = || value.as_str().ok_or_else(|| format!("expected a name, came {}", show(value)));
        let (extract, example) = match get(item, "type").as_str() {
            Some("regular") => {
                let id = self.layout().header(name()?)?;
                (Extract::Header(id), id)
            }
            Some("stack") => {
                let stack = self.layout().stack(name()?)?;
                (Extract::Next(stack), self.layout().stacks[stack][0])
            }
            Some("union_stack") => {
                let (stack, member) = pair(value)?;
                let stack = self.layout().union_stack(stack)?;
                let member = self.layout().stack_union_members(stack, member, self.root)?;
                (Extract::NextUnion(stack, member), self.layout().unions[self.layout().union_stacks[stack][0]][member])
            }
            _ => return Err(format!("expected a header, a stack or a stack of unions, came {}", show(item))),
        };
        let header = &self.layout().headers[example];
        if header.variable.is_some() != is_variable {
            return Err(format!("header '{}': extracted as if it had another length", header.name));
        }
        Ok(extract)
    }

    fn set(&self, to: &Value, from: &Value) -> Result<ParseOp, Problem> {
        let target = match self.names().expression(to)? {
            Expression::Data(Data::Field(field), _) => Target::Field(field),
            Expression::Data(Data::Part { of, field }, _) => Target::Part { of: *of, field },
            Expression::Bytes(_) => {
                let parameters = [to, from];
                let item = serde_json::json!({ "op": "assign", "parameters": parameters });
                return Ok(ParseOp::Call(action::primitive(self.program, 0, &item)?));
            }
            other => return Err(format!("expected a field, came {other:?}")),
        };
        if get(from, "type").as_str() == Some("lookahead") {
            let (offset, width) = ahead(get(from, "value"))?;
            return Ok(ParseOp::SetAhead(target, offset, width));
        }
        Ok(ParseOp::Set(target, self.names().expression(from)?.data()?))
    }
}

/// Offset and width of a lookahead, in bits.
fn ahead(value: &Value) -> Result<(usize, u32), Problem> {
    let part = |at: usize| value.get(at).and_then(Value::as_u64).and_then(|part| u32::try_from(part).ok());
    match (part(0), part(1)) {
        (Some(offset), Some(width @ 1..=CELL_BITS)) => Ok((offset as usize, width)),
        _ => Err(format!("lookahead: expected an offset and 1 to {CELL_BITS} bits, came {}", show(value))),
    }
}

/// Splits a number into the parts of a key; each part takes whole bytes.
fn split(text: &str, widths: &[u32]) -> Result<Vec<u128>, Problem> {
    let (_, bytes) = hex_bytes(text)?;
    let mut left = bytes.as_slice();
    let mut parts = vec![0; widths.len()];
    for (part, width) in parts.iter_mut().zip(widths).rev() {
        let (rest, own) = left.split_at(left.len().saturating_sub(width.div_ceil(8) as usize));
        *part = own.iter().fold(0_u128, |value, byte| value << 8 | u128::from(*byte)) & ones(*width);
        left = rest;
    }
    if left.iter().any(|byte| *byte != 0) {
        return Err(format!("the value '{text:.40}' is longer than its key"));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_keys_are_split_at_bytes() {
        let cases: [(&str, &[u32], &[u128]); 4] = [
            ("0x0aba03", &[12, 2], &[0xaba, 3]),
            ("0x800", &[16], &[0x800]),
            ("0x0", &[9, 48], &[0, 0]),
            ("0x01ff0a", &[16, 8], &[0x1ff, 0xa]),
        ];
        for (text, widths, expected) in cases {
            assert_eq!(split(text, widths).unwrap(), expected, "{text}");
        }
        assert!(split("0x10000", &[16]).is_err());
    }
}
