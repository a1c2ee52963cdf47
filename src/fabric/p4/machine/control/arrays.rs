//! Counters, meters and registers by index.

use super::{ControlError, Counter, MeterConfig, Outcome, unknown};
use crate::fabric::p4::machine::Machine;
use crate::fabric::p4::machine::arrays::Meter;
use crate::fabric::p4::program::layout::ones;

fn cell<'c, T>(cells: Option<&'c Vec<T>>, kind: &'static str, name: &str, index: usize) -> Outcome<&'c T> {
    let cells = cells.ok_or_else(|| unknown(kind, name))?;
    let beyond = || ControlError::OutOfRange { place: format!("{kind} '{name}'"), index, size: cells.len() };
    cells.get(index).ok_or_else(beyond)
}

fn cell_mut<'c, T>(cells: Option<&'c mut Vec<T>>, kind: &'static str, name: &str, index: usize) -> Outcome<&'c mut T> {
    let cells = cells.ok_or_else(|| unknown(kind, name))?;
    let size = cells.len();
    cells.get_mut(index).ok_or_else(|| ControlError::OutOfRange { place: format!("{kind} '{name}'"), index, size })
}

impl Machine {
    fn counter_at(&self, name: &str) -> Option<usize> {
        self.program.counters.iter().position(|array| &*array.name == name)
    }

    fn meter_at(&self, name: &str) -> Option<usize> {
        self.program.meters.iter().position(|array| &*array.name == name && !array.is_direct)
    }

    fn register_at(&self, name: &str) -> Option<usize> {
        self.program.registers.iter().position(|array| &*array.name == name)
    }

    pub fn counter(&self, counter: &str, index: usize) -> Outcome<Counter> {
        let cells = self.counter_at(counter).map(|at| &self.arrays.counters[at]);
        cell(cells, "counter", counter, index).copied()
    }

    pub fn set_counter(&mut self, counter: &str, index: usize, value: Counter) -> Outcome {
        let at = self.counter_at(counter);
        *cell_mut(at.map(|at| &mut self.arrays.counters[at]), "counter", counter, index)? = value;
        Ok(())
    }

    pub fn meter(&self, meter: &str, index: usize) -> Outcome<Option<MeterConfig>> {
        let cells = self.meter_at(meter).map(|at| &self.arrays.meters[at]);
        Ok(cell(cells, "meter", meter, index)?.as_ref().map(|meter| meter.config))
    }

    /// `None` lets everything pass as green.
    pub fn set_meter(&mut self, meter: &str, index: usize, config: Option<MeterConfig>) -> Outcome {
        let at = self.meter_at(meter);
        *cell_mut(at.map(|at| &mut self.arrays.meters[at]), "meter", meter, index)? = config.map(Meter::new);
        Ok(())
    }

    pub fn register(&self, register: &str, index: usize) -> Outcome<u128> {
        let cells = self.register_at(register).map(|at| &self.arrays.registers[at]);
        cell(cells, "register", register, index).copied()
    }

    /// Bits beyond the register's width are cut off.
    pub fn set_register(&mut self, register: &str, index: usize, value: u128) -> Outcome {
        let at = self.register_at(register);
        let mask = at.map_or(0, |at| ones(self.program.registers[at].width));
        *cell_mut(at.map(|at| &mut self.arrays.registers[at]), "register", register, index)? = value & mask;
        Ok(())
    }
}
