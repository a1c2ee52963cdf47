//! The named types of a P4Info, followed as far as widths need it.

use super::entities::Parameter;
use crate::wire::p4runtime::config::{
    P4BitstringLikeTypeSpec, P4DataTypeSpec, P4Info, P4NamedType, P4TypeInfo, p4_bitstring_like_type_spec,
    p4_data_type_spec, p4_new_type_spec, p4_new_type_translation,
};

/// Types made of types made of types; more is a circle.
const DEPTH_MAX: usize = 16;

/// All named types of a program.
pub(super) struct Types(P4TypeInfo);

impl Types {
    pub(super) fn new(source: &P4Info) -> Self {
        Self(source.type_info.clone().unwrap_or_default())
    }

    /// Whether values of a field with this type are strings to clients.
    pub(super) fn travels_as_string(&self, named: Option<&P4NamedType>) -> Result<bool, String> {
        let Some(P4NamedType { name }) = named else { return Ok(false) };
        let Self(types) = self;
        let known = types.new_types.contains_key(name)
            || types.serializable_enums.contains_key(name)
            || types.enums.contains_key(name)
            || types.headers.contains_key(name)
            || types.structs.contains_key(name);
        if !known {
            return Err(format!("has type '{name}', which the P4Info does not describe"));
        }
        Ok(matches!(self.width_of_new(name, DEPTH_MAX), Ok(Some(0))))
    }

    /// Names and widths of what a value is made of; empty where a member is anything but a bit string.
    pub(super) fn members(&self, spec: &P4DataTypeSpec) -> Result<Vec<Parameter>, String> {
        use p4_data_type_spec::TypeSpec;
        let Some(TypeSpec::Struct(P4NamedType { name })) = &spec.type_spec else {
            let width = self.width(spec, DEPTH_MAX)?;
            return Ok(width
                .map(|width_bits| Parameter { id: 1, name: String::new(), width_bits })
                .into_iter()
                .collect());
        };
        let Some(spec) = self.0.structs.get(name) else { return Err(unknown("struct", name)) };
        let mut members = Vec::new();
        for (id, member) in (1..).zip(&spec.members) {
            let Some(width_bits) = self.width(&member.type_spec.clone().unwrap_or_default(), DEPTH_MAX)? else {
                return Ok(Vec::new());
            };
            members.push(Parameter { id, name: member.name.clone(), width_bits });
        }
        Ok(members)
    }

    /// In bits; 0 for strings, `None` for what is no bit string.
    fn width(&self, spec: &P4DataTypeSpec, depth: usize) -> Result<Option<u32>, String> {
        use p4_data_type_spec::TypeSpec;
        match &spec.type_spec {
            None => Err("has no type".to_owned()),
            Some(TypeSpec::Bitstring(bits)) => bit_width(bits),
            Some(TypeSpec::NewType(P4NamedType { name })) => self.width_of_new(name, depth),
            Some(_) => Ok(None),
        }
    }

    fn width_of_new(&self, name: &str, depth: usize) -> Result<Option<u32>, String> {
        use p4_new_type_spec::Representation;
        use p4_new_type_translation::SdnType;
        let Some(depth) = depth.checked_sub(1) else {
            return Err(format!("has type '{name}', which is made of itself"));
        };
        match self.0.new_types.get(name).map(|spec| &spec.representation) {
            None => Err(unknown("new type", name)),
            Some(None) => Err(format!("has type '{name}' without representation")),
            Some(Some(Representation::OriginalType(spec))) => self.width(spec, depth),
            Some(Some(Representation::TranslatedType(translation))) => match &translation.sdn_type {
                Some(SdnType::SdnBitwidth(width)) => positive(*width).map(Some),
                Some(SdnType::SdnString(_)) => Ok(Some(0)),
                None => Err(format!("has type '{name}' without translation")),
            },
        }
    }
}

fn bit_width(spec: &P4BitstringLikeTypeSpec) -> Result<Option<u32>, String> {
    use p4_bitstring_like_type_spec::TypeSpec;
    match &spec.type_spec {
        Some(TypeSpec::Bit(bit)) => positive(bit.bitwidth).map(Some),
        Some(TypeSpec::Int(int)) => positive(int.bitwidth).map(Some),
        Some(TypeSpec::Varbit(_)) => Ok(None),
        None => Err("has a bit string type without width".to_owned()),
    }
}

fn positive(width: i32) -> Result<u32, String> {
    let wide = u32::try_from(width).ok().filter(|width| *width > 0);
    wide.ok_or_else(|| format!("has a type of {width} bits; expected at least 1"))
}

fn unknown(kind: &str, name: &str) -> String {
    format!("has {kind} '{name}', which the P4Info does not describe")
}
