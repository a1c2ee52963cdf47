//! Readings: what to ask of a switch, and what its answers and sweep reports mean.

use std::collections::BTreeMap;

use super::super::regions::{self, Region};
use super::super::{Collection, Sweep, SweepKind, SweepReport, counters, reads};
use crate::p4info::mapping::{Events, Mapping};
use crate::plan::{DatapathPlan, RolePlan};
use crate::southbound::{ConnectionCounters, ConnectionsEnded, Reading};
use crate::types::NodeIndex;
use crate::wire::p4runtime::v1;
use crate::wire::p4runtime::v1::entity::Entity as Kind;

/// Slots of pins that are swept with every reading. Nothing waits for them: pins are held for minutes.
const PIN_SLOTS: u32 = 1_024;

pub(super) fn collect(mapping: &Mapping, plan: &DatapathPlan, round: u64) -> Collection {
    let mut collection = Collection { reads: counters::port_reads(mapping, plan), sweeps: Vec::new() };
    match &plan.role {
        RolePlan::Access(_) => {
            if let Some(part) = mapping.part("chosen") {
                let all = v1::TableEntry { table_id: part.id, ..Default::default() };
                let all = v1::DirectCounterEntry { table_entry: Some(all), data: None };
                collection.reads.push(v1::Entity { entity: Some(Kind::DirectCounterEntry(all)) });
            }
            collection.sweeps.extend(pins(mapping, round));
        }
        RolePlan::Outside(_) => collection.sweeps.extend(pins(mapping, round)),
        RolePlan::Router(_) => {
            if let Some(Events { id, admitted, refused, unknown }) = mapping.counters.events {
                collection.reads.extend([admitted, refused, unknown].map(|cell| counters::cell(id, cell)));
            }
            for (owner, region) in regions_of(mapping, plan) {
                collection.sweeps.extend(parts(region, mapping.sweep_slots).map(|(first, end)| Sweep {
                    kind: SweepKind::Connections,
                    owner: owner.0,
                    first,
                    end,
                    ..Sweep::default()
                }));
            }
        }
        RolePlan::Transit | RolePlan::Bridge(_) => {}
    }
    collection
}

/// One stretch of the pins, another one each round.
fn pins(mapping: &Mapping, round: u64) -> Option<Sweep> {
    let step = PIN_SLOTS.min(mapping.sweep_slots);
    let turn = round % u64::from(mapping.pin_slots.div_ceil(step)).max(1);
    let first = u32::try_from(turn).ok()?.checked_mul(step)?;
    let end = first.saturating_add(step).min(mapping.pin_slots);
    (first < end).then_some(Sweep { kind: SweepKind::Pins, first, end, ..Sweep::default() })
}

fn regions_of(mapping: &Mapping, plan: &DatapathPlan) -> BTreeMap<NodeIndex, Region> {
    match &plan.role {
        RolePlan::Router(router) => regions::layout(plan, router, mapping.connection_slots).of,
        _ => BTreeMap::new(),
    }
}

/// First slot and end of the sweeps that cover a region.
pub(super) fn parts(region: Region, step: u32) -> impl Iterator<Item = (u32, u32)> + use<> {
    let step = step.max(1);
    (0..region.slots.div_ceil(step)).map(move |part| {
        let first = part * step;
        (first, first.saturating_add(step).min(region.slots))
    })
}

pub(super) fn reading(
    mapping: &Mapping,
    plan: &DatapathPlan,
    answers: &[v1::Entity],
    reports: &[SweepReport],
) -> Reading {
    let mut reading = Reading { ports: counters::port_counters(mapping, answers), ..Reading::default() };
    match &plan.role {
        RolePlan::Access(_) => chosen(mapping, plan, answers, &mut reading),
        RolePlan::Router(_) => {
            reading.connections = connections(mapping, plan, answers, reports);
            reading.ended = ended(reports);
        }
        RolePlan::Transit | RolePlan::Outside(_) | RolePlan::Bridge(_) => {}
    }
    reading
}

/// Nothing unless every slot was swept and every counter answered: a part would look like connections that ended.
fn connections(
    mapping: &Mapping,
    plan: &DatapathPlan,
    answers: &[v1::Entity],
    reports: &[SweepReport],
) -> Option<ConnectionCounters> {
    let events = mapping.counters.events.as_ref()?;
    let cells: BTreeMap<i64, u64> = counters::cells(answers)
        .filter(|(counter, ..)| *counter == events.id)
        .map(|(_, cell, data)| (cell, counters::packets(data)))
        .collect();
    let mut counted = ConnectionCounters {
        admitted: *cells.get(&events.admitted)?,
        refused: *cells.get(&events.refused)?,
        unknown: *cells.get(&events.unknown)?,
        ..ConnectionCounters::default()
    };
    // Of two reports of one stretch the later counts.
    let ours = reports.iter().filter(|report| report.kind == SweepKind::Connections);
    let by_end: BTreeMap<(u16, u32), &SweepReport> = ours.map(|report| ((report.owner, report.end), report)).collect();
    let regions = regions_of(mapping, plan);
    if regions.is_empty() {
        return None;
    }
    for (owner, region) in regions {
        let (mut occupied, mut freed) = (0, 0);
        for (_, end) in parts(region, mapping.sweep_slots) {
            let report = by_end.get(&(owner.0, end))?;
            counted.closing += u64::from(report.closing);
            occupied = u64::from(report.occupied);
            freed += u64::from(report.freed);
        }
        // What was dead held its slot against new connections until this sweep came.
        counted.occupied += (occupied + freed).min(occupied.max(u64::from(region.capacity)));
        counted.closing += freed;
    }
    counted.closing = counted.closing.min(counted.occupied);
    Some(counted)
}

/// Connections that sweeps freed, however much of the whole was swept. A report that came twice counts once.
fn ended(reports: &[SweepReport]) -> Option<ConnectionsEnded> {
    let ours = reports.iter().filter(|report| report.kind == SweepKind::Connections && report.freed > 0);
    let by_token: BTreeMap<(u32, u16, u32), &SweepReport> =
        ours.map(|report| ((report.token, report.owner, report.end), report)).collect();
    let ended = by_token.values().fold(ConnectionsEnded::default(), |sum, report| ConnectionsEnded {
        count: sum.count + u64::from(report.freed),
        lifetime_ms_total: sum.lifetime_ms_total + u64::from(report.freed_ms),
    });
    (ended.count > 0).then_some(ended)
}

fn chosen(mapping: &Mapping, plan: &DatapathPlan, answers: &[v1::Entity], reading: &mut Reading) {
    let (RolePlan::Access(access), Some(part)) = (&plan.role, mapping.part("chosen")) else { return };
    for answer in answers {
        let Some(Kind::DirectCounterEntry(counter)) = &answer.entity else { continue };
        let (Some(entry), Some(data)) = (&counter.table_entry, &counter.data) else { continue };
        if entry.table_id != part.id {
            continue;
        }
        let key = reads::key_values(part, entry);
        let number = |name| u16::try_from(*key.get(name)?).ok();
        let (Some(service), Some(router)) = (number("service"), number("router")) else { continue };
        let Some(service) = access.services.iter().find(|known| known.number == service) else { continue };
        let routers = reading.chosen.entry(service.service.clone()).or_default();
        routers.insert(NodeIndex(router), counters::packets(data));
    }
}
