//! Any bytes are a frame or too short for one; a frame comes back as it was, padding aside.
#![no_main]

use foreshadow::wire::ethernet::Header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((header, payload)) = Header::decode(data) {
        let again = header.encode(payload);
        assert!(again.starts_with(data));
        let (same, padded) = Header::decode(&again).expect("just written");
        assert!(same == header && padded.starts_with(payload));
    }
});
