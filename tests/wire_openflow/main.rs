//! The OpenFlow codec held against properties, os-ken, tshark and Open vSwitch.

#[path = "../common/skip.rs"]
mod skip;

mod ovs;
mod ovs_answers;
mod ovs_rules;
mod peers;
mod properties;
mod samples;
mod strategy;
