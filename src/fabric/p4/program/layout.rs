//! Headers and their fields: which cell of a packet holds what.

use std::collections::HashMap;

use serde_json::Value;

use super::json::{Place, Problem, flag, get, list, number, optional_list, optional_text, show, text};
use super::{ProgramError, check_size};

pub(crate) type FieldId = usize;
pub(crate) type HeaderId = usize;
pub(crate) type StackId = usize;
pub(crate) type UnionId = usize;

/// Widest field that a cell holds; wider ones are bytes, and only copied and compared.
pub(crate) const CELL_BITS: u32 = 128;
/// Longest field: 64 KiB, more than a frame.
const FIELD_BITS_MAX: u32 = 1 << 19;

/// The value of a field that has so many bits: kept within its width, with its sign.
pub(crate) fn fit(value: u128, width: u32, is_signed: bool) -> u128 {
    if width >= CELL_BITS {
        return value;
    }
    let shift = CELL_BITS - width;
    if is_signed && width > 0 { ((value << shift).cast_signed() >> shift).cast_unsigned() } else { value & ones(width) }
}

/// So many one bits at the low end.
pub(crate) fn ones(width: u32) -> u128 {
    if width >= CELL_BITS { u128::MAX } else { (1 << width) - 1 }
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) header: HeaderId,
    /// In bits. Of a field of variable length: the most that fit.
    pub(crate) width: u32,
    pub(crate) is_signed: bool,
    /// Where its bytes are, if it has no cell. Its cell says how many bits it has now.
    pub(crate) bytes: Option<usize>,
    pub(crate) is_variable: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) kind: usize,
    pub(crate) first: FieldId,
    pub(crate) fields: usize,
    /// Without the field of variable length.
    pub(crate) bits: u32,
    pub(crate) variable: Option<FieldId>,
    pub(crate) is_metadata: bool,
    pub(crate) union: Option<UnionId>,
}

impl Header {
    pub(crate) fn fields(&self) -> std::ops::Range<FieldId> {
        self.first..self.first + self.fields
    }
}

/// Everything that a packet has while it is processed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) fields: Vec<Field>,
    pub(crate) headers: Vec<Header>,
    pub(crate) stacks: Vec<Vec<HeaderId>>,
    pub(crate) unions: Vec<Vec<HeaderId>>,
    pub(crate) union_stacks: Vec<Vec<UnionId>>,
    /// How many fields are bytes.
    pub(crate) bytes: usize,
    header_names: HashMap<String, HeaderId>,
    field_names: HashMap<(HeaderId, String), FieldId>,
    stack_names: HashMap<String, StackId>,
    union_names: HashMap<String, UnionId>,
    union_stack_names: HashMap<String, usize>,
    aliases: HashMap<String, (String, String)>,
}

struct Kind {
    fields: Vec<(String, Option<u32>, bool)>,
    bytes_max: u32,
}

impl Kind {
    fn load(item: &Value) -> Result<Self, Problem> {
        let mut fields = Vec::new();
        for field in list(item, "fields")? {
            let parts = field.as_array().map(Vec::as_slice).unwrap_or_default();
            let (name, width, is_signed) = match parts {
                [Value::String(name), width] => (name, width, false),
                [Value::String(name), width, Value::Bool(is_signed), ..] => (name, width, *is_signed),
                // Some compilers write the flag as 0 or 1.
                [Value::String(name), width, Value::Number(flag), ..] => (name, width, flag.as_u64() != Some(0)),
                _ => return Err(format!("expected a field's name and width, came {}", show(field))),
            };
            let bits = width.as_u64().and_then(|bits| u32::try_from(bits).ok());
            let width = match (width, bits) {
                (Value::String(star), _) if star == "*" => None,
                (_, Some(bits @ 0..=FIELD_BITS_MAX)) => Some(bits),
                _ => return Err(format!("field '{name}': expected a width in bits, came {}", show(width))),
            };
            fields.push((name.clone(), width, is_signed));
        }
        if fields.iter().filter(|(_, width, _)| width.is_none()).count() > 1 {
            return Err("expected at most one field of variable length".to_owned());
        }
        if !get(item, "length_exp").is_null() {
            return Err("'length_exp' (P4-14's variable length) is not supported".to_owned());
        }
        let bytes_max = match get(item, "max_length") {
            Value::Null => 0,
            _ => u32::try_from(number(item, "max_length")?).unwrap_or(u32::MAX).min(FIELD_BITS_MAX / 8),
        };
        Ok(Self { fields, bytes_max })
    }
}

impl Layout {
    pub(crate) fn load(root: &Value) -> Result<Self, ProgramError> {
        let mut layout = Self::default();
        let mut kinds = Vec::new();
        let mut kind_names = HashMap::new();
        for item in list(root, "header_types").at(|| "header_types".to_owned())? {
            let name = text(item, "name").at(|| "header_types".to_owned())?;
            kind_names.insert(name, kinds.len());
            kinds.push(Kind::load(item).at(|| format!("header type '{name}'"))?);
        }
        // Other parts name headers by id.
        let mut ids = HashMap::new();
        for item in list(root, "headers").at(|| "headers".to_owned())? {
            let name = text(item, "name").at(|| "headers".to_owned())?;
            let added = (|| {
                let kind = text(item, "header_type")?;
                let kind = *kind_names.get(kind).ok_or_else(|| format!("there is no header type '{kind}'"))?;
                ids.insert(number(item, "id")?, layout.headers.len());
                layout.add_header(name, kind, &kinds[kind], flag(item, "metadata")?)
            })();
            added.at(|| format!("header '{name}'"))?;
        }
        layout.load_groups(root, &ids)?;
        for item in optional_list(root, "field_aliases").at(|| "field_aliases".to_owned())? {
            match item.as_array().map(Vec::as_slice) {
                Some([Value::String(alias), target]) => {
                    let (header, field) = super::json::pair(target).at(|| format!("field alias '{alias}'"))?;
                    layout.aliases.insert(alias.clone(), (header.to_owned(), field.to_owned()));
                }
                _ => {
                    return Err(format!("expected a name and a field, came {}", show(item)))
                        .at(|| "field_aliases".into());
                }
            }
        }
        Ok(layout)
    }

    fn add_header(&mut self, name: &str, kind: usize, of: &Kind, is_metadata: bool) -> Result<(), Problem> {
        let header = self.headers.len();
        let first = self.fields.len();
        let bits: u32 = of.fields.iter().filter_map(|(_, width, _)| *width).sum();
        check_size("fields", self.fields.len() + of.fields.len(), 1 << 16)?;
        if !bits.is_multiple_of(8) {
            return Err(format!("expected a header of whole bytes, came one of {bits} bits"));
        }
        let mut variable = None;
        for (field, width, is_signed) in &of.fields {
            let id = self.fields.len();
            if width.is_none() {
                variable = Some(id);
            }
            let width_or_most = width.unwrap_or_else(|| (of.bytes_max * 8).saturating_sub(bits));
            let bytes = (width.is_none() || width_or_most > CELL_BITS).then(|| {
                self.bytes += 1;
                self.bytes - 1
            });
            self.fields.push(Field {
                name: field.clone(),
                header,
                width: width_or_most,
                is_signed: *is_signed,
                bytes,
                is_variable: width.is_none(),
            });
            self.field_names.insert((header, field.clone()), id);
        }
        self.header_names.insert(name.to_owned(), header);
        self.headers.push(Header {
            name: name.to_owned(),
            kind,
            first,
            fields: of.fields.len(),
            bits,
            variable,
            is_metadata,
            union: None,
        });
        Ok(())
    }

    /// Stacks, unions and stacks of unions.
    fn load_groups(&mut self, root: &Value, headers: &HashMap<usize, HeaderId>) -> Result<(), ProgramError> {
        let members = |item: &Value, key: &str, ids: &HashMap<usize, usize>| -> Result<Vec<usize>, Problem> {
            let found = list(item, key)?.iter().map(|id| {
                let number = id.as_u64().and_then(|id| usize::try_from(id).ok());
                number.and_then(|id| ids.get(&id).copied()).ok_or_else(|| format!("'{key}': there is no {}", show(id)))
            });
            found.collect()
        };
        for item in optional_list(root, "header_stacks").at(|| "header_stacks".to_owned())? {
            let name = text(item, "name").at(|| "header_stacks".to_owned())?;
            let stack = members(item, "header_ids", headers).at(|| format!("header stack '{name}'"))?;
            if stack.is_empty() || stack.iter().any(|id| self.headers[*id].kind != self.headers[stack[0]].kind) {
                return Err("expected at least one header, all of one type".to_owned())
                    .at(|| format!("header stack '{name}'"));
            }
            self.stack_names.insert(name.to_owned(), self.stacks.len());
            self.stacks.push(stack);
        }
        let mut unions = HashMap::new();
        for item in optional_list(root, "header_unions").at(|| "header_unions".to_owned())? {
            let name = text(item, "name").at(|| "header_unions".to_owned())?;
            let union = members(item, "header_ids", headers).at(|| format!("header union '{name}'"))?;
            for id in &union {
                self.headers[*id].union = Some(self.unions.len());
            }
            unions.insert(number(item, "id").at(|| format!("header union '{name}'"))?, self.unions.len());
            self.union_names.insert(name.to_owned(), self.unions.len());
            self.unions.push(union);
        }
        for item in optional_list(root, "header_union_stacks").at(|| "header_union_stacks".to_owned())? {
            let name = text(item, "name").at(|| "header_union_stacks".to_owned())?;
            let stack = members(item, "header_union_ids", &unions).at(|| format!("header union stack '{name}'"))?;
            if stack.is_empty() || stack.iter().any(|id| self.union_kinds(*id) != self.union_kinds(stack[0])) {
                return Err("expected at least one union, all of one type".to_owned())
                    .at(|| format!("header union stack '{name}'"));
            }
            self.union_stack_names.insert(name.to_owned(), self.union_stacks.len());
            self.union_stacks.push(stack);
        }
        Ok(())
    }

    /// The types of a union's headers.
    pub(crate) fn union_kinds(&self, union: UnionId) -> Vec<usize> {
        self.unions[union].iter().map(|header| self.headers[*header].kind).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Result<HeaderId, Problem> {
        self.header_names.get(name).copied().ok_or_else(|| format!("there is no header '{name}'"))
    }

    pub(crate) fn stack(&self, name: &str) -> Result<StackId, Problem> {
        self.stack_names.get(name).copied().ok_or_else(|| format!("there is no header stack '{name}'"))
    }

    pub(crate) fn union(&self, name: &str) -> Result<UnionId, Problem> {
        self.union_names.get(name).copied().ok_or_else(|| format!("there is no header union '{name}'"))
    }

    pub(crate) fn union_stack(&self, name: &str) -> Result<usize, Problem> {
        self.union_stack_names.get(name).copied().ok_or_else(|| format!("there is no header union stack '{name}'"))
    }

    pub(crate) fn field(&self, header: &str, field: &str) -> Result<FieldId, Problem> {
        let id = self.header(header)?;
        let found = self.field_names.get(&(id, field.to_owned()));
        found.copied().ok_or_else(|| format!("header '{header}' has no field '{field}'"))
    }

    /// A field by the name that the switch knows it by, through the program's aliases.
    pub(crate) fn known_field(&self, header: &str, field: &str) -> Option<FieldId> {
        match self.aliases.get(&format!("{header}.{field}")) {
            Some((header, field)) => self.field(header, field).ok(),
            None => self.field(header, field).ok(),
        }
    }

    /// A field that has a cell.
    pub(crate) fn cell_field(&self, header: &str, field: &str) -> Result<FieldId, Problem> {
        let id = self.field(header, field)?;
        match self.fields[id].bytes {
            None => Ok(id),
            Some(_) => Err(format!("field '{header}.{field}' is wider than {CELL_BITS} bits: it is only copied")),
        }
    }

    pub(crate) fn stack_union_members(&self, stack: usize, member: &str, root: &Value) -> Result<usize, Problem> {
        // The names of a union's members stand with its type, which its instances name.
        let union = self.union_stacks[stack][0];
        let instances = optional_list(root, "header_unions")?;
        let kind = instances.get(union).map_or(Ok(None), |item| optional_text(item, "union_type"))?;
        let kinds = optional_list(root, "header_union_types")?;
        let kind = kinds.iter().find(|item| get(item, "name").as_str() == kind);
        let members = kind.map_or(Ok(&[][..]), |kind| list(kind, "headers"))?;
        let at = members.iter().position(|item| get_first(item) == Some(member));
        at.filter(|at| *at < self.unions[union].len()).ok_or_else(|| format!("the union has no member '{member}'"))
    }
}

fn get_first(item: &Value) -> Option<&str> {
    item.as_array().and_then(|parts| parts.first()).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_within_their_width() {
        let cases = [
            (0x1ff, 8, false, 0xff),
            (0xff, 8, true, u128::MAX),
            (0x7f, 8, true, 0x7f),
            (0x180, 8, true, (-128_i128).cast_unsigned()),
            (u128::MAX, 128, false, u128::MAX),
            (u128::MAX, 127, false, u128::MAX >> 1),
            (5, 0, false, 0),
        ];
        for (value, width, is_signed, expected) in cases {
            assert_eq!(fit(value, width, is_signed), expected, "{value:#x} {width} {is_signed}");
        }
    }
}
