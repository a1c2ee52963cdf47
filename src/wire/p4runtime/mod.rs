//! P4Runtime 1.5: messages and services made from `proto/`, and what they leave to their users.

pub mod canonical;
pub mod status;
pub mod text;

#[allow(clippy::all, missing_debug_implementations, unreachable_pub, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/p4runtime.rs"));
}

pub use generated::google::rpc;
/// P4Runtime's messages, its client and its server.
pub use generated::p4::v1;

/// P4Info.
pub use generated::p4::config::v1 as config;

/// The descriptors of all messages, as an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/p4runtime.bin"));
