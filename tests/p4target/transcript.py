#!/usr/bin/env python3
"""What a P4Runtime switch answers to everything that tests/p4target/every.p4 has, right and wrong, as text.

    transcript.py ADDRESS:PORT DEVICE

The same text from two switches means that they behave alike. Needs the packages grpcio and p4runtime.
"""

import pathlib
import queue
import sys
import threading

import grpc
from google.protobuf import text_format
from google.rpc import code_pb2, status_pb2
from p4.config.v1 import p4info_pb2
from p4.v1 import p4runtime_pb2 as p4
from p4.v1 import p4runtime_pb2_grpc

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE_S = 20
INSERT, MODIFY, DELETE = p4.Update.INSERT, p4.Update.MODIFY, p4.Update.DELETE
INFO = text_format.Parse((HERE / "every.p4info.txtpb").read_text(), p4info_pb2.P4Info())
PROGRAM = (HERE / "every.json").read_bytes()
IDS = {}
for kind in ("tables", "actions", "action_profiles", "counters", "meters", "registers", "digests", "direct_counters"):
    for thing in getattr(INFO, kind):
        IDS[thing.preamble.alias] = thing.preamble.id


def out(*words):
    print(*words, flush=True)


def code(number):
    return code_pb2.Code.Name(number) if number in code_pb2.Code.values() else str(number)


def line(message):
    return text_format.MessageToString(message, as_one_line=True).strip()


class Session:
    """One stream with its answers."""

    def __init__(self, channel, device, election):
        self.device, self.election = device, election
        self.stub = p4runtime_pb2_grpc.P4RuntimeStub(channel)
        self.requests, self.answers = queue.Queue(), queue.Queue()
        self.stream = self.stub.StreamChannel(iter(self.requests.get, None))
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        try:
            for answer in self.stream:
                self.answers.put(answer)
        except grpc.RpcError as error:
            self.answers.put(error)

    def arbitrate(self, label, election=None, device=None, role=None):
        request = p4.StreamMessageRequest()
        request.arbitration.device_id = self.device if device is None else device
        if election is not None:
            self.election = election
        if self.election >= 0:
            request.arbitration.election_id.low = self.election
        if role:
            request.arbitration.role.name = role
        self.requests.put(request)
        self.hear(label)

    def hear(self, label):
        try:
            answer = self.answers.get(timeout=PATIENCE_S)
        except queue.Empty:
            out(f"{label}: nothing came")
            return None
        if isinstance(answer, grpc.RpcError):
            out(f"{label}: the stream ends: {answer.code().name} {answer.details()!r}")
            return None
        if answer.HasField("arbitration"):
            arbitration = answer.arbitration
            arbitration.device_id = 0
            out(f"{label}: {code(arbitration.status.code)} at {arbitration.election_id.low} {arbitration.role.name!r}")
            return None
        return answer

    def quiet(self, label):
        try:
            answer = self.answers.get(timeout=1)
            out(f"{label}: unexpectedly {answer}")
        except queue.Empty:
            out(f"{label}: nothing comes")

    def close(self):
        self.requests.put(None)

    def push(self, label, action, election=None, info=INFO, program=PROGRAM):
        request = p4.SetForwardingPipelineConfigRequest(device_id=self.device, action=action)
        request.election_id.low = self.election if election is None else election
        if info is not None:
            request.config.p4info.CopyFrom(info)
            request.config.p4_device_config = program
            request.config.cookie.cookie = 77
        self.call(label, self.stub.SetForwardingPipelineConfig, request)

    def call(self, label, method, request):
        try:
            method(request, timeout=PATIENCE_S)
            out(f"{label}: OK")
        except grpc.RpcError as error:
            out(f"{label}: {error.code().name} {error.details()!r}")
            for key, value in error.trailing_metadata() or ():
                if key == "grpc-status-details-bin":
                    for detail in status_pb2.Status.FromString(value).details:
                        one = p4.Error()
                        detail.Unpack(one)
                        out(f"    {code(one.canonical_code)} {one.message!r}")

    def write(self, label, *updates, election=None, device=None, atomicity=0, role=""):
        request = p4.WriteRequest(device_id=self.device if device is None else device, role=role)
        request.election_id.low = self.election if election is None else election
        request.updates.extend(updates)
        request.atomicity = atomicity
        self.call(label, self.stub.Write, request)

    def read(self, label, *entities, device=None):
        request = p4.ReadRequest(device_id=self.device if device is None else device, entities=entities)
        found = []
        try:
            for answer in self.stub.Read(request, timeout=PATIENCE_S):
                found += [line(entity) for entity in answer.entities]
            out(f"{label}: OK, {len(found)}")
        except grpc.RpcError as error:
            out(f"{label}: {error.code().name} {error.details()!r}, {len(found)}")
        for text in sorted(found):
            out(f"    {text}")


def update(kind, entity):
    return p4.Update(type=kind, entity=entity)


def exact(field, value):
    return p4.FieldMatch(field_id=field, exact=p4.FieldMatch.Exact(value=value))


def lpm(field, value, prefix):
    return p4.FieldMatch(field_id=field, lpm=p4.FieldMatch.LPM(value=value, prefix_len=prefix))


def ternary(field, value, mask):
    return p4.FieldMatch(field_id=field, ternary=p4.FieldMatch.Ternary(value=value, mask=mask))


def span(field, low, high):
    return p4.FieldMatch(field_id=field, range=p4.FieldMatch.Range(low=low, high=high))


def optional(field, value):
    return p4.FieldMatch(field_id=field, optional=p4.FieldMatch.Optional(value=value))


def call(name, *values):
    params = [p4.Action.Param(param_id=number, value=value) for number, value in enumerate(values, 1)]
    return p4.Action(action_id=IDS.get(name, name), params=params)


def entry(table, *match, action=None, member=None, group=None, ways=None, priority=0, **others):
    row = p4.TableEntry(table_id=IDS.get(table, table), match=match, priority=priority, **others)
    if action is not None:
        row.action.action.CopyFrom(action)
    if member is not None:
        row.action.action_profile_member_id = member
    if group is not None:
        row.action.action_profile_group_id = group
    if ways is not None:
        row.action.action_profile_action_set.SetInParent()
        for one, weight, port in ways:
            way = row.action.action_profile_action_set.action_profile_actions.add(weight=weight)
            way.action.CopyFrom(one)
            if port:
                way.watch_port = port
    return p4.Entity(table_entry=row)


def member(profile, number, action=None):
    return p4.Entity(
        action_profile_member=p4.ActionProfileMember(
            action_profile_id=IDS.get(profile, profile), member_id=number, action=action
        )
    )


def group(profile, number, *seats, size=0):
    row = p4.ActionProfileGroup(action_profile_id=IDS.get(profile, profile), group_id=number, max_size=size)
    for seat in seats:
        one = row.members.add(member_id=seat[0], weight=seat[1])
        if len(seat) > 2:
            one.watch_port = seat[2]
    return p4.Entity(action_profile_group=row)


def counter(name, index=None, **data):
    row = p4.CounterEntry(counter_id=IDS.get(name, name))
    if index is not None:
        row.index.index = index
    if data:
        row.data.CopyFrom(p4.CounterData(**data))
    return p4.Entity(counter_entry=row)


def direct_counter(row, **data):
    one = p4.DirectCounterEntry(table_entry=row.table_entry)
    if data:
        one.data.CopyFrom(p4.CounterData(**data))
    return p4.Entity(direct_counter_entry=one)


def meter(name, index=None, **config):
    row = p4.MeterEntry(meter_id=IDS.get(name, name))
    if index is not None:
        row.index.index = index
    if config:
        row.config.CopyFrom(p4.MeterConfig(**config))
    return p4.Entity(meter_entry=row)


def direct_meter(row, **config):
    one = p4.DirectMeterEntry(table_entry=row.table_entry)
    if config:
        one.config.CopyFrom(p4.MeterConfig(**config))
    return p4.Entity(direct_meter_entry=one)


def multicast(number, *replicas):
    row = p4.PacketReplicationEngineEntry()
    row.multicast_group_entry.multicast_group_id = number
    for port, instance in replicas:
        row.multicast_group_entry.replicas.add(egress_port=port, instance=instance)
    return p4.Entity(packet_replication_engine_entry=row)


def clone(number, *replicas, service=0, length=0):
    row = p4.PacketReplicationEngineEntry()
    row.clone_session_entry.session_id = number
    row.clone_session_entry.class_of_service = service
    row.clone_session_entry.packet_length_bytes = length
    for port, instance in replicas:
        row.clone_session_entry.replicas.add(egress_port=port, instance=instance)
    return p4.Entity(packet_replication_engine_entry=row)


def digest(name, most=None):
    row = p4.DigestEntry(digest_id=IDS.get(name, name))
    if most is not None:
        row.config.max_list_size = most
        row.config.ack_timeout_ns = 10**9
    return p4.Entity(digest_entry=row)


def sessions(channel, device):
    first = Session(channel, device, 5)
    out("== arbitration")
    first.push("push before arbitration", p4.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT)
    first.arbitrate("first controller")
    first.read("read without a pipeline", entry(0))
    first.write("write without a pipeline", update(INSERT, entry("plain")))
    first.arbitrate("the same again, another id", 7)
    second = Session(channel, device, 7)
    second.arbitrate("second controller, id in use")
    third = Session(channel, device, 3)
    third.arbitrate("third controller, lower id")
    third.push("push by a backup", p4.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT)
    fourth = Session(channel, device, 9)
    fourth.arbitrate("fourth controller, higher id")
    first.hear("first hears")
    third.hear("third hears")
    first.write("write by the demoted", update(INSERT, entry("plain")))
    fourth.close()
    first.hear("first hears, fourth gone")
    third.hear("third hears, fourth gone")
    third.arbitrate("third takes another id", 4)
    third.close()
    first.quiet("a backup goes")
    return first


def pipelines(session):
    out("== pipeline")
    request = p4.SetForwardingPipelineConfigRequest
    session.push("push without action", request.UNSPECIFIED)
    session.push("verify", request.VERIFY)
    session.push("commit of nothing saved", request.COMMIT, info=None)
    session.push("verify and commit", request.VERIFY_AND_COMMIT)
    for kind in ("COOKIE_ONLY", "ALL", "P4INFO_AND_COOKIE", "DEVICE_CONFIG_AND_COOKIE"):
        wanted = p4.GetForwardingPipelineConfigRequest(
            device_id=session.device, response_type=getattr(p4.GetForwardingPipelineConfigRequest, kind)
        )
        config = session.stub.GetForwardingPipelineConfig(wanted, timeout=PATIENCE_S).config
        out(f"{kind}: {config.cookie.cookie} {config.p4info == INFO} {config.p4_device_config == PROGRAM}")
    version = session.stub.Capabilities(p4.CapabilitiesRequest(), timeout=PATIENCE_S).p4runtime_api_version
    out(f"capabilities: {version}")


def direct_tables(session):
    out("== direct tables")
    write, read = session.write, session.read
    one, send = exact(1, b"\x01"), call("counted_send", b"\x02")
    bad = {
        "insert without action": entry("plain", one),
        "unknown table": entry(0x02FFFFFF, one, action=send),
        "id that is no table": entry("send", one, action=send),
        "unknown action": entry("plain", one, action=call(0x01FFFFFF)),
        "action of another table": entry("plain", one, action=call("send", b"\x02")),
        "default-only action": entry("plain", one, action=call("NoAction")),
        "missing parameter": entry("plain", one, action=call("counted_send")),
        "too many parameters": entry("plain", one, action=call("counted_send", b"\x01", b"\x01")),
        "parameter too wide": entry("plain", one, action=call("counted_send", b"\x02\x00")),
        "empty parameter": entry("plain", exact(1, b"\x07"), action=call("counted_send", b"")),
        "missing field": entry("plain", action=send),
        "unknown field": entry("plain", exact(9, b"\x01"), action=send),
        "field twice": entry("plain", one, one, action=send),
        "wrong kind of match": entry("plain", lpm(1, b"\x01", 9), action=send),
        "value too wide": entry("plain", exact(1, b"\x02\x00"), action=send),
        "priority without need": entry("plain", one, action=send, priority=1),
        "idle time-out without need": entry("plain", one, action=send, idle_timeout_ns=10**9),
        "member in a direct table": entry("plain", one, member=1),
        "meter without need": entry("plain", one, action=send, meter_config=p4.MeterConfig(cir=1)),
        "time since last hit": entry("plain", one, action=send, time_since_last_hit=p4.TableEntry.IdleTimeout()),
        "default entry": entry("plain", action=send, is_default_action=True),
    }
    for label, row in bad.items():
        write(f"insert, {label}", update(INSERT, row))
    write("no type", update(0, entry("plain", one, action=send)))
    write("no entity", update(INSERT, p4.Entity()))
    write("insert", update(INSERT, entry("plain", exact(1, b"\x00\x00\x01"), action=send, metadata=b"m")))
    write("insert again", update(INSERT, entry("plain", one, action=send)))
    write(
        "a batch with failures",
        update(INSERT, entry("plain", exact(1, b"\x03"), action=call("drop"), controller_metadata=9)),
        update(INSERT, entry("plain", one, action=send)),
        update(MODIFY, entry("plain", exact(1, b"\x08"), action=send)),
        update(DELETE, entry("plain", exact(1, b"\x08"))),
        update(INSERT, entry("plain", exact(1, b"\x04"), action=send, counter_data=p4.CounterData(packet_count=5))),
    )
    read("all of it", entry("plain"))
    read("one of it", entry("plain", one))
    read("none of it", entry("plain", exact(1, b"\x08")))
    read("with counters", entry("plain", counter_data=p4.CounterData()))
    read("a bad key", entry("plain", exact(9, b"\x01")))
    read("an unknown table", entry(0x02FFFFFF))
    read("a filter by action", entry("plain", action=call("drop")))
    read("nothing", p4.Entity())
    write("modify", update(MODIFY, entry("plain", one, action=call("counted_to_controller", b"\x05"))))
    write("modify without action", update(MODIFY, entry("plain", one)))
    read("the modified", entry("plain", one))
    write("delete", update(DELETE, entry("plain", one, action=call(0x01FFFFFF))))
    write("delete again", update(DELETE, entry("plain", one)))
    rows = [entry("plain", exact(1, bytes([number])), action=send) for number in range(20, 28)]
    write("until it is full", *[update(INSERT, row) for row in rows])
    write("empty it", *[update(DELETE, row) for row in rows])


def defaults(session):
    out("== default entries and constant tables")
    write, read = session.write, session.read
    read("default", entry("plain", is_default_action=True))
    write("set", update(MODIFY, entry("plain", action=call("counted_send", b"\x09"), is_default_action=True, metadata=b"d")))
    read("default", entry("plain", is_default_action=True))
    write("reset", update(MODIFY, entry("plain", is_default_action=True)))
    read("default", entry("plain", is_default_action=True))
    write("delete", update(DELETE, entry("plain", is_default_action=True)))
    write("with a key", update(MODIFY, entry("plain", exact(1, b"\x01"), is_default_action=True)))
    write("with a priority", update(MODIFY, entry("plain", is_default_action=True, priority=1)))
    write("table-only", update(MODIFY, entry("plain", action=call("drop"), is_default_action=True)))
    write("constant", update(MODIFY, entry("prefixes", action=call("drop"), is_default_action=True)))
    write("of a profile", update(MODIFY, entry("spread", action=call("drop"), is_default_action=True)))
    read("of a profile", entry("spread", is_default_action=True))
    read("since the last hit", entry("plain", is_default_action=True, time_since_last_hit=p4.TableEntry.IdleTimeout()))
    read("constant entries", entry("fixed"))
    row = exact(1, b"\x06\x00")
    write("insert", update(INSERT, entry("fixed", exact(1, b"\x06\x02"), action=call("drop"))))
    write("modify", update(MODIFY, entry("fixed", row, action=call("NoAction"))))
    write("delete", update(DELETE, entry("fixed", row)))
    write("without a key", update(MODIFY, entry("single", action=call("send", b"\x03"), is_default_action=True)))
    read("without a key", entry("single", is_default_action=True))
    write("without a key, reset", update(MODIFY, entry("single", is_default_action=True)))


def matches(session):
    out("== kinds of match")
    write, read = session.write, session.read
    kind, way = exact(1, b"\x08\x00"), call("send_as", b"\x02", b"\x02\x46\x00\x00\x00\x01")
    for label, match in {
        "prefix": [lpm(2, b"\x02\x00\x00\x00\x00\x00", 8)],
        "any": [],
        "whole": [lpm(2, b"\x02\x00\x00\x00\x00\x01", 48)],
        "bits behind": [lpm(2, b"\x02\x00\x00\x00\x00\x01", 8)],
        "zero": [lpm(2, b"\x00", 0)],
        "long": [lpm(2, b"\x00", 49)],
        "negative": [lpm(2, b"\x00", -1)],
    }.items():
        write(f"prefixes, {label}", update(INSERT, entry("prefixes", kind, *match, action=way)))
    read("prefixes", entry("prefixes"))
    read("prefixes, one", entry("prefixes", kind, lpm(2, b"\x02\x00\x00\x00\x00\x00", 8)))
    port, send = exact(1, b"\x01"), call("send", b"\x02")
    rows = {
        "all": [ternary(2, b"\x01", b"\x0f"), span(3, b"\x06\x00", b"\x08\x00"), optional(4, b"\x05")],
        "any": [],
        "mask of 0": [ternary(2, b"\x00", b"\x00")],
        "value beyond the mask": [ternary(2, b"\x10", b"\x0f")],
        "whole range": [span(3, b"\x00", b"\xff\xff")],
        "empty range": [span(3, b"\x05", b"\x04")],
        "range of one": [span(3, b"\x05", b"\x05")],
        "optional of the wrong kind": [exact(4, b"\x05")],
    }
    for label, match in rows.items():
        write(f"mixed, {label}", update(INSERT, entry("mixed", port, *match, action=send, priority=3)))
    write("mixed, another priority", update(INSERT, entry("mixed", port, action=send, priority=4)))
    write("mixed, the same priority", update(INSERT, entry("mixed", port, action=send, priority=4)))
    write("mixed, no priority", update(INSERT, entry("mixed", port, action=send)))
    read("mixed", entry("mixed"))
    read("mixed, one", entry("mixed", port, priority=4))
    read("mixed, by priority", entry("mixed", priority=4))
    write("mixed, delete", update(DELETE, entry("mixed", port, priority=4)))
    write("aging", update(INSERT, entry("aging", exact(1, b"\x01"), action=call("NoAction"), idle_timeout_ns=60 * 10**9)))
    write("aging, negative", update(INSERT, entry("aging", exact(1, b"\x02"), action=call("NoAction"), idle_timeout_ns=-1)))
    read("aging", entry("aging"))
    read("not aging", entry("plain", time_since_last_hit=p4.TableEntry.IdleTimeout()))


def profiles(session):
    out("== action profiles")
    write, read = session.write, session.read
    send, to = call("send", b"\x02"), exact(1, b"\x01")
    for label, row in {
        "unknown profile": member(0x11FFFFFF, 1, send),
        "no action": member("ways", 1),
        "unknown action": member("ways", 1, call(0x01FFFFFF)),
        "action of another table": member("ways", 1, call("learn")),
        "missing parameter": member("ways", 1, call("send")),
        "id 0": member("common", 0, send),
    }.items():
        write(f"member, {label}", update(INSERT, row))
    write("members", *[update(INSERT, member("ways", number, call("send", bytes([number])))) for number in (1, 2, 3)])
    write("member again", update(INSERT, member("ways", 1, send)))
    write("member modified", update(MODIFY, member("ways", 1, call("drop"))))
    write("member modified, missing", update(MODIFY, member("ways", 9, send)))
    write("member deleted, missing", update(DELETE, member("ways", 9)))
    read("members", member("ways", 0))
    read("one member", member("ways", 2))
    read("no member", member("ways", 9))
    for label, row in {
        "unknown profile": group(0x11FFFFFF, 1),
        "too large": group("ways", 1, size=17),
        "negative size": group("ways", 1, size=-1),
        "without selector": group("common", 1),
    }.items():
        write(f"group, {label}", update(INSERT, row))
    write("group, empty", update(INSERT, group("ways", 1, size=16)))
    write("group again", update(INSERT, group("ways", 1, size=16)))
    write("group, another size", update(MODIFY, group("ways", 1, size=8)))
    write("group, no size", update(MODIFY, group("ways", 1, (1, 1))))
    write("group, weights", update(MODIFY, group("ways", 1, (1, 10), (2, 6), size=16)))
    write("group, too heavy", update(MODIFY, group("ways", 1, (1, 10), (2, 7), size=16)))
    write("group, weight 0", update(MODIFY, group("ways", 1, (1, 0), size=16)))
    write("group, no such member", update(MODIFY, group("ways", 1, (9, 1), size=16)))
    write("group, member twice", update(MODIFY, group("ways", 1, (1, 1), (1, 1), size=16)))
    write("group, missing", update(MODIFY, group("ways", 9, (1, 1), size=16)))
    write("group inserted with a failure", update(INSERT, group("ways", 2, (9, 1), size=4)))
    write("and again", update(INSERT, group("ways", 2, (3, 1), size=4)))
    write("and modified", update(MODIFY, group("ways", 2, (3, 1), size=4)))
    read("groups", group("ways", 0))
    write("watched", update(MODIFY, group("ways", 1, (1, 2, b"\x01"), (2, 3, b"\x02"), (3, 1), size=16)))
    read("watched", group("ways", 1))
    write("watched otherwise", update(MODIFY, group("ways", 1, (1, 2, b"\x01"), (2, 3, b"\x00\x02"), size=16)))
    read("watched otherwise", group("ways", 1))
    write("watched, a strange port", update(MODIFY, group("ways", 2, (3, 1, b"\x00\x00\x00\x00\x01"), size=4)))
    read("watched, a strange port", group("ways", 2))
    read("no group", group("ways", 9))
    write("entry, group", update(INSERT, entry("spread", to, group=1)))
    write("entry, member", update(INSERT, entry("spread", exact(1, b"\x02"), member=3)))
    write("entry, no such group", update(INSERT, entry("spread", exact(1, b"\x03"), group=9)))
    write("entry, no such member", update(INSERT, entry("spread", exact(1, b"\x03"), member=9)))
    write("entry, an action", update(INSERT, entry("spread", exact(1, b"\x03"), action=send)))
    write("entry, nothing", update(INSERT, p4.Entity(table_entry=p4.TableEntry(table_id=IDS["spread"], match=[exact(1, b"\x03")], action=p4.TableAction()))))
    write("entry, a set", update(INSERT, entry("spread", exact(1, b"\x03"), ways=[(send, 1, None)])))
    read("entries", entry("spread"))
    write("group in use", update(DELETE, group("ways", 1)))
    write("member in use by an entry", update(DELETE, member("ways", 3)))
    write("member in use by a group", update(DELETE, member("ways", 1)))
    write("entry to a member", update(MODIFY, entry("spread", to, member=2)))
    write("group deleted", update(DELETE, group("ways", 1)))
    write("group deleted again", update(DELETE, group("ways", 1)))
    write("without selector, member", update(INSERT, member("common", 1, send)))
    write("without selector, entry", update(INSERT, entry("members", to, member=1)))
    write("without selector, group", update(INSERT, entry("members", exact(1, b"\x02"), group=1)))
    read("without selector", entry("members"))


def one_shots(session):
    out("== one-shot sets")
    write, read = session.write, session.read
    to, send, drop = exact(1, b"\x01"), call("send", b"\x02"), call("drop")
    for label, ways in {
        "empty": [],
        "weight 0": [(send, 0, None)],
        "too heavy": [(send, 10, None), (drop, 7, None)],
        "unknown action": [(call(0x01FFFFFF), 1, None)],
        "action of another table": [(call("learn"), 1, None)],
        "missing parameter": [(call("send"), 1, None)],
    }.items():
        write(f"set, {label}", update(INSERT, entry("oneshot", to, ways=ways)))
    write("set", update(INSERT, entry("oneshot", to, ways=[(send, 10, b"\x01"), (drop, 5, None), (send, 1, b"\x00\x02")])))
    read("set", entry("oneshot"))
    write("set again", update(INSERT, entry("oneshot", to, ways=[(send, 1, None)])))
    write("set modified", update(MODIFY, entry("oneshot", to, ways=[(drop, 2, None), (send, 3, b"\x01")])))
    read("set modified", entry("oneshot", to))
    write("a member", update(INSERT, member("once", 1, send)))
    write("a group", update(INSERT, group("once", 1, size=4)))
    write("an entry by member", update(INSERT, entry("oneshot", exact(1, b"\x02"), member=1)))
    read("members", member("once", 0))
    read("groups of all", group(0, 0))
    read("members of all", member(0, 0))
    write("delete", update(DELETE, entry("oneshot", to)))
    read("members after", member("once", 0))
    write("a member after", update(INSERT, member("once", 1, send)))
    write("a set after", update(INSERT, entry("oneshot", to, ways=[(send, 1, None)])))


def arrays(session):
    out("== counters, meters, registers")
    write, read = session.write, session.read
    write("counter", update(MODIFY, counter("frames", 3, packet_count=7, byte_count=9)))
    write("counter, wildcard", update(MODIFY, counter("frames", packet_count=7)))
    write("counter, negative", update(MODIFY, counter("frames", -1, packet_count=7)))
    write("counter, beyond", update(MODIFY, counter("frames", 8, packet_count=7)))
    write("counter, insert", update(INSERT, counter("frames", 1, packet_count=7)))
    write("counter, delete", update(DELETE, counter("sent", 1)))
    write("counter, unknown", update(MODIFY, counter(0x12FFFFFF, 1)))
    write("counter, direct", update(MODIFY, counter("plain_hits", 1)))
    read("counter", counter("frames", 3))
    read("counter, all", counter("frames"))
    read("counters, all", counter(0))
    read("counter, beyond", counter("frames", 8))
    read("counter, negative", counter("frames", -1))
    read("counter, unknown", counter(0x12FFFFFF))
    row = entry("plain", exact(1, b"\x03"))
    write("direct counter", update(MODIFY, direct_counter(row, packet_count=3, byte_count=4)))
    write("direct counter, insert", update(INSERT, direct_counter(row, packet_count=3)))
    write("direct counter, no entry", update(MODIFY, direct_counter(entry("plain", exact(1, b"\x55")), packet_count=3)))
    write("direct counter, no such", update(MODIFY, direct_counter(entry("aging", exact(1, b"\x01")), packet_count=3)))
    write("direct counter, nothing", update(MODIFY, p4.Entity(direct_counter_entry=p4.DirectCounterEntry())))
    read("direct counter", direct_counter(row))
    read("direct counters", direct_counter(entry("plain")))
    read("direct counters of all", direct_counter(entry(0)))
    read("direct counter, no entry", direct_counter(entry("plain", exact(1, b"\x55"))))
    read("direct counter, no such", direct_counter(entry("aging")))
    read("direct counter, default", direct_counter(entry("plain", is_default_action=True)))
    read("direct counter, nothing", p4.Entity(direct_counter_entry=p4.DirectCounterEntry()))
    rates = {"cir": 1000, "cburst": 100, "pir": 2000, "pburst": 200}
    write("meter", update(MODIFY, meter("rates", 1, **rates)))
    write("meter, wildcard", update(MODIFY, meter("rates", **rates)))
    write("meter, negative rate", update(MODIFY, meter("rates", 1, cir=-2)))
    write("meter, insert", update(INSERT, meter("rates", 1, **rates)))
    write("meter, beyond", update(MODIFY, meter("rates", 4, **rates)))
    read("meter", meter("rates"))
    write("meter, reset", update(MODIFY, meter("rates", 1)))
    read("meter", meter("rates", 1))
    row = entry("metered", exact(1, b"\x01"), action=call("metered_send", b"\x02"))
    write("metered entry", update(INSERT, row))
    write("direct meter", update(MODIFY, direct_meter(row, **rates)))
    write("direct meter, delete", update(DELETE, direct_meter(row)))
    write("direct meter, no such", update(MODIFY, direct_meter(entry("plain", exact(1, b"\x03")), **rates)))
    read("direct meter", direct_meter(entry("metered", exact(1, b"\x01"))))
    read("direct meters", direct_meter(entry("metered")))
    read("metered entry", entry("metered", meter_config=p4.MeterConfig()))
    register = p4.RegisterEntry(register_id=IDS["cells"])
    read("register", p4.Entity(register_entry=register))
    register.data.bitstring = b"\x01"
    write("register", update(MODIFY, p4.Entity(register_entry=register)))
    write("value set", update(MODIFY, p4.Entity(value_set_entry=p4.ValueSetEntry(value_set_id=0x03000001))))
    read("value set", p4.Entity(value_set_entry=p4.ValueSetEntry(value_set_id=0x03000001)))
    write("extern", update(MODIFY, p4.Entity(extern_entry=p4.ExternEntry())))


def replication(session):
    out("== replication and digests")
    write, read = session.write, session.read
    write("group", update(INSERT, multicast(1, (2, 1), (1, 1), (1, 0))))
    write("group again", update(INSERT, multicast(1, (1, 1))))
    write("group 0", update(INSERT, multicast(0, (1, 1))))
    write("group too high", update(INSERT, multicast(1 << 15, (1, 1))))
    write("group, replica twice", update(INSERT, multicast(2, (1, 1), (1, 1))))
    write("group, missing", update(MODIFY, multicast(3, (1, 1))))
    read("groups", multicast(0))
    read("group, missing", multicast(3))
    write("group modified", update(MODIFY, multicast(1, (3, 0))))
    read("group", multicast(1))
    write("group deleted", update(DELETE, multicast(1)))
    write("group deleted again", update(DELETE, multicast(1)))
    write("clone", update(INSERT, clone(5, (2, 1), (510, 1))))
    write("clone again", update(INSERT, clone(5, (2, 1))))
    write("clone, service", update(INSERT, clone(6, (2, 1), service=1)))
    write("clone, length", update(INSERT, clone(6, (2, 1), length=64)))
    write("clone 0", update(INSERT, clone(0, (2, 1))))
    write("clone too high", update(INSERT, clone(32768, (2, 1))))
    write("clone, missing", update(MODIFY, clone(7, (2, 1))))
    read("clones", clone(0))
    read("clone, missing", clone(7))
    write("clone modified", update(MODIFY, clone(5, (3, 1))))
    write("clone modified, length", update(MODIFY, clone(5, (3, 1), length=64)))
    read("clone", clone(5))
    write("clone deleted", update(DELETE, clone(5)))
    write("clone deleted again", update(DELETE, clone(5)))
    write("nothing", update(INSERT, p4.Entity(packet_replication_engine_entry=p4.PacketReplicationEngineEntry())))
    name = next(one.preamble.alias for one in INFO.digests)
    write("digest, modified first", update(MODIFY, digest(name, 1)))
    write("digest", update(INSERT, digest(name, 1)))
    write("digest again", update(INSERT, digest(name, 1)))
    write("digest, unknown", update(INSERT, digest(0x17FFFFFF, 1)))
    read("digest", digest(name))
    read("digests", digest(0))
    write("digest deleted", update(DELETE, digest(name)))
    read("digest deleted", digest(name))


def batches(session):
    out("== batches and devices")
    row = entry("plain", exact(1, b"\x30"), action=call("drop"))
    session.write("rollback", update(INSERT, row), atomicity=p4.WriteRequest.ROLLBACK_ON_ERROR)
    session.write("atomic", update(INSERT, row), atomicity=p4.WriteRequest.DATAPLANE_ATOMIC)
    session.write("another's id", update(INSERT, row), election=1)
    session.write("another device", update(INSERT, row), device=session.device + 1)
    session.read("another device", entry(0), device=session.device + 1)
    session.write("another role", update(INSERT, row), role="other")
    session.write("delete", update(DELETE, row))
    session.read("several, one of them bad", entry("metered"), entry(0x02FFFFFF), entry("oneshot"))
    session.push("reconcile", p4.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT)
    session.push("verify and commit", p4.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT)
    session.read("after reconcile", entry("plain"))
    session.push("commit", p4.SetForwardingPipelineConfigRequest.COMMIT, info=None)
    session.push("verify and commit", p4.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT)
    session.read("wiped", entry("plain"), member("ways", 0), multicast(0))
    out_packet = p4.StreamMessageRequest(packet=p4.PacketOut(payload=b"\x00" * 60))
    out_packet.packet.metadata.add(metadata_id=99, value=b"\x01")
    session.requests.put(out_packet)
    session.quiet("packet-out with unknown metadata")


def main():
    address, device = sys.argv[1], int(sys.argv[2])
    channel = grpc.insecure_channel(address)
    session = sessions(channel, device)
    pipelines(session)
    for part in (direct_tables, defaults, matches, profiles, one_shots, arrays, replication, batches):
        part(session)
    session.close()


main()
