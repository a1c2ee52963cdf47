//! Any bytes are a probe of ours or an error, and any bytes are ARP or not; what is either comes back as it was.
#![no_main]

use foreshadow::types::MacAddr;
use foreshadow::wire::arp::Arp;
use foreshadow::wire::lldp::{Key, Probe, is_lldp};
use libfuzzer_sys::fuzz_target;

/// The key of the corpus' frames.
const KEY: Key = Key([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);

fuzz_target!(|data: &[u8]| {
    if let Ok(probe) = Probe::decode(data, KEY) {
        assert!(is_lldp(data));
        assert_eq!(Probe::decode(&probe.encode(MacAddr::GATEWAY, KEY), KEY), Ok(probe));
    }
    if let Some(arp) = Arp::decode(data) {
        assert_eq!(Arp::decode(&arp.encode()), Some(arp));
    }
});
