//! Actions: their primitives, compiled.

use serde_json::Value;

use super::expression::{Bool, Bytes, Data, Expression, Instance, Names, UnionPlace};
use super::json::{Problem, get, list, show, text};
use super::layout::{FieldId, HeaderId, Layout, StackId};
use super::{Program, position};

/// Where a number goes.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Field(FieldId),
    Part { of: Instance, field: usize },
    Register { array: usize, index: Data },
}

/// One step of an action (BMv2's "primitive").
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Nothing,
    Assign(Target, Data),
    AssignBytes(FieldId, Bytes),
    AssignHeader(Instance, Instance),
    AssignUnion(UnionPlace, UnionPlace),
    AssignStack(StackId, StackId),
    AssignUnionStack(usize, usize),
    Push(StackId, Data),
    Pop(StackId, Data),
    PushUnions(usize, Data),
    PopUnions(usize, Data),
    Jump(Data),
    JumpIfZero(Data, Data),
    Exit,
    /// A broken assertion gives the packet up (BMv2 ends there).
    Assert(Bool),
    AddHeader(Instance),
    RemoveHeader(Instance),
    Drop,
    Count {
        array: usize,
        index: Data,
    },
    Meter {
        array: usize,
        index: Data,
        result: Target,
    },
    ReadRegister {
        result: Target,
        array: usize,
        index: Data,
    },
    WriteRegister {
        array: usize,
        index: Data,
        value: Data,
    },
    Clone {
        session: Data,
        list: Data,
    },
    Resubmit(Data),
    Recirculate(Data),
    Digest(Data),
    Random {
        result: Target,
        low: Data,
        high: Data,
    },
    Hash {
        result: Target,
        base: Data,
        calculation: usize,
        size: Data,
    },
    Truncate(Data),
}

/// The arguments of one primitive.
struct Arguments<'p> {
    names: Names<'p>,
    program: &'p Program,
    op: &'p str,
    items: &'p [Value],
}

impl Arguments<'_> {
    fn item(&self, at: usize) -> Result<&Value, Problem> {
        let op = self.op;
        self.items.get(at).ok_or_else(|| format!("'{op}' takes more than {} parameters", self.items.len()))
    }

    fn expression(&self, at: usize) -> Result<Expression, Problem> {
        let expression = self.names.expression(self.item(at)?);
        expression.map_err(|problem| format!("'{}', parameter {at}: {problem}", self.op))
    }

    fn data(&self, at: usize) -> Result<Data, Problem> {
        self.expression(at)?.data()
    }

    fn header(&self, at: usize) -> Result<(Instance, usize), Problem> {
        self.expression(at)?.header()
    }

    fn target(&self, at: usize) -> Result<Target, Problem> {
        match self.data(at)? {
            Data::Field(field) => Ok(Target::Field(field)),
            Data::Part { of, field } => Ok(Target::Part { of: *of, field }),
            Data::Register { array, index } => Ok(Target::Register { array, index: *index }),
            other => Err(format!("'{}', parameter {at}: expected a field, came {other:?}", self.op)),
        }
    }

    fn name(&self, at: usize) -> Result<&str, Problem> {
        text(self.item(at)?, "value")
    }

    fn register(&self) -> impl Fn(usize) -> Result<usize, Problem> {
        |at| position(&self.program.registers, "register array", self.name(at)?)
    }

    fn counter(&self, at: usize) -> Result<usize, Problem> {
        position(&self.program.counters, "counter array", self.name(at)?)
    }

    fn meter(&self, at: usize) -> Result<usize, Problem> {
        let name = self.name(at)?;
        let found = self.program.meters.iter().position(|meter| &*meter.name == name);
        found.ok_or_else(|| format!("there is no meter array '{name}'"))
    }

    fn calculation(&self, at: usize) -> Result<usize, Problem> {
        self.program.calculation(self.name(at)?)
    }

    /// P4-14's `x op= y` and `z = x op y`.
    fn arithmetic(&self, op: &str, is_in_place: bool) -> Result<Op, Problem> {
        let (left, right) = if is_in_place { (0, 1) } else { (1, 2) };
        let value = serde_json::json!({ "op": op, "left": self.item(left)?, "right": self.item(right)? });
        let value = self.names.expression(&serde_json::json!({ "type": "expression", "value": value }))?;
        Ok(Op::Assign(self.target(0)?, value.data()?))
    }

    fn assign(&self) -> Result<Op, Problem> {
        match (self.expression(0)?, self.expression(1)?) {
            (Expression::Bytes(Bytes::Field(to)), Expression::Bytes(from)) => Ok(Op::AssignBytes(to, from)),
            (Expression::Bytes(Bytes::Field(to)), Expression::Data(Data::Const(value), _)) => {
                Ok(Op::AssignBytes(to, Bytes::Const(value.to_be_bytes().to_vec())))
            }
            (Expression::Bytes(_), _) => Err("a field wider than 128 bits is only copied".to_owned()),
            (_, value) => Ok(Op::Assign(self.target(0)?, value.data()?)),
        }
    }

    fn assign_header(&self) -> Result<Op, Problem> {
        let ((to, one), (from, other)) = (self.header(0)?, self.header(1)?);
        if one != other {
            return Err("expected two headers of one type".to_owned());
        }
        Ok(Op::AssignHeader(to, from))
    }

    fn assign_groups(&self) -> Result<Op, Problem> {
        let layout = self.names.layout;
        let kinds = |stack: StackId| -> Vec<usize> {
            layout.stacks[stack].iter().map(|header| layout.headers[*header].kind).collect()
        };
        let union_kinds = |stack: usize| -> Vec<Vec<usize>> {
            layout.union_stacks[stack].iter().map(|union| layout.union_kinds(*union)).collect()
        };
        match (self.expression(0)?, self.expression(1)?) {
            (Expression::Union(to, a), Expression::Union(from, b))
                if layout.union_kinds(a) == layout.union_kinds(b) =>
            {
                Ok(Op::AssignUnion(to, from))
            }
            (Expression::Stack(to), Expression::Stack(from)) if kinds(to) == kinds(from) => {
                Ok(Op::AssignStack(to, from))
            }
            (Expression::UnionStack(to), Expression::UnionStack(from)) if union_kinds(to) == union_kinds(from) => {
                Ok(Op::AssignUnionStack(to, from))
            }
            (to, from) => Err(format!("expected two unions or stacks of one type, came {to:?} and {from:?}")),
        }
    }

    fn push_or_pop(&self) -> Result<Op, Problem> {
        let count = self.data(1)?;
        match (self.expression(0)?, self.op) {
            (Expression::Stack(stack), "push") => Ok(Op::Push(stack, count)),
            (Expression::Stack(stack), _) => Ok(Op::Pop(stack, count)),
            (Expression::UnionStack(stack), "push") => Ok(Op::PushUnions(stack, count)),
            (Expression::UnionStack(stack), _) => Ok(Op::PopUnions(stack, count)),
            _ => Err(format!("expected a stack, came {}", show(self.item(0)?))),
        }
    }

    fn compile(&self) -> Result<Op, Problem> {
        let register = self.register();
        Ok(match self.op {
            "assign" | "modify_field" | "assign_VL" => self.assign()?,
            "assign_header" | "copy_header" => self.assign_header()?,
            "assign_union" | "assign_header_stack" | "assign_union_stack" => self.assign_groups()?,
            "push" | "pop" => self.push_or_pop()?,
            "_jump" => Op::Jump(self.data(0)?),
            "_jump_if_zero" => Op::JumpIfZero(self.data(0)?, self.data(1)?),
            "exit" => Op::Exit,
            "assert" | "assume" => Op::Assert(self.expression(0)?.condition()?),
            "log_msg" | "no_op" => Op::Nothing,
            "add_header" | "add_header_fast" => Op::AddHeader(self.header(0)?.0),
            "remove_header" => Op::RemoveHeader(self.header(0)?.0),
            "drop" | "mark_to_drop" => Op::Drop,
            "count" => Op::Count { array: self.counter(0)?, index: self.data(1)? },
            "execute_meter" => Op::Meter { array: self.meter(0)?, index: self.data(1)?, result: self.target(2)? },
            "register_read" => Op::ReadRegister { result: self.target(0)?, array: register(1)?, index: self.data(2)? },
            "register_write" => Op::WriteRegister { array: register(0)?, index: self.data(1)?, value: self.data(2)? },
            "clone_ingress_pkt_to_egress" | "clone_egress_pkt_to_egress" => {
                Op::Clone { session: self.data(0)?, list: self.data(1)? }
            }
            "resubmit" => Op::Resubmit(self.data(0)?),
            "recirculate" => Op::Recirculate(self.data(0)?),
            "generate_digest" => Op::Digest(self.data(1)?),
            "modify_field_rng_uniform" => {
                Op::Random { result: self.target(0)?, low: self.data(1)?, high: self.data(2)? }
            }
            "modify_field_with_hash_based_offset" => Op::Hash {
                result: self.target(0)?,
                base: self.data(1)?,
                calculation: self.calculation(2)?,
                size: self.data(3)?,
            },
            "truncate" => Op::Truncate(self.data(0)?),
            "add_to_field" => self.arithmetic("+", true)?,
            "subtract_from_field" => self.arithmetic("-", true)?,
            "add" => self.arithmetic("+", false)?,
            "subtract" => self.arithmetic("-", false)?,
            "bit_xor" => self.arithmetic("^", false)?,
            "bit_or" => self.arithmetic("|", false)?,
            "bit_and" => self.arithmetic("&", false)?,
            "shift_left" => self.arithmetic("<<", false)?,
            "shift_right" => self.arithmetic(">>", false)?,
            unknown => return Err(format!("unknown primitive '{unknown:.80}'")),
        })
    }
}

/// Compiles one primitive of an action with so many parameters.
pub(crate) fn primitive(program: &Program, parameters: usize, item: &Value) -> Result<Op, Problem> {
    let names = Names { layout: &program.layout, registers: &program.registers, parameters };
    Arguments { names, program, op: text(item, "op")?, items: list(item, "parameters")? }.compile()
}

/// The header with the fields that a switch sets and reads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standard {
    pub(crate) ingress_port: FieldId,
    pub(crate) packet_length: FieldId,
    pub(crate) instance_type: FieldId,
    pub(crate) egress_spec: FieldId,
    pub(crate) egress_port: FieldId,
    pub(crate) parser_error: Option<FieldId>,
    pub(crate) checksum_error: Option<FieldId>,
    pub(crate) ingress_time: Option<FieldId>,
    pub(crate) egress_time: Option<FieldId>,
    pub(crate) multicast: Option<FieldId>,
    pub(crate) instance: Option<FieldId>,
    pub(crate) enqueued: Option<FieldId>,
}

impl Standard {
    pub(crate) fn load(layout: &Layout) -> Result<Self, Problem> {
        let known = |header: &str, field: &str| {
            let id = layout.known_field(header, field);
            id.filter(|id| layout.fields[*id].bytes.is_none())
        };
        let needed =
            |field| known("standard_metadata", field).ok_or_else(|| format!("there is no 'standard_metadata.{field}'"));
        Ok(Self {
            ingress_port: needed("ingress_port")?,
            packet_length: needed("packet_length")?,
            instance_type: needed("instance_type")?,
            egress_spec: needed("egress_spec")?,
            egress_port: needed("egress_port")?,
            parser_error: known("standard_metadata", "parser_error"),
            checksum_error: known("standard_metadata", "checksum_error"),
            ingress_time: known("intrinsic_metadata", "ingress_global_timestamp"),
            egress_time: known("intrinsic_metadata", "egress_global_timestamp"),
            multicast: known("intrinsic_metadata", "mcast_grp"),
            instance: known("intrinsic_metadata", "egress_rid"),
            enqueued: known("queueing_metadata", "enq_timestamp"),
        })
    }
}

/// The headers that a deparser puts before the payload.
pub(crate) fn deparser_order(layout: &Layout, item: &Value) -> Result<Vec<HeaderId>, Problem> {
    if !get(item, "primitives").as_array().is_none_or(Vec::is_empty) {
        return Err("calls in a deparser are not supported".to_owned());
    }
    let names = list(item, "order")?.iter().map(|name| {
        let name = name.as_str().ok_or_else(|| format!("'order': expected a header's name, came {}", show(name)))?;
        layout.header(name)
    });
    names.collect()
}
