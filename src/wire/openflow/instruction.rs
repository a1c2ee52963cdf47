//! Instructions (section 7.2.3).

use bytes::BufMut;

use super::action::{put_actions, read_actions};
use super::buffer::{Reader, fill_length};
use super::{Action, DecodeError, EncodeError};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Instruction {
    GotoTable(u8),
    WriteMetadata {
        metadata: u64,
        mask: u64,
    },
    WriteActions(Vec<Action>),
    ApplyActions(Vec<Action>),
    ClearActions,
    Meter(u32),
    /// Any other, header included, as it came.
    Other(Vec<u8>),
}

impl Instruction {
    /// What a switch does first comes first, empty lists are left out, actions in canonical form: two lists that a switch
    /// treats alike are equal in this form.
    pub fn canonical(list: &[Self]) -> Vec<Self> {
        let mut list: Vec<_> = list
            .iter()
            .filter(
                |one| !matches!(one, Self::ApplyActions(actions) | Self::WriteActions(actions) if actions.is_empty()),
            )
            .map(|one| match one {
                Self::ApplyActions(actions) => Self::ApplyActions(Action::canonical_list(actions)),
                Self::WriteActions(actions) => Self::WriteActions(Action::canonical_list(actions)),
                Self::WriteMetadata { metadata, mask } => {
                    Self::WriteMetadata { metadata: metadata & mask, mask: *mask }
                }
                other => other.clone(),
            })
            .collect();
        list.sort_by_key(Self::execution_order);
        list
    }

    fn execution_order(&self) -> u8 {
        match self {
            Self::Meter(_) => 0,
            Self::ApplyActions(_) => 1,
            Self::ClearActions => 2,
            Self::WriteActions(_) => 3,
            Self::WriteMetadata { .. } => 4,
            Self::GotoTable(_) => 5,
            Self::Other(_) => 6,
        }
    }
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+-------------------------------+
//    |              type             |             length            |
//    +-------------------------------+-------------------------------+
//    | goto: table (8), zeros (24)                                   |
//    | meter: meter (32)                                             |
//    | metadata: zeros (32), metadata (64), mask (64)                |
//    | write, apply: zeros (32), actions; clear: zeros (32)          |
//    +---------------------------------------------------------------+

pub(super) const INSTRUCTION: &str = "instruction";
const GOTO_TABLE: u16 = 1;
const WRITE_METADATA: u16 = 2;
const WRITE_ACTIONS: u16 = 3;
const APPLY_ACTIONS: u16 = 4;
const CLEAR_ACTIONS: u16 = 5;
const METER: u16 = 6;
/// Header without body.
const LENGTH_MIN: usize = 8;
/// Instructions are multiples of this long.
const UNIT: usize = 8;

pub(super) fn put_instructions(out: &mut Vec<u8>, list: &[Instruction]) -> Result<(), EncodeError> {
    list.iter().try_for_each(|one| one.encode(out))
}

pub(super) fn read_instructions(reader: &mut Reader<'_>) -> Result<Vec<Instruction>, DecodeError> {
    let mut list = Vec::new();
    while !reader.is_empty() {
        list.push(Instruction::decode(reader.structure(INSTRUCTION, 2, LENGTH_MIN, UNIT)?)?);
    }
    Ok(list)
}

impl Instruction {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let mut header = |kind: u16| {
            out.put_u16(kind);
            out.put_u16(0);
        };
        match self {
            Self::GotoTable(table) => {
                header(GOTO_TABLE);
                out.put_u8(*table);
                out.put_bytes(0, 3);
            }
            Self::WriteMetadata { metadata, mask } => {
                header(WRITE_METADATA);
                out.put_u32(0);
                out.put_u64(*metadata);
                out.put_u64(*mask);
            }
            Self::WriteActions(actions) | Self::ApplyActions(actions) => {
                header(if matches!(self, Self::WriteActions(_)) { WRITE_ACTIONS } else { APPLY_ACTIONS });
                out.put_u32(0);
                put_actions(out, actions)?;
            }
            Self::ClearActions => {
                header(CLEAR_ACTIONS);
                out.put_u32(0);
            }
            Self::Meter(meter) => {
                header(METER);
                out.put_u32(*meter);
            }
            Self::Other(bytes) => {
                let mut reader = Reader::new(INSTRUCTION, bytes);
                let whole = reader.structure(INSTRUCTION, 2, LENGTH_MIN, UNIT).is_ok() && reader.is_empty();
                if !whole {
                    return Err(EncodeError::Opaque { what: INSTRUCTION });
                }
                out.extend_from_slice(bytes);
                return Ok(());
            }
        }
        fill_length(out, INSTRUCTION, start + 2, start)
    }

    /// `bytes` is one instruction whose length was checked.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(INSTRUCTION, bytes);
        let kind = reader.u16()?;
        reader.skip(2)?;
        Ok(match kind {
            GOTO_TABLE => {
                reader.exactly(4, "8 with its header (goto table)")?;
                Self::GotoTable(reader.u8()?)
            }
            WRITE_METADATA => {
                reader.exactly(20, "24 with its header (write metadata)")?;
                reader.skip(4)?;
                Self::WriteMetadata { metadata: reader.u64()?, mask: reader.u64()? }
            }
            WRITE_ACTIONS => {
                reader.skip(4)?;
                Self::WriteActions(read_actions(&mut reader)?)
            }
            APPLY_ACTIONS => {
                reader.skip(4)?;
                Self::ApplyActions(read_actions(&mut reader)?)
            }
            CLEAR_ACTIONS => {
                reader.exactly(4, "8 with its header (clear actions)")?;
                Self::ClearActions
            }
            METER => {
                reader.exactly(4, "8 with its header (meter)")?;
                Self::Meter(reader.u32()?)
            }
            _ => Self::Other(bytes.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_both_ways() {
        let table: &[(Instruction, &[u8])] = &[
            (Instruction::GotoTable(20), &[0, 1, 0, 8, 20, 0, 0, 0]),
            (
                Instruction::WriteMetadata { metadata: 1, mask: 255 },
                &[0, 2, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 255],
            ),
            (Instruction::ApplyActions(vec![Action::Group(9)]), &[0, 4, 0, 16, 0, 0, 0, 0, 0, 22, 0, 8, 0, 0, 0, 9]),
            (Instruction::WriteActions(vec![]), &[0, 3, 0, 8, 0, 0, 0, 0]),
            (Instruction::ClearActions, &[0, 5, 0, 8, 0, 0, 0, 0]),
            (Instruction::Meter(1), &[0, 6, 0, 8, 0, 0, 0, 1]),
            (Instruction::Other(vec![0, 9, 0, 8, 1, 2, 3, 4]), &[0, 9, 0, 8, 1, 2, 3, 4]),
        ];
        for (instruction, bytes) in table {
            let mut out = Vec::new();
            put_instructions(&mut out, std::slice::from_ref(instruction)).expect("encodes");
            assert_eq!(out, *bytes, "{instruction:?}");
            assert_eq!(read_instructions(&mut Reader::new("test", bytes)), Ok(vec![instruction.clone()]));
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let decode = |bytes: &[u8]| read_instructions(&mut Reader::new("test", bytes)).is_err();
        assert!(decode(&[0, 1, 0, 4]), "shorter than any instruction");
        assert!(decode(&[0, 1, 0, 16, 1, 0, 0, 0]), "longer than what is left");
        assert!(decode(&[0, 1, 0, 0, 1, 0, 0, 0]), "no length at all");
        assert!(decode(&[0, 2, 0, 8, 0, 0, 0, 0]), "metadata without metadata");
        assert!(Instruction::Other(vec![0, 9, 0, 9, 1, 2, 3, 4]).encode(&mut Vec::new()).is_err());
    }
}
