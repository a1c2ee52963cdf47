//! Calculations (hashes and checksums), and lists of fields.

use serde_json::Value;

use super::expression::{Bool, Data, Expression, Names};
use super::json::{Problem, flag, get, hex_bytes, list, number, pair, show, text};
use super::layout::{FieldId, HeaderId, Layout};

/// A hash or checksum over bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// Cyclic redundancy check: width, polynomial, start, what is added at the end, bits reflected.
    Crc {
        width: u32,
        polynomial: u64,
        start: u64,
        end: u64,
        is_reflected: bool,
    },
    /// The Internet's checksum (RFC 1071).
    Checksum,
    /// The first eight bytes as a number.
    Identity,
    Xor16,
    Xor32,
}

impl Algorithm {
    fn load(name: &str) -> Result<Self, Problem> {
        let crc =
            |width, polynomial, start, end, is_reflected| Self::Crc { width, polynomial, start, end, is_reflected };
        Ok(match name {
            "crc8_custom" => crc(8, 0x07, 0, 0, false),
            "crc16" | "crc16_custom" => crc(16, 0x8005, 0, 0, true),
            "crcCCITT" => crc(16, 0x1021, 0xffff, 0, false),
            "crc32" | "crc32_custom" => crc(32, 0x04c1_1db7, 0xffff_ffff, 0xffff_ffff, true),
            "crc64_custom" => crc(64, 0x1b, 0, 0, true),
            "csum16" | "cksum16" => Self::Checksum,
            "identity" => Self::Identity,
            "xor16" => Self::Xor16,
            "xor32" => Self::Xor32,
            unknown => return Err(format!("unknown algorithm '{unknown:.40}'")),
        })
    }
}

/// One part of what a calculation reads.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Field(FieldId),
    /// Right-aligned bytes and how many bits.
    Const(Vec<u8>, u32),
    Header(HeaderId),
    /// What follows the parsed headers.
    Payload,
}

#[derive(Clone, Debug)]
pub(crate) struct Calculation {
    pub(crate) algorithm: Algorithm,
    /// Of a cyclic redundancy check.
    pub(crate) table: Option<Box<[u64; 256]>>,
    pub(crate) inputs: Vec<Input>,
}

impl Calculation {
    pub(crate) fn load(layout: &Layout, item: &Value) -> Result<Self, Problem> {
        let algorithm = Algorithm::load(text(item, "algo")?)?;
        let inputs = list(item, "input")?.iter().map(|item| input(layout, item)).collect::<Result<_, _>>()?;
        Ok(Self { algorithm, table: crate::fabric::p4::machine::crc_table(algorithm), inputs })
    }
}

fn input(layout: &Layout, item: &Value) -> Result<Input, Problem> {
    let value = get(item, "value");
    match get(item, "type").as_str() {
        Some("field") => {
            let (header, field) = pair(value)?;
            layout.field(header, field).map(Input::Field)
        }
        Some("hexstr") => {
            let digits = value.as_str().ok_or_else(|| format!("expected hexadecimal digits, came {}", show(value)))?;
            let bits = number(item, "bitwidth")?;
            let bits = u32::try_from(bits).ok().filter(|bits| *bits <= 1 << 16);
            let bits = bits.ok_or("'bitwidth': expected at most 65536")?;
            let (is_negative, mut bytes) = hex_bytes(digits)?;
            if is_negative {
                return Err(format!("expected a number from 0, came '{digits:.40}'"));
            }
            let long = bits.div_ceil(8) as usize;
            bytes.splice(..0, std::iter::repeat_n(0, long.saturating_sub(bytes.len())));
            bytes.drain(..bytes.len() - long);
            Ok(Input::Const(bytes, bits))
        }
        Some("header") => {
            let name = value.as_str().ok_or_else(|| format!("expected a header's name, came {}", show(value)))?;
            layout.header(name).map(Input::Header)
        }
        Some("payload") => Ok(Input::Payload),
        _ => Err(format!("unknown kind of input {}", show(item))),
    }
}

/// A checksum in a field of a header.
#[derive(Clone, Debug)]
pub(crate) struct Checksum {
    pub(crate) target: FieldId,
    pub(crate) calculation: usize,
    pub(crate) is_verified: bool,
    pub(crate) is_updated: bool,
    pub(crate) condition: Option<Bool>,
}

impl Checksum {
    pub(crate) fn load(names: Names<'_>, calculations: &[String], item: &Value) -> Result<Self, Problem> {
        let (header, field) = pair(get(item, "target"))?;
        let name = text(item, "calculation")?;
        let calculation = calculations.iter().position(|known| known == name);
        let calculation = calculation.ok_or_else(|| format!("there is no calculation '{name}'"))?;
        let condition = match get(item, "if_cond") {
            Value::Null => None,
            condition => Some(names.expression(condition)?.condition()?),
        };
        let or_true = |key| if get(item, key).is_null() { Ok(true) } else { flag(item, key) };
        Ok(Self {
            target: names.layout.cell_field(header, field)?,
            calculation,
            is_verified: or_true("verify")?,
            is_updated: or_true("update")?,
            condition,
        })
    }
}

/// What a copy keeps of the packet's metadata, or a digest tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldList {
    pub(crate) id: u128,
    pub(crate) name: std::sync::Arc<str>,
    pub(crate) elements: Vec<Data>,
}

impl FieldList {
    pub(crate) fn load(names: Names<'_>, item: &Value) -> Result<Self, Problem> {
        let mut elements = Vec::new();
        for element in list(item, "elements")? {
            match names.expression(element)? {
                Expression::Data(data, _) => elements.push(data),
                Expression::Header(super::expression::Instance::Fixed(id), _) => {
                    elements.extend(names.layout.headers[id].fields().map(Data::Field));
                }
                other => return Err(format!("expected a field, came {other:?}")),
            }
        }
        let name = super::json::optional_text(item, "name")?.unwrap_or_default();
        Ok(Self { id: number(item, "id")? as u128, name: name.into(), elements })
    }
}
