//! Any bytes are a frame or an error. What is a frame goes out and comes back as the same frame.
#![no_main]

use foreshadow::wire::openflow::{Frame, Framing, MESSAGE_BYTES_MAX, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(Framing::Complete(length)) = Framing::of(data, MESSAGE_BYTES_MAX) {
        assert!(length <= data.len());
    }
    let Ok(frame) = Frame::decode(data) else { return };
    let bytes = frame.encode().expect("what was decoded has a form on the wire");
    assert!(bytes.len() <= data.len() + 8, "nothing grows but by padding");
    assert_eq!(Frame::decode(&bytes).as_ref(), Ok(&frame));
    if let Message::FlowMod(flow) = &frame.message {
        let canonical = flow.matching.canonical();
        assert_eq!(canonical.canonical(), canonical);
    }
});
