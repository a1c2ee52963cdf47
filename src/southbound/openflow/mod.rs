//! OpenFlow 1.3 switches with the Nicira extensions of Open vSwitch.

pub mod state;
