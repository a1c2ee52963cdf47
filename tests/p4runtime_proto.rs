//! Our protobuf files held against the Python packages `p4runtime` and `googleapis-common-protos`: every message, field,
//! number, type, label, oneof, enum value and method, both ways; and the same bytes from the same text.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use foreshadow::wire::p4runtime::{DESCRIPTORS, text};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

#[path = "common/skip.rs"]
mod skip;

/// The newest package; without what it needs in turn, as p4runtime-shell needs an old one. The Makefile installs both.
const NEWEST: (&str, &str) = ("target/peers/p4runtime-1.6.0", "1.6.0");
/// The package that p4runtime-shell asks for.
const OLD: &str = "1.4.1";

/// What version 1.4.1 of the package lacks: it was made before versions 1.5 and 1.6 of the protocol added these.
const ADDED_AFTER_OLD: &[&str] = &[
    "field p4.config.v1.ActionProfile.weights_disallowed = 8: optional bool",
    "field p4.v1.ActionProfileActionSet.action_selection_mode = 2: optional enum p4.v1.ActionProfileActionSet.ActionSelectionMode",
    "field p4.v1.ActionProfileActionSet.group_action = 5: optional message p4.v1.Action",
    "field p4.v1.ActionProfileActionSet.size_semantics = 3: optional enum p4.v1.ActionProfileActionSet.SizeSemantics",
    "field p4.v1.BackupReplica.instance = 2: optional uint32",
    "field p4.v1.BackupReplica.port = 1: optional bytes",
    "field p4.v1.CapabilitiesRequest.device_id = 1: optional uint64",
    "field p4.v1.CapabilitiesResponse.experimental = 999: optional message google.protobuf.Any",
    "field p4.v1.Replica.backup_replicas = 4: repeated message p4.v1.BackupReplica",
    "enum p4.v1.ActionProfileActionSet.ActionSelectionMode",
    "enum p4.v1.ActionProfileActionSet.SizeSemantics",
    "message p4.v1.BackupReplica",
    "value p4.config.v1.ActionRef.Scope.GROUP_ACTION = 3",
    "value p4.v1.ActionProfileActionSet.ActionSelectionMode.DEFAULT_MODE_DETERMINED_BY_ACTION_SELECTOR = 0",
    "value p4.v1.ActionProfileActionSet.ActionSelectionMode.HASH = 1",
    "value p4.v1.ActionProfileActionSet.ActionSelectionMode.RANDOM = 2",
    "value p4.v1.ActionProfileActionSet.SizeSemantics.DEFAULT_SIZE_DETERMINED_BY_ACTION_SELECTOR = 0",
    "value p4.v1.ActionProfileActionSet.SizeSemantics.SUM_OF_MEMBERS = 2",
    "value p4.v1.ActionProfileActionSet.SizeSemantics.SUM_OF_WEIGHTS = 1",
];

/// A part of our files as `tests/p4runtime/describe.py` writes it.
fn facts() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).expect("the build made them");
    let ours = set.file.iter().filter(|file| file.package() != "google.protobuf");
    ours.flat_map(of_file).collect()
}

fn of_file(file: &FileDescriptorProto) -> Vec<String> {
    let package = file.package();
    let mut facts = vec![format!("file {} is {package}, {}", file.name(), file.syntax())];
    file.enum_type.iter().for_each(|one| of_enum(package, one, &mut facts));
    file.message_type.iter().for_each(|message| of_message(package, message, &mut facts));
    for service in &file.service {
        for method in &service.method {
            let name = format!("{package}.{}.{}", service.name(), method.name());
            let stream = |streams: bool, of: &str| format!("{}{}", if streams { "stream " } else { "" }, &of[1..]);
            let asks = stream(method.client_streaming(), method.input_type());
            let gives = stream(method.server_streaming(), method.output_type());
            facts.push(format!("method {name}({asks}) returns ({gives})"));
        }
    }
    facts
}

fn of_enum(scope: &str, one: &EnumDescriptorProto, facts: &mut Vec<String>) {
    let name = format!("{scope}.{}", one.name());
    facts.push(format!("enum {name}"));
    facts.extend(one.value.iter().map(|value| format!("value {name}.{} = {}", value.name(), value.number())));
}

fn of_message(scope: &str, message: &DescriptorProto, facts: &mut Vec<String>) {
    let name = format!("{scope}.{}", message.name());
    facts.push(format!("message {name}"));
    facts.extend(message.field.iter().map(|field| of_field(&name, message, field)));
    message.enum_type.iter().for_each(|one| of_enum(&name, one, facts));
    message.nested_type.iter().for_each(|inner| of_message(&name, inner, facts));
}

fn of_field(name: &str, message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let label = match field.label() {
        Label::Optional => "optional",
        Label::Required => "required",
        Label::Repeated => "repeated",
    };
    let mut what = match field.r#type() {
        Type::Bool => "bool",
        Type::Bytes => "bytes",
        Type::Enum => "enum",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::Message => "message",
        Type::String => "string",
        Type::Uint32 => "uint32",
        Type::Uint64 => "uint64",
        other => panic!("{name}.{}: {other:?} has no name here", field.name()),
    }
    .to_owned();
    if !field.type_name().is_empty() {
        what = format!("{what} {}", field.type_name().trim_start_matches('.'));
    }
    if let Some(index) = field.oneof_index {
        what = format!("{what} in oneof {}", message.oneof_decl[index as usize].name());
    }
    format!("field {name}.{} = {}: {label} {what}", field.name(), field.number())
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs a script of `tests/p4runtime` with the packages installed, the newest one before others if asked to.
fn python(script: &str, newest: bool, arguments: &[&Path]) -> Output {
    let installed = in_repository("target/peers/bin/python3");
    let mut command = Command::new(if installed.is_file() { installed } else { "python3".into() });
    if newest {
        command.env("PYTHONPATH", in_repository(NEWEST.0));
    }
    command.arg(in_repository("tests/p4runtime").join(script)).args(arguments).output().expect("python3 starts")
}

/// Why the packages cannot be asked, if they cannot.
fn missing() -> Option<String> {
    if let Some(why) = skip::missing_program(&["python3"]) {
        return Some(why);
    }
    let output = python("describe.py", false, &[]);
    (!output.status.success()).then(|| "no python3 imports p4.v1.p4runtime_pb2 and google.rpc.status_pb2".to_owned())
}

/// The package's version and facts.
fn theirs(newest: bool) -> (String, BTreeSet<String>) {
    let output = python("describe.py", newest, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    let facts = said["facts"].as_array().expect("a list").iter();
    let facts = facts.map(|fact| fact.as_str().expect("a line").to_owned()).collect();
    (said["version"].as_str().expect("a version").to_owned(), facts)
}

fn assert_same(ours: &BTreeSet<String>, theirs: &BTreeSet<String>, version: &str) {
    let missing: Vec<_> = theirs.difference(ours).collect();
    let extra: Vec<_> = ours.difference(theirs).collect();
    assert!(missing.is_empty() && extra.is_empty(), "p4runtime {version}: missing {missing:#?}, too much {extra:#?}");
}

#[test]
fn messages_are_those_of_the_newest_package() {
    let newest = in_repository(NEWEST.0);
    let missing = missing().or_else(|| (!newest.is_dir()).then(|| format!("there is no {}", newest.display())));
    if !skip::require("p4runtime", missing) {
        return;
    }
    let (version, theirs) = theirs(true);
    assert_eq!(version, NEWEST.1);
    assert!(theirs.len() > 600, "{} facts", theirs.len());
    assert_same(&facts(), &theirs, &version);
}

#[test]
fn messages_are_those_of_the_old_package_and_what_was_added() {
    if !skip::require("p4runtime", missing()) {
        return;
    }
    let (version, mut theirs) = theirs(false);
    if version == OLD {
        for added in ADDED_AFTER_OLD {
            assert!(theirs.insert((*added).to_owned()), "version {version} has '{added}' after all");
        }
    }
    assert_same(&facts(), &theirs, &version);
}

/// Something of every kind of field: numbers, bytes, enums, maps, oneofs, an Any.
const TEXT: &str = r#"
pkg_info { arch: "v1model" annotations: "@brief(\"a \\ b\")" platform_properties { multicast_group_table_size: 9 } }
tables {
  preamble { id: 33554433 name: "ingress.routes" alias: "routes" annotations: "é\n" }
  match_fields { id: 1 name: "destination" bitwidth: 32 match_type: LPM }
  match_fields { id: 2 name: "odd" other_match_type: "SPECIAL" }
  action_refs { id: 16777217 scope: DEFAULT_ONLY }
  initial_default_action { action_id: 16777217 arguments { param_id: 1 value: "\000\377\"" } }
  direct_resource_ids: [1, 4294967295]
  size: -9223372036854775808
  other_properties { [type.googleapis.com/p4.config.v1.P4NamedType] { name: "x" } }
}
action_profiles { preamble { id: 285212673 } sum_of_members { max_member_weight: 4 } }
type_info {
  structs { key: "b" value { members { name: "port" type_spec { bitstring { bit { bitwidth: 9 } } } } } }
  structs { key: "a" value { annotations: "@a" } }
  serializable_enums { key: "e" value { underlying_type { bitwidth: 8 } members { name: "one" value: "\001" } } }
}
"#;

#[test]
fn texts_are_the_same_bytes_to_python() {
    if !skip::require("p4runtime", missing()) {
        return;
    }
    let ours = text::parse_p4info(TEXT).expect("is a P4Info");
    let bytes = |text: &str| {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("writes");
        let output = python("encode.py", false, &[file.path()]);
        assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(bytes(TEXT), ours.encode_to_vec(), "as written by hand");
    let printed = text::print_p4info(&ours);
    assert_eq!(bytes(&printed), ours.encode_to_vec(), "as printed: {printed}");
}
