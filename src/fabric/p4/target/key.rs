//! Match keys and actions: from messages to checked values and back (specification, "Match Format", "Action Specification").

use super::refusal::{Behaviour, Outcome, Refusal};
use super::schema::{Field, MatchKind, Schema, Scope, Table};
pub(super) use crate::fabric::p4::machine::control::{Key, Part};
use crate::types::PortNo;
use crate::wire::p4runtime::{canonical, v1};

/// An action with its arguments, in the order of the P4Info.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) action: u32,
    pub(super) arguments: Vec<u128>,
}

/// The port whose life a member depends on, as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Watch {
    #[default]
    Nothing,
    /// The older form.
    Number(i32),
    Port(Vec<u8>),
}

impl Watch {
    /// BMv2 takes what is no port number as "nothing".
    pub(super) fn port(&self) -> Option<PortNo> {
        match self {
            Self::Nothing => None,
            Self::Number(number) => u32::try_from(*number).ok().filter(|number| *number != 0).map(PortNo),
            // Longer than a port number, whatever the bytes: BMv2 stops there.
            Self::Port(bytes) if bytes.len() > 4 => None,
            Self::Port(bytes) => {
                let value = canonical::decode(bytes, 32).ok()?;
                u32::try_from(value).ok().filter(|number| *number != 0).map(PortNo)
            }
        }
    }
}

/// One action of a one-shot set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Weighted {
    pub(super) call: Call,
    pub(super) weight: u32,
    pub(super) watch: Watch,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Call(Call),
    Member(u32),
    Group(u32),
    Set(Vec<Weighted>),
}

/// Reads a bytestring; BMv2 takes an empty one as 0.
pub(super) fn number(bytes: &[u8], width: u32, behaviour: Behaviour) -> Outcome<u128> {
    if bytes.is_empty() && behaviour == Behaviour::Bmv2 {
        return Ok(0);
    }
    canonical::decode(bytes, width).map_err(|error| match behaviour {
        Behaviour::Bmv2 => Refusal::invalid(format!("Bytestring provided does not fit within {width} bits")),
        Behaviour::Specification => Refusal::new(tonic::Code::OutOfRange, error.to_string()),
    })
}

fn all_ones(width: u32) -> u128 {
    if width >= 128 { u128::MAX } else { (1 << width) - 1 }
}

/// The mask of a prefix.
fn prefix_mask(width: u32, prefix: u32) -> u128 {
    all_ones(width) & !all_ones(width - prefix.min(width))
}

/// The key of an entry that is not the default one.
pub(super) fn read_key(table: &Table, entry: &v1::TableEntry, behaviour: Behaviour) -> Outcome<Key> {
    if entry.r#match.len() > table.fields.len() {
        return Err(Refusal::invalid("Too many fields in match key"));
    }
    let mut parts = Vec::with_capacity(table.fields.len());
    let mut used = 0;
    for field in &table.fields {
        let given = entry.r#match.iter().find(|given| given.field_id == field.id);
        used += usize::from(given.is_some());
        parts.push(match given {
            Some(given) => read_part(field, given, behaviour)?,
            None => missing_part(field)?,
        });
    }
    if used != entry.r#match.len() {
        return Err(Refusal::invalid("Unknown field in match key"));
    }
    match (table.has_priorities(), entry.priority) {
        (false, 1..) => Err(Refusal::invalid("Non-zero priority for non-ternary match")),
        (true, 0) => Err(Refusal::invalid("Zero priority for ternary match")),
        (_, priority) if priority < 0 => Err(Refusal::invalid("Negative priority")),
        (_, priority) => Ok(Key { parts, priority }),
    }
}

/// Fields that match everything are left out.
pub(super) fn write_key(key: &Key, table: &Table) -> Vec<v1::FieldMatch> {
    use v1::field_match::{Exact, FieldMatchType, Lpm, Optional, Range, Ternary};
    let bytes = canonical::encode;
    let fields = table.fields.iter().zip(&key.parts);
    fields
        .filter_map(|(field, part)| {
            let field_match_type = match part {
                Part::Exact(value) => FieldMatchType::Exact(Exact { value: bytes(*value) }),
                Part::Lpm { prefix: 0, .. } | Part::Ternary { mask: 0, .. } | Part::Optional(None) => return None,
                Part::Lpm { value, prefix } => {
                    FieldMatchType::Lpm(Lpm { value: bytes(*value), prefix_len: prefix.cast_signed() })
                }
                Part::Ternary { value, mask } => {
                    FieldMatchType::Ternary(Ternary { value: bytes(*value), mask: bytes(*mask) })
                }
                Part::Range { low: 0, high } if *high == all_ones(field.width) => return None,
                Part::Range { low, high } => FieldMatchType::Range(Range { low: bytes(*low), high: bytes(*high) }),
                Part::Optional(Some(value)) => FieldMatchType::Optional(Optional { value: bytes(*value) }),
            };
            Some(v1::FieldMatch { field_id: field.id, field_match_type: Some(field_match_type) })
        })
        .collect()
}

fn read_part(field: &Field, given: &v1::FieldMatch, behaviour: Behaviour) -> Outcome<Part> {
    use v1::field_match::FieldMatchType as Type;
    let width = field.width;
    let number = |bytes: &[u8]| number(bytes, width, behaviour);
    match (field.kind, &given.field_match_type) {
        (MatchKind::Exact, Some(Type::Exact(exact))) => Ok(Part::Exact(number(&exact.value)?)),
        (MatchKind::Lpm, Some(Type::Lpm(lpm))) => {
            let value = number(&lpm.value)?;
            let prefix = match u32::try_from(lpm.prefix_len) {
                Err(_) => return Err(Refusal::invalid("Prefix length cannot be < 0")),
                Ok(prefix) if prefix > width => return Err(Refusal::invalid("Prefix length cannot be > bitwidth")),
                Ok(0) => {
                    return Err(dont_care(
                        "LPM",
                        "a prefix length of 0",
                        behaviour.pick("reprsentation", "representation"),
                    ));
                }
                Ok(prefix) => prefix,
            };
            if value & !prefix_mask(width, prefix) != 0 {
                return Err(Refusal::invalid("Invalid LPM value, incorrect number of trailing zeros"));
            }
            Ok(Part::Lpm { value, prefix })
        }
        (MatchKind::Ternary, Some(Type::Ternary(ternary))) => {
            let (value, mask) = (number(&ternary.value)?, number(&ternary.mask)?);
            if mask == 0 {
                return Err(dont_care("ternary", "0 mask", "representation"));
            }
            if value & mask != value {
                return Err(Refusal::invalid("Invalid ternary value, make sure value & mask == value"));
            }
            Ok(Part::Ternary { value, mask })
        }
        (MatchKind::Range, Some(Type::Range(range))) => {
            let (low, high) = (number(&range.low)?, number(&range.high)?);
            // BMv2 looks at the bytes: a canonical 0 is shorter than the highest value, and passes.
            let is_whole = match behaviour {
                Behaviour::Bmv2 => low == 0 && range.high == vec![0xff; range.low.len()],
                Behaviour::Specification => low == 0 && high == all_ones(width),
            };
            if is_whole {
                return Err(dont_care("range", "low=0 and high=2**bitwidth-1", "representation"));
            }
            if low > high {
                return Err(Refusal::invalid("Invalid range value, make sure low <= high"));
            }
            Ok(Part::Range { low, high })
        }
        (MatchKind::Optional, Some(Type::Optional(optional))) => Ok(Part::Optional(Some(number(&optional.value)?))),
        _ => Err(Refusal::invalid("Invalid match type")),
    }
}

/// One of BMv2's messages has a slip, which is kept.
fn dont_care(kind: &str, instead_of: &str, representation: &str) -> Refusal {
    Refusal::invalid(format!(
        "Invalid {representation} of 'don't care' {kind} match, omit match field instead of using {instead_of}"
    ))
}

fn missing_part(field: &Field) -> Outcome<Part> {
    match field.kind {
        MatchKind::Exact => Err(Refusal::invalid("Missing non-ternary field in match key")),
        MatchKind::Lpm => Ok(Part::Lpm { value: 0, prefix: 0 }),
        MatchKind::Ternary => Ok(Part::Ternary { value: 0, mask: 0 }),
        MatchKind::Range => Ok(Part::Range { low: 0, high: all_ones(field.width) }),
        MatchKind::Optional => Ok(Part::Optional(None)),
    }
}

impl Call {
    /// An action whose id is known to be one that may stand here.
    pub(super) fn read(schema: &Schema, action: &v1::Action, behaviour: Behaviour) -> Outcome<Self> {
        let known = Schema::find(&schema.actions, action.action_id, "action", behaviour)?;
        if action.params.len() != known.params.len() {
            return Err(Refusal::invalid("Unexpected number of action parameters"));
        }
        let mut arguments = vec![None; known.params.len()];
        for param in &action.params {
            let at = known.params.iter().position(|(id, _)| *id == param.param_id);
            let at = at.ok_or_else(|| Refusal::invalid("Unknown action parameter"))?;
            arguments[at] = Some(number(&param.value, known.params[at].1, behaviour)?);
        }
        let arguments: Option<Vec<u128>> = arguments.into_iter().collect();
        let arguments = arguments.ok_or_else(|| Refusal::invalid("A parameter is given twice, another is missing"))?;
        Ok(Self { action: action.action_id, arguments })
    }

    pub(super) fn write(&self, schema: &Schema) -> v1::Action {
        let params = schema.actions.get(&self.action).map_or(&[][..], |action| &action.params);
        let params = params
            .iter()
            .zip(&self.arguments)
            .map(|((id, _), value)| v1::action::Param { param_id: *id, value: canonical::encode(*value) })
            .collect();
        v1::Action { action_id: self.action, params }
    }
}

/// Whether an action may stand in an entry, or be the default action, of a direct table.
pub(super) fn check_action(
    schema: &Schema,
    table: &Table,
    action: u32,
    is_default: bool,
    behaviour: Behaviour,
) -> Outcome {
    if !schema.actions.contains_key(&action) {
        return Err(Refusal::invalid(behaviour.pick("Invalid P4 id", "Invalid action id")));
    }
    match table.actions.get(&action) {
        None => Err(Refusal::invalid("Invalid action for table")),
        Some(Scope::EntriesOnly) if is_default => {
            Err(Refusal::new(tonic::Code::PermissionDenied, "Cannot use TABLE_ONLY action as default action"))
        }
        Some(Scope::DefaultOnly) if !is_default => {
            Err(Refusal::new(tonic::Code::PermissionDenied, "Cannot use DEFAULT_ONLY action in table entry"))
        }
        Some(_) => Ok(()),
    }
}
