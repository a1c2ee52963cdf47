//! Tests of the machine.

mod stf;
