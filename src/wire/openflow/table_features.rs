//! Flow tables: TABLE_MOD, their counters, and what each of them can do (section 7.3.5.5).

use bytes::BufMut;

use super::buffer::{Reader, fill_length, pad_to_8, put_text, read_all};
use super::field::{CLASS_EXPERIMENTER, read_header};
use super::{DecodeError, EncodeError, Field};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableMod {
    pub table_id: u8,
    pub config: u32,
}

impl TableMod {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.put_u8(self.table_id);
        out.put_bytes(0, 3);
        out.put_u32(self.config);
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        reader.exactly(8, "16 with its header")?;
        let table_id = reader.u8()?;
        reader.skip(3)?;
        Ok(Self { table_id, config: reader.u32()? })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    pub table_id: u8,
    pub active_count: u32,
    pub lookup_count: u64,
    pub matched_count: u64,
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +---------------+-----------------------------------------------+
//    |     table     |                     zeros                     |
//    +---------------+-----------------------------------------------+
//    |        active count (in a TABLE_MOD: config, the end)         |
//    +---------------------------------------------------------------+
//    |              lookups and matches, 64 bits each ...            |
//    +---------------------------------------------------------------+

impl TableStats {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.table_id);
        out.put_bytes(0, 3);
        out.put_u32(self.active_count);
        out.put_u64(self.lookup_count);
        out.put_u64(self.matched_count);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.need(24)?;
        let table_id = reader.u8()?;
        reader.skip(3)?;
        Ok(Self { table_id, active_count: reader.u32()?, lookup_count: reader.u64()?, matched_count: reader.u64()? })
    }
}

/// What a table can do. Open vSwitch describes all of its tables in over a megabyte: ask only who wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFeatures {
    pub table_id: u8,
    /// At most 31 bytes of text on the wire, padded with zeros.
    pub name: String,
    pub metadata_match: u64,
    pub metadata_write: u64,
    pub config: u32,
    pub max_entries: u32,
    pub properties: Vec<TableProperty>,
}

/// `ofp_table_feature_prop`. Where `miss` is set, the property is that of the table-miss entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableProperty {
    Instructions {
        miss: bool,
        ids: Vec<FeatureId>,
    },
    NextTables {
        miss: bool,
        tables: Vec<u8>,
    },
    WriteActions {
        miss: bool,
        ids: Vec<FeatureId>,
    },
    ApplyActions {
        miss: bool,
        ids: Vec<FeatureId>,
    },
    Match(Vec<OxmId>),
    Wildcards(Vec<OxmId>),
    WriteSetField {
        miss: bool,
        fields: Vec<OxmId>,
    },
    ApplySetField {
        miss: bool,
        fields: Vec<OxmId>,
    },
    Experimenter {
        miss: bool,
        experimenter: u32,
        exp_type: u32,
        data: Vec<u8>,
    },
    /// Any other: what follows its length, as it came.
    Other {
        property_type: u16,
        body: Vec<u8>,
    },
}

/// The type of an instruction or action. Its `data` is empty but for an experimenter's, which starts with the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureId {
    pub kind: u16,
    pub data: Vec<u8>,
}

impl FeatureId {
    pub const fn of(kind: u16) -> Self {
        Self { kind, data: Vec::new() }
    }
}

/// A field's header without its value: what `field.rs` describes, and the experimenter where the class has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OxmId {
    pub header: u32,
    pub experimenter: Option<u32>,
}

impl OxmId {
    /// The field, and whether it may be masked; `None` where its value is too wide for this program.
    pub fn field(self) -> Option<(Field, bool)> {
        let mut bytes = self.header.to_be_bytes().to_vec();
        bytes.extend(self.experimenter.into_iter().flat_map(u32::to_be_bytes));
        let header = read_header(&mut Reader::new(PROPERTY, &bytes)).ok()?;
        header.field.map(|field| (field, header.masked))
    }
}

//     0                   1                   2                   3
//     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//    +-------------------------------+---------------+---------------+
//    |             length            |     table     |     zeros     |
//    +-------------------------------+---------------+---------------+
//    |                             zeros                             |
//    +---------------------------------------------------------------+
//    |                       name, 32 bytes ...                      |
//    +---------------------------------------------------------------+
//    |  metadata that can be matched, that can be written (64 each)  |
//    +---------------------------------------------------------------+
//    |                             config                            |
//    +---------------------------------------------------------------+
//    |                          max entries                          |
//    +-------------------------------+-------------------------------+
//    |         property type         |   length (without padding)    |
//    +-------------------------------+-------------------------------+
//    | instructions, actions: ids of type (16), length (16), data    |
//    | tables: numbers of 8 bits                                     |
//    | fields: headers of 32 or 64 bits                              |
//    | experimenter: experimenter (32), type (32), data              |
//    |   … each with zeros to a multiple of 8                        |
//    +---------------------------------------------------------------+

const TABLE_FEATURES: &str = "table features";
const TABLE_FEATURES_BYTES_MIN: usize = 64;
const NAME_BYTES: usize = 32;
pub(super) const PROPERTY: &str = "table property";
const HEADER_BYTES: usize = 4;

/// `ofp_table_feature_prop_type`; those with a form for the table-miss entry have it at the next number.
mod kind {
    pub(super) const INSTRUCTIONS: u16 = 0;
    pub(super) const NEXT_TABLES: u16 = 2;
    pub(super) const WRITE_ACTIONS: u16 = 4;
    pub(super) const APPLY_ACTIONS: u16 = 6;
    pub(super) const MATCH: u16 = 8;
    pub(super) const WILDCARDS: u16 = 10;
    pub(super) const WRITE_SETFIELD: u16 = 12;
    pub(super) const APPLY_SETFIELD: u16 = 14;
    pub(super) const EXPERIMENTER: u16 = 0xfffe;
}

impl TableFeatures {
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(0);
        out.put_u8(self.table_id);
        out.put_bytes(0, 5);
        put_text(out, &self.name, NAME_BYTES);
        out.put_u64(self.metadata_match);
        out.put_u64(self.metadata_write);
        out.put_u32(self.config);
        out.put_u32(self.max_entries);
        self.properties.iter().try_for_each(|property| property.encode(out))?;
        fill_length(out, TABLE_FEATURES, start, start)
    }

    pub(super) fn decode(list: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = list.structure(TABLE_FEATURES, 0, TABLE_FEATURES_BYTES_MIN, 8)?;
        let mut reader = Reader::new(TABLE_FEATURES, bytes);
        reader.skip(2)?;
        let table_id = reader.u8()?;
        reader.skip(5)?;
        Ok(Self {
            table_id,
            name: reader.text(NAME_BYTES)?,
            metadata_match: reader.u64()?,
            metadata_write: reader.u64()?,
            config: reader.u32()?,
            max_entries: reader.u32()?,
            properties: read_all(&mut reader, TableProperty::decode)?,
        })
    }
}

impl TableProperty {
    /// Its type on the wire.
    pub const fn property_type(&self) -> u16 {
        match self {
            Self::Instructions { miss, .. } => kind::INSTRUCTIONS + *miss as u16,
            Self::NextTables { miss, .. } => kind::NEXT_TABLES + *miss as u16,
            Self::WriteActions { miss, .. } => kind::WRITE_ACTIONS + *miss as u16,
            Self::ApplyActions { miss, .. } => kind::APPLY_ACTIONS + *miss as u16,
            Self::Match(_) => kind::MATCH,
            Self::Wildcards(_) => kind::WILDCARDS,
            Self::WriteSetField { miss, .. } => kind::WRITE_SETFIELD + *miss as u16,
            Self::ApplySetField { miss, .. } => kind::APPLY_SETFIELD + *miss as u16,
            Self::Experimenter { miss, .. } => kind::EXPERIMENTER + *miss as u16,
            Self::Other { property_type, .. } => *property_type,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(self.property_type());
        out.put_u16(0);
        match self {
            Self::Instructions { ids, .. } | Self::WriteActions { ids, .. } | Self::ApplyActions { ids, .. } => {
                ids.iter().try_for_each(|id| id.encode(out))?;
            }
            Self::NextTables { tables, .. } => out.extend_from_slice(tables),
            Self::Match(fields)
            | Self::Wildcards(fields)
            | Self::WriteSetField { fields, .. }
            | Self::ApplySetField { fields, .. } => fields.iter().try_for_each(|field| field.encode(out))?,
            Self::Experimenter { experimenter, exp_type, data, .. } => {
                out.put_u32(*experimenter);
                out.put_u32(*exp_type);
                out.extend_from_slice(data);
            }
            Self::Other { body, .. } => out.extend_from_slice(body),
        }
        fill_length(out, PROPERTY, start + 2, start)?;
        pad_to_8(out, start);
        Ok(())
    }

    fn decode(list: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = list.structure(PROPERTY, 2, HEADER_BYTES, 1)?;
        // What holds the list is a multiple of 8 long, so the padding is there.
        list.skip(bytes.len().next_multiple_of(8) - bytes.len())?;
        let mut reader = Reader::new(PROPERTY, bytes);
        let property_type = reader.u16()?;
        reader.skip(2)?;
        let body = &mut reader;
        let miss = property_type & 1 == 1;
        Ok(match property_type & !1 {
            kind::INSTRUCTIONS => Self::Instructions { miss, ids: read_all(body, FeatureId::decode)? },
            kind::NEXT_TABLES => Self::NextTables { miss, tables: body.rest().to_vec() },
            kind::WRITE_ACTIONS => Self::WriteActions { miss, ids: read_all(body, FeatureId::decode)? },
            kind::APPLY_ACTIONS => Self::ApplyActions { miss, ids: read_all(body, FeatureId::decode)? },
            kind::MATCH if !miss => Self::Match(read_all(body, OxmId::decode)?),
            kind::WILDCARDS if !miss => Self::Wildcards(read_all(body, OxmId::decode)?),
            kind::WRITE_SETFIELD => Self::WriteSetField { miss, fields: read_all(body, OxmId::decode)? },
            kind::APPLY_SETFIELD => Self::ApplySetField { miss, fields: read_all(body, OxmId::decode)? },
            kind::EXPERIMENTER => Self::Experimenter {
                miss,
                experimenter: body.u32()?,
                exp_type: body.u32()?,
                data: body.rest().to_vec(),
            },
            _ => Self::Other { property_type, body: body.rest().to_vec() },
        })
    }
}

impl FeatureId {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u16(self.kind);
        out.put_u16(0);
        out.extend_from_slice(&self.data);
        fill_length(out, PROPERTY, start + 2, start)
    }

    fn decode(list: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(PROPERTY, list.structure(PROPERTY, 2, HEADER_BYTES, 1)?);
        let kind = reader.u16()?;
        reader.skip(2)?;
        Ok(Self { kind, data: reader.rest().to_vec() })
    }
}

impl OxmId {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if (self.header >> 16 == u32::from(CLASS_EXPERIMENTER)) != self.experimenter.is_some() {
            let expected = "an experimenter in class 0xffff and nowhere else";
            return Err(EncodeError::Value { what: PROPERTY, expected, came: self.header.into() });
        }
        out.put_u32(self.header);
        if let Some(experimenter) = self.experimenter {
            out.put_u32(experimenter);
        }
        Ok(())
    }

    fn decode(list: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = list.u32()?;
        let is_experimenter = header >> 16 == u32::from(CLASS_EXPERIMENTER);
        Ok(Self { header, experimenter: if is_experimenter { Some(list.u32()?) } else { None } })
    }
}
