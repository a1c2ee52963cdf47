//! Any bytes are a neighbour solicitation, an advertisement or neither; what is either comes back as it was.
#![no_main]

use foreshadow::wire::ndp::Neighbour;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(neighbour) = Neighbour::decode(data) {
        assert_eq!(Neighbour::decode(&neighbour.encode()), Some(neighbour));
    }
});
