//! Expressions, compiled: names are indices, and whether a value may be negative is known before any packet comes.
//!
//! BMv2 calculates with numbers of any length, and the compiler puts a mask around whatever may outgrow its type. So it
//! is enough to calculate modulo 2^128 and to know, where order matters (comparison, shift to the right, division),
//! whether the 128 bits are two's complement.

use serde_json::Value;

use super::json::{Problem, get, hex, hex_bytes, pair, show};
use super::layout::{CELL_BITS, FieldId, HeaderId, Layout, StackId, UnionId};

/// A number.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Const(u128),
    Field(FieldId),
    /// 1 if the header is valid.
    Valid(HeaderId),
    /// Argument of the action that runs.
    Argument(usize),
    /// A field of a header that is known when it is reached; `field` counts from the header's first.
    Part {
        of: Box<Instance>,
        field: usize,
    },
    Register {
        array: usize,
        index: Box<Data>,
    },
    Binary(Binary, Box<(Data, Data)>),
    Not(Box<Data>),
    /// Two's complement of so many bits.
    Signed(Box<Data>, u32),
    Saturated {
        value: Box<Data>,
        from_signed: bool,
        width: u32,
        to_signed: bool,
    },
    Flag(Box<Bool>),
    Choose(Box<(Bool, Data, Data)>),
    /// Headers that were put into a stack.
    Count(StackId),
    LastIndex(StackId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide { is_signed: bool },
    Remainder { is_signed: bool },
    ShiftLeft,
    ShiftRight { is_signed: bool },
    And,
    Or,
    Xor,
}

#[derive(Clone, Debug)]
pub(crate) enum Bool {
    Const(bool),
    /// Both sides have the same bits.
    Equal(Box<(Data, Data)>),
    /// The left side is lower; whether each side may be negative.
    Less(Box<(Data, Data)>, bool, bool),
    And(Box<(Bool, Bool)>),
    Or(Box<(Bool, Bool)>),
    Not(Box<Bool>),
    Same(Box<(Bool, Bool)>),
    Choose(Box<(Bool, Bool, Bool)>),
    /// Not zero.
    Truth(Data),
    Valid(Instance),
    ValidUnion(UnionPlace),
    SameHeader(Box<(Instance, Instance)>),
    SameUnion(Box<(UnionPlace, UnionPlace)>),
    SameBytes(Bytes, Bytes),
}

/// A header.
#[derive(Clone, Debug)]
pub(crate) enum Instance {
    Fixed(HeaderId),
    InStack(StackId, Data),
    /// The last one that was put into the stack.
    Last(StackId),
    InUnion(UnionPlace, usize),
}

#[derive(Clone, Debug)]
pub(crate) enum UnionPlace {
    Fixed(UnionId),
    InStack(usize, Data),
    /// The last one that was put into the stack.
    Last(usize),
}

/// A field without a cell, or a constant like it.
#[derive(Clone, Debug)]
pub(crate) enum Bytes {
    Field(FieldId),
    /// Right-aligned, of any length.
    Const(Vec<u8>),
}

/// An expression of any kind.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    /// And whether it may be negative.
    Data(Data, bool),
    Bool(Bool),
    /// And its header type.
    Header(Instance, usize),
    Stack(StackId),
    Union(UnionPlace, UnionId),
    UnionStack(usize),
    Bytes(Bytes),
}

impl Expression {
    fn what(&self) -> &'static str {
        match self {
            Self::Data(..) => "a number",
            Self::Bool(_) => "a condition",
            Self::Header(..) => "a header",
            Self::Stack(_) => "a header stack",
            Self::Union(..) => "a header union",
            Self::UnionStack(_) => "a stack of unions",
            Self::Bytes(_) => "a field wider than 128 bits",
        }
    }

    pub(crate) fn data(self) -> Result<Data, Problem> {
        self.number().map(|(data, _)| data)
    }

    fn number(self) -> Result<(Data, bool), Problem> {
        match self {
            Self::Data(data, is_signed) => Ok((data, is_signed)),
            Self::Bool(condition) => Ok((Data::Flag(Box::new(condition)), false)),
            other => Err(format!("expected a number, came {}", other.what())),
        }
    }

    pub(crate) fn condition(self) -> Result<Bool, Problem> {
        match self {
            Self::Bool(condition) => Ok(condition),
            Self::Data(data, _) => Ok(Bool::Truth(data)),
            other => Err(format!("expected a condition, came {}", other.what())),
        }
    }

    pub(crate) fn header(self) -> Result<(Instance, usize), Problem> {
        match self {
            Self::Header(instance, kind) => Ok((instance, kind)),
            other => Err(format!("expected a header, came {}", other.what())),
        }
    }

    pub(crate) fn union(self) -> Result<(UnionPlace, UnionId), Problem> {
        match self {
            Self::Union(place, example) => Ok((place, example)),
            other => Err(format!("expected a header union, came {}", other.what())),
        }
    }
}

/// What names in an expression mean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'p> {
    pub(crate) layout: &'p Layout,
    pub(crate) registers: &'p [super::Array],
    /// Parameters of the action.
    pub(crate) parameters: usize,
}

impl Names<'_> {
    /// Compiles a "type value object".
    pub(crate) fn expression(&self, item: &Value) -> Result<Expression, Problem> {
        let value = get(item, "value");
        let kind = get(item, "type").as_str();
        let name = || value.as_str().ok_or_else(|| format!("expected a name, came {}", show(value)));
        match kind {
            Some("expression") if value.get("op").is_some() => self.operation(value),
            Some("expression") => self.expression(value),
            None if item.get("op").is_some() => self.operation(item),
            Some("field") => {
                let (header, field) = pair(value)?;
                self.field(header, field)
            }
            Some("hexstr") => constant(name()?),
            Some("bool") => {
                let flag = value.as_bool().ok_or_else(|| format!("expected true or false, came {}", show(value)))?;
                Ok(Expression::Bool(Bool::Const(flag)))
            }
            Some("header") => {
                let id = self.layout.header(name()?)?;
                Ok(Expression::Header(Instance::Fixed(id), self.layout.headers[id].kind))
            }
            Some("header_stack") => Ok(Expression::Stack(self.layout.stack(name()?)?)),
            Some("header_union") => {
                let id = self.layout.union(name()?)?;
                Ok(Expression::Union(UnionPlace::Fixed(id), id))
            }
            Some("header_union_stack") => Ok(Expression::UnionStack(self.layout.union_stack(name()?)?)),
            Some("runtime_data" | "local") => {
                let index = value.as_u64().and_then(|index| usize::try_from(index).ok());
                match index.filter(|index| *index < self.parameters) {
                    Some(index) => Ok(Expression::Data(Data::Argument(index), false)),
                    None => Err(format!("expected one of {} parameters, came {}", self.parameters, show(value))),
                }
            }
            Some("stack_field") => {
                let (stack, field) = pair(value)?;
                let stack = self.layout.stack(stack)?;
                let example = &self.layout.headers[self.layout.stacks[stack][0]];
                let field = self.layout.cell_field(&example.name, field)?;
                let of = Box::new(Instance::Last(stack));
                Ok(Expression::Data(
                    Data::Part { of, field: field - example.first },
                    self.layout.fields[field].is_signed,
                ))
            }
            Some("register") => match value.as_array().map(Vec::as_slice) {
                Some([Value::String(array), index]) => {
                    let array = super::position(self.registers, "register array", array)?;
                    let index = Box::new(self.expression(index)?.data()?);
                    Ok(Expression::Data(Data::Register { array, index }, false))
                }
                _ => Err(format!("expected a register array and an index, came {}", show(value))),
            },
            _ => Err(format!("unknown kind of value {}", show(item))),
        }
    }

    fn field(&self, header: &str, field: &str) -> Result<Expression, Problem> {
        if field == "$valid$" {
            return Ok(Expression::Data(Data::Valid(self.layout.header(header)?), false));
        }
        let id = self.layout.field(header, field)?;
        let known = &self.layout.fields[id];
        match known.bytes {
            None => Ok(Expression::Data(Data::Field(id), known.is_signed)),
            Some(_) => Ok(Expression::Bytes(Bytes::Field(id))),
        }
    }

    fn operation(&self, value: &Value) -> Result<Expression, Problem> {
        let op = get(value, "op").as_str().unwrap_or_default();
        let right = || self.expression(get(value, "right"));
        // A missing left side is nothing: `-x` is `0 - x`.
        let left = || match get(value, "left") {
            Value::Null => Ok(Expression::Data(Data::Const(0), false)),
            found => self.expression(found),
        };
        match op {
            "+" | "-" | "*" | "/" | "%" | "<<" | ">>" | "&" | "|" | "^" => arithmetic(op, left()?, right()?),
            "~" => Ok(Expression::Data(Data::Not(Box::new(right()?.data()?)), true)),
            "==" => self.equal(left()?, right()?).map(Expression::Bool),
            "!=" => self.equal(left()?, right()?).map(|equal| Expression::Bool(Bool::Not(Box::new(equal)))),
            "<" | ">" | "<=" | ">=" => compare(op, left()?, right()?),
            "and" => Ok(Expression::Bool(Bool::And(Box::new((left()?.condition()?, right()?.condition()?))))),
            "or" => Ok(Expression::Bool(Bool::Or(Box::new((left()?.condition()?, right()?.condition()?))))),
            "not" => Ok(Expression::Bool(Bool::Not(Box::new(right()?.condition()?)))),
            "valid" => right()?.header().map(|(instance, _)| Expression::Bool(Bool::Valid(instance))),
            "valid_union" => right()?.union().map(|(place, _)| Expression::Bool(Bool::ValidUnion(place))),
            "d2b" => Ok(Expression::Bool(Bool::Truth(right()?.data()?))),
            "b2d" => Ok(Expression::Data(Data::Flag(Box::new(right()?.condition()?)), false)),
            "?" => self.choose(value, left()?, right()?),
            "two_comp_mod" => Ok(Expression::Data(Data::Signed(Box::new(left()?.data()?), width(right()?)?), true)),
            "usat_cast" | "sat_cast" => {
                let (value, from_signed) = left()?.number()?;
                let (value, width, to_signed) = (Box::new(value), width(right()?)?, op == "sat_cast");
                Ok(Expression::Data(Data::Saturated { value, from_signed, width, to_signed }, to_signed))
            }
            "dereference_stack" | "dereference_header_stack" => match left()? {
                Expression::Stack(stack) => {
                    let kind = self.layout.headers[self.layout.stacks[stack][0]].kind;
                    Ok(Expression::Header(Instance::InStack(stack, right()?.data()?), kind))
                }
                other => Err(format!("expected a header stack, came {}", other.what())),
            },
            "dereference_union_stack" => match left()? {
                Expression::UnionStack(stack) => {
                    let place = UnionPlace::InStack(stack, right()?.data()?);
                    Ok(Expression::Union(place, self.layout.union_stacks[stack][0]))
                }
                other => Err(format!("expected a stack of unions, came {}", other.what())),
            },
            "last_stack_index" | "size_stack" => match right()? {
                Expression::Stack(stack) if op == "size_stack" => Ok(Expression::Data(Data::Count(stack), false)),
                Expression::Stack(stack) => Ok(Expression::Data(Data::LastIndex(stack), true)),
                other => Err(format!("expected a header stack, came {}", other.what())),
            },
            "access_field" => self.access_field(left()?, get(value, "right")),
            "access_union_header" => {
                let (place, example) = left()?.union()?;
                let members = &self.layout.unions[example];
                let member = get(value, "right").as_u64().and_then(|member| usize::try_from(member).ok());
                let member = member.filter(|member| *member < members.len());
                let member = member.ok_or_else(|| format!("'{op}': expected a member's number"))?;
                Ok(Expression::Header(Instance::InUnion(place, member), self.layout.headers[members[member]].kind))
            }
            _ => Err(format!("unknown operation '{op:.40}'")),
        }
    }

    fn access_field(&self, header: Expression, right: &Value) -> Result<Expression, Problem> {
        let (instance, kind) = header.header()?;
        let example = self.layout.headers.iter().find(|header| header.kind == kind);
        let example = example.ok_or("a header type without headers")?;
        let field = right.as_u64().and_then(|field| usize::try_from(field).ok());
        let field = field.filter(|field| *field < example.fields);
        let field = field.ok_or_else(|| format!("expected one of {} fields, came {}", example.fields, show(right)))?;
        let known = &self.layout.fields[example.first + field];
        match (known.bytes, instance) {
            (None, Instance::Fixed(id)) => {
                Ok(Expression::Data(Data::Field(self.layout.headers[id].first + field), known.is_signed))
            }
            (None, of) => Ok(Expression::Data(Data::Part { of: Box::new(of), field }, known.is_signed)),
            (Some(_), Instance::Fixed(id)) => {
                Ok(Expression::Bytes(Bytes::Field(self.layout.headers[id].first + field)))
            }
            (Some(_), _) => Err(format!("field '{}' is wider than {CELL_BITS} bits, in a stack", known.name)),
        }
    }

    fn equal(&self, left: Expression, right: Expression) -> Result<Bool, Problem> {
        Ok(match (left, right) {
            (Expression::Header(one, _), Expression::Header(other, _)) => Bool::SameHeader(Box::new((one, other))),
            (Expression::Union(one, a), Expression::Union(other, b)) => {
                if self.layout.union_kinds(a) != self.layout.union_kinds(b) {
                    return Err("expected two unions of one type".to_owned());
                }
                Bool::SameUnion(Box::new((one, other)))
            }
            (Expression::Bytes(one), Expression::Bytes(other)) => Bool::SameBytes(one, other),
            (Expression::Bytes(one), Expression::Data(Data::Const(value), _))
            | (Expression::Data(Data::Const(value), _), Expression::Bytes(one)) => {
                Bool::SameBytes(one, Bytes::Const(value.to_be_bytes().to_vec()))
            }
            (Expression::Bool(one), Expression::Bool(other)) => Bool::Same(Box::new((one, other))),
            (left, right) => Bool::Equal(Box::new((left.data()?, right.data()?))),
        })
    }

    fn choose(&self, value: &Value, left: Expression, right: Expression) -> Result<Expression, Problem> {
        let condition = self.expression(get(value, "cond"))?.condition()?;
        match (left, right) {
            (Expression::Bool(left), Expression::Bool(right)) => {
                Ok(Expression::Bool(Bool::Choose(Box::new((condition, left, right)))))
            }
            (left, right) => {
                let ((left, one), (right, other)) = (left.number()?, right.number()?);
                Ok(Expression::Data(Data::Choose(Box::new((condition, left, right))), one || other))
            }
        }
    }
}

fn constant(text: &str) -> Result<Expression, Problem> {
    let (is_negative, bytes) = hex_bytes(text)?;
    let significant = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    if bytes.len() - significant > 16 && !is_negative {
        return Ok(Expression::Bytes(Bytes::Const(bytes)));
    }
    let (is_negative, value) = hex(text)?;
    Ok(Expression::Data(Data::Const(value), is_negative))
}

/// A constant width in bits.
fn width(expression: Expression) -> Result<u32, Problem> {
    match expression {
        Expression::Data(Data::Const(width @ 1..=128), _) => Ok(u32::try_from(width).expect("at most 128")),
        other => Err(format!("expected a width of 1 to 128 bits, came {other:?}")),
    }
}

fn arithmetic(op: &str, left: Expression, right: Expression) -> Result<Expression, Problem> {
    let ((left, one), (right, other)) = (left.number()?, right.number()?);
    let either = one || other;
    let (op, is_signed) = match op {
        "+" => (Binary::Add, either),
        "-" => (Binary::Subtract, true),
        "*" => (Binary::Multiply, either),
        "/" => (Binary::Divide { is_signed: either }, either),
        "%" => (Binary::Remainder { is_signed: either }, either),
        "<<" => (Binary::ShiftLeft, one),
        ">>" => (Binary::ShiftRight { is_signed: one }, one),
        "&" => (Binary::And, one && other),
        "|" => (Binary::Or, either),
        _ => (Binary::Xor, either),
    };
    Ok(Expression::Data(Data::Binary(op, Box::new((left, right))), is_signed))
}

fn compare(op: &str, left: Expression, right: Expression) -> Result<Expression, Problem> {
    let ((left, one), (right, other)) = (left.number()?, right.number()?);
    let less = match op {
        "<" | ">=" => Bool::Less(Box::new((left, right)), one, other),
        _ => Bool::Less(Box::new((right, left)), other, one),
    };
    Ok(Expression::Bool(if matches!(op, "<=" | ">=") { Bool::Not(Box::new(less)) } else { less }))
}
