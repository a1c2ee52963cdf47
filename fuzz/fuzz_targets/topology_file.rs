//! Any bytes are a topology file or a problem, in every format; what is read passes our own checks and equals itself
//! when it was written and read again.
#![no_main]

use std::path::Path;

use foreshadow::config::import::{Format, Options, import};
use foreshadow::config::parse_topology;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let formats = Format::ALL.into_iter().map(Some).chain([None]);
    for format in formats {
        match import(Path::new("fuzz"), data, format, &Options::default()) {
            Ok(imported) => {
                let text = imported.topology.to_yaml_with(&imported.comments);
                assert_eq!(parse_topology(Path::new("written.yaml"), &text), Ok(imported.topology));
            }
            Err(problems) => assert!(!problems.is_empty()),
        }
    }
});
