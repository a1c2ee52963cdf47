//! Counters, meters and registers, by index and of table entries (specification, "CounterEntry", "MeterEntry",
//! "RegisterEntry").

use tonic::Code;

use super::plane::Plane;
use super::refusal::{Behaviour, Outcome, Refusal};
use super::schema::Array;
use crate::wire::p4runtime::{canonical, v1};

/// Cells of an array that a request means: one, or all where it gives no index.
fn cells(
    array: &Array,
    index: Option<&v1::Index>,
    unknown: &str,
    behaviour: Behaviour,
) -> Outcome<std::ops::Range<usize>> {
    let Some(index) = index else { return Ok(0..array.size) };
    let at = usize::try_from(index.index);
    let at = at.map_err(|_| Refusal::invalid("A negative number is not a valid index value"))?;
    if at < array.size {
        return Ok(at..at + 1);
    }
    Err(match behaviour {
        Behaviour::Bmv2 => self::unknown(unknown),
        Behaviour::Specification => {
            let message = format!("'{}' has {} cells, expected an index below it, came {at}", array.name, array.size);
            Refusal::new(Code::OutOfRange, message)
        }
    })
}

/// Only MODIFY makes sense; BMv2 takes DELETE of a counter as setting it to zero.
fn only_modify(update: v1::update::Type, what: &str) -> Outcome {
    match update {
        v1::update::Type::Modify => Ok(()),
        v1::update::Type::Unspecified => Err(Refusal::invalid("Update type is not set")),
        v1::update::Type::Insert => Err(Refusal::invalid(format!("INSERT update type not supported for {what}"))),
        v1::update::Type::Delete => Err(Refusal::invalid(format!("DELETE update type not supported for {what}"))),
    }
}

pub(super) fn write_counter(
    array: &Array,
    plane: &mut Plane,
    update: v1::update::Type,
    entry: &v1::CounterEntry,
    behaviour: Behaviour,
) -> Outcome {
    if entry.index.is_none() && behaviour == Behaviour::Bmv2 {
        return Err(unimplemented("Wildcard write is not supported for indirect counters yet"));
    }
    let zero = v1::CounterData::default();
    let data = match (update, behaviour) {
        (v1::update::Type::Delete, Behaviour::Bmv2) => Some(zero),
        (update, behaviour) => {
            // A negative index is told before a wrong type.
            cells(array, entry.index.as_ref(), "Error when writing to counter", behaviour)?;
            only_modify(update, "counters")?;
            behaviour.pick(Some(entry.data.unwrap_or(zero)), entry.data)
        }
    };
    for index in cells(array, entry.index.as_ref(), "Error when writing to counter", behaviour)? {
        if let Some(data) = &data {
            let data = with_unit(plane.counter(&array.name, index), *data, array.unit);
            plane.set_counter(&array.name, index, &data).map_err(|_| unknown("Error when writing to counter"))?;
        }
    }
    Ok(())
}

pub(super) fn read_counter(
    array: &Array,
    plane: &Plane,
    index: Option<&v1::Index>,
    behaviour: Behaviour,
    out: &mut Vec<v1::CounterEntry>,
) -> Outcome {
    let cells = cells(array, index, "Error when reading counter from target", behaviour);
    if let (Err(_), Behaviour::Bmv2, Some(index)) = (&cells, behaviour, index.filter(|index| index.index >= 0)) {
        // It answers with what was asked for, and then with the error.
        out.push(v1::CounterEntry { counter_id: array.id, index: Some(*index), data: None });
    }
    let cells = cells?;
    out.extend(cells.map(|index| v1::CounterEntry {
        counter_id: array.id,
        index: Some(v1::Index { index: index.cast_signed() as i64 }),
        data: Some(of_unit(plane.counter(&array.name, index), array.unit, behaviour)),
    }));
    Ok(())
}

/// BMv2 counts packets and bytes, whatever the program asked for.
pub(super) fn of_unit(data: v1::CounterData, unit: i32, behaviour: Behaviour) -> v1::CounterData {
    match behaviour {
        Behaviour::Bmv2 => data,
        Behaviour::Specification => with_unit(v1::CounterData::default(), data, unit),
    }
}

/// A value with what the program counts set anew.
pub(super) fn with_unit(old: v1::CounterData, new: v1::CounterData, unit: i32) -> v1::CounterData {
    use crate::wire::p4runtime::config::counter_spec::Unit;
    match Unit::try_from(unit) {
        Ok(Unit::Packets) => v1::CounterData { packet_count: new.packet_count, ..old },
        Ok(Unit::Bytes) => v1::CounterData { byte_count: new.byte_count, ..old },
        _ => new,
    }
}

pub(super) fn check_meter(config: &v1::MeterConfig) -> Outcome {
    let rates = [("CIR", config.cir), ("CBurst", config.cburst), ("PIR", config.pir), ("PBurst", config.pburst)];
    for (name, value) in rates {
        // -1 stands for "always green" since long before the specification.
        if value < -1 {
            return Err(Refusal::invalid(format!("Negative meter {name}")));
        }
    }
    for (name, value) in [("CBurst", config.cburst), ("Pburst", config.pburst)] {
        if value > i64::from(u32::MAX) {
            return Err(unimplemented(&format!("{name} too large")));
        }
    }
    Ok(())
}

pub(super) fn write_meter(
    array: &Array,
    plane: &mut Plane,
    update: v1::update::Type,
    entry: &v1::MeterEntry,
    behaviour: Behaviour,
) -> Outcome {
    if entry.index.is_none() && behaviour == Behaviour::Bmv2 {
        return Err(unimplemented("Wildcard write is not supported for indirect meters yet"));
    }
    let cells = cells(array, entry.index.as_ref(), "Error when writing meter spec", behaviour)?;
    only_modify(update, "meters")?;
    if let Some(config) = &entry.config {
        check_meter(config)?;
    }
    for index in cells {
        let set = plane.set_meter(&array.name, index, entry.config.as_ref());
        set.map_err(|_| unknown("Error when writing meter spec"))?;
    }
    Ok(())
}

pub(super) fn read_meter(
    array: &Array,
    plane: &Plane,
    index: Option<&v1::Index>,
    behaviour: Behaviour,
    out: &mut Vec<v1::MeterEntry>,
) -> Outcome {
    let cells = cells(array, index, "Error when reading meter spec from target", behaviour)?;
    out.extend(cells.map(|index| v1::MeterEntry {
        meter_id: array.id,
        index: Some(v1::Index { index: index.cast_signed() as i64 }),
        config: plane.meter(&array.name, index),
        counter_data: None,
    }));
    Ok(())
}

/// Registers: BMv2 does not let a control plane see them.
pub(super) fn write_register(
    array: &Array,
    plane: &mut Plane,
    update: v1::update::Type,
    entry: &v1::RegisterEntry,
) -> Outcome {
    let cells = cells(array, entry.index.as_ref(), "", Behaviour::Specification)?;
    only_modify(update, "registers")?;
    let value = match entry.data.as_ref().and_then(|data| data.data.as_ref()) {
        Some(v1::p4_data::Data::Bitstring(bytes)) => {
            super::key::number(bytes, array.width.max(1), Behaviour::Specification)?
        }
        None => return Err(Refusal::invalid("expected data for the register")),
        Some(_) => return Err(unimplemented("Only registers of bit strings can be written")),
    };
    for index in cells {
        plane.set_register(&array.name, index, value).map_err(|rejected| unknown(&rejected.to_string()))?;
    }
    Ok(())
}

pub(super) fn read_register(
    array: &Array,
    plane: &Plane,
    index: Option<&v1::Index>,
    out: &mut Vec<v1::RegisterEntry>,
) -> Outcome {
    let cells = cells(array, index, "", Behaviour::Specification)?;
    out.extend(cells.map(|index| v1::RegisterEntry {
        register_id: array.id,
        index: Some(v1::Index { index: index.cast_signed() as i64 }),
        data: Some(v1::P4Data {
            data: Some(v1::p4_data::Data::Bitstring(canonical::encode(plane.register(&array.name, index)))),
        }),
    }));
    Ok(())
}

fn unknown(message: &str) -> Refusal {
    Refusal::new(Code::Unknown, message)
}

pub(super) fn unimplemented(message: &str) -> Refusal {
    Refusal::new(Code::Unimplemented, message)
}
