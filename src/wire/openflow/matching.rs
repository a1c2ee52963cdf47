//! `ofp_match` of type OXM: an ordered list of field, value, and mask.

use super::Field;

/// One field with the value it must have; where `mask` is given only its 1-bits count.
///
/// Values are right-aligned: a MAC address is the low 48 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchField {
    pub field: Field,
    pub value: u128,
    pub mask: Option<u128>,
}

/// Fields in the order of the wire. Two matches with the same fields in another order are the same flow to a switch:
/// compare [`Match::canonical`] forms.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Match {
    pub fields: Vec<MatchField>,
}

impl Match {
    pub fn any() -> Self {
        Self::default()
    }

    /// Adds an exact field.
    #[must_use]
    pub fn with(mut self, field: Field, value: impl Into<u128>) -> Self {
        self.fields.push(MatchField { field, value: value.into(), mask: None });
        self
    }

    /// Adds a masked field.
    #[must_use]
    pub fn with_masked(mut self, field: Field, value: impl Into<u128>, mask: impl Into<u128>) -> Self {
        self.fields.push(MatchField { field, value: value.into(), mask: Some(mask.into()) });
        self
    }

    /// Sorted by field, all-ones masks dropped, all-zero masks removed, values cut to their masks.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut fields: Vec<_> = self
            .fields
            .iter()
            .filter(|f| f.mask != Some(0))
            .map(|f| match f.mask {
                Some(mask) if mask == f.field.all_ones() => MatchField { mask: None, ..*f },
                Some(mask) => MatchField { value: f.value & mask, ..*f },
                None => *f,
            })
            .collect();
        fields.sort();
        Self { fields }
    }

    pub fn get(&self, field: Field) -> Option<&MatchField> {
        self.fields.iter().find(|f| f.field == field)
    }
}
