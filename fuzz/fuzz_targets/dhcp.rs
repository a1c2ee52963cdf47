//! Any bytes are DHCP or not, with headers and without; what is comes back as it was.
#![no_main]

use foreshadow::wire::dhcp::Dhcp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for dhcp in [Dhcp::decode(data), Dhcp::decode_packet(data)].into_iter().flatten() {
        assert_eq!(Dhcp::decode(&dhcp.encode()), Some(dhcp));
    }
});
