//! Makes the messages and services of P4Runtime from `proto/`, without a protocol compiler on the machine.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

/// What clients and switches name; what these import comes with them.
const FILES: &[&str] = &["p4/v1/p4runtime.proto"];
const FOLDER: &str = "proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={FOLDER}");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let mut files = protox::compile(FILES, [FOLDER])?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    // One order of map entries, in texts and on the wire.
    let builder = tonic_prost_build::configure().btree_map(".").include_file("p4runtime.rs").out_dir(&out);
    builder.compile_fds_with_config(files.clone(), config)?;
    // Comments went into the code; nobody reads them at run time.
    files.file.iter_mut().for_each(|file| file.source_code_info = None);
    fs::write(out.join("p4runtime.bin"), files.encode_to_vec())?;
    Ok(())
}
