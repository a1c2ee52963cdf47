"""Prints, as JSON, every message, field, oneof, enum value and method of the Python package p4runtime, a line each.

{"version": "…", "facts": ["…", …]}; tests/p4runtime_proto.rs writes those of our own files in the same form.
"""

import json
from importlib import metadata

from google.protobuf import descriptor_pb2
from google.rpc import status_pb2
from p4.config.v1 import p4info_pb2, p4types_pb2
from p4.v1 import p4data_pb2, p4runtime_pb2

MODULES = [status_pb2, p4types_pb2, p4info_pb2, p4data_pb2, p4runtime_pb2]
FIELD = descriptor_pb2.FieldDescriptorProto


def of_enum(scope, enum):
    name = f"{scope}.{enum.name}"
    yield f"enum {name}"
    for value in enum.value:
        yield f"value {name}.{value.name} = {value.number}"


def of_field(name, message, field):
    label = FIELD.Label.Name(field.label).removeprefix("LABEL_").lower()
    kind = FIELD.Type.Name(field.type).removeprefix("TYPE_").lower()
    what = f"{kind} {field.type_name.lstrip('.')}".strip()
    within = ""
    if field.HasField("oneof_index"):
        within = f" in oneof {message.oneof_decl[field.oneof_index].name}"
    return f"field {name}.{field.name} = {field.number}: {label} {what}{within}"


def of_message(scope, message):
    name = f"{scope}.{message.name}"
    yield f"message {name}"
    for field in message.field:
        yield of_field(name, message, field)
    for inner in message.enum_type:
        yield from of_enum(name, inner)
    for inner in message.nested_type:
        yield from of_message(name, inner)


def of_file(file):
    yield f"file {file.name} is {file.package}, {file.syntax or 'proto2'}"
    for enum in file.enum_type:
        yield from of_enum(file.package, enum)
    for message in file.message_type:
        yield from of_message(file.package, message)
    for service in file.service:
        for method in service.method:
            asks = "stream " * method.client_streaming + method.input_type.lstrip(".")
            gives = "stream " * method.server_streaming + method.output_type.lstrip(".")
            yield f"method {file.package}.{service.name}.{method.name}({asks}) returns ({gives})"


def main():
    facts = []
    for module in MODULES:
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        facts.extend(of_file(file))
    print(json.dumps({"version": metadata.version("p4runtime"), "facts": sorted(facts)}, indent=1))


main()
